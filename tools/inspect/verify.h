/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_TOOLS_INSPECT_VERIFY_H
#define MR_TOOLS_INSPECT_VERIFY_H

#include "tools/inspect/command.h"

/* The work of `inspect verify`, and what it has seen. */
struct verify {
	struct command *c;
	struct state state;
	struct finder finder;
	uint8_t *buf; /* VERIFY_BUF bytes */
	uint64_t logs;
	uint64_t segments;
	uint64_t index_pages;
	uint64_t blocks;
	uint64_t batches;
	uint64_t bytes; /* of segments, read */
	int error;	/* what keeps the work from being done: errno */
	bool shows_progress;
	uint64_t shown_ns;
};
#define VERIFY_BUF (1024u * 1024u)

/* One log: its directory, its segments. */
void verify_log(struct verify *v, const struct state_log *p);
/* Runs that the journal says are in segment files. */
void verify_runs(struct verify *v);
/* rc < 0 at `where`: what is to be made of it. */
void verify_failed(struct verify *v, const char *where, int rc);
void verify_progress(struct verify *v);

#endif
