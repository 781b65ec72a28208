/* SPDX-License-Identifier: Apache-2.0 */
/* Fetch from version 12 on: a consumer that has read what is not there is told where to go on. */
#include "lib/shard_world.h"

static struct kp_fetch_response_partition fetch(
	struct world *w, int16_t version, int64_t offset, int32_t epoch)
{
	static uint8_t mem[8192];
	uint8_t f[1024];
	struct arena a;
	struct rd body;
	struct kp_fetch_response resp;
	struct kp_fetch_request_partition p;
	struct kp_fetch_request_topic t = {
		.name = {"t", 1}, .topic_id = {{1}}, .partitions = &p, .n_partitions = 1};
	struct kp_fetch_request q;
	kp_default_fetch_request_partition(&p);
	kp_default_fetch_request(&q);
	p.fetch_offset = offset;
	p.last_fetched_epoch = epoch;
	p.max_bytes = 1 << 20;
	q.topics = &t;
	q.n_topics = 1;
	struct kwr k = kwr_of(f, sizeof(f));
	kp_request_begin(&k, kp_api_find(KP_FETCH), version, 3, (struct kstr){"x", 1});
	kp_encode_fetch_request(&k, version, &q);
	assert_true(kp_request_end(&k));
	receive(w, 1, f, (uint32_t)kwr_len(&k));
	turn(w, 8);
	arena_init(&a, mem, sizeof(mem));
	assert_int_equal(next_response(w, 1, &body), 3);
	if (version >= 12)
		rd_u8(&body);
	assert_int_equal(kp_decode_fetch_response(&body, version, &resp, &a), 0);
	assert_int_equal(resp.error_code, KE_NONE);
	return resp.topics[0].partitions[0];
}

static void test_a_position_beyond_the_end_of_its_epoch_is_answered_with_that_end(void **state)
{
	struct world *w = *state;
	uint8_t f[1024];
	connect_client(w, 1);
	receive(w, 1, f, produce_frame(f, sizeof(f), 1, 0, "v"));
	turn(w, 8);
	expect_produced(w, 1, 1, KE_NONE, 0);
	for (int16_t version = 12; version <= 18; version++) {
		struct kp_fetch_response_partition p = fetch(w, version, 100, 0);
		assert_int_equal(p.error_code, KE_NONE);
		assert_int_equal(p.diverging_epoch.epoch, 0);
		assert_int_equal(p.diverging_epoch.end_offset, 1);
		assert_int_equal(p.high_watermark, 1);
		assert_int_equal(p.records.len, 0);
		/* nothing is known of another epoch, and of a client that does not say which */
		assert_int_equal(fetch(w, version, 100, 5).error_code, KE_OFFSET_OUT_OF_RANGE);
		assert_int_equal(fetch(w, version, 100, -1).error_code, KE_OFFSET_OUT_OF_RANGE);
		assert_int_equal(fetch(w, version, 100, -1).high_watermark, -1);
		p = fetch(w, version, 0, 0);
		assert_int_equal(p.diverging_epoch.epoch, -1);
		assert_true(p.records.len > 0);
	}
	assert_int_equal(fetch(w, 11, 100, 0).error_code, KE_OFFSET_OUT_OF_RANGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_a_position_beyond_the_end_of_its_epoch_is_answered_with_that_end,
			world_setup, world_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
