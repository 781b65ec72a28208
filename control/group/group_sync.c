/* SPDX-License-Identifier: Apache-2.0 */
/* SyncGroup: the leader's assignment goes to the log first, and then to every member. */
#include "control/group/con.h"

static void reply_error(struct grp_core *c, void *token, int16_t error)
{
	struct kp_sync_group_response res;
	kp_default_sync_group_response(&res);
	res.error_code = error;
	c->sink.reply(c->sink.ctx, token, &res);
}

static void reply_assignment(const struct grp_member *m, void *token)
{
	const struct grp *g = m->group;
	struct kp_sync_group_response res;
	kp_default_sync_group_response(&res);
	res.protocol_type = g->protocol_type;
	res.protocol_name = g->protocol;
	res.assignment = m->assignment;
	g->core->sink.reply(g->core->sink.ctx, token, &res);
}

void grp_answer_sync(struct grp_member *m, int16_t error, struct grp_now now)
{
	void *token = m->sync_token;
	if (!token)
		return;
	m->sync_token = NULL;
	CHECK(m->group->core->stats.parked > 0);
	m->group->core->stats.parked--;
	if (error)
		reply_error(m->group->core, token, error);
	else
		reply_assignment(m, token);
	grp_session_restart(m, now);
}

static void park(struct grp_member *m, void *token, struct grp_now now)
{
	grp_answer_sync(m, KE_REBALANCE_IN_PROGRESS, now); /* the connection before is left */
	m->sync_token = token;
	m->group->core->stats.parked++;
}

static void clear_assignments(struct grp *g)
{
	list_for_each (it, &g->members)
		CHECK(grp_member_set_assignment(
			list_entry(it, struct grp_member, node), KBYTES_NULL));
}

void grp_fail_syncs(struct grp *g, int16_t error, struct grp_now now)
{
	clear_assignments(g);
	list_for_each (it, &g->members)
		grp_answer_sync(list_entry(it, struct grp_member, node), error, now);
}

void grp_sync_synced(struct grp_member *m)
{
	struct grp *g = m->group;
	if (!m->pending_sync)
		return;
	CHECK(g->unsynced > 0);
	m->pending_sync = false;
	if (--g->unsynced == 0)
		grp_disarm(g->core, &g->sync_timer);
}

/* What the leader gives to members that are not there is left out; those it forgot get nothing. */
static bool assign(struct grp *g, const struct kp_sync_group_request *req)
{
	clear_assignments(g);
	for (int32_t i = 0; i < req->n_assignments; i++) {
		struct grp_member *m = grp_member_find(g, req->assignments[i].member_id);
		if (m && !grp_member_set_assignment(m, req->assignments[i].assignment))
			return false;
	}
	return true;
}

/* The group stays where it was before: a new join phase. */
static void assignment_failed(struct grp *g, int16_t error, struct grp_now now)
{
	grp_fail_syncs(g, error, now);
	grp_rebalance_maybe(g, now);
}

static void leader_synced(
	struct grp *g, struct grp_now now, const struct kp_sync_group_request *req)
{
	int16_t e = KE_UNKNOWN_SERVER_ERROR;
	if (g->sync_write)
		return; /* on its way already; this is the leader on another connection */
	struct grp_write *w = assign(g, req) ? grp_write_group(g, GRP_W_SYNC, now, &e) : NULL;
	if (!w) {
		assignment_failed(g, grp_append_error(e, false), now);
		return;
	}
	g->sync_write = w;
	grp_write_send(w);
}

void grp_sync_written(struct grp *g, struct grp_write *w, int16_t error, struct grp_now now)
{
	if (g->sync_write != w)
		return; /* overtaken by another rebalance */
	CHECK(g->state == GRP_COMPLETING);
	g->sync_write = NULL;
	if (error) {
		assignment_failed(g, grp_append_error(error, false), now);
		return;
	}
	grp_set_state(g, GRP_STABLE, now);
	list_for_each (it, &g->members)
		grp_answer_sync(list_entry(it, struct grp_member, node), KE_NONE, now);
}

/* A static member that was replaced without a rebalance is let in, if all is as it was. */
void grp_static_written(struct grp *g, struct grp_write *w, int16_t error, struct grp_now now)
{
	struct grp_member *m = grp_member_find(g, w->member_id);
	int16_t e = KE_NONE;
	if (error)
		e = grp_append_error(error, false);
	else if (g->state == GRP_DEAD)
		e = g->core->draining ? KE_COORDINATOR_NOT_AVAILABLE : KE_NOT_COORDINATOR;
	else if (!m)
		e = KE_UNKNOWN_MEMBER_ID;
	else if (g->state != GRP_STABLE || g->generation != w->generation)
		e = KE_REBALANCE_IN_PROGRESS;
	if (e) {
		grp_reply_join_error(g->core, w->token, w->member_id, e);
		return;
	}
	grp_session_restart(m, now);
	bool skip = w->version >= 9 && g->leader == m;
	grp_reply_joined(m, w->token, skip, w->version >= 9 ? g->leader->id : w->leader_id);
}

static bool differs(struct kstr given, struct kstr ours)
{
	return given.len >= 0 && !kstr_equal(given, ours);
}

static int16_t validate(struct grp_core *c, const struct kp_sync_group_request *req,
	struct grp **group, struct grp_member **member)
{
	int16_t e = req->group_id.len == 0 ? KE_INVALID_GROUP_ID : grp_admit(c, req->group_id);
	if (e == KE_COORDINATOR_LOAD_IN_PROGRESS)
		return KE_REBALANCE_IN_PROGRESS; /* as Kafka: what was pending is lost, join again
						  */
	if (e)
		return e;
	struct grp *g = *group = grp_get(c, req->group_id);
	if (!g)
		return KE_UNKNOWN_MEMBER_ID;
	e = grp_member_validate(g, req->member_id, req->group_instance_id, member);
	if (e)
		return e;
	if (req->generation_id != g->generation)
		return KE_ILLEGAL_GENERATION;
	if (differs(req->protocol_type, g->protocol_type) ||
		differs(req->protocol_name, g->protocol))
		return KE_INCONSISTENT_GROUP_PROTOCOL;
	return g->state == GRP_PREPARING ? KE_REBALANCE_IN_PROGRESS : KE_NONE;
}

void grp_sync(struct grp_core *c, struct grp_now now, void *token,
	const struct kp_sync_group_request *req)
{
	struct grp *g = grp_admit(c, req->group_id) ? NULL : grp_get(c, req->group_id);
	struct grp_member *m = NULL;
	if (g && g->state == GRP_CONSUMER && !con_downgrade_maybe(g, now)) {
		con_classic_sync(g, now, token, req);
		return;
	}
	int16_t e = validate(c, req, &g, &m);
	if (e) {
		reply_error(c, token, e);
		return;
	}
	grp_sync_synced(m);
	if (g->state == GRP_STABLE) {
		grp_session_restart(m, now);
		reply_assignment(m, token);
		return;
	}
	CHECK(g->state == GRP_COMPLETING);
	park(m, token, now);
	if (g->leader == m)
		leader_synced(g, now, req);
}
