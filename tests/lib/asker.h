/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_TESTS_LIB_ASKER_H
#define MR_TESTS_LIB_ASKER_H

/*
 * An asker of the storage, for programs that drive it without a broker: logs, the place where each
 * is written next, and the blocks that promise P8 of storage.h wants kept. One thread.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "kafka/batch.h"
#include "storage/storage.h"

#define ASKER_REQS (ST_ASKER_REQS - 512u) /* appends under way; the rest is for fills and calls */
#define ASKER_FILLS 64u
#define ASKER_INDEX 1u /* as for the first shard of a broker with a control thread */

/* A log: its end, and the blocks that are kept, linked by cache_node, oldest first. */
struct asker_log {
	struct st_log *log;
	int32_t partition;
	int64_t start_offset; /* at open */
	int64_t segment;
	uint64_t pos;
	int64_t next_offset;
	int64_t durable_offset; /* everything below is acknowledged */
	struct st_pos durable;	/* its position */
	struct list blocks;
	struct st_req fill;
	bool filling;
	bool failed;
	uint32_t in_flight; /* appends */
	void *user;
};

struct asker;
/* An append has been answered; r->err says how. */
typedef void asker_done_fn(struct asker *a, struct asker_log *l, const struct st_req *r);

struct asker {
	char dirs[1][256];
	struct st_dirs *held;
	struct st_worker *worker;
	struct waker waker;
	uint8_t *memory;
	struct lblock_pool pool;
	uint64_t segment_bytes;
	struct uuid topic_id;
	struct asker_log *logs; /* the caller's */
	uint32_t log_count;
	uint32_t fill_cursor;
	uint32_t fills;
	struct st_req *reqs;
	struct list free_reqs;
	uint32_t in_flight;
	asker_done_fn *done;
	void *user;
};

struct asker_config {
	const char *dir;
	size_t memory; /* of blocks */
	uint32_t max_logs;
	uint64_t journal_bytes;
	enum st_durability durability;
};

/* Opens the directory and starts its worker. False and a sentence in err. */
static inline bool asker_start(
	struct asker *a, const struct asker_config *c, char *err, size_t err_size)
{
	memset(a, 0, sizeof(*a));
	snprintf(a->dirs[0], sizeof(a->dirs[0]), "%s", c->dir);
	memset(a->topic_id.b, 0x42, sizeof(a->topic_id.b));
	a->segment_bytes = 1u << 30;
	a->memory = aligned_alloc(4096, c->memory);
	a->reqs = calloc(ASKER_REQS, sizeof(*a->reqs));
	CHECK(a->memory && a->reqs && lblock_pool_init(&a->pool, a->memory, c->memory) == 0);
	CHECK(waker_init(&a->waker) == 0);
	list_init(&a->free_reqs);
	for (uint32_t i = 0; i < ASKER_REQS; i++)
		list_push_back(&a->free_reqs, &a->reqs[i].node);
	const struct st_config cfg = {
		.dirs = a->dirs,
		.dir_count = 1,
		.durability = c->durability,
		.log_memory = a->memory,
		.log_bytes = c->memory,
		.askers = ASKER_INDEX + 1,
		.workers = 1,
		.max_logs = c->max_logs,
		.journal_bytes = c->journal_bytes,
		.cleaner_bytes_per_s = UINT64_MAX,
		.cleaner_map_bytes = 16u << 20,
		.cpu = -1,
	};
	a->held = st_dirs_open(&cfg, err, err_size);
	if (!a->held)
		return false;
	a->worker = st_worker_open(&cfg, a->held, err, err_size);
	if (!a->worker)
		return false;
	st_set_waker(a->worker, ASKER_INDEX, &a->waker);
	return st_worker_start(a->worker) == 0;
}

/* Stops the worker and frees all; the logs have been closed. True when the stop was clean. */
static inline bool asker_stop(struct asker *a)
{
	bool clean = st_worker_stop(a->worker);
	st_dirs_close(a->held);
	waker_fini(&a->waker);
	lblock_pool_fini(&a->pool);
	free(a->memory);
	free(a->reqs);
	return clean;
}

/* Whether the block is below `released`, so that the storage needs it no longer. */
static inline bool asker_is_released(const struct lblock *b, struct st_pos released)
{
	return b->segment < released.segment ||
	       (b->segment == released.segment && b->file_pos + b->used <= released.pos);
}

/* The block that the next byte goes into; NULL at a boundary. */
static inline struct lblock *asker_tail(const struct asker_log *l)
{
	if (l->pos % LBLOCK_SIZE == 0)
		return NULL;
	return list_entry(l->blocks.prev, struct lblock, cache_node);
}

static inline void asker_release(struct asker *a, struct asker_log *l, struct st_pos released)
{
	const struct lblock *tail = asker_tail(l);
	list_for_each_safe (it, &l->blocks) {
		struct lblock *b = list_entry(it, struct lblock, cache_node);
		if (b == tail || !asker_is_released(b, released))
			break;
		list_remove(it);
		lblock_unref(&a->pool, b);
	}
}

/* Drops all blocks of a log that is closed or has failed. */
static inline void asker_drop(struct asker *a, struct asker_log *l)
{
	struct list *it;
	while ((it = list_pop_front(&l->blocks)))
		lblock_unref(&a->pool, list_entry(it, struct lblock, cache_node));
}

static inline void asker_append_done(struct asker *a, struct asker_log *l, struct st_req *r)
{
	l->in_flight--;
	a->in_flight--;
	if (r->err == ST_OK) {
		l->durable_offset = r->append.last_offset + 1;
		l->durable = (struct st_pos){r->append.segment, r->append.pos + r->append.span.len};
		asker_release(a, l, r->append.released);
	} else {
		l->failed = true;
	}
	if (a->done)
		a->done(a, l, r);
	list_push_back(&a->free_reqs, &r->node);
}

static inline void asker_answered(struct asker *a, struct st_req *r)
{
	if (r->op == ST_APPEND) {
		asker_append_done(a, r->user, r);
	} else if (r->op == ST_FILL) {
		struct asker_log *l = r->user;
		l->filling = false;
		a->fills--;
		if (r->err == ST_OK)
			asker_release(a, l, r->fill.released);
		else
			l->failed = true;
	} else {
		*(bool *)r->user = true;
	}
}

/* Handles what has been answered; how many. `wait`: sleeps until there is something. */
static inline uint32_t asker_poll(struct asker *a, bool wait)
{
	struct st_req *got[256];
	st_notify(a->worker);
	uint32_t n = st_pop(a->worker, ASKER_INDEX, got, array_size(got));
	while (n == 0 && wait) {
		waker_arm(&a->waker);
		n = st_pop(a->worker, ASKER_INDEX, got, array_size(got));
		if (n == 0) {
			struct pollfd p = {.fd = a->waker.fd, .events = POLLIN};
			poll(&p, 1, -1);
		}
		waker_disarm(&a->waker);
	}
	for (uint32_t i = 0; i < n; i++)
		asker_answered(a, got[i]);
	return n;
}

/* Sends a request that is not an append and waits for it. */
static inline enum st_err asker_ask(struct asker *a, struct st_req *r)
{
	bool done = false;
	r->user = &done;
	r->asker = ASKER_INDEX;
	list_init(&r->node);
	CHECK(st_push(a->worker, ASKER_INDEX, r));
	while (!done)
		asker_poll(a, true);
	return r->err;
}

static inline struct lblock *asker_block(struct asker *a, struct asker_log *l, uint64_t file_pos)
{
	struct lblock *b = lblock_get(&a->pool);
	CHECK(b);
	b->segment = l->segment;
	b->file_pos = file_pos;
	b->used = 0;
	b->first_offset = l->next_offset;
	return b;
}

/* Opens (or creates) a partition of the asker's topic. */
static inline enum st_err asker_open(
	struct asker *a, struct asker_log *l, int32_t partition, bool create)
{
	struct st_req r = {.op = ST_OPEN};
	memset(l, 0, sizeof(*l));
	list_init(&l->blocks);
	l->partition = partition;
	snprintf(r.open.topic, sizeof(r.open.topic), "topic");
	r.open.topic_id = a->topic_id;
	r.open.partition = partition;
	r.open.create = create;
	if (asker_ask(a, &r) != ST_OK)
		return r.err;
	l->log = r.log;
	l->start_offset = r.open.log_start_offset;
	l->segment = r.open.segment;
	l->pos = r.open.segment_pos;
	l->next_offset = l->durable_offset = r.open.log_end_offset;
	l->durable = (struct st_pos){l->segment, l->pos};
	if (l->pos % LBLOCK_SIZE == 0)
		return ST_OK;
	struct lblock *b = asker_block(a, l, align_down(l->pos, (uint64_t)LBLOCK_SIZE));
	b->used = (uint32_t)(l->pos % LBLOCK_SIZE);
	list_push_back(&l->blocks, &b->cache_node);
	struct st_req t = {.op = ST_TAIL, .log = l->log, .tail = {.block = b}};
	return asker_ask(a, &t);
}

/* ST_CLOSE, or ST_DELETE; nothing of the log is under way. */
static inline enum st_err asker_end(struct asker *a, struct asker_log *l, enum st_op op)
{
	struct st_req r = {.op = op, .log = l->log};
	CHECK(l->in_flight == 0);
	enum st_err err = asker_ask(a, &r);
	while (l->filling)
		asker_poll(a, true);
	asker_drop(a, l);
	return err;
}

/* Memory is short: asks some logs that keep blocks to be filled. */
static inline void asker_hurry(struct asker *a)
{
	for (uint32_t n = a->log_count; n > 0 && a->fills < ASKER_FILLS; n--) {
		struct asker_log *l = &a->logs[a->fill_cursor++ % a->log_count];
		if (l->filling || l->failed || list_empty(&l->blocks) || l->durable.pos == 0)
			continue;
		l->fill = (struct st_req){.op = ST_FILL,
			.asker = ASKER_INDEX,
			.log = l->log,
			.user = l,
			.fill = {.wanted = l->durable}};
		list_init(&l->fill.node);
		CHECK(st_push(a->worker, ASKER_INDEX, &l->fill));
		l->filling = true;
		a->fills++;
	}
}

/* Copies n bytes to the log's end; the block in which they begin. */
static inline struct lblock *asker_put(
	struct asker *a, struct asker_log *l, const uint8_t *src, uint32_t n)
{
	struct lblock *first = NULL;
	while (n > 0) {
		struct lblock *b = asker_tail(l);
		if (!b) {
			struct lblock *prev =
				list_empty(&l->blocks)
					? NULL
					: list_entry(l->blocks.prev, struct lblock, cache_node);
			b = asker_block(a, l, l->pos);
			if (prev && prev->segment == l->segment)
				prev->next = b;
			list_push_back(&l->blocks, &b->cache_node);
		}
		if (!first)
			first = b;
		uint32_t at = (uint32_t)(l->pos % LBLOCK_SIZE);
		uint32_t run = min_of(n, LBLOCK_SIZE - at);
		memcpy(b->data + at, src, run);
		b->used = at + run;
		l->pos += run;
		src += run;
		n -= run;
	}
	return first;
}

/*
 * Appends one batch: stamps its offset, copies it into blocks and sends it. False when blocks or
 * requests are short: poll and try again.
 */
static inline bool asker_append(
	struct asker *a, struct asker_log *l, const uint8_t *batch, uint32_t len)
{
	uint8_t head[BATCH_HEADER_SIZE];
	if (a->pool.free_count < len / LBLOCK_SIZE + 2) {
		asker_hurry(a);
		return false;
	}
	struct list *node = list_pop_front(&a->free_reqs);
	if (!node)
		return false;
	if (l->pos > 0 && l->pos + len > a->segment_bytes) {
		l->segment = l->next_offset;
		l->pos = 0;
	}
	memcpy(head, batch, sizeof(head));
	batch_set_base_offset(head, l->next_offset);
	struct st_req *r = list_entry(node, struct st_req, node);
	*r = (struct st_req){.op = ST_APPEND, .asker = ASKER_INDEX, .log = l->log, .user = l};
	list_init(&r->node);
	r->append.segment = l->segment;
	r->append.pos = l->pos;
	r->append.base_offset = l->next_offset;
	r->append.last_offset = batch_last_offset(head);
	r->append.max_timestamp = batch_max_timestamp(head);
	struct lblock *b = asker_put(a, l, head, sizeof(head));
	if (b->first_batch == LBLOCK_NO_BATCH) {
		b->first_batch = (uint32_t)(r->append.pos % LBLOCK_SIZE);
		b->first_offset = r->append.base_offset;
	}
	asker_put(a, l, batch + sizeof(head), len - (uint32_t)sizeof(head));
	r->append.span = (struct lspan){b, (uint32_t)(r->append.pos % LBLOCK_SIZE), len};
	l->next_offset = r->append.last_offset + 1;
	CHECK(st_push(a->worker, ASKER_INDEX, r));
	l->in_flight++;
	a->in_flight++;
	return true;
}

/*
 * Builds a batch of exactly `len` bytes (>= 100) with one record in p; `value` fills it. The record
 * has no key. The base offset and epoch are not in the batch's checksum, so that it can be appended
 * again and again.
 */
static inline void asker_batch(uint8_t *p, uint32_t len, int64_t timestamp, const uint8_t *value)
{
	struct batch_build b;
	uint32_t size = len - BATCH_HEADER_SIZE; /* then less until it fits */
	uint32_t got = 0;
	while (got != len) {
		batch_build_begin(&b, p, len);
		bool fits = batch_build_add(&b, timestamp, KBYTES_NULL,
			(struct kbytes){.p = value, .len = (int32_t)size}, NULL, 0);
		got = fits ? batch_build_finish(&b) : 0;
		CHECK(got == len || size > 0);
		size--;
	}
	batch_set_leader_epoch(p, 5);
}

#endif
