/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/connections/connections.h"

#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/check.h"

#define EXIT_USAGE 2
#define ANSWER_MAX ((size_t)8 << 20) /* of one page */
#define TIMEOUT_S 10
#define CURSOR_MAX 32

static const char usage_text[] =
	"usage: millctl connections [--admin HOST:PORT] [--json]\n"
	"\n"
	"Every client connection of a running broker, as its TCP sees it, like ss -ti.\n"
	"\n"
	"  --admin HOST:PORT  its admin port (127.0.0.1:9644)\n"
	"  --json             print JSON\n";

/* ---- the admin port ---- */

/* A socket, or -1 and errno; EHOSTUNREACH when there is no such host. */
static int dial(const char *admin)
{
	char host[256];
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *all = NULL;
	const struct timeval limit = {.tv_sec = TIMEOUT_S};
	const char *colon = strrchr(admin, ':');
	int fd = -1;
	if (!colon || (size_t)(colon - admin) >= sizeof(host)) {
		errno = EINVAL;
		return -1;
	}
	bool bracketed = admin[0] == '[' && colon[-1] == ']';
	snprintf(host, sizeof(host), "%.*s", (int)(colon - admin) - 2 * bracketed,
		admin + bracketed);
	if (getaddrinfo(host, colon + 1, &hints, &all) != 0) {
		errno = EHOSTUNREACH;
		return -1;
	}
	for (struct addrinfo *a = all; a && fd < 0; a = a->ai_next) {
		fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
		if (fd < 0)
			continue;
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
		if (connect(fd, a->ai_addr, a->ai_addrlen) == 0)
			break;
		int e = errno;
		close(fd);
		errno = e;
		fd = -1;
	}
	freeaddrinfo(all);
	return fd;
}

/* All that comes until the other end closes; NULL and errno. */
static char *receive(int fd)
{
	size_t n = 0, size = 65536;
	char *p = malloc(size);
	for (;;) {
		if (p && n + 1 == size && size < ANSWER_MAX) {
			char *more = realloc(p, size *= 2);
			if (!more)
				free(p);
			p = more;
		}
		ssize_t got = p && n + 1 < size ? recv(fd, p + n, size - 1 - n, 0) : -1;
		if (got <= 0) {
			if (got == 0)
				p[n] = 0;
			else
				free(p);
			return got == 0 ? p : NULL;
		}
		n += (size_t)got;
	}
}

/* The body of an answer of 200, to be freed with *answer; NULL when that was said on stderr. */
static const char *get(const char *admin, const char *path, char **answer)
{
	char request[256];
	int fd = dial(admin);
	*answer = NULL;
	if (fd >= 0) {
		int n = snprintf(request, sizeof(request),
			"GET %s HTTP/1.0\r\nHost: millrace\r\n\r\n", path);
		if (send(fd, request, (size_t)n, MSG_NOSIGNAL) == n)
			*answer = receive(fd);
	}
	int e = errno;
	if (fd >= 0)
		close(fd);
	if (!*answer) {
		fprintf(stderr,
			"millctl: cannot reach the admin port %s: %s; is the broker running, and "
			"is this its admin.listener?\n",
			admin, strerror(e));
		return NULL;
	}
	char *body = strstr(*answer, "\r\n\r\n");
	unsigned status = 0;
	if (sscanf(*answer, "HTTP/%*u.%*u %u", &status) == 1 && status == 200 && body)
		return body + 4;
	fprintf(stderr, "millctl: %s answers %u: %s\n", admin, status, body ? body + 4 : "");
	return NULL;
}

/* ---- pages ---- */

/* Prints a page's lines; the cursor of the next one, "" when it was the last. */
static void print_page(const char *body, char next[CURSOR_MAX])
{
	const char *more = strstr(body, "more: after=");
	next[0] = 0;
	if (more)
		snprintf(next, CURSOR_MAX, "%.*s", (int)strcspn(more + 12, "\n"), more + 12);
	printf("%.*s", (int)(more ? (size_t)(more - body) : strlen(body)), body);
}

/* The same for JSON, collected. False: it is none. */
static bool collect_page(const char *body, json_t *all, char next[CURSOR_MAX])
{
	json_t *page = json_loads(body, 0, NULL);
	json_t *list = json_object_get(page, "connections");
	const char *cursor = json_string_value(json_object_get(page, "next"));
	bool good = json_is_array(list) && json_array_extend(all, list) == 0;
	snprintf(next, CURSOR_MAX, "%s", cursor ? cursor : "");
	json_decref(page);
	if (!good)
		fputs("millctl: the answer is no list of connections\n", stderr);
	return good;
}

static int list_all(const char *admin, bool json)
{
	char next[CURSOR_MAX] = "", path[128], *answer;
	json_t *all = json_array();
	bool good = true;
	do {
		snprintf(path, sizeof(path), "/connections?format=%s%s%s", json ? "json" : "text",
			next[0] ? "&after=" : "", next);
		const char *body = get(admin, path, &answer);
		good = body != NULL;
		if (good && json)
			good = collect_page(body, all, next);
		else if (good)
			print_page(body, next);
		free(answer);
	} while (good && next[0]);
	if (good && json) {
		char *text = json_dumps(all, JSON_INDENT(2));
		CHECK(text);
		puts(text);
		free(text);
	}
	json_decref(all);
	return good ? 0 : 1;
}

int connections_main(int argc, char **argv)
{
	static const struct option options[] = {{"admin", required_argument, NULL, 'a'},
		{"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'}, {0}};
	const char *admin = "127.0.0.1:9644";
	bool json = false;
	for (int c; (c = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
		switch (c) {
		case 'a':
			admin = optarg;
			break;
		case 'j':
			json = true;
			break;
		case 'h':
			return fputs(usage_text, stdout) < 0;
		default:
			fputs(usage_text, stderr);
			return EXIT_USAGE;
		}
	}
	if (optind < argc) {
		fputs(usage_text, stderr);
		return EXIT_USAGE;
	}
	return list_all(admin, json);
}
