/* SPDX-License-Identifier: Apache-2.0 */
#include "control/api/group_shell.h"

void ctl_handle_heartbeat(struct ctl *c, struct msg *m)
{
	struct groups *g = groups_of(c);
	struct kp_heartbeat_request req;
	if (!ctl_decode(c, m, &req))
		return;
	grp_heartbeat(g->core, groups_now(g), m, &req);
	groups_after(g);
}
