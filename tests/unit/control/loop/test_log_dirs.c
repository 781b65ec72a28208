/* SPDX-License-Identifier: Apache-2.0 */
/* DescribeLogDirs, and what else tools ask about where replicas are. */
#include "unit/control/loop/ctl_env.h"

/* A shard that knows how large its logs are: 100 + the partition's id. */
static void on_size(struct env *e, uint16_t shard, struct msg *m)
{
	assert_int_equal(m->op.kind, PART_SIZE);
	m->op.error = e->on_op_arg ? *(int16_t *)e->on_op_arg : KE_NONE;
	m->op.size.bytes = 100 + m->op.part_id;
	m->op.size.dir = 0;
	mesh_answer(&e->shard[shard], m);
}

/* Until the answer is there. */
static void ask(struct env *e, int16_t key, int16_t version, const void *req, void *res)
{
	static struct msg *before; /* the strings of *res lie in the response */
	struct msg *m = send_request(e, key, version, req), *got = NULL;
	for (int i = 0; i < 1000 && !got; i++) {
		settle(e);
		got = take(e, m);
	}
	assert_non_null(got);
	if (before)
		free_msg(before);
	before = got;
	decode(got, res);
}

static void test_sizes_come_from_the_shards_and_room_from_the_directory(void **state)
{
	struct env *e = *state;
	struct kp_describe_log_dirs_request req = {.n_topics = -1};
	struct kp_describe_log_dirs_response res;
	e->on_op = on_size;
	start(e);
	assert_int_equal(create(e, "a", 3), KE_NONE);
	assert_int_equal(create(e, "wide", 200), KE_NONE); /* more than are asked at once */
	for (int16_t version = 1; version <= 5; version++) {
		ask(e, KP_DESCRIBE_LOG_DIRS, version, &req, &res);
		assert_int_equal(res.n_results, 1);
		assert_true(kstr_equal(res.results[0].log_dir, kstr_of(e->dir)));
		assert_int_equal(res.results[0].error_code, KE_NONE);
		assert_int_equal(res.results[0].n_topics, 2);
		assert_true(kstr_equal(res.results[0].topics[1].name, kstr_of("wide")));
		assert_int_equal(res.results[0].topics[1].n_partitions, 200);
		const struct image_topic *t = served_topic(e, "wide");
		for (int32_t p = 0; p < 200; p++) {
			assert_int_equal(res.results[0].topics[1].partitions[p].partition_index, p);
			assert_int_equal(res.results[0].topics[1].partitions[p].partition_size,
				100 + t->partitions[p].part_id);
		}
		if (version >= 4) {
			assert_true(res.results[0].usable_bytes > 0);
			assert_true(res.results[0].total_bytes >= res.results[0].usable_bytes);
		}
	}
	stop(e);
}

static void test_only_what_is_named_and_exists_is_told_of(void **state)
{
	struct env *e = *state;
	int32_t parts[] = {1, 1, 7};
	struct kp_describe_log_dirs_request_topic t[] = {
		{.topic = kstr_of("a"), .partitions = parts, .n_partitions = 3},
		{.topic = kstr_of("none"), .partitions = parts, .n_partitions = 3}};
	struct kp_describe_log_dirs_request req = {.topics = t, .n_topics = 2};
	struct kp_describe_log_dirs_response res;
	e->on_op = on_size;
	start(e);
	assert_int_equal(create(e, "a", 3), KE_NONE);
	ask(e, KP_DESCRIBE_LOG_DIRS, 4, &req, &res);
	assert_int_equal(res.results[0].n_topics, 1);
	assert_int_equal(res.results[0].topics[0].n_partitions, 1);
	assert_int_equal(res.results[0].topics[0].partitions[0].partition_index, 1);
	stop(e);
}

static void test_a_directory_that_has_failed_says_so(void **state)
{
	struct env *e = *state;
	int16_t error = KE_KAFKA_STORAGE_ERROR;
	struct kp_describe_log_dirs_request req = {.n_topics = -1};
	struct kp_describe_log_dirs_response res;
	e->on_op = on_size;
	e->on_op_arg = &error;
	start(e);
	assert_int_equal(create(e, "a", 1), KE_NONE);
	ask(e, KP_DESCRIBE_LOG_DIRS, 4, &req, &res);
	assert_int_equal(res.results[0].error_code, KE_KAFKA_STORAGE_ERROR);
	assert_int_equal(res.results[0].n_topics, 0);
	assert_int_equal(res.results[0].total_bytes, -1);
	stop(e);
}

static void test_requests_that_wait_in_line_are_all_answered(void **state)
{
	struct env *e = *state;
	struct kp_describe_log_dirs_request req = {.n_topics = -1};
	struct kp_describe_log_dirs_response res;
	struct msg *m[3];
	e->on_op = on_size;
	start(e);
	assert_int_equal(create(e, "a", 100), KE_NONE);
	for (int i = 0; i < 3; i++)
		m[i] = send_request(e, KP_DESCRIBE_LOG_DIRS, 2, &req);
	for (int i = 0; i < 10; i++)
		settle(e);
	for (int i = 0; i < 3; i++) {
		assert_non_null(take(e, m[i]));
		decode(m[i], &res);
		assert_int_equal(res.results[0].topics[0].n_partitions, 100);
		free_msg(m[i]);
	}
	stop(e);
}

static void test_no_election_is_needed_where_there_is_a_leader(void **state)
{
	struct env *e = *state;
	int32_t parts[] = {0, 9};
	struct kp_elect_leaders_request_topic t = {
		.topic = kstr_of("a"), .partitions = parts, .n_partitions = 2};
	struct kp_elect_leaders_request req = {.topic_partitions = &t, .n_topic_partitions = 1};
	struct kp_elect_leaders_response res;
	start(e);
	assert_int_equal(create(e, "a", 3), KE_NONE);
	for (int16_t version = 0; version <= 2; version++) {
		ask(e, KP_ELECT_LEADERS, version, &req, &res);
		assert_int_equal(res.error_code, KE_NONE);
		assert_int_equal(res.n_replica_election_results, 1);
		struct kp_elect_leaders_response_partition *p =
			res.replica_election_results[0].partition_result;
		assert_int_equal(p[0].error_code, KE_ELECTION_NOT_NEEDED);
		assert_int_equal(p[1].error_code, KE_UNKNOWN_TOPIC_OR_PARTITION);
	}
	req.n_topic_partitions = -1;
	ask(e, KP_ELECT_LEADERS, 2, &req, &res);
	assert_int_equal(res.error_code, KE_NONE);
	assert_int_equal(res.n_replica_election_results, 0);
	req.election_type = 7;
	ask(e, KP_ELECT_LEADERS, 2, &req, &res);
	assert_int_equal(res.error_code, KE_INVALID_REQUEST);
	stop(e);
}

static int16_t reassigned(struct env *e, int32_t partition, int32_t *replicas, int32_t n)
{
	struct kp_alter_partition_reassignments_request_partition p = {
		.partition_index = partition, .replicas = replicas, .n_replicas = n};
	struct kp_alter_partition_reassignments_request_topic t = {
		.name = kstr_of("a"), .partitions = &p, .n_partitions = 1};
	struct kp_alter_partition_reassignments_request req = {.topics = &t, .n_topics = 1};
	struct kp_alter_partition_reassignments_response res;
	ask(e, KP_ALTER_PARTITION_REASSIGNMENTS, 1, &req, &res);
	assert_int_equal(res.error_code, KE_NONE);
	return res.responses[0].partitions[0].error_code;
}

static void test_a_partition_stays_on_the_only_broker(void **state)
{
	struct env *e = *state;
	int32_t self[] = {3, 3}, other[] = {4};
	struct kp_list_partition_reassignments_request list = {.n_topics = -1};
	struct kp_list_partition_reassignments_response listed;
	start(e);
	assert_int_equal(create(e, "a", 1), KE_NONE);
	assert_int_equal(reassigned(e, 0, self, 1), KE_NONE);
	assert_int_equal(reassigned(e, 0, self, 2), KE_INVALID_REPLICA_ASSIGNMENT);
	assert_int_equal(reassigned(e, 0, self, 0), KE_INVALID_REPLICA_ASSIGNMENT);
	assert_int_equal(reassigned(e, 0, other, 1), KE_INVALID_REPLICA_ASSIGNMENT);
	assert_int_equal(reassigned(e, 1, self, 1), KE_UNKNOWN_TOPIC_OR_PARTITION);
	assert_int_equal(reassigned(e, 0, NULL, -1), KE_NO_REASSIGNMENT_IN_PROGRESS);
	ask(e, KP_LIST_PARTITION_REASSIGNMENTS, 0, &list, &listed);
	assert_int_equal(listed.error_code, KE_NONE);
	assert_int_equal(listed.n_topics, 0);
	stop(e);
}

static void test_logs_are_where_they_can_only_be(void **state)
{
	struct env *e = *state;
	int32_t parts[] = {0, 5};
	struct kp_alter_replica_log_dirs_request_topic t = {
		.name = kstr_of("a"), .partitions = parts, .n_partitions = 2};
	struct kp_alter_replica_log_dirs_request_dir d[] = {
		{.path = kstr_of(e->dir), .topics = &t, .n_topics = 1},
		{.path = kstr_of("/elsewhere"), .topics = &t, .n_topics = 1}};
	struct kp_alter_replica_log_dirs_request req = {.dirs = d, .n_dirs = 2};
	struct kp_alter_replica_log_dirs_response res;
	start(e);
	assert_int_equal(create(e, "a", 1), KE_NONE);
	ask(e, KP_ALTER_REPLICA_LOG_DIRS, 2, &req, &res);
	assert_int_equal(res.n_results, 2);
	assert_int_equal(res.results[0].partitions[0].error_code, KE_NONE);
	assert_int_equal(res.results[0].partitions[1].error_code, KE_UNKNOWN_TOPIC_OR_PARTITION);
	assert_int_equal(res.results[1].partitions[0].error_code, KE_LOG_DIR_NOT_FOUND);
	stop(e);
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_sizes_come_from_the_shards_and_room_from_the_directory),
		TEST(test_only_what_is_named_and_exists_is_told_of),
		TEST(test_a_directory_that_has_failed_says_so),
		TEST(test_requests_that_wait_in_line_are_all_answered),
		TEST(test_no_election_is_needed_where_there_is_a_leader),
		TEST(test_a_partition_stays_on_the_only_broker),
		TEST(test_logs_are_where_they_can_only_be),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
