/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Members of the classic protocol in the group that those of the consumer protocol come to: the
 * group changes its protocol under them, back and forth (KIP-848, "Online migration"). In a world
 * they are all eager or all cooperative. A leader shares out by turns; a cooperative one gives a
 * partition that somebody else still holds to nobody. Requests of a member arrive in order.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "control/group/con.h"
#include "gs.h"

#define HEARTBEAT_MS 2000
#define PATIENCE_MS 90000
#define RETRY_MS 300
#define BYTES_MAX (4 * GS_PARTS_MAX + 64)

/* A member as its leader sees it. */
struct share {
	char id[GS_ID];
	bool owned[GS_PARTS_MAX];
};

struct ask {
	struct list node; /* of gs.old_asks, while the coordinator has it */
	struct gs_old *m;
	enum gs_api api;
	uint64_t life, serial, deadline_ns;
	bool answered;
	char id[GS_ID];
	int32_t generation;
	bool owned[GS_PARTS_MAX];
	int32_t partition;
	int64_t value;
	int16_t before;
	uint32_t n_shares; /* of the leader: told by JoinGroup, shared out with SyncGroup */
	struct share *shares;
	/* the answer */
	int16_t error;
	int32_t told_generation;
	char told_id[GS_ID];
	bool parts[GS_PARTS_MAX];
};

static void ask_free(void *arg)
{
	struct ask *a = arg;
	free(a->shares);
	free(a);
}

/* ---- what members say to each other ---- */

static uint8_t *put_parts(uint8_t *at, const bool *parts)
{
	be32_put(at, 1);
	be16_put(at + 4, 1);
	at[6] = 't';
	uint8_t *count = at + 7;
	uint32_t n = 0;
	for (uint32_t p = 0; p < GS_PARTS_MAX; p++)
		if (parts[p])
			be32_put(count + 4 + 4ul * n++, p);
	be32_put(count, n);
	return count + 4 + 4ul * n;
}

static const uint8_t *get_parts(struct gs *w, const uint8_t *at, bool *parts)
{
	memset(parts, 0, GS_PARTS_MAX * sizeof(*parts));
	if (be32_get(at) == 0)
		return at + 4;
	uint32_t n = be32_get(at + 7);
	GS_MUST(w, be32_get(at) == 1 && at[6] == 't', "partitions of a topic that nobody reads");
	for (uint32_t i = 0; i < n; i++) {
		uint32_t p = be32_get(at + 11 + 4ul * i);
		GS_MUST(w, p < w->n_topic_parts, "partition %u does not exist", p);
		parts[p] = true;
	}
	return at + 11 + 4ul * n;
}

/* Version, "t", no user data; what it owns. */
static int32_t put_subscription(uint8_t *out, const bool *owned)
{
	be16_put(out, 1);
	be32_put(out + 2, 1);
	be16_put(out + 6, 1);
	out[8] = 't';
	be32_put(out + 9, UINT32_MAX);
	return (int32_t)(put_parts(out + 13, owned) - out);
}

static int32_t put_assignment(uint8_t *out, const bool *parts)
{
	be16_put(out, 0);
	uint8_t *end = put_parts(out + 2, parts);
	be32_put(end, UINT32_MAX);
	return (int32_t)(end + 4 - out);
}

/* Whom partition p goes to; NULL: nobody yet. */
static const struct share *choose(const struct gs *w, const struct ask *a, uint32_t p)
{
	const struct share *to = &a->shares[p % a->n_shares];
	for (uint32_t i = 0; w->old_cooperative && i < a->n_shares; i++)
		if (a->shares[i].owned[p] && &a->shares[i] != to)
			return NULL;
	return to;
}

/* ---- requests, as the coordinator gets them ---- */

static const struct grp *group_of(const struct gs *w)
{
	return w->core ? grp_get(w->core, kstr_of(GS_CONSUMERS)) : NULL;
}

static struct kstr instance_of(const struct gs_old *m)
{
	return m->instance[0] ? kstr_of(m->instance) : KSTR_NULL;
}

static void do_join(struct gs *w, struct ask *a)
{
	const struct gs_old *m = a->m;
	uint8_t random[GRP_RANDOM_SIZE] = {0}, metadata[BYTES_MAX];
	uint64_t r = prng_next(&w->rng);
	memcpy(random, &r, sizeof(r));
	const struct grp_client client = {.id = kstr_of(m->name), .host = kstr_of("/10.0.0.2")};
	struct kp_join_group_request_protocol protocol = {
		.name = kstr_of(w->old_cooperative ? "cooperative-sticky" : "range"),
		.metadata = {.p = metadata, .len = put_subscription(metadata, a->owned)}};
	struct kp_join_group_request req;
	kp_default_join_group_request(&req);
	req.group_id = kstr_of(GS_CONSUMERS);
	req.session_timeout_ms = m->session_ms;
	req.rebalance_timeout_ms = m->rebalance_ms;
	req.member_id = kstr_of(a->id);
	req.group_instance_id = instance_of(m);
	req.protocol_type = kstr_of("consumer");
	req.protocols = &protocol;
	req.n_protocols = 1;
	grp_join(w->core, w->now, a, m->version, &client, random, &req);
}

static void do_sync(struct gs *w, struct ask *a)
{
	struct kp_sync_group_request req;
	kp_default_sync_group_request(&req);
	req.group_id = kstr_of(GS_CONSUMERS);
	req.generation_id = a->generation;
	req.member_id = kstr_of(a->id);
	req.group_instance_id = instance_of(a->m);
	uint8_t *bytes = malloc((size_t)a->n_shares * BYTES_MAX + 1);
	req.assignments = malloc((a->n_shares + 1ul) * sizeof(*req.assignments));
	CHECK(bytes && req.assignments);
	for (uint32_t i = 0; i < a->n_shares; i++) {
		bool parts[GS_PARTS_MAX] = {0};
		for (uint32_t p = 0; p < w->n_topic_parts; p++)
			parts[p] = choose(w, a, p) == &a->shares[i];
		uint8_t *out = bytes + (size_t)i * BYTES_MAX;
		req.assignments[i] = (struct kp_sync_group_request_assignment){
			.member_id = kstr_of(a->shares[i].id),
			.assignment = {.p = out, .len = put_assignment(out, parts)}};
	}
	req.n_assignments = (int32_t)a->n_shares;
	grp_sync(w->core, w->now, a, &req);
	free(req.assignments);
	free(bytes);
}

static void do_heartbeat(struct gs *w, struct ask *a)
{
	struct kp_heartbeat_request req;
	kp_default_heartbeat_request(&req);
	req.group_id = kstr_of(GS_CONSUMERS);
	req.generation_id = a->generation;
	req.member_id = kstr_of(a->id);
	req.group_instance_id = instance_of(a->m);
	grp_heartbeat(w->core, w->now, a, &req);
}

static void do_leave(struct gs *w, struct ask *a)
{
	struct kp_leave_group_request req;
	struct kp_leave_group_request_member one;
	kp_default_leave_group_request(&req);
	kp_default_leave_group_request_member(&one);
	req.group_id = kstr_of(GS_CONSUMERS);
	one.member_id = kstr_of(a->id);
	one.group_instance_id = instance_of(a->m);
	req.members = &one;
	req.n_members = 1;
	grp_leave(w->core, w->now, a, 3, &req);
}

/* The generation, or epoch, that the coordinator has for this member; -1: it is none. */
static int32_t known_generation(const struct gs *w, const char *id)
{
	const struct grp *g = group_of(w);
	if (g && g->con) {
		const struct con_member *m = con_member_find(g->con, kstr_of(id));
		return m && m->classic ? m->epoch : -1;
	}
	return g && grp_member_find(g, kstr_of(id)) ? g->generation : -1;
}

static void do_commit(struct gs *w, struct ask *a)
{
	struct kp_offset_commit_request req;
	struct kp_offset_commit_request_topic t;
	struct kp_offset_commit_request_partition p;
	kp_default_offset_commit_request(&req);
	kp_default_offset_commit_request_topic(&t);
	kp_default_offset_commit_request_partition(&p);
	req.group_id = kstr_of(GS_CONSUMERS);
	req.generation_id = a->generation;
	req.member_id = kstr_of(a->id);
	req.group_instance_id = instance_of(a->m);
	req.topics = &t;
	req.n_topics = 1;
	t.name = kstr_of("t");
	t.partitions = &p;
	t.n_partitions = 1;
	p.index = a->partition;
	p.committed_offset = a->value;
	p.committed_metadata = kstr_of("");
	a->before = known_generation(w, a->id) == a->generation ? KE_NONE : KE_ILLEGAL_GENERATION;
	grp_commit(w->core, w->now, a, 7, &req, NULL);
}

static void deliver(struct gs *w, void *arg)
{
	struct ask *a = arg;
	struct gs_old *m = a->m;
	static void (*const does[])(struct gs * w, struct ask * a) = {
		[GS_JOIN] = do_join,
		[GS_SYNC] = do_sync,
		[GS_HEARTBEAT] = do_heartbeat,
		[GS_LEAVE] = do_leave,
		[GS_COMMIT] = do_commit,
	};
	if (!w->core || a->life != m->sent_life || a->serial < m->arrived) {
		ask_free(a); /* nobody listens, or the connection is gone */
		return;
	}
	m->arrived = a->serial;
	a->deadline_ns = w->now.ns + PATIENCE_MS * GS_MS;
	list_push_back(&w->old_asks, &a->node);
	does[a->api](w, a);
}

/* ---- answers, as the coordinator gives them ---- */

static void take_join(struct gs *w, struct ask *a, const struct kp_join_group_response *r)
{
	a->error = r->error_code;
	a->told_generation = r->generation_id;
	gs_copy_id(a->told_id, r->member_id);
	if (r->error_code || r->n_members <= 0 || r->skip_assignment)
		return;
	a->n_shares = (uint32_t)r->n_members;
	a->shares = calloc(a->n_shares, sizeof(*a->shares));
	CHECK(a->shares);
	for (uint32_t i = 0; i < a->n_shares; i++) {
		gs_copy_id(a->shares[i].id, r->members[i].member_id);
		get_parts(w, r->members[i].metadata.p + 13, a->shares[i].owned);
	}
}

static void take_sync(struct gs *w, struct ask *a, const struct kp_sync_group_response *r)
{
	a->error = r->error_code;
	if (r->error_code || r->assignment.len == 0)
		return;
	const uint8_t *end = get_parts(w, r->assignment.p + 2, a->parts);
	GS_MUST(w, end + 4 == r->assignment.p + r->assignment.len, "an assignment is malformed");
	w->assignments++;
}

static void take_commit(struct gs *w, struct ask *a, const struct kp_offset_commit_response *r)
{
	a->error = r->topics[0].partitions[0].error_code;
	GS_MUST(w, a->error || !a->before, "%s commits with a stale generation", a->m->name);
	if (!a->error)
		w->consumer_book.committed[a->partition] = a->value;
	w->commits += !a->error;
}

bool gs_old_asked(const struct gs *w, const void *token)
{
	list_for_each (it, &w->old_asks)
		if (list_entry(it, struct ask, node) == token)
			return true;
	return false;
}

static void receive(struct gs *w, void *arg);

void gs_old_reply(struct gs *w, void *token, const void *response)
{
	struct ask *a = token;
	GS_MUST(w, !a->answered, "%s is answered twice", a->m->name);
	a->answered = true;
	list_remove(&a->node);
	if (a->api == GS_JOIN)
		take_join(w, a, response);
	else if (a->api == GS_SYNC)
		take_sync(w, a, response);
	else if (a->api == GS_COMMIT)
		take_commit(w, a, response);
	else if (a->api == GS_HEARTBEAT)
		a->error = ((const struct kp_heartbeat_response *)response)->error_code;
	else
		a->error = ((const struct kp_leave_group_response *)response)->error_code;
	w->answers++;
	gs_mix(w, (uint64_t)a->api << 32 | (uint16_t)a->error);
	gs_mix(w, (uint64_t)a->m->index << 32 | (uint32_t)a->told_generation);
	if (gs_lost(w))
		ask_free(a);
	else
		gs_at(w, gs_transit_ns(w), receive, a, ask_free);
}

void gs_old_asks_lost(struct gs *w)
{
	struct list *n;
	while ((n = list_pop_front(&w->old_asks)))
		ask_free(list_entry(n, struct ask, node));
}

void gs_old_write_survives(struct gs *w, const void *token)
{
	const struct ask *a = token;
	if (a->api == GS_COMMIT)
		w->consumer_book.committed[a->partition] = a->value;
}

/* ---- what members do ---- */

struct wake {
	struct gs_old *m;
	uint64_t life, serial;
};

static void wake_in(struct gs *w, struct gs_old *m, uint64_t ms, gs_fn *fn)
{
	struct wake *k = malloc(sizeof(*k));
	CHECK(k);
	*k = (struct wake){.m = m, .life = m->life, .serial = m->serial};
	gs_at(w, ms * GS_MS + gs_some_ms(w, 10), fn, k, free);
}

/* NULL: the member has done something else meanwhile. */
static struct gs_old *woken(void *arg)
{
	struct wake k = *(struct wake *)arg;
	free(arg);
	return k.m->life == k.life && k.m->serial == k.serial && k.m->state != GS_OUT ? k.m : NULL;
}

static void ask(struct gs *w, struct gs_old *m, enum gs_api api, struct ask *more);

static void forget(struct gs_old *m)
{
	memset(m->owned, 0, sizeof(m->owned));
}

static void join(struct gs *w, struct gs_old *m)
{
	m->state = GS_JOINING;
	m->leads = false;
	if (!w->old_cooperative)
		forget(m);
	ask(w, m, GS_JOIN, NULL);
}

static void join_later(struct gs *w, void *arg)
{
	struct gs_old *m = woken(arg);
	if (m)
		join(w, m);
}

/* An eager member gives all up before it joins again, which takes time. */
static void rejoin(struct gs *w, struct gs_old *m)
{
	wake_in(w, m, w->healed ? 0 : gs_some_ms(w, 2000) / GS_MS, join_later);
}

static void at_work(struct gs *w, void *arg)
{
	uint32_t own[GS_PARTS_MAX], n = 0;
	struct gs_old *m = woken(arg);
	if (!m)
		return;
	if (m->state != GS_MEMBER || (m->leads && m->seen_parts != w->n_topic_parts)) {
		join(w, m); /* a leader watches the topic */
		return;
	}
	for (uint32_t p = 0; p < GS_PARTS_MAX; p++)
		if (m->owned[p])
			own[n++] = p;
	m->just_committed = n > 0 && !m->just_committed && gs_one_in(w, 4);
	if (!m->just_committed) { /* a commit keeps no session alive */
		ask(w, m, GS_HEARTBEAT, NULL);
		return;
	}
	struct ask *a = calloc(1, sizeof(*a));
	CHECK(a);
	a->partition = (int32_t)own[prng_below(&w->rng, n)];
	a->value = (int64_t)(w->seq + 1);
	ask(w, m, GS_COMMIT, a);
}

static void recover(struct gs *w, struct gs_old *m, const struct ask *a)
{
	switch (a->error) {
	case KE_UNKNOWN_MEMBER_ID:
		m->id[0] = 0;
		forget(m);
		join(w, m);
		return;
	case KE_ILLEGAL_GENERATION:
		forget(m);
		join(w, m);
		return;
	case KE_FENCED_INSTANCE_ID:
		gs_old_kill(w, m); /* its place is taken */
		return;
	case KE_MEMBER_ID_REQUIRED:
		join(w, m);
		return;
	case KE_REBALANCE_IN_PROGRESS:
		rejoin(w, m);
		return;
	default:
		m->state = m->state == GS_SYNCING ? GS_JOINING : m->state;
		wake_in(w, m, RETRY_MS, at_work);
	}
}

static void joined(struct gs *w, struct gs_old *m, struct ask *a)
{
	struct ask *next = calloc(1, sizeof(*next));
	CHECK(next);
	m->generation = a->told_generation;
	m->state = GS_SYNCING;
	m->leads = a->n_shares > 0;
	m->seen_parts = w->n_topic_parts;
	next->n_shares = a->n_shares;
	next->shares = a->shares;
	a->shares = NULL;
	ask(w, m, GS_SYNC, next);
}

/* Partitions have been given up. */
static void revoked(struct gs *w, void *arg)
{
	struct gs_old *m = woken(arg);
	if (!m)
		return;
	memcpy(m->owned, m->shall, sizeof(m->owned));
	join(w, m);
}

static void synced(struct gs *w, struct gs_old *m, const struct ask *a)
{
	bool gives_up = false;
	m->state = GS_MEMBER;
	m->synced = m->generation;
	memcpy(m->shall, a->parts, sizeof(m->shall));
	for (uint32_t p = 0; p < GS_PARTS_MAX; p++)
		gives_up |= m->owned[p] && !m->shall[p];
	if (gives_up) {
		uint64_t takes_ms = w->healed ? 1 : gs_some_ms(w, 3000) / GS_MS;
		/* sometimes it is stuck, and out by then */
		wake_in(w, m, gs_one_in(w, w->healed ? 0 : 20) ? 40000 : takes_ms, revoked);
		return;
	}
	memcpy(m->owned, m->shall, sizeof(m->owned));
	wake_in(w, m, HEARTBEAT_MS, at_work);
}

static void receive(struct gs *w, void *arg)
{
	struct ask *a = arg;
	struct gs_old *m = a->m;
	if (m->state != GS_OUT && m->life == a->life && m->waiting == a->serial) {
		m->waiting = 0;
		if (a->told_id[0] && (!a->error || a->error == KE_MEMBER_ID_REQUIRED))
			memcpy(m->id, a->told_id, sizeof(m->id));
		if (a->error)
			recover(w, m, a);
		else if (a->api == GS_JOIN)
			joined(w, m, a);
		else if (a->api == GS_SYNC)
			synced(w, m, a);
		else
			wake_in(w, m, HEARTBEAT_MS, at_work);
	}
	ask_free(a);
}

/* ---- sending ---- */

static void timed_out(struct gs *w, void *arg)
{
	struct gs_old *m = woken(arg);
	if (!m || !m->waiting)
		return;
	if (m->state == GS_MEMBER)
		ask(w, m, GS_HEARTBEAT, NULL);
	else
		join(w, m);
}

static void ask(struct gs *w, struct gs_old *m, enum gs_api api, struct ask *a)
{
	if (!a)
		a = calloc(1, sizeof(*a));
	CHECK(a);
	a->m = m;
	a->api = api;
	a->life = m->sent_life = m->life;
	a->serial = m->waiting = ++m->serial;
	a->generation = m->generation;
	memcpy(a->id, m->id, sizeof(a->id));
	memcpy(a->owned, m->owned, sizeof(a->owned));
	wake_in(w, m, api == GS_JOIN || api == GS_SYNC ? PATIENCE_MS / 2 : 3000, timed_out);
	uint64_t transit = gs_transit_ns(w);
	if (api == GS_COMMIT && !w->healed && gs_one_in(w, w->double_in)) {
		struct ask *twin = malloc(sizeof(*twin));
		CHECK(twin);
		*twin = *a;
		gs_at(w, transit, deliver, twin, ask_free);
	}
	if (gs_lost(w))
		ask_free(a);
	else
		gs_at(w, transit, deliver, a, ask_free);
}

/* ---- lives ---- */

void gs_old_kill(struct gs *w, struct gs_old *m)
{
	m->life++;
	m->waiting = 0;
	m->state = GS_OUT;
	m->leads = false;
	forget(m);
}

static void leave(struct gs *w, struct gs_old *m)
{
	ask(w, m, GS_LEAVE, NULL);
	uint64_t sent_life = m->sent_life;
	gs_old_kill(w, m);
	m->sent_life = sent_life; /* it may still arrive */
}

static void start(struct gs *w, struct gs_old *m)
{
	m->life++;
	m->arrived = m->serial = 0;
	m->id[0] = 0;
	m->generation = m->synced = -1;
	join(w, m);
}

static void come_or_go(struct gs *w, void *arg)
{
	struct gs_old *m = arg;
	if (w->healed)
		return;
	if (m->state == GS_OUT)
		start(w, m);
	else if (gs_one_in(w, 2))
		gs_old_kill(w, m);
	else
		leave(w, m);
	gs_at(w, gs_some_ms(w, 120000), come_or_go, m, NULL);
}

void gs_olds_make(struct gs *w)
{
	static const int16_t versions[] = {3, 4, 5, 5, 7, 9};
	list_init(&w->old_asks);
	w->olds = calloc(w->n_olds + 1ul, sizeof(*w->olds));
	CHECK(w->olds);
	w->old_cooperative = gs_one_in(w, 2);
	for (uint32_t i = 0; i < w->n_olds; i++) {
		struct gs_old *m = &w->olds[i];
		m->index = i;
		m->version = versions[prng_below(&w->rng, array_size(versions))];
		m->session_ms = 6000 + (int32_t)prng_below(&w->rng, 14000);
		m->rebalance_ms = 4000 + (int32_t)prng_below(&w->rng, 16000);
		snprintf(m->name, sizeof(m->name), "o%u", i);
		if (m->version >= 5 && gs_one_in(w, 4)) /* instances that consumers have too */
			snprintf(m->instance, sizeof(m->instance), "k%u",
				(unsigned)prng_below(&w->rng, w->n_consumers + 2));
		gs_at(w, gs_some_ms(w, 15000), come_or_go, m, NULL);
	}
}

static bool is_shared(const struct gs *w, const struct gs_old *m)
{
	for (uint32_t i = 0; i < w->n_consumers; i++)
		if (w->consumers[i].alive && strcmp(w->consumers[i].instance, m->instance) == 0)
			return true;
	for (uint32_t i = 0; i < m->index; i++)
		if (strcmp(w->olds[i].instance, m->instance) == 0)
			return true;
	return false;
}

void gs_olds_heal(struct gs *w)
{
	for (uint32_t i = 0; i < w->n_olds; i++)
		if (w->rest == GS_REST_NEW || (w->olds[i].instance[0] && is_shared(w, &w->olds[i])))
			gs_old_kill(w, &w->olds[i]);
}

/* ---- what must be true ---- */

/* In a consumer group: what one that is not fenced believes to have, it has. */
static void check_in_consumers(struct gs *w, const struct grp *g, const struct gs_old *m)
{
	const struct con_member *cm = con_member_find(g->con, kstr_of(m->id));
	const struct con_slot *s = con_slot_find(g->con, &(struct uuid){.b = {7, 1}});
	if (!cm || !cm->classic || cm->epoch != m->generation)
		return;
	for (uint32_t p = 0; p < w->n_topic_parts; p++)
		GS_MUST(w,
			!m->owned[p] ||
				(s && con_owner_of(g->con, con_part(s->number, (int32_t)p)) == cm),
			"%s believes to own partition %u, and does not", m->name, p);
}

/*
 * In a classic one: no two that were told what they have in its generation believe to have the
 * same. What one is giving up does not count: a static member may have slept over generations, and
 * the leader cannot know what it believed meanwhile.
 */
static void check_in_classic(
	struct gs *w, const struct grp *g, const struct gs_old *m, const struct gs_old **owners)
{
	if (!grp_member_find(g, kstr_of(m->id)) || m->synced != g->generation)
		return;
	for (uint32_t p = 0; p < w->n_topic_parts; p++) {
		if (!m->owned[p] || !m->shall[p])
			continue;
		GS_MUST(w, !owners[p], "%s and %s own partition %u in generation %d", m->name,
			owners[p]->name, p, m->synced);
		owners[p] = m;
	}
}

void gs_olds_step(struct gs *w)
{
	const struct gs_old *owners[GS_PARTS_MAX] = {0};
	const struct grp *g = group_of(w);
	for (uint32_t i = 0; g && i < w->n_olds; i++) {
		const struct gs_old *m = &w->olds[i];
		if (m->state == GS_OUT || !m->id[0])
			continue;
		if (g->con)
			check_in_consumers(w, g, m);
		else
			check_in_classic(w, g, m, owners);
	}
}

void gs_olds_wait(struct gs *w)
{
	if (list_empty(&w->old_asks))
		return;
	const struct ask *a = list_entry(list_front(&w->old_asks), struct ask, node);
	GS_MUST(w, a->deadline_ns >= w->now.ns, "%s waits for an answer to request %d for ever",
		a->m->name, a->api);
}

uint32_t gs_olds_rest(struct gs *w, uint8_t owners[GS_PARTS_MAX])
{
	const struct grp *g = group_of(w);
	uint32_t alive = 0;
	for (uint32_t i = 0; i < w->n_olds; i++) {
		const struct gs_old *m = &w->olds[i];
		if (m->state == GS_OUT)
			continue;
		alive++;
		GS_MUST(w,
			m->state == GS_MEMBER && memcmp(m->owned, m->shall, sizeof(m->owned)) == 0,
			"%s has not come to rest: state %d", m->name, m->state);
		GS_MUST(w, m->generation == (g && g->con ? g->con->target_epoch : g->generation),
			"%s is in generation %d, not in the group's", m->name, m->generation);
		for (uint32_t p = 0; p < GS_PARTS_MAX; p++)
			owners[p] += m->owned[p];
	}
	GS_MUST(w, alive == 0 || g->con || g->state == GRP_STABLE,
		"the group of classic members is in state %d", g ? (int)g->state : -1);
	return alive;
}
