/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_SHARD_BUFS_H
#define MR_SHARD_BUFS_H

#include <stddef.h>
#include <stdint.h>

/*
 * Request memory of one shard: frames that span receive buffers, frames that must outlive the call
 * that received them, large responses. Size classes (powers of two from 4 KiB) with free lists, so
 * that a steady load allocates nothing; everything handed out counts against one budget
 * (memory.request.bytes / shards), so that no set of clients can grow the process without bound.
 */
#define BUFS_CLASSES 16
#define BUFS_MIN 4096u

struct bufs {
	size_t budget;
	size_t used;   /* handed out */
	size_t cached; /* on the free lists */
	void *free[BUFS_CLASSES];
};

void bufs_init(struct bufs *b, size_t budget);
/* Frees what is cached; what is handed out must have come back. */
void bufs_fini(struct bufs *b);
/* At least `size` bytes; *cap says how many. NULL when the budget or the heap is used up. */
uint8_t *bufs_get(struct bufs *b, size_t size, uint32_t *cap);
/* The same beyond the budget, for what is bounded otherwise; never NULL. */
uint8_t *bufs_get_over(struct bufs *b, size_t size, uint32_t *cap);
/* Gives back p of this capacity (NULL is harmless). */
void bufs_put(struct bufs *b, uint8_t *p, uint32_t cap);

#endif
