/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the stack's frames to mbufs, and who may touch lent memory until when. Headers and small
 * pieces are copied. Pieces of log memory are attached where the port sends frames in several
 * pieces: then the port reads them when it likes, so that a send is over only when the peer has
 * acknowledged all of it and no mbuf points at it any more, repeats included. Until then it is held
 * here, and with it the end of its connection.
 */
#include <stdlib.h>

#include "base/bytes.h"
#include "base/check.h"
#include "net/net_dpdk_int.h"

#define ATTACH_MIN 512u /* bytes; copying fewer costs less than another mbuf */

/*
 * A send with a cookie. The count in `shared` is 1 for us and 1 for each mbuf that points at the
 * send's memory; another thread may take mbufs back, so it is read with acquire by DPDK.
 */
struct dsend {
	struct rte_mbuf_ext_shared_info shared;
	uint64_t cookie;
	uint32_t conn; /* of dshard.conns */
	uint32_t next : 31, ok : 1;
};

#define SEND_NONE 0x7fffffffu

/* Our own count is never given up while mbufs live. */
static void nothing(void *addr, void *opaque)
{
	(void)addr;
	(void)opaque;
}

bool dframe_init(struct dshard *s, uint32_t sends)
{
	s->held_first = s->held_last = SEND_NONE;
	if (!s->d->attach)
		return true;
	CHECK(sends < SEND_NONE && !s->sends);
	s->sends = calloc(sends, sizeof(*s->sends));
	if (!s->sends)
		return false;
	for (uint32_t i = 0; i < sends; i++)
		s->sends[i].next = i + 1 < sends ? i + 1 : SEND_NONE;
	s->send_free = 0;
	return true;
}

/* ---- sends ---- */

int dframe_send(
	struct dshard *s, struct dcn *c, const struct net_iov *iov, uint32_t count, uint64_t cookie)
{
	if (!s->d->attach)
		return ipstack_send(s->stack, s->now_ns, c->ip, iov, count, cookie);
	uint32_t i = s->send_free;
	if (i == SEND_NONE)
		return -ENOBUFS;
	int err = ipstack_send(s->stack, s->now_ns, c->ip, iov, count, (uint64_t)i + 1);
	if (err)
		return err;
	struct dsend *d = &s->sends[i];
	s->send_free = d->next;
	d->shared = (struct rte_mbuf_ext_shared_info){.free_cb = nothing};
	rte_mbuf_ext_refcnt_set(&d->shared, 1);
	d->cookie = cookie;
	d->conn = (uint32_t)(c - s->conns);
	return 0;
}

static void send_done(struct dshard *s, uint32_t i, struct net_event *ev)
{
	struct dsend *d = &s->sends[i];
	ev->kind = NET_EV_SENT;
	ev->sent.cookie = d->cookie;
	ev->sent.ok = d->ok;
	d->next = s->send_free & SEND_NONE;
	s->send_free = i;
}

static bool is_attached(const struct dsend *d)
{
	return rte_mbuf_ext_refcnt_read(&d->shared) > 1;
}

bool dframe_sent(struct dshard *s, struct dcn *c, uint64_t cookie, bool ok, struct net_event *ev)
{
	if (!s->d->attach) {
		ev->kind = NET_EV_SENT;
		ev->sent.cookie = cookie;
		ev->sent.ok = ok;
		return true;
	}
	uint32_t i = (uint32_t)(cookie - 1);
	struct dsend *d = &s->sends[i];
	CHECK(d->conn == (uint32_t)(c - s->conns));
	d->ok = ok;
	if (c->held == 0 && !is_attached(d)) {
		send_done(s, i, ev);
		return true;
	}
	/* In order with the connection's other sends. */
	d->next = SEND_NONE;
	if (s->held_first == SEND_NONE)
		s->held_first = i;
	else
		s->sends[s->held_last].next = i & SEND_NONE;
	s->held_last = i;
	c->held++;
	return false;
}

struct dcn *dframe_let_go(struct dshard *s, struct net_event *ev)
{
	uint32_t i = s->held_first;
	if (i == SEND_NONE || is_attached(&s->sends[i]))
		return NULL;
	struct dcn *c = &s->conns[s->sends[i].conn];
	s->held_first = s->sends[i].next;
	c->held--;
	send_done(s, i, ev);
	return c;
}

bool dframe_waits(const struct dshard *s)
{
	return s->held_first != SEND_NONE;
}

/* ---- frames ---- */

/* A frame being built. */
struct build {
	struct rte_mbuf *head, *last;
	bool closed; /* last points at lent memory: what is copied goes behind it */
};

static bool grow(struct dshard *s, struct build *b)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(s->d->pool[s->index]);
	if (!m)
		return false;
	b->last->next = m;
	b->last = m;
	b->head->nb_segs++;
	return true;
}

/* Behind what is there; false when buffers are short. */
static bool copy(struct dshard *s, struct build *b, const uint8_t *p, uint32_t len)
{
	while (len > 0) {
		if ((b->closed || rte_pktmbuf_tailroom(b->last) == 0) && !grow(s, b))
			return false;
		b->closed = false;
		uint32_t n = min_of(len, (uint32_t)rte_pktmbuf_tailroom(b->last));
		memcpy(rte_pktmbuf_mtod_offset(b->last, uint8_t *, b->last->data_len), p, n);
		b->last->data_len = (uint16_t)(b->last->data_len + n);
		b->head->pkt_len += n;
		p += n;
		len -= n;
	}
	return true;
}

static bool attach(struct dshard *s, struct build *b, const struct net_iov *iov, uint64_t cookie)
{
	struct rte_mbuf_ext_shared_info *shared = &s->sends[cookie - 1].shared;
	if (!grow(s, b))
		return false;
	rte_iova_t iova =
		rte_eal_iova_mode() == RTE_IOVA_VA ? (uintptr_t)iov->p : rte_mem_virt2iova(iov->p);
	rte_mbuf_ext_refcnt_update(shared, 1);
	rte_pktmbuf_attach_extbuf(
		b->last, (void *)(uintptr_t)iov->p, iova, (uint16_t)iov->len, shared);
	b->last->data_len = (uint16_t)iov->len;
	b->head->pkt_len += iov->len;
	b->closed = true;
	return true;
}

static bool is_log_memory(const struct net_dpdk *d, const struct net_iov *iov)
{
	uintptr_t at = (uintptr_t)iov->p, from = (uintptr_t)d->log_mem;
	return at >= from && at - from < d->cfg.log_bytes;
}

static bool put_slices(struct dshard *s, struct build *b, const struct ip_out_frame *f)
{
	uint32_t segs_max = f->tso_mss ? s->d->segs_max : DPDK_SEGS_MTU;
	for (uint32_t i = 0; i < f->nslices; i++) {
		const struct net_iov *v = &f->slice[i];
		/* Room for a piece to be copied behind it, too. */
		bool may = s->d->attach && f->cookie[i] != 0 && v->len >= ATTACH_MIN &&
			   !(f->flags & IP_OUT_COPY) && b->head->nb_segs + 2u <= segs_max;
		if (may && is_log_memory(s->d, v) ? !attach(s, b, v, f->cookie[i])
						  : !copy(s, b, v->p, v->len))
			return false;
	}
	return true;
}

static void ask_offloads(const struct dshard *s, struct rte_mbuf *m, const struct ip_out_frame *f)
{
	if (!s->d->tx_csum || !(f->flags & IP_OUT_IPV4))
		return;
	m->l2_len = f->l2_len;
	m->l3_len = f->l3_len;
	m->l4_len = f->l4_len;
	m->ol_flags |= RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM;
	if (f->flags & IP_OUT_TCP)
		m->ol_flags |= RTE_MBUF_F_TX_TCP_CKSUM;
	if (f->tso_mss) {
		m->ol_flags |= RTE_MBUF_F_TX_TCP_SEG;
		m->tso_segsz = f->tso_mss;
	}
}

struct rte_mbuf *dframe_build(struct dshard *s, const struct ip_out_frame *f)
{
	struct rte_mbuf *m = s->spare[--s->spare_count];
	struct build b = {.head = m, .last = m};
	if (!copy(s, &b, f->hdr, f->hdr_len) || !put_slices(s, &b, f)) {
		rte_pktmbuf_free(m);
		metric_add(&s->m.no_buffers_total, 1);
		return NULL;
	}
	if (m->nb_segs > 1)
		metric_add(&s->m.attached_total, 1);
	ask_offloads(s, m, f);
	return m;
}
