/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The metadata document as JSON: {"crc32c": "0123abcd", "format": 1, "state": {...}, "version": 7}.
 * The checksum is over the compact text, keys sorted, of the document without it. PURE.
 */
#include "control/meta/meta.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/crc.h"

#define META_FORMAT 1
#define DUMP_FLAGS (JSON_COMPACT | JSON_SORT_KEYS)

static void base64url(const uint8_t *p, size_t n, char *out)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	uint32_t acc = 0;
	unsigned bits = 0;
	for (size_t i = 0; i < n; i++) {
		acc = acc << 8 | p[i];
		for (bits += 8; bits >= 6; bits -= 6)
			*out++ = digits[acc >> (bits - 6) & 63];
	}
	if (bits)
		*out++ = digits[acc << (6 - bits) & 63];
	*out = 0;
}

void meta_cluster_id(const uint8_t random[16], char out[META_CLUSTER_ID_LEN + 1])
{
	base64url(random, 16, out);
}

static void uuid_text(const struct uuid *id, char out[33])
{
	for (int i = 0; i < 16; i++)
		snprintf(out + 2 * i, 3, "%02x", id->b[i]);
}

static bool uuid_parse(const char *text, struct uuid *id)
{
	if (strlen(text) != 32 || strspn(text, "0123456789abcdef") != 32)
		return false;
	for (int i = 0; i < 16; i++) {
		char pair[3] = {text[2 * i], text[2 * i + 1], 0};
		id->b[i] = (uint8_t)strtoul(pair, NULL, 16);
	}
	return true;
}

void meta_state_fini(struct meta_state *state)
{
	topics_fini(&state->topics);
	quotas_fini(&state->quotas);
	dynamic_fini(&state->dynamic);
}

/* ---- encode ---- */

static json_t *encode_ids(const struct topic *t)
{
	json_t *ids = json_array();
	for (int32_t i = 0; i < t->partition_count; i++) {
		if (json_array_append_new(ids, json_integer(t->part_ids[i])) < 0) {
			json_decref(ids);
			return NULL;
		}
	}
	return ids;
}

static json_t *encode_topic(const struct topic *t)
{
	char id[33];
	uuid_text(&t->id, id);
	json_t *settings = json_object(), *ids = encode_ids(t);
	for (uint32_t i = 0; i < t->setting_count; i++)
		if (json_object_set_new(settings, t->settings[i].desc->name,
			    json_string(t->settings[i].value)) < 0)
			goto fail;
	return json_pack("{s:s, s:s, s:b, s:o, s:o}", "name", t->name, "id", id, "internal",
		(int)t->internal, "part_ids", ids, "settings", settings);
fail:
	json_decref(settings);
	json_decref(ids);
	return NULL;
}

/* What deleting the logs of a deleted topic takes. */
static json_t *encode_gone(const struct topic *t)
{
	char id[33];
	uuid_text(&t->id, id);
	return json_pack("{s:s, s:s, s:o}", "name", t->name, "id", id, "part_ids", encode_ids(t));
}

/* NULL: no memory. */
static json_t *encode_all(
	struct topic *const *v, uint32_t count, json_t *(*encode)(const struct topic *t))
{
	json_t *all = json_array();
	for (uint32_t i = 0; i < count; i++) {
		if (json_array_append_new(all, encode(v[i])) < 0) {
			json_decref(all);
			return NULL;
		}
	}
	return all;
}

static int set_named(json_t *o, const char *key, enum image_quota_part is, const char *name)
{
	if (is == QUOTA_ABSENT)
		return 0;
	return json_object_set_new(o, key, is == QUOTA_NAMED ? json_string(name) : json_null());
}

/* {"user": name or null, "client-id": likewise, "producer_byte_rate": 1000, ...}: what is absent is
   left out. */
static json_t *encode_quota(const struct quota *q)
{
	json_t *o = json_object();
	int r = set_named(o, "user", q->entity.user_is, q->entity.user);
	r |= set_named(o, "client-id", q->entity.client_is, q->entity.client);
	for (int k = 0; k < QUOTA_KINDS; k++)
		if (q->value[k] >= 0)
			r |= json_object_set_new(o, quota_key(k), json_real(q->value[k]));
	if (r == 0)
		return o;
	json_decref(o);
	return NULL;
}

static json_t *encode_quotas(const struct quotas *q)
{
	json_t *all = json_array();
	for (uint32_t i = 0; i < q->count; i++) {
		if (json_array_append_new(all, encode_quota(&q->v[i])) < 0) {
			json_decref(all);
			return NULL;
		}
	}
	return all;
}

static const char *const scopes[DYNAMIC_SCOPES] = {
	[DYNAMIC_BROKER] = "broker",
	[DYNAMIC_DEFAULT] = "default",
};

/* {"broker": {key: value, ...}, "default": likewise} */
static json_t *encode_dynamic(const struct dynamic *d)
{
	json_t *all = json_object();
	int r = 0;
	for (int s = 0; s < DYNAMIC_SCOPES; s++) {
		json_t *o = json_object();
		for (int key = 0; key < CONFIG_KEY_COUNT; key++)
			if (d->v[s][key])
				r |= json_object_set_new(
					o, config_key_name(key), json_string(d->v[s][key]));
		r |= json_object_set_new(all, scopes[s], o);
	}
	if (r == 0)
		return all;
	json_decref(all);
	return NULL;
}

static json_t *encode_state(const struct meta_state *state)
{
	const struct topics *t = &state->topics;
	return json_pack("{s:s, s:o, s:o, s:I, s:o, s:o}", "cluster_id", state->cluster_id,
		"topics", encode_all(t->v, t->count, encode_topic), "gone",
		encode_all(t->gone, t->gone_count, encode_gone), "next_producer_id",
		(json_int_t)state->next_producer_id, "quotas", encode_quotas(&state->quotas),
		"config", encode_dynamic(&state->dynamic));
}

/* Checksum of doc, which must not hold one. -1: no memory. */
static int checksum(const json_t *doc, char out[9])
{
	char *text = json_dumps(doc, DUMP_FLAGS);
	if (!text)
		return -1;
	snprintf(out, 9, "%08x", crc32c(0, text, strlen(text)));
	free(text);
	return 0;
}

char *meta_encode(const struct meta_state *state, uint64_t version, size_t *len)
{
	char *text = NULL;
	char crc[9];
	json_t *inner = encode_state(state);
	if (!inner)
		return NULL;
	json_t *doc = json_pack("{s:i, s:I, s:o}", "format", META_FORMAT, "version",
		(json_int_t)version, "state", inner);
	if (!doc || checksum(doc, crc) < 0 ||
		json_object_set_new(doc, "crc32c", json_string(crc)) < 0)
		goto out;
	text = json_dumps(doc, DUMP_FLAGS);
	if (text)
		*len = strlen(text);
out:
	json_decref(doc);
	return text;
}

/* ---- decode ---- */

/* Settings of a topic as arguments that borrow from the document; -1: not an object of strings. */
static int decode_settings(json_t *settings, struct topic_setting_arg *out, int32_t *count)
{
	const char *key;
	json_t *value;
	*count = 0;
	json_object_foreach(settings, key, value)
	{
		if (!json_is_string(value))
			return -1;
		out[(*count)++] = (struct topic_setting_arg){
			.name = kstr_of(key), .value = kstr_of(json_string_value(value))};
	}
	return 0;
}

static int decode_ids(json_t *ids, uint32_t *out)
{
	size_t i;
	json_t *v;
	json_array_foreach(ids, i, v)
	{
		json_int_t n = json_integer_value(v);
		if (!json_is_integer(v) || n < 0 || n > UINT32_MAX)
			return -1;
		out[i] = (uint32_t)n;
	}
	return 0;
}

/* A tombstone is a topic without settings. */
static int decode_topic(json_t *doc, struct topics *topics, bool gone, char *err, size_t size)
{
	const char *name, *id;
	int internal = 0;
	json_t *ids, *settings = NULL;
	struct topic_stored s = {0};
	uint32_t *part_ids = NULL;
	struct topic_setting_arg *args = NULL;
	int r = -1;
	bool there = json_unpack(doc, "{s:s, s:s, s:o}", "name", &name, "id", &id, "part_ids",
			     &ids) == 0;
	if (there && !gone)
		there = json_unpack(doc, "{s:b, s:o}", "internal", &internal, "settings",
				&settings) == 0;
	if (!there || !uuid_parse(id, &s.id) || !json_is_array(ids) ||
		!(gone || json_is_object(settings)) || json_array_size(ids) > INT32_MAX) {
		snprintf(err, size, "a topic lacks a field");
		return -1;
	}
	part_ids = calloc(json_array_size(ids) + 1, sizeof(*part_ids));
	args = calloc(json_object_size(settings) + 1, sizeof(*args));
	if (!part_ids || !args) {
		snprintf(err, size, "memory is short");
		goto out;
	}
	if (decode_ids(ids, part_ids) < 0 ||
		decode_settings(settings, args, &s.setting_count) < 0) {
		snprintf(err, size, "topic '%.249s' has a field of the wrong kind", name);
		goto out;
	}
	s.name = kstr_of(name);
	s.internal = internal;
	s.partition_count = (int32_t)json_array_size(ids);
	s.part_ids = part_ids;
	s.settings = args;
	r = (gone ? topics_restore_gone : topics_restore)(topics, &s, err, size);
out:
	free(part_ids);
	free(args);
	return r;
}

static enum image_quota_part decode_named(const json_t *o, const char *key, char *name)
{
	const json_t *v = json_object_get(o, key);
	if (json_is_string(v))
		snprintf(name, QUOTA_NAME_MAX + 1, "%s", json_string_value(v));
	return json_is_string(v) ? QUOTA_NAMED : v ? QUOTA_DEFAULT : QUOTA_ABSENT;
}

static int decode_quota(const json_t *o, struct quotas *quotas, char *err, size_t size)
{
	struct quota_entity e = {0};
	e.user_is = decode_named(o, "user", e.user);
	e.client_is = decode_named(o, "client-id", e.client);
	struct quota *q = e.user_is || e.client_is ? quotas_put(quotas, &e) : NULL;
	for (int k = 0; q && k < QUOTA_KINDS; k++) {
		const json_t *v = json_object_get(o, quota_key(k));
		if (v && (!json_is_number(v) || json_number_value(v) < 0))
			q = NULL;
		else if (v)
			q->value[k] = json_number_value(v);
	}
	if (!q)
		snprintf(err, size, "a quota lacks a field, or there are too many");
	return q ? 0 : -1;
}

/* A key that this version cannot set is left out: the file's value holds. */
static int decode_dynamic(json_t *all, struct dynamic *d, char *err, size_t size)
{
	const char *name;
	json_t *value;
	for (int s = 0; s < DYNAMIC_SCOPES; s++) {
		json_object_foreach(json_object_get(all, scopes[s]), name, value)
		{
			int key = dynamic_key(name);
			if (key < 0 || !dynamic_allows(key))
				continue;
			if (!json_is_string(value) ||
				dynamic_set(d, s, key, json_string_value(value)) < 0) {
				snprintf(err, size,
					"the configuration has a field of the wrong kind");
				return -1;
			}
		}
	}
	return 0;
}

static int decode_state(json_t *doc, struct meta_state *state, char *err, size_t size)
{
	const char *cluster_id;
	json_t *topics, *t, *gone = json_object_get(doc, "gone");
	json_t *quotas = json_object_get(doc, "quotas");
	const json_t *producers = json_object_get(doc, "next_producer_id");
	size_t i;
	if (json_unpack(doc, "{s:s, s:o}", "cluster_id", &cluster_id, "topics", &topics) < 0 ||
		!json_is_array(topics) || (gone && !json_is_array(gone)) ||
		(quotas && !json_is_array(quotas)) ||
		(producers && (!json_is_integer(producers) || json_integer_value(producers) < 0)) ||
		strlen(cluster_id) > META_CLUSTER_ID_LEN) {
		snprintf(err, size, "the state lacks a field");
		return -1;
	}
	snprintf(state->cluster_id, sizeof(state->cluster_id), "%s", cluster_id);
	state->next_producer_id = json_integer_value(producers);
	json_array_foreach(topics, i, t)
	{
		if (decode_topic(t, &state->topics, false, err, size) < 0)
			return -1;
	}
	json_array_foreach(gone, i, t)
	{
		if (decode_topic(t, &state->topics, true, err, size) < 0)
			return -1;
	}
	json_array_foreach(quotas, i, t)
	{
		if (decode_quota(t, &state->quotas, err, size) < 0)
			return -1;
	}
	return decode_dynamic(json_object_get(doc, "config"), &state->dynamic, err, size);
}

/* Format and checksum; leaves the state (borrowed) and the version. */
static int decode_envelope(json_t *doc, json_t **state, uint64_t *version, char *err, size_t size)
{
	int format;
	char crc[9];
	if (json_unpack(doc, "{s:i}", "format", &format) < 0) {
		snprintf(err, size, "it is not a metadata document");
		return -1;
	}
	if (format != META_FORMAT) {
		snprintf(err, size,
			"it has format %d and this version reads format %d: start the version that "
			"wrote it, or a newer one",
			format, META_FORMAT);
		return -1;
	}
	json_t *stored = json_incref(json_object_get(doc, "crc32c"));
	json_int_t v;
	int r = -1;
	json_object_del(doc, "crc32c");
	if (!json_is_string(stored) || checksum(doc, crc) < 0 ||
		strcmp(json_string_value(stored), crc) != 0)
		snprintf(err, size, "its checksum does not match");
	else if (json_unpack(doc, "{s:I, s:o}", "version", &v, "state", state) < 0 || v < 1)
		snprintf(err, size, "it lacks a field");
	else
		r = 0;
	json_decref(stored);
	if (r == 0)
		*version = (uint64_t)v;
	return r;
}

int meta_decode(const char *text, size_t len, struct meta_state *state, uint64_t *version,
	char *err, size_t err_size)
{
	json_error_t je;
	json_t *inner;
	*state = (struct meta_state){0};
	topics_init(&state->topics);
	json_t *doc = json_loadb(text, len, JSON_REJECT_DUPLICATES, &je);
	if (!doc) {
		snprintf(err, err_size, "it is not valid JSON (%s, line %d)", je.text, je.line);
		return -1;
	}
	int r = decode_envelope(doc, &inner, version, err, err_size);
	if (r == 0)
		r = decode_state(inner, state, err, err_size);
	json_decref(doc);
	if (r < 0)
		meta_state_fini(state);
	return r;
}
