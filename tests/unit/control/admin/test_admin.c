/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/check.h"
#include "control/admin/admin.h"

struct env {
	struct config cfg;
	struct admin *a;
	char err[CONFIG_ERR_MAX];
	char reply[1 << 20];
};

static int setup(void **state)
{
	struct env *e = calloc(1, sizeof(*e));
	config_defaults(&e->cfg);
	assert_int_equal(
		config_set(&e->cfg, "admin.listener=127.0.0.1:0", e->err, sizeof(e->err)), 0);
	assert_int_equal(config_finish(&e->cfg, "h", e->err, sizeof(e->err)), 0);
	e->a = admin_open(&e->cfg, e->err, sizeof(e->err));
	if (!e->a)
		fail_msg("%s", e->err);
	*state = e;
	return 0;
}

static int teardown(void **state)
{
	struct env *e = *state;
	admin_close(e->a);
	free(e);
	return 0;
}

static int connect_to(uint16_t port)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	return fd;
}

/* Waits for either end as the control loop does, and lets the server work. */
static void turn(struct env *e, struct pollfd p[2])
{
	int ms = admin_timeout_ms(e->a);
	int n = poll(p, 2, ms >= 0 ? ms : 20000);
	assert_true(n > 0 || ms >= 0);
	admin_run(e->a);
}

/* Runs the server until the client's end is closed; what it received is in e->reply. */
static void serve_until_closed(struct env *e, int fd)
{
	size_t got = 0;
	struct pollfd p[2] = {
		{.fd = fd, .events = POLLIN}, {.fd = admin_fd(e->a), .events = POLLIN}};
	for (;;) {
		turn(e, p);
		if (!p[0].revents)
			continue;
		ssize_t n = recv(fd, e->reply + got, sizeof(e->reply) - 1 - got, 0);
		assert_true(n >= 0);
		if (n == 0)
			break;
		got += (size_t)n;
	}
	e->reply[got] = 0;
	close(fd);
}

static const char *request(struct env *e, const char *text)
{
	int fd = connect_to(admin_port(e->a));
	assert_int_equal(send(fd, text, strlen(text), 0), (ssize_t)strlen(text));
	serve_until_closed(e, fd);
	return e->reply;
}

static const char *get(struct env *e, const char *path)
{
	char text[256];
	snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
		path);
	return request(e, text);
}

static void has(const char *text, const char *want)
{
	if (!strstr(text, want))
		fail_msg("\"%s\" is not in:\n%s", want, text);
}

static void test_healthz_answers_while_the_loop_lives(void **state)
{
	const char *r = get(*state, "/healthz");
	has(r, "HTTP/1.1 200");
	has(r, "\r\n\r\nok\n");
}

static void test_readyz_says_why_not(void **state)
{
	struct env *e = *state;
	has(get(e, "/readyz"), "HTTP/1.1 503");
	has(e->reply, "not ready: starting");
	admin_set_ready(e->a, NULL);
	has(get(e, "/readyz"), "HTTP/1.1 200");
	has(get(e, "/metrics"), "millrace_ready 1\n");
	admin_set_ready(e->a, "stopping");
	has(get(e, "/readyz"), "not ready: stopping");
	has(get(e, "/healthz"), "HTTP/1.1 200");
}

static void test_readyz_tells_what_is_offline(void **state)
{
	struct env *e = *state;
	static const struct metric_desc dirs[] = {{.name = "storage_offline_dirs", .help = "d"}};
	static const struct metric_desc parts[] = {{.name = "partitions_offline", .help = "p"}};
	metric_t dirs_of[2] = {{0}}, parts_of[2] = {{0}};
	for (int i = 0; i < 2; i++) {
		admin_add_metrics(e->a, dirs, 1, &dirs_of[i], i ? "worker=\"1\"" : "worker=\"0\"");
		admin_add_metrics(e->a, parts, 1, &parts_of[i], i ? "shard=\"1\"" : "shard=\"0\"");
	}
	admin_set_ready(e->a, NULL);
	has(get(e, "/readyz"), "\r\n\r\nready\n");
	assert_null(strstr(e->reply, "offline"));
	/* both workers see the same directory; a partition is of one shard */
	metric_set(&dirs_of[0], 1);
	metric_set(&dirs_of[1], 1);
	metric_set(&parts_of[0], 3);
	metric_set(&parts_of[1], 4);
	has(get(e, "/readyz"), "HTTP/1.1 200");
	has(e->reply, "ready\noffline: 1 log directories, 7 partitions\n");
}

static void test_config_is_text_or_json(void **state)
{
	has(get(*state, "/config"), "\nnum.partitions=1\n");
	const char *r =
		request(*state, "GET /config HTTP/1.1\r\nHost: x\r\nAccept: application/json\r\n"
				"Connection: close\r\n\r\n");
	has(r, "Content-Type: application/json");
	has(r, "\"num.partitions\": \"1\"");
}

static void test_other_paths_and_methods_are_refused(void **state)
{
	has(get(*state, "/"), "HTTP/1.1 404");
	has(get(*state, "/metricsx"), "HTTP/1.1 404");
	const char *r = request(*state, "POST /config HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
					"Connection: close\r\n\r\nhello");
	has(r, "HTTP/1.1 405");
	has(r, "Allow: GET, HEAD");
	r = request(*state, "HEAD /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
	has(r, "HTTP/1.1 200");
	assert_null(strstr(r, "ok\n"));
	request(*state, "garbage\r\n\r\n"); /* closed, with or without an answer */
	has(get(*state, "/healthz"), "HTTP/1.1 200");
}

struct room {
	metric_t hits_total;
	metric_t level;
};

static const struct metric_desc rows[] = {
	{"hits_total", "hits", offsetof(struct room, hits_total)},
	{"level", "how high", offsetof(struct room, level)},
};

static void test_metrics_of_several_owners_stand_side_by_side(void **state)
{
	struct env *e = *state;
	struct room a = {{3}, {9}}, b = {{4}, {UINT64_MAX}};
	static const struct metric_desc other[] = {{"only", "one", 0}};
	metric_t one = {7};
	assert_int_equal(admin_add_metrics(e->a, rows, 2, &a, "shard=\"0\""), 0);
	assert_int_equal(admin_add_metrics(e->a, other, 1, &one, ""), 0);
	assert_int_equal(admin_add_metrics(e->a, rows, 2, &b, "shard=\"1\""), 0);
	const char *r = get(e, "/metrics");
	has(r, "Content-Type: text/plain; version=0.0.4");
	has(r, "# HELP millrace_hits_total hits\n"
	       "# TYPE millrace_hits_total counter\n"
	       "millrace_hits_total{shard=\"0\"} 3\n"
	       "millrace_hits_total{shard=\"1\"} 4\n"
	       "# HELP millrace_level how high\n"
	       "# TYPE millrace_level gauge\n"
	       "millrace_level{shard=\"0\"} 9\n"
	       "millrace_level{shard=\"1\"} 18446744073709551615\n"
	       "# HELP millrace_only one\n"
	       "# TYPE millrace_only gauge\n"
	       "millrace_only 7\n");
	metric_add(&a.hits_total, 1);
	has(get(e, "/metrics"), "millrace_hits_total{shard=\"0\"} 4\n");
	has(e->reply, "process_resident_memory_bytes ");
	has(e->reply, "process_cpu_seconds_total ");
	has(e->reply, "millrace_build_info{version=\"");
	const char *again = strstr(e->reply, "# TYPE millrace_level");
	assert_null(strstr(again + 1, "# TYPE millrace_level"));
}

static void test_connections_are_bounded_and_others_still_served(void **state)
{
	struct env *e = *state;
	int idle[40];
	for (size_t i = 0; i < array_size(idle); i++) {
		idle[i] = connect_to(admin_port(e->a));
		assert_int_equal(send(idle[i], "GET /hea", 8, 0), 8);
	}
	has(get(e, "/healthz"), "HTTP/1.1 200");
	for (size_t i = 0; i < array_size(idle); i++)
		close(idle[i]);
	assert_true(admin_timeout_ms(e->a) >= -1);
	has(get(e, "/healthz"), "HTTP/1.1 200");
}

static void test_a_header_that_does_not_end_is_refused(void **state)
{
	struct env *e = *state;
	size_t n = 200000;
	char *big = malloc(n);
	memset(big, 'x', n);
	memcpy(big, "GET /healthz HTTP/1.1\r\nHost: ", 29);
	int fd = connect_to(admin_port(e->a));
	struct pollfd p[2] = {
		{.fd = fd, .events = POLLIN | POLLOUT}, {.fd = admin_fd(e->a), .events = POLLIN}};
	size_t sent = 0;
	bool over = false;
	while (!over) {
		turn(e, p);
		if (sent < n && (p[0].revents & POLLOUT)) {
			ssize_t w = send(fd, big + sent, min_of(n - sent, 4096u),
				MSG_NOSIGNAL | MSG_DONTWAIT);
			sent = w > 0 ? sent + (size_t)w : n;
		}
		if (sent == n)
			p[0].events = POLLIN;
		if (p[0].revents & (POLLIN | POLLHUP | POLLERR))
			over = recv(fd, e->reply, sizeof(e->reply), MSG_DONTWAIT) <= 0;
	}
	close(fd);
	free(big);
	has(get(e, "/healthz"), "HTTP/1.1 200");
}

static void test_a_port_in_use_is_said_with_advice(void **state)
{
	struct env *e = *state;
	struct config other = e->cfg;
	char set[64];
	snprintf(set, sizeof(set), "admin.listener=127.0.0.1:%u", admin_port(e->a));
	assert_int_equal(config_set(&other, set, e->err, sizeof(e->err)), 0);
	assert_null(admin_open(&other, e->err, sizeof(e->err)));
	has(e->err, "the port is in use");
	has(e->err, "set admin.listener");
	assert_int_equal(
		config_set(&other, "admin.listener=192.0.2.77:1", e->err, sizeof(e->err)), 0);
	assert_null(admin_open(&other, e->err, sizeof(e->err)));
	has(e->err, "does not have that address");
}

static void test_without_a_listener_nothing_is_served(void **state)
{
	struct env *e = *state;
	struct config none = e->cfg;
	assert_int_equal(config_set(&none, "admin.listener=", e->err, sizeof(e->err)), 0);
	struct admin *a = admin_open(&none, e->err, sizeof(e->err));
	assert_non_null(a);
	assert_int_equal(admin_port(a), 0);
	assert_int_equal(admin_fd(a), -1);
	assert_int_equal(admin_timeout_ms(a), -1);
	admin_run(a);
	admin_set_ready(a, NULL);
	admin_close(a);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_healthz_answers_while_the_loop_lives),
		T(test_readyz_says_why_not),
		T(test_readyz_tells_what_is_offline),
		T(test_config_is_text_or_json),
		T(test_other_paths_and_methods_are_refused),
		T(test_metrics_of_several_owners_stand_side_by_side),
		T(test_connections_are_bounded_and_others_still_served),
		T(test_a_header_that_does_not_end_is_refused),
		T(test_a_port_in_use_is_said_with_advice),
		T(test_without_a_listener_nothing_is_served),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
