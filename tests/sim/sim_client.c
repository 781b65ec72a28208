/* SPDX-License-Identifier: Apache-2.0 */
/* Clients: producers that retry, fetchers at random offsets, followers of the log's end, one that
 * lists offsets. What they are told goes to the checker. */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

#define BUILD_SIZE (256u * 1024u)

void clients_init(struct sim *s)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < s->mix.producers; i++) {
		struct client *c = &s->clients[n];
		c->kind = CLIENT_PRODUCER;
		c->in_flight_max = sim_one_in(s, 2) ? 1 : 2 + sim_below(s, 5);
		s->ordered[n++] = c->in_flight_max == 1;
	}
	for (uint32_t i = 0; i < s->mix.fetchers; i++)
		s->clients[n++].kind = sim_one_in(s, 2) ? CLIENT_FETCHER : CLIENT_FOLLOWER;
	s->clients[n++].kind = CLIENT_LISTER;
	once_init(s, &s->clients[n++]);
	s->client_count = n;
	for (uint32_t i = 0; i < n; i++) {
		s->clients[i].index = i;
		if (s->clients[i].kind != CLIENT_PRODUCER && s->clients[i].kind != CLIENT_ONCE)
			s->clients[i].in_flight_max = 1 + sim_below(s, 3);
		if (s->clients[i].kind == CLIENT_FOLLOWER)
			s->clients[i].in_flight_max = 1;
	}
}

static void think(struct sim *s, struct client *c)
{
	c->next_us = s->now_us + sim_below(s, s->mix.think_us + 1);
}

void clients_start(struct sim *s)
{
	for (uint32_t i = 0; i < s->client_count; i++) {
		struct client *c = &s->clients[i];
		think(s, c);
		if (c->kind == CLIENT_FOLLOWER) {
			c->part = sim_below(s, s->mix.parts);
			c->offset = (int64_t)prng_below(
				&s->rng, (uint64_t)s->parts[c->part].high_watermark + 1);
		}
	}
}

static struct call *free_call(struct sim *s)
{
	for (uint32_t i = 0; i < SIM_CALLS; i++)
		if (!s->calls[i].client)
			return &s->calls[i];
	return NULL;
}

/* --- batches
 * --------------------------------------------------------------------------------------------- */

uint32_t clients_build(
	struct sim *s, int64_t id, int32_t sequence, uint32_t records, uint32_t value_len)
{
	struct batch_build b;
	uint8_t *value = s->plain + BUILD_SIZE;
	batch_build_begin(&b, s->plain, BUILD_SIZE);
	batch_build_set_producer(&b, id, 0, sequence, false);
	for (uint32_t i = 0; i < records; i++) {
		int64_t timestamp = sim_now_ms(s) - 500 + sim_below(s, 1000);
		struct kbytes v = {.p = value, .len = (int32_t)value_len};
		for (uint32_t k = 0; k + 8 <= value_len; k += 8) {
			uint64_t x = prng_next(&s->rng);
			if (k % 64 >= 16)
				x = k; /* so that there is something to compress */
			memcpy(value + k, &x, 8);
		}
		CHECK(batch_build_add(&b, timestamp, KBYTES_NULL, v, NULL, 0));
	}
	return batch_build_finish(&b);
}

static uint32_t build(struct sim *s, uint32_t records, uint32_t value_len)
{
	return clients_build(s, chk_next(&s->check), 0, records, value_len);
}

/* A batch of exactly `size` bytes, with one record. */
static uint32_t build_exactly(struct sim *s, uint32_t size)
{
	uint32_t value_len = size - 80;
	uint32_t len = build(s, 1, value_len);
	for (int i = 0; i < 4 && len != size; i++) {
		value_len = value_len + size - len;
		len = build(s, 1, value_len);
	}
	return len;
}

/* A batch into s->build; its size. */
static uint32_t make_batch(struct sim *s)
{
	uint32_t records, value_len, len;
	/* one draw in a statement: the order of evaluation inside one is the compiler's choice */
	switch (s->mix.sizes) {
	case SIZES_PAGES:
		len = build_exactly(s, s->mix.page_size);
		memcpy(s->build, s->plain, len);
		return len;
	case SIZES_SMALL:
		records = 1 + sim_below(s, 3);
		value_len = sim_below(s, 200);
		break;
	case SIZES_LARGE:
		records = 1 + sim_below(s, 3);
		value_len = sim_one_in(s, 3) ? 8000 + sim_below(s, 30000) : sim_below(s, 1500);
		break;
	default:
		records = 1 + sim_below(s, 10);
		value_len = sim_below(s, sim_one_in(s, 10) ? 8000 : 600);
		break;
	}
	len = build(s, records, value_len);
	if (sim_below(s, 8) < s->mix.compressed) {
		uint32_t n = batch_compress(s->plain, s->mix.codec, 0, s->build, BUILD_SIZE);
		if (n > 0)
			return n;
	}
	memcpy(s->build, s->plain, len);
	return len;
}

/* --- starting calls
 * ---------------------------------------------------------------------------------------- */

void clients_call(struct sim *s, struct client *c, struct call *k, uint32_t part)
{
	struct part *p = &s->parts[part];
	k->client = c;
	k->part = part;
	k->hw_at_start = p->high_watermark;
	k->started_us = s->now_us;
	k->log_start_then = p->log_start_offset;
	k->incarnation = s->incarnations[part];
	k->op.user = k;
	k->op.current_leader_epoch = sim_one_in(s, 2) ? 1 : -1;
	c->in_flight++;
	if (s->calls_left > 0)
		s->calls_left--;
	sim_event(s, "call", c->index, part, k->op.kind);
	int64_t hw = p->high_watermark, segment = p->durable_segment;
	uint64_t pos = p->durable_pos;
	bool early = s->mutation == SIM_EARLY_WATERMARK && k->op.kind == PART_FETCH;
	if (early) { /* what is appended passes for durable, for the time of this call */
		p->high_watermark = p->log_end_offset;
		p->durable_segment = p->segment;
		p->durable_pos = p->segment_pos;
	}
	part_start(p, &k->op, sim_now_ms(s), &s->out);
	if (early) {
		p->high_watermark = hw;
		p->durable_segment = segment;
		p->durable_pos = pos;
	}
	part_check(p);
}

static void produce(struct sim *s, struct client *c, struct call *k)
{
	uint32_t part = sim_below(s, s->mix.parts);
	k->number = c->number;
	if (c->retry) {
		part = c->retry_part;
		k->number = c->retry_number;
		c->retry = false;
	} else {
		c->number++;
	}
	uint32_t len = make_batch(s);
	uint8_t *data = malloc(len);
	CHECK(data);
	memcpy(data, s->build, len);
	k->attempt = chk_next(&s->check);
	chk_sent(&s->check, part, c->index, k->number, data, len);
	k->op = (struct part_op){.kind = PART_APPEND};
	k->op.append.data = data;
	k->op.append.len = len;
	clients_call(s, c, k, part);
}

static void fetch(struct sim *s, struct client *c, struct call *k)
{
	uint32_t part = c->kind == CLIENT_FOLLOWER ? c->part : sim_below(s, s->mix.parts);
	int64_t hw = s->parts[part].high_watermark;
	int64_t offset = c->offset;
	int64_t first = s->parts[part].log_start_offset;
	if (c->kind == CLIENT_FETCHER) {
		offset = (int64_t)prng_below(&s->rng, (uint64_t)hw + 1);
		if (offset < first && sim_below(s, 8) > 0)
			offset = first;
		if (sim_one_in(s, 3)) {
			offset = hw - (int64_t)sim_below(s, 20);
			offset = max_of(offset, 0);
		}
		if (sim_one_in(s, 30))
			offset = s->parts[part].log_end_offset + (int64_t)sim_below(s, 2);
	} else if (offset >= hw) {
		k->op = (struct part_op){.kind = PART_WAIT};
		k->op.wait.offset = offset;
		clients_call(s, c, k, part);
		return;
	}
	k->op = (struct part_op){.kind = PART_FETCH};
	k->op.fetch.offset = offset;
	k->op.fetch.max_bytes = sim_below(s, sim_one_in(s, 3) ? 200000 : 8000);
	k->op.fetch.at_least_one = !sim_one_in(s, 4);
	clients_call(s, c, k, part);
}

/* DeleteRecords, retention, or the end of a partition. */
static void shorten(struct sim *s, struct client *c, struct call *k)
{
	uint32_t part = sim_below(s, s->mix.parts);
	struct part *p = &s->parts[part];
	if (s->mix.deletions && sim_one_in(s, s->mix.deletions)) {
		topics_delete(s, part);
		return;
	}
	if (s->mix.retention_bytes >= 0 && sim_one_in(s, 2)) {
		const struct st_policy policy = {.remove = true,
			.retention_ms = -1,
			.retention_bytes = s->mix.retention_bytes};
		chk_start_asked(&s->check, part, p->high_watermark);
		part_upkeep(p, &policy, sim_now_ms(s), &s->out);
		return;
	}
	k->op = (struct part_op){.kind = PART_TRIM};
	k->op.trim.offset = p->log_start_offset +
			    (int64_t)prng_below(&s->rng,
				    (uint64_t)(p->high_watermark - p->log_start_offset) + 1);
	chk_start_asked(&s->check, part, k->op.trim.offset);
	s->stats.trimmed++;
	clients_call(s, c, k, part);
}

static void list_offsets(struct sim *s, struct client *c, struct call *k)
{
	uint32_t kind = sim_below(s, 6);
	k->op = (struct part_op){.kind = PART_LIST};
	k->op.list.timestamp =
		kind < 3 ? -1 - (int64_t)kind : sim_now_ms(s) - (int64_t)sim_below(s, 3000);
	clients_call(s, c, k, sim_below(s, s->mix.parts));
}

uint64_t clients_next_us(const struct sim *s)
{
	uint64_t t = UINT64_MAX;
	for (uint32_t i = 0; i < s->client_count && s->calls_left > 0; i++) {
		const struct client *c = &s->clients[i];
		if (c->in_flight < c->in_flight_max)
			t = min_of(t, c->next_us);
	}
	for (uint32_t i = 0; i < SIM_CALLS; i++)
		if (s->calls[i].client && s->calls[i].release_us)
			t = min_of(t, s->calls[i].release_us);
	return t;
}

void clients_act(struct sim *s)
{
	clients_release(s, false);
	for (uint32_t i = 0; i < s->client_count && s->calls_left > 0; i++) {
		struct client *c = &s->clients[i];
		struct call *k = free_call(s);
		if (c->next_us > s->now_us || c->in_flight >= c->in_flight_max || !k)
			continue;
		memset(k, 0, sizeof(*k));
		think(s, c);
		if (c->kind == CLIENT_PRODUCER)
			produce(s, c, k);
		else if (c->kind == CLIENT_ONCE)
			once_act(s, c, k);
		else if (c->kind == CLIENT_LISTER && s->mix.trims && sim_one_in(s, s->mix.trims))
			shorten(s, c, k);
		else if (c->kind == CLIENT_LISTER)
			list_offsets(s, c, k);
		else
			fetch(s, c, k);
	}
	for (uint32_t i = 0; i < SIM_CALLS; i++) { /* a long poll that times out */
		struct call *k = &s->calls[i];
		if (k->client && k->op.active && k->op.kind == PART_WAIT && sim_one_in(s, 40))
			part_cancel(&s->parts[k->part], &k->op, &s->out);
	}
}

/* --- answers
 * --------------------------------------------------------------------------------------------- */

static void done_append(struct sim *s, struct call *k)
{
	struct client *c = k->client;
	if (k->op.error == KE_NONE) {
		s->stats.acked++;
		chk_acked(&s->check, k->attempt, k->op.append.base_offset);
		return;
	}
	bool disk_failed = node_disk_failures(s) > s->disk_failures_before;
	chk_failed(&s->check, k->attempt, disk_failed);
	s->stats.failed++;
	if (!c->retry && sim_below(s, 4) > 0) {
		c->retry = true;
		c->retry_number = k->number;
		c->retry_part = k->part;
	}
}

static void done_fetch(struct sim *s, struct call *k)
{
	struct part_op *op = &k->op;
	struct client *c = k->client;
	bool gone = k->incarnation != s->incarnations[k->part];
	if (op->error) {
		int64_t first = s->check.parts[k->part].start_max;
		bool out = op->fetch.offset >= k->hw_at_start || op->fetch.offset < first || gone;
		bool fine = op->error == KE_OFFSET_OUT_OF_RANGE && out;
		if (op->error == KE_CORRUPT_MESSAGE && sim_disk_counts(s->disk).failed_reads > 0)
			fine = true; /* it says so, and the next one may succeed */
		if (c->kind == CLIENT_FOLLOWER)
			c->offset = s->parts[k->part].log_start_offset;
		if (!fine && op->error != KE_KAFKA_STORAGE_ERROR &&
			op->error != KE_NOT_LEADER_OR_FOLLOWER)
			sim_broken(s, "a fetch at %lld of partition %u, below %lld: error %d",
				(long long)op->fetch.offset, k->part, (long long)k->hw_at_start,
				op->error);
		return;
	}
	uint32_t len = op->fetch.span.len;
	uint8_t *bytes = malloc(len ? len : 1);
	CHECK(bytes);
	if (len > 0) {
		lspan_copy(op->fetch.span, 0, bytes, len);
		k->release_us = s->now_us + 1 + sim_below(s, s->mix.hold_us + 1);
		s->stats.fetched++;
	}
	sim_event(s, "bytes", len, len ? batch_crc(bytes) : 0, (uint64_t)op->fetch.high_watermark);
	chk_fetched(&s->check, k->part, op->fetch.offset, op->fetch.max_bytes,
		op->fetch.at_least_one && !op->fetch.starved, bytes, len, op->fetch.high_watermark);
	if (len > 0 && c->kind == CLIENT_FOLLOWER) {
		for (uint32_t at = 0; at < len; at += batch_size(bytes + at))
			c->offset = batch_next_offset(bytes + at);
	}
	free(bytes);
}

void clients_done(struct sim *s, struct part_op *op)
{
	struct call *k = op->user;
	CHECK(k->client && !op->active);
	sim_event(s, "done", k->client->index, op->kind, (uint64_t)op->error);
	k->release_us = 0;
	if (k->client->kind == CLIENT_ONCE)
		once_done(s, k);
	else if (op->kind == PART_APPEND)
		done_append(s, k);
	else if (op->kind == PART_FETCH)
		done_fetch(s, k);
	else if (op->kind == PART_LIST && op->error == KE_NONE &&
		 k->incarnation == s->incarnations[k->part]) {
		s->stats.listed++;
		chk_listed(&s->check, k->part, op->list.timestamp, op->list.offset,
			op->list.record_timestamp, k->hw_at_start, k->log_start_then);
	}
	if (k->release_us == 0) {
		k->client->in_flight--;
		k->client = NULL;
	}
}

void clients_release(struct sim *s, bool all)
{
	for (uint32_t i = 0; i < SIM_CALLS; i++) {
		struct call *k = &s->calls[i];
		if (!k->client || !k->release_us || (!all && k->release_us > s->now_us))
			continue;
		part_release(&s->env, k->op.fetch.span);
		k->client->in_flight--;
		k->client = NULL;
		k->release_us = 0;
	}
}

void clients_cut(struct sim *s)
{
	for (uint32_t i = 0; i < SIM_CALLS; i++) {
		struct call *k = &s->calls[i];
		if (!k->client)
			continue;
		if (k->client->kind == CLIENT_ONCE)
			s->stats.unknown += k->op.active;
		else if (k->op.kind == PART_APPEND && k->op.active) {
			struct client *c = k->client;
			s->stats.unknown++;
			if (!c->retry && sim_below(s, 4) > 0) {
				c->retry = true;
				c->retry_number = k->number;
				c->retry_part = k->part;
			}
		}
		k->client = NULL;
		k->release_us = 0;
	}
	for (uint32_t i = 0; i < s->client_count; i++) {
		s->clients[i].in_flight = 0;
		once_cut(&s->clients[i]);
	}
	chk_crashed(&s->check);
}

bool clients_are_idle(const struct sim *s)
{
	for (uint32_t i = 0; i < SIM_CALLS; i++)
		if (s->calls[i].client && s->calls[i].op.kind != PART_WAIT)
			return false;
	return true;
}
