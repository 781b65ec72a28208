/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_BASE_LBLOCK_H
#define MR_BASE_LBLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"

/*
 * Log blocks: the one memory for NIC, log and disk (DESIGN D6). The broker has one region of
 * them, registered with io_uring and, on the dpdk transport, taken from the DPDK heap; each shard
 * has a pool over its share. A block is the image of LBLOCK_SIZE bytes of a segment file, at the
 * same alignment, so that whole pages go to disk and to the wire from here without a copy.
 *
 * A block belongs to one shard. `refs` is a plain count: only the owning shard's thread touches it.
 * Others (the storage worker, a session on another shard) hold a block only while they hold a
 * message on whose behalf the owner has taken a reference.
 */
#define LBLOCK_SIZE 16384u
#define LBLOCK_NO_BATCH UINT32_MAX

struct lblock {
	uint8_t *data;	     /* LBLOCK_SIZE bytes, 4096-aligned */
	struct lblock *next; /* following block of the same segment, or free list */
	uint32_t refs;
	uint32_t index;		/* position in the pool */
	uint64_t file_pos;	/* of data[0] in the segment; a multiple of LBLOCK_SIZE */
	int64_t segment;	/* base offset of the segment */
	uint32_t first_batch;	/* offset in data of the first batch that begins here, or
				   LBLOCK_NO_BATCH */
	int64_t first_offset;	/* its base offset */
	struct list cache_node; /* owner's use: order of eviction */
	void *owner;		/* owner's use: the partition */
	/* owner's use: its index over its blocks (partition/cache.c) */
	uint32_t used; /* bytes of the segment in data, from its beginning */
	struct lblock *prev, *jump;
	uint64_t seq, jump_seq;
};

struct lblock_pool {
	struct lblock *blocks;
	struct lblock *free;
	uint32_t count;
	uint32_t free_count;
};

/*
 * A pool over `size` bytes of borrowed memory at `mem` (4096-aligned; a multiple of LBLOCK_SIZE).
 * 0, or -ENOMEM for the block table.
 */
int lblock_pool_init(struct lblock_pool *p, uint8_t *mem, size_t size);
/* Frees the table. */
void lblock_pool_fini(struct lblock_pool *p);
/* A block with one reference, next = NULL, contents undefined; NULL when the pool is used up. */
struct lblock *lblock_get(struct lblock_pool *p);
/* A chain of n blocks linked by next, each with one reference; NULL (and none taken) when short. */
struct lblock *lblock_get_chain(struct lblock_pool *p, uint32_t n);
static inline void lblock_ref(struct lblock *b)
{
	b->refs++;
}
/* Drops a reference; the last one returns the block to its pool. */
void lblock_unref(struct lblock_pool *p, struct lblock *b);

/* `len` bytes that begin at `off` in `first` and go on along `next`. A value: it holds no
 * references. */
struct lspan {
	struct lblock *first;
	uint32_t off;
	uint32_t len;
};

/* Blocks that the span touches; 0 for an empty one. */
static inline uint32_t lspan_blocks(struct lspan s)
{
	return s.len ? (s.off + s.len + LBLOCK_SIZE - 1) / LBLOCK_SIZE : 0;
}
/* One more reference on each block of the span. */
void lspan_ref(struct lspan s);
/* Drops one reference on each block of the span. */
void lspan_unref(struct lblock_pool *p, struct lspan s);
/* Copies n bytes at `at` (from the span's start) out to dst. The bytes must be in the span. */
void lspan_copy(struct lspan s, uint32_t at, void *dst, uint32_t n);
/* The span without its first n bytes (n <= len). */
struct lspan lspan_skip(struct lspan s, uint32_t n);

#endif
