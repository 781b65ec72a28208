/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control loop with shards that are played by the test: both ends of the mesh are driven by one
 * thread, so every order of events is the test's choice.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/check.h"
#include "control/api/ctl.h"
#include "control/loop/loop.h"
#include "kafka/errcode.h"
#include "kafka/header.h"

#define SHARDS 2

struct env {
	char dir[64];
	struct config cfg;
	struct mesh mesh;
	struct mesh_port shard[SHARDS];
	struct ctl *c;
	int signal_fd;
	char err[CONFIG_ERR_MAX];
	/* what the shards hold */
	bool hold_images; /* do not acknowledge */
	struct msg *image[SHARDS];
	const struct image *serving[SHARDS];
	uint32_t images_seen;
	uint32_t fail_opens;
	struct msg *answered; /* requests and wanted that came back, last first */
	struct msg *part_op;  /* last one that a shard received */
	uint16_t part_op_at;
	bool hold_ops;
	unsigned stops;
	bool unclean;
};

static void set(struct env *e, const char *assignment)
{
	if (config_set(&e->cfg, assignment, e->err, sizeof(e->err)) < 0)
		fail_msg("%s", e->err);
}

static void open_ctl(struct env *e)
{
	assert_int_equal(mesh_init(&e->mesh, SHARDS + 1, 64), 0);
	for (uint16_t i = 0; i < SHARDS; i++) {
		mesh_port_init(&e->shard[i], &e->mesh, i);
		e->image[i] = NULL;
		e->serving[i] = NULL;
	}
	struct ctl_options opt = {
		.cfg = &e->cfg,
		.mesh = &e->mesh,
		.signal_fd = e->signal_fd,
		.workers = 1,
		.listen_port = 4242,
	};
	e->stops = 0;
	e->c = ctl_create(&opt, e->err, sizeof(e->err));
	if (!e->c)
		fail_msg("%s", e->err);
}

static int setup(void **state)
{
	struct env *e = calloc(1, sizeof(*e));
	char text[128];
	strcpy(e->dir, "/tmp/test_loop_XXXXXX");
	assert_non_null(mkdtemp(e->dir));
	config_defaults(&e->cfg);
	snprintf(text, sizeof(text), "log.dirs=%s", e->dir);
	set(e, text);
	set(e, "admin.listener=");
	set(e, "node.id=3");
	set(e, "offsets.topic.num.partitions=4");
	set(e, "listeners=PLAINTEXT://127.0.0.1:0");
	assert_int_equal(config_finish(&e->cfg, "h", e->err, sizeof(e->err)), 0);
	e->signal_fd = -1;
	*state = e;
	open_ctl(e);
	return 0;
}

/* ---- the shards ---- */

static void ack_image(struct env *e, uint16_t i)
{
	struct msg *m = e->image[i];
	assert_non_null(m);
	e->image[i] = NULL;
	e->serving[i] = m->image.image; /* the one before is let go of */
	m->image.failed = e->fail_opens;
	mesh_answer(&e->shard[i], m);
}

static void shard_question(struct env *e, uint16_t i, struct msg *m)
{
	switch (m->kind) {
	case MSG_IMAGE:
		assert_null(e->image[i]);
		e->image[i] = m;
		e->images_seen++;
		if (!e->hold_images)
			ack_image(e, i);
		return;
	case MSG_STOP:
		e->stops++;
		m->stop.clean = !e->unclean;
		mesh_answer(&e->shard[i], m);
		return;
	case MSG_PART_OP:
		e->part_op = m;
		e->part_op_at = i;
		if (e->hold_ops)
			return;
		m->op.error = KE_NOT_LEADER_OR_FOLLOWER;
		mesh_answer(&e->shard[i], m);
		return;
	case MSG_RELEASE:
		mesh_answer(&e->shard[i], m);
		return;
	default:
		fail_msg("unexpected question %d", m->kind);
	}
}

static void shards_turn(struct env *e)
{
	struct msg *in[64];
	for (uint16_t i = 0; i < SHARDS; i++) {
		uint32_t n = mesh_recv(&e->shard[i], in, array_size(in));
		for (uint32_t k = 0; k < n; k++) {
			if (!in[k]->answer) {
				shard_question(e, i, in[k]);
				continue;
			}
			in[k]->user = e->answered;
			e->answered = in[k];
		}
		mesh_flush(&e->shard[i]);
	}
}

/* Lets everything happen that happens by itself. */
static void settle(struct env *e)
{
	for (int i = 0; i < 12; i++) {
		ctl_turn(e->c, 0);
		shards_turn(e);
	}
}

static void start(struct env *e)
{
	if (ctl_begin(e->c, e->err, sizeof(e->err)) < 0)
		fail_msg("%s", e->err);
	settle(e);
	assert_int_equal(ctl_state_of(e->c), CTL_SERVING);
	e->images_seen = 0;
}

static void stop(struct env *e)
{
	ctl_shutdown(e->c);
	settle(e);
	assert_int_equal(ctl_state_of(e->c), CTL_STOPPED);
	assert_int_equal(e->stops, SHARDS);
}

static void close_ctl(struct env *e)
{
	ctl_destroy(e->c);
	e->c = NULL;
	mesh_fini(&e->mesh);
}

static int teardown(void **state)
{
	struct env *e = *state;
	char path[128];
	if (e->c)
		close_ctl(e);
	if (e->signal_fd >= 0)
		close(e->signal_fd);
	snprintf(path, sizeof(path), "%s/millrace.meta.json", e->dir);
	unlink(path);
	rmdir(e->dir);
	free(e);
	return 0;
}

/* ---- requests ---- */

static const struct kp_message *message_of(int16_t key)
{
	for (uint32_t i = 0; i < KP_MESSAGE_COUNT; i++)
		if (kp_messages[i].key == key)
			return &kp_messages[i];
	return NULL;
}

static struct msg *send_frame(
	struct env *e, int16_t key, int16_t version, const uint8_t *body, size_t len)
{
	struct msg *m = calloc(1, sizeof(*m));
	m->kind = MSG_REQUEST;
	m->request.api_key = key;
	m->request.api_version = version;
	m->request.correlation_id = 77;
	m->request.frame.p = malloc(len + 8);
	m->request.frame.len = (uint32_t)len + 8;
	m->request.body = 8;
	memcpy(m->request.frame.p + 8, body, len);
	mesh_ask(&e->shard[0], SHARDS, m);
	mesh_flush(&e->shard[0]);
	return m;
}

static struct msg *send_request(struct env *e, int16_t key, int16_t version, const void *req)
{
	static uint8_t body[1 << 20];
	struct kwr k = kwr_of(body, sizeof(body));
	message_of(key)->request.encode(&k, version, req);
	assert_false(k.w.full);
	return send_frame(e, key, version, body, kwr_len(&k));
}

/* m if it has come back; it is taken out. */
static struct msg *take(struct env *e, const struct msg *m)
{
	for (struct msg **p = &e->answered; *p; p = (struct msg **)&(*p)->user) {
		if (*p != m)
			continue;
		struct msg *got = *p;
		*p = got->user;
		return got;
	}
	return NULL;
}

static void free_msg(struct msg *m)
{
	free(m->request.frame.p);
	free(m->request.response.p);
	free(m);
}

static uint8_t decode_memory[1 << 20];

static void decode(struct msg *m, void *out)
{
	struct arena a;
	arena_init(&a, decode_memory, sizeof(decode_memory));
	int32_t id;
	assert_non_null(m->request.response.p);
	struct rd r = rd_of(m->request.response.p, m->request.response.len);
	assert_int_equal(kp_response_header_decode(
				 &r, kp_api_find(m->request.api_key), m->request.api_version, &id),
		0);
	assert_int_equal(id, 77);
	const struct kp_message *msg = message_of(m->request.api_key);
	assert_int_equal(msg->response.decode(&r, m->request.api_version, out, &a), 0);
	assert_int_equal(rd_left(&r), 0);
}

static struct msg *send_create(
	struct env *e, const char *name, int32_t partitions, int32_t timeout_ms)
{
	struct kp_create_topics_request_topic t;
	kp_default_create_topics_request_topic(&t);
	t.name = kstr_of(name);
	t.num_partitions = partitions;
	struct kp_create_topics_request req = {
		.topics = &t, .n_topics = 1, .timeout_ms = timeout_ms};
	return send_request(e, KP_CREATE_TOPICS, 7, &req);
}

/* Creates and returns the error code. */
static int16_t create(struct env *e, const char *name, int32_t partitions)
{
	struct msg *m = send_create(e, name, partitions, 60000);
	settle(e);
	struct kp_create_topics_response resp;
	assert_non_null(take(e, m));
	decode(m, &resp);
	assert_int_equal(resp.n_topics, 1);
	int16_t code = resp.topics[0].error_code;
	free_msg(m);
	return code;
}

static const struct image_topic *served_topic(struct env *e, const char *name)
{
	const struct image_topic *a = image_topic_by_name(e->serving[0], kstr_of(name));
	const struct image_topic *b = image_topic_by_name(e->serving[1], kstr_of(name));
	assert_ptr_equal(a, b);
	return a;
}

/* ---- tests ---- */

static void test_it_serves_once_every_shard_serves_the_first_image(void **state)
{
	struct env *e = *state;
	e->hold_images = true;
	assert_int_equal(ctl_begin(e->c, e->err, sizeof(e->err)), 0);
	settle(e);
	assert_int_equal(e->images_seen, SHARDS);
	assert_int_equal(ctl_state_of(e->c), CTL_STARTING);
	assert_null(ctl_image(e->c));
	ack_image(e, 1);
	settle(e);
	assert_int_equal(ctl_state_of(e->c), CTL_STARTING);
	e->fail_opens = 2;
	ack_image(e, 0);
	settle(e);
	assert_int_equal(ctl_state_of(e->c), CTL_SERVING);
	assert_int_equal(ctl_failed_partitions(e->c), 2);
	const struct image *im = ctl_image(e->c);
	assert_int_equal(im->brokers[0].node_id, 3);
	assert_int_equal(im->brokers[0].port, 4242);
	assert_int_equal(im->cluster_id.len, META_CLUSTER_ID_LEN);
	stop(e);
}

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

static struct msg *send_wanted(struct env *e, const char *names, size_t len, uint32_t count)
{
	struct msg *m = calloc(1, sizeof(*m));
	m->kind = MSG_TOPICS_WANTED;
	m->wanted.names.p = malloc(len);
	memcpy(m->wanted.names.p, names, len);
	m->wanted.names.len = (uint32_t)len;
	m->wanted.count = count;
	mesh_ask(&e->shard[1], SHARDS, m);
	mesh_flush(&e->shard[1]);
	return m;
}

static void free_wanted(struct msg *m)
{
	free(m->wanted.names.p);
	free(m);
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
	assert_int_equal(create(e, "a", 1), KE_UNKNOWN_SERVER_ERROR);
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

/* ---- partition operations ---- */

struct asked {
	struct ctl_op op;
	unsigned dones;
	enum msg_kind kind;
	int16_t error;
};

static void op_done(struct ctl *c, struct ctl_op *op)
{
	struct asked *a = container_of(op, struct asked, op);
	a->dones++;
	a->kind = op->m.kind;
	if (op->m.kind == MSG_PART_OP)
		a->error = op->m.op.error;
}

static void test_partition_operations_go_to_the_owner_and_come_back(void **state)
{
	struct env *e = *state;
	start(e);
	assert_int_equal(create(e, "t", 4), KE_NONE);
	const struct image_partition *p = &served_topic(e, "t")->partitions[3];
	struct asked a = {.op = {.done = op_done, .m = {.op = {.kind = PART_FETCH}}}};
	a.op.m.op.part_id = p->part_id;
	e->hold_ops = true;
	ctl_ask_part_op(e->c, &a.op);
	settle(e);
	assert_ptr_equal(e->part_op, &a.op.m);
	assert_int_equal(e->part_op_at, p->shard);
	assert_int_equal(a.dones, 0);
	assert_int_equal(ctl_ops_out(e->c), 1);
	struct lblock block = {0};
	e->part_op->op.error = KE_NONE;
	e->part_op->op.fetch.span = (struct lspan){.first = &block, .len = 10};
	mesh_answer(&e->shard[e->part_op_at], e->part_op);
	mesh_flush(&e->shard[e->part_op_at]);
	settle(e);
	assert_int_equal(a.dones, 1);
	assert_int_equal(a.kind, MSG_PART_OP);
	ctl_release(e->c, &a.op);
	settle(e);
	assert_int_equal(a.dones, 2);
	assert_int_equal(a.kind, MSG_RELEASE);
	assert_int_equal(ctl_ops_out(e->c), 0);
	stop(e);
}

static void test_an_operation_on_an_unknown_partition_comes_back_later_with_an_error(void **state)
{
	struct env *e = *state;
	start(e);
	struct asked a = {
		.op = {.done = op_done, .m = {.op = {.kind = PART_FETCH, .part_id = 99}}}};
	ctl_ask_part_op(e->c, &a.op);
	assert_int_equal(a.dones, 0);
	ctl_turn(e->c, -1); /* does not sleep */
	assert_int_equal(a.dones, 1);
	assert_int_equal(a.error, KE_UNKNOWN_TOPIC_OR_PARTITION);
	stop(e);
}

static void test_the_offsets_topic_is_made_once(void **state)
{
	struct env *e = *state;
	start(e);
	assert_int_equal(ctl_ensure_offsets_topic(e->c), KE_NONE);
	assert_int_equal(ctl_ensure_offsets_topic(e->c), KE_NONE);
	settle(e);
	const struct image_topic *t = served_topic(e, TOPIC_OFFSETS);
	assert_int_equal(t->partition_count, 4);
	assert_true(t->internal);
	assert_true(t->config.cleanup_compact);
	assert_false(t->config.cleanup_delete);
	assert_int_equal(e->images_seen, SHARDS);
	stop(e);
}

/* ---- timers ---- */

struct timed {
	struct ctl_timer t;
	struct ctl_timer *cancels;
	unsigned fired;
};

static void on_timer(struct ctl *c, struct ctl_timer *timer)
{
	struct timed *t = container_of(timer, struct timed, t);
	t->fired++;
	if (t->cancels)
		ctl_timer_cancel(c, t->cancels);
}

static void test_a_timer_cancelled_by_another_that_is_due_too_does_not_fire(void **state)
{
	struct env *e = *state;
	start(e);
	struct timed a = {0}, b = {0}, d = {0};
	ctl_timer_init(&a.t, on_timer);
	ctl_timer_init(&b.t, on_timer);
	ctl_timer_init(&d.t, on_timer);
	a.cancels = &b.t;
	uint64_t at = ctl_now_ns(e->c) + 1;
	ctl_timer_arm(e->c, &a.t, at);
	ctl_timer_arm(e->c, &b.t, at);
	ctl_timer_arm(e->c, &d.t, at);
	assert_true(ctl_timer_armed(&b.t));
	while (!d.fired)
		ctl_turn(e->c, -1);
	assert_int_equal(a.fired, 1);
	assert_int_equal(b.fired, 0);
	assert_false(ctl_timer_armed(&b.t));
	ctl_timer_arm(e->c, &b.t, ctl_now_ns(e->c));
	while (!b.fired)
		ctl_turn(e->c, -1);
	stop(e);
}

/* ---- the end ---- */

static void test_a_stop_waits_for_the_image_on_its_way_and_answers_what_is_parked(void **state)
{
	struct env *e = *state;
	start(e);
	e->hold_images = true;
	struct msg *m = send_create(e, "t", 1, 60000);
	settle(e);
	ctl_shutdown(e->c);
	settle(e);
	assert_int_equal(ctl_state_of(e->c), CTL_DRAINING);
	assert_int_equal(e->stops, 0);
	struct msg *late = send_create(e, "u", 1, 60000);
	struct msg *late_wanted = send_wanted(e, "v", 2, 1);
	settle(e);
	assert_non_null(take(e, late));
	assert_null(late->request.response.p);
	assert_non_null(take(e, late_wanted));
	free_msg(late);
	free_wanted(late_wanted);
	ack_image(e, 0);
	ack_image(e, 1);
	settle(e);
	assert_non_null(take(e, m));
	assert_non_null(m->request.response.p);
	free_msg(m);
	assert_int_equal(ctl_state_of(e->c), CTL_STOPPED);
	assert_int_equal(e->stops, SHARDS);
	assert_true(ctl_run(e->c));
}

static void test_a_stop_during_the_start_is_in_order_too(void **state)
{
	struct env *e = *state;
	e->hold_images = true;
	assert_int_equal(ctl_begin(e->c, e->err, sizeof(e->err)), 0);
	settle(e);
	ctl_shutdown(e->c);
	settle(e);
	assert_int_equal(e->stops, 0);
	ack_image(e, 0);
	ack_image(e, 1);
	settle(e);
	assert_int_equal(ctl_state_of(e->c), CTL_STOPPED);
}

static void test_a_shard_that_did_not_end_cleanly_is_told(void **state)
{
	struct env *e = *state;
	start(e);
	e->unclean = true;
	stop(e);
	assert_false(ctl_run(e->c));
}

static void test_a_signal_asks_for_a_stop(void **state)
{
	struct env *e = *state;
	sigset_t set_of;
	close_ctl(e);
	sigemptyset(&set_of);
	sigaddset(&set_of, SIGTERM);
	assert_int_equal(sigprocmask(SIG_BLOCK, &set_of, NULL), 0);
	e->signal_fd = signalfd(-1, &set_of, SFD_NONBLOCK | SFD_CLOEXEC);
	assert_true(e->signal_fd >= 0);
	open_ctl(e);
	start(e);
	assert_int_equal(raise(SIGTERM), 0);
	ctl_turn(e->c, -1);
	assert_true(ctl_state_of(e->c) >= CTL_DRAINING);
	settle(e);
	assert_int_equal(raise(SIGTERM), 0); /* a second one at once changes nothing */
	settle(e);
	assert_int_equal(ctl_state_of(e->c), CTL_STOPPED);
	assert_int_equal(e->stops, SHARDS);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_it_serves_once_every_shard_serves_the_first_image),
		T(test_a_created_topic_is_answered_when_every_shard_serves_it),
		T(test_changes_while_an_image_is_on_its_way_share_the_next_one),
		T(test_a_topic_not_served_in_time_is_answered_as_timed_out),
		T(test_topics_that_cannot_be_created_are_answered_with_kafkas_errors),
		T(test_one_request_may_have_good_and_bad_topics),
		T(test_topics_are_deleted_by_name_and_by_id),
		T(test_deletion_can_be_switched_off),
		T(test_wanted_topics_are_created_with_the_brokers_defaults),
		T(test_wanted_topics_are_not_created_when_that_is_off),
		T(test_what_cannot_be_stored_did_not_happen),
		T(test_topics_are_the_same_after_a_restart),
		T(test_requests_that_make_no_sense_are_hung_up),
		T(test_partition_operations_go_to_the_owner_and_come_back),
		T(test_an_operation_on_an_unknown_partition_comes_back_later_with_an_error),
		T(test_the_offsets_topic_is_made_once),
		T(test_a_timer_cancelled_by_another_that_is_due_too_does_not_fire),
		T(test_a_stop_waits_for_the_image_on_its_way_and_answers_what_is_parked),
		T(test_a_stop_during_the_start_is_in_order_too),
		T(test_a_shard_that_did_not_end_cleanly_is_told),
		T(test_a_signal_asks_for_a_stop),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
