/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commit cycle of a lane: everything that waits becomes durable by one group in the journal and
 * one flush. Large runs go straight to their segments, by whole pages and from the askers' blocks;
 * the group then only says so, and brings the ragged rest.
 *
 * Room in the segments is allocated before anything is committed: what has been acknowledged can
 * always be filled. A group is written only after the one before it was flushed: so at a crash only
 * the last one may be incomplete.
 */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "storage/worker/engine_int.h"

/* --- taking requests --------------------------------------------------------------------- */

/* Refuses the append at the head of the queue. */
static void cycle_refuse(struct engine *e, struct st_log *l, enum st_err err)
{
	struct st_req *r = eng_req(list_pop_front(&l->queue));
	if (err == ST_E_NOSPACE)
		l->gap = true;
	eng_answer(e, r, err);
}

/* Whether the append at the head of l's queue is the next one; false: it was refused. */
static bool cycle_admit(struct engine *e, struct st_log *l, const struct st_req *r)
{
	const struct segment *s = log_active(l->log);
	if (!eng_log_ok(e, l)) {
		cycle_refuse(e, l, ST_E_OFFLINE);
		return false;
	}
	CHECK(r->append.span.len > 0 && r->append.span.off == r->append.pos % LBLOCK_SIZE);
	l->rolls = r->append.segment != s->base_offset;
	bool fits = l->rolls ? r->append.segment == s->end_offset && r->append.pos == 0 &&
				       s->end_pos > 0
			     : r->append.pos == s->end_pos;
	if (!fits || r->append.base_offset != s->end_offset) {
		CHECK(l->gap); /* else the asker has lost count */
		cycle_refuse(e, l, ST_E_NOSPACE);
		return false;
	}
	l->gap = false;
	return true;
}

/* Moves the appends that can go together from l's queue into its commit. False: there are none. */
static bool cycle_take(struct engine *e, struct st_log *l)
{
	struct list *n;
	CHECK(list_empty(&l->commit));
	while ((n = list_front(&l->queue)) && eng_req(n)->op == ST_APPEND) {
		if (cycle_admit(e, l, eng_req(n)))
			break;
	}
	n = list_front(&l->queue);
	if (!n || eng_req(n)->op != ST_APPEND)
		return false;
	const struct st_req *first = eng_req(n);
	l->begin_pos = l->end_pos = first->append.pos;
	l->begin_offset = l->end_offset = first->append.base_offset;
	l->begin_block = first->append.span.first;
	while ((n = list_front(&l->queue))) {
		struct st_req *r = eng_req(n);
		if (r->op != ST_APPEND || r->append.segment != first->append.segment)
			break;
		if (!list_empty(&l->commit) &&
			l->end_pos - l->begin_pos + r->append.span.len > DIRECT_MAX)
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

/* Puts the commit back, as if it had not been taken. */
static void cycle_untake(struct st_log *l)
{
	while (!list_empty(&l->commit)) {
		struct list *n = l->commit.prev;
		list_remove(n);
		list_push_front(&l->queue, n);
	}
}

/* From how many bytes on a run is cheaper written once; at most a part of a small journal. */
static uint64_t cycle_direct_min(const struct st_log *l)
{
	const struct segment *s = log_active(l->log);
	uint64_t written_to = l->rolls ? l->log->spare_size : s->written_to;
	bool reached = l->lane->reaches && l->direct_to <= written_to;
	return min_of(cost_direct_min(&l->lane->cost, reached),
		max_of(l->lane->st->ring_bytes / 16, 2ull * FMT_PAGE));
}

/* Large runs go straight to the segment. False: they cannot now, since the log is being filled. */
static bool cycle_choose_path(struct st_log *l)
{
	const struct segment *s = log_active(l->log);
	uint64_t fill_pos = l->rolls ? 0 : s->fill_pos;
	l->direct_to = align_down(l->end_pos, (uint64_t)FMT_PAGE);
	uint64_t least = cycle_direct_min(l);
	uint64_t size = l->end_pos - l->begin_pos;
	l->direct = size >= least && l->direct_to > fill_pos;
	if (!l->direct && size >= COST_WRITTEN_LEAST)
		cost_note_not_tried(&l->lane->cost);
	return !l->direct || !fill_is_busy(l);
}

/* --- starting ---------------------------------------------------------------------------- */

struct cycle_budget {
	uint32_t size;	/* of the group so far */
	uint32_t limit; /* and at most */
};

static bool cycle_affords(struct cycle_budget *b, uint32_t size)
{
	if (b->size + size > b->limit)
		return false;
	b->size += size;
	return true;
}

static void cycle_take_entries(struct engine *e, struct eng_lane *lane, struct cycle_budget *b)
{
	struct list *n;
	while ((n = list_front(&lane->entries))) {
		struct st_req *r = eng_req(n);
		if (!eng_lane_ok(e, lane)) {
			list_remove(n);
			chores_committed(e, lane, r, ST_E_OFFLINE);
			continue;
		}
		if (!cycle_affords(b, group_entry_size(r)))
			break;
		list_remove(n);
		list_push_back(&lane->committing, n);
	}
}

static void cycle_take_logs(struct engine *e, struct eng_lane *lane, struct cycle_budget *b)
{
	struct list ready, *n;
	list_init(&ready);
	list_splice(&ready, &lane->ready);
	while ((n = list_pop_front(&ready))) {
		struct st_log *l = list_entry(n, struct st_log, ready);
		if (!cycle_take(e, l)) {
			eng_log_queue(l);
			continue;
		}
		if (!cycle_choose_path(l)) {
			cycle_untake(l);
			list_push_back(&lane->ready, &l->ready);
			lane->waits_for_fill = true;
			continue;
		}
		if (!cycle_affords(b, group_commit_size(l))) {
			cycle_untake(l);
			list_push_front(&ready, &l->ready);
			break;
		}
		l->in_cycle = true;
		l->commit_err = ST_OK;
		list_push_back(&lane->cycle, &l->cycle_node);
	}
	list_splice(&lane->ready, &ready);
}

/* How large a group may be now. 0: the journal is full. */
static uint32_t cycle_limit(struct eng_lane *lane)
{
	uint64_t pos;
	uint32_t least = min_of((uint64_t)JRNL_GROUP_MAX, lane->st->ring_bytes / 4);
	if (lane->st->holed)
		return 0;
	return group_room(lane->st, least, &pos) >= least ? least : 0;
}

static void cycle_start(struct engine *e, struct eng_lane *lane)
{
	if (list_empty(&lane->ready) && list_empty(&lane->entries))
		return;
	struct cycle_budget b = {.size = sizeof(struct fmt_jrnl_group), .limit = JRNL_GROUP_MAX};
	if (eng_lane_ok(e, lane)) /* else everything will be refused */
		b.limit = cycle_limit(lane);
	if (zero_is_in_the_way(lane, b.limit)) {
		lane->waits_for_fill = true; /* it is in flight: not for long */
		return;
	}
	lane->full = b.limit == 0;
	if (lane->full) {
		ckpt_begin_if_due(e, lane);
		return;
	}
	lane->waits_for_fill = false;
	cycle_take_entries(e, lane, &b);
	cycle_take_logs(e, lane, &b);
	if (list_empty(&lane->cycle) && list_empty(&lane->committing))
		return;
	metric_add(&e->m->cycles_total, 1);
	lane->clean = false;
	lane->phase = ENG_GROW;
	lane->feed = lane->cycle.next;
}

/* --- growing ----------------------------------------------------------------------------- */

static void cycle_fail(struct engine *e, struct st_log *l, int64_t rc, const char *what)
{
	if (is_no_space(rc) || rc == -EMFILE || rc == -ENFILE || rc == -ENOMEM) {
		l->commit_err = ST_E_NOSPACE; /* nothing has been written yet */
		eng_lane_no_space(e, l->lane);
		return;
	}
	l->commit_err = ST_E_IO;
	eng_lane_failed(e, l->lane, rc, what);
}

static void cycle_submit_grow(struct engine *e, struct st_log *l, uint64_t size)
{
	const struct segment *s = log_active(l->log);
	struct eng_op *op = eng_op_get(e, l->lane, ENG_COMMIT);
	op->log = l;
	l->lane->cycle_ops++;
	eng_op_start(e, op, IO_FALLOCATE, s->file, NULL, s->file_size, size - s->file_size);
}

/* What is committed to a segment has to find it again: its name is flushed along with the commit.
 * Beside the rest; but not the first time, when the log's directory is new, too. */
static int cycle_name(struct engine *e, struct st_log *l)
{
	char path[IO_PATH_MAX];
	if (!l->log->dir_named || e->cfg.durability == ST_WRITTEN)
		return log_flush_names(&e->env, l->log);
	log_path(&e->env, l->log, path);
	return e->io->api->open(e->io, path, IO_DIR | IO_RDONLY, &l->names_file);
}

/* Rolls, and sees to it that the segment has a file with room for all whole pages. */
static void cycle_grow(struct engine *e, struct st_log *l)
{
	int rc = log_remove_stray(&e->env, l->log);
	if (rc == 0 && l->rolls)
		rc = log_roll(l->log, l->begin_offset, e->now_ms);
	if (rc < 0) {
		l->rolls = false;
		cycle_fail(e, l, rc, "rolling a log");
		return;
	}
	struct segment *s = log_active(l->log);
	if (l->end_pos < FMT_PAGE)
		return; /* all of it stays in the journal */
	rc = segment_open_file(&e->env, l->log, s);
	if (rc == 0 && l->direct && !s->named)
		rc = cycle_name(e, l);
	if (rc < 0)
		cycle_fail(e, l, rc, "creating a segment");
	else if (align_up(l->end_pos, (uint64_t)FMT_PAGE) > s->file_size)
		cycle_submit_grow(e, l, segment_grown_size(s, l->end_pos));
}

static void cycle_grown(struct engine *e, struct st_log *l, const struct io_op *io)
{
	struct segment *s = log_active(l->log);
	uint64_t least = align_up(l->end_pos, (uint64_t)FMT_PAGE);
	if (io->result >= 0) {
		s->file_size = max_of(s->file_size, io->off + io->len);
		s->file_dirty = true;
	} else if (is_no_space(io->result) && io->off + io->len > least) {
		cycle_submit_grow(e, l, least); /* not ahead, then */
	} else {
		cycle_fail(e, l, io->result, "growing a segment");
	}
}

/* --- writing ----------------------------------------------------------------------------- */

/* The log's end moves already now: its index entries go into the group. Nobody can see what is
 * behind the end that the asker knows; when the write fails the log is offline for good. */
static void cycle_place(struct engine *e, struct st_log *l)
{
	struct segment *s = log_active(l->log);
	list_for_each (it, &l->commit)
		log_appended(l->log, eng_req(it), e->now_ms);
	CHECK(s->end_pos == l->end_pos && s->end_offset == l->end_offset);
	if (s->pend)
		return;
	s->pend = l->begin_block;
	s->pend_pos = align_down(l->begin_pos, (uint64_t)LBLOCK_SIZE);
	free(s->tail);
	s->tail = NULL;
}

static void cycle_build_group(struct engine *e, struct eng_lane *lane)
{
	jrnl_begin(&lane->group, lane->group_buf, JRNL_GROUP_MAX);
	list_for_each (it, &lane->committing)
		group_add_request(lane, eng_req(it));
	list_for_each (it, &lane->cycle) {
		struct st_log *l = list_entry(it, struct st_log, cycle_node);
		if (l->commit_err == ST_OK && log_reserve_append(l->log, l->end_pos) < 0)
			l->commit_err = ST_E_NOSPACE;
		if (l->commit_err != ST_OK)
			continue;
		cycle_place(e, l);
		group_add_commit(lane, l);
		l->flushes = l->direct &&
			     !(lane->reaches && l->direct_to <= log_active(l->log)->written_to);
		l->feed_block = log_active(l->log)->pend;
		l->feed_block_pos = log_active(l->log)->pend_pos;
		l->feed_pos = log_active(l->log)->fill_pos;
	}
	lane->group_size = 0;
	lane->group_fed = false;
	if (lane->group.count == 0)
		return;
	struct store_lane *st = lane->st;
	uint32_t size = (uint32_t)align_up(lane->group.used, FMT_PAGE);
	CHECK(group_room(st, size, &lane->group_pos) >= size);
	lane->group_size =
		jrnl_end(&lane->group, &st->journal_id, st->seq, lane->group_pos, st->tail);
	CHECK(lane->group_size == size);
}

static void cycle_feed_group(struct engine *e, struct eng_lane *lane)
{
	struct eng_op *op = eng_op_get(e, lane, ENG_COMMIT);
	uint64_t off = FMT_PAGE + lane->group_pos % lane->st->ring_bytes;
	lane->cycle_ops++;
	eng_op_start(e, op, IO_WRITE, lane->journal, lane->group_buf, off, lane->group_size);
}

/* Submits the next run of whole pages of l's direct commit. False: there are none left. */
static bool cycle_feed_run(struct engine *e, struct st_log *l)
{
	struct segment *s = log_active(l->log);
	if (!l->direct || l->feed_pos >= l->direct_to)
		return false;
	struct eng_op *op = eng_op_get(e, l->lane, ENG_COMMIT);
	uint64_t from = l->feed_pos;
	while (l->feed_pos < l->direct_to && l->feed_pos - from < ENGINE_WRITE_MAX) {
		uint64_t to = min_of(l->feed_block_pos + LBLOCK_SIZE, l->direct_to);
		uint8_t *p = l->feed_block->data + (l->feed_pos - l->feed_block_pos);
		if (!eng_op_add(op, p, to - l->feed_pos))
			break;
		l->feed_pos = to;
		if (to == l->direct_to)
			break;
		l->feed_block = l->feed_block->next;
		l->feed_block_pos += LBLOCK_SIZE;
	}
	op->log = l;
	l->lane->cycle_ops++;
	s->file_dirty = true;
	eng_op_start_run(e, op, IO_WRITE, s->file, from);
	return true;
}

static void cycle_feed_flush(struct engine *e, struct eng_lane *lane, struct st_log *l)
{
	struct eng_op *op = eng_op_get(e, lane, ENG_COMMIT);
	op->log = l;
	op->io.reaches = !l && lane->reaches;
	lane->cycle_ops++;
	eng_op_start(e, op, IO_FDATASYNC, l ? log_active(l->log)->file : lane->journal, NULL, 0, 0);
}

static void cycle_feed_names(struct engine *e, struct st_log *l)
{
	struct eng_op *op = eng_op_get(e, l->lane, ENG_COMMIT);
	op->log = l;
	op->closes = true;
	l->lane->cycle_ops++;
	eng_op_start(e, op, IO_FSYNC, l->names_file, NULL, 0, 0);
	l->names_file = NULL;
}

/* --- phases ------------------------------------------------------------------------------ */

/* Submits one operation of the phase for l. False: there is none (any more). */
static bool cycle_feed_log(struct engine *e, struct eng_lane *lane, struct st_log *l)
{
	if (l->commit_err == ST_OK && !eng_log_ok(e, l))
		l->commit_err = ST_E_OFFLINE;
	if (l->commit_err != ST_OK)
		return false;
	switch (lane->phase) {
	case ENG_GROW:
		cycle_grow(e, l);
		return false;
	case ENG_WRITE:
		return cycle_feed_run(e, l);
	case ENG_FLUSH:
		if (l->names_file) {
			cycle_feed_names(e, l);
			return true;
		}
		if (l->flushes)
			cycle_feed_flush(e, lane, l);
		return false;
	case ENG_IDLE:
		break;
	}
	CHECK(!"no cycle to feed");
	return false;
}

/* True when all of the phase has been submitted. */
static bool cycle_feed(struct engine *e, struct eng_lane *lane)
{
	while (lane->feed != &lane->cycle && eng_may_start(e, ENG_COMMIT)) {
		struct st_log *l = list_entry(lane->feed, struct st_log, cycle_node);
		if (!cycle_feed_log(e, lane, l))
			lane->feed = lane->feed->next;
	}
	if (lane->feed != &lane->cycle)
		return false;
	if (lane->phase == ENG_GROW || lane->group_fed || lane->group_size == 0)
		return true;
	if (!eng_may_start(e, ENG_COMMIT))
		return false;
	lane->group_fed = true;
	if (!eng_lane_ok(e, lane))
		return true;
	if (lane->phase == ENG_WRITE)
		cycle_feed_group(e, lane);
	else
		cycle_feed_flush(e, lane, NULL);
	return true;
}

/* What the journal and the segments cost on this device. */
static void cycle_measure(struct path_cost *c, const struct io_op *io, bool journal)
{
	if (io->result < 0 || io->took_ns == 0)
		return;
	if (io->kind == IO_WRITE && journal)
		cost_note_write(c, io->len, io->took_ns);
	else if (io->kind == IO_FDATASYNC && journal)
		cost_note_journal_flush(c, io->took_ns);
	else if (io->kind == IO_FDATASYNC)
		cost_note_segment_flush(c, io->took_ns);
}

void cycle_op_done(struct engine *e, struct eng_op *op)
{
	struct eng_lane *lane = op->lane;
	struct st_log *l = op->log;
	struct io_op io = op->io;
	CHECK(lane->cycle_ops > 0);
	lane->cycle_ops--;
	eng_op_put(e, op);
	cycle_measure(&lane->cost, &io, !l);
	if (io.kind == IO_FALLOCATE)
		cycle_grown(e, l, &io);
	else if (io.result < 0)
		eng_lane_failed(e, lane, io.result,
			io.kind != IO_WRITE ? "a flush"
			: l		    ? "a write to a segment"
					    : "a write to the journal");
}

/* --- the end ----------------------------------------------------------------------------- */

/* The bytes that went straight to the segment are not pending any more. */
static void cycle_settle_direct(struct st_log *l)
{
	struct segment *s = log_active(l->log);
	l->log->hot = true;
	for (; s->pend_pos + LBLOCK_SIZE <= l->direct_to && l->direct_to < s->end_pos;
		s->pend_pos += LBLOCK_SIZE)
		s->pend = s->pend->next;
	s->fill_pos = l->direct_to;
	if (s->fill_pos == s->end_pos)
		s->pend = NULL;
	l->lane->direct_bytes += l->direct_to - l->begin_pos;
}

static void cycle_end_log(struct engine *e, struct st_log *l)
{
	struct list *n;
	list_remove(&l->cycle_node);
	l->in_cycle = false;
	if (l->commit_err == ST_OK && !eng_log_ok(e, l))
		l->commit_err = ST_E_IO;
	if (l->names_file) /* not used: the cycle has failed */
		e->io->api->close(e->io, l->names_file);
	l->names_file = NULL;
	if (l->commit_err == ST_OK && l->direct) {
		log_active(l->log)->named = true;
		cycle_settle_direct(l);
		ckpt_note_fill(l);
	} else if (l->commit_err == ST_E_NOSPACE) {
		l->gap = true;
		if (l->rolls)
			log_unroll(&e->env, l->log);
	} else if (l->commit_err != ST_OK) {
		l->state = ENG_LOG_OFFLINE;
	}
	while ((n = list_pop_front(&l->commit))) {
		struct st_req *r = eng_req(n);
		if (l->commit_err == ST_OK) {
			r->append.released = log_released(l->log);
			metric_add(&e->m->appends_total, 1);
			metric_add(&e->m->append_bytes_total, r->append.span.len);
		}
		eng_answer(e, r, l->commit_err);
	}
	eng_log_queue(l);
	if (l->commit_err == ST_OK) {
		fill_note(e, l);
		room_note(e, l);
	}
	fill_settle(e, l);
}

static void cycle_end(struct engine *e, struct eng_lane *lane)
{
	struct list *n;
	bool ok = eng_lane_ok(e, lane);
	if (ok && lane->group_size > 0) {
		lane->st->head = lane->group_pos + lane->group_size;
		lane->st->seq++;
	}
	while ((n = list_front(&lane->cycle)))
		cycle_end_log(e, list_entry(n, struct st_log, cycle_node));
	while ((n = list_pop_front(&lane->committing)))
		chores_committed(e, lane, eng_req(n), ok ? ST_OK : ST_E_IO);
	lane->phase = ENG_IDLE;
	lane->feed = &lane->cycle;
	ckpt_begin_if_due(e, lane);
}

static void cycle_next_phase(struct engine *e, struct eng_lane *lane)
{
	switch (lane->phase) {
	case ENG_GROW:
		cycle_build_group(e, lane);
		lane->phase = ENG_WRITE;
		break;
	case ENG_WRITE:
		lane->phase = e->cfg.durability == ST_WRITTEN ? ENG_IDLE : ENG_FLUSH;
		lane->group_fed = false;
		break;
	default:
		lane->phase = ENG_IDLE;
	}
	if (lane->phase == ENG_IDLE || !eng_lane_ok(e, lane))
		cycle_end(e, lane);
	else
		lane->feed = lane->cycle.next;
}

void cycle_run(struct engine *e, struct eng_lane *lane)
{
	if (lane->phase == ENG_IDLE)
		cycle_start(e, lane);
	while (lane->phase != ENG_IDLE) {
		bool fed = cycle_feed(e, lane);
		if (!fed || lane->cycle_ops > 0)
			return;
		cycle_next_phase(e, lane);
	}
}
