/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_PARTITION_PART_H
#define MR_PARTITION_PART_H

#include <stdbool.h>
#include <stdint.h>

#include "base/lblock.h"
#include "base/list.h"
#include "base/uuid.h"
#include "partition/producers.h"
#include "storage/storage.h"

/*
 * The partition: an ordered, immutable log of record batches (DESIGN S9). A pure core: operations,
 * storage completions and the time go in; storage requests and finished operations come out. Owned
 * by one shard; every call is made by its thread.
 *
 *   part_start(op) ──► validate, place in log blocks, assign offsets ──► st_req (append)
 *   part_stored(st_req) ──► high watermark moves ──► finished appends, waits
 *
 * Offsets:  log_start_offset <= high_watermark <= log_end_offset. The high watermark is the end of
 * what is on stable storage; nothing at or above it is ever given to a consumer. One append request
 * per partition is at the storage at a time; what comes meanwhile is gathered into the next one
 * (group commit).
 */

struct part_config {
	int32_t max_message_bytes; /* max.message.bytes */
	uint64_t segment_bytes;	   /* segment.bytes */
	int64_t segment_ms;	   /* segment.ms */
	bool log_append_time;	   /* message.timestamp.type */
	uint8_t recode;		   /* compression.type: 1 + enum codec; 0: as the producer did */
	int32_t recode_level;	   /* 0: the codec's default */
	int64_t timestamp_before_max_ms;
	int64_t timestamp_after_max_ms;
	struct st_policy policy; /* cleanup.policy and what belongs to it */
};

/* One read of the storage: under way, or its blocks, kept for other readers (cold.c). */
struct part_chunk {
	struct list node;      /* of env->chunks, oldest first, or of env->free_chunks */
	struct list part_node; /* of the partition's chunks */
	struct part *part;
	struct st_req *req; /* under way; NULL: it is there */
	struct lblock *blocks;
	uint32_t block_count;
	int64_t offset; /* that was asked for */
	int64_t next_offset;
	struct lspan span; /* batches of [offset, next_offset) */
	struct {
		int64_t offset; /* where the last reader stopped: a batch begins there */
		struct lspan rest;
	} mark;
	bool follow; /* its reader goes on behind it: read ahead */
	bool ahead;  /* is a read-ahead */
	bool used;   /* has been given away up to its end */
};

#define PART_CHUNKS 256u

/*
 * What the partitions of one shard share. Set up by the shard; no partition owns it.
 *
 * The pool's blocks are free, or hold a log's end (not durable: nobody's list; durable but not
 * released by the storage: held; released: cached), or belong to the share of cold reads.
 */
struct part_env {
	struct lblock_pool *blocks;
	struct batch_scratch *scratch; /* for decompression while validating (kafka/batch.h) */
	uint8_t *recode;	       /* room for a batch that is compressed anew; NULL: none is */
	uint32_t recode_size;
	uint64_t recoded;		 /* counts them */
	struct list free_reqs;		 /* struct st_req.node; the supply of storage requests */
	struct producer_pool *producers; /* NULL: sequence numbers are not looked at */
	/* struct lblock.cache_node; what has become so first comes first */
	struct list cached;
	struct list held;
	uint64_t cached_blocks, held_blocks;
	/* struct part.holder: those with held blocks that no ST_FILL is under way for; who has held
	 * longest comes first */
	struct list holders;
	uint32_t fills_out;
	bool disk_full; /* the last ST_FILL was refused for want of room */

	/* the share of cold reads */
	uint32_t cold_limit; /* blocks; 0: a quarter of the pool. The shard may set it. */
	uint32_t cold_blocks;
	uint32_t cold_reads;	 /* at the storage */
	uint64_t cold_moves;	 /* counts what may help one that waits */
	uint64_t starved;	 /* counts those that have waited in vain */
	struct list cold_line;	 /* struct part.in_line: whose cold reads wait; served in turn */
	struct list chunks;	 /* struct part_chunk.node */
	struct list free_chunks; /* struct part_chunk.node */
	struct part_chunk chunk_mem[PART_CHUNKS];
};

enum part_op_kind {
	PART_APPEND,
	PART_FETCH,
	PART_WAIT, /* finishes when the high watermark is above `wait.offset`, or by part_cancel */
	PART_LIST, /* ListOffsets */
	PART_TRIM, /* DeleteRecords */
	PART_PRODUCERS, /* DescribeProducers */
	PART_SIZE,	/* DescribeLogDirs */
};

/*
 * One operation on one partition. The asker owns it; the core borrows it from part_start until it
 * comes out finished. It may travel between shards inside a message.
 */
struct part_op {
	struct list node;
	enum part_op_kind kind;
	uint32_t part_id;	      /* for routing: dense id in the metadata image */
	uint16_t shard;		      /* for routing: the owner, by the image */
	int16_t error;		      /* result: Kafka error code (kafka/errcode.h) */
	void *user;		      /* the asker's */
	struct part *part;	      /* set by part_start */
	int32_t current_leader_epoch; /* -1: no check (KIP-320) */
	bool active;		      /* the core's: started and not finished */
	struct st_req *req;	      /* the core's: what it waits for at the storage */
	union {
		struct {
			const uint8_t *data; /* one record batch, borrowed until it is finished;
						copied at part_start when there is room */
			uint32_t len;
			bool no_zstd; /* Produce before version 7 */
			/* the core's, of the batch: data may be gone once it is placed */
			int16_t producer_epoch;
			int32_t first_sequence;
			int64_t producer_id;
			/* results */
			int64_t base_offset;
			int64_t last_offset;
			int64_t log_append_time_ms; /* -1 unless LogAppendTime */
			int64_t log_start_offset;
			int32_t bad_record;	   /* index for record_errors, -1: none */
			const char *error_message; /* static text or NULL */
		} append;
		struct {
			int64_t offset;
			uint32_t max_bytes;
			bool at_least_one; /* return the first batch even when larger than max_bytes
					    */
			uint32_t blocks;   /* the core's: that the first batch is known to need */
			uint64_t moves;	   /* the core's: cold_moves, and when it was seen last */
			int64_t since_ms;
			/* results; the span holds references, to be given back by part_release.
			   The offsets also of one that is out of range */
			struct lspan span;
			bool starved; /* empty for want of room to read into, not of data */
			int64_t high_watermark;
			int64_t last_stable_offset;
			int64_t log_start_offset;
		} fetch;
		struct {
			int64_t offset;
		} wait;
		struct {
			int64_t start;	   /* the core's: log_start_offset when it asked */
			int64_t timestamp; /* -1 latest, -2 earliest, -3 max timestamp, -4 earliest
					      local, or >= 0 */
			/* results; -1 when there is none */
			int64_t offset;
			int64_t record_timestamp;
			int32_t leader_epoch;
		} list;
		struct {
			int64_t offset; /* the log is to begin here; -1: at the high watermark */
			/* result; -1 on error */
			int64_t log_start_offset;
		} trim;
		struct {
			/* borrowed, room for PRODUCERS_PER_PART; written until it is finished */
			struct producer_state *to;
			uint32_t count; /* result: how many; idle longest first */
		} producers;
		struct {
			/* results */
			uint64_t bytes;
			uint16_t dir; /* index in log.dirs; PART_NO_DIR: not known */
		} size;
	};
};
#define PART_NO_DIR UINT16_MAX

/*
 * What a call of the core gives back: move both lists out before the next call, or let them gather.
 * Every st_req in `store` has user = its struct part and worker = the part's worker; the shard sets
 * asker.
 */
struct part_out {
	struct list done; /* struct part_op.node: finished, the asker's again */
	struct list
		store; /* struct st_req.node: to be pushed to the partition's worker, in order */
};

static inline void part_out_init(struct part_out *o)
{
	list_init(&o->done);
	list_init(&o->store);
}

/* What the log says of idempotent producers; history.c. */
enum part_history {
	PART_HISTORY_UNKNOWN, /* nobody has asked */
	PART_HISTORY_NOTE,    /* the note is wanted, or on its way */
	PART_HISTORY_READING, /* what is behind the note is read */
	PART_HISTORY_KNOWN,
};

enum part_state {
	PART_OPENING, /* waits for ST_OPEN; operations queue up */
	PART_LEADER,  /* serves */
	PART_OFFLINE, /* its directory failed: KAFKA_STORAGE_ERROR to all */
	PART_CLOSING, /* refuses new operations; in flight ones finish */
};

/*
 *   OPENING ──ST_OPEN: OK──► LEADER ──storage failed──► OFFLINE
 *      │                       │                          │
 *      └──────────┬────────────┴──────────────────────────┘
 *                 └─part_close─► CLOSING
 * (a failed ST_OPEN leads from OPENING to OFFLINE)
 */
struct part {
	enum part_state state;
	uint32_t part_id;
	uint16_t worker;
	uint16_t dir;	     /* index in log.dirs; PART_NO_DIR: it could not be opened */
	int16_t close_error; /* CLOSING: what new operations are told */
	int32_t leader_epoch;
	struct part_env *env;
	struct part_config config;
	struct st_log *log;
	int64_t log_start_offset;
	int64_t high_watermark;
	int64_t log_end_offset;

	/* where the next batch is placed */
	int64_t segment;      /* base offset of the active segment */
	uint64_t segment_pos; /* bytes placed in it */
	int64_t segment_ms;   /* wall clock of its first append; -1 when empty */
	struct lblock
		*tail; /* block that holds segment_pos (NULL: not loaded, or at a block boundary) */
	struct lblock *tail_loading; /* block given to ST_TAIL, which comes back filled */

	/* end of what is durable; the position of the high watermark */
	int64_t durable_segment;
	uint64_t durable_pos;
	int64_t durable_ms; /* wall clock of the first append of that segment, or a little later */

	/* placed and not yet durable: [high_watermark, log_end_offset) */
	struct list appends;	   /* part_op, in offset order */
	struct st_req *append_req; /* at the storage; NULL: none */
	struct list runs; /* st_req (append) still gathering, in offset order; one per segment */

	/* The storage needs none of the blocks below it any more (P8 of storage.h). */
	struct st_pos released;
	struct lblock *held; /* the first durable block that is not released */
	struct list holder;
	bool filling; /* ST_FILL is at the storage */

	struct list stalled; /* part_op that wait for blocks, requests, the tail or the opening */
	uint32_t stalled_appends; /* how many of them are appends */
	struct list waits;	  /* part_op PART_WAIT */
	struct list reads;	  /* part_op at the storage: cold fetches, lookups, trims */
	uint32_t reqs_out;	  /* st_reqs at the storage */

	struct list cold;    /* part_op, fetches that wait for room to read into */
	struct list in_line; /* of env->cold_line, while there are such */
	struct list chunks;  /* struct part_chunk.part_node */
	bool reading_ahead;
	bool gaps; /* the log is compacted, or has been: offsets may be missing */

	/* idempotent producers; producers.c, history.c */
	struct list producers; /* struct producer.node: idle longest first */
	uint32_t producer_count;
	enum part_history history;
	int64_t history_next, history_end; /* [next, end) is still to be read */
	int64_t history_segment;	   /* the active one at ST_OPEN */
	uint32_t history_need;		   /* blocks that its next batch is known to need */
	struct st_req *history_req;	   /* at the storage */
	struct lblock *history_blocks;	   /* to read into */
	uint32_t history_count;
	uint32_t history_tries; /* reads in a row that have failed */
	struct list early; /* part_op, idempotent appends, trims and the like that wait for it */
	struct list duplicates; /* part_op, appends whose original is not durable yet */
	bool noting;		/* ST_NOTE is at the storage */
	int64_t note_offset;	/* of the newest note */
	uint64_t unnoted_bytes; /* made durable, or read, since then */

	/* upkeep at the storage, at most one request of each kind; see upkeep.c */
	bool retaining, cleaning;
	bool roll_next; /* all of the active segment has expired: the next append rolls */

	/* blocks of the log's end that are in memory, each with one reference; see cache.c */
	struct lblock *first, *last;
	uint64_t first_seq, next_seq;
};

/* An env without storage requests: add them to env->free_reqs. Borrows blocks and scratch, which
 * may be set up later; without scratch nothing compressed may come. */
void part_env_init(struct part_env *env, struct lblock_pool *blocks, struct batch_scratch *scratch);
/* A partition that waits for its log. The core keeps env. */
void part_init(struct part *p, struct part_env *env, uint32_t part_id, uint16_t worker,
	const struct part_config *config, int32_t leader_epoch);
/* New values take effect for later appends. */
void part_configure(struct part *p, const struct part_config *config);
/* The answer to ST_OPEN (borrowed). Starts what had queued up. */
void part_opened(struct part *p, const struct st_req *r, int64_t now_ms, struct part_out *out);
/* True while an append that has been started still needs its data. */
static inline bool part_op_needs_data(const struct part_op *op)
{
	return op->kind == PART_APPEND && op->active && op->append.base_offset < 0;
}
/* Starts an operation. It comes out in out->done at once or after a later call. */
void part_start(struct part *p, struct part_op *op, int64_t now_ms, struct part_out *out);
/*
 * An answered st_req that came from this core (its `user` is the partition); it goes back to
 * env->free_reqs.
 */
void part_stored(struct part *p, struct st_req *r, int64_t now_ms, struct part_out *out);
/*
 * Asks the storage to delete what the policy lets go (ST_RETAIN) and to compact (ST_CLEAN), as far
 * as that is not under way already. Call it now and then, for each partition (Kafka:
 * log.retention.check.interval.ms); harmless when the partition does not serve. The answers move
 * log_start_offset. policy: borrowed for the call. now_ms: wall clock.
 */
void part_upkeep(
	struct part *p, const struct st_policy *policy, int64_t now_ms, struct part_out *out);
/* Retries what is stalled for blocks or requests; after part_release or at each turn under
 * pressure. Serves cold reads that wait, of any partition. */
void part_kick(struct part *p, int64_t now_ms, struct part_out *out);
/* Ends a PART_WAIT that is not finished yet: it comes out in out->done, error 0. Harmless
 * otherwise. */
void part_cancel(struct part *p, struct part_op *op, struct part_out *out);
/* Gives back the references of a finished fetch. */
void part_release(struct part_env *env, struct lspan span);
/* No new operations: they, and the stalled ones and waits, end with `error`. True once ST_CLOSE or
 * ST_DELETE may be sent: only upkeep is in flight then, and the storage answers it before those. */
bool part_close(struct part *p, int16_t error, struct part_out *out);
/* Drops all blocks; only after part_close returned true and ST_CLOSE or ST_DELETE is answered. */
void part_fini(struct part *p);
/*
 * Makes up to n blocks free by evicting cached blocks, oldest first, and then what cold reads have
 * left. Returns how many
 * became free. A block that a fetch has pinned leaves the cache too, and becomes free by
 * part_release.
 */
uint32_t part_env_evict(struct part_env *env, uint32_t n);
/* True while producers wait for their history, and it for blocks or requests. */
bool part_history_waits(const struct part *p);
/* True while operations are stalled for want of memory: the shard stops reading from its
 * connections. Cold reads that wait for their share do not count: see part_env_is_waiting. */
static inline bool part_is_stalled(const struct part *p)
{
	return !list_empty(&p->stalled) || part_history_waits(p);
}
/*
 * Serves cold reads that wait, partition by partition in turn, as far as there is room; at each
 * turn of the shard while part_env_is_waiting. One that has waited for long without anything moving
 * ends empty (error 0, `starved`): what it waits for may be held by the very request it belongs to.
 */
void part_env_turn(struct part_env *env, int64_t now_ms, struct part_out *out);
static inline bool part_env_is_waiting(const struct part_env *env)
{
	return !list_empty(&env->cold_line);
}
/* CHECKs the invariants (docs/INVARIANTS.md); in tests and the simulator after every step. */
void part_check(const struct part *p);
/* The same for what the partitions share; takes time in proportion to the pool. */
void part_env_check(const struct part_env *env);

#endif
