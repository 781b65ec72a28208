/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a topic may be created: Kafka's rules in Kafka's order. PURE. */
#include "control/meta/topic_int.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "kafka/errcode.h"

__attribute__((format(printf, 4, 5))) static int16_t refuse(
	int16_t code, char *err, size_t size, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(err, size, fmt, ap);
	va_end(ap);
	return code;
}

bool topic_name_reserved(struct kstr name)
{
	static const char *const reserved[] = {
		TOPIC_OFFSETS, "__transaction_state", "__share_group_state", "__cluster_metadata"};
	for (size_t i = 0; i < array_size(reserved); i++)
		if (kstr_equal(name, kstr_of(reserved[i])))
			return true;
	return false;
}

static int16_t check_name(
	const struct topics *t, const struct topic_spec *spec, char *err, size_t size)
{
	struct kstr name = spec->name;
	int shown = (int)min_of(max_of(name.len, 0), IMAGE_TOPIC_NAME_MAX);
	if (!topic_name_valid(name))
		return refuse(KE_INVALID_TOPIC_EXCEPTION, err, size,
			"Topic name is invalid: it must have 1 to 249 characters of a-z A-Z 0-9 . "
			"_ - and not "
			"be . or ..");
	if (topics_find(t, name))
		return refuse(KE_TOPIC_ALREADY_EXISTS, err, size, "Topic '%.*s' already exists.",
			shown, name.p);
	if (topic_name_reserved(name) && !spec->internal)
		return refuse(KE_INVALID_TOPIC_EXCEPTION, err, size,
			"Topic '%.*s' is the broker's own: it is created when it is first needed.",
			shown, name.p);
	if (!memchr(name.p, '.', (size_t)name.len) && !memchr(name.p, '_', (size_t)name.len))
		return KE_NONE; /* without one of them no other name collides */
	for (uint32_t i = 0; i < t->count; i++)
		if (topic_name_collides(name, kstr_of(t->v[i]->name)))
			return refuse(KE_INVALID_TOPIC_EXCEPTION, err, size,
				"Topic '%.*s' collides with existing topic: %s", shown, name.p,
				t->v[i]->name);
	return KE_NONE;
}

static int16_t check_replicas(const struct topic_assignment *a, int32_t replicas,
	const struct config *cfg, char *err, size_t size)
{
	if (a->broker_count <= 0)
		return refuse(KE_INVALID_REPLICA_ASSIGNMENT, err, size,
			"The manual partition assignment includes an empty replica list.");
	if (a->broker_count != replicas)
		return refuse(KE_INVALID_REPLICA_ASSIGNMENT, err, size,
			"The manual partition assignment includes a partition with %d replica(s), "
			"but this "
			"is not consistent with previous partitions, which have %d replica(s).",
			a->broker_count, replicas);
	for (int32_t i = 0; i < a->broker_count; i++) {
		if (a->brokers[i] != cfg->node_id)
			return refuse(KE_INVALID_REPLICA_ASSIGNMENT, err, size,
				"The manual partition assignment includes broker %d, but no such "
				"broker is "
				"registered.",
				a->brokers[i]);
		for (int32_t j = 0; j < i; j++)
			if (a->brokers[i] == a->brokers[j])
				return refuse(KE_INVALID_REPLICA_ASSIGNMENT, err, size,
					"The manual partition assignment includes the broker %d "
					"more than "
					"once.",
					a->brokers[i]);
	}
	return KE_NONE;
}

static int16_t check_assignments(
	const struct topic_spec *spec, const struct config *cfg, char *err, size_t size)
{
	int32_t n = spec->assignment_count;
	if (spec->partitions != -1)
		return refuse(KE_INVALID_REQUEST, err, size,
			"A manual partition assignment was specified, but numPartitions was not "
			"set to -1.");
	if (spec->replication != -1)
		return refuse(KE_INVALID_REQUEST, err, size,
			"A manual partition assignment was specified, but replication factor was "
			"not set to "
			"-1.");
	if (n > TOPIC_REQUEST_MAX_PARTITIONS)
		return KE_NONE; /* answered by check_partitions */
	uint8_t seen[TOPIC_REQUEST_MAX_PARTITIONS / 8 + 1] = {0};
	for (int32_t i = 0; i < n; i++) {
		const struct topic_assignment *a = &spec->assignments[i];
		int32_t p = a->partition;
		/* n different numbers below n are all of them */
		if (p < 0 || p >= n)
			return refuse(KE_INVALID_REPLICA_ASSIGNMENT, err, size,
				"partitions should be a consecutive 0-based integer sequence");
		if (seen[p / 8] & 1 << p % 8)
			return refuse(KE_INVALID_REPLICA_ASSIGNMENT, err, size,
				"Found multiple manual partition assignments for partition %d", p);
		seen[p / 8] |= (uint8_t)(1 << p % 8);
		int16_t e = check_replicas(a, spec->assignments[0].broker_count, cfg, err, size);
		if (e)
			return e;
	}
	return KE_NONE;
}

int32_t topic_spec_partitions(const struct topic_spec *spec, const struct config *cfg)
{
	if (spec->assignment_count > 0)
		return spec->assignment_count;
	return spec->partitions == -1 ? cfg->num_partitions : spec->partitions;
}

static int16_t check_partitions(const struct topics *t, const struct topic_spec *spec,
	const struct config *cfg, char *err, size_t size)
{
	int32_t n = topic_spec_partitions(spec, cfg);
	if (n <= 0)
		return refuse(KE_INVALID_PARTITIONS, err, size,
			"Number of partitions was set to an invalid non-positive value.");
	if (n > TOPIC_REQUEST_MAX_PARTITIONS)
		return refuse(KE_POLICY_VIOLATION, err, size,
			"Excessively large number of partitions per request: %d; at most %d are "
			"allowed.",
			n, TOPIC_REQUEST_MAX_PARTITIONS);
	if ((uint32_t)n > TOPIC_MAX_PART_IDS - t->id_limit)
		return refuse(KE_POLICY_VIOLATION, err, size,
			"The broker cannot have more than %u partitions.", TOPIC_MAX_PART_IDS);
	return KE_NONE;
}

static int16_t check_replication(const struct topic_spec *spec, char *err, size_t size)
{
	if (spec->replication == 1 || spec->replication == -1)
		return KE_NONE;
	if (spec->replication <= 0)
		return refuse(KE_INVALID_REPLICATION_FACTOR, err, size,
			"Replication factor must be larger than 0, or -1 to use the default "
			"value.");
	return refuse(KE_INVALID_REPLICATION_FACTOR, err, size,
		"Unable to replicate the partition %d time(s): the target replication factor of %d "
		"cannot be "
		"reached because only 1 broker(s) are registered.",
		spec->replication, spec->replication);
}

/* The whole number that the topic will have: the last one given, or the broker's. */
static int64_t effective(
	const struct topic_setting_arg *args, int32_t count, const char *name, int64_t broker)
{
	for (int32_t i = count - 1; i >= 0; i--) {
		char text[TOPIC_VALUE_MAX + 1];
		if (!kstr_equal(args[i].name, kstr_of(name)))
			continue;
		kstr_copy(args[i].value, text, sizeof(text));
		return strtoll(text, NULL, 10);
	}
	return broker;
}

int16_t topic_settings_check(const struct topic_setting_arg *args, int32_t count,
	const struct config *cfg, char *err, size_t size)
{
	for (int32_t i = 0; i < count; i++)
		if (topic_setting_check(&args[i], cfg, err, size) < 0)
			return KE_INVALID_CONFIG;
	int64_t min = effective(args, count, "min.compaction.lag.ms", cfg->cleaner_min_lag_ms);
	int64_t max = effective(args, count, "max.compaction.lag.ms", cfg->cleaner_max_lag_ms);
	if (min > max)
		return refuse(KE_INVALID_CONFIG, err, size,
			"conflict topic config setting min.compaction.lag.ms (%lld) > "
			"max.compaction.lag.ms (%lld)",
			(long long)min, (long long)max);
	return KE_NONE;
}

int16_t topics_validate(const struct topics *t, const struct config *cfg,
	const struct topic_spec *spec, char *err, size_t err_size)
{
	err[0] = 0;
	int16_t e = check_name(t, spec, err, err_size);
	if (!e && spec->assignment_count > 0)
		e = check_assignments(spec, cfg, err, err_size);
	if (!e)
		e = check_partitions(t, spec, cfg, err, err_size);
	if (!e && spec->assignment_count == 0)
		e = check_replication(spec, err, err_size);
	return e ? e
		 : topic_settings_check(spec->settings, spec->setting_count, cfg, err, err_size);
}
