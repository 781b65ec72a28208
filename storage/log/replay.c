/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recovery of a lane: the newest checkpoint, then the groups of the journal that come after it. The
 * first group that is not valid is the end: it was being written when the process ended, and
 * nothing in it was acknowledged. A valid later group behind it would mean that acknowledged groups
 * are damaged: a group is written only after the one before it was flushed.
 *
 * Nothing is flushed here, and the journal stays as it is: a crash starts over from the same
 * checkpoint and writes the same bytes to the same places. The engine's next checkpoint makes it
 * permanent.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/crc.h"
#include "base/log.h"
#include "storage/format/ckpt.h"
#include "storage/format/jrnl.h"
#include "storage/log/log.h"

#define CKPT_FILE_MAX ((size_t)4 << 30)
#define SPILL_BYTES (256u * 1024u) /* pending bytes of a log that go to its segment at once */

struct replay {
	const struct store_place *at;
	struct store_lane *lane;
	struct log_env env;
	struct io_file *journal;
	struct log **by_number;
	uint32_t numbers;
	uint8_t *group; /* the group at lane->head */
	uint8_t *next;	/* and the one behind it */
	const char *why;
};

static int replay_path(const struct store_place *at, const char *name, char out[IO_PATH_MAX])
{
	int n = snprintf(out, IO_PATH_MAX, "%s/%s", at->path, name);
	return n > 0 && (size_t)n < IO_PATH_MAX ? 0 : -ENAMETOOLONG;
}

/* --- lists of logs ----------------------------------------------------------------------- */

int lane_add(struct store_lane *lane, struct log *l)
{
	if (lane->log_count == lane->log_capacity) {
		uint32_t capacity = lane->log_capacity ? lane->log_capacity * 2 : 16;
		struct log **p = realloc(lane->logs, capacity * sizeof(struct log *));
		if (!p)
			return -ENOMEM;
		lane->logs = p;
		lane->log_capacity = capacity;
	}
	lane->logs[lane->log_count++] = l;
	return 0;
}

void lane_fini(const struct store_place *at, struct store_lane *lane)
{
	struct log_env env = {.io = at->io, .store = at->store};
	list_init(&env.cold);
	for (uint32_t i = 0; i < lane->log_count; i++)
		log_free(&env, lane->logs[i]);
	free(lane->logs);
	*lane = (struct store_lane){0};
}

static int replay_number(struct replay *r, struct log *l)
{
	if (l->number >= r->numbers) {
		uint32_t n = max_of(l->number + 1, r->numbers * 2);
		struct log **p = realloc(r->by_number, n * sizeof(struct log *));
		if (!p)
			return -ENOMEM;
		for (uint32_t i = r->numbers; i < n; i++)
			p[i] = NULL;
		r->by_number = p;
		r->numbers = n;
	}
	r->by_number[l->number] = l;
	return 0;
}

/* Takes l, which gets into the lane at the end. */
static int replay_add(struct replay *r, struct log *l)
{
	int rc = l ? replay_number(r, l) : -ENOMEM;
	if (rc < 0 && l)
		log_free(&r->env, l);
	return rc;
}

static struct log *replay_log(const struct replay *r, uint32_t number)
{
	return number < r->numbers ? r->by_number[number] : NULL;
}

/* --- the checkpoint ---------------------------------------------------------------------- */

/* The slot's bytes when it is valid; *rc: -ENOENT, -EBADMSG, -EPROTO or -errno when NULL. */
static uint8_t *ckpt_load(const struct store_place *at, uint32_t slot, int *rc)
{
	char name[FMT_NAME_SIZE], path[IO_PATH_MAX];
	void *p;
	size_t length;
	fmt_ckpt_name(name, at->worker, slot);
	*rc = replay_path(at, name, path);
	if (*rc == 0)
		*rc = file_load(at->io, path, CKPT_FILE_MAX, &p, &length);
	if (*rc < 0)
		return NULL;
	enum fmt_verdict v = fmt_ckpt_check(p, length);
	const struct fmt_ckpt *c = p;
	if (v == FMT_OK && (!uuid_equal(&c->dir_id, at->dir_id) || c->worker != at->worker))
		v = FMT_DAMAGED;
	if (v == FMT_OK)
		return p;
	*rc = v == FMT_FOREIGN ? -EPROTO : -EBADMSG;
	free(p);
	return NULL;
}

/* The newer valid slot. A slot that is not valid was being written, or never has been. */
static uint8_t *ckpt_choose(const struct store_place *at, struct store_lane *lane, int *rc)
{
	int rcs[2];
	uint8_t *slots[2] = {ckpt_load(at, 0, &rcs[0]), ckpt_load(at, 1, &rcs[1])};
	*rc = 0;
	if (slots[0] && slots[1]) {
		const struct fmt_ckpt *a = (const void *)slots[0], *b = (const void *)slots[1];
		uint32_t old = a->seq > b->seq ? 1 : 0;
		free(slots[old]);
		slots[old] = NULL;
	}
	if (slots[0] || slots[1]) {
		lane->ckpt_slot = slots[0] ? 0 : 1;
		return slots[lane->ckpt_slot];
	}
	*rc = rcs[0] != -ENOENT ? rcs[0] : rcs[1];
	return NULL;
}

/*
 * Makes durable what the newest checkpoint is found in. A process that was killed may have written
 * it without having flushed it; what comes now relies on it, and writes over the other one.
 */
static int ckpt_settle(const struct store_place *at, uint32_t slot)
{
	char name[FMT_NAME_SIZE], path[IO_PATH_MAX];
	struct io_file *f;
	fmt_ckpt_name(name, at->worker, slot);
	int rc = replay_path(at, name, path);
	if (rc == 0)
		rc = at->io->api->open(at->io, path, IO_DIRECT, &f);
	if (rc < 0)
		return rc;
	rc = at->io->api->fsync(at->io, f);
	at->io->api->close(at->io, f);
	return rc < 0 ? rc : at->io->api->fsync_dir(at->io, at->path);
}

static int replay_checkpoint(struct replay *r, const uint8_t *p)
{
	const struct fmt_ckpt *c = (const void *)p;
	struct store_lane *lane = r->lane;
	struct ckpt_view v;
	uint64_t at = 0;
	lane->journal_id = c->journal_id;
	lane->head = lane->tail = c->journal_pos;
	lane->seq = c->journal_seq;
	lane->ckpt_seq = c->seq;
	lane->next_log = c->next_log;
	lane->clean = c->flags & CKPT_CLEAN;
	while (ckpt_next(p, &at, &v)) {
		int rc = replay_add(r, log_of_ckpt(r->at->dir, &v));
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* --- entries ----------------------------------------------------------------------------- */

/* Opens the segment for writing. A log whose files are gone was deleted, and the journal will come
 * to that; until then its bytes are counted, and go nowhere. */
static int replay_open_file(struct replay *r, struct log *l, struct segment *s)
{
	int rc = l->lost ? 0 : segment_open_file(&r->env, l, s);
	if (rc != -ENOENT)
		return rc;
	l->lost = true;
	return 0;
}

/* Writes the pending pages in front of `limit` to the segment. */
static int replay_spill_to(struct replay *r, struct log *l, struct segment *s, uint64_t limit)
{
	struct log_env *env = &r->env;
	int rc = replay_open_file(r, l, s);
	while (rc == 0 && s->fill_pos + FMT_PAGE <= limit) {
		size_t n = (size_t)min_of(
			align_down(limit - s->fill_pos, (uint64_t)FMT_PAGE), (uint64_t)LOG_SCRATCH);
		memcpy(env->scratch, s->tail, n);
		int64_t put = (int64_t)n;
		if (!l->lost)
			put = env->io->api->pwrite(env->io, s->file, env->scratch, n, s->fill_pos);
		if (put != (int64_t)n)
			return put < 0 ? (int)put : -EIO;
		memmove(s->tail, s->tail + n, (size_t)segment_pending(s) - n);
		s->fill_pos += n;
		s->file_size = max_of(s->file_size, s->fill_pos);
		s->file_dirty = !l->lost;
	}
	if (segment_pending(s) == 0) {
		free(s->tail);
		s->tail = NULL;
	}
	return rc;
}

/* Writes the whole pages that are pending. What is left is less than a page. */
static int replay_spill(struct replay *r, struct log *l, struct segment *s)
{
	return replay_spill_to(r, l, s, s->end_pos);
}

/* The segment that bytes at (segment, pos) continue; rolls to it. NULL: they do not fit. */
static struct segment *replay_segment(
	struct replay *r, struct log *l, const struct fmt_jrnl_entry *e)
{
	struct segment *s = log_active(l);
	if (e->segment == s->base_offset)
		return e->pos == s->end_pos ? s : NULL;
	if (e->segment != s->end_offset || e->pos != 0 || s->end_pos == 0)
		return NULL;
	if (segment_pending(s) >= FMT_PAGE && replay_spill(r, l, s) < 0)
		return NULL;
	return log_roll(l, e->segment, s->created_ms) == 0 ? log_active(l) : NULL;
}

/* Takes in n bytes of whole batches at the end of s. */
static int replay_batches(struct log *l, struct segment *s, const uint8_t *p, uint32_t n)
{
	uint32_t seed = log_seed(l, s);
	int rc = blocks_reserve(s, s->end_pos + n);
	if (rc < 0)
		return rc;
	while (n > 0) {
		struct scan_batch b;
		if (n < SCAN_BATCH_HEAD || scan_head(p, n, s->end_offset, &b) != SCAN_STOP_NONE)
			return -EBADMSG;
		rc = log_note_epoch(l, b.leader_epoch, b.base_offset);
		if (rc < 0)
			return rc;
		if (s->end_pos == 0)
			s->created_ms = b.max_timestamp;
		blocks_add_batch(s, seed, &b);
		blocks_add_bytes(s, seed, p, b.size);
		p += b.size;
		n -= b.size;
	}
	return 0;
}

static int replay_data(
	struct replay *r, struct log *l, const struct fmt_jrnl_entry *e, const uint8_t *body)
{
	struct segment *s = replay_segment(r, l, e);
	if (!s)
		return -EBADMSG;
	size_t had = (size_t)segment_pending(s);
	uint8_t *p = realloc(s->tail, had + e->length);
	if (!p)
		return -ENOMEM;
	s->tail = p;
	memcpy(p + had, body, e->length);
	int rc = replay_batches(l, s, body, e->length);
	if (rc == 0 && segment_pending(s) >= SPILL_BYTES)
		rc = replay_spill(r, l, s);
	return rc;
}

/* Whether the bytes that the entry tells of are in the segment. 1: yes, 0: no, or -errno. */
static int replay_direct_is_there(struct replay *r, struct log *l, struct segment *s,
	const struct fmt_jrnl_entry *e, uint64_t from)
{
	struct io *io = r->env.io;
	uint8_t *buf = r->env.scratch;
	uint32_t crc = 0;
	uint64_t pos = from, end = e->pos + e->length;
	int rc = replay_open_file(r, l, s);
	if (rc < 0 || l->lost)
		return rc;
	while (pos < end) {
		uint64_t n = min_of(end - pos, (uint64_t)LOG_SCRATCH);
		int64_t got = io->api->pread(io, s->file, buf, n, pos);
		if (got < 0)
			return (int)got;
		if ((uint64_t)got < n)
			return 0;
		crc = crc32c(crc, buf, (size_t)n);
		pos += n;
	}
	return crc == e->crc;
}

static int replay_direct(struct replay *r, struct log *l, const struct fmt_jrnl_entry *e,
	const uint8_t *body, bool last)
{
	struct fmt_jrnl_direct d;
	memcpy(&d, body, sizeof(d));
	uint64_t filled = e->pos + e->length, end = filled + d.tail_length;
	uint32_t first = (uint32_t)(e->pos / BIDX_BLOCK);
	uint64_t from = e->pos - d.lead;
	bool rolls = e->segment != log_active(l)->base_offset;
	struct segment *s = replay_segment(r, l, e);
	if (!s || d.base_offset != s->end_offset || d.end_offset <= d.base_offset ||
		filled % FMT_PAGE != 0 || d.lead > e->pos || from % FMT_PAGE != 0 ||
		first + d.block_count != (end + BIDX_BLOCK - 1) / BIDX_BLOCK)
		return -EBADMSG;
	s->file_size = max_of(s->file_size, filled);
	if (last) {
		int there = replay_direct_is_there(r, l, s, e, from);
		if (there < 0)
			return there;
		if (!there) { /* it was never acknowledged */
			s->file_size = s->fill_pos;
			if (rolls)
				log_unroll(&r->env, l);
			r->lane->cut_bytes += e->length;
			r->lane->holed = true;
			return 0;
		}
		if (s->file && log_flush(&r->env, s->file) < 0)
			return -EIO;
	}
	int rc = replay_spill_to(r, l, s, from); /* what was filled before need not be flushed */
	if (rc == 0)
		rc = blocks_reserve(s, end);
	uint8_t *tail = d.tail_length ? malloc(d.tail_length) : NULL;
	if (rc == 0)
		rc = log_note_epoch(l, d.leader_epoch, d.base_offset);
	if (rc < 0 || (d.tail_length && !tail)) {
		free(tail);
		return rc < 0 ? rc : -ENOMEM;
	}
	memcpy(s->blocks + first, body + sizeof(d), d.block_count * sizeof(struct fmt_block));
	s->block_count = first + d.block_count;
	if (tail)
		memcpy(tail, body + sizeof(d) + d.block_count * sizeof(struct fmt_block),
			d.tail_length);
	free(s->tail);
	s->tail = tail;
	s->fill_pos = filled;
	s->end_pos = end;
	s->end_offset = d.end_offset;
	s->max_timestamp = max_of(s->max_timestamp, d.max_timestamp);
	s->leader_epoch = d.leader_epoch;
	s->file_dirty = !l->lost && s->file;
	l->has_files = true;
	return 0;
}

static int replay_open(struct replay *r, const struct fmt_jrnl_entry *e, const uint8_t *body)
{
	struct fmt_jrnl_open o;
	char topic[sizeof(o.topic) + 1];
	memcpy(&o, body, sizeof(o));
	if (replay_log(r, e->log) || o.topic_length > FMT_TOPIC_MAX)
		return -EBADMSG;
	memcpy(topic, o.topic, o.topic_length);
	topic[o.topic_length] = 0;
	r->lane->next_log = max_of(r->lane->next_log, e->log + 1);
	return replay_add(r,
		log_new(r->at->dir, &o.topic_id, o.partition, topic, e->log, o.log_start_offset));
}

static int replay_delete(struct replay *r, struct log *l)
{
	char marked[IO_PATH_MAX];
	int rc = log_mark_deleted(&r->env, l, marked);
	if (rc < 0)
		return rc;
	r->by_number[l->number] = NULL;
	log_free(&r->env, l);
	return 0;
}

static int replay_entry(
	struct replay *r, const struct fmt_jrnl_entry *e, const uint8_t *body, bool last)
{
	if (e->kind == JRNL_OPEN)
		return replay_open(r, e, body);
	struct log *l = replay_log(r, e->log);
	if (!l)
		return -EBADMSG;
	switch (e->kind) {
	case JRNL_DATA:
		return replay_data(r, l, e, body);
	case JRNL_DIRECT:
		return replay_direct(r, l, e, body, last);
	case JRNL_TRIM:
		l->log_start_offset = max_of(l->log_start_offset, (int64_t)e->pos);
		return 0;
	case JRNL_DELETE:
		return replay_delete(r, l);
	default:
		return -EBADMSG;
	}
}

/* --- groups ------------------------------------------------------------------------------ */

static int journal_pread(struct replay *r, void *buf, uint64_t n, uint64_t ring_offset)
{
	struct io *io = r->env.io;
	int64_t got = io->api->pread(io, r->journal, buf, n, FMT_PAGE + ring_offset);
	return got == (int64_t)n ? 0 : got < 0 ? (int)got : -EBADMSG;
}

/* The group at stream position pos. 1: it is there, *size long; 0: not; or -errno. */
static int journal_read_at(
	struct replay *r, uint8_t *buf, uint64_t pos, uint64_t seq, uint64_t *size)
{
	const struct store_lane *lane = r->lane;
	uint64_t offset = pos % lane->ring_bytes, room = FMT_PAGE;
	int rc = journal_pread(r, buf, room, offset);
	if (rc < 0)
		return rc;
	enum jrnl_verdict v =
		jrnl_check(buf, room, &lane->journal_id, seq, pos, lane->ring_bytes, size);
	if (v == JRNL_SHORT && *size > room && *size <= JRNL_GROUP_MAX) {
		room = *size;
		rc = journal_pread(r, buf + FMT_PAGE, room - FMT_PAGE, offset + FMT_PAGE);
		if (rc < 0)
			return rc;
		v = jrnl_check(buf, room, &lane->journal_id, seq, pos, lane->ring_bytes, size);
	}
	return v == JRNL_OK;
}

/* The group with this seq that follows the one that ends at *pos; moves *pos to where it begins. */
static int journal_read(struct replay *r, uint8_t *buf, uint64_t *pos, uint64_t seq, uint64_t *size)
{
	uint64_t wrapped = align_up(*pos, r->lane->ring_bytes);
	int rc = journal_read_at(r, buf, *pos, seq, size);
	if (rc != 0 || wrapped == *pos)
		return rc;
	rc = journal_read_at(r, buf, wrapped, seq, size);
	if (rc > 0)
		*pos = wrapped;
	return rc;
}

/* Plays the entries of r->group. */
static int replay_group(struct replay *r, bool last)
{
	struct fmt_jrnl_entry e;
	const uint8_t *body;
	uint32_t at = 0;
	while (jrnl_next(r->group, &at, &e, &body)) {
		int rc = replay_entry(r, &e, body, last);
		if (rc == -EBADMSG)
			r->why = "its journal does not fit its checkpoint";
		if (rc < 0)
			return rc;
	}
	return 0;
}

/*
 * Behind the end, where a group that was cut off may lie: is there a valid later one? Then what
 * ended here was not cut off but damaged.
 */
static int replay_check_end(struct replay *r)
{
	const struct store_lane *lane = r->lane;
	uint64_t limit = min_of((uint64_t)JRNL_GROUP_MAX + FMT_PAGE, lane->ring_bytes);
	for (uint64_t done = 0; done < limit;) {
		uint64_t offset = (lane->head + done) % lane->ring_bytes;
		uint64_t n = min_of(limit - done, lane->ring_bytes - offset);
		n = min_of(n, (uint64_t)LOG_SCRATCH);
		int rc = journal_pread(r, r->env.scratch, n, offset);
		if (rc < 0)
			return rc;
		for (uint64_t at = 0; at < n; at += FMT_PAGE) {
			if (!jrnl_is_later(r->env.scratch + at, &lane->journal_id, offset + at,
				    lane->ring_bytes, lane->seq, lane->head))
				continue;
			r->why = "acknowledged groups of its journal are damaged";
			return -EBADMSG;
		}
		done += n;
	}
	return 0;
}

static int replay_journal(struct replay *r)
{
	struct store_lane *lane = r->lane;
	uint64_t pos = lane->head, size = 0, next_size = 0;
	int found = journal_read(r, r->group, &pos, lane->seq, &size);
	while (found > 0) {
		lane->head = pos + size;
		lane->seq++;
		lane->played_bytes += size;
		lane->clean = false;
		pos = lane->head;
		found = journal_read(r, r->next, &pos, lane->seq, &next_size);
		if (found < 0)
			return found;
		int rc = replay_group(r, found == 0);
		if (rc < 0)
			return rc;
		uint8_t *t = r->group;
		r->group = r->next;
		r->next = t;
		size = next_size;
	}
	return found < 0 ? found : replay_check_end(r);
}

static int journal_open(struct replay *r)
{
	char name[FMT_NAME_SIZE], path[IO_PATH_MAX];
	struct io *io = r->env.io;
	struct fmt_jrnl_file f;
	uint64_t size;
	fmt_jrnl_name(name, r->at->worker);
	int rc = replay_path(r->at, name, path);
	if (rc == 0)
		rc = io->api->open(io, path, IO_DIRECT | IO_RDONLY, &r->journal);
	if (rc < 0)
		return rc == -ENOENT ? -EBADMSG : rc;
	if (io->api->pread(io, r->journal, r->env.scratch, FMT_PAGE, 0) != FMT_PAGE)
		return -EBADMSG;
	enum fmt_verdict v = fmt_jrnl_file_check(r->env.scratch, FMT_PAGE);
	if (v != FMT_OK)
		return v == FMT_FOREIGN ? -EPROTO : -EBADMSG;
	memcpy(&f, r->env.scratch, sizeof(f));
	rc = io->api->size(io, r->journal, &size);
	if (rc < 0)
		return rc;
	r->lane->ring_bytes = f.ring_bytes;
	bool ours = uuid_equal(&f.journal_id, &r->lane->journal_id) &&
		    uuid_equal(&f.dir_id, r->at->dir_id) && f.worker == r->at->worker;
	return ours && size >= FMT_PAGE + f.ring_bytes ? 0 : -EBADMSG;
}

/* --- all of it --------------------------------------------------------------------------- */

/* What is left in memory of each log is less than a page. */
static int replay_finish(struct replay *r)
{
	for (uint32_t i = 0; i < r->numbers; i++) {
		struct log *l = r->by_number[i];
		if (!l)
			continue;
		if (l->lost) {
			log_error(
				"storage", "%s-%d: its files are missing", l->topic, l->partition);
			l->damaged = true;
		}
		l->may_have_stray = true;
		struct segment *s = log_active(l);
		int rc = segment_pending(s) >= FMT_PAGE ? replay_spill(r, l, s) : 0;
		if (rc == 0)
			rc = lane_add(r->lane, l);
		if (rc < 0)
			return rc;
		r->by_number[i] = NULL;
	}
	return 0;
}

/* The last group is served from now on: it may have been in the device's cache only. */
static int replay_keep(struct replay *r)
{
	return r->lane->played_bytes > 0 ? log_flush(&r->env, r->journal) : 0;
}

static int replay_run(struct replay *r, const uint8_t *ckpt)
{
	int rc = replay_checkpoint(r, ckpt);
	if (rc == 0) {
		r->why = "its journal is missing or damaged";
		rc = journal_open(r);
	}
	if (rc == 0) {
		r->why = "its journal cannot be played";
		rc = replay_journal(r);
	}
	if (rc == 0)
		rc = replay_keep(r);
	return rc == 0 ? replay_finish(r) : rc;
}

static bool replay_init(struct replay *r)
{
	log_env_init(&r->env, r->at->io, r->at->store, aligned_alloc(FMT_PAGE, LOG_SCRATCH));
	r->group = aligned_alloc(FMT_PAGE, JRNL_GROUP_MAX);
	r->next = aligned_alloc(FMT_PAGE, JRNL_GROUP_MAX);
	return r->env.scratch && r->group && r->next;
}

static void replay_fini(struct replay *r)
{
	for (uint32_t i = 0; i < r->numbers; i++)
		log_free(&r->env, r->by_number[i]);
	if (r->journal)
		r->env.io->api->close(r->env.io, r->journal);
	free(r->by_number);
	free(r->env.scratch);
	free(r->group);
	free(r->next);
}

int lane_recover(
	const struct store_place *at, uint16_t workers, struct store_lane *out, const char **why)
{
	struct replay r = {.at = at, .lane = out};
	int rc;
	*out = (struct store_lane){0};
	*why = "its checkpoints are damaged";
	uint8_t *ckpt = ckpt_choose(at, out, &rc);
	if (!ckpt)
		return rc;
	rc = ckpt_settle(at, out->ckpt_slot);
	if (rc < 0) {
		free(ckpt);
		*why = "cannot flush its checkpoint";
		return rc == -ENOENT ? -EIO : rc;
	}
	const struct fmt_ckpt *c = (const void *)ckpt;
	if (c->workers != workers) {
		free(ckpt);
		*why = "it was used with another number of storage.workers; start with that number "
		       "once "
		       "and stop cleanly";
		return -EXDEV;
	}
	r.why = *why;
	rc = replay_init(&r) ? replay_run(&r, ckpt) : -ENOMEM;
	replay_fini(&r);
	free(ckpt);
	*why = r.why;
	if (rc < 0)
		lane_fini(at, out);
	return rc == -ENOENT ? -EIO : rc;
}

/* --- a new lane -------------------------------------------------------------------------- */

/* So much of a new journal is written when it is made, the rest behind its first commits. */
#define LANE_WRITTEN (4u << 20)

/* Writes zeros behind the first page. */
static int lane_write_zeros(struct io *io, struct io_file *f, uint64_t size)
{
	uint8_t *zeros = aligned_alloc(FMT_PAGE, LOG_SCRATCH);
	if (!zeros)
		return -ENOMEM;
	memset(zeros, 0, LOG_SCRATCH);
	int64_t put = 0;
	for (uint64_t done = 0; done < size && put >= 0; done += LOG_SCRATCH) {
		uint64_t n = min_of(size - done, (uint64_t)LOG_SCRATCH);
		put = io->api->pwrite(io, f, zeros, n, FMT_PAGE + done);
	}
	free(zeros);
	return put < 0 ? (int)put : 0;
}

/* Makes a file of one page and zeros, which has its name only when it is whole. */
static int lane_write(
	const struct store_place *at, const char *name, const uint8_t *page, uint64_t size)
{
	char path[IO_PATH_MAX], tmp[IO_PATH_MAX];
	struct io *io = at->io;
	struct io_file *f;
	int n = snprintf(path, sizeof(path), "%s/%s", at->path, name);
	int m = snprintf(tmp, sizeof(tmp), "%s/%s" FMT_TMP_SUFFIX, at->path, name);
	if (n < 0 || m < 0 || (size_t)m >= sizeof(tmp))
		return -ENAMETOOLONG;
	int rc = io->api->open(io, tmp, IO_CREATE | IO_TRUNC | IO_DIRECT, &f);
	if (rc < 0)
		return rc;
	int64_t put = io->api->pwrite(io, f, page, FMT_PAGE, 0);
	rc = put == FMT_PAGE ? 0 : put < 0 ? (int)put : -EIO;
	if (rc == 0 && size > FMT_PAGE)
		rc = io->api->truncate(io, f, size);
	if (rc == 0)
		rc = lane_write_zeros(io, f, min_of(size - FMT_PAGE, (uint64_t)LANE_WRITTEN));
	if (rc == 0)
		rc = io->api->fsync(io, f);
	io->api->close(io, f);
	if (rc == 0)
		rc = io->api->rename(io, tmp, path);
	return rc < 0 ? rc : io->api->fsync_dir(io, at->path);
}

int lane_create(const struct store_place *at, const struct uuid *journal_id, uint64_t ring_bytes,
	uint16_t workers, struct store_lane *out)
{
	char name[FMT_NAME_SIZE];
	uint8_t *page = aligned_alloc(FMT_PAGE, FMT_PAGE);
	if (!page)
		return -ENOMEM;
	struct fmt_jrnl_file f = {
		.dir_id = *at->dir_id,
		.journal_id = *journal_id,
		.worker = at->worker,
		.ring_bytes = ring_bytes,
	};
	memset(page, 0, FMT_PAGE);
	fmt_seal(&f, sizeof(f), FMT_JRNL_MAGIC);
	memcpy(page, &f, sizeof(f));
	fmt_jrnl_name(name, at->worker);
	int rc = lane_write(at, name, page, FMT_PAGE + ring_bytes);
	struct fmt_ckpt c = {
		.dir_id = *at->dir_id,
		.journal_id = *journal_id,
		.seq = 1,
		.worker = at->worker,
		.workers = workers,
		.next_log = 1,
		.journal_seq = 1,
		.flags = CKPT_CLEAN,
	};
	memset(page, 0, FMT_PAGE);
	fmt_seal(&c, sizeof(c), FMT_CKPT_MAGIC);
	memcpy(page, &c, sizeof(c));
	fmt_ckpt_name(name, at->worker, 0);
	if (rc == 0)
		rc = lane_write(at, name, page, FMT_PAGE);
	free(page);
	*out = (struct store_lane){
		.journal_id = *journal_id,
		.ring_bytes = ring_bytes,
		.seq = 1,
		.ckpt_seq = 1,
		.next_log = 1,
		.clean = true,
	};
	return rc;
}
