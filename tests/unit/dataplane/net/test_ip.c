/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/bytes.h"
#include "base/prng.h"
#include "net/ip.h"

#define US 0x0a000002u
#define PEER 0x0a000001u

static struct ipstack_config cfg = {.ip = US, .prefix_len = 24, .gateway = 0x0a0000fe};
static struct ipstack_metrics m;
static struct ip_pkt pkt;

static uint16_t naive(const uint8_t *p, uint32_t len)
{
	uint32_t sum = 0;
	for (uint32_t i = 0; i < len; i += 2)
		sum += (uint32_t)p[i] << 8 | (i + 1 < len ? p[i + 1] : 0);
	while (sum >> 16)
		sum = (sum >> 16) + (sum & 0xffff);
	return (uint16_t)~sum;
}

static void the_fast_checksum_is_the_one_of_rfc_1071(void **state)
{
	static uint8_t b[4096];
	struct prng r = {.s = 5};
	for (int round = 0; round < 5000; round++) {
		uint32_t n = (uint32_t)prng_below(&r, round < 2500 ? 200 : 4000), at = n;
		bool full = prng_chance(&r, 1, 4);
		for (uint32_t i = 0; i < n; i++)
			b[i] = full ? 0xff : (uint8_t)prng_next(&r);
		assert_int_equal(ip_sum_fold(ip_sum(0, b, n)), naive(b, n));
		struct net_iov iov[5]; /* pieces of any length, odd ones too */
		at = 0;
		for (int i = 0; i < 5; i++) {
			uint32_t len = i == 4 ? n - at : (uint32_t)prng_below(&r, n - at + 1);
			iov[i] = (struct net_iov){.p = b + at, .len = len};
			at += len;
		}
		assert_int_equal(ip_sum_fold(ip_sum_iov(0, iov, 5)), naive(b, n));
	}
	(void)state;
}

/* A good packet of 8 payload bytes. */
static void good(uint8_t p[28])
{
	memset(p, 0, 28);
	ip_build(p, PEER, US, IP_PROTO_TCP, 8, false);
}
static void fix(uint8_t p[20])
{
	be16_put(p + 10, 0);
	be16_put(p + 10, ip_sum_fold(ip_sum(0, p, 20)));
}

static void a_good_header_is_taken_and_padding_is_cut(void **state)
{
	uint8_t p[60] = {0};
	good(p);
	assert_true(ip_parse(p, sizeof(p), &cfg, false, &pkt, &m));
	assert_int_equal(pkt.src, PEER);
	assert_int_equal(pkt.proto, IP_PROTO_TCP);
	assert_int_equal(pkt.len, 8);
	assert_ptr_equal(pkt.p, p + 20);
	(void)state;
}

static void lengths_that_do_not_fit_are_dropped_and_counted(void **state)
{
	uint8_t p[28];
	memset(&m, 0, sizeof(m));
	good(p);
	for (uint32_t n = 0; n < 20; n++)
		assert_false(ip_parse(p, n, &cfg, false, &pkt, &m));
	p[0] = 0x65; /* version 6 */
	assert_false(ip_parse(p, 28, &cfg, true, &pkt, &m));
	p[0] = 0x44; /* 16 bytes of header */
	assert_false(ip_parse(p, 28, &cfg, true, &pkt, &m));
	p[0] = 0x4f; /* 60 */
	assert_false(ip_parse(p, 28, &cfg, true, &pkt, &m));
	assert_int_equal(m.ip_drop_header_total.v, 23);
	good(p);
	be16_put(p + 2, 29); /* more than there is */
	assert_false(ip_parse(p, 28, &cfg, true, &pkt, &m));
	be16_put(p + 2, 19); /* less than the header */
	assert_false(ip_parse(p, 28, &cfg, true, &pkt, &m));
	assert_int_equal(m.ip_drop_length_total.v, 2);
	(void)state;
}

static void options_are_passed_over(void **state)
{
	uint8_t p[28];
	good(p);
	p[0] = 0x46;
	assert_true(ip_parse(p, 28, &cfg, true, &pkt, &m));
	assert_ptr_equal(pkt.p, p + 24);
	assert_int_equal(pkt.len, 4);
	(void)state;
}

static void a_wrong_header_checksum_is_dropped_unless_the_port_has_verified_it(void **state)
{
	uint8_t p[28];
	memset(&m, 0, sizeof(m));
	good(p);
	p[8] = 63;
	assert_false(ip_parse(p, 28, &cfg, false, &pkt, &m));
	assert_int_equal(m.ip_drop_checksum_total.v, 1);
	assert_true(ip_parse(p, 28, &cfg, true, &pkt, &m));
	(void)state;
}

static void fragments_are_refused_and_counted(void **state)
{
	uint8_t p[28];
	memset(&m, 0, sizeof(m));
	static const uint16_t bad[] = {0x2000, 0x0001, 0x1fff, 0x3001, 0x6000};
	for (uint32_t i = 0; i < array_size(bad); i++) {
		good(p);
		be16_put(p + 6, bad[i]);
		fix(p);
		assert_false(ip_parse(p, 28, &cfg, false, &pkt, &m));
	}
	assert_int_equal(m.ip_drop_fragment_total.v, array_size(bad));
	(void)state;
}

static void a_dead_packet_is_dropped(void **state)
{
	uint8_t p[28];
	memset(&m, 0, sizeof(m));
	good(p);
	p[8] = 0;
	fix(p);
	assert_false(ip_parse(p, 28, &cfg, false, &pkt, &m));
	assert_int_equal(m.ip_drop_ttl_total.v, 1);
	(void)state;
}

static void addresses_that_cannot_be_are_dropped(void **state)
{
	static const uint32_t bad_src[] = {
		0, 0x7f000001, 0xe0000001, 0xf0000001, 0xffffffff, US, 0x0a0000ff};
	uint8_t p[28];
	memset(&m, 0, sizeof(m));
	for (uint32_t i = 0; i < array_size(bad_src); i++) {
		good(p);
		be32_put(p + 12, bad_src[i]);
		fix(p);
		assert_false(ip_parse(p, 28, &cfg, false, &pkt, &m));
	}
	good(p);
	be32_put(p + 16, 0x0a0000ff);
	fix(p);
	assert_false(ip_parse(p, 28, &cfg, false, &pkt, &m));
	assert_int_equal(m.ip_drop_address_total.v, array_size(bad_src) + 1);
	(void)state;
}

static void the_next_hop_is_the_peer_on_link_and_the_gateway_else(void **state)
{
	struct ipstack_config none = {.ip = US, .prefix_len = 32};
	assert_int_equal(ip_next_hop(&cfg, 0x0a000055), 0x0a000055);
	assert_int_equal(ip_next_hop(&cfg, 0x0a000155), 0x0a0000fe);
	assert_int_equal(ip_next_hop(&none, 0x0a000055), 0);
	none.prefix_len = 0;
	assert_int_equal(ip_next_hop(&none, 0x0b000055), 0x0b000055);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_fast_checksum_is_the_one_of_rfc_1071),
		cmocka_unit_test(a_good_header_is_taken_and_padding_is_cut),
		cmocka_unit_test(lengths_that_do_not_fit_are_dropped_and_counted),
		cmocka_unit_test(options_are_passed_over),
		cmocka_unit_test(
			a_wrong_header_checksum_is_dropped_unless_the_port_has_verified_it),
		cmocka_unit_test(fragments_are_refused_and_counted),
		cmocka_unit_test(a_dead_packet_is_dropped),
		cmocka_unit_test(addresses_that_cannot_be_are_dropped),
		cmocka_unit_test(the_next_hop_is_the_peer_on_link_and_the_gateway_else),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
