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
 * A block that is durable is on the env's list `held` until the storage has released it, then on
 * `cached`, from where it is evicted (room.c). Along the run come those that are released, then
 * those that are held, then those that are not durable.
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
	part_cache_open(p, b);
	b->owner = NULL;
	if (p->tail == b)
		p->tail = NULL;
	lblock_unref(p->env->blocks, b);
}

/* Takes the last block off. */
static void take_last(struct part *p)
{
	struct lblock *b = p->last;
	p->next_seq = b->seq;
	p->last = b == p->first ? NULL : b->prev;
	if (!p->last)
		p->first = NULL;
	drop(p, b);
}

void part_cache_pop(struct part *p)
{
	struct lblock *b = p->last, *before = b == p->first ? NULL : b->prev;
	if (before && before->next == b)
		before->next = NULL;
	take_last(p);
}

/* Links stay: a fetch that is still on its way out holds its blocks, and goes from one to the next.
 */
void part_cache_clear(struct part *p)
{
	while (p->last)
		take_last(p);
}

struct lblock *part_cache_after(const struct part *p, const struct lblock *b)
{
	if (b->next)
		return b->next;
	struct lblock *n = p->last;
	while (n->seq != b->seq + 1)
		n = n->jump_seq > b->seq ? n->jump : n->prev;
	return n;
}

void part_cache_drop_first(struct part *p)
{
	struct lblock *b = p->first;
	if (b == p->last) {
		p->first = p->last = NULL;
	} else {
		p->first = part_cache_after(p, b);
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

void part_cache_durable(struct part *p, struct lblock *b)
{
	struct part_env *env = p->env;
	if (list_linked(&b->cache_node) || !part_block_is_durable(p, b))
		return;
	if (part_block_is_released(p, b)) {
		list_push_back(&env->cached, &b->cache_node);
		env->cached_blocks++;
		return;
	}
	list_push_back(&env->held, &b->cache_node);
	env->held_blocks++;
	if (!p->held) {
		p->held = b;
		part_holder_update(p);
	}
}

void part_cache_open(struct part *p, struct lblock *b)
{
	struct part_env *env = p->env;
	if (!list_linked(&b->cache_node))
		return;
	list_remove(&b->cache_node);
	if (!p->held || b->seq < p->held->seq) {
		env->cached_blocks--;
		return;
	}
	env->held_blocks--;
	if (p->held == b) {
		p->held = NULL; /* only the last block is opened, or taken off from behind */
		part_holder_update(p);
	}
}
