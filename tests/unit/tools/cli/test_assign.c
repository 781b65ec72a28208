/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "tools/cli/assign.h"
#include "tools/cli/commits.h"

#define SPACE 512

/* What has been assigned to one member, as `topic:partition ` in a text. */
struct shown {
	char text[SPACE];
};

static void show(void *arg, struct kstr topic, int32_t partition)
{
	struct shown *s = arg;
	size_t n = strlen(s->text);
	snprintf(s->text + n, sizeof(s->text) - n, "%.*s:%d ", topic.len, topic.p, partition);
}

/* A member that subscribes to a topic. */
static struct subscriber member(const char *id, const char *topic, uint8_t *sub, uint8_t *out)
{
	size_t n = subscription_write(kstr_of(topic), sub, SPACE);
	assert_true(n > 0);
	return (struct subscriber){
		.id = kstr_of(id), .subscription = {sub, (int32_t)n}, .out = wr_of(out, SPACE)};
}

static void assert_has(const struct subscriber *s, const char *id, const char *expected)
{
	struct shown shown = {""};
	struct kbytes b = {s->out.base, (int32_t)wr_len(&s->out)};
	assert_true(kstr_equal(s->id, kstr_of(id)));
	assert_false(s->out.full);
	assert_true(assignment_read(b, show, &shown));
	assert_string_equal(shown.text, expected);
}

static void partitions_are_shared_out_in_runs_to_those_who_subscribe(void **state)
{
	static uint8_t sub[4][SPACE], out[4][SPACE];
	struct subscriber s[4] = {member("c", "t", sub[0], out[0]),
		member("a", "t", sub[1], out[1]), member("bb", "u", sub[2], out[2]),
		member("b", "t", sub[3], out[3])};
	const struct assign_topic topics[] = {{{"t", 1}, 5}, {{"u", 1}, 2}};
	assign_range(s, 4, topics, 2);
	assert_has(&s[0], "a", "t:0 t:1 ");
	assert_has(&s[1], "b", "t:2 t:3 ");
	assert_has(&s[2], "bb", "u:0 u:1 ");
	assert_has(&s[3], "c", "t:4 ");
}

static void more_members_than_partitions_leave_some_idle(void **state)
{
	static uint8_t sub[2][SPACE], out[2][SPACE];
	struct subscriber s[2] = {
		member("a", "t", sub[0], out[0]), member("b", "t", sub[1], out[1])};
	const struct assign_topic topics[] = {{{"t", 1}, 1}};
	assign_range(s, 2, topics, 1);
	assert_has(&s[0], "a", "t:0 ");
	assert_has(&s[1], "b", "");
}

static void an_assignment_fits_into_its_bound(void **state)
{
	static uint8_t sub[SPACE], out[SPACE];
	const struct assign_topic topics[] = {{{"t", 1}, 7}};
	struct subscriber s = member("a", "t", sub, out);
	s.out = wr_of(out, assign_bound(topics, 1));
	assign_range(&s, 1, topics, 1);
	assert_false(s.out.full);
	assert_int_equal(wr_len(&s.out), assign_bound(topics, 1));
}

static void what_members_send_may_be_anything(void **state)
{
	const uint8_t bad[][12] = {{0}, {0, 0, 0xff, 0xff, 0xff, 0xff},
		{0, 0, 0, 0, 0, 2, 0, 1, 't'}, {0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 1, 't', 0, 0, 0},
		{0, 0, 0, 0, 0, 1, 0, 99}};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		for (int32_t n = -1; n <= 12; n++) {
			struct shown shown = {""};
			struct kstr topic;
			struct kbytes b = {bad[i], n};
			for (int32_t k = 0; k < 3 && subscription_topic(b, k, &topic); k++)
				assert_in_range(topic.len, 0, 1);
			assignment_read(b, show, &shown);
		}
	uint8_t tiny[4];
	assert_int_equal(subscription_write(kstr_of("t"), tiny, sizeof(tiny)), 0);
}

static void lag_is_what_is_left_to_read(void **state)
{
	assert_int_equal(commits_lag(&(struct commit){.committed = 3, .end = 10}), 7);
	assert_int_equal(commits_lag(&(struct commit){.committed = 12, .end = 10}), 0);
	assert_int_equal(commits_lag(&(struct commit){.committed = -1, .end = 10}), -1);
	assert_int_equal(commits_lag(&(struct commit){.committed = 3, .end = -1}), -1);
}

static void commits_are_kept_once_a_partition_and_sorted(void **state)
{
	struct commits k = {0};
	const char *topics[] = {"b", "a", "aa", "a"};
	for (int32_t i = 0; i < 200; i++)
		assert_non_null(commits_get(&k, kstr_of(topics[i % 4]), 7 - i / 4 % 8));
	assert_int_equal(k.count, 24);
	commits_sort(&k);
	assert_true(kstr_equal(k.of[0].topic, kstr_of("a")) && k.of[0].partition == 0);
	assert_true(kstr_equal(k.of[8].topic, kstr_of("aa")) && k.of[8].partition == 0);
	assert_true(kstr_equal(k.of[23].topic, kstr_of("b")) && k.of[23].partition == 7);
	commits_free(&k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(partitions_are_shared_out_in_runs_to_those_who_subscribe),
		cmocka_unit_test(more_members_than_partitions_leave_some_idle),
		cmocka_unit_test(an_assignment_fits_into_its_bound),
		cmocka_unit_test(what_members_send_may_be_anything),
		cmocka_unit_test(lag_is_what_is_left_to_read),
		cmocka_unit_test(commits_are_kept_once_a_partition_and_sorted),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
