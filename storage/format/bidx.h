/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_STORAGE_FORMAT_BIDX_H
#define MR_STORAGE_FORMAT_BIDX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/uuid.h"
#include "storage/format/format.h"

/*
 * The block index of a segment: `<base offset>.index`. One entry for each block of 16 KiB of the
 * segment: where batches begin in it, their times, and a checksum that ties the block's bytes to
 * their place (DESIGN D5: a stale or misdirected block has valid batch CRCs). Offset index, time
 * index and checksums in one. Pure.
 *
 * The file is a row of pages; page k holds the entries of the blocks [k * BIDX_PER_PAGE, ...). A
 * page is written once, when all its blocks are whole and in the segment; the last page when the
 * segment is sealed. Until then its entries stand in the lane's checkpoint.
 */
#define BIDX_BLOCK 16384u
#define BIDX_PER_PAGE 168u
#define BIDX_MAGIC 0x58444942u /* "BIDX" */

struct fmt_block {
	int64_t first_offset;  /* base offset of the first batch that begins in the block; when none
				  does: of the batch that fills it */
	int64_t max_timestamp; /* largest of the batches that begin in it; -1: none, or no
				  timestamps */
	uint32_t sum;	       /* bidx_sum of its bytes */
	uint16_t first_pos;    /* where that first batch begins; BIDX_NO_BATCH: none does */
	uint16_t reserved;     /* 0 */
};
_Static_assert(sizeof(struct fmt_block) == 24, "on disk");
#define BIDX_NO_BATCH 0xffffu

struct fmt_bidx_page {
	uint32_t magic;
	uint32_t crc;	/* CRC-32C of the page, with this field taken as 0, begun with bidx_seed */
	uint32_t page;	/* k */
	uint32_t count; /* entries: BIDX_PER_PAGE, fewer only in the last page */
	/* in the last page (BIDX_SEALED) what there is to know of the segment; else 0 */
	uint32_t flags;
	int32_t leader_epoch; /* of its last batch */
	int64_t end_offset;
	uint64_t end_pos;
	int64_t created_ms;
	int64_t max_timestamp;
	int64_t delete_horizon_ms; /* of a compacted segment: the first time at which one of its
				      tombstones may go (KIP-534); 0: it has none */
	struct fmt_block blocks[BIDX_PER_PAGE];
};
_Static_assert(sizeof(struct fmt_bidx_page) == FMT_PAGE, "on disk");
#define BIDX_SEALED 1u	  /* this page is the last one, of a sealed segment */
#define BIDX_COMPACTED 2u /* with SEALED: offsets have gaps */
#define BIDX_DIRTY 4u	  /* with COMPACTED: but not all of it has been compacted yet */

/* What a checksum begins with: ties bytes to a log and a segment. */
uint32_t bidx_seed(const struct uuid *topic_id, int32_t partition, int64_t segment);
/* Begins the sum of block number `block`; go on with crc32c over the block's bytes. The last block
 * of a sealed segment is summed up to its end, without the zeros behind. */
uint32_t bidx_sum_begin(uint32_t seed, uint64_t block);
/* Fills in magic and crc. */
void bidx_seal(struct fmt_bidx_page *p, uint32_t seed);
/* Whether p is page k of the index with this seed: magic, CRC, number, count, and the rules of its
 * entries (offsets do not descend, first_pos is inside the block). */
bool bidx_check(const struct fmt_bidx_page *p, uint32_t seed, uint32_t k);
/* The last of `count` entries in which a batch with base offset <= offset begins; -1: none. */
int64_t bidx_find(const struct fmt_block *blocks, uint32_t count, int64_t offset);

#endif
