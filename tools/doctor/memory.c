/* SPDX-License-Identifier: Apache-2.0 */
/* Hugepages, locked memory, NUMA. */
#include <stdlib.h>
#include <string.h>

#include "tools/doctor/room.h"

#define WANTED_MIB 512 /* what a broker with default sizes takes on dpdk, two shards */
#define WANTED_FILES 26384

static void check_hugepages(struct doctor *d)
{
	int64_t mib =
		sys_number(d, "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", 0) * 2 +
		sys_number(d, "/sys/kernel/mm/hugepages/hugepages-1048576kB/free_hugepages", 0) *
			1024;
	if (!sys_exists(d, "/sys/kernel/mm/hugepages")) {
		doctor_add(d, "hugepages", DOCTOR_WARN, "this kernel has none");
		doctor_why(d, "packets and log blocks are in small pages, which costs CPU");
	} else if (mib >= WANTED_MIB) {
		doctor_add(d, "hugepages", DOCTOR_OK, "%lld MiB are free", (long long)mib);
	} else {
		doctor_add(d, "hugepages", DOCTOR_WARN, "%lld MiB are free", (long long)mib);
		doctor_why(d,
			"memory.log.bytes and the packet buffers, about %d MiB with default sizes, "
			"are "
			"in small pages then, which costs CPU; hugepages=require would not start",
			WANTED_MIB);
		doctor_repair(d, "sysctl -w vm.nr_hugepages=%d", WANTED_MIB / 2);
	}
}

static void check_limit(struct doctor *d, const char *check, const char *line, int64_t least,
	const char *why, const char *repair)
{
	char text[DOCTOR_TEXT];
	sys_line(d, "/proc/self/limits", line, text);
	bool unlimited = strncmp(text, "unlimited", 9) == 0;
	long long v = strtoll(text, NULL, 10);
	if (!text[0])
		return; /* no such file: not Linux as we know it */
	text[strcspn(text, " ")] = 0;
	if (unlimited || v >= least) {
		doctor_add(d, check, DOCTOR_OK, "the limit is %s", text);
		return;
	}
	doctor_add(d, check, DOCTOR_WARN, "the limit is %s", text);
	doctor_why(d, "%s", why);
	doctor_repair(d, "%s", repair);
}

static void note_node(struct doctor *d, const char *name, void *arg)
{
	char path[DOCTOR_TEXT], cpus[DOCTOR_TEXT];
	if (strncmp(name, "node", 4) != 0 || name[4] < '0' || name[4] > '9')
		return;
	snprintf(path, sizeof(path), "/sys/devices/system/node/%.32s/cpulist", name);
	sys_text(d, path, cpus);
	doctor_add(d, "numa", DOCTOR_NOTE, "%s has the CPUs %s", name, cpus);
	doctor_why(d, "shards belong on the node of their port, storage workers on that of their "
		      "disk; the ports below say theirs");
	doctor_repair(d, "set shard.cpus and storage.cpus");
}

static void check_numa(struct doctor *d)
{
	char online[DOCTOR_TEXT];
	sys_text(d, "/sys/devices/system/node/online", online);
	if (strpbrk(online, "-,"))
		sys_each(d, "/sys/devices/system/node", note_node, NULL);
	else
		doctor_add(d, "numa", DOCTOR_OK, "one node");
}

void check_memory(struct doctor *d)
{
	check_hugepages(d);
	check_limit(d, "locked-memory", "Max locked memory", (int64_t)WANTED_MIB << 20,
		"log blocks are not registered with io_uring, and VFIO cannot map packet buffers",
		"ulimit -l unlimited   # or LimitMEMLOCK=infinity in the unit");
	check_limit(d, "open-files", "Max open files", WANTED_FILES,
		"fewer than max.connections and the files of 10,000 partitions may need",
		"ulimit -n 100000   # or LimitNOFILE=100000 in the unit");
	check_numa(d);
}
