/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/worker/engine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "storage/worker/engine_int.h"

/* --- creation ---------------------------------------------------------------------------- */

size_t engine_staging_size(uint16_t dirs)
{
	return ENGINE_STAGING_PAGES * (size_t)FMT_PAGE + ENGINE_SCRATCH +
	       dirs * (size_t)JRNL_GROUP_MAX;
}

static struct list *engine_bucket(struct engine *e, const struct uuid *topic_id, int32_t partition)
{
	uint64_t lo, hi;
	memcpy(&lo, topic_id->b, sizeof(lo));
	memcpy(&hi, topic_id->b + sizeof(lo), sizeof(hi));
	uint64_t h = (lo ^ hi ^ (uint32_t)partition) * 0x9e3779b97f4a7c15ull;
	return &e->by_name[(h >> 32) % ENGINE_BUCKETS];
}

struct st_log *eng_log_new(struct engine *e, struct eng_lane *lane, struct log *log)
{
	struct st_log *l = calloc(1, sizeof(*l));
	if (!l)
		return NULL;
	l->log = log;
	l->lane = lane;
	list_init(&l->queue);
	list_init(&l->ready);
	list_init(&l->commit);
	list_init(&l->cycle_node);
	list_init(&l->fill_node);
	list_init(&l->fill_waits);
	list_init(&l->drop_node);
	lane->log_count++;
	list_push_back(&lane->logs, &l->node);
	list_push_back(engine_bucket(e, &log->topic_id, log->partition), &l->same);
	return l;
}

void eng_log_free(struct engine *e, struct st_log *l)
{
	struct eng_lane *lane = l->lane;
	CHECK(l->reads == 0 && !l->in_cycle && !log_is_busy(l));
	if (lane->ckpt_cursor == &l->node)
		lane->ckpt_cursor = l->node.next;
	lane->log_count--;
	list_remove(&l->node);
	list_remove(&l->same);
	list_remove(&l->ready);
	list_remove(&l->fill_node);
	list_remove(&l->drop_node);
	log_free(&e->env, l->log);
	free(l);
}

static bool lane_init(struct engine *e, struct eng_lane *lane, uint16_t dir, uint8_t *group_buf)
{
	lane->engine = e;
	lane->dir = dir;
	lane->st = store_lane_of(e->store, dir, e->cfg.worker);
	lane->group_buf = group_buf;
	list_init(&lane->logs);
	list_init(&lane->ready);
	list_init(&lane->chores);
	list_init(&lane->entries);
	list_init(&lane->cycle);
	list_init(&lane->committing);
	list_init(&lane->fill);
	list_init(&lane->drops);
	lane->feed = &lane->cycle;
	lane->ckpt_cursor = &lane->logs;
	lane->clean = lane->st->clean;
	metric_add(&e->m->played_bytes_total, lane->st->played_bytes);
	while (lane->st->log_count > 0) {
		struct log *log = lane->st->logs[lane->st->log_count - 1];
		struct st_log *l = eng_log_new(e, lane, log);
		if (!l)
			return false;
		lane->st->log_count--;
		l->committed = true;
		if (segment_pending(log->segments[0]) > 0 && log->segment_count > 1)
			fill_note(e, l);
	}
	if (store_is_offline(e->store, dir))
		return true;
	char name[FMT_NAME_SIZE], path[IO_PATH_MAX];
	fmt_jrnl_name(name, e->cfg.worker);
	snprintf(path, sizeof(path), "%s/%s", store_dir_path(e->store, dir), name);
	lane->reaches = e->io->api->flush_reaches(e->io, store_dir_path(e->store, dir));
	int rc = e->io->api->open(e->io, path, IO_DIRECT, &lane->journal);
	if (rc < 0)
		eng_lane_failed(e, lane, rc, "opening the journal");
	return true;
}

static bool engine_alloc(struct engine *e)
{
	uint16_t dirs = store_dir_count(e->store);
	uint8_t *staging = e->cfg.staging;
	if (!staging)
		staging = e->own_staging = aligned_alloc(FMT_PAGE, engine_staging_size(dirs));
	e->ops = calloc(ENGINE_OPS, sizeof(*e->ops));
	e->reads = calloc(ENGINE_READS, sizeof(*e->reads));
	e->lanes = calloc(dirs, sizeof(*e->lanes));
	if (!staging || !e->ops || !e->reads || !e->lanes)
		return false;
	for (uint32_t i = 0; i < ENGINE_STAGING_PAGES; i++, staging += FMT_PAGE)
		e->pages[e->page_count++] = staging;
	log_env_init(&e->env, e->io, e->store, staging);
	staging += ENGINE_SCRATCH;
	for (uint32_t i = 0; i < ENGINE_OPS; i++)
		list_push_back(&e->free_ops, &e->ops[i].node);
	for (uint32_t i = 0; i < ENGINE_READS; i++)
		list_push_back(&e->free_reads, &e->reads[i].node);
	for (uint16_t i = 0; i < dirs; i++, staging += JRNL_GROUP_MAX) {
		e->lane_count++;
		if (!lane_init(e, &e->lanes[i], i, staging))
			return false;
	}
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
	for (uint32_t i = 0; i < ENGINE_BUCKETS; i++)
		list_init(&e->by_name[i]);
	list_init(&e->opens);
	list_init(&e->free_ops);
	list_init(&e->free_reads);
	list_init(&e->reading);
	list_init(&e->waiting);
	list_init(&e->cleaner.waiting);
	if (!engine_alloc(e)) {
		engine_destroy(e);
		return NULL;
	}
	return e;
}

static void lane_destroy(struct engine *e, struct eng_lane *lane)
{
	list_for_each_safe (it, &lane->logs) {
		struct st_log *l = list_entry(it, struct st_log, node);
		l->reads = l->fill_ops = l->flush_ops = 0; /* whoever used it is gone */
		l->in_cycle = false;
		if (l->names_file)
			e->io->api->close(e->io, l->names_file);
		eng_log_free(e, l);
	}
	if (lane->journal)
		e->io->api->close(e->io, lane->journal);
	if (lane->slot)
		e->io->api->close(e->io, lane->slot);
	free(lane->snapshot);
	free(lane->dead);
}

void engine_destroy(struct engine *e)
{
	if (!e)
		return;
	for (uint32_t i = 0; i < ENGINE_OPS && e->ops; i++)
		if (e->ops[i].closes)
			e->io->api->close(e->io, e->ops[i].io.file);
	for (uint16_t i = 0; i < e->lane_count; i++)
		lane_destroy(e, &e->lanes[i]);
	clean_fini(e);
	log_env_fini(&e->env);
	free(e->own_staging);
	free(e->zeros);
	free(e->ops);
	free(e->reads);
	free(e->lanes);
	free(e);
}

/* --- operations -------------------------------------------------------------------------- */

bool eng_may_start(const struct engine *e, enum eng_use use)
{
	static const uint32_t most[] = {
		[ENG_COMMIT] = ENGINE_OPS,
		[ENG_FILL] = ENGINE_FILL_OPS,
		[ENG_CKPT] = ENGINE_CKPT_OPS,
		[ENG_ZERO] = 1,
		[ENG_ROOM] = ENGINE_ROOM_OPS,
		[ENG_READ] = ENGINE_READ_OPS,
	};
	return !list_empty((struct list *)&e->free_ops) && e->used[use] < most[use];
}

struct eng_op *eng_op_get(struct engine *e, struct eng_lane *lane, enum eng_use use)
{
	struct list *n = list_pop_front(&e->free_ops);
	CHECK(n);
	struct eng_op *op = list_entry(n, struct eng_op, node);
	op->io = (struct io_op){0};
	list_init(&op->node);
	op->use = use;
	op->lane = lane;
	op->log = NULL;
	op->segment = NULL;
	op->read = NULL;
	op->page = NULL;
	op->closes = false;
	op->retries = 0;
	op->piece_count = 0;
	e->used[use]++;
	return op;
}

void eng_op_put(struct engine *e, struct eng_op *op)
{
	if (op->page)
		e->pages[e->page_count++] = op->page;
	if (op->closes)
		e->io->api->close(e->io, op->io.file);
	op->page = NULL;
	op->closes = false;
	e->used[op->use]--;
	list_push_front(&e->free_ops, &op->node);
}

static void eng_op_submit(struct engine *e, struct eng_op *op)
{
	op->io.user = op;
	op->io.result = 0;
	op->io.took_ns = 0;
	list_init(&op->io.node);
	e->ops_out++;
	e->io->api->submit(e->io, &op->io);
}

static void eng_op_count(struct engine *e, const struct eng_op *op)
{
	if (op->io.kind == IO_WRITE)
		metric_add(&e->m->written_bytes_total, op->io.len);
	if (op->io.kind == IO_FDATASYNC || op->io.kind == IO_FSYNC)
		metric_add(&e->m->flushes_total, 1);
}

void eng_op_start(struct engine *e, struct eng_op *op, enum io_kind kind, struct io_file *f,
	void *buf, uint64_t off, uint64_t len)
{
	op->io.kind = kind;
	op->io.file = f;
	op->io.buf = buf;
	op->io.off = off;
	op->io.len = len;
	eng_op_count(e, op);
	eng_op_submit(e, op);
}

bool eng_op_add(struct eng_op *op, void *p, uint64_t len)
{
	struct iovec *last = op->pieces + op->piece_count - 1;
	if (op->piece_count > 0 && (uint8_t *)last->iov_base + last->iov_len == p) {
		last->iov_len += len;
		return true;
	}
	if (op->piece_count == IO_VEC_MAX)
		return false;
	op->pieces[op->piece_count++] = (struct iovec){.iov_base = p, .iov_len = len};
	return true;
}

void eng_op_start_run(
	struct engine *e, struct eng_op *op, enum io_kind kind, struct io_file *f, uint64_t off)
{
	op->io.kind = kind;
	op->io.file = f;
	op->io.buf = op->pieces[0].iov_base;
	op->io.vec = op->pieces;
	op->io.vec_count = op->piece_count > 1 ? op->piece_count : 0;
	op->io.off = off;
	op->io.len = 0;
	for (uint32_t i = 0; i < op->piece_count; i++)
		op->io.len += op->pieces[i].iov_len;
	eng_op_count(e, op);
	eng_op_submit(e, op);
}

/* The first n bytes have been moved. */
static void eng_op_advance(struct eng_op *op, uint64_t n)
{
	struct io_op *io = &op->io;
	io->off += n;
	io->len -= n;
	if (io->vec_count == 0) {
		io->buf = (uint8_t *)io->buf + n;
		return;
	}
	struct iovec *v = op->pieces + (io->vec - op->pieces);
	for (; n >= v->iov_len && n > 0; io->vec_count--)
		n -= v++->iov_len;
	v->iov_base = (uint8_t *)v->iov_base + n;
	v->iov_len -= n;
	io->vec = v;
}

/*
 * True when the operation had to be submitted once more: the rest of a short transfer, or all of it
 * when the kernel says "again" (some filesystems do without having been asked not to wait). A flush
 * is never asked for again.
 */
static bool eng_op_goes_on(struct engine *e, struct eng_op *op)
{
	struct io_op *io = &op->io;
	bool moves = io->kind == IO_READ || io->kind == IO_WRITE;
	bool again = io->result == -EAGAIN || io->result == -EINTR;
	if (again && (moves || io->kind == IO_FALLOCATE)) {
		if (op->retries++ >= ENGINE_OP_RETRIES)
			return false;
	} else if (moves && io->result > 0 && (uint64_t)io->result < io->len) {
		uint64_t n = align_down((uint64_t)io->result, (uint64_t)IO_SECTOR);
		if (n == 0 && op->retries++ >= ENGINE_OP_RETRIES)
			return false;
		eng_op_advance(op, n);
	} else {
		return false;
	}
	eng_op_submit(e, op);
	return true;
}

static void engine_reap(struct engine *e)
{
	static void (*const handlers[])(struct engine *, struct eng_op *) = {
		[ENG_COMMIT] = cycle_op_done,
		[ENG_FILL] = fill_op_done,
		[ENG_CKPT] = ckpt_op_done,
		[ENG_ZERO] = zero_op_done,
		[ENG_ROOM] = room_op_done,
		[ENG_READ] = reads_op_done,
	};
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
		handlers[op->use](e, op);
	}
}

/* --- answers and failures ---------------------------------------------------------------- */

void eng_answer(struct engine *e, struct st_req *r, enum st_err err)
{
	CHECK(e->unanswered > 0);
	e->unanswered--;
	r->err = err;
	list_push_back(e->done, &r->node);
}

bool eng_lane_ok(const struct engine *e, const struct eng_lane *lane)
{
	return !store_is_offline(e->store, lane->dir);
}

bool eng_log_ok(const struct engine *e, const struct st_log *l)
{
	return l->state == ENG_LOG_OPEN && eng_lane_ok(e, l->lane);
}

void eng_lane_failed(struct engine *e, struct eng_lane *lane, int64_t rc, const char *what)
{
	metric_add(&e->m->io_errors_total, 1);
	if (eng_lane_ok(e, lane))
		log_error("storage", "%s failed: %s; log directory %s goes offline", what,
			strerror((int)-rc), store_dir_path(e->store, lane->dir));
	store_set_offline(e->store, lane->dir);
}

void eng_lane_no_space(struct engine *e, struct eng_lane *lane)
{
	list_for_each (it, &lane->logs)
		spare_drop(&e->env, list_entry(it, struct st_log, node)->log);
}

static void engine_count(struct engine *e)
{
	metric_add(&e->m->flushes_total, e->env.flushes);
	metric_add(&e->m->io_errors_total, e->env.io_errors);
	metric_add(&e->m->corrupt_blocks_total, e->env.corrupt_blocks);
	metric_add(&e->m->recycled_total, e->env.recycled);
	e->env.flushes = e->env.io_errors = e->env.corrupt_blocks = e->env.recycled = 0;
	metric_set(&e->m->logs_open, e->open_count);
	uint64_t offline = 0, used = 0, ring = 0;
	for (uint16_t i = 0; i < e->lane_count; i++) {
		const struct store_lane *st = e->lanes[i].st;
		offline += store_is_offline(e->store, i);
		used += st->head - st->tail;
		ring += st->ring_bytes;
	}
	metric_set(&e->m->offline_dirs, offline);
	metric_set(&e->m->journal_used_bytes, used);
	metric_set(&e->m->journal_bytes, ring);
}

/* --- requests ---------------------------------------------------------------------------- */

static struct st_log *engine_find(struct engine *e, const struct st_req *r)
{
	list_for_each (it, engine_bucket(e, &r->open.topic_id, r->open.partition)) {
		struct st_log *l = list_entry(it, struct st_log, same);
		if (l->state != ENG_LOG_GONE && uuid_equal(&l->log->topic_id, &r->open.topic_id) &&
			l->log->partition == r->open.partition)
			return l;
	}
	return NULL;
}

/* For a new log: the directory that has the fewest. */
static struct eng_lane *engine_pick_lane(struct engine *e)
{
	struct eng_lane *best = NULL;
	uint32_t least = UINT32_MAX;
	for (uint16_t i = 0; i < e->lane_count; i++) {
		struct eng_lane *lane = &e->lanes[i];
		if (!eng_lane_ok(e, lane))
			return NULL; /* the log may well exist there */
		if (lane->log_count < least) {
			least = lane->log_count;
			best = lane;
		}
	}
	return best;
}

/* What the asker learns of an open log. */
static void engine_describe(const struct st_log *l, struct st_req *r)
{
	const struct segment *s = log_active(l->log);
	r->log = (struct st_log *)l;
	r->open.dir = l->lane->dir;
	r->open.log_start_offset = l->log->log_start_offset;
	r->open.log_end_offset = s->end_offset;
	r->open.segment = s->base_offset;
	r->open.segment_pos = s->end_pos;
	r->open.segment_created_ms = s->created_ms;
	r->open.max_timestamp = max_of(s->max_timestamp, l->log->older_max_timestamp);
	r->open.leader_epoch = s->leader_epoch;
	r->open.recovered = !l->lane->st->clean;
	r->open.cut_bytes = 0;
	r->open.damaged = l->log->damaged;
}

/* A new log gets its number, and an entry in the journal. */
static enum st_err engine_create_log(struct engine *e, struct st_req *r)
{
	struct eng_lane *lane = engine_pick_lane(e);
	if (!lane)
		return ST_E_OFFLINE;
	struct log *log = log_new(lane->dir, &r->open.topic_id, r->open.partition, r->open.topic,
		lane->st->next_log, 0);
	struct st_log *l = log ? eng_log_new(e, lane, log) : NULL;
	if (!l) {
		log_free(&e->env, log);
		return ST_E_LIMIT;
	}
	lane->st->next_log++;
	log_active(log)->created_ms = e->now_ms;
	l->opened = true;
	e->open_count++;
	engine_describe(l, r);
	list_push_back(&lane->entries, &r->node);
	return ST_OK;
}

/* False: it waits for its journal entry. */
static bool engine_open_log(struct engine *e, struct st_req *r, enum st_err *err)
{
	struct st_log *l = engine_find(e, r);
	*err = ST_OK;
	if (e->open_count >= e->cfg.max_logs || (l && l->opened)) {
		*err = ST_E_LIMIT;
	} else if (l && !eng_log_ok(e, l)) {
		*err = ST_E_OFFLINE;
	} else if (l) {
		l->opened = true;
		e->open_count++;
		engine_describe(l, r);
	} else if (!r->open.create) {
		*err = store_any_offline(e->store) ? ST_E_OFFLINE : ST_E_NOT_FOUND;
	} else {
		*err = engine_create_log(e, r);
		return *err != ST_OK;
	}
	return true;
}

static void engine_serve_opens(struct engine *e)
{
	struct list *n;
	bool once = false;
	while (!once && (n = list_pop_front(&e->opens))) {
		struct st_req *r = eng_req(n);
		enum st_err err;
		if (r->op == ST_OPEN) {
			if (engine_open_log(e, r, &err))
				eng_answer(e, r, err);
			continue;
		}
		r->log->reads--;
		once = e->ops_out > 0; /* it reads while others wait */
		struct st_log *l = r->log;
		if (!eng_log_ok(e, l))
			err = ST_E_OFFLINE;
		else if (r->op == ST_NOTE)
			err = log_note(&e->env, l->log, r);
		else if (r->op == ST_SIZE)
			err = log_size(&e->env, l->log, r);
		else
			err = log_lookup(&e->env, l->log, r);
		eng_answer(e, r, err);
		fill_settle(e, l);
	}
}

void eng_log_queue(struct st_log *l)
{
	CHECK(!l->in_cycle);
	list_remove(&l->ready);
	if (list_empty(&l->queue))
		return;
	const struct st_req *r = eng_req(list_front(&l->queue));
	list_push_back(r->op == ST_APPEND ? &l->lane->ready : &l->lane->chores, &l->ready);
}

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
	CHECK(r->log && r->log->opened);
	if (r->op == ST_READ || r->op == ST_LOOKUP || r->op == ST_NOTE || r->op == ST_SIZE) {
		r->log->reads++;
		list_push_back(r->op == ST_READ ? &e->waiting : &e->opens, &r->node);
		return;
	}
	list_push_back(&r->log->queue, &r->node);
	if (!r->log->in_cycle && !list_linked(&r->log->ready))
		eng_log_queue(r->log);
}

/* --- steps ------------------------------------------------------------------------------- */

static void lane_run(struct engine *e, struct eng_lane *lane)
{
	do { /* a cycle may end at once, when everything in it is refused */
		chores_run(e, lane);
		cycle_run(e, lane);
	} while (lane->phase == ENG_IDLE && !lane->full && !lane->waits_for_fill &&
		 (!list_empty(&lane->ready) || !list_empty(&lane->entries)));
}

void engine_step(struct engine *e, int64_t now_ms, struct list *done)
{
	e->done = done;
	e->now_ms = now_ms;
	engine_reap(e);
	engine_serve_opens(e);
	reads_run(e);
	for (uint16_t i = 0; i < e->lane_count; i++) {
		struct eng_lane *lane = &e->lanes[i];
		uint64_t tail;
		do { /* a checkpoint that ends makes room, and another one may be due at once */
			tail = lane->st->tail;
			lane_run(e, lane);
			ckpt_run(e, lane);
		} while (lane->st->tail != tail);
		zero_run(e, lane);
		fill_run(e, lane);
		chores_sweep(e, lane);
	}
	clean_run(e);
	engine_count(e);
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

uint32_t engine_wait_ms(const struct engine *e)
{
	uint32_t wait = UINT32_MAX;
	if (clean_is_active(e))
		return 1;
	for (uint16_t i = 0; i < e->lane_count; i++) {
		const struct eng_lane *lane = &e->lanes[i];
		if (!eng_lane_ok(e, lane))
			continue;
		if (lane->dead_count > 0)
			return 1;
		if (!list_empty((struct list *)&lane->drops))
			wait = min_of(wait, DROP_RETRY_MS);
		if (lane->ckpt_retry_ms > 0 || !list_empty((struct list *)&lane->fill))
			return NOSPACE_RETRY_MS;
		if (lane->ckpt == CKPT_IDLE && lane->st->head != lane->st->tail)
			wait = min_of(wait, lane->ckpt_wanted ? CKPT_WANTED_MS : CKPT_EVERY_MS);
	}
	return wait == UINT32_MAX ? 0 : wait;
}

void engine_stop(struct engine *e)
{
	CHECK(e->unanswered == 0);
	e->stopping = true;
	for (uint16_t i = 0; i < e->lane_count; i++)
		list_for_each (it, &e->lanes[i].logs)
			fill_note(e, list_entry(it, struct st_log, node));
}

bool engine_is_stopped(const struct engine *e)
{
	if (!e->stopping || e->ops_out > 0)
		return false;
	for (uint16_t i = 0; i < e->lane_count; i++)
		if (eng_lane_ok(e, &e->lanes[i]) && !e->lanes[i].clean)
			return false;
	return true;
}

bool engine_is_clean(const struct engine *e)
{
	for (uint16_t i = 0; i < e->lane_count; i++)
		if (!eng_lane_ok(e, &e->lanes[i]) || !e->lanes[i].clean)
			return false;
	return true;
}

void engine_check(const struct engine *e)
{
	for (uint16_t i = 0; i < e->lane_count; i++) {
		const struct eng_lane *lane = &e->lanes[i];
		uint32_t waiting = 0;
		CHECK(lane->st->tail <= lane->st->head);
		CHECK(lane->st->head - lane->st->tail <= lane->st->ring_bytes);
		list_for_each (it, &lane->logs) {
			const struct st_log *l = list_entry(it, struct st_log, node);
			log_check(l->log);
			waiting += l->ckpt_waits;
		}
		CHECK(waiting == lane->ckpt_waiting);
	}
}
