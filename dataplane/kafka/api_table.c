/* SPDX-License-Identifier: Apache-2.0 */
#include "kafka/api_table.h"

#include <stddef.h>

/*
 * The minima must stay: librdkafka up to 2.8 turns features off unless certain old versions are in
 * the range (OffsetFetch 1, OffsetCommit 1-2, JoinGroup 0, ...; its rdkafka_feature.c). Same ranges
 * as the schemas (a unit test holds them together).
 */
static const struct kp_api apis[] = {
	{KP_PRODUCE, "Produce", 0, 13, 3, 13, 9, KP_PLANE_SHARD},
	{KP_FETCH, "Fetch", 4, 18, 4, 18, 12, KP_PLANE_SHARD},
	{KP_LIST_OFFSETS, "ListOffsets", 1, 11, 1, 11, 6, KP_PLANE_SHARD},
	{KP_METADATA, "Metadata", 0, 13, 0, 13, 9, KP_PLANE_SHARD},
	{KP_OFFSET_COMMIT, "OffsetCommit", 2, 10, 2, 10, 8, KP_PLANE_CONTROL},
	{KP_OFFSET_FETCH, "OffsetFetch", 1, 10, 1, 10, 6, KP_PLANE_CONTROL},
	{KP_FIND_COORDINATOR, "FindCoordinator", 0, 6, 0, 6, 3, KP_PLANE_CONTROL},
	{KP_JOIN_GROUP, "JoinGroup", 0, 9, 0, 9, 6, KP_PLANE_CONTROL},
	{KP_HEARTBEAT, "Heartbeat", 0, 4, 0, 4, 4, KP_PLANE_CONTROL},
	{KP_LEAVE_GROUP, "LeaveGroup", 0, 5, 0, 5, 4, KP_PLANE_CONTROL},
	{KP_SYNC_GROUP, "SyncGroup", 0, 5, 0, 5, 4, KP_PLANE_CONTROL},
	{KP_DESCRIBE_GROUPS, "DescribeGroups", 0, 6, 0, 6, 5, KP_PLANE_CONTROL},
	{KP_LIST_GROUPS, "ListGroups", 0, 5, 0, 5, 3, KP_PLANE_CONTROL},
	{KP_API_VERSIONS, "ApiVersions", 0, 4, 0, 4, 3, KP_PLANE_SHARD},
	{KP_CREATE_TOPICS, "CreateTopics", 2, 7, 2, 7, 5, KP_PLANE_CONTROL},
	{KP_DELETE_TOPICS, "DeleteTopics", 1, 6, 1, 6, 4, KP_PLANE_CONTROL},
	{KP_DELETE_RECORDS, "DeleteRecords", 0, 2, 0, 2, 2, KP_PLANE_SHARD},
	{KP_INIT_PRODUCER_ID, "InitProducerId", 0, 5, 0, 5, 2, KP_PLANE_CONTROL},
	{KP_OFFSET_FOR_LEADER_EPOCH, "OffsetForLeaderEpoch", 2, 4, 2, 4, 4, KP_PLANE_SHARD},
	{KP_DESCRIBE_CONFIGS, "DescribeConfigs", 1, 4, 1, 4, 4, KP_PLANE_CONTROL},
	{KP_ALTER_CONFIGS, "AlterConfigs", 0, 2, 0, 2, 2, KP_PLANE_CONTROL},
	{KP_ALTER_REPLICA_LOG_DIRS, "AlterReplicaLogDirs", 1, 2, 1, 2, 2, KP_PLANE_CONTROL},
	{KP_DESCRIBE_LOG_DIRS, "DescribeLogDirs", 1, 5, 1, 5, 2, KP_PLANE_CONTROL},
	{KP_CREATE_PARTITIONS, "CreatePartitions", 0, 3, 0, 3, 2, KP_PLANE_CONTROL},
	{KP_DELETE_GROUPS, "DeleteGroups", 0, 3, 0, 3, 2, KP_PLANE_CONTROL},
	{KP_ELECT_LEADERS, "ElectLeaders", 0, 2, 0, 2, 2, KP_PLANE_CONTROL},
	{KP_INCREMENTAL_ALTER_CONFIGS, "IncrementalAlterConfigs", 0, 1, 0, 1, 1, KP_PLANE_CONTROL},
	{KP_ALTER_PARTITION_REASSIGNMENTS, "AlterPartitionReassignments", 0, 1, 0, 1, 0,
		KP_PLANE_CONTROL},
	{KP_LIST_PARTITION_REASSIGNMENTS, "ListPartitionReassignments", 0, 0, 0, 0, 0,
		KP_PLANE_CONTROL},
	{KP_OFFSET_DELETE, "OffsetDelete", 0, 0, 0, 0, KP_NEVER, KP_PLANE_CONTROL},
	{KP_DESCRIBE_CLIENT_QUOTAS, "DescribeClientQuotas", 0, 1, 0, 1, 1, KP_PLANE_CONTROL},
	{KP_ALTER_CLIENT_QUOTAS, "AlterClientQuotas", 0, 1, 0, 1, 1, KP_PLANE_CONTROL},
	{KP_DESCRIBE_CLUSTER, "DescribeCluster", 0, 2, 0, 2, 0, KP_PLANE_SHARD},
	{KP_DESCRIBE_PRODUCERS, "DescribeProducers", 0, 0, 0, 0, 0, KP_PLANE_SHARD},
	{KP_CONSUMER_GROUP_HEARTBEAT, "ConsumerGroupHeartbeat", 0, 1, 0, 1, 0, KP_PLANE_CONTROL},
	{KP_CONSUMER_GROUP_DESCRIBE, "ConsumerGroupDescribe", 0, 1, 0, 1, 0, KP_PLANE_CONTROL},
	{KP_DESCRIBE_TOPIC_PARTITIONS, "DescribeTopicPartitions", 0, 0, 0, 0, 0, KP_PLANE_SHARD},
};
#define API_COUNT (sizeof(apis) / sizeof(apis[0]))

/* 1 + index into apis; 0: not served. */
static const uint8_t by_key[KP_API_KEY_LIMIT] = {
	[KP_PRODUCE] = 1,
	[KP_FETCH] = 2,
	[KP_LIST_OFFSETS] = 3,
	[KP_METADATA] = 4,
	[KP_OFFSET_COMMIT] = 5,
	[KP_OFFSET_FETCH] = 6,
	[KP_FIND_COORDINATOR] = 7,
	[KP_JOIN_GROUP] = 8,
	[KP_HEARTBEAT] = 9,
	[KP_LEAVE_GROUP] = 10,
	[KP_SYNC_GROUP] = 11,
	[KP_DESCRIBE_GROUPS] = 12,
	[KP_LIST_GROUPS] = 13,
	[KP_API_VERSIONS] = 14,
	[KP_CREATE_TOPICS] = 15,
	[KP_DELETE_TOPICS] = 16,
	[KP_DELETE_RECORDS] = 17,
	[KP_INIT_PRODUCER_ID] = 18,
	[KP_OFFSET_FOR_LEADER_EPOCH] = 19,
	[KP_DESCRIBE_CONFIGS] = 20,
	[KP_ALTER_CONFIGS] = 21,
	[KP_ALTER_REPLICA_LOG_DIRS] = 22,
	[KP_DESCRIBE_LOG_DIRS] = 23,
	[KP_CREATE_PARTITIONS] = 24,
	[KP_DELETE_GROUPS] = 25,
	[KP_ELECT_LEADERS] = 26,
	[KP_INCREMENTAL_ALTER_CONFIGS] = 27,
	[KP_ALTER_PARTITION_REASSIGNMENTS] = 28,
	[KP_LIST_PARTITION_REASSIGNMENTS] = 29,
	[KP_OFFSET_DELETE] = 30,
	[KP_DESCRIBE_CLIENT_QUOTAS] = 31,
	[KP_ALTER_CLIENT_QUOTAS] = 32,
	[KP_DESCRIBE_CLUSTER] = 33,
	[KP_DESCRIBE_PRODUCERS] = 34,
	[KP_CONSUMER_GROUP_HEARTBEAT] = 35,
	[KP_CONSUMER_GROUP_DESCRIBE] = 36,
	[KP_DESCRIBE_TOPIC_PARTITIONS] = 37,
};

const struct kp_api *kp_api_find(int16_t key)
{
	if (key < 0 || key >= KP_API_KEY_LIMIT || by_key[key] == 0)
		return NULL;
	return &apis[by_key[key] - 1];
}

const struct kp_api *kp_api_all(uint32_t *count)
{
	*count = API_COUNT;
	return apis;
}
