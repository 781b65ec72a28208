/* SPDX-License-Identifier: Apache-2.0 */
/* ConsumerGroupDescribe (key 69, versions 0 and 1; KIP-848): groups of the consumer protocol. */
#include <limits.h>
#include <stdlib.h>

#include "base/check.h"
#include "control/api/group_shell.h"
#include "kafka/errcode.h"

typedef struct kp_consumer_group_describe_response_group group_t;

#define GROUPS_MAX 100000	       /* in one request */
#define MEMORY_MAX ((size_t)256 << 20) /* of one answer; the groups beyond get an error */
#define OPERATIONS_ALL 0x0148	       /* read, delete, describe: there are no ACLs */

static void refuse(group_t *out, int16_t error, const char *text)
{
	out->error_code = error;
	out->error_message = text ? kstr_of(text) : KSTR_NULL;
}

static void describe_one(
	struct groups *gs, struct kstr id, bool operations, struct arena *a, group_t *out)
{
	const struct grp *g = NULL;
	kp_default_consumer_group_describe_response_group(out);
	out->group_id = id;
	out->group_state = out->assignor_name = kstr_of("");
	out->authorized_operations = operations ? OPERATIONS_ALL : INT32_MIN;
	int16_t e = grp_find(gs->core, id, &g);
	if (e)
		refuse(out, e, NULL);
	else if (!g)
		refuse(out, KE_GROUP_ID_NOT_FOUND, "The group does not exist.");
	else if (!grp_about(g).consumer)
		refuse(out, KE_GROUP_ID_NOT_FOUND, "The group is not a consumer group.");
	else if (!grp_consumer_describe(g, out, a))
		refuse(out, KE_COORDINATOR_NOT_AVAILABLE, NULL);
}

static size_t measure(struct groups *gs, const struct kp_consumer_group_describe_request *req)
{
	size_t size = 0;
	for (int32_t i = 0; i < req->n_group_ids && size < MEMORY_MAX; i++) {
		const struct grp *g = NULL;
		if (grp_find(gs->core, req->group_ids[i], &g) == KE_NONE && g)
			size += grp_consumer_describe_size(g);
	}
	return min_of(size, MEMORY_MAX);
}

void ctl_handle_consumer_group_describe(struct ctl *c, struct msg *m)
{
	struct kp_consumer_group_describe_request req;
	struct kp_consumer_group_describe_response res;
	struct arena a;
	if (!ctl_decode(c, m, &req))
		return;
	struct groups *gs = groups_of(c);
	size_t n = (size_t)max_of(req.n_group_ids, 0);
	size_t size = n <= GROUPS_MAX ? measure(gs, &req) + 1 : 0;
	void *memory = size ? malloc(size) : NULL;
	kp_default_consumer_group_describe_response(&res);
	res.groups = memory ? calloc(n + 1, sizeof(*res.groups)) : NULL;
	if (memory)
		arena_init(&a, memory, size);
	for (size_t i = 0; res.groups && i < n; i++)
		describe_one(gs, req.group_ids[i], req.include_authorized_operations, &a,
			&res.groups[res.n_groups++]);
	if (res.groups)
		ctl_respond(c, m, &res);
	else
		ctl_hang_up(c, m);
	free(res.groups);
	free(memory);
}
