/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_GROUP_GROUP_H
#define MR_GROUP_GROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "kafka/messages.h"
#include "kafka/wire.h"

/*
 * The group coordinator: consumer groups of both protocols, and committed offsets. PURE: a
 * state machine that is given requests, the time, random bytes and the outcome of its writes, and
 * gives answers and records of __consumer_offsets to its sink. Owned by the control thread.
 *
 *             first join              join phase over, members        leader's assignment durable
 *   EMPTY ───────────────► PREPARING ─────────────────────► COMPLETING ───────────────► STABLE
 *     │ ▲                   │ ▲ ▲ ▲                             │                         │
 *     │ └─ all members gone ┘ │ │ └── member joins, leaves, ────┘                         │
 *     │                       │ │     changes, or does not sync                           │
 *     │                       │ └─────────────────────────────────────────────────────────┘
 *     └─► DEAD (nothing left of it, or this broker is no longer its coordinator; also from
 *               every other state)
 *
 * The picture is of the classic protocol. Groups of the consumer protocol (KIP-848, con.h) are
 * CONSUMER while they have members, else EMPTY; an empty group becomes one of either protocol. One
 * with members becomes one of the consumer protocol when the first of these joins, and the other
 * way round (to STABLE, and at once PREPARING) when the last of these has gone (con_migrate.c).
 *
 * One request is answered exactly once: during the call, or by a later call (parked joins and
 * syncs, commits that wait for the disk). Sources: Kafka's protocol guide, KIP-62 (rebalance
 * timeout), KIP-134 (initial delay), KIP-345 (static members), KIP-394 (member id required),
 * KIP-559 (protocol type and name), KIP-800 (reasons), KIP-814 (skip assignment), KIP-211 (expiry
 * of offsets).
 */

/* The time of an event: ns monotonic, for timeouts; wall_ms since 1970, for what is stored. */
struct grp_now {
	uint64_t ns;
	int64_t wall_ms;
};

/* All bounds of the coordinator. Times in ms. */
struct grp_config {
	int32_t min_session_ms;	      /* group.min.session.timeout.ms */
	int32_t max_session_ms;	      /* group.max.session.timeout.ms */
	int32_t initial_delay_ms;     /* group.initial.rebalance.delay.ms */
	int32_t new_member_ms;	      /* how long a new member's join may be parked */
	int32_t max_size;	      /* group.max.size: members, and as many pending ids */
	int32_t offset_metadata_max;  /* offset.metadata.max.bytes */
	int64_t offsets_retention_ms; /* offsets.retention.minutes */
	int32_t expiry_interval_ms;   /* offsets.retention.check.interval.ms */
	uint32_t max_write_bytes;     /* records of one write; what is larger is refused */
	uint32_t max_groups;
	size_t max_bytes;	       /* all memory of groups, members and offsets */
	int32_t consumer_session_ms;   /* group.consumer.session.timeout.ms */
	int32_t consumer_heartbeat_ms; /* group.consumer.heartbeat.interval.ms */
	int32_t consumer_max_size;     /* group.consumer.max.size: members */
	uint64_t hash_seed;	       /* random: makes the tables' order unforeseeable */
};
/* Kafka's defaults, and bounds for one control thread. */
void grp_config_defaults(struct grp_config *cfg);

struct grp_core;
struct grp;

/*
 * Records for one partition of __consumer_offsets that become durable together. Made by the core,
 * which lends it to the shell between sink.append and grp_written.
 */
struct grp_write {
	struct list node;   /* the shell's */
	uint32_t partition; /* of __consumer_offsets */
	uint32_t count;	    /* records */
	uint32_t len;	    /* bytes that they take in a record batch, at most */
	int64_t timestamp_ms;
	/* the core's */
	int kind;
	struct grp *group;
	void *token; /* to be answered when it is durable; NULL: nobody */
	struct kp_offset_commit_response *answer;  /* what the token of a commit is told */
	struct kp_offset_delete_response *deleted; /* what that of an OffsetDelete is told */
	int32_t generation;
	int16_t version;
	struct kstr member_id; /* of a static member's write: the new id, */
	struct kstr leader_id; /* and the leader that it is told of */
	uint8_t *bytes;
	uint32_t size;
};
/* Goes through the records: *at starts at 0; false at the end. A null value is a tombstone. */
bool grp_write_next(
	const struct grp_write *w, uint32_t *at, struct kbytes *key, struct kbytes *value);

/* Where the outputs go, while a call is under way. Must not call the core. */
struct grp_sink {
	void *ctx;
	/*
	 * Answers the request that came with token. `response` is the kp_..._response of the
	 * request's API; it and all it refers to are borrowed for the call.
	 */
	void (*reply)(void *ctx, void *token, const void *response);
	/* To be made durable, in order per partition, and handed to grp_written. Borrows w until
	   then. */
	void (*append)(void *ctx, struct grp_write *w);
};

/* Gives a coordinator that serves nothing until grp_set_partitions; NULL: no memory. Copies cfg and
   sink. */
struct grp_core *grp_core_open(
	const struct grp_config *cfg, const struct grp_sink *sink, struct grp_now now);
/* After grp_drain, with no write out. */
void grp_core_close(struct grp_core *c);

/* ---- which groups are ours ---- */

/*
 * __consumer_offsets now has n partitions (0: it is gone). All are still to be loaded; groups that
 * were there before are dead. Requests that are parked are answered NOT_COORDINATOR.
 */
int grp_set_partitions(struct grp_core *c, uint32_t n, struct grp_now now);
/*
 * A record of the log, in order of offsets, before grp_loaded of its partition. False: it could not
 * be kept, or is not of a kind that is known (later ones may still be).
 */
bool grp_replay(struct grp_core *c, uint32_t partition, struct kbytes key, struct kbytes value);
/* All of the partition was replayed: its groups are served, members' session timers start. */
void grp_loaded(struct grp_core *c, uint32_t partition, struct grp_now now);
bool grp_is_loaded(const struct grp_core *c, uint32_t partition);
/* Partition of a group: Kafka's Utils.abs(groupId.hashCode()) % partitions. partitions > 0. */
uint32_t grp_partition_of(struct kstr group_id, uint32_t partitions);
/* Java's String.hashCode over the UTF-16 form of s. */
int32_t grp_java_hash(struct kstr s);

/* ---- requests ---- */

/*
 * All take a token that comes back with the answer. The request's arrays are borrowed for the call;
 * its strings and bytes until the answer.
 */

/* Protocols that one member may offer; clients offer one to three. */
#define GRP_PROTOCOLS_MAX 32
/* What the connection says of a member. */
struct grp_client {
	struct kstr id;
	struct kstr host;
};
#define GRP_RANDOM_SIZE 16
/* random: fresh for every call; a member id is made of it. */
void grp_join(struct grp_core *c, struct grp_now now, void *token, int16_t version,
	const struct grp_client *client, const uint8_t random[GRP_RANDOM_SIZE],
	const struct kp_join_group_request *req);
void grp_sync(struct grp_core *c, struct grp_now now, void *token,
	const struct kp_sync_group_request *req);
void grp_heartbeat(struct grp_core *c, struct grp_now now, void *token,
	const struct kp_heartbeat_request *req);
void grp_leave(struct grp_core *c, struct grp_now now, void *token, int16_t version,
	const struct kp_leave_group_request *req);

/*
 * KIP-848. Subscriptions are to topics of the image that grp_set_image has given. The answer comes
 * when what it says is durable.
 */
void grp_consumer_heartbeat(struct grp_core *c, struct grp_now now, void *token, int16_t version,
	const struct grp_client *client, const uint8_t random[GRP_RANDOM_SIZE],
	const struct kp_consumer_group_heartbeat_request *req);
/* The topics from now on; NULL: none. Borrowed until the next one is set. */
struct image;
void grp_set_image(struct grp_core *c, const struct image *image);
/* Says whether an offset of this partition may be committed: a Kafka error code. */
struct grp_topic_check {
	void *ctx;
	int16_t (*check)(
		void *ctx, const struct kp_offset_commit_request_topic *t, int32_t partition);
};
/* Topics must have their names, also where the wire has ids. check NULL: all may. */
void grp_commit(struct grp_core *c, struct grp_now now, void *token, int16_t version,
	const struct kp_offset_commit_request *req, const struct grp_topic_check *check);

/* The same for a topic by its name. */
struct grp_partition_check {
	void *ctx;
	int16_t (*check)(void *ctx, struct kstr topic, int32_t partition);
};
/* Forgets offsets (KIP-496), unless members read the topic. check NULL: all partitions may be
 * named. */
void grp_delete_offsets(struct grp_core *c, struct grp_now now, void *token,
	const struct kp_offset_delete_request *req, const struct grp_partition_check *check);
/*
 * Deletes groups without members, with their offsets (KIP-229). No name may be there twice. Until
 * it is durable, requests for the group are told COORDINATOR_LOAD_IN_PROGRESS.
 */
void grp_delete_groups(struct grp_core *c, struct grp_now now, void *token,
	const struct kp_delete_groups_request *req);

/* One committed offset. */
struct grp_offset {
	int32_t partition;
	int32_t leader_epoch; /* -1: not given */
	int64_t offset;
	int64_t commit_ms;    /* wall clock */
	int64_t expire_ms;    /* -1: by the broker's retention */
	struct kstr metadata; /* never null */
};
/* The offsets of one topic in a group. */
struct grp_topic;
/*
 * For OffsetFetch: whether the group can be asked: KE_NONE with *out = the group, NULL when there
 * is none; or the error of the whole group. *out is good until the next call that changes anything.
 */
int16_t grp_find(struct grp_core *c, struct kstr group_id, const struct grp **out);
/* The same for a member that says who it is (OffsetFetch from version 9 on); a null id or an epoch
   below 0: nobody does. */
int16_t grp_find_for(struct grp_core *c, struct kstr group_id, struct kstr member_id, int32_t epoch,
	const struct grp **out);
/* NULL: nothing committed. */
const struct grp_offset *grp_offset_find(const struct grp *g, struct kstr topic, int32_t partition);
/* Topics in a fixed order: `after` NULL gives the first one; NULL at the end. */
const struct grp_topic *grp_topic_next(const struct grp *g, const struct grp_topic *after);
struct kstr grp_topic_name(const struct grp_topic *t);
/* Offsets of the topic in order of partition. */
const struct grp_offset *grp_topic_offsets(const struct grp_topic *t, uint32_t *count);

/* ---- the rest of the world ---- */

/* The write is durable (error 0) or has failed (a Kafka error code of the append). Frees w. */
void grp_written(struct grp_core *c, struct grp_now now, struct grp_write *w, int16_t error);
/* Timers that are due. */
void grp_tick(struct grp_core *c, struct grp_now now);
/* When grp_tick has something to do; UINT64_MAX: never. May be early. */
uint64_t grp_next_ns(const struct grp_core *c);
/* Forgets the offsets of topics that are gone, with tombstones. */
void grp_forget_topics(struct grp_core *c, struct grp_now now,
	bool (*gone)(void *ctx, struct kstr topic), void *ctx);
/* The broker stops: answers what is parked with COORDINATOR_NOT_AVAILABLE, and whatever comes from
   now on. Writes that are out still have to come back. */
void grp_drain(struct grp_core *c, struct grp_now now);

/* ---- as tools see it: borrowed until the next call that changes anything ---- */

/* Loaded groups in a fixed order: `after` NULL gives the first one; NULL at the end. */
const struct grp *grp_next(const struct grp_core *c, const struct grp *after);
/* Whether there is nothing left to load: grp_next gives all groups. */
bool grp_all_loaded(const struct grp_core *c);
struct grp_about {
	struct kstr id;
	struct kstr state;	   /* by Kafka's name */
	struct kstr protocol_type; /* "": a group that only commits offsets */
	struct kstr protocol;	   /* "" unless stable */
	bool stable;
	bool consumer; /* of the consumer protocol, KIP-848 */
	uint32_t members;
};
struct grp_about grp_about(const struct grp *g);
struct grp_member;
const struct grp_member *grp_member_next(const struct grp *g, const struct grp_member *after);
struct grp_member_about {
	struct kstr id;
	struct kstr instance; /* null: dynamic */
	struct kstr client_id;
	struct kstr client_host;
	struct kbytes metadata; /* of the protocol; empty, as the assignment, unless stable */
	struct kbytes assignment;
};
struct grp_member_about grp_member_about(const struct grp_member *m);
/*
 * Describes a consumer group into `out`, whose arrays are from `a`; strings are the group's and the
 * image's own. False: `a` is too small; *out is as it was.
 */
struct arena;
bool grp_consumer_describe(const struct grp *g,
	struct kp_consumer_group_describe_response_group *out, struct arena *a);
/* Bytes of `a` that are enough; 0: not a consumer group. */
size_t grp_consumer_describe_size(const struct grp *g);

/* ---- looking at it ---- */

struct grp_stats {
	uint64_t groups;
	uint64_t members;
	uint64_t offsets;
	uint64_t parked; /* joins and syncs */
	uint64_t writes; /* out */
	uint64_t bytes;
	uint64_t rebalances; /* generations begun */
	uint64_t expired_members;
	uint64_t expired_offsets;
	uint64_t failed_writes;
	uint64_t refused; /* for a limit of ours */
};
struct grp_stats grp_core_stats(const struct grp_core *c);
/* CHECKs every invariant of every group. Tests call it after each step. */
void grp_check(const struct grp_core *c);
/* All groups as text: state, generation, members, offsets. The length it would need, as snprintf;
   the same whenever the state is. */
size_t grp_dump(const struct grp_core *c, char *out, size_t size);

#endif
