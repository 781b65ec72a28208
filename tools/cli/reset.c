/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tools/cli/commits.h"

/* `group reset`: other offsets for a group that has no members. */

/* Adds every partition of a topic, or those of `1,2,3`. An exit code. */
static int select_topic(struct cli *c, struct commits *k, struct kstr topic, const char *list)
{
	if (list) {
		for (char *end; *list; list = *end ? end + 1 : end) {
			long n = strtol(list, &end, 10);
			if (end == list || n < 0 || n > INT32_MAX || (*end && *end != ','))
				return cli_fail(
					c, CLI_USAGE, "--topic wants TOPIC or TOPIC:N,N...");
			if (!commits_get(k, topic, (int32_t)n))
				return cli_fail(c, CLI_FAILED, "no memory");
		}
		return CLI_OK;
	}
	struct kp_metadata_response m;
	struct reply reply = {0};
	char name[512];
	kstr_copy(topic, name, sizeof(name));
	int rc = cli_topic(c, name, false, &m, &reply);
	for (int32_t i = 0; !rc && i < m.topics[0].n_partitions; i++)
		if (!commits_get(k, topic, m.topics[0].partitions[i].index))
			rc = cli_fail(c, CLI_FAILED, "no memory");
	reply_free(&reply);
	return rc;
}

/* Which partitions: those of --topic, else all that the group has offsets of. */
static int select_all(struct cli *c, const struct commits *had, struct commits *k)
{
	int at = 0, rc = CLI_OK, n = 0;
	for (const char *s; !rc && (s = args_next(&c->args, "topic", &at)); n++) {
		const char *colon = strchr(s, ':');
		struct kstr topic = {s, (int32_t)(colon ? colon - s : (ptrdiff_t)strlen(s))};
		rc = select_topic(c, k, topic, colon ? colon + 1 : NULL);
	}
	for (int32_t i = 0; !rc && i < had->count; i++) {
		struct commit *p = NULL;
		for (int32_t j = 0; j < k->count && !p; j++)
			if (k->of[j].partition == had->of[i].partition &&
				kstr_equal(k->of[j].topic, had->of[i].topic))
				p = &k->of[j];
		if (!p && n == 0)
			p = commits_get(k, had->of[i].topic, had->of[i].partition);
		if (p)
			p->committed = had->of[i].committed;
	}
	commits_sort(k);
	if (!rc && k->count == 0)
		rc = cli_fail(c, CLI_FAILED, "the group has no offsets; name topics with --topic");
	return rc;
}

/* A group that has members would go on where they are. An exit code. */
static int check_empty(struct cli *c, int32_t node, const char *group)
{
	struct kp_describe_groups_request rq;
	struct kp_describe_groups_response rs;
	struct reply reply = {0};
	const struct kstr id = kstr_of(group);
	kp_default_describe_groups_request(&rq);
	rq.groups = &id;
	rq.n_groups = 1;
	int rc = client_call(c->client, node, KP_DESCRIBE_GROUPS, &rq, &rs, &reply);
	if (rc)
		rc = cli_client_failed(c, rc);
	else if (rs.n_groups == 1 && rs.groups[0].n_members > 0)
		rc = cli_fail(c, CLI_FAILED, "%s has %d members: stop them first", group,
			rs.groups[0].n_members);
	reply_free(&reply);
	return rc;
}

static int16_t commit_error(const struct kp_offset_commit_response *rs)
{
	for (int32_t t = 0; t < rs->n_topics; t++)
		for (int32_t i = 0; i < rs->topics[t].n_partitions; i++)
			if (rs->topics[t].partitions[i].error_code)
				return rs->topics[t].partitions[i].error_code;
	return KE_NONE;
}

/* Commits the plan, a topic at a time. An exit code. */
static int execute(struct cli *c, int32_t node, const char *group, const struct commits *k)
{
	struct kp_offset_commit_request_partition *list = calloc((size_t)k->count, sizeof(*list));
	struct kp_offset_commit_request_topic topic;
	struct kp_offset_commit_request rq;
	struct kp_offset_commit_response rs;
	struct reply reply = {0};
	int rc = list ? CLI_OK : cli_fail(c, CLI_FAILED, "no memory");
	kp_default_offset_commit_request_topic(&topic);
	kp_default_offset_commit_request(&rq);
	rq.group_id = kstr_of(group);
	rq.topics = &topic;
	rq.n_topics = 1;
	for (int32_t i = 0; i < k->count && !rc;) {
		int32_t n = 0;
		topic.name = k->of[i].topic;
		for (; i < k->count && kstr_equal(k->of[i].topic, topic.name); i++) {
			if (k->of[i].planned < 0)
				continue;
			kp_default_offset_commit_request_partition(&list[n]);
			list[n].index = k->of[i].partition;
			list[n].committed_offset = k->of[i].planned;
			list[n++].committed_metadata = kstr_of("");
		}
		topic.partitions = list;
		topic.n_partitions = n;
		rc = n ? client_call(c->client, node, KP_OFFSET_COMMIT, &rq, &rs, &reply) : 0;
		if (rc)
			rc = cli_client_failed(c, rc);
		else if (n && commit_error(&rs))
			rc = cli_refused(c, topic.name, commit_error(&rs), KSTR_NULL);
	}
	free(list);
	reply_free(&reply);
	return rc;
}

static int show_plan(struct cli *c, const char *group, const struct commits *k, bool done)
{
	int unknown = 0;
	out_begin(&c->out, stdout, c->json);
	out_text(&c->out, "group", group);
	out_bool(&c->out, "executed", done);
	out_list(&c->out, "offsets");
	for (int32_t i = 0; i < k->count; i++) {
		const struct commit *p = &k->of[i];
		unknown += p->planned < 0;
		out_row(&c->out);
		out_textn(&c->out, "topic", p->topic.p, (size_t)p->topic.len);
		out_int(&c->out, "partition", p->partition);
		out_int(&c->out, "committed", p->committed);
		out_int(&c->out, "new", p->planned);
		out_row_end(&c->out);
	}
	out_list_end(&c->out);
	int rc = unknown ? cli_fail(c, CLI_FAILED, "%d partitions are not there", unknown) : CLI_OK;
	if (!done && !c->json && !rc)
		fputs("Nothing has been changed: --execute does it.\n", stderr);
	return cli_end(c, rc);
}

int group_reset(struct cli *c)
{
	const char *group = c->args.operands[0], *to = args_text(&c->args, "to", NULL);
	bool doing = args_flag(&c->args, "execute");
	struct commits had = {0}, k = {0};
	struct position where;
	int32_t node = -1;
	if (!to || !position_parse(to, clock_wall_ms(), &where))
		return cli_fail(
			c, CLI_USAGE, "--to wants earliest, latest, an offset or time:TIME");
	int rc = client_coordinator(c->client, group, &node);
	if (rc)
		rc = rc < 0 ? cli_client_failed(c, rc)
			    : cli_refused(c, kstr_of(group), (int16_t)rc, KSTR_NULL);
	if (!rc)
		rc = check_empty(c, node, group);
	if (!rc)
		rc = commits_load(c, node, group, &had);
	if (!rc)
		rc = select_all(c, &had, &k);
	if (!rc)
		rc = commits_bounds(c, &k, &where);
	if (!rc && doing)
		rc = execute(c, node, group, &k);
	if (!rc)
		rc = show_plan(c, group, &k, doing);
	commits_free(&k);
	commits_free(&had);
	return rc;
}
