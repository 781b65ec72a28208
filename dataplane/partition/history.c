/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How what is known of producers outlives the process: it is in the log, in the heads of the
 * batches. Now and then a note of it is kept beside the log, so that not all of it has to be read.
 *
 *   log:  │ ........................ │ .................. │ ..........
 *         log start             the note's offset    end at ST_OPEN (history_end)
 *                                     └──── read ─────────┘
 *
 * It is read when the first idempotent batch comes (or the next note is due), not at the start:
 * those batches wait (`early`), all else goes on. None of them is placed before it is known, so
 * what lies behind history_end is none of its business.
 */
#include <string.h>

#include "kafka/batch.h"
#include "kafka/errcode.h"
#include "partition/part_int.h"

_Static_assert(PRODUCER_NOTE_MAX <= ST_NOTE_MAX, "the storage takes any note");

#define READ_BLOCKS 64u
#define READ_BLOCKS_LEAST 2u
#define READ_TRIES 16u /* a read that has failed may come off yet: what is skipped is forgotten */

static bool tracks(const struct part *p)
{
	return p->env->producers != NULL;
}

void part_history_opened(struct part *p)
{
	p->history_end = p->high_watermark;
	p->note_offset = p->log_start_offset;
	if (p->history_end == 0 || !tracks(p))
		p->history = PART_HISTORY_KNOWN;
}

bool part_history_wants(const struct part *p, const struct part_op *op)
{
	return tracks(p) && op->kind == PART_APPEND && op->append.len >= BATCH_HEADER_SIZE &&
	       batch_producer_id(op->append.data) >= 0;
}

/* --- reading ---------------------------------------------------------------------------------- */

static void put_blocks(struct part *p)
{
	struct lblock *b = p->history_blocks;
	for (uint32_t n = p->history_count; n > 0; n--) {
		struct lblock *next = b->next;
		lblock_unref(p->env->blocks, b);
		b = next;
	}
	p->history_blocks = NULL;
	p->history_count = 0;
}

/* The appends that have waited, in their order. */
static void release(struct part *p, int64_t now_ms, struct part_out *out)
{
	struct list *n;
	while ((n = list_pop_front(&p->early))) {
		struct part_op *op = list_entry(n, struct part_op, node);
		part_go(p, op, now_ms, out);
	}
}

/* What was read makes no sense, or cannot be read: nothing is known of those producers. */
static void skip_damage(struct part *p)
{
	int64_t active = min_of(p->history_segment, p->history_end);
	part_producers_clear(p);
	p->history_next = p->history_next < active ? active : p->history_end;
}

static bool ask_note(struct part *p, bool store, uint32_t len, struct part_out *out)
{
	struct producer_pool *pool = p->env->producers;
	struct st_req *r = part_req_get(p, ST_NOTE);
	if (!r)
		return false;
	pool->note_busy = p->noting = true;
	r->note.store = store;
	r->note.data = pool->note;
	r->note.size = store ? len : PRODUCER_NOTE_MAX;
	part_req_send(p, r, out);
	return true;
}

/* False: there is no room, or no request, for it now. */
static bool ask_read(struct part *p, struct part_out *out)
{
	struct part_env *env = p->env;
	uint32_t n = max_of(p->history_need, READ_BLOCKS);
	if (list_empty(&env->free_reqs))
		return false;
	if (n > env->blocks->count / 4 || !part_env_make_room(env, n, out)) {
		n = max_of(p->history_need, READ_BLOCKS_LEAST);
		if (!part_env_make_room(env, n, out))
			return false;
	}
	struct st_req *r = part_req_get(p, ST_READ);
	if (!r) /* making room has taken the last one */
		return false;
	p->history_blocks = lblock_get_chain(env->blocks, n);
	p->history_count = n;
	for (struct lblock *b = p->history_blocks; b; b = b->next)
		b->owner = NULL;
	r->read.offset = p->history_next;
	r->read.limit = p->history_end;
	r->read.blocks = p->history_blocks;
	r->read.block_count = n;
	r->read.max_bytes = n * LBLOCK_SIZE;
	p->history_req = r;
	part_req_send(p, r, out);
	return true;
}

void part_history_step(struct part *p, int64_t now_ms, struct part_out *out)
{
	if (p->state != PART_LEADER || p->noting || p->history_req)
		return;
	if (p->history == PART_HISTORY_NOTE && !p->env->producers->note_busy)
		ask_note(p, false, 0, out);
	if (p->history != PART_HISTORY_READING)
		return;
	if (p->history_next < p->log_start_offset) { /* what is gone cannot be counted on */
		part_producers_clear(p);
		p->history_next = p->log_start_offset;
	}
	if (p->history_next < p->history_end) {
		ask_read(p, out);
		return;
	}
	p->history = PART_HISTORY_KNOWN;
	release(p, now_ms, out);
}

void part_history_begin(struct part *p, int64_t now_ms, struct part_out *out)
{
	if (p->history == PART_HISTORY_UNKNOWN)
		p->history = PART_HISTORY_NOTE;
	part_history_step(p, now_ms, out);
}

/* Learns from the batches of span, which the storage has checked. False: they make no sense. */
static bool learn(struct part *p, struct lspan span, int64_t now_ms)
{
	uint8_t head[BATCH_HEADER_SIZE];
	p->unnoted_bytes += span.len;
	while (span.len > 0) {
		if (span.len < sizeof(head))
			return false;
		lspan_copy(span, 0, head, sizeof(head));
		uint32_t size = batch_size(head);
		if (size < sizeof(head) || size > span.len)
			return false;
		part_producer_stored(p, head, now_ms);
		span = lspan_skip(span, size);
	}
	return true;
}

void part_history_read(struct part *p, struct st_req *r, int64_t now_ms, struct part_out *out)
{
	enum st_err err = r->err;
	bool shorter = err == ST_E_SHORT && r->read.need <= p->env->blocks->count / 2;
	bool trimmed = err == ST_E_RANGE && p->history_next < p->log_start_offset;
	bool again = shorter || trimmed || err == ST_E_LIMIT || err == ST_E_NOSPACE;
	p->history_req = NULL;
	p->history_need = shorter ? r->read.need : 0;
	if (err == ST_OK)
		p->history_tries = 0;
	if (err == ST_OK && r->read.next_offset > p->history_next && learn(p, r->read.span, now_ms))
		p->history_next = r->read.next_offset;
	else if (!again && (err == ST_OK || ++p->history_tries % READ_TRIES == 0))
		skip_damage(p);
	put_blocks(p);
	part_req_put(p, r);
	if (err == ST_E_IO || err == ST_E_OFFLINE)
		part_set_offline(p, out);
	else
		part_history_step(p, now_ms, out);
}

/* --- notes ------------------------------------------------------------------------------------ */

static void note_loaded(struct part *p, const struct st_req *r)
{
	int64_t offset = -1;
	if (r->err == ST_OK)
		offset = part_producers_from_note(p, r->note.data, r->note.len);
	p->note_offset = p->history_next = max_of(offset, p->log_start_offset);
	p->history = PART_HISTORY_READING;
}

void part_history_noted(struct part *p, struct st_req *r, int64_t now_ms, struct part_out *out)
{
	enum st_err err = r->err;
	p->env->producers->note_busy = p->noting = false;
	if (!r->note.store && p->state == PART_LEADER)
		note_loaded(p, r);
	part_req_put(p, r);
	if (err == ST_E_IO || err == ST_E_OFFLINE)
		part_set_offline(p, out);
	else
		part_history_step(p, now_ms, out);
}

static void write_note(struct part *p, struct part_out *out)
{
	if (p->noting || p->env->producers->note_busy || list_empty(&p->env->free_reqs))
		return;
	ask_note(p, true, part_producers_note(p), out);
	p->note_offset = p->high_watermark;
	p->unnoted_bytes = 0;
}

void part_history_upkeep(struct part *p, int64_t now_ms, struct part_out *out)
{
	if (!tracks(p) || p->state != PART_LEADER)
		return;
	const struct producer_pool *pool = p->env->producers;
	uint64_t every = pool->unnoted_all / max_of(pool->parts, 1u);
	if (p->unnoted_bytes < min_of(max_of(every, pool->unnoted_least), pool->unnoted_most))
		return;
	part_history_begin(p, now_ms, out);
	if (p->history == PART_HISTORY_KNOWN)
		write_note(p, out);
}

bool part_history_allows_cut(struct part *p, int64_t offset, int64_t now_ms, struct part_out *out)
{
	if (!tracks(p))
		return true;
	part_history_begin(p, now_ms, out);
	if (p->history != PART_HISTORY_KNOWN)
		return false;
	if (p->producer_count > 0 && p->note_offset < offset)
		write_note(p, out);
	return true;
}

bool part_history_waits(const struct part *p)
{
	bool at_work = p->history == PART_HISTORY_NOTE || p->history == PART_HISTORY_READING;
	return at_work && p->state == PART_LEADER && !p->noting && !p->history_req;
}
