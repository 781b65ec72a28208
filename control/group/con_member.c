/* SPDX-License-Identifier: Apache-2.0 */
/* Members of a consumer group: how they come, what is known of them, how they go. */
#include "control/group/con.h"

/* ---- come and go ---- */

struct con_member *con_member_find(const struct grp_con *con, struct kstr id)
{
	struct map_node *n = map_find(&con->by_id, id);
	return n ? container_of(n, struct con_member, by_id) : NULL;
}

struct con_member *con_member_static(const struct grp_con *con, struct kstr instance)
{
	struct map_node *n = map_find(&con->by_instance, instance);
	return n ? container_of(n, struct con_member, by_instance) : NULL;
}

static void member_free(struct grp_core *c, struct con_member *m)
{
	grp_str_free(c, &m->id);
	grp_str_free(c, &m->instance);
	grp_str_free(c, &m->rack);
	grp_str_free(c, &m->client_id);
	grp_str_free(c, &m->client_host);
	grp_str_free(c, &m->regex);
	grp_str_free(c, &m->assignor);
	grp_mem_put(c, m->names);
	grp_mem_put(c, m->classic);
	grp_mem_put(c, m->slots);
	con_set_free(c, &m->assigned);
	con_set_free(c, &m->revoking);
	con_set_free(c, &m->target);
	grp_mem_put(c, m);
}

struct con_member *con_member_new(struct grp *g, struct kstr id, struct kstr instance)
{
	struct grp_core *c = g->core;
	struct con_member *m = grp_mem_get(c, sizeof(*m));
	if (!m)
		return NULL;
	m->group = g;
	m->id = m->instance = m->rack = m->client_id = m->client_host = KSTR_NULL;
	m->regex = m->assignor = KSTR_NULL;
	m->state = CON_STABLE;
	m->rebalance_ms = -1;
	if (!grp_str_dup(c, id, &m->id) || !grp_str_dup(c, instance, &m->instance)) {
		member_free(c, m);
		return NULL;
	}
	grp_timer_init(&m->session, GRP_T_CON_SESSION);
	grp_timer_init(&m->revoke, GRP_T_CON_REVOKE);
	grp_timer_init(&m->rejoin, GRP_T_CON_REJOIN);
	list_push_back(&g->con->members, &m->node);
	map_insert(&g->con->by_id, &m->by_id, m->id);
	if (m->instance.len >= 0)
		map_insert(&g->con->by_instance, &m->by_instance, m->instance);
	c->stats.members++;
	return m;
}

/* Without memory for it, the records stay until a restart, and its session ends then. */
static void remember_gone(struct grp *g, struct kstr id)
{
	struct con_gone *gone = grp_mem_get(g->core, sizeof(*gone));
	if (!gone)
		return;
	if (!grp_str_dup(g->core, id, &gone->id)) {
		grp_mem_put(g->core, gone);
		return;
	}
	list_push_back(&g->con->gone, &gone->node);
}

void con_member_remove(struct con_member *m, bool drop)
{
	struct grp *g = m->group;
	struct grp_core *c = g->core;
	if (drop)
		remember_gone(g, m->id);
	con_disown(m);
	con_member_classic(m, NULL);
	grp_disarm(c, &m->session);
	grp_disarm(c, &m->revoke);
	list_remove(&m->node);
	map_remove(&g->con->by_id, &m->by_id);
	if (m->instance.len >= 0)
		map_remove(&g->con->by_instance, &m->by_instance);
	c->stats.members--;
	member_free(c, m);
}

void con_member_gone(struct con_member *m, struct grp_now now)
{
	struct grp *g = m->group;
	con_member_remove(m, true);
	/* what is left of the group has a new target with the next heartbeat */
	con_bump(g->con);
	g->con->stale = true;
	con_state_follow(g, now);
}

/* Writes what has changed; the last of the consumer protocol may have gone. */
bool con_settle(struct grp *g, struct grp_now now)
{
	return con_downgrade_maybe(g, now) || con_flush(g, now);
}

/* ---- one in the place of another ---- */

static struct con_set take_set(struct con_set *from)
{
	struct con_set s = *from;
	*from = (struct con_set){0};
	return s;
}

/* A static member under a new id has what the one before had. */
static bool inherit(struct con_member *m, struct con_member *old)
{
	struct grp_core *c = m->group->core;
	struct con_set assigned, revoking, target = take_set(&old->target);
	bool ok = con_set_copy(c, old->assigned.v, old->assigned.count, &assigned);
	ok &= con_set_copy(c, old->revoking.v, old->revoking.count, &revoking);
	enum con_state state = old->state;
	con_member_remove(old, true);
	map_insert(&m->group->con->by_instance, &m->by_instance, m->instance);
	m->target = target;
	m->write_target = true;
	if (!ok || !con_own(m, assigned, revoking))
		return false;
	m->state = state;
	return true;
}

struct con_member *con_member_replace(struct con_member *old, struct kstr id)
{
	struct grp *g = old->group;
	/* not by its instance yet: that is the old one's */
	struct con_member *m = con_member_new(g, id, KSTR_NULL);
	if (!m || !grp_str_dup(g->core, old->instance, &m->instance)) {
		if (m)
			con_member_remove(m, false);
		return NULL;
	}
	return inherit(m, old) ? m : NULL;
}

/* ---- what is known of them ---- */

int con_set_text(struct grp_core *c, struct kstr *s, struct kstr now)
{
	struct kstr own;
	if (now.len < 0 || kstr_equal(*s, now) || (s->len < 0 && now.len == 0))
		return 0;
	if (!grp_str_dup(c, now, &own))
		return -1;
	grp_str_free(c, s);
	*s = own;
	return 1;
}

int con_set_names(struct con_member *m, const struct kstr *v, uint32_t n)
{
	struct grp_core *c = m->group->core;
	struct con_names *names = con_names_new(c, v, n);
	if (!names)
		return -1;
	if (con_names_equal(names, m->names)) {
		grp_mem_put(c, names);
		return 0;
	}
	grp_mem_put(c, m->names);
	m->names = names;
	return 1;
}

void con_member_classic(struct con_member *m, struct grp_protocols *offers)
{
	struct grp_con *con = m->group->con;
	con->n_classic += (offers != NULL) - (m->classic != NULL);
	grp_mem_put(m->group->core, m->classic);
	m->classic = offers;
	if (!offers)
		grp_disarm(m->group->core, &m->rejoin);
}

void con_session_restart(struct con_member *m, struct grp_now now)
{
	struct grp_core *c = m->group->core;
	grp_arm(c, &m->session, now, m->classic ? m->session_ms : c->cfg.consumer_session_ms);
}

/* Silent for longer than a session. */
void con_session_expired(struct con_member *m, struct grp_now now)
{
	struct grp *g = m->group;
	g->core->stats.expired_members++;
	con_member_gone(m, now);
	con_settle(g, now);
}

/* Did not give up what it had to, or did not join again, within its rebalance timeout. */
void con_revoke_expired(struct con_member *m, struct grp_now now)
{
	con_session_expired(m, now);
}
