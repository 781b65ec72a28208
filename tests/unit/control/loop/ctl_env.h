/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_TESTS_CTL_ENV_H
#define MR_TESTS_CTL_ENV_H

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
	/* What a shard does with operations and releases; NULL: it is not the leader. */
	void (*on_op)(struct env *e, uint16_t shard, struct msg *m);
	void *on_op_arg;
	bool hold_disconnects; /* do not answer */
	struct msg *disconnect[SHARDS];
	unsigned disconnects;
	unsigned stops;
	bool unclean;
	uint32_t logs_found; /* in log.dirs */
};

static inline void set(struct env *e, const char *assignment)
{
	if (config_set(&e->cfg, assignment, e->err, sizeof(e->err)) < 0)
		fail_msg("%s", e->err);
}

static inline void open_ctl(struct env *e)
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
		.logs_found = e->logs_found,
		.listen_port = 4242,
	};
	e->stops = e->disconnects = 0;
	e->c = ctl_create(&opt, e->err, sizeof(e->err));
	if (!e->c)
		fail_msg("%s", e->err);
}

static inline int setup(void **state)
{
	struct env *e = calloc(1, sizeof(*e));
	char text[128];
	snprintf(e->dir, sizeof(e->dir), "/tmp/test_loop_XXXXXX");
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

static inline void ack_image(struct env *e, uint16_t i)
{
	struct msg *m = e->image[i];
	assert_non_null(m);
	e->image[i] = NULL;
	e->serving[i] = m->image.image; /* the one before is let go of */
	m->image.failed = e->fail_opens;
	mesh_answer(&e->shard[i], m);
}

static inline void shard_question(struct env *e, uint16_t i, struct msg *m)
{
	switch (m->kind) {
	case MSG_IMAGE:
		assert_null(e->image[i]);
		e->image[i] = m;
		e->images_seen++;
		if (!e->hold_images)
			ack_image(e, i);
		return;
	case MSG_DISCONNECT:
		e->disconnect[i] = m;
		e->disconnects++;
		if (!e->hold_disconnects)
			mesh_answer(&e->shard[i], m);
		return;
	case MSG_STOP:
		e->stops++;
		m->stop.clean = !e->unclean;
		mesh_answer(&e->shard[i], m);
		return;
	case MSG_PART_OP:
		if (e->on_op) {
			e->on_op(e, i, m);
			return;
		}
		e->part_op = m;
		e->part_op_at = i;
		if (e->hold_ops)
			return;
		m->op.error = KE_NOT_LEADER_OR_FOLLOWER;
		mesh_answer(&e->shard[i], m);
		return;
	case MSG_RELEASE:
		if (e->on_op) {
			e->on_op(e, i, m);
			return;
		}
		mesh_answer(&e->shard[i], m);
		return;
	default:
		fail_msg("unexpected question %d", m->kind);
	}
}

static inline void shards_turn(struct env *e)
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
static inline void settle(struct env *e)
{
	for (int i = 0; i < 12; i++) {
		ctl_turn(e->c, 0);
		shards_turn(e);
	}
}

static inline void start(struct env *e)
{
	if (ctl_begin(e->c, e->err, sizeof(e->err)) < 0)
		fail_msg("%s", e->err);
	settle(e);
	assert_int_equal(ctl_state_of(e->c), CTL_SERVING);
	e->images_seen = 0;
}

static inline void stop(struct env *e)
{
	ctl_shutdown(e->c);
	settle(e);
	assert_int_equal(ctl_state_of(e->c), CTL_STOPPED);
	assert_int_equal(e->stops, SHARDS);
}

static inline void close_ctl(struct env *e)
{
	ctl_destroy(e->c);
	e->c = NULL;
	mesh_fini(&e->mesh);
}

static inline int teardown(void **state)
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

static inline const struct kp_message *message_of(int16_t key)
{
	for (uint32_t i = 0; i < KP_MESSAGE_COUNT; i++)
		if (kp_messages[i].key == key)
			return &kp_messages[i];
	return NULL;
}

static inline struct msg *send_frame(
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

static inline struct msg *send_request(struct env *e, int16_t key, int16_t version, const void *req)
{
	static uint8_t body[1 << 20];
	struct kwr k = kwr_of(body, sizeof(body));
	message_of(key)->request.encode(&k, version, req);
	assert_false(k.w.full);
	return send_frame(e, key, version, body, kwr_len(&k));
}

/* m if it has come back; it is taken out. */
static inline struct msg *take(struct env *e, const struct msg *m)
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

static inline void free_msg(struct msg *m)
{
	free(m->request.frame.p);
	free(m->request.response.p);
	free(m);
}

static inline void decode(struct msg *m, void *out)
{
	struct arena a;
	static uint8_t memory[1 << 20];
	arena_init(&a, memory, sizeof(memory));
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

static inline struct msg *send_create(
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
static inline int16_t create(struct env *e, const char *name, int32_t partitions)
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

static inline const struct image_topic *served_topic(struct env *e, const char *name)
{
	const struct image_topic *a = image_topic_by_name(e->serving[0], kstr_of(name));
	const struct image_topic *b = image_topic_by_name(e->serving[1], kstr_of(name));
	assert_ptr_equal(a, b);
	return a;
}

static inline struct msg *send_wanted(struct env *e, const char *names, size_t len, uint32_t count)
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

static inline void free_wanted(struct msg *m)
{
	free(m->wanted.names.p);
	free(m);
}

#endif
