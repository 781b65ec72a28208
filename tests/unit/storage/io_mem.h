/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_TESTS_STORAGE_IO_MEM_H
#define MR_TESTS_STORAGE_IO_MEM_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "storage/worker/io.h"

/*
 * A filesystem in memory. Counts flushes. By default operations finish in order; with `shuffle` in
 * any order, some at a time. mem_cut is a power cut: what was not flushed, by the rules of io.h, is
 * lost.
 */

#define MEM_FILES 256
#define MEM_FLUSHES 256

struct io_file {
	char path[IO_PATH_MAX];
	bool used;
	bool dir;
	uint8_t *data;
	uint64_t size;
	uint64_t capacity;
	int opens;
	/* what is on stable storage, when cuts are modelled */
	bool named;
	uint8_t *stable;
	uint64_t stable_size;
	uint64_t stable_gen;
};

/* A flush under way: what it will have made stable. */
struct mem_flush {
	const struct io_op *op;
	uint8_t *image;
	uint64_t size;
	uint64_t gen;
};

struct io_mem {
	struct io io;
	struct io_file files[MEM_FILES];
	struct list queue;
	uint64_t room;	  /* bytes that growth may still take; then -ENOSPC */
	bool cuts;	  /* mem_cut will be used */
	uint64_t shuffle; /* seed of the order of completion; 0: as submitted */
	uint64_t gen;
	struct mem_flush flushes_out[MEM_FLUSHES];
	uint64_t preads;
	uint64_t pread_bytes;
	uint64_t flushes;
	bool reaches; /* what flush_reaches says; nothing is done about it: not with cuts */
};

static inline struct io_mem *mem_of(struct io *io)
{
	return (struct io_mem *)io;
}

static inline struct io_file *mem_find(struct io_mem *m, const char *path)
{
	for (int i = 0; i < MEM_FILES; i++)
		if (m->files[i].used && strcmp(m->files[i].path, path) == 0)
			return &m->files[i];
	return NULL;
}

static inline bool mem_resize(struct io_file *f, uint64_t size)
{
	if (size > f->capacity) {
		uint64_t capacity = max_of(size, f->capacity * 2);
		uint8_t *p = realloc(f->data, capacity);
		if (!p)
			return false;
		f->data = p;
		f->capacity = capacity;
	}
	if (size > f->size)
		memset(f->data + f->size, 0, size - f->size);
	f->size = size;
	return true;
}

static inline struct io_file *mem_add(struct io_mem *m, const char *path, bool dir)
{
	for (int i = 0; i < MEM_FILES; i++) {
		struct io_file *f = &m->files[i];
		if (f->used || f->opens > 0)
			continue;
		free(f->data);
		free(f->stable);
		*f = (struct io_file){.used = true, .dir = dir};
		snprintf(f->path, sizeof(f->path), "%s", path);
		return f;
	}
	return NULL;
}

static inline bool mem_parent_ok(struct io_mem *m, const char *path)
{
	char parent[IO_PATH_MAX];
	snprintf(parent, sizeof(parent), "%s", path);
	char *slash = strrchr(parent, '/');
	if (!slash || slash == parent)
		return true;
	*slash = 0;
	struct io_file *f = mem_find(m, parent);
	return f && f->dir;
}

static inline int mem_open(struct io *io, const char *path, unsigned flags, struct io_file **out)
{
	struct io_mem *m = mem_of(io);
	struct io_file *f = mem_find(m, path);
	if (f && (flags & IO_EXCL))
		return -EEXIST;
	if (f && f->dir != !!(flags & IO_DIR))
		return f->dir ? -EISDIR : -ENOTDIR;
	if (!f && (!(flags & IO_CREATE) || !mem_parent_ok(m, path)))
		return -ENOENT;
	if (!f)
		f = mem_add(m, path, false);
	if (!f)
		return -EMFILE;
	if (flags & IO_TRUNC)
		f->size = 0;
	f->opens++;
	*out = f;
	return 0;
}

static inline void mem_close(struct io *io, struct io_file *f)
{
	CHECK(f->opens > 0);
	f->opens--;
}

static inline int mem_size(struct io *io, struct io_file *f, uint64_t *out)
{
	*out = f->size;
	return 0;
}

static inline int mem_truncate(struct io *io, struct io_file *f, uint64_t size)
{
	return mem_resize(f, size) ? 0 : -ENOSPC;
}

static inline int64_t mem_pread(
	struct io *io, struct io_file *f, void *buf, uint64_t len, uint64_t off)
{
	mem_of(io)->preads++;
	mem_of(io)->pread_bytes += len;
	if (off >= f->size)
		return 0;
	uint64_t n = min_of(len, f->size - off);
	memcpy(buf, f->data + off, n);
	return (int64_t)n;
}

static inline int64_t mem_pwrite(
	struct io *io, struct io_file *f, const void *buf, uint64_t len, uint64_t off)
{
	if (off + len > f->size && !mem_resize(f, off + len))
		return -ENOSPC;
	memcpy(f->data + off, buf, len);
	return (int64_t)len;
}

static inline uint8_t *mem_image(const struct io_file *f)
{
	uint8_t *p = malloc(f->size + 1);
	CHECK(p);
	if (f->size > 0)
		memcpy(p, f->data, f->size);
	return p;
}

/* Takes the image. */
static inline void mem_stabilise(struct io_file *f, uint8_t *image, uint64_t size, uint64_t gen)
{
	if (gen < f->stable_gen) {
		free(image);
		return;
	}
	free(f->stable);
	f->stable = image;
	f->stable_size = size;
	f->stable_gen = gen;
}

static inline int mem_fsync(struct io *io, struct io_file *f)
{
	struct io_mem *m = mem_of(io);
	m->flushes++;
	if (m->cuts)
		mem_stabilise(f, mem_image(f), f->size, ++m->gen);
	return 0;
}

/* A flush makes stable what had been written when it was submitted. */
static inline void mem_flush_begin(struct io_mem *m, const struct io_op *op)
{
	if (!m->cuts || op->file->dir)
		return;
	for (int i = 0; i < MEM_FLUSHES; i++) {
		struct mem_flush *x = &m->flushes_out[i];
		if (x->op)
			continue;
		*x = (struct mem_flush){op, mem_image(op->file), op->file->size, ++m->gen};
		return;
	}
	CHECK(!"more flushes at once than this filesystem knows of");
}

static inline void mem_flush_end(struct io_mem *m, const struct io_op *op)
{
	m->flushes++;
	for (int i = 0; i < MEM_FLUSHES; i++) {
		struct mem_flush *x = &m->flushes_out[i];
		if (x->op != op)
			continue;
		mem_stabilise(op->file, x->image, x->size, x->gen);
		x->op = NULL;
	}
}

static inline int mem_mkdir(struct io *io, const char *path)
{
	struct io_mem *m = mem_of(io);
	if (mem_find(m, path))
		return -EEXIST;
	if (!mem_parent_ok(m, path))
		return -ENOENT;
	return mem_add(m, path, true) ? 0 : -ENOSPC;
}

static inline bool mem_is_in(const struct io_file *f, const char *path)
{
	size_t n = strcmp(path, "/") == 0 ? 0 : strlen(path);
	return f->used && strncmp(f->path, path, n) == 0 && f->path[n] == '/';
}

static inline int mem_rmdir(struct io *io, const char *path)
{
	struct io_mem *m = mem_of(io);
	struct io_file *f = mem_find(m, path);
	if (!f || !f->dir)
		return -ENOENT;
	for (int i = 0; i < MEM_FILES; i++)
		if (mem_is_in(&m->files[i], path))
			return -ENOTEMPTY;
	f->used = false;
	return 0;
}

static inline int mem_unlink(struct io *io, const char *path)
{
	struct io_file *f = mem_find(mem_of(io), path);
	if (!f || f->dir)
		return f ? -EISDIR : -ENOENT;
	f->used = false;
	return 0;
}

static inline int mem_rename(struct io *io, const char *from, const char *to)
{
	struct io_mem *m = mem_of(io);
	struct io_file *f = mem_find(m, from), *old = mem_find(m, to);
	if (!f)
		return -ENOENT;
	if (old && old->dir && mem_rmdir(io, to) < 0)
		return -ENOTEMPTY;
	if (old)
		old->used = false;
	size_t n = strlen(from);
	for (int i = 0; i < MEM_FILES; i++) {
		struct io_file *g = &m->files[i];
		if (!mem_is_in(g, from))
			continue;
		char path[IO_PATH_MAX];
		snprintf(path, sizeof(path), "%.300s%.200s", to, g->path + n);
		memcpy(g->path, path, sizeof(path));
	}
	snprintf(f->path, sizeof(f->path), "%s", to);
	return 0;
}

static inline int mem_fsync_dir(struct io *io, const char *path)
{
	struct io_mem *m = mem_of(io);
	m->flushes++;
	size_t n = strcmp(path, "/") == 0 ? 0 : strlen(path);
	for (int i = 0; i < MEM_FILES; i++)
		if (mem_is_in(&m->files[i], path) && !strchr(m->files[i].path + n + 1, '/'))
			m->files[i].named = true;
	return 0;
}

static inline int mem_list(
	struct io *io, const char *path, void (*each)(void *arg, const char *name), void *arg)
{
	struct io_mem *m = mem_of(io);
	if (!mem_find(m, path))
		return -ENOENT;
	size_t n = strlen(path);
	for (int i = 0; i < MEM_FILES; i++)
		if (mem_is_in(&m->files[i], path) && !strchr(m->files[i].path + n + 1, '/'))
			each(arg, m->files[i].path + n + 1);
	return 0;
}

static inline bool mem_flush_reaches(struct io *io, const char *path)
{
	return mem_of(io)->reaches && path;
}

static inline void mem_submit(struct io *io, struct io_op *op)
{
	if (op->kind == IO_READ || op->kind == IO_WRITE) {
		CHECK((uintptr_t)op->buf % IO_SECTOR == 0);
		CHECK(op->vec_count <= IO_VEC_MAX);
		CHECK(op->off % IO_SECTOR == 0 && op->len % IO_SECTOR == 0 && op->len > 0);
	}
	if (op->kind == IO_FDATASYNC || op->kind == IO_FSYNC)
		mem_flush_begin(mem_of(io), op);
	list_push_back(&mem_of(io)->queue, &op->node);
}

static inline int64_t mem_grow(struct io_mem *m, const struct io_op *op)
{
	if (op->len > m->room)
		return -ENOSPC;
	m->room -= op->len;
	return mem_resize(op->file, max_of(op->file->size, op->off + op->len)) ? 0 : -ENOSPC;
}

/* One piece after the other, up to the first that is not moved whole. */
static inline int64_t mem_do_vec(struct io_mem *m, const struct io_op *op)
{
	uint64_t moved = 0;
	for (uint32_t i = 0; i < op->vec_count; i++) {
		const struct iovec *v = &op->vec[i];
		int64_t rc = op->kind == IO_READ ? mem_pread(&m->io, op->file, v->iov_base,
							   v->iov_len, op->off + moved)
						 : mem_pwrite(&m->io, op->file, v->iov_base,
							   v->iov_len, op->off + moved);
		if (rc < 0 && moved == 0)
			return rc;
		moved += (uint64_t)max_of(rc, (int64_t)0);
		if (rc < (int64_t)v->iov_len)
			break;
	}
	return (int64_t)moved;
}

static inline void mem_do(struct io_mem *m, struct io_op *op)
{
	if (op->vec_count > 0) {
		op->result = mem_do_vec(m, op);
		return;
	}
	switch (op->kind) {
	case IO_READ:
		op->result = mem_pread(&m->io, op->file, op->buf, op->len, op->off);
		break;
	case IO_WRITE:
		op->result = mem_pwrite(&m->io, op->file, op->buf, op->len, op->off);
		break;
	case IO_FDATASYNC:
	case IO_FSYNC:
		if (op->file->dir)
			mem_fsync_dir(&m->io, op->file->path);
		else
			mem_flush_end(m, op);
		op->result = 0;
		break;
	case IO_FALLOCATE:
		op->result = mem_grow(m, op);
		break;
	}
}

static inline uint64_t mem_random(uint64_t *state)
{
	*state = *state * 6364136223846793005ull + 1442695040888963407ull;
	return *state >> 33;
}

static inline uint32_t mem_reap(struct io *io, struct list *done)
{
	struct io_mem *m = mem_of(io);
	uint32_t n = 0;
	list_for_each_safe (it, &m->queue) {
		struct io_op *op = list_entry(it, struct io_op, node);
		if (m->shuffle && mem_random(&m->shuffle) % 3 != 0)
			continue;
		list_remove(it);
		mem_do(m, op);
		list_push_back(done, it);
		n++;
	}
	return n;
}

/* Each sector that was not flushed is kept or lost, as `seed` has it; 0: all are lost. */
static inline void mem_cut_file(struct io_file *f, uint64_t *seed)
{
	uint64_t n = f->stable_size, whole = f->size;
	uint8_t *old = f->data;
	f->data = NULL;
	f->size = f->capacity = 0;
	bool longer = *seed && whole > n && mem_random(seed) % 2;
	CHECK(mem_resize(f, longer ? whole : n));
	if (n > 0)
		memcpy(f->data, f->stable, n);
	for (uint64_t at = 0; *seed && at < min_of(f->size, whole); at += IO_SECTOR)
		if (mem_random(seed) % 2)
			memcpy(f->data + at, old + at,
				min_of(IO_SECTOR, min_of(f->size, whole) - at));
	free(old);
}

/* Power is cut. Then whoever uses the files has to go away without another operation. */
static inline void mem_cut(struct io_mem *m, uint64_t seed)
{
	struct list *n;
	CHECK(m->cuts);
	while ((n = list_pop_front(&m->queue))) {
		struct io_op *op = list_entry(n, struct io_op, node);
		if (seed && op->kind == IO_WRITE && mem_random(&seed) % 2)
			mem_do(m, op);
	}
	for (int i = 0; i < MEM_FLUSHES; i++) {
		if (m->flushes_out[i].op)
			free(m->flushes_out[i].image);
		m->flushes_out[i].op = NULL;
	}
	for (int i = 0; i < MEM_FILES; i++) {
		struct io_file *f = &m->files[i];
		if (f->used && !f->named && !(seed && mem_random(&seed) % 2))
			f->used = false;
	}
	for (int depth = 0; depth < 3; depth++)
		for (int i = 0; i < MEM_FILES; i++)
			if (m->files[i].used && !mem_parent_ok(m, m->files[i].path))
				m->files[i].used = false;
	for (int i = 0; i < MEM_FILES; i++) {
		struct io_file *f = &m->files[i];
		if (f->used && !f->dir)
			mem_cut_file(f, &seed);
		f->named = f->used;
	}
}

static inline struct io *io_mem_init(struct io_mem *m)
{
	static const struct io_api api = {
		.submit = mem_submit,
		.reap = mem_reap,
		.open = mem_open,
		.close = mem_close,
		.size = mem_size,
		.truncate = mem_truncate,
		.pread = mem_pread,
		.pwrite = mem_pwrite,
		.fsync = mem_fsync,
		.mkdir = mem_mkdir,
		.rmdir = mem_rmdir,
		.rename = mem_rename,
		.unlink = mem_unlink,
		.fsync_dir = mem_fsync_dir,
		.list = mem_list,
		.flush_reaches = mem_flush_reaches,
	};
	memset(m, 0, sizeof(*m));
	m->io.api = &api;
	m->room = UINT64_MAX;
	list_init(&m->queue);
	return &m->io;
}

static inline void io_mem_fini(struct io_mem *m)
{
	for (int i = 0; i < MEM_FILES; i++) {
		free(m->files[i].data);
		free(m->files[i].stable);
	}
	for (int i = 0; i < MEM_FLUSHES; i++)
		if (m->flushes_out[i].op)
			free(m->flushes_out[i].image);
}

#endif
