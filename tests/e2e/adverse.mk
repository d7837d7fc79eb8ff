# Faults at the worst moment, in network namespaces. Root.

CHECKS += e2e-adverse
CHECK_e2e-adverse = python3 tests/e2e/adverse.py --build $(BUILD) --quick

# All of them: a quarter of an hour.
.PHONY: adverse
adverse: all $$(E2E_TOOLS)
	$(Q)python3 tests/e2e/adverse.py --build $(BUILD) $(TESTS)
