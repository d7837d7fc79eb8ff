# Stories for the pure cores: make scenarios, make scenarios REWRITE=1, STORIES="tests/scenarios/x.txt".

STORIES ?= $(sort $(wildcard tests/scenarios/*.txt))

.PHONY: scenarios

$(BUILD)/scenarios: $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/scenarios/*.c)) $(call archives,$(NEEDS_sim))
	@mkdir -p $(@D)
	@echo "  LD   $@"
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^

everything: $(BUILD)/scenarios

scenarios: $(BUILD)/scenarios
	$(Q)$< $(if $(REWRITE),--rewrite) $(STORIES)

CHECKS += scenarios scenarios-sanitized
CHECK_scenarios = $(BUILD)/scenarios $(STORIES)
CHECK_scenarios-sanitized = $(BUILD)/sanitized/scenarios $(STORIES)
