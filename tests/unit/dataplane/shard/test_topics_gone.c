/* SPDX-License-Identifier: Apache-2.0 */
/* Logs are deleted when their topic is known to be deleted, and for no other reason. */
#include "lib/shard_world.h"

static const struct uuid topic_id = {{1}}, gone_id = {{2}};

/* An image with the topic of world_image, and a deleted one; or without. */
static struct image *image_of(bool topic, const struct uuid *gone)
{
	static const struct image_broker broker = {
		.node_id = 1, .port = 9092, .host = {"h", 1}, .rack = {NULL, -1}};
	static struct image_partition parts[2 * PARTS];
	bool same = gone && uuid_equal(gone, &topic_id);
	for (uint32_t i = 0; i < 2 * PARTS; i++)
		parts[i] = (struct image_partition){.part_id = i, .leader = 1};
	struct image_topic t = {.name = {"t", 1},
		.id = topic_id,
		.config = image_topic_config_default,
		.partition_count = PARTS,
		.partitions = parts};
	struct image_topic g = t;
	g.id = gone ? *gone : gone_id;
	g.partitions = same ? parts : parts + PARTS;
	struct image_source src = {.epoch = 2,
		.cluster_id = {"c", 1},
		.node_id = 1,
		.controller_id = 1,
		.brokers = &broker,
		.broker_count = 1,
		.topics = &t,
		.topic_count = topic,
		.gone = &g,
		.gone_count = gone != NULL};
	return image_build(&src);
}

/* Serves it; whether logs of the deleted topic are left. */
static bool serve(struct world *w, struct image *im)
{
	bool left = false;
	struct image *before = w->image;
	w->image = im;
	w->image_msg.image.undeleted = &left;
	world_serve(w);
	image_free(before);
	return left;
}

static void test_the_logs_of_a_deleted_topic_are_deleted(void **state)
{
	struct world *w = *state;
	assert_false(serve(w, image_of(false, &topic_id)));
	assert_int_equal(w->worker.pushed[ST_OPEN], PARTS);
	assert_int_equal(w->worker.pushed[ST_DELETE], PARTS);
	assert_int_equal(w->shard->part_count, 0);
}

static void test_a_topic_that_is_just_not_there_keeps_its_logs(void **state)
{
	struct world *w = *state;
	assert_false(serve(w, image_of(false, NULL)));
	assert_int_equal(w->worker.pushed[ST_DELETE], 0);
	assert_int_equal(w->worker.pushed[ST_CLOSE], PARTS);
	assert_int_equal(w->shard->part_count, 0);
}

static void test_what_was_left_before_the_start_is_opened_and_deleted(void **state)
{
	struct world *w = *state;
	image_free(w->image);
	w->image = NULL;
	assert_false(serve(w, image_of(true, &gone_id)));
	assert_int_equal(w->worker.pushed[ST_OPEN], 2 * PARTS);
	assert_int_equal(w->worker.created, PARTS);
	assert_int_equal(w->worker.pushed[ST_DELETE], PARTS);
	assert_int_equal(w->shard->part_count, PARTS);
}

static void test_what_is_not_there_any_more_is_deleted(void **state)
{
	struct world *w = *state;
	image_free(w->image);
	w->image = NULL;
	w->worker.open_err = ST_E_NOT_FOUND;
	assert_false(serve(w, image_of(false, &gone_id)));
	assert_int_equal(w->worker.pushed[ST_DELETE], 0);
	assert_int_equal(w->shard->part_count, 0);
}

static void test_what_cannot_be_deleted_is_reported_and_tried_again(void **state)
{
	struct world *w = *state;
	w->worker.delete_err = ST_E_OFFLINE;
	assert_true(serve(w, image_of(false, &topic_id)));
	assert_int_equal(w->worker.pushed[ST_DELETE], PARTS);
	w->worker.open_err = ST_E_OFFLINE;
	assert_true(serve(w, image_of(false, &topic_id)));
	assert_int_equal(w->worker.pushed[ST_OPEN], 2 * PARTS);
	assert_int_equal(w->worker.pushed[ST_DELETE], PARTS);
	w->worker.open_err = w->worker.delete_err = ST_OK;
	assert_false(serve(w, image_of(false, &topic_id)));
	assert_int_equal(w->worker.pushed[ST_DELETE], 2 * PARTS);
	assert_int_equal(w->shard->part_count, 0);
}

#define T(f, setup) cmocka_unit_test_setup_teardown(f, setup, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_the_logs_of_a_deleted_topic_are_deleted, world_setup),
		T(test_a_topic_that_is_just_not_there_keeps_its_logs, world_setup),
		T(test_what_was_left_before_the_start_is_opened_and_deleted,
			world_setup_without_image),
		T(test_what_is_not_there_any_more_is_deleted, world_setup_without_image),
		T(test_what_cannot_be_deleted_is_reported_and_tried_again, world_setup),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
