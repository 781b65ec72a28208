/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "control/meta/meta.h"
#include "kafka/errcode.h"
#include "storage/storage.h"

static struct config cfg;

static void add(struct topics *t, const char *name, int32_t partitions)
{
	char err[TOPIC_ERROR_MAX];
	static uint8_t n;
	struct topic_spec s = {.name = kstr_of(name), .partitions = partitions, .replication = 1};
	s.id.b[3] = ++n;
	assert_int_equal(topics_create(t, &cfg, &s, err, sizeof(err)), KE_NONE);
}

static struct image *build(
	const struct topics *t, uint64_t epoch, uint16_t shards, uint16_t workers)
{
	struct meta_image_args args = {
		.epoch = epoch,
		.cluster_id = "cluster",
		.cfg = &cfg,
		.host = "host",
		.port = 9092,
		.shards = shards,
		.workers = workers,
	};
	struct image *im = meta_image_build(t, &args);
	assert_non_null(im);
	return im;
}

static int setup(void **state)
{
	char err[CONFIG_ERR_MAX];
	config_defaults(&cfg);
	assert_int_equal(config_set(&cfg, "node.id=7", err, sizeof(err)), 0);
	assert_int_equal(config_set(&cfg, "broker.rack=r1", err, sizeof(err)), 0);
	assert_int_equal(config_finish(&cfg, "h", err, sizeof(err)), 0);
	return 0;
}

static void test_an_empty_table_makes_an_image_with_the_broker_only(void **state)
{
	struct topics t;
	topics_init(&t);
	struct image *im = build(&t, 1, 2, 1);
	assert_int_equal(im->topic_count, 0);
	assert_int_equal(im->broker_count, 1);
	assert_int_equal(im->brokers[0].node_id, 7);
	assert_int_equal(im->brokers[0].port, 9092);
	assert_true(kstr_equal(im->brokers[0].host, kstr_of("host")));
	assert_true(kstr_equal(im->brokers[0].rack, kstr_of("r1")));
	assert_int_equal(im->controller_id, 7);
	image_free(im);
	topics_fini(&t);
}

static void test_partitions_are_spread_over_shards_and_workers(void **state)
{
	struct topics t;
	topics_init(&t);
	add(&t, "a", 6);
	add(&t, "b", 6);
	struct image *im = build(&t, 1, 3, 2);
	unsigned shards[3] = {0}, workers[2] = {0};
	for (uint32_t i = 0; i < im->topic_count; i++) {
		for (int32_t p = 0; p < im->topics[i].partition_count; p++) {
			const struct image_partition *ip = &im->topics[i].partitions[p];
			shards[ip->shard]++;
			workers[ip->worker]++;
			assert_int_equal(ip->leader, 7);
		}
	}
	assert_int_equal(shards[0], 4);
	assert_int_equal(shards[1], 4);
	assert_int_equal(shards[2], 4);
	assert_int_equal(workers[0], 6);
	assert_int_equal(im->part_id_limit, 12);
	assert_int_equal(im->partition_count, 12);
	image_free(im);
	topics_fini(&t);
}

/* A partition keeps its id, shard and worker whatever happens to other topics. */
static void test_partitions_stay_where_they_are(void **state)
{
	struct topics t;
	topics_init(&t);
	add(&t, "m", 5);
	struct image *before = build(&t, 1, 2, 3);
	add(&t, "a", 3);
	add(&t, "z", 1);
	struct uuid a = topics_find(&t, kstr_of("a"))->id;
	assert_int_equal(topics_delete(&t, kstr_of("a")), KE_NONE);
	assert_true(topics_forget(&t, &a));
	add(&t, "b", 4);
	struct image *after = build(&t, 2, 2, 3);
	const struct image_topic *x = image_topic_by_name(before, kstr_of("m"));
	const struct image_topic *y = image_topic_by_name(after, kstr_of("m"));
	assert_true(uuid_equal(&x->id, &y->id));
	for (int32_t p = 0; p < 5; p++) {
		assert_int_equal(x->partitions[p].part_id, y->partitions[p].part_id);
		assert_int_equal(x->partitions[p].shard, y->partitions[p].shard);
		assert_int_equal(x->partitions[p].worker, y->partitions[p].worker);
	}
	assert_null(image_topic_by_name(after, kstr_of("a")));
	assert_int_equal(after->epoch, 2);
	image_free(before);
	image_free(after);
	topics_fini(&t);
}

static void test_a_partition_that_is_offline_has_no_leader(void **state)
{
	struct topics t;
	topics_init(&t);
	add(&t, "a", 3);
	assert_true(topics_set_offline(&t, 1));
	assert_false(topics_set_offline(&t, 1));
	assert_false(topics_set_offline(&t, 3));
	struct image *im = build(&t, 1, 2, 1);
	const struct image_topic *a = image_topic_by_name(im, kstr_of("a"));
	assert_int_equal(a->partitions[0].leader, 7);
	assert_int_equal(a->partitions[1].leader, -1);
	assert_int_equal(a->partitions[2].leader, 7);
	struct uuid id = a->id;
	image_free(im);
	/* its id starts anew with another topic */
	assert_int_equal(topics_delete(&t, kstr_of("a")), KE_NONE);
	assert_false(topics_set_offline(&t, 1));
	assert_true(topics_forget(&t, &id));
	add(&t, "b", 3);
	im = build(&t, 2, 2, 1);
	assert_int_equal(im->topics[0].partitions[1].part_id, 1);
	assert_int_equal(im->topics[0].partitions[1].leader, 7);
	image_free(im);
	topics_fini(&t);
}

static void test_a_deleted_topic_is_in_the_image_until_it_is_forgotten(void **state)
{
	struct topics t;
	topics_init(&t);
	add(&t, "a", 3);
	add(&t, "b", 2);
	struct image *before = build(&t, 1, 2, 3);
	const struct image_topic *was = image_topic_by_name(before, kstr_of("a"));
	assert_int_equal(before->gone_count, 0);
	assert_int_equal(topics_delete(&t, kstr_of("a")), KE_NONE);
	add(&t, "a", 1); /* the name is free at once */
	struct image *im = build(&t, 2, 2, 3);
	assert_int_equal(im->topic_count, 2);
	assert_int_equal(im->partition_count, 3);
	assert_int_equal(image_topic_by_name(im, kstr_of("a"))->partition_count, 1);
	assert_null(image_topic_by_id(im, &was->id));
	assert_int_equal(im->gone_count, 1);
	const struct image_topic *gone = &im->gone[0];
	assert_true(kstr_equal(gone->name, kstr_of("a")));
	assert_true(uuid_equal(&gone->id, &was->id));
	assert_int_equal(gone->partition_count, 3);
	assert_memory_equal(gone->partitions, was->partitions, 3 * sizeof(*gone->partitions));
	assert_true(topics_forget(&t, &was->id));
	struct image *after = build(&t, 3, 2, 3);
	assert_int_equal(after->gone_count, 0);
	image_free(before);
	image_free(im);
	image_free(after);
	topics_fini(&t);
}

/* Its files are in the hands of one worker; another start must come to the same one. */
static void test_the_worker_of_a_log_depends_on_topic_id_and_partition_only(void **state)
{
	struct topics t;
	topics_init(&t);
	add(&t, "first", 3);
	add(&t, "m", 5);
	struct image *before = build(&t, 1, 2, 3);
	assert_int_equal(topics_delete(&t, kstr_of("first")), KE_NONE);
	struct topic_stored s = {
		.name = kstr_of("m"),
		.id = image_topic_by_name(before, kstr_of("m"))->id,
		.partition_count = 5,
		.part_ids = (const uint32_t[]){9, 8, 7, 6, 5},
	};
	struct topics again;
	char err[TOPIC_ERROR_MAX];
	topics_init(&again);
	assert_int_equal(topics_restore(&again, &s, err, sizeof(err)), 0);
	struct image *after = build(&again, 2, 1, 3);
	const struct image_topic *x = image_topic_by_name(before, kstr_of("m"));
	const struct image_topic *y = image_topic_by_name(after, kstr_of("m"));
	for (int32_t p = 0; p < 5; p++) {
		assert_int_equal(x->partitions[p].worker, y->partitions[p].worker);
		assert_int_equal(x->partitions[p].worker, st_worker_of(&x->id, p, 3));
	}
	image_free(before);
	image_free(after);
	topics_fini(&t);
	topics_fini(&again);
}

static void test_topics_of_one_partition_are_spread_over_the_workers(void **state)
{
	unsigned count[4] = {0};
	for (unsigned i = 0; i < 4000; i++) {
		struct uuid id = {.b = {[4] = (uint8_t)i, [9] = (uint8_t)(i >> 8), [15] = 7}};
		count[st_worker_of(&id, 0, 4)]++;
	}
	for (unsigned i = 0; i < 4; i++)
		assert_in_range(count[i], 800, 1200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_empty_table_makes_an_image_with_the_broker_only),
		cmocka_unit_test(test_partitions_are_spread_over_shards_and_workers),
		cmocka_unit_test(test_partitions_stay_where_they_are),
		cmocka_unit_test(test_a_partition_that_is_offline_has_no_leader),
		cmocka_unit_test(test_a_deleted_topic_is_in_the_image_until_it_is_forgotten),
		cmocka_unit_test(test_the_worker_of_a_log_depends_on_topic_id_and_partition_only),
		cmocka_unit_test(test_topics_of_one_partition_are_spread_over_the_workers),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
