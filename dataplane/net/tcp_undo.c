/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recoveries and timeouts that were not necessary are taken back, on connections with SACK:
 *
 *  - the first ACK of new data carries the timestamp of the original, not of what was sent again
 *    (Eifel, RFC 3522 and 4015);
 *  - or all that was sent again has been reported as a duplicate (RFC 3708).
 *
 * The window is again what it was, nothing counts as lost, and reordering gets time from now on.
 */
#include "net/tcp.h"

void tcp_undo_begin(struct tcb *c)
{
	c->undo = (struct tcp_undo){.on = c->sack_ok,
		.cwnd = c->cwnd,
		.ssthresh = c->ssthresh,
		.w_max = c->curve.w_max,
		.from = c->snd_una,
		.end = c->snd_max};
}

void tcp_undo_resent(struct tcb *c, uint64_t now_ns)
{
	struct tcp_undo *u = &c->undo;
	if (!u->on)
		return;
	if (u->resent == 0 && c->ts_ok) {
		u->ts = tcp_ts_now(c->ts_offset, now_ns);
		u->eifel = true;
	}
	u->resent++;
}

static void undo(struct tcp *t, struct tcb *c)
{
	metric_add(&t->m->tcp_undone_total, 1);
	c->cwnd = max_of(c->cwnd, c->undo.cwnd);
	c->ssthresh = max_of(c->ssthresh, c->undo.ssthresh);
	c->curve.w_max = max_of(c->curve.w_max, c->undo.w_max);
	tcp_cubic_pause(&c->curve);
	c->in_recovery = c->in_loss = false;
	c->rack_reordered = true;
	c->undo.on = false;
	tcp_rack_found(t, c);
	tcp_want_output(t, c);
}

void tcp_undo_ack(struct tcp *t, struct tcb *c)
{
	struct tcp_undo *u = &c->undo;
	if (!u->on)
		return;
	bool first = u->eifel;
	u->eifel = false; /* only the first one can tell */
	if (first && tcp_ts_older(c->ack_ecr, u->ts))
		undo(t, c);
	else if (seq_lt(u->end + 2 * u->cwnd, c->snd_una))
		u->on = false; /* it is long ago */
}

void tcp_undo_duplicate(struct tcp *t, struct tcb *c, const struct tcp_range *b)
{
	struct tcp_undo *u = &c->undo;
	if (!u->on || u->resent == 0 || seq_lt(b->from, u->from) || seq_lt(u->end, b->to))
		return;
	if (--u->resent == 0)
		undo(t, c);
}
