/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_BENCH_RAW_DISK_H
#define MR_BENCH_RAW_DISK_H

#include <stdbool.h>
#include <stdint.h>

/*
 * What a filesystem gives to programs that do nothing but write: the limits that the storage engine
 * is measured against. Files are made with O_DIRECT. Every function ends the program with a message
 * when the system refuses something.
 */

/* What had been used up when it was taken. */
struct usage {
	uint64_t wall_ns;
	uint64_t cpu_ns;	/* the whole process, kernel's threads for it included */
	uint64_t thread_ns;	/* the calling thread */
	uint64_t process_bytes; /* written, as the kernel accounts it to the process */
	uint64_t device_bytes;	/* written by anyone to the device that holds `dir` */
};
struct usage usage_now(const char *dir);
/* b - a, field by field. */
struct usage usage_between(struct usage a, struct usage b);

/* Files <dir>/raw-<i> of `size` bytes each, open for writing. */
struct raw_files {
	int *fds;
	uint32_t count;
	uint64_t size;
	char dir[256];
};

enum raw_kind {
	RAW_SPARSE,    /* empty */
	RAW_ALLOCATED, /* fallocate: unwritten extents */
	RAW_WRITTEN,   /* every byte has been written once */
};
struct raw_files raw_open(
	const char *dir, uint32_t count, uint64_t size, enum raw_kind kind, bool direct);
/* Closes and deletes them. */
void raw_close(struct raw_files *f);

/*
 * Writes `bytes` to the first file from its start, `unit` bytes at a time with `depth` in flight,
 * with fdatasync (all writes before it done) after every `flush_every` bytes and at the end.
 * Wall time in ns.
 */
uint64_t raw_stream(
	struct raw_files *f, uint64_t bytes, uint32_t unit, uint32_t depth, uint64_t flush_every);
/* pwrite of `unit` bytes and fdatasync, file after file, for `ns`; how many writes. */
uint64_t raw_each_fdatasync(struct raw_files *f, uint32_t unit, uint64_t ns);
/* The same with RWF_DSYNC through io_uring, all files in flight. */
uint64_t raw_each_dsync(struct raw_files *f, uint32_t unit, uint64_t ns);
/* One write of `count` units to the first file and fdatasync, again and again; how many units. */
uint64_t raw_journal(struct raw_files *f, uint32_t unit, uint32_t count, uint64_t ns);
/* One page and fdatasync to the first file, n times; the time of each into out. */
void raw_latency(struct raw_files *f, uint32_t n, uint64_t *out);

#endif
