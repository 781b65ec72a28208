/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/inspect/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/format/format.h"

void path_join(char out[PATH_SIZE], const char *dir, const char *name)
{
	int n = snprintf(out, PATH_SIZE, "%s/%s", dir, name);
	if (n < 0 || n >= (int)PATH_SIZE)
		out[0] = 0;
}

int file_open(const char *path, uint64_t *size)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	int rc = fstat(fd, &st) < 0 ? -errno : S_ISREG(st.st_mode) ? 0 : -EISDIR;
	if (rc < 0) {
		close(fd);
		return rc;
	}
	*size = (uint64_t)st.st_size;
	return fd;
}

int file_pread(int fd, void *buf, size_t n, uint64_t pos)
{
	uint8_t *p = buf;
	while (n > 0) {
		ssize_t got = pos > INT64_MAX ? 0 : pread(fd, p, n, (off_t)pos);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? -errno : -ENODATA;
		p += got;
		pos += (uint64_t)got;
		n -= (size_t)got;
	}
	return 0;
}

int file_load(const char *path, uint8_t **out, uint64_t *size)
{
	int fd = file_open(path, size);
	if (fd < 0)
		return fd;
	uint8_t *p = malloc(*size ? *size : 1);
	int rc = p ? file_pread(fd, p, *size, 0) : -ENOMEM;
	close(fd);
	if (rc < 0)
		free(p);
	else
		*out = p;
	return rc;
}

bool file_exists(const char *path)
{
	struct stat st;
	return lstat(path, &st) == 0;
}

static int name_compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int names_add(struct names *n, const char *name)
{
	if ((n->count & (n->count - 1)) == 0) { /* full at each power of two */
		size_t room = n->count ? n->count * 2u : 1u;
		char **p = realloc(n->names, room * sizeof(*p));
		if (!p)
			return -ENOMEM;
		n->names = p;
	}
	n->names[n->count] = strdup(name);
	if (!n->names[n->count])
		return -ENOMEM;
	n->count++;
	return 0;
}

int names_read(struct names *n, const char *dir)
{
	struct dirent *e;
	int rc = 0;
	*n = (struct names){0};
	DIR *d = opendir(dir);
	if (!d)
		return -errno;
	while (rc == 0 && (errno = 0, e = readdir(d)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			rc = names_add(n, e->d_name);
	if (rc == 0)
		rc = -errno;
	closedir(d);
	if (rc < 0)
		names_free(n);
	else if (n->count)
		qsort(n->names, n->count, sizeof(*n->names), name_compare);
	return rc;
}

void names_free(struct names *n)
{
	for (uint32_t i = 0; i < n->count; i++)
		free(n->names[i]);
	free(n->names);
	*n = (struct names){0};
}

bool dir_is_locked(const char *dir)
{
	char path[PATH_SIZE];
	uint64_t size;
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	path_join(path, dir, FMT_LOCK_NAME);
	int fd = file_open(path, &size);
	if (fd < 0)
		return false;
	bool held = fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
	close(fd);
	return held;
}

bool path_log(const char *path, struct uuid *topic_id, int32_t *partition)
{
	char full[PATH_MAX];
	if (!realpath(path, full))
		return false;
	char *slash = strrchr(full, '/');
	if (!slash || slash == full)
		return false;
	*slash = 0;
	slash = strrchr(full, '/');
	return slash && fmt_log_name_parse(slash + 1, topic_id, partition);
}

bool path_base(const char *path, int64_t *base_offset)
{
	char stem[32];
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	if (strlen(name) < 21)
		return false;
	snprintf(stem, sizeof(stem), "%.21s", name); /* with the dot */
	return fmt_segment_name_parse(stem, "", base_offset);
}
