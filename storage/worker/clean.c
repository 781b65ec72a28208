/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ST_CLEAN: one log at a time is compacted (storage/log/compact.h), a bounded piece in each step,
 * within log.cleaner.io.max.bytes.per.second. Only segments that lie before the one that the newest
 * checkpoint calls active are touched: recovery may write to that and to later ones again.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "storage/worker/engine_int.h"

#define PRODUCER_EXPIRATION_MS 86400000 /* Kafka's producer.id.expiration.ms */
#define CLEAN_MAP_MIN (1024u * 1024u)

/* --- what to clean ----------------------------------------------------------------------- */

static bool clean_may_touch(const struct log *l, const struct segment *s)
{
	return s->sealed && s->end_offset <= l->checkpoint_segment;
}

/* The segments that may be compacted, oldest first, in memory that the caller frees. */
static enum st_err clean_collect(
	struct engine *e, struct log *l, struct compact_segment **out, uint32_t *count)
{
	enum st_err err = log_list(&e->env, l);
	if (err != ST_OK)
		return err;
	struct compact_segment *all = calloc(l->segment_count, sizeof(*all));
	uint32_t n = 0;
	for (uint32_t i = 0; all && err == ST_OK && i < l->segment_count; i++) {
		struct segment *s = l->segments[i];
		if (s->end_offset <= l->log_start_offset)
			continue;
		if (!clean_may_touch(l, s))
			break;
		err = segment_know(&e->env, l, s);
		all[n++] = (struct compact_segment){
			.base_offset = s->base_offset,
			.end_offset = s->end_offset,
			.end_pos = s->end_pos,
			.max_timestamp = s->max_timestamp,
			.created_ms = s->created_ms,
			.delete_horizon_ms = s->delete_horizon_ms,
			.leader_epoch = s->leader_epoch,
			.compacted = s->compacted && !s->dirty,
		};
	}
	if (!all || err != ST_OK) {
		free(all);
		return all ? err : ST_E_LIMIT;
	}
	*out = all;
	*count = n;
	return ST_OK;
}

/* --- one log ----------------------------------------------------------------------------- */

static void clean_answer(struct engine *e, struct st_req *r, enum st_err err)
{
	r->retain.log_start_offset = r->log->log->log_start_offset;
	eng_answer(e, r, err);
}

static void clean_end(struct engine *e, enum st_err err)
{
	struct eng_cleaner *k = &e->cleaner;
	struct st_req *r = k->req;
	const struct compact_stats *s = compact_stats_of(k->compact);
	r->retain.freed_bytes = s->freed_bytes;
	metric_add(&e->m->cleaned_bytes_total, s->bytes_read);
	metric_add(&e->m->removed_bytes_total, s->freed_bytes);
	compact_end(k->compact, e->io);
	k->compact = NULL;
	k->req = NULL;
	k->swaps = false;
	clean_answer(e, r, err);
}

static bool clean_has_memory(struct engine *e)
{
	struct eng_cleaner *k = &e->cleaner;
	if (k->memory.map)
		return true;
	size_t size = max_of((size_t)e->cfg.cleaner_map_bytes, (size_t)CLEAN_MAP_MIN);
	k->memory.map_size = align_up(size, (size_t)FMT_PAGE);
	k->memory.map = aligned_alloc(FMT_PAGE, k->memory.map_size);
	k->memory.scratch_size = (1u << 20) + 4 * (size_t)LOG_INFLATE; /* address space: a batch may
									  inflate to LOG_INFLATE */
	k->memory.scratch = aligned_alloc(FMT_PAGE, k->memory.scratch_size);
	if (k->memory.map && k->memory.scratch)
		return true;
	clean_release(e);
	return false;
}

void clean_release(struct engine *e)
{
	struct eng_cleaner *k = &e->cleaner;
	free(k->memory.map);
	free(k->memory.scratch);
	k->memory.map = k->memory.scratch = NULL;
}

static void clean_begin(struct engine *e, struct st_req *r)
{
	struct log *l = r->log->log;
	char path[IO_PATH_MAX];
	struct compact_input in = {
		.path = path,
		.topic_id = l->topic_id,
		.partition = l->partition,
		.limit = r->retain.limit,
		.now_ms = r->retain.now_ms,
		.policy = r->retain.policy,
		.segment_bytes = r->retain.policy.segment_bytes,
		.producer_expiration_ms = PRODUCER_EXPIRATION_MS,
	};
	struct compact_segment *segments = NULL;
	r->retain.freed_bytes = 0;
	enum st_err err = eng_log_ok(e, r->log) ? ST_OK : ST_E_OFFLINE;
	if (err == ST_OK && (!l->has_files || l->uncleanable)) {
		clean_answer(e, r, ST_OK);
		return;
	}
	if (err == ST_OK)
		err = clean_collect(e, l, &segments, &in.count);
	in.segments = segments;
	if (log_active(l)->base_offset > l->checkpoint_segment)
		r->log->lane->ckpt_wanted = true; /* more can be compacted behind the next one */
	log_path(&e->env, l, path);
	if (err == ST_OK && in.count > 0 && compact_due(&in)) {
		bool memory = clean_has_memory(e);
		memcpy(e->cleaner.memory.seed, e->cfg.cleaner_seed, sizeof(e->cfg.cleaner_seed));
		e->cleaner.compact = memory ? compact_begin(&in, &e->cleaner.memory) : NULL;
		err = e->cleaner.compact ? ST_OK : ST_E_LIMIT;
	}
	free(segments);
	if (e->cleaner.compact)
		e->cleaner.req = r;
	else
		clean_answer(e, r, err);
}

/* --- swapping ---------------------------------------------------------------------------- */

static bool clean_is_input(const struct segment *s, const struct compact_segment *out)
{
	return s->base_offset >= out->base_offset && s->end_offset <= out->end_offset;
}

/* Nobody uses the inputs, and their files are closed. False: later. */
static bool clean_take_inputs(struct engine *e, struct log *l, const struct compact_segment *out)
{
	for (uint32_t i = 0; i < l->segment_count; i++) {
		const struct segment *s = l->segments[i];
		if (clean_is_input(s, out) && (s->reads > 0 || s->file_dirty || s->index_dirty))
			return false;
	}
	for (uint32_t i = 0; i < l->segment_count; i++)
		if (clean_is_input(l->segments[i], out))
			segment_close(&e->env, l->segments[i]);
	return true;
}

/* The first input becomes the output, the others go. */
static void clean_replace(struct engine *e, struct log *l, const struct compact_segment *out)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < l->segment_count; i++) {
		struct segment *s = l->segments[i];
		if (clean_is_input(s, out) && s->base_offset != out->base_offset) {
			segment_free(&e->env, s);
			continue;
		}
		l->segments[n++] = s;
		if (s->base_offset != out->base_offset)
			continue;
		s->end_offset = out->end_offset;
		s->end_pos = s->fill_pos = out->end_pos;
		s->file_size = align_up(out->end_pos, (uint64_t)FMT_PAGE);
		s->max_timestamp = out->max_timestamp;
		s->delete_horizon_ms = out->delete_horizon_ms;
		s->leader_epoch = out->leader_epoch;
		s->created_ms = out->created_ms;
		s->compacted = true;
		s->dirty = !out->compacted;
		s->known = true;
	}
	l->segment_count = n;
}

static void clean_failed(struct engine *e, enum compact_step step)
{
	struct eng_cleaner *k = &e->cleaner;
	struct log *l = k->req->log->log;
	struct st_pos at = compact_where(k->compact);
	int rc = compact_error(k->compact);
	log_error("storage", "%s-%d: compaction stops at byte %llu of segment %lld: %s", l->topic,
		l->partition, (unsigned long long)at.pos, (long long)at.segment,
		step == COMPACT_CORRUPT ? "it is damaged" : strerror(-rc));
	if (step == COMPACT_CORRUPT) {
		metric_add(&e->m->corrupt_blocks_total, 1);
		l->uncleanable = true;
	} else if (rc == -E2BIG) { /* a batch is larger than the memory, and will be */
		l->uncleanable = true;
	} else if (!is_no_space(rc) && rc != -ENOMEM && rc != -EMFILE && rc != -ENFILE) {
		eng_lane_failed(e, k->req->log->lane, rc, "a compaction");
	}
	clean_end(e, ST_OK);
}

static void clean_swap(struct engine *e)
{
	struct eng_cleaner *k = &e->cleaner;
	struct log *l = k->req->log->log;
	struct compact_segment out = *compact_output(k->compact);
	if (!clean_take_inputs(e, l, &out))
		return;
	k->swaps = false;
	switch (compact_swap(k->compact, e->io)) {
	case COMPACT_SWAPPED:
		clean_replace(e, l, &out);
		return;
	case COMPACT_UNCHANGED:
		clean_failed(e, COMPACT_FAILED);
		return;
	case COMPACT_UNKNOWN:
		eng_lane_failed(e, k->req->log->lane, compact_error(k->compact), "a compaction");
		clean_end(e, ST_E_IO);
	}
}

/* --- running ----------------------------------------------------------------------------- */

static void clean_step(struct engine *e)
{
	struct eng_cleaner *k = &e->cleaner;
	const struct compact_stats *s = compact_stats_of(k->compact);
	uint64_t before = s->bytes_read + s->bytes_written;
	enum compact_step step = compact_step(k->compact, e->io, COMPACT_BUDGET);
	uint64_t moved = s->bytes_read + s->bytes_written - before;
	uint64_t rate = e->cfg.cleaner_bytes_per_s;
	if (rate > 0 && rate < INT64_MAX / 1000)
		k->not_before_ms =
			max_of(k->not_before_ms, e->now_ms) + (int64_t)(moved * 1000 / rate);
	switch (step) {
	case COMPACT_MORE:
		return;
	case COMPACT_SWAP:
		k->swaps = true;
		return;
	case COMPACT_DONE:
		clean_end(e, ST_OK);
		return;
	case COMPACT_CORRUPT:
	case COMPACT_FAILED:
		clean_failed(e, step);
	}
}

void clean_run(struct engine *e)
{
	struct eng_cleaner *k = &e->cleaner;
	struct list *n;
	while (!k->req && (n = list_pop_front(&k->waiting)))
		clean_begin(e, eng_req(n));
	if (!k->req) {
		clean_release(e);
		return;
	}
	if (!eng_log_ok(e, k->req->log)) {
		clean_end(e, ST_E_OFFLINE);
		return;
	}
	if (k->swaps)
		clean_swap(e);
	else if (k->not_before_ms <= e->now_ms)
		clean_step(e);
}

void clean_give_up(struct engine *e, struct st_log *l)
{
	struct eng_cleaner *k = &e->cleaner;
	list_for_each_safe (it, &k->waiting) {
		struct st_req *r = eng_req(it);
		if (r->log != l)
			continue;
		list_remove(it);
		clean_answer(e, r, ST_OK);
	}
	if (clean_is_busy_with(e, l))
		clean_end(e, ST_OK);
}

bool clean_is_active(const struct engine *e)
{
	return e->cleaner.req != NULL;
}

bool clean_is_busy_with(const struct engine *e, const struct st_log *l)
{
	return e->cleaner.req && e->cleaner.req->log == l;
}

void clean_fini(struct engine *e)
{
	if (e->cleaner.compact)
		compact_end(e->cleaner.compact, e->io);
	clean_release(e);
}
