/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_SHARD_QUOTA_H
#define MR_SHARD_QUOTA_H

#include <stdint.h>

#include "kafka/image.h"

/*
 * What clients have used of their quotas at one shard. PURE; the time is an argument. Each shard
 * gives out its share, the quota divided by the number of shards.
 *
 * A user of a quota has a clock that every byte (or ns of work) moves on by what it costs at the
 * quota's rate; it may lag behind the time by one second (a burst), and how far it is ahead is how
 * long the client has to be throttled (KIP-219).
 *
 * The table is of fixed size: those whose clock is not ahead need no place. When all places of a
 * set are taken, the one that is least ahead is shared.
 */

#define QUOTA_SETS 1024u
#define QUOTA_WAYS 4u
#define QUOTA_BURST_NS 1000000000ull

struct quota_user {
	uint64_t key; /* hash of what it is; 0: free */
	uint64_t clock_ns;
};
struct quota_table {
	uint64_t seed; /* random: which clients share a place cannot be foreseen */
	struct quota_user users[QUOTA_SETS][QUOTA_WAYS];
};

/*
 * The client has used `amount` (bytes, or ns of a thread for QUOTA_REQUEST) at now_ns. Nanoseconds
 * for which it has to be throttled; 0: it is within its quota, or has none. shards > 0.
 */
uint64_t quota_use(struct quota_table *t, const struct image *im, uint16_t shards, struct kstr user,
	struct kstr client, enum image_quota_kind kind, uint64_t amount, uint64_t now_ns);

#endif
