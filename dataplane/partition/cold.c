/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cold reads: fetches of what is not at the log's end in memory any more. Each read of the storage
 * is a chunk: blocks that are filled once, and then are given away by reference to whoever asks for
 * an offset in it, as long as it is kept. A reader that goes on where the last chunk ended has the
 * next one read ahead.
 *
 * The blocks of all chunks, and those of former chunks that a reader still holds, are the share of
 * cold reads: at most cold_limit, so that a scan costs others no more of their cache than that. To
 * have room in it, chunks that nobody holds are dropped, oldest first. (One batch that is larger
 * than the share is read when nothing else is.)
 *
 *             ┌──────── no room, or others wait ────────┐
 *             │                                         ▼
 *   fetch ────┴─► chunk under way ──► chunk there    the line: partitions in turn
 *                     ▲                                 │
 *                     └─────────────────────────────────┘
 */
#include <string.h>

#include "kafka/batch.h"
#include "partition/part_int.h"

/* What one read asks for at most, unless the first batch alone is larger. */
#define READ_BLOCKS_MAX 65u
/* No read takes more than this part of the share, unless its first batch is larger. */
#define READ_SHARE 4u
/* A read-ahead takes less, and is left out where that would be less than two blocks. */
#define AHEAD_SHARE 8u
/* Chunks of one partition that have been read ahead and not been taken yet. */
#define AHEAD_MAX 4u
/* A fetch in the line ends empty after this time in which nothing has moved. */
#define PATIENCE_MS 50

static uint32_t cold_limit(const struct part_env *env)
{
	return env->cold_limit ? env->cold_limit : max_of(env->blocks->count / 4, 1u);
}

/* Blocks that no cold read takes. */
static uint32_t reserve(const struct part_env *env)
{
	return env->blocks->count / 8;
}

/* Drops one reference on a block that may be of the share. */
static void unref(struct part_env *env, struct lblock *b)
{
	if (b->owner == env && b->refs == 1) {
		b->owner = NULL;
		env->cold_blocks--;
		env->cold_moves++;
	}
	lblock_unref(env->blocks, b);
}

void part_release(struct part_env *env, struct lspan span)
{
	struct lblock *b = span.first;
	for (uint32_t n = lspan_blocks(span); n > 0; n--) {
		struct lblock *next = b->next; /* before unref may relink it */
		unref(env, b);
		b = next;
	}
}

/* --- chunks
 * ------------------------------------------------------------------------------------------- */

static void put_blocks(struct part_env *env, struct part_chunk *ch)
{
	struct lblock *b = ch->blocks;
	for (uint32_t n = ch->block_count; n > 0; n--) {
		struct lblock *next = b->next;
		unref(env, b);
		b = next;
	}
	ch->blocks = NULL;
	ch->block_count = 0;
}

static void drop_chunk(struct part_env *env, struct part_chunk *ch)
{
	CHECK(!ch->req);
	put_blocks(env, ch);
	list_remove(&ch->part_node);
	list_remove(&ch->node);
	list_push_front(&env->free_chunks, &ch->node);
}

/* True when some reader holds a block of it. */
static bool is_pinned(const struct part_chunk *ch)
{
	const struct lblock *b = ch->blocks;
	for (uint32_t n = ch->block_count; n > 0; n--, b = b->next)
		if (b->refs > 1)
			return true;
	return false;
}

/* The oldest chunk whose end gives room; only_used: that has been given away before. */
static struct part_chunk *oldest(struct part_env *env, bool only_used)
{
	list_for_each (it, &env->chunks) {
		struct part_chunk *ch = list_entry(it, struct part_chunk, node);
		if (!ch->req && (ch->used || !only_used) && !is_pinned(ch))
			return ch;
	}
	return NULL;
}

void part_env_drop_chunks(struct part_env *env, uint32_t n)
{
	uint32_t before = env->blocks->free_count;
	struct part_chunk *ch;
	while (env->blocks->free_count - before < n && (ch = oldest(env, false)))
		drop_chunk(env, ch);
}

/* A chunk that is not in use; the oldest one goes when there is none. */
static struct part_chunk *chunk_get(struct part_env *env, bool ahead)
{
	if (list_empty(&env->free_chunks)) {
		struct part_chunk *old = oldest(env, ahead);
		for (struct list *it = env->chunks.next; !ahead && !old && it != &env->chunks;
			it = it->next) { /* its blocks stay with who holds them */
			struct part_chunk *ch = list_entry(it, struct part_chunk, node);
			old = ch->req ? NULL : ch;
		}
		if (!old)
			return NULL;
		drop_chunk(env, old);
	}
	return list_entry(env->free_chunks.next, struct part_chunk, node);
}

/* Room in the share, and in the pool, for a read of n blocks; some stay free for appends. */
static bool make_room(struct part_env *env, uint32_t n, bool ahead, struct part_out *out)
{
	uint32_t limit = cold_limit(env);
	struct part_chunk *ch;
	while (env->cold_blocks > 0 && env->cold_blocks + n > limit && (ch = oldest(env, ahead)))
		drop_chunk(env, ch);
	if (env->cold_blocks > 0 && env->cold_blocks + n > limit)
		return false;
	return part_env_make_room(env, n + reserve(env), out);
}

/* The chunk that has the offset, or is to begin with it. */
static struct part_chunk *find_chunk(struct part *p, int64_t offset)
{
	list_for_each (it, &p->chunks) {
		struct part_chunk *ch = list_entry(it, struct part_chunk, part_node);
		if (ch->offset == offset)
			return ch;
		if (!ch->req && ch->offset < offset && offset < ch->next_offset)
			return ch;
	}
	return NULL;
}

/* Asks the storage for what comes at offset. Room has been made. */
static struct part_chunk *send_read(struct part *p, struct part_chunk *ch, int64_t offset,
	uint32_t max_bytes, uint32_t blocks, struct part_out *out)
{
	struct part_env *env = p->env;
	struct st_req *r = part_req_get(p, ST_READ);
	list_remove(&ch->node);
	*ch = (struct part_chunk){.part = p, .req = r, .offset = offset, .block_count = blocks};
	list_init(&ch->part_node);
	list_init(&ch->node);
	list_push_back(&env->chunks, &ch->node);
	list_push_back(&p->chunks, &ch->part_node);
	ch->blocks = lblock_get_chain(env->blocks, blocks);
	for (struct lblock *b = ch->blocks; b; b = b->next)
		b->owner = env;
	env->cold_blocks += blocks;
	env->cold_reads++;
	r->read.offset = offset;
	r->read.limit = p->high_watermark;
	r->read.blocks = ch->blocks;
	r->read.block_count = blocks;
	r->read.max_bytes = min_of(max_bytes, blocks * LBLOCK_SIZE);
	part_req_send(p, r, out);
	return ch;
}

/* --- reading ahead
 * ------------------------------------------------------------------------------------ */

/* True when the log's end in memory has the offset. */
static bool in_cache(const struct part *p, int64_t offset)
{
	return p->first && p->first->first_batch != LBLOCK_NO_BATCH &&
	       offset >= p->first->first_offset;
}

static uint32_t count_ahead(struct part *p)
{
	uint32_t n = 0;
	list_for_each (it, &p->chunks) {
		struct part_chunk *ch = list_entry(it, struct part_chunk, part_node);
		n += ch->ahead && !ch->used;
	}
	return n;
}

/* Has the chunk after ch read, when there is room that nobody else wants. */
static void read_ahead(struct part *p, const struct part_chunk *ch, struct part_out *out)
{
	struct part_env *env = p->env;
	int64_t offset = ch->next_offset;
	uint32_t blocks = min_of(READ_BLOCKS_MAX, cold_limit(env) / AHEAD_SHARE);
	if (p->state != PART_LEADER || p->reading_ahead || blocks < 2 || part_env_is_waiting(env) ||
		list_empty(&env->free_reqs))
		return;
	if (offset >= p->high_watermark || in_cache(p, offset) || find_chunk(p, offset) ||
		count_ahead(p) >= AHEAD_MAX)
		return;
	struct part_chunk *next = chunk_get(env, true);
	if (!next || !make_room(env, blocks, true, out))
		return;
	if (list_empty(&env->free_reqs)) /* making room has taken the last one */
		return;
	next = chunk_get(env, true);
	send_read(p, next, offset, blocks * LBLOCK_SIZE, blocks, out);
	next->ahead = next->follow = true;
	p->reading_ahead = true;
}

/* --- giving away
 * -------------------------------------------------------------------------------------- */

/* Size of the batch that s begins with; 0 when there is none. */
static uint32_t batch_at(struct lspan s, uint8_t head[PART_PEEK_SIZE])
{
	if (s.len < BATCH_HEADER_SIZE)
		return 0;
	lspan_copy(s, 0, head, PART_PEEK_SIZE);
	uint32_t size = batch_size(head);
	return size >= BATCH_HEADER_SIZE && size <= s.len ? size : 0;
}

/* The chunk's bytes from the batch with the offset (or after it) on; empty when they make no sense.
 */
static struct lspan seek(const struct part_chunk *ch, int64_t offset)
{
	struct lspan s = ch->span;
	uint8_t head[PART_PEEK_SIZE];
	if (offset == ch->offset)
		return s;
	if (ch->mark.rest.len > 0 && offset >= ch->mark.offset)
		s = ch->mark.rest;
	for (uint32_t n; (n = batch_at(s, head)) > 0; s = lspan_skip(s, n))
		if (batch_last_offset(head) >= offset)
			return s;
	return (struct lspan){0};
}

/* Whole batches at the start of s, at most max bytes of them; notes in ch where they end. */
static uint32_t take(struct part_chunk *ch, struct lspan s, uint32_t max, bool first_anyway)
{
	uint8_t head[PART_PEEK_SIZE];
	uint32_t len = 0;
	if (s.len <= max) {
		ch->used = true;
		return s.len;
	}
	for (uint32_t n; (n = batch_at(s, head)) > 0; s = lspan_skip(s, n)) {
		if (len + n > max && (len > 0 || !first_anyway))
			break;
		len += n;
		ch->mark.offset = batch_next_offset(head);
		if (len >= max) {
			s = lspan_skip(s, n);
			break;
		}
	}
	if (len > 0)
		ch->mark.rest = s;
	ch->used |= s.len == 0;
	return len;
}

/* Ends the fetch with what the chunk has for it. */
static void give(struct part *p, struct part_chunk *ch, struct part_op *op, struct part_out *out)
{
	if (op->fetch.offset < p->log_start_offset) {
		part_fetch_finish(p, op, KE_OFFSET_OUT_OF_RANGE, out);
		return;
	}
	struct lspan s = seek(ch, op->fetch.offset);
	if (s.len == 0) {
		part_fetch_finish(p, op, KE_CORRUPT_MESSAGE, out);
		return;
	}
	s.len = take(ch, s, op->fetch.max_bytes, op->fetch.at_least_one);
	if (s.len == 0 && op->fetch.at_least_one) {
		part_fetch_finish(p, op, KE_CORRUPT_MESSAGE, out);
		return;
	}
	if (s.len > 0) {
		op->fetch.span = s;
		lspan_ref(s);
	}
	part_fetch_finish(p, op, KE_NONE, out);
}

/* --- asking
 * ------------------------------------------------------------------------------------------- */

/* True when a reader that asks for offset goes on behind a chunk. */
static bool goes_on(struct part *p, int64_t offset)
{
	list_for_each (it, &p->chunks) {
		struct part_chunk *ch = list_entry(it, struct part_chunk, part_node);
		if (!ch->req && ch->next_offset == offset)
			return true;
	}
	return false;
}

static enum part_step start_read(struct part *p, struct part_op *op, struct part_out *out)
{
	struct part_env *env = p->env;
	uint32_t limit = cold_limit(env);
	uint32_t least = max_of(op->fetch.blocks, 1u);
	uint32_t want = (uint32_t)(((uint64_t)op->fetch.max_bytes + LBLOCK_SIZE - 1) / LBLOCK_SIZE);
	want = min_of(want + 1, min_of(READ_BLOCKS_MAX, max_of(limit / READ_SHARE, 1u)));
	want = max_of(want, least);
	if (least > env->blocks->count - reserve(env)) {
		part_fetch_finish(p, op, KE_KAFKA_STORAGE_ERROR, out);
		return PART_STEP_DONE;
	}
	if (list_empty(&env->free_reqs) || !chunk_get(env, false))
		return PART_STEP_STALLED;
	if (!make_room(env, want, false, out)) {
		want = least;
		if (!make_room(env, want, false, out))
			return PART_STEP_STALLED;
	}
	bool follow = goes_on(p, op->fetch.offset);
	struct part_chunk *ch = chunk_get(env, false);
	if (list_empty(&env->free_reqs)) /* making room has taken the last one */
		return PART_STEP_STALLED;
	send_read(p, ch, op->fetch.offset, op->fetch.max_bytes, want, out);
	ch->follow = follow;
	op->req = ch->req;
	list_push_back(&p->reads, &op->node);
	return PART_STEP_DONE;
}

/* --- the line
 * ----------------------------------------------------------------------------------------- */

/* back: behind all others; else it keeps its turn. */
static void line_up(struct part *p, struct part_op *op, int64_t now_ms, bool back)
{
	struct part_env *env = p->env;
	op->fetch.moves = env->cold_moves;
	op->fetch.since_ms = now_ms;
	list_insert_before(back ? &p->cold : p->cold.next, &op->node);
	if (!list_linked(&p->in_line))
		list_insert_before(back ? &env->cold_line : env->cold_line.next, &p->in_line);
}

enum part_step part_cold_fetch(
	struct part *p, struct part_op *op, int64_t now_ms, bool in_turn, struct part_out *out)
{
	struct part_chunk *ch = find_chunk(p, op->fetch.offset);
	if (ch && ch->req) {
		op->req = ch->req;
		list_push_back(&p->reads, &op->node);
		return PART_STEP_DONE;
	}
	if (ch) {
		ch->follow = true;
		give(p, ch, op, out);
		read_ahead(p, ch, out);
		return PART_STEP_DONE;
	}
	bool wait = !in_turn && part_env_is_waiting(p->env);
	if (!wait && start_read(p, op, out) == PART_STEP_DONE)
		return PART_STEP_DONE;
	if (in_turn)
		return PART_STEP_STALLED;
	line_up(p, op, now_ms, true);
	return PART_STEP_DONE;
}

/* True when the fetch has waited long enough for nothing. */
static bool gives_up(const struct part_env *env, struct part_op *op, int64_t now_ms)
{
	if (env->cold_reads > 0 || env->cold_moves != op->fetch.moves) {
		op->fetch.moves = env->cold_moves;
		op->fetch.since_ms = now_ms;
		return false;
	}
	return now_ms - op->fetch.since_ms >= PATIENCE_MS;
}

void part_env_turn(struct part_env *env, int64_t now_ms, struct part_out *out)
{
	while (part_env_is_waiting(env)) {
		struct part *p = list_entry(env->cold_line.next, struct part, in_line);
		struct part_op *op = list_entry(p->cold.next, struct part_op, node);
		list_remove(&op->node);
		if (part_try_fetch(p, op, now_ms, true, out) == PART_STEP_STALLED) {
			if (!gives_up(env, op, now_ms)) {
				list_push_front(&p->cold, &op->node);
				return;
			}
			op->fetch.starved = true;
			env->starved++;
			part_fetch_finish(p, op, KE_NONE, out);
		}
		list_remove(&p->in_line);
		if (!list_empty(&p->cold))
			list_push_back(&env->cold_line, &p->in_line);
	}
}

void part_cold_end(struct part *p, int16_t error, struct part_out *out)
{
	part_finish_all(&p->cold, error, out);
	list_remove(&p->in_line);
}

void part_cold_clear(struct part *p)
{
	struct list *n;
	while ((n = list_front(&p->chunks)))
		drop_chunk(p->env, list_entry(n, struct part_chunk, part_node));
}

void part_cold_trim(struct part *p)
{
	list_for_each_safe (it, &p->chunks) {
		struct part_chunk *ch = list_entry(it, struct part_chunk, part_node);
		if (!ch->req && ch->next_offset <= p->log_start_offset)
			drop_chunk(p->env, ch);
	}
}

/* --- answers
 * ------------------------------------------------------------------------------------------ */

/* Whether an answer is what was asked for: the storage may be wrong, so it is looked at. Only a
 * compacted log may have nothing at the offset, and go on behind it. */
static bool answer_is_right(const struct part *p, const struct st_req *r)
{
	return r->read.span.len > 0 &&
	       (r->read.base_offset <= r->read.offset || p->gaps || r->read.gaps) &&
	       r->read.next_offset > r->read.offset && r->read.next_offset > r->read.base_offset &&
	       r->read.next_offset <= p->high_watermark;
}

static int16_t read_error(const struct part *p, const struct st_req *r)
{
	switch (r->err) {
	case ST_OK:
		return answer_is_right(p, r) ? KE_NONE : KE_CORRUPT_MESSAGE;
	case ST_E_RANGE: /* of what is in the log, something must be there */
		return r->read.offset < p->log_start_offset ? KE_OFFSET_OUT_OF_RANGE
							    : KE_CORRUPT_MESSAGE;
	case ST_E_CORRUPT:
		return KE_CORRUPT_MESSAGE;
	default:
		return KE_KAFKA_STORAGE_ERROR;
	}
}

/* Keeps the blocks that the answer's span is in. */
static void chunk_filled(struct part_env *env, struct part_chunk *ch, const struct st_req *r)
{
	uint32_t keep = lspan_blocks(r->read.span);
	struct lblock *b = ch->blocks;
	uint32_t left = ch->block_count;
	for (; b != r->read.span.first; left--) {
		struct lblock *next = b->next;
		unref(env, b);
		b = next;
	}
	ch->blocks = b;
	ch->block_count = keep;
	for (uint32_t n = 1; n < keep; n++)
		b = b->next;
	struct lblock *rest = b->next;
	b->next = NULL;
	for (left -= keep; left > 0; left--) {
		b = rest;
		rest = b->next;
		unref(env, b);
	}
	ch->span = r->read.span;
	ch->next_offset = r->read.next_offset;
}

static struct part_chunk *chunk_of(struct part *p, const struct st_req *r)
{
	list_for_each (it, &p->chunks) {
		struct part_chunk *ch = list_entry(it, struct part_chunk, part_node);
		if (ch->req == r)
			return ch;
	}
	CHECK(!"a read without a chunk");
	return NULL;
}

/* Takes all that wait for r. */
static void take_readers(struct part *p, const struct st_req *r, struct list *to)
{
	list_init(to);
	list_for_each_safe (it, &p->reads) {
		struct part_op *op = list_entry(it, struct part_op, node);
		if (op->req != r)
			continue;
		list_remove(it);
		op->req = NULL;
		list_push_back(to, it);
	}
}

/* The first batch is larger than the blocks given: those who want it ask again. */
static void ask_again(
	struct part *p, struct list *readers, uint32_t need, int64_t now_ms, struct part_out *out)
{
	struct list *n;
	while ((n = list_pop_front(readers))) {
		struct part_op *op = list_entry(n, struct part_op, node);
		op->fetch.blocks = need;
		if (part_try_fetch(p, op, now_ms, true, out) == PART_STEP_STALLED)
			line_up(p, op, now_ms, false);
	}
}

static void give_to(struct part *p, struct part_chunk *ch, struct list *readers, int16_t error,
	struct part_out *out)
{
	struct list *n;
	while ((n = list_pop_front(readers))) {
		struct part_op *op = list_entry(n, struct part_op, node);
		if (error)
			part_fetch_finish(p, op, error, out);
		else
			give(p, ch, op, out);
	}
}

void part_read_stored(struct part *p, struct st_req *r, int64_t now_ms, struct part_out *out)
{
	struct part_env *env = p->env;
	struct part_chunk *ch = chunk_of(p, r);
	struct list readers;
	take_readers(p, r, &readers);
	ch->req = NULL;
	env->cold_reads--;
	env->cold_moves++;
	if (ch->ahead)
		p->reading_ahead = false;
	int16_t error = read_error(p, r);
	uint32_t need = r->err == ST_E_SHORT && r->read.need > ch->block_count ? r->read.need : 0;
	bool offline = r->err == ST_E_IO || r->err == ST_E_OFFLINE;
	if (!error)
		chunk_filled(env, ch, r);
	part_req_put(p, r);
	bool taken = !list_empty(&readers);
	if (error)
		drop_chunk(env, ch);
	if (need > 0 && p->state == PART_LEADER)
		ask_again(p, &readers, need, now_ms, out);
	else
		give_to(p, ch, &readers, error, out);
	if (!error && ch->follow && taken)
		read_ahead(p, ch, out);
	if (offline)
		part_set_offline(p, out);
}
