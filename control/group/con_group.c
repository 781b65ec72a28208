/* SPDX-License-Identifier: Apache-2.0 */
/* The group of the consumer protocol: its topics, who owns what of them, its states. */
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

void con_disown(struct con_member *m)
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
	con_disown(m);
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

/* ---- the group ---- */

bool con_make(struct grp *g)
{
	struct grp_core *c = g->core;
	CHECK(!g->con);
	struct grp_con *con = grp_mem_get(c, sizeof(*con));
	if (!con)
		return false;
	con->group = g;
	con->life = c->con_lives = c->con_lives == INT32_MAX ? 1 : c->con_lives + 1;
	list_init(&con->members);
	list_init(&con->regexes);
	list_init(&con->gone);
	list_init(&con->replies);
	map_init(&con->by_id, c->cfg.hash_seed);
	map_init(&con->by_instance, c->cfg.hash_seed);
	map_init(&con->slots_by_id, c->cfg.hash_seed);
	g->con = con;
	return true;
}

void con_take_over(struct grp *g)
{
	struct grp_con *con = g->con;
	if (!grp_is_loaded(g->core, g->partition))
		return; /* the log says all of it */
	con->was_classic = con->drop_classic = g->stored;
	con->epoch = g->generation; /* epochs go on where generations were */
	g->stored = false;
	g->generation = 0;
	grp_str_free(g->core, &g->protocol);
}

bool con_begin(struct grp *g)
{
	CHECK(list_empty(&g->members));
	if (!con_make(g))
		return false;
	con_take_over(g);
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
	while (!list_empty(&con->replies))
		con_reply_send(con->group->core,
			list_entry(list_front(&con->replies), struct con_reply, node), error);
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
