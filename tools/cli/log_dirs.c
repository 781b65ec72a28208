/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/cli/cli.h"

/* `cluster log-dirs`: DescribeLogDirs (KIP-113, KIP-827) of every broker. */

static void show_dir(
	struct out *o, int32_t node, const struct kp_describe_log_dirs_response_result *d)
{
	int64_t partitions = 0, bytes = 0;
	for (int32_t t = 0; t < d->n_topics; t++)
		for (int32_t i = 0; i < d->topics[t].n_partitions; i++, partitions++)
			bytes += d->topics[t].partitions[i].partition_size;
	out_row(o);
	out_int(o, "broker", node);
	out_int(o, "partitions", partitions);
	out_int(o, "bytes", bytes);
	out_int(o, "total_bytes", d->total_bytes);
	out_int(o, "usable_bytes", d->usable_bytes);
	out_text(o, "error", d->error_code ? ke_name(d->error_code) : "");
	out_textn(o, "path", d->log_dir.p, (size_t)max_of(d->log_dir.len, 0));
	out_row_end(o);
}

/* The directories of one broker. An exit code. */
static int show_broker(struct cli *c, int32_t node)
{
	struct kp_describe_log_dirs_request rq;
	struct kp_describe_log_dirs_response rs;
	struct reply reply = {0};
	kp_default_describe_log_dirs_request(&rq);
	int rc = client_call(c->client, node, KP_DESCRIBE_LOG_DIRS, &rq, &rs, &reply);
	if (rc)
		rc = cli_client_failed(c, rc);
	else if (rs.error_code)
		rc = cli_refused(c, KSTR_NULL, rs.error_code, KSTR_NULL);
	for (int32_t i = 0; !rc && i < rs.n_results; i++)
		show_dir(&c->out, node, &rs.results[i]);
	reply_free(&reply);
	return rc;
}

int cluster_log_dirs(struct cli *c)
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
	out_list(&c->out, "log_dirs");
	for (int32_t i = 0; i < m.n_brokers; i++) {
		rc = show_broker(c, m.brokers[i].node_id);
		worst = max_of(worst, rc);
	}
	out_list_end(&c->out);
	reply_free(&reply);
	return cli_end(c, worst);
}
