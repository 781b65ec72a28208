/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The states of a connection (RFC 9293 section 3.3.2), their one setter, and what must hold in
 *them.
 *
 *	             passive: SYN                 active: ipstack_connect
 *	CLOSED ----------------------> SYN_RCVD <--SYN-- SYN_SENT <------ CLOSED
 *	                                   |                |
 *	                              ACK of SYN        SYN+ACK
 *	                                   '----> ESTABLISHED <-'
 *	                      FIN sent |                     | FIN received
 *	                               v                     v
 *	   ACK of FIN  .-------- FIN_WAIT_1              CLOSE_WAIT
 *	               v            |    | FIN               | FIN sent
 *	          FIN_WAIT_2        |    v                   v
 *	               |            |  CLOSING            LAST_ACK
 *	           FIN |  FIN + ACK |    | ACK of FIN        | ACK of FIN
 *	               '------> TIME_WAIT <'                 '----> CLOSED
 *
 * Every state may go to CLOSED (RST, time-out, abort). LISTEN is an entry in tcp.listeners,
 *TIME_WAIT a struct tcp_tw: neither keeps a struct tcb. A closed tcb stays until its last event is
 *popped.
 */
#include <stdio.h>

#include "net/tcp.h"

#include "base/bytes.h"

#define TO(s) (1u << TCPS_##s)

const char *tcp_state_name(enum tcp_state s)
{
	static const char *const names[TCPS_COUNT] = {"CLOSED", "SYN_SENT", "SYN_RCVD",
		"ESTABLISHED", "FIN_WAIT_1", "FIN_WAIT_2", "CLOSE_WAIT", "CLOSING", "LAST_ACK",
		"TIME_WAIT"};
	return names[s];
}

void tcp_set_state(struct tcp *t, struct tcb *c, enum tcp_state to)
{
	static const uint16_t allowed[TCPS_COUNT] = {
		[TCPS_CLOSED] = TO(SYN_SENT) | TO(SYN_RCVD),
		[TCPS_SYN_SENT] = TO(SYN_RCVD) | TO(ESTABLISHED) | TO(CLOSED),
		[TCPS_SYN_RCVD] = TO(ESTABLISHED) | TO(CLOSED),
		[TCPS_ESTABLISHED] = TO(FIN_WAIT_1) | TO(CLOSE_WAIT) | TO(CLOSED),
		[TCPS_FIN_WAIT_1] = TO(FIN_WAIT_2) | TO(CLOSING) | TO(TIME_WAIT) | TO(CLOSED),
		[TCPS_FIN_WAIT_2] = TO(TIME_WAIT) | TO(CLOSED),
		[TCPS_CLOSE_WAIT] = TO(LAST_ACK) | TO(CLOSED),
		[TCPS_CLOSING] = TO(TIME_WAIT) | TO(CLOSED),
		[TCPS_LAST_ACK] = TO(CLOSED),
		[TCPS_TIME_WAIT] = TO(CLOSED),
	};
	CHECK(allowed[c->state] & 1u << to);
	if (c->state == TCPS_SYN_RCVD)
		t->nsyn_rcvd--;
	if (to == TCPS_SYN_RCVD)
		t->nsyn_rcvd++;
	c->state = (uint8_t)to;
}

uint32_t tcp_isn(const struct tcp *t, uint64_t now_ns, uint64_t key)
{
	if (t->cfg->fixed_isn)
		return t->cfg->isn;
	uint8_t b[12];
	be64_put(b, key);
	be32_put(b + 8, t->cfg->ip);
	return (uint32_t)siphash(t->isn_key, 2, 4, b, sizeof(b)) + (uint32_t)(now_ns / 4000);
}

/* One per pair of addresses, so that a later connection of theirs goes on from the earlier. */
uint32_t tcp_ts_offset(const struct tcp *t, uint64_t key)
{
	return (uint32_t)(siphash(t->isn_key, 2, 4, &key, sizeof(key)) >> 32);
}

ipstack_conn_t tcp_handle(const struct tcp *t, const struct tcb *c)
{
	return (uint64_t)c->gen << 32 | (uint32_t)(c - t->tcbs);
}

struct tcb *tcp_by_handle(const struct tcp *t, ipstack_conn_t h)
{
	uint32_t i = (uint32_t)h;
	if (i >= t->cfg->max_conns)
		return NULL;
	struct tcb *c = &t->tcbs[i];
	return c->gen == h >> 32 && c->given ? c : NULL;
}

struct tcb *tcp_tcb_new(struct tcp *t, uint64_t now_ns, uint64_t key)
{
	if (t->tcb_free == TCP_NIL)
		return NULL;
	uint32_t i = t->tcb_free;
	struct tcb *c = &t->tcbs[i];
	t->tcb_free = c->next_free;
	t->ntcbs++;
	uint32_t gen = c->gen + 1 ? c->gen + 1 : 1;
	*c = (struct tcb){.gen = gen,
		.peer_ip = (uint32_t)(key >> 32),
		.peer_port = (uint16_t)(key >> 16),
		.local_port = (uint16_t)key,
		.progress_ns = now_ns,
		.last_rx_ns = now_ns,
		.last_tx_ns = now_ns,
		.quick_acks = 16,
		.ts_offset = tcp_ts_offset(t, key),
		.mss = TCP_MSS_DEFAULT,
		.rcv_mss = TCP_MSS_DEFAULT};
	list_init(&c->tx);
	list_init(&c->evnode);
	tcp_sndq_init(c);
	tcp_rxq_init(c);
	tcp_rack_init(c);
	tcp_timer_init(t, c, now_ns);
	flow_add(&t->flow, key, i);
	return c;
}

void tcp_tcb_free(struct tcp *t, struct tcb *c)
{
	CHECK(c->state == TCPS_CLOSED && c->nslots == 0 && !list_linked(&c->tx));
	tcp_rxq_drop(t, c);
	list_remove(&c->evnode);
	c->given = false;
	c->next_free = t->tcb_free;
	t->tcb_free = (uint32_t)(c - t->tcbs);
	t->ntcbs--;
	metric_add(&t->m->tcp_closed_total, 1);
}

/* The connection is over; only its events remain. */
static void tcp_retire(struct tcp *t, struct tcb *c, enum ipstack_reason reason)
{
	tcp_set_state(t, c, TCPS_CLOSED);
	tcp_timer_stop_all(t, c);
	list_remove(&c->tx);
	tcp_rack_drop(t, c);
	tcp_sndq_fail(t, c);
	c->reason = (uint8_t)reason;
	c->ev |= TCP_EV_CLOSED;
	if (reason == IPSTACK_CLOSED_ABORTED || (reason != IPSTACK_CLOSED_NORMAL && c->paused))
		tcp_rxq_drop(t, c);
	if (c->given)
		tcp_want_event(t, c);
	else
		tcp_tcb_free(t, c);
}

void tcp_kill(struct tcp *t, struct tcb *c, enum ipstack_reason reason)
{
	flow_remove(&t->flow, tcp_tcb_key(c));
	tcp_retire(t, c, reason);
}

void tcp_tw_ack(struct tcp *t, const struct tcp_tw *w, uint64_t now_ns)
{
	tcp_ctl_push(t, &(struct tcp_ctl){.dst_ip = (uint32_t)(w->key >> 32),
				.src_port = (uint16_t)w->key,
				.dst_port = (uint16_t)(w->key >> 16),
				.seq = w->snd_nxt,
				.ack = w->rcv_nxt,
				.wnd = w->wnd,
				.flags = TCP_ACK,
				.ts = w->ts_ok,
				.ts_val = tcp_ts_now(w->ts_offset, now_ns),
				.ts_ecr = w->ts_recent});
}

static struct tcp_tw *tcp_tw_new(struct tcp *t)
{
	if (list_empty(&t->tw_free)) {
		metric_add(&t->m->tcp_time_wait_evicted_total, 1);
		tcp_tw_remove(t, list_entry(list_front(&t->tw_list), struct tcp_tw, node));
	}
	return list_entry(list_pop_front(&t->tw_free), struct tcp_tw, node);
}

void tcp_enter_time_wait(struct tcp *t, struct tcb *c, uint64_t now_ns)
{
	struct tcp_tw *w = tcp_tw_new(t);
	w->key = tcp_tcb_key(c);
	w->snd_nxt = c->snd_max;
	w->rcv_nxt = c->rcv_nxt;
	w->wnd = (uint16_t)((c->rcv_adv - c->rcv_nxt) >> c->rcv_wscale);
	w->ts_ok = c->ts_ok;
	w->ts_recent = c->ts_recent;
	w->ts_offset = c->ts_offset;
	w->deadline_ns = now_ns + t->cfg->time_wait_ns;
	list_push_back(&t->tw_list, &w->node);
	t->ntws++;
	flow_set(&t->flow, w->key, (uint32_t)(w - t->tws) | TCP_FLOW_TW);
	if (c->ack_now || c->unacked_bytes)
		tcp_tw_ack(t, w, now_ns);
	tcp_set_state(t, c, TCPS_TIME_WAIT);
	tcp_retire(t, c, IPSTACK_CLOSED_NORMAL);
}

void tcp_tw_remove(struct tcp *t, struct tcp_tw *w)
{
	flow_remove(&t->flow, w->key);
	list_remove(&w->node);
	list_push_back(&t->tw_free, &w->node);
	w->key = 0;
	t->ntws--;
}

void tcp_tw_restart(struct tcp *t, struct tcp_tw *w, uint64_t now_ns)
{
	list_remove(&w->node);
	w->deadline_ns = now_ns + t->cfg->time_wait_ns;
	list_push_back(&t->tw_list, &w->node);
}

/* All entries live equally long, so the list is in order of their deadlines. */
void tcp_tw_expire(struct tcp *t, uint64_t now_ns)
{
	struct list *n;
	while ((n = list_front(&t->tw_list))) {
		struct tcp_tw *w = list_entry(n, struct tcp_tw, node);
		if (w->deadline_ns > now_ns)
			return;
		tcp_tw_remove(t, w);
	}
}

/* Facts of single states. */
static void tcp_check_state(const struct tcb *c)
{
	switch ((enum tcp_state)c->state) {
	case TCPS_SYN_SENT:
	case TCPS_SYN_RCVD:
		CHECK(c->snd_una == c->iss && c->queued == 0 && !c->fin_sent && !c->fin_rcvd);
		CHECK(tcp_timer_is_on(c, TCPT_LIFE));
		break;
	case TCPS_ESTABLISHED:
		CHECK(!c->fin_sent && !c->fin_rcvd);
		break;
	case TCPS_FIN_WAIT_1:
		CHECK(c->fin_sent && !tcp_fin_acked(c) && !c->fin_rcvd);
		break;
	case TCPS_FIN_WAIT_2:
		CHECK(tcp_fin_acked(c) && !c->fin_rcvd && tcp_timer_is_on(c, TCPT_LIFE));
		break;
	case TCPS_CLOSE_WAIT:
		CHECK(!c->fin_sent && c->fin_rcvd);
		break;
	case TCPS_CLOSING:
	case TCPS_LAST_ACK:
		CHECK(c->fin_sent && !tcp_fin_acked(c) && c->fin_rcvd);
		break;
	case TCPS_CLOSED: /* waits for its events to be popped */
		CHECK(c->given && (c->ev & TCP_EV_CLOSED) && c->queued == 0);
		CHECK(!list_linked(&c->tx) && !wheel_timer_armed(&c->timer));
		break;
	case TCPS_TIME_WAIT:
	case TCPS_COUNT:
		CHECK(false);
	}
}

void tcp_check(const struct tcp *t, const struct tcb *c)
{
	tcp_check_state(c);
	tcp_rxq_check(t, c);
	tcp_sndq_check(t, c);
	tcp_rack_check(t, c);
	if (c->state == TCPS_CLOSED)
		return;
	CHECK(seq_le(c->snd_una, c->snd_nxt) && seq_le(c->snd_nxt, c->snd_max));
	CHECK(seq_le(c->rcv_nxt, c->rcv_adv));
	CHECK(c->mss >= TCP_MSS_MIN - TCP_TS_LEN && c->mss <= t->mss && c->cwnd >= c->mss);
	CHECK(c->ssthresh >= 2u * c->mss);
	if (c->state > TCPS_SYN_RCVD) {
		uint32_t end = tcp_data_end(c) + (c->fin_sent && !tcp_fin_acked(c));
		CHECK(seq_le(c->snd_max, end));
		CHECK(c->fin_queued || !c->fin_sent);
	}
	CHECK(!c->fin_rcvd || c->rcv_nxt == c->fin_seq + 1);
	/* what is in flight is watched by a timer */
	if (c->snd_una != c->snd_nxt)
		CHECK(tcp_timer_is_on(c, TCPT_RTX) && !c->persist);
	uint64_t first = UINT64_MAX;
	for (unsigned i = 0; i < TCPT_COUNT; i++)
		first = min_of(first, c->deadline_ns[i]);
	if (first != UINT64_MAX)
		CHECK(wheel_timer_armed(&c->timer) && c->timer.deadline_ns <= first);
	CHECK(flow_find(&t->flow, tcp_tcb_key(c)) == (uint32_t)(c - t->tcbs));
}

void tcp_check_all(const struct tcp *t)
{
	uint32_t txsegs = 0, conns = 0, slots = 0, chunks = 0, syn_rcvd = 0;
	for (uint32_t i = 0; i < t->cfg->max_conns; i++) {
		const struct tcb *c = &t->tcbs[i];
		if (c->state == TCPS_CLOSED && !c->given)
			continue;
		tcp_check(t, c);
		conns++;
		slots += c->nslots;
		for (uint32_t k = c->txs_head; k != TCP_NIL; k = t->txsegs[k].next)
			txsegs++;
		chunks += c->rq_chunks;
		syn_rcvd += c->state == TCPS_SYN_RCVD;
	}
	for (uint32_t i = t->borrowed; i != TCP_NIL; i = t->chunks[i].next)
		chunks++;
	CHECK(conns == t->ntcbs && slots == t->nslots && chunks == t->nchunks);
	CHECK(syn_rcvd == t->nsyn_rcvd);
	CHECK(txsegs + t->ntxs_free == t->cfg->tx_segments + t->cfg->max_conns);
	CHECK(t->nchunks + t->chunks_reserved <= t->cfg->rx_chunks);
	uint32_t tws = 0;
	uint64_t last = 0;
	list_for_each (it, &t->tw_list) {
		const struct tcp_tw *w = list_entry(it, struct tcp_tw, node);
		CHECK(w->deadline_ns >= last);
		CHECK(flow_find(&t->flow, w->key) == ((uint32_t)(w - t->tws) | TCP_FLOW_TW));
		last = w->deadline_ns;
		tws++;
	}
	CHECK(tws == t->ntws && t->flow.count <= conns + tws);
}

int tcp_dump(const struct tcp *t, const struct tcb *c, char *buf, size_t size)
{
	uint32_t ip = c->peer_ip;
	return snprintf(buf, size,
		"%s :%u peer %u.%u.%u.%u:%u una +%u nxt +%u max +%u queued %u wnd %u cwnd %u "
		"ssthresh %u%s%s sacked %u lost %u rcv +%u adv +%u unread %u chunks %u srtt %lluus "
		"rto %lluus<<%u%s\n",
		tcp_state_name(c->state), c->local_port, ip >> 24, ip >> 16 & 255, ip >> 8 & 255,
		ip & 255, c->peer_port, c->snd_una - c->iss, c->snd_nxt - c->iss,
		c->snd_max - c->iss, c->queued, c->snd_wnd, c->cwnd, c->ssthresh,
		c->in_recovery ? " recovery" : "", c->in_loss ? " loss" : "", c->sacked, c->lost,
		c->rcv_nxt - c->irs, c->rcv_adv - c->irs, c->rcv_nxt - c->rcv_read, c->rq_chunks,
		(unsigned long long)(c->srtt_ns / 1000), (unsigned long long)(c->rto_ns / 1000),
		c->rto_shift, c->paused ? " paused" : "");
}
