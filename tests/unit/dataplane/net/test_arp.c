/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/dataplane/net/tcp_kit.h"

#define OTHER 0x0a000007u
#define GATEWAY 0x0a0000feu

static struct kit k;

struct arp_pkt {
	uint8_t dst[6];
	uint16_t op;
	uint32_t sip, tip;
	uint8_t smac[6], tmac[6];
};

static struct arp_pkt seen[64];
static uint32_t nseen, nip;
static uint8_t ip_dst[64][6];

/* Takes out all frames; ARP packets to `seen`. */
static void drain(void)
{
	struct ip_out_frame o;
	nseen = nip = 0;
	while (ipstack_tx_pop(k.s, k.now, &o, 1)) {
		if (be16_get(o.hdr + 12) != ETH_TYPE_ARP) {
			memcpy(ip_dst[nip++ % 64], o.hdr, 6);
			continue;
		}
		assert_int_equal(o.hdr_len, ARP_FRAME_LEN);
		struct arp_pkt *a = &seen[nseen++ % 64];
		memcpy(a->dst, o.hdr, 6);
		a->op = be16_get(o.hdr + 20);
		memcpy(a->smac, o.hdr + 22, 6);
		a->sip = be32_get(o.hdr + 28);
		memcpy(a->tmac, o.hdr + 32, 6);
		a->tip = be32_get(o.hdr + 38);
	}
}

static void arp_in(const char *dst, const char *smac, uint16_t op, uint32_t sip, uint32_t tip)
{
	uint8_t f[ARP_FRAME_LEN] = {0};
	eth_build(f, (const uint8_t *)dst, (const uint8_t *)smac, ETH_TYPE_ARP);
	memcpy(f + 14, "\0\1\x08\0\6\4", 6);
	be16_put(f + 20, op);
	memcpy(f + 22, smac, 6);
	be32_put(f + 28, sip);
	be32_put(f + 38, tip);
	ipstack_input(k.s, k.now, f, sizeof(f), false, false, NULL);
	ipstack_check(k.s);
}

#define MAC_US "\2\0\0\0\0\2"
#define MAC_P "\2\0\0\0\0\1"
#define MAC_X "\2\0\0\0\0\x99"
#define MAC_ALL "\xff\xff\xff\xff\xff\xff"

static void start(void)
{
	kit_config(&k);
	k.cfg.gateway = GATEWAY;
	k.cfg.neighbours = 4;
	k.s = ipstack_create(&k.cfg, k.now);
	assert_non_null(k.s);
}

static void at_start_the_address_is_announced(void **state)
{
	start();
	drain();
	assert_int_equal(nseen, 1);
	assert_memory_equal(seen[0].dst, MAC_ALL, 6);
	assert_int_equal(seen[0].op, 1);
	assert_int_equal(seen[0].sip, KIT_US);
	assert_int_equal(seen[0].tip, KIT_US);
	kit_stop(&k);
	(void)state;
}

static void requests_for_us_are_answered_and_the_asker_is_learned(void **state)
{
	start();
	drain();
	arp_in(MAC_ALL, MAC_P, 1, KIT_PEER, KIT_US);
	drain();
	assert_int_equal(nseen, 1);
	assert_int_equal(seen[0].op, 2);
	assert_memory_equal(seen[0].dst, MAC_P, 6);
	assert_memory_equal(seen[0].smac, MAC_US, 6);
	assert_memory_equal(seen[0].tmac, MAC_P, 6);
	assert_int_equal(seen[0].tip, KIT_PEER);
	uint32_t ip;
	uint8_t mac[6];
	assert_true(ipstack_neigh_learned(k.s, &ip, mac));
	assert_int_equal(ip, KIT_PEER);
	assert_memory_equal(mac, MAC_P, 6);
	assert_false(ipstack_neigh_learned(k.s, &ip, mac));
	kit_stop(&k);
	(void)state;
}

static void requests_for_others_are_neither_answered_nor_learned(void **state)
{
	struct ipstack_usage u;
	start();
	drain();
	arp_in(MAC_ALL, MAC_P, 1, KIT_PEER, OTHER);
	arp_in(MAC_US, MAC_P, 2, KIT_PEER, KIT_US); /* a reply that nobody asked for */
	arp_in(MAC_ALL, MAC_P, 1, 0, KIT_US);	    /* a probe: answered, not learned */
	ipstack_usage_get(k.s, &u);
	assert_int_equal(u.neighbours, 0);
	drain();
	assert_int_equal(nseen, 1);
	kit_stop(&k);
	(void)state;
}

static void malformed_and_spoofing_packets_are_dropped(void **state)
{
	start();
	drain();
	uint8_t f[ARP_FRAME_LEN + 10];
	for (uint32_t n = 14; n < ARP_FRAME_LEN; n++) {
		memset(f, 0, sizeof(f));
		eth_build(f, (const uint8_t *)MAC_US, (const uint8_t *)MAC_P, ETH_TYPE_ARP);
		memcpy(f + 14, "\0\1\x08\0\6\4\0\1", 8);
		ipstack_input(k.s, k.now, f, n, false, false, NULL);
	}
	assert_int_equal(kit_m(&k)->arp_drop_total.v, 28);
	arp_in(MAC_ALL, MAC_P, 3, KIT_PEER, KIT_US);	      /* unknown operation */
	arp_in(MAC_ALL, MAC_P, 1, 0xe0000001, KIT_US);	      /* multicast address */
	arp_in(MAC_ALL, MAC_P, 1, 0x0b000001, KIT_US);	      /* not on our link */
	arp_in(MAC_ALL, "\0\0\0\0\0\0", 1, KIT_PEER, KIT_US); /* no station */
	eth_build(f, (const uint8_t *)MAC_US, (const uint8_t *)MAC_P, ETH_TYPE_ARP);
	memcpy(f + 14, "\0\1\x08\0\6\4\0\1", 8);
	memcpy(f + 22, MAC_X, 6); /* says another sender than the frame */
	be32_put(f + 28, KIT_PEER);
	be32_put(f + 38, KIT_US);
	ipstack_input(k.s, k.now, f, ARP_FRAME_LEN, false, false, NULL);
	assert_int_equal(kit_m(&k)->arp_drop_total.v, 33);
	drain();
	assert_int_equal(nseen, 0);
	kit_stop(&k);
	(void)state;
}

static void a_station_with_our_address_is_counted_and_told_at_most_every_ten_seconds(void **state)
{
	start();
	drain();
	k.now += 20 * NS_PER_S;
	for (int i = 0; i < 5; i++)
		arp_in(MAC_ALL, MAC_X, 1, KIT_US, KIT_PEER);
	assert_int_equal(kit_m(&k)->arp_conflicts_total.v, 5);
	drain();
	assert_int_equal(nseen, 1);
	assert_int_equal(seen[0].tip, KIT_US);
	kit_stop(&k);
	(void)state;
}

static void a_connection_waits_for_its_neighbour_and_goes_on_when_it_answers(void **state)
{
	start();
	drain();
	ipstack_conn_t c;
	assert_int_equal(ipstack_connect(k.s, k.now, KIT_PEER, 80, 0, &c), 0);
	drain();
	assert_int_equal(nip, 0);
	assert_int_equal(nseen, 1);
	assert_int_equal(seen[0].op, 1);
	assert_int_equal(seen[0].tip, KIT_PEER);
	assert_memory_equal(seen[0].dst, MAC_ALL, 6);
	drain();
	assert_int_equal(nseen, 0); /* once a second, however often one looks */
	arp_in(MAC_US, MAC_P, 2, KIT_PEER, KIT_US);
	drain();
	assert_int_equal(nip, 1);
	assert_memory_equal(ip_dst[0], MAC_P, 6);
	kit_stop(&k);
	(void)state;
}

static void peers_off_the_link_are_reached_by_the_gateway(void **state)
{
	start();
	drain();
	ipstack_conn_t c;
	assert_int_equal(ipstack_connect(k.s, k.now, 0x08080808, 80, 0, &c), 0);
	drain();
	assert_int_equal(seen[0].tip, GATEWAY);
	arp_in(MAC_US, MAC_X, 2, GATEWAY, KIT_US);
	drain();
	assert_int_equal(nip, 1);
	assert_memory_equal(ip_dst[0], MAC_X, 6);
	kit_stop(&k);
	(void)state;
}

static void without_a_gateway_peers_off_the_link_are_not_reached(void **state)
{
	start();
	ipstack_destroy(k.s);
	k.cfg.gateway = 0;
	k.s = ipstack_create(&k.cfg, k.now);
	drain();
	ipstack_conn_t c;
	assert_int_equal(ipstack_connect(k.s, k.now, 0x08080808, 80, 0, &c), 0);
	drain();
	assert_int_equal(nip + nseen, 0);
	assert_int_equal(kit_m(&k)->ip_drop_no_route_total.v, 1);
	kit_run_for(&k, 31 * NS_PER_S);
	assert_int_equal(k.ev[0].closed.reason, IPSTACK_CLOSED_TIMEOUT);
	kit_stop(&k);
	(void)state;
}

static void a_neighbour_that_does_not_answer_is_asked_three_times_and_then_left(void **state)
{
	start();
	drain();
	ipstack_conn_t c;
	uint32_t asked = 0;
	assert_int_equal(ipstack_connect(k.s, k.now, KIT_PEER, 80, 0, &c), 0);
	for (int i = 0; i < 29; i++) {
		drain();
		asked += nseen;
		k.now += 100 * NS_PER_MS;
		ipstack_timers(k.s, k.now);
		ipstack_check(k.s);
	}
	assert_int_equal(asked, 3);
	k.now += 200 * NS_PER_MS;
	ipstack_timers(k.s, k.now);
	assert_int_equal(kit_m(&k)->arp_failed_total.v, 1);
	for (int i = 0; i < 10; i++) { /* a negative entry: no more questions for three seconds */
		k.now += 200 * NS_PER_MS;
		ipstack_timers(k.s, k.now);
		drain();
		assert_int_equal(nseen, 0);
	}
	for (int i = 0; i < 100 && nseen == 0; i++) { /* TCP's own timer tries again */
		k.now += 200 * NS_PER_MS;
		ipstack_timers(k.s, k.now);
		drain();
	}
	assert_int_equal(seen[0].tip, KIT_PEER);
	arp_in(MAC_US, MAC_P, 2, KIT_PEER, KIT_US);
	drain();
	assert_int_equal(nip, 1);
	kit_stop(&k);
	(void)state;
}

static void only_three_answers_wait_for_a_neighbour(void **state)
{
	start();
	drain();
	uint8_t f[100];
	for (uint16_t i = 0; i < 10; i++) { /* segments of no connection: RSTs */
		k.peer_port = (uint16_t)(100 + i);
		uint32_t n = kit_frame(&k, f, TCP_ACK, 1, 1, 1, NULL, 0, NULL, 0);
		ipstack_input(k.s, k.now, f, n, false, false, NULL);
	}
	drain();
	assert_int_equal(nip, 0);
	assert_int_equal(kit_m(&k)->arp_pending_drop_total.v, 7);
	arp_in(MAC_US, MAC_P, 2, KIT_PEER, KIT_US);
	drain();
	assert_int_equal(nip, 3);
	kit_stop(&k);
	(void)state;
}

static void an_old_neighbour_is_asked_again_by_unicast_and_used_meanwhile(void **state)
{
	start();
	arp_in(MAC_ALL, MAC_P, 1, KIT_PEER, KIT_US);
	drain();
	k.now += 31 * NS_PER_S;
	ipstack_conn_t c;
	assert_int_equal(ipstack_connect(k.s, k.now, KIT_PEER, 80, 0, &c), 0);
	drain();
	assert_int_equal(nip, 1);
	assert_int_equal(nseen, 1);
	assert_memory_equal(seen[0].dst, MAC_P, 6);
	arp_in(MAC_US, MAC_X, 2, KIT_PEER, KIT_US); /* it has a new port */
	kit_run_for(&k, 0);
	k.now += 1100 * NS_PER_MS;
	ipstack_timers(k.s, k.now);
	drain();
	assert_int_equal(nip, 1);
	assert_memory_equal(ip_dst[0], MAC_X, 6);
	kit_stop(&k);
	(void)state;
}

static void a_full_table_makes_room_by_the_longest_unused(void **state)
{
	struct ipstack_usage u;
	start();
	for (uint32_t i = 0; i < 20; i++) {
		arp_in(MAC_ALL, MAC_P, 1, 0x0a000010 + i, KIT_US);
		drain();
	}
	ipstack_usage_get(k.s, &u);
	assert_int_equal(u.neighbours, 4);
	kit_stop(&k);
	(void)state;
}

static void what_one_shard_learns_can_be_told_to_another(void **state)
{
	start();
	drain();
	ipstack_conn_t c;
	assert_int_equal(ipstack_connect(k.s, k.now, KIT_PEER, 80, 0, &c), 0);
	drain();
	ipstack_neigh_learn(k.s, k.now, KIT_PEER, (const uint8_t *)MAC_P);
	drain();
	assert_int_equal(nip, 1);
	uint32_t ip;
	uint8_t mac[6];
	assert_false(ipstack_neigh_learned(k.s, &ip, mac)); /* no echo */
	kit_stop(&k);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(at_start_the_address_is_announced),
		cmocka_unit_test(requests_for_us_are_answered_and_the_asker_is_learned),
		cmocka_unit_test(requests_for_others_are_neither_answered_nor_learned),
		cmocka_unit_test(malformed_and_spoofing_packets_are_dropped),
		cmocka_unit_test(
			a_station_with_our_address_is_counted_and_told_at_most_every_ten_seconds),
		cmocka_unit_test(a_connection_waits_for_its_neighbour_and_goes_on_when_it_answers),
		cmocka_unit_test(peers_off_the_link_are_reached_by_the_gateway),
		cmocka_unit_test(without_a_gateway_peers_off_the_link_are_not_reached),
		cmocka_unit_test(
			a_neighbour_that_does_not_answer_is_asked_three_times_and_then_left),
		cmocka_unit_test(only_three_answers_wait_for_a_neighbour),
		cmocka_unit_test(an_old_neighbour_is_asked_again_by_unicast_and_used_meanwhile),
		cmocka_unit_test(a_full_table_makes_room_by_the_longest_unused),
		cmocka_unit_test(what_one_shard_learns_can_be_told_to_another),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
