/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parsers below TCP's states, each with any bytes behind right headers: TCP options, ICMP
 * (errors about our segments, echo requests), ARP. The first byte says which.
 */
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "net/ipstack_int.h"

#define US 0x0a000002u
#define PEER 0x0a000001u
#define BYTES_MAX 1480u

/* What the parser has taken is written and parsed again, and is the same. */
static void fuzz_options(const uint8_t *p, uint32_t n)
{
	struct tcp_opts o, again;
	uint8_t out[TCP_HDR_LEN + 60];
	tcp_opts_parse(p, min_of(n, 40u), &o);
	CHECK(o.nsack <= TCP_SACKS_MAX && o.wscale >= -1 && o.wscale <= TCP_WSCALE_MAX);
	o.nsack = (uint8_t)min_of(o.nsack, 1); /* so that all of it has room */
	uint32_t len = tcp_opts_build(out, &o);
	CHECK(len <= 40 && len % 4 == 0);
	CHECK(tcp_opts_parse(out, len, &again));
	CHECK(again.mss == o.mss && again.wscale == o.wscale && again.sack_ok == o.sack_ok);
	CHECK(again.ts == o.ts && again.nsack == o.nsack);
	CHECK(!o.ts || (again.ts_val == o.ts_val && again.ts_ecr == o.ts_ecr));
	CHECK(!o.nsack || memcmp(again.sack, o.sack, sizeof(o.sack[0])) == 0);
}

static struct ipstack *stack_new(uint64_t now_ns)
{
	struct ipstack_config c;
	ipstack_config_defaults(&c);
	memcpy(c.mac, "\2\0\0\0\0\2", 6);
	c.ip = US;
	c.prefix_len = 24;
	c.max_conns = c.max_time_wait = c.syn_backlog = 2;
	c.neighbours = 2;
	c.ctl_frames = 4;
	c.rx_chunks = 8;
	c.rx_burst = c.send_slots = c.send_slots_per_conn = c.tx_segments = 8;
	struct ipstack *s = ipstack_create(&c, now_ns);
	CHECK(s);
	return s;
}

/* A connection whose SYN is in flight, for errors about it. */
static void fuzz_frame(uint16_t type, uint8_t proto, const uint8_t *p, uint32_t n)
{
	uint64_t now_ns = NS_PER_S;
	struct ipstack *s = stack_new(now_ns);
	struct ip_out_frame out[4];
	ipstack_conn_t conn;
	uint8_t f[ETH_HDR_LEN + IP_HDR_LEN + BYTES_MAX];
	uint32_t at = ETH_HDR_LEN;
	CHECK(ipstack_connect(s, now_ns, PEER, 9092, 40000, &conn) == 0);
	ipstack_neigh_learn(s, now_ns, PEER, (const uint8_t *)"\2\0\0\0\0\1");
	while (ipstack_tx_pop(s, now_ns, out, 4) > 0)
		continue;
	eth_build(f, (const uint8_t *)"\2\0\0\0\0\2", (const uint8_t *)"\2\0\0\0\0\1", type);
	if (type == ETH_TYPE_IPV4) {
		ip_build(f + at, PEER, US, proto, n, false);
		at += IP_HDR_LEN;
	}
	memcpy(f + at, p, n);
	if (proto == IP_PROTO_ICMP && n >= 4) { /* a right checksum */
		memset(f + at + 2, 0, 2);
		be16_put(f + at + 2, ip_sum_fold(ip_sum(0, f + at, n)));
	}
	ipstack_input(s, now_ns, f, at + n, true, true, f);
	ipstack_check(s);
	ipstack_timers(s, now_ns + NS_PER_S);
	while (ipstack_tx_pop(s, now_ns + NS_PER_S, out, 4) > 0)
		continue;
	ipstack_check(s);
	ipstack_destroy(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	uint32_t n = (uint32_t)min_of(size - 1, (size_t)BYTES_MAX);
	switch (data[0] % 3) {
	case 0:
		fuzz_options(data + 1, n);
		break;
	case 1:
		fuzz_frame(ETH_TYPE_IPV4, IP_PROTO_ICMP, data + 1, n);
		break;
	case 2:
		fuzz_frame(ETH_TYPE_ARP, 0, data + 1, n);
		break;
	}
	return 0;
}
