/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server-side assignors (KIP-848).
 *
 *   uniform   every member gets as many partitions as the others, or one more; of what it had it
 *             keeps as much as that allows
 *   range     of every topic each subscriber gets one run of partitions, in order of member:
 *             topics with as many partitions are shared out alike
 */
#include <stdlib.h>

#include "control/group/con.h"

#define NOBODY UINT32_MAX
/* Rounds of moving partitions from the loaded to the idle, when members subscribe to different
   topics. Each round but the last makes it better. */
#define ROUNDS_MAX 32

static const char *const assignors[] = {"uniform", "range"};

bool con_assignor_known(struct kstr name)
{
	for (unsigned i = 0; i < array_size(assignors); i++)
		if (kstr_equal(name, kstr_of(assignors[i])))
			return true;
	return false;
}

/* What most members ask for; the first one when nobody does. */
const char *con_assignor_of(const struct grp_con *con)
{
	uint32_t votes[array_size(assignors)] = {0}, best = 0;
	list_for_each (it, &con->members) {
		const struct con_member *m = list_entry(it, struct con_member, node);
		for (unsigned i = 0; i < array_size(assignors); i++)
			votes[i] += m->assignor.len > 0 &&
				    kstr_equal(m->assignor, kstr_of(assignors[i]));
	}
	for (uint32_t i = 1; i < array_size(assignors); i++)
		if (votes[i] > votes[best])
			best = i;
	return assignors[best];
}

/* ---- the table ---- */

struct table {
	struct grp_con *con;
	struct con_member **members;
	uint32_t n_members;
	uint32_t *first; /* by slot: index of its first partition in who */
	uint32_t n_parts;
	uint32_t *who;	/* by partition: index of a member, or NOBODY */
	uint32_t *load; /* by member */
	uint32_t *cap;
	/* subscribers by slot: members[subs[sub_first[slot] ...]] */
	uint32_t *sub_first;
	uint32_t *subs;
};

static void table_free(struct table *t)
{
	struct grp_core *c = t->con->group->core;
	grp_mem_put(c, t->members);
	grp_mem_put(c, t->first);
	grp_mem_put(c, t->who);
	grp_mem_put(c, t->load);
	grp_mem_put(c, t->cap);
	grp_mem_put(c, t->sub_first);
	grp_mem_put(c, t->subs);
}

static int member_order(const void *x, const void *y)
{
	const struct con_member *a = *(struct con_member *const *)x;
	const struct con_member *b = *(struct con_member *const *)y;
	return con_kstr_order(a->instance.len >= 0 ? a->instance : a->id,
		b->instance.len >= 0 ? b->instance : b->id);
}

static uint32_t parts_of(const struct grp_con *con, uint32_t slot)
{
	const struct con_slot *s = con->slots[slot];
	return s->subscribers > 0 ? (uint32_t)s->partitions : 0;
}

static void list_subscribers(struct table *t)
{
	uint32_t at = 0;
	for (uint32_t s = 0; s < t->con->n_slots; s++) {
		t->sub_first[s] = at;
		at += t->con->slots[s]->subscribers;
	}
	t->sub_first[t->con->n_slots] = at;
	/* filled from the front; sub_first is moved along, and back */
	for (uint32_t i = 0; i < t->n_members; i++)
		for (uint32_t k = 0; k < t->members[i]->n_slots; k++)
			t->subs[t->sub_first[t->members[i]->slots[k]]++] = i;
	for (uint32_t s = t->con->n_slots; s > 0; s--)
		t->sub_first[s] = t->sub_first[s - 1];
	t->sub_first[0] = 0;
}

static bool table_make(struct table *t, struct grp_con *con)
{
	struct grp_core *c = con->group->core;
	size_t subscriptions = 0;
	*t = (struct table){.con = con, .n_members = con->by_id.count};
	for (uint32_t s = 0; s < con->n_slots; s++) {
		t->n_parts += parts_of(con, s);
		subscriptions += con->slots[s]->subscribers;
	}
	t->members = grp_mem_get(c, (t->n_members + 1ul) * sizeof(struct con_member *));
	t->first = grp_mem_get(c, (con->n_slots + 1ul) * sizeof(uint32_t));
	t->who = grp_mem_get(c, (t->n_parts + 1ul) * sizeof(uint32_t));
	t->load = grp_mem_get(c, (t->n_members + 1ul) * sizeof(uint32_t));
	t->cap = grp_mem_get(c, (t->n_members + 1ul) * sizeof(uint32_t));
	t->sub_first = grp_mem_get(c, (con->n_slots + 1ul) * sizeof(uint32_t));
	t->subs = grp_mem_get(c, (subscriptions + 1ul) * sizeof(uint32_t));
	if (!t->members || !t->first || !t->who || !t->load || !t->cap || !t->sub_first || !t->subs)
		return false;
	uint32_t n = 0, at = 0;
	list_for_each (it, &con->members)
		t->members[n++] = list_entry(it, struct con_member, node);
	qsort(t->members, n, sizeof(struct con_member *), member_order);
	for (uint32_t i = 0; i < n; i++)
		t->members[i]->index = i;
	for (uint32_t s = 0; s < con->n_slots; s++) {
		t->first[s] = at;
		at += parts_of(con, s);
	}
	memset(t->who, 0xff, t->n_parts * sizeof(uint32_t));
	list_subscribers(t);
	return true;
}

static bool subscribes(const struct con_member *m, uint32_t slot)
{
	uint32_t lo = 0, hi = m->n_slots;
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		if (m->slots[mid] < slot)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < m->n_slots && m->slots[lo] == slot;
}

/* ---- uniform ---- */

static void keep_targets(struct table *t)
{
	for (uint32_t i = 0; i < t->n_members; i++) {
		const struct con_member *m = t->members[i];
		for (uint32_t k = 0; k < m->target.count; k++) {
			uint32_t slot = con_slot_of(m->target.v[k]);
			uint32_t p = (uint32_t)con_index_of(m->target.v[k]);
			if (p >= parts_of(t->con, slot) || !subscribes(m, slot) ||
				t->who[t->first[slot] + p] != NOBODY)
				continue;
			t->who[t->first[slot] + p] = i;
			t->load[i]++;
		}
	}
}

static bool all_alike(const struct table *t)
{
	const struct con_member *a = t->members[0];
	for (uint32_t i = 1; i < t->n_members; i++) {
		const struct con_member *b = t->members[i];
		if (a->n_slots != b->n_slots ||
			(a->n_slots > 0 &&
				memcmp(a->slots, b->slots, a->n_slots * sizeof(*a->slots)) != 0))
			return false;
	}
	return true;
}

/* Everybody gets the same, the first few of those who have more already one more. */
static void share_alike(struct table *t)
{
	uint32_t least = t->n_parts / t->n_members, extra = t->n_parts % t->n_members;
	for (unsigned pass = 0; pass < 2; pass++) {
		for (uint32_t i = 0; i < t->n_members; i++) {
			bool has_more = t->load[i] > least;
			if (has_more != (pass == 0))
				continue;
			t->cap[i] = least + (extra > 0);
			extra -= extra > 0;
		}
	}
	memset(t->load, 0, t->n_members * sizeof(*t->load));
	for (uint32_t p = 0; p < t->n_parts; p++) {
		uint32_t o = t->who[p];
		if (o == NOBODY)
			continue;
		if (t->load[o] < t->cap[o])
			t->load[o]++;
		else
			t->who[p] = NOBODY;
	}
	uint32_t i = 0;
	for (uint32_t p = 0; p < t->n_parts; p++) {
		if (t->who[p] != NOBODY)
			continue;
		while (t->load[i] >= t->cap[i])
			i++;
		t->who[p] = i;
		t->load[i]++;
	}
}

static uint32_t idlest(const struct table *t, uint32_t slot)
{
	uint32_t best = NOBODY;
	for (uint32_t k = t->sub_first[slot]; k < t->sub_first[slot + 1]; k++)
		if (best == NOBODY || t->load[t->subs[k]] < t->load[best])
			best = t->subs[k];
	return best;
}

/* One round over all partitions; whether anything moved. */
static bool level(struct table *t)
{
	bool moved = false;
	for (uint32_t s = 0; s < t->con->n_slots; s++) {
		for (uint32_t p = 0; p < parts_of(t->con, s); p++) {
			uint32_t *o = &t->who[t->first[s] + p], best = idlest(t, s);
			if (*o != NOBODY && t->load[best] + 1 >= t->load[*o])
				continue;
			if (*o != NOBODY)
				t->load[*o]--;
			*o = best;
			t->load[best]++;
			moved = true;
		}
	}
	return moved;
}

static void uniform(struct table *t)
{
	keep_targets(t);
	if (all_alike(t)) {
		share_alike(t);
		return;
	}
	for (unsigned i = 0; i < ROUNDS_MAX && level(t); i++)
		;
}

/* ---- range ---- */

static void range(struct table *t)
{
	for (uint32_t s = 0; s < t->con->n_slots; s++) {
		uint32_t parts = parts_of(t->con, s), n = t->con->slots[s]->subscribers, p = 0;
		for (uint32_t k = 0; k < n; k++) {
			uint32_t i = t->subs[t->sub_first[s] + k];
			for (uint32_t left = parts / n + (k < parts % n); left > 0; left--) {
				t->who[t->first[s] + p++] = i;
				t->load[i]++;
			}
		}
	}
}

/* ---- targets ---- */

/* The table as one set per member, in `out`; false: no memory. */
static bool make_targets(struct table *t, struct con_set *out)
{
	struct grp_core *c = t->con->group->core;
	for (uint32_t i = 0; i < t->n_members; i++) {
		out[i].v = t->load[i] > 0 ? grp_mem_get(c, t->load[i] * sizeof(uint64_t)) : NULL;
		if (t->load[i] > 0 && !out[i].v)
			return false;
	}
	for (uint32_t s = 0; s < t->con->n_slots; s++) {
		for (uint32_t p = 0; p < parts_of(t->con, s); p++) {
			uint32_t o = t->who[t->first[s] + p];
			CHECK(o < t->n_members && out[o].count < t->load[o]);
			out[o].v[out[o].count++] = con_part(s, (int32_t)p);
		}
	}
	return true;
}

static void set_targets(struct table *t, struct con_set *sets)
{
	struct grp_core *c = t->con->group->core;
	for (uint32_t i = 0; i < t->n_members; i++) {
		struct con_member *m = t->members[i];
		if (con_set_equal(&m->target, &sets[i]))
			continue;
		struct con_set old = m->target;
		m->target = sets[i];
		sets[i] = old;
		m->write_target = true;
	}
	for (uint32_t i = 0; i < t->n_members; i++)
		con_set_free(c, &sets[i]);
	t->con->target_epoch = t->con->epoch;
	t->con->write_target_epoch = true;
	c->stats.rebalances++;
}

bool con_assign(struct grp *g)
{
	struct table t;
	struct grp_core *c = g->core;
	struct con_set *sets = NULL;
	bool ok = table_make(&t, g->con) &&
		  (sets = grp_mem_get(c, (t.n_members + 1ul) * sizeof(*sets)));
	if (ok && t.n_members > 0) {
		if (strcmp(con_assignor_of(g->con), "range") == 0)
			range(&t);
		else
			uniform(&t);
	}
	if (ok && make_targets(&t, sets)) {
		set_targets(&t, sets);
	} else if (ok) {
		for (uint32_t i = 0; i < t.n_members; i++)
			con_set_free(c, &sets[i]);
		ok = false;
	}
	grp_mem_put(c, sets);
	table_free(&t);
	return ok;
}
