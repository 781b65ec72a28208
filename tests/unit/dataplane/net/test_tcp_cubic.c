/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <cmocka.h>

#include "base/clock.h"
#include "net/tcp_cubic.h"

#define MSS 1000u
#define RTT_NS (100 * NS_PER_MS)

/* The window after a number of round trips, each of which acknowledges all of it, segment by
 * segment. */
static uint32_t grow_rounds(struct tcp_cubic *q, uint32_t cwnd, uint64_t *now_ns, uint32_t rounds)
{
	while (rounds--) {
		uint32_t n = cwnd / MSS;
		for (uint32_t i = 0; i < n; i++)
			cwnd = tcp_cubic_grow(q, cwnd, MSS, MSS, RTT_NS, *now_ns + i * RTT_NS / n);
		*now_ns += RTT_NS;
	}
	return cwnd;
}

static void follows_the_curve_of_rfc_9438(void **state)
{
	struct tcp_cubic q = {0};
	uint64_t start = NS_PER_S, now = start;
	uint32_t w_max = 1000 * MSS, cwnd = tcp_cubic_reduced(w_max);
	tcp_cubic_loss(&q, w_max, false);
	assert_int_equal(cwnd, 700 * MSS);
	double k = cbrt(300 / 0.4);
	for (int i = 0; i < 150; i++) {
		cwnd = grow_rounds(&q, cwnd, &now, 1);
		double t = (double)(now - start) / 1e9, want = 0.4 * pow(t - k, 3) + 1000;
		/* a round trip behind the curve at most */
		double before = 0.4 * pow(t - 0.3 - k, 3) + 1000;
		assert_true(cwnd / (double)MSS <= want + 20);
		assert_true(cwnd / (double)MSS >= before - 20);
	}
	assert_true(cwnd > w_max); /* 15 s: beyond K */
	(void)state;
}

static void is_no_slower_than_reno_on_a_short_path(void **state)
{
	struct tcp_cubic q = {0};
	uint64_t now = NS_PER_S;
	tcp_cubic_loss(&q, 20 * MSS, false);
	uint32_t cwnd = grow_rounds(&q, 14 * MSS, &now, 10);
	/* nine seventeenths of a segment in a round trip */
	assert_in_range(cwnd, 14 * MSS + 10 * MSS * 9 / 17 - MSS, 14 * MSS + 10 * MSS);
	(void)state;
}

static void a_second_loss_below_the_first_makes_room(void **state)
{
	struct tcp_cubic q = {0};
	tcp_cubic_loss(&q, 1000 * MSS, false);
	assert_int_equal(q.w_max, 1000 * MSS);
	tcp_cubic_loss(&q, 800 * MSS, false);
	assert_int_equal(q.w_max, 680 * MSS);
	(void)state;
}

static void after_a_timeout_the_curve_begins_flat(void **state)
{
	struct tcp_cubic q = {0};
	uint64_t now = NS_PER_S;
	tcp_cubic_loss(&q, 1000 * MSS, true);
	uint32_t cwnd = grow_rounds(&q, 700 * MSS, &now, 1);
	assert_int_equal(q.k_ms, 0);
	assert_in_range(cwnd, 700 * MSS, 702 * MSS);
	(void)state;
}

static void never_grows_by_more_than_half_in_a_round_trip(void **state)
{
	struct tcp_cubic q = {0};
	uint64_t now = NS_PER_S;
	uint32_t cwnd = tcp_cubic_grow(&q, 10 * MSS, MSS, MSS, RTT_NS, now);
	now += 1000 * NS_PER_S; /* far up the curve */
	uint32_t before = cwnd;
	for (uint32_t i = 0; i < before / MSS; i++)
		cwnd = tcp_cubic_grow(&q, cwnd, MSS, MSS, RTT_NS, now);
	assert_in_range(cwnd, before * 14 / 10, before * 16 / 10);
	(void)state;
}

/* One round of n samples of rtt_ms; returns the phase. */
static enum tcp_hystart_phase hystart_round(
	struct tcp_hystart *h, uint32_t *una, uint32_t n, uint64_t rtt_ms)
{
	enum tcp_hystart_phase phase = HYSTART_SLOW_START;
	uint32_t end = *una + n;
	for (uint32_t i = 0; i < n; i++)
		phase = tcp_hystart_ack(h, ++*una, end + n, rtt_ms * NS_PER_MS);
	return phase;
}

static void slow_start_ends_when_round_trips_get_longer(void **state)
{
	struct tcp_hystart h;
	uint32_t una = 0xfffffff0u; /* over the wrap */
	tcp_hystart_init(&h, una + 10);
	for (int i = 0; i < 5; i++)
		assert_int_equal(hystart_round(&h, &una, 10, 40), HYSTART_SLOW_START);
	assert_int_equal(hystart_round(&h, &una, 10, 44), HYSTART_SLOW_START); /* 5 ms: an eighth */
	assert_int_equal(hystart_round(&h, &una, 10, 60), HYSTART_CSS);
	for (int i = 0; i < 3; i++)
		assert_int_equal(hystart_round(&h, &una, 10, 60), HYSTART_CSS);
	assert_int_equal(hystart_round(&h, &una, 10, 60), HYSTART_DONE);
	(void)state;
}

static void jitter_does_not_end_slow_start(void **state)
{
	struct tcp_hystart h;
	uint32_t una = 0;
	tcp_hystart_init(&h, una + 10);
	hystart_round(&h, &una, 10, 40);
	hystart_round(&h, &una, 10, 40);
	assert_int_equal(hystart_round(&h, &una, 10, 60), HYSTART_CSS);
	assert_int_equal(hystart_round(&h, &una, 10, 40), HYSTART_SLOW_START);
	(void)state;
}

static void few_samples_say_nothing(void **state)
{
	struct tcp_hystart h;
	uint32_t una = 0;
	tcp_hystart_init(&h, una + 7);
	for (uint64_t rtt = 10; rtt < 200; rtt += 20)
		assert_int_equal(hystart_round(&h, &una, 7, rtt), HYSTART_SLOW_START);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(follows_the_curve_of_rfc_9438),
		cmocka_unit_test(is_no_slower_than_reno_on_a_short_path),
		cmocka_unit_test(a_second_loss_below_the_first_makes_room),
		cmocka_unit_test(after_a_timeout_the_curve_begins_flat),
		cmocka_unit_test(never_grows_by_more_than_half_in_a_round_trip),
		cmocka_unit_test(slow_start_ends_when_round_trips_get_longer),
		cmocka_unit_test(jitter_does_not_end_slow_start),
		cmocka_unit_test(few_samples_say_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
