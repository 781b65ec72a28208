/* SPDX-License-Identifier: Apache-2.0 */
/* The log directories: identity, clean-stop markers, leftovers of deletions. */
#include "storage/log/store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/crc.h"
#include "base/log.h"
#include "base/prng.h"
#include "storage/log/log.h"

#define CLEAN_FILE_MAX ((size_t)1 << 30)

/* What the last clean stop says of one log. */
struct store_mark {
	struct fmt_clean_log log;
	bool taken; /* by the thread of the log's engine */
};

struct store_dir {
	char path[256];
	struct uuid id;
	bool clean;		  /* had a marker, or is new */
	int offline;		  /* atomic */
	uint32_t logs;		  /* when it was opened */
	struct store_mark *marks; /* from the marker, ascending; fixed while engines run */
	uint32_t mark_count;
	struct fmt_clean_log *closed; /* by store_put_clean */
	uint32_t closed_count;
	uint32_t closed_capacity;
};

struct store {
	uint16_t count;
	struct store_dir dirs[];
};

static int store_path(char out[IO_PATH_MAX], const struct store_dir *d, const char *name)
{
	int n = snprintf(out, IO_PATH_MAX, "%s/%s", d->path, name);
	return n > 0 && (size_t)n < IO_PATH_MAX ? 0 : -ENAMETOOLONG;
}

static int dir_store(struct io *io, const struct store_dir *d, const char *name, void *p, size_t n)
{
	struct log_env env = {.io = io};
	return file_store(&env, d->path, name, p, n, FILE_NAMED);
}

/* Reads the identity of the directory, or gives it one. */
static int dir_open_meta(struct io *io, struct store_dir *d, struct prng *prng, const char **why)
{
	char path[IO_PATH_MAX];
	void *p;
	size_t length;
	struct fmt_dir_meta m = {0};
	int rc = store_path(path, d, FMT_META_NAME);
	*why = "cannot read its meta file";
	if (rc == 0)
		rc = file_load(io, path, 4096, &p, &length);
	if (rc == 0) {
		enum fmt_verdict v = fmt_dir_meta_check(p, length);
		if (v == FMT_OK)
			memcpy(&m, p, sizeof(m));
		free(p);
		*why = v == FMT_FOREIGN ? "it was written by another version of the format"
					: "its meta file is damaged";
		d->id = m.dir_id;
		return v == FMT_OK ? 0 : -EPROTO;
	}
	if (rc != -ENOENT)
		return rc;
	for (size_t i = 0; i < sizeof(m.dir_id.b); i++)
		m.dir_id.b[i] = (uint8_t)prng_next(prng);
	m.dir_id.b[0] |= 1; /* not all zero */
	fmt_seal(&m, sizeof(m), FMT_DIR_MAGIC);
	*why = "cannot write to it";
	rc = dir_store(io, d, FMT_META_NAME, &m, sizeof(m));
	d->id = m.dir_id;
	d->clean = true;
	return rc;
}

static int dir_use_marker(struct store_dir *d, const uint8_t *p, size_t length)
{
	struct fmt_clean c;
	enum fmt_verdict v = fmt_clean_check(p, length);
	if (v == FMT_OK)
		memcpy(&c, p, sizeof(c));
	if (v != FMT_OK || !uuid_equal(&c.dir_id, &d->id)) {
		log_warn("storage", "%s: the clean-stop marker is not valid; logs will be scanned",
			d->path);
		return 0;
	}
	d->marks = calloc(c.count ? c.count : 1, sizeof(*d->marks));
	if (!d->marks)
		return -ENOMEM;
	for (uint32_t i = 0; i < c.count; i++)
		memcpy(&d->marks[i].log, p + sizeof(c) + i * sizeof(struct fmt_clean_log),
			sizeof(struct fmt_clean_log));
	d->mark_count = c.count;
	d->clean = true;
	return 0;
}

/* Takes the marker in and removes it, durably, before anything else happens in the directory. */
static int dir_open_marker(struct io *io, struct store_dir *d, const char **why)
{
	char path[IO_PATH_MAX];
	void *p;
	size_t length;
	*why = "cannot take its clean-stop marker";
	int rc = store_path(path, d, FMT_CLEAN_NAME);
	if (rc == 0)
		rc = file_load(io, path, CLEAN_FILE_MAX, &p, &length);
	if (rc == -ENOENT)
		return 0;
	if (rc < 0)
		return rc;
	rc = dir_use_marker(d, p, length);
	free(p);
	if (rc == 0)
		rc = io->api->unlink(io, path);
	return rc < 0 ? rc : io->api->fsync_dir(io, d->path);
}

struct leftovers {
	char (*names)[FMT_NAME_SIZE];
	uint32_t count;
	uint32_t logs;
};

static void leftovers_add(void *arg, const char *name)
{
	struct leftovers *l = arg;
	struct uuid topic_id;
	int32_t partition;
	l->logs += fmt_log_name_parse(name, &topic_id, &partition);
	if (!fmt_is_deleted_name(name))
		return;
	void *p = realloc(l->names, (l->count + 1) * sizeof(*l->names));
	if (!p)
		return; /* the next start finds it again */
	l->names = p;
	snprintf(l->names[l->count++], FMT_NAME_SIZE, "%s", name);
}

static int dir_finish_deletions(struct io *io, struct store_dir *d, const char **why)
{
	struct leftovers l = {0};
	*why = "cannot list it";
	int rc = io->api->list(io, d->path, leftovers_add, &l);
	for (uint32_t i = 0; rc == 0 && i < l.count; i++) {
		char path[IO_PATH_MAX];
		int failed = store_path(path, d, l.names[i]);
		if (failed == 0)
			failed = delete_finish(io, path);
		if (failed < 0)
			log_warn("storage", "cannot remove %s: %s", path, strerror(-failed));
	}
	free(l.names);
	d->logs = l.logs;
	return rc;
}

static int dir_open(struct io *io, struct store_dir *d, struct prng *prng, const char **why)
{
	*why = "cannot create it";
	int rc = io->api->mkdir(io, d->path);
	if (rc < 0 && rc != -EEXIST)
		return rc;
	if (rc == 0) {
		char parent[256];
		snprintf(parent, sizeof(parent), "%s", d->path);
		char *slash = strrchr(parent, '/');
		if (slash && slash != parent)
			*slash = 0;
		rc = io->api->fsync_dir(io, slash == parent ? "/" : parent);
		if (rc < 0)
			return rc;
	}
	rc = dir_open_meta(io, d, prng, why);
	if (rc == 0)
		rc = dir_open_marker(io, d, why);
	if (rc == 0)
		rc = dir_finish_deletions(io, d, why);
	return rc;
}

static void store_free(struct store *s)
{
	for (uint16_t i = 0; i < s->count; i++) {
		free(s->dirs[i].marks);
		free(s->dirs[i].closed);
	}
	free(s);
}

struct store *store_open(
	struct io *io, char (*dirs)[256], uint16_t count, uint64_t seed, char *err, size_t err_size)
{
	struct store *s = calloc(1, sizeof(*s) + count * sizeof(s->dirs[0]));
	if (!s) {
		snprintf(err, err_size, "out of memory");
		return NULL;
	}
	for (uint16_t i = 0; i < count; i++) {
		struct store_dir *d = &s->dirs[i];
		const char *why = "its name is too long";
		int rc = strnlen(dirs[i], sizeof(dirs[i])) < 160 ? 0 : -ENAMETOOLONG;
		s->count = (uint16_t)(i + 1);
		if (rc == 0) {
			snprintf(d->path, sizeof(d->path), "%s", dirs[i]);
			struct prng prng = {.s = seed ^ crc32c(i, d->path, strlen(d->path))};
			rc = dir_open(io, d, &prng, &why);
		}
		for (uint16_t j = 0; rc == 0 && j < i; j++) {
			if (uuid_equal(&s->dirs[j].id, &d->id)) {
				why = "it is the same as, or a copy of, another of log.dirs";
				rc = -EPROTO;
			}
		}
		if (rc < 0) {
			snprintf(err, err_size, "log directory %.255s: %s%s%s", dirs[i], why,
				rc == -EPROTO ? "" : ": ", rc == -EPROTO ? "" : strerror(-rc));
			store_free(s);
			return NULL;
		}
	}
	return s;
}

bool store_is_clean(const struct store *s)
{
	for (uint16_t i = 0; i < s->count; i++)
		if (!s->dirs[i].clean)
			return false;
	return true;
}

uint32_t store_log_count(const struct store *s)
{
	uint32_t n = 0;
	for (uint16_t i = 0; i < s->count; i++)
		n += s->dirs[i].logs;
	return n;
}

uint16_t store_dir_count(const struct store *s)
{
	return s->count;
}

const char *store_dir_path(const struct store *s, uint16_t dir)
{
	CHECK(dir < s->count);
	return s->dirs[dir].path;
}

void store_set_offline(struct store *s, uint16_t dir)
{
	CHECK(dir < s->count);
	__atomic_store_n(&s->dirs[dir].offline, 1, __ATOMIC_RELAXED);
}

bool store_is_offline(const struct store *s, uint16_t dir)
{
	CHECK(dir < s->count);
	return __atomic_load_n(&s->dirs[dir].offline, __ATOMIC_RELAXED) != 0;
}

bool store_any_offline(const struct store *s)
{
	for (uint16_t i = 0; i < s->count; i++)
		if (store_is_offline(s, i))
			return true;
	return false;
}

bool store_take_clean(struct store *s, uint16_t dir, const struct uuid *topic_id, int32_t partition,
	struct fmt_clean_log *out)
{
	CHECK(dir < s->count);
	struct store_dir *d = &s->dirs[dir];
	uint32_t lo = 0, hi = d->mark_count;
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		struct store_mark *m = &d->marks[mid];
		int c = fmt_clean_compare(topic_id, partition, &m->log.topic_id, m->log.partition);
		if (c == 0) {
			bool fresh = !m->taken;
			m->taken = true;
			*out = m->log;
			return fresh;
		}
		if (c < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return false;
}

int store_put_clean(struct store *s, uint16_t dir, const struct fmt_clean_log *log)
{
	CHECK(dir < s->count);
	struct store_dir *d = &s->dirs[dir];
	if (d->closed_count == d->closed_capacity) {
		uint32_t capacity = d->closed_capacity ? d->closed_capacity * 2 : 64;
		struct fmt_clean_log *p = realloc(d->closed, capacity * sizeof(*p));
		if (!p)
			return -ENOMEM;
		d->closed = p;
		d->closed_capacity = capacity;
	}
	d->closed[d->closed_count++] = *log;
	return 0;
}

static int clean_log_compare(const void *a, const void *b)
{
	const struct fmt_clean_log *x = a, *y = b;
	return fmt_clean_compare(&x->topic_id, x->partition, &y->topic_id, y->partition);
}

static int dir_write_marker(struct io *io, struct store_dir *d)
{
	size_t most = sizeof(struct fmt_clean) +
		      ((size_t)d->closed_count + d->mark_count) * sizeof(struct fmt_clean_log);
	uint8_t *p = calloc(1, most);
	if (!p)
		return -ENOMEM;
	struct fmt_clean_log *logs = (struct fmt_clean_log *)(void *)(p + sizeof(struct fmt_clean));
	struct fmt_clean c = {.dir_id = d->id};
	for (uint32_t i = 0; i < d->closed_count; i++)
		logs[c.count++] = d->closed[i];
	for (uint32_t i = 0; i < d->mark_count;
		i++) /* nobody opened these: they are as they were */
		if (!d->marks[i].taken)
			logs[c.count++] = d->marks[i].log;
	qsort(logs, c.count, sizeof(*logs), clean_log_compare);
	size_t length = sizeof(c) + c.count * sizeof(struct fmt_clean_log);
	memcpy(p, &c, sizeof(c));
	fmt_seal(p, length, FMT_CLEAN_MAGIC);
	int rc = dir_store(io, d, FMT_CLEAN_NAME, p, length);
	free(p);
	return rc;
}

void store_close(struct store *s, struct io *io, bool clean)
{
	if (!s)
		return;
	for (uint16_t i = 0; clean && i < s->count; i++) {
		if (store_is_offline(s, i))
			continue;
		int rc = dir_write_marker(io, &s->dirs[i]);
		if (rc < 0)
			log_warn("storage", "cannot mark %s as cleanly stopped: %s",
				s->dirs[i].path, strerror(-rc));
	}
	store_free(s);
}
