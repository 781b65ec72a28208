/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ApiVersions (key 18). A version that we do not serve is answered in version 0 with
 * UNSUPPORTED_VERSION and our range for ApiVersions itself; the client then asks again (KIP-511).
 */
#include "api/api.h"
#include "kafka/errcode.h"
#include "kafka/messages.h"

struct versions_state {
	int16_t encode_version;
	struct kp_api_versions_response resp;
};

static bool versions_is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* KIP-511: [a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])? */
static bool versions_name_ok(struct kstr s)
{
	if (s.len <= 0 || !versions_is_alnum(s.p[0]) || !versions_is_alnum(s.p[s.len - 1]))
		return false;
	for (int32_t i = 0; i < s.len; i++)
		if (!versions_is_alnum(s.p[i]) && s.p[i] != '-' && s.p[i] != '.')
			return false;
	return true;
}

/* KIP-584. What clients ask for: groups of the consumer protocol are served from level 1 on
 * (KIP-848). */
static bool versions_fill_features(struct api_req *r, struct versions_state *st)
{
	st->resp.supported_features =
		arena_array(r->arena, 1, sizeof(*st->resp.supported_features));
	st->resp.finalized_features =
		arena_array(r->arena, 1, sizeof(*st->resp.finalized_features));
	if (!st->resp.supported_features || !st->resp.finalized_features)
		return false;
	const struct kstr name = kstr_of("group.version");
	st->resp.supported_features[0] = (struct kp_api_versions_response_supported_feature){
		.name = name, .min_version = 0, .max_version = 1};
	st->resp.finalized_features[0] = (struct kp_api_versions_response_finalized_feature){
		.name = name, .max_version_level = 1, .min_version_level = 1};
	st->resp.n_supported_features = st->resp.n_finalized_features = 1;
	st->resp.finalized_features_epoch = 0;
	return true;
}

static bool versions_fill(struct api_req *r, struct versions_state *st)
{
	uint32_t count;
	if (st->resp.error_code == KE_NONE && !versions_fill_features(r, st))
		return false;
	const struct kp_api *all = kp_api_all(&count);
	st->resp.api_keys = arena_array(r->arena, count, sizeof(*st->resp.api_keys));
	if (!st->resp.api_keys)
		return false;
	for (uint32_t i = 0; i < count; i++) {
		if (all[i].advertised_max < all[i].advertised_min)
			continue;
		if (st->resp.error_code == KE_UNSUPPORTED_VERSION && all[i].key != KP_API_VERSIONS)
			continue;
		st->resp.api_keys[st->resp.n_api_keys++] =
			(struct kp_api_versions_response_api_key){
				.key = all[i].key,
				.min_version = all[i].advertised_min,
				.max_version = all[i].advertised_max,
			};
	}
	return true;
}

static enum api_step versions_start(struct api_req *r)
{
	struct versions_state *st = arena_alloc(r->arena, sizeof(*st));
	if (!st)
		return API_TOO_LARGE;
	r->state = st;
	kp_default_api_versions_response(&st->resp);
	if (!kp_api_accepts(r->hdr.api, r->hdr.version)) {
		st->resp.error_code = KE_UNSUPPORTED_VERSION;
		return versions_fill(r, st) ? API_REPLY : API_TOO_LARGE;
	}
	st->encode_version = r->hdr.version;
	struct kp_api_versions_request q;
	int err = kp_decode_api_versions_request(&r->body, r->hdr.version, &q, r->arena);
	if (err != 0)
		return api_decode_failed(err);
	if (r->hdr.version >= 3 && (!versions_name_ok(q.client_software_name) ||
					   !versions_name_ok(q.client_software_version))) {
		st->resp.error_code = KE_INVALID_REQUEST;
		return API_REPLY;
	}
	return versions_fill(r, st) ? API_REPLY : API_TOO_LARGE;
}

static void versions_encode(struct api_req *r, struct kwr *w)
{
	const struct versions_state *st = r->state;
	kp_encode_api_versions_response(w, st->encode_version, &st->resp);
}

const struct api_handler api_versions_handler = {
	.key = KP_API_VERSIONS,
	.start = versions_start,
	.encode = versions_encode,
};
