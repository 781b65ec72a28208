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
 * Commit cycle, one at a time over all logs:
 *
 *   ┌──────┐ appends   ┌──────┐ room for   ┌───────┐ all writes  ┌───────┐ all flushes
 *   │ IDLE ├─ wait ───►│ GROW ├─ all ─────►│ WRITE ├─ whole ────►│ FLUSH ├─ returned ──► answers
 *   └──────┘           └──────┘            └───────┘             └───────┘              and IDLE
 *
 * A cycle takes everything that waits when it starts. What comes meanwhile waits for the next one
 * (group commit), so there are never two writes in flight to one page. Reads run beside the cycles.
 * Opening, rolling, closing and deleting a log, time lookups and the tail image use synchronous io.
 */
struct engine;

struct engine_config {
	enum st_durability durability;
	uint32_t max_logs;	    /* open at once */
	struct st_metrics *metrics; /* borrowed; NULL: none */
	uint8_t *staging; /* ENGINE_STAGING bytes, 4096-aligned, borrowed; NULL: allocated */
	uint32_t index;	  /* of the worker, for log lines */
};

/* Memory for tail pages under way to the disk, and for the synchronous reads of recovery. */
#define ENGINE_STAGING_PAGES 1024u
#define ENGINE_SCRATCH (1024u * 1024u)
#define ENGINE_STAGING (ENGINE_STAGING_PAGES * 4096u + ENGINE_SCRATCH)

/* An engine over io and store (both borrowed until engine_destroy). NULL when memory is short. */
struct engine *engine_create(struct io *io, struct store *store, const struct engine_config *cfg);
/* Takes the request (with the blocks it names) until it comes out of engine_step. Cheap: it only
 * queues. */
void engine_request(struct engine *e, struct st_req *r);
/*
 * Makes all the progress that is possible now. Finished requests (struct st_req.node) go to the end
 * of `done`, in order of completion; they may be the answer to something that failed at once.
 * now_ms: wall clock. Call again when io has finished something or requests have come.
 */
void engine_step(struct engine *e, int64_t now_ms, struct list *done);
/* True when no request is unanswered and nothing is in flight. */
bool engine_is_idle(const struct engine *e);
/* Operations handed to io and not reaped yet. */
uint32_t engine_in_flight(const struct engine *e);
/*
 * Clean stop: closes every log that is still open (writes its index, flushes). Engine must be idle.
 * True when all of them were healthy and closed cleanly. Then engine_marks says what the next start
 * may rely on.
 */
bool engine_close(struct engine *e);
/* After engine_close, with no engine of the store running: puts the closed logs into the store. */
void engine_marks(struct engine *e);
/* Frees e without any further io; files are closed. Requests not answered are dropped: at a
 * simulated crash, their owner frees them. */
void engine_destroy(struct engine *e);

#endif
