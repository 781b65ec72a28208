/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_NET_IPSTACK_H
#define MR_NET_IPSTACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/metric.h"
#include "net/net.h"

/*
 * One shard's TCP/IPv4 stack as a pure core: Ethernet frames and the time go in, frames and events
 * come out. No clock, no randomness, no lock, no allocation after ipstack_create. One thread uses a
 * stack at a time. Two stacks wired to each other in virtual time make the network simulation of
 * tests/unit/dataplane/net/test_netsim.c.
 *
 * A shell's turn, in this order:
 *
 *	for each received frame:                  at most cfg.rx_burst frames per turn
 *		ipstack_input(s, now, frame, len, ...);
 *	ipstack_timers(s, now);
 *	while (ipstack_event_pop(s, &ev))         until it says false
 *		handle it; ipstack_send / _pause / _close / ... may be called from here, or any time
 *	ipstack_release(s);                       bytes of the DATA events are given back;
 *	                                          now the received frames may be freed
 *	while ((n = ipstack_tx_pop(s, now, out, 32)))
 *		copy out[i].hdr, copy or attach out[i].slice[], hand to the port;
 *	sleep until ipstack_next_timer_ns(s) at the latest, unless ipstack_event_pending(s)
 *
 * A shell that cannot put a popped frame on the wire drops it: TCP will send it again.
 *
 * Addresses and ports are in host order (10.0.0.1 is 0x0a000001).
 */

/* Names a connection; carries a generation, so that a stale one names nothing. 0 is never one. */
typedef uint64_t ipstack_conn_t;

struct ipstack;

enum ipstack_cc {
	IPSTACK_CC_CUBIC,   /* RFC 9438, 9406 */
	IPSTACK_CC_NEWRENO, /* RFC 5681 */
};

struct ipstack_config {
	/* who we are */
	uint8_t mac[6];
	uint32_t ip;
	uint32_t gateway;   /* 0: none, only on-link peers */
	uint8_t prefix_len; /* 0..32 */
	uint16_t mtu;	    /* of IP packets, 576..9000 */
	uint8_t secret[32]; /* keys of ISN, flow hash and port choice; from the kernel's random
			       source */

	/* what the port does for us */
	bool tx_ip_csum_offload; /* leave the IPv4 header checksum 0 */
	bool tx_l4_csum_offload; /* TCP checksum field = pseudo-header sum only, the port completes
				    it */
	uint32_t tso_max_bytes;	 /* > 0: frames with up to this much payload and tso_mss set */
	uint8_t tx_slices_max;	 /* payload slices per frame, 1..IP_OUT_SLICES */

	/* Whether segments of that flow come to this stack: an active open takes a local port for
	   which they do. NULL: all do. Pure. */
	bool (*is_ours)(const void *arg, uint32_t peer_ip, uint16_t peer_port, uint16_t local_port);
	const void *is_ours_arg;

	/* limits: all memory is taken at create */
	uint32_t max_conns;
	uint32_t max_time_wait;
	uint32_t syn_backlog;	  /* connections in SYN_RCVD */
	uint32_t neighbours;	  /* entries of the ARP table */
	uint32_t ctl_frames;	  /* answers without a connection (ARP, ICMP, RST) that may wait */
	uint32_t rx_burst;	  /* frames taken between two ipstack_release */
	uint32_t rx_window_bytes; /* receive window of a connection */
	uint32_t rx_chunks; /* 2 KiB buffers for out-of-order and paused data, all connections */
	uint32_t rx_chunks_per_conn;  /* of which one connection may hold */
	uint32_t send_slots;	      /* struct net_iov entries queued, all connections */
	uint32_t send_slots_per_conn; /* of which one connection may hold */
	uint32_t tx_segments; /* in flight that loss recovery knows one by one, all connections */
	uint32_t tx_bytes_per_pass; /* of one connection before the next one's turn */

	/* times */
	uint64_t rto_initial_ns, rto_min_ns, rto_max_ns; /* RFC 6298 */
	uint64_t user_timeout_ns;	/* without progress for this long: closed (TIMEOUT) */
	uint64_t syn_timeout_ns;	/* handshake gives up after this */
	uint64_t delack_ns;		/* longest delay of an ACK */
	uint64_t keepalive_idle_ns;	/* 0: no keepalive */
	uint64_t keepalive_interval_ns; /* between probes */
	uint32_t keepalive_probes;	/* unanswered: closed (TIMEOUT) */
	uint64_t fin_wait2_ns;		/* silence of a peer that has acknowledged our FIN */
	uint64_t time_wait_ns;

	enum ipstack_cc congestion; /* control: how windows grow and shrink */

	/* what is offered to peers, and taken from them */
	bool sack;	  /* RFC 2018 */
	bool timestamps;  /* RFC 7323: PAWS */
	bool ecn;	  /* RFC 3168 */
	bool syn_cookies; /* when syn_backlog is used up; otherwise SYNs are dropped then */

	/* rates */
	uint32_t challenge_acks_per_s; /* RFC 5961 section 7, whole stack */
	uint32_t icmp_replies_per_s;
	uint32_t resets_per_s; /* RST for segments of no connection */

	/* tests of sequence number wrap */
	bool fixed_isn;
	uint32_t isn;
};

#define IP_OUT_HDR_MAX 128
#define IP_OUT_SLICES 16

enum ip_out_flags {
	/* the slices are the stack's own memory: copy them before the next call into the stack.
	   Without it they are memory lent by ipstack_send and stay until their cookie is reported.
	 */
	IP_OUT_COPY = 1u << 0,
	IP_OUT_TCP = 1u << 1, /* IPv4 + TCP: checksum and segmentation offloads may apply */
	IP_OUT_IPV4 = 1u << 2,
};

struct ip_out_frame {
	uint8_t hdr[IP_OUT_HDR_MAX]; /* Ethernet + IP + TCP headers (or the whole short frame) */
	uint16_t hdr_len;
	uint8_t l2_len, l3_len, l4_len; /* l2 + l3 + l4 == hdr_len for TCP */
	uint8_t flags;			/* enum ip_out_flags */
	uint8_t nslices;
	bool ect;	      /* may be marked instead of dropped (RFC 3168) */
	uint16_t tso_mss;     /* > 0: to be cut into segments of this payload by the port */
	uint32_t payload_len; /* sum of the slices; the frame has hdr_len + payload_len bytes */
	struct net_iov slice[IP_OUT_SLICES];
	uint64_t cookie[IP_OUT_SLICES]; /* of the ipstack_send that lent a slice; not with
					   IP_OUT_COPY */
};

enum ipstack_event_kind {
	IPSTACK_EV_ACCEPTED,  /* a peer has connected to a listening port; peer filled */
	IPSTACK_EV_CONNECTED, /* ipstack_connect has succeeded; peer filled */
	IPSTACK_EV_DATA,      /* bytes in order; borrowed until ipstack_release */
	IPSTACK_EV_SENT,      /* the memory of this send is not referenced any more */
	IPSTACK_EV_PEER_FIN,  /* no more DATA will come; sending is still possible until
				 ipstack_close */
	IPSTACK_EV_CLOSED,    /* the last event; the handle is stale from here on */
};

enum ipstack_reason {
	IPSTACK_CLOSED_NORMAL,	/* both FINs exchanged */
	IPSTACK_CLOSED_RESET,	/* by the peer */
	IPSTACK_CLOSED_REFUSED, /* RST in answer to our SYN */
	IPSTACK_CLOSED_TIMEOUT, /* no answer for too long */
	IPSTACK_CLOSED_ABORTED, /* ipstack_abort */
};

struct ipstack_event {
	enum ipstack_event_kind kind;
	ipstack_conn_t conn;
	void *user; /* as set by ipstack_set_user; NULL before */
	union {
		struct {
			const uint8_t *p;
			uint32_t len;
			void *rxref; /* of the frame that holds the bytes; NULL: they are in the
					stack's memory */
		} data;
		struct {
			uint64_t cookie;
			bool ok; /* true: all acknowledged by the peer's TCP; false: the connection
				    died first */
		} sent;
		struct {
			uint32_t ip;
			uint16_t port, local_port;
		} peer;
		struct {
			enum ipstack_reason reason;
		} closed;
	};
};

/* Fills cfg with defaults for a shard of 1,024 connections; mac, ip, prefix_len, secret remain 0.
 */
void ipstack_config_defaults(struct ipstack_config *cfg);

/*
 * Takes all memory (one malloc) by the limits of cfg, which is copied. Queues a gratuitous ARP.
 * NULL when the limits make no sense or memory is short.
 */
struct ipstack *ipstack_create(const struct ipstack_config *cfg, uint64_t now_ns);
/* Bytes that ipstack_create takes for cfg; 0 when the limits make no sense. */
size_t ipstack_memory_bytes(const struct ipstack_config *cfg);
/* Forgets everything; sends nothing and reports nothing. */
void ipstack_destroy(struct ipstack *s);

/*
 * Takes in one Ethernet frame of len bytes. The frame is borrowed until the next ipstack_release
 * (DATA events may point into it). l3_checksum_ok, l4_checksum_ok: the port has verified the IPv4
 * header / the TCP checksum; otherwise it is verified here. rxref is the shell's name for the frame
 * and comes back in DATA events. Anything wrong with the frame is counted and dropped.
 */
void ipstack_input(struct ipstack *s, uint64_t now_ns, const uint8_t *frame, uint32_t len,
	bool l3_checksum_ok, bool l4_checksum_ok, void *rxref);
/* Runs what is due at now_ns. */
void ipstack_timers(struct ipstack *s, uint64_t now_ns);
/* When ipstack_timers has to be called next, never too late; UINT64_MAX: nothing is armed. */
uint64_t ipstack_next_timer_ns(const struct ipstack *s);
/* The next event into ev; false when there is none. */
bool ipstack_event_pop(struct ipstack *s, struct ipstack_event *ev);
/* True when ipstack_event_pop may have something: calls (resume, abort, close) make events, too. */
bool ipstack_event_pending(const struct ipstack *s);
/* Gives back the bytes of all DATA events popped, and the frames: data not popped yet is copied. */
void ipstack_release(struct ipstack *s);
/*
 * Up to max frames to be sent now; 0: nothing left. Connections take turns of
 * cfg.tx_bytes_per_pass. What the frames point to stays as it is until the next call into the stack
 * (IP_OUT_COPY), or until the cookie is reported. A port that still holds attached slices of a
 * retransmission when the cookie is reported must keep the memory alive itself until it has let go
 * of them.
 */
uint32_t ipstack_tx_pop(struct ipstack *s, uint64_t now_ns, struct ip_out_frame *out, uint32_t max);
/* True when ipstack_tx_pop would have something to do. */
bool ipstack_tx_pending(const struct ipstack *s);

/* Accepts connections on port from now on. 0; -ENOBUFS: too many listeners; -EADDRINUSE. */
int ipstack_listen(struct ipstack *s, uint16_t port);
/* No new connections on port; existing ones go on. Half-open ones are dropped. */
void ipstack_unlisten(struct ipstack *s, uint16_t port);
/*
 * Starts an active open; CONNECTED or CLOSED follows. local_port 0: chosen (RFC 6056 algorithm 3).
 * 0; -ENOBUFS: no connection or port left; -EADDRINUSE; -EINVAL: the address cannot be one of a
 * host.
 */
int ipstack_connect(struct ipstack *s, uint64_t now_ns, uint32_t ip, uint16_t port,
	uint16_t local_port, ipstack_conn_t *conn);
/*
 * Queues the bytes of iov behind what was sent before. The array is copied, the bytes are borrowed
 * until SENT with this cookie; each accepted call reports its cookie exactly once (at abort with
 * ok = false), always before CLOSED. 0; -ENOTCONN: stale, closing or not yet connected; -EINVAL: no
 * bytes; -ENOBUFS: no send slots: nothing was taken, try again after a SENT.
 */
int ipstack_send(struct ipstack *s, uint64_t now_ns, ipstack_conn_t conn, const struct net_iov *iov,
	uint32_t count, uint64_t cookie);
/*
 * on: from this moment no DATA for conn (also none of this turn's); what still arrives within the
 * window already advertised is kept in the stack and the window closes. off: kept data comes as
 * DATA, and the window update goes out at once. Stale handles are ignored.
 */
void ipstack_pause(struct ipstack *s, ipstack_conn_t conn, bool on);
/*
 * FIN behind all queued data; DATA goes on until PEER_FIN, then CLOSED. Stale handles are ignored.
 * A connection not yet established is dropped at once.
 */
void ipstack_close(struct ipstack *s, uint64_t now_ns, ipstack_conn_t conn);
/* RST now; SENT (ok = false) for everything outstanding, then CLOSED(ABORTED). */
void ipstack_abort(struct ipstack *s, ipstack_conn_t conn);
/* Stale handles are ignored. */
void ipstack_set_user(struct ipstack *s, ipstack_conn_t conn, void *user);

/* The link is up again (or the address has moved here): gratuitous ARP, retransmissions at once. */
void ipstack_link_up(struct ipstack *s, uint64_t now_ns);
/*
 * Replicates what another shard's stack of the same port has learned (ARP replies arrive on one
 * queue only). ipstack_neigh_learned says what this stack has learned since it was last asked;
 * false: none.
 */
void ipstack_neigh_learn(struct ipstack *s, uint64_t now_ns, uint32_t ip, const uint8_t mac[6]);
bool ipstack_neigh_learned(struct ipstack *s, uint32_t *ip, uint8_t mac[6]);

/* What `ss -i` shows of a socket. */
struct ipstack_conn_info {
	const char *state;
	uint32_t peer_ip;
	uint16_t peer_port, local_port;
	uint32_t cwnd, ssthresh, in_flight, snd_wnd, rcv_wnd, mss;
	uint32_t queued_bytes; /* lent by ipstack_send and not yet acknowledged */
	uint32_t rx_chunks;    /* held for out-of-order and paused data */
	uint64_t srtt_ns, rttvar_ns, rto_ns, min_rtt_ns;
	uint64_t bytes_in, bytes_out, retransmits;
	uint32_t unread_bytes; /* in order, and not popped yet */
	uint32_t pmtu;	       /* of IP packets, as far as it is known */
	uint8_t snd_wscale, rcv_wscale;
	bool sack, timestamps, ecn, cubic;
	bool paused;
};
/* 0 or -ENOTCONN. */
int ipstack_conn_info_get(
	const struct ipstack *s, ipstack_conn_t conn, struct ipstack_conn_info *info);
/* The handle of the i-th connection slot (0 .. max_conns-1), 0 when it is free: to walk over all.
 */
ipstack_conn_t ipstack_conn_at(const struct ipstack *s, uint32_t i);
/* One line per connection into buf (NUL-terminated, cut to size); returns the length. */
size_t ipstack_dump(const struct ipstack *s, char *buf, size_t size);
/* CHECKs the invariants of everything; for tests, costs time in proportion to all connections. */
void ipstack_check(const struct ipstack *s);

/* What is in use, for tests of leaks. */
struct ipstack_usage {
	uint32_t conns, time_wait, syn_rcvd, send_slots, rx_chunks, neighbours;
};
void ipstack_usage_get(const struct ipstack *s, struct ipstack_usage *u);

/*
 * Counters: each has one writer (the stack's thread); others may read them (base/metric.h).
 */
#define IPSTACK_METRICS(X)                                                                         \
	X(rx_frames_total, "frames received")                                                      \
	X(rx_bytes_total, "bytes of frames received")                                              \
	X(tx_frames_total, "frames sent")                                                          \
	X(tx_bytes_total, "bytes of frames sent")                                                  \
	X(eth_drop_short_total, "frames shorter than their headers")                               \
	X(eth_drop_other_mac_total, "frames for another station")                                  \
	X(eth_drop_type_total, "frames of a protocol we do not speak")                             \
	X(arp_drop_total, "malformed or spoofing ARP packets")                                     \
	X(arp_requests_out_total, "ARP requests sent")                                             \
	X(arp_replies_out_total, "ARP replies sent")                                               \
	X(arp_conflicts_total, "ARP packets of another station that claims our address")           \
	X(arp_failed_total, "neighbours that did not answer")                                      \
	X(arp_full_total, "neighbours not learned because the table is full of busy ones")         \
	X(arp_pending_drop_total, "packets dropped because too many wait for a neighbour")         \
	X(ip_drop_header_total, "IPv4 packets with a malformed header")                            \
	X(ip_drop_length_total, "IPv4 packets whose length does not fit the frame")                \
	X(ip_drop_checksum_total, "IPv4 packets with a wrong header checksum")                     \
	X(ip_drop_fragment_total, "IPv4 fragments refused")                                        \
	X(ip_drop_address_total, "IPv4 packets for or from an address that cannot be")             \
	X(ip_drop_ttl_total, "IPv4 packets with time to live 0")                                   \
	X(ip_drop_protocol_total, "IPv4 packets of a protocol we do not speak")                    \
	X(ip_drop_no_route_total, "packets not sent for want of a gateway")                        \
	X(icmp_echo_total, "ICMP echo requests answered")                                          \
	X(icmp_drop_total, "ICMP messages malformed, too long, or not understood")                 \
	X(icmp_stale_total, "ICMP errors about nothing that is in flight (RFC 5927)")              \
	X(tcp_pmtu_total, "routers that told of a smaller path MTU")                               \
	X(tcp_black_holes_total, "segments made shorter because long ones seemed to be lost")      \
	X(icmp_limited_total, "ICMP echo requests dropped by the rate limit")                      \
	X(ctl_drop_total, "answers without a connection dropped because too many wait")            \
	X(tcp_segs_in_total, "TCP segments received")                                              \
	X(tcp_segs_out_total, "TCP segments sent")                                                 \
	X(tcp_bytes_in_total, "TCP payload bytes accepted")                                        \
	X(tcp_bytes_out_total, "TCP payload bytes sent, repeats included")                         \
	X(tcp_drop_short_total, "TCP segments with an impossible data offset or length")           \
	X(tcp_drop_checksum_total, "TCP segments with a wrong checksum")                           \
	X(tcp_drop_port_total, "TCP segments with port 0")                                         \
	X(tcp_drop_flags_total,                                                                    \
		"TCP segments without ACK where it is needed, or flags that cannot be")            \
	X(tcp_drop_seq_total, "TCP segments outside the window")                                   \
	X(tcp_drop_paws_total, "TCP segments with a timestamp that is old or missing (RFC 7323)")  \
	X(tcp_drop_ack_total, "TCP segments that acknowledge what cannot be (RFC 5961 section 5)") \
	X(tcp_drop_no_conn_total, "TCP segments of no connection")                                 \
	X(tcp_drop_no_buffer_total, "TCP payloads not kept because buffers were short")            \
	X(tcp_drop_ranges_total, "out-of-order payloads not kept because of too many holes")       \
	X(tcp_drop_after_fin_total, "TCP payloads beyond the peer's FIN")                          \
	X(tcp_bad_option_total, "malformed TCP options ignored")                                   \
	X(tcp_syn_in_total, "connection attempts received")                                        \
	X(tcp_syn_drop_backlog_total, "connection attempts dropped: too many half-open")           \
	X(tcp_syn_drop_conns_total, "connection attempts dropped: too many connections")           \
	X(tcp_cookies_out_total, "connection attempts answered with a SYN cookie")                 \
	X(tcp_cookies_in_total, "connections that a SYN cookie has opened")                        \
	X(tcp_cookies_spent_total, "late duplicates of ACKs whose SYN cookie was taken before")    \
	X(tcp_accepted_total, "connections accepted")                                              \
	X(tcp_connected_total, "connections opened by us")                                         \
	X(tcp_closed_total, "connections gone")                                                    \
	X(tcp_syn_timeout_total, "half-open connections given up")                                 \
	X(tcp_timeout_total, "connections given up for want of an answer")                         \
	X(tcp_keepalive_total, "keepalive probes sent")                                            \
	X(tcp_rst_in_total, "connections reset by the peer")                                       \
	X(tcp_rst_drop_total, "RSTs ignored (RFC 5961 section 3)")                                 \
	X(tcp_rst_out_total, "RSTs sent")                                                          \
	X(tcp_rst_limited_total, "RSTs not sent because of the rate limit")                        \
	X(tcp_challenge_total, "challenge ACKs sent")                                              \
	X(tcp_challenge_limited_total, "challenge ACKs not sent because of the rate limit")        \
	X(tcp_ooo_total, "segments out of order kept")                                             \
	X(tcp_dup_total, "segments that brought nothing new")                                      \
	X(tcp_pruned_total, "out-of-order buffers given up for data in order")                     \
	X(tcp_dupacks_in_total, "duplicate ACKs received")                                         \
	X(tcp_fast_retransmits_total, "losses found by duplicate ACKs")                            \
	X(tcp_tail_probes_total, "tail loss probes sent (RFC 8985)")                               \
	X(tcp_dsacks_in_total, "duplicates reported by the peer (RFC 2883)")                       \
	X(tcp_ce_in_total, "segments that met congestion on their way (RFC 3168)")                 \
	X(tcp_ecn_reductions_total, "windows reduced because the peer told of congestion")         \
	X(tcp_undone_total, "losses that were none, and were taken back (RFC 3522, 3708)")         \
	X(tcp_reneged_total, "timeouts at which the peer had given up what it had reported")       \
	X(tcp_rto_total, "retransmission timeouts")                                                \
	X(tcp_retransmits_total, "segments sent again")                                            \
	X(tcp_window_probes_total, "zero-window probes sent")                                      \
	X(tcp_window_updates_total, "window updates sent because the application went on")         \
	X(tcp_delayed_acks_total, "ACKs sent by the delayed-ACK timer")                            \
	X(tcp_time_wait_evicted_total, "TIME_WAIT entries that made room for newer ones")          \
	X(tcp_time_wait_reused_total, "TIME_WAIT entries replaced by a new SYN")

struct ipstack_metrics {
#define X(name, help) metric_t name;
	IPSTACK_METRICS(X)
#undef X
};
const struct ipstack_metrics *ipstack_metrics_of(const struct ipstack *s);
/* The table of names for whoever prints all of them; count out. */
const struct metric_desc *ipstack_metric_table(uint32_t *count);

#endif
