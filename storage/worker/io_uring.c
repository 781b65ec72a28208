/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/worker/io_uring.h"

#include <errno.h>
#include <liburing.h>
#include <linux/capability.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "storage/worker/io_posix.h"

#define RING_ENTRIES 1024u
#define RING_ENTRIES_MIN 16u
#define RING_AREAS 4u
#define RING_CHUNKS_MAX 8192u /* registered buffers; the kernel takes 16384 */
#define RING_CHUNK_MIN ((size_t)2 << 20)
#define RING_CHUNK_MAX ((size_t)1 << 30) /* the kernel's limit for one of them */
#define RING_WAKE UINT64_MAX		 /* user data of the poll on wake_fd */

/*
 * Memory to read and write in, in chunks that are registered when they are first used: that pins
 * and touches no more than what is in use, and start-up does not wait for it.
 */
struct ring_area {
	uint8_t *base;
	size_t len;
	uint32_t first; /* index of its first chunk */
};

enum chunk_state { CHUNK_UNUSED, CHUNK_REGISTERED, CHUNK_REFUSED };

struct io_ring {
	struct io io;
	struct io_uring ring;
	int wake_fd;
	bool wake_armed;
	struct ring_area areas[RING_AREAS];
	uint32_t area_count;
	size_t chunk;
	uint8_t *chunks; /* enum chunk_state, by index of the registered buffer; NULL: none */
	bool refused;	 /* the kernel has said no once: it is not asked again */
	uint64_t syscalls;
};

static struct io_ring *ring_of(struct io *io)
{
	return container_of(io, struct io_ring, io);
}

/* --- set-up ------------------------------------------------------------------------------ */

static void ring_refused(int rc, char *err, size_t err_size)
{
	switch (-rc) {
	case EPERM:
	case EACCES:
		snprintf(err, err_size,
			"io_uring is forbidden here (%s): set sysctl kernel.io_uring_disabled=0, "
			"or in a container allow io_uring_setup, io_uring_enter and "
			"io_uring_register in its seccomp profile",
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

/* Who has CAP_IPC_LOCK may pin as much as there is. */
static bool ring_has_ipc_lock(void)
{
	struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct d[_LINUX_CAPABILITY_U32S_3] = {{0}};
	return syscall(SYS_capget, &h, d) == 0 && (d[0].effective >> CAP_IPC_LOCK & 1);
}

/* False when it is plain that RLIMIT_MEMLOCK forbids to pin that much. */
static bool ring_may_pin(size_t bytes)
{
	struct rlimit rl;
	return ring_has_ipc_lock() || getrlimit(RLIMIT_MEMLOCK, &rl) != 0 || rl.rlim_cur >= bytes;
}

/* Makes room for the chunks of all areas; none is registered yet. */
static bool ring_register(struct io_ring *r, const struct io_ring_config *cfg)
{
	size_t total = 0, count = 0;
	CHECK(cfg->memory_count <= RING_AREAS);
	for (uint32_t i = 0; i < cfg->memory_count; i++)
		total += cfg->memory[i].iov_len;
	if (total == 0 || !ring_may_pin(total))
		return false;
	r->chunk = RING_CHUNK_MIN;
	while (r->chunk < RING_CHUNK_MAX && total / r->chunk + cfg->memory_count > RING_CHUNKS_MAX)
		r->chunk *= 2;
	for (uint32_t i = 0; i < cfg->memory_count; i++) {
		const struct iovec *m = &cfg->memory[i];
		r->areas[i] = (struct ring_area){m->iov_base, m->iov_len, (uint32_t)count};
		count += (m->iov_len + r->chunk - 1) / r->chunk;
	}
	r->chunks = calloc(count, 1);
	if (!r->chunks || io_uring_register_buffers_sparse(&r->ring, (unsigned)count) != 0) {
		free(r->chunks);
		r->chunks = NULL;
		return false;
	}
	r->area_count = cfg->memory_count;
	return true;
}

/* New kernels charge the ring itself to RLIMIT_MEMLOCK: where that is low, a smaller one does. */
static int ring_init(struct io_ring *r)
{
	int rc = -ENOMEM;
	for (unsigned entries = RING_ENTRIES; rc == -ENOMEM && entries >= RING_ENTRIES_MIN;
		entries /= 2) {
		struct io_uring_params p = {
			.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
				 IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL |
				 IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE,
			.cq_entries = RING_ENTRIES, /* more than are ever in flight */
		};
		rc = io_uring_queue_init_params(entries, &r->ring, &p);
	}
	return rc;
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
	int rc = ring_init(r);
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
	free(r->chunks);
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

/* --- operations -------------------------------------------------------------------------- */

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

static bool ring_register_chunk(struct io_ring *r, const struct ring_area *a, uint32_t chunk)
{
	size_t at = (size_t)(chunk - a->first) * r->chunk;
	struct iovec iov = {.iov_base = a->base + at, .iov_len = min_of(r->chunk, a->len - at)};
	__u64 tag = 0;
	r->syscalls++;
	if (!r->refused &&
		io_uring_register_buffers_update_tag(&r->ring, chunk, &iov, &tag, 1) == 1) {
		r->chunks[chunk] = CHUNK_REGISTERED;
		return true;
	}
	if (!r->refused)
		log_warn("storage",
			"log memory cannot be pinned any further: writes go on, at a little more "
			"cost; raise RLIMIT_MEMLOCK (ulimit -l, LimitMEMLOCK=)");
	r->refused = true;
	r->chunks[chunk] = CHUNK_REFUSED;
	return false;
}

/* Index of the registered chunk that holds all of [buf, buf + len), or -1. */
static int ring_region(struct io_ring *r, const void *buf, uint64_t len)
{
	uintptr_t p = (uintptr_t)buf;
	for (uint32_t i = 0; i < r->area_count; i++) {
		const struct ring_area *a = &r->areas[i];
		if (p < (uintptr_t)a->base || p - (uintptr_t)a->base >= a->len)
			continue;
		size_t at = p - (uintptr_t)a->base;
		uint32_t chunk = a->first + (uint32_t)(at / r->chunk);
		if (at % r->chunk + len > r->chunk || r->chunks[chunk] == CHUNK_REFUSED)
			return -1;
		if (r->chunks[chunk] == CHUNK_REGISTERED || ring_register_chunk(r, a, chunk))
			return (int)chunk;
		return -1;
	}
	return -1;
}

static void ring_submit(struct io *io, struct io_op *op)
{
	struct io_ring *r = ring_of(io);
	struct io_uring_sqe *sqe = ring_sqe(r);
	int fd = op->file->fd;
	op->took_ns = clock_mono_ns(); /* the beginning, until it is reaped */
	int region = op->buf && op->vec_count == 0 ? ring_region(r, op->buf, op->len) : -1;
	switch (op->kind) {
	case IO_READ:
		if (op->vec_count > 0)
			io_uring_prep_readv(sqe, fd, op->vec, op->vec_count, op->off);
		else if (region >= 0)
			io_uring_prep_read_fixed(
				sqe, fd, op->buf, (unsigned)op->len, op->off, region);
		else
			io_uring_prep_read(sqe, fd, op->buf, (unsigned)op->len, op->off);
		break;
	case IO_WRITE:
		if (op->vec_count > 0)
			io_uring_prep_writev(sqe, fd, op->vec, op->vec_count, op->off);
		else if (region >= 0)
			io_uring_prep_write_fixed(
				sqe, fd, op->buf, (unsigned)op->len, op->off, region);
		else
			io_uring_prep_write(sqe, fd, op->buf, (unsigned)op->len, op->off);
		break;
	case IO_FDATASYNC:
		io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
		break;
	case IO_FSYNC:
		io_uring_prep_fsync(sqe, fd, 0);
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
	uint64_t now_ns = io_uring_cq_ready(&r->ring) > 0 ? clock_mono_ns() : 0;
	io_uring_for_each_cqe(&r->ring, head, cqe)
	{
		seen++;
		if (cqe->user_data == RING_WAKE) {
			r->wake_armed = cqe->flags & IORING_CQE_F_MORE;
			continue;
		}
		struct io_op *op = (struct io_op *)(uintptr_t)cqe->user_data;
		op->result = cqe->res;
		op->took_ns = now_ns - op->took_ns;
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
