/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/worker/io_posix.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/check.h"

int io_posix_open(struct io *io, const char *path, unsigned flags, struct io_file **out)
{
	int how = (flags & IO_RDONLY ? O_RDONLY : O_RDWR) | O_CLOEXEC;
	how |= flags & IO_CREATE ? O_CREAT : 0;
	how |= flags & IO_EXCL ? O_EXCL : 0;
	how |= flags & IO_DIRECT ? O_DIRECT : 0;
	how |= flags & IO_TRUNC ? O_TRUNC : 0;
	how |= flags & IO_DIR ? O_DIRECTORY : 0;
	struct io_file *f = malloc(sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->fd = open(path, how, 0644);
	if (f->fd < 0) {
		free(f);
		return -errno;
	}
	*out = f;
	return 0;
}

void io_posix_close(struct io *io, struct io_file *f)
{
	close(f->fd);
	free(f);
}

int io_posix_size(struct io *io, struct io_file *f, uint64_t *out)
{
	struct stat st;
	if (fstat(f->fd, &st) < 0)
		return -errno;
	*out = (uint64_t)st.st_size;
	return 0;
}

/* Growth takes room at once where the filesystem can do that: later there may be none. */
int io_posix_truncate(struct io *io, struct io_file *f, uint64_t size)
{
	uint64_t now;
	int rc = io_posix_size(io, f, &now);
	if (rc == 0 && size > now)
		rc = io_posix_grow(f, now, size - now);
	if (rc < 0)
		return rc;
	return ftruncate(f->fd, (off_t)size) < 0 ? -errno : 0;
}

int64_t io_posix_pread(struct io *io, struct io_file *f, void *buf, uint64_t len, uint64_t off)
{
	uint64_t at = 0;
	while (at < len) {
		ssize_t n = pread(f->fd, (uint8_t *)buf + at, len - at, (off_t)(off + at));
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		at += (uint64_t)n;
		if (at % IO_SECTOR != 0)
			break; /* only at the end of the file */
	}
	return (int64_t)at;
}

int64_t io_posix_pwrite(
	struct io *io, struct io_file *f, const void *buf, uint64_t len, uint64_t off)
{
	uint64_t at = 0;
	while (at < len) {
		ssize_t n = pwrite(f->fd, (const uint8_t *)buf + at, len - at, (off_t)(off + at));
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		at += (uint64_t)n;
	}
	return (int64_t)at;
}

int io_posix_fsync(struct io *io, struct io_file *f)
{
	return fsync(f->fd) < 0 ? -errno : 0;
}

int io_posix_mkdir(struct io *io, const char *path)
{
	return mkdir(path, 0755) < 0 ? -errno : 0;
}

int io_posix_rmdir(struct io *io, const char *path)
{
	return rmdir(path) < 0 ? -errno : 0;
}

int io_posix_rename(struct io *io, const char *from, const char *to)
{
	return rename(from, to) < 0 ? -errno : 0;
}

int io_posix_unlink(struct io *io, const char *path)
{
	return unlink(path) < 0 ? -errno : 0;
}

int io_posix_fsync_dir(struct io *io, const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int rc = fsync(fd) < 0 ? -errno : 0;
	close(fd);
	return rc;
}

#define EXT4_MAGIC 0xEF53
#define XFS_MAGIC 0x58465342

/* The line of /proc/self/mountinfo for the device says nothing that speaks against it. */
static bool mount_is_plain(dev_t dev)
{
	char line[4096];
	bool plain = false;
	FILE *f = fopen("/proc/self/mountinfo", "re");
	while (f && fgets(line, sizeof(line), f)) {
		unsigned major_no, minor_no;
		if (sscanf(line, "%*d %*d %u:%u", &major_no, &minor_no) != 2 ||
			makedev(major_no, minor_no) != dev)
			continue;
		plain = !strstr(line, "data=journal") && !strstr(line, "rtdev=");
		break;
	}
	if (f)
		fclose(f);
	return plain;
}

/* ext4 and XFS end each fdatasync with a flush of the one device below them; a direct write into a
 * written extent changes nothing else. Not so with ext4's data=journal, where direct writes are
 * none, and with files on XFS's realtime device. */
bool io_posix_flush_reaches(struct io *io, const char *path)
{
	struct statfs fs;
	struct stat st;
	if (statfs(path, &fs) != 0 || stat(path, &st) != 0)
		return false;
	return (fs.f_type == EXT4_MAGIC || fs.f_type == XFS_MAGIC) && mount_is_plain(st.st_dev);
}

int io_posix_list(
	struct io *io, const char *path, void (*each)(void *arg, const char *name), void *arg)
{
	DIR *d = opendir(path);
	if (!d)
		return -errno;
	struct dirent *e;
	errno = 0;
	while ((e = readdir(d)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			each(arg, e->d_name);
	int rc = -errno;
	closedir(d);
	return rc;
}

int io_posix_grow(struct io_file *f, uint64_t off, uint64_t len)
{
	int rc;
	do
		rc = fallocate(f->fd, 0, (off_t)off, (off_t)len) < 0 ? -errno : 0;
	while (rc == -EINTR);
	if (rc == -EOPNOTSUPP || rc == -ENOSYS)
		rc = ftruncate(f->fd, (off_t)(off + len)) < 0 ? -errno : 0;
	return rc;
}

static void posix_submit(struct io *io, struct io_op *op)
{
	struct io_posix *p = container_of(io, struct io_posix, io);
	list_push_back(&p->queue, &op->node);
}

static int64_t posix_rc(ssize_t rc)
{
	return rc < 0 ? -errno : rc;
}

static int64_t posix_do(struct io *io, const struct io_op *op)
{
	switch (op->kind) {
	case IO_READ:
		if (op->vec_count > 0)
			return posix_rc(
				preadv(op->file->fd, op->vec, (int)op->vec_count, (off_t)op->off));
		return io_posix_pread(io, op->file, op->buf, op->len, op->off);
	case IO_WRITE:
		if (op->vec_count > 0)
			return posix_rc(
				pwritev(op->file->fd, op->vec, (int)op->vec_count, (off_t)op->off));
		return io_posix_pwrite(io, op->file, op->buf, op->len, op->off);
	case IO_FDATASYNC:
		return fdatasync(op->file->fd) < 0 ? -errno : 0;
	case IO_FSYNC:
		return io_posix_fsync(io, op->file);
	case IO_FALLOCATE:
		return io_posix_grow(op->file, op->off, op->len);
	}
	return -EINVAL;
}

static uint32_t posix_reap(struct io *io, struct list *done)
{
	struct io_posix *p = container_of(io, struct io_posix, io);
	uint32_t n = 0;
	for (struct list *it; (it = list_pop_front(&p->queue)); n++) {
		struct io_op *op = list_entry(it, struct io_op, node);
		op->result = posix_do(io, op);
		list_push_back(done, it);
	}
	return n;
}

void io_posix_init(struct io_posix *p)
{
	static const struct io_api api = {
		.submit = posix_submit,
		.reap = posix_reap,
		IO_POSIX_SYNC_API,
	};
	p->io.api = &api;
	list_init(&p->queue);
}
