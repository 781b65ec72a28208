/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_NET_NET_H
#define MR_NET_NET_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/conn_info.h"
#include "base/metric.h"
#include "base/ring.h"
#include "base/tape.h"

/*
 * The one interface of the transports: byte-stream connections of one shard, over kernel sockets
 * (net_uring.c) or over a DPDK port and our own TCP (net_dpdk.c). One `struct net` per shard; every
 * call below is made by that shard's thread, except where said.
 *
 * A shard's turn:   net_poll -> handle the events -> net_send ... -> net_flush -> (net_wait when
 * idle)
 */
struct net;

/* Names a connection; carries a generation, so that a stale handle names nothing. 0 is never one.
 */
typedef uint64_t net_conn_t;

struct net_iov {
	const uint8_t *p;
	uint32_t len;
};

enum net_event_kind {
	NET_EV_ACCEPTED,  /* a new connection; peer address in `peer` */
	NET_EV_CONNECTED, /* net_connect has succeeded; peer address in `peer` */
	NET_EV_DATA,	  /* bytes in order; data is borrowed until the next net_poll */
	NET_EV_SENT,   /* a net_send with this cookie is done: its memory is no longer referenced */
	NET_EV_CLOSED, /* the connection is gone (peer's FIN, reset, error, or after net_close); the
			  last event of a connection. Every cookie has been reported by NET_EV_SENT
			  before. */
};

struct net_event {
	enum net_event_kind kind;
	net_conn_t conn;
	void *user; /* as set by net_set_user; NULL before */
	union {
		struct {
			const uint8_t *p;
			uint32_t len;
		} data;
		struct {
			uint64_t cookie;
			bool ok; /* false: the connection died first; the bytes may or may not have
				    arrived */
		} sent;
		struct {
			uint8_t ip[16]; /* IPv4 as ::ffff:a.b.c.d */
			uint16_t port;
		} peer;
	};
};

#define NET_METRICS(X)                                                                             \
	X(accepted_total, "connections accepted")                                                  \
	X(refused_total, "connections refused because max.connections was reached")                \
	X(closed_total, "connections closed")                                                      \
	X(rx_bytes_total, "bytes received on connections")                                         \
	X(tx_bytes_total, "bytes sent on connections")                                             \
	X(rx_packets_total, "packets received by the port (dpdk)")                                 \
	X(tx_packets_total, "packets sent by the port (dpdk)")                                     \
	X(rx_drops_total, "packets received and dropped: malformed, not for us, no room (dpdk)")   \
	X(retransmits_total, "TCP segments sent again (dpdk)")                                     \
	X(syscalls_total, "system calls made by the transport")                                    \
	X(waits_total, "times the shard went to sleep")

struct net_metrics {
#define X(name, help) metric_t name;
	NET_METRICS(X)
#undef X
};

/* tape_record.tag of a captured frame */
enum net_capture_tag { NET_CAPTURE_IN = 1, NET_CAPTURE_OUT = 2 };

/*
 * A transport's table. Functions are called through the net_ wrappers below.
 */
struct net_ops {
	uint32_t (*poll)(struct net *n, uint64_t now_ns, struct net_event *ev, uint32_t max);
	int (*send)(struct net *n, net_conn_t c, const struct net_iov *iov, uint32_t count,
		uint64_t cookie);
	void (*flush)(struct net *n, uint64_t now_ns);
	int (*connect)(struct net *n, const uint8_t ip[16], uint16_t port, net_conn_t *c);
	void (*set_user)(struct net *n, net_conn_t c, void *user);
	void (*pause)(struct net *n, net_conn_t c, bool on);
	void (*close)(struct net *n, net_conn_t c, bool abort);
	void (*stop_listening)(struct net *n);
	void (*wait)(struct net *n, uint64_t now_ns, uint64_t until_ns);
	void (*list)(struct net *n, struct conn_page *page);
	int (*capture)(struct net *n, const struct capture_order *order);
	void (*stop)(struct net *n);
	void (*fini)(struct net *n);
};

/* Every transport's struct begins with this. */
struct net {
	const struct net_ops *ops;
	struct net_metrics metrics;
	struct waker waker; /* others call waker_notify(&n->waker) to end net_wait */
};

/*
 * Collects up to max events; returns how many. Never blocks. At most one NET_EV_DATA per connection
 * and call may be assumed nowhere: handle them in order. The memory of NET_EV_DATA stays valid
 * until the next net_poll of the same net.
 */
static inline uint32_t net_poll(struct net *n, uint64_t now_ns, struct net_event *ev, uint32_t max)
{
	return n->ops->poll(n, now_ns, ev, max);
}
/*
 * Queues the bytes of iov behind what was sent before on c, in order. The array is copied; the
 * bytes are borrowed until NET_EV_SENT with this cookie. 0; -ENOTCONN when c is gone (no
 * NET_EV_SENT will follow); -ENOBUFS when the connection's send queue is full: try again after a
 * NET_EV_SENT. Cookies are the caller's and need not be unique. Cookie 0 asks for no NET_EV_SENT:
 * then the bytes are copied before return (count of bytes at most 512; for tiny answers). There
 * must be at least one byte, and no more entries than a send queue has at all (dpdk: 4,096).
 */
static inline int net_send(
	struct net *n, net_conn_t c, const struct net_iov *iov, uint32_t count, uint64_t cookie)
{
	return n->ops->send(n, c, iov, count, cookie);
}
/* Hands what was queued since the last flush to the kernel or the port. Once per turn. */
static inline void net_flush(struct net *n, uint64_t now_ns)
{
	n->ops->flush(n, now_ns);
}
/*
 * Opens a connection to a peer (IPv4 as ::ffff:a.b.c.d): its segments come to this shard.
 * NET_EV_CONNECTED follows, or NET_EV_CLOSED when the peer refuses or does not answer; nothing can
 * be sent before. Not before the first net_poll. 0; -ENOBUFS: no connection or port is left;
 * -EINVAL: the address cannot be one of a host; -EAFNOSUPPORT; what the kernel says.
 */
static inline int net_connect(struct net *n, const uint8_t ip[16], uint16_t port, net_conn_t *c)
{
	return n->ops->connect(n, ip, port, c);
}
static inline void net_set_user(struct net *n, net_conn_t c, void *user)
{
	n->ops->set_user(n, c, user);
}
/* on = true: no more NET_EV_DATA for c, so that the peer's window closes; false: go on. Data
 * already returned by the running net_poll is still the caller's to handle. */
static inline void net_pause(struct net *n, net_conn_t c, bool on)
{
	n->ops->pause(n, c, on);
}
/* abort = false: send what is queued, then FIN. true: RST at once. NET_EV_CLOSED follows either
 * way, from a later net_poll. Stale handles are ignored. */
static inline void net_close(struct net *n, net_conn_t c, bool abort)
{
	n->ops->close(n, c, abort);
}
/* New connections are refused from now on. */
static inline void net_stop_listening(struct net *n)
{
	n->ops->stop_listening(n);
}
/*
 * Sleeps until there may be something to poll, the waker is notified, or until_ns (monotonic;
 * UINT64_MAX: no deadline). The caller has armed n->waker and looked at its rings; it disarms
 * after.
 */
static inline void net_wait(struct net *n, uint64_t now_ns, uint64_t until_ns)
{
	n->ops->wait(n, now_ns, until_ns);
}
/*
 * Fills a page with connections from slot page->from on. Looks at a bounded number of slots, so
 * that a page may be short, even empty, and yet not the last one. What changes between two pages
 * may be in both or in neither.
 */
static inline void net_list(struct net *n, struct conn_page *page)
{
	n->ops->list(n, page);
}
/*
 * From now on frames go to order->tape, which the shard writes until the next call of this function
 * (a tape of NULL: no more of them). What finds no room on it is lost and counted. 0; -ENOTSUP of a
 * transport that sees no frames.
 */
static inline int net_capture(struct net *n, const struct capture_order *order)
{
	return n->ops->capture ? n->ops->capture(n, order) : -ENOTSUP;
}
/*
 * The last call of the shard's thread: closes everything. n, its waker and its metrics stay valid
 * for others until net_fini. Cookies outstanding are not reported any more.
 */
static inline void net_stop(struct net *n)
{
	n->ops->stop(n);
}
/* Frees n; by the thread that made it, when nobody can notify its waker any more. Stops it first
 * where no thread has run it. */
static inline void net_fini(struct net *n)
{
	n->ops->fini(n);
}

/* ---- kernel transport (net_uring.c) ---- */

struct net_uring_config {
	char host[64];	  /* IPv4 or IPv6 literal, "" = any */
	uint16_t port;	  /* 0: the kernel chooses; see net_uring_port */
	bool reuse_port;  /* several shards listen on the same port (SO_REUSEPORT) */
	bool no_listener; /* only net_connect makes connections */
	uint32_t max_conns;
	uint32_t recv_buffers;	   /* provided buffers; a power of two */
	uint32_t recv_buffer_size; /* bytes of each */
	uint32_t send_queue;	   /* net_iov entries that one connection may have queued */
};

/*
 * Opens the listener and the ring; called by the composition root before the shard's thread starts
 * (the ring itself is enabled on the first net_poll, by that thread). On failure NULL, with a
 * sentence that says what is wrong and what to do in err.
 */
struct net *net_uring_open(const struct net_uring_config *cfg, char *err, size_t err_size);
/* The port listened on. */
uint16_t net_uring_port(const struct net *n);

/* ---- dpdk transport (net_dpdk.c) ---- */

struct net_dpdk_config {
	char port[256];	      /* tap:NAME, af_xdp:IFACE, af_packet:IFACE, memif:SOCKET, ring:NAME,
				 pci:ADDR; then ,KEY=VALUE for the driver */
	char eal[256];	      /* more arguments for EAL, separated by blanks */
	char address[64];     /* A.B.C.D/len */
	char gateway[64];     /* A.B.C.D or "" */
	char hugepages[8];    /* auto, off, require */
	uint32_t shards;      /* one rx+tx queue each where the port has them */
	uint32_t memory_mib;  /* DPDK heap; holds the log blocks too */
	size_t log_bytes;     /* log-block region to take from that heap (0: none) */
	uint32_t max_conns;   /* per shard */
	uint16_t listen_port; /* 0: only net_connect makes connections */
	uint16_t vlan;	      /* 802.1Q tag of all frames, 1..4094; 0: none */
	bool newreno;	      /* congestion control; false: CUBIC */
	bool no_ecn;	      /* RFC 3168 is not offered */
	bool no_offloads;     /* checksums, segmentation and gathering are not left to the port */
	uint64_t nap_max_ns;  /* longest sleep on a port that cannot wake us; 0: 10 ms */
	bool verbose;	      /* DPDK's own log lines too */
};

/* A shard's end of the port; what its stack drops is in net/ipstack.h. Those that say so are of the
 * whole port and counted by shard 0. */
#define NET_DPDK_METRICS(X)                                                                        \
	X(drop_forward_total, "frames dropped because the ring to their shard was full")           \
	X(drop_segments_total, "frames dropped because they came in several pieces")               \
	X(drop_vlan_total, "frames dropped because they were not of our VLAN")                     \
	X(drop_stuck_total, "frames dropped because the port had taken none for 10 ms")            \
	X(drop_carrier_total, "frames of shards without a queue dropped: the port was full")       \
	X(attached_total, "frames sent with log memory from where it is, not a copy")              \
	X(no_buffers_total, "times that no packet buffer for sending was free")                    \
	X(buffers_free, "packet buffers of the shard that are free")                               \
	X(missed_total, "frames lost by the port because nobody took them in time (whole port)")   \
	X(rx_errors_total, "frames received with errors (whole port)")                             \
	X(rx_no_buffers_total, "times that the port had no buffer to receive into (whole port)")   \
	X(tx_errors_total, "frames that the port failed to send (whole port)")                     \
	X(capture_lost_total, "frames that a capture missed because nobody took them in time")     \
	X(link_up, "1 when the link is up (whole port)")                                           \
	X(link_changes_total, "times that the link went up or down (whole port)")

struct net_dpdk_metrics {
#define X(name, help) metric_t name;
	NET_DPDK_METRICS(X)
#undef X
};

/* The process's one DPDK environment and port. */
struct net_dpdk;

/*
 * Starts EAL and the port. Main thread, before other threads exist (it keeps the caller's CPU
 * affinity, and blocks the tap driver's real-time signals for threads created later). NULL and a
 * sentence in err on failure.
 */
struct net_dpdk *net_dpdk_open(const struct net_dpdk_config *cfg, char *err, size_t err_size);
/* The log-block region (log_bytes, 4096-aligned); owned by the environment. */
uint8_t *net_dpdk_log_memory(struct net_dpdk *d);
/* The transport of shard i; to be used by one thread. Freed by net_fini. */
struct net *net_dpdk_shard(struct net_dpdk *d, uint32_t shard, char *err, size_t err_size);
/* Of a shard's transport; both stay until its net_fini. */
const struct net_dpdk_metrics *net_dpdk_metrics_of(const struct net *n);
struct ipstack_metrics;
const struct ipstack_metrics *net_dpdk_stack_metrics_of(const struct net *n);
/* Stops the port; after all shards' net_fini. */
void net_dpdk_close(struct net_dpdk *d);

#endif
