/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_TOOLS_CLI_COMMITS_H
#define MR_TOOLS_CLI_COMMITS_H

#include "tools/cli/offsets.h"

/* Offsets that a consumer group has committed, and members it has. */

struct commit {
	struct kstr topic; /* slice of an answer, or of the command line */
	int32_t partition;
	int64_t committed; /* -1: none */
	int64_t first;	   /* -1: not known */
	int64_t end;
	int64_t planned;    /* what `group reset` would commit */
	struct kstr member; /* null: nobody has it */
	struct kstr host;
};

/* Sorted by topic and partition. */
struct commits {
	struct commit *of;
	int32_t count;
	int32_t room;
	struct reply reply; /* that the topics are slices of */
};

/* All offsets of a group, from its coordinator. An exit code; commits_free, also after a failure.
 */
int commits_load(struct cli *c, int32_t node, const char *group, struct commits *out);
void commits_free(struct commits *k);
/* The entry of a partition, made when there is none. NULL: no memory. */
struct commit *commits_get(struct commits *k, struct kstr topic, int32_t partition);
void commits_sort(struct commits *k);
/*
 * Looks up first and end of every partition, and the position `where` (NULL: none) as `planned`. A
 * topic that is gone keeps -1. An exit code. The entries must be sorted.
 */
int commits_bounds(struct cli *c, struct commits *k, const struct position *where);
/* end - committed, at least 0; -1 when either is not known. Pure. */
int64_t commits_lag(const struct commit *k);

/*
 * Reads an assignment of the consumer protocol (ConsumerProtocolAssignment): calls `each` for every
 * partition. False: it is none. Pure.
 */
bool assignment_read(struct kbytes bytes,
	void (*each)(void *arg, struct kstr topic, int32_t partition), void *arg);

#endif
