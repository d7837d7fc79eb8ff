# Members, snapshots and backups, on real daemons in namespaces of their own. Root; half a minute.

CHECKS += e2e-members
CHECK_e2e-members = python3 tests/e2e/members.py --build $(BUILD)

.PHONY: e2e-members
e2e-members: $(BUILD)/failoverd $(BUILD)/failoverctl
	$(Q)$(CHECK_e2e-members) $(TESTS)
