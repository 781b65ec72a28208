/* SPDX-License-Identifier: Apache-2.0 */
/* ConsumerGroupHeartbeat (key 68, versions 0 and 1; KIP-848): the one request of a member. */
#include <sys/random.h>

#include "base/check.h"
#include "control/api/group_shell.h"

void ctl_handle_consumer_group_heartbeat(struct ctl *c, struct msg *m)
{
	struct groups *g = groups_of(c);
	struct kp_consumer_group_heartbeat_request req;
	if (!ctl_decode(c, m, &req))
		return;
	char host[GROUPS_HOST_SIZE];
	struct grp_client client;
	groups_client(m, host, &client);
	uint8_t random[GRP_RANDOM_SIZE];
	CHECK(getrandom(random, sizeof(random), 0) == sizeof(random));
	grp_consumer_heartbeat(
		g->core, groups_now(g), m, m->request.api_version, &client, random, &req);
	groups_after(g);
}
