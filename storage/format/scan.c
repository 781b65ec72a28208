/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/format/scan.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/crc.h"
#include "kafka/batch.h"

_Static_assert(SCAN_BATCH_HEAD == BATCH_HEADER_SIZE, "one header");

void scan_init(struct scan *s, uint64_t pos, int64_t next_offset, uint64_t file_size)
{
	*s = (struct scan){.pos = pos, .next_offset = next_offset, .file_size = file_size};
}

enum scan_stop scan_head(
	const uint8_t *head, uint64_t room, int64_t expected, struct scan_batch *out)
{
	int64_t base = batch_base_offset(head);
	int32_t delta = batch_last_offset_delta(head);
	uint32_t size = batch_size(head);
	if (base == 0 && size == 0) {
		static const uint8_t zeros[SCAN_BATCH_HEAD];
		if (memcmp(head, zeros, sizeof(zeros)) == 0)
			return SCAN_STOP_ZERO;
	}
	if (base != expected)
		return SCAN_STOP_OFFSET;
	if (batch_magic(head) != BATCH_MAGIC)
		return SCAN_STOP_MAGIC;
	if (size == 0 || size > room)
		return SCAN_STOP_LENGTH;
	if (delta < 0 || base > INT64_MAX - 1 - delta)
		return SCAN_STOP_DELTA;
	*out = (struct scan_batch){
		.size = size,
		.base_offset = base,
		.last_offset = base + delta,
		.max_timestamp = batch_max_timestamp(head),
		.leader_epoch = batch_leader_epoch(head),
		.crc = batch_crc(head),
	};
	return SCAN_STOP_NONE;
}

static enum scan_step scan_halt(struct scan *s, enum scan_stop why)
{
	s->stop = why;
	return SCAN_STOPPED;
}

/* Gathers the head. True once it is whole and its rules hold. */
static bool scan_feed_head(struct scan *s, const uint8_t **p, size_t *n)
{
	uint32_t take = (uint32_t)min_of(*n, (size_t)(SCAN_BATCH_HEAD - s->have));
	memcpy(s->head + s->have, *p, take);
	s->have += take;
	*p += take;
	*n -= take;
	if (s->have < SCAN_BATCH_HEAD)
		return false;
	s->stop = scan_head(s->head, s->file_size - s->pos, s->next_offset, &s->batch);
	s->batch.pos = s->pos;
	s->crc = crc32c(0, s->head + SCAN_CRC_FROM, SCAN_BATCH_HEAD - SCAN_CRC_FROM);
	return s->stop == SCAN_STOP_NONE;
}

enum scan_step scan_feed(struct scan *s, const uint8_t **p, size_t *n)
{
	if (s->stop != SCAN_STOP_NONE)
		return SCAN_STOPPED;
	if (s->file_size - s->pos < SCAN_BATCH_HEAD)
		return scan_halt(s, SCAN_STOP_EOF);
	if (s->have < SCAN_BATCH_HEAD && !scan_feed_head(s, p, n))
		return s->stop == SCAN_STOP_NONE ? SCAN_MORE : SCAN_STOPPED;
	uint32_t take = (uint32_t)min_of(*n, (size_t)(s->batch.size - s->have));
	s->crc = crc32c(s->crc, *p, take);
	s->have += take;
	*p += take;
	*n -= take;
	if (s->have < s->batch.size)
		return SCAN_MORE;
	if (s->crc != s->batch.crc)
		return scan_halt(s, SCAN_STOP_CRC);
	s->pos += s->batch.size;
	s->next_offset = s->batch.last_offset + 1;
	s->have = 0;
	return SCAN_BATCH;
}

void scan_end(struct scan *s)
{
	if (s->stop == SCAN_STOP_NONE)
		s->stop = SCAN_STOP_EOF;
}

const char *scan_stop_name(enum scan_stop stop)
{
	static const char *const names[] = {
		[SCAN_STOP_NONE] = "none",
		[SCAN_STOP_EOF] = "end of file",
		[SCAN_STOP_ZERO] = "nothing written",
		[SCAN_STOP_OFFSET] = "wrong offset",
		[SCAN_STOP_MAGIC] = "wrong magic",
		[SCAN_STOP_LENGTH] = "wrong length",
		[SCAN_STOP_DELTA] = "wrong offset delta",
		[SCAN_STOP_CRC] = "wrong checksum",
	};
	return names[stop];
}
