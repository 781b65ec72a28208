/* SPDX-License-Identifier: Apache-2.0 */
/* /metrics: the rooms' metrics and the process's own, in Prometheus' text format 0.0.4. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "control/admin/admin_int.h"

int admin_add_metrics(struct admin *a, const struct metric_desc *desc, uint32_t count,
	const void *base, const char *labels)
{
	struct metric_set *sets = realloc(a->sets, (a->set_count + 1) * sizeof(*sets));
	if (!sets)
		return -1;
	a->sets = sets;
	sets[a->set_count++] =
		(struct metric_set){.desc = desc, .count = count, .base = base, .labels = labels};
	return 0;
}

void admin_note_start(struct admin *a)
{
	a->start_s = (double)clock_wall_ms() / 1000;
}

static uint64_t value_of(const struct metric_set *s, uint32_t row)
{
	const char *at = (const char *)s->base + s->desc[row].offset;
	return metric_get((const metric_t *)(const void *)at);
}

/* Adds up or takes the largest of the metric's values. */
static uint64_t gather(const struct admin *a, const char *name, bool sum)
{
	uint64_t got = 0;
	for (uint32_t i = 0; i < a->set_count; i++) {
		const struct metric_set *s = &a->sets[i];
		for (uint32_t row = 0; row < s->count; row++) {
			if (strcmp(s->desc[row].name, name) != 0)
				continue;
			uint64_t v = value_of(s, row);
			got = sum ? got + v : max_of(got, v);
		}
	}
	return got;
}

uint64_t admin_metric_max(const struct admin *a, const char *name)
{
	return gather(a, name, false);
}

uint64_t admin_metric_sum(const struct admin *a, const char *name)
{
	return gather(a, name, true);
}

static bool ends_in_total(const char *name)
{
	size_t n = strlen(name);
	return n >= 6 && strcmp(name + n - 6, "_total") == 0;
}

static void header(FILE *out, const char *name, const char *help, const char *type)
{
	fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* One metric of all sets that have the same table: the format wants them side by side. */
static void print_row(const struct admin *a, FILE *out, uint32_t set, uint32_t row)
{
	const struct metric_desc *d = &a->sets[set].desc[row];
	char name[128];
	snprintf(name, sizeof(name), "millrace_%s", d->name);
	header(out, name, d->help, ends_in_total(d->name) ? "counter" : "gauge");
	for (uint32_t i = set; i < a->set_count; i++) {
		const struct metric_set *s = &a->sets[i];
		if (s->desc != a->sets[set].desc)
			continue;
		bool labelled = s->labels[0] != 0;
		fprintf(out, "%s%s%s%s %" PRIu64 "\n", name, labelled ? "{" : "", s->labels,
			labelled ? "}" : "", value_of(s, row));
	}
}

static bool is_first_of_its_table(const struct admin *a, uint32_t set)
{
	for (uint32_t i = 0; i < set; i++)
		if (a->sets[i].desc == a->sets[set].desc)
			return false;
	return true;
}

static uint64_t resident_bytes(void)
{
	unsigned long long size = 0, resident = 0;
	FILE *f = fopen("/proc/self/statm", "re");
	if (!f)
		return 0;
	if (fscanf(f, "%llu %llu", &size, &resident) != 2)
		resident = 0;
	fclose(f);
	return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static double seconds(struct timeval tv)
{
	return (double)tv.tv_sec + (double)tv.tv_usec / 1e6;
}

static void print_process(const struct admin *a, FILE *out)
{
	struct rusage u;
	header(out, "millrace_build_info", "version of the broker", "gauge");
	fprintf(out, "millrace_build_info{version=\"%s\"} 1\n", MR_VERSION);
	header(out, "millrace_ready", "1 when clients are served", "gauge");
	fprintf(out, "millrace_ready %d\n", a->why_not == NULL);
	header(out, "process_resident_memory_bytes", "resident memory", "gauge");
	fprintf(out, "process_resident_memory_bytes %" PRIu64 "\n", resident_bytes());
	header(out, "process_start_time_seconds", "start of the process since 1970", "gauge");
	fprintf(out, "process_start_time_seconds %.3f\n", a->start_s);
	if (getrusage(RUSAGE_SELF, &u) != 0)
		return;
	header(out, "process_cpu_seconds_total", "user and system CPU time", "counter");
	fprintf(out, "process_cpu_seconds_total %.6f\n", seconds(u.ru_utime) + seconds(u.ru_stime));
}

void admin_page_metrics(const struct admin *a, struct page *p)
{
	p->type = "text/plain; version=0.0.4; charset=utf-8";
	for (uint32_t i = 0; i < a->set_count; i++) {
		if (!is_first_of_its_table(a, i))
			continue;
		for (uint32_t row = 0; row < a->sets[i].count; row++)
			print_row(a, p->out, i, row);
	}
	print_process(a, p->out);
}
