/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_TESTS_STORAGE_KIT_H
#define MR_TESTS_STORAGE_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "kafka/batch.h"
#include "storage/worker/engine.h"

/* A log as its asker sees it, an engine over some io, and record batches to put into it. */

#define KIT_BLOCKS 512u
#define KIT_NOW 1700000000000ll

struct kit {
	struct io *io;
	struct store *store;
	struct engine *engine;
	struct st_metrics metrics;
	enum st_durability durability;
	uint64_t journal_bytes; /* 0: 1 MiB */
	char dirs[2][256];
	uint16_t dir_count;
	uint32_t max_logs; /* 0: 100 */
	int64_t now_ms;
	uint8_t *memory;
	struct lblock_pool blocks;
	/* appended and not released yet (storage.h P8) */
	struct kit_held {
		struct st_log *log;
		struct st_pos end;
		struct lspan span;
	} * held;
	uint32_t held_count, held_capacity;
};

/* Lets go of a span. What nobody else holds is overwritten: the engine has no business there. */
static inline void kit_unref(struct kit *k, struct lspan span)
{
	uint64_t end = (uint64_t)span.off + span.len;
	struct lblock *b = span.first;
	for (uint64_t at = 0; at < end; at += LBLOCK_SIZE, b = b->next)
		if (b->refs == 1)
			memset(b->data, 0xdd, LBLOCK_SIZE);
	lspan_unref(&k->blocks, span);
}

/* Lets go of what is released of the log; NULL: of everything. */
static inline void kit_release(struct kit *k, struct st_log *log, struct st_pos at)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < k->held_count; i++) {
		struct kit_held h = k->held[i];
		bool below = h.end.segment < at.segment ||
			     (h.end.segment == at.segment && h.end.pos <= at.pos);
		if (!log || (h.log == log && below))
			kit_unref(k, h.span);
		else
			k->held[n++] = h;
	}
	k->held_count = n;
}

/* An answered append: its blocks stay until they are released. */
static inline void kit_keep(struct kit *k, const struct st_req *r)
{
	if (r->err != ST_OK) {
		lspan_unref(&k->blocks, r->append.span);
		return;
	}
	if (k->held_count == k->held_capacity) {
		k->held_capacity = k->held_capacity ? k->held_capacity * 2 : 64;
		k->held = realloc(k->held, k->held_capacity * sizeof(*k->held));
		assert_non_null(k->held);
	}
	k->held[k->held_count++] = (struct kit_held){
		.log = r->log,
		.end = {r->append.segment, r->append.pos + r->append.span.len},
		.span = r->append.span,
	};
	kit_release(k, r->log, r->append.released);
}

/* What goes wrong on purpose need not be told of. */
static inline void kit_be_quiet(void)
{
	if (!getenv("LOG"))
		log_set_level(LOG_LV_ERROR + 1);
}

/* An open log: where its asker writes next. */
struct kit_log {
	struct st_log *log;
	struct st_req opened;
	int64_t segment;
	uint64_t pos;
	int64_t next_offset;
	struct lblock *tail; /* holds the last byte; NULL: none yet */
};

static inline void kit_init(struct kit *k, struct io *io, const char *dir)
{
	memset(k, 0, sizeof(*k));
	k->io = io;
	snprintf(k->dirs[0], sizeof(k->dirs[0]), "%s", dir);
	k->dir_count = 1;
	k->now_ms = KIT_NOW;
	k->memory = aligned_alloc(4096, (size_t)KIT_BLOCKS * LBLOCK_SIZE);
	assert_non_null(k->memory);
	assert_int_equal(
		lblock_pool_init(&k->blocks, k->memory, (size_t)KIT_BLOCKS * LBLOCK_SIZE), 0);
}

static inline void kit_fini(struct kit *k)
{
	kit_release(k, NULL, (struct st_pos){0});
	free(k->held);
	assert_int_equal(k->blocks.free_count, k->blocks.count);
	lblock_pool_fini(&k->blocks);
	free(k->memory);
}

static inline struct store_config kit_store_config(struct kit *k)
{
	return (struct store_config){
		.dirs = k->dirs,
		.dir_count = k->dir_count,
		.workers = 1,
		.journal_bytes = k->journal_bytes ? k->journal_bytes : 1u << 20,
		.seed = 7,
	};
}

static inline void kit_start(struct kit *k)
{
	char err[512] = "";
	const struct store_config sc = kit_store_config(k);
	k->store = store_open(k->io, &sc, err, sizeof(err));
	if (!k->store)
		fail_msg("%s", err);
	const struct engine_config cfg = {.durability = k->durability,
		.max_logs = k->max_logs ? k->max_logs : 100,
		.metrics = &k->metrics};
	k->engine = engine_create(k->io, k->store, &cfg);
	assert_non_null(k->engine);
}

static inline void kit_crash(struct kit *k)
{
	engine_destroy(k->engine);
	store_close(k->store);
	kit_release(k, NULL, (struct st_pos){0});
}

#define KIT_PATIENCE 20000 /* steps */

/* One step; how many requests came back. Time goes on when nothing else does. */
static inline uint32_t kit_step(struct kit *k)
{
	struct list done;
	uint32_t n = 0;
	list_init(&done);
	engine_step(k->engine, k->now_ms, &done);
	engine_check(k->engine);
	for (; list_pop_front(&done); n++)
		;
	if (engine_is_idle(k->engine) || engine_in_flight(k->engine) > 0)
		return n;
	/* whoever drives the engine sleeps now: something has to wake it up */
	assert_true(engine_wait_ms(k->engine) > 0);
	k->now_ms += engine_wait_ms(k->engine);
	return n;
}

/* Steps until nothing is in flight; how many requests came back. */
static inline uint32_t kit_run(struct kit *k)
{
	uint32_t n = 0;
	for (int i = 0; !engine_is_idle(k->engine) && i < KIT_PATIENCE; i++)
		n += kit_step(k);
	return n;
}

static inline enum st_err kit_do(struct kit *k, struct st_req *r)
{
	engine_request(k->engine, r);
	assert_int_equal(kit_run(k), 1);
	return r->err;
}

/* Has everything released, and lets go of it. */
static inline void kit_release_all(struct kit *k)
{
	while (k->held_count > 0) {
		struct kit_held *h = &k->held[k->held_count - 1];
		struct st_req r = {.op = ST_FILL, .log = h->log, .fill = {.wanted = h->end}};
		struct st_pos all = {.segment = INT64_MAX};
		enum st_err err = kit_do(k, &r);
		kit_release(k, r.log, err == ST_OK ? r.fill.released : all);
	}
}

static inline bool kit_stop(struct kit *k)
{
	kit_release_all(k);
	engine_stop(k->engine);
	for (int i = 0; !engine_is_stopped(k->engine) && i < KIT_PATIENCE; i++) {
		kit_step(k);
		k->now_ms += engine_in_flight(k->engine) == 0 ? 100 : 0;
	}
	bool clean = engine_is_stopped(k->engine) && engine_is_clean(k->engine);
	engine_destroy(k->engine);
	store_close(k->store);
	return clean;
}

static inline enum st_err kit_open(struct kit *k, struct kit_log *l, uint8_t id, bool create)
{
	memset(l, 0, sizeof(*l));
	struct st_req *r = &l->opened;
	r->op = ST_OPEN;
	snprintf(r->open.topic, sizeof(r->open.topic), "topic-%d", id);
	memset(r->open.topic_id.b, id, sizeof(r->open.topic_id.b));
	r->open.partition = 3;
	r->open.create = create;
	if (kit_do(k, r) != ST_OK)
		return r->err;
	l->log = r->log;
	l->segment = r->open.segment;
	l->pos = r->open.segment_pos;
	l->next_offset = r->open.log_end_offset;
	if (l->pos % LBLOCK_SIZE == 0)
		return ST_OK;
	l->tail = lblock_get(&k->blocks);
	struct st_req t = {.op = ST_TAIL, .log = l->log, .tail = {.block = l->tail}};
	if (kit_do(k, &t) != ST_OK) {
		lblock_unref(&k->blocks, l->tail);
		l->tail = NULL;
	}
	return t.err;
}

/* Drops what the asker holds. */
static inline void kit_drop(struct kit *k, struct kit_log *l)
{
	if (l->tail)
		lblock_unref(&k->blocks, l->tail);
	l->tail = NULL;
}

static inline enum st_err kit_close(struct kit *k, struct kit_log *l)
{
	struct st_req r = {.op = ST_CLOSE, .log = l->log};
	struct st_log *log = l->log;
	kit_drop(k, l);
	enum st_err err = kit_do(k, &r);
	kit_release(k, log, (struct st_pos){.segment = INT64_MAX});
	return err;
}

/* One batch with `count` records of `size` bytes and these timestamps: from, from + 1, ... */
static inline uint32_t kit_batch(
	uint8_t *out, uint32_t room, int64_t base_offset, int count, uint32_t size, int64_t from)
{
	static uint8_t value[1 << 20];
	struct batch_build b;
	for (uint32_t i = 0; i < size; i++)
		value[i] = (uint8_t)(i * 7 + (uint64_t)base_offset);
	batch_build_begin(&b, out, room);
	for (int i = 0; i < count; i++)
		assert_true(batch_build_add(&b, from + i, KBYTES_NULL,
			(struct kbytes){.p = value, .len = (int32_t)size}, NULL, 0));
	uint32_t n = batch_build_finish(&b);
	batch_set_base_offset(out, base_offset);
	batch_set_leader_epoch(out, 5);
	return n;
}

/* Puts bytes into blocks at the log's end: what the partition core does. Moves l on. */
static inline struct lspan kit_place(struct kit *k, struct kit_log *l, const uint8_t *p, uint32_t n)
{
	struct lspan span = {.off = (uint32_t)(l->pos % LBLOCK_SIZE), .len = n};
	struct lblock *last = NULL;
	for (uint32_t at = 0; at < n;) {
		if (l->pos % LBLOCK_SIZE == 0) {
			struct lblock *b = lblock_get(&k->blocks);
			assert_non_null(b);
			memset(b->data, 0xee,
				LBLOCK_SIZE); /* what is not written must not matter */
			if (l->tail) {
				l->tail->next = b;
				lblock_unref(&k->blocks, l->tail);
			}
			l->tail = b;
		}
		if (!span.first)
			span.first = l->tail;
		if (last != l->tail) {
			lblock_ref(l->tail);
			last = l->tail;
		}
		uint32_t off = (uint32_t)(l->pos % LBLOCK_SIZE);
		uint32_t run = min_of(n - at, LBLOCK_SIZE - off);
		memcpy(l->tail->data + off, p + at, run);
		at += run;
		l->pos += run;
	}
	return span;
}

/* Makes the append request for one batch; roll: into a new segment. */
static inline void kit_append_req(struct kit *k, struct kit_log *l, struct st_req *r,
	const uint8_t *batch, uint32_t size, bool roll)
{
	memset(r, 0, sizeof(*r));
	if (roll) {
		kit_drop(k, l);
		l->segment = l->next_offset;
		l->pos = 0;
	}
	r->op = ST_APPEND;
	r->log = l->log;
	r->append.segment = l->segment;
	r->append.pos = l->pos;
	r->append.base_offset = batch_base_offset(batch);
	r->append.last_offset = batch_last_offset(batch);
	r->append.max_timestamp = batch_max_timestamp(batch);
	r->append.span = kit_place(k, l, batch, size);
	l->next_offset = r->append.last_offset + 1;
}

static inline enum st_err kit_append_bytes(
	struct kit *k, struct kit_log *l, const uint8_t *batch, uint32_t size, bool roll)
{
	struct st_req r;
	kit_append_req(k, l, &r, batch, size, roll);
	enum st_err err = kit_do(k, &r);
	kit_keep(k, &r);
	return err;
}

static inline uint8_t *kit_buffer(void)
{
	static uint8_t buf[4u << 20];
	return buf;
}

static inline enum st_err kit_append(
	struct kit *k, struct kit_log *l, int count, uint32_t size, int64_t from, bool roll)
{
	uint8_t *p = kit_buffer();
	uint32_t n = kit_batch(p, 4u << 20, l->next_offset, count, size, from);
	return kit_append_bytes(k, l, p, n, roll);
}

/* Reads from offset on; the bytes come back in *out (kit_buffer). */
static inline enum st_err kit_read(struct kit *k, struct kit_log *l, int64_t offset,
	uint32_t max_bytes, uint32_t blocks, struct st_req *r)
{
	memset(r, 0, sizeof(*r));
	r->op = ST_READ;
	r->log = l->log;
	r->read.offset = offset;
	r->read.limit = l->next_offset;
	r->read.max_bytes = max_bytes;
	r->read.block_count = blocks;
	r->read.blocks = lblock_get_chain(&k->blocks, blocks);
	assert_non_null(r->read.blocks);
	enum st_err err = kit_do(k, r);
	if (err == ST_OK)
		lspan_copy(r->read.span, 0, kit_buffer(), r->read.span.len);
	for (struct lblock *b = r->read.blocks; b;) {
		struct lblock *next = b->next;
		lblock_unref(&k->blocks, b);
		b = next;
	}
	return err;
}

/* Reads the whole log batch by batch, CHECKing that it is dense; its end. */
static inline int64_t kit_read_all(struct kit *k, struct kit_log *l, uint32_t max_bytes)
{
	int64_t offset = l->opened.open.log_start_offset;
	while (offset < l->next_offset) {
		struct st_req r;
		enum st_err err = kit_read(k, l, offset, max_bytes, 80, &r);
		assert_int_equal(err, ST_OK);
		assert_int_equal(r.read.base_offset, offset);
		uint8_t *p = kit_buffer();
		for (uint32_t at = 0; at < r.read.span.len; at += batch_size(p + at)) {
			assert_int_equal(batch_base_offset(p + at), offset);
			assert_true(batch_crc_ok(p + at));
			offset = batch_next_offset(p + at);
		}
		assert_int_equal(r.read.next_offset, offset);
	}
	return offset;
}

#endif
