/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DescribeConfigs (key 32, versions 1 to 4; KIP-133, KIP-226, KIP-569): the settings of topics and
 * this broker's configuration, each with where it comes from and what it means.
 */
#include <stdlib.h>
#include <string.h>

#include "control/api/config_resource.h"
#include "kafka/errcode.h"

typedef struct kp_describe_configs_request_resource resource_t;
typedef struct kp_describe_configs_response_result result_t;
typedef struct kp_describe_configs_response_config config_t;
typedef struct kp_describe_configs_response_synonym synonym_t;

#define SYNONYMS_MAX 11	 /* the topic's own; of up to three keys each source; the default */
#define BROKER_TEXT 5120 /* longest value of a broker's key */
#define SETTING_TEXT 256 /* longest value of a topic's setting */

struct describe {
	const struct kp_describe_configs_request *req;
	struct arena arena;
	/* What topics without settings of their own have, by index in topic_settings. */
	char (*defaults)[SETTING_TEXT];
	int8_t *sources;
};

static bool is_wanted(const resource_t *q, const char *name)
{
	if (q->n_configuration_keys < 0)
		return true;
	for (int32_t i = 0; i < q->n_configuration_keys; i++)
		if (kstr_equal(q->configuration_keys[i], kstr_of(name)))
			return true;
	return false;
}

static void refuse(result_t *out, int16_t error, const char *text)
{
	out->error_code = error;
	out->error_message = kstr_of(text ? text : ke_text(error));
}

static void add_synonym(config_t *to, const char *name, struct kstr value, int8_t source)
{
	to->synonyms[to->n_synonyms++] =
		(synonym_t){.name = kstr_of(name), .value = value, .source = source};
}

/* The keys that say the same, in different units; the one that counts first. At most three. */
static uint32_t same_keys(enum config_key key, enum config_key out[3])
{
	static const enum config_key groups[][3] = {
		{CONFIG_KEY_retention_ms_key, CONFIG_KEY_retention_minutes,
			CONFIG_KEY_retention_hours},
		{CONFIG_KEY_roll_ms_key, CONFIG_KEY_roll_hours, CONFIG_KEY_COUNT},
	};
	for (size_t g = 0; g < array_size(groups); g++) {
		uint32_t n = 0;
		bool in = false;
		for (; n < 3 && groups[g][n] != CONFIG_KEY_COUNT; n++)
			in |= (out[n] = groups[g][n]) == key;
		if (in)
			return n;
	}
	out[0] = key;
	return 1;
}

/* Where the key's value comes from. */
static int8_t source_of(const struct ctl *c, enum config_key key)
{
	return c->state.dynamic.v[DYNAMIC_BROKER][key]	  ? TOPIC_SRC_DYNAMIC_BROKER
	       : c->state.dynamic.v[DYNAMIC_DEFAULT][key] ? TOPIC_SRC_DYNAMIC_DEFAULT
	       : c->base->given[key]			  ? TOPIC_SRC_STATIC_BROKER
							  : TOPIC_SRC_DEFAULT;
}

static bool add_text(
	struct describe *w, config_t *to, const char *name, const char *text, int8_t source)
{
	size_t n = strlen(text);
	char *copy = arena_alloc(&w->arena, n + 1);
	if (!copy)
		return false;
	memcpy(copy, text, n);
	add_synonym(to, name, (struct kstr){.p = copy, .len = (int32_t)n}, source);
	return true;
}

/* All that is said of a key of the broker, or of one that says the same, by source. */
static bool add_key_synonyms(struct ctl *c, struct describe *w, enum config_key key, config_t *to)
{
	enum config_key keys[3];
	char text[BROKER_TEXT];
	uint32_t n = same_keys(key, keys);
	const struct dynamic *d = &c->state.dynamic;
	for (int s = 0; s < DYNAMIC_SCOPES; s++)
		for (uint32_t i = 0; i < n; i++)
			if (d->v[s][keys[i]] &&
				!add_text(w, to, config_key_name(keys[i]), d->v[s][keys[i]],
					s == DYNAMIC_BROKER ? TOPIC_SRC_DYNAMIC_BROKER
							    : TOPIC_SRC_DYNAMIC_DEFAULT))
				return false;
	for (uint32_t i = 0; i < n; i++) {
		if (!c->base->given[keys[i]])
			continue;
		config_value_text(c->base, keys[i], text, sizeof(text));
		if (!add_text(w, to, config_key_name(keys[i]), text, TOPIC_SRC_STATIC_BROKER))
			return false;
	}
	for (uint32_t i = 0; i < n; i++) {
		struct config_about about = config_about(keys[i]);
		if (n == 1 || about.def[0])
			add_synonym(to, about.name, kstr_of(about.def), TOPIC_SRC_DEFAULT);
	}
	return true;
}

/* The sources that a setting may have, the one that counts first. */
static bool fill_synonyms(struct ctl *c, struct describe *w, const struct topic_setting_desc *d,
	struct kstr own, config_t *to)
{
	to->synonyms = arena_array(&w->arena, SYNONYMS_MAX, sizeof(*to->synonyms));
	if (!to->synonyms)
		return false;
	if (own.len >= 0)
		add_synonym(to, d->name, own, TOPIC_SRC_TOPIC);
	if (d->broker_key >= 0)
		return add_key_synonyms(c, w, (enum config_key)d->broker_key, to);
	add_synonym(to, d->name, kstr_of(d->def), TOPIC_SRC_DEFAULT);
	return true;
}

static struct kstr own_value(const struct topic *t, const struct topic_setting_desc *d)
{
	for (uint32_t i = 0; i < t->setting_count; i++)
		if (t->settings[i].desc == d)
			return kstr_of(t->settings[i].value);
	return KSTR_NULL;
}

/* False: no memory. */
static bool describe_topic(struct ctl *c, struct describe *w, const resource_t *q, result_t *out)
{
	uint32_t count;
	const struct topic_setting_desc *d = topic_settings(&count);
	const struct topic *t = topics_find(ctl_topics(c), q->resource_name);
	if (!t) {
		bool valid = topic_name_valid(q->resource_name);
		refuse(out, valid ? KE_UNKNOWN_TOPIC_OR_PARTITION : KE_INVALID_TOPIC_EXCEPTION,
			NULL);
		return true;
	}
	out->configs = arena_array(&w->arena, count, sizeof(*out->configs));
	if (!out->configs)
		return false;
	for (uint32_t i = 0; i < count; i++) {
		if (!is_wanted(q, d[i].name))
			continue;
		struct kstr own = own_value(t, &d[i]);
		config_t *to = &out->configs[out->n_configs++];
		*to = (config_t){
			.name = kstr_of(d[i].name),
			.value = own.len >= 0 ? own : kstr_of(w->defaults[i]),
			.config_source = own.len >= 0 ? TOPIC_SRC_TOPIC : w->sources[i],
			.config_type = (int8_t)topic_setting_kind(&d[i]),
			.documentation = w->req->include_documentation
						 ? kstr_of(topic_setting_help(&d[i]))
						 : KSTR_NULL,
		};
		if (w->req->include_synonyms && !fill_synonyms(c, w, &d[i], own, to))
			return false;
	}
	return true;
}

/* all: as it was set for every broker. */
static bool describe_key(
	struct ctl *c, struct describe *w, enum config_key key, bool all, config_t *to)
{
	struct config_about about = config_about(key);
	char text[BROKER_TEXT];
	if (all)
		snprintf(text, sizeof(text), "%s", c->state.dynamic.v[DYNAMIC_DEFAULT][key]);
	else
		config_value_text(c->cfg, key, text, sizeof(text));
	size_t n = strlen(text);
	char *value = arena_alloc(&w->arena, n + 1);
	if (!value)
		return false;
	memcpy(value, text, n);
	*to = (config_t){
		.name = kstr_of(about.name),
		.value = {.p = value, .len = (int32_t)n},
		.read_only = !dynamic_allows(key),
		.config_source = all ? TOPIC_SRC_DYNAMIC_DEFAULT : source_of(c, key),
		.config_type = (int8_t)about.kind,
		.documentation = w->req->include_documentation ? kstr_of(about.help) : KSTR_NULL,
	};
	if (!w->req->include_synonyms)
		return true;
	to->synonyms = arena_array(&w->arena, SYNONYMS_MAX, sizeof(*to->synonyms));
	if (!to->synonyms)
		return false;
	return add_key_synonyms(c, w, key, to);
}

int16_t config_resource_broker(struct ctl *c, struct kstr name, bool *all, char *err)
{
	char id[16];
	snprintf(id, sizeof(id), "%d", c->cfg->node_id);
	*all = name.len <= 0;
	if (*all || kstr_equal(name, kstr_of(id)))
		return KE_NONE;
	snprintf(err, CONFIG_ERROR_MAX,
		"Unexpected broker id, expected %s or empty string, but received %.*s", id,
		min_of(name.len, 40), name.p);
	return KE_INVALID_REQUEST;
}

static bool describe_broker(struct ctl *c, struct describe *w, const resource_t *q, result_t *out)
{
	bool all;
	char err[CONFIG_ERROR_MAX];
	int16_t e = config_resource_broker(c, q->resource_name, &all, err);
	if (e) {
		char *text = arena_alloc(&w->arena, CONFIG_ERROR_MAX);
		if (text)
			memcpy(text, err, sizeof(err));
		refuse(out, e, text);
		return true;
	}
	out->configs = arena_array(&w->arena, CONFIG_KEY_COUNT, sizeof(*out->configs));
	if (!out->configs)
		return false;
	/* of every broker alike: only what was set for all of them */
	for (uint32_t key = 0; key < CONFIG_KEY_COUNT; key++)
		if ((!all || c->state.dynamic.v[DYNAMIC_DEFAULT][key]) &&
			is_wanted(q, config_key_name(key)) &&
			!describe_key(c, w, key, all, &out->configs[out->n_configs++]))
			return false;
	return true;
}

static bool describe_one(struct ctl *c, struct describe *w, const resource_t *q, result_t *out)
{
	kp_default_describe_configs_response_result(out);
	out->resource_type = q->resource_type;
	out->resource_name = q->resource_name;
	switch (q->resource_type) {
	case CONFIG_RESOURCE_TOPIC:
		return describe_topic(c, w, q, out);
	case CONFIG_RESOURCE_BROKER:
		return describe_broker(c, w, q, out);
	default:
		refuse(out, KE_INVALID_REQUEST,
			"Only topics and brokers have configurations here.");
		return true;
	}
}

/* Bytes that the answer may need. */
static size_t room(const struct kp_describe_configs_request *req, uint32_t settings)
{
	size_t config = sizeof(config_t) +
			(req->include_synonyms ? SYNONYMS_MAX * sizeof(synonym_t) + 64 : 0);
	size_t size = settings * (SETTING_TEXT + 1) + 64;
	/* of each topic: the values that were set at the start or at run time */
	size_t dynamic = req->include_synonyms ? 3 * 19 * (size_t)CONFIG_TEXT_MAX : 0;
	for (int32_t i = 0; i < req->n_resources; i++) {
		size += sizeof(result_t) + CONFIG_ERROR_MAX + 64;
		if (req->resources[i].resource_type == CONFIG_RESOURCE_TOPIC)
			size += settings * config + dynamic;
		if (req->resources[i].resource_type == CONFIG_RESOURCE_BROKER)
			size += CONFIG_KEY_COUNT * (config + 2 * SETTING_TEXT) + 8 * BROKER_TEXT;
	}
	return size;
}

static bool fill_defaults(struct ctl *c, struct describe *w, uint32_t count)
{
	const struct topic_setting_desc *d = topic_settings(&count);
	w->defaults = arena_array(&w->arena, count, SETTING_TEXT);
	w->sources = arena_array(&w->arena, count, 1);
	if (!w->defaults || !w->sources)
		return false;
	for (uint32_t i = 0; i < count; i++) {
		enum config_key keys[3];
		w->sources[i] = (int8_t)topic_setting_value(
			NULL, &d[i], c->cfg, w->defaults[i], SETTING_TEXT);
		uint32_t n = d[i].broker_key >= 0 ? same_keys(d[i].broker_key, keys) : 0;
		for (uint32_t k = 0; k < n; k++)
			w->sources[i] = min_of(w->sources[i], source_of(c, keys[k]));
	}
	return true;
}

void ctl_handle_describe_configs(struct ctl *c, struct msg *m)
{
	struct kp_describe_configs_request req;
	struct kp_describe_configs_response res;
	uint32_t settings;
	if (!ctl_decode(c, m, &req))
		return;
	topic_settings(&settings);
	if (req.n_resources > CONFIG_RESOURCES_MAX) {
		ctl_hang_up(c, m);
		return;
	}
	struct describe w = {.req = &req};
	size_t size = room(&req, settings);
	void *memory = malloc(size);
	if (memory)
		arena_init(&w.arena, memory, size);
	kp_default_describe_configs_response(&res);
	bool ok = memory && fill_defaults(c, &w, settings);
	if (ok)
		res.results = arena_array(
			&w.arena, (size_t)max_of(req.n_resources, 0), sizeof(*res.results));
	ok = ok && res.results;
	for (int32_t i = 0; ok && i < req.n_resources; i++)
		ok = describe_one(c, &w, &req.resources[i], &res.results[res.n_results++]);
	if (ok)
		ctl_respond(c, m, &res);
	else
		ctl_hang_up(c, m);
	free(memory);
}
