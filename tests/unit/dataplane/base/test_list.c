/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/list.h"

struct item {
	int v;
	struct list node;
};

static int value(struct list *n)
{
	return list_entry(n, struct item, node)->v;
}

static void fill(struct list *l, struct item *items, int count, int first)
{
	list_init(l);
	for (int i = 0; i < count; i++) {
		items[i].v = first + i;
		list_init(&items[i].node);
		list_push_back(l, &items[i].node);
	}
}

static void nodes_come_out_in_the_order_they_were_pushed(void **state)
{
	struct list l;
	struct item items[5];
	fill(&l, items, 5, 0);
	for (int i = 0; i < 5; i++)
		assert_int_equal(value(list_pop_front(&l)), i);
	assert_null(list_pop_front(&l));
	assert_null(list_front(&l));
	assert_true(list_empty(&l));
}

static void push_front_and_insert_before_place_a_node(void **state)
{
	struct list l;
	struct item items[3], first = {.v = -1}, mid = {.v = 100};
	fill(&l, items, 3, 0);
	list_push_front(&l, &first.node);
	list_insert_before(&items[1].node, &mid.node);
	static const int want[] = {-1, 0, 100, 1, 2};
	int n = 0;
	list_for_each (it, &l)
		assert_int_equal(value(it), want[n++]);
	assert_int_equal(n, 5);
	/* and backwards */
	for (struct list *it = l.prev; it != &l; it = it->prev)
		assert_int_equal(value(it), want[--n]);
	assert_int_equal(n, 0);
}

static void a_removed_node_is_not_linked_and_may_be_removed_again(void **state)
{
	struct list l;
	struct item items[3];
	fill(&l, items, 3, 0);
	assert_true(list_linked(&items[1].node));
	list_remove(&items[1].node);
	assert_false(list_linked(&items[1].node));
	list_remove(&items[1].node);
	assert_int_equal(value(list_pop_front(&l)), 0);
	assert_int_equal(value(list_pop_front(&l)), 2);
	assert_true(list_empty(&l));
}

static void a_walk_may_unlink_the_node_it_stands_on(void **state)
{
	struct list l;
	struct item items[6];
	fill(&l, items, 6, 0);
	list_for_each_safe (it, &l) {
		if (value(it) % 2 == 0)
			list_remove(it);
	}
	for (int i = 1; i < 6; i += 2)
		assert_int_equal(value(list_pop_front(&l)), i);
	assert_true(list_empty(&l));
}

static void splice_moves_all_in_order_and_empties_the_source(void **state)
{
	struct list a, b, empty;
	struct item in_a[2], in_b[3];
	fill(&a, in_a, 2, 0);
	fill(&b, in_b, 3, 2);
	list_init(&empty);
	list_splice(&a, &empty);
	list_splice(&a, &b);
	assert_true(list_empty(&b));
	for (int i = 0; i < 5; i++)
		assert_int_equal(value(list_pop_front(&a)), i);
	assert_true(list_empty(&a));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nodes_come_out_in_the_order_they_were_pushed),
		cmocka_unit_test(push_front_and_insert_before_place_a_node),
		cmocka_unit_test(a_removed_node_is_not_linked_and_may_be_removed_again),
		cmocka_unit_test(a_walk_may_unlink_the_node_it_stands_on),
		cmocka_unit_test(splice_moves_all_in_order_and_empties_the_source),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
