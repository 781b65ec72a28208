/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dpdk transport on a port inside this process (ring:), two shards in one thread: the test puts
 * frames into one rte_ring and finds the answers in another. EAL starts once per process, so all
 * tests share it.
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
#include <rte_mbuf.h>
#include <rte_ring.h>

#define SHARDS 2
#define LOG_BYTES (1u << 20)
#define FRAME_MAX 1600
#define PORT 9092
#define TURNS 50

static const uint8_t peer_mac[6] = {2, 0, 0, 0, 0, 9};
static const uint8_t peer_ip[4] = {10, 9, 0, 9}, our_ip[4] = {10, 9, 0, 2};

struct rig {
	struct net_dpdk *d;
	struct net *net[SHARDS];
	struct rte_ring *in, *out;
	struct rte_mempool *pool;
	uint8_t our_mac[6];
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

static void inject(struct rig *r, const uint8_t *frame, uint32_t len)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(r->pool);
	assert_non_null(m);
	memcpy(rte_pktmbuf_append(m, (uint16_t)len), frame, len);
	assert_int_equal(rte_ring_enqueue(r->in, m), 0);
}

/* The next frame that was sent into buf; its length, 0: none. */
static uint32_t take(struct rig *r, uint8_t *buf)
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

static void drop_sent(struct rig *r)
{
	uint8_t buf[FRAME_MAX];
	while (take(r, buf))
		;
}

static uint16_t sum(const uint8_t *p, uint32_t len, uint32_t start)
{
	for (uint32_t i = 0; i < len; i++)
		start += i % 2 ? p[i] : (uint32_t)p[i] << 8;
	while (start >> 16)
		start = (start & 0xffff) + (start >> 16);
	return (uint16_t)~start;
}

static void put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v & 0xffff);
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Ethernet and IPv4 headers in front of len bytes of a protocol; the frame's length. */
static uint32_t ip_frame(struct rig *r, uint8_t *f, uint8_t protocol, uint32_t len)
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
	memcpy(ip + 12, peer_ip, 4);
	memcpy(ip + 16, our_ip, 4);
	put16(ip + 10, sum(ip, 20, 0));
	return 14 + 20 + len;
}

static void inject_seg(struct rig *r, const struct seg *s)
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
		pseudo += (uint32_t)(peer_ip[i] << 8 | peer_ip[i + 1]) +
			  (uint32_t)(our_ip[i] << 8 | our_ip[i + 1]);
	put16(t + 16, sum(t, 20 + text, pseudo));
	inject(r, f, ip_frame(r, f, 6, 20 + text));
}

static void inject_arp(struct rig *r, uint32_t op, const uint8_t target_mac[6])
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
	memcpy(f + 28, peer_ip, 4);
	memcpy(f + 32, target_mac, 6);
	memcpy(f + 38, our_ip, 4);
	inject(r, f, sizeof(f));
}

/* ---- turns ---- */

static void turn_shard(struct rig *r, uint32_t shard)
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
static void turns(struct rig *r)
{
	r->ev_count = 0;
	for (uint32_t i = 0; i < TURNS; i++) {
		r->now += 100 * NS_PER_US;
		for (uint32_t s = 0; s < SHARDS; s++)
			turn_shard(r, s);
	}
}

static const struct net_event *event(struct rig *r, enum net_event_kind kind)
{
	for (uint32_t i = 0; i < r->ev_count; i++)
		if (r->ev[i].kind == kind)
			return &r->ev[i];
	fail_msg("no event of kind %d", (int)kind);
	return NULL;
}

/* The next TCP segment to the peer's port, without options looked at. */
static bool take_seg(struct rig *r, struct seg *s, char *text, uint32_t *text_len)
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
static const struct net_event *handshake(struct rig *r, struct seg *s)
{
	char text[FRAME_MAX];
	uint32_t len;
	struct seg answer;
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

static void reset(struct rig *r, struct seg *s)
{
	s->flags = RST;
	s->text = NULL;
	inject_seg(r, s);
	turns(r);
	event(r, NET_EV_CLOSED);
	drop_sent(r);
}

/* ---- group ---- */

static int open_all(void **state)
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
		"test", 1023, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	r.now = clock_mono_ns();
	r.next_port = 40000;
	*state = &r;
	return r.in && r.out && r.pool ? 0 : -1;
}

static int close_all(void **state)
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

/* ---- tests ---- */

static void test_the_log_memory_is_aligned_and_ours(void **state)
{
	struct rig *r = *state;
	uint8_t *p = net_dpdk_log_memory(r->d);
	assert_non_null(p);
	assert_int_equal((uintptr_t)p % 4096, 0);
	memset(p, 0xa5, LOG_BYTES);
}

static void test_at_the_start_our_address_is_announced(void **state)
{
	struct rig *r = *state;
	uint8_t f[FRAME_MAX];
	turns(r);
	assert_true(take(r, f) >= 42);
	assert_int_equal(f[12] << 8 | f[13], 0x0806);
	assert_memory_equal(f + 28, our_ip, 4);
	assert_memory_equal(f + 38, our_ip, 4);
	memcpy(r->our_mac, f + 6, 6);
	drop_sent(r);
}

static void test_an_arp_request_is_answered_once_though_there_are_two_shards(void **state)
{
	struct rig *r = *state;
	static const uint8_t none[6];
	uint8_t f[FRAME_MAX];
	uint32_t replies = 0;
	inject_arp(r, 1, none);
	turns(r);
	while (take(r, f))
		replies += f[13] == 0x06 && f[21] == 2 && memcmp(f, peer_mac, 6) == 0;
	assert_int_equal(replies, 1);
}

static void test_an_echo_request_comes_back(void **state)
{
	struct rig *r = *state;
	uint8_t f[FRAME_MAX], back[FRAME_MAX];
	uint8_t *icmp = f + 34;
	memset(icmp, 0, 64);
	icmp[0] = 8;
	memcpy(icmp + 8, "millrace", 8);
	put16(icmp + 2, sum(icmp, 64, 0));
	inject(r, f, ip_frame(r, f, 1, 64));
	turns(r);
	assert_true(take(r, back) >= 98);
	assert_int_equal(back[34], 0);
	assert_memory_equal(back + 42, "millrace", 8);
	assert_memory_equal(back, peer_mac, 6);
}

static void test_flows_are_spread_and_each_stays_on_its_shard(void **state)
{
	struct rig *r = *state;
	uint32_t conns[SHARDS] = {0};
	for (uint32_t i = 0; i < 24; i++) {
		struct seg s;
		const struct net_event *ev = handshake(r, &s);
		uint32_t shard = r->shard_of_ev[ev - r->ev];
		conns[shard]++;
		s.flags = ACK | PSH;
		s.text = "hello";
		inject_seg(r, &s);
		turns(r);
		ev = event(r, NET_EV_DATA);
		assert_int_equal(r->shard_of_ev[ev - r->ev], shard);
		assert_int_equal(r->data_len, 5);
		assert_memory_equal(r->data, "hello", 5);
		s.seq += 5;
		reset(r, &s);
	}
	assert_true(conns[0] > 0);
	assert_true(conns[1] > 0);
}

static void test_shard_one_answers_a_peer_that_only_shard_zero_has_heard(void **state)
{
	struct rig *r = *state;
	struct seg s, answer;
	char text[FRAME_MAX];
	uint32_t len;
	for (bool done = false; !done;) {
		const struct net_event *ev = handshake(r, &s);
		uint32_t shard = r->shard_of_ev[ev - r->ev];
		net_conn_t conn = ev->conn;
		drop_sent(r);
		if (shard == 1) {
			struct net_iov iov[2] = {{.p = (const uint8_t *)"gath", .len = 4},
				{.p = (const uint8_t *)"ered", .len = 4}};
			assert_int_equal(net_send(r->net[1], conn, iov, 2, 77), 0);
			turns(r);
			assert_true(take_seg(r, &answer, text, &len));
			assert_int_equal(len, 8);
			assert_memory_equal(text, "gathered", 8);
			s.ack += 8;
			s.flags = ACK;
			inject_seg(r, &s);
			turns(r);
			ev = event(r, NET_EV_SENT);
			assert_int_equal(ev->sent.cookie, 77);
			assert_true(ev->sent.ok);
			done = true;
		}
		reset(r, &s);
	}
}

static void test_a_send_without_a_cookie_is_copied_and_not_reported(void **state)
{
	struct rig *r = *state;
	struct seg s, answer;
	char text[FRAME_MAX];
	uint8_t tiny[3] = "abc";
	uint32_t len;
	const struct net_event *ev = handshake(r, &s);
	uint32_t shard = r->shard_of_ev[ev - r->ev];
	struct net_iov iov = {.p = tiny, .len = 3};
	drop_sent(r);
	assert_int_equal(net_send(r->net[shard], ev->conn, &iov, 1, 0), 0);
	memset(tiny, 'x', sizeof(tiny));
	turns(r);
	assert_true(take_seg(r, &answer, text, &len));
	assert_int_equal(len, 3);
	assert_memory_equal(text, "abc", 3);
	s.ack += 3;
	s.flags = ACK;
	inject_seg(r, &s);
	turns(r);
	assert_int_equal(r->ev_count, 0);
	reset(r, &s);
}

static void test_after_the_peers_fin_the_answer_goes_out_before_ours(void **state)
{
	struct rig *r = *state;
	struct seg s, answer;
	char text[FRAME_MAX];
	uint32_t len;
	const struct net_event *ev = handshake(r, &s);
	uint32_t shard = r->shard_of_ev[ev - r->ev];
	net_conn_t conn = ev->conn;
	struct net_iov iov = {.p = (const uint8_t *)"answer", .len = 6};
	drop_sent(r);
	s.flags = ACK | FIN;
	s.text = "ask";
	inject_seg(r, &s);
	/* The data and the FIN arrive together; the caller answers when it sees the data. */
	r->ev_count = 0;
	for (uint32_t i = 0; i < TURNS && r->ev_count == 0; i++)
		for (uint32_t k = 0; k < SHARDS && r->ev_count == 0; k++)
			turn_shard(r, k);
	event(r, NET_EV_DATA);
	assert_int_equal(net_send(r->net[shard], conn, &iov, 1, 5), 0);
	turns(r);
	uint32_t got = 0;
	bool fin = false;
	while (take_seg(r, &answer, text, &len)) {
		assert_true(len == 0 || !fin);
		got += len;
		fin |= answer.flags & FIN;
	}
	assert_int_equal(got, 6);
	assert_true(fin);
	s = (struct seg){.port = s.port, .seq = s.seq + 4, .ack = s.ack + 7, .flags = ACK};
	inject_seg(r, &s);
	turns(r);
	assert_int_equal(event(r, NET_EV_SENT)->sent.cookie, 5);
	event(r, NET_EV_CLOSED);
	assert_int_equal(net_send(r->net[shard], conn, &iov, 1, 6), -ENOTCONN);
}

static void test_an_abort_sends_a_reset_and_reports_what_was_queued(void **state)
{
	struct rig *r = *state;
	struct seg s, answer;
	char text[FRAME_MAX];
	uint32_t len;
	bool rst = false;
	const struct net_event *ev = handshake(r, &s);
	uint32_t shard = r->shard_of_ev[ev - r->ev];
	net_conn_t conn = ev->conn;
	struct net_iov iov = {.p = (const uint8_t *)"never", .len = 5};
	drop_sent(r);
	assert_int_equal(net_send(r->net[shard], conn, &iov, 1, 9), 0);
	net_close(r->net[shard], conn, true);
	turns(r);
	while (take_seg(r, &answer, text, &len))
		rst |= answer.flags & RST;
	assert_true(rst);
	ev = event(r, NET_EV_SENT);
	assert_false(ev->sent.ok);
	assert_int_equal(ev->sent.cookie, 9);
	event(r, NET_EV_CLOSED);
	net_close(r->net[shard], conn, true); /* stale: ignored */
}

static void test_frames_that_the_port_does_not_take_wait_and_are_dropped_after_a_while(void **state)
{
	struct rig *r = *state;
	struct seg s, answer;
	char text[FRAME_MAX];
	uint32_t len;
	handshake(r, &s);
	drop_sent(r);
	/* The wire is full. */
	int marker;
	void *p;
	while (rte_ring_enqueue(r->out, &marker) == 0)
		;
	s.flags = ACK | PSH;
	s.text = "ping?";
	inject_seg(r, &s);
	for (uint32_t i = 0; i < 10; i++) /* 50 ms: the delayed ACK is due and does not go out */
		turns(r);
	while (rte_ring_dequeue(r->out, &p) == 0)
		assert_ptr_equal(p, &marker);
	turns(r);
	assert_false(take_seg(r, &answer, text, &len)); /* it was dropped */
	/* Room again: the peer asks again and gets its ACK. */
	inject_seg(r, &s);
	turns(r);
	assert_true(take_seg(r, &answer, text, &len));
	assert_int_equal(answer.ack, s.seq + 5);
	s.seq += 5;
	reset(r, &s);
}

static void test_garbage_is_counted_and_answered_with_nothing(void **state)
{
	struct rig *r = *state;
	uint8_t f[FRAME_MAX];
	uint64_t seed = 88172645463325252ull;
	drop_sent(r);
	for (uint32_t i = 0; i < 500; i++) {
		for (uint32_t k = 0; k < 200; k++) {
			seed ^= seed << 13;
			seed ^= seed >> 7;
			seed ^= seed << 17;
			f[k] = (uint8_t)seed;
		}
		if (i % 2)
			(void)ip_frame(r, f, i % 4 == 1 ? 6 : (uint8_t)seed, 160);
		inject(r, f, 1 + i % 180);
		if (i % 20 == 0)
			turns(r);
	}
	turns(r);
	assert_int_equal(r->ev_count, 0);
	drop_sent(r);
}

static void test_a_refused_configuration_says_what_is_wrong(void **state)
{
	static const struct {
		const char *port, *address, *gateway, *want;
	} cases[] = {
		{"eth0", "10.0.0.1/24", "",
			"dpdk.port=eth0 is not a port: give tap:NAME, af_xdp:INTERFACE, "
			"af_packet:INTERFACE, "
			"memif:SOCKET, ring:NAME or pci:ADDRESS"},
		{"tap:", "10.0.0.1/24", "", "dpdk.port=tap:: what follows 'tap:' is not a name"},
		{"tap:x", "10.0.0.1/33", "",
			"dpdk.address=10.0.0.1/33: give an IPv4 address and the length of its "
			"network, for example "
			"10.0.0.2/24"},
		{"tap:x", "10.0.0.0/24", "",
			"dpdk.address=10.0.0.0/24 cannot be the address of one machine"},
		{"tap:x", "224.0.0.1/24", "",
			"dpdk.address=224.0.0.1/24 cannot be the address of one machine"},
		{"tap:x", "10.0.0/24", "",
			"dpdk.address=10.0.0/24: '10.0.0' is not an IPv4 address"},
		{"tap:x", "10.0.0.1/24", "10.0.1.1",
			"dpdk.gateway=10.0.1.1 is not in the network of dpdk.address=10.0.0.1/24"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char err[512] = "";
		struct net_dpdk_config cfg = {.hugepages = "off", .shards = 1, .max_conns = 1};
		snprintf(cfg.port, sizeof(cfg.port), "%s", cases[i].port);
		snprintf(cfg.address, sizeof(cfg.address), "%s", cases[i].address);
		snprintf(cfg.gateway, sizeof(cfg.gateway), "%s", cases[i].gateway);
		assert_null(net_dpdk_open(&cfg, err, sizeof(err)));
		assert_string_equal(err, cases[i].want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_refused_configuration_says_what_is_wrong),
		cmocka_unit_test(test_the_log_memory_is_aligned_and_ours),
		cmocka_unit_test(test_at_the_start_our_address_is_announced),
		cmocka_unit_test(test_an_arp_request_is_answered_once_though_there_are_two_shards),
		cmocka_unit_test(test_an_echo_request_comes_back),
		cmocka_unit_test(test_flows_are_spread_and_each_stays_on_its_shard),
		cmocka_unit_test(test_shard_one_answers_a_peer_that_only_shard_zero_has_heard),
		cmocka_unit_test(test_a_send_without_a_cookie_is_copied_and_not_reported),
		cmocka_unit_test(test_after_the_peers_fin_the_answer_goes_out_before_ours),
		cmocka_unit_test(test_an_abort_sends_a_reset_and_reports_what_was_queued),
		cmocka_unit_test(
			test_frames_that_the_port_does_not_take_wait_and_are_dropped_after_a_while),
		cmocka_unit_test(test_garbage_is_counted_and_answered_with_nothing),
	};
	return cmocka_run_group_tests(tests, open_all, close_all);
}
