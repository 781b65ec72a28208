/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_STORAGE_FORMAT_RECORD_H
#define MR_STORAGE_FORMAT_RECORD_H

#include <stddef.h>
#include <stdint.h>

/*
 * Looks for records inside a stored batch by timestamp, decompressing it when needed.
 */

/* Memory for decompression; one per thread. */
struct record_scratch;

/* Borrows `size` bytes at buf, which bound what a batch may inflate to. Gives it to the caller;
 * NULL: out of memory. */
struct record_scratch *record_scratch_create(uint8_t *buf, uint32_t size);
void record_scratch_destroy(struct record_scratch *s);

/*
 * In the batch of `len` bytes at p (whole, checked by its CRC), of the records with offset >= from:
 * the first one with a timestamp of at least timestamp_ms, or, when that is -1, the first one with
 * the largest timestamp. 1 and its offset and timestamp; 0: none; -1: the batch cannot be read.
 */
int record_find(const uint8_t *p, uint32_t len, int64_t timestamp_ms, int64_t from,
	struct record_scratch *s, int64_t *offset, int64_t *record_timestamp);

#endif
