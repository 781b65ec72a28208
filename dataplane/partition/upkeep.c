/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What makes a log shorter: DeleteRecords (KIP-107) as an operation, retention and compaction as
 * upkeep that the shard starts now and then. All of it is the storage's work; here it is asked for,
 * and the log's start follows the answers.
 *
 * Nothing here cuts the active segment: its name is given by appends alone. When all of it has
 * expired, the storage answers with the log's end as its start, and the next append rolls, so that
 * the expired bytes can go.
 */
#include "kafka/errcode.h"
#include "partition/part_int.h"

static enum part_step finish_trim(
	struct part *p, struct part_op *op, int16_t error, struct part_out *out)
{
	op->trim.log_start_offset = error ? -1 : p->log_start_offset;
	part_finish(op, error, out);
	return PART_STEP_DONE;
}

enum part_step part_try_trim(
	struct part *p, struct part_op *op, int64_t now_ms, struct part_out *out)
{
	int64_t offset = op->trim.offset == -1 ? p->high_watermark : op->trim.offset;
	if (p->config.policy.compact && !p->config.policy.remove)
		return finish_trim(p, op, KE_POLICY_VIOLATION, out);
	if (offset < 0 || offset > p->high_watermark)
		return finish_trim(p, op, KE_OFFSET_OUT_OF_RANGE, out);
	if (offset <= p->log_start_offset)
		return finish_trim(p, op, KE_NONE, out);
	if (!part_history_allows_cut(p, offset, now_ms, out)) {
		list_push_back(&p->early, &op->node);
		return PART_STEP_DONE;
	}
	struct st_req *r = part_req_get(p, ST_TRIM);
	if (!r)
		return PART_STEP_STALLED;
	r->trim.offset = offset;
	op->req = r;
	list_push_back(&p->reads, &op->node);
	part_req_send(p, r, out);
	return PART_STEP_DONE;
}

void part_trim_stored(struct part *p, struct st_req *r, struct part_out *out)
{
	struct part_op *op = part_take_reader(p, r);
	enum st_err err = r->err;
	if (err == ST_OK)
		part_start_moved(p, r->trim.log_start_offset);
	part_req_put(p, r);
	finish_trim(p, op, err == ST_OK ? KE_NONE : KE_KAFKA_STORAGE_ERROR, out);
	if (err == ST_E_IO || err == ST_E_OFFLINE)
		part_set_offline(p, out);
}

enum part_step part_try_size(struct part *p, struct part_op *op, struct part_out *out)
{
	struct st_req *r = part_req_get(p, ST_SIZE);
	if (!r)
		return PART_STEP_STALLED;
	op->req = r;
	list_push_back(&p->reads, &op->node);
	part_req_send(p, r, out);
	return PART_STEP_DONE;
}

void part_size_stored(struct part *p, struct st_req *r, struct part_out *out)
{
	struct part_op *op = part_take_reader(p, r);
	enum st_err err = r->err;
	op->size.bytes = err == ST_OK ? r->size.bytes : 0;
	part_req_put(p, r);
	part_finish(op, err == ST_OK ? KE_NONE : KE_KAFKA_STORAGE_ERROR, out);
	if (err == ST_E_IO || err == ST_E_OFFLINE)
		part_set_offline(p, out);
}

/* Sends one request of upkeep. False when there is no request left. */
static bool ask(struct part *p, enum st_op op, const struct st_policy *policy, int64_t now_ms,
	struct part_out *out)
{
	struct st_req *r = part_req_get(p, op);
	if (!r)
		return false;
	r->retain.policy = *policy;
	r->retain.limit = p->high_watermark;
	r->retain.now_ms = now_ms;
	part_req_send(p, r, out);
	return true;
}

void part_upkeep(
	struct part *p, const struct st_policy *policy, int64_t now_ms, struct part_out *out)
{
	if (p->state == PART_LEADER)
		part_history_upkeep(p, now_ms, out);
	if (p->state != PART_LEADER || p->log_start_offset == p->high_watermark)
		return;
	bool limited = policy->retention_ms >= 0 || policy->retention_bytes >= 0;
	if (policy->remove && limited && !p->retaining &&
		part_history_allows_cut(p, p->high_watermark, now_ms, out))
		p->retaining = ask(p, ST_RETAIN, policy, now_ms, out);
	if (policy->compact && !p->cleaning)
		p->cleaning = ask(p, ST_CLEAN, policy, now_ms, out);
}

void part_upkeep_rolled(struct part *p, int64_t now_ms, struct part_out *out)
{
	struct st_policy policy = p->config.policy;
	policy.compact = false;
	if (policy.retention_bytes >= 0)
		part_upkeep(p, &policy, now_ms, out);
}

void part_upkeep_stored(struct part *p, struct st_req *r, struct part_out *out)
{
	*(r->op == ST_RETAIN ? &p->retaining : &p->cleaning) = false;
	enum st_err err = r->err;
	if (err == ST_OK) {
		part_start_moved(p, r->retain.log_start_offset);
		if (p->log_start_offset == p->log_end_offset && p->segment_pos > 0)
			p->roll_next = true;
	}
	part_req_put(p, r);
	if (err == ST_E_IO || err == ST_E_OFFLINE)
		part_set_offline(p, out);
}

uint32_t part_upkeep_out(const struct part *p)
{
	return (p->retaining ? 1 : 0) + (p->cleaning ? 1 : 0) + (p->filling ? 1 : 0);
}
