/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DeleteTopics (key 20, versions 1 to 6). The answer goes out when no shard serves the topics any
 * more and their logs are deleted.
 */
#include <stdlib.h>

#include "base/check.h"
#include "control/api/pending.h"
#include "kafka/errcode.h"

struct delete_state {
	struct kp_delete_topics_request req;
	struct kp_delete_topics_response resp;
};

static void respond(struct ctl *c, struct pending *p, bool timed_out)
{
	struct delete_state *k = p->response;
	for (int32_t i = 0; timed_out && i < k->resp.n_topics; i++)
		if (!k->resp.topics[i].error_code)
			k->resp.topics[i].error_code = KE_REQUEST_TIMED_OUT;
	ctl_respond(c, p->m, &k->resp);
}

static void refuse(struct kp_delete_topics_response_topic *out, int16_t error, const char *text)
{
	out->error_code = error;
	out->error_message = kstr_of(text ? text : ke_text(error));
}

static void delete_topic(
	struct ctl *c, const struct topic *topic, struct kp_delete_topics_response_topic *out)
{
	if (topic->internal) {
		refuse(out, KE_INVALID_TOPIC_EXCEPTION,
			"The topic is the broker's own and cannot be deleted.");
		return;
	}
	int16_t e = ctl_delete_topic(c, kstr_of(topic->name));
	if (e)
		refuse(out, e, NULL);
}

static void delete_named(
	struct ctl *c, struct kstr name, struct kp_delete_topics_response_topic *out)
{
	const struct topic *topic = topics_find(ctl_topics(c), name);
	out->name = name;
	if (!topic) {
		refuse(out, KE_UNKNOWN_TOPIC_OR_PARTITION, NULL);
		return;
	}
	out->topic_id = topic->id;
	delete_topic(c, topic, out);
}

static void delete_by_id(struct ctl *c, struct pending *p, const struct uuid *id,
	struct kp_delete_topics_response_topic *out)
{
	const struct topic *topic = topics_find_id(ctl_topics(c), id);
	out->topic_id = *id;
	if (!topic) {
		refuse(out, KE_UNKNOWN_TOPIC_ID, NULL);
		return;
	}
	size_t n = strlen(topic->name);
	char *name = arena_alloc(&p->arena, n + 1);
	if (name) {
		memcpy(name, topic->name, n);
		out->name = (struct kstr){.p = name, .len = (int32_t)n};
	}
	delete_topic(c, topic, out);
}

static void delete_one(struct ctl *c, struct pending *p, int32_t i, bool dup,
	struct kp_delete_topics_response_topic *out)
{
	struct delete_state *k = p->response;
	kp_default_delete_topics_response_topic(out);
	bool by_name_only = p->m->request.api_version < 6;
	struct kstr name = by_name_only ? k->req.topic_names[i] : k->req.topics[i].name;
	const struct uuid *id = by_name_only ? NULL : &k->req.topics[i].topic_id;
	bool has_id = id && !uuid_is_zero(id);
	if ((name.len >= 0) == has_id) {
		out->name = name;
		refuse(out, KE_INVALID_REQUEST,
			has_id ? "You may not specify both topic name and topic id."
			       : "Neither topic name nor id were specified.");
	} else if (dup) {
		out->name = name;
		refuse(out, KE_INVALID_REQUEST, "Duplicate topic name.");
	} else if (!c->cfg->delete_topic_enable) {
		out->name = name;
		refuse(out,
			p->m->request.api_version < 3 ? KE_INVALID_REQUEST
						      : KE_TOPIC_DELETION_DISABLED,
			"delete.topic.enable is false.");
	} else if (has_id) {
		delete_by_id(c, p, id, out);
	} else {
		delete_named(c, name, out);
	}
}

static void hang_up(struct ctl *c, struct pending *p)
{
	ctl_hang_up(c, p->m);
	pending_free(p);
}

/* So many are not looked at one by one. */
static void too_many(struct ctl *c, struct pending *p, int32_t n)
{
	struct delete_state *k = p->response;
	bool by_name_only = p->m->request.api_version < 6;
	k->resp.topics = arena_array(&p->arena, (size_t)n, sizeof(*k->resp.topics));
	if (!k->resp.topics) {
		hang_up(c, p);
		return;
	}
	for (int32_t i = 0; i < n; i++) {
		struct kp_delete_topics_response_topic *out = &k->resp.topics[i];
		kp_default_delete_topics_response_topic(out);
		out->name = by_name_only ? k->req.topic_names[i] : k->req.topics[i].name;
		if (!by_name_only)
			out->topic_id = k->req.topics[i].topic_id;
		refuse(out, KE_POLICY_VIOLATION, "Excessively large number of topics per request.");
	}
	k->resp.n_topics = n;
	pending_finish(c, p, false);
}

static void run(struct ctl *c, struct pending *p)
{
	struct delete_state *k = p->response;
	bool by_name_only = p->m->request.api_version < 6;
	int32_t n = max_of(by_name_only ? k->req.n_topic_names : k->req.n_topics, 0);
	if (n > TOPIC_REQUEST_MAX_PARTITIONS) {
		too_many(c, p, n);
		return;
	}
	struct kstr *names = ctl_scratch(c, sizeof(*names) * (size_t)n);
	bool *dup = ctl_scratch(c, (size_t)n + 1);
	k->resp.topics = arena_array(&p->arena, (size_t)n, sizeof(*k->resp.topics));
	if (!names || !dup || !k->resp.topics) {
		hang_up(c, p);
		return;
	}
	for (int32_t i = 0; i < n; i++)
		names[i] = by_name_only ? k->req.topic_names[i] : k->req.topics[i].name;
	if (ctl_find_duplicates(c, names, (uint32_t)n, dup) < 0 || !ctl_change_begin(c)) {
		hang_up(c, p);
		return;
	}
	bool changed = false;
	for (int32_t i = 0; i < n; i++) {
		delete_one(c, p, i, dup[i], &k->resp.topics[i]);
		changed |= k->resp.topics[i].error_code == KE_NONE;
	}
	k->resp.n_topics = n;
	if (!changed) {
		ctl_change_drop(c);
		pending_finish(c, p, false);
		return;
	}
	if (ctl_change_commit(c) == KE_NONE) {
		pending_wait(c, p, k->req.timeout_ms);
		return;
	}
	for (int32_t i = 0; i < n; i++)
		if (!k->resp.topics[i].error_code)
			refuse(&k->resp.topics[i], KE_KAFKA_STORAGE_ERROR,
				"The broker could not store the change; see its log.");
	pending_finish(c, p, false);
}

void ctl_handle_delete_topics(struct ctl *c, struct msg *m)
{
	struct pending *p = pending_new(c, m, respond);
	if (!p)
		return;
	struct delete_state *k = arena_alloc(&p->arena, sizeof(*k));
	CHECK(k); /* the arena has slack */
	p->response = k;
	if (ctl_decode_in(c, m, &k->req, &p->arena))
		run(c, p);
	else
		pending_free(p);
}
