/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_NET_NET_DPDK_KIT_H
#define TESTS_UNIT_NET_NET_DPDK_KIT_H

/*
 * The dpdk transport on a port inside this process (ring:), two shards in one thread: the test puts
 * frames into one rte_ring and finds the answers in another. EAL starts once per process, so all
 * tests of a program share it.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h" /* before DPDK's headers, which have an NS_PER_S too */
#include "net/net.h"

#include <rte_config.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_ring.h>

#define SHARDS 2
#define LOG_BYTES (1u << 20)
#define FRAME_MAX 1600
#define PORT 9092
#define TURNS 50

static const uint8_t peer_mac[6] = {2, 0, 0, 0, 0, 9};
static const uint8_t our_ip[4] = {10, 9, 0, 2};

struct rig {
	struct net_dpdk *d;
	struct net *net[SHARDS];
	struct rte_ring *in, *out;
	struct rte_mempool *pool;
	uint8_t our_mac[6], peer_ip[4];
	uint64_t now;
	struct net_event ev[64]; /* of the last turns */
	uint32_t shard_of_ev[64];
	uint32_t ev_count;
	uint8_t data[64]; /* of the last NET_EV_DATA */
	uint32_t data_len;
	uint16_t next_port;
};

/* A segment of the peer's TCP. */
struct seg {
	uint16_t port;
	uint32_t seq, ack;
	uint8_t flags;
	const char *text;
};

#define FIN 1
#define SYN 2
#define RST 4
#define PSH 8
#define ACK 16

/* ---- frames ---- */

static inline void inject(struct rig *r, const uint8_t *frame, uint32_t len)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(r->pool);
	assert_non_null(m);
	memcpy(rte_pktmbuf_append(m, (uint16_t)len), frame, len);
	assert_int_equal(rte_ring_enqueue(r->in, m), 0);
}

/* The next frame that was sent into buf; its length, 0: none. */
static inline uint32_t take(struct rig *r, uint8_t *buf)
{
	void *p;
	if (rte_ring_dequeue(r->out, &p) != 0)
		return 0;
	struct rte_mbuf *m = p;
	uint32_t len = rte_pktmbuf_data_len(m);
	assert_int_equal(m->nb_segs, 1);
	assert_true(len <= FRAME_MAX);
	memcpy(buf, rte_pktmbuf_mtod(m, void *), len);
	rte_pktmbuf_free(m);
	return len;
}

static inline void drop_sent(struct rig *r)
{
	void *m;
	while (rte_ring_dequeue(r->out, &m) == 0)
		rte_pktmbuf_free(m);
}

static inline uint16_t sum(const uint8_t *p, uint32_t len, uint32_t start)
{
	for (uint32_t i = 0; i < len; i++)
		start += i % 2 ? p[i] : (uint32_t)p[i] << 8;
	while (start >> 16)
		start = (start & 0xffff) + (start >> 16);
	return (uint16_t)~start;
}

static inline void put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v & 0xffff);
}

static inline uint32_t get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Ethernet and IPv4 headers in front of len bytes of a protocol; the frame's length. */
static inline uint32_t ip_frame(struct rig *r, uint8_t *f, uint8_t protocol, uint32_t len)
{
	memcpy(f, r->our_mac, 6);
	memcpy(f + 6, peer_mac, 6);
	put16(f + 12, 0x0800);
	uint8_t *ip = f + 14;
	memset(ip, 0, 20);
	ip[0] = 0x45;
	put16(ip + 2, 20 + len);
	ip[8] = 64;
	ip[9] = protocol;
	memcpy(ip + 12, r->peer_ip, 4);
	memcpy(ip + 16, our_ip, 4);
	put16(ip + 10, sum(ip, 20, 0));
	return 14 + 20 + len;
}

static inline void inject_seg(struct rig *r, const struct seg *s)
{
	uint8_t f[FRAME_MAX];
	uint8_t *t = f + 34;
	uint32_t text = s->text ? (uint32_t)strlen(s->text) : 0, pseudo = 6 + 20 + text;
	memset(t, 0, 20);
	put16(t, s->port);
	put16(t + 2, PORT);
	put32(t + 4, s->seq);
	put32(t + 8, s->ack);
	t[12] = 5 << 4;
	t[13] = s->flags;
	put16(t + 14, 60000);
	memcpy(t + 20, s->text ? s->text : "", text);
	for (uint32_t i = 0; i < 4; i += 2)
		pseudo += (uint32_t)(r->peer_ip[i] << 8 | r->peer_ip[i + 1]) +
			  (uint32_t)(our_ip[i] << 8 | our_ip[i + 1]);
	put16(t + 16, sum(t, 20 + text, pseudo));
	inject(r, f, ip_frame(r, f, 6, 20 + text));
}

static inline void inject_arp(struct rig *r, uint32_t op, const uint8_t target_mac[6])
{
	uint8_t f[60] = {0};
	memset(f, 0xff, 6);
	memcpy(f + 6, peer_mac, 6);
	put16(f + 12, 0x0806);
	put16(f + 14, 1);
	put16(f + 16, 0x0800);
	f[18] = 6;
	f[19] = 4;
	put16(f + 20, op);
	memcpy(f + 22, peer_mac, 6);
	memcpy(f + 28, r->peer_ip, 4);
	memcpy(f + 32, target_mac, 6);
	memcpy(f + 38, our_ip, 4);
	inject(r, f, sizeof(f));
}

/* ---- turns ---- */

static inline void turn_shard(struct rig *r, uint32_t shard)
{
	struct net_event ev[8];
	uint32_t n = net_poll(r->net[shard], r->now, ev, 8);
	for (uint32_t i = 0; i < n; i++) {
		assert_true(r->ev_count < 64);
		r->shard_of_ev[r->ev_count] = shard;
		r->ev[r->ev_count++] = ev[i];
		if (ev[i].kind == NET_EV_DATA) {
			assert_true(ev[i].data.len <= sizeof(r->data));
			memcpy(r->data, ev[i].data.p, ev[i].data.len);
			r->data_len = ev[i].data.len;
		}
	}
	net_flush(r->net[shard], r->now);
}

/* Enough turns for a frame to get anywhere; 100 us each. */
static inline void turns(struct rig *r)
{
	r->ev_count = 0;
	for (uint32_t i = 0; i < TURNS; i++) {
		r->now += 100 * NS_PER_US;
		for (uint32_t s = 0; s < SHARDS; s++)
			turn_shard(r, s);
	}
}

static inline const struct net_event *event(struct rig *r, enum net_event_kind kind)
{
	for (uint32_t i = 0; i < r->ev_count; i++)
		if (r->ev[i].kind == kind)
			return &r->ev[i];
	fail_msg("no event of kind %d", (int)kind);
	return NULL;
}

/* The next TCP segment to the peer's port, without options looked at. */
static inline bool take_seg(struct rig *r, struct seg *s, char *text, uint32_t *text_len)
{
	uint8_t f[FRAME_MAX];
	uint32_t len;
	while ((len = take(r, f)) != 0) {
		if (f[12] != 0x08 || f[13] != 0 || f[23] != 6)
			continue;
		const uint8_t *t = f + 34;
		uint32_t head = (uint32_t)(t[12] >> 4) * 4;
		*s = (struct seg){
			.port = (uint16_t)(t[2] << 8 | t[3]),
			.seq = get32(t + 4),
			.ack = get32(t + 8),
			.flags = t[13],
		};
		*text_len = (uint32_t)(f[16] << 8 | f[17]) - 20 - head;
		memcpy(text, t + head, *text_len);
		return true;
	}
	return false;
}

/* A connection from a port of its own; seq and ack of s are then the next ones of the peer. */
static inline const struct net_event *handshake(struct rig *r, struct seg *s)
{
	char text[FRAME_MAX];
	uint32_t len;
	struct seg answer = {0};
	drop_sent(r);
	*s = (struct seg){.port = r->next_port++, .seq = 1000, .flags = SYN};
	inject_seg(r, s);
	turns(r);
	assert_true(take_seg(r, &answer, text, &len));
	assert_int_equal(answer.flags, SYN | ACK);
	assert_int_equal(answer.port, s->port);
	s->seq++;
	s->ack = answer.seq + 1;
	s->flags = ACK;
	inject_seg(r, s);
	turns(r);
	return event(r, NET_EV_ACCEPTED);
}

static inline void reset(struct rig *r, struct seg *s)
{
	s->flags = RST;
	s->text = NULL;
	inject_seg(r, s);
	turns(r);
	event(r, NET_EV_CLOSED);
	drop_sent(r);
}

/* ---- group ---- */

static inline int open_in(void **state, uint16_t vlan)
{
	static struct rig r;
	char err[512] = "";
	struct net_dpdk_config cfg = {
		.port = "ring:wire",
		.address = "10.9.0.2/24",
		.hugepages = "off",
		.shards = SHARDS,
		.log_bytes = LOG_BYTES,
		.max_conns = 64,
		.listen_port = PORT,
		.vlan = vlan,
	};
	r.d = net_dpdk_open(&cfg, err, sizeof(err));
	if (!r.d) {
		print_error("%s\n", err);
		return -1;
	}
	for (uint32_t i = 0; i < SHARDS; i++) {
		r.net[i] = net_dpdk_shard(r.d, i, err, sizeof(err));
		if (!r.net[i])
			return -1;
	}
	r.in = rte_ring_lookup("wire_in");
	r.out = rte_ring_lookup("wire_out");
	r.pool = rte_pktmbuf_pool_create(
		"test", 4095, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	r.now = clock_mono_ns();
	r.next_port = 40000;
	memcpy(r.peer_ip, (const uint8_t[]){10, 9, 0, 9}, 4);
	*state = &r;
	return r.in && r.out && r.pool ? 0 : -1;
}

static inline int open_all(void **state)
{
	return open_in(state, 0);
}

static inline int close_all(void **state)
{
	struct rig *r = *state;
	drop_sent(r);
	int leaked = (int)rte_mempool_in_use_count(r->pool);
	for (uint32_t i = 0; i < SHARDS; i++)
		net_fini(r->net[i]);
	drop_sent(r);
	net_dpdk_close(r->d);
	return leaked;
}

/* A counter of net_dpdk_metrics, of all shards. */
static inline uint64_t port_sum(const struct rig *r, size_t offset)
{
	uint64_t total = 0;
	for (uint32_t i = 0; i < SHARDS; i++) {
		const char *m = (const char *)net_dpdk_metrics_of(r->net[i]);
		total += metric_get((const metric_t *)(const void *)(m + offset));
	}
	return total;
}
#define PORT_SUM(r, name) port_sum(r, offsetof(struct net_dpdk_metrics, name))

#endif
