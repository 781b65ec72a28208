/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Filling: pending bytes go from the askers' blocks to their segments, in whole pages, each written
 * once; full pages of the block index follow. A rolled segment is filled to its end and sealed.
 * Nothing is flushed here: that is the checkpoint's work.
 */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "storage/worker/engine_int.h"

/* --- what there is to do ----------------------------------------------------------------- */

/* Nothing comes behind the segment's end any more, for certain. */
static bool fill_is_final(const struct log *l, uint32_t i)
{
	return i + 1 < l->segment_count && l->segments[i]->rolled &&
	       l->segments[i + 1]->end_pos > 0;
}

/* The end of what of segment i can be written now. */
static uint64_t fill_end(const struct log *l, uint32_t i)
{
	const struct segment *s = l->segments[i];
	return fill_is_final(l, i) ? s->end_pos : align_down(s->end_pos, (uint64_t)FMT_PAGE);
}

/* Whether the next index page of segment i can be written. */
static bool fill_has_index(const struct log *l, uint32_t i)
{
	const struct segment *s = l->segments[i];
	uint64_t page_end = (uint64_t)(s->pages_saved + 1) * BIDX_PER_PAGE * BIDX_BLOCK;
	if (s->sealed)
		return false;
	return page_end <= s->fill_pos || (fill_is_final(l, i) && s->fill_pos == s->end_pos);
}

/* The first segment that has something to fill. UINT32_MAX: none. */
static uint32_t fill_first(const struct log *l)
{
	for (uint32_t i = 0; i < l->segment_count; i++)
		if (!l->segments[i]->sealed &&
			(fill_end(l, i) > l->segments[i]->fill_pos || fill_has_index(l, i)))
			return i;
	return UINT32_MAX;
}

void fill_note(struct engine *e, struct st_log *l)
{
	if (list_linked(&l->fill_node) || fill_is_busy(l) || !eng_log_ok(e, l))
		return;
	uint32_t i = fill_first(l->log);
	if (i == UINT32_MAX)
		return;
	const struct segment *s = l->log->segments[i];
	bool asked = l->ckpt_waits || e->stopping || !list_empty(&l->fill_waits);
	if (asked || fill_is_final(l->log, i) || fill_has_index(l->log, i) ||
		segment_pending(s) >= FILL_RUN)
		list_push_back(&l->lane->fill, &l->fill_node);
}

/* --- writing ----------------------------------------------------------------------------- */

static struct eng_op *fill_op(struct engine *e, struct st_log *l)
{
	struct eng_op *op = eng_op_get(e, l->lane, ENG_FILL);
	op->log = l;
	l->fill_ops++;
	return op;
}

static uint8_t *fill_page(struct engine *e, struct eng_op *op)
{
	CHECK(e->page_count > 0);
	op->page = e->pages[--e->page_count];
	return op->page;
}

/* The last page of a rolled segment, with zeros behind its end. */
static void fill_submit_last(struct engine *e, struct st_log *l, struct segment *s)
{
	struct eng_op *op = fill_op(e, l);
	uint8_t *page = fill_page(e, op);
	size_t n = (size_t)(s->end_pos - l->fill_fed);
	segment_copy_pending(s, l->fill_fed, page, n);
	memset(page + n, 0, FMT_PAGE - n);
	eng_op_start(e, op, IO_WRITE, s->file, page, l->fill_fed, FMT_PAGE);
	l->fill_fed = s->end_pos;
}

/* A run of whole pages. */
static void fill_submit_run(struct engine *e, struct st_log *l, struct segment *s, uint64_t stop)
{
	struct eng_op *op = fill_op(e, l);
	uint64_t from = l->fill_fed;
	while (l->fill_fed < stop && l->fill_fed - from < ENGINE_WRITE_MAX) {
		for (; l->fill_block_pos + LBLOCK_SIZE <= l->fill_fed;
			l->fill_block_pos += LBLOCK_SIZE)
			l->fill_block = l->fill_block->next;
		uint64_t to = min_of(l->fill_block_pos + LBLOCK_SIZE, stop);
		uint8_t *p = l->fill_block->data + (l->fill_fed - l->fill_block_pos);
		if (!eng_op_add(op, p, to - l->fill_fed))
			break;
		l->fill_fed = to;
	}
	eng_op_start_run(e, op, IO_WRITE, s->file, from);
}

/* Submits what is possible. True when all of the job has been. */
static bool fill_feed(struct engine *e, struct st_log *l)
{
	struct segment *s = l->fill_segment;
	uint64_t whole = align_down(l->fill_to, (uint64_t)FMT_PAGE);
	while (l->fill_fed < l->fill_to) {
		if (!eng_may_start(e, ENG_FILL) || e->page_count == 0)
			return false;
		if (l->fill_fed < whole)
			fill_submit_run(e, l, s, whole);
		else
			fill_submit_last(e, l, s);
	}
	return true;
}

static int fill_open_index(struct engine *e, struct st_log *l, struct segment *s)
{
	char path[IO_PATH_MAX];
	if (s->index_file)
		return 0;
	unsigned flags = IO_DIRECT | IO_CREATE | (s->pages_saved == 0 ? IO_TRUNC : 0);
	segment_path(&e->env, l->log, s->base_offset, "index", path);
	int rc = e->io->api->open(e->io, path, flags, &s->index_file);
	if (rc == 0)
		l->log->names_dirty = true;
	return rc;
}

static int fill_begin_index(struct engine *e, struct st_log *l, uint32_t i)
{
	struct segment *s = l->log->segments[i];
	int rc = fill_open_index(e, l, s);
	if (rc < 0)
		return rc;
	struct eng_op *op = fill_op(e, l);
	struct fmt_bidx_page *page = (void *)fill_page(e, op);
	l->fill_index = true;
	l->fill_seals = fill_is_final(l->log, i) && s->fill_pos == s->end_pos &&
			s->pages_saved + 1 == blocks_pages(s);
	blocks_to_page(l->log, s, s->pages_saved, l->fill_seals, page);
	s->index_dirty = true;
	eng_op_start(e, op, IO_WRITE, s->index_file, page, (uint64_t)s->pages_saved * FMT_PAGE,
		FMT_PAGE);
	return 0;
}

static int fill_begin_data(struct engine *e, struct st_log *l, uint32_t i)
{
	struct segment *s = l->log->segments[i];
	int rc = segment_open_file(&e->env, l->log, s);
	if (rc < 0)
		return rc;
	l->fill_fed = s->fill_pos;
	l->fill_to = fill_end(l->log, i);
	l->fill_block = s->pend;
	l->fill_block_pos = s->pend_pos;
	s->file_dirty = true;
	return 0;
}

/* What a failure of background work means. */
static void fill_failed(struct engine *e, struct st_log *l, int64_t rc)
{
	l->fill_segment = NULL;
	l->fill_index = l->fill_seals = false;
	if (is_no_space(rc) || rc == -EMFILE || rc == -ENFILE || rc == -ENOMEM) {
		l->fill_retry_ms = e->now_ms + NOSPACE_RETRY_MS;
		eng_lane_no_space(e, l->lane);
		if (!list_linked(&l->fill_node))
			list_push_back(&l->lane->fill, &l->fill_node);
		return;
	}
	eng_lane_failed(e, l->lane, rc, "filling a segment");
}

/* Begins the next piece of work of l, which is on no list. */
static void fill_begin(struct engine *e, struct st_log *l)
{
	uint32_t i = fill_first(l->log);
	if (i == UINT32_MAX)
		return;
	struct segment *s = l->log->segments[i];
	l->fill_segment = s;
	bool data = fill_end(l->log, i) > s->fill_pos;
	int rc = data ? fill_begin_data(e, l, i) : fill_begin_index(e, l, i);
	if (rc < 0)
		fill_failed(e, l, rc);
	else if (data && !fill_feed(e, l))
		list_push_front(&l->lane->fill, &l->fill_node);
}

void fill_run(struct engine *e, struct eng_lane *lane)
{
	list_for_each_safe (it, &lane->fill) {
		struct st_log *l = list_entry(it, struct st_log, fill_node);
		if (!eng_may_start(e, ENG_FILL) || e->page_count == 0)
			return;
		if (fill_is_busy(l) && !l->fill_segment) {
			list_remove(it);
			continue;
		}
		if (!eng_log_ok(e, l)) {
			list_remove(it);
			if (!fill_is_busy(l))
				l->fill_segment = NULL;
			l->fill_to = l->fill_fed; /* the job ends with what is under way */
			fill_settle(e, l);
			continue;
		}
		if (l->fill_retry_ms > e->now_ms || (l->in_cycle && l->direct && !l->fill_segment))
			continue;
		list_remove(it);
		l->fill_retry_ms = 0;
		if (!l->fill_segment)
			fill_begin(e, l);
		else if (!fill_feed(e, l))
			list_push_front(&lane->fill, it);
	}
}

/* --- done -------------------------------------------------------------------------------- */

static void fill_done_data(struct st_log *l)
{
	struct segment *s = l->fill_segment;
	s->file_dirty = true; /* a flush beside the writes has not covered them */
	s->fill_pos = l->fill_to;
	s->file_size = max_of(s->file_size, align_up(s->fill_pos, (uint64_t)FMT_PAGE));
	if (s->fill_pos == s->end_pos) {
		s->pend = NULL;
		free(s->tail);
		s->tail = NULL;
		return;
	}
	for (; s->pend && s->pend_pos + LBLOCK_SIZE <= s->fill_pos; s->pend_pos += LBLOCK_SIZE)
		s->pend = s->pend->next;
}

static void fill_done_index(struct engine *e, struct st_log *l)
{
	struct segment *s = l->fill_segment;
	s->index_dirty = true; /* likewise */
	s->pages_saved++;
	if (!l->fill_seals)
		return;
	uint64_t size = align_up(s->end_pos, (uint64_t)FMT_PAGE);
	if (s->file && s->file_size > size && e->io->api->truncate(e->io, s->file, size) == 0)
		s->file_size = size;
	s->file_dirty = s->file != NULL;
	s->sealed = true;
	s->pages_missing = 0;
}

void fill_op_done(struct engine *e, struct eng_op *op)
{
	struct st_log *l = op->log;
	int64_t rc = op->io.result;
	CHECK(l->fill_ops > 0);
	l->fill_ops--;
	eng_op_put(e, op);
	if (rc < 0 && l->fill_failure == 0)
		l->fill_failure = rc;
	bool fed = l->fill_index || l->fill_fed >= l->fill_to;
	if (l->fill_ops > 0 || (!fed && l->fill_failure == 0))
		return;
	list_remove(&l->fill_node);
	rc = l->fill_failure;
	l->fill_failure = 0;
	if (rc < 0) {
		fill_failed(e, l, rc);
	} else if (!eng_log_ok(e, l)) { /* the asker's blocks may be gone by now */
		l->fill_segment = NULL;
		l->fill_index = l->fill_seals = false;
	} else {
		if (l->fill_index)
			fill_done_index(e, l);
		else
			fill_done_data(l);
		l->fill_segment = NULL;
		l->fill_index = l->fill_seals = false;
		ckpt_note_fill(l);
	}
	fill_note(e, l);
	fill_settle(e, l);
}

/* --- those who wait ---------------------------------------------------------------------- */

static bool pos_reached(const struct st_pos *wanted, const struct st_pos *at)
{
	return wanted->segment < at->segment ||
	       (wanted->segment == at->segment && wanted->pos <= at->pos);
}

/* With less than a page pending a copy of it is enough. */
static void fill_keep_tail(struct st_log *l)
{
	struct segment *s = log_active(l->log);
	for (uint32_t i = 0; i + 1 < l->log->segment_count; i++)
		if (l->log->segments[i]->pend)
			return;
	if (s->pend && segment_pending(s) < FMT_PAGE && !(l->in_cycle && l->direct))
		segment_keep_tail(s); /* when memory is short, it is tried again */
}

static bool fill_is_closable(const struct st_log *l)
{
	for (uint32_t i = 0; i < l->log->segment_count; i++)
		if (l->log->segments[i]->pend)
			return false;
	return !l->in_cycle && l->reads == 0 && l->entries == 0;
}

static void fill_answer(struct engine *e, struct st_log *l, struct st_req *r, bool ok)
{
	struct st_pos released = log_released(l->log);
	if (r->op == ST_FILL) {
		if (ok && !pos_reached(&r->fill.wanted, &released))
			return;
		list_remove(&r->node);
		r->fill.released = released;
		eng_answer(e, r, ok ? ST_OK : ST_E_OFFLINE);
		return;
	}
	if (ok && !fill_is_closable(l))
		return;
	list_remove(&r->node);
	l->opened = false;
	e->open_count--;
	r->log = NULL;
	eng_answer(e, r, ok ? ST_OK : ST_E_OFFLINE);
}

void fill_settle(struct engine *e, struct st_log *l)
{
	if (fill_is_busy(l) || list_empty(&l->fill_waits))
		return;
	if (l->state == ENG_LOG_GONE) {
		if (log_is_busy(l))
			return;
		struct list *last = l->fill_waits.prev;
		list_remove(last);
		chores_finish_delete(e, l, eng_req(last));
		return;
	}
	bool ok = eng_log_ok(e, l);
	if (!ok && (l->in_cycle || l->reads > 0 || l->entries > 0))
		return;
	if (ok)
		fill_keep_tail(l);
	list_for_each_safe (it, &l->fill_waits)
		fill_answer(e, l, eng_req(it), ok);
	fill_note(e, l);
}
