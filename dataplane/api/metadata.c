/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metadata (key 3), answered from the image. A topic that is asked for by name and does not exist
 * is wanted from control first, when both the client and the broker allow its creation.
 */
#include "api/api.h"
#include "kafka/errcode.h"
#include "kafka/messages.h"

#define METADATA_NULL_IS_ALL 1 /* before: an empty list means all */
#define METADATA_IDS 10
#define METADATA_BY_ID 12

struct metadata_state {
	struct kp_metadata_request req;
	struct kp_metadata_response resp;
};

static bool metadata_all(const struct api_req *r, const struct kp_metadata_request *q)
{
	return r->hdr.version < METADATA_NULL_IS_ALL ? q->n_topics <= 0 : q->n_topics < 0;
}

static bool metadata_brokers(struct api_req *r, struct kp_metadata_response *resp)
{
	const struct image *im = r->image;
	resp->brokers = arena_array(r->arena, max_of(im->broker_count, 1u), sizeof(*resp->brokers));
	if (!resp->brokers)
		return false;
	resp->n_brokers = (int32_t)im->broker_count;
	for (uint32_t i = 0; i < im->broker_count; i++)
		resp->brokers[i] = (struct kp_metadata_response_broker){
			.node_id = im->brokers[i].node_id,
			.host = im->brokers[i].host,
			.port = im->brokers[i].port,
			.rack = im->brokers[i].rack,
		};
	resp->cluster_id = im->cluster_id;
	resp->controller_id = im->controller_id;
	return true;
}

static bool metadata_topic(
	struct api_req *r, const struct image_topic *t, struct kp_metadata_response_topic *out)
{
	out->name = t->name;
	out->topic_id = t->id;
	out->is_internal = t->internal;
	out->partitions =
		arena_array(r->arena, (size_t)t->partition_count, sizeof(*out->partitions));
	if (!out->partitions)
		return false;
	out->n_partitions = t->partition_count;
	for (int32_t i = 0; i < t->partition_count; i++) {
		const struct image_partition *ip = &t->partitions[i];
		struct kp_metadata_response_partition *p = &out->partitions[i];
		kp_default_metadata_response_partition(p);
		p->index = i;
		p->leader_id = ip->leader;
		p->leader_epoch = ip->leader_epoch;
		/* One broker alone: it is the leader, the replica and the in-sync replica. While
		   the log is offline there is no leader, and nobody to take over. */
		int32_t *self = (int32_t *)(uintptr_t)&r->image->node_id;
		p->replica_nodes = p->isr_nodes = self;
		p->n_replica_nodes = p->n_isr_nodes = 1;
		if (ip->leader >= 0)
			continue;
		p->error_code = KE_LEADER_NOT_AVAILABLE;
		p->offline_replicas = self;
		p->n_offline_replicas = 1;
	}
	return true;
}

/* The topic that entry i of the request means, or the error that says why there is none. */
static const struct image_topic *metadata_find(
	struct api_req *r, const struct kp_metadata_request_topic *q, int16_t *error)
{
	const struct image_topic *t;
	*error = KE_NONE;
	if (q->name.len < 0) { /* by id; version checked before */
		t = image_topic_by_id(r->image, &q->topic_id);
		if (!t)
			*error = KE_UNKNOWN_TOPIC_ID;
		return t;
	}
	t = image_topic_by_name(r->image, q->name);
	if (!t)
		*error = topic_name_valid(q->name) ? KE_UNKNOWN_TOPIC_OR_PARTITION
						   : KE_INVALID_TOPIC_EXCEPTION;
	return t;
}

static bool metadata_may_create(const struct api_req *r, const struct kp_metadata_request *q)
{
	return r->limits->auto_create_topics && q->allow_auto_topic_creation && !r->topics_asked;
}

/* The names that control is to create. 0: none; -1: no memory. */
static int metadata_wanted(struct api_req *r, const struct kp_metadata_request *q)
{
	struct kstr *names = arena_array(r->arena, (size_t)q->n_topics, sizeof(*names));
	if (!names)
		return -1;
	uint32_t n = 0;
	for (int32_t i = 0; i < q->n_topics; i++) {
		int16_t error;
		if (!metadata_find(r, &q->topics[i], &error) &&
			error == KE_UNKNOWN_TOPIC_OR_PARTITION)
			names[n++] = q->topics[i].name;
	}
	r->wanted = names;
	r->wanted_count = n;
	return n > 0;
}

/* Ids and null names are for version 12 on; Kafka closes the connection on them before. */
static bool metadata_request_ok(const struct api_req *r, const struct kp_metadata_request *q)
{
	if (r->hdr.version >= METADATA_BY_ID || r->hdr.version < METADATA_IDS)
		return true;
	for (int32_t i = 0; i < q->n_topics; i++)
		if (q->topics[i].name.len < 0 || !uuid_is_zero(&q->topics[i].topic_id))
			return false;
	return true;
}

static bool metadata_listed(struct api_req *r, struct metadata_state *st)
{
	for (int32_t i = 0; i < st->req.n_topics; i++) {
		struct kp_metadata_response_topic *out = &st->resp.topics[i];
		kp_default_metadata_response_topic(out);
		out->name = st->req.topics[i].name;
		out->topic_id = st->req.topics[i].topic_id;
		const struct image_topic *t =
			metadata_find(r, &st->req.topics[i], &out->error_code);
		if (t && !metadata_topic(r, t, out))
			return false;
	}
	return true;
}

static bool metadata_everything(struct api_req *r, struct metadata_state *st)
{
	for (uint32_t i = 0; i < r->image->topic_count; i++) {
		kp_default_metadata_response_topic(&st->resp.topics[i]);
		if (!metadata_topic(r, &r->image->topics[i], &st->resp.topics[i]))
			return false;
	}
	return true;
}

static enum api_step metadata_start(struct api_req *r)
{
	struct metadata_state *st = arena_alloc(r->arena, sizeof(*st));
	if (!st)
		return API_TOO_LARGE;
	r->state = st;
	int err = kp_decode_metadata_request(&r->body, r->hdr.version, &st->req, r->arena);
	if (err != 0)
		return api_decode_failed(err);
	if (!metadata_request_ok(r, &st->req))
		return API_CLOSE;
	bool all = metadata_all(r, &st->req);
	if (!all && st->req.n_topics > 0 && metadata_may_create(r, &st->req)) {
		int wanted = metadata_wanted(r, &st->req);
		if (wanted != 0)
			return wanted < 0 ? API_TOO_LARGE : API_TOPICS;
	}
	kp_default_metadata_response(&st->resp);
	int32_t n = all ? (int32_t)r->image->topic_count : max_of(st->req.n_topics, 0);
	st->resp.topics = arena_array(r->arena, (size_t)max_of(n, 1), sizeof(*st->resp.topics));
	st->resp.n_topics = n;
	if (!st->resp.topics || !metadata_brokers(r, &st->resp))
		return API_TOO_LARGE;
	return (all ? metadata_everything(r, st) : metadata_listed(r, st)) ? API_REPLY
									   : API_TOO_LARGE;
}

static void metadata_encode(struct api_req *r, struct kwr *w)
{
	const struct metadata_state *st = r->state;
	kp_encode_metadata_response(w, r->hdr.version, &st->resp);
}

const struct api_handler api_metadata_handler = {
	.key = KP_METADATA,
	.start = metadata_start,
	.encode = metadata_encode,
};
