/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes of topics that exist: settings and more partitions. A topic is immutable, since tables
 * share it: a change puts another one in its place. PURE.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "control/meta/topic_int.h"
#include "kafka/errcode.h"

#define SETTINGS_MAX 64 /* more than there are */

/* Settings while they are being altered, by index in topic_settings. */
struct alter {
	const struct topic_setting_desc *descs;
	uint32_t count;
	struct kstr value[SETTINGS_MAX]; /* len -1: not given */
	bool named[SETTINGS_MAX];	 /* by this request */
	char lists[SETTINGS_MAX][TOPIC_VALUE_MAX + 1];
};

__attribute__((format(printf, 4, 5))) static int16_t refuse(
	int16_t code, char *err, size_t size, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(err, size, fmt, ap);
	va_end(ap);
	return code;
}

static int shown(struct kstr name)
{
	return (int)min_of(max_of(name.len, 0), 100);
}

static int16_t unknown_topic(struct kstr name, char *err, size_t size)
{
	return refuse(KE_UNKNOWN_TOPIC_OR_PARTITION, err, size, "The topic '%.*s' does not exist.",
		shown(name), name.p ? name.p : "");
}

static int16_t no_memory(char *err, size_t size)
{
	return refuse(KE_UNKNOWN_SERVER_ERROR, err, size, "The broker is out of memory.");
}

/* The next item of a comma separated list, from *p on; len 0: there is none. */
static struct kstr list_next(const char **p, const char *end)
{
	while (*p < end && (**p == ',' || **p == ' '))
		++*p;
	const char *from = *p;
	while (*p < end && **p != ',' && **p != ' ')
		++*p;
	return (struct kstr){.p = from, .len = (int32_t)(*p - from)};
}

static bool list_has(struct kstr list, struct kstr item)
{
	const char *p = list.p, *end = p + max_of(list.len, 0);
	for (struct kstr it; p && (it = list_next(&p, end)).len > 0;)
		if (kstr_equal(it, item))
			return true;
	return false;
}

/* Adds the items of `from` that `not_in` lacks to the list of n characters in out; its length. */
static size_t list_add(char *out, size_t n, struct kstr from, struct kstr not_in)
{
	const char *p = from.p, *end = p + max_of(from.len, 0);
	for (struct kstr it; p && (it = list_next(&p, end)).len > 0;) {
		if (list_has(not_in, it) ||
			list_has((struct kstr){.p = out, .len = (int32_t)n}, it))
			continue;
		if (n + (size_t)it.len + 1 > TOPIC_VALUE_MAX)
			break; /* no list of choices is as long: it is refused for what it names */
		if (n > 0)
			out[n++] = ',';
		memcpy(out + n, it.p, (size_t)it.len);
		n += (size_t)it.len;
	}
	return n;
}

static int16_t alter_list(struct alter *w, uint32_t i, const struct topic_alter_arg *a,
	const struct config *cfg, char *err, size_t size)
{
	const struct topic_setting_desc *d = &w->descs[i];
	char before[TOPIC_VALUE_MAX + 1];
	struct kstr now = w->value[i], none = {.p = "", .len = 0};
	bool append = a->op == TOPIC_ALTER_APPEND;
	if (d->type != TOPIC_SET_LIST)
		return refuse(KE_INVALID_CONFIG, err, size,
			"Can't %s to key %s because its type is not LIST.",
			append ? "APPEND" : "SUBTRACT", d->name);
	if (now.len < 0) {
		topic_setting_value(NULL, d, cfg, before, sizeof(before));
		now = kstr_of(before);
	}
	size_t n = list_add(w->lists[i], 0, now, append ? none : a->value);
	if (append)
		n = list_add(w->lists[i], n, a->value, none);
	w->value[i] = (struct kstr){.p = w->lists[i], .len = (int32_t)n};
	return KE_NONE;
}

static int16_t alter_one(struct alter *w, const struct topic_alter_arg *a, const struct config *cfg,
	char *err, size_t size)
{
	const struct topic_setting_desc *d = topic_setting_find(a->name);
	const char *name = a->name.p ? a->name.p : "";
	if (!d)
		return refuse(KE_INVALID_CONFIG, err, size, "Unknown topic config name: %.*s",
			shown(a->name), name);
	uint32_t i = (uint32_t)(d - w->descs);
	if (w->named[i])
		return refuse(KE_INVALID_REQUEST, err, size,
			"Error due to duplicate config keys : %s", d->name);
	w->named[i] = true;
	if (a->op < TOPIC_ALTER_SET || a->op > TOPIC_ALTER_SUBTRACT)
		return refuse(KE_INVALID_REQUEST, err, size, "Unknown operation %d on %s", a->op,
			d->name);
	if (a->op == TOPIC_ALTER_DELETE) {
		w->value[i] = KSTR_NULL;
		return KE_NONE;
	}
	if (a->value.len < 0)
		return refuse(KE_INVALID_REQUEST, err, size, "Null value not supported for : %s",
			d->name);
	if (a->op != TOPIC_ALTER_SET)
		return alter_list(w, i, a, cfg, err, size);
	w->value[i] = a->value;
	return KE_NONE;
}

/* Puts `topic`, given, in the place of the one that is there. */
static void replace(struct topics *t, uint32_t at, struct topic *topic)
{
	topic_unref(t->v[at]);
	t->v[at] = topic;
}

int16_t topics_alter(struct topics *t, const struct config *cfg, const struct topic_alteration *a,
	char *err, size_t err_size)
{
	uint32_t at;
	struct alter w = {0};
	struct topic_setting_arg args[SETTINGS_MAX];
	int32_t n = 0;
	int16_t e = KE_NONE;
	err[0] = 0;
	if (!topics_position(t, a->name, &at))
		return unknown_topic(a->name, err, err_size);
	const struct topic *old = t->v[at];
	w.descs = topic_settings(&w.count);
	CHECK(w.count <= SETTINGS_MAX);
	for (uint32_t i = 0; i < w.count; i++)
		w.value[i] = KSTR_NULL;
	for (uint32_t i = 0; i < old->setting_count && !a->replace; i++)
		w.value[old->settings[i].desc - w.descs] = kstr_of(old->settings[i].value);
	for (int32_t i = 0; i < a->count && !e; i++)
		e = alter_one(&w, &a->args[i], cfg, err, err_size);
	for (uint32_t i = 0; i < w.count; i++)
		if (w.value[i].len >= 0)
			args[n++] = (struct topic_setting_arg){
				.name = kstr_of(w.descs[i].name), .value = w.value[i]};
	if (!e)
		e = topic_settings_check(args, n, cfg, err, err_size);
	if (e)
		return e;
	struct topic *topic = topic_new(
		kstr_of(old->name), &old->id, old->internal, old->partition_count, args, n);
	if (!topic)
		return no_memory(err, err_size);
	memcpy(topic->part_ids, old->part_ids,
		(size_t)old->partition_count * sizeof(*old->part_ids));
	replace(t, at, topic);
	return KE_NONE;
}

/* ---- more partitions ---- */

static int16_t check_growth(const struct topics *t, const struct topic *topic,
	const struct topic_growth *g, char *err, size_t size)
{
	int32_t more = max_of(g->count, 0) - topic->partition_count;
	if (topic->internal)
		return refuse(KE_INVALID_REQUEST, err, size,
			"The topic is the broker's own: its partitions are fixed.");
	if (more == 0)
		return refuse(KE_INVALID_PARTITIONS, err, size,
			"Topic already has %d partition(s).", topic->partition_count);
	if (more < 0)
		return refuse(KE_INVALID_PARTITIONS, err, size,
			"The topic %s currently has %d partition(s); %d would not be an increase.",
			topic->name, topic->partition_count, g->count);
	if (more > TOPIC_REQUEST_MAX_PARTITIONS ||
		(uint32_t)more > TOPIC_MAX_PART_IDS - t->id_limit)
		return refuse(KE_POLICY_VIOLATION, err, size,
			"Excessively large number of partitions: %d more; at most %d are allowed "
			"per request, and %u in the broker.",
			more, TOPIC_REQUEST_MAX_PARTITIONS, TOPIC_MAX_PART_IDS);
	if (g->assignment_count >= 0 && g->assignment_count != more)
		return refuse(KE_INVALID_REPLICA_ASSIGNMENT, err, size,
			"Attempted to add %d additional partition(s), but only %d assignment(s) "
			"were specified.",
			more, g->assignment_count);
	return KE_NONE;
}

static int16_t check_new_replicas(
	const struct topic_growth *g, const struct config *cfg, char *err, size_t size)
{
	for (int32_t i = 0; i < g->assignment_count; i++) {
		const struct topic_assignment *a = &g->assignments[i];
		if (a->broker_count != 1 || a->brokers[0] != cfg->node_id)
			return refuse(KE_INVALID_REPLICA_ASSIGNMENT, err, size,
				"The assignment of new partition %d must be broker %d alone.", i,
				cfg->node_id);
	}
	return KE_NONE;
}

int16_t topics_grow(struct topics *t, const struct config *cfg, const struct topic_growth *g,
	char *err, size_t err_size)
{
	uint32_t at;
	struct topic_setting_arg args[SETTINGS_MAX];
	err[0] = 0;
	if (!topics_position(t, g->name, &at))
		return unknown_topic(g->name, err, err_size);
	const struct topic *old = t->v[at];
	int16_t e = check_growth(t, old, g, err, err_size);
	if (!e)
		e = check_new_replicas(g, cfg, err, err_size);
	if (e)
		return e;
	CHECK(old->setting_count <= SETTINGS_MAX);
	for (uint32_t i = 0; i < old->setting_count; i++)
		args[i] = (struct topic_setting_arg){.name = kstr_of(old->settings[i].desc->name),
			.value = kstr_of(old->settings[i].value)};
	struct topic *topic = topic_new(kstr_of(old->name), &old->id, old->internal, g->count, args,
		(int32_t)old->setting_count);
	size_t had = (size_t)old->partition_count;
	if (!topic ||
		topics_take_ids(t, (uint32_t)g->count - (uint32_t)had, topic->part_ids + had)) {
		if (topic)
			topic_unref(topic);
		return no_memory(err, err_size);
	}
	memcpy(topic->part_ids, old->part_ids, had * sizeof(*old->part_ids));
	replace(t, at, topic);
	return KE_NONE;
}
