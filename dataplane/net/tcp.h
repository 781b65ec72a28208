/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_NET_TCP_H
#define MR_NET_TCP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/wheel.h"
#include "net/flow.h"
#include "net/icmp.h"
#include "net/ipstack.h"
#include "net/rate.h"
#include "net/tcp_cubic.h"

/*
 * TCP of one shard (RFC 9293), the inside of ipstack.h: `segment + now in, segments + events out`.
 * Pure; private to dataplane/net.
 *
 *	tcp_opt.c    segments and their options from bytes, and back
 *	tcp_state.c  connections: allocation, the one state setter, TIME_WAIT, invariants, dump
 *	tcp_in.c     a segment for a connection;  tcp_listen.c: for none, for a listener, for
 *TIME_WAIT tcp_rxq.c    received bytes not yet given to the application tcp_out.c    the next
 *segment of a connection tcp_sndq.c   bytes lent by the application and not yet acknowledged
 *	tcp_cc.c     congestion control (RFC 5681, 6582, 6937);  tcp_cubic.c: its growth
 *	tcp_cookie.c handshakes without memory
 *	tcp_rack.c   loss recovery with SACK (RFC 8985)
 *	tcp_undo.c   recoveries that were not necessary
 *	tcp_pmtu.c   how long segments may be
 *	tcp_timer.c  RTO, persist, delayed ACK, keepalive, lifetimes
 *	tcp_app.c    the application's calls, events
 */

/* ---- sequence numbers: 32 bits that wrap, compared by the sign of the distance ---- */

static inline bool seq_lt(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) < 0;
}
static inline bool seq_le(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) <= 0;
}
static inline uint32_t seq_max(uint32_t a, uint32_t b)
{
	return seq_lt(a, b) ? b : a;
}

/* ---- segments ---- */

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_PSH 0x08
#define TCP_ACK 0x10
#define TCP_URG 0x20
#define TCP_ECE 0x40
#define TCP_CWR 0x80

#define TCP_HDR_LEN 20
#define TCP_TS_LEN 12 /* of the timestamps option, padded */
#define TCP_SACKS_MAX 4
#define TCP_MSS_DEFAULT 536
#define TCP_MSS_MIN 48
#define TCP_WSCALE_MAX 14

struct tcp_opts {
	uint16_t mss;  /* 0: not given */
	int8_t wscale; /* -1: not given; at most 14 */
	bool sack_ok;  /* SACK permitted */
	bool ts;       /* the two below were given */
	uint8_t nsack; /* blocks of sack */
	uint32_t ts_val, ts_ecr;
	struct tcp_range {
		uint32_t from, to; /* to: behind the last octet */
	} sack[TCP_SACKS_MAX];
};

/* A received segment; data is borrowed from its frame. */
struct tcp_seg {
	uint32_t src_ip;
	uint16_t src_port, dst_port;
	uint32_t seq, ack;
	uint16_t wnd; /* as in the header, not scaled */
	uint8_t flags;
	bool ce; /* its packet met congestion */
	struct tcp_opts opts;
	const uint8_t *data;
	uint32_t len;
	void *rxref;
};

/* Octets of sequence space that the segment takes. */
static inline uint32_t tcp_seg_len(const struct tcp_seg *seg)
{
	return seg->len + !!(seg->flags & TCP_SYN) + !!(seg->flags & TCP_FIN);
}

/* True when a timestamp is older than another (RFC 7323 section 5.2). */
static inline bool tcp_ts_older(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) < 0;
}

/* A segment to be sent that no connection keeps: RST, or an ACK for TIME_WAIT. */
struct tcp_ctl {
	uint32_t dst_ip;
	uint16_t src_port, dst_port;
	uint32_t seq, ack;
	uint16_t wnd;
	uint8_t flags;
	bool ts, sack_ok, scaled; /* options that it has */
	uint8_t wscale;		  /* if scaled */
	uint16_t mss;		  /* 0: not given */
	uint32_t ts_val, ts_ecr;
};

/* ---- connections ---- */

enum tcp_state {
	TCPS_CLOSED,
	TCPS_SYN_SENT,
	TCPS_SYN_RCVD,
	TCPS_ESTABLISHED,
	TCPS_FIN_WAIT_1,
	TCPS_FIN_WAIT_2,
	TCPS_CLOSE_WAIT,
	TCPS_CLOSING,
	TCPS_LAST_ACK,
	TCPS_TIME_WAIT, /* the state of a struct tcp_tw; a tcb only passes through it */
	TCPS_COUNT,
};

enum tcp_timer_id {
	TCPT_RTX,  /* retransmission, or persist / SWS override when nothing is in flight */
	TCPT_RACK, /* reordering has lasted too long, or tail loss probe */
	TCPT_DELACK,
	TCPT_KEEP,
	TCPT_LIFE, /* handshake; FIN_WAIT_2 */
	TCPT_COUNT,
};

#define TCP_NIL UINT32_MAX

enum tcp_ev_bits {
	TCP_EV_OPEN = 1u << 0, /* ACCEPTED or CONNECTED */
	TCP_EV_FIN = 1u << 1,
	TCP_EV_CLOSED = 1u << 2,
};

struct tcb {
	/* what every segment touches */
	struct list tx; /* tcp.txlist, or a neighbour's waiters */
	uint32_t snd_una, snd_nxt, snd_max;
	uint32_t snd_wnd, snd_wnd_max, snd_wl1, snd_wl2;
	uint32_t rcv_nxt;
	uint32_t rcv_adv;  /* right edge advertised; never moves back */
	uint32_t rcv_read; /* first byte not yet given to the application */
	uint32_t peer_ip;
	uint16_t peer_port, local_port;
	uint16_t mss;	    /* largest payload we send */
	uint16_t mss_full;  /* without what the path has shown */
	uint16_t pmtu_hint; /* what a router has told, and is not believed yet; 0: nothing */
	uint16_t rcv_mss;   /* largest payload seen: full-sized segments of this peer */
	uint8_t state;	    /* enum tcp_state; only tcp_set_state writes it */
	uint8_t snd_wscale, rcv_wscale;
	uint8_t ev;	    /* enum tcp_ev_bits that are not popped yet */
	uint8_t quick_acks; /* segments that are still acknowledged at once */
	uint8_t dup_owed;   /* duplicate ACKs to be sent */
	bool ack_now : 1;
	bool active_open : 1;
	bool given : 1; /* the application has (or will have) the handle */
	bool paused : 1;
	bool fin_queued : 1; /* ipstack_close was called */
	bool fin_sent : 1;   /* at least once; it is the octet at data end */
	bool peer_fin : 1;   /* the peer's FIN has been seen, at fin_seq */
	bool fin_rcvd : 1;   /* and everything before it: rcv_nxt is beyond it */
	bool rexmit_one : 1; /* send the segment at snd_una again */
	bool probe : 1;	     /* send an empty segment with an old sequence number */
	bool force : 1;	     /* SWS override: send what the window takes */
	bool persist : 1;    /* TCPT_RTX is the persist or override timer */
	bool rtt_timing : 1;
	bool in_recovery : 1;
	bool cwnd_limited : 1;
	bool syn_rexmit : 1;
	bool full_acked : 1; /* a segment of mss bytes, or as much, has been acknowledged */
	bool ts_ok : 1;	     /* RFC 7323 timestamps in every segment */
	bool sack_ok : 1;    /* RFC 2018 */
	bool ecn_ok : 1;     /* RFC 3168 */
	bool ece_out : 1;    /* congestion is told until the peer says that it knows */
	bool cwr_out : 1;    /* we say so */
	bool dsack : 1;	     /* the range of RFC 2883 is to be reported */
	uint32_t fin_seq;
	uint32_t unacked_bytes; /* received since our last ACK */

	/* send queue: slots from sq_una (byte una_off of it is snd_una) to sq_tail */
	uint32_t sq_una, una_off;
	uint32_t sq_nxt, nxt_off; /* where snd_nxt is; TCP_NIL: behind the last byte */
	uint32_t sq_tail;
	uint32_t done_head, done_tail; /* finished cookies to be reported */
	uint32_t nslots;
	uint32_t queued; /* bytes from snd_una on */

	/* receive queue */
	uint32_t rq_head, rq_tail;
	uint32_t rq_ready; /* last chunk of those that are in order; TCP_NIL: none */
	uint32_t rq_chunks;
	uint32_t dir_head, dir_tail; /* bytes still in their frames; always before rq_head */
	uint32_t sack_recent[TCP_SACKS_MAX]; /* where out-of-order bytes came last, latest first */
	uint8_t nsack_recent;
	struct tcp_range dsack_range;

	/* timestamps */
	uint32_t ts_recent, ts_offset;
	uint32_t last_ack_sent;
	uint64_t ts_recent_ns; /* when ts_recent was taken */

	/* segments in flight of a connection with SACK (tcp_rack.c) */
	uint32_t txs_head, txs_tail;
	struct tcp_txlist {
		uint32_t head, tail;
	} txs_sent, txs_lost;			   /* by time of transmission, and of loss */
	uint32_t txs_hint;			   /* where the last search ended */
	struct tcp_range sack_seen[TCP_SACKS_MAX]; /* blocks of the last ACK that had any */
	uint8_t nsack_seen;
	uint32_t sacked, lost; /* bytes */
	uint32_t nsacked;      /* records */
	uint32_t delivered;    /* by the ACK at hand */
	uint64_t rack_xmit_ns; /* of the segment delivered that was sent last */
	uint64_t rack_rtt_ns;
	uint64_t rack_reo_ns; /* when what is missing counts as lost; 0: nothing is */
	uint32_t rack_end, rack_fack;
	uint32_t reo_round, tlp_end;
	uint32_t prr_delivered, prr_out, prr_flight;
	uint8_t reo_mult, reo_persist;
	bool rack_reordered : 1;
	bool cubic : 1;	  /* congestion control is CUBIC */
	bool in_loss : 1; /* after an RTO, until `recover` */
	bool tlp_send : 1, tlp_out : 1, tlp_retx : 1;

	/* congestion control */
	uint32_t cwnd, ssthresh, recover, cc_acked;
	uint32_t dupacks;
	struct tcp_cubic curve;
	struct tcp_hystart hystart;
	struct tcp_undo {
		uint32_t cwnd, ssthresh, w_max; /* before */
		uint32_t from, end;		/* what was in flight */
		uint32_t ts;			/* of what was sent again first */
		uint16_t resent;		/* and not reported as a duplicate */
		bool on, eifel;
	} undo;
	uint32_t ecn_end; /* one reduction until this is acknowledged */
	uint32_t ack_ecr; /* of the segment at hand */

	/* round-trip time, timers */
	uint32_t rtt_seq;
	uint8_t rto_shift;
	uint8_t keep_probes;
	uint8_t persist_shift;
	uint8_t reason; /* enum ipstack_reason, once closed */
	uint64_t rtt_sent_ns;
	uint64_t srtt_ns, rttvar_ns, rto_ns, min_rtt_ns;
	uint64_t deadline_ns[TCPT_COUNT]; /* UINT64_MAX: off */
	struct wheel_timer timer;	  /* armed at or before the first deadline */
	uint64_t progress_ns;		  /* snd_una moved, or the first of new data was sent */
	uint64_t last_rx_ns, last_tx_ns;
	uint64_t challenge_ns;	/* no challenge ACK before */
	uint64_t pmtu_until_ns; /* mss is mss_full again */
	uint64_t oow_ack_ns;	/* no answer to empty out-of-window segments before */

	struct list evnode; /* tcp.evlist */
	void *user;
	uint32_t iss, irs;
	uint32_t gen;
	uint32_t next_free;
	uint64_t bytes_in, bytes_out, retransmits;
};

_Static_assert(sizeof(struct tcb) <= 704, "an idle connection is cheap: eleven cache lines");

struct tcp_tw {
	struct list node; /* tcp.tw_free, or tcp.tw_list with the first to end first */
	uint64_t key;
	uint64_t deadline_ns;
	uint32_t snd_nxt, rcv_nxt;
	uint32_t ts_recent, ts_offset;
	uint16_t wnd;
	bool ts_ok;
};

_Static_assert(sizeof(struct tcp_tw) <= 64, "TIME_WAIT is one cache line");

struct tcp_slot {
	const uint8_t *p;
	uint64_t cookie;
	uint32_t len;
	uint32_t next;
	bool last; /* of an ipstack_send: its cookie is reported when this one is done */
	bool ok;   /* in the done list: acknowledged */
};

/* A segment in flight, FIN included. */
struct tcp_txseg {
	uint32_t seq, end;
	uint32_t slot, off; /* where its bytes begin */
	uint64_t xmit_ns;   /* last time */
	uint32_t prev, next;
	uint32_t list_prev, list_next; /* in the list of its state */
	uint8_t flags;
};

#define TCP_CHUNK_BYTES 2048

struct tcp_chunk {
	uint32_t next;
	uint32_t seq;
	uint32_t len;
};

struct tcp_direct {
	const uint8_t *p;
	void *rxref;
	uint32_t len;
	uint32_t next;
};

#define TCP_LISTENERS_MAX 16
#define TCP_CTL_MAX 16
#define TCP_RANGES_MAX 64
#define TCP_COOKIES_SPENT 4096	/* of the last two minutes; a power of two */
#define TCP_FLOW_TW 0x80000000u /* flow value: index of a tcp_tw */

struct tcp {
	const struct ipstack_config *cfg;
	struct ipstack_metrics *m;
	struct flow flow;
	struct siphash_key isn_key;
	struct tcb *tcbs;
	uint32_t tcb_free, ntcbs, nsyn_rcvd;
	struct tcp_tw *tws;
	struct list tw_free, tw_list;
	uint32_t ntws;
	struct tcp_slot *slots;
	uint32_t slot_free, nslots;
	struct tcp_txseg *txsegs;
	uint32_t txs_free, ntxs_free;
	struct tcp_chunk *chunks;
	uint8_t *chunk_bytes;
	uint32_t chunk_free, nchunks;
	uint32_t chunks_reserved; /* of the free ones: room to copy all direct bytes */
	uint32_t borrowed;	  /* chunks whose bytes the application is looking at */
	struct tcp_direct *directs;
	uint32_t direct_free, ndirects;
	struct list txlist, evlist;
	struct wheel wheel;
	uint16_t listeners[TCP_LISTENERS_MAX];
	uint32_t nlisteners;
	struct rate challenge_rate, reset_rate;
	uint32_t challenge_budget;
	uint64_t cookie_ns;			   /* when the last SYN cookie was sent; 0: never */
	uint64_t cookies_spent[TCP_COOKIES_SPENT]; /* hashes of those that opened a connection */
	uint32_t port_next;
	struct tcp_ctl ctl[TCP_CTL_MAX];
	uint32_t ctl_head, ctl_count;
	uint16_t mss; /* what we announce */
	uint8_t wscale;
};

/* ---- tcp_opt.c ---- */

/*
 * A TCP segment of len bytes from p. Lengths are checked before anything is read, then the checksum
 * (unless checksum_ok), then what no TCP sends. False: counted, to be dropped. Malformed options
 * are counted and ignored, the segment stands.
 */
bool tcp_seg_parse(const uint8_t *p, uint32_t len, uint32_t src_ip, uint32_t dst_ip,
	bool checksum_ok, struct tcp_seg *seg, struct ipstack_metrics *m);
/* Options in n bytes; returns false when something was malformed (what came before it counts). */
bool tcp_opts_parse(const uint8_t *p, uint32_t n, struct tcp_opts *o);
/* Writes what o has; returns the length, a multiple of 4, at most 40. */
uint32_t tcp_opts_build(uint8_t *p, const struct tcp_opts *o);
/* Header and options of a segment that no connection keeps; returns their length. */
uint32_t tcp_ctl_build(uint8_t *p, const struct tcp_ctl *c);
/* Writes the 20 fixed bytes with checksum 0; hdr_len includes options. */
void tcp_hdr_build(uint8_t *p, const struct tcp_ctl *c, uint32_t hdr_len);
/*
 * Fills the checksum field of a header of hdr_len bytes followed by count pieces of payload;
 * pseudo_len is the length for the pseudo-header. offload: the field becomes the sum of the
 * pseudo-header only.
 */
void tcp_hdr_checksum(uint8_t *p, uint32_t hdr_len, uint32_t src_ip, uint32_t dst_ip,
	const struct net_iov *iov, uint32_t count, uint32_t pseudo_len, bool offload);

/* ---- tcp_state.c ---- */

const char *tcp_state_name(enum tcp_state s);
/* The only writer of tcb.state; CHECKs that the transition exists. */
void tcp_set_state(struct tcp *t, struct tcb *c, enum tcp_state to);
/* A connection in CLOSED, entered into the flow table; NULL: none left. */
struct tcb *tcp_tcb_new(struct tcp *t, uint64_t now_ns, uint64_t key);
static inline uint64_t tcp_tcb_key(const struct tcb *c)
{
	return flow_key(c->peer_ip, c->peer_port, c->local_port);
}
ipstack_conn_t tcp_handle(const struct tcp *t, const struct tcb *c);
/* NULL for a stale handle. */
struct tcb *tcp_by_handle(const struct tcp *t, ipstack_conn_t h);
/* RFC 6528: a keyed hash of the addresses, and a clock of 4 us. */
uint32_t tcp_isn(const struct tcp *t, uint64_t now_ns, uint64_t key);
/* Where the timestamps for a peer begin. */
uint32_t tcp_ts_offset(const struct tcp *t, uint64_t key);
/* Our timestamp of now: milliseconds from a number that a stranger does not know. */
static inline uint32_t tcp_ts_now(uint32_t offset, uint64_t now_ns)
{
	return offset + (uint32_t)(now_ns / 1000000);
}
/* Ends a connection: timers, queues, flow entry go; CLOSED is reported if the application knows it.
 */
void tcp_kill(struct tcp *t, struct tcb *c, enum ipstack_reason reason);
/* Returns a killed connection to the pool; its handle becomes stale. */
void tcp_tcb_free(struct tcp *t, struct tcb *c);
/* FIN exchange is over: the connection lives on as a struct tcp_tw, the application hears CLOSED.
 */
void tcp_enter_time_wait(struct tcp *t, struct tcb *c, uint64_t now_ns);
void tcp_tw_remove(struct tcp *t, struct tcp_tw *w);
/* Tells the peer where a connection in TIME_WAIT ended. */
void tcp_tw_ack(struct tcp *t, const struct tcp_tw *w, uint64_t now_ns);
void tcp_tw_expire(struct tcp *t, uint64_t now_ns);
void tcp_tw_restart(struct tcp *t, struct tcp_tw *w, uint64_t now_ns);
/* Invariants of one connection (CHECK). */
void tcp_check(const struct tcp *t, const struct tcb *c);
/* Invariants of all connections and pools. */
void tcp_check_all(const struct tcp *t);
/* One line about c; as snprintf. */
int tcp_dump(const struct tcp *t, const struct tcb *c, char *buf, size_t size);
static inline void tcp_dcheck(const struct tcp *t, const struct tcb *c)
{
#ifdef MR_DEBUG
	tcp_check(t, c);
#else
	(void)t;
	(void)c;
#endif
}

/* ---- tcp_in.c, tcp_listen.c ---- */

/* Takes in a segment; what follows from it is on txlist, evlist and the ctl ring. */
void tcp_input(struct tcp *t, uint64_t now_ns, const struct tcp_seg *seg);
/* Segments for a connection in SYN_SENT. */
void tcp_input_syn_sent(struct tcp *t, struct tcb *c, uint64_t now_ns, const struct tcp_seg *seg);
/* The handshake is complete. */
void tcp_establish(struct tcp *t, struct tcb *c, uint64_t now_ns, const struct tcp_seg *seg);
/* Segments that no tcb takes: LISTEN, CLOSED, TIME_WAIT (index w). */
void tcp_input_listen(
	struct tcp *t, uint64_t now_ns, const struct tcp_seg *seg, uint32_t isn_above, bool reuse);
void tcp_input_closed(struct tcp *t, uint64_t now_ns, const struct tcp_seg *seg);
void tcp_input_time_wait(
	struct tcp *t, uint64_t now_ns, const struct tcp_seg *seg, struct tcp_tw *w);
bool tcp_is_listening(const struct tcp *t, uint16_t port);
/* What a SYN (or SYN-ACK) tells about the peer. */
void tcp_take_syn(struct tcp *t, struct tcb *c, uint64_t now_ns, const struct tcp_seg *seg);
/* An ACK that shows the peer where we are, within RFC 5961's limits. */
void tcp_challenge(struct tcp *t, struct tcb *c, uint64_t now_ns);
/* RFC 9293 section 3.10.7.1: the RST that answers seg, within the rate limit. */
void tcp_reset_for(struct tcp *t, uint64_t now_ns, const struct tcp_seg *seg);
void tcp_ctl_push(struct tcp *t, const struct tcp_ctl *ctl);
bool tcp_ctl_pop(struct tcp *t, struct tcp_ctl *ctl);

/* ---- tcp_cookie.c ---- */

/* Answers a SYN without keeping anything. */
void tcp_cookie_send(struct tcp *t, uint64_t now_ns, const struct tcp_seg *seg);
/* True when a cookie has been sent that may still be good. */
bool tcp_cookies_out(const struct tcp *t, uint64_t now_ns);
/* True when seg acknowledges a cookie that answered the SYN irs, and none that was taken before;
 * syn: what that offered. */
bool tcp_cookie_check(struct tcp *t, uint64_t now_ns, const struct tcp_seg *seg, uint32_t irs,
	struct tcp_opts *syn);
/* Opens the connection that seg's cookie stands for, and takes seg in. False: it has none. */
bool tcp_cookie_open(struct tcp *t, uint64_t now_ns, const struct tcp_seg *seg, uint32_t irs);
/* seg's cookie has opened a connection: a late duplicate of seg is none that could. */
void tcp_cookie_spend(struct tcp *t, const struct tcp_seg *seg, uint32_t irs);

/* ---- tcp_rxq.c ---- */

void tcp_rxq_init(struct tcb *c);
/*
 * Takes in the payload of a segment that lies within the window (data behind seq, trimmed at both
 * ends) and moves rcv_nxt on if it can. Bytes in order stay in their frame where possible, others
 * are copied. Returns the bytes by which rcv_nxt moved.
 */
uint32_t tcp_rxq_add(struct tcp *t, struct tcb *c, const struct tcp_seg *seg, uint32_t seq,
	const uint8_t *data, uint32_t len);
/* True when there are bytes that may be given to the application now. */
static inline bool tcp_rxq_readable(const struct tcb *c)
{
	return !c->paused && (c->dir_head != TCP_NIL || c->rq_ready != TCP_NIL);
}
/* The next bytes for the application; they stay until tcp_rxq_release. */
void tcp_rxq_pop(struct tcp *t, struct tcb *c, struct ipstack_event *ev);
/* Copies bytes that are still in frames, so that the frames may go. */
void tcp_rxq_detach(struct tcp *t, struct tcb *c);
/* The blocks of a SACK option (RFC 2018, 2883), at most max; returns how many. */
uint32_t tcp_rxq_sacks(const struct tcp *t, struct tcb *c, struct tcp_range *sack, uint32_t max);
/* Takes back all bytes popped. */
void tcp_rxq_release(struct tcp *t);
void tcp_rxq_drop(struct tcp *t, struct tcb *c);
void tcp_rxq_check(const struct tcp *t, const struct tcb *c);

/* ---- tcp_sndq.c ---- */

void tcp_sndq_init(struct tcb *c);
/* 0, -EINVAL, -ENOBUFS. */
int tcp_sndq_add(
	struct tcp *t, struct tcb *c, const struct net_iov *iov, uint32_t count, uint64_t cookie);
/* n bytes from snd_una on are acknowledged. snd_una itself is the caller's to move. */
void tcp_sndq_ack(struct tcp *t, struct tcb *c, uint32_t n);
/* Up to len bytes at (slot, off) as pieces; moves both on. Returns the bytes gathered. */
uint32_t tcp_sndq_gather(
	const struct tcp *t, uint32_t *slot, uint32_t *off, uint32_t len, struct ip_out_frame *out);
/* Moves a place in the queue on by n bytes, at most to the end. */
void tcp_sndq_skip(const struct tcp *t, uint32_t *slot, uint32_t *off, uint32_t n);
/* The connection is dead: all cookies go to the done list. */
void tcp_sndq_fail(struct tcp *t, struct tcb *c);
void tcp_sndq_pop_done(struct tcp *t, struct tcb *c, struct ipstack_event *ev);
void tcp_sndq_check(const struct tcp *t, const struct tcb *c);

/* ---- tcp_out.c ---- */

/* There may be something to send: puts c on txlist. */
static inline void tcp_want_output(struct tcp *t, struct tcb *c)
{
	if (!list_linked(&c->tx))
		list_push_back(&t->txlist, &c->tx);
}
/*
 * Builds the next segment of c: TCP header at out->hdr + at, payload slices; out's lengths and
 * flags are the caller's. Returns the header length, 0: nothing to send now.
 */
uint32_t tcp_output(
	struct tcp *t, struct tcb *c, uint64_t now_ns, struct ip_out_frame *out, uint32_t at);
/* The peer cannot be reached at the moment: what there is to send is treated like a loss. */
void tcp_output_blocked(struct tcp *t, struct tcb *c, uint64_t now_ns);
/* Octets sent and not acknowledged. */
static inline uint32_t tcp_flight(const struct tcb *c)
{
	return c->snd_nxt - c->snd_una;
}
/* Octets that are in the network (RFC 6675: pipe). */
static inline uint32_t tcp_pipe(const struct tcb *c)
{
	return tcp_flight(c) - c->sacked - c->lost;
}
/* Sequence number behind the last byte queued, where a FIN goes. */
static inline uint32_t tcp_data_end(const struct tcb *c)
{
	return c->snd_una + c->queued;
}
/* True when our FIN has been acknowledged. */
static inline bool tcp_fin_acked(const struct tcb *c)
{
	return c->fin_sent && c->snd_una == c->snd_max;
}
/* Tells the peer that the window has opened, if it has by enough (SWS avoidance). */
void tcp_window_update(struct tcp *t, struct tcb *c);
/* Initial sending state: window scale and MSS that we offer. */
void tcp_send_init(struct tcp *t, struct tcb *c, uint32_t isn);

/* ---- tcp_cc.c ---- */

void tcp_cc_init(struct tcb *c);
/* acked bytes are newly acknowledged (snd_una has moved already; flight: before that). */
void tcp_cc_ack(struct tcp *t, struct tcb *c, uint64_t now_ns, uint32_t acked, uint32_t flight);
void tcp_cc_dupack(struct tcp *t, struct tcb *c);
void tcp_cc_rto(struct tcb *c);
/* Sending starts again after a pause. */
void tcp_cc_idle(struct tcb *c, uint64_t now_ns);
/* The window that congestion control allows now, limited transmit included. */
uint32_t tcp_cc_window(const struct tcb *c);

/* A loss has been found: ssthresh, and proportional rate reduction (RFC 6937) from here on. */
void tcp_cc_recovery(struct tcb *c, uint32_t pipe);
/* What an ACK in recovery lets out; delivered: bytes that it newly acknowledges or SACKs. */
void tcp_cc_prr(struct tcb *c, uint32_t delivered, uint32_t pipe);
void tcp_cc_recovered(struct tcb *c);
/* The path is congested, but nothing was lost. */
void tcp_cc_congested(struct tcp *t, struct tcb *c);
/* A loss that a tail loss probe has repaired. */
void tcp_cc_loss_repaired(struct tcb *c);

/* ---- tcp_undo.c ---- */

/* The window is about to be reduced because of a loss. */
void tcp_undo_begin(struct tcb *c);
/* A segment that counted as lost has been sent again. */
void tcp_undo_resent(struct tcb *c, uint64_t now_ns);
/* New data has been acknowledged; the peer has received b twice. */
void tcp_undo_ack(struct tcp *t, struct tcb *c);
void tcp_undo_duplicate(struct tcp *t, struct tcb *c, const struct tcp_range *b);

/* ---- tcp_pmtu.c ---- */

/* A router, or whoever says that it is one, tells about a segment of ours. */
void tcp_icmp_error(struct tcp *t, uint64_t now_ns, const struct icmp_error *e);
/* The retransmission timer has fired; what is in flight counts as lost already. */
void tcp_pmtu_timeout(struct tcp *t, struct tcb *c, uint64_t now_ns);
/* Long segments are tried again after a time; for connections whose mss is not mss_full. */
void tcp_pmtu_age(struct tcb *c, uint64_t now_ns);

/* ---- tcp_rack.c: all for connections with sack_ok ---- */

void tcp_rack_init(struct tcb *c);
void tcp_rack_drop(struct tcp *t, struct tcb *c);
/* [seq, end) has been sent for the first time; its bytes are at (slot, off). */
void tcp_rack_sent(struct tcp *t, struct tcb *c, uint64_t now_ns, uint32_t seq, uint32_t end,
	uint32_t slot, uint32_t off);
/*
 * An ACK in three steps: its SACK blocks; what lies before snd_una (the send queue has moved);
 * what follows from both.
 */
void tcp_rack_sacks(struct tcp *t, struct tcb *c, uint64_t now_ns, const struct tcp_seg *seg);
void tcp_rack_acked(struct tcp *t, struct tcb *c, uint64_t now_ns);
void tcp_rack_ack(struct tcp *t, struct tcb *c, uint64_t now_ns, uint32_t acked, uint32_t flight);
/* Everything that is not SACKed is lost. */
void tcp_rack_rto(struct tcp *t, struct tcb *c);
/* Everything that is not SACKed and longer than a segment may be now is lost. */
void tcp_rack_too_long(struct tcp *t, struct tcb *c);
/* Nothing is lost after all. */
void tcp_rack_found(struct tcp *t, struct tcb *c);
void tcp_rack_arm(struct tcp *t, struct tcb *c, uint64_t now_ns);
void tcp_rack_timer(struct tcp *t, struct tcb *c, uint64_t now_ns);
/* The tail loss probe has left; again: it was sent before. */
void tcp_rack_probed(struct tcp *t, struct tcb *c, uint64_t now_ns, bool again);
/* The first record that is lost and may be sent, one segment long; NULL: none. */
struct tcp_txseg *tcp_rack_next_lost(struct tcp *t, struct tcb *c);
/* The last record in flight, for the probe; NULL: it needs none. */
struct tcp_txseg *tcp_rack_tail(struct tcp *t, struct tcb *c);
/* The first octets of r have been sent again. */
void tcp_rack_resent(
	struct tcp *t, struct tcb *c, struct tcp_txseg *r, uint32_t octets, uint64_t now_ns);
void tcp_rack_check(const struct tcp *t, const struct tcb *c);

/* ---- tcp_timer.c ---- */

void tcp_timer_init(struct tcp *t, struct tcb *c, uint64_t now_ns);
static inline bool tcp_timer_is_on(const struct tcb *c, enum tcp_timer_id id)
{
	return c->deadline_ns[id] != UINT64_MAX;
}
void tcp_timer_set(struct tcp *t, struct tcb *c, enum tcp_timer_id id, uint64_t deadline_ns);
static inline void tcp_timer_clear(struct tcb *c, enum tcp_timer_id id)
{
	c->deadline_ns[id] =
		UINT64_MAX; /* the wheel's timer fires for nothing and is set again then */
}
void tcp_timer_stop_all(struct tcp *t, struct tcb *c);
/* Runs what is due. */
void tcp_timers(struct tcp *t, uint64_t now_ns);
uint64_t tcp_timers_next_ns(const struct tcp *t);
void tcp_rtt_sample(struct tcp *t, struct tcb *c, uint64_t rtt_ns);
/* RTO with its back-off. */
uint64_t tcp_rto_now(const struct tcp *t, const struct tcb *c);
/* (Re)starts the retransmission timer. */
void tcp_rtx_start(struct tcp *t, struct tcb *c, uint64_t now_ns);
/* Nothing in flight and the window does not let us send: probe it later. */
void tcp_persist_start(struct tcp *t, struct tcb *c, uint64_t now_ns);

/* ---- tcp_app.c ---- */

/* Memory of one stack's TCP, in the order given by tcp_memory. */
struct tcp_memory {
	struct flow_slot *flow;
	uint32_t nflow;
	struct tcb *tcbs;
	struct tcp_tw *tws;
	struct tcp_slot *slots;
	struct tcp_txseg *txsegs;
	uint32_t ntxsegs;
	struct tcp_chunk *chunks;
	uint8_t *chunk_bytes;
	struct tcp_direct *directs;
};
void tcp_init(struct tcp *t, const struct ipstack_config *cfg, struct ipstack_metrics *m,
	const struct tcp_memory *mem, uint64_t now_ns);
int tcp_listen(struct tcp *t, uint16_t port);
void tcp_unlisten(struct tcp *t, uint16_t port);
int tcp_connect(struct tcp *t, uint64_t now_ns, uint32_t ip, uint16_t port, uint16_t local_port,
	ipstack_conn_t *conn);
int tcp_send(struct tcp *t, uint64_t now_ns, ipstack_conn_t conn, const struct net_iov *iov,
	uint32_t count, uint64_t cookie);
void tcp_pause(struct tcp *t, ipstack_conn_t conn, bool on);
void tcp_close(struct tcp *t, uint64_t now_ns, ipstack_conn_t conn);
void tcp_abort(struct tcp *t, ipstack_conn_t conn);
bool tcp_event_pop(struct tcp *t, struct ipstack_event *ev);
void tcp_release(struct tcp *t);
/* There is something to report about c. */
static inline void tcp_want_event(struct tcp *t, struct tcb *c)
{
	if (!list_linked(&c->evnode) && c->given)
		list_push_back(&t->evlist, &c->evnode);
}

#endif
