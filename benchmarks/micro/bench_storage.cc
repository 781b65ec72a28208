// SPDX-License-Identifier: Apache-2.0
// The storage engine's own cost: appends over an io that does nothing, and the recovery scan.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <cstring>
#include <vector>

// C headers: designated initializers there leave the rest zero on purpose
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#define _Static_assert static_assert
extern "C" {
#include "base/lblock.h"
#include "kafka/batch.h"
#include "storage/format/scan.h"
#include "storage/worker/engine.h"
}
#pragma GCC diagnostic pop

namespace
{

// Every operation succeeds and moves no bytes.
struct null_io {
	struct io io;
	struct list queue;
	struct list
		keep; // files of the store, by name, so that the store finds what it has written
};

struct null_file {
	std::vector<uint8_t> bytes;
	char path[IO_PATH_MAX];
};

std::vector<null_file *> files;

null_file *find(const char *path)
{
	for (null_file *f : files)
		if (strcmp(f->path, path) == 0)
			return f;
	return nullptr;
}

int null_open(struct io *, const char *path, unsigned flags, struct io_file **out)
{
	null_file *f = find(path);
	if (!f && !(flags & IO_CREATE))
		return -2;
	if (!f) {
		f = new null_file;
		snprintf(f->path, sizeof(f->path), "%s", path);
		files.push_back(f);
	}
	*out = reinterpret_cast<struct io_file *>(f);
	return 0;
}
void null_close(struct io *, struct io_file *)
{
}
int null_size(struct io *, struct io_file *f, uint64_t *out)
{
	*out = reinterpret_cast<null_file *>(f)->bytes.size();
	return 0;
}
int null_truncate(struct io *, struct io_file *, uint64_t)
{
	return 0;
}
int64_t null_pread(struct io *, struct io_file *, void *, uint64_t, uint64_t)
{
	return 0;
}
int64_t null_pwrite(struct io *, struct io_file *, const void *, uint64_t len, uint64_t)
{
	return static_cast<int64_t>(len);
}
int null_fsync(struct io *, struct io_file *)
{
	return 0;
}
int null_path(struct io *, const char *)
{
	return 0;
}
int null_rename(struct io *, const char *from, const char *to)
{
	null_file *f = find(from);
	if (f)
		snprintf(f->path, sizeof(f->path), "%s", to);
	return f ? 0 : -2;
}
bool null_reaches(struct io *, const char *)
{
	return true;
}
int null_list(struct io *, const char *, void (*)(void *, const char *), void *)
{
	return 0;
}
void null_submit(struct io *io, struct io_op *op)
{
	list_push_back(&reinterpret_cast<null_io *>(io)->queue, &op->node);
}
uint32_t null_reap(struct io *io, struct list *done)
{
	struct list *queue = &reinterpret_cast<null_io *>(io)->queue;
	uint32_t n = 0;
	for (struct list *it = queue->next; it != queue; it = it->next, n++) {
		struct io_op *op = reinterpret_cast<struct io_op *>(it); // node is its first member
		op->result = op->kind == IO_READ || op->kind == IO_WRITE
				     ? static_cast<int64_t>(op->len)
				     : 0;
	}
	list_splice(done, queue);
	return n;
}

const struct io_api null_api = {null_submit, null_reap, null_open, null_close, null_size,
	null_truncate, null_pread, null_pwrite, null_fsync, null_path, null_path, null_rename,
	null_path, null_path, null_reaches, null_list};

// One batch with one record, so that its whole size is about 100 bytes.
uint32_t small_batch(uint8_t *out, uint32_t room)
{
	struct batch_build b;
	static const uint8_t value[32] = {1};
	const struct kbytes none = {nullptr, -1}, body = {value, sizeof(value)};
	batch_build_begin(&b, out, room);
	batch_build_add(&b, 1000, none, body, nullptr, 0);
	return batch_build_finish(&b);
}

constexpr uint32_t BLOCKS = 64;

struct world {
	null_io io;
	struct store *store;
	struct engine *engine;
	struct lblock_pool pool;
	uint8_t *memory;
	std::vector<struct st_log *> logs;

	explicit world(int count)
	{
		char dirs[1][256] = {"/null"}, err[256];
		io.io.api = &null_api;
		list_init(&io.queue);
		struct store_config sc = {};
		sc.dirs = dirs;
		sc.dir_count = sc.workers = 1;
		sc.journal_bytes = 256u << 20;
		sc.seed = 1;
		store = store_open(&io.io, &sc, err, sizeof(err));
		struct engine_config cfg = {};
		cfg.max_logs = 1u << 20;
		engine = engine_create(&io.io, store, &cfg);
		memory = static_cast<uint8_t *>(aligned_alloc(4096, BLOCKS * LBLOCK_SIZE));
		lblock_pool_init(&pool, memory, BLOCKS * LBLOCK_SIZE);
		for (int i = 0; i < count; i++) {
			struct st_req r = {};
			r.op = ST_OPEN;
			r.open.topic_id.b[0] = 1;
			r.open.partition = i;
			r.open.create = true;
			run(&r);
			logs.push_back(r.log);
		}
	}
	~world()
	{
		engine_destroy(engine);
		store_close(store);
		lblock_pool_fini(&pool);
		free(memory);
		for (null_file *f : files)
			delete f;
		files.clear();
	}
	void run(struct st_req *r)
	{
		engine_request(engine, r);
		drain();
	}
	// Has all blocks released, for the log's end at pos.
	void release(uint64_t pos)
	{
		std::vector<struct st_req> reqs(logs.size());
		for (size_t i = 0; i < logs.size(); i++) {
			reqs[i].op = ST_FILL;
			reqs[i].log = logs[i];
			reqs[i].fill.wanted = {0, pos};
			engine_request(engine, &reqs[i]);
		}
		drain();
	}
	void drain()
	{
		struct list done;
		list_init(&done);
		while (!engine_is_idle(engine))
			engine_step(engine, 1, &done);
	}
};

// Appends of one batch of about 100 bytes to each of N logs, all in one commit cycle.
void storage_append_100_bytes(benchmark::State &state)
{
	const int count = static_cast<int>(state.range(0));
	world w(count);
	uint8_t batch[256];
	const uint32_t size = small_batch(batch, sizeof(batch));
	struct lblock *block = lblock_get(&w.pool);
	memset(block->data, 0, LBLOCK_SIZE);
	std::vector<struct st_req> reqs(count);
	uint64_t pos = 0;
	int64_t offset = 0;
	for (auto _ : state) {
		if (pos % LBLOCK_SIZE + size > LBLOCK_SIZE) { // one batch that fills the block up
			state.PauseTiming();
			uint64_t room = LBLOCK_SIZE - pos % LBLOCK_SIZE;
			struct lblock *next = lblock_get(&w.pool);
			memset(next->data, 0, LBLOCK_SIZE);
			uint8_t filler[512];
			struct batch_build b;
			static const uint8_t value[400] = {1};
			const struct kbytes none = {nullptr, -1};
			uint32_t want = static_cast<uint32_t>(room) + size, got = 0;
			for (int32_t n = 0; n < 400 && got < want; n++) {
				batch_build_begin(&b, filler, sizeof(filler));
				batch_build_add(&b, 1000, none, {value, n}, nullptr, 0);
				got = batch_build_finish(&b);
			}
			batch_set_base_offset(filler, offset);
			memcpy(block->data + pos % LBLOCK_SIZE, filler, room);
			memcpy(next->data, filler + room, got - room);
			block->next = next;
			for (int i = 0; i < count; i++) {
				reqs[i] = {};
				reqs[i].op = ST_APPEND;
				reqs[i].log = w.logs[i];
				reqs[i].append.pos = pos;
				reqs[i].append.span = {
					block, static_cast<uint32_t>(pos % LBLOCK_SIZE), got};
				reqs[i].append.base_offset = reqs[i].append.last_offset = offset;
				engine_request(w.engine, &reqs[i]);
			}
			w.drain();
			w.release(pos + got);
			lblock_unref(&w.pool, block);
			block = next;
			pos += got;
			offset++;
			state.ResumeTiming();
		}
		const uint32_t off = static_cast<uint32_t>(pos % LBLOCK_SIZE);
		memcpy(block->data + off, batch, size);
		batch_set_base_offset(block->data + off, offset);
		for (int i = 0; i < count; i++) {
			struct st_req *r = &reqs[i];
			r->op = ST_APPEND;
			r->log = w.logs[i];
			r->append.segment = 0;
			r->append.pos = pos;
			r->append.span = {block, off, size};
			r->append.base_offset = r->append.last_offset = offset;
			r->append.max_timestamp = 1000;
			engine_request(w.engine, r);
		}
		w.drain();
		pos += size;
		offset++;
	}
	lblock_unref(&w.pool, block);
	state.SetItemsProcessed(static_cast<int64_t>(state.iterations()) * count);
}
BENCHMARK(storage_append_100_bytes)->Arg(1)->Arg(100)->Arg(1000);

// The walk of recovery over batches of about 100 bytes, and over batches of 16 KiB.
void storage_recovery_scan(benchmark::State &state)
{
	const size_t total = 4u << 20;
	std::vector<uint8_t> bytes(total + 65536);
	size_t at = 0;
	int64_t offset = 0;
	std::vector<uint8_t> value(static_cast<size_t>(state.range(0)), 7);
	while (at < total) {
		struct batch_build b;
		const struct kbytes none = {nullptr, -1};
		batch_build_begin(&b, bytes.data() + at, bytes.size() - at);
		batch_build_add(&b, 1, none, {value.data(), static_cast<int32_t>(value.size())},
			nullptr, 0);
		uint32_t n = batch_build_finish(&b);
		batch_set_base_offset(bytes.data() + at, offset++);
		at += n;
	}
	for (auto _ : state) {
		struct scan s;
		const uint8_t *p = bytes.data();
		size_t n = at;
		scan_init(&s, 0, 0, at);
		while (scan_feed(&s, &p, &n) == SCAN_BATCH)
			;
		benchmark::DoNotOptimize(s.next_offset);
	}
	state.SetBytesProcessed(
		static_cast<int64_t>(state.iterations()) * static_cast<int64_t>(at));
}
BENCHMARK(storage_recovery_scan)->Arg(32)->Arg(16384);

} // namespace
