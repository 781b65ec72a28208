/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Path MTU discovery (RFC 1191), one path per connection, with what RFC 5927 asks for: an ICMP
 * error counts only when it quotes something in flight; one that contradicts what has been
 * acknowledged waits for the retransmission timer. Paths that swallow long packets without a word
 * are found by that timer, too (RFC 2923 section 2.1). Congestion control is not told: nothing was
 * congested.
 */
#include "net/tcp.h"

#include "base/clock.h"

#define PMTU_MIN 552
#define PMTU_AGE_NS (600 * NS_PER_S)	  /* RFC 1191 section 6.3 */
#define PMTU_GUESS_AGE_NS (60 * NS_PER_S) /* of a guess; it may have been an outage */
#define BLACK_HOLE_TIMEOUTS 3

static uint16_t pmtu_payload(const struct tcb *c, uint32_t mtu)
{
	return (uint16_t)(mtu - IP_HDR_LEN - TCP_HDR_LEN - (c->ts_ok ? TCP_TS_LEN : 0));
}

/* The next smaller size of RFC 1191 section 7, for routers that do not tell theirs. */
static uint32_t pmtu_plateau(uint32_t mtu)
{
	static const uint16_t plateaus[] = {8166, 4352, 2002, 1492, 1006};
	for (uint32_t i = 0; i < array_size(plateaus); i++)
		if (plateaus[i] < mtu)
			return plateaus[i];
	return PMTU_MIN;
}

static void pmtu_shrink(struct tcb *c, uint16_t mss, uint64_t until_ns)
{
	c->mss = mss;
	c->pmtu_until_ns = until_ns;
	c->pmtu_hint = 0;
	c->full_acked = false;
}

/* What is in flight in longer segments is sent again. */
static void pmtu_repeat(struct tcp *t, struct tcb *c)
{
	if (c->snd_una == c->snd_nxt)
		return;
	c->recover = c->snd_max;
	c->rtt_timing = false;
	if (c->sack_ok) {
		c->in_loss = true;
		c->in_recovery = false;
		tcp_rack_too_long(t, c);
	} else {
		c->in_recovery = false;
		c->dupacks = 0;
		c->snd_nxt = c->snd_una;
		c->sq_nxt = c->sq_una;
		c->nxt_off = c->una_off;
	}
	tcp_want_output(t, c);
}

static void pmtu_too_big(struct tcp *t, struct tcb *c, uint64_t now_ns, uint32_t mtu)
{
	uint32_t is = IP_HDR_LEN + TCP_HDR_LEN + (c->ts_ok ? TCP_TS_LEN : 0) + c->mss;
	uint16_t mss = pmtu_payload(c, max_of(mtu ? mtu : pmtu_plateau(is), (uint32_t)PMTU_MIN));
	if (mss >= c->mss)
		return;
	metric_add(&t->m->tcp_pmtu_total, 1);
	if (c->full_acked) { /* RFC 5927 section 7.2: long segments got through */
		c->pmtu_hint = mss;
		return;
	}
	pmtu_shrink(c, mss, now_ns + PMTU_AGE_NS);
	pmtu_repeat(t, c);
}

void tcp_pmtu_timeout(struct tcp *t, struct tcb *c, uint64_t now_ns)
{
	if (c->pmtu_hint && c->pmtu_hint < c->mss) {
		pmtu_shrink(c, c->pmtu_hint, now_ns + PMTU_AGE_NS);
		c->cwnd = c->mss;
		return;
	}
	uint16_t floor = pmtu_payload(c, 576);
	uint32_t longest = min_of(min_of(c->queued, c->snd_wnd), (uint32_t)c->mss);
	if (c->rto_shift < BLACK_HOLE_TIMEOUTS || longest <= floor)
		return;
	metric_add(&t->m->tcp_black_holes_total, 1);
	uint16_t half = pmtu_payload(c, 1280);
	pmtu_shrink(c, c->mss > half ? half : floor, now_ns + PMTU_GUESS_AGE_NS);
	c->cwnd = c->mss; /* still one segment */
}

void tcp_pmtu_age(struct tcb *c, uint64_t now_ns)
{
	if (now_ns < c->pmtu_until_ns)
		return;
	c->mss = c->mss_full;
	c->full_acked = false;
	c->cwnd = max_of(c->cwnd, (uint32_t)c->mss);
	c->ssthresh = max_of(c->ssthresh, 2u * c->mss);
}

void tcp_icmp_error(struct tcp *t, uint64_t now_ns, const struct icmp_error *e)
{
	uint32_t v = flow_find(&t->flow, flow_key(e->dst_ip, e->dst_port, e->src_port));
	struct tcb *c = v == FLOW_NONE || (v & TCP_FLOW_TW) ? NULL : &t->tcbs[v];
	if (!c || seq_lt(e->seq, c->snd_una) || !seq_lt(e->seq, c->snd_max)) {
		metric_add(&t->m->icmp_stale_total, 1);
		return;
	}
	if (e->code == ICMP_TOO_BIG && c->state > TCPS_SYN_RCVD)
		pmtu_too_big(t, c, now_ns, e->mtu);
	else if ((e->code == ICMP_NO_PROTOCOL || e->code == ICMP_NO_PORT) &&
		 c->state == TCPS_SYN_SENT)
		tcp_kill(t, c, IPSTACK_CLOSED_REFUSED);
	/* RFC 1122 section 4.2.3.9: everything else may pass; the timers decide */
	if (c->state != TCPS_CLOSED)
		tcp_dcheck(t, c);
}
