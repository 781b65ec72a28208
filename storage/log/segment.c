/* SPDX-License-Identifier: Apache-2.0 */
/* Segments: their files, their pending bytes, and the few sealed ones that are open for readers. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "storage/log/log.h"

/* Room is allocated ahead in steps as large as what there is, within these bounds. */
#define GROW_MIN (256u * 1024u)
#define GROW_MAX (32u * 1024u * 1024u)

struct segment *segment_new(int64_t base_offset)
{
	struct segment *s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->base_offset = s->end_offset = base_offset;
	s->max_timestamp = -1;
	list_init(&s->cold_node);
	return s;
}

static void segment_forget_blocks(struct segment *s)
{
	free(s->blocks);
	s->blocks = NULL;
	s->block_count = s->block_capacity = 0;
}

/* Closes the files and drops the blocks of a sealed segment that nobody reads. */
static void segment_chill(struct log_env *env, struct segment *s)
{
	CHECK(s->reads == 0 && !s->file_dirty && !s->index_dirty);
	if (list_linked(&s->cold_node)) {
		list_remove(&s->cold_node);
		env->cold_count--;
	}
	if (s->file)
		env->io->api->close(env->io, s->file);
	if (s->index_file)
		env->io->api->close(env->io, s->index_file);
	s->file = s->index_file = NULL;
	segment_forget_blocks(s);
}

void segment_close(struct log_env *env, struct segment *s)
{
	CHECK(s->sealed);
	segment_chill(env, s);
}

void segment_free(struct log_env *env, struct segment *s)
{
	if (!s)
		return;
	s->file_dirty = s->index_dirty = false; /* whoever frees it has no more use for it */
	s->reads = 0;
	segment_chill(env, s);
	free(s->tail);
	free(s);
}

uint64_t segment_grown_size(const struct segment *s, uint64_t end)
{
	uint64_t step = GROW_MIN;
	while (step < s->file_size && step < GROW_MAX)
		step *= 2;
	return align_up(end, step);
}

int segment_open_file(struct log_env *env, struct log *l, struct segment *s)
{
	char path[IO_PATH_MAX];
	if (s->file)
		return 0;
	if (!l->has_files) {
		int rc = log_make_files(env, l);
		if (rc < 0)
			return rc;
	}
	/* What a file of this name holds already was never committed, or is what the journal tells
	 * of: it is overwritten, or left as it is. */
	segment_path(env, l, s->base_offset, "log", path);
	spare_take(env, l, s, path);
	int rc = env->io->api->open(env->io, path, IO_DIRECT | IO_CREATE, &s->file);
	if (rc == 0 && s->fill_pos == 0)
		l->names_dirty = true;
	return rc;
}

/* --- reading ----------------------------------------------------------------------------- */

static enum st_err segment_open_failed(
	struct log_env *env, const struct log *l, const struct segment *s, int rc)
{
	char path[IO_PATH_MAX];
	segment_path(env, l, s->base_offset, "log", path);
	env->io_errors++;
	log_error("storage", "cannot open %s: %s", path, strerror(-rc));
	return rc == -EMFILE || rc == -ENFILE || rc == -ENOMEM ? ST_E_LIMIT : ST_E_CORRUPT;
}

enum st_err segment_warm(struct log_env *env, struct log *l, struct segment *s)
{
	char path[IO_PATH_MAX];
	if (list_linked(&s->cold_node)) { /* most recently used is last */
		list_remove(&s->cold_node);
		list_push_back(&env->cold, &s->cold_node);
		return ST_OK;
	}
	if (!s->file && (s->sealed || s->fill_pos > 0)) {
		segment_path(env, l, s->base_offset, "log", path);
		unsigned flags = IO_DIRECT | (s->sealed ? IO_RDONLY : 0);
		int rc = env->io->api->open(env->io, path, flags, &s->file);
		if (rc < 0)
			return segment_open_failed(env, l, s, rc);
	}
	enum st_err err = ST_OK;
	if ((s->sealed && !s->blocks) || s->pages_missing > 0)
		err = blocks_load(env, l, s);
	if (err == ST_OK && s->sealed) {
		env->cold_count++;
		list_push_back(&env->cold, &s->cold_node);
		segment_cool(env);
	} else if (err != ST_OK && s->sealed && s->reads == 0) {
		segment_chill(env, s);
	}
	return err;
}

void segment_cool(struct log_env *env)
{
	list_for_each_safe (it, &env->cold) {
		struct segment *s = list_entry(it, struct segment, cold_node);
		if (env->cold_count <= env->cold_max)
			return;
		bool used = s->reads > 0 || s->file_dirty || s->index_dirty;
		if (!used && it != env->cold.prev) /* not the one just used */
			segment_chill(env, s);
	}
}

void segment_rest(struct log_env *env, struct segment *s)
{
	CHECK(s->sealed);
	if (s->index_file)
		env->io->api->close(env->io, s->index_file);
	s->index_file = NULL;
	if (list_linked(&s->cold_node) || !s->file)
		return;
	env->cold_count++;
	list_push_back(&env->cold, &s->cold_node);
	segment_cool(env);
}

/* --- pending bytes ----------------------------------------------------------------------- */

void segment_copy_pending(const struct segment *s, uint64_t pos, void *dst, size_t n)
{
	uint8_t *out = dst;
	CHECK(pos >= s->fill_pos && pos + n <= s->end_pos);
	if (n > 0 && s->tail) {
		memcpy(out, s->tail + (pos - s->fill_pos), n);
		return;
	}
	const struct lblock *b = s->pend;
	uint64_t at = s->pend_pos;
	while (n > 0) {
		for (; at + LBLOCK_SIZE <= pos; at += LBLOCK_SIZE)
			b = b->next;
		size_t off = (size_t)(pos - at);
		size_t run = min_of(n, (size_t)LBLOCK_SIZE - off);
		memcpy(out, b->data + off, run);
		out += run;
		pos += run;
		n -= run;
	}
}

bool segment_keep_tail(struct segment *s)
{
	size_t n = (size_t)segment_pending(s);
	CHECK(n < FMT_PAGE);
	if (!s->pend)
		return true;
	if (n > 0) {
		uint8_t *tail = malloc(n);
		if (!tail)
			return false;
		segment_copy_pending(s, s->fill_pos, tail, n);
		s->tail = tail;
	}
	s->pend = NULL;
	return true;
}

/* From the file, by whole pages. */
static int segment_pread_file(
	struct log_env *env, struct segment *s, uint8_t *buf, size_t n, uint64_t pos)
{
	struct io *io = env->io;
	uint8_t *page =
		env->scratch + LOG_SCRATCH - FMT_PAGE; /* callers leave the last page alone */
	while (n > 0) {
		uint64_t from = align_down(pos, (uint64_t)FMT_PAGE);
		bool aligned = from == pos && n >= FMT_PAGE && (uintptr_t)buf % FMT_PAGE == 0;
		size_t want = aligned ? align_down(n, (size_t)FMT_PAGE) : FMT_PAGE;
		int64_t got = io->api->pread(io, s->file, aligned ? buf : page, want, from);
		if (got != (int64_t)want) {
			env->io_errors++;
			return got < 0 ? (int)got : -EIO;
		}
		size_t skip = (size_t)(pos - from);
		size_t run = min_of(n, want - skip);
		if (!aligned)
			memcpy(buf, page + skip, run);
		buf += run;
		pos += run;
		n -= run;
	}
	return 0;
}

int segment_pread(struct log_env *env, struct segment *s, void *buf, size_t n, uint64_t pos)
{
	size_t filed = pos < s->fill_pos ? (size_t)min_of((uint64_t)n, s->fill_pos - pos) : 0;
	CHECK(pos + n <= s->end_pos);
	int rc = filed > 0 ? segment_pread_file(env, s, buf, filed, pos) : 0;
	if (rc == 0 && n > filed)
		segment_copy_pending(s, pos + filed, (uint8_t *)buf + filed, n - filed);
	return rc;
}
