/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_STORAGE_WORKER_IO_URING_H
#define MR_STORAGE_WORKER_IO_URING_H

#include <stdbool.h>
#include <sys/uio.h>

#include "storage/worker/io.h"

/* io.h by io_uring. All calls but io_uring_open and _close are made by one thread. */
struct io_ring;

struct io_ring_config {
	const struct iovec
		*memory; /* what reads and writes are done from and to, to be registered */
	uint32_t memory_count;
	const int *lock_fds; /* kept by the kernel until the last operation has ended, see dirs.h */
	uint32_t lock_count;
	int wake_fd; /* io_ring_wait also returns when it is readable; -1: none */
};

/*
 * A ring, not yet usable: io_ring_enable first. NULL and a sentence in err when the kernel forbids
 * it. *registered: whether the memory may be registered; that happens piece by piece, as it is
 * used.
 */
struct io_ring *io_ring_open(
	const struct io_ring_config *cfg, bool *registered, char *err, size_t err_size);
/* By the thread that will make all other calls. 0 or -errno. */
int io_ring_enable(struct io_ring *r);
/* Nothing may be in flight. */
void io_ring_close(struct io_ring *r);
struct io *io_ring_io(struct io_ring *r);
/* Starts what has been submitted. */
void io_ring_kick(struct io_ring *r);
/* The same, then waits until an operation has finished, wake_fd is readable, or timeout_ns (0: for
 * ever). */
void io_ring_wait(struct io_ring *r, uint64_t timeout_ns);
/* True when something has been submitted that is not started yet. */
bool io_ring_has_pending(const struct io_ring *r);
/* True when reap may find something, without asking the kernel. */
bool io_ring_is_ready(const struct io_ring *r);
/* System calls made so far by the asynchronous part. */
uint64_t io_ring_syscalls(const struct io_ring *r);

#endif
