/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_GROUP_CON_H
#define MR_GROUP_CON_H

#include "base/uuid.h"
#include "control/group/group_int.h"
#include "kafka/image.h"

/*
 * Groups of the consumer protocol (KIP-848). Private to control/group. The coordinator assigns:
 * each change of subscriptions or topics makes a new group epoch, each epoch a target assignment,
 * and each heartbeat takes one member a step towards its target:
 *
 *              nothing to give up, all of the target is free
 *        ┌──────────────────────────────────────────────────────┐
 *        │                    has given it up                    ▼
 *   (any state) ──must give up──► UNREVOKED ───────────────► STABLE, at the target's epoch
 *        │                            │                          ▲
 *        │                            ▼                          │ they are free
 *        └──others own a part──► UNRELEASED ─────────────────────┘
 *
 * Members of the classic protocol may be in it too, while an application moves from one protocol to
 * the other (con_migrate.c); for these JoinGroup is the step, SyncGroup tells them what they have.
 *
 * A partition has at most one owner: whoever it is assigned to, or who has still to give it up.
 * What a member is told waits until the records of it are durable.
 */

enum con_state {
	CON_STABLE = 1, /* the numbers are those of Kafka's records */
	CON_UNREVOKED = 2,
	CON_UNRELEASED = 3,
};

#define CON_EPOCH_LEAVE (-1)
#define CON_EPOCH_LEAVE_STATIC (-2)

/* Partitions, in order: slot of the topic << 32 | partition. */
struct con_set {
	uint64_t *v;
	uint32_t count;
};
static inline uint64_t con_part(uint32_t slot, int32_t partition)
{
	return (uint64_t)slot << 32 | (uint32_t)partition;
}
static inline uint32_t con_slot_of(uint64_t part)
{
	return (uint32_t)(part >> 32);
}
static inline int32_t con_index_of(uint64_t part)
{
	return (int32_t)(uint32_t)part;
}

/* A topic that the group subscribes to or owns partitions of. */
struct con_slot {
	struct map_node by_id; /* key: the bytes of id */
	struct uuid id;
	uint32_t number;      /* index in slots */
	int32_t partitions;   /* as of the last image; 0: not subscribed, or gone */
	uint32_t subscribers; /* by con_refresh */
	uint32_t room;
	struct con_member **owner; /* by partition, below room */
};

/* Names in order, without doubles. One allocation. */
struct con_names {
	uint32_t count;
	struct kstr v[];
};

/* What a regular expression stands for. */
struct con_regex {
	struct list node; /* of grp_con.regexes */
	struct kstr text;
	uint64_t image_epoch;
	struct con_names *names;
	bool used;
};

struct con_member {
	struct map_node by_id;
	struct map_node by_instance;
	struct list node; /* of grp_con.members, in order of joining */
	struct grp *group;
	struct kstr id;
	struct kstr instance; /* null: dynamic */
	struct kstr rack;
	struct kstr client_id;
	struct kstr client_host;
	struct con_names *names; /* NULL: none */
	struct kstr regex;	 /* null: none */
	struct kstr assignor;	 /* null: any */
	int32_t rebalance_ms;
	int32_t epoch;
	int32_t prev_epoch;
	enum con_state state;
	struct con_set assigned;
	struct con_set revoking; /* assigned before, and not given up yet */
	struct con_set target;
	uint32_t *slots; /* that it subscribes to, in order */
	uint32_t n_slots;
	uint32_t index; /* of the assignor */
	/* of the classic protocol: what it offers, NULL: of ours; its own session timeout */
	struct grp_protocols *classic;
	int32_t session_ms;
	bool described; /* its subscription was read from the log, or written */
	/* to be written */
	bool write_subscription;
	bool write_target;
	bool write_current;
	struct grp_timer session;
	struct grp_timer revoke;
	struct grp_timer rejoin; /* of the classic protocol: it has to join, or to sync */
};

/* A member that has left: its records are to be dropped. */
struct con_gone {
	struct list node;
	struct kstr id;
};

enum con_reply_kind { CON_R_HEARTBEAT, CON_R_JOIN, CON_R_SYNC };

/* An answer that waits for the write before it. What it refers to follows it. */
struct con_reply {
	struct list node;
	void *token;
	uint64_t after;
	enum con_reply_kind kind;
	union {
		struct kp_consumer_group_heartbeat_response res;
		struct kp_join_group_response join;
		struct kp_sync_group_response sync;
	};
	struct kp_consumer_group_heartbeat_response_assignment assignment;
	char id[40];
};

struct grp_con {
	struct grp *group;
	int32_t epoch;
	int32_t target_epoch;
	uint64_t hash; /* of the topics that are subscribed to */
	uint64_t image_epoch;
	bool stale;	    /* subscriptions have changed since con_refresh */
	int32_t life;	    /* tells its writes from those of one before */
	uint32_t n_classic; /* members of the classic protocol */
	struct list members;
	struct map by_id;
	struct map by_instance;
	struct list regexes;
	struct con_slot **slots;
	uint32_t n_slots, room_slots;
	struct map slots_by_id;
	/* to be written */
	bool write_epoch;
	bool write_target_epoch;
	bool was_classic;  /* the log has a record of the classic group that it was */
	bool drop_classic; /* that record */
	struct list gone;
	/* writes */
	uint64_t sent, done;
	struct list replies; /* struct con_reply, in order of `after` */
};

/* ---- con_set.c: sets; false: no memory, *out is empty ---- */
bool con_set_copy(struct grp_core *c, const uint64_t *v, uint32_t n, struct con_set *out);
void con_set_free(struct grp_core *c, struct con_set *s);
bool con_set_has(const struct con_set *s, uint64_t part);
bool con_set_equal(const struct con_set *a, const struct con_set *b);
bool con_set_within(const struct con_set *a, const struct con_set *b); /* all of a is in b */
bool con_set_meet(const struct con_set *a, const struct con_set *b);   /* something is in both */
/* Those of a that are in b (in = true), or are not. */
bool con_set_filter(struct grp_core *c, const struct con_set *a, const struct con_set *b, bool in,
	struct con_set *out);
void con_sort(uint64_t *v, uint32_t n);
/* Sorted copies of names, without doubles and nulls. NULL: no memory. */
struct con_names *con_names_new(struct grp_core *c, const struct kstr *v, uint32_t n);
bool con_names_equal(const struct con_names *a, const struct con_names *b);
int con_kstr_order(struct kstr a, struct kstr b);

/* ---- con_group.c: the group, its topics, members and partitions ---- */
/* Makes a consumer group of one that has no members. False: no memory. */
bool con_begin(struct grp *g);
/* Its two steps: an empty con; and what was the classic group's is now con's. */
bool con_make(struct grp *g);
void con_take_over(struct grp *g);
/* Frees it; answers that wait get `error`. */
void con_end(struct grp *g, int16_t error);
/* The slot of a topic; UINT32_MAX: no memory. */
uint32_t con_slot_get(struct grp_con *con, const struct uuid *id);
struct con_slot *con_slot_find(const struct grp_con *con, const struct uuid *id);
/* Nobody has what m has. */
void con_disown(struct con_member *m);
/* Takes both sets; the partitions get or lose their owner. CHECKs that the new ones are free. */
bool con_own(struct con_member *m, struct con_set assigned, struct con_set revoking);
/* The owner of what it has, that nobody had: after a replay. */
void con_own_as_is(struct con_member *m);
struct con_member *con_owner_of(const struct grp_con *con, uint64_t part);
/* False: no memory for the owner of this partition. */
bool con_owner_room(struct grp_con *con, uint64_t part);
/* A new group epoch: with the next heartbeat there is a new target assignment. */
void con_bump(struct grp_con *con);
void con_state_follow(struct grp *g, struct grp_now now);
const char *con_state_name(const struct grp_con *con);

/* ---- con_member.c ---- */
struct con_member *con_member_find(const struct grp_con *con, struct kstr id);
struct con_member *con_member_static(const struct grp_con *con, struct kstr instance);
struct con_member *con_member_new(struct grp *g, struct kstr id, struct kstr instance);
/* Takes it out, with what it owns; `drop`: its records go too. */
void con_member_remove(struct con_member *m, bool drop);
/* The same for one that has left or is let go: a new group epoch. con_settle has to follow. */
void con_member_gone(struct con_member *m, struct grp_now now);
/* After members have gone. The group may be of the classic protocol then. False: as con_flush. */
bool con_settle(struct grp *g, struct grp_now now);
/* A static member under a new id has what the one before had, which goes. NULL: no memory. */
struct con_member *con_member_replace(struct con_member *old, struct kstr id);
/* Puts `now` in the place of *s if it differs. -1: no memory; 1: it did. */
int con_set_text(struct grp_core *c, struct kstr *s, struct kstr now);
/* The same for the topics that it subscribes to by name. */
int con_set_names(struct con_member *m, const struct kstr *v, uint32_t n);
/* Takes what it offers as one of the classic protocol; NULL: it is not. */
void con_member_classic(struct con_member *m, struct grp_protocols *offers);
void con_session_restart(struct con_member *m, struct grp_now now);
void con_session_expired(struct con_member *m, struct grp_now now);
void con_revoke_expired(struct con_member *m, struct grp_now now);

/* ---- con_topics.c ---- */
/* Finds out which topics the members subscribe to, and con->hash of them. False: no memory. */
bool con_refresh(struct grp *g);
/* KE_INVALID_REGULAR_EXPRESSION or KE_NONE. */
int16_t con_regex_check(struct kstr text);
/* Whether the targets are all partitions of the topics that are subscribed to. After con_refresh.
 */
bool con_targets_whole(const struct grp_con *con);
bool con_reads(const struct grp_con *con, struct kstr topic);

/* ---- con_assign.c ---- */
bool con_assignor_known(struct kstr name);
const char *con_assignor_of(const struct grp_con *con);
/* New targets for all members, for con->epoch. False: no memory, nothing was changed. */
bool con_assign(struct grp *g);

/* ---- con_reconcile.c ---- */
/* One step of m towards its target. owned NULL: it did not say. False: no memory. */
bool con_reconcile(struct con_member *m, const struct con_set *owned, struct grp_now now);
/* Whether nobody else has any of m's target. */
bool con_target_free(const struct con_member *m);

/* ---- con_heartbeat.c ---- */
/* A new target assignment if one is due; changed: subscriptions have. A Kafka error code. */
int16_t con_follow(struct grp *g, bool changed);
/* A commit of, or a fetch by, a member. */
int16_t con_validate(const struct grp *g, struct kstr member_id, int32_t epoch);

/* ---- con_embedded.c: what members of the classic protocol say to each other ---- */
struct con_offer {
	struct con_names *names;
	struct con_set owned;
	struct kstr rack; /* borrowed */
};
/* Reads a ConsumerProtocolSubscription; the offer is to be freed, also after an error. */
int16_t con_offer_read(struct grp_con *con, struct kbytes metadata, struct con_offer *out);
void con_offer_free(struct grp_core *c, struct con_offer *o);
/* Partitions of a ConsumerProtocolAssignment, as far as they exist. False: no memory. */
bool con_assignment_read(struct grp_con *con, struct kbytes b, struct con_set *out);
/* Writes one of the partitions in s whose topics exist. */
void con_assignment_write(const struct grp_con *con, const struct con_set *s, struct wr *w);

/* ---- con_classic.c: requests of members of the classic protocol ---- */
struct con_join {
	struct grp_now now;
	void *token;
	int16_t version;
	bool is_new; /* it came without an id: who->id was made for it */
	struct kstr protocol_type;
	const struct grp_joiner *who;
};
void con_classic_join(struct grp *g, const struct con_join *j);
void con_classic_sync(
	struct grp *g, struct grp_now now, void *token, const struct kp_sync_group_request *req);
int16_t con_classic_heartbeat(
	struct grp *g, struct grp_now now, const struct kp_heartbeat_request *req);
/* con_settle has to follow. */
int16_t con_classic_leave(struct grp *g, struct grp_now now, struct kstr id, struct kstr instance);
bool con_is_classic(const struct grp *g, struct kstr member_id);

/* ---- con_migrate.c ---- */
/* Makes a consumer group of a classic one, with its members. A Kafka error code. */
int16_t con_upgrade(struct grp *g, struct grp_now now);
/*
 * Makes a classic group of a consumer group whose members are all of the classic protocol. False:
 * they are not, or it could not be written; then it stays as it is.
 */
bool con_downgrade_maybe(struct grp *g, struct grp_now now);

/* ---- con_write.c ---- */
/* Sends what is to be written, if anything. False: it could not be; it is tried again later. */
bool con_flush(struct grp *g, struct grp_now now);
void con_written(struct grp *g, const struct grp_write *w, int16_t error);
void con_reply_later(struct grp *g, struct con_reply *r);
/* Takes it out of the list that it is in, answers, frees it. */
void con_reply_send(struct grp_core *c, struct con_reply *r, int16_t error);
/* Tombstones of a member. */
void con_rec_member_drop(struct grp_recs *r, const struct con_member *m);
/* Tombstones of the group itself, and of members whose tombstones are still to be written. */
void con_rec_drop(struct grp_recs *r, const struct grp *g);
/* An empty group gives its place to one of the classic protocol. */
void con_make_classic(struct grp *g, struct grp_now now);

/* ---- con_replay.c ---- */
bool con_replay(struct grp_core *c, const struct rec_key *k, struct kbytes value);
/* All of the log was replayed: members that have no subscription go, owners are found. False: the
   group has nothing. */
void con_loaded(struct grp *g, struct grp_now now);

/* ---- con_check.c ---- */
void con_check(const struct grp *g);

#endif
