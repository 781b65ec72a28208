/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_TESTS_SIM_RIG_H
#define MR_TESTS_SIM_RIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/prng.h"
#include "sim_api.h"
#include "sim_disk.h"

/*
 * The rig drives the storage engine alone, with scripted requests (sim_work.c), and keeps a book of
 * what was asked and what was promised (struct rig_log). A look (sim_look.c) starts the engine on
 * any disk, reads all of it, and holds it against the book.
 *
 *   sim_work ──ops──► rig ──st_req──► engine ──io──► disk ──hook──► sim_crash: a look at what is
 * left
 */

#define RIG_DIRS 2
#define RIG_SLOTS 6
#define RIG_LOGS 40 /* incarnations of slots in one workload */
#define RIG_REQS 64
#define RIG_BLOCKS 320u
#define RIG_LOG_BLOCKS 96u /* of one log, not released yet */
#define RIG_BATCH_MAX (80u * 1024u)
#define RIG_T0 1700000000000ll
#define RIG_EPOCH 3

enum rig_state {
	RIG_OPENING,
	RIG_OPEN,
	RIG_CLOSING, /* closed, or deleted: the last request is under way */
	RIG_CLOSED,
	RIG_GONE,   /* deleted, or never came to be */
	RIG_FAILED, /* an append failed: nothing more is asked until the next start */
};

struct rig_batch {
	int64_t base;
	int32_t count;
	uint32_t len;
	uint8_t *data; /* as stored */
	int64_t segment;
	uint64_t pos;
};

/* One incarnation of a log: what it must hold, and what its owner knows of its end. */
struct rig_log {
	uint32_t index, slot;
	struct uuid id;
	uint16_t dir; /* where it is; the engine decides */
	bool compact; /* records have keys; its old part may be compacted */
	enum rig_state state;
	struct st_log *handle;
	uint32_t under_way; /* requests, and of these: */
	uint32_t appends;

	/* the book */
	struct rig_batch *batches; /* asked for, in order of offset */
	uint32_t batch_count, batch_capacity;
	uint32_t acked;			  /* of these */
	int64_t start_acked, start_asked; /* the log starts not below, and not above */
	bool exists;			  /* the creation was acknowledged */
	bool delete_asked, delete_acked;
	int64_t clean_limit; /* records below may be compacted away */

	/* the end */
	int64_t segment;
	uint64_t pos;
	int64_t end;
	enum st_op failed_op; /* FAILED: what did, and how */
	enum st_err failed_err;
	bool refused; /* an append found no room; others behind it are still out */
	struct st_pos refused_at;
	struct lblock *tail;
	struct lblock *blocks[RIG_LOG_BLOCKS]; /* not released, in order */
	uint32_t block_count;
};

struct rig_req {
	struct st_req r;
	bool busy;
	struct rig_log *log;
	uint32_t batches; /* append: how many */
};

struct rig_stats {
	uint64_t asked, acked_batches, refused, failed, starts, reads, trims, deletes, cleans,
		cleaned_bytes;
};

struct rig {
	uint64_t seed;
	struct prng rng;
	struct sim_disk *disk;
	struct sim_api api;
	char dirs[RIG_DIRS][256];
	uint16_t dir_count;
	uint64_t journal_bytes;
	uint32_t segment_bytes;
	uint8_t *staging, *memory;
	struct lblock_pool pool;
	struct rig_log logs[RIG_LOGS];
	uint32_t log_count;
	struct rig_log *slots[RIG_SLOTS]; /* the newest incarnation */
	struct rig_req reqs[RIG_REQS];
	uint64_t now_us;
	uint64_t version; /* of the book: changes with every request and every answer */
	uint64_t next_batch;
	uint8_t *scratch;
	struct rig_stats stats;
	void (*promised)(void *arg); /* called after answers */
	void *promised_arg;
	/* faults are expected: errors are noted, not wrong */
	bool rough;
	bool dir_failed[RIG_DIRS];
	bool broken;
	char what[400];
};

/* sim_rig.c */
void rig_init(struct rig *g, uint64_t seed, uint16_t dirs);
void rig_fini(struct rig *g);
__attribute__((format(printf, 2, 3))) void rig_broken(struct rig *g, const char *fmt, ...);
int64_t rig_now_ms(const struct rig *g);
const char *rig_log_name(const struct rig_log *l, char buf[64]);
/* First start and every later one: starts the engine, and takes what is there into the book. False:
 * refused, stopped, or broken. */
bool rig_start(struct rig *g);
enum rig_end { RIG_END_CLEAN, RIG_END_KILL, RIG_END_POWER };
/* Ends the process. The next thing is rig_start. */
void rig_end(struct rig *g, enum rig_end how);
/* Takes what has finished; true when something moved. */
bool rig_step(struct rig *g);
/* Goes on until nothing is under way. False: it never ends (that is broken), or all is over. */
bool rig_drain(struct rig *g);
/* The next completion. False: none. */
bool rig_tick(struct rig *g);
bool rig_is_over(const struct rig *g);
/* What is not acknowledged is forgotten (the log has found no room, or the process has died). */
void rig_log_rewind(struct rig *g, struct rig_log *l);

/* Requests; false: not now. */
struct rig_log *rig_create(struct rig *g, uint32_t slot, bool compact);
bool rig_append(struct rig *g, struct rig_log *l, const uint32_t *sizes, uint32_t count, bool roll);
bool rig_read(struct rig *g, struct rig_log *l, int64_t offset);
bool rig_trim(struct rig *g, struct rig_log *l, int64_t offset);
bool rig_retain(struct rig *g, struct rig_log *l, int64_t bytes);
bool rig_clean(struct rig *g, struct rig_log *l);
bool rig_fill(struct rig *g, struct rig_log *l);
bool rig_delete(struct rig *g, struct rig_log *l);
bool rig_close(struct rig *g, struct rig_log *l);
bool rig_reopen(struct rig *g, struct rig_log *l);
int64_t rig_acked_end(const struct rig_log *l);

/* sim_batch.c: what batches hold, and whether they still do. */
/* A batch of about `size` bytes for the end of l, in g->scratch; its size. */
uint32_t rig_batch_make(struct rig *g, const struct rig_log *l, uint32_t size);
/* The batch that holds the offset; NULL: none was ever asked for there. */
const struct rig_batch *rig_batch_at(const struct rig_log *l, int64_t offset);
/*
 * What is wrong with the bytes of a read at `offset` of l, or NULL. *next: the offset after them.
 * seen[offset] is set for each record of a compacted log; may be NULL.
 */
const char *rig_check_bytes(
	const struct rig_log *l, struct lspan span, int64_t offset, int64_t *next, uint8_t *seen);
/* Of a compacted log: an offset in [start, end) that must be there but was not seen; -1: none. */
int64_t rig_check_keys(const struct rig_log *l, const uint8_t *seen, int64_t start, int64_t end);

/* sim_work.c: the script. */
struct work {
	struct rig *g;
	uint32_t ops;
	uint32_t lives;
	bool large;
};
/* The requests of one life. */
void work_live(struct work *w);
/* All of it, to the end or until it is over. */
void work_run(struct work *w);

#endif
