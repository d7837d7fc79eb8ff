# failoverctl as a client of the key store: every verb, locks and elections under faults. Root.

CHECKS += e2e-ctl
CHECK_e2e-ctl = python3 tests/e2e/ctl.py --build $(BUILD)

.PHONY: e2e-ctl
e2e-ctl: $(BUILD)/failoverd $(BUILD)/failoverctl
	$(Q)$(CHECK_e2e-ctl) $(TESTS)
