# Tests of the whole, in network namespaces that they make and remove. Root.

E2E_TOOLS := $(BUILD)/e2e/writer $(BUILD)/e2e/address-watch

$(BUILD)/e2e/%: $(BUILD)/tests/e2e/%.o
	@mkdir -p $(@D)
	@echo "  LD   $@"
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(call pkg_libs,libpq)
