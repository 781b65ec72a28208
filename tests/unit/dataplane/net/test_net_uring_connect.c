/* SPDX-License-Identifier: Apache-2.0 */
/* Active opens of the kernel transport. */
#include "net_uring_kit.h"

static int listener(uint16_t *port)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(sa);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(fd, 8), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
	*port = ntohs(sa.sin_port);
	return fd;
}

static const uint8_t loopback[16] = {[10] = 0xff, 0xff, 127, 0, 0, 1};

static void test_a_connection_of_ours_is_reported_and_carries_bytes_both_ways(void **state)
{
	struct rig r;
	uint16_t port;
	net_conn_t conn;
	uint8_t got[8] = {0};
	static int user;
	rig_open(&r);
	turn(&r);
	int peers = listener(&port);
	assert_int_equal(net_connect(r.net, loopback, port, &conn), 0);
	struct net_iov iov = {.p = (const uint8_t *)"hello", .len = 5};
	assert_int_equal(net_send(r.net, conn, &iov, 1, 0), -ENOTCONN);
	net_set_user(r.net, conn, &user);
	until(&r, r.seen.connected == 1);
	assert_true(r.seen.connect.conn == conn);
	assert_ptr_equal(r.seen.connect.user, &user);
	assert_memory_equal(r.seen.connect.peer.ip, loopback, 16);
	assert_int_equal(r.seen.connect.peer.port, port);
	int fd = accept(peers, NULL, NULL);
	assert_int_equal(net_send(r.net, conn, &iov, 1, 0), 0);
	net_flush(r.net, clock_mono_ns());
	assert_int_equal(recv(fd, got, 5, MSG_WAITALL), 5);
	assert_memory_equal(got, "hello", 5);
	assert_int_equal(send(fd, "back", 4, 0), 4);
	until(&r, r.seen.data_len == 4);
	close(fd);
	until(&r, r.seen.closed == 1);
	close(peers);
	rig_close(&r);
}

static void test_a_connection_that_is_refused_or_not_wanted_any_more_is_closed(void **state)
{
	struct rig r;
	uint16_t port;
	net_conn_t conn;
	rig_open(&r);
	turn(&r);
	close(listener(&port)); /* nobody listens there */
	assert_int_equal(net_connect(r.net, loopback, port, &conn), 0);
	until(&r, r.seen.closed == 1);
	int peers = listener(&port);
	assert_int_equal(net_connect(r.net, loopback, port, &conn), 0);
	net_close(r.net, conn, false);
	until(&r, r.seen.closed == 2);
	assert_int_equal(r.seen.connected, 0);
	assert_int_equal(net_connect(r.net, loopback, 0, &conn), -EINVAL);
	close(peers);
	rig_close(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_connection_of_ours_is_reported_and_carries_bytes_both_ways),
		cmocka_unit_test(
			test_a_connection_that_is_refused_or_not_wanted_any_more_is_closed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
