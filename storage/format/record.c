/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/format/record.h"

#include <stdlib.h>

#include "kafka/batch.h"

struct record_scratch {
	struct batch_scratch batch;
};

struct record_scratch *record_scratch_create(uint8_t *buf, uint32_t size)
{
	struct record_scratch *s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->batch = (struct batch_scratch){.buf = buf, .size = size, .codec = codec_open()};
	if (!s->batch.codec) {
		free(s);
		return NULL;
	}
	return s;
}

void record_scratch_destroy(struct record_scratch *s)
{
	if (!s)
		return;
	codec_close(s->batch.codec);
	free(s);
}

int record_find(const uint8_t *p, uint32_t len, int64_t timestamp_ms, int64_t from,
	struct record_scratch *s, int64_t *offset, int64_t *record_timestamp)
{
	struct batch_iter it;
	struct batch_record rec;
	bool found = false;
	if (batch_iter_init(&it, p, len, &s->batch) != 0)
		return -1;
	int n;
	while ((n = batch_iter_next(&it, &rec)) > 0) {
		if (rec.offset < from || (timestamp_ms >= 0 && rec.timestamp < timestamp_ms))
			continue;
		if (found && rec.timestamp <= *record_timestamp)
			continue;
		*offset = rec.offset;
		*record_timestamp = rec.timestamp;
		found = true;
		if (timestamp_ms >= 0)
			return 1;
	}
	return n < 0 ? -1 : found;
}
