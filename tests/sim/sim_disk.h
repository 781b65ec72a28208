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
	uint32_t write_fails; /* a write fails with EIO; it has been done or not */
	uint32_t read_fails;  /* a read fails with EIO */
	uint32_t delay_us;    /* most of an operation's time */
};

/* What happens to one operation. */
enum sim_fault {
	SIM_FAULT_NONE,
	SIM_FAULT_EIO,	   /* anything: it fails with EIO */
	SIM_FAULT_NOSPACE, /* a write, growth, or new name fails with ENOSPC */
	SIM_FAULT_SHORT,   /* a read or write transfers one sector */
	SIM_FAULT_HALF,	   /* or half of its sectors */
	SIM_FAULT_SLOW,	   /* it takes ten seconds more */
	SIM_FAULT_COUNT,
};

/* `count` operations from the `at`-th on (counted from 1). dir: of these, only what is under this
 * directory of the root; NULL: all. */
struct sim_disk_fault {
	enum sim_fault kind;
	uint64_t at, count;
	const char *dir;
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

/* Plants a fault; operations are counted from here on. */
void sim_disk_set_fault(struct sim_disk *d, const struct sim_disk_fault *f);
/* Operations since then, reads and the synchronous ones included. */
uint64_t sim_disk_io_count(const struct sim_disk *d);
/* The name of the directory in the root in which the planted fault came to anything; NULL: it has
 * not. */
const char *sim_disk_fault_dir(const struct sim_disk *d);
/* What somebody did that the rules of storage/worker/io.h forbid, or NULL. */
const char *sim_disk_violation(const struct sim_disk *d);
/* Called after each operation that changes something, before whoever asked for it knows. */
void sim_disk_set_hook(struct sim_disk *d, void (*hook)(void *arg), void *arg);

/* --- power cuts by choice --------------------------------------------------------------------- */

/* Something that is not on stable storage. */
enum sim_unit_kind { SIM_UNIT_WRITE, SIM_UNIT_SIZE, SIM_UNIT_NAME };
struct sim_unit {
	enum sim_unit_kind kind;
	uint32_t group; /* equal for the units of one file or directory */
	uint64_t len;	/* of a write */
};
/* All of them, in order of age within a group. Returns how many; the array is malloc's (taken). */
uint32_t sim_disk_units(struct sim_disk *d, struct sim_unit **out);

/* What a power cut does to a unit. Sizes and names: the first one of a group that is not kept takes
 * all later ones with it. */
enum sim_fate_kind {
	SIM_DROP,
	SIM_KEEP,
	SIM_KEEP_RANGE, /* bytes [from, to) of the write */
	SIM_KEEP_EVEN,	/* every other sector, from sector `from` (0 or 1) on */
	SIM_KEEP_SOME,	/* each sector with chance 1/2, by `from` */
};
struct sim_fate {
	enum sim_fate_kind kind;
	uint64_t from, to;
};
/* The disk that a power cut now would leave, with these fates of its units; a new disk. `image`
 * gets a hash of all names and bytes on it. d stays as it is. */
struct sim_disk *sim_disk_survive(
	struct sim_disk *d, const struct sim_fate *fates, uint64_t seed, uint64_t *image);
/* The disk as a process sees it, all of it stable; a new disk. */
struct sim_disk *sim_disk_copy(struct sim_disk *d, uint64_t seed);

/* --- looking and harming -------------------------------------------------------------------------
 */

/* Calls each(arg, path, size) for every file, directory by directory, by name. */
void sim_disk_each_file(
	struct sim_disk *d, void (*each)(void *arg, const char *path, uint64_t size), void *arg);
/* Bytes of a file, past the end zeros. False: no such file. */
bool sim_disk_peek(struct sim_disk *d, const char *path, uint64_t off, void *to, uint64_t len);
/* Changes bytes on stable storage, within the size. */
void sim_disk_poke(
	struct sim_disk *d, const char *path, uint64_t off, const void *from, uint64_t len);
/* Cuts or lengthens a file; removes it. */
void sim_disk_cut_file(struct sim_disk *d, const char *path, uint64_t size);
void sim_disk_remove(struct sim_disk *d, const char *path);

/* Injected faults so far. */
struct sim_disk_counts {
	uint64_t operations, short_transfers, no_space, failed_flushes, failed_writes, failed_reads;
	uint64_t sectors_kept, sectors_lost, names_lost;
};
struct sim_disk_counts sim_disk_counts(const struct sim_disk *d);
/* Mixed from everything the disk has done; equal for equal runs. */
uint64_t sim_disk_hash(const struct sim_disk *d);

#endif
