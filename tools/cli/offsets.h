/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_TOOLS_CLI_OFFSETS_H
#define MR_TOOLS_CLI_OFFSETS_H

#include "tools/cli/cli.h"

/* Where the partitions of a topic begin and end, and looking up positions in them. */

#define OFFSETS_EARLIEST (-2) /* as timestamps of ListOffsets */
#define OFFSETS_LATEST (-1)

struct offset_of {
	int32_t partition;
	int32_t leader;
	int64_t first;
	int64_t end;
	int64_t at;    /* what offsets_at looked up */
	int16_t error; /* of the broker */
};

/* Of one topic, in order of partition. */
struct offsets {
	struct kstr topic; /* borrowed */
	struct offset_of *of;
	int32_t count;
};

/* Where somebody wants to begin, as told on the command line. */
struct position {
	enum {
		POSITION_BEGINNING,
		POSITION_END,
		POSITION_OFFSET,
		POSITION_BACK,
		POSITION_TIME
	} kind;
	int64_t value;
};

/*
 * First and end offset of every partition of the topic. An answer of the broker is kept for each
 * partition; what it says to try again is tried again. A client_err. offsets_free, also after one.
 */
int offsets_load(
	struct client *c, const struct kp_metadata_response_topic *topic, struct offsets *out);
/* Sets `at` of every partition to the position, within [first, end]. A client_err. */
int offsets_at(struct client *c, struct offsets *o, const struct position *where);
const struct offset_of *offsets_find(const struct offsets *o, int32_t partition);
void offsets_free(struct offsets *o);

/* beginning, earliest, end, latest, N, -N, time:TIME. Pure. */
bool position_parse(const char *text, int64_t now_ms, struct position *out);
/* The position in a partition with these bounds, for all kinds but POSITION_TIME. Pure. */
int64_t position_in(const struct position *where, int64_t first, int64_t end);

#endif
