/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "base/bytes.h"
#include "net/eth.h"

static const uint8_t us[6] = {2, 0, 0, 0, 0, 2}, peer[6] = {2, 0, 0, 0, 0, 1};

static void frames_for_us_and_broadcasts_are_taken(void **state)
{
	uint8_t f[60] = {0};
	struct eth_pkt p;
	struct ipstack_metrics m = {0};
	eth_build(f, us, peer, ETH_TYPE_IPV4);
	assert_true(eth_parse(f, sizeof(f), us, &p, &m));
	assert_int_equal(p.type, ETH_TYPE_IPV4);
	assert_int_equal(p.len, 46);
	assert_ptr_equal(p.p, f + 14);
	assert_false(p.broadcast);
	eth_build(f, eth_broadcast, peer, ETH_TYPE_ARP);
	assert_true(eth_parse(f, sizeof(f), us, &p, &m));
	assert_true(p.broadcast);
	(void)state;
}

static void other_frames_are_counted_and_dropped(void **state)
{
	static const uint8_t group[6] = {1, 0, 0x5e, 0, 0, 1}, other[6] = {2, 0, 0, 0, 0, 3};
	uint8_t f[60] = {0};
	struct eth_pkt p;
	struct ipstack_metrics m = {0};
	for (uint32_t n = 0; n < 14; n++)
		assert_false(eth_parse(f, n, us, &p, &m));
	assert_int_equal(m.eth_drop_short_total.v, 14);
	eth_build(f, other, peer, ETH_TYPE_IPV4);
	assert_false(eth_parse(f, sizeof(f), us, &p, &m));
	eth_build(f, group, peer, ETH_TYPE_IPV4);
	assert_false(eth_parse(f, sizeof(f), us, &p, &m));
	eth_build(f, us, us, ETH_TYPE_IPV4); /* our own, come back */
	assert_false(eth_parse(f, sizeof(f), us, &p, &m));
	eth_build(f, us, group, ETH_TYPE_IPV4);
	assert_false(eth_parse(f, sizeof(f), us, &p, &m));
	assert_int_equal(m.eth_drop_other_mac_total.v, 4);
	eth_build(f, us, peer, 0x8100); /* VLAN */
	assert_false(eth_parse(f, sizeof(f), us, &p, &m));
	eth_build(f, us, peer, 46); /* 802.3 */
	assert_false(eth_parse(f, sizeof(f), us, &p, &m));
	assert_int_equal(m.eth_drop_type_total.v, 2);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_for_us_and_broadcasts_are_taken),
		cmocka_unit_test(other_frames_are_counted_and_dropped),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
