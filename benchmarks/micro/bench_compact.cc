// SPDX-License-Identifier: Apache-2.0
// Compaction of one log: the cleaner's own cost, over files in memory. Half of the records are
// superseded. Bytes are those of the input segments as stored; `raw` counts them decompressed.
#include <benchmark/benchmark.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

// C headers: designated initializers there leave the rest zero on purpose
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#define _Static_assert static_assert
#define _Alignof alignof
extern "C" {
#include "base/crc.h"
#include "base/prng.h"
#include "kafka/batch.h"
#include "storage/format/bidx.h"
#include "storage/log/compact.h"
}
#pragma GCC diagnostic pop

namespace
{

using bytes = std::vector<uint8_t>;

// A directory in memory.
struct mem_io {
	struct io io;
	std::map<std::string, bytes *> files;
};

bytes *of(struct io_file *f)
{
	return reinterpret_cast<bytes *>(f);
}
mem_io *of(struct io *io)
{
	return reinterpret_cast<mem_io *>(io);
}

int mem_open(struct io *io, const char *path, unsigned flags, struct io_file **out)
{
	bytes *&f = of(io)->files[path];
	if (!f)
		f = new bytes;
	if (flags & IO_TRUNC)
		f->clear();
	*out = reinterpret_cast<struct io_file *>(f);
	return 0;
}
void mem_close(struct io *, struct io_file *)
{
}
int64_t mem_pread(struct io *, struct io_file *f, void *buf, uint64_t len, uint64_t off)
{
	uint64_t n = off < of(f)->size() ? std::min<uint64_t>(len, of(f)->size() - off) : 0;
	memcpy(buf, of(f)->data() + off, n);
	return static_cast<int64_t>(n);
}
int64_t mem_pwrite(struct io *, struct io_file *f, const void *buf, uint64_t len, uint64_t off)
{
	if (of(f)->size() < off + len)
		of(f)->resize(off + len);
	memcpy(of(f)->data() + off, buf, len);
	return static_cast<int64_t>(len);
}
int mem_flush(struct io *, struct io_file *)
{
	return 0;
}
int mem_flush_dir(struct io *, const char *)
{
	return 0;
}
int mem_unlink(struct io *io, const char *path)
{
	auto it = of(io)->files.find(path);
	if (it == of(io)->files.end())
		return -2;
	delete it->second;
	of(io)->files.erase(it);
	return 0;
}
int mem_rename(struct io *io, const char *from, const char *to)
{
	mem_unlink(io, to);
	of(io)->files[to] = of(io)->files[from];
	of(io)->files.erase(from);
	return 0;
}

const struct io_api mem_api = {nullptr, nullptr, mem_open, mem_close, nullptr, nullptr, mem_pread,
	mem_pwrite, mem_flush, nullptr, nullptr, mem_rename, mem_unlink, mem_flush_dir, nullptr,
	nullptr};

constexpr uint32_t SEGMENT = 8u << 20;
constexpr int SEGMENTS = 4;
constexpr uint32_t BATCH = 64u << 10;
constexpr size_t SCRATCH = 64u << 20;
constexpr size_t MAP = 32u << 20;

struct world {
	mem_io io{};
	std::map<std::string, bytes> saved;
	std::vector<struct compact_segment> segments;
	uint64_t raw = 0, stored = 0, records = 0;
	struct compact_memory mem {
	};

	world(enum codec codec, uint32_t size)
	{
		io.io.api = &mem_api;
		mem.map = static_cast<uint8_t *>(aligned_alloc(4096, MAP));
		mem.map_size = MAP;
		mem.scratch = static_cast<uint8_t *>(aligned_alloc(4096, SCRATCH));
		mem.scratch_size = SCRATCH;
		struct prng prng = {1};
		int64_t next = 0;
		uint64_t keys = SEGMENTS * uint64_t{SEGMENT} / size / 2;
		for (int i = 0; i < SEGMENTS; i++)
			next = fill(codec, size, keys, next, &prng);
	}
	~world()
	{
		clear();
		free(mem.map);
		free(mem.scratch);
	}

	void clear()
	{
		for (auto &f : io.files)
			delete f.second;
		io.files.clear();
	}

	void restore()
	{
		clear();
		for (auto &f : saved)
			io.files[f.first] = new bytes(f.second);
	}

	static uint32_t one_batch(
		bytes &out, enum codec codec, uint32_t size, uint64_t keys, struct prng *prng)
	{
		static bytes plain(2 * BATCH);
		bytes value(size - 32);
		struct batch_build b;
		batch_build_begin(&b, plain.data(), plain.size());
		for (uint32_t at = 0; at + size <= BATCH; at += size) {
			uint64_t key[2] = {prng_below(prng, keys), 7};
			for (size_t i = 0; i < value.size(); i++) // about three to one for zstd
				value[i] = i % 4 ? uint8_t('a' + i % 13) : uint8_t(prng_next(prng));
			struct kbytes k = {reinterpret_cast<uint8_t *>(key), 16};
			struct kbytes v = {value.data(), static_cast<int32_t>(value.size())};
			batch_build_add(&b, 1700000000000ll + at, k, v, nullptr, 0);
		}
		uint32_t n = batch_build_finish(&b);
		out.assign(plain.data(), plain.data() + n);
		if (codec == CODEC_NONE)
			return n;
		out.resize(2 * BATCH);
		out.resize(batch_compress(plain.data(), codec, 0, out.data(), 2 * BATCH));
		return n;
	}

	int64_t fill(
		enum codec codec, uint32_t size, uint64_t keys, int64_t base, struct prng *prng)
	{
		bytes log, batch;
		int64_t next = base;
		for (uint64_t plain = 0; plain < SEGMENT;) {
			plain += one_batch(batch, codec, size, keys, prng);
			raw += plain > SEGMENT ? 0 : BATCH;
			batch_set_base_offset(batch.data(), next);
			next = batch_next_offset(batch.data());
			log.insert(log.end(), batch.begin(), batch.end());
		}
		records += static_cast<uint64_t>(next - base);
		stored += log.size();
		struct compact_segment s = {};
		s.base_offset = base;
		s.end_offset = next;
		s.end_pos = log.size();
		segments.push_back(s);
		log.resize(align_up(log.size(), size_t{4096}));
		save(base, "log", log);
		save(base, "index", index_of(s, log));
		return next;
	}

	static bytes index_of(const struct compact_segment &s, const bytes &log)
	{
		struct uuid id = {};
		uint32_t seed = bidx_seed(&id, 0, s.base_offset);
		uint32_t blocks = static_cast<uint32_t>((s.end_pos + BIDX_BLOCK - 1) / BIDX_BLOCK);
		bytes out;
		for (uint32_t i = 0; i < blocks; i += BIDX_PER_PAGE) {
			struct fmt_bidx_page p = {};
			p.page = i / BIDX_PER_PAGE;
			p.count = std::min(blocks - i, BIDX_PER_PAGE);
			for (uint32_t j = 0; j < p.count; j++) {
				uint64_t at = uint64_t{i + j} * BIDX_BLOCK;
				struct fmt_block *b = &p.blocks[j];
				b->first_offset = s.base_offset;
				b->max_timestamp = -1;
				b->first_pos = i + j ? BIDX_NO_BATCH : 0;
				b->sum = crc32c(bidx_sum_begin(seed, i + j), log.data() + at,
					std::min<uint64_t>(s.end_pos - at, BIDX_BLOCK));
			}
			p.flags = i + BIDX_PER_PAGE >= blocks ? BIDX_SEALED : 0;
			p.end_offset = p.flags ? s.end_offset : 0;
			p.end_pos = p.flags ? s.end_pos : 0;
			bidx_seal(&p, seed);
			auto *from = reinterpret_cast<const uint8_t *>(&p);
			out.insert(out.end(), from, from + sizeof(p));
		}
		return out;
	}

	void save(int64_t base, const char *kind, const bytes &b)
	{
		char name[FMT_NAME_SIZE];
		fmt_segment_name(name, base, kind);
		saved[std::string("/log/") + name] = b;
	}

	struct compact_stats run()
	{
		struct compact_input in = {};
		in.path = "/log";
		in.segments = segments.data();
		in.count = static_cast<uint32_t>(segments.size());
		in.limit = INT64_MAX;
		in.now_ms = 1800000000000ll;
		in.policy.compact = true;
		in.policy.delete_retention_ms = 86400000;
		in.policy.max_compaction_lag_ms = INT64_MAX;
		in.segment_bytes = SEGMENT;
		in.producer_expiration_ms = -1;
		struct compact *c = compact_begin(&in, &mem);
		enum compact_step step;
		while ((step = compact_step(c, &io.io, COMPACT_BUDGET)) != COMPACT_DONE)
			if (step == COMPACT_SWAP)
				compact_swap(c, &io.io);
			else if (step != COMPACT_MORE)
				abort();
		struct compact_stats stats = *compact_stats_of(c);
		compact_end(c, &io.io);
		return stats;
	}
};

void compact(benchmark::State &state)
{
	auto codec = static_cast<enum codec>(state.range(0));
	world w(codec, static_cast<uint32_t>(state.range(1)));
	struct compact_stats stats = {};
	for (auto _ : state) {
		state.PauseTiming();
		w.restore();
		state.ResumeTiming();
		stats = w.run();
	}
	auto n = static_cast<int64_t>(state.iterations());
	state.SetLabel(codec_name(codec));
	state.SetBytesProcessed(n * static_cast<int64_t>(w.stored));
	state.SetItemsProcessed(n * static_cast<int64_t>(w.records));
	state.counters["raw"] =
		benchmark::Counter(static_cast<double>(w.raw) * static_cast<double>(n),
			benchmark::Counter::kIsRate, benchmark::Counter::kIs1024);
	state.counters["dropped_percent"] =
		100.0 * static_cast<double>(stats.records_dropped) / static_cast<double>(w.records);
}
BENCHMARK(compact)
	->ArgNames({"codec", "record"})
	->ArgsProduct({{CODEC_NONE, CODEC_LZ4, CODEC_ZSTD}, {100, 1024}})
	->Unit(benchmark::kMillisecond);

} // namespace
