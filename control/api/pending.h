/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_CONTROL_PENDING_H
#define MR_CONTROL_PENDING_H

#include "control/api/ctl.h"

/*
 * A request whose answer waits until every shard serves what it has changed, or for its timeout.
 * Lives in one allocation together with the arena of its decoded request and its response.
 */
struct pending {
	struct ctl_wait wait;
	struct ctl_timer timer;
	struct msg *m;
	struct arena arena;
	/* Answers m; timed_out: in time it was not. The pending is freed afterwards. */
	void (*respond)(struct ctl *c, struct pending *p, bool timed_out);
	void *response; /* the handler's */
};

/* NULL: no memory; m has been hung up. */
struct pending *pending_new(struct ctl *c, struct msg *m,
	void (*respond)(struct ctl *c, struct pending *p, bool timed_out));
/* Answers now. */
void pending_finish(struct ctl *c, struct pending *p, bool timed_out);
/* Answers when all shards serve what was changed so far, or after timeout_ms. */
void pending_wait(struct ctl *c, struct pending *p, int32_t timeout_ms);
/* Without an answer: m has been hung up. */
void pending_free(struct pending *p);

#endif
