/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/worker/cost.h"

#include "base/check.h"

#define LARGE_WRITE (128u * 1024u) /* below, the time is that of an operation, not of its bytes */
#define PS_PER_NS 1000u

/* An average over about the last eight. */
static void follow(uint64_t *mean, uint64_t sample)
{
	sample = max_of(sample, (uint64_t)1);
	if (*mean == 0)
		*mean = sample;
	else
		*mean = max_of(*mean - *mean / 8 + sample / 8, (uint64_t)1);
}

void cost_note_write(struct path_cost *c, uint64_t bytes, uint64_t ns)
{
	if (bytes >= LARGE_WRITE)
		follow(&c->write_ps, ns * PS_PER_NS / bytes);
}

void cost_note_journal_flush(struct path_cost *c, uint64_t ns)
{
	follow(&c->journal_ns, ns);
}

void cost_note_segment_flush(struct path_cost *c, uint64_t ns)
{
	follow(&c->segment_ns, ns);
}

void cost_note_not_tried(struct path_cost *c)
{
	c->segment_ns -= c->segment_ns / 256;
}

uint64_t cost_direct_min(const struct path_cost *c, bool reached)
{
	if (reached)
		return COST_WRITTEN_LEAST;
	if (c->write_ps == 0 || c->segment_ns == 0)
		return COST_DEFAULT;
	uint64_t extra_ns = c->segment_ns > c->journal_ns ? c->segment_ns - c->journal_ns : 0;
	uint64_t bytes = COST_WRITTEN_LEAST + extra_ns * PS_PER_NS / c->write_ps;
	return min_of(bytes, (uint64_t)COST_MOST);
}
