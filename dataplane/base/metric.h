/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_BASE_METRIC_H
#define MR_BASE_METRIC_H

#include <stdint.h>

/*
 * A counter or gauge with one writing thread; the control thread reads it relaxed for /metrics. A
 * room lists its metrics in an X-macro (name, help), so that a name stands in one place only.
 */
typedef struct {
	uint64_t v;
} metric_t;

static inline void metric_add(metric_t *m, uint64_t n)
{
	__atomic_store_n(&m->v, __atomic_load_n(&m->v, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
}
static inline void metric_set(metric_t *m, uint64_t v)
{
	__atomic_store_n(&m->v, v, __ATOMIC_RELAXED);
}
static inline uint64_t metric_get(const metric_t *m)
{
	return __atomic_load_n(&m->v, __ATOMIC_RELAXED);
}

/* One row of a room's table, for whoever prints all of them. */
struct metric_desc {
	const char *name; /* Prometheus name without the millrace_ prefix; counters end in _total */
	const char *help;
	uint32_t offset; /* of the metric_t in the room's metrics struct */
};

#endif
