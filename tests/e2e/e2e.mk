# Tests of the whole, in network namespaces that they make and remove. Root.

E2E_TOOLS += $(BUILD)/e2e/writer $(BUILD)/e2e/address-watch

$(BUILD)/e2e/%: $(BUILD)/tests/e2e/%.o
	@mkdir -p $(@D)
	@echo "  LD   $@"
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(call pkg_libs,libpq)

.PHONY: e2e isolation bench

CHECKS += e2e-faults
CHECK_e2e-faults = python3 tests/e2e/faults.py --build $(BUILD)

e2e: all $(E2E_TOOLS)
	$(Q)python3 tests/e2e/faults.py --build $(BUILD) $(TESTS)

# A cut-off primary has let go before the other accepts its first write, twenty times.
isolation: all $(E2E_TOOLS)
	$(Q)python3 tests/e2e/faults.py --build $(BUILD) --repeat 20 isolated_primary_lets_go_first

# The outage that a client sees, for each kind of fault.
bench: all $(E2E_TOOLS)
	$(Q)python3 tests/e2e/bench.py --build $(BUILD)

# The PostgreSQL agent alone against real servers: five minutes.
.PHONY: e2e-agent
e2e-agent: $(BUILD)/failoverd-postgres
	$(Q)python3 tests/e2e/agent-postgres.py $(BUILD)/failoverd-postgres $(TESTS)
