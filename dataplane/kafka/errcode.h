/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_KAFKA_ERRCODE_H
#define MR_KAFKA_ERRCODE_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Kafka's error codes, as int16 on the wire. X(name, code, retriable, what it means). `retriable`:
 * a client may send the same request again and hope.
 */
#define KE_ERRORS(X)                                                                               \
	X(UNKNOWN_SERVER_ERROR, -1, 0, "unexpected error in the server")                           \
	X(NONE, 0, 0, "no error")                                                                  \
	X(OFFSET_OUT_OF_RANGE, 1, 0, "offset is outside the range kept by the partition")          \
	X(CORRUPT_MESSAGE, 2, 1, "record batch fails its checksum or is otherwise corrupt")        \
	X(UNKNOWN_TOPIC_OR_PARTITION, 3, 1, "no such topic or partition here")                     \
	X(INVALID_FETCH_SIZE, 4, 0, "fetch size is invalid")                                       \
	X(LEADER_NOT_AVAILABLE, 5, 1, "partition has no leader at this time")                      \
	X(NOT_LEADER_OR_FOLLOWER, 6, 1, "this broker is not leader or replica of the partition")   \
	X(REQUEST_TIMED_OUT, 7, 1, "request timed out")                                            \
	X(BROKER_NOT_AVAILABLE, 8, 0, "broker is not available")                                   \
	X(REPLICA_NOT_AVAILABLE, 9, 1, "replica is not available")                                 \
	X(MESSAGE_TOO_LARGE, 10, 0, "record batch is larger than the topic accepts")               \
	X(STALE_CONTROLLER_EPOCH, 11, 0, "controller has moved")                                   \
	X(OFFSET_METADATA_TOO_LARGE, 12, 0, "metadata of the committed offset is too large")       \
	X(NETWORK_EXCEPTION, 13, 1, "disconnected before the response came")                       \
	X(COORDINATOR_LOAD_IN_PROGRESS, 14, 1, "coordinator is still loading")                     \
	X(COORDINATOR_NOT_AVAILABLE, 15, 1, "coordinator is not available")                        \
	X(NOT_COORDINATOR, 16, 1, "this broker is not the coordinator")                            \
	X(INVALID_TOPIC_EXCEPTION, 17, 0, "topic name is invalid, or topic may not be used so")    \
	X(RECORD_LIST_TOO_LARGE, 18, 0, "records are larger than a segment")                       \
	X(NOT_ENOUGH_REPLICAS, 19, 1, "fewer in-sync replicas than required")                      \
	X(NOT_ENOUGH_REPLICAS_AFTER_APPEND, 20, 1, "appended, but too few replicas in sync")       \
	X(INVALID_REQUIRED_ACKS, 21, 0, "acks must be -1, 0 or 1")                                 \
	X(ILLEGAL_GENERATION, 22, 0, "generation of the group is another one")                     \
	X(INCONSISTENT_GROUP_PROTOCOL, 23, 0, "member's protocols do not fit the group's")         \
	X(INVALID_GROUP_ID, 24, 0, "group id is invalid")                                          \
	X(UNKNOWN_MEMBER_ID, 25, 0, "coordinator does not know this member")                       \
	X(INVALID_SESSION_TIMEOUT, 26, 0, "session timeout is outside the broker's bounds")        \
	X(REBALANCE_IN_PROGRESS, 27, 0, "group is rebalancing: join again")                        \
	X(INVALID_COMMIT_OFFSET_SIZE, 28, 0, "size of the offset commit is invalid")               \
	X(TOPIC_AUTHORIZATION_FAILED, 29, 0, "not authorized for the topic")                       \
	X(GROUP_AUTHORIZATION_FAILED, 30, 0, "not authorized for the group")                       \
	X(CLUSTER_AUTHORIZATION_FAILED, 31, 0, "not authorized for the cluster")                   \
	X(INVALID_TIMESTAMP, 32, 0, "timestamp of a record is out of bounds")                      \
	X(UNSUPPORTED_SASL_MECHANISM, 33, 0, "SASL mechanism is not supported")                    \
	X(ILLEGAL_SASL_STATE, 34, 0, "request is not valid in this SASL state")                    \
	X(UNSUPPORTED_VERSION, 35, 0, "version of the API is not supported")                       \
	X(TOPIC_ALREADY_EXISTS, 36, 0, "topic exists")                                             \
	X(INVALID_PARTITIONS, 37, 0, "number of partitions is invalid")                            \
	X(INVALID_REPLICATION_FACTOR, 38, 0, "replication factor is invalid")                      \
	X(INVALID_REPLICA_ASSIGNMENT, 39, 0, "replica assignment is invalid")                      \
	X(INVALID_CONFIG, 40, 0, "configuration is invalid")                                       \
	X(NOT_CONTROLLER, 41, 1, "this broker is not the controller")                              \
	X(INVALID_REQUEST, 42, 0, "request is invalid")                                            \
	X(UNSUPPORTED_FOR_MESSAGE_FORMAT, 43, 0, "record format does not support the request")     \
	X(POLICY_VIOLATION, 44, 0, "request violates a policy")                                    \
	X(OUT_OF_ORDER_SEQUENCE_NUMBER, 45, 0, "sequence number is out of order")                  \
	X(DUPLICATE_SEQUENCE_NUMBER, 46, 0, "sequence number was seen before")                     \
	X(INVALID_PRODUCER_EPOCH, 47, 0, "producer's epoch is old")                                \
	X(INVALID_TXN_STATE, 48, 0, "not possible in this state of the transaction")               \
	X(INVALID_PRODUCER_ID_MAPPING, 49, 0, "producer id is not that of the transactional id")   \
	X(INVALID_TRANSACTION_TIMEOUT, 50, 0, "transaction timeout is out of bounds")              \
	X(CONCURRENT_TRANSACTIONS, 51, 1, "another operation on the transaction is under way")     \
	X(TRANSACTION_COORDINATOR_FENCED, 52, 0, "marker from a former coordinator")               \
	X(TRANSACTIONAL_ID_AUTHORIZATION_FAILED, 53, 0, "not authorized for the transactional id") \
	X(SECURITY_DISABLED, 54, 0, "security features are disabled")                              \
	X(OPERATION_NOT_ATTEMPTED, 55, 0, "not attempted because another part failed")             \
	X(KAFKA_STORAGE_ERROR, 56, 1, "disk error")                                                \
	X(LOG_DIR_NOT_FOUND, 57, 0, "no such log directory")                                       \
	X(SASL_AUTHENTICATION_FAILED, 58, 0, "authentication failed")                              \
	X(UNKNOWN_PRODUCER_ID, 59, 0, "nothing is known of this producer id")                      \
	X(REASSIGNMENT_IN_PROGRESS, 60, 0, "partition is being reassigned")                        \
	X(DELEGATION_TOKEN_AUTH_DISABLED, 61, 0, "delegation tokens are disabled")                 \
	X(DELEGATION_TOKEN_NOT_FOUND, 62, 0, "no such delegation token")                           \
	X(DELEGATION_TOKEN_OWNER_MISMATCH, 63, 0, "not owner or renewer of the token")             \
	X(DELEGATION_TOKEN_REQUEST_NOT_ALLOWED, 64, 0, "token request not allowed here")           \
	X(DELEGATION_TOKEN_AUTHORIZATION_FAILED, 65, 0, "not authorized for the token")            \
	X(DELEGATION_TOKEN_EXPIRED, 66, 0, "token has expired")                                    \
	X(INVALID_PRINCIPAL_TYPE, 67, 0, "type of principal is not supported")                     \
	X(NON_EMPTY_GROUP, 68, 0, "group is not empty")                                            \
	X(GROUP_ID_NOT_FOUND, 69, 0, "no such group")                                              \
	X(FETCH_SESSION_ID_NOT_FOUND, 70, 1, "no such fetch session")                              \
	X(INVALID_FETCH_SESSION_EPOCH, 71, 1, "epoch of the fetch session is invalid")             \
	X(LISTENER_NOT_FOUND, 72, 1, "leader has no such listener")                                \
	X(TOPIC_DELETION_DISABLED, 73, 0, "deleting topics is disabled")                           \
	X(FENCED_LEADER_EPOCH, 74, 1, "leader epoch of the request is older than ours")            \
	X(UNKNOWN_LEADER_EPOCH, 75, 1, "leader epoch of the request is newer than ours")           \
	X(UNSUPPORTED_COMPRESSION_TYPE, 76, 0, "compression type is not supported")                \
	X(STALE_BROKER_EPOCH, 77, 0, "broker's epoch has changed")                                 \
	X(OFFSET_NOT_AVAILABLE, 78, 1, "high watermark has not caught up after an election")       \
	X(MEMBER_ID_REQUIRED, 79, 0, "join again with the member id given")                        \
	X(PREFERRED_LEADER_NOT_AVAILABLE, 80, 1, "preferred leader is not available")              \
	X(GROUP_MAX_SIZE_REACHED, 81, 0, "group is full")                                          \
	X(FENCED_INSTANCE_ID, 82, 0, "another member uses this group.instance.id")                 \
	X(ELIGIBLE_LEADERS_NOT_AVAILABLE, 83, 1, "no eligible leader")                             \
	X(ELECTION_NOT_NEEDED, 84, 1, "no election needed")                                        \
	X(NO_REASSIGNMENT_IN_PROGRESS, 85, 0, "no reassignment is in progress")                    \
	X(GROUP_SUBSCRIBED_TO_TOPIC, 86, 0, "group is subscribed to the topic")                    \
	X(INVALID_RECORD, 87, 0, "record fails the broker's checks")                               \
	X(UNSTABLE_OFFSET_COMMIT, 88, 1, "a transaction on these offsets is open")                 \
	X(THROTTLING_QUOTA_EXCEEDED, 89, 1, "quota exceeded")                                      \
	X(PRODUCER_FENCED, 90, 0, "a newer producer has the transactional id")                     \
	X(RESOURCE_NOT_FOUND, 91, 0, "no such resource")                                           \
	X(DUPLICATE_RESOURCE, 92, 0, "resource is named twice")                                    \
	X(UNACCEPTABLE_CREDENTIAL, 93, 0, "credential is not acceptable")                          \
	X(INCONSISTENT_VOTER_SET, 94, 0, "not among the expected voters")                          \
	X(INVALID_UPDATE_VERSION, 95, 0, "update version is invalid")                              \
	X(FEATURE_UPDATE_FAILED, 96, 0, "feature could not be updated")                            \
	X(PRINCIPAL_DESERIALIZATION_FAILURE, 97, 0, "forwarded principal cannot be read")          \
	X(SNAPSHOT_NOT_FOUND, 98, 0, "no such snapshot")                                           \
	X(POSITION_OUT_OF_RANGE, 99, 0, "position is outside the snapshot")                        \
	X(UNKNOWN_TOPIC_ID, 100, 1, "no such topic id here")                                       \
	X(DUPLICATE_BROKER_REGISTRATION, 101, 0, "broker id is in use")                            \
	X(BROKER_ID_NOT_REGISTERED, 102, 0, "broker id is not registered")                         \
	X(INCONSISTENT_TOPIC_ID, 103, 1, "log has another topic id")                               \
	X(INCONSISTENT_CLUSTER_ID, 104, 0, "cluster id is another one")                            \
	X(TRANSACTIONAL_ID_NOT_FOUND, 105, 0, "no such transactional id")                          \
	X(FETCH_SESSION_TOPIC_ID_ERROR, 106, 1, "fetch session mixes topic names and ids")         \
	X(INELIGIBLE_REPLICA, 107, 0, "in-sync set names an ineligible replica")                   \
	X(NEW_LEADER_ELECTED, 108, 0, "partition changed, and its leader too")                     \
	X(OFFSET_MOVED_TO_TIERED_STORAGE, 109, 0, "offset is in tiered storage")                   \
	X(FENCED_MEMBER_EPOCH, 110, 0, "member's epoch is fenced: join again")                     \
	X(UNRELEASED_INSTANCE_ID, 111, 0, "group.instance.id is still in use")                     \
	X(UNSUPPORTED_ASSIGNOR, 112, 0, "assignor is not supported by the group")                  \
	X(STALE_MEMBER_EPOCH, 113, 0, "member's epoch is stale: retry after a heartbeat")          \
	X(MISMATCHED_ENDPOINT_TYPE, 114, 0, "wrong type of endpoint for the request")              \
	X(UNSUPPORTED_ENDPOINT_TYPE, 115, 0, "type of endpoint is not supported")                  \
	X(UNKNOWN_CONTROLLER_ID, 116, 0, "no such controller")                                     \
	X(UNKNOWN_SUBSCRIPTION_ID, 117, 0, "telemetry subscription is unknown or out of date")     \
	X(TELEMETRY_TOO_LARGE, 118, 0, "telemetry is larger than accepted")                        \
	X(INVALID_REGISTRATION, 119, 0, "broker registration is invalid")                          \
	X(TRANSACTION_ABORTABLE, 120, 0, "abort the transaction to go on")                         \
	X(INVALID_RECORD_STATE, 121, 0, "acknowledgement does not fit the record's state")         \
	X(SHARE_SESSION_NOT_FOUND, 122, 1, "no such share session")                                \
	X(INVALID_SHARE_SESSION_EPOCH, 123, 1, "epoch of the share session is invalid")            \
	X(FENCED_STATE_EPOCH, 124, 0, "state epoch is fenced")                                     \
	X(INVALID_VOTER_KEY, 125, 0, "voter key is not the replica's")                             \
	X(DUPLICATE_VOTER, 126, 0, "is a voter already")                                           \
	X(VOTER_NOT_FOUND, 127, 0, "is not a voter")                                               \
	X(INVALID_REGULAR_EXPRESSION, 128, 0, "regular expression is invalid")                     \
	X(REBOOTSTRAP_REQUIRED, 129, 0, "client's metadata is stale: bootstrap again")             \
	X(STREAMS_INVALID_TOPOLOGY, 130, 0, "topology is invalid")                                 \
	X(STREAMS_INVALID_TOPOLOGY_EPOCH, 131, 0, "topology epoch is invalid")                     \
	X(STREAMS_TOPOLOGY_FENCED, 132, 0, "topology epoch is out of date")                        \
	X(SHARE_SESSION_LIMIT_REACHED, 133, 1, "too many share sessions")                          \
	X(GROUP_DELETION_FAILED, 134, 0, "groups could not all be deleted")                        \
	X(STREAMS_TOPOLOGY_DESCRIPTION_UPDATE_FAILED, 135, 0, "topology description not updated")  \
	X(CONTROLLER_ID_NOT_REGISTERED, 136, 0, "controller id is not registered")

enum ke {
#define X(name, code, retriable, text) KE_##name = code,
	KE_ERRORS(X)
#undef X
};

/* Name as in Kafka ("OFFSET_OUT_OF_RANGE"); "?" for an unknown code. */
const char *ke_name(int16_t code);
/* What it means, a short sentence for error_message fields and logs; "?" for an unknown code. */
const char *ke_text(int16_t code);
/* Whether a client may try again. */
bool ke_retriable(int16_t code);

#endif
