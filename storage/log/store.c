/* SPDX-License-Identifier: Apache-2.0 */
/* The log directories: identity, lanes, leftovers of deletions. */
#include "storage/log/store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/crc.h"
#include "base/log.h"
#include "base/prng.h"
#include "storage/format/ckpt.h"
#include "storage/format/jrnl.h"
#include "storage/log/log.h"

struct store_dir {
	char path[256];
	struct uuid id;
	int offline; /* atomic */
	struct store_lane *lanes;
};

struct store {
	struct io *io;
	uint16_t count;
	uint16_t workers;
	struct store_dir dirs[];
};

static int store_path(char out[IO_PATH_MAX], const struct store_dir *d, const char *name)
{
	int n = snprintf(out, IO_PATH_MAX, "%s/%s", d->path, name);
	return n > 0 && (size_t)n < IO_PATH_MAX ? 0 : -ENAMETOOLONG;
}

static void store_make_id(struct prng *prng, struct uuid *id)
{
	for (size_t i = 0; i < sizeof(id->b); i++)
		id->b[i] = (uint8_t)prng_next(prng);
	id->b[0] |= 1; /* not all zero */
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
	store_make_id(prng, &m.dir_id);
	fmt_seal(&m, sizeof(m), FMT_DIR_MAGIC);
	*why = "cannot write to it";
	struct log_env env = {.io = io};
	rc = file_store(&env, d->path, FMT_META_NAME, &m, sizeof(m), FILE_NAMED);
	d->id = m.dir_id;
	return rc;
}

struct leftovers {
	char (*names)[FMT_NAME_SIZE];
	uint32_t count;
};

static void leftovers_add(void *arg, const char *name)
{
	struct leftovers *l = arg;
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
	return rc;
}

/* --- lanes ------------------------------------------------------------------------------- */

struct census {
	uint32_t lanes; /* files of lanes */
	uint32_t logs;	/* directories of logs */
};

static void census_add(void *arg, const char *name)
{
	struct census *c = arg;
	struct uuid id;
	int32_t partition;
	uint32_t worker, slot;
	if (fmt_ckpt_name_parse(name, &worker, &slot))
		c->lanes++;
	else if (fmt_log_name_parse(name, &id, &partition))
		c->logs++;
}

/* A directory that has no checkpoint yet gets its lanes. The one of worker 0 comes last: with it
 * the directory is complete. */
static int dir_make_lanes(
	struct store *s, struct store_place *at, const struct store_config *cfg, struct prng *prng)
{
	struct store_dir *d = &s->dirs[at->dir];
	int rc = 0;
	for (uint16_t w = s->workers; rc == 0 && w-- > 0;) {
		struct uuid id;
		store_make_id(prng, &id);
		at->worker = w;
		rc = lane_create(at, &id, cfg->journal_bytes, s->workers, &d->lanes[w]);
	}
	return rc;
}

static int dir_open_lanes(struct store *s, struct store_place *at, const struct store_config *cfg,
	struct prng *prng, const char **why)
{
	struct store_dir *d = &s->dirs[at->dir];
	struct census c = {0};
	*why = "cannot list it";
	int rc = at->io->api->list(at->io, d->path, census_add, &c);
	*why = "cannot recover its logs";
	for (uint16_t w = 0; rc == 0 && w < s->workers; w++) {
		at->worker = w;
		rc = lane_recover(at, s->workers, &d->lanes[w], why);
		if (rc != -ENOENT)
			continue;
		if (w > 0 || c.logs > 0) {
			*why = "its checkpoints are missing";
			return -EBADMSG;
		}
		*why = "cannot create its journal";
		return dir_make_lanes(s, at, cfg, prng);
	}
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
			return -ENODEV; /* whatever it is: nobody has used it yet */
	}
	return dir_open_meta(io, d, prng, why);
}

static void store_free(struct store *s)
{
	for (uint16_t i = 0; i < s->count; i++) {
		struct store_dir *d = &s->dirs[i];
		struct store_place at = {.io = s->io, .store = s, .dir = i, .path = d->path};
		for (uint16_t w = 0; d->lanes && w < s->workers; w++)
			lane_fini(&at, &d->lanes[w]);
		free(d->lanes);
	}
	free(s);
}

/* Everything about one directory. 0, or what is wrong with it. */
static int store_open_dir(
	struct store *s, uint16_t i, const struct store_config *cfg, const char **why)
{
	struct store_dir *d = &s->dirs[i];
	*why = "its name is too long";
	if (strnlen(cfg->dirs[i], sizeof(cfg->dirs[i])) >= 160)
		return -ENAMETOOLONG;
	snprintf(d->path, sizeof(d->path), "%s", cfg->dirs[i]);
	*why = "no memory for it";
	d->lanes = calloc(s->workers, sizeof(*d->lanes));
	if (!d->lanes)
		return -ENOMEM;
	struct prng prng = {.s = cfg->seed ^ crc32c(i, d->path, strlen(d->path))};
	int rc = dir_open(s->io, d, &prng, why);
	for (uint16_t j = 0; rc == 0 && j < i; j++) {
		if (uuid_equal(&s->dirs[j].id, &d->id)) {
			*why = "it is the same as, or a copy of, another of log.dirs";
			rc = -EPROTO;
		}
	}
	if (rc < 0)
		return rc;
	struct store_place at = {
		.io = s->io,
		.store = s,
		.dir = i,
		.path = d->path,
		.dir_id = &d->id,
	};
	rc = dir_open_lanes(s, &at, cfg, &prng, why);
	if (rc == 0)
		rc = dir_finish_deletions(s->io, d, why);
	return rc;
}

static bool is_verdict(int rc)
{
	return rc == -EPROTO || rc == -EBADMSG || rc == -EXDEV;
}

struct store *store_open(struct io *io, const struct store_config *cfg, char *err, size_t err_size)
{
	struct store *s = calloc(1, sizeof(*s) + cfg->dir_count * sizeof(s->dirs[0]));
	uint16_t offline = 0;
	if (!s) {
		snprintf(err, err_size, "out of memory");
		return NULL;
	}
	s->io = io;
	s->workers = cfg->workers;
	for (uint16_t i = 0; i < cfg->dir_count; i++) {
		const char *why;
		s->count = (uint16_t)(i + 1);
		int rc = store_open_dir(s, i, cfg, &why);
		if (rc == 0)
			continue;
		bool verdict = is_verdict(rc);
		snprintf(err, err_size, "log directory %.255s: %s%s%s", cfg->dirs[i], why,
			verdict ? "" : ": ", verdict ? "" : strerror(-rc));
		bool survivable = rc == -EBADMSG || rc == -EIO;
		if (!survivable || ++offline == cfg->dir_count) {
			store_free(s);
			return NULL;
		}
		log_error("storage", "%s; it stays offline", err);
		store_set_offline(s, i);
	}
	return s;
}

bool store_is_clean(const struct store *s)
{
	for (uint16_t i = 0; i < s->count; i++)
		for (uint16_t w = 0; w < s->workers; w++)
			if (!s->dirs[i].lanes || !s->dirs[i].lanes[w].clean)
				return false;
	return true;
}

uint32_t store_log_count(const struct store *s)
{
	uint32_t n = 0;
	for (uint16_t i = 0; i < s->count; i++)
		for (uint16_t w = 0; s->dirs[i].lanes && w < s->workers; w++)
			n += s->dirs[i].lanes[w].log_count;
	return n;
}

struct store_lane *store_lane_of(struct store *s, uint16_t dir, uint16_t worker)
{
	CHECK(dir < s->count && worker < s->workers);
	return &s->dirs[dir].lanes[worker];
}

uint16_t store_workers(const struct store *s)
{
	return s->workers;
}

const struct uuid *store_dir_id(const struct store *s, uint16_t dir)
{
	CHECK(dir < s->count);
	return &s->dirs[dir].id;
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

void store_close(struct store *s)
{
	if (s)
		store_free(s);
}
