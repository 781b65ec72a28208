/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_TESTS_PARTITION_FIXTURE_H
#define MR_TESTS_PARTITION_FIXTURE_H

/*
 * A partition with a scripted storage: it keeps segments as plain byte arrays, and answers a
 * request when the test says so, with the result the test says. It looks at everything it is given:
 * positions without gaps, bytes in place, images of blocks.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/prng.h"
#include "kafka/batch.h"
#include "partition/part.h"

#define FX_SEGMENTS 4096
#define FX_NOW 1700000000000ll

struct fx_segment {
	int64_t base;
	uint8_t *bytes;
	size_t len;
	uint8_t *all; /* before compaction */
	size_t all_len;
};

/* An append that was taken. */
struct fx_kept {
	int64_t segment;
	uint64_t pos;
	uint32_t len;
	struct lblock **blocks;
};

/* What partitions share. */
struct fx_memory {
	struct part_env env;
	struct lblock_pool pool;
	uint8_t *mem;
	struct st_req *reqs;
	uint32_t req_count;
	uint32_t users;
};

struct fx {
	struct part part;
	struct fx_memory *memory;
	struct part_env *env;
	struct lblock_pool *pool;
	struct part_out out;
	struct list queue; /* st_req at the storage */
	struct fx_segment segments[FX_SEGMENTS];
	uint32_t segment_count;
	int64_t start; /* of the log at the storage */
	int64_t end;   /* next offset at the storage */
	int64_t now;
	struct list done;
	/* What the storage has not released: the asker's blocks must stay as they are. */
	bool late; /* released by ST_FILL, or by fx_release */
	struct st_pos released;
	struct fx_kept *kept;
	uint32_t kept_count, kept_first;
};

__attribute__((unused)) static struct part_config fx_config(void)
{
	return (struct part_config){
		.max_message_bytes = 1 << 20,
		.segment_bytes = 1 << 30,
		.segment_ms = 7 * 24 * 3600 * 1000ll,
		.timestamp_before_max_ms = INT64_MAX,
		.timestamp_after_max_ms = 3600 * 1000,
	};
}

/* Takes what the core has given out. */
__attribute__((unused)) static void fx_take(struct fx *f)
{
	struct list *n;
	while ((n = list_pop_front(&f->out.store))) {
		struct part *p = list_entry(n, struct st_req, node)->user;
		list_push_back(&container_of(p, struct fx, part)->queue, n);
	}
	while ((n = list_pop_front(&f->out.done))) {
		struct part *p = list_entry(n, struct part_op, node)->part;
		list_push_back(&container_of(p, struct fx, part)->done, n);
	}
	part_check(&f->part);
	part_env_check(f->env);
}

__attribute__((unused)) static void fx_open_at(struct fx *f, enum st_err err)
{
	struct st_req r = {.op = ST_OPEN, .err = err, .log = (struct st_log *)f};
	struct fx_segment *last = f->segment_count ? &f->segments[f->segment_count - 1] : NULL;
	r.open.log_start_offset = f->start;
	r.open.log_end_offset = f->end;
	r.open.segment = last ? last->base : 0;
	r.open.segment_pos = last ? last->len : 0;
	r.open.segment_created_ms = f->now;
	part_opened(&f->part, &r, f->now, &f->out);
	fx_take(f);
}

static struct fx_memory *fx_memory_new(uint32_t blocks, uint32_t reqs)
{
	struct fx_memory *m = calloc(1, sizeof(*m));
	size_t size = (size_t)blocks * LBLOCK_SIZE;
	m->mem = aligned_alloc(4096, size);
	assert_non_null(m->mem);
	memset(m->mem, 0xee, size);
	assert_int_equal(lblock_pool_init(&m->pool, m->mem, size), 0);
	part_env_init(&m->env, &m->pool, NULL);
	m->reqs = calloc(reqs, sizeof(*m->reqs));
	m->req_count = reqs;
	for (uint32_t i = 0; i < reqs; i++)
		list_push_back(&m->env.free_reqs, &m->reqs[i].node);
	return m;
}

/* All must be free again. */
static void fx_memory_put(struct fx_memory *m)
{
	if (--m->users > 0)
		return;
	part_env_check(&m->env);
	assert_int_equal(m->pool.free_count, m->pool.count);
	assert_true(list_empty(&m->env.cached) && list_empty(&m->env.held));
	assert_true(list_empty(&m->env.holders) && list_empty(&m->env.cold_line));
	assert_int_equal(m->env.cold_blocks, 0);
	assert_int_equal(m->env.fills_out, 0);
	uint32_t reqs = 0;
	list_for_each (it, &m->env.free_reqs)
		reqs++;
	assert_int_equal(reqs, m->req_count);
	lblock_pool_fini(&m->pool);
	free(m->reqs);
	free(m->mem);
	free(m);
}

static struct fx *fx_new_with(struct fx_memory *m, struct part_config config)
{
	struct fx *f = calloc(1, sizeof(*f));
	f->memory = m;
	f->env = &m->env;
	f->pool = &m->pool;
	m->users++;
	part_out_init(&f->out);
	list_init(&f->queue);
	list_init(&f->done);
	f->now = FX_NOW;
	part_init(&f->part, f->env, 7, 3, &config, 5);
	return f;
}

__attribute__((unused)) static struct fx *fx_new_unopened(
	uint32_t blocks, uint32_t reqs, struct part_config config)
{
	return fx_new_with(fx_memory_new(blocks, reqs), config);
}

__attribute__((unused)) static struct fx *fx_new(
	uint32_t blocks, uint32_t reqs, struct part_config config)
{
	struct fx *f = fx_new_unopened(blocks, reqs, config);
	fx_open_at(f, ST_OK);
	return f;
}

/* Another partition that shares f's memory. */
__attribute__((unused)) static struct fx *fx_new_beside(struct fx *f, struct part_config config)
{
	struct fx *g = fx_new_with(f->memory, config);
	fx_open_at(g, ST_OK);
	return g;
}

__attribute__((unused)) static void fx_start(struct fx *f, struct part_op *op)
{
	part_start(&f->part, op, f->now, &f->out);
	fx_take(f);
}

/* The next finished operation, or NULL. */
__attribute__((unused)) static struct part_op *fx_done(struct fx *f)
{
	struct list *n = list_pop_front(&f->done);
	return n ? list_entry(n, struct part_op, node) : NULL;
}

__attribute__((unused)) static struct st_req *fx_front(struct fx *f)
{
	struct list *n = list_front(&f->queue);
	return n ? list_entry(n, struct st_req, node) : NULL;
}

__attribute__((unused)) static uint32_t fx_queued(struct fx *f)
{
	uint32_t n = 0;
	list_for_each (it, &f->queue)
		n++;
	return n;
}

/* True when the storage has not released the byte. */
static bool fx_needs(const struct fx *f, int64_t segment, uint64_t pos)
{
	return segment > f->released.segment ||
	       (segment == f->released.segment && pos >= f->released.pos);
}

/* Looks at what is kept and not released: the blocks must hold the log's bytes, linked. */
__attribute__((unused)) static void fx_check_kept(struct fx *f)
{
	for (uint32_t i = f->kept_first, s = 0; i < f->kept_count; i++) {
		struct fx_kept *k = &f->kept[i];
		while (f->segments[s].base != k->segment)
			s++;
		uint64_t end = k->pos + k->len;
		uint64_t pos = k->pos;
		for (uint32_t n = 0; pos < end; n++) {
			uint64_t to = min_of(end, (pos / LBLOCK_SIZE + 1) * LBLOCK_SIZE);
			if (fx_needs(f, k->segment, to - 1)) {
				const struct lblock *b = k->blocks[n];
				assert_true(b->refs > 0);
				assert_memory_equal(b->data + pos % LBLOCK_SIZE,
					f->segments[s].all + pos, to - pos);
				assert_true(to == end || b->next == k->blocks[n + 1]);
			}
			pos = to;
		}
	}
}

/* The storage needs nothing below pos any more; its next answer says so. */
__attribute__((unused)) static void fx_release(struct fx *f, struct st_pos pos)
{
	bool ahead = pos.segment > f->released.segment ||
		     (pos.segment == f->released.segment && pos.pos > f->released.pos);
	if (ahead)
		f->released = pos;
	while (f->kept_first < f->kept_count) {
		struct fx_kept *k = &f->kept[f->kept_first];
		if (fx_needs(f, k->segment, k->pos + k->len - 1))
			return;
		free(k->blocks);
		f->kept_first++;
	}
	f->kept_first = f->kept_count = 0;
}

static void fx_keep(struct fx *f, struct st_req *r)
{
	struct lspan s = r->append.span;
	if (!f->late) {
		fx_release(f, (struct st_pos){r->append.segment, r->append.pos + s.len});
	} else {
		struct fx_kept k = {r->append.segment, r->append.pos, s.len, NULL};
		k.blocks = calloc(lspan_blocks(s), sizeof(*k.blocks));
		struct lblock *b = s.first;
		for (uint32_t i = 0; i < lspan_blocks(s); i++, b = b->next)
			k.blocks[i] = b;
		f->kept = realloc(f->kept, (f->kept_count + 1) * sizeof(*f->kept));
		f->kept[f->kept_count++] = k;
	}
	r->append.released = f->released;
}

static void fx_do_append(struct fx *f, struct st_req *r)
{
	struct fx_segment *s = f->segment_count ? &f->segments[f->segment_count - 1] : NULL;
	assert_true(r->append.base_offset == f->end);
	if (!s || s->base != r->append.segment) {
		assert_true(r->append.pos == 0 && r->append.segment == f->end);
		assert_true(f->segment_count < FX_SEGMENTS);
		s = &f->segments[f->segment_count++];
		*s = (struct fx_segment){.base = r->append.segment};
	}
	assert_true(r->append.pos == s->len);
	assert_true(r->append.span.off == r->append.pos % LBLOCK_SIZE);
	s->bytes = realloc(s->bytes, s->len + r->append.span.len);
	lspan_copy(r->append.span, 0, s->bytes + s->len, r->append.span.len);
	size_t end = s->len + r->append.span.len;
	/* whole pages are written from the blocks: each is the file's image */
	size_t head = r->append.pos % LBLOCK_SIZE;
	assert_memory_equal(r->append.span.first->data, s->bytes + s->len - head, head);
	for (size_t at = s->len; at < end;) {
		assert_true(batch_crc_ok(s->bytes + at));
		assert_true(batch_base_offset(s->bytes + at) == f->end);
		f->end = batch_next_offset(s->bytes + at);
		at += batch_size(s->bytes + at);
		assert_true(at <= end);
	}
	assert_true(f->end == r->append.last_offset + 1);
	s->len = end;
	s->all = realloc(s->all, end);
	memcpy(s->all + s->all_len, s->bytes + s->all_len, end - s->all_len);
	s->all_len = end;
	fx_keep(f, r);
}

/* The segment that holds the offset, and the position of the batch that contains it. */
static struct fx_segment *fx_find(struct fx *f, int64_t offset, size_t *at)
{
	for (uint32_t i = 0; i < f->segment_count; i++) {
		struct fx_segment *s = &f->segments[i];
		for (size_t p = 0; p < s->len; p += batch_size(s->bytes + p)) {
			if (batch_last_offset(s->bytes + p) >= offset) {
				*at = p;
				return s;
			}
		}
	}
	return NULL;
}

static void fx_do_read(struct fx *f, struct st_req *r)
{
	size_t at;
	struct fx_segment *s =
		r->read.offset < r->read.limit ? fx_find(f, r->read.offset, &at) : NULL;
	if (!s || r->read.offset < f->start) {
		r->err = ST_E_RANGE;
		return;
	}
	size_t off = at % LBLOCK_SIZE;
	size_t room = (size_t)r->read.block_count * LBLOCK_SIZE - off;
	size_t end = at + batch_size(s->bytes + at);
	if (end - at > room) {
		r->err = ST_E_SHORT;
		r->read.need = (uint32_t)((off + end - at + LBLOCK_SIZE - 1) / LBLOCK_SIZE);
		return;
	}
	int64_t next = batch_next_offset(s->bytes + at);
	while (end < s->len && batch_next_offset(s->bytes + end) <= r->read.limit) {
		size_t n = batch_size(s->bytes + end);
		if (end + n - at > room || end + n - at > r->read.max_bytes)
			break;
		next = batch_next_offset(s->bytes + end);
		end += n;
	}
	struct lblock *b = r->read.blocks;
	size_t from = at - off;
	for (uint32_t i = 0; i < r->read.block_count && from < end; i++, b = b->next) {
		size_t n = s->len - from < LBLOCK_SIZE ? s->len - from : LBLOCK_SIZE;
		memcpy(b->data, s->bytes + from, n);
		from += LBLOCK_SIZE;
	}
	r->read.span = (struct lspan){r->read.blocks, (uint32_t)off, (uint32_t)(end - at)};
	r->read.base_offset = batch_base_offset(s->bytes + at);
	r->read.next_offset = next;
}

static void fx_do_lookup(struct fx *f, struct st_req *r)
{
	int64_t best = INT64_MIN;
	r->err = ST_E_NOT_FOUND;
	for (uint32_t i = 0; i < f->segment_count; i++) {
		struct fx_segment *s = &f->segments[i];
		for (size_t p = 0; p < s->len; p += batch_size(s->bytes + p)) {
			int64_t ts = batch_max_timestamp(s->bytes + p); /* one record per batch */
			if (batch_base_offset(s->bytes + p) >= r->lookup.limit)
				return;
			bool hit =
				r->lookup.timestamp == -1 ? ts > best : ts >= r->lookup.timestamp;
			if (!hit)
				continue;
			best = ts;
			r->err = ST_OK;
			r->lookup.offset = batch_base_offset(s->bytes + p);
			r->lookup.record_timestamp = ts;
			if (r->lookup.timestamp != -1)
				return;
		}
	}
}

static void fx_do_tail(struct fx *f, struct st_req *r)
{
	struct fx_segment *s = &f->segments[f->segment_count - 1];
	size_t from = s->len - s->len % LBLOCK_SIZE;
	memset(r->tail.block->data, 0, LBLOCK_SIZE);
	memcpy(r->tail.block->data, s->bytes + from, s->len - from);
}

static void fx_do_trim(struct fx *f, struct st_req *r)
{
	assert_true(r->trim.offset <= f->end);
	f->start = r->trim.offset > f->start ? r->trim.offset : f->start;
	r->trim.log_start_offset = f->start;
}

static void fx_do_fill(struct fx *f, struct st_req *r)
{
	fx_release(f, r->fill.wanted);
	r->fill.released = f->released;
}

/* Answers the oldest request of the queue; with ST_OK the storage does it first. */
__attribute__((unused)) static void fx_answer_one(struct fx *f, struct st_req *r, enum st_err err)
{
	list_remove(&r->node);
	assert_ptr_equal(r->log, (struct st_log *)f);
	assert_int_equal(r->worker, 3);
	assert_ptr_equal(r->user, &f->part);
	r->err = err;
	if (err == ST_E_IO || err == ST_E_OFFLINE)
		fx_release(f, (struct st_pos){INT64_MAX, 0}); /* it has failed, and needs nothing */
	fx_check_kept(f);
	if (err == ST_OK && r->op == ST_APPEND)
		fx_do_append(f, r);
	else if (err == ST_OK && r->op == ST_READ)
		fx_do_read(f, r);
	else if (err == ST_OK && r->op == ST_LOOKUP)
		fx_do_lookup(f, r);
	else if (err == ST_OK && r->op == ST_TAIL)
		fx_do_tail(f, r);
	else if (err == ST_OK && r->op == ST_FILL)
		fx_do_fill(f, r);
	else if (err == ST_OK && r->op == ST_TRIM)
		fx_do_trim(f, r);
	else if (err == ST_OK && (r->op == ST_RETAIN || r->op == ST_CLEAN))
		r->retain.log_start_offset = f->start;
	part_stored(&f->part, r, f->now, &f->out);
	fx_take(f);
}

__attribute__((unused)) static void fx_answer(struct fx *f, enum st_err err)
{
	assert_non_null(fx_front(f));
	fx_answer_one(f, fx_front(f), err);
}

/* Answers all, until nothing is asked any more. */
__attribute__((unused)) static void fx_run(struct fx *f)
{
	while (fx_front(f))
		fx_answer(f, ST_OK);
}

/* Ends the test: everything must have come back. */
__attribute__((unused)) static void fx_free(struct fx *f)
{
	while (!part_close(&f->part, KE_NOT_LEADER_OR_FOLLOWER, &f->out)) {
		fx_take(f);
		assert_non_null(fx_front(f));
		fx_answer(f, ST_OK);
	}
	fx_take(f);
	fx_run(f); /* upkeep that is under way is answered before the log is closed */
	part_fini(&f->part);
	fx_memory_put(f->memory);
	for (uint32_t i = 0; i < f->segment_count; i++) {
		free(f->segments[i].bytes);
		free(f->segments[i].all);
	}
	fx_release(f, (struct st_pos){INT64_MAX, 0});
	free(f->kept);
	free(f);
}

/* --- batches and operations ----------------------------------------------------------------------
 */

struct fx_batch {
	uint8_t *data;
	uint32_t len;
};

/* A batch of `count` records whose values are value_len bytes made from `seed`. */
__attribute__((unused)) static struct fx_batch fx_batch_at(
	uint32_t count, uint32_t value_len, uint32_t seed, int64_t timestamp)
{
	size_t size = 128 + (size_t)count * (value_len + 64);
	uint8_t *mem = malloc(size);
	uint8_t *value = malloc(value_len + 1);
	struct prng rng = {seed};
	struct batch_build b;
	batch_build_begin(&b, mem, size);
	for (uint32_t i = 0; i < count; i++) {
		for (uint32_t k = 0; k < value_len; k++)
			value[k] = (uint8_t)prng_next(&rng);
		struct kbytes key = {.p = (const uint8_t *)"k", .len = 1};
		struct kbytes val = {.p = value, .len = (int32_t)value_len};
		assert_true(batch_build_add(&b, timestamp, key, val, NULL, 0));
	}
	free(value);
	return (struct fx_batch){mem, batch_build_finish(&b)};
}

__attribute__((unused)) static struct fx_batch fx_batch(
	uint32_t count, uint32_t value_len, uint32_t seed)
{
	return fx_batch_at(count, value_len, seed, FX_NOW);
}

__attribute__((unused)) static struct part_op fx_append_op(struct fx_batch b)
{
	struct part_op op = {.kind = PART_APPEND, .current_leader_epoch = -1};
	op.append.data = b.data;
	op.append.len = b.len;
	return op;
}

__attribute__((unused)) static struct part_op fx_fetch_op(
	int64_t offset, uint32_t max, bool at_least_one)
{
	struct part_op op = {.kind = PART_FETCH, .current_leader_epoch = -1};
	op.fetch.offset = offset;
	op.fetch.max_bytes = max;
	op.fetch.at_least_one = at_least_one;
	return op;
}

/* Appends a batch of `count` records and waits for it; its base offset. */
__attribute__((unused)) static int64_t fx_append(
	struct fx *f, uint32_t count, uint32_t value_len, uint32_t seed)
{
	struct fx_batch b = fx_batch(count, value_len, seed);
	struct part_op op = fx_append_op(b);
	fx_start(f, &op);
	fx_run(f);
	assert_ptr_equal(fx_done(f), &op);
	assert_int_equal(op.error, KE_NONE);
	free(b.data);
	return op.append.base_offset;
}

/* Checks that the span is the log's bytes from the batch that contains `offset` on; how many
 * batches. */
__attribute__((unused)) static uint32_t fx_check_span(
	struct fx *f, struct lspan span, int64_t offset)
{
	size_t at;
	struct fx_segment *s = fx_find(f, offset, &at);
	assert_non_null(s);
	assert_true(at + span.len <= s->len);
	uint8_t *bytes = malloc(span.len);
	lspan_copy(span, 0, bytes, span.len);
	assert_memory_equal(bytes, s->bytes + at, span.len);
	uint32_t n = 0;
	uint32_t p = 0;
	for (; p < span.len; p += batch_size(bytes + p)) {
		assert_true(batch_next_offset(bytes + p) <= f->part.high_watermark);
		n++;
	}
	assert_int_equal(p, span.len);
	free(bytes);
	return n;
}

/* Removes batches of a sealed segment that nobody keeps blocks of; `gone` of 256 of them. */
__attribute__((unused)) static void fx_compact(
	struct fx *f, struct fx_segment *s, struct prng *rng, uint32_t gone)
{
	size_t to = 0;
	assert_true(s->base < f->released.segment);
	for (size_t at = 0; at < s->len;) {
		size_t n = batch_size(s->bytes + at);
		if (prng_below(rng, 256) >= gone) {
			memmove(s->bytes + to, s->bytes + at, n);
			to += n;
		}
		at += n;
	}
	s->len = to;
}

/* The batch with the base offset, before compaction. */
static const uint8_t *fx_batch_of(struct fx *f, int64_t base)
{
	uint32_t i = 0;
	while (i + 1 < f->segment_count && f->segments[i + 1].base <= base)
		i++;
	struct fx_segment *s = &f->segments[i];
	for (size_t at = 0; at < s->all_len; at += batch_size(s->all + at))
		if (batch_base_offset(s->all + at) == base)
			return s->all + at;
	return NULL;
}

/* Checks a span of a log that may be compacted: every batch is one that was appended, they go up,
 * and none is left out that is still there. How many. */
__attribute__((unused)) static uint32_t fx_check_span_gaps(
	struct fx *f, struct lspan span, int64_t offset)
{
	uint8_t *bytes = malloc(span.len);
	lspan_copy(span, 0, bytes, span.len);
	uint32_t n = 0;
	uint32_t at = 0;
	for (int64_t next = offset; at < span.len; n++) {
		const uint8_t *b = bytes + at;
		const uint8_t *all = fx_batch_of(f, batch_base_offset(b));
		size_t there;
		assert_non_null(all);
		assert_memory_equal(b, all, batch_size(all));
		struct fx_segment *s = fx_find(f, next, &there);
		assert_non_null(s);
		assert_true(batch_base_offset(s->bytes + there) >= batch_base_offset(b));
		assert_true(batch_last_offset(b) >= next);
		next = batch_next_offset(b);
		assert_true(next <= f->part.high_watermark);
		at += batch_size(b);
	}
	assert_int_equal(at, span.len);
	free(bytes);
	return n;
}

#endif
