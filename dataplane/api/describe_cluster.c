/* SPDX-License-Identifier: Apache-2.0 */
/* DescribeCluster (key 60). */
#include "api/api.h"
#include "kafka/errcode.h"
#include "kafka/messages.h"

#define ENDPOINT_BROKERS 1 /* KIP-919 */

static enum api_step cluster_start(struct api_req *r)
{
	struct kp_describe_cluster_response *resp = arena_alloc(r->arena, sizeof(*resp));
	struct kp_describe_cluster_request q;
	if (!resp)
		return API_TOO_LARGE;
	int err = kp_decode_describe_cluster_request(&r->body, r->hdr.version, &q, r->arena);
	if (err != 0)
		return api_decode_failed(err);
	const struct image *im = r->image;
	kp_default_describe_cluster_response(resp);
	r->state = resp;
	resp->endpoint_type = q.endpoint_type;
	resp->cluster_id = im->cluster_id;
	if (!api_keep(r, &resp->cluster_id))
		return API_TOO_LARGE;
	if (q.endpoint_type != ENDPOINT_BROKERS) {
		resp->error_code = KE_UNSUPPORTED_ENDPOINT_TYPE;
		resp->error_message = kstr_of("this endpoint describes brokers only");
		return API_REPLY;
	}
	resp->controller_id = im->controller_id;
	resp->brokers = arena_array(r->arena, max_of(im->broker_count, 1u), sizeof(*resp->brokers));
	if (!resp->brokers)
		return API_TOO_LARGE;
	resp->n_brokers = (int32_t)im->broker_count;
	for (uint32_t i = 0; i < im->broker_count; i++)
		resp->brokers[i] = (struct kp_describe_cluster_response_broker){
			.broker_id = im->brokers[i].node_id,
			.host = im->brokers[i].host,
			.port = im->brokers[i].port,
			.rack = im->brokers[i].rack,
		};
	return API_REPLY;
}

static void cluster_encode(struct api_req *r, struct kwr *w)
{
	kp_encode_describe_cluster_response(w, r->hdr.version, r->state);
}

const struct api_handler api_describe_cluster_handler = {
	.key = KP_DESCRIBE_CLUSTER,
	.start = cluster_start,
	.encode = cluster_encode,
};
