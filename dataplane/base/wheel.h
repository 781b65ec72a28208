/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_BASE_WHEEL_H
#define MR_BASE_WHEEL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

/*
 * Hashed hierarchical timer wheel, one per owner thread, given the time by its caller. Four levels of
 * 64 slots; tick length in nanoseconds is set at init. A timer never fires early; it fires at the
 * first wheel_advance at or after its deadline rounded up to the tick.
 */
#define WHEEL_LEVELS 4
#define WHEEL_SLOTS 64

struct wheel_timer {
	struct list node;
	uint64_t deadline_ns; /* as asked for */
	uint64_t tick;
};

struct wheel {
	uint64_t tick_ns;
	uint64_t now_tick;
	uint32_t armed; /* timers linked */
	struct list slots[WHEEL_LEVELS][WHEEL_SLOTS];
};

void wheel_init(struct wheel *w, uint64_t now_ns, uint64_t tick_ns);
void wheel_timer_init(struct wheel_timer *t);
/* Arms (or re-arms) t. The wheel borrows t until it fires or is cancelled. */
void wheel_arm(struct wheel *w, struct wheel_timer *t, uint64_t deadline_ns);
/* Harmless when t is not armed. */
void wheel_cancel(struct wheel *w, struct wheel_timer *t);
static inline bool wheel_timer_armed(const struct wheel_timer *t)
{
	return list_linked(&t->node);
}
/* Moves the time on and appends every timer that is due to `fired` (unarmed again; in tick order). */
void wheel_advance(struct wheel *w, uint64_t now_ns, struct list *fired);
/* A time at or before the next deadline, never later; UINT64_MAX when nothing is armed. */
uint64_t wheel_next_ns(const struct wheel *w);

#endif
