/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recovery of a log directory in which any bytes of any files were overwritten. The first byte says
 * which of two ways: the pure scan, fed in pieces, against a plain reading of its rules; or the
 * whole engine over an io in memory. That refuses the directory, or serves valid batches in order
 * and fails what it cannot; and whatever it has said once it says again after another crash.
 */
#include "unit/storage/io_mem.h"

#include "base/crc.h"
#include "base/log.h"
#include "kafka/batch.h"
#include "storage/format/scan.h"
#include "storage/worker/engine.h"

#define LOGS 3
#define BLOCKS 48u
#define RING (64u * 1024u)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The rules of scan.h once more, in the plainest way. Where the log ends; *next: its end offset. */
static size_t reference(const uint8_t *p, size_t size, size_t file_size, int64_t *next)
{
	size_t at = 0;
	*next = 0;
	while (file_size - at >= BATCH_HEADER_SIZE && size - at >= BATCH_HEADER_SIZE) {
		const uint8_t *b = p + at;
		size_t n = batch_size(b);
		if (batch_base_offset(b) != *next || b[16] != 2 || n == 0 || n > file_size - at)
			break;
		int32_t delta = batch_last_offset_delta(b);
		if (delta < 0 || n > size - at || crc32c(0, b + 21, n - 21) != batch_crc(b))
			break;
		at += n;
		*next += delta + 1;
	}
	return at;
}

static void fuzz_scan(const uint8_t *p, size_t size, size_t piece)
{
	struct scan s;
	int64_t next;
	size_t end = reference(p, size, size, &next);
	scan_init(&s, 0, 0, size);
	for (size_t at = 0; at < size && s.stop == SCAN_STOP_NONE; at += piece) {
		const uint8_t *q = p + at;
		size_t n = min_of(piece, size - at);
		while (scan_feed(&s, &q, &n) == SCAN_BATCH)
			CHECK(s.batch.pos + s.batch.size == s.pos &&
				s.batch.last_offset + 1 == s.next_offset);
	}
	scan_end(&s);
	CHECK(s.stop != SCAN_STOP_NONE && s.pos == end && s.next_offset == next);
}

struct world {
	struct io_mem mem;
	struct store *store;
	struct engine *engine;
	struct lblock_pool pool;
	uint8_t *memory;
	uint8_t *staging;
};

/* False: the directory is refused. */
static bool world_start(struct world *w)
{
	char dirs[1][256] = {"/data"}, err[512];
	const struct store_config sc = {
		.dirs = dirs, .dir_count = 1, .workers = 1, .journal_bytes = RING, .seed = 1};
	const struct engine_config cfg = {.max_logs = 8, .staging = w->staging};
	w->store = store_open(&w->mem.io, &sc, err, sizeof(err));
	if (!w->store)
		return false;
	w->engine = engine_create(&w->mem.io, w->store, &cfg);
	CHECK(w->engine);
	return true;
}

static void world_crash(struct world *w)
{
	engine_destroy(w->engine);
	store_close(w->store);
}

static enum st_err world_do(struct world *w, struct st_req *r)
{
	struct list done;
	list_init(&done);
	engine_request(w->engine, r);
	for (int64_t now = 1000; !engine_is_idle(w->engine); now++) {
		engine_step(w->engine, now, &done);
		engine_check(w->engine);
	}
	CHECK(list_pop_front(&done) == &r->node && list_empty(&done));
	return r->err;
}

static enum st_err world_open(struct world *w, struct st_req *r, uint8_t id, bool create)
{
	*r = (struct st_req){.op = ST_OPEN};
	r->open.topic[0] = 't';
	r->open.topic_id.b[0] = id;
	r->open.create = create;
	return world_do(w, r);
}

static void blocks_put(struct world *w, struct lblock *b)
{
	for (struct lblock *n; b; b = n) {
		n = b->next;
		lblock_unref(&w->pool, b);
	}
}

/* One batch with a record of `size` bytes, in new blocks: into a segment of its own. */
static void world_append(struct world *w, struct st_log *log, int64_t offset, uint32_t size)
{
	static uint8_t buf[1 << 17], value[1 << 16];
	struct batch_build b;
	batch_build_begin(&b, buf, sizeof(buf));
	CHECK(batch_build_add(&b, offset, KBYTES_NULL,
		(struct kbytes){.p = value, .len = (int32_t)size}, NULL, 0));
	uint32_t n = batch_build_finish(&b);
	batch_set_base_offset(buf, offset);
	batch_set_leader_epoch(buf, 0);
	struct st_req r = {.op = ST_APPEND, .log = log};
	r.append.segment = r.append.base_offset = r.append.last_offset = offset;
	r.append.max_timestamp = offset;
	struct lblock *chain = lblock_get_chain(&w->pool, n / LBLOCK_SIZE + 1);
	CHECK(chain);
	r.append.span = (struct lspan){.first = chain, .len = n};
	uint32_t at = 0;
	for (struct lblock *k = chain; k; k = k->next, at += LBLOCK_SIZE)
		memcpy(k->data, buf + at, min_of(LBLOCK_SIZE, n - at));
	struct st_req f = {.op = ST_FILL, .log = log, .fill.wanted = {offset, n}};
	if (world_do(w, &r) == ST_OK)
		world_do(w, &f);
	blocks_put(w, chain);
}

/* Reads all batches. A CRC of what was served and what was refused. */
static uint32_t world_read(struct world *w, struct st_log *log, int64_t offset, int64_t end)
{
	static uint8_t copy[BLOCKS * LBLOCK_SIZE];
	struct lblock *chain = lblock_get_chain(&w->pool, 8);
	uint32_t crc = 0;
	while (offset < end) {
		struct st_req r = {.op = ST_READ, .log = log};
		r.read.offset = offset;
		r.read.limit = end;
		r.read.max_bytes = 10000;
		r.read.blocks = chain;
		r.read.block_count = 8;
		enum st_err err = world_do(w, &r);
		CHECK(err == ST_OK || err == ST_E_CORRUPT);
		crc = crc32c(crc, &offset, sizeof(offset));
		if (err != ST_OK) {
			offset++;
			continue;
		}
		lspan_copy(r.read.span, 0, copy, r.read.span.len);
		CHECK(r.read.base_offset <= offset && r.read.next_offset > offset);
		for (uint32_t at = 0; at < r.read.span.len; at += batch_size(copy + at))
			CHECK(batch_size(copy + at) > 0 && batch_crc_ok(copy + at));
		crc = crc32c(crc, copy, r.read.span.len);
		offset = r.read.next_offset;
	}
	blocks_put(w, chain);
	return crc;
}

/* Logs with sealed segments, an active one, and bytes that are in the journal only. */
static void world_fill(struct world *w)
{
	static const uint32_t sizes[] = {100, 5000, 20000, 40000, 3000, 60000, 50};
	struct st_req r[LOGS];
	CHECK(world_start(w));
	for (uint8_t i = 0; i < LOGS; i++)
		CHECK(world_open(w, &r[i], (uint8_t)(i + 1), true) == ST_OK);
	for (int64_t n = 0; n < 6; n++)
		for (uint8_t i = 0; i < LOGS; i++)
			world_append(
				w, r[i].log, n, sizes[(n + i * 2) % (int64_t)array_size(sizes)]);
	world_crash(w);
}

/* Overwrites: {file, offset, offset, offset, length, bytes} over and over. */
static void world_harm(struct world *w, const uint8_t *p, size_t size)
{
	while (size > 5) {
		struct io_file *f = &w->mem.files[p[0] % 48];
		uint64_t off = p[1] | (uint64_t)p[2] << 8 | (uint64_t)p[3] << 16;
		size_t n = min_of((size_t)p[4], size - 5);
		p += 5;
		size -= 5;
		if (f->used && !f->dir && f->size > 0) {
			off %= f->size;
			if (n == 0)
				CHECK(mem_resize(f, off));
			else
				memcpy(f->data + off, p, min_of(n, f->size - off));
		}
		p += n;
		size -= n;
	}
}

static void fuzz_engine(const uint8_t *p, size_t size)
{
	struct world *w = calloc(1, sizeof(*w));
	uint32_t crcs[2][LOGS] = {0};
	size_t bytes = (size_t)BLOCKS * LBLOCK_SIZE;
	io_mem_init(&w->mem);
	w->memory = aligned_alloc(4096, bytes);
	w->staging = aligned_alloc(4096, engine_staging_size(1));
	CHECK(w->memory && w->staging && lblock_pool_init(&w->pool, w->memory, bytes) == 0);
	world_fill(w);
	world_harm(w, p, size);
	for (int round = 0; round < 2 && world_start(w); round++) {
		for (uint8_t i = 0; i < LOGS; i++) {
			struct st_req r;
			if (world_open(w, &r, (uint8_t)(i + 1), false) != ST_OK)
				continue;
			crcs[round][i] = world_read(
				w, r.log, r.open.log_start_offset, r.open.log_end_offset);
			CHECK(round == 0 || crcs[0][i] == crcs[1][i]);
		}
		world_crash(w);
	}
	lblock_pool_fini(&w->pool);
	io_mem_fini(&w->mem);
	free(w->memory);
	free(w->staging);
	free(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	log_set_level(LOG_LV_ERROR + 1);
	if (size == 0)
		return 0;
	if (data[0] & 1)
		fuzz_scan(data + 1, size - 1, 1 + data[0] / 2);
	else
		fuzz_engine(data + 1, size - 1);
	return 0;
}
