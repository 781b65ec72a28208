/* SPDX-License-Identifier: Apache-2.0 */
#include "net/icmp.h"
#include "unit/dataplane/net/tcp_kit.h"

static struct kit k;
static uint8_t frame[9100];

/* An echo request with n bytes of data; returns its length. */
static uint32_t request(uint32_t n)
{
	eth_build(frame, (const uint8_t *)"\2\0\0\0\0\2", (const uint8_t *)"\2\0\0\0\0\1",
		ETH_TYPE_IPV4);
	ip_build(frame + 14, KIT_PEER, KIT_US, IP_PROTO_ICMP, 8 + n, false);
	uint8_t *p = frame + 34;
	memcpy(p, "\x08\0\0\0\x12\x34\0\1", 8);
	for (uint32_t i = 0; i < n; i++)
		p[8 + i] = (uint8_t)i;
	be16_put(p + 2, ip_sum_fold(ip_sum(0, p, 8 + n)));
	return 42 + n;
}

static void ping(uint32_t n)
{
	ipstack_input(k.s, k.now, frame, n, false, false, NULL);
}

static uint32_t pop(uint8_t *flat, uint8_t *flags)
{
	struct ip_out_frame o;
	if (ipstack_tx_pop(k.s, k.now, &o, 1) == 0)
		return 0;
	memcpy(flat, o.hdr, o.hdr_len);
	if (o.nslices)
		memcpy(flat + o.hdr_len, o.slice[0].p, o.slice[0].len);
	*flags = o.flags;
	return o.hdr_len + o.payload_len;
}

static void an_echo_request_is_answered_with_its_data(void **state)
{
	static const uint32_t sizes[] = {0, 56, 86, 87, 1000, 1472};
	kit_config(&k);
	kit_start(&k);
	for (uint32_t i = 0; i < array_size(sizes); i++) {
		uint8_t out[2000], flags = 0;
		uint32_t n = request(sizes[i]);
		ping(n);
		assert_int_equal(pop(out, &flags), n);
		assert_int_equal(be32_get(out + 26), KIT_US);
		assert_int_equal(be32_get(out + 30), KIT_PEER);
		assert_memory_equal(out, "\2\0\0\0\0\1\2\0\0\0\0\2", 12);
		assert_int_equal(out[34], 0);
		assert_memory_equal(out + 38, frame + 38, n - 38);
		assert_int_equal(ip_sum_fold(ip_sum(0, out + 34, n - 34)), 0);
		assert_int_equal(ip_sum_fold(ip_sum(0, out + 14, 20)), 0);
		assert_int_equal(!!(flags & IP_OUT_COPY), sizes[i] > 86);
	}
	kit_stop(&k);
	(void)state;
}

static void echo_replies_are_rate_limited(void **state)
{
	kit_config(&k);
	k.cfg.icmp_replies_per_s = 10;
	kit_start(&k);
	uint32_t n = request(10);
	for (int i = 0; i < 100; i++)
		ping(n);
	kit_turn(&k);
	assert_int_equal(k.other_frames, 10);
	assert_int_equal(kit_m(&k)->icmp_limited_total.v, 90);
	k.now += NS_PER_S;
	ping(n);
	kit_turn(&k);
	assert_int_equal(k.other_frames, 11);
	kit_stop(&k);
	(void)state;
}

static void long_replies_that_cannot_be_kept_are_dropped(void **state)
{
	kit_config(&k);
	kit_start(&k);
	uint32_t n = request(1000);
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 12; i++)
			ping(n);
		kit_clear(&k);
		kit_turn(&k);
		assert_int_equal(k.other_frames, 8); /* and the buffers come back */
	}
	kit_stop(&k);
	(void)state;
}

static void malformed_and_unknown_messages_are_dropped(void **state)
{
	kit_config(&k);
	kit_start(&k);
	uint32_t n = request(10);
	frame[40] ^= 1; /* checksum */
	ping(n);
	n = request(10);
	frame[34] = 13; /* timestamp request */
	be16_put(frame + 36, 0);
	be16_put(frame + 36, ip_sum_fold(ip_sum(0, frame + 34, n - 34)));
	ping(n);
	for (uint32_t len = 0; len < 8; len++) { /* shorter than its header */
		request(10);
		ip_build(frame + 14, KIT_PEER, KIT_US, IP_PROTO_ICMP, len, false);
		ping(34 + len);
	}
	kit_turn(&k);
	assert_int_equal(k.other_frames, 0);
	assert_int_equal(kit_m(&k)->icmp_drop_total.v, 10);
	kit_stop(&k);
	(void)state;
}

static void broadcast_frames_and_unknown_protocols_are_not_answered(void **state)
{
	kit_config(&k);
	kit_start(&k);
	uint32_t n = request(10);
	memcpy(frame, eth_broadcast, 6);
	ping(n);
	request(10);
	ip_build(frame + 14, KIT_PEER, KIT_US, 17, 18, false);
	ping(n);
	kit_turn(&k);
	assert_int_equal(k.other_frames + k.nout, 0);
	assert_int_equal(kit_m(&k)->ip_drop_address_total.v, 1);
	assert_int_equal(kit_m(&k)->ip_drop_protocol_total.v, 1);
	kit_stop(&k);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_echo_request_is_answered_with_its_data),
		cmocka_unit_test(echo_replies_are_rate_limited),
		cmocka_unit_test(long_replies_that_cannot_be_kept_are_dropped),
		cmocka_unit_test(malformed_and_unknown_messages_are_dropped),
		cmocka_unit_test(broadcast_frames_and_unknown_protocols_are_not_answered),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
