/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_NET_INTEROP_H
#define TESTS_NET_INTEROP_H

/*
 * The pattern that both ends of net_interop know, and its client over any sockets: the kernel's, or
 * those of another stack. net_interop.c says what is spoken.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/prng.h"

#define PATTERN (1u << 20)
#define HEAD 16u
#define LIMIT_S 120

static inline void pattern_fill(uint8_t *p)
{
	struct prng r = {.s = 7};
	for (uint32_t i = 0; i < PATTERN; i += 8)
		be64_put(p + i, prng_next(&r));
}

/* How many bytes of p are wrong, if the stream's byte `at` comes first. */
static inline uint64_t pattern_wrong(
	const uint8_t *pattern, uint64_t at, const uint8_t *p, uint32_t len)
{
	uint64_t wrong = 0;
	while (len > 0) {
		uint32_t from = (uint32_t)(at % PATTERN), n = min_of(len, PATTERN - from);
		if (memcmp(pattern + from, p, n) != 0)
			for (uint32_t i = 0; i < n; i++)
				wrong += pattern[from + i] != p[i];
		at += n;
		p += n;
		len -= n;
	}
	return wrong;
}

/* The calls of a stack. */
struct sockets {
	int (*socket)(int family, int type, int protocol);
	int (*connect)(int fd, const struct sockaddr *to, socklen_t len);
	ssize_t (*send)(int fd, const void *p, size_t len, int flags);
	ssize_t (*recv)(int fd, void *p, size_t len, int flags);
	int (*setsockopt)(int fd, int level, int name, const void *p, socklen_t len);
	int (*shutdown)(int fd, int how);
	int (*close)(int fd);
};

struct client {
	const struct sockets *k;
	pthread_t thread;
	const uint8_t *pattern;
	struct sockaddr_in to;
	uint64_t to_server, to_client, connections;
	int rcvbuf;
	bool half_close, close_first, reset;
	uint64_t bytes, wrong, failed;
};

static inline bool write_all(const struct sockets *k, int fd, const uint8_t *p, uint64_t len)
{
	while (len > 0) {
		ssize_t n = k->send(fd, p, len, MSG_NOSIGNAL);
		if (n <= 0)
			return false;
		p += n;
		len -= (uint64_t)n;
	}
	return true;
}

static inline bool write_pattern(const struct client *c, int fd, uint64_t len)
{
	for (uint64_t at = 0; at < len;) {
		uint64_t from = at % PATTERN, n = min_of(len - at, PATTERN - from);
		if (!write_all(c->k, fd, c->pattern + from, n))
			return false;
		at += n;
	}
	return true;
}

static inline bool read_all(const struct sockets *k, int fd, uint8_t *p, uint64_t len)
{
	while (len > 0) {
		ssize_t n = k->recv(fd, p, len, 0);
		if (n <= 0)
			return false;
		p += n;
		len -= (uint64_t)n;
	}
	return true;
}

/* The report, the pattern, and the end of the stream if it is waited for. */
static inline bool read_answer(struct client *c, int fd)
{
	uint8_t report[HEAD], buf[65536];
	if (!read_all(c->k, fd, report, HEAD))
		return false;
	c->wrong += be64_get(report + 8) + (be64_get(report) != c->to_server);
	for (uint64_t at = 0; at < c->to_client;) {
		ssize_t n = c->k->recv(fd, buf, min_of(sizeof(buf), c->to_client - at), 0);
		if (n <= 0)
			return false;
		c->wrong += pattern_wrong(c->pattern, at, buf, (uint32_t)n);
		at += (uint64_t)n;
	}
	c->bytes += c->to_server + c->to_client;
	return c->close_first || c->k->recv(fd, buf, 1, 0) == 0;
}

static inline bool one_connection(struct client *c, int fd)
{
	uint8_t head[HEAD];
	be64_put(head, c->to_server);
	be64_put(head + 8, c->to_client);
	if (c->k->connect(fd, (struct sockaddr *)&c->to, sizeof(c->to)) != 0 ||
		!write_all(c->k, fd, head, HEAD))
		return false;
	if (c->reset) {
		struct linger l = {.l_onoff = 1};
		c->k->setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
		return write_pattern(c, fd, c->to_server / 2) || errno == ECONNRESET;
	}
	if (!write_pattern(c, fd, c->to_server))
		return false;
	if (c->half_close)
		c->k->shutdown(fd, SHUT_WR);
	return read_answer(c, fd);
}

static inline void *client_run(void *arg)
{
	struct client *c = arg;
	for (uint64_t i = 0; i < c->connections; i++) {
		int fd = c->k->socket(AF_INET, SOCK_STREAM, 0), on = 1;
		struct timeval limit = {.tv_sec = LIMIT_S};
		c->k->setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		c->k->setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
		c->k->setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
		if (c->rcvbuf)
			c->k->setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &c->rcvbuf, sizeof(c->rcvbuf));
		if (!one_connection(c, fd)) {
			fprintf(stderr, "net_interop: connection %llu: %s\n", (unsigned long long)i,
				strerror(errno));
			c->failed++;
		}
		c->k->close(fd);
	}
	return NULL;
}

/* argv: HOW and what follows, as net_interop takes them. */
static inline int run_client(const struct sockets *k, char **argv)
{
	static struct client c[64];
	uint8_t *pattern = malloc(PATTERN);
	uint64_t threads = strtoul(argv[6], NULL, 10), bytes = 0, wrong = 0, failed = 0;
	CHECK(pattern && threads >= 1 && threads <= array_size(c));
	pattern_fill(pattern);
	uint64_t start = clock_mono_ns();
	for (uint64_t i = 0; i < threads; i++) {
		c[i] = (struct client){.k = k,
			.pattern = pattern,
			.to_server = strtoull(argv[3], NULL, 10),
			.to_client = strtoull(argv[4], NULL, 10),
			.connections = strtoull(argv[5], NULL, 10) / threads,
			.rcvbuf = (int)strtol(argv[7], NULL, 10),
			.half_close = strchr(argv[0], 'h'),
			.close_first = strchr(argv[0], 'c'),
			.reset = strchr(argv[0], 'r')};
		c[i].to.sin_family = AF_INET;
		c[i].to.sin_port = htons((uint16_t)strtoul(argv[2], NULL, 10));
		CHECK(inet_pton(AF_INET, argv[1], &c[i].to.sin_addr) == 1);
		CHECK(pthread_create(&c[i].thread, NULL, client_run, &c[i]) == 0);
	}
	for (uint64_t i = 0; i < threads; i++) {
		pthread_join(c[i].thread, NULL);
		bytes += c[i].bytes;
		wrong += c[i].wrong;
		failed += c[i].failed;
	}
	printf("bytes=%llu ns=%llu wrong=%llu failed=%llu\n", (unsigned long long)bytes,
		(unsigned long long)(clock_mono_ns() - start), (unsigned long long)wrong,
		(unsigned long long)failed);
	free(pattern);
	return wrong || failed;
}

#endif
