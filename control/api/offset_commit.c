/* SPDX-License-Identifier: Apache-2.0 */
#include "control/api/group_shell.h"
#include "kafka/errcode.h"

struct lookup {
	const struct image *image; /* NULL before the first */
	int16_t version;
};

static const struct image_topic *find(
	const struct lookup *l, const struct kp_offset_commit_request_topic *t)
{
	if (!l->image)
		return NULL;
	return l->version >= 10 ? image_topic_by_id(l->image, &t->topic_id)
				: image_topic_by_name(l->image, t->name);
}

static int16_t check(void *ctx, const struct kp_offset_commit_request_topic *t, int32_t partition)
{
	const struct lookup *l = ctx;
	const struct image_topic *topic = find(l, t);
	if (!topic)
		return l->version >= 10 ? KE_UNKNOWN_TOPIC_ID : KE_UNKNOWN_TOPIC_OR_PARTITION;
	return image_partition_at(topic, partition) ? KE_NONE : KE_UNKNOWN_TOPIC_OR_PARTITION;
}

/* Version 10 names topics by id; the log and the core by name. */
static void name_topics(const struct lookup *l, struct kp_offset_commit_request *req)
{
	for (int32_t i = 0; i < req->n_topics; i++) {
		const struct image_topic *topic = find(l, &req->topics[i]);
		if (topic)
			req->topics[i].name = topic->name;
	}
}

void ctl_handle_offset_commit(struct ctl *c, struct msg *m)
{
	struct groups *g = groups_of(c);
	struct kp_offset_commit_request req;
	if (!ctl_decode(c, m, &req))
		return;
	struct lookup l = {.image = ctl_image(c), .version = m->request.api_version};
	if (l.version >= 10)
		name_topics(&l, &req);
	struct grp_topic_check topics = {.ctx = &l, .check = check};
	grp_commit(g->core, groups_now(g), m, l.version, &req, &topics);
	groups_after(g);
}
