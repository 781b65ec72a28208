/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_STORAGE_WORKER_IO_POSIX_H
#define MR_STORAGE_WORKER_IO_POSIX_H

#include "storage/worker/io.h"

/*
 * io.h by plain system calls. The synchronous operations are also those of the io_uring backend.
 * The asynchronous ones are done, blocking, inside reap: for start-up, tools and tests.
 */

struct io_file {
	int fd;
};

struct io_posix {
	struct io io;
	struct list queue; /* struct io_op.node */
};
void io_posix_init(struct io_posix *p);

/* The synchronous part of struct io_api; `io` is not looked at. */
int io_posix_open(struct io *io, const char *path, unsigned flags, struct io_file **out);
void io_posix_close(struct io *io, struct io_file *f);
int io_posix_size(struct io *io, struct io_file *f, uint64_t *out);
int io_posix_truncate(struct io *io, struct io_file *f, uint64_t size);
int64_t io_posix_pread(struct io *io, struct io_file *f, void *buf, uint64_t len, uint64_t off);
int64_t io_posix_pwrite(
	struct io *io, struct io_file *f, const void *buf, uint64_t len, uint64_t off);
int io_posix_fsync(struct io *io, struct io_file *f);
int io_posix_mkdir(struct io *io, const char *path);
int io_posix_rmdir(struct io *io, const char *path);
int io_posix_rename(struct io *io, const char *from, const char *to);
bool io_posix_flush_reaches(struct io *io, const char *path);
int io_posix_unlink(struct io *io, const char *path);
int io_posix_fsync_dir(struct io *io, const char *path);
int io_posix_list(
	struct io *io, const char *path, void (*each)(void *arg, const char *name), void *arg);
/* Grows the file, also where the filesystem cannot allocate ahead. 0 or -errno. */
int io_posix_grow(struct io_file *f, uint64_t off, uint64_t len);

#define IO_POSIX_SYNC_API                                                                          \
	.open = io_posix_open, .close = io_posix_close, .size = io_posix_size,                     \
	.truncate = io_posix_truncate, .pread = io_posix_pread, .pwrite = io_posix_pwrite,         \
	.fsync = io_posix_fsync, .mkdir = io_posix_mkdir, .rmdir = io_posix_rmdir,                 \
	.rename = io_posix_rename, .unlink = io_posix_unlink,                                      \
	.flush_reaches = io_posix_flush_reaches, .fsync_dir = io_posix_fsync_dir,                  \
	.list = io_posix_list

#endif
