/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_STORAGE_LOG_STORE_H
#define MR_STORAGE_LOG_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "storage/format/format.h"
#include "storage/worker/io.h"

/*
 * The log directories of one process: their identity, and their lanes (one for each worker): a
 * journal, two checkpoint slots, and the logs that these tell of. Opened before and closed after
 * all engines, by one thread; in between each lane belongs to the engine of its worker.
 *
 * Opening a store is recovery, and there is only one way to do it: the newest checkpoint, then the
 * journal from there on (replay.c). After a clean stop the journal happens to be empty.
 */
struct store;
struct log;

struct store_config {
	char (*dirs)[256];
	uint16_t dir_count;
	uint16_t workers;
	uint64_t journal_bytes; /* of each lane's ring; a multiple of a page */
	uint64_t seed;		/* makes ids; random in production */
};

/* A lane as recovery leaves it. */
struct store_lane {
	struct uuid journal_id;
	uint64_t ring_bytes;
	uint64_t head;	    /* stream position of the next group */
	uint64_t seq;	    /* and its number */
	uint64_t tail;	    /* where the checkpoint begins: what is before is free */
	uint64_t ckpt_seq;  /* of the newest checkpoint */
	uint32_t ckpt_slot; /* the slot that it stands in */
	uint32_t next_log;  /* number for a new log */
	struct log **logs;
	uint32_t log_count;
	uint32_t log_capacity;
	bool clean; /* nothing had to be played */
	bool holed; /* a part of the last group was cut off: only a checkpoint may follow it */
	uint64_t played_bytes;
	uint64_t cut_bytes; /* behind the end: never acknowledged */
};

/*
 * Opens the directories, creating what is missing. NULL and a sentence in err: not readable, not
 * writable, foreign format version, damaged, the same directory twice, other count of workers. With
 * several directories a damaged one is taken offline, and the others go on.
 */
struct store *store_open(struct io *io, const struct store_config *cfg, char *err, size_t err_size);
/* True when each directory was stopped cleanly or is new. */
bool store_is_clean(const struct store *s);
/* Logs in the directories when they were opened. */
uint32_t store_log_count(const struct store *s);
uint16_t store_dir_count(const struct store *s);
/* Absolute path; borrowed. */
const char *store_dir_path(const struct store *s, uint16_t dir);
const struct uuid *store_dir_id(const struct store *s, uint16_t dir);
uint16_t store_workers(const struct store *s);
/* Logs that are known, in all directories. */
uint32_t store_log_count(const struct store *s);
/* The lane of a worker in a directory: the worker's, until the store is closed. */
struct store_lane *store_lane_of(struct store *s, uint16_t dir, uint16_t worker);

/* Any engine's thread: the directory's device failed. It stays offline until the process ends. */
void store_set_offline(struct store *s, uint16_t dir);
bool store_is_offline(const struct store *s, uint16_t dir);
bool store_any_offline(const struct store *s);

/* The opener's thread, when no engine runs. Frees s, and the logs that no engine took. */
void store_close(struct store *s);

/* --- for store.c (replay.c) -------------------------------------------------------------- */

struct store_place {
	struct io *io;
	struct store *store;
	uint16_t dir;
	uint16_t worker;
	const char *path;
	const struct uuid *dir_id;
};

/* Makes a new lane's files: an empty journal (its room is not allocated yet), an empty checkpoint.
 * All is flushed but the directory. 0 or -errno. */
int lane_create(const struct store_place *at, const struct uuid *journal_id, uint64_t ring_bytes,
	uint16_t workers, struct store_lane *out);
/*
 * Recovers a lane from its files. 0; -ENOENT: it has no checkpoint at all; -EBADMSG: damaged (*why,
 * a static text, says what); -EPROTO: of another version; -EXDEV: made for another count of
 * workers; or -errno.
 */
int lane_recover(
	const struct store_place *at, uint16_t workers, struct store_lane *out, const char **why);
/* Frees the logs of a lane that no engine took. */
void lane_fini(const struct store_place *at, struct store_lane *lane);
/* Adds a log to the lane's list. 0 or -ENOMEM. */
int lane_add(struct store_lane *lane, struct log *l);

#endif
