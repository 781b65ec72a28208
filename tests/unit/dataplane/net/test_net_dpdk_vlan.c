/* SPDX-License-Identifier: Apache-2.0 */
/* A port whose frames have a tag. */
#include "net_dpdk_kit.h"

#define VLAN 77u
#define PRIORITY 0xe000u
#define NO_TAG 0x10000u

static int open_vlan(void **state)
{
	return open_in(state, VLAN);
}

/* Puts a tag into a frame. */
static uint32_t tag(uint8_t *f, uint32_t len, uint32_t tci)
{
	memmove(f + 16, f + 12, len - 12);
	put16(f + 12, 0x8100);
	put16(f + 14, tci);
	return len + 4;
}

/* An echo request. */
static void ask(struct rig *r, uint32_t tci)
{
	uint8_t f[FRAME_MAX];
	uint8_t *icmp = f + 34;
	memset(icmp, 0, 32);
	icmp[0] = 8;
	put16(icmp + 2, sum(icmp, 32, 0));
	uint32_t len = ip_frame(r, f, 1, 32);
	inject(r, f, tci == NO_TAG ? len : tag(f, len, tci));
	turns(r);
}

static bool is_answered(struct rig *r)
{
	uint8_t f[FRAME_MAX];
	uint32_t len;
	while ((len = take(r, f)) != 0) {
		assert_int_equal(f[12] << 8 | f[13], 0x8100);
		assert_int_equal(f[14] << 8 | f[15], VLAN);
		if (f[16] == 0x08 && f[17] == 0 && f[27] == 1 && f[38] == 0)
			return true;
	}
	return false;
}

static void test_what_we_say_has_the_tag(void **state)
{
	struct rig *r = *state;
	uint8_t f[FRAME_MAX];
	turns(r);
	assert_true(take(r, f) >= 46); /* our address is announced */
	assert_int_equal(f[12] << 8 | f[13], 0x8100);
	assert_int_equal(f[14] << 8 | f[15], VLAN);
	assert_int_equal(f[16] << 8 | f[17], 0x0806);
	memcpy(r->our_mac, f + 6, 6);
	drop_sent(r);
}

static void test_frames_of_our_vlan_are_answered_whatever_their_priority(void **state)
{
	struct rig *r = *state;
	uint8_t f[FRAME_MAX] = {0};
	memset(f, 0xff, 6);
	memcpy(f + 6, peer_mac, 6);
	put16(f + 12, 0x0806);
	put16(f + 14, 1);
	put16(f + 16, 0x0800);
	f[18] = 6;
	f[19] = 4;
	put16(f + 20, 1);
	memcpy(f + 22, peer_mac, 6);
	memcpy(f + 28, r->peer_ip, 4);
	memcpy(f + 38, our_ip, 4);
	inject(r, f, tag(f, 60, VLAN)); /* so that the peer is known */
	turns(r);
	drop_sent(r);
	ask(r, VLAN);
	assert_true(is_answered(r));
	ask(r, PRIORITY | VLAN);
	assert_true(is_answered(r));
}

static void test_frames_of_other_vlans_or_of_none_are_dropped_and_counted(void **state)
{
	struct rig *r = *state;
	uint64_t before = PORT_SUM(r, drop_vlan_total);
	ask(r, VLAN + 1);
	ask(r, PRIORITY);
	ask(r, NO_TAG);
	assert_false(is_answered(r));
	assert_int_equal(PORT_SUM(r, drop_vlan_total), before + 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_we_say_has_the_tag),
		cmocka_unit_test(test_frames_of_our_vlan_are_answered_whatever_their_priority),
		cmocka_unit_test(test_frames_of_other_vlans_or_of_none_are_dropped_and_counted),
	};
	return cmocka_run_group_tests(tests, open_vlan, close_all);
}
