/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deletion: with its entry in the journal the log is gone. Then its directory gets its .deleted
 * name, and the files in it are unlinked, a few at a time. What a crash leaves is finished at the
 * next start.
 */
#include <errno.h>
#include <stdio.h>

#include "base/check.h"
#include "base/log.h"
#include "storage/log/log.h"

/* Names of a directory, a few at a time: the directory must not change while it is listed. */
#define NAMES_MAX 8

struct names {
	char name[NAMES_MAX][FMT_NAME_SIZE];
	uint32_t count;
};

static void names_add(void *arg, const char *name)
{
	struct names *n = arg;
	if (n->count == NAMES_MAX)
		return;
	int len = snprintf(n->name[n->count], FMT_NAME_SIZE, "%s", name);
	if (len > 0 &&
		(unsigned)len < FMT_NAME_SIZE) /* longer ones are not ours; rmdir will say so */
		n->count++;
}

/* Removes some of what is in the directory. 1: there may be more. */
static int delete_files(struct io *io, const char *path)
{
	struct names names = {0};
	int rc = io->api->list(io, path, names_add, &names);
	for (uint32_t i = 0; rc == 0 && i < names.count; i++) {
		char file[IO_PATH_MAX];
		int n = snprintf(file, sizeof(file), "%s/%s", path, names.name[i]);
		rc = n > 0 && (size_t)n < sizeof(file) ? io->api->unlink(io, file) : -ENAMETOOLONG;
	}
	return rc < 0 ? rc : names.count > 0;
}

int delete_some(struct io *io, const char *path)
{
	int rc = delete_files(io, path);
	return rc == 0 ? io->api->rmdir(io, path) : rc;
}

int delete_finish(struct io *io, const char *path)
{
	int rc;
	do
		rc = delete_some(io, path);
	while (rc > 0);
	return rc;
}

int log_mark_deleted(struct log_env *env, const struct log *l, char marked[IO_PATH_MAX])
{
	struct io *io = env->io;
	char path[IO_PATH_MAX];
	log_path(env, l, path);
	int n = snprintf(marked, IO_PATH_MAX, "%s" FMT_DELETED_SUFFIX, path);
	CHECK(n > 0 && (size_t)n < IO_PATH_MAX);
	int rc = io->api->rename(io, path, marked);
	if (rc == -ENOTEMPTY || rc == -EEXIST) { /* an earlier deletion has not ended */
		rc = delete_finish(io, marked);
		if (rc == 0)
			rc = io->api->rename(io, path, marked);
	}
	return rc == -ENOENT ? 0 : rc;
}
