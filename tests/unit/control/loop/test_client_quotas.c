/* SPDX-License-Identifier: Apache-2.0 */
/* Quotas are described as they were given, survive a restart, and reach every shard. */
#include "unit/control/loop/ctl_env.h"

typedef struct kp_alter_client_quotas_request_entity entity_t;
typedef struct kp_alter_client_quotas_request_op op_t;

static struct msg *answer_of(struct env *e, struct msg *m)
{
	struct msg *got = NULL;
	for (int i = 0; i < 100 && !got; i++) {
		settle(e);
		got = take(e, m);
	}
	assert_non_null(got);
	return got;
}

/* user, client NULL: absent; "": default. value < 0: removed. The error. */
static int16_t alter(struct env *e, const char *user, const char *client, const char *key,
	double value, bool only_validate)
{
	entity_t ent[2];
	op_t op = {.key = kstr_of(key), .value = value, .remove = value < 0};
	struct kp_alter_client_quotas_request_entry entry = {.entity = ent, .ops = &op, .n_ops = 1};
	if (user)
		ent[entry.n_entity++] =
			(entity_t){kstr_of("user"), *user ? kstr_of(user) : KSTR_NULL};
	if (client)
		ent[entry.n_entity++] =
			(entity_t){kstr_of("client-id"), *client ? kstr_of(client) : KSTR_NULL};
	struct kp_alter_client_quotas_request req = {
		.entries = &entry, .n_entries = 1, .validate_only = only_validate};
	struct kp_alter_client_quotas_response res;
	struct msg *m = answer_of(e, send_request(e, KP_ALTER_CLIENT_QUOTAS, 1, &req));
	decode(m, &res);
	assert_int_equal(res.n_entries, 1);
	assert_int_equal(res.entries[0].n_entity, entry.n_entity);
	int16_t error = res.entries[0].error_code;
	assert_true((error == KE_NONE) == (res.entries[0].error_message.len < 0));
	free_msg(m);
	return error;
}

/* How many entries; *value is that of the first one. */
static int32_t describe(
	struct env *e, const char *type, int8_t match, const char *name, bool strict, double *value)
{
	struct kp_describe_client_quotas_request_component k = {
		.entity_type = kstr_of(type), .match_type = match, .match = kstr_of(name)};
	struct kp_describe_client_quotas_request req = {
		.components = &k, .n_components = type ? 1 : 0, .strict = strict};
	struct kp_describe_client_quotas_response res;
	struct msg *m = answer_of(e, send_request(e, KP_DESCRIBE_CLIENT_QUOTAS, 1, &req));
	decode(m, &res);
	int32_t n = res.error_code ? -res.error_code : res.n_entries;
	if (value && n > 0)
		*value = res.entries[0].values[0].value;
	free_msg(m);
	return n;
}

static void test_quotas_are_described_as_they_were_given(void **state)
{
	struct env *e = *state;
	double v = 0;
	start(e);
	assert_int_equal(alter(e, "u", NULL, "producer_byte_rate", 1000, false), KE_NONE);
	assert_int_equal(alter(e, "u", "c", "consumer_byte_rate", 2000, false), KE_NONE);
	assert_int_equal(alter(e, NULL, "", "request_percentage", 12.5, false), KE_NONE);
	assert_int_equal(alter(e, NULL, "c", "producer_byte_rate", 7, true), KE_NONE);
	assert_int_equal(describe(e, NULL, 0, NULL, false, NULL), 3);
	assert_int_equal(describe(e, "user", 0, "u", true, &v), 1);
	assert_true(v == 1000);
	assert_int_equal(describe(e, "user", 0, "u", false, NULL), 2);
	assert_int_equal(describe(e, "client-id", 1, NULL, false, &v), 1);
	assert_true(v == 12.5);
	assert_int_equal(describe(e, "client-id", 2, NULL, false, NULL), 2);
	assert_int_equal(describe(e, "ip", 2, NULL, false, NULL), 0);
	assert_int_equal(describe(e, "planet", 2, NULL, false, NULL), -KE_INVALID_REQUEST);
	assert_int_equal(describe(e, "user", 0, NULL, false, NULL), -KE_INVALID_REQUEST);
	/* another value replaces, and without any the entity is gone */
	assert_int_equal(alter(e, "u", NULL, "producer_byte_rate", 3000, false), KE_NONE);
	describe(e, "user", 0, "u", true, &v);
	assert_true(v == 3000);
	assert_int_equal(alter(e, "u", NULL, "producer_byte_rate", -1, false), KE_NONE);
	assert_int_equal(describe(e, "user", 0, "u", true, NULL), 0);
	stop(e);
}

static void test_quotas_reach_every_shard_and_survive_a_restart(void **state)
{
	struct env *e = *state;
	int level;
	start(e);
	assert_int_equal(alter(e, NULL, "c", "producer_byte_rate", 5000, false), KE_NONE);
	for (int life = 0; life < 2; life++) {
		for (int i = 0; i < SHARDS; i++)
			assert_true(image_quota_find(e->serving[i], kstr_of("ANONYMOUS"),
					    kstr_of("c"), QUOTA_PRODUCE, &level) == 5000);
		stop(e);
		close_ctl(e);
		open_ctl(e);
		start(e);
		assert_int_equal(create(e, life ? "b" : "a", 1), KE_NONE); /* keeps them */
	}
	assert_int_equal(describe(e, NULL, 0, NULL, false, NULL), 1);
	stop(e);
}

static void test_what_makes_no_sense_is_refused(void **state)
{
	struct env *e = *state;
	char longest[QUOTA_NAME_MAX + 2];
	memset(longest, 'x', sizeof(longest));
	longest[QUOTA_NAME_MAX + 1] = 0;
	start(e);
	assert_int_equal(alter(e, NULL, NULL, "producer_byte_rate", 1, false), KE_INVALID_REQUEST);
	assert_int_equal(alter(e, "u", NULL, "producer_byte_rate", 0, false), KE_INVALID_REQUEST);
	assert_int_equal(alter(e, "u", NULL, "producer_byte_rate", 1.5, false), KE_INVALID_REQUEST);
	assert_int_equal(alter(e, "u", NULL, "cups_of_tea", 1, false), KE_INVALID_REQUEST);
	assert_int_equal(
		alter(e, longest, NULL, "producer_byte_rate", 1, false), KE_INVALID_REQUEST);
	assert_int_equal(alter(e, longest + 1, NULL, "producer_byte_rate", 1, false), KE_NONE);
	assert_int_equal(describe(e, NULL, 0, NULL, false, NULL), 1);
	stop(e);
}

static void test_a_quota_that_cannot_be_stored_does_not_hold(void **state)
{
	struct env *e = *state;
	char path[128];
	start(e);
	snprintf(path, sizeof(path), "%s/millrace.meta.json.tmp", e->dir);
	assert_int_equal(mkdir(path, 0755), 0);
	assert_int_equal(
		alter(e, "u", NULL, "producer_byte_rate", 1, false), KE_KAFKA_STORAGE_ERROR);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(describe(e, NULL, 0, NULL, false, NULL), 0);
	assert_int_equal(e->serving[0]->quota_count, 0);
	stop(e);
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_quotas_are_described_as_they_were_given),
		TEST(test_quotas_reach_every_shard_and_survive_a_restart),
		TEST(test_what_makes_no_sense_is_refused),
		TEST(test_a_quota_that_cannot_be_stored_does_not_hold),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
