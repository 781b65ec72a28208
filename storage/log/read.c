/* SPDX-License-Identifier: Apache-2.0 */
/* Finding batches by offset. */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/crc.h"
#include "base/log.h"
#include "storage/log/log.h"

/* The segment that holds `offset`, which the log has. */
static struct segment *log_segment_of(struct log *l, int64_t offset)
{
	uint32_t lo = 0, hi = l->segment_count;
	while (hi - lo > 1) {
		uint32_t mid = lo + (hi - lo) / 2;
		if (l->segments[mid]->base_offset <= offset)
			lo = mid;
		else
			hi = mid;
	}
	return l->segments[lo];
}

/* Sets start and length so that the blocks of r are filled from plan->pos on. */
static void read_plan_range(const struct st_req *r, struct read_plan *plan)
{
	plan->start = align_down(plan->pos, (uint64_t)LBLOCK_SIZE);
	uint64_t room = (uint64_t)r->read.block_count * LBLOCK_SIZE;
	plan->end_pos = plan->segment->end_pos;
	plan->end_offset = plan->segment->end_offset;
	uint64_t end = align_up(plan->end_pos, (uint64_t)FMT_PAGE);
	/* The wanted batch begins less than a gap behind pos, unless the index is sparser here. */
	uint64_t want = (plan->pos - plan->start) + LOG_INDEX_GAP + r->read.max_bytes;
	plan->length = min_of(min_of(room, end - plan->start), align_up(want, (uint64_t)FMT_PAGE));
}

enum st_err log_read_plan(
	struct log_env *env, struct log *l, struct st_req *r, struct read_plan *plan)
{
	int64_t limit = min_of(r->read.limit, log_end_offset(l));
	if (r->read.offset < l->log_start_offset || r->read.offset >= limit)
		return ST_E_RANGE;
	if (r->read.block_count == 0) {
		r->read.need = 1;
		return ST_E_SHORT;
	}
	struct segment *s = log_segment_of(l, r->read.offset);
	enum st_err err = segment_warm(env, l, s);
	if (err != ST_OK)
		return err;
	const struct fmt_index_entry *e = &s->index.entries[index_find(&s->index, r->read.offset)];
	*plan = (struct read_plan){.segment = s, .pos = e->pos, .offset = e->offset};
	read_plan_range(r, plan);
	return ST_OK;
}

static uint32_t span_crc(struct lspan s)
{
	uint32_t crc = 0;
	while (s.len > 0) {
		uint32_t run = min_of(s.len, LBLOCK_SIZE - s.off);
		crc = crc32c(crc, s.first->data + s.off, run);
		s = lspan_skip(s, run);
	}
	return crc;
}

static enum st_err read_corrupt(const struct log *l, const struct segment *s, uint64_t pos)
{
	log_error("storage", "%s: segment %lld is damaged at byte %llu", l->path,
		(long long)s->base_offset, (unsigned long long)pos);
	return ST_E_CORRUPT;
}

/* The batch at plan->pos needs `size` bytes, which the blocks did not hold. */
static enum st_err read_more(struct st_req *r, struct read_plan *plan, uint32_t size, bool *again)
{
	uint64_t into = plan->pos % LBLOCK_SIZE;
	r->read.need = (uint32_t)((into + size + LBLOCK_SIZE - 1) / LBLOCK_SIZE);
	if (r->read.need > r->read.block_count)
		return ST_E_SHORT;
	uint64_t before = plan->start + plan->length;
	uint32_t max_bytes = r->read.max_bytes;
	r->read.max_bytes = max_of(max_bytes, size);
	read_plan_range(r, plan);
	r->read.max_bytes = max_bytes;
	CHECK(plan->start + plan->length > before);
	*again = true;
	return ST_OK;
}

/* Where a walk over the blocks stands. */
struct walk {
	struct lspan left; /* from the next batch to the end of what was read */
	uint64_t pos;
	int64_t expected;
	bool found;
	struct lspan span;
	uint64_t end_pos;
	int64_t limit;
};

enum walk_step { WALK_ON, WALK_END, WALK_MORE, WALK_BAD };

static enum walk_step walk_batch(struct walk *w, const struct st_req *r, uint32_t *need)
{
	uint8_t head[SCAN_BATCH_HEAD];
	struct scan_batch b;
	if (w->pos >= w->end_pos || (w->found && w->left.len < sizeof(head)))
		return WALK_END;
	*need = sizeof(head);
	if (w->left.len < sizeof(head))
		return WALK_MORE;
	lspan_copy(w->left, 0, head, sizeof(head));
	if (scan_head(head, w->end_pos - w->pos, w->expected, &b) != SCAN_STOP_NONE)
		return WALK_BAD;
	bool wanted = b.last_offset >= r->read.offset;
	if (wanted) {
		if (b.last_offset >= w->limit ||
			(w->found && w->span.len + b.size > r->read.max_bytes))
			return WALK_END;
		*need = b.size;
		if (b.size > w->left.len)
			return w->found ? WALK_END : WALK_MORE;
		struct lspan body = lspan_skip(w->left, SCAN_CRC_FROM);
		body.len = b.size - SCAN_CRC_FROM;
		if (span_crc(body) != b.crc)
			return WALK_BAD;
	}
	if (wanted && !w->found) {
		w->found = true;
		w->span = (struct lspan){.first = w->left.first, .off = w->left.off};
	}
	w->span.len += wanted ? b.size : 0;
	w->pos += b.size;
	w->expected = b.last_offset + 1;
	w->left = lspan_skip(w->left, min_of(b.size, w->left.len));
	return WALK_ON;
}

enum st_err log_read_done(struct log *l, struct st_req *r, struct read_plan *plan, bool *again)
{
	struct segment *s = plan->segment;
	uint32_t skip = (uint32_t)(plan->pos - plan->start);
	struct lspan all = {.first = r->read.blocks, .len = (uint32_t)plan->length};
	struct walk w = {
		.left = lspan_skip(all, skip),
		.pos = plan->pos,
		.expected = plan->offset,
		.end_pos = plan->end_pos,
		.limit = min_of(r->read.limit, plan->end_offset),
	};
	enum walk_step step;
	uint32_t need = 0;
	int64_t base = 0;
	*again = false;
	do {
		if (!w.found)
			base = w.expected;
		step = walk_batch(&w, r, &need);
	} while (step == WALK_ON);
	if (!w.found) {
		plan->pos = w.pos;
		plan->offset = w.expected;
		if (step == WALK_MORE)
			return read_more(r, plan, need, again);
		return step == WALK_BAD ? read_corrupt(l, s, w.pos) : ST_E_RANGE;
	}
	if (step == WALK_BAD)
		read_corrupt(l, s,
			w.pos); /* what is before it is good; who asks for it gets the error */
	r->read.span = w.span;
	r->read.base_offset = base;
	r->read.next_offset = w.expected;
	return ST_OK;
}

void log_appended(struct log *l, const struct st_req *r, int64_t now_ms)
{
	struct segment *s = log_active(l);
	struct lspan left = r->append.span;
	CHECK(r->append.segment == s->base_offset && r->append.pos == s->end_pos);
	CHECK(r->append.base_offset == s->end_offset && left.len > 0);
	if (s->end_pos == 0)
		s->created_ms = now_ms;
	while (left.len > 0) {
		uint8_t head[SCAN_BATCH_HEAD];
		struct scan_batch b;
		CHECK(left.len >= sizeof(head));
		lspan_copy(left, 0, head, sizeof(head));
		enum scan_stop bad = scan_head(head, left.len, s->end_offset, &b);
		CHECK(bad == SCAN_STOP_NONE);
		b.pos = s->end_pos;
		index_add(&s->index, &b);
		s->end_pos += b.size;
		s->end_offset = b.last_offset + 1;
		s->max_timestamp = max_of(s->max_timestamp, b.max_timestamp);
		s->leader_epoch = b.leader_epoch;
		left = lspan_skip(left, b.size);
	}
	CHECK(s->end_offset == r->append.last_offset + 1);
	l->dirty = true;
}

enum st_err log_tail(struct log_env *env, struct log *l, struct lblock *block)
{
	struct segment *s = log_active(l);
	uint64_t start = align_down(s->end_pos, (uint64_t)LBLOCK_SIZE);
	uint32_t used = (uint32_t)(s->end_pos - start);
	uint32_t length = align_up(used, FMT_PAGE);
	if (length > 0) {
		int64_t got = env->io->api->pread(env->io, s->file, block->data, length, start);
		if (got != (int64_t)length) {
			env->io_errors++;
			log_error("storage", "%s: cannot read the end of segment %lld", l->path,
				(long long)s->base_offset);
			return ST_E_CORRUPT;
		}
	}
	memset(block->data + used, 0, LBLOCK_SIZE - used);
	block->file_pos = start;
	block->segment = s->base_offset;
	return ST_OK;
}
