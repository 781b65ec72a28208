/* SPDX-License-Identifier: Apache-2.0 */
#include "kafka/header.h"

int64_t kp_frame_size(const uint8_t *p, size_t len, uint32_t max_size)
{
	if (len < KP_FRAME_SIZE)
		return 0;
	uint32_t n = be32_get(p);
	if (n < KP_REQUEST_MIN || n > INT32_MAX || n > max_size)
		return -1;
	return (int64_t)n + KP_FRAME_SIZE;
}

enum kp_header_result kp_header_decode(struct rd *r, struct kp_request_header *out)
{
	*out = (struct kp_request_header){0};
	out->key = (int16_t)rd_be16(r);
	out->version = (int16_t)rd_be16(r);
	out->correlation_id = (int32_t)rd_be32(r);
	if (r->bad)
		return KP_HEADER_MALFORMED;
	const struct kp_api *api = kp_api_find(out->key);
	if (!api)
		return KP_HEADER_UNKNOWN_API;
	out->api = api;
	if (!kp_api_accepts(api, out->version))
		return out->key == KP_API_VERSIONS ? KP_HEADER_DOWNGRADE
						   : KP_HEADER_UNSUPPORTED_VERSION;
	out->client_id = kp_rd_string(r, false, true); /* not compact even in header v2 */
	if (kp_api_request_header(api, out->version) == 2)
		kp_rd_tags_skip(r);
	if (out->client_id.len < 0)
		out->client_id = (struct kstr){.p = "", .len = 0};
	return r->bad ? KP_HEADER_MALFORMED : KP_HEADER_OK;
}

/* Fills in the size of the frame that begins at w's start. */
static bool frame_end(struct kwr *w)
{
	if (w->w.full)
		return false;
	size_t n = kwr_len(w) - KP_FRAME_SIZE;
	CHECK(n <= INT32_MAX);
	be32_put(w->w.base, (uint32_t)n);
	return true;
}

void kp_response_begin(
	struct kwr *w, const struct kp_api *api, int16_t version, int32_t correlation_id)
{
	CHECK(kwr_len(w) == 0);
	wr_be32(&w->w, 0);
	wr_be32(&w->w, (uint32_t)correlation_id);
	if (kp_api_response_header(api, version) == 1)
		wr_uvarint(&w->w, 0);
}

bool kp_response_end(struct kwr *w)
{
	return frame_end(w);
}

void kp_request_begin(struct kwr *w, const struct kp_api *api, int16_t version,
	int32_t correlation_id, struct kstr client_id)
{
	CHECK(kwr_len(w) == 0);
	wr_be32(&w->w, 0);
	wr_be16(&w->w, (uint16_t)api->key);
	wr_be16(&w->w, (uint16_t)version);
	wr_be32(&w->w, (uint32_t)correlation_id);
	kp_wr_string(&w->w, false, true, client_id);
	if (kp_api_request_header(api, version) == 2)
		wr_uvarint(&w->w, 0);
}

bool kp_request_end(struct kwr *w)
{
	return frame_end(w);
}

int kp_response_header_decode(
	struct rd *r, const struct kp_api *api, int16_t version, int32_t *correlation_id)
{
	*correlation_id = (int32_t)rd_be32(r);
	if (kp_api_response_header(api, version) == 1)
		kp_rd_tags_skip(r);
	return r->bad ? KP_E_MALFORMED : 0;
}
