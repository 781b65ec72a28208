/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_TESTS_SIM_DISK_H
#define MR_TESTS_SIM_DISK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/prng.h"
#include "storage/worker/io.h"

/*
 * A simulated disk behind storage/worker/io.h: the fault model is at the head of sim_disk.c.
 */
struct sim_disk;

/* What may go wrong besides a crash: chances are 1 in n, 0: never. */
struct sim_disk_faults {
	uint32_t short_write; /* a write (or read) transfers fewer bytes, at least one sector */
	uint32_t no_space;    /* growth of a file fails with ENOSPC */
	uint32_t flush_fails; /* a flush fails with EIO */
	uint32_t delay_us;    /* most of an operation's time */
};

struct sim_disk *sim_disk_new(uint64_t seed);
void sim_disk_free(struct sim_disk *d);
struct io *sim_disk_io(struct sim_disk *d);
void sim_disk_set_faults(struct sim_disk *d, const struct sim_disk_faults *f);
/* Virtual time. */
void sim_disk_set_time(struct sim_disk *d, uint64_t now_us);
/* When the next operation will be finished; UINT64_MAX: none in flight. */
uint64_t sim_disk_next_us(const struct sim_disk *d);

/* The machine stops after n more operations that change something: from then on nothing happens any
 * more, whatever is asked. 0: never. */
void sim_disk_stop_after(struct sim_disk *d, uint64_t n);
bool sim_disk_is_stopped(const struct sim_disk *d);

/*
 * The end of a process, in two steps. First, while the memory that operations in flight name is
 * still there: with power = true the power fails (what is not flushed will be kept, lost or torn);
 * else only the process dies. From then on nothing happens any more.
 */
void sim_disk_cut(struct sim_disk *d, bool power);
/* Then, with all files closed: the disk as the next process finds it. */
void sim_disk_restart(struct sim_disk *d);

/* Injected faults so far. */
struct sim_disk_counts {
	uint64_t operations, short_transfers, no_space, failed_flushes;
	uint64_t sectors_kept, sectors_lost, names_lost;
};
struct sim_disk_counts sim_disk_counts(const struct sim_disk *d);
/* Mixed from everything the disk has done; equal for equal runs. */
uint64_t sim_disk_hash(const struct sim_disk *d);

#endif
