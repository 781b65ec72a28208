/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_STORAGE_WORKER_ENGINE_INT_H
#define MR_STORAGE_WORKER_ENGINE_INT_H

#include "storage/log/log.h"
#include "storage/worker/engine.h"

/*
 * Inside the engine: engine.c takes requests and does what is synchronous, cycle.c commits appends,
 * reads.c reads.
 */

#define ENGINE_OPS 512u	      /* asynchronous operations in flight at once */
#define ENGINE_READ_OPS 128u  /* of these, at most for reads: commits always find some */
#define ENGINE_READS 64u      /* read requests in progress at once */
#define ENGINE_OP_RETRIES 16u /* of an operation that the kernel wants to be asked for again */
#define ENGINE_BUCKETS 1024u
#define ENGINE_COLD_MAX 256u /* sealed segments that stay open for readers */

enum eng_log_state {
	ENG_LOG_OPEN,
	ENG_LOG_OFFLINE, /* an append failed: every later one does, until the log is opened anew */
};

struct st_log {
	struct log *log;
	struct list node; /* engine.logs */
	struct list
		ready; /* engine.ready or .chores: has requests in `queue` and is not in a cycle */
	struct list same;   /* engine.by_name */
	struct list queue;  /* st_req: what goes in order (appends, tail, close, delete) */
	struct list commit; /* st_req: appends in the running cycle */
	enum eng_log_state state;
	bool gap; /* an append was refused for want of room; those already behind it are, too */
	bool in_cycle;
	uint32_t reads; /* read requests in progress or waiting */

	/* the running cycle */
	struct list cycle_node; /* engine.cycle */
	enum st_err commit_err; /* first failure */
	int64_t end_offset;	/* after the commit */
	uint64_t end_pos;
	uint8_t *tail_page; /* staging page with the last, ragged page; NULL: it ends on a boundary
			     */
	/* what has been submitted of its writes */
	struct list *feed_req;	   /* in commit; &commit: all but the tail page */
	struct lblock *feed_block; /* of feed_req, holds feed_pos */
	uint64_t feed_pos;	   /* next page */
	bool tail_fed;
};

struct eng_read;

/* An asynchronous operation. io.user points to it. */
struct eng_op {
	struct io_op io;
	struct list node;      /* engine.free_ops */
	struct st_log *log;    /* of a commit */
	struct eng_read *read; /* of a read */
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

enum eng_phase { ENG_IDLE, ENG_GROW, ENG_WRITE, ENG_FLUSH };

struct engine {
	struct io *io;
	struct store *store;
	struct engine_config cfg;
	struct st_metrics own_metrics; /* when the owner wants none */
	struct st_metrics *m;
	struct log_env env;
	uint8_t *own_staging;

	struct list logs;		     /* struct st_log.node */
	struct list by_name[ENGINE_BUCKETS]; /* struct st_log.same */
	uint32_t log_count;
	struct list opens; /* st_req ST_OPEN and ST_LOOKUP: one each step while io is in flight */
	uint32_t unanswered;
	struct list *done; /* the caller's, during engine_step */
	int64_t now_ms;

	struct eng_op *ops;
	struct list free_ops;
	uint32_t ops_out;
	uint32_t read_ops_out;

	enum eng_phase phase;
	struct list ready;  /* struct st_log.ready: an append is next */
	struct list chores; /* struct st_log.ready: something else is next */
	struct list cycle;  /* struct st_log.cycle_node */
	struct list *feed;  /* next log of the cycle to submit for in this phase; &cycle: none */
	uint32_t cycle_ops;
	uint8_t *pages[ENGINE_STAGING_PAGES]; /* free staging pages */
	uint32_t page_count;

	struct eng_read *reads;
	struct list free_reads;
	struct list reading; /* eng_read.node in progress */
	struct list waiting; /* st_req ST_READ */

	struct eng_mark *marks; /* logs that were closed cleanly */
	uint32_t mark_count;
	uint32_t mark_capacity;
	bool closed_clean;
};

struct eng_mark {
	uint16_t dir;
	struct fmt_clean_log log;
};

/* Answers a request. */
void eng_answer(struct engine *e, struct st_req *r, enum st_err err);
/* A free operation, or NULL. */
struct eng_op *eng_op_get(struct engine *e);
void eng_op_put(struct engine *e, struct eng_op *op);
void eng_op_submit(struct engine *e, struct eng_op *op);
/* Puts a log that is in no cycle on the list for what is next in its queue. */
void eng_log_queue(struct engine *e, struct st_log *l);
/* True when requests of the log can go on: its directory and itself are not offline. */
bool eng_log_ok(const struct engine *e, const struct st_log *l);
/* The directory of the log is offline from now on. */
void eng_dir_failed(struct engine *e, struct st_log *l, int64_t rc, const char *what);
/* Counters that the log room has gathered go to the metrics. */
void eng_count(struct engine *e);

/* cycle.c */
/* Starts a cycle when there is none and something waits; feeds the running one; ends it. */
void cycle_run(struct engine *e);
void cycle_op_done(struct engine *e, struct eng_op *op);

/* reads.c */
void reads_run(struct engine *e);
void reads_op_done(struct engine *e, struct eng_op *op);

#endif
