# Coverage-guided fuzzing of what reads bytes from outside: make fuzz FUZZ=store-command FUZZ_SECONDS=60
# What a target begins with stands in tests/fuzz/corpus/TARGET.

FUZZ_SECONDS ?= 30
FUZZ ?= $(patsubst tests/fuzz/fuzz-%.c,%,$(wildcard tests/fuzz/fuzz-*.c))

FUZZ_SOURCES_conf          := $(wildcard conf/*.c)
FUZZ_SOURCES_store-command := $(wildcard election/store/*.c)
FUZZ_SOURCES_store-snapshot := $(wildcard election/store/*.c)
FUZZ_SOURCES_snapshot      := election/snapshot.c $(wildcard election/store/*.c election/raft/*.c)
FUZZ_SOURCES_members       := election/members.c daemon/joining.c $(wildcard daemon/wal*.c)
FUZZ_SOURCES_raft-message  := $(wildcard election/raft/*.c)
FUZZ_SOURCES_node-message  := $(foreach room,. raft store failover,$(wildcard election/$(room)/*.c))
FUZZ_SOURCES_wal           := $(wildcard daemon/wal*.c) tests/lib/scratch.c
FUZZ_SOURCES_peers-wire    := daemon/peers-wire.c
FUZZ_SOURCES_http          := daemon/http-parse.c daemon/api-form.c daemon/api-keys-parse.c election/store/path.c

$(BUILD)/fuzz/fuzz-%: tests/fuzz/fuzz-%.c
	@mkdir -p $(@D)
	$(Q)clang -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined -g -O1 -std=c17 -D_GNU_SOURCE -I. -o $@ $< \
		$(FUZZ_SOURCES_$*) $(wildcard election/base/*.c) $(call pkg_libs,libconfuse)

.PHONY: fuzz
fuzz: $(foreach target,$(FUZZ),$(BUILD)/fuzz/fuzz-$(target))
	$(Q)for target in $(FUZZ); do \
		mkdir -p $(BUILD)/fuzz/corpus-$$target && \
		$(BUILD)/fuzz/fuzz-$$target -max_total_time=$(FUZZ_SECONDS) $(BUILD)/fuzz/corpus-$$target \
			$$(ls -d tests/fuzz/corpus/$$target 2>/dev/null) || exit 1; \
	done
