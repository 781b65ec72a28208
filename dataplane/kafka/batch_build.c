/* SPDX-License-Identifier: Apache-2.0 */
#include "kafka/batch.h"

void batch_build_begin(struct batch_build *b, void *mem, size_t size)
{
	*b = (struct batch_build){.w = wr_of(mem, size), .max_timestamp = BATCH_NO_TIMESTAMP};
	uint8_t *p = wr_claim(&b->w, BATCH_HEADER_SIZE);
	if (!p)
		return;
	memset(p, 0, BATCH_HEADER_SIZE);
	p[16] = BATCH_MAGIC;
	batch_set_leader_epoch(p, -1);
	be64_put(p + 43, (uint64_t)BATCH_NO_PRODUCER_ID);
	be16_put(p + 51, (uint16_t)-1);
	be32_put(p + 53, (uint32_t)BATCH_NO_SEQUENCE);
}

void batch_build_set_producer(
	struct batch_build *b, int64_t id, int16_t epoch, int32_t sequence, bool transactional)
{
	uint8_t *p = b->w.base;
	if (wr_len(&b->w) < BATCH_HEADER_SIZE)
		return;
	be64_put(p + 43, (uint64_t)id);
	be16_put(p + 51, (uint16_t)epoch);
	be32_put(p + 53, (uint32_t)sequence);
	uint16_t attributes = batch_attributes(p) & (uint16_t)~BATCH_ATTR_TRANSACTIONAL;
	be16_put(p + 21, transactional ? attributes | BATCH_ATTR_TRANSACTIONAL : attributes);
}

void batch_build_set_control(struct batch_build *b)
{
	uint8_t *p = b->w.base;
	if (wr_len(&b->w) >= BATCH_HEADER_SIZE)
		be16_put(p + 21, batch_attributes(p) | BATCH_ATTR_CONTROL);
}

static void put_bytes(struct wr *w, const void *p, int32_t len)
{
	wr_varint(w, len < 0 ? -1 : len);
	if (len > 0)
		wr_bytes(w, p, (size_t)len);
}

/* All of a record but its length. */
static void put_record(struct wr *w, int64_t timestamp_delta, int32_t offset_delta,
	struct kbytes key, struct kbytes value, const struct batch_header *headers,
	int32_t header_count)
{
	wr_u8(w, 0);
	wr_varlong(w, timestamp_delta);
	wr_varint(w, offset_delta);
	put_bytes(w, key.p, key.len);
	put_bytes(w, value.p, value.len);
	wr_varint(w, header_count);
	for (int32_t i = 0; i < header_count; i++) {
		put_bytes(w, headers[i].key.p, max_of(headers[i].key.len, 0));
		put_bytes(w, headers[i].value.p, headers[i].value.len);
	}
}

bool batch_build_add(struct batch_build *b, int64_t timestamp_ms, struct kbytes key,
	struct kbytes value, const struct batch_header *headers, int32_t header_count)
{
	if (b->w.full || b->count == INT32_MAX)
		return false;
	int64_t base = b->count ? b->base_timestamp : timestamp_ms;
	int64_t delta = (int64_t)((uint64_t)timestamp_ms - (uint64_t)base);
	struct wr counter = {.full = true};
	put_record(&counter, delta, b->count, key, value, headers, header_count);
	struct wr before = b->w;
	if (counter.need > INT32_MAX / 2)
		return false;
	wr_varint(&b->w, (int32_t)counter.need);
	put_record(&b->w, delta, b->count, key, value, headers, header_count);
	if (b->w.full || wr_len(&b->w) > INT32_MAX) {
		b->w = before;
		return false;
	}
	b->base_timestamp = base;
	b->max_timestamp = b->count ? max_of(b->max_timestamp, timestamp_ms) : timestamp_ms;
	b->count++;
	return true;
}

uint32_t batch_build_finish(struct batch_build *b)
{
	uint8_t *p = b->w.base;
	if (b->count == 0)
		return 0;
	uint32_t size = (uint32_t)wr_len(&b->w);
	be32_put(p + 8, size - BATCH_OVERHEAD);
	be32_put(p + 23, (uint32_t)(b->count - 1));
	be64_put(p + 27, (uint64_t)b->base_timestamp);
	be64_put(p + 35, (uint64_t)b->max_timestamp);
	be32_put(p + 57, (uint32_t)b->count);
	batch_set_crc(p);
	return size;
}

/* n bytes of records behind src's head. */
static uint32_t compress_records(const uint8_t *src, const uint8_t *records, size_t n,
	enum codec codec, int level, uint8_t *dst, uint32_t dst_size)
{
	if (dst_size < BATCH_HEADER_SIZE)
		return 0;
	memcpy(dst, src, BATCH_HEADER_SIZE);
	int64_t size = codec_compress(
		codec, level, records, n, dst + BATCH_HEADER_SIZE, dst_size - BATCH_HEADER_SIZE);
	if (size < 0)
		return 0;
	uint32_t new_size = BATCH_HEADER_SIZE + (uint32_t)size;
	uint16_t attributes = (uint16_t)((batch_attributes(src) & ~BATCH_ATTR_CODEC) | codec);
	be32_put(dst + 8, new_size - BATCH_OVERHEAD);
	be16_put(dst + 21, attributes);
	batch_set_crc(dst);
	return new_size;
}

uint32_t batch_compress(
	const uint8_t *src, enum codec codec, int level, uint8_t *dst, uint32_t dst_size)
{
	return compress_records(src, src + BATCH_HEADER_SIZE, batch_size(src) - BATCH_HEADER_SIZE,
		codec, level, dst, dst_size);
}

uint32_t batch_recode(const uint8_t *src, enum codec codec, int level,
	const struct batch_scratch *scratch, uint8_t *dst, uint32_t dst_size)
{
	const uint8_t *records = src + BATCH_HEADER_SIZE;
	int64_t n = batch_size(src) - BATCH_HEADER_SIZE;
	if (batch_codec(src) != CODEC_NONE) {
		if (!scratch->codec)
			return 0;
		n = codec_decompress(scratch->codec, batch_codec(src), records, (size_t)n,
			scratch->buf, scratch->size);
		records = scratch->buf;
	}
	return n < 0 ? 0 : compress_records(src, records, (size_t)n, codec, level, dst, dst_size);
}
