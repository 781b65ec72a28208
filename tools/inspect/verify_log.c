/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Verifies the segments of a log. Sealed ones against their index and each other; the one that the
 * checkpoint calls active against the checkpoint, up to where it ended then; what came later stands
 * in the journal, which state_play has gone through, and the next start writes it again.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/crc.h"
#include "tools/inspect/verify.h"
#include "tools/inspect/walk.h"

#define SUFFIX_SWAP ".swap"
#define SUFFIX_CLEANED ".cleaned"
#define SAY_MAX 8 /* findings of one segment's blocks that are told one by one */

/* A segment that is to be verified. */
struct part {
	const struct state_log *log;
	int64_t base;
	char path[PATH_SIZE];
	int fd;
	uint32_t seed;
	struct fmt_block *blocks; /* NULL: there is no valid index */
	uint32_t block_count;
	uint64_t fill_pos; /* bytes below are in the file, the others in tail */
	const uint8_t *tail;
	uint64_t end_pos;
	int64_t end_offset; /* -1: not known */
	bool open_end;	    /* no index: the end is where the batches end */
	bool compacted;
	uint64_t file_size;
};

struct part_pass {
	struct verify *v;
	const struct part *p;
	struct walk walk;
	enum scan_step step;
	uint64_t next_block; /* no batch has begun in this one or a later one yet */
	uint64_t bad_blocks;
	uint64_t bad_entries;
};

/* --- the bytes of one segment ------------------------------------------------------------ */

/* A batch that begins at b->pos agrees with the entries of the blocks up to there. */
static void pass_batch(struct part_pass *s)
{
	const struct scan_batch *b = &s->walk.batch;
	uint64_t block = b->pos / BIDX_BLOCK;
	s->v->batches++;
	if (!s->p->blocks || block < s->next_block || block >= s->p->block_count)
		return;
	bool ok = true;
	for (uint64_t i = s->next_block; i < block; i++)
		ok = ok && s->p->blocks[i].first_pos == BIDX_NO_BATCH;
	const struct fmt_block *k = &s->p->blocks[block];
	ok = ok && k->first_pos == b->pos % BIDX_BLOCK && k->first_offset == b->base_offset;
	s->next_block = block + 1;
	if (!ok && s->bad_entries++ == 0)
		find(&s->v->finder, FOUND_CORRUPT, s->p->path,
			"the index does not know that the batch %lld begins at byte %llu",
			(long long)b->base_offset, (unsigned long long)b->pos);
}

static void pass_sum(struct part_pass *s, uint64_t block, const uint8_t *bytes, size_t n)
{
	if (!s->p->blocks || block >= s->p->block_count)
		return;
	s->v->blocks++;
	uint32_t sum = crc32c(bidx_sum_begin(s->p->seed, block), bytes, n);
	if (sum == s->p->blocks[block].sum || s->bad_blocks++ >= SAY_MAX)
		return;
	find(&s->v->finder, FOUND_CORRUPT, s->p->path,
		"block %llu (byte %llu on): its bytes are not those that were written",
		(unsigned long long)block, (unsigned long long)(block * BIDX_BLOCK));
}

/* The bytes [pos, pos + n) of the segment, from the file and from the tail. */
static int part_read(const struct part *p, uint8_t *buf, uint64_t pos, size_t n)
{
	size_t there = pos < p->fill_pos ? (size_t)min_of((uint64_t)n, p->fill_pos - pos) : 0;
	int rc = there ? file_pread(p->fd, buf, there, pos) : 0;
	if (rc == 0 && n > there)
		memcpy(buf + there, p->tail + (pos + there - p->fill_pos), n - there);
	return rc;
}

/* The end of the walk, and of the segment. */
static void pass_end(struct part_pass *s)
{
	const struct part *p = s->p;
	struct walk *w = &s->walk;
	bool whole = walk_is_whole(w);
	if (p->open_end) /* what lies behind is room that was never written, or an earlier life's */
		whole |= w->stop == SCAN_STOP_ZERO || w->next_offset == p->end_offset;
	if (!whole)
		find(&s->v->finder, FOUND_CORRUPT, p->path,
			"byte %llu: not the batch with offset %lld that should begin there: %s",
			(unsigned long long)w->pos, (long long)w->next_offset,
			w->stop == SCAN_STOP_NONE ? "cut off" : scan_stop_name(w->stop));
	else if (p->end_offset >= 0 && w->next_offset != p->end_offset)
		find(&s->v->finder, FOUND_CORRUPT, p->path,
			"it ends at offset %lld, but should at %lld", (long long)w->next_offset,
			(long long)p->end_offset);
	if (s->bad_blocks > SAY_MAX)
		find(&s->v->finder, FOUND_CORRUPT, p->path, "%llu more blocks like that",
			(unsigned long long)(s->bad_blocks - SAY_MAX));
}

static void part_verify(struct verify *v, const struct part *p)
{
	struct part_pass s = {.v = v, .p = p};
	walk_init(&s.walk, 0, p->base, p->end_pos);
	s.walk.gaps = p->compacted;
	v->segments++;
	for (uint64_t at = 0; at < p->end_pos; at += VERIFY_BUF) {
		size_t n = (size_t)min_of((uint64_t)VERIFY_BUF, p->end_pos - at);
		int rc = part_read(p, v->buf, at, n);
		if (rc < 0) {
			verify_failed(v, p->path, rc);
			return;
		}
		v->bytes += n;
		verify_progress(v);
		for (size_t i = 0; i < n; i += BIDX_BLOCK)
			pass_sum(&s, (at + i) / BIDX_BLOCK, v->buf + i,
				min_of(n - i, (size_t)BIDX_BLOCK));
		const uint8_t *bytes = v->buf;
		do {
			s.step = walk_feed(&s.walk, &bytes, &n);
			if (s.step == SCAN_BATCH)
				pass_batch(&s);
		} while (s.step == SCAN_BATCH);
	}
	pass_end(&s);
}

/* --- the index --------------------------------------------------------------------------- */

/* Puts the entries of the first `want` pages (0: all, the last of which seals the segment) into the
 * part. False: the index is not valid, which has been said. */
static bool part_index(struct verify *v, struct part *p, const char *path, uint32_t want)
{
	uint32_t pages = 0;
	int error;
	struct fmt_bidx_page *all = index_load(path, &pages, &error);
	if (!all) {
		verify_failed(v, path, -error);
		return false;
	}
	bool ok = want ? pages >= want : pages > 0;
	if (!ok)
		find(&v->finder, FOUND_CORRUPT, path, "it is shorter than it must be");
	uint32_t count = want ? want : pages;
	struct fmt_block *blocks = realloc(
		p->blocks, ((size_t)count * BIDX_PER_PAGE + p->block_count + 1) * sizeof(*blocks));
	if (!blocks) {
		verify_failed(v, path, -ENOMEM);
		ok = false;
	}
	p->blocks = blocks ? blocks : p->blocks;
	for (uint32_t k = 0; ok && k < count; k++) {
		bool last = !want && k + 1 == count;
		v->index_pages++;
		ok = bidx_check(&all[k], p->seed, k) && all[k].page == k &&
		     (want || last == !!(all[k].flags & BIDX_SEALED)) &&
		     (last || all[k].count == BIDX_PER_PAGE);
		if (!ok) {
			find(&v->finder, FOUND_CORRUPT, path, "page %u is not valid", k);
			break;
		}
		memcpy(p->blocks + k * BIDX_PER_PAGE, all[k].blocks,
			all[k].count * sizeof(*blocks));
		p->block_count = k * BIDX_PER_PAGE + all[k].count;
	}
	if (ok && !want) {
		p->end_pos = p->fill_pos = all[count - 1].end_pos;
		p->end_offset = all[count - 1].end_offset;
		p->compacted = all[count - 1].flags & BIDX_COMPACTED;
	}
	free(all);
	return ok;
}

static void part_close(struct part *p)
{
	if (p->fd >= 0)
		close(p->fd);
	free(p->blocks);
}

/* Opens the segment's file. Without one fd is -1, and a finding says so. */
static bool part_open(struct verify *v, struct part *p, const struct state_log *log, int64_t base,
	const char *dir, const char *suffix)
{
	char name[FMT_NAME_SIZE], full[FMT_NAME_SIZE + 16];
	*p = (struct part){.log = log, .base = base, .end_offset = -1};
	p->seed = bidx_seed(&log->topic_id, log->partition, base);
	fmt_segment_name(name, base, "log");
	snprintf(full, sizeof(full), "%s%s", name, suffix);
	path_join(p->path, dir, full);
	p->fd = file_open(p->path, &p->file_size);
	if (p->fd < 0)
		verify_failed(v, p->path, p->fd);
	return p->fd >= 0;
}

/* A sealed segment. Its end offset, or -1. */
static int64_t verify_sealed(struct verify *v, const struct state_log *log, const char *dir,
	int64_t base, bool swap, int64_t next)
{
	char name[FMT_NAME_SIZE], full[FMT_NAME_SIZE + 16], path[PATH_SIZE];
	struct part p;
	int64_t end = -1;
	if (!part_open(v, &p, log, base, dir, swap ? SUFFIX_SWAP : ""))
		return -1;
	fmt_segment_name(name, base, "index");
	snprintf(full, sizeof(full), "%s%s", name, swap ? SUFFIX_SWAP : "");
	path_join(path, dir, full);
	if (swap && !file_exists(path))
		path_join(path, dir, name);
	if (part_index(v, &p, path, 0)) {
		end = p.end_offset;
	} else {
		free(p.blocks);
		p.blocks = NULL;
		p.block_count = 0;
		p.open_end = true;
		p.end_pos = p.fill_pos = p.file_size;
		p.end_offset = swap ? -1 : next;
	}
	part_verify(v, &p);
	part_close(&p);
	return end;
}

/* The segment that the checkpoint calls active, as it was then. */
static void verify_active(struct verify *v, const struct state_log *log, const char *dir)
{
	const struct fmt_ckpt_log *r = log->ckpt;
	char name[FMT_NAME_SIZE], path[PATH_SIZE];
	struct part p = {.log = log, .base = r->segment, .fd = -1};
	fmt_segment_name(name, r->segment, "log");
	path_join(path, dir, name);
	if (log->rolled_count > 0 && log->rolled[0] <= log->log_start_offset && !file_exists(path))
		return; /* retention has removed it since */
	if (r->fill_pos > 0 && !part_open(v, &p, log, r->segment, dir, ""))
		return;
	if (r->fill_pos == 0) {
		memcpy(p.path, path, sizeof(p.path));
		p.seed = bidx_seed(&log->topic_id, log->partition, r->segment);
	}
	p.fill_pos = r->fill_pos;
	p.end_pos = r->end_pos;
	p.end_offset = r->end_offset;
	p.tail = log->view.tail;
	p.block_count = r->block_count;
	fmt_segment_name(name, r->segment, "index");
	path_join(path, dir, name);
	bool ok = r->first_block == 0 || part_index(v, &p, path, r->first_block / BIDX_PER_PAGE);
	uint32_t count = r->first_block + r->block_count;
	struct fmt_block *blocks = ok ? realloc(p.blocks, (count + 1u) * sizeof(*blocks)) : NULL;
	if (blocks) {
		if (r->block_count)
			memcpy(blocks + r->first_block, log->view.blocks,
				r->block_count * sizeof(*blocks));
		p.blocks = blocks;
		p.block_count = count;
	} else if (ok) {
		verify_failed(v, path, -ENOMEM);
	} else {
		free(p.blocks);
		p.blocks = NULL;
	}
	part_verify(v, &p);
	part_close(&p);
}

/* --- the directory of a log -------------------------------------------------------------- */

static bool is_rolled(const struct state_log *log, int64_t base)
{
	for (uint32_t i = 0; i < log->rolled_count; i++)
		if (log->rolled[i] == base)
			return true;
	return base == log->ckpt_segment;
}

static bool names_have(const struct names *n, int64_t base, const char *kind, const char *suffix)
{
	char name[FMT_NAME_SIZE], full[FMT_NAME_SIZE + 16];
	fmt_segment_name(name, base, kind);
	snprintf(full, sizeof(full), "%s%s", name, suffix);
	for (uint32_t i = 0; i < n->count; i++)
		if (strcmp(n->names[i], full) == 0)
			return true;
	return false;
}

static void verify_log_meta(struct verify *v, const struct state_log *log, const char *dir)
{
	char path[PATH_SIZE];
	uint8_t *p;
	uint64_t size;
	struct fmt_log_meta m;
	path_join(path, dir, FMT_LOG_META_NAME);
	int rc = file_load(path, &p, &size);
	if (rc < 0) {
		/* the journal makes it anew when the checkpoint does not know of files yet */
		if (rc != -ENOENT || (log->ckpt && (log->ckpt->flags & CKPT_LOG_FILES)))
			verify_failed(v, path, rc);
		return;
	}
	bool ok = fmt_log_meta_check(p, size) == FMT_OK;
	if (ok) {
		memcpy(&m, p, sizeof(m));
		ok = uuid_equal(&m.topic_id, &log->topic_id) && m.partition == log->partition;
	}
	free(p);
	if (!ok && (!log->ckpt || !(log->ckpt->flags & CKPT_LOG_FILES)))
		find(&v->finder, FOUND_NOTE, path, "not whole: it was being written");
	else if (!ok)
		find(&v->finder, FOUND_CORRUPT, path, "damaged");
}

/* A name in a log's directory that is no segment in its place. */
static void verify_log_name(struct verify *v, const struct state_log *log, const char *dir,
	const struct names *n, uint32_t i)
{
	const char *name = n->names[i];
	char path[PATH_SIZE];
	int64_t base;
	path_join(path, dir, name);
	if (strcmp(name, FMT_LOG_META_NAME) == 0 || strcmp(name, FMT_SPARE_NAME) == 0 ||
		strcmp(name, FMT_NOTE_NAME) == 0)
		return;
	const char *end = name + strlen(name);
	if (path_base(name, &base) &&
		(strcmp(end - min_of(strlen(name), strlen(SUFFIX_SWAP)), SUFFIX_SWAP) == 0 ||
			strcmp(end - min_of(strlen(name), strlen(SUFFIX_CLEANED)),
				SUFFIX_CLEANED) == 0)) {
		find(&v->finder, FOUND_NOTE, path,
			"of a compaction that was cut off: it is finished or taken back when the "
			"log is opened");
		return;
	}
	bool log_file = fmt_segment_name_parse(name, "log", &base);
	if (!log_file && !fmt_segment_name_parse(name, "index", &base))
		find(&v->finder, FOUND_NOTE, path, "stray: not of millrace");
	else if (base >= log->ckpt_segment && !is_rolled(log, base))
		find(&v->finder, FOUND_NOTE, path,
			"of a segment that was never begun for good: the next append replaces it");
	else if (!log_file && base < log->ckpt_segment && !names_have(n, base, "log", "") &&
		 !names_have(n, base, "log", SUFFIX_SWAP))
		find(&v->finder, FOUND_NOTE, path, "an index without its segment");
}

/* The sealed segments, ascending. */
static void verify_older(
	struct verify *v, const struct state_log *log, const char *dir, const struct names *n)
{
	int64_t expected = -1, base;
	for (uint32_t i = 0; i < n->count; i++) {
		char stem[FMT_NAME_SIZE];
		bool swap = false;
		if (!fmt_segment_name_parse(n->names[i], "log", &base)) {
			/* <base>.log.swap stands for <base>.log, which comes before it */
			if (!path_base(n->names[i], &base))
				continue;
			fmt_segment_name(stem, base, "log");
			size_t length = strlen(stem);
			if (strncmp(n->names[i], stem, length) != 0 ||
				strcmp(n->names[i] + length, SUFFIX_SWAP) != 0)
				continue;
			swap = true;
		} else if (names_have(n, base, "log", SUFFIX_SWAP)) {
			continue;
		}
		if (base >= log->ckpt_segment || (expected > base))
			continue;
		if (expected < 0 ? base > log->log_start_offset : base != expected)
			find(&v->finder, FOUND_CORRUPT, dir,
				"the offsets from %lld to %lld are missing",
				(long long)(expected < 0 ? log->log_start_offset : expected),
				(long long)base);
		int64_t next = log->ckpt_segment, other;
		for (uint32_t k = i + 1; k < n->count; k++)
			if (fmt_segment_name_parse(n->names[k], "log", &other) && other > base) {
				next = other;
				break;
			}
		int64_t end = verify_sealed(v, log, dir, base, swap, next);
		expected = end >= 0 ? end : next;
	}
	int64_t first = log->ckpt_segment;
	if (expected < 0 ? log->log_start_offset < first : expected != first)
		find(&v->finder, FOUND_CORRUPT, dir, "the offsets from %lld to %lld are missing",
			(long long)(expected < 0 ? log->log_start_offset : expected),
			(long long)first);
}

void verify_log(struct verify *v, const struct state_log *log)
{
	char dir[PATH_SIZE];
	struct names n;
	bool has_files = log->ckpt && (log->ckpt->flags & CKPT_LOG_FILES);
	path_join(dir, v->state.dir, log->name);
	verify_progress(v);
	int rc = names_read(&n, dir);
	if (rc == -ENOENT && !has_files) {
		rc = 0; /* its first page has not been filled */
		n = (struct names){0};
	} else if (rc == 0) {
		verify_log_meta(v, log, dir);
	}
	if (rc < 0) {
		verify_failed(v, dir, rc);
		return;
	}
	if (log->ckpt && (log->ckpt->flags & CKPT_LOG_DAMAGED))
		find(&v->finder, FOUND_NOTE, dir, "the broker has marked it as damaged");
	for (uint32_t i = 0; i < n.count; i++)
		verify_log_name(v, log, dir, &n, i);
	verify_older(v, log, dir, &n);
	if (log->ckpt)
		verify_active(v, log, dir);
	names_free(&n);
}

/* --- direct runs ------------------------------------------------------------------------- */

/* Whether the bytes of the run are there. 1, 0, or -errno. */
static int run_is_there(struct verify *v, const struct direct_run *r, int fd)
{
	uint64_t at = r->e.pos - r->d.lead, end = r->e.pos + r->e.length;
	uint32_t crc = 0;
	while (at < end) {
		size_t n = (size_t)min_of(end - at, (uint64_t)VERIFY_BUF);
		int rc = file_pread(fd, v->buf, n, at);
		if (rc < 0)
			return rc == -ENODATA ? 0 : rc;
		crc = crc32c(crc, v->buf, n);
		v->bytes += n;
		at += n;
	}
	return crc == r->e.crc;
}

/* Where the segment ends in the log as it is now. */
static int64_t run_segment_end(const struct direct_run *r, const struct state_log *log)
{
	for (uint32_t i = 0; i < log->rolled_count; i++)
		if (log->rolled[i] > r->e.segment)
			return log->rolled[i];
	return log->end_offset;
}

static void verify_run(struct verify *v, const struct direct_run *r)
{
	const struct state_log *log = &v->state.logs[r->log];
	char dir[PATH_SIZE], name[FMT_NAME_SIZE], path[PATH_SIZE];
	uint64_t size;
	if (log->deleted)
		return;
	path_join(dir, v->state.dir, log->name);
	fmt_segment_name(name, r->e.segment, "log");
	path_join(path, dir, name);
	int fd = file_open(path, &size);
	if (fd == -ENOENT && run_segment_end(r, log) <= log->log_start_offset)
		return; /* retention has removed it since */
	int there = fd >= 0 ? run_is_there(v, r, fd) : fd == -ENOENT ? 0 : fd;
	if (fd >= 0)
		close(fd);
	if (there < 0)
		verify_failed(v, path, there);
	else if (!there && r->last)
		find(&v->finder, FOUND_NOTE, path,
			"torn: the run at byte %llu was being written, and never acknowledged",
			(unsigned long long)r->e.pos);
	else if (!there)
		find(&v->finder, FOUND_CORRUPT, path,
			"byte %llu: not the %u bytes that the journal tells of",
			(unsigned long long)r->e.pos, r->e.length);
}

void verify_runs(struct verify *v)
{
	for (uint32_t i = 0; i < v->state.run_count; i++) {
		verify_run(v, &v->state.runs[i]);
		verify_progress(v);
	}
}
