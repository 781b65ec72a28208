/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checkpoints. A snapshot of all logs of the lane is taken between two cycles, and says of each
 * that its whole pages are in its segment. Then that is made true, and durable; then the snapshot
 * is written to the older one of two slots, and flushed. Only then is the journal before the
 * snapshot free.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "storage/worker/engine_int.h"

/* --- the snapshot ------------------------------------------------------------------------ */

/* *count: of logs that belong into a snapshot. */
static uint64_t snapshot_measure(const struct eng_lane *lane, uint32_t *count)
{
	uint64_t size = sizeof(struct fmt_ckpt);
	*count = 0;
	list_for_each (it, &lane->logs) {
		const struct st_log *l = list_entry(it, struct st_log, node);
		struct fmt_ckpt_log r;
		if (!l->committed)
			continue;
		log_describe(l->log, &r);
		size += ckpt_log_size(&r);
		++*count;
	}
	return size;
}

static uint8_t *snapshot_put(uint8_t *at, const struct st_log *l)
{
	const struct segment *s = log_active(l->log);
	struct fmt_ckpt_log r;
	log_describe(l->log, &r);
	uint8_t *tail = ckpt_put(at, &r, l->log->topic, l->log->epochs,
		s->blocks ? s->blocks + r.first_block : NULL, NULL);
	if (r.end_pos > r.fill_pos && r.fill_pos >= s->fill_pos)
		segment_copy_pending(s, r.fill_pos, tail, (size_t)(r.end_pos - r.fill_pos));
	return at + ckpt_log_size(&r);
}

/* Which logs have to be filled before the snapshot is true. */
static void snapshot_expect(struct engine *e, struct eng_lane *lane)
{
	list_for_each (it, &lane->logs) {
		struct st_log *l = list_entry(it, struct st_log, node);
		const struct segment *s = log_active(l->log);
		l->ckpt_segment = s->base_offset;
		l->ckpt_fill = align_down(s->end_pos, (uint64_t)FMT_PAGE);
		l->ckpt_waits = true;
		lane->ckpt_waiting++;
		ckpt_note_fill(l);
		if (l->ckpt_waits)
			fill_note(e, l);
	}
}

static bool snapshot_take(struct engine *e, struct eng_lane *lane)
{
	uint32_t count;
	uint64_t length = snapshot_measure(lane, &count);
	lane->snapshot_size = align_up(length, (uint64_t)FMT_PAGE);
	lane->snapshot = aligned_alloc(FMT_PAGE, (size_t)lane->snapshot_size);
	if (!lane->snapshot)
		return false;
	struct fmt_ckpt c = {
		.dir_id = *store_dir_id(e->store, lane->dir),
		.journal_id = lane->st->journal_id,
		.seq = lane->st->ckpt_seq + 1,
		.journal_pos = lane->st->head,
		.journal_seq = lane->st->seq,
		.worker = e->cfg.worker,
		.workers = store_workers(e->store),
		.next_log = lane->st->next_log,
		.count = count,
		.flags = e->stopping ? CKPT_CLEAN : 0,
	};
	uint8_t *at = lane->snapshot + sizeof(c);
	list_for_each (it, &lane->logs) {
		const struct st_log *l = list_entry(it, struct st_log, node);
		if (l->committed)
			at = snapshot_put(at, l);
	}
	CHECK(at == lane->snapshot + length);
	memset(at, 0, (size_t)(lane->snapshot_size - length));
	memcpy(lane->snapshot, &c, sizeof(c));
	fmt_seal(lane->snapshot, length, FMT_CKPT_MAGIC);
	lane->snapshot_pos = lane->st->head;
	lane->snapshot_fed = 0;
	return true;
}

/* --- beginning --------------------------------------------------------------------------- */

/* A deleted log, whose last writes are under way, still has its name: that goes first. */
static bool ckpt_is_held_up(const struct eng_lane *lane)
{
	list_for_each (it, &lane->logs)
		if (list_entry(it, struct st_log, node)->state == ENG_LOG_GONE)
			return true;
	return false;
}

static bool ckpt_is_due(const struct engine *e, const struct eng_lane *lane)
{
	const struct store_lane *st = lane->st;
	if (e->stopping)
		return !lane->clean;
	if (lane->full || st->head - st->tail >= st->ring_bytes / 2)
		return true;
	/* Not for room: segments behind a checkpoint may be removed or compacted, and a start has
	 * less to play. */
	int64_t age_ms = e->now_ms - lane->ckpt_ms;
	return st->head != st->tail &&
	       (age_ms >= CKPT_EVERY_MS || (lane->ckpt_wanted && age_ms >= CKPT_WANTED_MS));
}

void ckpt_begin_if_due(struct engine *e, struct eng_lane *lane)
{
	if (lane->ckpt != CKPT_IDLE || lane->phase != ENG_IDLE || !eng_lane_ok(e, lane) ||
		!ckpt_is_due(e, lane) || lane->ckpt_retry_ms > e->now_ms || ckpt_is_held_up(lane))
		return;
	lane->ckpt_retry_ms = 0;
	lane->ckpt_err = ST_OK;
	lane->ckpt_ms = e->now_ms;
	lane->ckpt_wanted = false;
	if (!snapshot_take(e, lane)) {
		lane->ckpt_retry_ms = e->now_ms + NOSPACE_RETRY_MS;
		return;
	}
	metric_add(&e->m->checkpoints_total, 1);
	lane->ckpt = CKPT_FILL;
	snapshot_expect(e, lane);
}

/* --- filling ----------------------------------------------------------------------------- */

static bool ckpt_is_filled(const struct st_log *l)
{
	if (l->state == ENG_LOG_GONE)
		return true;
	for (uint32_t i = 0; i < l->log->segment_count; i++) {
		const struct segment *s = l->log->segments[i];
		if (s->base_offset == l->ckpt_segment)
			return s->fill_pos >= l->ckpt_fill;
		if (!s->sealed)
			return false;
	}
	return true; /* it has been removed already */
}

void ckpt_note_fill(struct st_log *l)
{
	if (!l->ckpt_waits || !ckpt_is_filled(l))
		return;
	l->ckpt_waits = false;
	CHECK(l->lane->ckpt_waiting > 0);
	l->lane->ckpt_waiting--;
}

/* --- flushing ---------------------------------------------------------------------------- */

static void ckpt_flush(
	struct engine *e, struct eng_lane *lane, struct io_file *f, enum io_kind kind, bool closes)
{
	struct eng_op *op = eng_op_get(e, lane, ENG_CKPT);
	op->closes = closes;
	lane->ckpt_ops++;
	eng_op_start(e, op, kind, f, NULL, 0, 0);
}

/* Flushes the names in a directory. 0 or -errno. */
static int ckpt_flush_dir(struct engine *e, struct eng_lane *lane, const char *path)
{
	struct io_file *f;
	int rc = e->io->api->open(e->io, path, IO_DIR | IO_RDONLY, &f);
	if (rc == 0)
		ckpt_flush(e, lane, f, IO_FSYNC, true);
	return rc;
}

static void ckpt_failed(struct engine *e, struct eng_lane *lane, int64_t rc)
{
	if (is_no_space(rc) || rc == -EMFILE || rc == -ENFILE || rc == -ENOMEM) {
		lane->ckpt_err = ST_E_NOSPACE;
		return;
	}
	lane->ckpt_err = ST_E_IO;
	eng_lane_failed(e, lane, rc, "a checkpoint");
}

/* Flushes a file of a segment, which stays open until that is done. */
static void ckpt_flush_segment(
	struct engine *e, struct st_log *l, struct segment *s, struct io_file *f, bool closes)
{
	struct eng_op *op = eng_op_get(e, l->lane, ENG_CKPT);
	op->log = l;
	op->segment = s;
	op->closes = closes;
	s->reads++;
	l->flush_ops++;
	l->lane->ckpt_ops++;
	eng_op_start(e, op, IO_FDATASYNC, f, NULL, 0, 0);
}

/* Submits one flush that the log wants. False: it wants none any more. */
static bool ckpt_flush_log(struct engine *e, struct eng_lane *lane, struct st_log *l)
{
	struct log *log = l->log;
	for (uint32_t i = 0; i < log->segment_count; i++) {
		struct segment *s = log->segments[i];
		if (s->file_dirty && s->file) {
			s->file_dirty = false;
			ckpt_flush_segment(e, l, s, s->file, false);
			return true;
		}
		if (s->index_dirty && s->index_file) {
			s->index_dirty = false;
			ckpt_flush_segment(e, l, s, s->index_file, s->sealed);
			if (s->sealed)
				s->index_file = NULL; /* closed when it is flushed */
			return true;
		}
	}
	if (log->meta_file) {
		ckpt_flush(e, lane, log->meta_file, IO_FDATASYNC, true);
		log->meta_file = NULL;
		return true;
	}
	if (!log->names_dirty)
		return false;
	char path[IO_PATH_MAX];
	log_path(&e->env, log, path);
	log->names_dirty = false;
	log->names_flushing = true;
	lane->names_dirty = true;
	int rc = ckpt_flush_dir(e, lane, path);
	if (rc < 0)
		ckpt_failed(e, lane, rc);
	return rc == 0;
}

/* True when all flushes have been submitted. */
static bool ckpt_feed_sync(struct engine *e, struct eng_lane *lane)
{
	while (lane->ckpt_cursor != &lane->logs && lane->ckpt_err == ST_OK) {
		struct st_log *l = list_entry(lane->ckpt_cursor, struct st_log, node);
		if (!eng_may_start(e, ENG_CKPT))
			return false;
		if (l->state == ENG_LOG_GONE || !ckpt_flush_log(e, lane, l))
			lane->ckpt_cursor = lane->ckpt_cursor->next;
	}
	if (!lane->names_dirty || lane->ckpt_err != ST_OK)
		return true;
	if (!eng_may_start(e, ENG_CKPT))
		return false;
	int rc = ckpt_flush_dir(e, lane, store_dir_path(e->store, lane->dir));
	lane->names_dirty = rc < 0;
	if (rc < 0)
		ckpt_failed(e, lane, rc);
	return true;
}

/* --- the slot ---------------------------------------------------------------------------- */

static void ckpt_open_slot(struct engine *e, struct eng_lane *lane)
{
	char name[FMT_NAME_SIZE], path[IO_PATH_MAX];
	fmt_ckpt_name(name, e->cfg.worker, 1 - lane->st->ckpt_slot);
	snprintf(path, sizeof(path), "%s/%s", store_dir_path(e->store, lane->dir), name);
	int rc = e->io->api->open(e->io, path, IO_DIRECT | IO_CREATE, &lane->slot);
	if (rc < 0)
		ckpt_failed(e, lane, rc);
	if (lane->st->ckpt_seq == 1) /* its first use makes a name */
		lane->names_dirty = true;
}

static bool ckpt_feed_slot(struct engine *e, struct eng_lane *lane)
{
	while (lane->snapshot_fed < lane->snapshot_size && lane->ckpt_err == ST_OK) {
		if (!eng_may_start(e, ENG_CKPT))
			return false;
		uint64_t n = min_of(
			lane->snapshot_size - lane->snapshot_fed, (uint64_t)ENGINE_WRITE_MAX);
		struct eng_op *op = eng_op_get(e, lane, ENG_CKPT);
		lane->ckpt_ops++;
		eng_op_start(e, op, IO_WRITE, lane->slot, lane->snapshot + lane->snapshot_fed,
			lane->snapshot_fed, n);
		lane->snapshot_fed += n;
	}
	return true;
}

static bool ckpt_feed_install(struct engine *e, struct eng_lane *lane)
{
	if (!eng_may_start(e, ENG_CKPT))
		return false;
	ckpt_flush(e, lane, lane->slot, IO_FDATASYNC, false);
	return true;
}

static void ckpt_end(struct engine *e, struct eng_lane *lane)
{
	struct store_lane *st = lane->st;
	if (lane->slot)
		e->io->api->close(e->io, lane->slot);
	lane->slot = NULL;
	bool installed = lane->ckpt_err == ST_OK && eng_lane_ok(e, lane);
	if (installed) {
		const struct fmt_ckpt *c = (const void *)lane->snapshot;
		st->tail = lane->snapshot_pos;
		st->holed = false;
		st->ckpt_seq++;
		st->ckpt_slot = 1 - st->ckpt_slot;
		lane->direct_bytes = 0;
		lane->clean = (c->flags & CKPT_CLEAN) && st->head == st->tail;
	} else {
		lane->ckpt_retry_ms = e->now_ms + NOSPACE_RETRY_MS;
	}
	free(lane->snapshot);
	lane->snapshot = NULL;
	lane->ckpt = CKPT_IDLE;
	list_for_each (it, &lane->logs) {
		struct st_log *l = list_entry(it, struct st_log, node);
		l->ckpt_waits = false;
		if (installed)
			l->log->checkpoint_segment = l->ckpt_segment;
		else if (l->log->names_flushing)
			l->log->names_dirty = lane->names_dirty = true;
		l->log->names_flushing = false;
		for (uint32_t i = 0; i < l->log->segment_count; i++) {
			struct segment *s = l->log->segments[i];
			if (s->sealed && !s->file_dirty && !s->index_dirty && s->file)
				segment_rest(&e->env, s);
		}
	}
	lane->ckpt_waiting = 0;
}

/* --- running ----------------------------------------------------------------------------- */

static void ckpt_op_failed(struct engine *e, struct eng_lane *lane, enum io_kind kind, int64_t rc)
{
	if (kind == IO_WRITE) {
		ckpt_failed(e, lane, rc);
		return;
	}
	lane->ckpt_err = ST_E_IO; /* a flush that failed is never tried again */
	eng_lane_failed(e, lane, rc, "a flush");
}

void ckpt_op_done(struct engine *e, struct eng_op *op)
{
	struct eng_lane *lane = op->lane;
	int64_t rc = op->io.result;
	enum io_kind kind = op->io.kind;
	CHECK(lane->ckpt_ops > 0);
	lane->ckpt_ops--;
	struct st_log *l = op->log;
	if (l) {
		op->segment->reads--;
		l->flush_ops--;
	}
	eng_op_put(e, op);
	if (rc < 0)
		ckpt_op_failed(e, lane, kind, rc);
	if (l)
		fill_settle(e, l);
}
static void ckpt_advance(struct engine *e, struct eng_lane *lane)
{
	switch (lane->ckpt) {
	case CKPT_FILL:
		lane->ckpt = CKPT_SYNC;
		lane->ckpt_cursor = lane->logs.next;
		ckpt_open_slot(e, lane);
		return;
	case CKPT_SYNC:
		lane->ckpt = CKPT_SLOT;
		return;
	case CKPT_SLOT:
		lane->ckpt = CKPT_INSTALL;
		lane->install_fed = false;
		return;
	case CKPT_INSTALL:
	case CKPT_IDLE:
		ckpt_end(e, lane);
	}
}

static bool ckpt_feed(struct engine *e, struct eng_lane *lane)
{
	switch (lane->ckpt) {
	case CKPT_FILL:
		return lane->ckpt_waiting == 0;
	case CKPT_SYNC:
		return ckpt_feed_sync(e, lane);
	case CKPT_SLOT:
		return ckpt_feed_slot(e, lane);
	case CKPT_INSTALL:
		if (!lane->install_fed)
			lane->install_fed = ckpt_feed_install(e, lane);
		return lane->install_fed;
	case CKPT_IDLE:
		break;
	}
	return true;
}

void ckpt_run(struct engine *e, struct eng_lane *lane)
{
	ckpt_begin_if_due(e, lane);
	while (lane->ckpt != CKPT_IDLE) {
		if (!eng_lane_ok(e, lane))
			lane->ckpt_err = ST_E_IO;
		bool fed = lane->ckpt_err != ST_OK || ckpt_feed(e, lane);
		if (!fed || lane->ckpt_ops > 0)
			return;
		if (lane->ckpt_err != ST_OK)
			ckpt_end(e, lane);
		else
			ckpt_advance(e, lane);
	}
}
