/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/ring.h"

static void pointers_come_out_in_order_and_a_full_ring_refuses(void **state)
{
	struct ring *r = ring_create(5);
	assert_non_null(r);
	assert_true(ring_is_empty(r));
	uintptr_t n = 0;
	while (ring_push(r, (void *)(n + 1)))
		n++;
	assert_true(n >= 5);
	assert_int_equal(ring_count(r), n);
	void *out[64];
	assert_int_equal(ring_pop(r, out, 2), 2);
	assert_ptr_equal(out[0], (void *)1);
	assert_ptr_equal(out[1], (void *)2);
	assert_int_equal(ring_pop(r, out, 64), n - 2);
	for (uintptr_t i = 0; i < n - 2; i++)
		assert_ptr_equal(out[i], (void *)(i + 3));
	assert_int_equal(ring_pop(r, out, 64), 0);
	assert_true(ring_is_empty(r));
	ring_destroy(r);
}

static void destroying_no_ring_is_harmless(void **state)
{
	ring_destroy(NULL);
}

struct pipe_end {
	struct ring *ring;
	struct waker waker;
	uint64_t count;
	uint64_t *payload; /* written by the producer before the push, read by the consumer after
			      the pop */
	uint64_t bad;
};

static void *produce(void *arg)
{
	struct pipe_end *e = arg;
	for (uint64_t i = 0; i < e->count; i++) {
		e->payload[i] = i * 3;
		while (!ring_push(e->ring, &e->payload[i])) {
			waker_notify(&e->waker);
			sched_yield();
		}
		if (i % 64 == 0)
			waker_notify(&e->waker);
	}
	waker_notify(&e->waker);
	return NULL;
}

/* The sleeper's half of the contract in ring.h: arm, look once more, block. */
static void sleep_until_pushed(struct pipe_end *e)
{
	waker_arm(&e->waker);
	if (ring_is_empty(e->ring)) {
		struct pollfd p = {.fd = e->waker.fd, .events = POLLIN};
		poll(&p, 1, -1);
	}
	waker_disarm(&e->waker);
}

static void *consume(void *arg)
{
	struct pipe_end *e = arg;
	for (uint64_t i = 0; i < e->count;) {
		void *out[32];
		uint32_t n = ring_pop(e->ring, out, 32);
		if (n == 0)
			sleep_until_pushed(e);
		for (uint32_t k = 0; k < n; k++, i++)
			e->bad += out[k] != &e->payload[i] || *(uint64_t *)out[k] != i * 3;
	}
	return NULL;
}

static void a_million_pointers_cross_between_two_threads_in_order_with_what_they_point_at(
	void **state)
{
	struct pipe_end e = {.ring = ring_create(256), .count = 1000000};
	e.payload = calloc(e.count, sizeof(*e.payload));
	assert_non_null(e.ring);
	assert_non_null(e.payload);
	assert_int_equal(waker_init(&e.waker), 0);
	pthread_t p, c;
	assert_int_equal(pthread_create(&c, NULL, consume, &e), 0);
	assert_int_equal(pthread_create(&p, NULL, produce, &e), 0);
	pthread_join(p, NULL);
	pthread_join(c, NULL);
	assert_true(e.bad == 0);
	assert_true(ring_is_empty(e.ring));
	waker_fini(&e.waker);
	ring_destroy(e.ring);
	free(e.payload);
}

static bool readable(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	return poll(&p, 1, 0) == 1;
}

static void a_waker_is_written_to_only_while_armed_and_disarm_drains_it(void **state)
{
	struct waker w;
	assert_int_equal(waker_init(&w), 0);
	waker_notify(&w);
	assert_false(readable(w.fd));
	waker_arm(&w);
	assert_false(readable(w.fd));
	waker_notify(&w);
	waker_notify(&w);
	assert_true(readable(w.fd));
	waker_disarm(&w);
	assert_false(readable(w.fd));
	waker_notify(&w);
	assert_false(readable(w.fd));
	waker_fini(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pointers_come_out_in_order_and_a_full_ring_refuses),
		cmocka_unit_test(destroying_no_ring_is_harmless),
		cmocka_unit_test(
			a_million_pointers_cross_between_two_threads_in_order_with_what_they_point_at),
		cmocka_unit_test(a_waker_is_written_to_only_while_armed_and_disarm_drains_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
