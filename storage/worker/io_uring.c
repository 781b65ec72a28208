/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/worker/io_uring.h"

#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "storage/worker/io_posix.h"

#define RING_ENTRIES 1024u
#define RING_REGIONS 64u
#define RING_REGION_MAX ((size_t)1 << 30) /* the kernel's limit for one registered buffer */
#define RING_WAKE UINT64_MAX		  /* user data of the poll on wake_fd */

struct io_ring {
	struct io io;
	struct io_uring ring;
	int wake_fd;
	bool wake_armed;
	struct iovec regions[RING_REGIONS]; /* registered, by index */
	uint32_t region_count;
	uint64_t syscalls;
};

static struct io_ring *ring_of(struct io *io)
{
	return container_of(io, struct io_ring, io);
}

/* --- set-up
 * --------------------------------------------------------------------------------------- */

static void ring_refused(int rc, char *err, size_t err_size)
{
	switch (-rc) {
	case EPERM:
	case EACCES:
		snprintf(err, err_size,
			"io_uring is forbidden here (%s): set sysctl kernel.io_uring_disabled=0, "
			"or in "
			"a container allow io_uring_setup, io_uring_enter and io_uring_register in "
			"its "
			"seccomp profile",
			strerror(-rc));
		break;
	case ENOSYS:
		snprintf(err, err_size,
			"io_uring is missing: the kernel was built without it, or the "
			"container's seccomp profile hides it");
		break;
	case EINVAL:
		snprintf(err, err_size, "io_uring is too old: Linux 6.1 or newer is needed");
		break;
	case ENOMEM:
		snprintf(err, err_size,
			"io_uring: not enough memory; raise RLIMIT_MEMLOCK (ulimit -l)");
		break;
	default:
		snprintf(err, err_size, "io_uring: %s", strerror(-rc));
	}
}

/* Splits the memory into what the kernel takes as one buffer. False: too many pieces. */
static bool ring_split(struct io_ring *r, const struct io_ring_config *cfg)
{
	for (uint32_t i = 0; i < cfg->memory_count; i++) {
		uint8_t *p = cfg->memory[i].iov_base;
		for (size_t at = 0; at < cfg->memory[i].iov_len;) {
			size_t n = min_of(cfg->memory[i].iov_len - at, RING_REGION_MAX);
			if (r->region_count == RING_REGIONS)
				return false;
			r->regions[r->region_count++] =
				(struct iovec){.iov_base = p + at, .iov_len = n};
			at += n;
		}
	}
	return r->region_count > 0;
}

static bool ring_register(struct io_ring *r, const struct io_ring_config *cfg)
{
	if (ring_split(r, cfg) &&
		io_uring_register_buffers(&r->ring, r->regions, r->region_count) == 0)
		return true;
	r->region_count = 0; /* RLIMIT_MEMLOCK: every operation pins its pages by itself */
	return false;
}

static uint32_t ring_reap(struct io *io, struct list *done);
static void ring_submit(struct io *io, struct io_op *op);

struct io_ring *io_ring_open(
	const struct io_ring_config *cfg, bool *registered, char *err, size_t err_size)
{
	static const struct io_api api = {
		.submit = ring_submit,
		.reap = ring_reap,
		IO_POSIX_SYNC_API,
	};
	struct io_ring *r = calloc(1, sizeof(*r));
	if (!r) {
		snprintf(err, err_size, "out of memory");
		return NULL;
	}
	struct io_uring_params p = {
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
			 IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CLAMP |
			 IORING_SETUP_R_DISABLED,
	};
	int rc = io_uring_queue_init_params(RING_ENTRIES, &r->ring, &p);
	if (rc < 0) {
		ring_refused(rc, err, err_size);
		free(r);
		return NULL;
	}
	r->io.api = &api;
	r->wake_fd = cfg->wake_fd;
	*registered = ring_register(r, cfg);
	if (cfg->lock_count > 0)
		io_uring_register_files(&r->ring, cfg->lock_fds, cfg->lock_count);
	return r;
}

int io_ring_enable(struct io_ring *r)
{
	/* liburing 2.3 declares io_uring_enable_rings, but Debian's library does not export it. */
	long rc = syscall(
		__NR_io_uring_register, r->ring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
	return rc < 0 ? -errno : 0;
}

void io_ring_close(struct io_ring *r)
{
	if (!r)
		return;
	io_uring_queue_exit(&r->ring);
	free(r);
}

struct io *io_ring_io(struct io_ring *r)
{
	return &r->io;
}

uint64_t io_ring_syscalls(const struct io_ring *r)
{
	return r->syscalls;
}

/* --- operations
 * ----------------------------------------------------------------------------------- */

void io_ring_kick(struct io_ring *r)
{
	while (io_uring_sq_ready(&r->ring) > 0) {
		int n = io_uring_submit(&r->ring);
		r->syscalls++;
		if (n == -EINTR || n == -EAGAIN || n == -EBUSY)
			continue;
		CHECK(n >= 0);
	}
}

static struct io_uring_sqe *ring_sqe(struct io_ring *r)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&r->ring);
	if (!sqe) {
		io_ring_kick(r);
		sqe = io_uring_get_sqe(&r->ring);
	}
	CHECK(sqe);
	return sqe;
}

/* Index of the registered region that holds all of [buf, buf + len), or -1. */
static int ring_region(const struct io_ring *r, const void *buf, uint64_t len)
{
	uintptr_t p = (uintptr_t)buf;
	for (uint32_t i = 0; i < r->region_count; i++) {
		uintptr_t base = (uintptr_t)r->regions[i].iov_base;
		if (p >= base && p - base < r->regions[i].iov_len)
			return len <= r->regions[i].iov_len - (p - base) ? (int)i : -1;
	}
	return -1;
}

static void ring_submit(struct io *io, struct io_op *op)
{
	struct io_ring *r = ring_of(io);
	struct io_uring_sqe *sqe = ring_sqe(r);
	int fd = op->file->fd;
	int region = op->buf ? ring_region(r, op->buf, op->len) : -1;
	switch (op->kind) {
	case IO_READ:
		if (region >= 0)
			io_uring_prep_read_fixed(
				sqe, fd, op->buf, (unsigned)op->len, op->off, region);
		else
			io_uring_prep_read(sqe, fd, op->buf, (unsigned)op->len, op->off);
		break;
	case IO_WRITE:
		if (region >= 0)
			io_uring_prep_write_fixed(
				sqe, fd, op->buf, (unsigned)op->len, op->off, region);
		else
			io_uring_prep_write(sqe, fd, op->buf, (unsigned)op->len, op->off);
		break;
	case IO_FDATASYNC:
		io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
		break;
	case IO_FALLOCATE:
		io_uring_prep_fallocate(sqe, fd, 0, (off_t)op->off, (off_t)op->len);
		break;
	}
	io_uring_sqe_set_data(sqe, op);
}

static bool ring_needs_enter(const struct io_ring *r)
{
	return *r->ring.sq.kflags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW);
}

bool io_ring_has_pending(const struct io_ring *r)
{
	return io_uring_sq_ready(&r->ring) > 0;
}

bool io_ring_is_ready(const struct io_ring *r)
{
	return io_uring_cq_ready(&r->ring) > 0 || ring_needs_enter(r);
}

static uint32_t ring_reap(struct io *io, struct list *done)
{
	struct io_ring *r = ring_of(io);
	struct io_uring_cqe *cqe;
	unsigned head, seen = 0;
	uint32_t n = 0;
	if (io_uring_cq_ready(&r->ring) == 0 && ring_needs_enter(r)) {
		r->syscalls++;
		io_uring_get_events(&r->ring);
	}
	io_uring_for_each_cqe(&r->ring, head, cqe)
	{
		seen++;
		if (cqe->user_data == RING_WAKE) {
			r->wake_armed = cqe->flags & IORING_CQE_F_MORE;
			continue;
		}
		struct io_op *op = (struct io_op *)(uintptr_t)cqe->user_data;
		op->result = cqe->res;
		if (op->kind == IO_FALLOCATE && (cqe->res == -EOPNOTSUPP || cqe->res == -ENOSYS))
			op->result = io_posix_grow(op->file, op->off, op->len);
		list_push_back(done, &op->node);
		n++;
	}
	io_uring_cq_advance(&r->ring, seen);
	return n;
}

void io_ring_wait(struct io_ring *r, uint64_t timeout_ns)
{
	if (r->wake_fd >= 0 && !r->wake_armed) {
		struct io_uring_sqe *sqe = ring_sqe(r);
		io_uring_prep_poll_multishot(sqe, r->wake_fd, POLLIN);
		sqe->user_data = RING_WAKE;
		r->wake_armed = true;
	}
	struct __kernel_timespec ts = {
		.tv_sec = (long long)(timeout_ns / NS_PER_S),
		.tv_nsec = (long long)(timeout_ns % NS_PER_S),
	};
	struct io_uring_cqe *cqe;
	r->syscalls++;
	io_uring_submit_and_wait_timeout(&r->ring, &cqe, 1, timeout_ns ? &ts : NULL, NULL);
}
