/* SPDX-License-Identifier: Apache-2.0 */
/* DescribeGroups (key 15, versions 0 to 6): state, protocol and members of groups. */
#include <limits.h>
#include <stdlib.h>

#include "base/check.h"
#include "control/api/group_shell.h"
#include "kafka/errcode.h"

typedef struct kp_describe_groups_response_group group_t;
typedef struct kp_describe_groups_response_member member_t;

#define GROUPS_MAX 100000     /* in one request */
#define MEMBERS_MAX 1000000u  /* in one answer; the groups beyond get an error */
#define OPERATIONS_ALL 0x0148 /* read, delete, describe: there are no ACLs */

struct describe {
	struct groups *groups;
	int16_t version;
	bool operations;
	member_t *members; /* malloc, of all groups */
	uint32_t used, room;
};

static void refuse(group_t *out, int16_t error, const char *text)
{
	out->error_code = error;
	out->error_message = text ? kstr_of(text) : KSTR_NULL;
}

/* Before version 6 a group that does not exist, or is of the consumer protocol, is a dead one, and
 * no error. */
static void not_found(const struct describe *w, group_t *out, const char *why)
{
	out->group_state = kstr_of("Dead");
	if (w->version >= 6)
		refuse(out, KE_GROUP_ID_NOT_FOUND, why);
}

static void fill(struct describe *w, const struct grp *g, group_t *out)
{
	struct grp_about a = grp_about(g);
	if (a.members > w->room - w->used) {
		refuse(out, KE_COORDINATOR_NOT_AVAILABLE, NULL);
		return;
	}
	out->group_state = a.state;
	out->protocol_type = a.protocol_type;
	out->protocol_data = a.protocol;
	out->members = w->members + w->used;
	out->authorized_operations = w->operations ? OPERATIONS_ALL : INT32_MIN;
	for (const struct grp_member *m = NULL; (m = grp_member_next(g, m));) {
		struct grp_member_about ma = grp_member_about(m);
		out->members[out->n_members++] = (member_t){
			.member_id = ma.id,
			.group_instance_id = ma.instance,
			.client_id = ma.client_id,
			.client_host = ma.client_host,
			.member_metadata = ma.metadata,
			.member_assignment = ma.assignment,
		};
	}
	w->used += a.members;
}

static void describe_one(struct describe *w, struct kstr id, group_t *out)
{
	const struct grp *g;
	kp_default_describe_groups_response_group(out);
	out->group_id = id;
	out->group_state = out->protocol_type = out->protocol_data = kstr_of("");
	int16_t e = grp_find(w->groups->core, id, &g);
	if (e)
		refuse(out, e, NULL);
	else if (g && !grp_about(g).consumer)
		fill(w, g, out);
	else
		not_found(w, out,
			g ? "The group is not a classic group." : "The group does not exist.");
}

/* Members of all groups that are asked for; a group may be there more than once. */
static uint32_t count_members(struct groups *g, const struct kp_describe_groups_request *req)
{
	uint64_t n = 0;
	for (int32_t i = 0; i < req->n_groups; i++) {
		const struct grp *at = NULL;
		if (grp_find(g->core, req->groups[i], &at) == KE_NONE && at)
			n += grp_about(at).members;
	}
	return (uint32_t)min_of(n, (uint64_t)MEMBERS_MAX);
}

void ctl_handle_describe_groups(struct ctl *c, struct msg *m)
{
	struct kp_describe_groups_request req;
	struct kp_describe_groups_response res;
	if (!ctl_decode(c, m, &req))
		return;
	struct describe w = {.groups = groups_of(c),
		.version = m->request.api_version,
		.operations = req.include_authorized_operations};
	size_t n = (size_t)max_of(req.n_groups, 0);
	kp_default_describe_groups_response(&res);
	w.room = n <= GROUPS_MAX ? count_members(w.groups, &req) : 0;
	w.members = calloc((size_t)w.room + 1, sizeof(*w.members));
	res.groups = n <= GROUPS_MAX ? calloc(n + 1, sizeof(*res.groups)) : NULL;
	for (size_t i = 0; res.groups && w.members && i < n; i++)
		describe_one(&w, req.groups[i], &res.groups[res.n_groups++]);
	if (res.groups && w.members)
		ctl_respond(c, m, &res);
	else
		ctl_hang_up(c, m);
	free(res.groups);
	free(w.members);
}
