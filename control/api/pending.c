/* SPDX-License-Identifier: Apache-2.0 */
#include "control/api/pending.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"

static void served(struct ctl *c, struct ctl_wait *wait)
{
	struct pending *p = container_of(wait, struct pending, wait);
	ctl_timer_cancel(c, &p->timer);
	pending_finish(c, p, false);
}

static void expired(struct ctl *c, struct ctl_timer *timer)
{
	struct pending *p = container_of(timer, struct pending, timer);
	ctl_wait_cancel(&p->wait);
	pending_finish(c, p, true);
}

struct pending *pending_new(struct ctl *c, struct msg *m,
	void (*respond)(struct ctl *c, struct pending *p, bool timed_out))
{
	size_t size = ctl_arena_size(m);
	size_t head = align_up(sizeof(struct pending), 16);
	struct pending *p = malloc(head + size);
	if (!p) {
		ctl_hang_up(c, m);
		return NULL;
	}
	*p = (struct pending){.m = m, .respond = respond, .wait = {.done = served}};
	list_init(&p->wait.node);
	ctl_timer_init(&p->timer, expired);
	arena_init(&p->arena, (uint8_t *)p + head, size);
	return p;
}

void pending_free(struct pending *p)
{
	free(p);
}

void pending_finish(struct ctl *c, struct pending *p, bool timed_out)
{
	p->respond(c, p, timed_out);
	pending_free(p);
}

void pending_wait(struct ctl *c, struct pending *p, int32_t timeout_ms)
{
	if (timeout_ms <= 0) {
		pending_finish(c, p, true);
		return;
	}
	ctl_timer_arm(c, &p->timer, ctl_now_ns(c) + (uint64_t)timeout_ms * NS_PER_MS);
	ctl_when_served(c, &p->wait);
}
