/* SPDX-License-Identifier: Apache-2.0 */
/* From what a member owns to what it shall own (KIP-848, "Reconciliation of the group"). */
#include "control/group/con.h"

static void set_epoch(struct con_member *m, int32_t epoch)
{
	if (m->epoch == epoch)
		return;
	m->prev_epoch = m->epoch;
	m->epoch = epoch;
	m->write_current = true;
}

static void set_state(struct con_member *m, enum con_state state, struct grp_now now)
{
	struct grp_core *c = m->group->core;
	if (state == CON_UNREVOKED && m->state != state)
		grp_arm(c, &m->revoke, now, max_of(m->rebalance_ms, 0));
	if (state != CON_UNREVOKED)
		grp_disarm(c, &m->revoke);
	m->write_current |= m->state != state;
	m->state = state;
}

/* Those of the target that nobody else owns; *all: these are all of it. */
static bool take_free(struct con_member *m, struct con_set *out, bool *all)
{
	struct grp_con *con = m->group->con;
	const struct con_set *target = &m->target;
	uint32_t n = 0;
	*out = (struct con_set){0};
	*all = true;
	uint64_t *v = grp_mem_get(m->group->core, (target->count + 1ul) * sizeof(*v));
	if (!v)
		return false;
	for (uint32_t i = 0; i < target->count; i++) {
		const struct con_member *owner = con_owner_of(con, target->v[i]);
		if (!owner || owner == m)
			v[n++] = target->v[i];
		else
			*all = false;
	}
	bool ok = con_set_copy(m->group->core, v, n, out);
	grp_mem_put(m->group->core, v);
	return ok;
}

bool con_target_free(const struct con_member *m)
{
	for (uint32_t i = 0; i < m->target.count; i++) {
		const struct con_member *owner = con_owner_of(m->group->con, m->target.v[i]);
		if (owner && owner != m)
			return false;
	}
	return true;
}

/* The member still holds what it has to give up: it is told to, and stays at its epoch. */
static bool must_revoke(struct con_member *m, struct con_set revoke, struct grp_now now)
{
	struct grp_core *c = m->group->core;
	struct con_set keep;
	if (!con_set_filter(c, &m->assigned, &m->target, true, &keep)) {
		con_set_free(c, &revoke);
		return false;
	}
	if (!con_own(m, keep, revoke))
		return false;
	set_state(m, CON_UNREVOKED, now);
	return true;
}

static bool advance(struct con_member *m, struct grp_now now)
{
	struct con_set assigned;
	bool all;
	if (!take_free(m, &assigned, &all))
		return false;
	bool same = m->revoking.count == 0 && con_set_equal(&assigned, &m->assigned);
	if (same)
		con_set_free(m->group->core, &assigned);
	else if (!con_own(m, assigned, (struct con_set){0}))
		return false;
	set_epoch(m, m->group->con->target_epoch);
	set_state(m, all ? CON_STABLE : CON_UNRELEASED, now);
	return true;
}

/*
 * What a member was told to have, and does not say that it has, it may be about to take: only when
 * it has been told to give it up does its word count. One of the classic protocol takes nothing
 * while it joins.
 */
static bool gave_up(
	const struct con_member *m, const struct con_set *owned, const struct con_set *revoke)
{
	return m->classic && !con_set_meet(owned, revoke);
}

bool con_reconcile(struct con_member *m, const struct con_set *owned, struct grp_now now)
{
	struct grp_core *c = m->group->core;
	if (m->state == CON_STABLE && m->epoch == m->group->con->target_epoch)
		return true;
	if (m->state == CON_UNREVOKED && (!owned || con_set_meet(owned, &m->revoking)))
		return true;
	struct con_set revoke;
	if (!con_set_filter(c, &m->assigned, &m->target, false, &revoke))
		return false;
	if (revoke.count > 0 && !(m->epoch == 0 || gave_up(m, owned, &revoke)))
		return must_revoke(m, revoke, now);
	con_set_free(c, &revoke);
	return advance(m, now);
}
