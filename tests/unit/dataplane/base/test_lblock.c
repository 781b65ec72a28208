/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/lblock.h"

#define BLOCKS 8

static struct lblock_pool pool;
static uint8_t *mem;

static int setup(void **state)
{
	mem = aligned_alloc(4096, BLOCKS * LBLOCK_SIZE);
	return mem ? lblock_pool_init(&pool, mem, BLOCKS * LBLOCK_SIZE) : -1;
}

static int teardown(void **state)
{
	int leaked = pool.free_count != pool.count;
	lblock_pool_fini(&pool);
	free(mem);
	return leaked;
}

static void fill(struct lblock *b)
{
	for (uint32_t at = 0; b; b = b->next)
		for (uint32_t i = 0; i < LBLOCK_SIZE; i++, at++)
			b->data[i] = (uint8_t)(at * 7 + at / 251);
}

static uint8_t byte_at(uint32_t at)
{
	return (uint8_t)(at * 7 + at / 251);
}

static void blocks_are_aligned_distinct_and_run_out(void **state)
{
	struct lblock *b[BLOCKS];
	for (int i = 0; i < BLOCKS; i++) {
		b[i] = lblock_get(&pool);
		assert_non_null(b[i]);
		assert_int_equal((uintptr_t)b[i]->data % 4096, 0);
		assert_int_equal(b[i]->refs, 1);
		assert_null(b[i]->next);
		assert_int_equal(b[i]->first_batch, LBLOCK_NO_BATCH);
		for (int k = 0; k < i; k++)
			assert_ptr_not_equal(b[i]->data, b[k]->data);
	}
	assert_null(lblock_get(&pool));
	for (int i = 0; i < BLOCKS; i++)
		lblock_unref(&pool, b[i]);
	assert_int_equal(pool.free_count, BLOCKS);
}

static void a_fresh_pool_gives_adjacent_blocks(void **state)
{
	struct lblock *b = lblock_get_chain(&pool, 3);
	assert_ptr_equal(b->next->data, b->data + LBLOCK_SIZE);
	assert_ptr_equal(b->next->next->data, b->data + 2 * LBLOCK_SIZE);
	lspan_unref(&pool, (struct lspan){b, 0, 3 * LBLOCK_SIZE});
}

static void the_last_reference_gives_a_block_back(void **state)
{
	struct lblock *b = lblock_get(&pool);
	lblock_ref(b);
	lblock_unref(&pool, b);
	assert_int_equal(pool.free_count, BLOCKS - 1);
	lblock_unref(&pool, b);
	assert_int_equal(pool.free_count, BLOCKS);
}

static void a_chain_that_does_not_fit_takes_nothing(void **state)
{
	assert_null(lblock_get_chain(&pool, BLOCKS + 1));
	assert_null(lblock_get_chain(&pool, 0));
	assert_int_equal(pool.free_count, BLOCKS);
	struct lblock *b = lblock_get_chain(&pool, BLOCKS);
	assert_non_null(b);
	assert_int_equal(pool.free_count, 0);
	lspan_unref(&pool, (struct lspan){b, 0, BLOCKS * LBLOCK_SIZE});
}

static void a_span_counts_the_blocks_that_it_touches(void **state)
{
	assert_int_equal(lspan_blocks((struct lspan){NULL, 5, 0}), 0);
	assert_int_equal(lspan_blocks((struct lspan){NULL, 0, 1}), 1);
	assert_int_equal(lspan_blocks((struct lspan){NULL, 0, LBLOCK_SIZE}), 1);
	assert_int_equal(lspan_blocks((struct lspan){NULL, 1, LBLOCK_SIZE}), 2);
	assert_int_equal(lspan_blocks((struct lspan){NULL, LBLOCK_SIZE - 1, 2}), 2);
	assert_int_equal(lspan_blocks((struct lspan){NULL, LBLOCK_SIZE - 1, LBLOCK_SIZE + 2}), 3);
}

static void references_of_a_span_are_those_of_the_blocks_it_touches(void **state)
{
	struct lblock *b = lblock_get_chain(&pool, 3);
	struct lspan s = {b, 100, LBLOCK_SIZE}; /* the first two */
	lspan_ref(s);
	assert_int_equal(b->refs, 2);
	assert_int_equal(b->next->refs, 2);
	assert_int_equal(b->next->next->refs, 1);
	lspan_unref(&pool, s);
	assert_int_equal(pool.free_count, BLOCKS - 3);
	lspan_unref(&pool, (struct lspan){b, 0, 3 * LBLOCK_SIZE});
}

static void copy_and_skip_see_the_same_bytes_across_blocks(void **state)
{
	struct lblock *b = lblock_get_chain(&pool, 4);
	static uint8_t out[3 * LBLOCK_SIZE];
	fill(b);
	struct lspan whole = {b, 1000, 3 * LBLOCK_SIZE};
	static const uint32_t ats[] = {0, 1, LBLOCK_SIZE - 1001, LBLOCK_SIZE - 1000, LBLOCK_SIZE,
		2 * LBLOCK_SIZE - 1000, 3 * LBLOCK_SIZE - 1, 3 * LBLOCK_SIZE};
	for (unsigned i = 0; i < array_size(ats); i++) {
		uint32_t n = whole.len - ats[i];
		memset(out, 0, sizeof(out));
		lspan_copy(whole, ats[i], out, n);
		for (uint32_t k = 0; k < n; k++)
			assert_int_equal(out[k], byte_at(1000 + ats[i] + k));
		struct lspan rest = lspan_skip(whole, ats[i]);
		assert_int_equal(rest.len, n);
		if (n > 0) {
			assert_true(rest.off < LBLOCK_SIZE);
			assert_int_equal(rest.first->data[rest.off], byte_at(1000 + ats[i]));
		}
	}
	lspan_unref(&pool, (struct lspan){b, 0, 4 * LBLOCK_SIZE});
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			blocks_are_aligned_distinct_and_run_out, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_fresh_pool_gives_adjacent_blocks, setup, teardown),
		cmocka_unit_test_setup_teardown(
			the_last_reference_gives_a_block_back, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_chain_that_does_not_fit_takes_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_span_counts_the_blocks_that_it_touches, setup, teardown),
		cmocka_unit_test_setup_teardown(
			references_of_a_span_are_those_of_the_blocks_it_touches, setup, teardown),
		cmocka_unit_test_setup_teardown(
			copy_and_skip_see_the_same_bytes_across_blocks, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
