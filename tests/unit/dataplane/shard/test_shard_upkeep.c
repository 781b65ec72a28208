/* SPDX-License-Identifier: Apache-2.0 */
/* Rounds of retention and compaction over the partitions of a shard. */
#include "lib/shard_world.h"

#define MANY 48

static struct image *image_of(uint32_t parts, bool compact)
{
	static const struct image_broker broker = {
		.node_id = 1, .port = 9092, .host = {"h", 1}, .rack = {NULL, -1}};
	static struct image_partition p[MANY];
	for (uint32_t i = 0; i < parts; i++)
		p[i] = (struct image_partition){.part_id = i, .leader = 1};
	struct image_topic topic = {.name = {"t", 1},
		.id = {{1}},
		.config = image_topic_config_default,
		.partition_count = (int32_t)parts,
		.partitions = p};
	topic.config.cleanup_compact = compact;
	struct image_source src = {.epoch = 1,
		.cluster_id = {"c", 1},
		.node_id = 1,
		.controller_id = 1,
		.brokers = &broker,
		.broker_count = 1,
		.topics = &topic,
		.topic_count = 1};
	return image_build(&src);
}

/* A shard with these partitions; each of the first `filled` holds a record. */
static void serve_filled(struct world *w, uint32_t parts, bool compact, uint32_t filled)
{
	uint8_t f[8192];
	w->shard->cfg.retain_every_ns = 100 * NS_PER_S;
	w->shard->cfg.clean_every_ns = 10 * NS_PER_S;
	w->shard->cfg.upkeep_delay_ns = 30 * NS_PER_S;
	image_free(w->image);
	w->image = image_of(parts, compact);
	world_serve(w);
	connect_client(w, 1);
	for (uint32_t i = 0; i < filled; i++) {
		receive(w, 1, f, produce_frame(f, sizeof(f), (int32_t)i, (int32_t)i, "x"));
		turn(w, 2);
		expect_produced(w, 1, (int32_t)i, KE_NONE, 0);
	}
}

/* As the loop does when idle: asleep until something is due. */
static void pass_time(struct world *w, uint64_t s)
{
	uint64_t end = w->now_ns + s * NS_PER_S;
	while (w->now_ns < end) {
		uint64_t next = min_of(upkeep_next_ns(w->shard), w->now_ns + NS_PER_S);
		w->now_ns = min_of(max_of(next, w->now_ns + NS_PER_US), end);
		turn(w, 3);
	}
}

static void test_each_partition_is_asked_once_in_a_round(void **state)
{
	struct world *w = *state;
	serve_filled(w, MANY, true, MANY);
	const uint32_t *pushed = w->worker.pushed;
	pass_time(w, 29);
	assert_int_equal(pushed[ST_RETAIN] + pushed[ST_CLEAN], 0);
	pass_time(w, 101);
	assert_in_range(pushed[ST_RETAIN], MANY, MANY + MANY / 10);
	assert_in_range(pushed[ST_CLEAN], 10 * MANY, 11 * MANY + MANY / 2);
	pass_time(w, 100);
	assert_in_range(pushed[ST_RETAIN], 2 * MANY, 2 * MANY + MANY / 5);
}

static void test_partitions_with_nothing_in_them_cost_no_request(void **state)
{
	struct world *w = *state;
	serve_filled(w, MANY, true, 2);
	pass_time(w, 130);
	assert_in_range(w->worker.pushed[ST_RETAIN], 2, 4);
}

static void test_a_topic_that_is_not_compacted_is_never_asked_to_be(void **state)
{
	struct world *w = *state;
	serve_filled(w, 8, false, 8);
	pass_time(w, 130);
	assert_int_equal(w->worker.pushed[ST_CLEAN], 0);
	assert_true(w->worker.pushed[ST_RETAIN] >= 8);
}

static void test_compactions_that_take_long_leave_requests_for_the_rest(void **state)
{
	struct world *w = *state;
	uint8_t f[8192];
	serve_filled(w, MANY, true, MANY);
	w->worker.hold_cleans = true;
	pass_time(w, 140);
	assert_int_equal(w->worker.pushed[ST_CLEAN], 32);
	assert_in_range(w->worker.pushed[ST_RETAIN], MANY, MANY + MANY / 5);
	receive(w, 1, f, produce_frame(f, sizeof(f), 7, 0, "more"));
	turn(w, 2);
	expect_produced(w, 1, 7, KE_NONE, 1);
	w->worker.hold_cleans = false;
	pass_time(w, 20);
	assert_true(w->worker.pushed[ST_CLEAN] >= 32 + MANY);
}

static void test_without_a_cleaner_nothing_is_compacted(void **state)
{
	struct world *w = *state;
	serve_filled(w, 8, true, 8);
	w->shard->compaction.every_ns = 0;
	pass_time(w, 60);
	assert_int_equal(w->worker.pushed[ST_CLEAN], 0);
	assert_true(w->worker.pushed[ST_RETAIN] > 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, world_setup_without_image, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_each_partition_is_asked_once_in_a_round),
		T(test_partitions_with_nothing_in_them_cost_no_request),
		T(test_a_topic_that_is_not_compacted_is_never_asked_to_be),
		T(test_compactions_that_take_long_leave_requests_for_the_rest),
		T(test_without_a_cleaner_nothing_is_compacted),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
