/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_BASE_ARENA_H
#define MR_BASE_ARENA_H

#include <stddef.h>
#include <stdint.h>

#include "base/check.h"

/*
 * Bump allocator over borrowed memory, for what a decoded request needs while it is handled. There
 * is no free: arena_reset drops everything. Running out is an ordinary answer (NULL), because the
 * size asked for may come from a peer.
 */
struct arena {
	uint8_t *base;
	size_t size;
	size_t used;
};

static inline void arena_init(struct arena *a, void *mem, size_t size)
{
	*a = (struct arena){.base = (uint8_t *)mem, .size = size, .used = 0};
}
static inline void arena_reset(struct arena *a)
{
	a->used = 0;
}
/* n zero-filled bytes, 16-byte aligned, or NULL when the arena is used up. */
static inline void *arena_alloc(struct arena *a, size_t n)
{
	size_t at = align_up(a->used, 16);
	if (at > a->size || n > a->size - at)
		return NULL;
	a->used = at + n;
	return __builtin_memset(a->base + at, 0, n);
}
/* An array of count elements; NULL when it does not fit or count * size overflows. */
static inline void *arena_array(struct arena *a, size_t count, size_t size)
{
	size_t n;
	if (__builtin_mul_overflow(count, size, &n))
		return NULL;
	return arena_alloc(a, n);
}

#endif
