# etcd's v2 API, row by row. Root. With ETCD=1 the same is asked of an etcd that is installed.

CHECKS += e2e-v2
CHECK_e2e-v2 = python3 tests/e2e/v2.py --build $(BUILD)

.PHONY: e2e-v2
e2e-v2: $(BUILD)/failoverd
	$(Q)$(CHECK_e2e-v2) $(if $(ETCD),--etcd) $(TESTS)
