/* SPDX-License-Identifier: Apache-2.0 */
/* Groups of the consumer protocol (KIP-848): who gets what, when, and what a restart leaves of it.
 */
#include "base/arena.h"
#include "control/group/record.h"
#include "kafka/image.h"
#include "unit/control/group/group_env.h"

#define TOPICS_MAX 3

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
};
static struct world world;

static void set_topics(int32_t a, int32_t b, int32_t c)
{
	static const struct image_partition p[64];
	struct image_topic t[TOPICS_MAX];
	const char *names[TOPICS_MAX] = {"apples", "bananas", "cherries"};
	const int32_t counts[TOPICS_MAX] = {a, b, c};
	uint32_t n = 0;
	for (uint8_t i = 0; i < TOPICS_MAX; i++)
		if (counts[i] > 0)
			t[n++] = (struct image_topic){.name = kstr_of(names[i]),
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
static void on_heart(void *ctx, void *token, const void *response)
{
	struct heart *h = token;
	const struct kp_consumer_group_heartbeat_response *r = response;
	if (h->t.api != (enum api)99) {
		on_reply(ctx, token, response);
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

static void reopen(struct env *e)
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

static int setup(void **state)
{
	setup_env(state);
	struct env *e = *state;
	close_core(e);
	world = (struct world){.e = e};
	reopen(e);
	set_topics(6, 0, 0);
	return 0;
}

static int teardown(void **state)
{
	int rc = teardown_env(state);
	image_free(world.image);
	return rc;
}

static void restart_consumers(struct env *e)
{
	while (write_one(e, KE_KAFKA_STORAGE_ERROR))
		;
	close_core(e);
	reopen(e);
}

/* One heartbeat that says everything; owns: it still has h->parts. */
static int16_t beat_as(struct heart *h, int32_t epoch, bool owns)
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
static int16_t join_as(struct heart *h)
{
	return beat_as(h, 0, false);
}
static int16_t beat(struct heart *h)
{
	return beat_as(h, h->epoch, true);
}

static void owns(const struct heart *h, uint32_t n)
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

static void test_the_first_member_has_everything_at_once(void **state)
{
	struct heart a = {.id = "a", .topics = {"apples"}};
	assert_int_equal(join_as(&a), KE_NONE);
	assert_int_equal(a.epoch, 1);
	owns(&a, 6);
	assert_string_equal(describe("g"), "Stable 1/1 uniform 1");
}

static void test_a_partition_goes_over_when_it_has_been_given_up(void **state)
{
	struct heart a = {.id = "a", .topics = {"apples"}}, b = {.id = "b", .topics = {"apples"}};
	join_as(&a);
	join_as(&b);
	assert_int_equal(b.epoch, 2);
	owns(&b, 0); /* all that it shall have is a's */
	struct heart before = a;
	assert_int_equal(beat(&a), KE_NONE);
	assert_int_equal(a.epoch, 1); /* has to give up first */
	owns(&a, 3);
	beat(&b);
	owns(&b, 0);
	/* it still holds them */
	before.epoch = 1;
	assert_int_equal(beat(&before), KE_NONE);
	beat(&b);
	owns(&b, 0);
	assert_int_equal(beat(&a), KE_NONE);
	assert_int_equal(a.epoch, 2);
	beat(&b);
	owns(&b, 3);
	assert_string_equal(describe("g"), "Stable 2/2 uniform 2");
}

static void test_what_is_told_is_durable(void **state)
{
	struct env *e = *state;
	struct heart a = {.id = "a", .topics = {"apples"}};
	e->hold_writes = true;
	assert_int_equal(join_as(&a), -99);
	write_one(e, KE_NONE);
	owns(&a, 6);
	e->hold_writes = false;
}

static void test_a_write_that_fails_is_told_and_made_good(void **state)
{
	struct env *e = *state;
	struct heart a = {.id = "a", .topics = {"apples"}};
	e->fail_writes = KE_KAFKA_STORAGE_ERROR;
	assert_int_not_equal(join_as(&a), KE_NONE);
	e->fail_writes = KE_NONE;
	assert_int_equal(join_as(&a), KE_NONE);
	owns(&a, 6);
	restart_consumers(e);
	assert_int_equal(beat(&a), KE_NONE);
	owns(&a, 6);
}

static void test_a_restart_changes_nothing(void **state)
{
	struct env *e = *state;
	struct heart a = {.id = "a", .topics = {"apples"}}, b = {.id = "b", .regex = "ap.*"};
	join_as(&a);
	join_as(&b);
	beat(&a);
	char before[64];
	snprintf(before, sizeof(before), "%s", describe("g"));
	restart_consumers(e);
	assert_string_equal(describe("g"), before);
	beat(&a);
	beat(&b);
	owns(&a, 3);
	owns(&b, 3);
}

static void test_a_silent_member_is_out_and_the_others_take_over(void **state)
{
	struct env *e = *state;
	struct heart a = {.id = "a", .topics = {"apples"}}, b = {.id = "b", .topics = {"apples"}};
	join_as(&a);
	join_as(&b);
	beat(&a);
	beat(&a);
	beat(&b);
	pass_ms(e, 40000);
	beat(&a);
	pass_ms(e, 6000);
	beat(&a);
	owns(&a, 6);
	assert_int_equal(beat(&b), KE_UNKNOWN_MEMBER_ID);
}

static void test_who_does_not_give_up_in_time_is_out(void **state)
{
	struct env *e = *state;
	struct heart a = {.id = "a", .topics = {"apples"}}, b = {.id = "b", .topics = {"apples"}};
	join_as(&a);
	join_as(&b);
	for (int i = 0; i < 6; i++) {
		struct heart stuck = a; /* does not do what it is told */
		assert_int_equal(beat(&stuck), KE_NONE);
		beat(&b);
		pass_ms(e, 5000);
	}
	beat(&b);
	owns(&b, 6);
	assert_int_equal(beat(&a), KE_UNKNOWN_MEMBER_ID);
}

static void test_epochs_fence(void **state)
{
	struct heart a = {.id = "a", .topics = {"apples"}};
	struct heart stranger = {.id = "x", .topics = {"apples"}, .epoch = 1};
	assert_int_equal(beat(&stranger), KE_GROUP_ID_NOT_FOUND);
	join_as(&a);
	assert_int_equal(beat(&stranger), KE_UNKNOWN_MEMBER_ID);
	assert_int_equal(beat_as(&a, 7, true), KE_FENCED_MEMBER_EPOCH);
	assert_int_equal(beat(&a), KE_NONE);
	/* commits with an epoch of its own only */
	struct env *e = *state;
	struct client *c = client_new(e, "c");
	snprintf(c->id, sizeof(c->id), "a");
	c->generation = 9;
	commit_with(e, c, (struct commit_args){.version = 9, .offset = 1});
	c->generation = 1;
	commit_with(e, c, (struct commit_args){.version = 9, .offset = 2});
	commit_with(e, c, (struct commit_args){.version = 8, .offset = 2});
	expect(e, "c commit: t-0 STALE_MEMBER_EPOCH\nc commit: t-0 NONE\n"
		  "c commit: t-0 UNSUPPORTED_VERSION\n");
}

static void test_a_static_member_keeps_its_place(void **state)
{
	struct heart a = {.id = "a", .instance = "i", .topics = {"apples"}};
	struct heart b = {.id = "b", .topics = {"apples"}};
	struct heart again = {.id = "a2", .instance = "i", .topics = {"apples"}};
	join_as(&a);
	join_as(&b);
	beat(&a);
	beat(&a);
	beat(&b);
	assert_int_equal(join_as(&again), KE_UNRELEASED_INSTANCE_ID);
	assert_int_equal(beat_as(&a, -2, false), KE_NONE);
	beat(&b);
	owns(&b, 3); /* nothing has moved */
	assert_int_equal(join_as(&again), KE_NONE);
	beat(&again);
	owns(&again, 3);
	assert_int_equal(beat_as(&a, 2, true), KE_FENCED_INSTANCE_ID);
}

static void test_a_topic_that_grows_is_shared_out_again(void **state)
{
	struct heart a = {.id = "a", .topics = {"apples"}};
	join_as(&a);
	set_topics(9, 0, 0);
	beat(&a);
	owns(&a, 9);
}

static void test_topics_are_found_by_expression_as_they_come(void **state)
{
	struct heart a = {.id = "a", .regex = "(apples|cherr.*)"};
	struct heart bad = {.id = "b", .regex = "(("};
	join_as(&a);
	owns(&a, 6);
	set_topics(6, 5, 2);
	beat(&a);
	owns(&a, 8);
	assert_int_equal(join_as(&bad), KE_INVALID_REGULAR_EXPRESSION);
}

static void test_range_gives_runs_alike_over_topics(void **state)
{
	struct heart a = {.id = "a", .topics = {"apples", "bananas"}, .assignor = "range"};
	struct heart b = {.id = "b", .topics = {"apples", "bananas"}, .assignor = "range"};
	struct heart bad = {.id = "b", .topics = {"apples"}, .assignor = "sticky"};
	set_topics(4, 4, 0);
	join_as(&a);
	join_as(&b);
	beat(&a);
	beat(&a);
	beat(&b);
	static const int32_t first[] = {100, 101, 200, 201}, second[] = {102, 103, 202, 203};
	owns(&a, 4);
	owns(&b, 4);
	assert_memory_equal(a.parts, first, sizeof(first));
	assert_memory_equal(b.parts, second, sizeof(second));
	assert_int_equal(join_as(&bad), KE_UNSUPPORTED_ASSIGNOR);
}

static void test_an_empty_group_becomes_one_of_the_other_protocol(void **state)
{
	struct env *e = *state;
	struct heart a = {.id = "a", .topics = {"apples"}};
	struct client *c = client_new(e, "c");
	join_as(&a);
	assert_int_equal(join(e, c)->error, KE_INCONSISTENT_GROUP_PROTOCOL);
	assert_int_equal(beat_as(&a, -1, false), KE_NONE);
	e->text_len = 0;
	e->text[0] = 0;
	join_twice(e, c);
	pass_ms(e, 3002);
	lead(e, c, c);
	expect(e, "c joined 3 range leader c of c=c\nc synced \"c!\"\n");
	assert_int_equal(join_as(&a), KE_GROUP_ID_NOT_FOUND);
	leave(e, c);
	assert_int_equal(join_as(&a), KE_NONE);
	owns(&a, 6);
	restart_consumers(e);
	beat(&a);
	owns(&a, 6);
}

static void test_bad_heartbeats_are_refused(void **state)
{
	struct heart a = {.id = "", .topics = {"apples"}};
	assert_int_equal(join_as(&a), KE_INVALID_REQUEST);
	a.id = "a";
	assert_int_equal(beat_as(&a, -3, false), KE_INVALID_REQUEST);
	assert_int_equal(beat_as(&a, -2, false), KE_INVALID_REQUEST); /* has no instance */
	a.instance = "";
	assert_int_equal(join_as(&a), KE_INVALID_REQUEST);
}

#define consumer_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		consumer_test(test_the_first_member_has_everything_at_once),
		consumer_test(test_a_partition_goes_over_when_it_has_been_given_up),
		consumer_test(test_what_is_told_is_durable),
		consumer_test(test_a_write_that_fails_is_told_and_made_good),
		consumer_test(test_a_restart_changes_nothing),
		consumer_test(test_a_silent_member_is_out_and_the_others_take_over),
		consumer_test(test_who_does_not_give_up_in_time_is_out),
		consumer_test(test_epochs_fence),
		consumer_test(test_a_static_member_keeps_its_place),
		consumer_test(test_a_topic_that_grows_is_shared_out_again),
		consumer_test(test_topics_are_found_by_expression_as_they_come),
		consumer_test(test_range_gives_runs_alike_over_topics),
		consumer_test(test_an_empty_group_becomes_one_of_the_other_protocol),
		consumer_test(test_bad_heartbeats_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
