/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shard, turned by hand (lib/shard_world.h). What is checked is what leaves on the connection,
 * byte by byte, and that all memory comes back.
 */
#include "lib/shard_world.h"

/* ---- tests ---- */

static void test_a_produce_is_answered_only_after_the_storage_has_answered(void **state)
{
	struct world *w = *state;
	uint8_t f[8192];
	struct rd body;
	connect_client(w, 1);
	w->worker.hold = true;
	uint32_t n = produce_frame(f, sizeof(f), 7, 0, "hello");
	receive(w, 1, f, n);
	turn(w, 5);
	assert_int_equal(next_response(w, 1, &body), -1);
	w->worker.hold = false;
	turn(w, 2);
	expect_produced(w, 1, 7, KE_NONE, 0);
}

static void test_requests_that_come_before_the_first_image_wait_for_it(void **state)
{
	struct world *w = *state;
	uint8_t f[8192];
	struct rd body;
	connect_client(w, 1);
	uint32_t n = produce_frame(f, sizeof(f), 1, 0, "early");
	n += fetch_frame(f + n, sizeof(f) - n, 2, 0, 0);
	receive(w, 1, f, n);
	turn(w, 3);
	assert_int_equal(next_response(w, 1, &body), -1);
	world_serve(w);
	turn(w, 3);
	expect_produced(w, 1, 1, KE_NONE, 0);
	assert_true(expect_fetched(w, 1, 2) > 0);
}

static void test_a_frame_cut_at_any_byte_gives_the_same_answer(void **state)
{
	struct world *w = *state;
	uint8_t f[8192];
	connect_client(w, 1);
	uint32_t n = produce_frame(f, sizeof(f), 1, 0, "cut me");
	for (uint32_t cut = 1; cut < n; cut++) {
		receive(w, 1, f, cut);
		receive(w, 1, f + cut, n - cut);
		turn(w, 3);
		expect_produced(w, 1, 1, KE_NONE, cut - 1);
	}
}

static void test_pipelined_produces_are_answered_in_order_whatever_order_they_finish_in(
	void **state)
{
	struct world *w = *state;
	uint8_t f[8192];
	struct rd body;
	connect_client(w, 1);
	w->worker.hold = true;
	uint32_t n = produce_frame(f, sizeof(f), 1, 0, "first");
	n += produce_frame(f + n, sizeof(f) - n, 2, 1, "second");
	n += produce_frame(f + n, sizeof(f) - n, 3, 2, "third");
	receive(w, 1, f, n);
	/* The storage answers the last one first. */
	struct list *last = w->worker.held.prev;
	assert_true(last != w->worker.held.next); /* all are at the storage at once */
	storage_answer(&w->worker, list_entry(last, struct st_req, node));
	turn(w, 3);
	assert_int_equal(next_response(w, 1, &body), -1);
	w->worker.hold = false;
	turn(w, 3);
	for (int32_t i = 1; i <= 3; i++)
		expect_produced(w, 1, i, KE_NONE, 0);
}

static void test_another_api_waits_for_the_produces_before_it(void **state)
{
	struct world *w = *state;
	uint8_t f[8192];
	struct rd body;
	connect_client(w, 1);
	w->worker.hold = true;
	uint32_t n = produce_frame(f, sizeof(f), 1, 0, "first");
	n += fetch_frame(f + n, sizeof(f) - n, 2, 0, 0);
	receive(w, 1, f, n);
	turn(w, 3);
	assert_int_equal(next_response(w, 1, &body), -1);
	w->worker.hold = false;
	turn(w, 5);
	expect_produced(w, 1, 1, KE_NONE, 0);
	assert_true(expect_fetched(w, 1, 2) > 0); /* and so it sees what they wrote */
}

static void test_a_fetch_waits_for_data_and_gets_it(void **state)
{
	struct world *w = *state;
	uint8_t f[8192], g[8192];
	struct rd body;
	connect_client(w, 1);
	connect_client(w, 2);
	uint32_t n = fetch_frame(f, sizeof(f), 9, 1, 10000);
	receive(w, 1, f, n);
	turn(w, 5);
	assert_int_equal(next_response(w, 1, &body), -1);
	n = produce_frame(g, sizeof(g), 1, 1, "news");
	receive(w, 2, g, n);
	turn(w, 5);
	assert_true(expect_fetched(w, 1, 9) > 0);
}

static void test_a_waiting_fetch_outlives_the_image_it_began_with(void **state)
{
	struct world *w = *state;
	uint8_t f[8192];
	struct rd body;
	connect_client(w, 1);
	connect_client(w, 2);
	uint32_t n = fetch_frame(f, sizeof(f), 9, 1, 10000);
	receive(w, 1, f, n);
	turn(w, 3);
	struct image *old = w->image;
	w->image = world_image();
	world_serve(w);
	image_free(old);
	assert_int_equal(next_response(w, 1, &body), -1);
	n = produce_frame(f, sizeof(f), 1, 1, "news");
	receive(w, 2, f, n);
	turn(w, 5);
	assert_true(expect_fetched(w, 1, 9) > 0);
}

static void test_a_fetch_without_data_is_answered_empty_at_its_deadline(void **state)
{
	struct world *w = *state;
	uint8_t f[8192];
	struct rd body;
	connect_client(w, 1);
	uint32_t n = fetch_frame(f, sizeof(f), 9, 1, 100);
	receive(w, 1, f, n);
	w->now_ns += 90 * NS_PER_MS;
	turn(w, 3);
	assert_int_equal(next_response(w, 1, &body), -1);
	w->now_ns += 20 * NS_PER_MS;
	turn(w, 3);
	assert_int_equal(expect_fetched(w, 1, 9), 0);
}

static void test_a_connection_that_dies_with_work_under_way_leaves_nothing_behind(void **state)
{
	struct world *w = *state;
	uint8_t f[8192];
	connect_client(w, 1);
	connect_client(w, 2);
	w->worker.hold = true;
	uint32_t n = produce_frame(f, sizeof(f), 1, 0, "orphan");
	receive(w, 1, f, n);
	n = fetch_frame(f, sizeof(f), 2, 1, 100000);
	receive(w, 2, f, n);
	fnet_end(&w->net, 1);
	fnet_end(&w->net, 2);
	turn(w, 3);
	assert_int_equal(w->shard->session_count, 0);
	assert_int_equal(w->shard->request_slab.used, 1); /* the append is still at the storage */
	w->worker.hold = false;
	turn(w, 3);
	assert_int_equal(w->shard->request_slab.used, 0);
}

static void test_fetched_blocks_stay_pinned_until_the_transport_has_sent_them(void **state)
{
	struct world *w = *state;
	uint8_t f[8192];
	connect_client(w, 1);
	uint32_t n = produce_frame(f, sizeof(f), 1, 0, "pinned");
	receive(w, 1, f, n);
	turn(w, 3);
	expect_produced(w, 1, 1, KE_NONE, 0);
	w->net.hold_sent = true;
	n = fetch_frame(f, sizeof(f), 2, 0, 0);
	receive(w, 1, f, n);
	turn(w, 3);
	assert_true(expect_fetched(w, 1, 2) > 0);
	assert_int_equal(w->shard->request_slab.used, 1);
	assert_true(w->shard->blocks.blocks[0].refs > 1);
	w->net.hold_sent = false;
	turn(w, 3);
	assert_int_equal(w->shard->request_slab.used, 0);
	assert_int_equal(w->shard->blocks.blocks[0].refs, 1);
}

static void test_consumers_that_take_nothing_get_less_and_less_and_then_make_room(void **state)
{
	struct world *w = *state;
	static uint8_t f[32768];
	static char value[3500];
	memset(value, 'v', sizeof(value) - 1);
	connect_client(w, 1);
	for (int i = 0; i < 200; i++) {
		uint32_t n = produce_frame(f, sizeof(f), i, 0, value);
		receive(w, 1, f, n);
		turn(w, 2);
		expect_produced(w, 1, i, KE_NONE, i);
	}
	w->net.hold_sent = true;
	uint32_t first = 0, last = 0;
	for (uint32_t c = 2; c < 6; c++) {
		connect_client(w, c);
		uint32_t n = fetch_frame(f, sizeof(f), 1, 0, 0);
		receive(w, c, f, n);
		turn(w, 3);
		last = expect_fetched(w, c, 1);
		first = first ? first : last;
	}
	assert_true(first > 500000);
	assert_true(last < 40000);
	/* Nothing is free but what they pin: the producer stalls, and the slowest is let go. */
	static char large[12000];
	memset(large, 'l', sizeof(large) - 1);
	w->now_ns += 6 * NS_PER_S;
	w->worker.hold = true;
	for (int i = 0; i < 50; i++) {
		uint32_t n = produce_frame(f, sizeof(f), i, 1, large);
		receive(w, 1, f, n);
	}
	turn(w, 4);
	assert_true(w->net.conns[2].closed_by_us);
	assert_true(w->net.conns[1].open);
	w->worker.hold = false;
	w->net.hold_sent = false;
	turn(w, 20);
	for (int i = 0; i < 50; i++)
		expect_produced(w, 1, i, KE_NONE, i);
	assert_int_equal(w->shard->pinned_bytes, 0);
}

static void expect_closed(struct world *w, const uint8_t *p, uint32_t len)
{
	connect_client(w, 3);
	w->net.conns[3].closed_by_us = false;
	receive(w, 3, p, len);
	turn(w, 3);
	assert_true(w->net.conns[3].closed_by_us);
	assert_int_equal(w->net.conns[3].out_len, 0);
}

static void test_what_is_not_kafka_closes_the_connection_without_an_answer(void **state)
{
	struct world *w = *state;
	expect_closed(w, (const uint8_t *)"GET / HTTP/1.1\r\n\r\n", 18); /* a huge size */
	expect_closed(w, (const uint8_t *)"\xff\xff\xff\xff", 4);
	expect_closed(w, (const uint8_t *)"\0\0\0\0", 4);
	expect_closed(
		w, (const uint8_t *)"\0\0\0\x0a\x12\x34\0\0\0\0\0\1\xff\xff", 14); /* unknown key */
	expect_closed(
		w, (const uint8_t *)"\0\0\0\x0a\0\0\0\x7f\0\0\0\1\xff\xff", 14); /* Produce v127 */
	expect_closed(w, (const uint8_t *)"\0\0\0\x0a\0\x03\0\1\0\0\0\1\xff\xff", 14); /* no body */
}

static void test_api_versions_too_new_is_answered_in_version_0(void **state)
{
	struct world *w = *state;
	struct rd body;
	connect_client(w, 1);
	receive(w, 1, (const uint8_t *)"\0\0\0\x0b\0\x12\0\x63\0\0\0\5\xff\xff\0", 15);
	turn(w, 2);
	assert_int_equal(next_response(w, 1, &body), 5);
	assert_int_equal(rd_be16(&body), KE_UNSUPPORTED_VERSION);
	assert_int_equal(rd_be32(&body), 1);
	assert_int_equal(rd_be16(&body), KP_API_VERSIONS);
	rd_be32(&body);
	assert_int_equal(rd_left(&body), 0);
	assert_false(body.bad);
}

static void test_frames_that_never_end_cannot_take_more_than_the_budget(void **state)
{
	struct world *w = *state;
	static uint8_t part[256 * 1024];
	uint32_t closed = 0;
	for (uint32_t c = 1; c < 8; c++) {
		connect_client(w, c);
		receive(w, c, (const uint8_t *)"\0\x3f\0\0", 4); /* 4 MiB claimed */
		assert_true(w->shard->bufs.used <= w->shard->bufs.budget);
		receive(w, c, part, sizeof(part));
		receive(w, c, part, sizeof(part));
		assert_true(w->shard->bufs.used <= w->shard->bufs.budget);
	}
	for (uint32_t c = 1; c < 8; c++)
		closed += !w->net.conns[c].open;
	assert_true(closed > 0);
	assert_true(w->net.conns[7].open); /* the newest is let in */
}

static void test_a_failed_append_is_answered_with_an_error_and_takes_no_offset(void **state)
{
	struct world *w = *state;
	uint8_t f[8192];
	connect_client(w, 1);
	w->worker.append_err = ST_E_NOSPACE;
	uint32_t n = produce_frame(f, sizeof(f), 1, 0, "no room");
	receive(w, 1, f, n);
	turn(w, 3);
	expect_produced(w, 1, 1, KE_KAFKA_STORAGE_ERROR, -1);
	w->worker.append_err = ST_OK;
	n = produce_frame(f, sizeof(f), 2, 0, "room again");
	receive(w, 1, f, n);
	turn(w, 3);
	expect_produced(w, 1, 2, KE_NONE, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_a_produce_is_answered_only_after_the_storage_has_answered),
		cmocka_unit_test_setup_teardown(
			test_requests_that_come_before_the_first_image_wait_for_it,
			world_setup_without_image, world_teardown),
		T(test_a_frame_cut_at_any_byte_gives_the_same_answer),
		T(test_pipelined_produces_are_answered_in_order_whatever_order_they_finish_in),
		T(test_another_api_waits_for_the_produces_before_it),
		T(test_a_fetch_waits_for_data_and_gets_it),
		T(test_a_waiting_fetch_outlives_the_image_it_began_with),
		T(test_a_fetch_without_data_is_answered_empty_at_its_deadline),
		T(test_a_connection_that_dies_with_work_under_way_leaves_nothing_behind),
		T(test_fetched_blocks_stay_pinned_until_the_transport_has_sent_them),
		T(test_consumers_that_take_nothing_get_less_and_less_and_then_make_room),
		T(test_what_is_not_kafka_closes_the_connection_without_an_answer),
		T(test_api_versions_too_new_is_answered_in_version_0),
		T(test_frames_that_never_end_cannot_take_more_than_the_budget),
		T(test_a_failed_append_is_answered_with_an_error_and_takes_no_offset),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
