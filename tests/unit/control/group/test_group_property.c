/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Members that do anything in any order: join, sync, stay silent, come back, commit, hang up, while
 * writes are late or fail and the broker restarts. After each step every invariant holds; a synced
 * member has exactly the bytes that its generation's leader gave it; one leader per generation;
 * what the log says is what the coordinator knows; in the end every request was answered, once, and
 * no memory is left.
 */
#include "base/prng.h"
#include "control/group/group_int.h"
#include "unit/control/group/group_env.h"

#define GROUPS 3
#define MEMBERS 24
#define STEPS 1500
#define SEEDS 100
#define GENERATIONS 4096

struct world {
	struct env *e;
	struct prng rng;
	struct client *cl[MEMBERS];
	const char *group[MEMBERS];
	struct token *last[MEMBERS];		    /* request */
	struct client *leader[GROUPS][GENERATIONS]; /* that are not static */
	uint64_t told;
	uint64_t restarts;
};

static const char *const group_names[GROUPS] = {"g0", "g1", "polygenelubricants"};

static unsigned group_of(const struct world *w, unsigned i)
{
	for (unsigned g = 0; g < GROUPS; g++)
		if (w->group[i] == group_names[g])
			return g;
	abort();
}

/* What the leader of a generation assigns to a member: nothing to some of them. */
static void assignment_for(char out[128], int32_t generation, const char *id)
{
	unsigned h = 0;
	for (const char *p = id; *p; p++)
		h = h * 31 + (unsigned char)*p;
	if ((h + (unsigned)generation) % 7 == 0)
		out[0] = 0;
	else
		snprintf(out, 128, "%d/%.100s", generation, id);
}

/* A generation has one leader. (A static leader may get another id.) */
static void note_leader(struct env *e, struct client *cl, void *arg)
{
	struct world *w = arg;
	unsigned i = 0;
	while (w->cl[i] != cl)
		i++;
	if (!cl->leads || cl->instance)
		return;
	struct client **known = &w->leader[group_of(w, i)][cl->generation % GENERATIONS];
	assert_true(!*known || *known == cl);
	*known = cl;
}

static void do_join(struct world *w, unsigned i)
{
	w->last[i] = join_group(w->e, w->cl[i], w->group[i]);
}

/* As another one than before. */
static void do_odd_join(struct world *w, unsigned i)
{
	struct client *cl = w->cl[i];
	static const char *const protocols[] = {"p0", "p1", "p2"};
	if (prng_chance(&w->rng, 1, 6))
		cl->id[0] = 0; /* has forgotten who it is */
	if (prng_chance(&w->rng, 1, 4)) {
		unsigned n = 0;
		if (prng_chance(&w->rng, 1, 2))
			cl->protocols[n++] = protocols[1 + prng_below(&w->rng, 2)];
		cl->protocols[n++] = protocols[0];
		cl->protocols[n] = NULL;
		cl->meta = prng_chance(&w->rng, 1, 2) ? "+" : "";
	}
	do_join(w, i);
}

/* The leader's SyncGroup has bytes for whoever is in the group now. */
static void do_sync(struct world *w, unsigned i)
{
	struct env *e = w->e;
	struct client *cl = w->cl[i];
	struct kp_sync_group_request req;
	struct kp_sync_group_request_assignment a[MEMBERS * 2];
	static char texts[MEMBERS * 2][128], ids[MEMBERS * 2][128];
	kp_default_sync_group_request(&req);
	req.group_id = kstr_of(w->group[i]);
	req.generation_id = cl->generation;
	req.member_id = kstr_of(cl->id);
	req.group_instance_id = instance_of(cl);
	req.assignments = a;
	const struct grp *g = grp_get(e->core, req.group_id);
	if (g && g->leader && kstr_equal(g->leader->id, req.member_id)) {
		list_for_each (it, &g->members) {
			if (req.n_assignments == MEMBERS * 2)
				break;
			int32_t n = req.n_assignments;
			kstr_copy(list_entry(it, struct grp_member, node)->id, ids[n], 128);
			assignment_for(texts[n], cl->generation, ids[n]);
			if (!texts[n][0])
				continue;
			a[n].member_id = kstr_of(ids[n]);
			a[n].assignment = (struct kbytes){
				.p = (const uint8_t *)texts[n], .len = (int32_t)strlen(texts[n])};
			req.n_assignments++;
		}
	}
	w->last[i] = token_new(e, cl, SYNC);
	grp_sync(e->core, e->now, w->last[i], &req);
	after(e);
}

static void do_leave(struct world *w, unsigned i)
{
	w->last[i] =
		leave_version(w->e, w->cl[i], w->group[i], (int16_t)(prng_below(&w->rng, 2) * 3));
}

static void do_commit(struct world *w, unsigned i)
{
	w->last[i] = commit_with(w->e, w->cl[i],
		(struct commit_args){.group = w->group[i],
			.topic = prng_chance(&w->rng, 1, 3) ? "u" : "t",
			.partition = (int32_t)prng_below(&w->rng, 12),
			.offset = (int64_t)prng_below(&w->rng, 1000000),
			.metadata = prng_chance(&w->rng, 1, 2) ? "some text" : NULL,
			.keep_ms = prng_chance(&w->rng, 1, 10) ? 5000 : 0,
			.epoch = 4});
}

static void do_heartbeat(struct world *w, unsigned i)
{
	w->last[i] = heartbeat_group(w->e, w->cl[i], w->group[i]);
}

/* What a client does that has read the protocol. */
static void do_the_right_thing(struct world *w, unsigned i)
{
	const struct token *t = w->last[i];
	if (t && !t->answered)
		return;
	int16_t error = t ? t->error : KE_NONE;
	if (error == KE_UNKNOWN_MEMBER_ID || error == KE_ILLEGAL_GENERATION ||
		error == KE_FENCED_INSTANCE_ID || (t && t->api == LEAVE))
		w->cl[i]->id[0] = 0;
	if (!t || error || t->api == LEAVE)
		do_join(w, i);
	else if (t->api == JOIN)
		do_sync(w, i);
	else if (prng_chance(&w->rng, 1, 3))
		do_commit(w, i);
	else
		do_heartbeat(w, i);
}

/* ---- what must be true ---- */

static void check_same_offsets(const struct grp_core *a, struct grp_core *b)
{
	list_for_each (it, &a->groups) {
		const struct grp *g = list_entry(it, struct grp, node), *h;
		assert_int_equal(grp_find(b, g->id, &h), KE_NONE);
		const struct grp_topic *t = NULL;
		while ((t = grp_topic_next(g, t))) {
			uint32_t n;
			const struct grp_offset *v = grp_topic_offsets(t, &n);
			for (uint32_t i = 0; i < n; i++) {
				assert_non_null(h);
				const struct grp_offset *o =
					grp_offset_find(h, t->name, v[i].partition);
				assert_non_null(o);
				assert_int_equal(o->offset, v[i].offset);
				assert_true(kstr_equal(o->metadata, v[i].metadata));
			}
		}
	}
	assert_int_equal(grp_core_stats(a).offsets, grp_core_stats(b).offsets);
}

static void check_same_members(const struct grp *g, const struct grp *h)
{
	assert_non_null(h);
	assert_int_equal(h->state, GRP_STABLE);
	assert_int_equal(h->generation, g->generation);
	assert_int_equal(h->members_by_id.count, g->members_by_id.count);
	assert_true(kstr_equal(h->leader->id, g->leader->id));
	assert_true(kstr_equal(h->protocol, g->protocol));
	list_for_each (it, &g->members) {
		const struct grp_member *m = list_entry(it, struct grp_member, node);
		const struct grp_member *n = grp_member_find(h, m->id);
		assert_non_null(n);
		assert_true(kstr_equal(n->instance, m->instance));
		assert_int_equal(n->assignment.len, m->assignment.len);
		if (m->assignment.len > 0)
			assert_memory_equal(
				n->assignment.p, m->assignment.p, (size_t)m->assignment.len);
	}
}

static void drop_reply(void *ctx, void *token, const void *response)
{
	fail_msg("nobody asked");
}

static void take_write(void *ctx, struct grp_write *w)
{
	struct list *writes = ctx;
	list_push_back(writes, &w->node);
}

/* A second coordinator that has read the log knows the same as the one at work. */
static void check_against_the_log(struct world *w)
{
	struct env *e = w->e;
	while (write_one(e, KE_NONE))
		;
	struct list writes;
	list_init(&writes);
	struct grp_sink sink = {.ctx = &writes, .reply = drop_reply, .append = take_write};
	struct grp_core *other = grp_core_open(&e->cfg, &sink, e->now);
	assert_int_equal(grp_set_partitions(other, PARTS, e->now), 0);
	replay_all(e, other);
	grp_check(other);
	check_same_offsets(e->core, other);
	list_for_each (it, &e->core->groups) {
		const struct grp *g = list_entry(it, struct grp, node);
		if (g->state == GRP_STABLE)
			check_same_members(g, grp_get(other, g->id));
	}
	grp_drain(other, e->now);
	assert_true(list_empty(&writes));
	grp_core_close(other);
}

/* Every stable member has what the leader of its generation gave it; one leader per generation. */
static void check_assignments(struct world *w)
{
	list_for_each (it, &w->e->core->groups) {
		const struct grp *g = list_entry(it, struct grp, node);
		if (g->state != GRP_STABLE)
			continue;
		list_for_each (n, &g->members) {
			const struct grp_member *m = list_entry(n, struct grp_member, node);
			if (m->instance.len >= 0)
				continue; /* may have another id by now */
			char id[128], want[128];
			kstr_copy(m->id, id, sizeof(id));
			assignment_for(want, g->generation, id);
			assert_int_equal(m->assignment.len, strlen(want));
			if (m->assignment.len > 0)
				assert_memory_equal(m->assignment.p, want, strlen(want));
		}
	}
}

/* A group that is made anew counts generations from the beginning. */
static void forget_leaders(struct world *w)
{
	for (unsigned g = 0; g < GROUPS; g++)
		if (!grp_get(w->e->core, kstr_of(group_names[g])))
			memset(w->leader[g], 0, sizeof(w->leader[g]));
}

/* A member is told exactly what the leader of its generation gave it. */
static void check_synced(struct env *e, struct token *t, void *arg)
{
	struct world *w = arg;
	char want[128];
	if (t->cl->instance)
		return; /* its id may have been replaced meanwhile */
	assignment_for(want, t->generation, t->id);
	assert_string_equal(t->cl->assignment, want);
	w->told += want[0] != 0;
}

/* ---- the run ---- */

static void do_time(struct world *w)
{
	static const int32_t ms[] = {1, 1, 1, 20, 20, 200, 700, 4000};
	pass_ms(w->e, ms[prng_below(&w->rng, array_size(ms))]);
}

static void do_writes(struct world *w)
{
	struct env *e = w->e;
	for (uint64_t n = prng_below(&w->rng, 4); n > 0 && !list_empty(&e->writes); n--) {
		const struct grp_write *x =
			list_entry(list_front(&e->writes), struct grp_write, node);
		bool may_fail = x->kind == GRP_W_COMMIT || x->kind == GRP_W_SYNC;
		write_one(e,
			may_fail && prng_chance(&w->rng, 1, 10) ? KE_KAFKA_STORAGE_ERROR : KE_NONE);
	}
	grp_check(e->core);
}

static void do_restart(struct world *w)
{
	restart(w->e);
	for (uint32_t i = 0; i < w->e->token_count; i++)
		free(w->e->tokens[i]);
	w->e->token_count = 0;
	memset(w->last, 0, sizeof(w->last));
	memset(w->leader, 0, sizeof(w->leader)); /* generations that were not stored come again */
	w->restarts++;
}

/* Offers nothing that the others know; but the first one to come may. */
static void do_strange_join(struct world *w, unsigned i)
{
	struct client *cl = w->cl[i], before = *cl;
	cl->protocols[0] = "odd";
	cl->protocols[1] = NULL;
	cl->id[0] = 0;
	do_join(w, i);
	if (w->last[i]->answered && w->last[i]->error == KE_INCONSISTENT_GROUP_PROTOCOL)
		*cl = before;
	else
		cl->protocols[1] = "p0";
	cl->protocols[2] = NULL;
}

static void do_anything(struct world *w, unsigned i)
{
	switch (prng_below(&w->rng, 7)) {
	case 0:
		do_odd_join(w, i);
		break;
	case 1:
		do_sync(w, i);
		break;
	case 2:
		do_heartbeat(w, i);
		break;
	case 3:
		do_leave(w, i);
		break;
	case 4:
		do_commit(w, i);
		break;
	case 5:
		w->last[i] = NULL; /* its connection is gone */
		break;
	case 6:
		do_strange_join(w, i);
		break;
	}
}

static void step(struct world *w)
{
	unsigned i = (unsigned)prng_below(&w->rng, MEMBERS);
	uint64_t what = prng_below(&w->rng, 200);
	if (what < 120)
		do_the_right_thing(w, i);
	else if (what < 130)
		do_anything(w, i);
	else if (what < 160)
		do_time(w);
	else if (what < 198)
		do_writes(w);
	else if (prng_chance(&w->rng, 1, 4))
		do_restart(w);
	else
		check_against_the_log(w);
	check_assignments(w);
	forget_leaders(w);
	w->e->text_len = 0;
}

static void make_clients(struct world *w)
{
	static char names[MEMBERS][8];
	static const char *const instances[] = {"one", "two", "three"};
	static const int16_t versions[] = {0, 3, 5, 5, 7, 9};
	for (unsigned i = 0; i < MEMBERS; i++) {
		snprintf(names[i], sizeof(names[i]), "c%u", i);
		w->cl[i] = client_new(w->e, names[i]);
		w->cl[i]->version = versions[prng_below(&w->rng, array_size(versions))];
		w->cl[i]->protocols[0] = "p0";
		w->cl[i]->session_ms = 6000 + (int32_t)prng_below(&w->rng, 60000);
		w->cl[i]->rebalance_ms = 4000 + (int32_t)prng_below(&w->rng, 20000);
		w->group[i] = group_names[i % GROUPS];
		if (w->cl[i]->version >= 5 && prng_chance(&w->rng, 1, 4))
			w->cl[i]->instance = instances[prng_below(&w->rng, 3)];
	}
}

static uint64_t run(uint64_t seed, uint64_t *stable, uint64_t *restarts)
{
	struct env *e;
	struct world *w = calloc(1, sizeof(*w));
	setup_env((void **)&e);
	close_core(e);
	e->cfg.offsets_retention_ms = 60000;
	e->cfg.expiry_interval_ms = 10000;
	e->cfg.max_size = 7;
	e->cfg.new_member_ms = 30000;
	open_core(e);
	replay_all(e, e->core);
	e->hold_writes = true;
	w->e = e;
	w->rng.s = seed;
	make_clients(w);
	e->joined = note_leader;
	e->synced = check_synced;
	e->watch_arg = w;
	for (int i = 0; i < STEPS; i++)
		step(w);
	check_against_the_log(w);
	char dump[8192];
	grp_dump(e->core, dump, sizeof(dump));
	uint64_t hash = seed;
	for (const char *p = dump; *p; p++)
		hash = hash * 1099511628211ull ^ (uint8_t)*p;
	*stable += w->told;
	*restarts += w->restarts;
	void *state = e;
	teardown_env(&state); /* all answered, no memory */
	free(w);
	return hash;
}

static void test_any_order_of_requests_keeps_every_group_in_order(void **state)
{
	uint64_t stable = 0, restarts = 0;
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		uint64_t hash = run(seed, &stable, &restarts);
		if (seed % 8 == 0) /* the same seed, the same end */
			assert_int_equal(run(seed, &stable, &restarts), hash);
	}
	print_message("%llu assignments, %llu restarts\n", (unsigned long long)stable,
		(unsigned long long)restarts);
	assert_true(stable > 1000); /* it is no test if groups never become stable */
	assert_true(restarts > SEEDS / 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_any_order_of_requests_keeps_every_group_in_order),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
