/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a segment really holds. After an unclean stop the last segment is walked from its mark on,
 * or from its first byte: the log ends where the rules of scan.h end. All behind that is removed
 * for good, and flushed, before the log is served, so that a tail that was cut cannot come back
 * when later appends happen to fit in front of it.
 */
#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "storage/log/log.h"

int recover_scan(struct log_env *env, struct segment *s, enum scan_stop *stop)
{
	index_fini(&s->index);
	int rc = index_init(&s->index);
	if (rc < 0)
		return rc;
	s->max_timestamp = -1;
	s->end_pos = 0;
	s->end_offset = s->base_offset;
	return recover_scan_on(env, s, stop);
}

int recover_scan_on(struct log_env *env, struct segment *s, enum scan_stop *stop)
{
	uint64_t size;
	int rc = env->io->api->size(env->io, s->file, &size);
	if (rc < 0)
		return rc;
	s->file_size = size;
	struct scan scan;
	scan_init(&scan, s->end_pos, s->end_offset, size);
	uint64_t at = align_down(s->end_pos, (uint64_t)FMT_PAGE);
	size_t skip = (size_t)(s->end_pos - at);
	while (at + skip < size && scan.stop == SCAN_STOP_NONE) {
		int64_t got = env->io->api->pread(env->io, s->file, env->scratch, LOG_SCRATCH, at);
		if (got <= 0)
			return got < 0 ? (int)got : -EIO;
		at += LOG_SCRATCH; /* fewer: the end of the file */
		const uint8_t *p = env->scratch + skip;
		size_t n = (size_t)got > skip ? (size_t)got - skip : 0;
		skip = 0;
		while (scan_feed(&scan, &p, &n) == SCAN_BATCH) {
			if (s->index.count == 0)
				s->created_ms = scan.batch.max_timestamp;
			index_add(&s->index, &scan.batch);
			s->max_timestamp = max_of(s->max_timestamp, scan.batch.max_timestamp);
			s->leader_epoch = scan.batch.leader_epoch;
		}
	}
	scan_end(&scan);
	*stop = scan.stop;
	s->end_pos = scan.pos;
	s->end_offset = scan.next_offset;
	return 0;
}

static bool is_zero(const uint8_t *p, size_t n)
{
	return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

/* How many bytes from end_pos on up to the last one that is not zero; negative: -errno. */
static int64_t recover_litter(struct log_env *env, const struct segment *s)
{
	uint64_t last = s->end_pos;
	for (uint64_t at = align_down(s->end_pos, (uint64_t)FMT_PAGE); at < s->file_size;) {
		int64_t got = env->io->api->pread(env->io, s->file, env->scratch, LOG_SCRATCH, at);
		if (got <= 0)
			return got < 0 ? got : -EIO;
		size_t skip = at < s->end_pos ? (size_t)(s->end_pos - at) : 0;
		size_t n = (size_t)got;
		if (n > skip && !is_zero(env->scratch + skip, n - skip)) {
			while (env->scratch[n - 1] == 0)
				n--;
			last = at + n;
		}
		at += LOG_SCRATCH;
	}
	return (int64_t)(last - s->end_pos);
}

/* Zeros from end_pos to the end of its page, nothing behind that page. */
static int recover_cut(struct log_env *env, struct segment *s)
{
	struct io *io = env->io;
	uint64_t page = align_down(s->end_pos, (uint64_t)FMT_PAGE);
	uint64_t size = align_up(s->end_pos, (uint64_t)FMT_PAGE);
	int rc = io->api->truncate(io, s->file, size); /* or grows it to whole pages */
	if (rc < 0)
		return rc;
	s->file_size = size;
	if (page == size)
		return 0;
	int64_t n = io->api->pread(io, s->file, env->scratch, FMT_PAGE, page);
	if (n == FMT_PAGE) {
		memset(env->scratch + (s->end_pos - page), 0, (size_t)(size - s->end_pos));
		n = io->api->pwrite(io, s->file, env->scratch, FMT_PAGE, page);
	}
	return n == FMT_PAGE ? 0 : n < 0 ? (int)n : -EIO;
}

/* Scans from the mark on, where there is one. */
static int recover_from_mark(struct log_env *env, const struct log *l, struct segment *s)
{
	enum scan_stop stop;
	uint64_t size;
	int rc = index_load(env, l, s, true);
	if (rc == -ENOENT || rc == -EBADMSG)
		return recover_scan(env, s, &stop);
	if (rc == 0)
		rc = env->io->api->size(env->io, s->file, &size);
	if (rc < 0)
		return rc;
	if (size < s->end_pos)
		return -EBADMSG;
	s->marked_pos = s->end_pos;
	return recover_scan_on(env, s, &stop);
}

int recover_active(struct log_env *env, const struct log *l, struct segment *s, uint64_t *cut_bytes)
{
	int rc = recover_from_mark(env, l, s);
	if (rc < 0)
		return rc;
	int64_t litter = recover_litter(env, s);
	if (litter < 0)
		return (int)litter;
	*cut_bytes = (uint64_t)litter;
	if (litter > 0 || s->file_size % FMT_PAGE != 0) {
		rc = recover_cut(env, s);
		if (rc < 0)
			return rc;
	}
	/* What is kept may so far be in the device's cache only: it was never acknowledged. */
	return log_flush(env, s->file);
}
