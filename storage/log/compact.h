/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_STORAGE_LOG_COMPACT_H
#define MR_STORAGE_LOG_COMPACT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/uuid.h"
#include "storage/storage.h"
#include "storage/worker/io.h"

/*
 * Compaction of one log (cleanup.policy=compact), as Kafka's LogCleaner does it (KIP-58, KIP-354,
 * KIP-534): of each key the last record stays, a tombstone until delete.retention.ms after it was
 * first seen here. docs/adr/0005-compaction.md says why it is as it is. Synchronous io, a bounded
 * piece of work per step, memory that the caller gives, no clock. One thread.
 *
 *               ┌────────────── the map was full: next round ───────────┐
 *               v                                                       │
 *   begin ─> CLEAR ─> MAP ─────────────> COPY ─────> SWAP ─(swapped)─┬──┴──> DONE
 *            the map  dirty segments,    a group of  the engine      │
 *                     key -> offset      segments    lets go of the  │
 *                                        to one      inputs          │
 *                                          ^         next group      │
 *                                          └─────────────────────────┘
 *
 * What a log is on disk is, per output segment, always either the old or the new one. The new one
 * is written beside the inputs as <base>.log.cleaned and <base>.index.cleaned, whose base is that
 * of the first input, and flushed. Then:
 *
 *   1  <base>.index.cleaned -> <base>.index.swap     flush the directory
 *   2  <base>.log.cleaned -> <base>.log.swap         flush: now it is decided
 *   3  the other inputs are unlinked
 *   4  <base>.index.swap -> <base>.index             flush
 *   5  <base>.log.swap -> <base>.log                 flush
 *
 * So "<base>.log.swap exists" is the one bit that says which of the two counts. Without it, all
 * .cleaned and .swap files are of no use; with it, 3 to 5 can be done again from anywhere. The log
 * comes last in either half, so that this bit is there as long as any name is still old.
 *
 * A compacted segment has gaps in its offsets, but none at its end: its last batch ends at
 * end_offset - 1, without records if need be, so that every offset of a segment has a batch at or
 * behind it.
 */

/* A sealed segment, whole in its files. */
struct compact_segment {
	int64_t base_offset;
	int64_t end_offset; /* the next one's base */
	uint64_t end_pos;
	int64_t max_timestamp;	   /* -1: none */
	int64_t created_ms;	   /* wall clock of its first append */
	int64_t delete_horizon_ms; /* of its index (fmt_bidx_page); 0: no tombstones wait */
	int32_t leader_epoch;
	bool compacted; /* BIDX_COMPACTED, and not BIDX_DIRTY */
};

struct compact_input {
	const char *path; /* of the log's directory */
	struct uuid topic_id;
	int32_t partition;
	const struct compact_segment *segments; /* ascending; those that are not sealed left out */
	uint32_t count;
	int64_t limit; /* segments that end above it are not touched or counted */
	int64_t now_ms;
	struct st_policy policy;
	uint64_t segment_bytes;		/* segment.bytes: groups grow up to this */
	int64_t producer_expiration_ms; /* producer.id.expiration.ms; -1: never */
};

/* Lent until compact_end. Large: reserve address space and give the pages back afterwards. */
struct compact_memory {
	uint8_t *map; /* log.cleaner.dedupe.buffer.size */
	size_t map_size;
	uint8_t *scratch; /* a multiple of a page, at a page */
	size_t scratch_size;
	uint8_t seed[16]; /* random, secret */
};
#define COMPACT_MAP_MIN 4096u
/* A quarter of the rest behind the first MiB bounds what one batch and its records may be in size.
 */
#define COMPACT_SCRATCH_MIN (4u * 1024u * 1024u)

/*
 * Whether there is something to do: cleanable bytes above min.cleanable.dirty.ratio, or older than
 * max.compaction.lag.ms, or tombstones that may go. Segments younger than min.compaction.lag.ms do
 * not count. Cheap; no io. (LogCleanerManager.grabFilthiestCompactedLog)
 */
bool compact_due(const struct compact_input *in);

struct compact;
/* Begins. Copies `in`, but not what mem points to. Gives it to the caller; NULL: out of memory. */
struct compact *compact_begin(const struct compact_input *in, const struct compact_memory *mem);

enum compact_step {
	COMPACT_MORE,	 /* call again */
	COMPACT_SWAP,	 /* compact_output is ready: compact_swap, then call again */
	COMPACT_DONE,	 /* nothing more is due */
	COMPACT_CORRUPT, /* an input fails its checks: nothing was deleted; not to be tried again */
	COMPACT_FAILED,	 /* compact_error; nothing was lost */
};
/*
 * Goes on, for about `budget` bytes read, written or decompressed (at least one batch). After
 * COMPACT_CORRUPT and COMPACT_FAILED the files that it had begun are gone and the inputs are as
 * they were; all that is left to do is compact_end.
 */
enum compact_step compact_step(struct compact *c, struct io *io, uint64_t budget);
#define COMPACT_BUDGET (256u * 1024u)
/* What COMPACT_FAILED was: -EIO, -ENOSPC, ...; -E2BIG: a batch is too large for the scratch memory,
 * and will be the next time. -EBADMSG after COMPACT_CORRUPT. */
int compact_error(const struct compact *c);
/* And where: the segment and the position in it. */
struct st_pos compact_where(const struct compact *c);

/* At COMPACT_SWAP: the segment that replaces all sealed ones with base_offset <= base <
 * end_offset. Borrowed until the next step. */
const struct compact_segment *compact_output(const struct compact *c);

enum compact_swapped {
	COMPACT_SWAPPED,
	COMPACT_UNCHANGED, /* failed (compact_error), and the inputs are as they were */
	COMPACT_UNKNOWN,   /* failed; which of the two it is will be known at the next start. The
			      log directory must go offline */
};
/*
 * Puts the output into the place of its inputs. Before: nothing reads the inputs, or opens them
 * anew, and their open files are closed. After any failure only compact_end is left.
 */
enum compact_swapped compact_swap(struct compact *c, struct io *io);

/* Ends in any state; a segment begun and not swapped in is removed. Frees c. */
void compact_end(struct compact *c, struct io *io);

struct compact_stats {
	uint64_t bytes_read;
	uint64_t bytes_written;
	uint64_t freed_bytes; /* inputs less outputs, of what was swapped */
	uint64_t records;     /* looked at while copying */
	uint64_t records_dropped;
	uint64_t tombstones_dropped; /* of these: their time had come */
	uint64_t batches;
	uint64_t batches_dropped;
	uint64_t batches_emptied; /* kept without records */
	uint64_t batches_held;	  /* kept as they are: transactional, control, or unreadable */
	uint64_t rounds;
	uint64_t swaps;
};
const struct compact_stats *compact_stats_of(const struct compact *c);

/*
 * Settles what a crash has left of a swap in the log's directory. Before its segments are listed.
 * 0; -EBADMSG: an output that was decided on has no valid index (nothing is touched); or -errno.
 * Any error: call again at the next start.
 */
int compact_recover(
	struct io *io, const char *path, const struct uuid *topic_id, int32_t partition);

#endif
