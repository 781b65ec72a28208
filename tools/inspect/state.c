/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/inspect/state.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "storage/format/scan.h"

void find(const struct finder *f, enum found_kind kind, const char *where, const char *format, ...)
{
	char what[512];
	va_list args;
	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	f->found(f->arg, kind, where, what);
}

const char *slot_state_name(enum slot_state s)
{
	static const char *const names[] = {
		[SLOT_MISSING] = "missing",
		[SLOT_VALID] = "valid",
		[SLOT_DAMAGED] = "not valid",
		[SLOT_FOREIGN] = "another version",
		[SLOT_OTHER] = "of another directory, worker or journal",
		[SLOT_UNREADABLE] = "unreadable",
	};
	return names[s];
}

static enum slot_state state_of_error(int error)
{
	return error == ENOENT ? SLOT_MISSING : SLOT_UNREADABLE;
}

static enum slot_state state_of_verdict(enum fmt_verdict v)
{
	return v == FMT_OK ? SLOT_VALID : v == FMT_FOREIGN ? SLOT_FOREIGN : SLOT_DAMAGED;
}

static const struct fmt_ckpt *slot_head(const struct slot *s)
{
	return (const void *)s->p;
}

/* --- the files of a lane ----------------------------------------------------------------- */

static void slot_load(const struct state *s, struct lane *l, uint32_t i)
{
	char name[FMT_NAME_SIZE], path[PATH_SIZE];
	struct slot *slot = &l->slots[i];
	fmt_ckpt_name(name, l->worker, i);
	path_join(path, s->dir, name);
	int rc = file_load(path, &slot->p, &slot->size);
	if (rc < 0) {
		slot->error = -rc;
		slot->state = state_of_error(-rc);
		return;
	}
	slot->state = state_of_verdict(fmt_ckpt_check(slot->p, slot->size));
	const struct fmt_ckpt *c = slot_head(slot);
	if (slot->state == SLOT_VALID &&
		(c->worker != l->worker ||
			(s->has_meta && !uuid_equal(&c->dir_id, &s->meta.dir_id))))
		slot->state = SLOT_OTHER;
	if (slot->state == SLOT_VALID &&
		(l->newest < 0 || c->seq > slot_head(&l->slots[l->newest])->seq))
		l->newest = (int)i;
}

static void journal_open(const struct state *s, struct lane *l)
{
	char name[FMT_NAME_SIZE], path[PATH_SIZE];
	fmt_jrnl_name(name, l->worker);
	path_join(path, s->dir, name);
	l->fd = file_open(path, &l->file_size);
	if (l->fd < 0) {
		l->error = -l->fd;
		l->journal = state_of_error(l->error);
		return;
	}
	int rc = file_pread(l->fd, &l->file, sizeof(l->file), 0);
	if (rc < 0 && rc != -ENODATA) {
		l->error = -rc;
		l->journal = SLOT_UNREADABLE;
		return;
	}
	l->journal = rc < 0 ? SLOT_DAMAGED
			    : state_of_verdict(fmt_jrnl_file_check(&l->file, sizeof(l->file)));
	if (l->journal != SLOT_VALID)
		return;
	if (l->file_size < FMT_PAGE + l->file.ring_bytes)
		l->journal = SLOT_DAMAGED;
	else if (l->file.worker != l->worker ||
		 (s->has_meta && !uuid_equal(&l->file.dir_id, &s->meta.dir_id)) ||
		 (l->newest >= 0 && !uuid_equal(&l->file.journal_id,
					    &slot_head(&l->slots[l->newest])->journal_id)))
		l->journal = SLOT_OTHER;
}

static int lanes_find(struct state *s)
{
	for (uint32_t i = 0; i < s->names.count; i++) {
		uint32_t worker, slot, k = 0;
		if (!fmt_jrnl_name_parse(s->names.names[i], &worker) &&
			!fmt_ckpt_name_parse(s->names.names[i], &worker, &slot))
			continue;
		while (k < s->lane_count && s->lanes[k].worker != worker)
			k++;
		if (k < s->lane_count)
			continue;
		struct lane *p = realloc(s->lanes, (k + 1) * sizeof(*p));
		if (!p)
			return -ENOMEM;
		s->lanes = p;
		s->lanes[s->lane_count++] = (struct lane){.worker = worker, .newest = -1, .fd = -1};
	}
	return 0;
}

/* --- logs -------------------------------------------------------------------------------- */

static struct state_log *log_add(struct state *s, struct lane *l)
{
	struct state_log *p = realloc(s->logs, (s->log_count + 1) * sizeof(*p));
	if (!p)
		return NULL;
	s->logs = p;
	p = &s->logs[s->log_count++];
	*p = (struct state_log){.lane = l};
	return p;
}

static void log_name(struct state_log *p, const char *topic, size_t length)
{
	memcpy(p->topic, topic, length);
	p->topic[length] = 0;
	fmt_log_name(p->name, &p->topic_id, p->partition);
}

static int logs_of_checkpoint(struct state *s, struct lane *l)
{
	struct ckpt_view v;
	uint64_t at = 0;
	if (l->newest < 0)
		return 0;
	const struct fmt_ckpt *c = slot_head(&l->slots[l->newest]);
	l->begin = l->end = c->journal_pos;
	l->begin_seq = l->end_seq = c->journal_seq;
	while (ckpt_next(c, &at, &v)) {
		struct state_log *p = log_add(s, l);
		if (!p)
			return -ENOMEM;
		const struct fmt_ckpt_log *r = v.log;
		p->topic_id = r->topic_id;
		p->partition = r->partition;
		p->number = r->log;
		p->ckpt = r;
		p->view = v;
		p->log_start_offset = r->log_start_offset;
		p->ckpt_segment = p->segment = r->segment;
		p->end_offset = r->end_offset;
		p->end_pos = r->end_pos;
		log_name(p, v.topic, r->topic_length);
	}
	return 0;
}

struct state_log *state_log(struct state *s, const struct lane *l, uint32_t number)
{
	for (uint32_t i = 0; i < s->log_count; i++)
		if (s->logs[i].lane == l && s->logs[i].number == number && !s->logs[i].deleted)
			return &s->logs[i];
	return NULL;
}

/* --- all of it --------------------------------------------------------------------------- */

static void meta_read(struct state *s)
{
	char path[PATH_SIZE];
	uint8_t *p;
	uint64_t size;
	path_join(path, s->dir, FMT_META_NAME);
	int rc = file_load(path, &p, &size);
	s->meta_error = -rc;
	if (rc < 0)
		return;
	s->meta_verdict = fmt_dir_meta_check(p, size);
	s->has_meta = s->meta_verdict == FMT_OK;
	if (s->has_meta)
		memcpy(&s->meta, p, sizeof(s->meta));
	free(p);
}

void state_judge_meta(const struct state *s)
{
	if (!s->has_meta)
		find(s->finder, FOUND_CORRUPT, FMT_META_NAME, "%s",
			s->meta_error			 ? strerror(s->meta_error)
			: s->meta_verdict == FMT_FOREIGN ? "of another format version"
							 : "damaged");
}

int state_open(struct state *s, const char *dir, const struct finder *f)
{
	*s = (struct state){.dir = dir, .finder = f};
	int rc = names_read(&s->names, dir);
	if (rc < 0)
		return rc;
	meta_read(s);
	rc = lanes_find(s);
	for (uint32_t i = 0; rc == 0 && i < s->lane_count; i++) {
		struct lane *l = &s->lanes[i];
		slot_load(s, l, 0);
		slot_load(s, l, 1);
		journal_open(s, l);
		rc = logs_of_checkpoint(s, l);
	}
	return rc;
}

void state_close(struct state *s)
{
	for (uint32_t i = 0; i < s->lane_count; i++) {
		free(s->lanes[i].slots[0].p);
		free(s->lanes[i].slots[1].p);
		if (s->lanes[i].fd >= 0)
			close(s->lanes[i].fd);
	}
	for (uint32_t i = 0; i < s->log_count; i++)
		free(s->logs[i].rolled);
	free(s->lanes);
	free(s->logs);
	free(s->runs);
	names_free(&s->names);
}

/* --- a log follows the journal ----------------------------------------------------------- */

/* Puts a new, empty log into the state. */
static int play_open(
	struct state *s, struct lane *l, const struct fmt_jrnl_entry *e, const uint8_t *body)
{
	struct fmt_jrnl_open o;
	memcpy(&o, body, sizeof(o));
	struct state_log *p = log_add(s, l);
	if (!p)
		return -ENOMEM;
	p->topic_id = o.topic_id;
	p->partition = o.partition;
	p->number = e->log;
	p->log_start_offset = p->segment = p->ckpt_segment = p->end_offset = o.log_start_offset;
	log_name(p, o.topic, o.topic_length);
	return 0;
}

/* Moves the log to the segment of the entry. False: the entry does not continue the log. */
static bool play_continues(struct state_log *p, const struct fmt_jrnl_entry *e)
{
	if (e->segment == p->segment)
		return e->pos == p->end_pos;
	if (e->segment != p->end_offset || e->pos != 0 || p->end_pos == 0)
		return false;
	int64_t *bases = realloc(p->rolled, (p->rolled_count + 1) * sizeof(*bases));
	if (!bases)
		return false;
	p->rolled = bases;
	p->rolled[p->rolled_count++] = e->segment;
	p->segment = e->segment;
	p->end_pos = 0;
	return true;
}

static void play_data(struct state *s, struct state_log *p, const struct fmt_jrnl_entry *e,
	const uint8_t *body, const char *where)
{
	const uint8_t *at = body;
	size_t n = e->length;
	struct scan scan;
	enum scan_step step = SCAN_BATCH;
	scan_init(&scan, e->pos, p->end_offset, e->pos + e->length);
	while (n > 0 && step == SCAN_BATCH)
		step = scan_feed(&scan, &at, &n);
	if (scan.pos != e->pos + e->length)
		find(s->finder, FOUND_CORRUPT, where,
			"data of %s at byte %llu of segment %lld is not a row of batches: %s",
			p->name, (unsigned long long)scan.pos, (long long)e->segment,
			scan.stop == SCAN_STOP_NONE ? "cut off" : scan_stop_name(scan.stop));
	p->end_offset = scan.next_offset;
	p->end_pos = e->pos + e->length;
}

static int play_direct(struct state *s, struct state_log *p, const struct fmt_jrnl_entry *e,
	const uint8_t *body, const char *where)
{
	struct direct_run run = {.log = (uint32_t)(p - s->logs), .e = *e};
	memcpy(&run.d, body, sizeof(run.d));
	if (run.d.base_offset != p->end_offset)
		find(s->finder, FOUND_CORRUPT, where, "a run of %s begins at offset %lld, not %lld",
			p->name, (long long)run.d.base_offset, (long long)p->end_offset);
	struct direct_run *runs = realloc(s->runs, (s->run_count + 1) * sizeof(*runs));
	if (!runs)
		return -ENOMEM;
	s->runs = runs;
	s->runs[s->run_count++] = run;
	p->end_offset = run.d.end_offset;
	p->end_pos = e->pos + e->length + run.d.tail_length;
	return 0;
}

static int play_entry(struct state *s, struct lane *l, const struct fmt_jrnl_entry *e,
	const uint8_t *body, const char *where)
{
	struct state_log *p = state_log(s, l, e->log);
	if (e->kind == JRNL_OPEN) {
		if (p)
			find(s->finder, FOUND_CORRUPT, where, "log number %u is given twice",
				e->log);
		return play_open(s, l, e, body);
	}
	if (!p) {
		find(s->finder, FOUND_CORRUPT, where, "no log has number %u", e->log);
		return 0;
	}
	if (e->kind == JRNL_TRIM) {
		p->log_start_offset = max_of(p->log_start_offset, (int64_t)e->pos);
		return 0;
	}
	if (e->kind == JRNL_DELETE) {
		p->deleted = true;
		return 0;
	}
	if (!play_continues(p, e)) {
		find(s->finder, FOUND_CORRUPT, where,
			"byte %llu of segment %lld does not continue %s, which ends at byte %llu "
			"of "
			"segment %lld",
			(unsigned long long)e->pos, (long long)e->segment, p->name,
			(unsigned long long)p->end_pos, (long long)p->segment);
		return 0;
	}
	if (e->kind == JRNL_DIRECT)
		return play_direct(s, p, e, body, where);
	play_data(s, p, e, body, where);
	return 0;
}

/* --- the journal ------------------------------------------------------------------------- */

static int journal_pread(const struct lane *l, void *buf, uint64_t n, uint64_t ring_offset)
{
	return file_pread(l->fd, buf, n, FMT_PAGE + ring_offset);
}

/* 1: the group with the lane's end_seq stands at pos, *size long. 0: not. Or -errno. */
static int journal_read_at(const struct lane *l, uint8_t *buf, uint64_t pos, uint64_t *size)
{
	uint64_t ring = l->file.ring_bytes, offset = pos % ring;
	int rc = journal_pread(l, buf, FMT_PAGE, offset);
	if (rc < 0)
		return rc;
	const struct uuid *id = &l->file.journal_id;
	enum jrnl_verdict v = jrnl_check(buf, FMT_PAGE, id, l->end_seq, pos, ring, size);
	if (v == JRNL_SHORT) {
		rc = journal_pread(l, buf + FMT_PAGE, *size - FMT_PAGE, offset + FMT_PAGE);
		if (rc < 0)
			return rc;
		v = jrnl_check(buf, *size, id, l->end_seq, pos, ring, size);
	}
	return v == JRNL_OK;
}

/* The next group, wherever it stands; *pos gets its position. */
static int journal_read(const struct lane *l, uint8_t *buf, uint64_t *pos, uint64_t *size)
{
	uint64_t ring = l->file.ring_bytes;
	*pos = l->end;
	int rc = journal_read_at(l, buf, *pos, size);
	if (rc != 0 || *pos % ring == 0)
		return rc;
	*pos = l->end + (ring - l->end % ring);
	return journal_read_at(l, buf, *pos, size);
}

static int play_group(
	struct state *s, struct lane *l, const uint8_t *p, const struct journal_eyes *eyes)
{
	struct fmt_jrnl_group g;
	struct fmt_jrnl_entry e;
	const uint8_t *body;
	uint32_t at = 0;
	char where[96];
	memcpy(&g, p, sizeof(g));
	snprintf(where, sizeof(where), "journal-%u group %llu", l->worker,
		(unsigned long long)g.seq);
	s->groups++;
	if (g.checkpoint > l->begin)
		find(s->finder, FOUND_CORRUPT, where,
			"knows of a checkpoint at journal position %llu, which is lost",
			(unsigned long long)g.checkpoint);
	if (eyes && eyes->group)
		eyes->group(eyes->arg, l, &g);
	while (jrnl_next(p, &at, &e, &body)) {
		s->entries++;
		if (eyes && eyes->entry)
			eyes->entry(eyes->arg, l, &e, body);
		int rc = play_entry(s, l, &e, body, where);
		if (rc < 0)
			return rc;
	}
	if (eyes && eyes->group_end)
		eyes->group_end(eyes->arg);
	return 0;
}

const char *jrnl_end_name(enum jrnl_end e)
{
	static const char *const names[] = {
		[JRNL_END_UNREAD] = "not read",
		[JRNL_END_EMPTY] = "nothing was written there",
		[JRNL_END_OLD] = "what stands there is older",
		[JRNL_END_TORN] = "torn: the next group was being written, and never acknowledged",
		[JRNL_END_CORRUPT] =
			"corrupt: a later group lies behind, so that acknowledged groups are lost",
		[JRNL_END_FAILED] = "it cannot be read there",
	};
	return names[e];
}

/* Whether the group that is missing at pos begins there, though it is not whole. */
static bool end_is_torn(const struct lane *l, const uint8_t *page, uint64_t pos)
{
	struct fmt_jrnl_group g;
	memcpy(&g, page, sizeof(g));
	return g.magic == JRNL_GROUP_MAGIC && g.seq == l->end_seq && g.stream_pos == pos;
}

static bool is_zero(const uint8_t *p, size_t n)
{
	return p[0] == 0 && memcmp(p, p + 1, n - 1) == 0;
}

/* Looks where a group that was cut off may lie for a later one. buf: JRNL_GROUP_MAX bytes. */
static enum jrnl_end journal_end(const struct lane *l, uint8_t *buf)
{
	uint64_t ring = l->file.ring_bytes;
	uint64_t wrapped = l->end % ring ? l->end + (ring - l->end % ring) : l->end;
	uint64_t limit = min_of((uint64_t)JRNL_GROUP_MAX + FMT_PAGE, ring);
	enum jrnl_end why = JRNL_END_OLD;
	if (journal_pread(l, buf, FMT_PAGE, wrapped % ring) < 0)
		return JRNL_END_FAILED;
	if (end_is_torn(l, buf, wrapped))
		why = JRNL_END_TORN;
	if (journal_pread(l, buf, FMT_PAGE, l->end % ring) < 0)
		return JRNL_END_FAILED;
	if (end_is_torn(l, buf, l->end))
		why = JRNL_END_TORN;
	else if (why == JRNL_END_OLD && is_zero(buf, FMT_PAGE))
		why = JRNL_END_EMPTY;
	for (uint64_t done = 0; done < limit; done += FMT_PAGE) {
		uint64_t offset = (l->end + done) % ring;
		if (journal_pread(l, buf, FMT_PAGE, offset) < 0)
			return JRNL_END_FAILED;
		if (jrnl_is_later(buf, &l->file.journal_id, offset, ring, l->end_seq, l->end))
			return JRNL_END_CORRUPT;
	}
	return why;
}

int state_play(struct state *s, struct lane *l, const struct journal_eyes *eyes)
{
	uint64_t pos, size = 0;
	uint32_t last_runs = s->run_count;
	if (l->newest < 0 || l->journal != SLOT_VALID)
		return 0;
	uint8_t *buf = malloc(JRNL_GROUP_MAX);
	if (!buf)
		return -ENOMEM;
	int rc = 0, found;
	while ((found = journal_read(l, buf, &pos, &size)) > 0 && rc == 0) {
		last_runs = s->run_count;
		rc = play_group(s, l, buf, eyes);
		l->end = pos + size;
		l->end_seq++;
		s->journal_bytes += size;
	}
	for (uint32_t i = last_runs; i < s->run_count; i++)
		s->runs[i].last = true;
	if (rc == 0)
		l->why = found < 0 ? JRNL_END_FAILED : journal_end(l, buf);
	free(buf);
	return rc;
}
