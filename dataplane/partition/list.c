/* SPDX-License-Identifier: Apache-2.0 */
/* ListOffsets (protocol notes 3.6): offsets by name or by timestamp. */
#include "kafka/batch.h"
#include "partition/part_int.h"

enum {
	TS_LATEST = -1,
	TS_EARLIEST = -2,
	TS_MAX_TIMESTAMP = -3,
	TS_EARLIEST_LOCAL = -4,
	TS_LATEST_TIERED = -5,
	TS_EARLIEST_PENDING_UPLOAD = -6,
};

static enum part_step finish(
	struct part *p, struct part_op *op, int64_t offset, int64_t timestamp, struct part_out *out)
{
	op->list.offset = offset;
	op->list.record_timestamp = timestamp;
	op->list.leader_epoch = offset >= 0 ? p->leader_epoch : -1;
	part_finish(op, KE_NONE, out);
	return PART_STEP_DONE;
}

static enum part_step fail(struct part_op *op, int16_t error, struct part_out *out)
{
	op->list.offset = op->list.record_timestamp = op->list.leader_epoch = -1;
	part_finish(op, error, out);
	return PART_STEP_DONE;
}

static enum part_step start_lookup(struct part *p, struct part_op *op, struct part_out *out)
{
	if (p->high_watermark == p->log_start_offset)
		return finish(p, op, -1, -1, out);
	if (list_empty(&p->env->free_reqs))
		return PART_STEP_STALLED;
	struct st_req *r = part_req_get(p, ST_LOOKUP);
	r->lookup.timestamp = op->list.timestamp;
	r->lookup.limit = p->high_watermark;
	if (op->list.timestamp == TS_MAX_TIMESTAMP) {
		/* The storage keeps the largest timestamp of all that is durable, which may be
		 * above what we know to be durable now; when its answer comes, we know. */
		r->lookup.timestamp = -1;
		r->lookup.limit = INT64_MAX;
	}
	op->list.start = p->log_start_offset;
	op->req = r;
	list_push_back(&p->reads, &op->node);
	part_req_send(p, r, out);
	return PART_STEP_DONE;
}

enum part_step part_try_list(struct part *p, struct part_op *op, struct part_out *out)
{
	int32_t epoch = op->current_leader_epoch;
	if (epoch >= 0 && epoch != p->leader_epoch)
		return fail(op,
			epoch < p->leader_epoch ? KE_FENCED_LEADER_EPOCH : KE_UNKNOWN_LEADER_EPOCH,
			out);
	if (op->list.timestamp >= 0)
		return start_lookup(p, op, out);
	switch (op->list.timestamp) {
	case TS_LATEST:
		return finish(p, op, p->high_watermark, -1, out);
	case TS_EARLIEST:
	case TS_EARLIEST_LOCAL:
		return finish(p, op, p->log_start_offset, -1, out);
	case TS_MAX_TIMESTAMP:
		return start_lookup(p, op, out);
	case TS_LATEST_TIERED:
	case TS_EARLIEST_PENDING_UPLOAD:
		return finish(p, op, -1, -1, out); /* there is no tier */
	default:
		return fail(op, KE_INVALID_REQUEST, out);
	}
}

void part_lookup_stored(struct part *p, struct st_req *r, struct part_out *out)
{
	struct part_op *op = part_take_reader(p, r);
	enum st_err err = r->err;
	int64_t offset = r->lookup.offset;
	int64_t timestamp = r->lookup.record_timestamp;
	part_req_put(p, r);
	bool gone = err == ST_OK && offset < p->log_start_offset && offset >= op->list.start;
	if (gone && p->state == PART_LEADER) { /* deleted meanwhile: what comes after it? */
		if (part_try_list(p, op, out) == PART_STEP_STALLED)
			list_push_back(&p->stalled, &op->node);
		return;
	}
	bool found = err == ST_OK && offset >= p->log_start_offset && offset < p->high_watermark;
	if (found)
		finish(p, op, offset, timestamp, out);
	else if (err == ST_E_NOT_FOUND || gone)
		finish(p, op, -1, -1, out);
	else
		fail(op,
			err == ST_OK || err == ST_E_CORRUPT ? KE_CORRUPT_MESSAGE
							    : KE_KAFKA_STORAGE_ERROR,
			out);
	if (err == ST_E_IO || err == ST_E_OFFLINE)
		part_set_offline(p, out);
}
