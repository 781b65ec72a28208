/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "control/meta/topic.h"
#include "kafka/errcode.h"

static char err[TOPIC_ERROR_MAX];

static struct config config_of(const char *text)
{
	struct config c;
	char why[CONFIG_ERR_MAX];
	config_defaults(&c);
	if (config_parse(&c, "t", text, strlen(text), why, sizeof(why)) < 0 ||
		config_finish(&c, "h", why, sizeof(why)) < 0)
		fail_msg("%s", why);
	return c;
}

static struct topic_spec spec_of(const char *name, int32_t partitions)
{
	static uint32_t n;
	struct topic_spec s = {.name = kstr_of(name), .partitions = partitions, .replication = -1};
	s.id.b[0] = 1;
	be32_put(s.id.b + 12, ++n);
	return s;
}

static int16_t create(struct topics *t, const struct config *c, struct topic_spec s)
{
	return topics_create(t, c, &s, err, sizeof(err));
}

static void test_names_follow_kafkas_rules(void **state)
{
	struct config c = config_of("");
	struct topics t;
	topics_init(&t);
	char longest[252];
	memset(longest, 'x', sizeof(longest));
	longest[249] = 0;
	assert_int_equal(create(&t, &c, spec_of(longest, 1)), KE_NONE);
	longest[249] = 'x';
	longest[250] = 0;
	const char *bad[] = {"", ".", "..", "a/b", "../a", "a b", "a\xc3\xa9", "a:b", longest};
	for (size_t i = 0; i < array_size(bad); i++) {
		assert_int_equal(create(&t, &c, spec_of(bad[i], 1)), KE_INVALID_TOPIC_EXCEPTION);
		assert_true(strlen(err) > 0);
	}
	const char *good[] = {"a", "A-z_9.", "...", "__mine"};
	for (size_t i = 0; i < array_size(good); i++)
		assert_int_equal(create(&t, &c, spec_of(good[i], 1)), KE_NONE);
	topics_fini(&t);
}

static void test_names_that_differ_in_dot_and_underscore_collide(void **state)
{
	struct config c = config_of("");
	struct topics t;
	topics_init(&t);
	assert_int_equal(create(&t, &c, spec_of("a.b", 1)), KE_NONE);
	assert_int_equal(create(&t, &c, spec_of("a_b", 1)), KE_INVALID_TOPIC_EXCEPTION);
	assert_non_null(strstr(err, "collides with existing topic: a.b"));
	assert_int_equal(create(&t, &c, spec_of("a.b", 1)), KE_TOPIC_ALREADY_EXISTS);
	assert_int_equal(create(&t, &c, spec_of("a-b", 1)), KE_NONE);
	topics_fini(&t);
}

static void test_the_brokers_own_topics_are_made_by_the_broker_only(void **state)
{
	struct config c = config_of("");
	struct topics t;
	topics_init(&t);
	struct topic_spec s = spec_of(TOPIC_OFFSETS, 4);
	assert_int_equal(create(&t, &c, s), KE_INVALID_TOPIC_EXCEPTION);
	s.internal = true;
	assert_int_equal(create(&t, &c, s), KE_NONE);
	assert_true(topics_find(&t, kstr_of(TOPIC_OFFSETS))->internal);
	topics_fini(&t);
}

static void test_partition_and_replica_counts(void **state)
{
	struct config c = config_of("num.partitions=3");
	struct topics t;
	topics_init(&t);
	static const struct {
		int32_t partitions;
		int16_t replication;
		int16_t error;
	} cases[] = {
		{-1, -1, KE_NONE},
		{1, 1, KE_NONE},
		{10000, 1, KE_NONE},
		{0, 1, KE_INVALID_PARTITIONS},
		{-2, 1, KE_INVALID_PARTITIONS},
		{10001, 1, KE_POLICY_VIOLATION},
		{70000, 1, KE_POLICY_VIOLATION},
		{INT32_MAX, 1, KE_POLICY_VIOLATION},
		{1, 0, KE_INVALID_REPLICATION_FACTOR},
		{1, -2, KE_INVALID_REPLICATION_FACTOR},
		{1, 2, KE_INVALID_REPLICATION_FACTOR},
		{1, 3, KE_INVALID_REPLICATION_FACTOR},
	};
	for (size_t i = 0; i < array_size(cases); i++) {
		char name[16];
		snprintf(name, sizeof(name), "t%zu", i);
		struct topic_spec s = spec_of(name, cases[i].partitions);
		s.replication = cases[i].replication;
		assert_int_equal(create(&t, &c, s), cases[i].error);
		assert_int_equal(strlen(err) > 0, cases[i].error != KE_NONE);
		assert_int_equal(topics_find(&t, kstr_of(name)) != NULL, cases[i].error == KE_NONE);
	}
	assert_int_equal(topics_find(&t, kstr_of("t0"))->partition_count, 3);
	topics_fini(&t);
}

static void test_manual_assignments(void **state)
{
	struct config c = config_of("node.id=5");
	struct topics t;
	topics_init(&t);
	const int32_t me[] = {5}, other[] = {6}, twice[] = {5, 5};
	const struct topic_assignment good[] = {{1, me, 1}, {0, me, 1}},
				      gap[] = {{0, me, 1}, {2, me, 1}},
				      repeated[] = {{0, me, 1}, {0, me, 1}},
				      unknown[] = {{0, other, 1}}, empty[] = {{0, me, 0}},
				      doubled[] = {{0, twice, 2}},
				      uneven[] = {{0, me, 1}, {1, twice, 2}};
	static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g"};
	const struct {
		const struct topic_assignment *a;
		int32_t n;
		int16_t error;
	} cases[] = {
		{good, 2, KE_NONE},
		{gap, 2, KE_INVALID_REPLICA_ASSIGNMENT},
		{repeated, 2, KE_INVALID_REPLICA_ASSIGNMENT},
		{unknown, 1, KE_INVALID_REPLICA_ASSIGNMENT},
		{empty, 1, KE_INVALID_REPLICA_ASSIGNMENT},
		{doubled, 1, KE_INVALID_REPLICA_ASSIGNMENT},
		{uneven, 2, KE_INVALID_REPLICA_ASSIGNMENT},
	};
	for (size_t i = 0; i < array_size(cases); i++) {
		struct topic_spec s = spec_of(names[i], -1);
		s.assignments = cases[i].a;
		s.assignment_count = cases[i].n;
		assert_int_equal(create(&t, &c, s), cases[i].error);
	}
	assert_int_equal(topics_find(&t, kstr_of("a"))->partition_count, 2);
	struct topic_spec s = spec_of("h", 2);
	s.assignments = good;
	s.assignment_count = 2;
	assert_int_equal(create(&t, &c, s), KE_INVALID_REQUEST);
	s.partitions = -1;
	s.replication = 1;
	assert_int_equal(create(&t, &c, s), KE_INVALID_REQUEST);
	topics_fini(&t);
}

static void test_settings_are_checked(void **state)
{
	struct config c = config_of("");
	struct topics t;
	topics_init(&t);
	static const struct {
		const char *name, *value;
		bool ok;
	} cases[] = {
		{"cleanup.policy", "compact", true},
		{"cleanup.policy", "compact,delete", true},
		{"cleanup.policy", "", true},
		{"cleanup.policy", "compress", false},
		{"retention.ms", "-1", true},
		{"retention.ms", "-2", false},
		{"retention.ms", "1h", false},
		{"retention.ms", "", false},
		{"retention.ms", " 5", false},
		{"segment.bytes", "1048576", true},
		{"segment.bytes", "1000", false},
		{"segment.bytes", "2147483648", false},
		{"max.message.bytes", "2000000", true},
		{"max.message.bytes", "100000000", false},
		{"min.insync.replicas", "0", false},
		{"message.timestamp.type", "LogAppendTime", true},
		{"message.timestamp.type", "now", false},
		{"compression.type", "zstd", true},
		{"compression.type", "brotli", false},
		{"preallocate", "TRUE", true},
		{"preallocate", "1", false},
		{"min.cleanable.dirty.ratio", "0.01", true},
		{"min.cleanable.dirty.ratio", "1.5", false},
		{"min.cleanable.dirty.ratio", "nan", false},
		{"max.compaction.lag.ms", "0", false},
		{"flush.messages", "1", true},
		{"remote.storage.enable", "false", true},
		{"remote.storage.enable", "true", false},
		{"durability", "written", true},
		{"durability", "maybe", false},
		{"leader.replication.throttled.replicas", "*", true},
		{"leader.replication.throttled.replicas", "a\nb", false},
		{"no.such.thing", "1", false},
	};
	for (size_t i = 0; i < array_size(cases); i++) {
		char name[16];
		snprintf(name, sizeof(name), "t%zu", i);
		struct topic_setting_arg arg = {kstr_of(cases[i].name), kstr_of(cases[i].value)};
		struct topic_spec s = spec_of(name, 1);
		s.settings = &arg;
		s.setting_count = 1;
		int16_t e = create(&t, &c, s);
		if ((e == KE_NONE) != cases[i].ok || (e && e != KE_INVALID_CONFIG))
			fail_msg("%s=%s: %d %s", cases[i].name, cases[i].value, e, err);
	}
	struct topic_setting_arg null = {kstr_of("retention.ms"), KSTR_NULL};
	struct topic_spec s = spec_of("null", 1);
	s.settings = &null;
	s.setting_count = 1;
	assert_int_equal(create(&t, &c, s), KE_INVALID_CONFIG);
	/* each on its own is good */
	struct topic_setting_arg lags[] = {
		{kstr_of("min.compaction.lag.ms"), kstr_of("1")},
		{kstr_of("max.compaction.lag.ms"), kstr_of("9")},
		{kstr_of("min.compaction.lag.ms"), kstr_of("10")},
	};
	s.settings = lags;
	s.setting_count = 3;
	assert_int_equal(create(&t, &c, s), KE_INVALID_CONFIG);
	assert_non_null(strstr(err, "min.compaction.lag.ms (10) > max.compaction.lag.ms (9)"));
	s.setting_count = 2;
	assert_int_equal(create(&t, &c, s), KE_NONE);
	topics_fini(&t);
}

static const struct topic_setting_desc *desc_of(const char *name)
{
	uint32_t n;
	const struct topic_setting_desc *all = topic_settings(&n);
	for (uint32_t i = 0; i < n; i++)
		if (strcmp(all[i].name, name) == 0)
			return &all[i];
	return NULL;
}

static void test_effective_values_tell_where_they_come_from(void **state)
{
	struct config c = config_of("log.retention.hours=1\nlog.segment.bytes=2m\n"
				    "log.cleaner.min.cleanable.ratio=0.1\n"
				    "log.cleaner.min.compaction.lag.ms=21\n"
				    "log.cleaner.max.compaction.lag.ms=22\n");
	struct topics t;
	char v[300];
	topics_init(&t);
	struct topic_setting_arg args[] = {
		{kstr_of("retention.ms"), kstr_of("7")},
		{kstr_of("retention.ms"), kstr_of("9")},
		{kstr_of("cleanup.policy"), kstr_of("compact")},
		{kstr_of("message.timestamp.type"), kstr_of("LogAppendTime")},
		{kstr_of("max.message.bytes"), kstr_of("3000000")},
		{kstr_of("compression.type"), kstr_of("lz4")},
		{kstr_of("min.cleanable.dirty.ratio"), kstr_of("0.25")},
		{kstr_of("delete.retention.ms"), kstr_of("11")},
	};
	struct topic_spec s = spec_of("a", 1);
	s.settings = args;
	s.setting_count = array_size(args);
	assert_int_equal(create(&t, &c, s), KE_NONE);
	const struct topic *a = topics_find(&t, kstr_of("a"));
	assert_int_equal(a->setting_count, 7);
	assert_int_equal(
		topic_setting_value(a, desc_of("retention.ms"), &c, v, sizeof(v)), TOPIC_SRC_TOPIC);
	assert_string_equal(v, "9");
	assert_int_equal(topic_setting_value(NULL, desc_of("retention.ms"), &c, v, sizeof(v)),
		TOPIC_SRC_STATIC_BROKER);
	assert_string_equal(v, "3600000");
	assert_int_equal(topic_setting_value(a, desc_of("segment.bytes"), &c, v, sizeof(v)),
		TOPIC_SRC_STATIC_BROKER);
	assert_string_equal(v, "2097152");
	assert_int_equal(
		topic_setting_value(a, desc_of("segment.ms"), &c, v, sizeof(v)), TOPIC_SRC_DEFAULT);
	assert_string_equal(v, "604800000");
	struct image_topic_config ic = topic_image_config(a, &c);
	assert_true(ic.cleanup_compact);
	assert_false(ic.cleanup_delete);
	assert_true(ic.log_append_time);
	assert_int_equal(ic.retention_ms, 9);
	assert_int_equal(ic.segment_bytes, 2 << 20);
	assert_int_equal(ic.max_message_bytes, 2 << 20); /* a batch lies in one segment */
	assert_int_equal(ic.compression, CODEC_LZ4);
	assert_int_equal(ic.min_dirty_ppm, 250000);
	assert_int_equal(ic.delete_retention_ms, 11);
	assert_int_equal(ic.min_compaction_lag_ms, 21);
	assert_int_equal(ic.max_compaction_lag_ms, 22);
	assert_int_equal(topic_image_config(NULL, &c).min_dirty_ppm, 100000);
	assert_int_equal(
		topic_setting_value(NULL, desc_of("min.cleanable.dirty.ratio"), &c, v, sizeof(v)),
		TOPIC_SRC_STATIC_BROKER);
	assert_string_equal(v, "0.1");
	topics_fini(&t);
}

/* Kafka's defaults, as the image has them. */
static void test_a_topic_without_settings_has_the_defaults(void **state)
{
	struct config c = config_of("");
	struct image_topic_config ic = topic_image_config(NULL, &c),
				  want = image_topic_config_default;
	assert_int_equal(ic.max_message_bytes, want.max_message_bytes);
	assert_int_equal(ic.segment_bytes, want.segment_bytes);
	assert_int_equal(ic.segment_ms, want.segment_ms);
	assert_int_equal(ic.retention_ms, want.retention_ms);
	assert_int_equal(ic.retention_bytes, want.retention_bytes);
	assert_int_equal(ic.compression, want.compression);
	assert_int_equal(ic.min_insync_replicas, want.min_insync_replicas);
	assert_int_equal(ic.timestamp_after_max_ms, want.timestamp_after_max_ms);
	assert_int_equal(ic.timestamp_before_max_ms, want.timestamp_before_max_ms);
	assert_int_equal(ic.cleanup_delete, want.cleanup_delete);
	assert_int_equal(ic.cleanup_compact, want.cleanup_compact);
	assert_int_equal(ic.durability_written, want.durability_written);
	assert_int_equal(ic.delete_retention_ms, want.delete_retention_ms);
	assert_int_equal(ic.min_compaction_lag_ms, want.min_compaction_lag_ms);
	assert_int_equal(ic.max_compaction_lag_ms, want.max_compaction_lag_ms);
	assert_int_equal(ic.min_dirty_ppm, want.min_dirty_ppm);
	uint32_t n;
	const struct topic_setting_desc *all = topic_settings(&n);
	for (uint32_t i = 0; i < n; i++) {
		char v[300];
		assert_int_equal(
			topic_setting_value(NULL, &all[i], &c, v, sizeof(v)), TOPIC_SRC_DEFAULT);
		assert_string_equal(v, all[i].def);
		if (i > 0)
			assert_true(strcmp(all[i - 1].name, all[i].name) < 0);
	}
}

static void test_topics_are_in_order_of_name(void **state)
{
	struct config c = config_of("");
	struct topics t;
	topics_init(&t);
	const char *names[] = {"m", "b", "z", "a", "ba", "b1"};
	for (size_t i = 0; i < array_size(names); i++)
		assert_int_equal(create(&t, &c, spec_of(names[i], 1)), KE_NONE);
	for (uint32_t i = 1; i < t.count; i++)
		assert_true(strcmp(t.v[i - 1]->name, t.v[i]->name) < 0);
	assert_string_equal(topics_find(&t, kstr_of("ba"))->name, "ba");
	assert_null(topics_find(&t, kstr_of("bb")));
	assert_null(topics_find(&t, KSTR_NULL));
	assert_ptr_equal(topics_find_id(&t, &topics_find(&t, kstr_of("m"))->id),
		topics_find(&t, kstr_of("m")));
	topics_fini(&t);
}

/* Forgets every deleted topic. */
static void forget_all(struct topics *t)
{
	while (t->gone_count > 0) {
		struct uuid id = t->gone[t->gone_count / 2]->id;
		assert_true(topics_forget(t, &id));
		assert_false(topics_forget(t, &id));
	}
}

static void test_part_ids_of_a_deleted_topic_wait_until_it_is_forgotten(void **state)
{
	struct config c = config_of("");
	struct topics t;
	topics_init(&t);
	assert_int_equal(create(&t, &c, spec_of("a", 2)), KE_NONE);
	assert_int_equal(create(&t, &c, spec_of("b", 2)), KE_NONE);
	assert_int_equal(topics_delete(&t, kstr_of("a")), KE_NONE);
	assert_int_equal(topics_delete(&t, kstr_of("a")), KE_UNKNOWN_TOPIC_OR_PARTITION);
	assert_int_equal(create(&t, &c, spec_of("c", 1)), KE_NONE);
	assert_int_equal(topics_find(&t, kstr_of("c"))->part_ids[0], 4);
	forget_all(&t);
	assert_int_equal(create(&t, &c, spec_of("d", 3)), KE_NONE);
	const uint32_t *d = topics_find(&t, kstr_of("d"))->part_ids;
	assert_int_equal(d[0], 0);
	assert_int_equal(d[1], 1);
	assert_int_equal(d[2], 5);
	assert_int_equal(topics_find(&t, kstr_of("b"))->part_ids[1], 3);
	assert_int_equal(topics_delete(&t, kstr_of("d")), KE_NONE);
	assert_int_equal(topics_delete(&t, kstr_of("c")), KE_NONE);
	forget_all(&t);
	assert_int_equal(t.id_limit, 4);
	topics_fini(&t);
}

static void test_a_clone_changes_alone(void **state)
{
	struct config c = config_of("");
	struct topics t, u;
	topics_init(&t);
	assert_int_equal(topics_clone(&u, &t), 0);
	topics_fini(&u);
	assert_int_equal(create(&t, &c, spec_of("a", 2)), KE_NONE);
	assert_int_equal(topics_clone(&u, &t), 0);
	assert_int_equal(create(&u, &c, spec_of("b", 2)), KE_NONE);
	assert_int_equal(topics_delete(&u, kstr_of("a")), KE_NONE);
	assert_non_null(topics_find(&t, kstr_of("a")));
	assert_null(topics_find(&t, kstr_of("b")));
	assert_int_equal(t.gone_count, 0);
	topics_fini(&t);
	assert_int_equal(u.gone_count, 1);
	assert_int_equal(topics_clone(&t, &u), 0);
	forget_all(&t);
	assert_int_equal(u.gone_count, 1);
	topics_fini(&t);
	assert_int_equal(topics_find(&u, kstr_of("b"))->part_ids[0], 2);
	topics_fini(&u);
}

/* Random creates, deletes and reclaims: ids never overlap, and stay with their topic. */
static void test_part_ids_never_overlap(void **state)
{
	struct config c = config_of("");
	struct topics t;
	topics_init(&t);
	uint64_t seed = 42;
	for (int step = 0; step < 3000; step++) {
		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		unsigned r = (unsigned)(seed >> 33);
		char name[16];
		snprintf(name, sizeof(name), "t%u", r % 40);
		if (r / 64 % 8 == 0)
			forget_all(&t);
		else if (topics_find(&t, kstr_of(name)))
			assert_int_equal(topics_delete(&t, kstr_of(name)), KE_NONE);
		else
			assert_int_equal(
				create(&t, &c, spec_of(name, 1 + (int)(r / 1024 % 9))), KE_NONE);
		uint8_t seen[4096] = {0};
		for (uint32_t i = 0; i < t.count; i++) {
			for (int32_t p = 0; p < t.v[i]->partition_count; p++) {
				uint32_t id = t.v[i]->part_ids[p];
				assert_true(id < t.id_limit && id < sizeof(seen) && !seen[id]);
				seen[id] = 1;
			}
		}
	}
	topics_fini(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names_follow_kafkas_rules),
		cmocka_unit_test(test_names_that_differ_in_dot_and_underscore_collide),
		cmocka_unit_test(test_the_brokers_own_topics_are_made_by_the_broker_only),
		cmocka_unit_test(test_partition_and_replica_counts),
		cmocka_unit_test(test_manual_assignments),
		cmocka_unit_test(test_settings_are_checked),
		cmocka_unit_test(test_effective_values_tell_where_they_come_from),
		cmocka_unit_test(test_a_topic_without_settings_has_the_defaults),
		cmocka_unit_test(test_topics_are_in_order_of_name),
		cmocka_unit_test(test_part_ids_of_a_deleted_topic_wait_until_it_is_forgotten),
		cmocka_unit_test(test_a_clone_changes_alone),
		cmocka_unit_test(test_part_ids_never_overlap),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
