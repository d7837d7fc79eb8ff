# Disks that are full, fail or rot, under real daemons in namespaces of their own. Root; a minute.

SHIM_DISK := $(BUILD)/e2e/shim-disk.so

E2E_TOOLS += $(SHIM_DISK)
CHECKS += e2e-disk
CHECK_e2e-disk = python3 tests/e2e/disk.py --build $(BUILD) --quick

# For any program, so without the sanitizers of ours.
$(SHIM_DISK): tests/e2e/shim-disk.c
	@mkdir -p $(@D)
	@echo "  LD   $@"
	$(Q)$(CC) $(filter-out -fsanitize%,$(CFLAGS)) -shared -fPIC -o $@ $<

.PHONY: e2e-disk
e2e-disk: $(BUILD)/failoverd $(BUILD)/failoverctl $(SHIM_DISK)
	$(Q)python3 tests/e2e/disk.py --build $(BUILD) $(TESTS)
