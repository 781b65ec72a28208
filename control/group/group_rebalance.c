/* SPDX-License-Identifier: Apache-2.0 */
/* From one generation to the next: the join phase, its end, and those who do not sync. */
#include "control/group/group_int.h"

/* A join phase that nobody has joined goes on for at least as long. */
#define JOIN_RETRY_MS 1000

/* ---- protocols ---- */

static bool all_offer(const struct grp *g, struct kstr protocol)
{
	list_for_each (it, &g->members)
		if (grp_metadata_of(list_entry(it, struct grp_member, node), protocol).len < 0)
			return false;
	return true;
}

bool grp_supports(const struct grp *g, struct kstr type, const struct grp_protocol *p, int32_t n)
{
	if (list_empty(&g->members))
		return true;
	if (!kstr_equal(g->protocol_type, type))
		return false;
	for (int32_t i = 0; i < n; i++)
		if (all_offer(g, p[i].name))
			return true;
	return false;
}

/* Whether m votes for candidate: the first of its own protocols that is a candidate. */
static bool votes_for(
	const struct grp_member *m, const struct kstr *candidates, int32_t n, struct kstr candidate)
{
	for (int32_t i = 0; i < m->protocols->count; i++)
		for (int32_t k = 0; k < n; k++)
			if (kstr_equal(m->protocols->v[i].name, candidates[k]))
				return kstr_equal(candidates[k], candidate);
	return false;
}

struct kstr grp_select_protocol(const struct grp *g)
{
	struct kstr candidates[GRP_PROTOCOLS_MAX], best = KSTR_NULL;
	int32_t n = 0;
	uint32_t best_votes = 0;
	for (int32_t i = 0; i < g->leader->protocols->count; i++)
		if (all_offer(g, g->leader->protocols->v[i].name))
			candidates[n++] = g->leader->protocols->v[i].name;
	for (int32_t i = 0; i < n; i++) {
		uint32_t votes = 0;
		list_for_each (it, &g->members)
			votes += votes_for(list_entry(it, struct grp_member, node), candidates, n,
				candidates[i]);
		if (votes > best_votes) { /* a tie goes to what the leader prefers */
			best_votes = votes;
			best = candidates[i];
		}
	}
	CHECK(best_votes > 0); /* grp_supports let nobody in who shares no protocol */
	return best;
}

bool grp_set_protocol(struct grp *g, struct kstr protocol)
{
	struct kstr own;
	if (!grp_str_dup(g->core, protocol, &own))
		return false;
	grp_str_free(g->core, &g->protocol);
	g->protocol = own;
	return true;
}

/* ---- the join phase ---- */

static int32_t rebalance_ms_of(const struct grp *g)
{
	int32_t ms = 0;
	list_for_each (it, &g->members)
		ms = max_of(ms, list_entry(it, struct grp_member, node)->rebalance_ms);
	return ms;
}

static void begin(struct grp *g, struct grp_now now)
{
	struct grp_core *c = g->core;
	bool was_empty = g->state == GRP_EMPTY;
	if (g->state == GRP_COMPLETING)
		grp_fail_syncs(g, KE_REBALANCE_IN_PROGRESS, now);
	g->sync_write = NULL;
	grp_disarm(c, &g->sync_timer);
	list_for_each (it, &g->members)
		grp_sync_synced(list_entry(it, struct grp_member, node));
	grp_set_state(g, GRP_PREPARING, now);
	int32_t ms = rebalance_ms_of(g);
	g->initial = was_empty;
	g->member_added = false;
	if (was_empty) {
		g->initial_left_ms = max_of(ms - c->cfg.initial_delay_ms, 0);
		ms = c->cfg.initial_delay_ms;
	}
	grp_arm(c, &g->join_timer, now, ms);
}

void grp_rebalance_maybe(struct grp *g, struct grp_now now)
{
	if (g->state == GRP_EMPTY && list_empty(&g->members))
		return;
	if (g->state != GRP_EMPTY && g->state != GRP_COMPLETING && g->state != GRP_STABLE)
		return;
	begin(g, now);
	grp_join_phase_check(g, now);
}

/* Those who have not come back; static members may yet, until their session ends. */
static void drop_absent(struct grp *g, struct grp_now now)
{
	list_for_each_safe (it, &g->members) {
		struct grp_member *m = list_entry(it, struct grp_member, node);
		if (!m->join_token && m->instance.len < 0)
			grp_member_drop(m, KE_UNKNOWN_MEMBER_ID, now);
	}
}

/* The leader stays if it has joined; else the first who has. False: nobody has. */
static bool elect_leader(struct grp *g)
{
	if (g->leader->join_token)
		return true;
	list_for_each (it, &g->members) {
		struct grp_member *m = list_entry(it, struct grp_member, node);
		if (m->join_token) {
			g->leader = m;
			return true;
		}
	}
	return false;
}

static void next_generation(struct grp *g)
{
	g->generation = g->generation == INT32_MAX ? 1 : g->generation + 1;
}

static void become_empty(struct grp *g, struct grp_now now)
{
	int16_t e;
	g->unled = false;
	next_generation(g);
	grp_str_free(g->core, &g->protocol);
	grp_set_state(g, GRP_EMPTY, now);
	struct grp_write *w = grp_write_group(g, GRP_W_EMPTY, now, &e);
	if (w)
		grp_write_send(w);
}

static void answer_all(struct grp *g, struct grp_now now)
{
	list_for_each (it, &g->members) {
		struct grp_member *m = list_entry(it, struct grp_member, node);
		grp_answer_join(m, KE_NONE, now);
		grp_session_restart(m, now);
		m->is_new = false;
		m->pending_sync = true;
		g->unsynced++;
	}
	grp_arm(g->core, &g->sync_timer, now, rebalance_ms_of(g));
}

static void end(struct grp *g, struct grp_now now)
{
	grp_disarm(g->core, &g->join_timer);
	g->initial = false;
	drop_absent(g, now);
	if (list_empty(&g->members)) {
		become_empty(g, now);
		return;
	}
	if (!elect_leader(g) || !grp_set_protocol(g, grp_select_protocol(g))) {
		grp_arm(g->core, &g->join_timer, now, max_of(rebalance_ms_of(g), JOIN_RETRY_MS));
		return;
	}
	g->unled = false;
	next_generation(g);
	grp_set_state(g, GRP_COMPLETING, now);
	answer_all(g, now);
}

void grp_join_phase_check(struct grp *g, struct grp_now now)
{
	CHECK(g->state == GRP_PREPARING);
	bool all = g->joining == g->members_by_id.count && list_empty(&g->pending);
	if (all && (!g->initial || list_empty(&g->members)))
		end(g, now);
}

/* A new group waits as long as members keep coming, at most their rebalance timeout (KIP-134). */
void grp_join_timer_fired(struct grp *g, struct grp_now now)
{
	CHECK(g->state == GRP_PREPARING);
	if (g->initial && g->member_added && g->initial_left_ms > 0) {
		int32_t ms = min_of(g->core->cfg.initial_delay_ms, g->initial_left_ms);
		g->initial_left_ms -= ms;
		g->member_added = false;
		grp_arm(g->core, &g->join_timer, now, ms);
		return;
	}
	end(g, now);
}

/* Members that did not send SyncGroup within the rebalance timeout are taken for gone. */
void grp_sync_timer_fired(struct grp *g, struct grp_now now)
{
	bool dropped = false;
	CHECK(g->state == GRP_COMPLETING || g->state == GRP_STABLE);
	list_for_each_safe (it, &g->members) {
		struct grp_member *m = list_entry(it, struct grp_member, node);
		if (!m->pending_sync)
			continue;
		g->core->stats.expired_members++;
		grp_member_drop(m, KE_UNKNOWN_MEMBER_ID, now);
		dropped = true;
	}
	if (dropped)
		grp_rebalance_maybe(g, now);
}
