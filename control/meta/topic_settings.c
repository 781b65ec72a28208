/* SPDX-License-Identifier: Apache-2.0 */
/* Settings of topics: which there are, what they may be, what they come to. PURE. */
#include "control/meta/topic_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

#define LONG_MAX_TEXT "9223372036854775807"
#define B(field) CONFIG_KEY_##field
#define NO_KEY -1

static const struct topic_setting_desc settings[] = {
	{"cleanup.policy", TOPIC_SET_LIST, "delete", 0, 0, "delete|compact", B(cleanup_policy),
		NULL},
	{"compression.gzip.level", TOPIC_SET_INT, "-1", -1, 9, NULL, NO_KEY,
		"level of gzip, where compression.type asks for it"},
	{"compression.lz4.level", TOPIC_SET_INT, "9", 1, 17, NULL, NO_KEY,
		"level of lz4, where compression.type asks for it"},
	{"compression.type", TOPIC_SET_ENUM, "producer", 0, 0,
		"producer|uncompressed|gzip|snappy|lz4|zstd", B(compression_type), NULL},
	{"compression.zstd.level", TOPIC_SET_INT, "3", -131072, 22, NULL, NO_KEY,
		"level of zstd, where compression.type asks for it"},
	{"delete.retention.ms", TOPIC_SET_INT, "86400000", 0, INT64_MAX, NULL,
		B(cleaner_delete_retention_ms), NULL},
	{"durability", TOPIC_SET_ENUM, "flush", 0, 0, "flush|written", B(durability), NULL},
	{"errors.deadletterqueue.group.enable", TOPIC_SET_BOOL, "false", 0, 0, NULL, NO_KEY,
		"accepted for tools; there are no share groups"},
	{"file.delete.delay.ms", TOPIC_SET_INT, "60000", 0, INT64_MAX, NULL, NO_KEY,
		"accepted for tools; files of removed segments go when their readers have"},
	{"flush.messages", TOPIC_SET_INT, LONG_MAX_TEXT, 1, INT64_MAX, NULL, NO_KEY,
		"accepted for tools; an acknowledged batch is flushed (see durability)"},
	{"flush.ms", TOPIC_SET_INT, LONG_MAX_TEXT, 0, INT64_MAX, NULL, NO_KEY,
		"accepted for tools; an acknowledged batch is flushed (see durability)"},
	{"follower.replication.throttled.replicas", TOPIC_SET_TEXT, "", 0, 0, NULL, NO_KEY,
		"accepted for tools; there are no followers"},
	{"index.interval.bytes", TOPIC_SET_INT, "4096", 0, INT32_MAX, NULL, NO_KEY,
		"accepted for tools; the index has an entry for each block"},
	{"leader.replication.throttled.replicas", TOPIC_SET_TEXT, "", 0, 0, NULL, NO_KEY,
		"accepted for tools; there are no followers"},
	{"local.retention.bytes", TOPIC_SET_INT, "-2", -2, INT64_MAX, NULL, NO_KEY,
		"accepted for tools; there is no remote storage"},
	{"local.retention.ms", TOPIC_SET_INT, "-2", -2, INT64_MAX, NULL, NO_KEY,
		"accepted for tools; there is no remote storage"},
	{"max.compaction.lag.ms", TOPIC_SET_INT, LONG_MAX_TEXT, 1, INT64_MAX, NULL,
		B(cleaner_max_lag_ms), NULL},
	{"max.message.bytes", TOPIC_SET_INT, "1048588", 0, INT32_MAX, NULL, B(message_max_bytes),
		NULL},
	{"message.downconversion.enable", TOPIC_SET_BOOL, "true", 0, 0, NULL, NO_KEY,
		"accepted for tools; only record format 2 is there"},
	{"message.timestamp.after.max.ms", TOPIC_SET_INT, "3600000", 0, INT64_MAX, NULL,
		B(timestamp_after_max_ms), NULL},
	{"message.timestamp.before.max.ms", TOPIC_SET_INT, LONG_MAX_TEXT, 0, INT64_MAX, NULL,
		B(timestamp_before_max_ms), NULL},
	{"message.timestamp.type", TOPIC_SET_ENUM, "CreateTime", 0, 0, "CreateTime|LogAppendTime",
		B(timestamp_type), NULL},
	{"min.cleanable.dirty.ratio", TOPIC_SET_REAL, "0.5", 0, 1, NULL, B(cleaner_min_ratio_ppm),
		NULL},
	{"min.compaction.lag.ms", TOPIC_SET_INT, "0", 0, INT64_MAX, NULL, B(cleaner_min_lag_ms),
		NULL},
	{"min.insync.replicas", TOPIC_SET_INT, "1", 1, INT16_MAX, NULL, B(min_insync_replicas),
		NULL},
	{"preallocate", TOPIC_SET_BOOL, "false", 0, 0, NULL, NO_KEY,
		"accepted for tools; files always grow ahead of the writer"},
	{"remote.log.copy.disable", TOPIC_SET_BOOL, "false", 0, 0, NULL, NO_KEY,
		"accepted for tools; there is no remote storage"},
	{"remote.log.delete.on.disable", TOPIC_SET_BOOL, "false", 0, 0, NULL, NO_KEY,
		"accepted for tools; there is no remote storage"},
	{"remote.storage.enable", TOPIC_SET_ENUM, "false", 0, 0, "false", NO_KEY,
		"only false: there is no remote storage"},
	{"retention.bytes", TOPIC_SET_INT, "-1", -1, INT64_MAX, NULL, B(retention_bytes), NULL},
	{"retention.ms", TOPIC_SET_INT, "604800000", -1, INT64_MAX, NULL, B(retention_ms_key),
		NULL},
	{"segment.bytes", TOPIC_SET_INT, "1073741824", 1 << 20, INT32_MAX, NULL, B(segment_bytes),
		NULL},
	{"segment.index.bytes", TOPIC_SET_INT, "10485760", 4, INT32_MAX, NULL, NO_KEY,
		"accepted for tools; an index is as large as its segment needs"},
	{"segment.jitter.ms", TOPIC_SET_INT, "0", 0, INT64_MAX, NULL, NO_KEY,
		"accepted for tools; segments roll when they are written to"},
	{"segment.ms", TOPIC_SET_INT, "604800000", 1, INT64_MAX, NULL, B(roll_ms_key), NULL},
	{"unclean.leader.election.enable", TOPIC_SET_BOOL, "false", 0, 0, NULL, NO_KEY,
		"accepted for tools; there is one replica"},
};

const struct topic_setting_desc *topic_settings(uint32_t *count)
{
	*count = array_size(settings);
	return settings;
}

const struct topic_setting_desc *topic_setting_find(struct kstr name)
{
	for (size_t i = 0; i < array_size(settings); i++)
		if (kstr_equal(name, kstr_of(settings[i].name)))
			return &settings[i];
	return NULL;
}

const char *topic_setting_help(const struct topic_setting_desc *d)
{
	return d->help ? d->help : config_about((enum config_key)d->broker_key).help;
}

enum config_kind topic_setting_kind(const struct topic_setting_desc *d)
{
	switch (d->type) {
	case TOPIC_SET_BOOL:
		return CONFIG_KIND_BOOLEAN;
	case TOPIC_SET_INT:
		return d->max > INT32_MAX ? CONFIG_KIND_LONG : CONFIG_KIND_INT;
	case TOPIC_SET_LIST:
		return CONFIG_KIND_LIST;
	case TOPIC_SET_REAL:
		return CONFIG_KIND_DOUBLE;
	default:
		return CONFIG_KIND_STRING;
	}
}

/* Index of text in "a|b|c"; -1. */
static int choice_index(const char *choices, const char *text, size_t len)
{
	int i = 0;
	for (const char *p = choices; p; i++) {
		const char *bar = strchr(p, '|');
		size_t n = bar ? (size_t)(bar - p) : strlen(p);
		if (n == len && memcmp(p, text, n) == 0)
			return i;
		p = bar ? bar + 1 : NULL;
	}
	return -1;
}

/* Bits of the choices that a comma separated list names; -1 when it names another. Empty: none. */
static int list_bits(const char *choices, const char *text)
{
	int bits = 0;
	for (const char *p = text; *p;) {
		p += strspn(p, ", ");
		size_t n = strcspn(p, ", ");
		if (n == 0)
			break;
		int i = choice_index(choices, p, n);
		if (i < 0)
			return -1;
		bits |= 1 << i;
		p += n;
	}
	return bits;
}

static bool int_parse(const char *text, int64_t *v)
{
	char *end;
	errno = 0;
	long long got = strtoll(text, &end, 10);
	if (end == text || *end || errno || strchr(" \t", text[0]))
		return false;
	*v = got;
	return true;
}

/* The largest batch that this broker's memory can take; as config_finish holds message.max.bytes.
 */
static int64_t max_batch(const struct config *cfg)
{
	int64_t share = cfg->memory_log_bytes / max_of(cfg->shards, 1) / 4;
	return min_of(share, cfg->request_max_bytes);
}

static int bounds_check(const struct topic_setting_desc *d, const char *value,
	const struct config *cfg, char *err, size_t size)
{
	int64_t v;
	if (!int_parse(value, &v) || v < d->min || v > d->max) {
		snprintf(err, size,
			"Invalid value %s for configuration %s: must be a whole number from %lld "
			"to %lld",
			value, d->name, (long long)d->min, (long long)d->max);
		return -1;
	}
	if (cfg && strcmp(d->name, "max.message.bytes") == 0 && v > max_batch(cfg)) {
		snprintf(err, size,
			"Invalid value %s for configuration %s: this broker's memory.log.bytes and "
			"socket.request.max.bytes allow %lld",
			value, d->name, (long long)max_batch(cfg));
		return -1;
	}
	return 0;
}

static bool value_fits(const struct topic_setting_desc *d, const char *value)
{
	char *end;
	double real;
	switch (d->type) {
	case TOPIC_SET_BOOL:
		return strcasecmp(value, "true") == 0 || strcasecmp(value, "false") == 0;
	case TOPIC_SET_ENUM:
		return choice_index(d->choices, value, strlen(value)) >= 0;
	case TOPIC_SET_LIST:
		return list_bits(d->choices, value) >= 0;
	case TOPIC_SET_REAL:
		real = strtod(value, &end);
		return end != value && !*end && real >= (double)d->min && real <= (double)d->max;
	default:
		return true;
	}
}

static const char *allowed(const struct topic_setting_desc *d)
{
	switch (d->type) {
	case TOPIC_SET_BOOL:
		return "true|false";
	case TOPIC_SET_REAL:
		return "a number from 0 to 1";
	default:
		return d->choices ? d->choices : "";
	}
}

int topic_setting_check(
	const struct topic_setting_arg *arg, const struct config *cfg, char *err, size_t err_size)
{
	const struct topic_setting_desc *d = topic_setting_find(arg->name);
	char value[TOPIC_VALUE_MAX + 1];
	if (!d) {
		snprintf(err, err_size, "Unknown topic config name: %.*s",
			(int)min_of(max_of(arg->name.len, 0), 100), arg->name.p ? arg->name.p : "");
		return -1;
	}
	if (arg->value.len < 0) {
		snprintf(err, err_size, "Null value not supported for topic configs: %s", d->name);
		return -1;
	}
	if (arg->value.len > TOPIC_VALUE_MAX) {
		snprintf(err, err_size, "Value of %s has more than %d characters", d->name,
			TOPIC_VALUE_MAX);
		return -1;
	}
	for (int32_t i = 0; i < arg->value.len; i++) {
		if (arg->value.p[i] < ' ' || arg->value.p[i] > '~') {
			snprintf(err, err_size,
				"Value of %s has characters that are not printable ASCII", d->name);
			return -1;
		}
	}
	kstr_copy(arg->value, value, sizeof(value));
	if (d->type == TOPIC_SET_INT)
		return bounds_check(d, value, cfg, err, err_size);
	if (value_fits(d, value))
		return 0;
	snprintf(err, err_size, "Invalid value %.60s for configuration %s: must be %s", value,
		d->name, allowed(d));
	return -1;
}

const char *topic_setting_given(const struct topic *topic, const char *name)
{
	for (uint32_t i = 0; topic && i < topic->setting_count; i++)
		if (strcmp(topic->settings[i].desc->name, name) == 0)
			return topic->settings[i].value;
	return NULL;
}

/* The broker's default; true when the operator gave it. */
static bool broker_value(
	const struct topic_setting_desc *d, const struct config *cfg, char *out, size_t size)
{
	const bool *given = cfg->given;
	switch (d->broker_key) {
	case NO_KEY:
		snprintf(out, size, "%s", d->def);
		return false;
	case CONFIG_KEY_retention_ms_key:
		snprintf(out, size, "%lld", (long long)cfg->retention_ms);
		return given[CONFIG_KEY_retention_ms_key] || given[CONFIG_KEY_retention_minutes] ||
		       given[CONFIG_KEY_retention_hours];
	case CONFIG_KEY_roll_ms_key:
		snprintf(out, size, "%lld", (long long)cfg->roll_ms);
		return given[CONFIG_KEY_roll_ms_key] || given[CONFIG_KEY_roll_hours];
	default:
		config_value_text(cfg, d->broker_key, out, size);
		return given[d->broker_key];
	}
}

enum topic_setting_source topic_setting_value(const struct topic *topic,
	const struct topic_setting_desc *desc, const struct config *cfg, char *out, size_t size)
{
	const char *own = topic_setting_given(topic, desc->name);
	if (own) {
		snprintf(out, size, "%s", own);
		return TOPIC_SRC_TOPIC;
	}
	return broker_value(desc, cfg, out, size) ? TOPIC_SRC_STATIC_BROKER : TOPIC_SRC_DEFAULT;
}

static int64_t int_setting(const struct topic *topic, const char *name, int64_t otherwise)
{
	const char *own = topic_setting_given(topic, name);
	int64_t v;
	return own && int_parse(own, &v) ? v : otherwise;
}

/* A setting from 0 to 1 in millionths. */
static uint32_t ppm_setting(const struct topic *topic, const char *name, int32_t otherwise)
{
	const char *own = topic_setting_given(topic, name);
	return (uint32_t)(own ? (int32_t)(strtod(own, NULL) * 1e6 + 0.5) : otherwise);
}

static int8_t compression_of(const char *name)
{
	static const struct {
		const char *name;
		int8_t codec;
	} codecs[] = {
		{"uncompressed", CODEC_NONE},
		{"gzip", CODEC_GZIP},
		{"snappy", CODEC_SNAPPY},
		{"lz4", CODEC_LZ4},
		{"zstd", CODEC_ZSTD},
	};
	for (size_t i = 0; i < array_size(codecs); i++)
		if (strcmp(codecs[i].name, name) == 0)
			return codecs[i].codec;
	return IMAGE_COMPRESSION_PRODUCER;
}

/* Of gzip -1, and of every codec 0, is its default. */
static int32_t level_of(const struct topic *topic, int8_t codec)
{
	switch (codec) {
	case CODEC_GZIP:
		return (int32_t)max_of(int_setting(topic, "compression.gzip.level", 0), (int64_t)0);
	case CODEC_LZ4:
		return (int32_t)int_setting(topic, "compression.lz4.level", 9);
	case CODEC_ZSTD:
		return (int32_t)int_setting(topic, "compression.zstd.level", 3);
	default:
		return 0;
	}
}

struct image_topic_config topic_image_config(const struct topic *topic, const struct config *cfg)
{
	const char *policy = topic_setting_given(topic, "cleanup.policy");
	const char *stamp = topic_setting_given(topic, "message.timestamp.type");
	const char *codec = topic_setting_given(topic, "compression.type");
	const char *durability = topic_setting_given(topic, "durability");
	int bits = policy ? list_bits("delete|compact", policy) : (int)cfg->cleanup_policy;
	int64_t segment = int_setting(topic, "segment.bytes", cfg->segment_bytes);
	int64_t batch = int_setting(topic, "max.message.bytes", cfg->message_max_bytes);
	batch = min_of(min_of(batch, max_batch(cfg)), segment); /* a batch lies in one segment */
	return (struct image_topic_config){
		.max_message_bytes = (uint32_t)batch,
		.log_append_time = stamp ? strcmp(stamp, "LogAppendTime") == 0
					 : cfg->timestamp_type == CONFIG_TS_LOG_APPEND_TIME,
		.cleanup_compact = (bits & (int)CONFIG_CLEANUP_COMPACT) != 0,
		.cleanup_delete = (bits & (int)CONFIG_CLEANUP_DELETE) != 0,
		.durability_written = durability ? strcmp(durability, "written") == 0
						 : cfg->durability == CONFIG_DURABILITY_WRITTEN,
		.compression = compression_of(codec ? codec : cfg->compression_type),
		.compression_level =
			level_of(topic, compression_of(codec ? codec : cfg->compression_type)),
		.min_insync_replicas = (int16_t)int_setting(
			topic, "min.insync.replicas", min_of(cfg->min_insync_replicas, INT16_MAX)),
		.timestamp_before_max_ms = int_setting(
			topic, "message.timestamp.before.max.ms", cfg->timestamp_before_max_ms),
		.timestamp_after_max_ms = int_setting(
			topic, "message.timestamp.after.max.ms", cfg->timestamp_after_max_ms),
		.segment_bytes = segment,
		.segment_ms = int_setting(topic, "segment.ms", cfg->roll_ms),
		.retention_ms = int_setting(topic, "retention.ms", cfg->retention_ms),
		.retention_bytes = int_setting(topic, "retention.bytes", cfg->retention_bytes),
		.delete_retention_ms =
			int_setting(topic, "delete.retention.ms", cfg->cleaner_delete_retention_ms),
		.min_compaction_lag_ms =
			int_setting(topic, "min.compaction.lag.ms", cfg->cleaner_min_lag_ms),
		.max_compaction_lag_ms =
			int_setting(topic, "max.compaction.lag.ms", cfg->cleaner_max_lag_ms),
		.min_dirty_ppm =
			ppm_setting(topic, "min.cleanable.dirty.ratio", cfg->cleaner_min_ratio_ppm),
	};
}
