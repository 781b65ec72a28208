/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/cli/lines.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"

#define LINES_FIRST (64u << 10)

void lines_begin(struct lines *l, int fd, bool whole)
{
	*l = (struct lines){.fd = fd, .whole = whole};
}

void lines_end(struct lines *l)
{
	free(l->buf);
	l->buf = NULL;
}

int lines_next(struct lines *l, const char **line, size_t *n)
{
	char *end =
		l->whole || l->at == l->len ? NULL : memchr(l->buf + l->at, '\n', l->len - l->at);
	if (!end && !l->ended)
		return l->len - l->at > LINES_MAX ? LINES_LONG : LINES_MORE;
	if (!end && l->at == l->len)
		return LINES_END;
	*line = l->buf + l->at;
	*n = end ? (size_t)(end - *line) : l->len - l->at;
	l->at += *n + (end != NULL);
	return *n > LINES_MAX ? LINES_LONG : LINES_LINE;
}

int lines_read(struct lines *l)
{
	if (l->at > 0) {
		memmove(l->buf, l->buf + l->at, l->len - l->at);
		l->len -= l->at;
		l->at = 0;
	}
	if (l->len == l->size) {
		size_t size = l->size ? 2 * l->size : LINES_FIRST;
		char *buf = realloc(l->buf, size);
		if (!buf)
			return -1;
		l->buf = buf;
		l->size = size;
	}
	ssize_t got = read(l->fd, l->buf + l->len, l->size - l->len);
	if (got < 0)
		return errno == EINTR || errno == EAGAIN ? 0 : -1;
	l->ended = got == 0;
	l->len += (size_t)got;
	return 0;
}
