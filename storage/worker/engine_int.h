/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_STORAGE_WORKER_ENGINE_INT_H
#define MR_STORAGE_WORKER_ENGINE_INT_H

#include <errno.h>

#include "storage/format/jrnl.h"
#include "storage/log/compact.h"
#include "storage/log/log.h"
#include "storage/worker/cost.h"
#include "storage/worker/engine.h"

/*
 * Inside the engine:
 *   engine.c   requests come in, answers go out; operations
 *   cycle.c    commits: what waits becomes durable, together
 *   cost.c     from how many bytes on a run is written once, past the journal
 *   group.c    what a cycle writes into the journal
 *   fill.c     pending bytes go to the segments, and full index pages to their files
 *   ckpt.c     checkpoints: the journal's space becomes free again
 *   room.c     files grow before their room is used up
 *   zero.c     writes the journal's room in advance, the first time round
 *   reads.c    cold reads
 *   clean.c    compaction
 *   chores.c   everything else that is asked of a log, in order with its appends
 */

#define ENGINE_OPS 512u	      /* asynchronous operations in flight at once */
#define ENGINE_READ_OPS 128u  /* of these, at most for reads, */
#define ENGINE_FILL_OPS 128u  /* for filling, */
#define ENGINE_CKPT_OPS 64u   /* for checkpoints, */
#define ENGINE_ROOM_OPS 16u   /* and for growing: commits always find some */
#define ENGINE_READS 64u      /* read requests in progress at once */
#define ENGINE_OP_RETRIES 16u /* of an operation that the kernel wants to be asked for again */
#define ENGINE_BUCKETS 4096u
#define ENGINE_WRITE_MAX (1024u * 1024u) /* bytes in one operation */

#define FILL_RUN (64u * 1024u) /* so much is pending in a log before it is filled unasked */
#define DIRECT_MAX (64u * 1024u * 1024u) /* so much of a log goes into one cycle */
#define DROP_RETRY_MS 20    /* a segment that cannot be removed yet is looked at again */
#define CKPT_EVERY_MS 60000 /* with anything in the journal */
#define CKPT_WANTED_MS 1000
#define NOSPACE_RETRY_MS 100 /* background work that found no room waits so long */

enum eng_log_state {
	ENG_LOG_OPEN,
	ENG_LOG_OFFLINE, /* an append failed: every later one does, until the process ends */
	ENG_LOG_GONE,	 /* its deletion is committed */
};

struct eng_lane;

struct st_log {
	struct log *log;
	struct eng_lane *lane;
	struct list node; /* eng_lane.logs */
	struct list same; /* engine.by_name */
	struct list
		queue; /* st_req: what goes in order (appends, tail, trim, close, delete, ...) */
	struct list
		ready; /* eng_lane.ready or .chores: has requests in `queue`, is not in a cycle */
	struct list commit; /* st_req: appends in the running cycle */
	enum eng_log_state state;
	bool opened;	/* by an asker */
	bool committed; /* the journal, or a checkpoint, tells of it */
	bool gap; /* an append was refused for want of room; those already behind it are, too */
	bool in_cycle;
	uint32_t reads;	  /* read requests in progress or waiting */
	uint32_t entries; /* requests that want a journal entry */

	/* the running cycle */
	struct list cycle_node; /* eng_lane.cycle */
	enum st_err commit_err; /* first failure */
	uint64_t begin_pos;	/* of the commit, in the active segment */
	uint64_t end_pos;	/* after the commit */
	int64_t begin_offset;
	int64_t end_offset;
	struct lblock *begin_block; /* holds begin_pos */
	bool rolls;		    /* the active segment begins with this commit */
	bool direct;		    /* whole pages go straight to the segment */
	struct io_file *names_file; /* its directory: the segment's name is flushed along */
	bool flushes; /* which wants a flush of its own: the journal's does not reach it */
	uint64_t direct_to;
	struct lblock *feed_block; /* what has been submitted of them */
	uint64_t feed_pos;
	uint64_t feed_block_pos;

	/* filling */
	struct list fill_node;	      /* eng_lane.fill: there is something to fill */
	struct list fill_waits;	      /* st_req: ST_FILL and ST_CLOSE that wait for it */
	struct segment *fill_segment; /* being filled; NULL: none */
	uint64_t fill_to;
	uint64_t fill_fed;	   /* submitted up to here */
	struct lblock *fill_block; /* holds fill_fed, when blocks are pending */
	uint64_t fill_block_pos;
	uint32_t fill_ops;
	uint32_t flush_ops;    /* of checkpoints, and growth in the background */
	bool growing;	       /* the active segment, in the background */
	int64_t grow_retry_ms; /* not before then */
	int64_t fill_retry_ms; /* not before then; 0: at once */
	int64_t fill_failure;  /* of an operation of the job; 0: none */
	bool fill_index;       /* the operation in flight writes an index page, */
	bool fill_seals;       /* the last one */

	/* the checkpoint under way */
	bool ckpt_waits; /* for this log to be filled */
	int64_t ckpt_segment;
	uint64_t ckpt_fill;
	struct list drop_node; /* eng_lane.drops: segments below its start may be removed */
};

struct eng_read;

enum eng_use { ENG_COMMIT, ENG_FILL, ENG_CKPT, ENG_ZERO, ENG_ROOM, ENG_READ };

/* An asynchronous operation. io.user points to it. */
struct eng_op {
	struct io_op io;
	struct list node; /* engine.free_ops */
	enum eng_use use;
	struct eng_lane *lane;
	struct st_log *log;	 /* of a commit or a fill; NULL: the journal */
	struct segment *segment; /* of a checkpoint's flush that ends a sealed segment's work */
	struct eng_read *read;
	uint8_t *page;			 /* staging page to give back */
	struct iovec pieces[IO_VEC_MAX]; /* of a run that is not adjacent in memory */
	uint32_t piece_count;
	bool closes; /* io.file is closed when it is done */
	uint32_t retries;
};

struct eng_read {
	struct list node; /* engine.free_reads, engine.reading */
	struct st_req *req;
	struct st_log *log;
	struct read_plan plan;
	struct lblock *feed_block; /* next to read into */
	uint64_t feed_pos;
	uint32_t ops; /* in flight */
	enum st_err err;
};

/*
 * Phases of a lane's cycle.
 *
 *   IDLE ── something waits ──► GROW ── room for all ──► WRITE ── all written ──► FLUSH ── durable
 * ──► answers, IDLE
 */
enum eng_phase { ENG_IDLE, ENG_GROW, ENG_WRITE, ENG_FLUSH };

/*
 * A checkpoint under way.
 *
 *   IDLE ── snapshot ──► FILL ── what it says is in the segments ──► SYNC ── and flushed ──► SLOT
 * ── the snapshot is written ──► INSTALL ── and flushed ──► the journal before it is free, IDLE
 */
enum eng_ckpt { CKPT_IDLE, CKPT_FILL, CKPT_SYNC, CKPT_SLOT, CKPT_INSTALL };

struct eng_lane {
	struct engine *engine;
	struct store_lane *st;
	uint16_t dir;
	struct list logs; /* st_log.node */
	uint32_t log_count;
	struct list ready;   /* st_log.ready: an append is next */
	struct list chores;  /* st_log.ready: something else is next */
	struct list entries; /* st_req that want a journal entry: opens, trims, deletes */

	enum eng_phase phase;
	struct list cycle;	/* st_log.cycle_node */
	struct list committing; /* st_req of `entries` in the running cycle */
	struct list *feed; /* next log of the cycle to submit for in this phase; &cycle: none */
	bool group_fed;
	uint32_t cycle_ops;
	struct io_file *journal;
	bool reaches; /* io_api.flush_reaches */
	struct path_cost cost;
	uint8_t *group_buf; /* JRNL_GROUP_MAX bytes */
	struct jrnl_builder group;
	uint32_t group_size; /* on disk; 0: the cycle has none */
	uint64_t group_pos;  /* stream position */
	bool full;	     /* the next group finds no room before a checkpoint is done */
	bool waits_for_fill; /* what is ready cannot be taken before filling has got on */

	struct list fill;	   /* st_log.fill_node */
	struct list drops;	   /* st_log.drop_node */
	char (*dead)[IO_PATH_MAX]; /* directories of deleted logs */
	uint32_t dead_count;
	uint32_t dead_capacity;

	uint64_t zero_pos; /* the first time round: the ring is written up to here */
	bool zeroing;	   /* [zero_pos, + ZERO_RUN) is being written */

	enum eng_ckpt ckpt;
	uint8_t *snapshot; /* page-aligned */
	uint64_t snapshot_size;
	uint64_t snapshot_fed;
	uint64_t snapshot_pos;	  /* journal position that it stands for */
	uint32_t ckpt_waiting;	  /* logs that are not filled yet */
	struct list *ckpt_cursor; /* next log to flush; &logs: none */
	bool install_fed;
	bool names_dirty; /* names in the log directory itself */
	uint32_t ckpt_ops;
	struct io_file *slot;
	enum st_err ckpt_err;
	int64_t ckpt_ms;  /* when the last one was begun */
	bool ckpt_wanted; /* someone waits for one: segments can go, or be compacted, behind it */
	int64_t ckpt_retry_ms; /* not before then: the last one found no room */
	uint64_t direct_bytes; /* written past the journal since the last checkpoint */
	bool clean;	       /* the last checkpoint is that of a clean stop */
};

/* The one compaction under way. */
struct eng_cleaner {
	struct st_req *req; /* ST_CLEAN; NULL: none */
	struct compact *compact;
	struct compact_memory memory;
	struct list waiting; /* st_req */
	int64_t not_before_ms;
	bool swaps; /* an output waits for the readers of its inputs */
};

struct engine {
	struct io *io;
	struct store *store;
	struct engine_config cfg;
	struct st_metrics own_metrics; /* when the owner wants none */
	struct st_metrics *m;
	struct log_env env;
	uint8_t *own_staging;

	struct eng_lane *lanes; /* one for each directory */
	uint16_t lane_count;
	struct list by_name[ENGINE_BUCKETS]; /* st_log.same */
	uint32_t open_count;
	struct list opens; /* st_req ST_OPEN, ST_LOOKUP, ST_NOTE, ST_SIZE: one each step while io is
			      in flight */
	uint32_t unanswered;
	struct list *done; /* the caller's, during engine_step */
	int64_t now_ms;
	bool stopping;

	struct eng_op *ops;
	struct list free_ops;
	uint32_t ops_out;
	uint32_t used[ENG_READ + 1]; /* operations in flight by use */

	struct eng_cleaner cleaner;
	uint8_t *zeros;			      /* ZERO_RUN bytes, once a lane has wanted them */
	uint8_t *pages[ENGINE_STAGING_PAGES]; /* free staging pages */
	uint32_t page_count;

	struct eng_read *reads;
	struct list free_reads;
	struct list reading; /* eng_read.node in progress */
	struct list waiting; /* st_req ST_READ */
};

static inline struct st_req *eng_req(struct list *n)
{
	return list_entry(n, struct st_req, node);
}

/* engine.c */
/* Answers a request. */
void eng_answer(struct engine *e, struct st_req *r, enum st_err err);
/* True when an operation for this use may be started. */
bool eng_may_start(const struct engine *e, enum eng_use use);
/* A free operation (there is one: eng_may_start). */
struct eng_op *eng_op_get(struct engine *e, struct eng_lane *lane, enum eng_use use);
void eng_op_put(struct engine *e, struct eng_op *op);
void eng_op_start(struct engine *e, struct eng_op *op, enum io_kind kind, struct io_file *f,
	void *buf, uint64_t off, uint64_t len);
/* Adds to the run that the operation will move, all of it but its beginning and its end in whole
 * pages. False: it has no room for one more piece. */
bool eng_op_add(struct eng_op *op, void *p, uint64_t len);
/* Starts it, at off of the file. */
void eng_op_start_run(
	struct engine *e, struct eng_op *op, enum io_kind kind, struct io_file *f, uint64_t off);
/* Puts a log that is in no cycle on the list for what is next in its queue. */
void eng_log_queue(struct st_log *l);
/* True when requests of the log can go on: its directory and itself are not offline. */
bool eng_log_ok(const struct engine *e, const struct st_log *l);
bool eng_lane_ok(const struct engine *e, const struct eng_lane *lane);
/* The lane's directory is offline from now on. */
void eng_lane_failed(struct engine *e, struct eng_lane *lane, int64_t rc, const char *what);
/* The disk is full: what is only kept to be faster goes. */
void eng_lane_no_space(struct engine *e, struct eng_lane *lane);
/* Makes the engine's side of a log. NULL when memory is short. */
struct st_log *eng_log_new(struct engine *e, struct eng_lane *lane, struct log *log);
void eng_log_free(struct engine *e, struct st_log *l);
static inline bool is_no_space(int64_t rc)
{
	return rc == -ENOSPC || rc == -EDQUOT || rc == -EFBIG;
}

/* cycle.c */
/* Starts a cycle when there is none and something waits; feeds the running one; ends it. */
void cycle_run(struct engine *e, struct eng_lane *lane);
void cycle_op_done(struct engine *e, struct eng_op *op);

/* group.c */
/* Bytes that the log's commit takes in a group. */
uint32_t group_commit_size(const struct st_log *l);
uint32_t group_entry_size(const struct st_req *r);
/* Puts the commit of a log, or an entry of its own, into the lane's group. */
void group_add_commit(struct eng_lane *lane, struct st_log *l);
void group_add_request(struct eng_lane *lane, const struct st_req *r);
/* Free bytes of the ring for a group that begins at *pos. */
uint64_t group_room(const struct store_lane *st, uint32_t size, uint64_t *pos);

/* fill.c */
/* Looks whether the log has something to fill, and queues it. */
void fill_note(struct engine *e, struct st_log *l);
void fill_run(struct engine *e, struct eng_lane *lane);
void fill_op_done(struct engine *e, struct eng_op *op);
/* Answers those who wait for the log's blocks to be released, as far as they are. May free l. */
void fill_settle(struct engine *e, struct st_log *l);
/* True while the log's blocks or files are in use by filling. */
static inline bool fill_is_busy(const struct st_log *l)
{
	return l->fill_ops > 0;
}
/* True while something of the log is in flight behind its cycles. */
static inline bool log_is_busy(const struct st_log *l)
{
	return l->fill_ops + l->flush_ops > 0;
}

/* room.c */
/* A commit has used some of the active segment's room. */
void room_note(struct engine *e, struct st_log *l);
void room_op_done(struct engine *e, struct eng_op *op);

/* ckpt.c */
void ckpt_run(struct engine *e, struct eng_lane *lane);
void ckpt_op_done(struct engine *e, struct eng_op *op);
/* The log has been filled a bit further, or is gone. */
void ckpt_note_fill(struct st_log *l);
/* No cycle runs: begins one when it is due. */
void ckpt_begin_if_due(struct engine *e, struct eng_lane *lane);

/* zero.c */
#define ZERO_RUN (1024u * 1024u)
/* Keeps some of the ring written ahead of the next group. */
void zero_run(struct engine *e, struct eng_lane *lane);
void zero_op_done(struct engine *e, struct eng_op *op);
/* True while a group of up to `size` bytes would meet a write of zeros. */
bool zero_is_in_the_way(const struct eng_lane *lane, uint64_t size);

/* reads.c */
void reads_run(struct engine *e);
void reads_op_done(struct engine *e, struct eng_op *op);

/* chores.c */
/* What stands before the next append of each log that is not in a cycle. */
void chores_run(struct engine *e, struct eng_lane *lane);
/* The journal entry of r is durable (or has failed): carries it out and answers. */
void chores_committed(struct engine *e, struct eng_lane *lane, struct st_req *r, enum st_err err);
/* The deletion r of l is committed (r->err), and nothing of it is in flight: ends it. Frees l. */
void chores_finish_delete(struct engine *e, struct st_log *l, struct st_req *r);
/* Removes a little of what is not needed any more. */
void chores_sweep(struct engine *e, struct eng_lane *lane);

/* clean.c */
void clean_run(struct engine *e);
/* The log is to be closed or deleted: ends what is asked or under way for it. */
void clean_give_up(struct engine *e, struct st_log *l);
/* Gives its memory back. */
void clean_release(struct engine *e);
bool clean_is_active(const struct engine *e);
bool clean_is_busy_with(const struct engine *e, const struct st_log *l);
void clean_fini(struct engine *e);

#endif
