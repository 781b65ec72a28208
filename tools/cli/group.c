/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tools/cli/commits.h"

static void show_text(struct out *o, const char *name, struct kstr s)
{
	out_textn(o, name, s.len > 0 ? s.p : "", (size_t)max_of(s.len, 0));
}

/* The coordinator of a group: an exit code. */
static int coordinator(struct cli *c, const char *group, int32_t *node)
{
	int rc = client_coordinator(c->client, group, node);
	if (rc < 0)
		return cli_client_failed(c, rc);
	return rc ? cli_refused(c, kstr_of(group), (int16_t)rc, KSTR_NULL) : CLI_OK;
}

/* --- list -------------------------------------------------------------------------------- */

/* The groups that one broker coordinates. An exit code. */
static int list_of(struct cli *c, int32_t node)
{
	struct kp_list_groups_request rq;
	struct kp_list_groups_response rs;
	struct reply reply = {0};
	kp_default_list_groups_request(&rq);
	int rc = client_call(c->client, node, KP_LIST_GROUPS, &rq, &rs, &reply);
	if (rc)
		rc = cli_client_failed(c, rc);
	else if (rs.error_code)
		rc = cli_refused(c, KSTR_NULL, rs.error_code, KSTR_NULL);
	for (int32_t i = 0; !rc && i < rs.n_groups; i++) {
		out_row(&c->out);
		show_text(&c->out, "group", rs.groups[i].group_id);
		show_text(&c->out, "state", rs.groups[i].group_state);
		show_text(&c->out, "type", rs.groups[i].group_type);
		show_text(&c->out, "protocol", rs.groups[i].protocol_type);
		out_int(&c->out, "coordinator", node);
		out_row_end(&c->out);
	}
	reply_free(&reply);
	return rc;
}

int group_list(struct cli *c)
{
	struct kp_metadata_response m;
	struct reply reply = {0};
	const struct kstr none = {.p = "", .len = 0};
	int worst = CLI_OK;
	int rc = client_metadata(c->client, &none, 0, false, &m, &reply);
	if (rc) {
		reply_free(&reply);
		return cli_client_failed(c, rc);
	}
	out_begin(&c->out, stdout, c->json);
	out_list(&c->out, "groups");
	for (int32_t i = 0; i < m.n_brokers; i++) {
		rc = list_of(c, m.brokers[i].node_id);
		worst = max_of(worst, rc);
	}
	out_list_end(&c->out);
	reply_free(&reply);
	return cli_end(c, worst);
}

/* --- describe ---------------------------------------------------------------------------- */

/* Asks the coordinator what it knows of a group; while it loads, again. An exit code. */
static int describe_ask(struct cli *c, int32_t node, const char *group,
	struct kp_describe_groups_response *rs, struct reply *reply)
{
	struct kp_describe_groups_request rq;
	const struct kstr id = kstr_of(group);
	uint64_t deadline = client_deadline(c->client);
	kp_default_describe_groups_request(&rq);
	rq.groups = &id;
	rq.n_groups = 1;
	for (uint32_t n = 0;; n++) {
		int rc = client_call(c->client, node, KP_DESCRIBE_GROUPS, &rq, rs, reply);
		if (rc)
			return cli_client_failed(c, rc);
		if (rs->n_groups != 1)
			return cli_fail(c, CLI_FAILED, "%s: the broker says nothing of it", group);
		if (!ke_retriable(rs->groups[0].error_code) || clock_mono_ns() > deadline)
			return CLI_OK;
		if ((rc = client_back_off(c->client, n)) != 0)
			return cli_client_failed(c, rc);
	}
}

/* Whose assignment is being read. */
struct assigned {
	struct commits *k;
	const struct kp_describe_groups_response_member *member;
};

static void note_member(void *arg, struct kstr topic, int32_t partition)
{
	struct assigned *a = arg;
	struct commit *p = commits_get(a->k, topic, partition);
	if (p) {
		p->member = a->member->member_id;
		p->host = a->member->client_host;
	}
}

static void show_members(struct cli *c, const struct kp_describe_groups_response_group *g)
{
	out_list_uneven(&c->out, "members");
	for (int32_t i = 0; i < g->n_members; i++) {
		out_row(&c->out);
		show_text(&c->out, "member", g->members[i].member_id);
		show_text(&c->out, "instance", g->members[i].group_instance_id);
		show_text(&c->out, "client", g->members[i].client_id);
		show_text(&c->out, "host", g->members[i].client_host);
		out_row_end(&c->out);
	}
	out_list_end(&c->out);
}

static void show_offsets(struct cli *c, const struct commits *k)
{
	out_list(&c->out, "offsets");
	for (int32_t i = 0; i < k->count; i++) {
		const struct commit *p = &k->of[i];
		out_row(&c->out);
		show_text(&c->out, "topic", p->topic);
		out_int(&c->out, "partition", p->partition);
		out_int(&c->out, "committed", p->committed);
		out_int(&c->out, "end", p->end);
		out_int(&c->out, "lag", commits_lag(p));
		show_text(&c->out, "member", p->member);
		out_row_end(&c->out);
	}
	out_list_end(&c->out);
}

static void show_group(struct cli *c, const struct kp_describe_groups_response_group *g,
	const struct commits *k, int32_t node)
{
	int64_t lag = 0;
	for (int32_t i = 0; i < k->count; i++)
		lag += max_of(commits_lag(&k->of[i]), 0);
	out_row(&c->out);
	show_text(&c->out, "group", g->group_id);
	show_text(&c->out, "state", g->group_state);
	show_text(&c->out, "assignor", g->protocol_data);
	out_int(&c->out, "coordinator", node);
	out_int(&c->out, "lag", lag);
	show_members(c, g);
	show_offsets(c, k);
	out_row_end(&c->out);
}

static int describe_one(struct cli *c, const char *group)
{
	struct kp_describe_groups_response rs;
	struct reply reply = {0};
	struct commits k = {0};
	int32_t node;
	int rc = coordinator(c, group, &node);
	if (!rc)
		rc = describe_ask(c, node, group, &rs, &reply);
	if (!rc)
		rc = commits_load(c, node, group, &k);
	if (!rc) {
		struct kp_describe_groups_response_group *g = &rs.groups[0];
		/* A group of the new protocol has offsets, but is none of the classic ones. */
		bool gone = k.count == 0 && (g->error_code == KE_GROUP_ID_NOT_FOUND ||
						    kstr_equal(g->group_state, kstr_of("Dead")));
		if (gone)
			rc = cli_refused(c, kstr_of(group), KE_GROUP_ID_NOT_FOUND, KSTR_NULL);
		else if (g->error_code && g->error_code != KE_GROUP_ID_NOT_FOUND)
			rc = cli_refused(c, kstr_of(group), g->error_code, g->error_message);
		for (int32_t i = 0; !rc && i < g->n_members; i++) {
			struct assigned a = {.k = &k, .member = &g->members[i]};
			assignment_read(g->members[i].member_assignment, note_member, &a);
		}
		commits_sort(&k);
		if (!rc)
			rc = commits_bounds(c, &k, NULL);
		if (!rc)
			show_group(c, g, &k, node);
	}
	commits_free(&k);
	reply_free(&reply);
	return rc;
}

int group_describe(struct cli *c)
{
	int worst = CLI_OK;
	out_begin(&c->out, stdout, c->json);
	out_list_uneven(&c->out, "groups");
	for (int i = 0; i < c->args.operand_count && worst != CLI_UNREACHABLE; i++) {
		int rc = describe_one(c, c->args.operands[i]);
		worst = max_of(worst, rc);
	}
	out_list_end(&c->out);
	return cli_end(c, worst);
}
