/* SPDX-License-Identifier: Apache-2.0 */
/* Partition operations find their owner, and come back to who asked. */
#include "shard/shard_int.h"

#include "kafka/errcode.h"

struct msg *shard_msg_new(struct shard *s, enum msg_kind kind, void *user)
{
	struct msg *m = slab_get(&s->msgs);
	if (!m)
		return NULL;
	*m = (struct msg){.kind = kind, .from = s->cfg.index, .user = user};
	list_init(&m->node);
	list_init(&m->asker);
	list_init(&m->op.node);
	return m;
}

void shard_msg_free(struct shard *s, struct msg *m)
{
	CHECK(!list_linked(&m->asker));
	slab_put(&s->msgs, m);
}

/* What waits for its tail goes on by itself; what waits for blocks or requests is tried again each
 * turn. */
void route_note_stall(struct shard *s, const struct part *p)
{
	if (part_is_stalled(p) && p->state == PART_LEADER && !p->tail_loading)
		s->memory_short = true;
}

/* Starts the operation in m here, for whoever asked. */
static void route_start_local(struct shard *s, struct msg *m)
{
	struct shard_part *sp = shard_topics_part(s, m->op.part_id);
	if (!sp) {
		m->op.error = KE_UNKNOWN_TOPIC_OR_PARTITION;
		list_push_back(&s->out.done, &m->op.node);
		return;
	}
	part_start(&sp->part, &m->op, s->now_ms, &s->out);
	route_note_stall(s, &sp->part);
}

void route_op(struct shard *s, struct msg *m)
{
	if (m->op.shard == s->cfg.index) {
		route_start_local(s, m);
		return;
	}
	metric_add(&s->metrics.forwarded_ops_total, 1);
	mesh_ask(&s->port, m->op.shard, m);
}

static void route_cancel_local(struct shard *s, uint32_t part_id, struct msg *wait)
{
	struct shard_part *sp = shard_topics_part(s, part_id);
	if (sp)
		part_cancel(&sp->part, &wait->op, &s->out);
}

void route_cancel(struct shard *s, struct request *r, struct msg *wait)
{
	if (wait->op.shard == s->cfg.index) {
		route_cancel_local(s, wait->op.part_id, wait);
		return;
	}
	struct msg *m = shard_msg_new(s, MSG_PART_CANCEL, r);
	CHECK(m); /* operations leave room for their cancels: request_op_new */
	m->cancel.part_id = wait->op.part_id;
	m->cancel.wait = wait;
	r->cancels++;
	mesh_ask(&s->port, wait->op.shard, m);
}

void route_retire(struct shard *s, struct msg *m)
{
	CHECK(m->stage != MSG_OUT);
	list_remove(&m->asker);
	struct lspan span = m->op.kind == PART_FETCH ? m->op.fetch.span : (struct lspan){0};
	if (span.len > 0 && m->op.shard != s->cfg.index) {
		uint16_t owner = m->op.shard;
		m->kind = MSG_RELEASE;
		m->release.span = span;
		mesh_ask(&s->port, owner, m); /* freed when the answer is back */
		return;
	}
	if (span.len > 0)
		part_release(&s->env, span);
	shard_msg_free(s, m);
}

/* Counted where the partition is. */
static void route_count_append(struct shard *s, const struct part_op *op)
{
	if (op->error != KE_NONE) {
		metric_add(&s->metrics.produce_refused_total, 1);
		return;
	}
	metric_add(&s->metrics.produce_batches_total, 1);
	metric_add(&s->metrics.produce_bytes_total, op->append.len);
}

static void route_done(struct shard *s, struct part_op *op)
{
	struct msg *m = container_of(op, struct msg, op);
	if (op->kind == PART_APPEND)
		route_count_append(s, op);
	if (m->from != s->cfg.index)
		mesh_answer(&s->port, m);
	else
		request_op_done(s, m);
}

void route_drain(struct shard *s)
{
	for (;;) {
		struct list *n;
		while ((n = list_pop_front(&s->out.store)))
			store_send(s, list_entry(n, struct st_req, node));
		n = list_pop_front(&s->out.done);
		if (n) {
			route_done(s, list_entry(n, struct part_op, node));
			continue;
		}
		n = list_pop_front(&s->runnable);
		if (!n)
			return;
		request_resume(list_entry(n, struct request, run));
	}
}

static void route_answer(struct shard *s, struct msg *m)
{
	switch (m->kind) {
	case MSG_PART_OP:
		request_op_done(s, m);
		return;
	case MSG_PART_CANCEL:
		request_cancel_done(s, m);
		return;
	case MSG_RELEASE:
		shard_msg_free(s, m);
		return;
	case MSG_REQUEST:
	case MSG_TOPICS_WANTED:
		request_control_done(s, m);
		return;
	case MSG_OFFLINE:
		shard_topics_told(s, m);
		return;
	case MSG_IMAGE:
	case MSG_CONNECTIONS:
	case MSG_CAPTURE:
	case MSG_DISCONNECT:
	case MSG_STOP:
		break;
	}
	CHECK(!"an answer to a question that shards do not ask");
}

void route_message(struct shard *s, struct msg *m)
{
	if (m->answer) {
		route_answer(s, m);
		return;
	}
	switch (m->kind) {
	case MSG_PART_OP:
		route_start_local(s, m);
		return;
	case MSG_PART_CANCEL:
		route_cancel_local(s, m->cancel.part_id, m->cancel.wait);
		route_drain(s); /* the wait goes home before the answer to its cancel */
		mesh_answer(&s->port, m);
		return;
	case MSG_RELEASE:
		part_release(&s->env, m->release.span);
		mesh_answer(&s->port, m);
		return;
	case MSG_IMAGE:
		shard_topics_apply(s, m);
		return;
	case MSG_CONNECTIONS:
		net_list(s->net, &m->page);
		mesh_answer(&s->port, m);
		return;
	case MSG_CAPTURE: /* control does not ask transports that see no frames */
		CHECK(net_capture(s->net, &m->capture) == 0);
		mesh_answer(&s->port, m);
		return;
	case MSG_DISCONNECT:
		CHECK(!s->disconnect_msg && !s->stopping);
		s->disconnect_msg = m;
		return;
	case MSG_STOP:
		CHECK(!s->stop_msg && s->stopping && !s->disconnect_msg);
		s->stop_msg = m;
		return;
	case MSG_REQUEST:
	case MSG_TOPICS_WANTED:
	case MSG_OFFLINE:
		break;
	}
	CHECK(!"a question that shards do not answer");
}
