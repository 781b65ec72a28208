/* SPDX-License-Identifier: Apache-2.0 */
#include "base/wheel.h"

#define LEVEL_BITS 6
#define SLOT_MASK (WHEEL_SLOTS - 1)

void wheel_init(struct wheel *w, uint64_t now_ns, uint64_t tick_ns)
{
	w->tick_ns = tick_ns;
	w->now_tick = now_ns / tick_ns;
	w->armed = 0;
	for (unsigned l = 0; l < WHEEL_LEVELS; l++)
		for (unsigned s = 0; s < WHEEL_SLOTS; s++)
			list_init(&w->slots[l][s]);
}

void wheel_timer_init(struct wheel_timer *t)
{
	list_init(&t->node);
	t->deadline_ns = 0;
	t->tick = 0;
	t->armed = false;
}

/*
 * Level l holds what is due within 64^(l+1) ticks; beyond the last level waits at its far end. The
 * timer goes to the slot of `earliest` when it is due before that.
 */
static void wheel_link(struct wheel *w, struct wheel_timer *t, uint64_t earliest)
{
	uint64_t at = max_of(t->tick, earliest);
	uint64_t delta = at - w->now_tick;
	unsigned level = 0;
	while (level < WHEEL_LEVELS - 1 && delta >= 1ull << (LEVEL_BITS * (level + 1)))
		level++;
	uint64_t span = 1ull << (LEVEL_BITS * WHEEL_LEVELS);
	if (delta >= span)
		at = w->now_tick + span - 1;
	list_push_back(&w->slots[level][(at >> (LEVEL_BITS * level)) & SLOT_MASK], &t->node);
}

void wheel_arm(struct wheel *w, struct wheel_timer *t, uint64_t deadline_ns)
{
	wheel_cancel(w, t);
	t->deadline_ns = deadline_ns;
	t->tick = deadline_ns / w->tick_ns + (deadline_ns % w->tick_ns != 0);
	t->armed = true;
	wheel_link(w, t, w->now_tick + 1);
	w->armed++;
}

void wheel_cancel(struct wheel *w, struct wheel_timer *t)
{
	list_remove(&t->node);
	if (t->armed)
		w->armed--;
	t->armed = false;
}

/* Re-links the slot of `level` that now_tick has just entered: its timers now belong further down,
 * some of them to this very tick, whose slot of level 0 has not been taken yet. */
static void wheel_cascade(struct wheel *w, unsigned level)
{
	struct list *slot = &w->slots[level][(w->now_tick >> (LEVEL_BITS * level)) & SLOT_MASK];
	struct list moved;
	list_init(&moved);
	list_splice(&moved, slot);
	struct list *n;
	while ((n = list_pop_front(&moved)))
		wheel_link(w, list_entry(n, struct wheel_timer, node), w->now_tick);
}

void wheel_advance(struct wheel *w, uint64_t now_ns, struct list *fired)
{
	uint64_t target = now_ns / w->tick_ns;
	while (w->now_tick < target) {
		if (w->armed == 0) {
			w->now_tick = target;
			return;
		}
		w->now_tick++;
		for (unsigned l = WHEEL_LEVELS - 1; l > 0; l--)
			if ((w->now_tick & ((1ull << (LEVEL_BITS * l)) - 1)) == 0)
				wheel_cascade(w, l);
		struct list *slot = &w->slots[0][w->now_tick & SLOT_MASK];
		struct list *n;
		while ((n = list_pop_front(slot))) {
			w->armed--;
			list_entry(n, struct wheel_timer, node)->armed = false;
			list_push_back(fired, n);
		}
	}
}

uint64_t wheel_next_ns(const struct wheel *w)
{
	if (w->armed == 0)
		return UINT64_MAX;
	for (unsigned i = 1; i <= WHEEL_SLOTS; i++) {
		uint64_t t = w->now_tick + i;
		if (!list_empty(&w->slots[0][t & SLOT_MASK]) || (t & SLOT_MASK) == 0)
			return t * w->tick_ns; /* a timer, or a cascade that may bring one */
	}
	return (w->now_tick + WHEEL_SLOTS) * w->tick_ns;
}
