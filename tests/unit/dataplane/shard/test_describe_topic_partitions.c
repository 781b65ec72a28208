/* SPDX-License-Identifier: Apache-2.0 */
/* DescribeTopicPartitions through a whole shard, page by page. */
#include "lib/shard_world.h"

static struct kp_describe_topic_partitions_response ask(struct world *w, const char **names,
	int32_t limit, const char *cursor_topic, int32_t cursor_partition)
{
	static uint8_t mem[1 << 16];
	uint8_t f[512];
	struct arena a;
	struct rd body;
	struct kp_describe_topic_partitions_request_topic t[4];
	struct kp_describe_topic_partitions_request_cursor c = {
		.topic_name = kstr_of(cursor_topic), .partition_index = cursor_partition};
	struct kp_describe_topic_partitions_request q = {
		.topics = t, .response_partition_limit = limit};
	struct kp_describe_topic_partitions_response resp;
	for (; names && names[q.n_topics]; q.n_topics++)
		t[q.n_topics].name = kstr_of(names[q.n_topics]);
	q.cursor = &c;
	q.n_cursor = cursor_topic ? 1 : 0;
	struct kwr k = kwr_of(f, sizeof(f));
	kp_request_begin(
		&k, kp_api_find(KP_DESCRIBE_TOPIC_PARTITIONS), 0, 5, (struct kstr){"x", 1});
	kp_encode_describe_topic_partitions_request(&k, 0, &q);
	assert_true(kp_request_end(&k));
	receive(w, 1, f, (uint32_t)kwr_len(&k));
	turn(w, 4);
	arena_init(&a, mem, sizeof(mem));
	assert_int_equal(next_response(w, 1, &body), 5);
	assert_int_equal(rd_u8(&body), 0);
	assert_int_equal(kp_decode_describe_topic_partitions_response(&body, 0, &resp, &a), 0);
	return resp;
}

static void test_pages_follow_each_other_by_their_cursors(void **state)
{
	struct world *w = *state;
	connect_client(w, 1);
	int32_t next = 0;
	for (int page = 0; next < PARTS; page++) {
		struct kp_describe_topic_partitions_response r =
			ask(w, NULL, 1, page ? "t" : NULL, next);
		assert_int_equal(r.n_topics, 1);
		assert_true(kstr_equal(r.topics[0].name, kstr_of("t")));
		assert_int_equal(r.topics[0].error_code, KE_NONE);
		assert_int_equal(r.topics[0].n_partitions, 1);
		assert_int_equal(r.topics[0].partitions[0].partition_index, next++);
		assert_int_equal(r.topics[0].partitions[0].n_isr_nodes, 1);
		assert_int_equal(r.n_next_cursor > 0, next < PARTS);
		if (next < PARTS)
			assert_int_equal(r.next_cursor->partition_index, next);
	}
	struct kp_describe_topic_partitions_response r = ask(w, NULL, 2000, NULL, 0);
	assert_int_equal(r.topics[0].n_partitions, PARTS);
	assert_int_equal(r.n_next_cursor, 0);
	r = ask(w, NULL, 10, "u", 0);
	assert_int_equal(r.n_topics, 0);
}

static void test_what_is_named_comes_once_in_order_of_name(void **state)
{
	struct world *w = *state;
	connect_client(w, 1);
	const char *names[] = {"z", "t", "t", "a b", NULL};
	struct kp_describe_topic_partitions_response r = ask(w, names, 0, NULL, 0);
	assert_int_equal(r.n_topics, 3);
	assert_int_equal(r.topics[0].error_code, KE_INVALID_TOPIC_EXCEPTION);
	assert_int_equal(r.topics[1].n_partitions, PARTS);
	assert_int_equal(r.topics[2].error_code, KE_UNKNOWN_TOPIC_OR_PARTITION);
	r = ask(w, names, PARTS, NULL, 0);
	assert_int_equal(r.n_topics, 2); /* a page that is full ends before what is next */
	assert_true(kstr_equal(r.next_cursor->topic_name, kstr_of("z")));
}

#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_pages_follow_each_other_by_their_cursors),
		T(test_what_is_named_comes_once_in_order_of_name),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
