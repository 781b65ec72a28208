/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_NET_TCP_KIT_H
#define TESTS_UNIT_NET_TCP_KIT_H

/*
 * A stack and a peer that is played by the test: segments in by hand, segments and events out in
 * arrays. Sequence numbers of the tests are relative: 0 is the SYN of the side that sent it.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "net/arp.h"
#include "net/ip.h"
#include "net/tcp.h"

#define KIT_US 0x0a000002u
#define KIT_PEER 0x0a000001u
#define KIT_PORT 9092
#define KIT_PEER_PORT 50000
#define KIT_MAX 256

struct kit_seg {
	uint8_t flags;
	uint32_t seq, ack; /* relative; ack only with ACK */
	uint32_t raw_seq, raw_ack;
	uint16_t wnd;
	uint32_t len;
	struct tcp_opts opts;
	uint16_t src_port, dst_port;
	uint8_t data[2048]; /* the first bytes */
};

struct kit {
	struct ipstack_config cfg;
	struct ipstack *s;
	uint64_t now;
	uint16_t peer_port;
	uint32_t peer_iss, our_iss;
	uint32_t peer_wnd; /* as in the header */
	int peer_wscale;   /* offered in the SYN; -1: none */
	uint16_t peer_mss;
	bool arp_asked;
	bool mute; /* received segments are not taken out by kit_turn */
	struct kit_seg out[KIT_MAX];
	uint32_t nout;
	uint32_t other_frames;		  /* not TCP */
	struct ipstack_event ev[KIT_MAX]; /* without DATA */
	uint32_t nev;
	uint8_t got[1 << 18]; /* all DATA */
	uint32_t ngot, ndata;
	ipstack_conn_t conn;
};

static inline const struct ipstack_metrics *kit_m(const struct kit *k)
{
	return ipstack_metrics_of(k->s);
}

static inline void kit_parse_out(struct kit *k, const struct ip_out_frame *o)
{
	struct ipstack_metrics m = {0};
	uint8_t flat[16384];
	struct ip_pkt ip;
	struct tcp_seg seg;
	uint32_t len = o->hdr_len;
	memcpy(flat, o->hdr, len);
	for (uint32_t i = 0; i < o->nslices; i++) {
		memcpy(flat + len, o->slice[i].p, o->slice[i].len);
		len += o->slice[i].len;
	}
	if (be16_get(flat + 12) != ETH_TYPE_IPV4 || flat[23] != IP_PROTO_TCP) {
		k->other_frames++;
		k->arp_asked |= be16_get(flat + 12) == ETH_TYPE_ARP && flat[21] == 1;
		return;
	}
	struct ipstack_config peer = {.ip = KIT_PEER, .prefix_len = 24};
	assert_true(ip_parse(flat + 14, len - 14, &peer, false, &ip, &m));
	assert_true(tcp_seg_parse(ip.p, ip.len, ip.src, ip.dst, false, &seg, &m));
	assert_true(k->nout < KIT_MAX);
	struct kit_seg *s = &k->out[k->nout++];
	if (seg.flags & TCP_SYN)
		k->our_iss = seg.seq;
	*s = (struct kit_seg){.flags = seg.flags,
		.seq = seg.seq - k->our_iss,
		.ack = seg.ack - k->peer_iss,
		.raw_seq = seg.seq,
		.raw_ack = seg.ack,
		.wnd = seg.wnd,
		.len = seg.len,
		.opts = seg.opts,
		.src_port = seg.src_port,
		.dst_port = seg.dst_port};
	memcpy(s->data, seg.data, min_of(seg.len, (uint32_t)sizeof(s->data)));
}

/* The peer asks for our address, and so tells its own. */
static inline void kit_arp_from_peer(struct kit *k)
{
	uint8_t f[ARP_FRAME_LEN] = {
		2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1};
	be32_put(f + 28, KIT_PEER);
	be32_put(f + 38, KIT_US);
	ipstack_input(k->s, k->now, f, sizeof(f), false, false, NULL);
}

/* What a shell does after input: timers, events, release, output. */
static inline void kit_turn(struct kit *k)
{
	struct ipstack_event ev;
	struct ip_out_frame out[4];
	uint32_t n;
	ipstack_timers(k->s, k->now);
	ipstack_check(k->s);
	while (ipstack_event_pop(k->s, &ev)) {
		if (ev.kind == IPSTACK_EV_DATA) {
			assert_true(k->ngot + ev.data.len <= sizeof(k->got));
			memcpy(k->got + k->ngot, ev.data.p, ev.data.len);
			k->ngot += ev.data.len;
			k->ndata++;
			continue;
		}
		if (ev.kind == IPSTACK_EV_ACCEPTED || ev.kind == IPSTACK_EV_CONNECTED)
			k->conn = ev.conn;
		assert_true(k->nev < KIT_MAX);
		k->ev[k->nev++] = ev;
	}
	ipstack_release(k->s);
	ipstack_check(k->s);
	while (!k->mute && (n = ipstack_tx_pop(k->s, k->now, out, 4)) > 0) {
		for (uint32_t i = 0; i < n; i++)
			kit_parse_out(k, &out[i]);
		if (k->arp_asked)
			kit_arp_from_peer(k);
		k->arp_asked = false;
	}
	ipstack_check(k->s);
}

static inline void kit_clear(struct kit *k)
{
	k->nout = k->nev = k->ngot = k->ndata = k->other_frames = 0;
}

/* Lets time pass, at most to the given end, waking up for every timer. */
static inline void kit_run_for(struct kit *k, uint64_t ns)
{
	uint64_t end = k->now + ns;
	for (;;) {
		uint64_t next = ipstack_next_timer_ns(k->s);
		if (next > end)
			break;
		k->now = max_of(k->now, next);
		kit_turn(k);
	}
	k->now = end;
	kit_turn(k);
}

/* Builds a frame from the peer with right checksums; returns its length. */
static inline uint32_t kit_frame(struct kit *k, uint8_t *f, uint8_t flags, uint32_t raw_seq,
	uint32_t raw_ack, uint16_t wnd, const uint8_t *opts, uint32_t nopts, const void *data,
	uint32_t len)
{
	eth_build(
		f, (const uint8_t *)"\2\0\0\0\0\2", (const uint8_t *)"\2\0\0\0\0\1", ETH_TYPE_IPV4);
	uint32_t hdr = TCP_HDR_LEN + nopts;
	ip_build(f + 14, KIT_PEER, KIT_US, IP_PROTO_TCP, hdr + len, false);
	struct tcp_ctl c = {.src_port = k->peer_port,
		.dst_port = KIT_PORT,
		.seq = raw_seq,
		.ack = raw_ack,
		.wnd = wnd,
		.flags = flags};
	if (nopts)
		memcpy(f + 54, opts, nopts);
	if (len)
		memcpy(f + 34 + hdr, data, len);
	tcp_hdr_build(f + 34, &c, hdr);
	struct net_iov iov = {.p = f + 34 + hdr, .len = len};
	tcp_hdr_checksum(f + 34, hdr, KIT_PEER, KIT_US, &iov, 1, hdr + len, false);
	return 34 + hdr + len;
}

/* A segment from the peer, without a turn after it. */
static inline void kit_put(struct kit *k, uint8_t flags, uint32_t seq, uint32_t ack, uint32_t wnd,
	const void *data, uint32_t len)
{
	static uint8_t frames[64][9100];
	static uint32_t which;
	uint8_t *f = frames[which++ % 64], opts[8];
	uint32_t nopts = 0;
	if (flags & TCP_SYN)
		nopts = tcp_opts_build(opts,
			&(struct tcp_opts){.mss = k->peer_mss, .wscale = (int8_t)k->peer_wscale});
	uint32_t n = kit_frame(k, f, flags, seq + k->peer_iss, ack + k->our_iss, (uint16_t)wnd,
		opts, nopts, data, len);
	ipstack_input(k->s, k->now, f, n, false, false, f);
}

/* A segment from the peer and a turn. */
static inline void kit_seg(
	struct kit *k, uint8_t flags, uint32_t seq, uint32_t ack, const void *data, uint32_t len)
{
	kit_put(k, flags, seq, ack, k->peer_wnd, data, len);
	kit_turn(k);
}

static inline void kit_config(struct kit *k)
{
	memset(k, 0, sizeof(*k));
	ipstack_config_defaults(&k->cfg);
	memcpy(k->cfg.mac, "\2\0\0\0\0\2", 6);
	k->cfg.ip = KIT_US;
	k->cfg.prefix_len = 24;
	k->cfg.max_conns = 8;
	k->cfg.max_time_wait = 4;
	k->cfg.syn_backlog = 4;
	k->cfg.rx_window_bytes = 65535;
	k->cfg.rx_chunks = 128;
	k->cfg.rx_chunks_per_conn = 64;
	k->cfg.send_slots = 128;
	k->cfg.send_slots_per_conn = 64;
	k->cfg.keepalive_idle_ns = 0;
	k->now = 10 * NS_PER_S;
	k->peer_iss = 1000000;
	k->peer_port = KIT_PEER_PORT;
	k->peer_wnd = 65535;
	k->peer_mss = 1460;
	k->peer_wscale = -1;
}

/* Starts the stack of k->cfg; the peer is known to ARP. */
static inline void kit_start(struct kit *k)
{
	k->s = ipstack_create(&k->cfg, k->now);
	assert_non_null(k->s);
	assert_int_equal(ipstack_listen(k->s, KIT_PORT), 0);
	kit_arp_from_peer(k);
	kit_turn(k);
	kit_clear(k);
}

/* SYN, SYN-ACK, ACK. */
static inline void kit_handshake(struct kit *k)
{
	kit_seg(k, TCP_SYN, 0, 0, NULL, 0);
	assert_int_equal(k->nout, 1);
	assert_int_equal(k->out[0].flags, TCP_SYN | TCP_ACK);
	kit_seg(k, TCP_ACK, 1, 1, NULL, 0);
	assert_int_equal(k->nev, 1);
	assert_int_equal(k->ev[0].kind, IPSTACK_EV_ACCEPTED);
	kit_clear(k);
}

/* A connection as a test wants it: no ACK is "quick" any more. */
static inline void kit_open(struct kit *k)
{
	kit_config(k);
	kit_start(k);
	kit_handshake(k);
}

/* Uses up the quick ACKs by n bytes in order; the stream starts at 1. Returns the next sequence. */
static inline uint32_t kit_warm_up(struct kit *k)
{
	uint8_t b[1460] = {0};
	uint32_t seq = 1;
	for (int i = 0; i < 20; i++, seq += sizeof(b))
		kit_seg(k, TCP_ACK, seq, 1, b, sizeof(b));
	kit_run_for(k, NS_PER_S);
	kit_clear(k);
	return seq;
}

static inline void kit_send(struct kit *k, const void *p, uint32_t len, uint64_t cookie)
{
	struct net_iov iov = {.p = p, .len = len};
	assert_int_equal(ipstack_send(k->s, k->now, k->conn, &iov, 1, cookie), 0);
	kit_turn(k);
}

static inline const char *kit_state(const struct kit *k)
{
	struct ipstack_conn_info info;
	return ipstack_conn_info_get(k->s, k->conn, &info) == 0 ? info.state : "gone";
}

static inline uint32_t kit_count(const struct kit *k, enum ipstack_event_kind kind)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < k->nev; i++)
		n += k->ev[i].kind == kind;
	return n;
}

static inline void kit_stop(struct kit *k)
{
	ipstack_destroy(k->s);
}

/* The one segment that has come out has these flags, sequence, acknowledgement, length. */
#define KIT_EXPECT(k, f, s, a, l)                                                                  \
	do {                                                                                       \
		assert_int_equal((k)->nout, 1);                                                    \
		assert_int_equal((k)->out[0].flags & ~TCP_PSH, (f));                               \
		assert_int_equal((k)->out[0].seq, (s));                                            \
		assert_int_equal((k)->out[0].ack, (a));                                            \
		assert_int_equal((k)->out[0].len, (l));                                            \
	} while (0)

#endif
