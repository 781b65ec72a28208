/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The partition core: life cycle, and where operations and answers go. Called by the partition's
 * shard only. Appends: append.c; fetches: fetch.c; ListOffsets: list.c; retention and the
 * like: upkeep.c; blocks in memory: cache.c.
 */
#include "partition/part.h"

#include <string.h>

#include "kafka/errcode.h"
#include "partition/part_int.h"

static void set_state(struct part *p, enum part_state to)
{
	static const bool allowed[4][4] = {
		[PART_OPENING] =
			{[PART_LEADER] = true, [PART_OFFLINE] = true, [PART_CLOSING] = true},
		[PART_LEADER] = {[PART_OFFLINE] = true, [PART_CLOSING] = true},
		[PART_OFFLINE] = {[PART_CLOSING] = true},
	};
	CHECK(allowed[p->state][to]);
	p->state = to;
}

void part_env_init(struct part_env *env, struct lblock_pool *blocks, struct batch_scratch *scratch)
{
	*env = (struct part_env){.blocks = blocks, .scratch = scratch};
	list_init(&env->free_reqs);
	list_init(&env->cached);
	list_init(&env->held);
	list_init(&env->holders);
	list_init(&env->cold_line);
	list_init(&env->chunks);
	list_init(&env->free_chunks);
	for (uint32_t i = 0; i < PART_CHUNKS; i++) {
		list_init(&env->chunk_mem[i].node);
		list_init(&env->chunk_mem[i].part_node);
		list_push_back(&env->free_chunks, &env->chunk_mem[i].node);
	}
}

void part_init(struct part *p, struct part_env *env, uint32_t part_id, uint16_t worker,
	const struct part_config *config, int32_t leader_epoch)
{
	*p = (struct part){
		.state = PART_OPENING,
		.part_id = part_id,
		.worker = worker,
		.dir = PART_NO_DIR,
		.leader_epoch = leader_epoch,
		.env = env,
		.config = *config,
		.segment_ms = -1,
		.durable_ms = -1,
		.next_seq = 1,
		.gaps = config->policy.compact,
	};
	if (env->producers)
		env->producers->parts++;
	list_init(&p->producers);
	list_init(&p->early);
	list_init(&p->duplicates);
	list_init(&p->holder);
	list_init(&p->cold);
	list_init(&p->in_line);
	list_init(&p->chunks);
	list_init(&p->appends);
	list_init(&p->runs);
	list_init(&p->stalled);
	list_init(&p->waits);
	list_init(&p->reads);
}

void part_configure(struct part *p, const struct part_config *config)
{
	p->config = *config;
	p->gaps |= config->policy.compact;
}

/* --- for the other files of the room --------------------------------------------------------- */

void part_finish(struct part_op *op, int16_t error, struct part_out *out)
{
	CHECK(op->active && !list_linked(&op->node));
	op->active = false;
	op->error = error;
	op->req = NULL;
	list_push_back(&out->done, &op->node);
}

void part_finish_all(struct list *ops, int16_t error, struct part_out *out)
{
	struct list *n;
	while ((n = list_pop_front(ops)))
		part_finish(list_entry(n, struct part_op, node), error, out);
}

struct st_req *part_req_get(struct part *p, enum st_op op)
{
	struct list *n = list_pop_front(&p->env->free_reqs);
	if (!n)
		return NULL;
	struct st_req *r = list_entry(n, struct st_req, node);
	memset(&r->append, 0, sizeof(r->append));
	memset(&r->read, 0, sizeof(r->read));
	r->op = op;
	r->err = ST_OK;
	r->worker = p->worker;
	r->log = p->log;
	r->user = p;
	return r;
}

void part_req_put(struct part *p, struct st_req *r)
{
	CHECK(!list_linked(&r->node));
	list_push_back(&p->env->free_reqs, &r->node);
}

void part_req_send(struct part *p, struct st_req *r, struct part_out *out)
{
	p->reqs_out++;
	list_push_back(&out->store, &r->node);
}

struct part_op *part_take_reader(struct part *p, const struct st_req *r)
{
	list_for_each (it, &p->reads) {
		struct part_op *op = list_entry(it, struct part_op, node);
		if (op->req == r) {
			list_remove(it);
			op->req = NULL;
			return op;
		}
	}
	CHECK(!"an answer that nobody waits for");
	return NULL;
}

void part_start_moved(struct part *p, int64_t offset)
{
	p->log_start_offset = max_of(p->log_start_offset, min_of(offset, p->high_watermark));
	part_cold_trim(p);
}

void part_set_offline(struct part *p, struct part_out *out)
{
	if (p->state == PART_OFFLINE || p->state == PART_CLOSING)
		return;
	set_state(p, PART_OFFLINE);
	p->stalled_appends = 0;
	part_finish_all(&p->stalled, KE_KAFKA_STORAGE_ERROR, out);
	part_finish_all(&p->early, KE_KAFKA_STORAGE_ERROR, out);
	part_finish_all(&p->waits, KE_KAFKA_STORAGE_ERROR, out);
	part_cold_end(p, KE_KAFKA_STORAGE_ERROR, out);
	part_holder_update(p);
	if (!p->append_req)
		part_append_rewind(p, p->durable_segment, p->durable_pos, NULL, out);
}

/* --- calls -------------------------------------------------------------------------------------
 */

void part_opened(struct part *p, const struct st_req *r, int64_t now_ms, struct part_out *out)
{
	CHECK(r->op == ST_OPEN);
	if (p->state == PART_OPENING && r->err != ST_OK) {
		part_set_offline(p, out);
		return;
	}
	p->log = r->log;
	p->dir = r->open.dir;
	p->log_start_offset = r->open.log_start_offset;
	p->high_watermark = p->log_end_offset = r->open.log_end_offset;
	p->segment = p->durable_segment = r->open.segment;
	p->segment_pos = p->durable_pos = r->open.segment_pos;
	p->released = (struct st_pos){p->durable_segment, p->durable_pos};
	p->segment_ms = p->durable_ms = r->open.segment_pos ? r->open.segment_created_ms : -1;
	p->history_segment = p->segment;
	part_history_opened(p);
	if (p->state != PART_OPENING)
		return;
	set_state(p, PART_LEADER);
	part_kick(p, now_ms, out);
}

static enum part_step try_wait(struct part *p, struct part_op *op, struct part_out *out)
{
	if (op->wait.offset < p->high_watermark)
		part_finish(op, KE_NONE, out);
	else
		list_push_back(&p->waits, &op->node);
	return PART_STEP_DONE;
}

static enum part_step try_op(
	struct part *p, struct part_op *op, int64_t now_ms, struct part_out *out)
{
	switch (op->kind) {
	case PART_APPEND:
		return part_try_append(p, op, now_ms, out);
	case PART_FETCH:
		return part_try_fetch(p, op, now_ms, false, out);
	case PART_WAIT:
		return try_wait(p, op, out);
	case PART_LIST:
		return part_try_list(p, op, out);
	case PART_TRIM:
		return part_try_trim(p, op, now_ms, out);
	case PART_PRODUCERS:
		return part_try_producers(p, op, now_ms, out);
	case PART_SIZE:
		return part_try_size(p, op, out);
	}
	CHECK(!"an operation of no kind");
	return PART_STEP_DONE;
}

/* What the asker finds in an operation that was refused. */
static void clear_results(struct part_op *op)
{
	switch (op->kind) {
	case PART_APPEND:
		op->append.base_offset = op->append.last_offset = -1;
		op->append.log_append_time_ms = -1;
		op->append.log_start_offset = -1;
		op->append.bad_record = -1;
		op->append.error_message = NULL;
		break;
	case PART_FETCH:
		op->fetch.blocks = 0;
		op->fetch.span = (struct lspan){0};
		op->fetch.starved = false;
		op->fetch.high_watermark = op->fetch.last_stable_offset = -1;
		op->fetch.log_start_offset = -1;
		break;
	case PART_WAIT:
		break;
	case PART_LIST:
		op->list.offset = op->list.record_timestamp = op->list.leader_epoch = -1;
		break;
	case PART_TRIM:
		op->trim.log_start_offset = -1;
		break;
	case PART_PRODUCERS:
		op->producers.count = 0;
		break;
	case PART_SIZE:
		op->size.bytes = 0;
		op->size.dir = op->part->dir;
		break;
	}
}

static void stall(struct part *p, struct part_op *op)
{
	if (op->kind == PART_APPEND)
		p->stalled_appends++;
	list_push_back(&p->stalled, &op->node);
}

void part_go(struct part *p, struct part_op *op, int64_t now_ms, struct part_out *out)
{
	if (op->kind == PART_APPEND && p->stalled_appends > 0)
		stall(p, op); /* appends keep their order */
	else if (try_op(p, op, now_ms, out) == PART_STEP_STALLED)
		stall(p, op);
}

void part_start(struct part *p, struct part_op *op, int64_t now_ms, struct part_out *out)
{
	list_init(&op->node);
	op->part = p;
	op->req = NULL;
	op->active = true;
	op->error = KE_NONE;
	clear_results(op);
	if (p->state == PART_OFFLINE)
		part_finish(op, KE_KAFKA_STORAGE_ERROR, out);
	else if (p->state == PART_CLOSING)
		part_finish(op, p->close_error, out);
	else if (p->state == PART_OPENING)
		stall(p, op);
	else
		part_go(p, op, now_ms, out);
}

void part_kick(struct part *p, int64_t now_ms, struct part_out *out)
{
	bool appends_stuck = false;
	bool others_stuck = false;
	if (part_env_is_waiting(p->env))
		part_env_turn(p->env, now_ms, out);
	if (p->state != PART_LEADER)
		return;
	part_history_step(p, now_ms, out);
	list_for_each_safe (it, &p->stalled) {
		struct part_op *op = list_entry(it, struct part_op, node);
		bool is_append = op->kind == PART_APPEND;
		if (is_append ? appends_stuck : others_stuck)
			continue;
		list_remove(it);
		if (try_op(p, op, now_ms, out) == PART_STEP_STALLED) {
			list_insert_before(it_next, it);
			*(is_append ? &appends_stuck : &others_stuck) = true;
		} else if (is_append) {
			p->stalled_appends--;
		}
		if (appends_stuck && others_stuck)
			break;
	}
}

void part_stored(struct part *p, struct st_req *r, int64_t now_ms, struct part_out *out)
{
	CHECK(r->user == p && p->reqs_out > 0);
	p->reqs_out--;
	if (r->err == ST_E_IO || r->err == ST_E_OFFLINE)
		part_released_all(p);
	switch (r->op) {
	case ST_APPEND:
		part_append_stored(p, r, now_ms, out);
		break;
	case ST_READ:
		if (r == p->history_req)
			part_history_read(p, r, now_ms, out);
		else
			part_read_stored(p, r, now_ms, out);
		break;
	case ST_LOOKUP:
		part_lookup_stored(p, r, out);
		break;
	case ST_TAIL:
		part_tail_stored(p, r, out);
		break;
	case ST_TRIM:
		part_trim_stored(p, r, out);
		break;
	case ST_FILL:
		part_fill_stored(p, r, out);
		break;
	case ST_SIZE:
		part_size_stored(p, r, out);
		break;
	case ST_NOTE:
		part_history_noted(p, r, now_ms, out);
		break;
	case ST_RETAIN:
	case ST_CLEAN:
		part_upkeep_stored(p, r, out);
		break;
	default:
		CHECK(!"an answer to what the partition does not ask");
	}
	part_kick(p, now_ms, out);
}

void part_cancel(struct part *p, struct part_op *op, struct part_out *out)
{
	if (!op->active || op->kind != PART_WAIT || op->part != p)
		return;
	list_remove(&op->node);
	part_finish(op, KE_NONE, out);
}

bool part_close(struct part *p, int16_t error, struct part_out *out)
{
	if (p->state != PART_CLOSING)
		set_state(p, PART_CLOSING);
	p->close_error = error;
	p->stalled_appends = 0;
	part_finish_all(&p->stalled, error, out);
	part_finish_all(&p->early, error, out);
	part_finish_all(&p->waits, error, out);
	part_cold_end(p, error, out);
	part_holder_update(p);
	return p->reqs_out == part_upkeep_out(p) && list_empty(&p->runs) && list_empty(&p->appends);
}

void part_fini(struct part *p)
{
	CHECK(p->reqs_out == 0 && list_empty(&p->reads) && list_empty(&p->appends));
	if (p->env->producers) {
		part_producers_clear(p);
		p->env->producers->parts--;
	}
	part_cold_clear(p);
	part_cache_clear(p);
}

/* --- invariants ---------------------------------------------------------------------------------
 */

static void check_blocks(const struct part *p)
{
	if (!p->last) {
		CHECK(!p->first && !p->tail);
		return;
	}
	CHECK(p->next_seq == p->last->seq + 1 && p->first->seq == p->first_seq);
	const struct lblock *after = NULL;
	for (const struct lblock *b = p->last;; b = b->prev) {
		CHECK(b->owner == p && b->refs >= 1);
		CHECK(b->used > 0 && b->used <= LBLOCK_SIZE && b->file_pos % LBLOCK_SIZE == 0);
		CHECK(b->first_batch == LBLOCK_NO_BATCH || b->first_batch < b->used);
		CHECK(b->seq >= p->first_seq && b->jump_seq < b->seq);
		bool durable = part_block_is_durable(p, b);
		CHECK(list_linked(&b->cache_node) == durable);
		CHECK((durable && !part_block_is_released(p, b)) ==
			(durable && p->held && b->seq >= p->held->seq));
		CHECK(durable || !p->held || b->seq > p->held->seq);
		if (b->jump_seq >= p->first_seq)
			CHECK(b->jump && b->jump->seq == b->jump_seq);
		if (after) {
			CHECK(after->seq == b->seq + 1 && b->first_offset <= after->first_offset);
			bool same = after->segment == b->segment;
			CHECK(same ? b->next == after : b->next == NULL);
			CHECK(!same || (b->used == LBLOCK_SIZE &&
					       b->file_pos + LBLOCK_SIZE == after->file_pos));
			CHECK(same || after->file_pos == 0);
		} else {
			CHECK(!b->next);
		}
		after = b;
		if (b == p->first)
			break;
	}
	const struct lblock *t = p->tail;
	if (t) {
		CHECK(t == p->last && t->segment == p->segment);
		CHECK(t->used < LBLOCK_SIZE && t->file_pos + t->used == p->segment_pos);
	}
}

static void check_appends(struct part *p)
{
	int64_t next = p->high_watermark;
	list_for_each (it, &p->appends) {
		struct part_op *op = list_entry(it, struct part_op, node);
		CHECK(op->active && op->kind == PART_APPEND && op->append.base_offset == next);
		CHECK(op->append.last_offset >= op->append.base_offset);
		next = op->append.last_offset + 1;
	}
	CHECK(next == p->log_end_offset);
	next = p->high_watermark;
	int64_t segment = p->durable_segment;
	uint64_t pos = p->durable_pos;
	const struct st_req *r = p->append_req;
	struct list *it = &p->runs;
	for (;;) {
		if (r) {
			CHECK(r->op == ST_APPEND && r->user == p && r->append.base_offset == next);
			CHECK(r->append.segment == segment
					? r->append.pos == pos
					: r->append.pos == 0 && r->append.segment == next);
			CHECK(r->append.span.off == r->append.pos % LBLOCK_SIZE &&
				r->append.span.len > 0);
			next = r->append.last_offset + 1;
			segment = r->append.segment;
			pos = r->append.pos + r->append.span.len;
		}
		it = it->next;
		if (it == &p->runs)
			break;
		r = list_entry(it, struct st_req, node);
	}
	CHECK(next == p->log_end_offset);
	/* after an append that was to begin a segment was taken back, that segment is empty */
	CHECK((segment == p->segment && pos == p->segment_pos) ||
		(p->segment_pos == 0 && p->segment == p->log_end_offset && p->segment >= segment));
}

/* Reads that are under way. */
static uint32_t check_chunks(struct part *p)
{
	uint32_t reads = 0;
	bool ahead = false;
	list_for_each (it, &p->chunks) {
		struct part_chunk *ch = list_entry(it, struct part_chunk, part_node);
		CHECK(ch->part == p && ch->block_count > 0 && list_linked(&ch->node));
		CHECK(ch->req || lspan_blocks(ch->span) == ch->block_count);
		CHECK(ch->req || ch->next_offset <= p->high_watermark);
		CHECK(!ch->req || ch->req->user == p);
		CHECK(!(ahead && ch->ahead && ch->req));
		ahead |= ch->ahead && ch->req;
		reads += ch->req ? 1 : 0;
	}
	CHECK(ahead == p->reading_ahead);
	return reads;
}

static void check_release(const struct part *p)
{
	bool all = p->released.segment == INT64_MAX;
	CHECK(all || p->released.segment < p->durable_segment ||
		(p->released.segment == p->durable_segment && p->released.pos <= p->durable_pos));
	CHECK(!all || p->state == PART_OFFLINE || p->state == PART_CLOSING);
	CHECK(!all || !p->held);
	bool holds = p->held && !p->filling && p->state == PART_LEADER;
	CHECK(list_linked(&p->holder) == holds);
}

void part_env_check(const struct part_env *cenv)
{
	struct part_env *env = (struct part_env *)cenv; /* the lists are walked, not changed */
	uint64_t cached = 0;
	uint64_t held = 0;
	uint32_t cold = 0;
	uint32_t reads = 0;
	list_for_each (it, &env->cached) {
		struct lblock *b = list_entry(it, struct lblock, cache_node);
		CHECK(part_block_is_released(b->owner, b));
		cached++;
	}
	list_for_each (it, &env->held) {
		struct lblock *b = list_entry(it, struct lblock, cache_node);
		CHECK(!part_block_is_released(b->owner, b));
		held++;
	}
	CHECK(cached == env->cached_blocks && held == env->held_blocks);
	for (uint32_t i = 0; i < env->blocks->count; i++)
		cold += env->blocks->blocks[i].refs > 0 && env->blocks->blocks[i].owner == env;
	CHECK(cold == env->cold_blocks);
	list_for_each (it, &env->chunks) {
		struct part_chunk *ch = list_entry(it, struct part_chunk, node);
		CHECK(list_linked(&ch->part_node));
		reads += ch->req ? 1 : 0;
	}
	CHECK(reads == env->cold_reads);
}

static void check_producers(struct part *p)
{
	uint32_t count = 0;
	CHECK(list_empty(&p->early) ||
		(p->history != PART_HISTORY_KNOWN && p->state == PART_LEADER));
	CHECK((p->history_blocks != NULL) == (p->history_req != NULL));
	list_for_each (it, &p->duplicates) {
		struct part_op *op = list_entry(it, struct part_op, node);
		CHECK(op->append.last_offset >= p->high_watermark &&
			op->append.last_offset < p->log_end_offset);
	}
	list_for_each (it, &p->producers) {
		const struct producer *pr = list_entry(it, struct producer, node);
		const struct producer_batch *b = &pr->placed.batches[pr->placed.count - 1];
		CHECK(pr->part == p && pr->placed.count > 0);
		CHECK(b->base_offset + b->last_delta < p->log_end_offset);
		count++;
	}
	CHECK(count == p->producer_count && count <= PRODUCERS_PER_PART);
}

void part_check(const struct part *cp)
{
	struct part *p = (struct part *)cp; /* the lists are walked, not changed */
	CHECK(p->log_start_offset <= p->high_watermark && p->high_watermark <= p->log_end_offset);
	CHECK(p->durable_segment <= p->segment);
	check_release(p);
	uint32_t reads = check_chunks(p);
	uint32_t stalled_appends = 0;
	list_for_each (it, &p->reads) {
		struct part_op *op = list_entry(it, struct part_op, node);
		CHECK(op->active && op->req);
		CHECK(op->kind == PART_FETCH || op->kind == PART_LIST || op->kind == PART_TRIM ||
			op->kind == PART_SIZE);
		reads += op->kind != PART_FETCH;
	}
	list_for_each (it, &p->waits) {
		struct part_op *op = list_entry(it, struct part_op, node);
		CHECK(op->active && op->kind == PART_WAIT && op->wait.offset >= p->high_watermark);
	}
	list_for_each (it, &p->stalled)
		stalled_appends += list_entry(it, struct part_op, node)->kind == PART_APPEND;
	CHECK(stalled_appends == p->stalled_appends);
	check_producers(p);
	CHECK(p->reqs_out == reads + (p->append_req ? 1 : 0) + (p->tail_loading ? 1 : 0) +
				     (p->history_req ? 1 : 0) + (p->noting ? 1 : 0) +
				     part_upkeep_out(p));
	CHECK(p->append_req || (list_empty(&p->runs) && list_empty(&p->appends)));
	CHECK(p->state == PART_LEADER || (list_empty(&p->waits) && list_empty(&p->cold)));
	CHECK(list_linked(&p->in_line) == !list_empty(&p->cold));
	CHECK(p->state == PART_LEADER || p->state == PART_OPENING || list_empty(&p->stalled));
	if (p->state != PART_OPENING) {
		check_blocks(p);
		check_appends(p);
	}
}
