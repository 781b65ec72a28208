/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/client/conn.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"

int conn_fail(struct conn *c, int err, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vsnprintf(c->error, sizeof(c->error), format, args);
	va_end(args);
	return err;
}

/* Waits until the socket is ready for `events`. */
static int conn_wait(struct conn *c, short events, uint64_t deadline_ns, const char *what)
{
	for (;;) {
		struct pollfd p[2] = {
			{.fd = c->fd, .events = events}, {.fd = c->stop_fd, .events = POLLIN}};
		uint64_t now = clock_mono_ns();
		uint64_t left = deadline_ns > now ? deadline_ns - now : 0;
		int n = poll(p, 2, (int)min_of((left + NS_PER_MS - 1) / NS_PER_MS, 1u << 30));
		if (n < 0 && errno != EINTR)
			return conn_fail(c, CLIENT_E_REACH, "poll: %s", strerror(errno));
		if (n > 0 && p[1].revents)
			return conn_fail(c, CLIENT_E_STOPPED, "interrupted");
		if (n > 0)
			return CLIENT_OK;
		if (left == 0)
			return conn_fail(c, CLIENT_E_REACH, "%s:%u: %s in time", c->at.host,
				c->at.port, what);
	}
}

/* Connects to one of the addresses of the name. */
static int conn_try(struct conn *c, const struct addrinfo *a, uint64_t deadline_ns)
{
	c->fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		return conn_fail(c, CLIENT_E_REACH, "socket: %s", strerror(errno));
	int on = 1, error = 0;
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	int rc = connect(c->fd, a->ai_addr, a->ai_addrlen) == 0 ? 0 : -errno;
	if (rc == -EINPROGRESS) {
		rc = conn_wait(c, POLLOUT, deadline_ns, "no connection");
		socklen_t len = sizeof(error);
		if (rc == CLIENT_OK && getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 &&
			error == 0)
			return CLIENT_OK;
		if (rc != CLIENT_OK) {
			conn_close(c);
			return rc;
		}
		rc = -error;
	}
	if (rc == 0)
		return CLIENT_OK;
	conn_close(c);
	return conn_fail(c, CLIENT_E_REACH, "%s:%u: %s", c->at.host, c->at.port, strerror(-rc));
}

int conn_open(struct conn *c, uint64_t deadline_ns)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list;
	char port[8];
	snprintf(port, sizeof(port), "%u", c->at.port);
	c->fd = -1;
	c->used = false;
	int rc = getaddrinfo(c->at.host, port, &hints, &list);
	if (rc)
		return conn_fail(c, CLIENT_E_REACH, "%s: %s", c->at.host, gai_strerror(rc));
	rc = CLIENT_E_REACH;
	for (const struct addrinfo *a = list; a && rc == CLIENT_E_REACH; a = a->ai_next)
		rc = conn_try(c, a, deadline_ns);
	freeaddrinfo(list);
	return rc;
}

void conn_close(struct conn *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

int conn_send(struct conn *c, const uint8_t *p, size_t n, uint64_t deadline_ns)
{
	while (n > 0) {
		ssize_t sent = send(c->fd, p, n, MSG_NOSIGNAL);
		if (sent > 0) {
			p += sent;
			n -= (size_t)sent;
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return conn_fail(c, CLIENT_E_REACH, "%s:%u: connection lost: %s",
				c->at.host, c->at.port, strerror(errno));
		int rc = conn_wait(c, POLLOUT, deadline_ns, "request not taken");
		if (rc)
			return rc;
	}
	return CLIENT_OK;
}

static int receive_all(struct conn *c, uint8_t *p, size_t n, uint64_t deadline_ns)
{
	while (n > 0) {
		ssize_t got = recv(c->fd, p, n, 0);
		if (got > 0) {
			p += got;
			n -= (size_t)got;
			continue;
		}
		if (got == 0)
			return conn_fail(c, CLIENT_E_REACH,
				"%s:%u: the broker closed the connection", c->at.host, c->at.port);
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return conn_fail(c, CLIENT_E_REACH, "%s:%u: connection lost: %s",
				c->at.host, c->at.port, strerror(errno));
		int rc = conn_wait(c, POLLIN, deadline_ns, "no answer");
		if (rc)
			return rc;
	}
	return CLIENT_OK;
}

int conn_receive(struct conn *c, uint8_t **buf, size_t *size, uint32_t *len, uint64_t deadline_ns)
{
	uint8_t head[4];
	int rc = receive_all(c, head, sizeof(head), deadline_ns);
	if (rc)
		return rc;
	*len = be32_get(head);
	if (*len < 4 || *len > CONN_FRAME_MAX)
		return conn_fail(c, CLIENT_E_PROTOCOL, "%s:%u: what answers does not speak Kafka",
			c->at.host, c->at.port);
	if (*len > *size) {
		uint8_t *p = realloc(*buf, *len);
		if (!p)
			return conn_fail(c, CLIENT_E_NOMEM, "no memory for %u bytes", *len);
		*buf = p;
		*size = *len;
	}
	return receive_all(c, *buf, *len, deadline_ns);
}
