/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_TESTS_STORAGE_COMPACT_KIT_H
#define MR_TESTS_STORAGE_COMPACT_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/crc.h"
#include "base/prng.h"
#include "kafka/batch.h"
#include "storage/format/bidx.h"
#include "storage/log/compact.h"
#include "unit/storage/log/compact_io.h"

/*
 * A log of sealed segments in memory, made without any code of the cleaner; a reader that checks
 * all that is promised of a segment; and a naive model of what compaction leaves.
 */

#define CK_PATH "/logs/one"
#define CK_PARTITION 4
#define CK_NOW 1700000000000ll
#define CK_SEGMENTS 64
#define CK_RECORDS 60000
#define CK_KEYS 100000 /* numbers of keys are below */
#define CK_BATCHES 8000
#define CK_FILE (8u << 20)
#define CK_SCRATCH (COMPACT_SCRATCH_MIN)
#define CK_CANARY 0x5a

struct ck_record {
	int64_t offset;
	int32_t key;  /* -1: none */
	uint32_t sum; /* of time, key, value and headers */
	uint32_t batch;
	bool tombstone;
	bool gone;
};

struct ck_batch {
	int64_t base, last, producer, max_timestamp;
	int64_t horizon; /* model: 0 not set */
	int32_t count, sequence;
	int16_t epoch;
	uint16_t attributes;
	uint32_t sum; /* of all its bytes */
	bool special;
};

/* What is in a log. */
struct ck_content {
	struct ck_record records[CK_RECORDS];
	struct ck_batch batches[CK_BATCHES];
	uint32_t record_count, batch_count;
};

struct ck {
	struct cio *disk;
	struct uuid topic_id;
	struct compact_segment segments[CK_SEGMENTS];
	uint32_t count;
	int64_t next_offset;
	int64_t now_ms;
	struct prng prng;
	struct ck_content model;
	struct ck_content found;
	struct batch_scratch inflate;
	uint8_t *file, *plain, *packed; /* CK_FILE bytes each */
	uint64_t file_len;
	struct compact_memory mem;
	struct compact_stats stats;
	/* of what is appended */
	uint32_t keys;
	uint32_t value_max;
	uint32_t tombstone_percent;
	uint32_t batch_max; /* records */
	bool keyless, producers;
};

static inline void *ck_pages(size_t n)
{
	uint8_t *p = aligned_alloc(4096, n + 4096);
	assert_non_null(p);
	memset(p, CK_CANARY, n + 4096);
	return p;
}

static inline struct ck *ck_new(uint64_t seed)
{
	struct ck *k = calloc(1, sizeof(*k));
	k->disk = calloc(1, sizeof(*k->disk));
	cio_init(k->disk);
	k->prng.s = seed;
	k->now_ms = CK_NOW;
	memset(k->topic_id.b, (int)seed, sizeof(k->topic_id.b));
	k->inflate = (struct batch_scratch){malloc(CK_FILE), CK_FILE, codec_open()};
	k->file = ck_pages(CK_FILE);
	k->plain = malloc(CK_FILE);
	k->packed = malloc(CK_FILE);
	k->mem = (struct compact_memory){
		.map_size = 1 << 20, .scratch_size = CK_SCRATCH, .seed = {9, 8, 7}};
	k->mem.map = ck_pages(k->mem.map_size);
	k->mem.scratch = ck_pages(k->mem.scratch_size);
	k->keys = 50;
	k->value_max = 200;
	k->tombstone_percent = 10;
	k->batch_max = 30;
	return k;
}

static inline void ck_canary(const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < 4096; i++)
		assert_int_equal(p[n + i], CK_CANARY);
}

static inline void ck_free(struct ck *k)
{
	ck_canary(k->mem.map, k->mem.map_size);
	ck_canary(k->mem.scratch, k->mem.scratch_size);
	cio_fini(k->disk);
	codec_close(k->inflate.codec);
	free(k->inflate.buf);
	free(k->file);
	free(k->plain);
	free(k->packed);
	free(k->mem.map);
	free(k->mem.scratch);
	free(k->disk);
	free(k);
}

/* ---- taking batches apart ---- */

static inline uint32_t ck_record_sum(const struct batch_record *r)
{
	uint32_t sum = crc32c(0, &r->timestamp, sizeof(r->timestamp));
	sum = crc32c(sum, &r->key.len, sizeof(r->key.len));
	if (r->key.len > 0)
		sum = crc32c(sum, r->key.p, (size_t)r->key.len);
	sum = crc32c(sum, &r->value.len, sizeof(r->value.len));
	if (r->value.len > 0)
		sum = crc32c(sum, r->value.p, (size_t)r->value.len);
	return crc32c(sum, r->headers.p, rd_left(&r->headers));
}

/* Appends the batch and its records to c. */
static inline void ck_note(struct ck *k, struct ck_content *c, const uint8_t *p)
{
	struct batch_iter it;
	struct batch_record r;
	assert_true(c->batch_count < CK_BATCHES);
	struct ck_batch *b = &c->batches[c->batch_count++];
	*b = (struct ck_batch){
		.base = batch_base_offset(p),
		.last = batch_last_offset(p),
		.producer = batch_producer_id(p),
		.max_timestamp = batch_max_timestamp(p),
		.count = batch_count(p),
		.sequence = batch_base_sequence(p),
		.epoch = batch_producer_epoch(p),
		.attributes = batch_attributes(p),
		.sum = crc32c(0, p, batch_size(p)),
		.special = batch_is_control(p) || batch_is_transactional(p),
	};
	assert_int_equal(batch_iter_init(&it, p, batch_size(p), &k->inflate), KE_NONE);
	while (batch_iter_next(&it, &r) == 1) {
		assert_true(c->record_count < CK_RECORDS);
		c->records[c->record_count++] = (struct ck_record){
			.offset = r.offset,
			.key = r.key.len < 0 ? -1 : (int32_t)be32_get(r.key.p),
			.sum = ck_record_sum(&r),
			.batch = c->batch_count - 1,
			.tombstone = r.value.len < 0,
		};
	}
	assert_int_equal(it.left, 0);
}

/* ---- making a log ---- */

static inline void ck_write(struct ck *k, const char *suffix, int64_t base, const void *p, size_t n)
{
	struct io *io = &k->disk->io;
	char name[FMT_NAME_SIZE], path[IO_PATH_MAX];
	struct io_file *f;
	fmt_segment_name(name, base, suffix);
	snprintf(path, sizeof(path), CK_PATH "/%s", name);
	assert_int_equal(io->api->open(io, path, IO_CREATE | IO_TRUNC, &f), 0);
	assert_int_equal(io->api->pwrite(io, f, p, n, 0), (int64_t)n);
	io->api->close(io, f);
}

/* The entries of all blocks of the bytes at p, from the batches in them. How many. */
static inline uint32_t ck_blocks(
	const uint8_t *p, uint64_t len, uint32_t seed, struct fmt_block *out)
{
	uint32_t n = (uint32_t)((len + BIDX_BLOCK - 1) / BIDX_BLOCK);
	for (uint32_t i = 0; i < n; i++) {
		uint64_t at = (uint64_t)i * BIDX_BLOCK;
		out[i] = (struct fmt_block){.max_timestamp = -1, .first_pos = BIDX_NO_BATCH};
		out[i].sum = crc32c(
			bidx_sum_begin(seed, i), p + at, min_of(len - at, (uint64_t)BIDX_BLOCK));
	}
	for (uint64_t at = 0; at < len; at += batch_size(p + at)) {
		struct fmt_block *b = &out[at / BIDX_BLOCK];
		int64_t base = batch_base_offset(p + at);
		if (b->first_pos == BIDX_NO_BATCH) {
			b->first_pos = (uint16_t)(at % BIDX_BLOCK);
			b->first_offset = base;
		}
		if (batch_count(p + at) > 0)
			b->max_timestamp = max_of(b->max_timestamp, batch_max_timestamp(p + at));
		uint64_t last = (at + batch_size(p + at) - 1) / BIDX_BLOCK;
		for (uint64_t i = at / BIDX_BLOCK + 1; i <= last; i++)
			out[i].first_offset = base;
	}
	return n;
}

static inline void ck_segment_begin(struct ck *k)
{
	k->file_len = 0;
	assert_true(k->count < CK_SEGMENTS);
	k->segments[k->count] = (struct compact_segment){
		.base_offset = k->next_offset,
		.end_offset = k->next_offset,
		.max_timestamp = -1,
		.created_ms = k->now_ms,
	};
}

/* Adds the batch at k->plain (base offset 0) under a codec. */
static inline void ck_add(struct ck *k, enum codec codec)
{
	struct compact_segment *s = &k->segments[k->count];
	const uint8_t *p = k->plain;
	if (codec != CODEC_NONE) {
		assert_int_not_equal(batch_compress(k->plain, codec, 0, k->packed, CK_FILE), 0);
		p = k->packed;
	}
	uint32_t size = batch_size(p);
	assert_true(k->file_len + size < CK_FILE);
	uint8_t *to = k->file + k->file_len;
	memcpy(to, p, size);
	batch_set_base_offset(to, k->next_offset);
	batch_set_leader_epoch(to, 1 + (int32_t)k->count);
	k->next_offset = batch_next_offset(to);
	k->file_len += size;
	s->end_offset = k->next_offset;
	s->max_timestamp = max_of(s->max_timestamp, batch_max_timestamp(to));
	s->leader_epoch = batch_leader_epoch(to);
	ck_note(k, &k->model, to);
}

static inline void ck_segment_end(struct ck *k)
{
	static struct fmt_block blocks[CK_FILE / BIDX_BLOCK];
	static struct fmt_bidx_page pages[CK_FILE / BIDX_BLOCK / BIDX_PER_PAGE + 1];
	struct compact_segment *s = &k->segments[k->count++];
	uint32_t seed = bidx_seed(&k->topic_id, CK_PARTITION, s->base_offset);
	uint32_t n = ck_blocks(k->file, k->file_len, seed, blocks);
	uint32_t last = (n - 1) / BIDX_PER_PAGE;
	s->end_pos = k->file_len;
	memset(pages, 0, sizeof(pages));
	for (uint32_t i = 0; i <= last; i++) {
		struct fmt_bidx_page *p = &pages[i];
		p->page = i;
		p->count = min_of(n - i * BIDX_PER_PAGE, BIDX_PER_PAGE);
		memcpy(p->blocks, &blocks[i * BIDX_PER_PAGE], p->count * sizeof(*blocks));
		if (i == last) {
			p->flags = BIDX_SEALED;
			p->leader_epoch = s->leader_epoch;
			p->end_offset = s->end_offset;
			p->end_pos = s->end_pos;
			p->created_ms = s->created_ms;
			p->max_timestamp = s->max_timestamp;
		}
		bidx_seal(p, seed);
	}
	uint64_t len = align_up(k->file_len, (uint64_t)4096);
	memset(k->file + k->file_len, 0, len - k->file_len);
	ck_write(k, "log", s->base_offset, k->file, len);
	ck_write(k, "index", s->base_offset, pages, (last + 1) * sizeof(*pages));
	cio_settle(k->disk);
}

/* Makes a batch of `count` random records at k->plain. */
static inline void ck_batch(struct ck *k, uint32_t count)
{
	static uint8_t value[1 << 20];
	struct batch_build b;
	uint32_t key_be;
	batch_build_begin(&b, k->plain, CK_FILE);
	if (k->producers && prng_chance(&k->prng, 1, 2))
		batch_build_set_producer(&b, (int64_t)prng_below(&k->prng, 5), 2,
			(int32_t)prng_below(&k->prng, 1000), false);
	for (uint32_t i = 0; i < count; i++) {
		be32_put(&key_be, (uint32_t)prng_below(&k->prng, k->keys));
		uint32_t len = (uint32_t)prng_below(&k->prng, k->value_max + 1);
		for (uint32_t j = 0; j < len; j++)
			value[j] =
				j % 7 ? (uint8_t)(value[j - 1] + 1) : (uint8_t)prng_next(&k->prng);
		const struct batch_header h = {kstr_of("trace"), {value, (int32_t)(len / 3)}};
		struct kbytes key = {(uint8_t *)&key_be, 4}, v = {value, (int32_t)len};
		if (k->keyless && prng_chance(&k->prng, 1, 20))
			key = KBYTES_NULL;
		if (prng_chance(&k->prng, k->tombstone_percent, 100))
			v = KBYTES_NULL;
		assert_true(batch_build_add(&b, k->now_ms - (int64_t)prng_below(&k->prng, 100), key,
			v, &h, prng_chance(&k->prng, 1, 5)));
	}
	assert_int_not_equal(batch_build_finish(&b), 0);
}

/* A segment of about `bytes` of random batches. */
static inline void ck_append(struct ck *k, uint64_t bytes)
{
	ck_segment_begin(k);
	while (k->file_len < bytes) {
		ck_batch(k, 1 + (uint32_t)prng_below(&k->prng, k->batch_max));
		if (prng_chance(&k->prng, 1, 20))
			batch_set_max_timestamp(k->plain, true, k->now_ms);
		ck_add(k, (enum codec)prng_below(&k->prng, CODEC_COUNT));
	}
	ck_segment_end(k);
}

/* ---- reading it ---- */

static inline struct io_file *ck_file(struct ck *k, int64_t base, const char *suffix)
{
	char name[FMT_NAME_SIZE];
	fmt_segment_name(name, base, suffix);
	struct cio_name *n = cio_find(k->disk->now, name);
	return n ? &k->disk->files[n->file] : NULL;
}

/* Checks the segment's files against each other, and notes what is in them; fills in *s. */
static inline void ck_read_segment(struct ck *k, int64_t base, struct compact_segment *s)
{
	static struct fmt_block blocks[CK_FILE / BIDX_BLOCK];
	struct io_file *log = ck_file(k, base, "log"), *index = ck_file(k, base, "index");
	assert_true(log && index && index->size > 0 && index->size % FMT_PAGE == 0);
	uint32_t seed = bidx_seed(&k->topic_id, CK_PARTITION, base);
	uint32_t pages = (uint32_t)(index->size / FMT_PAGE);
	const struct fmt_bidx_page *p = (const void *)index->data, *last = &p[pages - 1];
	assert_true(log->size % FMT_PAGE == 0 && last->flags & BIDX_SEALED);
	assert_int_equal(align_up(last->end_pos, (uint64_t)FMT_PAGE), log->size);
	uint32_t n = ck_blocks(log->data, last->end_pos, seed, blocks);
	for (uint32_t i = 0; i < pages; i++) {
		assert_true(bidx_check(&p[i], seed, i));
		assert_int_equal(p[i].count, min_of(n - i * BIDX_PER_PAGE, BIDX_PER_PAGE));
		assert_memory_equal(
			p[i].blocks, &blocks[i * BIDX_PER_PAGE], p[i].count * sizeof(*blocks));
	}
	int64_t expected = base, max = -1;
	for (uint64_t at = 0; at < last->end_pos; at += batch_size(log->data + at)) {
		const uint8_t *b = log->data + at;
		assert_true(batch_crc_ok(b));
		assert_true(batch_base_offset(b) >= expected);
		expected = batch_next_offset(b);
		if (batch_count(b) > 0)
			max = max_of(max, batch_max_timestamp(b));
		ck_note(k, &k->found, b);
	}
	assert_int_equal(expected, last->end_offset);
	assert_int_equal(max, last->max_timestamp);
	*s = (struct compact_segment){base, last->end_offset, last->end_pos, last->max_timestamp,
		last->created_ms, last->delete_horizon_ms, last->leader_epoch,
		(last->flags & (BIDX_COMPACTED | BIDX_DIRTY)) == BIDX_COMPACTED};
}

/* Reads the log into k->found, and k->segments from its files. */
static inline void ck_read(struct ck *k)
{
	int64_t at = k->segments[0].base_offset;
	k->found.record_count = k->found.batch_count = k->count = 0;
	while (at < k->next_offset) {
		ck_read_segment(k, at, &k->segments[k->count]);
		at = k->segments[k->count++].end_offset;
	}
	assert_int_equal(at, k->next_offset);
}

/* There is nothing but segments: no file of a compaction, none that was replaced. */
static inline void ck_no_leftovers(struct ck *k)
{
	uint32_t names = 0;
	for (int i = 0; i < CIO_FILES; i++)
		names += k->disk->now[i].file >= 0;
	assert_int_equal(names, 2 * k->count);
}

/* ---- the model ---- */

/* What compaction at now_ms leaves of the records below `end`, of which those from `dirty` on are
 * new. */
static inline void ck_clean_model(
	struct ck *k, int64_t dirty, int64_t end, int64_t delete_retention_ms)
{
	struct ck_content *m = &k->model;
	int64_t *latest = malloc(CK_KEYS * sizeof(*latest));
	memset(latest, 0xff, CK_KEYS * sizeof(*latest));
	for (uint32_t i = 0; i < m->record_count; i++) {
		struct ck_record *r = &m->records[i];
		if (!r->gone && r->offset < end && r->key >= 0 && !m->batches[r->batch].special)
			latest[r->key] = r->offset;
	}
	bool held = false;
	for (uint32_t i = 0; i < m->record_count;) {
		uint32_t n = m->records[i].batch, next = i;
		struct ck_batch *b = &m->batches[n];
		bool tombstones = false;
		for (; next < m->record_count && m->records[next].batch == n; next++) {
			struct ck_record *r = &m->records[next];
			if (b->special || r->gone || r->offset >= end || r->key < 0)
				continue;
			r->gone = latest[r->key] > r->offset ||
				  (r->tombstone && b->horizon && b->horizon <= k->now_ms);
			tombstones |= !r->gone && r->tombstone;
		}
		held |= b->special;
		if (tombstones && !b->horizon && !held && b->base >= dirty)
			b->horizon = k->now_ms + delete_retention_ms;
		i = next;
	}
	free(latest);
}

/* k->found has the records of the model, and no other ones; all that is in them is as it was. */
static inline void ck_compare(struct ck *k)
{
	uint32_t j = 0;
	for (uint32_t i = 0; i < k->model.record_count; i++) {
		const struct ck_record *want = &k->model.records[i];
		if (want->gone)
			continue;
		assert_true(j < k->found.record_count);
		const struct ck_record *got = &k->found.records[j++];
		assert_int_equal(got->offset, want->offset);
		assert_int_equal(got->sum, want->sum);
		const struct ck_batch *a = &k->model.batches[want->batch];
		const struct ck_batch *b = &k->found.batches[got->batch];
		assert_int_equal(a->base, b->base);
		assert_int_equal(a->last, b->last);
		assert_int_equal(a->producer, b->producer);
		assert_int_equal(a->sequence, b->sequence);
		assert_int_equal(a->epoch, b->epoch);
		assert_int_equal(a->attributes, b->attributes & ~BATCH_ATTR_DELETE_HORIZON);
	}
	assert_int_equal(j, k->found.record_count);
}

/* ---- running the cleaner ---- */

static inline struct compact_input ck_input(struct ck *k)
{
	return (struct compact_input){
		.path = CK_PATH,
		.topic_id = k->topic_id,
		.partition = CK_PARTITION,
		.segments = k->segments,
		.count = k->count,
		.limit = INT64_MAX,
		.now_ms = k->now_ms,
		.policy = {.compact = true,
			.delete_retention_ms = 1000,
			.max_compaction_lag_ms = INT64_MAX},
		.segment_bytes = 300000,
		.producer_expiration_ms = -1,
	};
}

/* Runs to the end; what it ended with. At each swap it may be told to stop there (swaps >= 0). */
static inline enum compact_step ck_run_until(
	struct ck *k, const struct compact_input *in, int swaps)
{
	struct io *io = &k->disk->io;
	struct compact *c = compact_begin(in, &k->mem);
	assert_non_null(c);
	enum compact_step step;
	for (;;) {
		uint64_t before = k->disk->bytes;
		k->disk->most = 0;
		step = compact_step(c, io, COMPACT_BUDGET);
		/* one run more than the budget, and the largest batch twice */
		assert_true(k->disk->most <= 256 * 1024);
		assert_true(k->disk->bytes - before <= 3 * COMPACT_BUDGET + 2 * (1u << 20));
		if (step == COMPACT_MORE)
			continue;
		if (step != COMPACT_SWAP || swaps-- == 0)
			break;
		enum compact_swapped how = compact_swap(c, io);
		if (how != COMPACT_SWAPPED) {
			assert_true(compact_error(c) < 0);
			step = COMPACT_FAILED;
			break;
		}
	}
	k->stats = *compact_stats_of(c);
	compact_end(c, io);
	return step;
}

static inline enum compact_step ck_run(struct ck *k, const struct compact_input *in)
{
	return ck_run_until(k, in, -1);
}

#endif
