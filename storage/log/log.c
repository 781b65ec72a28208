/* SPDX-License-Identifier: Apache-2.0 */
/* A log in memory: what it is called, its segments, its leader epochs. */
#include "storage/log/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

void log_env_init(struct log_env *env, struct io *io, struct store *store, uint8_t *scratch)
{
	*env = (struct log_env){.io = io, .store = store, .scratch = scratch, .cold_max = 256};
	list_init(&env->cold);
}

void log_env_fini(struct log_env *env)
{
	record_scratch_destroy(env->records);
	free(env->inflate);
	env->records = NULL;
	env->inflate = NULL;
}

/* --- life -------------------------------------------------------------------------------- */

static int log_add_segment(struct log *l, struct segment *s)
{
	if (l->segment_count == l->segment_capacity) {
		uint32_t capacity = l->segment_capacity ? l->segment_capacity * 2 : 1;
		struct segment **p = realloc(l->segments, capacity * sizeof(struct segment *));
		if (!p)
			return -ENOMEM;
		l->segments = p;
		l->segment_capacity = capacity;
	}
	l->segments[l->segment_count++] = s;
	return 0;
}

struct log *log_new(uint16_t dir, const struct uuid *topic_id, int32_t partition, const char *topic,
	uint32_t number, int64_t start_offset)
{
	struct log *l = calloc(1, sizeof(*l));
	struct segment *s = segment_new(start_offset);
	if (l)
		l->topic = strdup(topic);
	if (!l || !s || !l->topic || log_add_segment(l, s) < 0) {
		if (l)
			free(l->topic);
		free(s);
		free(l);
		return NULL;
	}
	l->number = number;
	l->dir = dir;
	l->topic_id = *topic_id;
	l->partition = partition;
	l->log_start_offset = l->checkpoint_segment = start_offset;
	l->older_max_timestamp = -1;
	l->listed = true;
	return l;
}

void log_free(struct log_env *env, struct log *l)
{
	if (!l)
		return;
	for (uint32_t i = 0; i < l->segment_count; i++)
		segment_free(env, l->segments[i]);
	if (l->meta_file)
		env->io->api->close(env->io, l->meta_file);
	free(l->segments);
	free(l->epochs);
	free(l->topic);
	free(l);
}

int log_roll(struct log *l, int64_t base_offset, int64_t now_ms)
{
	struct segment *old = log_active(l);
	CHECK(base_offset == old->end_offset && old->end_pos > 0);
	struct segment *s = segment_new(base_offset);
	if (!s || log_add_segment(l, s) < 0) {
		free(s);
		return -ENOMEM;
	}
	s->created_ms = now_ms;
	s->leader_epoch = old->leader_epoch;
	old->rolled = true;
	old->known = true;
	l->older_max_timestamp = max_of(l->older_max_timestamp, old->max_timestamp);
	return 0;
}

void log_unroll(struct log_env *env, struct log *l)
{
	struct segment *s = log_active(l);
	CHECK(s->end_pos == 0 && l->segment_count > 1 && s->reads == 0);
	l->may_have_stray = true;
	segment_free(env, s);
	l->segment_count--;
	log_active(l)->rolled = false;
}

/*
 * A roll creates its file before it is committed. When that did not happen any more, the file is
 * named by the offset at which the log ended then, and that is where it ends now.
 */
int log_remove_stray(struct log_env *env, struct log *l)
{
	char path[IO_PATH_MAX];
	if (!l->may_have_stray)
		return 0;
	if (log_active(l)->end_pos > 0) {
		segment_path(env, l, log_end_offset(l), "log", path);
		int rc = env->io->api->unlink(env->io, path);
		log_path(env, l, path);
		if (rc == 0)
			rc = log_flush_dir(env, path);
		if (rc < 0 && rc != -ENOENT)
			return rc;
	}
	l->may_have_stray = false;
	return 0;
}

int log_note_epoch(struct log *l, int32_t epoch, int64_t base_offset)
{
	if (l->epoch_count > 0 && l->epochs[l->epoch_count - 1].epoch >= epoch)
		return 0;
	if (l->epoch_count == l->epoch_capacity) {
		uint32_t capacity = l->epoch_capacity ? l->epoch_capacity * 2u : 1u;
		if (capacity > UINT16_MAX) { /* the oldest are of no use to anyone */
			uint32_t half = l->epoch_count / 2u;
			memmove(l->epochs, l->epochs + half,
				(l->epoch_count - half) * sizeof(*l->epochs));
			l->epoch_count = (uint16_t)(l->epoch_count - half);
			capacity = l->epoch_capacity;
		}
		struct fmt_ckpt_epoch *p = realloc(l->epochs, capacity * sizeof(*p));
		if (!p)
			return -ENOMEM;
		l->epochs = p;
		l->epoch_capacity = (uint16_t)capacity;
	}
	l->epochs[l->epoch_count++] = (struct fmt_ckpt_epoch){
		.epoch = epoch,
		.start_offset = base_offset,
	};
	return 0;
}

/* --- names ------------------------------------------------------------------------------- */

void log_path(const struct log_env *env, const struct log *l, char out[IO_PATH_MAX])
{
	char name[FMT_NAME_SIZE];
	fmt_log_name(name, &l->topic_id, l->partition);
	int n = snprintf(out, IO_PATH_MAX, "%s/%s", store_dir_path(env->store, l->dir), name);
	CHECK(n > 0 &&
		(size_t)n < IO_PATH_MAX); /* store_open has looked at the directory's length */
}

void segment_path(const struct log_env *env, const struct log *l, int64_t base_offset,
	const char *suffix, char out[IO_PATH_MAX])
{
	char dir[IO_PATH_MAX], name[FMT_NAME_SIZE];
	log_path(env, l, dir);
	fmt_segment_name(name, base_offset, suffix);
	int n = snprintf(out, IO_PATH_MAX, "%s/%s", dir, name);
	CHECK(n > 0 && (size_t)n < IO_PATH_MAX);
}

/* log.meta is for people and tools: what the broker needs stands in the checkpoint. */
int log_make_files(struct log_env *env, struct log *l)
{
	struct io *io = env->io;
	struct fmt_log_meta m = {
		.topic_id = l->topic_id,
		.partition = l->partition,
		.topic_length = (uint16_t)strlen(l->topic),
		.log_start_offset = l->log_start_offset,
	};
	char dir[IO_PATH_MAX], path[IO_PATH_MAX];
	CHECK(!l->has_files && !l->meta_file);
	memcpy(m.topic, l->topic, m.topic_length);
	fmt_seal(&m, sizeof(m), FMT_LOG_MAGIC);
	log_path(env, l, dir);
	int n = snprintf(path, sizeof(path), "%s/%s", dir, FMT_LOG_META_NAME);
	CHECK(n > 0 && (size_t)n < sizeof(path));
	int rc = io->api->mkdir(io, dir);
	if (rc < 0 && rc != -EEXIST)
		return rc;
	rc = io->api->open(io, path, IO_CREATE | IO_TRUNC, &l->meta_file);
	if (rc < 0)
		return rc;
	int64_t put = io->api->pwrite(io, l->meta_file, &m, sizeof(m), 0);
	if (put != (int64_t)sizeof(m)) {
		io->api->close(io, l->meta_file);
		l->meta_file = NULL;
		return put < 0 ? (int)put : -EIO;
	}
	l->has_files = true;
	l->names_dirty = true;
	return 0;
}

int log_flush_names(struct log_env *env, struct log *l)
{
	char path[IO_PATH_MAX];
	if (!l->names_dirty && !l->names_flushing)
		return 0;
	if (l->meta_file && log_flush(env, l->meta_file) < 0)
		return -EIO;
	if (l->meta_file)
		env->io->api->close(env->io, l->meta_file);
	l->meta_file = NULL;
	log_path(env, l, path);
	if (log_flush_dir(env, path) < 0 ||
		log_flush_dir(env, store_dir_path(env->store, l->dir)) < 0)
		return -EIO;
	l->names_dirty = false;
	l->dir_named = true;
	return 0;
}

/* --- checkpoints ------------------------------------------------------------------------- */

void log_describe(const struct log *l, struct fmt_ckpt_log *out)
{
	const struct segment *s = log_active(l);
	uint32_t first = s->pages_saved * BIDX_PER_PAGE;
	/* what the record says is in files is there before it counts */
	bool files = l->has_files || l->segment_count > 1 || s->end_pos >= FMT_PAGE;
	*out = (struct fmt_ckpt_log){
		.topic_id = l->topic_id,
		.partition = l->partition,
		.log = l->number,
		.flags = (l->damaged ? CKPT_LOG_DAMAGED : 0) | (files ? CKPT_LOG_FILES : 0),
		.topic_length = (uint16_t)strlen(l->topic),
		.epoch_count = l->epoch_count,
		.block_count = s->block_count - first,
		.first_block = first,
		.log_start_offset = l->log_start_offset,
		.segment = s->base_offset,
		.end_offset = s->end_offset,
		.end_pos = s->end_pos,
		.fill_pos = align_down(s->end_pos, (uint64_t)FMT_PAGE),
		.created_ms = s->created_ms,
		.max_timestamp = s->max_timestamp,
		.older_max_timestamp = l->older_max_timestamp,
		.file_size = s->file_size,
	};
}

/* The active segment of the record. Its entries in full index pages are read when they are needed.
 */
static bool segment_of_ckpt(struct segment *s, const struct ckpt_view *v)
{
	const struct fmt_ckpt_log *r = v->log;
	uint32_t count = r->first_block + r->block_count;
	s->end_offset = r->end_offset;
	s->end_pos = r->end_pos;
	s->fill_pos = r->fill_pos;
	s->created_ms = r->created_ms;
	s->max_timestamp = r->max_timestamp;
	s->file_size = r->file_size;
	s->pages_saved = r->first_block / BIDX_PER_PAGE;
	if (r->epoch_count > 0)
		s->leader_epoch = v->epochs[r->epoch_count - 1].epoch;
	s->blocks = count ? calloc(count, sizeof(*s->blocks)) : NULL;
	if (count && !s->blocks)
		return false;
	s->block_count = s->block_capacity = count;
	if (r->block_count)
		memcpy(s->blocks + r->first_block, v->blocks, r->block_count * sizeof(*s->blocks));
	s->pages_missing = s->pages_saved;
	size_t tail = (size_t)(r->end_pos - r->fill_pos);
	s->tail = tail ? malloc(tail) : NULL;
	if (tail && !s->tail)
		return false;
	if (tail)
		memcpy(s->tail, v->tail, tail);
	return true;
}

struct log *log_of_ckpt(uint16_t dir, const struct ckpt_view *v)
{
	const struct fmt_ckpt_log *r = v->log;
	char topic[FMT_TOPIC_MAX + 1] = "";
	memcpy(topic, v->topic, min_of((uint32_t)r->topic_length, FMT_TOPIC_MAX));
	struct log *l = log_new(dir, &r->topic_id, r->partition, topic, r->log, r->segment);
	if (!l)
		return NULL;
	l->log_start_offset = r->log_start_offset;
	l->checkpoint_segment = r->segment;
	l->older_max_timestamp = r->older_max_timestamp;
	l->damaged = r->flags & CKPT_LOG_DAMAGED;
	l->has_files = r->flags & CKPT_LOG_FILES;
	l->listed = !l->has_files;
	l->may_have_stray = true;
	bool ok = segment_of_ckpt(log_active(l), v);
	if (ok && r->epoch_count > 0) {
		l->epochs = malloc(r->epoch_count * sizeof(*l->epochs));
		ok = l->epochs != NULL;
		if (ok)
			memcpy(l->epochs, v->epochs, r->epoch_count * sizeof(*l->epochs));
		l->epoch_count = l->epoch_capacity = ok ? r->epoch_count : 0;
	}
	if (ok)
		return l;
	struct log_env none = {0}; /* it has no open files */
	log_free(&none, l);
	return NULL;
}

struct st_pos log_released(const struct log *l)
{
	for (uint32_t i = 0; i < l->segment_count; i++) {
		const struct segment *s = l->segments[i];
		if (s->pend)
			return (struct st_pos){.segment = s->base_offset, .pos = s->fill_pos};
	}
	const struct segment *s = log_active(l);
	return (struct st_pos){.segment = s->base_offset, .pos = s->end_pos};
}

/* --- invariants -------------------------------------------------------------------------- */

static void segment_check(const struct log *l, const struct segment *s, bool active)
{
	CHECK(s->end_offset >= s->base_offset);
	CHECK(!active || (s->end_pos == 0) == (s->end_offset == s->base_offset));
	CHECK(!active || (!s->rolled && !list_linked(&s->cold_node)));
	CHECK(active || s->rolled);
	CHECK(!s->sealed || (s->rolled && !s->pend && !s->tail));
	if (s->sealed && !s->known)
		return;
	CHECK(s->fill_pos <= s->end_pos);
	CHECK(s->fill_pos % FMT_PAGE == 0 || (s->rolled && s->fill_pos == s->end_pos));
	CHECK(!(s->pend && s->tail));
	CHECK((segment_pending(s) > 0) == (s->pend || s->tail));
	CHECK(!s->tail || segment_pending(s) < FMT_PAGE);
	CHECK(!s->pend || (s->pend_pos <= s->fill_pos && s->fill_pos < s->pend_pos + LBLOCK_SIZE));
	CHECK(s->sealed || s->block_count == (s->end_pos + BIDX_BLOCK - 1) / BIDX_BLOCK);
}

void log_check(const struct log *l)
{
	CHECK(l->segment_count > 0);
	for (uint32_t i = 0; i < l->segment_count; i++) {
		const struct segment *s = l->segments[i];
		bool active = i + 1 == l->segment_count;
		segment_check(l, s, active);
		CHECK(active || s->end_offset == l->segments[i + 1]->base_offset || l->damaged);
		CHECK(l->has_files || s->fill_pos == 0);
	}
	CHECK(l->log_start_offset <= log_end_offset(l));
	CHECK(!l->listed || l->damaged || l->log_start_offset >= l->segments[0]->base_offset);
}
