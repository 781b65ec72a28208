/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/prng.h"

static void a_seed_gives_the_same_numbers_on_every_machine(void **state)
{
	/* first values of splitmix64 for seed 1234567, from its published reference */
	static const uint64_t want[] = {6457827717110365317ull, 3203168211198807973ull,
		9817491932198370423ull, 4593380528125082431ull, 16408922859458223821ull};
	struct prng p = {.s = 1234567};
	for (int i = 0; i < 5; i++)
		assert_true(prng_next(&p) == want[i]);
}

static void below_stays_below_and_reaches_every_value(void **state)
{
	struct prng p = {.s = 3};
	unsigned seen[10] = {0};
	for (int i = 0; i < 10000; i++) {
		uint64_t v = prng_below(&p, 10);
		assert_true(v < 10);
		seen[v]++;
	}
	for (int i = 0; i < 10; i++)
		assert_in_range(seen[i], 800, 1200);
	assert_true(prng_below(&p, 1) == 0);
}

static void chance_keeps_to_its_odds(void **state)
{
	struct prng p = {.s = 5};
	unsigned hits = 0;
	for (int i = 0; i < 10000; i++)
		hits += (unsigned)prng_chance(&p, 1, 4);
	assert_in_range(hits, 2300, 2700);
	assert_false(prng_chance(&p, 0, 4));
	assert_true(prng_chance(&p, 4, 4));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_seed_gives_the_same_numbers_on_every_machine),
		cmocka_unit_test(below_stays_below_and_reaches_every_value),
		cmocka_unit_test(chance_keeps_to_its_odds),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
