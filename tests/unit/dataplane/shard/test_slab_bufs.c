/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/prng.h"
#include "shard/bufs.h"
#include "shard/msg.h"
#include "shard/slab.h"

struct thing {
	struct list node;
	char pad[100];
};

static void test_slab_stops_at_its_limit_and_reuses_what_is_put_back(void **state)
{
	struct slab s;
	void *got[10];
	slab_init(&s, sizeof(struct thing), 4, 10);
	for (int i = 0; i < 10; i++) {
		got[i] = slab_get(&s);
		assert_non_null(got[i]);
		memset(got[i], i, sizeof(struct thing));
		for (int j = 0; j < i; j++)
			assert_ptr_not_equal(got[i], got[j]);
	}
	assert_null(slab_get(&s));
	slab_put(&s, got[3]);
	assert_ptr_equal(slab_get(&s), got[3]);
	assert_int_equal(s.made, 10);
	for (int i = 0; i < 10; i++)
		slab_put(&s, got[i]);
	assert_int_equal(s.used, 0);
	slab_fini(&s);
}

static void test_bufs_never_hand_out_more_than_the_budget(void **state)
{
	struct bufs b;
	uint32_t cap;
	bufs_init(&b, 64 * 1024);
	uint8_t *p = bufs_get(&b, 40000, &cap);
	assert_non_null(p);
	assert_int_equal(cap, 65536);
	assert_null(bufs_get(&b, 1, &cap));
	uint32_t over;
	uint8_t *q = bufs_get_over(&b, 100, &over);
	assert_non_null(q);
	assert_int_equal(b.used, 65536 + 4096);
	bufs_put(&b, q, over);
	bufs_put(&b, p, 65536);
	assert_int_equal(b.used, 0);
	p = bufs_get(&b, 1, &cap);
	assert_non_null(p);
	assert_int_equal(cap, BUFS_MIN);
	bufs_put(&b, p, cap);
	bufs_fini(&b);
}

static void test_bufs_refuse_a_size_beyond_the_largest_class(void **state)
{
	struct bufs b;
	uint32_t cap;
	bufs_init(&b, SIZE_MAX / 2);
	assert_null(bufs_get(&b, ((size_t)BUFS_MIN << BUFS_CLASSES) + 1, &cap));
	bufs_fini(&b);
}

static void test_bufs_keep_used_and_cached_within_the_budget_under_random_use(void **state)
{
	struct bufs b;
	struct prng r = {42};
	struct {
		uint8_t *p;
		uint32_t cap;
	} held[32] = {{0}};
	bufs_init(&b, 1 << 20);
	for (int i = 0; i < 20000; i++) {
		unsigned k = (unsigned)prng_below(&r, 32);
		if (held[k].p) {
			bufs_put(&b, held[k].p, held[k].cap);
			held[k].p = NULL;
			continue;
		}
		size_t size = 1 + prng_below(&r, 300000);
		held[k].p = bufs_get(&b, size, &held[k].cap);
		if (held[k].p) {
			assert_true(held[k].cap >= size);
			memset(held[k].p, 7, size);
		}
		assert_true(b.used <= b.budget);
		assert_true(b.used + b.cached <= b.budget);
	}
	for (int k = 0; k < 32; k++)
		bufs_put(&b, held[k].p, held[k].cap);
	assert_int_equal(b.used, 0);
	bufs_fini(&b);
}

/* ---- the mesh ---- */

static void test_mesh_brings_a_question_there_and_back_in_order_when_the_ring_overflows(
	void **state)
{
	enum { N = 100 };
	struct mesh mesh;
	struct mesh_port a, b;
	struct msg *msgs = calloc(N, sizeof(*msgs)), *got[N];
	assert_int_equal(mesh_init(&mesh, 3, 4), 0);
	mesh_port_init(&a, &mesh, 0);
	mesh_port_init(&b, &mesh, 2);
	for (int i = 0; i < N; i++)
		mesh_ask(&a, mesh_control(&mesh), &msgs[i]);
	assert_true(a.backlog_count > 0);
	assert_false(mesh_is_quiet(&a));
	int seen = 0, back = 0;
	while (back < N) {
		mesh_flush(&a);
		uint32_t n = mesh_recv(&b, got, N);
		for (uint32_t i = 0; i < n; i++) {
			assert_ptr_equal(got[i], &msgs[seen++]);
			assert_false(got[i]->answer);
			assert_int_equal(got[i]->from, 0);
			mesh_answer(&b, got[i]);
		}
		mesh_flush(&b);
		n = mesh_recv(&a, got, N);
		for (uint32_t i = 0; i < n; i++) {
			assert_ptr_equal(got[i], &msgs[back++]);
			assert_true(got[i]->answer);
		}
	}
	assert_true(mesh_is_quiet(&a));
	assert_true(mesh_is_quiet(&b));
	mesh_fini(&mesh);
	free(msgs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_slab_stops_at_its_limit_and_reuses_what_is_put_back),
		cmocka_unit_test(test_bufs_never_hand_out_more_than_the_budget),
		cmocka_unit_test(test_bufs_refuse_a_size_beyond_the_largest_class),
		cmocka_unit_test(test_bufs_keep_used_and_cached_within_the_budget_under_random_use),
		cmocka_unit_test(
			test_mesh_brings_a_question_there_and_back_in_order_when_the_ring_overflows),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
