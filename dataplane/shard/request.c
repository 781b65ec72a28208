/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a request:
 *
 *   QUEUED ──start──► WAIT ──operations back──► READY ──► SENDING ──► freed
 *      │                                          ▲
 *      └──start──► CONTROL ──answer of control────┘
 *
 * request_set_state is the only writer of the state.
 */
#include "shard/shard_int.h"

#include <stdlib.h>

#include "kafka/api_table.h"
#include "kafka/errcode.h"

static void request_set_state(struct request *r, enum request_state to)
{
	static const uint8_t allowed[] = {
		[REQ_QUEUED] = 1 << REQ_WAIT | 1 << REQ_CONTROL | 1 << REQ_READY,
		[REQ_WAIT] = 1 << REQ_WAIT | 1 << REQ_READY,
		[REQ_CONTROL] = 1 << REQ_WAIT | 1 << REQ_CONTROL | 1 << REQ_READY,
		[REQ_READY] = 1 << REQ_SENDING,
		[REQ_SENDING] = 0,
	};
	CHECK(allowed[r->state] & 1 << to);
	r->state = to;
}

bool request_is_produce(const struct request *r)
{
	return r->api.hdr.key == KP_PRODUCE;
}

struct request *request_new(struct session *se, uint8_t *frame, uint32_t len, uint32_t cap)
{
	struct shard *s = se->shard;
	struct request *r = slab_get(&s->request_slab);
	if (!r)
		return NULL;
	memset(r, 0, offsetof(struct request, inline_arena));
	list_init(&r->node);
	list_init(&r->run);
	list_init(&r->ops);
	wheel_timer_init(&r->timer);
	r->shard = s;
	r->session = se;
	r->state = REQ_QUEUED;
	r->frame = frame;
	r->frame_len = len;
	r->frame_cap = cap;
	arena_init(&r->arena, r->inline_arena, sizeof(r->inline_arena));
	return r;
}

void request_own_frame(struct request *r)
{
	if (r->frame_cap > 0)
		return;
	uint32_t cap;
	uint8_t *copy = bufs_get_over(&r->shard->bufs, r->frame_len, &cap);
	memcpy(copy, r->frame, r->frame_len);
	/* Batches that are not in the log yet are read from the copy from now on. */
	ptrdiff_t shift = copy - r->frame;
	list_for_each (it, &r->ops) {
		struct msg *m = list_entry(it, struct msg, asker);
		if (m->op.kind == PART_APPEND)
			m->op.append.data += shift;
	}
	if (r->api.hdr.client_id.len > 0)
		r->api.hdr.client_id.p += shift;
	r->frame = copy;
	r->frame_cap = cap;
}

/* ---- what a handler may ask of its host ---- */

/* Half of all messages is kept for cancels: every wait that is out can be cancelled. */
static struct part_op *request_op_new(struct api_host *h, struct api_req *api)
{
	struct shard *s = container_of(h, struct shard, host);
	struct request *r = container_of(api, struct request, api);
	struct msg *m = s->msgs.used < s->msgs.max / 2 ? shard_msg_new(s, MSG_PART_OP, r) : NULL;
	if (!m)
		return NULL;
	m->op.current_leader_epoch = -1;
	list_push_back(&r->ops, &m->asker);
	return &m->op;
}

static void request_op_free(struct api_host *h, struct api_req *api, struct part_op *op)
{
	struct shard *s = container_of(h, struct shard, host);
	struct msg *m = container_of(op, struct msg, op);
	CHECK(m->user == container_of(api, struct request, api));
	route_retire(s, m);
}

static bool request_op_back(struct api_host *h, const struct part_op *op)
{
	return container_of(op, const struct msg, op)->stage == MSG_BACK;
}

void request_host_init(struct api_host *h)
{
	h->op_back = request_op_back;
	h->op_new = request_op_new;
	h->op_free = request_op_free;
}

/* ---- waits ---- */

/* One is back (or the deadline has passed): the others are not waited for. */
static void request_cancel_waits(struct request *r)
{
	if (r->cancelling)
		return;
	r->cancelling = true;
	list_for_each_safe (it, &r->ops) {
		struct msg *m = list_entry(it, struct msg, asker);
		if (m->op.kind == PART_WAIT && m->stage == MSG_OUT)
			route_cancel(r->shard, r, m);
	}
}

static void request_maybe_runnable(struct request *r)
{
	if (r->ops_out == 0 && r->cancels == 0 && !list_linked(&r->run))
		list_push_back(&r->shard->runnable, &r->run);
}

/* ---- the end ---- */

void request_free(struct request *r)
{
	struct shard *s = r->shard;
	if (r->ops_out > 0 || r->cancels > 0 || r->state == REQ_CONTROL) {
		/* Parts of it are with others: it goes when the last one is back. */
		r->session = NULL;
		list_remove(&r->node);
		if (r->state == REQ_WAIT)
			request_cancel_waits(r);
		return;
	}
	wheel_cancel(&s->wheel, &r->timer);
	list_remove(&r->node);
	list_remove(&r->run);
	if (r->state == REQ_SENDING)
		s->pinned_bytes -= r->spliced_bytes;
	struct list *n;
	while ((n = list_front(&r->ops)))
		route_retire(s, list_entry(n, struct msg, asker));
	if (r->frame_cap > 0)
		bufs_put(&s->bufs, r->frame, r->frame_cap);
	bufs_put(&s->bufs, r->arena_buf, r->arena_cap);
	if (r->resp_cap > 0)
		bufs_put(&s->bufs, r->resp, r->resp_cap);
	free(r->resp_heap);
	slab_put(&s->request_slab, r);
}

/* The protocol, or want of memory, closes the connection; the request's answer will never go out.
 */
static void request_abandon(struct request *r)
{
	metric_add(&r->shard->metrics.request_errors_total, 1);
	struct session *se = r->session;
	if (se)
		session_close(se, false);
}

/* ---- encoding ---- */

static uint32_t request_count_spans(const struct request *r)
{
	uint32_t n = 0;
	list_for_each (it, &r->ops) {
		const struct msg *m = list_entry(it, struct msg, asker);
		n += m->op.kind == PART_FETCH && m->op.fetch.span.len > 0;
	}
	return n;
}

static bool request_encode_into(struct request *r, struct kwr *w)
{
	const struct kp_request_header *h = &r->api.hdr;
	kp_response_begin(w, h->api, h->version, h->correlation_id);
	r->handler->encode(&r->api, w);
	return kp_response_end(w);
}

static bool request_encode(struct request *r)
{
	struct shard *s = r->shard;
	uint32_t spans = request_count_spans(r);
	if (spans > 0) {
		r->splices = arena_array(&r->arena, spans, sizeof(*r->splices));
		if (!r->splices) {
			r->splices = NULL;
			spans = 0; /* rare: the records are copied into the response instead */
		}
	}
	r->resp = r->inline_resp;
	struct kwr w = kwr_of_splices(r->inline_resp, sizeof(r->inline_resp), r->splices, spans);
	if (!request_encode_into(r, &w)) {
		r->resp = bufs_get(&s->bufs, w.w.need, &r->resp_cap);
		if (!r->resp)
			return false;
		w = kwr_of_splices(r->resp, r->resp_cap, r->splices, spans);
		CHECK(request_encode_into(r, &w));
	}
	r->resp_len = (uint32_t)wr_len(&w.w);
	throttle_tell(r, r->resp + 4, r->resp_len - 4);
	r->splice_count = w.n_splices;
	r->spliced_bytes = w.spliced_bytes;
	metric_add(&s->metrics.fetch_bytes_total, w.spliced_bytes);
	return true;
}

static void request_ready(struct request *r)
{
	request_set_state(r, REQ_READY);
	if (!r->session) {
		request_free(r);
		return;
	}
	throttle_charge(r);
	if (!r->silent && !r->resp && !request_encode(r)) {
		request_abandon(r);
		return;
	}
	session_pump(r->session);
}

/* ---- control plane ---- */

/* Hands the frame to the control thread: on the plain heap, because it is freed there. */
static void request_to_control(struct request *r)
{
	struct shard *s = r->shard;
	struct msg *m = shard_msg_new(s, MSG_REQUEST, r);
	uint8_t *copy = m ? malloc(r->frame_len) : NULL;
	if (!copy) {
		if (m)
			shard_msg_free(s, m);
		request_set_state(r, REQ_READY);
		request_abandon(r);
		return;
	}
	memcpy(copy, r->frame, r->frame_len);
	m->request.api_key = r->api.hdr.key;
	m->request.api_version = r->api.hdr.version;
	m->request.correlation_id = r->api.hdr.correlation_id;
	m->request.frame = (struct msg_buf){.p = copy, .len = r->frame_len};
	m->request.body = r->body;
	m->request.client_id_len = r->api.hdr.client_id.len;
	if (r->api.hdr.client_id.len >= 0)
		m->request.client_id =
			(const char *)copy + (r->api.hdr.client_id.p - (const char *)r->frame);
	memcpy(m->request.client_host, r->session->host, sizeof(m->request.client_host));
	request_set_state(r, REQ_CONTROL);
	mesh_ask(&s->port, mesh_control(s->cfg.mesh), m);
}

/* Asks control to create the topics that the handler named. */
static void request_want_topics(struct request *r)
{
	struct shard *s = r->shard;
	size_t size = 0;
	for (uint32_t i = 0; i < r->api.wanted_count; i++)
		size += (size_t)r->api.wanted[i].len + 1;
	struct msg *m = shard_msg_new(s, MSG_TOPICS_WANTED, r);
	uint8_t *names = m ? malloc(size) : NULL;
	if (!names) {
		if (m)
			shard_msg_free(s, m);
		request_set_state(r, REQ_READY);
		request_abandon(r);
		return;
	}
	uint8_t *p = names;
	for (uint32_t i = 0; i < r->api.wanted_count; i++) {
		struct kstr name = r->api.wanted[i];
		memcpy(p, name.p, (size_t)name.len);
		p[name.len] = 0;
		p += name.len + 1;
	}
	m->wanted.names = (struct msg_buf){.p = names, .len = (uint32_t)size};
	m->wanted.count = r->api.wanted_count;
	request_own_frame(r); /* start is called again */
	request_set_state(r, REQ_CONTROL);
	mesh_ask(&s->port, mesh_control(s->cfg.mesh), m);
}

/* ---- steps ---- */

/* True when an operation will read the frame after the call that received it: a copy is needed. */
static bool request_needs_frame(const struct request *r, const struct msg *m)
{
	if (m->op.kind != PART_APPEND || r->frame_cap > 0)
		return false;
	if (m->op.shard != r->shard->cfg.index)
		return true;
	return m->stage == MSG_OUT && part_op_needs_data(&m->op);
}

/* Sends out the operations that the handler has just made. */
static void request_route(struct request *r)
{
	struct shard *s = r->shard;
	bool keep = false;
	list_for_each (it, &r->ops) {
		struct msg *m = list_entry(it, struct msg, asker);
		r->ops_out += m->stage == MSG_NEW;
		keep |= request_needs_frame(r, m);
	}
	if (keep)
		request_own_frame(r);
	list_for_each_safe (it, &r->ops) {
		struct msg *m = list_entry(it, struct msg, asker);
		if (m->stage != MSG_NEW)
			continue;
		m->stage = MSG_OUT;
		route_op(s, m);
		if (request_needs_frame(r, m)) /* it stalled */
			request_own_frame(r);
	}
	request_maybe_runnable(r); /* a handler may wait for nothing */
}

static void request_step(struct request *r, enum api_step step)
{
	struct shard *s = r->shard;
	switch (step) {
	case API_REPLY:
		request_ready(r);
		return;
	case API_WAIT:
		request_set_state(r, REQ_WAIT);
		if (r->api.wait_any || r->api.wait_limit)
			wheel_arm(&s->wheel, &r->timer, r->api.deadline_ns);
		request_route(r);
		return;
	case API_TOPICS:
		request_want_topics(r);
		return;
	case API_SILENT:
		r->silent = true;
		request_ready(r);
		return;
	case API_CLOSE:
		request_set_state(r, REQ_READY);
		request_abandon(r);
		return;
	case API_TOO_LARGE:
		break;
	}
	CHECK(!"API_TOO_LARGE is request_call_start's");
}

static bool request_grow_arena(struct request *r)
{
	uint32_t cap = r->arena_cap ? r->arena_cap : REQUEST_ARENA * 4;
	bufs_put(&r->shard->bufs, r->arena_buf, r->arena_cap);
	r->arena_buf = NULL;
	if (cap >= REQUEST_ARENA_MAX)
		return false;
	uint32_t got;
	uint8_t *p = bufs_get(&r->shard->bufs, (size_t)cap * 4, &got);
	if (!p) {
		r->arena_cap = 0;
		return false;
	}
	r->arena_buf = p;
	r->arena_cap = got;
	arena_init(&r->arena, p, got);
	return true;
}

static void request_fill_api(struct request *r)
{
	struct shard *s = r->shard;
	r->api.arena = &r->arena;
	r->api.host = &s->host;
	r->api.image = s->image;
	r->api.limits = &s->limits;
	throttle_limits(r);
	r->api.fetch = r->session ? &r->session->fetch : NULL;
	r->api.now_ns = s->now_ns;
	r->api.now_ms = s->now_ms;
}

static enum api_step request_call_start(struct request *r)
{
	for (;;) {
		request_fill_api(r);
		r->api.body = rd_of(r->frame + r->body, r->frame_len - r->body);
		enum api_step step = r->handler->start(&r->api);
		if (step != API_TOO_LARGE)
			return step;
		/* Operations made so far were not sent: drop them and decode anew in a larger
		 * arena. */
		struct list *n;
		while ((n = list_front(&r->ops)))
			request_op_free(
				&r->shard->host, &r->api, &list_entry(n, struct msg, asker)->op);
		arena_reset(&r->arena);
		if (!request_grow_arena(r))
			return API_CLOSE;
	}
}

void request_start(struct request *r)
{
	CHECK(r->state == REQ_QUEUED || r->state == REQ_CONTROL);
	if (!r->handler) {
		request_to_control(r);
		return;
	}
	throttle_start(r);
	uint64_t begin = throttle_clock_ns(r->shard);
	enum api_step step = request_call_start(r);
	r->cost_ns += throttle_clock_ns(r->shard) - begin;
	request_step(r, step);
}

static void request_call_resume(struct request *r)
{
	wheel_cancel(&r->shard->wheel, &r->timer);
	r->cancelling = false;
	r->api.wait_any = r->api.wait_limit = false;
	request_fill_api(r);
	uint64_t begin = throttle_clock_ns(r->shard);
	enum api_step step = r->handler->resume(&r->api);
	r->cost_ns += throttle_clock_ns(r->shard) - begin;
	request_step(r, step);
}

void request_resume(struct request *r)
{
	CHECK(r->ops_out == 0 && r->cancels == 0);
	if (!r->session && r->state == REQ_WAIT) {
		request_set_state(r, REQ_READY);
		request_free(r);
		return;
	}
	request_call_resume(r);
}

/* ---- what comes back ---- */

void request_op_done(struct shard *s, struct msg *m)
{
	struct request *r = m->user;
	CHECK(r->ops_out > 0 && r->shard == s && m->stage == MSG_OUT);
	m->stage = MSG_BACK;
	r->ops_out--;
	if (r->state != REQ_WAIT) { /* it was not waited for */
		if (!r->session)
			request_free(r);
		return;
	}
	if (r->api.wait_any && r->ops_out > 0)
		request_cancel_waits(r);
	request_maybe_runnable(r);
}

void request_cancel_done(struct shard *s, struct msg *m)
{
	struct request *r = m->user;
	CHECK(r->cancels > 0);
	r->cancels--;
	shard_msg_free(s, m);
	request_maybe_runnable(r);
}

void request_timer_fired(struct request *r)
{
	if (r->state != REQ_WAIT || !r->session)
		return;
	if (r->api.wait_any)
		request_cancel_waits(r);
	else if (r->ops_out > 0) /* wait_limit; otherwise it is about to resume */
		request_call_resume(r);
}

static void request_answered(struct request *r, struct msg *m)
{
	uint8_t *p = m->request.response.p;
	uint32_t len = m->request.response.len;
	request_set_state(r, REQ_READY);
	if (!r->session) {
		free(p);
		request_free(r);
		return;
	}
	if (!p) {
		request_abandon(r);
		return;
	}
	throttle_charge(r);
	throttle_tell(r, p, len);
	r->resp_heap = p;
	be32_put(r->inline_resp, len);
	r->resp = r->inline_resp;
	r->resp_len = 4;
	r->resp_heap_len = len;
	session_pump(r->session);
}

void request_control_done(struct shard *s, struct msg *m)
{
	struct request *r = m->user;
	CHECK(r->state == REQ_CONTROL);
	if (m->kind == MSG_REQUEST) {
		free(m->request.frame.p);
		request_answered(r, m);
		shard_msg_free(s, m);
		return;
	}
	free(m->wanted.names.p);
	shard_msg_free(s, m);
	if (!r->session) {
		request_set_state(r, REQ_READY);
		request_free(r);
		return;
	}
	r->api.topics_asked = true;
	arena_reset(&r->arena);
	request_step(r, request_call_start(r));
}
