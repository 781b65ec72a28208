/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Room for new blocks. What is durable stays until the storage has released it (P8 of storage.h),
 * and after that until room is needed:
 *
 *   placed ──durable──► held ──released──► cached ──evicted──► free
 *
 * When little is cached, those who have held longest are asked for by ST_FILL, a few at a time.
 */
#include "partition/part_int.h"

/* Partitions whose release is asked for at a time. */
#define FILLS_MAX 16u
/* One in so many blocks is to be free or cached, so that appends need not wait for a release. */
#define SPARE_SHARE 8u

bool part_block_is_released(const struct part *p, const struct lblock *b)
{
	return b->segment < p->released.segment ||
	       (b->segment == p->released.segment && b->file_pos + b->used <= p->released.pos);
}

void part_holder_update(struct part *p)
{
	bool is = list_linked(&p->holder);
	bool should = p->held && !p->filling && p->state == PART_LEADER;
	if (should && !is)
		list_push_back(&p->env->holders, &p->holder);
	else if (!should && is)
		list_remove(&p->holder);
}

/* Moves what is held and released now to the cached blocks. */
static void move_released(struct part *p)
{
	struct part_env *env = p->env;
	struct lblock *b = p->held;
	if (!b)
		return;
	while (b && list_linked(&b->cache_node) && part_block_is_released(p, b)) {
		list_remove(&b->cache_node);
		env->held_blocks--;
		list_push_back(&env->cached, &b->cache_node);
		env->cached_blocks++;
		b = b == p->last ? NULL : part_cache_after(p, b);
	}
	if (b == p->held)
		return;
	p->held = b && list_linked(&b->cache_node) ? b : NULL;
	list_remove(&p->holder); /* what it holds now is younger */
	part_holder_update(p);
}

static bool is_before(struct st_pos a, struct st_pos b)
{
	return a.segment < b.segment || (a.segment == b.segment && a.pos < b.pos);
}

void part_released(struct part *p, struct st_pos pos)
{
	struct st_pos durable = {p->durable_segment, p->durable_pos};
	if (is_before(durable, pos))
		pos = durable; /* nobody releases what he does not have */
	if (!is_before(p->released, pos))
		return;
	p->released = pos;
	move_released(p);
}

void part_released_all(struct part *p)
{
	p->released = (struct st_pos){INT64_MAX, UINT64_MAX};
	move_released(p);
}

static void ask_fill(struct part *p, struct part_out *out)
{
	struct st_req *r = part_req_get(p, ST_FILL);
	r->fill.wanted = (struct st_pos){p->durable_segment, p->durable_pos};
	p->filling = true;
	p->env->fills_out++;
	part_holder_update(p);
	part_req_send(p, r, out);
}

void part_fill_stored(struct part *p, struct st_req *r, struct part_out *out)
{
	struct part_env *env = p->env;
	enum st_err err = r->err;
	p->filling = false;
	env->fills_out--;
	env->disk_full = err == ST_E_NOSPACE;
	if (err == ST_OK)
		part_released(p, r->fill.released);
	part_holder_update(p);
	part_req_put(p, r);
	if (err == ST_E_IO || err == ST_E_OFFLINE)
		part_set_offline(p, out);
}

/* Asks for blocks that are held. While the disk is full, one request at a time tells when it is so
 * no longer. */
static void ask_release(struct part_env *env, struct part_out *out)
{
	uint32_t most = env->disk_full ? 1 : FILLS_MAX;
	while (env->fills_out < most && !list_empty(&env->holders) && !list_empty(&env->free_reqs))
		ask_fill(list_entry(env->holders.next, struct part, holder), out);
}

/* Evicts cached blocks until n became free. */
static void evict_cached(struct part_env *env, uint32_t n)
{
	uint32_t before = env->blocks->free_count;
	while (env->blocks->free_count - before < n && !list_empty(&env->cached)) {
		struct lblock *b = list_entry(list_front(&env->cached), struct lblock, cache_node);
		struct part *p = b->owner;
		CHECK(p && p->first == b && part_block_is_released(p, b));
		part_cache_drop_first(p);
	}
}

uint32_t part_env_evict(struct part_env *env, uint32_t n)
{
	uint32_t before = env->blocks->free_count;
	evict_cached(env, n);
	uint32_t got = env->blocks->free_count - before;
	if (got < n)
		part_env_drop_chunks(env, n - got);
	return env->blocks->free_count - before;
}

bool part_env_make_room(struct part_env *env, uint32_t n, struct part_out *out)
{
	struct lblock_pool *pool = env->blocks;
	uint64_t spare = pool->free_count + env->cached_blocks;
	if (env->held_blocks > 0 && spare < n + pool->count / SPARE_SHARE)
		ask_release(env, out);
	if (pool->free_count >= n)
		return true;
	if (spare < n) {
		part_env_drop_chunks(env, (uint32_t)(n - spare));
		if (pool->free_count + env->cached_blocks < n)
			return false; /* would cost others their blocks and gain nothing */
	}
	if (pool->free_count < n)
		evict_cached(env, n - pool->free_count);
	return pool->free_count >= n;
}
