/* SPDX-License-Identifier: Apache-2.0 */
/* ListGroups (key 16, versions 0 to 5; KIP-518, KIP-848): all groups, or those of a state or type.
 */
#include <stdlib.h>
#include <strings.h>

#include "base/check.h"
#include "control/api/group_shell.h"
#include "kafka/errcode.h"

/* Letter case does not count, as in Kafka. An empty filter lets all pass. */
static bool passes(const struct kstr *filter, int32_t n, struct kstr text)
{
	for (int32_t i = 0; i < n; i++)
		if (filter[i].len == text.len &&
			strncasecmp(filter[i].p, text.p, (size_t)text.len) == 0)
			return true;
	return n <= 0;
}

void ctl_handle_list_groups(struct ctl *c, struct msg *m)
{
	struct groups *g = groups_of(c);
	struct kp_list_groups_request req;
	struct kp_list_groups_response res;
	if (!ctl_decode(c, m, &req))
		return;
	kp_default_list_groups_response(&res);
	if (!grp_all_loaded(g->core))
		res.error_code = KE_COORDINATOR_LOAD_IN_PROGRESS; /* with what is known */
	size_t room = (size_t)grp_core_stats(g->core).groups;
	res.groups = calloc(room + 1, sizeof(*res.groups));
	if (!res.groups) {
		ctl_hang_up(c, m);
		return;
	}
	for (const struct grp *at = NULL; (at = grp_next(g->core, at));) {
		struct grp_about a = grp_about(at);
		struct kstr type = kstr_of(a.consumer ? "consumer" : "classic");
		if (!passes(req.states_filter, req.n_states_filter, a.state) ||
			!passes(req.types_filter, req.n_types_filter, type))
			continue;
		CHECK((size_t)res.n_groups < room);
		res.groups[res.n_groups++] = (struct kp_list_groups_response_group){
			.group_id = a.id,
			.protocol_type = a.protocol_type,
			.group_state = a.state,
			.group_type = type,
		};
	}
	ctl_respond(c, m, &res);
	free(res.groups);
}
