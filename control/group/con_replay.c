/* SPDX-License-Identifier: Apache-2.0 */
/* Consumer groups, read back from the log. */
#include "control/group/con.h"

/* ---- values ---- */

static bool open_value(struct kbytes v, struct rd *r)
{
	*r = rd_of(v.p, (size_t)v.len);
	return (int16_t)rd_be16(r) == 0 && !r->bad;
}

static struct kstr str(struct rd *r, bool nullable)
{
	return kp_rd_string(r, true, nullable);
}

/* Partitions by topic, into a set. */
static bool read_parts(struct grp_con *con, struct rd *r, struct con_set *out)
{
	struct grp_core *c = con->group->core;
	uint64_t *v = grp_mem_get(c, (rd_left(r) / 4 + 1) * sizeof(*v));
	uint32_t n = 0;
	*out = (struct con_set){0};
	if (!v)
		return false;
	for (int32_t topics = kp_rd_count(r, true, false, 18); topics > 0 && !r->bad; topics--) {
		struct uuid id = kp_rd_uuid(r);
		int32_t count = kp_rd_count(r, true, false, 4);
		uint32_t slot = r->bad ? UINT32_MAX : con_slot_get(con, &id);
		for (; count > 0 && !r->bad; count--) {
			int32_t p = (int32_t)rd_be32(r);
			if (slot != UINT32_MAX && p >= 0)
				v[n++] = con_part(slot, p);
		}
		kp_rd_tags_skip(r);
		r->bad |= slot == UINT32_MAX;
	}
	con_sort(v, n);
	bool ok = !r->bad && con_set_copy(c, v, n, out);
	grp_mem_put(c, v);
	return ok;
}

/* ---- members ---- */

static struct con_member *member_get(struct grp *g, struct kstr id)
{
	struct con_member *m = con_member_find(g->con, id);
	return m ? m : con_member_new(g, id, KSTR_NULL);
}

static bool read_names(struct con_member *m, struct rd *r)
{
	struct grp_core *c = m->group->core;
	int32_t n = kp_rd_count(r, true, false, 1);
	struct kstr *v = grp_mem_get(c, ((size_t)max_of(n, 0) + 1) * sizeof(*v));
	if (!v)
		return false;
	for (int32_t i = 0; i < n; i++)
		v[i] = str(r, false);
	struct con_names *names = r->bad ? NULL : con_names_new(c, v, (uint32_t)n);
	grp_mem_put(c, v);
	if (!names)
		return false;
	grp_mem_put(c, m->names);
	m->names = names;
	return true;
}

static bool set_str(struct grp_core *c, struct kstr *to, struct kstr s)
{
	grp_str_free(c, to);
	return grp_str_dup(c, s, to);
}

/* Another member may have had the instance: it left, and its tombstones follow or were compacted
 * away. */
static bool set_instance(struct con_member *m, struct kstr instance)
{
	struct grp_con *con = m->group->con;
	struct con_member *holder = con_member_static(con, instance);
	if (holder == m)
		return true;
	if (holder)
		con_member_remove(holder, false);
	if (m->instance.len >= 0)
		map_remove(&con->by_instance, &m->by_instance);
	if (!set_str(m->group->core, &m->instance, instance))
		return false;
	if (instance.len >= 0)
		map_insert(&con->by_instance, &m->by_instance, m->instance);
	return true;
}

/* ClassicMemberMetadata: the member is of the classic protocol. */
static bool replay_classic(struct con_member *m, struct rd *r)
{
	struct grp_protocol v[GRP_PROTOCOLS_MAX];
	struct grp_protocols *offers;
	if (!kp_rd_maybe(r))
		return !r->bad;
	m->session_ms = (int32_t)rd_be32(r);
	int32_t n = kp_rd_count(r, true, false, 3);
	if (n <= 0 || n > GRP_PROTOCOLS_MAX)
		return false;
	for (int32_t i = 0; i < n; i++) {
		v[i].name = str(r, false);
		v[i].metadata = kp_rd_bytes(r, true, false);
		kp_rd_tags_skip(r);
	}
	kp_rd_tags_skip(r);
	if (r->bad || !(offers = grp_protocols_dup(m->group->core, v, n)))
		return false;
	con_member_classic(m, offers);
	return true;
}

static bool replay_subscription(struct con_member *m, struct rd *r)
{
	struct grp_core *c = m->group->core;
	bool ok = set_instance(m, str(r, true));
	ok = set_str(c, &m->rack, str(r, true)) && ok;
	ok = set_str(c, &m->client_id, str(r, false)) && ok;
	ok = set_str(c, &m->client_host, str(r, false)) && ok;
	ok = ok && read_names(m, r);
	ok = set_str(c, &m->regex, str(r, true)) && ok;
	m->rebalance_ms = (int32_t)rd_be32(r);
	ok = set_str(c, &m->assignor, str(r, true)) && ok;
	con_member_classic(m, NULL);
	for (uint32_t n = rd_uvarint32(r); n > 0 && !r->bad; n--) {
		struct rd field;
		if (kp_rd_tag(r, &field) != 0)
			continue;
		ok = replay_classic(m, &field) && ok;
		kp_rd_tag_end(r, &field);
	}
	m->described = ok && !r->bad;
	return m->described;
}

static bool replay_target(struct con_member *m, struct rd *r)
{
	struct con_set target;
	if (!read_parts(m->group->con, r, &target))
		return false;
	con_set_free(m->group->core, &m->target);
	m->target = target;
	return true;
}

/* Owners are found when everything was read. */
static bool replay_current(struct con_member *m, struct rd *r)
{
	struct grp_core *c = m->group->core;
	struct con_set assigned, revoking;
	int32_t epoch = (int32_t)rd_be32(r), prev = (int32_t)rd_be32(r);
	uint8_t state = rd_u8(r);
	if (r->bad || state < CON_STABLE || state > CON_UNRELEASED)
		return false;
	if (!read_parts(m->group->con, r, &assigned))
		return false;
	if (!read_parts(m->group->con, r, &revoking)) {
		con_set_free(c, &assigned);
		return false;
	}
	con_set_free(c, &m->assigned);
	con_set_free(c, &m->revoking);
	m->assigned = assigned;
	m->revoking = revoking;
	m->epoch = epoch;
	m->prev_epoch = prev;
	m->state = (enum con_state)state;
	return true;
}

static bool replay_member(struct grp *g, const struct rec_key *k, struct kbytes value)
{
	struct rd r;
	struct con_member *m = con_member_find(g->con, k->member);
	if (value.len < 0) {
		struct con_set *gone = !m ? NULL : k->kind == REC_CON_TARGET ? &m->target : NULL;
		if (gone)
			con_set_free(g->core, gone);
		if (m && k->kind == REC_CON_MEMBER)
			con_member_remove(m, false);
		return true;
	}
	if (!open_value(value, &r) || !(m = member_get(g, k->member)))
		return false;
	switch (k->kind) {
	case REC_CON_MEMBER:
		return replay_subscription(m, &r);
	case REC_CON_TARGET:
		return replay_target(m, &r);
	default:
		return replay_current(m, &r);
	}
}

/* ---- the group ---- */

static bool replay_epoch(struct grp *g, const struct rec_key *k, struct kbytes value)
{
	struct rd r;
	int32_t epoch = 0;
	if (value.len >= 0) {
		if (!open_value(value, &r))
			return false;
		epoch = (int32_t)rd_be32(&r);
		if (r.bad || epoch < 0)
			return false;
	}
	if (k->kind == REC_CON_GROUP)
		g->con->epoch = epoch;
	else
		g->con->target_epoch = epoch;
	/* the last of its tombstones */
	if (value.len < 0 && k->kind == REC_CON_GROUP && list_empty(&g->con->members))
		con_end(g, KE_NONE);
	return true;
}

bool con_replay(struct grp_core *c, const struct rec_key *k, struct kbytes value)
{
	struct grp *g = grp_get(c, k->group);
	if (value.len < 0 && (!g || !g->con))
		return true;
	if (!g)
		g = grp_new(c, k->group, (struct grp_now){0});
	/* What made this classic group one of consumers was not written: it is what it was. */
	if (g && !g->con && g->state != GRP_EMPTY)
		return true;
	if (!g || (!g->con && !con_begin(g)))
		return false;
	if (k->kind == REC_CON_GROUP || k->kind == REC_CON_TARGET_EPOCH)
		return replay_epoch(g, k, value);
	return replay_member(g, k, value);
}

/* Whether nobody else has what m has by the log; then it is m's. */
static bool claim(struct con_member *m)
{
	struct grp_con *con = m->group->con;
	const struct con_set *sets[] = {&m->assigned, &m->revoking};
	for (unsigned k = 0; k < 2; k++)
		for (uint32_t i = 0; i < sets[k]->count; i++)
			if (!con_owner_room(con, sets[k]->v[i]) || con_owner_of(con, sets[k]->v[i]))
				return false;
	con_own_as_is(m);
	return true;
}

/*
 * The log tells a story that the coordinator would: except where a write between others failed
 * before the end. A member that does not fit is let go; it is told so with its next heartbeat, and
 * joins again.
 */
static bool fits(struct con_member *m)
{
	return m->described && m->epoch <= m->group->con->target_epoch &&
	       !con_set_meet(&m->assigned, &m->revoking) &&
	       (m->revoking.count == 0 || m->state == CON_UNREVOKED) && claim(m);
}

void con_loaded(struct grp *g, struct grp_now now)
{
	struct grp_con *con = g->con;
	con->epoch = max_of(con->epoch, con->target_epoch);
	list_for_each_safe (it, &con->members) {
		struct con_member *m = list_entry(it, struct con_member, node);
		if (!fits(m)) {
			con_member_remove(m, true);
			continue;
		}
		if (m->state == CON_STABLE && !con_set_equal(&m->assigned, &m->target))
			m->state = CON_UNRELEASED; /* it has a step before it */
		con_session_restart(m, now);
		if (m->state == CON_UNREVOKED)
			grp_arm(g->core, &m->revoke, now, max_of(m->rebalance_ms, 0));
	}
	/* topics may have changed meanwhile, or members been let go */
	if (!con_refresh(g) || (!con_targets_whole(con) && !list_empty(&con->members)))
		con_bump(con);
	con_state_follow(g, now);
}
