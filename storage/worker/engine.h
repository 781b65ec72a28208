/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_STORAGE_WORKER_ENGINE_H
#define MR_STORAGE_WORKER_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "storage/log/store.h"
#include "storage/storage.h"
#include "storage/worker/io.h"

/*
 * The storage engine: what a storage worker decides. A state machine over struct io: no thread, no
 * clock, no ring. The worker thread (worker.c) and the simulator drive it in the same way:
 *
 *   engine_request(e, req) ...       any number, any time
 *   engine_step(e, now_ms, &done)    takes finished io, starts new io, gives finished requests
 *   (the io makes progress; when it has finished something, or new requests come: step again)
 *
 * For each log directory it has a lane: a commit journal, two checkpoint slots, and logs. Lanes do
 * not wait for each other. In a lane
 *   - a commit cycle takes everything that waits when it starts, and makes it durable by one group
 * in the journal and one flush (cycle.c); what comes meanwhile waits for the next one;
 *   - behind it pending bytes go to their segments (fill.c);
 *   - a checkpoint makes the journal's space free again (ckpt.c).
 * Reads run beside all that. Opening files, time lookups and the tail image use synchronous io.
 */
struct engine;

struct engine_config {
	enum st_durability durability;
	uint16_t worker;	      /* index: picks the lanes */
	uint32_t max_logs;	      /* open at once */
	uint64_t cleaner_bytes_per_s; /* for compaction; 0 or UINT64_MAX: any */
	uint64_t cleaner_map_bytes;   /* memory for its keys */
	uint8_t cleaner_seed[16];     /* secret: of the hash of keys */
	struct st_metrics *metrics;   /* borrowed; NULL: none */
	uint8_t *staging; /* engine_staging_size bytes, 4096-aligned, borrowed; NULL: allocated */
};

/* Memory for pages and journal groups under way to the disk, and for synchronous reads. */
#define ENGINE_STAGING_PAGES 1024u
#define ENGINE_SCRATCH (1024u * 1024u)
size_t engine_staging_size(uint16_t dirs);

/* An engine over io and store (both borrowed until engine_destroy). Takes its lanes' logs. NULL
 * when memory is short. */
struct engine *engine_create(struct io *io, struct store *store, const struct engine_config *cfg);
/* Takes the request (with the blocks it names) until it comes out of engine_step. Cheap: it only
 * queues. */
void engine_request(struct engine *e, struct st_req *r);
/*
 * Makes all the progress that is possible now. Finished requests (struct st_req.node) go to the end
 * of `done`, in order of completion; they may be the answer to something that failed at once.
 * now_ms: wall clock. Call again when io has finished something or requests have come, and after
 * engine_wait_ms.
 */
void engine_step(struct engine *e, int64_t now_ms, struct list *done);
/* True when no request is unanswered and nothing is in flight. */
bool engine_is_idle(const struct engine *e);
/* Operations handed to io and not reaped yet. */
uint32_t engine_in_flight(const struct engine *e);
/* Milliseconds after which engine_step wants to be called though nothing has happened; 0: never. */
uint32_t engine_wait_ms(const struct engine *e);
/*
 * Clean stop: no request is unanswered, and none comes any more. Go on with engine_step until
 * engine_is_stopped: everything is in the segments, and a last checkpoint says so. True when that
 * went well in every directory.
 */
void engine_stop(struct engine *e);
bool engine_is_stopped(const struct engine *e);
bool engine_is_clean(const struct engine *e);
/* Frees e without any further io; files are closed. Requests not answered are dropped: at a
 * simulated crash, their owner frees them. */
void engine_destroy(struct engine *e);
/* CHECKs what can be seen from outside of a step; in tests and the simulator. */
void engine_check(const struct engine *e);

#endif
