/* SPDX-License-Identifier: Apache-2.0 */
/* Settings altered and partitions added. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "control/meta/topic.h"
#include "kafka/errcode.h"

static char err[TOPIC_ERROR_MAX];

struct world {
	struct config cfg;
	struct topics t;
};

static int setup(void **state)
{
	static struct world w;
	struct topic_setting_arg given[] = {
		{kstr_of("retention.ms"), kstr_of("5000")},
		{kstr_of("cleanup.policy"), kstr_of("delete")},
	};
	struct topic_spec s = {.name = kstr_of("t"),
		.partitions = 2,
		.replication = -1,
		.settings = given,
		.setting_count = 2,
		.id = {{7}}};
	struct topic_spec own = {.name = kstr_of(TOPIC_OFFSETS),
		.partitions = 1,
		.replication = -1,
		.id = {{8}},
		.internal = true};
	char why[CONFIG_ERR_MAX];
	config_defaults(&w.cfg);
	assert_int_equal(config_finish(&w.cfg, "h", why, sizeof(why)), 0);
	topics_init(&w.t);
	assert_int_equal(topics_create(&w.t, &w.cfg, &s, err, sizeof(err)), KE_NONE);
	assert_int_equal(topics_create(&w.t, &w.cfg, &own, err, sizeof(err)), KE_NONE);
	*state = &w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;
	topics_fini(&w->t);
	return 0;
}

/* The value in force, in a buffer of its own. */
static const char *value(struct world *w, const char *name)
{
	static char text[300];
	uint32_t n;
	const struct topic_setting_desc *d = topic_settings(&n);
	for (uint32_t i = 0; i < n; i++)
		if (strcmp(d[i].name, name) == 0)
			topic_setting_value(topics_find(&w->t, kstr_of("t")), &d[i], &w->cfg, text,
				sizeof(text));
	return text;
}

static int16_t alter(struct world *w, int8_t op, const char *name, const char *to)
{
	struct topic_alter_arg a = {
		.name = kstr_of(name), .value = to ? kstr_of(to) : KSTR_NULL, .op = op};
	struct topic_alteration c = {.name = kstr_of("t"), .args = &a, .count = 1};
	return topics_alter(&w->t, &w->cfg, &c, err, sizeof(err));
}

static void test_a_setting_is_set_and_deleted_and_the_others_stay(void **state)
{
	struct world *w = *state;
	assert_int_equal(alter(w, TOPIC_ALTER_SET, "max.message.bytes", "1000"), KE_NONE);
	assert_string_equal(value(w, "max.message.bytes"), "1000");
	assert_string_equal(value(w, "retention.ms"), "5000");
	assert_int_equal(alter(w, TOPIC_ALTER_DELETE, "retention.ms", NULL), KE_NONE);
	assert_string_equal(value(w, "retention.ms"), "604800000");
	assert_int_equal(alter(w, TOPIC_ALTER_DELETE, "retention.ms", NULL), KE_NONE);
	const struct topic *t = topics_find(&w->t, kstr_of("t"));
	assert_int_equal(t->partition_count, 2);
	assert_int_equal(t->id.b[0], 7);
	assert_int_equal(topic_image_config(t, &w->cfg).max_message_bytes, 1000);
}

static void test_lists_are_added_to_and_taken_from(void **state)
{
	struct world *w = *state;
	assert_int_equal(alter(w, TOPIC_ALTER_APPEND, "cleanup.policy", "compact,delete"), KE_NONE);
	assert_string_equal(value(w, "cleanup.policy"), "delete,compact");
	assert_int_equal(alter(w, TOPIC_ALTER_SUBTRACT, "cleanup.policy", "delete"), KE_NONE);
	assert_string_equal(value(w, "cleanup.policy"), "compact");
	assert_int_equal(alter(w, TOPIC_ALTER_DELETE, "cleanup.policy", NULL), KE_NONE);
	assert_int_equal(alter(w, TOPIC_ALTER_APPEND, "cleanup.policy", "compact"), KE_NONE);
	assert_string_equal(value(w, "cleanup.policy"), "delete,compact");
	assert_int_equal(alter(w, TOPIC_ALTER_APPEND, "cleanup.policy", "burn"), KE_INVALID_CONFIG);
	assert_int_equal(alter(w, TOPIC_ALTER_APPEND, "retention.ms", "1"), KE_INVALID_CONFIG);
	assert_string_equal(value(w, "cleanup.policy"), "delete,compact");
}

static void test_what_is_wrong_changes_nothing(void **state)
{
	struct world *w = *state;
	assert_int_equal(alter(w, TOPIC_ALTER_SET, "no.such", "1"), KE_INVALID_CONFIG);
	assert_int_equal(alter(w, TOPIC_ALTER_DELETE, "no.such", NULL), KE_INVALID_CONFIG);
	assert_int_equal(alter(w, TOPIC_ALTER_SET, "retention.ms", "x"), KE_INVALID_CONFIG);
	assert_int_equal(alter(w, TOPIC_ALTER_SET, "retention.ms", NULL), KE_INVALID_REQUEST);
	assert_int_equal(alter(w, 4, "retention.ms", "1"), KE_INVALID_REQUEST);
	assert_int_equal(alter(w, -1, "retention.ms", "1"), KE_INVALID_REQUEST);
	assert_int_equal(alter(w, TOPIC_ALTER_SET, "min.compaction.lag.ms", "9"), KE_NONE);
	assert_int_equal(
		alter(w, TOPIC_ALTER_SET, "max.compaction.lag.ms", "8"), KE_INVALID_CONFIG);
	struct topic_alter_arg both[] = {
		{kstr_of("retention.ms"), kstr_of("1"), TOPIC_ALTER_SET},
		{kstr_of("retention.ms"), kstr_of("2"), TOPIC_ALTER_SET},
	};
	struct topic_alteration c = {.name = kstr_of("t"), .args = both, .count = 2};
	assert_int_equal(topics_alter(&w->t, &w->cfg, &c, err, sizeof(err)), KE_INVALID_REQUEST);
	assert_string_equal(value(w, "retention.ms"), "5000");
	c.name = kstr_of("other");
	assert_int_equal(
		topics_alter(&w->t, &w->cfg, &c, err, sizeof(err)), KE_UNKNOWN_TOPIC_OR_PARTITION);
}

static void test_replacing_forgets_what_is_not_named(void **state)
{
	struct world *w = *state;
	struct topic_alter_arg a = {kstr_of("segment.ms"), kstr_of("77"), TOPIC_ALTER_SET};
	struct topic_alteration c = {.name = kstr_of("t"), .args = &a, .count = 1, .replace = true};
	assert_int_equal(topics_alter(&w->t, &w->cfg, &c, err, sizeof(err)), KE_NONE);
	assert_string_equal(value(w, "segment.ms"), "77");
	assert_string_equal(value(w, "retention.ms"), "604800000");
}

static void test_a_clone_keeps_what_its_original_changes(void **state)
{
	struct world *w = *state;
	struct world before = {.cfg = w->cfg};
	assert_int_equal(topics_clone(&before.t, &w->t), 0);
	assert_int_equal(alter(w, TOPIC_ALTER_SET, "retention.ms", "6000"), KE_NONE);
	struct topic_growth g = {.name = kstr_of("t"), .count = 5, .assignment_count = -1};
	assert_int_equal(topics_grow(&w->t, &w->cfg, &g, err, sizeof(err)), KE_NONE);
	assert_string_equal(value(&before, "retention.ms"), "5000");
	assert_int_equal(topics_find(&before.t, kstr_of("t"))->partition_count, 2);
	topics_fini(&before.t);
	assert_string_equal(value(w, "retention.ms"), "6000");
}

static void test_partitions_are_added_behind_those_that_are_there(void **state)
{
	struct world *w = *state;
	const struct topic *t = topics_find(&w->t, kstr_of("t"));
	uint32_t first = t->part_ids[0], second = t->part_ids[1];
	uint32_t own = topics_find(&w->t, kstr_of(TOPIC_OFFSETS))->part_ids[0];
	const int32_t me = w->cfg.node_id, other = me + 1;
	struct topic_assignment good[] = {
		{.brokers = &me, .broker_count = 1}, {.brokers = &me, .broker_count = 1}};
	struct topic_growth g = {
		.name = kstr_of("t"), .count = 4, .assignments = good, .assignment_count = 2};
	assert_int_equal(topics_grow(&w->t, &w->cfg, &g, err, sizeof(err)), KE_NONE);
	t = topics_find(&w->t, kstr_of("t"));
	assert_int_equal(t->partition_count, 4);
	assert_int_equal(t->part_ids[0], first);
	assert_int_equal(t->part_ids[1], second);
	for (int i = 2; i < 4; i++)
		assert_true(t->part_ids[i] != first && t->part_ids[i] != second &&
			    t->part_ids[i] != own && t->part_ids[i] < w->t.id_limit);
	assert_string_equal(value(w, "retention.ms"), "5000");
	good[1].brokers = &other;
	g.count = 6;
	assert_int_equal(
		topics_grow(&w->t, &w->cfg, &g, err, sizeof(err)), KE_INVALID_REPLICA_ASSIGNMENT);
	g.assignment_count = 1;
	assert_int_equal(
		topics_grow(&w->t, &w->cfg, &g, err, sizeof(err)), KE_INVALID_REPLICA_ASSIGNMENT);
}

static void test_a_topic_does_not_shrink_nor_grow_without_bounds(void **state)
{
	struct world *w = *state;
	static const struct {
		int32_t count;
		int16_t error;
	} cases[] = {{2, KE_INVALID_PARTITIONS}, {1, KE_INVALID_PARTITIONS},
		{0, KE_INVALID_PARTITIONS}, {INT32_MIN, KE_INVALID_PARTITIONS},
		{INT32_MAX, KE_POLICY_VIOLATION}, {10003, KE_POLICY_VIOLATION}};
	for (size_t i = 0; i < array_size(cases); i++) {
		struct topic_growth g = {
			.name = kstr_of("t"), .count = cases[i].count, .assignment_count = -1};
		assert_int_equal(topics_grow(&w->t, &w->cfg, &g, err, sizeof(err)), cases[i].error);
		assert_true(err[0] != 0);
	}
	struct topic_growth own = {
		.name = kstr_of(TOPIC_OFFSETS), .count = 9, .assignment_count = -1};
	assert_int_equal(topics_grow(&w->t, &w->cfg, &own, err, sizeof(err)), KE_INVALID_REQUEST);
	struct topic_growth none = {.name = kstr_of("x"), .count = 9, .assignment_count = -1};
	assert_int_equal(topics_grow(&w->t, &w->cfg, &none, err, sizeof(err)),
		KE_UNKNOWN_TOPIC_OR_PARTITION);
}

static void test_every_setting_says_what_it_means(void **state)
{
	(void)state;
	uint32_t n;
	const struct topic_setting_desc *d = topic_settings(&n);
	for (uint32_t i = 0; i < n; i++) {
		assert_true(strlen(topic_setting_help(&d[i])) > 10);
		assert_true(topic_setting_kind(&d[i]) > 0);
	}
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_a_setting_is_set_and_deleted_and_the_others_stay),
		T(test_lists_are_added_to_and_taken_from),
		T(test_what_is_wrong_changes_nothing),
		T(test_replacing_forgets_what_is_not_named),
		T(test_a_clone_keeps_what_its_original_changes),
		T(test_partitions_are_added_behind_those_that_are_there),
		T(test_a_topic_does_not_shrink_nor_grow_without_bounds),
		T(test_every_setting_says_what_it_means),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
