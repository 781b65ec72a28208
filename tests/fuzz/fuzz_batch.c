/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a record batch. The first byte says how it is to be checked; with REPAIR, length,
 * magic and CRC are made right first, so that the records are reached. The fast walk of
 * batch_validate must agree with the plain iterator.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "kafka/batch.h"

#define SCRATCH (256 << 10)
#define NOW 1900000000000ll

enum flag {
	COMPACTED = 1,
	REPAIR = 2,
	APPEND_TIME = 4,
	TRUST = 8,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whether the iterator finds exactly the records that validation accepts. */
static bool plain_walk(const uint8_t *p, uint32_t len, const struct batch_limits *lim,
	const struct batch_scratch *s, int64_t *max)
{
	struct batch_iter it;
	struct batch_record rec;
	int32_t n = 0;
	int rc;
	*max = INT64_MIN;
	if (batch_iter_init(&it, p, len, s) != KE_NONE)
		return false;
	for (; (rc = batch_iter_next(&it, &rec)) == 1; n++) {
		struct kstr key;
		struct kbytes value;
		int more;
		while ((more = batch_header_next(&rec, &key, &value)) == 1)
			;
		bool late = rec.timestamp != BATCH_NO_TIMESTAMP &&
			    rec.timestamp > lim->now_ms + lim->after_max_ms;
		if (more < 0 || rec.offset != n || (lim->compacted && rec.key.len < 0) ||
			(late && !lim->log_append_time))
			return false;
		*max = max_of(*max, rec.timestamp);
	}
	return rc == 0 && n == batch_count(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t buf[SCRATCH];
	static struct codec_ctx *codec;
	if (!codec)
		codec = codec_open();
	if (size < 1 || size > (1 << 20))
		return 0;
	const struct batch_scratch s = {.buf = buf, .size = SCRATCH, .codec = codec};
	uint8_t flags = data[0];
	uint32_t len = (uint32_t)size - 1;
	uint8_t *p = malloc(len ? len : 1);
	memcpy(p, data + 1, len);
	if ((flags & REPAIR) && len >= BATCH_HEADER_SIZE) {
		be64_put(p, 0);
		be32_put(p + 8, len - BATCH_OVERHEAD);
		p[16] = BATCH_MAGIC;
		batch_set_crc(p);
	}
	const struct batch_limits lim = {.now_ms = NOW,
		.before_max_ms = INT64_MAX,
		.after_max_ms = 3600000,
		.max_bytes = 1 << 20,
		.log_append_time = flags & APPEND_TIME,
		.compacted = flags & COMPACTED,
		.trust_compressed = flags & TRUST};
	struct batch_info info;
	int16_t err = batch_validate(p, len, &lim, &s, &info);
	CHECK((err == KE_NONE) == (info.error_message == NULL));
	int64_t max;
	if (err == KE_NONE && info.walked) {
		CHECK(plain_walk(p, len, &lim, &s, &max));
		CHECK(max == info.max_timestamp);
		int64_t offset, ts;
		CHECK(batch_max_timestamp_record(p, len, &s, &offset, &ts) == 1);
		CHECK(offset == info.max_timestamp_delta && ts == max);
	} else if (err != KE_NONE && info.size && info.error_index >= 0 &&
		   !(info.attributes & BATCH_ATTR_LOG_APPEND_TIME)) {
		CHECK(!plain_walk(p, len, &lim, &s, &max));
	} else if (len >= BATCH_HEADER_SIZE) {
		plain_walk(p, len, &lim, &s, &max);
	}
	free(p);
	return 0;
}
