/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tools ask about replicas, on a broker that is the only one: ElectLeaders (key 43, versions 0
 * to 2), AlterPartitionReassignments (45, 0 to 1), ListPartitionReassignments (46, 0) and
 * AlterReplicaLogDirs (34, 1 to 2). Every partition is where it can only be, so there is nothing to
 * do; what asks for something else is told why not.
 */
#include <string.h>

#include "control/api/ctl.h"
#include "kafka/errcode.h"

/* The partition as the shards serve it; NULL: there is none. */
static const struct image_partition *partition_of(struct ctl *c, struct kstr topic, int32_t index)
{
	const struct image *im = ctl_image(c);
	const struct image_topic *t = im ? image_topic_by_name(im, topic) : NULL;
	return t ? image_partition_at(t, index) : NULL;
}

/* ---- ElectLeaders ---- */

enum election { ELECT_PREFERRED = 0, ELECT_UNCLEAN = 1 };

typedef struct kp_elect_leaders_response_result result_t;
typedef struct kp_elect_leaders_response_partition elected_t;

static int16_t elect(const struct image_partition *ip, int8_t type)
{
	if (!ip)
		return KE_UNKNOWN_TOPIC_OR_PARTITION;
	if (ip->leader >= 0)
		return KE_ELECTION_NOT_NEEDED;
	return type == ELECT_PREFERRED ? KE_PREFERRED_LEADER_NOT_AVAILABLE
				       : KE_ELIGIBLE_LEADERS_NOT_AVAILABLE;
}

static elected_t elected(int32_t index, int16_t error)
{
	return (elected_t){.partition_id = index,
		.error_code = error,
		.error_message = error ? kstr_of(ke_text(error)) : KSTR_NULL};
}

static bool elect_named(struct ctl *c, const struct kp_elect_leaders_request *req,
	struct kp_elect_leaders_response *res)
{
	size_t n = (size_t)max_of(req->n_topic_partitions, 0);
	res->replica_election_results = ctl_scratch(c, (n + 1) * sizeof(result_t));
	for (size_t i = 0; res->replica_election_results && i < n; i++) {
		result_t *r = &res->replica_election_results[res->n_replica_election_results++];
		size_t parts = (size_t)max_of(req->topic_partitions[i].n_partitions, 0);
		r->topic = req->topic_partitions[i].topic;
		r->partition_result = ctl_scratch(c, (parts + 1) * sizeof(elected_t));
		if (!r->partition_result)
			return false;
		for (size_t p = 0; p < parts; p++) {
			int32_t index = req->topic_partitions[i].partitions[p];
			r->partition_result[r->n_partition_result++] = elected(
				index, elect(partition_of(c, r->topic, index), req->election_type));
		}
	}
	return res->replica_election_results != NULL;
}

/* Of all partitions only those are told of that need a leader (KIP-460). */
static bool elect_all(struct ctl *c, int8_t type, struct kp_elect_leaders_response *res)
{
	const struct image *im = ctl_image(c);
	uint32_t offline = 0;
	for (uint32_t i = 0; im && i < im->topic_count; i++)
		for (int32_t p = 0; p < im->topics[i].partition_count; p++)
			offline += im->topics[i].partitions[p].leader < 0;
	result_t *r = ctl_scratch(c, (offline + 1ul) * sizeof(*r));
	elected_t *e = ctl_scratch(c, (offline + 1ul) * sizeof(*e));
	res->replica_election_results = r;
	if (!r || !e)
		return false;
	for (uint32_t i = 0; offline > 0 && i < im->topic_count; i++) {
		const struct image_topic *t = &im->topics[i];
		r->topic = t->name;
		r->partition_result = e;
		for (int32_t p = 0; p < t->partition_count; p++)
			if (t->partitions[p].leader < 0)
				e[r->n_partition_result++] =
					elected(p, elect(&t->partitions[p], type));
		e += r->n_partition_result;
		bool any = r->n_partition_result > 0;
		res->n_replica_election_results += any;
		r += any;
	}
	return true;
}

void ctl_handle_elect_leaders(struct ctl *c, struct msg *m)
{
	struct kp_elect_leaders_request req;
	struct kp_elect_leaders_response res;
	if (!ctl_decode(c, m, &req))
		return;
	kp_default_elect_leaders_response(&res);
	bool made = true;
	if (req.election_type != ELECT_PREFERRED && req.election_type != ELECT_UNCLEAN)
		res.error_code = KE_INVALID_REQUEST;
	else if (req.n_topic_partitions < 0)
		made = elect_all(c, req.election_type, &res);
	else
		made = elect_named(c, &req, &res);
	if (made)
		ctl_respond(c, m, &res);
	else
		ctl_hang_up(c, m);
}

/* ---- reassignments ---- */

typedef struct kp_alter_partition_reassignments_request_partition wish_t;
typedef struct kp_alter_partition_reassignments_response_topic moved_topic_t;
typedef struct kp_alter_partition_reassignments_response_partition moved_t;

static moved_t move(struct ctl *c, struct kstr topic, const wish_t *w)
{
	moved_t out = {.partition_index = w->partition_index, .error_message = KSTR_NULL};
	const char *why = NULL;
	if (!partition_of(c, topic, w->partition_index)) {
		out.error_code = KE_UNKNOWN_TOPIC_OR_PARTITION;
		why = "This server does not host this topic-partition.";
	} else if (w->n_replicas < 0) {
		out.error_code = KE_NO_REASSIGNMENT_IN_PROGRESS;
		why = "No reassignment is in progress.";
	} else if (w->n_replicas != 1 || w->replicas[0] != ctl_config(c)->node_id) {
		out.error_code = KE_INVALID_REPLICA_ASSIGNMENT;
		why = "This broker is the only one: the replicas must be its id, once.";
	}
	if (why)
		out.error_message = kstr_of(why);
	return out;
}

void ctl_handle_alter_partition_reassignments(struct ctl *c, struct msg *m)
{
	struct kp_alter_partition_reassignments_request req;
	struct kp_alter_partition_reassignments_response res;
	if (!ctl_decode(c, m, &req))
		return;
	kp_default_alter_partition_reassignments_response(&res);
	res.allow_replication_factor_change = req.allow_replication_factor_change;
	size_t n = (size_t)max_of(req.n_topics, 0);
	res.responses = ctl_scratch(c, (n + 1) * sizeof(moved_topic_t));
	for (size_t i = 0; res.responses && i < n; i++) {
		moved_topic_t *t = &res.responses[res.n_responses++];
		size_t parts = (size_t)max_of(req.topics[i].n_partitions, 0);
		t->name = req.topics[i].name;
		t->partitions = ctl_scratch(c, (parts + 1) * sizeof(moved_t));
		if (!t->partitions) {
			res.responses = NULL;
			break;
		}
		for (size_t p = 0; p < parts; p++)
			t->partitions[t->n_partitions++] =
				move(c, t->name, &req.topics[i].partitions[p]);
	}
	if (res.responses)
		ctl_respond(c, m, &res);
	else
		ctl_hang_up(c, m);
}

void ctl_handle_list_partition_reassignments(struct ctl *c, struct msg *m)
{
	struct kp_list_partition_reassignments_request req;
	struct kp_list_partition_reassignments_response res;
	if (!ctl_decode(c, m, &req))
		return;
	kp_default_list_partition_reassignments_response(&res); /* none is ever under way */
	ctl_respond(c, m, &res);
}

/* ---- AlterReplicaLogDirs ---- */

typedef struct kp_alter_replica_log_dirs_request_dir dir_t;
typedef struct kp_alter_replica_log_dirs_response_result moved_dir_t;
typedef struct kp_alter_replica_log_dirs_response_partition in_dir_t;

/* With one directory everything is in it already. Logs do not move between several. */
static int16_t move_to(struct ctl *c, struct kstr path, struct kstr topic, int32_t partition)
{
	const struct config *cfg = ctl_config(c);
	bool known = false;
	for (int i = 0; i < cfg->log_dirs.count; i++)
		known |= kstr_equal(path, kstr_of(cfg->log_dirs.path[i]));
	if (!known)
		return KE_LOG_DIR_NOT_FOUND;
	if (!partition_of(c, topic, partition))
		return KE_UNKNOWN_TOPIC_OR_PARTITION;
	return cfg->log_dirs.count == 1 ? KE_NONE : KE_UNSUPPORTED_VERSION;
}

static bool move_dir(struct ctl *c, const dir_t *d, struct kp_alter_replica_log_dirs_response *res)
{
	for (int32_t i = 0; i < d->n_topics; i++) {
		moved_dir_t *t = &res->results[res->n_results++];
		size_t n = (size_t)max_of(d->topics[i].n_partitions, 0);
		t->topic_name = d->topics[i].name;
		t->partitions = ctl_scratch(c, (n + 1) * sizeof(in_dir_t));
		if (!t->partitions)
			return false;
		for (size_t p = 0; p < n; p++) {
			int32_t index = d->topics[i].partitions[p];
			t->partitions[t->n_partitions++] = (in_dir_t){.partition_index = index,
				.error_code = move_to(c, d->path, t->topic_name, index)};
		}
	}
	return true;
}

void ctl_handle_alter_replica_log_dirs(struct ctl *c, struct msg *m)
{
	struct kp_alter_replica_log_dirs_request req;
	struct kp_alter_replica_log_dirs_response res;
	if (!ctl_decode(c, m, &req))
		return;
	kp_default_alter_replica_log_dirs_response(&res);
	size_t topics = 0;
	for (int32_t i = 0; i < req.n_dirs; i++)
		topics += (size_t)max_of(req.dirs[i].n_topics, 0);
	res.results = ctl_scratch(c, (topics + 1) * sizeof(moved_dir_t));
	bool made = res.results != NULL;
	for (int32_t i = 0; made && i < req.n_dirs; i++)
		made = move_dir(c, &req.dirs[i], &res);
	if (made)
		ctl_respond(c, m, &res);
	else
		ctl_hang_up(c, m);
}
