/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_SHARD_SLAB_H
#define MR_SHARD_SLAB_H

#include <stddef.h>
#include <stdint.h>

#include "base/list.h"

/*
 * Objects of one size, made in slabs when load first asks for them and kept until the end: a steady
 * load allocates nothing, and `max` bounds what a hostile one can take. While an object is free its
 * first bytes are a struct list; they are undefined when it is handed out.
 */
struct slab {
	size_t size;
	uint32_t per_slab;
	uint32_t max;
	uint32_t made;
	uint32_t used;
	struct list free;
	void *slabs; /* each begins with a pointer to the next */
};

void slab_init(struct slab *s, size_t size, uint32_t per_slab, uint32_t max);
/* Frees all slabs, whatever is still handed out. */
void slab_fini(struct slab *s);
/* An object, or NULL at max or when the heap is used up. */
void *slab_get(struct slab *s);
void slab_put(struct slab *s, void *obj);

#endif
