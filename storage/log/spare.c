/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recycling. A log that is written to in large runs keeps the file of one segment that retention
 * has removed, and the next roll takes it. All of that file has been written, so that writes into
 * it change no metadata: they need no flush of their own where one flush reaches all files
 * (io_api.flush_reaches), and no extents are allocated or converted for them.
 *
 * Its old bytes mean nothing: where a segment ends is said by journal, checkpoint and index.
 */
#include <stdio.h>

#include "base/check.h"
#include "storage/log/log.h"

#define SPARE_AGE_MAX 2u

static void spare_path(const struct log_env *env, const struct log *l, char out[IO_PATH_MAX])
{
	char dir[IO_PATH_MAX];
	log_path(env, l, dir);
	int n = snprintf(out, IO_PATH_MAX, "%s/%s", dir, FMT_SPARE_NAME);
	CHECK(n > 0 && (size_t)n < IO_PATH_MAX);
}

bool spare_keep(struct log_env *env, struct log *l, const struct segment *s)
{
	char from[IO_PATH_MAX], to[IO_PATH_MAX];
	CHECK(s->sealed && !s->file_dirty);
	if (!l->hot || l->spare_size > 0 || !s->known || s->damaged || s->end_pos < FMT_PAGE)
		return false;
	segment_path(env, l, s->base_offset, "log", from);
	spare_path(env, l, to);
	if (env->io->api->rename(env->io, from, to) < 0)
		return false;
	l->names_dirty = true;
	l->spare_size = align_up(s->end_pos, (uint64_t)FMT_PAGE);
	l->spare_age = 0;
	return true;
}

bool spare_take(struct log_env *env, struct log *l, struct segment *s, const char *path)
{
	char from[IO_PATH_MAX];
	if (l->spare_size == 0 || s->fill_pos > 0 || s->file_size > 0)
		return false;
	spare_path(env, l, from);
	uint64_t size = l->spare_size;
	l->spare_size = 0;
	if (env->io->api->rename(env->io, from, path) < 0)
		return false;
	l->names_dirty = true;
	s->file_size = s->written_to = size;
	env->recycled++;
	return true;
}

void spare_drop(struct log_env *env, struct log *l)
{
	char path[IO_PATH_MAX];
	if (l->spare_size == 0)
		return;
	spare_path(env, l, path);
	env->io->api->unlink(env->io, path);
	l->names_dirty = true;
	l->spare_size = 0;
}

void spare_grow_old(struct log_env *env, struct log *l)
{
	if (l->spare_size == 0 || ++l->spare_age <= SPARE_AGE_MAX)
		return;
	spare_drop(env, l);
	l->hot = false;
}
