/* SPDX-License-Identifier: Apache-2.0 */
#include "base/tape.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/metric.h"

#define TAPE_LEAST (64u << 10)

/*
 * Running counts of bytes: the writer moves `head`, the reader `tail`, and head - tail bytes are on
 * the tape. A record is its struct and its bytes, over the end of the memory where that is.
 */
struct tape {
	uint64_t head __attribute__((aligned(64)));
	metric_t lost;
	uint64_t tail __attribute__((aligned(64)));
	uint32_t mask;
	uint8_t *mem;
};

struct tape *tape_create(uint32_t bytes)
{
	CHECK(bytes >= TAPE_LEAST && (bytes & (bytes - 1)) == 0);
	struct tape *t = aligned_alloc(64, align_up(sizeof(*t), (size_t)64));
	if (!t)
		return NULL;
	*t = (struct tape){.mask = bytes - 1, .mem = malloc(bytes)};
	if (!t->mem) {
		free(t);
		return NULL;
	}
	return t;
}

void tape_destroy(struct tape *t)
{
	if (t)
		free(t->mem);
	free(t);
}

static void copy_in(struct tape *t, uint64_t at, const void *p, uint32_t n)
{
	uint32_t from = (uint32_t)at & t->mask, first = min_of(n, t->mask + 1 - from);
	memcpy(t->mem + from, p, first);
	memcpy(t->mem, (const uint8_t *)p + first, n - first);
}

static void copy_out(const struct tape *t, uint64_t at, void *p, uint32_t n)
{
	uint32_t from = (uint32_t)at & t->mask, first = min_of(n, t->mask + 1 - from);
	memcpy(p, t->mem + from, first);
	memcpy((uint8_t *)p + first, t->mem, n - first);
}

bool tape_put(struct tape *t, const struct tape_record *r, const uint8_t *p)
{
	CHECK(r->kept <= TAPE_RECORD_MAX);
	uint64_t tail = __atomic_load_n(&t->tail, __ATOMIC_ACQUIRE), head = t->head;
	uint32_t need = (uint32_t)sizeof(*r) + r->kept;
	if (need > t->mask + 1 - (head - tail)) {
		metric_add(&t->lost, 1);
		return false;
	}
	copy_in(t, head, r, sizeof(*r));
	copy_in(t, head + sizeof(*r), p, r->kept);
	__atomic_store_n(&t->head, head + need, __ATOMIC_RELEASE);
	return true;
}

bool tape_peek(const struct tape *t, struct tape_record *r)
{
	if (__atomic_load_n(&t->head, __ATOMIC_ACQUIRE) == t->tail)
		return false;
	copy_out(t, t->tail, r, sizeof(*r));
	return true;
}

void tape_take(struct tape *t, uint8_t *p)
{
	struct tape_record r;
	CHECK(tape_peek(t, &r));
	copy_out(t, t->tail + sizeof(r), p, r.kept);
	__atomic_store_n(&t->tail, t->tail + sizeof(r) + r.kept, __ATOMIC_RELEASE);
}

uint64_t tape_lost(const struct tape *t)
{
	return metric_get(&t->lost);
}
