/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Idempotent producers: up to five batches in flight, each sent again, byte for byte, until it is
 * acknowledged. After an error nothing new is sent until all answers are there; then what is left
 * is sent again in order. Whatever happens to the broker, each batch must be there once.
 */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "kafka/errcode.h"

void once_init(struct sim *s, struct client *c)
{
	c->kind = CLIENT_ONCE;
	c->in_flight_max = 1 + sim_below(s, ONCE_WINDOW);
	c->part = sim_below(s, s->mix.parts);
	c->sequence = sim_one_in(s, 2) ? 0 : INT32_MAX - (int32_t)sim_below(s, 200);
	s->ordered[c - s->clients] = true;
}

static void make(struct sim *s, struct client *c)
{
	uint32_t records = 1 + sim_below(s, 4);
	uint32_t value_len = sim_below(s, 300);
	uint32_t len = clients_build(s, CHK_ONCE_ID + c->index, c->sequence, records, value_len);
	uint8_t *data = malloc(len);
	CHECK(data);
	memcpy(data, s->plain, len);
	c->window[c->window_count++] = (struct once_batch){.attempt = chk_next(&s->check)};
	chk_sent(&s->check, c->part, c->index, c->number++, data, len);
	c->sequence = (int32_t)(((uint32_t)c->sequence + records) & INT32_MAX);
}

/* The first batch that is not under way; NULL: none, or the answers of others come first. */
static struct once_batch *choose(struct client *c)
{
	bool out = false;
	for (uint32_t i = 0; i < c->window_count; i++)
		out |= c->window[i].out;
	for (uint32_t i = 0; i < c->window_count; i++) {
		struct once_batch *b = &c->window[i];
		if (b->out || b->acked)
			continue;
		return b->sent && out ? NULL : b;
	}
	return NULL;
}

bool once_act(struct sim *s, struct client *c, struct call *k)
{
	struct once_batch *b = choose(c);
	bool waits = false;
	for (uint32_t i = 0; i < c->window_count; i++)
		waits |= c->window[i].sent && !c->window[i].out && !c->window[i].acked;
	if (!b && !waits && c->window_count < ONCE_WINDOW) {
		make(s, c);
		b = &c->window[c->window_count - 1];
	}
	if (!b)
		return false;
	const struct chk_attempt *a = &s->check.attempts[b->attempt];
	b->sent = b->out = true;
	chk_resent(&s->check, b->attempt);
	k->attempt = b->attempt;
	k->number = a->number;
	k->op = (struct part_op){.kind = PART_APPEND};
	k->op.append.data = a->data;
	k->op.append.len = a->len;
	clients_call(s, c, k, c->part);
	return true;
}

void once_done(struct sim *s, struct call *k)
{
	struct client *c = k->client;
	int16_t error = k->op.error;
	uint32_t i = 0;
	while (c->window[i].attempt != k->attempt)
		CHECK(++i < c->window_count);
	c->window[i].out = false;
	if (error == KE_NONE) {
		s->stats.acked++;
		chk_acked(&s->check, k->attempt, k->op.append.base_offset);
		c->window[i].acked = true;
	} else {
		s->stats.failed++;
		bool first = i == 0; /* nothing before it has failed */
		if (error == KE_INVALID_PRODUCER_EPOCH || error == KE_DUPLICATE_SEQUENCE_NUMBER ||
			(first && error == KE_OUT_OF_ORDER_SEQUENCE_NUMBER))
			sim_broken(s, "batch %llu of an idempotent producer: error %d",
				(unsigned long long)k->number, error);
	}
	while (c->window_count > 0 && c->window[0].acked)
		memmove(c->window, c->window + 1, --c->window_count * sizeof(*c->window));
}

void once_cut(struct client *c)
{
	for (uint32_t i = 0; i < c->window_count; i++)
		c->window[i].out = false;
}
