/* SPDX-License-Identifier: Apache-2.0 */
#include "control/api/group_shell.h"

void ctl_handle_sync_group(struct ctl *c, struct msg *m)
{
	struct groups *g = groups_of(c);
	struct kp_sync_group_request req;
	if (!ctl_decode(c, m, &req))
		return;
	grp_sync(g->core, groups_now(g), m, &req);
	groups_after(g);
}
