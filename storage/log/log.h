/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_STORAGE_LOG_LOG_H
#define MR_STORAGE_LOG_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/lblock.h"
#include "base/list.h"
#include "storage/format/bidx.h"
#include "storage/format/ckpt.h"
#include "storage/format/format.h"
#include "storage/format/record.h"
#include "storage/format/scan.h"
#include "storage/log/store.h"
#include "storage/storage.h"
#include "storage/worker/io.h"

/*
 * The log of one partition: a run of segments, of which the last one is active. This room knows
 * what is in a log and where its bytes are; the engine (storage/worker) commits, fills and reads.
 * One thread at a time.
 *
 *   segment:  │ in the file ............│ pending ..............│
 *             └─────────────────────────┴───────────────────────┴──
 *             0                     fill_pos                 end_pos
 *
 * Pending bytes are durable in the lane's journal. In memory they stand in the asker's blocks from
 * `pend` on, or, when less than a page is pending, in the private copy `tail`.
 *
 * Invariants:
 *  L1 segments are ascending, and each one's end_offset is the next one's base
 *  L2 end_offset and end_pos of the active segment are the end of what is committed
 *  L3 fill_pos <= end_pos, and is a multiple of a page unless the segment is sealed
 *  L4 a page of a segment file is written once, whole (the last one of a sealed segment padded with
 *     zeros)
 *  L5 bytes are pending if and only if `pend` or `tail` is set, and never both; a tail is shorter
 * than a page L6 blocks[] has an entry for each block that holds a byte below end_pos, while it is
 * loaded L7 a log without files has no sealed segments and fill_pos 0
 */

struct segment {
	int64_t base_offset;
	int64_t end_offset;
	uint64_t end_pos;
	int64_t max_timestamp; /* -1: none */
	int64_t created_ms;
	int32_t leader_epoch;	   /* of the last batch */
	int64_t last_batch;	   /* its base offset, once one was added in this life */
	bool rolled;		   /* nothing is appended any more */
	bool sealed;		   /* and all of it, with its index, is in the files */
	bool compacted;		   /* offsets have gaps */
	bool dirty;		   /* compacted, but not all of it */
	int64_t delete_horizon_ms; /* compacted: when the first of its tombstones may go; 0: none
				      waits */
	bool known;		   /* sealed: the ends above have been read from its index */
	bool damaged;		   /* something of it is known to be corrupt */

	struct io_file *file;  /* NULL: not open */
	uint64_t file_size;    /* allocated; a multiple of a page */
	uint64_t written_to;   /* of it, from 0 on: written, and flushed, in an earlier life of the
				  file; not known after a start */
	struct list cold_node; /* log_env.cold, for sealed ones that are open */
	uint32_t reads;	       /* of it in flight: it stays open */
	bool named;	       /* the file's name is flushed */
	bool file_dirty;       /* written since the last flush */

	struct fmt_block *blocks; /* NULL: not loaded */
	uint32_t block_count;
	uint32_t block_capacity;
	uint32_t pages_saved; /* full pages of blocks[] that are in the index file */
	uint32_t
		pages_missing; /* of these, the first ones that have not been read from there yet */
	struct io_file *index_file;
	bool index_dirty;

	uint64_t fill_pos;
	struct lblock
		*pend; /* holds fill_pos; its next ones hold the rest; borrowed from the asker */
	uint64_t pend_pos; /* of pend->data[0] */
	uint8_t *tail;	   /* end_pos - fill_pos bytes */
};

struct log {
	uint32_t number; /* in the journal of its lane */
	uint16_t dir;
	bool has_files;		   /* its directory exists */
	bool names_dirty;	   /* names in its directory, or its own, have not been flushed */
	bool names_flushing;	   /* and a checkpoint is at it */
	bool dir_named;		   /* the directory's own name is flushed, and log.meta */
	struct io_file *meta_file; /* log.meta while it has not been flushed */
	bool listed;		   /* its sealed segments are in segments[] */
	bool damaged;		   /* a part of it is known to be corrupt */
	bool hot;		   /* large runs have gone straight to its segments lately */
	uint64_t spare_size; /* of the removed segment that is kept for the next roll; 0: none */
	uint32_t spare_age;  /* how often retention has seen it there */
	bool may_have_stray; /* a roll that was never committed may have left a file behind */
	struct uuid topic_id;
	int32_t partition;
	uint32_t seed; /* of block sums, but for the segment */
	char *topic;
	bool lost;	  /* recovery did not find its files */
	bool uncleanable; /* compaction has met damage */
	int64_t log_start_offset;
	int64_t checkpoint_segment;  /* the active one in the newest checkpoint: recovery may write
					to it,  and to those behind it, again */
	int64_t older_max_timestamp; /* of segments before the active one; -1: none */
	struct segment *
		*segments; /* known ones; all of them once it is listed; the last one is active */
	uint32_t segment_count;
	uint32_t segment_capacity;
	struct fmt_ckpt_epoch *epochs; /* leader epochs and where they begin, ascending */
	uint16_t epoch_count;
	uint16_t epoch_capacity;
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
	uint64_t corrupt_blocks;
	uint64_t recycled;
};
#define LOG_SCRATCH (1024u * 1024u)

#define LOG_INFLATE                                                                                \
	(64u * 1024u * 1024u) /* bound of what a batch may inflate to; address space               \
			       */
void log_env_init(struct log_env *env, struct io *io, struct store *store, uint8_t *scratch);
void log_env_fini(struct log_env *env);

static inline struct segment *log_active(const struct log *l)
{
	return l->segments[l->segment_count - 1];
}
static inline int64_t log_end_offset(const struct log *l)
{
	return log_active(l)->end_offset;
}
static inline uint64_t segment_pending(const struct segment *s)
{
	return s->end_pos - s->fill_pos;
}

/* --- logs (log.c) ------------------------------------------------------------------------ */

/* An empty log that begins at start_offset: memory only. NULL when that is short. */
struct log *log_new(uint16_t dir, const struct uuid *topic_id, int32_t partition, const char *topic,
	uint32_t number, int64_t start_offset);
/* Closes its files and frees it. */
void log_free(struct log_env *env, struct log *l);
/* Path of its directory, or of a segment's file in it. */
void log_path(const struct log_env *env, const struct log *l, char out[IO_PATH_MAX]);
void segment_path(const struct log_env *env, const struct log *l, int64_t base_offset,
	const char *suffix, char out[IO_PATH_MAX]);
/* Rolls: adds an empty active segment, in memory. 0 or -ENOMEM. */
int log_roll(struct log *l, int64_t base_offset, int64_t now_ms);
/* Takes back a roll whose segment is still empty. */
void log_unroll(struct log_env *env, struct log *l);
/* The first append after a start, or a refused roll: removes what a roll that was never committed
 * may have left, durably. 0 or -errno. */
int log_remove_stray(struct log_env *env, struct log *l);
/* A batch with this leader epoch is appended at base_offset. 0 or -ENOMEM. */
int log_note_epoch(struct log *l, int32_t epoch, int64_t base_offset);
/* Makes the log's directory with log.meta. Nothing is flushed. 0 or -errno. */
int log_make_files(struct log_env *env, struct log *l);
/* Flushes log.meta and the names of the log's files. 0 or -EIO. */
int log_flush_names(struct log_env *env, struct log *l);
/* Fills in what is known of it in a checkpoint record (topic, tail and blocks are not copied). */
void log_describe(const struct log *l, struct fmt_ckpt_log *out);
/* The log that a record of a checkpoint describes. NULL when memory is short. */
struct log *log_of_ckpt(uint16_t dir, const struct ckpt_view *v);
/* Where everything before it is released (storage.h P8). */
struct st_pos log_released(const struct log *l);
/* CHECKs L1 to L7 as far as it can be seen from here. */
void log_check(const struct log *l);

/* --- segments (segment.c) ---------------------------------------------------------------- */

struct segment *segment_new(int64_t base_offset);
void segment_free(struct log_env *env, struct segment *s);
/* Opens, or creates, the file for writing. Creating flushes nothing. 0 or -errno. */
int segment_open_file(struct log_env *env, struct log *l, struct segment *s);
/* File size to grow the segment to, so that `end` bytes fit. A multiple of 4096. */
uint64_t segment_grown_size(const struct segment *s, uint64_t end);
/* A sealed segment gets its file open and its blocks loaded for reading; the active one its blocks.
 */
enum st_err segment_warm(struct log_env *env, struct log *l, struct segment *s);
/* Closes the files of a sealed segment that nobody uses. */
void segment_close(struct log_env *env, struct segment *s);
/* Closes the least recently used sealed segments when too many are open. */
void segment_cool(struct log_env *env);
/* A sealed segment whose files have just been flushed joins those that are open for readers. */
void segment_rest(struct log_env *env, struct segment *s);
/* What must be known of a sealed segment (its ends) is read from its index. */
enum st_err segment_know(struct log_env *env, struct log *l, struct segment *s);
/* Copies n pending bytes at pos out. They must be pending. */
void segment_copy_pending(const struct segment *s, uint64_t pos, void *dst, size_t n);
/* Keeps the pending bytes, less than a page, in a private copy, so that the blocks are released.
 * False when memory is short. */
bool segment_keep_tail(struct segment *s);
/* Reads n bytes at pos, which lie below end_pos, wherever they are. 0 or -errno. */
int segment_pread(struct log_env *env, struct segment *s, void *buf, size_t n, uint64_t pos);

/* --- block index (blocks.c) -------------------------------------------------------------- */

uint32_t log_seed(const struct log *l, const struct segment *s);
/* A batch begins at s->end_pos; its bytes come by blocks_add_bytes. Moves end_offset, timestamps. 0
 * or -ENOMEM, and nothing has changed. */
int blocks_reserve(struct segment *s, uint64_t end_pos);
void blocks_add_batch(struct segment *s, uint32_t seed, const struct scan_batch *b);
/* Sums n bytes at s->end_pos and moves it on. Room has been reserved. */
void blocks_add_bytes(struct segment *s, uint32_t seed, const uint8_t *p, size_t n);
/* Makes the entries [page * BIDX_PER_PAGE, ...) into an index page, the last one when `last`. */
void blocks_to_page(const struct log *l, const struct segment *s, uint32_t page, bool last,
	struct fmt_bidx_page *out);
/* Loads blocks[] from the index file, or makes it anew from the segment when that is not whole. */
enum st_err blocks_load(struct log_env *env, struct log *l, struct segment *s);
/* Pages of the index when it is complete. */
uint32_t blocks_pages(const struct segment *s);

/* --- sealed segments on disk (list.c) ---------------------------------------------------- */

/* Puts all sealed segments into l->segments, once. */
enum st_err log_list(struct log_env *env, struct log *l);

/* --- reading (read.c): the engine fills blocks, this says from where and what is in them --- */

struct read_plan {
	struct segment *segment;
	uint64_t start;	   /* of the first block; a multiple of LBLOCK_SIZE */
	uint64_t length;   /* bytes wanted from there */
	uint64_t file_end; /* bytes in front of it are in the file; the rest has been copied from
			      memory */
	uint64_t pos;	   /* a batch begins here, at or before the wanted one */
	int64_t offset;	   /* its base offset */
	uint64_t end_pos;  /* the segment's end when the read was planned */
	int64_t end_offset;
	uint32_t last_sum; /* of the last block up to end_pos, if the plan reaches it */
};

/*
 * Plans r (ST_READ): picks the segment, copies what is pending into the blocks, says which bytes of
 * the file are needed.
 */
enum st_err log_read_plan(
	struct log_env *env, struct log *l, struct st_req *r, struct read_plan *plan);
/*
 * All bytes of the plan are in r->read.blocks: verifies them, finds the batches, fills in the
 * results of r. *again: the plan has been changed and is to be read once more (the batch is
 * larger).
 */
enum st_err log_read_done(
	struct log_env *env, struct log *l, struct st_req *r, struct read_plan *plan, bool *again);
/* The image of the active segment's last block. */
enum st_err log_tail(struct log_env *env, struct log *l, struct lblock *block);
/* r (ST_APPEND, at the end of the log) is durable: moves the end. Room was made by log_reserve.
 * CHECKs that the span holds dense whole batches as r says. */
int log_reserve_append(struct log *l, uint64_t end_pos);
void log_appended(struct log *l, const struct st_req *r, int64_t now_ms);
/* ST_LOOKUP; fills in the results. */
enum st_err log_lookup(struct log_env *env, struct log *l, struct st_req *r);

/* --- retention (retain.c) ---------------------------------------------------------------- */

/* The log start that the policy asks for: the present one or more. */
enum st_err log_retain(struct log_env *env, struct log *l, const struct st_policy *policy,
	int64_t limit, int64_t now_ms, int64_t *log_start);
/* ST_SIZE; fills in the results. */
enum st_err log_size(struct log_env *env, struct log *l, struct st_req *r);
/* Unlinks the oldest segment when it lies wholly below the log's start and nobody reads it. True
 * when there may be more; *freed: bytes. */
bool log_drop_oldest(struct log_env *env, struct log *l, uint64_t *freed);

/* --- the segment that is kept for the next roll (spare.c) --------------------------------- */

/* Instead of unlinking the file of s, which is sealed, flushed and not needed any more. False: it
 * is not kept. */
bool spare_keep(struct log_env *env, struct log *l, const struct segment *s);
/* Gives it to s, which has no file yet, at path. False: there is none. */
bool spare_take(struct log_env *env, struct log *l, struct segment *s, const char *path);
/* Removes it. */
void spare_drop(struct log_env *env, struct log *l);
/* Retention looks at the log: a spare that no roll has wanted for a while goes. */
void spare_grow_old(struct log_env *env, struct log *l);

/* --- the asker's note (note.c) -------------------------------------------------------------- */

/* ST_NOTE; fills in the results. ST_E_NOT_FOUND: there is none, or no place for one yet. */
enum st_err log_note(struct log_env *env, const struct log *l, struct st_req *r);

/* --- deletion (delete.c) ----------------------------------------------------------------- */

/* Renames the log's directory to its .deleted name. 0 (also when there is none) or -errno. */
int log_mark_deleted(struct log_env *env, const struct log *l, char marked[IO_PATH_MAX]);
/* Removes some of what is in a directory that is marked as deleted. 1: more is left; 0: all is
 * gone; or -errno. */
int delete_some(struct io *io, const char *path);
/* All of it. */
int delete_finish(struct io *io, const char *path);

/* --- small files (file.c) ---------------------------------------------------------------- */

/* Flush a file, or the names in a directory. 0 or -EIO: whatever the reason of a failed flush is,
 * the directory goes offline. */
int log_flush(struct log_env *env, struct io_file *f);
int log_flush_dir(struct log_env *env, const char *path);
/* Reads a whole small file into memory that the caller frees. -EFBIG when over max. */
int file_load(struct io *io, const char *path, size_t max, void **out, size_t *length);
enum file_sync {
	FILE_LAZY,    /* nothing is flushed: for what is flushed later */
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

#endif
