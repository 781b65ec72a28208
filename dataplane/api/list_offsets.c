/* SPDX-License-Identifier: Apache-2.0 */
/* ListOffsets (key 2): earliest, latest, by timestamp, and the record with the largest timestamp.
 */
#include "api/api.h"
#include "kafka/errcode.h"
#include "kafka/messages.h"

struct list_state {
	struct kp_list_offsets_request req;
	struct kp_list_offsets_response resp;
	struct part_op **ops; /* in order of the request; NULL: refused */
};

static uint32_t list_count(const struct kp_list_offsets_request *q)
{
	uint32_t n = 0;
	for (int32_t i = 0; i < q->n_topics; i++)
		n += (uint32_t)q->topics[i].n_partitions;
	return n;
}

/* -5 (latest tiered) and -6 (pending upload) name what a broker without tiered storage never has.
 */
static bool list_timestamp_ok(int64_t timestamp)
{
	return timestamp >= -4;
}

static bool list_is_duplicate(const struct kp_list_offsets_request_topic *q, int32_t j)
{
	for (int32_t k = 0; k < q->n_partitions; k++)
		if (k != j && q->partitions[k].index == q->partitions[j].index)
			return true;
	return false;
}

static void list_ask(struct api_req *r, const struct kp_list_offsets_request_topic *q, int32_t j,
	const struct image_topic *t, struct kp_list_offsets_response_partition *out,
	struct part_op **op)
{
	const struct kp_list_offsets_request_partition *p = &q->partitions[j];
	const struct image_partition *ip = t ? image_partition_at(t, p->index) : NULL;
	kp_default_list_offsets_response_partition(out);
	out->index = p->index;
	if (q->n_partitions <= 1024 && list_is_duplicate(q, j)) {
		out->error_code = KE_INVALID_REQUEST;
		return;
	}
	if (!ip) {
		out->error_code = KE_UNKNOWN_TOPIC_OR_PARTITION;
		return;
	}
	if (!list_timestamp_ok(p->timestamp))
		return; /* "none": offset -1, timestamp -1, no error */
	*op = api_op(r, PART_LIST, ip);
	if (!*op) {
		out->error_code = KE_KAFKA_STORAGE_ERROR;
		return;
	}
	(*op)->list.timestamp = p->timestamp;
	(*op)->current_leader_epoch = p->current_leader_epoch;
}

static enum api_step list_start(struct api_req *r)
{
	struct list_state *st = arena_alloc(r->arena, sizeof(*st));
	if (!st)
		return API_TOO_LARGE;
	r->state = st;
	int err = kp_decode_list_offsets_request(&r->body, r->hdr.version, &st->req, r->arena);
	if (err != 0)
		return api_decode_failed(err);
	kp_default_list_offsets_response(&st->resp);
	size_t topics = (size_t)max_of(st->req.n_topics, 1);
	st->ops = arena_array(r->arena, max_of(list_count(&st->req), 1u), sizeof(struct part_op *));
	st->resp.topics = arena_array(r->arena, topics, sizeof(*st->resp.topics));
	if (!st->ops || !st->resp.topics)
		return API_TOO_LARGE;
	st->resp.n_topics = st->req.n_topics;
	bool asked = false;
	uint32_t n = 0;
	for (int32_t i = 0; i < st->req.n_topics; i++) {
		const struct kp_list_offsets_request_topic *q = &st->req.topics[i];
		struct kp_list_offsets_response_topic *t = &st->resp.topics[i];
		t->name = q->name;
		t->n_partitions = q->n_partitions;
		t->partitions = arena_array(
			r->arena, (size_t)max_of(q->n_partitions, 1), sizeof(*t->partitions));
		if (!t->partitions || !api_keep(r, &t->name))
			return API_TOO_LARGE;
		const struct image_topic *topic = image_topic_by_name(r->image, q->name);
		for (int32_t j = 0; j < q->n_partitions; j++, n++) {
			list_ask(r, q, j, topic, &t->partitions[j], &st->ops[n]);
			asked |= st->ops[n] != NULL;
		}
	}
	return asked ? API_WAIT : API_REPLY;
}

static enum api_step list_resume(struct api_req *r)
{
	struct list_state *st = r->state;
	uint32_t n = 0;
	for (int32_t i = 0; i < st->resp.n_topics; i++) {
		struct kp_list_offsets_response_topic *t = &st->resp.topics[i];
		for (int32_t j = 0; j < t->n_partitions; j++, n++) {
			const struct part_op *op = st->ops[n];
			if (!op)
				continue;
			struct kp_list_offsets_response_partition *out = &t->partitions[j];
			out->error_code = op->error;
			if (op->error != KE_NONE)
				continue;
			out->offset = op->list.offset;
			out->timestamp = op->list.record_timestamp;
			out->leader_epoch = op->list.leader_epoch;
		}
	}
	return API_REPLY;
}

static void list_encode(struct api_req *r, struct kwr *w)
{
	const struct list_state *st = r->state;
	kp_encode_list_offsets_response(w, r->hdr.version, &st->resp);
}

const struct api_handler api_list_offsets_handler = {
	.key = KP_LIST_OFFSETS,
	.start = list_start,
	.resume = list_resume,
	.encode = list_encode,
};
