/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The next segment of a connection, built when the port asks for it: what was queued in one turn
 * leaves in full segments, and acknowledgements ride on data. Nagle's algorithm is off; silly
 * windows are avoided on both sides (RFC 9293 section 3.8.6.2).
 */
#include "net/tcp.h"

#include "base/bytes.h"

void tcp_send_init(struct tcp *t, struct tcb *c, uint32_t isn)
{
	c->iss = c->snd_una = c->snd_nxt = c->snd_max = isn;
	c->rcv_wscale = t->wscale;
	tcp_cc_init(c);
}

/* The receive window that can be told to this peer. */
static uint32_t out_window_bytes(const struct tcp *t, const struct tcb *c)
{
	return min_of(t->cfg->rx_window_bytes, 65535u << c->rcv_wscale);
}

/*
 * The window field for a segment that leaves now. The right edge is rcv_read + window; it is never
 * moved back (it would be by unread bytes or by the rounding of the scale), and only moved on by
 * steps that are worth a segment.
 */
static uint16_t out_window(struct tcp *t, struct tcb *c)
{
	uint32_t window = out_window_bytes(t, c), edge = c->rcv_read + window;
	uint32_t step = min_of((uint32_t)t->mss, window / 2);
	if (seq_lt(edge, c->rcv_adv + step))
		edge = c->rcv_adv;
	uint32_t scale = c->rcv_wscale, field = (edge - c->rcv_nxt) >> scale;
	if (edge == c->rcv_adv) /* rounded up, not to take back what was advertised */
		field = (edge - c->rcv_nxt + (1u << scale) - 1) >> scale;
	field = min_of(field, 65535u);
	c->rcv_adv = seq_max(c->rcv_adv, c->rcv_nxt + (field << scale));
	return (uint16_t)field;
}

void tcp_window_update(struct tcp *t, struct tcb *c)
{
	if (c->state < TCPS_ESTABLISHED || c->fin_rcvd)
		return;
	uint32_t window = out_window_bytes(t, c);
	uint32_t open = c->rcv_adv - c->rcv_nxt, edge = c->rcv_read + window;
	if (seq_le(edge, c->rcv_adv))
		return;
	uint32_t gain = edge - c->rcv_adv;
	bool was_small = open < t->mss && gain >= min_of((uint32_t)t->mss, window / 2);
	if (gain >= 2u * t->mss || gain >= window / 2 || was_small) {
		if (c->unacked_bytes == 0 && !c->ack_now)
			metric_add(&t->m->tcp_window_updates_total, 1);
		c->ack_now = true;
		tcp_want_output(t, c);
	}
}

/* What a SYN offers; a SYN-ACK only what the SYN had, too. */
static void out_syn_opts(const struct tcp *t, const struct tcb *c, struct tcp_opts *o)
{
	bool first = c->state == TCPS_SYN_SENT;
	o->mss = t->mss;
	if (first || c->rcv_wscale > 0 || c->snd_wscale > 0)
		o->wscale = (int8_t)t->wscale;
	o->sack_ok = first ? t->cfg->sack : c->sack_ok;
	o->ts = first ? t->cfg->timestamps : c->ts_ok;
}

/* SACK blocks, as many as there is room for beside the payload. */
static void out_sacks(struct tcp *t, struct tcb *c, uint32_t payload, struct tcp_opts *o)
{
	uint32_t room = c->mss > payload + 4 ? (c->mss - payload - 4) / 8 : 0;
	uint32_t max = min_of(room, (uint32_t)TCP_SACKS_MAX - c->ts_ok);
	if (c->sack_ok && max > 0)
		o->nsack = (uint8_t)tcp_rxq_sacks(t, c, o->sack, max);
}

/* Header of a segment that carries the current acknowledgement and window beside its payload. */
static uint32_t out_header(struct tcp *t, struct tcb *c, uint8_t *p, uint32_t seq, uint8_t flags,
	uint32_t payload, uint64_t now_ns)
{
	struct tcp_ctl h = {
		.src_port = c->local_port, .dst_port = c->peer_port, .seq = seq, .flags = flags};
	if (flags & TCP_ACK)
		h.ack = c->rcv_nxt;
	struct tcp_opts o = {.wscale = -1, .ts = c->ts_ok};
	if (flags & TCP_SYN) { /* RFC 7323 section 2.2: the window of a SYN is never scaled */
		h.wnd = (uint16_t)min_of(t->cfg->rx_window_bytes, 65535u);
		out_syn_opts(t, c, &o);
		if (flags & TCP_ACK)
			c->rcv_adv = seq_max(c->rcv_adv, c->rcv_nxt + h.wnd);
	} else {
		h.wnd = out_window(t, c);
		h.flags |= c->ece_out ? TCP_ECE : 0;
		out_sacks(t, c, payload, &o);
	}
	o.ts_val = tcp_ts_now(c->ts_offset, now_ns);
	o.ts_ecr = flags & TCP_ACK ? c->ts_recent : 0;
	uint32_t len = TCP_HDR_LEN + tcp_opts_build(p + TCP_HDR_LEN, &o);
	tcp_hdr_build(p, &h, len);
	c->last_ack_sent = h.ack;
	c->unacked_bytes = 0;
	c->last_tx_ns = now_ns;
	tcp_timer_clear(c, TCPT_DELACK);
	metric_add(&t->m->tcp_segs_out_total, 1);
	return len;
}

static uint32_t out_finish(
	struct tcp *t, const struct tcb *c, struct ip_out_frame *out, uint32_t at, uint32_t hdr_len)
{
	/* a port that cuts the segment up puts in the length of each piece */
	uint32_t pseudo_len = out->tso_mss ? 0 : hdr_len + out->payload_len;
	tcp_hdr_checksum(out->hdr + at, hdr_len, t->cfg->ip, c->peer_ip, out->slice, out->nslices,
		pseudo_len, t->cfg->tx_l4_csum_offload);
	return hdr_len;
}

/* A segment without payload. */
static uint32_t out_empty(struct tcp *t, struct tcb *c, uint64_t now_ns, struct ip_out_frame *out,
	uint32_t at, uint32_t seq, uint8_t flags)
{
	out->nslices = 0;
	out->payload_len = 0;
	out->tso_mss = 0;
	return out_finish(t, c, out, at, out_header(t, c, out->hdr + at, seq, flags, 0, now_ns));
}

/* snd_nxt moves over octets that have just been put into a segment. */
static void out_advance(struct tcp *t, struct tcb *c, uint64_t now_ns, uint32_t octets)
{
	bool idle = c->snd_nxt == c->snd_una;
	bool fresh = c->snd_nxt == c->snd_max;
	if (idle && (c->persist || c->snd_una == c->snd_max))
		c->progress_ns = now_ns;
	c->snd_nxt += octets;
	if (!fresh) {
		metric_add(&t->m->tcp_retransmits_total, 1);
		c->retransmits++;
	} else if (!c->rtt_timing) { /* Karn: only what is sent for the first time is timed */
		c->rtt_timing = true;
		c->rtt_seq = c->snd_nxt;
		c->rtt_sent_ns = now_ns;
	}
	c->snd_max = seq_max(c->snd_max, c->snd_nxt);
	if (idle || c->persist || !tcp_timer_is_on(c, TCPT_RTX))
		tcp_rtx_start(t, c, now_ns);
}

static uint32_t out_syn(
	struct tcp *t, struct tcb *c, uint64_t now_ns, struct ip_out_frame *out, uint32_t at)
{
	uint8_t flags = c->state == TCPS_SYN_SENT ? TCP_SYN : TCP_SYN | TCP_ACK;
	c->ack_now = false;
	if (flags & TCP_ACK)
		flags |= c->ecn_ok ? TCP_ECE : 0;
	else if (t->cfg->ecn && !c->syn_rexmit) /* RFC 3168 section 6.1.1.1: not a second time */
		flags |= TCP_ECE | TCP_CWR;
	uint32_t len = out_empty(t, c, now_ns, out, at, c->iss, flags);
	if (c->snd_nxt == c->iss)
		out_advance(t, c, now_ns, 1);
	return len;
}

/* Puts up to len bytes at (slot, off) into out; returns how many. */
static uint32_t out_payload(struct tcp *t, struct tcb *c, struct ip_out_frame *out, uint32_t *slot,
	uint32_t *off, uint32_t len)
{
	out->payload_len = tcp_sndq_gather(t, slot, off, len, out);
	out->tso_mss = out->payload_len > c->mss ? c->mss : 0;
	c->bytes_out += out->payload_len;
	metric_add(&t->m->tcp_bytes_out_total, out->payload_len);
	return out->payload_len;
}

/* Fast retransmit: one segment from snd_una, whatever the congestion window; snd_nxt stays. */
static uint32_t out_rexmit(
	struct tcp *t, struct tcb *c, uint64_t now_ns, struct ip_out_frame *out, uint32_t at)
{
	c->rexmit_one = false;
	uint32_t sent = min_of(c->snd_max - c->snd_una, c->queued);
	uint32_t len = min_of(min_of(sent, (uint32_t)c->mss), c->snd_wnd);
	bool fin = c->fin_sent && len == c->queued && !tcp_fin_acked(c);
	if (c->snd_nxt == c->snd_una || (len == 0 && !fin))
		return 0; /* the timer has taken over, or the window has been closed */
	uint32_t slot = c->sq_una, off = c->una_off;
	len = out_payload(t, c, out, &slot, &off, len);
	fin = fin && len == c->queued;
	c->rtt_timing = false;
	c->retransmits++;
	metric_add(&t->m->tcp_retransmits_total, 1);
	uint8_t flags = TCP_ACK | (fin ? TCP_FIN : 0) | (len ? TCP_PSH : 0);
	tcp_rtx_start(t, c, now_ns);
	return out_finish(
		t, c, out, at, out_header(t, c, out->hdr + at, c->snd_una, flags, len, now_ns));
}

/* With SACK: what is lost, or the tail as a probe. */
static uint32_t out_again(
	struct tcp *t, struct tcb *c, uint64_t now_ns, struct ip_out_frame *out, uint32_t at)
{
	bool probe = c->tlp_send;
	struct tcp_txseg *r = probe ? tcp_rack_tail(t, c) : tcp_rack_next_lost(t, c);
	if (!r)
		return 0;
	uint32_t end = tcp_data_end(c), slot = r->slot, off = r->off, seq = r->seq;
	bool fin = seq_lt(end, r->end); /* the last octet of the record is one */
	uint32_t len = min_of(r->end - seq - fin, (uint32_t)c->mss);
	if (!probe && tcp_pipe(c) > 0 && tcp_pipe(c) + len > c->cwnd)
		return 0;
	len = out_payload(t, c, out, &slot, &off, len);
	fin = fin && seq + len == end;
	c->rtt_timing = false;
	c->retransmits++;
	metric_add(&t->m->tcp_retransmits_total, 1);
	tcp_rack_resent(t, c, r, len + fin, now_ns);
	if (!probe)
		tcp_undo_resent(c, now_ns);
	if (probe)
		tcp_rack_probed(t, c, now_ns, true);
	else if (seq == c->snd_una || !tcp_timer_is_on(c, TCPT_RTX))
		tcp_rtx_start(t, c, now_ns);
	uint8_t flags = TCP_ACK | (fin ? TCP_FIN : 0) | (len ? TCP_PSH : 0);
	return out_finish(t, c, out, at, out_header(t, c, out->hdr + at, seq, flags, len, now_ns));
}

/* How many bytes from snd_nxt on may leave in one segment now; notes why not more. */
static uint32_t out_allowed(struct tcp *t, struct tcb *c, uint64_t now_ns)
{
	uint32_t flight = tcp_flight(c), cwnd = tcp_cc_window(c);
	uint32_t avail = c->queued - min_of(flight, c->queued);
	if (avail == 0)
		return 0;
	uint32_t wnd_room = c->snd_wnd > flight ? c->snd_wnd - flight : 0;
	uint32_t pipe = tcp_pipe(c), cc_room = cwnd > pipe ? cwnd - pipe : 0;
	if (c->tlp_send)
		cc_room = max_of(cc_room, (uint32_t)c->mss);
	uint32_t limit = t->cfg->tso_max_bytes > c->mss
				 ? t->cfg->tso_max_bytes - t->cfg->tso_max_bytes % c->mss
				 : c->mss;
	if (c->cwr_out) /* a port that cuts would say it in each piece */
		limit = c->mss;
	uint32_t len = min_of(min_of(avail, limit), min_of(wnd_room, cc_room));
	if (cc_room < min_of(avail, (uint32_t)c->mss) && cc_room <= wnd_room)
		c->cwnd_limited = true;
	if (len > c->mss && len < avail)
		len -= len % c->mss;
	bool again = seq_lt(c->snd_nxt, c->snd_max);
	if (len >= c->mss || (len == avail && len > 0) || (again && len > 0) ||
		(c->force && len > 0) || (len > 0 && len >= c->snd_wnd_max / 2))
		return len;
	if (flight == 0)
		tcp_persist_start(t, c, now_ns);
	return 0;
}

static uint32_t out_data(
	struct tcp *t, struct tcb *c, uint64_t now_ns, struct ip_out_frame *out, uint32_t at)
{
	if (c->snd_nxt == c->snd_una && c->snd_una == c->snd_max)
		tcp_cc_idle(c, now_ns);
	uint32_t len = out_allowed(t, c, now_ns);
	uint32_t seq = c->snd_nxt, end = tcp_data_end(c), slot = c->sq_nxt, off = c->nxt_off;
	bool fresh = seq == c->snd_max;
	bool fin = c->fin_queued && seq + len == end && !tcp_fin_acked(c) &&
		   !(c->sack_ok && c->fin_sent);
	if (len == 0 && !fin)
		return 0;
	c->force = false;
	out->nslices = 0;
	out->payload_len = out->tso_mss = 0;
	if (len > 0) {
		len = out_payload(t, c, out, &c->sq_nxt, &c->nxt_off, len);
		fin = fin && seq + len == end;
	}
	if (fin && !c->fin_sent) {
		c->fin_sent = true;
		tcp_set_state(t, c, c->state == TCPS_ESTABLISHED ? TCPS_FIN_WAIT_1 : TCPS_LAST_ACK);
	}
	out_advance(t, c, now_ns, len + fin);
	if (c->sack_ok)
		tcp_rack_sent(t, c, now_ns, seq, seq + len + fin, slot, off);
	if (c->tlp_send)
		tcp_rack_probed(t, c, now_ns, false);
	if (seq + len == end)
		c->cwnd_limited = false;
	uint8_t flags = TCP_ACK | (fin ? TCP_FIN : 0) | (len && seq + len == end ? TCP_PSH : 0);
	c->ack_now = false;
	out->ect = c->ecn_ok && fresh && len > 0; /* RFC 3168 section 6.1.5: not what is repeated */
	if (out->ect && c->cwr_out) {
		flags |= TCP_CWR;
		c->cwr_out = false;
	}
	return out_finish(t, c, out, at, out_header(t, c, out->hdr + at, seq, flags, len, now_ns));
}

uint32_t tcp_output(
	struct tcp *t, struct tcb *c, uint64_t now_ns, struct ip_out_frame *out, uint32_t at)
{
	uint32_t len = 0;
	out->ect = false;
	if (c->state == TCPS_SYN_SENT || c->state == TCPS_SYN_RCVD) {
		if (c->snd_nxt == c->iss || c->ack_now)
			return out_syn(t, c, now_ns, out, at);
		return 0;
	}
	if (c->probe) { /* RFC 9293 section 3.8.4: one octet before snd_una, which must be answered
			 */
		c->probe = false;
		return out_empty(t, c, now_ns, out, at, c->snd_una - 1, TCP_ACK);
	}
	/* one for each segment out of order, or the peer cannot count them; a duplicate is told
	   here because a full segment has no room for it */
	if (c->dup_owed > 0 || (c->dsack && c->ack_now)) {
		if (c->ack_now)
			c->ack_now = false;
		else
			c->dup_owed--;
		return out_empty(t, c, now_ns, out, at, c->snd_max, TCP_ACK);
	}
	if (c->rexmit_one)
		len = out_rexmit(t, c, now_ns, out, at);
	if (c->lost > 0)
		len = out_again(t, c, now_ns, out, at);
	if (len == 0)
		len = out_data(t, c, now_ns, out, at);
	if (len == 0 && c->tlp_send) { /* no new data: the last segment again */
		len = out_again(t, c, now_ns, out, at);
		c->tlp_send = false;
	}
	if (len == 0 && c->ack_now) {
		c->ack_now = false;
		len = out_empty(t, c, now_ns, out, at, c->snd_max, TCP_ACK);
	}
	return len;
}

void tcp_output_blocked(struct tcp *t, struct tcb *c, uint64_t now_ns)
{
	bool syn = c->state == TCPS_SYN_SENT || c->state == TCPS_SYN_RCVD;
	bool data = c->queued > 0 || (c->fin_queued && !tcp_fin_acked(c));
	if ((syn || data) && !tcp_timer_is_on(c, TCPT_RTX))
		tcp_rtx_start(t, c, now_ns);
}
