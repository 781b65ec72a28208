/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_KAFKA_HEADER_H
#define MR_KAFKA_HEADER_H

#include "kafka/api_table.h"
#include "kafka/wire.h"

/*
 * Frames and headers. On a connection each message is an int32 size (big-endian, not counting
 * itself), a header and a body.
 */

#define KP_FRAME_SIZE 4 /* of the size field */
/* No request is shorter: api_key, api_version, correlation_id, client_id length. */
#define KP_REQUEST_MIN 10

enum kp_header_result {
	KP_HEADER_OK,
	/*
	 * ApiVersions in a version that we do not serve: to be answered with a version 0 body,
	 * error UNSUPPORTED_VERSION and our range for ApiVersions (KIP-511). `version` is what was
	 * asked for; the body is not to be read.
	 */
	KP_HEADER_DOWNGRADE,
	KP_HEADER_UNKNOWN_API,	       /* close without an answer, as Kafka does */
	KP_HEADER_UNSUPPORTED_VERSION, /* close without an answer */
	KP_HEADER_MALFORMED,	       /* close */
};

struct kp_request_header {
	int16_t key;
	int16_t version;
	int32_t correlation_id;
	struct kstr client_id;	  /* slice of the input; null reads as "" */
	const struct kp_api *api; /* NULL for KP_HEADER_UNKNOWN_API and KP_HEADER_MALFORMED */
};

/*
 * Size of the frame that begins at p: 4 + its size field, once at least 4 bytes are there. 0: more
 * bytes are needed to tell. -1: negative, shorter than any request, or larger than max_size (bytes
 * after the size field): close.
 */
int64_t kp_frame_size(const uint8_t *p, size_t len, uint32_t max_size);

/*
 * Reads a request header, which version of it the table tells, and leaves r at the body. Everything
 * that was read is in *out, whatever the result. Source: RequestHeader v1/v2, KIP-482, KIP-511.
 */
enum kp_header_result kp_header_decode(struct rd *r, struct kp_request_header *out);

/*
 * Begins a response frame: room for the size, then the response header for this API version.
 * kp_response_end fills in the size. w must be empty.
 */
void kp_response_begin(
	struct kwr *w, const struct kp_api *api, int16_t version, int32_t correlation_id);
/* Writes the frame's size; false (and nothing is to be sent) when w was too small: w->w.need says.
 */
bool kp_response_end(struct kwr *w);

/* Begins a request frame (tests, tools, simulator); client_id may be null. kp_request_end ends it.
 */
void kp_request_begin(struct kwr *w, const struct kp_api *api, int16_t version,
	int32_t correlation_id, struct kstr client_id);
bool kp_request_end(struct kwr *w);
/* Reads a response header (tests, tools): the correlation id; leaves r at the body. 0 or
 * KP_E_MALFORMED. */
int kp_response_header_decode(
	struct rd *r, const struct kp_api *api, int16_t version, int32_t *correlation_id);

#endif
