/* SPDX-License-Identifier: Apache-2.0 */
/* The group of the consumer protocol: its topics, its members, and who owns what. */
#include "control/group/con.h"

/* ---- topics ---- */

static struct kstr id_key(const struct uuid *id)
{
	return (struct kstr){.p = (const char *)id->b, .len = (int32_t)sizeof(id->b)};
}

struct con_slot *con_slot_find(const struct grp_con *con, const struct uuid *id)
{
	struct map_node *n = map_find(&con->slots_by_id, id_key(id));
	return n ? container_of(n, struct con_slot, by_id) : NULL;
}

static bool slots_grow(struct grp_con *con)
{
	struct grp_core *c = con->group->core;
	if (con->n_slots < con->room_slots)
		return true;
	uint32_t room = con->room_slots * 2 + 4;
	struct con_slot **v = grp_mem_get(c, room * sizeof(struct con_slot *));
	if (!v)
		return false;
	if (con->n_slots > 0)
		memcpy(v, con->slots, con->n_slots * sizeof(struct con_slot *));
	grp_mem_put(c, con->slots);
	con->slots = v;
	con->room_slots = room;
	return true;
}

uint32_t con_slot_get(struct grp_con *con, const struct uuid *id)
{
	struct con_slot *s = con_slot_find(con, id);
	if (s)
		return s->number;
	if (!slots_grow(con))
		return UINT32_MAX;
	s = grp_mem_get(con->group->core, sizeof(*s));
	if (!s)
		return UINT32_MAX;
	s->id = *id;
	s->number = con->n_slots;
	map_insert(&con->slots_by_id, &s->by_id, id_key(&s->id));
	con->slots[con->n_slots] = s;
	return con->n_slots++;
}

/* ---- owners ---- */

struct con_member *con_owner_of(const struct grp_con *con, uint64_t part)
{
	const struct con_slot *s = con->slots[con_slot_of(part)];
	uint32_t p = (uint32_t)con_index_of(part);
	return p < s->room ? s->owner[p] : NULL;
}

bool con_owner_room(struct grp_con *con, uint64_t part)
{
	struct grp_core *c = con->group->core;
	struct con_slot *s = con->slots[con_slot_of(part)];
	uint32_t p = (uint32_t)con_index_of(part);
	if (p < s->room)
		return true;
	uint32_t room = max_of(max_of(p + 1, (uint32_t)s->partitions), s->room * 2);
	struct con_member **v = grp_mem_get(c, room * sizeof(struct con_member *));
	if (!v)
		return false;
	if (s->room > 0)
		memcpy(v, s->owner, s->room * sizeof(struct con_member *));
	grp_mem_put(c, s->owner);
	s->owner = v;
	s->room = room;
	return true;
}

static void set_owner(struct grp_con *con, uint64_t part, struct con_member *m)
{
	con->slots[con_slot_of(part)]->owner[con_index_of(part)] = m;
}

static void disown_all(struct con_member *m)
{
	struct grp_con *con = m->group->con;
	const struct con_set *sets[] = {&m->assigned, &m->revoking};
	for (unsigned k = 0; k < 2; k++)
		for (uint32_t i = 0; i < sets[k]->count; i++)
			if (con_owner_of(con, sets[k]->v[i]) == m)
				set_owner(con, sets[k]->v[i], NULL);
}

static bool own_all(struct con_member *m, const struct con_set *s)
{
	for (uint32_t i = 0; i < s->count; i++)
		if (!con_owner_room(m->group->con, s->v[i]))
			return false;
	return true;
}

bool con_own(struct con_member *m, struct con_set assigned, struct con_set revoking)
{
	struct grp_con *con = m->group->con;
	struct grp_core *c = m->group->core;
	if (!own_all(m, &assigned) || !own_all(m, &revoking)) {
		con_set_free(c, &assigned);
		con_set_free(c, &revoking);
		return false;
	}
	disown_all(m);
	con_set_free(c, &m->assigned);
	con_set_free(c, &m->revoking);
	m->assigned = assigned;
	m->revoking = revoking;
	const struct con_set *sets[] = {&m->assigned, &m->revoking};
	for (unsigned k = 0; k < 2; k++) {
		for (uint32_t i = 0; i < sets[k]->count; i++) {
			CHECK(!con_owner_of(con, sets[k]->v[i])); /* at most one member owns it */
			set_owner(con, sets[k]->v[i], m);
		}
	}
	m->write_current = true;
	return true;
}

void con_own_as_is(struct con_member *m)
{
	struct grp_con *con = m->group->con;
	const struct con_set *sets[] = {&m->assigned, &m->revoking};
	for (unsigned k = 0; k < 2; k++)
		for (uint32_t i = 0; i < sets[k]->count; i++)
			set_owner(con, sets[k]->v[i], m);
}

/* ---- members ---- */

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
	disown_all(m);
	grp_disarm(c, &m->session);
	grp_disarm(c, &m->revoke);
	list_remove(&m->node);
	map_remove(&g->con->by_id, &m->by_id);
	if (m->instance.len >= 0)
		map_remove(&g->con->by_instance, &m->by_instance);
	c->stats.members--;
	member_free(c, m);
}

/* ---- the group ---- */

bool con_begin(struct grp *g)
{
	struct grp_core *c = g->core;
	CHECK(!g->con && list_empty(&g->members));
	struct grp_con *con = grp_mem_get(c, sizeof(*con));
	if (!con)
		return false;
	con->group = g;
	list_init(&con->members);
	list_init(&con->regexes);
	list_init(&con->gone);
	list_init(&con->replies);
	map_init(&con->by_id, c->cfg.hash_seed);
	map_init(&con->by_instance, c->cfg.hash_seed);
	map_init(&con->slots_by_id, c->cfg.hash_seed);
	con->drop_classic = g->stored && grp_is_loaded(c, g->partition);
	if (grp_is_loaded(c, g->partition)) {
		con->epoch = g->generation; /* epochs go on where generations were */
		g->stored = false;
		g->generation = 0;
		grp_str_free(c, &g->protocol);
	}
	g->con = con;
	return true;
}

static void free_regexes(struct grp_con *con)
{
	struct grp_core *c = con->group->core;
	struct list *n;
	while ((n = list_pop_front(&con->regexes))) {
		struct con_regex *x = list_entry(n, struct con_regex, node);
		grp_str_free(c, &x->text);
		grp_mem_put(c, x->names);
		grp_mem_put(c, x);
	}
}

static void fail_replies(struct grp_con *con, int16_t error)
{
	struct grp_core *c = con->group->core;
	struct list *n;
	while ((n = list_pop_front(&con->replies))) {
		struct con_reply *r = list_entry(n, struct con_reply, node);
		struct kp_consumer_group_heartbeat_response res;
		kp_default_consumer_group_heartbeat_response(&res);
		res.error_code = error;
		c->stats.parked--;
		c->sink.reply(c->sink.ctx, r->token, &res);
		grp_mem_put(c, r);
	}
}

void con_end(struct grp *g, int16_t error)
{
	struct grp_con *con = g->con;
	struct grp_core *c = g->core;
	struct list *n;
	fail_replies(con, error ? error : KE_COORDINATOR_NOT_AVAILABLE);
	while (!list_empty(&con->members))
		con_member_remove(
			list_entry(list_front(&con->members), struct con_member, node), false);
	while ((n = list_pop_front(&con->gone))) {
		struct con_gone *gone = list_entry(n, struct con_gone, node);
		grp_str_free(c, &gone->id);
		grp_mem_put(c, gone);
	}
	free_regexes(con);
	for (uint32_t i = 0; i < con->n_slots; i++) {
		map_remove(&con->slots_by_id, &con->slots[i]->by_id);
		grp_mem_put(c, con->slots[i]->owner);
		grp_mem_put(c, con->slots[i]);
	}
	grp_mem_put(c, con->slots);
	map_fini(&con->by_id);
	map_fini(&con->by_instance);
	map_fini(&con->slots_by_id);
	grp_mem_put(c, con);
	g->con = NULL;
}

void con_bump(struct grp_con *con)
{
	con->epoch = con->epoch == INT32_MAX ? 1 : con->epoch + 1;
	con->write_epoch = true;
}

void con_state_follow(struct grp *g, struct grp_now now)
{
	enum grp_state to = list_empty(&g->con->members) ? GRP_EMPTY : GRP_CONSUMER;
	if (g->state != to)
		grp_set_state(g, to, now);
}

const char *con_state_name(const struct grp_con *con)
{
	if (list_empty(&con->members))
		return "Empty";
	if (con->epoch > con->target_epoch)
		return "Assigning";
	list_for_each (it, &con->members) {
		const struct con_member *m = list_entry(it, struct con_member, node);
		if (m->state != CON_STABLE || m->epoch != con->target_epoch)
			return "Reconciling";
	}
	return "Stable";
}
