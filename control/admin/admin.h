/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_ADMIN_ADMIN_H
#define MR_ADMIN_ADMIN_H

#include <stddef.h>
#include <stdint.h>

#include "base/metric.h"
#include "control/config/config.h"

/*
 * The admin HTTP server: GET (or HEAD) /metrics, /healthz, /readyz, /config. It has no thread: the
 * control loop watches admin_fd and calls admin_run. Connections are few and time out; what is
 * served is built in memory at the time of the request.
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

/* An epoll fd that becomes readable when there is something to do; -1: none. */
int admin_fd(const struct admin *a);
/* Does what there is to do; never blocks. */
void admin_run(struct admin *a);
/* Milliseconds until admin_run must be called although admin_fd is quiet; -1: never. */
int admin_timeout_ms(const struct admin *a);

#endif
