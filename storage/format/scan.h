/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_STORAGE_FORMAT_SCAN_H
#define MR_STORAGE_FORMAT_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Walks the record batches of a segment as recovery does. Pure; fed with the segment's bytes in
 * order, in pieces of any size.
 *
 * The bytes at position P are the log's next batch if and only if
 *   1. its base offset is the expected one (offsets are dense; Kafka's CRC does not cover this
 * field),
 *   2. magic is 2,
 *   3. the length field is at least 49 and the batch ends within the file,
 *   4. lastOffsetDelta >= 0, and the last offset is below 2^63 - 1,
 *   5. the CRC-32C over attributes..end is right.
 * The log ends at the first P where that does not hold.
 */
#define SCAN_BATCH_HEAD 61u /* bytes of a batch before its first record */
#define SCAN_CRC_FROM 21u   /* the batch's CRC covers from here to its end */

enum scan_stop {
	SCAN_STOP_NONE,	  /* still going */
	SCAN_STOP_EOF,	  /* the file ends here, or fewer bytes are left than a batch's head */
	SCAN_STOP_ZERO,	  /* nothing was ever written here: a head of zeros */
	SCAN_STOP_OFFSET, /* rule 1 */
	SCAN_STOP_MAGIC,  /* rule 2 */
	SCAN_STOP_LENGTH, /* rule 3 */
	SCAN_STOP_DELTA,  /* rule 4 */
	SCAN_STOP_CRC,	  /* rule 5 */
};

struct scan_batch {
	uint64_t pos;  /* in the segment */
	uint32_t size; /* bytes, head included */
	int64_t base_offset;
	int64_t last_offset;
	int64_t max_timestamp;
	int32_t leader_epoch;
	uint32_t crc; /* the stored one */
};

struct scan {
	uint64_t pos;	     /* end of the last valid batch */
	int64_t next_offset; /* after it */
	uint64_t file_size;
	enum scan_stop stop;
	/* the batch being read */
	uint8_t head[SCAN_BATCH_HEAD];
	uint32_t have; /* bytes of it so far */
	uint32_t crc;  /* over what has been seen */
	struct scan_batch batch;
};

/* A scan that begins at position pos, where the batch with base offset next_offset is expected. */
void scan_init(struct scan *s, uint64_t pos, int64_t next_offset, uint64_t file_size);
/*
 * Takes bytes from *p (at most *n; both are moved on). SCAN_BATCH: a valid batch has ended,
 * s->batch describes it. SCAN_MORE: all bytes are used, more are needed. SCAN_STOPPED: s->stop says
 * why; s->pos is the end of the log.
 */
enum scan_step { SCAN_BATCH, SCAN_MORE, SCAN_STOPPED };
enum scan_step scan_feed(struct scan *s, const uint8_t **p, size_t *n);
/* There are no more bytes. */
void scan_end(struct scan *s);
const char *scan_stop_name(enum scan_stop stop);

/* Checks rules 1 to 4 of a whole head (SCAN_BATCH_HEAD bytes; room: bytes from it to the end of
 * file) and decodes it. SCAN_STOP_NONE when they hold. */
enum scan_stop scan_head(
	const uint8_t *head, uint64_t room, int64_t expected, struct scan_batch *out);

#endif
