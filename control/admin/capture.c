/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /capture: the frames of the dpdk port as a pcapng file, written to the HTTP connection as it
 * grows. Each shard copies its frames to a tape of its own; what this thread is too slow to take is
 * lost and counted, and no shard waits. One capture at a time.
 *
 *   OFF ──order to all shards──► ON ──limit, client gone, stop──► ENDING ──all have answered──►
 * ENDED ▲ │ └───────────────────────── the answer is sent, the connection closed
 * ◄───────────────────────┘
 */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/check.h"
#include "base/clock.h"
#include "control/admin/admin_int.h"
#include "control/admin/pcapng.h"

#define TAPE_BYTES (1u << 20) /* of each shard */
#define TURN_MS 20	      /* between looks at the tapes */
#define SECONDS_MAX 600u
#define FRAMES_MAX 10000000u
#define BYTES_MAX (1u << 30)
#define SECONDS_DEFAULT 10u
#define FRAMES_DEFAULT 100000u
#define BYTES_DEFAULT (100u << 20)
#define SNAP_DEFAULT 65535u

enum capture_state { CAPTURE_ON, CAPTURE_ENDING, CAPTURE_ENDED };

struct capture {
	enum capture_state state;
	struct MHD_Connection *conn; /* NULL: it is gone */
	bool suspended;
	bool closed;	    /* the statistics are in `piece`, or out */
	uint16_t answers;   /* of shards, awaited */
	uint64_t end_ns;    /* monotonic */
	int64_t to_wall_ns; /* from monotonic */
	uint32_t frames_left;
	uint64_t bytes_left; /* of the file, without the statistics */
	uint64_t frames, lost;
	uint32_t snap_bytes;
	struct capture_order order;
	struct tape *tape[ADMIN_SHARDS_MAX];
	size_t piece_len, piece_at; /* of the file, not given to the server yet */
	uint8_t frame[TAPE_RECORD_MAX];
	uint8_t piece[PCAPNG_MAX(TAPE_RECORD_MAX)];
};

/* ---- shards ---- */

static void order_all(struct admin *a, struct capture *c, bool on)
{
	c->answers = (uint16_t)(c->answers + a->shards);
	for (uint16_t i = 0; i < a->shards; i++) {
		struct capture_order order = c->order;
		order.tape = on ? c->tape[i] : NULL;
		a->order(a->ask_arg, i, &order);
	}
}

static void capture_free(struct admin *a)
{
	struct capture *c = a->capture;
	for (uint16_t i = 0; i < a->shards; i++)
		tape_destroy(c->tape[i]);
	a->capture = NULL;
	free(c);
}

static void capture_end(struct admin *a, struct capture *c)
{
	if (c->state != CAPTURE_ON)
		return;
	c->state = CAPTURE_ENDING;
	order_all(a, c, false);
}

void admin_ordered(struct admin *a)
{
	struct capture *c = a->capture;
	CHECK(c && c->answers > 0);
	c->answers--;
	if (c->answers > 0 || c->state != CAPTURE_ENDING)
		return;
	c->state = CAPTURE_ENDED;
	if (!c->conn)
		capture_free(a);
}

bool admin_has_ordered(const struct admin *a)
{
	return a->capture && a->capture->state != CAPTURE_ENDED;
}

/* ---- the file ---- */

/* The tape with the oldest frame; NULL: there is none. */
static struct tape *oldest(const struct admin *a, const struct capture *c, struct tape_record *r)
{
	struct tape *found = NULL;
	for (uint16_t i = 0; i < a->shards; i++) {
		struct tape_record other;
		if (!tape_peek(c->tape[i], &other) || (found && other.at_ns >= r->at_ns))
			continue;
		found = c->tape[i];
		*r = other;
	}
	return found;
}

static uint64_t wall_of(const struct capture *c, uint64_t mono_ns)
{
	return mono_ns + (uint64_t)c->to_wall_ns;
}

static void piece_end(struct admin *a, struct capture *c)
{
	for (uint16_t i = 0; i < a->shards; i++)
		c->lost += tape_lost(c->tape[i]);
	c->piece_len =
		pcapng_end(c->piece, wall_of(c, clock_mono_ns()), c->frames + c->lost, c->lost);
	c->piece_at = 0;
	c->closed = true;
}

/* The next piece of the file; false: there is none yet, or no more. */
static bool piece_next(struct admin *a, struct capture *c)
{
	struct tape_record r;
	struct tape *t = c->frames_left > 0 ? oldest(a, c, &r) : NULL;
	if (c->closed)
		return false;
	if (t && PCAPNG_MAX(r.kept) <= c->bytes_left) {
		tape_take(t, c->frame);
		c->piece_len = pcapng_frame(c->piece, wall_of(c, r.at_ns),
			(enum pcapng_direction)r.tag, c->frame, r.kept, r.len);
		c->piece_at = 0;
		c->frames++;
		c->frames_left--;
		c->bytes_left -= c->piece_len;
		return true;
	}
	if (t || c->frames_left == 0)
		capture_end(a, c); /* a limit is reached */
	if (c->state != CAPTURE_ENDED)
		return false;
	piece_end(a, c);
	return true;
}

static void suspend(struct capture *c)
{
	c->suspended = true;
	MHD_suspend_connection(c->conn);
}

static ssize_t read_file(void *arg, uint64_t at, char *buf, size_t max)
{
	struct admin *a = arg;
	struct capture *c = a->capture;
	size_t n = 0;
	while (n < max) {
		if (c->piece_at == c->piece_len && !piece_next(a, c))
			break;
		size_t part = min_of(max - n, c->piece_len - c->piece_at);
		memcpy(buf + n, c->piece + c->piece_at, part);
		c->piece_at += part;
		n += part;
	}
	if (n > 0)
		return (ssize_t)n;
	if (c->closed)
		return MHD_CONTENT_READER_END_OF_STREAM;
	suspend(c);
	return 0;
}

/* The server is done with the answer: sent, or its connection broke. */
static void file_over(void *arg)
{
	struct admin *a = arg;
	struct capture *c = a->capture;
	c->conn = NULL;
	capture_end(a, c);
	if (c->state == CAPTURE_ENDED)
		capture_free(a);
}

/* ---- time ---- */

static bool client_gone(const struct capture *c)
{
	char byte;
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(c->conn, MHD_CONNECTION_INFO_CONNECTION_FD);
	return info && recv(info->connect_fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

void capture_turn(struct admin *a)
{
	struct capture *c = a->capture;
	struct tape_record r;
	if (!c || !c->conn)
		return;
	bool gone = c->suspended && client_gone(c);
	if (gone || a->why_not || clock_mono_ns() >= c->end_ns)
		capture_end(a, c);
	if (!c->suspended || (c->state != CAPTURE_ENDED && !oldest(a, c, &r)))
		return;
	c->suspended = false;
	MHD_resume_connection(c->conn);
}

int capture_timeout_ms(const struct admin *a)
{
	return a->capture && a->capture->suspended ? TURN_MS : -1;
}

void capture_drop(struct admin *a)
{
	struct capture *c = a->capture;
	if (!c)
		return;
	c->state = CAPTURE_ENDED; /* the shards are gone */
	c->answers = 0;
	if (!c->conn) {
		capture_free(a);
		return;
	}
	if (c->suspended)
		MHD_resume_connection(c->conn);
	c->suspended = false;
}

/* ---- the request ---- */

static bool peer_of(const char *text, uint8_t ip[16])
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	memcpy(ip, mapped, sizeof(mapped));
	return inet_pton(AF_INET, text, ip + 12) == 1 || inet_pton(AF_INET6, text, ip) == 1;
}

/* False: the argument is there and not a number up to max. */
static bool number(struct MHD_Connection *conn, const char *name, uint32_t max, uint32_t *v)
{
	const char *text = MHD_lookup_connection_value(conn, MHD_GET_ARGUMENT_KIND, name);
	char *stop;
	if (!text)
		return true;
	unsigned long long got = strtoull(text, &stop, 10);
	if (text[0] < '0' || text[0] > '9' || *stop || got == 0 || got > max)
		return false;
	*v = (uint32_t)got;
	return true;
}

/* NULL, or what is wrong with the question. */
static const char *parse(struct MHD_Connection *conn, struct capture *c, uint64_t now_ns)
{
	const char *peer = MHD_lookup_connection_value(conn, MHD_GET_ARGUMENT_KIND, "peer");
	uint32_t seconds = SECONDS_DEFAULT, bytes = BYTES_DEFAULT;
	c->frames_left = FRAMES_DEFAULT;
	c->order.snap_bytes = SNAP_DEFAULT;
	if (!number(conn, "seconds", SECONDS_MAX, &seconds))
		return "seconds is 1 to 600";
	if (!number(conn, "packets", FRAMES_MAX, &c->frames_left))
		return "packets is 1 to 10000000";
	if (!number(conn, "bytes", BYTES_MAX, &bytes))
		return "bytes is 1 to 1073741824, of the file";
	if (!number(conn, "snaplen", SNAP_DEFAULT, &c->order.snap_bytes))
		return "snaplen is 1 to 65535 bytes of each packet";
	c->order.one_peer = peer != NULL;
	if (peer && !peer_of(peer, c->order.peer_ip))
		return "peer is an IPv4 or IPv6 address";
	c->end_ns = now_ns + seconds * NS_PER_S;
	c->bytes_left = bytes;
	return NULL;
}

static enum MHD_Result refuse(struct MHD_Connection *conn, unsigned status, const char *why)
{
	struct page p = {.status = status, .type = "text/plain; charset=utf-8"};
	char *body = strdup(why);
	return body ? page_send(conn, &p, body, strlen(body)) : MHD_NO;
}

static bool make_tapes(struct admin *a, struct capture *c)
{
	bool all = true;
	for (uint16_t i = 0; i < a->shards; i++) {
		c->tape[i] = tape_create(TAPE_BYTES);
		all &= c->tape[i] != NULL;
	}
	return all;
}

/* The order is out; the file is read from now on. */
static enum MHD_Result send_file(struct admin *a, struct MHD_Connection *conn, struct capture *c)
{
	struct MHD_Response *r = MHD_create_response_from_callback(
		MHD_SIZE_UNKNOWN, 64u << 10, read_file, a, file_over);
	if (!r) {
		file_over(a);
		return MHD_NO;
	}
	MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, "application/x-pcapng");
	MHD_add_response_header(
		r, "Content-Disposition", "attachment; filename=\"millrace.pcapng\"");
	enum MHD_Result queued = MHD_queue_response(conn, MHD_HTTP_OK, r);
	MHD_destroy_response(r);
	return queued;
}

enum MHD_Result capture_begin(struct admin *a, struct MHD_Connection *conn, bool head)
{
	uint64_t now_ns = clock_mono_ns();
	if (a->cfg->transport == CONFIG_TRANSPORT_KERNEL)
		return refuse(conn, MHD_HTTP_NOT_IMPLEMENTED,
			"network.transport=kernel: tcpdump sees the packets\n");
	if (a->why_not || a->shards == 0)
		return refuse(conn, MHD_HTTP_SERVICE_UNAVAILABLE, "not ready\n");
	if (a->capture)
		return refuse(conn, MHD_HTTP_CONFLICT, "another capture is running\n");
	struct capture *c = calloc(1, sizeof(*c));
	const char *wrong = c ? parse(conn, c, now_ns) : "memory is short";
	if (wrong || head) {
		free(c);
		return refuse(conn, wrong ? MHD_HTTP_BAD_REQUEST : MHD_HTTP_OK, wrong ? wrong : "");
	}
	a->capture = c;
	c->conn = conn;
	c->to_wall_ns = clock_wall_ms() * (int64_t)NS_PER_MS - (int64_t)now_ns;
	if (!make_tapes(a, c)) {
		capture_free(a);
		return refuse(conn, MHD_HTTP_SERVICE_UNAVAILABLE, "memory is short\n");
	}
	c->piece_len = pcapng_begin(c->piece, a->cfg->dpdk_port, c->order.snap_bytes);
	order_all(a, c, true);
	return send_file(a, conn, c);
}
