/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many peers, most of them hostile: 20,000 idle connections, 50,000 half-open ones, and a flood of
 * SYNs, forged resets, SYNs and data, while honest clients go on working.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/prng.h"
#include "net/ipstack_int.h"

#define US 0x0a000002u
#define GATEWAY 0x0a000001u
#define PORT 9092
#define ISN 0xfffff000u /* of all our connections without a cookie: they wrap soon */
#define PEER_ISN 0xffffff00u
#define IDLE 20000u
#define HALF_OPEN 50000u
#define HONEST 50u
#define ROUNDS 400u
#define FLOOD 250u /* SYNs in a round */
#define REQUEST 100u
#define IDLE_NET 0x0b000000u
#define HALF_NET 0x0c000000u
#define FLOOD_NET 0x0d000000u
#define HONEST_NET 0x0e000000u

struct client {
	bool open;
	uint32_t seq, ack; /* next of its own, next of ours */
	uint32_t answered;
	bool waiting;
};

struct world {
	struct ipstack *s;
	uint64_t now;
	struct prng prng;
	struct client client[HONEST];
	uint8_t frames[128][256];
	uint32_t nframes;
	uint32_t accepted;
	uint64_t bytes;
};

static uint8_t request[REQUEST], answer[REQUEST];

static void world_config(struct ipstack_config *c, uint32_t conns)
{
	ipstack_config_defaults(c);
	memcpy(c->mac, "\2\0\0\0\0\2", 6);
	c->ip = US;
	c->prefix_len = 24;
	c->gateway = GATEWAY;
	c->max_conns = conns;
	c->syn_backlog = HALF_OPEN;
	c->fixed_isn = true;
	c->isn = ISN;
	c->rx_burst = array_size(((struct world *)0)->frames);
	c->keepalive_idle_ns = 0;
	c->syn_timeout_ns = 120 * NS_PER_S;
}

static const struct ipstack_metrics *metrics(const struct world *w)
{
	return ipstack_metrics_of(w->s);
}

/* A frame to an honest client: what it would learn from it. */
static void client_hears(struct world *w, const struct ip_out_frame *o)
{
	uint32_t to = be32_get(o->hdr + 30) - HONEST_NET;
	if (be16_get(o->hdr + 12) != ETH_TYPE_IPV4 || to >= HONEST)
		return;
	struct client *c = &w->client[to];
	uint8_t flags = o->hdr[47];
	uint32_t seq = be32_get(o->hdr + 38);
	assert_false(flags & TCP_RST);
	if (flags & TCP_SYN) {
		c->ack = seq + 1;
		c->open = true;
		return;
	}
	if (o->payload_len > 0 && seq == c->ack) {
		assert_int_equal(o->payload_len, REQUEST);
		assert_memory_equal(o->slice[0].p, answer, REQUEST);
		c->ack += REQUEST;
		c->answered++;
		c->waiting = false;
	}
}

static void world_turn(struct world *w)
{
	struct ipstack_event ev;
	struct ip_out_frame out[16];
	struct net_iov iov = {.p = answer, .len = REQUEST};
	uint32_t n;
	ipstack_timers(w->s, w->now);
	while (ipstack_event_pop(w->s, &ev)) {
		w->accepted += ev.kind == IPSTACK_EV_ACCEPTED;
		assert_int_not_equal(ev.kind, IPSTACK_EV_CLOSED);
		if (ev.kind != IPSTACK_EV_DATA)
			continue;
		assert_int_equal(ev.data.len, REQUEST);
		assert_memory_equal(ev.data.p, request, REQUEST);
		w->bytes += ev.data.len;
		assert_int_equal(ipstack_send(w->s, w->now, ev.conn, &iov, 1, 1), 0);
	}
	ipstack_release(w->s);
	w->nframes = 0;
	while ((n = ipstack_tx_pop(w->s, w->now, out, 16)) > 0)
		for (uint32_t i = 0; i < n; i++)
			client_hears(w, &out[i]);
}

static void put(struct world *w, uint32_t ip, uint16_t port, uint8_t flags, uint32_t seq,
	uint32_t ack, const uint8_t *data, uint32_t len)
{
	if (w->nframes == array_size(w->frames))
		world_turn(w);
	uint8_t *f = w->frames[w->nframes++];
	struct tcp_ctl c = {.src_port = port,
		.dst_port = PORT,
		.seq = seq,
		.ack = ack,
		.wnd = 65535,
		.flags = flags};
	eth_build(
		f, (const uint8_t *)"\2\0\0\0\0\2", (const uint8_t *)"\2\0\0\0\0\1", ETH_TYPE_IPV4);
	ip_build(f + 14, ip, US, IP_PROTO_TCP, TCP_HDR_LEN + len, false);
	tcp_hdr_build(f + 34, &c, TCP_HDR_LEN);
	if (len)
		memcpy(f + 54, data, len);
	ipstack_input(w->s, w->now, f, 54 + len, true, true, f);
}

static void world_start(struct world *w)
{
	struct ipstack_config cfg;
	memset(w, 0, sizeof(*w));
	memset(request, 'q', sizeof(request));
	memset(answer, 'a', sizeof(answer));
	world_config(&cfg, IDLE + HALF_OPEN + 2 * HONEST);
	w->now = 100 * NS_PER_S;
	w->prng.s = 4;
	w->s = ipstack_create(&cfg, w->now);
	assert_non_null(w->s);
	assert_int_equal(ipstack_listen(w->s, PORT), 0);
	ipstack_neigh_learn(w->s, w->now, GATEWAY, (const uint8_t *)"\2\0\0\0\0\1");
}

static void crowd(struct world *w)
{
	for (uint32_t i = 0; i < IDLE; i++) {
		put(w, IDLE_NET + i, 5000, TCP_SYN, PEER_ISN, 0, NULL, 0);
		put(w, IDLE_NET + i, 5000, TCP_ACK, PEER_ISN + 1, ISN + 1, NULL, 0);
	}
	world_turn(w);
	assert_int_equal(w->accepted, IDLE);
	for (uint32_t i = 0; i < HALF_OPEN; i++)
		put(w, HALF_NET + i, 5000, TCP_SYN, PEER_ISN, 0, NULL, 0);
	world_turn(w);
}

/* What somebody sends who knows addresses and ports, but no sequence numbers. */
static void forge(struct world *w, const struct client *c, uint32_t ip)
{
	static const uint8_t flags[] = {
		TCP_RST, TCP_RST | TCP_ACK, TCP_SYN, TCP_SYN | TCP_ACK, TCP_ACK, TCP_FIN | TCP_ACK};
	uint8_t lies[64];
	uint32_t seq = (uint32_t)prng_next(&w->prng), ack = (uint32_t)prng_next(&w->prng);
	if (prng_chance(&w->prng, 1, 2)) /* lucky: in the window, but not the very number */
		seq = c->seq + 1 + (uint32_t)prng_below(&w->prng, 60000);
	if (ack - c->ack < 1u << 20 || c->ack - ack < 1u << 20)
		ack += 1u << 21; /* not as lucky as that */
	memset(lies, 'L', sizeof(lies));
	uint8_t f = flags[prng_below(&w->prng, sizeof(flags))];
	put(w, ip, 6000, f, seq, ack, lies, f & TCP_SYN || f & TCP_RST ? 0 : sizeof(lies));
}

static void client_step(struct world *w, uint32_t i)
{
	struct client *c = &w->client[i];
	uint32_t ip = HONEST_NET + i;
	if (!c->open) {
		c->seq = PEER_ISN + 1;
		put(w, ip, 6000, TCP_SYN, PEER_ISN, 0, NULL, 0);
		return;
	}
	if (c->waiting)
		return;
	put(w, ip, 6000, TCP_ACK | TCP_PSH, c->seq, c->ack, request, REQUEST);
	c->seq += REQUEST;
	c->waiting = true;
}

static void honest_clients_work_in_a_flood_among_70000_connections(void **state)
{
	static struct world w;
	struct ipstack_usage u;
	(void)state;
	world_start(&w);
	crowd(&w);
	ipstack_usage_get(w.s, &u);
	assert_int_equal(u.conns, IDLE + HALF_OPEN);
	assert_int_equal(u.syn_rcvd, HALF_OPEN);
	ipstack_check(w.s);
	for (uint32_t round = 0; round < ROUNDS; round++) {
		for (uint32_t i = 0; i < FLOOD; i++)
			put(&w, FLOOD_NET + (uint32_t)prng_below(&w.prng, 1 << 24),
				(uint16_t)(1024 + prng_below(&w.prng, 60000)), TCP_SYN,
				(uint32_t)prng_next(&w.prng), 0, NULL, 0);
		for (uint32_t i = 0; i < HONEST; i++) {
			if (w.client[i].open && round > 2)
				forge(&w, &w.client[i], HONEST_NET + i);
			client_step(&w, i);
		}
		world_turn(&w);
		w.now += NS_PER_MS;
	}
	ipstack_check(w.s);
	ipstack_usage_get(w.s, &u);
	assert_int_equal(u.conns, IDLE + HALF_OPEN + HONEST);
	assert_int_equal(w.accepted, IDLE + HONEST);
	assert_int_equal(metrics(&w)->tcp_cookies_in_total.v, HONEST);
	assert_true(metrics(&w)->tcp_cookies_out_total.v >= (uint64_t)ROUNDS * FLOOD);
	assert_int_equal(metrics(&w)->ctl_drop_total.v, 0);
	for (uint32_t i = 0; i < HONEST; i++)
		assert_true(w.client[i].answered >= ROUNDS - 2);
	assert_int_equal(w.bytes, (uint64_t)REQUEST * HONEST * (ROUNDS - 1));
	ipstack_destroy(w.s);
}

static void an_idle_connection_takes_at_most_4_kib(void **state)
{
	struct ipstack_config few, many;
	(void)state;
	world_config(&few, 1);
	world_config(&many, IDLE + 1);
	/* with what is taken for each connection beside its own struct: table, record in flight */
	size_t each = (ipstack_memory_bytes(&many) - ipstack_memory_bytes(&few)) / IDLE;
	printf("an idle connection takes %zu bytes\n", each);
	assert_in_range(each, sizeof(struct tcb), 4096);
}

static void overlapping_bytes_that_differ_leave_the_first(void **state)
{
	static struct world w;
	struct ipstack_event ev;
	uint8_t text[200], got[400];
	uint32_t ngot = 0, naccepted = 0;
	(void)state;
	world_start(&w);
	put(&w, HONEST_NET, 6000, TCP_SYN, PEER_ISN, 0, NULL, 0);
	world_turn(&w);
	put(&w, HONEST_NET, 6000, TCP_ACK, PEER_ISN + 1, ISN + 1, NULL, 0);
	memset(text, '1', sizeof(text)); /* 100..299 of the stream */
	put(&w, HONEST_NET, 6000, TCP_ACK, PEER_ISN + 101, ISN + 1, text, 200);
	memset(text, '2', sizeof(text)); /* 0..199: all of it new up to 100 */
	put(&w, HONEST_NET, 6000, TCP_ACK, PEER_ISN + 1, ISN + 1, text, 200);
	memset(text, '3', sizeof(text)); /* 200..399: over the end, and over the wrap */
	put(&w, HONEST_NET, 6000, TCP_ACK, PEER_ISN + 201, ISN + 1, text, 200);
	while (ipstack_event_pop(w.s, &ev)) {
		naccepted += ev.kind == IPSTACK_EV_ACCEPTED;
		if (ev.kind != IPSTACK_EV_DATA)
			continue;
		assert_true(ngot + ev.data.len <= sizeof(got));
		memcpy(got + ngot, ev.data.p, ev.data.len);
		ngot += ev.data.len;
	}
	assert_int_equal(naccepted, 1);
	assert_int_equal(ngot, 400);
	for (uint32_t i = 0; i < 400; i++)
		assert_int_equal(got[i], i < 100 ? '2' : i < 300 ? '1' : '3');
	ipstack_release(w.s);
	ipstack_check(w.s);
	ipstack_destroy(w.s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(honest_clients_work_in_a_flood_among_70000_connections),
		cmocka_unit_test(an_idle_connection_takes_at_most_4_kib),
		cmocka_unit_test(overlapping_bytes_that_differ_leave_the_first),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
