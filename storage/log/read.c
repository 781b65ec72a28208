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

static enum st_err read_corrupt(
	struct log_env *env, const struct log *l, const struct segment *s, uint64_t pos)
{
	char path[IO_PATH_MAX];
	segment_path(env, l, s->base_offset, "log", path);
	env->corrupt_blocks++;
	log_error("storage", "%s is damaged at byte %llu", path, (unsigned long long)pos);
	return ST_E_CORRUPT;
}

/* Sets start and length so that the blocks of r are filled from plan->pos on. */
static void read_plan_range(const struct st_req *r, struct read_plan *plan)
{
	plan->start = align_down(plan->pos, (uint64_t)LBLOCK_SIZE);
	uint64_t room = (uint64_t)r->read.block_count * LBLOCK_SIZE;
	/* Up to a whole block, so that its sum can be seen to be right. The wanted batch begins
	 * less than a block behind pos, unless batches are larger than that. */
	uint64_t want = align_up(
		(plan->pos - plan->start) + LBLOCK_SIZE + r->read.max_bytes, (uint64_t)LBLOCK_SIZE);
	plan->length = min_of(min_of(room, want), plan->end_pos - plan->start);
	plan->file_end = min_of(plan->segment->fill_pos, plan->start + plan->length);
}

/* What is not in the file yet goes into the blocks now: later it may stand elsewhere. */
static void read_copy_pending(const struct st_req *r, const struct read_plan *plan)
{
	struct lblock *b = r->read.blocks;
	uint64_t at = plan->start, end = plan->start + plan->length;
	for (; at < end; at += LBLOCK_SIZE, b = b->next) {
		uint64_t from = max_of(at, plan->file_end), to = min_of(at + LBLOCK_SIZE, end);
		if (from < to)
			segment_copy_pending(
				plan->segment, from, b->data + (from - at), (size_t)(to - from));
		b->file_pos = at;
		b->segment = plan->segment->base_offset;
	}
}

/* The segment that holds `offset`; of sealed ones, that is there. */
static enum st_err read_find_segment(
	struct log_env *env, struct log *l, int64_t offset, struct segment **out)
{
	if (offset < l->segments[0]->base_offset) {
		enum st_err err = log_list(env, l);
		if (err != ST_OK)
			return err;
		if (offset < l->segments[0]->base_offset)
			return ST_E_CORRUPT; /* its segment is missing */
	}
	*out = log_segment_of(l, offset);
	enum st_err err = segment_warm(env, l, *out);
	return err == ST_OK && offset >= (*out)->end_offset ? ST_E_CORRUPT : err; /* in a hole */
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
	struct segment *s;
	enum st_err err = read_find_segment(env, l, r->read.offset, &s);
	if (err != ST_OK)
		return err;
	int64_t i = bidx_find(s->blocks, s->block_count, r->read.offset);
	if (i < 0 && s->compacted) /* before its first batch: in a gap */
		i = 0;
	if (i < 0)
		return read_corrupt(env, l, s, 0);
	const struct fmt_block *k = &s->blocks[i];
	*plan = (struct read_plan){
		.segment = s,
		.pos = (uint64_t)i * BIDX_BLOCK + k->first_pos,
		.offset = k->first_offset,
		.end_pos = s->end_pos,
		.end_offset = s->end_offset,
		.last_sum = s->blocks[s->block_count - 1].sum,
	};
	read_plan_range(r, plan);
	read_copy_pending(r, plan);
	return ST_OK;
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
	read_copy_pending(r, plan);
	*again = true;
	return ST_OK;
}

/* Checks the sums of the blocks that were read. The first byte that cannot be trusted. */
static uint64_t read_verify(
	const struct log *l, const struct st_req *r, const struct read_plan *plan)
{
	const struct segment *s = plan->segment;
	uint32_t seed = log_seed(l, s);
	const struct lblock *b = r->read.blocks;
	uint64_t at = plan->start, end = plan->start + plan->length;
	for (; at < end; at += LBLOCK_SIZE, b = b->next) {
		uint64_t stop = min_of(at + LBLOCK_SIZE, plan->end_pos);
		uint32_t i = (uint32_t)(at / BIDX_BLOCK);
		uint32_t sum = stop == plan->end_pos ? plan->last_sum : s->blocks[i].sum;
		CHECK(stop <= end); /* whole blocks are read */
		if (crc32c(bidx_sum_begin(seed, i), b->data, (size_t)(stop - at)) != sum)
			return at;
	}
	return end;
}

/* Where a walk over the blocks stands. */
struct walk {
	struct lspan left; /* from the next batch to the end of what was read */
	uint64_t pos;
	int64_t expected;
	bool found;
	struct lspan span;
	int64_t base; /* of the first batch in span */
	uint64_t end_pos;
	int64_t limit;
	bool gaps; /* offsets are not dense: the segment was compacted */
	int64_t limit_all;
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
	int64_t base = (int64_t)be64_get(head);
	if (w->gaps && base > w->expected)
		w->expected = base;
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
	}
	if (wanted && !w->found) {
		w->found = true;
		w->base = b.base_offset;
		w->span = (struct lspan){.first = w->left.first, .off = w->left.off};
	}
	w->span.len += wanted ? b.size : 0;
	w->pos += b.size;
	w->expected = b.last_offset + 1;
	w->left = lspan_skip(w->left, min_of(b.size, w->left.len));
	return WALK_ON;
}

/* Goes on with the segment after the plan's. */
static enum st_err read_next_segment(
	struct log_env *env, struct log *l, struct st_req *r, struct read_plan *plan, bool *again)
{
	int64_t asked = r->read.offset;
	r->read.offset = plan->segment->end_offset;
	enum st_err err = log_read_plan(env, l, r, plan);
	r->read.offset = asked;
	*again = err == ST_OK;
	return err;
}

enum st_err log_read_done(
	struct log_env *env, struct log *l, struct st_req *r, struct read_plan *plan, bool *again)
{
	struct segment *s = plan->segment;
	uint32_t skip = (uint32_t)(plan->pos - plan->start);
	uint64_t good = read_verify(l, r, plan);
	*again = false;
	if (good <= plan->pos)
		return read_corrupt(env, l, s, good);
	struct lspan all = {.first = r->read.blocks, .len = (uint32_t)(good - plan->start)};
	struct walk w = {
		.left = lspan_skip(all, skip),
		.pos = plan->pos,
		.expected = plan->offset,
		.end_pos = plan->end_pos,
		.limit = min_of(r->read.limit, plan->end_offset),
		.gaps = s->compacted,
		.limit_all = min_of(r->read.limit, log_end_offset(l)),
	};
	enum walk_step step;
	uint32_t need = 0;
	do
		step = walk_batch(&w, r, &need);
	while (step == WALK_ON);
	bool cut = good < plan->start + plan->length; /* a later block is damaged */
	if (cut)
		read_corrupt(env, l, s, good); /* who asks for what is there gets the error */
	if (w.found) {
		if (step == WALK_BAD)
			read_corrupt(env, l, s, w.pos);
		r->read.span = w.span;
		r->read.base_offset = w.base;
		r->read.gaps = s->compacted;
		r->read.next_offset = w.expected;
		return ST_OK;
	}
	plan->pos = w.pos;
	plan->offset = w.expected;
	if (step == WALK_MORE)
		return cut ? ST_E_CORRUPT : read_more(r, plan, need, again);
	if (step == WALK_BAD)
		return read_corrupt(env, l, s, w.pos);
	/* in the gap behind the last batch of a compacted segment */
	bool gap = s->compacted && w.pos >= plan->end_pos && s->end_offset < w.limit_all;
	return gap ? read_next_segment(env, l, r, plan, again) : ST_E_RANGE;
}

/* --- the end of the log ------------------------------------------------------------------ */

int log_reserve_append(struct log *l, uint64_t end_pos)
{
	return blocks_reserve(log_active(l), end_pos);
}

/* Sums n bytes of the span. */
static struct lspan appended_bytes(struct segment *s, uint32_t seed, struct lspan left, uint32_t n)
{
	while (n > 0) {
		uint32_t run = min_of(n, LBLOCK_SIZE - left.off);
		blocks_add_bytes(s, seed, left.first->data + left.off, run);
		left = lspan_skip(left, run);
		n -= run;
	}
	return left;
}

void log_appended(struct log *l, const struct st_req *r, int64_t now_ms)
{
	struct segment *s = log_active(l);
	struct lspan left = r->append.span;
	uint32_t seed = log_seed(l, s);
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
		log_note_epoch(l, b.leader_epoch, b.base_offset);
		blocks_add_batch(s, seed, &b);
		left = appended_bytes(s, seed, left, b.size);
	}
	CHECK(s->end_offset == r->append.last_offset + 1);
}

enum st_err log_tail(struct log_env *env, struct log *l, struct lblock *block)
{
	struct segment *s = log_active(l);
	uint64_t start = align_down(s->end_pos, (uint64_t)LBLOCK_SIZE);
	uint32_t used = (uint32_t)(s->end_pos - start);
	enum st_err err = segment_warm(env, l, s);
	if (err != ST_OK)
		return err;
	if (used > 0) {
		uint32_t i = (uint32_t)(start / BIDX_BLOCK);
		int rc = segment_pread(env, s, block->data, used, start);
		uint32_t sum = crc32c(bidx_sum_begin(log_seed(l, s), i), block->data, used);
		if (rc < 0 || sum != s->blocks[i].sum)
			return read_corrupt(env, l, s, start);
	}
	memset(block->data + used, 0, LBLOCK_SIZE - used);
	block->file_pos = start;
	block->segment = s->base_offset;
	return ST_OK;
}
