/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AlterConfigs (key 33, versions 0 to 2) and IncrementalAlterConfigs (key 44, versions 0 and 1;
 * KIP-339), of topics and of the broker (KIP-226): stored with one write, and in force when the
 * answer goes out.
 */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "control/api/config_resource.h"
#include "control/api/pending.h"
#include "kafka/api_table.h"
#include "kafka/errcode.h"

#define SERVED_LIMIT_MS 30000 /* an image reaches every shard long before that */

/* One resource of either request. */
struct alter_resource {
	int8_t type;
	struct topic_alteration change; /* the name is the resource's */
};

/* The answers of both have the same fields. */
typedef struct kp_incremental_alter_configs_response_result result_t;
_Static_assert(sizeof(result_t) == sizeof(struct kp_alter_configs_response_result), "one shape");

struct alter_state {
	struct kp_incremental_alter_configs_response resp;
	void *extra; /* malloc: results and their texts */
	char (*texts)[CONFIG_ERROR_MAX];
	bool validate_only;
};

static void respond(struct ctl *c, struct pending *p, bool timed_out)
{
	struct alter_state *k = p->response;
	for (int32_t i = 0; timed_out && i < k->resp.n_responses; i++)
		if (!k->resp.responses[i].error_code)
			k->resp.responses[i].error_code = KE_REQUEST_TIMED_OUT;
	if (p->m->request.api_key == KP_INCREMENTAL_ALTER_CONFIGS) {
		ctl_respond(c, p->m, &k->resp);
	} else {
		struct kp_alter_configs_response resp;
		kp_default_alter_configs_response(&resp);
		resp.responses = (struct kp_alter_configs_response_result *)k->resp.responses;
		resp.n_responses = k->resp.n_responses;
		ctl_respond(c, p->m, &resp);
	}
	free(k->extra);
}

static int16_t alter_broker(struct ctl *c, const struct alter_resource *r, char *err)
{
	bool all;
	int16_t e = config_resource_broker(c, r->change.name, &all, err);
	return e ? e : ctl_alter_broker(c, all, &r->change, err, CONFIG_ERROR_MAX);
}

static int16_t alter_one(struct ctl *c, const struct alter_resource *r, char *err)
{
	switch (r->type) {
	case CONFIG_RESOURCE_TOPIC:
		return ctl_alter_topic(c, &r->change, err, CONFIG_ERROR_MAX);
	case CONFIG_RESOURCE_BROKER:
		return alter_broker(c, r, err);
	default:
		snprintf(err, CONFIG_ERROR_MAX,
			"Only configurations of topics and brokers can be altered.");
		return KE_INVALID_REQUEST;
	}
}

static void refuse(struct alter_state *k, int32_t i, int16_t error, const char *text)
{
	result_t *out = &k->resp.responses[i];
	out->error_code = error;
	out->error_message = kstr_of(text[0] ? text : ke_text(error));
}

/* Answers to all, on the draft. Whether something has been changed. */
static bool alter_all(struct ctl *c, struct alter_state *k, const struct alter_resource *v,
	int32_t n, const bool *dup)
{
	bool changed = false;
	for (int32_t i = 0; i < n; i++) {
		result_t *out = &k->resp.responses[i];
		kp_default_incremental_alter_configs_response_result(out);
		out->resource_type = v[i].type;
		out->resource_name = v[i].change.name;
		int16_t e = KE_INVALID_REQUEST;
		if (dup[i])
			snprintf(k->texts[i], CONFIG_ERROR_MAX,
				"Each resource must appear at most once.");
		else
			e = alter_one(c, &v[i], k->texts[i]);
		if (e)
			refuse(k, i, e, k->texts[i]);
		else
			changed = true;
	}
	k->resp.n_responses = n;
	return changed;
}

static void hang_up(struct ctl *c, struct pending *p)
{
	free(((struct alter_state *)p->response)->extra);
	ctl_hang_up(c, p->m);
	pending_free(p);
}

/* Which resources are there more than once. False: no memory. */
static bool find_duplicates(struct ctl *c, const struct alter_resource *v, int32_t n, bool *dup)
{
	static const int8_t types[] = {CONFIG_RESOURCE_TOPIC, CONFIG_RESOURCE_BROKER};
	struct kstr *names = ctl_scratch(c, sizeof(*names) * (size_t)n);
	for (size_t t = 0; names && t < array_size(types); t++) {
		for (int32_t i = 0; i < n; i++)
			names[i] = v[i].type == types[t] ? v[i].change.name : KSTR_NULL;
		if (ctl_find_duplicates(c, names, (uint32_t)n, dup) < 0)
			return false;
	}
	return names != NULL;
}

static void run(struct ctl *c, struct pending *p, const struct alter_resource *v, int32_t n)
{
	struct alter_state *k = p->response;
	bool *dup = ctl_scratch(c, (size_t)n + 1);
	k->extra = calloc((size_t)n + 1, sizeof(result_t) + CONFIG_ERROR_MAX);
	if (!dup || !k->extra || !find_duplicates(c, v, n, dup) || !ctl_change_begin(c)) {
		hang_up(c, p);
		return;
	}
	k->resp.responses = k->extra;
	k->texts = (void *)(k->resp.responses + n);
	if (!alter_all(c, k, v, n, dup) || k->validate_only) {
		ctl_change_drop(c);
		pending_finish(c, p, false);
		return;
	}
	if (ctl_change_commit(c) == KE_NONE) {
		pending_wait(c, p, SERVED_LIMIT_MS);
		return;
	}
	for (int32_t i = 0; i < n; i++)
		if (!k->resp.responses[i].error_code)
			refuse(k, i, KE_KAFKA_STORAGE_ERROR,
				"The broker could not store the change; see its log.");
	pending_finish(c, p, false);
}

static struct pending *begin(struct ctl *c, struct msg *m)
{
	struct pending *p = pending_new(c, m, respond);
	if (!p)
		return NULL;
	p->response = arena_alloc(&p->arena, sizeof(struct alter_state));
	CHECK(p->response); /* the arena has slack */
	kp_default_incremental_alter_configs_response(&((struct alter_state *)p->response)->resp);
	return p;
}

/* Room for n resources, and for the settings of one of them. */
static struct alter_resource *resources(struct ctl *c, int32_t n)
{
	return n > CONFIG_RESOURCES_MAX
		       ? NULL
		       : ctl_scratch(c, sizeof(struct alter_resource) * ((size_t)max_of(n, 0) + 1));
}

static struct topic_alter_arg *arguments(struct ctl *c, int32_t n)
{
	return ctl_scratch(c, sizeof(struct topic_alter_arg) * ((size_t)max_of(n, 0) + 1));
}

void ctl_handle_incremental_alter_configs(struct ctl *c, struct msg *m)
{
	struct kp_incremental_alter_configs_request req;
	struct pending *p = begin(c, m);
	if (!p)
		return;
	if (!ctl_decode_in(c, m, &req, &p->arena)) {
		pending_free(p);
		return;
	}
	struct alter_resource *v = resources(c, req.n_resources);
	for (int32_t i = 0; v && i < req.n_resources; i++) {
		const struct kp_incremental_alter_configs_request_resource *q = &req.resources[i];
		struct topic_alter_arg *args = arguments(c, q->n_configs);
		if (!args) {
			v = NULL;
			break;
		}
		for (int32_t j = 0; j < q->n_configs; j++)
			args[j] = (struct topic_alter_arg){.name = q->configs[j].name,
				.value = q->configs[j].value,
				.op = q->configs[j].config_operation};
		v[i] = (struct alter_resource){.type = q->resource_type,
			.change = {.name = q->resource_name,
				.args = args,
				.count = max_of(q->n_configs, 0)}};
	}
	((struct alter_state *)p->response)->validate_only = req.validate_only;
	if (v)
		run(c, p, v, max_of(req.n_resources, 0));
	else
		hang_up(c, p);
}

void ctl_handle_alter_configs(struct ctl *c, struct msg *m)
{
	struct kp_alter_configs_request req;
	struct pending *p = begin(c, m);
	if (!p)
		return;
	if (!ctl_decode_in(c, m, &req, &p->arena)) {
		pending_free(p);
		return;
	}
	struct alter_resource *v = resources(c, req.n_resources);
	for (int32_t i = 0; v && i < req.n_resources; i++) {
		const struct kp_alter_configs_request_resource *q = &req.resources[i];
		struct topic_alter_arg *args = arguments(c, q->n_configs);
		if (!args) {
			v = NULL;
			break;
		}
		for (int32_t j = 0; j < q->n_configs; j++)
			args[j] = (struct topic_alter_arg){
				.name = q->configs[j].name, .value = q->configs[j].value};
		v[i] = (struct alter_resource){.type = q->resource_type,
			.change = {.name = q->resource_name,
				.args = args,
				.count = max_of(q->n_configs, 0),
				.replace = true}};
	}
	((struct alter_state *)p->response)->validate_only = req.validate_only;
	if (v)
		run(c, p, v, max_of(req.n_resources, 0));
	else
		hang_up(c, p);
}
