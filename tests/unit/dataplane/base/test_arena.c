/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/arena.h"

static _Alignas(64) uint8_t mem[256];

static void memory_is_zero_aligned_and_does_not_overlap(void **state)
{
	struct arena a;
	memset(mem, 0xaa, sizeof(mem));
	arena_init(&a, mem, sizeof(mem));
	uint8_t *p = arena_alloc(&a, 5), *q = arena_alloc(&a, 20);
	assert_ptr_equal(p, mem);
	assert_int_equal((uintptr_t)q % 16, 0);
	assert_true(q >= p + 5);
	for (int i = 0; i < 20; i++)
		assert_int_equal(q[i], 0);
}

static void what_does_not_fit_is_null_and_takes_nothing(void **state)
{
	struct arena a;
	arena_init(&a, mem, 64);
	assert_non_null(arena_alloc(&a, 48));
	assert_null(arena_alloc(&a, 17));
	volatile size_t huge = SIZE_MAX; /* unknown to the compiler, as a peer's length is */
	assert_null(arena_alloc(&a, huge));
	assert_non_null(arena_alloc(&a, 16));
	assert_null(arena_alloc(&a, 1));
}

static void an_array_whose_size_overflows_is_null(void **state)
{
	struct arena a;
	arena_init(&a, mem, sizeof(mem));
	volatile size_t wraps = SIZE_MAX / 8 + 2;
	assert_null(arena_array(&a, wraps, 8));
	wraps = (size_t)1 << 33;
	assert_null(arena_array(&a, wraps, wraps));
	assert_non_null(arena_array(&a, 4, 8));
}

static void reset_gives_the_memory_back(void **state)
{
	struct arena a;
	arena_init(&a, mem, 64);
	void *p = arena_alloc(&a, 64);
	assert_non_null(p);
	assert_null(arena_alloc(&a, 1));
	arena_reset(&a);
	assert_ptr_equal(arena_alloc(&a, 64), p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_is_zero_aligned_and_does_not_overlap),
		cmocka_unit_test(what_does_not_fit_is_null_and_takes_nothing),
		cmocka_unit_test(an_array_whose_size_overflows_is_null),
		cmocka_unit_test(reset_gives_the_memory_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
