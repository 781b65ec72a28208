/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_TESTS_GS_H
#define MR_TESTS_GS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/check.h"
#include "base/list.h"
#include "base/prng.h"
#include "control/group/group.h"
#include "kafka/image.h"
#include "kafka/errcode.h"

/*
 * The group coordinator and its members in virtual time: requests and answers that are lost, late
 * or doubled, writes that are late or fail, members that die, leave and come back, and a
 * coordinator that is killed and reads its log again. Everything comes from one seed.
 *
 *   members (gs_classic.c, gs_consumer.c, gs_old.c),
 *   an administrator (gs_admin.c) ──calls──► network ──► coordinator ──writes──► log (gs_log.c)
 *                 ▲                                           │
 *                 └────────────────── answers ◄───────────────┘  every step: the book (gs_book.c)
 *
 * First everything goes wrong; then the world heals, and the groups have to come to rest.
 */

#define GS_OFFSETS_PARTS 3	 /* partitions of __consumer_offsets */
#define GS_CONSUMERS "consumers" /* the group of the consumer protocol */
#define GS_READERS 2		 /* groups with members */
#define GS_GROUPS 3		 /* the last one has only offsets that the administrator commits */
#define GS_MEMBERS_MAX 1000
#define GS_PARTS_MAX 256 /* of the topic that the groups read */
#define GS_ID 80
#define GS_MS 1000000ull

struct gs;
typedef void gs_fn(struct gs *w, void *arg);

struct gs_event {
	uint64_t at_ns;
	uint64_t seq;
	gs_fn *fn;
	void *arg;
	void (*drop)(void *arg); /* NULL: not owned */
};

enum gs_api {
	GS_JOIN,
	GS_SYNC,
	GS_HEARTBEAT,
	GS_LEAVE,
	GS_COMMIT,
	GS_DELETE_OFFSET,
	GS_DELETE_GROUP,
};

/* One request on its way, and its answer on the way back. */
struct gs_call {
	struct list node; /* of gs.parked, while the coordinator has it */
	struct gs_member *m;
	enum gs_api api;
	uint64_t serial; /* of the member; 0: the administrator does not wait */
	uint32_t group;
	bool answered;
	uint64_t deadline_ns;
	/* the request */
	char id[GS_ID];
	int32_t generation;
	int32_t partition;
	int64_t value;
	int16_t before; /* commit: the error it must not escape, as seen before it */
	/* SyncGroup of a leader: whom it assigns to */
	uint32_t n_ids;
	char (*ids)[GS_ID];
	/* the answer */
	int16_t error;
	int32_t told_generation;
	char told_id[GS_ID];
	bool leads;
	uint32_t n_parts;
	int32_t parts[GS_PARTS_MAX];
};

enum gs_member_state { GS_OUT, GS_JOINING, GS_SYNCING, GS_MEMBER };

struct gs_member {
	uint32_t index;
	uint32_t group;
	char name[16];
	char id[GS_ID];
	char instance[16]; /* "": dynamic */
	int16_t version;   /* of JoinGroup */
	int32_t session_ms, rebalance_ms;
	enum gs_member_state state;
	uint64_t serial;  /* of the last call */
	uint64_t waiting; /* its serial, 0: none */
	uint64_t life;	  /* one more with each start and death */
	int32_t generation;
	uint32_t n_parts;
	int32_t parts[GS_PARTS_MAX];
};

/* A member of the consumer protocol. */
struct gs_consumer {
	uint32_t index;
	char id[GS_ID];
	char instance[16]; /* "": dynamic */
	bool by_regex, alive;
	uint64_t life;	    /* one more with each start and death */
	uint64_t sent_life; /* of its connection */
	uint64_t serial, waiting, arrived;
	int32_t epoch;
	bool must_say_all, just_committed;
	bool revoking; /* the application is being told */
	bool fenced;   /* and the member is out meanwhile */
	bool owned[GS_PARTS_MAX];
	bool shall[GS_PARTS_MAX]; /* as it was told last */
};

/* A member of the classic protocol in the group of the consumer protocol. */
struct gs_old {
	uint32_t index;
	char name[16];
	char id[GS_ID];
	char instance[16]; /* "": dynamic */
	int16_t version;   /* of JoinGroup */
	int32_t session_ms, rebalance_ms;
	enum gs_member_state state;
	uint64_t life;	    /* one more with each start and death */
	uint64_t sent_life; /* of its connection */
	uint64_t serial, waiting, arrived;
	int32_t generation, synced; /* when it was told what it has */
	bool leads, just_committed;
	uint32_t seen_parts; /* of the topic, when it shared them out */
	bool owned[GS_PARTS_MAX];
	bool shall[GS_PARTS_MAX]; /* as it was told last */
};

/* Who is left in the group of both protocols when the world has healed. */
enum gs_rest { GS_REST_BOTH, GS_REST_NEW, GS_REST_OLD, GS_RESTS };

/* What was told to members, and must stay true. */
struct gs_book {
	int32_t generation; /* newest that somebody was assigned in; -1: none */
	uint64_t owner[GS_PARTS_MAX];
	int64_t committed[GS_PARTS_MAX]; /* acknowledged; -1: none */
};

struct gs_record {
	uint32_t partition;
	struct kbytes key, value; /* owned; a null value is a tombstone */
};

struct gs {
	uint64_t seed;
	struct prng rng;
	struct grp_config cfg;
	struct grp_core *core;
	struct grp_now now;
	/* events: a heap */
	struct gs_event *events;
	uint32_t n_events, room_events;
	uint64_t seq;
	/* the world */
	uint32_t n_members, n_parts;
	struct gs_member *members;
	struct gs_member admin;
	bool healed;
	bool muted;	  /* the coordinator is being killed: its last words are lost */
	uint32_t lose_in; /* one message in so many is lost; 0: none */
	uint32_t double_in;
	uint32_t slow_in; /* or takes seconds */
	uint32_t fail_in; /* writes */
	uint64_t life;	  /* of the coordinator */
	struct list parked;
	/* the log */
	struct gs_record *log;
	uint32_t n_log, room_log;
	struct list writes[GS_OFFSETS_PARTS];
	struct gs_book book[GS_GROUPS];
	/* of the consumer protocol */
	uint32_t n_consumers, n_topic_parts;
	struct gs_consumer *consumers;
	struct list beats; /* that the coordinator has */
	struct gs_book consumer_book;
	uint32_t n_olds;
	struct gs_old *olds;
	bool old_cooperative;
	struct list old_asks; /* that the coordinator has */
	enum gs_rest rest;
	struct image *image;
	uint64_t image_epoch;
	/* results */
	uint64_t hash;
	uint64_t steps, answers, assignments, commits, deletions, restarts, rebalances;
	uint32_t check_every, unchecked;
};

/* gs.c */
/* drop: what to do with arg when the world ends before; NULL: nothing. */
void gs_at(struct gs *w, uint64_t delay_ns, gs_fn *fn, void *arg, void (*drop)(void *arg));
/* Milliseconds in ns, from 0 to less than ms. */
uint64_t gs_some_ms(struct gs *w, uint64_t ms);
bool gs_one_in(struct gs *w, uint32_t n); /* n 0: never */
void gs_mix(struct gs *w, uint64_t v);
const char *gs_group_name(uint32_t group);
__attribute__((noreturn, format(printf, 2, 3))) void gs_fail(struct gs *w, const char *f, ...);
#define GS_MUST(w, cond, ...)                                                                      \
	do {                                                                                       \
		if (!(cond))                                                                       \
			gs_fail(w, __VA_ARGS__);                                                   \
	} while (0)

/* gs_log.c: the coordinator's life, and what is left of it */
void gs_core_start(struct gs *w);
void gs_core_kill(struct gs *w); /* some of what was not acknowledged is durable */
void gs_append(void *ctx, struct grp_write *write);
void gs_log_free(struct gs *w);

/* gs_classic.c: members, and what they say */
void gs_members_make(struct gs *w);
void gs_reply(void *ctx, void *token, const void *response);
void gs_member_kill(struct gs *w, struct gs_member *m);
void gs_member_start(struct gs *w, struct gs_member *m);
void gs_member_leave(struct gs *w, struct gs_member *m);
/* Nobody waits for answers that cannot come any more. */
void gs_calls_lost(struct gs *w);

/* The network. */
uint64_t gs_transit_ns(struct gs *w);
bool gs_lost(struct gs *w);

/* gs_consumer.c: the same of the consumer protocol */
void gs_consumers_make(struct gs *w);
void gs_consumers_heal(struct gs *w);
void gs_topic_make(struct gs *w, uint32_t parts);
/* Whether a member of this protocol asked. */
bool gs_consumer_asked(const struct gs *w, const void *token);
void gs_consumer_reply(struct gs *w, void *token, const void *response);
void gs_consumer_write_survives(struct gs *w, const void *token);
void gs_beats_lost(struct gs *w);
void gs_consumer_kill(struct gs *w, struct gs_consumer *m);
void gs_consumer_leave(struct gs *w, struct gs_consumer *m);
void gs_consumer_start(struct gs *w, struct gs_consumer *m);
void gs_consumers_step(struct gs *w);
void gs_consumers_rest(struct gs *w);
void gs_send(struct gs *w, struct gs_member *m, enum gs_api api, struct gs_call *call);
void gs_copy_id(char out[GS_ID], struct kstr s);

/* gs_old.c: the classic protocol in the same group */
void gs_olds_make(struct gs *w);
void gs_olds_heal(struct gs *w);
bool gs_old_asked(const struct gs *w, const void *token);
void gs_old_reply(struct gs *w, void *token, const void *response);
void gs_old_write_survives(struct gs *w, const void *token);
void gs_old_asks_lost(struct gs *w);
void gs_old_kill(struct gs *w, struct gs_old *m);
void gs_olds_step(struct gs *w);
void gs_olds_wait(struct gs *w); /* nobody does for ever */
/* How many are alive; adds what they own. */
uint32_t gs_olds_rest(struct gs *w, uint8_t owners[GS_PARTS_MAX]);

/* gs_admin.c: commits without being a member, deletes offsets and groups */
void gs_admin_make(struct gs *w);
void gs_admin_does(struct gs *w, struct gs_call *call);
void gs_admin_told(struct gs *w, struct gs_call *call, const void *response);

/* gs_book.c: what must be true */
void gs_book_assigned(struct gs *w, const struct gs_call *call);
/* The error that a commit must get at this moment, if any. */
int16_t gs_book_may_commit(struct gs *w, const struct gs_call *call);
void gs_book_committed(struct gs *w, const struct gs_call *call);
/* A tombstone is in the log. */
void gs_book_dropped(struct gs *w, struct kbytes key);
void gs_book_step(struct gs *w);
void gs_book_loaded(struct gs *w, uint32_t offsets_partition);
void gs_book_rest(struct gs *w);

#endif
