/* SPDX-License-Identifier: Apache-2.0 */
/* One shard's stack put together: memory, the way in, the calls of ipstack.h. */
#include "net/ipstack_int.h"

#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "net/icmp.h"

void ipstack_config_defaults(struct ipstack_config *cfg)
{
	*cfg = (struct ipstack_config){.mtu = 1500,
		.tx_slices_max = IP_OUT_SLICES,
		.max_conns = 1024,
		.max_time_wait = 4096,
		.syn_backlog = 512,
		.neighbours = 256,
		.ctl_frames = 256,
		.rx_burst = 64,
		.rx_window_bytes = 1u << 20,
		.rx_chunks = 8192,
		.rx_chunks_per_conn = 1024,
		.send_slots = 65536,
		.tx_segments = 32768,
		.send_slots_per_conn = 1024,
		.tx_bytes_per_pass = 65536,
		.rto_initial_ns = NS_PER_S,
		.rto_min_ns = 200 * NS_PER_MS,
		.rto_max_ns = 60 * NS_PER_S,
		.user_timeout_ns = 30 * NS_PER_S,
		.syn_timeout_ns = 30 * NS_PER_S,
		.delack_ns = 40 * NS_PER_MS,
		.keepalive_idle_ns = 120 * NS_PER_S,
		.keepalive_interval_ns = 10 * NS_PER_S,
		.keepalive_probes = 6,
		.fin_wait2_ns = 60 * NS_PER_S,
		.time_wait_ns = 60 * NS_PER_S,
		.congestion = IPSTACK_CC_CUBIC,
		.sack = true,
		.timestamps = true,
		.ecn = true,
		.syn_cookies = true,
		.challenge_acks_per_s = 100,
		.icmp_replies_per_s = 100,
		.resets_per_s = 200};
}

static bool config_good(const struct ipstack_config *c)
{
	uint32_t big = 1u << 24;
	return ip_is_host(c->ip) && c->prefix_len <= 32 && c->mtu >= 576 && c->mtu <= 9000 &&
	       !(c->mac[0] & 1) && c->tso_max_bytes <= 65000 && c->tx_slices_max >= 1 &&
	       c->tx_slices_max <= IP_OUT_SLICES && c->max_conns >= 1 && c->max_conns <= big &&
	       c->max_time_wait >= 1 && c->max_time_wait <= big && c->syn_backlog >= 1 &&
	       c->neighbours >= 1 && c->neighbours <= 65536 && c->ctl_frames >= 1 &&
	       c->ctl_frames <= 65536 && c->rx_burst >= 1 && c->rx_burst <= 65536 &&
	       c->rx_window_bytes >= 1024 && c->rx_window_bytes <= big && c->rx_chunks >= 8 &&
	       c->rx_chunks <= big && c->rx_chunks_per_conn >= 1 && c->send_slots >= 1 &&
	       c->send_slots <= big && c->tx_segments <= big && c->send_slots_per_conn >= 1 &&
	       c->tx_bytes_per_pass >= 1 && c->rto_min_ns > 0 && c->rto_initial_ns > 0 &&
	       c->rto_min_ns <= c->rto_max_ns && c->rto_initial_ns <= c->rto_max_ns;
}

/* Hands out pieces of one block; with base NULL only counts. */
struct layout {
	uint8_t *base;
	size_t used;
};

static void *layout_take(struct layout *l, size_t count, size_t size)
{
	size_t at = align_up(l->used, (size_t)64);
	l->used = at + count * size;
	return l->base ? l->base + at : NULL;
}

struct stack_memory {
	struct ipstack *s;
	struct neigh *neighs;
	uint32_t *buckets;
	uint32_t nbuckets;
	struct ctl_frame *ctl;
	uint8_t *big;
	struct tcp_memory tcp;
};

static size_t stack_layout(const struct ipstack_config *cfg, uint8_t *base, struct stack_memory *m)
{
	struct layout l = {.base = base};
	m->s = layout_take(&l, 1, sizeof(*m->s));
	m->neighs = layout_take(&l, cfg->neighbours, sizeof(*m->neighs));
	m->nbuckets = 16;
	while (m->nbuckets < cfg->neighbours)
		m->nbuckets *= 2;
	m->buckets = layout_take(&l, m->nbuckets, sizeof(*m->buckets));
	m->ctl = layout_take(&l, cfg->ctl_frames, sizeof(*m->ctl));
	m->big = layout_take(&l, CTL_BIG_MAX, cfg->mtu);
	m->tcp.nflow = flow_slots_for(cfg->max_conns + cfg->max_time_wait);
	m->tcp.flow = layout_take(&l, m->tcp.nflow, sizeof(*m->tcp.flow));
	m->tcp.tcbs = layout_take(&l, cfg->max_conns, sizeof(*m->tcp.tcbs));
	m->tcp.tws = layout_take(&l, cfg->max_time_wait, sizeof(*m->tcp.tws));
	m->tcp.slots = layout_take(&l, cfg->send_slots, sizeof(*m->tcp.slots));
	m->tcp.ntxsegs = cfg->tx_segments + cfg->max_conns;
	m->tcp.txsegs = layout_take(&l, m->tcp.ntxsegs, sizeof(*m->tcp.txsegs));
	m->tcp.chunks = layout_take(&l, cfg->rx_chunks, sizeof(*m->tcp.chunks));
	m->tcp.directs = layout_take(&l, cfg->rx_burst, sizeof(*m->tcp.directs));
	m->tcp.chunk_bytes = layout_take(&l, cfg->rx_chunks, TCP_CHUNK_BYTES);
	return l.used;
}

size_t ipstack_memory_bytes(const struct ipstack_config *cfg)
{
	struct stack_memory m;
	return config_good(cfg) ? stack_layout(cfg, NULL, &m) : 0;
}

struct ipstack *ipstack_create(const struct ipstack_config *cfg, uint64_t now_ns)
{
	struct stack_memory m;
	size_t size = ipstack_memory_bytes(cfg);
	uint8_t *base = size ? calloc(1, size) : NULL;
	if (!base)
		return NULL;
	stack_layout(cfg, base, &m);
	struct ipstack *s = m.s;
	s->cfg = *cfg;
	list_init(&s->ctl_free);
	list_init(&s->ctl_ready);
	list_init(&s->ctl_sent);
	for (uint32_t i = 0; i < cfg->ctl_frames; i++) {
		list_init(&m.ctl[i].node);
		list_push_back(&s->ctl_free, &m.ctl[i].node);
	}
	for (uint32_t i = 0; i < CTL_BIG_MAX; i++)
		s->big[s->nbig++] = m.big + (size_t)i * cfg->mtu;
	arp_init(&s->arp, &s->cfg, &s->metrics, m.neighs, cfg->neighbours, m.buckets, m.nbuckets);
	tcp_init(&s->tcp, &s->cfg, &s->metrics, &m.tcp, now_ns);
	arp_announce(&s->arp, now_ns);
	return s;
}

void ipstack_destroy(struct ipstack *s)
{
	free(s); /* the stack is the first thing in its block */
}

static void input_arp(struct ipstack *s, uint64_t now_ns, const struct eth_pkt *eth)
{
	struct arp_ready ready;
	arp_ready_init(&ready);
	arp_input(&s->arp, now_ns, eth, &ready);
	ipstack_ready(s, &ready);
}

static void input_icmp(struct ipstack *s, uint64_t now_ns, const struct ip_pkt *ip)
{
	struct icmp_error error;
	if (icmp_error_parse(ip, &error)) {
		tcp_icmp_error(&s->tcp, now_ns, &error);
		return;
	}
	if (!icmp_is_echo_request(ip, &s->metrics))
		return;
	if (!rate_take(&s->icmp_rate, now_ns, s->cfg.icmp_replies_per_s)) {
		metric_add(&s->metrics.icmp_limited_total, 1);
		return;
	}
	ipstack_echo_reply(s, ip);
}

static void input_tcp(struct ipstack *s, uint64_t now_ns, const struct ip_pkt *ip,
	bool l4_checksum_ok, void *rxref)
{
	struct tcp_seg seg;
	if (!tcp_seg_parse(ip->p, ip->len, ip->src, ip->dst, l4_checksum_ok, &seg, &s->metrics))
		return;
	seg.rxref = rxref;
	seg.ce = ip->ce;
	tcp_input(&s->tcp, now_ns, &seg);
	ipstack_ctl_drain(s);
}

void ipstack_input(struct ipstack *s, uint64_t now_ns, const uint8_t *frame, uint32_t len,
	bool l3_checksum_ok, bool l4_checksum_ok, void *rxref)
{
	struct eth_pkt eth;
	struct ip_pkt ip;
	metric_add(&s->metrics.rx_frames_total, 1);
	metric_add(&s->metrics.rx_bytes_total, len);
	if (!eth_parse(frame, len, s->cfg.mac, &eth, &s->metrics))
		return;
	if (eth.type == ETH_TYPE_ARP) {
		input_arp(s, now_ns, &eth);
		return;
	}
	if (!ip_parse(eth.p, eth.len, &s->cfg, l3_checksum_ok, &ip, &s->metrics))
		return;
	if (eth.broadcast) { /* RFC 1122 section 3.3.6: our address in a broadcast frame is a
				mistake */
		metric_add(&s->metrics.ip_drop_address_total, 1);
		return;
	}
	if (ip.proto == IP_PROTO_TCP)
		input_tcp(s, now_ns, &ip, l4_checksum_ok, rxref);
	else if (ip.proto == IP_PROTO_ICMP)
		input_icmp(s, now_ns, &ip);
	else
		metric_add(&s->metrics.ip_drop_protocol_total, 1);
}

void ipstack_timers(struct ipstack *s, uint64_t now_ns)
{
	struct arp_ready dead;
	arp_ready_init(&dead);
	arp_timers(&s->arp, now_ns, &dead);
	ipstack_dead(s, &dead);
	tcp_timers(&s->tcp, now_ns);
	ipstack_ctl_drain(s);
}

uint64_t ipstack_next_timer_ns(const struct ipstack *s)
{
	uint64_t a = arp_next_ns(&s->arp), t = tcp_timers_next_ns(&s->tcp);
	return min_of(a, t);
}

bool ipstack_event_pop(struct ipstack *s, struct ipstack_event *ev)
{
	return tcp_event_pop(&s->tcp, ev);
}

bool ipstack_event_pending(const struct ipstack *s)
{
	return s->tcp.evlist.next != &s->tcp.evlist;
}

void ipstack_release(struct ipstack *s)
{
	tcp_release(&s->tcp);
}

int ipstack_listen(struct ipstack *s, uint16_t port)
{
	return tcp_listen(&s->tcp, port);
}

void ipstack_unlisten(struct ipstack *s, uint16_t port)
{
	tcp_unlisten(&s->tcp, port);
}

int ipstack_connect(struct ipstack *s, uint64_t now_ns, uint32_t ip, uint16_t port,
	uint16_t local_port, ipstack_conn_t *conn)
{
	return tcp_connect(&s->tcp, now_ns, ip, port, local_port, conn);
}

int ipstack_send(struct ipstack *s, uint64_t now_ns, ipstack_conn_t conn, const struct net_iov *iov,
	uint32_t count, uint64_t cookie)
{
	return tcp_send(&s->tcp, now_ns, conn, iov, count, cookie);
}

void ipstack_pause(struct ipstack *s, ipstack_conn_t conn, bool on)
{
	tcp_pause(&s->tcp, conn, on);
}

void ipstack_close(struct ipstack *s, uint64_t now_ns, ipstack_conn_t conn)
{
	tcp_close(&s->tcp, now_ns, conn);
}

void ipstack_abort(struct ipstack *s, ipstack_conn_t conn)
{
	tcp_abort(&s->tcp, conn);
	ipstack_ctl_drain(s);
}

void ipstack_set_user(struct ipstack *s, ipstack_conn_t conn, void *user)
{
	struct tcb *c = tcp_by_handle(&s->tcp, conn);
	if (c)
		c->user = user;
}

void ipstack_link_up(struct ipstack *s, uint64_t now_ns)
{
	arp_announce(&s->arp, now_ns);
	for (uint32_t i = 0; i < s->cfg.max_conns; i++) {
		struct tcb *c = &s->tcp.tcbs[i];
		if (c->state != TCPS_CLOSED && tcp_timer_is_on(c, TCPT_RTX))
			tcp_timer_set(&s->tcp, c, TCPT_RTX, now_ns);
	}
}

void ipstack_neigh_learn(struct ipstack *s, uint64_t now_ns, uint32_t ip, const uint8_t mac[6])
{
	struct arp_ready ready;
	arp_ready_init(&ready);
	arp_learn(&s->arp, now_ns, ip, mac, &ready);
	ipstack_ready(s, &ready);
}

bool ipstack_neigh_learned(struct ipstack *s, uint32_t *ip, uint8_t mac[6])
{
	struct list *n = list_pop_front(&s->arp.learned);
	if (!n)
		return false;
	const struct neigh *nb = list_entry(n, struct neigh, learned);
	*ip = nb->ip;
	memcpy(mac, nb->mac, 6);
	return true;
}

int ipstack_conn_info_get(
	const struct ipstack *s, ipstack_conn_t conn, struct ipstack_conn_info *info)
{
	const struct tcb *c = tcp_by_handle(&s->tcp, conn);
	if (!c)
		return -ENOTCONN;
	uint32_t headers = IP_HDR_LEN + TCP_HDR_LEN + (c->ts_ok ? TCP_TS_LEN : 0);
	*info = (struct ipstack_conn_info){.state = tcp_state_name((enum tcp_state)c->state),
		.peer_ip = c->peer_ip,
		.peer_port = c->peer_port,
		.local_port = c->local_port,
		.cwnd = c->cwnd,
		.ssthresh = c->ssthresh,
		.in_flight = tcp_flight(c),
		.snd_wnd = c->snd_wnd,
		.rcv_wnd = c->rcv_adv - c->rcv_nxt,
		.mss = c->mss,
		.queued_bytes = c->queued,
		.rx_chunks = c->rq_chunks,
		.srtt_ns = c->srtt_ns,
		.rttvar_ns = c->rttvar_ns,
		.rto_ns = tcp_rto_now(&s->tcp, c),
		.min_rtt_ns = c->min_rtt_ns,
		.bytes_in = c->bytes_in,
		.bytes_out = c->bytes_out,
		.retransmits = c->retransmits,
		.unread_bytes = c->rcv_nxt - c->rcv_read - c->fin_rcvd,
		.pmtu = c->mss == c->mss_full ? s->cfg.mtu : c->mss + headers,
		.snd_wscale = c->snd_wscale,
		.rcv_wscale = c->rcv_wscale,
		.sack = c->sack_ok,
		.timestamps = c->ts_ok,
		.ecn = c->ecn_ok,
		.cubic = c->cubic,
		.paused = c->paused};
	return 0;
}

ipstack_conn_t ipstack_conn_at(const struct ipstack *s, uint32_t i)
{
	return i < s->cfg.max_conns && s->tcp.tcbs[i].given ? tcp_handle(&s->tcp, &s->tcp.tcbs[i])
							    : 0;
}

size_t ipstack_dump(const struct ipstack *s, char *buf, size_t size)
{
	size_t at = 0;
	if (size > 0)
		buf[0] = 0;
	for (uint32_t i = 0; i < s->cfg.max_conns && at + 1 < size; i++) {
		const struct tcb *c = &s->tcp.tcbs[i];
		if (c->state == TCPS_CLOSED && !c->given)
			continue;
		at += (size_t)tcp_dump(&s->tcp, c, buf + at, size - at);
	}
	return min_of(at, size ? size - 1 : 0);
}

void ipstack_check(const struct ipstack *s)
{
	arp_check(&s->arp);
	tcp_check_all(&s->tcp);
	CHECK(s->nbig <= CTL_BIG_MAX);
}

void ipstack_usage_get(const struct ipstack *s, struct ipstack_usage *u)
{
	*u = (struct ipstack_usage){.conns = s->tcp.ntcbs,
		.time_wait = s->tcp.ntws,
		.syn_rcvd = s->tcp.nsyn_rcvd,
		.send_slots = s->tcp.nslots,
		.rx_chunks = s->tcp.nchunks,
		.neighbours = s->arp.used};
}

const struct ipstack_metrics *ipstack_metrics_of(const struct ipstack *s)
{
	return &s->metrics;
}

const struct metric_desc *ipstack_metric_table(uint32_t *count)
{
	static const struct metric_desc table[] = {
#define X(name, help) {"stack_" #name, help, offsetof(struct ipstack_metrics, name)},
		IPSTACK_METRICS(X)
#undef X
	};
	*count = array_size(table);
	return table;
}
