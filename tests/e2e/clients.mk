# Real clients of etcd against three real stores: etcdctl, python-etcd, curl. Root.

# The system's own Python, because python-etcd is installed for it.
CHECKS += e2e-clients
CHECK_e2e-clients = /usr/bin/python3 tests/e2e/clients.py --build $(BUILD)

.PHONY: e2e-clients
e2e-clients: all
	$(Q)$(CHECK_e2e-clients) $(TESTS)
