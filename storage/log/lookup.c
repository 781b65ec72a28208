/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding records by time. Segment, index and batch headers narrow it down by their largest
 * timestamps (timestamps of CreateTime topics need not ascend); then one batch is looked into.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/crc.h"
#include "base/log.h"
#include "storage/log/log.h"

struct lookup {
	struct log_env *env;
	struct log *log;
	int64_t timestamp; /* -1: the largest */
	int64_t limit;
	/* what scratch holds: [window, window_end) of the segment being looked through */
	uint64_t window;
	uint64_t window_end;
};

#define LOOKUP_WINDOW (64u * 1024u)

void log_env_fini(struct log_env *env)
{
	record_scratch_destroy(env->records);
	free(env->inflate);
	env->records = NULL;
	env->inflate = NULL;
}

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
		struct io *io = k->env->io;
		uint64_t end = align_up(s->end_pos, (uint64_t)FMT_PAGE);
		k->window = align_down(pos, (uint64_t)FMT_PAGE);
		k->window_end = min_of(k->window + LOOKUP_WINDOW, end);
		uint64_t n = k->window_end - k->window;
		int64_t got = io->api->pread(io, s->file, k->env->scratch, n, k->window);
		if (got != (int64_t)n) {
			k->env->io_errors++;
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
	struct io *io = k->env->io;
	uint64_t from = align_down(b->pos, (uint64_t)FMT_PAGE);
	size_t length = (size_t)(align_up(b->pos + b->size, (uint64_t)FMT_PAGE) - from);
	uint8_t *own = NULL, *mem = k->env->scratch;
	if (length > LOG_SCRATCH) {
		own = aligned_alloc(FMT_PAGE, length);
		if (!own)
			return ST_E_LIMIT;
		mem = own;
	}
	k->window_end = 0; /* scratch is used for the batch */
	enum st_err err = ST_OK;
	if (io->api->pread(io, s->file, mem, length, from) < (int64_t)(b->pos + b->size - from)) {
		k->env->io_errors++;
		err = ST_E_CORRUPT;
	}
	const uint8_t *p = mem + (b->pos - from);
	if (err == ST_OK && crc32c(0, p + SCAN_CRC_FROM, b->size - SCAN_CRC_FROM) != b->crc)
		err = ST_E_CORRUPT;
	if (err == ST_OK) {
		int n = record_find(p, b->size, k->timestamp, k->env->records, &r->lookup.offset,
			&r->lookup.record_timestamp);
		err = n > 0 ? ST_OK : n == 0 ? ST_E_NOT_FOUND : ST_E_CORRUPT;
	}
	free(own);
	return err;
}

static bool lookup_matches(const struct lookup *k, int64_t max_timestamp, int64_t best)
{
	return k->timestamp >= 0 ? max_timestamp >= k->timestamp : max_timestamp == best;
}

/* The batches from index entry i up to the next one. */
static enum st_err lookup_in_chunk(
	struct lookup *k, struct segment *s, uint32_t i, int64_t best, struct st_req *r)
{
	const struct fmt_index_entry *e = &s->index.entries[i];
	uint64_t pos = e->pos;
	uint64_t end = i + 1 < s->index.count ? s->index.entries[i + 1].pos : s->end_pos;
	int64_t expected = e->offset;
	while (pos < end) {
		const uint8_t *head;
		struct scan_batch b;
		if (end - pos < SCAN_BATCH_HEAD)
			return ST_E_CORRUPT;
		enum st_err err = lookup_head(k, s, pos, &head);
		if (err != ST_OK)
			return err;
		if (scan_head(head, end - pos, expected, &b) != SCAN_STOP_NONE)
			return ST_E_CORRUPT;
		if (b.base_offset >= k->limit)
			return ST_E_NOT_FOUND;
		b.pos = pos;
		if (lookup_matches(k, b.max_timestamp, best)) {
			err = lookup_in_batch(k, s, &b, r);
			if (err != ST_E_NOT_FOUND)
				return err;
		}
		pos += b.size;
		expected = b.last_offset + 1;
	}
	return ST_E_NOT_FOUND;
}

static enum st_err lookup_in_segment(
	struct lookup *k, struct segment *s, int64_t best, struct st_req *r)
{
	enum st_err err = segment_warm(k->env, k->log, s);
	k->window_end = 0;
	if (err != ST_OK)
		return err;
	for (uint32_t i = 0; i < s->index.count; i++) {
		const struct fmt_index_entry *e = &s->index.entries[i];
		if (e->offset >= k->limit)
			return ST_E_NOT_FOUND;
		if (!lookup_matches(k, e->max_timestamp, best))
			continue;
		err = lookup_in_chunk(k, s, i, best, r);
		if (err != ST_E_NOT_FOUND)
			return err;
	}
	return ST_E_NOT_FOUND;
}

enum st_err log_lookup(struct log_env *env, struct log *l, struct st_req *r)
{
	struct lookup k = {
		.env = env,
		.log = l,
		.timestamp = r->lookup.timestamp,
		.limit = min_of(r->lookup.limit, log_end_offset(l)),
	};
	int64_t best = -1;
	for (uint32_t i = 0; i < l->segment_count; i++)
		best = max_of(best, l->segments[i]->max_timestamp);
	if (k.timestamp < 0 && best < 0)
		return ST_E_NOT_FOUND; /* no record has a timestamp */
	if (!lookup_has_scratch(env))
		return ST_E_LIMIT;
	for (uint32_t i = 0; i < l->segment_count; i++) {
		struct segment *s = l->segments[i];
		if (s->base_offset >= k.limit)
			break;
		if (s->end_pos == 0 || !lookup_matches(&k, s->max_timestamp, best))
			continue;
		enum st_err err = lookup_in_segment(&k, s, best, r);
		if (err == ST_E_CORRUPT)
			log_error("storage", "%s: segment %lld is damaged (time lookup)", l->path,
				(long long)s->base_offset);
		if (err != ST_E_NOT_FOUND)
			return err == ST_OK && r->lookup.offset >= k.limit ? ST_E_NOT_FOUND : err;
	}
	return ST_E_NOT_FOUND;
}
