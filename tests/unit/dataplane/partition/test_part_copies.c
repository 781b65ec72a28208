/* SPDX-License-Identifier: Apache-2.0 */
/* How often a byte is copied on its way: once into the log, never out of it (DESIGN D6). This
 * program has its own memcpy, which counts. */
#include "fixture.h"

static struct {
	const uint8_t *pool; /* NULL: not counting */
	size_t size;
	uint64_t in;	  /* bytes copied into the pool */
	uint64_t out;	  /* out of it */
	uint64_t largest; /* of the copies out */
} copies;

static bool in_pool(const void *p)
{
	return copies.pool && (const uint8_t *)p >= copies.pool &&
	       (const uint8_t *)p < copies.pool + copies.size;
}

/* Takes the place of the library's for this program and all that it is linked from. */
void *memcpy(void *dst, const void *src, size_t n)
{
	if (in_pool(dst))
		copies.in += n;
	if (in_pool(src)) {
		copies.out += n;
		copies.largest = n > copies.largest ? n : copies.largest;
	}
	return memmove(dst, src, n);
}

static void count_from_here(const struct fx *f)
{
	copies.in = copies.out = copies.largest = 0;
	copies.pool = f->memory->mem;
	copies.size = (size_t)f->pool->count * LBLOCK_SIZE;
}

static void an_append_copies_each_byte_once_and_a_tail_fetch_none(void **state)
{
	static const uint32_t sizes[] = {10, 3000, 100, 20000, 16384, 70000, 1, 5000};
	struct fx *f = fx_new(64, 8, fx_config());
	struct lblock *appended[256];
	uint32_t blocks = 0;
	uint64_t bytes = 0;
	for (size_t i = 0; i < array_size(sizes); i++) {
		struct fx_batch b = fx_batch(1 + (uint32_t)i % 3, sizes[i], (uint32_t)i);
		struct part_op op = fx_append_op(b);
		count_from_here(f);
		fx_start(f, &op);
		copies.pool = NULL;
		assert_true(copies.in == b.len);
		assert_true(copies.out == 0);
		bytes += b.len;
		struct lspan s = fx_front(f)->append.span;
		assert_int_equal(s.len, b.len);
		struct lblock *block = s.first;
		for (uint32_t n = lspan_blocks(s); n > 0; n--, block = block->next)
			if (blocks == 0 || appended[blocks - 1] != block)
				appended[blocks++] = block;
		fx_run(f);
		assert_ptr_equal(fx_done(f), &op);
		free(b.data);
	}
	uint32_t free_before = f->pool->free_count;
	struct part_op op = fx_fetch_op(0, UINT32_MAX, true);
	count_from_here(f);
	fx_start(f, &op);
	copies.pool = NULL;
	assert_ptr_equal(fx_done(f), &op);
	assert_true(op.fetch.span.len == bytes);
	/* heads of batches are looked at, no more */
	assert_true(copies.in == 0);
	assert_true(copies.largest < BATCH_HEADER_SIZE);
	assert_true(copies.out <= 64 * array_size(sizes));
	/* what is given away are the very blocks that were written */
	assert_int_equal(f->pool->free_count, free_before);
	assert_int_equal(lspan_blocks(op.fetch.span), blocks);
	struct lblock *block = op.fetch.span.first;
	for (uint32_t i = 0; i < blocks; i++, block = block->next)
		assert_ptr_equal(block, appended[i]);
	part_release(f->env, op.fetch.span);
	fx_free(f);
}

static void a_cold_fetch_gives_away_the_blocks_that_the_storage_has_filled(void **state)
{
	struct fx *f = fx_new(64, 8, fx_config());
	for (uint32_t i = 0; i < 4; i++)
		fx_append(f, 1, 10000, i);
	part_env_evict(f->env, 64);
	struct part_op op = fx_fetch_op(1, 100000, true);
	fx_start(f, &op);
	struct lblock *first = fx_front(f)->read.blocks;
	struct st_req *r = fx_front(f);
	list_remove(&r->node);
	fx_do_read(f, r);
	count_from_here(f);
	part_stored(&f->part, r, f->now, &f->out);
	copies.pool = NULL;
	fx_take(f);
	assert_ptr_equal(fx_done(f), &op);
	assert_true(copies.in == 0 && copies.largest < BATCH_HEADER_SIZE);
	assert_ptr_equal(op.fetch.span.first, first);
	assert_int_equal(fx_check_span(f, op.fetch.span, 1), 3);
	part_release(f->env, op.fetch.span);
	fx_run(f);
	fx_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_append_copies_each_byte_once_and_a_tail_fetch_none),
		cmocka_unit_test(a_cold_fetch_gives_away_the_blocks_that_the_storage_has_filled),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
