/* SPDX-License-Identifier: Apache-2.0 */
/* Connections from their first segment to their last, against a peer played by the test. */
#include "unit/dataplane/net/tcp_kit.h"

static struct kit k;

static uint32_t usage_conns(void)
{
	struct ipstack_usage u;
	ipstack_usage_get(k.s, &u);
	return u.conns;
}
static uint32_t usage_time_wait(void)
{
	struct ipstack_usage u;
	ipstack_usage_get(k.s, &u);
	return u.time_wait;
}

static void a_syn_ack_announces_mss_and_acknowledges(void **state)
{
	kit_config(&k);
	kit_start(&k);
	kit_seg(&k, TCP_SYN, 0, 0, NULL, 0);
	KIT_EXPECT(&k, TCP_SYN | TCP_ACK, 0, 1, 0);
	assert_int_equal(k.out[0].opts.mss, 1460);
	assert_int_equal(k.nev, 0); /* accepted only when the third segment is here */
	kit_stop(&k);
	(void)state;
}

static void the_syn_ack_is_repeated_by_timer_and_by_another_syn(void **state)
{
	kit_config(&k);
	kit_start(&k);
	kit_seg(&k, TCP_SYN, 0, 0, NULL, 0);
	kit_clear(&k);
	kit_seg(&k, TCP_SYN, 0, 0, NULL, 0);
	KIT_EXPECT(&k, TCP_SYN | TCP_ACK, 0, 1, 0);
	kit_clear(&k);
	kit_run_for(&k, 1100 * NS_PER_MS);
	KIT_EXPECT(&k, TCP_SYN | TCP_ACK, 0, 1, 0);
	kit_clear(&k);
	kit_seg(&k, TCP_ACK, 1, 1, "first", 5); /* the third segment may bring data */
	assert_int_equal(kit_count(&k, IPSTACK_EV_ACCEPTED), 1);
	assert_int_equal(k.ngot, 5);
	kit_stop(&k);
	(void)state;
}

static void half_open_connections_end_by_themselves(void **state)
{
	kit_config(&k);
	kit_start(&k);
	kit_seg(&k, TCP_SYN, 0, 0, NULL, 0);
	assert_int_equal(usage_conns(), 1);
	kit_run_for(&k, 31 * NS_PER_S);
	assert_int_equal(usage_conns(), 0);
	assert_int_equal(k.nev, 0);
	assert_int_equal(kit_m(&k)->tcp_syn_timeout_total.v, 1);
	kit_stop(&k);
	(void)state;
}

static void the_backlog_of_half_open_connections_is_bounded(void **state)
{
	kit_config(&k);
	k.cfg.syn_cookies = false;
	kit_start(&k);
	for (uint16_t i = 0; i < 10; i++) {
		k.peer_port = (uint16_t)(50000 + i);
		kit_seg(&k, TCP_SYN, 0, 0, NULL, 0);
	}
	assert_int_equal(usage_conns(), 4);
	assert_int_equal(k.nout, 4);
	assert_int_equal(kit_m(&k)->tcp_syn_drop_backlog_total.v, 6);
	kit_stop(&k);
	(void)state;
}

static void too_many_connections_drop_the_syn_and_do_not_reset_it(void **state)
{
	kit_config(&k);
	k.cfg.max_conns = 2;
	kit_start(&k);
	for (uint16_t i = 0; i < 2; i++) {
		k.peer_port = (uint16_t)(50000 + i);
		kit_handshake(&k);
	}
	k.peer_port = 50009;
	kit_seg(&k, TCP_SYN, 0, 0, NULL, 0);
	assert_int_equal(k.nout, 0);
	assert_int_equal(kit_m(&k)->tcp_syn_drop_conns_total.v, 1);
	kit_stop(&k);
	(void)state;
}

static void a_wrong_ack_in_the_handshake_is_reset_and_the_handshake_goes_on(void **state)
{
	kit_config(&k);
	kit_start(&k);
	kit_seg(&k, TCP_SYN, 0, 0, NULL, 0);
	kit_clear(&k);
	kit_seg(&k, TCP_ACK, 1, 77, NULL, 0);
	assert_int_equal(k.nout, 1);
	assert_int_equal(k.out[0].flags, TCP_RST);
	assert_int_equal(k.out[0].seq, 77);
	kit_clear(&k);
	kit_seg(&k, TCP_ACK, 1, 1, NULL, 0);
	assert_int_equal(kit_count(&k, IPSTACK_EV_ACCEPTED), 1);
	kit_stop(&k);
	(void)state;
}

static void a_reset_in_the_handshake_is_silent(void **state)
{
	kit_config(&k);
	kit_start(&k);
	kit_seg(&k, TCP_SYN, 0, 0, NULL, 0);
	kit_clear(&k);
	kit_seg(&k, TCP_RST, 1, 0, NULL, 0);
	assert_int_equal(usage_conns(), 0);
	assert_int_equal(k.nev + k.nout, 0);
	kit_stop(&k);
	(void)state;
}

static void after_unlisten_nothing_is_accepted_and_open_connections_go_on(void **state)
{
	kit_open(&k);
	k.peer_port = 50001;
	kit_seg(&k, TCP_SYN, 0, 0, NULL, 0);
	assert_int_equal(usage_conns(), 2);
	ipstack_unlisten(k.s, KIT_PORT);
	assert_int_equal(usage_conns(), 1);
	k.peer_port = 50002;
	kit_clear(&k);
	kit_seg(&k, TCP_SYN, 0, 0, NULL, 0);
	assert_int_equal(k.out[0].flags, TCP_RST | TCP_ACK);
	assert_string_equal(kit_state(&k), "ESTABLISHED");
	kit_stop(&k);
	(void)state;
}

/* The peer closes first: CLOSE_WAIT, LAST_ACK, gone. */
static void the_peer_closes_first(void **state)
{
	kit_open(&k);
	kit_seg(&k, TCP_ACK | TCP_FIN, 1, 1, "bye", 3);
	assert_int_equal(k.ngot, 3);
	assert_int_equal(kit_count(&k, IPSTACK_EV_PEER_FIN), 1);
	KIT_EXPECT(&k, TCP_ACK, 1, 5, 0);
	assert_string_equal(kit_state(&k), "CLOSE_WAIT");
	kit_clear(&k);
	kit_send(&k, "answer", 6, 1); /* half-closed: we may still send */
	ipstack_close(k.s, k.now, k.conn);
	kit_turn(&k);
	assert_int_equal(k.nout, 2);
	assert_int_equal(k.out[1].flags, TCP_ACK | TCP_FIN);
	assert_int_equal(k.out[1].seq, 7);
	assert_string_equal(kit_state(&k), "LAST_ACK");
	kit_clear(&k);
	kit_run_for(&k, 210 * NS_PER_MS); /* data and FIN are repeated in LAST_ACK */
	KIT_EXPECT(&k, TCP_ACK | TCP_FIN, 1, 5, 6);
	kit_clear(&k);
	kit_seg(&k, TCP_ACK, 5, 8, NULL, 0);
	assert_int_equal(k.nev, 2);
	assert_int_equal(k.ev[0].kind, IPSTACK_EV_SENT);
	assert_int_equal(k.ev[1].kind, IPSTACK_EV_CLOSED);
	assert_int_equal(k.ev[1].closed.reason, IPSTACK_CLOSED_NORMAL);
	assert_int_equal(usage_conns() + usage_time_wait(), 0);
	kit_stop(&k);
	(void)state;
}

static void we_close_first_and_keep_receiving_until_the_peer_closes(void **state)
{
	kit_open(&k);
	kit_send(&k, "data", 4, 1);
	ipstack_close(k.s, k.now, k.conn);
	kit_clear(&k);
	kit_turn(&k);
	KIT_EXPECT(&k, TCP_ACK | TCP_FIN, 5, 1, 0);
	assert_string_equal(kit_state(&k), "FIN_WAIT_1");
	kit_seg(&k, TCP_ACK, 1, 6, NULL, 0);
	assert_string_equal(kit_state(&k), "FIN_WAIT_2");
	kit_clear(&k);
	kit_seg(&k, TCP_ACK, 1, 6, "late", 4);
	assert_int_equal(k.ngot, 4);
	kit_clear(&k);
	kit_seg(&k, TCP_ACK | TCP_FIN, 5, 6, NULL, 0);
	KIT_EXPECT(&k, TCP_ACK, 6, 6, 0);
	assert_int_equal(k.nev, 2);
	assert_int_equal(k.ev[0].kind, IPSTACK_EV_PEER_FIN);
	assert_int_equal(k.ev[1].closed.reason, IPSTACK_CLOSED_NORMAL);
	assert_int_equal(usage_time_wait(), 1);
	assert_int_equal(usage_conns(), 0);
	kit_stop(&k);
	(void)state;
}

static void a_simultaneous_close_repeats_the_fin_in_closing(void **state)
{
	kit_open(&k);
	ipstack_close(k.s, k.now, k.conn);
	kit_turn(&k);
	kit_seg(&k, TCP_ACK | TCP_FIN, 1, 1, NULL, 0); /* does not acknowledge our FIN */
	assert_string_equal(kit_state(&k), "CLOSING");
	kit_clear(&k);
	kit_run_for(&k, 210 * NS_PER_MS);
	KIT_EXPECT(&k, TCP_ACK | TCP_FIN, 1, 2, 0);
	kit_seg(&k, TCP_ACK, 2, 2, NULL, 0);
	assert_int_equal(usage_time_wait(), 1);
	kit_stop(&k);
	(void)state;
}

static void a_fin_that_acknowledges_our_fin_goes_straight_to_time_wait(void **state)
{
	kit_open(&k);
	ipstack_close(k.s, k.now, k.conn);
	kit_turn(&k);
	kit_clear(&k);
	kit_seg(&k, TCP_ACK | TCP_FIN, 1, 2, "x", 1);
	assert_int_equal(k.ngot, 1);
	assert_int_equal(usage_time_wait(), 1);
	assert_int_equal(k.out[0].ack, 3);
	kit_stop(&k);
	(void)state;
}

static void a_silent_peer_in_fin_wait_2_is_given_up(void **state)
{
	kit_open(&k);
	ipstack_close(k.s, k.now, k.conn);
	kit_turn(&k);
	kit_seg(&k, TCP_ACK, 1, 2, NULL, 0);
	kit_clear(&k);
	kit_run_for(&k, 50 * NS_PER_S);
	kit_seg(&k, TCP_ACK, 1, 2, "x", 1); /* it still sends: go on */
	kit_run_for(&k, 50 * NS_PER_S);
	assert_string_equal(kit_state(&k), "FIN_WAIT_2");
	kit_run_for(&k, 20 * NS_PER_S);
	assert_int_equal(k.ev[0].closed.reason, IPSTACK_CLOSED_TIMEOUT);
	kit_stop(&k);
	(void)state;
}

/* Brings the connection into TIME_WAIT: our last number is 2, the peer's too. */
static void into_time_wait(void)
{
	kit_open(&k);
	ipstack_close(k.s, k.now, k.conn);
	kit_turn(&k);
	kit_seg(&k, TCP_ACK | TCP_FIN, 1, 2, NULL, 0);
	assert_int_equal(usage_time_wait(), 1);
	kit_clear(&k);
}

static void time_wait_acknowledges_a_repeated_fin_and_starts_again(void **state)
{
	into_time_wait();
	kit_run_for(&k, 40 * NS_PER_S);
	kit_seg(&k, TCP_ACK | TCP_FIN, 1, 2, NULL, 0);
	KIT_EXPECT(&k, TCP_ACK, 2, 2, 0);
	kit_run_for(&k, 40 * NS_PER_S);
	assert_int_equal(usage_time_wait(), 1);
	kit_run_for(&k, 21 * NS_PER_S);
	assert_int_equal(usage_time_wait(), 0);
	kit_stop(&k);
	(void)state;
}

static void time_wait_ignores_rst_and_does_not_answer_acks(void **state)
{
	into_time_wait();
	kit_seg(&k, TCP_RST, 2, 0, NULL, 0);
	kit_seg(&k, TCP_ACK, 2, 2, NULL, 0);
	kit_seg(&k, TCP_ACK, 2, 1, NULL, 0);
	assert_int_equal(usage_time_wait(), 1);
	assert_int_equal(k.nout, 0);
	kit_stop(&k);
	(void)state;
}

static void a_new_syn_with_a_higher_number_replaces_time_wait(void **state)
{
	into_time_wait();
	kit_seg(&k, TCP_SYN, 0, 0, NULL, 0); /* an old one: not */
	assert_int_equal(usage_time_wait(), 1);
	kit_clear(&k);
	uint32_t old = k.our_iss;
	k.peer_iss += 1000;
	kit_handshake(&k);
	assert_true(seq_lt(old + 2, k.our_iss)); /* beyond the old incarnation */
	assert_int_equal(usage_time_wait(), 0);
	assert_int_equal(kit_m(&k)->tcp_time_wait_reused_total.v, 1);
	kit_stop(&k);
	(void)state;
}

static void the_number_of_time_waits_is_bounded_and_the_oldest_goes_first(void **state)
{
	kit_config(&k);
	kit_start(&k);
	for (uint16_t i = 0; i < 6; i++) {
		k.peer_port = (uint16_t)(50000 + i);
		kit_handshake(&k);
		ipstack_close(k.s, k.now, k.conn);
		kit_turn(&k);
		kit_seg(&k, TCP_ACK | TCP_FIN, 1, 2, NULL, 0);
		kit_clear(&k);
	}
	assert_int_equal(usage_time_wait(), 4);
	k.peer_port = 50000; /* evicted: nobody */
	kit_seg(&k, TCP_ACK | TCP_FIN, 1, 2, NULL, 0);
	assert_int_equal(k.out[0].flags, TCP_RST);
	kit_stop(&k);
	(void)state;
}

static void stale_handles_name_nothing(void **state)
{
	kit_open(&k);
	ipstack_conn_t old = k.conn;
	ipstack_abort(k.s, old);
	kit_turn(&k);
	kit_clear(&k);
	k.peer_port = 50001;
	kit_handshake(&k); /* takes the same slot */
	assert_int_equal((uint32_t)old, (uint32_t)k.conn);
	assert_int_not_equal(old, k.conn);
	ipstack_abort(k.s, old);
	ipstack_close(k.s, k.now, old);
	ipstack_pause(k.s, old, true);
	kit_turn(&k);
	assert_string_equal(kit_state(&k), "ESTABLISHED");
	assert_int_equal(k.nout + k.nev, 0);
	kit_stop(&k);
	(void)state;
}

static void user_values_come_back_with_events(void **state)
{
	kit_open(&k);
	ipstack_set_user(k.s, k.conn, &k);
	kit_seg(&k, TCP_ACK | TCP_FIN, 1, 1, NULL, 0);
	assert_ptr_equal(k.ev[0].user, &k);
	kit_stop(&k);
	(void)state;
}

/* ---- active open ---- */

static void connect_to_peer(void)
{
	kit_config(&k);
	kit_start(&k);
	assert_int_equal(
		ipstack_connect(k.s, k.now, KIT_PEER, KIT_PEER_PORT, KIT_PORT, &k.conn), 0);
	kit_turn(&k);
	assert_int_equal(k.nout, 1);
	assert_int_equal(k.out[0].flags, TCP_SYN);
	kit_clear(&k);
}

static void an_active_open_reports_connected(void **state)
{
	connect_to_peer();
	assert_string_equal(kit_state(&k), "SYN_SENT");
	kit_seg(&k, TCP_SYN | TCP_ACK, 0, 1, NULL, 0);
	KIT_EXPECT(&k, TCP_ACK, 1, 1, 0);
	assert_int_equal(kit_count(&k, IPSTACK_EV_CONNECTED), 1);
	assert_string_equal(kit_state(&k), "ESTABLISHED");
	kit_stop(&k);
	(void)state;
}

static void in_syn_sent_a_rst_counts_only_with_the_right_ack(void **state)
{
	connect_to_peer();
	kit_seg(&k, TCP_RST, 0, 0, NULL, 0);
	kit_seg(&k, TCP_RST | TCP_ACK, 0, 5, NULL, 0);
	assert_int_equal(k.nout, 0); /* a RST is not answered, right or wrong */
	assert_string_equal(kit_state(&k), "SYN_SENT");
	kit_seg(&k, TCP_RST | TCP_ACK, 0, 1, NULL, 0);
	assert_int_equal(k.ev[0].closed.reason, IPSTACK_CLOSED_REFUSED);
	kit_stop(&k);
	(void)state;
}

static void in_syn_sent_a_wrong_ack_is_reset(void **state)
{
	connect_to_peer();
	kit_seg(&k, TCP_SYN | TCP_ACK, 0, 9, NULL, 0);
	assert_int_equal(k.nout, 1);
	assert_int_equal(k.out[0].flags, TCP_RST);
	assert_int_equal(k.out[0].seq, 9);
	assert_string_equal(kit_state(&k), "SYN_SENT");
	kit_stop(&k);
	(void)state;
}

static void a_simultaneous_open_connects(void **state)
{
	connect_to_peer();
	kit_seg(&k, TCP_SYN, 0, 0, NULL, 0);
	KIT_EXPECT(&k, TCP_SYN | TCP_ACK, 0, 1, 0);
	assert_string_equal(kit_state(&k), "SYN_RCVD");
	kit_clear(&k);
	kit_seg(&k, TCP_SYN | TCP_ACK, 0, 1, NULL, 0); /* the peer has done the same */
	assert_int_equal(kit_count(&k, IPSTACK_EV_CONNECTED), 1);
	KIT_EXPECT(&k, TCP_ACK, 1, 1, 0);
	kit_stop(&k);
	(void)state;
}

static void a_simultaneous_open_after_a_lost_syn_keeps_its_window_in_segments(void **state)
{
	connect_to_peer();
	kit_run_for(&k, 1100 * NS_PER_MS); /* the window is one segment of the default size now */
	kit_clear(&k);
	kit_seg(&k, TCP_SYN, 0, 0, NULL, 0); /* and the peer's segments are larger */
	kit_seg(&k, TCP_ACK, 1, 1, NULL, 0);
	struct ipstack_conn_info info;
	assert_int_equal(ipstack_conn_info_get(k.s, k.conn, &info), 0);
	assert_int_equal(info.cwnd, info.mss);
	kit_stop(&k);
	(void)state;
}

static void a_connect_without_answer_ends(void **state)
{
	connect_to_peer();
	kit_run_for(&k, 31 * NS_PER_S);
	assert_int_equal(k.nev, 1);
	assert_int_equal(k.ev[0].closed.reason, IPSTACK_CLOSED_TIMEOUT);
	assert_true(k.nout >= 4); /* SYN again at 1, 3, 7, 15 s */
	kit_stop(&k);
	(void)state;
}

static void a_connect_refuses_what_cannot_be(void **state)
{
	connect_to_peer();
	ipstack_conn_t c;
	assert_int_equal(ipstack_connect(k.s, k.now, 0x7f000001, 1, 0, &c), -EINVAL);
	assert_int_equal(ipstack_connect(k.s, k.now, KIT_PEER, 0, 0, &c), -EINVAL);
	assert_int_equal(ipstack_connect(k.s, k.now, KIT_US, 1, 0, &c), -EINVAL);
	assert_int_equal(
		ipstack_connect(k.s, k.now, KIT_PEER, KIT_PEER_PORT, KIT_PORT, &c), -EADDRINUSE);
	struct net_iov iov = {.p = (const uint8_t *)"x", .len = 1};
	assert_int_equal(ipstack_send(k.s, k.now, k.conn, &iov, 1, 1), -ENOTCONN);
	kit_stop(&k);
	(void)state;
}

static void chosen_ports_differ_and_start_at_a_place_that_depends_on_the_peer(void **state)
{
	kit_config(&k);
	kit_start(&k);
	uint16_t ports[4];
	for (uint32_t i = 0; i < 4; i++) {
		ipstack_conn_t c;
		assert_int_equal(
			ipstack_connect(k.s, k.now, KIT_PEER, (uint16_t)(80 + i / 2), 0, &c), 0);
		struct ipstack_conn_info info;
		ipstack_conn_info_get(k.s, c, &info);
		ports[i] = info.local_port;
		assert_true(info.local_port >= 32768);
	}
	assert_int_not_equal(ports[0], ports[1]);
	assert_int_not_equal(ports[2], ports[1] + 1);
	kit_stop(&k);
	(void)state;
}

static void initial_numbers_depend_on_key_addresses_and_time(void **state)
{
	kit_config(&k);
	kit_start(&k);
	struct tcp t = {.cfg = &k.cfg, .isn_key = {.k0 = 1, .k1 = 2}};
	uint64_t a = flow_key(KIT_PEER, 1, 2), b = flow_key(KIT_PEER, 2, 2);
	uint32_t isn = tcp_isn(&t, NS_PER_S, a);
	assert_int_equal(tcp_isn(&t, NS_PER_S, a), isn);
	assert_int_equal(tcp_isn(&t, 2 * NS_PER_S, a), isn + 250000); /* 4 us per step */
	assert_int_not_equal(tcp_isn(&t, NS_PER_S, b), isn);
	t.isn_key.k0 = 3;
	assert_int_not_equal(tcp_isn(&t, NS_PER_S, a), isn);
	kit_stop(&k);
	(void)state;
}

static void a_link_that_comes_back_wakes_retransmissions(void **state)
{
	kit_open(&k);
	kit_send(&k, "data", 4, 1);
	kit_run_for(&k, 10 * NS_PER_S);
	kit_clear(&k);
	ipstack_link_up(k.s, k.now);
	kit_run_for(&k, 2 * NS_PER_MS);
	KIT_EXPECT(&k, TCP_ACK, 1, 1, 4);
	assert_true(k.other_frames >= 1); /* gratuitous ARP */
	kit_stop(&k);
	(void)state;
}

static void the_dump_says_what_a_connection_does(void **state)
{
	kit_open(&k);
	char buf[512], tiny[8];
	assert_true(ipstack_dump(k.s, buf, sizeof(buf)) > 0);
	assert_non_null(strstr(buf, "ESTABLISHED :9092 peer 10.0.0.1:50000"));
	assert_int_equal(ipstack_dump(k.s, tiny, sizeof(tiny)), 7);
	kit_stop(&k);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_syn_ack_announces_mss_and_acknowledges),
		cmocka_unit_test(the_syn_ack_is_repeated_by_timer_and_by_another_syn),
		cmocka_unit_test(half_open_connections_end_by_themselves),
		cmocka_unit_test(the_backlog_of_half_open_connections_is_bounded),
		cmocka_unit_test(too_many_connections_drop_the_syn_and_do_not_reset_it),
		cmocka_unit_test(a_wrong_ack_in_the_handshake_is_reset_and_the_handshake_goes_on),
		cmocka_unit_test(a_reset_in_the_handshake_is_silent),
		cmocka_unit_test(after_unlisten_nothing_is_accepted_and_open_connections_go_on),
		cmocka_unit_test(the_peer_closes_first),
		cmocka_unit_test(we_close_first_and_keep_receiving_until_the_peer_closes),
		cmocka_unit_test(a_simultaneous_close_repeats_the_fin_in_closing),
		cmocka_unit_test(a_fin_that_acknowledges_our_fin_goes_straight_to_time_wait),
		cmocka_unit_test(a_silent_peer_in_fin_wait_2_is_given_up),
		cmocka_unit_test(time_wait_acknowledges_a_repeated_fin_and_starts_again),
		cmocka_unit_test(time_wait_ignores_rst_and_does_not_answer_acks),
		cmocka_unit_test(a_new_syn_with_a_higher_number_replaces_time_wait),
		cmocka_unit_test(the_number_of_time_waits_is_bounded_and_the_oldest_goes_first),
		cmocka_unit_test(stale_handles_name_nothing),
		cmocka_unit_test(user_values_come_back_with_events),
		cmocka_unit_test(an_active_open_reports_connected),
		cmocka_unit_test(in_syn_sent_a_rst_counts_only_with_the_right_ack),
		cmocka_unit_test(in_syn_sent_a_wrong_ack_is_reset),
		cmocka_unit_test(a_simultaneous_open_connects),
		cmocka_unit_test(a_simultaneous_open_after_a_lost_syn_keeps_its_window_in_segments),
		cmocka_unit_test(a_connect_without_answer_ends),
		cmocka_unit_test(a_connect_refuses_what_cannot_be),
		cmocka_unit_test(chosen_ports_differ_and_start_at_a_place_that_depends_on_the_peer),
		cmocka_unit_test(initial_numbers_depend_on_key_addresses_and_time),
		cmocka_unit_test(a_link_that_comes_back_wakes_retransmissions),
		cmocka_unit_test(the_dump_says_what_a_connection_does),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
