/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/cli/producer.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define RECORD_OVERHEAD 64u /* of a record and of its batch, at most */

/* What is open, or on its way, for one partition. */
struct producing {
	int32_t index;
	int32_t leader;
	int32_t sequence; /* of the next batch */
	uint8_t *mem;
	size_t mem_size;
	struct batch_build build;
	uint8_t *packed; /* compressed batch */
	size_t packed_size;
	const uint8_t *sending; /* NULL: nothing is on its way */
	uint32_t sending_size;
};

struct producer {
	struct cli *c;
	struct producer_options options;
	struct kstr topic;
	struct producing *of;
	int32_t count;
	int32_t turn; /* partition of records without a key */
	uint64_t open_bytes;
	int64_t producer_id;
	int16_t producer_epoch;
	uint32_t attempt;
	struct reply reply;
};

uint32_t murmur2(const uint8_t *p, size_t n)
{
	const uint32_t m = 0x5bd1e995;
	uint32_t h = 0x9747b28cu ^ (uint32_t)n;
	for (; n >= 4; p += 4, n -= 4) {
		uint32_t k = le32_get(p) * m;
		k = (k ^ (k >> 24)) * m;
		h = (h * m) ^ k;
	}
	if (n == 3)
		h ^= (uint32_t)p[2] << 16;
	if (n >= 2)
		h ^= (uint32_t)p[1] << 8;
	if (n >= 1)
		h = (h ^ p[0]) * m;
	h = (h ^ (h >> 13)) * m;
	return h ^ (h >> 15);
}

/* Asks for a producer id (KIP-98). */
static int producer_id_get(struct producer *p)
{
	struct cli *c = p->c;
	struct kp_init_producer_id_request rq;
	struct kp_init_producer_id_response rs;
	uint64_t deadline = client_deadline(c->client);
	kp_default_init_producer_id_request(&rq);
	rq.transactional_id = KSTR_NULL;
	rq.transaction_timeout_ms = 60000;
	for (uint32_t n = 0;; n++) {
		int rc = client_call(
			c->client, CLIENT_ANY, KP_INIT_PRODUCER_ID, &rq, &rs, &p->reply);
		if (rc)
			return cli_client_failed(c, rc);
		if (rs.error_code == KE_NONE)
			break;
		if (!ke_retriable(rs.error_code) || clock_mono_ns() > deadline)
			return cli_refused(c, KSTR_NULL, rs.error_code, KSTR_NULL);
		if ((rc = client_back_off(c->client, n)) != 0)
			return cli_client_failed(c, rc);
	}
	p->producer_id = rs.producer_id;
	p->producer_epoch = rs.producer_epoch;
	return CLI_OK;
}

static int by_index(const void *a, const void *b)
{
	const struct producing *x = a, *y = b;
	return (x->index > y->index) - (x->index < y->index);
}

/* Takes partitions, and who leads them, from metadata. */
static int producer_learn(struct producer *p, const struct kp_metadata_response_topic *t)
{
	if (!p->of) {
		p->of = calloc((size_t)t->n_partitions, sizeof(*p->of));
		if (!p->of)
			return cli_fail(p->c, CLI_FAILED, "no memory");
		p->count = t->n_partitions;
		for (int32_t i = 0; i < p->count; i++)
			p->of[i].index = t->partitions[i].index;
		qsort(p->of, (size_t)p->count, sizeof(*p->of), by_index);
	}
	for (int32_t i = 0; i < t->n_partitions; i++) {
		struct producing key = {.index = t->partitions[i].index};
		struct producing *q = bsearch(&key, p->of, (size_t)p->count, sizeof(key), by_index);
		if (q)
			q->leader = t->partitions[i].leader_id;
	}
	return CLI_OK;
}

struct producer *producer_open(
	struct cli *c, const char *topic, const struct producer_options *options, int *code)
{
	struct kp_metadata_response m;
	struct producer *p = calloc(1, sizeof(*p));
	if (!p) {
		*code = cli_fail(c, CLI_FAILED, "no memory");
		return NULL;
	}
	p->c = c;
	p->options = *options;
	p->topic = kstr_of(topic);
	p->producer_id = BATCH_NO_PRODUCER_ID;
	p->producer_epoch = -1;
	*code = cli_topic(c, topic, true, &m, &p->reply);
	if (!*code)
		*code = producer_learn(p, &m.topics[0]);
	if (!*code && options->partition >= p->count)
		*code = cli_fail(c, CLI_FAILED, "%s has %d partitions, and no partition %d", topic,
			p->count, options->partition);
	if (!*code && options->idempotent)
		*code = producer_id_get(p);
	if (*code) {
		producer_close(p);
		return NULL;
	}
	return p;
}

void producer_close(struct producer *p)
{
	if (!p)
		return;
	for (int32_t i = 0; i < p->count; i++) {
		free(p->of[i].mem);
		free(p->of[i].packed);
	}
	free(p->of);
	reply_free(&p->reply);
	free(p);
}

bool producer_waits(const struct producer *p)
{
	return p->open_bytes > 0;
}

/* --- sending ----------------------------------------------------------------------------- */

/* Ends the batch of a partition and compresses it. */
static int close_batch(struct producer *p, struct producing *q)
{
	if (p->options.idempotent) {
		batch_build_set_producer(
			&q->build, p->producer_id, p->producer_epoch, q->sequence, false);
		q->sequence =
			(int32_t)(((uint32_t)q->sequence + (uint32_t)q->build.count) & INT32_MAX);
	}
	q->sending_size = batch_build_finish(&q->build);
	q->sending = q->build.w.base;
	q->build.count = 0;
	if (p->options.codec == CODEC_NONE)
		return CLI_OK;
	size_t need = BATCH_HEADER_SIZE + codec_compress_bound(p->options.codec, q->sending_size);
	if (need > q->packed_size) {
		free(q->packed);
		q->packed = malloc(need);
		q->packed_size = q->packed ? need : 0;
	}
	uint32_t n = q->packed ? batch_compress(q->sending, p->options.codec, 0, q->packed,
					 (uint32_t)q->packed_size)
			       : 0;
	if (n == 0)
		return cli_fail(p->c, CLI_FAILED, "no memory to compress a batch");
	q->sending = q->packed;
	q->sending_size = n;
	return CLI_OK;
}

/* Takes the answer for one partition: done, to be sent again, or refused (an exit code). */
static int take_answer(
	struct producer *p, const struct kp_produce_response_partition *r, int32_t *done)
{
	struct producing key = {.index = r->index};
	struct producing *q = bsearch(&key, p->of, (size_t)p->count, sizeof(key), by_index);
	if (!q || !q->sending)
		return CLI_OK;
	if (r->error_code == KE_NONE || r->error_code == KE_DUPLICATE_SEQUENCE_NUMBER) {
		q->sending = NULL;
		(*done)++;
		return CLI_OK;
	}
	return ke_retriable(r->error_code)
		       ? CLI_OK
		       : cli_refused(p->c, p->topic, r->error_code, r->error_message);
}

/* Sends what is to go to one leader. A client_err; a refusal is in *code. */
static int send_to(struct producer *p, int32_t leader, struct kp_produce_request_partition *list,
	int32_t *done, int *code)
{
	struct kp_produce_request_topic topic;
	struct kp_produce_request rq;
	struct kp_produce_response rs;
	int32_t n = 0;
	for (int32_t i = 0; i < p->count; i++)
		if (p->of[i].sending && p->of[i].leader == leader)
			list[n++] = (struct kp_produce_request_partition){.index = p->of[i].index,
				.records = {p->of[i].sending, (int32_t)p->of[i].sending_size}};
	kp_default_produce_request_topic(&topic);
	topic.name = p->topic;
	topic.partitions = list;
	topic.n_partitions = n;
	kp_default_produce_request(&rq);
	rq.acks = p->options.acks;
	rq.timeout_ms = (int32_t)args_int(&p->c->args, "timeout", 30) * 1000;
	rq.topics = &topic;
	rq.n_topics = 1;
	if (p->options.acks == 0) {
		int rc = client_tell(p->c->client, leader, KP_PRODUCE, &rq);
		for (int32_t i = 0; !rc && i < p->count; i++)
			if (p->of[i].leader == leader) {
				*done += p->of[i].sending != NULL;
				p->of[i].sending = NULL;
			}
		return rc;
	}
	int rc = client_call(p->c->client, leader, KP_PRODUCE, &rq, &rs, &p->reply);
	for (int32_t t = 0; !rc && t < rs.n_topics; t++)
		for (int32_t i = 0; i < rs.topics[t].n_partitions && !*code; i++)
			*code = take_answer(p, &rs.topics[t].partitions[i], done);
	return rc;
}

/* Sends to every leader once. */
static int send_round(
	struct producer *p, struct kp_produce_request_partition *list, int32_t *done, int *code)
{
	int worst = CLIENT_OK;
	for (int32_t i = 0; i < p->count && !*code; i++) {
		int32_t leader = p->of[i].leader;
		bool asked = leader < 0 || !p->of[i].sending;
		for (int32_t j = 0; j < i && !asked; j++)
			asked = p->of[j].leader == leader && p->of[j].sending;
		if (asked)
			continue;
		int rc = send_to(p, leader, list, done, code);
		worst = rc ? rc : worst;
	}
	return worst;
}

/* Waits, and looks who leads now. An exit code. */
static int send_again(struct producer *p, uint32_t attempt)
{
	struct kp_metadata_response m;
	struct reply reply = {0};
	int rc = client_back_off(p->c->client, attempt);
	if (rc)
		return cli_client_failed(p->c, rc);
	rc = client_metadata(p->c->client, &p->topic, 1, false, &m, &reply);
	if (!rc && m.n_topics == 1 && m.topics[0].error_code == KE_NONE)
		producer_learn(p, &m.topics[0]);
	reply_free(&reply);
	return CLI_OK;
}

int producer_flush(struct producer *p)
{
	int32_t to_send = 0, done = 0;
	int code = CLI_OK;
	uint64_t deadline = client_deadline(p->c->client);
	for (int32_t i = 0; i < p->count && !code; i++)
		if (p->of[i].build.count) {
			code = close_batch(p, &p->of[i]);
			to_send++;
		}
	struct kp_produce_request_partition *list =
		calloc((size_t)max_of(to_send, 1), sizeof(*list));
	if (!list)
		return cli_fail(p->c, CLI_FAILED, "no memory");
	for (uint32_t attempt = 0; !code && done < to_send; attempt++) {
		int rc = send_round(p, list, &done, &code);
		if (code || done == to_send)
			break;
		if (rc == CLIENT_E_STOPPED || rc == CLIENT_E_VERSION || rc == CLIENT_E_NOMEM ||
			(rc && clock_mono_ns() > deadline))
			code = cli_client_failed(p->c, rc);
		else if (clock_mono_ns() > deadline)
			code = cli_fail(p->c, CLI_UNREACHABLE, "%d batches were not taken in time",
				to_send - done);
		else
			code = send_again(p, attempt);
	}
	free(list);
	p->open_bytes = 0;
	return code;
}

/* --- records ----------------------------------------------------------------------------- */

/* Begins a batch with room for a record of `need` bytes. */
static int open_batch(struct producer *p, struct producing *q, size_t need)
{
	size_t size = max_of(need, (size_t)p->options.batch_bytes);
	if (q->mem_size < size) {
		free(q->mem);
		q->mem = malloc(size);
		q->mem_size = q->mem ? size : 0;
		if (!q->mem)
			return cli_fail(p->c, CLI_FAILED, "no memory for a batch");
	}
	batch_build_begin(&q->build, q->mem, size);
	p->open_bytes += size;
	return CLI_OK;
}

/* The partition of a record. Those without a key fill one batch after the other. */
static struct producing *partition_for(struct producer *p, struct kbytes key)
{
	if (p->options.partition >= 0)
		return &p->of[p->options.partition];
	if (key.len < 0)
		return &p->of[p->turn % p->count];
	uint32_t h = murmur2(key.p, (size_t)key.len) & INT32_MAX;
	return &p->of[h % (uint32_t)p->count];
}

int producer_add(struct producer *p, struct kbytes key, struct kbytes value,
	const struct batch_header *headers, int32_t header_count)
{
	int64_t now_ms = clock_wall_ms();
	size_t need = RECORD_OVERHEAD + BATCH_HEADER_SIZE + (size_t)max_of(key.len, 0) +
		      (size_t)max_of(value.len, 0);
	for (int32_t i = 0; i < header_count; i++)
		need += 10 + (size_t)headers[i].key.len + (size_t)max_of(headers[i].value.len, 0);
	for (int i = 0; i < 2; i++) {
		struct producing *q = partition_for(p, key);
		int code = CLI_OK;
		if (!q->build.count && p->open_bytes + need > PRODUCER_MEMORY)
			code = producer_flush(p);
		if (!code && !q->build.count)
			code = open_batch(p, q, need);
		if (code)
			return code;
		if (batch_build_add(&q->build, now_ms, key, value, headers, header_count))
			return CLI_OK;
		p->turn++;
		code = producer_flush(p);
		if (code)
			return code;
	}
	return cli_fail(p->c, CLI_FAILED, "a record of %zu bytes does not fit into a batch", need);
}
