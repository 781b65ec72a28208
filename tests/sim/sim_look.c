/* SPDX-License-Identifier: Apache-2.0 */
#include "sim_look.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "kafka/batch.h"

#define LOOK_BLOCKS 64u
#define READ_BLOCKS 6u

struct look {
	const struct rig *g;
	struct sim_disk *disk;
	struct sim_api api;
	uint64_t seed, now_us;
	uint8_t *staging, *own_staging, *memory;
	struct lblock_pool pool;
	struct st_req req;
	struct look_log logs[RIG_LOGS];
	uint8_t *read_ok[RIG_LOGS]; /* per batch; with harm */
	bool harm, started, refused, broken;
	char what[400];
};

void look_wrong(struct look *k, const char *fmt, ...)
{
	if (k->broken)
		return;
	k->broken = true;
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(k->what, sizeof(k->what), fmt, ap);
	va_end(ap);
}

struct look *look_new(const struct rig *g, struct sim_disk *disk, uint64_t seed, uint64_t now_us,
	uint8_t *staging)
{
	struct look *k = calloc(1, sizeof(*k));
	CHECK(k);
	k->g = g;
	k->own_staging = staging ? NULL : aligned_alloc(4096, SIM_API_STAGING);
	k->staging = staging ? staging : k->own_staging;
	k->memory = aligned_alloc(4096, LOOK_BLOCKS * LBLOCK_SIZE);
	CHECK(k->staging && k->memory);
	CHECK(lblock_pool_init(&k->pool, k->memory, LBLOCK_SIZE * LOOK_BLOCKS) == 0);
	look_reset(k, disk, seed, now_us);
	return k;
}

void look_drop(struct look *k)
{
	if (!k->started)
		return;
	sim_disk_cut(k->disk, true);
	sim_api_drop(&k->api);
	sim_disk_restart(k->disk);
	k->started = false;
}

void look_reset(struct look *k, struct sim_disk *disk, uint64_t seed, uint64_t now_us)
{
	look_drop(k);
	k->disk = disk;
	k->seed = seed;
	k->now_us = now_us;
	k->harm = k->refused = k->broken = false;
	memset(k->logs, 0, sizeof(k->logs));
	for (uint32_t i = 0; i < RIG_LOGS; i++) {
		free(k->read_ok[i]);
		k->read_ok[i] = NULL;
	}
	if (k->pool.free_count == k->pool.count)
		return;
	lblock_pool_fini(&k->pool);
	CHECK(lblock_pool_init(&k->pool, k->memory, LBLOCK_SIZE * LOOK_BLOCKS) == 0);
}

void look_free(struct look *k)
{
	look_reset(k, NULL, 0, 0);
	lblock_pool_fini(&k->pool);
	free(k->own_staging);
	free(k->memory);
	free(k);
}

void look_allow_harm(struct look *k)
{
	k->harm = true;
}

bool look_is_broken(const struct look *k)
{
	return k->broken;
}

bool look_is_refused(const struct look *k)
{
	return k->refused;
}

const char *look_what(const struct look *k)
{
	return k->what;
}

const struct look_log *look_log(const struct look *k, uint32_t index)
{
	return &k->logs[index];
}

bool look_has_read(const struct look *k, uint32_t log, uint32_t batch)
{
	return k->read_ok[log] && k->read_ok[log][batch];
}

uint64_t look_now_us(const struct look *k)
{
	return k->now_us;
}

struct sim_api look_take_api(struct look *k)
{
	CHECK(k->started);
	k->started = false;
	return k->api;
}

/* Asks, and goes on until there is an answer. False: there is none. */
static bool ask(struct look *k, struct st_req *r)
{
	struct list done;
	list_init(&done);
	sim_api_ask(&k->api, r);
	for (uint32_t idle = 0; idle < 200;) {
		sim_api_step(&k->api, RIG_T0 + (int64_t)(k->now_us / 1000), k->now_us, &done);
		if (sim_disk_is_stopped(k->disk))
			return false;
		if (!list_empty(&done))
			return true;
		uint64_t t = sim_disk_next_us(k->disk);
		if (t == UINT64_MAX) {
			t = k->now_us + 50 * 1000;
			idle++;
		}
		k->now_us = max_of(k->now_us, t);
		sim_disk_set_time(k->disk, k->now_us);
	}
	look_wrong(k, "operation %d is never answered", r->op);
	return false;
}

static bool start(struct look *k)
{
	struct sim_api_config cfg = {
		.io = sim_disk_io(k->disk),
		.dir_count = k->g->dir_count,
		.seed = k->seed,
		.max_logs = RIG_LOGS,
		.journal_bytes = k->g->journal_bytes,
		.staging = k->staging,
	};
	char dirs[RIG_DIRS][256], err[512] = "";
	memcpy(dirs, k->g->dirs, sizeof(dirs));
	cfg.dirs = dirs;
	k->started = true;
	if (sim_api_start(&k->api, &cfg, err, sizeof(err)) && !sim_disk_is_stopped(k->disk))
		return true;
	if (sim_disk_is_stopped(k->disk))
		return false;
	k->refused = true;
	if (!k->harm || !err[0])
		look_wrong(k, "the start is refused: %s", err);
	return false;
}

/* --- a log ------------------------------------------------------------------------------- */

static bool is_boundary(const struct rig_log *l, int64_t offset)
{
	if (offset == 0)
		return true;
	const struct rig_batch *b = rig_batch_at(l, offset - 1);
	return b && b->base + b->count == offset;
}

static void check_absent(struct look *k, const struct rig_log *l, const struct look_log *f)
{
	char buf[64];
	if (f->err != ST_E_NOT_FOUND) {
		if (!k->harm)
			look_wrong(k, "%s: does not open: error %d", rig_log_name(l, buf), f->err);
		return;
	}
	bool promised = l->acked > 0 || l->start_acked > 0;
	if (promised && !l->delete_asked)
		look_wrong(k, "%s is not there: %lld records are lost", rig_log_name(l, buf),
			(long long)(rig_acked_end(l) - l->start_acked));
}

static void check_range(struct look *k, const struct rig_log *l, const struct look_log *f)
{
	char buf[64];
	rig_log_name(l, buf);
	if (l->delete_acked)
		look_wrong(k, "%s was deleted, and is back", buf);
	if (f->damaged) {
		if (!k->harm)
			look_wrong(k, "%s is called damaged", buf);
		return;
	}
	if (f->end < rig_acked_end(l))
		look_wrong(k, "%s ends at %lld: %lld was acknowledged", buf, (long long)f->end,
			(long long)rig_acked_end(l));
	if (!is_boundary(l, f->end))
		look_wrong(k, "%s ends at %lld, where no batch ends", buf, (long long)f->end);
	if (f->start < l->start_acked || f->start > l->start_asked || f->start > f->end)
		look_wrong(k, "%s starts at %lld: not in [%lld, %lld] or behind its end %lld", buf,
			(long long)f->start, (long long)l->start_acked, (long long)l->start_asked,
			(long long)f->end);
}

static void open_log(struct look *k, const struct rig_log *l, struct look_log *f)
{
	struct st_req *r = &k->req;
	char buf[64];
	*r = (struct st_req){.op = ST_OPEN};
	snprintf(r->open.topic, sizeof(r->open.topic), "t%u", l->slot);
	r->open.topic_id = l->id;
	r->open.partition = (int32_t)l->slot;
	r->open.dir = l->dir;
	if (!ask(k, r))
		return;
	f->err = r->err;
	f->there = r->err == ST_OK;
	if (!f->there) {
		check_absent(k, l, f);
		return;
	}
	f->handle = r->log;
	f->damaged = r->open.damaged;
	f->dir = r->open.dir;
	f->start = r->open.log_start_offset;
	f->end = r->open.log_end_offset;
	f->segment = r->open.segment;
	f->pos = r->open.segment_pos;
	check_range(k, l, f);
	if (!f->damaged && f->end > f->start && r->open.leader_epoch != RIG_EPOCH)
		look_wrong(k, "%s: leader epoch %d", rig_log_name(l, buf), r->open.leader_epoch);
	if (k->harm)
		k->read_ok[l->index] = calloc(1, l->batch_count + 1);
}

static void give_back(struct look *k, struct lblock *b)
{
	for (struct lblock *after; b; b = after) {
		after = b->next;
		lblock_unref(&k->pool, b);
	}
}

/* One read at `at`; what is wrong with its bytes, or NULL. */
static const char *read_at(
	struct look *k, const struct rig_log *l, struct look_log *f, int64_t at, uint8_t *seen)
{
	struct st_req *r = &k->req;
	const char *bad = NULL;
	uint32_t blocks = READ_BLOCKS;
	for (;;) {
		*r = (struct st_req){.op = ST_READ, .log = f->handle};
		r->read.offset = at;
		r->read.limit = f->end;
		r->read.max_bytes = 64 * 1024;
		r->read.block_count = blocks;
		r->read.blocks = lblock_get_chain(&k->pool, blocks);
		CHECK(r->read.blocks);
		if (!ask(k, r))
			return NULL;
		if (r->err == ST_OK) {
			int64_t next = at;
			bad = rig_check_bytes(l, r->read.span, at, &next, seen);
			if (!bad && (next <= at || next > f->end || next != r->read.next_offset))
				bad = "another end than it says";
			if (!bad && r->read.base_offset > at && !l->compact)
				bad = "another base than it says";
			r->read.next_offset = next;
		}
		give_back(k, r->read.blocks);
		if (r->err != ST_E_SHORT || r->read.need <= blocks || r->read.need > LOOK_BLOCKS)
			return bad;
		blocks = r->read.need;
	}
}

/* The batch at `at` cannot be read: the offset behind it. */
static int64_t skip_unreadable(
	struct look *k, const struct rig_log *l, struct look_log *f, int64_t at)
{
	char buf[64];
	const struct rig_batch *b = rig_batch_at(l, at);
	if (!k->harm)
		look_wrong(k, "%s: a read at %lld is answered with error %d", rig_log_name(l, buf),
			(long long)at, k->req.err);
	f->unreadable++;
	return b ? b->base + b->count : f->end;
}

static void note_read(
	struct look *k, const struct rig_log *l, const struct look_log *f, int64_t from, int64_t to)
{
	for (uint32_t i = 0; k->read_ok[l->index] && i < l->batch_count; i++)
		if (l->batches[i].base < to && l->batches[i].base + l->batches[i].count > from)
			k->read_ok[l->index][i] = 1;
}

static void read_log(struct look *k, const struct rig_log *l, struct look_log *f)
{
	char buf[64];
	uint8_t *seen = l->compact && f->end > 0 ? calloc(1, (size_t)f->end) : NULL;
	for (int64_t at = f->start; at < f->end && !k->broken;) {
		const char *bad = read_at(k, l, f, at, seen);
		if (sim_disk_is_stopped(k->disk))
			break;
		if (bad)
			look_wrong(k, "%s: a read at %lld of [%lld, %lld) gives %s",
				rig_log_name(l, buf), (long long)at, (long long)f->start,
				(long long)f->end, bad);
		else if (k->req.err != ST_OK)
			at = skip_unreadable(k, l, f, at);
		else {
			note_read(k, l, f, at, k->req.read.next_offset);
			at = k->req.read.next_offset;
		}
	}
	if (seen && !k->harm && !k->broken && !sim_disk_is_stopped(k->disk)) {
		int64_t at = rig_check_keys(l, seen, f->start, f->end);
		if (at >= 0)
			look_wrong(k, "%s: record %lld is not there", rig_log_name(l, buf),
				(long long)at);
	}
	free(seen);
}

static bool is_fine(const struct look *k)
{
	return !k->broken && !k->refused && !sim_disk_is_stopped(k->disk);
}

bool look_all(struct look *k)
{
	if (!start(k))
		return false;
	for (uint32_t i = 0; i < k->g->log_count && is_fine(k); i++)
		open_log(k, &k->g->logs[i], &k->logs[i]);
	for (uint32_t i = 0; i < k->g->log_count && is_fine(k); i++)
		if (k->logs[i].there)
			read_log(k, &k->g->logs[i], &k->logs[i]);
	if (sim_disk_violation(k->disk))
		look_wrong(k, "%s", sim_disk_violation(k->disk));
	return is_fine(k);
}

/* --- samples ----------------------------------------------------------------------------- */

/* Appends one batch to the log's end, and reads it. */
static void append_one(struct look *k, const struct rig_log *l, struct look_log *f)
{
	char buf[64];
	struct st_req *r = &k->req;
	uint8_t mem[512];
	struct batch_build b;
	struct kbytes v = {.p = (const uint8_t *)"after", .len = 5};
	uint32_t off = (uint32_t)(f->pos % LBLOCK_SIZE);
	struct lblock *c = lblock_get_chain(&k->pool, 2);
	rig_log_name(l, buf);
	batch_build_begin(&b, mem, sizeof(mem));
	CHECK(batch_build_add(&b, RIG_T0 + f->end * 10, l->compact ? v : KBYTES_NULL, v, NULL, 0));
	uint32_t len = batch_build_finish(&b);
	batch_set_base_offset(mem, f->end);
	batch_set_leader_epoch(mem, RIG_EPOCH);
	for (struct lblock *at = c; at; at = at->next) {
		at->segment = f->segment;
		at->file_pos = f->pos - off + (at == c ? 0 : LBLOCK_SIZE);
	}
	if (off > 0) {
		*r = (struct st_req){.op = ST_TAIL, .log = f->handle, .tail.block = c};
		if (!ask(k, r))
			return;
		if (r->err != ST_OK)
			look_wrong(k, "%s: its tail does not come: error %d", buf, r->err);
	}
	uint32_t run = min_of(len, LBLOCK_SIZE - off);
	memcpy(c->data + off, mem, run);
	memcpy(c->next->data, mem + run, len - run);
	*r = (struct st_req){.op = ST_APPEND, .log = f->handle};
	r->append.segment = f->segment;
	r->append.pos = f->pos;
	r->append.span = (struct lspan){c, off, len};
	r->append.base_offset = r->append.last_offset = f->end;
	r->append.max_timestamp = RIG_T0 + f->end * 10;
	if (!ask(k, r))
		return;
	if (r->err != ST_OK)
		look_wrong(k, "%s: an append at %lld is answered with error %d", buf,
			(long long)f->end, r->err);
	*r = (struct st_req){.op = ST_READ, .log = f->handle};
	r->read.offset = f->end;
	r->read.limit = f->end + 1;
	r->read.block_count = 2;
	r->read.max_bytes = 1000;
	struct lblock *to = r->read.blocks = lblock_get_chain(&k->pool, 2);
	if (k->broken || !ask(k, r))
		return;
	uint8_t back[512];
	if (r->err == ST_OK && r->read.span.len == len)
		lspan_copy(r->read.span, 0, back, len);
	if (r->err != ST_OK || r->read.span.len != len || memcmp(back, mem, len) != 0)
		look_wrong(k,
			"%s: what was appended at %lld after the start is not read back (error %d)",
			buf, (long long)f->end, r->err);
	f->end++;
	f->pos += len;
	give_back(k, to); /* the appended ones stay: they are not released */
}

bool look_append(struct look *k)
{
	uint32_t room = 4;
	for (uint32_t i = 0; i < k->g->log_count && is_fine(k) && room > 0; i++) {
		struct look_log *f = &k->logs[i];
		if (!f->there || f->damaged)
			continue;
		append_one(k, &k->g->logs[i], f);
		room--;
	}
	return is_fine(k);
}

bool look_times(struct look *k)
{
	char buf[64];
	struct st_req *r = &k->req;
	for (uint32_t i = 0; i < k->g->log_count && is_fine(k); i++) {
		const struct look_log *f = &k->logs[i];
		const struct rig_log *l = &k->g->logs[i];
		if (!f->there || f->end <= f->start || l->compact)
			continue;
		int64_t want = f->start + (f->end - f->start) / 2;
		for (int last = 0; last < 2 && is_fine(k); last++) {
			*r = (struct st_req){.op = ST_LOOKUP, .log = f->handle};
			r->lookup.timestamp = last ? -1 : RIG_T0 + want * 10;
			r->lookup.limit = f->end;
			want = last ? f->end - 1 : want;
			if (ask(k, r) && (r->err != ST_OK || r->lookup.offset != want ||
						 r->lookup.record_timestamp != RIG_T0 + want * 10))
				look_wrong(k,
					"%s: time %lld is looked up as %lld (error %d), not %lld",
					rig_log_name(l, buf), (long long)r->lookup.timestamp,
					(long long)r->lookup.offset, r->err, (long long)want);
		}
	}
	return is_fine(k);
}
