/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Produce (key 0). One append per partition; the response when all are on stable storage. acks=0
 * has no response: an error then closes the connection, which is all that Kafka tells such a
 * client.
 */
#include "api/api.h"
#include "kafka/batch.h"
#include "kafka/errcode.h"
#include "kafka/messages.h"

#define PRODUCE_BY_ID 13 /* topic ids instead of names from this version on (KIP-516) */
#define PRODUCE_ZSTD 7	 /* KIP-110 */

struct produce_state {
	struct kp_produce_request req;
	struct kp_produce_response resp;
	struct part_op **ops; /* one per partition, in order of the request; NULL: refused */
};

static bool produce_is_internal(const struct api_req *r, const struct image_topic *t)
{
	/* Kafka lets its admin client write to internal topics, and nobody else. */
	return t->internal && !kstr_equal(r->hdr.client_id, kstr_of("__admin_client"));
}

/* Kafka's checks before the log is touched (protocol: ProduceRequest.validateRecords). */
static int16_t produce_precheck(const struct api_req *r, const struct produce_state *st,
	const struct image_topic *t, const struct kp_produce_request_partition *p,
	const struct image_partition **ip)
{
	if (!t)
		return r->hdr.version >= PRODUCE_BY_ID ? KE_UNKNOWN_TOPIC_ID
						       : KE_UNKNOWN_TOPIC_OR_PARTITION;
	*ip = image_partition_at(t, p->index);
	if (!*ip)
		return KE_UNKNOWN_TOPIC_OR_PARTITION;
	if (st->req.acks < -1 || st->req.acks > 1)
		return KE_INVALID_REQUIRED_ACKS;
	if (produce_is_internal(r, t))
		return KE_INVALID_TOPIC_EXCEPTION;
	if (p->records.len < (int32_t)BATCH_HEADER_SIZE)
		return p->records.len <= 0 ? KE_INVALID_RECORD : KE_CORRUPT_MESSAGE;
	const uint8_t *b = p->records.p;
	if (batch_magic(b) != BATCH_MAGIC)
		return KE_INVALID_RECORD;
	if (batch_size(b) > 0 && batch_size(b) < (uint32_t)p->records.len)
		return KE_INVALID_RECORD; /* more than one batch */
	if (batch_codec(b) == CODEC_ZSTD && r->hdr.version < PRODUCE_ZSTD)
		return KE_UNSUPPORTED_COMPRESSION_TYPE;
	return KE_NONE;
}

static int32_t produce_count(const struct kp_produce_request *q)
{
	int32_t n = 0;
	for (int32_t i = 0; i < q->n_topics; i++)
		n += q->topics[i].n_partitions;
	return n;
}

/* Lays out the response beside the request: same topics, same partitions, names kept. */
static bool produce_layout(struct api_req *r, struct produce_state *st)
{
	const struct kp_produce_request *q = &st->req;
	kp_default_produce_response(&st->resp);
	st->resp.n_topics = q->n_topics;
	st->resp.topics =
		arena_array(r->arena, (size_t)max_of(q->n_topics, 1), sizeof(*st->resp.topics));
	st->ops = arena_array(
		r->arena, (size_t)max_of(produce_count(q), 1), sizeof(struct part_op *));
	if (!st->resp.topics || !st->ops)
		return false;
	for (int32_t i = 0; i < q->n_topics; i++) {
		struct kp_produce_response_topic *t = &st->resp.topics[i];
		kp_default_produce_response_topic(t);
		t->name = q->topics[i].name;
		t->topic_id = q->topics[i].topic_id;
		t->n_partitions = q->topics[i].n_partitions;
		t->partitions = arena_array(
			r->arena, (size_t)max_of(t->n_partitions, 1), sizeof(*t->partitions));
		if (!t->partitions || !api_keep(r, &t->name))
			return false;
		for (int32_t j = 0; j < t->n_partitions; j++) {
			kp_default_produce_response_partition(&t->partitions[j]);
			t->partitions[j].index = q->topics[i].partitions[j].index;
		}
	}
	return true;
}

static void produce_ask(struct api_req *r, struct produce_state *st, const struct image_topic *t,
	const struct kp_produce_request_partition *p, struct kp_produce_response_partition *out,
	struct part_op **op)
{
	const struct image_partition *ip = NULL;
	out->error_code = produce_precheck(r, st, t, p, &ip);
	if (out->error_code != KE_NONE)
		return;
	if (st->req.acks == -1 && t->config.min_insync_replicas > 1) {
		out->error_code = KE_NOT_ENOUGH_REPLICAS; /* this broker is the only one */
		return;
	}
	*op = api_op(r, PART_APPEND, ip);
	if (!*op) {
		out->error_code = KE_KAFKA_STORAGE_ERROR;
		return;
	}
	(*op)->append.data = p->records.p;
	(*op)->append.len = (uint32_t)p->records.len;
	(*op)->append.bad_record = -1;
}

static enum api_step produce_finish(struct api_req *r)
{
	struct produce_state *st = r->state;
	if (st->req.acks != 0)
		return API_REPLY;
	for (int32_t i = 0; i < st->resp.n_topics; i++)
		for (int32_t j = 0; j < st->resp.topics[i].n_partitions; j++)
			if (st->resp.topics[i].partitions[j].error_code != KE_NONE)
				return API_CLOSE;
	return API_SILENT;
}

static enum api_step produce_start(struct api_req *r)
{
	struct produce_state *st = arena_alloc(r->arena, sizeof(*st));
	if (!st)
		return API_TOO_LARGE;
	r->state = st;
	int err = kp_decode_produce_request(&r->body, r->hdr.version, &st->req, r->arena);
	if (err != 0)
		return api_decode_failed(err);
	if (!produce_layout(r, st))
		return API_TOO_LARGE;
	bool asked = false;
	uint32_t n = 0;
	for (int32_t i = 0; i < st->req.n_topics; i++) {
		const struct kp_produce_request_topic *q = &st->req.topics[i];
		const struct image_topic *t =
			api_topic(r, r->hdr.version >= PRODUCE_BY_ID, q->name, &q->topic_id);
		for (int32_t j = 0; j < q->n_partitions; j++, n++) {
			produce_ask(r, st, t, &q->partitions[j], &st->resp.topics[i].partitions[j],
				&st->ops[n]);
			asked |= st->ops[n] != NULL;
		}
	}
	return asked ? API_WAIT : produce_finish(r);
}

/* KIP-467: which record of the batch was refused, and why. */
static void produce_record_error(
	struct api_req *r, const struct part_op *op, struct kp_produce_response_partition *out)
{
	out->error_message = kstr_of(op->append.error_message);
	if (op->append.bad_record < 0)
		return;
	struct kp_produce_response_record_error *e = arena_alloc(r->arena, sizeof(*e));
	if (!e)
		return;
	e->batch_index = op->append.bad_record;
	e->message = kstr_of(op->append.error_message);
	out->record_errors = e;
	out->n_record_errors = 1;
}

static void produce_take(
	struct api_req *r, struct part_op *op, struct kp_produce_response_partition *out)
{
	out->error_code = op->error;
	out->log_start_offset = op->append.log_start_offset;
	if (op->error == KE_NONE) {
		out->base_offset = op->append.base_offset;
		out->log_append_time_ms = op->append.log_append_time_ms;
	} else {
		produce_record_error(r, op, out);
	}
}

static enum api_step produce_resume(struct api_req *r)
{
	struct produce_state *st = r->state;
	uint32_t n = 0;
	for (int32_t i = 0; i < st->resp.n_topics; i++) {
		struct kp_produce_response_topic *t = &st->resp.topics[i];
		for (int32_t j = 0; j < t->n_partitions; j++, n++)
			if (st->ops[n])
				produce_take(r, st->ops[n], &t->partitions[j]);
	}
	return produce_finish(r);
}

static void produce_encode(struct api_req *r, struct kwr *w)
{
	struct produce_state *st = r->state;
	st->resp.throttle_time_ms = r->throttle_ms;
	kp_encode_produce_response(w, r->hdr.version, &st->resp);
}

const struct api_handler api_produce_handler = {
	.key = KP_PRODUCE,
	.start = produce_start,
	.resume = produce_resume,
	.encode = produce_encode,
};
