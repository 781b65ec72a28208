/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection: bytes become frames, frames become requests, responses leave in the order in which
 * their requests came. Kafka works on one request of a connection at a time; so do we, but for
 * produce requests, which may follow each other into the log without waiting for the disk in
 * between.
 */
#include "shard/shard_int.h"

#include <arpa/inet.h>
#include <stdio.h>

#include "kafka/errcode.h"

/* A frame up to this size gets its memory at once; a larger one as its bytes arrive. */
#define SESSION_EAGER_FRAME (2u << 20)
#define SESSION_FIRST_PART (64u << 10)
#define SESSION_SLOW_NS (5 * NS_PER_S)
#define SESSION_MAX_PIECES 1100

static void session_touch(struct session *se)
{
	se->active_ns = se->shard->now_ns;
	list_remove(&se->node);
	list_push_back(&se->shard->sessions, &se->node);
}

static void session_format_host(const uint8_t ip[16], char *out, size_t size)
{
	static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
	out[0] = '/';
	bool v4 = memcmp(ip, mapped, sizeof(mapped)) == 0;
	if (!inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? ip + 12 : ip, out + 1, (socklen_t)size - 1))
		out[1] = 0;
}

void session_accepted(struct shard *s, const struct net_event *ev)
{
	struct session *se = s->stopping ? NULL : slab_get(&s->session_slab);
	if (!se) {
		net_close(s->net, ev->conn, true);
		return;
	}
	*se = (struct session){.shard = s, .conn = ev->conn, .fetch = {.all = &s->fetch_sessions}};
	list_init(&se->node);
	list_init(&se->requests);
	list_init(&se->sending);
	list_init(&se->mute_node);
	session_format_host(ev->peer.ip, se->host, sizeof(se->host));
	net_set_user(s->net, ev->conn, se);
	s->session_count++;
	metric_set(&s->metrics.connections, s->session_count);
	session_touch(se);
}

static void session_drop_frame(struct session *se)
{
	bufs_put(&se->shard->bufs, se->frame, se->frame_cap);
	se->frame = NULL;
	se->frame_cap = se->frame_have = se->frame_need = 0;
	se->size_have = 0;
}

void session_close(struct session *se, bool abort)
{
	if (se->closing)
		return;
	se->closing = true;
	session_drop_frame(se);
	net_close(se->shard->net, se->conn, abort);
}

void session_closed(struct session *se)
{
	struct shard *s = se->shard;
	struct list *n;
	session_drop_frame(se);
	while ((n = list_front(&se->sending)))
		request_free(list_entry(n, struct request, node));
	while ((n = list_front(&se->requests)))
		request_free(list_entry(n, struct request, node));
	fetch_slot_close(&se->fetch);
	list_remove(&se->node);
	list_remove(&se->mute_node);
	s->session_count--;
	metric_set(&s->metrics.connections, s->session_count);
	slab_put(&s->session_slab, se);
}

static void session_refuse(struct session *se)
{
	metric_add(&se->shard->metrics.request_errors_total, 1);
	session_close(se, false);
}

/* ---- requests ---- */

/* Reading stops while a connection has enough to do, or the shard is short of memory. */
static void session_set_pause(struct session *se)
{
	bool want =
		se->queued >= SESSION_MAX_QUEUED || se->shard->memory_short || session_is_muted(se);
	if (want == se->paused || se->closing)
		return;
	se->paused = want;
	net_pause(se->shard->net, se->conn, want);
}

static void session_start_one(struct session *se, struct request *r)
{
	se->queued--;
	se->started++;
	se->alone += !request_is_produce(r);
	request_start(r);
}

/* True when r, the first that is queued, may be at work beside the requests before it. Nothing
 * starts before the first image. */
static bool session_may_start(const struct session *se, const struct request *r)
{
	if (!se->shard->image || session_is_muted(se))
		return false;
	if (se->started == 0)
		return true;
	return se->alone == 0 && request_is_produce(r) && se->started < SESSION_MAX_INFLIGHT;
}

static void session_start_more(struct session *se)
{
	struct list *it = &se->requests; /* the queued ones are the last: few */
	for (uint32_t n = se->queued; n > 0; n--)
		it = it->prev;
	while (it != &se->requests && !se->closing) {
		struct request *r = list_entry(it, struct request, node);
		it = it->next;
		if (!session_may_start(se, r))
			return;
		session_start_one(se, r);
	}
}

/* One whole frame, without its size field. cap > 0: the session gives the buffer away. */
static bool session_frame(struct session *se, uint8_t *frame, uint32_t len, uint32_t cap)
{
	struct shard *s = se->shard;
	metric_add(&s->metrics.requests_total, 1);
	struct request *r = request_new(se, frame, len, cap);
	if (!r) {
		bufs_put(&s->bufs, cap ? frame : NULL, cap);
		session_refuse(se);
		return false;
	}
	r->arrived_ns = s->now_ns;
	struct rd rd = rd_of(frame, len);
	enum kp_header_result res = kp_header_decode(&rd, &r->api.hdr);
	r->body = (uint32_t)(rd.p - frame);
	if (res != KP_HEADER_OK && res != KP_HEADER_DOWNGRADE) {
		request_free(r);
		session_refuse(se);
		return false;
	}
	throttle_note_client(se, r->api.hdr.client_id);
	r->handler =
		r->api.hdr.api->plane == KP_PLANE_SHARD ? api_handler_of(r->api.hdr.key) : NULL;
	list_push_back(&se->requests, &r->node);
	se->queued++;
	if (se->queued == 1 && session_may_start(se, r))
		session_start_one(se, r);
	else
		request_own_frame(r);
	return !se->closing;
}

/* ---- bytes in ---- */

/* Room for the frame that has begun. False: no memory, the connection is closed. */
static bool session_frame_room(struct session *se, uint32_t want)
{
	struct shard *s = se->shard;
	if (want <= se->frame_cap)
		return true;
	uint32_t cap;
	uint8_t *p = bufs_get(&s->bufs, want, &cap);
	while (!p && session_shed(s, se))
		p = bufs_get(&s->bufs, want, &cap);
	if (!p) {
		metric_add(&s->metrics.shed_connections_total, 1);
		session_close(se, true);
		return false;
	}
	if (se->frame_have > 0)
		memcpy(p, se->frame, se->frame_have);
	bufs_put(&s->bufs, se->frame, se->frame_cap);
	se->frame = p;
	se->frame_cap = cap;
	return true;
}

/* Adds to the frame under reception; returns bytes used, or 0 when the connection was closed. */
static uint32_t session_fill(struct session *se, const uint8_t *p, uint32_t len)
{
	uint32_t n = min_of(len, se->frame_need - se->frame_have);
	uint32_t want = se->frame_have + n;
	if (se->frame_need <= SESSION_EAGER_FRAME)
		want = se->frame_need;
	else if (want > se->frame_cap)
		want = min_of(se->frame_need,
			max_of(want, max_of(SESSION_FIRST_PART, se->frame_cap * 2)));
	if (!session_frame_room(se, want))
		return 0;
	memcpy(se->frame + se->frame_have, p, n);
	se->frame_have += n;
	return n;
}

static bool session_fill_done(struct session *se)
{
	uint8_t *frame = se->frame;
	uint32_t len = se->frame_need, cap = se->frame_cap;
	se->frame = NULL;
	se->frame_cap = se->frame_have = se->frame_need = 0;
	return session_frame(se, frame, len, cap);
}

/* Takes the next bytes of the size field. Returns bytes used; sets frame_need when it is whole. */
static uint32_t session_size(struct session *se, const uint8_t *p, uint32_t len)
{
	uint32_t n = min_of(len, 4 - se->size_have);
	memcpy(se->size_bytes + se->size_have, p, n);
	se->size_have += n;
	if (se->size_have < 4)
		return n;
	se->size_have = 0;
	int64_t size = kp_frame_size(se->size_bytes, 4, (uint32_t)se->shard->cfg.frame_max);
	if (size < 0)
		session_refuse(se);
	else
		se->frame_need = (uint32_t)size - 4;
	return n;
}

void session_data(struct session *se, const uint8_t *p, uint32_t len)
{
	session_touch(se);
	while (len > 0 && !se->closing) {
		if (se->frame_need == 0) {
			uint32_t n = session_size(se, p, len);
			p += n;
			len -= n;
			continue;
		}
		if (!se->frame && len >= se->frame_need) { /* whole, where it was received */
			uint32_t n = se->frame_need;
			se->frame_need = 0;
			session_frame(se, (uint8_t *)(uintptr_t)p, n, 0);
			p += n;
			len -= n;
			continue;
		}
		uint32_t n = session_fill(se, p, len);
		p += n;
		len -= n;
		if (n > 0 && se->frame_have == se->frame_need)
			session_fill_done(se);
	}
	if (!se->closing)
		session_set_pause(se);
}

/* ---- bytes out ---- */

/* Hands the response of r to the transport. False: no room now. */
static bool session_send(struct session *se, struct request *r)
{
	struct kpiece pieces[SESSION_MAX_PIECES];
	struct net_iov iov[SESSION_MAX_PIECES + 1];
	struct kwr w = {.w = {.base = r->resp, .p = r->resp + r->resp_len},
		.splices = r->splices,
		.n_splices = r->splice_count,
		.spliced_bytes = r->spliced_bytes};
	uint32_t n = kwr_gather(&w, pieces, SESSION_MAX_PIECES);
	CHECK(n <= SESSION_MAX_PIECES);
	for (uint32_t i = 0; i < n; i++)
		iov[i] = (struct net_iov){.p = pieces[i].p, .len = pieces[i].len};
	if (r->resp_heap)
		iov[n++] = (struct net_iov){.p = r->resp_heap, .len = r->resp_heap_len};
	return net_send(se->shard->net, se->conn, iov, n, (uint64_t)(uintptr_t)r) != -ENOBUFS;
}

/* Sends what is ready at the head of the line. False when the transport has no room. */
static bool session_send_ready(struct session *se)
{
	struct list *n;
	while ((n = list_front(&se->requests))) {
		struct request *r = list_entry(n, struct request, node);
		if (r->state != REQ_READY)
			return true;
		if (!r->silent && !session_send(se, r))
			return false;
		se->started--;
		se->alone -= !request_is_produce(r);
		list_remove(&r->node);
		r->state = REQ_SENDING;
		se->shard->pinned_bytes += r->spliced_bytes;
		if (r->silent)
			request_free(r);
		else
			list_push_back(&se->sending, &r->node);
	}
	return true;
}

void session_pump(struct session *se)
{
	if (se->closing || se->pumping)
		return;
	se->pumping = true; /* starting a request may end it at once, which comes here again */
	uint32_t before;
	do {
		before = se->queued;
		se->blocked = !session_send_ready(se);
		if (!se->closing)
			session_start_more(se);
	} while (!se->closing && !se->blocked && se->queued != before);
	if (!se->closing && !se->blocked)
		se->blocked = !session_send_ready(se);
	se->pumping = false;
	if (!se->closing)
		session_set_pause(se);
}

void session_sent(struct session *se, struct request *r)
{
	request_free(r);
	if (!se)
		return;
	session_touch(se);
	if (se->blocked)
		session_pump(se);
}

/* ---- housekeeping ---- */

void session_reap_idle(struct shard *s)
{
	struct list *n;
	while ((n = list_front(&s->sessions))) {
		struct session *se = list_entry(n, struct session, node);
		if (s->now_ns - se->active_ns < s->cfg.conn_idle_ns)
			return;
		session_touch(se); /* goes to the end whether it is closed now or already closing */
		if (list_empty(&se->requests))
			session_close(se, false);
	}
}

void session_pump_blocked(struct shard *s)
{
	list_for_each_safe (it, &s->sessions) {
		struct session *se = list_entry(it, struct session, node);
		if (se->blocked)
			session_pump(se);
	}
}

bool session_shed(struct shard *s, const struct session *keep)
{
	list_for_each (it, &s->sessions) {
		struct session *se = list_entry(it, struct session, node);
		if (se == keep || se->closing || se->frame_cap < SESSION_FIRST_PART)
			continue;
		metric_add(&s->metrics.shed_connections_total, 1);
		session_close(se, true);
		return true;
	}
	return false;
}

void session_shed_slow(struct shard *s)
{
	list_for_each (it, &s->sessions) {
		struct session *se = list_entry(it, struct session, node);
		if (s->now_ns - se->active_ns < SESSION_SLOW_NS)
			return; /* so have all that follow */
		if (se->closing || list_empty(&se->sending))
			continue;
		metric_add(&s->metrics.shed_connections_total, 1);
		session_close(se, true);
		return;
	}
}

void session_pause_all(struct shard *s)
{
	list_for_each_safe (it, &s->sessions) {
		struct session *se = list_entry(it, struct session, node);
		if (!se->closing)
			session_set_pause(se);
	}
}
