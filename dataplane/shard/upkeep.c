/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Retention and compaction begin here: the shard goes round its partitions, a few at a time, and
 * asks each for its upkeep. One round takes log.retention.check.interval.ms (compaction:
 * log.cleaner.backoff.ms), whatever the number of partitions, and no partition has a timer.
 */
#include "shard/shard_int.h"

#define SWEEP_STEP_NS (1 * NS_PER_S)	 /* the thread wakes up this often anyway */
#define SWEEP_LEAST_NS (100 * NS_PER_MS) /* for a round */
#define SWEEP_LEAST_PLACES 64u
/* Requests of one kind at the storage: others than upkeep need requests too. */
#define SWEEP_MAX_OUT 32u

void upkeep_begin(struct shard *s)
{
	uint64_t first = s->now_ns + s->cfg.upkeep_delay_ns;
	s->retention = (struct sweep){.every_ns = s->cfg.retain_every_ns, .next_ns = first};
	s->compaction = (struct sweep){.every_ns = s->cfg.clean_every_ns, .next_ns = first};
}

static struct sweep *sweep_of(struct shard *s, enum st_op op)
{
	return op == ST_RETAIN ? &s->retention : op == ST_CLEAN ? &s->compaction : NULL;
}

void upkeep_sent(struct shard *s, const struct st_req *r)
{
	struct sweep *w = sweep_of(s, r->op);
	if (w)
		w->out++;
}

void upkeep_answered(struct shard *s, const struct st_req *r)
{
	struct sweep *w = sweep_of(s, r->op);
	if (!w)
		return;
	CHECK(w->out > 0);
	w->out--;
}

/* How long a step takes, and how many places of the table it covers. */
static uint64_t sweep_step(const struct shard *s, const struct sweep *w, uint32_t *places)
{
	uint64_t every = max_of(w->every_ns, SWEEP_LEAST_NS);
	uint64_t cap = max_of(s->part_cap, SWEEP_LEAST_PLACES);
	*places = 1;
	if (every / cap >= SWEEP_STEP_NS)
		return every / cap;
	uint64_t step = min_of(every, SWEEP_STEP_NS);
	*places = (uint32_t)((cap * (step / NS_PER_MS) + every / NS_PER_MS - 1) /
			     (every / NS_PER_MS));
	return step;
}

/* The upkeep of one kind for one partition. */
static void upkeep_part(struct shard *s, struct shard_part *sp, const struct sweep *w)
{
	struct st_policy policy = sp->part.config.policy;
	policy.remove &= w == &s->retention;
	policy.compact &= w == &s->compaction;
	if (!policy.remove && !policy.compact)
		return;
	part_upkeep(&sp->part, &policy, s->now_ms, &s->out);
	route_drain(s);
}

static void sweep_turn(struct shard *s, struct sweep *w)
{
	if (w->every_ns == 0 || s->now_ns < w->next_ns)
		return;
	uint32_t places;
	uint64_t step = sweep_step(s, w, &places);
	for (; places > 0 && w->out < SWEEP_MAX_OUT; places--) {
		w->at = w->at + 1 < s->part_cap ? w->at + 1 : 0;
		struct shard_part *sp = shard_topics_part(s, w->at);
		if (sp)
			upkeep_part(s, sp, w);
	}
	w->next_ns = max_of(w->next_ns + step, s->now_ns + step / 2);
}

void upkeep_turn(struct shard *s)
{
	if (!s->image || s->stopping)
		return;
	sweep_turn(s, &s->retention);
	sweep_turn(s, &s->compaction);
}

uint64_t upkeep_next_ns(const struct shard *s)
{
	uint64_t next = UINT64_MAX;
	if (!s->image || s->stopping)
		return next;
	if (s->retention.every_ns > 0)
		next = min_of(next, s->retention.next_ns);
	if (s->compaction.every_ns > 0)
		next = min_of(next, s->compaction.next_ns);
	return next;
}
