/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fetches: from the blocks in memory by reference, or else by a read of the storage into blocks
 * that then are given away the same way. Only whole batches below the high watermark.
 */
#include "kafka/batch.h"
#include "partition/part_int.h"

/* What one cold read asks for at most, unless the first batch alone is larger; nor more than a
 * quarter of all blocks, since making room for it costs others their cache. */
#define READ_BLOCKS_MAX 65u

/* A place in a run of blocks; the bytes before `end` of the segment may be looked at. */
struct cursor {
	struct lblock *b;
	uint32_t at;
};

/* The first bytes of the batch at c, up to its last offset delta. */
#define PEEK_SIZE 27u

static void peek(struct cursor c, uint8_t out[PEEK_SIZE])
{
	lspan_copy((struct lspan){.first = c.b, .off = c.at, .len = PEEK_SIZE}, 0, out, PEEK_SIZE);
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
	uint8_t head[PEEK_SIZE];
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
	uint8_t head[PEEK_SIZE];
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

static void finish(struct part *p, struct part_op *op, int16_t error, struct part_out *out)
{
	op->fetch.high_watermark = error ? -1 : p->high_watermark;
	op->fetch.last_stable_offset = op->fetch.high_watermark;
	op->fetch.log_start_offset = error ? -1 : p->log_start_offset;
	part_finish(op, error, out);
}

/* Blocks that may be given to one cold read: the rest of the pool stays for appends. */
static uint32_t read_limit(const struct part_env *env)
{
	return env->blocks->count - env->blocks->count / 8;
}

/* Asks the storage. */
static enum part_step start_read(struct part *p, struct part_op *op, struct part_out *out)
{
	struct part_env *env = p->env;
	uint32_t reserve = env->blocks->count - read_limit(env);
	uint32_t least = max_of(op->fetch.blocks, 1u);
	uint32_t want = (uint32_t)(((uint64_t)op->fetch.max_bytes + LBLOCK_SIZE - 1) / LBLOCK_SIZE);
	want = min_of(want + 1, min_of(READ_BLOCKS_MAX, env->blocks->count / 4));
	want = max_of(want, least);
	if (least > read_limit(env)) {
		finish(p, op, KE_KAFKA_STORAGE_ERROR, out);
		return PART_STEP_DONE;
	}
	if (list_empty(&env->free_reqs))
		return PART_STEP_STALLED;
	if (!part_env_make_room(env, want + reserve)) {
		if (!part_env_make_room(env, least + reserve))
			return PART_STEP_STALLED;
		want = min_of(want, env->blocks->free_count - reserve);
	}
	struct st_req *r = part_req_get(p, ST_READ);
	r->read.offset = op->fetch.offset;
	r->read.limit = p->high_watermark;
	r->read.blocks = lblock_get_chain(env->blocks, want);
	r->read.block_count = want;
	r->read.max_bytes = min_of(op->fetch.max_bytes, want * LBLOCK_SIZE);
	op->req = r;
	list_push_back(&p->reads, &op->node);
	part_req_send(p, r, out);
	return PART_STEP_DONE;
}

enum part_step part_try_fetch(struct part *p, struct part_op *op, struct part_out *out)
{
	int64_t offset = op->fetch.offset;
	op->fetch.span = (struct lspan){0};
	int16_t error = check_epoch(p, op);
	if (!error && (offset < p->log_start_offset || offset > p->log_end_offset))
		error = KE_OFFSET_OUT_OF_RANGE;
	bool nothing = op->fetch.max_bytes == 0 && !op->fetch.at_least_one;
	if (error || offset >= p->high_watermark || nothing) {
		finish(p, op, error, out);
		return PART_STEP_DONE;
	}
	struct cursor c;
	struct lblock *b = part_cache_find(p, offset);
	if (!b || !find_batch(p, b, offset, &c))
		return start_read(p, op, out);
	uint32_t len = measure(p, c, op->fetch.max_bytes, op->fetch.at_least_one);
	if (len > 0) {
		op->fetch.span = (struct lspan){.first = c.b, .off = c.at, .len = len};
		lspan_ref(op->fetch.span);
	}
	finish(p, op, KE_NONE, out);
	return PART_STEP_DONE;
}

/* Drops the asker's references on the blocks of a read. */
static void put_chain(struct part_env *env, struct lblock *b, uint32_t n)
{
	while (n-- > 0) {
		struct lblock *next = b->next;
		lblock_unref(env->blocks, b);
		b = next;
	}
}

/* Whether an answer is what was asked for: the storage may be wrong, so it is looked at. */
static bool answer_is_right(const struct part *p, const struct st_req *r)
{
	return r->read.span.len > 0 && r->read.base_offset <= r->read.offset &&
	       r->read.next_offset > r->read.offset && r->read.next_offset <= p->high_watermark;
}

static int16_t read_error(const struct part *p, const struct st_req *r)
{
	switch (r->err) {
	case ST_OK:
		return answer_is_right(p, r) ? KE_NONE : KE_CORRUPT_MESSAGE;
	case ST_E_RANGE:
		return KE_OFFSET_OUT_OF_RANGE;
	case ST_E_CORRUPT:
		return KE_CORRUPT_MESSAGE;
	default:
		return KE_KAFKA_STORAGE_ERROR;
	}
}

void part_read_stored(struct part *p, struct st_req *r, struct part_out *out)
{
	struct part_env *env = p->env;
	struct part_op *op = part_take_reader(p, r);
	int16_t error = read_error(p, r);
	bool give = !error && (r->read.span.len <= op->fetch.max_bytes || op->fetch.at_least_one);
	if (give) {
		op->fetch.span = r->read.span;
		lspan_ref(r->read.span);
	}
	put_chain(env, r->read.blocks, r->read.block_count);
	bool again = r->err == ST_E_SHORT && r->read.need > r->read.block_count;
	if (again)
		op->fetch.blocks = r->read.need;
	bool offline = r->err == ST_E_IO || r->err == ST_E_OFFLINE;
	part_req_put(p, r);
	if (again && p->state == PART_LEADER) {
		if (start_read(p, op, out) == PART_STEP_STALLED)
			list_push_back(&p->stalled, &op->node);
		return;
	}
	finish(p, op, error, out);
	if (offline)
		part_set_offline(p, out);
}
