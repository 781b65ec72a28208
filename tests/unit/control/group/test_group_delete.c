/* SPDX-License-Identifier: Apache-2.0 */
/* What an administrator may take away from groups, and when it is gone. */
#include "unit/control/group/group_env.h"

#define GROUPS(...)                                                                                \
	(const char *[])                                                                           \
	{                                                                                          \
		__VA_ARGS__, NULL                                                                  \
	}

static void quiet(struct env *e)
{
	e->text_len = 0;
	e->text[0] = 0;
}

static struct client *committer(struct env *e, const char *group, uint32_t n)
{
	struct client *a = client_new(e, "a");
	for (uint32_t i = 0; i < n; i++)
		commit_with(e, a,
			(struct commit_args){
				.group = group, .partition = (int32_t)i, .offset = 10 + i});
	quiet(e);
	return a;
}

static void one_member(struct env *e, struct client *a)
{
	join_twice(e, a);
	pass_ms(e, 3002);
	lead(e, a, a);
	quiet(e);
}

/* ---- offsets ---- */

static void test_offsets_are_gone_once_that_is_in_the_log(void **state)
{
	struct env *e = *state;
	struct client *a = committer(e, "g", 3);
	e->hold_writes = true;
	delete_offsets(e, a, "g", "t", 1, NULL);
	expect(e, "");
	assert_int_equal(fetch_offset(e, "g", "t", 1), 11);
	write_one(e, KE_NONE);
	expect(e, "a delete offsets: NONE t-1 NONE t-2 NONE\n");
	e->hold_writes = false;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(fetch_offset(e, "g", "t", 0), 10);
		assert_int_equal(fetch_offset(e, "g", "t", 1), -1);
		assert_int_equal(fetch_offset(e, "g", "t", 2), -1);
		restart(e);
	}
}

static void test_offsets_whose_deletion_fails_stay(void **state)
{
	struct env *e = *state;
	struct client *a = committer(e, "g", 2);
	e->fail_writes = KE_KAFKA_STORAGE_ERROR;
	delete_offsets(e, a, "g", "t", 0, NULL);
	expect(e, "a delete offsets: NOT_COORDINATOR\n");
	assert_int_equal(fetch_offset(e, "g", "t", 0), 10);
	restart(e);
	assert_int_equal(fetch_offset(e, "g", "t", 1), 11);
}

static void test_a_commit_after_the_deletion_stays(void **state)
{
	struct env *e = *state;
	struct client *a = committer(e, "g", 1);
	e->hold_writes = true;
	delete_offsets(e, a, "g", "t", 0, NULL);
	commit_with(e, a, (struct commit_args){.offset = 77});
	e->hold_writes = false;
	after(e);
	expect(e, "a delete offsets: NONE t-0 NONE t-1 NONE\na commit: t-0 NONE\n");
	assert_int_equal(fetch_offset(e, "g", "t", 0), 77);
}

static int16_t only_zero(void *ctx, struct kstr topic, int32_t partition)
{
	return partition == 0 ? KE_NONE : KE_UNKNOWN_TOPIC_OR_PARTITION;
}

static void test_what_does_not_exist_is_said_one_by_one(void **state)
{
	struct env *e = *state;
	struct client *a = committer(e, "g", 2);
	struct grp_partition_check check = {.check = only_zero};
	delete_offsets(e, a, "g", "t", 0, &check);
	expect(e, "a delete offsets: NONE t-0 NONE t-1 UNKNOWN_TOPIC_OR_PARTITION\n");
	assert_int_equal(fetch_offset(e, "g", "t", 0), -1);
	assert_int_equal(fetch_offset(e, "g", "t", 1), 11);
	delete_offsets(e, a, "g", "t", 4, &check);
	expect(e, "a delete offsets: NONE t-4 UNKNOWN_TOPIC_OR_PARTITION t-5 "
		  "UNKNOWN_TOPIC_OR_PARTITION\n");
	delete_offsets(e, a, "none", "t", 0, NULL);
	expect(e, "a delete offsets: GROUP_ID_NOT_FOUND\n");
}

static void test_what_members_read_cannot_be_forgotten(void **state)
{
	struct env *e = *state;
	struct client *a = client_new(e, "");
	one_member(e, a);
	commit(e, a, 0, 5);
	quiet(e);
	delete_offsets(e, a, "g", "t", 0, NULL); /* a subscription that cannot be read */
	expect(e, " delete offsets: NONE t-0 GROUP_SUBSCRIBED_TO_TOPIC t-1 "
		  "GROUP_SUBSCRIBED_TO_TOPIC\n");
	assert_int_equal(fetch_offset(e, "g", "t", 0), 5);
	leave(e, a);
	quiet(e);
	delete_offsets(e, a, "g", "t", 0, NULL);
	expect(e, " delete offsets: NONE t-0 NONE t-1 NONE\n");
	assert_int_equal(fetch_offset(e, "g", "t", 0), -1);
}

static void test_a_group_that_does_not_consume_must_be_empty(void **state)
{
	struct env *e = *state;
	struct client *a = client_new(e, "a");
	a->type = "connect";
	one_member(e, a);
	delete_offsets(e, a, "g", "t", 0, NULL);
	expect(e, "a delete offsets: NON_EMPTY_GROUP\n");
}

/* ---- groups ---- */

static void test_a_deleted_group_is_gone_with_its_offsets(void **state)
{
	struct env *e = *state;
	struct client *a = client_new(e, "a");
	one_member(e, a);
	commit(e, a, 0, 5);
	leave(e, a);
	quiet(e);
	e->hold_writes = true;
	delete_groups(e, a, GROUPS("g"));
	expect(e, "");
	assert_int_equal(fetch_offset(e, "g", "t", 0), -100 - KE_COORDINATOR_LOAD_IN_PROGRESS);
	write_one(e, KE_NONE);
	expect(e, "a delete: g NONE\n");
	e->hold_writes = false;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(grp_core_stats(e->core).groups, 0);
		assert_int_equal(fetch_offset(e, "g", "t", 0), -1);
		restart(e);
	}
}

static void test_each_group_of_a_request_has_its_own_answer(void **state)
{
	struct env *e = *state;
	struct client *a = committer(e, "old", 2), *b = client_new(e, "b");
	one_member(e, b);
	delete_groups(e, a, GROUPS("none", "old", "g", "old2"));
	expect(e, "a delete: none GROUP_ID_NOT_FOUND old NONE g NON_EMPTY_GROUP old2 "
		  "GROUP_ID_NOT_FOUND\n");
	assert_int_equal(grp_core_stats(e->core).groups, 1);
	delete_groups(e, a, GROUPS(NULL));
	expect(e, "a delete:\n");
}

static void test_what_is_under_way_is_deleted_too(void **state)
{
	struct env *e = *state;
	struct client *a = committer(e, "g", 1);
	e->hold_writes = true;
	commit_with(e, a, (struct commit_args){.partition = 7, .offset = 70});
	delete_groups(e, a, GROUPS("g"));
	commit_with(e, a, (struct commit_args){.partition = 8, .offset = 80});
	expect(e, "a commit: t-8 COORDINATOR_LOAD_IN_PROGRESS\n");
	e->hold_writes = false;
	after(e);
	expect(e, "a commit: t-7 NONE\na delete: g NONE\n");
	restart(e);
	assert_int_equal(grp_core_stats(e->core).groups, 0);
}

static void test_a_group_whose_deletion_fails_stays(void **state)
{
	struct env *e = *state;
	struct client *a = committer(e, "g", 2);
	e->fail_writes = KE_NOT_ENOUGH_REPLICAS;
	delete_groups(e, a, GROUPS("g"));
	expect(e, "a delete: g COORDINATOR_NOT_AVAILABLE\n");
	assert_int_equal(fetch_offset(e, "g", "t", 1), 11);
	e->fail_writes = KE_NONE;
	restart(e);
	assert_int_equal(fetch_offset(e, "g", "t", 0), 10);
	delete_groups(e, a, GROUPS("g"));
	expect(e, "a delete: g NONE\n");
}

static void test_a_group_with_more_offsets_than_a_write_takes_goes_in_parts(void **state)
{
	struct env *e = *state;
	close_core(e);
	e->cfg.max_write_bytes = 300;
	open_core(e);
	replay_all(e, e->core);
	struct client *a = committer(e, "g", 20);
	uint32_t before = e->log_count;
	e->hold_writes = true;
	delete_groups(e, a, GROUPS("g"));
	write_one(e, KE_NONE);
	assert_true(e->log_count > before && e->log_count < before + 20);
	e->hold_writes = false;
	after(e);
	expect(e, "a delete: g NONE\n");
	assert_int_equal(e->log_count, before + 20);
	restart(e);
	assert_int_equal(grp_core_stats(e->core).groups, 0);
}

static void test_a_coordinator_that_stops_answers_the_deletion(void **state)
{
	struct env *e = *state;
	struct client *a = committer(e, "g", 2);
	e->hold_writes = true;
	delete_groups(e, a, GROUPS("g"));
	assert_int_equal(grp_set_partitions(e->core, PARTS, e->now), 0);
	expect(e, "a delete: g NOT_COORDINATOR\n");
	while (write_one(e, KE_NONE))
		;
	replay_all(e, e->core);
	assert_int_equal(grp_core_stats(e->core).groups, 0);
	expect(e, "");
}

static void test_a_group_made_anew_begins_at_the_beginning(void **state)
{
	struct env *e = *state;
	struct client *a = client_new(e, "a");
	for (int i = 0; i < 2; i++) {
		a->id[0] = 0;
		one_member(e, a);
		assert_int_equal(a->generation, 1);
		leave(e, a);
		delete_groups(e, a, GROUPS("g"));
		expect(e, "a leave: NONE\na delete: g NONE\n");
		restart(e);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		group_test(test_offsets_are_gone_once_that_is_in_the_log),
		group_test(test_offsets_whose_deletion_fails_stay),
		group_test(test_a_commit_after_the_deletion_stays),
		group_test(test_what_does_not_exist_is_said_one_by_one),
		group_test(test_what_members_read_cannot_be_forgotten),
		group_test(test_a_group_that_does_not_consume_must_be_empty),
		group_test(test_a_deleted_group_is_gone_with_its_offsets),
		group_test(test_each_group_of_a_request_has_its_own_answer),
		group_test(test_what_is_under_way_is_deleted_too),
		group_test(test_a_group_whose_deletion_fails_stays),
		group_test(test_a_group_with_more_offsets_than_a_write_takes_goes_in_parts),
		group_test(test_a_coordinator_that_stops_answers_the_deletion),
		group_test(test_a_group_made_anew_begins_at_the_beginning),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
