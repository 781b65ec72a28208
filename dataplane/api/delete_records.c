/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DeleteRecords (key 21, KIP-107): the log of a partition is to begin at an offset; -1: at the high
 * watermark. Answers where it begins then. The records themselves go in the background.
 */
#include "api/api.h"
#include "base/clock.h"
#include "kafka/errcode.h"
#include "kafka/messages.h"

struct delete_state {
	struct kp_delete_records_request req;
	struct kp_delete_records_response resp;
	struct part_op **ops; /* in order of the request; NULL: refused */
};

static uint32_t delete_count(const struct kp_delete_records_request *q)
{
	uint32_t n = 0;
	for (int32_t i = 0; i < q->n_topics; i++)
		n += (uint32_t)max_of(q->topics[i].n_partitions, 0);
	return n;
}

/* Asks the partition, or says in `out` why not. */
static void delete_ask(struct api_req *r, const struct image_topic *t,
	const struct kp_delete_records_request_partition *p,
	struct kp_delete_records_response_partition *out, struct part_op **op)
{
	const struct image_partition *ip = t ? image_partition_at(t, p->index) : NULL;
	kp_default_delete_records_response_partition(out);
	out->index = p->index;
	if (!ip) {
		out->error_code = KE_UNKNOWN_TOPIC_OR_PARTITION;
		return;
	}
	if (t->internal) {
		out->error_code = KE_INVALID_TOPIC_EXCEPTION;
		return;
	}
	*op = api_op(r, PART_TRIM, ip);
	if (!*op) {
		out->error_code = KE_KAFKA_STORAGE_ERROR;
		return;
	}
	(*op)->trim.offset = p->offset;
}

static enum api_step delete_start(struct api_req *r)
{
	struct delete_state *st = arena_alloc(r->arena, sizeof(*st));
	if (!st)
		return API_TOO_LARGE;
	r->state = st;
	int err = kp_decode_delete_records_request(&r->body, r->hdr.version, &st->req, r->arena);
	if (err != 0)
		return api_decode_failed(err);
	kp_default_delete_records_response(&st->resp);
	size_t topics = (size_t)max_of(st->req.n_topics, 1);
	st->ops = arena_array(r->arena, max_of(delete_count(&st->req), 1u), sizeof(*st->ops));
	st->resp.topics = arena_array(r->arena, topics, sizeof(*st->resp.topics));
	if (!st->ops || !st->resp.topics)
		return API_TOO_LARGE;
	st->resp.n_topics = max_of(st->req.n_topics, 0);
	bool asked = false;
	uint32_t n = 0;
	for (int32_t i = 0; i < st->resp.n_topics; i++) {
		const struct kp_delete_records_request_topic *q = &st->req.topics[i];
		struct kp_delete_records_response_topic *t = &st->resp.topics[i];
		t->name = q->name;
		t->n_partitions = max_of(q->n_partitions, 0);
		t->partitions = arena_array(
			r->arena, (size_t)max_of(q->n_partitions, 1), sizeof(*t->partitions));
		if (!t->partitions || !api_keep(r, &t->name))
			return API_TOO_LARGE;
		const struct image_topic *topic = image_topic_by_name(r->image, q->name);
		for (int32_t j = 0; j < t->n_partitions; j++, n++) {
			delete_ask(r, topic, &q->partitions[j], &t->partitions[j], &st->ops[n]);
			asked |= st->ops[n] != NULL;
		}
	}
	r->wait_limit = true;
	r->deadline_ns = r->now_ns + (uint64_t)max_of(st->req.timeout_ms, 0) * NS_PER_MS;
	return asked ? API_WAIT : API_REPLY;
}

static enum api_step delete_resume(struct api_req *r)
{
	struct delete_state *st = r->state;
	uint32_t n = 0;
	for (int32_t i = 0; i < st->resp.n_topics; i++) {
		struct kp_delete_records_response_topic *t = &st->resp.topics[i];
		for (int32_t j = 0; j < t->n_partitions; j++, n++) {
			const struct part_op *op = st->ops[n];
			if (!op)
				continue;
			if (!r->host->op_back(r->host, op)) {
				t->partitions[j].error_code = KE_REQUEST_TIMED_OUT;
				continue;
			}
			t->partitions[j].error_code = op->error;
			if (op->error == KE_NONE)
				t->partitions[j].low_watermark = op->trim.log_start_offset;
		}
	}
	return API_REPLY;
}

static void delete_encode(struct api_req *r, struct kwr *w)
{
	const struct delete_state *st = r->state;
	kp_encode_delete_records_response(w, r->hdr.version, &st->resp);
}

const struct api_handler api_delete_records_handler = {
	.key = KP_DELETE_RECORDS,
	.start = delete_start,
	.resume = delete_resume,
	.encode = delete_encode,
};
