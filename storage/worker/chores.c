/* SPDX-License-Identifier: Apache-2.0 */
/* What is asked of a log beside appends and reads, in order with its appends. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "storage/worker/engine_int.h"

/* The request wants a journal entry first. */
static void chore_journal(struct st_log *l, struct st_req *r)
{
	l->entries++;
	list_push_back(&l->lane->entries, &r->node);
}

static void chore_trim(struct engine *e, struct st_log *l, struct st_req *r)
{
	struct log *log = l->log;
	if (r->trim.offset > log_end_offset(log)) {
		eng_answer(e, r, ST_E_RANGE);
		return;
	}
	r->trim.log_start_offset = max_of(log->log_start_offset, r->trim.offset);
	if (r->trim.log_start_offset == log->log_start_offset)
		eng_answer(e, r, ST_OK);
	else
		chore_journal(l, r);
}

static void chore_retain(struct engine *e, struct st_log *l, struct st_req *r)
{
	int64_t start;
	enum st_err err = log_retain(
		&e->env, l->log, &r->retain.policy, r->retain.limit, r->retain.now_ms, &start);
	r->retain.log_start_offset = start;
	r->retain.freed_bytes = 0;
	if (err == ST_OK && start > l->log->log_start_offset)
		chore_journal(l, r);
	else
		eng_answer(e, r, err);
}

/* Serves the request at the head of l's queue, which is not an append. False: it has to wait. */
static bool chore_serve(struct engine *e, struct st_log *l, struct st_req *r)
{
	bool ok = eng_log_ok(e, l);
	if (r->op == ST_DELETE || r->op == ST_CLOSE)
		clean_give_up(e, l);
	if (r->op == ST_DELETE && l->reads > 0)
		return false;
	list_remove(&r->node);
	if (r->op == ST_FILL || r->op == ST_CLOSE) {
		list_push_back(&l->fill_waits, &r->node);
		fill_settle(e, l);
		return true;
	}
	if (r->op == ST_DELETE) {
		CHECK(list_empty(&l->queue)); /* whoever deletes a log asks for nothing after it */
		chore_journal(l, r);
		return true;
	}
	if (!ok) {
		eng_answer(e, r, ST_E_OFFLINE);
		return true;
	}
	switch (r->op) {
	case ST_TAIL:
		eng_answer(e, r, log_tail(&e->env, l->log, r->tail.block));
		break;
	case ST_TRIM:
		chore_trim(e, l, r);
		break;
	case ST_RETAIN:
		chore_retain(e, l, r);
		break;
	default:
		CHECK(r->op == ST_CLEAN);
		list_push_back(&e->cleaner.waiting, &r->node);
	}
	return true;
}

void chores_run(struct engine *e, struct eng_lane *lane)
{
	struct list chores, *n;
	list_init(&chores);
	list_splice(&chores, &lane->chores);
	while ((n = list_pop_front(&chores))) {
		struct st_log *l = list_entry(n, struct st_log, ready);
		struct st_req *r = eng_req(list_front(&l->queue));
		if (chore_serve(e, l, r))
			eng_log_queue(l);
		else
			list_push_back(&lane->chores, &l->ready); /* readers first */
	}
}

/* --- after the journal ------------------------------------------------------------------- */

static void chore_bury(struct eng_lane *lane, const char *path)
{
	if (lane->dead_count == lane->dead_capacity) {
		uint32_t capacity = lane->dead_capacity ? lane->dead_capacity * 2 : 16;
		void *p = realloc(lane->dead, capacity * sizeof(*lane->dead));
		if (!p)
			return; /* the next start removes it */
		lane->dead = p;
		lane->dead_capacity = capacity;
	}
	snprintf(lane->dead[lane->dead_count++], IO_PATH_MAX, "%s", path);
}

static enum st_err chore_remove_files(struct engine *e, struct st_log *l)
{
	char marked[IO_PATH_MAX];
	if (!l->log->has_files)
		return ST_OK;
	int rc = log_mark_deleted(&e->env, l->log, marked);
	if (rc < 0) {
		eng_lane_failed(e, l->lane, rc, "deleting a log");
		return ST_E_IO;
	}
	chore_bury(l->lane, marked);
	l->lane->names_dirty = true;
	return ST_OK;
}

static void chore_forget(struct engine *e, struct st_log *l)
{
	if (l->opened)
		e->open_count--;
	eng_log_free(e, l);
}

void chores_finish_delete(struct engine *e, struct st_log *l, struct st_req *r)
{
	enum st_err err = r->err;
	struct list *n;
	CHECK(!log_is_busy(l));
	while ((n = list_pop_front(&l->fill_waits))) /* its blocks are not needed any more */
		eng_answer(e, eng_req(n), ST_E_OFFLINE);
	if (err == ST_OK)
		err = chore_remove_files(e, l);
	chore_forget(e, l);
	r->log = NULL;
	eng_answer(e, r, err);
}

/* The log is gone, as far as anyone can see; its blocks may still be on their way to the disk. */
static void chore_deleted(struct engine *e, struct st_log *l, struct st_req *r, enum st_err err)
{
	l->state = ENG_LOG_GONE;
	r->err = err;
	ckpt_note_fill(l);
	if (log_is_busy(l))
		list_push_back(&l->fill_waits, &r->node);
	else
		chores_finish_delete(e, l, r);
}

static void chore_start_moved(struct st_log *l, int64_t start)
{
	l->log->log_start_offset = max_of(l->log->log_start_offset, start);
	if (!list_linked(&l->drop_node))
		list_push_back(&l->lane->drops, &l->drop_node);
}

void chores_committed(struct engine *e, struct eng_lane *lane, struct st_req *r, enum st_err err)
{
	struct st_log *l = r->log;
	switch (r->op) {
	case ST_OPEN:
		l->committed = true;
		if (err != ST_OK) {
			chore_forget(e, l);
			r->log = NULL;
		}
		break;
	case ST_TRIM:
		if (err == ST_OK)
			chore_start_moved(l, r->trim.log_start_offset);
		r->trim.log_start_offset = l->log->log_start_offset;
		break;
	case ST_RETAIN:
		if (err == ST_OK)
			chore_start_moved(l, r->retain.log_start_offset);
		r->retain.log_start_offset = l->log->log_start_offset;
		break;
	default:
		CHECK(r->op == ST_DELETE);
		chore_deleted(e, l, r, err);
		return;
	}
	eng_answer(e, r, err);
	if (r->op == ST_OPEN)
		return;
	l->entries--;
	fill_settle(e, l);
}

/* --- what is not needed any more --------------------------------------------------------- */

static void sweep_segments(struct engine *e, struct eng_lane *lane)
{
	struct list *n = list_pop_front(&lane->drops);
	if (!n)
		return;
	struct st_log *l = list_entry(n, struct st_log, drop_node);
	uint64_t freed = 0;
	if (clean_is_busy_with(e, l)) { /* they are its inputs */
		list_push_back(&lane->drops, n);
		return;
	}
	if (log_drop_oldest(&e->env, l->log, &freed)) {
		list_push_back(&lane->drops, n);
		lane->ckpt_wanted |= freed == 0;
	}
	metric_add(&e->m->removed_bytes_total, freed);
}

static void sweep_directories(struct engine *e, struct eng_lane *lane)
{
	if (lane->dead_count == 0)
		return;
	const char *path = lane->dead[lane->dead_count - 1];
	int rc = delete_some(e->io, path);
	if (rc > 0)
		return;
	if (rc < 0 && rc != -ENOENT)
		log_warn("storage", "cannot remove all of %s: %s; the next start tries again", path,
			strerror(-rc));
	lane->dead_count--;
}

void chores_sweep(struct engine *e, struct eng_lane *lane)
{
	if (!eng_lane_ok(e, lane))
		return;
	sweep_segments(e, lane);
	sweep_directories(e, lane);
}
