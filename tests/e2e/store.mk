# Three real stores under kill -9. Root.

CHECKS += e2e-store
CHECK_e2e-store = /usr/bin/python3 tests/e2e/store.py --build $(BUILD)

# Two hundred rounds of random faults, and twenty losses: seven minutes.
.PHONY: e2e-store
e2e-store: all
	$(Q)/usr/bin/python3 tests/e2e/store.py --build $(BUILD) --rounds 200 --losses 20 $(TESTS)
