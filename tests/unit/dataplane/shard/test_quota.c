/* SPDX-License-Identifier: Apache-2.0 */
/* What clients use of their quotas, and what a shard does about those who use too much. */
#include "lib/shard_world.h"

static struct image *image_of(const struct image_quota *quotas, uint32_t n)
{
	return world_image_with(quotas, n);
}

static struct image_quota quota(const char *user, const char *client, double produce, double fetch)
{
	return (struct image_quota){
		.user_is = !user   ? QUOTA_ABSENT
			   : *user ? QUOTA_NAMED
				   : QUOTA_DEFAULT,
		.client_is = !client   ? QUOTA_ABSENT
			     : *client ? QUOTA_NAMED
				       : QUOTA_DEFAULT,
		.user = kstr_of(user),
		.client = kstr_of(client),
		.rate = {produce, fetch, -1},
	};
}

/* ---- which quota ---- */

static void test_the_entity_that_says_most_wins(void **state)
{
	/* in Kafka's order, strongest first */
	static const char *const who[8][2] = {{"u", "c"}, {"u", ""}, {"u", NULL}, {"", "c"},
		{"", ""}, {"", NULL}, {NULL, "c"}, {NULL, ""}};
	struct image_quota q[9];
	for (int first = 0; first <= 8; first++) {
		uint32_t n = 0;
		int level;
		for (int i = first; i < 8; i++)
			q[n++] = quota(who[i][0], who[i][1], i + 1, -1);
		q[n++] = quota("other", "c", 99, -1);
		struct image *im = image_of(q, n);
		double rate =
			image_quota_find(im, kstr_of("u"), kstr_of("c"), QUOTA_PRODUCE, &level);
		assert_true(rate == (first < 8 ? first + 1 : -1));
		assert_int_equal(level, first);
		assert_true(
			image_quota_find(im, kstr_of("u"), kstr_of("c"), QUOTA_FETCH, &level) < 0);
		image_free(im);
	}
}

/* ---- how much ---- */

static uint64_t use(struct quota_table *t, const struct image *im, const char *client,
	uint64_t amount, uint64_t now_ms)
{
	return quota_use(t, im, 1, kstr_of("u"), kstr_of(client), QUOTA_PRODUCE, amount,
		       (1000000 + now_ms) * NS_PER_MS) /
	       NS_PER_MS;
}

static void test_a_client_is_held_to_its_rate_after_a_burst_of_a_second(void **state)
{
	static struct quota_table t;
	struct image_quota q = quota(NULL, "", 1000, -1);
	struct image *im = image_of(&q, 1);
	assert_int_equal(use(&t, im, "a", 1000, 0), 0);	 /* the burst */
	assert_int_equal(use(&t, im, "a", 500, 0), 500); /* half a second too much */
	assert_int_equal(use(&t, im, "b", 1000, 0), 0);	 /* everyone has the same for himself */
	assert_int_equal(use(&t, im, "a", 0, 300), 200);
	assert_int_equal(use(&t, im, "a", 100, 500), 100);
	/* over a long time exactly the rate comes through */
	uint64_t sent = 0, now_ms = 100000;
	while (now_ms < 200000) {
		sent += 700;
		now_ms += use(&t, im, "c", 700, now_ms);
		now_ms += now_ms % 3 == 0;
	}
	assert_in_range(sent, 100000, 102500);
	image_free(im);
}

static void test_shards_share_a_quota_and_users_share_theirs(void **state)
{
	static struct quota_table t;
	uint64_t now = 1000 * NS_PER_S;
	struct image_quota q = quota("u", NULL, 1000, -1);
	struct image *im = image_of(&q, 1);
	assert_int_equal(
		quota_use(&t, im, 4, kstr_of("u"), kstr_of("a"), QUOTA_PRODUCE, 250, now), 0);
	assert_int_equal(quota_use(&t, im, 4, kstr_of("u"), kstr_of("b"), QUOTA_PRODUCE, 250, now),
		NS_PER_S); /* whatever its client id is */
	assert_int_equal(
		quota_use(&t, im, 4, kstr_of("v"), kstr_of("b"), QUOTA_PRODUCE, 250, now), 0);
	image_free(im);
}

static void test_any_number_of_clients_fits_and_nobody_escapes(void **state)
{
	static struct quota_table t;
	struct image_quota q = quota(NULL, "", 10, -1);
	struct image *im = image_of(&q, 1);
	char name[32];
	for (int i = 0; i < 20000; i++) {
		snprintf(name, sizeof(name), "client-%d", i);
		assert_true(use(&t, im, name, 1000, 0) > 90000);
	}
	image_free(im);
}

/* ---- a shard ---- */

static int setup_quota(void **state)
{
	world_setup_without_image(state);
	struct world *w = *state;
	struct image_quota q = quota(NULL, "x", 100, 2000);
	image_free(w->image);
	w->image = world_image_with(&q, 1);
	world_serve(w);
	return 0;
}

static int32_t throttled_produce(struct world *w, uint32_t c, int32_t corr)
{
	static uint8_t mem[8192];
	struct arena a;
	struct rd body;
	struct kp_produce_response resp;
	arena_init(&a, mem, sizeof(mem));
	assert_int_equal(next_response(w, c, &body), corr);
	assert_int_equal(kp_decode_produce_response(&body, 7, &resp, &a), 0);
	assert_int_equal(resp.topics[0].partitions[0].error_code, 0);
	return resp.throttle_time_ms;
}

static void test_a_producer_over_its_quota_is_told_and_not_heard_until_then(void **state)
{
	struct world *w = *state;
	uint8_t f[1024];
	struct rd body;
	char value[301];
	connect_client(w, 1);
	connect_client(w, 2);
	memset(value, 'v', 300);
	value[300] = 0;
	uint32_t len = produce_frame(f, sizeof(f), 1, 0, value);
	receive(w, 1, f, len);
	turn(w, 8);
	int32_t ms = throttled_produce(w, 1, 1);
	assert_in_range(ms, 2000, 5000); /* at 100 bytes a second, and one second for nothing */
	assert_true(w->net.conns[1].paused);
	assert_false(w->net.conns[2].paused);
	len = produce_frame(f, sizeof(f), 2, 0, "v"); /* it does not listen */
	receive(w, 1, f, len);
	turn(w, 8);
	assert_int_equal(next_response(w, 1, &body), -1);
	w->now_ns += ((uint64_t)ms - 20) * NS_PER_MS;
	turn(w, 8);
	assert_int_equal(next_response(w, 1, &body), -1);
	w->now_ns += 50 * NS_PER_MS;
	turn(w, 8);
	assert_true(throttled_produce(w, 1, 2) > 0);
	assert_int_equal(w->shard->metrics.throttled_total.v, 2);
}

static void test_a_muted_connection_may_go(void **state)
{
	struct world *w = *state;
	uint8_t f[2048];
	char value[1001];
	connect_client(w, 1);
	memset(value, 'v', 1000);
	value[1000] = 0;
	receive(w, 1, f, produce_frame(f, sizeof(f), 1, 0, value));
	turn(w, 8);
	assert_true(throttled_produce(w, 1, 1) > 0);
	w->net.conns[1].open = false;
	fnet_push(&w->net, (struct net_event){.kind = NET_EV_CLOSED, .conn = 1});
	turn(w, 2);
	w->now_ns += 3600 * NS_PER_S;
	turn(w, 2);
	assert_int_equal(w->shard->session_count, 0);
}

static void test_a_consumer_over_its_quota_gets_its_data_and_waits_after_it(void **state)
{
	struct world *w = *state;
	static uint8_t mem[8192];
	struct arena a;
	struct rd body;
	struct kp_fetch_response resp;
	uint8_t f[8192];
	char value[4001];
	connect_client(w, 1);
	connect_client(w, 2);
	memset(value, 'v', 4000);
	value[4000] = 0;
	receive(w, 1, f, produce_frame(f, sizeof(f), 1, 0, value));
	turn(w, 8);
	receive(w, 2, f, fetch_frame(f, sizeof(f), 5, 0, 100));
	turn(w, 8);
	arena_init(&a, mem, sizeof(mem));
	assert_int_equal(next_response(w, 2, &body), 5);
	assert_int_equal(kp_decode_fetch_response(&body, 4, &resp, &a), 0);
	assert_true(resp.topics[0].partitions[0].records.len > 4000);
	assert_in_range(
		resp.throttle_time_ms, 900, 1300); /* 4 KiB at 2000 a second, less a burst */
	assert_true(w->net.conns[2].paused);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup_quota, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_entity_that_says_most_wins),
		cmocka_unit_test(test_a_client_is_held_to_its_rate_after_a_burst_of_a_second),
		cmocka_unit_test(test_shards_share_a_quota_and_users_share_theirs),
		cmocka_unit_test(test_any_number_of_clients_fits_and_nobody_escapes),
		T(test_a_producer_over_its_quota_is_told_and_not_heard_until_then),
		T(test_a_muted_connection_may_go),
		T(test_a_consumer_over_its_quota_gets_its_data_and_waits_after_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
