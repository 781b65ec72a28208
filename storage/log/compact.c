/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/log/compact.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "storage/log/compact_int.h"

/* Layout of the scratch memory: staging, two index pages, then the window and what re-encoding
 * needs. */
#define SCRATCH_FIXED (1024u * 1024u)
_Static_assert(COMPACT_STAGING + 2 * FMT_PAGE <= SCRATCH_FIXED, "fits");
#define CLEAR_RUN (1024u * 1024u) /* bytes of the map that count like a run of io */
/* A record takes about a tenth of an entry's size at least, compressed: the map of a small dirty
 * section need not be cleared in full. */
#define MAP_FACTOR 16u

enum phase {
	PHASE_CLEAR,
	PHASE_MAP,
	PHASE_GROUP, /* between two groups */
	PHASE_COPY,
	PHASE_FLUSH,
	PHASE_SWAP, /* the output waits for compact_swap */
	PHASE_DONE,
	PHASE_STOPPED, /* failed or corrupt */
};

struct compact {
	enum phase phase;
	struct compact_input in; /* segments points to the array below, which is current */
	char path[IO_PATH_MAX];
	struct compact_segment *segments;
	uint32_t count;
	struct compact_memory mem;
	struct compact_map map;
	struct rebatch *rebatch;
	struct compact_reader reader;
	struct compact_writer writer;
	struct compact_stats stats;
	int error;
	struct st_pos where;

	/* the round: [dirty_offset, round_end) is in the map, and what is below it is clean */
	bool tombstones_only; /* nothing is dirty enough; the map stays empty */
	int64_t dirty_offset;
	int64_t dirty_end; /* of what may be cleaned */
	int64_t round_end;
	bool map_full;
	bool held;   /* a batch below was copied as it is: older records of a key may be in it */
	uint32_t at; /* segment that is mapped, or first one of the group */

	/* the group: segments [at, at + group) become `out` */
	uint32_t group;
	uint32_t input; /* of these, the one that is read */
	struct compact_segment out;
	bool changed; /* the output is not byte for byte the input */
};

/* ---- what is due ---- */

/* What there is to clean: segments [0, dirty) are clean, [dirty, end) may be cleaned. */
struct plan {
	uint32_t dirty, end;
	bool full;	 /* a round over the dirty ones is due */
	bool tombstones; /* there are some whose time has come */
};

static bool has_expired(const struct compact_segment *s, int64_t now_ms)
{
	return s->delete_horizon_ms > 0 && s->delete_horizon_ms <= now_ms;
}

static bool is_too_young(const struct compact_input *in, const struct compact_segment *s)
{
	int64_t newest = s->max_timestamp >= 0 ? s->max_timestamp : s->created_ms;
	return in->policy.min_compaction_lag_ms > 0 &&
	       newest > in->now_ms - in->policy.min_compaction_lag_ms;
}

static struct plan plan_of(const struct compact_input *in)
{
	struct plan p = {0};
	uint64_t clean = 0, dirty = 0;
	bool old = false;
	for (; p.dirty < in->count && in->segments[p.dirty].compacted; p.dirty++) {
		const struct compact_segment *s = &in->segments[p.dirty];
		if (s->end_offset > in->limit)
			break;
		clean += s->end_pos;
		p.tombstones |= has_expired(s, in->now_ms);
	}
	for (p.end = p.dirty; p.end < in->count; p.end++) {
		const struct compact_segment *s = &in->segments[p.end];
		if (s->end_offset > in->limit || is_too_young(in, s))
			break;
		dirty += s->end_pos;
		old |= s->created_ms < in->now_ms - in->policy.max_compaction_lag_ms;
	}
	unsigned __int128 share = (unsigned __int128)dirty * 1000000u;
	unsigned __int128 bound = (unsigned __int128)(clean + dirty) * in->policy.min_dirty_ppm;
	p.full = dirty > 0 && (old || share > bound);
	return p;
}

bool compact_due(const struct compact_input *in)
{
	struct plan p = plan_of(in);
	return in->policy.compact && (p.full || p.tombstones);
}

/* ---- begin and end ---- */

/* Memory of the parts. */
static bool lend(struct compact *c)
{
	uint8_t *p = c->mem.scratch;
	size_t quarter = align_down((c->mem.scratch_size - SCRATCH_FIXED) / 4, (size_t)BIDX_BLOCK);
	CHECK((uintptr_t)p % FMT_PAGE == 0 && c->mem.scratch_size >= COMPACT_SCRATCH_MIN);
	CHECK(c->mem.map_size >= COMPACT_MAP_MIN);
	c->writer.staging = p;
	c->writer.page = (struct fmt_bidx_page *)(p + COMPACT_STAGING);
	c->reader.page = c->writer.page + 1;
	c->reader.window = p + SCRATCH_FIXED;
	c->reader.window_size = quarter;
	c->rebatch = rebatch_create(c->reader.window + quarter, 3 * quarter);
	return c->rebatch;
}

static void round_begin(struct compact *c)
{
	uint64_t dirty = 0;
	for (uint32_t i = 0; !c->tombstones_only && i < c->count; i++)
		if (c->segments[i].end_offset > c->dirty_offset &&
			c->segments[i].end_offset <= c->dirty_end)
			dirty += c->segments[i].end_pos;
	uint64_t size = max_of(dirty * MAP_FACTOR, (uint64_t)COMPACT_MAP_MIN);
	compact_map_init(&c->map, c->mem.map, min_of(size, (uint64_t)c->mem.map_size), c->mem.seed);
	c->phase = PHASE_CLEAR;
	c->round_end = c->dirty_offset;
	c->map_full = c->held = false;
	c->at = 0;
	c->stats.rounds++;
}

struct compact *compact_begin(const struct compact_input *in, const struct compact_memory *mem)
{
	struct compact *c = calloc(1, sizeof(*c));
	size_t size = max_of(in->count, 1u) * sizeof(*c->segments);
	if (!c)
		return NULL;
	c->in = *in;
	c->mem = *mem;
	c->count = in->count;
	c->segments = malloc(size);
	if (!c->segments || strlen(in->path) >= sizeof(c->path) || !lend(c)) {
		free(c->segments);
		free(c);
		return NULL;
	}
	memcpy(c->path, in->path, strlen(in->path) + 1);
	if (in->count)
		memcpy(c->segments, in->segments, in->count * sizeof(*c->segments));
	c->in.segments = c->segments;
	c->in.path = c->path;
	struct plan p = plan_of(&c->in);
	for (uint32_t i = 1; i < c->count; i++)
		CHECK(c->segments[i].base_offset == c->segments[i - 1].end_offset);
	if (!in->policy.compact || (!p.full && !p.tombstones)) {
		c->phase = PHASE_DONE;
		return c;
	}
	/* A clean log ends where its last clean segment does. */
	c->tombstones_only = !p.full;
	c->dirty_offset =
		p.dirty ? c->segments[p.dirty - 1].end_offset : c->segments[0].base_offset;
	c->dirty_end = p.full ? c->segments[p.end - 1].end_offset : c->dirty_offset;
	round_begin(c);
	return c;
}

void compact_end(struct compact *c, struct io *io)
{
	if (!c)
		return;
	c->reader.io = c->writer.io = io;
	compact_reader_close(&c->reader);
	compact_writer_discard(&c->writer);
	rebatch_destroy(c->rebatch);
	free(c->segments);
	free(c);
}

static enum compact_step stop(struct compact *c, int rc)
{
	compact_reader_close(&c->reader);
	compact_writer_discard(&c->writer);
	c->phase = PHASE_STOPPED;
	c->error = rc;
	return rc == -EBADMSG ? COMPACT_CORRUPT : COMPACT_FAILED;
}

static enum compact_step stop_read(struct compact *c, enum compact_read how, int rc)
{
	c->where = (struct st_pos){c->reader.segment.base_offset, c->reader.pos};
	return stop(c, how == COMPACT_READ_CORRUPT ? -EBADMSG : rc);
}

/* ---- the map ---- */

/* Some records of a batch and the hashes of their keys, on whose entries the fetch has begun. */
#define RUN 32u
struct run {
	struct rebatch_record records[RUN];
	struct compact_hash hashes[RUN];
	uint32_t count;
};

/* The next records of the batch; false: there are none. */
static bool run_next(struct compact *c, struct run *run)
{
	for (run->count = 0; run->count < RUN; run->count++) {
		struct rebatch_record *rec = &run->records[run->count];
		struct compact_hash *h = &run->hashes[run->count];
		if (!rebatch_next(c->rebatch, rec))
			break;
		if (rec->key_len < 0)
			continue;
		*h = compact_map_key(&c->map, rec->key, (size_t)rec->key_len);
		compact_map_prefetch(&c->map, *h);
	}
	return run->count > 0;
}

/* Enters the keys of a batch. False: the map is full. */
static bool map_batch(struct compact *c, const uint8_t *p, const struct rebatch_head *h)
{
	struct run run;
	struct compact_map *m = &c->map;
	if (h->producer_id >= 0 &&
		!compact_map_put(m, compact_map_producer(m, h->producer_id), h->last_offset))
		return false;
	if (h->special)
		return true; /* whether its records count will be known with its end only */
	if (!rebatch_load(c->rebatch, p))
		return true;
	while (run_next(c, &run))
		for (uint32_t i = 0; i < run.count; i++)
			if (run.records[i].key_len >= 0 &&
				!compact_map_put(m, run.hashes[i], run.records[i].offset))
				return false;
	return true;
}

static bool map_takes(const struct compact *c, const struct rebatch_head *h)
{
	/* An empty map takes as much as it can of any batch: else there would be no end. */
	return c->map.used == 0 || compact_map_fits(&c->map, (uint64_t)h->count + 1);
}

static enum compact_step map_end(struct compact *c)
{
	compact_reader_close(&c->reader);
	c->at = 0;
	c->phase = PHASE_GROUP;
	return COMPACT_MORE;
}

static enum compact_step step_map(struct compact *c, int64_t *budget)
{
	while (c->at < c->count && c->segments[c->at].end_offset <= c->dirty_offset)
		c->at++;
	if (c->map_full || c->tombstones_only || c->at == c->count ||
		c->segments[c->at].base_offset >= c->dirty_end)
		return map_end(c);
	int rc = 0;
	if (!c->reader.log)
		rc = compact_reader_open(
			&c->reader, c->path, &c->in.topic_id, c->in.partition, &c->segments[c->at]);
	if (rc < 0)
		return stop_read(c, COMPACT_READ_FAILED, rc);
	while (*budget > 0 && !c->map_full) {
		const uint8_t *p;
		struct rebatch_head h;
		enum compact_read got = compact_reader_next(&c->reader, budget, &p, &h, &rc);
		if (got == COMPACT_READ_MORE)
			return COMPACT_MORE;
		if (got == COMPACT_READ_END) {
			compact_reader_close(&c->reader);
			c->at++;
			return COMPACT_MORE;
		}
		if (got != COMPACT_READ_BATCH)
			return stop_read(c, got, rc);
		if (h.last_offset < c->dirty_offset)
			continue;
		c->map_full = !map_takes(c, &h);
		if (c->map_full)
			break;
		c->map_full = !map_batch(c, p, &h);
		c->round_end = h.last_offset + 1;
		*budget -= rebatch_loaded(c->rebatch);
	}
	return COMPACT_MORE;
}

/* ---- groups ---- */

/* Whether segment i can join the group, which it would make so large. A segment that the round
 * covers in part stays alone, so that what is clean stays so. */
static bool group_takes(const struct compact *c, uint32_t i, uint64_t bytes)
{
	const struct compact_segment *s = &c->segments[i];
	return i < c->count && s->end_offset <= c->round_end &&
	       bytes + s->end_pos <= c->in.segment_bytes &&
	       s->end_offset - c->segments[c->at].base_offset <= INT32_MAX;
}

static enum compact_step round_next(struct compact *c)
{
	if (c->round_end < c->dirty_end) {
		c->dirty_offset = c->round_end;
		round_begin(c);
		return COMPACT_MORE;
	}
	c->phase = PHASE_DONE;
	return COMPACT_DONE;
}

static enum compact_step step_group(struct compact *c)
{
	while (c->tombstones_only && c->at < c->count &&
		c->segments[c->at].end_offset <= c->round_end &&
		!has_expired(&c->segments[c->at], c->in.now_ms))
		c->at++;
	if (c->at == c->count || c->segments[c->at].base_offset >= c->round_end)
		return round_next(c);
	uint64_t bytes = c->segments[c->at].end_pos;
	c->group = 1;
	if (c->segments[c->at].end_offset <= c->round_end)
		for (; group_takes(c, c->at + c->group, bytes); c->group++)
			bytes += c->segments[c->at + c->group].end_pos;
	const struct compact_segment *first = &c->segments[c->at];
	const struct compact_segment *last = &c->segments[c->at + c->group - 1];
	c->out = (struct compact_segment){
		.base_offset = first->base_offset,
		.end_offset = last->end_offset,
		.max_timestamp = -1,
		.created_ms = first->created_ms,
		.leader_epoch = last->leader_epoch,
		.compacted = last->end_offset <= c->round_end,
	};
	c->input = 0;
	c->changed = c->group > 1 || !first->compacted;
	int rc = compact_writer_open(
		&c->writer, c->path, &c->in.topic_id, c->in.partition, first->base_offset);
	if (rc < 0)
		return stop(c, rc);
	c->phase = PHASE_COPY;
	return COMPACT_MORE;
}

/* ---- copying ---- */

static int put(struct compact *c, const uint8_t *p, uint32_t size, int64_t base_offset,
	int64_t max_timestamp, int64_t *budget)
{
	c->out.max_timestamp = max_of(c->out.max_timestamp, max_timestamp);
	*budget -= size;
	return compact_writer_put(&c->writer, p, size, base_offset, max_timestamp);
}

static int put_same(
	struct compact *c, const uint8_t *p, const struct rebatch_head *h, int64_t *budget)
{
	return put(c, p, h->size, h->base_offset, h->count ? h->max_timestamp : -1, budget);
}

/*
 * A batch without records stays when it is the last one of the output, or when its producer may
 * need its sequence: unless a later batch of that producer is known, or the producer has expired.
 * (Cleaner.checkBatchRetention)
 */
static bool is_needed_empty(const struct compact *c, const struct rebatch_head *h)
{
	if (h->last_offset + 1 == c->out.end_offset)
		return true;
	if (h->producer_id < 0)
		return false;
	int64_t expires = c->in.producer_expiration_ms;
	if (expires >= 0 && (h->max_timestamp < 0 || h->max_timestamp <= c->in.now_ms - expires))
		return false;
	struct compact_hash p = compact_map_producer(&c->map, h->producer_id);
	return compact_map_get(&c->map, p) <= h->last_offset;
}

static int put_empty(
	struct compact *c, const uint8_t *p, const struct rebatch_head *h, int64_t *budget)
{
	uint8_t head[REBATCH_HEAD];
	if (!is_needed_empty(c, h)) {
		c->changed = true;
		c->stats.batches_dropped++;
		return 0;
	}
	if (h->count == 0)
		return put_same(c, p, h, budget);
	c->changed = true;
	c->stats.batches_emptied++;
	rebatch_empty(p, head);
	return put(c, head, REBATCH_HEAD, h->base_offset, -1, budget);
}

/* What of a batch stays. */
struct kept {
	uint32_t dropped;
	uint32_t expired;    /* of these, tombstones whose time has come */
	uint32_t tombstones; /* kept */
	bool unmapped;	     /* one of these is not in the map */
	int64_t max_timestamp;
};

static void keep_record(struct compact *c, const struct rebatch_record *rec,
	struct compact_hash hash, bool gone, struct kept *k)
{
	bool keyed = rec->key_len >= 0;
	bool tombstone = rec->tombstone && keyed;
	int64_t last = keyed ? compact_map_get(&c->map, hash) : -1;
	if (last > rec->offset || (tombstone && gone)) {
		k->dropped++;
		k->expired += last <= rec->offset;
		return;
	}
	rebatch_keep(c->rebatch, rec);
	k->tombstones += tombstone;
	k->unmapped |= tombstone && last != rec->offset;
	k->max_timestamp = max_of(k->max_timestamp, rec->timestamp);
}

static struct kept keep_records(struct compact *c, const struct rebatch_head *h)
{
	struct kept k = {.max_timestamp = -1};
	struct run run;
	bool gone = h->delete_horizon_ms >= 0 && h->delete_horizon_ms <= c->in.now_ms;
	while (run_next(c, &run)) {
		c->stats.records += run.count;
		for (uint32_t i = 0; i < run.count; i++)
			keep_record(c, &run.records[i], run.hashes[i], gone, &k);
	}
	c->stats.records_dropped += k.dropped;
	c->stats.tombstones_dropped += k.expired;
	return k;
}

/* The delete horizon that the batch gets now; -1: none. Only when this round leaves no older record
 * of the keys: all its tombstones are in the map, and all batches below were cleaned. */
static int64_t new_horizon(const struct compact *c, const struct rebatch_head *h, struct kept k)
{
	if (k.tombstones == 0 || k.unmapped || c->held || h->delete_horizon_ms >= 0)
		return -1;
	int64_t retention = max_of(c->in.policy.delete_retention_ms, (int64_t)0);
	return retention > INT64_MAX - c->in.now_ms ? INT64_MAX : c->in.now_ms + retention;
}

/* Tombstones stay in the batch, until this time. */
static void note_horizon(struct compact *c, int64_t horizon_ms)
{
	int64_t *first = &c->out.delete_horizon_ms;
	if (horizon_ms >= 0 && (*first == 0 || horizon_ms < *first))
		*first = max_of(horizon_ms, (int64_t)1);
}

/* The batch stays as it is, whatever is in it. */
static int hold_batch(
	struct compact *c, const uint8_t *p, const struct rebatch_head *h, int64_t *budget)
{
	c->held = true;
	c->stats.batches_held++;
	return put_same(c, p, h, budget);
}

static int copy_batch(struct compact *c, const uint8_t *p, struct rebatch_head *h, int64_t *budget)
{
	c->stats.batches++;
	if (h->base_offset >= c->round_end)
		return put_same(c, p, h, budget);
	if (h->special)
		return hold_batch(c, p, h, budget);
	if (h->count == 0)
		return put_empty(c, p, h, budget);
	if (!rebatch_load(c->rebatch, p))
		return hold_batch(c, p, h, budget);
	*budget -= rebatch_loaded(c->rebatch);
	if (h->base_offset >= c->dirty_offset)
		h->delete_horizon_ms = -1; /* a producer may have set it; only we do */
	struct kept k = keep_records(c, h);
	int64_t horizon = new_horizon(c, h, k);
	const uint8_t *out;
	uint32_t len;
	enum rebatch_verdict verdict = rebatch_finish(c->rebatch, horizon, &out, &len);
	if (verdict == REBATCH_EMPTY)
		return put_empty(c, p, h, budget);
	if (verdict == REBATCH_FAILED)
		return hold_batch(c, p, h, budget);
	if (k.tombstones > 0)
		note_horizon(c, horizon >= 0 ? horizon : h->delete_horizon_ms);
	if (verdict == REBATCH_SAME)
		return put_same(c, p, h, budget);
	c->changed = true;
	return put(c, out, len, h->base_offset, k.max_timestamp, budget);
}

/* All inputs of the group are copied. */
static enum compact_step group_seal(struct compact *c)
{
	const struct compact_segment *first = &c->segments[c->at];
	if (!c->changed && first->delete_horizon_ms == c->out.delete_horizon_ms) {
		compact_writer_discard(&c->writer);
		c->at += c->group;
		c->phase = PHASE_GROUP;
		return COMPACT_MORE;
	}
	c->out.end_pos = compact_writer_pos(&c->writer);
	int rc = compact_writer_seal(&c->writer, &c->out);
	if (rc < 0)
		return stop(c, rc);
	c->phase = PHASE_FLUSH;
	return COMPACT_MORE;
}

/* One flush a step: each may take its time. */
static enum compact_step step_flush(struct compact *c, int64_t *budget)
{
	int rc = compact_writer_flush(&c->writer);
	*budget = 0;
	if (rc < 0)
		return stop(c, rc);
	if (rc > 0)
		return COMPACT_MORE;
	c->phase = PHASE_SWAP;
	return COMPACT_SWAP;
}

static enum compact_step step_copy(struct compact *c, int64_t *budget)
{
	int rc = 0;
	if (c->input == c->group)
		return group_seal(c);
	if (!c->reader.log)
		rc = compact_reader_open(&c->reader, c->path, &c->in.topic_id, c->in.partition,
			&c->segments[c->at + c->input]);
	if (rc < 0)
		return stop_read(c, COMPACT_READ_FAILED, rc);
	while (*budget > 0) {
		const uint8_t *p;
		struct rebatch_head h;
		enum compact_read got = compact_reader_next(&c->reader, budget, &p, &h, &rc);
		if (got == COMPACT_READ_MORE)
			return COMPACT_MORE;
		if (got == COMPACT_READ_END) {
			compact_reader_close(&c->reader);
			c->input++;
			return COMPACT_MORE;
		}
		if (got != COMPACT_READ_BATCH)
			return stop_read(c, got, rc);
		rc = copy_batch(c, p, &h, budget);
		if (rc < 0)
			return stop(c, rc);
	}
	return COMPACT_MORE;
}

/* ---- the machine ---- */

static enum compact_step step_clear(struct compact *c, int64_t *budget)
{
	*budget -= COMPACT_BUDGET;
	if (compact_map_clear(&c->map, CLEAR_RUN))
		c->phase = PHASE_MAP;
	return COMPACT_MORE;
}

enum compact_step compact_step(struct compact *c, struct io *io, uint64_t budget)
{
	int64_t left = (int64_t)min_of(max_of(budget, (uint64_t)1), (uint64_t)INT64_MAX);
	enum compact_step step = COMPACT_MORE;
	CHECK(c->phase != PHASE_SWAP && c->phase != PHASE_STOPPED);
	c->reader.io = c->writer.io = io;
	while (step == COMPACT_MORE && left > 0) {
		switch (c->phase) {
		case PHASE_CLEAR:
			step = step_clear(c, &left);
			break;
		case PHASE_MAP:
			step = step_map(c, &left);
			break;
		case PHASE_GROUP:
			step = step_group(c);
			break;
		case PHASE_COPY:
			step = step_copy(c, &left);
			break;
		case PHASE_FLUSH:
			step = step_flush(c, &left);
			break;
		case PHASE_DONE:
		case PHASE_SWAP:
		case PHASE_STOPPED:
			step = COMPACT_DONE;
			break;
		}
	}
	c->stats.bytes_read = c->reader.bytes_read;
	c->stats.bytes_written = c->writer.bytes_written;
	return step;
}

/* The output takes the place of the group. */
static void replace_group(struct compact *c)
{
	uint64_t before = 0;
	for (uint32_t i = 0; i < c->group; i++)
		before += c->segments[c->at + i].end_pos;
	c->stats.freed_bytes += before - min_of(before, c->out.end_pos);
	c->stats.swaps++;
	uint32_t after = c->count - c->at - c->group;
	c->segments[c->at] = c->out;
	memmove(&c->segments[c->at + 1], &c->segments[c->at + c->group],
		after * sizeof(*c->segments));
	c->count -= c->group - 1;
	c->at++;
	c->phase = PHASE_GROUP;
	c->writer.log_path[0] = 0;
}

enum compact_swapped compact_swap(struct compact *c, struct io *io)
{
	int64_t *inputs = malloc(c->group * sizeof(*inputs));
	CHECK(c->phase == PHASE_SWAP);
	c->writer.io = io;
	if (!inputs) {
		stop(c, -ENOMEM);
		return COMPACT_UNCHANGED;
	}
	for (uint32_t i = 1; i < c->group; i++)
		inputs[i - 1] = c->segments[c->at + i].base_offset;
	enum compact_swapped how = compact_swap_files(
		io, c->path, c->out.base_offset, inputs, c->group - 1, &c->error);
	free(inputs);
	if (how == COMPACT_SWAPPED) {
		replace_group(c);
		return how;
	}
	c->phase = PHASE_STOPPED;
	c->writer.log_path[0] = 0; /* what is there is compact_recover's */
	return how;
}

int compact_error(const struct compact *c)
{
	return c->error;
}

struct st_pos compact_where(const struct compact *c)
{
	return c->where;
}

const struct compact_segment *compact_output(const struct compact *c)
{
	CHECK(c->phase == PHASE_SWAP);
	return &c->out;
}

const struct compact_stats *compact_stats_of(const struct compact *c)
{
	return &c->stats;
}
