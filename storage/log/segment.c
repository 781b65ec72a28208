/* SPDX-License-Identifier: Apache-2.0 */
/* Segment files: creation, growth, sealing, and the few sealed ones that are open for readers. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

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

/* Closes the file and drops the index of a sealed segment that nobody reads. */
static void segment_chill(struct log_env *env, struct segment *s)
{
	CHECK(s->reads == 0);
	if (list_linked(&s->cold_node)) {
		list_remove(&s->cold_node);
		env->cold_count--;
	}
	if (s->file)
		env->io->api->close(env->io, s->file);
	s->file = NULL;
	index_fini(&s->index);
}

void segment_free(struct log_env *env, struct segment *s)
{
	if (!s)
		return;
	segment_chill(env, s);
	free(s);
}

void segment_path(
	char out[IO_PATH_MAX], const struct log *l, int64_t base_offset, const char *suffix)
{
	char name[FMT_NAME_SIZE];
	fmt_segment_name(name, base_offset, suffix);
	int n = snprintf(out, IO_PATH_MAX, "%s/%s", l->path, name);
	CHECK(n > 0 &&
		(unsigned)n < IO_PATH_MAX); /* log_open has looked at the length of l->path */
}

uint64_t log_grown_size(const struct segment *s, uint64_t end)
{
	uint64_t step = GROW_MIN;
	while (step < s->file_size && step < GROW_MAX)
		step *= 2;
	return align_up(end, step);
}

int segment_create(struct log_env *env, const struct log *l, struct segment *s)
{
	struct io *io = env->io;
	char path[IO_PATH_MAX];
	segment_path(path, l, s->base_offset, "log");
	int rc = index_init(&s->index);
	if (rc < 0)
		return rc;
	rc = io->api->open(io, path, IO_CREATE | IO_TRUNC | IO_DIRECT, &s->file);
	if (rc < 0)
		return rc;
	return log_flush_dir(
		env, l->path); /* or the directory is offline: nobody goes on without s */
}

/* Everything of it is on stable storage afterwards, with an index beside it. 0 or -errno. */
static int segment_seal(struct log_env *env, const struct log *l, struct segment *s)
{
	struct io *io = env->io;
	uint64_t size = align_up(s->end_pos, (uint64_t)FMT_PAGE);
	int rc = size < s->file_size ? io->api->truncate(io, s->file, size) : 0;
	if (rc == 0) {
		s->file_size = size;
		rc = log_flush(env, s->file);
	}
	return rc < 0 ? rc : index_store(env, l, s, true);
}

int log_reserve(struct log *l)
{
	if (l->segment_count < l->segment_capacity)
		return 0;
	uint32_t capacity = l->segment_capacity ? l->segment_capacity * 2 : 4;
	struct segment **p = realloc(l->segments, capacity * sizeof(struct segment *));
	if (!p)
		return -ENOMEM;
	l->segments = p;
	l->segment_capacity = capacity;
	return 0;
}

enum st_err log_roll(struct log_env *env, struct log *l, int64_t base_offset, int64_t now_ms)
{
	struct segment *old = log_active(l);
	CHECK(base_offset == old->end_offset && old->end_pos > 0);
	int rc = segment_seal(env, l, old);
	if (rc < 0)
		return log_failed(env, l->dir, rc, "seal a segment of", l->path);
	struct segment *s = segment_new(base_offset);
	rc = s ? log_reserve(l) : -ENOMEM;
	if (rc == 0)
		rc = segment_create(env, l, s);
	if (rc < 0) {
		segment_free(env, s);
		return log_failed(env, l->dir, rc, "create a segment in", l->path);
	}
	l->segments[l->segment_count++] = s;
	s->created_ms = now_ms;
	s->leader_epoch = old->leader_epoch;
	env->cold_count++;
	list_push_back(&env->cold, &old->cold_node);
	segment_cool(env);
	return ST_OK;
}

enum st_err segment_warm(struct log_env *env, struct log *l, struct segment *s)
{
	if (s == log_active(l))
		return ST_OK;
	if (list_linked(&s->cold_node)) { /* most recently used is last */
		list_remove(&s->cold_node);
		list_push_back(&env->cold, &s->cold_node);
		return ST_OK;
	}
	char path[IO_PATH_MAX];
	segment_path(path, l, s->base_offset, "log");
	int64_t end_offset = s->end_offset;
	int rc = env->io->api->open(env->io, path, IO_RDONLY | IO_DIRECT, &s->file);
	if (rc < 0) {
		env->io_errors++;
		log_error("storage", "cannot open %s: error %d", path, -rc);
		return rc == -EMFILE || rc == -ENFILE || rc == -ENOMEM ? ST_E_LIMIT : ST_E_CORRUPT;
	}
	env->cold_count++;
	list_push_back(&env->cold, &s->cold_node);
	if (index_load(env, l, s, true) == 0 && s->end_offset == end_offset) {
		segment_cool(env);
		return ST_OK;
	}
	enum scan_stop stop;
	rc = recover_scan(env, s, &stop);
	if (rc < 0 || s->end_offset != end_offset) {
		log_error("storage", "%s is damaged at byte %llu: %s", path,
			(unsigned long long)s->end_pos,
			rc < 0 ? "read error" : scan_stop_name(stop));
		s->end_offset = end_offset;
		segment_chill(env, s);
		return rc == -ENOMEM ? ST_E_LIMIT : ST_E_CORRUPT;
	}
	segment_cool(env);
	return ST_OK;
}

void segment_cool(struct log_env *env)
{
	list_for_each_safe (it, &env->cold) {
		struct segment *s = list_entry(it, struct segment, cold_node);
		if (env->cold_count <= env->cold_max)
			return;
		if (s->reads == 0 && it != env->cold.prev) /* not the one just used */
			segment_chill(env, s);
	}
}

void log_check(const struct log *l)
{
	CHECK(l->segment_count > 0);
	for (uint32_t i = 0; i < l->segment_count; i++) {
		const struct segment *s = l->segments[i];
		bool active = i + 1 == l->segment_count;
		CHECK(s->end_offset >= s->base_offset);
		CHECK((s->end_pos == 0) == (s->end_offset == s->base_offset));
		CHECK(active || s->end_offset == l->segments[i + 1]->base_offset);
		CHECK(!active || (s->file && s->index.entries && !list_linked(&s->cold_node)));
		CHECK(!active || s->end_pos <= s->file_size);
		CHECK(s->reads == 0 || s->file);
	}
	CHECK(l->log_start_offset >= l->segments[0]->base_offset);
	CHECK(l->log_start_offset <= log_end_offset(l));
}
