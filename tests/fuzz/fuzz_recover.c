/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recovery of a segment file of any bytes. The first byte says which of two ways: the pure scan,
 * fed in pieces, against a plain reading of its rules; or the whole engine over an io in memory,
 * which then has to serve exactly the batches that the rules allow, and take appends.
 */
#include "unit/storage/io_mem.h"

#include "base/crc.h"
#include "kafka/batch.h"
#include "storage/format/scan.h"
#include "storage/worker/engine.h"

#define LOG_DIR "/data/01000000000000000000000000000000-0"
#define SEGMENT LOG_DIR "/00000000000000000000.log"
#define BLOCKS 16u

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
};

static void world_start(struct world *w)
{
	char dirs[1][256] = {"/data"}, err[256];
	static uint8_t staging[ENGINE_STAGING] __attribute__((aligned(4096)));
	const struct engine_config cfg = {.max_logs = 4, .staging = staging};
	w->store = store_open(&w->mem.io, dirs, 1, 1, err, sizeof(err));
	CHECK(w->store);
	w->engine = engine_create(&w->mem.io, w->store, &cfg);
	CHECK(w->engine);
}

static void world_crash(struct world *w)
{
	engine_destroy(w->engine);
	store_close(w->store, &w->mem.io, false);
}

static enum st_err world_do(struct world *w, struct st_req *r)
{
	struct list done;
	list_init(&done);
	engine_request(w->engine, r);
	while (!engine_is_idle(w->engine))
		engine_step(w->engine, 1000, &done);
	CHECK(list_pop_front(&done) == &r->node && list_empty(&done));
	return r->err;
}

static void world_open(struct world *w, struct st_req *r, bool create)
{
	*r = (struct st_req){.op = ST_OPEN};
	r->open.topic[0] = 't';
	r->open.topic_id.b[0] = 1;
	r->open.create = create;
	enum st_err err = world_do(w, r);
	CHECK(err == ST_OK);
}

/* Reads all batches; they must be the first `end` bytes of the file as it was. */
static void world_read(
	struct world *w, struct st_log *log, const uint8_t *p, size_t end, int64_t next)
{
	struct lblock *chain = lblock_get_chain(&w->pool, BLOCKS);
	size_t at = 0;
	for (int64_t offset = 0; offset < next;) {
		struct st_req r = {.op = ST_READ, .log = log};
		r.read.offset = offset;
		r.read.limit = next;
		r.read.max_bytes = 10000;
		r.read.blocks = chain;
		r.read.block_count = BLOCKS;
		enum st_err err = world_do(w, &r);
		if (err == ST_E_SHORT && r.read.need > BLOCKS)
			break;
		CHECK(err == ST_OK && r.read.base_offset == offset && r.read.next_offset > offset);
		CHECK(r.read.span.len <= end - at);
		uint8_t *copy = malloc(r.read.span.len);
		lspan_copy(r.read.span, 0, copy, r.read.span.len);
		CHECK(memcmp(copy, p + at, r.read.span.len) == 0);
		free(copy);
		at += r.read.span.len;
		offset = r.read.next_offset;
	}
	for (struct lblock *b = chain, *n; b; b = n) {
		n = b->next;
		lblock_unref(&w->pool, b);
	}
}

static void fuzz_engine(const uint8_t *p, size_t size)
{
	static uint8_t memory[BLOCKS * LBLOCK_SIZE] __attribute__((aligned(4096)));
	struct world *w = malloc(sizeof(*w));
	struct st_req r;
	int64_t next;
	io_mem_init(&w->mem);
	CHECK(lblock_pool_init(&w->pool, memory, sizeof(memory)) == 0);
	world_start(w);
	world_open(w, &r, true);
	world_crash(w);
	struct io_file *f = mem_find(&w->mem, SEGMENT);
	CHECK(f && mem_resize(f, size));
	if (size)
		memcpy(f->data, p, size);
	size_t end = reference(p, size, size, &next);
	for (int round = 0; round < 2; round++) {
		world_start(w);
		world_open(w, &r, false);
		CHECK(r.open.recovered && r.open.log_end_offset == next &&
			r.open.segment_pos == end);
		CHECK(round == 0 || r.open.cut_bytes == 0);
		CHECK(f->size % 4096 == 0 && f->size >= end);
		for (size_t i = end; i < f->size; i++)
			CHECK(f->data[i] == 0);
		world_read(w, r.log, p, end, next);
		world_crash(w);
	}
	lblock_pool_fini(&w->pool);
	io_mem_fini(&w->mem);
	free(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	if (data[0] & 1)
		fuzz_scan(data + 1, size - 1, 1 + data[0] / 2);
	else
		fuzz_engine(data + 1, size - 1);
	return 0;
}
