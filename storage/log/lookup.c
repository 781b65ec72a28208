/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding records by time. Segment, index and batch headers narrow it down by their largest
 * timestamps (timestamps of CreateTime topics need not ascend); then one batch is looked into.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/crc.h"
#include "base/log.h"
#include "storage/log/log.h"

struct lookup {
	struct log_env *env;
	struct log *log;
	int64_t timestamp; /* -1: the largest, */
	int64_t best;	   /* which is this one */
	int64_t limit;
	/* what scratch holds: [window, window_end) of the segment being looked through */
	uint64_t window;
	uint64_t window_end;
};

#define LOOKUP_WINDOW (64u * 1024u)

static bool lookup_has_scratch(struct log_env *env)
{
	if (env->records)
		return true;
	if (!env->inflate)
		env->inflate = malloc(LOG_INFLATE);
	if (env->inflate)
		env->records = record_scratch_create(env->inflate, LOG_INFLATE);
	return env->records != NULL;
}

/* The head of the batch at pos, which ends before the segment's end. */
static enum st_err lookup_head(
	struct lookup *k, struct segment *s, uint64_t pos, const uint8_t **head)
{
	if (pos < k->window || pos + SCAN_BATCH_HEAD > k->window_end) {
		k->window = align_down(pos, (uint64_t)FMT_PAGE);
		k->window_end = min_of(k->window + LOOKUP_WINDOW, s->end_pos);
		size_t n = (size_t)(k->window_end - k->window);
		if (segment_pread(k->env, s, k->env->scratch, n, k->window) < 0) {
			k->window_end = 0;
			return ST_E_CORRUPT;
		}
	}
	*head = k->env->scratch + (pos - k->window);
	return ST_OK;
}

/* Looks into the whole batch. ST_E_NOT_FOUND: no such record in it. */
static enum st_err lookup_in_batch(
	struct lookup *k, struct segment *s, const struct scan_batch *b, struct st_req *r)
{
	uint8_t *own = NULL, *p = k->env->scratch;
	if (b->size > LOG_SCRATCH - FMT_PAGE) {
		own = malloc(b->size);
		if (!own)
			return ST_E_LIMIT;
		p = own;
	}
	k->window_end = 0; /* scratch is used for the batch */
	enum st_err err = ST_OK;
	if (segment_pread(k->env, s, p, b->size, b->pos) < 0 ||
		crc32c(0, p + SCAN_CRC_FROM, b->size - SCAN_CRC_FROM) != b->crc)
		err = ST_E_CORRUPT;
	if (err == ST_OK) {
		int n = record_find(p, b->size, k->timestamp, k->log->log_start_offset,
			k->env->records, &r->lookup.offset, &r->lookup.record_timestamp);
		err = n > 0 ? ST_OK : n == 0 ? ST_E_NOT_FOUND : ST_E_CORRUPT;
	}
	free(own);
	return err;
}

static bool lookup_matches(const struct lookup *k, int64_t max_timestamp)
{
	return k->timestamp >= 0 ? max_timestamp >= k->timestamp : max_timestamp == k->best;
}

/* What a walk over a block does with a batch that reaches above the log's start. ST_E_NOT_FOUND: go
 * on. */
typedef enum st_err (*lookup_visit)(
	struct lookup *k, struct segment *s, const struct scan_batch *b, struct st_req *r);

static enum st_err lookup_first_match(
	struct lookup *k, struct segment *s, const struct scan_batch *b, struct st_req *r)
{
	return lookup_matches(k, b->max_timestamp) ? lookup_in_batch(k, s, b, r) : ST_E_NOT_FOUND;
}

/* Keeps the largest timestamp so far in r; begins with -1. */
static enum st_err lookup_keep_largest(
	struct lookup *k, struct segment *s, const struct scan_batch *b, struct st_req *r)
{
	struct st_req found;
	if (b->max_timestamp <= r->lookup.record_timestamp)
		return ST_E_NOT_FOUND;
	enum st_err err = lookup_in_batch(k, s, b, &found);
	if (err != ST_OK)
		return err;
	if (found.lookup.record_timestamp > r->lookup.record_timestamp) {
		r->lookup.offset = found.lookup.offset;
		r->lookup.record_timestamp = found.lookup.record_timestamp;
	}
	return ST_E_NOT_FOUND;
}

/* The batches that begin in block i. */
static enum st_err lookup_in_block(
	struct lookup *k, struct segment *s, uint32_t i, lookup_visit visit, struct st_req *r)
{
	uint64_t pos = (uint64_t)i * BIDX_BLOCK + s->blocks[i].first_pos;
	uint64_t end = min_of((uint64_t)(i + 1) * BIDX_BLOCK, s->end_pos);
	int64_t expected = s->blocks[i].first_offset;
	while (pos < end) {
		const uint8_t *head;
		struct scan_batch b;
		if (s->end_pos - pos < SCAN_BATCH_HEAD)
			return ST_E_CORRUPT;
		enum st_err err = lookup_head(k, s, pos, &head);
		if (err != ST_OK)
			return err;
		int64_t base = (int64_t)be64_get(head);
		if (s->compacted && base > expected)
			expected = base;
		if (scan_head(head, s->end_pos - pos, expected, &b) != SCAN_STOP_NONE)
			return ST_E_CORRUPT;
		if (b.base_offset >= k->limit)
			return ST_E_NOT_FOUND;
		b.pos = pos;
		if (b.last_offset >= k->log->log_start_offset) {
			err = visit(k, s, &b, r);
			if (err != ST_E_NOT_FOUND)
				return err;
		}
		pos += b.size;
		expected = b.last_offset + 1;
	}
	return ST_E_NOT_FOUND;
}

static enum st_err lookup_in_segment(
	struct lookup *k, struct segment *s, uint32_t first_block, struct st_req *r)
{
	enum st_err err = segment_warm(k->env, k->log, s);
	k->window = k->window_end = 0;
	if (err != ST_OK)
		return err;
	for (uint32_t i = first_block; i < s->block_count; i++) {
		const struct fmt_block *b = &s->blocks[i];
		if (b->first_offset >= k->limit)
			return ST_E_NOT_FOUND;
		if (b->first_pos == BIDX_NO_BATCH || !lookup_matches(k, b->max_timestamp))
			continue;
		err = lookup_in_block(k, s, i, lookup_first_match, r);
		if (err != ST_E_NOT_FOUND)
			return err;
	}
	return ST_E_NOT_FOUND;
}

/* The segments from `first` on, of it the blocks from first_block on. */
static enum st_err lookup_forward(
	struct lookup *k, uint32_t first, uint32_t first_block, struct st_req *r)
{
	struct log *l = k->log;
	for (uint32_t i = first; i < l->segment_count; i++) {
		struct segment *s = l->segments[i];
		if (s->base_offset >= k->limit)
			break;
		/* of the first one, what lies below first_block counts no more */
		bool whole = i > first || first_block == 0;
		if (s->end_pos == 0 || (whole && !lookup_matches(k, s->max_timestamp)))
			continue;
		enum st_err err = lookup_in_segment(k, s, i == first ? first_block : 0, r);
		if (err == ST_E_CORRUPT)
			log_error("storage", "%s-%d: segment %lld is damaged (time lookup)",
				l->topic, l->partition, (long long)s->base_offset);
		if (err != ST_E_NOT_FOUND)
			return err == ST_OK && r->lookup.offset >= k->limit ? ST_E_NOT_FOUND : err;
	}
	return ST_E_NOT_FOUND;
}

/*
 * The largest timestamp. In the block that holds the log's start some batches lie below it, so that
 * what the index says of it is too much: it is walked; of the others the index is believed.
 */
static enum st_err lookup_largest(struct lookup *k, uint32_t first, struct st_req *r)
{
	struct log *l = k->log;
	struct segment *s = l->segments[first];
	enum st_err err = segment_warm(k->env, l, s);
	k->window = k->window_end = 0;
	if (err != ST_OK)
		return err;
	int64_t edge = bidx_find(s->blocks, s->block_count, l->log_start_offset);
	uint32_t next = (uint32_t)(edge + 1);
	r->lookup.record_timestamp = -1;
	if (edge >= 0)
		err = lookup_in_block(k, s, (uint32_t)edge, lookup_keep_largest, r);
	if (edge >= 0 && err != ST_E_NOT_FOUND)
		return err;
	k->best = -1;
	for (uint32_t i = next; i < s->block_count; i++)
		k->best = max_of(k->best, s->blocks[i].max_timestamp);
	for (uint32_t i = first + 1; i < l->segment_count; i++)
		k->best = max_of(k->best, l->segments[i]->max_timestamp);
	if (r->lookup.record_timestamp >= 0 && r->lookup.record_timestamp >= k->best)
		return ST_OK;
	return k->best < 0 ? ST_E_NOT_FOUND : lookup_forward(k, first, next, r);
}

/* The first segment that reaches above the log's start; the ends of it and all behind it are known.
 */
static enum st_err lookup_prepare(struct lookup *k, uint32_t *first)
{
	struct log *l = k->log;
	enum st_err err = log_list(k->env, l);
	for (uint32_t i = l->segment_count; err == ST_OK && i-- > 0;) {
		struct segment *s = l->segments[i];
		if (s->end_offset <= l->log_start_offset && i + 1 < l->segment_count)
			break;
		*first = i;
		if (s->sealed)
			err = segment_know(k->env, l, s);
	}
	return err;
}

enum st_err log_lookup(struct log_env *env, struct log *l, struct st_req *r)
{
	struct lookup k = {
		.env = env,
		.log = l,
		.timestamp = r->lookup.timestamp,
		.limit = min_of(r->lookup.limit, log_end_offset(l)),
	};
	uint32_t first = 0;
	enum st_err err = lookup_prepare(&k, &first);
	if (err != ST_OK)
		return err;
	if (l->log_start_offset >= k.limit)
		return ST_E_NOT_FOUND;
	if (!lookup_has_scratch(env))
		return ST_E_LIMIT;
	return k.timestamp < 0 ? lookup_largest(&k, first, r) : lookup_forward(&k, first, 0, r);
}
