/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tools/cli/offsets.h"
#include "tools/cli/settings.h"

/* --- list, describe ---------------------------------------------------------------------- */

int topic_list(struct cli *c)
{
	struct kp_metadata_response m;
	struct reply reply = {0};
	bool internal = args_flag(&c->args, "internal");
	int rc = client_metadata(c->client, NULL, 0, false, &m, &reply);
	if (rc) {
		reply_free(&reply);
		return cli_client_failed(c, rc);
	}
	out_begin(&c->out, stdout, c->json);
	out_list(&c->out, "topics");
	for (int32_t i = 0; i < m.n_topics; i++) {
		const struct kp_metadata_response_topic *t = &m.topics[i];
		if (t->is_internal && !internal)
			continue;
		out_row(&c->out);
		out_textn(&c->out, "topic", t->name.p, (size_t)max_of(t->name.len, 0));
		out_int(&c->out, "partitions", t->n_partitions);
		out_int(&c->out, "replicas",
			t->n_partitions ? t->partitions[0].n_replica_nodes : 0);
		out_bool(&c->out, "internal", t->is_internal);
		out_row_end(&c->out);
	}
	out_list_end(&c->out);
	reply_free(&reply);
	return cli_end(c, CLI_OK);
}

/* `1,2,3` */
static void show_nodes(struct out *o, const char *name, const int32_t *nodes, int32_t n)
{
	char text[400];
	size_t at = 0;
	text[0] = 0;
	for (int32_t i = 0; i < n && at + 12 < sizeof(text); i++)
		at += (size_t)snprintf(
			text + at, sizeof(text) - at, "%s%d", i ? "," : "", nodes[i]);
	out_text(o, name, text);
}

/* One topic with where its partitions begin and end. */
static void show_topic(
	struct cli *c, const struct kp_metadata_response_topic *t, const struct offsets *w)
{
	struct out *o = &c->out;
	out_row(o);
	out_textn(o, "topic", t->name.p, (size_t)max_of(t->name.len, 0));
	out_uuid(o, "id", &t->topic_id);
	out_int(o, "partitions", t->n_partitions);
	out_bool(o, "internal", t->is_internal);
	out_list(o, "partition_list");
	for (int32_t i = 0; i < t->n_partitions; i++) {
		const struct kp_metadata_response_partition *p = &t->partitions[i];
		const struct offset_of *at = offsets_find(w, p->index);
		out_row(o);
		out_int(o, "partition", p->index);
		out_int(o, "leader", p->leader_id);
		out_int(o, "epoch", p->leader_epoch);
		out_int(o, "first_offset", at ? at->first : -1);
		out_int(o, "end_offset", at ? at->end : -1);
		show_nodes(o, "replicas", p->replica_nodes, p->n_replica_nodes);
		show_nodes(o, "in_sync", p->isr_nodes, p->n_isr_nodes);
		out_text(o, "error",
			p->error_code	  ? ke_name(p->error_code)
			: at && at->error ? ke_name(at->error)
					  : "");
		out_row_end(o);
	}
	out_list_end(o);
	settings_list(c, SETTINGS_TOPIC, t->name, SETTINGS_CHANGED);
	out_row_end(o);
}

/* Describes one topic: an exit code. */
static int describe_one(struct cli *c, const char *name)
{
	struct kp_metadata_response m;
	struct reply reply = {0};
	struct kstr topic = kstr_of(name);
	struct offsets w = {0};
	int rc = client_metadata(c->client, &topic, 1, false, &m, &reply);
	if (rc)
		rc = cli_client_failed(c, rc);
	else if (m.n_topics != 1)
		rc = cli_fail(c, CLI_FAILED, "%s: the broker says nothing of it", name);
	else if (m.topics[0].error_code)
		rc = cli_refused(c, topic, m.topics[0].error_code, KSTR_NULL);
	else if ((rc = offsets_load(c->client, &m.topics[0], &w)) != 0)
		rc = cli_client_failed(c, rc);
	else
		show_topic(c, &m.topics[0], &w);
	offsets_free(&w);
	reply_free(&reply);
	return rc;
}

int topic_describe(struct cli *c)
{
	int worst = CLI_OK;
	out_begin(&c->out, stdout, c->json);
	out_list_uneven(&c->out, "topics");
	for (int i = 0; i < c->args.operand_count && worst != CLI_UNREACHABLE; i++) {
		int rc = describe_one(c, c->args.operands[i]);
		worst = max_of(worst, rc);
	}
	out_list_end(&c->out);
	return cli_end(c, worst);
}

/* --- create, alter, delete --------------------------------------------------------------- */

/* Says that something was done to a topic. */
static int topic_done(struct cli *c, const char *what, bool done)
{
	out_begin(&c->out, stdout, c->json);
	out_text(&c->out, "topic", c->args.operands[0]);
	out_bool(&c->out, what, done);
	out_bool(&c->out, "dry_run", args_flag(&c->args, "dry-run"));
	return cli_end(c, CLI_OK);
}

int topic_create(struct cli *c)
{
	struct kp_create_topics_request rq;
	struct kp_create_topics_response rs;
	struct kp_create_topics_request_topic topic;
	struct kp_create_topics_request_config configs[ARGS_GIVEN];
	struct reply reply = {0};
	int at = 0, n = 0;
	for (const char *s, *value; (s = args_next(&c->args, "config", &at)); n++) {
		size_t len = pair_split(s, &value);
		if (len == 0)
			return cli_fail(c, CLI_USAGE, "--config wants KEY=VALUE, not %s", s);
		configs[n] = (struct kp_create_topics_request_config){
			.name = {s, (int32_t)len}, .value = kstr_of(value)};
	}
	kp_default_create_topics_request_topic(&topic);
	topic.name = kstr_of(c->args.operands[0]);
	topic.num_partitions = (int32_t)args_int(&c->args, "partitions", -1);
	topic.replication_factor = (int16_t)args_int(&c->args, "replication-factor", -1);
	topic.configs = configs;
	topic.n_configs = n;
	kp_default_create_topics_request(&rq);
	rq.topics = &topic;
	rq.n_topics = 1;
	rq.timeout_ms = (int32_t)args_int(&c->args, "timeout", 30) * 1000;
	rq.validate_only = args_flag(&c->args, "dry-run");
	int rc = client_call(
		c->client, client_controller(c->client), KP_CREATE_TOPICS, &rq, &rs, &reply);
	if (rc)
		rc = cli_client_failed(c, rc);
	else if (rs.n_topics != 1)
		rc = cli_fail(c, CLI_FAILED, "the broker says nothing of it");
	else if (rs.topics[0].error_code == KE_TOPIC_ALREADY_EXISTS &&
		 args_flag(&c->args, "if-not-exists"))
		rc = topic_done(c, "created", false);
	else if (rs.topics[0].error_code)
		rc = cli_refused(
			c, topic.name, rs.topics[0].error_code, rs.topics[0].error_message);
	else
		rc = topic_done(c, "created", true);
	reply_free(&reply);
	return rc;
}

/* Asks for more partitions. An exit code. */
static int add_partitions(struct cli *c, int32_t count)
{
	struct kp_create_partitions_request_topic topic;
	struct kp_create_partitions_request rq;
	struct kp_create_partitions_response rs;
	struct reply reply = {0};
	kp_default_create_partitions_request_topic(&topic);
	topic.name = kstr_of(c->args.operands[0]);
	topic.count = count;
	topic.n_assignments = -1;
	kp_default_create_partitions_request(&rq);
	rq.topics = &topic;
	rq.n_topics = 1;
	rq.timeout_ms = (int32_t)args_int(&c->args, "timeout", 30) * 1000;
	rq.validate_only = args_flag(&c->args, "dry-run");
	int rc = client_call(
		c->client, client_controller(c->client), KP_CREATE_PARTITIONS, &rq, &rs, &reply);
	if (rc)
		rc = cli_client_failed(c, rc);
	else if (rs.n_results != 1)
		rc = cli_fail(c, CLI_FAILED, "the broker says nothing of it");
	else if (rs.results[0].error_code)
		rc = cli_refused(
			c, topic.name, rs.results[0].error_code, rs.results[0].error_message);
	reply_free(&reply);
	return rc;
}

int topic_alter(struct cli *c)
{
	struct settings_change changes[ARGS_GIVEN];
	int n = 0, at = 0;
	int32_t partitions = (int32_t)args_int(&c->args, "partitions", 0);
	for (const char *s; (s = args_next(&c->args, "config", &at));)
		if (!settings_set(&changes[n++], s))
			return cli_fail(c, CLI_USAGE, "--config wants KEY=VALUE, not %s", s);
	at = 0;
	for (const char *s; (s = args_next(&c->args, "delete-config", &at));)
		if (!settings_delete(&changes[n++], s))
			return cli_fail(c, CLI_USAGE, "--delete-config wants a KEY");
	if (!partitions && !n)
		return cli_fail(c, CLI_USAGE,
			"nothing to do: give --partitions, --config or --delete-config");
	int rc = partitions ? add_partitions(c, partitions) : CLI_OK;
	if (rc == CLI_OK && n)
		rc = settings_alter(c, SETTINGS_TOPIC, kstr_of(c->args.operands[0]), changes, n);
	return rc == CLI_OK ? topic_done(c, "altered", true) : rc;
}

/* Deletes one topic; *deleted is false when it did not exist and need not. An exit code. */
static int delete_one(struct cli *c, const char *name, bool *deleted)
{
	struct kp_delete_topics_request_topic topic;
	struct kp_delete_topics_request rq;
	struct kp_delete_topics_response rs;
	struct reply reply = {0};
	struct kstr text = kstr_of(name);
	kp_default_delete_topics_request_topic(&topic);
	topic.name = text;
	kp_default_delete_topics_request(&rq);
	rq.topics = &topic;
	rq.n_topics = 1;
	rq.topic_names = &text;
	rq.n_topic_names = 1;
	rq.timeout_ms = (int32_t)args_int(&c->args, "timeout", 30) * 1000;
	int rc = client_call(
		c->client, client_controller(c->client), KP_DELETE_TOPICS, &rq, &rs, &reply);
	int16_t code = !rc && rs.n_topics == 1 ? rs.topics[0].error_code : KE_NONE;
	*deleted = code == KE_NONE;
	if (rc)
		rc = cli_client_failed(c, rc);
	else if (rs.n_topics != 1)
		rc = cli_fail(c, CLI_FAILED, "the broker says nothing of it");
	else if (code &&
		 (code != KE_UNKNOWN_TOPIC_OR_PARTITION || !args_flag(&c->args, "if-exists")))
		rc = cli_refused(c, text, code, rs.topics[0].error_message);
	reply_free(&reply);
	return rc;
}

int topic_delete(struct cli *c)
{
	int worst = CLI_OK;
	out_begin(&c->out, stdout, c->json);
	out_list(&c->out, "topics");
	for (int i = 0; i < c->args.operand_count && worst != CLI_UNREACHABLE; i++) {
		bool deleted;
		int rc = delete_one(c, c->args.operands[i], &deleted);
		worst = max_of(worst, rc);
		if (rc)
			continue;
		out_row(&c->out);
		out_text(&c->out, "topic", c->args.operands[i]);
		out_bool(&c->out, "deleted", deleted);
		out_row_end(&c->out);
	}
	out_list_end(&c->out);
	return cli_end(c, worst);
}
