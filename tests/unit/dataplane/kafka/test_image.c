/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "kafka/image.h"

#define TOPICS 1000

static struct uuid id_of(uint32_t i)
{
	struct uuid u = {{0}};
	be32_put(u.b, i);
	be32_put(u.b + 12, i * 2654435761u);
	return u;
}

static void test_topics_are_found_by_name_and_id_and_listed_in_order(void **state)
{
	static struct image_topic topics[TOPICS];
	static char names[TOPICS][16];
	static struct image_partition parts[TOPICS * 3];
	const struct image_broker brokers[] = {
		{.node_id = 1, .port = 9092, .host = kstr_of("h1"), .rack = KSTR_NULL},
		{.node_id = 7, .port = 9093, .host = kstr_of("h7"), .rack = kstr_of("r")},
	};
	for (uint32_t i = 0; i < TOPICS; i++) {
		snprintf(names[i], sizeof(names[i]), "t%u", (i * 7919) % TOPICS); /* out of order */
		for (uint32_t k = 0; k < 3; k++)
			parts[i * 3 + k] =
				(struct image_partition){.part_id = i * 3 + k, .shard = k & 1};
		topics[i] = (struct image_topic){.name = kstr_of(names[i]),
			.id = i ? id_of(i) : (struct uuid){{0}},
			.config = image_topic_config_default,
			.partition_count = (int32_t)(i % 4),
			.partitions = &parts[i < TOPICS - 1 ? i * 3 : 0]};
	}
	struct image *im = image_build(&(struct image_source){.epoch = 5,
		.cluster_id = kstr_of("cluster"),
		.node_id = 1,
		.controller_id = 1,
		.brokers = brokers,
		.broker_count = 2,
		.topics = topics,
		.topic_count = TOPICS});
	assert_non_null(im);
	assert_int_equal(im->epoch, 5);
	assert_int_equal(im->topic_count, TOPICS);
	assert_true(kstr_equal(im->cluster_id, kstr_of("cluster")));
	for (uint32_t i = 0; i < TOPICS; i++) {
		const struct image_topic *t = image_topic_by_name(im, kstr_of(names[i]));
		assert_non_null(t);
		assert_true(kstr_equal(t->name, topics[i].name));
		assert_ptr_not_equal(t->name.p, topics[i].name.p); /* a copy */
		assert_int_equal(t->partition_count, i % 4);
		if (t->partition_count)
			assert_int_equal(
				image_partition_at(t, 0)->part_id, topics[i].partitions[0].part_id);
		assert_null(image_partition_at(t, t->partition_count));
		assert_null(image_partition_at(t, -1));
		assert_ptr_equal(image_topic_by_id(im, &topics[i].id), i ? t : NULL);
	}
	for (uint32_t i = 1; i < TOPICS; i++) {
		const struct kstr a = im->topics[i - 1].name, b = im->topics[i].name;
		int c = memcmp(a.p, b.p, (size_t)(a.len < b.len ? a.len : b.len));
		assert_true(c < 0 || (c == 0 && a.len < b.len));
	}
	struct uuid other = id_of(TOPICS + 1);
	assert_null(image_topic_by_id(im, &other));
	assert_null(image_topic_by_name(im, kstr_of("t1000")));
	assert_null(image_topic_by_name(im, kstr_of("")));
	assert_null(image_topic_by_name(im, KSTR_NULL));
	assert_int_equal(image_broker_by_id(im, 7)->port, 9093);
	assert_int_equal(image_broker_by_id(im, 1)->rack.len, -1);
	assert_null(image_broker_by_id(im, 2));
	image_free(im);
}

static void test_an_empty_image_answers(void **state)
{
	struct image *im = image_build(&(struct image_source){.epoch = 1, .cluster_id = KSTR_NULL});
	assert_non_null(im);
	assert_null(image_topic_by_name(im, kstr_of("x")));
	struct uuid id = id_of(1);
	assert_null(image_topic_by_id(im, &id));
	assert_int_equal(im->partition_count, 0);
	assert_int_equal(im->part_id_limit, 0);
	image_free(im);
	image_free(NULL);
}

static void test_part_id_limit_is_above_every_part_id(void **state)
{
	const struct image_partition parts[] = {{.part_id = 41}, {.part_id = 3}};
	const struct image_topic t = {
		.name = kstr_of("t"), .id = id_of(1), .partition_count = 2, .partitions = parts};
	struct image *im = image_build(&(struct image_source){.topics = &t, .topic_count = 1});
	assert_int_equal(im->part_id_limit, 42);
	assert_int_equal(im->partition_count, 2);
	image_free(im);
}

static void test_topic_names_follow_the_rule(void **state)
{
	char longest[251];
	memset(longest, 'x', sizeof(longest));
	longest[249] = 0;
	const char *const good[] = {
		"a", "A-z_0.9", "...", ".a", "..a", "__consumer_offsets", longest};
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(topic_name_valid(kstr_of(good[i])));
	longest[249] = 'x';
	longest[250] = 0;
	const char *const bad[] = {
		"", ".", "..", "a/b", "../x", "a b", "a\n", "\xc3\xa9", "a:b", longest};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(topic_name_valid(kstr_of(bad[i])));
	assert_false(topic_name_valid(KSTR_NULL));
	assert_false(topic_name_valid((struct kstr){"a\0b", 3}));
	assert_true(topic_name_collides(kstr_of("a.b_c"), kstr_of("a_b.c")));
	assert_false(topic_name_collides(kstr_of("a.b"), kstr_of("a-b")));
	assert_false(topic_name_collides(kstr_of("a.b"), kstr_of("a.bc")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_topics_are_found_by_name_and_id_and_listed_in_order),
		cmocka_unit_test(test_an_empty_image_answers),
		cmocka_unit_test(test_part_id_limit_is_above_every_part_id),
		cmocka_unit_test(test_topic_names_follow_the_rule),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
