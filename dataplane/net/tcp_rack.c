/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loss recovery of connections with SACK: RACK-TLP (RFC 8985) over a scoreboard of what is in
 * flight. Connections without SACK recover by duplicate ACKs (tcp_cc.c).
 *
 * Every segment in flight has a record: [seq, end), where its bytes are, when it was sent last.
 * Records lie in order of seq without gaps from snd_una to snd_max; snd_nxt never goes back.
 *
 *	sent ---SACK---> SACKED ---ACK---> gone
 *	  '--RACK, RTO--> LOST --sent again--> sent (RETX)
 *
 * pipe = in flight - SACKED - LOST. SACKed bytes are kept until they are acknowledged: a peer may
 * renege (RFC 2018 section 8).
 *
 * No ACK may cost time in proportion to what is in flight. Records that are sent lie in a list by
 * the time of their transmission, of which RACK only looks at the front; those that are LOST lie in
 * another. What the blocks of the last ACK said is not looked for again, the place of the last
 * search is where the next begins, and a search that takes too long is given up: the next ACK with
 * that block goes on with it.
 */
#include "net/tcp.h"

#include "base/bytes.h"
#include "base/clock.h"

#define TXS_SACKED 1
#define TXS_LOST 2
#define TXS_RETX 4 /* sent more than once */

#define SACK_STEPS_MAX 256 /* records that the blocks of one ACK may pass */

#define DUP_SEGMENTS 3		     /* so many SACKed behind a hole leave no room for reordering */
#define REO_MULT_MAX 8		     /* of a quarter of the smallest round-trip time */
#define REO_PERSIST 16		     /* recoveries until the window is small again */
#define PTO_SLACK_NS (2 * NS_PER_MS) /* ticks of the timer */
#define PTO_FIRST_NS NS_PER_S	     /* without a sample */

/* ---- records ---- */

static inline struct tcp_txseg *txs(const struct tcp *t, uint32_t i)
{
	return &t->txsegs[i];
}
static inline uint32_t txs_len(const struct tcp_txseg *r)
{
	return r->end - r->seq;
}

/*
 * A free record. The last max_conns of the pool are for connections that have none: so each can
 * always send. TCP_NIL: none for this one.
 */
static uint32_t txs_get(struct tcp *t, struct tcb *c)
{
	if (t->txs_free == TCP_NIL || (t->ntxs_free <= t->cfg->max_conns && c->txs_head != TCP_NIL))
		return TCP_NIL;
	uint32_t i = t->txs_free;
	t->txs_free = txs(t, i)->next;
	t->ntxs_free--;
	return i;
}

static void txs_put(struct tcp *t, uint32_t i)
{
	txs(t, i)->next = t->txs_free;
	t->txs_free = i;
	t->ntxs_free++;
}

/* Links i behind prev. */
static void txs_link(struct tcp *t, struct tcb *c, uint32_t prev, uint32_t i)
{
	uint32_t *at = prev == TCP_NIL ? &c->txs_head : &txs(t, prev)->next, next = *at;
	txs(t, i)->next = next;
	txs(t, i)->prev = prev;
	*at = i;
	if (next == TCP_NIL)
		c->txs_tail = i;
	else
		txs(t, next)->prev = i;
}

/* The list that a record lies in because of its state; NULL: none. */
static struct tcp_txlist *txs_list(struct tcb *c, const struct tcp_txseg *r)
{
	if (r->flags & TXS_SACKED)
		return NULL;
	return r->flags & TXS_LOST ? &c->txs_lost : &c->txs_sent;
}

/* Puts i into its list, behind prev (TCP_NIL: first). */
static void txs_enlist(struct tcp *t, struct tcb *c, uint32_t prev, uint32_t i)
{
	struct tcp_txlist *l = txs_list(c, txs(t, i));
	if (!l)
		return;
	uint32_t *at = prev == TCP_NIL ? &l->head : &txs(t, prev)->list_next, next = *at;
	txs(t, i)->list_next = next;
	txs(t, i)->list_prev = prev;
	*at = i;
	*(next == TCP_NIL ? &l->tail : &txs(t, next)->list_prev) = i;
}

static void txs_delist(struct tcp *t, struct tcb *c, uint32_t i)
{
	const struct tcp_txseg *r = txs(t, i);
	struct tcp_txlist *l = txs_list(c, r);
	if (!l)
		return;
	*(r->list_prev == TCP_NIL ? &l->head : &txs(t, r->list_prev)->list_next) = r->list_next;
	*(r->list_next == TCP_NIL ? &l->tail : &txs(t, r->list_next)->list_prev) = r->list_prev;
}

static void txs_count(struct tcb *c, const struct tcp_txseg *r, bool on)
{
	uint32_t len = on ? txs_len(r) : 0 - txs_len(r);
	if (r->flags & TXS_SACKED) {
		c->sacked += len;
		c->nsacked += on ? 1u : 0u - 1u;
	}
	if (r->flags & TXS_LOST)
		c->lost += len;
}

/* Gives i a state; it goes to the end of the list for that. */
static void txs_flags(struct tcp *t, struct tcb *c, uint32_t i, uint8_t flags)
{
	struct tcp_txseg *r = txs(t, i);
	txs_count(c, r, false);
	txs_delist(t, c, i);
	r->flags = flags;
	struct tcp_txlist *l = txs_list(c, r);
	if (l)
		txs_enlist(t, c, l->tail, i);
	txs_count(c, r, true);
}

/* Cuts record i at seq, the second part becomes a record of its own; false: there is none free. */
static bool txs_split(struct tcp *t, struct tcb *c, uint32_t i, uint32_t seq)
{
	uint32_t k = txs_get(t, c);
	if (k == TCP_NIL)
		return false;
	struct tcp_txseg *a = txs(t, i), *b = txs(t, k);
	txs_count(c, a, false);
	*b = *a;
	b->seq = seq;
	tcp_sndq_skip(t, &b->slot, &b->off, seq - a->seq);
	a->end = seq;
	txs_link(t, c, i, k);
	txs_enlist(t, c, i, k);
	txs_count(c, a, true);
	txs_count(c, b, true);
	return true;
}

static void txs_none(struct tcb *c)
{
	c->txs_head = c->txs_tail = c->txs_hint = TCP_NIL;
	c->txs_sent = c->txs_lost = (struct tcp_txlist){TCP_NIL, TCP_NIL};
	c->nsack_seen = 0;
}

void tcp_rack_init(struct tcb *c)
{
	txs_none(c);
	c->reo_mult = 1;
}

void tcp_rack_drop(struct tcp *t, struct tcb *c)
{
	while (c->txs_head != TCP_NIL) {
		uint32_t i = c->txs_head;
		c->txs_head = txs(t, i)->next;
		txs_put(t, i);
	}
	txs_none(c);
	c->sacked = c->lost = c->nsacked = 0;
}

void tcp_rack_sent(struct tcp *t, struct tcb *c, uint64_t now_ns, uint32_t seq, uint32_t end,
	uint32_t slot, uint32_t off)
{
	uint32_t i = txs_get(t, c);
	if (i == TCP_NIL) { /* the pool is empty: known less exactly */
		struct tcp_txseg *r = txs(t, c->txs_tail);
		txs_flags(t, c, c->txs_tail, 0);
		c->nsack_seen = 0;
		r->end = end;
		r->xmit_ns = now_ns;
	} else {
		*txs(t, i) = (struct tcp_txseg){
			.seq = seq, .end = end, .slot = slot, .off = off, .xmit_ns = now_ns};
		txs_link(t, c, c->txs_tail, i);
		txs_enlist(t, c, c->txs_sent.tail, i);
	}
	c->prr_out += end - seq;
	tcp_rack_arm(t, c, now_ns);
}

/* ---- what the peer says it has ---- */

/* A record has arrived: RFC 8985 section 6.2 steps 1 to 3. */
static void rack_delivered(struct tcb *c, const struct tcp_txseg *r, uint64_t now_ns)
{
	uint64_t rtt = now_ns - r->xmit_ns;
	bool again = r->flags & TXS_RETX;
	c->delivered += txs_len(r);
	if (!again && seq_lt(r->end, c->rack_fack))
		c->rack_reordered = true;
	c->rack_fack = seq_max(c->rack_fack, r->end);
	/* the ACK is of an earlier transmission */
	if (again && (rtt < c->min_rtt_ns ||
			     (c->ts_ok && tcp_ts_older(c->ack_ecr,
						  tcp_ts_now(c->ts_offset, r->xmit_ns)))))
		return;
	c->rack_rtt_ns = rtt;
	if (r->xmit_ns > c->rack_xmit_ns ||
		(r->xmit_ns == c->rack_xmit_ns && seq_lt(c->rack_end, r->end))) {
		c->rack_xmit_ns = r->xmit_ns;
		c->rack_end = r->end;
	}
}

/* The record that seq is in or before; TCP_NIL: *steps were not enough, or there is none. */
static uint32_t rack_find(struct tcp *t, struct tcb *c, uint32_t seq, uint32_t *steps)
{
	uint32_t i = c->txs_hint == TCP_NIL ? c->txs_head : c->txs_hint;
	for (; i != TCP_NIL && *steps > 0; --*steps) {
		const struct tcp_txseg *r = txs(t, i);
		c->txs_hint = i;
		if (seq_lt(seq, r->seq) && r->prev != TCP_NIL)
			i = r->prev;
		else if (seq_le(r->end, seq))
			i = r->next;
		else
			return i;
	}
	return TCP_NIL;
}

/*
 * One SACK block. A record that it covers in part is cut; when records become few, only where
 * segments of it ended: no peer is to cut everything into bytes. False: it could not be taken in
 * altogether.
 */
static bool rack_block(
	struct tcp *t, struct tcb *c, uint64_t now_ns, struct tcp_range b, uint32_t *steps)
{
	uint32_t unit = t->ntxs_free > t->cfg->tx_segments / 2 ? 1 : c->mss;
	uint32_t i = rack_find(t, c, b.from, steps);
	for (; i != TCP_NIL && *steps > 0; i = txs(t, i)->next, --*steps) {
		struct tcp_txseg *r = txs(t, i);
		c->txs_hint = i;
		if (seq_le(b.to, r->seq))
			return true;
		if (r->flags & TXS_SACKED)
			continue;
		if (seq_lt(r->seq, b.from)) {
			uint32_t cut = (b.from - r->seq + unit - 1) / unit * unit;
			if (cut < txs_len(r) && !txs_split(t, c, i, r->seq + cut))
				return false;
			continue; /* its second part is next */
		}
		if (seq_lt(b.to, r->end)) {
			uint32_t cut = (b.to - r->seq) / unit * unit;
			if (cut == 0)
				return true;
			if (!txs_split(t, c, i, r->seq + cut))
				return false;
		}
		rack_delivered(c, r, now_ns);
		txs_flags(t, c, i, (r->flags & TXS_RETX) | TXS_SACKED);
	}
	return i == TCP_NIL && *steps > 0;
}

/* What is left of a block without what the last ACK said already. */
static struct tcp_range rack_unseen(const struct tcb *c, struct tcp_range b)
{
	for (uint32_t i = 0; i < c->nsack_seen && b.from != b.to; i++) {
		const struct tcp_range *s = &c->sack_seen[i];
		if (seq_le(s->from, b.from) && seq_lt(b.from, s->to))
			b.from = seq_lt(s->to, b.to) ? s->to : b.to;
		else if (seq_lt(s->from, b.to) && seq_le(b.to, s->to))
			b.to = s->from;
	}
	return b;
}

/* RFC 2883 section 4: the first block may be of something that came twice. */
static bool rack_is_dsack(const struct tcb *c, const struct tcp_seg *seg)
{
	const struct tcp_range *b = seg->opts.sack;
	if (seq_le(b[0].to, seg->ack))
		return true;
	return seg->opts.nsack > 1 && seq_le(b[1].from, b[0].from) && seq_le(b[0].to, b[1].to) &&
	       seq_le(c->snd_una, b[1].from);
}

static void rack_dsack(struct tcp *t, struct tcb *c, const struct tcp_range *b)
{
	metric_add(&t->m->tcp_dsacks_in_total, 1);
	if (c->tlp_out && b->to == c->tlp_end)
		c->tlp_out = false; /* the probe was not needed */
	else
		tcp_undo_duplicate(t, c, b);
	if (seq_le(c->reo_round, c->snd_una)) { /* once in a round trip */
		c->reo_round = c->snd_max;
		c->reo_mult = (uint8_t)min_of(c->reo_mult + 1, REO_MULT_MAX);
		c->reo_persist = REO_PERSIST;
	}
}

void tcp_rack_sacks(struct tcp *t, struct tcb *c, uint64_t now_ns, const struct tcp_seg *seg)
{
	uint32_t i = 0, n = 0, steps = SACK_STEPS_MAX;
	struct tcp_range seen[TCP_SACKS_MAX];
	if (seg->opts.nsack > 0 && rack_is_dsack(c, seg)) {
		rack_dsack(t, c, &seg->opts.sack[0]);
		i = 1;
	}
	for (; i < seg->opts.nsack; i++) {
		struct tcp_range b = seg->opts.sack[i];
		if (!seq_lt(c->snd_una, b.to) || !seq_lt(b.from, b.to) || seq_lt(c->snd_max, b.to))
			continue;
		struct tcp_range left = rack_unseen(c, b);
		if (left.from == left.to || rack_block(t, c, now_ns, left, &steps))
			seen[n++] = b;
	}
	if (seg->opts.nsack == 0)
		return;
	memcpy(c->sack_seen, seen, n * sizeof(seen[0]));
	c->nsack_seen = (uint8_t)n;
}

void tcp_rack_acked(struct tcp *t, struct tcb *c, uint64_t now_ns)
{
	while (c->txs_head != TCP_NIL) {
		uint32_t i = c->txs_head;
		struct tcp_txseg *r = txs(t, i);
		if (seq_le(c->snd_una, r->seq))
			break;
		bool whole = seq_le(r->end, c->snd_una);
		if (!(r->flags & TXS_SACKED)) {
			struct tcp_txseg part = *r;
			part.end = whole ? r->end : c->snd_una;
			rack_delivered(c, &part, now_ns);
		}
		txs_count(c, r, false);
		if (!whole) { /* the send queue begins where the rest does */
			r->seq = c->snd_una;
			r->slot = c->sq_una;
			r->off = c->una_off;
			txs_count(c, r, true);
			break;
		}
		txs_delist(t, c, i);
		c->txs_head = r->next;
		*(r->next == TCP_NIL ? &c->txs_tail : &txs(t, r->next)->prev) = TCP_NIL;
		if (c->txs_hint == i)
			c->txs_hint = r->next;
		txs_put(t, i);
	}
	if (c->nsacked == 0)
		c->nsack_seen = 0;
}

/* ---- what is lost ---- */

/* RFC 8985 section 6.2 step 4. */
static uint64_t rack_reo_wnd_ns(const struct tcb *c)
{
	bool enough = c->nsacked >= DUP_SEGMENTS || c->sacked > (DUP_SEGMENTS - 1) * c->mss;
	if (!c->rack_reordered && (c->in_recovery || c->in_loss || enough))
		return 0;
	return min_of(c->reo_mult * (c->min_rtt_ns / 4), c->srtt_ns);
}

/*
 * Step 5. Returns after which time there is more, 0: nothing. That is when the first is due: RFC
 * 8985 waits for the last of those known now, which takes a look at all of them.
 */
static uint64_t rack_detect(struct tcb *c, struct tcp *t, uint64_t now_ns)
{
	uint64_t reo_wnd = rack_reo_wnd_ns(c);
	if (c->rack_xmit_ns == 0)
		return 0;
	while (c->txs_sent.head != TCP_NIL) {
		const struct tcp_txseg *r = txs(t, c->txs_sent.head);
		bool before = r->xmit_ns < c->rack_xmit_ns ||
			      (r->xmit_ns == c->rack_xmit_ns && seq_lt(r->end, c->rack_end));
		uint64_t due = r->xmit_ns + c->rack_rtt_ns + reo_wnd;
		if (!before)
			return 0;
		if (due > now_ns)
			return due - now_ns;
		txs_flags(t, c, c->txs_sent.head, r->flags | TXS_LOST);
	}
	return 0;
}

/* What has been found lost: into recovery, or on with it. */
static void rack_react(struct tcp *t, struct tcb *c, uint64_t now_ns)
{
	uint64_t wait = rack_detect(c, t, now_ns);
	if (c->lost > 0 && !c->in_recovery && !c->in_loss) {
		metric_add(&t->m->tcp_fast_retransmits_total, 1);
		tcp_cc_recovery(c, tcp_pipe(c));
	}
	c->rack_reo_ns = wait ? now_ns + wait : 0;
}

/* Section 7.4: an ACK beyond the probe without a DSACK: it repaired a loss, which counts as one. */
static void rack_tlp_acked(struct tcp *t, struct tcb *c)
{
	if (!c->tlp_out || seq_lt(c->snd_una, c->tlp_end))
		return;
	if (c->tlp_retx && seq_lt(c->tlp_end, c->snd_una) && !c->in_recovery && !c->in_loss) {
		metric_add(&t->m->tcp_fast_retransmits_total, 1);
		tcp_cc_loss_repaired(c);
	}
	c->tlp_out = false;
}

static void rack_recovered(struct tcb *c)
{
	if (seq_lt(c->snd_una, c->recover))
		return;
	if (c->in_recovery) {
		tcp_cc_recovered(c);
		if (c->reo_persist > 0 && --c->reo_persist == 0)
			c->reo_mult = 1;
	}
	c->in_loss = false;
}

void tcp_rack_ack(struct tcp *t, struct tcb *c, uint64_t now_ns, uint32_t acked, uint32_t flight)
{
	bool was_recovery = c->in_recovery;
	rack_tlp_acked(t, c);
	if (acked > 0) {
		tcp_undo_ack(t, c);
		rack_recovered(c);
	}
	if (acked > 0 && !was_recovery)
		tcp_cc_ack(t, c, now_ns, acked, flight);
	if (c->nsacked > 0 || c->lost > 0 || c->in_recovery || c->in_loss || c->tlp_out)
		rack_react(t, c, now_ns);
	else
		c->rack_reo_ns = 0;
	if (c->in_recovery)
		tcp_cc_prr(c, c->delivered, tcp_pipe(c));
	if (c->lost > 0 || c->delivered > 0)
		tcp_want_output(t, c);
	c->delivered = 0;
	tcp_rack_arm(t, c, now_ns);
}

void tcp_rack_rto(struct tcp *t, struct tcb *c)
{
	bool reneged = c->txs_head != TCP_NIL && (txs(t, c->txs_head)->flags & TXS_SACKED);
	if (reneged)
		metric_add(&t->m->tcp_reneged_total, 1);
	for (uint32_t i = c->txs_head; i != TCP_NIL; i = txs(t, i)->next) {
		const struct tcp_txseg *r = txs(t, i);
		if (reneged || !(r->flags & TXS_SACKED))
			txs_flags(t, c, i, (r->flags & TXS_RETX) | TXS_LOST);
	}
	if (reneged)
		c->nsack_seen = 0;
	c->in_loss = true;
	c->tlp_out = c->tlp_send = false;
	c->rack_reo_ns = 0;
	tcp_timer_clear(c, TCPT_RACK);
}

void tcp_rack_found(struct tcp *t, struct tcb *c)
{
	while (c->txs_lost.tail != TCP_NIL) { /* they were sent before those that count as sent */
		uint32_t i = c->txs_lost.tail;
		txs_flags(t, c, i, txs(t, i)->flags & TXS_RETX);
		txs_delist(t, c, i);
		txs_enlist(t, c, TCP_NIL, i);
	}
}

void tcp_rack_too_long(struct tcp *t, struct tcb *c)
{
	for (uint32_t i = c->txs_head; i != TCP_NIL; i = txs(t, i)->next)
		if (!(txs(t, i)->flags & TXS_SACKED) && txs_len(txs(t, i)) > c->mss)
			txs_flags(t, c, i, txs(t, i)->flags | TXS_LOST);
	tcp_timer_clear(c, TCPT_RACK);
	c->tlp_out = c->tlp_send = false;
	c->rack_reo_ns = 0;
}

/* ---- timers ---- */

void tcp_rack_arm(struct tcp *t, struct tcb *c, uint64_t now_ns)
{
	tcp_timer_clear(c, TCPT_RACK);
	uint32_t flight = tcp_flight(c);
	if (flight == 0)
		return;
	if (c->rack_reo_ns) {
		tcp_timer_set(t, c, TCPT_RACK, c->rack_reo_ns);
		return;
	}
	bool open = !c->in_recovery && !c->in_loss && c->nsacked == 0 && c->lost == 0;
	if (!open || c->tlp_out || c->snd_wnd == 0 || c->rto_shift > 0)
		return;
	/* section 7.2 */
	uint64_t pto = c->srtt_ns ? 2 * c->srtt_ns + PTO_SLACK_NS : PTO_FIRST_NS;
	if (flight < 2u * c->mss) /* the peer may wait for more before it acknowledges */
		pto += 2 * t->cfg->delack_ns;
	if (now_ns + pto < c->deadline_ns[TCPT_RTX])
		tcp_timer_set(t, c, TCPT_RACK, now_ns + pto);
}

void tcp_rack_timer(struct tcp *t, struct tcb *c, uint64_t now_ns)
{
	if (c->rack_reo_ns) {
		rack_react(t, c, now_ns);
		if (c->in_recovery)
			tcp_cc_prr(c, 0, tcp_pipe(c));
	} else if (tcp_flight(c) > 0) {
		metric_add(&t->m->tcp_tail_probes_total, 1);
		c->tlp_send = true;
	}
	tcp_want_output(t, c);
	tcp_rack_arm(t, c, now_ns);
}

void tcp_rack_probed(struct tcp *t, struct tcb *c, uint64_t now_ns, bool again)
{
	c->tlp_send = false;
	c->tlp_out = true;
	c->tlp_retx = again;
	c->tlp_end = c->snd_max;
	tcp_timer_clear(c, TCPT_RACK);
	tcp_rtx_start(t, c, now_ns);
}

/* ---- what to send again ---- */

struct tcp_txseg *tcp_rack_next_lost(struct tcp *t, struct tcb *c)
{
	uint32_t edge = c->snd_una + c->snd_wnd, i = c->txs_lost.head;
	if (i == TCP_NIL)
		return NULL;
	if (txs(t, c->txs_head)->flags & TXS_LOST) /* lost once more, perhaps: all wait for it */
		i = c->txs_head;
	struct tcp_txseg *r = txs(t, i);
	/* the first one goes even into a closed window: as a probe */
	if (i != c->txs_head && seq_lt(edge, r->seq + min_of(txs_len(r), (uint32_t)c->mss)))
		return NULL;
	if (txs_len(r) > c->mss)
		txs_split(t, c, i, r->seq + c->mss);
	return r;
}

struct tcp_txseg *tcp_rack_tail(struct tcp *t, struct tcb *c)
{
	struct tcp_txseg *r = c->txs_tail == TCP_NIL ? NULL : txs(t, c->txs_tail);
	if (!r || (r->flags & (TXS_SACKED | TXS_LOST)))
		return NULL;
	/* a FIN goes with the bytes before it */
	if (txs_len(r) > c->mss && txs_split(t, c, c->txs_tail, r->end - c->mss))
		r = txs(t, c->txs_tail);
	return r;
}

void tcp_rack_resent(
	struct tcp *t, struct tcb *c, struct tcp_txseg *r, uint32_t octets, uint64_t now_ns)
{
	uint32_t i = (uint32_t)(r - t->txsegs);
	if (octets < txs_len(r)) /* the rest stays what it was */
		txs_split(t, c, i, r->seq + octets);
	txs_flags(t, c, i, TXS_RETX);
	r->xmit_ns = now_ns;
	c->prr_out += octets;
	tcp_rack_arm(t, c, now_ns);
}

static uint32_t rack_check_list(
	const struct tcp *t, const struct tcp_txlist *l, uint8_t flags, uint32_t *n)
{
	uint32_t len = 0, prev = TCP_NIL;
	for (uint32_t i = l->head; i != TCP_NIL; i = txs(t, i)->list_next) {
		const struct tcp_txseg *r = txs(t, i);
		CHECK((r->flags & (TXS_SACKED | TXS_LOST)) == flags && r->list_prev == prev);
		len += txs_len(r);
		prev = i;
		++*n;
	}
	CHECK(l->tail == prev);
	return len;
}

void tcp_rack_check(const struct tcp *t, const struct tcb *c)
{
	uint32_t seq = c->snd_una, sacked = 0, n = 0, all = 0, listed = 0, tail = TCP_NIL;
	for (uint32_t i = c->txs_head; i != TCP_NIL; i = txs(t, i)->next) {
		const struct tcp_txseg *r = txs(t, i);
		CHECK(r->seq == seq && seq_lt(seq, r->end) && r->prev == tail);
		sacked += r->flags & TXS_SACKED ? txs_len(r) : 0;
		n += r->flags & TXS_SACKED;
		seq = r->end;
		tail = i;
		all++;
	}
	CHECK(tail == c->txs_tail && sacked == c->sacked && n == c->nsacked);
	uint32_t lost = rack_check_list(t, &c->txs_lost, TXS_LOST, &listed);
	uint32_t sent = rack_check_list(t, &c->txs_sent, 0, &listed);
	CHECK(lost == c->lost && listed + n == all && sent + lost + sacked == seq - c->snd_una);
	if (c->sack_ok && c->state > TCPS_SYN_RCVD)
		CHECK(seq == c->snd_max && c->snd_nxt == c->snd_max);
	else
		CHECK(c->txs_head == TCP_NIL);
}
