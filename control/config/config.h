/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_CONFIG_CONFIG_H
#define MR_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/*
 * The broker's configuration: one table of keys (CONFIG_KEYS), one struct of typed values. Sources
 * in order, later ones win: defaults, --config FILE (Java .properties), --set key=value. Kafka's
 * keys where Kafka has the key; own keys only for what Kafka lacks.
 *
 *   config_defaults -> config_load_file / config_parse ... -> config_set ... -> config_finish
 *
 * Main thread; read-only once config_finish has returned 0, so any thread may read it then.
 * Every function that can fail returns 0, or -1 with a sentence in `err` that names the key, the
 * value, what is allowed and, for a file, file:line.
 */

#define CONFIG_TEXT_MAX 256
#define CONFIG_ERR_MAX 768
#define CONFIG_MAX_LISTENERS 8
#define CONFIG_MAX_DIRS 16
#define CONFIG_MAX_CPUS 64

/* One `NAME://host:port`. */
struct config_listener {
	char name[32];
	char host[CONFIG_TEXT_MAX]; /* without the brackets of IPv6; "": any address */
	uint16_t port;
};

struct config_listeners {
	uint32_t count;
	struct config_listener v[CONFIG_MAX_LISTENERS];
};

struct config_dirs {
	uint16_t count;
	char path[CONFIG_MAX_DIRS][CONFIG_TEXT_MAX]; /* absolute after config_finish */
};

struct config_cpus {
	uint32_t count;
	uint16_t id[CONFIG_MAX_CPUS];
};

/* Values of the enum keys, in the order of their choices in the table. */
enum config_transport { CONFIG_TRANSPORT_KERNEL, CONFIG_TRANSPORT_DPDK };
enum config_offloads { CONFIG_OFFLOADS_AUTO, CONFIG_OFFLOADS_OFF };
enum config_hugepages { CONFIG_HUGEPAGES_AUTO, CONFIG_HUGEPAGES_OFF, CONFIG_HUGEPAGES_REQUIRE };
enum config_congestion { CONFIG_CONGESTION_CUBIC, CONFIG_CONGESTION_NEWRENO };
enum config_poll { CONFIG_POLL_ADAPTIVE, CONFIG_POLL_BUSY };
enum config_durability { CONFIG_DURABILITY_FLUSH, CONFIG_DURABILITY_WRITTEN };
enum config_timestamp { CONFIG_TS_CREATE_TIME, CONFIG_TS_LOG_APPEND_TIME };
enum config_log_level { CONFIG_LOG_DEBUG, CONFIG_LOG_INFO, CONFIG_LOG_WARN, CONFIG_LOG_ERROR };
/* Bits of log.cleanup.policy. */
#define CONFIG_CLEANUP_DELETE 1u
#define CONFIG_CLEANUP_COMPACT 2u

/* A number key that is not set (log.retention.ms, log.retention.minutes, log.roll.ms). */
#define CONFIG_UNSET INT64_MIN

/* clang-format off */
/* Keys: X(type, field, "key", "default", min, max, "choice|choice" or NULL, "help"). */
#define CONFIG_KEYS(X)                                                                             \
	X(INT32, node_id, "node.id", "1", 0, INT32_MAX, NULL,                                      \
		"this broker's id in the cluster (alias: broker.id)")                              \
	X(STRING, broker_rack, "broker.rack", "", 0, CONFIG_TEXT_MAX - 1, NULL,                    \
		"where this broker stands; clients may prefer brokers of their own rack")          \
	X(STRING, cluster_id, "cluster.id", "", 0, 22, NULL,                                       \
		"cluster id, 22 characters of base64url; empty: generated once and kept")          \
	X(LISTENERS, listeners, "listeners", "PLAINTEXT://127.0.0.1:9092", 0, 65535, NULL,         \
		"NAME://host:port, comma separated; an empty host means every address")            \
	X(LISTENERS, advertised_listeners, "advertised.listeners", "", 0, 65535, NULL,             \
		"what clients are told to connect to; empty: the listeners; port 0: theirs")        \
	X(STRING, listener_protocols, "listener.security.protocol.map", "PLAINTEXT:PLAINTEXT", 0,  \
		CONFIG_TEXT_MAX - 1, NULL, "NAME:PROTOCOL of each listener, comma separated")      \
	X(STRING, controller_listeners, "controller.listener.names", "", 0, CONFIG_TEXT_MAX - 1,   \
		NULL, "listeners with these names are left out: there is no separate controller")  \
	X(DIRS, log_dirs, "log.dirs", "./data", 0, 0, NULL,                                        \
		"directories for the logs, comma separated (alias: log.dir)")                      \
	X(INT32, num_partitions, "num.partitions", "1", 1, 10000, NULL,                            \
		"partitions of a topic that is created without a number")                          \
	X(INT32, default_replication_factor, "default.replication.factor", "1", 1, 1, NULL,        \
		"replicas of a topic that is created without a number")                            \
	X(BOOL, auto_create_topics, "auto.create.topics.enable", "true", 0, 0, NULL,               \
		"create a topic when a client asks for one that does not exist")                   \
	X(BOOL, delete_topic_enable, "delete.topic.enable", "true", 0, 0, NULL,                    \
		"let clients delete topics")                                                       \
	X(INT32, min_insync_replicas, "min.insync.replicas", "1", 1, INT32_MAX, NULL,              \
		"replicas that must have a batch before acks=all is answered")                     \
	X(MS, retention_ms_key, "log.retention.ms", "", -1, INT64_MAX, NULL,                       \
		"how long records are kept; -1: for ever; wins over minutes and hours")            \
	X(INT64, retention_minutes, "log.retention.minutes", "", -1, INT32_MAX, NULL,              \
		"how long records are kept; wins over hours")                                      \
	X(INT64, retention_hours, "log.retention.hours", "168", -1, INT32_MAX, NULL,               \
		"how long records are kept")                                                       \
	X(BYTES, retention_bytes, "log.retention.bytes", "-1", -1, INT64_MAX, NULL,                \
		"how much of each partition is kept; -1: all")                                     \
	X(BYTES, segment_bytes, "log.segment.bytes", "1073741824", 1048576, INT32_MAX, NULL,       \
		"size of a segment file")                                                          \
	X(MS, roll_ms_key, "log.roll.ms", "", 1, INT64_MAX, NULL,                                  \
		"age at which a new segment is begun; wins over hours")                            \
	X(INT64, roll_hours, "log.roll.hours", "168", 1, INT32_MAX, NULL,                          \
		"age at which a new segment is begun")                                             \
	X(FLAGS, cleanup_policy, "log.cleanup.policy", "delete", 0, 0, "delete|compact",           \
		"what happens to old records: delete, compact, or both")                           \
	X(MS, retention_check_ms, "log.retention.check.interval.ms", "300000", 1, INT64_MAX, NULL, \
		"how often each partition is looked at for records that are kept no longer")       \
	X(MS, initial_task_delay_ms, "log.initial.task.delay.ms", "30000", 0, INT64_MAX, NULL,     \
		"how long after the start the first such look and the first compaction come")      \
	X(BOOL, cleaner_enable, "log.cleaner.enable", "true", 0, 0, NULL,                          \
		"compact the topics whose cleanup.policy has compact")                             \
	X(MS, cleaner_backoff_ms, "log.cleaner.backoff.ms", "15000", 0, INT64_MAX, NULL,           \
		"how often each compacted partition is looked at for something to compact")        \
	X(RATIO, cleaner_min_ratio_ppm, "log.cleaner.min.cleanable.ratio", "0.5", 0, 1000000,      \
		NULL, "least part of a log that must be uncompacted before it is compacted")       \
	X(MS, cleaner_min_lag_ms, "log.cleaner.min.compaction.lag.ms", "0", 0, INT64_MAX, NULL,    \
		"how long a record stays uncompacted at least")                                    \
	X(MS, cleaner_max_lag_ms, "log.cleaner.max.compaction.lag.ms", "9223372036854775807", 1,   \
		INT64_MAX, NULL, "how long a record stays uncompacted at most, whatever the ratio") \
	X(MS, cleaner_delete_retention_ms, "log.cleaner.delete.retention.ms", "86400000", 0,       \
		INT64_MAX, NULL, "how long the tombstone of a deleted key is kept")                \
	X(BYTES, cleaner_map_bytes, "log.cleaner.dedupe.buffer.size", "134217728", 1048576,        \
		INT64_MAX, NULL, "memory for the keys of compaction, of all storage workers together") \
	X(BYTES, cleaner_io_bytes, "log.cleaner.io.max.bytes.per.second", "9223372036854775807",   \
		1, INT64_MAX, NULL,                                                                \
		"bytes a second that compaction may read and write, of all workers together")      \
	X(STRING, compression_type, "compression.type", "producer", 0, 16, NULL,                   \
		"producer, uncompressed, gzip, snappy, lz4 or zstd: the codec that batches are "   \
		"stored by; producer: as sent")                                                    \
	X(ENUM, timestamp_type, "log.message.timestamp.type", "CreateTime", 0, 0,                  \
		"CreateTime|LogAppendTime", "whose clock stamps the records")                      \
	X(MS, timestamp_before_max_ms, "log.message.timestamp.before.max.ms",                      \
		"9223372036854775807", 0, INT64_MAX, NULL,                                         \
		"how far a record's timestamp may be in the past")                                 \
	X(MS, timestamp_after_max_ms, "log.message.timestamp.after.max.ms", "3600000", 0,          \
		INT64_MAX, NULL, "how far a record's timestamp may be in the future")              \
	X(BYTES, message_max_bytes, "message.max.bytes", "1048588", 61, 1073741824, NULL,          \
		"largest record batch")                                                            \
	X(BYTES, fetch_max_bytes, "fetch.max.bytes", "57671680", 1024, INT32_MAX, NULL,            \
		"largest answer to one fetch")                                                     \
	X(INT32, fetch_session_slots, "max.incremental.fetch.session.cache.slots", "1000", 0,      \
		INT32_MAX, NULL, "fetch sessions at once; who finds none free fetches without")    \
	X(BYTES, request_max_bytes, "socket.request.max.bytes", "104857600", 1024, INT32_MAX,      \
		NULL, "largest request")                                                           \
	X(BYTES, queued_max_request_bytes, "queued.max.request.bytes", "-1", -1, INT64_MAX, NULL,  \
		"bytes of requests in memory before reading stops; -1: memory.request.bytes")      \
	X(MS, connections_max_idle_ms, "connections.max.idle.ms", "600000", -1, INT64_MAX, NULL,   \
		"a connection silent for longer is closed; -1: never")                             \
	X(INT32, max_connections, "max.connections", "10000", 1, INT32_MAX, NULL,                  \
		"client connections at once; more than 1000000 is taken as 1000000")               \
	X(MS, producer_expiration_ms, "producer.id.expiration.ms", "86400000", 1, INT64_MAX, NULL, \
		"how long an idempotent producer that sends nothing is remembered")                \
	X(INT64, offsets_retention_minutes, "offsets.retention.minutes", "10080", 1, INT32_MAX,    \
		NULL, "how long the offsets of an empty group are kept")                           \
	X(INT32, offsets_partitions, "offsets.topic.num.partitions", "50", 1, 1000, NULL,          \
		"partitions of __consumer_offsets; fixed once the topic exists")                   \
	X(INT32, offset_metadata_max_bytes, "offset.metadata.max.bytes", "4096", 0, 1048576, NULL, \
		"largest text committed along with an offset")                                     \
	X(MS, group_initial_rebalance_delay_ms, "group.initial.rebalance.delay.ms", "3000", 0,     \
		300000, NULL, "how long a new group waits for more members")                       \
	X(MS, group_min_session_timeout_ms, "group.min.session.timeout.ms", "6000", 1, INT32_MAX,  \
		NULL, "smallest session timeout that a member may ask for")                        \
	X(MS, group_max_session_timeout_ms, "group.max.session.timeout.ms", "1800000", 1,          \
		INT32_MAX, NULL, "largest session timeout that a member may ask for")              \
	X(INT32, group_max_size, "group.max.size", "10000", 1, INT32_MAX, NULL,                    \
		"members of one group")                                                            \
	X(MS, group_consumer_session_timeout_ms, "group.consumer.session.timeout.ms", "45000", 1,  \
		INT32_MAX, NULL,                                                                   \
		"consumer protocol: a member silent for longer is out of its group")               \
	X(MS, group_consumer_heartbeat_interval_ms, "group.consumer.heartbeat.interval.ms",        \
		"5000", 1, INT32_MAX, NULL, "consumer protocol: how often members are to be heard")  \
	X(INT32, group_consumer_max_size, "group.consumer.max.size", "10000", 1, INT32_MAX, NULL,  \
		"consumer protocol: members of one group")                                         \
	X(ENUM, transport, "network.transport", "kernel", 0, 0, "kernel|dpdk",                     \
		"kernel: io_uring sockets; dpdk: our own TCP/IP on a DPDK port")                   \
	X(STRING, dpdk_port, "dpdk.port", "", 0, CONFIG_TEXT_MAX - 1, NULL, \
		"pci:ADDR, tap:NAME, af_xdp:IFACE, af_packet:IFACE, memif:SOCKET or ring:NAME; " \
		"then ,KEY=VALUE for the driver") \
	X(STRING, dpdk_address, "dpdk.address", "", 0, 63, NULL,                                   \
		"address of the DPDK port, A.B.C.D/len")                                           \
	X(STRING, dpdk_gateway, "dpdk.gateway", "", 0, 63, NULL,                                   \
		"gateway of the DPDK port, A.B.C.D; empty: the own network only")                  \
	X(BYTES, dpdk_memory, "dpdk.memory", "0", 0, 1099511627776, NULL,                          \
		"DPDK heap beside the log memory; 0: as much as the queues need")                  \
	X(BOOL, dpdk_verbose, "dpdk.verbose", "false", 0, 0, NULL, "DPDK's own log lines too")     \
	X(STRING, dpdk_eal, "dpdk.eal", "", 0, CONFIG_TEXT_MAX - 1, NULL, \
		"more arguments for DPDK's EAL, for what has no key; separated by blanks") \
	X(INT32, dpdk_vlan, "dpdk.vlan", "0", 0, 4094, NULL, \
		"VLAN (802.1Q) of all frames of the DPDK port; 0: frames without a tag") \
	X(ENUM, dpdk_offloads, "dpdk.offloads", "auto", 0, 0, "auto|off", \
		"whether the port, as far as it can, gathers frames and, of a card, makes checksums and segments") \
	X(ENUM, tcp_congestion, "tcp.congestion.control", "cubic", 0, 0, "cubic|newreno", \
		"congestion control of the dpdk transport") \
	X(BOOL, tcp_ecn, "tcp.ecn", "true", 0, 0, NULL, \
		"explicit congestion notification (RFC 3168) of the dpdk transport") \
	X(ENUM, hugepages, "hugepages", "auto", 0, 0, "auto|off|require",                          \
		"whether the memory for logs and packets is in huge pages")                        \
	X(INT32, shards, "shards", "0", 0, 64, NULL,                                               \
		"shard threads; 0: one per CPU, less one for the rest")                            \
	X(CPUS, shard_cpus, "shard.cpus", "", 0, 0, NULL,                                          \
		"CPUs of the shards, such as 0,2-5; empty: where the kernel puts them")            \
	X(BOOL, shard_listeners, "shard.listeners", "false", 0, 0, NULL,                           \
		"a port and node id of its own for every shard (refused by this version)")         \
	X(INT32, storage_workers, "storage.workers", "0", 0, 16, NULL,                             \
		"storage worker threads; 0: one per log directory")                                \
	X(CPUS, storage_cpus, "storage.cpus", "", 0, 0, NULL,                                      \
		"CPUs of the storage workers; empty: where the kernel puts them")                  \
	X(ENUM, poll_mode, "poll.mode", "adaptive", 0, 0, "adaptive|busy",                         \
		"adaptive: idle threads sleep; busy: shards own their CPU")                        \
	X(INT32, poll_spin_us, "poll.spin.us", "50", 0, 1000000, NULL, \
		"adaptive: how long a shard looks for work before it sleeps") \
	X(INT32, poll_nap_max_us, "poll.nap.max.us", "10000", 50, 1000000, NULL, \
		"adaptive: longest nap on a dpdk port that cannot wake the shard") \
	X(STRING, process_user, "process.user", "", 0, 63, NULL, \
		"user to become once ports and listeners are open; empty: stay") \
	X(BYTES, memory_log_bytes, "memory.log.bytes", "268435456", 8388608, 4398046511104, NULL,  \
		"memory for log blocks, of all shards together")                                   \
	X(RATIO, memory_read_ratio_ppm, "memory.read.ratio", "0.25", 10000, 750000, NULL,          \
		"part of memory.log.bytes for reading what is not in memory any more")             \
	X(BYTES, memory_request_bytes, "memory.request.bytes", "134217728", 1048576,               \
		1099511627776, NULL, "memory for requests being received, of all shards together") \
	X(BYTES, journal_bytes, "journal.bytes", "268435456", 16777216, 1099511627776, NULL,       \
		"size of the commit journal, of each storage worker in each log directory")        \
	X(ENUM, durability, "durability", "flush", 0, 0, "flush|written",                          \
		"flush: an acknowledged batch is on stable storage; written: the device has it")   \
	X(LISTENER, admin_listener, "admin.listener", "127.0.0.1:9644", 0, 65535, NULL,            \
		"host:port of the admin HTTP server; empty: none")                                 \
	X(ENUM, log_level, "log.level", "info", 0, 0, "debug|info|warn|error",                     \
		"operator log lines below this are dropped")
/* clang-format on */

/* Kafka keys that are accepted and warned about sit in config_ignored.c. */
#define CONFIG_IGNORED_MAX 128

enum config_key {
#define X(type, field, key, def, min, max, choices, help) CONFIG_KEY_##field,
	CONFIG_KEYS(X)
#undef X
		CONFIG_KEY_COUNT
};

#define CONFIG_CTYPE_STRING(f) char f[CONFIG_TEXT_MAX];
#define CONFIG_CTYPE_BOOL(f) bool f;
#define CONFIG_CTYPE_INT32(f) int32_t f;
#define CONFIG_CTYPE_INT64(f) int64_t f;
#define CONFIG_CTYPE_BYTES(f) int64_t f;
#define CONFIG_CTYPE_MS(f) int64_t f;
#define CONFIG_CTYPE_RATIO(f) int32_t f; /* in millionths */
#define CONFIG_CTYPE_ENUM(f) int f;
#define CONFIG_CTYPE_FLAGS(f) uint32_t f;
#define CONFIG_CTYPE_LISTENERS(f) struct config_listeners f;
#define CONFIG_CTYPE_LISTENER(f) struct config_listeners f; /* count 0 or 1; no name */
#define CONFIG_CTYPE_DIRS(f) struct config_dirs f;
#define CONFIG_CTYPE_CPUS(f) struct config_cpus f;

/* A value: may be copied. */
struct config {
#define X(type, field, key, def, min, max, choices, help) CONFIG_CTYPE_##type(field)
	CONFIG_KEYS(X)
#undef X
	/* derived by config_finish */
	int64_t retention_ms; /* -1: for ever */
	int64_t roll_ms;
	/* bookkeeping */
	bool given[CONFIG_KEY_COUNT];	       /* set by a file or --set */
	bool ignored_seen[CONFIG_IGNORED_MAX]; /* keys of Kafka that mean nothing here */
};

/* Every key at its default. */
void config_defaults(struct config *c);
/*
 * Reads Java .properties text: `key = value`, `key: value`, `key value`, `#` and `!` comments, `\`
 * at the end of a line continues it, \t \n \r \f \uXXXX and \c escapes. `name` is for messages.
 * Borrows.
 */
int config_parse(struct config *c, const char *name, const char *text, size_t len, char *err,
	size_t err_size);
int config_load_file(struct config *c, const char *path, char *err, size_t err_size);
/* `key=value` of --set. */
int config_set(struct config *c, const char *assignment, char *err, size_t err_size);
/*
 * Cross checks and derived values: retention_ms, roll_ms, absolute log.dirs, the listeners of a
 * controller left out, advertised.listeners where empty. hostname: this machine's, to advertise for
 * a listener on every address (borrowed).
 */
int config_finish(struct config *c, const char *hostname, char *err, size_t err_size);
/* The cross checks and derived values of keys that are set at run time: what topics take from the
 * broker. */
int config_refresh(struct config *c, char *err, size_t err_size);
/* Calls fn once for each Kafka key that was given and means nothing here, with a sentence. */
void config_warn(const struct config *c, void (*fn)(void *arg, const char *sentence), void *arg);

/* Valid .properties text of the effective values; comments = true: with the help of each key. */
void config_print(const struct config *c, FILE *out, bool comments);
/* The effective values as one JSON object, key to text; malloc, the caller's. NULL: no memory. */
char *config_json(const struct config *c);
/* The effective value of one key as text (cut to size), as a file would have it. */
void config_value_text(const struct config *c, enum config_key key, char *out, size_t size);
const char *config_key_name(enum config_key key);

/* What kind of value a config has, as Kafka tells clients (KIP-569, with its numbers). */
enum config_kind {
	CONFIG_KIND_BOOLEAN = 1,
	CONFIG_KIND_STRING = 2,
	CONFIG_KIND_INT = 3,
	CONFIG_KIND_LONG = 5,
	CONFIG_KIND_DOUBLE = 6,
	CONFIG_KIND_LIST = 7,
};

/* What there is to say about a key, whatever its value. Static text. */
struct config_about {
	const char *name;
	const char *def; /* the default, as a file would have it */
	const char *help;
	enum config_kind kind;
};
struct config_about config_about(enum config_key key);

#endif
