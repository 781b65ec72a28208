/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_SHARD_SHARD_H
#define MR_SHARD_SHARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/api.h"
#include "base/metric.h"
#include "net/net.h"
#include "shard/msg.h"
#include "storage/storage.h"

/*
 * A shard: one thread that owns its connections, its part of the partitions, its timers and its
 * memory. It never blocks except to sleep when idle, and takes no lock.
 */
struct shard;

struct shard_config {
	uint16_t index;
	struct mesh *mesh;	    /* borrowed */
	struct net *net;	    /* taken: net_fini by shard_destroy */
	struct st_worker **workers; /* borrowed */
	uint16_t worker_count;
	uint8_t *log_memory; /* this shard's share of the log blocks (borrowed) */
	size_t log_bytes;
	uint32_t cold_blocks; /* of them, for reading what is not in memory; 0: a quarter */
	size_t request_bytes; /* budget for frames and large responses */
	uint32_t store_reqs;  /* storage requests that may be under way; at most ST_ASKER_REQS */
	int32_t frame_max;    /* socket.request.max.bytes */
	uint32_t max_conns;
	uint64_t conn_idle_ns;		/* connections.max.idle.ms */
	uint64_t spin_ns;		/* how long to poll without work before sleeping */
	bool busy_poll;			/* poll.mode=busy: never sleep */
	int cpu;			/* to run on; -1: any */
	uint64_t retain_every_ns;	/* log.retention.check.interval.ms; 0: never */
	uint64_t clean_every_ns;	/* log.cleaner.backoff.ms; 0: never */
	uint64_t upkeep_delay_ns;	/* log.initial.task.delay.ms */
	int64_t producer_expiration_ms; /* producer.id.expiration.ms */
	uint32_t fetch_session_slots;	/* max.incremental.fetch.session.cache.slots, its share */
	uint64_t quota_seed;		/* random */
	struct api_limits limits;
};

#define SHARD_METRICS(X)                                                                           \
	X(connections, "open connections")                                                         \
	X(requests_total, "requests received")                                                     \
	X(request_errors_total,                                                                    \
		"requests that closed their connection: malformed, unknown, too large")            \
	X(produce_batches_total, "record batches appended")                                        \
	X(produce_bytes_total, "bytes of record batches appended")                                 \
	X(produce_refused_total, "record batches refused")                                         \
	X(recoded_batches_total, "record batches compressed anew for compression.type")            \
	X(fetch_bytes_total, "bytes of record batches sent to consumers")                          \
	X(forwarded_ops_total, "partition operations sent to another shard")                       \
	X(log_blocks, "log blocks of this shard")                                                  \
	X(log_blocks_free, "log blocks that are free")                                             \
	X(request_memory_bytes, "request memory in use")                                           \
	X(producers, "idempotent producers known, of each partition")                              \
	X(producers_forgotten_total, "idempotent producers forgotten for want of room")            \
	X(partitions, "partitions of this shard")                                                  \
	X(partitions_offline, "partitions whose log has failed")                                   \
	X(turns_total, "turns of the loop")                                                        \
	X(idle_turns_total, "turns of the loop that found nothing to do")                          \
	X(throttled_total, "responses that throttled their client for a quota")                    \
	X(shed_connections_total, "connections closed because request memory was short")

struct shard_metrics {
#define X(name, help) metric_t name;
	SHARD_METRICS(X)
#undef X
};

/* Main thread. NULL when memory is short. Sets its waker in the mesh and at the workers. */
struct shard *shard_create(const struct shard_config *cfg);
/* Starts the thread. 0 or -errno. */
int shard_start(struct shard *s);
/* Waits for the thread, which ends after it has answered MSG_STOP. */
void shard_join(struct shard *s);
/* After shard_join, when no worker or other node runs any more that may wake it; or when it was
 * never started. */
void shard_destroy(struct shard *s);
/* Any thread: for /metrics. */
const struct shard_metrics *shard_metrics_of(const struct shard *s);

#endif
