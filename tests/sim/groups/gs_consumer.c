/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Members of the consumer protocol (KIP-848). A member's requests arrive in order, as over its one
 * connection; they and their answers may be lost, late or doubled. Members take their time to give
 * up partitions, and sometimes never do. What one that is not fenced believes to own, it must own.
 */
#include <stdlib.h>
#include <string.h>

#include "control/group/con.h"
#include "gs.h"

#define REBALANCE_MS 15000
#define BEAT_MS 2000
#define PATIENCE_MS 5000
#define RETRY_MS 300
#define LEAVE (-1)
#define LEAVE_FOR_A_WHILE (-2)

struct gs_beat {
	struct list node; /* of gs.beats, while the coordinator has it */
	struct gs_consumer *m;
	uint64_t life, serial;
	bool commits, answered, full;
	uint64_t deadline_ns;
	char id[GS_ID];
	int32_t epoch;
	bool owned[GS_PARTS_MAX];
	int32_t partition;
	int64_t value;
	int16_t before;
	/* the answer */
	int16_t error;
	int32_t told_epoch;
	bool told_parts;
	bool parts[GS_PARTS_MAX];
};

static void send(struct gs *w, struct gs_consumer *m, struct gs_beat *b);
static void beat(struct gs *w, struct gs_consumer *m);

/* ---- topics ---- */

void gs_topic_make(struct gs *w, uint32_t parts)
{
	static const struct image_partition p[GS_PARTS_MAX];
	const struct image_topic t = {.name = kstr_of("t"),
		.id = {.b = {7, 1}},
		.config = image_topic_config_default,
		.partition_count = (int32_t)parts,
		.partitions = p};
	const struct image_source src = {.epoch = ++w->image_epoch, .topics = &t, .topic_count = 1};
	struct image *im = image_build(&src), *old = w->image;
	CHECK(im);
	w->image = im;
	w->n_topic_parts = parts;
	if (w->core)
		grp_set_image(w->core, im);
	image_free(old);
}

static void topic_grows(struct gs *w, void *arg)
{
	if (w->healed)
		return;
	gs_topic_make(w, min_of(w->n_topic_parts + 1 + (uint32_t)prng_below(&w->rng, 4),
				 (uint32_t)GS_PARTS_MAX));
	gs_at(w, gs_some_ms(w, 60000), topic_grows, NULL, NULL);
}

/* ---- requests, as the coordinator gets them ---- */

static struct kstr instance_of(const struct gs_consumer *m)
{
	return m->instance[0] ? kstr_of(m->instance) : KSTR_NULL;
}

static void do_beat(struct gs *w, struct gs_beat *b)
{
	const struct gs_consumer *m = b->m;
	struct kstr name = kstr_of("t");
	int32_t parts[GS_PARTS_MAX];
	struct kp_consumer_group_heartbeat_request_topic_partitions tp = {
		.topic_id = {.b = {7, 1}}, .partitions = parts};
	struct kp_consumer_group_heartbeat_request req;
	kp_default_consumer_group_heartbeat_request(&req);
	req.group_id = kstr_of(GS_CONSUMERS);
	req.member_id = kstr_of(b->id);
	req.member_epoch = b->epoch;
	req.instance_id = instance_of(m);
	if (b->full && b->epoch >= 0) {
		req.rebalance_timeout_ms = REBALANCE_MS;
		if (m->by_regex)
			req.subscribed_topic_regex = kstr_of("t|t-.*");
		else
			req.subscribed_topic_names = &name;
		req.n_subscribed_topic_names = m->by_regex ? -1 : 1;
		req.server_assignor = kstr_of(m->index % 2 ? "range" : "uniform");
		for (int32_t p = 0; p < GS_PARTS_MAX; p++)
			if (b->owned[p])
				parts[tp.n_partitions++] = p;
		req.topic_partitions = &tp;
		req.n_topic_partitions = tp.n_partitions > 0;
	}
	const struct grp_client client = {.id = kstr_of("c"), .host = kstr_of("/10.0.0.1")};
	const uint8_t random[GRP_RANDOM_SIZE] = {0};
	grp_consumer_heartbeat(w->core, w->now, b, 1, &client, random, &req);
}

static const struct con_member *known(const struct gs *w, const char *id)
{
	const struct grp *g = w->core ? grp_get(w->core, kstr_of(GS_CONSUMERS)) : NULL;
	return g && g->con ? con_member_find(g->con, kstr_of(id)) : NULL;
}

static void do_commit(struct gs *w, struct gs_beat *b)
{
	struct kp_offset_commit_request req;
	struct kp_offset_commit_request_topic t;
	struct kp_offset_commit_request_partition p;
	kp_default_offset_commit_request(&req);
	kp_default_offset_commit_request_topic(&t);
	kp_default_offset_commit_request_partition(&p);
	req.group_id = kstr_of(GS_CONSUMERS);
	req.generation_id = b->epoch;
	req.member_id = kstr_of(b->id);
	req.topics = &t;
	req.n_topics = 1;
	t.name = kstr_of("t");
	t.partitions = &p;
	t.n_partitions = 1;
	p.index = b->partition;
	p.committed_offset = b->value;
	p.committed_metadata = kstr_of("");
	const struct con_member *m = known(w, b->id);
	b->before = m && m->epoch == b->epoch ? KE_NONE : KE_STALE_MEMBER_EPOCH;
	grp_commit(w->core, w->now, b, 9, &req, NULL);
}

static void deliver(struct gs *w, void *arg)
{
	struct gs_beat *b = arg;
	struct gs_consumer *m = b->m;
	bool late = b->life != m->sent_life || b->serial < m->arrived;
	if (!w->core || late) {
		free(b); /* nobody listens, or the connection is gone */
		return;
	}
	m->arrived = b->serial;
	b->deadline_ns = w->now.ns + 30000 * GS_MS;
	list_push_back(&w->beats, &b->node);
	if (b->commits)
		do_commit(w, b);
	else
		do_beat(w, b);
}

/* ---- answers, as the coordinator gives them ---- */

void gs_consumer_reply(struct gs *w, void *token, const void *response);

static void take_beat(
	struct gs *w, struct gs_beat *b, const struct kp_consumer_group_heartbeat_response *r)
{
	b->error = r->error_code;
	b->told_epoch = r->member_epoch;
	if (r->error_code)
		return;
	GS_MUST(w, kstr_equal(r->member_id, kstr_of(b->id)), "a member gets another one's id");
	b->told_parts = r->n_assignment > 0;
	for (int32_t i = 0; b->told_parts && i < r->assignment->n_topic_partitions; i++) {
		const struct kp_consumer_group_heartbeat_response_topic_partitions *t =
			&r->assignment->topic_partitions[i];
		for (int32_t k = 0; k < t->n_partitions; k++) {
			GS_MUST(w, (uint32_t)t->partitions[k] < w->n_topic_parts,
				"partition %d does not exist", t->partitions[k]);
			b->parts[t->partitions[k]] = true;
		}
	}
	w->assignments += b->told_parts;
}

static void receive(struct gs *w, void *arg);

bool gs_consumer_asked(const struct gs *w, const void *token)
{
	list_for_each (it, &w->beats)
		if (list_entry(it, struct gs_beat, node) == token)
			return true;
	return false;
}

void gs_consumer_reply(struct gs *w, void *token, const void *response)
{
	struct gs_beat *b = token;
	GS_MUST(w, !b->answered, "consumer %u is answered twice", b->m->index);
	b->answered = true;
	list_remove(&b->node);
	if (b->commits) {
		const struct kp_offset_commit_response *r = response;
		b->error = r->topics[0].partitions[0].error_code;
		GS_MUST(w, b->error || !b->before, "consumer %u commits with a stale epoch",
			b->m->index);
		if (!b->error)
			w->consumer_book.committed[b->partition] = b->value;
		w->commits += !b->error;
	} else {
		take_beat(w, b, response);
	}
	w->answers++;
	gs_mix(w, (uint64_t)b->m->index << 32 | (uint16_t)b->error);
	gs_mix(w, (uint64_t)(uint32_t)b->told_epoch);
	if (gs_lost(w))
		free(b);
	else
		gs_at(w, gs_transit_ns(w), receive, b, free);
}

void gs_beats_lost(struct gs *w)
{
	struct list *n;
	while ((n = list_pop_front(&w->beats)))
		free(list_entry(n, struct gs_beat, node));
}

void gs_consumer_write_survives(struct gs *w, const void *token)
{
	const struct gs_beat *b = token;
	if (b->commits)
		w->consumer_book.committed[b->partition] = b->value;
}

/* ---- what members do ---- */

struct wake {
	struct gs_consumer *m;
	uint64_t life, serial;
};

static void wake_in(struct gs *w, struct gs_consumer *m, uint64_t ms, gs_fn *fn)
{
	struct wake *k = malloc(sizeof(*k));
	CHECK(k);
	*k = (struct wake){.m = m, .life = m->life, .serial = m->serial};
	gs_at(w, ms * GS_MS + gs_some_ms(w, 10), fn, k, free);
}

static struct gs_consumer *woken(void *arg, bool any_serial)
{
	struct wake k = *(struct wake *)arg;
	free(arg);
	return k.m->life == k.life && (any_serial || k.m->serial == k.serial) && k.m->alive ? k.m
											    : NULL;
}

static void forget_all(struct gs_consumer *m)
{
	memset(m->owned, 0, sizeof(m->owned));
	memset(m->shall, 0, sizeof(m->shall));
	m->must_say_all = true;
}

static bool has_all(const struct gs_consumer *m)
{
	return memcmp(m->owned, m->shall, sizeof(m->owned)) == 0;
}

/* Told that it is out: what it has is gone, but the application has to be done first. */
static void rejoin(struct gs *w, struct gs_consumer *m)
{
	m->fenced = m->revoking;
	if (m->fenced)
		return;
	forget_all(m);
	m->epoch = 0;
	beat(w, m);
}

/* Partitions have been given up (the application was told); then new ones are taken. */
static void revoked(struct gs *w, void *arg)
{
	struct gs_consumer *m = woken(arg, true);
	if (!m || !m->revoking)
		return;
	m->revoking = false;
	if (m->fenced) {
		rejoin(w, m);
		return;
	}
	memcpy(m->owned, m->shall, sizeof(m->owned));
	m->must_say_all = true;
	if (!m->waiting)
		beat(w, m);
}

static void told(struct gs *w, struct gs_consumer *m, const struct gs_beat *b)
{
	m->epoch = b->told_epoch;
	if (b->told_parts)
		memcpy(m->shall, b->parts, sizeof(m->shall));
	if (has_all(m) || m->revoking)
		return;
	bool gives_up = false;
	for (uint32_t p = 0; p < GS_PARTS_MAX; p++)
		gives_up |= m->owned[p] && !m->shall[p];
	m->revoking = true;
	uint64_t takes_ms = !gives_up || w->healed ? 1 : gs_some_ms(w, 3000) / GS_MS;
	if (gives_up && gs_one_in(w, w->healed ? 0 : 20))
		takes_ms = 2 * REBALANCE_MS; /* stuck: it will be out by then */
	wake_in(w, m, takes_ms, revoked);
}

static void at_work(struct gs *w, void *arg)
{
	struct gs_consumer *m = woken(arg, false);
	uint32_t own[GS_PARTS_MAX], n = 0;
	if (!m)
		return;
	for (uint32_t p = 0; p < GS_PARTS_MAX; p++)
		if (m->owned[p])
			own[n++] = p;
	if (m->epoch <= 0 || n == 0 || m->just_committed || !gs_one_in(w, 4)) {
		beat(w, m);
		return;
	}
	m->just_committed = true; /* a commit keeps no session alive */
	struct gs_beat *b = calloc(1, sizeof(*b));
	CHECK(b);
	b->commits = true;
	b->partition = (int32_t)own[prng_below(&w->rng, n)];
	b->value = (int64_t)(w->seq + 1);
	send(w, m, b);
}

static void recover(struct gs *w, struct gs_consumer *m, const struct gs_beat *b)
{
	m->must_say_all = true;
	switch (b->error) {
	case KE_UNKNOWN_MEMBER_ID:
	case KE_FENCED_MEMBER_EPOCH:
	case KE_GROUP_ID_NOT_FOUND:
		if (!b->commits)
			rejoin(w, m);
		else
			wake_in(w, m, RETRY_MS, at_work);
		return;
	case KE_FENCED_INSTANCE_ID:
	case KE_UNRELEASED_INSTANCE_ID:
		gs_consumer_kill(w, m); /* its place is taken */
		return;
	default:
		wake_in(w, m, RETRY_MS, at_work);
	}
}

static void receive(struct gs *w, void *arg)
{
	struct gs_beat *b = arg;
	struct gs_consumer *m = b->m;
	if (m->alive && m->life == b->life && m->waiting == b->serial) {
		m->waiting = 0;
		if (b->error) {
			recover(w, m, b);
		} else {
			if (!b->commits)
				told(w, m, b);
			wake_in(w, m, BEAT_MS, at_work);
		}
	}
	free(b);
}

/* ---- sending ---- */

static void timed_out(struct gs *w, void *arg)
{
	struct gs_consumer *m = woken(arg, false);
	if (!m || !m->waiting)
		return;
	m->must_say_all = true;
	beat(w, m);
}

static void send(struct gs *w, struct gs_consumer *m, struct gs_beat *b)
{
	b->m = m;
	b->life = m->sent_life = m->life;
	b->serial = m->waiting = ++m->serial;
	b->epoch = b->epoch ? b->epoch : m->epoch;
	memcpy(b->id, m->id, sizeof(b->id));
	memcpy(b->owned, m->owned, sizeof(b->owned));
	wake_in(w, m, PATIENCE_MS, timed_out);
	uint64_t transit = gs_transit_ns(w);
	/* A heartbeat is asked again only by a member that has given the first answer up. */
	if (b->commits && !w->healed && gs_one_in(w, w->double_in)) {
		struct gs_beat *twin = malloc(sizeof(*twin));
		CHECK(twin);
		*twin = *b;
		gs_at(w, transit, deliver, twin, free);
	}
	if (gs_lost(w))
		free(b);
	else
		gs_at(w, transit, deliver, b, free);
}

static void beat(struct gs *w, struct gs_consumer *m)
{
	struct gs_beat *b = calloc(1, sizeof(*b));
	CHECK(b);
	b->full = m->must_say_all || m->epoch == 0 || gs_one_in(w, 8);
	m->must_say_all = m->just_committed = false;
	send(w, m, b);
}

/* ---- lives ---- */

void gs_consumer_kill(struct gs *w, struct gs_consumer *m)
{
	m->life++;
	m->alive = false;
	m->waiting = 0;
	m->revoking = m->fenced = false;
	forget_all(m);
}

void gs_consumer_leave(struct gs *w, struct gs_consumer *m)
{
	struct gs_beat *b = calloc(1, sizeof(*b));
	CHECK(b);
	b->epoch = m->instance[0] && gs_one_in(w, 2) ? LEAVE_FOR_A_WHILE : LEAVE;
	forget_all(m);
	send(w, m, b);
	uint64_t sent_life = m->sent_life;
	gs_consumer_kill(w, m);
	m->sent_life = sent_life; /* it may still arrive */
}

void gs_consumer_start(struct gs *w, struct gs_consumer *m)
{
	m->life++;
	m->alive = true;
	m->arrived = 0;
	m->serial = 0;
	snprintf(m->id, sizeof(m->id), "c%u-%llu", m->index, (unsigned long long)m->life);
	rejoin(w, m);
}

static void come_or_go(struct gs *w, void *arg)
{
	struct gs_consumer *m = arg;
	if (w->healed)
		return;
	if (!m->alive)
		gs_consumer_start(w, m);
	else if (gs_one_in(w, 2))
		gs_consumer_kill(w, m);
	else
		gs_consumer_leave(w, m);
	gs_at(w, gs_some_ms(w, 120000), come_or_go, m, NULL);
}

void gs_consumers_make(struct gs *w)
{
	w->n_consumers = w->seed % 256 == 0 ? w->n_members : min_of(w->n_members, 24u);
	if (w->n_olds > 0) /* there are times without any */
		w->n_consumers = min_of(w->n_consumers, 1 + (uint32_t)prng_below(&w->rng, 4));
	w->consumers = calloc(w->n_consumers, sizeof(*w->consumers));
	CHECK(w->consumers);
	list_init(&w->beats);
	for (uint32_t p = 0; p < GS_PARTS_MAX; p++)
		w->consumer_book.committed[p] = -1;
	for (uint32_t i = 0; i < w->n_consumers; i++) {
		struct gs_consumer *m = &w->consumers[i];
		m->index = i;
		m->by_regex = gs_one_in(w, 3);
		if (gs_one_in(w, 4))
			snprintf(m->instance, sizeof(m->instance), "k%u",
				(unsigned)prng_below(&w->rng, w->n_consumers));
		gs_at(w, gs_some_ms(w, 15000), come_or_go, m, NULL);
	}
	gs_topic_make(w, w->n_parts);
	gs_at(w, gs_some_ms(w, 60000), topic_grows, NULL, NULL);
}

/* Of those who share an instance one lives on; those who stopped have lost their place for a while.
 */
void gs_consumers_heal(struct gs *w)
{
	for (uint32_t i = 0; w->rest == GS_REST_OLD && i < w->n_consumers; i++)
		gs_consumer_kill(w, &w->consumers[i]);
	for (uint32_t i = 0; i < w->n_consumers; i++)
		for (uint32_t k = 0; k < i && w->consumers[i].instance[0]; k++)
			if (strcmp(w->consumers[i].instance, w->consumers[k].instance) == 0)
				gs_consumer_kill(w, &w->consumers[i]);
}

/* ---- what must be true ---- */

static void check_offsets(struct gs *w)
{
	const struct grp *g = grp_get(w->core, kstr_of(GS_CONSUMERS));
	for (int32_t p = 0; p < (int32_t)w->n_topic_parts; p++) {
		const struct grp_offset *o = g ? grp_offset_find(g, kstr_of("t"), p) : NULL;
		int64_t have = o ? o->offset : -1;
		GS_MUST(w, have == w->consumer_book.committed[p],
			"offset %lld of partition %d was acknowledged to consumers, %lld is there",
			(long long)w->consumer_book.committed[p], p, (long long)have);
	}
}

/*
 * What a member believes to own, nobody else has: as long as its epoch is the one that the
 * coordinator has for it. With an older one it cannot commit, and is fenced when it says that it
 * owns more than it has: its last answer was lost while it was still giving others up.
 */
static void check_owners(struct gs *w)
{
	const struct grp *g = grp_get(w->core, kstr_of(GS_CONSUMERS));
	const struct con_slot *s =
		g && g->con ? con_slot_find(g->con, &(struct uuid){.b = {7, 1}}) : NULL;
	for (uint32_t i = 0; s && i < w->n_consumers; i++) {
		const struct gs_consumer *m = &w->consumers[i];
		const struct con_member *cm =
			m->alive ? con_member_find(g->con, kstr_of(m->id)) : NULL;
		bool fenced = !cm || m->epoch != cm->epoch;
		GS_MUST(w, !cm || m->epoch <= cm->epoch,
			"%s was told epoch %d, the coordinator has %d for it", m->id, m->epoch,
			cm ? cm->epoch : 0);
		for (uint32_t p = 0; !fenced && p < w->n_topic_parts; p++)
			GS_MUST(w,
				!m->owned[p] ||
					con_owner_of(g->con, con_part(s->number, (int32_t)p)) == cm,
				"%s believes to own partition %u, and does not", m->id, p);
	}
}

void gs_consumers_step(struct gs *w)
{
	if (!list_empty(&w->beats)) {
		const struct gs_beat *b = list_entry(list_front(&w->beats), struct gs_beat, node);
		GS_MUST(w, b->deadline_ns >= w->now.ns, "consumer %u waits for ever", b->m->index);
	}
	gs_olds_wait(w);
	if (w->unchecked > 0 || grp_admit(w->core, kstr_of(GS_CONSUMERS)) != KE_NONE)
		return;
	check_offsets(w);
	check_owners(w);
	gs_olds_step(w);
}

void gs_consumers_rest(struct gs *w)
{
	const struct grp *g = grp_get(w->core, kstr_of(GS_CONSUMERS));
	uint32_t alive = 0;
	uint8_t owners[GS_PARTS_MAX] = {0};
	for (uint32_t i = 0; i < w->n_consumers; i++) {
		const struct gs_consumer *m = &w->consumers[i];
		if (!m->alive)
			continue;
		alive++;
		GS_MUST(w, g && g->con && m->epoch == g->con->target_epoch,
			"%s has epoch %d, which is not the group's", m->id, m->epoch);
		GS_MUST(w, has_all(m), "%s has not come to rest", m->id);
		for (uint32_t p = 0; p < GS_PARTS_MAX; p++)
			owners[p] += m->owned[p];
	}
	uint32_t consumers = alive;
	uint32_t members = !g ? 0 : g->con ? g->con->by_id.count : g->members_by_id.count;
	alive += gs_olds_rest(w, owners);
	GS_MUST(w, members == alive, "the group has %u members, %u are alive", members, alive);
	for (uint32_t p = 0; alive > 0 && p < GS_PARTS_MAX; p++)
		GS_MUST(w, owners[p] == (p < w->n_topic_parts), "partition %u has %u owners", p,
			owners[p]);
	if (consumers > 0)
		GS_MUST(w, strcmp(con_state_name(g->con), "Stable") == 0,
			"the consumer group is %s", con_state_name(g->con));
	check_offsets(w);
}
