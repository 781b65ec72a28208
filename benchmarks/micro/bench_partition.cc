// SPDX-License-Identifier: Apache-2.0
// The partition core per record (validate, copy, gather, complete; fetch), and the hand-off between
// threads per message.
#include <benchmark/benchmark.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

// C headers: designated initializers there leave the rest zero on purpose
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
extern "C" {
#include "base/ring.h"
#include "kafka/batch.h"
#include "partition/part.h"
}
#pragma GCC diagnostic pop

namespace
{

constexpr int64_t kNow = 1700000000000;
constexpr size_t kBlocks = 4096; // 64 MiB
constexpr int kReqs = 64;

std::vector<uint8_t> batch_of(int n)
{
	std::vector<uint8_t> mem(size_t(n) * 128 + 256);
	std::vector<uint8_t> value(100, 'v');
	batch_build b;
	batch_build_begin(&b, mem.data(), mem.size());
	for (int i = 0; i < n; i++)
		batch_build_add(
			&b, kNow, kbytes{nullptr, -1}, kbytes{value.data(), 100}, nullptr, 0);
	mem.resize(batch_build_finish(&b));
	return mem;
}

// A partition whose storage has everything at once.
struct bench_part {
	struct part part;
	part_env env{};
	lblock_pool pool{};
	uint8_t *mem;
	std::vector<st_req> reqs{kReqs};
	part_out out;

	bench_part()
	{
		mem = static_cast<uint8_t *>(aligned_alloc(4096, kBlocks * LBLOCK_SIZE));
		memset(mem, 0, kBlocks * LBLOCK_SIZE);
		lblock_pool_init(&pool, mem, kBlocks * LBLOCK_SIZE);
		part_env_init(&env, &pool, nullptr);
		for (auto &r : reqs)
			list_push_back(&env.free_reqs, &r.node);
		part_out_init(&out);
		part_config config{};
		config.max_message_bytes = 1 << 20;
		config.segment_bytes = 1 << 30;
		config.segment_ms = INT64_MAX;
		config.timestamp_before_max_ms = INT64_MAX;
		config.timestamp_after_max_ms = 3600000;
		part_init(&part, &env, 0, 0, &config, 0);
		st_req open{};
		open.op = ST_OPEN;
		part_opened(&part, &open, kNow, &out);
	}
	~bench_part()
	{
		part_close(&part, KE_NOT_LEADER_OR_FOLLOWER, &out);
		part_fini(&part);
		lblock_pool_fini(&pool);
		free(mem);
	}
	bench_part(const bench_part &) = delete;
	bench_part &operator=(const bench_part &) = delete;

	// Answers everything; how many operations are finished.
	int complete()
	{
		int done = 0;
		while (list *n = list_pop_front(&out.store)) {
			st_req *r = list_entry(n, struct st_req, node);
			if (r->op == ST_APPEND)
				r->append.released = {
					r->append.segment, r->append.pos + r->append.span.len};
			part_stored(&part, r, kNow, &out);
		}
		while (list_pop_front(&out.done))
			done++;
		return done;
	}
};

// arg 0: records of 100 bytes in a batch; arg 1: batches that come before the storage answers.
void BM_part_append(benchmark::State &state)
{
	std::vector<uint8_t> batch = batch_of(int(state.range(0)));
	int group = int(state.range(1));
	bench_part p;
	std::vector<part_op> ops(static_cast<size_t>(group));
	for (auto _ : state) {
		for (auto &op : ops) {
			op.kind = PART_APPEND;
			op.current_leader_epoch = -1;
			op.append.data = batch.data();
			op.append.len = uint32_t(batch.size());
			part_start(&p.part, &op, kNow, &p.out);
		}
		if (p.complete() != group || ops[0].error != KE_NONE)
			state.SkipWithError("an append failed");
	}
	state.SetItemsProcessed(state.iterations() * state.range(0) * group);
	state.SetBytesProcessed(state.iterations() * int64_t(batch.size()) * group);
}
BENCHMARK(BM_part_append)
	->ArgNames({"records", "group"})
	->Args({1, 1})
	->Args({1, 16})
	->Args({10, 16})
	->Args({100, 16})
	->Args({1000, 1});

// A fetch from memory of at most so many bytes, in batches of 10 records.
void BM_part_fetch(benchmark::State &state)
{
	std::vector<uint8_t> batch = batch_of(10);
	bench_part p;
	part_op op{};
	for (int i = 0; i < 20000; i++) {
		op = part_op{};
		op.kind = PART_APPEND;
		op.current_leader_epoch = -1;
		op.append.data = batch.data();
		op.append.len = uint32_t(batch.size());
		part_start(&p.part, &op, kNow, &p.out);
		p.complete();
	}
	int64_t offset = 0, bytes = 0;
	for (auto _ : state) {
		op = part_op{};
		op.kind = PART_FETCH;
		op.current_leader_epoch = -1;
		op.fetch.offset = offset;
		op.fetch.max_bytes = uint32_t(state.range(0));
		op.fetch.at_least_one = true;
		part_start(&p.part, &op, kNow, &p.out);
		if (p.complete() != 1 || op.fetch.span.len == 0)
			state.SkipWithError("a fetch gave nothing");
		bytes += op.fetch.span.len;
		part_release(&p.env, op.fetch.span);
		offset = (offset + 7919) % 190000;
	}
	state.SetBytesProcessed(bytes);
	state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_part_fetch)->ArgName("bytes")->Arg(1)->Arg(65536)->Arg(1 << 20);

// One message through a ring and out again, on one thread. arg: messages in a burst.
void BM_ring_one_thread(benchmark::State &state)
{
	ring *r = ring_create(1024);
	uint32_t burst = uint32_t(state.range(0));
	void *out[64];
	int message;
	for (auto _ : state) {
		for (uint32_t i = 0; i < burst; i++)
			ring_push(r, &message);
		uint32_t n = ring_pop(r, out, 64);
		if (n != burst)
			state.SkipWithError("messages are missing");
		benchmark::DoNotOptimize(out[0]);
	}
	state.SetItemsProcessed(state.iterations() * burst);
	ring_destroy(r);
}
BENCHMARK(BM_ring_one_thread)->ArgName("burst")->Arg(1)->Arg(32);

// One message from this thread to another one, which does nothing but take them.
void BM_ring_two_threads(benchmark::State &state)
{
	ring *r = ring_create(1024);
	std::atomic<bool> stop{false};
	std::atomic<uint64_t> taken{0};
	std::thread consumer([&] {
		void *out[64];
		uint64_t count = 0;
		for (;;) {
			bool last = stop.load(std::memory_order_acquire);
			uint32_t n = ring_pop(r, out, 64);
			count += n;
			if (n == 0 && last)
				break;
			if (n == 0)
				__builtin_ia32_pause();
		}
		taken = count;
	});
	int message;
	for (auto _ : state)
		while (!ring_push(r, &message))
			__builtin_ia32_pause();
	stop.store(true, std::memory_order_release);
	consumer.join();
	if (taken != uint64_t(state.iterations()))
		state.SkipWithError("messages are missing");
	state.SetItemsProcessed(state.iterations());
	ring_destroy(r);
}
BENCHMARK(BM_ring_two_threads)->UseRealTime();

} // namespace
