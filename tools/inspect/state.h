/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_TOOLS_INSPECT_STATE_H
#define MR_TOOLS_INSPECT_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tools/inspect/files.h"
#include "storage/format/ckpt.h"
#include "storage/format/format.h"
#include "storage/format/jrnl.h"

/*
 * A log directory as the next start will find it: the newest checkpoint of each lane, and what the
 * groups of its journal make of that. Reads everything; changes nothing.
 */

/* What is wrong, or worth a word. */
enum found_kind {
	FOUND_NOTE,    /* as it is after a crash, or a stray */
	FOUND_CORRUPT, /* bytes that count are not what was written */
};
struct finder {
	void (*found)(void *arg, enum found_kind kind, const char *where, const char *what);
	void *arg;
};
__attribute__((format(printf, 4, 5))) void find(
	const struct finder *f, enum found_kind kind, const char *where, const char *format, ...);

enum slot_state {
	SLOT_MISSING,
	SLOT_VALID,
	SLOT_DAMAGED,
	SLOT_FOREIGN, /* another version */
	SLOT_OTHER,   /* whole, but of another directory, worker or journal */
	SLOT_UNREADABLE,
};
const char *slot_state_name(enum slot_state s);

struct slot {
	enum slot_state state;
	int error; /* SLOT_UNREADABLE: errno */
	uint8_t *p;
	uint64_t size; /* of the file */
};

/* Why a journal's stream ends where it does. */
enum jrnl_end {
	JRNL_END_UNREAD,  /* it was not walked: no checkpoint or no journal to walk */
	JRNL_END_EMPTY,	  /* nothing was written there */
	JRNL_END_OLD,	  /* an older group, from the ring's last turn, or the middle of one */
	JRNL_END_TORN,	  /* the next group, but not whole: it was being written */
	JRNL_END_CORRUPT, /* and a later group lies behind: groups that were acknowledged are lost
			   */
	JRNL_END_FAILED,  /* a read failed */
};
const char *jrnl_end_name(enum jrnl_end e);

struct lane {
	uint32_t worker;
	struct slot slots[2];
	int newest; /* slot that counts; -1: none is valid */
	enum slot_state journal;
	int error;
	int fd;
	uint64_t file_size;
	struct fmt_jrnl_file file;
	/* where the journal's stream begins and ends */
	uint64_t begin, end;
	uint64_t begin_seq, end_seq;
	enum jrnl_end why;
};

/* A run that the journal says stands in a segment file. */
struct direct_run {
	uint32_t log;
	struct fmt_jrnl_entry e;
	struct fmt_jrnl_direct d;
	bool last; /* in the last group: may never have been acknowledged */
};

struct state_log {
	struct lane *lane;
	struct uuid topic_id;
	int32_t partition;
	uint32_t number;
	char topic[FMT_TOPIC_MAX + 1];
	char name[FMT_NAME_SIZE];	 /* of its directory */
	const struct fmt_ckpt_log *ckpt; /* NULL: it was opened later */
	struct ckpt_view view;
	bool deleted;
	int64_t log_start_offset;
	int64_t ckpt_segment; /* segments before this one are sealed */
	int64_t segment;      /* the active one, after the journal */
	int64_t end_offset;
	uint64_t end_pos;
	int64_t *rolled; /* bases of segments begun in the journal */
	uint32_t rolled_count;
};

struct state {
	const char *dir;
	struct names names;
	bool has_meta;
	int meta_error; /* errno; 0: it was read, and meta_verdict says the rest */
	enum fmt_verdict meta_verdict;
	struct fmt_dir_meta meta;
	struct lane *lanes;
	uint32_t lane_count;
	struct state_log *logs;
	uint32_t log_count;
	struct direct_run *runs;
	uint32_t run_count;
	uint64_t groups;
	uint64_t entries;
	uint64_t journal_bytes;
	const struct finder *finder;
};

/* What is called for each group and each entry of a lane's journal; either may be NULL. */
struct journal_eyes {
	void (*group)(void *arg, const struct lane *l, const struct fmt_jrnl_group *g);
	void (*entry)(void *arg, const struct lane *l, const struct fmt_jrnl_entry *e,
		const uint8_t *body);
	void (*group_end)(void *arg);
	void *arg;
};

/* Reads meta and the lanes' files, and the logs of the checkpoints. 0 or -errno: the directory
 * cannot be read. */
int state_open(struct state *s, const char *dir, const struct finder *f);
/* Says what is wrong with meta, if anything is. */
void state_judge_meta(const struct state *s);
/* Goes through a lane's journal, and lets the logs follow it. 0 or -ENOMEM. */
int state_play(struct state *s, struct lane *l, const struct journal_eyes *eyes);
void state_close(struct state *s);
/* The log with this number in the lane. NULL: there is none. */
struct state_log *state_log(struct state *s, const struct lane *l, uint32_t number);

#endif
