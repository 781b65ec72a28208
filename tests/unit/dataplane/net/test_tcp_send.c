/* SPDX-License-Identifier: Apache-2.0 */
/* The send path against a peer played by the test. */
#include "unit/dataplane/net/tcp_kit.h"

#include "net/ipstack_int.h"

static struct kit k;
static uint8_t text[1 << 20];

#define MSS 1460u

static uint32_t flight(void)
{
	struct ipstack_conn_info i;
	assert_int_equal(ipstack_conn_info_get(k.s, k.conn, &i), 0);
	return i.in_flight;
}
static uint32_t cwnd(void)
{
	struct ipstack_conn_info i;
	assert_int_equal(ipstack_conn_info_get(k.s, k.conn, &i), 0);
	return i.cwnd;
}
static uint32_t sent_bytes(void)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < k.nout; i++)
		n += k.out[i].len;
	return n;
}
/* An open connection to a peer with a large window. */
static void open_wide(void)
{
	for (uint32_t i = 0; i < sizeof(text); i++)
		text[i] = (uint8_t)(i * 31 + i / 256);
	kit_config(&k);
	k.peer_wscale = 8;
	kit_start(&k);
	kit_handshake(&k);
}

static void the_initial_window_is_ten_segments(void **state)
{
	open_wide();
	kit_send(&k, text, 100000, 1);
	assert_int_equal(k.nout, 10);
	assert_int_equal(sent_bytes(), 10 * MSS);
	for (uint32_t i = 0; i < 10; i++)
		assert_memory_equal(k.out[i].data, text + i * MSS, MSS);
	kit_stop(&k);
	(void)state;
}

static void cwnd_limits_the_flight_and_not_the_burst(void **state)
{
	open_wide();
	kit_send(&k, text, 100000, 1);
	kit_clear(&k);
	kit_send(&k, text, 100000,
		2); /* the flight is full: nothing more, however often we are asked */
	kit_run_for(&k, 50 * NS_PER_MS);
	assert_int_equal(k.nout, 0);
	kit_seg(&k, TCP_ACK, 1, 1 + 2 * MSS, NULL, 0); /* slow start: two more for each two */
	assert_int_equal(k.nout, 4);
	assert_int_equal(flight(), 12 * MSS);
	kit_stop(&k);
	(void)state;
}

static void cookies_are_reported_once_when_all_bytes_are_acknowledged(void **state)
{
	open_wide();
	kit_send(&k, text, 1000, 1);
	kit_send(&k, text + 1000, 1000, 2);
	struct net_iov iov[3] = {
		{.p = text, .len = 10}, {.p = text, .len = 0}, {.p = text, .len = 5}};
	assert_int_equal(ipstack_send(k.s, k.now, k.conn, iov, 3, 3), 0);
	kit_turn(&k);
	kit_seg(&k, TCP_ACK, 1, 1000, NULL, 0);
	assert_int_equal(kit_count(&k, IPSTACK_EV_SENT), 0);
	kit_seg(&k, TCP_ACK, 1, 2001, NULL, 0);
	assert_int_equal(kit_count(&k, IPSTACK_EV_SENT), 2);
	assert_int_equal(k.ev[0].sent.cookie, 1);
	assert_int_equal(k.ev[1].sent.cookie, 2);
	assert_true(k.ev[0].sent.ok);
	ipstack_abort(k.s, k.conn);
	kit_turn(&k);
	assert_int_equal(k.nev, 4);
	assert_int_equal(k.ev[2].sent.cookie, 3);
	assert_false(k.ev[2].sent.ok);
	assert_int_equal(k.ev[3].kind, IPSTACK_EV_CLOSED);
	assert_int_equal(k.ev[3].closed.reason, IPSTACK_CLOSED_ABORTED);
	assert_int_equal(k.out[k.nout - 1].flags, TCP_RST | TCP_ACK);
	assert_int_equal(ipstack_send(k.s, k.now, k.conn, iov, 3, 4), -ENOTCONN);
	kit_stop(&k);
	(void)state;
}

static void a_full_send_queue_says_so_and_takes_nothing(void **state)
{
	kit_config(&k);
	k.cfg.send_slots_per_conn = 4;
	kit_start(&k);
	kit_handshake(&k);
	struct net_iov iov[5] = {{text, 1}, {text, 1}, {text, 1}, {text, 1}, {text, 1}};
	assert_int_equal(ipstack_send(k.s, k.now, k.conn, iov, 5, 1), -ENOBUFS);
	assert_int_equal(ipstack_send(k.s, k.now, k.conn, iov, 0, 1), -EINVAL);
	assert_int_equal(ipstack_send(k.s, k.now, k.conn, iov, 4, 1), 0);
	assert_int_equal(ipstack_send(k.s, k.now, k.conn, iov, 1, 2), -ENOBUFS);
	kit_turn(&k);
	assert_int_equal(k.nout, 1); /* four pieces, one segment */
	assert_int_equal(k.out[0].len, 4);
	kit_seg(&k, TCP_ACK, 1, 5, NULL, 0);
	assert_int_equal(ipstack_send(k.s, k.now, k.conn, iov, 1, 2), 0);
	kit_stop(&k);
	(void)state;
}

static void small_sends_of_one_turn_leave_as_one_segment_with_the_ack(void **state)
{
	open_wide();
	kit_put(&k, TCP_ACK, 1, 1, 65535, "request", 7);
	struct ipstack_event ev;
	assert_true(ipstack_event_pop(k.s, &ev));
	struct net_iov iov = {.p = text, .len = 100};
	for (uint64_t i = 0; i < 5; i++)
		assert_int_equal(ipstack_send(k.s, k.now, k.conn, &iov, 1, i), 0);
	kit_turn(&k);
	KIT_EXPECT(&k, TCP_ACK, 1, 8, 500);
	kit_run_for(&k, 100 * NS_PER_MS); /* nor is there a later ACK */
	assert_int_equal(k.nout, 1);
	kit_stop(&k);
	(void)state;
}

static void rto_backs_off_and_starts_again_with_one_segment(void **state)
{
	open_wide();
	kit_send(&k, text, 5 * MSS, 1);
	kit_clear(&k);
	kit_run_for(&k, 190 * NS_PER_MS);
	assert_int_equal(k.nout, 0);
	kit_run_for(&k, 20 * NS_PER_MS); /* RTO 200 ms */
	KIT_EXPECT(&k, TCP_ACK, 1, 1, MSS);
	assert_int_equal(cwnd(), MSS);
	kit_clear(&k);
	kit_run_for(&k, 380 * NS_PER_MS);
	assert_int_equal(k.nout, 0);
	kit_run_for(&k, 20 * NS_PER_MS); /* 400 */
	KIT_EXPECT(&k, TCP_ACK, 1, 1, MSS);
	kit_clear(&k);
	kit_run_for(&k, 780 * NS_PER_MS);
	assert_int_equal(k.nout, 0);
	kit_run_for(&k, 30 * NS_PER_MS); /* 800 */
	assert_int_equal(k.nout, 1);
	uint32_t len = k.out[0].len; /* shorter: the path may swallow long ones */
	assert_in_range(len, 1000, MSS - 1);
	kit_clear(&k);
	kit_seg(&k, TCP_ACK, 1, 1 + len, NULL, 0); /* then the rest, slow start */
	assert_int_equal(k.nout, 2);
	assert_int_equal(k.out[0].seq, 1 + len);
	kit_stop(&k);
	(void)state;
}

static void ssthresh_is_cut_once_however_often_the_timer_fires(void **state)
{
	open_wide();
	kit_send(&k, text, 10 * MSS, 1);
	struct ipstack_conn_info i;
	kit_run_for(&k, 250 * NS_PER_MS);
	ipstack_conn_info_get(k.s, k.conn, &i);
	assert_int_equal(i.ssthresh, 5 * MSS);
	kit_run_for(&k, 3 * NS_PER_S);
	ipstack_conn_info_get(k.s, k.conn, &i);
	assert_int_equal(i.ssthresh, 5 * MSS);
	kit_stop(&k);
	(void)state;
}

static void an_ack_of_a_retransmission_is_no_rtt_sample(void **state)
{
	open_wide();
	struct ipstack_conn_info i;
	ipstack_conn_info_get(k.s, k.conn, &i);
	uint64_t before = i.srtt_ns;
	kit_send(&k, text, 100, 1);
	kit_run_for(&k, 250 * NS_PER_MS); /* sent again: Karn */
	kit_seg(&k, TCP_ACK, 1, 101, NULL, 0);
	ipstack_conn_info_get(k.s, k.conn, &i);
	assert_int_equal(i.srtt_ns, before);
	kit_send(&k, text, 100, 2);
	k.now += 50 * NS_PER_MS;
	kit_seg(&k, TCP_ACK, 1, 201, NULL, 0);
	ipstack_conn_info_get(k.s, k.conn, &i);
	assert_int_not_equal(i.srtt_ns, before);
	kit_stop(&k);
	(void)state;
}

static void a_silent_peer_is_given_up_by_time(void **state)
{
	open_wide();
	kit_send(&k, text, 100, 7);
	kit_run_for(&k, 29 * NS_PER_S);
	assert_int_equal(k.nev, 0);
	kit_run_for(&k, 40 * NS_PER_S);
	assert_int_equal(k.nev, 2);
	assert_int_equal(k.ev[0].sent.cookie, 7);
	assert_false(k.ev[0].sent.ok);
	assert_int_equal(k.ev[1].closed.reason, IPSTACK_CLOSED_TIMEOUT);
	kit_stop(&k);
	(void)state;
}

static void three_duplicate_acks_resend_the_first_segment_and_new_reno_the_next_holes(void **state)
{
	open_wide();
	kit_send(&k, text, 10 * MSS, 1);
	kit_clear(&k);
	kit_seg(&k, TCP_ACK, 1, 1, NULL, 0); /* 1st and 4th segment lost */
	kit_seg(&k, TCP_ACK, 1, 1, NULL, 0);
	assert_int_equal(k.nout, 0);
	kit_seg(&k, TCP_ACK, 1, 1, NULL, 0);
	KIT_EXPECT(&k, TCP_ACK, 1, 1, MSS);
	for (int i = 0; i < 5; i++)
		kit_seg(&k, TCP_ACK, 1, 1, NULL, 0);
	assert_int_equal(k.nout, 1);
	kit_clear(&k);
	kit_seg(&k, TCP_ACK, 1, 1 + 3 * MSS, NULL, 0); /* partial */
	KIT_EXPECT(&k, TCP_ACK, 1 + 3 * MSS, 1, MSS);
	kit_clear(&k);
	kit_seg(&k, TCP_ACK, 1, 1 + 10 * MSS, NULL, 0);
	assert_int_equal(k.nout, 0);
	assert_true(cwnd() <= 5 * MSS);
	assert_int_equal(kit_m(&k)->tcp_fast_retransmits_total.v, 1);
	assert_int_equal(kit_m(&k)->tcp_rto_total.v, 0);
	assert_int_equal(kit_count(&k, IPSTACK_EV_SENT), 1);
	kit_stop(&k);
	(void)state;
}

static void a_new_ack_clears_the_back_off(void **state)
{
	open_wide();
	kit_send(&k, text, 2 * MSS, 1);
	kit_run_for(&k, NS_PER_S); /* 200, 400 ms */
	kit_seg(&k, TCP_ACK, 1, 1 + MSS, NULL, 0);
	kit_clear(&k);
	kit_run_for(&k, 190 * NS_PER_MS);
	assert_int_equal(k.nout, 0);
	kit_run_for(&k, 20 * NS_PER_MS);
	KIT_EXPECT(&k, TCP_ACK, 1 + MSS, 1, MSS);
	kit_stop(&k);
	(void)state;
}

static void duplicates_caused_by_an_rto_do_not_start_a_fast_retransmit(void **state)
{
	open_wide();
	kit_send(&k, text, 10 * MSS, 1);
	kit_run_for(&k, 210 * NS_PER_MS);
	kit_seg(&k, TCP_ACK, 1, 1 + MSS, NULL, 0); /* now two more again */
	for (int i = 0; i < 5; i++)		   /* the peer had them all along */
		kit_seg(&k, TCP_ACK, 1, 1 + MSS, NULL, 0);
	assert_int_equal(kit_m(&k)->tcp_fast_retransmits_total.v, 0);
	kit_stop(&k);
	(void)state;
}

static void a_fin_is_part_of_what_fast_retransmit_repeats(void **state)
{
	open_wide();
	kit_send(&k, text, 10, 1);
	kit_send(&k, text, 10, 2);
	ipstack_close(k.s, k.now, k.conn);
	kit_turn(&k);
	kit_seg(&k, TCP_ACK, 1, 11, NULL, 0);
	kit_clear(&k);
	for (int i = 0; i < 3; i++)
		kit_seg(&k, TCP_ACK, 1, 11, NULL, 0);
	KIT_EXPECT(&k, TCP_ACK | TCP_FIN, 11, 1, 10);
	kit_stop(&k);
	(void)state;
}

static void window_updates_and_data_are_not_duplicate_acks(void **state)
{
	open_wide();
	kit_send(&k, text, 10 * MSS, 1);
	kit_clear(&k);
	for (uint32_t i = 0; i < 6; i++) /* the window differs */
		kit_put(&k, TCP_ACK, 1, 1, 60000 + i, NULL, 0);
	for (uint32_t i = 0; i < 6; i++) /* they carry data */
		kit_put(&k, TCP_ACK, 1 + i, 1, 60005, "x", 1);
	kit_turn(&k);
	for (uint32_t i = 0; i < k.nout; i++)
		assert_int_equal(k.out[i].len, 0);
	assert_int_equal(kit_m(&k)->tcp_fast_retransmits_total.v, 0);
	kit_stop(&k);
	(void)state;
}

static void limited_transmit_sends_new_data_on_the_first_two_duplicates(void **state)
{
	open_wide();
	kit_send(&k, text, 30 * MSS, 1);
	kit_clear(&k);
	kit_seg(&k, TCP_ACK, 1, 1, NULL, 0);
	KIT_EXPECT(&k, TCP_ACK, 1 + 10 * MSS, 1, MSS);
	kit_clear(&k);
	kit_seg(&k, TCP_ACK, 1, 1, NULL, 0);
	KIT_EXPECT(&k, TCP_ACK, 1 + 11 * MSS, 1, MSS);
	kit_stop(&k);
	(void)state;
}

static void a_zero_window_is_probed_with_an_old_number_and_the_probe_backs_off(void **state)
{
	open_wide();
	kit_put(&k, TCP_ACK, 1, 1, 0, NULL, 0);
	kit_send(&k, text, 5000, 1);
	assert_int_equal(k.nout, 0);
	uint64_t last = k.now, gap = 0;
	for (int i = 0; i < 5; i++) {
		kit_clear(&k);
		while (k.nout == 0)
			kit_run_for(&k, 10 * NS_PER_MS);
		KIT_EXPECT(&k, TCP_ACK, 0, 1, 0);
		assert_true(k.now - last > gap);
		gap = k.now - last;
		last = k.now;
		kit_put(&k, TCP_ACK, 1, 1, 0, NULL, 0); /* still zero */
	}
	kit_clear(&k);
	kit_put(&k, TCP_ACK, 1, 1, 100, NULL, 0); /* << 8 */
	kit_turn(&k);
	assert_int_equal(sent_bytes(), 5000);
	kit_stop(&k);
	(void)state;
}

static void a_zero_window_lasts_while_the_peer_answers_and_ends_when_it_does_not(void **state)
{
	open_wide();
	kit_put(&k, TCP_ACK, 1, 1, 0, NULL, 0);
	kit_send(&k, text, 5000, 1);
	for (int i = 0; i < 300; i++) {
		kit_run_for(&k, NS_PER_S);
		kit_put(&k, TCP_ACK, 1, 1, 0, NULL, 0);
		kit_clear(&k);
	}
	assert_string_equal(kit_state(&k), "ESTABLISHED");
	kit_run_for(&k, 120 * NS_PER_S);
	assert_int_equal(k.ev[k.nev - 1].closed.reason, IPSTACK_CLOSED_TIMEOUT);
	kit_stop(&k);
	(void)state;
}

static void a_closed_connection_does_not_wait_for_ever_for_a_window(void **state)
{
	open_wide();
	kit_put(&k, TCP_ACK, 1, 1, 0, NULL, 0);
	kit_send(&k, text, 5000, 1);
	ipstack_close(k.s, k.now, k.conn);
	for (int i = 0; i < 90 && kit_count(&k, IPSTACK_EV_CLOSED) == 0; i++) {
		kit_run_for(&k, NS_PER_S);
		kit_put(&k, TCP_ACK, 1, 1, 0, NULL, 0);
		k.nout = 0;
	}
	assert_int_equal(kit_count(&k, IPSTACK_EV_CLOSED), 1);
	assert_int_equal(kit_count(&k, IPSTACK_EV_SENT), 1);
	kit_stop(&k);
	(void)state;
}

static void a_window_below_one_segment_is_not_a_zero_window(void **state)
{
	kit_open(&k);
	k.peer_wnd = 65535;
	kit_put(&k, TCP_ACK, 1, 1, 500, NULL, 0);
	kit_send(&k, text, 5000, 1);
	assert_int_equal(k.nout, 0); /* the sender waits a little for a better window */
	kit_run_for(&k, 210 * NS_PER_MS);
	KIT_EXPECT(&k, TCP_ACK, 1, 1, 500);
	assert_int_equal(kit_m(&k)->tcp_window_probes_total.v, 0);
	kit_stop(&k);
	(void)state;
}

static void a_window_that_shrinks_below_the_flight_is_survived(void **state)
{
	open_wide();
	kit_send(&k, text, 5 * MSS, 1);
	kit_put(&k, TCP_ACK, 1, 1, 0, NULL, 0); /* now zero, five segments in flight */
	kit_turn(&k);
	kit_clear(&k);
	kit_run_for(&k, 2 * NS_PER_S); /* RTO, then persist */
	for (uint32_t i = 0; i < k.nout; i++)
		assert_int_equal(k.out[i].len, 0);
	assert_true(k.nout > 0);
	kit_clear(&k);
	kit_put(&k, TCP_ACK, 1, 1, 2, NULL, 0); /* 512 bytes */
	kit_turn(&k);
	KIT_EXPECT(&k, TCP_ACK, 1, 1, 512);
	kit_seg(&k, TCP_ACK, 1, 1 + 5 * MSS, NULL, 0); /* it had all of them */
	assert_int_equal(kit_count(&k, IPSTACK_EV_SENT), 1);
	kit_stop(&k);
	(void)state;
}

static void an_old_segment_does_not_change_the_window(void **state)
{
	open_wide();
	kit_seg(&k, TCP_ACK, 1, 1, "abc", 3);
	kit_put(&k, TCP_ACK, 4, 1, 100, NULL, 0);
	kit_put(&k, TCP_ACK, 1, 1, 7, "abc", 3); /* WL1 is 4 */
	kit_turn(&k);
	struct ipstack_conn_info i;
	ipstack_conn_info_get(k.s, k.conn, &i);
	assert_int_equal(i.snd_wnd, 100 << 8);
	kit_stop(&k);
	(void)state;
}

static void cwnd_does_not_grow_while_the_application_does_not_use_it(void **state)
{
	open_wide();
	uint32_t at = 1;
	for (int i = 0; i < 100; i++) {
		kit_clear(&k);
		kit_send(&k, text, 100, 1);
		at += 100;
		kit_seg(&k, TCP_ACK, 1, at, NULL, 0);
	}
	assert_int_equal(cwnd(), 10 * MSS);
	kit_stop(&k);
	(void)state;
}

static void after_an_idle_time_the_window_starts_again(void **state)
{
	open_wide();
	uint32_t at = 1;
	for (int i = 0; i < 4; i++) {
		kit_clear(&k);
		kit_send(&k, text, 60 * MSS, 1);
		for (uint32_t acked = at; acked < at + 60 * MSS; acked += 2 * MSS) {
			kit_seg(&k, TCP_ACK, 1, acked + 2 * MSS, NULL, 0);
			kit_clear(&k);
		}
		at += 60 * MSS;
	}
	assert_true(cwnd() > 20 * MSS);
	kit_run_for(&k, 5 * NS_PER_S);
	kit_clear(&k);
	kit_send(&k, text, 60 * MSS, 1);
	assert_int_equal(k.nout, 10);
	kit_stop(&k);
	(void)state;
}

static void connections_take_turns_when_they_send(void **state)
{
	kit_config(&k);
	k.peer_wscale = 8;
	k.cfg.tx_bytes_per_pass = 3 * MSS;
	kit_start(&k);
	ipstack_conn_t c[2];
	for (uint16_t i = 0; i < 2; i++) {
		k.peer_port = (uint16_t)(50000 + i);
		kit_handshake(&k);
		c[i] = k.conn;
	}
	struct net_iov iov = {.p = text, .len = 8 * MSS};
	for (uint32_t i = 0; i < 2; i++)
		assert_int_equal(ipstack_send(k.s, k.now, c[i], &iov, 1, 1), 0);
	kit_turn(&k);
	assert_int_equal(k.nout, 16);
	for (uint32_t i = 0; i < 12; i++)
		assert_int_equal(k.out[i].dst_port, 50000 + i / 3 % 2);
	kit_stop(&k);
	(void)state;
}

static void segmentation_offload_gets_large_frames_with_the_segment_size(void **state)
{
	kit_config(&k);
	k.peer_wscale = 8;
	k.cfg.tso_max_bytes = 60000;
	k.cfg.tx_l4_csum_offload = true;
	k.cfg.tx_ip_csum_offload = true;
	kit_start(&k);
	k.mute = true;
	uint8_t f[100], opts[8];
	struct ip_out_frame o;
	uint32_t n = tcp_opts_build(opts, &(struct tcp_opts){.mss = 1460, .wscale = 8});
	n = kit_frame(&k, f, TCP_SYN, k.peer_iss, 0, 65535, opts, n, NULL, 0);
	ipstack_input(k.s, k.now, f, n, false, false, NULL);
	assert_int_equal(ipstack_tx_pop(k.s, k.now, &o, 1), 1);
	assert_int_equal(o.tso_mss, 0);
	k.our_iss = be32_get(o.hdr + 38);
	n = kit_frame(&k, f, TCP_ACK, k.peer_iss + 1, k.our_iss + 1, 65535, NULL, 0, NULL, 0);
	ipstack_input(k.s, k.now, f, n, false, false, NULL);
	kit_turn(&k);
	struct net_iov iov = {.p = text, .len = 100000};
	assert_int_equal(ipstack_send(k.s, k.now, k.conn, &iov, 1, 1), 0);
	assert_int_equal(ipstack_tx_pop(k.s, k.now, &o, 1), 1);
	assert_int_equal(o.tso_mss, 1460);
	assert_int_equal(o.payload_len, 14600);
	assert_int_equal(o.l2_len + o.l3_len + o.l4_len, o.hdr_len);
	assert_int_equal(be16_get(o.hdr + 24), 0);
	uint16_t pseudo = (uint16_t)~ip_sum_fold(ip_pseudo_sum(KIT_US, KIT_PEER, IP_PROTO_TCP, 0));
	assert_int_equal(be16_get(o.hdr + 50), pseudo);
	kit_stop(&k);
	(void)state;
}

static void keepalive_probes_an_idle_peer_and_gives_a_dead_one_up(void **state)
{
	kit_config(&k);
	k.cfg.keepalive_idle_ns = 120 * NS_PER_S;
	k.cfg.keepalive_interval_ns = 10 * NS_PER_S;
	k.cfg.keepalive_probes = 3;
	kit_start(&k);
	kit_handshake(&k);
	kit_run_for(&k, 121 * NS_PER_S);
	KIT_EXPECT(&k, TCP_ACK, 0, 1, 0);
	kit_seg(&k, TCP_ACK, 1, 1, NULL, 0); /* it lives */
	kit_clear(&k);
	kit_run_for(&k, 119 * NS_PER_S);
	assert_int_equal(k.nout, 0);
	kit_run_for(&k, 60 * NS_PER_S);
	assert_int_equal(k.nout, 3);
	assert_int_equal(k.ev[0].closed.reason, IPSTACK_CLOSED_TIMEOUT);
	kit_stop(&k);
	(void)state;
}

static void a_connection_wraps_the_sequence_space_unharmed(void **state)
{
	for (uint32_t i = 0; i < sizeof(text); i++)
		text[i] = (uint8_t)(i * 31 + i / 256);
	kit_config(&k);
	k.cfg.fixed_isn = true;
	k.cfg.isn = 0xffffff00u;
	k.peer_iss = 0xfffffff0u;
	k.peer_wscale = 8;
	kit_start(&k);
	kit_handshake(&k);
	kit_send(&k, text, 5000, 1);
	kit_seg(&k, TCP_ACK, 501, 1, text + 500, 500); /* out of order, beyond the wrap */
	kit_seg(&k, TCP_ACK, 1, 1, text, 500);
	assert_int_equal(k.ngot, 1000);
	assert_memory_equal(k.got, text, 1000);
	kit_clear(&k);
	for (int i = 0; i < 3; i++)
		kit_seg(&k, TCP_ACK, 1001, 1, NULL, 0);
	KIT_EXPECT(&k, TCP_ACK, 1, 1001, MSS);
	kit_seg(&k, TCP_ACK, 1001, 5001, NULL, 0);
	assert_int_equal(kit_count(&k, IPSTACK_EV_SENT), 1);
	kit_stop(&k);
	(void)state;
}

/* However a peer chooses its blocks, an ACK passes few records; the next one goes on. */
static void an_ack_does_not_walk_over_all_that_is_in_flight(void **state)
{
	uint8_t f[128], opts[40];
	(void)state;
	kit_config(&k);
	k.peer_wscale = 5;
	k.cfg.send_slots_per_conn = 128;
	kit_start(&k);
	k.mute = true;
	kit_put(&k, TCP_SYN, 0, 0, k.peer_wnd, NULL, 0);
	struct tcb *c = &k.s->tcp.tcbs[0];
	struct ip_out_frame out;
	assert_int_equal(ipstack_tx_pop(k.s, k.now, &out, 1), 1);
	k.our_iss = c->iss;
	c->sack_ok = true; /* as if the SYN had offered it */
	kit_put(&k, TCP_ACK, 1, 1, 65535, NULL, 0);
	kit_turn(&k);
	c->cwnd = sizeof(text);
	kit_send(&k, text, sizeof(text), 1);
	while (ipstack_tx_pop(k.s, k.now, &out, 1) > 0)
		continue;
	assert_int_equal(tcp_flight(c), sizeof(text));
	uint32_t end = c->snd_max, acks = 0;
	struct tcp_opts o = {.wscale = -1, .nsack = 1, .sack = {{end - 1460, end}}};
	while (c->sacked == 0 && acks < 10) {
		uint32_t n = kit_frame(&k, f, TCP_ACK, k.peer_iss + 1, c->snd_una, 65535, opts,
			tcp_opts_build(opts, &o), NULL, 0);
		ipstack_input(k.s, k.now, f, n, false, false, f);
		ipstack_check(k.s);
		acks++;
	}
	assert_int_equal(c->sacked, 1460);
	assert_in_range(acks, 3, 4); /* 719 records, 256 of them by each */
	kit_stop(&k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_ack_does_not_walk_over_all_that_is_in_flight),
		cmocka_unit_test(the_initial_window_is_ten_segments),
		cmocka_unit_test(cwnd_limits_the_flight_and_not_the_burst),
		cmocka_unit_test(cookies_are_reported_once_when_all_bytes_are_acknowledged),
		cmocka_unit_test(a_full_send_queue_says_so_and_takes_nothing),
		cmocka_unit_test(small_sends_of_one_turn_leave_as_one_segment_with_the_ack),
		cmocka_unit_test(rto_backs_off_and_starts_again_with_one_segment),
		cmocka_unit_test(ssthresh_is_cut_once_however_often_the_timer_fires),
		cmocka_unit_test(an_ack_of_a_retransmission_is_no_rtt_sample),
		cmocka_unit_test(a_silent_peer_is_given_up_by_time),
		cmocka_unit_test(
			three_duplicate_acks_resend_the_first_segment_and_new_reno_the_next_holes),
		cmocka_unit_test(a_new_ack_clears_the_back_off),
		cmocka_unit_test(duplicates_caused_by_an_rto_do_not_start_a_fast_retransmit),
		cmocka_unit_test(a_fin_is_part_of_what_fast_retransmit_repeats),
		cmocka_unit_test(window_updates_and_data_are_not_duplicate_acks),
		cmocka_unit_test(limited_transmit_sends_new_data_on_the_first_two_duplicates),
		cmocka_unit_test(
			a_zero_window_is_probed_with_an_old_number_and_the_probe_backs_off),
		cmocka_unit_test(
			a_zero_window_lasts_while_the_peer_answers_and_ends_when_it_does_not),
		cmocka_unit_test(a_closed_connection_does_not_wait_for_ever_for_a_window),
		cmocka_unit_test(a_window_below_one_segment_is_not_a_zero_window),
		cmocka_unit_test(a_window_that_shrinks_below_the_flight_is_survived),
		cmocka_unit_test(an_old_segment_does_not_change_the_window),
		cmocka_unit_test(cwnd_does_not_grow_while_the_application_does_not_use_it),
		cmocka_unit_test(after_an_idle_time_the_window_starts_again),
		cmocka_unit_test(connections_take_turns_when_they_send),
		cmocka_unit_test(segmentation_offload_gets_large_frames_with_the_segment_size),
		cmocka_unit_test(keepalive_probes_an_idle_peer_and_gives_a_dead_one_up),
		cmocka_unit_test(a_connection_wraps_the_sequence_space_unharmed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
