/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_ADMIN_INT_H
#define MR_ADMIN_INT_H

#include <stdio.h>

#include "control/admin/admin.h"

/* Private to control/admin. */

/* A room's metrics, once per shard or worker. */
struct metric_set {
	const struct metric_desc *desc;
	uint32_t count;
	const void *base;
	const char *labels;
};

struct MHD_Daemon;

struct admin {
	const struct config *cfg;
	struct MHD_Daemon *daemon; /* NULL: no listener */
	int fd;
	uint16_t port;
	const char *why_not; /* NULL: ready */
	double start_s;	     /* since 1970 */
	struct metric_set *sets;
	uint32_t set_count;
};

/* An answer being written. */
struct page {
	FILE *out;
	const char *accept; /* NULL: no such header */
	unsigned status;
	const char *type;
};

/* The largest value, and the sum, of a metric over its sets. */
uint64_t admin_metric_max(const struct admin *a, const char *name);
uint64_t admin_metric_sum(const struct admin *a, const char *name);
void admin_page_metrics(const struct admin *a, struct page *p);
/* Remembers when the process was started. */
void admin_note_start(struct admin *a);

#endif
