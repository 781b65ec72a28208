/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/cli/fetcher.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"

#define FETCH_ATTEMPTS 20 /* in a row that may fail */

int fetcher_begin(struct fetcher *f)
{
	f->scratch.codec = codec_open();
	f->scratch.size = FETCH_INFLATED;
	f->scratch.buf = mmap(NULL, FETCH_INFLATED, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (f->scratch.buf == MAP_FAILED)
		f->scratch.buf = NULL;
	return f->scratch.codec && f->scratch.buf ? CLI_OK
						  : cli_fail(f->c, CLI_FAILED, "no memory");
}

void fetcher_end(struct fetcher *f)
{
	if (f->scratch.buf)
		munmap(f->scratch.buf, FETCH_INFLATED);
	if (f->scratch.codec)
		codec_close(f->scratch.codec);
	reply_free(&f->reply);
	free(f->of);
	f->of = NULL;
	f->count = 0;
}

static bool waits(const struct fetching *p)
{
	return p->end < 0 || p->position < p->end;
}

bool fetcher_waits(const struct fetcher *f)
{
	for (int32_t i = 0; i < f->count; i++)
		if (waits(&f->of[i]))
			return true;
	return false;
}

static int corrupt(struct fetcher *f, const struct fetching *p, const char *what)
{
	return cli_fail(f->c, CLI_FAILED, "%s-%d: what the broker sent for offset %lld %s",
		f->topic, p->index, (long long)p->position, what);
}

/* Hands on the records of one batch. */
static int take_batch(
	struct fetcher *f, struct fetching *p, const uint8_t *b, uint32_t size, bool *enough)
{
	struct batch_iter it;
	struct batch_record rec;
	int got;
	if (!batch_crc_ok(b))
		return corrupt(f, p, "fails its checksum");
	if (batch_is_control(b)) {
		p->position = max_of(p->position, batch_next_offset(b));
		return CLI_OK;
	}
	if (batch_iter_init(&it, b, size, &f->scratch))
		return corrupt(f, p, "cannot be decompressed");
	while ((got = batch_iter_next(&it, &rec)) == 1) {
		if (rec.offset < p->position)
			continue;
		if (p->end >= 0 && rec.offset >= p->end)
			return CLI_OK;
		p->position = rec.offset + 1;
		if (!f->record(f->arg, p->index, &rec)) {
			*enough = true;
			return CLI_OK;
		}
	}
	if (got < 0)
		return corrupt(f, p, "is no record");
	p->position = max_of(p->position, batch_next_offset(b));
	return CLI_OK;
}

/* Hands on the records of one partition's answer; the last batch may be cut off. */
static int take_records(
	struct fetcher *f, struct fetching *p, const uint8_t *b, uint32_t len, bool *enough)
{
	int rc = CLI_OK;
	for (uint32_t left = len; !rc && !*enough && left >= BATCH_HEADER_SIZE;) {
		uint32_t size = batch_size(b);
		if (size == 0 || batch_magic(b) != BATCH_MAGIC)
			return corrupt(f, p, "is no batch of the present format");
		if (size > left)
			break;
		rc = take_batch(f, p, b, size, enough);
		b += size;
		left -= size;
	}
	return rc;
}

static struct fetching *partition_of(struct fetcher *f, int32_t index)
{
	for (int32_t i = 0; i < f->count; i++)
		if (f->of[i].index == index)
			return &f->of[i];
	return NULL;
}

/* Takes one leader's answer. *again: something has to be asked anew, of a new leader perhaps. */
static int take(struct fetcher *f, const struct kp_fetch_response *rs, bool *again, bool *enough)
{
	int rc = CLI_OK;
	if (rs->error_code) {
		*again = ke_retriable(rs->error_code);
		return *again ? rc
			      : cli_refused(f->c, kstr_of(f->topic), rs->error_code, KSTR_NULL);
	}
	for (int32_t t = 0; t < rs->n_topics; t++)
		for (int32_t i = 0; i < rs->topics[t].n_partitions && !rc && !*enough; i++) {
			const struct kp_fetch_response_partition *r = &rs->topics[t].partitions[i];
			struct fetching *p = partition_of(f, r->index);
			if (!p)
				continue;
			if (ke_retriable(r->error_code))
				*again = true;
			else if (r->error_code)
				rc = cli_refused(f->c, kstr_of(f->topic), r->error_code, KSTR_NULL);
			else
				rc = take_records(f, p, r->records.flat, r->records.len, enough);
		}
	return rc;
}

/* Asks one leader. A client_err; an exit code is in *code. */
static int ask(struct fetcher *f, int32_t leader, struct kp_fetch_request_partition *list,
	int32_t wait_ms, bool *again, bool *enough, int *code)
{
	struct kp_fetch_request_topic topic;
	struct kp_fetch_request rq;
	struct kp_fetch_response rs;
	int32_t n = 0;
	for (int32_t i = 0; i < f->count; i++) {
		const struct fetching *p = &f->of[(i + f->turn) % f->count];
		if (p->leader != leader || !waits(p))
			continue;
		kp_default_fetch_request_partition(&list[n]);
		list[n].index = p->index;
		list[n].fetch_offset = p->position;
		list[n++].max_bytes = FETCH_PARTITION_BYTES;
	}
	kp_default_fetch_request_topic(&topic);
	topic.name = kstr_of(f->topic);
	topic.partitions = list;
	topic.n_partitions = n;
	kp_default_fetch_request(&rq);
	rq.max_wait_ms = wait_ms;
	rq.min_bytes = 1;
	rq.max_bytes = FETCH_BYTES;
	rq.topics = &topic;
	rq.n_topics = 1;
	int rc = client_call_waiting(f->c->client, leader, KP_FETCH, &rq, &rs, &f->reply, wait_ms);
	if (rc == CLIENT_OK)
		*code = take(f, &rs, again, enough);
	return rc;
}

/* Waits, and looks who leads now. */
static int find_leaders(struct fetcher *f)
{
	struct kp_metadata_response m;
	const struct kstr topic = kstr_of(f->topic);
	int rc = client_back_off(f->c->client, f->attempt++);
	if (rc)
		return rc;
	rc = client_metadata(f->c->client, &topic, 1, false, &m, &f->reply);
	for (int32_t i = 0; !rc && m.n_topics == 1 && i < m.topics[0].n_partitions; i++) {
		struct fetching *p = partition_of(f, m.topics[0].partitions[i].index);
		if (p)
			p->leader = m.topics[0].partitions[i].leader_id;
	}
	return rc == CLIENT_E_REACH ? CLIENT_OK : rc; /* the attempts are counted */
}

int fetcher_round(struct fetcher *f, int32_t wait_ms, bool *enough)
{
	struct kp_fetch_request_partition *list =
		calloc((size_t)max_of(f->count, 1), sizeof(*list));
	bool again = false;
	int code = CLI_OK, rc = CLIENT_OK;
	if (!list)
		return cli_fail(f->c, CLI_FAILED, "no memory");
	f->turn = f->count ? (f->turn + 1) % f->count : 0;
	for (int32_t i = 0; i < f->count && !code && !*enough && rc != CLIENT_E_STOPPED; i++) {
		int32_t leader = f->of[i].leader;
		bool asked = !waits(&f->of[i]);
		for (int32_t j = 0; j < i && !asked; j++)
			asked = f->of[j].leader == leader;
		if (!asked && leader < 0)
			again = true;
		else if (!asked)
			rc = ask(f, leader, list, wait_ms, &again, enough, &code);
		again |= rc == CLIENT_E_REACH;
		if (rc && rc != CLIENT_E_REACH)
			break;
	}
	free(list);
	if (!again && !rc)
		f->attempt = 0;
	if (rc == CLIENT_E_STOPPED || code)
		return code;
	if (again && f->attempt < FETCH_ATTEMPTS) {
		rc = find_leaders(f);
		return rc == CLIENT_OK || rc == CLIENT_E_STOPPED ? CLI_OK
								 : cli_client_failed(f->c, rc);
	}
	if (again && !rc)
		return cli_fail(f->c, CLI_UNREACHABLE, "a partition of %s has no leader", f->topic);
	return rc ? cli_client_failed(f->c, rc) : CLI_OK;
}
