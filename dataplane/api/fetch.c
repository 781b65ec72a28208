/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fetch (key 1). Reads the partitions in the order of the request, in groups whose limits together
 * fit into what is left of max_bytes; when less than min_bytes came out, waits for a high watermark
 * to move or for max_wait_ms, and reads again.
 * In a fetch session (fetch_session.c) the partitions are those of the session.
 */
#include "api/api.h"
#include "base/clock.h"
#include "kafka/errcode.h"
#include "kafka/messages.h"

#define FETCH_DIVERGING 12
#define FETCH_BY_ID 13
/* Pieces that a response may be gathered from; a session sends up to SESSION_MAX_PIECES. */
#define FETCH_MAX_PIECES 1000u

/* One partition of the request. A fetch outlives the image that it began with, so it keeps the
 * topic's id, and looks the partition up at every use. */
struct fetch_part {
	const struct kp_fetch_request_partition *q;
	struct kp_fetch_response_partition *out;
	struct uuid topic_id; /* zero: refused */
	struct part_op *op;
};

struct fetch_state {
	struct kp_fetch_request req;
	struct kp_fetch_response resp;
	struct fetch_part *parts;
	uint32_t part_count;
	uint32_t next;	 /* first partition not yet asked in this round */
	uint32_t group;	 /* first partition of the group under way */
	uint32_t bytes;	 /* read in this round */
	uint32_t pieces; /* that they and what is between them lie in */
	uint32_t max_bytes;
	uint64_t deadline_ns;
	bool error;   /* a partition has one: answer at once */
	bool waiting; /* the operations under way are waits */
	bool last;    /* the deadline has passed: answer with what there is */
};

static uint32_t fetch_count(const struct kp_fetch_request *q)
{
	uint32_t n = 0;
	for (int32_t i = 0; i < q->n_topics; i++)
		n += (uint32_t)q->topics[i].n_partitions;
	return n;
}

static void fetch_refuse(struct fetch_state *st, struct fetch_part *p, int16_t error)
{
	p->topic_id = (struct uuid){0};
	p->out->error_code = error;
	st->error = true;
}

/* Where the partition is by the image of now; NULL, with the error in the answer, when it is gone.
 */
static const struct image_partition *fetch_find(
	struct api_req *r, struct fetch_state *st, struct fetch_part *p)
{
	if (uuid_is_zero(&p->topic_id))
		return NULL;
	const struct image_topic *topic = image_topic_by_id(r->image, &p->topic_id);
	const struct image_partition *ip = topic ? image_partition_at(topic, p->q->index) : NULL;
	if (!ip)
		fetch_refuse(st, p, KE_UNKNOWN_TOPIC_OR_PARTITION);
	return ip;
}

static bool fetch_layout_topic(struct api_req *r, struct fetch_state *st, int32_t i, uint32_t *n)
{
	const struct kp_fetch_request_topic *q = &st->req.topics[i];
	struct kp_fetch_response_topic *t = &st->resp.topics[i];
	bool by_id = r->hdr.version >= FETCH_BY_ID;
	kp_default_fetch_response_topic(t);
	t->name = q->name;
	t->topic_id = q->topic_id;
	t->n_partitions = q->n_partitions;
	t->partitions =
		arena_array(r->arena, (size_t)max_of(q->n_partitions, 1), sizeof(*t->partitions));
	if (!t->partitions || !api_keep(r, &t->name))
		return false;
	const struct image_topic *topic = api_topic(r, by_id, q->name, &q->topic_id);
	for (int32_t j = 0; j < q->n_partitions; j++) {
		struct fetch_part *p = &st->parts[(*n)++];
		p->q = &q->partitions[j];
		p->out = &t->partitions[j];
		kp_default_fetch_response_partition(p->out);
		p->out->index = p->q->index;
		if (topic && image_partition_at(topic, p->q->index))
			p->topic_id = topic->id;
		else
			fetch_refuse(st, p,
				by_id && !topic ? KE_UNKNOWN_TOPIC_ID
						: KE_UNKNOWN_TOPIC_OR_PARTITION);
	}
	return true;
}

static bool fetch_layout(struct api_req *r, struct fetch_state *st)
{
	st->part_count = fetch_count(&st->req);
	st->parts = arena_array(r->arena, max_of(st->part_count, 1u), sizeof(*st->parts));
	st->resp.n_topics = st->req.n_topics;
	st->resp.topics = arena_array(
		r->arena, (size_t)max_of(st->req.n_topics, 1), sizeof(*st->resp.topics));
	if (!st->parts || !st->resp.topics)
		return false;
	uint32_t n = 0;
	for (int32_t i = 0; i < st->req.n_topics; i++)
		if (!fetch_layout_topic(r, st, i, &n))
			return false;
	return true;
}

static uint32_t fetch_part_limit(const struct api_req *r, const struct fetch_part *p)
{
	return (uint32_t)min_of(max_of(p->q->max_bytes, 0), r->limits->fetch_part_max_bytes);
}

/* Asks for the next group. True when there is something to wait for. */
static bool fetch_ask_group(struct api_req *r, struct fetch_state *st)
{
	uint32_t left = st->max_bytes > st->bytes ? st->max_bytes - st->bytes : 0;
	bool asked = false;
	st->group = st->next;
	for (; st->next < st->part_count; st->next++) {
		struct fetch_part *p = &st->parts[st->next];
		const struct image_partition *ip = fetch_find(r, st, p);
		if (!ip)
			continue;
		uint32_t limit = fetch_part_limit(r, p);
		if (asked && limit > left)
			return true;
		limit = min_of(limit, left);
		p->op = api_op(r, PART_FETCH, ip);
		if (!p->op) {
			p->out->error_code = KE_KAFKA_STORAGE_ERROR;
			st->error = true;
			continue;
		}
		p->op->fetch.offset = p->q->fetch_offset;
		p->op->fetch.max_bytes = limit;
		p->op->fetch.at_least_one = st->bytes == 0; /* KIP-74 */
		p->op->current_leader_epoch = p->q->current_leader_epoch;
		left -= limit;
		asked = true;
	}
	return asked;
}

/*
 * KIP-320: the consumer says of which epoch the record before its position was. The partition has
 * one epoch for all of its life: one that has read beyond its end has read what is not there any
 * more, and is told where to go on. From another epoch there is no way back.
 */
static bool fetch_diverges(struct api_req *r, struct fetch_part *p, const struct part_op *op,
	const struct image_partition *ip)
{
	int32_t epoch = p->q->last_fetched_epoch;
	bool beyond = op->error == KE_OFFSET_OUT_OF_RANGE && op->fetch.high_watermark >= 0 &&
		      p->q->fetch_offset > op->fetch.high_watermark;
	if (r->hdr.version < FETCH_DIVERGING || !ip || !beyond || epoch != ip->leader_epoch)
		return false;
	p->out->error_code = KE_NONE;
	p->out->high_watermark = op->fetch.high_watermark;
	p->out->last_stable_offset = op->fetch.last_stable_offset;
	p->out->log_start_offset = op->fetch.log_start_offset;
	p->out->diverging_epoch.epoch = epoch;
	p->out->diverging_epoch.end_offset = op->fetch.high_watermark;
	return true;
}

/* Takes over one finished read. What does not fit into the response after all is given back. */
static void fetch_take(struct api_req *r, struct fetch_state *st, struct fetch_part *p)
{
	struct part_op *op = p->op;
	struct kp_fetch_response_partition *out = p->out;
	const struct image_partition *ip = op->error ? fetch_find(r, st, p) : NULL;
	out->error_code = op->error;
	if (op->error != KE_NONE) {
		st->error = true; /* answered at once */
		fetch_diverges(r, p, op, ip);
		r->host->op_free(r->host, r, op);
		p->op = NULL;
		return;
	}
	out->high_watermark = op->fetch.high_watermark;
	out->last_stable_offset = op->fetch.last_stable_offset;
	out->log_start_offset = op->fetch.log_start_offset;
	uint32_t len = op->fetch.span.len;
	uint32_t pieces = 1 + lspan_blocks(op->fetch.span);
	bool fits = len <= op->fetch.max_bytes && st->pieces + pieces <= FETCH_MAX_PIECES;
	if (len == 0 || (st->bytes > 0 && !fits)) {
		r->host->op_free(r->host, r, op);
		p->op = NULL;
		return;
	}
	st->bytes += len;
	st->pieces += pieces;
	out->records = (struct krecords){.len = len, .span = op->fetch.span};
}

static void fetch_take_group(struct api_req *r, struct fetch_state *st)
{
	for (uint32_t i = st->group; i < st->next; i++)
		if (st->parts[i].op)
			fetch_take(r, st, &st->parts[i]);
}

/* Forgets this round's results, for the next one. */
static void fetch_drop(struct api_req *r, struct fetch_state *st)
{
	for (uint32_t i = 0; i < st->part_count; i++) {
		struct fetch_part *p = &st->parts[i];
		if (p->op)
			r->host->op_free(r->host, r, p->op);
		p->op = NULL;
		p->out->records = (struct krecords){0};
	}
	st->next = st->group = st->bytes = st->pieces = 0;
}

static enum api_step fetch_wait(struct api_req *r, struct fetch_state *st)
{
	fetch_drop(r, st);
	for (uint32_t i = 0; i < st->part_count; i++) {
		struct fetch_part *p = &st->parts[i];
		const struct image_partition *ip = fetch_find(r, st, p);
		if (!ip)
			continue; /* the next round says so */
		p->op = api_op(r, PART_WAIT, ip);
		if (!p->op)
			break; /* the others, and the deadline, will do */
		p->op->wait.offset = p->out->high_watermark;
	}
	st->waiting = true;
	r->wait_any = true;
	r->deadline_ns = st->deadline_ns;
	return API_WAIT;
}

static enum api_step fetch_reply(struct api_req *r, struct fetch_state *st)
{
	bool by_id = r->hdr.version >= FETCH_BY_ID;
	fetch_session_end(r->fetch, &st->req, by_id, r->now_ns, &st->resp);
	return API_REPLY;
}

/* After a group: the next one, or the answer, or a wait. */
static enum api_step fetch_go_on(struct api_req *r, struct fetch_state *st)
{
	if (st->bytes < st->max_bytes && fetch_ask_group(r, st))
		return API_WAIT;
	bool enough = st->bytes >= (uint32_t)max_of(st->req.min_bytes, 0);
	if (enough || st->error || st->last || st->part_count == 0 || r->now_ns >= st->deadline_ns)
		return fetch_reply(r, st);
	return fetch_wait(r, st);
}

static enum api_step fetch_start(struct api_req *r)
{
	struct fetch_state *st = arena_alloc(r->arena, sizeof(*st));
	if (!st)
		return API_TOO_LARGE;
	r->state = st;
	int err = kp_decode_fetch_request(&r->body, r->hdr.version, &st->req, r->arena);
	if (err != 0)
		return api_decode_failed(err);
	kp_default_fetch_response(&st->resp);
	if (!fetch_session_begin(r->fetch, &st->req, r->hdr.version >= FETCH_BY_ID, r->arena,
		    &st->resp.error_code))
		return API_TOO_LARGE;
	if (st->resp.error_code != KE_NONE)
		return API_REPLY;
	if (!fetch_layout(r, st))
		return API_TOO_LARGE;
	st->max_bytes = (uint32_t)min_of(max_of(st->req.max_bytes, 0), r->limits->fetch_max_bytes);
	st->deadline_ns = r->now_ns + (uint64_t)max_of(st->req.max_wait_ms, 0) * NS_PER_MS;
	return fetch_ask_group(r, st) ? API_WAIT : fetch_reply(r, st);
}

static enum api_step fetch_resume(struct api_req *r)
{
	struct fetch_state *st = r->state;
	if (st->waiting) {
		st->waiting = false;
		st->last = r->now_ns >= st->deadline_ns;
		fetch_drop(r, st);
		return fetch_ask_group(r, st) ? API_WAIT : fetch_reply(r, st);
	}
	fetch_take_group(r, st);
	return fetch_go_on(r, st);
}

static void fetch_encode(struct api_req *r, struct kwr *w)
{
	const struct fetch_state *st = r->state;
	kp_encode_fetch_response(w, r->hdr.version, &st->resp);
}

const struct api_handler api_fetch_handler = {
	.key = KP_FETCH,
	.start = fetch_start,
	.resume = fetch_resume,
	.encode = fetch_encode,
};
