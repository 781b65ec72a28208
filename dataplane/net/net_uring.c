/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel transport: connections of one shard over one io_uring. See net_uring_int.h for the
 * life of a connection, net.h for the contract.
 *
 * Invariants
 * - A slot is freed only when no operation of the ring names its socket, so a completion's
 * generation is the slot's, except for cancels, which are ignored when stale.
 * - At most one receive and one sendmsg per connection are in the ring.
 * - A provided buffer is the kernel's, or held by a paused connection, or lent to the caller until
 * the next net_poll; buf_ours counts the latter two.
 * - A connection that has something to report or to go on with is on `work`.
 */
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "net/net_uring_int.h"

#define DRAIN_TIMEOUT_MS                                                                           \
	30000u /* a peer that takes nothing of what is left for so long is cut off */

static struct unet *unet_of(struct net *n)
{
	return container_of(n, struct unet, net);
}

static uint64_t op_data(enum uop op, uint32_t slot, uint32_t gen)
{
	return (uint64_t)gen << 32 | (uint64_t)op << UCN_SLOT_BITS | slot;
}

static uint64_t op_of(struct unet *n, enum uop op, const struct ucn *c)
{
	return op_data(op, (uint32_t)(c - n->conns), c->gen);
}

/* NULL when the handle is stale. */
static struct ucn *conn_of(struct unet *n, net_conn_t h)
{
	uint32_t slot = (uint32_t)h;
	if (slot >= n->max_conns)
		return NULL;
	struct ucn *c = &n->conns[slot];
	return c->state != UCN_FREE && c->gen == h >> 32 ? c : NULL;
}

static void to_work(struct unet *n, struct ucn *c)
{
	if (!list_linked(&c->work))
		list_push_back(&n->work, &c->work);
}

/* ---- the ring ---- */

static void ring_enter(struct unet *n)
{
	metric_add(&n->net.metrics.syscalls_total, 1);
	/* Errors are passing (EINTR, EAGAIN, EBUSY): what was not submitted stays in the ring. */
	(void)io_uring_submit_and_get_events(&n->ring);
}

/* A zeroed entry; room is made by submitting. */
static struct io_uring_sqe *ring_sqe(struct unet *n)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&n->ring);
	for (unsigned i = 0; !sqe && i < 1000; i++) {
		ring_enter(n);
		sqe = io_uring_get_sqe(&n->ring);
	}
	CHECK(sqe);
	return sqe;
}

static void arm_wake(struct unet *n)
{
	struct io_uring_sqe *sqe = ring_sqe(n);
	io_uring_prep_poll_multishot(sqe, n->net.waker.fd, POLLIN);
	sqe->user_data = op_data(UOP_WAKE, 0, 0);
	n->wake_armed = true;
}

static void arm_accept(struct unet *n)
{
	struct io_uring_sqe *sqe = ring_sqe(n);
	io_uring_prep_multishot_accept(sqe, n->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	sqe->user_data = op_data(UOP_ACCEPT, 0, 0);
	n->accept_armed = true;
	n->accept_at_ns = 0;
}

static void arm_recv(struct unet *n, struct ucn *c)
{
	struct io_uring_sqe *sqe = ring_sqe(n);
	/*
	 * A multishot receive takes buffers until none is left, so one connection could starve all
	 * others, above all a paused one. Kernels since 6.16 end it after `optlen` bytes; it is
	 * named file_index in older headers. Without that, receives are one-shot.
	 */
	if (n->recv_limited) {
		io_uring_prep_recv_multishot(sqe, c->fd, NULL, 0, 0);
		sqe->file_index = n->buf_share;
	} else {
		io_uring_prep_recv(sqe, c->fd, NULL, n->buf_size, 0);
	}
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = UNET_BUF_GROUP;
	sqe->user_data = op_of(n, UOP_RECV, c);
	c->recv_armed = true;
}

static void arm_send(struct unet *n, struct ucn *c)
{
	if (!ucn_queue_next(n, c))
		return;
	struct io_uring_sqe *sqe = ring_sqe(n);
	io_uring_prep_sendmsg(sqe, c->fd, &c->hdr, MSG_NOSIGNAL | MSG_WAITALL);
	sqe->user_data = op_of(n, UOP_SEND, c);
	c->send_armed = true;
}

static void cancel_op(struct unet *n, struct ucn *c, enum uop op)
{
	struct io_uring_sqe *sqe = ring_sqe(n);
	io_uring_prep_cancel64(sqe, op_of(n, op, c), 0);
	sqe->user_data = op_of(n, UOP_CANCEL, c);
	c->cancels++;
}

/* Calls back the receive, and when the connection is killed the send too. One round at a time. */
static void arm_cancel(struct unet *n, struct ucn *c)
{
	if (c->cancels)
		return;
	if (c->recv_armed)
		cancel_op(n, c, UOP_RECV);
	if (c->send_armed && c->state == UCN_KILL)
		cancel_op(n, c, UOP_SEND);
}

/* ---- provided buffers ---- */

static void buf_give_back(struct unet *n, uint32_t id)
{
	io_uring_buf_ring_add(n->buf_ring, n->buf_mem + (size_t)id * n->buf_size, n->buf_size,
		(unsigned short)id, (int)n->buf_count - 1, 0);
	io_uring_buf_ring_advance(n->buf_ring, 1);
	n->buf_ours--;
	n->recycled = true;
}

static void buf_hold(struct unet *n, struct ucn *c, uint32_t id, uint32_t len)
{
	n->bufs[id] = (struct ubuf){.len = len, .next = UCN_NO_BUF};
	if (c->held_first == UCN_NO_BUF)
		c->held_first = id;
	else
		n->bufs[c->held_last].next = id;
	c->held_last = id;
}

static void buf_lend(struct unet *n, struct ucn *c, uint32_t id, uint32_t len)
{
	n->ev[n->ev_count++] = (struct net_event){
		.kind = NET_EV_DATA,
		.conn = ucn_handle(n, c),
		.user = c->user,
		.data = {.p = n->buf_mem + (size_t)id * n->buf_size, .len = len},
	};
	n->lent[n->lent_count++] = id;
	c->data_turn = n->turn;
}

static void held_drop(struct unet *n, struct ucn *c)
{
	while (c->held_first != UCN_NO_BUF) {
		uint32_t id = c->held_first;
		c->held_first = n->bufs[id].next;
		buf_give_back(n, id);
	}
}

/* ---- states ---- */

/* All operations on the socket are called back; conn_step goes on when they have ended. */
static void conn_kill(struct unet *n, struct ucn *c)
{
	if (c->state == UCN_KILL || c->state == UCN_DEAD)
		return;
	c->state = UCN_KILL;
	list_remove(&c->tosend);
	list_remove(&c->starved);
	held_drop(n, c);
	arm_cancel(n, c);
	to_work(n, c);
}

static void conn_drain(struct unet *n, struct ucn *c)
{
	unsigned timeout_ms = DRAIN_TIMEOUT_MS;
	c->state = UCN_DRAIN;
	held_drop(n, c);
	list_remove(&c->starved);
	if (!ucn_queue_empty(c)) {
		metric_add(&n->net.metrics.syscalls_total, 1);
		(void)setsockopt(
			c->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof(timeout_ms));
	}
	to_work(n, c);
}

static void conn_close_fd(struct unet *n, struct ucn *c)
{
	if (c->reset) {
		struct linger l = {.l_onoff = 1, .l_linger = 0};
		metric_add(&n->net.metrics.syscalls_total, 1);
		(void)setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	}
	metric_add(&n->net.metrics.syscalls_total, 1);
	close(c->fd);
	c->fd = -1;
	ucn_queue_drop(n, c);
	c->state = UCN_DEAD;
}

/* The last of a dead connection; false when there is no room for its events. */
static bool conn_bury(struct unet *n, struct ucn *c)
{
	if (!ucn_queue_report(n, c) || n->ev_count == n->ev_max)
		return false;
	n->ev[n->ev_count++] = (struct net_event){
		.kind = NET_EV_CLOSED, .conn = ucn_handle(n, c), .user = c->user};
	metric_add(&n->net.metrics.closed_total, 1);
	c->state = UCN_FREE;
	c->gen = c->gen == UINT32_MAX ? 1 : c->gen + 1;
	list_push_back(&n->free, &c->starved);
	return true;
}

/* Hands out what came while the connection was paused; false when there is no room. */
static bool conn_report_held(struct unet *n, struct ucn *c)
{
	while (c->held_first != UCN_NO_BUF && !c->paused) {
		uint32_t id = c->held_first;
		if (n->ev_count == n->ev_max)
			return false;
		c->held_first = n->bufs[id].next;
		buf_lend(n, c, id, n->bufs[id].len);
	}
	return true;
}

/* After the peer's FIN: once all is handed out, and the caller had a turn to answer, drain. */
static bool conn_step_eof(struct unet *n, struct ucn *c)
{
	if (c->held_first != UCN_NO_BUF)
		return true; /* paused; net_pause brings it back here */
	if (c->data_turn == n->turn)
		return false;
	conn_drain(n, c);
	return true;
}

/* Reports and goes on; false when it is to be stepped again in the next turn. */
static bool conn_step(struct unet *n, struct ucn *c)
{
	if (c->state == UCN_OPEN && !conn_report_held(n, c))
		return false;
	if (!ucn_queue_report(n, c))
		return false;
	if (c->state == UCN_OPEN && c->eof && !conn_step_eof(n, c))
		return false;
	if (c->state == UCN_DRAIN && ucn_queue_empty(c))
		conn_kill(n, c);
	if (c->state == UCN_KILL && !c->recv_armed && !c->send_armed)
		conn_close_fd(n, c);
	if (c->state == UCN_DEAD && !conn_bury(n, c))
		return false;
	return true;
}

/* Steps each connection that was on `work` once. */
static void work_run(struct unet *n)
{
	struct list now;
	list_init(&now);
	list_splice(&now, &n->work);
	struct list *it;
	while ((it = list_pop_front(&now)) != NULL) {
		struct ucn *c = list_entry(it, struct ucn, work);
		if (conn_step(n, c))
			list_remove(&c->work);
		else
			to_work(n, c);
	}
}

/* ---- completions ---- */

static void accept_failed(struct unet *n, int err)
{
	if (err == -ECANCELED || !n->listening)
		return;
	if (err == -ECONNABORTED || err == -EINTR || err == -EPROTO)
		return; /* that one connection; the listener is armed again */
	/* EMFILE, ENFILE, ENOBUFS, ENOMEM: connections wait in the backlog meanwhile. */
	n->accept_at_ns = n->now_ns + UNET_ACCEPT_RETRY_NS;
	if (!n->accept_log_done)
		log_warn("net",
			"port %u: cannot accept connections: %s; raise the limit of open files "
			"(ulimit -n)",
			n->port, strerror(-err));
	n->accept_log_done = true;
}

static void peer_of(struct unet *n, int fd, struct net_event *ev)
{
	struct sockaddr_storage sa = {0};
	socklen_t len = sizeof(sa);
	metric_add(&n->net.metrics.syscalls_total, 1);
	if (getpeername(fd, (struct sockaddr *)&sa, &len) != 0)
		return; /* it has gone; the first receive will say so */
	if (sa.ss_family == AF_INET6) {
		struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&sa;
		memcpy(ev->peer.ip, &in6->sin6_addr, 16);
		ev->peer.port = ntohs(in6->sin6_port);
	} else if (sa.ss_family == AF_INET) {
		struct sockaddr_in *in = (struct sockaddr_in *)&sa;
		ev->peer.ip[10] = ev->peer.ip[11] = 0xff;
		memcpy(ev->peer.ip + 12, &in->sin_addr, 4);
		ev->peer.port = ntohs(in->sin_port);
	}
}

static void conn_init(struct ucn *c, int fd, enum ucn_state state)
{
	uint32_t gen = c->gen;
	struct iovec *iov = c->iov;
	struct umsg *msg = c->msg;
	*c = (struct ucn){.state = state, .fd = fd, .gen = gen, .iov = iov, .msg = msg};
	c->held_first = c->held_last = UCN_NO_BUF;
	list_init(&c->work);
	list_init(&c->tosend);
	list_init(&c->starved);
}

/* Bytes may flow. */
static void conn_open(struct unet *n, struct ucn *c, enum net_event_kind kind)
{
	struct net_event *ev = &n->ev[n->ev_count++];
	c->state = UCN_OPEN;
	*ev = (struct net_event){.kind = kind, .conn = ucn_handle(n, c), .user = c->user};
	peer_of(n, c->fd, ev);
	if (!c->paused)
		arm_recv(n, c);
}

static void on_accept(struct unet *n, int res, unsigned flags)
{
	if (!(flags & IORING_CQE_F_MORE))
		n->accept_armed = false;
	if (res < 0) {
		accept_failed(n, res);
	} else if (n->listening && !list_empty(&n->free)) {
		struct ucn *c = list_entry(list_pop_front(&n->free), struct ucn, starved);
		conn_init(c, res, UCN_OPEN);
		conn_open(n, c, NET_EV_ACCEPTED);
		metric_add(&n->net.metrics.accepted_total, 1);
		n->accept_log_done = false;
	} else {
		metric_add(&n->net.metrics.refused_total, 1);
		metric_add(&n->net.metrics.syscalls_total, 1);
		close(res);
	}
}

static bool recv_goes_on(int err)
{
	return err == -ENOBUFS || err == -ECANCELED || err == -EINTR || err == -EAGAIN;
}

/* The receive has ended: why, and is there to be another? */
static void recv_ended(struct unet *n, struct ucn *c, int res)
{
	c->recv_armed = false;
	if (c->state != UCN_OPEN) {
		to_work(n, c);
		return;
	}
	if (res == 0) {
		c->eof = true;
		to_work(n, c);
	} else if (res == -ENOBUFS && n->buf_ours == n->buf_count) {
		list_push_back(&n->starved, &c->starved);
	} else if (res == -EINVAL && n->recv_limited) {
		n->recv_limited = false;
		arm_recv(n, c);
	} else if (res < 0 && !recv_goes_on(res)) {
		conn_kill(n, c);
	} else if (!c->paused) {
		arm_recv(n, c);
	}
}

static void on_recv(struct unet *n, struct ucn *c, int res, unsigned flags)
{
	if (flags & IORING_CQE_F_BUFFER) {
		uint32_t id = flags >> IORING_CQE_BUFFER_SHIFT;
		n->buf_ours++;
		if (res <= 0 || c->state != UCN_OPEN) {
			buf_give_back(n, id);
		} else {
			metric_add(&n->net.metrics.rx_bytes_total, (uint64_t)res);
			if (c->paused || c->held_first != UCN_NO_BUF)
				buf_hold(n, c, id, (uint32_t)res);
			else
				buf_lend(n, c, id, (uint32_t)res);
		}
	}
	if (!(flags & IORING_CQE_F_MORE))
		recv_ended(n, c, res);
}

static void on_connect(struct unet *n, struct ucn *c, int res)
{
	if (res == 0)
		conn_open(n, c, NET_EV_CONNECTED);
	else
		conn_kill(n, c);
}

static void on_send(struct unet *n, struct ucn *c, int res)
{
	c->send_armed = false;
	if (c->state == UCN_CONNECT) {
		on_connect(n, c, res);
		return;
	}
	if (res >= 0) {
		metric_add(&n->net.metrics.tx_bytes_total, (uint64_t)res);
		ucn_queue_sent(n, c, (size_t)res);
	} else if (res != -EINTR && res != -EAGAIN && res != -ENOMEM) {
		conn_kill(n, c);
	}
	if (c->state == UCN_OPEN || c->state == UCN_DRAIN) {
		if (!ucn_queue_empty(c) && !list_linked(&c->tosend))
			list_push_back(&n->tosend, &c->tosend);
		if (c->state == UCN_DRAIN)
			to_work(n, c);
	} else {
		to_work(n, c);
	}
}

static void on_cancel(struct unet *n, struct ucn *c)
{
	/* A cancel can miss an operation that is just being worked on: then it goes again. */
	if (--c->cancels == 0 && (c->state == UCN_KILL || (c->state == UCN_OPEN && c->paused)))
		arm_cancel(n, c);
}

static void on_cqe(struct unet *n, uint64_t data, int res, unsigned flags)
{
	enum uop op = (enum uop)(data >> UCN_SLOT_BITS & 0xff);
	switch (op) {
	case UOP_ACCEPT:
		on_accept(n, res, flags);
		return;
	case UOP_WAKE:
		if (!(flags & IORING_CQE_F_MORE))
			n->wake_armed = false;
		return;
	case UOP_NOTHING:
		return;
	case UOP_RECV:
	case UOP_SEND:
	case UOP_CANCEL:
		break;
	}
	struct ucn *c = conn_of(n, (data >> 32 << 32) | (data & (UCN_SLOTS_MAX - 1)));
	if (op == UOP_CANCEL) {
		if (c)
			on_cancel(n, c);
		return;
	}
	CHECK(c);
	if (op == UOP_RECV)
		on_recv(n, c, res, flags);
	else
		on_send(n, c, res);
}

/* Each completion makes at most one event by itself. */
static void reap(struct unet *n)
{
	while (n->ev_count < n->ev_max) {
		struct io_uring_cqe *cqe;
		if (io_uring_peek_cqe(&n->ring, &cqe) != 0 || !cqe)
			return;
		uint64_t data = cqe->user_data;
		int res = cqe->res;
		unsigned flags = cqe->flags;
		io_uring_cqe_seen(&n->ring, cqe);
		on_cqe(n, data, res, flags);
	}
}

/* ---- net_ops ---- */

/* The ring belongs to the thread that enables it. */
static void ring_enable(struct unet *n)
{
	/* liburing 2.3 declares io_uring_enable_rings, but its shared library does not have it. */
	long err = syscall(
		__NR_io_uring_register, n->ring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
	CHECK(err == 0);
	/* Saves a descriptor look-up per system call; that it may fail does not matter. */
	(void)io_uring_register_ring_fd(&n->ring);
	n->enabled = true;
}

static void recycle(struct unet *n)
{
	for (uint32_t i = 0; i < n->lent_count; i++)
		buf_give_back(n, n->lent[i]);
	n->lent_count = 0;
	if (!n->recycled)
		return;
	n->recycled = false;
	struct list *it;
	while ((it = list_pop_front(&n->starved)) != NULL) {
		struct ucn *c = list_entry(it, struct ucn, starved);
		if (!c->paused && !c->recv_armed)
			arm_recv(n, c);
	}
}

static uint32_t uring_poll(struct net *net, uint64_t now_ns, struct net_event *ev, uint32_t max)
{
	struct unet *n = unet_of(net);
	if (!n->enabled)
		ring_enable(n);
	n->turn++;
	n->now_ns = now_ns;
	n->ev = ev;
	/* Fewer than the ring's entries: so it is not entered while completions are reaped, and a
	   new connection's data cannot come before the caller's net_set_user. */
	n->ev_max = min_of(max, n->events_max);
	n->ev_count = 0;
	recycle(n);
	if (!n->wake_armed)
		arm_wake(n);
	if (n->listening && !n->accept_armed && now_ns >= n->accept_at_ns)
		arm_accept(n);
	unsigned kflags = __atomic_load_n(n->ring.sq.kflags, __ATOMIC_RELAXED);
	if (io_uring_sq_ready(&n->ring) || (kflags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)))
		ring_enter(n);
	if (!list_empty(&n->work))
		work_run(n);
	reap(n);
	if (!list_empty(&n->work) && n->ev_count < n->ev_max)
		work_run(n);
	n->ev = NULL;
	return n->ev_count;
}

static int uring_send(
	struct net *net, net_conn_t h, const struct net_iov *iov, uint32_t count, uint64_t cookie)
{
	struct unet *n = unet_of(net);
	struct ucn *c = conn_of(n, h);
	if (!c || c->state != UCN_OPEN)
		return -ENOTCONN;
	int err = ucn_queue(n, c, iov, count, cookie);
	if (err == 0 && !c->send_armed && !ucn_queue_empty(c) && !list_linked(&c->tosend))
		list_push_back(&n->tosend, &c->tosend);
	return err;
}

static int socket_to(struct unet *n, const uint8_t ip[16], uint16_t port, struct sockaddr_in6 *to)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	bool v4 = memcmp(ip, mapped, sizeof(mapped)) == 0;
	metric_add(&n->net.metrics.syscalls_total, 1);
	if (v4) {
		struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
		memcpy(&in.sin_addr, ip + 12, 4);
		memcpy(to, &in, sizeof(in));
	} else {
		*to = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(port)};
		memcpy(&to->sin6_addr, ip, 16);
	}
	int fd = socket(to->sin6_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0)
		unet_conn_options(fd);
	return fd < 0 ? -errno : fd;
}

/* The operation takes the place of a send: there are none yet. */
static int uring_connect(struct net *net, const uint8_t ip[16], uint16_t port, net_conn_t *conn)
{
	struct unet *n = unet_of(net);
	struct sockaddr_in6 to = {0};
	if (port == 0)
		return -EINVAL;
	if (list_empty(&n->free))
		return -ENOBUFS;
	int fd = socket_to(n, ip, port, &to);
	if (fd < 0)
		return fd;
	struct ucn *c = list_entry(list_pop_front(&n->free), struct ucn, starved);
	conn_init(c, fd, UCN_CONNECT);
	c->to = to;
	struct io_uring_sqe *sqe = ring_sqe(n);
	io_uring_prep_connect(sqe, fd, (struct sockaddr *)&c->to,
		to.sin6_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(to));
	sqe->user_data = op_of(n, UOP_SEND, c);
	c->send_armed = true;
	*conn = ucn_handle(n, c);
	return 0;
}

static void arm_sends(struct unet *n)
{
	struct list *it;
	while ((it = list_pop_front(&n->tosend)) != NULL)
		arm_send(n, list_entry(it, struct ucn, tosend));
}

static void uring_flush(struct net *net, uint64_t now_ns)
{
	struct unet *n = unet_of(net);
	n->now_ns = now_ns;
	arm_sends(n);
	if (n->enabled && io_uring_sq_ready(&n->ring))
		ring_enter(n);
}

static void uring_set_user(struct net *net, net_conn_t h, void *user)
{
	struct ucn *c = conn_of(unet_of(net), h);
	if (c)
		c->user = user;
}

static void uring_pause(struct net *net, net_conn_t h, bool on)
{
	struct unet *n = unet_of(net);
	struct ucn *c = conn_of(n, h);
	if (!c || c->paused == on)
		return;
	c->paused = on;
	if (c->state != UCN_OPEN)
		return;
	if (on) {
		arm_cancel(n, c);
		return;
	}
	to_work(n, c);
	if (!c->recv_armed && !c->eof && !list_linked(&c->starved))
		arm_recv(n, c);
}

static void uring_close(struct net *net, net_conn_t h, bool abort)
{
	struct unet *n = unet_of(net);
	struct ucn *c = conn_of(n, h);
	if (!c || c->state == UCN_DEAD)
		return;
	if (abort || c->state == UCN_CONNECT) {
		c->reset = abort;
		conn_kill(n, c);
	} else if (c->state == UCN_OPEN) {
		conn_drain(n, c);
	}
}

static void uring_stop_listening(struct net *net)
{
	struct unet *n = unet_of(net);
	if (!n->listening)
		return;
	n->listening = false;
	if (n->accept_armed) {
		struct io_uring_sqe *sqe = ring_sqe(n);
		io_uring_prep_cancel64(sqe, op_data(UOP_ACCEPT, 0, 0), 0);
		sqe->user_data = op_data(UOP_NOTHING, 0, 0);
		ring_enter(n);
	}
	/* Refuses at once, also while the accept in the ring still holds the socket. */
	shutdown(n->listen_fd, SHUT_RDWR);
	close(n->listen_fd);
	n->listen_fd = -1;
}

static void uring_wait(struct net *net, uint64_t now_ns, uint64_t until_ns)
{
	struct unet *n = unet_of(net);
	arm_sends(n);
	if (!n->enabled || !list_empty(&n->work) || io_uring_cq_ready(&n->ring))
		return;
	if (!list_empty(&n->starved) && (n->lent_count || n->recycled))
		return; /* the next net_poll has buffers for them */
	if (n->listening && n->accept_at_ns > now_ns)
		until_ns = min_of(until_ns, n->accept_at_ns);
	if (until_ns <= now_ns)
		return;
	struct __kernel_timespec ts = {
		.tv_sec = (int64_t)((until_ns - now_ns) / NS_PER_S),
		.tv_nsec = (long long)((until_ns - now_ns) % NS_PER_S),
	};
	struct io_uring_cqe *cqe;
	metric_add(&n->net.metrics.waits_total, 1);
	metric_add(&n->net.metrics.syscalls_total, 1);
	(void)io_uring_submit_and_wait_timeout(
		&n->ring, &cqe, 1, until_ns == UINT64_MAX ? NULL : &ts, NULL);
}

/* Connections that were accepted and never reported. */
static void drop_accepted(struct unet *n)
{
	struct io_uring_cqe *cqe;
	while (io_uring_peek_cqe(&n->ring, &cqe) == 0 && cqe) {
		if ((cqe->user_data >> UCN_SLOT_BITS & 0xff) == UOP_ACCEPT && cqe->res >= 0)
			close(cqe->res);
		io_uring_cqe_seen(&n->ring, cqe);
	}
}

static void uring_stop(struct net *net)
{
	struct unet *n = unet_of(net);
	if (n->enabled) {
		/* So that the sockets are closed when this returns, not when the ring's worker gets
		 * to it. */
		struct io_uring_sync_cancel_reg reg = {
			.fd = -1,
			.flags = IORING_ASYNC_CANCEL_ANY,
			.timeout = {.tv_sec = 0, .tv_nsec = 100 * 1000000},
		};
		ring_enter(n);
		(void)io_uring_register_sync_cancel(&n->ring, &reg);
		ring_enter(n);
		drop_accepted(n);
	}
	n->enabled = false;
	unet_stop(n);
}

static void uring_fini(struct net *net)
{
	if (unet_of(net)->ring_ready)
		uring_stop(net);
	unet_free(unet_of(net));
}

const struct net_ops net_uring_ops = {
	.poll = uring_poll,
	.send = uring_send,
	.flush = uring_flush,
	.connect = uring_connect,
	.set_user = uring_set_user,
	.pause = uring_pause,
	.close = uring_close,
	.stop_listening = uring_stop_listening,
	.wait = uring_wait,
	.list = unet_list,
	.stop = uring_stop,
	.fini = uring_fini,
};
