/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commit cycle: grow, write, flush, answer, for all logs that wait at once. Whole pages are
 * written from the askers' blocks; the last, ragged page of each log from a staging copy, because
 * its block goes on being filled while the write is under way.
 */
#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "storage/worker/engine_int.h"

#define WRITE_MAX (1024u * 1024u) /* bytes in one operation */

static struct st_req *cycle_req(struct list *n)
{
	return list_entry(n, struct st_req, node);
}

/* --- taking requests --------------------------------------------------------------------- */

/* Refuses the append at the head of the queue. */
static void cycle_refuse(struct engine *e, struct st_log *l, enum st_err err)
{
	struct st_req *r = cycle_req(list_pop_front(&l->queue));
	if (err == ST_E_NOSPACE)
		l->gap = true;
	else if (err == ST_E_IO)
		l->state = ENG_LOG_OFFLINE;
	eng_answer(e, r, err);
}

/*
 * Makes the append at the head of l's queue the next one, rolling to a new segment when it says so.
 * False: it was refused.
 */
static bool cycle_admit(struct engine *e, struct st_log *l, const struct st_req *r)
{
	const struct segment *s = log_active(l->log);
	if (!eng_log_ok(e, l)) {
		cycle_refuse(e, l, ST_E_OFFLINE);
		return false;
	}
	CHECK(r->append.span.len > 0 && r->append.span.off == r->append.pos % LBLOCK_SIZE);
	bool rolls = r->append.segment != s->base_offset;
	bool fits =
		rolls ? r->append.segment == s->end_offset && r->append.pos == 0 && s->end_pos > 0
		      : r->append.pos == s->end_pos;
	if (!fits || r->append.base_offset != s->end_offset) {
		CHECK(l->gap); /* else the asker has lost count */
		cycle_refuse(e, l, ST_E_NOSPACE);
		return false;
	}
	if (rolls) {
		enum st_err err = log_roll(&e->env, l->log, r->append.segment, e->now_ms);
		if (err != ST_OK) {
			cycle_refuse(e, l, err);
			return false;
		}
	}
	l->gap = false;
	return true;
}

/* Moves the appends that can go together from l's queue into its commit. False: there are none. */
static bool cycle_take(struct engine *e, struct st_log *l)
{
	struct list *n;
	CHECK(list_empty(&l->commit));
	while ((n = list_front(&l->queue)) && cycle_req(n)->op == ST_APPEND) {
		if (cycle_admit(e, l, cycle_req(n)))
			break;
	}
	n = list_front(&l->queue);
	if (!n || cycle_req(n)->op != ST_APPEND)
		return false;
	l->end_pos = log_active(l->log)->end_pos;
	l->end_offset = log_active(l->log)->end_offset;
	int64_t segment = cycle_req(n)->append.segment;
	while ((n = list_front(&l->queue))) {
		struct st_req *r = cycle_req(n);
		if (r->op != ST_APPEND || r->append.segment != segment)
			break;
		if (!list_empty(&l->commit))
			CHECK(r->append.pos == l->end_pos &&
				r->append.base_offset == l->end_offset &&
				r->append.span.off == r->append.pos % LBLOCK_SIZE);
		l->end_pos += r->append.span.len;
		l->end_offset = r->append.last_offset + 1;
		list_remove(n);
		list_push_back(&l->commit, n);
	}
	return true;
}

static void cycle_feed_from(struct st_log *l, struct list *req)
{
	l->feed_req = req;
	if (req == &l->commit)
		return;
	const struct st_req *r = cycle_req(req);
	l->feed_pos = align_down(r->append.pos, (uint64_t)FMT_PAGE);
	l->feed_block = r->append.span.first;
}

static void cycle_start(struct engine *e)
{
	struct list ready, *n;
	list_init(&ready);
	list_splice(&ready, &e->ready);
	while (e->page_count > 0 && (n = list_pop_front(&ready))) {
		struct st_log *l = list_entry(n, struct st_log, ready);
		if (!cycle_take(e, l)) {
			eng_log_queue(e, l);
			continue;
		}
		l->in_cycle = true;
		l->commit_err = ST_OK;
		l->tail_page = l->end_pos % FMT_PAGE ? e->pages[--e->page_count] : NULL;
		l->tail_fed = l->tail_page == NULL;
		cycle_feed_from(l, l->commit.next);
		list_push_back(&e->cycle, &l->cycle_node);
	}
	list_splice(&e->ready, &ready); /* for want of staging pages */
	if (list_empty(&e->cycle))
		return;
	metric_add(&e->m->cycles_total, 1);
	e->phase = ENG_GROW;
	e->feed = e->cycle.next;
}

/* --- feeding operations ------------------------------------------------------------------ */

static void cycle_submit(struct engine *e, struct st_log *l, struct eng_op *op, enum io_kind kind)
{
	op->log = l;
	op->io.kind = kind;
	op->io.file = log_active(l->log)->file;
	e->cycle_ops++;
	eng_op_submit(e, op);
}

static void cycle_submit_write(
	struct engine *e, struct st_log *l, void *buf, uint64_t off, uint64_t n)
{
	struct eng_op *op = eng_op_get(e);
	op->io.buf = buf;
	op->io.off = off;
	op->io.len = n;
	metric_add(&e->m->written_bytes_total, n);
	cycle_submit(e, l, op, IO_WRITE);
}

static void cycle_submit_grow(struct engine *e, struct st_log *l, uint64_t size)
{
	struct eng_op *op = eng_op_get(e);
	op->io.buf = NULL;
	op->io.off = log_active(l->log)->file_size;
	op->io.len = size - op->io.off;
	cycle_submit(e, l, op, IO_FALLOCATE);
}

/* The last page, up to the end of the commit; zeros behind it. */
static void cycle_fill_tail_page(struct st_log *l)
{
	const struct st_req *r = cycle_req(l->commit.prev);
	uint64_t page = align_down(l->end_pos, (uint64_t)FMT_PAGE);
	const struct lblock *b = r->append.span.first;
	uint64_t at = align_down(r->append.pos, (uint64_t)LBLOCK_SIZE);
	for (; at + LBLOCK_SIZE <= page; at += LBLOCK_SIZE)
		b = b->next;
	size_t used = (size_t)(l->end_pos - page);
	memcpy(l->tail_page, b->data + (page - at), used);
	memset(l->tail_page + used, 0, FMT_PAGE - used);
}

/* Submits the next run of adjacent whole pages of l. False: there are none left. */
static bool cycle_feed_run(struct engine *e, struct st_log *l)
{
	while (l->feed_req != &l->commit) {
		const struct st_req *r = cycle_req(l->feed_req);
		uint64_t stop = align_down(r->append.pos + r->append.span.len, (uint64_t)FMT_PAGE);
		if (l->feed_pos >= stop) {
			/* the page behind belongs to the next one, or is the tail */
			cycle_feed_from(l, l->feed_req->next);
			continue;
		}
		uint64_t from = l->feed_pos;
		uint8_t *buf = l->feed_block->data + from % LBLOCK_SIZE;
		for (;;) {
			uint64_t block_end =
				align_down(l->feed_pos, (uint64_t)LBLOCK_SIZE) + LBLOCK_SIZE;
			l->feed_pos = min_of(block_end, stop);
			if (l->feed_pos == stop)
				break; /* and the asker may be linking what comes after its last
					  block */
			struct lblock *next = l->feed_block->next;
			bool adjacent = next->data == l->feed_block->data + LBLOCK_SIZE;
			l->feed_block = next;
			if (!adjacent || l->feed_pos - from >= WRITE_MAX)
				break;
		}
		cycle_submit_write(e, l, buf, from, l->feed_pos - from);
		return true;
	}
	if (l->tail_fed)
		return false;
	l->tail_fed = true;
	cycle_fill_tail_page(l);
	cycle_submit_write(
		e, l, l->tail_page, align_down(l->end_pos, (uint64_t)FMT_PAGE), FMT_PAGE);
	return true;
}

/* Submits one operation of the phase for l. False: there is none. */
static bool cycle_feed_log(struct engine *e, struct st_log *l)
{
	if (l->commit_err == ST_OK && !eng_log_ok(e, l))
		l->commit_err = ST_E_OFFLINE;
	if (l->commit_err != ST_OK)
		return false;
	const struct segment *s = log_active(l->log);
	struct eng_op *op;
	switch (e->phase) {
	case ENG_GROW:
		if (align_up(l->end_pos, (uint64_t)FMT_PAGE) > s->file_size)
			cycle_submit_grow(e, l, log_grown_size(s, l->end_pos));
		return false;
	case ENG_WRITE:
		return cycle_feed_run(e, l);
	case ENG_FLUSH:
		op = eng_op_get(e);
		op->io.buf = NULL;
		op->io.off = op->io.len = 0;
		metric_add(&e->m->flushes_total, 1);
		cycle_submit(e, l, op, IO_FDATASYNC);
		return false;
	case ENG_IDLE:
		break;
	}
	CHECK(!"no cycle to feed");
	return false;
}

static void cycle_feed(struct engine *e)
{
	while (e->feed != &e->cycle && !list_empty(&e->free_ops)) {
		struct st_log *l = list_entry(e->feed, struct st_log, cycle_node);
		if (!cycle_feed_log(e, l))
			e->feed = e->feed->next;
	}
}

/* --- completions ------------------------------------------------------------------------- */

static bool is_no_space(int64_t rc)
{
	return rc == -ENOSPC || rc == -EDQUOT || rc == -EFBIG;
}

static void cycle_grown(struct engine *e, struct st_log *l, const struct io_op *io)
{
	struct segment *s = log_active(l->log);
	uint64_t least = align_up(l->end_pos, (uint64_t)FMT_PAGE);
	if (io->result >= 0) {
		s->file_size = io->off + io->len;
	} else if (is_no_space(io->result) && io->off + io->len > least) {
		cycle_submit_grow(e, l, least); /* not ahead, then */
	} else if (is_no_space(io->result)) {
		l->commit_err = ST_E_NOSPACE; /* nothing has been written yet */
	} else {
		l->commit_err = ST_E_IO;
		eng_dir_failed(e, l, io->result, "growing a segment");
	}
}

void cycle_op_done(struct engine *e, struct eng_op *op)
{
	struct st_log *l = op->log;
	struct io_op io = op->io;
	CHECK(e->cycle_ops > 0 && l->in_cycle);
	e->cycle_ops--;
	eng_op_put(e, op);
	if (io.kind == IO_FALLOCATE) {
		cycle_grown(e, l, &io);
	} else if (io.result < 0) {
		l->commit_err = ST_E_IO;
		eng_dir_failed(e, l, io.result, io.kind == IO_WRITE ? "a write" : "a flush");
	}
}

/* --- the end ----------------------------------------------------------------------------- */

static void cycle_end_log(struct engine *e, struct st_log *l)
{
	struct list *n;
	list_remove(&l->cycle_node);
	if (l->tail_page)
		e->pages[e->page_count++] = l->tail_page;
	l->tail_page = NULL;
	l->in_cycle = false;
	if (l->commit_err == ST_E_NOSPACE)
		l->gap = true;
	else if (l->commit_err != ST_OK)
		l->state = ENG_LOG_OFFLINE;
	while ((n = list_pop_front(&l->commit))) {
		struct st_req *r = cycle_req(n);
		if (l->commit_err == ST_OK) {
			log_appended(l->log, r, e->now_ms);
			r->append.released = (struct st_pos){
				.segment = r->append.segment,
				.pos = r->append.pos + r->append.span.len,
			};
			metric_add(&e->m->appends_total, 1);
			metric_add(&e->m->append_bytes_total, r->append.span.len);
		}
		eng_answer(e, r, l->commit_err);
	}
	if (l->commit_err == ST_OK && e->cfg.durability == ST_FLUSH)
		log_mark(&e->env, l->log);
	if (e->cfg.durability == ST_WRITTEN)
		l->log->unflushed = true;
	eng_log_queue(e, l);
}

static void cycle_end(struct engine *e)
{
	struct list *n;
	while ((n = list_front(&e->cycle)))
		cycle_end_log(e, list_entry(n, struct st_log, cycle_node));
	e->phase = ENG_IDLE;
	e->feed = &e->cycle;
}

static void cycle_next_phase(struct engine *e)
{
	static const enum eng_phase after[] = {
		[ENG_GROW] = ENG_WRITE,
		[ENG_WRITE] = ENG_FLUSH,
		[ENG_FLUSH] = ENG_IDLE,
	};
	e->phase = after[e->phase];
	if (e->phase == ENG_FLUSH && e->cfg.durability == ST_WRITTEN)
		e->phase = ENG_IDLE;
	if (e->phase == ENG_IDLE)
		cycle_end(e);
	else
		e->feed = e->cycle.next;
}

void cycle_run(struct engine *e)
{
	if (e->phase == ENG_IDLE)
		cycle_start(e);
	while (e->phase != ENG_IDLE) {
		cycle_feed(e);
		if (e->feed != &e->cycle || e->cycle_ops > 0)
			return;
		cycle_next_phase(e);
	}
}
