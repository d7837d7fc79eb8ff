# The store beside etcd 3.4, both in network namespaces of this machine. Root.

BENCH_TOOLS := $(BUILD)/bench/kv-load $(BUILD)/bench/kv-watch $(BUILD)/bench/kv-probe \
               $(BUILD)/bench/kv-pulse

$(BUILD)/bench/%: $(BUILD)/tests/bench/%.o $(BUILD)/tests/bench/connection.o
	@mkdir -p $(@D)
	@echo "  LD   $@"
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^

.PHONY: bench-store
bench-store: all $(BENCH_TOOLS)
	$(Q)tests/lib/deps.sh etcd-server
	$(Q)python3 tests/bench/bench-store.py --build $(BUILD) $(BENCH)

# A million keys: memory, starts, and pauses of the loop while snapshots are taken and sent.
.PHONY: big-store
big-store: all $(BENCH_TOOLS)
	$(Q)python3 tests/bench/big-store.py --build $(BUILD) $(BENCH)
