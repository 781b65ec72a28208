/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_STORAGE_STORAGE_H
#define MR_STORAGE_STORAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/lblock.h"
#include "base/metric.h"
#include "base/ring.h"
#include "base/uuid.h"

/*
 * What the storage promises. The only public header of storage/.
 *
 * A storage worker is one thread that owns files. Shards and the control thread ask it by messages
 * (struct st_req) over a ring and get the same message back, with `err` set, over another. A
 * request belongs to the worker from push to return, with every block it names (the asker has
 * taken references for it).
 *
 * A partition's log is a run of segments, named by the base offset of their first batch. A segment
 * holds record batches (magic 2) exactly as on the wire, dense. The asker (the partition core)
 * decides positions: it knows the active segment and the byte position in it, and rolls by naming
 * a new segment. It gives blocks that are images of the file (struct lblock), so that whole pages
 * are written from where they are.
 *
 * Promises:
 * P1  ST_APPEND returns ST_OK only after the bytes, and all bytes before them in that log, are on
 *     stable storage (written and flushed). durability=written relaxes "flushed", knowingly.
 * P2  Appends to one log complete in the order they were asked for. After one fails, every later
 *     one fails too (ST_E_OFFLINE), until the log is closed and opened anew. ST_E_NOSPACE is the
 *     exception: nothing was written, and the log goes on from the position that was refused
 *     (appends that were already behind it are refused likewise).
 * P3  Appends of several partitions that wait at the same time share their flushes.
 * P4  After a crash, ST_OPEN returns a log that ends at or after the last append that was
 *     acknowledged by P1, and consists of whole batches, dense in offset, each valid by its CRC.
 *     What was cut off (a torn or never acknowledged tail) never comes back as data later.
 * P5  A failed flush is never tried again: the log directory goes offline (ST_E_IO, then
 *     ST_E_OFFLINE).
 * P6  ST_READ returns whole batches below `limit`, byte for byte as appended.
 * P7  Requests of one asker to one log are handled in order, except that reads and lookups may
 *     overtake appends. ST_CLOSE and ST_DELETE wait for all that was asked before them, and are
 *     the last request to that log: its handle is gone when they return, whatever err says.
 * P8  What is acknowledged need not be in its segment yet: it may stand in the commit journal and
 * in the asker's blocks. The asker keeps every block that holds a byte at or behind the released
 *     position (struct st_pos `released` of an answer), with its bytes and its `next`, until a
 * later answer of that log moves the position on, or the log is closed or deleted, or has failed
 *     (any answer with ST_E_IO or ST_E_OFFLINE). Positions only ever move on. ST_FILL asks to
 * hurry. P9  ST_TRIM is durable when it is answered: after a crash the log starts there or later.
 * What lies below the log's start is deleted in the background, in whole segments, oldest first.
 * P11 A note (ST_NOTE) is bytes of the asker's about the log. What comes back is the newest one
 * that was stored, an older one, or none: nothing is flushed for it. It is whole. P10 Compaction
 * (ST_CLEAN) removes records, never changes or moves one: offset, key, value, headers and timestamp
 * stay. A compacted log has gaps; ST_READ at an offset in a gap returns the batch after it.
 */

enum st_op {
	ST_OPEN,   /* open or create a log */
	ST_APPEND, /* make bytes durable */
	ST_READ,   /* read whole batches from an offset on */
	ST_LOOKUP, /* offset of the first record with timestamp >= t, or of the maximum timestamp */
	ST_TAIL,   /* fill a block with the image of the active segment's last, partial block */
	ST_FILL,   /* release blocks: answered when the position asked for is released */
	ST_TRIM,   /* move the log's start up (DeleteRecords) */
	ST_RETAIN, /* delete old segments as the policy says */
	ST_CLEAN,  /* compact as the policy says; answered when nothing (more) is due */
	ST_NOTE,   /* keep a note of the asker beside the log, or bring it back */
	ST_SIZE,   /* how large the log is, and where */
	ST_DELETE, /* close the log and delete its files; survives a crash half-way */
	ST_CLOSE,  /* close the log; cleanly unless it is offline */
};

enum st_err {
	ST_OK = 0,
	ST_E_IO,      /* a write or flush failed; the directory is offline from now on */
	ST_E_OFFLINE, /* the directory or the log is offline */
	ST_E_NOSPACE, /* no room; nothing was appended; may be asked again later */
	ST_E_RANGE,   /* ST_READ: offset below the log's start or at/after limit */
	ST_E_SHORT,   /* ST_READ: the first batch is larger than the blocks given; see read.need */
	ST_E_CORRUPT, /* acknowledged bytes fail their checks or cannot be read */
	ST_E_NOT_FOUND, /* ST_OPEN without create: no such log. ST_LOOKUP: no such record */
	ST_E_LIMIT,	/* too many open logs, open already, out of files or memory, ... */
};

/* A log as its worker knows it; a handle for others. */
struct st_log;

/* A place in a log: the byte `pos` of the segment with this base offset. */
struct st_pos {
	int64_t segment;
	uint64_t pos;
};

/* What may be removed from a log; names are Kafka's topic configs. */
struct st_policy {
	bool remove;		       /* cleanup.policy has delete */
	bool compact;		       /* cleanup.policy has compact */
	int64_t retention_ms;	       /* -1: no limit */
	int64_t retention_bytes;       /* -1: no limit */
	int64_t delete_retention_ms;   /* how long tombstones stay */
	int64_t min_compaction_lag_ms; /* younger records are not compacted */
	int64_t max_compaction_lag_ms; /* older ones are, whatever the ratio */
	uint32_t min_dirty_ppm;	       /* min.cleanable.dirty.ratio in millionths */
	uint64_t segment_bytes;	       /* compacted segments grow up to this */
};

#define ST_TOPIC_MAX 249
/* Bytes of a note. */
#define ST_NOTE_MAX (640u << 10)
/* Requests that one asker may have under way at a worker: within this, st_push always finds room.
 */
#define ST_ASKER_REQS 4096u

struct st_req {
	enum st_op op;
	enum st_err err;    /* set by the worker */
	uint16_t asker;	    /* who gets it back: index of the asker's return ring at this worker */
	uint16_t worker;    /* who handles it (for the asker's own use) */
	struct st_log *log; /* set by ST_OPEN; given for all other ops */
	void *user;	    /* the asker's */
	struct list node;   /* for whoever owns the request at the time */
	union {
		struct {
			char topic[ST_TOPIC_MAX + 1];
			struct uuid topic_id;
			int32_t partition;
			uint16_t dir; /* which of log.dirs, for a new log; result: where it is */
			bool create;
			/* results */
			int64_t log_start_offset;
			int64_t log_end_offset;
			int64_t segment;	    /* base offset of the active segment */
			uint64_t segment_pos;	    /* bytes in it */
			int64_t segment_created_ms; /* wall clock of its first append, or of now
						       when empty */
			int64_t max_timestamp;
			int32_t leader_epoch; /* of the last batch; 0 when empty */
			bool recovered;	      /* not closed cleanly: its tail has been scanned */
			uint64_t cut_bytes; /* torn or unacknowledged bytes that the scan cut off */
			bool damaged; /* a part of it is corrupt: see the log; reads of it fail */
		} open;
		struct {
			int64_t segment;   /* base offset of the segment; a new value rolls to a new
					      segment */
			uint64_t pos;	   /* position of the first byte; = end of what was appended
					      before */
			struct lspan span; /* span.off == pos % LBLOCK_SIZE; the bytes before it in
					      the first block are the log's bytes there (ST_TAIL
					      brings them back) */
			int64_t base_offset;   /* of the first batch */
			int64_t last_offset;   /* of the last record */
			int64_t max_timestamp; /* largest in these batches; -1 when unknown */
			/* result */
			struct st_pos released;
		} append;
		struct {
			int64_t offset;
			int64_t limit;	    /* exclusive: the asker's high watermark */
			uint32_t max_bytes; /* whole batches up to this; the first one is returned
					       anyway */
			struct lblock *blocks; /* chain to read into, the asker's */
			uint32_t block_count;
			/* results */
			struct lspan span;   /* whole batches of one segment; the first contains
						`offset`. May begin in a later block of the chain.
						Empty only on error */
			int64_t base_offset; /* of the first batch in span */
			int64_t next_offset; /* after the last batch in span */
			uint32_t need;	     /* ST_E_SHORT: blocks to ask again with */
			bool gaps; /* these batches have been compacted: offsets are not dense */
		} read;
		struct {
			int64_t timestamp; /* ms; -1: the record with the largest timestamp */
			int64_t limit;	   /* exclusive */
			/* results */
			int64_t offset;
			int64_t record_timestamp;
		} lookup;
		struct {
			struct lblock *block; /* filled with the bytes [align_down(pos), pos); the
						 rest is zero */
		} tail;
		struct {
			struct st_pos wanted;	/* at most the end of what has been acknowledged */
			struct st_pos released; /* result: at or behind `wanted` */
		} fill;
		struct {
			int64_t offset; /* <= the end of what has been acknowledged; an offset below
					   the start changes nothing */
			int64_t log_start_offset; /* result */
		} trim;
		struct {
			struct st_policy policy;
			int64_t limit; /* exclusive: nothing at or above is touched (high watermark)
					*/
			int64_t now_ms; /* wall clock */
			/* results */
			int64_t log_start_offset;
			uint64_t freed_bytes;
		} retain; /* ST_RETAIN and ST_CLEAN */
		struct {
			void *data;    /* the asker's */
			bool store;    /* else: bring it back (ST_E_NOT_FOUND: there is none) */
			uint32_t size; /* of the note, or of the room for it; <= ST_NOTE_MAX */
			uint32_t len;  /* result */
		} note;
		struct {
			uint64_t bytes; /* result: of the segments that are not removed yet */
		} size;
	};
};

#define ST_METRICS(X)                                                                              \
	X(cycles_total, "commit cycles")                                                           \
	X(appends_total, "append requests made durable")                                           \
	X(append_bytes_total, "bytes of batches made durable")                                     \
	X(written_bytes_total, "bytes written to the device for them")                             \
	X(flushes_total, "flushes of the device or of a file")                                     \
	X(reads_total, "cold read requests")                                                       \
	X(read_bytes_total, "bytes read from the device")                                          \
	X(io_errors_total, "input/output errors")                                                  \
	X(offline_dirs, "log directories that are offline")                                        \
	X(logs_open, "open logs")                                                                  \
	X(checkpoints_total, "checkpoints begun")                                                  \
	X(journal_bytes, "room in the commit journals")                                            \
	X(journal_used_bytes, "of it in use")                                                      \
	X(played_bytes_total, "bytes of the journal played at the start")                          \
	X(recycled_total, "segments that took the file of a removed one")                          \
	X(removed_bytes_total, "bytes of segments removed by retention")                           \
	X(cleaned_bytes_total, "bytes read by compaction")                                         \
	X(corrupt_blocks_total, "blocks found damaged")                                            \
	X(registered_buffers, "1 when log blocks are registered with io_uring")                    \
	X(syscalls_total, "system calls made by the worker")

struct st_metrics {
#define X(name, help) metric_t name;
	ST_METRICS(X)
#undef X
};

enum st_durability {
	ST_FLUSH,   /* default: acknowledged means flushed to stable storage */
	ST_WRITTEN, /* acknowledged means written to the device's cache */
};

/*
 * Which of `workers` storage workers keeps the log: the same in every process with that many of
 * them, so that a log is found again by the worker that wrote it. The partitions of one topic are
 * spread evenly. Pure; any thread.
 */
static inline uint16_t st_worker_of(
	const struct uuid *topic_id, int32_t partition, uint16_t workers)
{
	uint64_t h = 14695981039346656037ull; /* FNV-1a, 64 bits */
	for (unsigned i = 0; i < sizeof(topic_id->b); i++)
		h = (h ^ topic_id->b[i]) * 1099511628211ull;
	return (uint16_t)(((h >> 32) + (uint32_t)partition) % workers);
}

struct st_config {
	char (*dirs)[256]; /* log.dirs, absolute */
	uint16_t dir_count;
	enum st_durability durability;
	uint8_t *log_memory; /* all log blocks, to register as fixed buffers */
	size_t log_bytes;
	uint16_t askers;  /* number of shards plus one (control) */
	uint16_t workers; /* how many there are; the same for each */
	uint16_t index;	  /* of this worker */
	uint32_t max_logs;
	uint64_t journal_bytes;	      /* of this worker in each directory */
	uint64_t cleaner_bytes_per_s; /* that ST_CLEAN may read and write; UINT64_MAX: any */
	uint64_t cleaner_map_bytes;   /* memory for the keys of ST_CLEAN */
	int cpu;		      /* to run on, -1: any */
};

/* A running storage worker. */
struct st_worker;

/*
 * Log directories, once per process, before the workers (main thread). Creates what is missing,
 * takes the lock (held until close), checks O_DIRECT and the format version, and recovers the logs:
 * newest checkpoint, then the journal. Of cfg only dirs, workers and journal_bytes count. 0; or -1
 * with a sentence that says what is wrong and what to do in err.
 */
struct st_dirs;
struct st_dirs *st_dirs_open(const struct st_config *cfg, char *err, size_t err_size);
/* True when the last stop was clean: nothing had to be played. */
bool st_dirs_clean(const struct st_dirs *d);
/* How many logs the directories know. */
uint32_t st_dirs_log_count(const struct st_dirs *d);
/* After every worker was stopped. */
void st_dirs_close(struct st_dirs *d);

/* Creates a worker with its io_uring and its rings; its thread starts with st_worker_start.
 * Registered buffers are left out (and logged once) where RLIMIT_MEMLOCK forbids them. NULL and err
 * on failure (io_uring forbidden, ...). */
struct st_worker *st_worker_open(
	const struct st_config *cfg, struct st_dirs *dirs, char *err, size_t err_size);
int st_worker_start(struct st_worker *w);
/* Asker's thread. False when the ring is full: try again after replies. Wakes the worker by
 * st_notify. */
bool st_push(struct st_worker *w, uint16_t asker, struct st_req *r);
/* Asker's thread: after a batch of st_push. */
void st_notify(struct st_worker *w);
/* Asker's thread: finished requests, in order of completion. */
uint32_t st_pop(struct st_worker *w, uint16_t asker, struct st_req **out, uint32_t max);
/* The waker to notify when the asker has replies. Before st_worker_start; borrowed. */
void st_set_waker(struct st_worker *w, uint16_t asker, struct waker *waker);
const struct st_metrics *st_worker_metrics(const struct st_worker *w);
/* Finishes what is in flight, closes all logs cleanly, joins the thread, frees w. The rings must
 * have been drained by the askers before. True when every log was closed cleanly. */
bool st_worker_stop(struct st_worker *w);

#endif
