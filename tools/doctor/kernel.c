/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel permits: io_uring, confinement, sysctls. */
#include <errno.h>
#include <linux/io_uring.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tools/doctor/room.h"

/* 0, or the error with which io_uring is refused to this process. */
static int try_io_uring(const struct doctor *d)
{
	struct io_uring_params p;
	if (d->root[0])
		return 0;
	memset(&p, 0, sizeof(p));
	long fd = syscall(__NR_io_uring_setup, 4, &p);
	if (fd < 0)
		return errno;
	close((int)fd);
	return 0;
}

static void check_io_uring(struct doctor *d)
{
	int64_t disabled = sys_number(d, "/proc/sys/kernel/io_uring_disabled", 0);
	int e = try_io_uring(d);
	if (disabled == 0 && e == 0) {
		doctor_add(d, "io_uring", DOCTOR_OK, "allowed");
		return;
	}
	doctor_add(d, "io_uring", disabled == 1 && e == 0 ? DOCTOR_WARN : DOCTOR_FAIL,
		disabled ? "kernel.io_uring_disabled=%lld" : "refused though the sysctl is %lld",
		(long long)disabled);
	doctor_why(d, "all disk I/O and the kernel transport use io_uring; the broker does not "
		      "start without");
	if (disabled)
		doctor_repair(d, "sysctl -w kernel.io_uring_disabled=0");
	else if (e == ENOSYS)
		doctor_repair(d, "run a kernel with CONFIG_IO_URING");
	else
		doctor_repair(d, "allow io_uring_setup, io_uring_enter and io_uring_register in "
				 "the container's seccomp profile");
}

static void check_confinement(struct doctor *d)
{
	char on[DOCTOR_TEXT], profile[DOCTOR_TEXT];
	sys_text(d, "/sys/module/apparmor/parameters/enabled", on);
	sys_text(d, "/proc/self/attr/current", profile);
	if (on[0] != 'Y' || !profile[0] || strcmp(profile, "unconfined") == 0) {
		doctor_add(d, "confinement", DOCTOR_OK, "not confined by AppArmor");
		return;
	}
	doctor_add(d, "confinement", DOCTOR_NOTE, "AppArmor profile %s", profile);
	doctor_why(d, "it may refuse /dev/vfio, raw sockets or the log directories");
	doctor_repair(d, "if the broker says 'permission denied': aa-complain '%s'", profile);
}

static void check_sysctls(struct doctor *d)
{
	int64_t backlog = sys_number(d, "/proc/sys/net/core/somaxconn", 4096);
	char swap[DOCTOR_TEXT];
	sys_line(d, "/proc/swaps", "/", swap);
	if (backlog >= 4096) {
		doctor_add(d, "backlog", DOCTOR_OK, "net.core.somaxconn=%lld", (long long)backlog);
	} else {
		doctor_add(
			d, "backlog", DOCTOR_NOTE, "net.core.somaxconn=%lld", (long long)backlog);
		doctor_why(d, "many clients that connect at once, as after a restart, are refused "
			      "(network.transport=kernel)");
		doctor_repair(d, "sysctl -w net.core.somaxconn=4096");
	}
	if (swap[0]) {
		doctor_add(d, "swap", DOCTOR_NOTE, "there is swap space");
		doctor_why(d, "a broker whose memory is swapped out answers late");
		doctor_repair(d, "swapoff -a   # or MemorySwapMax=0 in the unit");
	}
}

void check_kernel(struct doctor *d)
{
	check_io_uring(d);
	check_confinement(d);
	check_sysctls(d);
}
