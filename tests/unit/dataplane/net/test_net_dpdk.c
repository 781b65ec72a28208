/* SPDX-License-Identifier: Apache-2.0 */
/* The dpdk transport on a port inside this process. */
#include "net_dpdk_kit.h"

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

static void test_a_tag_that_only_has_a_priority_is_taken_off(void **state)
{
	struct rig *r = *state;
	uint8_t f[FRAME_MAX], back[FRAME_MAX];
	uint64_t before = PORT_SUM(r, drop_vlan_total);
	uint8_t *icmp = f + 34;
	for (uint32_t tci = 0xe000; tci < 0xe002; tci++) {
		memset(icmp, 0, 64);
		icmp[0] = 8;
		put16(icmp + 2, sum(icmp, 64, 0));
		uint32_t len = ip_frame(r, f, 1, 64);
		memmove(f + 16, f + 12, len - 12);
		put16(f + 12, 0x8100);
		put16(f + 14, tci);
		inject(r, f, len + 4);
		turns(r);
	}
	assert_true(take(r, back) >= 98);
	assert_int_equal(back[12] << 8 | back[13], 0x0800);
	assert_int_equal(take(r, back), 0);
	assert_int_equal(PORT_SUM(r, drop_vlan_total), before + 1);
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

static void test_each_shard_hears_the_answer_to_its_own_arp_request(void **state)
{
	struct rig *r = *state;
	char text[FRAME_MAX];
	uint32_t len;
	for (uint32_t i = 0; i < 16; i++) { /* to this or that shard; a peer never heard of */
		struct seg s = {.port = r->next_port++, .seq = 1000, .flags = SYN}, answer;
		r->peer_ip[3] = (uint8_t)(100 + i);
		drop_sent(r);
		inject_seg(r, &s);
		turns(r);
		assert_false(take_seg(r, &answer, text, &len));
		inject_arp(r, 2, r->our_mac);
		turns(r);
		assert_true(take_seg(r, &answer, text, &len));
		assert_int_equal(answer.flags, SYN | ACK);
		s = (struct seg){.port = s.port, .seq = 1001, .flags = RST};
		inject_seg(r, &s);
		turns(r);
	}
	r->peer_ip[3] = 9;
	drop_sent(r);
}

/* The SYN that was sent: its local port and sequence number. */
static struct seg take_syn(struct rig *r)
{
	uint8_t f[FRAME_MAX];
	uint32_t len;
	while ((len = take(r, f)) != 0)
		if (f[12] == 0x08 && f[13] == 0 && f[23] == 6 && (f[47] & (SYN | ACK)) == SYN)
			return (struct seg){
				.port = (uint16_t)(f[34] << 8 | f[35]), .seq = get32(f + 38)};
	fail_msg("no SYN");
	return (struct seg){0};
}

/* As inject_seg, to a port of ours: from PORT of the peer. */
static void inject_answer(struct rig *r, const struct seg *s)
{
	uint8_t f[FRAME_MAX];
	uint8_t *t = f + 34;
	uint32_t pseudo = 6 + 20;
	memset(t, 0, 20);
	put16(t, PORT);
	put16(t + 2, s->port);
	put32(t + 4, s->seq);
	put32(t + 8, s->ack);
	t[12] = 5 << 4;
	t[13] = s->flags;
	put16(t + 14, 60000);
	for (uint32_t i = 0; i < 4; i += 2)
		pseudo += (uint32_t)(r->peer_ip[i] << 8 | r->peer_ip[i + 1]) +
			  (uint32_t)(our_ip[i] << 8 | our_ip[i + 1]);
	put16(t + 16, sum(t, 20, pseudo));
	inject(r, f, ip_frame(r, f, 6, 20));
}

static void test_what_a_shard_connects_comes_back_to_it(void **state)
{
	struct rig *r = *state;
	uint8_t ip[16] = {[10] = 0xff, 0xff};
	memcpy(ip + 12, r->peer_ip, 4);
	for (uint32_t i = 0; i < 16; i++) {
		net_conn_t conn;
		drop_sent(r);
		assert_int_equal(net_connect(r->net[i % SHARDS], ip, PORT, &conn), 0);
		turns(r);
		struct seg s = take_syn(r);
		s = (struct seg){.port = s.port, .seq = 5000, .ack = s.seq + 1, .flags = SYN | ACK};
		inject_answer(r, &s);
		turns(r);
		const struct net_event *ev = event(r, NET_EV_CONNECTED);
		assert_int_equal(r->shard_of_ev[ev - r->ev], i % SHARDS);
		assert_true(ev->conn == conn);
		assert_memory_equal(ev->peer.ip, ip, 16);
		s = (struct seg){.port = s.port, .seq = 5001, .flags = RST};
		inject_answer(r, &s);
		turns(r);
		assert_true(event(r, NET_EV_CLOSED)->conn == conn);
	}
	net_conn_t conn;
	assert_int_equal(net_connect(r->net[0], ip, PORT, &conn), 0);
	turns(r);
	struct seg s = take_syn(r);
	s = (struct seg){.port = s.port, .ack = s.seq + 1, .flags = RST | ACK};
	inject_answer(r, &s); /* refused */
	turns(r);
	assert_true(event(r, NET_EV_CLOSED)->conn == conn);
	drop_sent(r);
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
	uint64_t before = PORT_SUM(r, drop_stuck_total) + PORT_SUM(r, drop_carrier_total);
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
	assert_true(PORT_SUM(r, drop_stuck_total) + PORT_SUM(r, drop_carrier_total) > before);
	/* Room again: the peer asks again and gets its ACK. */
	inject_seg(r, &s);
	turns(r);
	assert_true(take_seg(r, &answer, text, &len));
	assert_int_equal(answer.ack, s.seq + 5);
	s.seq += 5;
	reset(r, &s);
}

/* The time of a peer that asks again after 200 ms. */
static void wait_200_ms(struct rig *r)
{
	for (uint32_t i = 0; i < 40; i++)
		turns(r);
}

static void test_shards_without_packet_buffers_go_on_when_there_are_some_again(void **state)
{
	struct rig *r = *state;
	struct seg s, answer;
	char text[FRAME_MAX];
	uint32_t len, taken = 0;
	static struct rte_mbuf *held[2 * 8192];
	handshake(r, &s);
	drop_sent(r);
	/* What shards keep as a reserve for the next burst is used up by asking. */
	uint64_t before = PORT_SUM(r, no_buffers_total);
	for (uint32_t i = 0; i < SHARDS; i++) {
		char name[32];
		snprintf(name, sizeof(name), "millrace_%u", i);
		struct rte_mempool *pool = rte_mempool_lookup(name);
		assert_non_null(pool);
		while ((held[taken] = rte_pktmbuf_alloc(pool)) != NULL)
			taken++;
	}
	s.flags = ACK | PSH;
	s.text = "ping?";
	for (uint32_t i = 0; i < 80; i++) {
		inject_seg(r, &s);
		turns(r);
	}
	assert_true(PORT_SUM(r, no_buffers_total) > before);
	rte_pktmbuf_free_bulk(held, taken);
	wait_200_ms(r);
	drop_sent(r);
	inject_seg(r, &s);
	turns(r);
	assert_true(take_seg(r, &answer, text, &len));
	assert_int_equal(answer.ack, s.seq + 5);
	s.seq += 5;
	reset(r, &s);
}

static void test_a_frame_in_pieces_is_dropped_and_counted(void **state)
{
	struct rig *r = *state;
	struct rte_mbuf *head = rte_pktmbuf_alloc(r->pool), *tail = rte_pktmbuf_alloc(r->pool);
	uint64_t before = PORT_SUM(r, drop_segments_total);
	memset(rte_pktmbuf_append(head, 60), 0, 60);
	memset(rte_pktmbuf_append(tail, 60), 0, 60);
	assert_int_equal(rte_pktmbuf_chain(head, tail), 0);
	assert_int_equal(rte_ring_enqueue(r->in, head), 0);
	turns(r);
	assert_int_equal(PORT_SUM(r, drop_segments_total), before + 1);
}

static void test_a_shard_that_does_not_turn_does_not_stop_the_other(void **state)
{
	struct rig *r = *state;
	struct seg s, answer;
	char text[FRAME_MAX];
	uint32_t len, shard = 0;
	uint64_t before = PORT_SUM(r, drop_forward_total);
	while (shard == 0) { /* shard 0 has the only queue */
		const struct net_event *ev = handshake(r, &s);
		shard = r->shard_of_ev[ev - r->ev];
		if (shard == 0)
			reset(r, &s);
	}
	s.flags = ACK | PSH;
	s.text = "more";
	for (uint32_t i = 0; i < 2500; i++) {
		inject_seg(r, &s);
		r->now += 100 * NS_PER_US;
		turn_shard(r, 0);
	}
	assert_true(PORT_SUM(r, drop_forward_total) > before);
	drop_sent(r);
	wait_200_ms(r);
	drop_sent(r);
	inject_seg(r, &s);
	turns(r);
	assert_true(take_seg(r, &answer, text, &len));
	assert_int_equal(answer.ack, s.seq + 4);
	s.seq += 4;
	reset(r, &s);
}

static void test_a_link_that_comes_back_is_announced_and_what_was_lost_is_sent_again(void **state)
{
	struct rig *r = *state;
	struct seg s;
	uint8_t f[FRAME_MAX];
	uint32_t len, announced = 0;
	uint16_t port;
	assert_int_equal(rte_eth_dev_get_port_by_name("net_ring_wire", &port), 0);
	const struct net_event *ev = handshake(r, &s);
	uint32_t shard = r->shard_of_ev[ev - r->ev];
	net_conn_t conn = ev->conn;
	for (uint32_t i = 0; i < 250; i++) /* over a second: the link is looked at */
		turns(r);
	assert_int_equal(PORT_SUM(r, link_up), 1);
	uint64_t changes = PORT_SUM(r, link_changes_total);
	assert_int_equal(rte_eth_dev_set_link_down(port), 0);
	struct net_iov iov = {.p = (const uint8_t *)"lost?", .len = 5};
	assert_int_equal(net_send(r->net[shard], conn, &iov, 1, 77), 0);
	for (uint32_t i = 0; i < 250; i++)
		turns(r);
	assert_int_equal(PORT_SUM(r, link_up), 0);
	drop_sent(r);
	assert_int_equal(rte_eth_dev_set_link_up(port), 0);
	bool resent = false;
	for (uint32_t i = 0; i < 500 && (announced < SHARDS || !resent); i++) {
		turns(r);
		while ((len = take(r, f)) != 0) {
			announced += f[12] == 0x08 && f[13] == 0x06 && f[0] == 0xff;
			resent |= len >= 59 && memcmp(f + len - 5, "lost?", 5) == 0;
		}
	}
	assert_true(resent);
	assert_int_equal(announced, SHARDS);
	assert_int_equal(PORT_SUM(r, link_up), 1);
	assert_int_equal(PORT_SUM(r, link_changes_total), changes + 2);
	s.ack += 5;
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
		{"tap:x,fixed", "10.0.0.1/24", "",
			"dpdk.port=tap:x,fixed: what follows the name is not KEY=VALUE,... for its "
			"driver"},
		{"ring:x,a=b", "10.0.0.1/24", "",
			"dpdk.port=ring:x,a=b: what follows the name is not KEY=VALUE,... for its "
			"driver"},
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
		cmocka_unit_test(test_a_tag_that_only_has_a_priority_is_taken_off),
		cmocka_unit_test(test_flows_are_spread_and_each_stays_on_its_shard),
		cmocka_unit_test(test_shard_one_answers_a_peer_that_only_shard_zero_has_heard),
		cmocka_unit_test(test_each_shard_hears_the_answer_to_its_own_arp_request),
		cmocka_unit_test(test_what_a_shard_connects_comes_back_to_it),
		cmocka_unit_test(test_a_send_without_a_cookie_is_copied_and_not_reported),
		cmocka_unit_test(test_after_the_peers_fin_the_answer_goes_out_before_ours),
		cmocka_unit_test(test_an_abort_sends_a_reset_and_reports_what_was_queued),
		cmocka_unit_test(
			test_frames_that_the_port_does_not_take_wait_and_are_dropped_after_a_while),
		cmocka_unit_test(
			test_shards_without_packet_buffers_go_on_when_there_are_some_again),
		cmocka_unit_test(test_a_frame_in_pieces_is_dropped_and_counted),
		cmocka_unit_test(test_a_shard_that_does_not_turn_does_not_stop_the_other),
		cmocka_unit_test(
			test_a_link_that_comes_back_is_announced_and_what_was_lost_is_sent_again),
		cmocka_unit_test(test_garbage_is_counted_and_answered_with_nothing),
	};
	return cmocka_run_group_tests(tests, open_all, close_all);
}
