/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DescribeTopicPartitions (key 75, version 0; KIP-966): topics in order of name, a page at a time.
 * The answer ends with a cursor where the next page begins.
 */
#include <stdlib.h>

#include "api/api.h"
#include "kafka/errcode.h"
#include "kafka/messages.h"

typedef struct kp_describe_topic_partitions_response_topic topic_t;
typedef struct kp_describe_topic_partitions_response_partition partition_t;

#define LIMIT_MAX 2000		/* Kafka: max.request.partition.size.limit */
#define TOPIC_OPERATIONS 0x0df8 /* all that a topic has: there are no ACLs */

struct pages {
	struct kp_describe_topic_partitions_response resp;
	struct kp_describe_topic_partitions_response_cursor cursor;
	int32_t left; /* partitions that still fit */
	const struct kp_describe_topic_partitions_request *q;
};

static int compare_names(const void *x, const void *y)
{
	const struct kstr *a = x, *b = y;
	int c = memcmp(a->p, b->p, (size_t)min_of(a->len, b->len));
	return c ? c : (a->len > b->len) - (a->len < b->len);
}

/* The first partition that is told of; -1: none of the topic. */
static int32_t first_of(const struct pages *g, struct kstr name)
{
	if (g->q->n_cursor <= 0)
		return 0;
	int c = compare_names(&name, &g->q->cursor->topic_name);
	return c < 0 ? -1 : c > 0 ? 0 : max_of(g->q->cursor->partition_index, 0);
}

static void fill_partition(
	const struct api_req *r, const struct image_partition *ip, int32_t index, partition_t *p)
{
	int32_t *self = (int32_t *)(uintptr_t)&r->image->node_id;
	kp_default_describe_topic_partitions_response_partition(p);
	p->partition_index = index;
	p->leader_id = ip->leader;
	p->leader_epoch = ip->leader_epoch;
	p->replica_nodes = p->isr_nodes = self;
	p->n_replica_nodes = p->n_isr_nodes = 1;
	p->n_eligible_leader_replicas = p->n_last_known_elr = 0;
	if (ip->leader >= 0)
		return;
	p->error_code = KE_LEADER_NOT_AVAILABLE;
	p->offline_replicas = self;
	p->n_offline_replicas = 1;
}

/* 1: go on; 0: the page is full; -1: no memory. */
static int add_topic(struct api_req *r, struct pages *g, struct kstr name, int32_t from)
{
	const struct image_topic *t = image_topic_by_name(r->image, name);
	if (t && from >= t->partition_count)
		return 1;
	if (g->left == 0) {
		g->cursor.topic_name = name;
		g->cursor.partition_index = from;
		return 0;
	}
	topic_t *out = &g->resp.topics[g->resp.n_topics++];
	kp_default_describe_topic_partitions_response_topic(out);
	out->name = name;
	if (!t) {
		out->error_code = topic_name_valid(name) ? KE_UNKNOWN_TOPIC_OR_PARTITION
							 : KE_INVALID_TOPIC_EXCEPTION;
		return 1;
	}
	int32_t n = min_of(t->partition_count - from, g->left);
	out->topic_id = t->id;
	out->is_internal = t->internal;
	out->topic_authorized_operations = TOPIC_OPERATIONS;
	out->partitions = arena_array(r->arena, (size_t)n, sizeof(*out->partitions));
	if (!out->partitions)
		return -1;
	for (int32_t i = 0; i < n; i++)
		fill_partition(r, &t->partitions[from + i], from + i, &out->partitions[i]);
	out->n_partitions = n;
	g->left -= n;
	if (from + n == t->partition_count)
		return 1;
	g->cursor.topic_name = name;
	g->cursor.partition_index = from + n;
	return 0;
}

static enum api_step add_all(
	struct api_req *r, struct pages *g, const struct kstr *names, int32_t n)
{
	g->resp.topics = arena_array(r->arena, (size_t)max_of(n, 1), sizeof(*g->resp.topics));
	if (!g->resp.topics)
		return API_TOO_LARGE;
	for (int32_t i = 0; i < n; i++) {
		int32_t from = first_of(g, names[i]);
		if (from < 0 || (i > 0 && kstr_equal(names[i], names[i - 1])))
			continue;
		int more = add_topic(r, g, names[i], from);
		if (more < 0)
			return API_TOO_LARGE;
		if (more > 0)
			continue;
		g->resp.next_cursor = &g->cursor;
		g->resp.n_next_cursor = 1;
		break;
	}
	return API_REPLY;
}

static enum api_step pages_start(struct api_req *r)
{
	struct kp_describe_topic_partitions_request *q = arena_alloc(r->arena, sizeof(*q));
	struct pages *g = arena_alloc(r->arena, sizeof(*g));
	if (!q || !g)
		return API_TOO_LARGE;
	int err =
		kp_decode_describe_topic_partitions_request(&r->body, r->hdr.version, q, r->arena);
	if (err != 0)
		return api_decode_failed(err);
	if (q->n_cursor > 0 && q->cursor->partition_index < 0)
		return API_CLOSE; /* Kafka: InvalidRequestException */
	*g = (struct pages){.q = q};
	kp_default_describe_topic_partitions_response(&g->resp);
	r->state = g;
	g->left = q->response_partition_limit > 0 ? min_of(q->response_partition_limit, LIMIT_MAX)
						  : LIMIT_MAX;
	bool all = q->n_topics <= 0;
	int32_t n = all ? (int32_t)r->image->topic_count : q->n_topics;
	struct kstr *names = arena_array(r->arena, (size_t)max_of(n, 1), sizeof(*names));
	if (!names)
		return API_TOO_LARGE;
	for (int32_t i = 0; i < n; i++)
		names[i] = all ? r->image->topics[i].name : q->topics[i].name;
	if (!all)
		qsort(names, (size_t)n, sizeof(*names), compare_names);
	return add_all(r, g, names, n);
}

static void pages_encode(struct api_req *r, struct kwr *w)
{
	const struct pages *g = r->state;
	kp_encode_describe_topic_partitions_response(w, r->hdr.version, &g->resp);
}

const struct api_handler api_describe_topic_partitions_handler = {
	.key = KP_DESCRIBE_TOPIC_PARTITIONS,
	.start = pages_start,
	.encode = pages_encode,
};
