/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Received bytes of a connection that the application has not seen yet.
 *
 *	rcv_read                         rcv_nxt
 *	   | direct: in their frames | chunks in order |  hole  | chunks ... | hole | chunks
 *	   dir_head ..                rq_head..rq_ready          ..               rq_tail
 *
 * Bytes in order stay in their frame if nothing is queued before them: the usual case, no copy. All
 * else is copied into chunks of 2 KiB, which are what a connection is charged for (its truesize),
 * however little a peer puts into a segment; neighbours share a chunk. Direct bytes have reserved
 *as many free chunks as a copy of them would take, so that a pause can always be obeyed.
 *
 * Chunks are in order of seq, do not overlap and all lie at or behind rcv_read. Where segments
 * overlap, what came first stays.
 */
#include "net/tcp.h"

#include "base/bytes.h"

void tcp_rxq_init(struct tcb *c)
{
	c->rq_head = c->rq_tail = c->rq_ready = TCP_NIL;
	c->dir_head = c->dir_tail = TCP_NIL;
}

static uint8_t *chunk_bytes_of(const struct tcp *t, uint32_t i)
{
	return t->chunk_bytes + (size_t)i * TCP_CHUNK_BYTES;
}
static uint32_t chunk_end(const struct tcp *t, uint32_t i)
{
	return t->chunks[i].seq + t->chunks[i].len;
}
static uint32_t chunks_for(uint32_t len)
{
	return (len + TCP_CHUNK_BYTES - 1) / TCP_CHUNK_BYTES;
}
static uint32_t chunks_left(const struct tcp *t)
{
	return t->cfg->rx_chunks - t->nchunks - t->chunks_reserved;
}

static uint32_t chunk_get(struct tcp *t)
{
	uint32_t i = t->chunk_free;
	t->chunk_free = t->chunks[i].next;
	t->nchunks++;
	return i;
}
static void chunk_put(struct tcp *t, uint32_t i)
{
	t->chunks[i].next = t->chunk_free;
	t->chunk_free = i;
	t->nchunks--;
}

/* Makes i the successor of prev (TCP_NIL: the head). */
static void chunk_link(struct tcp *t, struct tcb *c, uint32_t prev, uint32_t i)
{
	uint32_t *at = prev == TCP_NIL ? &c->rq_head : &t->chunks[prev].next;
	t->chunks[i].next = *at;
	*at = i;
	if (t->chunks[i].next == TCP_NIL)
		c->rq_tail = i;
	c->rq_chunks++;
}

/* Takes the successor of prev (TCP_NIL: the head) out of the queue. */
static uint32_t chunk_unlink(struct tcp *t, struct tcb *c, uint32_t prev)
{
	uint32_t *at = prev == TCP_NIL ? &c->rq_head : &t->chunks[prev].next;
	uint32_t i = *at;
	*at = t->chunks[i].next;
	if (c->rq_tail == i)
		c->rq_tail = prev;
	if (c->rq_ready == i)
		c->rq_ready = prev;
	c->rq_chunks--;
	return i;
}

/* The first chunk behind those in order. */
static uint32_t rxq_first_ooo(const struct tcp *t, const struct tcb *c)
{
	return c->rq_ready == TCP_NIL ? c->rq_head : t->chunks[c->rq_ready].next;
}

/* Gives up the highest out-of-order chunk: data in order are worth more (RFC 2018 section 8:
 * legal). */
static bool rxq_prune(struct tcp *t, struct tcb *c)
{
	if (c->rq_tail == c->rq_ready)
		return false;
	uint32_t prev = c->rq_ready;
	for (uint32_t i = rxq_first_ooo(t, c); i != c->rq_tail; i = t->chunks[i].next)
		prev = i;
	chunk_put(t, chunk_unlink(t, c, prev));
	metric_add(&t->m->tcp_pruned_total, 1);
	return true;
}

/* A free chunk for c, TCP_NIL when it may have none. */
static uint32_t rxq_chunk_for(struct tcp *t, struct tcb *c, bool in_order)
{
	while (chunks_left(t) == 0 || c->rq_chunks >= t->cfg->rx_chunks_per_conn)
		if (!in_order || !rxq_prune(t, c))
			return TCP_NIL;
	return chunk_get(t);
}

/*
 * Copies bytes that lie between prev and its successor, into the rest of prev if they follow it
 * directly. In order: prev is rq_ready. Returns what could be taken.
 */
static uint32_t rxq_fill(struct tcp *t, struct tcb *c, uint32_t prev, uint32_t seq,
	const uint8_t *data, uint32_t len)
{
	bool in_order = seq == c->rcv_nxt;
	uint32_t done = 0;
	if (prev != TCP_NIL && chunk_end(t, prev) == seq) {
		struct tcp_chunk *k = &t->chunks[prev];
		done = min_of(len, TCP_CHUNK_BYTES - k->len);
		memcpy(chunk_bytes_of(t, prev) + k->len, data, done);
		k->len += done;
	}
	while (done < len) {
		uint32_t n = min_of(len - done, (uint32_t)TCP_CHUNK_BYTES);
		uint32_t i = rxq_chunk_for(t, c, in_order);
		if (i == TCP_NIL) {
			metric_add(&t->m->tcp_drop_no_buffer_total, 1);
			break;
		}
		t->chunks[i].seq = seq + done;
		t->chunks[i].len = n;
		memcpy(chunk_bytes_of(t, i), data + done, n);
		chunk_link(t, c, prev, i);
		if (in_order) /* at once, so that pruning keeps off it */
			c->rq_ready = i;
		prev = i;
		done += n;
	}
	return done;
}

/* True when there may be one more range of out-of-order bytes. */
static bool rxq_range_free(const struct tcp *t, const struct tcb *c)
{
	uint32_t ranges = 0, end = 0;
	for (uint32_t i = rxq_first_ooo(t, c); i != TCP_NIL; i = t->chunks[i].next) {
		ranges += ranges == 0 || t->chunks[i].seq != end;
		end = chunk_end(t, i);
	}
	return ranges < TCP_RANGES_MAX;
}

/* Where to begin looking for the place of seq: usually it goes to the very end. */
static uint32_t rxq_search_from(const struct tcp *t, const struct tcb *c, uint32_t seq)
{
	if (c->rq_tail != c->rq_ready && seq_le(t->chunks[c->rq_tail].seq, seq))
		return c->rq_tail;
	return c->rq_ready;
}

/* The range of out-of-order bytes that seq is in; false: none. */
static bool rxq_range_of(
	const struct tcp *t, const struct tcb *c, uint32_t seq, struct tcp_range *range)
{
	*range = (struct tcp_range){0};
	for (uint32_t i = rxq_first_ooo(t, c); i != TCP_NIL; i = t->chunks[i].next) {
		if (range->from == range->to || t->chunks[i].seq != range->to) {
			if (seq_lt(seq, t->chunks[i].seq))
				break;
			range->from = t->chunks[i].seq;
		}
		range->to = chunk_end(t, i);
	}
	return seq_le(range->from, seq) && seq_lt(seq, range->to);
}

/* seq is where out-of-order bytes came last, for the order of SACK blocks: one place per range. */
static void rxq_note_recent(const struct tcp *t, struct tcb *c, uint32_t seq)
{
	struct tcp_range r;
	uint32_t recent[TCP_SACKS_MAX] = {seq}, n = 1;
	if (!rxq_range_of(t, c, seq, &r)) /* it was not kept */
		return;
	for (uint32_t i = 0; i < c->nsack_recent && n < TCP_SACKS_MAX; i++) {
		uint32_t at = c->sack_recent[i];
		if (seq_lt(at, r.from) || seq_le(r.to, at))
			recent[n++] = at;
	}
	memcpy(c->sack_recent, recent, sizeof(recent));
	c->nsack_recent = (uint8_t)n;
}

uint32_t tcp_rxq_sacks(const struct tcp *t, struct tcb *c, struct tcp_range *sack, uint32_t max)
{
	uint32_t n = 0, first = 0;
	if (c->dsack) {
		c->dsack = false;
		sack[n++] = c->dsack_range;
		first = n;
	}
	if (rxq_first_ooo(t, c) == TCP_NIL)
		return n;
	for (uint32_t i = 0; i < c->nsack_recent && n < max; i++) {
		struct tcp_range r;
		bool known = false;
		if (!rxq_range_of(t, c, c->sack_recent[i], &r))
			continue;
		for (uint32_t k = first; k < n; k++)
			known |= sack[k].from == r.from;
		if (!known)
			sack[n++] = r;
	}
	return n;
}

/* Out-of-order bytes: into all holes that they cover. */
static void rxq_insert(
	struct tcp *t, struct tcb *c, uint32_t seq, const uint8_t *data, uint32_t len)
{
	uint32_t end = seq + len, prev = rxq_search_from(t, c, seq);
	while (seq_lt(seq, end)) {
		uint32_t next = prev == TCP_NIL ? c->rq_head : t->chunks[prev].next;
		if (next != TCP_NIL && seq_le(t->chunks[next].seq, seq)) {
			prev = next;
			continue;
		}
		bool ooo_prev = prev != c->rq_ready;
		if (ooo_prev && seq_lt(seq, chunk_end(t, prev))) { /* there already */
			uint32_t skip = min_of(chunk_end(t, prev) - seq, end - seq);
			if (!c->dsack) {
				c->dsack = c->sack_ok;
				c->dsack_range = (struct tcp_range){seq, seq + skip};
			}
			seq += skip;
			data += skip;
			continue;
		}
		uint32_t n = end - seq;
		if (next != TCP_NIL)
			n = min_of(n, t->chunks[next].seq - seq);
		bool joins = (ooo_prev && chunk_end(t, prev) == seq) ||
			     (next != TCP_NIL && t->chunks[next].seq == seq + n);
		if (!joins && !rxq_range_free(t, c)) {
			metric_add(&t->m->tcp_drop_ranges_total, 1);
			return;
		}
		if (rxq_fill(t, c, prev, seq, data, n) < n)
			return;
		seq += n;
		data += n;
	}
}

/* Leaves bytes in their frame; false when they have to be copied. */
static bool rxq_add_direct(
	struct tcp *t, struct tcb *c, const struct tcp_seg *seg, const uint8_t *data, uint32_t len)
{
	if (c->rq_ready != TCP_NIL || c->paused || t->direct_free == TCP_NIL ||
		chunks_left(t) < chunks_for(len))
		return false;
	uint32_t i = t->direct_free;
	t->direct_free = t->directs[i].next;
	t->ndirects++;
	t->chunks_reserved += chunks_for(len);
	t->directs[i] =
		(struct tcp_direct){.p = data, .len = len, .rxref = seg->rxref, .next = TCP_NIL};
	if (c->dir_head == TCP_NIL)
		c->dir_head = i;
	else
		t->directs[c->dir_tail].next = i;
	c->dir_tail = i;
	return true;
}

/* Takes the first direct piece off; its bytes stay where they are. */
static struct tcp_direct rxq_take_direct(struct tcp *t, struct tcb *c)
{
	uint32_t i = c->dir_head;
	struct tcp_direct d = t->directs[i];
	c->dir_head = d.next;
	if (d.next == TCP_NIL)
		c->dir_tail = TCP_NIL;
	t->directs[i].next = t->direct_free;
	t->direct_free = i;
	t->ndirects--;
	t->chunks_reserved -= chunks_for(d.len);
	return d;
}

/* rcv_nxt has reached chunks that were out of order. */
static void rxq_advance(struct tcp *t, struct tcb *c)
{
	uint32_t i = rxq_first_ooo(t, c);
	for (; i != TCP_NIL && t->chunks[i].seq == c->rcv_nxt; i = t->chunks[i].next) {
		c->rcv_nxt = chunk_end(t, i);
		c->rq_ready = i;
	}
}

uint32_t tcp_rxq_add(struct tcp *t, struct tcb *c, const struct tcp_seg *seg, uint32_t seq,
	const uint8_t *data, uint32_t len)
{
	uint32_t start = c->rcv_nxt;
	if (seq != start) {
		rxq_insert(t, c, seq, data, len);
		rxq_note_recent(t, c, seq);
		return 0;
	}
	uint32_t end = seq + len;
	while (seq_lt(c->rcv_nxt, end)) {
		uint32_t next = rxq_first_ooo(t, c), n = end - c->rcv_nxt;
		if (next != TCP_NIL)
			n = min_of(n, t->chunks[next].seq - c->rcv_nxt);
		const uint8_t *p = data + (c->rcv_nxt - start);
		uint32_t took = n;
		if (!rxq_add_direct(t, c, seg, p, n))
			took = rxq_fill(t, c, c->rq_ready, c->rcv_nxt, p, n);
		c->rcv_nxt += took;
		rxq_advance(t, c);
		if (took < n)
			break;
	}
	if (tcp_rxq_readable(c))
		tcp_want_event(t, c);
	return c->rcv_nxt - start;
}

void tcp_rxq_pop(struct tcp *t, struct tcb *c, struct ipstack_event *ev)
{
	ev->kind = IPSTACK_EV_DATA;
	if (c->dir_head != TCP_NIL) {
		struct tcp_direct d = rxq_take_direct(t, c);
		ev->data.p = d.p;
		ev->data.len = d.len;
		ev->data.rxref = d.rxref;
		c->rcv_read += d.len;
		return;
	}
	uint32_t i = chunk_unlink(t, c, TCP_NIL);
	ev->data.p = chunk_bytes_of(t, i);
	ev->data.len = t->chunks[i].len;
	ev->data.rxref = NULL;
	c->rcv_read = chunk_end(t, i);
	t->chunks[i].next = t->borrowed;
	t->borrowed = i;
}

void tcp_rxq_detach(struct tcp *t, struct tcb *c)
{
	uint32_t seq = c->rcv_read, prev = TCP_NIL;
	while (c->dir_head != TCP_NIL) {
		struct tcp_direct d = rxq_take_direct(t, c);
		while (d.len > 0) {
			if (prev == TCP_NIL || t->chunks[prev].len == TCP_CHUNK_BYTES) {
				uint32_t i = chunk_get(t); /* there: it was reserved */
				t->chunks[i].seq = seq;
				t->chunks[i].len = 0;
				chunk_link(t, c, prev, i);
				prev = i;
			}
			struct tcp_chunk *k = &t->chunks[prev];
			uint32_t n = min_of(d.len, TCP_CHUNK_BYTES - k->len);
			memcpy(chunk_bytes_of(t, prev) + k->len, d.p, n);
			k->len += n;
			seq += n;
			d.p += n;
			d.len -= n;
		}
	}
	if (c->rq_ready == TCP_NIL)
		c->rq_ready = prev;
}

void tcp_rxq_release(struct tcp *t)
{
	while (t->borrowed != TCP_NIL) {
		uint32_t i = t->borrowed;
		t->borrowed = t->chunks[i].next;
		chunk_put(t, i);
	}
}

void tcp_rxq_drop(struct tcp *t, struct tcb *c)
{
	while (c->dir_head != TCP_NIL)
		rxq_take_direct(t, c);
	while (c->rq_head != TCP_NIL)
		chunk_put(t, chunk_unlink(t, c, TCP_NIL));
	c->rcv_read = c->rcv_nxt - c->fin_rcvd;
}

void tcp_rxq_check(const struct tcp *t, const struct tcb *c)
{
	uint32_t in_order = c->rcv_read, n = 0, tail = TCP_NIL;
	bool ready = c->rq_ready != TCP_NIL;
	for (uint32_t i = c->dir_head; i != TCP_NIL; i = t->directs[i].next) {
		CHECK(!c->paused && n++ <= t->ndirects);
		in_order += t->directs[i].len;
	}
	uint32_t end = in_order;
	n = 0;
	for (uint32_t i = c->rq_head; i != TCP_NIL; i = t->chunks[i].next) {
		CHECK(++n <= t->cfg->rx_chunks);
		CHECK(t->chunks[i].len > 0 && t->chunks[i].len <= TCP_CHUNK_BYTES);
		CHECK(ready ? t->chunks[i].seq == end : seq_le(end, t->chunks[i].seq));
		CHECK(ready || t->chunks[i].seq != in_order); /* else it would be in order */
		end = chunk_end(t, i);
		tail = i;
		if (ready)
			in_order = end;
		if (i == c->rq_ready)
			ready = false;
	}
	CHECK(!ready && tail == c->rq_tail && n == c->rq_chunks);
	CHECK(in_order + c->fin_rcvd == c->rcv_nxt);
	CHECK(c->state == TCPS_CLOSED || seq_le(end, seq_max(c->rcv_adv, c->rcv_nxt)));
}
