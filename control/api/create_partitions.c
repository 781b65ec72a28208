/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CreatePartitions (key 37, versions 0 to 3; KIP-195). The new partitions are empty; the answer
 * goes out when every shard serves them.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "control/api/pending.h"
#include "kafka/errcode.h"

typedef struct kp_create_partitions_response_result result_t;

struct grow_state {
	struct kp_create_partitions_request req;
	struct kp_create_partitions_response resp;
	void *extra; /* malloc: results and their texts */
	char (*texts)[TOPIC_ERROR_MAX];
};

static void respond(struct ctl *c, struct pending *p, bool timed_out)
{
	struct grow_state *k = p->response;
	for (int32_t i = 0; timed_out && i < k->resp.n_results; i++)
		if (!k->resp.results[i].error_code)
			k->resp.results[i].error_code = KE_REQUEST_TIMED_OUT;
	ctl_respond(c, p->m, &k->resp);
	free(k->extra);
}

static void refuse(struct grow_state *k, int32_t i, int16_t error, const char *text)
{
	k->resp.results[i].error_code = error;
	k->resp.results[i].error_message = kstr_of(text[0] ? text : ke_text(error));
}

static int16_t grow_one(
	struct ctl *c, const struct kp_create_partitions_request_topic *q, char *err)
{
	struct topic_assignment *v =
		ctl_scratch(c, sizeof(*v) * ((size_t)max_of(q->n_assignments, 0) + 1));
	if (!v)
		return KE_UNKNOWN_SERVER_ERROR;
	for (int32_t i = 0; i < q->n_assignments; i++)
		v[i] = (struct topic_assignment){.brokers = q->assignments[i].broker_ids,
			.broker_count = q->assignments[i].n_broker_ids};
	struct topic_growth g = {.name = q->name,
		.count = q->count,
		.assignments = v,
		.assignment_count = q->n_assignments};
	return ctl_grow_topic(c, &g, err, TOPIC_ERROR_MAX);
}

/* Answers to all, on the draft. Whether something has changed. */
static bool grow_all(struct ctl *c, struct grow_state *k, const bool *dup)
{
	bool changed = false;
	for (int32_t i = 0; i < k->req.n_topics; i++) {
		kp_default_create_partitions_response_result(&k->resp.results[i]);
		k->resp.results[i].name = k->req.topics[i].name;
		int16_t e = KE_INVALID_REQUEST;
		if (dup[i])
			snprintf(k->texts[i], TOPIC_ERROR_MAX, "Duplicate topic name.");
		else
			e = grow_one(c, &k->req.topics[i], k->texts[i]);
		if (e)
			refuse(k, i, e, k->texts[i]);
		changed |= !e;
	}
	k->resp.n_results = max_of(k->req.n_topics, 0);
	return changed;
}

static void run(struct ctl *c, struct pending *p)
{
	struct grow_state *k = p->response;
	size_t n = (size_t)max_of(k->req.n_topics, 0);
	bool too_many = n > TOPIC_REQUEST_MAX_PARTITIONS;
	struct kstr *names = ctl_scratch(c, sizeof(*names) * n);
	bool *dup = ctl_scratch(c, n + 1);
	k->extra = too_many ? NULL : calloc(n + 1, sizeof(result_t) + TOPIC_ERROR_MAX);
	for (size_t i = 0; names && i < n; i++)
		names[i] = k->req.topics[i].name;
	if (!k->extra || !names || !dup || ctl_find_duplicates(c, names, (uint32_t)n, dup) < 0 ||
		!ctl_change_begin(c)) {
		free(k->extra);
		ctl_hang_up(c, p->m);
		pending_free(p);
		return;
	}
	k->resp.results = k->extra;
	k->texts = (void *)(k->resp.results + n);
	if (!grow_all(c, k, dup) || k->req.validate_only) {
		ctl_change_drop(c);
		pending_finish(c, p, false);
		return;
	}
	if (ctl_change_commit(c) == KE_NONE) {
		pending_wait(c, p, k->req.timeout_ms);
		return;
	}
	for (int32_t i = 0; i < k->resp.n_results; i++)
		if (!k->resp.results[i].error_code)
			refuse(k, i, KE_KAFKA_STORAGE_ERROR,
				"The broker could not store the change; see its log.");
	pending_finish(c, p, false);
}

void ctl_handle_create_partitions(struct ctl *c, struct msg *m)
{
	struct pending *p = pending_new(c, m, respond);
	if (!p)
		return;
	struct grow_state *k = arena_alloc(&p->arena, sizeof(*k));
	CHECK(k); /* the arena has slack */
	p->response = k;
	if (ctl_decode_in(c, m, &k->req, &p->arena))
		run(c, p);
	else
		pending_free(p);
}
