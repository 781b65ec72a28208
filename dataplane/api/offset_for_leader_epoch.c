/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OffsetForLeaderEpoch (key 23, KIP-320): where a leader epoch ends. A partition of this broker has
 * one leader for all of its life, and one epoch: that ends at the high watermark, and of others
 * nothing is known (-1).
 */
#include "api/api.h"
#include "kafka/errcode.h"
#include "kafka/messages.h"

#define LIST_LATEST (-1)

struct epoch_state {
	struct kp_offset_for_leader_epoch_request req;
	struct kp_offset_for_leader_epoch_response resp;
	struct part_op **ops; /* in order of the request; NULL: refused */
};

static uint32_t epoch_count(const struct kp_offset_for_leader_epoch_request *q)
{
	uint32_t n = 0;
	for (int32_t i = 0; i < q->n_topics; i++)
		n += (uint32_t)q->topics[i].n_partitions;
	return n;
}

/* Asks the partition, or says in `out` why not. */
static void epoch_ask(struct api_req *r, const struct image_topic *t,
	const struct kp_offset_for_leader_epoch_request_partition *p,
	struct kp_offset_for_leader_epoch_response_partition *out, struct part_op **op)
{
	const struct image_partition *ip = t ? image_partition_at(t, p->index) : NULL;
	kp_default_offset_for_leader_epoch_response_partition(out);
	out->index = p->index;
	if (!ip) {
		out->error_code = KE_UNKNOWN_TOPIC_OR_PARTITION;
		return;
	}
	*op = api_op(r, PART_LIST, ip);
	if (!*op) {
		out->error_code = KE_KAFKA_STORAGE_ERROR;
		return;
	}
	(*op)->list.timestamp = LIST_LATEST;
	(*op)->current_leader_epoch = p->current_leader_epoch;
}

static enum api_step epoch_start(struct api_req *r)
{
	struct epoch_state *st = arena_alloc(r->arena, sizeof(*st));
	if (!st)
		return API_TOO_LARGE;
	r->state = st;
	int err = kp_decode_offset_for_leader_epoch_request(
		&r->body, r->hdr.version, &st->req, r->arena);
	if (err != 0)
		return api_decode_failed(err);
	kp_default_offset_for_leader_epoch_response(&st->resp);
	size_t topics = (size_t)max_of(st->req.n_topics, 1);
	st->ops = arena_array(r->arena, max_of(epoch_count(&st->req), 1u), sizeof(*st->ops));
	st->resp.topics = arena_array(r->arena, topics, sizeof(*st->resp.topics));
	if (!st->ops || !st->resp.topics)
		return API_TOO_LARGE;
	st->resp.n_topics = st->req.n_topics;
	bool asked = false;
	uint32_t n = 0;
	for (int32_t i = 0; i < st->resp.n_topics; i++) {
		const struct kp_offset_for_leader_epoch_request_topic *q = &st->req.topics[i];
		struct kp_offset_for_leader_epoch_response_topic *t = &st->resp.topics[i];
		t->name = q->name;
		t->n_partitions = q->n_partitions;
		t->partitions = arena_array(
			r->arena, (size_t)max_of(q->n_partitions, 1), sizeof(*t->partitions));
		if (!t->partitions || !api_keep(r, &t->name))
			return API_TOO_LARGE;
		const struct image_topic *topic = image_topic_by_name(r->image, q->name);
		for (int32_t j = 0; j < t->n_partitions; j++, n++) {
			epoch_ask(r, topic, &q->partitions[j], &t->partitions[j], &st->ops[n]);
			asked |= st->ops[n] != NULL;
		}
	}
	return asked ? API_WAIT : API_REPLY;
}

static enum api_step epoch_resume(struct api_req *r)
{
	struct epoch_state *st = r->state;
	uint32_t n = 0;
	for (int32_t i = 0; i < st->resp.n_topics; i++) {
		struct kp_offset_for_leader_epoch_response_topic *t = &st->resp.topics[i];
		for (int32_t j = 0; j < t->n_partitions; j++, n++) {
			const struct part_op *op = st->ops[n];
			if (!op)
				continue;
			struct kp_offset_for_leader_epoch_response_partition *out =
				&t->partitions[j];
			out->error_code = op->error;
			if (op->error != KE_NONE ||
				op->list.leader_epoch !=
					st->req.topics[i].partitions[j].leader_epoch)
				continue;
			out->end_offset = op->list.offset;
			out->leader_epoch = op->list.leader_epoch;
		}
	}
	return API_REPLY;
}

static void epoch_encode(struct api_req *r, struct kwr *w)
{
	const struct epoch_state *st = r->state;
	kp_encode_offset_for_leader_epoch_response(w, r->hdr.version, &st->resp);
}

const struct api_handler api_offset_for_leader_epoch_handler = {
	.key = KP_OFFSET_FOR_LEADER_EPOCH,
	.start = epoch_start,
	.resume = epoch_resume,
	.encode = epoch_encode,
};
