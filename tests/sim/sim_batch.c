/* SPDX-License-Identifier: Apache-2.0 */
/* Batches of the rig: each is told from all others, and known byte for byte. */
#include "sim_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "kafka/batch.h"

#define KEYS 6u

static void random_bytes(struct rig *g, uint8_t *p, uint32_t n)
{
	for (uint32_t i = 0; i < n; i += 8) {
		uint64_t x = prng_next(&g->rng);
		memcpy(p + i, &x, min_of(8u, n - i));
	}
}

uint32_t rig_batch_make(struct rig *g, const struct rig_log *l, uint32_t size)
{
	struct batch_build b;
	uint32_t records = size < 600 || l->compact ? 1 + (uint32_t)prng_below(&g->rng, 3) : 1;
	uint32_t each = size > 90 * records ? size / records - 80 : 8;
	uint8_t *value = g->scratch + RIG_BATCH_MAX;
	char key[8];
	batch_build_begin(&b, g->scratch, RIG_BATCH_MAX);
	batch_build_set_producer(&b, (int64_t)g->next_batch++, 0, 0, false);
	for (uint32_t i = 0; i < records; i++) {
		struct kbytes k = KBYTES_NULL, v = {.p = value, .len = (int32_t)each};
		if (l->compact) {
			snprintf(key, sizeof(key), "k%u", (unsigned)prng_below(&g->rng, KEYS));
			k = (struct kbytes){.p = (const uint8_t *)key, .len = 2};
			if (prng_below(&g->rng, 8) == 0)
				v = KBYTES_NULL;
		}
		random_bytes(g, value, each);
		CHECK(batch_build_add(&b, RIG_T0 + (l->end + i) * 10, k, v, NULL, 0));
	}
	uint32_t len = batch_build_finish(&b);
	CHECK(len > 0);
	batch_set_base_offset(g->scratch, l->end);
	batch_set_leader_epoch(g->scratch, RIG_EPOCH);
	return len;
}

const struct rig_batch *rig_batch_at(const struct rig_log *l, int64_t offset)
{
	uint32_t lo = 0, hi = l->batch_count;
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		if (l->batches[mid].base + l->batches[mid].count <= offset)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < l->batch_count && l->batches[lo].base <= offset ? &l->batches[lo] : NULL;
}

static bool same_bytes(struct kbytes a, struct kbytes b)
{
	return a.len == b.len && (a.len <= 0 || memcmp(a.p, b.p, (size_t)a.len) == 0);
}

/* The record with this offset, as it was asked for. */
static bool asked_record(const struct rig_log *l, int64_t offset, struct batch_record *out)
{
	const struct rig_batch *b = rig_batch_at(l, offset);
	struct batch_iter it;
	if (!b || batch_iter_init(&it, b->data, b->len, NULL) != 0)
		return false;
	while (batch_iter_next(&it, out) == 1)
		if (out->offset == offset)
			return true;
	return false;
}

/* A batch that may have lost records. */
static const char *check_compacted(const struct rig_log *l, const uint8_t *p, uint8_t *seen)
{
	struct batch_iter it;
	struct batch_record r, want;
	int64_t before = -1;
	if (!batch_crc_ok(p))
		return "a compacted batch with a wrong checksum";
	if (batch_iter_init(&it, p, batch_size(p), NULL) != 0)
		return "a compacted batch that cannot be read";
	while (batch_iter_next(&it, &r) == 1) {
		if (r.offset <= before)
			return "a compacted batch whose offsets do not ascend";
		before = r.offset;
		if (!asked_record(l, r.offset, &want))
			return "a compacted batch with an invented record";
		if (r.timestamp != want.timestamp || !same_bytes(r.key, want.key) ||
			!same_bytes(r.value, want.value))
			return "a compacted batch with a changed record";
		if (seen)
			seen[r.offset] = 1;
	}
	return NULL;
}

static const char *check_batch(const struct rig_log *l, const uint8_t *p, uint8_t *seen)
{
	int64_t base = batch_base_offset(p);
	const struct rig_batch *b = rig_batch_at(l, base);
	if (b && b->base == base && b->len == batch_size(p) && memcmp(b->data, p, b->len) == 0) {
		for (int32_t i = 0; seen && i < b->count; i++)
			seen[base + i] = 1;
		return NULL;
	}
	if (l->compact && base < l->clean_limit)
		return check_compacted(l, p, seen);
	if (!b)
		return "a batch where none was asked for";
	return b->base != base ? "a batch at a wrong offset" : "other bytes than were appended";
}

const char *rig_check_bytes(
	const struct rig_log *l, struct lspan span, int64_t offset, int64_t *next, uint8_t *seen)
{
	static const char *const partial = "a partial batch";
	uint8_t head[BATCH_HEADER_SIZE], *p;
	const char *wrong = NULL;
	bool first = true;
	*next = offset;
	while (span.len > 0 && !wrong) {
		if (span.len < sizeof(head))
			return partial;
		lspan_copy(span, 0, head, sizeof(head));
		uint32_t size = batch_size(head);
		if (size == 0 || size > span.len)
			return partial;
		bool gap = l->compact && batch_base_offset(head) < l->clean_limit;
		if (batch_last_offset(head) < *next)
			return "a batch below the offset asked for";
		if (batch_base_offset(head) > *next && !gap &&
			!(l->compact && *next < l->clean_limit))
			return "offsets that are not dense";
		if (!first && batch_base_offset(head) < *next)
			return "offsets that overlap";
		p = malloc(size);
		CHECK(p);
		lspan_copy(span, 0, p, size);
		wrong = check_batch(l, p, seen);
		free(p);
		*next = batch_next_offset(head);
		span = lspan_skip(span, size);
		first = false;
	}
	return first ? "nothing" : wrong;
}

/* Whether a newer record of the same key stands below `end`. */
static bool is_superseded(const struct rig_log *l, const struct batch_record *r, int64_t end)
{
	struct batch_record other;
	for (int64_t at = r->offset + 1; at < end; at++)
		if (asked_record(l, at, &other) && same_bytes(other.key, r->key))
			return true;
	return false;
}

int64_t rig_check_keys(const struct rig_log *l, const uint8_t *seen, int64_t start, int64_t end)
{
	struct batch_record r;
	for (int64_t at = start; at < end; at++) {
		if (seen[at])
			continue;
		if (at >= l->clean_limit || !asked_record(l, at, &r))
			return at;
		if (r.value.len >= 0 && !is_superseded(l, &r, end))
			return at;
	}
	return -1;
}
