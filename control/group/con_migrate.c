/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From one protocol to the other while members are at work (KIP-848, "Online migration"): an
 * application is restarted instance by instance with group.protocol=consumer, or back. The first
 * member of the newer protocol makes a consumer group of a classic one; when the last has gone,
 * those of the classic protocol are among themselves again. Nobody loses what it owns by it.
 */
#include "control/group/con.h"

/* ---- to the consumer protocol ---- */

static bool upgradable(const struct grp *g)
{
	if (g->members_by_id.count > (uint32_t)g->core->cfg.consumer_max_size)
		return false;
	return list_empty(&g->members) || kstr_equal(g->protocol_type, kstr_of("consumer"));
}

/* Those of s that nobody has. */
static bool only_free(struct grp_con *con, struct con_set *s)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < s->count; i++) {
		if (!con_owner_room(con, s->v[i]))
			return false;
		if (!con_owner_of(con, s->v[i]))
			s->v[n++] = s->v[i];
	}
	s->count = n;
	return true;
}

static bool describe(struct con_member *m, const struct grp_member *from, const struct con_offer *o)
{
	struct grp_core *c = m->group->core;
	struct grp_protocols *own =
		grp_protocols_dup(c, from->protocols->v, from->protocols->count);
	if (!own)
		return false;
	con_member_classic(m, own);
	m->session_ms = from->session_ms;
	m->rebalance_ms = from->rebalance_ms;
	return con_set_names(m, o->names->v, o->names->count) >= 0 &&
	       con_set_text(c, &m->rack, o->rack) >= 0 &&
	       con_set_text(c, &m->client_id, from->client_id) >= 0 &&
	       con_set_text(c, &m->client_host, from->client_host) >= 0;
}

/* It has what the leader assigned to it; and is at the epoch that was the group's generation. */
static int16_t take_member(struct grp *g, const struct grp_member *from)
{
	struct con_offer offer;
	struct con_set assigned = {0};
	int16_t e = con_offer_read(g->con, from->protocols->v[0].metadata, &offer);
	struct con_member *m = e ? NULL : con_member_new(g, from->id, from->instance);
	bool ok = m && describe(m, from, &offer) &&
		  con_assignment_read(g->con, from->assignment, &assigned) &&
		  only_free(g->con, &assigned);
	con_offer_free(g->core, &offer);
	if (!ok || !con_own(m, assigned, (struct con_set){0})) {
		if (!ok)
			con_set_free(g->core, &assigned);
		return e == KE_INCONSISTENT_GROUP_PROTOCOL ? KE_GROUP_ID_NOT_FOUND
							   : KE_COORDINATOR_NOT_AVAILABLE;
	}
	m->epoch = m->prev_epoch = g->generation;
	m->write_subscription = m->write_target = m->write_current = true;
	return KE_NONE;
}

static bool add_all(
	struct grp_core *c, const struct con_set *a, const struct con_set *b, struct con_set *out)
{
	*out = (struct con_set){0};
	if (a->count + b->count == 0)
		return true;
	out->v = grp_mem_get(c, ((size_t)a->count + b->count) * sizeof(*out->v));
	if (!out->v)
		return false;
	for (uint32_t i = 0; i < a->count; i++)
		out->v[out->count++] = a->v[i];
	for (uint32_t i = 0; i < b->count; i++)
		out->v[out->count++] = b->v[i];
	con_sort(out->v, out->count);
	return true;
}

/*
 * One of a cooperative protocol may hold more than it was assigned: what it is giving up, or what
 * it had when an assignment failed. It said so when it joined.
 */
static int16_t take_owned(struct grp *g, struct con_member *m)
{
	struct con_offer offer;
	struct con_set all;
	bool ok = con_offer_read(g->con, m->classic->v[0].metadata, &offer) == KE_NONE &&
		  only_free(g->con, &offer.owned) &&
		  add_all(g->core, &m->assigned, &offer.owned, &all);
	con_offer_free(g->core, &offer);
	ok = ok && con_own(m, all, (struct con_set){0}) &&
	     con_set_copy(g->core, m->assigned.v, m->assigned.count, &m->target);
	return ok ? KE_NONE : KE_COORDINATOR_NOT_AVAILABLE;
}

/* Those who were never told that they are in join anew. */
static int16_t take_members(struct grp *g)
{
	int16_t e = KE_NONE;
	list_for_each (it, &g->members) {
		const struct grp_member *m = list_entry(it, struct grp_member, node);
		if (!e && g->generation > 0 && !m->is_new)
			e = take_member(g, m);
	}
	list_for_each (it, &g->con->members)
		if (!e)
			e = take_owned(g, list_entry(it, struct con_member, node));
	return e;
}

/* The classic group has no members any more; those who waited join again. */
static void disband(struct grp *g, struct grp_now now)
{
	while (!list_empty(&g->pending))
		grp_pending_drop(g, list_entry(list_front(&g->pending), struct grp_pending, node));
	while (!list_empty(&g->members))
		grp_member_drop(list_entry(list_front(&g->members), struct grp_member, node),
			KE_REBALANCE_IN_PROGRESS, now);
	grp_disarm(g->core, &g->join_timer);
	grp_disarm(g->core, &g->sync_timer);
	g->initial = false;
}

int16_t con_upgrade(struct grp *g, struct grp_now now)
{
	if (!upgradable(g))
		return KE_GROUP_ID_NOT_FOUND; /* as Kafka */
	if (g->sync_write)
		return KE_COORDINATOR_LOAD_IN_PROGRESS; /* soon it is known who owns what */
	if (!con_make(g))
		return KE_COORDINATOR_NOT_AVAILABLE;
	int16_t e = take_members(g);
	if (e) {
		con_end(g, e);
		return e;
	}
	disband(g, now);
	g->unled = false;
	con_take_over(g);
	struct grp_con *con = g->con;
	if (!list_empty(&con->members)) {
		con->target_epoch = con->epoch;
		con->write_epoch = con->write_target_epoch = con->stale = true;
	}
	list_for_each (it, &con->members)
		con_session_restart(list_entry(it, struct con_member, node), now);
	con_state_follow(g, now);
	return KE_NONE;
}

/* ---- to the classic protocol ---- */

static struct kstr not_null(struct kstr s)
{
	return s.len >= 0 ? s : kstr_of("");
}

static bool give_member(struct grp *g, const struct con_member *m)
{
	const struct grp_client client = {
		.id = not_null(m->client_id), .host = not_null(m->client_host)};
	const struct grp_joiner j = {
		.client = &client,
		.id = m->id,
		.instance = m->instance,
		.rebalance_ms = m->rebalance_ms,
		.session_ms = m->session_ms,
		.protocols = m->classic->v,
		.count = m->classic->count,
	};
	struct wr size = {.full = true};
	con_assignment_write(g->con, &m->assigned, &size);
	struct grp_member *to = grp_member_add(g, &j);
	uint8_t *p = to ? grp_mem_get(g->core, size.need) : NULL;
	if (!p)
		return false;
	struct wr w = wr_of(p, size.need);
	con_assignment_write(g->con, &m->assigned, &w);
	to->assignment = (struct kbytes){.p = p, .len = (int32_t)size.need};
	return true;
}

static bool give_members(struct grp *g)
{
	bool ok = grp_set_protocol_type(g, kstr_of("consumer"));
	list_for_each (it, &g->con->members)
		ok = ok && give_member(g, list_entry(it, struct con_member, node));
	return ok && grp_set_protocol(g, grp_select_protocol(g));
}

static void fill(struct grp_recs *r, struct grp *g, void *arg)
{
	list_for_each (it, &g->con->members)
		con_rec_member_drop(r, list_entry(it, struct con_member, node));
	con_rec_drop(r, g);
	grp_rec_group(r, g);
}

/* Of its members: newer ones of the group were told to nobody. */
static int32_t newest_epoch(const struct grp_con *con)
{
	int32_t newest = 0;
	list_for_each (it, &con->members)
		newest = max_of(newest, list_entry(it, struct con_member, node)->epoch);
	return newest;
}

static void take_back(struct grp *g, struct grp_now now)
{
	while (!list_empty(&g->members))
		grp_member_drop(
			list_entry(list_front(&g->members), struct grp_member, node), KE_NONE, now);
	grp_str_free(g->core, &g->protocol);
	g->generation = 0;
	g->unled = false;
}

bool con_downgrade_maybe(struct grp *g, struct grp_now now)
{
	const struct grp_con *con = g->con;
	int16_t e;
	if (!con || con->n_classic == 0 || con->n_classic < con->by_id.count ||
		con->n_classic > (uint32_t)g->core->cfg.max_size)
		return false;
	g->unled = true;
	g->generation = newest_epoch(con); /* those who are at it need not be fenced */
	struct grp_write *w =
		give_members(g) ? grp_write_new(g, GRP_W_DROP, fill, NULL, now, &e) : NULL;
	if (!w) {
		take_back(g, now);
		return false;
	}
	con_end(g, KE_REBALANCE_IN_PROGRESS);
	g->stored = true;
	grp_set_state(g, GRP_STABLE, now);
	list_for_each (it, &g->members)
		grp_session_restart(list_entry(it, struct grp_member, node), now);
	grp_write_send(w);
	grp_rebalance_maybe(g, now);
	return true;
}
