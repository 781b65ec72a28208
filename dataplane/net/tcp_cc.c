/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Congestion control in bytes (RFC 5681): initial window of ten segments (RFC 6928), limited
 * transmit (RFC 3042), appropriate byte counting (RFC 3465), no growth of a window that is not used
 * (RFC 7661). Growth and reduction are CUBIC's with HyStart++ (tcp_cubic.c), or those of RFC 5681.
 *
 * Recovery without SACK is NewReno's (RFC 6582). With SACK tcp_rack.c finds the losses, and the
 * window in recovery is that of proportional rate reduction (RFC 6937).
 *
 *	OPEN --third duplicate ACK, or RACK--> RECOVERY --ACK of `recover`--> OPEN
 *	  any --RTO--> OPEN with one segment, slow start; `recover` keeps old duplicates from
 *starting a recovery again
 */
#include "net/tcp.h"

#define CC_DUPACKS 3
#define CC_WINDOW_MAX (1u << 30)

static uint32_t cc_initial(const struct tcb *c)
{
	uint32_t two = 2u * c->mss;
	return min_of(10u * c->mss, max_of(two, 14600u));
}

void tcp_cc_init(struct tcb *c)
{
	c->cwnd = cc_initial(c);
	c->ssthresh = CC_WINDOW_MAX;
	c->recover = c->iss;
	c->dupacks = c->cc_acked = 0;
	c->in_recovery = false;
	c->curve = (struct tcp_cubic){0};
	tcp_hystart_init(&c->hystart, c->iss + 1);
	if (c->syn_rexmit) /* RFC 5681 section 3.1: a lost SYN means one segment */
		c->cwnd = c->mss;
}

/* Something has been lost: the window that remains, also of what CUBIC remembers. */
static uint32_t cc_reduce(struct tcb *c, bool timeout)
{
	uint32_t flight = c->snd_max - c->snd_una, left = flight / 2;
	if (c->cubic) {
		left = tcp_cubic_reduced(flight);
		/* RFC 7661 section 4.4: a window that was not used says nothing about the path */
		tcp_cubic_loss(
			&c->curve, c->cwnd_limited ? c->cwnd : min_of(c->cwnd, flight), timeout);
	}
	return max_of(left, 2u * c->mss);
}

/* The first slow start ends before the queue of the path overflows: RFC 9406. */
static void cc_slow_start(struct tcb *c, uint32_t acked)
{
	if (!c->cubic || !c->sack_ok || c->ssthresh < CC_WINDOW_MAX) {
		c->cwnd += min_of(acked, 2u * c->mss);
		return;
	}
	enum tcp_hystart_phase phase =
		tcp_hystart_ack(&c->hystart, c->snd_una, c->snd_max, c->rack_rtt_ns);
	uint32_t step = min_of(acked, 8u * c->mss);
	c->cwnd += phase == HYSTART_SLOW_START ? step : step / 4;
	if (phase == HYSTART_DONE)
		c->ssthresh = c->cwnd;
}

static void cc_grow(struct tcb *c, uint64_t now_ns, uint32_t acked)
{
	if (c->cwnd < c->ssthresh) {
		cc_slow_start(c, acked);
	} else if (c->cubic) {
		c->cwnd = tcp_cubic_grow(&c->curve, c->cwnd, c->mss, acked, c->srtt_ns, now_ns);
	} else {
		c->cc_acked += acked;
		if (c->cc_acked >= c->cwnd) {
			c->cc_acked -= c->cwnd;
			c->cwnd += c->mss;
		}
	}
	c->cwnd = min_of(c->cwnd, CC_WINDOW_MAX);
}

/* RFC 6582 section 3.2 step 3. */
static void cc_ack_in_recovery(struct tcp *t, struct tcb *c, uint32_t acked)
{
	if (seq_le(c->recover, c->snd_una)) {
		uint32_t flight = c->snd_max - c->snd_una;
		c->cwnd = min_of(c->ssthresh, max_of(flight, (uint32_t)c->mss) + c->mss);
		c->in_recovery = false;
		c->dupacks = 0;
		c->cc_acked = 0;
		return;
	}
	c->rexmit_one = true; /* partial: the next hole is lost, too */
	c->cwnd -= min_of(acked, c->cwnd);
	if (acked >= c->mss)
		c->cwnd += c->mss;
	c->cwnd = max_of(c->cwnd, (uint32_t)c->mss);
	tcp_want_output(t, c);
}

void tcp_cc_ack(struct tcp *t, struct tcb *c, uint64_t now_ns, uint32_t acked, uint32_t flight)
{
	if (c->in_recovery) {
		cc_ack_in_recovery(t, c, acked);
		return;
	}
	c->dupacks = 0;
	bool used = c->cwnd_limited || (c->cwnd < c->ssthresh && c->cwnd < 2 * flight);
	if (used)
		cc_grow(c, now_ns, acked);
	else
		tcp_cubic_pause(&c->curve);
}

void tcp_cc_dupack(struct tcp *t, struct tcb *c)
{
	metric_add(&t->m->tcp_dupacks_in_total, 1);
	if (c->in_recovery) { /* a segment has left the network */
		c->cwnd = min_of(c->cwnd + c->mss, CC_WINDOW_MAX);
		tcp_want_output(t, c);
		return;
	}
	c->dupacks++;
	tcp_want_output(t, c); /* limited transmit */
	if (c->dupacks < CC_DUPACKS || seq_le(c->snd_una, c->recover))
		return;
	c->ssthresh = cc_reduce(c, false);
	c->recover = c->snd_max;
	c->in_recovery = true;
	c->cwnd = c->ssthresh + CC_DUPACKS * c->mss;
	c->rexmit_one = true;
	metric_add(&t->m->tcp_fast_retransmits_total, 1);
}

void tcp_cc_recovery(struct tcb *c, uint32_t pipe)
{
	tcp_undo_begin(c);
	c->prr_flight = max_of(c->snd_max - c->snd_una, 1u);
	c->ssthresh = cc_reduce(c, false);
	c->recover = c->snd_max;
	c->in_recovery = true;
	c->prr_delivered = c->prr_out = 0;
	c->cwnd = max_of(pipe + c->mss, (uint32_t)c->mss); /* the first repetition leaves at once */
}

void tcp_cc_prr(struct tcb *c, uint32_t delivered, uint32_t pipe)
{
	uint64_t room;
	c->prr_delivered += delivered;
	if (pipe > c->ssthresh) { /* in proportion to what arrives */
		uint64_t share = ((uint64_t)c->prr_delivered * c->ssthresh + c->prr_flight - 1) /
				 c->prr_flight;
		room = share > c->prr_out ? share - c->prr_out : 0;
	} else { /* slow start back to ssthresh (PRR-SSRB) */
		uint32_t debt = c->prr_delivered - min_of(c->prr_out, c->prr_delivered);
		room = min_of(c->ssthresh - pipe, max_of(debt, delivered) + c->mss);
	}
	if (c->prr_out == 0)
		room = max_of(room, (uint64_t)c->mss);
	c->cwnd = (uint32_t)min_of(max_of(pipe + room, (uint64_t)c->mss), (uint64_t)CC_WINDOW_MAX);
}

void tcp_cc_recovered(struct tcb *c)
{
	c->cwnd = c->ssthresh;
	c->in_recovery = false;
	c->cc_acked = 0;
}

void tcp_cc_loss_repaired(struct tcb *c)
{
	c->ssthresh = cc_reduce(c, false);
	c->cwnd = c->ssthresh;
	c->cc_acked = 0;
}

void tcp_cc_congested(struct tcp *t, struct tcb *c)
{
	metric_add(&t->m->tcp_ecn_reductions_total, 1);
	c->ssthresh = cc_reduce(c, false);
	c->cwnd = min_of(c->cwnd, c->ssthresh);
	c->cc_acked = 0;
	c->undo.on = false;
	c->ecn_end = c->snd_max;
	c->cwr_out = true;
}

void tcp_cc_rto(struct tcb *c)
{
	if (c->rto_shift == 0) { /* ssthresh once per loss, not per repetition */
		tcp_undo_begin(c);
		c->ssthresh = cc_reduce(c, true);
	}
	c->cwnd = c->mss;
	c->recover = c->snd_max;
	c->in_recovery = false;
	c->rexmit_one = false;
	c->dupacks = c->cc_acked = 0;
}

void tcp_cc_idle(struct tcb *c, uint64_t now_ns)
{
	if (now_ns - c->last_tx_ns > c->rto_ns)
		c->cwnd = min_of(c->cwnd, cc_initial(c));
	tcp_cubic_pause(&c->curve);
	c->cwnd_limited = false;
}

uint32_t tcp_cc_window(const struct tcb *c)
{
	if (!c->in_recovery && c->dupacks > 0)
		return c->cwnd + min_of(c->dupacks, 2u) * c->mss;
	return c->cwnd;
}
