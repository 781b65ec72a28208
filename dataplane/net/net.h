/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_NET_NET_H
#define MR_NET_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/metric.h"
#include "base/ring.h"

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
	NET_EV_ACCEPTED, /* a new connection; peer address in `peer` */
	NET_EV_DATA,	 /* bytes in order; data is borrowed until the next net_poll */
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

/*
 * A transport's table. Functions are called through the net_ wrappers below.
 */
struct net_ops {
	uint32_t (*poll)(struct net *n, uint64_t now_ns, struct net_event *ev, uint32_t max);
	int (*send)(struct net *n, net_conn_t c, const struct net_iov *iov, uint32_t count,
		uint64_t cookie);
	void (*flush)(struct net *n, uint64_t now_ns);
	void (*set_user)(struct net *n, net_conn_t c, void *user);
	void (*pause)(struct net *n, net_conn_t c, bool on);
	void (*close)(struct net *n, net_conn_t c, bool abort);
	void (*stop_listening)(struct net *n);
	void (*wait)(struct net *n, uint64_t now_ns, uint64_t until_ns);
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
	char host[64];	 /* IPv4 or IPv6 literal, "" = any */
	uint16_t port;	 /* 0: the kernel chooses; see net_uring_port */
	bool reuse_port; /* several shards listen on the same port (SO_REUSEPORT) */
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
	char port[128];	     /* tap:NAME, af_xdp:IFACE, af_packet:IFACE, memif:SOCKET, ring:NAME,
				pci:ADDR */
	char address[64];    /* A.B.C.D/len */
	char gateway[64];    /* A.B.C.D or "" */
	char hugepages[8];   /* auto, off, require */
	uint32_t shards;     /* one rx+tx queue each where the port has them */
	uint32_t memory_mib; /* DPDK heap; holds the log blocks too */
	size_t log_bytes;    /* log-block region to take from that heap (0: none) */
	uint32_t max_conns;  /* per shard */
	uint16_t listen_port;
	bool verbose; /* DPDK's own log lines too */
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
/* Stops the port; after all shards' net_fini. */
void net_dpdk_close(struct net_dpdk *d);

#endif
