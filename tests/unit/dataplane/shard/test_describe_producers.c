/* SPDX-License-Identifier: Apache-2.0 */
/* DescribeProducers through a whole shard. */
#include "lib/shard_world.h"

static void produce(struct world *w, int32_t part, int64_t id, int16_t epoch, int32_t sequence)
{
	uint8_t f[1024], batch[512];
	struct batch_build b;
	struct kbytes key = {.p = (const uint8_t *)"k", .len = 1};
	batch_build_begin(&b, batch, sizeof(batch));
	batch_build_set_producer(&b, id, epoch, sequence, false);
	assert_true(batch_build_add(&b, 1700000000000, key, key, NULL, 0));
	assert_true(batch_build_add(&b, 1700000000000, key, key, NULL, 0));
	struct kp_produce_request_partition p = {
		.index = part, .records = {batch, (int32_t)batch_build_finish(&b)}};
	struct kp_produce_request_topic t = {.name = {"t", 1}, .partitions = &p, .n_partitions = 1};
	struct kp_produce_request q;
	kp_default_produce_request(&q);
	q.topics = &t;
	q.n_topics = 1;
	struct kwr k = kwr_of(f, sizeof(f));
	kp_request_begin(&k, kp_api_find(KP_PRODUCE), 7, 3, (struct kstr){"x", 1});
	kp_encode_produce_request(&k, 7, &q);
	assert_true(kp_request_end(&k));
	receive(w, 1, f, (uint32_t)kwr_len(&k));
	turn(w, 4);
	struct rd body;
	assert_int_equal(next_response(w, 1, &body), 3);
}

static struct kp_describe_producers_response ask(
	struct world *w, const char *topic, int32_t *indexes, int32_t count)
{
	static uint8_t mem[1 << 16];
	uint8_t f[512];
	struct arena a;
	struct rd body;
	struct kp_describe_producers_request_topic t = {
		.name = kstr_of(topic), .indexes = indexes, .n_indexes = count};
	struct kp_describe_producers_request q = {.topics = &t, .n_topics = 1};
	struct kp_describe_producers_response resp;
	struct kwr k = kwr_of(f, sizeof(f));
	kp_request_begin(&k, kp_api_find(KP_DESCRIBE_PRODUCERS), 0, 5, (struct kstr){"x", 1});
	kp_encode_describe_producers_request(&k, 0, &q);
	assert_true(kp_request_end(&k));
	receive(w, 1, f, (uint32_t)kwr_len(&k));
	turn(w, 8);
	arena_init(&a, mem, sizeof(mem));
	assert_int_equal(next_response(w, 1, &body), 5);
	assert_int_equal(rd_u8(&body), 0); /* tagged fields of the header */
	assert_int_equal(kp_decode_describe_producers_response(&body, 0, &resp, &a), 0);
	assert_int_equal(resp.n_topics, 1);
	assert_int_equal(resp.topics[0].n_partitions, count);
	return resp;
}

static void test_each_partition_tells_of_its_producers(void **state)
{
	struct world *w = *state;
	connect_client(w, 1);
	produce(w, 0, 40, 1, 0);
	produce(w, 1, 40, 1, 0);
	produce(w, 1, 41, 0, 0);
	produce(w, 1, 40, 1, 2);
	int32_t both[] = {1, 0};
	struct kp_describe_producers_response r = ask(w, "t", both, 2);
	struct kp_describe_producers_response_partition *p = r.topics[0].partitions;
	assert_int_equal(p[0].index, 1);
	assert_int_equal(p[0].error_code, KE_NONE);
	assert_int_equal(p[0].n_producers, 2);
	assert_int_equal(p[0].producers[0].producer_id, 41);
	assert_int_equal(p[0].producers[0].last_sequence, 1);
	assert_int_equal(p[0].producers[1].producer_id, 40);
	assert_int_equal(p[0].producers[1].producer_epoch, 1);
	assert_int_equal(p[0].producers[1].last_sequence, 3);
	assert_true(p[0].producers[1].last_timestamp >= 1700000000000);
	assert_int_equal(p[0].producers[1].coordinator_epoch, -1);
	assert_int_equal(p[0].producers[1].current_txn_start_offset, -1);
	assert_int_equal(p[1].index, 0);
	assert_int_equal(p[1].n_producers, 1);
}

static void test_what_is_not_there_is_told_so_between_what_is(void **state)
{
	struct world *w = *state;
	connect_client(w, 1);
	produce(w, 1, 40, 0, 0);
	int32_t indexes[] = {99, 1, -1};
	struct kp_describe_producers_response r = ask(w, "t", indexes, 3);
	struct kp_describe_producers_response_partition *p = r.topics[0].partitions;
	assert_int_equal(p[0].error_code, KE_UNKNOWN_TOPIC_OR_PARTITION);
	assert_int_equal(p[1].n_producers, 1);
	assert_int_equal(p[2].error_code, KE_UNKNOWN_TOPIC_OR_PARTITION);
	r = ask(w, "no-such-topic", indexes, 1);
	assert_int_equal(r.topics[0].partitions[0].error_code, KE_UNKNOWN_TOPIC_OR_PARTITION);
}

#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_each_partition_tells_of_its_producers),
		T(test_what_is_not_there_is_told_so_between_what_is),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
