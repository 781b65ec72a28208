/* SPDX-License-Identifier: Apache-2.0 */
#include "kafka/batch.h"

#include "base/crc.h"
#include "kafka/batch_int.h"

/* What the CRC covers begins here. */
#define CRC_FROM 21u

static uint32_t crc_of(const uint8_t *p)
{
	return crc32c(0, p + CRC_FROM, batch_size(p) - CRC_FROM);
}

bool batch_crc_ok(const uint8_t *p)
{
	return batch_crc(p) == crc_of(p);
}

void batch_set_crc(uint8_t *p)
{
	be32_put(p + 17, crc_of(p));
}

bool batch_set_max_timestamp(uint8_t *p, bool log_append_time, int64_t max_timestamp_ms)
{
	uint16_t attributes = batch_attributes(p);
	uint16_t wanted = log_append_time ? (attributes | BATCH_ATTR_LOG_APPEND_TIME)
					  : (attributes & (uint16_t)~BATCH_ATTR_LOG_APPEND_TIME);
	if (wanted == attributes && batch_max_timestamp(p) == max_timestamp_ms)
		return false;
	be16_put(p + 21, wanted);
	be64_put(p + 35, (uint64_t)max_timestamp_ms);
	batch_set_crc(p);
	return true;
}

int16_t batch_records(const uint8_t *p, uint32_t size, const struct batch_scratch *scratch,
	struct rd *out, const char **why)
{
	const uint8_t *body = p + BATCH_HEADER_SIZE;
	uint32_t len = size - BATCH_HEADER_SIZE;
	enum codec codec = batch_codec(p);
	*why = NULL;
	if (codec == CODEC_NONE) {
		*out = rd_of(body, len);
		return KE_NONE;
	}
	if (codec >= CODEC_COUNT || !scratch || !scratch->codec) {
		*why = "compression type is not supported";
		return KE_UNSUPPORTED_COMPRESSION_TYPE;
	}
	int64_t n = codec_decompress(scratch->codec, codec, body, len, scratch->buf, scratch->size);
	if (n == CODEC_E_LARGE) {
		*why = "records are too large once decompressed";
		return KE_MESSAGE_TOO_LARGE;
	}
	if (n < 0) {
		*why = "compressed records cannot be decompressed";
		return KE_CORRUPT_MESSAGE;
	}
	*out = rd_of(scratch->buf, (size_t)n);
	return KE_NONE;
}

/* ---- reading records ---- */

int16_t batch_iter_init(
	struct batch_iter *it, const uint8_t *p, uint32_t len, const struct batch_scratch *scratch)
{
	const char *why;
	*it = (struct batch_iter){0};
	if (len < BATCH_HEADER_SIZE || batch_size(p) == 0 || batch_size(p) > len ||
		batch_magic(p) != BATCH_MAGIC)
		return KE_CORRUPT_MESSAGE;
	int16_t err = batch_records(p, batch_size(p), scratch, &it->r, &why);
	if (err != KE_NONE)
		return err;
	it->base_offset = batch_base_offset(p);
	it->base_timestamp = batch_base_timestamp(p);
	it->append_time = batch_max_timestamp(p);
	it->log_append_time = batch_is_log_append_time(p);
	it->left = max_of(batch_count(p), 0);
	return KE_NONE;
}

/* Length of a key or value (varint, -1 null) and its bytes. */
static struct kbytes record_bytes(struct rd *r)
{
	int32_t n = rd_varint(r);
	if (n < 0) {
		if (n != -1)
			rd_fail(r);
		return KBYTES_NULL;
	}
	const uint8_t *p = rd_take(r, (size_t)n);
	return (struct kbytes){.p = p, .len = p ? n : -1};
}

int batch_iter_next(struct batch_iter *it, struct batch_record *out)
{
	if (it->left == 0)
		return rd_left(&it->r) ? -1 : 0;
	it->left--;
	int32_t len = rd_varint(&it->r);
	const uint8_t *body = len >= 0 ? rd_take(&it->r, (size_t)len) : NULL;
	if (!body || it->r.bad) {
		it->left = 0;
		rd_fail(&it->r);
		return -1;
	}
	struct rd r = rd_of(body, (size_t)len);
	rd_u8(&r); /* attributes: none are defined */
	int64_t timestamp = (int64_t)((uint64_t)it->base_timestamp + (uint64_t)rd_varlong(&r));
	int32_t offset_delta = rd_varint(&r);
	out->key = record_bytes(&r);
	out->value = record_bytes(&r);
	out->header_count = rd_varint(&r);
	if (r.bad || out->header_count < 0)
		return -1;
	out->timestamp = it->log_append_time ? it->append_time : timestamp;
	out->offset = (int64_t)((uint64_t)it->base_offset + (uint64_t)(int64_t)offset_delta);
	out->headers = r;
	return 1;
}

int batch_header_next(struct batch_record *rec, struct kstr *key, struct kbytes *value)
{
	if (rec->header_count == 0)
		return rd_left(&rec->headers) ? -1 : 0;
	rec->header_count--;
	struct kbytes k = record_bytes(&rec->headers);
	*value = record_bytes(&rec->headers);
	*key = (struct kstr){.p = (const char *)k.p, .len = k.len};
	return k.len < 0 || rec->headers.bad ? -1 : 1;
}

int batch_first_record_at(const uint8_t *p, uint32_t len, int64_t timestamp_ms,
	const struct batch_scratch *scratch, int64_t *offset, int64_t *record_timestamp)
{
	struct batch_iter it;
	struct batch_record rec;
	if (batch_iter_init(&it, p, len, scratch) != KE_NONE)
		return -1;
	int rc;
	while ((rc = batch_iter_next(&it, &rec)) == 1) {
		if (rec.timestamp >= timestamp_ms) {
			*offset = rec.offset;
			*record_timestamp = rec.timestamp;
			return 1;
		}
	}
	return rc;
}

int batch_max_timestamp_record(const uint8_t *p, uint32_t len, const struct batch_scratch *scratch,
	int64_t *offset, int64_t *record_timestamp)
{
	struct batch_iter it;
	struct batch_record rec;
	if (batch_iter_init(&it, p, len, scratch) != KE_NONE)
		return -1;
	bool found = false;
	int rc;
	while ((rc = batch_iter_next(&it, &rec)) == 1) {
		if (!found || rec.timestamp > *record_timestamp) {
			*offset = rec.offset;
			*record_timestamp = rec.timestamp;
			found = true;
		}
	}
	return rc < 0 ? rc : found;
}
