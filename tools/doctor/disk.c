/* SPDX-License-Identifier: Apache-2.0 */
/* Where the logs are to be: filesystem, O_DIRECT, the device under it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/check.h"
#include "tools/doctor/room.h"

#define BLOCK 4096

/* 0, or the error with which a direct write fails. */
static int try_direct(const char *dir)
{
	int e = 0;
	void *p = aligned_alloc(BLOCK, BLOCK);
	int fd = open(dir, O_TMPFILE | O_RDWR | O_DIRECT | O_CLOEXEC, 0600);
	if (fd < 0 || !p) {
		e = fd < 0 ? errno : ENOMEM;
	} else {
		memset(p, 0, BLOCK);
		e = pwrite(fd, p, BLOCK, 0) == BLOCK ? 0 : errno;
	}
	if (fd >= 0)
		close(fd);
	free(p);
	return e;
}

static void check_direct(struct doctor *d)
{
	int e = try_direct(d->data);
	if (e == 0) {
		doctor_add(d, "direct-io", DOCTOR_OK, "%s takes O_DIRECT", d->data);
		return;
	}
	doctor_add(d, "direct-io", DOCTOR_FAIL, "%s: %s", d->data, strerror(e));
	if (e == EACCES || e == EROFS || e == EPERM) {
		doctor_why(d, "this user cannot write there");
		doctor_repair(d, "chown the directory to the broker's user");
		return;
	}
	doctor_why(d, "log directories need a filesystem with direct I/O");
	doctor_repair(d, "put log.dirs on ext4, xfs or btrfs");
}

static void check_scheduler(struct doctor *d, const char *queue)
{
	char path[DOCTOR_TEXT], text[DOCTOR_TEXT];
	snprintf(path, sizeof(path), "%.256s/scheduler", queue);
	sys_text(d, path, text);
	if (!text[0] || strcmp(text, "none") == 0 || strstr(text, "[none]")) {
		doctor_add(d, "disk-scheduler", DOCTOR_OK, "none");
		return;
	}
	doctor_add(d, "disk-scheduler", DOCTOR_NOTE, "%s", text);
	doctor_why(d, "the broker orders its own writes; another scheduler only adds latency on a "
		      "solid-state disk");
	doctor_repair(d, "echo none > %s", path);
}

static void check_cache(struct doctor *d, const char *queue)
{
	char path[DOCTOR_TEXT], text[DOCTOR_TEXT];
	snprintf(path, sizeof(path), "%.256s/write_cache", queue);
	sys_text(d, path, text);
	if (strcmp(text, "write back") != 0) {
		doctor_add(d, "disk-cache", DOCTOR_OK, "%s", text[0] ? text : "unknown");
		return;
	}
	doctor_add(d, "disk-cache", DOCTOR_NOTE, "write back: it loses what is not flushed");
	doctor_why(d, "the broker flushes before it acknowledges; how long that takes is what "
		      "producers wait for, and a disk with power-loss protection is much faster");
}

static void check_device(struct doctor *d, dev_t dev)
{
	char queue[DOCTOR_TEXT], path[DOCTOR_TEXT];
	snprintf(queue, sizeof(queue), "/sys/dev/block/%u:%u/queue", major(dev), minor(dev));
	if (!sys_exists(d, queue)) /* a partition: the disk is the folder above */
		snprintf(queue, sizeof(queue), "/sys/dev/block/%u:%u/../queue", major(dev),
			minor(dev));
	if (!sys_exists(d, queue)) {
		doctor_add(d, "disk", DOCTOR_NOTE, "no block device is known for %s", d->data);
		doctor_why(d, "a network filesystem, or one of several devices: see those");
		return;
	}
	snprintf(path, sizeof(path), "%.256s/rotational", queue);
	if (sys_number(d, path, 0) == 1) {
		doctor_add(d, "disk", DOCTOR_NOTE, "it says that it rotates");
		doctor_why(d,
			"if so (virtual disks often say it of solid-state ones), each durable "
			"acknowledgement waits for a turn of it");
		doctor_repair(d, "put log.dirs on a solid-state disk");
	}
	check_scheduler(d, queue);
	check_cache(d, queue);
}

/* The type of the filesystem: the word behind " - " in its line of mountinfo. */
static void check_filesystem(struct doctor *d, dev_t dev)
{
	static const char *const good[] = {"ext4", "xfs", "btrfs"};
	char line[1024], want[32], type[32] = "";
	char path[DOCTOR_TEXT + 32];
	snprintf(want, sizeof(want), " %u:%u ", major(dev), minor(dev));
	snprintf(path, sizeof(path), "%s/proc/self/mountinfo", d->root);
	FILE *f = fopen(path, "re");
	while (f && !type[0] && fgets(line, sizeof(line), f)) {
		const char *dash = strstr(line, want) ? strstr(line, " - ") : NULL;
		if (dash)
			snprintf(type, sizeof(type), "%.*s", (int)strcspn(dash + 3, " "), dash + 3);
	}
	if (f)
		fclose(f);
	bool known = !type[0];
	for (size_t i = 0; i < array_size(good); i++)
		known |= strcmp(type, good[i]) == 0;
	doctor_add(d, "filesystem", known ? DOCTOR_OK : DOCTOR_WARN, "%s is on %s", d->data,
		type[0] ? type : "a filesystem of unknown type");
	if (known)
		return;
	doctor_why(d, "durability is tested on ext4 and xfs");
	doctor_repair(d, "put log.dirs on ext4 or xfs");
}

void check_disk(struct doctor *d)
{
	struct stat st;
	if (stat(d->data, &st) != 0) {
		doctor_add(d, "disk", DOCTOR_FAIL, "%s: %s", d->data, strerror(errno));
		doctor_why(d, "this is where the logs are to be");
		doctor_repair(d, "mkdir -p %s   # or name another one with --data", d->data);
		return;
	}
	check_filesystem(d, st.st_dev);
	check_direct(d);
	check_device(d, st.st_dev);
}
