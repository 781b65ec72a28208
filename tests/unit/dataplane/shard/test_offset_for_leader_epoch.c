/* SPDX-License-Identifier: Apache-2.0 */
/* OffsetForLeaderEpoch through a whole shard. */
#include "lib/shard_world.h"

struct answer {
	int16_t error;
	int32_t epoch;
	int64_t end;
};

static struct answer ask(
	struct world *w, int16_t version, int32_t part, int32_t current, int32_t epoch)
{
	static uint8_t mem[8192];
	uint8_t f[512];
	struct arena a;
	struct rd body;
	struct kp_offset_for_leader_epoch_request_partition p = {
		.index = part, .current_leader_epoch = current, .leader_epoch = epoch};
	struct kp_offset_for_leader_epoch_request_topic t = {
		.name = kstr_of("t"), .partitions = &p, .n_partitions = 1};
	struct kp_offset_for_leader_epoch_request q = {
		.replica_id = -1, .topics = &t, .n_topics = 1};
	struct kp_offset_for_leader_epoch_response resp;
	struct kwr k = kwr_of(f, sizeof(f));
	kp_request_begin(
		&k, kp_api_find(KP_OFFSET_FOR_LEADER_EPOCH), version, 5, (struct kstr){"x", 1});
	kp_encode_offset_for_leader_epoch_request(&k, version, &q);
	assert_true(kp_request_end(&k));
	receive(w, 1, f, (uint32_t)kwr_len(&k));
	turn(w, 4);
	arena_init(&a, mem, sizeof(mem));
	assert_int_equal(next_response(w, 1, &body), 5);
	if (version >= 4)
		assert_int_equal(rd_u8(&body), 0); /* tagged fields of the header */
	assert_int_equal(kp_decode_offset_for_leader_epoch_response(&body, version, &resp, &a), 0);
	assert_int_equal(resp.n_topics, 1);
	assert_int_equal(resp.topics[0].n_partitions, 1);
	assert_int_equal(resp.topics[0].partitions[0].index, part);
	return (struct answer){resp.topics[0].partitions[0].error_code,
		resp.topics[0].partitions[0].leader_epoch, resp.topics[0].partitions[0].end_offset};
}

static void expect(struct answer a, int16_t error, int32_t epoch, int64_t end)
{
	assert_int_equal(a.error, error);
	assert_int_equal(a.epoch, epoch);
	assert_int_equal(a.end, end);
}

static void test_the_epoch_ends_where_the_log_does(void **state)
{
	struct world *w = *state;
	uint8_t f[8192];
	connect_client(w, 1);
	expect(ask(w, 4, 0, -1, 0), KE_NONE, 0, 0);
	for (int i = 0; i < 3; i++) {
		receive(w, 1, f, produce_frame(f, sizeof(f), i, 0, "x"));
		turn(w, 3);
		expect_produced(w, 1, i, KE_NONE, i);
	}
	for (int16_t v = 2; v <= 4; v++)
		expect(ask(w, v, 0, 0, 0), KE_NONE, 0, 3);
}

static void test_nothing_is_known_of_another_epoch(void **state)
{
	struct world *w = *state;
	connect_client(w, 1);
	expect(ask(w, 4, 0, -1, 1), KE_NONE, -1, -1);
	expect(ask(w, 4, 0, -1, -1), KE_NONE, -1, -1);
}

static void test_an_asker_with_another_current_epoch_is_refused(void **state)
{
	struct world *w = *state;
	connect_client(w, 1);
	expect(ask(w, 4, 0, 1, 0), KE_UNKNOWN_LEADER_EPOCH, -1, -1);
}

static void test_a_partition_that_is_not_there_is_told_so(void **state)
{
	struct world *w = *state;
	connect_client(w, 1);
	expect(ask(w, 3, 99, -1, 0), KE_UNKNOWN_TOPIC_OR_PARTITION, -1, -1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_the_epoch_ends_where_the_log_does),
		T(test_nothing_is_known_of_another_epoch),
		T(test_an_asker_with_another_current_epoch_is_refused),
		T(test_a_partition_that_is_not_there_is_told_so),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
