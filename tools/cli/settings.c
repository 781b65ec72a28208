/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/cli/settings.h"

#include <string.h>

bool settings_set(struct settings_change *out, const char *text)
{
	const char *value;
	size_t n = pair_split(text, &value);
	if (n == 0)
		return false;
	*out = (struct settings_change){
		.key = {text, (int32_t)n}, .value = {value, (int32_t)strlen(value)}};
	return true;
}

bool settings_delete(struct settings_change *out, const char *text)
{
	size_t n = strlen(text);
	*out = (struct settings_change){.key = {text, (int32_t)n}, .value = KSTR_NULL};
	return n > 0 && !strchr(text, '=');
}

/* config_source of DescribeConfigs. */
#define SOURCE_DEFAULT 5
static const char *source_name(int8_t source)
{
	static const char *const names[] = {"unknown", "topic", "broker", "cluster", "file",
		"default", "logger", "client-metrics", "group"};
	return source >= 0 && (size_t)source < array_size(names) ? names[source] : "unknown";
}

/* config_type (KIP-569). */
static const char *type_name(int8_t type)
{
	static const char *const names[] = {"unknown", "boolean", "string", "int", "short", "long",
		"double", "list", "class", "password"};
	return type >= 0 && (size_t)type < array_size(names) ? names[type] : "unknown";
}

static void show_text(struct out *o, const char *name, struct kstr s)
{
	out_textn(o, name, s.len > 0 ? s.p : "", (size_t)max_of(s.len, 0));
}

static void show_config(
	struct out *o, const struct kp_describe_configs_response_config *k, unsigned show)
{
	out_row(o);
	show_text(o, "key", k->name);
	show_text(o, "value", k->is_sensitive && k->value.len < 0 ? kstr_of("(hidden)") : k->value);
	out_text(o, "source", source_name(k->config_source));
	if (show & SETTINGS_FULL) {
		out_bool(o, "read_only", k->read_only);
		out_bool(o, "sensitive", k->is_sensitive);
		out_text(o, "type", type_name(k->config_type));
	}
	if (show & SETTINGS_DOCUMENTATION)
		show_text(o, "documentation", k->documentation);
	if (show & SETTINGS_FULL) {
		out_list_uneven(o, "synonyms");
		for (int32_t i = 0; i < k->n_synonyms; i++) {
			out_row(o);
			show_text(o, "synonym", k->synonyms[i].name);
			show_text(o, "value", k->synonyms[i].value);
			out_text(o, "source", source_name(k->synonyms[i].source));
			out_row_end(o);
		}
		out_list_end(o);
	}
	out_row_end(o);
}

/* The broker that has to answer: a broker tells of itself, anyone of topics. */
static int32_t node_for(struct cli *c, enum settings_of of, struct kstr name)
{
	char text[12];
	int64_t node;
	if (of != SETTINGS_BROKER || name.len <= 0)
		return client_controller(c->client);
	kstr_copy(name, text, sizeof(text));
	client_controller(c->client); /* learns the brokers */
	return number_parse(text, &node) && node >= 0 && node <= INT32_MAX ? (int32_t)node
									   : CLIENT_ANY;
}

int settings_list(struct cli *c, enum settings_of of, struct kstr name, unsigned show)
{
	struct kp_describe_configs_request_resource resource;
	struct kp_describe_configs_request rq;
	struct kp_describe_configs_response rs;
	struct reply reply = {0};
	kp_default_describe_configs_request_resource(&resource);
	resource.resource_type = (int8_t)of;
	resource.resource_name = name;
	resource.n_configuration_keys = -1;
	kp_default_describe_configs_request(&rq);
	rq.resources = &resource;
	rq.n_resources = 1;
	rq.include_synonyms = show & SETTINGS_FULL;
	rq.include_documentation = show & SETTINGS_DOCUMENTATION;
	int rc = client_call(
		c->client, node_for(c, of, name), KP_DESCRIBE_CONFIGS, &rq, &rs, &reply);
	if (rc)
		rc = cli_client_failed(c, rc);
	else if (rs.n_results != 1)
		rc = cli_fail(c, CLI_FAILED, "the broker says nothing of it");
	else if (rs.results[0].error_code)
		rc = cli_refused(c, name, rs.results[0].error_code, rs.results[0].error_message);
	out_list_uneven(&c->out, "configs");
	for (int32_t i = 0; !rc && i < rs.results[0].n_configs; i++) {
		const struct kp_describe_configs_response_config *k = &rs.results[0].configs[i];
		if ((show & SETTINGS_ALL) || k->config_source != SOURCE_DEFAULT)
			show_config(&c->out, k, show);
	}
	out_list_end(&c->out);
	reply_free(&reply);
	return rc;
}

int settings_alter(struct cli *c, enum settings_of of, struct kstr name,
	const struct settings_change *changes, int count)
{
	struct kp_incremental_alter_configs_request_config configs[ARGS_GIVEN];
	struct kp_incremental_alter_configs_request_resource resource;
	struct kp_incremental_alter_configs_request rq;
	struct kp_incremental_alter_configs_response rs;
	struct reply reply = {0};
	CHECK(count <= ARGS_GIVEN);
	for (int i = 0; i < count; i++)
		configs[i] =
			(struct kp_incremental_alter_configs_request_config){.name = changes[i].key,
				.config_operation = changes[i].value.len < 0 ? 1 : 0,
				.value = changes[i].value};
	kp_default_incremental_alter_configs_request_resource(&resource);
	resource.resource_type = (int8_t)of;
	resource.resource_name = name;
	resource.configs = configs;
	resource.n_configs = count;
	kp_default_incremental_alter_configs_request(&rq);
	rq.resources = &resource;
	rq.n_resources = 1;
	rq.validate_only = args_flag(&c->args, "dry-run");
	int rc = client_call(
		c->client, node_for(c, of, name), KP_INCREMENTAL_ALTER_CONFIGS, &rq, &rs, &reply);
	if (rc)
		rc = cli_client_failed(c, rc);
	else if (rs.n_responses != 1)
		rc = cli_fail(c, CLI_FAILED, "the broker says nothing of it");
	else if (rs.responses[0].error_code)
		rc = cli_refused(
			c, name, rs.responses[0].error_code, rs.responses[0].error_message);
	reply_free(&reply);
	return rc;
}
