/* SPDX-License-Identifier: Apache-2.0 */
#include "raw_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"

#define PAGE 4096u
#define PREWRITE_UNIT (4u << 20)

__attribute__((noreturn)) static void die(const char *what, int err)
{
	fprintf(stderr, "%s: %s\n", what, strerror(err));
	exit(1);
}

static uint8_t *page_memory(size_t size)
{
	uint8_t *p = aligned_alloc(PAGE, align_up(size, (size_t)PAGE));
	if (!p)
		die("memory", ENOMEM);
	for (size_t i = 0; i < size; i++)
		p[i] = (uint8_t)(i * 2654435761u >> 13);
	return p;
}

/* ---- what is used up ---- */

static uint64_t process_bytes(void)
{
	char line[128];
	uint64_t bytes = 0;
	FILE *f = fopen("/proc/self/io", "r");
	while (f && fgets(line, sizeof(line), f))
		if (strncmp(line, "write_bytes:", 12) == 0)
			bytes = strtoull(line + 12, NULL, 10);
	if (f)
		fclose(f);
	return bytes;
}

static uint64_t device_bytes(const char *dir)
{
	struct stat st;
	char path[80];
	unsigned long long sectors = 0;
	if (stat(dir, &st) != 0)
		return 0;
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/stat", major(st.st_dev),
		minor(st.st_dev));
	FILE *f = fopen(path, "r");
	if (f && fscanf(f, "%*u %*u %*u %*u %*u %*u %llu", &sectors) != 1)
		sectors = 0;
	if (f)
		fclose(f);
	return sectors * 512;
}

static uint64_t cpu_of(int who)
{
	struct rusage u;
	getrusage(who, &u);
	return (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * NS_PER_S +
	       (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * NS_PER_US;
}

struct usage usage_now(const char *dir)
{
	return (struct usage){
		.wall_ns = clock_mono_ns(),
		.cpu_ns = cpu_of(RUSAGE_SELF),
		.thread_ns = cpu_of(RUSAGE_THREAD),
		.process_bytes = process_bytes(),
		.device_bytes = device_bytes(dir),
	};
}

struct usage usage_between(struct usage a, struct usage b)
{
	return (struct usage){
		.wall_ns = b.wall_ns - a.wall_ns,
		.cpu_ns = b.cpu_ns - a.cpu_ns,
		.thread_ns = b.thread_ns - a.thread_ns,
		.process_bytes = b.process_bytes - a.process_bytes,
		.device_bytes = b.device_bytes - a.device_bytes,
	};
}

/* ---- files ---- */

static void prewrite(int fd, uint64_t size)
{
	uint8_t *buf = page_memory(PREWRITE_UNIT);
	for (uint64_t at = 0; at < size;) {
		size_t n = (size_t)min_of(size - at, (uint64_t)PREWRITE_UNIT);
		ssize_t got = pwrite(fd, buf, n, (off_t)at);
		if (got <= 0)
			die("write", errno);
		at += (uint64_t)got;
	}
	free(buf);
}

static void raw_path(char *out, size_t size, const struct raw_files *f, uint32_t i)
{
	snprintf(out, size, "%.255s/raw-%u", f->dir, i);
}

struct raw_files raw_open(
	const char *dir, uint32_t count, uint64_t size, enum raw_kind kind, bool direct)
{
	struct raw_files f = {.count = count, .size = size};
	snprintf(f.dir, sizeof(f.dir), "%s", dir);
	f.fds = calloc(count, sizeof(*f.fds));
	if (!f.fds)
		die("memory", ENOMEM);
	for (uint32_t i = 0; i < count; i++) {
		char path[300];
		raw_path(path, sizeof(path), &f, i);
		f.fds[i] = open(path, O_RDWR | O_CREAT | O_TRUNC | (direct ? O_DIRECT : 0), 0644);
		if (f.fds[i] < 0)
			die(path, errno);
		if (kind != RAW_SPARSE && fallocate(f.fds[i], 0, 0, (off_t)size) != 0)
			die(path, errno);
		if (kind == RAW_WRITTEN)
			prewrite(f.fds[i], size);
	}
	for (uint32_t i = 0; i < count; i++)
		if (fsync(f.fds[i]) != 0)
			die("fsync", errno);
	return f;
}

void raw_close(struct raw_files *f)
{
	for (uint32_t i = 0; i < f->count; i++) {
		char path[300];
		raw_path(path, sizeof(path), f, i);
		close(f->fds[i]);
		unlink(path);
	}
	free(f->fds);
	*f = (struct raw_files){0};
}

/* ---- writers ---- */

static void flush(int fd)
{
	if (fdatasync(fd) != 0)
		die("fdatasync", errno);
}

static void ring_open(struct io_uring *ring, uint32_t depth)
{
	int rc = io_uring_queue_init(depth, ring, 0);
	if (rc < 0)
		die("io_uring", -rc);
}

/* Takes one completion of a write of `unit` bytes; its user data. */
static uint64_t ring_take(struct io_uring *ring, uint32_t unit)
{
	struct io_uring_cqe *cqe;
	int rc = io_uring_wait_cqe(ring, &cqe);
	if (rc < 0)
		die("io_uring", -rc);
	if (cqe->res != (int)unit)
		die("write", cqe->res < 0 ? -cqe->res : EIO);
	uint64_t user = cqe->user_data;
	io_uring_cqe_seen(ring, cqe);
	return user;
}

static void ring_write(struct io_uring *ring, int fd, const uint8_t *buf, uint32_t unit,
	uint64_t at, int flags, uint64_t user)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
	CHECK(sqe);
	io_uring_prep_write(sqe, fd, buf, unit, at);
	sqe->rw_flags = flags;
	io_uring_sqe_set_data64(sqe, user);
}

uint64_t raw_stream(
	struct raw_files *f, uint64_t bytes, uint32_t unit, uint32_t depth, uint64_t flush_every)
{
	struct io_uring ring;
	uint8_t *buf = page_memory(unit);
	uint32_t out = 0;
	ring_open(&ring, depth);
	uint64_t start = clock_mono_ns();
	for (uint64_t at = 0, flushed = 0; at < bytes; at += unit) {
		if (out == depth) {
			ring_take(&ring, unit);
			out--;
		}
		ring_write(&ring, f->fds[0], buf, unit, at, 0, 0);
		io_uring_submit(&ring);
		out++;
		if (at + unit - flushed < flush_every && at + unit < bytes)
			continue;
		for (; out > 0; out--)
			ring_take(&ring, unit);
		flush(f->fds[0]);
		flushed = at + unit;
	}
	uint64_t took = clock_mono_ns() - start;
	io_uring_queue_exit(&ring);
	free(buf);
	return took;
}

uint64_t raw_each_fdatasync(struct raw_files *f, uint32_t unit, uint64_t ns)
{
	uint8_t *buf = page_memory(unit);
	uint64_t end = clock_mono_ns() + ns, n = 0;
	for (; clock_mono_ns() < end; n++) {
		int fd = f->fds[n % f->count];
		if (pwrite(fd, buf, unit, (off_t)(n / f->count * unit)) != (ssize_t)unit)
			die("pwrite", errno);
		flush(fd);
	}
	free(buf);
	return n;
}

uint64_t raw_each_dsync(struct raw_files *f, uint32_t unit, uint64_t ns)
{
	struct io_uring ring;
	uint8_t *buf = page_memory(unit);
	uint64_t *pos = calloc(f->count, sizeof(*pos));
	uint64_t n = 0, end = clock_mono_ns() + ns;
	if (!pos)
		die("memory", ENOMEM);
	ring_open(&ring, 4096);
	for (uint32_t i = 0; i < f->count; i++)
		ring_write(&ring, f->fds[i], buf, unit, 0, RWF_DSYNC, i);
	io_uring_submit(&ring);
	for (uint32_t out = f->count; out > 0;) {
		uint64_t i = ring_take(&ring, unit);
		n++;
		out--;
		pos[i] = (pos[i] + unit) % f->size;
		if (clock_mono_ns() >= end)
			continue;
		ring_write(&ring, f->fds[i], buf, unit, pos[i], RWF_DSYNC, i);
		out++;
		if (io_uring_cq_ready(&ring) == 0)
			io_uring_submit(&ring);
	}
	io_uring_queue_exit(&ring);
	free(pos);
	free(buf);
	return n;
}

uint64_t raw_journal(struct raw_files *f, uint32_t unit, uint32_t count, uint64_t ns)
{
	uint64_t len = align_up((uint64_t)unit * count, (uint64_t)PAGE);
	uint8_t *buf = page_memory(len);
	uint64_t end = clock_mono_ns() + ns, n = 0;
	for (uint64_t at = 0; clock_mono_ns() < end; n += count) {
		if (pwrite(f->fds[0], buf, len, (off_t)at) != (ssize_t)len)
			die("pwrite", errno);
		flush(f->fds[0]);
		at = at + 2 * len <= f->size ? at + len : 0;
	}
	free(buf);
	return n;
}

void raw_latency(struct raw_files *f, uint32_t n, uint64_t *out)
{
	uint8_t *buf = page_memory(PAGE);
	for (uint32_t i = 0; i < n; i++) {
		uint64_t start = clock_mono_ns();
		if (pwrite(f->fds[0], buf, PAGE, (off_t)((uint64_t)i * PAGE % f->size)) != PAGE)
			die("pwrite", errno);
		flush(f->fds[0]);
		out[i] = clock_mono_ns() - start;
	}
	free(buf);
}
