/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/worker/dirs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"

#define LOCK_PATIENCE_MS 3000 /* a killed predecessor's last writes may still be under way */
#define LOCK_PAUSE_MS 10
#define PROBE_NAME "probe.tmp"

/* --- one directory ----------------------------------------------------------------------- */

/* Creates path and what is missing above it. 0 or -errno. */
static int dir_make(const char *path)
{
	char part[256];
	size_t n = strnlen(path, sizeof(part));
	if (n == 0 || n >= sizeof(part))
		return -ENAMETOOLONG;
	for (size_t i = 1; i <= n; i++) {
		if (path[i] != '/' && path[i] != 0)
			continue;
		memcpy(part, path, i);
		part[i] = 0;
		if (mkdir(part, 0755) < 0 && errno != EEXIST)
			return -errno;
	}
	return 0;
}

static int dir_lock(const char *path, int *out)
{
	char name[IO_PATH_MAX];
	snprintf(name, sizeof(name), "%s/%s", path, FMT_LOCK_NAME);
	int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int rc = -EAGAIN;
	for (int waited = 0; rc == -EAGAIN && waited <= LOCK_PATIENCE_MS; waited += LOCK_PAUSE_MS) {
		if (waited > 0) {
			const struct timespec pause = {.tv_nsec = LOCK_PAUSE_MS * (long)NS_PER_MS};
			nanosleep(&pause, NULL);
		}
		rc = fcntl(fd, F_OFD_SETLK, &lock) < 0 ? -errno : 0;
		if (rc == -EACCES)
			rc = -EAGAIN;
	}
	if (rc < 0)
		close(fd);
	else
		*out = fd;
	return rc;
}

/* Writes and reads one page past the page cache. 0, -EINVAL: O_DIRECT does not work here, or
 * -errno. */
static int dir_probe_direct(const char *path)
{
	char name[IO_PATH_MAX];
	snprintf(name, sizeof(name), "%s/%s", path, PROBE_NAME);
	int fd = open(name, O_RDWR | O_CREAT | O_TRUNC | O_DIRECT | O_CLOEXEC, 0644);
	if (fd < 0)
		return errno == EOPNOTSUPP ? -EINVAL : -errno;
	int rc = 0;
	uint8_t *page = aligned_alloc(IO_ALIGN, IO_ALIGN);
	if (!page) {
		rc = -ENOMEM;
	} else {
		memset(page, 0, IO_ALIGN);
		ssize_t n = pwrite(fd, page, IO_ALIGN, 0);
		if (n == IO_ALIGN)
			n = pread(fd, page, IO_ALIGN, 0);
		rc = n == IO_ALIGN ? 0 : n < 0 ? -errno : -EINVAL;
	}
	free(page);
	close(fd);
	unlink(name);
	return rc;
}

static bool dir_refused(
	const char *path, int rc, const char *what, const char *advice, char *err, size_t err_size)
{
	snprintf(
		err, err_size, "log directory %.255s: %s: %s%s", path, what, strerror(-rc), advice);
	return false;
}

/* Everything about the directory that the store does not see to. False and a sentence. */
static bool dir_prepare(const char *path, int *lock_fd, char *err, size_t err_size)
{
	int rc = path[0] == '/' ? dir_make(path) : -EINVAL;
	if (rc < 0)
		return dir_refused(path, rc, "cannot create it",
			"; give an absolute path below a directory that this user may write to",
			err, err_size);
	if (access(path, R_OK | W_OK | X_OK) < 0)
		return dir_refused(path, -errno, "this user may not read and write it",
			"; change its owner or its mode", err, err_size);
	rc = dir_lock(path, lock_fd);
	if (rc == -EAGAIN) {
		snprintf(err, err_size,
			"log directory %.255s: another broker is using it; stop that one, or give "
			"this "
			"one another log.dirs",
			path);
		return false;
	}
	if (rc < 0)
		return dir_refused(path, rc, "cannot lock it", "", err, err_size);
	rc = dir_probe_direct(path);
	if (rc == -EINVAL) {
		snprintf(err, err_size,
			"log directory %.255s: its filesystem has no O_DIRECT in blocks of %u "
			"bytes; use "
			"a local ext4 or XFS filesystem",
			path, IO_ALIGN);
		return false;
	}
	if (rc < 0)
		return dir_refused(path, rc, "cannot write to it", "", err, err_size);
	return true;
}

/* --- all of them ------------------------------------------------------------------------- */

static void dirs_free(struct st_dirs *d)
{
	for (uint16_t i = 0; i < d->count; i++) {
		struct flock unlock = {.l_type = F_UNLCK, .l_whence = SEEK_SET};
		fcntl(d->lock_fds[i], F_OFD_SETLK, &unlock);
		close(d->lock_fds[i]);
	}
	free(d->lock_fds);
	free(d);
}

struct st_dirs *st_dirs_open(char (*dirs)[256], uint16_t count, char *err, size_t err_size)
{
	struct st_dirs *d = calloc(1, sizeof(*d));
	if (d)
		d->lock_fds = calloc(count ? count : 1, sizeof(*d->lock_fds));
	if (!d || !d->lock_fds) {
		free(d);
		snprintf(err, err_size, "out of memory");
		return NULL;
	}
	io_posix_init(&d->io);
	for (; d->count < count; d->count++) {
		int fd = -1;
		if (!dir_prepare(dirs[d->count], &fd, err, err_size)) {
			if (fd >= 0)
				close(fd);
			dirs_free(d);
			return NULL;
		}
		d->lock_fds[d->count] = fd;
	}
	uint64_t seed = clock_mono_ns();
	if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		seed ^= (uint64_t)getpid() << 32;
	d->store = store_open(&d->io.io, dirs, count, seed, err, err_size);
	if (!d->store) {
		dirs_free(d);
		return NULL;
	}
	return d;
}

bool st_dirs_clean(const struct st_dirs *d)
{
	return store_is_clean(d->store);
}

uint32_t st_dirs_log_count(const struct st_dirs *d)
{
	return store_log_count(d->store);
}

void st_dirs_close(struct st_dirs *d, bool clean)
{
	if (!d)
		return;
	store_close(d->store, &d->io.io, clean);
	dirs_free(d);
}
