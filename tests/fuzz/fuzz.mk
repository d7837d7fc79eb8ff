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
FUZZ_SOURCES_node-message  := $(wildcard election/*.c election/raft/*.c election/store/*.c election/failover/*.c)
FUZZ_SOURCES_link          := daemon/link.c daemon/engine-hands.c daemon/journal.c daemon/clock.c $(wildcard conf/*.c election/failover/*.c)
FUZZ_SOURCES_lines         := actions/lines.c actions/postgres/settings.c actions/postgres/version.c
FUZZ_SOURCES_wal           := $(wildcard daemon/wal*.c) tests/lib/scratch.c
FUZZ_SOURCES_peers-wire    := daemon/peers-wire.c
FUZZ_SOURCES_peers         := daemon/peers.c daemon/peers-wire.c daemon/tcp.c daemon/clock.c daemon/journal.c
FUZZ_SOURCES_http          := daemon/http-parse.c daemon/api-form.c daemon/api-keys-parse.c election/store/path.c

FUZZ_CFLAGS := -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -g -O1 \
               -std=c17 -D_GNU_SOURCE -I.

$(BUILD)/fuzz/obj/%.o: %.c
	@mkdir -p $(@D)
	$(Q)clang $(FUZZ_CFLAGS) -MMD -MP -c -o $@ $<

fuzz_objects = $(patsubst %.c,$(BUILD)/fuzz/obj/%.o,tests/fuzz/fuzz-$(1).c $(FUZZ_SOURCES_$(1)) $(wildcard election/base/*.c))

$(BUILD)/fuzz/fuzz-%: $$(call fuzz_objects,$$*)
	@echo "  LD   $@"
	$(Q)clang -fsanitize=fuzzer,address,undefined -o $@ $^ \
		$(call pkg_libs,libconfuse libevent_core jansson libsystemd)

.PHONY: fuzz fuzz-corpus
fuzz: $(FUZZ:%=$(BUILD)/fuzz/fuzz-%)
	$(Q)for target in $(FUZZ); do \
		mkdir -p $(BUILD)/fuzz/corpus-$$target && \
		$(BUILD)/fuzz/fuzz-$$target -max_total_time=$(FUZZ_SECONDS) $(BUILD)/fuzz/corpus-$$target \
			$$(ls -d tests/fuzz/corpus/$$target 2>/dev/null) || exit 1; \
	done

# Once over what is committed: no finding comes back.
CHECKS += fuzz-corpus
CHECK_fuzz-corpus = make --no-print-directory -j $(JOBS) BUILD=$(BUILD) fuzz-corpus

fuzz-corpus: $(FUZZ:%=$(BUILD)/fuzz/fuzz-%)
	$(Q)for target in $(FUZZ); do \
		$(BUILD)/fuzz/fuzz-$$target -runs=0 -artifact_prefix=$(BUILD)/fuzz/ tests/fuzz/corpus/$$target \
			>$(BUILD)/fuzz/corpus-$$target.log 2>&1 || \
			{ cat $(BUILD)/fuzz/corpus-$$target.log; exit 1; }; \
	done
	$(Q)echo "$(words $(FUZZ)) passed, 0 failed"
