/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_STORAGE_WORKER_IO_H
#define MR_STORAGE_WORKER_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

#include "base/check.h"
#include "base/list.h"

/*
 * File operations as the storage sees them: the seam between the engine, which decides, and
 * whoever carries its decisions out (io_uring.c on a real kernel, the simulator's disk, io_fault.c
 * around either of them). Everything belongs to one thread.
 *
 * There are two kinds of operation. Reads, writes, flushes and growth of open files are
 * asynchronous (struct io_op). The namespace, and the short work of opening, sealing and recovering
 * a log, is synchronous.
 *
 * What is on stable storage, and when (the engine relies on this and on nothing more):
 *  - Data written, and the file size that is needed to reach it, after an IO_FDATASYNC or fsync of
 *    that file that was submitted after the write had completed, and that returned 0. Before that
 *    a write may be kept, lost, or torn between sectors of 512 bytes, in any order relative to
 *    others, at a crash. One sector is old or new.
 *  - Growth (IO_FALLOCATE), truncation: likewise. New room reads as zeros.
 *  - A name (creation, rename, unlink, mkdir, rmdir): after fsync_dir of the directory it is in.
 *  - After a failed flush nothing is known about the file's unflushed writes.
 *
 * Files opened with IO_DIRECT take only offsets, lengths and buffer addresses that are multiples of
 * IO_ALIGN (the rest of a short transfer: of IO_SECTOR). Others take any.
 *
 * Results are a count of bytes or 0, or a negative errno value.
 */

#define IO_ALIGN 4096u
#define IO_SECTOR 512u
#define IO_PATH_MAX 512u
#define IO_VEC_MAX 64u

/* An open file; the backend's. */
struct io_file;

enum io_kind {
	IO_READ,      /* result: bytes read, fewer than len at the end of file or when short */
	IO_WRITE,     /* result: bytes written, possibly fewer than len */
	IO_FDATASYNC, /* result: 0 */
	IO_FSYNC,     /* with all metadata; of a directory: its names. result: 0 */
	IO_FALLOCATE, /* allocates [off, off + len) and extends the file size to cover it; result: 0
		       */
};

struct io_op {
	struct list node; /* the backend's from submit until it comes out of reap */
	enum io_kind kind;
	struct io_file *file;
	void *buf; /* borrowed until reaped; the bytes under a write in flight do not change */
	/* Of a read or write, when vec_count > 0: piece after piece, instead of buf; likewise. */
	const struct iovec *vec;
	uint32_t vec_count; /* at most IO_VEC_MAX */
	uint64_t off;
	uint64_t len; /* in total */
	bool reaches; /* a flush: see io_api.flush_reaches */
	int64_t result;
	uint64_t took_ns; /* from submit to its end; 0: the backend has no clock */
	void *user;	  /* the submitter's */
};

enum {
	IO_CREATE = 1, /* create when absent */
	IO_EXCL = 2,   /* with IO_CREATE: -EEXIST when present */
	IO_DIRECT = 4, /* bypass the page cache */
	IO_RDONLY = 8,
	IO_TRUNC = 16, /* cut to zero bytes */
	IO_DIR = 32,   /* with IO_RDONLY: a directory, for IO_FSYNC only */
};

/* Copies the first len bytes of a vector out of its pieces, or into them. */
static inline void io_vec_gather(const struct iovec *v, uint8_t *to, uint64_t len)
{
	for (; len > 0; to += v->iov_len, len -= min_of(len, v->iov_len), v++)
		memcpy(to, v->iov_base, min_of(len, v->iov_len));
}

static inline void io_vec_scatter(const struct iovec *v, const uint8_t *from, uint64_t len)
{
	for (; len > 0; from += v->iov_len, len -= min_of(len, v->iov_len), v++)
		memcpy(v->iov_base, from, min_of(len, v->iov_len));
}

struct io;

struct io_api {
	/* Queues an operation; the backend holds it until reap. It never finishes inside submit. */
	void (*submit)(struct io *io, struct io_op *op);
	/* Moves finished operations to the end of `done` (struct io_op.node), never blocks. How
	 * many. */
	uint32_t (*reap)(struct io *io, struct list *done);

	/* Synchronous. Paths are absolute. All return 0 (or what is said) or -errno. */
	int (*open)(struct io *io, const char *path, unsigned flags, struct io_file **out);
	/* No operation on the file may be in flight. Makes nothing durable. */
	void (*close)(struct io *io, struct io_file *f);
	int (*size)(struct io *io, struct io_file *f, uint64_t *out);
	int (*truncate)(struct io *io, struct io_file *f, uint64_t size);
	/* Bytes transferred; reads are short only at the end of file, writes never are. */
	int64_t (*pread)(struct io *io, struct io_file *f, void *buf, uint64_t len, uint64_t off);
	int64_t (*pwrite)(
		struct io *io, struct io_file *f, const void *buf, uint64_t len, uint64_t off);
	/* Data and all metadata of the file. */
	int (*fsync)(struct io *io, struct io_file *f);
	/* The parent must exist. -EEXIST when present. */
	int (*mkdir)(struct io *io, const char *path);
	int (*rmdir)(struct io *io, const char *path);
	/* Replaces `to` when it is a file. */
	int (*rename)(struct io *io, const char *from, const char *to);
	int (*unlink)(struct io *io, const char *path);
	int (*fsync_dir)(struct io *io, const char *path);
	/*
	 * Whether a flush below this directory that is marked `reaches` flushes the device, and
	 * with it more than its own file: every write to any file there that had completed before
	 * the flush was submitted, into room that had been written, and flushed, before. (Nothing
	 * but the device's cache is between such a write and stable storage.)
	 */
	bool (*flush_reaches)(struct io *io, const char *path);
	/* Calls each(arg, name) for every entry but . and .., in any order. The callback must not
	 * use io. */
	int (*list)(struct io *io, const char *path, void (*each)(void *arg, const char *name),
		void *arg);
};

/* A backend embeds this as its first member. */
struct io {
	const struct io_api *api;
};

#endif
