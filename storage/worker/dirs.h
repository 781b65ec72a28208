/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_STORAGE_WORKER_DIRS_H
#define MR_STORAGE_WORKER_DIRS_H

#include "storage/log/store.h"
#include "storage/storage.h"
#include "storage/worker/io_posix.h"

/*
 * The log directories on a real filesystem: their locks, and the store over them. Each worker's
 * io_uring also holds the lock files: after a kill -9 the kernel lets go of them only when the last
 * write in flight has ended, so that the next broker cannot look at a file that still changes.
 */
struct st_dirs {
	struct io_posix io;
	struct store *store;
	uint16_t count;
	int *lock_fds;
};

#endif
