/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_TOOLS_INSPECT_COMMAND_H
#define MR_TOOLS_INSPECT_COMMAND_H

#include <stdbool.h>
#include <stdint.h>

#include "tools/inspect/out.h"
#include "tools/inspect/state.h"

/* What the command line asks for, and what came of it. */
struct command {
	const char *what; /* "dir", "journal", ... */
	const char *path; /* DIR or FILE */
	const char *log;  /* of `log` */
	bool json;
	bool records;
	int64_t worker; /* -1: all */
	struct out out;
	uint64_t corrupt; /* findings */
	uint64_t notes;
};

enum { INSPECT_OK = 0, INSPECT_CORRUPT = 1, INSPECT_CANNOT = 2 };

/* Each: an INSPECT_ code. */
int inspect_dir(struct command *c);
int inspect_journal(struct command *c);
int inspect_checkpoint(struct command *c);
int inspect_log(struct command *c);
int inspect_segment(struct command *c);
int inspect_index(struct command *c);
int inspect_verify(struct command *c);

/* Says on stderr why it cannot be done. INSPECT_CANNOT. */
__attribute__((format(printf, 1, 2))) int cannot(const char *format, ...);
/* Opens the state of c->path. INSPECT_OK or INSPECT_CANNOT. Warns when a broker runs. */
int command_open(const struct command *c, struct state *s, const struct finder *f);
/* Findings as lines on stderr. */
void command_found(void *arg, enum found_kind kind, const char *where, const char *what);
/* Ends the output. INSPECT_OK, INSPECT_CORRUPT when something was found, or INSPECT_CANNOT. */
int command_end(struct command *c);

/* Reads the blocks of an index: all pages, valid or not. The caller frees. NULL: cannot. */
struct fmt_bidx_page *index_load(const char *path, uint32_t *pages, int *error);

#endif
