/* SPDX-License-Identifier: Apache-2.0 */
/* InitProducerId: ids that are given once, also across restarts. */
#include "unit/control/loop/ctl_env.h"

static struct kp_init_producer_id_response ask(struct env *e, int16_t version, struct kstr txn)
{
	struct kp_init_producer_id_request req;
	struct kp_init_producer_id_response res;
	kp_default_init_producer_id_request(&req);
	req.transactional_id = txn;
	req.transaction_timeout_ms = 60000;
	if (version >= 3) { /* a client that has one and wants another */
		req.producer_id = 5;
		req.producer_epoch = 7;
	}
	struct msg *m = send_request(e, KP_INIT_PRODUCER_ID, version, &req);
	settle(e);
	assert_non_null(take(e, m));
	decode(m, &res);
	free_msg(m);
	return res;
}

static int64_t ask_id(struct env *e, int16_t version)
{
	struct kp_init_producer_id_response res = ask(e, version, KSTR_NULL);
	assert_int_equal(res.error_code, KE_NONE);
	assert_int_equal(res.producer_epoch, 0);
	assert_int_equal(res.throttle_time_ms, 0);
	return res.producer_id;
}

static void test_each_request_of_any_version_gets_a_fresh_id(void **state)
{
	struct env *e = *state;
	start(e);
	int64_t last = -1;
	for (int i = 0; i < 2500; i++) { /* more than two blocks */
		int64_t id = ask_id(e, (int16_t)(i % 6));
		assert_true(id > last);
		last = id;
	}
	assert_int_equal(last, 2499);
	stop(e);
}

static void test_a_restart_gives_no_id_again(void **state)
{
	struct env *e = *state;
	start(e);
	assert_int_equal(ask_id(e, 5), 0);
	assert_int_equal(ask_id(e, 5), 1);
	for (int i = 1; i < 4; i++) {
		assert_int_equal(create(e, i == 1 ? "a" : i == 2 ? "b" : "c", 1), KE_NONE);
		stop(e);
		close_ctl(e);
		open_ctl(e);
		start(e);
		assert_int_equal(ask_id(e, 4), 1000 * i);
	}
	stop(e);
}

static void test_transactions_are_refused(void **state)
{
	struct env *e = *state;
	start(e);
	assert_int_equal(ask(e, 2, kstr_of("")).error_code, KE_INVALID_REQUEST);
	struct kp_init_producer_id_response res = ask(e, 5, kstr_of("t"));
	assert_int_equal(res.error_code, KE_COORDINATOR_NOT_AVAILABLE);
	assert_int_equal(res.producer_id, -1);
	assert_int_equal(res.producer_epoch, -1);
	stop(e);
}

static void test_no_id_is_given_that_is_not_stored_as_given(void **state)
{
	struct env *e = *state;
	char path[128];
	start(e);
	snprintf(path, sizeof(path), "%s/millrace.meta.json.tmp", e->dir);
	assert_int_equal(mkdir(path, 0755), 0); /* nothing can be written there */
	struct kp_init_producer_id_response res = ask(e, 5, KSTR_NULL);
	assert_int_equal(res.error_code, KE_COORDINATOR_NOT_AVAILABLE);
	assert_int_equal(res.producer_id, -1);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(ask_id(e, 5), 0);
	stop(e);
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_each_request_of_any_version_gets_a_fresh_id),
		TEST(test_a_restart_gives_no_id_again),
		TEST(test_transactions_are_refused),
		TEST(test_no_id_is_given_that_is_not_stored_as_given),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
