/* SPDX-License-Identifier: Apache-2.0 */
#include "base/lblock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int lblock_pool_init(struct lblock_pool *p, uint8_t *mem, size_t size)
{
	CHECK((uintptr_t)mem % 4096 == 0 && size % LBLOCK_SIZE == 0);
	p->count = (uint32_t)(size / LBLOCK_SIZE);
	p->blocks = calloc(p->count ? p->count : 1, sizeof(*p->blocks));
	if (!p->blocks)
		return -ENOMEM;
	p->free = NULL;
	p->free_count = p->count;
	for (uint32_t i = p->count; i-- > 0;) { /* lowest address first: runs stay adjacent */
		struct lblock *b = &p->blocks[i];
		b->data = mem + (size_t)i * LBLOCK_SIZE;
		b->index = i;
		b->next = p->free;
		list_init(&b->cache_node);
		p->free = b;
	}
	return 0;
}

void lblock_pool_fini(struct lblock_pool *p)
{
	free(p->blocks);
	*p = (struct lblock_pool){0};
}

struct lblock *lblock_get(struct lblock_pool *p)
{
	struct lblock *b = p->free;
	if (!b)
		return NULL;
	CHECK(b->refs == 0);
	p->free = b->next;
	p->free_count--;
	b->next = NULL;
	b->refs = 1;
	b->first_batch = LBLOCK_NO_BATCH;
	b->first_offset = -1;
	b->owner = NULL;
	return b;
}

struct lblock *lblock_get_chain(struct lblock_pool *p, uint32_t n)
{
	if (n == 0 || p->free_count < n)
		return NULL;
	struct lblock *head = lblock_get(p);
	struct lblock *tail = head;
	for (uint32_t i = 1; i < n; i++) {
		tail->next = lblock_get(p);
		tail = tail->next;
	}
	return head;
}

void lblock_unref(struct lblock_pool *p, struct lblock *b)
{
	CHECK(b->refs > 0 && b == &p->blocks[b->index]);
	if (--b->refs > 0)
		return;
	CHECK(!list_linked(&b->cache_node));
	b->next = p->free;
	p->free = b;
	p->free_count++;
}

void lspan_ref(struct lspan s)
{
	struct lblock *b = s.first;
	for (uint32_t n = lspan_blocks(s); n > 0; n--, b = n ? b->next : NULL)
		lblock_ref(b);
}

void lspan_unref(struct lblock_pool *p, struct lspan s)
{
	struct lblock *b = s.first;
	for (uint32_t n = lspan_blocks(s); n > 0; n--) {
		struct lblock *next = n > 1 ? b->next : NULL; /* before unref may relink it */
		lblock_unref(p, b);
		b = next;
	}
}

struct lspan lspan_skip(struct lspan s, uint32_t n)
{
	CHECK(n <= s.len);
	s.len -= n;
	s.off += n;
	while (s.off >= LBLOCK_SIZE && s.len > 0) {
		s.first = s.first->next;
		s.off -= LBLOCK_SIZE;
	}
	return s;
}

void lspan_copy(struct lspan s, uint32_t at, void *dst, uint32_t n)
{
	CHECK(at <= s.len && n <= s.len - at);
	s = lspan_skip(s, at);
	uint8_t *out = dst;
	while (n > 0) {
		uint32_t run = min_of(n, LBLOCK_SIZE - s.off);
		memcpy(out, s.first->data + s.off, run);
		out += run;
		n -= run;
		s.off = 0;
		s.first = n ? s.first->next : NULL;
	}
}
