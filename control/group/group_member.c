/* SPDX-License-Identifier: Apache-2.0 */
/* Members: who they are, how long they may be silent, Heartbeat and LeaveGroup. */
#include "control/group/con.h"

/* ---- finding ---- */

struct grp_member *grp_member_find(const struct grp *g, struct kstr id)
{
	struct map_node *n = map_find(&g->members_by_id, id);
	return n ? container_of(n, struct grp_member, by_id) : NULL;
}

struct grp_member *grp_member_static(const struct grp *g, struct kstr instance)
{
	struct map_node *n = map_find(&g->members_by_instance, instance);
	return n ? container_of(n, struct grp_member, by_instance) : NULL;
}

int16_t grp_member_validate(
	const struct grp *g, struct kstr id, struct kstr instance, struct grp_member **out)
{
	struct grp_member *m = grp_member_find(g, id);
	if (instance.len >= 0) {
		struct grp_member *holder = grp_member_static(g, instance);
		if (!holder)
			return KE_UNKNOWN_MEMBER_ID;
		if (holder != m)
			return KE_FENCED_INSTANCE_ID;
	}
	if (!m)
		return KE_UNKNOWN_MEMBER_ID;
	*out = m;
	return KE_NONE;
}

struct kbytes grp_metadata_of(const struct grp_member *m, struct kstr protocol)
{
	for (int32_t i = 0; i < m->protocols->count; i++)
		if (kstr_equal(m->protocols->v[i].name, protocol))
			return m->protocols->v[i].metadata;
	return KBYTES_NULL;
}

/* ---- pending ids ---- */

struct grp_pending *grp_pending_find(const struct grp *g, struct kstr id)
{
	struct map_node *n = map_find(&g->pending_by_id, id);
	return n ? container_of(n, struct grp_pending, by_id) : NULL;
}

struct grp_pending *grp_pending_add(struct grp *g, struct kstr id)
{
	struct grp_core *c = g->core;
	struct grp_pending *p = grp_mem_get(c, sizeof(*p));
	if (!p)
		return NULL;
	*p = (struct grp_pending){.group = g};
	if (!grp_str_dup(c, id, &p->id)) {
		grp_mem_put(c, p);
		return NULL;
	}
	grp_timer_init(&p->timer, GRP_T_PENDING);
	list_push_back(&g->pending, &p->node);
	map_insert(&g->pending_by_id, &p->by_id, p->id);
	return p;
}

void grp_pending_drop(struct grp *g, struct grp_pending *p)
{
	grp_disarm(g->core, &p->timer);
	list_remove(&p->node);
	map_remove(&g->pending_by_id, &p->by_id);
	grp_str_free(g->core, &p->id);
	grp_mem_put(g->core, p);
}

void grp_pending_expired(struct grp_pending *p, struct grp_now now)
{
	struct grp *g = p->group;
	grp_pending_drop(g, p);
	if (g->state == GRP_PREPARING)
		grp_join_phase_check(g, now);
}

/* ---- members come and go ---- */

struct grp_protocols *grp_protocols_dup(struct grp_core *c, const struct grp_protocol *v, int32_t n)
{
	struct grp_protocols *p;
	size_t size = sizeof(*p) + (size_t)n * sizeof(p->v[0]);
	size_t at = size;
	for (int32_t i = 0; i < n; i++)
		size += (size_t)v[i].name.len + (size_t)max_of(v[i].metadata.len, 0);
	p = grp_mem_get(c, size);
	if (!p)
		return NULL;
	p->count = n;
	for (int32_t i = 0; i < n; i++) {
		char *name = (char *)p + at;
		at += (size_t)v[i].name.len;
		uint8_t *metadata = (uint8_t *)p + at;
		int32_t len = max_of(v[i].metadata.len, 0);
		at += (size_t)len;
		if (v[i].name.len > 0)
			memcpy(name, v[i].name.p, (size_t)v[i].name.len);
		if (len > 0)
			memcpy(metadata, v[i].metadata.p, (size_t)len);
		p->v[i].name = (struct kstr){.p = name, .len = v[i].name.len};
		p->v[i].metadata = (struct kbytes){.p = metadata, .len = len};
	}
	return p;
}

static void member_free(struct grp_core *c, struct grp_member *m)
{
	grp_str_free(c, &m->id);
	grp_str_free(c, &m->instance);
	grp_str_free(c, &m->client_id);
	grp_str_free(c, &m->client_host);
	grp_mem_put(c, m->protocols);
	grp_mem_put(c, (void *)m->assignment.p);
	grp_mem_put(c, m);
}

struct grp_member *grp_member_add(struct grp *g, const struct grp_joiner *j)
{
	struct grp_core *c = g->core;
	struct grp_member *m = grp_mem_get(c, sizeof(*m));
	if (!m)
		return NULL;
	m->group = g;
	m->id = m->instance = m->client_id = m->client_host = KSTR_NULL;
	m->rebalance_ms = j->rebalance_ms;
	m->session_ms = j->session_ms;
	m->protocols = grp_protocols_dup(c, j->protocols, j->count);
	if (!m->protocols || !grp_str_dup(c, j->id, &m->id) ||
		!grp_str_dup(c, j->instance, &m->instance) ||
		!grp_str_dup(c, j->client->id, &m->client_id) ||
		!grp_str_dup(c, j->client->host, &m->client_host)) {
		member_free(c, m);
		return NULL;
	}
	grp_timer_init(&m->session, GRP_T_SESSION);
	list_push_back(&g->members, &m->node);
	map_insert(&g->members_by_id, &m->by_id, m->id);
	if (m->instance.len >= 0)
		map_insert(&g->members_by_instance, &m->by_instance, m->instance);
	if (!g->leader)
		g->leader = m;
	c->stats.members++;
	return m;
}

bool grp_member_update(struct grp_member *m, const struct grp_joiner *j)
{
	struct grp_protocols *p = grp_protocols_dup(m->group->core, j->protocols, j->count);
	if (!p)
		return false;
	grp_mem_put(m->group->core, m->protocols);
	m->protocols = p;
	m->rebalance_ms = j->rebalance_ms;
	m->session_ms = j->session_ms;
	return true;
}

bool grp_member_rename(struct grp_member *m, struct kstr id)
{
	struct grp *g = m->group;
	struct kstr own;
	if (!grp_str_dup(g->core, id, &own))
		return false;
	map_remove(&g->members_by_id, &m->by_id);
	grp_str_free(g->core, &m->id);
	m->id = own;
	map_insert(&g->members_by_id, &m->by_id, m->id);
	return true;
}

bool grp_member_set_assignment(struct grp_member *m, struct kbytes a)
{
	struct grp_core *c = m->group->core;
	uint8_t *p = NULL;
	if (a.len > 0) {
		p = grp_mem_get(c, (size_t)a.len);
		if (!p)
			return false;
		memcpy(p, a.p, (size_t)a.len);
	}
	grp_mem_put(c, (void *)m->assignment.p);
	m->assignment = (struct kbytes){.p = p, .len = max_of(a.len, 0)};
	return true;
}

void grp_member_drop(struct grp_member *m, int16_t error, struct grp_now now)
{
	struct grp *g = m->group;
	struct grp_core *c = g->core;
	grp_answer_join(m, error, now);
	grp_answer_sync(m, error, now);
	grp_sync_synced(m);
	grp_disarm(c, &m->session);
	list_remove(&m->node);
	map_remove(&g->members_by_id, &m->by_id);
	if (m->instance.len >= 0)
		map_remove(&g->members_by_instance, &m->by_instance);
	if (g->leader == m)
		g->leader = list_empty(&g->members)
				    ? NULL
				    : list_entry(list_front(&g->members), struct grp_member, node);
	c->stats.members--;
	member_free(c, m);
}

void grp_member_gone(struct grp *g, struct grp_now now)
{
	if (g->state == GRP_PREPARING)
		grp_join_phase_check(g, now);
	else
		grp_rebalance_maybe(g, now);
}

/* ---- sessions ---- */

void grp_session_restart(struct grp_member *m, struct grp_now now)
{
	grp_arm(m->group->core, &m->session, now, m->session_ms);
}

/* A member that waits for us is not silent (it gets a new session with the answer), unless it is
   new: then nobody might be there to hear the answer. */
void grp_session_expired(struct grp_member *m, struct grp_now now)
{
	struct grp *g = m->group;
	if (!m->is_new && (m->join_token || m->sync_token))
		return;
	g->core->stats.expired_members++;
	grp_member_drop(m, KE_UNKNOWN_MEMBER_ID, now);
	grp_member_gone(g, now);
}

/* ---- Heartbeat ---- */

static int16_t heartbeat(
	struct grp_core *c, struct grp_now now, const struct kp_heartbeat_request *req)
{
	int16_t e = req->group_id.len == 0 ? KE_INVALID_GROUP_ID : grp_admit(c, req->group_id);
	if (e == KE_COORDINATOR_LOAD_IN_PROGRESS)
		return KE_NONE; /* as Kafka: its session is not running yet */
	if (e)
		return e;
	struct grp_member *m;
	struct grp *g = grp_get(c, req->group_id);
	if (!g)
		return KE_UNKNOWN_MEMBER_ID;
	if (g->state == GRP_CONSUMER && !con_downgrade_maybe(g, now))
		return con_classic_heartbeat(g, now, req);
	e = grp_member_validate(g, req->member_id, req->group_instance_id, &m);
	if (e)
		return e;
	if (req->generation_id != g->generation)
		return KE_ILLEGAL_GENERATION;
	if (!m->is_new)
		grp_session_restart(m, now);
	return g->state == GRP_PREPARING ? KE_REBALANCE_IN_PROGRESS : KE_NONE;
}

void grp_heartbeat(
	struct grp_core *c, struct grp_now now, void *token, const struct kp_heartbeat_request *req)
{
	struct kp_heartbeat_response res;
	kp_default_heartbeat_response(&res);
	res.error_code = heartbeat(c, now, req);
	c->sink.reply(c->sink.ctx, token, &res);
}

/* ---- LeaveGroup ---- */

static int16_t leave_one(struct grp *g, struct grp_now now, struct kstr id, struct kstr instance)
{
	struct grp_member *m;
	if (!g)
		return KE_UNKNOWN_MEMBER_ID;
	if (g->state == GRP_CONSUMER)
		return con_classic_leave(g, now, id, instance);
	if (id.len <= 0 && instance.len >= 0) { /* by an administrator, who knows the instance */
		m = grp_member_static(g, instance);
		if (!m)
			return KE_UNKNOWN_MEMBER_ID;
	} else {
		struct grp_pending *p = grp_pending_find(g, id);
		if (p && instance.len < 0) {
			grp_pending_drop(g, p);
			return KE_NONE;
		}
		int16_t e = grp_member_validate(g, id, instance, &m);
		if (e)
			return e;
	}
	grp_member_drop(m, KE_UNKNOWN_MEMBER_ID, now);
	return KE_NONE;
}

static void leave_many(struct grp *g, struct grp_now now, const struct kp_leave_group_request *req,
	struct kp_leave_group_response_member *out)
{
	for (int32_t i = 0; i < req->n_members; i++) {
		const struct kp_leave_group_request_member *m = &req->members[i];
		kp_default_leave_group_response_member(&out[i]);
		out[i].member_id = m->member_id;
		out[i].group_instance_id = m->group_instance_id;
		out[i].error_code = leave_one(g, now, m->member_id, m->group_instance_id);
	}
}

void grp_leave(struct grp_core *c, struct grp_now now, void *token, int16_t version,
	const struct kp_leave_group_request *req)
{
	struct kp_leave_group_response res;
	kp_default_leave_group_response(&res);
	res.error_code = req->group_id.len == 0 ? KE_INVALID_GROUP_ID : grp_admit(c, req->group_id);
	if (res.error_code) {
		c->sink.reply(c->sink.ctx, token, &res);
		return;
	}
	struct grp *g = grp_get(c, req->group_id);
	if (g)
		con_downgrade_maybe(g, now);
	struct kp_leave_group_response_member *members = NULL;
	uint32_t before = g ? g->members_by_id.count : 0;
	if (version < 3) {
		res.error_code = leave_one(g, now, req->member_id, KSTR_NULL);
	} else {
		members = grp_mem_get(c, (size_t)max_of(req->n_members, 1) * sizeof(*members));
		if (members) {
			leave_many(g, now, req, members);
			res.members = members;
			res.n_members = req->n_members;
		} else {
			res.error_code = KE_COORDINATOR_NOT_AVAILABLE;
		}
	}
	if (g && g->members_by_id.count < before)
		grp_member_gone(g, now);
	else if (g && g->state == GRP_PREPARING)
		grp_join_phase_check(g, now); /* it may have waited for a pending id */
	else if (g && g->con)
		con_settle(g, now);
	c->sink.reply(c->sink.ctx, token, &res);
	grp_mem_put(c, members);
}
