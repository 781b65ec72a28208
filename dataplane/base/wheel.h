/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_BASE_WHEEL_H
#define MR_BASE_WHEEL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

/*
 * Hashed hierarchical timer wheel, one per owner thread, given the time by its caller. Four levels
 * of 64 slots; tick length in nanoseconds is set at init. A timer never fires early; it fires at
 * the first wheel_advance at or after its deadline rounded up to the tick.
 */
#define WHEEL_LEVELS 4
#define WHEEL_SLOTS 64

struct wheel_timer {
	struct list node;
	uint64_t deadline_ns; /* as asked for */
	uint64_t tick;
	bool armed; /* in the wheel; false when idle and when on a list of fired timers */
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
/* Takes t out of the wheel, or off the list of fired timers that it waits on. Harmless otherwise.
 */
void wheel_cancel(struct wheel *w, struct wheel_timer *t);
static inline bool wheel_timer_armed(const struct wheel_timer *t)
{
	return t->armed;
}
/* Moves the time on and appends every timer that is due to `fired` (unarmed again; in tick order).
 */
void wheel_advance(struct wheel *w, uint64_t now_ns, struct list *fired);
/*
 * When to call wheel_advance next: never after the time at which a timer would fire, maybe before
 * it (a cascade). UINT64_MAX when nothing is armed.
 */
uint64_t wheel_next_ns(const struct wheel *w);

#endif
