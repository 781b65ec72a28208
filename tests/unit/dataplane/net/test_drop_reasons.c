/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whatever the stack drops is counted once, under one name: each reason of Ethernet, ARP, IPv4,
 * ICMP and TCP is brought about here, and no reason may be missing from the table below.
 */
#include "net/icmp.h"
#include "tcp_kit.h"

#define STRANGER 0x0a00004du /* on our network, and silent */

struct reason {
	const char *name;
	void (*prepare)(struct kit *k); /* of the configuration; NULL: nothing */
	void (*cause)(struct kit *k);
};

/* ---- frames ---- */

static void put_raw(struct kit *k, const uint8_t *f, uint32_t len)
{
	ipstack_input(k->s, k->now, f, len, false, false, NULL);
	kit_turn(k);
}

/* An IPv4 packet with an empty TCP segment of no connection, to be spoilt. */
static uint32_t some_frame(struct kit *k, uint8_t *f)
{
	return kit_frame(k, f, TCP_ACK, 1, 1, 100, NULL, 0, NULL, 0);
}

static void ip_again(uint8_t *f)
{
	be16_put(f + 24, 0);
	be16_put(f + 24, ip_sum_fold(ip_sum(0, f + 14, IP_HDR_LEN)));
}

/* Changes one byte of the IPv4 header, whose checksum follows. */
static void put_ip(struct kit *k, uint32_t at, uint8_t value)
{
	uint8_t f[128];
	uint32_t len = some_frame(k, f);
	f[14 + at] = value;
	ip_again(f);
	put_raw(k, f, len);
}

static void put_icmp(struct kit *k, uint32_t src, uint8_t type, uint8_t code)
{
	uint8_t f[128] = {0};
	uint8_t *q = f + 42; /* of a quoted packet */
	uint32_t len = 8 + IP_HDR_LEN + 8;
	eth_build(
		f, (const uint8_t *)"\2\0\0\0\0\2", (const uint8_t *)"\2\0\0\0\0\1", ETH_TYPE_IPV4);
	ip_build(f + 14, src, KIT_US, IP_PROTO_ICMP, len, false);
	f[34] = type;
	f[35] = code;
	ip_build(q, KIT_US, KIT_PEER, IP_PROTO_TCP, 20, false);
	be16_put(f + 36, ip_sum_fold(ip_sum(0, f + 34, len)));
	put_raw(k, f, 34 + len);
}

static void put_echo(struct kit *k, uint32_t src)
{
	put_icmp(k, src, 8, 0);
}

/* ---- Ethernet, ARP ---- */

static void short_frame(struct kit *k)
{
	put_raw(k, (const uint8_t *)"\2\0\0\0\0\2\2\0\0\0", 10);
}

static void other_station(struct kit *k)
{
	uint8_t f[128];
	uint32_t len = some_frame(k, f);
	f[5] = 77;
	put_raw(k, f, len);
}

static void other_protocol(struct kit *k)
{
	uint8_t f[128];
	uint32_t len = some_frame(k, f);
	be16_put(f + 12, 0x88cc);
	put_raw(k, f, len);
}

static void malformed_arp(struct kit *k)
{
	uint8_t f[ARP_FRAME_LEN] = {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 6, 0, 7};
	put_raw(k, f, sizeof(f));
}

static void too_many_for_a_neighbour(struct kit *k)
{
	for (uint32_t i = 0; i < ARP_PENDING_MAX + 1; i++)
		put_echo(k, STRANGER);
}

/* ---- IPv4 ---- */

static void wrong_version(struct kit *k)
{
	put_ip(k, 0, 0x55);
}

static void length_beyond_the_frame(struct kit *k)
{
	put_ip(k, 2, 9);
}

static void wrong_ip_checksum(struct kit *k)
{
	uint8_t f[128];
	uint32_t len = some_frame(k, f);
	f[24] ^= 1;
	put_raw(k, f, len);
}

static void fragment(struct kit *k)
{
	put_ip(k, 6, 0x20);
}

static void wrong_address(struct kit *k)
{
	put_ip(k, 19, 77);
}

static void wrong_address_by_broadcast(struct kit *k)
{
	uint8_t f[128];
	uint32_t len = some_frame(k, f);
	memset(f, 0xff, 6);
	put_raw(k, f, len);
}

static void no_time_to_live(struct kit *k)
{
	put_ip(k, 8, 0);
}

static void other_ip_protocol(struct kit *k)
{
	put_ip(k, 9, 17);
}

static void answer_without_a_way(struct kit *k)
{
	put_echo(k, 0x0b000001);
}

/* ---- ICMP ---- */

static void other_icmp(struct kit *k)
{
	put_icmp(k, KIT_PEER, 13, 0);
}

static void error_about_nothing(struct kit *k)
{
	put_icmp(k, KIT_PEER, 3, 3);
}

static void one_echo_a_second(struct kit *k)
{
	k->cfg.icmp_replies_per_s = 1;
}

static void two_echoes(struct kit *k)
{
	put_echo(k, KIT_PEER);
	put_echo(k, KIT_PEER);
}

static void one_answer_may_wait(struct kit *k)
{
	k->cfg.ctl_frames = 1;
}

static void two_answers(struct kit *k)
{
	k->mute = true;
	two_echoes(k);
}

/* ---- TCP segments ---- */

static void put_tcp_byte(struct kit *k, uint32_t at, uint8_t value)
{
	uint8_t f[128];
	uint32_t len = some_frame(k, f);
	struct net_iov none = {.len = 0};
	f[34 + at] = value;
	tcp_hdr_checksum(f + 34, 20, KIT_PEER, KIT_US, &none, 0, 20, false);
	put_raw(k, f, len);
}

static void impossible_offset(struct kit *k)
{
	put_tcp_byte(k, 12, 0xf0);
}

static void wrong_tcp_checksum(struct kit *k)
{
	uint8_t f[128];
	uint32_t len = some_frame(k, f);
	f[40] ^= 1;
	put_raw(k, f, len);
}

static void port_zero(struct kit *k)
{
	k->peer_port = 0;
	kit_seg(k, TCP_ACK, 1, 1, NULL, 0);
}

static void impossible_flags(struct kit *k)
{
	kit_seg(k, TCP_SYN | TCP_FIN, 0, 0, NULL, 0);
}

static void no_connection(struct kit *k)
{
	kit_seg(k, TCP_ACK, 1, 1, NULL, 0);
}

static void reset_of_no_connection(struct kit *k)
{
	kit_seg(k, TCP_RST, 1, 0, NULL, 0);
}

/* ---- TCP connections ---- */

static void outside_the_window(struct kit *k)
{
	kit_handshake(k);
	kit_seg(k, TCP_ACK, 1000000, 1, "x", 1);
}

static void reset_outside_the_window(struct kit *k)
{
	kit_handshake(k);
	kit_seg(k, TCP_RST, 1000000, 0, NULL, 0);
}

static void no_timestamp(struct kit *k)
{
	uint8_t f[128], opts[40];
	struct tcp_opts o = {.mss = 1460, .wscale = -1, .ts = true, .ts_val = 7};
	uint32_t n = tcp_opts_build(opts, &o);
	put_raw(k, f, kit_frame(k, f, TCP_SYN, k->peer_iss, 0, 65535, opts, n, NULL, 0));
	o.mss = 0;
	n = tcp_opts_build(opts, &o);
	put_raw(k, f,
		kit_frame(k, f, TCP_ACK, k->peer_iss + 1, k->our_iss + 1, 65535, opts, n, NULL, 0));
	kit_seg(k, TCP_ACK, 1, 1, "x", 1);
}

static void old_timestamp(struct kit *k)
{
	uint8_t f[128], opts[40];
	struct tcp_opts o = {.mss = 1460, .wscale = -1, .ts = true, .ts_val = 7};
	uint32_t n = tcp_opts_build(opts, &o);
	put_raw(k, f, kit_frame(k, f, TCP_SYN, k->peer_iss, 0, 65535, opts, n, NULL, 0));
	o.mss = 0;
	o.ts_val = 6;
	n = tcp_opts_build(opts, &o);
	put_raw(k, f,
		kit_frame(k, f, TCP_ACK, k->peer_iss + 1, k->our_iss + 1, 65535, opts, n, NULL, 0));
}

static void ack_of_what_was_not_sent(struct kit *k)
{
	kit_handshake(k);
	kit_seg(k, TCP_ACK, 1, 5000, NULL, 0);
}

static void one_buffer(struct kit *k)
{
	k->cfg.rx_chunks_per_conn = 1;
}

static void a_hole_that_needs_two_buffers(struct kit *k)
{
	kit_handshake(k);
	kit_seg(k, TCP_ACK, 100, 1, "x", 1);
	kit_seg(k, TCP_ACK, 300, 1, "x", 1);
}

static void too_many_holes(struct kit *k)
{
	kit_handshake(k);
	for (uint32_t i = 0; i < TCP_RANGES_MAX + 1; i++)
		kit_seg(k, TCP_ACK, 100 + i * 10, 1, "x", 1);
}

static void more_buffers(struct kit *k)
{
	k->cfg.rx_chunks = 256;
	k->cfg.rx_chunks_per_conn = 200;
}

static void text_behind_the_fin(struct kit *k)
{
	kit_handshake(k);
	kit_seg(k, TCP_ACK | TCP_FIN, 101, 1, NULL, 0);
	kit_seg(k, TCP_ACK, 150, 1, "x", 1);
}

static void one_half_open(struct kit *k)
{
	k->cfg.syn_backlog = 1;
	k->cfg.syn_cookies = false;
}

static void one_connection(struct kit *k)
{
	k->cfg.max_conns = 1;
}

static void two_syns(struct kit *k)
{
	kit_seg(k, TCP_SYN, 0, 0, NULL, 0);
	k->peer_port++;
	kit_seg(k, TCP_SYN, 0, 0, NULL, 0);
}

static const struct reason reasons[] = {
	{"eth_drop_short_total", NULL, short_frame},
	{"eth_drop_other_mac_total", NULL, other_station},
	{"eth_drop_type_total", NULL, other_protocol},
	{"arp_drop_total", NULL, malformed_arp},
	{"arp_pending_drop_total", NULL, too_many_for_a_neighbour},
	{"ip_drop_header_total", NULL, wrong_version},
	{"ip_drop_length_total", NULL, length_beyond_the_frame},
	{"ip_drop_checksum_total", NULL, wrong_ip_checksum},
	{"ip_drop_fragment_total", NULL, fragment},
	{"ip_drop_address_total", NULL, wrong_address},
	{"ip_drop_address_total", NULL, wrong_address_by_broadcast},
	{"ip_drop_ttl_total", NULL, no_time_to_live},
	{"ip_drop_protocol_total", NULL, other_ip_protocol},
	{"ip_drop_no_route_total", NULL, answer_without_a_way},
	{"icmp_drop_total", NULL, other_icmp},
	{"icmp_stale_total", NULL, error_about_nothing},
	{"icmp_limited_total", one_echo_a_second, two_echoes},
	{"ctl_drop_total", one_answer_may_wait, two_answers},
	{"tcp_drop_short_total", NULL, impossible_offset},
	{"tcp_drop_checksum_total", NULL, wrong_tcp_checksum},
	{"tcp_drop_port_total", NULL, port_zero},
	{"tcp_drop_flags_total", NULL, impossible_flags},
	{"tcp_drop_no_conn_total", NULL, no_connection},
	{"tcp_rst_drop_total", NULL, reset_of_no_connection},
	{"tcp_rst_drop_total", NULL, reset_outside_the_window},
	{"tcp_drop_seq_total", NULL, outside_the_window},
	{"tcp_drop_paws_total", NULL, no_timestamp},
	{"tcp_drop_paws_total", NULL, old_timestamp},
	{"tcp_drop_ack_total", NULL, ack_of_what_was_not_sent},
	{"tcp_drop_no_buffer_total", one_buffer, a_hole_that_needs_two_buffers},
	{"tcp_drop_ranges_total", more_buffers, too_many_holes},
	{"tcp_drop_after_fin_total", NULL, text_behind_the_fin},
	{"tcp_syn_drop_backlog_total", one_half_open, two_syns},
	{"tcp_syn_drop_conns_total", one_connection, two_syns},
};

/* ---- the walk ---- */

/* What the table of names puts before each. */
#define PREFIX "stack_"

static bool is_reason(const char *full)
{
	assert_memory_equal(full, PREFIX, strlen(PREFIX));
	const char *name = full + strlen(PREFIX);
	static const char *const prefixes[] = {"eth_", "arp_", "ip_", "icmp_", "tcp_", "ctl_"};
	bool ours = false;
	for (size_t i = 0; i < array_size(prefixes); i++)
		ours |= strncmp(name, prefixes[i], strlen(prefixes[i])) == 0;
	return ours && (strstr(name, "_drop_") || strcmp(name, "icmp_stale_total") == 0 ||
			       strcmp(name, "icmp_limited_total") == 0);
}

static uint64_t value_of(const struct kit *k, const struct metric_desc *d)
{
	return metric_get((const metric_t *)(const void *)((const char *)kit_m(k) + d->offset));
}

static void check_reason(const struct reason *r)
{
	static struct kit k;
	uint32_t count;
	const struct metric_desc *all = ipstack_metric_table(&count);
	kit_config(&k);
	if (r->prepare)
		r->prepare(&k);
	kit_start(&k);
	r->cause(&k);
	for (uint32_t i = 0; i < count; i++) {
		uint64_t want = strcmp(all[i].name + strlen(PREFIX), r->name) == 0,
			 got = value_of(&k, &all[i]);
		if (is_reason(all[i].name) && got != want)
			fail_msg("after what %s counts, %s is %u", r->name, all[i].name,
				(unsigned)got);
	}
	kit_stop(&k);
}

static void test_what_is_dropped_is_counted_once_under_its_reason(void **state)
{
	for (size_t i = 0; i < array_size(reasons); i++)
		check_reason(&reasons[i]);
}

static void test_every_reason_can_be_brought_about(void **state)
{
	uint32_t count;
	const struct metric_desc *all = ipstack_metric_table(&count);
	for (uint32_t i = 0; i < count; i++) {
		bool known = false;
		for (size_t k = 0; k < array_size(reasons); k++)
			known |= strcmp(all[i].name + strlen(PREFIX), reasons[k].name) == 0;
		if (is_reason(all[i].name) && !known)
			fail_msg("nothing here makes %s move", all[i].name);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_dropped_is_counted_once_under_its_reason),
		cmocka_unit_test(test_every_reason_can_be_brought_about),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
