/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_TOOLS_CLI_LINES_H
#define MR_TOOLS_CLI_LINES_H

#include <stdbool.h>
#include <stddef.h>

#define LINES_MAX (16u << 20) /* bytes of one line */

enum { LINES_END = 0, LINES_LINE = 1, LINES_MORE = 2, LINES_LONG = 3 };

/* Splits what a file descriptor gives into lines, in bounded memory. */
struct lines {
	int fd;
	char *buf;
	size_t size;
	size_t at;  /* of the next line */
	size_t len; /* bytes in buf */
	bool ended;
	bool whole; /* all of the input is one line */
};

void lines_begin(struct lines *l, int fd, bool whole);
void lines_end(struct lines *l);
/*
 * The next line without its end, valid until the next call: LINES_LINE. LINES_MORE: lines_read has
 * to be called first; LINES_END; LINES_LONG: the line is longer than LINES_MAX.
 */
int lines_next(struct lines *l, const char **line, size_t *n);
/* Reads once; may block. 0, or -1 and errno. */
int lines_read(struct lines *l);

#endif
