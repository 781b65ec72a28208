/* SPDX-License-Identifier: Apache-2.0 */
/* What handlers of the control thread may do: answer, wait, ask partitions. */
#include "control/api/ctl.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "kafka/errcode.h"
#include "kafka/header.h"

/* Decoded messages take at most this many times the bytes they came in, arrays of small things
   being the worst (a config entry: 3 bytes on the wire, 32 in memory), and some slack for small
   requests. */
#define ARENA_FACTOR 16
#define ARENA_SLACK (64u << 10)
#define ARENA_MAX (64u << 20)
/* Scratch larger than this is given back after the request. */
#define SCRATCH_KEEP (1u << 20)

void ctl_core_init(struct ctl *c, const struct config *cfg, struct mesh *mesh)
{
	c->base = cfg;
	c->effective = *cfg;
	c->cfg = &c->effective;
	mesh_port_init(&c->port, mesh, mesh_control(mesh));
	list_init(&c->refused_ops);
	topics_init(&c->state.topics);
	publish_init(c);
}

void ctl_core_fini(struct ctl *c)
{
	CHECK(!c->drafting);
	publish_fini(c);
	meta_state_fini(&c->state);
	free(c->scratch.base);
	meta_close(c->meta);
}

/* ---- answering ---- */

static const struct kp_message *message_of(int16_t key)
{
	for (uint32_t i = 0; i < KP_MESSAGE_COUNT; i++)
		if (kp_messages[i].key == key)
			return &kp_messages[i];
	return NULL;
}

static void answer(struct ctl *c, struct msg *m, struct msg_buf response)
{
	CHECK(m->kind == MSG_REQUEST);
	free(m->request.frame.p);
	m->request.frame = (struct msg_buf){0};
	m->request.client_id = NULL;
	m->request.response = response;
	metric_add(response.p ? &c->metrics.requests_total : &c->metrics.hang_ups_total, 1);
	mesh_answer(&c->port, m);
}

void ctl_hang_up(struct ctl *c, struct msg *m)
{
	answer(c, m, (struct msg_buf){0});
}

static void encode(
	struct kwr *k, const struct kp_message *msg, const struct msg *m, const void *response)
{
	const struct kp_api *api = kp_api_find(msg->key);
	wr_be32(&k->w, (uint32_t)m->request.correlation_id);
	if (kp_api_response_header(api, m->request.api_version) >= 1)
		wr_u8(&k->w, 0); /* no tagged fields */
	msg->response.encode(k, m->request.api_version, response);
}

void ctl_respond(struct ctl *c, struct msg *m, const void *response)
{
	const struct kp_message *msg = message_of(m->request.api_key);
	CHECK(msg);
	struct kwr k = kwr_counter();
	encode(&k, msg, m, response);
	size_t len = k.w.need;
	uint8_t *p = len <= INT32_MAX ? malloc(len) : NULL;
	if (!p) {
		log_warn(
			"control", "no memory for a response of %zu bytes: connection closed", len);
		ctl_hang_up(c, m);
		return;
	}
	k = kwr_of(p, len);
	encode(&k, msg, m, response);
	CHECK(!k.w.full && wr_len(&k.w) == len);
	answer(c, m, (struct msg_buf){.p = p, .len = (uint32_t)len});
}

size_t ctl_arena_size(const struct msg *m)
{
	return min_of((size_t)m->request.frame.len * ARENA_FACTOR + ARENA_SLACK, (size_t)ARENA_MAX);
}

bool ctl_decode_in(struct ctl *c, struct msg *m, void *out, struct arena *a)
{
	const struct kp_message *msg = message_of(m->request.api_key);
	CHECK(msg && m->request.body <= m->request.frame.len);
	struct rd r =
		rd_of(m->request.frame.p + m->request.body, m->request.frame.len - m->request.body);
	int e = msg->request.decode(&r, m->request.api_version, out, a);
	if (e == 0 && !r.bad)
		return true;
	ctl_hang_up(c, m);
	return false;
}

bool ctl_decode(struct ctl *c, struct msg *m, void *out)
{
	return ctl_decode_in(c, m, out, &c->scratch);
}

void *ctl_scratch(struct ctl *c, size_t n)
{
	return arena_alloc(&c->scratch, n);
}

/* Empty scratch of at least `size`; false: no memory. */
static bool scratch_reserve(struct ctl *c, size_t size)
{
	bool keep =
		c->scratch.size >= size && c->scratch.size <= max_of(size, (size_t)SCRATCH_KEEP);
	arena_reset(&c->scratch);
	if (keep)
		return true;
	free(c->scratch.base);
	void *p = malloc(size);
	arena_init(&c->scratch, p, p ? size : 0);
	return p != NULL;
}

static void dispatch(struct ctl *c, struct msg *m)
{
	const struct ctl_api *api = ctl_api_find(m->request.api_key);
	m->request.response = (struct msg_buf){0};
	if (c->stopping || !api || !scratch_reserve(c, ctl_arena_size(m))) {
		ctl_hang_up(c, m);
		return;
	}
	api->handle(c, m);
	CHECK(!c->drafting);
}

/* ---- time ---- */

uint64_t ctl_now_ns(const struct ctl *c)
{
	return c->now_ns;
}

int64_t ctl_wall_ms(const struct ctl *c)
{
	return c->wall_ms;
}

void ctl_set_time(struct ctl *c, uint64_t now_ns, int64_t wall_ms)
{
	if (c->wheel.tick_ns == 0)
		wheel_init(&c->wheel, now_ns, NS_PER_MS);
	c->now_ns = now_ns;
	c->wall_ms = wall_ms;
}

void ctl_timer_init(struct ctl_timer *timer, void (*fn)(struct ctl *c, struct ctl_timer *timer))
{
	wheel_timer_init(&timer->t);
	timer->due = false;
	timer->fn = fn;
}

void ctl_timer_cancel(struct ctl *c, struct ctl_timer *timer)
{
	if (timer->due) {
		timer->due = false;
		list_remove(
			&timer->t.node); /* of the list of those that are due, not the wheel's */
		return;
	}
	wheel_cancel(&c->wheel, &timer->t);
}

void ctl_timer_arm(struct ctl *c, struct ctl_timer *timer, uint64_t deadline_ns)
{
	ctl_timer_cancel(c, timer);
	wheel_arm(&c->wheel, &timer->t, deadline_ns);
}

static void run_timers(struct ctl *c)
{
	struct list fired, *n;
	list_init(&fired);
	wheel_advance(&c->wheel, c->now_ns, &fired);
	list_for_each (it, &fired)
		container_of(list_entry(it, struct wheel_timer, node), struct ctl_timer, t)->due =
			true;
	while ((n = list_pop_front(&fired))) {
		struct ctl_timer *timer =
			container_of(list_entry(n, struct wheel_timer, node), struct ctl_timer, t);
		timer->due = false;
		timer->fn(c, timer);
	}
}

uint64_t ctl_next_ns(const struct ctl *c)
{
	return list_empty(&c->refused_ops) ? wheel_next_ns(&c->wheel) : 0;
}

/* ---- partitions ---- */

void ctl_ask_part_op(struct ctl *c, struct ctl_op *op)
{
	struct msg *m = &op->m;
	m->kind = MSG_PART_OP;
	m->user = op;
	m->op.shard = (uint16_t)(m->op.part_id % ctl_shards(c)); /* meta_image_build */
	list_init(&m->node);
	list_init(&m->op.node);
	c->ops_out++;
	metric_add(&c->metrics.part_ops_total, 1);
	if (!c->publish.served || m->op.part_id >= c->publish.served->part_id_limit) {
		m->op.error = KE_UNKNOWN_TOPIC_OR_PARTITION;
		list_push_back(&c->refused_ops, &m->node);
		return;
	}
	mesh_ask(&c->port, m->op.shard, m);
}

void ctl_release(struct ctl *c, struct ctl_op *op)
{
	struct msg *m = &op->m;
	CHECK(m->kind == MSG_PART_OP && m->op.kind == PART_FETCH);
	uint16_t owner = m->op.shard;
	struct lspan span = m->op.fetch.span;
	m->kind = MSG_RELEASE;
	m->release.span = span;
	list_init(&m->node);
	c->ops_out++;
	if (span.len == 0)
		list_push_back(&c->refused_ops, &m->node);
	else
		mesh_ask(&c->port, owner, m);
}

uint32_t ctl_ops_out(const struct ctl *c)
{
	return c->ops_out;
}

static void op_done(struct ctl *c, struct msg *m)
{
	struct ctl_op *op = m->user;
	CHECK(c->ops_out > 0 && &op->m == m);
	c->ops_out--;
	op->done(c, op);
}

static void run_refused_ops(struct ctl *c)
{
	struct list ops, *n;
	list_init(&ops);
	list_splice(&ops, &c->refused_ops); /* what is asked meanwhile comes in the next turn */
	while ((n = list_pop_front(&ops)))
		op_done(c, list_entry(n, struct msg, node));
}

/* ---- messages ---- */

static void question(struct ctl *c, struct msg *m)
{
	switch (m->kind) {
	case MSG_REQUEST:
		dispatch(c, m);
		return;
	case MSG_TOPICS_WANTED:
		ctl_topics_wanted(c, m);
		return;
	case MSG_OFFLINE:
		publish_offline(c, m);
		return;
	default:
		CHECK(!"a question that control does not answer");
	}
}

void ctl_message(struct ctl *c, struct msg *m)
{
	if (!m->answer) {
		question(c, m);
		return;
	}
	switch (m->kind) {
	case MSG_PART_OP:
	case MSG_RELEASE:
		op_done(c, m);
		return;
	case MSG_IMAGE:
		publish_ack(c, m);
		return;
	default:
		CHECK(!"an answer to a question that control does not ask");
	}
}

void ctl_work(struct ctl *c)
{
	run_timers(c);
	run_refused_ops(c);
	publish_kick(c);
}

/* ---- modules ---- */

void *ctl_module_state(struct ctl *c, const struct ctl_module *m)
{
	for (unsigned i = 0; ctl_modules[i]; i++)
		if (ctl_modules[i] == m)
			return c->module_state[i];
	return NULL;
}
