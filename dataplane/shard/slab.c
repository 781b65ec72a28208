/* SPDX-License-Identifier: Apache-2.0 */
#include "shard/slab.h"

#include <stdlib.h>

#define SLAB_HEAD 64 /* keeps objects aligned as the slab is */

void slab_init(struct slab *s, size_t size, uint32_t per_slab, uint32_t max)
{
	CHECK(size >= sizeof(struct list));
	*s = (struct slab){.size = align_up(size, 64), .per_slab = per_slab, .max = max};
	list_init(&s->free);
}

void slab_fini(struct slab *s)
{
	while (s->slabs) {
		void *next = *(void **)s->slabs;
		free(s->slabs);
		s->slabs = next;
	}
	list_init(&s->free);
}

static void slab_grow(struct slab *s)
{
	uint32_t n = min_of(s->per_slab, s->max - s->made);
	char *mem = n ? aligned_alloc(64, SLAB_HEAD + (size_t)n * s->size) : NULL;
	if (!mem)
		return;
	*(void **)mem = s->slabs;
	s->slabs = mem;
	for (uint32_t i = 0; i < n; i++)
		list_push_back(&s->free, (struct list *)(mem + SLAB_HEAD + (size_t)i * s->size));
	s->made += n;
}

void *slab_get(struct slab *s)
{
	if (list_empty(&s->free))
		slab_grow(s);
	struct list *n = list_pop_front(&s->free);
	if (n)
		s->used++;
	return n;
}

void slab_put(struct slab *s, void *obj)
{
	CHECK(s->used > 0);
	s->used--;
	list_push_front(&s->free, obj);
}
