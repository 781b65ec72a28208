/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_GROUP_INT_H
#define MR_GROUP_INT_H

#include "base/bytes.h"
#include "base/check.h"
#include "base/list.h"
#include "base/wheel.h"
#include "control/group/group.h"
#include "control/group/map.h"
#include "control/group/record.h"
#include "kafka/errcode.h"

/* Private to control/group. */

#define GRP_NS_PER_MS 1000000ull
/* Of a client id or instance id, what becomes part of a member id. */
#define GRP_ID_PREFIX_MAX 1024

enum grp_state {
	GRP_EMPTY,
	GRP_PREPARING,
	GRP_COMPLETING,
	GRP_STABLE,
	GRP_DEAD,
	GRP_CONSUMER, /* has members of the consumer protocol (con.h) */
	GRP_STATES,
};

enum grp_timer_kind {
	GRP_T_EXPIRY,	   /* core: look for offsets to expire */
	GRP_T_JOIN,	   /* group: the join phase ends */
	GRP_T_SYNC,	   /* group: members that did not sync are dropped */
	GRP_T_PENDING,	   /* pending member id: forgotten */
	GRP_T_SESSION,	   /* member: session timeout, or the patience with a new member's join */
	GRP_T_CON_SESSION, /* member of the consumer protocol: session timeout */
	GRP_T_CON_REVOKE,  /* it has to give up partitions */
	GRP_T_CON_REJOIN,  /* one of the classic protocol in such a group has to join, or sync */
};
struct grp_timer {
	struct wheel_timer t;
	enum grp_timer_kind kind;
};

enum grp_write_kind {
	GRP_W_COMMIT,	      /* offsets; the token's answer is w->answer */
	GRP_W_SYNC,	      /* the leader's assignment; parked syncs wait for it */
	GRP_W_STATIC,	      /* a static member's new id; the token joins */
	GRP_W_EMPTY,	      /* generation of a group without members; nobody waits */
	GRP_W_DROP,	      /* tombstones; nobody waits */
	GRP_W_DELETE_OFFSETS, /* tombstones; the token's answer is w->deleted */
	GRP_W_DELETE_GROUP,   /* tombstones; grp.deletion waits */
	GRP_W_CON,	      /* of a consumer group; answers wait in the group */
};

/* What a member offers, in its order of preference. One allocation. */
struct grp_protocol {
	struct kstr name;
	struct kbytes metadata;
};
struct grp_protocols {
	int32_t count;
	struct grp_protocol v[];
};

struct grp_member {
	struct map_node by_id;	     /* key: id */
	struct map_node by_instance; /* key: instance; only static members are in the table */
	struct list node;	     /* of grp.members, in order of joining */
	struct grp *group;
	struct kstr id;
	struct kstr instance; /* null: dynamic */
	struct kstr client_id;
	struct kstr client_host;
	int32_t rebalance_ms;
	int32_t session_ms;
	struct grp_protocols *protocols;
	struct kbytes assignment; /* empty: len 0 */
	void *join_token;	  /* parked JoinGroup */
	void *sync_token;	  /* parked SyncGroup */
	bool is_new;		  /* has not been told its id yet: its parked join times out */
	bool pending_sync;	  /* has not sent SyncGroup in this generation */
	struct grp_timer session;
};

/* An id given to a new member that has to come back with it (KIP-394). */
struct grp_pending {
	struct map_node by_id;
	struct list node; /* of grp.pending */
	struct grp *group;
	struct kstr id;
	struct grp_timer timer;
};

struct grp_con; /* con.h */

struct grp_topic {
	struct map_node by_name;
	struct list node; /* of grp.topics */
	struct kstr name;
	uint32_t count, room;
	struct grp_offset *v; /* in order of partition */
};

/* A group's part of a DeleteGroups request. */
struct grp_deletion {
	struct grp_deletions *all;
	uint32_t index;
};

struct grp {
	struct map_node by_id;
	struct list node; /* of core.groups */
	struct grp_core *core;
	struct kstr id;
	uint32_t partition; /* of __consumer_offsets */
	enum grp_state state;
	int64_t state_ms; /* wall clock of the last change of state; -1: not known */
	int32_t generation;
	struct kstr protocol_type; /* "": none */
	struct kstr protocol;	   /* null: none */
	struct grp_member *leader;
	bool unled;	     /* was a consumer group: its members have to share out anew */
	struct list members; /* struct grp_member */
	struct map members_by_id;
	struct map members_by_instance;
	uint32_t joining;    /* members with a parked join */
	uint32_t unsynced;   /* members with pending_sync */
	struct list pending; /* struct grp_pending */
	struct map pending_by_id;
	struct grp_timer join_timer;
	struct grp_timer sync_timer;
	bool initial;		 /* the join phase of an empty group: it waits for more members */
	bool member_added;	 /* meanwhile */
	int32_t initial_left_ms; /* how far it may still be extended */
	struct grp_write *sync_write;
	struct grp_con *con;	       /* NULL: of the classic protocol, or of none */
	struct grp_deletion *deletion; /* NULL: stays */
	uint32_t writes;	       /* out */
	bool stored;		       /* the log has a record of the group itself */
	struct list topics;	       /* struct grp_topic */
	struct map topics_by_name;
	uint32_t offsets;
};

struct grp_core {
	struct grp_config cfg;
	struct grp_sink sink;
	struct wheel wheel;
	struct list groups;
	struct map groups_by_id;
	struct list dead; /* groups with writes out */
	uint32_t partitions;
	uint8_t *loaded; /* by partition */
	bool draining;
	int32_t con_lives;	   /* consumer groups that were begun: each has its number */
	const struct image *image; /* topics; NULL before the first */
	struct grp_timer expiry;
	struct grp_stats stats;
};

/* ---- group.c ---- */
void *grp_mem_get(struct grp_core *c, size_t n); /* zeroed; NULL: beyond max_bytes */
void grp_mem_put(struct grp_core *c, void *p);	 /* NULL is harmless */
/* A copy, terminated; null when s is. False: no memory. */
bool grp_str_dup(struct grp_core *c, struct kstr s, struct kstr *out);
void grp_str_free(struct grp_core *c, struct kstr *s);
/* The only writer of g->state. */
void grp_set_state(struct grp *g, enum grp_state to, struct grp_now now);
/* The error that keeps a request for this group from being looked at, or KE_NONE. */
int16_t grp_admit(const struct grp_core *c, struct kstr id);
struct grp *grp_get(const struct grp_core *c, struct kstr id);
/* A new, empty group; NULL: a limit was reached. */
struct grp *grp_new(struct grp_core *c, struct kstr id, struct grp_now now);
/* Answers whatever is parked with `error`, and frees the group, or leaves that to its last write.
 */
void grp_kill(struct grp *g, int16_t error, struct grp_now now);
void grp_timer_init(struct grp_timer *t, enum grp_timer_kind kind);
void grp_arm(struct grp_core *c, struct grp_timer *t, struct grp_now now, int32_t ms);
void grp_disarm(struct grp_core *c, struct grp_timer *t);
const char *grp_state_name(enum grp_state s);

/* ---- group_member.c ---- */
struct grp_member *grp_member_find(const struct grp *g, struct kstr id);
struct grp_member *grp_member_static(const struct grp *g, struct kstr instance);
struct grp_pending *grp_pending_find(const struct grp *g, struct kstr id);
struct grp_pending *grp_pending_add(struct grp *g, struct kstr id);
void grp_pending_drop(struct grp *g, struct grp_pending *p);
/* What a member is made of; borrowed. */
struct grp_joiner {
	const struct grp_client *client;
	struct kstr id;
	struct kstr instance;
	int32_t rebalance_ms;
	int32_t session_ms;
	const struct grp_protocol *protocols;
	int32_t count;
};
/* One allocation; NULL: no memory. */
struct grp_protocols *grp_protocols_dup(
	struct grp_core *c, const struct grp_protocol *v, int32_t n);
/* Adds a member, parked nowhere; NULL: no memory. */
struct grp_member *grp_member_add(struct grp *g, const struct grp_joiner *j);
/* New timeouts and protocols; false: no memory, nothing was changed. */
bool grp_member_update(struct grp_member *m, const struct grp_joiner *j);
bool grp_member_rename(struct grp_member *m, struct kstr id);
bool grp_member_set_assignment(struct grp_member *m, struct kbytes a);
/* Takes it out; answers what it has parked with `error`. The state is the caller's to look after:
   grp_member_gone. */
void grp_member_drop(struct grp_member *m, int16_t error, struct grp_now now);
void grp_member_gone(struct grp *g, struct grp_now now);
void grp_session_restart(struct grp_member *m, struct grp_now now);
void grp_session_expired(struct grp_member *m, struct grp_now now);
void grp_pending_expired(struct grp_pending *p, struct grp_now now);
/* KE_NONE, UNKNOWN_MEMBER_ID or FENCED_INSTANCE_ID; *out is the member. */
int16_t grp_member_validate(
	const struct grp *g, struct kstr id, struct kstr instance, struct grp_member **out);
/* Metadata for one protocol; null: not offered. */
struct kbytes grp_metadata_of(const struct grp_member *m, struct kstr protocol);

/* ---- group_join.c ---- */
/* False: no memory. */
bool grp_set_protocol_type(struct grp *g, struct kstr type);
void grp_reply_join_error(struct grp_core *c, void *token, struct kstr member_id, int16_t error);
/* Parks the join of m; what it had parked before is answered. */
void grp_park_join(struct grp_member *m, void *token, struct grp_now now);
/* Answers the parked join, if any. */
void grp_answer_join(struct grp_member *m, int16_t error, struct grp_now now);
/* Answers token with the current generation. skip: the leader need not assign (KIP-814). */
void grp_reply_joined(struct grp_member *m, void *token, bool skip, struct kstr leader);

/* ---- group_rebalance.c ---- */
bool grp_supports(const struct grp *g, struct kstr type, const struct grp_protocol *p, int32_t n);
/* The protocol that the members vote for; the group must have members. */
struct kstr grp_select_protocol(const struct grp *g);
/* False: no memory. */
bool grp_set_protocol(struct grp *g, struct kstr protocol);
/* Begins a rebalance where the state allows one. */
void grp_rebalance_maybe(struct grp *g, struct grp_now now);
/* Ends the join phase if everybody has joined. */
void grp_join_phase_check(struct grp *g, struct grp_now now);
void grp_join_timer_fired(struct grp *g, struct grp_now now);
void grp_sync_timer_fired(struct grp *g, struct grp_now now);

/* ---- group_sync.c ---- */
/* Answers the parked sync, if any: KE_NONE with the assignment. */
void grp_answer_sync(struct grp_member *m, int16_t error, struct grp_now now);
/* Drops all assignments and answers all parked syncs with error. */
void grp_fail_syncs(struct grp *g, int16_t error, struct grp_now now);
/* m has sent SyncGroup, or need not any more. */
void grp_sync_synced(struct grp_member *m);
void grp_sync_written(struct grp *g, struct grp_write *w, int16_t error, struct grp_now now);
void grp_static_written(struct grp *g, struct grp_write *w, int16_t error, struct grp_now now);

/* ---- group_write.c ---- */
/* Collects records, twice: first to count, then to write. */
struct grp_recs {
	struct wr w;
	uint32_t count;
};
/* Of a record in a batch, beyond key, value and the two lengths of a write: at most 32 in all. */
#define GRP_RECORD_OVERHEAD 24u
#define GRP_NO_VALUE UINT32_MAX /* the length of a tombstone's value */
/* What is written between begin and end gets its length in front of it. */
struct grp_mark {
	uint8_t *len;
	size_t start;
};
struct grp_mark grp_rec_begin(struct wr *w);
void grp_rec_end(struct wr *w, struct grp_mark m);
void grp_rec_offset(struct grp_recs *r, const struct grp *g, struct kstr topic, int32_t partition,
	const struct rec_offset *o); /* o NULL: tombstone */
void grp_rec_group(struct grp_recs *r, const struct grp *g);
void grp_rec_group_drop(struct grp_recs *r, const struct grp *g);
/*
 * A write of what `fill` adds. NULL with *error: INVALID_COMMIT_OFFSET_SIZE (too large) or
 * COORDINATOR_NOT_AVAILABLE (no memory). Nothing is sent yet.
 */
struct grp_write *grp_write_new(struct grp *g, enum grp_write_kind kind,
	void (*fill)(struct grp_recs *r, struct grp *g, void *arg), void *arg, struct grp_now now,
	int16_t *error);
/* Sends it to the sink. */
void grp_write_send(struct grp_write *w);
/* One that was not sent. */
void grp_write_free(struct grp_core *c, struct grp_write *w);
/* Writes the group's generation and members as they are; answers no token. NULL as above. */
struct grp_write *grp_write_group(
	struct grp *g, enum grp_write_kind kind, struct grp_now now, int16_t *error);
/* What a client is told of a failed append. */
int16_t grp_append_error(int16_t error, bool offsets);

/* ---- group_offsets.c ---- */
bool grp_offset_set(
	struct grp *g, struct kstr topic, int32_t partition, const struct rec_offset *o);
void grp_offset_drop(struct grp *g, struct kstr topic, int32_t partition);
void grp_offsets_clear(struct grp *g);
void grp_commit_written(struct grp *g, struct grp_write *w, int16_t error);

/* ---- group_delete.c ---- */
void grp_delete_offsets_written(struct grp *g, struct grp_write *w, int16_t error);
void grp_delete_group_written(struct grp *g, struct grp_write *w, int16_t error);
/* No write of the group is out any more: the next tombstones, or the end of the group. */
void grp_deletion_step(struct grp *g, struct grp_now now);
/* Answers it, if there is one. */
void grp_deletion_end(struct grp *g, int16_t error);

/* ---- group_expire.c ---- */
/* Whether members subscribe to the topic; also true when it cannot be told. */
bool grp_reads(const struct grp *g, struct kstr topic);
void grp_expire_all(struct grp_core *c, struct grp_now now);

/* ---- group_check.c ---- */
void grp_check_group(const struct grp *g);

#endif
