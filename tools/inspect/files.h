/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_TOOLS_INSPECT_FILES_H
#define MR_TOOLS_INSPECT_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/uuid.h"

/* Plain reads of a directory that is not ours. Nothing here writes, or takes a lock. */
#define PATH_SIZE 4096u

/* dir/name. A path that is too long becomes one that does not exist. */
void path_join(char out[PATH_SIZE], const char *dir, const char *name);

/* Opens for reading; *size is the file's. A descriptor or -errno (-EISDIR: not a file). */
int file_open(const char *path, uint64_t *size);
/* Reads n bytes at pos. 0, -errno, or -ENODATA when the file ends before. */
int file_pread(int fd, void *buf, size_t n, uint64_t pos);
/* Reads all of a file, 8-aligned; the caller frees *out. 0 or -errno. */
int file_load(const char *path, uint8_t **out, uint64_t *size);
bool file_exists(const char *path);

struct names {
	char **names; /* ascending, without . and .. */
	uint32_t count;
};
/* 0 or -errno. */
int names_read(struct names *n, const char *dir);
void names_free(struct names *n);

/* Whether another process holds the lock of the log directory: a broker runs. */
bool dir_is_locked(const char *dir);
/* The log that the directory of this file belongs to, by its name. */
bool path_log(const char *path, struct uuid *topic_id, int32_t *partition);
/* The base offset in the file's name (<20 digits>.<kind>, whatever is behind). */
bool path_base(const char *path, int64_t *base_offset);

#endif
