/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deletion: the directory gets its .deleted name, durably, and then the log is gone; its files are
 * unlinked after that. What a crash leaves is finished at the next start (store_open).
 */
#include <errno.h>
#include <stdio.h>

#include "base/check.h"
#include "base/log.h"
#include "storage/log/log.h"

/* Names of a directory, a few at a time: the directory must not change while it is listed. */
#define NAMES_MAX 32

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

int delete_finish(struct io *io, const char *path)
{
	struct names names;
	do {
		names.count = 0;
		int rc = io->api->list(io, path, names_add, &names);
		for (uint32_t i = 0; rc == 0 && i < names.count; i++) {
			char file[IO_PATH_MAX];
			int n = snprintf(file, sizeof(file), "%s/%s", path, names.name[i]);
			rc = n > 0 && (size_t)n < sizeof(file) ? io->api->unlink(io, file)
							       : -ENAMETOOLONG;
		}
		if (rc < 0)
			return rc;
	} while (names.count > 0);
	return io->api->rmdir(io, path);
}

enum st_err log_delete(struct log_env *env, struct log *l)
{
	struct io *io = env->io;
	char path[IO_PATH_MAX], gone[IO_PATH_MAX + sizeof(FMT_DELETED_SUFFIX)];
	uint16_t dir = l->dir;
	snprintf(path, sizeof(path), "%s", l->path);
	snprintf(gone, sizeof(gone), "%s" FMT_DELETED_SUFFIX, l->path);
	log_free(env, l);
	int rc = io->api->rename(io, path, gone);
	if (rc == -ENOTEMPTY || rc == -EEXIST) { /* an earlier deletion of this log has not ended */
		rc = delete_finish(io, gone);
		if (rc == 0)
			rc = io->api->rename(io, path, gone);
	}
	if (rc == 0)
		rc = log_flush_dir(env, store_dir_path(env->store, dir));
	if (rc < 0)
		return log_failed(env, dir, rc, "delete", path);
	rc = delete_finish(io, gone);
	if (rc < 0)
		log_warn("storage", "cannot remove all of %s: error %d; the next start tries again",
			gone, -rc);
	return ST_OK;
}
