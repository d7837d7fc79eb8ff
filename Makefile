# failoverd. `make demo` and `make check` install what they need; `make help` lists the rest.

CC ?= gcc
PREFIX ?= /usr/local
BUILD ?= build
V ?= 0
Q := $(if $(filter 1,$(V)),,@)

LIBS_daemon      := libevent_core libsystemd jansson
LIBS_netlink     := libmnl
LIBS_conf        := libconfuse
LIBS_postgres    := libpq jansson libevent_core
LIBS_failoverctl := libcurl jansson libconfuse
PKG_CONFIG_LIBS  := $(sort $(LIBS_daemon) $(LIBS_netlink) $(LIBS_conf) $(LIBS_postgres) $(LIBS_failoverctl))

WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes \
            -Wvla
SANITIZERS := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
SANITIZE := $(if $(SAN),$(SANITIZERS))
CFLAGS   ?= -O2 -g
override CFLAGS += -std=c17 -D_GNU_SOURCE -I. $(WARNINGS) $(if $(WERROR),-Werror) $(SANITIZE)
pkg_cflags = $(shell pkg-config --cflags $(1) 2>/dev/null)
pkg_libs   = $(shell pkg-config --libs $(1) 2>/dev/null)
override CFLAGS += -isystem /usr/include/postgresql

# A room is a folder; it becomes an archive. Programs are made of archives, innermost last.
ROOM_base        := election/base
ROOM_raft        := election/raft
ROOM_store       := election/store
ROOM_failover    := election/failover
ROOM_node        := election
ROOM_netlink     := netlink
ROOM_conf        := conf
ROOM_actions     := actions
ROOM_postgres    := actions/postgres
ROOM_daemon      := daemon
ROOM_failoverctl := daemon/failoverctl
ROOM_sim         := tests/sim
ROOM_testlib     := tests/lib
ROOMS := base raft store failover node netlink conf actions postgres daemon failoverctl sim testlib

NEEDS_base        := base
NEEDS_raft        := raft base
NEEDS_store       := store base
NEEDS_failover    := failover base
NEEDS_node        := node raft store failover base
NEEDS_netlink     := netlink base
NEEDS_conf        := conf base
NEEDS_actions     := actions netlink base
NEEDS_postgres    := postgres actions netlink base
NEEDS_daemon      := daemon actions conf netlink $(NEEDS_node)
NEEDS_failoverctl := failoverctl conf base
NEEDS_sim         := sim $(NEEDS_node)

archive = $(BUILD)/lib$(1).a
archives = $(foreach room,$(1),$(call archive,$(room)))

PROGRAMS := failoverd failoverctl failoverd-postgres
MAIN_failoverd          := daemon
MAIN_failoverctl        := failoverctl
MAIN_failoverd-postgres := postgres
LINK_failoverd          := $(LIBS_daemon) $(LIBS_netlink) $(LIBS_conf)
LINK_failoverctl        := $(LIBS_failoverctl)
LINK_failoverd-postgres := $(LIBS_postgres) $(LIBS_netlink)

UNIT := $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(wildcard tests/unit/test-*.c))

.PHONY: all everything check list-checks demo deps clean help install unit lint
all: $(addprefix $(BUILD)/,$(PROGRAMS))

define room_rules
SOURCES_$(1) := $$(filter-out %/main.c,$$(wildcard $(ROOM_$(1))/*.c))
$(BUILD)/lib$(1).a: $$(patsubst %.c,$(BUILD)/%.o,$$(SOURCES_$(1)))
	$$(Q)rm -f $$@ && ar rcs $$@ $$^
endef
$(foreach room,$(ROOMS),$(eval $(call room_rules,$(room))))

define program_rules
$(BUILD)/$(1): $(BUILD)/$(ROOM_$(MAIN_$(1)))/main.o $(call archives,$(NEEDS_$(MAIN_$(1))))
	@echo "  LD   $$@"
	$$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $$@ $$^ $$(call pkg_libs,$(LINK_$(1)))
endef
$(foreach program,$(PROGRAMS),$(eval $(call program_rules,$(program))))

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC   $<"
	$(Q)$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<

# tests/unit/test-ROOM-*.c is linked with what ROOM needs.
.SECONDEXPANSION:
$(BUILD)/unit/test-%: $(BUILD)/tests/unit/test-%.o $$(call archives,testlib $$(NEEDS_$$(firstword $$(subst -, ,$$*))))
	@mkdir -p $(@D)
	@echo "  LD   $@"
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(call pkg_libs,cmocka $(PKG_CONFIG_LIBS)) -lpthread

-include tests/*/*.mk

deps:
	$(Q)tests/lib/deps.sh

# Installs what is missing and shows the main job live.
demo: deps
	$(Q)$(MAKE) --no-print-directory all $(E2E_TOOLS)
	$(Q)python3 tests/e2e/demo.py --build $(BUILD)

# Installs what is missing, builds with both compilers, and passes all tests.
check: deps
	$(Q)tests/lib/check.sh

everything: all $(UNIT) $(E2E_TOOLS) $(BUILD)/sim

# One line "NAME COMMAND" for each check that is more than a unit test.
list-checks:
	@$(foreach check,$(CHECKS),echo '$(check) $(CHECK_$(check))';)

unit: $(UNIT)
	$(Q)python3 tests/lib/check.py --logs $(BUILD)/check $(foreach test,$(UNIT),$(notdir $(test)) $(test) --)

lint: $(call archives,base raft store failover node)
	$(Q)python3 tests/lint/lint.py $(BUILD)

install: all
	install -D -m 755 $(BUILD)/failoverd $(DESTDIR)$(PREFIX)/sbin/failoverd
	install -D -m 755 $(BUILD)/failoverctl $(DESTDIR)$(PREFIX)/bin/failoverctl
	install -D -m 755 $(BUILD)/failoverd-postgres $(DESTDIR)$(PREFIX)/libexec/failoverd/failoverd-postgres
	install -D -m 644 packaging/failoverd.service $(DESTDIR)/lib/systemd/system/failoverd.service
	install -D -m 644 packaging/failoverd.catalog $(DESTDIR)/usr/lib/systemd/catalog/failoverd.catalog
	install -D -m 640 conf/failoverd.conf $(DESTDIR)/usr/share/doc/failoverd/failoverd.conf.sample

help:
	@echo 'make demo         install what is missing, and show the main job live (root)'
	@echo 'make check        install what is missing, build, pass all tests (root)'
	@echo 'make              build the programs into build/'
	@echo 'make install      DESTDIR= PREFIX=/usr/local'
	@echo 'make unit lint    the quick checks'
	@echo 'make sim          SEEDS=1-2000 SECONDS=60, or SEED=7 for one story'
	@echo 'make mutants      deliberate bugs that the simulator must find'
	@echo 'make e2e          TESTS="..." one fault at a time on a real cluster (root)'
	@echo 'make isolation    twenty cut-off primaries (root)'
	@echo 'make e2e-store    three stores under 200 rounds of kill -9 (root)'
	@echo 'make e2e-clients  etcdctl, python-etcd and curl on three stores (root)'
	@echo 'make e2e-disk     full, failing and rotten disks under three stores (root)'
	@echo 'make e2e-patroni  a real Patroni pair on three stores (root)'
	@echo 'make bench        outages and idle cost (root)'
	@echo 'make bench-store  the store beside etcd 3.4 in one run (root)'
	@echo 'make big-store    a million keys: memory, starts, pauses (root)'
	@echo 'make fuzz         FUZZ=wal FUZZ_SECONDS=60'
	@echo 'V=1 shows commands, SAN=1 builds with sanitizers, CC=clang, WERROR=1'

clean:
	rm -rf $(BUILD)

# Objects are kept: they are prerequisites of archives and programs.
.SECONDARY:

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
