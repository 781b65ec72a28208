/* SPDX-License-Identifier: Apache-2.0 */
/* Groups of the consumer protocol (KIP-848): who gets what, when, and what a restart leaves of it.
 */
#include "unit/control/group/consumer_world.h"

static void test_the_first_member_has_everything_at_once(void **state)
{
	struct heart a = {.id = "a", .topics = {"apples"}};
	assert_int_equal(join_as(&a), KE_NONE);
	assert_int_equal(a.epoch, 1);
	owns(&a, 6);
	assert_string_equal(describe("g"), "Stable 1/1 uniform 1");
}

static void test_a_partition_goes_over_when_it_has_been_given_up(void **state)
{
	struct heart a = {.id = "a", .topics = {"apples"}}, b = {.id = "b", .topics = {"apples"}};
	join_as(&a);
	join_as(&b);
	assert_int_equal(b.epoch, 2);
	owns(&b, 0); /* all that it shall have is a's */
	struct heart before = a;
	assert_int_equal(beat(&a), KE_NONE);
	assert_int_equal(a.epoch, 1); /* has to give up first */
	owns(&a, 3);
	beat(&b);
	owns(&b, 0);
	/* it still holds them */
	before.epoch = 1;
	assert_int_equal(beat(&before), KE_NONE);
	beat(&b);
	owns(&b, 0);
	assert_int_equal(beat(&a), KE_NONE);
	assert_int_equal(a.epoch, 2);
	beat(&b);
	owns(&b, 3);
	assert_string_equal(describe("g"), "Stable 2/2 uniform 2");
}

static void test_what_is_told_is_durable(void **state)
{
	struct env *e = *state;
	struct heart a = {.id = "a", .topics = {"apples"}};
	e->hold_writes = true;
	assert_int_equal(join_as(&a), -99);
	write_one(e, KE_NONE);
	owns(&a, 6);
	e->hold_writes = false;
}

static void test_a_write_that_fails_is_told_and_made_good(void **state)
{
	struct env *e = *state;
	struct heart a = {.id = "a", .topics = {"apples"}};
	e->fail_writes = KE_KAFKA_STORAGE_ERROR;
	assert_int_not_equal(join_as(&a), KE_NONE);
	e->fail_writes = KE_NONE;
	assert_int_equal(join_as(&a), KE_NONE);
	owns(&a, 6);
	restart_consumers(e);
	assert_int_equal(beat(&a), KE_NONE);
	owns(&a, 6);
}

static void test_a_restart_changes_nothing(void **state)
{
	struct env *e = *state;
	struct heart a = {.id = "a", .topics = {"apples"}}, b = {.id = "b", .regex = "ap.*"};
	join_as(&a);
	join_as(&b);
	beat(&a);
	char before[64];
	snprintf(before, sizeof(before), "%s", describe("g"));
	restart_consumers(e);
	assert_string_equal(describe("g"), before);
	beat(&a);
	beat(&b);
	owns(&a, 3);
	owns(&b, 3);
}

static void test_a_silent_member_is_out_and_the_others_take_over(void **state)
{
	struct env *e = *state;
	struct heart a = {.id = "a", .topics = {"apples"}}, b = {.id = "b", .topics = {"apples"}};
	join_as(&a);
	join_as(&b);
	beat(&a);
	beat(&a);
	beat(&b);
	pass_ms(e, 40000);
	beat(&a);
	pass_ms(e, 6000);
	beat(&a);
	owns(&a, 6);
	assert_int_equal(beat(&b), KE_UNKNOWN_MEMBER_ID);
}

static void test_who_does_not_give_up_in_time_is_out(void **state)
{
	struct env *e = *state;
	struct heart a = {.id = "a", .topics = {"apples"}}, b = {.id = "b", .topics = {"apples"}};
	join_as(&a);
	join_as(&b);
	for (int i = 0; i < 6; i++) {
		struct heart stuck = a; /* does not do what it is told */
		assert_int_equal(beat(&stuck), KE_NONE);
		beat(&b);
		pass_ms(e, 5000);
	}
	beat(&b);
	owns(&b, 6);
	assert_int_equal(beat(&a), KE_UNKNOWN_MEMBER_ID);
}

static void test_epochs_fence(void **state)
{
	struct heart a = {.id = "a", .topics = {"apples"}};
	struct heart stranger = {.id = "x", .topics = {"apples"}, .epoch = 1};
	assert_int_equal(beat(&stranger), KE_GROUP_ID_NOT_FOUND);
	join_as(&a);
	assert_int_equal(beat(&stranger), KE_UNKNOWN_MEMBER_ID);
	assert_int_equal(beat_as(&a, 7, true), KE_FENCED_MEMBER_EPOCH);
	assert_int_equal(beat(&a), KE_NONE);
	/* commits with an epoch of its own only */
	struct env *e = *state;
	struct client *c = client_new(e, "c");
	snprintf(c->id, sizeof(c->id), "a");
	c->generation = 9;
	commit_with(e, c, (struct commit_args){.version = 9, .offset = 1});
	c->generation = 1;
	commit_with(e, c, (struct commit_args){.version = 9, .offset = 2});
	commit_with(e, c, (struct commit_args){.version = 8, .offset = 2});
	expect(e, "c commit: t-0 STALE_MEMBER_EPOCH\nc commit: t-0 NONE\n"
		  "c commit: t-0 UNSUPPORTED_VERSION\n");
}

static void test_a_static_member_keeps_its_place(void **state)
{
	struct heart a = {.id = "a", .instance = "i", .topics = {"apples"}};
	struct heart b = {.id = "b", .topics = {"apples"}};
	struct heart again = {.id = "a2", .instance = "i", .topics = {"apples"}};
	join_as(&a);
	join_as(&b);
	beat(&a);
	beat(&a);
	beat(&b);
	assert_int_equal(join_as(&again), KE_UNRELEASED_INSTANCE_ID);
	assert_int_equal(beat_as(&a, -2, false), KE_NONE);
	beat(&b);
	owns(&b, 3); /* nothing has moved */
	assert_int_equal(join_as(&again), KE_NONE);
	beat(&again);
	owns(&again, 3);
	assert_int_equal(beat_as(&a, 2, true), KE_FENCED_INSTANCE_ID);
}

static void test_a_topic_that_grows_is_shared_out_again(void **state)
{
	struct heart a = {.id = "a", .topics = {"apples"}};
	join_as(&a);
	set_topics(9, 0, 0);
	beat(&a);
	owns(&a, 9);
}

static void test_topics_are_found_by_expression_as_they_come(void **state)
{
	struct heart a = {.id = "a", .regex = "(apples|cherr.*)"};
	struct heart bad = {.id = "b", .regex = "(("};
	join_as(&a);
	owns(&a, 6);
	set_topics(6, 5, 2);
	beat(&a);
	owns(&a, 8);
	assert_int_equal(join_as(&bad), KE_INVALID_REGULAR_EXPRESSION);
}

static void test_range_gives_runs_alike_over_topics(void **state)
{
	struct heart a = {.id = "a", .topics = {"apples", "bananas"}, .assignor = "range"};
	struct heart b = {.id = "b", .topics = {"apples", "bananas"}, .assignor = "range"};
	struct heart bad = {.id = "b", .topics = {"apples"}, .assignor = "sticky"};
	set_topics(4, 4, 0);
	join_as(&a);
	join_as(&b);
	beat(&a);
	beat(&a);
	beat(&b);
	static const int32_t first[] = {100, 101, 200, 201}, second[] = {102, 103, 202, 203};
	owns(&a, 4);
	owns(&b, 4);
	assert_memory_equal(a.parts, first, sizeof(first));
	assert_memory_equal(b.parts, second, sizeof(second));
	assert_int_equal(join_as(&bad), KE_UNSUPPORTED_ASSIGNOR);
}

static void test_an_empty_group_becomes_one_of_the_other_protocol(void **state)
{
	struct env *e = *state;
	struct heart a = {.id = "a", .topics = {"apples"}};
	struct client *c = client_new(e, "c");
	join_as(&a);
	assert_int_equal(join(e, c)->error, KE_INCONSISTENT_GROUP_PROTOCOL);
	assert_int_equal(beat_as(&a, -1, false), KE_NONE);
	e->text_len = 0;
	e->text[0] = 0;
	join_twice(e, c);
	pass_ms(e, 3002);
	lead(e, c, c);
	expect(e, "c joined 3 range leader c of c=c\nc synced \"c!\"\n");
	assert_int_equal(join_as(&a), KE_GROUP_ID_NOT_FOUND);
	leave(e, c);
	assert_int_equal(join_as(&a), KE_NONE);
	owns(&a, 6);
	restart_consumers(e);
	beat(&a);
	owns(&a, 6);
}

static void test_bad_heartbeats_are_refused(void **state)
{
	struct heart a = {.id = "", .topics = {"apples"}};
	assert_int_equal(join_as(&a), KE_INVALID_REQUEST);
	a.id = "a";
	assert_int_equal(beat_as(&a, -3, false), KE_INVALID_REQUEST);
	assert_int_equal(beat_as(&a, -2, false), KE_INVALID_REQUEST); /* has no instance */
	a.instance = "";
	assert_int_equal(join_as(&a), KE_INVALID_REQUEST);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		consumer_test(test_the_first_member_has_everything_at_once),
		consumer_test(test_a_partition_goes_over_when_it_has_been_given_up),
		consumer_test(test_what_is_told_is_durable),
		consumer_test(test_a_write_that_fails_is_told_and_made_good),
		consumer_test(test_a_restart_changes_nothing),
		consumer_test(test_a_silent_member_is_out_and_the_others_take_over),
		consumer_test(test_who_does_not_give_up_in_time_is_out),
		consumer_test(test_epochs_fence),
		consumer_test(test_a_static_member_keeps_its_place),
		consumer_test(test_a_topic_that_grows_is_shared_out_again),
		consumer_test(test_topics_are_found_by_expression_as_they_come),
		consumer_test(test_range_gives_runs_alike_over_topics),
		consumer_test(test_an_empty_group_becomes_one_of_the_other_protocol),
		consumer_test(test_bad_heartbeats_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
