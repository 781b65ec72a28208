/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/prng.h"
#include "net/flow.h"

#define MAX 64

static void the_flow_table_is_the_same_as_a_list(void **state)
{
	uint32_t n = flow_slots_for(MAX);
	struct flow_slot *slots = calloc(n, sizeof(*slots));
	struct flow f;
	struct prng r = {.s = 3};
	struct {
		uint64_t key;
		uint32_t value;
		bool live;
	} list[MAX] = {{0}};
	flow_init(&f, slots, n, (struct siphash_key){.k0 = 1, .k1 = 2});
	for (int step = 0; step < 200000; step++) {
		uint32_t i = (uint32_t)prng_below(&r, MAX);
		if (!list[i].live) {
			uint64_t key =
				flow_key((uint32_t)prng_below(&r, 50) + 1, (uint16_t)i, 9092);
			assert_int_equal(flow_find(&f, key), FLOW_NONE);
			list[i].key = key;
			list[i].value = (uint32_t)step;
			list[i].live = true;
			flow_add(&f, key, (uint32_t)step);
		} else if (prng_chance(&r, 1, 3)) {
			list[i].value = (uint32_t)step;
			flow_set(&f, list[i].key, (uint32_t)step);
		} else {
			flow_remove(&f, list[i].key);
			flow_remove(&f, list[i].key); /* harmless */
			list[i].live = false;
		}
		uint32_t live = 0, j = (uint32_t)prng_below(&r, MAX);
		for (uint32_t k = 0; k < MAX; k++)
			live += list[k].live;
		assert_int_equal(f.count, live);
		if (list[j].live)
			assert_int_equal(flow_find(&f, list[j].key), list[j].value);
		else if (list[j].key)
			assert_int_equal(flow_find(&f, list[j].key), FLOW_NONE);
	}
	for (uint32_t k = 0; k < MAX; k++)
		if (list[k].live)
			assert_int_equal(flow_find(&f, list[k].key), list[k].value);
	free(slots);
	(void)state;
}

static void the_table_is_at_most_half_full(void **state)
{
	for (uint32_t max = 1; max < 100000; max = max * 3 + 1) {
		uint32_t n = flow_slots_for(max);
		assert_true(n >= 2 * max && (n & (n - 1)) == 0);
	}
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_flow_table_is_the_same_as_a_list),
		cmocka_unit_test(the_table_is_at_most_half_full),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
