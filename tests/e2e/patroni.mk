# A real Patroni pair on three real stores: four minutes. Root.

.PHONY: e2e-patroni
e2e-patroni: all $(BUILD)/e2e/writer
	$(Q)/usr/bin/python3 tests/e2e/patroni.py --build $(BUILD) $(TESTS)
