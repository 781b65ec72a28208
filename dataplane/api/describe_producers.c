/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DescribeProducers (key 61, KIP-664): which producers a partition knows. The partitions are asked
 * one after the other, into memory for four full ones; who asks for more producers at once is told
 * to ask for fewer partitions.
 */
#include "api/api.h"
#include "kafka/errcode.h"
#include "kafka/messages.h"

#define PRODUCERS_MAX (4 * PRODUCERS_PER_PART)

struct producers_state {
	struct kp_describe_producers_request req;
	struct kp_describe_producers_response resp;
	int32_t topic, part; /* that is asked next */
	struct part_op *op;  /* of the one before it, under way */
	struct producer_state *known;
	struct kp_describe_producers_response_producer *out;
	uint32_t used, size; /* of out */
};

static uint32_t producers_count(const struct kp_describe_producers_request *q)
{
	uint32_t n = 0;
	for (int32_t i = 0; i < q->n_topics; i++)
		n += (uint32_t)q->topics[i].n_indexes;
	return n;
}

/* Takes over the answer of the partition that was asked last. */
static void producers_take(struct api_req *r, struct producers_state *st)
{
	struct kp_describe_producers_response_partition *out =
		&st->resp.topics[st->topic].partitions[st->part++];
	const struct part_op *op = st->op;
	out->error_code = op->error;
	if (op->error == KE_NONE && op->producers.count > st->size - st->used) {
		out->error_code = KE_INVALID_REQUEST;
		out->error_message = kstr_of("too many producers for one answer: ask for fewer "
					     "partitions");
	} else if (op->error == KE_NONE) {
		out->producers = st->out + st->used;
		out->n_producers = (int32_t)op->producers.count;
		for (uint32_t i = 0; i < op->producers.count; i++)
			st->out[st->used++] = (struct kp_describe_producers_response_producer){
				.producer_id = st->known[i].id,
				.producer_epoch = st->known[i].epoch,
				.last_sequence = st->known[i].last_sequence,
				.last_timestamp = st->known[i].used_ms,
				.coordinator_epoch = -1,
				.current_txn_start_offset = -1,
			};
	}
	r->host->op_free(r->host, r, st->op);
	st->op = NULL;
}

/* Asks the next partition that there is. False: that was all. */
static bool producers_ask(struct api_req *r, struct producers_state *st)
{
	for (; st->topic < st->resp.n_topics; st->topic++, st->part = 0) {
		struct kp_describe_producers_response_topic *t = &st->resp.topics[st->topic];
		const struct image_topic *topic = image_topic_by_name(r->image, t->name);
		for (; st->part < t->n_partitions; st->part++) {
			struct kp_describe_producers_response_partition *out =
				&t->partitions[st->part];
			const struct image_partition *ip =
				topic ? image_partition_at(topic, out->index) : NULL;
			st->op = ip ? api_op(r, PART_PRODUCERS, ip) : NULL;
			if (st->op) {
				st->op->producers.to = st->known;
				return true;
			}
			out->error_code =
				ip ? KE_KAFKA_STORAGE_ERROR : KE_UNKNOWN_TOPIC_OR_PARTITION;
		}
	}
	return false;
}

static bool producers_layout(struct api_req *r, struct producers_state *st)
{
	const struct kp_describe_producers_request *q = &st->req;
	size_t topics = (size_t)max_of(q->n_topics, 1);
	kp_default_describe_producers_response(&st->resp);
	st->size = (uint32_t)min_of(
		(uint64_t)producers_count(q) * PRODUCERS_PER_PART, (uint64_t)PRODUCERS_MAX);
	st->out = arena_array(r->arena, max_of(st->size, 1u), sizeof(*st->out));
	st->known = arena_array(r->arena, PRODUCERS_PER_PART, sizeof(*st->known));
	st->resp.topics = arena_array(r->arena, topics, sizeof(*st->resp.topics));
	if (!st->out || !st->known || !st->resp.topics)
		return false;
	st->resp.n_topics = q->n_topics;
	for (int32_t i = 0; i < q->n_topics; i++) {
		struct kp_describe_producers_response_topic *t = &st->resp.topics[i];
		t->name = q->topics[i].name;
		t->n_partitions = q->topics[i].n_indexes;
		t->partitions = arena_array(
			r->arena, (size_t)max_of(t->n_partitions, 1), sizeof(*t->partitions));
		if (!t->partitions || !api_keep(r, &t->name))
			return false;
		for (int32_t j = 0; j < t->n_partitions; j++) {
			kp_default_describe_producers_response_partition(&t->partitions[j]);
			t->partitions[j].index = q->topics[i].indexes[j];
		}
	}
	return true;
}

static enum api_step producers_start(struct api_req *r)
{
	struct producers_state *st = arena_alloc(r->arena, sizeof(*st));
	if (!st)
		return API_TOO_LARGE;
	r->state = st;
	int err =
		kp_decode_describe_producers_request(&r->body, r->hdr.version, &st->req, r->arena);
	if (err != 0)
		return api_decode_failed(err);
	if (!producers_layout(r, st))
		return API_TOO_LARGE;
	return producers_ask(r, st) ? API_WAIT : API_REPLY;
}

static enum api_step producers_resume(struct api_req *r)
{
	struct producers_state *st = r->state;
	producers_take(r, st);
	return producers_ask(r, st) ? API_WAIT : API_REPLY;
}

static void producers_encode(struct api_req *r, struct kwr *w)
{
	const struct producers_state *st = r->state;
	kp_encode_describe_producers_response(w, r->hdr.version, &st->resp);
}

const struct api_handler api_describe_producers_handler = {
	.key = KP_DESCRIBE_PRODUCERS,
	.start = producers_start,
	.resume = producers_resume,
	.encode = producers_encode,
};
