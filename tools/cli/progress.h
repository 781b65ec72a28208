/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_TOOLS_CLI_PROGRESS_H
#define MR_TOOLS_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

/* One line on stderr that says how far something is: only on a terminal, or when asked for. */
struct progress {
	bool on;
	bool shown;
	int64_t total; /* records; 0: not known */
	uint64_t begun_ns;
	uint64_t next_ns;
};

void progress_begin(struct progress *p, bool asked, int64_t total, uint64_t now_ns);
/* Shows it when half a second has passed since the last time. */
void progress_show(struct progress *p, int64_t records, int64_t bytes, uint64_t now_ns);
/* Shows it a last time, if it has been shown or was asked for. */
void progress_end(struct progress *p, int64_t records, int64_t bytes, uint64_t now_ns);
/* The line. Pure. */
void progress_text(
	char *text, int size, int64_t records, int64_t bytes, int64_t total, uint64_t elapsed_ns);

#endif
