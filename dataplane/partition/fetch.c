/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fetches: from the blocks of the log's end by reference, or else as a cold read (cold.c). Only
 * whole batches below the high watermark.
 */
#include "kafka/batch.h"
#include "partition/part_int.h"

/* A place in a run of blocks; the bytes before `end` of the segment may be looked at. */
struct cursor {
	struct lblock *b;
	uint32_t at;
};

static void peek(struct cursor c, uint8_t out[PART_PEEK_SIZE])
{
	lspan_copy((struct lspan){.first = c.b, .off = c.at, .len = PART_PEEK_SIZE}, 0, out,
		PART_PEEK_SIZE);
}

static struct cursor advance(struct cursor c, uint32_t n)
{
	c.at += n;
	while (c.at >= LBLOCK_SIZE && c.b->next) {
		c.at -= LBLOCK_SIZE;
		c.b = c.b->next;
	}
	return c;
}

static uint64_t pos_of(struct cursor c)
{
	return c.b->file_pos + c.at;
}

/* True when a durable batch begins at c. */
static bool has_batch(const struct part *p, struct cursor c)
{
	if (c.b->segment == p->durable_segment)
		return pos_of(c) < p->durable_pos;
	return c.b->segment < p->durable_segment && c.at < c.b->used;
}

/* Finds the batch that contains offset, in or after block b. False when it is not there. */
static bool find_batch(const struct part *p, struct lblock *b, int64_t offset, struct cursor *out)
{
	struct cursor c = {b, b->first_batch};
	uint8_t head[PART_PEEK_SIZE];
	while (has_batch(p, c)) {
		peek(c, head);
		if (batch_base_offset(head) > offset)
			return false;
		if (batch_last_offset(head) >= offset) {
			*out = c;
			return true;
		}
		c = advance(c, batch_size(head));
	}
	return false;
}

/* Bytes of whole durable batches from c on, at most max; or of the first one when first_anyway. */
static uint32_t measure(const struct part *p, struct cursor c, uint32_t max, bool first_anyway)
{
	uint64_t start = pos_of(c);
	uint8_t head[PART_PEEK_SIZE];
	peek(c, head);
	uint32_t first = batch_size(head);
	if (first >= max)
		return first == max || first_anyway ? first : 0;
	for (struct lblock *b = c.b->next; b; b = b->next) { /* in steps of blocks */
		struct cursor at = {b, b->first_batch};
		if (b->file_pos - start > max)
			break;
		if (b->first_batch == LBLOCK_NO_BATCH)
			continue;
		if (pos_of(at) - start > max || !has_batch(p, at))
			break;
		c = at;
	}
	while (has_batch(p, c)) { /* in steps of batches */
		peek(c, head);
		struct cursor next = advance(c, batch_size(head));
		if (pos_of(next) - start > max)
			break;
		c = next;
	}
	return (uint32_t)(pos_of(c) - start);
}

static int16_t check_epoch(const struct part *p, const struct part_op *op)
{
	int32_t epoch = op->current_leader_epoch;
	if (epoch < 0 || epoch == p->leader_epoch)
		return KE_NONE;
	return epoch < p->leader_epoch ? KE_FENCED_LEADER_EPOCH : KE_UNKNOWN_LEADER_EPOCH;
}

void part_fetch_finish(struct part *p, struct part_op *op, int16_t error, struct part_out *out)
{
	bool known = error == KE_NONE || error == KE_OFFSET_OUT_OF_RANGE;
	op->fetch.high_watermark = known ? p->high_watermark : -1;
	op->fetch.last_stable_offset = op->fetch.high_watermark;
	op->fetch.log_start_offset = known ? p->log_start_offset : -1;
	part_finish(op, error, out);
}

enum part_step part_try_fetch(
	struct part *p, struct part_op *op, int64_t now_ms, bool in_turn, struct part_out *out)
{
	int64_t offset = op->fetch.offset;
	op->fetch.span = (struct lspan){0};
	int16_t error = check_epoch(p, op);
	if (!error && (offset < p->log_start_offset || offset > p->log_end_offset))
		error = KE_OFFSET_OUT_OF_RANGE;
	bool nothing = op->fetch.max_bytes == 0 && !op->fetch.at_least_one;
	if (error || offset >= p->high_watermark || nothing) {
		part_fetch_finish(p, op, error, out);
		return PART_STEP_DONE;
	}
	struct cursor c;
	struct lblock *b = part_cache_find(p, offset);
	if (!b || !find_batch(p, b, offset, &c))
		return part_cold_fetch(p, op, now_ms, in_turn, out);
	uint32_t len = measure(p, c, op->fetch.max_bytes, op->fetch.at_least_one);
	if (len > 0) {
		op->fetch.span = (struct lspan){.first = c.b, .off = c.at, .len = len};
		lspan_ref(op->fetch.span);
	}
	part_fetch_finish(p, op, KE_NONE, out);
	return PART_STEP_DONE;
}
