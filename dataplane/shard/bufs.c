/* SPDX-License-Identifier: Apache-2.0 */
#include "shard/bufs.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

void bufs_init(struct bufs *b, size_t budget)
{
	*b = (struct bufs){.budget = budget};
}

void bufs_fini(struct bufs *b)
{
	for (unsigned c = 0; c < BUFS_CLASSES; c++) {
		while (b->free[c]) {
			void *p = b->free[c];
			memcpy(&b->free[c], p, sizeof(void *));
			free(p);
		}
	}
	b->cached = 0;
}

static unsigned bufs_class(size_t size)
{
	unsigned c = 0;
	while (c < BUFS_CLASSES && ((size_t)BUFS_MIN << c) < size)
		c++;
	return c;
}

/* Frees cached buffers, largest first, until `need` more bytes fit into the budget. */
static void bufs_trim(struct bufs *b, size_t need)
{
	for (unsigned c = BUFS_CLASSES; c-- > 0 && b->used + b->cached + need > b->budget;) {
		while (b->free[c] && b->used + b->cached + need > b->budget) {
			void *p = b->free[c];
			memcpy(&b->free[c], p, sizeof(void *));
			b->cached -= (size_t)BUFS_MIN << c;
			free(p);
		}
	}
}

static uint8_t *bufs_take(struct bufs *b, unsigned c, uint32_t *cap)
{
	size_t n = (size_t)BUFS_MIN << c;
	uint8_t *p = b->free[c];
	if (p) {
		memcpy(&b->free[c], p, sizeof(void *));
		b->cached -= n;
	} else {
		bufs_trim(b, n);
		p = malloc(n);
		if (!p)
			return NULL;
	}
	b->used += n;
	*cap = (uint32_t)n;
	return p;
}

uint8_t *bufs_get(struct bufs *b, size_t size, uint32_t *cap)
{
	unsigned c = bufs_class(size);
	if (c == BUFS_CLASSES || b->used + ((size_t)BUFS_MIN << c) > b->budget)
		return NULL;
	return bufs_take(b, c, cap);
}

uint8_t *bufs_get_over(struct bufs *b, size_t size, uint32_t *cap)
{
	unsigned c = bufs_class(size);
	CHECK(c < BUFS_CLASSES);
	uint8_t *p = bufs_take(b, c, cap);
	CHECK(p);
	return p;
}

void bufs_put(struct bufs *b, uint8_t *p, uint32_t cap)
{
	if (!p)
		return;
	CHECK(b->used >= cap);
	b->used -= cap;
	unsigned c = bufs_class(cap);
	memcpy(p, &b->free[c], sizeof(void *));
	b->free[c] = p;
	b->cached += cap;
}
