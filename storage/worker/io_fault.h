/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_STORAGE_WORKER_IO_FAULT_H
#define MR_STORAGE_WORKER_IO_FAULT_H

#include <stdbool.h>

#include "storage/worker/io.h"

/*
 * An io that passes everything on to another one, and lets chosen operations fail: for tests of
 * what happens then.
 */

enum fault_op {
	FAULT_READ,
	FAULT_WRITE,
	FAULT_FDATASYNC,
	FAULT_FALLOCATE,
	/* synchronous */
	FAULT_OPEN,
	FAULT_PREAD,
	FAULT_PWRITE,
	FAULT_FSYNC,
	FAULT_TRUNCATE,
	FAULT_MKDIR,
	FAULT_RENAME,
	FAULT_UNLINK,
	FAULT_FSYNC_DIR,
	FAULT_COUNT,
};
#define FAULT_ANY FAULT_COUNT

struct io_fault {
	struct io io;
	struct io *under; /* borrowed */
	uint64_t seen[FAULT_COUNT];
	uint64_t seen_all;
	/* the plan: operation number `at` (from 1) of kind `op` (or of any) fails with `rc`... */
	enum fault_op op;
	uint64_t at;
	int rc;		  /* negative errno; positive: a transfer is cut short to that many bytes */
	bool stays;	  /* ... and all of that kind after it */
	uint64_t failed;  /* how many did */
	struct list done; /* failed asynchronous operations, not reaped yet */
};

/* Passes everything on until a plan is made. */
void io_fault_init(struct io_fault *f, struct io *under);
/* The at-th operation of kind op from now on (1: the next one) fails. */
void io_fault_plan(struct io_fault *f, enum fault_op op, uint64_t at, int rc, bool stays);

#endif
