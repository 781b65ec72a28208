/* SPDX-License-Identifier: Apache-2.0 */
/* Requests to the engine and their answers: what was promised goes into the book. */
#include "sim_rig.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "kafka/batch.h"
#include "sim_look.h"

void rig_broken(struct rig *g, const char *fmt, ...)
{
	if (g->broken)
		return;
	g->broken = true;
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(g->what, sizeof(g->what), fmt, ap);
	va_end(ap);
}

bool rig_is_over(const struct rig *g)
{
	return g->broken || sim_disk_is_stopped(g->disk);
}

int64_t rig_now_ms(const struct rig *g)
{
	return RIG_T0 + (int64_t)(g->now_us / 1000);
}

const char *rig_log_name(const struct rig_log *l, char buf[64])
{
	snprintf(buf, 64, "log %u (t%u, dir %u)", l->index, l->slot, l->dir);
	return buf;
}

int64_t rig_acked_end(const struct rig_log *l)
{
	if (l->acked == 0)
		return 0;
	const struct rig_batch *b = &l->batches[l->acked - 1];
	return b->base + b->count;
}

/* --- blocks ------------------------------------------------------------------------------ */

static void release(struct rig *g, struct rig_log *l, struct st_pos to)
{
	uint32_t n = 0;
	while (n < l->block_count) {
		const struct lblock *b = l->blocks[n];
		bool below = b->segment < to.segment ||
			     (b->segment == to.segment && b->file_pos + LBLOCK_SIZE <= to.pos);
		if (!below)
			break;
		if (b == l->tail)
			l->tail = NULL;
		lblock_unref(&g->pool, l->blocks[n++]);
	}
	l->block_count -= n;
	memmove(l->blocks, l->blocks + n, l->block_count * sizeof(l->blocks[0]));
}

static void release_all(struct rig *g, struct rig_log *l)
{
	for (uint32_t i = 0; i < l->block_count; i++)
		lblock_unref(&g->pool, l->blocks[i]);
	l->block_count = 0;
	l->tail = NULL;
}

static bool add_block(struct rig *g, struct rig_log *l, uint64_t pos)
{
	struct lblock *b = lblock_get(&g->pool);
	CHECK(b);
	struct lblock *last = l->block_count ? l->blocks[l->block_count - 1] : NULL;
	b->segment = l->segment;
	b->file_pos = align_down(pos, (uint64_t)LBLOCK_SIZE);
	b->used = 0;
	b->next = NULL;
	if (last && last->segment == b->segment && last->file_pos + LBLOCK_SIZE == b->file_pos)
		last->next = b;
	l->blocks[l->block_count++] = b;
	l->tail = b;
	return true;
}

void rig_log_rewind(struct rig *g, struct rig_log *l)
{
	for (uint32_t i = l->acked; i < l->batch_count; i++)
		free(l->batches[i].data);
	l->batch_count = l->acked;
	l->end = rig_acked_end(l);
	l->segment = l->pos = 0;
	if (l->refused) { /* it goes on there, in a new segment if that was to begin */
		l->segment = l->refused_at.segment;
		l->pos = l->refused_at.pos;
		l->refused = false;
	} else if (l->acked > 0) {
		const struct rig_batch *b = &l->batches[l->acked - 1];
		l->segment = b->segment;
		l->pos = b->pos + b->len;
	}
	l->tail = NULL;
	while (l->block_count > 0) {
		struct lblock *b = l->blocks[l->block_count - 1];
		if (b->segment < l->segment || (b->segment == l->segment && b->file_pos < l->pos)) {
			bool full = b->file_pos + LBLOCK_SIZE <= l->pos;
			l->tail = full || b->segment < l->segment ? NULL : b;
			b->next = NULL;
			break;
		}
		lblock_unref(&g->pool, b);
		l->block_count--;
	}
}

/* --- requests ---------------------------------------------------------------------------- */

static struct rig_req *req_get(struct rig *g, struct rig_log *l, enum st_op op)
{
	for (uint32_t i = 0; i < RIG_REQS; i++) {
		struct rig_req *q = &g->reqs[i];
		if (q->busy)
			continue;
		*q = (struct rig_req){.log = l, .busy = true};
		q->r.op = op;
		q->r.log = l->handle;
		q->r.user = q;
		return q;
	}
	return NULL;
}

static void ask(struct rig *g, struct rig_req *q)
{
	g->version++;
	g->stats.asked++;
	q->log->under_way++;
	sim_api_ask(&g->api, &q->r);
}

static bool is_ready(const struct rig_log *l)
{
	return l && l->state == RIG_OPEN && !l->refused;
}

static bool ask_open(struct rig *g, struct rig_log *l, bool create)
{
	struct rig_req *q = req_get(g, l, ST_OPEN);
	if (!q)
		return false;
	snprintf(q->r.open.topic, sizeof(q->r.open.topic), "t%u", l->slot);
	q->r.log = NULL;
	q->r.open.topic_id = l->id;
	q->r.open.partition = (int32_t)l->slot;
	q->r.open.dir = l->dir;
	q->r.open.create = create;
	l->state = RIG_OPENING;
	ask(g, q);
	return true;
}

struct rig_log *rig_create(struct rig *g, uint32_t slot, bool compact)
{
	struct rig_log *old = g->slots[slot];
	if (g->log_count == RIG_LOGS || (old && old->state != RIG_GONE))
		return NULL;
	struct rig_log *l = &g->logs[g->log_count];
	*l = (struct rig_log){.index = g->log_count,
		.slot = slot,
		.dir = (uint16_t)(slot % g->dir_count),
		.compact = compact};
	for (uint32_t i = 0; i < sizeof(l->id.b); i++)
		l->id.b[i] = (uint8_t)(l->index * 7 + i + 1);
	if (!ask_open(g, l, true))
		return NULL;
	g->log_count++;
	g->slots[slot] = l;
	return l;
}

bool rig_reopen(struct rig *g, struct rig_log *l)
{
	return l && l->state == RIG_CLOSED && ask_open(g, l, false);
}

static struct rig_batch *add_batch(struct rig *g, struct rig_log *l, uint32_t len)
{
	if (l->batch_count == l->batch_capacity) {
		l->batch_capacity = l->batch_capacity ? l->batch_capacity * 2 : 32;
		l->batches = realloc(l->batches, l->batch_capacity * sizeof(*l->batches));
		CHECK(l->batches);
	}
	struct rig_batch *b = &l->batches[l->batch_count++];
	*b = (struct rig_batch){.base = l->end,
		.count = batch_count(g->scratch),
		.len = len,
		.data = malloc(len),
		.segment = l->segment,
		.pos = l->pos};
	CHECK(b->data);
	memcpy(b->data, g->scratch, len);
	l->end += b->count;
	return b;
}

static struct lblock *put_bytes(struct rig *g, struct rig_log *l, const uint8_t *p, uint32_t len)
{
	struct lblock *first = NULL;
	while (len > 0) {
		uint32_t at = (uint32_t)(l->pos % LBLOCK_SIZE), run = min_of(len, LBLOCK_SIZE - at);
		if (at == 0)
			add_block(g, l, l->pos);
		first = first ? first : l->tail;
		memcpy(l->tail->data + at, p, run);
		l->tail->used = at + run;
		l->pos += run;
		p += run;
		len -= run;
		if (at + run == LBLOCK_SIZE)
			l->tail = NULL;
	}
	return first;
}

/* Brings the image of the last, partial block. */
static void load_tail(struct rig *g, struct rig_log *l)
{
	struct rig_req *q = l->under_way ? NULL : req_get(g, l, ST_TAIL);
	if (!q)
		return;
	release_all(g, l);
	add_block(g, l, l->pos);
	q->r.tail.block = l->tail;
	l->refused = true; /* nothing else until it is there */
	ask(g, q);
}

bool rig_append(struct rig *g, struct rig_log *l, const uint32_t *sizes, uint32_t count, bool roll)
{
	uint32_t bytes = LBLOCK_SIZE;
	for (uint32_t i = 0; i < count; i++)
		bytes += sizes[i] + 600;
	uint32_t blocks = bytes / LBLOCK_SIZE + 1;
	if (!is_ready(l) || l->block_count + blocks > RIG_LOG_BLOCKS ||
		g->pool.free_count < blocks + 8)
		return false;
	roll = l->pos > 0 && (roll || l->pos + bytes > g->segment_bytes + LBLOCK_SIZE);
	if (!roll && l->pos % LBLOCK_SIZE && !l->tail) {
		load_tail(g, l);
		return false;
	}
	struct rig_req *q = req_get(g, l, ST_APPEND);
	if (!q)
		return false;
	if (roll) {
		l->segment = l->end;
		l->pos = 0;
		l->tail = NULL;
	}
	q->r.append.segment = l->segment;
	q->r.append.pos = l->pos;
	q->r.append.base_offset = l->end;
	q->r.append.max_timestamp = -1;
	q->r.append.span = (struct lspan){.off = (uint32_t)(l->pos % LBLOCK_SIZE)};
	for (uint32_t i = 0; i < count; i++) {
		uint32_t len = rig_batch_make(g, l, sizes[i]);
		add_batch(g, l, len);
		struct lblock *first = put_bytes(g, l, g->scratch, len);
		if (i == 0)
			q->r.append.span.first = first;
		q->r.append.span.len += len;
		q->r.append.max_timestamp = batch_max_timestamp(g->scratch);
	}
	q->r.append.last_offset = l->end - 1;
	q->batches = count;
	l->appends++;
	lspan_ref(q->r.append.span);
	ask(g, q);
	return true;
}

bool rig_read(struct rig *g, struct rig_log *l, int64_t offset)
{
	struct rig_req *q = is_ready(l) && g->pool.free_count > 16 ? req_get(g, l, ST_READ) : NULL;
	if (!q)
		return false;
	q->r.read.offset = offset;
	q->r.read.limit = rig_acked_end(l);
	q->r.read.max_bytes = 20000;
	q->r.read.block_count = 7;
	q->r.read.blocks = lblock_get_chain(&g->pool, 7);
	ask(g, q);
	return true;
}

bool rig_trim(struct rig *g, struct rig_log *l, int64_t offset)
{
	struct rig_req *q = is_ready(l) ? req_get(g, l, ST_TRIM) : NULL;
	if (!q)
		return false;
	q->r.trim.offset = offset;
	l->start_asked = max_of(l->start_asked, offset);
	ask(g, q);
	return true;
}

static void policy(struct rig *g, struct rig_log *l, struct rig_req *q)
{
	q->r.retain.policy = (struct st_policy){.remove = true,
		.retention_ms = -1,
		.retention_bytes = -1,
		.segment_bytes = g->segment_bytes,
		.max_compaction_lag_ms = INT64_MAX};
	q->r.retain.limit = rig_acked_end(l);
	q->r.retain.now_ms = rig_now_ms(g) + 1000 * 1000;
}

bool rig_retain(struct rig *g, struct rig_log *l, int64_t bytes)
{
	struct rig_req *q = is_ready(l) ? req_get(g, l, ST_RETAIN) : NULL;
	if (!q)
		return false;
	policy(g, l, q);
	q->r.retain.policy.retention_bytes = bytes;
	l->start_asked = max_of(l->start_asked, q->r.retain.limit);
	ask(g, q);
	return true;
}

bool rig_clean(struct rig *g, struct rig_log *l)
{
	struct rig_req *q = is_ready(l) && l->compact ? req_get(g, l, ST_CLEAN) : NULL;
	if (!q)
		return false;
	policy(g, l, q);
	q->r.retain.policy.remove = false;
	q->r.retain.policy.compact = true;
	l->clean_limit = max_of(l->clean_limit, q->r.retain.limit);
	ask(g, q);
	return true;
}

bool rig_fill(struct rig *g, struct rig_log *l)
{
	struct rig_req *q = is_ready(l) && l->acked > 0 ? req_get(g, l, ST_FILL) : NULL;
	if (!q)
		return false;
	const struct rig_batch *b = &l->batches[l->acked - 1];
	q->r.fill.wanted = (struct st_pos){b->segment, b->pos + b->len};
	ask(g, q);
	return true;
}

static bool ask_last(struct rig *g, struct rig_log *l, enum st_op op)
{
	struct rig_req *q = is_ready(l) ? req_get(g, l, op) : NULL;
	if (!q)
		return false;
	l->state = RIG_CLOSING;
	l->delete_asked |= op == ST_DELETE;
	ask(g, q);
	return true;
}

bool rig_delete(struct rig *g, struct rig_log *l)
{
	return ask_last(g, l, ST_DELETE);
}

bool rig_close(struct rig *g, struct rig_log *l)
{
	return ask_last(g, l, ST_CLOSE);
}

/* --- answers ----------------------------------------------------------------------------- */

/* An error that is nobody's promise: only with faults. */
static bool excused(struct rig *g, struct rig_req *q)
{
	char buf[64];
	enum st_err e = q->r.err;
	if (e == ST_OK)
		return true;
	if ((e == ST_E_IO || e == ST_E_OFFLINE) && q->r.op != ST_OPEN)
		g->dir_failed[q->log->dir] = true;
	if (!g->rough)
		rig_broken(g, "%s: operation %d is answered with error %d",
			rig_log_name(q->log, buf), q->r.op, e);
	return false;
}

static void failed(struct rig *g, struct rig_log *l, const struct st_req *r)
{
	l->failed_op = r->op;
	l->failed_err = r->err;
	g->stats.failed++;
	l->state = l->state == RIG_CLOSING ? l->state : RIG_FAILED;
}

static void answer_open(struct rig *g, struct rig_req *q)
{
	char buf[64];
	struct rig_log *l = q->log;
	if (!excused(g, q)) {
		/* a log that is not open yet may be in the directory that is gone */
		l->state = l->exists ? RIG_CLOSED : RIG_GONE;
		return;
	}
	if (q->r.open.log_end_offset != rig_acked_end(l) ||
		q->r.open.log_start_offset < l->start_acked)
		rig_broken(g, "%s: opened with [%lld, %lld), not [%lld, %lld)",
			rig_log_name(l, buf), (long long)q->r.open.log_start_offset,
			(long long)q->r.open.log_end_offset, (long long)l->start_acked,
			(long long)rig_acked_end(l));
	l->handle = q->r.log;
	l->dir = q->r.open.dir;
	l->exists = true;
	l->state = RIG_OPEN;
	l->segment = q->r.open.segment;
	l->pos = q->r.open.segment_pos;
	l->end = q->r.open.log_end_offset;
}

static void answer_append(struct rig *g, struct rig_req *q)
{
	struct rig_log *l = q->log;
	l->appends--;
	lspan_unref(&g->pool, q->r.append.span);
	if (q->r.err == ST_OK) {
		if (l->refused)
			rig_broken(g, "an append behind a refused one is acknowledged");
		l->acked += q->batches;
		g->stats.acked_batches += q->batches;
		release(g, l, q->r.append.released);
	} else if (q->r.err == ST_E_NOSPACE && g->rough) {
		if (!l->refused)
			l->refused_at = (struct st_pos){q->r.append.segment, q->r.append.pos};
		l->refused = true;
		g->stats.refused++;
	} else {
		excused(g, q);
		failed(g, l, &q->r);
	}
	if (l->appends > 0)
		return;
	if (l->state == RIG_FAILED)
		release_all(g, l);
	else if (l->refused)
		rig_log_rewind(g, l);
}

static void answer_read(struct rig *g, struct rig_req *q)
{
	char buf[64];
	struct rig_log *l = q->log;
	int64_t next;
	if (q->r.err == ST_E_RANGE && q->r.read.offset < l->start_asked)
		goto out;
	if (!excused(g, q))
		goto out;
	g->stats.reads++;
	const char *wrong = rig_check_bytes(l, q->r.read.span, q->r.read.offset, &next, NULL);
	if (wrong || next > q->r.read.limit)
		rig_broken(g, "%s: a read at %lld gives %s", rig_log_name(l, buf),
			(long long)q->r.read.offset, wrong ? wrong : "more than the limit");
out:
	for (struct lblock *b = q->r.read.blocks, *after; b; b = after) {
		after = b->next;
		lblock_unref(&g->pool, b);
	}
}

static void answer_start_moved(struct rig *g, struct rig_req *q, int64_t start)
{
	char buf[64];
	struct rig_log *l = q->log;
	if (q->r.err == ST_E_LIMIT || !excused(g, q))
		return;
	if (start < l->start_acked || start > l->start_asked ||
		(q->r.op == ST_TRIM && start < q->r.trim.offset))
		rig_broken(g, "%s: operation %d moves the start to %lld, not to [%lld, %lld]",
			rig_log_name(l, buf), q->r.op, (long long)start, (long long)l->start_acked,
			(long long)l->start_asked);
	l->start_acked = max_of(l->start_acked, start);
	if (q->r.op == ST_CLEAN)
		g->stats.cleaned_bytes += q->r.retain.freed_bytes;
	*(q->r.op == ST_TRIM ? &g->stats.trims : &g->stats.cleans) += 1;
}

static void answer_last(struct rig *g, struct rig_req *q)
{
	struct rig_log *l = q->log;
	release_all(g, l);
	l->handle = NULL;
	bool ok = excused(g, q);
	l->state = RIG_CLOSED;
	if (q->r.op == ST_CLOSE)
		return;
	g->stats.deletes++;
	l->delete_acked = ok;
	l->state = ok ? RIG_GONE : RIG_FAILED;
}

static void answer(struct rig *g, struct rig_req *q)
{
	struct rig_log *l = q->log;
	g->version++;
	l->under_way--;
	q->busy = false;
	switch (q->r.op) {
	case ST_OPEN:
		answer_open(g, q);
		break;
	case ST_APPEND:
		answer_append(g, q);
		break;
	case ST_READ:
		answer_read(g, q);
		break;
	case ST_TRIM:
		answer_start_moved(g, q, q->r.trim.log_start_offset);
		break;
	case ST_RETAIN:
	case ST_CLEAN:
		answer_start_moved(g, q, q->r.retain.log_start_offset);
		break;
	case ST_TAIL:
		l->refused = false;
		if (!excused(g, q))
			failed(g, l, &q->r);
		break;
	case ST_FILL:
		if (excused(g, q))
			release(g, l, q->r.fill.released);
		break;
	case ST_LOOKUP:
	case ST_NOTE:
	case ST_SIZE:
		break;
	case ST_CLOSE:
	case ST_DELETE:
		answer_last(g, q);
		break;
	}
}

bool rig_step(struct rig *g)
{
	struct list done, *n;
	bool moved = false;
	list_init(&done);
	do {
		sim_api_step(&g->api, rig_now_ms(g), g->now_us, &done);
		if (sim_disk_is_stopped(g->disk))
			return false;
		moved = !list_empty(&done);
		while ((n = list_pop_front(&done)))
			answer(g, list_entry(n, struct st_req, node)->user);
		if (moved && g->promised)
			g->promised(g->promised_arg);
		if (sim_disk_violation(g->disk))
			rig_broken(g, "%s", sim_disk_violation(g->disk));
	} while (moved && !rig_is_over(g));
	return true;
}

bool rig_tick(struct rig *g)
{
	uint64_t t = sim_disk_next_us(g->disk);
	if (t == UINT64_MAX)
		return false;
	g->now_us = max_of(g->now_us, t);
	sim_disk_set_time(g->disk, g->now_us);
	rig_step(g);
	return true;
}

static uint32_t unanswered(const struct rig *g)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < RIG_REQS; i++)
		n += g->reqs[i].busy;
	return n;
}

bool rig_drain(struct rig *g)
{
	rig_step(g);
	while (!rig_is_over(g) && rig_tick(g)) {
	}
	for (uint32_t idle = 0; idle < 200 && unanswered(g) > 0 && !rig_is_over(g); idle++) {
		g->now_us += 50 * 1000; /* the engine may wait for a time */
		sim_disk_set_time(g->disk, g->now_us);
		rig_step(g);
		while (!rig_is_over(g) && rig_tick(g)) {
		}
	}
	for (uint32_t i = 0; i < RIG_REQS && !rig_is_over(g); i++) {
		char buf[64];
		if (g->reqs[i].busy)
			rig_broken(g, "%s: operation %d is never answered",
				rig_log_name(g->reqs[i].log, buf), g->reqs[i].r.op);
	}
	return !rig_is_over(g);
}

/* --- lives ------------------------------------------------------------------------------- */

void rig_init(struct rig *g, uint64_t seed, uint16_t dirs)
{
	memset(g, 0, sizeof(*g));
	g->seed = seed;
	g->rng.s = seed * 0x2545f4914f6cdd1dull + 3;
	g->disk = sim_disk_new(prng_next(&g->rng));
	g->dir_count = dirs;
	snprintf(g->dirs[0], sizeof(g->dirs[0]), "/a");
	snprintf(g->dirs[1], sizeof(g->dirs[1]), "/b");
	g->journal_bytes = 64 * 1024;
	g->segment_bytes = 40 * 1024;
	g->staging = aligned_alloc(4096, SIM_API_STAGING);
	g->memory = aligned_alloc(4096, (size_t)RIG_BLOCKS * LBLOCK_SIZE);
	g->scratch = malloc(2 * RIG_BATCH_MAX);
	CHECK(g->staging && g->memory && g->scratch);
	CHECK(lblock_pool_init(&g->pool, g->memory, (size_t)RIG_BLOCKS * LBLOCK_SIZE) == 0);
}

void rig_fini(struct rig *g)
{
	if (g->api.engine) {
		sim_disk_cut(g->disk, true);
		sim_api_drop(&g->api);
	}
	for (uint32_t i = 0; i < g->log_count; i++) {
		for (uint32_t k = 0; k < g->logs[i].batch_count; k++)
			free(g->logs[i].batches[k].data);
		free(g->logs[i].batches);
	}
	sim_disk_free(g->disk);
	lblock_pool_fini(&g->pool);
	free(g->staging);
	free(g->memory);
	free(g->scratch);
}

static bool stop(struct rig *g)
{
	sim_api_stop(&g->api);
	for (uint32_t idle = 0; !sim_api_is_stopped(&g->api) && idle < 200; idle++) {
		g->now_us += 50 * 1000;
		sim_disk_set_time(g->disk, g->now_us);
		rig_step(g);
		while (!rig_is_over(g) && rig_tick(g)) {
		}
	}
	if (!sim_api_is_stopped(&g->api)) {
		rig_broken(g, "the engine never stops");
		return false;
	}
	return sim_api_close(&g->api);
}

void rig_end(struct rig *g, enum rig_end how)
{
	if (how == RIG_END_CLEAN && rig_drain(g)) {
		bool clean = stop(g);
		if (!clean && !g->rough)
			rig_broken(g, "a clean stop is not clean");
	}
	sim_disk_cut(g->disk, g->api.engine && how != RIG_END_KILL);
	if (g->api.engine)
		sim_api_drop(&g->api);
	sim_disk_restart(g->disk);
	g->version++;
	memset(g->reqs, 0, sizeof(g->reqs));
	lblock_pool_fini(&g->pool);
	CHECK(lblock_pool_init(&g->pool, g->memory, (size_t)RIG_BLOCKS * LBLOCK_SIZE) == 0);
	for (uint32_t i = 0; i < g->log_count; i++) {
		struct rig_log *l = &g->logs[i];
		l->block_count = l->under_way = l->appends = 0;
		l->tail = NULL;
		l->handle = NULL;
		l->refused = false;
	}
	memset(g->dir_failed, 0, sizeof(g->dir_failed));
}

/* What the look found is what there is from now on. */
static void adopt(struct rig *g, struct rig_log *l, const struct look_log *f)
{
	if ((!f->there && f->err != ST_E_NOT_FOUND) || f->damaged || f->unreadable > 0) {
		bool gone = l->delete_acked || !l->exists;
		l->state = gone ? RIG_GONE : RIG_FAILED; /* the book stays as it is */
		l->failed_op = f->unreadable ? ST_READ : ST_OPEN;
		l->failed_err = f->unreadable ? ST_E_CORRUPT : f->err;
		l->handle = f->handle;
		return;
	}
	l->delete_asked = l->delete_asked && !f->there;
	l->delete_acked |= !f->there;
	l->state = RIG_GONE;
	if (!f->there)
		return;
	l->exists = true;
	l->dir = f->dir;
	l->state = RIG_OPEN;
	l->handle = f->handle;
	l->start_acked = l->start_asked = f->start;
	l->clean_limit = min_of(l->clean_limit, f->end);
	uint32_t n = 0;
	while (n < l->batch_count && l->batches[n].base < f->end)
		n++;
	l->acked = n;
	rig_log_rewind(g, l);
	l->segment = f->segment;
	l->pos = f->pos;
	l->end = f->end;
}

bool rig_start(struct rig *g)
{
	struct look *k = look_new(g, g->disk, g->seed, g->now_us, g->staging);
	if (g->rough)
		look_allow_harm(k);
	bool ok = look_all(k);
	g->now_us = look_now_us(k);
	g->stats.starts++;
	if (!ok) {
		if (!rig_is_over(g) && (look_is_broken(k) || !g->rough))
			rig_broken(g, "at a start: %s", look_what(k));
		look_free(k);
		return false;
	}
	for (uint32_t i = 0; i < g->log_count; i++)
		adopt(g, &g->logs[i], look_log(k, i));
	g->version++;
	g->api = look_take_api(k);
	look_free(k);
	return true;
}
