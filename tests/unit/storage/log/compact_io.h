/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_TESTS_STORAGE_COMPACT_IO_H
#define MR_TESTS_STORAGE_COMPACT_IO_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/prng.h"
#include "storage/worker/io.h"

/*
 * A directory in memory that can lose its power. What the contract of io.h does not promise does
 * not hold: of the names changed since the last fsync_dir any subset is kept, of the bytes written
 * since the file's last fsync any sectors, and the new length or the old one.
 */

#define CIO_FILES 256
#define CIO_OPS 256

struct io_file {
	bool used;
	int opens;
	bool direct; /* some handle is: all are checked */
	uint8_t *data, *flushed;
	uint64_t size, flushed_size, room, flushed_room;
};

struct cio_name {
	char name[64];
	int file; /* -1: free */
};

enum cio_change { CIO_LINK, CIO_UNLINK, CIO_RENAME };

struct cio {
	struct io io;
	struct io_file files[CIO_FILES];
	struct cio_name now[CIO_FILES], flushed[CIO_FILES];
	struct {
		enum cio_change what;
		char a[64], b[64];
		int file;
	} ops[CIO_OPS]; /* of names, since the last fsync_dir */
	uint32_t op_count;
	uint64_t calls;	   /* ever */
	uint64_t stop_at;  /* from this call on nothing happens any more; 0: never */
	uint64_t fail_at;  /* this call fails */
	bool fail_is_read; /* (result) it was a pread, open for reading, or a list */
	int fail_with;
	uint64_t bytes; /* read and written */
	uint64_t most;	/* in one call */
};

static inline struct cio *cio_of(struct io *io)
{
	return (struct cio *)io;
}

static inline const char *cio_leaf(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

static inline struct cio_name *cio_find(struct cio_name *names, const char *name)
{
	for (int i = 0; i < CIO_FILES; i++)
		if (names[i].file >= 0 && strcmp(names[i].name, name) == 0)
			return &names[i];
	return NULL;
}

static inline void cio_link(struct cio_name *names, const char *name, int file)
{
	struct cio_name *n = cio_find(names, name);
	for (int i = 0; !n && i < CIO_FILES; i++)
		if (names[i].file < 0)
			n = &names[i];
	CHECK(n);
	snprintf(n->name, sizeof(n->name), "%.63s", name);
	n->file = file;
}

static inline void cio_op(
	struct cio *c, enum cio_change what, const char *a, const char *b, int file)
{
	CHECK(c->op_count < CIO_OPS);
	c->ops[c->op_count].what = what;
	snprintf(c->ops[c->op_count].a, 64, "%.63s", a);
	snprintf(c->ops[c->op_count].b, 64, "%.63s", b);
	c->ops[c->op_count++].file = file;
}

/* Counts a call; what it fails with. */
static inline int cio_call(struct cio *c, bool read)
{
	c->calls++;
	if (c->stop_at && c->calls >= c->stop_at)
		return -EIO;
	if (c->calls == c->fail_at) {
		c->fail_is_read = read;
		return c->fail_with;
	}
	return 0;
}

static inline int cio_open(struct io *io, const char *path, unsigned flags, struct io_file **out)
{
	struct cio *c = cio_of(io);
	int rc = cio_call(c, !(flags & IO_CREATE));
	struct cio_name *n = cio_find(c->now, cio_leaf(path));
	if (rc < 0)
		return rc;
	if (!n && !(flags & IO_CREATE))
		return -ENOENT;
	if (!n) {
		int f = 0;
		while (f < CIO_FILES && c->files[f].used)
			f++;
		CHECK(f < CIO_FILES);
		c->files[f].used = true;
		cio_link(c->now, cio_leaf(path), f);
		cio_op(c, CIO_LINK, cio_leaf(path), "", f);
		n = cio_find(c->now, cio_leaf(path));
	}
	*out = &c->files[n->file];
	(*out)->direct = flags & IO_DIRECT;
	(*out)->opens++;
	if (flags & IO_TRUNC)
		(*out)->size = 0;
	return 0;
}

static inline void cio_close(struct io *io, struct io_file *f)
{
	CHECK(f->opens > 0);
	f->opens--;
}

static inline int cio_size(struct io *io, struct io_file *f, uint64_t *out)
{
	int rc = cio_call(cio_of(io), true);
	*out = f->size;
	return rc;
}

static inline void cio_aligned(const struct io_file *f, const void *buf, uint64_t len, uint64_t off)
{
	CHECK(f->opens > 0);
	CHECK(!f->direct || ((uintptr_t)buf | len | off) % IO_ALIGN == 0);
}

static inline int64_t cio_pread(
	struct io *io, struct io_file *f, void *buf, uint64_t len, uint64_t off)
{
	struct cio *c = cio_of(io);
	int rc = cio_call(c, true);
	cio_aligned(f, buf, len, off);
	if (rc < 0)
		return rc;
	uint64_t n = off < f->size ? min_of(len, f->size - off) : 0;
	c->bytes += n;
	c->most = max_of(c->most, n);
	memcpy(buf, f->data + off, n);
	return (int64_t)n;
}

static inline int64_t cio_pwrite(
	struct io *io, struct io_file *f, const void *buf, uint64_t len, uint64_t off)
{
	struct cio *c = cio_of(io);
	int rc = cio_call(c, false);
	cio_aligned(f, buf, len, off);
	if (rc < 0)
		return rc;
	if (off + len > f->room) {
		f->room = 2 * (off + len);
		f->data = realloc(f->data, f->room);
		CHECK(f->data);
	}
	if (off > f->size)
		memset(f->data + f->size, 0, off - f->size);
	memcpy(f->data + off, buf, len);
	f->size = max_of(f->size, off + len);
	c->bytes += len;
	c->most = max_of(c->most, len);
	return (int64_t)len;
}

static inline void cio_flush_file(struct io_file *f)
{
	if (f->flushed_room < f->size) {
		f->flushed_room = f->size;
		f->flushed = realloc(f->flushed, f->size);
		CHECK(f->flushed);
	}
	if (f->size)
		memcpy(f->flushed, f->data, f->size);
	f->flushed_size = f->size;
}

static inline int cio_fsync(struct io *io, struct io_file *f)
{
	int rc = cio_call(cio_of(io), false);
	if (rc == 0)
		cio_flush_file(f);
	return rc;
}

static inline int cio_unlink(struct io *io, const char *path)
{
	struct cio *c = cio_of(io);
	int rc = cio_call(c, false);
	struct cio_name *n = cio_find(c->now, cio_leaf(path));
	if (rc < 0)
		return rc;
	if (!n)
		return -ENOENT;
	n->file = -1;
	cio_op(c, CIO_UNLINK, cio_leaf(path), "", -1);
	return 0;
}

static inline int cio_rename(struct io *io, const char *from, const char *to)
{
	struct cio *c = cio_of(io);
	int rc = cio_call(c, false);
	struct cio_name *n = cio_find(c->now, cio_leaf(from));
	if (rc < 0)
		return rc;
	if (!n)
		return -ENOENT;
	int file = n->file;
	n->file = -1;
	cio_link(c->now, cio_leaf(to), file);
	cio_op(c, CIO_RENAME, cio_leaf(from), cio_leaf(to), file);
	return 0;
}

static inline int cio_fsync_dir(struct io *io, const char *path)
{
	struct cio *c = cio_of(io);
	int rc = cio_call(c, false);
	if (rc < 0)
		return rc;
	memcpy(c->flushed, c->now, sizeof(c->now));
	c->op_count = 0;
	return 0;
}

static inline bool cio_flush_reaches(struct io *io, const char *path)
{
	return false;
}

static inline int cio_list(
	struct io *io, const char *path, void (*each)(void *arg, const char *name), void *arg)
{
	struct cio *c = cio_of(io);
	int rc = cio_call(c, true);
	for (int i = 0; rc == 0 && i < CIO_FILES; i++)
		if (c->now[i].file >= 0)
			each(arg, c->now[i].name);
	return rc;
}

/* Forgets files that have no name. */
static inline void cio_sweep(struct cio *c)
{
	for (int f = 0; f < CIO_FILES; f++) {
		bool named = c->files[f].opens > 0;
		for (int i = 0; i < CIO_FILES; i++)
			named |= c->now[i].file == f || c->flushed[i].file == f;
		if (c->files[f].used && !named) {
			free(c->files[f].data);
			free(c->files[f].flushed);
			c->files[f] = (struct io_file){0};
		}
	}
}

/* Everything that is there is on stable storage. */
static inline void cio_settle(struct cio *c)
{
	for (int i = 0; i < CIO_FILES; i++)
		if (c->files[i].used)
			cio_flush_file(&c->files[i]);
	memcpy(c->flushed, c->now, sizeof(c->now));
	c->op_count = 0;
	cio_sweep(c);
}

/* How a name change is kept: none, all, or each by chance. */
enum cio_keep { CIO_NONE, CIO_ALL, CIO_SOME };

static inline void cio_crash_file(struct io_file *f, enum cio_keep keep, struct prng *prng)
{
	uint64_t size = f->flushed_size;
	if (keep == CIO_ALL || (keep == CIO_SOME && prng_chance(prng, 1, 2)))
		size = f->size;
	for (uint64_t at = 0; at < size; at += IO_SECTOR) {
		uint64_t n = min_of(size - at, (uint64_t)IO_SECTOR);
		bool kept = keep == CIO_ALL || (keep == CIO_SOME && prng_chance(prng, 1, 2));
		if (kept && at + n <= f->size)
			continue;
		if (size > f->room)
			CHECK(false);
		if (at + n <= f->flushed_size)
			memcpy(f->data + at, f->flushed + at, n);
		else
			memset(f->data + at, 0, n);
	}
	f->size = size;
	f->opens = 0;
}

/* The power fails, and comes back: all counters and faults are off. */
static inline void cio_crash(struct cio *c, enum cio_keep keep, struct prng *prng)
{
	memcpy(c->now, c->flushed, sizeof(c->now));
	for (uint32_t i = 0; i < c->op_count; i++) {
		if (keep == CIO_NONE || (keep == CIO_SOME && prng_chance(prng, 1, 2)))
			continue;
		struct cio_name *n = cio_find(c->now, c->ops[i].a);
		if (c->ops[i].what == CIO_LINK)
			cio_link(c->now, c->ops[i].a, c->ops[i].file);
		else if (n && n->file >= 0) {
			int file = n->file;
			n->file = -1;
			if (c->ops[i].what == CIO_RENAME)
				cio_link(c->now, c->ops[i].b, file);
		}
	}
	for (int i = 0; i < CIO_FILES; i++)
		if (c->files[i].used)
			cio_crash_file(&c->files[i], keep, prng);
	c->stop_at = c->fail_at = 0;
	cio_settle(c);
}

static inline struct io *cio_init(struct cio *c)
{
	static const struct io_api api = {
		.open = cio_open,
		.close = cio_close,
		.size = cio_size,
		.pread = cio_pread,
		.pwrite = cio_pwrite,
		.fsync = cio_fsync,
		.rename = cio_rename,
		.unlink = cio_unlink,
		.fsync_dir = cio_fsync_dir,
		.list = cio_list,
		.flush_reaches = cio_flush_reaches,
	};
	memset(c, 0, sizeof(*c));
	c->io.api = &api;
	for (int i = 0; i < CIO_FILES; i++)
		c->now[i].file = c->flushed[i].file = -1;
	return &c->io;
}

static inline void cio_fini(struct cio *c)
{
	for (int i = 0; i < CIO_FILES; i++) {
		CHECK(c->files[i].opens == 0); /* no file is left open */
		free(c->files[i].data);
		free(c->files[i].flushed);
	}
}

/* A copy of the disk, to try something else from there. */
static inline void cio_copy(struct cio *to, const struct cio *from)
{
	memcpy(to, from, sizeof(*to));
	for (int i = 0; i < CIO_FILES; i++) {
		struct io_file *f = &to->files[i];
		const struct io_file *g = &from->files[i];
		f->data = g->room ? malloc(g->room) : NULL;
		f->flushed = g->flushed_room ? malloc(g->flushed_room) : NULL;
		if (g->size)
			memcpy(f->data, g->data, g->size);
		if (g->flushed_size)
			memcpy(f->flushed, g->flushed, g->flushed_size);
	}
}

#endif
