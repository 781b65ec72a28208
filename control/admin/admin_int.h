/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_ADMIN_INT_H
#define MR_ADMIN_INT_H

#include <stdio.h>

#include <microhttpd.h>

#include "base/list.h"
#include "control/admin/admin.h"

/* Private to control/admin. */

/* A room's metrics, once per shard or worker. */
struct metric_set {
	const struct metric_desc *desc;
	uint32_t count;
	const void *base;
	const char *labels;
};

#define ADMIN_SHARDS_MAX 64
#define ADMIN_CONN_PAGE 64 /* connections that a shard is asked for at once */

struct admin {
	const struct config *cfg;
	struct MHD_Daemon *daemon; /* NULL: no listener */
	int fd;
	uint16_t port;
	const char *why_not; /* NULL: ready */
	double start_s;	     /* since 1970 */
	struct metric_set *sets;
	uint32_t set_count;
	uint16_t shards;
	admin_ask_t *ask;
	admin_order_t *order;
	void *ask_arg;
	bool asking;		 /* conns is lent to a shard */
	struct capture *capture; /* NULL: there is none */
	struct list listings;	 /* struct listing that wait for shards; the first one is asking */
	struct conn_info conns[ADMIN_CONN_PAGE];
};

/* An answer being written. */
struct page {
	FILE *out;
	const char *accept; /* NULL: no such header */
	unsigned status;
	const char *type;
};

/* Takes body, whatever comes. */
enum MHD_Result page_send(
	struct MHD_Connection *conn, const struct page *p, char *body, size_t len);

/* connections.c: a request for /connections; *state is its own from begin to listing_end. */
enum MHD_Result listing_begin(struct admin *a, struct MHD_Connection *conn, void **state);
/* It was resumed: the answer is ready. */
enum MHD_Result listing_answer(struct MHD_Connection *conn, void **state);
void listing_end(void *state);
/* Resumes all that wait, so that the server can be stopped. */
void listings_drop(struct admin *a);

/* capture.c: a request for /capture. */
enum MHD_Result capture_begin(struct admin *a, struct MHD_Connection *conn, bool head);
/* Once per turn, before the server runs. */
void capture_turn(struct admin *a);
/* Milliseconds to the next turn; -1: there need not be one. */
int capture_timeout_ms(const struct admin *a);
/* So that the server can be stopped; the shards are gone. */
void capture_drop(struct admin *a);

/* The largest value, and the sum, of a metric over its sets. */
uint64_t admin_metric_max(const struct admin *a, const char *name);
uint64_t admin_metric_sum(const struct admin *a, const char *name);
void admin_page_metrics(const struct admin *a, struct page *p);
/* Remembers when the process was started. */
void admin_note_start(struct admin *a);

#endif
