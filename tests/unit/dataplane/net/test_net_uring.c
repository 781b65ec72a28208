/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel transport against plain sockets on loopback, in one thread: the test turns the
 * transport until the expected events have come.
 */
#include "net_uring_kit.h"

static void test_a_connection_is_reported_with_the_address_of_its_peer(void **state)
{
	struct rig r;
	rig_open(&r);
	int fd = client_accepted(&r);
	struct sockaddr_in own;
	socklen_t len = sizeof(own);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&own, &len), 0);
	static const uint8_t ip[16] = {[10] = 0xff, 0xff, 127, 0, 0, 1};
	assert_memory_equal(r.seen.accept.peer.ip, ip, 16);
	assert_int_equal(r.seen.accept.peer.port, ntohs(own.sin_port));
	assert_int_not_equal(r.seen.conn, 0);
	assert_int_equal(metric_get(&r.net->metrics.accepted_total), 1);
	close(fd);
	until(&r, r.seen.closed == 1);
	rig_close(&r);
}

static void test_bytes_come_in_order_though_they_are_more_than_all_buffers(void **state)
{
	struct rig r;
	rig_open(&r);
	int fd = client_accepted(&r);
	size_t size = 3000000;
	uint8_t *p = pattern_new(size);
	client_write(&r, fd, p, size);
	until(&r, r.seen.data_len == size);
	assert_memory_equal(r.seen.data, p, size);
	assert_int_equal(metric_get(&r.net->metrics.rx_bytes_total), size);
	close(fd);
	until(&r, r.seen.closed == 1);
	free(p);
	rig_close(&r);
}

static void test_events_beyond_the_callers_array_come_with_the_next_poll(void **state)
{
	struct rig r;
	rig_open(&r);
	r.events_max = 1;
	int fd[8];
	size_t size = 40000;
	uint8_t *p = pattern_new(size);
	for (size_t i = 0; i < 8; i++)
		fd[i] = client(&r);
	until(&r, r.seen.accepted == 8);
	client_write(&r, fd[0], p, size);
	until(&r, r.seen.data_len == size);
	assert_memory_equal(r.seen.data, p, size);
	struct net_iov iov = {.p = p, .len = 10};
	net_conn_t c = r.seen.conn;
	for (uint64_t cookie = 1; cookie <= 5; cookie++)
		assert_int_equal(net_send(r.net, c, &iov, 1, cookie), 0);
	until(&r, r.seen.sent_ok == 5);
	for (size_t i = 0; i < 8; i++)
		close(fd[i]);
	until(&r, r.seen.closed == 8);
	free(p);
	rig_close(&r);
}

static void test_gathered_sends_arrive_whole_and_each_cookie_once(void **state)
{
	struct rig r;
	rig_open(&r);
	int fd = client_accepted(&r);
	size_t size = 8 << 20, got = 0;
	uint8_t *p = pattern_new(size), *back = malloc(size);
	uint64_t cookie = 0;
	size_t at = 0;
	bool eof = false;
	until(&r, got == size)
	{
		/* Messages of 1 to 5 pieces of odd sizes, until the queue is full. */
		while (at < size) {
			struct net_iov iov[5];
			uint32_t count = 0;
			size_t end = at;
			while (count < 1 + cookie % 5) {
				size_t piece =
					min_of((size_t)(1 + (cookie * 7919 + count * 101) % 30000),
						size - end);
				iov[count++] =
					(struct net_iov){.p = p + end, .len = (uint32_t)piece};
				end += piece;
			}
			int err = net_send(r.net, r.seen.conn, iov, count, cookie + 1);
			if (err) {
				assert_int_equal(err, -ENOBUFS);
				break;
			}
			cookie++;
			at = end;
		}
		ssize_t n = client_read(fd, back + got, size - got, &eof);
		assert_true(n >= 0);
		got += (size_t)n;
	}
	assert_memory_equal(back, p, size);
	until(&r, r.seen.sent_ok == cookie);
	assert_int_equal(r.seen.sent_failed, 0);
	assert_true(r.seen.cookies_in_order);
	assert_int_equal(metric_get(&r.net->metrics.tx_bytes_total), size);
	close(fd);
	until(&r, r.seen.closed == 1);
	free(p);
	free(back);
	rig_close(&r);
}

static void test_a_send_without_a_cookie_is_copied_and_not_reported(void **state)
{
	struct rig r;
	rig_open(&r);
	int fd = client_accepted(&r);
	uint8_t answer[400], back[800];
	memset(answer, 'a', sizeof(answer));
	struct net_iov iov[2] = {{.p = answer, .len = 300}, {.p = answer + 300, .len = 100}};
	assert_int_equal(net_send(r.net, r.seen.conn, iov, 2, 0), 0);
	memset(answer, 'b', sizeof(answer));
	assert_int_equal(net_send(r.net, r.seen.conn, iov, 2, 0), 0);
	memset(answer, 'c', sizeof(answer));
	size_t got = 0;
	bool eof = false;
	until(&r, got == sizeof(back))
	{
		got += (size_t)client_read(fd, back + got, sizeof(back) - got, &eof);
	}
	for (size_t i = 0; i < sizeof(back); i++)
		assert_int_equal(back[i], i < 400 ? 'a' : 'b');
	close(fd);
	until(&r, r.seen.closed == 1);
	assert_int_equal(r.seen.sent_ok + r.seen.sent_failed, 0);
	rig_close(&r);
}

static void test_copies_come_back_to_their_pool(void **state)
{
	struct rig r;
	rig_open(&r);
	int fd = client_accepted(&r);
	r.seen.echo = true;
	uint8_t one = 1, back[64];
	size_t got = 0;
	bool eof = false;
	for (size_t i = 1; i <= 1100; i++) {
		assert_int_equal(send(fd, &one, 1, MSG_NOSIGNAL), 1);
		until(&r, got == i)
		{
			got += (size_t)client_read(fd, back, sizeof(back), &eof);
		}
	}
	close(fd);
	until(&r, r.seen.closed == 1);
	rig_close(&r);
}

static void test_a_paused_connection_gives_no_data_and_loses_none(void **state)
{
	struct rig r;
	rig_open(&r);
	int fd = client_accepted(&r);
	size_t size = 500000, put = 0;
	uint8_t *p = pattern_new(size);
	bool paused = false;
	/* Toggled at every turn, so that cancels race with arriving data. */
	until(&r, r.seen.data_len == size)
	{
		if (put < size) {
			ssize_t n =
				send(fd, p + put, min_of(size - put, (size_t)3000), MSG_NOSIGNAL);
			if (n > 0)
				put += (size_t)n;
		}
		size_t before = r.seen.data_len;
		paused = !paused;
		net_pause(r.net, r.seen.conn, paused);
		if (paused) {
			turn(&r);
			turn(&r);
			assert_int_equal(r.seen.data_len, before);
		}
	}
	assert_memory_equal(r.seen.data, p, size);
	close(fd);
	until(&r, r.seen.closed == 1);
	free(p);
	rig_close(&r);
}

static void test_a_paused_connection_does_not_starve_another(void **state)
{
	struct rig r;
	rig_open(&r);
	int stuck = client_accepted(&r);
	net_conn_t stuck_conn = r.seen.conn;
	int fd = client_accepted(&r);
	static uint8_t junk[1 << 20];
	assert_true(send(stuck, junk, sizeof(junk), MSG_NOSIGNAL) > 0);
	net_pause(r.net, stuck_conn, true);
	size_t size = 400000;
	uint8_t *p = pattern_new(size);
	client_write(&r, fd, p, size);
	until(&r, r.seen.data_len == size);
	assert_memory_equal(r.seen.data, p, size);
	close(fd);
	until(&r, r.seen.closed == 1);
	net_pause(r.net, stuck_conn, false);
	until(&r, r.seen.data_len > size);
	close(stuck);
	until(&r, r.seen.closed == 2);
	free(p);
	rig_close(&r);
}

static void test_what_was_sent_before_a_close_arrives_before_the_fin(void **state)
{
	struct rig r;
	rig_open(&r);
	int fd = client_accepted(&r);
	size_t size = 6 << 20, got = 0;
	uint8_t *p = pattern_new(size), *back = malloc(size);
	struct net_iov iov = {.p = p, .len = (uint32_t)size};
	assert_int_equal(net_send(r.net, r.seen.conn, &iov, 1, 9), 0);
	net_close(r.net, r.seen.conn, false);
	assert_int_equal(net_send(r.net, r.seen.conn, &iov, 1, 10), -ENOTCONN);
	bool eof = false;
	until(&r, eof)
	{
		uint8_t more;
		ssize_t n = got < size ? client_read(fd, back + got, size - got, &eof)
				       : client_read(fd, &more, 1, &eof);
		assert_true(n >= 0);
		got += (size_t)n;
	}
	assert_int_equal(got, size);
	assert_memory_equal(back, p, size);
	until(&r, r.seen.closed == 1);
	assert_int_equal(r.seen.sent_ok, 1);
	close(fd);
	free(p);
	free(back);
	rig_close(&r);
}

static void test_an_abort_resets_and_reports_every_cookie(void **state)
{
	struct rig r;
	rig_open(&r);
	int fd = client_accepted(&r);
	size_t size = 8 << 20;
	uint8_t *p = pattern_new(size);
	struct net_iov iov = {.p = p, .len = (uint32_t)size};
	for (uint64_t cookie = 1; cookie <= 3; cookie++)
		assert_int_equal(net_send(r.net, r.seen.conn, &iov, 1, cookie), 0);
	turn(&r);
	turn(&r);
	net_close(r.net, r.seen.conn, true);
	until(&r, r.seen.closed == 1);
	assert_int_equal(r.seen.sent_failed, 3);
	assert_true(r.seen.cookies_in_order);
	ssize_t n;
	do {
		n = recv(fd, p, size, 0);
	} while (n > 0);
	assert_int_equal(n, -1);
	assert_int_equal(errno, ECONNRESET);
	assert_int_equal(net_send(r.net, r.seen.conn, &iov, 1, 4), -ENOTCONN);
	net_close(r.net, r.seen.conn, true); /* a stale handle is ignored */
	net_pause(r.net, r.seen.conn, true);
	close(fd);
	free(p);
	rig_close(&r);
}

static void test_a_peers_reset_fails_what_is_queued(void **state)
{
	struct rig r;
	rig_open(&r);
	int fd = client_accepted(&r);
	size_t size = 16 << 20;
	uint8_t *p = pattern_new(size);
	struct net_iov iov = {.p = p, .len = (uint32_t)size};
	assert_int_equal(net_send(r.net, r.seen.conn, &iov, 1, 1), 0);
	turn(&r);
	struct linger l = {.l_onoff = 1};
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l)), 0);
	close(fd);
	until(&r, r.seen.closed == 1);
	assert_int_equal(r.seen.sent_failed, 1);
	free(p);
	rig_close(&r);
}

static void test_a_half_closing_client_gets_the_answer_to_what_it_sent(void **state)
{
	struct rig r;
	rig_open(&r);
	r.seen.echo = true;
	int fd = client_accepted(&r);
	uint8_t out[500], back[600];
	memset(out, 'x', sizeof(out));
	assert_int_equal(send(fd, out, sizeof(out), MSG_NOSIGNAL), sizeof(out));
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	size_t got = 0;
	bool eof = false;
	until(&r, eof)
	{
		ssize_t n = client_read(fd, back + got, sizeof(back) - got, &eof);
		assert_true(n >= 0);
		got += (size_t)n;
	}
	assert_int_equal(got, sizeof(out));
	until(&r, r.seen.closed == 1);
	close(fd);
	rig_close(&r);
}

static void test_connections_beyond_the_limit_are_closed_and_counted(void **state)
{
	struct rig r;
	struct net_uring_config cfg = config();
	cfg.max_conns = 2;
	rig_open_cfg(&r, &cfg);
	int a = client_accepted(&r), b = client_accepted(&r), c = client(&r);
	bool eof = false;
	uint8_t byte;
	until(&r, eof)
	{
		if (client_read(c, &byte, 1, &eof) < 0)
			eof = true;
	}
	assert_int_equal(metric_get(&r.net->metrics.refused_total), 1);
	assert_int_equal(r.seen.accepted, 2);
	net_conn_t old = r.seen.conn;
	close(b);
	until(&r, r.seen.closed == 1);
	int d = client_accepted(&r);
	assert_int_not_equal(r.seen.conn, old);
	net_close(r.net, old, true); /* names nothing any more */
	assert_int_equal(send(d, "z", 1, MSG_NOSIGNAL), 1);
	until(&r, r.seen.data_len == 1);
	close(a);
	close(c);
	close(d);
	until(&r, r.seen.closed == 3);
	rig_close(&r);
}

static void test_a_lack_of_descriptors_only_delays_new_connections(void **state)
{
	struct rig r;
	struct rlimit old, low;
	rig_open(&r);
	int fd = client(&r); /* in the backlog */
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	low = old;
	low.rlim_cur = (rlim_t)fd + 1;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	for (size_t i = 0; i < 5; i++)
		turn(&r);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(r.seen.accepted, 0);
	until(&r, r.seen.accepted == 1);
	assert_int_equal(send(fd, "y", 1, MSG_NOSIGNAL), 1);
	until(&r, r.seen.data_len == 1);
	close(fd);
	until(&r, r.seen.closed == 1);
	rig_close(&r);
}

static void test_after_stop_listening_connections_are_refused_and_old_ones_live(void **state)
{
	struct rig r;
	rig_open(&r);
	int fd = client_accepted(&r);
	net_stop_listening(r.net);
	struct sockaddr_in sa = {
		.sin_family = AF_INET,
		.sin_port = htons(r.port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int late = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(late, (struct sockaddr *)&sa, sizeof(sa)), -1);
	assert_int_equal(errno, ECONNREFUSED);
	assert_int_equal(send(fd, "y", 1, MSG_NOSIGNAL), 1);
	until(&r, r.seen.data_len == 1);
	close(late);
	close(fd);
	until(&r, r.seen.closed == 1);
	rig_close(&r);
}

static void test_a_notify_ends_the_wait(void **state)
{
	struct rig r;
	rig_open(&r);
	turn(&r);
	for (size_t i = 0; i < 100; i++) {
		waker_arm(&r.net->waker);
		waker_notify(&r.net->waker);
		/* Without the notify this would sleep for ever. */
		net_wait(r.net, clock_mono_ns(), UINT64_MAX);
		waker_disarm(&r.net->waker);
		struct net_event ev[4];
		assert_int_equal(net_poll(r.net, clock_mono_ns(), ev, 4), 0);
	}
	rig_close(&r);
}

static void test_an_idle_poll_makes_no_system_call(void **state)
{
	struct rig r;
	rig_open(&r);
	int fd = client_accepted(&r);
	for (size_t i = 0; i < 10; i++)
		turn(&r);
	uint64_t before = metric_get(&r.net->metrics.syscalls_total);
	struct net_event ev[4];
	for (size_t i = 0; i < 1000; i++)
		assert_int_equal(net_poll(r.net, clock_mono_ns(), ev, 4), 0);
	assert_int_equal(metric_get(&r.net->metrics.syscalls_total), before);
	close(fd);
	until(&r, r.seen.closed == 1);
	rig_close(&r);
}

static void test_two_shards_of_one_process_share_a_port_and_a_stranger_does_not(void **state)
{
	struct rig a, b;
	struct net_uring_config cfg = config();
	char err[256] = "";
	cfg.reuse_port = true;
	rig_open_cfg(&a, &cfg);
	cfg.port = a.port;
	rig_open_cfg(&b, &cfg);
	int fd[32];
	for (size_t i = 0; i < 32; i++)
		fd[i] = client(&a);
	until(&a, a.seen.accepted + b.seen.accepted == 32)
	{
		turn(&b);
	}
	assert_true(a.seen.accepted > 0);
	assert_true(b.seen.accepted > 0);
	/* Without reuse_port it is another process as far as the port is concerned. */
	cfg.reuse_port = false;
	assert_null(net_uring_open(&cfg, err, sizeof(err)));
	assert_non_null(strstr(err, "already in use"));
	for (size_t i = 0; i < 32; i++)
		close(fd[i]);
	rig_close(&a);
	rig_close(&b);
}

static void test_faults_of_opening_say_what_to_do(void **state)
{
	char err[256] = "";
	struct net_uring_config cfg = config();
	snprintf(cfg.host, sizeof(cfg.host), "broker.example");
	assert_null(net_uring_open(&cfg, err, sizeof(err)));
	assert_string_equal(
		err, "'broker.example' is not an IPv4 or IPv6 address: give one in listeners=");
	snprintf(cfg.host, sizeof(cfg.host), "192.0.2.1");
	assert_null(net_uring_open(&cfg, err, sizeof(err)));
	assert_string_equal(err, "address 192.0.2.1 does not belong to this machine: set "
				 "listeners= to one of its addresses");
	struct rig r;
	rig_open(&r);
	cfg = config();
	cfg.port = r.port;
	char want[256];
	snprintf(want, sizeof(want),
		"port %u on 127.0.0.1 is already in use: stop the other process or set listeners= "
		"to another port",
		r.port);
	assert_null(net_uring_open(&cfg, err, sizeof(err)));
	assert_string_equal(err, want);
	/* After the end the port is free at once. */
	net_fini(r.net);
	rig_open_cfg(&r, &cfg);
	rig_close(&r);
}

static void test_hundreds_of_connections_come_and_go_without_a_leak(void **state)
{
	struct rig r;
	rig_open(&r);
	for (uint32_t round = 1; round <= 3; round++) {
		int fd[300];
		for (size_t i = 0; i < 300; i++)
			fd[i] = client(&r);
		until(&r, r.seen.accepted == 300 * round);
		for (size_t i = 0; i < 300; i++)
			assert_int_equal(send(fd[i], "0123456789", 10, MSG_NOSIGNAL), 10);
		until(&r, r.seen.data_len == 3000 * (size_t)round);
		for (size_t i = 0; i < 300; i++)
			close(fd[i]);
		until(&r, r.seen.closed == 300 * round);
	}
	rig_close(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_connection_is_reported_with_the_address_of_its_peer),
		cmocka_unit_test(test_bytes_come_in_order_though_they_are_more_than_all_buffers),
		cmocka_unit_test(test_events_beyond_the_callers_array_come_with_the_next_poll),
		cmocka_unit_test(test_gathered_sends_arrive_whole_and_each_cookie_once),
		cmocka_unit_test(test_a_send_without_a_cookie_is_copied_and_not_reported),
		cmocka_unit_test(test_copies_come_back_to_their_pool),
		cmocka_unit_test(test_a_paused_connection_gives_no_data_and_loses_none),
		cmocka_unit_test(test_a_paused_connection_does_not_starve_another),
		cmocka_unit_test(test_what_was_sent_before_a_close_arrives_before_the_fin),
		cmocka_unit_test(test_an_abort_resets_and_reports_every_cookie),
		cmocka_unit_test(test_a_peers_reset_fails_what_is_queued),
		cmocka_unit_test(test_a_half_closing_client_gets_the_answer_to_what_it_sent),
		cmocka_unit_test(test_connections_beyond_the_limit_are_closed_and_counted),
		cmocka_unit_test(test_a_lack_of_descriptors_only_delays_new_connections),
		cmocka_unit_test(
			test_after_stop_listening_connections_are_refused_and_old_ones_live),
		cmocka_unit_test(test_a_notify_ends_the_wait),
		cmocka_unit_test(test_an_idle_poll_makes_no_system_call),
		cmocka_unit_test(
			test_two_shards_of_one_process_share_a_port_and_a_stranger_does_not),
		cmocka_unit_test(test_faults_of_opening_say_what_to_do),
		cmocka_unit_test(test_hundreds_of_connections_come_and_go_without_a_leak),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
