/* SPDX-License-Identifier: Apache-2.0 */
/* What must hold of a consumer group after every step. */
#include "control/group/con.h"

static void check_member(const struct grp *g, const struct con_member *m)
{
	const struct grp_con *con = g->con;
	CHECK(con_member_find(con, m->id) == m);
	CHECK(m->instance.len < 0 || con_member_static(con, m->instance) == m);
	CHECK(m->epoch >= CON_EPOCH_LEAVE_STATIC && m->epoch <= con->target_epoch);
	CHECK(!con_set_meet(&m->assigned, &m->revoking));
	CHECK(m->revoking.count == 0 || m->state == CON_UNREVOKED);
	CHECK(wheel_timer_armed(&m->session.t));
	CHECK(m->classic || !wheel_timer_armed(&m->rejoin.t));
	CHECK(wheel_timer_armed(&m->revoke.t) == (m->state == CON_UNREVOKED));
	if (m->state == CON_STABLE && m->epoch == con->target_epoch)
		CHECK(con_set_equal(&m->assigned, &m->target));
	for (uint32_t i = 0; i < m->assigned.count; i++)
		CHECK(con_owner_of(con, m->assigned.v[i]) == m);
	for (uint32_t i = 0; i < m->revoking.count; i++)
		CHECK(con_owner_of(con, m->revoking.v[i]) == m);
}

void con_check(const struct grp *g)
{
	const struct grp_con *con = g->con;
	uint64_t owned = 0, owners = 0;
	uint32_t members = 0, classic = 0;
	if (!grp_is_loaded(g->core, g->partition))
		return; /* half of it may be read */
	CHECK(con->epoch >= con->target_epoch && con->done <= con->sent);
	CHECK((g->state == GRP_CONSUMER) == !list_empty(&con->members));
	list_for_each (it, &con->members) {
		const struct con_member *m = list_entry(it, struct con_member, node);
		check_member(g, m);
		members++;
		classic += m->classic != NULL;
		owned += m->assigned.count + m->revoking.count;
	}
	CHECK(members == con->by_id.count && classic == con->n_classic);
	for (uint32_t s = 0; s < con->n_slots; s++) {
		CHECK(con->slots[s]->number == s);
		for (uint32_t p = 0; p < con->slots[s]->room; p++)
			owners += con->slots[s]->owner[p] != NULL;
	}
	CHECK(owned == owners); /* each partition has one owner, and no owner is forgotten */
	if (con->epoch == con->target_epoch && !con->stale && members > 0)
		/* the image may have changed since */
		CHECK(con_targets_whole(con) ||
			con->image_epoch != (g->core->image ? g->core->image->epoch : 0));
}
