/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_GROUP_RECORD_H
#define MR_GROUP_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "kafka/wire.h"

/*
 * Keys and values of __consumer_offsets, byte for byte Kafka's own, so that tools which read the
 * topic directly understand it. PURE. (Kafka: OffsetCommitKey/Value, GroupMetadataKey/Value,
 * ConsumerGroup...Key/Value.)
 *
 *   key 0, 1  group string, topic string, partition int32    value 0-3: an offset
 *   key 2     group string                                   value 0-3: generation and members
 *   key 3     group string                                   value 0: group epoch
 *   key 5     group string, member string                    value 0: its subscription
 *   key 6     group string                                   value 0: epoch of the assignment
 *   key 7     group string, member string                    value 0: what it shall own
 *   key 8     group string, member string                    value 0: its epoch, and what it owns
 *
 * Every key and value begins with its version as int16; a null value is a tombstone.
 */
enum rec_kind {
	REC_UNKNOWN, /* a kind that this broker does not write (newer group types) */
	REC_OFFSET,
	REC_GROUP,
	/* of a consumer group (KIP-848) */
	REC_CON_GROUP,	      /* its epoch */
	REC_CON_MEMBER,	      /* a member's subscription */
	REC_CON_TARGET_EPOCH, /* of its assignment */
	REC_CON_TARGET,	      /* what is assigned to a member */
	REC_CON_CURRENT,      /* what a member owns */
};

struct rec_key {
	enum rec_kind kind;
	struct kstr group;
	struct kstr topic;
	int32_t partition;
	struct kstr member; /* of REC_CON_MEMBER, _TARGET and _CURRENT */
};

struct rec_offset {
	int64_t offset;
	int32_t leader_epoch; /* -1: none */
	struct kstr metadata;
	int64_t commit_ms;
	int64_t expire_ms; /* -1: none */
};

struct rec_member {
	struct kstr id;
	struct kstr instance; /* null: dynamic */
	struct kstr client_id;
	struct kstr client_host;
	int32_t rebalance_ms;
	int32_t session_ms;
	struct kbytes subscription;
	struct kbytes assignment;
};

struct rec_group {
	struct kstr protocol_type;
	int32_t generation;
	struct kstr protocol; /* null: none */
	struct kstr leader;   /* null: none */
	int64_t state_ms;     /* -1: not known */
	int32_t member_count;
	int32_t left; /* of them, for rec_member_next */
	int16_t version;
	struct rd members; /* for rec_member_next */
};

/* False: malformed. Slices of the input. */
bool rec_key_read(struct kbytes key, struct rec_key *out);
bool rec_offset_read(struct kbytes value, struct rec_offset *out);
/* Checks the members too: rec_member_next then succeeds member_count times. */
bool rec_group_read(struct kbytes value, struct rec_group *out);
bool rec_member_next(struct rec_group *g, struct rec_member *out);

/* Key version 1 with value version 3, or 1 when there is a time to expire at (as Kafka). */
void rec_offset_key_write(struct wr *w, struct kstr group, struct kstr topic, int32_t partition);
void rec_offset_write(struct wr *w, const struct rec_offset *o);
/* Key version 2, value version 3. The members follow the group's fields, one by one. */
void rec_group_key_write(struct wr *w, struct kstr group);
void rec_group_write(struct wr *w, const struct rec_group *g);
void rec_member_write(struct wr *w, const struct rec_member *m);

void rec_con_key_write(struct wr *w, enum rec_kind kind, struct kstr group, struct kstr member);

#endif
