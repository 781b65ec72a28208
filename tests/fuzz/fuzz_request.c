/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a request (header and body, without the frame's size): refused, or decoded, and then
 * what is encoded from it decodes to the same. With 0x4000 added to the key the body is taken as a
 * response.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "kafka/header.h"
#include "kafka/messages.h"

#define MEMORY (1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct kp_message *message_of(int16_t key)
{
	for (int i = 0; i < KP_MESSAGE_COUNT; i++) {
		if (kp_messages[i].key == key)
			return &kp_messages[i];
	}
	return NULL;
}

static void check_body(const struct kp_side *side, int16_t version, struct rd r)
{
	static uint8_t memory[2][MEMORY], wire[2][MEMORY], object[2][4096];
	size_t len[2];
	struct rd in = r;
	for (int i = 0; i < 2; i++) {
		struct arena a;
		arena_init(&a, memory[i], MEMORY);
		int rc = side->decode(&in, version, object[i], &a);
		if (rc != 0) {
			CHECK(i == 0 && (rc == KP_E_MALFORMED || rc == KP_E_NOMEM));
			return;
		}
		struct kwr k = kwr_of(wire[i], MEMORY);
		side->encode(&k, version, object[i]);
		if (k.w.full)
			return;
		len[i] = wr_len(&k.w);
		in = rd_of(wire[i], len[i]);
	}
	CHECK(len[0] == len[1] && memcmp(wire[0], wire[1], len[0]) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rd r = rd_of(data, size);
	if (size >= 8 && (data[0] & 0x40)) {
		const struct kp_message *m = message_of((int16_t)(be16_get(data) & 0x3fff));
		int16_t version = (int16_t)be16_get(data + 2);
		if (m && version >= m->min && version <= m->max) {
			rd_take(&r, 8);
			check_body(&m->response, version, r);
		}
		return 0;
	}
	struct kp_request_header h;
	if (kp_header_decode(&r, &h) == KP_HEADER_OK) {
		CHECK(h.client_id.len >= 0);
		check_body(&message_of(h.key)->request, h.version, r);
	}
	return 0;
}
