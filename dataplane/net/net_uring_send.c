/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Send queue of a kernel-transport connection: two rings, one of iovecs in stream order, one of the
 * net_send calls they belong to. The kernel reads iovecs from iov_head on while a sendmsg is in
 * flight; only ucn_queue_sent moves iov_head, when none is. Called by net_uring.c; owner: the
 * shard's thread.
 */
#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "net/net_uring_int.h"

/* A send is complete when the kernel has taken all its iovecs. */
static void queue_complete(struct unet *n, struct ucn *c)
{
	uint32_t mask = n->queue - 1;
	while (c->msg_done != c->msg_tail &&
		(int32_t)(c->iov_head - c->msg[c->msg_done & mask].iov_end) >= 0) {
		struct umsg *m = &c->msg[c->msg_done & mask];
		if (m->copy != UCN_NO_COPY) {
			n->copy_free[n->copy_free_count++] = m->copy;
			m->copy = UCN_NO_COPY;
		}
		c->msg_done++;
	}
	if (c->msg_head != c->msg_done && !list_linked(&c->work))
		list_push_back(&n->work, &c->work);
}

static void push_iov(struct unet *n, struct ucn *c, const void *p, size_t len)
{
	if (len == 0)
		return;
	c->iov[c->iov_tail & (n->queue - 1)] =
		(struct iovec){.iov_base = (void *)(uintptr_t)p, .iov_len = len};
	c->iov_tail++;
}

/* Cookie 0: the bytes are copied, so that the caller's memory is free at once. */
static int queue_copy(struct unet *n, struct ucn *c, const struct net_iov *iov, uint32_t count)
{
	if (n->copy_free_count == 0 || c->iov_tail - c->iov_head == n->queue)
		return -ENOBUFS;
	uint32_t copy = n->copy_free[--n->copy_free_count];
	uint8_t *p = n->copy_mem + (size_t)copy * UCN_COPY_SIZE;
	size_t len = 0;
	for (uint32_t i = 0; i < count; i++) {
		CHECK(iov[i].len <= UCN_COPY_SIZE - len);
		memcpy(p + len, iov[i].p, iov[i].len);
		len += iov[i].len;
	}
	push_iov(n, c, p, len);
	c->msg[c->msg_tail++ & (n->queue - 1)] =
		(struct umsg){.cookie = 0, .iov_end = c->iov_tail, .copy = copy};
	return 0;
}

/*
 * An empty queue starts again at the front of its memory, so that a connection that never queues
 * much touches one page of it, not all in turn.
 */
static void queue_rewind(struct ucn *c)
{
	if (c->msg_head != c->msg_tail || c->iov_head != c->iov_tail || c->send_armed)
		return;
	c->iov_head = c->iov_tail = 0;
	c->msg_head = c->msg_done = c->msg_tail = 0;
}

int ucn_queue(
	struct unet *n, struct ucn *c, const struct net_iov *iov, uint32_t count, uint64_t cookie)
{
	CHECK(count <= n->queue);
	queue_rewind(c);
	if (c->msg_tail - c->msg_head == n->queue)
		return -ENOBUFS;
	if (cookie == 0) {
		int err = queue_copy(n, c, iov, count);
		if (err)
			return err;
	} else {
		if (count > n->queue - (c->iov_tail - c->iov_head))
			return -ENOBUFS;
		for (uint32_t i = 0; i < count; i++)
			push_iov(n, c, iov[i].p, iov[i].len);
		c->msg[c->msg_tail++ & (n->queue - 1)] = (struct umsg){
			.cookie = cookie, .iov_end = c->iov_tail, .copy = UCN_NO_COPY};
	}
	queue_complete(n, c); /* a send of no bytes behind an empty queue is done already */
	return 0;
}

bool ucn_queue_next(struct unet *n, struct ucn *c)
{
	uint32_t queued = c->iov_tail - c->iov_head;
	if (queued == 0)
		return false;
	uint32_t at = c->iov_head & (n->queue - 1);
	uint32_t count = min_of(queued, n->queue - at);
	c->hdr = (struct msghdr){
		.msg_iov = &c->iov[at],
		.msg_iovlen = min_of(count, UCN_IOV_BATCH),
	};
	return true;
}

void ucn_queue_sent(struct unet *n, struct ucn *c, size_t bytes)
{
	while (bytes) {
		CHECK(c->iov_head != c->iov_tail);
		struct iovec *v = &c->iov[c->iov_head & (n->queue - 1)];
		if (bytes < v->iov_len) {
			v->iov_base = (uint8_t *)v->iov_base + bytes;
			v->iov_len -= bytes;
			break;
		}
		bytes -= v->iov_len;
		c->iov_head++;
	}
	queue_complete(n, c);
}

void ucn_queue_drop(struct unet *n, struct ucn *c)
{
	c->iov_head = c->iov_tail;
	for (uint32_t i = c->msg_done; i != c->msg_tail; i++) {
		struct umsg *m = &c->msg[i & (n->queue - 1)];
		if (m->copy != UCN_NO_COPY)
			n->copy_free[n->copy_free_count++] = m->copy;
		m->copy = UCN_NO_COPY;
	}
}

bool ucn_queue_report(struct unet *n, struct ucn *c)
{
	uint32_t end = c->state == UCN_DEAD ? c->msg_tail : c->msg_done;
	while (c->msg_head != end) {
		struct umsg *m = &c->msg[c->msg_head & (n->queue - 1)];
		if (m->cookie) {
			if (n->ev_count == n->ev_max)
				return false;
			bool ok = (int32_t)(c->msg_done - c->msg_head) > 0;
			n->ev[n->ev_count++] = (struct net_event){
				.kind = NET_EV_SENT,
				.conn = ucn_handle(n, c),
				.user = c->user,
				.sent = {.cookie = m->cookie, .ok = ok},
			};
		}
		c->msg_head++;
	}
	return true;
}
