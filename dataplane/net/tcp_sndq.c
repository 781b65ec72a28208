/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes lent by the application: a chain of slots per connection, one for each struct net_iov.
 *
 *	done_head .. done_tail     cookies of finished sends, not yet reported
 *	sq_una (+una_off) .. sq_tail   from snd_una on; sq_nxt (+nxt_off) is the place of snd_nxt
 *
 * A slot that is acknowledged goes back to the pool, or, if it carries the cookie, to the done
 *list.
 */
#include <errno.h>

#include "net/tcp.h"

void tcp_sndq_init(struct tcb *c)
{
	c->sq_una = c->sq_nxt = c->sq_tail = c->done_head = c->done_tail = TCP_NIL;
}

static uint32_t slot_get(struct tcp *t, struct tcb *c)
{
	uint32_t i = t->slot_free;
	t->slot_free = t->slots[i].next;
	t->nslots++;
	c->nslots++;
	return i;
}

static void slot_put(struct tcp *t, struct tcb *c, uint32_t i)
{
	t->slots[i].next = t->slot_free;
	t->slot_free = i;
	t->nslots--;
	c->nslots--;
}

int tcp_sndq_add(
	struct tcp *t, struct tcb *c, const struct net_iov *iov, uint32_t count, uint64_t cookie)
{
	uint32_t need = 0;
	uint64_t bytes = 0;
	for (uint32_t i = 0; i < count; i++) {
		need += iov[i].len > 0;
		bytes += iov[i].len;
	}
	if (bytes == 0)
		return -EINVAL;
	/* sequence numbers must stay comparable: less than 2^30 outstanding */
	if (need > t->cfg->send_slots - t->nslots ||
		need > t->cfg->send_slots_per_conn -
				min_of(c->nslots, t->cfg->send_slots_per_conn) ||
		bytes + c->queued > 1u << 30)
		return -ENOBUFS;
	uint32_t slot = TCP_NIL;
	for (uint32_t i = 0; i < count; i++) {
		if (iov[i].len == 0)
			continue;
		slot = slot_get(t, c);
		t->slots[slot] = (struct tcp_slot){
			.p = iov[i].p, .cookie = cookie, .len = iov[i].len, .next = TCP_NIL};
		if (c->sq_una == TCP_NIL) {
			c->sq_una = slot;
			c->una_off = 0;
		} else {
			t->slots[c->sq_tail].next = slot;
		}
		c->sq_tail = slot;
		if (c->sq_nxt == TCP_NIL) {
			c->sq_nxt = slot;
			c->nxt_off = 0;
		}
	}
	t->slots[slot].last = true;
	c->queued += (uint32_t)bytes;
	return 0;
}

/* Takes the first slot out of the queue: back to the pool, or to the cookies to be reported. */
static void slot_finish(struct tcp *t, struct tcb *c, bool ok)
{
	uint32_t i = c->sq_una;
	struct tcp_slot *s = &t->slots[i];
	c->sq_una = s->next;
	c->una_off = 0;
	if (c->sq_una == TCP_NIL)
		c->sq_tail = TCP_NIL;
	if (!s->last) {
		slot_put(t, c, i);
		return;
	}
	s->ok = ok;
	s->next = TCP_NIL;
	if (c->done_head == TCP_NIL)
		c->done_head = i;
	else
		t->slots[c->done_tail].next = i;
	c->done_tail = i;
	tcp_want_event(t, c);
}

void tcp_sndq_ack(struct tcp *t, struct tcb *c, uint32_t n)
{
	CHECK(n <= c->queued);
	c->queued -= n;
	while (n > 0) {
		uint32_t left = t->slots[c->sq_una].len - c->una_off;
		if (n < left) {
			c->una_off += n;
			break;
		}
		n -= left;
		if (c->sq_nxt == c->sq_una) {
			c->sq_nxt = t->slots[c->sq_una].next;
			c->nxt_off = 0;
		}
		slot_finish(t, c, true);
	}
	if (c->sq_nxt == c->sq_una && c->nxt_off < c->una_off)
		c->nxt_off = c->una_off;
}

uint32_t tcp_sndq_gather(
	const struct tcp *t, uint32_t *slot, uint32_t *off, uint32_t len, struct ip_out_frame *out)
{
	uint32_t got = 0;
	out->nslices = 0;
	while (got < len && *slot != TCP_NIL && out->nslices < t->cfg->tx_slices_max) {
		const struct tcp_slot *s = &t->slots[*slot];
		uint32_t n = min_of(len - got, s->len - *off);
		out->slice[out->nslices] = (struct net_iov){.p = s->p + *off, .len = n};
		out->cookie[out->nslices++] = s->cookie;
		got += n;
		*off += n;
		if (*off == s->len) {
			*slot = s->next;
			*off = 0;
		}
	}
	return got;
}

void tcp_sndq_skip(const struct tcp *t, uint32_t *slot, uint32_t *off, uint32_t n)
{
	while (*slot != TCP_NIL && n >= t->slots[*slot].len - *off) {
		n -= t->slots[*slot].len - *off;
		*slot = t->slots[*slot].next;
		*off = 0;
	}
	*off += *slot == TCP_NIL ? 0 : n;
}

void tcp_sndq_fail(struct tcp *t, struct tcb *c)
{
	while (c->sq_una != TCP_NIL)
		slot_finish(t, c, false);
	c->sq_nxt = TCP_NIL;
	c->queued = 0;
}

void tcp_sndq_pop_done(struct tcp *t, struct tcb *c, struct ipstack_event *ev)
{
	uint32_t i = c->done_head;
	struct tcp_slot *s = &t->slots[i];
	ev->kind = IPSTACK_EV_SENT;
	ev->sent.cookie = s->cookie;
	ev->sent.ok = s->ok;
	c->done_head = s->next;
	if (c->done_head == TCP_NIL)
		c->done_tail = TCP_NIL;
	slot_put(t, c, i);
}

void tcp_sndq_check(const struct tcp *t, const struct tcb *c)
{
	uint32_t n = 0, tail = TCP_NIL;
	uint64_t bytes = 0, before_nxt = 0;
	bool seen_nxt = c->sq_nxt == TCP_NIL;
	for (uint32_t i = c->sq_una; i != TCP_NIL; i = t->slots[i].next) {
		CHECK(++n <= t->cfg->send_slots);
		if (i == c->sq_nxt) {
			seen_nxt = true;
			before_nxt = bytes + c->nxt_off;
			CHECK(c->nxt_off < t->slots[i].len);
		}
		bytes += t->slots[i].len;
		tail = i;
	}
	bytes -= c->sq_una == TCP_NIL ? 0 : c->una_off;
	before_nxt = c->sq_nxt == TCP_NIL ? bytes : before_nxt - c->una_off;
	CHECK(seen_nxt && tail == c->sq_tail && bytes == c->queued);
	for (uint32_t i = c->done_head; i != TCP_NIL; i = t->slots[i].next)
		CHECK(++n <= t->cfg->send_slots && t->slots[i].last);
	CHECK(n == c->nslots);
	if (c->state > TCPS_SYN_RCVD) /* snd_nxt is where the cursor is, or behind the FIN */
		CHECK(before_nxt == tcp_flight(c) ||
			(c->fin_sent && before_nxt + 1 == tcp_flight(c)) || tcp_fin_acked(c));
}
