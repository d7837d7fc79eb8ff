# How fast the state machine is by itself: make store-apply KEYS=1000000 CHANGES=1000000 VALUE=100

KEYS ?= 100000
CHANGES ?= 1000000
VALUE ?= 64

.PHONY: store-apply

$(BUILD)/store-apply: $(BUILD)/tests/bench/store-apply.o $(call archives,$(NEEDS_store))
	@echo "  LD   $@"
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^

store-apply: $(BUILD)/store-apply
	$(Q)$< $(KEYS) $(CHANGES) $(VALUE)
