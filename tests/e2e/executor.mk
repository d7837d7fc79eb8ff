# Tests of the executor alone, with an engine that the test plays itself. Root.

E2E_TOOLS += $(BUILD)/e2e/executor-host

$(BUILD)/e2e/executor-host: $(BUILD)/tests/e2e/executor-host.o $(call archives,$(NEEDS_daemon))
	@mkdir -p $(@D)
	@echo "  LD   $@"
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(call pkg_libs,$(LINK_failoverd))

CHECKS += e2e-executor
CHECK_e2e-executor = python3 tests/e2e/executor.py $(BUILD)/e2e/executor-host $(BUILD)/failoverd-postgres

# The executor and the agent, each deadline, each process stopped and killed: one minute.
.PHONY: e2e-executor
e2e-executor: $(BUILD)/e2e/executor-host $(BUILD)/failoverd-postgres
	$(Q)$(CHECK_e2e-executor) $(TESTS)
