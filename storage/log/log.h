/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_STORAGE_LOG_LOG_H
#define MR_STORAGE_LOG_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/lblock.h"
#include "base/list.h"
#include "storage/format/format.h"
#include "storage/format/record.h"
#include "storage/format/scan.h"
#include "storage/log/store.h"
#include "storage/storage.h"
#include "storage/worker/io.h"

/*
 * The log of one partition: a directory of segments, of which the last one is active. This room
 * opens, recovers, rolls, searches, closes and deletes it, with synchronous io; the engine does the
 * asynchronous reads and writes in between. One thread.
 *
 * Invariants:
 *  L1 segments are ascending, and each one's end_offset is the next one's base
 *  L2 end_offset and end_pos of the active segment are the end of what has been answered with ST_OK
 *  L3 a segment other than the active one is sealed: whole, flushed, cut to whole pages behind its
 * end L4 bytes of the active segment behind end_pos are zeros, or of the commit in flight
 */

/* Sparse index: an entry for the first batch at least LOG_INDEX_GAP after the last entry's. Reads
 * begin at block boundaries, so a smaller gap would save nothing. */
#define LOG_INDEX_GAP LBLOCK_SIZE

/* So much of the active segment is walked after an unclean stop, and not more (see log_mark). */
#define LOG_MARK_BYTES (32u * 1024u * 1024u)

struct index {
	struct fmt_index_entry *entries;
	uint32_t count;
	uint32_t capacity;
};

struct segment {
	int64_t base_offset;
	int64_t end_offset;
	uint64_t end_pos;
	int64_t max_timestamp; /* -1: none */
	int64_t created_ms;
	int32_t leader_epoch;  /* of the last batch */
	uint64_t file_size;    /* allocated; a multiple of 4096 */
	uint64_t marked_pos;   /* end_pos when its index was last written */
	struct io_file *file;  /* NULL: not open (sealed ones only) */
	struct index index;    /* count 0 while not loaded (or empty) */
	uint32_t reads;	       /* of it in flight: it stays open */
	struct list cold_node; /* log_env.cold, for sealed ones that are open */
};

struct log {
	uint16_t dir;
	struct uuid topic_id;
	int32_t partition;
	int64_t log_start_offset;
	char path[IO_PATH_MAX]; /* of its directory */
	struct segment **segments;
	uint32_t segment_count;
	uint32_t segment_capacity;
	bool dirty;	/* something was appended since it was opened */
	bool unflushed; /* and answered without a flush (durability=written) */
};

/* What the logs of one engine share. */
struct log_env {
	struct io *io;
	struct store *store;
	uint8_t *scratch;		/* LOG_SCRATCH bytes, 4096-aligned */
	struct record_scratch *records; /* made by the first time lookup; log_env_fini frees it */
	uint8_t *inflate;
	struct list cold; /* struct segment.cold_node, least recently used first */
	uint32_t cold_count;
	uint32_t cold_max;
	uint64_t flushes; /* counters for the engine's metrics */
	uint64_t io_errors;
};
#define LOG_SCRATCH (1024u * 1024u)

#define LOG_INFLATE                                                                                \
	(64u * 1024u * 1024u) /* bound of what a batch may inflate to; address space               \
			       */
void log_env_fini(struct log_env *env);

static inline struct segment *log_active(const struct log *l)
{
	return l->segments[l->segment_count - 1];
}
static inline int64_t log_end_offset(const struct log *l)
{
	return log_active(l)->end_offset;
}

/*
 * Opens or creates the log that r (ST_OPEN) names, recovering it when there is no clean mark; fills
 * in the results of r. *out is the caller's on ST_OK (log_free).
 */
enum st_err log_open(struct log_env *env, struct st_req *r, const struct fmt_clean_log *mark,
	int64_t now_ms, struct log **out);
/* Seals the active segment and makes an empty one with this base. On ST_E_NOSPACE the log is as
 * before. */
enum st_err log_roll(struct log_env *env, struct log *l, int64_t base_offset, int64_t now_ms);
/* File size to grow the active segment to, so that `end` bytes fit. A multiple of 4096. */
uint64_t log_grown_size(const struct segment *s, uint64_t end);
/*
 * r (ST_APPEND, at the end of the log) is durable: moves the end, notes it in the index. CHECKs
 * that the span holds dense whole batches as r says.
 */
void log_appended(struct log *l, const struct st_req *r, int64_t now_ms);
/*
 * When enough has been appended since the last time: writes the index of the active segment, whose
 * ends are what has been made durable. Recovery begins there, and takes less for damage. Not
 * flushed, and its failure does not matter: an older one, or none, only makes recovery longer. Only
 * with durability=flush, where what is answered is durable.
 */
void log_mark(struct log_env *env, struct log *l);
/* Closes with all files. When it is healthy, and all went well: true, and *out says how. Frees l in
 * any case. */
bool log_close(struct log_env *env, struct log *l, bool healthy, struct fmt_clean_log *out);
/* Deletes the files: after ST_OK the log is gone for good, crash or not. Frees l in any case. */
enum st_err log_delete(struct log_env *env, struct log *l);
/* Closes the files and frees. */
void log_free(struct log_env *env, struct log *l);
/* The image of the active segment's last block. */
enum st_err log_tail(struct log_env *env, struct log *l, struct lblock *block);
/* ST_LOOKUP; fills in the results. */
enum st_err log_lookup(struct log_env *env, struct log *l, struct st_req *r);
/* CHECKs L1 and what else can be seen from here. */
void log_check(const struct log *l);

/* --- reading: the engine fills blocks, this says from where and what is in them ---------- */

struct read_plan {
	struct segment *segment;
	uint64_t start;	 /* of the first block; a multiple of LBLOCK_SIZE */
	uint64_t length; /* bytes to read from there; a multiple of 4096 */
	uint64_t pos;	 /* a batch begins here, at or before the wanted one */
	int64_t offset;	 /* its base offset */
	/* the segment's end when the read was planned: bytes behind it may be on their way */
	uint64_t end_pos;
	int64_t end_offset;
};
/*
 * Where to read for r (ST_READ). Opens the segment and loads its index when it has to; the caller
 * then counts itself in segment->reads. ST_E_RANGE, ST_E_CORRUPT, ST_E_SHORT, ST_E_LIMIT.
 */
enum st_err log_read_plan(
	struct log_env *env, struct log *l, struct st_req *r, struct read_plan *plan);
/*
 * The blocks of r hold plan->length bytes. ST_OK: r's results are filled in. Or an error for r.
 * *again: plan has been moved on to a later position, read once more.
 */
enum st_err log_read_done(struct log *l, struct st_req *r, struct read_plan *plan, bool *again);

/* --- inside the room --------------------------------------------------------------------- */

/* 0, or -ENOMEM (for the first entry only: later ones are left out, which makes the index sparser).
 */
int index_init(struct index *x);
void index_fini(struct index *x);
void index_add(struct index *x, const struct scan_batch *b);
/* The last entry with offset <= `offset`. The index is not empty and its first entry is not above.
 */
uint32_t index_find(const struct index *x, int64_t offset);
/* Writes the segment's index file. 0 or -errno. */
int index_store(struct log_env *env, const struct log *l, const struct segment *s, bool durable);
/* Loads it. When with_entries is false only the segment's ends. -ENOENT, -EBADMSG (damaged), ... */
int index_load(struct log_env *env, const struct log *l, struct segment *s, bool with_entries);

/* Room for one more in l->segments. 0 or -ENOMEM. */
int log_reserve(struct log *l);
struct segment *segment_new(int64_t base_offset);
void segment_free(struct log_env *env, struct segment *s);
void segment_path(
	char out[IO_PATH_MAX], const struct log *l, int64_t base_offset, const char *suffix);
/* Creates the file of a new, empty segment; its name is durable afterwards. 0 or -errno. */
int segment_create(struct log_env *env, const struct log *l, struct segment *s);
/* Makes a sealed segment readable: file open, index loaded. */
enum st_err segment_warm(struct log_env *env, struct log *l, struct segment *s);
/* Closes what has not been used for longest, down to cold_max. */
void segment_cool(struct log_env *env);

/*
 * Walks the whole segment file: sets its ends, index and max_timestamp to what is valid. *stop: why
 * it ended. 0, -errno of a read, -ENOMEM.
 */
int recover_scan(struct log_env *env, struct segment *s, enum scan_stop *stop);
/* The same from end_pos on, with the index and the ends as they are. */
int recover_scan_on(struct log_env *env, struct segment *s, enum scan_stop *stop);
/*
 * Recovers the active segment after an unclean stop: scans it from its mark on, cuts off what is
 * behind the last valid batch for good, flushes what is before it. *cut_bytes: how much was cut.
 * 0; -EBADMSG: less is there than was once durable; or -errno.
 */
int recover_active(
	struct log_env *env, const struct log *l, struct segment *s, uint64_t *cut_bytes);

/* Flush a file, or the names in a directory. 0 or -EIO: whatever the reason of a failed flush is,
 * the directory goes offline. */
int log_flush(struct log_env *env, struct io_file *f);
int log_flush_dir(struct log_env *env, const char *path);
/* Reads a whole small file into memory that the caller frees. -EFBIG when over max. */
int file_load(struct io *io, const char *path, size_t max, void **out, size_t *length);
enum file_sync {
	FILE_LAZY,    /* nothing is flushed: for what can be made again */
	FILE_FLUSHED, /* the bytes are flushed before the file gets its name; the caller flushes dir
		       */
	FILE_NAMED,   /* dir is flushed, too */
};
/* Replaces or creates dir/name with these bytes, by a temporary file and a rename. 0 or -errno. */
int file_store(struct log_env *env, const char *dir, const char *name, const void *p, size_t length,
	enum file_sync sync);
/*
 * What a failed operation means for its asker. Runs out of something: ST_E_NOSPACE. Else the
 * directory goes offline: ST_E_IO. `what`, for the operator's log.
 */
enum st_err log_failed(
	struct log_env *env, uint16_t dir, int rc, const char *what, const char *path);
/* Removes a directory that is marked as deleted, and the files in it. 0 or -errno. */
int delete_finish(struct io *io, const char *path);

#endif
