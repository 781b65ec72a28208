/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of files, in pages that are shared until they change. */
#include "sim_disk_int.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

static struct sd_page *page_new(struct sim_disk *d)
{
	struct sd_page *p = d->pool->free;
	if (p)
		d->pool->free = p->next;
	else
		p = malloc(sizeof(*p));
	CHECK(p);
	p->refs = 1;
	p->hash = 0;
	return p;
}

static void page_unref(struct sim_disk *d, struct sd_page *p)
{
	if (!p || --p->refs > 0)
		return;
	p->next = d->pool->free;
	d->pool->free = p;
}

/* The page, to be changed. whole: all of it will be. */
static uint8_t *page_own(struct sim_disk *d, struct sd_page **at, bool whole)
{
	struct sd_page *old = *at;
	if (old && old->refs == 1) {
		old->hash = 0;
		return old->data;
	}
	struct sd_page *p = page_new(d);
	if (old && !whole)
		memcpy(p->data, old->data, SD_PAGE);
	else if (!whole)
		memset(p->data, 0, SD_PAGE);
	page_unref(d, old);
	*at = p;
	return p->data;
}

static uint64_t pages_of(uint64_t size)
{
	return (size + SD_PAGE - 1) / SD_PAGE;
}

static void reserve(struct bytes *b, uint64_t pages)
{
	if (pages <= b->capacity)
		return;
	uint64_t capacity = max_of(pages, (uint64_t)b->capacity * 2);
	b->pages = realloc(b->pages, capacity * sizeof(*b->pages));
	CHECK(b->pages);
	memset(b->pages + b->capacity, 0, (capacity - b->capacity) * sizeof(*b->pages));
	b->capacity = (uint32_t)capacity;
}

void sd_bytes_read(const struct bytes *b, uint64_t off, void *to, uint64_t len)
{
	uint8_t *out = to;
	while (len > 0) {
		uint64_t in = off % SD_PAGE, run = min_of(len, SD_PAGE - in);
		const struct sd_page *p = off < b->size ? b->pages[off / SD_PAGE] : NULL;
		if (p)
			memcpy(out, p->data + in, run);
		else
			memset(out, 0, run);
		out += run;
		off += run;
		len -= run;
	}
}

void sd_bytes_write(struct sim_disk *d, struct bytes *b, uint64_t off, const void *p, uint64_t len)
{
	const uint8_t *from = p;
	len = off < b->size ? min_of(len, b->size - off) : 0;
	while (len > 0) {
		uint64_t in = off % SD_PAGE, run = min_of(len, SD_PAGE - in);
		memcpy(page_own(d, &b->pages[off / SD_PAGE], run == SD_PAGE) + in, from, run);
		from += run;
		off += run;
		len -= run;
	}
}

/* Bytes beyond the size are always zero. */
void sd_bytes_resize(struct sim_disk *d, struct bytes *b, uint64_t size)
{
	uint64_t pages = pages_of(size);
	reserve(b, pages);
	for (uint64_t i = pages; i < pages_of(b->size); i++) {
		page_unref(d, b->pages[i]);
		b->pages[i] = NULL;
	}
	if (size < b->size && size % SD_PAGE && b->pages[pages - 1])
		memset(page_own(d, &b->pages[pages - 1], false) + size % SD_PAGE, 0,
			SD_PAGE - size % SD_PAGE);
	b->size = size;
}

void sd_bytes_share(struct sim_disk *d, struct bytes *to, const struct bytes *from)
{
	sd_bytes_resize(d, to, 0);
	reserve(to, pages_of(from->size));
	to->size = from->size;
	for (uint64_t i = 0; i < pages_of(from->size); i++) {
		to->pages[i] = from->pages[i];
		if (to->pages[i])
			to->pages[i]->refs++;
	}
}

static uint64_t mix(uint64_t h, uint64_t x)
{
	h = (h ^ x) * 0x9e3779b97f4a7c15ull;
	return h ^ (h >> 32);
}

static uint64_t page_hash(struct sd_page *p)
{
	if (p->hash)
		return p->hash;
	uint64_t h[4] = {1, 2, 3, 4}, any = 0, x;
	for (uint32_t i = 0; i < SD_PAGE; i += 8) {
		memcpy(&x, p->data + i, 8);
		any |= x;
		h[i / 8 % 4] = mix(h[i / 8 % 4], x);
	}
	p->hash = any ? mix(mix(h[0], h[1]), mix(h[2], h[3])) | 2 : 1; /* 1: all zeros */
	return p->hash;
}

uint64_t sd_bytes_hash(const struct bytes *b)
{
	uint64_t h = b->size;
	for (uint64_t i = 0; i < pages_of(b->size); i++)
		h = mix(h, b->pages[i] ? page_hash(b->pages[i]) : 1);
	return h;
}
