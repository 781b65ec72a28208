/* SPDX-License-Identifier: Apache-2.0 */
/* Segments that find no synchronised connection: LISTEN, CLOSED, SYN_SENT, TIME_WAIT. */
#include "net/tcp.h"

#include "base/bytes.h"

void tcp_ctl_push(struct tcp *t, const struct tcp_ctl *ctl)
{
	if (t->ctl_count == TCP_CTL_MAX) {
		metric_add(&t->m->ctl_drop_total, 1);
		return;
	}
	t->ctl[(t->ctl_head + t->ctl_count++) % TCP_CTL_MAX] = *ctl;
}

bool tcp_ctl_pop(struct tcp *t, struct tcp_ctl *ctl)
{
	if (t->ctl_count == 0)
		return false;
	*ctl = t->ctl[t->ctl_head];
	t->ctl_head = (t->ctl_head + 1) % TCP_CTL_MAX;
	t->ctl_count--;
	metric_add(&t->m->tcp_segs_out_total, 1);
	return true;
}

void tcp_reset_for(struct tcp *t, uint64_t now_ns, const struct tcp_seg *seg)
{
	if (seg->flags & TCP_RST)
		return; /* a RST is never answered */
	if (!rate_take(&t->reset_rate, now_ns, t->cfg->resets_per_s)) {
		metric_add(&t->m->tcp_rst_limited_total, 1);
		return;
	}
	metric_add(&t->m->tcp_rst_out_total, 1);
	struct tcp_ctl c = {
		.dst_ip = seg->src_ip, .src_port = seg->dst_port, .dst_port = seg->src_port};
	if (seg->flags & TCP_ACK) {
		c.seq = seg->ack;
		c.flags = TCP_RST;
	} else {
		c.ack = seg->seq + tcp_seg_len(seg);
		c.flags = TCP_RST | TCP_ACK;
	}
	tcp_ctl_push(t, &c);
}

bool tcp_is_listening(const struct tcp *t, uint16_t port)
{
	for (uint32_t i = 0; i < t->nlisteners; i++)
		if (t->listeners[i] == port)
			return true;
	return false;
}

void tcp_take_syn(struct tcp *t, struct tcb *c, uint64_t now_ns, const struct tcp_seg *seg)
{
	uint16_t mss = seg->opts.mss ? seg->opts.mss : TCP_MSS_DEFAULT;
	c->mss = max_of(min_of(mss, t->mss), (uint16_t)TCP_MSS_MIN);
	c->sack_ok = seg->opts.sack_ok && t->cfg->sack;
	c->ts_ok = seg->opts.ts && t->cfg->timestamps;
	if (c->ts_ok) { /* RFC 6691: the MSS does not count options, segments do */
		c->mss -= TCP_TS_LEN;
		c->ts_recent = seg->opts.ts_val;
		c->ts_recent_ns = now_ns;
	}
	/* RFC 3168 section 6.1.1; not if it may have been our SYN's ECN that was lost before */
	uint8_t ecn = seg->flags & (TCP_ECE | TCP_CWR);
	uint8_t asked = seg->flags & TCP_ACK ? TCP_ECE : TCP_ECE | TCP_CWR;
	c->ecn_ok = t->cfg->ecn && ecn == asked && !c->syn_rexmit;
	if (seg->opts.wscale < 0) {
		c->snd_wscale = c->rcv_wscale = 0; /* both or none (RFC 7323 section 2.2) */
	} else {
		c->snd_wscale = (uint8_t)seg->opts.wscale;
		c->rcv_wscale = t->wscale;
	}
	c->mss_full = c->mss;
	c->irs = seg->seq;
	c->rcv_nxt = c->rcv_read = c->rcv_adv = seg->seq + 1;
	c->snd_wnd = seg->wnd;
	c->snd_wnd_max = max_of(c->snd_wnd, 1u);
	tcp_cc_init(c); /* it counts in segments of this size */
}

bool tcp_cookie_open(struct tcp *t, uint64_t now_ns, const struct tcp_seg *seg, uint32_t irs)
{
	struct tcp_seg syn = *seg;
	if ((seg->flags & TCP_SYN) || !tcp_cookie_check(t, now_ns, seg, irs, &syn.opts))
		return false;
	uint64_t key = flow_key(seg->src_ip, seg->src_port, seg->dst_port);
	struct tcb *c = tcp_tcb_new(t, now_ns, key);
	if (!c) { /* it is sent again, or its data is */
		metric_add(&t->m->tcp_syn_drop_conns_total, 1);
		return true;
	}
	metric_add(&t->m->tcp_cookies_in_total, 1);
	tcp_cookie_spend(t, seg, irs);
	syn.seq = irs;
	syn.flags = TCP_SYN;
	tcp_set_state(t, c, TCPS_SYN_RCVD);
	tcp_take_syn(t, c, now_ns, &syn);
	uint8_t rcv_wscale = c->rcv_wscale;
	tcp_send_init(t, c, seg->ack - 1);
	c->rcv_wscale = rcv_wscale;
	c->rcv_adv = c->rcv_nxt + min_of(t->cfg->rx_window_bytes, 65535u);
	c->last_ack_sent = c->rcv_nxt;
	tcp_establish(t, c, now_ns, seg);
	tcp_input(t, now_ns, seg);
	return true;
}

void tcp_input_listen(
	struct tcp *t, uint64_t now_ns, const struct tcp_seg *seg, uint32_t isn_above, bool reuse)
{
	if (seg->flags & TCP_RST) {
		metric_add(&t->m->tcp_rst_drop_total, 1);
		return;
	}
	if (seg->flags & TCP_ACK) {
		if (tcp_cookie_open(t, now_ns, seg, seg->seq - 1))
			return;
		metric_add(&t->m->tcp_drop_no_conn_total, 1);
		/* data that has overtaken the ACK of a cookie must not end its connection */
		if (!tcp_cookies_out(t, now_ns))
			tcp_reset_for(t, now_ns, seg);
		return;
	}
	if (!(seg->flags & TCP_SYN)) {
		metric_add(&t->m->tcp_drop_flags_total, 1);
		return;
	}
	metric_add(&t->m->tcp_syn_in_total, 1);
	if (t->nsyn_rcvd >= t->cfg->syn_backlog) {
		if (t->cfg->syn_cookies && !reuse) {
			tcp_cookie_send(t, now_ns, seg);
			return;
		}
		metric_add(&t->m->tcp_syn_drop_backlog_total, 1);
		return;
	}
	uint64_t key = flow_key(seg->src_ip, seg->src_port, seg->dst_port);
	struct tcb *c = tcp_tcb_new(t, now_ns, key);
	if (!c) { /* dropped, not refused: the peer tries again, and there may be room then */
		metric_add(&t->m->tcp_syn_drop_conns_total, 1);
		return;
	}
	uint32_t isn = tcp_isn(t, now_ns, key);
	if (reuse && seq_le(isn, isn_above))
		isn = isn_above + 65537; /* RFC 9293 section 3.4.1: beyond the old incarnation */
	tcp_set_state(t, c, TCPS_SYN_RCVD);
	tcp_take_syn(t, c, now_ns, seg);
	uint8_t rcv_wscale = c->rcv_wscale;
	tcp_send_init(t, c, isn);
	c->rcv_wscale = rcv_wscale;
	tcp_timer_set(t, c, TCPT_LIFE, now_ns + t->cfg->syn_timeout_ns);
	tcp_want_output(t, c);
	tcp_dcheck(t, c);
}

void tcp_input_closed(struct tcp *t, uint64_t now_ns, const struct tcp_seg *seg)
{
	metric_add(&t->m->tcp_drop_no_conn_total, 1);
	tcp_reset_for(t, now_ns, seg);
}

/* RFC 9293 section 3.10.7.3. */
void tcp_input_syn_sent(struct tcp *t, struct tcb *c, uint64_t now_ns, const struct tcp_seg *seg)
{
	bool ack = seg->flags & TCP_ACK;
	if (ack && seg->ack != c->iss + 1) {
		metric_add(&t->m->tcp_drop_ack_total, 1);
		tcp_reset_for(t, now_ns, seg);
		return;
	}
	if (seg->flags & TCP_RST) {
		if (!ack) {
			metric_add(&t->m->tcp_rst_drop_total, 1);
			return;
		}
		metric_add(&t->m->tcp_rst_in_total, 1);
		tcp_kill(t, c, IPSTACK_CLOSED_REFUSED);
		return;
	}
	if (!(seg->flags & TCP_SYN)) {
		metric_add(&t->m->tcp_drop_flags_total, 1);
		return;
	}
	tcp_take_syn(t, c, now_ns, seg);
	c->last_rx_ns = now_ns;
	if (ack) {
		tcp_establish(t, c, now_ns, seg);
		c->ack_now = true;
	} else { /* simultaneous open: our SYN again, now with an ACK */
		tcp_set_state(t, c, TCPS_SYN_RCVD);
		c->snd_nxt = c->iss;
		c->ack_now = true;
	}
	tcp_want_output(t, c);
	tcp_dcheck(t, c);
}

/* A SYN of a later connection: by its timestamp (RFC 6191), else by its number. */
static bool tw_is_newer(const struct tcp_tw *w, const struct tcp_seg *seg)
{
	if (w->ts_ok && seg->opts.ts && seg->opts.ts_val != w->ts_recent)
		return tcp_ts_older(w->ts_recent, seg->opts.ts_val);
	return seq_lt(w->rcv_nxt, seg->seq);
}

void tcp_input_time_wait(
	struct tcp *t, uint64_t now_ns, const struct tcp_seg *seg, struct tcp_tw *w)
{
	if (seg->flags & TCP_RST) { /* RFC 1337: no assassination */
		metric_add(&t->m->tcp_rst_drop_total, 1);
		return;
	}
	bool syn = seg->flags & TCP_SYN;
	if (syn && !(seg->flags & TCP_ACK) && tw_is_newer(w, seg) &&
		tcp_is_listening(t, seg->dst_port)) { /* RFC 9293 section 3.6.1 */
		uint32_t above = w->snd_nxt;
		metric_add(&t->m->tcp_time_wait_reused_total, 1);
		tcp_tw_remove(t, w);
		tcp_input_listen(t, now_ns, seg, above, true);
		return;
	}
	metric_add(&t->m->tcp_drop_seq_total, 1);
	/* an ACK is not answered: two ends in TIME_WAIT would never stop; a window probe is */
	if (tcp_seg_len(seg) == 0 && !seq_lt(seg->seq, w->rcv_nxt))
		return;
	if (!rate_take(&t->challenge_rate, now_ns, max_of(t->challenge_budget, 1u))) {
		metric_add(&t->m->tcp_challenge_limited_total, 1);
		return;
	}
	if (seg->flags & TCP_FIN)
		tcp_tw_restart(t, w, now_ns);
	tcp_tw_ack(t, w, now_ns);
}
