/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_CONTROL_CTL_H
#define MR_CONTROL_CTL_H

#include "base/metric.h"
#include "control/api/control_api.h"

/*
 * The state of the control thread, shared by control/api (what handlers may do) and control/loop
 * (what runs them). Handlers use control_api.h.
 */

#define CTL_MAX_MODULES 8

#define CTL_METRICS(X)                                                                             \
	X(requests_total, "requests answered by the control thread")                               \
	X(hang_ups_total, "requests answered by closing the connection")                           \
	X(part_ops_total, "partition operations asked for by the control thread")                  \
	X(images_total, "metadata images that every shard has come to serve")                      \
	X(topics, "topics")                                                                        \
	X(topic_partitions, "partitions of all topics")                                            \
	X(topics_created_total, "topics created")                                                  \
	X(topics_deleted_total, "topics deleted")                                                  \
	X(topics_deleting, "deleted topics whose logs are not deleted yet")                        \
	X(meta_failures_total, "changes of the metadata that could not be stored")                 \
	X(turns_total, "turns of the control loop")                                                \
	X(groups, "consumer groups")                                                               \
	X(group_members, "members of all consumer groups")                                         \
	X(group_offsets, "committed offsets that are kept")                                        \
	X(group_parked_requests, "JoinGroup and SyncGroup requests that wait for other members")   \
	X(group_memory_bytes, "memory of consumer groups and committed offsets")                   \
	X(group_rebalances_total, "generations of consumer groups begun")                          \
	X(group_members_expired_total, "members dropped because nothing was heard of them")        \
	X(group_offsets_expired_total, "committed offsets dropped after their retention")          \
	X(group_writes_failed_total, "writes to __consumer_offsets that failed")                   \
	X(group_refused_total, "group requests refused for a limit of this broker")

struct ctl_metrics {
#define X(name, help) metric_t name;
	CTL_METRICS(X)
#undef X
};

/*
 * Image distribution: at most one image is on its way. Changes meanwhile only move `epoch`; the
 * next image has them all.
 *
 *   served_epoch <= sent_epoch <= epoch        in flight: acks_left > 0
 */
struct ctl_publish {
	uint64_t epoch;	       /* of the topic table */
	uint64_t sent_epoch;   /* of the newest image sent */
	uint64_t served_epoch; /* of the newest image that every shard serves */
	struct image *served;
	struct image *sent; /* NULL: none in flight */
	uint16_t acks_left;
	uint32_t failed;		 /* partitions that the shards could not open, so far */
	uint32_t served_failed;		 /* of the image served */
	struct msg msgs[MESH_MAX_NODES]; /* one per shard */
	bool *undeleted; /* of the image sent: by shard, by index of image->gone; NULL: none gone */
	struct list waits; /* struct ctl_wait, in order of epoch */
};

struct ctl {
	const struct config *cfg;  /* as it is in force: effective */
	const struct config *base; /* as it was at the start */
	struct config effective;
	struct mesh_port port;
	struct wheel wheel;
	uint64_t now_ns;
	int64_t wall_ms;
	bool stopping; /* new requests are hung up */

	struct meta *meta;
	uint64_t meta_version;
	struct meta_state state;
	int64_t producer_id; /* the next one to give away; up to state.next_producer_id */
	struct topics draft;
	struct dynamic draft_dynamic;
	bool drafting;
	struct ctl_publish publish;
	uint16_t workers;
	const char *host; /* advertised */
	int32_t host_port;

	uint32_t ops_out;
	struct list refused_ops; /* ctl_op.m.node: to be called back without having been out */
	struct arena scratch;
	void *module_state[CTL_MAX_MODULES];
	struct ctl_metrics metrics;
};

static inline uint16_t ctl_shards(const struct ctl *c)
{
	return mesh_control(c->port.mesh);
}

/* Before use; cfg, mesh, workers, host must be set in c. */
void ctl_core_init(struct ctl *c, const struct config *cfg, struct mesh *mesh);
/* Frees images, tables, scratch; the modules must be closed. */
void ctl_core_fini(struct ctl *c);
/* A message that was received from the mesh. */
void ctl_message(struct ctl *c, struct msg *m);
/* Timers that are due, operations to be called back, the next image. Once per turn. */
void ctl_work(struct ctl *c);
/* Reads the clocks. */
void ctl_set_time(struct ctl *c, uint64_t now_ns, int64_t wall_ms);
/* Nanoseconds of the next thing to do without a message; UINT64_MAX: none; 0: at once. */
uint64_t ctl_next_ns(const struct ctl *c);

/* What is set at run time comes into force; what cannot is logged and left out. */
void ctl_config_refresh(struct ctl *c);

/* publish.c */
void publish_init(struct ctl *c);
void publish_fini(struct ctl *c);
/* The table has changed. */
void publish_changed(struct ctl *c);
/* Sends the newest image if none is in flight. */
void publish_kick(struct ctl *c);
void publish_ack(struct ctl *c, struct msg *m);
/* MSG_OFFLINE: the partitions have no leader from the next image on. */
void publish_offline(struct ctl *c, struct msg *m);
bool publish_is_quiet(const struct ctl *c);

/* topics_wanted.c: MSG_TOPICS_WANTED */
void ctl_topics_wanted(struct ctl *c, struct msg *m);

/* handlers, one file each */
void ctl_handle_create_topics(struct ctl *c, struct msg *m);
void ctl_handle_delete_topics(struct ctl *c, struct msg *m);
void ctl_handle_init_producer_id(struct ctl *c, struct msg *m);
void ctl_handle_describe_configs(struct ctl *c, struct msg *m);
void ctl_handle_alter_configs(struct ctl *c, struct msg *m);
void ctl_handle_incremental_alter_configs(struct ctl *c, struct msg *m);
void ctl_handle_create_partitions(struct ctl *c, struct msg *m);
void ctl_handle_describe_log_dirs(struct ctl *c, struct msg *m);
void ctl_handle_alter_replica_log_dirs(struct ctl *c, struct msg *m);
void ctl_handle_describe_client_quotas(struct ctl *c, struct msg *m);
void ctl_handle_alter_client_quotas(struct ctl *c, struct msg *m);
void ctl_handle_elect_leaders(struct ctl *c, struct msg *m);
void ctl_handle_alter_partition_reassignments(struct ctl *c, struct msg *m);
void ctl_handle_list_partition_reassignments(struct ctl *c, struct msg *m);

/* describe_log_dirs.c */
extern const struct ctl_module ctl_log_dirs;

/* Sets dup[i] (false before) for every name that is there more than once; null names do not count.
   0; -1: no scratch left. */
int ctl_find_duplicates(struct ctl *c, const struct kstr *names, uint32_t n, bool *dup);

#endif
