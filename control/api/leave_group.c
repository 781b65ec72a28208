/* SPDX-License-Identifier: Apache-2.0 */
#include "control/api/group_shell.h"

void ctl_handle_leave_group(struct ctl *c, struct msg *m)
{
	struct groups *g = groups_of(c);
	struct kp_leave_group_request req;
	if (!ctl_decode(c, m, &req))
		return;
	grp_leave(g->core, groups_now(g), m, m->request.api_version, &req);
	groups_after(g);
}
