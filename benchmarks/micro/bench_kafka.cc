// SPDX-License-Identifier: Apache-2.0
// The Kafka codec: validation per 100-byte record, and the messages of the data path.
#include <benchmark/benchmark.h>

#include <cstring>
#include <string>
#include <vector>

// C headers: designated initializers there leave the rest zero on purpose
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
extern "C" {
#include "kafka/batch.h"
#include "kafka/header.h"
#include "kafka/messages.h"
}
#pragma GCC diagnostic pop

namespace
{

constexpr int64_t kNow = 1700000000000;

kstr str(const char *s)
{
	return kstr{s, static_cast<int32_t>(strlen(s))};
}

// A batch of n records of 100 bytes of value and no key, as a load generator sends them.
std::vector<uint8_t> batch_of(int n)
{
	std::vector<uint8_t> mem(size_t(n) * 128 + 256);
	std::vector<uint8_t> value(100, 'v');
	batch_build b;
	batch_build_begin(&b, mem.data(), mem.size());
	for (int i = 0; i < n; i++)
		batch_build_add(&b, kNow + i / 100, kbytes{nullptr, -1}, kbytes{value.data(), 100},
			nullptr, 0);
	mem.resize(batch_build_finish(&b));
	return mem;
}

void count_records(benchmark::State &state, int64_t records, size_t bytes)
{
	state.SetItemsProcessed(state.iterations() * records);
	state.SetBytesProcessed(state.iterations() * int64_t(bytes));
}

// Every check of a client's batch; arg 0: records, arg 1: CRC included.
void BM_batch_validate(benchmark::State &state)
{
	std::vector<uint8_t> batch = batch_of(int(state.range(0)));
	batch_limits lim{};
	lim.now_ms = kNow;
	lim.before_max_ms = INT64_MAX;
	lim.after_max_ms = 3600000;
	lim.max_bytes = 1 << 30;
	lim.crc_checked = state.range(1) == 0;
	batch_info info;
	for (auto _ : state) {
		int16_t err =
			batch_validate(batch.data(), uint32_t(batch.size()), &lim, nullptr, &info);
		if (err != KE_NONE)
			state.SkipWithError(info.error_message);
		benchmark::DoNotOptimize(info);
	}
	count_records(state, state.range(0), batch.size());
}
BENCHMARK(BM_batch_validate)
	->ArgNames({"records", "crc"})
	->ArgsProduct({{1, 10, 150, 10000}, {0, 1}});

// The same for compressed batches; arg: codec.
void BM_batch_validate_compressed(benchmark::State &state)
{
	std::vector<uint8_t> plain = batch_of(600), packed(1 << 20), buf(1 << 20);
	auto codec = static_cast<enum codec>(state.range(0));
	uint32_t size =
		batch_compress(plain.data(), codec, 0, packed.data(), uint32_t(packed.size()));
	batch_scratch scratch{buf.data(), uint32_t(buf.size()), codec_open()};
	batch_limits lim{};
	lim.now_ms = kNow;
	lim.before_max_ms = INT64_MAX;
	lim.after_max_ms = 3600000;
	lim.max_bytes = 1 << 30;
	batch_info info;
	for (auto _ : state) {
		int16_t err = batch_validate(packed.data(), size, &lim, &scratch, &info);
		if (err != KE_NONE)
			state.SkipWithError(info.error_message);
		benchmark::DoNotOptimize(info);
	}
	codec_close(scratch.codec);
	count_records(state, 600, plain.size());
}
BENCHMARK(BM_batch_validate_compressed)->ArgName("codec")->DenseRange(CODEC_GZIP, CODEC_ZSTD);

// Header and body of a Produce request with `partitions` batches of 10 records.
void BM_produce_request_decode(benchmark::State &state)
{
	const int n = int(state.range(0));
	std::vector<uint8_t> batch = batch_of(10), wire(4 << 20), memory(1 << 20);
	std::vector<kp_produce_request_partition> parts(static_cast<size_t>(n));
	for (int i = 0; i < n; i++) {
		kp_default_produce_request_partition(&parts[size_t(i)]);
		parts[size_t(i)].index = i;
		parts[size_t(i)].records = kbytes{batch.data(), int32_t(batch.size())};
	}
	kp_produce_request_topic topic;
	kp_default_produce_request_topic(&topic);
	topic.name = str("benchmark-topic");
	topic.partitions = parts.data();
	topic.n_partitions = n;
	kp_produce_request req;
	kp_default_produce_request(&req);
	req.topics = &topic;
	req.n_topics = 1;
	kwr k = kwr_of(wire.data(), wire.size());
	kp_request_begin(&k, kp_api_find(KP_PRODUCE), 9, 1, str("bench"));
	kp_encode_produce_request(&k, 9, &req);
	kp_request_end(&k);
	arena a;
	arena_init(&a, memory.data(), memory.size());
	for (auto _ : state) {
		rd r = rd_of(wire.data() + 4, wr_len(&k.w) - 4);
		kp_request_header h;
		arena_reset(&a);
		if (kp_header_decode(&r, &h) != KP_HEADER_OK ||
			kp_decode_produce_request(&r, h.version, &req, &a) != 0)
			state.SkipWithError("decode");
		benchmark::DoNotOptimize(req);
	}
	state.SetItemsProcessed(state.iterations() * n);
}
BENCHMARK(BM_produce_request_decode)->ArgName("partitions")->Arg(1)->Arg(100);

void BM_produce_response_encode(benchmark::State &state)
{
	std::vector<uint8_t> wire(1 << 16);
	kp_produce_response_partition part;
	kp_default_produce_response_partition(&part);
	kp_produce_response_topic topic;
	kp_default_produce_response_topic(&topic);
	topic.name = str("benchmark-topic");
	topic.partitions = &part;
	topic.n_partitions = 1;
	kp_produce_response resp;
	kp_default_produce_response(&resp);
	resp.topics = &topic;
	resp.n_topics = 1;
	for (auto _ : state) {
		kwr k = kwr_of(wire.data(), wire.size());
		kp_response_begin(&k, kp_api_find(KP_PRODUCE), 9, 1);
		kp_encode_produce_response(&k, 9, &resp);
		benchmark::DoNotOptimize(kp_response_end(&k));
	}
	state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_produce_response_encode);

// A Fetch response of `partitions` partitions, records by reference: nothing is copied.
void BM_fetch_response_encode(benchmark::State &state)
{
	const size_t n = size_t(state.range(0));
	std::vector<uint8_t> wire(1 << 20), data(LBLOCK_SIZE);
	lblock block{};
	block.data = data.data();
	std::vector<kwr_splice> splices(n);
	std::vector<kpiece> pieces(2 * n + 1);
	std::vector<kp_fetch_response_partition> parts(n);
	for (size_t i = 0; i < n; i++) {
		kp_default_fetch_response_partition(&parts[i]);
		parts[i].index = int32_t(i);
		parts[i].records.len = 8000;
		parts[i].records.span = lspan{&block, 100, 8000};
	}
	kp_fetch_response_topic topic;
	kp_default_fetch_response_topic(&topic);
	topic.partitions = parts.data();
	topic.n_partitions = int32_t(n);
	kp_fetch_response resp;
	kp_default_fetch_response(&resp);
	resp.topics = &topic;
	resp.n_topics = 1;
	for (auto _ : state) {
		kwr k = kwr_of_splices(wire.data(), wire.size(), splices.data(), uint32_t(n));
		kp_response_begin(&k, kp_api_find(KP_FETCH), 13, 1);
		kp_encode_fetch_response(&k, 13, &resp);
		benchmark::DoNotOptimize(kp_response_end(&k));
		benchmark::DoNotOptimize(kwr_gather(&k, pieces.data(), uint32_t(pieces.size())));
	}
	state.SetItemsProcessed(state.iterations() * int64_t(n));
}
BENCHMARK(BM_fetch_response_encode)->ArgName("partitions")->Arg(1)->Arg(100);

void BM_fetch_request_decode(benchmark::State &state)
{
	const int n = int(state.range(0));
	std::vector<uint8_t> wire(1 << 20), memory(1 << 20);
	std::vector<kp_fetch_request_partition> parts(static_cast<size_t>(n));
	for (auto &p : parts)
		kp_default_fetch_request_partition(&p);
	kp_fetch_request_topic topic;
	kp_default_fetch_request_topic(&topic);
	topic.partitions = parts.data();
	topic.n_partitions = n;
	kp_fetch_request req;
	kp_default_fetch_request(&req);
	req.topics = &topic;
	req.n_topics = 1;
	kwr k = kwr_of(wire.data(), wire.size());
	kp_encode_fetch_request(&k, 13, &req);
	arena a;
	arena_init(&a, memory.data(), memory.size());
	for (auto _ : state) {
		rd r = rd_of(wire.data(), wr_len(&k.w));
		arena_reset(&a);
		if (kp_decode_fetch_request(&r, 13, &req, &a) != 0)
			state.SkipWithError("decode");
		benchmark::DoNotOptimize(req);
	}
	state.SetItemsProcessed(state.iterations() * n);
}
BENCHMARK(BM_fetch_request_decode)->ArgName("partitions")->Arg(1)->Arg(100);

// A Metadata response for one topic; arg: partitions.
void BM_metadata_response_encode(benchmark::State &state)
{
	const size_t n = size_t(state.range(0));
	std::vector<uint8_t> wire(4 << 20);
	int32_t node = 1;
	std::vector<kp_metadata_response_partition> parts(n);
	for (size_t i = 0; i < n; i++) {
		kp_default_metadata_response_partition(&parts[i]);
		parts[i].index = int32_t(i);
		parts[i].leader_id = node;
		parts[i].replica_nodes = parts[i].isr_nodes = &node;
		parts[i].n_replica_nodes = parts[i].n_isr_nodes = 1;
	}
	kp_metadata_response_topic topic;
	kp_default_metadata_response_topic(&topic);
	topic.name = str("benchmark-topic");
	topic.partitions = parts.data();
	topic.n_partitions = int32_t(n);
	kp_metadata_response_broker broker;
	kp_default_metadata_response_broker(&broker);
	broker.host = str("localhost");
	kp_metadata_response resp;
	kp_default_metadata_response(&resp);
	resp.brokers = &broker;
	resp.n_brokers = 1;
	resp.topics = &topic;
	resp.n_topics = 1;
	for (auto _ : state) {
		kwr k = kwr_of(wire.data(), wire.size());
		kp_response_begin(&k, kp_api_find(KP_METADATA), 12, 1);
		kp_encode_metadata_response(&k, 12, &resp);
		benchmark::DoNotOptimize(kp_response_end(&k));
	}
	state.SetItemsProcessed(state.iterations() * int64_t(n));
}
BENCHMARK(BM_metadata_response_encode)->ArgName("partitions")->Arg(1)->Arg(1000);

} // namespace
