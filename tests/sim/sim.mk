# The simulator, the deliberate bugs that it must find, and the text scenarios.

SEEDS ?= 1-2000
SECONDS ?= 60
JOBS ?= $(shell nproc)

.PHONY: sim sim-members sim-self-test mutants

$(BUILD)/sim: $(BUILD)/$(ROOM_sim)/main.o $(call archives,$(NEEDS_sim))
	@echo "  LD   $@"
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^

# make sim SEED=7 tells the story of one seed.
sim: $(BUILD)/sim
	$(Q)$< $(if $(SEED),--seed $(SEED) --verbose,--seeds $(SEEDS) --jobs $(JOBS)) --seconds $(SECONDS)

# Members come and go in each seed, 500 times and more.
sim-members: $(BUILD)/sim
	$(Q)$(CHECK_sim-members)

sim-self-test: $(BUILD)/sim
	$(Q)$< --self-test --seeds 1-20 --seconds 20

# Deliberate bugs, each in a copy of the tree, that the simulator must find. MUTANT=04 tries one.
mutants:
	$(Q)sh tests/mutants/run.sh $(abspath $(BUILD))/mutants $(MUTANT)

CHECKS += sim sim-members sim-sanitized sim-replay
CHECK_sim = $(BUILD)/sim --seeds 1-2000 --seconds 60 --jobs $(JOBS) --quiet
CHECK_sim-members = $(BUILD)/sim --seeds 100001-100100 --seconds 60 --changes 500 --jobs $(JOBS) --quiet
CHECK_sim-sanitized = $(BUILD)/sanitized/sim --seeds 1-40 --seconds 30 --jobs $(JOBS) --quiet
CHECK_sim-replay = $(BUILD)/sim --self-test --seeds 1-20 --seconds 20
