/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The blocks of a partition's end that are in memory: those that were appended lately, durable or
 * not. They form one run without gaps, from `first` (oldest) to `last`; blocks leave it at the
 * front by eviction and at the back when an append is taken back.
 *
 * `seq` numbers the blocks. `next` links those of one segment, for spans. `prev` and `jump` link
 * back, for the search by offset: jump leads to the block whose number is the skew-binary
 * predecessor (Myers, "An applicative random-access stack"), so that a search takes O(log n) steps
 * however deep the cache is. A jump or prev below first_seq leads to a block that is gone; it is
 * never followed.
 *
 * The key of a block is first_offset: the base offset of the first batch that begins in it, or,
 * when none does, of the batch that fills it. Keys never decrease along the run.
 *
 * Chains never change under a span that is in use: `next` of a block is set once, to the block
 * after it, and is set again only when that block was taken back without ever having been visible,
 * or was evicted, and then all blocks before it had been evicted earlier.
 */
#include "partition/part_int.h"

/* The skew-binary predecessor of n > 0: n without the smallest of its parts 2^k - 1. */
static uint64_t jump_seq_of(uint64_t n)
{
	uint64_t rest = n;
	uint64_t part = 1;
	while (rest > 0) {
		part = ~0ull >> (__builtin_clzll(rest)); /* 2^k - 1 >= rest */
		if (part > rest)
			part >>= 1;
		rest -= part;
	}
	return n - part;
}

static bool is_member(const struct part *p, uint64_t seq)
{
	return p->last && seq >= p->first_seq && seq <= p->last->seq;
}

void part_cache_push(struct part *p, struct lblock *b)
{
	struct lblock *prev = p->last;
	CHECK(b->refs >= 1 && !list_linked(&b->cache_node));
	b->owner = p;
	b->next = NULL;
	b->prev = prev;
	b->jump = NULL;
	b->seq = p->next_seq++;
	b->jump_seq = jump_seq_of(b->seq);
	p->last = b;
	if (!prev) {
		p->first = b;
		p->first_seq = b->seq;
		return;
	}
	CHECK(prev->first_offset <= b->first_offset);
	if (prev->segment == b->segment) {
		CHECK(prev->file_pos + LBLOCK_SIZE == b->file_pos && !prev->next);
		prev->next = b;
	}
	if (b->jump_seq >= p->first_seq) {
		struct lblock *j = prev;
		while (j->seq != b->jump_seq)
			j = j->jump_seq >= b->jump_seq ? j->jump : j->prev;
		b->jump = j;
	}
}

static void drop(struct part *p, struct lblock *b)
{
	part_cache_forbid_evict(p, b);
	b->owner = NULL;
	if (p->tail == b)
		p->tail = NULL;
	lblock_unref(p->env->blocks, b);
}

void part_cache_pop(struct part *p)
{
	struct lblock *b = p->last;
	p->next_seq = b->seq;
	if (b == p->first) {
		p->first = p->last = NULL;
	} else {
		p->last = b->prev;
		if (p->last->next == b)
			p->last->next = NULL;
	}
	drop(p, b);
}

void part_cache_clear(struct part *p)
{
	while (p->last)
		part_cache_pop(p);
}

/* The block after b in the run, which `next` gives within a segment only. */
static struct lblock *successor(const struct part *p, const struct lblock *b)
{
	struct lblock *n = p->last;
	while (n->seq != b->seq + 1)
		n = n->jump_seq > b->seq ? n->jump : n->prev;
	return n;
}

static void cache_drop_first(struct part *p)
{
	struct lblock *b = p->first;
	if (b == p->last) {
		p->first = p->last = NULL;
	} else {
		p->first = b->next ? b->next : successor(p, b);
		p->first_seq = p->first->seq;
	}
	drop(p, b);
}

struct lblock *part_cache_find(const struct part *p, int64_t offset)
{
	struct lblock *b = p->last;
	while (b && (b->first_offset > offset || b->first_batch == LBLOCK_NO_BATCH)) {
		if (b->jump && is_member(p, b->jump_seq) && b->jump->first_offset > offset)
			b = b->jump;
		else
			b = b->seq > p->first_seq ? b->prev : NULL;
	}
	return b;
}

bool part_block_is_durable(const struct part *p, const struct lblock *b)
{
	return b->segment < p->durable_segment ||
	       (b->segment == p->durable_segment && b->file_pos + b->used <= p->durable_pos);
}

void part_cache_allow_evict(struct part *p, struct lblock *b)
{
	if (list_linked(&b->cache_node) || !part_block_is_durable(p, b))
		return;
	list_push_back(&p->env->cached, &b->cache_node);
	p->env->cached_blocks++;
}

void part_cache_forbid_evict(struct part *p, struct lblock *b)
{
	if (!list_linked(&b->cache_node))
		return;
	list_remove(&b->cache_node);
	p->env->cached_blocks--;
}

uint32_t part_env_evict(struct part_env *env, uint32_t n)
{
	uint32_t before = env->blocks->free_count;
	while (env->blocks->free_count - before < n && !list_empty(&env->cached)) {
		struct lblock *b = list_entry(list_front(&env->cached), struct lblock, cache_node);
		struct part *p = b->owner;
		CHECK(p && p->first == b && part_block_is_durable(p, b));
		cache_drop_first(p);
	}
	return env->blocks->free_count - before;
}

bool part_env_make_room(struct part_env *env, uint32_t n)
{
	uint32_t free_count = env->blocks->free_count;
	if (free_count >= n)
		return true;
	if (free_count + env->cached_blocks < n)
		return false; /* would cost others their blocks and gain nothing */
	part_env_evict(env, n - free_count);
	return env->blocks->free_count >= n;
}
