/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <sys/random.h>

#include "base/check.h"
#include "control/api/group_shell.h"

void ctl_handle_join_group(struct ctl *c, struct msg *m)
{
	struct groups *g = groups_of(c);
	struct kp_join_group_request req;
	if (!ctl_decode(c, m, &req))
		return;
	char host[sizeof(m->request.client_host) + 1];
	snprintf(host, sizeof(host), "/%s", m->request.client_host); /* as Java prints addresses */
	struct grp_client client = {
		.id = {.p = m->request.client_id, .len = max_of(m->request.client_id_len, 0)},
		.host = kstr_of(host),
	};
	uint8_t random[GRP_RANDOM_SIZE];
	CHECK(getrandom(random, sizeof(random), 0) == sizeof(random));
	grp_join(g->core, groups_now(g), m, m->request.api_version, &client, random, &req);
	groups_after(g);
}
