/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/worker/io_fault.h"

#include <string.h>

#include "base/check.h"

static struct io_fault *fault_of(struct io *io)
{
	return container_of(io, struct io_fault, io);
}

/* What happens to this operation: 0: it goes its way. */
static int fault_hit(struct io_fault *f, enum fault_op op)
{
	uint64_t n = ++f->seen[op];
	f->seen_all++;
	if (f->op == FAULT_ANY)
		n = f->seen_all;
	else if (f->op != op)
		return 0;
	if (f->at == 0 || n < f->at || (n > f->at && !f->stays))
		return 0;
	f->failed++;
	return f->rc;
}

static void fault_submit(struct io *io, struct io_op *op)
{
	static const enum fault_op kinds[] = {
		[IO_READ] = FAULT_READ,
		[IO_WRITE] = FAULT_WRITE,
		[IO_FDATASYNC] = FAULT_FDATASYNC,
		[IO_FALLOCATE] = FAULT_FALLOCATE,
	};
	struct io_fault *f = fault_of(io);
	int rc = fault_hit(f, kinds[op->kind]);
	if (rc > 0 && (uint64_t)rc < op->len) { /* does a part of it */
		const struct io_api *api = f->under->api;
		uint64_t n = (uint64_t)rc;
		if (op->vec_count > 0)
			n = min_of(n, (uint64_t)op->vec->iov_len);
		op->result = op->kind == IO_READ
				     ? api->pread(f->under, op->file, op->buf, n, op->off)
				     : api->pwrite(f->under, op->file, op->buf, n, op->off);
		list_push_back(&f->done, &op->node);
	} else if (rc < 0) {
		op->result = rc;
		list_push_back(&f->done, &op->node);
	} else {
		f->under->api->submit(f->under, op);
	}
}

static uint32_t fault_reap(struct io *io, struct list *done)
{
	struct io_fault *f = fault_of(io);
	uint32_t n = f->under->api->reap(f->under, done);
	for (struct list *it; (it = list_pop_front(&f->done)); n++)
		list_push_back(done, it);
	return n;
}

static int fault_open(struct io *io, const char *path, unsigned flags, struct io_file **out)
{
	struct io_fault *f = fault_of(io);
	int rc = fault_hit(f, FAULT_OPEN);
	return rc < 0 ? rc : f->under->api->open(f->under, path, flags, out);
}

static void fault_close(struct io *io, struct io_file *file)
{
	struct io_fault *f = fault_of(io);
	f->under->api->close(f->under, file);
}

static int fault_size(struct io *io, struct io_file *file, uint64_t *out)
{
	struct io_fault *f = fault_of(io);
	return f->under->api->size(f->under, file, out);
}

static int fault_truncate(struct io *io, struct io_file *file, uint64_t size)
{
	struct io_fault *f = fault_of(io);
	int rc = fault_hit(f, FAULT_TRUNCATE);
	return rc < 0 ? rc : f->under->api->truncate(f->under, file, size);
}

static int64_t fault_pread(
	struct io *io, struct io_file *file, void *buf, uint64_t len, uint64_t off)
{
	struct io_fault *f = fault_of(io);
	int rc = fault_hit(f, FAULT_PREAD);
	return rc < 0 ? rc : f->under->api->pread(f->under, file, buf, len, off);
}

static int64_t fault_pwrite(
	struct io *io, struct io_file *file, const void *buf, uint64_t len, uint64_t off)
{
	struct io_fault *f = fault_of(io);
	int rc = fault_hit(f, FAULT_PWRITE);
	return rc < 0 ? rc : f->under->api->pwrite(f->under, file, buf, len, off);
}

static int fault_fsync(struct io *io, struct io_file *file)
{
	struct io_fault *f = fault_of(io);
	int rc = fault_hit(f, FAULT_FSYNC);
	return rc < 0 ? rc : f->under->api->fsync(f->under, file);
}

static int fault_mkdir(struct io *io, const char *path)
{
	struct io_fault *f = fault_of(io);
	int rc = fault_hit(f, FAULT_MKDIR);
	return rc < 0 ? rc : f->under->api->mkdir(f->under, path);
}

static int fault_rmdir(struct io *io, const char *path)
{
	struct io_fault *f = fault_of(io);
	return f->under->api->rmdir(f->under, path);
}

static int fault_rename(struct io *io, const char *from, const char *to)
{
	struct io_fault *f = fault_of(io);
	int rc = fault_hit(f, FAULT_RENAME);
	return rc < 0 ? rc : f->under->api->rename(f->under, from, to);
}

static int fault_unlink(struct io *io, const char *path)
{
	struct io_fault *f = fault_of(io);
	int rc = fault_hit(f, FAULT_UNLINK);
	return rc < 0 ? rc : f->under->api->unlink(f->under, path);
}

static int fault_fsync_dir(struct io *io, const char *path)
{
	struct io_fault *f = fault_of(io);
	int rc = fault_hit(f, FAULT_FSYNC_DIR);
	return rc < 0 ? rc : f->under->api->fsync_dir(f->under, path);
}

static bool fault_flush_reaches(struct io *io, const char *path)
{
	struct io_fault *f = fault_of(io);
	return f->under->api->flush_reaches(f->under, path);
}

static int fault_list(
	struct io *io, const char *path, void (*each)(void *arg, const char *name), void *arg)
{
	struct io_fault *f = fault_of(io);
	return f->under->api->list(f->under, path, each, arg);
}

void io_fault_init(struct io_fault *f, struct io *under)
{
	static const struct io_api api = {
		.submit = fault_submit,
		.reap = fault_reap,
		.open = fault_open,
		.close = fault_close,
		.size = fault_size,
		.truncate = fault_truncate,
		.pread = fault_pread,
		.pwrite = fault_pwrite,
		.fsync = fault_fsync,
		.mkdir = fault_mkdir,
		.rmdir = fault_rmdir,
		.rename = fault_rename,
		.unlink = fault_unlink,
		.fsync_dir = fault_fsync_dir,
		.list = fault_list,
		.flush_reaches = fault_flush_reaches,
	};
	*f = (struct io_fault){.io = {.api = &api}, .under = under, .op = FAULT_ANY};
	list_init(&f->done);
}

void io_fault_plan(struct io_fault *f, enum fault_op op, uint64_t at, int rc, bool stays)
{
	memset(f->seen, 0, sizeof(f->seen));
	f->seen_all = f->failed = 0;
	f->op = op;
	f->at = at;
	f->rc = rc;
	f->stays = stays;
}
