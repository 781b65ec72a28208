/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sequence numbers of idempotent producers. Source: KIP-98, KIP-360; ProducerAppendInfo,
 * ProducerStateEntry.
 *
 * Batches are known from the moment they are placed, so that a retry that overtakes the storage's
 * answer is seen. What the storage refuses is forgotten again: `durable` is what was known before.
 */
#include "partition/producers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "kafka/batch.h"
#include "kafka/errcode.h"
#include "partition/part_int.h"

int producer_pool_init(struct producer_pool *pool, uint32_t capacity, int64_t expiration_ms)
{
	CHECK(capacity > 0 && (capacity & (capacity - 1)) == 0);
	*pool = (struct producer_pool){
		.capacity = capacity,
		.expiration_ms = expiration_ms,
		.unnoted_all = 1ull << 30,
		.unnoted_least = 1u << 20,
		.unnoted_most = 64u << 20,
	};
	list_init(&pool->idle);
	list_init(&pool->free);
	pool->all = calloc(capacity, sizeof(*pool->all));
	pool->buckets = calloc(capacity, sizeof(struct producer *));
	pool->note = malloc(PRODUCER_NOTE_MAX);
	if (pool->all && pool->buckets && pool->note)
		return 0;
	producer_pool_fini(pool);
	return -ENOMEM;
}

void producer_pool_fini(struct producer_pool *pool)
{
	free(pool->all);
	free(pool->buckets);
	free(pool->note);
	*pool = (struct producer_pool){0};
}

void producer_window_add(struct producer_window *w, int16_t epoch, const struct producer_batch *b)
{
	if (w->epoch != epoch)
		w->count = 0;
	if (w->count == PRODUCER_WINDOW)
		memmove(w->batches, w->batches + 1, --w->count * sizeof(*w->batches));
	w->epoch = epoch;
	w->batches[w->count++] = *b;
}

/* --- the pool --------------------------------------------------------------------------------- */

static struct producer **bucket_of(struct producer_pool *pool, const struct part *p, int64_t id)
{
	uint64_t h = ((uint64_t)(uintptr_t)p >> 4) * 0x9e3779b97f4a7c15ull;
	h = (h ^ (uint64_t)id) * 0xbf58476d1ce4e5b9ull;
	return &pool->buckets[(h >> 32) & (pool->capacity - 1)];
}

static void forget(struct part *p, struct producer *pr)
{
	struct producer_pool *pool = p->env->producers;
	struct producer **at = bucket_of(pool, p, pr->id);
	while (*at != pr)
		at = &(*at)->same;
	*at = pr->same;
	list_remove(&pr->node);
	list_remove(&pr->idle);
	list_push_back(&pool->free, &pr->idle);
	p->producer_count--;
	pool->count--;
}

static struct producer *find(struct part *p, int64_t id)
{
	struct producer *pr = *bucket_of(p->env->producers, p, id);
	while (pr && (pr->part != p || pr->id != id))
		pr = pr->same;
	return pr;
}

/* One that is not in use; whoever has been idle longest makes room. */
static struct producer *take_free(struct part *p)
{
	struct producer_pool *pool = p->env->producers;
	bool full = pool->fresh == pool->capacity && list_empty(&pool->free);
	struct producer *old = NULL;
	if (p->producer_count >= PRODUCERS_PER_PART)
		old = list_entry(list_front(&p->producers), struct producer, node);
	else if (full)
		old = list_entry(list_front(&pool->idle), struct producer, idle);
	if (old) {
		forget((struct part *)old->part, old);
		pool->forgotten++;
	}
	struct list *n = list_pop_front(&pool->free);
	return n ? list_entry(n, struct producer, idle) : &pool->all[pool->fresh++];
}

static struct producer *find_or_add(struct part *p, int64_t id, int64_t now_ms)
{
	struct producer_pool *pool = p->env->producers;
	struct producer *pr = find(p, id);
	if (!pr) {
		pr = take_free(p);
		struct producer **bucket = bucket_of(pool, p, id);
		*pr = (struct producer){.part = p, .id = id, .same = *bucket};
		list_init(&pr->node);
		list_init(&pr->idle);
		*bucket = pr;
		p->producer_count++;
		pool->count++;
	}
	pr->used_ms = now_ms;
	list_remove(&pr->node);
	list_remove(&pr->idle);
	list_push_back(&p->producers, &pr->node);
	list_push_back(&pool->idle, &pr->idle);
	return pr;
}

void part_producers_clear(struct part *p)
{
	struct list *n;
	while ((n = list_front(&p->producers)))
		forget(p, list_entry(n, struct producer, node));
}

/* --- appends ---------------------------------------------------------------------------------- */

static const struct producer_batch *find_duplicate(
	const struct producer_window *w, const uint8_t *head)
{
	for (uint32_t i = 0; i < w->count; i++)
		if (w->batches[i].first_sequence == batch_base_sequence(head) &&
			w->batches[i].last_delta == batch_last_offset_delta(head))
			return &w->batches[i];
	return NULL;
}

int16_t part_producer_check(struct part *p, const uint8_t *head, int64_t now_ms,
	const struct producer_batch **duplicate)
{
	*duplicate = NULL;
	if (!p->env->producers || batch_producer_id(head) < 0)
		return KE_NONE;
	CHECK(p->history == PART_HISTORY_KNOWN);
	if (batch_producer_epoch(head) < 0)
		return KE_INVALID_PRODUCER_EPOCH;
	struct producer *pr = find(p, batch_producer_id(head));
	if (!pr)
		return KE_NONE;
	if (now_ms - pr->used_ms >= p->env->producers->expiration_ms) {
		forget(p, pr);
		return KE_NONE;
	}
	int16_t epoch = batch_producer_epoch(head);
	if (epoch < pr->placed.epoch)
		return KE_INVALID_PRODUCER_EPOCH;
	if (epoch > pr->placed.epoch)
		return batch_base_sequence(head) == 0 ? KE_NONE : KE_OUT_OF_ORDER_SEQUENCE_NUMBER;
	*duplicate = find_duplicate(&pr->placed, head);
	if (*duplicate || batch_base_sequence(head) == producer_next_sequence(&pr->placed))
		return KE_NONE;
	return KE_OUT_OF_ORDER_SEQUENCE_NUMBER;
}

static struct producer_batch batch_of(const struct part_op *op)
{
	return (struct producer_batch){
		.base_offset = op->append.base_offset,
		.append_time_ms = op->append.log_append_time_ms,
		.first_sequence = op->append.first_sequence,
		.last_delta = (int32_t)(op->append.last_offset - op->append.base_offset),
	};
}

void part_producer_placed(struct part *p, struct part_op *op, int64_t now_ms)
{
	const uint8_t *head = op->append.data;
	op->append.producer_id = p->env->producers ? batch_producer_id(head) : -1;
	if (op->append.producer_id < 0)
		return;
	op->append.producer_epoch = batch_producer_epoch(head);
	op->append.first_sequence = batch_base_sequence(head);
	struct producer *pr = find_or_add(p, op->append.producer_id, now_ms);
	struct producer_batch b = batch_of(op);
	producer_window_add(&pr->placed, op->append.producer_epoch, &b);
}

void part_producer_durable(struct part *p, const struct part_op *op)
{
	struct producer *pr = op->append.producer_id >= 0 ? find(p, op->append.producer_id) : NULL;
	if (!pr) /* none, or forgotten meanwhile */
		return;
	struct producer_batch b = batch_of(op);
	producer_window_add(&pr->durable, op->append.producer_epoch, &b);
}

void part_producer_rewound(struct part *p, const struct part_op *op)
{
	struct producer *pr = op->append.producer_id >= 0 ? find(p, op->append.producer_id) : NULL;
	if (!pr)
		return;
	pr->placed = pr->durable;
	if (pr->durable.count == 0)
		forget(p, pr);
}

void part_producer_stored(struct part *p, const uint8_t *head, int64_t now_ms)
{
	if (batch_producer_id(head) < 0 || batch_is_control(head) ||
		batch_base_sequence(head) < 0 || batch_producer_epoch(head) < 0)
		return;
	struct producer *pr = find_or_add(p, batch_producer_id(head), now_ms);
	struct producer_batch b = {
		.base_offset = batch_base_offset(head),
		.append_time_ms = batch_is_log_append_time(head) ? batch_max_timestamp(head) : -1,
		.first_sequence = batch_base_sequence(head),
		.last_delta = batch_last_offset_delta(head),
	};
	producer_window_add(&pr->durable, batch_producer_epoch(head), &b);
	pr->placed = pr->durable;
}

/* --- notes ------------------------------------------------------------------------------------ */

uint32_t producer_note_begin(uint8_t *p, int64_t offset, uint32_t count)
{
	memset(p, 0, PRODUCER_NOTE_HEAD);
	memcpy(p, &offset, sizeof(offset));
	memcpy(p + 8, &count, sizeof(count));
	return PRODUCER_NOTE_HEAD;
}

uint32_t producer_note_add(uint8_t *p, uint32_t at, const struct producer_note_entry *e)
{
	memset(p + at, 0, PRODUCER_NOTE_ENTRY);
	memcpy(p + at, &e->id, sizeof(e->id));
	memcpy(p + at + 8, &e->used_ms, sizeof(e->used_ms));
	memcpy(p + at + 16, &e->window.epoch, sizeof(e->window.epoch));
	memcpy(p + at + 18, &e->window.count, sizeof(e->window.count));
	uint32_t n = e->window.count * (uint32_t)sizeof(*e->window.batches);
	memcpy(p + at + PRODUCER_NOTE_ENTRY, e->window.batches, n);
	return at + PRODUCER_NOTE_ENTRY + n;
}

bool producer_note_open(struct producer_note *n, const uint8_t *p, uint32_t len)
{
	uint32_t zero;
	*n = (struct producer_note){.p = p, .len = len, .at = PRODUCER_NOTE_HEAD};
	if (len < PRODUCER_NOTE_HEAD)
		return false;
	memcpy(&n->offset, p, sizeof(n->offset));
	memcpy(&n->left, p + 8, sizeof(n->left));
	memcpy(&zero, p + 12, sizeof(zero));
	return n->offset >= 0 && n->left <= PRODUCERS_PER_PART && zero == 0;
}

static bool window_is_valid(const struct producer_window *w, int64_t limit)
{
	int64_t next = 0;
	for (uint32_t i = 0; i < w->count; i++) {
		const struct producer_batch *b = &w->batches[i];
		if (b->base_offset < next || b->base_offset >= limit || b->first_sequence < 0 ||
			b->last_delta < 0 || b->last_delta >= limit - b->base_offset)
			return false;
		next = b->base_offset + b->last_delta + 1;
	}
	return w->epoch >= 0;
}

int producer_note_next(struct producer_note *n, struct producer_note_entry *out)
{
	uint32_t zero;
	const uint8_t *p = n->p + n->at;
	if (n->left == 0)
		return n->at == n->len ? 0 : -1;
	*out = (struct producer_note_entry){0};
	if (n->len - n->at < PRODUCER_NOTE_ENTRY)
		return -1;
	memcpy(&out->id, p, sizeof(out->id));
	memcpy(&out->used_ms, p + 8, sizeof(out->used_ms));
	memcpy(&out->window.epoch, p + 16, sizeof(out->window.epoch));
	memcpy(&out->window.count, p + 18, sizeof(out->window.count));
	memcpy(&zero, p + 20, sizeof(zero));
	uint32_t count = out->window.count;
	uint32_t size = PRODUCER_NOTE_ENTRY + count * (uint32_t)sizeof(*out->window.batches);
	if (count == 0 || count > PRODUCER_WINDOW || n->len - n->at < size || zero != 0)
		return -1;
	memcpy(out->window.batches, p + PRODUCER_NOTE_ENTRY, size - PRODUCER_NOTE_ENTRY);
	if (out->id < 0 || out->used_ms < 0 || !window_is_valid(&out->window, n->offset))
		return -1;
	n->at += size;
	n->left--;
	return 1;
}

uint32_t part_producers_note(struct part *p)
{
	uint8_t *to = p->env->producers->note;
	uint32_t count = 0;
	uint32_t at = producer_note_begin(to, p->high_watermark, 0);
	list_for_each (it, &p->producers) {
		const struct producer *pr = list_entry(it, struct producer, node);
		if (pr->durable.count == 0)
			continue;
		struct producer_note_entry e = {
			.id = pr->id, .used_ms = max_of(pr->used_ms, 0), .window = pr->durable};
		at = producer_note_add(to, at, &e);
		count++;
	}
	producer_note_begin(to, p->high_watermark, count);
	return at;
}

int64_t part_producers_from_note(struct part *p, const uint8_t *note, uint32_t len)
{
	struct producer_note n;
	struct producer_note_entry e;
	int more = producer_note_open(&n, note, len) ? 1 : -1;
	while (more > 0 && (more = producer_note_next(&n, &e)) > 0) {
		struct producer *pr = find_or_add(p, e.id, e.used_ms);
		pr->placed = pr->durable = e.window;
	}
	bool usable = more == 0 && n.offset >= p->log_start_offset && n.offset <= p->history_end;
	if (!usable)
		part_producers_clear(p);
	return usable ? n.offset : -1;
}

enum part_step part_try_producers(
	struct part *p, struct part_op *op, int64_t now_ms, struct part_out *out)
{
	if (p->env->producers && p->history != PART_HISTORY_KNOWN) {
		list_push_back(&p->early, &op->node);
		part_history_begin(p, now_ms, out);
		return PART_STEP_DONE;
	}
	list_for_each (it, &p->producers) {
		const struct producer *pr = list_entry(it, struct producer, node);
		const struct producer_window *w = &pr->durable;
		if (w->count == 0)
			continue;
		op->producers.to[op->producers.count++] = (struct producer_state){
			.id = pr->id,
			.used_ms = pr->used_ms,
			.epoch = w->epoch,
			.last_sequence = producer_last_sequence(&w->batches[w->count - 1]),
		};
	}
	part_finish(op, KE_NONE, out);
	return PART_STEP_DONE;
}
