/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/tape.h"

#define BYTES 65536u

static void fill(uint8_t *p, uint32_t n, uint32_t seed)
{
	for (uint32_t i = 0; i < n; i++)
		p[i] = (uint8_t)(seed * 31 + i);
}

static uint32_t size_of(uint32_t i)
{
	return i * 2654435761u >> 19; /* 0 .. 8191 */
}

static void check_next(struct tape *t, uint32_t i)
{
	static uint8_t got[TAPE_RECORD_MAX], want[TAPE_RECORD_MAX];
	struct tape_record r;
	assert_true(tape_peek(t, &r));
	assert_int_equal(r.at_ns, i);
	assert_int_equal(r.len, i + 7);
	assert_int_equal(r.tag, i & 1);
	assert_int_equal(r.kept, size_of(i));
	tape_take(t, got);
	fill(want, r.kept, i);
	assert_memory_equal(got, want, r.kept);
}

static bool put(struct tape *t, uint32_t i)
{
	uint8_t p[TAPE_RECORD_MAX];
	struct tape_record r = {.at_ns = i, .len = i + 7, .kept = size_of(i), .tag = i & 1};
	fill(p, r.kept, i);
	return tape_put(t, &r, p);
}

static void test_records_come_out_as_they_went_in_also_over_the_end(void **state)
{
	struct tape *t = tape_create(BYTES);
	struct tape_record r;
	assert_false(tape_peek(t, &r));
	for (uint32_t i = 0; i < 2000; i += 3) {
		for (uint32_t k = i; k < i + 3; k++)
			assert_true(put(t, k));
		for (uint32_t k = i; k < i + 3; k++)
			check_next(t, k);
	}
	assert_false(tape_peek(t, &r));
	assert_int_equal(tape_lost(t), 0);
	tape_destroy(t);
}

static void test_what_does_not_fit_is_counted_and_harms_nothing(void **state)
{
	struct tape *t = tape_create(BYTES);
	uint32_t in = 0;
	while (put(t, in))
		in++;
	for (uint32_t i = 0; i < 10; i++)
		assert_true(put(t, in) == false);
	assert_int_equal(tape_lost(t), 11);
	for (uint32_t i = 0; i < in; i++)
		check_next(t, i);
	struct tape_record r;
	assert_false(tape_peek(t, &r));
	assert_true(put(t, in));
	check_next(t, in);
	tape_destroy(t);
}

static void *write_many(void *arg)
{
	struct tape *t = arg;
	for (uint32_t i = 0; i < 20000; i++)
		while (!put(t, i))
			;
	return NULL;
}

static void test_one_thread_writes_while_another_reads(void **state)
{
	struct tape *t = tape_create(BYTES);
	struct tape_record r;
	pthread_t writer;
	assert_int_equal(pthread_create(&writer, NULL, write_many, t), 0);
	for (uint32_t i = 0; i < 20000; i++) {
		while (!tape_peek(t, &r))
			;
		check_next(t, i);
	}
	pthread_join(writer, NULL);
	tape_destroy(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_records_come_out_as_they_went_in_also_over_the_end),
		cmocka_unit_test(test_what_does_not_fit_is_counted_and_harms_nothing),
		cmocka_unit_test(test_one_thread_writes_while_another_reads),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
