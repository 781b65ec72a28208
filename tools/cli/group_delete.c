/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/cli/cli.h"

/* Deletes one group at its coordinator. An exit code. */
static int delete_one(struct cli *c, const char *group)
{
	struct kp_delete_groups_request rq;
	struct kp_delete_groups_response rs;
	struct reply reply = {0};
	const struct kstr id = kstr_of(group);
	int32_t node = -1;
	int rc = client_coordinator(c->client, group, &node);
	if (rc)
		return rc < 0 ? cli_client_failed(c, rc)
			      : cli_refused(c, id, (int16_t)rc, KSTR_NULL);
	kp_default_delete_groups_request(&rq);
	rq.groups_names = &id;
	rq.n_groups_names = 1;
	rc = client_call(c->client, node, KP_DELETE_GROUPS, &rq, &rs, &reply);
	if (rc)
		rc = cli_client_failed(c, rc);
	else if (rs.n_results != 1)
		rc = cli_fail(c, CLI_FAILED, "the broker says nothing of it");
	else if (rs.results[0].error_code)
		rc = cli_refused(c, id, rs.results[0].error_code, rs.results[0].error_message);
	reply_free(&reply);
	return rc;
}

int group_delete(struct cli *c)
{
	int worst = CLI_OK;
	out_begin(&c->out, stdout, c->json);
	out_list(&c->out, "groups");
	for (int i = 0; i < c->args.operand_count && worst != CLI_UNREACHABLE; i++) {
		int rc = delete_one(c, c->args.operands[i]);
		worst = max_of(worst, rc);
		if (rc)
			continue;
		out_row(&c->out);
		out_text(&c->out, "group", c->args.operands[i]);
		out_bool(&c->out, "deleted", true);
		out_row_end(&c->out);
	}
	out_list_end(&c->out);
	return cli_end(c, worst);
}
