/* SPDX-License-Identifier: Apache-2.0 */
/* DeleteGroups (key 42, versions 0 to 3; KIP-229): groups without members, with all they have. */
#include "control/api/group_shell.h"
#include "control/group/map.h"
#include "kafka/errcode.h"

#define GROUPS_MAX 100000 /* in one request */

/* Leaves each name once, in order of appearance. False: no scratch left. */
static bool make_distinct(struct ctl *c, uint64_t seed, struct kp_delete_groups_request *req)
{
	struct map seen;
	size_t n = (size_t)max_of(req->n_groups_names, 0);
	struct map_node *nodes = ctl_scratch(c, (n + 1) * sizeof(*nodes));
	struct kstr *names = ctl_scratch(c, (n + 1) * sizeof(*names));
	uint32_t kept = 0;
	if (!nodes || !names)
		return false;
	map_init(&seen, seed);
	for (size_t i = 0; i < n; i++) {
		struct kstr name = req->groups_names[i];
		if (map_find(&seen, name))
			continue;
		map_insert(&seen, &nodes[kept], name);
		names[kept++] = name;
	}
	req->groups_names = names;
	req->n_groups_names = (int32_t)kept;
	while (kept > 0)
		map_remove(&seen, &nodes[--kept]);
	map_fini(&seen);
	return true;
}

void ctl_handle_delete_groups(struct ctl *c, struct msg *m)
{
	struct groups *g = groups_of(c);
	struct kp_delete_groups_request req;
	if (!ctl_decode(c, m, &req))
		return;
	if (req.n_groups_names > GROUPS_MAX || !make_distinct(c, ctl_now_ns(c), &req)) {
		ctl_hang_up(c, m);
		return;
	}
	grp_delete_groups(g->core, groups_now(g), m, &req);
	groups_after(g);
}
