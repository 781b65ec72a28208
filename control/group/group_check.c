/* SPDX-License-Identifier: Apache-2.0 */
/* What must hold of every group after every step, and a picture of it all. */
#include "control/group/con.h"

#include <stdarg.h>
#include <stdio.h>

/* ---- invariants ---- */

static void check_member(const struct grp *g, const struct grp_member *m)
{
	bool loaded = grp_is_loaded(g->core, g->partition);
	CHECK(m->group == g);
	CHECK(grp_member_find(g, m->id) == m);
	CHECK(m->instance.len < 0 || grp_member_static(g, m->instance) == m);
	/* a join is parked in the join phase, a sync while the assignment is made */
	CHECK(!m->join_token || g->state == GRP_PREPARING);
	CHECK(!m->sync_token || (g->state == GRP_COMPLETING && !m->pending_sync));
	CHECK(!m->pending_sync || g->state == GRP_COMPLETING || g->state == GRP_STABLE);
	CHECK(!m->is_new || g->state == GRP_PREPARING);
	/* whoever does not wait for us can be missed */
	CHECK(!loaded || m->join_token || m->sync_token || wheel_timer_armed(&m->session.t));
	CHECK(!m->is_new || wheel_timer_armed(&m->session.t));
	if (g->state == GRP_COMPLETING || g->state == GRP_STABLE)
		CHECK(grp_metadata_of(m, g->protocol).len >= 0);
}

static void check_members(const struct grp *g)
{
	uint32_t members = 0, statics = 0, joining = 0, unsynced = 0, leaders = 0, pending = 0;
	list_for_each (it, &g->members) {
		const struct grp_member *m = list_entry(it, struct grp_member, node);
		check_member(g, m);
		members++;
		statics += m->instance.len >= 0;
		joining += m->join_token != NULL;
		unsynced += m->pending_sync;
		leaders += g->leader == m;
	}
	list_for_each (it, &g->pending) {
		const struct grp_pending *p = list_entry(it, struct grp_pending, node);
		CHECK(grp_pending_find(g, p->id) == p && !grp_member_find(g, p->id));
		CHECK(wheel_timer_armed(&p->timer.t));
		pending++;
	}
	CHECK(members == g->members_by_id.count && statics == g->members_by_instance.count);
	CHECK(pending == g->pending_by_id.count);
	CHECK(joining == g->joining && unsynced == g->unsynced);
	CHECK(leaders == (members > 0 ? 1u : 0u) && (g->leader != NULL) == (members > 0));
}

static void check_offsets(const struct grp *g)
{
	uint32_t offsets = 0;
	list_for_each (it, &g->topics) {
		const struct grp_topic *t = list_entry(it, struct grp_topic, node);
		CHECK(t->count > 0 && t->count <= t->room);
		for (uint32_t i = 0; i < t->count; i++) {
			CHECK(i == 0 || t->v[i - 1].partition < t->v[i].partition);
			CHECK(t->v[i].metadata.len >= 0);
		}
		offsets += t->count;
	}
	CHECK(offsets == g->offsets);
}

void grp_check_group(const struct grp *g)
{
	CHECK(grp_get(g->core, g->id) == g);
	CHECK(g->partition == grp_partition_of(g->id, g->core->partitions));
	CHECK(g->generation >= 0);
	CHECK(g->state != GRP_EMPTY || list_empty(&g->members));
	/* without members only while ids are pending that may still join */
	CHECK(!list_empty(&g->members) || g->state == GRP_EMPTY || g->state == GRP_CONSUMER ||
		(g->state == GRP_PREPARING && !list_empty(&g->pending)));
	CHECK(wheel_timer_armed(&g->join_timer.t) == (g->state == GRP_PREPARING));
	CHECK(!wheel_timer_armed(&g->sync_timer.t) ||
		((g->state == GRP_COMPLETING || g->state == GRP_STABLE) && g->unsynced > 0));
	CHECK(g->unsynced == 0 || wheel_timer_armed(&g->sync_timer.t));
	CHECK(!g->sync_write || g->state == GRP_COMPLETING);
	CHECK(!g->deletion || (g->state == GRP_EMPTY && g->writes > 0));
	CHECK(!g->initial || g->state == GRP_PREPARING);
	CHECK(g->state != GRP_STABLE || g->stored);
	/* the join phase ends as soon as it can */
	CHECK(g->state != GRP_PREPARING || g->initial || !list_empty(&g->pending) ||
		g->joining < g->members_by_id.count);
	CHECK(g->state != GRP_CONSUMER || g->con);
	if (g->con)
		con_check(g);
	check_members(g);
	check_offsets(g);
}

void grp_check(const struct grp_core *c)
{
	uint64_t groups = 0, members = 0, offsets = 0, parked = 0, writes = 0;
	list_for_each (it, &c->groups) {
		const struct grp *g = list_entry(it, struct grp, node);
		grp_check_group(g);
		groups++;
		members += g->members_by_id.count + (g->con ? g->con->by_id.count : 0);
		offsets += g->offsets;
		writes += g->writes;
		if (g->con)
			list_for_each (n, &g->con->replies)
				parked++;
		list_for_each (n, &g->members) {
			const struct grp_member *m = list_entry(n, struct grp_member, node);
			parked += (m->join_token != NULL) + (m->sync_token != NULL);
		}
	}
	list_for_each (it, &c->dead) {
		const struct grp *g = list_entry(it, struct grp, node);
		CHECK(g->state == GRP_DEAD && g->writes > 0);
		writes += g->writes;
	}
	CHECK(groups == c->stats.groups && groups == c->groups_by_id.count);
	CHECK(members == c->stats.members && offsets == c->stats.offsets);
	CHECK(parked == c->stats.parked && writes == c->stats.writes);
	CHECK(c->stats.bytes <= c->cfg.max_bytes);
	CHECK(!c->draining || groups == 0);
}

/* ---- picture ---- */

struct text {
	char *p;
	size_t size;
	size_t len;
};

__attribute__((format(printf, 2, 3))) static void say(struct text *t, const char *format, ...)
{
	va_list ap;
	va_start(ap, format);
	bool fits = t->len < t->size;
	int n = vsnprintf(fits ? t->p + t->len : NULL, fits ? t->size - t->len : 0, format, ap);
	va_end(ap);
	t->len += n > 0 ? (size_t)n : 0;
}

#define STR(s) (int)max_of((s).len, 0), (s).len > 0 ? (s).p : ""

static void dump_members(const struct grp *g, struct text *t)
{
	list_for_each (it, &g->members) {
		const struct grp_member *m = list_entry(it, struct grp_member, node);
		say(t, "  member %.*s", STR(m->id));
		if (m->instance.len >= 0)
			say(t, " instance %.*s", STR(m->instance));
		say(t, "%s%s%s%s%s assigned %d bytes\n", g->leader == m ? " leader" : "",
			m->is_new ? " new" : "", m->join_token ? " joining" : "",
			m->sync_token ? " syncing" : "", m->pending_sync ? " not synced" : "",
			m->assignment.len);
	}
	list_for_each (it, &g->pending)
		say(t, "  pending %.*s\n", STR(list_entry(it, struct grp_pending, node)->id));
}

static void dump_set(struct text *t, const char *what, const struct con_set *s)
{
	say(t, " %s", what);
	for (uint32_t i = 0; i < s->count; i++)
		say(t, "%s%u/%d", i ? "," : " ", con_slot_of(s->v[i]), con_index_of(s->v[i]));
}

static void dump_consumers(const struct grp_con *con, struct text *t)
{
	say(t, "  epoch %d target %d %s\n", con->epoch, con->target_epoch, con_state_name(con));
	list_for_each (it, &con->members) {
		const struct con_member *m = list_entry(it, struct con_member, node);
		say(t, "  consumer %.*s", STR(m->id));
		if (m->instance.len >= 0)
			say(t, " instance %.*s", STR(m->instance));
		say(t, "%s epoch %d state %d", m->classic ? " classic" : "", m->epoch,
			(int)m->state);
		dump_set(t, "has", &m->assigned);
		dump_set(t, "revokes", &m->revoking);
		dump_set(t, "target", &m->target);
		say(t, "\n");
	}
}

size_t grp_dump(const struct grp_core *c, char *out, size_t size)
{
	struct text t = {.p = out, .size = size};
	if (size > 0)
		out[0] = 0;
	list_for_each (it, &c->groups) {
		const struct grp *g = list_entry(it, struct grp, node);
		say(&t, "group %.*s %s generation %d protocol %.*s/%.*s\n", STR(g->id),
			grp_state_name(g->state), g->generation, STR(g->protocol_type),
			STR(g->protocol));
		dump_members(g, &t);
		if (g->con)
			dump_consumers(g->con, &t);
		list_for_each (n, &g->topics) {
			const struct grp_topic *topic = list_entry(n, struct grp_topic, node);
			for (uint32_t i = 0; i < topic->count; i++)
				say(&t, "  offset %.*s/%d %lld epoch %d \"%.*s\"\n",
					STR(topic->name), topic->v[i].partition,
					(long long)topic->v[i].offset, topic->v[i].leader_epoch,
					STR(topic->v[i].metadata));
		}
	}
	return t.len;
}
