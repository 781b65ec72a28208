/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Members of the classic protocol in a consumer group (KIP-848, "Online migration"). A JoinGroup
 * is one step towards the target, with what the member says it owns; there is no leader. Whoever
 * has another step before it learns so from its heartbeat (REBALANCE_IN_PROGRESS), and has its
 * rebalance timeout to join again.
 */
#include "control/group/con.h"

/* ---- answers ---- */

/* With room for `extra` bytes behind it; NULL: no memory. */
static struct con_reply *reply_new(
	struct grp_core *c, enum con_reply_kind kind, void *token, size_t extra)
{
	struct con_reply *r = grp_mem_get(c, sizeof(*r) + extra);
	if (!r)
		return NULL;
	r->kind = kind;
	r->token = token;
	list_init(&r->node);
	return r;
}

/* A copy of s at *at, which moves on: members may be gone when the answer is sent. */
static struct kstr keep(char **at, struct kstr s)
{
	struct kstr own = {.p = *at, .len = max_of(s.len, 0)};
	if (s.len > 0)
		memcpy(*at, s.p, (size_t)s.len);
	*at += own.len;
	return own;
}

static int16_t answer_join(const struct con_member *m, void *token)
{
	struct kstr protocol = m->classic->v[0].name;
	struct con_reply *r = reply_new(m->group->core, CON_R_JOIN, token,
		(size_t)m->id.len + (size_t)max_of(protocol.len, 0));
	if (!r)
		return KE_COORDINATOR_NOT_AVAILABLE;
	char *at = (char *)(r + 1);
	kp_default_join_group_response(&r->join);
	r->join.generation_id = m->epoch;
	r->join.protocol_type = kstr_of("consumer");
	r->join.protocol_name = keep(&at, protocol);
	r->join.leader = kstr_of(""); /* the coordinator assigns */
	r->join.member_id = keep(&at, m->id);
	con_reply_later(m->group, r);
	return KE_NONE;
}

static int16_t answer_sync(const struct con_member *m, void *token)
{
	struct wr size = {.full = true};
	struct kstr protocol = m->classic->v[0].name;
	con_assignment_write(m->group->con, &m->assigned, &size);
	struct con_reply *r = reply_new(
		m->group->core, CON_R_SYNC, token, size.need + (size_t)max_of(protocol.len, 0));
	if (!r)
		return KE_COORDINATOR_NOT_AVAILABLE;
	char *at = (char *)(r + 1);
	struct wr w = wr_of(at, size.need);
	con_assignment_write(m->group->con, &m->assigned, &w);
	CHECK(!w.full);
	kp_default_sync_group_response(&r->sync);
	r->sync.assignment = (struct kbytes){.p = (uint8_t *)at, .len = (int32_t)size.need};
	at += size.need;
	r->sync.protocol_type = kstr_of("consumer");
	r->sync.protocol_name = keep(&at, protocol);
	con_reply_later(m->group, r);
	return KE_NONE;
}

/* ---- JoinGroup ---- */

struct joining {
	struct grp *g;
	const struct con_join *j;
	struct con_offer offer;
	struct con_member *m;
	bool changed; /* a new group epoch is needed */
};

static bool offers(const struct grp_protocols *p, struct kstr name)
{
	for (int32_t i = 0; i < p->count; i++)
		if (kstr_equal(p->v[i].name, name))
			return true;
	return false;
}

/* The others of the classic protocol must have one of its protocols too: they may be among
   themselves again one day. */
static bool supports(
	const struct grp_con *con, const struct con_member *but, const struct grp_joiner *who)
{
	for (int32_t i = 0; i < who->count; i++) {
		bool all = true;
		list_for_each (it, &con->members) {
			const struct con_member *m = list_entry(it, struct con_member, node);
			all &= m == but || !m->classic ||
			       offers(m->classic, who->protocols[i].name);
		}
		if (all)
			return true;
	}
	return false;
}

/* The member whose place it takes. */
static struct con_member *known(const struct joining *s)
{
	const struct grp_joiner *who = s->j->who;
	return who->instance.len >= 0 ? con_member_static(s->g->con, who->instance)
				      : con_member_find(s->g->con, who->id);
}

static int16_t admit(const struct joining *s)
{
	const struct grp_joiner *who = s->j->who;
	const struct grp_con *con = s->g->con;
	if (who->count <= 0 || who->count > GRP_PROTOCOLS_MAX ||
		!kstr_equal(s->j->protocol_type, kstr_of("consumer")) ||
		!supports(con, known(s), who))
		return KE_INCONSISTENT_GROUP_PROTOCOL;
	size_t size = 0;
	for (int32_t i = 0; i < who->count; i++)
		size += (size_t)max_of(who->protocols[i].metadata.len, 0);
	if (size > s->g->core->cfg.max_write_bytes / 2)
		return KE_INVALID_REQUEST; /* it could not be written */
	if (!known(s) && con->by_id.count >= (uint32_t)s->g->core->cfg.consumer_max_size)
		return KE_GROUP_MAX_SIZE_REACHED;
	return KE_NONE;
}

static int16_t find_member(struct joining *s)
{
	const struct grp_joiner *who = s->j->who;
	struct con_member *old = known(s);
	if (old && kstr_equal(old->id, who->id)) {
		s->m = old;
		return KE_NONE;
	}
	if (who->instance.len >= 0 && !s->j->is_new)
		return old ? KE_FENCED_INSTANCE_ID : KE_UNKNOWN_MEMBER_ID;
	if (who->instance.len < 0 && s->offer.owned.count > 0)
		return KE_UNKNOWN_MEMBER_ID; /* it was let go: it has to forget what it had */
	if (s->j->is_new && who->instance.len < 0 && s->j->version >= 4)
		return KE_MEMBER_ID_REQUIRED; /* any id is good that it comes back with */
	s->changed = true;
	s->m = old ? con_member_replace(old, who->id)
		   : con_member_new(s->g, who->id, who->instance);
	return s->m ? KE_NONE : KE_COORDINATOR_NOT_AVAILABLE;
}

/* What only members of the newer protocol have. */
static bool forget(struct con_member *m)
{
	bool had = m->regex.len > 0 || m->assignor.len > 0;
	grp_str_free(m->group->core, &m->regex);
	grp_str_free(m->group->core, &m->assignor);
	return had;
}

static bool update(struct joining *s)
{
	const struct grp_joiner *who = s->j->who;
	struct con_member *m = s->m;
	struct grp_core *c = s->g->core;
	struct grp_protocols *own = grp_protocols_dup(c, who->protocols, who->count);
	if (!own)
		return false;
	con_member_classic(m, own);
	m->session_ms = who->session_ms;
	m->rebalance_ms = who->rebalance_ms;
	m->write_subscription = true;
	con_session_restart(m, s->j->now);
	s->changed |= forget(m);
	int names = con_set_names(m, s->offer.names->v, s->offer.names->count);
	s->changed |= names > 0;
	return names >= 0 && con_set_text(c, &m->rack, s->offer.rack) >= 0 &&
	       con_set_text(c, &m->client_id, who->client->id) >= 0 &&
	       con_set_text(c, &m->client_host, who->client->host) >= 0;
}

static int16_t join(struct joining *s)
{
	struct grp *g = s->g;
	struct grp_now now = s->j->now;
	int16_t e = admit(s);
	if (!e)
		e = con_offer_read(g->con, s->j->who->protocols[0].metadata, &s->offer);
	if (!e)
		e = find_member(s);
	if (e)
		return e;
	con_session_restart(s->m, now);
	e = update(s) ? con_follow(g, s->changed) : KE_COORDINATOR_NOT_AVAILABLE;
	if (!e && !con_reconcile(s->m, &s->offer.owned, now))
		e = KE_COORDINATOR_NOT_AVAILABLE;
	if (s->m->classic)
		grp_arm(g->core, &s->m->rejoin, now, s->m->rebalance_ms); /* to sync */
	con_state_follow(g, now);
	if (!con_flush(g, now))
		e = KE_COORDINATOR_NOT_AVAILABLE;
	return e ? e : answer_join(s->m, s->j->token);
}

void con_classic_join(struct grp *g, const struct con_join *j)
{
	struct joining s = {.g = g, .j = j};
	int16_t e = join(&s);
	con_offer_free(g->core, &s.offer);
	if (e)
		grp_reply_join_error(g->core, j->token, j->who->id, e);
}

/* ---- members that are in ---- */

bool con_is_classic(const struct grp *g, struct kstr member_id)
{
	const struct con_member *m = con_member_find(g->con, member_id);
	return m && m->classic;
}

static int16_t find(
	const struct grp *g, struct kstr id, struct kstr instance, struct con_member **out)
{
	struct con_member *m = *out = con_member_find(g->con, id);
	if (instance.len >= 0) {
		const struct con_member *holder = con_member_static(g->con, instance);
		if (holder && holder != m)
			return KE_FENCED_INSTANCE_ID;
		if (!holder)
			return KE_UNKNOWN_MEMBER_ID;
	}
	return m && m->classic ? KE_NONE : KE_UNKNOWN_MEMBER_ID;
}

static int16_t find_at(const struct grp *g, struct kstr id, struct kstr instance,
	int32_t generation, struct con_member **out)
{
	int16_t e = find(g, id, instance, out);
	return e ? e : generation == (*out)->epoch ? KE_NONE : KE_ILLEGAL_GENERATION;
}

static int16_t must_rejoin(struct con_member *m, struct grp_now now)
{
	if (!wheel_timer_armed(&m->rejoin.t))
		grp_arm(m->group->core, &m->rejoin, now, m->rebalance_ms);
	return KE_REBALANCE_IN_PROGRESS;
}

static bool differs(struct kstr given, struct kstr ours)
{
	return given.len >= 0 && !kstr_equal(given, ours);
}

static int16_t sync(
	struct grp *g, struct grp_now now, void *token, const struct kp_sync_group_request *req)
{
	struct con_member *m;
	int16_t e = find_at(g, req->member_id, req->group_instance_id, req->generation_id, &m);
	if (e)
		return e;
	if (differs(req->protocol_type, kstr_of("consumer")) ||
		differs(req->protocol_name, m->classic->v[0].name))
		return KE_INCONSISTENT_GROUP_PROTOCOL;
	con_session_restart(m, now);
	/* one that has to give something up does so first: it needs to know what */
	if (m->epoch < g->con->epoch && m->state != CON_UNREVOKED)
		return must_rejoin(m, now);
	grp_disarm(g->core, &m->rejoin);
	return answer_sync(m, token);
}

void con_classic_sync(
	struct grp *g, struct grp_now now, void *token, const struct kp_sync_group_request *req)
{
	int16_t e = sync(g, now, token, req);
	if (!e)
		return;
	struct kp_sync_group_response res;
	kp_default_sync_group_response(&res);
	res.error_code = e;
	g->core->sink.reply(g->core->sink.ctx, token, &res);
}

int16_t con_classic_heartbeat(
	struct grp *g, struct grp_now now, const struct kp_heartbeat_request *req)
{
	struct con_member *m;
	int16_t e = find_at(g, req->member_id, req->group_instance_id, req->generation_id, &m);
	if (e)
		return e;
	con_session_restart(m, now);
	if (con_follow(g, false) == KE_NONE)
		con_flush(g, now); /* what cannot be written now is with the next change */
	bool rejoin = m->epoch < g->con->epoch || m->state == CON_UNREVOKED ||
		      (m->state == CON_UNRELEASED && con_target_free(m));
	return rejoin ? must_rejoin(m, now) : KE_NONE;
}

int16_t con_classic_leave(struct grp *g, struct grp_now now, struct kstr id, struct kstr instance)
{
	struct con_member *m;
	if (id.len <= 0 && instance.len >= 0) { /* by an administrator, who knows the instance */
		m = con_member_static(g->con, instance);
		if (!m)
			return KE_UNKNOWN_MEMBER_ID;
	} else {
		int16_t e = find(g, id, instance, &m);
		if (e)
			return e;
	}
	con_member_gone(m, now);
	return KE_NONE;
}
