/* SPDX-License-Identifier: Apache-2.0 */
/* Groups as tools see them. */
#include "control/group/con.h"

const struct grp *grp_next(const struct grp_core *c, const struct grp *after)
{
	const struct list *n = after ? after->node.next : c->groups.next;
	for (; n != &c->groups; n = n->next) {
		const struct grp *g = list_entry(n, struct grp, node);
		if (grp_is_loaded(c, g->partition))
			return g;
	}
	return NULL;
}

bool grp_all_loaded(const struct grp_core *c)
{
	for (uint32_t i = 0; i < c->partitions; i++)
		if (!c->loaded[i])
			return false;
	return true;
}

struct grp_about grp_about(const struct grp *g)
{
	static const char *const names[GRP_STATES] = {
		[GRP_EMPTY] = "Empty",
		[GRP_PREPARING] = "PreparingRebalance",
		[GRP_COMPLETING] = "CompletingRebalance",
		[GRP_STABLE] = "Stable",
		[GRP_DEAD] = "Dead",
		[GRP_CONSUMER] = "Stable",
	};
	bool stable = g->state == GRP_STABLE;
	struct grp_about a = {
		.id = g->id,
		.state = kstr_of(names[g->state]),
		.protocol_type = g->protocol_type,
		.protocol = stable && g->protocol.len >= 0 ? g->protocol : kstr_of(""),
		.stable = stable,
	};
	if (g->con) {
		a.consumer = true;
		a.state = kstr_of(con_state_name(g->con));
		a.protocol_type = kstr_of("consumer");
		a.members = g->con->by_id.count;
		return a;
	}
	list_for_each (it, &g->members) {
		(void)it;
		a.members++;
	}
	return a;
}

const struct grp_member *grp_member_next(const struct grp *g, const struct grp_member *after)
{
	const struct list *n = after ? after->node.next : g->members.next;
	return n == &g->members ? NULL : list_entry(n, struct grp_member, node);
}

struct grp_member_about grp_member_about(const struct grp_member *m)
{
	const struct grp *g = m->group;
	const struct kbytes none = {.p = (const uint8_t *)"", .len = 0};
	struct grp_member_about a = {
		.id = m->id,
		.instance = m->instance,
		.client_id = m->client_id.len >= 0 ? m->client_id : kstr_of(""),
		.client_host = m->client_host.len >= 0 ? m->client_host : kstr_of(""),
		.metadata = none,
		.assignment = none,
	};
	if (g->state == GRP_STABLE) {
		struct kbytes metadata = grp_metadata_of(m, g->protocol);
		a.metadata = metadata.len > 0 ? metadata : none;
		a.assignment = m->assignment.len > 0 ? m->assignment : none;
	}
	return a;
}
