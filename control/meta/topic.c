/* SPDX-License-Identifier: Apache-2.0 */
/* The table of topics and of part ids. PURE. */
#include "control/meta/topic_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "kafka/errcode.h"

void topics_init(struct topics *t)
{
	*t = (struct topics){0};
}

void topic_unref(struct topic *topic)
{
	CHECK(topic->refs > 0);
	if (--topic->refs > 0)
		return;
	for (uint32_t i = 0; i < topic->setting_count; i++)
		free(topic->settings[i].value);
	free(topic->settings);
	free(topic->part_ids);
	free(topic);
}

void topics_fini(struct topics *t)
{
	for (uint32_t i = 0; i < t->count; i++)
		topic_unref(t->v[i]);
	for (uint32_t i = 0; i < t->gone_count; i++)
		topic_unref(t->gone[i]);
	free(t->v);
	free(t->gone);
	free(t->id_state);
	topics_init(t);
}

int topics_clone(struct topics *dst, const struct topics *src)
{
	struct topics c = *src;
	c.v = malloc((c.size + 1) * sizeof(struct topic *));
	c.gone = malloc((c.gone_size + 1) * sizeof(struct topic *));
	c.id_state = malloc(c.id_size + 1);
	if (!c.v || !c.gone || !c.id_state) {
		free(c.v);
		free(c.gone);
		free(c.id_state);
		return -1;
	}
	if (c.count)
		memcpy(c.v, src->v, c.count * sizeof(struct topic *));
	if (c.id_size)
		memcpy(c.id_state, src->id_state, c.id_size);
	if (c.gone_count)
		memcpy(c.gone, src->gone, c.gone_count * sizeof(struct topic *));
	for (uint32_t i = 0; i < c.gone_count; i++)
		c.gone[i]->refs++;
	for (uint32_t i = 0; i < c.count; i++)
		c.v[i]->refs++;
	*dst = c;
	return 0;
}

static int name_cmp(struct kstr a, const char *b)
{
	size_t lb = strlen(b), la = (size_t)a.len;
	int d = memcmp(a.p, b, min_of(la, lb));
	return d ? d : (la > lb) - (la < lb);
}

/* Where the name is, or belongs. */
static uint32_t position(const struct topics *t, struct kstr name, bool *found)
{
	uint32_t low = 0, high = t->count;
	*found = false;
	while (low < high) {
		uint32_t mid = low + (high - low) / 2;
		int d = name_cmp(name, t->v[mid]->name);
		if (d == 0) {
			*found = true;
			return mid;
		}
		if (d < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return low;
}

bool topics_position(const struct topics *t, struct kstr name, uint32_t *at)
{
	bool found = false;
	if (name.len > 0)
		*at = position(t, name, &found);
	return found;
}

const struct topic *topics_find(const struct topics *t, struct kstr name)
{
	uint32_t at;
	return topics_position(t, name, &at) ? t->v[at] : NULL;
}

const struct topic *topics_find_id(const struct topics *t, const struct uuid *id)
{
	for (uint32_t i = 0; i < t->count; i++)
		if (uuid_equal(&t->v[i]->id, id))
			return t->v[i];
	return NULL;
}

/* ---- part ids ---- */

static int ids_reserve(struct topics *t, uint32_t size)
{
	if (size <= t->id_size)
		return 0;
	uint32_t want = max_of(t->id_size, 64u);
	while (want < size)
		want *= 2;
	uint8_t *state = realloc(t->id_state, want);
	if (!state)
		return -1;
	memset(state + t->id_size, TOPIC_ID_FREE, want - t->id_size);
	t->id_state = state;
	t->id_size = want;
	return 0;
}

static void id_take(struct topics *t, uint32_t id)
{
	CHECK(id < t->id_size && t->id_state[id] == TOPIC_ID_FREE);
	t->id_state[id] = TOPIC_ID_USED;
	t->id_limit = max_of(t->id_limit, id + 1);
}

int topics_take_ids(struct topics *t, uint32_t n, uint32_t *out)
{
	if (ids_reserve(t, t->id_limit + n) < 0)
		return -1;
	uint32_t id = t->id_hint;
	for (uint32_t got = 0; got < n; id++) {
		if (t->id_state[id] != TOPIC_ID_FREE)
			continue;
		id_take(t, id);
		out[got++] = id;
	}
	t->id_hint = id;
	return 0;
}

static void ids_free(struct topics *t, const struct topic *topic)
{
	for (int32_t i = 0; i < topic->partition_count; i++) {
		uint32_t id = topic->part_ids[i];
		CHECK(t->id_state[id] == TOPIC_ID_GONE);
		t->id_state[id] = TOPIC_ID_FREE;
		t->id_hint = min_of(t->id_hint, id);
	}
	while (t->id_limit > 0 && t->id_state[t->id_limit - 1] == TOPIC_ID_FREE)
		t->id_limit--;
}

/* ---- changes ---- */

static int settings_copy(struct topic *topic, const struct topic_setting_arg *args, int32_t count)
{
	if (count <= 0)
		return 0;
	topic->settings = calloc((size_t)count, sizeof(*topic->settings));
	if (!topic->settings)
		return -1;
	for (int32_t i = 0; i < count; i++) {
		const struct topic_setting_desc *d = topic_setting_find(args[i].name);
		char *value = malloc((size_t)args[i].value.len + 1);
		CHECK(d);
		if (!value)
			return -1;
		kstr_copy(args[i].value, value, (size_t)args[i].value.len + 1);
		uint32_t at = 0;
		while (at < topic->setting_count && topic->settings[at].desc != d)
			at++;
		free(topic->settings[at].value);
		topic->settings[at] = (struct topic_setting){.desc = d, .value = value};
		topic->setting_count = max_of(topic->setting_count, at + 1);
	}
	return 0;
}

struct topic *topic_new(struct kstr name, const struct uuid *id, bool internal, int32_t partitions,
	const struct topic_setting_arg *settings, int32_t setting_count)
{
	struct topic *topic = calloc(1, sizeof(*topic));
	if (!topic)
		return NULL;
	topic->refs = 1;
	kstr_copy(name, topic->name, sizeof(topic->name));
	topic->id = *id;
	topic->internal = internal;
	topic->partition_count = partitions;
	topic->part_ids = calloc((size_t)partitions, sizeof(uint32_t));
	if (!topic->part_ids || settings_copy(topic, settings, setting_count) < 0) {
		topic_unref(topic);
		return NULL;
	}
	return topic;
}

/* Room for one more. */
static int array_reserve(struct topic ***v, uint32_t *size, uint32_t count)
{
	if (count < *size)
		return 0;
	uint32_t want = max_of(*size * 2, 16u);
	struct topic **grown = realloc(*v, (want + 1) * sizeof(*grown));
	if (!grown)
		return -1;
	*v = grown;
	*size = want;
	return 0;
}

static int table_reserve(struct topics *t)
{
	return array_reserve(&t->v, &t->size, t->count);
}

static int gone_reserve(struct topics *t)
{
	return array_reserve(&t->gone, &t->gone_size, t->gone_count);
}

static void table_insert(struct topics *t, struct topic *topic)
{
	bool found;
	uint32_t at = position(t, kstr_of(topic->name), &found);
	CHECK(!found && t->count < t->size);
	memmove(&t->v[at + 1], &t->v[at], (t->count - at) * sizeof(*t->v));
	t->v[at] = topic;
	t->count++;
}

int16_t topics_create(struct topics *t, const struct config *cfg, const struct topic_spec *spec,
	char *err, size_t err_size)
{
	int16_t e = topics_validate(t, cfg, spec, err, err_size);
	if (e)
		return e;
	CHECK(!uuid_is_zero(&spec->id));
	int32_t n = topic_spec_partitions(spec, cfg);
	struct topic *topic = topic_new(
		spec->name, &spec->id, spec->internal, n, spec->settings, spec->setting_count);
	if (!topic || table_reserve(t) < 0 ||
		topics_take_ids(t, (uint32_t)n, topic->part_ids) < 0) {
		if (topic)
			topic_unref(topic);
		snprintf(err, err_size, "The broker is out of memory.");
		return KE_UNKNOWN_SERVER_ERROR;
	}
	table_insert(t, topic);
	return KE_NONE;
}

int16_t topics_delete(struct topics *t, struct kstr name)
{
	uint32_t at;
	if (!topics_position(t, name, &at))
		return KE_UNKNOWN_TOPIC_OR_PARTITION;
	if (gone_reserve(t) < 0)
		return KE_UNKNOWN_SERVER_ERROR;
	struct topic *topic = t->v[at];
	for (int32_t i = 0; i < topic->partition_count; i++) {
		uint8_t *id = &t->id_state[topic->part_ids[i]];
		CHECK(*id == TOPIC_ID_USED || *id == TOPIC_ID_OFFLINE);
		*id = TOPIC_ID_GONE;
	}
	t->count--;
	memmove(&t->v[at], &t->v[at + 1], (t->count - at) * sizeof(*t->v));
	t->gone[t->gone_count++] = topic;
	return KE_NONE;
}

bool topics_set_offline(struct topics *t, uint32_t part_id)
{
	if (part_id >= t->id_limit || t->id_state[part_id] != TOPIC_ID_USED)
		return false;
	t->id_state[part_id] = TOPIC_ID_OFFLINE;
	return true;
}

bool topics_forget(struct topics *t, const struct uuid *id)
{
	uint32_t at = 0;
	while (at < t->gone_count && !uuid_equal(&t->gone[at]->id, id))
		at++;
	if (at == t->gone_count)
		return false;
	struct topic *topic = t->gone[at];
	t->gone_count--;
	memmove(&t->gone[at], &t->gone[at + 1], (t->gone_count - at) * sizeof(*t->gone));
	ids_free(t, topic);
	topic_unref(topic);
	return true;
}

/* What is wrong with a stored topic or tombstone, part ids aside; NULL: nothing. */
static const char *identity_fault(const struct topic_stored *s)
{
	if (!topic_name_valid(s->name))
		return "its name is invalid";
	if (uuid_is_zero(&s->id))
		return "it has no id";
	if (s->partition_count <= 0)
		return "it has no partitions";
	return NULL;
}

static const char *stored_fault(
	const struct topics *t, const struct topic_stored *s, char *text, size_t size)
{
	const char *fault = identity_fault(s);
	if (fault)
		return fault;
	if (topics_find(t, s->name))
		return "it is there twice";
	for (int32_t i = 0; i < s->setting_count; i++)
		if (topic_setting_check(&s->settings[i], NULL, text, size) < 0)
			return text;
	return NULL;
}

static const char *restore_ids(
	struct topics *t, struct topic *topic, const uint32_t *ids, enum topic_part_id state)
{
	for (int32_t i = 0; i < topic->partition_count; i++) {
		uint32_t id = ids[i];
		if (id >= TOPIC_MAX_PART_IDS)
			return "a part id is too large";
		if (ids_reserve(t, id + 1) < 0)
			return "memory is short";
		if (t->id_state[id] != TOPIC_ID_FREE)
			return "a part id is that of another partition";
		id_take(t, id);
		t->id_state[id] = (uint8_t)state;
		topic->part_ids[i] = id;
	}
	return NULL;
}

/* -1 and the sentence about s. */
static int restore_failed(
	const struct topic_stored *s, const char *what, const char *fault, char *err, size_t size)
{
	snprintf(err, size, "%s '%.*s': %s", what,
		(int)min_of(max_of(s->name.len, 0), IMAGE_TOPIC_NAME_MAX),
		s->name.p ? s->name.p : "", fault);
	return -1;
}

int topics_restore_gone(struct topics *t, const struct topic_stored *s, char *err, size_t err_size)
{
	struct topic *topic = NULL;
	const char *fault = identity_fault(s);
	if (!fault) {
		topic = topic_new(s->name, &s->id, false, s->partition_count, NULL, 0);
		fault = !topic || gone_reserve(t) < 0
				? "memory is short"
				: restore_ids(t, topic, s->part_ids, TOPIC_ID_GONE);
	}
	if (!fault) {
		t->gone[t->gone_count++] = topic;
		return 0;
	}
	if (topic)
		topic_unref(topic);
	return restore_failed(s, "deleted topic", fault, err, err_size);
}

int topics_restore(struct topics *t, const struct topic_stored *s, char *err, size_t err_size)
{
	char text[TOPIC_ERROR_MAX];
	struct topic *topic = NULL;
	const char *fault = stored_fault(t, s, text, sizeof(text));
	if (!fault) {
		topic = topic_new(s->name, &s->id, s->internal, s->partition_count, s->settings,
			s->setting_count);
		if (!topic || table_reserve(t) < 0)
			fault = "memory is short";
		else
			fault = restore_ids(t, topic, s->part_ids, TOPIC_ID_USED);
	}
	if (!fault) {
		table_insert(t, topic);
		return 0;
	}
	if (topic)
		topic_unref(topic);
	return restore_failed(s, "topic", fault, err, err_size);
}
