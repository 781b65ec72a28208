/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OffsetFetch. All versions are answered in the form of version 8 and later (a list of groups); the
 * one group of the older ones is copied out of it.
 */
#include <stdlib.h>

#include "base/check.h"
#include "control/api/group_shell.h"
#include "kafka/errcode.h"

/* Offsets in one response; the groups beyond get an error. */
#define OFFSETS_MAX 1000000u

struct asked {
	struct ctl *c;
	struct grp_core *core;
	const struct image *image; /* NULL before the first */
	int16_t version;
	const struct kp_offset_fetch_request_group *groups;
	int32_t group_count;
	struct arena a; /* for the response */
};

/* ---- the request in one form ---- */

static bool one_group(struct ctl *c, struct kp_offset_fetch_request *req)
{
	struct kp_offset_fetch_request_group *g = ctl_scratch(c, sizeof(*g));
	size_t n = (size_t)max_of(req->n_topics, 0);
	if (!g)
		return false;
	kp_default_offset_fetch_request_group(g);
	g->group_id = req->group_id;
	g->topics = ctl_scratch(c, (n + 1) * sizeof(*g->topics));
	g->n_topics = req->n_topics;
	for (size_t i = 0; g->topics && i < n; i++) {
		g->topics[i].name = req->topics[i].name;
		g->topics[i].partitions = req->topics[i].partitions;
		g->topics[i].n_partitions = req->topics[i].n_partitions;
	}
	req->groups = g;
	req->n_groups = 1;
	return g->topics != NULL;
}

/* ---- how large the response is ---- */

struct counts {
	size_t topics;
	size_t offsets;
};

static struct counts count_listed(const struct kp_offset_fetch_request_group *r)
{
	struct counts n = {.topics = (size_t)r->n_topics};
	for (int32_t i = 0; i < r->n_topics; i++)
		n.offsets += (size_t)max_of(r->topics[i].n_partitions, 0);
	return n;
}

static struct counts count_all(const struct grp *g)
{
	struct counts n = {0};
	const struct grp_topic *t = NULL;
	while (g && (t = grp_topic_next(g, t))) {
		uint32_t count;
		grp_topic_offsets(t, &count);
		n.topics++;
		n.offsets += count;
	}
	return n;
}

/* ---- the response ---- */

static struct kp_offset_fetch_response_group_partition entry(
	int32_t partition, const struct grp_offset *o, int16_t error)
{
	struct kp_offset_fetch_response_group_partition p;
	kp_default_offset_fetch_response_group_partition(&p);
	p.index = partition;
	p.metadata = kstr_of("");
	p.error_code = error;
	if (o && !error) {
		p.committed_offset = o->offset;
		p.committed_leader_epoch = o->leader_epoch;
		p.metadata = o->metadata;
	}
	return p;
}

/* Room for a topic's offsets; false: none. */
static bool room(struct asked *q, struct kp_offset_fetch_response_group_topic *t, size_t n)
{
	t->partitions = arena_array(&q->a, n, sizeof(*t->partitions));
	t->n_partitions = 0;
	return t->partitions != NULL;
}

static bool fill_topic(struct asked *q, const struct grp *g, int16_t error,
	const struct kp_offset_fetch_request_group_topic *r,
	struct kp_offset_fetch_response_group_topic *out)
{
	struct kstr name = r->name;
	out->topic_id = r->topic_id;
	if (q->version >= 10) {
		const struct image_topic *t =
			q->image ? image_topic_by_id(q->image, &r->topic_id) : NULL;
		name = t ? t->name : KSTR_NULL;
		if (!t && !error)
			error = KE_UNKNOWN_TOPIC_ID;
	}
	out->name = name;
	if (!room(q, out, (size_t)max_of(r->n_partitions, 0)))
		return false;
	for (int32_t i = 0; i < r->n_partitions; i++) {
		const struct grp_offset *o =
			g && !error ? grp_offset_find(g, name, r->partitions[i]) : NULL;
		out->partitions[out->n_partitions++] = entry(r->partitions[i], o, error);
	}
	return true;
}

static bool fill_listed(struct asked *q, const struct grp *g, int16_t error,
	const struct kp_offset_fetch_request_group *r, struct kp_offset_fetch_response_group *out)
{
	for (int32_t i = 0; i < r->n_topics; i++)
		if (!fill_topic(q, g, error, &r->topics[i], &out->topics[out->n_topics++]))
			return false;
	return true;
}

static bool fill_all(
	struct asked *q, const struct grp *g, struct kp_offset_fetch_response_group *out)
{
	const struct grp_topic *t = NULL;
	while (g && (t = grp_topic_next(g, t))) {
		uint32_t n;
		const struct grp_offset *v = grp_topic_offsets(t, &n);
		struct kp_offset_fetch_response_group_topic *to = &out->topics[out->n_topics];
		to->name = grp_topic_name(t);
		if (q->version >= 10) {
			const struct image_topic *it =
				q->image ? image_topic_by_name(q->image, to->name) : NULL;
			if (!it)
				continue; /* it is being deleted and has no id to be named by */
			to->topic_id = it->id;
		}
		if (!room(q, to, n))
			return false;
		out->n_topics++;
		for (uint32_t i = 0; i < n; i++)
			to->partitions[to->n_partitions++] = entry(v[i].partition, &v[i], KE_NONE);
	}
	return true;
}

/* Version 1 has no place for an error but the partitions. */
static bool answer_group(struct asked *q, const struct kp_offset_fetch_request_group *r,
	struct kp_offset_fetch_response_group *out)
{
	const struct grp *g = NULL;
	int16_t error = grp_find_for(q->core, r->group_id, r->member_id, r->member_epoch, &g);
	out->group_id = r->group_id;
	out->error_code = error;
	if (error && (q->version >= 2 || r->n_topics < 0))
		return true;
	struct counts n = r->n_topics < 0 ? count_all(g) : count_listed(r);
	out->topics = arena_array(&q->a, n.topics, sizeof(*out->topics));
	if (!out->topics)
		return false;
	return r->n_topics < 0 ? fill_all(q, g, out) : fill_listed(q, g, error, r, out);
}

/* Bytes for all; groups that would be too much are cut off: *fit is how many are answered. */
static size_t measure(const struct asked *q, int32_t *fit)
{
	struct counts sum = {0};
	*fit = 0;
	for (int32_t i = 0; i < q->group_count; i++, (*fit)++) {
		const struct kp_offset_fetch_request_group *r = &q->groups[i];
		const struct grp *g = NULL;
		int16_t error =
			grp_find_for(q->core, r->group_id, r->member_id, r->member_epoch, &g);
		if (error && q->version >= 2)
			continue;
		struct counts n = r->n_topics < 0 ? count_all(g) : count_listed(r);
		if (i > 0 && sum.topics + sum.offsets + n.topics + n.offsets > OFFSETS_MAX)
			break;
		sum.topics += n.topics;
		sum.offsets += n.offsets;
	}
	size_t groups = (size_t)q->group_count;
	return groups * (sizeof(struct kp_offset_fetch_response_group) + 16) + 64 +
	       sum.topics * (sizeof(struct kp_offset_fetch_response_group_topic) + 16) +
	       sum.offsets * sizeof(struct kp_offset_fetch_response_group_partition);
}

/* ---- versions before 8 ---- */

static bool copy_topics(struct arena *a, const struct kp_offset_fetch_response_group *g,
	struct kp_offset_fetch_response *res)
{
	res->error_code = g->error_code;
	res->topics = arena_array(a, (size_t)g->n_topics, sizeof(*res->topics));
	if (!res->topics)
		return false;
	for (int32_t i = 0; i < g->n_topics; i++) {
		const struct kp_offset_fetch_response_group_topic *from = &g->topics[i];
		struct kp_offset_fetch_response_topic *to = &res->topics[res->n_topics++];
		to->name = from->name;
		to->n_partitions = from->n_partitions;
		to->partitions =
			arena_array(a, (size_t)from->n_partitions, sizeof(*to->partitions));
		if (!to->partitions)
			return false;
		for (int32_t k = 0; k < from->n_partitions; k++)
			to->partitions[k] = (struct kp_offset_fetch_response_partition){
				.index = from->partitions[k].index,
				.committed_offset = from->partitions[k].committed_offset,
				.committed_leader_epoch =
					from->partitions[k].committed_leader_epoch,
				.metadata = from->partitions[k].metadata,
				.error_code = from->partitions[k].error_code,
			};
	}
	return true;
}

static bool answer(struct asked *q, struct kp_offset_fetch_response *res, int32_t fit)
{
	kp_default_offset_fetch_response(res);
	res->groups = arena_array(&q->a, (size_t)q->group_count, sizeof(*res->groups));
	if (!res->groups)
		return false;
	for (int32_t i = 0; i < q->group_count; i++) {
		struct kp_offset_fetch_response_group *out = &res->groups[res->n_groups++];
		if (i >= fit) {
			out->group_id = q->groups[i].group_id;
			out->error_code = KE_UNKNOWN_SERVER_ERROR;
		} else if (!answer_group(q, &q->groups[i], out)) {
			return false;
		}
	}
	return q->version >= 8 || copy_topics(&q->a, &res->groups[0], res);
}

void ctl_handle_offset_fetch(struct ctl *c, struct msg *m)
{
	struct kp_offset_fetch_request req;
	struct kp_offset_fetch_response res;
	int32_t fit;
	if (!ctl_decode(c, m, &req))
		return;
	if (m->request.api_version < 8 && !one_group(c, &req)) {
		ctl_hang_up(c, m);
		return;
	}
	struct asked q = {
		.c = c,
		.core = groups_of(c)->core,
		.image = ctl_image(c),
		.version = m->request.api_version,
		.groups = req.groups,
		.group_count = req.n_groups,
	};
	size_t size = measure(&q, &fit) * (q.version >= 8 ? 1 : 2);
	void *memory = malloc(size);
	if (memory)
		arena_init(&q.a, memory, size);
	if (memory && answer(&q, &res, fit))
		ctl_respond(c, m, &res);
	else
		ctl_hang_up(c, m);
	free(memory);
}
