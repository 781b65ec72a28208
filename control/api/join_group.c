/* SPDX-License-Identifier: Apache-2.0 */
#include <sys/random.h>

#include "base/check.h"
#include "control/api/group_shell.h"

void ctl_handle_join_group(struct ctl *c, struct msg *m)
{
	struct groups *g = groups_of(c);
	struct kp_join_group_request req;
	if (!ctl_decode(c, m, &req))
		return;
	char host[GROUPS_HOST_SIZE];
	struct grp_client client;
	groups_client(m, host, &client);
	uint8_t random[GRP_RANDOM_SIZE];
	CHECK(getrandom(random, sizeof(random), 0) == sizeof(random));
	grp_join(g->core, groups_now(g), m, m->request.api_version, &client, random, &req);
	groups_after(g);
}
