/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Appends: validate, stamp, copy once into log blocks, gather into runs, ask the storage, answer
 * when durable.
 *
 *   segment:  │ durable ........│ at the storage .....│ gathered (runs) ....│
 *             └─────────────────┴─────────────────────┴─────────────────────┴──
 *                     high_watermark                              log_end_offset
 *
 * A run is an st_req that is still being filled: the batches of one segment that came while another
 * append of the partition was at the storage. Order of offsets = order of positions = order of
 * completion.
 */
#include <string.h>

#include "base/crc.h"
#include "kafka/batch.h"
#include "partition/part_int.h"

/* A run does not grow beyond this; the next batch begins another one. */
#define RUN_MAX_BYTES (16u << 20)
#define DISK_FULL "the disk is full"

/* Where a batch will go. */
struct place {
	bool roll;	 /* to a new segment */
	uint32_t at;	 /* offset in the tail block; 0: begins a block */
	uint32_t blocks; /* new blocks needed */
	bool room;	 /* there are as many */
	struct st_req *run;
	bool run_is_new;
};

static bool wants_roll(const struct part *p, uint32_t len, int64_t now_ms)
{
	if (p->segment_pos == 0)
		return false;
	if (p->roll_next || p->segment_pos + len > p->config.segment_bytes)
		return true;
	return p->segment_ms >= 0 && now_ms - p->segment_ms >= p->config.segment_ms;
}

/* Asks for the image of the last, partial block, when the batch it is for will find room too. False
 * when there is no room. */
static bool tail_load(struct part *p, uint32_t blocks, struct part_out *out)
{
	struct part_env *env = p->env;
	if (!part_env_make_room(env, 1 + blocks, out))
		return false;
	if (list_empty(&env->free_reqs))
		return true;
	struct st_req *r = part_req_get(p, ST_TAIL);
	p->tail_loading = lblock_get(env->blocks);
	r->tail.block = p->tail_loading;
	part_req_send(p, r, out);
	return true;
}

void part_tail_stored(struct part *p, struct st_req *r, struct part_out *out)
{
	struct lblock *b = r->tail.block;
	enum st_err err = r->err;
	CHECK(b == p->tail_loading && !p->tail);
	p->tail_loading = NULL;
	part_req_put(p, r);
	if (err != ST_OK) {
		lblock_unref(p->env->blocks, b);
		part_set_offline(p, out);
		return;
	}
	b->segment = p->segment;
	b->file_pos = align_down(p->segment_pos, (uint64_t)LBLOCK_SIZE);
	b->used = (uint32_t)(p->segment_pos - b->file_pos);
	b->first_offset = p->log_end_offset; /* what begins earlier in it is not known */
	CHECK(p->high_watermark == p->log_end_offset && !p->last);
	part_cache_push(p, b);
	p->tail = b;
	part_cache_durable(p, b);
}

/* The run that the next batch of len bytes may join. */
static struct st_req *open_run(struct part *p, uint32_t len)
{
	if (list_empty(&p->runs))
		return NULL;
	struct st_req *r = list_entry(p->runs.prev, struct st_req, node);
	CHECK(r->append.segment == p->segment);
	return r->append.span.len + len <= RUN_MAX_BYTES ? r : NULL;
}

/* Finds room for len bytes. STALLED when something is missing; nothing has changed then. */
static enum part_step find_place(
	struct part *p, uint32_t len, int64_t now_ms, struct place *pl, struct part_out *out)
{
	struct part_env *env = p->env;
	pl->room = true;
	if (p->tail_loading)
		return PART_STEP_STALLED;
	pl->roll = wants_roll(p, len, now_ms);
	pl->at = pl->roll ? 0 : (uint32_t)(p->segment_pos % LBLOCK_SIZE);
	uint32_t room = pl->at ? LBLOCK_SIZE - pl->at : 0;
	pl->blocks = len > room ? (len - room + LBLOCK_SIZE - 1) / LBLOCK_SIZE : 0;
	if (pl->at > 0 && !p->tail) {
		pl->room = tail_load(p, pl->blocks, out);
		return PART_STEP_STALLED;
	}
	pl->run = pl->roll ? NULL : open_run(p, len);
	pl->run_is_new = !pl->run;
	if (pl->at > 0)
		part_cache_open(p, p->tail);
	pl->room = part_env_make_room(env, pl->blocks, out);
	if (!pl->room || (pl->run_is_new && list_empty(&env->free_reqs))) {
		if (pl->at > 0)
			part_cache_durable(p, p->tail);
		return PART_STEP_STALLED;
	}
	return PART_STEP_DONE;
}

/* What the broker changes in a batch: offset and epoch always, timestamps and CRC when it has to.
 * head: BATCH_HEADER_SIZE bytes, a copy of the batch's. */
static void stamp(const struct part *p, const struct part_op *op, const struct batch_info *info,
	int64_t now_ms, uint8_t *head)
{
	memcpy(head, op->append.data, BATCH_HEADER_SIZE);
	batch_set_base_offset(head, p->log_end_offset);
	batch_set_leader_epoch(head, p->leader_epoch);
	bool append_time = p->config.log_append_time;
	int64_t max_timestamp = append_time ? now_ms : info->max_timestamp;
	if (append_time == batch_is_log_append_time(head) &&
		max_timestamp == batch_max_timestamp(head))
		return;
	uint16_t attributes = batch_attributes(head) & (uint16_t)~BATCH_ATTR_LOG_APPEND_TIME;
	be16_put(head + 21, attributes | (append_time ? BATCH_ATTR_LOG_APPEND_TIME : 0));
	be64_put(head + 35, (uint64_t)max_timestamp);
	uint32_t crc = crc32c(0, head + 21, BATCH_HEADER_SIZE - 21);
	crc = crc32c(crc, op->append.data + BATCH_HEADER_SIZE, op->append.len - BATCH_HEADER_SIZE);
	be32_put(head + 17, crc);
}

/* Copies n bytes to the log's end. `base`: offset of the batch they belong to. */
static void put_bytes(struct part *p, int64_t base, const uint8_t *src, uint32_t n)
{
	while (n > 0) {
		uint32_t at = (uint32_t)(p->segment_pos % LBLOCK_SIZE);
		if (at == 0) {
			struct lblock *b = lblock_get(p->env->blocks);
			CHECK(b && !p->tail); /* find_place made room */
			b->segment = p->segment;
			b->file_pos = p->segment_pos;
			b->used = 0;
			b->first_offset = base;
			part_cache_push(p, b);
			p->tail = b;
		}
		uint32_t run = min_of(n, LBLOCK_SIZE - at);
		memcpy(p->tail->data + at, src, run);
		p->tail->used = at + run;
		p->segment_pos += run;
		src += run;
		n -= run;
		if (at + run == LBLOCK_SIZE)
			p->tail = NULL;
	}
}

/* Copies the batch into the log's blocks; the first of them. */
static struct lblock *put_batch(
	struct part *p, const struct place *pl, const uint8_t *head, const struct part_op *op)
{
	int64_t base = p->log_end_offset;
	struct lblock *begin = p->tail;
	put_bytes(p, base, head, BATCH_HEADER_SIZE);
	if (pl->at == 0)
		begin = p->last; /* a head fits into a new block */
	if (begin->first_batch == LBLOCK_NO_BATCH) {
		begin->first_batch = pl->at;
		begin->first_offset = base;
	}
	put_bytes(p, base, op->append.data + BATCH_HEADER_SIZE, op->append.len - BATCH_HEADER_SIZE);
	return begin;
}

/* Opens a run at the log's end. */
static void begin_run(struct part *p, struct place *pl, struct lblock *first, uint64_t pos)
{
	struct st_req *r = part_req_get(p, ST_APPEND);
	r->append.segment = p->segment;
	r->append.pos = pos;
	r->append.span = (struct lspan){.first = first, .off = pl->at, .len = 0};
	r->append.base_offset = p->log_end_offset;
	r->append.max_timestamp = -1;
	list_push_back(&p->runs, &r->node);
	pl->run = r;
}

static void roll(struct part *p)
{
	p->segment = p->log_end_offset;
	p->segment_pos = 0;
	p->segment_ms = -1;
	p->tail = NULL;
	p->roll_next = false;
}

/* Sends the oldest run when nothing is at the storage. */
static void send_run(struct part *p, struct part_out *out)
{
	struct list *n = p->append_req ? NULL : list_pop_front(&p->runs);
	if (!n)
		return;
	struct st_req *r = list_entry(n, struct st_req, node);
	lspan_ref(r->append.span);
	p->append_req = r;
	part_req_send(p, r, out);
}

static void place_batch(struct part *p, struct part_op *op, struct place *pl,
	const struct batch_info *info, int64_t now_ms)
{
	uint8_t head[BATCH_HEADER_SIZE];
	stamp(p, op, info, now_ms, head);
	if (pl->roll)
		roll(p);
	if (p->segment_pos == 0) {
		CHECK(p->segment == p->log_end_offset);
		p->segment_ms = now_ms;
	}
	uint64_t pos = p->segment_pos;
	struct lblock *first = put_batch(p, pl, head, op);
	if (pl->run_is_new)
		begin_run(p, pl, first, pos);
	struct st_req *r = pl->run;
	r->append.span.len += op->append.len;
	r->append.last_offset = p->log_end_offset + info->count - 1;
	r->append.max_timestamp = max_of(r->append.max_timestamp, batch_max_timestamp(head));
	op->append.base_offset = p->log_end_offset;
	op->append.last_offset = r->append.last_offset;
	op->append.log_append_time_ms = p->config.log_append_time ? now_ms : -1;
	part_producer_placed(p, op, now_ms);
	p->log_end_offset = r->append.last_offset + 1;
	list_push_back(&p->appends, &op->node);
}

/* The batch is there already: it is answered as it was, or will be, then. */
static void answer_duplicate(struct part *p, struct part_op *op,
	const struct producer_batch *original, struct part_out *out)
{
	op->append.base_offset = original->base_offset;
	op->append.last_offset = original->base_offset + original->last_delta;
	op->append.log_append_time_ms = original->append_time_ms;
	if (op->append.last_offset < p->high_watermark)
		part_finish(op, KE_NONE, out);
	else
		list_push_back(&p->duplicates, &op->node);
}

static int16_t validate(
	const struct part *p, struct part_op *op, int64_t now_ms, struct batch_info *info)
{
	const struct batch_limits lim = {
		.now_ms = now_ms,
		.before_max_ms = p->config.timestamp_before_max_ms,
		.after_max_ms = p->config.timestamp_after_max_ms,
		.max_bytes = (uint32_t)p->config.max_message_bytes,
		.log_append_time = p->config.log_append_time,
		.compacted = p->config.policy.compact,
		.no_zstd = op->append.no_zstd,
	};
	int16_t error =
		batch_validate(op->append.data, op->append.len, &lim, p->env->scratch, info);
	if (error) {
		op->append.bad_record = info->error_index;
		op->append.error_message = info->error_message;
		return error;
	}
	if (info->attributes & BATCH_ATTR_TRANSACTIONAL) {
		op->append.error_message = "there are no transactions";
		return KE_INVALID_TXN_STATE;
	}
	if (info->size > p->config.segment_bytes) {
		op->append.error_message = "batch is larger than segment.bytes";
		return KE_RECORD_LIST_TOO_LARGE;
	}
	return KE_NONE;
}

/* A batch as it is to be stored. */
static enum part_step append_batch(
	struct part *p, struct part_op *op, int64_t now_ms, struct part_out *out)
{
	struct place pl;
	struct batch_info info;
	if (op->append.len / LBLOCK_SIZE + 2 > p->env->blocks->count) {
		op->append.error_message = "batch is larger than the broker's memory for logs";
		part_finish(op, KE_MESSAGE_TOO_LARGE, out);
		return PART_STEP_DONE;
	}
	if (find_place(p, op->append.len, now_ms, &pl, out) == PART_STEP_STALLED) {
		if (pl.room || !p->env->disk_full)
			return PART_STEP_STALLED;
		op->append.error_message = DISK_FULL; /* nobody knows when there will be room */
		part_finish(op, KE_KAFKA_STORAGE_ERROR, out);
		return PART_STEP_DONE;
	}
	const struct producer_batch *original = NULL;
	int16_t error = validate(p, op, now_ms, &info);
	if (!error)
		error = part_producer_check(p, op->append.data, now_ms, &original);
	if ((error || original) && pl.at > 0)
		part_cache_durable(p, p->tail);
	if (error) {
		part_finish(op, error, out);
		return PART_STEP_DONE;
	}
	if (original) {
		answer_duplicate(p, op, original, out);
		return PART_STEP_DONE;
	}
	place_batch(p, op, &pl, &info, now_ms);
	send_run(p, out);
	if (pl.roll)
		part_upkeep_rolled(p, now_ms, out);
	return PART_STEP_DONE;
}

/* The topic has a codec of its own, and this batch another one. */
static bool wants_recode(const struct part *p, const struct part_op *op)
{
	return p->config.recode > 0 && p->env->recode && op->append.len >= BATCH_HEADER_SIZE &&
	       batch_codec(op->append.data) != (enum codec)(p->config.recode - 1);
}

/* compression.type (KIP-390 for the level): the batch is checked as it came, then stored as the
 * topic wants it, if it still is not too large. */
static enum part_step append_recoded(
	struct part *p, struct part_op *op, int64_t now_ms, struct part_out *out)
{
	struct batch_info info;
	if (p->tail_loading)
		return PART_STEP_STALLED;
	int16_t error = validate(p, op, now_ms, &info);
	uint32_t room = min_of(p->env->recode_size, (uint32_t)p->config.max_message_bytes);
	uint32_t size =
		error ? 0
		      : batch_recode(op->append.data, p->config.recode - 1, p->config.recode_level,
				p->env->scratch, p->env->recode, room);
	if (size == 0) {
		if (!error)
			op->append.error_message = "batch is too large once it is compressed anew";
		part_finish(op, error ? error : KE_MESSAGE_TOO_LARGE, out);
		return PART_STEP_DONE;
	}
	const uint8_t *data = op->append.data;
	uint32_t len = op->append.len;
	bool no_zstd = op->append.no_zstd;
	op->append.data = p->env->recode;
	op->append.len = size;
	op->append.no_zstd = false;
	p->env->recoded++;
	enum part_step step = append_batch(p, op, now_ms, out);
	op->append.data = data;
	op->append.len = len;
	op->append.no_zstd = no_zstd;
	return step;
}

enum part_step part_try_append(
	struct part *p, struct part_op *op, int64_t now_ms, struct part_out *out)
{
	op->append.base_offset = op->append.last_offset = -1;
	op->append.log_append_time_ms = -1;
	op->append.log_start_offset = p->log_start_offset;
	op->append.bad_record = -1;
	op->append.error_message = NULL;
	if (p->history != PART_HISTORY_KNOWN && part_history_wants(p, op)) {
		list_push_back(&p->early, &op->node);
		part_history_begin(p, now_ms, out);
		return PART_STEP_DONE;
	}
	return wants_recode(p, op) ? append_recoded(p, op, now_ms, out)
				   : append_batch(p, op, now_ms, out);
}

/* The run that came back is durable: moves the high watermark and finishes what waited for it. */
static void advance(struct part *p, const struct st_req *r, int64_t now_ms, struct part_out *out)
{
	CHECK(r->append.base_offset == p->high_watermark);
	if (r->append.segment == p->segment)
		p->durable_ms = p->segment_ms;
	else if (r->append.segment != p->durable_segment)
		p->durable_ms = now_ms;
	p->durable_segment = r->append.segment;
	p->durable_pos = r->append.pos + r->append.span.len;
	p->high_watermark = r->append.last_offset + 1;
	part_released(p, r->append.released);
	struct lblock *b = r->append.span.first;
	for (uint32_t n = lspan_blocks(r->append.span); n > 0; n--, b = b->next)
		part_cache_durable(p, b);
	list_for_each_safe (it, &p->appends) {
		struct part_op *op = list_entry(it, struct part_op, node);
		if (op->append.last_offset >= p->high_watermark)
			break;
		list_remove(it);
		part_producer_durable(p, op);
		part_finish(op, KE_NONE, out);
	}
	list_for_each_safe (it, &p->duplicates) {
		struct part_op *op = list_entry(it, struct part_op, node);
		if (op->append.last_offset >= p->high_watermark)
			continue;
		list_remove(it);
		part_finish(op, KE_NONE, out);
	}
	p->unnoted_bytes += r->append.span.len;
	list_for_each_safe (it, &p->waits) {
		struct part_op *op = list_entry(it, struct part_op, node);
		if (op->wait.offset >= p->high_watermark)
			continue;
		list_remove(it);
		part_finish(op, KE_NONE, out);
	}
}

static void refuse_all(struct list *appends, const char *why, struct part_out *out)
{
	list_for_each (it, appends) {
		struct part_op *op = list_entry(it, struct part_op, node);
		op->append.base_offset = op->append.last_offset = -1;
		op->append.log_append_time_ms = -1;
		op->append.error_message = why;
	}
	part_finish_all(appends, KE_KAFKA_STORAGE_ERROR, out);
}

void part_append_rewind(
	struct part *p, int64_t segment, uint64_t pos, const char *why, struct part_out *out)
{
	CHECK(!p->append_req);
	struct list *n;
	while ((n = list_pop_front(&p->runs)))
		part_req_put(p, list_entry(n, struct st_req, node));
	while (p->last && (p->last->segment > segment ||
				  (p->last->segment == segment && p->last->file_pos >= pos)))
		part_cache_pop(p);
	if (p->segment != segment || pos == 0)
		p->segment_ms = pos > 0 ? p->durable_ms : -1;
	p->segment = segment;
	p->segment_pos = pos;
	p->tail = NULL;
	uint32_t at = (uint32_t)(pos % LBLOCK_SIZE);
	if (at > 0 && p->last) { /* it holds the last durable bytes: as it was before */
		CHECK(p->last->segment == segment && p->last->file_pos + at == pos);
		p->tail = p->last;
		p->tail->used = at;
		if (p->tail->first_batch != LBLOCK_NO_BATCH && p->tail->first_batch >= at)
			p->tail->first_batch = LBLOCK_NO_BATCH;
		part_cache_durable(p, p->tail);
	}
	p->log_end_offset = p->high_watermark;
	list_for_each (it, &p->appends)
		part_producer_rewound(p, list_entry(it, struct part_op, node));
	refuse_all(&p->appends, why, out);
	refuse_all(&p->duplicates, why, out);
}

void part_append_stored(struct part *p, struct st_req *r, int64_t now_ms, struct part_out *out)
{
	CHECK(r == p->append_req);
	p->append_req = NULL;
	if (r->err == ST_OK) {
		advance(p, r, now_ms, out);
		part_history_upkeep(p, now_ms, out);
	}
	lspan_unref(p->env->blocks, r->append.span);
	if (r->err != ST_OK) {
		const char *why = r->err == ST_E_NOSPACE ? DISK_FULL : NULL;
		part_append_rewind(p, r->append.segment, r->append.pos, why, out);
		if (r->err != ST_E_NOSPACE)
			part_set_offline(p, out);
	}
	part_req_put(p, r);
	if (p->state == PART_OFFLINE)
		part_append_rewind(p, p->durable_segment, p->durable_pos, NULL, out);
	else
		send_run(p, out);
}
