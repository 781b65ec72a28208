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
#include <jansson.h>

#include "base/check.h"
#include "control/admin/admin.h"

#define SHARDS 2
#define SLOTS 200 /* of each shard; every second one is a connection */

/* Shards that answer when the test says so: slot i of shard s has the peer 10.s.0.1, port i. */
struct env {
	struct config cfg;
	struct admin *a;
	char err[CONFIG_ERR_MAX];
	char reply[1 << 20];
	struct conn_page page;
	uint16_t shard;
	bool asked;
	uint32_t questions;
};

static void ask(void *arg, uint16_t shard, const struct conn_page *page)
{
	struct env *e = arg;
	assert_false(e->asked);
	assert_true(page->max > 0);
	e->asked = true;
	e->questions++;
	e->shard = shard;
	e->page = *page;
}

static void answer(struct env *e)
{
	struct conn_page *p = &e->page;
	uint32_t i = p->from;
	e->asked = false;
	p->count = 0;
	for (; i < SLOTS && p->count < p->max; i += 2) {
		struct conn_info *c = &p->conns[p->count++];
		*c = (struct conn_info){
			.state = "ESTABLISHED",
			.cc = "cubic",
			.peer_ip = {[10] = 0xff,
				[11] = 0xff,
				[12] = 10,
				[13] = (uint8_t)e->shard,
				[15] = 1},
			.peer_port = (uint16_t)i,
			.local_port = 9092,
			.cwnd_bytes = 14480,
			.ssthresh_bytes = i == 0 ? CONN_SSTHRESH_NONE : 7240,
			.srtt_ns = 1234567,
			.retransmits = 3,
			.sack = true,
			.ecn = true,
		};
	}
	p->next = i < SLOTS ? i : 0;
	admin_connections(e->a, p);
}

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
	admin_set_shards(e->a, SHARDS, ask, NULL, e);
	admin_set_ready(e->a, NULL);
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

static int send_get(struct env *e, const char *path)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(admin_port(e->a))};
	char text[256];
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	int n = snprintf(text, sizeof(text),
		"GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path);
	assert_int_equal(send(fd, text, (size_t)n, 0), n);
	return fd;
}

/* Lets the server work until it has something to do no more, or fd is readable. */
static bool turn(struct env *e, int fd)
{
	struct pollfd p[2] = {
		{.fd = fd, .events = POLLIN}, {.fd = admin_fd(e->a), .events = POLLIN}};
	int ms = admin_timeout_ms(e->a);
	assert_true(poll(p, 2, ms >= 0 ? ms : 20000) > 0 || ms >= 0);
	admin_run(e->a);
	return p[0].revents != 0;
}

static void wait_for_question(struct env *e, int fd)
{
	while (!e->asked)
		turn(e, fd);
}

/* The answer's body; the shards answer at once. */
static const char *receive(struct env *e, int fd)
{
	size_t got = 0;
	for (;;) {
		while (e->asked)
			answer(e);
		if (!turn(e, fd))
			continue;
		ssize_t n = recv(fd, e->reply + got, sizeof(e->reply) - 1 - got, 0);
		assert_true(n >= 0);
		if (n == 0)
			break;
		got += (size_t)n;
	}
	close(fd);
	e->reply[got] = 0;
	const char *body = strstr(e->reply, "\r\n\r\n");
	assert_non_null(body);
	return body + 4;
}

static const char *get(struct env *e, const char *path)
{
	return receive(e, send_get(e, path));
}

static json_t *get_json(struct env *e, const char *path)
{
	json_error_t why;
	json_t *j = json_loads(get(e, path), 0, &why);
	if (!j)
		fail_msg("%s at %d: %s", why.text, why.position, e->reply);
	return j;
}

static void has(const char *text, const char *want)
{
	if (!strstr(text, want))
		fail_msg("\"%s\" is not in:\n%s", want, text);
}

static void test_all_connections_of_all_shards_are_listed_once(void **state)
{
	json_t *j = get_json(*state, "/connections");
	json_t *list = json_object_get(j, "connections");
	assert_int_equal(json_array_size(list), SHARDS * SLOTS / 2);
	assert_true(json_is_null(json_object_get(j, "next")));
	for (size_t i = 0; i < json_array_size(list); i++) {
		char peer[32];
		size_t shard = i / (SLOTS / 2), slot = i % (SLOTS / 2) * 2;
		json_t *c = json_array_get(list, i);
		snprintf(peer, sizeof(peer), "10.%zu.0.1:%zu", shard, slot);
		assert_string_equal(json_string_value(json_object_get(c, "peer")), peer);
		assert_int_equal(json_integer_value(json_object_get(c, "shard")), shard);
		assert_int_equal(json_is_null(json_object_get(c, "ssthresh_bytes")), slot == 0);
	}
	json_t *c = json_array_get(list, 1);
	assert_string_equal(json_string_value(json_object_get(c, "state")), "ESTABLISHED");
	assert_string_equal(json_string_value(json_object_get(c, "cc")), "cubic");
	assert_int_equal(json_integer_value(json_object_get(c, "srtt_us")), 1234);
	assert_int_equal(json_integer_value(json_object_get(c, "cwnd_bytes")), 14480);
	assert_int_equal(json_integer_value(json_object_get(c, "ssthresh_bytes")), 7240);
	assert_int_equal(json_integer_value(json_object_get(c, "retransmits")), 3);
	assert_int_equal(json_array_size(json_object_get(c, "options")), 2);
	json_decref(j);
}

static void test_an_answer_has_at_most_its_limit_and_says_where_to_go_on(void **state)
{
	char path[128] = "/connections?limit=70";
	size_t total = 0, answers = 0;
	for (bool more = true; more; answers++) {
		json_t *j = get_json(*state, path);
		size_t n = json_array_size(json_object_get(j, "connections"));
		const char *next = json_string_value(json_object_get(j, "next"));
		assert_true(n <= 70);
		total += n;
		more = next != NULL;
		if (more)
			snprintf(path, sizeof(path), "/connections?limit=70&after=%s", next);
		json_decref(j);
	}
	assert_int_equal(total, SHARDS * SLOTS / 2);
	assert_true(answers >= 3);
}

static void test_people_get_lines_as_from_ss(void **state)
{
	const char *body = get(*state, "/connections?format=text&limit=2");
	has(body, "ESTABLISHED recv-q:0 send-q:0 port:9092 peer:10.0.0.1:0 shard:0\n\t cubic sack "
		  "ecn");
	has(body, "rtt:1.235/0.000ms");
	has(body, " ssthresh:7240 ");
	has(body, "more: after=0:4\n");
}

static void test_questions_that_make_no_sense_are_refused(void **state)
{
	static const char *const bad[] = {"limit=0", "limit=1001", "limit=-1", "limit=x",
		"format=xml", "after=2:0", "after=0", "after=:", "after=0:-1",
		"after=0:4294967296"};
	struct env *e = *state;
	for (size_t i = 0; i < array_size(bad); i++) {
		char path[128];
		snprintf(path, sizeof(path), "/connections?%s", bad[i]);
		get(e, path);
		has(e->reply, "HTTP/1.1 400");
	}
	assert_int_equal(e->questions, 0);
}

static void test_shards_are_not_asked_before_the_broker_serves_and_when_it_stops(void **state)
{
	struct env *e = *state;
	admin_set_ready(e->a, "starting");
	get(e, "/connections");
	has(e->reply, "HTTP/1.1 503");
	assert_int_equal(e->questions, 0);
	admin_set_ready(e->a, NULL);
	int fd = send_get(e, "/connections");
	wait_for_question(e, fd);
	admin_set_ready(e->a, "stopping");
	assert_true(admin_is_asking(e->a));
	has(receive(e, fd), "\"next\":\"0:");
	assert_false(admin_is_asking(e->a));
	assert_int_equal(e->questions, 1);
}

static void test_requests_take_turns_and_one_that_leaves_does_not_stop_the_others(void **state)
{
	struct env *e = *state;
	int gone = send_get(e, "/connections");
	wait_for_question(e, gone);
	int other = send_get(e, "/connections?format=text");
	close(gone);
	has(receive(e, other), "peer:10.1.0.1:198");
	assert_false(admin_is_asking(e->a));
}

static void test_the_server_closes_with_a_question_out(void **state)
{
	struct env *e = *state;
	int fd = send_get(e, "/connections");
	wait_for_question(e, fd);
	admin_close(e->a);
	close(fd);
	e->a = admin_open(&e->cfg, e->err, sizeof(e->err));
	assert_non_null(e->a);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_all_connections_of_all_shards_are_listed_once),
		T(test_an_answer_has_at_most_its_limit_and_says_where_to_go_on),
		T(test_people_get_lines_as_from_ss),
		T(test_questions_that_make_no_sense_are_refused),
		T(test_shards_are_not_asked_before_the_broker_serves_and_when_it_stops),
		T(test_requests_take_turns_and_one_that_leaves_does_not_stop_the_others),
		T(test_the_server_closes_with_a_question_out),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
