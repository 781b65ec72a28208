/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/cli/progress.h"

#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"

#define PROGRESS_PERIOD_NS (NS_PER_S / 2)

void progress_begin(struct progress *p, bool asked, int64_t total, uint64_t now_ns)
{
	*p = (struct progress){.on = asked || isatty(STDERR_FILENO),
		.shown = asked,
		.total = total,
		.begun_ns = now_ns,
		.next_ns = now_ns + PROGRESS_PERIOD_NS};
}

void progress_text(
	char *text, int size, int64_t records, int64_t bytes, int64_t total, uint64_t elapsed_ns)
{
	double s = (double)elapsed_ns / 1e9;
	double rate = s > 0 ? (double)records / s : 0, mb = s > 0 ? (double)bytes / s / 1e6 : 0;
	char percent[16] = "";
	if (total > 0)
		snprintf(percent, sizeof(percent), "%3d %%, ",
			(int)(100.0 * (double)records / (double)total));
	snprintf(text, (size_t)size, "%s%lld records, %.0f/s, %.1f MB/s", percent,
		(long long)records, rate, mb);
}

static void progress_print(
	struct progress *p, int64_t records, int64_t bytes, uint64_t now_ns, const char *end)
{
	char text[120];
	progress_text(text, sizeof(text), records, bytes, p->total, now_ns - p->begun_ns);
	fprintf(stderr, "\r%-60s%s", text, end);
	fflush(stderr);
}

void progress_show(struct progress *p, int64_t records, int64_t bytes, uint64_t now_ns)
{
	if (!p->on || now_ns < p->next_ns)
		return;
	p->next_ns = now_ns + PROGRESS_PERIOD_NS;
	p->shown = true;
	progress_print(p, records, bytes, now_ns, "");
}

void progress_end(struct progress *p, int64_t records, int64_t bytes, uint64_t now_ns)
{
	if (p->on && p->shown)
		progress_print(p, records, bytes, now_ns, "\n");
}
