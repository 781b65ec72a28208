/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/cli/cli.h"

/* `cluster quotas`: DescribeClientQuotas (KIP-546). */

/* `user=alice,client-id=<default>` */
static void show_entry(struct out *o, const struct kp_describe_client_quotas_response_entry *e)
{
	char text[600];
	size_t at = 0;
	text[0] = 0;
	for (int32_t i = 0; i < e->n_entity && at + 1 < sizeof(text); i++) {
		struct kstr type = e->entity[i].entity_type, name = e->entity[i].entity_name;
		int n = snprintf(text + at, sizeof(text) - at, "%s%.*s=%.*s", i ? "," : "",
			max_of(type.len, 0), type.p, name.len < 0 ? 9 : name.len,
			name.len < 0 ? "<default>" : name.p);
		at = min_of(at + (size_t)max_of(n, 0), sizeof(text) - 1);
	}
	for (int32_t i = 0; i < e->n_values; i++) {
		char value[40];
		snprintf(value, sizeof(value), "%.10g", e->values[i].value);
		out_row(o);
		out_textn(o, "quota", e->values[i].key.p, (size_t)max_of(e->values[i].key.len, 0));
		out_text(o, "value", value);
		out_text(o, "of", text);
		out_row_end(o);
	}
}

int cluster_quotas(struct cli *c)
{
	struct kp_describe_client_quotas_request rq;
	struct kp_describe_client_quotas_response rs;
	struct reply reply = {0};
	kp_default_describe_client_quotas_request(&rq);
	int rc = client_call(c->client, CLIENT_ANY, KP_DESCRIBE_CLIENT_QUOTAS, &rq, &rs, &reply);
	if (rc)
		rc = cli_client_failed(c, rc);
	else if (rs.error_code)
		rc = cli_refused(c, KSTR_NULL, rs.error_code, rs.error_message);
	if (!rc) {
		out_begin(&c->out, stdout, c->json);
		out_list(&c->out, "quotas");
		for (int32_t i = 0; i < rs.n_entries; i++)
			show_entry(&c->out, &rs.entries[i]);
		out_list_end(&c->out);
		rc = cli_end(c, CLI_OK);
	}
	reply_free(&reply);
	return rc;
}
