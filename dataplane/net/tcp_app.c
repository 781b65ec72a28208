/* SPDX-License-Identifier: Apache-2.0 */
/* The application's side of TCP: set-up, calls, events (ipstack.h says what they promise). */
#include <errno.h>

#include "net/tcp.h"

#include "base/clock.h"
#include "net/ip.h"

#define WHEEL_TICK_NS NS_PER_MS
#define PORT_FIRST 32768u
#define PORT_COUNT 28232u

/* Links n free things: next_of(i) is set to i + 1. */
static void tcp_init_pools(struct tcp *t)
{
	const struct ipstack_config *cfg = t->cfg;
	for (uint32_t i = 0; i < cfg->max_conns; i++) {
		t->tcbs[i].next_free = i + 1 < cfg->max_conns ? i + 1 : TCP_NIL;
		list_init(&t->tcbs[i].tx);
		list_init(&t->tcbs[i].evnode);
	}
	for (uint32_t i = 0; i < cfg->send_slots; i++)
		t->slots[i].next = i + 1 < cfg->send_slots ? i + 1 : TCP_NIL;
	for (uint32_t i = 0; i < t->ntxs_free; i++)
		t->txsegs[i].next = i + 1 < t->ntxs_free ? i + 1 : TCP_NIL;
	for (uint32_t i = 0; i < cfg->rx_chunks; i++)
		t->chunks[i].next = i + 1 < cfg->rx_chunks ? i + 1 : TCP_NIL;
	for (uint32_t i = 0; i < cfg->rx_burst; i++)
		t->directs[i].next = i + 1 < cfg->rx_burst ? i + 1 : TCP_NIL;
	for (uint32_t i = 0; i < cfg->max_time_wait; i++) {
		list_init(&t->tws[i].node);
		list_push_back(&t->tw_free, &t->tws[i].node);
	}
}

void tcp_init(struct tcp *t, const struct ipstack_config *cfg, struct ipstack_metrics *m,
	const struct tcp_memory *mem, uint64_t now_ns)
{
	*t = (struct tcp){.cfg = cfg,
		.m = m,
		.isn_key = siphash_key_of(cfg->secret),
		.tcbs = mem->tcbs,
		.tws = mem->tws,
		.slots = mem->slots,
		.txsegs = mem->txsegs,
		.ntxs_free = mem->ntxsegs,
		.chunks = mem->chunks,
		.chunk_bytes = mem->chunk_bytes,
		.directs = mem->directs,
		.borrowed = TCP_NIL,
		.mss = (uint16_t)(cfg->mtu - IP_HDR_LEN - TCP_HDR_LEN)};
	while (cfg->rx_window_bytes >> t->wscale > 65535)
		t->wscale++;
	flow_init(&t->flow, mem->flow, mem->nflow, siphash_key_of(cfg->secret + 16));
	list_init(&t->tw_free);
	list_init(&t->tw_list);
	list_init(&t->txlist);
	list_init(&t->evlist);
	wheel_init(&t->wheel, now_ns, WHEEL_TICK_NS);
	tcp_init_pools(t);
}

int tcp_listen(struct tcp *t, uint16_t port)
{
	if (port == 0)
		return -EINVAL;
	if (tcp_is_listening(t, port))
		return -EADDRINUSE;
	if (t->nlisteners == TCP_LISTENERS_MAX)
		return -ENOBUFS;
	t->listeners[t->nlisteners++] = port;
	return 0;
}

void tcp_unlisten(struct tcp *t, uint16_t port)
{
	for (uint32_t i = 0; i < t->nlisteners; i++)
		if (t->listeners[i] == port)
			t->listeners[i] = t->listeners[--t->nlisteners];
	for (uint32_t i = 0; i < t->cfg->max_conns; i++) {
		struct tcb *c = &t->tcbs[i];
		if (c->state == TCPS_SYN_RCVD && !c->active_open && c->local_port == port)
			tcp_kill(t, c, IPSTACK_CLOSED_ABORTED);
	}
}

/* RFC 6056 algorithm 3: a start that depends on the peer, and a counter. 0: all in use. */
static uint16_t tcp_choose_port(struct tcp *t, uint32_t ip, uint16_t port)
{
	uint64_t key = flow_key(ip, port, 0);
	uint32_t offset = (uint32_t)siphash(t->isn_key, 1, 3, &key, sizeof(key));
	for (uint32_t i = 0; i < PORT_COUNT; i++) {
		uint16_t p = (uint16_t)(PORT_FIRST + (offset + t->port_next++) % PORT_COUNT);
		bool ours = !t->cfg->is_ours || t->cfg->is_ours(t->cfg->is_ours_arg, ip, port, p);
		if (ours && flow_find(&t->flow, flow_key(ip, port, p)) == FLOW_NONE)
			return p;
	}
	return 0;
}

int tcp_connect(struct tcp *t, uint64_t now_ns, uint32_t ip, uint16_t port, uint16_t local_port,
	ipstack_conn_t *conn)
{
	if (!ip_is_host(ip) || port == 0 || ip == t->cfg->ip)
		return -EINVAL;
	if (local_port == 0 && (local_port = tcp_choose_port(t, ip, port)) == 0)
		return -ENOBUFS;
	uint64_t key = flow_key(ip, port, local_port);
	if (flow_find(&t->flow, key) != FLOW_NONE)
		return -EADDRINUSE;
	struct tcb *c = tcp_tcb_new(t, now_ns, key);
	if (!c)
		return -ENOBUFS;
	c->active_open = true;
	c->given = true;
	tcp_set_state(t, c, TCPS_SYN_SENT);
	tcp_send_init(t, c, tcp_isn(t, now_ns, key));
	tcp_timer_set(t, c, TCPT_LIFE, now_ns + t->cfg->syn_timeout_ns);
	tcp_want_output(t, c);
	*conn = tcp_handle(t, c);
	return 0;
}

int tcp_send(struct tcp *t, uint64_t now_ns, ipstack_conn_t conn, const struct net_iov *iov,
	uint32_t count, uint64_t cookie)
{
	struct tcb *c = tcp_by_handle(t, conn);
	if (!c || (c->state != TCPS_ESTABLISHED && c->state != TCPS_CLOSE_WAIT) || c->fin_queued)
		return -ENOTCONN;
	int err = tcp_sndq_add(t, c, iov, count, cookie);
	if (err == 0)
		tcp_want_output(t, c);
	(void)now_ns;
	return err;
}

void tcp_pause(struct tcp *t, ipstack_conn_t conn, bool on)
{
	struct tcb *c = tcp_by_handle(t, conn);
	if (!c || c->paused == on)
		return;
	if (on)
		tcp_rxq_detach(t, c);
	c->paused = on;
	if (!on) {
		tcp_want_event(t, c);
		if (c->state != TCPS_CLOSED)
			tcp_window_update(t, c);
	}
}

void tcp_close(struct tcp *t, uint64_t now_ns, ipstack_conn_t conn)
{
	struct tcb *c = tcp_by_handle(t, conn);
	if (!c || c->fin_queued || c->state == TCPS_CLOSED)
		return;
	if (c->state == TCPS_SYN_SENT || c->state == TCPS_SYN_RCVD) {
		tcp_kill(t, c, IPSTACK_CLOSED_ABORTED);
		return;
	}
	c->fin_queued = true;
	tcp_want_output(t, c);
	(void)now_ns;
}

void tcp_abort(struct tcp *t, ipstack_conn_t conn)
{
	struct tcb *c = tcp_by_handle(t, conn);
	if (!c)
		return;
	if (c->state == TCPS_CLOSED) { /* over already, but kept data may hold back CLOSED */
		tcp_rxq_drop(t, c);
		tcp_want_event(t, c);
		return;
	}
	if (c->state != TCPS_SYN_SENT) {
		metric_add(&t->m->tcp_rst_out_total, 1);
		tcp_ctl_push(t, &(struct tcp_ctl){.dst_ip = c->peer_ip,
					.src_port = c->local_port,
					.dst_port = c->peer_port,
					.seq = c->snd_max,
					.ack = c->rcv_nxt,
					.flags = TCP_RST | TCP_ACK});
	}
	tcp_kill(t, c, IPSTACK_CLOSED_ABORTED);
}

/* The next event of c; false when there is none at the moment. */
static bool tcb_event_pop(struct tcp *t, struct tcb *c, struct ipstack_event *ev)
{
	ev->conn = tcp_handle(t, c);
	ev->user = c->user;
	if (c->ev & TCP_EV_OPEN) {
		c->ev &= (uint8_t)~TCP_EV_OPEN;
		ev->kind = c->active_open ? IPSTACK_EV_CONNECTED : IPSTACK_EV_ACCEPTED;
		ev->peer.ip = c->peer_ip;
		ev->peer.port = c->peer_port;
		ev->peer.local_port = c->local_port;
		return true;
	}
	if (tcp_rxq_readable(c)) {
		tcp_rxq_pop(t, c, ev);
		if (c->state != TCPS_CLOSED)
			tcp_window_update(t, c);
		return true;
	}
	if (c->done_head != TCP_NIL) {
		tcp_sndq_pop_done(t, c, ev);
		return true;
	}
	bool all_read = c->rcv_read + c->fin_rcvd == c->rcv_nxt;
	if ((c->ev & TCP_EV_FIN) && all_read) {
		c->ev &= (uint8_t)~TCP_EV_FIN;
		ev->kind = IPSTACK_EV_PEER_FIN;
		return true;
	}
	if ((c->ev & TCP_EV_CLOSED) && (all_read || c->reason != IPSTACK_CLOSED_NORMAL)) {
		ev->kind = IPSTACK_EV_CLOSED;
		ev->closed.reason = (enum ipstack_reason)c->reason;
		tcp_tcb_free(t, c);
		return true;
	}
	return false;
}

bool tcp_event_pop(struct tcp *t, struct ipstack_event *ev)
{
	struct list *n;
	while ((n = list_front(&t->evlist))) {
		struct tcb *c = list_entry(n, struct tcb, evnode);
		if (tcb_event_pop(t, c, ev))
			return true;
		list_remove(n);
	}
	return false;
}

void tcp_release(struct tcp *t)
{
	if (t->ndirects > 0) {
		list_for_each (it, &t->evlist)
			tcp_rxq_detach(t, list_entry(it, struct tcb, evnode));
	}
	CHECK(t->ndirects == 0);
	tcp_rxq_release(t);
}
