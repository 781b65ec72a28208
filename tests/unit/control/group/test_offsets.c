/* SPDX-License-Identifier: Apache-2.0 */
/* Committed offsets: who may commit, when it counts, how long it is kept. */
#include "control/group/record.h"
#include "unit/control/group/group_env.h"

/* Days are short here: a minute. */
#define DAY_MS 60000
#define CHECK_MS 6000

static int setup_days(void **state)
{
	setup_env(state);
	struct env *e = *state;
	close_core(e);
	e->cfg.offsets_retention_ms = 7 * DAY_MS;
	e->cfg.expiry_interval_ms = CHECK_MS;
	open_core(e);
	replay_all(e, e->core);
	return 0;
}

#define days_test(f) cmocka_unit_test_setup_teardown(f, setup_days, teardown_env)

static struct client *stable_member(struct env *e, const char *name)
{
	struct client *a = client_new(e, name);
	a->session_ms = 1800000;
	join_twice(e, a);
	pass_ms(e, 3002);
	lead(e, a, a);
	e->text_len = 0;
	e->text[0] = 0;
	return a;
}

static void test_a_commit_counts_once_it_is_in_the_log(void **state)
{
	struct env *e = *state;
	struct client *a = client_new(e, "a");
	e->hold_writes = true;
	commit(e, a, 1, 10);
	commit(e, a, 1, 11);
	expect(e, "");
	assert_int_equal(fetch_offset(e, "g", "t", 1), -1);
	write_one(e, KE_NONE);
	expect(e, "a commit: t-1 NONE\n");
	assert_int_equal(fetch_offset(e, "g", "t", 1), 10);
	write_one(e, KE_NONE);
	assert_int_equal(fetch_offset(e, "g", "t", 1), 11);
	assert_int_equal(fetch_offset(e, "g", "t", 2), -1);
	assert_int_equal(fetch_offset(e, "other", "t", 1), -1);
}

static void test_a_commit_that_fails_leaves_the_offset_before(void **state)
{
	struct env *e = *state;
	struct client *a = client_new(e, "a");
	static const struct {
		int16_t append, told;
	} errors[] = {
		{KE_KAFKA_STORAGE_ERROR, KE_NOT_COORDINATOR},
		{KE_NOT_LEADER_OR_FOLLOWER, KE_NOT_COORDINATOR},
		{KE_UNKNOWN_TOPIC_OR_PARTITION, KE_COORDINATOR_NOT_AVAILABLE},
		{KE_MESSAGE_TOO_LARGE, KE_INVALID_COMMIT_OFFSET_SIZE},
		{KE_CORRUPT_MESSAGE, KE_UNKNOWN_SERVER_ERROR},
	};
	commit(e, a, 0, 10);
	for (size_t i = 0; i < array_size(errors); i++) {
		e->fail_writes = errors[i].append;
		assert_int_equal(commit(e, a, 0, 11)->error, errors[i].told);
	}
	assert_int_equal(fetch_offset(e, "g", "t", 0), 10);
}

static void test_offset_epoch_and_metadata_come_back_as_given(void **state)
{
	struct env *e = *state;
	struct client *a = client_new(e, "a");
	for (int again = 0; again < 2; again++) {
		const struct grp *g;
		commit_with(e, a,
			(struct commit_args){.partition = 3,
				.offset = INT64_MAX,
				.metadata = "m\xc3\xa9ta \"x\"",
				.epoch = 7});
		commit_with(e, a, (struct commit_args){.partition = 0, .epoch = -1});
		restart(e);
		assert_int_equal(grp_find(e->core, kstr_of("g"), &g), KE_NONE);
		const struct grp_offset *o = grp_offset_find(g, kstr_of("t"), 3);
		assert_int_equal(o->offset, INT64_MAX);
		assert_int_equal(o->leader_epoch, 7);
		assert_true(kstr_equal(o->metadata, kstr_of("m\xc3\xa9ta \"x\"")));
		o = grp_offset_find(g, kstr_of("t"), 0);
		assert_int_equal(o->leader_epoch, -1);
		assert_int_equal(o->metadata.len, 0); /* null was given */
		const struct grp_topic *t = grp_topic_next(g, NULL);
		uint32_t n;
		assert_int_equal(grp_topic_offsets(t, &n)[1].partition, 3);
		assert_int_equal(n, 2);
		assert_null(grp_topic_next(g, t));
	}
}

static void test_metadata_has_a_limit_per_partition(void **state)
{
	struct env *e = *state;
	struct client *a = client_new(e, "a");
	char text[4098];
	memset(text, 'x', sizeof(text));
	text[4097] = 0;
	assert_int_equal(commit_with(e, a, (struct commit_args){.metadata = text})->error,
		KE_OFFSET_METADATA_TOO_LARGE);
	assert_int_equal(grp_core_stats(e->core).groups, 0); /* nothing was begun for it */
	text[4096] = 0;
	assert_int_equal(commit_with(e, a, (struct commit_args){.metadata = text})->error, KE_NONE);
}

static int16_t only_u(void *ctx, const struct kp_offset_commit_request_topic *t, int32_t partition)
{
	return kstr_equal(t->name, kstr_of("u")) && partition < 2 ? KE_NONE
								  : KE_UNKNOWN_TOPIC_OR_PARTITION;
}

static void test_partitions_that_do_not_exist_are_refused_one_by_one(void **state)
{
	struct env *e = *state;
	struct client *a = client_new(e, "a");
	struct grp_topic_check check = {.check = only_u};
	struct kp_offset_commit_request_partition p[3];
	struct kp_offset_commit_request_topic t[2];
	struct kp_offset_commit_request req;
	kp_default_offset_commit_request(&req);
	for (int i = 0; i < 3; i++) {
		kp_default_offset_commit_request_partition(&p[i]);
		p[i].index = i;
		p[i].committed_offset = i + 1;
	}
	for (int i = 0; i < 2; i++) {
		kp_default_offset_commit_request_topic(&t[i]);
		t[i].name = kstr_of(i == 0 ? "t" : "u");
		t[i].partitions = p;
		t[i].n_partitions = i == 0 ? 1 : 3;
	}
	req.group_id = kstr_of("g");
	req.member_id = kstr_of("");
	req.topics = t;
	req.n_topics = 2;
	grp_commit(e->core, e->now, token_new(e, a, COMMIT), 7, &req, &check);
	after(e);
	expect(e, "a commit: t-0 UNKNOWN_TOPIC_OR_PARTITION u-0 NONE u-1 NONE "
		  "u-2 UNKNOWN_TOPIC_OR_PARTITION\n");
	assert_int_equal(fetch_offset(e, "g", "u", 1), 2);
	assert_int_equal(fetch_offset(e, "g", "t", 0), -1);
}

static void test_who_commits_must_be_a_member_unless_the_group_is_empty(void **state)
{
	struct env *e = *state;
	struct client *a = client_new(e, "a"), *admin = client_new(e, "admin");
	struct client *b = client_new(e, "b");
	b->generation = 3; /* of a group that is not there */
	snprintf(b->id, sizeof(b->id), "b-1");
	commit(e, b, 0, 1);
	commit_with(e, b, (struct commit_args){.version = 9});
	commit(e, admin, 0, 1);
	expect(e, "b commit: t-0 ILLEGAL_GENERATION\nb commit: t-0 GROUP_ID_NOT_FOUND\n"
		  "admin commit: t-0 NONE\n");
	join_twice(e, a);
	commit(e, admin, 0, 2);
	pass_ms(e, 3002);
	commit(e, a, 0, 3);
	expect(e, "admin commit: t-0 UNKNOWN_MEMBER_ID\na joined 1 range leader a of a=a\n"
		  "a commit: t-0 REBALANCE_IN_PROGRESS\n");
	lead(e, a, a);
	commit(e, a, 0, 4);
	commit(e, admin, 0, 5);
	commit(e, b, 0, 6);
	expect(e, "a synced \"a!\"\na commit: t-0 NONE\nadmin commit: t-0 UNKNOWN_MEMBER_ID\n"
		  "b commit: t-0 UNKNOWN_MEMBER_ID\n");
	join_twice(e, client_new(e, "c"));
	commit(e, a, 0, 7); /* while the others join: before its partitions are taken away */
	leave(e, a);
	expect(e, "a commit: t-0 NONE\nc joined 2 range leader c of c=c\na leave: NONE\n");
	assert_int_equal(fetch_offset(e, "g", "t", 0), 7);
}

static void test_a_commit_is_a_sign_of_life(void **state)
{
	struct env *e = *state;
	struct client *a = client_new(e, "a");
	join_twice(e, a);
	pass_ms(e, 3002);
	lead(e, a, a);
	for (int i = 0; i < 5; i++) {
		pass_ms(e, 9000);
		assert_int_equal(commit(e, a, 0, i)->error, KE_NONE);
	}
	pass_ms(e, 10002);
	assert_int_equal(commit(e, a, 0, 9)->error, KE_UNKNOWN_MEMBER_ID);
}

static void test_a_commit_to_a_group_without_a_name_is_accepted(void **state)
{
	struct env *e = *state;
	struct client *a = client_new(e, "a");
	assert_int_equal(
		commit_with(e, a, (struct commit_args){.group = "", .offset = 5})->error, KE_NONE);
	assert_int_equal(fetch_offset(e, "", "t", 0), 5);
}

static void test_a_request_too_large_for_one_batch_is_refused(void **state)
{
	struct env *e = *state;
	close_core(e);
	e->cfg.max_write_bytes = 200;
	open_core(e);
	replay_all(e, e->core);
	struct client *a = client_new(e, "a");
	char text[201] = {0};
	memset(text, 'x', 200);
	assert_int_equal(commit_with(e, a, (struct commit_args){.metadata = text})->error,
		KE_INVALID_COMMIT_OFFSET_SIZE);
	assert_int_equal(commit(e, a, 0, 1)->error, KE_NONE);
}

/* ---- expiry ---- */

static void test_offsets_of_a_lone_consumer_expire_after_the_last_commit(void **state)
{
	struct env *e = *state;
	struct client *a = client_new(e, "a");
	commit(e, a, 0, 1);
	pass_ms(e, DAY_MS * 4);
	commit(e, a, 1, 2);
	pass_ms(e, DAY_MS * 4);
	assert_int_equal(fetch_offset(e, "g", "t", 0), -1);
	assert_int_equal(fetch_offset(e, "g", "t", 1), 2);
	restart(e); /* the tombstone is in the log */
	assert_int_equal(fetch_offset(e, "g", "t", 0), -1);
	assert_int_equal(fetch_offset(e, "g", "t", 1), 2);
	pass_ms(e, DAY_MS * 4);
	assert_int_equal(grp_core_stats(e->core).groups, 0);
	assert_int_equal(grp_core_stats(e->core).expired_offsets, 1);
	restart(e);
	assert_int_equal(grp_core_stats(e->core).groups, 0);
}

static void test_offsets_of_a_group_are_kept_since_its_last_member_left(void **state)
{
	struct env *e = *state;
	struct client *a = stable_member(e, "a");
	commit(e, a, 0, 1);
	for (int i = 0; i < 8; i++) { /* alive for 8 days without another commit */
		pass_ms(e, DAY_MS);
		heartbeat(e, a);
		e->text_len = 0;
	}
	leave(e, a);
	pass_ms(e, DAY_MS * 6);
	assert_int_equal(fetch_offset(e, "g", "t", 0), 1);
	restart(e);
	assert_int_equal(fetch_offset(e, "g", "t", 0), 1);
	pass_ms(e, DAY_MS * 1);
	pass_ms(e, CHECK_MS + 1);
	assert_int_equal(fetch_offset(e, "g", "t", 0), -1);
	assert_int_equal(grp_core_stats(e->core).groups, 0);
	const struct record *last = &e->log[e->log_count - 1];
	struct rec_key k;
	assert_true(rec_key_read(last->key, &k));
	assert_int_equal(k.kind, REC_GROUP);
	assert_int_equal(last->value.len, -1); /* the group's own tombstone */
}

static void test_a_consumer_group_at_work_loses_only_what_it_does_not_read(void **state)
{
	struct env *e = *state;
	/* ConsumerProtocolSubscription: version 1, topics [t], no user data, ... */
	static const uint8_t sub[] = {0, 1, 0, 0, 0, 1, 0, 1, 't', 0xff, 0xff, 0xff, 0xff};
	struct kp_join_group_request req;
	struct kp_join_group_request_protocol p = {
		.name = kstr_of("range"), .metadata = {.p = sub, .len = sizeof(sub)}};
	struct client *a = client_new(e, "a");
	uint8_t random[GRP_RANDOM_SIZE] = {9};
	struct grp_client client = {.id = kstr_of("a"), .host = kstr_of("/h")};
	kp_default_join_group_request(&req);
	req.group_id = kstr_of("g");
	req.session_timeout_ms = 1800000;
	req.rebalance_timeout_ms = 60000;
	req.member_id = kstr_of("");
	req.protocol_type = kstr_of("consumer");
	req.protocols = &p;
	req.n_protocols = 1;
	grp_join(e->core, e->now, token_new(e, a, JOIN), 3, &client, random, &req);
	pass_ms(e, 3002);
	lead(e, a, a);
	commit_with(e, a, (struct commit_args){.topic = "t", .offset = 1});
	commit_with(e, a, (struct commit_args){.topic = "u", .offset = 2});
	for (int i = 0; i < 8; i++) {
		pass_ms(e, DAY_MS);
		heartbeat(e, a);
		e->text_len = 0;
	}
	assert_int_equal(fetch_offset(e, "g", "t", 0), 1);
	assert_int_equal(fetch_offset(e, "g", "u", 0), -1);
}

static void test_versions_2_to_4_say_themselves_how_long_to_keep(void **state)
{
	struct env *e = *state;
	struct client *a = client_new(e, "a");
	commit_with(e, a,
		(struct commit_args){.version = 2, .offset = 1, .keep_ms = DAY_MS, .partition = 0});
	commit_with(e, a,
		(struct commit_args){
			.version = 2, .offset = 2, .keep_ms = 30 * DAY_MS, .partition = 1});
	restart(e);
	pass_ms(e, DAY_MS * 2);
	assert_int_equal(fetch_offset(e, "g", "t", 0), -1);
	pass_ms(e, DAY_MS * 20);
	assert_int_equal(fetch_offset(e, "g", "t", 1), 2);
}

static bool is_t(void *ctx, struct kstr topic)
{
	return kstr_equal(topic, kstr_of("t"));
}

static void test_a_deleted_topic_takes_its_offsets_along(void **state)
{
	struct env *e = *state;
	struct client *a = stable_member(e, "a");
	for (int32_t p = 0; p < 700; p++) /* more than one chunk of tombstones */
		commit(e, a, p, p), e->text_len = 0;
	commit_with(e, a, (struct commit_args){.topic = "u", .offset = 2});
	grp_forget_topics(e->core, e->now, is_t, NULL);
	after(e);
	assert_int_equal(grp_core_stats(e->core).offsets, 1);
	restart(e);
	assert_int_equal(grp_core_stats(e->core).offsets, 1);
	assert_int_equal(fetch_offset(e, "g", "u", 0), 2);
	heartbeat(e, a);
	expect(e, "a heartbeat: NONE\n");
}

static void test_an_idle_group_without_offsets_is_dropped(void **state)
{
	struct env *e = *state;
	struct client *a = stable_member(e, "a");
	leave(e, a);
	assert_int_equal(grp_core_stats(e->core).groups, 1);
	pass_ms(e, CHECK_MS + 1);
	assert_int_equal(grp_core_stats(e->core).groups, 0);
	uint32_t n = e->log_count;
	restart(e);
	assert_int_equal(grp_core_stats(e->core).groups, 0);
	assert_int_equal(n, e->log_count);
}

/* ---- replay ---- */

static void test_records_that_make_no_sense_are_passed_over(void **state)
{
	struct env *e = *state;
	commit(e, client_new(e, "a"), 0, 1);
	struct kbytes key = e->log[0].key;
	uint32_t p = e->log[0].partition;
	static const uint8_t garbage[] = {0, 1, 0, 9, 'x'};
	struct kbytes bad = {.p = garbage, .len = sizeof(garbage)};
	assert_int_equal(grp_set_partitions(e->core, PARTS, e->now), 0);
	assert_false(grp_replay(e->core, p, bad, bad));
	assert_false(grp_replay(e->core, p, key, bad));
	assert_false(grp_replay(e->core, (p + 1) % PARTS, key, e->log[0].value));
	assert_true(grp_replay(e->core, p, key, e->log[0].value));
	for (uint32_t i = 0; i < PARTS; i++)
		grp_loaded(e->core, i, e->now);
	grp_check(e->core);
	assert_int_equal(fetch_offset(e, "g", "t", 0), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		group_test(test_a_commit_counts_once_it_is_in_the_log),
		group_test(test_a_commit_that_fails_leaves_the_offset_before),
		group_test(test_offset_epoch_and_metadata_come_back_as_given),
		group_test(test_metadata_has_a_limit_per_partition),
		group_test(test_partitions_that_do_not_exist_are_refused_one_by_one),
		group_test(test_who_commits_must_be_a_member_unless_the_group_is_empty),
		group_test(test_a_commit_is_a_sign_of_life),
		group_test(test_a_commit_to_a_group_without_a_name_is_accepted),
		group_test(test_a_request_too_large_for_one_batch_is_refused),
		days_test(test_offsets_of_a_lone_consumer_expire_after_the_last_commit),
		days_test(test_offsets_of_a_group_are_kept_since_its_last_member_left),
		days_test(test_a_consumer_group_at_work_loses_only_what_it_does_not_read),
		days_test(test_versions_2_to_4_say_themselves_how_long_to_keep),
		group_test(test_a_deleted_topic_takes_its_offsets_along),
		days_test(test_an_idle_group_without_offsets_is_dropped),
		group_test(test_records_that_make_no_sense_are_passed_over),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
