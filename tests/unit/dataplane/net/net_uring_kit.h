/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_NET_NET_URING_KIT_H
#define TESTS_UNIT_NET_NET_URING_KIT_H

/* The kernel transport on loopback, turned by the test, and clients of plain sockets. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/list.h"
#include "net/net.h"

#define PATIENCE_NS (20 * NS_PER_S) /* a broken transport fails the test, it does not hang it */
#define CONNS 512
#define EVENTS 64

struct seen {
	net_conn_t conn;
	uint32_t accepted, closed;
	uint32_t sent_ok, sent_failed;
	uint64_t last_cookie;
	bool cookies_in_order;
	uint8_t *data;
	size_t data_len, data_cap;
	struct net_event accept;
	uint32_t connected;
	struct net_event connect;
	bool echo;
};

struct rig {
	struct net *net;
	uint16_t port;
	struct seen seen;
	uint32_t events_max;
};

static inline struct net_uring_config config(void)
{
	struct net_uring_config cfg = {
		.host = "127.0.0.1",
		.max_conns = CONNS,
		.recv_buffers = 64,
		.recv_buffer_size = 4096,
		.send_queue = 64,
	};
	return cfg;
}

static inline void rig_open_cfg(struct rig *r, const struct net_uring_config *cfg)
{
	char err[256] = "";
	memset(r, 0, sizeof(*r));
	r->net = net_uring_open(cfg, err, sizeof(err));
	if (!r->net)
		fail_msg("%s", err);
	r->port = net_uring_port(r->net);
	r->events_max = EVENTS;
	r->seen.cookies_in_order = true;
	assert_int_not_equal(r->port, 0);
}

static inline void rig_open(struct rig *r)
{
	struct net_uring_config cfg = config();
	rig_open_cfg(r, &cfg);
}

static inline void rig_close(struct rig *r)
{
	net_fini(r->net);
	free(r->seen.data);
}

static inline void see_data(struct rig *r, const struct net_event *e)
{
	struct seen *s = &r->seen;
	if (s->data_len + e->data.len > s->data_cap) {
		s->data_cap = (s->data_len + e->data.len) * 2;
		s->data = realloc(s->data, s->data_cap);
		assert_non_null(s->data);
	}
	memcpy(s->data + s->data_len, e->data.p, e->data.len);
	s->data_len += e->data.len;
	if (s->echo) {
		assert_true(e->data.len <= 512);
		struct net_iov iov = {.p = e->data.p, .len = e->data.len};
		assert_int_equal(net_send(r->net, e->conn, &iov, 1, 0), 0);
	}
}

static inline void see(struct rig *r, const struct net_event *e)
{
	struct seen *s = &r->seen;
	switch (e->kind) {
	case NET_EV_ACCEPTED:
		s->accepted++;
		s->conn = e->conn;
		s->accept = *e;
		break;
	case NET_EV_CONNECTED:
		s->connected++;
		s->connect = *e;
		break;
	case NET_EV_DATA:
		see_data(r, e);
		break;
	case NET_EV_SENT:
		if (e->sent.ok)
			s->sent_ok++;
		else
			s->sent_failed++;
		if (e->sent.cookie <= s->last_cookie)
			s->cookies_in_order = false;
		s->last_cookie = e->sent.cookie;
		break;
	case NET_EV_CLOSED:
		s->closed++;
		break;
	}
}

/* One turn of a shard; sleeps when there is nothing. */
static inline void turn(struct rig *r)
{
	struct net_event ev[EVENTS];
	uint64_t now = clock_mono_ns();
	uint32_t count = net_poll(r->net, now, ev, r->events_max);
	assert_true(count <= r->events_max);
	for (uint32_t i = 0; i < count; i++)
		see(r, &ev[i]);
	net_flush(r->net, now);
	if (count == 0) {
		waker_arm(&r->net->waker);
		net_wait(r->net, now, now + NS_PER_MS);
		waker_disarm(&r->net->waker);
	}
}

/* Runs the statement behind it and a turn until cond holds. */
#define until(r, cond)                                                                             \
	for (uint64_t until_end = clock_mono_ns() + PATIENCE_NS; !(cond);                          \
		not_late(until_end, #cond), turn(r))

static inline void not_late(uint64_t end_ns, const char *what)
{
	if (clock_mono_ns() > end_ns)
		fail_msg("never happened: %s", what);
}

static inline int client(struct rig *r)
{
	struct sockaddr_in sa = {
		.sin_family = AF_INET,
		.sin_port = htons(r->port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	return fd;
}

static inline int client_accepted(struct rig *r)
{
	uint32_t before = r->seen.accepted;
	int fd = client(r);
	until(r, r->seen.accepted == before + 1);
	return fd;
}

/* Reads what is there; -1 at a reset, 0 bytes and *eof at the end. */
static inline ssize_t client_read(int fd, uint8_t *buf, size_t size, bool *eof)
{
	ssize_t got = recv(fd, buf, size, 0);
	if (got < 0 && errno == EAGAIN)
		return 0;
	if (got == 0)
		*eof = true;
	return got;
}

static inline uint8_t pattern(size_t i)
{
	return (uint8_t)(i * 31 + (i >> 8) * 7 + (i >> 16));
}

static inline uint8_t *pattern_new(size_t size)
{
	uint8_t *p = malloc(size);
	assert_non_null(p);
	for (size_t i = 0; i < size; i++)
		p[i] = pattern(i);
	return p;
}

/* Pushes all of p through fd while the transport turns. */
static inline void client_write(struct rig *r, int fd, const uint8_t *p, size_t size)
{
	size_t put = 0;
	until(r, put == size)
	{
		ssize_t n = send(fd, p + put, size - put, MSG_NOSIGNAL);
		if (n > 0)
			put += (size_t)n;
		else
			assert_int_equal(errno, EAGAIN);
	}
}

#endif
