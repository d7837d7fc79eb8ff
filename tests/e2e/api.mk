# The HTTP interface and failoverctl against real daemons in a namespace of their own. Root.

CHECKS += e2e-api
CHECK_e2e-api = python3 tests/e2e/api.py --build $(BUILD)

.PHONY: e2e-api
e2e-api: $(BUILD)/failoverd $(BUILD)/failoverctl
	$(Q)$(CHECK_e2e-api) $(TESTS)
