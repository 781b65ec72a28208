/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /connections: what `ss -ti` shows, of every shard's transport. The shards are asked by ring, one
 * page at a time, while the HTTP connection is suspended; one request is worked on at a time and
 * the others wait for it, so that memory is bounded by what one answer may have.
 */
#include <arpa/inet.h>
#include <inttypes.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "control/admin/admin_int.h"

#define LIMIT_MAX 1000u /* connections in one answer */

struct listing {
	struct list node; /* admin.listings */
	struct MHD_Connection *conn;
	bool suspended;
	bool text; /* for people, else JSON */
	uint16_t shard;
	uint32_t slot; /* of that shard, where the next page begins */
	uint32_t limit, count;
	struct page page; /* the answer */
	char *body;
	size_t body_len;
};

/* ---- one connection ---- */

static void print_address(FILE *out, const uint8_t ip[16], uint16_t port)
{
	static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
	char text[INET6_ADDRSTRLEN] = "";
	bool v4 = memcmp(ip, mapped, sizeof(mapped)) == 0;
	(void)inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? ip + 12 : ip, text, sizeof(text));
	fprintf(out, v4 ? "%s:%u" : "[%s]:%u", text, port);
}

static void print_options(FILE *out, const struct conn_info *c, const char *quote, const char *gap)
{
	const struct {
		const char *name;
		bool on;
	} options[] = {{"sack", c->sack}, {"ts", c->timestamps}, {"ecn", c->ecn}};
	bool first = true;
	for (size_t i = 0; i < array_size(options); i++) {
		if (!options[i].on)
			continue;
		fprintf(out, "%s%s%s%s", first ? "" : gap, quote, options[i].name, quote);
		first = false;
	}
}

static void print_json(FILE *out, uint16_t shard, const struct conn_info *c)
{
	const struct {
		const char *name;
		uint64_t value;
	} numbers[] = {
		{"local_port", c->local_port},
		{"cwnd_bytes", c->cwnd_bytes},
		{"in_flight_bytes", c->in_flight_bytes},
		{"send_queue_bytes", c->send_queue_bytes},
		{"recv_queue_bytes", c->recv_queue_bytes},
		{"send_window_bytes", c->send_window_bytes},
		{"recv_window_bytes", c->recv_window_bytes},
		{"send_wscale", c->send_wscale},
		{"recv_wscale", c->recv_wscale},
		{"mss_bytes", c->mss_bytes},
		{"pmtu_bytes", c->pmtu_bytes},
		{"srtt_us", c->srtt_ns / 1000},
		{"rttvar_us", c->rttvar_ns / 1000},
		{"min_rtt_us", c->min_rtt_ns / 1000},
		{"rto_us", c->rto_ns / 1000},
		{"retransmits", c->retransmits},
		{"bytes_in", c->bytes_in},
		{"bytes_out", c->bytes_out},
	};
	fprintf(out, "{\"shard\":%u,\"peer\":\"", shard);
	print_address(out, c->peer_ip, c->peer_port);
	fprintf(out, "\",\"state\":\"%s\",\"cc\":\"%s\"", c->state, c->cc);
	for (size_t i = 0; i < array_size(numbers); i++)
		fprintf(out, ",\"%s\":%" PRIu64, numbers[i].name, numbers[i].value);
	if (c->ssthresh_bytes == CONN_SSTHRESH_NONE)
		fputs(",\"ssthresh_bytes\":null", out);
	else
		fprintf(out, ",\"ssthresh_bytes\":%u", c->ssthresh_bytes);
	fputs(",\"options\":[", out);
	print_options(out, c, "\"", ",");
	fprintf(out, "],\"paused\":%s}", c->paused ? "true" : "false");
}

/* Two lines, after those of ss. */
static void print_text(FILE *out, uint16_t shard, const struct conn_info *c)
{
	fprintf(out, "%-11s recv-q:%u send-q:%u port:%u peer:", c->state, c->recv_queue_bytes,
		c->send_queue_bytes, c->local_port);
	print_address(out, c->peer_ip, c->peer_port);
	fprintf(out, " shard:%u%s\n\t %s ", shard, c->paused ? " paused" : "", c->cc);
	print_options(out, c, "", " ");
	fprintf(out,
		" wscale:%u,%u rto:%.3fms rtt:%.3f/%.3fms minrtt:%.3fms mss:%u pmtu:%u cwnd:%u",
		c->send_wscale, c->recv_wscale, (double)c->rto_ns / 1e6, (double)c->srtt_ns / 1e6,
		(double)c->rttvar_ns / 1e6, (double)c->min_rtt_ns / 1e6, c->mss_bytes,
		c->pmtu_bytes, c->cwnd_bytes);
	if (c->ssthresh_bytes != CONN_SSTHRESH_NONE)
		fprintf(out, " ssthresh:%u", c->ssthresh_bytes);
	fprintf(out, " inflight:%u snd_wnd:%u rcv_wnd:%u retrans:%" PRIu64, c->in_flight_bytes,
		c->send_window_bytes, c->recv_window_bytes, c->retransmits);
	fprintf(out, " bytes_in:%" PRIu64 " bytes_out:%" PRIu64 "\n", c->bytes_in, c->bytes_out);
}

static void print_connection(struct listing *l, const struct conn_info *c)
{
	if (l->text) {
		print_text(l->page.out, l->shard, c);
	} else {
		fputs(l->count ? ",\n" : "", l->page.out);
		print_json(l->page.out, l->shard, c);
	}
	l->count++;
}

/* ---- the request ---- */

static const char *query(struct MHD_Connection *conn, const char *name)
{
	return MHD_lookup_connection_value(conn, MHD_GET_ARGUMENT_KIND, name);
}

/* The whole of text as a number up to max. */
static bool number(const char *text, uint32_t max, char end, uint32_t *v)
{
	char *stop;
	unsigned long long got = strtoull(text, &stop, 10);
	if (text[0] < '0' || text[0] > '9' || *stop != end || got > max)
		return false;
	*v = (uint32_t)got;
	return true;
}

/* NULL, or what is wrong with the question. */
static const char *parse(struct admin *a, struct listing *l)
{
	const char *limit = query(l->conn, "limit"), *after = query(l->conn, "after");
	const char *format = query(l->conn, "format");
	uint32_t shard = 0;
	if (format && strcmp(format, "json") != 0 && strcmp(format, "text") != 0)
		return "format is json or text";
	l->text = format && strcmp(format, "text") == 0;
	if (limit && (!number(limit, LIMIT_MAX, 0, &l->limit) || l->limit == 0))
		return "limit is 1 to 1000 connections";
	if (!after)
		return NULL;
	const char *colon = strchr(after, ':');
	if (!colon || !number(after, a->shards - 1u, ':', &shard) ||
		!number(colon + 1, UINT32_MAX, 0, &l->slot))
		return "after is what the answer before has as next";
	l->shard = (uint16_t)shard;
	return NULL;
}

static void listing_free(struct listing *l)
{
	list_remove(&l->node);
	if (l->page.out)
		fclose(l->page.out);
	free(l->body);
	free(l);
}

/* The first one that waits asks for its next page. */
static void ask_next(struct admin *a)
{
	struct list *first = list_front(&a->listings);
	if (!first || a->asking)
		return;
	struct listing *l = list_entry(first, struct listing, node);
	a->asking = true;
	struct conn_page p = {
		.conns = a->conns,
		.max = min_of(l->limit - l->count, (uint32_t)array_size(a->conns)),
		.from = l->slot,
	};
	a->ask(a->ask_arg, l->shard, &p);
}

static void finish(struct admin *a, struct listing *l)
{
	bool more = l->shard < a->shards;
	if (l->text && more)
		fprintf(l->page.out, "more: after=%u:%u\n", l->shard, l->slot);
	if (!l->text && more)
		fprintf(l->page.out, "],\n\"next\":\"%u:%u\"}\n", l->shard, l->slot);
	if (!l->text && !more)
		fputs("],\n\"next\":null}\n", l->page.out);
	list_remove(&l->node);
	l->suspended = false;
	MHD_resume_connection(l->conn);
}

bool admin_is_asking(const struct admin *a)
{
	return a->asking;
}

void admin_connections(struct admin *a, const struct conn_page *p)
{
	CHECK(a->asking && p->conns == a->conns && p->count <= p->max);
	a->asking = false;
	struct list *first = list_front(&a->listings);
	if (!first)
		return;
	struct listing *l = list_entry(first, struct listing, node);
	for (uint32_t i = 0; i < p->count; i++)
		print_connection(l, &p->conns[i]);
	l->slot = p->next;
	if (p->next == 0)
		l->shard++;
	if (l->shard == a->shards || l->count == l->limit || a->why_not)
		finish(a, l);
	ask_next(a);
	admin_run(a); /* what was resumed is seen by running the server only */
}

enum MHD_Result listing_begin(struct admin *a, struct MHD_Connection *conn, void **state)
{
	struct listing *l = calloc(1, sizeof(*l));
	if (!l)
		return MHD_NO;
	*l = (struct listing){.conn = conn, .limit = LIMIT_MAX};
	list_init(&l->node);
	l->page = (struct page){.out = open_memstream(&l->body, &l->body_len),
		.status = MHD_HTTP_OK,
		.type = "text/plain; charset=utf-8"};
	if (!l->page.out) {
		free(l);
		return MHD_NO;
	}
	*state = l;
	const char *why_not = a->why_not ? a->why_not : a->shards == 0 ? "no shards" : NULL;
	const char *wrong = why_not ? why_not : parse(a, l);
	if (wrong) {
		l->page.status = why_not ? MHD_HTTP_SERVICE_UNAVAILABLE : MHD_HTTP_BAD_REQUEST;
		fprintf(l->page.out, "%s\n", wrong);
		return listing_answer(conn, state);
	}
	if (!l->text) {
		l->page.type = "application/json";
		fputs("{\"connections\":[\n", l->page.out);
	}
	list_push_back(&a->listings, &l->node);
	l->suspended = true;
	MHD_suspend_connection(conn);
	ask_next(a);
	return MHD_YES;
}

enum MHD_Result listing_answer(struct MHD_Connection *conn, void **state)
{
	struct listing *l = *state;
	struct page page = l->page;
	int rc = fclose(l->page.out);
	l->page.out = NULL;
	if (rc != 0)
		return MHD_NO;
	char *body = l->body;
	l->body = NULL;
	return page_send(conn, &page, body, l->body_len);
}

void listing_end(void *state)
{
	listing_free(state);
}

void listings_drop(struct admin *a)
{
	list_for_each_safe (it, &a->listings) {
		struct listing *l = list_entry(it, struct listing, node);
		list_remove(&l->node);
		MHD_resume_connection(l->conn);
	}
}

void admin_set_shards(
	struct admin *a, uint16_t count, admin_ask_t *ask, admin_order_t *order, void *arg)
{
	CHECK(count <= ADMIN_SHARDS_MAX);
	a->shards = count;
	a->ask = ask;
	a->order = order;
	a->ask_arg = arg;
}
