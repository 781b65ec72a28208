/* SPDX-License-Identifier: Apache-2.0 */
/* Opening, creating and closing a log. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "storage/log/log.h"

/* Up to here a segment is searched without an index. */
#define INDEX_OPTIONAL (256u * 1024u)

static struct log *log_new(struct log_env *env, const struct st_req *r, uint16_t dir)
{
	struct log *l = calloc(1, sizeof(*l));
	if (!l)
		return NULL;
	char name[FMT_NAME_SIZE];
	fmt_log_name(name, &r->open.topic_id, r->open.partition);
	int n = snprintf(l->path, sizeof(l->path), "%s/%s", store_dir_path(env->store, dir), name);
	CHECK(n > 0 && (size_t)n < sizeof(l->path) - FMT_NAME_SIZE);
	l->dir = dir;
	l->topic_id = r->open.topic_id;
	l->partition = r->open.partition;
	return l;
}

void log_free(struct log_env *env, struct log *l)
{
	if (!l)
		return;
	for (uint32_t i = 0; i < l->segment_count; i++)
		segment_free(env, l->segments[i]);
	free(l->segments);
	free(l);
}

static int log_meta_load(struct log_env *env, const struct log *l, struct fmt_log_meta *out)
{
	char path[IO_PATH_MAX];
	void *p;
	size_t length;
	snprintf(path, sizeof(path), "%.*s/%s", IO_PATH_MAX - 16, l->path, FMT_LOG_META_NAME);
	int rc = file_load(env->io, path, sizeof(*out), &p, &length);
	if (rc < 0)
		return rc == -EFBIG ? -EBADMSG : rc;
	enum fmt_verdict v = fmt_log_meta_check(p, length);
	if (v == FMT_OK)
		memcpy(out, p, sizeof(*out));
	free(p);
	return v == FMT_OK ? 0 : v == FMT_FOREIGN ? -EPROTO : -EBADMSG;
}

static int log_meta_store(struct log_env *env, const struct log *l, const char *topic)
{
	struct fmt_log_meta m = {
		.topic_id = l->topic_id,
		.partition = l->partition,
		.topic_length = (uint16_t)strlen(topic),
		.log_start_offset = l->log_start_offset,
	};
	memcpy(m.topic, topic, m.topic_length);
	fmt_seal(&m, sizeof(m), FMT_LOG_MAGIC);
	return file_store(env, l->path, FMT_LOG_META_NAME, &m, sizeof(m), FILE_FLUSHED);
}

/* --- segments on disk -------------------------------------------------------------------- */

struct listing {
	int64_t *bases;
	uint32_t count;
	uint32_t capacity;
	bool short_of_memory;
};

static void listing_add(void *arg, const char *name)
{
	struct listing *ls = arg;
	int64_t base;
	if (!fmt_segment_name_parse(name, "log", &base) || ls->short_of_memory)
		return;
	if (ls->count == ls->capacity) {
		uint32_t capacity = ls->capacity ? ls->capacity * 2 : 16;
		int64_t *p = realloc(ls->bases, capacity * sizeof(*p));
		ls->short_of_memory = !p;
		if (!p)
			return;
		ls->bases = p;
		ls->capacity = capacity;
	}
	ls->bases[ls->count++] = base;
}

static int base_compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return (x > y) - (x < y);
}

/* Makes l->segments from the names in its directory, oldest first. */
static int log_list(struct log_env *env, struct log *l)
{
	struct listing ls = {0};
	int rc = env->io->api->list(env->io, l->path, listing_add, &ls);
	if (rc == 0 && ls.short_of_memory)
		rc = -ENOMEM;
	if (ls.count)
		qsort(ls.bases, ls.count, sizeof(*ls.bases), base_compare);
	for (uint32_t i = 0; rc == 0 && i < ls.count; i++) {
		struct segment *s = segment_new(ls.bases[i]);
		rc = s ? log_reserve(l) : -ENOMEM;
		if (rc == 0)
			l->segments[l->segment_count++] = s;
		else
			segment_free(env, s);
	}
	free(ls.bases);
	return rc;
}

static int segment_open(struct log_env *env, const struct log *l, struct segment *s, unsigned flags)
{
	char path[IO_PATH_MAX];
	segment_path(path, l, s->base_offset, "log");
	return env->io->api->open(env->io, path, flags | IO_DIRECT, &s->file);
}

/* --- creation ---------------------------------------------------------------------------- */

/*
 * Everything has its name on stable storage before the log is reported to exist (KAFKA-16814). What
 * a crash leaves of it is a directory without log.meta and without data: it is made again.
 */
static int log_create(struct log_env *env, struct log *l, const char *topic)
{
	struct io *io = env->io;
	int rc = io->api->mkdir(io, l->path);
	if (rc < 0 && rc != -EEXIST)
		return rc;
	rc = log_meta_store(env, l, topic);
	if (rc < 0)
		return rc;
	rc = log_reserve(l);
	struct segment *s = rc == 0 ? segment_new(l->log_start_offset) : NULL;
	if (!s)
		return -ENOMEM;
	rc = segment_create(env, l, s);
	if (rc < 0) {
		segment_free(env, s);
		return rc;
	}
	l->segments[l->segment_count++] = s;
	return log_flush_dir(env, store_dir_path(env->store, l->dir));
}

/* log.meta is missing: that is a creation cut short, unless there are batches. */
static int log_check_unborn(struct log_env *env, struct log *l)
{
	int rc = log_list(env, l);
	for (uint32_t i = 0; rc == 0 && i < l->segment_count; i++) {
		uint64_t size = 0;
		rc = segment_open(env, l, l->segments[i], IO_RDONLY);
		if (rc == 0)
			rc = env->io->api->size(env->io, l->segments[i]->file, &size);
		if (rc == 0 && size > 0)
			rc = -EBADMSG;
	}
	while (l->segment_count > 0)
		segment_free(env, l->segments[--l->segment_count]);
	return rc == -ENOENT ? 0 : rc;
}

/* --- opening ----------------------------------------------------------------------------- */

/* A segment that has another behind it. -EBADMSG when it does not reach up to it. */
static int log_open_sealed(struct log_env *env, struct log *l, uint32_t i)
{
	struct segment *s = l->segments[i];
	int64_t next = l->segments[i + 1]->base_offset;
	int rc = index_load(env, l, s, false);
	if (rc == 0 && s->end_offset == next)
		return 0;
	if (rc < 0 && rc != -ENOENT && rc != -EBADMSG)
		return rc;
	rc = segment_open(env, l, s, IO_RDONLY);
	enum scan_stop stop = SCAN_STOP_NONE;
	if (rc == 0)
		rc = recover_scan(env, s, &stop);
	if (s->file)
		env->io->api->close(env->io, s->file);
	s->file = NULL;
	index_fini(&s->index);
	if (rc == 0 && s->end_offset != next) {
		log_error("storage",
			"%s: segment %lld ends at offset %lld (%s at byte %llu), the next begins "
			"at %lld",
			l->path, (long long)s->base_offset, (long long)s->end_offset,
			scan_stop_name(stop), (unsigned long long)s->end_pos, (long long)next);
		return -EBADMSG;
	}
	return rc;
}

/* By the clean-stop mark, which must fit. 0 or -errno. */
static int log_open_marked(struct log_env *env, struct log *l, const struct fmt_clean_log *mark)
{
	struct segment *s = log_active(l);
	if (mark->segment != s->base_offset)
		return -EBADMSG;
	int rc = segment_open(env, l, s, 0);
	if (rc == 0)
		rc = env->io->api->size(env->io, s->file, &s->file_size);
	if (rc < 0)
		return rc;
	if (s->file_size < mark->segment_pos || s->file_size % FMT_PAGE != 0)
		return -EBADMSG;
	rc = mark->segment_pos > 0 ? index_load(env, l, s, true) : -ENOENT;
	bool fits = rc == 0 && s->end_offset == mark->end_offset && s->end_pos == mark->segment_pos;
	if (!fits && mark->segment_pos > INDEX_OPTIONAL) {
		enum scan_stop stop;
		rc = recover_scan(env, s, &stop);
		if (rc < 0)
			return rc;
		if (s->end_offset != mark->end_offset || s->end_pos != mark->segment_pos)
			return -EBADMSG;
	} else if (!fits) {
		index_fini(&s->index);
		rc = index_init(&s->index);
		if (rc < 0)
			return rc;
		const struct scan_batch all = {
			.base_offset = s->base_offset, .max_timestamp = mark->max_timestamp};
		if (mark->segment_pos > 0)
			index_add(&s->index, &all);
	}
	s->end_offset = mark->end_offset;
	s->end_pos = mark->segment_pos;
	s->max_timestamp = mark->max_timestamp;
	s->leader_epoch = mark->leader_epoch;
	s->created_ms = mark->segment_created_ms;
	s->marked_pos = s->end_pos;
	return 0;
}

/* After a stop that was not clean: what the active segment holds decides. */
static int log_open_unclean(struct log_env *env, struct log *l, struct st_req *r, int64_t now_ms)
{
	struct segment *s = log_active(l);
	int rc = segment_open(env, l, s, 0);
	if (rc == 0)
		rc = recover_active(env, l, s, &r->open.cut_bytes);
	if (rc < 0)
		return rc;
	if (s->end_pos == 0 || s->created_ms < 0 || s->created_ms > now_ms)
		s->created_ms = now_ms;
	r->open.recovered = true;
	return 0;
}

static int log_open_segments(struct log_env *env, struct log *l, struct st_req *r,
	const struct fmt_clean_log *mark, int64_t now_ms)
{
	int rc = log_list(env, l);
	if (rc < 0)
		return rc;
	if (l->segment_count == 0) { /* created, but a crash came before its first segment */
		rc = log_reserve(l);
		struct segment *s = rc == 0 ? segment_new(l->log_start_offset) : NULL;
		if (!s)
			return -ENOMEM;
		s->created_ms = now_ms;
		rc = segment_create(env, l, s);
		if (rc < 0)
			segment_free(env, s);
		else
			l->segments[l->segment_count++] = s;
		return rc;
	}
	rc = mark ? log_open_marked(env, l, mark) : log_open_unclean(env, l, r, now_ms);
	for (uint32_t i = 0; rc == 0 && i + 1 < l->segment_count; i++)
		rc = log_open_sealed(env, l, i);
	return rc;
}

static void log_report(const struct log *l, struct st_req *r)
{
	const struct segment *s = log_active(l);
	r->open.dir = l->dir;
	r->open.log_start_offset = l->log_start_offset;
	r->open.log_end_offset = s->end_offset;
	r->open.segment = s->base_offset;
	r->open.segment_pos = s->end_pos;
	r->open.segment_created_ms = s->created_ms;
	r->open.max_timestamp = -1;
	r->open.leader_epoch = 0;
	for (uint32_t i = 0; i < l->segment_count; i++) {
		s = l->segments[i];
		r->open.max_timestamp = max_of(r->open.max_timestamp, s->max_timestamp);
		if (s->end_pos > 0)
			r->open.leader_epoch = s->leader_epoch;
	}
}

static enum st_err log_open_failed(struct log_env *env, const struct log *l, int rc)
{
	switch (-rc) {
	case EBADMSG:
		log_error("storage", "%s is damaged and is not opened", l->path);
		return ST_E_CORRUPT;
	case EPROTO:
		log_error("storage", "%s was written by another version of the format", l->path);
		return ST_E_CORRUPT;
	case EMFILE:
	case ENFILE:
	case ENOMEM:
	case ENAMETOOLONG:
		log_warn("storage", "cannot open %s: %s", l->path, strerror(-rc));
		return ST_E_LIMIT;
	}
	return log_failed(env, l->dir, rc, "open", l->path);
}

/* 0: *out is the log, whose log.meta has been read. -ENOENT: in no directory. */
static int log_find(
	struct log_env *env, const struct st_req *r, struct log **out, struct fmt_log_meta *meta)
{
	for (uint16_t d = 0; d < store_dir_count(env->store); d++) {
		if (store_is_offline(env->store, d))
			continue;
		struct log *l = log_new(env, r, d);
		if (!l)
			return -ENOMEM;
		int rc = log_meta_load(env, l, meta);
		if (rc != -ENOENT) {
			*out = l;
			return rc;
		}
		log_free(env, l);
	}
	return -ENOENT;
}

static int log_open_found(struct log_env *env, struct log *l, const struct fmt_log_meta *meta,
	struct st_req *r, const struct fmt_clean_log *mark, int64_t now_ms)
{
	if (!uuid_equal(&meta->topic_id, &l->topic_id) || meta->partition != l->partition)
		return -EBADMSG;
	l->log_start_offset = meta->log_start_offset;
	struct fmt_clean_log last_stop; /* taken in any case: it must not be believed later */
	bool marked = store_take_clean(env->store, l->dir, &l->topic_id, l->partition, &last_stop);
	if (!mark && marked)
		mark = &last_stop;
	int rc = log_open_segments(env, l, r, mark, now_ms);
	if (rc == 0 && (l->log_start_offset < l->segments[0]->base_offset ||
			       l->log_start_offset > log_end_offset(l)))
		rc = -EBADMSG;
	return rc;
}

enum st_err log_open(struct log_env *env, struct st_req *r, const struct fmt_clean_log *mark,
	int64_t now_ms, struct log **out)
{
	struct fmt_log_meta meta;
	struct log *l = NULL;
	if (r->open.partition < 0 || strnlen(r->open.topic, sizeof(r->open.topic)) > ST_TOPIC_MAX)
		return ST_E_LIMIT;
	r->open.recovered = false;
	r->open.cut_bytes = 0;
	int rc = log_find(env, r, &l, &meta);
	if (rc == -ENOENT) {
		/* It may be on a directory that is offline: never make an empty one then
		 * (KAFKA-16234). */
		if (store_any_offline(env->store))
			return ST_E_OFFLINE;
		if (!r->open.create)
			return ST_E_NOT_FOUND;
		if (r->open.dir >= store_dir_count(env->store))
			return ST_E_LIMIT;
		l = log_new(env, r, r->open.dir);
		rc = l ? log_check_unborn(env, l) : -ENOMEM;
		if (rc == 0)
			rc = log_create(env, l, r->open.topic);
		if (rc == 0)
			log_active(l)->created_ms = now_ms;
	} else if (rc == 0) {
		rc = log_open_found(env, l, &meta, r, mark, now_ms);
	}
	if (rc < 0) {
		enum st_err err = l ? log_open_failed(env, l, rc) : ST_E_LIMIT;
		log_free(env, l);
		return err;
	}
	log_check(l);
	log_report(l, r);
	*out = l;
	return ST_OK;
}

void log_mark(struct log_env *env, struct log *l)
{
	struct segment *s = log_active(l);
	if (s->end_pos < s->marked_pos + LOG_MARK_BYTES)
		return;
	s->marked_pos = s->end_pos; /* also when it fails: not at each append, then */
	if (index_store(env, l, s, false) < 0)
		log_warn("storage", "cannot write an index in %s", l->path);
}

/* --- closing ----------------------------------------------------------------------------- */

bool log_close(struct log_env *env, struct log *l, bool healthy, struct fmt_clean_log *out)
{
	struct segment *s = log_active(l);
	int rc = healthy ? 0 : -EIO;
	if (rc == 0 && l->unflushed) {
		rc = log_flush(env, s->file);
		if (rc < 0)
			log_failed(env, l->dir, rc, "flush", l->path);
	}
	/* The index can be made again from the segment, so its own failure does not matter. */
	if (rc == 0 && l->dirty && s->index.count > 1 && index_store(env, l, s, false) < 0)
		log_warn("storage", "cannot write an index in %s", l->path);
	*out = (struct fmt_clean_log){
		.topic_id = l->topic_id,
		.partition = l->partition,
		.leader_epoch = s->leader_epoch,
		.end_offset = s->end_offset,
		.segment = s->base_offset,
		.segment_pos = s->end_pos,
		.segment_created_ms = s->created_ms,
		.max_timestamp = s->max_timestamp,
	};
	log_free(env, l);
	return rc == 0;
}
