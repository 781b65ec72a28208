/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_ADMIN_ADMIN_H
#define MR_ADMIN_ADMIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/conn_info.h"
#include "base/metric.h"
#include "base/tape.h"
#include "control/config/config.h"

/*
 * The admin HTTP server: GET (or HEAD) /metrics, /healthz, /readyz, /config, /connections,
 * /capture. It has no thread: the control loop watches admin_fd and calls admin_run. Connections
 * are few and time out; what is served is built in memory at the time of the request, except for a
 * capture, which is sent as it comes.
 */
struct admin;

/*
 * Binds and listens on cfg's admin.listener (none when that is empty: then everything below still
 * works and nothing is served). cfg is borrowed until admin_close. NULL with a sentence in err:
 * address in use, not this machine's, ...
 */
struct admin *admin_open(const struct config *cfg, char *err, size_t err_size);
void admin_close(struct admin *a);
/* The port that is listened on; 0: none. */
uint16_t admin_port(const struct admin *a);

/*
 * Adds a room's metrics to /metrics: `count` rows of desc, each at base + offset, with `labels` as
 * in Prometheus text (`shard="0"`; "" for none). All are borrowed until admin_close; values are
 * read relaxed, so other threads may go on writing them. Names that end in _total are counters,
 * others gauges. 0 or -1: no memory.
 */
int admin_add_metrics(struct admin *a, const struct metric_desc *desc, uint32_t count,
	const void *base, const char *labels);

/* What /readyz says: NULL: ready (200), and what is offline by the metrics storage_offline_dirs and
 * partitions_offline; else 503 with this static text. Starts as "starting". */
void admin_set_ready(struct admin *a, const char *why_not);

/*
 * Where /connections comes from: ask is to have the shard fill the page (a copy of *page; its
 * memory is borrowed until then) and to call admin_connections with it. One page at a time is asked
 * for, and none unless the broker is ready. Without this call there are no shards.
 */
typedef void admin_ask_t(void *arg, uint16_t shard, const struct conn_page *page);
/* And /capture: the shard is to follow the order, and admin_ordered to be called when it does. */
typedef void admin_order_t(void *arg, uint16_t shard, const struct capture_order *order);
void admin_set_shards(
	struct admin *a, uint16_t count, admin_ask_t *ask, admin_order_t *order, void *arg);
/* A shard has taken an order. */
void admin_ordered(struct admin *a);
/* True while shards write to the tapes of a capture; admin_set_ready with a reason ends it. */
bool admin_has_ordered(const struct admin *a);
/* The page that was asked for. */
void admin_connections(struct admin *a, const struct conn_page *page);
/* True while a page is at a shard. */
bool admin_is_asking(const struct admin *a);

/* An epoll fd that becomes readable when there is something to do; -1: none. */
int admin_fd(const struct admin *a);
/* Does what there is to do; never blocks. */
void admin_run(struct admin *a);
/* Milliseconds until admin_run must be called although admin_fd is quiet; -1: never. */
int admin_timeout_ms(const struct admin *a);

#endif
