/* SPDX-License-Identifier: Apache-2.0 */
/* Cold reads: into the askers' blocks, beside the commit cycles. */
#include "base/check.h"
#include "base/log.h"
#include "storage/worker/engine_int.h"

#define READ_MAX (1024u * 1024u) /* bytes in one operation */

static void read_rewind(struct eng_read *d)
{
	d->feed_block = d->req->read.blocks;
	d->feed_pos = d->plan.start;
	d->err = ST_OK;
}

static void read_start(struct engine *e, struct st_req *r)
{
	struct st_log *l = r->log;
	struct read_plan plan;
	enum st_err err =
		eng_log_ok(e, l) ? log_read_plan(&e->env, l->log, r, &plan) : ST_E_OFFLINE;
	metric_add(&e->m->reads_total, 1);
	if (err != ST_OK) {
		l->reads--;
		eng_answer(e, r, err);
		fill_settle(e, l);
		return;
	}
	struct eng_read *d = list_entry(list_pop_front(&e->free_reads), struct eng_read, node);
	*d = (struct eng_read){.req = r, .log = l, .plan = plan};
	list_init(&d->node);
	plan.segment->reads++;
	read_rewind(d);
	list_push_back(&e->reading, &d->node);
}

/* Submits the next run of blocks. False: all is submitted. */
static bool read_feed(struct engine *e, struct eng_read *d)
{
	uint64_t end = align_up(d->plan.file_end, (uint64_t)FMT_PAGE);
	if (d->feed_pos >= end || d->err != ST_OK)
		return false;
	struct eng_op *op = eng_op_get(e, d->log->lane, ENG_READ);
	uint64_t from = d->feed_pos;
	while (d->feed_pos < end && d->feed_pos - from < READ_MAX) {
		uint64_t to = min_of(d->feed_pos + LBLOCK_SIZE, end);
		if (!eng_op_add(op, d->feed_block->data, to - d->feed_pos))
			break;
		d->feed_pos = to;
		d->feed_block = d->feed_block->next;
	}
	op->read = d;
	d->ops++;
	metric_add(&e->m->read_bytes_total, d->feed_pos - from);
	eng_op_start_run(e, op, IO_READ, d->plan.segment->file, from);
	return true;
}

/* All of the plan has been read. False: a later part has to be read, too. */
static bool read_finish(struct engine *e, struct eng_read *d)
{
	struct segment *s = d->plan.segment;
	bool again = false;
	enum st_err err = d->err;
	if (err == ST_OK)
		err = log_read_done(&e->env, d->log->log, d->req, &d->plan, &again);
	s->reads--;
	if (again) {
		d->plan.segment->reads++;
		read_rewind(d);
		return false;
	}
	d->log->reads--;
	list_remove(&d->node);
	list_push_front(&e->free_reads, &d->node);
	segment_cool(&e->env);
	eng_answer(e, d->req, err);
	fill_settle(e, d->log);
	return true;
}

/* Submits what is possible of d; ends it when all of it has come. */
static void read_run(struct engine *e, struct eng_read *d)
{
	do {
		while (eng_may_start(e, ENG_READ)) {
			if (!read_feed(e, d))
				break;
		}
		bool fed = d->err != ST_OK || d->feed_pos >= d->plan.file_end;
		if (!fed || d->ops > 0)
			return;
	} while (!read_finish(e, d));
}

void reads_op_done(struct engine *e, struct eng_op *op)
{
	struct eng_read *d = op->read;
	CHECK(d->ops > 0);
	d->ops--;
	if (op->io.result < 0) {
		if (d->err == ST_OK)
			log_error("storage",
				"%s-%d: a read at byte %llu of segment %lld failed: error %lld",
				d->log->log->topic, d->log->log->partition,
				(unsigned long long)op->io.off,
				(long long)d->plan.segment->base_offset, (long long)-op->io.result);
		metric_add(&e->m->io_errors_total, 1);
		d->err = ST_E_CORRUPT;
	}
	eng_op_put(e, op);
}

void reads_run(struct engine *e)
{
	list_for_each_safe (it, &e->reading) {
		read_run(e, list_entry(it, struct eng_read, node));
	}
	struct list *n;
	while (!list_empty(&e->free_reads) && (n = list_pop_front(&e->waiting))) {
		read_start(e, list_entry(n, struct st_req, node));
		if (!list_empty(&e->reading))
			read_run(e, list_entry(e->reading.prev, struct eng_read, node));
	}
}
