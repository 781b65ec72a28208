/* SPDX-License-Identifier: Apache-2.0 */
/* OffsetDelete (key 47, version 0; KIP-496): a group's offsets of topics that it does not read. */
#include "control/api/group_shell.h"
#include "kafka/errcode.h"

static int16_t check(void *ctx, struct kstr topic, int32_t partition)
{
	const struct image *im = ctx;
	const struct image_topic *t = im ? image_topic_by_name(im, topic) : NULL;
	return t && image_partition_at(t, partition) ? KE_NONE : KE_UNKNOWN_TOPIC_OR_PARTITION;
}

void ctl_handle_offset_delete(struct ctl *c, struct msg *m)
{
	struct groups *g = groups_of(c);
	struct kp_offset_delete_request req;
	if (!ctl_decode(c, m, &req))
		return;
	struct grp_partition_check partitions = {.ctx = (void *)ctl_image(c), .check = check};
	grp_delete_offsets(g->core, groups_now(g), m, &req, &partitions);
	groups_after(g);
}
