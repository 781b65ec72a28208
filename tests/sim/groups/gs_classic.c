/* SPDX-License-Identifier: Apache-2.0 */
/* Members of the classic protocol: they join, share out the partitions, heartbeat and commit. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "gs.h"

#define HEARTBEAT_MS 2000
/* A parked request is answered within: two join phases and the patience with a new member. */
#define PATIENCE_MS 90000
#define RETRY_MS 300

/* ---- the network ---- */

static void call_free(void *arg)
{
	struct gs_call *call = arg;
	free(call->ids);
	free(call);
}

uint64_t gs_transit_ns(struct gs *w)
{
	if (!w->healed && gs_one_in(w, w->slow_in))
		return gs_some_ms(w, 8000);
	return gs_some_ms(w, 4) + 1000;
}

bool gs_lost(struct gs *w)
{
	return !w->healed && gs_one_in(w, w->lose_in);
}

static void deliver(struct gs *w, void *arg);

static struct gs_call *twin(const struct gs_call *call)
{
	struct gs_call *t = malloc(sizeof(*t));
	CHECK(t);
	*t = *call;
	if (call->ids) {
		t->ids = malloc(call->n_ids * sizeof(*t->ids));
		CHECK(t->ids);
		memcpy(t->ids, call->ids, call->n_ids * sizeof(*t->ids));
	}
	return t;
}

void gs_calls_lost(struct gs *w)
{
	struct list *n;
	while ((n = list_pop_front(&w->parked)))
		call_free(list_entry(n, struct gs_call, node));
}

/* ---- requests, as the coordinator gets them ---- */

static struct kstr instance_of(const struct gs_member *m)
{
	return m->instance[0] ? kstr_of(m->instance) : KSTR_NULL;
}

static void do_join(struct gs *w, struct gs_call *call)
{
	const struct gs_member *m = call->m;
	uint8_t random[GRP_RANDOM_SIZE];
	uint64_t a = prng_next(&w->rng), b = prng_next(&w->rng);
	memcpy(random, &a, 8);
	memcpy(random + 8, &b, 8);
	const struct grp_client client = {.id = kstr_of(m->name), .host = kstr_of("/10.0.0.1")};
	const struct kbytes metadata = {
		.p = (const uint8_t *)m->name, .len = (int32_t)strlen(m->name)};
	struct kp_join_group_request_protocol protocols[2] = {
		{.name = kstr_of("cooperative-sticky"), .metadata = metadata},
		{.name = kstr_of("range"), .metadata = metadata},
	};
	struct kp_join_group_request req;
	kp_default_join_group_request(&req);
	req.group_id = kstr_of(gs_group_name(call->group));
	req.session_timeout_ms = m->session_ms;
	req.rebalance_timeout_ms = m->rebalance_ms;
	req.member_id = kstr_of(call->id);
	req.group_instance_id = m->version >= 5 ? instance_of(m) : KSTR_NULL;
	req.protocol_type = kstr_of("consumer");
	if (m->index % 3 == 0) /* they do not prefer the same */
		protocols[0].name = kstr_of("range"),
		protocols[1].name = kstr_of("cooperative-sticky");
	req.protocols = protocols;
	req.n_protocols = 2;
	grp_join(w->core, w->now, call, m->version, &client, random, &req);
}

static void do_sync(struct gs *w, struct gs_call *call)
{
	const struct gs_member *m = call->m;
	struct kp_sync_group_request req;
	kp_default_sync_group_request(&req);
	req.group_id = kstr_of(gs_group_name(call->group));
	req.generation_id = call->generation;
	req.member_id = kstr_of(call->id);
	req.group_instance_id = instance_of(m);
	uint32_t n = call->n_ids;
	uint8_t *bytes = malloc(4ul * w->n_parts + 4), *at = bytes;
	req.assignments = malloc((n + 1ul) * sizeof(*req.assignments));
	CHECK(bytes && req.assignments);
	for (uint32_t i = 0; i < n; i++) {
		const uint8_t *start = at;
		for (uint32_t p = i; p < w->n_parts; p += n, at += 4)
			be32_put(at, p);
		req.assignments[i] = (struct kp_sync_group_request_assignment){
			.member_id = kstr_of(call->ids[i]),
			.assignment = {.p = start, .len = (int32_t)(at - start)}};
	}
	req.n_assignments = (int32_t)n;
	grp_sync(w->core, w->now, call, &req);
	free(req.assignments);
	free(bytes);
}

static void do_heartbeat(struct gs *w, struct gs_call *call)
{
	struct kp_heartbeat_request req;
	kp_default_heartbeat_request(&req);
	req.group_id = kstr_of(gs_group_name(call->group));
	req.generation_id = call->generation;
	req.member_id = kstr_of(call->id);
	req.group_instance_id = instance_of(call->m);
	grp_heartbeat(w->core, w->now, call, &req);
}

static void do_leave(struct gs *w, struct gs_call *call)
{
	struct kp_leave_group_request req;
	struct kp_leave_group_request_member one;
	kp_default_leave_group_request(&req);
	kp_default_leave_group_request_member(&one);
	req.group_id = kstr_of(gs_group_name(call->group));
	one.member_id = kstr_of(call->id);
	one.group_instance_id = instance_of(call->m);
	req.members = &one;
	req.n_members = 1;
	grp_leave(w->core, w->now, call, 3, &req);
}

static void do_commit(struct gs *w, struct gs_call *call)
{
	struct kp_offset_commit_request req;
	struct kp_offset_commit_request_topic t;
	struct kp_offset_commit_request_partition p;
	kp_default_offset_commit_request(&req);
	kp_default_offset_commit_request_topic(&t);
	kp_default_offset_commit_request_partition(&p);
	req.group_id = kstr_of(gs_group_name(call->group));
	req.generation_id = call->generation;
	req.member_id = kstr_of(call->id);
	req.group_instance_id = instance_of(call->m);
	req.topics = &t;
	req.n_topics = 1;
	t.name = kstr_of("t");
	t.partitions = &p;
	t.n_partitions = 1;
	p.index = call->partition;
	p.committed_offset = call->value;
	p.committed_metadata = kstr_of("at work");
	call->before = gs_book_may_commit(w, call);
	grp_commit(w->core, w->now, call, 8, &req, NULL);
}

static void deliver(struct gs *w, void *arg)
{
	struct gs_call *call = arg;
	static void (*const does[])(struct gs * w, struct gs_call * call) = {
		[GS_JOIN] = do_join,
		[GS_SYNC] = do_sync,
		[GS_HEARTBEAT] = do_heartbeat,
		[GS_LEAVE] = do_leave,
		[GS_COMMIT] = do_commit,
		[GS_DELETE_OFFSET] = gs_admin_does,
		[GS_DELETE_GROUP] = gs_admin_does,
	};
	if (!w->core) {
		call_free(call); /* nobody listens */
		return;
	}
	call->deadline_ns = w->now.ns + PATIENCE_MS * GS_MS;
	list_push_back(&w->parked, &call->node);
	does[call->api](w, call);
}

/* ---- what members do with answers ---- */

static void again(struct gs *w, void *arg);

struct wake {
	struct gs_member *m;
	uint64_t life, serial;
};

static void wake_in(struct gs *w, struct gs_member *m, uint64_t ms, gs_fn *fn)
{
	struct wake *k = malloc(sizeof(*k));
	CHECK(k);
	*k = (struct wake){.m = m, .life = m->life, .serial = m->serial};
	gs_at(w, ms * GS_MS + gs_some_ms(w, 10), fn, k, free);
}

/* NULL: the member has done something else meanwhile. */
static struct gs_member *woken(void *arg)
{
	struct wake k = *(struct wake *)arg;
	free(arg);
	return k.m->life == k.life && k.m->serial == k.serial ? k.m : NULL;
}

static void join(struct gs *w, struct gs_member *m)
{
	m->state = GS_JOINING;
	m->n_parts = 0;
	gs_send(w, m, GS_JOIN, NULL);
}

/* After an error: as Kafka's clients do. */
static void recover(struct gs *w, struct gs_member *m, int16_t error)
{
	switch (error) {
	case KE_UNKNOWN_MEMBER_ID:
		m->id[0] = 0;
		join(w, m);
		return;
	case KE_FENCED_INSTANCE_ID: /* somebody has taken its place */
		gs_member_kill(w, m);
		return;
	case KE_REBALANCE_IN_PROGRESS:
	case KE_ILLEGAL_GENERATION:
	case KE_MEMBER_ID_REQUIRED:
		join(w, m);
		return;
	default: /* the coordinator is not there, or cannot write: the same again */
		m->state = m->state == GS_SYNCING ? GS_JOINING : m->state;
		wake_in(w, m, RETRY_MS, again);
	}
}

static void again(struct gs *w, void *arg)
{
	struct gs_member *m = woken(arg);
	if (!m)
		return;
	if (m->state == GS_MEMBER)
		gs_send(w, m, GS_HEARTBEAT, NULL);
	else
		join(w, m);
}

static void at_work(struct gs *w, void *arg)
{
	struct gs_member *m = woken(arg);
	if (!m || m->state != GS_MEMBER)
		return;
	gs_send(w, m, m->n_parts > 0 && gs_one_in(w, 4) ? GS_COMMIT : GS_HEARTBEAT, NULL);
}

static void joined(struct gs *w, struct gs_member *m, struct gs_call *call)
{
	m->generation = call->told_generation;
	m->state = GS_SYNCING;
	struct gs_call *next = calloc(1, sizeof(*next));
	CHECK(next);
	if (call->leads) {
		next->ids = call->ids;
		next->n_ids = call->n_ids;
		call->ids = NULL;
	}
	gs_send(w, m, GS_SYNC, next);
}

static void synced(struct gs *w, struct gs_member *m, const struct gs_call *call)
{
	m->state = GS_MEMBER;
	m->n_parts = call->n_parts;
	memcpy(m->parts, call->parts, sizeof(m->parts));
	wake_in(w, m, HEARTBEAT_MS, at_work);
}

static void receive(struct gs *w, void *arg)
{
	struct gs_call *call = arg;
	struct gs_member *m = call->m;
	if (call->serial > 0 && m->waiting == call->serial && m->state != GS_OUT) {
		m->waiting = 0;
		if (call->told_id[0] && (!call->error || call->error == KE_MEMBER_ID_REQUIRED))
			memcpy(m->id, call->told_id, sizeof(m->id));
		if (call->error)
			recover(w, m, call->error);
		else if (call->api == GS_JOIN)
			joined(w, m, call);
		else if (call->api == GS_SYNC)
			synced(w, m, call);
		else
			wake_in(w, m, HEARTBEAT_MS, at_work);
	}
	call_free(call);
}

/* ---- answers, as the coordinator gives them ---- */

void gs_copy_id(char out[GS_ID], struct kstr s)
{
	CHECK(s.len < GS_ID);
	if (s.len > 0)
		memcpy(out, s.p, (size_t)s.len);
	out[max_of(s.len, 0)] = 0;
}

/* The leader has every member with what it said of itself. */
static void take_members(struct gs *w, struct gs_call *call, const struct kp_join_group_response *r)
{
	call->leads = r->n_members > 0 && !r->skip_assignment;
	if (!call->leads)
		return;
	call->n_ids = (uint32_t)r->n_members;
	call->ids = malloc(call->n_ids * sizeof(*call->ids));
	CHECK(call->ids);
	for (int32_t i = 0; i < r->n_members; i++) {
		gs_copy_id(call->ids[i], r->members[i].member_id);
		struct kbytes md = r->members[i].metadata;
		GS_MUST(w, md.len > 1 && md.p[0] == 'm',
			"metadata of a member is not as it was given");
	}
}

static void take_join(struct gs *w, struct gs_call *call, const struct kp_join_group_response *r)
{
	call->error = r->error_code;
	call->told_generation = r->generation_id;
	gs_copy_id(call->told_id, r->member_id);
	if (!r->error_code)
		take_members(w, call, r);
}

static void take_sync(struct gs *w, struct gs_call *call, const struct kp_sync_group_response *r)
{
	call->error = r->error_code;
	call->n_parts = 0;
	for (int32_t i = 0; i + 4 <= r->assignment.len && !r->error_code; i += 4)
		call->parts[call->n_parts++] = (int32_t)be32_get(r->assignment.p + i);
	if (!r->error_code)
		gs_book_assigned(w, call);
}

static void take_commit(
	struct gs *w, struct gs_call *call, const struct kp_offset_commit_response *r)
{
	call->error = r->topics[0].partitions[0].error_code;
	GS_MUST(w, call->error || !call->before, "%s commits, and is not of the group's generation",
		call->m->name);
	if (!call->error)
		gs_book_committed(w, call);
}

void gs_reply(void *ctx, void *token, const void *response)
{
	struct gs *w = ctx;
	struct gs_call *call = token;
	if (w->muted)
		return;
	if (gs_consumer_asked(w, token)) {
		gs_consumer_reply(w, token, response);
		return;
	}
	if (gs_old_asked(w, token)) {
		gs_old_reply(w, token, response);
		return;
	}
	GS_MUST(w, !call->answered, "%s is answered twice", call->m->name);
	call->answered = true;
	list_remove(&call->node);
	switch (call->api) {
	case GS_JOIN:
		take_join(w, call, response);
		break;
	case GS_SYNC:
		take_sync(w, call, response);
		break;
	case GS_HEARTBEAT:
		call->error = ((const struct kp_heartbeat_response *)response)->error_code;
		break;
	case GS_LEAVE:
		call->error = ((const struct kp_leave_group_response *)response)->error_code;
		break;
	case GS_COMMIT:
		take_commit(w, call, response);
		break;
	case GS_DELETE_OFFSET:
	case GS_DELETE_GROUP:
		gs_admin_told(w, call, response);
		break;
	}
	w->answers++;
	gs_mix(w, (uint64_t)call->api << 32 | (uint16_t)call->error);
	gs_mix(w, (uint64_t)call->m->index << 32 | (uint32_t)call->told_generation);
	if (gs_lost(w))
		call_free(call);
	else
		gs_at(w, gs_transit_ns(w), receive, call, call_free);
}

/* ---- sending ---- */

/* No answer: the connection is given up, and the same is asked on another. */
static void timed_out(struct gs *w, void *arg)
{
	struct gs_member *m = woken(arg);
	if (!m || !m->waiting)
		return;
	if (m->state == GS_MEMBER)
		gs_send(w, m, GS_HEARTBEAT, NULL);
	else
		join(w, m);
}

static void ask_as_member(struct gs *w, struct gs_member *m, struct gs_call *call)
{
	enum gs_api api = call->api;
	call->group = m->group;
	call->serial = m->waiting = ++m->serial;
	call->generation = m->generation;
	memcpy(call->id, m->id, sizeof(call->id));
	if (api == GS_COMMIT) {
		call->partition = m->parts[prng_below(&w->rng, m->n_parts)];
		call->value = (int64_t)(w->seq + 1);
	}
	uint64_t patience_ms = api == GS_JOIN || api == GS_SYNC ? PATIENCE_MS / 2 : 3000;
	wake_in(w, m, patience_ms, timed_out);
}

void gs_send(struct gs *w, struct gs_member *m, enum gs_api api, struct gs_call *call)
{
	if (!call)
		call = calloc(1, sizeof(*call));
	CHECK(call);
	call->m = m;
	call->api = api;
	if (m != &w->admin)
		ask_as_member(w, m, call);
	if (!w->healed && gs_one_in(w, w->double_in))
		gs_at(w, gs_transit_ns(w), deliver, twin(call), call_free);
	if (gs_lost(w))
		call_free(call);
	else
		gs_at(w, gs_transit_ns(w), deliver, call, call_free);
}

/* ---- lives ---- */

void gs_member_kill(struct gs *w, struct gs_member *m)
{
	m->life++;
	m->waiting = 0;
	m->state = GS_OUT;
	m->n_parts = 0;
	if (!m->instance[0])
		m->id[0] = 0;
}

void gs_member_leave(struct gs *w, struct gs_member *m)
{
	gs_send(w, m, GS_LEAVE, NULL);
	gs_member_kill(w, m);
}

/* A static member starts without its id, like any other. */
void gs_member_start(struct gs *w, struct gs_member *m)
{
	m->life++;
	m->id[0] = 0;
	m->generation = -1;
	join(w, m);
}

void gs_members_make(struct gs *w)
{
	static const int16_t versions[] = {0, 3, 4, 5, 5, 7, 9, 9};
	w->members = calloc(w->n_members, sizeof(*w->members));
	CHECK(w->members);
	for (uint32_t i = 0; i < w->n_members; i++) {
		struct gs_member *m = &w->members[i];
		m->index = i;
		m->group = i % GS_READERS;
		m->version = versions[prng_below(&w->rng, array_size(versions))];
		m->session_ms = 6000 + (int32_t)prng_below(&w->rng, 14000);
		m->rebalance_ms = 4000 + (int32_t)prng_below(&w->rng, 16000);
		snprintf(m->name, sizeof(m->name), "m%u", i);
		if (m->version >= 5 && gs_one_in(w, 4)) /* some share an instance */
			snprintf(m->instance, sizeof(m->instance), "i%u",
				(unsigned)prng_below(&w->rng, w->n_members));
	}
}
