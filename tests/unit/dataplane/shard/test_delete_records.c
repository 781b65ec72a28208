/* SPDX-License-Identifier: Apache-2.0 */
/* DeleteRecords through a whole shard. */
#include "lib/shard_world.h"

static uint32_t delete_frame(uint8_t *buf, uint32_t size, int16_t version, const char *topic,
	int32_t part, int64_t offset)
{
	struct kp_delete_records_request_partition p = {.index = part, .offset = offset};
	struct kp_delete_records_request_topic t = {
		.name = kstr_of(topic), .partitions = &p, .n_partitions = 1};
	struct kp_delete_records_request q = {.topics = &t, .n_topics = 1, .timeout_ms = 30000};
	struct kwr k = kwr_of(buf, size);
	kp_request_begin(&k, kp_api_find(KP_DELETE_RECORDS), version, 5, (struct kstr){"x", 1});
	kp_encode_delete_records_request(&k, version, &q);
	assert_true(kp_request_end(&k));
	return (uint32_t)kwr_len(&k);
}

static void expect_deleted(struct world *w, int16_t version, int16_t error, int64_t low)
{
	static uint8_t mem[8192];
	struct arena a;
	struct rd body;
	struct kp_delete_records_response resp;
	arena_init(&a, mem, sizeof(mem));
	assert_int_equal(next_response(w, 1, &body), 5);
	if (version >= 2)
		assert_int_equal(rd_u8(&body), 0); /* tagged fields of the header */
	assert_int_equal(kp_decode_delete_records_response(&body, version, &resp, &a), 0);
	assert_int_equal(resp.n_topics, 1);
	assert_int_equal(resp.topics[0].n_partitions, 1);
	assert_int_equal(resp.topics[0].partitions[0].error_code, error);
	assert_int_equal(resp.topics[0].partitions[0].low_watermark, low);
}

static void ask(struct world *w, int16_t version, const char *topic, int32_t part, int64_t offset)
{
	uint8_t f[512];
	receive(w, 1, f, delete_frame(f, sizeof(f), version, topic, part, offset));
	turn(w, 4);
}

static void produce(struct world *w, int32_t part, int records)
{
	uint8_t f[8192];
	connect_client(w, 1);
	for (int i = 0; i < records; i++) {
		receive(w, 1, f, produce_frame(f, sizeof(f), i, part, "x"));
		turn(w, 3);
		expect_produced(w, 1, i, KE_NONE, i);
	}
}

static int16_t fetch_error(struct world *w, int32_t part)
{
	static uint8_t mem[8192];
	uint8_t f[512];
	struct arena a;
	struct rd body;
	struct kp_fetch_response resp;
	receive(w, 1, f, fetch_frame(f, sizeof(f), 9, part, 0));
	turn(w, 3);
	arena_init(&a, mem, sizeof(mem));
	assert_int_equal(next_response(w, 1, &body), 9);
	assert_int_equal(kp_decode_fetch_response(&body, 4, &resp, &a), 0);
	return resp.topics[0].partitions[0].error_code;
}

static void test_records_below_the_offset_are_gone(void **state)
{
	struct world *w = *state;
	produce(w, 0, 5);
	assert_int_equal(fetch_error(w, 0), KE_NONE);
	ask(w, 2, "t", 0, 3);
	expect_deleted(w, 2, KE_NONE, 3);
	assert_int_equal(fetch_error(w, 0), KE_OFFSET_OUT_OF_RANGE);
	ask(w, 1, "t", 0, 1); /* nothing comes back */
	expect_deleted(w, 1, KE_NONE, 3);
	assert_int_equal(w->worker.pushed[ST_TRIM], 1);
}

static void test_minus_one_means_all_that_is_durable(void **state)
{
	struct world *w = *state;
	produce(w, 1, 4);
	ask(w, 0, "t", 1, -1);
	expect_deleted(w, 0, KE_NONE, 4);
}

static void test_what_cannot_be_deleted_is_refused_with_kafkas_errors(void **state)
{
	struct world *w = *state;
	produce(w, 2, 2);
	ask(w, 2, "t", 2, 3);
	expect_deleted(w, 2, KE_OFFSET_OUT_OF_RANGE, -1);
	ask(w, 2, "t", 2, -2);
	expect_deleted(w, 2, KE_OFFSET_OUT_OF_RANGE, -1);
	ask(w, 2, "t", 9, 0);
	expect_deleted(w, 2, KE_UNKNOWN_TOPIC_OR_PARTITION, -1);
	ask(w, 2, "nowhere", 0, 0);
	expect_deleted(w, 2, KE_UNKNOWN_TOPIC_OR_PARTITION, -1);
	assert_int_equal(w->worker.pushed[ST_TRIM], 0);
}

static void test_a_topic_that_is_only_compacted_is_refused(void **state)
{
	struct world *w = *state;
	struct image_topic_config *c = (struct image_topic_config *)&w->image->topics[0].config;
	c->cleanup_compact = true;
	c->cleanup_delete = false;
	world_serve(w);
	produce(w, 0, 2);
	ask(w, 2, "t", 0, 1);
	expect_deleted(w, 2, KE_POLICY_VIOLATION, -1);
}

static void test_the_brokers_own_topics_are_refused(void **state)
{
	struct world *w = *state;
	((struct image_topic *)&w->image->topics[0])->internal = true;
	connect_client(w, 1);
	ask(w, 2, "t", 0, 0);
	expect_deleted(w, 2, KE_INVALID_TOPIC_EXCEPTION, -1);
}

static void test_what_takes_too_long_is_answered_as_timed_out(void **state)
{
	struct world *w = *state;
	struct rd body;
	produce(w, 0, 5);
	w->worker.hold_trims = true;
	ask(w, 2, "t", 0, 3);
	w->now_ns += 29 * NS_PER_S;
	turn(w, 2);
	assert_int_equal(next_response(w, 1, &body), -1);
	w->now_ns += 2 * NS_PER_S;
	turn(w, 4);
	expect_deleted(w, 2, KE_REQUEST_TIMED_OUT, -1);
	assert_int_equal(w->shard->request_slab.used, 1); /* it goes on */
	w->worker.hold_trims = false;
	turn(w, 4);
	assert_int_equal(w->shard->request_slab.used, 0);
	ask(w, 2, "t", 0, 0);
	expect_deleted(w, 2, KE_NONE, 3);
}

static void test_a_client_that_leaves_meanwhile_leaves_nothing_behind(void **state)
{
	struct world *w = *state;
	produce(w, 0, 5);
	w->worker.hold_trims = true;
	ask(w, 2, "t", 0, 1);
	fnet_end(&w->net, 1);
	turn(w, 4);
	w->now_ns += 31 * NS_PER_S;
	turn(w, 4);
	assert_int_equal(w->shard->request_slab.used, 1);
	/* and one whose answer the transport still holds */
	connect_client(w, 1);
	w->net.hold_sent = true;
	ask(w, 2, "t", 0, 2);
	w->now_ns += 31 * NS_PER_S;
	turn(w, 4);
	expect_deleted(w, 2, KE_REQUEST_TIMED_OUT, -1);
	fnet_end(&w->net, 1);
	turn(w, 4);
	assert_int_equal(w->shard->request_slab.used, 2);
	w->worker.hold_trims = false;
	turn(w, 4);
	assert_int_equal(w->shard->request_slab.used, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_records_below_the_offset_are_gone),
		T(test_minus_one_means_all_that_is_durable),
		T(test_what_cannot_be_deleted_is_refused_with_kafkas_errors),
		T(test_a_topic_that_is_only_compacted_is_refused),
		T(test_the_brokers_own_topics_are_refused),
		T(test_what_takes_too_long_is_answered_as_timed_out),
		T(test_a_client_that_leaves_meanwhile_leaves_nothing_behind),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
