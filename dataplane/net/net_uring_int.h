/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_NET_NET_URING_INT_H
#define MR_NET_NET_URING_INT_H

#include <liburing.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/list.h"
#include "net/net.h"

/*
 * Private to net_uring*.c: the kernel transport of one shard. One io_uring carries the accepts,
 * receives and sends of the shard and a poll on its waker. Everything here belongs to the shard's
 * thread.
 *
 * Life of a connection:
 *
 *   FREE --accept--> OPEN --net_close / peer's FIN--> DRAIN --queue empty--> KILL --no op left-->
 * DEAD |                                 |                    ^          |
 *                     +----- error, net_close(abort) ---+--------------------+        CLOSED -->
 * FREE
 *
 * CONNECT  net_connect's operation is in the ring, in the place of a send; then OPEN, or KILL.
 * OPEN   bytes flow both ways. After the peer's FIN (`eof`) it stays OPEN until what was received
 * has been handed out and what was sent in answer is queued. DRAIN  receives are over; what is
 * queued still goes out. KILL   the ring's operations on the socket are being cancelled. DEAD   the
 * socket is closed; events still to be reported.
 */
enum ucn_state { UCN_FREE, UCN_CONNECT, UCN_OPEN, UCN_DRAIN, UCN_KILL, UCN_DEAD };

/* What a completion belongs to; bits 24-31 of user_data (0-23 slot, 32-63 generation). */
enum uop { UOP_ACCEPT = 1, UOP_WAKE, UOP_RECV, UOP_SEND, UOP_CANCEL, UOP_NOTHING };

#define UCN_SLOT_BITS 24
#define UCN_SLOTS_MAX (1u << UCN_SLOT_BITS)
#define UCN_IOV_BATCH 256u /* net_iov entries that one sendmsg carries */
#define UCN_COPY_SIZE 512u /* bytes that a net_send without a cookie may have */
#define UCN_COPY_COUNT 1024u
#define UCN_NO_COPY UINT32_MAX
#define UCN_NO_BUF UINT32_MAX
#define UNET_BUF_GROUP 1
#define UNET_SQ_ENTRIES 1024u
#define UNET_ACCEPT_RETRY_NS (100 * 1000000ull)

/* One net_send. Its iovecs are those before iov_end (a running count) that no earlier one has. */
struct umsg {
	uint64_t cookie;
	uint32_t iov_end;
	uint32_t copy; /* block of the copy pool, or UCN_NO_COPY */
};

struct ucn {
	enum ucn_state state;
	int fd;
	uint32_t gen; /* never 0 */
	bool paused;
	bool eof;
	bool reset;	    /* close with RST */
	bool recv_armed;    /* a receive is in the ring */
	bool send_armed;    /* a sendmsg is in the ring */
	uint32_t cancels;   /* cancels of them in the ring */
	uint64_t data_turn; /* the net_poll that last reported NET_EV_DATA */
	void *user;

	struct list work;    /* net.work: has something to report or to go on with */
	struct list tosend;  /* net.tosend: has bytes to hand to the kernel */
	struct list starved; /* net.starved: wants a receive, no buffer was free; or net.free */

	uint32_t held_first,
		held_last; /* received and not yet reported, oldest first; UCN_NO_BUF */

	/* Send queue: rings of unet.queue entries, indexed by running counts. */
	struct iovec *iov;
	struct umsg *msg;
	uint32_t iov_head, iov_tail;
	uint32_t msg_head, msg_done, msg_tail; /* reported, completed, queued */
	struct msghdr hdr;		       /* of the sendmsg in the ring */
	struct sockaddr_in6 to;		       /* CONNECT: of the connect in the ring */
};

/* A provided buffer that is ours at the moment. */
struct ubuf {
	uint32_t len;
	uint32_t next; /* of ucn.held_first */
};

struct unet {
	struct net net; /* first */
	struct io_uring ring;
	bool ring_ready;   /* ring is to be exited */
	bool enabled;	   /* by the shard's thread */
	bool recv_limited; /* the kernel can bound a multishot receive; else receives are one-shot
			    */
	bool buf_ring_ready;
	uint32_t events_max; /* of one net_poll; less than the ring's entries */

	int listen_fd;
	uint16_t port;
	bool listening;
	bool accept_armed;
	bool wake_armed;
	bool accept_log_done;  /* lack of descriptors is logged once */
	uint64_t accept_at_ns; /* not before; 0: at once */

	struct ucn *conns;
	uint32_t max_conns;
	struct list free; /* linked by ucn.starved */
	struct list work, tosend, starved;

	uint32_t queue; /* iovecs per connection, a power of two */
	uint8_t *queue_mem;
	size_t queue_mem_size;

	struct io_uring_buf_ring *buf_ring;
	size_t buf_ring_size;
	uint8_t *buf_mem;
	uint32_t buf_count, buf_size;
	uint32_t buf_ours;  /* held or lent */
	uint32_t buf_share; /* bytes that one receive may take before it ends */
	struct ubuf *bufs;
	uint32_t *lent; /* buffers that the last net_poll's events point at */
	uint32_t lent_count;
	bool recycled; /* buffers have gone back since connections starved */

	uint8_t *copy_mem;
	uint32_t copy_free[UCN_COPY_COUNT];
	uint32_t copy_free_count;

	uint64_t turn; /* of net_poll */
	uint64_t now_ns;
	struct net_event *ev;
	uint32_t ev_count, ev_max;
};

/* Ops table; defined in net_uring.c. */
extern const struct net_ops net_uring_ops;

static inline net_conn_t ucn_handle(const struct unet *n, const struct ucn *c)
{
	return (uint64_t)c->gen << 32 | (uint64_t)(c - n->conns);
}

/* ---- net_uring_open.c ---- */

/* What accepted sockets have from the listener. */
void unet_conn_options(int fd);

/* ---- net_uring_info.c ---- */

/* net_ops.list */
void unet_list(struct net *net, struct conn_page *p);

/* ---- net_uring_open.c ---- */

/* Frees what unet_open made; n may be half made. */
void unet_stop(struct unet *n);
void unet_free(struct unet *n);

/* ---- net_uring_send.c: the send queue ---- */

/* 0, -ENOBUFS when the queue (or the pool of copies, for cookie 0) is full. */
int ucn_queue(
	struct unet *n, struct ucn *c, const struct net_iov *iov, uint32_t count, uint64_t cookie);
/* The next sendmsg's iovecs into c->hdr; false when nothing is queued. */
bool ucn_queue_next(struct unet *n, struct ucn *c);
/* The kernel took the first `bytes` of the queue. */
void ucn_queue_sent(struct unet *n, struct ucn *c, size_t bytes);
/* Everything queued counts as completed: it will be reported as failed. */
void ucn_queue_drop(struct unet *n, struct ucn *c);
/* Reports completed sends as long as there is room; true when none is left. */
bool ucn_queue_report(struct unet *n, struct ucn *c);
static inline bool ucn_queue_empty(const struct ucn *c)
{
	return c->iov_head == c->iov_tail;
}

#endif
