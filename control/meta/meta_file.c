/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The embedded backend: one document in one file. A new version is written beside it, made durable,
 * and renamed over it, so that a crash leaves either the old one or the new one, whole. The
 * directory is held by the storage's lock: nobody else writes here.
 */
#include "control/meta/meta.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"

#define FILE_NAME "millrace.meta.json"
#define MAX_BYTES (256ll << 20)

struct meta {
	int dir_fd;
	char dir[CONFIG_TEXT_MAX];
	uint64_t version;
	bool loaded;
	bool broken; /* it is not known what is stored: nothing is written any more */
};

struct meta *meta_file_open(const char *dir, char *err, size_t err_size)
{
	struct meta *m = calloc(1, sizeof(*m));
	if (!m) {
		snprintf(err, err_size, "memory is short");
		return NULL;
	}
	snprintf(m->dir, sizeof(m->dir), "%s", dir);
	m->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (m->dir_fd < 0) {
		snprintf(err, err_size, "cannot open the metadata directory %s: %s", dir,
			strerror(errno));
		free(m);
		return NULL;
	}
	unlinkat(m->dir_fd, FILE_NAME ".tmp", 0); /* left by a crash; it never counted */
	return m;
}

void meta_close(struct meta *m)
{
	if (!m)
		return;
	close(m->dir_fd);
	free(m);
}

/* The file's text: 1 and malloc'd text; 0: there is no file; -1 with errno. */
static int read_text(struct meta *m, char **text, size_t *len)
{
	struct stat st;
	int fd = openat(m->dir_fd, FILE_NAME, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : -1;
	char *p = NULL;
	size_t got = 0;
	if (fstat(fd, &st) < 0)
		goto fail;
	if (st.st_size > MAX_BYTES) {
		errno = EFBIG;
		goto fail;
	}
	p = malloc((size_t)st.st_size + 1);
	if (!p)
		goto fail;
	while (got < (size_t)st.st_size) {
		ssize_t n = read(fd, p + got, (size_t)st.st_size - got);
		if (n < 0)
			goto fail;
		if (n == 0)
			break;
		got += (size_t)n;
	}
	close(fd);
	*text = p;
	*len = got;
	return 1;
fail:;
	int e = errno;
	free(p);
	close(fd);
	errno = e;
	return -1;
}

int meta_load(
	struct meta *m, struct meta_state *state, uint64_t *version, char *err, size_t err_size)
{
	char *text;
	size_t len;
	char why[CONFIG_ERR_MAX / 2];
	*state = (struct meta_state){0};
	topics_init(&state->topics);
	int r = read_text(m, &text, &len);
	if (r < 0) {
		snprintf(
			err, err_size, "cannot read %s/" FILE_NAME ": %s", m->dir, strerror(errno));
		return -1;
	}
	*version = 0;
	if (r > 0) {
		r = meta_decode(text, len, state, version, why, sizeof(why));
		free(text);
		if (r < 0) {
			snprintf(err, err_size,
				"%s/" FILE_NAME
				" cannot be used: %s. It holds the list of topics: restore "
				"it from a backup; the records themselves are not touched",
				m->dir, why);
			return -1;
		}
	}
	m->version = *version;
	m->loaded = true;
	return 0;
}

static int write_all(int fd, const char *p, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, p, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

/* The new text, durable, under the temporary name. -1 with errno. */
static int write_tmp(struct meta *m, const char *text, size_t len)
{
	int fd =
		openat(m->dir_fd, FILE_NAME ".tmp", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0)
		return -1;
	int r = write_all(fd, text, len);
	if (r == 0)
		r = fdatasync(fd);
	int e = errno;
	if (close(fd) < 0 && r == 0) {
		r = -1;
		e = errno;
	}
	if (r < 0)
		unlinkat(m->dir_fd, FILE_NAME ".tmp", 0);
	errno = e;
	return r;
}

enum meta_result meta_update(struct meta *m, uint64_t expected, const struct meta_state *state,
	char *err, size_t err_size)
{
	CHECK(m->loaded);
	if (m->broken) {
		snprintf(err, err_size,
			"an earlier change of %s/" FILE_NAME " failed half-way: restart the broker",
			m->dir);
		return META_FAILED;
	}
	if (expected != m->version)
		return META_CONFLICT;
	size_t len;
	char *text = meta_encode(state, expected + 1, &len);
	if (!text) {
		snprintf(err, err_size, "memory is short");
		return META_FAILED;
	}
	int r = write_tmp(m, text, len);
	free(text);
	if (r < 0) {
		snprintf(err, err_size, "cannot write %s/" FILE_NAME ": %s", m->dir,
			strerror(errno));
		return META_FAILED;
	}
	if (renameat(m->dir_fd, FILE_NAME ".tmp", m->dir_fd, FILE_NAME) < 0) {
		snprintf(err, err_size, "cannot put %s/" FILE_NAME " in its place: %s", m->dir,
			strerror(errno));
		unlinkat(m->dir_fd, FILE_NAME ".tmp", 0);
		return META_FAILED;
	}
	if (fsync(m->dir_fd) < 0) {
		m->broken = true;
		snprintf(err, err_size, "cannot flush %s: %s", m->dir, strerror(errno));
		return META_FAILED;
	}
	m->version = expected + 1;
	return META_OK;
}
