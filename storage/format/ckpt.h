/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_STORAGE_FORMAT_CKPT_H
#define MR_STORAGE_FORMAT_CKPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/uuid.h"
#include "storage/format/bidx.h"
#include "storage/format/format.h"

/*
 * The checkpoint of a lane: all its logs as they were at one position of its journal. Two files,
 * `checkpoint-<worker>.a` and `.b`, are written in turn; the valid one with the larger seq counts.
 * Pure.
 *
 * It is written after every byte that it says is in a segment file is there and flushed. What it
 * says of a log holds, with the journal from journal_pos on played on top of it.
 *
 *   struct fmt_ckpt, then `count` records, each:
 *     struct fmt_ckpt_log
 *     char topic[topic_length]                  zeros up to a multiple of 8
 *     struct fmt_ckpt_epoch epochs[epoch_count]
 *     struct fmt_block blocks[block_count]      of the active segment, those that stand in no full
 *                                               page of its index; the last one's sum runs up to
 *                                               end_pos
 *     uint8_t tail[end_pos - fill_pos]          the ragged end; zeros up to a multiple of 8
 *
 * head.length is the length of all that. The file may be longer (it is written by whole pages, and
 * may have been longer before): what is behind is not looked at.
 */
#define FMT_CKPT_MAGIC "MRCKPT\0"

struct fmt_ckpt {
	struct fmt_head head;
	struct uuid dir_id;
	struct uuid journal_id;
	uint64_t seq;	      /* of the checkpoint, ascending */
	uint64_t journal_pos; /* stream position of the first group that is not in here */
	uint64_t journal_seq; /* and its seq */
	uint32_t worker;
	uint32_t workers;  /* how many the broker had: decides which worker a log belongs to */
	uint32_t next_log; /* smallest number that no log has had */
	uint32_t count;	   /* of logs */
	uint32_t flags;
	uint32_t reserved; /* 0 */
};
_Static_assert(sizeof(struct fmt_ckpt) == 104, "on disk");
#define CKPT_CLEAN 1u /* written by a clean stop: there is nothing behind journal_pos */

#define CKPT_LOG_DAMAGED 1u /* a part of it is known to be corrupt; see quarantine in FORMAT.md */
#define CKPT_LOG_FILES 2u   /* its directory exists (a page of it has been filled) */

struct fmt_ckpt_log {
	struct uuid topic_id;
	int32_t partition;
	uint32_t log; /* number */
	uint32_t flags;
	uint16_t topic_length;
	uint16_t epoch_count;
	uint32_t block_count;
	uint32_t first_block; /* number of blocks[0]: a multiple of BIDX_PER_PAGE */
	int64_t log_start_offset;
	int64_t segment; /* base offset of the active segment */
	int64_t end_offset;
	uint64_t end_pos;
	uint64_t fill_pos;  /* align_down(end_pos, FMT_PAGE): bytes below are in the segment file */
	int64_t created_ms; /* wall clock of the segment's first append */
	int64_t max_timestamp;	     /* of the active segment; -1: none */
	int64_t older_max_timestamp; /* of all sealed segments; -1: none */
	uint64_t file_size;	     /* of the active segment, allocated */
};
_Static_assert(sizeof(struct fmt_ckpt_log) == 112, "on disk");

struct fmt_ckpt_epoch {
	int32_t epoch;
	uint32_t reserved; /* 0 */
	int64_t start_offset;
};
_Static_assert(sizeof(struct fmt_ckpt_epoch) == 16, "on disk");

/* Size of a record, its padding included. */
uint64_t ckpt_log_size(const struct fmt_ckpt_log *l);

struct ckpt_view {
	const struct fmt_ckpt_log *log; /* 8-aligned when the file image is */
	const char *topic;
	const struct fmt_ckpt_epoch *epochs;
	const struct fmt_block *blocks;
	const uint8_t *tail;
};
/* Head and every record: lengths, alignment of fill_pos, order of offsets, tail below a page. */
enum fmt_verdict fmt_ckpt_check(const void *p, uint64_t length);
/* Walks the records of a checked file. *at: 0 at first. False at the end. */
bool ckpt_next(const void *p, uint64_t *at, struct ckpt_view *out);
/* Writes a record at dst (ckpt_log_size bytes, 8-aligned); tail may be NULL when it is empty or
 * when the caller fills it: returns where it goes. */
uint8_t *ckpt_put(void *dst, const struct fmt_ckpt_log *l, const char *topic,
	const struct fmt_ckpt_epoch *epochs, const struct fmt_block *blocks, const uint8_t *tail);

/* "checkpoint-<worker>.a" or ".b" (slot 0, 1) */
void fmt_ckpt_name(char out[FMT_NAME_SIZE], uint32_t worker, uint32_t slot);
bool fmt_ckpt_name_parse(const char *name, uint32_t *worker, uint32_t *slot);

#endif
