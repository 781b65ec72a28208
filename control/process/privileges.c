/* SPDX-License-Identifier: Apache-2.0 */
#include "control/process/privileges.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Always -1. */
__attribute__((format(printf, 3, 4))) static int refuse(
	char *err, size_t err_size, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(err, err_size, fmt, ap);
	va_end(ap);
	return -1;
}

/* The calling thread's capabilities become those of keep that it has. */
static int keep_only(uint64_t keep)
{
	struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct d[_LINUX_CAPABILITY_U32S_3];
	memset(d, 0, sizeof(d));
	if (syscall(SYS_capget, &h, d) != 0)
		return -1;
	for (unsigned i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
		d[i].permitted &= (uint32_t)(keep >> (32 * i));
		d[i].effective = d[i].permitted;
		d[i].inheritable = 0;
	}
	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	return (int)syscall(SYS_capset, &h, d);
}

static void raise_memlock(void)
{
	const struct rlimit all = {.rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY};
	(void)setrlimit(RLIMIT_MEMLOCK, &all); /* not allowed: then it stays */
}

static int become(const char *user, char *err, size_t err_size)
{
	errno = 0;
	const struct passwd *p = getpwnam(user);
	if (!p)
		return refuse(err, err_size,
			"process.user=%s: there is no such user: useradd --system %s, or name "
			"another",
			user, user);
	if (geteuid() == p->pw_uid)
		return 0;
	if (geteuid() != 0)
		return refuse(err, err_size,
			"process.user=%s: only root can become another user: start it as root, or "
			"as %s "
			"without process.user",
			user, user);
	raise_memlock();
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0 || initgroups(user, p->pw_gid) != 0 ||
		setresgid(p->pw_gid, p->pw_gid, p->pw_gid) != 0 ||
		setresuid(p->pw_uid, p->pw_uid, p->pw_uid) != 0)
		return refuse(err, err_size, "process.user=%s: cannot become that user: %s", user,
			strerror(errno));
	return 0;
}

int privileges_drop(const char *user, uint64_t keep, char *err, size_t err_size)
{
	if (user[0] && become(user, err, err_size) != 0)
		return -1;
	if (geteuid() == 0)
		return 0;
	if (keep_only(keep) != 0)
		return refuse(
			err, err_size, "the capabilities cannot be given up: %s", strerror(errno));
	(void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	/* A change of user switches core dumps off. */
	(void)prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
	return 0;
}
