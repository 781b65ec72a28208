/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/cli/cli.h"

static void show_text(struct out *o, const char *name, struct kstr s)
{
	out_textn(o, name, s.len > 0 ? s.p : "", (size_t)max_of(s.len, 0));
}

/* What the broker that answers can do: its features (KIP-584) and APIs. A client_err. */
static int show_features(struct cli *c)
{
	struct out *o = &c->out;
	struct kp_api_versions_request rq;
	struct kp_api_versions_response rs;
	struct reply reply = {0};
	kp_default_api_versions_request(&rq);
	rq.client_software_name = kstr_of("millctl");
	rq.client_software_version = kstr_of(MR_VERSION);
	int rc = client_call(c->client, CLIENT_ANY, KP_API_VERSIONS, &rq, &rs, &reply);
	if (rc == CLIENT_OK) {
		out_list(o, "features");
		for (int32_t i = 0; i < rs.n_supported_features; i++) {
			out_row(o);
			show_text(o, "feature", rs.supported_features[i].name);
			out_int(o, "min", rs.supported_features[i].min_version);
			out_int(o, "max", rs.supported_features[i].max_version);
			out_row_end(o);
		}
		out_list_end(o);
		out_list(o, "apis");
		for (int32_t i = 0; i < rs.n_api_keys; i++) {
			const struct kp_api *api = kp_api_find(rs.api_keys[i].key);
			out_row(o);
			out_text(o, "api", api ? api->name : "");
			out_int(o, "key", rs.api_keys[i].key);
			out_int(o, "min", rs.api_keys[i].min_version);
			out_int(o, "max", rs.api_keys[i].max_version);
			out_row_end(o);
		}
		out_list_end(o);
	}
	reply_free(&reply);
	return rc;
}

int cluster_describe(struct cli *c)
{
	struct out *o = &c->out;
	struct kp_metadata_response m;
	struct reply reply = {0};
	const struct kstr none = {.p = "", .len = 0};
	int rc = client_metadata(c->client, &none, 0, false, &m, &reply);
	if (rc) {
		reply_free(&reply);
		return cli_client_failed(c, rc);
	}
	out_begin(o, stdout, c->json);
	show_text(o, "cluster_id", m.cluster_id);
	out_int(o, "controller", m.controller_id);
	out_list(o, "brokers");
	for (int32_t i = 0; i < m.n_brokers; i++) {
		out_row(o);
		out_int(o, "broker", m.brokers[i].node_id);
		show_text(o, "host", m.brokers[i].host);
		out_int(o, "port", m.brokers[i].port);
		show_text(o, "rack", m.brokers[i].rack);
		out_bool(o, "reachable", client_ranges(c->client, m.brokers[i].node_id) != NULL);
		out_row_end(o);
	}
	out_list_end(o);
	reply_free(&reply);
	rc = show_features(c);
	return cli_end(c, rc ? cli_client_failed(c, rc) : CLI_OK);
}

/* What is wrong with partitions. */
struct health {
	int64_t topics;
	int64_t partitions;
	int64_t leaderless;
	int64_t under_replicated;
	int64_t offline_replicas;
};

static void health_count(struct health *h, const struct kp_metadata_response *m)
{
	h->topics = m->n_topics;
	for (int32_t t = 0; t < m->n_topics; t++)
		for (int32_t i = 0; i < m->topics[t].n_partitions; i++) {
			const struct kp_metadata_response_partition *p =
				&m->topics[t].partitions[i];
			h->partitions++;
			h->leaderless += p->leader_id < 0;
			h->under_replicated += p->n_isr_nodes < p->n_replica_nodes;
			h->offline_replicas += p->n_offline_replicas;
		}
}

/* The partitions that something is wrong with. */
static void show_trouble(struct out *o, const struct kp_metadata_response *m)
{
	out_list(o, "trouble");
	for (int32_t t = 0; t < m->n_topics; t++)
		for (int32_t i = 0; i < m->topics[t].n_partitions; i++) {
			const struct kp_metadata_response_partition *p =
				&m->topics[t].partitions[i];
			if (p->leader_id >= 0 && p->n_isr_nodes >= p->n_replica_nodes &&
				!p->n_offline_replicas)
				continue;
			out_row(o);
			show_text(o, "topic", m->topics[t].name);
			out_int(o, "partition", p->index);
			out_int(o, "leader", p->leader_id);
			out_int(o, "replicas", p->n_replica_nodes);
			out_int(o, "in_sync", p->n_isr_nodes);
			out_int(o, "offline", p->n_offline_replicas);
			out_row_end(o);
		}
	out_list_end(o);
}

int cluster_health(struct cli *c)
{
	struct out *o = &c->out;
	struct kp_metadata_response m;
	struct reply reply = {0};
	struct health h = {0};
	int64_t unreachable = 0;
	int rc = client_metadata(c->client, NULL, 0, false, &m, &reply);
	if (rc) {
		reply_free(&reply);
		return cli_client_failed(c, rc);
	}
	health_count(&h, &m);
	for (int32_t i = 0; i < m.n_brokers; i++)
		unreachable += client_ranges(c->client, m.brokers[i].node_id) == NULL;
	bool healthy = !unreachable && !h.leaderless && !h.under_replicated && !h.offline_replicas;
	out_begin(o, stdout, c->json);
	out_bool(o, "healthy", healthy);
	out_int(o, "brokers", m.n_brokers);
	out_int(o, "brokers_unreachable", unreachable);
	out_int(o, "topics", h.topics);
	out_int(o, "partitions", h.partitions);
	out_int(o, "partitions_without_leader", h.leaderless);
	out_int(o, "partitions_under_replicated", h.under_replicated);
	out_int(o, "replicas_offline", h.offline_replicas);
	show_trouble(o, &m);
	reply_free(&reply);
	return cli_end(c, healthy ? CLI_OK : CLI_FAILED);
}
