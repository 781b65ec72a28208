/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_KAFKA_API_TABLE_H
#define MR_KAFKA_API_TABLE_H

#include <stdbool.h>
#include <stdint.h>

/* The APIs that are served: what is advertised, what is accepted, who answers. Constant data. */

/* X(NAME, key) */
#define KP_APIS(X)                                                                                 \
	X(PRODUCE, 0)                                                                              \
	X(FETCH, 1)                                                                                \
	X(LIST_OFFSETS, 2)                                                                         \
	X(METADATA, 3)                                                                             \
	X(OFFSET_COMMIT, 8)                                                                        \
	X(OFFSET_FETCH, 9)                                                                         \
	X(FIND_COORDINATOR, 10)                                                                    \
	X(JOIN_GROUP, 11)                                                                          \
	X(HEARTBEAT, 12)                                                                           \
	X(LEAVE_GROUP, 13)                                                                         \
	X(SYNC_GROUP, 14)                                                                          \
	X(DESCRIBE_GROUPS, 15)                                                                     \
	X(LIST_GROUPS, 16)                                                                         \
	X(API_VERSIONS, 18)                                                                        \
	X(CREATE_TOPICS, 19)                                                                       \
	X(DELETE_TOPICS, 20)                                                                       \
	X(DELETE_RECORDS, 21)                                                                      \
	X(INIT_PRODUCER_ID, 22)                                                                    \
	X(OFFSET_FOR_LEADER_EPOCH, 23)                                                             \
	X(DESCRIBE_CONFIGS, 32)                                                                    \
	X(ALTER_CONFIGS, 33)                                                                       \
	X(ALTER_REPLICA_LOG_DIRS, 34)                                                              \
	X(DESCRIBE_LOG_DIRS, 35)                                                                   \
	X(CREATE_PARTITIONS, 37)                                                                   \
	X(DELETE_GROUPS, 42)                                                                       \
	X(ELECT_LEADERS, 43)                                                                       \
	X(INCREMENTAL_ALTER_CONFIGS, 44)                                                           \
	X(ALTER_PARTITION_REASSIGNMENTS, 45)                                                       \
	X(LIST_PARTITION_REASSIGNMENTS, 46)                                                        \
	X(OFFSET_DELETE, 47)                                                                       \
	X(DESCRIBE_CLIENT_QUOTAS, 48)                                                              \
	X(ALTER_CLIENT_QUOTAS, 49)                                                                 \
	X(DESCRIBE_CLUSTER, 60)                                                                    \
	X(DESCRIBE_PRODUCERS, 61)                                                                  \
	X(CONSUMER_GROUP_HEARTBEAT, 68)                                                            \
	X(CONSUMER_GROUP_DESCRIBE, 69)                                                             \
	X(DESCRIBE_TOPIC_PARTITIONS, 75)

enum kp_api_key {
#define X(name, key) KP_##name = key,
	KP_APIS(X)
#undef X
};

/* The first flexible version of an API that has none. */
#define KP_NEVER 32767

/* Size of an array indexed by api key. */
#define KP_API_KEY_LIMIT 76

/* Which thread answers. */
enum kp_plane {
	KP_PLANE_SHARD,	  /* the shard, from its partitions and the metadata image */
	KP_PLANE_CONTROL, /* the control thread, through the ring */
};

struct kp_api {
	int16_t key;
	const char *name;	/* as in Kafka: "ListOffsets" */
	int16_t advertised_min; /* in the ApiVersions answer */
	int16_t advertised_max; /* less than the minimum: not advertised at all */
	/*
	 * Accepted on the wire. Differs from what is advertised for Produce only: librdkafka up
	 * to 2.8 turns compression off unless version 0 is advertised (KAFKA-18659), and no client
	 * then sends it.
	 */
	int16_t min;
	int16_t max;
	int16_t flexible; /* first flexible version: request header v2, response header v1 */
	enum kp_plane plane;
};

/* The API of a key, NULL when it is not served. Any thread. */
const struct kp_api *kp_api_find(int16_t key);
/* All of them in order of key; *count is how many. */
const struct kp_api *kp_api_all(uint32_t *count);
/* Whether `version` of this API is accepted on the wire. */
static inline bool kp_api_accepts(const struct kp_api *api, int16_t version)
{
	return version >= api->min && version <= api->max;
}
/* Version of the request header (1 or 2) of this API version. */
static inline int kp_api_request_header(const struct kp_api *api, int16_t version)
{
	return version >= api->flexible ? 2 : 1;
}
/*
 * Version of the response header (0 or 1). The ApiVersions answer always has 0, so that a client
 * can read an answer to a version that we do not know (KIP-511).
 */
static inline int kp_api_response_header(const struct kp_api *api, int16_t version)
{
	return version >= api->flexible && api->key != KP_API_VERSIONS ? 1 : 0;
}

#endif
