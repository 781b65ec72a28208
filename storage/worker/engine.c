/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/worker/engine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "storage/worker/engine_int.h"

/* --- creation ---------------------------------------------------------------------------- */

static bool engine_alloc(struct engine *e)
{
	uint8_t *staging = e->cfg.staging;
	if (!staging)
		staging = e->own_staging = aligned_alloc(FMT_PAGE, ENGINE_STAGING);
	e->ops = calloc(ENGINE_OPS, sizeof(*e->ops));
	e->reads = calloc(ENGINE_READS, sizeof(*e->reads));
	if (!staging || !e->ops || !e->reads)
		return false;
	e->env.scratch = staging + ENGINE_STAGING_PAGES * FMT_PAGE;
	for (uint32_t i = 0; i < ENGINE_STAGING_PAGES; i++)
		e->pages[e->page_count++] = staging + (size_t)i * FMT_PAGE;
	for (uint32_t i = 0; i < ENGINE_OPS; i++)
		list_push_back(&e->free_ops, &e->ops[i].node);
	for (uint32_t i = 0; i < ENGINE_READS; i++)
		list_push_back(&e->free_reads, &e->reads[i].node);
	return true;
}

struct engine *engine_create(struct io *io, struct store *store, const struct engine_config *cfg)
{
	_Static_assert(ENGINE_SCRATCH == LOG_SCRATCH, "the log room's scratch is part of staging");
	struct engine *e = calloc(1, sizeof(*e));
	if (!e)
		return NULL;
	e->io = io;
	e->store = store;
	e->cfg = *cfg;
	e->m = cfg->metrics ? cfg->metrics : &e->own_metrics;
	e->env = (struct log_env){.io = io, .store = store, .cold_max = ENGINE_COLD_MAX};
	list_init(&e->env.cold);
	list_init(&e->logs);
	for (uint32_t i = 0; i < ENGINE_BUCKETS; i++)
		list_init(&e->by_name[i]);
	list_init(&e->opens);
	list_init(&e->free_ops);
	list_init(&e->ready);
	list_init(&e->chores);
	list_init(&e->cycle);
	list_init(&e->free_reads);
	list_init(&e->reading);
	list_init(&e->waiting);
	e->feed = &e->cycle;
	if (!engine_alloc(e)) {
		engine_destroy(e);
		return NULL;
	}
	return e;
}

void engine_destroy(struct engine *e)
{
	if (!e)
		return;
	list_for_each_safe (it, &e->logs) {
		struct st_log *l = list_entry(it, struct st_log, node);
		for (uint32_t i = 0; i < l->log->segment_count; i++)
			l->log->segments[i]->reads = 0; /* whoever read is gone */
		log_free(&e->env, l->log);
		free(l);
	}
	log_env_fini(&e->env);
	free(e->own_staging);
	free(e->ops);
	free(e->reads);
	free(e->marks);
	free(e);
}

/* --- operations -------------------------------------------------------------------------- */

struct eng_op *eng_op_get(struct engine *e)
{
	struct list *n = list_pop_front(&e->free_ops);
	if (!n)
		return NULL;
	struct eng_op *op = list_entry(n, struct eng_op, node);
	op->log = NULL;
	op->read = NULL;
	op->retries = 0;
	return op;
}

void eng_op_put(struct engine *e, struct eng_op *op)
{
	list_push_front(&e->free_ops, &op->node);
}

void eng_op_submit(struct engine *e, struct eng_op *op)
{
	op->io.user = op;
	op->io.result = 0;
	list_init(&op->io.node);
	e->ops_out++;
	e->io->api->submit(e->io, &op->io);
}

/*
 * True when the operation had to be submitted once more: the rest of a short transfer, or all of it
 * when the kernel says "again" (some filesystems do without having been asked not to wait).
 */
static bool eng_op_goes_on(struct engine *e, struct eng_op *op)
{
	struct io_op *io = &op->io;
	bool moves = io->kind == IO_READ || io->kind == IO_WRITE;
	if (io->kind != IO_FDATASYNC && (io->result == -EAGAIN || io->result == -EINTR)) {
		if (op->retries++ >= ENGINE_OP_RETRIES)
			return false;
	} else if (moves && io->result > 0 && (uint64_t)io->result < io->len) {
		uint64_t n = align_down((uint64_t)io->result, (uint64_t)IO_SECTOR);
		if (n == 0 && op->retries++ >= ENGINE_OP_RETRIES)
			return false;
		io->buf = (uint8_t *)io->buf + n;
		io->off += n;
		io->len -= n;
	} else {
		return false;
	}
	eng_op_submit(e, op);
	return true;
}

static void engine_reap(struct engine *e)
{
	struct list done;
	list_init(&done);
	e->io->api->reap(e->io, &done);
	struct list *n;
	while ((n = list_pop_front(&done))) {
		struct eng_op *op = list_entry(n, struct io_op, node)->user;
		CHECK(e->ops_out > 0);
		e->ops_out--;
		if (eng_op_goes_on(e, op))
			continue;
		/* Nothing at all, or less than a sector again and again: the device does not move.
		 */
		bool moves = op->io.kind == IO_READ || op->io.kind == IO_WRITE;
		if (moves && op->io.result >= 0 && (uint64_t)op->io.result < op->io.len)
			op->io.result = -EIO;
		if (op->read)
			reads_op_done(e, op);
		else
			cycle_op_done(e, op);
	}
}

void eng_answer(struct engine *e, struct st_req *r, enum st_err err)
{
	CHECK(e->unanswered > 0);
	e->unanswered--;
	r->err = err;
	list_push_back(e->done, &r->node);
}

bool eng_log_ok(const struct engine *e, const struct st_log *l)
{
	return l->state == ENG_LOG_OPEN && !store_is_offline(e->store, l->log->dir);
}

void eng_dir_failed(struct engine *e, struct st_log *l, int64_t rc, const char *what)
{
	metric_add(&e->m->io_errors_total, 1);
	l->state = ENG_LOG_OFFLINE;
	if (!store_is_offline(e->store, l->log->dir))
		log_error("storage", "%s of %s failed: %s; log directory %s goes offline", what,
			l->log->path, strerror((int)-rc), store_dir_path(e->store, l->log->dir));
	store_set_offline(e->store, l->log->dir);
}

void eng_count(struct engine *e)
{
	metric_add(&e->m->flushes_total, e->env.flushes);
	metric_add(&e->m->io_errors_total, e->env.io_errors);
	e->env.flushes = e->env.io_errors = 0;
	metric_set(&e->m->logs_open, e->log_count);
	uint64_t offline = 0;
	for (uint16_t i = 0; i < store_dir_count(e->store); i++)
		offline += store_is_offline(e->store, i);
	metric_set(&e->m->offline_dirs, offline);
}

/* --- what is synchronous ----------------------------------------------------------------- */

static struct list *engine_bucket(struct engine *e, const struct uuid *topic_id, int32_t partition)
{
	uint64_t lo, hi;
	memcpy(&lo, topic_id->b, sizeof(lo));
	memcpy(&hi, topic_id->b + sizeof(lo), sizeof(hi));
	uint64_t h = (lo ^ hi ^ (uint32_t)partition) * 0x9e3779b97f4a7c15ull;
	return &e->by_name[(h >> 32) % ENGINE_BUCKETS];
}

static bool engine_has(struct engine *e, const struct st_req *r)
{
	list_for_each (it, engine_bucket(e, &r->open.topic_id, r->open.partition)) {
		struct st_log *l = list_entry(it, struct st_log, same);
		if (uuid_equal(&l->log->topic_id, &r->open.topic_id) &&
			l->log->partition == r->open.partition)
			return true;
	}
	return false;
}

/* A log that was closed in this run is known better than by the last stop. */
static bool engine_take_mark(struct engine *e, const struct st_req *r, struct eng_mark *out)
{
	for (uint32_t i = 0; i < e->mark_count; i++) {
		struct eng_mark *m = &e->marks[i];
		if (fmt_clean_compare(&m->log.topic_id, m->log.partition, &r->open.topic_id,
			    r->open.partition) == 0) {
			*out = *m;
			*m = e->marks[--e->mark_count];
			return true;
		}
	}
	return false;
}

static void engine_put_mark(struct engine *e, uint16_t dir, const struct fmt_clean_log *log)
{
	if (e->mark_count == e->mark_capacity) {
		uint32_t capacity = e->mark_capacity ? e->mark_capacity * 2 : 64;
		struct eng_mark *p = realloc(e->marks, capacity * sizeof(*p));
		if (!p)
			return; /* the log will be scanned */
		e->marks = p;
		e->mark_capacity = capacity;
	}
	e->marks[e->mark_count++] = (struct eng_mark){.dir = dir, .log = *log};
}

static enum st_err engine_open_log(struct engine *e, struct st_req *r)
{
	struct eng_mark mark;
	if (e->log_count >= e->cfg.max_logs || engine_has(e, r))
		return ST_E_LIMIT;
	struct st_log *l = calloc(1, sizeof(*l));
	if (!l)
		return ST_E_LIMIT;
	bool marked = engine_take_mark(e, r, &mark);
	enum st_err err = log_open(&e->env, r, marked ? &mark.log : NULL, e->now_ms, &l->log);
	if (err != ST_OK) {
		free(l);
		return err;
	}
	list_init(&l->ready);
	list_init(&l->queue);
	list_init(&l->commit);
	list_init(&l->cycle_node);
	list_push_back(&e->logs, &l->node);
	list_push_back(engine_bucket(e, &l->log->topic_id, l->log->partition), &l->same);
	e->log_count++;
	if (r->open.recovered) {
		metric_add(&e->m->recovered_logs_total, 1);
		metric_add(&e->m->cut_bytes_total, r->open.cut_bytes);
	}
	r->log = l;
	return ST_OK;
}

static void engine_forget(struct engine *e, struct st_log *l)
{
	CHECK(list_empty(&l->queue) && list_empty(&l->commit) && l->reads == 0 && !l->in_cycle);
	list_remove(&l->ready);
	list_remove(&l->node);
	list_remove(&l->same);
	e->log_count--;
	free(l);
}

/* Closes l; its mark is kept when it was healthy. */
static bool engine_close_log(struct engine *e, struct st_log *l)
{
	struct fmt_clean_log mark;
	uint16_t dir = l->log->dir;
	bool healthy = eng_log_ok(e, l);
	bool clean = log_close(&e->env, l->log, healthy, &mark);
	if (clean)
		engine_put_mark(e, dir, &mark);
	engine_forget(e, l);
	return clean;
}

/* Requests that leave the log as it is: this engine releases all with the acknowledgement, and has
 * nothing to clean. */
static enum st_err engine_serve_upkeep(const struct st_log *l, struct st_req *r)
{
	switch (r->op) {
	case ST_FILL:
		r->fill.released = (struct st_pos){
			.segment = log_active(l->log)->base_offset,
			.pos = log_active(l->log)->end_pos,
		};
		return ST_OK;
	case ST_RETAIN:
	case ST_CLEAN:
		r->retain.log_start_offset = l->log->log_start_offset;
		r->retain.freed_bytes = 0;
		return ST_OK;
	default:
		return ST_E_LIMIT;
	}
}

static bool engine_is_upkeep(enum st_op op)
{
	return op == ST_FILL || op == ST_TRIM || op == ST_RETAIN || op == ST_CLEAN;
}

/* The request at the head of l's queue, which is not an append. False: it has to wait. */
static bool engine_serve(struct engine *e, struct st_log *l, struct st_req *r)
{
	if (engine_is_upkeep(r->op)) {
		list_remove(&r->node);
		eng_answer(e, r, eng_log_ok(e, l) ? engine_serve_upkeep(l, r) : ST_E_OFFLINE);
		return true;
	}
	if (r->op != ST_TAIL && l->reads > 0)
		return false;
	list_remove(&r->node);
	if (r->op == ST_TAIL) {
		bool ok = eng_log_ok(e, l);
		eng_answer(e, r, ok ? log_tail(&e->env, l->log, r->tail.block) : ST_E_OFFLINE);
		return true;
	}
	CHECK(list_empty(
		&l->queue)); /* whoever closes or deletes a log asks for nothing after it */
	enum st_err err = ST_OK;
	if (r->op == ST_DELETE) {
		err = log_delete(&e->env, l->log);
		engine_forget(e, l);
	} else {
		engine_close_log(e, l);
	}
	r->log = NULL;
	eng_answer(e, r, err);
	return true;
}

void eng_log_queue(struct engine *e, struct st_log *l)
{
	CHECK(!l->in_cycle);
	list_remove(&l->ready);
	if (list_empty(&l->queue))
		return;
	const struct st_req *r = list_entry(list_front(&l->queue), struct st_req, node);
	list_push_back(r->op == ST_APPEND ? &e->ready : &e->chores, &l->ready);
}

/* What stands before the next append of each log that is not in a cycle. */
static void engine_serve_chores(struct engine *e)
{
	struct list chores;
	list_init(&chores);
	list_splice(&chores, &e->chores);
	struct list *n;
	while ((n = list_pop_front(&chores))) {
		struct st_log *l = list_entry(n, struct st_log, ready);
		struct st_req *r = list_entry(list_front(&l->queue), struct st_req, node);
		bool last = r->op == ST_DELETE || r->op == ST_CLOSE;
		if (!engine_serve(e, l, r))
			list_push_back(&e->chores, &l->ready); /* readers first */
		else if (!last)
			eng_log_queue(e, l);
	}
}

static void engine_serve_opens(struct engine *e)
{
	struct list *n;
	bool once = e->ops_out > 0;
	while ((n = list_pop_front(&e->opens))) {
		struct st_req *r = list_entry(n, struct st_req, node);
		enum st_err err;
		if (r->op == ST_OPEN) {
			err = engine_open_log(e, r);
		} else {
			r->log->reads--;
			err = eng_log_ok(e, r->log) ? log_lookup(&e->env, r->log->log, r)
						    : ST_E_OFFLINE;
		}
		eng_answer(e, r, err);
		if (once)
			return;
	}
}

/* --- the public face --------------------------------------------------------------------- */

void engine_request(struct engine *e, struct st_req *r)
{
	e->unanswered++;
	r->err = ST_OK;
	list_init(&r->node);
	if (r->op == ST_OPEN) {
		r->log = NULL;
		list_push_back(&e->opens, &r->node);
		return;
	}
	CHECK(r->log);
	if (r->op == ST_READ || r->op == ST_LOOKUP) {
		r->log->reads++;
		list_push_back(r->op == ST_READ ? &e->waiting : &e->opens, &r->node);
		return;
	}
	list_push_back(&r->log->queue, &r->node);
	if (!r->log->in_cycle && !list_linked(&r->log->ready))
		eng_log_queue(e, r->log);
}

void engine_step(struct engine *e, int64_t now_ms, struct list *done)
{
	e->done = done;
	e->now_ms = now_ms;
	engine_reap(e);
	engine_serve_opens(e);
	reads_run(e);
	do { /* a cycle may end at once, when everything in it is refused */
		cycle_run(e);
		engine_serve_chores(e);
	} while (e->phase == ENG_IDLE && !list_empty(&e->ready));
	eng_count(e);
	e->done = NULL;
}

bool engine_is_idle(const struct engine *e)
{
	return e->unanswered == 0 && e->ops_out == 0;
}

uint32_t engine_in_flight(const struct engine *e)
{
	return e->ops_out;
}

bool engine_close(struct engine *e)
{
	CHECK(engine_is_idle(e));
	bool clean = true;
	list_for_each_safe (it, &e->logs) {
		if (!engine_close_log(e, list_entry(it, struct st_log, node)))
			clean = false;
	}
	eng_count(e);
	return clean;
}

void engine_marks(struct engine *e)
{
	for (uint32_t i = 0; i < e->mark_count; i++)
		if (store_put_clean(e->store, e->marks[i].dir, &e->marks[i].log) < 0)
			return; /* logs without a mark are scanned */
	e->mark_count = 0;
}
