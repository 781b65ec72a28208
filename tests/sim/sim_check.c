/* SPDX-License-Identifier: Apache-2.0 */
#include "sim_check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

static const char *const rule_names[] = {"ok",
#define X(id, text) #id,
	CHK_RULES(X)
#undef X
};
static const char *const rule_texts[] = {"nothing is wrong",
#define X(id, text) text,
	CHK_RULES(X)
#undef X
};

const char *chk_rule_name(enum chk_rule r)
{
	return rule_names[r];
}

const char *chk_rule_text(enum chk_rule r)
{
	return rule_texts[r];
}

__attribute__((format(printf, 3, 4))) static void violated(
	struct check *c, enum chk_rule rule, const char *fmt, ...)
{
	if (c->broken != CHK_OK)
		return;
	c->broken = rule;
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(c->what, sizeof(c->what), fmt, ap);
	va_end(ap);
}

void chk_init(struct check *c, uint32_t producers, const bool *ordered, bool log_append_time)
{
	*c = (struct check){
		.producers = producers, .ordered = ordered, .log_append_time = log_append_time};
	c->orders = calloc((size_t)producers * CHK_PARTS, sizeof(*c->orders));
	c->scratch.size = 4u << 20;
	c->scratch.buf = malloc(c->scratch.size);
	c->scratch.codec = codec_open();
	CHECK(c->orders && c->scratch.buf && c->scratch.codec);
}

void chk_fini(struct check *c)
{
	for (uint32_t i = 0; i < c->attempt_count; i++)
		free(c->attempts[i].data);
	for (uint32_t i = 0; i < CHK_PARTS; i++)
		free(c->parts[i].log);
	free(c->attempts);
	free(c->orders);
	free(c->scratch.buf);
	codec_close(c->scratch.codec);
}

uint32_t chk_next(const struct check *c)
{
	return c->attempt_count;
}

void chk_sent(struct check *c, uint32_t part, uint32_t producer, uint64_t number, uint8_t *data,
	uint32_t len)
{
	CHECK(part < CHK_PARTS && producer < c->producers);
	if (c->attempt_count == c->attempt_capacity) {
		c->attempt_capacity = c->attempt_capacity ? c->attempt_capacity * 2 : 64;
		c->attempts = realloc(c->attempts, c->attempt_capacity * sizeof(*c->attempts));
		CHECK(c->attempts);
	}
	c->attempts[c->attempt_count++] = (struct chk_attempt){
		.data = data,
		.len = len,
		.count = batch_count(data),
		.part = part,
		.producer = producer,
		.number = number,
		.offset = -1,
		.append_time = -1,
	};
}

void chk_resent(struct check *c, uint32_t attempt)
{
	struct chk_attempt *a = &c->attempts[attempt];
	if (a->fate != CHK_ACKED)
		a->fate = CHK_SENT;
}

static bool is_once(const struct chk_attempt *a)
{
	return batch_producer_id(a->data) >= CHK_ONCE_ID;
}

/* The attempt that a stored batch is of; -1: none. */
static int64_t attempt_of(const struct check *c, const uint8_t *p)
{
	int64_t id = batch_producer_id(p);
	if (id < CHK_ONCE_ID)
		return id < c->attempt_count ? id : -1;
	for (uint32_t i = 0; i < c->attempt_count; i++)
		if (batch_producer_id(c->attempts[i].data) == id &&
			batch_base_sequence(c->attempts[i].data) == batch_base_sequence(p))
			return i;
	return -1;
}

/* --- the log of a partition
 * ------------------------------------------------------------------------ */

/* Index of the entry with this base offset, or -1. */
static int64_t find_base(const struct chk_part *p, int64_t base)
{
	uint32_t lo = 0, hi = p->count;
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		if (p->log[mid].base < base)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < p->count && p->log[lo].base == base ? (int64_t)lo : -1;
}

/* The entry that contains the offset, which is below p->end. */
static struct chk_entry *entry_at(const struct chk_part *p, int64_t offset)
{
	uint32_t lo = 0, hi = p->count;
	while (hi - lo > 1) {
		uint32_t mid = lo + (hi - lo) / 2;
		if (p->log[mid].base <= offset)
			lo = mid;
		else
			hi = mid;
	}
	return &p->log[lo];
}

static void check_order(struct check *c, const struct chk_attempt *a, int64_t base)
{
	struct chk_order *o = &c->orders[a->producer * CHK_PARTS + a->part];
	if (!c->ordered[a->producer])
		return;
	if (o->any && is_once(a) && a->number != o->last_number + 1)
		violated(c, CHK_ORDER, "producer %u, partition %u: batch %llu at %lld follows %llu",
			a->producer, a->part, (unsigned long long)a->number, (long long)base,
			(unsigned long long)o->last_number);
	if (o->any && a->number < o->last_number) {
		/* a later attempt of a batch that was there before is no first appearance */
		for (uint32_t i = 0; i < c->attempt_count; i++) {
			const struct chk_attempt *b = &c->attempts[i];
			if (b != a && b->producer == a->producer && b->part == a->part &&
				b->number == a->number && b->offset >= 0 && b->offset < base)
				return;
		}
		violated(c, CHK_ORDER,
			"producer %u, partition %u: batch %llu at %lld comes after batch %llu",
			a->producer, a->part, (unsigned long long)a->number, (long long)base,
			(unsigned long long)o->last_number);
	}
	o->any = true;
	o->last_number = max_of(o->last_number, a->number);
}

/* Attempts are numbered as they are handed to the partition, whoever sends them and however many
 * are in flight. */
static void check_call_order(struct check *c, struct chk_part *p, uint32_t attempt, int64_t base)
{
	if (is_once(&c->attempts[attempt]))
		return; /* one attempt is handed over many times */
	if (attempt < p->last)
		violated(c, CHK_CALL_ORDER, "attempt %u at %lld comes after attempt %u", attempt,
			(long long)base, p->last);
	p->last = attempt;
}

/* The attempt is known to stand at base. */
static struct chk_entry *learn(struct check *c, uint32_t part, int64_t base, uint32_t attempt)
{
	struct chk_part *p = &c->parts[part];
	struct chk_attempt *a = &c->attempts[attempt];
	if (base > p->end) {
		violated(c, CHK_GAP, "partition %u: %lld follows %lld", part, (long long)base,
			(long long)p->end);
		return NULL;
	}
	if (base < p->end) {
		int64_t i = find_base(p, base);
		if (i >= 0 && p->log[i].attempt == attempt)
			return &p->log[i];
		violated(c, a->offset >= 0 && a->offset != base ? CHK_TWICE : CHK_CONTRADICTED,
			"partition %u, offset %lld: attempt %u, but it held attempt %u", part,
			(long long)base, attempt, entry_at(p, base)->attempt);
		return NULL;
	}
	if (a->offset >= 0) {
		violated(c, CHK_TWICE, "attempt %u stands at %lld and at %lld of partition %u",
			attempt, (long long)a->offset, (long long)base, part);
		return NULL;
	}
	if (a->fate == CHK_DEAD) {
		violated(c, CHK_CAME_BACK, "attempt %u at %lld of partition %u", attempt,
			(long long)base, part);
		return NULL;
	}
	check_order(c, a, base);
	check_call_order(c, p, attempt, base);
	if (p->count == p->capacity) {
		p->capacity = p->capacity ? p->capacity * 2 : 64;
		p->log = realloc(p->log, p->capacity * sizeof(*p->log));
		CHECK(p->log);
	}
	a->offset = base;
	p->log[p->count] = (struct chk_entry){base, attempt, -1};
	p->end = base + a->count;
	return &p->log[p->count++];
}

/* --- what clients see
 * -------------------------------------------------------------------------------- */

void chk_acked(struct check *c, uint32_t attempt, int64_t base_offset)
{
	struct chk_attempt *a = &c->attempts[attempt];
	const struct chk_part *p = &c->parts[a->part];
	if (base_offset == p->end && a->offset < 0) {
		learn(c, a->part, base_offset, attempt);
	} else {
		int64_t i = find_base(p, base_offset);
		if (i < 0 || p->log[i].attempt != attempt)
			violated(c, CHK_ACK_OFFSET,
				"attempt %u acknowledged at %lld of partition %u", attempt,
				(long long)base_offset, a->part);
	}
	a->fate = CHK_ACKED;
	c->acked++;
}

void chk_failed(struct check *c, uint32_t attempt, bool may_appear)
{
	struct chk_attempt *a = &c->attempts[attempt];
	if (a->offset >= 0 && !may_appear)
		violated(c, CHK_CAME_BACK,
			"attempt %u failed, but was seen at %lld of partition %u", attempt,
			(long long)a->offset, a->part);
	a->fate = may_appear ? CHK_UNKNOWN : CHK_DEAD;
}

void chk_watermark(struct check *c, uint32_t part, int64_t hw)
{
	struct chk_part *p = &c->parts[part];
	if (hw < p->watermark)
		violated(c, CHK_WATERMARK_BACK, "partition %u: from %lld to %lld", part,
			(long long)p->watermark, (long long)hw);
	p->watermark = max_of(p->watermark, hw);
}

/* Whether the stored batch is what was sent, but for what a broker changes. */
static bool is_same_batch(
	const struct check *c, const struct chk_attempt *a, const uint8_t *p, uint32_t len)
{
	if (len != a->len || !batch_crc_ok(p))
		return false;
	uint32_t from = 12 + 4;
	if (!c->log_append_time)
		return memcmp(p + from, a->data + from, len - from) == 0;
	return batch_is_log_append_time(p) && p[16] == 2 &&
	       (batch_attributes(p) ^ batch_attributes(a->data)) == BATCH_ATTR_LOG_APPEND_TIME &&
	       memcmp(p + 23, a->data + 23, 12) == 0 && memcmp(p + 43, a->data + 43, len - 43) == 0;
}

/* One fetched batch. */
static void fetched_batch(struct check *c, uint32_t part, const uint8_t *p, uint32_t len)
{
	int64_t id = attempt_of(c, p);
	int64_t base = batch_base_offset(p);
	if (id < 0 || c->attempts[id].part != part) {
		violated(c, CHK_INVENTED, "partition %u, offset %lld: attempt %lld", part,
			(long long)base, (long long)id);
		return;
	}
	if (!is_same_batch(c, &c->attempts[id], p, len)) {
		violated(c, CHK_CHANGED, "partition %u, offset %lld: attempt %lld", part,
			(long long)base, (long long)id);
		return;
	}
	struct chk_entry *e = learn(c, part, base, (uint32_t)id);
	c->fetched_batches++;
	if (!e || !c->log_append_time)
		return;
	if (e->append_time >= 0 && e->append_time != batch_max_timestamp(p))
		violated(c, CHK_CHANGED, "partition %u, offset %lld: another append time", part,
			(long long)base);
	e->append_time = batch_max_timestamp(p);
}

void chk_fetched(struct check *c, uint32_t part, int64_t offset, uint32_t max_bytes,
	bool at_least_one, const uint8_t *p, uint32_t len, int64_t hw)
{
	int64_t next = -1;
	uint32_t batches = 0;
	chk_watermark(c, part, hw);
	for (uint32_t at = 0; at < len;) {
		uint32_t size = len - at >= BATCH_HEADER_SIZE ? batch_size(p + at) : 0;
		if (size == 0 || size > len - at) {
			violated(c, CHK_FETCH_SHAPE, "partition %u, fetch at %lld: a partial batch",
				part, (long long)offset);
			return;
		}
		int64_t base = batch_base_offset(p + at);
		if (next < 0 && (base > offset || batch_last_offset(p + at) < offset))
			violated(c, CHK_FETCH_SHAPE, "partition %u, fetch at %lld begins at %lld",
				part, (long long)offset, (long long)base);
		if (next >= 0 && base != next)
			violated(c, CHK_GAP, "partition %u, fetch: %lld follows %lld", part,
				(long long)base, (long long)next);
		next = batch_next_offset(p + at);
		if (next > hw)
			violated(c, CHK_BEYOND_WATERMARK,
				"partition %u: up to %lld, high watermark %lld", part,
				(long long)next, (long long)hw);
		fetched_batch(c, part, p + at, size);
		at += size;
		batches++;
	}
	if (len == 0 && at_least_one && offset < hw)
		violated(c, CHK_FETCH_SHAPE, "partition %u: nothing at %lld below %lld", part,
			(long long)offset, (long long)hw);
	if (len > max_bytes && (batches > 1 || !at_least_one))
		violated(c, CHK_FETCH_SHAPE, "partition %u: %u bytes where %u were asked for", part,
			len, max_bytes);
}

void chk_crashed(struct check *c)
{
	for (uint32_t i = 0; i < c->attempt_count; i++)
		if (c->attempts[i].fate == CHK_SENT)
			c->attempts[i].fate = CHK_UNKNOWN;
}

void chk_start_asked(struct check *c, uint32_t part, int64_t offset)
{
	struct chk_part *p = &c->parts[part];
	p->start_max = max_of(p->start_max, offset);
}

void chk_start(struct check *c, uint32_t part, int64_t offset)
{
	struct chk_part *p = &c->parts[part];
	if (offset < p->start || offset > p->start_max)
		violated(c, CHK_START, "partition %u: from %lld to %lld, asked for %lld", part,
			(long long)p->start, (long long)offset, (long long)p->start_max);
	p->start = offset;
}

void chk_deleted(struct check *c, uint32_t part)
{
	struct chk_part *p = &c->parts[part];
	for (uint32_t i = 0; i < c->attempt_count; i++)
		if (c->attempts[i].part == part) {
			c->attempts[i].fate = CHK_DEAD;
			c->attempts[i].offset = -1;
		}
	free(p->log);
	*p = (struct chk_part){0};
	for (uint32_t i = 0; i < c->producers; i++)
		c->orders[i * CHK_PARTS + part] = (struct chk_order){0};
}

void chk_reopened(struct check *c, uint32_t part, int64_t start, int64_t log_end)
{
	struct chk_part *p = &c->parts[part];
	chk_start(c, part, start);
	p->start_max = start; /* what was asked for and is not done will not be */
	if (log_end < p->end)
		violated(c, CHK_LOST, "partition %u ends at %lld, but %lld was reached", part,
			(long long)log_end, (long long)p->end);
	p->watermark = p->end;
}

void chk_reread(struct check *c, uint32_t part)
{
	for (uint32_t i = 0; i < c->attempt_count; i++) {
		struct chk_attempt *a = &c->attempts[i];
		if (a->part == part && a->fate == CHK_UNKNOWN && a->offset < 0)
			a->fate = CHK_DEAD;
	}
}

/* --- ListOffsets
 * -------------------------------------------------------------------------------------- */

/* The record that ListOffsets should find in one batch: offset, or -1. */
static int64_t find_record(struct check *c, const struct chk_entry *e, int64_t timestamp,
	int64_t start, int64_t *found)
{
	const struct chk_attempt *a = &c->attempts[e->attempt];
	if (c->log_append_time) {
		*found = e->append_time;
		return e->append_time >= timestamp ? max_of(e->base, start) : -1;
	}
	struct batch_iter it;
	struct batch_record r;
	int64_t best = -1;
	CHECK(batch_iter_init(&it, a->data, a->len, &c->scratch) == 0);
	while (batch_iter_next(&it, &r) == 1) {
		if (e->base + r.offset < start)
			continue;
		if (timestamp >= 0 && r.timestamp >= timestamp) {
			*found = r.timestamp;
			return e->base + r.offset;
		}
		if (timestamp < 0 && (best < 0 || r.timestamp > *found)) {
			*found = r.timestamp;
			best = e->base + r.offset;
		}
	}
	return best;
}

/* By walking the log up to `limit`. False: not everything that is needed is known. */
static bool expect(struct check *c, const struct chk_part *p, int64_t timestamp, int64_t limit,
	int64_t *offset, int64_t *record_timestamp)
{
	*offset = *record_timestamp = -1;
	for (uint32_t i = 0; i < p->count && p->log[i].base < limit; i++) {
		const struct chk_entry *e = &p->log[i];
		if (e->base + c->attempts[e->attempt].count <= p->start)
			continue;
		if (c->log_append_time && e->append_time < 0)
			return false;
		int64_t ts = -1;
		int64_t at = find_record(c, e, timestamp, p->start, &ts);
		if (at < 0 || (timestamp < 0 && ts <= *record_timestamp))
			continue;
		*offset = at;
		*record_timestamp = ts;
		if (timestamp >= 0)
			return true;
	}
	return true;
}

void chk_listed(struct check *c, uint32_t part, int64_t timestamp, int64_t offset,
	int64_t record_timestamp, int64_t hw_at_start, int64_t start_then)
{
	struct chk_part *p = &c->parts[part];
	c->listed++;
	if (timestamp == -1) {
		chk_watermark(c, part, offset);
		return;
	}
	int64_t want = p->start, want_ts = -1;
	if (p->start != p->start_max || start_then != p->start)
		return; /* it moves */
	/* the log may have grown while it was searched: what is found there is right, too */
	int64_t limit = max_of(hw_at_start, offset + 1);
	if (timestamp != -2 && !expect(c, p, timestamp, limit, &want, &want_ts))
		return;
	if (offset != want || record_timestamp != want_ts)
		violated(c, CHK_LIST,
			"partition %u, timestamp %lld: offset %lld (%lld), not %lld (%lld)", part,
			(long long)timestamp, (long long)offset, (long long)record_timestamp,
			(long long)want, (long long)want_ts);
}
