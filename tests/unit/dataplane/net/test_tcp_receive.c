/* SPDX-License-Identifier: Apache-2.0 */
/* The receive path against a peer played by the test. */
#include "unit/dataplane/net/tcp_kit.h"

static struct kit k;
static uint8_t text[65536];

static void malformed_headers_are_dropped_before_they_are_read(void **state)
{
	kit_open(&k);
	uint8_t f[200], good[200];
	uint32_t n =
		kit_frame(&k, good, TCP_ACK, k.peer_iss + 1, k.our_iss + 1, 100, NULL, 0, "abc", 3);
	for (uint8_t off = 0; off < 16; off++) { /* data offset: too small, or beyond the segment */
		memcpy(f, good, n);
		f[46] = (uint8_t)(off << 4);
		ipstack_input(k.s, k.now, f, n, true, true, NULL);
		kit_turn(&k);
	}
	assert_int_equal(kit_m(&k)->tcp_drop_short_total.v, 15); /* 5 is right; 6 (24 bytes) > 23 */
	assert_int_equal(k.ngot, 3);
	for (uint32_t cut = 0; cut < 20; cut++) { /* IP says that TCP has fewer than 20 bytes */
		memcpy(f, good, n);
		ip_build(f + 14, KIT_PEER, KIT_US, IP_PROTO_TCP, cut, false);
		ipstack_input(k.s, k.now, f, n, true, true, NULL);
	}
	assert_int_equal(kit_m(&k)->tcp_drop_short_total.v, 35);
	kit_stop(&k);
	(void)state;
}

static void a_wrong_checksum_is_dropped_and_known_good_is_not_verified(void **state)
{
	kit_open(&k);
	uint8_t f[200];
	uint32_t n =
		kit_frame(&k, f, TCP_ACK, k.peer_iss + 1, k.our_iss + 1, 100, NULL, 0, "abc", 3);
	f[n - 1] ^= 1;
	ipstack_input(k.s, k.now, f, n, false, false, NULL);
	kit_turn(&k);
	assert_int_equal(k.ngot, 0);
	assert_int_equal(kit_m(&k)->tcp_drop_checksum_total.v, 1);
	ipstack_input(k.s, k.now, f, n, false, true, NULL);
	kit_turn(&k);
	assert_int_equal(k.ngot, 3);
	kit_stop(&k);
	(void)state;
}

static void padding_of_short_frames_is_not_data(void **state)
{
	kit_open(&k);
	uint8_t f[80] = {0};
	kit_frame(&k, f, TCP_ACK, k.peer_iss + 1, k.our_iss + 1, 100, NULL, 0, "a", 1);
	ipstack_input(k.s, k.now, f, 60, false, false, NULL);
	kit_turn(&k);
	assert_int_equal(k.ngot, 1);
	kit_stop(&k);
	(void)state;
}

static void rst_resets_only_at_exactly_rcv_nxt(void **state)
{
	kit_open(&k);
	kit_seg(&k, TCP_RST, 2, 0, NULL, 0); /* in the window: a challenge ACK */
	KIT_EXPECT(&k, TCP_ACK, 1, 1, 0);
	kit_clear(&k);
	kit_seg(&k, TCP_RST, 1 + 65536 + 10, 0, NULL, 0); /* outside: nothing */
	kit_seg(&k, TCP_RST, 0, 0, NULL, 0);
	assert_int_equal(k.nout, 0);
	assert_string_equal(kit_state(&k), "ESTABLISHED");
	kit_seg(&k, TCP_RST, 1, 0, NULL, 0);
	assert_int_equal(k.nev, 1);
	assert_int_equal(k.ev[0].kind, IPSTACK_EV_CLOSED);
	assert_int_equal(k.ev[0].closed.reason, IPSTACK_CLOSED_RESET);
	assert_int_equal(k.nout, 0);
	kit_stop(&k);
	(void)state;
}

static void rst_to_nobody_is_built_from_the_segment_and_never_answers_a_rst(void **state)
{
	kit_config(&k);
	kit_start(&k);
	ipstack_unlisten(k.s, KIT_PORT);
	k.our_iss = 5000;
	kit_seg(&k, TCP_ACK, 7, 9, "abc", 3);
	assert_int_equal(k.nout, 1);
	assert_int_equal(k.out[0].flags, TCP_RST);
	assert_int_equal(k.out[0].raw_seq, 5009);
	kit_clear(&k);
	kit_seg(&k, TCP_FIN, 7, 0, "abc", 3); /* no ACK: FIN and data count */
	assert_int_equal(k.nout, 1);
	assert_int_equal(k.out[0].flags, TCP_RST | TCP_ACK);
	assert_int_equal(k.out[0].raw_seq, 0);
	assert_int_equal(k.out[0].ack, 7 + 3 + 1);
	kit_clear(&k);
	kit_seg(&k, TCP_RST, 7, 0, NULL, 0);
	kit_seg(&k, TCP_RST | TCP_ACK, 7, 3, NULL, 0);
	assert_int_equal(k.nout, 0);
	kit_stop(&k);
	(void)state;
}

static void resets_are_rate_limited(void **state)
{
	kit_config(&k);
	k.cfg.resets_per_s = 5;
	kit_start(&k);
	for (int i = 0; i < 20; i++)
		kit_seg(&k, TCP_ACK, 7, 9, NULL, 0);
	assert_int_equal(k.nout, 5);
	assert_int_equal(kit_m(&k)->tcp_rst_limited_total.v, 15);
	kit_stop(&k);
	(void)state;
}

static void syn_in_a_connection_is_challenged_and_never_resets(void **state)
{
	kit_open(&k);
	kit_seg(&k, TCP_SYN, 1, 0, NULL, 0);
	KIT_EXPECT(&k, TCP_ACK, 1, 1, 0);
	assert_string_equal(kit_state(&k), "ESTABLISHED");
	kit_clear(&k);
	kit_seg(&k, TCP_SYN, 5000000, 0, NULL, 0); /* once per 500 ms and connection */
	assert_int_equal(k.nout, 0);
	k.now += 600 * NS_PER_MS;
	kit_seg(&k, TCP_SYN, 5000000, 0, NULL, 0);
	KIT_EXPECT(&k, TCP_ACK, 1, 1, 0);
	kit_stop(&k);
	(void)state;
}

static void challenge_acks_are_limited_for_the_whole_stack(void **state)
{
	kit_config(&k);
	k.cfg.challenge_acks_per_s = 2; /* so the budget is 2 or 3 */
	kit_start(&k);
	uint32_t sent = 0;
	for (uint16_t i = 0; i < 6; i++) {
		k.peer_port = (uint16_t)(50000 + i);
		kit_handshake(&k);
		kit_seg(&k, TCP_SYN, 1, 0, NULL, 0);
		sent += k.nout;
		kit_clear(&k);
	}
	assert_in_range(sent, 2, 3);
	kit_stop(&k);
	(void)state;
}

static void acks_of_what_was_never_sent_are_refused(void **state)
{
	kit_open(&k);
	kit_seg(&k, TCP_ACK, 1, 2, "abc", 3); /* beyond SND.NXT */
	assert_int_equal(k.ngot, 0);
	KIT_EXPECT(&k, TCP_ACK, 1, 1, 0);
	kit_clear(&k);
	kit_seg(&k, TCP_ACK, 1, (uint32_t)-70000, "abc", 3); /* older than any window sent into */
	assert_int_equal(k.ngot, 0);
	assert_int_equal(kit_m(&k)->tcp_drop_ack_total.v, 2);
	kit_seg(&k, TCP_ACK, 1, (uint32_t)-60000, "abc",
		3); /* old, but possible: its text counts */
	assert_int_equal(k.ngot, 3);
	kit_stop(&k);
	(void)state;
}

static void segments_without_ack_are_dropped_in_a_connection(void **state)
{
	kit_open(&k);
	kit_seg(&k, 0, 1, 0, "abc", 3);
	kit_seg(&k, TCP_FIN, 1, 0, "abc", 3);
	assert_int_equal(k.ngot, 0);
	assert_int_equal(kit_m(&k)->tcp_drop_flags_total.v, 2);
	kit_stop(&k);
	(void)state;
}

static void out_of_window_data_is_answered_at_once_but_empty_segments_twice_a_second(void **state)
{
	kit_open(&k);
	kit_seg(&k, TCP_ACK, 1, 1, "abc", 3);
	kit_clear(&k);
	for (int i = 0; i < 5; i++) /* old data: our ACK was lost; each is answered */
		kit_seg(&k, TCP_ACK, 1, 1, "abc", 3);
	assert_int_equal(k.nout, 5);
	assert_int_equal(k.out[4].ack, 4);
	kit_clear(&k);
	for (int i = 0; i < 5; i++) /* a probe with an old number */
		kit_seg(&k, TCP_ACK, 3, 1, NULL, 0);
	KIT_EXPECT(&k, TCP_ACK, 1, 4, 0);
	kit_clear(&k);
	k.now += 600 * NS_PER_MS;
	kit_seg(&k, TCP_ACK, 3, 1, NULL, 0);
	KIT_EXPECT(&k, TCP_ACK, 1, 4, 0);
	assert_int_equal(k.ngot, 0);
	kit_stop(&k);
	(void)state;
}

static void the_window_of_a_syn_is_not_scaled(void **state)
{
	kit_config(&k);
	k.cfg.rx_window_bytes = 1 << 20;
	k.peer_wscale = 4;
	kit_start(&k);
	k.peer_wnd = 1000;
	kit_seg(&k, TCP_SYN, 0, 0, NULL, 0);
	assert_int_equal(k.out[0].wnd, 65535); /* not 1 MiB >> 5 */
	assert_int_equal(k.out[0].opts.wscale, 5);
	kit_seg(&k, TCP_ACK, 1, 1, NULL, 0);
	struct ipstack_conn_info info;
	ipstack_conn_info_get(k.s, k.conn, &info);
	assert_int_equal(info.snd_wnd, 1000 << 4);
	kit_clear(&k);
	kit_seg(&k, TCP_ACK, 1, 1, "x", 1);
	assert_int_equal(k.out[0].wnd, (1 << 20) >> 5);
	kit_stop(&k);
	(void)state;
}

static void without_the_peers_window_scale_ours_is_off_too(void **state)
{
	kit_config(&k);
	k.cfg.rx_window_bytes = 1 << 20;
	kit_start(&k);
	kit_seg(&k, TCP_SYN, 0, 0, NULL, 0);
	assert_int_equal(k.out[0].opts.wscale, -1);
	assert_int_equal(k.out[0].wnd, 65535);
	kit_seg(&k, TCP_ACK, 1, 1, NULL, 0);
	kit_clear(&k);
	kit_seg(&k, TCP_ACK, 1, 1, "x", 1);
	assert_int_equal(k.out[0].wnd, 65534); /* the edge does not move for one byte */
	kit_stop(&k);
	(void)state;
}

static void a_paused_reader_closes_the_window_and_resuming_opens_it_at_once(void **state)
{
	kit_config(&k);
	k.cfg.rx_window_bytes = 8192;
	kit_start(&k);
	kit_handshake(&k);
	for (uint32_t i = 0; i < sizeof(text); i++)
		text[i] = (uint8_t)(i * 7);
	ipstack_pause(k.s, k.conn, true);
	uint32_t at = 0;
	for (; at < 8192; at += 1024)
		kit_seg(&k, TCP_ACK, 1 + at, 1, text + at, 1024);
	assert_int_equal(k.ngot, 0);
	assert_int_equal(k.out[k.nout - 1].ack, 8193);
	assert_int_equal(k.out[k.nout - 1].wnd, 0);
	kit_clear(&k);
	kit_seg(&k, TCP_ACK, 1 + at, 1, text + at,
		100); /* beyond the window: not taken, answered */
	KIT_EXPECT(&k, TCP_ACK, 1, 8193, 0);
	kit_clear(&k);
	ipstack_pause(k.s, k.conn, false);
	kit_turn(&k);
	assert_int_equal(k.ngot, 8192);
	assert_memory_equal(k.got, text, 8192);
	KIT_EXPECT(&k, TCP_ACK, 1, 8193, 0);
	assert_int_equal(k.out[0].wnd, 8192);
	struct ipstack_usage u;
	ipstack_usage_get(k.s, &u);
	assert_int_equal(u.rx_chunks, 0);
	kit_stop(&k);
	(void)state;
}

static void pausing_holds_back_data_that_has_arrived_in_the_same_turn(void **state)
{
	kit_open(&k);
	struct ipstack_event ev;
	kit_put(&k, TCP_ACK, 1, 1, 1000, "abc", 3);
	kit_put(&k, TCP_ACK, 4, 1, 1000, "def", 3);
	assert_true(ipstack_event_pop(k.s, &ev));
	assert_int_equal(ev.kind, IPSTACK_EV_DATA);
	assert_int_equal(ev.data.len, 3);
	assert_non_null(ev.data.rxref); /* straight from the frame */
	ipstack_pause(k.s, k.conn, true);
	assert_false(ipstack_event_pop(k.s, &ev));
	kit_turn(&k);
	assert_int_equal(k.ngot, 0);
	ipstack_pause(k.s, k.conn, false);
	kit_turn(&k);
	assert_int_equal(k.ngot, 3);
	assert_memory_equal(k.got, "def", 3);
	kit_stop(&k);
	(void)state;
}

static void data_not_popped_before_release_is_kept(void **state)
{
	kit_open(&k);
	uint8_t f[200];
	uint32_t n =
		kit_frame(&k, f, TCP_ACK, k.peer_iss + 1, k.our_iss + 1, 100, NULL, 0, "abc", 3);
	ipstack_input(k.s, k.now, f, n, false, false, f);
	ipstack_release(k.s);
	memset(f, 0xee, sizeof(f)); /* the frame is gone */
	kit_turn(&k);
	assert_int_equal(k.ngot, 3);
	assert_memory_equal(k.got, "abc", 3);
	kit_stop(&k);
	(void)state;
}

static void the_right_edge_never_moves_back(void **state)
{
	kit_config(&k);
	k.cfg.rx_window_bytes = 100000; /* scale 1: odd edges have to be rounded */
	k.peer_wscale = 0;
	kit_start(&k);
	kit_handshake(&k);
	ipstack_pause(k.s, k.conn, true);
	uint32_t edge = 0, seq = 1;
	for (int i = 0; i < 60; i++) {
		kit_seg(&k, TCP_ACK, seq, 1, text, 333);
		seq += 333;
		kit_run_for(&k, 50 * NS_PER_MS);
		const struct kit_seg *s = &k.out[k.nout - 1];
		assert_true(s->ack + s->wnd * 2u >= edge);
		edge = s->ack + s->wnd * 2u;
	}
	kit_stop(&k);
	(void)state;
}

static void small_reads_do_not_advertise_silly_windows(void **state)
{
	kit_config(&k);
	k.cfg.rx_window_bytes = 16384;
	kit_start(&k);
	kit_handshake(&k);
	uint32_t edge = 1 + 16384, seq = 1;
	for (int i = 0; i < 100; i++, seq += 100) {
		kit_seg(&k, TCP_ACK, seq, 1, text, 100);
		kit_run_for(&k, 50 * NS_PER_MS);
		const struct kit_seg *s = &k.out[k.nout - 1];
		uint32_t now = s->ack + s->wnd;
		assert_true(now == edge || now - edge >= 1460);
		edge = now;
	}
	kit_stop(&k);
	(void)state;
}

static void a_zero_window_still_takes_the_ack_of_a_segment_in_order(void **state)
{
	kit_config(&k);
	k.cfg.rx_window_bytes = 2048;
	kit_start(&k);
	kit_handshake(&k);
	ipstack_pause(k.s, k.conn, true);
	kit_seg(&k, TCP_ACK, 1, 1, text, 1024);
	kit_seg(&k, TCP_ACK, 1025, 1, text, 1024);
	assert_int_equal(k.out[k.nout - 1].wnd, 0);
	kit_send(&k, "hello", 5, 1);
	kit_clear(&k);
	kit_seg(&k, TCP_ACK, 2049, 6, text,
		100); /* both windows could be zero: the ACK must count */
	assert_int_equal(kit_count(&k, IPSTACK_EV_SENT), 1);
	KIT_EXPECT(&k, TCP_ACK, 6, 2049, 0);
	kit_stop(&k);
	(void)state;
}

static void a_fin_out_of_order_is_remembered(void **state)
{
	kit_open(&k);
	kit_seg(&k, TCP_ACK | TCP_FIN, 4, 1, "def", 3);
	assert_int_equal(k.nev, 0);
	assert_int_equal(k.out[0].ack, 1);
	kit_seg(&k, TCP_ACK, 1, 1, "abc", 3);
	assert_int_equal(k.ngot, 6);
	assert_memory_equal(k.got, "abcdef", 6);
	assert_int_equal(kit_count(&k, IPSTACK_EV_PEER_FIN), 1);
	assert_int_equal(k.out[k.nout - 1].ack, 8);
	assert_string_equal(kit_state(&k), "CLOSE_WAIT");
	kit_stop(&k);
	(void)state;
}

static void an_empty_fin_out_of_order_is_remembered_too(void **state)
{
	kit_open(&k);
	kit_seg(&k, TCP_ACK | TCP_FIN, 4, 1, NULL, 0);
	kit_seg(&k, TCP_ACK, 1, 1, "abc", 3);
	assert_int_equal(k.ngot, 3);
	assert_int_equal(kit_count(&k, IPSTACK_EV_PEER_FIN), 1);
	kit_stop(&k);
	(void)state;
}

static void a_fin_may_lie_one_beyond_the_window(void **state)
{
	kit_config(&k);
	k.cfg.rx_window_bytes = 2048;
	kit_start(&k);
	kit_handshake(&k);
	ipstack_pause(k.s, k.conn, true);
	kit_seg(&k, TCP_ACK, 1, 1, text, 1024);
	kit_seg(&k, TCP_ACK | TCP_FIN, 1025, 1, text, 1024);
	assert_string_equal(kit_state(&k), "CLOSE_WAIT");
	assert_int_equal(k.nev, 0); /* after the data only */
	ipstack_pause(k.s, k.conn, false);
	kit_turn(&k);
	assert_int_equal(k.ngot, 2048);
	assert_int_equal(kit_count(&k, IPSTACK_EV_PEER_FIN), 1);
	kit_stop(&k);
	(void)state;
}

static void data_behind_a_fin_is_ignored(void **state)
{
	kit_open(&k);
	kit_seg(&k, TCP_ACK | TCP_FIN, 4, 1, "def", 3); /* FIN at 7 */
	kit_seg(&k, TCP_ACK, 7, 1, "evil", 4);
	kit_seg(&k, TCP_ACK, 1, 1, "abcdefghi", 9);
	assert_int_equal(k.ngot, 6);
	kit_seg(&k, TCP_ACK, 8, 1, "evil", 4);
	assert_int_equal(k.ngot, 6);
	assert_int_equal(kit_m(&k)->tcp_drop_after_fin_total.v, 2);
	kit_stop(&k);
	(void)state;
}

static void every_second_full_segment_is_acknowledged_at_once_and_others_late(void **state)
{
	kit_open(&k);
	uint32_t seq = kit_warm_up(&k);
	kit_seg(&k, TCP_ACK, seq, 1, text, 1460);
	assert_int_equal(k.nout, 0);
	kit_seg(&k, TCP_ACK, seq + 1460, 1, text, 1460);
	KIT_EXPECT(&k, TCP_ACK, 1, seq + 2920, 0);
	kit_clear(&k);
	kit_seg(&k, TCP_ACK, seq + 2920, 1, text, 10);
	assert_int_equal(k.nout, 0);
	kit_run_for(&k, 39 * NS_PER_MS);
	assert_int_equal(k.nout, 0);
	kit_run_for(&k, 3 * NS_PER_MS);
	KIT_EXPECT(&k, TCP_ACK, 1, seq + 2930, 0);
	kit_stop(&k);
	(void)state;
}

static void small_segments_of_a_small_mss_peer_are_counted_by_its_own_size(void **state)
{
	kit_open(&k);
	uint32_t seq = 1;
	for (int i = 0; i < 40; i++, seq += 536)
		kit_seg(&k, TCP_ACK, seq, 1, text, 536);
	kit_clear(&k);
	kit_seg(&k, TCP_ACK, seq, 1, text, 536);
	kit_seg(&k, TCP_ACK, seq + 536, 1, text, 536);
	assert_int_equal(k.nout, 1); /* not only by the timer */
	kit_stop(&k);
	(void)state;
}

static void the_first_segments_of_a_connection_are_acknowledged_at_once(void **state)
{
	kit_open(&k);
	for (uint32_t i = 0; i < 15; i++)
		kit_seg(&k, TCP_ACK, 1 + i, 1, text, 1);
	assert_int_equal(k.nout, 15);
	kit_stop(&k);
	(void)state;
}

static void each_segment_out_of_order_gets_its_own_duplicate_ack(void **state)
{
	kit_open(&k);
	uint32_t seq = kit_warm_up(&k);
	for (uint32_t i = 1; i <= 3; i++) /* one burst */
		kit_put(&k, TCP_ACK, seq + i * 1000, 1, 65535, text, 1000);
	kit_turn(&k);
	assert_int_equal(k.nout, 3);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(k.out[i].ack, seq);
	kit_clear(&k);
	kit_seg(&k, TCP_ACK, seq, 1, text, 1000); /* fills the gap: at once */
	KIT_EXPECT(&k, TCP_ACK, 1, seq + 4000, 0);
	assert_int_equal(k.ngot, 4000);
	kit_stop(&k);
	(void)state;
}

static void a_gap_that_is_filled_in_the_same_burst_owes_no_duplicate_acks(void **state)
{
	kit_open(&k);
	uint32_t seq = kit_warm_up(&k);
	for (uint32_t i = 1; i <= 3; i++)
		kit_put(&k, TCP_ACK, seq + i * 1000, 1, 65535, text, 1000);
	kit_put(&k, TCP_ACK, seq, 1, 65535, text, 1000);
	kit_turn(&k);
	KIT_EXPECT(&k, TCP_ACK, 1, seq + 4000, 0);
	kit_stop(&k);
	(void)state;
}

static void the_ack_of_a_recent_duplicate_counts_and_of_an_old_one_not(void **state)
{
	kit_open(&k);
	uint32_t seq = 1;
	for (int i = 0; i < 80; i++, seq += 1000)
		kit_seg(&k, TCP_ACK, seq, 1, text, 1000);
	kit_send(&k, "data", 4, 1);
	kit_clear(&k);
	kit_seg(&k, TCP_ACK, seq - 66000, 5, text, 1000); /* a guess by a stranger, perhaps */
	assert_int_equal(kit_count(&k, IPSTACK_EV_SENT), 0);
	assert_int_equal(k.nout, 1);
	kit_seg(&k, TCP_ACK, seq - 1000, 5, text, 1000);
	assert_int_equal(kit_count(&k, IPSTACK_EV_SENT), 1);
	kit_stop(&k);
	(void)state;
}

static void segments_are_trimmed_at_both_ends_of_the_window(void **state)
{
	kit_config(&k);
	k.cfg.rx_window_bytes = 2048;
	kit_start(&k);
	kit_handshake(&k);
	for (uint32_t i = 0; i < sizeof(text); i++)
		text[i] = (uint8_t)(i * 13);
	kit_seg(&k, TCP_ACK, 1, 1, text, 100);
	kit_seg(&k, TCP_ACK, 51, 1, text + 50, 100); /* 50 old, 50 new */
	assert_int_equal(k.ngot, 150);
	ipstack_pause(k.s, k.conn, true);
	kit_clear(&k);
	kit_seg(&k, TCP_ACK | TCP_FIN, 151, 1, text + 150, 4000); /* over the right edge, FIN too */
	ipstack_pause(k.s, k.conn, false);
	kit_turn(&k);
	assert_int_equal(k.ngot, 1 + 2048 - 151);
	assert_memory_equal(k.got, text + 150, k.ngot);
	assert_string_equal(kit_state(&k), "ESTABLISHED");
	kit_stop(&k);
	(void)state;
}

static void out_of_order_memory_is_charged_by_buffer_and_bounded(void **state)
{
	kit_config(&k);
	k.cfg.rx_chunks_per_conn = 10;
	kit_start(&k);
	kit_handshake(&k);
	for (uint32_t i = 0; i < 40; i++) /* one byte in 100: each takes a whole buffer */
		kit_seg(&k, TCP_ACK, 101 + i * 100, 1, "x", 1);
	struct ipstack_usage u;
	ipstack_usage_get(k.s, &u);
	assert_int_equal(u.rx_chunks, 10);
	assert_int_equal(kit_m(&k)->tcp_drop_no_buffer_total.v, 30);
	kit_clear(&k);
	for (uint32_t i = 0; i < 40; i++) /* neighbours share a buffer */
		kit_seg(&k, TCP_ACK, 102 + i, 1, "x", 1);
	ipstack_usage_get(k.s, &u);
	assert_int_equal(u.rx_chunks, 10);
	assert_int_equal(kit_m(&k)->tcp_drop_no_buffer_total.v, 30);
	kit_stop(&k);
	(void)state;
}

static void data_in_order_takes_the_room_of_data_out_of_order(void **state)
{
	kit_config(&k);
	k.cfg.rx_chunks = 8;
	k.cfg.rx_chunks_per_conn = 8;
	kit_start(&k);
	kit_handshake(&k);
	for (uint32_t i = 0; i < 8; i++)
		kit_seg(&k, TCP_ACK, 10001 + i * 3000, 1, text, 1000);
	ipstack_pause(k.s, k.conn, true); /* so that it has to be copied */
	kit_seg(&k, TCP_ACK, 1, 1, text, 1400);
	assert_int_equal(k.out[k.nout - 1].ack, 1401);
	assert_int_equal(kit_m(&k)->tcp_pruned_total.v, 1);
	kit_stop(&k);
	(void)state;
}

static void the_number_of_holes_is_bounded(void **state)
{
	kit_config(&k);
	k.cfg.rx_chunks_per_conn = k.cfg.rx_chunks = 128;
	kit_start(&k);
	kit_handshake(&k);
	for (uint32_t i = 0; i < 100; i++)
		kit_seg(&k, TCP_ACK, 101 + i * 100, 1, "x", 1);
	struct ipstack_usage u;
	ipstack_usage_get(k.s, &u);
	assert_int_equal(u.rx_chunks, TCP_RANGES_MAX);
	assert_int_equal(kit_m(&k)->tcp_drop_ranges_total.v, 100 - TCP_RANGES_MAX);
	kit_stop(&k);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(malformed_headers_are_dropped_before_they_are_read),
		cmocka_unit_test(a_wrong_checksum_is_dropped_and_known_good_is_not_verified),
		cmocka_unit_test(padding_of_short_frames_is_not_data),
		cmocka_unit_test(rst_resets_only_at_exactly_rcv_nxt),
		cmocka_unit_test(rst_to_nobody_is_built_from_the_segment_and_never_answers_a_rst),
		cmocka_unit_test(resets_are_rate_limited),
		cmocka_unit_test(syn_in_a_connection_is_challenged_and_never_resets),
		cmocka_unit_test(challenge_acks_are_limited_for_the_whole_stack),
		cmocka_unit_test(acks_of_what_was_never_sent_are_refused),
		cmocka_unit_test(segments_without_ack_are_dropped_in_a_connection),
		cmocka_unit_test(
			out_of_window_data_is_answered_at_once_but_empty_segments_twice_a_second),
		cmocka_unit_test(the_window_of_a_syn_is_not_scaled),
		cmocka_unit_test(without_the_peers_window_scale_ours_is_off_too),
		cmocka_unit_test(a_paused_reader_closes_the_window_and_resuming_opens_it_at_once),
		cmocka_unit_test(pausing_holds_back_data_that_has_arrived_in_the_same_turn),
		cmocka_unit_test(data_not_popped_before_release_is_kept),
		cmocka_unit_test(the_right_edge_never_moves_back),
		cmocka_unit_test(small_reads_do_not_advertise_silly_windows),
		cmocka_unit_test(a_zero_window_still_takes_the_ack_of_a_segment_in_order),
		cmocka_unit_test(a_fin_out_of_order_is_remembered),
		cmocka_unit_test(an_empty_fin_out_of_order_is_remembered_too),
		cmocka_unit_test(a_fin_may_lie_one_beyond_the_window),
		cmocka_unit_test(data_behind_a_fin_is_ignored),
		cmocka_unit_test(every_second_full_segment_is_acknowledged_at_once_and_others_late),
		cmocka_unit_test(small_segments_of_a_small_mss_peer_are_counted_by_its_own_size),
		cmocka_unit_test(the_first_segments_of_a_connection_are_acknowledged_at_once),
		cmocka_unit_test(each_segment_out_of_order_gets_its_own_duplicate_ack),
		cmocka_unit_test(a_gap_that_is_filled_in_the_same_burst_owes_no_duplicate_acks),
		cmocka_unit_test(the_ack_of_a_recent_duplicate_counts_and_of_an_old_one_not),
		cmocka_unit_test(segments_are_trimmed_at_both_ends_of_the_window),
		cmocka_unit_test(out_of_order_memory_is_charged_by_buffer_and_bounded),
		cmocka_unit_test(data_in_order_takes_the_room_of_data_out_of_order),
		cmocka_unit_test(the_number_of_holes_is_bounded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
