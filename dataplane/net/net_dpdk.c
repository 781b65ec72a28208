/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dpdk transport of one shard: net_ops over its ipstack. Events of the stack become events of
 * net.h; the stack's connections get a slot here, which carries what net.h promises beyond it:
 * copies of small sends, and the end of the connection after the peer's FIN. Owner: the shard's
 * thread.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_lcore.h>

#include "base/bytes.h"
#include "base/check.h"
#include "net/net_dpdk_int.h"

static struct dshard *shard_of(struct net *n)
{
	return container_of(n, struct dshard, net);
}

static net_conn_t handle_of(const struct dshard *s, const struct dcn *c)
{
	return (uint64_t)c->gen << 32 | (uint64_t)(c - s->conns);
}

/* NULL when the handle is stale. */
static struct dcn *conn_of(struct dshard *s, net_conn_t h)
{
	uint32_t slot = (uint32_t)h;
	if (slot >= s->conn_slots)
		return NULL;
	struct dcn *c = &s->conns[slot];
	return c->state != DCN_FREE && c->gen == h >> 32 ? c : NULL;
}

/* ---- copies of sends without a cookie ---- */

static void copy_free(struct dshard *s, struct dcn *c)
{
	uint32_t i = c->copy_first;
	CHECK(i != DPDK_NONE);
	c->copy_first = s->copy_next[i];
	if (c->copy_first == DPDK_NONE)
		c->copy_last = DPDK_NONE;
	s->copy_next[i] = s->copy_free;
	s->copy_free = i;
}

static int send_copy(struct dshard *s, struct dcn *c, const struct net_iov *iov, uint32_t count)
{
	uint32_t i = s->copy_free;
	struct net_iov one = {.len = 0};
	if (i == DPDK_NONE)
		return -ENOBUFS;
	uint8_t *p = s->copy_mem + (size_t)i * DPDK_COPY_SIZE;
	for (uint32_t k = 0; k < count; k++) {
		CHECK(iov[k].len <= DPDK_COPY_SIZE - one.len);
		memcpy(p + one.len, iov[k].p, iov[k].len);
		one.len += iov[k].len;
	}
	one.p = p;
	int err = ipstack_send(s->stack, s->now_ns, c->ip, &one, 1, 0);
	if (err)
		return err;
	s->copy_free = s->copy_next[i];
	s->copy_next[i] = DPDK_NONE;
	if (c->copy_last == DPDK_NONE)
		c->copy_first = i;
	else
		s->copy_next[c->copy_last] = i;
	c->copy_last = i;
	return 0;
}

/* ---- events ---- */

static struct dcn *conn_open(struct dshard *s, ipstack_conn_t ip)
{
	/* There are as many slots as the stack has connections, and those that have ended. */
	struct list *l = list_pop_front(&s->free);
	CHECK(l);
	struct dcn *c = list_entry(l, struct dcn, node);
	c->state = DCN_OPEN;
	c->ip = ip;
	c->user = NULL;
	c->accepted_in = s->poll_count;
	c->copy_first = c->copy_last = DPDK_NONE;
	c->held = 0;
	c->ended = false;
	ipstack_set_user(s->stack, ip, c);
	return c;
}

static void conn_free(struct dshard *s, struct dcn *c)
{
	CHECK(c->copy_first == DPDK_NONE && c->held == 0);
	list_remove(&c->node);
	c->state = DCN_FREE;
	c->gen = c->gen == UINT32_MAX ? 1 : c->gen + 1;
	list_push_back(&s->free, &c->node);
}

/* As ::ffff:a.b.c.d. */
static void put_ip(uint32_t ip, uint8_t out[16])
{
	memset(out, 0, 16);
	out[10] = out[11] = 0xff;
	for (unsigned i = 0; i < 4; i++)
		out[12 + i] = (uint8_t)(ip >> (24 - 8 * i));
}

static void fill_peer(struct net_event *ev, const struct ipstack_event *e)
{
	put_ip(e->peer.ip, ev->peer.ip);
	ev->peer.port = e->peer.port;
}

static void end_conn(struct dshard *s, struct dcn *c, struct net_event *ev)
{
	*ev = (struct net_event){.kind = NET_EV_CLOSED, .conn = handle_of(s, c), .user = c->user};
	conn_free(s, c);
}

/* What waited for the port: the ends of sends, and of connections. False: no more of that. */
static bool late_event(struct dshard *s, struct net_event *ev)
{
	struct list *l = list_front(&s->ended);
	if (l) {
		end_conn(s, list_entry(l, struct dcn, node), ev);
		return true;
	}
	struct dcn *c = dframe_let_go(s, ev);
	if (!c)
		return false;
	ev->conn = handle_of(s, c);
	ev->user = c->user;
	if (c->ended && c->held == 0)
		list_push_back(&s->ended, &c->node);
	return true;
}

/* Translates; false when the caller is not to see it. */
static bool translate(struct dshard *s, const struct ipstack_event *e, struct net_event *ev)
{
	struct dcn *c = e->kind == IPSTACK_EV_ACCEPTED ? conn_open(s, e->conn) : e->user;
	*ev = (struct net_event){.conn = handle_of(s, c), .user = c->user};
	switch (e->kind) {
	case IPSTACK_EV_ACCEPTED:
		ev->kind = NET_EV_ACCEPTED;
		fill_peer(ev, e);
		return true;
	case IPSTACK_EV_DATA:
		ev->kind = NET_EV_DATA;
		ev->data.p = e->data.p;
		ev->data.len = e->data.len;
		return c->state == DCN_OPEN;
	case IPSTACK_EV_SENT:
		if (e->sent.cookie == 0) {
			copy_free(s, c);
			return false;
		}
		return dframe_sent(s, c, e->sent.cookie, e->sent.ok, ev);
	case IPSTACK_EV_PEER_FIN:
		/* The caller gets one turn to answer what came before the FIN. */
		if (c->state == DCN_OPEN)
			list_push_back(&s->fins, &c->node);
		return false;
	case IPSTACK_EV_CLOSED:
		c->ended = true;
		c->state = DCN_CLOSING;
		list_remove(&c->node);
		if (c->held == 0)
			end_conn(s, c, ev);
		return c->held == 0;
	case IPSTACK_EV_CONNECTED:
		ev->kind = NET_EV_CONNECTED;
		fill_peer(ev, e);
		return true;
	}
	return false;
}

static void close_conn(struct dshard *s, struct dcn *c)
{
	list_remove(&c->node);
	c->state = DCN_CLOSING;
	ipstack_close(s->stack, s->now_ns, c->ip);
}

static void close_fins(struct dshard *s)
{
	struct list *l;
	while ((l = list_front(&s->fins)) != NULL)
		close_conn(s, list_entry(l, struct dcn, node));
}

static void update_metrics(struct dshard *s)
{
	const struct ipstack_metrics *i = ipstack_metrics_of(s->stack);
	struct net_metrics *m = &s->net.metrics;
	metric_set(&m->accepted_total, metric_get(&i->tcp_accepted_total));
	metric_set(&m->refused_total, metric_get(&i->tcp_syn_drop_conns_total));
	metric_set(&m->closed_total, metric_get(&i->tcp_closed_total));
	metric_set(&m->rx_bytes_total, metric_get(&i->tcp_bytes_in_total));
	metric_set(&m->tx_bytes_total, metric_get(&i->tcp_bytes_out_total));
	metric_set(&m->retransmits_total, metric_get(&i->tcp_retransmits_total));
	metric_set(&m->rx_drops_total,
		metric_get(&s->m.drop_forward_total) + metric_get(&s->m.drop_segments_total) +
			metric_get(&i->eth_drop_short_total) + metric_get(&i->eth_drop_type_total) +
			metric_get(&i->eth_drop_other_mac_total) + metric_get(&i->arp_drop_total) +
			metric_get(&i->ip_drop_header_total) +
			metric_get(&i->ip_drop_length_total) +
			metric_get(&i->ip_drop_checksum_total) +
			metric_get(&i->ip_drop_fragment_total) +
			metric_get(&i->ip_drop_address_total) + metric_get(&i->ip_drop_ttl_total) +
			metric_get(&i->ip_drop_protocol_total) +
			metric_get(&i->tcp_drop_short_total) +
			metric_get(&i->tcp_drop_checksum_total) +
			metric_get(&i->tcp_drop_no_buffer_total));
}

/* ---- the thread ---- */

static void tap_signals(const struct dshard *s, int how)
{
	sigset_t set;
	if (s->d->spec.kind != DPORT_TAP)
		return;
	sigemptyset(&set);
	for (int sig = SIGRTMIN; sig <= SIGRTMAX; sig++)
		sigaddset(&set, sig);
	CHECK(pthread_sigmask(how, &set, NULL) == 0);
}

/* Own caches of the buffer pools, and the tap driver's signals, for the thread that polls. */
static void thread_start(struct dshard *s)
{
	if (rte_lcore_id() == LCORE_ID_ANY)
		s->registered = rte_thread_register() == 0;
	tap_signals(s, SIG_UNBLOCK);
	s->started = true;
}

/* ---- net_ops ---- */

static void turn_begin(struct dshard *s)
{
	close_fins(s);
	dio_receive(s);
	dio_watch(s);
	ipstack_timers(s->stack, s->now_ns);
}

/* The caller has not had its turn to say net_set_user yet. */
static bool is_new(const struct dshard *s, const struct dcn *c)
{
	return c->accepted_in == s->poll_count;
}

static uint32_t dpdk_poll(struct net *n, uint64_t now_ns, struct net_event *ev, uint32_t max)
{
	struct dshard *s = shard_of(n);
	struct ipstack_event e;
	uint32_t count = 0;
	s->now_ns = now_ns;
	if (!s->started)
		thread_start(s);
	s->poll_count++;
	/* The stack's turn ends when all its events are out; then the frames go back. */
	if (!s->more)
		turn_begin(s);
	s->more = true;
	while (count < max && late_event(s, &ev[count]))
		count++;
	if (s->early && max > 0) {
		s->early = false;
		count += translate(s, &s->early_event, &ev[count]);
	}
	while (count < max && !s->early) {
		if (!ipstack_event_pop(s->stack, &e)) {
			s->more = false;
			break;
		}
		if (e.kind != IPSTACK_EV_ACCEPTED && is_new(s, e.user)) {
			s->early_event = e;
			s->early = true;
		} else {
			count += translate(s, &e, &ev[count]);
		}
	}
	if (count)
		update_metrics(s);
	return count;
}

static int dpdk_send(
	struct net *n, net_conn_t h, const struct net_iov *iov, uint32_t count, uint64_t cookie)
{
	struct dshard *s = shard_of(n);
	struct dcn *c = conn_of(s, h);
	CHECK(count <= DPDK_SEND_QUEUE);
	if (!c || c->state != DCN_OPEN)
		return -ENOTCONN;
	int err = cookie ? dframe_send(s, c, iov, count, cookie) : send_copy(s, c, iov, count);
	CHECK(err != -EINVAL);
	return err;
}

static int dpdk_connect(struct net *n, const uint8_t ip[16], uint16_t port, net_conn_t *conn)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	struct dshard *s = shard_of(n);
	ipstack_conn_t h;
	if (memcmp(ip, mapped, sizeof(mapped)) != 0)
		return -EAFNOSUPPORT;
	int err = ipstack_connect(s->stack, s->now_ns, be32_get(ip + 12), port, 0, &h);
	if (err)
		return err;
	struct dcn *c = conn_open(s, h);
	c->accepted_in = 0; /* the caller knows it from now on */
	*conn = handle_of(s, c);
	return 0;
}

static void dpdk_flush(struct net *n, uint64_t now_ns)
{
	struct dshard *s = shard_of(n);
	s->now_ns = now_ns;
	dio_send(s);
}

static void dpdk_set_user(struct net *n, net_conn_t h, void *user)
{
	struct dcn *c = conn_of(shard_of(n), h);
	if (c)
		c->user = user;
}

static void dpdk_pause(struct net *n, net_conn_t h, bool on)
{
	struct dshard *s = shard_of(n);
	struct dcn *c = conn_of(s, h);
	if (c && c->state == DCN_OPEN)
		ipstack_pause(s->stack, c->ip, on);
}

static void dpdk_close(struct net *n, net_conn_t h, bool abort)
{
	struct dshard *s = shard_of(n);
	struct dcn *c = conn_of(s, h);
	if (!c)
		return;
	if (abort) {
		list_remove(&c->node);
		c->state = DCN_CLOSING;
		ipstack_abort(s->stack, c->ip);
	} else if (c->state == DCN_OPEN) {
		/* What it held back is not wanted any more; it would keep the FIN from being seen.
		 */
		ipstack_pause(s->stack, c->ip, false);
		close_conn(s, c);
	}
}

static void dpdk_stop_listening(struct net *n)
{
	struct dshard *s = shard_of(n);
	if (s->d->cfg.listen_port)
		ipstack_unlisten(s->stack, s->d->cfg.listen_port);
}

static void dpdk_wait(struct net *n, uint64_t now_ns, uint64_t until_ns)
{
	struct dshard *s = shard_of(n);
	s->now_ns = now_ns;
	update_metrics(s);
	if (s->more || !list_empty(&s->fins) || !list_empty(&s->ended))
		return;
	dio_wait(s, until_ns);
}

#define LIST_SLOTS 4096u /* looked at for one page */

static void fill_info(const struct ipstack_conn_info *i, struct conn_info *out)
{
	*out = (struct conn_info){
		.peer_port = i->peer_port,
		.local_port = i->local_port,
		.cwnd_bytes = i->cwnd,
		.ssthresh_bytes = i->ssthresh,
		.in_flight_bytes = i->in_flight,
		.send_queue_bytes = i->queued_bytes,
		.recv_queue_bytes = i->unread_bytes,
		.send_window_bytes = i->snd_wnd,
		.recv_window_bytes = i->rcv_wnd,
		.mss_bytes = i->mss,
		.pmtu_bytes = i->pmtu,
		.srtt_ns = i->srtt_ns,
		.rttvar_ns = i->rttvar_ns,
		.min_rtt_ns = i->min_rtt_ns == UINT64_MAX ? 0 : i->min_rtt_ns,
		.rto_ns = i->rto_ns,
		.retransmits = i->retransmits,
		.bytes_in = i->bytes_in,
		.bytes_out = i->bytes_out,
		.send_wscale = i->snd_wscale,
		.recv_wscale = i->rcv_wscale,
		.sack = i->sack,
		.timestamps = i->timestamps,
		.ecn = i->ecn,
		.paused = i->paused,
	};
	snprintf(out->state, sizeof(out->state), "%s", i->state);
	snprintf(out->cc, sizeof(out->cc), "%s", i->cubic ? "cubic" : "newreno");
	put_ip(i->peer_ip, out->peer_ip);
}

static void dpdk_list(struct net *n, struct conn_page *p)
{
	struct dshard *s = shard_of(n);
	uint32_t max = s->d->cfg.max_conns, i = p->from;
	uint32_t end = i < max ? i + min_of(LIST_SLOTS, max - i) : max;
	p->count = 0;
	for (; i < end && p->count < p->max; i++) {
		struct ipstack_conn_info info;
		ipstack_conn_t c = ipstack_conn_at(s->stack, i);
		if (c && ipstack_conn_info_get(s->stack, c, &info) == 0)
			fill_info(&info, &p->conns[p->count++]);
	}
	p->next = i < max ? i : 0;
}

static int dpdk_capture(struct net *n, const struct capture_order *order)
{
	shard_of(n)->capture = *order;
	return 0;
}

/* Peers are told (RST), so that they do not wait for a broker that has gone. */
static void reset_all(struct dshard *s)
{
	for (uint32_t i = 0; s->conns && i < s->conn_slots; i++)
		if (s->conns[i].state != DCN_FREE && !s->conns[i].ended)
			ipstack_abort(s->stack, s->conns[i].ip);
	for (uint32_t i = 0; i < 100 && (s->tx_count || ipstack_tx_pending(s->stack)); i++)
		dio_send(s);
}

static void free_frames(struct dshard *s)
{
	if (s->lent_count)
		rte_pktmbuf_free_bulk(s->lent, s->lent_count);
	if (s->spare_count)
		rte_pktmbuf_free_bulk(s->spare, s->spare_count);
	if (s->tx_count)
		rte_pktmbuf_free_bulk(s->tx, s->tx_count);
	s->lent_count = s->spare_count = s->tx_count = 0;
}

static void dpdk_stop(struct net *n)
{
	struct dshard *s = shard_of(n);
	if (s->stack)
		reset_all(s);
	free_frames(s);
	free(s->conns);
	free(s->copy_mem);
	s->conns = NULL;
	s->copy_mem = NULL;
	s->open = false;
	if (s->started)
		tap_signals(s, SIG_BLOCK);
	if (s->registered && rte_lcore_id() != LCORE_ID_ANY)
		rte_thread_unregister();
	s->started = s->registered = false;
}

/* The struct itself is the environment's (net_dpdk_close). The stack has metrics that others read
 * until here. */
static void dpdk_fini(struct net *n)
{
	struct dshard *s = shard_of(n);
	if (s->open)
		dpdk_stop(n);
	if (s->stack)
		ipstack_destroy(s->stack);
	s->stack = NULL;
}

const struct net_dpdk_metrics *net_dpdk_metrics_of(const struct net *n)
{
	CHECK(n->ops == &net_dpdk_ops);
	return &container_of(n, const struct dshard, net)->m;
}

const struct ipstack_metrics *net_dpdk_stack_metrics_of(const struct net *n)
{
	CHECK(n->ops == &net_dpdk_ops);
	return ipstack_metrics_of(container_of(n, const struct dshard, net)->stack);
}

const struct net_ops net_dpdk_ops = {
	.poll = dpdk_poll,
	.send = dpdk_send,
	.flush = dpdk_flush,
	.connect = dpdk_connect,
	.set_user = dpdk_set_user,
	.pause = dpdk_pause,
	.close = dpdk_close,
	.stop_listening = dpdk_stop_listening,
	.wait = dpdk_wait,
	.list = dpdk_list,
	.capture = dpdk_capture,
	.stop = dpdk_stop,
	.fini = dpdk_fini,
};
