/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/prng.h"
#include "base/wheel.h"

#define TICK 1000ull

static uint64_t fire_tick(uint64_t deadline_ns, uint64_t armed_at_tick)
{
	uint64_t t = (deadline_ns + TICK - 1) / TICK;
	return t <= armed_at_tick ? armed_at_tick + 1 : t;
}

static unsigned drain(struct list *fired)
{
	unsigned n = 0;
	while (list_pop_front(fired))
		n++;
	return n;
}

static void a_timer_fires_at_its_deadline_rounded_up_and_not_before(void **state)
{
	/* around every border between levels, from several starting points */
	static const uint64_t deltas[] = {0, 1, 2, 62, 63, 64, 65, 127, 128, 4094, 4095, 4096, 4097,
		8191, 262143, 262144, 262145, 1000000};
	static const uint64_t starts[] = {0, 1, 63, 64, 100, 4095, 4096, 262143, 262144, 16777215};
	for (unsigned s = 0; s < array_size(starts); s++) {
		for (unsigned d = 0; d < array_size(deltas); d++) {
			struct wheel w;
			struct wheel_timer t;
			struct list fired;
			list_init(&fired);
			wheel_init(&w, starts[s] * TICK, TICK);
			wheel_timer_init(&t);
			uint64_t deadline = (starts[s] + deltas[d]) * TICK - (deltas[d] ? 1 : 0);
			wheel_arm(&w, &t, deadline);
			uint64_t due = fire_tick(deadline, starts[s]);
			wheel_advance(&w, due * TICK - 1, &fired);
			assert_true(list_empty(&fired));
			assert_true(wheel_timer_armed(&t));
			wheel_advance(&w, due * TICK, &fired);
			assert_int_equal(drain(&fired), 1);
			assert_false(wheel_timer_armed(&t));
			assert_int_equal(w.armed, 0);
		}
	}
}

static void a_timer_beyond_the_last_level_still_fires_at_its_time(void **state)
{
	struct wheel w;
	struct wheel_timer t;
	struct list fired;
	list_init(&fired);
	wheel_init(&w, 5 * TICK, TICK);
	wheel_timer_init(&t);
	uint64_t deadline = (5 + (3ull << 24)) * TICK;
	wheel_arm(&w, &t, deadline);
	wheel_advance(&w, deadline - 1, &fired);
	assert_true(list_empty(&fired));
	wheel_advance(&w, deadline, &fired);
	assert_int_equal(drain(&fired), 1);
}

static void arming_again_moves_a_timer_and_cancel_ends_it(void **state)
{
	struct wheel w;
	struct wheel_timer t;
	struct list fired;
	list_init(&fired);
	wheel_init(&w, 0, TICK);
	wheel_timer_init(&t);
	wheel_cancel(&w, &t);
	wheel_arm(&w, &t, 10 * TICK);
	wheel_arm(&w, &t, 20 * TICK);
	assert_int_equal(w.armed, 1);
	wheel_advance(&w, 19 * TICK, &fired);
	assert_true(list_empty(&fired));
	wheel_cancel(&w, &t);
	assert_int_equal(w.armed, 0);
	wheel_advance(&w, 100 * TICK, &fired);
	assert_true(list_empty(&fired));
}

static void a_fired_timer_may_be_cancelled_or_armed_before_it_is_handled(void **state)
{
	struct wheel w;
	struct wheel_timer a, b, c;
	struct list fired;
	list_init(&fired);
	wheel_init(&w, 0, TICK);
	wheel_timer_init(&a);
	wheel_timer_init(&b);
	wheel_timer_init(&c);
	wheel_arm(&w, &a, 1 * TICK);
	wheel_arm(&w, &b, 2 * TICK);
	wheel_arm(&w, &c, 3 * TICK);
	wheel_advance(&w, 5 * TICK, &fired);
	assert_int_equal(w.armed, 0);
	assert_false(wheel_timer_armed(&b));
	assert_ptr_equal(list_pop_front(&fired), &a.node);
	wheel_cancel(&w, &b);	     /* the handler of a cancels b ... */
	wheel_arm(&w, &c, 9 * TICK); /* ... and puts c off */
	assert_true(list_empty(&fired));
	assert_int_equal(w.armed, 1);
	wheel_advance(&w, 9 * TICK, &fired);
	assert_ptr_equal(list_pop_front(&fired), &c.node);
	assert_int_equal(w.armed, 0);
}

static void timers_fire_in_the_order_of_their_ticks(void **state)
{
	struct wheel w;
	struct wheel_timer t[50];
	struct list fired;
	list_init(&fired);
	wheel_init(&w, 0, TICK);
	for (int i = 0; i < 50; i++) {
		wheel_timer_init(&t[i]);
		wheel_arm(&w, &t[i], (uint64_t)(1 + (i * 37) % 50) * 100 * TICK);
	}
	wheel_advance(&w, 6000 * TICK, &fired);
	uint64_t last = 0;
	unsigned n = 0;
	struct list *it;
	while ((it = list_pop_front(&fired))) {
		uint64_t d = list_entry(it, struct wheel_timer, node)->deadline_ns;
		assert_true(d >= last);
		last = d;
		n++;
	}
	assert_int_equal(n, 50);
}

#define MODEL_TIMERS 200

struct model {
	uint64_t due[MODEL_TIMERS]; /* tick; 0: not armed */
};

/* Random arming, cancelling and steps of time against a plain array. */
static void the_wheel_agrees_with_a_naive_model(void **state)
{
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct prng p = {.s = seed};
		struct wheel w;
		static struct wheel_timer t[MODEL_TIMERS];
		struct model m = {0};
		uint64_t now = prng_below(&p, 1ull << 26) * TICK;
		wheel_init(&w, now, TICK);
		for (int i = 0; i < MODEL_TIMERS; i++)
			wheel_timer_init(&t[i]);
		for (int step = 0; step < 3000; step++) {
			uint32_t i = (uint32_t)prng_below(&p, MODEL_TIMERS);
			if (prng_chance(&p, 1, 4)) {
				wheel_cancel(&w, &t[i]);
				m.due[i] = 0;
			} else {
				uint64_t deadline =
					now + prng_below(&p, TICK << prng_below(&p, 20));
				wheel_arm(&w, &t[i], deadline);
				m.due[i] = fire_tick(deadline, now / TICK);
			}
			uint64_t first = UINT64_MAX;
			for (int k = 0; k < MODEL_TIMERS; k++)
				if (m.due[k])
					first = min_of(first, m.due[k] * TICK);
			assert_true(wheel_next_ns(&w) <= first);
			assert_true(first == UINT64_MAX || wheel_next_ns(&w) > now - now % TICK);

			now += prng_below(&p, TICK << prng_below(&p, 13));
			struct list fired, *it;
			list_init(&fired);
			wheel_advance(&w, now, &fired);
			while ((it = list_pop_front(&fired))) {
				struct wheel_timer *f = list_entry(it, struct wheel_timer, node);
				uint64_t due = m.due[f - t];
				assert_true(due != 0 && due <= now / TICK);
				m.due[f - t] = 0;
			}
			unsigned armed = 0;
			for (int k = 0; k < MODEL_TIMERS; k++) {
				assert_true(m.due[k] == 0 || m.due[k] > now / TICK);
				assert_int_equal(wheel_timer_armed(&t[k]), m.due[k] != 0);
				armed += m.due[k] != 0;
			}
			assert_int_equal(w.armed, armed);
		}
	}
}

static void an_empty_wheel_has_no_next_time_and_jumps_over_any_distance(void **state)
{
	struct wheel w;
	struct wheel_timer t;
	struct list fired;
	list_init(&fired);
	wheel_init(&w, 0, TICK);
	assert_true(wheel_next_ns(&w) == UINT64_MAX);
	wheel_advance(&w, UINT64_MAX / 2, &fired);
	wheel_timer_init(&t);
	wheel_arm(&w, &t, UINT64_MAX / 2 + 5 * TICK);
	wheel_advance(&w, UINT64_MAX / 2 + 6 * TICK, &fired);
	assert_int_equal(drain(&fired), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_timer_fires_at_its_deadline_rounded_up_and_not_before),
		cmocka_unit_test(a_timer_beyond_the_last_level_still_fires_at_its_time),
		cmocka_unit_test(arming_again_moves_a_timer_and_cancel_ends_it),
		cmocka_unit_test(a_fired_timer_may_be_cancelled_or_armed_before_it_is_handled),
		cmocka_unit_test(timers_fire_in_the_order_of_their_ticks),
		cmocka_unit_test(the_wheel_agrees_with_a_naive_model),
		cmocka_unit_test(an_empty_wheel_has_no_next_time_and_jumps_over_any_distance),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
