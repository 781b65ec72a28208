/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "storage/worker/cost.h"

#define KIB 1024u

static void measure(
	struct path_cost *c, uint64_t bytes_per_us, uint64_t journal_us, uint64_t segment_us)
{
	for (int i = 0; i < 200; i++) {
		cost_note_write(c, 256 * KIB, 256 * KIB * 1000 / bytes_per_us);
		cost_note_journal_flush(c, journal_us * 1000);
		cost_note_segment_flush(c, segment_us * 1000);
	}
}

static void before_anything_is_measured_the_default_holds(void **state)
{
	struct path_cost c = {0};
	assert_int_equal(cost_direct_min(&c, false), COST_DEFAULT);
	cost_note_write(&c, 4 * KIB, 50000); /* the time of an operation: says nothing */
	cost_note_segment_flush(&c, 100000);
	assert_int_equal(cost_direct_min(&c, false), COST_DEFAULT);
	assert_int_equal(cost_direct_min(&c, true), COST_WRITTEN_LEAST);
}

static void a_run_goes_direct_when_its_bytes_cost_more_than_the_flush(void **state)
{
	struct path_cost c = {0};
	measure(&c, 1000, 100, 300); /* 200 us: as long as 200,000 bytes take */
	assert_in_range(cost_direct_min(&c, false), COST_WRITTEN_LEAST + 195000,
		COST_WRITTEN_LEAST + 205000);
	assert_int_equal(cost_direct_min(&c, true), COST_WRITTEN_LEAST);
}

static void a_device_whose_flush_costs_nothing_gets_all_but_small_runs_once(void **state)
{
	struct path_cost c = {0};
	measure(&c, 1000, 20, 20);
	assert_int_equal(cost_direct_min(&c, false), COST_WRITTEN_LEAST);
	measure(&c, 1000, 30, 10);
	assert_int_equal(cost_direct_min(&c, false), COST_WRITTEN_LEAST);
}

static void a_slow_flush_makes_no_run_larger_than_the_most_go_twice(void **state)
{
	struct path_cost c = {0};
	measure(&c, 2000, 1000, 50000);
	assert_int_equal(cost_direct_min(&c, false), COST_MOST);
}

static void the_estimate_follows_the_device(void **state)
{
	struct path_cost c = {0};
	measure(&c, 1000, 100, 900);
	uint64_t before = cost_direct_min(&c, false);
	measure(&c, 1000, 100, 200);
	assert_true(cost_direct_min(&c, false) < before / 2);
}

static void what_is_not_tried_for_long_is_tried_again(void **state)
{
	struct path_cost c = {0};
	measure(&c, 1000, 100, 50000);
	assert_int_equal(cost_direct_min(&c, false), COST_MOST);
	for (int i = 0; i < 3000; i++)
		cost_note_not_tried(&c);
	assert_true(cost_direct_min(&c, false) < 64 * KIB);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(before_anything_is_measured_the_default_holds),
		cmocka_unit_test(a_run_goes_direct_when_its_bytes_cost_more_than_the_flush),
		cmocka_unit_test(a_device_whose_flush_costs_nothing_gets_all_but_small_runs_once),
		cmocka_unit_test(a_slow_flush_makes_no_run_larger_than_the_most_go_twice),
		cmocka_unit_test(the_estimate_follows_the_device),
		cmocka_unit_test(what_is_not_tried_for_long_is_tried_again),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
