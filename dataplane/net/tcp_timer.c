/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Timers of connections. Each has TCPT_COUNT deadlines and one timer in the stack's wheel, armed at
 * or before the first of them: setting a later deadline or clearing one costs a store; the wheel
 * then fires for nothing and is armed again.
 */
#include "net/tcp.h"

#include "base/clock.h"

#define RTO_SHIFT_MAX 12
#define RTT_GRANULARITY_NS NS_PER_MS
#define SWS_OVERRIDE_NS (200 * NS_PER_MS) /* RFC 9293 section 3.8.6.2.1: 0.1 - 1 s */

void tcp_timer_init(struct tcp *t, struct tcb *c, uint64_t now_ns)
{
	wheel_timer_init(&c->timer);
	for (unsigned i = 0; i < TCPT_COUNT; i++)
		c->deadline_ns[i] = UINT64_MAX;
	c->rto_ns = t->cfg->rto_initial_ns;
	(void)now_ns;
}

void tcp_timer_set(struct tcp *t, struct tcb *c, enum tcp_timer_id id, uint64_t deadline_ns)
{
	c->deadline_ns[id] = deadline_ns;
	if (!wheel_timer_armed(&c->timer) || deadline_ns < c->timer.deadline_ns)
		wheel_arm(&t->wheel, &c->timer, deadline_ns);
}

void tcp_timer_stop_all(struct tcp *t, struct tcb *c)
{
	for (unsigned i = 0; i < TCPT_COUNT; i++)
		c->deadline_ns[i] = UINT64_MAX;
	wheel_cancel(&t->wheel, &c->timer);
}

/* RFC 6298 section 2. */
void tcp_rtt_sample(struct tcp *t, struct tcb *c, uint64_t rtt_ns)
{
	if (c->srtt_ns == 0) {
		c->srtt_ns = max_of(rtt_ns, (uint64_t)1);
		c->rttvar_ns = rtt_ns / 2;
		c->min_rtt_ns = rtt_ns;
	} else {
		uint64_t diff = c->srtt_ns > rtt_ns ? c->srtt_ns - rtt_ns : rtt_ns - c->srtt_ns;
		c->rttvar_ns = (3 * c->rttvar_ns + diff) / 4;
		c->srtt_ns = (7 * c->srtt_ns + rtt_ns) / 8;
		c->min_rtt_ns = min_of(c->min_rtt_ns, rtt_ns);
	}
	uint64_t rto = c->srtt_ns + max_of(RTT_GRANULARITY_NS, 4 * c->rttvar_ns);
	c->rto_ns = min_of(max_of(rto, t->cfg->rto_min_ns), t->cfg->rto_max_ns);
}

uint64_t tcp_rto_now(const struct tcp *t, const struct tcb *c)
{
	return min_of(c->rto_ns << c->rto_shift, t->cfg->rto_max_ns);
}

void tcp_rtx_start(struct tcp *t, struct tcb *c, uint64_t now_ns)
{
	c->persist = false;
	tcp_timer_set(t, c, TCPT_RTX, now_ns + tcp_rto_now(t, c));
}

void tcp_persist_start(struct tcp *t, struct tcb *c, uint64_t now_ns)
{
	if (c->persist && tcp_timer_is_on(c, TCPT_RTX))
		return;
	if (!c->persist) {
		c->persist_shift = 0;
		c->progress_ns =
			now_ns; /* the peer decides how long this takes, while it answers */
	}
	c->persist = true;
	uint64_t wait = SWS_OVERRIDE_NS;
	if (c->snd_wnd == 0)
		wait = min_of(c->rto_ns << c->persist_shift, t->cfg->rto_max_ns);
	tcp_timer_set(t, c, TCPT_RTX, now_ns + wait);
}

/* Zero window: ask whether it is still zero. Small window: send what it takes. */
static void timer_persist(struct tcp *t, struct tcb *c, uint64_t now_ns)
{
	if (c->queued == 0) {
		c->persist = false;
		return;
	}
	/* a peer that answers may keep its window closed, but not once the application has gone */
	uint64_t heard_ns = c->fin_queued ? c->progress_ns : max_of(c->last_rx_ns, c->progress_ns);
	if (now_ns - heard_ns >= t->cfg->user_timeout_ns) {
		metric_add(&t->m->tcp_timeout_total, 1);
		tcp_kill(t, c, IPSTACK_CLOSED_TIMEOUT);
		return;
	}
	if (c->snd_wnd == 0) {
		c->probe = true;
		if (c->persist_shift < RTO_SHIFT_MAX)
			c->persist_shift++;
		metric_add(&t->m->tcp_window_probes_total, 1);
		tcp_persist_start(t, c, now_ns);
	} else {
		c->force = true;
	}
	tcp_want_output(t, c);
}

/* RFC 6298 section 5.4 - 5.7; everything from snd_una on counts as lost. */
static void timer_retransmit(struct tcp *t, struct tcb *c, uint64_t now_ns)
{
	bool syn = c->state == TCPS_SYN_SENT || c->state == TCPS_SYN_RCVD;
	if (!syn && c->queued == 0 && (!c->fin_queued || tcp_fin_acked(c)))
		return; /* it was set for a neighbour that could not be reached; nothing is left */
	/* a window that was shut under what is in flight: see timer_persist */
	uint64_t heard_ns = c->progress_ns;
	if (!syn && c->sack_ok && c->snd_wnd == 0 && !c->fin_queued)
		heard_ns = max_of(heard_ns, c->last_rx_ns);
	if (now_ns - heard_ns >= t->cfg->user_timeout_ns) {
		metric_add(&t->m->tcp_timeout_total, 1);
		tcp_kill(t, c, IPSTACK_CLOSED_TIMEOUT);
		return;
	}
	metric_add(&t->m->tcp_rto_total, 1);
	tcp_cc_rto(c);
	if (syn)
		c->syn_rexmit = true;
	if (c->rto_shift < RTO_SHIFT_MAX)
		c->rto_shift++;
	c->rtt_timing = false;
	if (!syn && c->sack_ok) {
		tcp_rack_rto(t, c);
	} else {
		c->snd_nxt = c->snd_una;
		c->sq_nxt = c->sq_una;
		c->nxt_off = c->una_off;
	}
	tcp_rtx_start(
		t, c, now_ns); /* also when the window or the neighbour stops the repetition */
	tcp_want_output(t, c);
}

static void timer_keepalive(struct tcp *t, struct tcb *c, uint64_t now_ns)
{
	uint64_t idle = t->cfg->keepalive_idle_ns, every = t->cfg->keepalive_interval_ns;
	if (now_ns - c->last_rx_ns < idle) {
		c->keep_probes = 0;
		tcp_timer_set(t, c, TCPT_KEEP, c->last_rx_ns + idle);
		return;
	}
	if (c->keep_probes >= t->cfg->keepalive_probes) {
		metric_add(&t->m->tcp_timeout_total, 1);
		tcp_kill(t, c, IPSTACK_CLOSED_TIMEOUT);
		return;
	}
	c->keep_probes++;
	c->probe = true;
	metric_add(&t->m->tcp_keepalive_total, 1);
	tcp_timer_set(t, c, TCPT_KEEP, now_ns + every);
	tcp_want_output(t, c);
}

static void timer_life(struct tcp *t, struct tcb *c, uint64_t now_ns)
{
	if (c->state == TCPS_FIN_WAIT_2 && now_ns - c->last_rx_ns < t->cfg->fin_wait2_ns) {
		tcp_timer_set(t, c, TCPT_LIFE, c->last_rx_ns + t->cfg->fin_wait2_ns);
		return;
	}
	if (c->state == TCPS_SYN_RCVD)
		metric_add(&t->m->tcp_syn_timeout_total, 1);
	else
		metric_add(&t->m->tcp_timeout_total, 1);
	tcp_kill(t, c, IPSTACK_CLOSED_TIMEOUT);
}

/* Handles one deadline that has come; false when the connection is gone. */
static bool timer_due(struct tcp *t, struct tcb *c, enum tcp_timer_id id, uint64_t now_ns)
{
	ipstack_conn_t gen = c->gen;
	tcp_timer_clear(c, id);
	switch (id) {
	case TCPT_RTX:
		if (c->persist)
			timer_persist(t, c, now_ns);
		else
			timer_retransmit(t, c, now_ns);
		break;
	case TCPT_RACK:
		tcp_rack_timer(t, c, now_ns);
		break;
	case TCPT_DELACK:
		c->ack_now = true;
		metric_add(&t->m->tcp_delayed_acks_total, 1);
		tcp_want_output(t, c);
		break;
	case TCPT_KEEP:
		timer_keepalive(t, c, now_ns);
		break;
	case TCPT_LIFE:
		timer_life(t, c, now_ns);
		break;
	case TCPT_COUNT:
		break;
	}
	return c->state != TCPS_CLOSED && c->gen == gen;
}

static void tcb_timers(struct tcp *t, struct tcb *c, uint64_t now_ns)
{
	for (unsigned i = 0; i < TCPT_COUNT; i++)
		if (c->deadline_ns[i] <= now_ns && !timer_due(t, c, (enum tcp_timer_id)i, now_ns))
			return;
	uint64_t first = UINT64_MAX;
	for (unsigned i = 0; i < TCPT_COUNT; i++)
		first = min_of(first, c->deadline_ns[i]);
	if (first != UINT64_MAX)
		wheel_arm(&t->wheel, &c->timer, first);
	tcp_dcheck(t, c);
}

void tcp_timers(struct tcp *t, uint64_t now_ns)
{
	struct list fired, *n;
	list_init(&fired);
	wheel_advance(&t->wheel, now_ns, &fired);
	while ((n = list_pop_front(&fired)))
		tcb_timers(t, container_of(n, struct tcb, timer.node), now_ns);
	tcp_tw_expire(t, now_ns);
}

uint64_t tcp_timers_next_ns(const struct tcp *t)
{
	uint64_t next = wheel_next_ns(&t->wheel);
	const struct list *n = list_front((struct list *)&t->tw_list);
	if (n)
		next = min_of(next, list_entry(n, struct tcp_tw, node)->deadline_ns);
	return next;
}
