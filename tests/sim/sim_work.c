/* SPDX-License-Identifier: Apache-2.0 */
/* The script of the rig: what is asked of the engine, and when its process ends. */
#include "sim_rig.h"

#include "base/check.h"

static uint32_t below(struct rig *g, uint32_t n)
{
	return (uint32_t)prng_below(&g->rng, n);
}

static uint32_t batch_size_of(struct work *w)
{
	struct rig *g = w->g;
	switch (below(g, w->large ? 10 : 8)) {
	case 0:
		return 4096; /* about a page */
	case 1:
		return 2000 + below(g, 9000); /* over a page's end */
	case 8:
		return 16384 + below(g, 8192);
	case 9:
		return 20000 + below(g, 46000);
	default:
		return 90 + below(g, 500);
	}
}

static void append(struct work *w, struct rig_log *l)
{
	uint32_t sizes[4], n = 1 + below(w->g, 4);
	for (uint32_t i = 0; i < n; i++)
		sizes[i] = batch_size_of(w);
	bool roll = below(w->g, l->compact ? 4 : 12) == 0;
	rig_append(w->g, l, sizes, n, roll);
}

static int64_t some_offset(struct rig *g, const struct rig_log *l)
{
	int64_t end = rig_acked_end(l);
	return l->start_acked + (int64_t)prng_below(&g->rng, (uint64_t)(end - l->start_acked) + 1);
}

/* What is asked of a log besides appends. */
static void other(struct work *w, struct rig_log *l)
{
	struct rig *g = w->g;
	int64_t at = some_offset(g, l);
	if (l->compact && below(g, 3) > 0) {
		rig_clean(g, l);
		return;
	}
	switch (below(g, 16)) {
	case 0:
	case 1:
		rig_trim(g, l, at);
		break;
	case 2:
	case 3:
		rig_retain(g, l, 20000 + below(g, 60000));
		break;
	case 4:
	case 5:
	case 6:
		rig_fill(g, l);
		break;
	case 7:
		rig_delete(g, l);
		break;
	case 8:
		rig_close(g, l);
		break;
	default:
		if (at < rig_acked_end(l))
			rig_read(g, l, at);
		break;
	}
}

static void one_op(struct work *w)
{
	struct rig *g = w->g;
	uint32_t slot = below(g, RIG_SLOTS);
	struct rig_log *l = g->slots[slot];
	if (!l || l->state == RIG_GONE)
		rig_create(g, slot, slot % 3 == 1);
	else if (l->state == RIG_CLOSED)
		rig_reopen(g, l);
	else if (l->state != RIG_OPEN)
		return;
	else if (below(g, 4) > 0)
		append(w, l);
	else
		other(w, l);
}

/* Some logs are kept short: what is not looked at costs time all the same. */
static void keep_small(struct work *w)
{
	for (uint32_t i = 0; i < RIG_SLOTS; i++) {
		struct rig_log *l = w->g->slots[i];
		if (!l || l->state != RIG_OPEN || l->acked == 0)
			continue;
		int64_t bytes = 0;
		for (uint32_t k = l->acked; k-- > 0 && l->batches[k].base >= l->start_acked;)
			bytes += l->batches[k].len;
		if (bytes > (l->compact ? 120000 : 60000))
			rig_trim(w->g, l,
				l->batches[l->acked - 1 - below(w->g, min_of(l->acked, 4u))].base);
	}
}

void work_live(struct work *w)
{
	struct rig *g = w->g;
	for (uint32_t i = 0; i < w->ops && !rig_is_over(g); i++) {
		one_op(w);
		rig_step(g);
		for (uint32_t n = below(g, 6); n > 0 && !rig_is_over(g) && rig_tick(g); n--) {
		}
		if (i % 10 == 9)
			keep_small(w);
		if (below(g, 25) == 0)
			rig_drain(g);
		if (below(g, 40) == 0) { /* the engine's background work has its time */
			g->now_us += 100 * 1000;
			sim_disk_set_time(g->disk, g->now_us);
		}
	}
}

void work_run(struct work *w)
{
	struct rig *g = w->g;
	for (uint32_t i = 0; i < w->lives && !rig_is_over(g); i++) {
		if (!rig_start(g))
			return;
		work_live(w);
		if (g->broken)
			return;
		uint32_t how = below(g, 4);
		rig_end(g, how == 0 ? RIG_END_CLEAN : how == 1 ? RIG_END_KILL : RIG_END_POWER);
	}
	if (rig_is_over(g) || !rig_start(g))
		return;
	rig_drain(g);
	if (!rig_is_over(g))
		rig_end(g, RIG_END_CLEAN);
}
