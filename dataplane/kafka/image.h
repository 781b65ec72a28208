/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_KAFKA_IMAGE_H
#define MR_KAFKA_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/uuid.h"
#include "kafka/compress.h"
#include "kafka/wire.h"

/*
 * The metadata image: brokers, topics, partitions and the topic settings that the data path looks
 * at. The control thread builds one, publishes it to the shards, and never changes it again; it
 * frees the old one after every shard has said that it uses a newer epoch. Reading is safe from any
 * thread.
 */

#define IMAGE_TOPIC_NAME_MAX 249
#define IMAGE_COMPRESSION_PRODUCER (-1) /* compression.type=producer: keep what came */

struct image_broker {
	int32_t node_id;
	int32_t port;
	struct kstr host;
	struct kstr rack; /* may be null */
};

struct image_partition {
	uint32_t part_id; /* dense, unique in the broker: index of tables of partitions */
	uint16_t shard;	  /* that owns it */
	uint16_t worker;  /* storage worker that owns its files */
	int32_t leader;	  /* node id; -1: none, its log has failed */
	int32_t leader_epoch;
};

/* Topic settings of the data path. Times in ms, sizes in bytes; -1 for retention: no limit. */
struct image_topic_config {
	uint32_t max_message_bytes;
	bool log_append_time;
	bool cleanup_compact;
	bool cleanup_delete;
	bool durability_written;   /* an ack may come before the flush (DESIGN D3) */
	int8_t compression;	   /* enum codec, or IMAGE_COMPRESSION_PRODUCER */
	int32_t compression_level; /* of that codec; 0: its default */
	int16_t min_insync_replicas;
	int64_t timestamp_before_max_ms;
	int64_t timestamp_after_max_ms;
	int64_t segment_bytes;
	int64_t segment_ms;
	int64_t retention_ms;
	int64_t retention_bytes;
	int64_t delete_retention_ms;
	int64_t min_compaction_lag_ms;
	int64_t max_compaction_lag_ms;
	uint32_t min_dirty_ppm; /* min.cleanable.dirty.ratio in millionths */
};

struct image_topic {
	struct kstr name;
	struct uuid id;
	bool internal;
	struct image_topic_config config;
	int32_t partition_count;
	const struct image_partition *partitions; /* index: partition number */
};

/* What a client quota limits. */
enum image_quota_kind {
	QUOTA_PRODUCE, /* bytes per second from producers */
	QUOTA_FETCH,   /* bytes per second to consumers */
	QUOTA_REQUEST, /* thread time in percent of one thread */
	QUOTA_KINDS,
};
/* How an entity names its user, or its client id. */
enum image_quota_part { QUOTA_ABSENT, QUOTA_DEFAULT, QUOTA_NAMED };
/* A quota for an entity: a user, a client id, or both. */
struct image_quota {
	enum image_quota_part user_is, client_is;
	struct kstr user, client; /* where named */
	double rate[QUOTA_KINDS]; /* < 0: none */
};

struct image {
	uint64_t epoch; /* larger is newer */
	struct kstr cluster_id;
	int32_t node_id; /* of this broker */
	int32_t controller_id;
	uint32_t broker_count;
	uint32_t topic_count;
	uint32_t partition_count; /* over all topics */
	uint32_t part_id_limit;	  /* above every part_id */
	const struct image_broker *brokers;
	const struct image_topic *topics; /* in order of name (bytes) */
	/* Deleted topics whose logs may still be there: not served, and not found by name or id. */
	uint32_t gone_count;
	const struct image_topic *gone;
	uint32_t quota_count;
	const struct image_quota *quotas;
	uint32_t quota_mask;
	const uint32_t *by_entity; /* open addressing: 1 + index of quota, 0 empty */
	uint32_t hash_mask;
	const uint32_t *by_name; /* open addressing: 1 + index of topic, 0 empty */
	const uint32_t *by_id;
};

/* What an image is built from; all borrowed until image_build returns. */
struct image_source {
	uint64_t epoch;
	struct kstr cluster_id;
	int32_t node_id;
	int32_t controller_id;
	const struct image_broker *brokers;
	uint32_t broker_count;
	const struct image_topic *topics; /* in any order; names unique */
	uint32_t topic_count;
	const struct image_topic *gone;	  /* in any order; a name may be there more than once */
	const struct image_quota *quotas; /* entities unique */
	uint32_t quota_count;
	uint32_t gone_count;
};

/* Kafka's defaults. */
extern const struct image_topic_config image_topic_config_default;

/*
 * Copies the source into one allocation. NULL: out of memory. Gives the image to the caller
 * (image_free). Control thread.
 */
struct image *image_build(const struct image_source *src);
void image_free(struct image *im);

/*
 * The rate that holds for a client, < 0: none. Kafka's order: the entity that says more about the
 * user wins, then the one that says more about the client id. *level: which of the eight kinds of
 * entity it is; clients share a quota by user (levels 2, 5), client id (6, 7) or both (others).
 */
double image_quota_find(const struct image *im, struct kstr user, struct kstr client,
	enum image_quota_kind kind, int *level);

/* By name or id; NULL when there is none (a zero id names none). */
const struct image_topic *image_topic_by_name(const struct image *im, struct kstr name);
const struct image_topic *image_topic_by_id(const struct image *im, const struct uuid *id);
/* Partition `index` of the topic, NULL when there is none. */
static inline const struct image_partition *image_partition_at(
	const struct image_topic *t, int32_t index)
{
	return index >= 0 && index < t->partition_count ? &t->partitions[index] : NULL;
}
const struct image_broker *image_broker_by_id(const struct image *im, int32_t node_id);

/* Kafka's rule: 1 to 249 of [a-zA-Z0-9._-], not "." or "..". */
bool topic_name_valid(struct kstr name);
/*
 * Whether two valid names collide: equal once '.' is read as '_' (both become the same metric
 * name). CreateTopics refuses such a topic with INVALID_TOPIC_EXCEPTION.
 */
bool topic_name_collides(struct kstr a, struct kstr b);

#endif
