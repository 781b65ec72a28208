/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A segment arrives at a connection (RFC 9293 section 3.10.7, with RFC 5961). The order of the
 * checks is the RFC's: sequence, RST, SYN, ACK, text, FIN.
 */
#include "net/tcp.h"

#include "base/bytes.h"
#include "base/clock.h"

#define CHALLENGE_GAP_NS (500 * NS_PER_MS) /* per connection */
#define OOW_ACK_GAP_NS (500 * NS_PER_MS)
#define PAWS_IDLE_NS (24 * 86400 * NS_PER_S)

/* RFC 5961 section 7: so many per second, a number that a stranger cannot know. */
static bool challenge_take(struct tcp *t, uint64_t now_ns)
{
	uint64_t second = now_ns / NS_PER_S + 1;
	if (t->challenge_rate.second != second) {
		uint32_t n = max_of(t->cfg->challenge_acks_per_s, 1u);
		uint32_t r = (uint32_t)siphash(t->isn_key, 1, 3, &second, sizeof(second));
		t->challenge_budget = n / 2 + 1 + r % n;
	}
	return rate_take(&t->challenge_rate, now_ns, t->challenge_budget);
}

void tcp_challenge(struct tcp *t, struct tcb *c, uint64_t now_ns)
{
	if (now_ns < c->challenge_ns || !challenge_take(t, now_ns)) {
		metric_add(&t->m->tcp_challenge_limited_total, 1);
		return;
	}
	metric_add(&t->m->tcp_challenge_total, 1);
	c->challenge_ns = now_ns + CHALLENGE_GAP_NS;
	c->ack_now = true;
	tcp_want_output(t, c);
}

/* What is left of a segment after it has been cut to the receive window. */
struct in_text {
	uint32_t seq;
	const uint8_t *data;
	uint32_t len;
	bool fin;
};

static void in_ack_now(struct tcp *t, struct tcb *c)
{
	c->ack_now = true;
	tcp_want_output(t, c);
}

/*
 * A segment with nothing inside the window. One with text is answered at once: the peer has lost
 * our ACK. An empty one is answered twice a second: probes need it, and two ends that disagree must
 * not answer each other for ever.
 */
static void in_out_of_window(
	struct tcp *t, struct tcb *c, uint64_t now_ns, const struct tcp_seg *seg)
{
	if (tcp_seg_len(seg) == 0) {
		if (now_ns < c->oow_ack_ns)
			return;
		c->oow_ack_ns = now_ns + OOW_ACK_GAP_NS;
	}
	in_ack_now(t, c);
}

/*
 * Cuts the segment to the window. False: it is outside. A duplicate that lies just before the
 * window stays (empty): its ACK field is as good as any other's.
 */
static bool in_trim(struct tcp *t, struct tcb *c, const struct tcp_seg *seg, struct in_text *x)
{
	uint32_t window = c->rcv_adv - c->rcv_nxt, end = seg->seq + seg->len;
	*x = (struct in_text){
		.seq = seg->seq, .data = seg->data, .len = seg->len, .fin = seg->flags & TCP_FIN};
	if (seq_lt(seg->seq, c->rcv_nxt)) {
		uint32_t old = c->rcv_nxt - seg->seq;
		if (seg->len > 0) { /* RFC 2883: what was sent twice */
			c->dsack = c->sack_ok;
			c->dsack_range.from = seg->seq;
			c->dsack_range.to = seq_lt(c->rcv_nxt, end) ? c->rcv_nxt : end;
		}
		if (old > max_of(t->cfg->rx_window_bytes, 65535u))
			return false;
		if (seq_le(end + x->fin, c->rcv_nxt)) { /* nothing new */
			if (tcp_seg_len(seg) == 0)
				return false;
			metric_add(&t->m->tcp_dup_total, 1);
			*x = (struct in_text){.seq = c->rcv_nxt};
			in_ack_now(t, c);
			return true;
		}
		uint32_t cut = min_of(old, seg->len);
		x->seq = c->rcv_nxt;
		x->data += cut;
		x->len -= cut;
	}
	/* an empty segment at the right edge comes from a peer that has filled the window */
	uint32_t ahead = x->seq - c->rcv_nxt;
	if (ahead > window)
		return false;
	if (ahead == window && x->len > 0 && ahead > 0)
		return false;
	if (x->len >
		window - ahead) { /* RFC 9293 section 3.10.7.4: zero window too: take its ACK */
		x->len = window - ahead;
		x->fin = false;
		in_ack_now(t, c);
	}
	return true;
}

/* RFC 5961 section 3.2. */
static void in_rst(struct tcp *t, struct tcb *c, uint64_t now_ns, const struct tcp_seg *seg)
{
	if (seg->seq == c->rcv_nxt) {
		metric_add(&t->m->tcp_rst_in_total, 1);
		bool refused = c->state == TCPS_SYN_RCVD && c->active_open;
		tcp_kill(t, c, refused ? IPSTACK_CLOSED_REFUSED : IPSTACK_CLOSED_RESET);
		return;
	}
	metric_add(&t->m->tcp_rst_drop_total, 1);
	uint32_t window = c->rcv_adv - c->rcv_nxt;
	if (seg->seq - c->rcv_nxt < window)
		tcp_challenge(t, c, now_ns);
}

/* The peer's idea of what it may be sent. */
static void in_window(struct tcp *t, struct tcb *c, const struct tcp_seg *seg)
{
	uint32_t wnd = (uint32_t)seg->wnd << c->snd_wscale;
	bool newer = seq_lt(c->snd_wl1, seg->seq) ||
		     (c->snd_wl1 == seg->seq && seq_le(c->snd_wl2, seg->ack));
	if (!newer)
		return;
	c->snd_wl1 = seg->seq;
	c->snd_wl2 = seg->ack;
	if (wnd != c->snd_wnd && c->persist && wnd > 0)
		c->persist_shift = 0;
	c->snd_wnd = wnd;
	c->snd_wnd_max = max_of(c->snd_wnd_max, wnd);
	if (c->queued > 0)
		tcp_want_output(t, c);
}

/* snd_una moves on to ack. */
static void in_new_ack(struct tcp *t, struct tcb *c, uint64_t now_ns, uint32_t ack)
{
	uint32_t acked = ack - c->snd_una, flight = c->snd_max - c->snd_una;
	bool in_rec = c->in_recovery;
	if (c->rtt_timing && seq_le(c->rtt_seq, ack)) {
		tcp_rtt_sample(t, c, now_ns - c->rtt_sent_ns);
		c->rtt_timing = false;
	}
	tcp_sndq_ack(t, c, min_of(acked, c->queued));
	c->snd_una = ack;
	if (seq_lt(c->snd_nxt, ack)) /* the send queue has moved its cursor likewise */
		c->snd_nxt = ack;
	c->rto_shift = 0;
	c->progress_ns = now_ns;
	c->full_acked |= acked >= c->mss;
	if (c->mss != c->mss_full)
		tcp_pmtu_age(c, now_ns);
	if (c->sack_ok)
		tcp_rack_acked(t, c, now_ns);
	else
		tcp_cc_ack(t, c, now_ns, acked, flight);
	if (c->snd_una == c->snd_nxt) {
		if (!c->persist)
			tcp_timer_clear(c, TCPT_RTX);
	} else if (c->sack_ok || !in_rec || !c->in_recovery) {
		tcp_rtx_start(t, c, now_ns);
	}
	if (c->queued > 0 || (c->fin_queued && !tcp_fin_acked(c)))
		tcp_want_output(t, c);
}

/* RFC 9293: fifth, check the ACK field; RFC 5961 section 5. False: drop the segment. */
static bool in_ack(struct tcp *t, struct tcb *c, uint64_t now_ns, const struct tcp_seg *seg)
{
	uint32_t ack = seg->ack;
	if (seq_lt(c->snd_max, ack) || seq_lt(ack, c->snd_una - c->snd_wnd_max)) {
		metric_add(&t->m->tcp_drop_ack_total, 1);
		tcp_challenge(t, c, now_ns);
		return false;
	}
	if (seq_lt(ack, c->snd_una))
		return true; /* old news; its text may be new */
	uint32_t wnd = (uint32_t)seg->wnd << c->snd_wscale;
	/* RFC 5681 section 2: what counts as a duplicate ACK */
	bool dup = ack == c->snd_una && tcp_seg_len(seg) == 0 && wnd == c->snd_wnd &&
		   c->snd_una != c->snd_max;
	in_window(t, c, seg);
	if (c->ecn_ok && (seg->flags & TCP_ECE) && seq_lt(c->ecn_end, ack) && !c->in_recovery &&
		!c->in_loss)
		tcp_cc_congested(t, c);
	uint32_t una = c->snd_una, flight = c->snd_max - una;
	c->ack_ecr = seg->opts.ts_ecr;
	if (c->sack_ok)
		tcp_rack_sacks(t, c, now_ns, seg);
	if (ack != c->snd_una)
		in_new_ack(t, c, now_ns, ack);
	if (c->sack_ok)
		tcp_rack_ack(t, c, now_ns, ack - una, flight);
	else if (ack == una && dup && c->snd_nxt != c->snd_una)
		tcp_cc_dupack(t, c);
	return true;
}

/* Our FIN has been acknowledged: false when the connection is gone with it. */
static bool in_fin_acked(struct tcp *t, struct tcb *c, uint64_t now_ns)
{
	switch ((enum tcp_state)c->state) {
	case TCPS_FIN_WAIT_1:
		tcp_set_state(t, c, TCPS_FIN_WAIT_2);
		tcp_timer_set(t, c, TCPT_LIFE, now_ns + t->cfg->fin_wait2_ns);
		return true;
	case TCPS_CLOSING:
		tcp_enter_time_wait(t, c, now_ns);
		return false;
	case TCPS_LAST_ACK:
		tcp_kill(t, c, IPSTACK_CLOSED_NORMAL);
		return false;
	default:
		return true;
	}
}

/*
 * RFC 3168 section 6.1.3: congestion on the way here is told in every ACK until the peer says that
 * it has heard of it.
 */
static void in_congestion(struct tcp *t, struct tcb *c, const struct tcp_seg *seg)
{
	if (seg->flags & TCP_CWR)
		c->ece_out = false;
	if (!seg->ce)
		return;
	metric_add(&t->m->tcp_ce_in_total, 1);
	if (!c->ece_out)
		in_ack_now(t, c);
	c->ece_out = true;
}

/* When to acknowledge text (RFC 9293 section 3.8.6.3, RFC 5681 section 4.2). */
static void in_text_ack(
	struct tcp *t, struct tcb *c, uint64_t now_ns, uint32_t got, bool filled_gap)
{
	c->unacked_bytes += got;
	if (c->quick_acks > 0)
		c->quick_acks--;
	if (filled_gap || c->quick_acks > 0 || c->unacked_bytes >= 2u * c->rcv_mss) {
		in_ack_now(t, c);
		return;
	}
	if (!tcp_timer_is_on(c, TCPT_DELACK))
		tcp_timer_set(t, c, TCPT_DELACK, now_ns + t->cfg->delack_ns);
}

static void in_text(
	struct tcp *t, struct tcb *c, uint64_t now_ns, const struct tcp_seg *seg, struct in_text *x)
{
	if (c->peer_fin && seq_lt(c->fin_seq, x->seq + x->len)) {
		metric_add(&t->m->tcp_drop_after_fin_total, 1);
		x->len = seq_lt(x->seq, c->fin_seq) ? c->fin_seq - x->seq : 0;
	}
	if (x->len == 0)
		return;
	if (seg->len > c->rcv_mss)
		c->rcv_mss = (uint16_t)min_of(seg->len, (uint32_t)t->mss);
	bool had_ooo = c->rq_tail != c->rq_ready;
	uint32_t got = tcp_rxq_add(t, c, seg, x->seq, x->data, x->len);
	if (got == 0) { /* a hole before it, or no room: say what is missing */
		if (x->seq != c->rcv_nxt)
			metric_add(&t->m->tcp_ooo_total, 1);
		if (c->dup_owed < UINT8_MAX)
			c->dup_owed++;
		tcp_want_output(t, c);
		return;
	}
	c->dup_owed = 0;
	c->bytes_in += got;
	metric_add(&t->m->tcp_bytes_in_total, got);
	in_text_ack(t, c, now_ns, got, had_ooo || got < x->len);
}

/* The peer's FIN, once everything before it is here. False: the connection is gone. */
static bool in_fin(struct tcp *t, struct tcb *c, uint64_t now_ns)
{
	if (!c->peer_fin || c->fin_rcvd || c->rcv_nxt != c->fin_seq)
		return true;
	c->fin_rcvd = true;
	c->rcv_nxt++;
	c->rcv_adv = seq_max(c->rcv_adv, c->rcv_nxt);
	c->ev |= TCP_EV_FIN;
	c->ack_now = true;
	tcp_want_output(t, c);
	tcp_want_event(t, c);
	switch ((enum tcp_state)c->state) {
	case TCPS_ESTABLISHED:
		tcp_set_state(t, c, TCPS_CLOSE_WAIT);
		return true;
	case TCPS_FIN_WAIT_1:
		tcp_set_state(t, c, TCPS_CLOSING);
		return true;
	case TCPS_FIN_WAIT_2:
		tcp_enter_time_wait(t, c, now_ns);
		return false;
	default:
		return true;
	}
}

static void in_note_fin(struct tcp *t, struct tcb *c, const struct in_text *x)
{
	if (!x->fin || c->peer_fin)
		return;
	uint32_t at = x->seq + x->len;
	/* bytes beyond it have been taken already: a FIN that moves about is not one */
	if (c->rq_tail != TCP_NIL &&
		seq_lt(at, t->chunks[c->rq_tail].seq + t->chunks[c->rq_tail].len)) {
		metric_add(&t->m->tcp_drop_after_fin_total, 1);
		return;
	}
	c->peer_fin = true;
	c->fin_seq = at;
}

void tcp_establish(struct tcp *t, struct tcb *c, uint64_t now_ns, const struct tcp_seg *seg)
{
	tcp_set_state(t, c, TCPS_ESTABLISHED);
	tcp_timer_clear(c, TCPT_LIFE);
	tcp_timer_clear(c, TCPT_RTX);
	c->snd_una = c->snd_nxt = c->snd_max = c->ecn_end = c->iss + 1;
	c->snd_wl1 = seg->seq;
	c->snd_wl2 = seg->ack;
	c->snd_wnd = (uint32_t)seg->wnd << (seg->flags & TCP_SYN ? 0 : c->snd_wscale);
	c->snd_wnd_max = max_of(c->snd_wnd, 1u);
	if (c->rtt_timing && !c->syn_rexmit)
		tcp_rtt_sample(t, c, now_ns - c->rtt_sent_ns);
	else if (c->syn_rexmit)
		c->rto_ns = min_of(3 * t->cfg->rto_initial_ns, t->cfg->rto_max_ns);
	c->rtt_timing = false;
	c->rto_shift = 0;
	c->progress_ns = now_ns;
	tcp_cc_init(c);
	if (t->cfg->keepalive_idle_ns)
		tcp_timer_set(t, c, TCPT_KEEP, now_ns + t->cfg->keepalive_idle_ns);
	metric_add(c->active_open ? &t->m->tcp_connected_total : &t->m->tcp_accepted_total, 1);
	c->given = true;
	c->ev |= TCP_EV_OPEN;
	tcp_want_event(t, c);
	if (c->fin_queued)
		tcp_want_output(t, c);
}

/* SYN_RCVD: the ACK that completes the handshake. False: drop the segment. */
static bool in_syn_rcvd_ack(
	struct tcp *t, struct tcb *c, uint64_t now_ns, const struct tcp_seg *seg)
{
	struct tcp_opts o;
	if (seg->ack != c->iss + 1 && !c->active_open &&
		tcp_cookie_check(t, now_ns, seg, c->irs, &o)) {
		/* an earlier copy of the SYN was answered with a cookie, and that answer was taken
		 */
		uint32_t irs = c->irs;
		tcp_kill(t, c, IPSTACK_CLOSED_ABORTED);
		tcp_cookie_open(t, now_ns, seg, irs);
		return false;
	}
	if (seg->ack != c->iss + 1) {
		metric_add(&t->m->tcp_drop_ack_total, 1);
		tcp_reset_for(t, now_ns, seg);
		return false;
	}
	if (!c->active_open && !tcp_is_listening(t, c->local_port)) {
		tcp_reset_for(t, now_ns, seg);
		tcp_kill(t, c, IPSTACK_CLOSED_ABORTED);
		return false;
	}
	tcp_establish(t, c, now_ns, seg);
	return true;
}

/*
 * RFC 7323 section 5.3: no segment that is older than what was there already. False: dropped.
 * TS.Recent of a connection that was idle for 24 days may have wrapped and says nothing.
 */
static bool in_timestamp(struct tcp *t, struct tcb *c, uint64_t now_ns, const struct tcp_seg *seg)
{
	if (!c->ts_ok)
		return true;
	if (!seg->opts.ts) { /* section 3.2: it cannot be one of this connection */
		metric_add(&t->m->tcp_drop_paws_total, 1);
		return false;
	}
	if (tcp_ts_older(seg->opts.ts_val, c->ts_recent) &&
		now_ns - c->ts_recent_ns < PAWS_IDLE_NS) {
		metric_add(&t->m->tcp_drop_paws_total, 1);
		in_out_of_window(t, c, now_ns, seg);
		return false;
	}
	/* section 4.3: of the segments that the last ACK asked for the first */
	if (seq_le(seg->seq, c->last_ack_sent)) {
		c->ts_recent = seg->opts.ts_val;
		c->ts_recent_ns = now_ns;
	}
	return true;
}

/* RFC 5961 section 4: a SYN in a connection is a stranger's or a restarted peer's; ask. */
static void in_syn(struct tcp *t, struct tcb *c, uint64_t now_ns, const struct tcp_seg *seg)
{
	if (c->state != TCPS_SYN_RCVD || seg->seq != c->irs) {
		tcp_challenge(t, c, now_ns);
		return;
	}
	/* simultaneous open: the other end's SYN-ACK acknowledges our SYN; else the SYN again,
	   because our SYN-ACK was lost */
	if (c->active_open && (seg->flags & TCP_ACK) && seg->ack == c->iss + 1)
		tcp_establish(t, c, now_ns, seg);
	in_ack_now(t, c);
}

static void in_synchronized(
	struct tcp *t, struct tcb *c, uint64_t now_ns, const struct tcp_seg *seg)
{
	struct in_text x;
	if (seg->flags & TCP_RST) {
		in_rst(t, c, now_ns, seg);
		return;
	}
	if (seg->flags & TCP_SYN) {
		in_syn(t, c, now_ns, seg);
		return;
	}
	if (!in_timestamp(t, c, now_ns, seg))
		return;
	if (!in_trim(t, c, seg, &x)) {
		metric_add(&t->m->tcp_drop_seq_total, 1);
		in_out_of_window(t, c, now_ns, seg);
		return;
	}
	if (!(seg->flags & TCP_ACK)) {
		metric_add(&t->m->tcp_drop_flags_total, 1);
		return;
	}
	if (c->state == TCPS_SYN_RCVD) {
		if (!in_syn_rcvd_ack(t, c, now_ns, seg))
			return;
	} else if (!in_ack(t, c, now_ns, seg)) {
		return;
	}
	c->last_rx_ns = now_ns;
	c->keep_probes = 0;
	if (tcp_fin_acked(c) && !in_fin_acked(t, c, now_ns))
		return;
	if (c->fin_rcvd)
		return; /* nothing comes behind a FIN */
	if (c->ecn_ok && seg->len > 0)
		in_congestion(t, c, seg);
	in_text(t, c, now_ns, seg, &x);
	in_note_fin(t, c, &x);
	if (in_fin(t, c, now_ns))
		tcp_dcheck(t, c);
}

void tcp_input(struct tcp *t, uint64_t now_ns, const struct tcp_seg *seg)
{
	uint64_t key = flow_key(seg->src_ip, seg->src_port, seg->dst_port);
	uint32_t v = flow_find(&t->flow, key);
	if (v == FLOW_NONE) {
		if (tcp_is_listening(t, seg->dst_port))
			tcp_input_listen(t, now_ns, seg, 0, false);
		else
			tcp_input_closed(t, now_ns, seg);
		return;
	}
	if (v & TCP_FLOW_TW) {
		tcp_input_time_wait(t, now_ns, seg, &t->tws[v & ~TCP_FLOW_TW]);
		return;
	}
	struct tcb *c = &t->tcbs[v];
	if (c->state == TCPS_SYN_SENT)
		tcp_input_syn_sent(t, c, now_ns, seg);
	else
		in_synchronized(t, c, now_ns, seg);
}
