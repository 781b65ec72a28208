/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_TESTS_POWER_CUT_CONTENT_H
#define MR_TESTS_POWER_CUT_CONTENT_H

#include <stdbool.h>
#include <stdint.h>

#include "kafka/batch.h"

/*
 * What the logs of the power-cut test hold: seed, partition and offset decide every byte, so that
 * the writer needs to remember nothing and the checker can tell any record from an invented one.
 */
#define CONTENT_KEYS 32u
#define CONTENT_BATCH_MAX (1u << 20)
#define CONTENT_EPOCH 5

/* Every fourth log has keys and is compacted. */
static inline bool content_is_compacted(int32_t partition)
{
	return partition % 4 == 3;
}
/* A few have large batches only, which go straight to their segments, and recycle them. */
static inline bool content_is_heavy(int32_t partition)
{
	return partition % 8 == 1;
}
/* The key of a record in a compacted log: a number below CONTENT_KEYS. */
uint32_t content_key(uint64_t seed, int32_t partition, int64_t offset);
/* How many records the batch has that begins at `base`. */
int32_t content_count(uint64_t seed, int32_t partition, int64_t base);
/* Builds the batch that begins at `base`, in CONTENT_BATCH_MAX bytes at p; its size. */
uint32_t content_batch(uint64_t seed, int32_t partition, int64_t base, uint8_t *p);
/* Whether the record is what belongs at its offset. */
bool content_is_right(uint64_t seed, int32_t partition, const struct batch_record *rec);

#endif
