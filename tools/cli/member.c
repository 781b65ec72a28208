/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/cli/member.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tools/cli/assign.h"
#include "tools/cli/commits.h"

#define MEMBER_TOPICS 1024 /* that all members together may subscribe to */

static int find_coordinator(struct member *m)
{
	int rc = client_coordinator(m->c->client, m->group, &m->node);
	if (rc < 0)
		return cli_client_failed(m->c, rc);
	return rc ? cli_refused(m->c, kstr_of(m->group), (int16_t)rc, KSTR_NULL) : CLI_OK;
}

/* What an error of the coordinator means for the member: true, it is to join again. */
static bool rejoins(struct member *m, int16_t error)
{
	if (error == KE_UNKNOWN_MEMBER_ID)
		m->id[0] = 0;
	return error == KE_UNKNOWN_MEMBER_ID || error == KE_REBALANCE_IN_PROGRESS ||
	       error == KE_ILLEGAL_GENERATION;
}

/* --- what the leader of the group does --------------------------------------------------- */

/* The topics that the members subscribe to, each once. How many. */
static int32_t topics_of(const struct kp_join_group_response *rs, struct kstr *names)
{
	int32_t count = 0;
	struct kstr name;
	for (int32_t i = 0; i < rs->n_members; i++)
		for (int32_t n = 0; subscription_topic(rs->members[i].metadata, n, &name); n++) {
			bool known = count == MEMBER_TOPICS;
			for (int32_t j = 0; j < count && !known; j++)
				known = kstr_equal(names[j], name);
			if (!known)
				names[count++] = name;
		}
	return count;
}

/* Makes everybody's assignment, in memory of *memory. A client_err. */
static int assign_all(struct member *m, const struct kp_join_group_response *rs,
	struct subscriber *subs, uint8_t **memory)
{
	struct kstr names[MEMBER_TOPICS] = {{0}};
	struct assign_topic topics[MEMBER_TOPICS];
	struct kp_metadata_response md;
	struct reply reply = {0};
	int32_t count = topics_of(rs, names);
	int rc = client_metadata(m->c->client, names, count, false, &md, &reply);
	for (int32_t i = 0; i < count; i++) {
		topics[i] = (struct assign_topic){.name = names[i]};
		for (int32_t t = 0; !rc && t < md.n_topics; t++)
			if (kstr_equal(md.topics[t].name, names[i]))
				topics[i].partitions = md.topics[t].n_partitions;
	}
	size_t each = assign_bound(topics, count);
	*memory = rc ? NULL : malloc(each * (size_t)max_of(rs->n_members, 1));
	if (!rc && !*memory)
		rc = CLIENT_E_NOMEM;
	for (int32_t i = 0; !rc && i < rs->n_members; i++)
		subs[i] = (struct subscriber){.id = rs->members[i].member_id,
			.subscription = rs->members[i].metadata,
			.out = wr_of(*memory + each * (size_t)i, each)};
	if (!rc)
		assign_range(subs, rs->n_members, topics, count);
	reply_free(&reply);
	return rc;
}

/* --- joining ----------------------------------------------------------------------------- */

/* A partition of ours. */
static void take_partition(void *arg, struct kstr topic, int32_t partition)
{
	struct member *m = arg;
	int32_t *p = kstr_equal(topic, kstr_of(m->topic))
			     ? realloc(m->partitions, (size_t)(m->count + 1) * sizeof(*p))
			     : NULL;
	if (!p)
		return;
	m->partitions = p;
	m->partitions[m->count++] = partition;
}

/* Second half of a join. *error is the broker's. An exit code. */
static int sync_group(struct member *m, const struct kp_join_group_response *joined, int16_t *error)
{
	size_t n = (size_t)max_of(joined->n_members, 1);
	struct kp_sync_group_request_assignment *list = calloc(n, sizeof(*list));
	struct subscriber *subs = calloc(n, sizeof(*subs));
	struct kp_sync_group_request rq;
	struct kp_sync_group_response rs;
	struct reply reply = {0};
	uint8_t *memory = NULL;
	bool leads = kstr_equal(joined->leader, kstr_of(m->id));
	int rc = list && subs ? CLIENT_OK : CLIENT_E_NOMEM;
	if (!rc && leads)
		rc = assign_all(m, joined, subs, &memory);
	kp_default_sync_group_request(&rq);
	rq.group_id = kstr_of(m->group);
	rq.generation_id = m->generation;
	rq.member_id = kstr_of(m->id);
	rq.protocol_type = kstr_of("consumer");
	rq.protocol_name = kstr_of("range");
	rq.assignments = list;
	rq.n_assignments = !rc && leads ? joined->n_members : 0;
	for (int32_t i = 0; i < rq.n_assignments; i++)
		list[i] = (struct kp_sync_group_request_assignment){.member_id = subs[i].id,
			.assignment = {subs[i].out.base, (int32_t)wr_len(&subs[i].out)}};
	if (!rc)
		rc = client_call_waiting(m->c->client, m->node, KP_SYNC_GROUP, &rq, &rs, &reply,
			MEMBER_REBALANCE_MS);
	*error = rc ? KE_NONE : rs.error_code;
	if (!rc && !*error) {
		m->count = 0;
		assignment_read(rs.assignment, take_partition, m);
	}
	reply_free(&reply);
	free(memory);
	free(subs);
	free(list);
	return rc ? cli_client_failed(m->c, rc) : CLI_OK;
}

/* Asks once to be let in. *error is the broker's. An exit code. */
static int join_once(struct member *m, int16_t *error)
{
	uint8_t subscription[512];
	struct kp_join_group_request_protocol protocol;
	struct kp_join_group_request rq;
	struct kp_join_group_response rs;
	struct reply reply = {0};
	kp_default_join_group_request_protocol(&protocol);
	protocol.name = kstr_of("range");
	protocol.metadata.p = subscription;
	protocol.metadata.len =
		(int32_t)subscription_write(kstr_of(m->topic), subscription, sizeof(subscription));
	kp_default_join_group_request(&rq);
	rq.group_id = kstr_of(m->group);
	rq.session_timeout_ms = MEMBER_SESSION_MS;
	rq.rebalance_timeout_ms = MEMBER_REBALANCE_MS;
	rq.member_id = kstr_of(m->id);
	rq.protocol_type = kstr_of("consumer");
	rq.protocols = &protocol;
	rq.n_protocols = 1;
	int rc = client_call_waiting(
		m->c->client, m->node, KP_JOIN_GROUP, &rq, &rs, &reply, MEMBER_REBALANCE_MS);
	if (rc) {
		reply_free(&reply);
		return cli_client_failed(m->c, rc);
	}
	*error = rs.error_code;
	if (!*error || *error == KE_MEMBER_ID_REQUIRED)
		kstr_copy(rs.member_id, m->id, sizeof(m->id));
	if (!*error) {
		m->generation = rs.generation_id;
		m->joined = true;
		rc = sync_group(m, &rs, error);
	}
	reply_free(&reply);
	return rc;
}

int member_join(struct member *m)
{
	uint64_t deadline =
		client_deadline(m->c->client) + (uint64_t)MEMBER_REBALANCE_MS * NS_PER_MS;
	int rc = m->joined ? CLI_OK : find_coordinator(m);
	for (uint32_t n = 0; !rc; n++) {
		int16_t error;
		rc = join_once(m, &error);
		if (rc || !error)
			break;
		if (error == KE_MEMBER_ID_REQUIRED && n < 10)
			continue;
		if ((!rejoins(m, error) && !ke_retriable(error)) || clock_mono_ns() > deadline)
			return cli_refused(m->c, kstr_of(m->group), error, KSTR_NULL);
		int stopped = client_back_off(m->c->client, n);
		rc = stopped ? cli_client_failed(m->c, stopped) : find_coordinator(m);
	}
	m->again = false;
	m->beat_ns = clock_mono_ns() + (uint64_t)MEMBER_BEAT_MS * NS_PER_MS;
	return rc;
}

/* --- being a member ---------------------------------------------------------------------- */

/* What an answer's error means. An exit code. */
static int member_answer(struct member *m, int16_t error)
{
	if (rejoins(m, error) || ke_retriable(error))
		m->again = true;
	else if (error)
		return cli_refused(m->c, kstr_of(m->group), error, KSTR_NULL);
	return CLI_OK;
}

int member_beat(struct member *m, uint64_t now_ns)
{
	struct kp_heartbeat_request rq;
	struct kp_heartbeat_response rs;
	struct reply reply = {0};
	if (now_ns < m->beat_ns)
		return CLI_OK;
	m->beat_ns = now_ns + (uint64_t)MEMBER_BEAT_MS * NS_PER_MS;
	kp_default_heartbeat_request(&rq);
	rq.group_id = kstr_of(m->group);
	rq.generation_id = m->generation;
	rq.member_id = kstr_of(m->id);
	int rc = client_call(m->c->client, m->node, KP_HEARTBEAT, &rq, &rs, &reply);
	reply_free(&reply);
	if (rc == CLIENT_E_STOPPED)
		return CLI_OK;
	return rc ? cli_client_failed(m->c, rc) : member_answer(m, rs.error_code);
}

int member_commit(struct member *m, struct fetching *of, int32_t count)
{
	struct kp_offset_commit_request_partition *list =
		calloc((size_t)max_of(count, 1), sizeof(*list));
	struct kp_offset_commit_request_topic topic;
	struct kp_offset_commit_request rq;
	struct kp_offset_commit_response rs;
	struct reply reply = {0};
	int32_t n = 0;
	int16_t error = KE_NONE;
	for (int32_t i = 0; list && i < count; i++) {
		if (of[i].position == of[i].committed)
			continue;
		kp_default_offset_commit_request_partition(&list[n]);
		list[n].index = of[i].index;
		list[n].committed_offset = of[i].position;
		list[n++].committed_metadata = kstr_of("");
	}
	kp_default_offset_commit_request_topic(&topic);
	topic.name = kstr_of(m->topic);
	topic.partitions = list;
	topic.n_partitions = n;
	kp_default_offset_commit_request(&rq);
	rq.group_id = kstr_of(m->group);
	rq.generation_id = m->generation;
	rq.member_id = kstr_of(m->id);
	rq.topics = &topic;
	rq.n_topics = 1;
	int rc = n ? client_call(m->c->client, m->node, KP_OFFSET_COMMIT, &rq, &rs, &reply) : 0;
	for (int32_t t = 0; n && !rc && t < rs.n_topics; t++)
		for (int32_t i = 0; i < rs.topics[t].n_partitions; i++)
			error = error ? error : rs.topics[t].partitions[i].error_code;
	for (int32_t i = 0; n && !rc && !error && i < count; i++)
		of[i].committed = of[i].position;
	free(list);
	reply_free(&reply);
	return rc ? cli_client_failed(m->c, rc) : member_answer(m, error);
}

void member_leave(struct member *m)
{
	struct kp_leave_group_request_member who;
	struct kp_leave_group_request rq;
	struct kp_leave_group_response rs;
	struct reply reply = {0};
	kp_default_leave_group_request_member(&who);
	who.member_id = kstr_of(m->id);
	kp_default_leave_group_request(&rq);
	rq.group_id = kstr_of(m->group);
	rq.member_id = kstr_of(m->id);
	rq.members = &who;
	rq.n_members = 1;
	if (m->joined && m->id[0])
		client_call(m->c->client, m->node, KP_LEAVE_GROUP, &rq, &rs, &reply);
	reply_free(&reply);
	free(m->partitions);
	m->partitions = NULL;
}
