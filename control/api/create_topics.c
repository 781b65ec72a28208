/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CreateTopics (key 19, versions 2 to 7). The topics of a request are stored with one write and
 * become visible together; the answer goes out when every shard serves them, so that a client that
 * goes on to produce finds them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "control/api/pending.h"
#include "kafka/errcode.h"

/* What building the response needs; the response itself lies in the pending's arena, and in
 * `extra`. */
struct create {
	struct kp_create_topics_request req;
	struct kp_create_topics_response resp;
	struct kp_create_topics_response_config *defaults; /* of all settings; NULL: not wanted */
	uint32_t setting_count;
	void *extra; /* malloc: topics, their configs, error texts */
	struct arena arena;
	int32_t partitions; /* of this request so far */
};

#define ERROR_TEXT TOPIC_ERROR_MAX

static void respond(struct ctl *c, struct pending *p, bool timed_out)
{
	struct create *k = p->response;
	for (int32_t i = 0; timed_out && i < k->resp.n_topics; i++) {
		struct kp_create_topics_response_topic *t = &k->resp.topics[i];
		if (t->error_code)
			continue;
		t->error_code = KE_REQUEST_TIMED_OUT;
		t->error_message =
			kstr_of("The topic is being created; not every shard serves it yet.");
	}
	ctl_respond(c, p->m, &k->resp);
	free(k->extra);
}

static struct kstr text_copy(struct arena *a, const char *text)
{
	size_t n = strlen(text);
	char *p = arena_alloc(a, n + 1);
	if (!p)
		return KSTR_NULL;
	memcpy(p, text, n);
	return (struct kstr){.p = p, .len = (int32_t)n};
}

/* Room for all answers. False: no memory. */
static bool make_room(struct ctl *c, struct create *k, int16_t version)
{
	size_t n = (size_t)k->req.n_topics;
	topic_settings(&k->setting_count);
	bool configs = version >= 5;
	size_t each = sizeof(*k->resp.topics) + ERROR_TEXT + 64 +
		      (configs ? k->setting_count * sizeof(*k->defaults) : 0);
	size_t shared = k->setting_count * (sizeof(*k->defaults) + 272) + 64;
	k->extra = malloc(n * each + shared);
	if (!k->extra)
		return false;
	arena_init(&k->arena, k->extra, n * each + shared);
	k->resp.topics = arena_array(&k->arena, n, sizeof(*k->resp.topics));
	if (!configs)
		return true;
	k->defaults = arena_array(&k->arena, k->setting_count, sizeof(*k->defaults));
	const struct topic_setting_desc *d = topic_settings(&k->setting_count);
	for (uint32_t i = 0; i < k->setting_count; i++) {
		char value[256];
		int8_t source =
			(int8_t)topic_setting_value(NULL, &d[i], c->cfg, value, sizeof(value));
		k->defaults[i] = (struct kp_create_topics_response_config){
			.name = kstr_of(d[i].name),
			.value = text_copy(&k->arena, value),
			.config_source = source,
		};
	}
	return true;
}

/* The settings of the new topic: the defaults, and over them those of the request. */
static void fill_configs(struct create *k, const struct kp_create_topics_request_topic *q,
	struct kp_create_topics_response_topic *out)
{
	if (!k->defaults)
		return;
	out->configs = arena_array(&k->arena, k->setting_count, sizeof(*out->configs));
	if (!out->configs)
		return;
	memcpy(out->configs, k->defaults, k->setting_count * sizeof(*out->configs));
	out->n_configs = (int32_t)k->setting_count;
	for (int32_t i = 0; i < q->n_configs; i++) {
		for (uint32_t j = 0; j < k->setting_count; j++) {
			if (!kstr_equal(q->configs[i].name, out->configs[j].name))
				continue;
			out->configs[j].value = q->configs[i].value;
			out->configs[j].config_source = TOPIC_SRC_TOPIC;
		}
	}
}

static void refuse(struct create *k, struct kp_create_topics_response_topic *out, int16_t error,
	const char *text)
{
	out->error_code = error;
	out->error_message = text_copy(&k->arena, text[0] ? text : ke_text(error));
	out->n_configs = -1; /* null: what the topic would have had is not known */
}

/* The request's lists in the table's terms; false: no memory. */
static bool make_spec(struct create *k, struct arena *a,
	const struct kp_create_topics_request_topic *q, struct topic_spec *spec)
{
	struct topic_setting_arg *settings =
		arena_array(a, (size_t)max_of(q->n_configs, 0), sizeof(*settings));
	struct topic_assignment *assignments =
		arena_array(a, (size_t)max_of(q->n_assignments, 0), sizeof(*assignments));
	if (!settings || !assignments)
		return false;
	for (int32_t i = 0; i < q->n_configs; i++)
		settings[i] = (struct topic_setting_arg){q->configs[i].name, q->configs[i].value};
	for (int32_t i = 0; i < q->n_assignments; i++)
		assignments[i] = (struct topic_assignment){q->assignments[i].partition_index,
			q->assignments[i].broker_ids, q->assignments[i].n_broker_ids};
	*spec = (struct topic_spec){
		.name = q->name,
		.partitions = q->num_partitions,
		.replication = q->replication_factor,
		.assignments = assignments,
		.assignment_count = max_of(q->n_assignments, 0),
		.settings = settings,
		.setting_count = max_of(q->n_configs, 0),
	};
	return true;
}

static void create_one(struct ctl *c, struct create *k, struct arena *a,
	const struct kp_create_topics_request_topic *q, struct kp_create_topics_response_topic *out)
{
	struct topic_spec spec;
	char err[TOPIC_ERROR_MAX] = "";
	if (!make_spec(k, a, q, &spec)) {
		refuse(k, out, KE_UNKNOWN_SERVER_ERROR, "The request is too large to be handled.");
		return;
	}
	int32_t n = topic_spec_partitions(&spec, c->cfg);
	if (n > 0 && n <= TOPIC_REQUEST_MAX_PARTITIONS &&
		k->partitions + n > TOPIC_REQUEST_MAX_PARTITIONS) {
		snprintf(err, sizeof(err),
			"Excessively large number of partitions per request: more than %d.",
			TOPIC_REQUEST_MAX_PARTITIONS);
		refuse(k, out, KE_POLICY_VIOLATION, err);
		return;
	}
	int16_t e = ctl_create_topic(c, &spec, err, sizeof(err));
	if (e) {
		refuse(k, out, e, err);
		return;
	}
	k->partitions += n;
	out->topic_id = spec.id;
	out->num_partitions = n;
	out->replication_factor = 1;
	fill_configs(k, q, out);
}

/* Answers to all topics on the draft of the table; how many of them can be created. */
static int32_t create_all(struct ctl *c, struct create *k, struct arena *a, const bool *dup)
{
	int32_t good = 0, n = 0;
	for (int32_t i = 0; i < k->req.n_topics; i++) {
		const struct kp_create_topics_request_topic *q = &k->req.topics[i];
		struct kp_create_topics_response_topic *out = &k->resp.topics[n++];
		kp_default_create_topics_response_topic(out);
		out->name = q->name;
		if (dup[i])
			refuse(k, out, KE_INVALID_REQUEST, "Duplicate topic name.");
		else
			create_one(c, k, a, q, out);
		good += out->error_code == KE_NONE;
	}
	k->resp.n_topics = n;
	return good;
}

static void fail_all(struct create *k, int16_t error, const char *text)
{
	for (int32_t i = 0; i < k->resp.n_topics; i++) {
		struct kp_create_topics_response_topic *t = &k->resp.topics[i];
		if (t->error_code)
			continue;
		struct kstr name = t->name;
		kp_default_create_topics_response_topic(t);
		t->name = name;
		t->error_code = error;
		t->error_message = kstr_of(text);
		t->n_configs = -1;
	}
}

static void run(struct ctl *c, struct create *k, struct pending *p)
{
	int32_t n = k->req.n_topics;
	struct kstr *names = ctl_scratch(c, sizeof(*names) * (size_t)n);
	bool *dup = ctl_scratch(c, (size_t)n + 1);
	bool ready = names && dup && make_room(c, k, p->m->request.api_version);
	for (int32_t i = 0; ready && i < n; i++)
		names[i] = k->req.topics[i].name;
	if (!ready || ctl_find_duplicates(c, names, (uint32_t)n, dup) < 0 || !ctl_change_begin(c)) {
		free(k->extra);
		ctl_hang_up(c, p->m);
		pending_free(p);
		return;
	}
	int32_t good = create_all(c, k, &p->arena, dup);
	if (k->req.validate_only || good == 0) {
		ctl_change_drop(c);
		pending_finish(c, p, false);
	} else if (ctl_change_commit(c) != KE_NONE) {
		fail_all(k, KE_KAFKA_STORAGE_ERROR,
			"The broker could not store the change; see its log.");
		pending_finish(c, p, false);
	} else {
		pending_wait(c, p, k->req.timeout_ms);
	}
}

/* So many topics cannot all be created: not looked at one by one. */
static void too_many(struct ctl *c, struct create *k, struct pending *p)
{
	size_t n = (size_t)k->req.n_topics;
	k->resp.topics = k->extra = calloc(n, sizeof(*k->resp.topics));
	if (!k->extra) {
		ctl_hang_up(c, p->m);
		pending_free(p);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		k->resp.topics[i].name = k->req.topics[i].name;
	}
	k->resp.n_topics = (int32_t)n;
	fail_all(k, KE_POLICY_VIOLATION, "Excessively large number of topics per request.");
	pending_finish(c, p, false);
}

void ctl_handle_create_topics(struct ctl *c, struct msg *m)
{
	struct pending *p = pending_new(c, m, respond);
	if (!p)
		return;
	struct create *k = arena_alloc(&p->arena, sizeof(*k));
	CHECK(k); /* the arena has slack */
	p->response = k;
	if (!ctl_decode_in(c, m, &k->req, &p->arena)) {
		pending_free(p);
		return;
	}
	if (k->req.n_topics > TOPIC_REQUEST_MAX_PARTITIONS)
		too_many(c, k, p);
	else
		run(c, k, p);
}
