/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_KAFKA_BATCH_H
#define MR_KAFKA_BATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "kafka/compress.h"
#include "kafka/errcode.h"
#include "kafka/wire.h"

/*
 * Record batch, magic 2: read, checked and changed in place, by hand, without allocation.
 *
 *   off size field                  off size field
 *     0    8 base offset             27    8 base timestamp
 *     8    4 length (after it)       35    8 max timestamp
 *    12    4 partition leader epoch  43    8 producer id
 *    16    1 magic                   51    2 producer epoch
 *    17    4 CRC-32C of [21, end)    53    4 base sequence
 *    21    2 attributes              57    4 record count
 *    23    4 last offset delta       61      records, or one compressed blob
 *
 * Base offset and leader epoch are outside the CRC: setting them costs nothing. The accessors need
 * BATCH_HEADER_SIZE bytes at p, and know nothing of whether these make sense.
 */

#define BATCH_HEADER_SIZE 61u
#define BATCH_OVERHEAD 12u /* base offset and length: what the length does not count */
#define BATCH_MAGIC 2
#define BATCH_NO_TIMESTAMP (-1)
#define BATCH_NO_PRODUCER_ID (-1)
#define BATCH_NO_SEQUENCE (-1)

enum batch_attr {
	BATCH_ATTR_CODEC = 0x07,
	BATCH_ATTR_LOG_APPEND_TIME = 0x08,
	BATCH_ATTR_TRANSACTIONAL = 0x10,
	BATCH_ATTR_CONTROL = 0x20,
	BATCH_ATTR_DELETE_HORIZON = 0x40,
};

static inline int64_t batch_base_offset(const uint8_t *p)
{
	return (int64_t)be64_get(p);
}
/* The length field: bytes after it. May be anything in a batch that has not been checked. */
static inline int32_t batch_length(const uint8_t *p)
{
	return (int32_t)be32_get(p + 8);
}
/* Bytes of the whole batch by its length field; 0 when the field is not a sane one (below 49). */
static inline uint32_t batch_size(const uint8_t *p)
{
	uint32_t n = be32_get(p + 8);
	return n >= BATCH_HEADER_SIZE - BATCH_OVERHEAD && n <= INT32_MAX - BATCH_OVERHEAD
		       ? n + BATCH_OVERHEAD
		       : 0;
}
static inline int32_t batch_leader_epoch(const uint8_t *p)
{
	return (int32_t)be32_get(p + 12);
}
static inline int8_t batch_magic(const uint8_t *p)
{
	return (int8_t)p[16];
}
static inline uint32_t batch_crc(const uint8_t *p)
{
	return be32_get(p + 17);
}
static inline uint16_t batch_attributes(const uint8_t *p)
{
	return be16_get(p + 21);
}
static inline enum codec batch_codec(const uint8_t *p)
{
	return (enum codec)(batch_attributes(p) & BATCH_ATTR_CODEC);
}
static inline bool batch_is_control(const uint8_t *p)
{
	return batch_attributes(p) & BATCH_ATTR_CONTROL;
}
static inline bool batch_is_transactional(const uint8_t *p)
{
	return batch_attributes(p) & BATCH_ATTR_TRANSACTIONAL;
}
static inline bool batch_is_log_append_time(const uint8_t *p)
{
	return batch_attributes(p) & BATCH_ATTR_LOG_APPEND_TIME;
}
static inline int32_t batch_last_offset_delta(const uint8_t *p)
{
	return (int32_t)be32_get(p + 23);
}
static inline int64_t batch_last_offset(const uint8_t *p)
{
	return (int64_t)(be64_get(p) + (uint64_t)(int64_t)batch_last_offset_delta(p));
}
static inline int64_t batch_next_offset(const uint8_t *p)
{
	return (int64_t)((uint64_t)batch_last_offset(p) + 1);
}
static inline int64_t batch_base_timestamp(const uint8_t *p)
{
	return (int64_t)be64_get(p + 27);
}
static inline int64_t batch_max_timestamp(const uint8_t *p)
{
	return (int64_t)be64_get(p + 35);
}
static inline int64_t batch_producer_id(const uint8_t *p)
{
	return (int64_t)be64_get(p + 43);
}
static inline int16_t batch_producer_epoch(const uint8_t *p)
{
	return (int16_t)be16_get(p + 51);
}
static inline int32_t batch_base_sequence(const uint8_t *p)
{
	return (int32_t)be32_get(p + 53);
}
static inline int32_t batch_count(const uint8_t *p)
{
	return (int32_t)be32_get(p + 57);
}
/* Last sequence number; wraps from 2147483647 to 0. -1 without a sequence. */
static inline int32_t batch_last_sequence(const uint8_t *p)
{
	int32_t base = batch_base_sequence(p);
	if (base < 0)
		return BATCH_NO_SEQUENCE;
	return (int32_t)(((uint32_t)base + (uint32_t)batch_last_offset_delta(p)) & INT32_MAX);
}
static inline void batch_set_base_offset(uint8_t *p, int64_t offset)
{
	be64_put(p, (uint64_t)offset);
}
static inline void batch_set_leader_epoch(uint8_t *p, int32_t epoch)
{
	be32_put(p + 12, (uint32_t)epoch);
}

/* Whether the CRC of the batch of batch_size(p) bytes is right. */
bool batch_crc_ok(const uint8_t *p);
/* Computes and stores the CRC. */
void batch_set_crc(uint8_t *p);
/*
 * Sets the timestamp type bit and the max timestamp, and the CRC if that changed anything. For
 * LogAppendTime max_timestamp_ms is the time of the append, which then is that of every record.
 * True when bytes have changed.
 */
bool batch_set_max_timestamp(uint8_t *p, bool log_append_time, int64_t max_timestamp_ms);

/*
 * What decompression needs; one per thread, filled in by its owner. `buf` bounds what the records
 * of a batch may inflate to: reserve much address space (64 MiB, MAP_NORESERVE), little of it is
 * touched. Without a codec context (all zero) compressed batches cannot be looked into.
 */
struct batch_scratch {
	uint8_t *buf;
	uint32_t size;
	struct codec_ctx *codec;
};

/* What a topic accepts from a client, and the time. */
struct batch_limits {
	int64_t now_ms;	       /* wall clock */
	int64_t before_max_ms; /* message.timestamp.before.max.ms, INT64_MAX: no bound */
	int64_t after_max_ms;  /* message.timestamp.after.max.ms */
	uint32_t max_bytes;    /* max.message.bytes; of the batch as it came, header included */
	bool log_append_time;  /* message.timestamp.type: timestamps of records do not count */
	bool compacted;	       /* cleanup.policy has compact: every record needs a key */
	bool no_zstd;	       /* Produce before version 7 */
	/*
	 * Do not look into a compressed batch when the header alone shows that it would pass: topic
	 * not compacted, max timestamp within the bounds. Trusts the client for the rest.
	 */
	bool trust_compressed;
	bool crc_checked; /* the caller has verified the CRC already */
};

/* What a batch is. On an error, what is wrong. */
struct batch_info {
	uint32_t size;
	int32_t count;
	uint16_t attributes;
	enum codec codec;
	int64_t producer_id;
	int16_t producer_epoch;
	int32_t base_sequence;
	/*
	 * Largest timestamp of the records (the header's when they were not looked at), and the
	 * offset delta of the first record that has it.
	 */
	int64_t max_timestamp;
	int32_t max_timestamp_delta;
	bool walked; /* the records were looked at */
	/* Errors: the record (counted from 0) and a constant text; -1 and a text when it is the
	 * batch. */
	int32_t error_index;
	const char *error_message;
};

/*
 * Checks the records field of one partition in a Produce request, as Kafka's broker does: exactly
 * one batch of magic 2, base offset 0, sizes, CRC, counts, producer fields, and every record in it
 * (offset deltas 0..n-1, lengths, headers, timestamps, keys). Changes nothing. KE_NONE, or the
 * Kafka error code for the response, with error_index and error_message of *out for record_errors:
 *
 *   KE_INVALID_RECORD (87)               not exactly one batch; wrong magic; base offset not 0;
 * control batch; counts do not agree; producer id without sequence; a record that does not parse; a
 * null key on a compacted topic KE_CORRUPT_MESSAGE (2)               length or CRC wrong,
 * compressed data cannot be read KE_MESSAGE_TOO_LARGE (10)            larger than max_bytes, or
 * inflates beyond the scratch buffer KE_INVALID_TIMESTAMP (32)            out of bounds, or
 * LogAppendTime set by the client KE_UNSUPPORTED_COMPRESSION_TYPE (76) unknown codec, or zstd
 * before Produce 7
 *
 * Stricter than Kafka in one point: offset deltas must be 0..n-1 (Kafka rebuilds the batch; no
 * client sends others). Any thread; scratch may be NULL when trust_compressed covers all. Source:
 * protocol notes 2.2, 2.3; ProduceRequest.validateRecords, LogValidator.
 */
int16_t batch_validate(const uint8_t *p, uint32_t len, const struct batch_limits *lim,
	const struct batch_scratch *scratch, struct batch_info *out);

/* One record. Key and value are slices (null: len -1). */
struct batch_record {
	int64_t offset;
	int64_t timestamp; /* ms */
	struct kbytes key;
	struct kbytes value;
	int32_t header_count;
	struct rd headers; /* for batch_header_next */
};

/* Goes through the records of one batch. */
struct batch_iter {
	struct rd r;
	int64_t base_offset;
	int64_t base_timestamp;
	int64_t append_time;
	int32_t left;
	bool log_append_time;
};

/*
 * Begins at the batch of len bytes at p (len >= batch_size(p); bytes after it are not looked at).
 * Compressed records are inflated into the scratch buffer, which then belongs to the iterator's
 * records. 0; KE_CORRUPT_MESSAGE, KE_MESSAGE_TOO_LARGE (scratch too small) or
 * KE_UNSUPPORTED_COMPRESSION_TYPE. The CRC is not checked.
 */
int16_t batch_iter_init(
	struct batch_iter *it, const uint8_t *p, uint32_t len, const struct batch_scratch *scratch);
/* Next record: 1; 0 at the end; -1 when the bytes are not a record, or too many (the end, too). */
int batch_iter_next(struct batch_iter *it, struct batch_record *out);
/* Next header of a record: 1, 0 at the end, -1 malformed. */
int batch_header_next(struct batch_record *rec, struct kstr *key, struct kbytes *value);

/*
 * First record in the batch with timestamp >= timestamp_ms: 1 and its offset and timestamp; 0:
 * none; -1: the batch cannot be read. For ListOffsets by time.
 */
int batch_first_record_at(const uint8_t *p, uint32_t len, int64_t timestamp_ms,
	const struct batch_scratch *scratch, int64_t *offset, int64_t *record_timestamp);
/* First record with the largest timestamp of the batch (ListOffsets -3); results as above. */
int batch_max_timestamp_record(const uint8_t *p, uint32_t len, const struct batch_scratch *scratch,
	int64_t *offset, int64_t *record_timestamp);

/* A header to add to a record. */
struct batch_header {
	struct kstr key;
	struct kbytes value;
};

/* Writes one batch, uncompressed. */
struct batch_build {
	struct wr w;
	int64_t base_timestamp;
	int64_t max_timestamp;
	int32_t count;
};

/*
 * Begins a batch in size bytes of borrowed memory: base offset 0, CreateTime, no producer. Set what
 * else is wanted with the batch_build_set_ functions and the batch_set_ accessors.
 */
void batch_build_begin(struct batch_build *b, void *mem, size_t size);
/* Producer id, epoch, base sequence and transactional bit. */
void batch_build_set_producer(
	struct batch_build *b, int64_t id, int16_t epoch, int32_t sequence, bool transactional);
/* Marks it as a control batch. */
void batch_build_set_control(struct batch_build *b);
/* Adds a record (len -1: null). False: does not fit, and the batch is as before. */
bool batch_build_add(struct batch_build *b, int64_t timestamp_ms, struct kbytes key,
	struct kbytes value, const struct batch_header *headers, int32_t header_count);
/* Ends the batch: counts, length, CRC. Its size in bytes; 0 when it has no record. */
uint32_t batch_build_finish(struct batch_build *b);
/*
 * Compresses a finished batch from src into dst (tests, tools): the new size, or 0 when it does not
 * fit.
 */
uint32_t batch_compress(
	const uint8_t *src, enum codec codec, int level, uint8_t *dst, uint32_t dst_size);
/*
 * The batch of batch_size(src) bytes, compressed by another codec (CODEC_NONE: by none), in dst;
 * the records stay as they are. Its size, or 0: it does not fit, or its records cannot be read.
 * Uses the scratch, and allocates while it runs.
 */
uint32_t batch_recode(const uint8_t *src, enum codec codec, int level,
	const struct batch_scratch *scratch, uint8_t *dst, uint32_t dst_size);

#endif
