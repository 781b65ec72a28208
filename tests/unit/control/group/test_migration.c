/* SPDX-License-Identifier: Apache-2.0 */
/* Online migration (KIP-848): members of both protocols in one group, and from one to the other. */
#include "control/group/con.h"
#include "unit/control/group/consumer_world.h"

#define OLD ((enum api)98)

/* A member of the classic protocol that says what Kafka's consumers do. */
struct old {
	struct token t; /* must be first: the environment's */
	enum api what;
	const char *instance;
	const char *protocol;
	const char *type;
	int32_t cut; /* bytes that are missing from its subscription */
	char id[128];
	int32_t generation;
	int16_t error;
	bool leads;
	int32_t parts[64]; /* topic number * 100 + partition */
	uint32_t n_parts;
};

struct bytes {
	uint8_t b[1024];
	uint32_t n;
};

static void put16(struct bytes *o, uint16_t v)
{
	be16_put(o->b + o->n, v);
	o->n += 2;
}
static void put32(struct bytes *o, uint32_t v)
{
	be32_put(o->b + o->n, v);
	o->n += 4;
}
static void put_name(struct bytes *o, const char *s)
{
	put16(o, (uint16_t)strlen(s));
	memcpy(o->b + o->n, s, strlen(s));
	o->n += (uint32_t)strlen(s);
}
static void put_apples(struct bytes *o, const int32_t *parts, uint32_t n)
{
	put32(o, 1);
	put_name(o, "apples");
	put32(o, n);
	for (uint32_t i = 0; i < n; i++)
		put32(o, (uint32_t)parts[i] % 100);
}

static void take_assignment(struct old *o, struct kbytes a)
{
	struct rd r = rd_of(a.p, (size_t)max_of(a.len, 0));
	o->n_parts = 0;
	if (a.len == 0)
		return;
	assert_int_equal(rd_be16(&r), 0);
	for (uint32_t topics = rd_be32(&r); topics > 0; topics--) {
		struct kstr name = kp_rd_string(&r, false, false);
		int32_t number = name.p[0] - 'a' + 1;
		for (uint32_t n = rd_be32(&r); n > 0; n--)
			o->parts[o->n_parts++] = number * 100 + (int32_t)rd_be32(&r);
	}
	assert_false(r.bad);
}

static void on_old(void *ctx, void *token, const void *response)
{
	struct old *o = token;
	if (o->t.api != OLD) {
		on_reply(ctx, token, response);
		return;
	}
	if (o->what == JOIN) {
		const struct kp_join_group_response *r = response;
		o->error = r->error_code;
		if (!r->error_code || r->error_code == KE_MEMBER_ID_REQUIRED)
			kstr_copy(r->member_id, o->id, sizeof(o->id));
		o->generation = r->error_code ? o->generation : r->generation_id;
		o->leads = !r->error_code && r->n_members > 0;
	} else if (o->what == SYNC) {
		const struct kp_sync_group_response *r = response;
		o->error = r->error_code;
		if (!r->error_code)
			take_assignment(o, r->assignment);
	} else if (o->what == HEARTBEAT) {
		o->error = ((const struct kp_heartbeat_response *)response)->error_code;
	} else {
		const struct kp_leave_group_response *r = response;
		o->error = r->error_code ? r->error_code : r->members[0].error_code;
	}
}

static void ask(struct old *o, enum api what)
{
	world.other = on_old;
	o->t.api = OLD;
	o->what = what;
	o->error = -99;
}

/* claims: it says that it still has o->parts. */
static int16_t old_join(struct old *o, bool claims)
{
	struct env *e = world.e;
	struct bytes says = {0};
	uint8_t random[GRP_RANDOM_SIZE] = {0};
	struct kp_join_group_request req;
	put16(&says, 1);
	put32(&says, 1);
	put_name(&says, "apples");
	put32(&says, UINT32_MAX);
	put_apples(&says, o->parts, claims ? o->n_parts : 0);
	struct kp_join_group_request_protocol p = {
		.name = kstr_of(o->protocol ? o->protocol : "range"),
		.metadata = {.p = says.b, .len = (int32_t)says.n - o->cut}};
	kp_default_join_group_request(&req);
	req.group_id = kstr_of("g");
	req.session_timeout_ms = 10000;
	req.rebalance_timeout_ms = 60000;
	req.member_id = kstr_of(o->id);
	req.group_instance_id = kstr_of(o->instance);
	req.protocol_type = kstr_of(o->type ? o->type : "consumer");
	req.protocols = &p;
	req.n_protocols = 1;
	be32_put(random + 12, e->next_random++);
	const struct grp_client client = {.id = kstr_of("old"), .host = kstr_of("/10.0.0.1")};
	ask(o, JOIN);
	grp_join(e->core, e->now, &o->t, 5, &client, random, &req);
	after(e);
	return o->error == KE_MEMBER_ID_REQUIRED ? old_join(o, claims) : o->error;
}

/* A leader shares out six apples to n members, itself among them. */
static int16_t old_sync(struct old *o, struct old **to, uint32_t n)
{
	struct env *e = world.e;
	static struct bytes b[32];
	struct kp_sync_group_request_assignment a[32];
	struct kp_sync_group_request req;
	kp_default_sync_group_request(&req);
	req.group_id = kstr_of("g");
	req.generation_id = o->generation;
	req.member_id = kstr_of(o->id);
	req.group_instance_id = kstr_of(o->instance);
	req.assignments = a;
	req.n_assignments = (int32_t)n;
	for (uint32_t i = 0; i < n; i++) {
		const int32_t apples[] = {0, 1, 2, 3, 4, 5};
		uint32_t from = i * 6 / n, end = (i + 1) * 6 / n;
		b[i].n = 0;
		put16(&b[i], 0);
		put_apples(&b[i], apples + from, end - from);
		put32(&b[i], UINT32_MAX);
		a[i].member_id = kstr_of(to[i]->id);
		a[i].assignment = (struct kbytes){.p = b[i].b, .len = (int32_t)b[i].n};
	}
	ask(o, SYNC);
	grp_sync(e->core, e->now, &o->t, &req);
	after(e);
	return o->error;
}

static int16_t old_beat(struct old *o)
{
	struct env *e = world.e;
	struct kp_heartbeat_request req;
	kp_default_heartbeat_request(&req);
	req.group_id = kstr_of("g");
	req.generation_id = o->generation;
	req.member_id = kstr_of(o->id);
	req.group_instance_id = kstr_of(o->instance);
	ask(o, HEARTBEAT);
	grp_heartbeat(e->core, e->now, &o->t, &req);
	after(e);
	return o->error;
}

static int16_t old_leave(struct old *o)
{
	struct env *e = world.e;
	struct kp_leave_group_request req;
	struct kp_leave_group_request_member one;
	kp_default_leave_group_request(&req);
	kp_default_leave_group_request_member(&one);
	req.group_id = kstr_of("g");
	one.member_id = kstr_of(o->id);
	one.group_instance_id = kstr_of(o->instance);
	req.members = &one;
	req.n_members = 1;
	ask(o, LEAVE);
	grp_leave(e->core, e->now, &o->t, 3, &req);
	after(e);
	return o->error;
}

static void has(const struct old *o, uint32_t n)
{
	assert_int_equal(o->error, KE_NONE);
	assert_int_equal(o->n_parts, n);
}

/* A classic group of these. */
static void classic_group(struct old **v, uint32_t n)
{
	uint32_t leader = 0;
	for (uint32_t i = 0; i < n; i++)
		old_join(v[i], false);
	pass_ms(world.e, 6002);
	for (uint32_t i = 0; i < n; i++) {
		assert_int_equal(v[i]->error, KE_NONE);
		leader = v[i]->leads ? i : leader;
	}
	assert_int_equal(old_sync(v[leader], v, n), KE_NONE);
	for (uint32_t i = 0; i < n; i++)
		if (i != leader)
			assert_int_equal(old_sync(v[i], NULL, 0), KE_NONE);
}

static void alone(struct old *a)
{
	classic_group(&a, 1);
	has(a, 6);
	assert_int_equal(a->generation, 1);
}

/* a of the classic protocol and b of the other have three partitions each. */
static void both(struct old *a, struct heart *b)
{
	alone(a);
	assert_int_equal(join_as(b), KE_NONE);
	assert_int_equal(old_join(a, false), KE_NONE);
	assert_int_equal(old_sync(a, NULL, 0), KE_NONE);
	beat(b);
	has(a, 3);
	owns(b, 3);
	assert_string_equal(describe("g"), "Stable 2/2 uniform 2");
}

static void test_a_cooperative_member_gives_up_what_the_newer_one_gets(void **state)
{
	struct old a = {.protocol = "cooperative-sticky"};
	struct heart b = {.id = "b", .topics = {"apples"}};
	alone(&a);
	assert_int_equal(join_as(&b), KE_NONE);
	assert_int_equal(b.epoch, 2);
	owns(&b, 0); /* a has all of it */
	assert_int_equal(old_beat(&a), KE_REBALANCE_IN_PROGRESS);
	assert_int_equal(old_join(&a, true), KE_NONE);
	assert_int_equal(a.generation, 1);
	assert_false(a.leads);
	old_sync(&a, NULL, 0);
	has(&a, 3);
	beat(&b);
	owns(&b, 0); /* told to, but it has not yet */
	assert_int_equal(old_beat(&a), KE_REBALANCE_IN_PROGRESS);
	assert_int_equal(old_join(&a, true), KE_NONE);
	assert_int_equal(a.generation, 2);
	old_sync(&a, NULL, 0);
	has(&a, 3);
	beat(&b);
	owns(&b, 3);
	assert_int_equal(old_beat(&a), KE_NONE);
	assert_string_equal(describe("g"), "Stable 2/2 uniform 2");
}

static void test_an_eager_member_gets_its_part_at_once(void **state)
{
	struct old a = {0};
	struct heart b = {.id = "b", .topics = {"apples"}};
	both(&a, &b);
	assert_int_equal(a.generation, 2);
	assert_int_equal(old_beat(&a), KE_NONE);
}

static void test_a_classic_member_comes_to_a_consumer_group(void **state)
{
	struct heart b = {.id = "b", .topics = {"apples"}};
	struct old a = {0};
	join_as(&b);
	assert_int_equal(old_join(&a, false), KE_NONE);
	assert_int_equal(a.generation, 2);
	old_sync(&a, NULL, 0);
	has(&a, 0);
	assert_int_equal(old_beat(&a), KE_NONE); /* nothing to be had yet */
	beat(&b);
	beat(&b);
	owns(&b, 3);
	assert_int_equal(old_beat(&a), KE_REBALANCE_IN_PROGRESS);
	assert_int_equal(old_join(&a, true), KE_NONE);
	old_sync(&a, NULL, 0);
	has(&a, 3);
	assert_int_equal(old_leave(&a), KE_NONE);
	beat(&b);
	owns(&b, 6);
}

static void test_a_static_member_goes_over_with_all_it_has(void **state)
{
	struct old a = {.instance = "i"};
	struct heart b = {.id = "b", .instance = "i", .topics = {"apples"}};
	alone(&a);
	assert_int_equal(join_as(&b), KE_NONE);
	owns(&b, 6);
	assert_int_equal(old_beat(&a), KE_FENCED_INSTANCE_ID);
	/* and back */
	struct old c = {.instance = "i"};
	assert_int_equal(old_join(&c, false), KE_NONE);
	assert_int_equal(beat(&b), KE_FENCED_INSTANCE_ID);
	assert_int_equal(
		old_sync(&c, NULL, 0), KE_REBALANCE_IN_PROGRESS); /* among themselves now */
	old_join(&c, false);
	assert_true(c.leads);
	old_sync(&c, &(struct old *){&c}, 1);
	has(&c, 6);
}

static void test_when_the_last_newer_one_leaves_the_group_is_classic(void **state)
{
	struct env *e = *state;
	struct old a = {0};
	struct heart b = {.id = "b", .topics = {"apples"}};
	both(&a, &b);
	assert_int_equal(beat_as(&b, -1, false), KE_NONE);
	assert_int_equal(old_beat(&a), KE_REBALANCE_IN_PROGRESS);
	assert_int_equal(old_join(&a, false), KE_NONE);
	assert_true(a.leads);
	assert_true(a.generation > 2);
	old_sync(&a, &(struct old *){&a}, 1);
	has(&a, 6);
	restart_consumers(e);
	assert_int_equal(old_beat(&a), KE_NONE);
	assert_int_equal(beat(&b), KE_GROUP_ID_NOT_FOUND);
}

static void test_a_restart_amid_the_way_back_asks_all_to_join(void **state)
{
	struct old a = {0};
	struct heart b = {.id = "b", .topics = {"apples"}};
	both(&a, &b);
	assert_int_equal(beat_as(&b, -1, false), KE_NONE);
	restart_consumers(*state);
	assert_int_equal(old_beat(&a), KE_REBALANCE_IN_PROGRESS);
	old_join(&a, false);
	assert_true(a.leads);
}

static void test_a_newer_one_that_falls_silent_is_the_last_too(void **state)
{
	struct old a = {0};
	struct heart b = {.id = "b", .topics = {"apples"}};
	both(&a, &b);
	for (int i = 0; i < 9; i++) {
		pass_ms(world.e, 5000);
		old_beat(&a);
	}
	pass_ms(world.e, 1000);
	assert_int_equal(old_beat(&a), KE_REBALANCE_IN_PROGRESS);
	old_join(&a, false);
	assert_true(a.leads);
}

static void test_who_does_not_join_again_is_out(void **state)
{
	struct old a = {0};
	struct heart b = {.id = "b", .topics = {"apples"}};
	alone(&a);
	join_as(&b);
	for (int i = 0; i < 12; i++) {
		assert_int_equal(old_beat(&a), KE_REBALANCE_IN_PROGRESS);
		beat(&b);
		pass_ms(world.e, 5000);
	}
	assert_int_equal(old_beat(&a), KE_UNKNOWN_MEMBER_ID);
	beat(&b);
	owns(&b, 6);
}

static void test_a_mixed_group_survives_a_restart(void **state)
{
	struct env *e = *state;
	struct old a = {0};
	struct heart b = {.id = "b", .topics = {"apples"}};
	both(&a, &b);
	restart_consumers(e);
	assert_string_equal(describe("g"), "Stable 2/2 uniform 2");
	assert_int_equal(old_beat(&a), KE_NONE);
	beat(&b);
	owns(&b, 3);
	/* with what it offers: it can be a classic group's again */
	beat_as(&b, -1, false);
	old_join(&a, false);
	assert_true(a.leads);
}

static void test_generations_fence_in_a_consumer_group(void **state)
{
	struct env *e = *state;
	struct old a = {0};
	struct heart b = {.id = "b", .topics = {"apples"}};
	both(&a, &b);
	struct client *c = client_new(e, "c");
	snprintf(c->id, sizeof(c->id), "%s", a.id);
	c->generation = 1;
	commit_with(e, c, (struct commit_args){.version = 5, .offset = 1});
	c->generation = 2;
	commit_with(e, c, (struct commit_args){.version = 5, .offset = 2});
	expect(e, "c commit: t-0 ILLEGAL_GENERATION\nc commit: t-0 NONE\n");
	a.generation = 1;
	assert_int_equal(old_beat(&a), KE_ILLEGAL_GENERATION);
	assert_int_equal(old_sync(&a, NULL, 0), KE_ILLEGAL_GENERATION);
}

static void test_a_migration_that_is_not_written_has_not_happened(void **state)
{
	struct env *e = *state;
	struct old a = {0};
	struct heart b = {.id = "b", .topics = {"apples"}};
	alone(&a);
	e->fail_writes = KE_KAFKA_STORAGE_ERROR;
	assert_int_not_equal(join_as(&b), KE_NONE);
	e->fail_writes = KE_NONE;
	close_core(e);
	reopen(e);
	assert_int_equal(old_beat(&a), KE_NONE);
	/* and is made good with the next */
	e->fail_writes = KE_KAFKA_STORAGE_ERROR;
	assert_int_not_equal(join_as(&b), KE_NONE);
	e->fail_writes = KE_NONE;
	assert_int_equal(join_as(&b), KE_NONE);
	restart_consumers(e);
	assert_int_equal(old_beat(&a), KE_REBALANCE_IN_PROGRESS);
	assert_int_equal(beat(&b), KE_NONE);
}

static void test_a_large_group_goes_over_in_pieces(void **state)
{
	struct env *e = *state;
	enum { N = 12 };
	struct old v[N] = {0}, *all[N];
	struct heart b = {.id = "b", .topics = {"apples"}};
	uint32_t writes = 0;
	close_core(e);
	e->cfg.max_write_bytes = 3500;
	reopen(e);
	for (int i = 0; i < N; i++)
		all[i] = &v[i];
	classic_group(all, N);
	e->hold_writes = true;
	assert_int_equal(join_as(&b), -99);
	list_for_each (it, &e->writes)
		writes++;
	assert_true(writes > 1);
	e->hold_writes = false;
	after(e);
	assert_int_equal(b.error, KE_NONE);
	restart_consumers(e);
	assert_string_equal(describe("g"), "Reconciling 2/2 uniform 13");
	for (int i = 0; i < N; i++)
		assert_int_equal(old_beat(&v[i]), KE_REBALANCE_IN_PROGRESS);
}

static void test_what_cannot_be_understood_stays_out(void **state)
{
	struct heart b = {.id = "b", .topics = {"apples"}};
	join_as(&b);
	struct old other = {.type = "connect"};
	assert_int_equal(old_join(&other, false), KE_INCONSISTENT_GROUP_PROTOCOL);
	struct old a = {0}, c = {.protocol = "sticky"};
	assert_int_equal(old_join(&a, false), KE_NONE);
	/* a and c could not be among themselves */
	assert_int_equal(old_join(&c, false), KE_INCONSISTENT_GROUP_PROTOCOL);
	for (int32_t cut = 1; cut <= 35; cut++) {
		struct old bad = {.cut = cut};
		assert_int_equal(old_join(&bad, false), KE_INCONSISTENT_GROUP_PROTOCOL);
	}
	struct old liar = {.parts = {100, 101}, .n_parts = 2};
	assert_int_equal(old_join(&liar, true), KE_UNKNOWN_MEMBER_ID); /* cannot have them */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		consumer_test(test_a_cooperative_member_gives_up_what_the_newer_one_gets),
		consumer_test(test_an_eager_member_gets_its_part_at_once),
		consumer_test(test_a_classic_member_comes_to_a_consumer_group),
		consumer_test(test_a_static_member_goes_over_with_all_it_has),
		consumer_test(test_when_the_last_newer_one_leaves_the_group_is_classic),
		consumer_test(test_a_restart_amid_the_way_back_asks_all_to_join),
		consumer_test(test_a_newer_one_that_falls_silent_is_the_last_too),
		consumer_test(test_who_does_not_join_again_is_out),
		consumer_test(test_a_mixed_group_survives_a_restart),
		consumer_test(test_generations_fence_in_a_consumer_group),
		consumer_test(test_a_migration_that_is_not_written_has_not_happened),
		consumer_test(test_a_large_group_goes_over_in_pieces),
		consumer_test(test_what_cannot_be_understood_stays_out),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
