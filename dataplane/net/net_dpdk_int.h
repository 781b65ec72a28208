/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_NET_NET_DPDK_INT_H
#define MR_NET_NET_DPDK_INT_H

#include <signal.h>

#include <rte_config.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include "base/list.h"
#include "base/ring.h"
#include "net/ipstack.h"
#include "net/net.h"
#include "net/siphash.h"

/*
 * Private to net_dpdk*.c: the shell that carries frames between one DPDK port and the shards'
 * ipstacks.
 *
 *	net_dpdk_eal.c    DPDK's environment: memory, arguments, its log
 *	net_dpdk_port.c   which port, its device, queues and offloads
 *	net_dpdk_check.c  may this process use that port? what to do if not
 *	net_dpdk_open.c   opening and closing of all of it
 *	net_dpdk_io.c     one shard's frames: receive, steer to the shard that owns the flow, send
 *	net_dpdk_frame.c  the stack's frames as mbufs; memory that the port reads
 *	net_dpdk_capture.c one shard's frames for a capture
 *	net_dpdk.c        one shard's net_ops over its ipstack
 */
#define DPDK_SHARDS_MAX 64u
#define DPDK_BURST 32u
#define DPDK_RX_TURN 128u	/* frames that a shard takes in per net_poll */
#define DPDK_TX_TURN 8u		/* bursts that a shard sends per net_flush */
#define DPDK_FORWARD_RING 1024u /* frames on their way from one shard to another */
#define DPDK_SEND_QUEUE 4096u	/* net_iov entries that one connection may have queued */
#define DPDK_COPY_SIZE 512u	/* bytes that a net_send without a cookie may have */
#define DPDK_COPY_COUNT 1024u
#define DPDK_POOL_MBUFS 8191u
#define DPDK_RSS_KEY 52u /* bytes; cards have 40 or 52 */
#define DPDK_RSS_TABLE 2048u
#define DPDK_SEGS_MTU 8u /* mbufs of a frame that is not to be cut: what cards take at least */
#define DPDK_NONE UINT32_MAX
#define DPDK_ERR_SIZE 512u

enum dport_kind {
	DPORT_TAP,
	DPORT_AF_XDP,
	DPORT_AF_PACKET,
	DPORT_MEMIF,
	DPORT_RING,
	DPORT_PCI,
};

/* dpdk.port, taken apart. */
struct dport_spec {
	enum dport_kind kind;
	char name[112]; /* interface, socket path, ring name or PCI address */
	char args[144]; /* for the driver: "" or ,KEY=VALUE... */
};

/* A connection as the caller knows it. */
enum dcn_state { DCN_FREE, DCN_OPEN, DCN_CLOSING };

struct dcn {
	enum dcn_state state;
	uint32_t gen; /* never 0 */
	ipstack_conn_t ip;
	void *user;
	uint64_t accepted_in;		/* the net_poll that reported it */
	struct list node;		/* dshard.free, or dshard.fins after the peer's FIN */
	uint32_t copy_first, copy_last; /* copies of sends without a cookie, oldest first */
	uint32_t held;			/* sends that are over, but the port has them still */
	bool ended;			/* gone, once these have been reported */
};

struct dsend;

struct dshard {
	struct net net; /* first */
	struct net_dpdk *d;
	uint32_t index;
	bool open;    /* between net_dpdk_shard and net_fini */
	bool started; /* its thread has been here */
	bool registered;
	uint64_t now_ns;
	struct ipstack *stack;
	bool more;  /* the last net_poll did not give out all events */
	bool early; /* of a connection that the same net_poll reported: early_event waits for the
		       next */
	struct ipstack_event early_event;
	uint64_t poll_count;

	struct dcn *conns;
	uint32_t conn_slots; /* of them: max.connections, and what the port may hold back */
	struct list free, fins, ended;
	uint8_t *copy_mem;
	uint32_t copy_next[DPDK_COPY_COUNT]; /* free list, or a connection's copies */
	uint32_t copy_free;
	struct dsend *sends; /* net_dpdk_frame.c: all sends with a cookie; NULL: nothing is lent
				to the port */
	uint32_t send_free, held_first, held_last;

	struct rte_mbuf *lent[DPDK_RX_TURN]; /* received frames that the stack may point at */
	uint32_t lent_count;
	struct rte_mbuf *spare[DPDK_BURST]; /* empty frames for sending */
	uint32_t spare_count;
	struct rte_mbuf *tx[DPDK_BURST]; /* built and not yet taken by the port */
	uint32_t tx_count;
	uint64_t tx_since_ns; /* tx has been stuck since; 0: it is not */
	uint64_t nap_ns;      /* of ports that cannot wake us */
	uint32_t hollow;      /* wake-ups by the port since the last frame */
	struct net_dpdk_metrics m;
	struct capture_order capture;
	uint64_t watch_ns;  /* of the next look at the port */
	uint32_t link_seen; /* of d->link_ups */
};

struct net_dpdk {
	struct net_dpdk_config cfg;
	struct dport_spec spec;
	uint32_t ip, gateway;
	uint8_t prefix_len;
	uint8_t secret[32];
	struct siphash_key steer_key;

	bool eal_up;
	bool huge;
	struct dlog *log; /* net_dpdk_eal.c: what DPDK says while we open */
	uint8_t *log_mem;

	bool port_probed, port_started;
	uint16_t port;
	uint16_t mtu; /* of IP packets */
	uint8_t mac[6];
	uint32_t shards;
	uint32_t queues;
	bool rx_csum;	   /* the port verifies checksums */
	bool tx_csum;	   /* the port fills checksums in */
	bool tx_vlan;	   /* the port puts our tag into frames */
	bool attach;	   /* the port sends log memory from where it is */
	uint32_t segs_max; /* mbufs of a frame that the port is to cut */
	uint32_t tso_max;  /* bytes of payload that the port cuts up; 0: it does not */
	bool link_known;   /* shard 0: link_up has been looked at */
	bool link_up;	   /* shard 0 */
	uint32_t link_ups; /* times that the link has come up; shard 0 writes, atomically */
	bool rss_trusted;  /* a flow stays on its queue, and there is one for each shard */
	bool fd_intr;	   /* queue_fd are interrupts that need to be enabled */
	int queue_fd[DPDK_SHARDS_MAX]; /* readable when the queue has frames; -1: there is none */
	struct rte_mempool *pool[DPDK_SHARDS_MAX];
	uint8_t rss_key[DPDK_RSS_KEY]; /* what a trusted port spreads flows by */
	uint16_t rss_queue[DPDK_RSS_TABLE];
	uint32_t rss_entries;
	struct rte_ring *wire[2]; /* ring port: what the test sends in, what it takes out */

	struct dshard *shard;
	struct ring **rx_forward; /* [from * shards + to]: received frames for their owner */
	struct ring *
		*tx_forward; /* [from * shards + to]: frames to send for shards without a queue */
};

extern const struct net_ops net_dpdk_ops; /* net_dpdk.c */

/* Writes a sentence to err; always -1. */
__attribute__((format(printf, 3, 4))) int dpdk_fault(
	char *err, size_t err_size, const char *fmt, ...);

/* ---- net_dpdk_eal.c ---- */

/*
 * Starts EAL with memory for everything. 0, or -1 and a sentence. From here to dpdk_log_end DPDK's
 * lines, and its libraries' on stderr, are caught (unless verbose).
 */
int dpdk_eal_open(struct net_dpdk *d, char *err, size_t err_size);
void dpdk_eal_close(struct net_dpdk *d);
void dpdk_log_end(struct net_dpdk *d);
/* The last line that DPDK has logged about a failure; "" if there is none. */
const char *dpdk_log_last(struct net_dpdk *d);

/* ---- net_dpdk_port.c ---- */

/* 0, or -1 and a sentence. */
int dport_parse(const char *text, struct dport_spec *spec, char *err, size_t err_size);
/* Memory that the packet buffers of one shard take. */
size_t dport_pool_bytes(const struct dport_spec *spec, bool huge);
int dport_open(struct net_dpdk *d, char *err, size_t err_size);
void dport_close(struct net_dpdk *d);
/* Adds the tap driver's signals to those that the main thread and the threads it will make block.
 */
void dport_signals(const struct net_dpdk *d, sigset_t *blocked);

/* ---- net_dpdk_check.c ---- */

/* Is there such a port and may we use it? Before EAL, so that the answer is in the operator's
 * words. */
int dport_check(const struct dport_spec *spec, char *err, size_t err_size);

/* ---- net_dpdk_frame.c ---- */

/* False: no memory. sends: how many with a cookie may be under way. */
bool dframe_init(struct dshard *s, uint32_t sends);
/* ipstack_send; the cookie comes back from dframe_sent or dframe_let_go. */
int dframe_send(struct dshard *s, struct dcn *c, const struct net_iov *iov, uint32_t count,
	uint64_t cookie);
/* The stack is done with a send. True: it is over, and ev says so; false: the port has it. */
bool dframe_sent(struct dshard *s, struct dcn *c, uint64_t cookie, bool ok, struct net_event *ev);
/* The oldest send that the port had to the end is over: its connection; ev says so. NULL: none. */
struct dcn *dframe_let_go(struct dshard *s, struct net_event *ev);
/* Some send waits for the port. */
bool dframe_waits(const struct dshard *s);
/* NULL: no buffers. Takes the one from s->spare. */
struct rte_mbuf *dframe_build(struct dshard *s, const struct ip_out_frame *f);

/* ---- net_dpdk_capture.c ---- */

/* Only while there is a tape. */
void dcapture_frame(struct dshard *s, const struct rte_mbuf *m, enum net_capture_tag tag);

/* ---- net_dpdk_io.c ---- */

/* ipstack_config.is_ours: the shard that segments of the flow are steered to. */
bool dio_is_ours(const void *shard, uint32_t peer_ip, uint16_t peer_port, uint16_t local_port);
/* Gives back the frames of the last turn and takes in the next ones. */
void dio_receive(struct dshard *s);
/* Sends what the stack has to send, as far as the port takes it. */
void dio_send(struct dshard *s);
/* Once a second: the port's own counters, its link, the buffers. */
void dio_watch(struct dshard *s);
/* Sleeps until a frame comes, the waker is notified or until_ns. */
void dio_wait(struct dshard *s, uint64_t until_ns);

#endif
