/* SPDX-License-Identifier: Apache-2.0 */
/* Which keys there are: ours, Kafka's that mean nothing here, and those that must not be ignored.
 */
#include "control/config/config_int.h"

#include <string.h>

#include "base/check.h"

const struct config_desc config_table[CONFIG_KEY_COUNT] = {
#define X(type, field, key, def, min, max, choices, help)                                          \
	{key, CONFIG_TYPE_##type, offsetof(struct config, field), def, min, max, choices, help},
	CONFIG_KEYS(X)
#undef X
};

static const struct {
	const char *alias;
	enum config_key key;
} aliases[] = {
	{"broker.id", CONFIG_KEY_node_id},
	{"log.dir", CONFIG_KEY_log_dirs},
};

/* A `*` at the end stands for any rest. */
static const char *const ignored[] = {
	"alter.config.policy.class.name",
	"alter.log.dirs.replication.quota.*",
	"auto.include.jmx.reporter",
	"auto.leader.rebalance.enable",
	"background.threads",
	"broker.heartbeat.interval.ms",
	"broker.id.generation.enable",
	"broker.session.timeout.ms",
	"client.quota.callback.class",
	"compression.gzip.level",
	"compression.lz4.level",
	"compression.zstd.level",
	"controlled.shutdown.*",
	"controller.*",
	"create.topic.policy.class.name",
	"delete.records.purgatory.purge.interval.requests",
	"early.start.listeners",
	"eligible.leader.replicas.enable",
	"errors.deadletterqueue.*",
	"fetch.purgatory.purge.interval.requests",
	"group.consumer.*",
	"group.coordinator.*",
	"group.share.*",
	"group.streams.*",
	"initial.broker.registration.timeout.ms",
	"inter.broker.listener.name",
	"inter.broker.protocol.version",
	"kafka.metrics.*",
	"leader.imbalance.*",
	"log.cleaner.*",
	"log.deletion.*",
	"log.dir.failure.timeout.ms",
	"log.flush.interval.messages",
	"log.flush.interval.ms",
	"log.flush.*",
	"log.index.*",
	"log.local.retention.*",
	"log.message.downconversion.enable",
	"log.message.format.version",
	"log.message.timestamp.difference.max.ms",
	"log.preallocate",
	"log.roll.jitter.*",
	"log.segment.delete.delay.ms",
	"max.connection.creation.rate",
	"max.connections.per.ip",
	"max.connections.per.ip.overrides",
	"metadata.*",
	"metric.reporters",
	"metrics.*",
	"num.io.threads",
	"num.network.threads",
	"num.recovery.threads.per.data.dir",
	"num.replica.alter.log.dirs.threads",
	"num.replica.fetchers",
	"offsets.commit.*",
	"offsets.load.buffer.size",
	"offsets.retention.check.interval.ms",
	"offsets.topic.compression.codec",
	"offsets.topic.replication.factor",
	"offsets.topic.segment.bytes",
	"process.roles",
	"producer.id.expiration.check.interval.ms",
	"producer.purgatory.purge.interval.requests",
	"queued.max.requests",
	"quota.*",
	"remote.*",
	"replica.*",
	"replication.quota.*",
	"request.timeout.ms",
	"reserved.broker.max.id",
	"server.max.startup.time.ms",
	"share.coordinator.*",
	"socket.connection.setup.timeout.*",
	"socket.listen.backlog.size",
	"socket.receive.buffer.bytes",
	"socket.send.buffer.bytes",
	"telemetry.*",
	"transaction.*",
	"transactional.id.expiration.ms",
	"unclean.leader.election.*",
	"unstable.*",
	"zookeeper.*",
};
_Static_assert(
	sizeof(ignored) / sizeof(ignored[0]) <= CONFIG_IGNORED_MAX, "ignored_seen holds them");

static const char *const refused[] = {
	"authorizer.*",
	"allow.everyone.if.no.acl.found",
	"connections.max.reauth.ms",
	"delegation.token.*",
	"listener.name.*",
	"password.encoder.*",
	"principal.builder.class",
	"sasl.*",
	"security.*",
	"ssl.*",
	"super.users",
};

static bool pattern_matches(const char *pattern, const char *name)
{
	size_t n = strlen(pattern);
	if (pattern[n - 1] == '*')
		return strncmp(pattern, name, n - 1) == 0 && name[n - 1] != 0;
	return strcmp(pattern, name) == 0;
}

int config_find_key(const char *name)
{
	for (int i = 0; i < CONFIG_KEY_COUNT; i++)
		if (strcmp(config_table[i].name, name) == 0)
			return i;
	for (size_t i = 0; i < array_size(aliases); i++)
		if (strcmp(aliases[i].alias, name) == 0)
			return aliases[i].key;
	return -1;
}

int config_find_ignored(const char *name)
{
	for (size_t i = 0; i < array_size(ignored); i++)
		if (pattern_matches(ignored[i], name))
			return (int)i;
	return -1;
}

const char *config_ignored_pattern(int i)
{
	return ignored[i];
}

bool config_is_refused(const char *name)
{
	for (size_t i = 0; i < array_size(refused); i++)
		if (pattern_matches(refused[i], name))
			return true;
	return false;
}

/* Levenshtein distance; names longer than the row are compared by their beginning. */
static unsigned distance(const char *a, const char *b)
{
	unsigned row[CONFIG_KEY_MAX + 1];
	size_t la = strnlen(a, CONFIG_KEY_MAX), lb = strnlen(b, CONFIG_KEY_MAX);
	for (size_t j = 0; j <= lb; j++)
		row[j] = (unsigned)j;
	for (size_t i = 1; i <= la; i++) {
		unsigned diagonal = row[0];
		row[0] = (unsigned)i;
		for (size_t j = 1; j <= lb; j++) {
			unsigned above = row[j];
			unsigned change = diagonal + (a[i - 1] != b[j - 1]);
			unsigned gap = 1 + min_of(above, row[j - 1]);
			row[j] = min_of(change, gap);
			diagonal = above;
		}
	}
	return row[lb];
}

const char *config_nearest_key(const char *name)
{
	const char *best = config_table[0].name;
	unsigned least = distance(name, best);
	for (size_t i = 1; i < CONFIG_KEY_COUNT; i++) {
		unsigned d = distance(name, config_table[i].name);
		if (d < least) {
			least = d;
			best = config_table[i].name;
		}
	}
	for (size_t i = 0; i < array_size(aliases); i++) {
		unsigned d = distance(name, aliases[i].alias);
		if (d < least) {
			least = d;
			best = aliases[i].alias;
		}
	}
	return best;
}

const char *config_key_name(enum config_key key)
{
	return config_table[key].name;
}

struct config_about config_about(enum config_key key)
{
	static const enum config_kind kinds[] = {
		[CONFIG_TYPE_STRING] = CONFIG_KIND_STRING,
		[CONFIG_TYPE_BOOL] = CONFIG_KIND_BOOLEAN,
		[CONFIG_TYPE_INT32] = CONFIG_KIND_INT,
		[CONFIG_TYPE_INT64] = CONFIG_KIND_LONG,
		[CONFIG_TYPE_BYTES] = CONFIG_KIND_LONG,
		[CONFIG_TYPE_MS] = CONFIG_KIND_LONG,
		[CONFIG_TYPE_RATIO] = CONFIG_KIND_DOUBLE,
		[CONFIG_TYPE_ENUM] = CONFIG_KIND_STRING,
		[CONFIG_TYPE_FLAGS] = CONFIG_KIND_LIST,
		[CONFIG_TYPE_LISTENERS] = CONFIG_KIND_LIST,
		[CONFIG_TYPE_LISTENER] = CONFIG_KIND_STRING,
		[CONFIG_TYPE_DIRS] = CONFIG_KIND_LIST,
		[CONFIG_TYPE_CPUS] = CONFIG_KIND_LIST,
	};
	const struct config_desc *d = &config_table[key];
	return (struct config_about){
		.name = d->name, .def = d->def, .help = d->help, .kind = kinds[d->type]};
}
