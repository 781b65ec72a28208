/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The admin HTTP server on libmicrohttpd, whose epoll fd sits in the control loop's. Called by the
 * control thread.
 */
#include "control/admin/admin.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "control/admin/admin_int.h"

#define MAX_CONNECTIONS 64
#define TIMEOUT_S 10
#define CONNECTION_MEMORY (32u << 10)

/* ---- pages ---- */

static void page_healthz(const struct admin *a, struct page *p)
{
	fputs("ok\n", p->out);
}

static void page_readyz(const struct admin *a, struct page *p)
{
	if (!a->why_not) {
		uint64_t dirs = admin_metric_max(a, "storage_offline_dirs");
		uint64_t partitions = admin_metric_sum(a, "partitions_offline");
		fputs("ready\n", p->out);
		if (dirs + partitions > 0)
			fprintf(p->out,
				"offline: %" PRIu64 " log directories, %" PRIu64 " partitions\n",
				dirs, partitions);
		return;
	}
	p->status = MHD_HTTP_SERVICE_UNAVAILABLE;
	fprintf(p->out, "not ready: %s\n", a->why_not);
}

static void page_config(const struct admin *a, struct page *p)
{
	if (!p->accept || !strstr(p->accept, "application/json")) {
		config_print(a->cfg, p->out, false);
		return;
	}
	char *json = config_json(a->cfg);
	p->type = "application/json";
	fprintf(p->out, "%s\n", json ? json : "{}");
	free(json);
}

static const struct {
	const char *path;
	void (*write)(const struct admin *a, struct page *p); /* NULL: see route */
} pages[] = {
	{"/metrics", admin_page_metrics},
	{"/healthz", page_healthz},
	{"/readyz", page_readyz},
	{"/config", page_config},
	{"/connections", NULL},
	{"/capture", NULL},
};

static bool is_get(const char *method)
{
	return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
}

static void page_write(const struct admin *a, const char *method, const char *url, struct page *p)
{
	for (size_t i = 0; i < array_size(pages); i++) {
		if (strcmp(pages[i].path, url) != 0)
			continue;
		if (is_get(method)) {
			pages[i].write(a, p);
			return;
		}
		p->status = MHD_HTTP_METHOD_NOT_ALLOWED;
		fputs("only GET and HEAD are answered\n", p->out);
		return;
	}
	p->status = MHD_HTTP_NOT_FOUND;
	fputs("there are /metrics /healthz /readyz /config /connections /capture\n", p->out);
}

enum MHD_Result page_send(struct MHD_Connection *conn, const struct page *p, char *body, size_t len)
{
	struct MHD_Response *r = MHD_create_response_from_buffer(len, body, MHD_RESPMEM_MUST_FREE);
	if (!r) {
		free(body);
		return MHD_NO;
	}
	MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, p->type);
	if (p->status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	enum MHD_Result queued = MHD_queue_response(conn, p->status, r);
	MHD_destroy_response(r);
	return queued;
}

static enum MHD_Result respond(
	struct admin *a, struct MHD_Connection *conn, const char *method, const char *url)
{
	char *text = NULL;
	size_t len = 0;
	struct page p = {
		.out = open_memstream(&text, &len),
		.accept =
			MHD_lookup_connection_value(conn, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT),
		.status = MHD_HTTP_OK,
		.type = "text/plain; charset=utf-8",
	};
	if (!p.out)
		return MHD_NO;
	page_write(a, method, url, &p);
	if (fclose(p.out) != 0) {
		free(text);
		return MHD_NO;
	}
	return page_send(conn, &p, text, len);
}

/* Called once with the headers, then with each piece of a body, then to answer. */
static enum MHD_Result handle(void *arg, struct MHD_Connection *conn, const char *url,
	const char *method, const char *version, const char *upload, size_t *upload_size,
	void **state)
{
	struct admin *a = arg;
	if (!*state) {
		*state = a; /* the headers have been seen */
		return MHD_YES;
	}
	if (*state != a)
		return listing_answer(conn, state);
	if (*upload_size > 0) {
		*upload_size = 0; /* nobody wants a body */
		return MHD_YES;
	}
	if (is_get(method) && strcmp(url, "/connections") == 0)
		return listing_begin(a, conn, state);
	if (is_get(method) && strcmp(url, "/capture") == 0)
		return capture_begin(a, conn, strcmp(method, "HEAD") == 0);
	return respond(a, conn, method, url);
}

static void request_over(
	void *arg, struct MHD_Connection *conn, void **state, enum MHD_RequestTerminationCode how)
{
	if (*state && *state != arg)
		listing_end(*state);
	*state = NULL;
}

/* ---- the listener ---- */

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

/* "" and 0.0.0.0 are every IPv4 address. */
static socklen_t address_of(const struct config_listener *l, union address *out)
{
	const char *host = strcasecmp(l->host, "localhost") == 0 ? "127.0.0.1" : l->host;
	memset(out, 0, sizeof(*out));
	if (inet_pton(AF_INET6, host, &out->v6.sin6_addr) == 1) {
		out->v6.sin6_family = AF_INET6;
		out->v6.sin6_port = htons(l->port);
		return sizeof(out->v6);
	}
	out->v4.sin_family = AF_INET;
	out->v4.sin_port = htons(l->port);
	if (host[0] && inet_pton(AF_INET, host, &out->v4.sin_addr) != 1)
		return 0;
	return sizeof(out->v4);
}

static const char *advice(int e)
{
	switch (e) {
	case EADDRINUSE:
		return "the port is in use: stop what listens there, or set admin.listener to "
		       "another "
		       "port (or to nothing, for none)";
	case EADDRNOTAVAIL:
		return "this machine does not have that address: correct admin.listener";
	case EACCES:
		return "a port below 1024 needs a privilege: set admin.listener to a higher one";
	default:
		return strerror(e);
	}
}

static int listen_on(const struct config_listener *l, uint16_t *port, char *err, size_t err_size)
{
	union address at;
	socklen_t len = address_of(l, &at);
	int on = 1, fd = -1;
	if (len == 0)
		errno = EADDRNOTAVAIL;
	else
		fd = socket(at.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
		bind(fd, &at.any, len) < 0 || listen(fd, MAX_CONNECTIONS) < 0 ||
		getsockname(fd, &at.any, &len) < 0) {
		int e = errno;
		snprintf(err, err_size, "cannot open the admin HTTP server on %s:%u: %s",
			l->host[0] ? l->host : "*", l->port, advice(e));
		if (fd >= 0)
			close(fd);
		return -1;
	}
	*port = ntohs(at.any.sa_family == AF_INET6 ? at.v6.sin6_port : at.v4.sin_port);
	return fd;
}

/* libmicrohttpd's own lines are about single connections: of no use to the operator. */
static void no_log(void *arg, const char *fmt, va_list ap)
{
}

static int start(struct admin *a, char *err, size_t err_size)
{
	int fd = listen_on(&a->cfg->admin_listener.v[0], &a->port, err, err_size);
	if (fd < 0)
		return -1;
	a->daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL,
		handle, a, MHD_OPTION_EXTERNAL_LOGGER, no_log, NULL, MHD_OPTION_NOTIFY_COMPLETED,
		request_over, a, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
		(unsigned)MAX_CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)TIMEOUT_S,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY, MHD_OPTION_END);
	const union MHD_DaemonInfo *info =
		a->daemon ? MHD_get_daemon_info(a->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
	if (!info) {
		snprintf(err, err_size, "cannot start the admin HTTP server");
		if (!a->daemon)
			close(fd);
		return -1;
	}
	a->fd = info->epoll_fd;
	return 0;
}

struct admin *admin_open(const struct config *cfg, char *err, size_t err_size)
{
	struct admin *a = calloc(1, sizeof(*a));
	if (!a) {
		snprintf(err, err_size, "memory is short");
		return NULL;
	}
	*a = (struct admin){.cfg = cfg, .fd = -1, .why_not = "starting"};
	list_init(&a->listings);
	admin_note_start(a);
	if (cfg->admin_listener.count > 0 && start(a, err, err_size) < 0) {
		admin_close(a);
		return NULL;
	}
	return a;
}

void admin_close(struct admin *a)
{
	if (!a)
		return;
	listings_drop(a);
	capture_drop(a);
	if (a->daemon)
		MHD_stop_daemon(a->daemon); /* closes the listener */
	free(a->sets);
	free(a);
}

uint16_t admin_port(const struct admin *a)
{
	return a->port;
}

void admin_set_ready(struct admin *a, const char *why_not)
{
	a->why_not = why_not;
}

int admin_fd(const struct admin *a)
{
	return a->fd;
}

void admin_run(struct admin *a)
{
	capture_turn(a);
	if (a->daemon)
		MHD_run(a->daemon);
}

int admin_timeout_ms(const struct admin *a)
{
	MHD_UNSIGNED_LONG_LONG ms;
	int capture_ms = capture_timeout_ms(a);
	if (!a->daemon || MHD_get_timeout(a->daemon, &ms) != MHD_YES)
		return capture_ms;
	int own_ms = (int)min_of(ms, 60000ull);
	return capture_ms < 0 ? own_ms : min_of(own_ms, capture_ms);
}
