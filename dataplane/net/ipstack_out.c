/* SPDX-License-Identifier: Apache-2.0 */
/* The way out of a stack: ARP first, then answers without a connection, then connections in turn.
 */
#include "net/ipstack_int.h"

#include "base/bytes.h"
#include "net/icmp.h"

#define L3_AT ETH_HDR_LEN
#define L4_AT (ETH_HDR_LEN + IP_HDR_LEN)

static struct ctl_frame *ctl_new(struct ipstack *s, uint32_t dst_ip)
{
	struct list *n = list_pop_front(&s->ctl_free);
	if (!n) {
		metric_add(&s->metrics.ctl_drop_total, 1);
		return NULL;
	}
	struct ctl_frame *f = list_entry(n, struct ctl_frame, node);
	f->dst_ip = dst_ip;
	f->has_big = false;
	f->big = (struct net_iov){.p = NULL, .len = 0};
	return f;
}

static void ctl_free(struct ipstack *s, struct ctl_frame *f)
{
	if (f->has_big)
		s->big[s->nbig++] = (uint8_t *)(uintptr_t)f->big.p;
	f->has_big = false;
	list_push_back(&s->ctl_free, &f->node);
}

void ipstack_ctl_drain(struct ipstack *s)
{
	struct tcp_ctl ctl;
	while (tcp_ctl_pop(&s->tcp, &ctl)) {
		struct ctl_frame *f = ctl_new(s, ctl.dst_ip);
		if (!f)
			continue;
		uint8_t *p = f->hdr + L4_AT;
		uint32_t len = tcp_ctl_build(p, &ctl);
		ip_build(f->hdr + L3_AT, s->cfg.ip, ctl.dst_ip, IP_PROTO_TCP, len,
			s->cfg.tx_ip_csum_offload);
		tcp_hdr_checksum(
			p, len, s->cfg.ip, ctl.dst_ip, NULL, 0, len, s->cfg.tx_l4_csum_offload);
		f->hdr_len = (uint16_t)(L4_AT + len);
		f->l4_len = (uint8_t)len;
		list_push_back(&s->ctl_ready, &f->node);
	}
}

void ipstack_echo_reply(struct ipstack *s, const struct ip_pkt *request)
{
	bool fits = request->len <= IP_OUT_HDR_MAX - L4_AT;
	if (!fits && (s->nbig == 0 || request->len + IP_HDR_LEN > s->cfg.mtu)) {
		metric_add(&s->metrics.icmp_drop_total, 1);
		return;
	}
	struct ctl_frame *f = ctl_new(s, request->src);
	if (!f)
		return;
	f->l4_len = 0;
	f->hdr_len = L4_AT;
	if (fits) {
		icmp_build_reply(f->hdr + L4_AT, request);
		f->hdr_len += (uint16_t)request->len;
	} else {
		uint8_t *big = s->big[--s->nbig];
		icmp_build_reply(big, request);
		f->big = (struct net_iov){.p = big, .len = request->len};
		f->has_big = true;
	}
	ip_build(f->hdr + L3_AT, s->cfg.ip, request->src, IP_PROTO_ICMP, request->len, false);
	metric_add(&s->metrics.icmp_echo_total, 1);
	list_push_back(&s->ctl_ready, &f->node);
}

void ipstack_ready(struct ipstack *s, struct arp_ready *ready)
{
	list_splice(&s->ctl_ready, &ready->pending);
	list_splice(&s->tcp.txlist, &ready->waiters);
}

void ipstack_dead(struct ipstack *s, struct arp_ready *dead)
{
	struct list *n;
	while ((n = list_pop_front(&dead->pending))) {
		metric_add(&s->metrics.arp_pending_drop_total, 1);
		ctl_free(s, list_entry(n, struct ctl_frame, node));
	}
	while (list_pop_front(&dead->waiters))
		continue; /* their retransmission timers will bring them back */
}

/* The neighbour on the way to dst; NULL: no way, or no room to ask. */
static struct neigh *out_neigh(struct ipstack *s, uint64_t now_ns, uint32_t dst)
{
	uint32_t hop = ip_next_hop(&s->cfg, dst);
	if (hop == 0) {
		metric_add(&s->metrics.ip_drop_no_route_total, 1);
		return NULL;
	}
	return arp_resolve(&s->arp, now_ns, hop);
}

static void out_count(struct ipstack *s, const struct ip_out_frame *o)
{
	metric_add(&s->metrics.tx_frames_total, 1);
	metric_add(&s->metrics.tx_bytes_total, o->hdr_len + o->payload_len);
}

/* Sends f, or lets it wait for its neighbour. True: *o is filled. */
static bool out_ctl(struct ipstack *s, uint64_t now_ns, struct ctl_frame *f, struct ip_out_frame *o)
{
	struct neigh *n = out_neigh(s, now_ns, f->dst_ip);
	if (!n || !neigh_usable(n)) {
		if (n && n->state == NEIGH_INCOMPLETE && n->npending < ARP_PENDING_MAX) {
			n->npending++;
			list_push_back(&n->pending, &f->node);
			return false;
		}
		if (n) /* else the reason is counted already */
			metric_add(&s->metrics.arp_pending_drop_total, 1);
		ctl_free(s, f);
		return false;
	}
	memcpy(o->hdr, f->hdr, f->hdr_len);
	eth_build(o->hdr, n->mac, s->cfg.mac, ETH_TYPE_IPV4);
	o->hdr_len = f->hdr_len;
	o->l2_len = ETH_HDR_LEN;
	o->l3_len = IP_HDR_LEN;
	o->l4_len = f->l4_len;
	o->flags = IP_OUT_IPV4 | (f->l4_len ? IP_OUT_TCP : 0) | (f->has_big ? IP_OUT_COPY : 0);
	o->nslices = f->has_big;
	o->tso_mss = 0;
	o->payload_len = f->big.len;
	o->slice[0] = f->big;
	list_push_back(&s->ctl_sent, &f->node);
	out_count(s, o);
	return true;
}

/* Takes the connection at the front of txlist out of it, or to its end. */
static void out_next_conn(struct ipstack *s, struct tcb *c, bool again)
{
	list_remove(&c->tx);
	if (again)
		list_push_back(&s->tcp.txlist, &c->tx);
	s->pass_bytes = 0;
}

/* The next segment of the connection at the front; false: none, it has left the front. */
static bool out_tcp(struct ipstack *s, uint64_t now_ns, struct ip_out_frame *o)
{
	struct tcb *c = list_entry(s->tcp.txlist.next, struct tcb, tx);
	struct neigh *n = out_neigh(s, now_ns, c->peer_ip);
	if (!n || !neigh_usable(n)) {
		out_next_conn(s, c, false);
		if (n && n->state == NEIGH_INCOMPLETE)
			list_push_back(&n->waiters, &c->tx);
		tcp_output_blocked(&s->tcp, c, now_ns);
		return false;
	}
	uint32_t len = tcp_output(&s->tcp, c, now_ns, o, L4_AT);
	tcp_dcheck(&s->tcp, c);
	if (len == 0) {
		out_next_conn(s, c, false);
		return false;
	}
	eth_build(o->hdr, n->mac, s->cfg.mac, ETH_TYPE_IPV4);
	ip_build(o->hdr + L3_AT, s->cfg.ip, c->peer_ip, IP_PROTO_TCP, len + o->payload_len,
		s->cfg.tx_ip_csum_offload);
	if (o->ect)
		ip_set_ect(o->hdr + L3_AT, s->cfg.tx_ip_csum_offload);
	o->hdr_len = (uint16_t)(L4_AT + len);
	o->l2_len = ETH_HDR_LEN;
	o->l3_len = IP_HDR_LEN;
	o->l4_len = (uint8_t)len;
	o->flags = IP_OUT_IPV4 | IP_OUT_TCP;
	s->pass_bytes += o->payload_len;
	if (s->pass_bytes >= s->cfg.tx_bytes_per_pass)
		out_next_conn(s, c, true);
	out_count(s, o);
	return true;
}

static bool out_arp(struct ipstack *s, struct ip_out_frame *o)
{
	if (!arp_out_pop(&s->arp, o->hdr))
		return false;
	o->hdr_len = ARP_FRAME_LEN;
	o->l2_len = ETH_HDR_LEN;
	o->l3_len = o->l4_len = o->flags = o->nslices = 0;
	o->tso_mss = 0;
	o->payload_len = 0;
	out_count(s, o);
	return true;
}

bool ipstack_tx_pending(const struct ipstack *s)
{
	return s->arp.out_count > 0 || s->ctl_ready.next != &s->ctl_ready ||
	       s->tcp.txlist.next != &s->tcp.txlist;
}

uint32_t ipstack_tx_pop(struct ipstack *s, uint64_t now_ns, struct ip_out_frame *out, uint32_t max)
{
	uint32_t n = 0;
	struct list *node;
	while ((node = list_pop_front(&s->ctl_sent)))
		ctl_free(s, list_entry(node, struct ctl_frame, node));
	while (n < max && ipstack_tx_pending(s)) {
		if (s->arp.out_count > 0)
			n += out_arp(s, &out[n]);
		else if ((node = list_pop_front(&s->ctl_ready)))
			n += out_ctl(s, now_ns, list_entry(node, struct ctl_frame, node), &out[n]);
		else
			n += out_tcp(s, now_ns, &out[n]);
	}
	return n;
}
