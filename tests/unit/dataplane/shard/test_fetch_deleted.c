/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fetch that waits while its topic is deleted. The image that it began with is freed, as control
 * does once every shard serves by the next one.
 */
#include "lib/shard_world.h"

static void serve_next(struct world *w, struct image *next)
{
	struct image *before = w->image;
	w->image = next;
	world_serve(w);
	image_free(before);
}

static struct image *image_without_topics(void)
{
	static const struct image_broker broker = {
		.node_id = 1, .port = 9092, .host = {"h", 1}, .rack = {NULL, -1}};
	struct image_source src = {.epoch = 2,
		.cluster_id = {"c", 1},
		.node_id = 1,
		.controller_id = 1,
		.brokers = &broker,
		.broker_count = 1};
	return image_build(&src);
}

static void test_a_waiting_fetch_is_told_that_its_topic_is_gone(void **state)
{
	struct world *w = *state;
	static uint8_t mem[8192];
	uint8_t f[8192];
	struct arena a;
	struct rd body;
	struct kp_fetch_response resp;
	connect_client(w, 1);
	receive(w, 1, f, fetch_frame(f, sizeof(f), 9, 1, 10000));
	turn(w, 5);
	assert_int_equal(next_response(w, 1, &body), -1);
	serve_next(w, image_without_topics());
	turn(w, 5);
	arena_init(&a, mem, sizeof(mem));
	assert_int_equal(next_response(w, 1, &body), 9);
	assert_int_equal(kp_decode_fetch_response(&body, 4, &resp, &a), 0);
	assert_int_equal(resp.topics[0].partitions[0].error_code, KE_UNKNOWN_TOPIC_OR_PARTITION);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_waiting_fetch_is_told_that_its_topic_is_gone,
			world_setup, world_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
