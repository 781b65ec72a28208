/* SPDX-License-Identifier: Apache-2.0 */
/* Topics created, deleted and wanted: from the request to the answer. */
#include "unit/control/loop/ctl_env.h"

static void test_a_created_topic_is_answered_when_every_shard_serves_it(void **state)
{
	struct env *e = *state;
	start(e);
	e->hold_images = true;
	struct msg *m = send_create(e, "t", 3, 60000);
	settle(e);
	assert_int_equal(e->images_seen, SHARDS);
	assert_null(take(e, m));
	ack_image(e, 0);
	settle(e);
	assert_null(take(e, m));
	ack_image(e, 1);
	settle(e);
	assert_non_null(take(e, m));
	struct kp_create_topics_response resp;
	decode(m, &resp);
	assert_int_equal(resp.topics[0].error_code, KE_NONE);
	assert_int_equal(resp.topics[0].num_partitions, 3);
	assert_int_equal(resp.topics[0].replication_factor, 1);
	const struct image_topic *t = served_topic(e, "t");
	assert_true(uuid_equal(&t->id, &resp.topics[0].topic_id));
	assert_int_equal(t->partition_count, 3);
	assert_true(resp.topics[0].n_configs > 20);
	free_msg(m);
	e->hold_images = false;
	stop(e);
}

static void test_changes_while_an_image_is_on_its_way_share_the_next_one(void **state)
{
	struct env *e = *state;
	start(e);
	e->hold_images = true;
	struct msg *m[5];
	for (int i = 0; i < 5; i++) {
		char name[16];
		snprintf(name, sizeof(name), "t%d", i);
		m[i] = send_create(e, name, 1, 60000);
		settle(e);
	}
	assert_int_equal(e->images_seen, SHARDS);
	e->hold_images = false;
	ack_image(e, 0);
	ack_image(e, 1);
	settle(e);
	assert_int_equal(e->images_seen, 2 * SHARDS);
	for (int i = 0; i < 5; i++) {
		assert_non_null(take(e, m[i]));
		free_msg(m[i]);
	}
	assert_int_equal(ctl_image(e->c)->topic_count, 5);
	stop(e);
}

static void test_a_topic_not_served_in_time_is_answered_as_timed_out(void **state)
{
	struct env *e = *state;
	start(e);
	e->hold_images = true;
	struct msg *m = send_create(e, "late", 1, 1);
	struct msg *at_once = send_create(e, "now", 1, 0);
	while (!e->answered || !e->answered->user) { /* both; the loop sleeps until its timer */
		ctl_turn(e->c, -1);
		shards_turn(e);
	}
	struct kp_create_topics_response resp;
	assert_non_null(take(e, m));
	decode(m, &resp);
	assert_int_equal(resp.topics[0].error_code, KE_REQUEST_TIMED_OUT);
	assert_non_null(take(e, at_once));
	decode(at_once, &resp);
	assert_int_equal(resp.topics[0].error_code, KE_REQUEST_TIMED_OUT);
	free_msg(m);
	free_msg(at_once);
	e->hold_images = false;
	ack_image(e, 0);
	ack_image(e, 1);
	settle(e);
	assert_non_null(served_topic(e, "late"));
	assert_non_null(served_topic(e, "now"));
	stop(e);
}

static void test_topics_that_cannot_be_created_are_answered_with_kafkas_errors(void **state)
{
	struct env *e = *state;
	start(e);
	assert_int_equal(create(e, "a.b", 1), KE_NONE);
	e->images_seen = 0;
	assert_int_equal(create(e, "a.b", 1), KE_TOPIC_ALREADY_EXISTS);
	assert_int_equal(create(e, "a_b", 1), KE_INVALID_TOPIC_EXCEPTION);
	assert_int_equal(create(e, "../x", 1), KE_INVALID_TOPIC_EXCEPTION);
	assert_int_equal(create(e, "x", 0), KE_INVALID_PARTITIONS);
	assert_int_equal(create(e, "x", 70000), KE_POLICY_VIOLATION);
	assert_int_equal(create(e, TOPIC_OFFSETS, 1), KE_INVALID_TOPIC_EXCEPTION);
	assert_int_equal(e->images_seen, 0);
	stop(e);
}

static void test_one_request_may_have_good_and_bad_topics(void **state)
{
	struct env *e = *state;
	start(e);
	struct kp_create_topics_request_topic t[6];
	struct kp_create_topics_request_config bad = {kstr_of("no.such"), kstr_of("1")};
	struct kp_create_topics_request_config good = {kstr_of("retention.ms"), kstr_of("5")};
	for (int i = 0; i < 6; i++)
		kp_default_create_topics_request_topic(&t[i]);
	t[0].name = kstr_of("good");
	t[0].configs = &good;
	t[0].n_configs = 1;
	t[1].name = kstr_of("twice");
	t[2].name = kstr_of("bad");
	t[2].configs = &bad;
	t[2].n_configs = 1;
	t[3].name = kstr_of("twice");
	t[4].name = kstr_of("large");
	t[4].num_partitions = 9999;
	t[5].name = kstr_of("larger");
	t[5].num_partitions = 2;
	struct kp_create_topics_request req = {.topics = t, .n_topics = 6, .timeout_ms = 60000};
	static const int16_t want[] = {KE_NONE, KE_INVALID_REQUEST, KE_INVALID_CONFIG,
		KE_INVALID_REQUEST, KE_NONE, KE_POLICY_VIOLATION};
	for (int validate = 1; validate >= 0; validate--) {
		req.validate_only = validate;
		struct msg *m = send_request(e, KP_CREATE_TOPICS, 5, &req);
		settle(e);
		struct kp_create_topics_response resp;
		assert_non_null(take(e, m));
		decode(m, &resp);
		assert_int_equal(resp.n_topics, 6);
		for (int i = 0; i < 6; i++)
			assert_int_equal(resp.topics[i].error_code, want[i]);
		const struct kp_create_topics_response_config *cf = resp.topics[0].configs;
		bool seen = false;
		for (int i = 0; i < resp.topics[0].n_configs; i++)
			if (kstr_equal(cf[i].name, kstr_of("retention.ms")))
				seen = kstr_equal(cf[i].value, kstr_of("5")) &&
				       cf[i].config_source == TOPIC_SRC_TOPIC;
		assert_true(seen);
		assert_int_equal(resp.topics[2].n_configs, -1);
		assert_int_equal(ctl_image(e->c)->topic_count, validate ? 0 : 2);
		free_msg(m);
	}
	assert_int_equal(served_topic(e, "good")->config.retention_ms, 5);
	stop(e);
}

static void test_topics_are_deleted_by_name_and_by_id(void **state)
{
	struct env *e = *state;
	start(e);
	assert_int_equal(create(e, "a", 1), KE_NONE);
	assert_int_equal(create(e, "b", 1), KE_NONE);
	assert_int_equal(create(e, "c", 1), KE_NONE);
	assert_int_equal(ctl_ensure_offsets_topic(e->c), KE_NONE);
	settle(e);
	struct uuid b = served_topic(e, "b")->id, none = {{9}};
	struct kp_delete_topics_request_topic t[7];
	for (int i = 0; i < 7; i++)
		kp_default_delete_topics_request_topic(&t[i]);
	t[0].name = kstr_of("a");
	t[1].topic_id = b;
	t[2].name = kstr_of("missing");
	t[3].topic_id = none;
	t[4].name = kstr_of("c");
	t[4].topic_id = b;
	t[6].name = kstr_of(TOPIC_OFFSETS);
	static const int16_t want[] = {KE_NONE, KE_NONE, KE_UNKNOWN_TOPIC_OR_PARTITION,
		KE_UNKNOWN_TOPIC_ID, KE_INVALID_REQUEST, KE_INVALID_REQUEST,
		KE_INVALID_TOPIC_EXCEPTION};
	struct kp_delete_topics_request req = {.topics = t, .n_topics = 7, .timeout_ms = 60000};
	e->hold_images = true;
	struct msg *m = send_request(e, KP_DELETE_TOPICS, 6, &req);
	settle(e);
	assert_null(take(e, m));
	e->hold_images = false;
	ack_image(e, 0);
	ack_image(e, 1);
	settle(e);
	struct kp_delete_topics_response resp;
	assert_non_null(take(e, m));
	decode(m, &resp);
	assert_int_equal(resp.n_topics, 7);
	for (int i = 0; i < 7; i++)
		assert_int_equal(resp.topics[i].error_code, want[i]);
	assert_true(kstr_equal(resp.topics[1].name, kstr_of("b")));
	free_msg(m);
	assert_null(served_topic(e, "a"));
	assert_null(served_topic(e, "b"));
	assert_non_null(served_topic(e, "c"));
	/* the older form */
	struct kstr names[] = {kstr_of("c"), kstr_of("x")};
	req = (struct kp_delete_topics_request){
		.topic_names = names, .n_topic_names = 2, .timeout_ms = 60000};
	m = send_request(e, KP_DELETE_TOPICS, 1, &req);
	settle(e);
	assert_non_null(take(e, m));
	decode(m, &resp);
	assert_int_equal(resp.topics[0].error_code, KE_NONE);
	assert_int_equal(resp.topics[1].error_code, KE_UNKNOWN_TOPIC_OR_PARTITION);
	free_msg(m);
	/* a new topic of the same name is another topic */
	assert_int_equal(create(e, "b", 1), KE_NONE);
	assert_false(uuid_equal(&served_topic(e, "b")->id, &b));
	stop(e);
}

static struct msg *send_delete(struct env *e, const char *name, int32_t timeout_ms)
{
	struct kstr names[] = {kstr_of(name)};
	struct kp_delete_topics_request req = {
		.topic_names = names, .n_topic_names = 1, .timeout_ms = timeout_ms};
	return send_request(e, KP_DELETE_TOPICS, 4, &req);
}

static int16_t deleted(struct env *e, struct msg *m)
{
	struct kp_delete_topics_response resp;
	settle(e);
	assert_non_null(take(e, m));
	decode(m, &resp);
	int16_t code = resp.topics[0].error_code;
	free_msg(m);
	return code;
}

/* As after kill -9: nothing is told to anybody. */
static void crash(struct env *e)
{
	close_ctl(e);
	open_ctl(e);
}

static void test_a_deletion_that_a_crash_cut_off_is_finished_after_the_start(void **state)
{
	struct env *e = *state;
	start(e);
	assert_int_equal(create(e, "t", 3), KE_NONE);
	struct uuid id = served_topic(e, "t")->id;
	e->hold_images = true;
	struct msg *m = send_delete(e, "t", 0);
	assert_int_equal(deleted(e, m), KE_REQUEST_TIMED_OUT); /* and goes on */
	crash(e);
	assert_int_equal(ctl_begin(e->c, e->err, sizeof(e->err)), 0);
	settle(e);
	for (int i = 0; i < SHARDS; i++) {
		const struct image *im = e->image[i]->image.image;
		assert_null(image_topic_by_name(im, kstr_of("t")));
		assert_int_equal(im->gone_count, 1);
		assert_true(uuid_equal(&im->gone[0].id, &id));
		assert_int_equal(im->gone[0].partition_count, 3);
	}
	e->image[1]->image.undeleted[0] = true;
	e->hold_images = false;
	ack_image(e, 0);
	ack_image(e, 1);
	settle(e);
	assert_int_equal(metric_get(&e->c->metrics.topics_deleting), 1);
	/* tried again with the next image, and after the next start */
	assert_int_equal(create(e, "t", 1), KE_NONE);
	assert_int_equal(metric_get(&e->c->metrics.topics_deleting), 0);
	crash(e);
	start(e);
	assert_int_equal(e->serving[0]->gone_count, 0);
	assert_false(uuid_equal(&served_topic(e, "t")->id, &id));
	stop(e);
}

static void test_deletions_during_one_are_remembered_until_they_are_done(void **state)
{
	struct env *e = *state;
	start(e);
	assert_int_equal(create(e, "a", 1), KE_NONE);
	assert_int_equal(create(e, "b", 1), KE_NONE);
	e->hold_images = true;
	struct msg *a = send_delete(e, "a", 60000);
	settle(e);
	struct msg *b = send_delete(e, "b", 60000);
	settle(e);
	ack_image(e, 0);
	ack_image(e, 1); /* knows of a only */
	settle(e);
	assert_int_equal(metric_get(&e->c->metrics.topics_deleting), 1);
	assert_int_equal(deleted(e, a), KE_NONE);
	assert_null(take(e, b));
	assert_int_equal(e->image[0]->image.image->gone_count, 1);
	e->hold_images = false;
	ack_image(e, 0);
	ack_image(e, 1);
	assert_int_equal(deleted(e, b), KE_NONE);
	assert_int_equal(metric_get(&e->c->metrics.topics_deleting), 0);
	stop(e);
}

static void test_deletion_can_be_switched_off(void **state)
{
	struct env *e = *state;
	set(e, "delete.topic.enable=false");
	start(e);
	assert_int_equal(create(e, "a", 1), KE_NONE);
	struct kstr name = kstr_of("a");
	struct kp_delete_topics_request req = {
		.topic_names = &name, .n_topic_names = 1, .timeout_ms = 60000};
	struct msg *m = send_request(e, KP_DELETE_TOPICS, 4, &req);
	settle(e);
	struct kp_delete_topics_response resp;
	assert_non_null(take(e, m));
	decode(m, &resp);
	assert_int_equal(resp.topics[0].error_code, KE_TOPIC_DELETION_DISABLED);
	free_msg(m);
	assert_non_null(served_topic(e, "a"));
	stop(e);
}

static void test_wanted_topics_are_created_with_the_brokers_defaults(void **state)
{
	struct env *e = *state;
	static const char names[] = "new\0a/b\0__consumer_offsets\0old\0other";
	set(e, "num.partitions=5");
	start(e);
	assert_int_equal(create(e, "old", 1), KE_NONE);
	e->hold_images = true;
	struct msg *m = send_wanted(e, names, sizeof(names), 5);
	settle(e);
	struct msg *again = send_wanted(e, names, sizeof(names), 5);
	settle(e);
	assert_null(take(e, m));
	assert_null(take(e, again));
	e->hold_images = false;
	ack_image(e, 0);
	ack_image(e, 1);
	settle(e);
	assert_non_null(take(e, m));
	assert_non_null(take(e, again));
	free_wanted(m);
	free_wanted(again);
	assert_int_equal(served_topic(e, "new")->partition_count, 5);
	assert_int_equal(served_topic(e, "other")->partition_count, 5);
	assert_int_equal(served_topic(e, "old")->partition_count, 1);
	assert_int_equal(ctl_image(e->c)->topic_count, 3);
	stop(e);
}

static void test_wanted_topics_are_not_created_when_that_is_off(void **state)
{
	struct env *e = *state;
	set(e, "auto.create.topics.enable=false");
	start(e);
	struct msg *m = send_wanted(e, "new", 4, 1);
	settle(e);
	assert_non_null(take(e, m));
	free_wanted(m);
	assert_int_equal(e->images_seen, 0);
	assert_null(served_topic(e, "new"));
	stop(e);
}

static void test_what_cannot_be_stored_did_not_happen(void **state)
{
	struct env *e = *state;
	char tmp[128];
	start(e);
	snprintf(tmp, sizeof(tmp), "%s/millrace.meta.json.tmp", e->dir);
	assert_int_equal(mkdir(tmp, 0755), 0);
	assert_int_equal(create(e, "a", 1), KE_KAFKA_STORAGE_ERROR);
	struct msg *m = send_wanted(e, "new", 4, 1);
	settle(e);
	assert_non_null(take(e, m));
	free_wanted(m);
	assert_int_equal(e->images_seen, 0);
	assert_int_equal(ctl_topics(e->c)->count, 0);
	assert_int_equal(rmdir(tmp), 0);
	assert_int_equal(create(e, "a", 1), KE_NONE);
	stop(e);
}

static void test_topics_are_the_same_after_a_restart(void **state)
{
	struct env *e = *state;
	start(e);
	assert_int_equal(create(e, "a", 3), KE_NONE);
	assert_int_equal(create(e, "b", 2), KE_NONE);
	struct uuid id = served_topic(e, "b")->id;
	uint32_t part = served_topic(e, "b")->partitions[1].part_id;
	char cluster[META_CLUSTER_ID_LEN + 1];
	kstr_copy(ctl_image(e->c)->cluster_id, cluster, sizeof(cluster));
	stop(e);
	close_ctl(e);
	open_ctl(e);
	start(e);
	assert_true(uuid_equal(&served_topic(e, "b")->id, &id));
	assert_int_equal(served_topic(e, "b")->partitions[1].part_id, part);
	assert_int_equal(served_topic(e, "a")->partition_count, 3);
	assert_true(kstr_equal(ctl_image(e->c)->cluster_id, kstr_of(cluster)));
	stop(e);
	close_ctl(e);
	set(e, "cluster.id=AAAAAAAAAAAAAAAAAAAAAA");
	open_ctl(e);
	assert_int_equal(ctl_begin(e->c, e->err, sizeof(e->err)), -1);
	assert_non_null(strstr(e->err, "belong to the cluster"));
	stop(e); /* in order even then */
}

static void test_logs_without_metadata_are_not_started_over(void **state)
{
	struct env *e = *state;
	char path[128];
	start(e);
	assert_int_equal(create(e, "a", 3), KE_NONE);
	stop(e);
	close_ctl(e);
	e->logs_found = 3;
	open_ctl(e);
	start(e);
	stop(e);
	close_ctl(e);
	snprintf(path, sizeof(path), "%s/millrace.meta.json", e->dir);
	assert_int_equal(unlink(path), 0);
	open_ctl(e);
	assert_int_equal(ctl_begin(e->c, e->err, sizeof(e->err)), -1);
	assert_non_null(strstr(e->err, "hold 3 logs, but"));
	assert_non_null(strstr(e->err, "is missing"));
	assert_int_equal(access(path, F_OK), -1); /* and so it is at the next start */
	stop(e);
	close_ctl(e);
	e->logs_found = 0;
	open_ctl(e);
	start(e); /* nothing is lost where nothing is */
	stop(e);
}

static void test_requests_that_make_no_sense_are_hung_up(void **state)
{
	struct env *e = *state;
	start(e);
	struct msg *m = send_frame(e, KP_CREATE_TOPICS, 7, (const uint8_t *)"\xff\xff\xff", 3);
	struct msg *n = send_frame(e, KP_DELETE_TOPICS, 6, (const uint8_t *)"", 0);
	struct msg *o = send_frame(e, 999, 0, (const uint8_t *)"", 0);
	settle(e);
	struct msg *all[] = {m, n, o};
	for (size_t i = 0; i < array_size(all); i++) {
		assert_non_null(take(e, all[i]));
		assert_null(all[i]->request.response.p);
		free_msg(all[i]);
	}
	stop(e);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_a_created_topic_is_answered_when_every_shard_serves_it),
		T(test_changes_while_an_image_is_on_its_way_share_the_next_one),
		T(test_a_topic_not_served_in_time_is_answered_as_timed_out),
		T(test_topics_that_cannot_be_created_are_answered_with_kafkas_errors),
		T(test_one_request_may_have_good_and_bad_topics),
		T(test_topics_are_deleted_by_name_and_by_id),
		T(test_a_deletion_that_a_crash_cut_off_is_finished_after_the_start),
		T(test_deletions_during_one_are_remembered_until_they_are_done),
		T(test_deletion_can_be_switched_off),
		T(test_wanted_topics_are_created_with_the_brokers_defaults),
		T(test_wanted_topics_are_not_created_when_that_is_off),
		T(test_what_cannot_be_stored_did_not_happen),
		T(test_topics_are_the_same_after_a_restart),
		T(test_logs_without_metadata_are_not_started_over),
		T(test_requests_that_make_no_sense_are_hung_up),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
