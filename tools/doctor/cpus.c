/* SPDX-License-Identifier: Apache-2.0 */
/* Where shards run: isolation, frequency, clock. */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "tools/doctor/room.h"

static void check_isolation(struct doctor *d)
{
	char cpus[DOCTOR_TEXT], quiet[DOCTOR_TEXT];
	sys_text(d, "/sys/devices/system/cpu/isolated", cpus);
	sys_text(d, "/sys/devices/system/cpu/nohz_full", quiet);
	if (cpus[0]) {
		doctor_add(d, "cpu-isolation", DOCTOR_OK, "CPUs %s are isolated%s%s", cpus,
			quiet[0] && quiet[0] != '(' ? ", without ticks: " : "",
			quiet[0] && quiet[0] != '(' ? quiet : "");
		doctor_why(d, "give them to the shards: shard.cpus=%s", cpus);
		return;
	}
	doctor_add(d, "cpu-isolation", DOCTOR_NOTE, "no CPU is isolated");
	doctor_why(d, "with poll.mode=busy other work on a shard's CPU shows as lost packets and "
		      "late answers; nothing to do for adaptive");
	doctor_repair(d, "add isolcpus=2-3 nohz_full=2-3 rcu_nocbs=2-3 to the kernel's command "
			 "line, then shard.cpus=2-3");
}

static void check_governor(struct doctor *d)
{
	char governor[DOCTOR_TEXT];
	sys_text(d, "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", governor);
	if (!governor[0]) {
		doctor_add(d, "cpu-frequency", DOCTOR_OK, "not scaled by this kernel");
	} else if (strcmp(governor, "performance") == 0) {
		doctor_add(d, "cpu-frequency", DOCTOR_OK, "governor %s", governor);
	} else {
		doctor_add(d, "cpu-frequency", DOCTOR_WARN, "governor %s", governor);
		doctor_why(d, "a CPU that sleeps between requests answers the next one slowly");
		doctor_repair(d, "cpupower frequency-set -g performance");
	}
}

static void check_clock(struct doctor *d)
{
	static const char *const fast[] = {"tsc", "kvm-clock", "arch_sys_counter",
		"hyperv_clocksource_tsc_page", "hyperv_clocksource"};
	char source[DOCTOR_TEXT];
	bool good = false;
	sys_text(d, "/sys/devices/system/clocksource/clocksource0/current_clocksource", source);
	for (size_t i = 0; i < array_size(fast); i++)
		good |= strcmp(source, fast[i]) == 0;
	if (good || !source[0]) {
		doctor_add(
			d, "clock", DOCTOR_OK, "clock source %s", source[0] ? source : "unknown");
		return;
	}
	doctor_add(d, "clock", DOCTOR_WARN, "clock source %s", source);
	doctor_why(d, "each look at the time is a system call; the broker looks once per turn");
	doctor_repair(d, "echo tsc > /sys/devices/system/clocksource/clocksource0/"
			 "current_clocksource   # if it is in available_clocksource");
}

void check_cpus(struct doctor *d)
{
	check_isolation(d);
	check_governor(d);
	check_clock(d);
}
