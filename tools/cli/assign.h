/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_TOOLS_CLI_ASSIGN_H
#define MR_TOOLS_CLI_ASSIGN_H

#include "kafka/wire.h"

/* The range assignor of the classic group protocol, as Java's clients have it. Pure. */

struct assign_topic {
	struct kstr name;
	int32_t partitions;
};

/* A member that subscribes, and its assignment as it is written. */
struct subscriber {
	struct kstr id;
	struct kbytes subscription; /* ConsumerProtocolSubscription */
	struct wr out;	/* ConsumerProtocolAssignment, version 0; into the caller's memory */
	int32_t topics; /* in it */
};

/* Writes a subscription of one topic; its length, 0 when it does not fit. */
size_t subscription_write(struct kstr topic, uint8_t *out, size_t size);
/* The n-th topic that a subscription names; false: it has no more, or is none. */
bool subscription_topic(struct kbytes subscription, int32_t n, struct kstr *topic);
/* What an assignment of all these topics takes at most. */
size_t assign_bound(const struct assign_topic *topics, int32_t count);
/*
 * Gives each topic's partitions to those who subscribe to it, in order of their ids: runs of equal
 * length, the first ones longer by one. Sorts the subscribers.
 */
void assign_range(struct subscriber *subs, int32_t count, const struct assign_topic *topics,
	int32_t topic_count);

#endif
