/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_TESTS_CONSUMER_WORLD_H
#define MR_TESTS_CONSUMER_WORLD_H

/* Up to three topics, and members of the consumer protocol in a group "g". */
#include "base/arena.h"
#include "control/group/record.h"
#include "kafka/image.h"
#include "unit/control/group/group_env.h"

#define TOPICS_MAX 3
static const char *const topic_names[TOPICS_MAX] = {"apples", "bananas", "cherries"};

struct heart {
	struct token t; /* must be first: the environment's */
	const char *id;
	const char *instance;
	const char *topics[TOPICS_MAX + 1];
	const char *regex;
	const char *assignor;
	int32_t epoch;
	int16_t error;
	bool told;
	int32_t parts[64]; /* topic number * 100 + partition */
	uint32_t n_parts;
};

struct world {
	struct env *e;
	struct image *image;
	uint64_t epoch;
	uint32_t answers;
	/* answers to others, NULL: the environment knows them */
	void (*other)(void *ctx, void *token, const void *response);
};
static struct world world;

static inline void set_topics(int32_t a, int32_t b, int32_t c)
{
	static const struct image_partition p[64];
	struct image_topic t[TOPICS_MAX];
	const int32_t counts[TOPICS_MAX] = {a, b, c};
	uint32_t n = 0;
	for (uint8_t i = 0; i < TOPICS_MAX; i++)
		if (counts[i] > 0)
			t[n++] = (struct image_topic){.name = kstr_of(topic_names[i]),
				.id = {.b = {(uint8_t)(i + 1)}},
				.config = image_topic_config_default,
				.partition_count = counts[i],
				.partitions = p};
	const struct image_source src = {.epoch = ++world.epoch, .topics = t, .topic_count = n};
	struct image *old = world.image;
	world.image = image_build(&src);
	assert_non_null(world.image);
	grp_set_image(world.e->core, world.image);
	image_free(old);
}

/* The environment's sink knows the other APIs; ours is told from them by its token. */
static inline void on_heart(void *ctx, void *token, const void *response)
{
	struct heart *h = token;
	const struct kp_consumer_group_heartbeat_response *r = response;
	if (h->t.api != (enum api)99) {
		(world.other ? world.other : on_reply)(ctx, token, response);
		return;
	}
	world.answers++;
	h->error = r->error_code;
	if (r->error_code)
		return;
	assert_true(kstr_equal(r->member_id, kstr_of(h->id)));
	assert_int_equal(r->heartbeat_interval_ms, 5000);
	h->epoch = r->member_epoch;
	h->told = r->n_assignment > 0;
	if (!h->told)
		return;
	h->n_parts = 0;
	for (int32_t i = 0; i < r->assignment->n_topic_partitions; i++)
		for (int32_t k = 0; k < r->assignment->topic_partitions[i].n_partitions; k++)
			h->parts[h->n_parts++] =
				r->assignment->topic_partitions[i].topic_id.b[0] * 100 +
				r->assignment->topic_partitions[i].partitions[k];
}

static inline void reopen(struct env *e)
{
	struct grp_sink sink = {.ctx = e, .reply = on_heart, .append = on_append};
	e->core = grp_core_open(&e->cfg, &sink, e->now);
	assert_non_null(e->core);
	assert_int_equal(grp_set_partitions(e->core, PARTS, e->now), 0);
	if (world.image)
		grp_set_image(e->core, world.image);
	replay_all(e, e->core);
	grp_check(e->core);
}

static inline int setup(void **state)
{
	setup_env(state);
	struct env *e = *state;
	close_core(e);
	world = (struct world){.e = e};
	reopen(e);
	set_topics(6, 0, 0);
	return 0;
}

static inline int teardown(void **state)
{
	int rc = teardown_env(state);
	image_free(world.image);
	return rc;
}

static inline void restart_consumers(struct env *e)
{
	while (write_one(e, KE_KAFKA_STORAGE_ERROR))
		;
	close_core(e);
	reopen(e);
}

/* One heartbeat that says everything; owns: it still has h->parts. */
static inline int16_t beat_as(struct heart *h, int32_t epoch, bool owns)
{
	struct env *e = world.e;
	struct kstr names[TOPICS_MAX];
	int32_t parts[TOPICS_MAX][64];
	struct kp_consumer_group_heartbeat_request_topic_partitions tp[TOPICS_MAX] = {0};
	struct kp_consumer_group_heartbeat_request req;
	kp_default_consumer_group_heartbeat_request(&req);
	h->t.api = (enum api)99;
	req.group_id = kstr_of("g");
	req.member_id = kstr_of(h->id);
	req.member_epoch = epoch;
	req.instance_id = kstr_of(h->instance);
	req.rebalance_timeout_ms = 30000;
	req.server_assignor = kstr_of(h->assignor);
	req.subscribed_topic_regex = kstr_of(h->regex);
	req.n_subscribed_topic_names = 0;
	req.subscribed_topic_names = names;
	for (int i = 0; h->topics[i]; i++)
		names[req.n_subscribed_topic_names++] = kstr_of(h->topics[i]);
	for (uint32_t i = 0; i < h->n_parts && owns; i++) {
		int32_t topic = h->parts[i] / 100 - 1;
		tp[topic].topic_id.b[0] = (uint8_t)(topic + 1);
		tp[topic].partitions = parts[topic];
		parts[topic][tp[topic].n_partitions++] = h->parts[i] % 100;
	}
	req.topic_partitions = tp;
	req.n_topic_partitions = epoch == 0 ? 0 : TOPICS_MAX;
	const struct grp_client client = {.id = kstr_of("c"), .host = kstr_of("/10.0.0.1")};
	const uint8_t random[GRP_RANDOM_SIZE] = {0};
	h->error = -99;
	grp_consumer_heartbeat(e->core, e->now, &h->t, 1, &client, random, &req);
	after(e);
	return h->error;
}
static inline int16_t join_as(struct heart *h)
{
	return beat_as(h, 0, false);
}
static inline int16_t beat(struct heart *h)
{
	return beat_as(h, h->epoch, true);
}

static inline void owns(const struct heart *h, uint32_t n)
{
	assert_int_equal(h->error, KE_NONE);
	assert_int_equal(h->n_parts, n);
}

static const char *describe(const char *id)
{
	static uint8_t memory[1 << 16];
	static char text[64];
	struct arena a;
	const struct grp *g;
	struct kp_consumer_group_describe_response_group out;
	kp_default_consumer_group_describe_response_group(&out);
	assert_int_equal(grp_find(world.e->core, kstr_of(id), &g), KE_NONE);
	assert_non_null(g);
	assert_true(grp_consumer_describe_size(g) < sizeof(memory));
	arena_init(&a, memory, grp_consumer_describe_size(g));
	assert_true(grp_consumer_describe(g, &out, &a));
	snprintf(text, sizeof(text), "%.*s %d/%d %.*s %d", out.group_state.len, out.group_state.p,
		out.group_epoch, out.assignment_epoch, out.assignor_name.len, out.assignor_name.p,
		out.n_members);
	return text;
}

#define consumer_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#endif
