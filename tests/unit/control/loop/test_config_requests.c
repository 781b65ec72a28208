/* SPDX-License-Identifier: Apache-2.0 */
/* Configurations described and altered, partitions added: from the request to the answer. */
#include "unit/control/loop/ctl_env.h"

#define TOPIC 2
#define BROKER 4

typedef struct kp_describe_configs_response_config config_t;

static struct msg *last; /* its text is that of the last answer */

static int end(void **state)
{
	if (last)
		free_msg(last);
	last = NULL;
	return teardown(state);
}

/* The answer to a request, decoded; its text is there until the next one. */
static void ask(struct env *e, int16_t key, int16_t version, const void *req, void *resp)
{
	struct msg *m = send_request(e, key, version, req);
	settle(e);
	assert_non_null(take(e, m));
	decode(m, resp);
	if (last)
		free_msg(last);
	last = m;
}

static struct kp_describe_configs_response describe(
	struct env *e, int16_t version, int8_t type, const char *name, const char *only)
{
	struct kstr key = kstr_of(only ? only : "");
	struct kp_describe_configs_request_resource r = {
		.resource_type = type,
		.resource_name = kstr_of(name),
		.configuration_keys = &key,
		.n_configuration_keys = only ? 1 : -1,
	};
	struct kp_describe_configs_request req = {.resources = &r,
		.n_resources = 1,
		.include_synonyms = true,
		.include_documentation = version >= 3};
	struct kp_describe_configs_response resp;
	ask(e, KP_DESCRIBE_CONFIGS, version, &req, &resp);
	assert_int_equal(resp.n_results, 1);
	assert_int_equal(resp.results[0].resource_type, type);
	return resp;
}

static int16_t alter_to(struct env *e, int8_t type, const char *name, const char *key,
	const char *value, bool validate_only)
{
	struct kp_incremental_alter_configs_request_config c = {
		.name = kstr_of(key), .value = value ? kstr_of(value) : KSTR_NULL};
	struct kp_incremental_alter_configs_request_resource r = {.resource_type = type,
		.resource_name = kstr_of(name),
		.configs = &c,
		.n_configs = 1};
	struct kp_incremental_alter_configs_request req = {
		.resources = &r, .n_resources = 1, .validate_only = validate_only};
	struct kp_incremental_alter_configs_response resp;
	ask(e, KP_INCREMENTAL_ALTER_CONFIGS, 1, &req, &resp);
	assert_int_equal(resp.n_responses, 1);
	assert_int_equal(
		resp.responses[0].error_message.len > 0, resp.responses[0].error_code != 0);
	return resp.responses[0].error_code;
}

static void test_a_topic_says_each_value_and_where_it_comes_from(void **state)
{
	struct env *e = *state;
	set(e, "log.retention.ms=70000");
	assert_int_equal(config_finish(&e->cfg, "h", e->err, sizeof(e->err)), 0);
	start(e);
	assert_int_equal(create(e, "t", 1), KE_NONE);
	uint32_t count;
	topic_settings(&count);
	for (int16_t version = 1; version <= 4; version++) {
		struct kp_describe_configs_response r = describe(e, version, TOPIC, "t", NULL);
		assert_int_equal(r.results[0].n_configs, count);
		for (uint32_t i = 0; i < count; i++) {
			const config_t *c = &r.results[0].configs[i];
			assert_true(c->value.len >= 0 && !c->read_only && !c->is_sensitive);
			assert_true(c->n_synonyms >= 1);
			assert_int_equal(c->synonyms[0].source, c->config_source);
			/* of keys in other units the value is as it is there */
			bool hours = kstr_equal(c->synonyms[0].name, kstr_of("log.roll.hours"));
			assert_true(hours || kstr_equal(c->synonyms[0].value, c->value));
			assert_int_equal(c->documentation.len > 0, version >= 3);
			assert_int_equal(c->config_type != 0, version >= 3);
		}
	}
	struct kp_describe_configs_response r = describe(e, 4, TOPIC, "t", "retention.ms");
	assert_int_equal(r.results[0].n_configs, 1);
	const config_t *c = &r.results[0].configs[0];
	assert_true(kstr_equal(c->value, kstr_of("70000")));
	assert_int_equal(c->config_source, TOPIC_SRC_STATIC_BROKER);
	assert_int_equal(alter_to(e, TOPIC, "t", "retention.ms", "6000", false), KE_NONE);
	r = describe(e, 4, TOPIC, "t", "retention.ms");
	c = &r.results[0].configs[0];
	assert_true(kstr_equal(c->value, kstr_of("6000")));
	assert_int_equal(c->config_source, TOPIC_SRC_TOPIC);
	assert_int_equal(c->n_synonyms, 3);
	assert_true(kstr_equal(c->synonyms[1].name, kstr_of("log.retention.ms")));
	assert_true(kstr_equal(c->synonyms[1].value, kstr_of("70000")));
	assert_int_equal(c->synonyms[2].source, TOPIC_SRC_DEFAULT);
	stop(e);
}

static void test_the_broker_says_its_configuration(void **state)
{
	struct env *e = *state;
	start(e);
	struct kp_describe_configs_response r = describe(e, 4, BROKER, "3", NULL);
	assert_int_equal(r.results[0].error_code, KE_NONE);
	assert_int_equal(r.results[0].n_configs, CONFIG_KEY_COUNT);
	for (int32_t i = 0; i < r.results[0].n_configs; i++)
		assert_int_equal(
			r.results[0].configs[i].read_only, !dynamic_allows((enum config_key)i));
	r = describe(e, 4, BROKER, "3", "node.id");
	assert_true(kstr_equal(r.results[0].configs[0].value, kstr_of("3")));
	assert_int_equal(r.results[0].configs[0].config_source, TOPIC_SRC_STATIC_BROKER);
	assert_int_equal(describe(e, 4, BROKER, "", NULL).results[0].n_configs, 0);
	assert_int_equal(
		describe(e, 4, BROKER, "4", NULL).results[0].error_code, KE_INVALID_REQUEST);
	stop(e);
}

static const config_t *described(struct env *e, int8_t type, const char *name, const char *key)
{
	struct kp_describe_configs_response r = describe(e, 4, type, name, key);
	assert_int_equal(r.results[0].error_code, KE_NONE);
	assert_int_equal(r.results[0].n_configs, 1);
	return &r.results[0].configs[0];
}

static void test_keys_in_other_units_are_synonyms(void **state)
{
	struct env *e = *state;
	start(e);
	assert_int_equal(create(e, "t", 1), KE_NONE);
	const config_t *c = described(e, TOPIC, "t", "retention.ms");
	assert_true(kstr_equal(c->value, kstr_of("604800000")));
	assert_int_equal(c->n_synonyms, 1);
	assert_true(kstr_equal(c->synonyms[0].name, kstr_of("log.retention.hours")));
	assert_true(kstr_equal(c->synonyms[0].value, kstr_of("168")));
	assert_int_equal(alter_to(e, BROKER, "3", "log.retention.minutes", "2", false), KE_NONE);
	c = described(e, TOPIC, "t", "retention.ms");
	assert_true(kstr_equal(c->value, kstr_of("120000")));
	assert_int_equal(c->config_source, TOPIC_SRC_DYNAMIC_BROKER);
	assert_int_equal(c->n_synonyms, 2);
	assert_true(kstr_equal(c->synonyms[0].name, kstr_of("log.retention.minutes")));
	stop(e);
}

static void test_what_the_broker_is_told_at_run_time_holds_and_stays(void **state)
{
	struct env *e = *state;
	start(e);
	assert_int_equal(create(e, "t", 1), KE_NONE);
	assert_int_equal(create(e, "own", 1), KE_NONE);
	assert_int_equal(alter_to(e, TOPIC, "own", "max.message.bytes", "5000", false), KE_NONE);
	assert_int_equal(alter_to(e, BROKER, "", "message.max.bytes", "3000", false), KE_NONE);
	assert_int_equal(served_topic(e, "t")->config.max_message_bytes, 3000);
	assert_int_equal(alter_to(e, BROKER, "3", "message.max.bytes", "2000", true), KE_NONE);
	assert_int_equal(served_topic(e, "t")->config.max_message_bytes, 3000);
	assert_int_equal(alter_to(e, BROKER, "3", "message.max.bytes", "2000", false), KE_NONE);
	for (int life = 0; life < 2; life++) {
		assert_int_equal(served_topic(e, "t")->config.max_message_bytes, 2000);
		assert_int_equal(served_topic(e, "own")->config.max_message_bytes, 5000);
		const config_t *c = described(e, BROKER, "3", "message.max.bytes");
		assert_true(kstr_equal(c->value, kstr_of("2000")));
		assert_int_equal(c->config_source, TOPIC_SRC_DYNAMIC_BROKER);
		assert_false(c->read_only);
		assert_int_equal(c->n_synonyms, 3);
		assert_int_equal(c->synonyms[1].source, TOPIC_SRC_DYNAMIC_DEFAULT);
		assert_true(kstr_equal(c->synonyms[1].value, kstr_of("3000")));
		c = described(e, BROKER, "", "message.max.bytes");
		assert_int_equal(c->config_source, TOPIC_SRC_DYNAMIC_DEFAULT);
		assert_true(kstr_equal(c->value, kstr_of("3000")));
		assert_int_equal(described(e, TOPIC, "t", "max.message.bytes")->config_source,
			TOPIC_SRC_DYNAMIC_BROKER);
		stop(e);
		close_ctl(e);
		open_ctl(e);
		start(e);
	}
	/* the older request takes back what it does not name */
	struct kp_alter_configs_request_resource r = {
		.resource_type = BROKER, .resource_name = kstr_of("3")};
	struct kp_alter_configs_request req = {.resources = &r, .n_resources = 1};
	struct kp_alter_configs_response resp;
	ask(e, KP_ALTER_CONFIGS, 2, &req, &resp);
	assert_int_equal(resp.responses[0].error_code, KE_NONE);
	assert_int_equal(served_topic(e, "t")->config.max_message_bytes, 3000);
	stop(e);
}

static void test_what_the_broker_cannot_be_told_is_refused_and_changes_nothing(void **state)
{
	struct env *e = *state;
	start(e);
	assert_int_equal(create(e, "t", 1), KE_NONE);
	uint32_t images = e->images_seen;
	assert_int_equal(alter_to(e, BROKER, "3", "log.dirs", "/x", false), KE_INVALID_REQUEST);
	assert_int_equal(alter_to(e, BROKER, "3", "no.such.key", "1", false), KE_INVALID_REQUEST);
	assert_int_equal(
		alter_to(e, BROKER, "9", "message.max.bytes", "1", false), KE_INVALID_REQUEST);
	assert_int_equal(
		alter_to(e, BROKER, "3", "log.retention.ms", "x", false), KE_INVALID_CONFIG);
	assert_int_equal(
		alter_to(e, BROKER, "3", "compression.type", "rar", false), KE_INVALID_CONFIG);
	assert_int_equal(e->images_seen, images);
	assert_int_equal(
		described(e, BROKER, "3", "log.retention.ms")->config_source, TOPIC_SRC_DEFAULT);
	stop(e);
}

static void test_what_has_no_configuration_is_refused(void **state)
{
	struct env *e = *state;
	start(e);
	assert_int_equal(describe(e, 1, TOPIC, "none", NULL).results[0].error_code,
		KE_UNKNOWN_TOPIC_OR_PARTITION);
	assert_int_equal(describe(e, 1, TOPIC, "../x", NULL).results[0].error_code,
		KE_INVALID_TOPIC_EXCEPTION);
	static const int8_t types[] = {0, 1, 3, 8, 16, 32, -1, 127};
	for (size_t i = 0; i < array_size(types); i++) {
		assert_int_equal(describe(e, 4, types[i], "x", NULL).results[0].error_code,
			KE_INVALID_REQUEST);
		assert_int_equal(alter_to(e, types[i], "x", "a", "b", false), KE_INVALID_REQUEST);
	}
	stop(e);
}

static void test_an_alteration_is_in_force_and_stored_when_it_is_answered(void **state)
{
	struct env *e = *state;
	start(e);
	assert_int_equal(create(e, "t", 1), KE_NONE);
	uint32_t images = e->images_seen;
	assert_int_equal(alter_to(e, TOPIC, "t", "retention.ms", "9", true), KE_NONE);
	assert_int_equal(e->images_seen, images);
	assert_int_equal(alter_to(e, TOPIC, "t", "retention.ms", "x", false), KE_INVALID_CONFIG);
	assert_int_equal(
		alter_to(e, TOPIC, "u", "retention.ms", "9", false), KE_UNKNOWN_TOPIC_OR_PARTITION);
	assert_int_equal(alter_to(e, BROKER, "3", "node.id", "9", false), KE_INVALID_REQUEST);
	assert_int_equal(e->images_seen, images);
	assert_int_equal(alter_to(e, TOPIC, "t", "retention.ms", "9", false), KE_NONE);
	assert_int_equal(served_topic(e, "t")->config.retention_ms, 9);
	stop(e);
	close_ctl(e);
	open_ctl(e);
	start(e);
	assert_int_equal(served_topic(e, "t")->config.retention_ms, 9);
	stop(e);
}

static void test_the_older_request_replaces_all_settings(void **state)
{
	struct env *e = *state;
	start(e);
	assert_int_equal(create(e, "t", 1), KE_NONE);
	assert_int_equal(alter_to(e, TOPIC, "t", "retention.ms", "9", false), KE_NONE);
	struct kp_alter_configs_request_config c = {kstr_of("segment.ms"), kstr_of("8")};
	struct kp_alter_configs_request_resource r[] = {
		{.resource_type = TOPIC,
			.resource_name = kstr_of("t"),
			.configs = &c,
			.n_configs = 1},
		{.resource_type = TOPIC, .resource_name = kstr_of("no")},
		{.resource_type = TOPIC, .resource_name = kstr_of("twice")},
		{.resource_type = TOPIC, .resource_name = kstr_of("twice")},
	};
	struct kp_alter_configs_request req = {.resources = r, .n_resources = 4};
	struct kp_alter_configs_response resp;
	for (int16_t version = 0; version <= 2; version++) {
		ask(e, KP_ALTER_CONFIGS, version, &req, &resp);
		assert_int_equal(resp.n_responses, 4);
		assert_int_equal(resp.responses[0].error_code, KE_NONE);
		assert_int_equal(resp.responses[1].error_code, KE_UNKNOWN_TOPIC_OR_PARTITION);
		assert_int_equal(resp.responses[2].error_code, KE_INVALID_REQUEST);
		assert_int_equal(resp.responses[3].error_code, KE_INVALID_REQUEST);
	}
	assert_int_equal(served_topic(e, "t")->config.segment_ms, 8);
	assert_int_equal(served_topic(e, "t")->config.retention_ms, e->cfg.retention_ms);
	stop(e);
}

static void test_new_partitions_are_served_when_they_are_answered(void **state)
{
	struct env *e = *state;
	start(e);
	assert_int_equal(create(e, "t", 2), KE_NONE);
	struct kp_create_partitions_request_topic t[] = {
		{.name = kstr_of("t"), .count = 5, .n_assignments = -1},
		{.name = kstr_of("no"), .count = 5, .n_assignments = -1},
	};
	struct kp_create_partitions_request req = {
		.topics = t, .n_topics = 2, .timeout_ms = 60000, .validate_only = true};
	struct kp_create_partitions_response resp;
	ask(e, KP_CREATE_PARTITIONS, 3, &req, &resp);
	assert_int_equal(resp.results[0].error_code, KE_NONE);
	assert_int_equal(served_topic(e, "t")->partition_count, 2);
	req.validate_only = false;
	ask(e, KP_CREATE_PARTITIONS, 0, &req, &resp);
	assert_int_equal(resp.results[0].error_code, KE_NONE);
	assert_int_equal(resp.results[1].error_code, KE_UNKNOWN_TOPIC_OR_PARTITION);
	assert_int_equal(served_topic(e, "t")->partition_count, 5);
	ask(e, KP_CREATE_PARTITIONS, 3, &req, &resp);
	assert_int_equal(resp.results[0].error_code, KE_INVALID_PARTITIONS);
	assert_true(resp.results[0].error_message.len > 0);
	stop(e);
	close_ctl(e);
	open_ctl(e);
	start(e);
	assert_int_equal(served_topic(e, "t")->partition_count, 5);
	stop(e);
}

static void test_requests_of_nothing_are_answered_with_nothing(void **state)
{
	struct env *e = *state;
	start(e);
	struct kp_describe_configs_request d = {0};
	struct kp_describe_configs_response dr;
	ask(e, KP_DESCRIBE_CONFIGS, 4, &d, &dr);
	assert_int_equal(dr.n_results, 0);
	struct kp_incremental_alter_configs_request a = {0};
	struct kp_incremental_alter_configs_response ar;
	ask(e, KP_INCREMENTAL_ALTER_CONFIGS, 0, &a, &ar);
	assert_int_equal(ar.n_responses, 0);
	struct kp_create_partitions_request p = {.timeout_ms = 1};
	struct kp_create_partitions_response pr;
	ask(e, KP_CREATE_PARTITIONS, 0, &p, &pr);
	assert_int_equal(pr.n_results, 0);
	stop(e);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, end)
	const struct CMUnitTest tests[] = {
		T(test_a_topic_says_each_value_and_where_it_comes_from),
		T(test_the_broker_says_its_configuration),
		T(test_keys_in_other_units_are_synonyms),
		T(test_what_the_broker_is_told_at_run_time_holds_and_stays),
		T(test_what_the_broker_cannot_be_told_is_refused_and_changes_nothing),
		T(test_what_has_no_configuration_is_refused),
		T(test_an_alteration_is_in_force_and_stored_when_it_is_answered),
		T(test_the_older_request_replaces_all_settings),
		T(test_new_partitions_are_served_when_they_are_answered),
		T(test_requests_of_nothing_are_answered_with_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
