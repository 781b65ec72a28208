/* SPDX-License-Identifier: Apache-2.0 */
/* JoinGroup: who may come in, and what each is told at once or when the join phase is over. */
#include "control/group/con.h"

#include <stdio.h>

/* ---- answers ---- */

void grp_reply_join_error(struct grp_core *c, void *token, struct kstr member_id, int16_t error)
{
	struct kp_join_group_response res;
	kp_default_join_group_response(&res);
	res.error_code = error;
	res.protocol_name = KSTR_NULL;
	res.leader = kstr_of("");
	res.member_id = member_id;
	c->sink.reply(c->sink.ctx, token, &res);
}

static void fill_members(const struct grp *g, struct kp_join_group_response_member *out)
{
	list_for_each (it, &g->members) {
		const struct grp_member *m = list_entry(it, struct grp_member, node);
		kp_default_join_group_response_member(out);
		out->member_id = m->id;
		out->group_instance_id = m->instance;
		out->metadata = grp_metadata_of(m, g->protocol);
		CHECK(out->metadata.len >= 0);
		out++;
	}
}

void grp_reply_joined(struct grp_member *m, void *token, bool skip, struct kstr leader)
{
	struct grp *g = m->group;
	struct grp_core *c = g->core;
	struct kp_join_group_response res;
	struct kp_join_group_response_member *members = NULL;
	kp_default_join_group_response(&res);
	res.generation_id = g->generation;
	res.protocol_type = g->protocol_type;
	res.protocol_name = g->protocol;
	res.leader = leader;
	res.skip_assignment = skip;
	res.member_id = m->id;
	if (kstr_equal(leader, m->id)) {
		members = grp_mem_get(c, (size_t)g->members_by_id.count * sizeof(*members));
		if (!members) {
			grp_reply_join_error(c, token, m->id, KE_COORDINATOR_NOT_AVAILABLE);
			return;
		}
		fill_members(g, members);
		res.members = members;
		res.n_members = (int32_t)g->members_by_id.count;
	}
	c->sink.reply(c->sink.ctx, token, &res);
	grp_mem_put(c, members);
}

static void *take_join(struct grp_member *m)
{
	void *token = m->join_token;
	if (!token)
		return NULL;
	m->join_token = NULL;
	CHECK(m->group->joining > 0 && m->group->core->stats.parked > 0);
	m->group->joining--;
	m->group->core->stats.parked--;
	return token;
}

void grp_answer_join(struct grp_member *m, int16_t error, struct grp_now now)
{
	void *token = take_join(m);
	if (!token)
		return;
	if (error)
		grp_reply_join_error(m->group->core, token, m->id, error);
	else
		grp_reply_joined(m, token, false, m->group->leader->id);
}

void grp_park_join(struct grp_member *m, void *token, struct grp_now now)
{
	grp_answer_join(m, KE_REBALANCE_IN_PROGRESS, now); /* the connection before is left */
	m->join_token = token;
	m->group->joining++;
	m->group->core->stats.parked++;
}

/* ---- member ids ---- */

#define MEMBER_ID_MAX (GRP_ID_PREFIX_MAX + 1 + 36 + 1)

/* clientId-uuid, or instance-uuid, as Kafka. */
static struct kstr make_member_id(
	struct kstr prefix, const uint8_t random[GRP_RANDOM_SIZE], char out[MEMBER_ID_MAX])
{
	uint8_t b[GRP_RANDOM_SIZE];
	memcpy(b, random, sizeof(b));
	b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
	b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
	size_t n = (size_t)min_of(max_of(prefix.len, 0), GRP_ID_PREFIX_MAX);
	if (n > 0)
		memcpy(out, prefix.p, n);
	out[n++] = '-';
	for (unsigned i = 0; i < sizeof(b); i++) {
		n += (size_t)snprintf(out + n, MEMBER_ID_MAX - n, "%02x", b[i]);
		if (i == 3 || i == 5 || i == 7 || i == 9)
			out[n++] = '-';
	}
	return (struct kstr){.p = out, .len = (int32_t)n};
}

/* ---- the request ---- */

struct join {
	struct grp_core *c;
	struct grp_now now;
	void *token;
	int16_t version;
	struct kstr protocol_type;
	struct grp_joiner who;
	char new_id[MEMBER_ID_MAX];
};

static void refuse(struct join *j, int16_t error)
{
	grp_reply_join_error(j->c, j->token, j->who.id, error);
}

/* group.max.size counts the members that are in, or during the join phase those that have joined.
 */
static bool has_room(const struct grp *g, struct kstr id)
{
	uint32_t max = (uint32_t)g->core->cfg.max_size;
	const struct grp_member *m = grp_member_find(g, id);
	if (g->pending_by_id.count >= max && id.len == 0)
		return false;
	switch (g->state) {
	case GRP_PREPARING:
		return (m && m->join_token) || g->joining < max;
	case GRP_COMPLETING:
	case GRP_STABLE:
		return m || g->members_by_id.count < max;
	case GRP_EMPTY:
	case GRP_DEAD:
	case GRP_CONSUMER:
	case GRP_STATES:
		break;
	}
	return true;
}

bool grp_set_protocol_type(struct grp *g, struct kstr type)
{
	struct kstr own;
	if (kstr_equal(g->protocol_type, type))
		return true;
	if (!grp_str_dup(g->core, type, &own))
		return false;
	grp_str_free(g->core, &g->protocol_type);
	g->protocol_type = own;
	return true;
}

/* A member that was not in the group. */
static void add_member(struct join *j, struct grp *g)
{
	if (g->members_by_id.count == 0 && !grp_set_protocol_type(g, j->protocol_type)) {
		refuse(j, KE_COORDINATOR_NOT_AVAILABLE);
		return;
	}
	struct grp_member *m = grp_member_add(g, &j->who);
	if (!m) {
		refuse(j, KE_COORDINATOR_NOT_AVAILABLE);
		return;
	}
	m->is_new = true;
	if (g->state == GRP_PREPARING && g->generation == 0)
		g->member_added = true;
	grp_park_join(m, j->token, j->now);
	grp_arm(j->c, &m->session, j->now, j->c->cfg.new_member_ms);
	grp_rebalance_maybe(g, j->now);
}

/* A member of the group that wants to take part in a new generation. */
static void rejoin(struct join *j, struct grp *g, struct grp_member *m)
{
	if (!grp_member_update(m, &j->who)) {
		refuse(j, KE_COORDINATOR_NOT_AVAILABLE);
		return;
	}
	grp_park_join(m, j->token, j->now);
	grp_rebalance_maybe(g, j->now);
}

/*
 * A static member that has come back in a stable group which goes on as it is (KIP-345): only its
 * new id is written down. From version 9 on the leader is told that it need not assign (KIP-814);
 * before, it is not told that it leads.
 */
static void replace_without_rebalance(
	struct join *j, struct grp *g, struct grp_member *m, struct kstr old_leader)
{
	int16_t e;
	struct kstr leader = j->version >= 9 ? g->leader->id : old_leader;
	struct grp_write *w = grp_write_group(g, GRP_W_STATIC, j->now, &e);
	if (w && (!grp_str_dup(j->c, m->id, &w->member_id) ||
			 !grp_str_dup(j->c, leader, &w->leader_id))) {
		grp_write_free(j->c, w);
		w = NULL;
		e = KE_COORDINATOR_NOT_AVAILABLE;
	}
	if (!w) {
		refuse(j, grp_append_error(e, false));
		return;
	}
	w->token = j->token;
	w->version = j->version;
	w->generation = g->generation;
	grp_write_send(w);
}

/* A member without an id, whose instance is known: it takes the place of the one before. */
static void replace_static(struct join *j, struct grp *g, struct grp_member *m)
{
	struct kstr old_leader;
	if (!grp_str_dup(j->c, g->leader->id, &old_leader)) {
		refuse(j, KE_COORDINATOR_NOT_AVAILABLE);
		return;
	}
	grp_answer_join(m, KE_FENCED_INSTANCE_ID, j->now);
	grp_answer_sync(m, KE_FENCED_INSTANCE_ID, j->now);
	if (!grp_member_rename(m, j->who.id) || !grp_member_update(m, &j->who)) {
		refuse(j, KE_COORDINATOR_NOT_AVAILABLE);
	} else {
		grp_session_restart(m, j->now);
		if (g->state == GRP_STABLE && kstr_equal(g->protocol, grp_select_protocol(g))) {
			replace_without_rebalance(j, g, m, old_leader);
		} else {
			grp_park_join(m, j->token, j->now);
			grp_rebalance_maybe(g, j->now);
		}
	}
	grp_str_free(j->c, &old_leader);
}

/* Version 4 and later: first an id, with which it has to come back (KIP-394). */
static void require_member_id(struct join *j, struct grp *g)
{
	struct grp_pending *p = grp_pending_add(g, j->who.id);
	if (!p) {
		refuse(j, KE_COORDINATOR_NOT_AVAILABLE);
		return;
	}
	grp_arm(j->c, &p->timer, j->now, j->who.session_ms);
	refuse(j, KE_MEMBER_ID_REQUIRED);
}

static void join_new(struct join *j, struct grp *g, const uint8_t random[GRP_RANDOM_SIZE])
{
	bool is_static = j->who.instance.len >= 0;
	struct kstr prefix = is_static ? j->who.instance : j->who.client->id;
	j->who.id = make_member_id(prefix, random, j->new_id);
	struct grp_member *m = is_static ? grp_member_static(g, j->who.instance) : NULL;
	if (m)
		replace_static(j, g, m);
	else if (!is_static && j->version >= 4)
		require_member_id(j, g);
	else
		add_member(j, g);
}

static bool offers_the_same(const struct grp_member *m, const struct grp_joiner *who)
{
	if (m->protocols->count != who->count)
		return false;
	for (int32_t i = 0; i < who->count; i++) {
		const struct grp_protocol *a = &m->protocols->v[i], *b = &who->protocols[i];
		int32_t len = max_of(b->metadata.len, 0);
		if (!kstr_equal(a->name, b->name) || a->metadata.len != len ||
			(len > 0 && memcmp(a->metadata.p, b->metadata.p, (size_t)len) != 0))
			return false;
	}
	return true;
}

static void join_known(struct join *j, struct grp *g)
{
	struct grp_pending *p = grp_pending_find(g, j->who.id);
	if (p && j->who.instance.len < 0) {
		grp_pending_drop(g, p);
		add_member(j, g);
		return;
	}
	struct grp_member *m;
	int16_t e = grp_member_validate(g, j->who.id, j->who.instance, &m);
	if (e) {
		refuse(j, e);
		return;
	}
	/* A member that goes on as it was gets the current generation (its answer may have been
	   lost); the leader of a stable group asks for a new one by joining again. */
	bool same = offers_the_same(m, &j->who);
	bool current = g->state == GRP_COMPLETING || (g->state == GRP_STABLE && g->leader != m);
	if (same && current) {
		grp_session_restart(m, j->now);
		grp_reply_joined(m, j->token, false, g->leader->id);
	} else {
		rejoin(j, g, m);
	}
}

/* Into a consumer group that has members of that protocol. */
static void join_consumers(
	struct join *j, struct grp *g, bool is_new, const uint8_t random[GRP_RANDOM_SIZE])
{
	if (is_new)
		j->who.id = make_member_id(
			j->who.instance.len >= 0 ? j->who.instance : j->who.client->id, random,
			j->new_id);
	const struct con_join join = {
		.now = j->now,
		.token = j->token,
		.version = j->version,
		.is_new = is_new,
		.protocol_type = j->protocol_type,
		.who = &j->who,
	};
	con_classic_join(g, &join);
}

static void join_group(struct join *j, struct kstr group_id, const uint8_t random[GRP_RANDOM_SIZE])
{
	bool is_new = j->who.id.len <= 0;
	struct grp *g = grp_get(j->c, group_id);
	if (!g && !is_new) {
		refuse(j, KE_UNKNOWN_MEMBER_ID);
		return;
	}
	if (g && g->state == GRP_CONSUMER && !con_downgrade_maybe(g, j->now)) {
		join_consumers(j, g, is_new, random);
		return;
	}
	if (j->who.count == 0 || j->protocol_type.len == 0 || j->who.count > GRP_PROTOCOLS_MAX ||
		(g && !grp_supports(g, j->protocol_type, j->who.protocols, j->who.count))) {
		refuse(j, KE_INCONSISTENT_GROUP_PROTOCOL);
		return;
	}
	if (!g)
		g = grp_new(j->c, group_id, j->now);
	if (!g) {
		refuse(j, KE_COORDINATOR_NOT_AVAILABLE);
		return;
	}
	if (!has_room(g, j->who.id)) {
		struct grp_member *m = grp_member_find(g, j->who.id);
		refuse(j, KE_GROUP_MAX_SIZE_REACHED);
		if (m) {
			grp_member_drop(m, KE_GROUP_MAX_SIZE_REACHED, j->now);
			grp_member_gone(g, j->now);
		}
		return;
	}
	if (g->con)
		con_make_classic(g, j->now);
	if (is_new)
		join_new(j, g, random);
	else
		join_known(j, g);
	if (g->state == GRP_PREPARING)
		grp_join_phase_check(g, j->now);
}

void grp_join(struct grp_core *c, struct grp_now now, void *token, int16_t version,
	const struct grp_client *client, const uint8_t random[GRP_RANDOM_SIZE],
	const struct kp_join_group_request *req)
{
	struct join j = {
		.c = c,
		.now = now,
		.token = token,
		.version = version,
		.protocol_type = req->protocol_type,
		.who =
			{
				.client = client,
				.id = req->member_id,
				.instance = req->group_instance_id,
				.rebalance_ms = version >= 1 ? max_of(req->rebalance_timeout_ms, 0)
							     : req->session_timeout_ms,
				.session_ms = req->session_timeout_ms,
			},
	};
	int16_t e = req->group_id.len == 0 ? KE_INVALID_GROUP_ID : grp_admit(c, req->group_id);
	if (!e && (j.who.session_ms < c->cfg.min_session_ms ||
			  j.who.session_ms > c->cfg.max_session_ms))
		e = KE_INVALID_SESSION_TIMEOUT;
	if (e) {
		refuse(&j, e);
		return;
	}
	struct grp_protocol protocols[GRP_PROTOCOLS_MAX];
	for (int32_t i = 0; i < min_of(req->n_protocols, GRP_PROTOCOLS_MAX); i++)
		protocols[i] = (struct grp_protocol){
			.name = req->protocols[i].name, .metadata = req->protocols[i].metadata};
	j.who.protocols = protocols;
	j.who.count = max_of(req->n_protocols, 0);
	join_group(&j, req->group_id, random);
}
