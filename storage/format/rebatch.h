/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_STORAGE_FORMAT_REBATCH_H
#define MR_STORAGE_FORMAT_REBATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Takes records out of a stored batch (magic 2): what compaction does to it. Base offset, last
 * offset, producer fields, leader epoch, codec and the records that stay (offset, timestamp, key,
 * value, headers) are as before. Pure. Source: MemoryRecords.filterTo, KIP-98, KIP-534.
 *
 *	if (rebatch_load(r, p)) {
 *		while (rebatch_next(r, &rec))
 *			if (it stays)
 *				rebatch_keep(r, &rec);
 *		verdict = rebatch_finish(r, horizon_ms, &out, &len);
 *	}
 */

#define REBATCH_HEAD 61u /* bytes of a batch before its records, and of a batch without any */

/* What the head of a batch says. */
struct rebatch_head {
	uint32_t size; /* bytes, head included */
	int32_t count;
	int64_t base_offset;
	int64_t last_offset;
	int64_t max_timestamp;
	int64_t producer_id;	   /* -1: none */
	int64_t delete_horizon_ms; /* -1: none set */
	int32_t leader_epoch;
	bool special; /* a control batch, or of a transaction */
};

/*
 * Decodes the REBATCH_HEAD bytes at p; `room`: bytes from p to the end of the segment. False when
 * that is no batch of magic 2 that fits, or when its offsets and its count cannot be right.
 */
bool rebatch_head(const uint8_t *p, uint64_t room, struct rebatch_head *out);
/* Whether the CRC of the whole batch at p is right. */
bool rebatch_crc_ok(const uint8_t *p);

struct rebatch_record {
	int64_t offset;
	int64_t timestamp; /* ms */
	const uint8_t *key;
	int32_t key_len;	    /* -1: null */
	bool tombstone;		    /* its value is null */
	const uint8_t *begin, *end; /* its bytes */
};

/* Memory for re-encoding; one per thread. */
struct rebatch;

/*
 * Borrows `size` bytes at mem. A third of it bounds what a batch and its records may be in size, so
 * reserve much address space; little of it is touched. Gives it to the caller; NULL: out of memory.
 */
struct rebatch *rebatch_create(uint8_t *mem, size_t size);
void rebatch_destroy(struct rebatch *r);

/*
 * Begins with the batch at p (whole, its CRC right), which stays the caller's and unchanged until
 * the next load. False, and nothing can be said about its records: compressed bytes that cannot be
 * read or are too large, or not the records that its head promises. No CRC shows that; the producer
 * made it so.
 */
bool rebatch_load(struct rebatch *r, const uint8_t *p);
/* Bytes of the records, decompressed: what the work is measured in. */
uint32_t rebatch_loaded(const struct rebatch *r);
/* The next record; its key is borrowed until rebatch_finish. False at the end. */
bool rebatch_next(struct rebatch *r, struct rebatch_record *out);
/* This record stays. In the order in which they were taken, but that may be some records ago. */
void rebatch_keep(struct rebatch *r, const struct rebatch_record *rec);

enum rebatch_verdict {
	REBATCH_SAME,	 /* every record stays and no horizon is set: the batch stays as it is */
	REBATCH_CHANGED, /* *out, *len: the new batch, r's memory until the next load */
	REBATCH_EMPTY,	 /* no record stays */
	REBATCH_FAILED,	 /* the new batch does not fit in memory: the old one stays as it is */
};
/*
 * Ends it. horizon_ms >= 0 sets the delete horizon: attribute bit 6, the base timestamp becomes the
 * horizon, and the records' deltas are taken from there (KIP-534). -1 leaves it as it is. The max
 * timestamp becomes that of the records that stay (LogAppendTime: stays). Records that were not
 * looked at are dropped.
 */
enum rebatch_verdict rebatch_finish(
	struct rebatch *r, int64_t horizon_ms, const uint8_t **out, uint32_t *len);

/*
 * The batch at p without records and without a codec: what remains for the sake of its offsets and
 * its producer's sequence (DefaultRecordBatch.writeEmptyHeader).
 */
void rebatch_empty(const uint8_t *p, uint8_t out[REBATCH_HEAD]);

#endif
