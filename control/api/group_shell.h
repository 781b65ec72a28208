/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_CONTROL_GROUP_SHELL_H
#define MR_CONTROL_GROUP_SHELL_H

#include "control/api/ctl.h"
#include "control/group/group.h"

/*
 * The shell of the group coordinator (control/group): gives it requests, time, randomness and the
 * partitions of __consumer_offsets. Owned by the control thread; one per broker, the module
 * ctl_groups.
 *
 *   request ─► handler ─► core ─► reply ──► ctl_respond
 *                           └───► append ─► queue of the partition ─► one record batch at a time
 *                                             ▲                          to the owning shard
 *                                             └── what comes meanwhile: the next batch
 */

/* One partition of __consumer_offsets: first read from its beginning to its end, then appended to.
 *
 *   START ──► READ ◄──► RELEASE ──end of the log──► READY ◄──► APPEND
 *     ▲─wait─ (any error of the first three: all over again, in a second; the records are
 *              replayed onto what is there)
 */
enum offsets_part_state {
	OFFSETS_WAIT,	 /* for another try */
	OFFSETS_START,	 /* asks for the first offset */
	OFFSETS_READ,	 /* asks for records */
	OFFSETS_RELEASE, /* gives the blocks back that they were in */
	OFFSETS_READY,
	OFFSETS_APPEND,
};

struct offsets_part {
	struct groups *groups;
	uint32_t index; /* partition number */
	uint32_t part_id;
	enum offsets_part_state state;
	bool orphan; /* the topic is gone; freed when the operation is back */
	bool at_end; /* all that is durable was read */
	bool stuck;  /* the last read brought nothing */
	bool failed; /* and the operator was told */
	int64_t next_offset;
	struct ctl_op op;
	struct ctl_timer retry;
	struct list queue;  /* struct grp_write: waiting */
	struct list flying; /* struct grp_write: in the append */
	uint8_t *batch;
};

struct groups {
	struct ctl *c;
	struct grp_core *core;
	struct ctl_timer timer; /* the core's next deadline */
	bool draining;
	/* __consumer_offsets */
	struct uuid topic_id;
	uint32_t part_count;
	struct offsets_part **parts;
	uint32_t loading; /* parts that are not loaded yet */
	uint32_t loads_out;
	uint32_t load_next; /* parts below have been started */
	uint64_t load_begin_ns;
	uint64_t replayed; /* records */
	/* topics of the image before, by name: to see which are gone */
	struct known_topic *known;
	uint32_t known_count;
	char *known_names;
	bool sweep; /* offsets of topics that do not exist may have been loaded */
};

struct known_topic {
	struct kstr name;
	struct uuid id;
};

extern const struct ctl_module ctl_groups;

/* The module's state. */
struct groups *groups_of(struct ctl *c);
struct grp_now groups_now(const struct groups *g);
/* After every call of the core: timers and metrics. */
void groups_after(struct groups *g);
/* Who sends m. `host` is what *client refers to. */
#define GROUPS_HOST_SIZE 64
void groups_client(const struct msg *m, char host[GROUPS_HOST_SIZE], struct grp_client *client);

/* group_log.c */
/* The image has __consumer_offsets: begins to load it. False: no memory. */
bool offsets_open(struct groups *g, const struct image_topic *t);
/* It is gone. Operations that are out come back to orphans. */
void offsets_close(struct groups *g);
/* The sink's append. */
void offsets_append(struct groups *g, struct grp_write *w);

/* group_topics.c */
/* Forgets offsets of topics that the image does not have any more. */
void groups_see_topics(struct groups *g, const struct image *im);
/* Once all is loaded: of topics that were deleted before. */
void groups_sweep_topics(struct groups *g);

/* Handlers, one file each. */
void ctl_handle_find_coordinator(struct ctl *c, struct msg *m);
void ctl_handle_join_group(struct ctl *c, struct msg *m);
void ctl_handle_sync_group(struct ctl *c, struct msg *m);
void ctl_handle_heartbeat(struct ctl *c, struct msg *m);
void ctl_handle_leave_group(struct ctl *c, struct msg *m);
void ctl_handle_offset_commit(struct ctl *c, struct msg *m);
void ctl_handle_offset_fetch(struct ctl *c, struct msg *m);
void ctl_handle_describe_groups(struct ctl *c, struct msg *m);
void ctl_handle_list_groups(struct ctl *c, struct msg *m);
void ctl_handle_consumer_group_heartbeat(struct ctl *c, struct msg *m);
void ctl_handle_consumer_group_describe(struct ctl *c, struct msg *m);
void ctl_handle_delete_groups(struct ctl *c, struct msg *m);
void ctl_handle_offset_delete(struct ctl *c, struct msg *m);

#endif
