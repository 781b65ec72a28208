/* SPDX-License-Identifier: Apache-2.0 */
/* Small files, written whole, and what a failed operation means. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "storage/log/log.h"

int file_load(struct io *io, const char *path, size_t max, void **out, size_t *length)
{
	struct io_file *f;
	int rc = io->api->open(io, path, IO_RDONLY, &f);
	if (rc < 0)
		return rc;
	uint64_t size = 0;
	uint8_t *p = NULL;
	rc = io->api->size(io, f, &size);
	if (rc == 0 && size > max)
		rc = -EFBIG;
	if (rc == 0 && !(p = malloc(size + 1)))
		rc = -ENOMEM;
	for (uint64_t at = 0; rc == 0 && at < size;) {
		int64_t n = io->api->pread(io, f, p + at, size - at, at);
		if (n <= 0)
			rc = n < 0 ? (int)n : -EIO;
		else
			at += (uint64_t)n;
	}
	io->api->close(io, f);
	if (rc < 0) {
		free(p);
		return rc;
	}
	*out = p;
	*length = size;
	return 0;
}

static int file_write(
	struct log_env *env, const char *path, const void *p, size_t length, bool flush)
{
	struct io *io = env->io;
	struct io_file *f;
	int rc = io->api->open(io, path, IO_CREATE | IO_TRUNC, &f);
	if (rc < 0)
		return rc;
	int64_t n = io->api->pwrite(io, f, p, length, 0);
	rc = n < 0 ? (int)n : (size_t)n == length ? 0 : -EIO;
	if (rc == 0 && flush)
		rc = log_flush(env, f);
	io->api->close(io, f);
	return rc;
}

int file_store(struct log_env *env, const char *dir, const char *name, const void *p, size_t length,
	enum file_sync sync)
{
	struct io *io = env->io;
	char path[IO_PATH_MAX], tmp[IO_PATH_MAX];
	int n = snprintf(path, sizeof(path), "%s/%s", dir, name);
	int m = snprintf(tmp, sizeof(tmp), "%s/%s" FMT_TMP_SUFFIX, dir, name);
	if (n < 0 || m < 0 || (size_t)m >= sizeof(tmp))
		return -ENAMETOOLONG;
	int rc = file_write(env, tmp, p, length, sync != FILE_LAZY);
	if (rc == 0)
		rc = io->api->rename(io, tmp, path);
	if (rc < 0) {
		io->api->unlink(io, tmp);
		return rc;
	}
	if (sync != FILE_NAMED)
		return 0;
	return log_flush_dir(env, dir);
}

int log_flush(struct log_env *env, struct io_file *f)
{
	env->flushes++;
	return env->io->api->fsync(env->io, f) < 0 ? -EIO : 0;
}

int log_flush_dir(struct log_env *env, const char *path)
{
	env->flushes++;
	return env->io->api->fsync_dir(env->io, path) < 0 ? -EIO : 0;
}

enum st_err log_failed(
	struct log_env *env, uint16_t dir, int rc, const char *what, const char *path)
{
	CHECK(rc < 0);
	switch (-rc) {
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
	case EMFILE:
	case ENFILE:
	case ENOMEM:
		log_warn("storage", "cannot %s %s: %s", what, path, strerror(-rc));
		return ST_E_NOSPACE;
	}
	env->io_errors++;
	if (!store_is_offline(env->store, dir))
		log_error("storage", "cannot %s %s: %s; log directory %s goes offline", what, path,
			strerror(-rc), store_dir_path(env->store, dir));
	store_set_offline(env->store, dir);
	return ST_E_IO;
}
