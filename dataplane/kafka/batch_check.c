/* SPDX-License-Identifier: Apache-2.0 */
/*
 * batch_validate: what a client's record batch must be before it may enter a log. The walk over the
 * records is the hottest loop of the broker (once per record produced), so it reads varints without
 * bounds checks where enough bytes are left for the largest of them.
 */
#include "kafka/batch.h"

#include "kafka/batch_int.h"

/* ---- the records ---- */

struct walk {
	const uint8_t *end;
	int64_t base_timestamp;
	uint64_t low;	/* smallest timestamp allowed */
	uint64_t range; /* largest minus smallest */
	bool need_key;
	int32_t max_index; /* of the first record with max_timestamp */
	int64_t max_timestamp;
	const char *why; /* of the failure */
};

/* Bytes that varint_fast and varlong_fast may read. */
#define VARINT_MAX 5
#define VARLONG_MAX 10
/* What a record reads before its key: attributes, timestamp, offset, key length; and its own
 * length. */
#define HEAD_MAX (VARINT_MAX + 1 + VARLONG_MAX + VARINT_MAX + VARINT_MAX)
/* Attributes, two deltas, two lengths, header count: one byte each. */
#define RECORD_MIN 6u

/* A value no varint of 32 bits has. */
#define VARINT_BAD UINT64_MAX

static __attribute__((noinline)) uint64_t varint_more(
	const uint8_t **pp, uint64_t v, unsigned max_bytes)
{
	const uint8_t *p = *pp;
	for (unsigned i = 1; i < max_bytes; i++) {
		uint64_t b = *p++;
		v |= (b & 0x7f) << (7 * i);
		if (!(b & 0x80)) {
			*pp = p;
			if (max_bytes == VARINT_MAX)
				return v <= UINT32_MAX ? v : VARINT_BAD;
			return i < VARLONG_MAX - 1 || b <= 1 ? v : VARINT_BAD;
		}
	}
	*pp = p;
	return VARINT_BAD;
}

/* Unsigned varint of at most 32 bits; VARINT_BAD when it is not one. VARINT_MAX bytes are readable.
 */
static inline __attribute__((always_inline)) uint64_t varint_fast(const uint8_t **pp)
{
	const uint8_t *p = *pp;
	uint64_t b0 = p[0];
	if (__builtin_expect(b0 < 0x80, 1)) {
		*pp = p + 1;
		return b0;
	}
	uint64_t b1 = p[1];
	uint64_t v = (b0 & 0x7f) | (b1 & 0x7f) << 7;
	if (__builtin_expect(b1 < 0x80, 1)) {
		*pp = p + 2;
		return v;
	}
	*pp = p + 1;
	return varint_more(pp, b0 & 0x7f, VARINT_MAX);
}

/* The same for 64 bits; a bad one reads as VARINT_BAD, which is also a value: *bad tells. */
static inline __attribute__((always_inline)) uint64_t varlong_fast(const uint8_t **pp, bool *bad)
{
	const uint8_t *p = *pp;
	uint64_t b0 = p[0];
	if (__builtin_expect(b0 < 0x80, 1)) {
		*pp = p + 1;
		return b0;
	}
	uint64_t b1 = p[1];
	uint64_t v = (b0 & 0x7f) | (b1 & 0x7f) << 7;
	if (__builtin_expect(b1 < 0x80, 1)) {
		*pp = p + 2;
		return v;
	}
	*pp = p + 1;
	v = varint_more(pp, b0 & 0x7f, VARLONG_MAX);
	if (v == VARINT_BAD) {
		/* all 64 bits set is ten bytes that end in 1 */
		const uint8_t *q = *pp;
		*bad = !(q - p == VARLONG_MAX && q[-1] == 1);
	}
	return v;
}

static inline int64_t unzigzag(uint64_t v)
{
	return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

/* Headers of one record: exactly the bytes [p, end). */
static bool headers_ok(const uint8_t *p, const uint8_t *end)
{
	struct rd r = rd_of(p, (size_t)(end - p));
	int32_t count = rd_varint(&r);
	if (count < 0)
		rd_fail(&r);
	for (; count > 0 && !r.bad; count--) {
		int32_t key = rd_varint(&r);
		if (key < 0)
			return false;
		rd_take(&r, (size_t)key);
		int32_t value = rd_varint(&r);
		if (value < -1)
			return false;
		if (value > 0)
			rd_take(&r, (size_t)value);
	}
	return !r.bad && rd_left(&r) == 0;
}

/* Takes note of a record's timestamp; false when it is out of bounds. */
static inline bool timestamp_ok(struct walk *w, int32_t index, int64_t timestamp)
{
	if (timestamp > w->max_timestamp) {
		w->max_timestamp = timestamp;
		w->max_index = index;
	}
	return __builtin_expect((uint64_t)timestamp - w->low <= w->range, 1) ||
	       timestamp == BATCH_NO_TIMESTAMP;
}

static int16_t malformed(struct walk *w, const char *why)
{
	w->why = why;
	return KE_INVALID_RECORD;
}

#define WHY_NOT_A_RECORD "record cannot be parsed"
#define WHY_OFFSET "offset delta of the record is not its position in the batch"
#define WHY_NO_KEY "compacted topic needs a key in every record"
#define WHY_TIMESTAMP "timestamp of the record is out of bounds"
#define WHY_HEADERS "headers of the record cannot be parsed"

/*
 * One record at *pp, all reads bounded: for the last records of a batch, and for those that the
 * fast path gives up on.
 */
static __attribute__((noinline)) int16_t record_slow(
	struct walk *w, const uint8_t **pp, int32_t index)
{
	struct rd all = rd_of(*pp, (size_t)(w->end - *pp));
	int32_t len = rd_varint(&all);
	const uint8_t *body = len >= 0 ? rd_take(&all, (size_t)len) : NULL;
	if (!body || all.bad)
		return malformed(w, WHY_NOT_A_RECORD);
	struct rd r = rd_of(body, (size_t)len);
	rd_u8(&r);
	uint64_t delta = (uint64_t)rd_varlong(&r);
	int32_t offset_delta = rd_varint(&r);
	int32_t key = rd_varint(&r);
	if (key > 0)
		rd_take(&r, (size_t)key);
	int32_t value = rd_varint(&r);
	if (value > 0)
		rd_take(&r, (size_t)value);
	if (r.bad || key < -1 || value < -1)
		return malformed(w, WHY_NOT_A_RECORD);
	if (offset_delta != index)
		return malformed(w, WHY_OFFSET);
	if (!headers_ok(r.p, r.end))
		return malformed(w, WHY_HEADERS);
	if (key < 0 && w->need_key)
		return malformed(w, WHY_NO_KEY);
	*pp = all.p;
	if (!timestamp_ok(w, index, (int64_t)((uint64_t)w->base_timestamp + delta))) {
		w->why = WHY_TIMESTAMP;
		return KE_INVALID_TIMESTAMP;
	}
	return KE_NONE;
}

/* The same, faster; at least HEAD_MAX bytes are left. Whatever is not plain goes to record_slow. */
static inline __attribute__((always_inline)) int16_t record_fast(
	struct walk *w, const uint8_t **pp, int32_t index)
{
	const uint8_t *p = *pp;
	uint64_t len = varint_fast(&p);
	/* also when len is VARINT_BAD or (bit 0) negative */
	if (__builtin_expect((len & 1) || (len >> 1) > (size_t)(w->end - p), 0))
		return record_slow(w, pp, index);
	const uint8_t *end = p + (len >> 1);
	bool bad = false;
	p++; /* attributes: none are defined */
	uint64_t delta = varlong_fast(&p, &bad);
	uint64_t offset_delta = varint_fast(&p);
	uint64_t key = varint_fast(&p);
	if (__builtin_expect(bad || offset_delta != (uint64_t)(uint32_t)index << 1, 0))
		return record_slow(w, pp, index);
	if (key & 1) {
		if (key != 1 || w->need_key)
			return record_slow(w, pp, index);
		key = 0;
	}
	/* the value's length must be within the batch to be read at all; within the record is seen
	 * below */
	if (__builtin_expect((uint64_t)(w->end - p) < (key >> 1) + VARINT_MAX, 0))
		return record_slow(w, pp, index);
	p += key >> 1;
	uint64_t value = varint_fast(&p);
	value = value == 1 ? 0 : value;
	if (__builtin_expect((value & 1) || p > end || value >> 1 >= (uint64_t)(end - p), 0))
		return record_slow(w, pp, index);
	p += value >> 1;
	if (__builtin_expect(*p != 0 || p + 1 != end, 0)) {
		if (!headers_ok(p, end))
			return malformed(w, WHY_HEADERS);
	}
	*pp = end;
	if (__builtin_expect(
		    !timestamp_ok(w, index,
			    (int64_t)((uint64_t)w->base_timestamp + (uint64_t)unzigzag(delta))),
		    0)) {
		w->why = WHY_TIMESTAMP;
		return KE_INVALID_TIMESTAMP;
	}
	return KE_NONE;
}

/* All records: exactly `count` of them in r. */
static int16_t walk_records(struct walk *state, struct rd r, int32_t count, int32_t *index)
{
	struct walk w = *state; /* a local whose fields can live in registers */
	const uint8_t *p = r.p;
	int16_t err = KE_NONE;
	int32_t i = 0;
	w.end = r.end;
	for (; i < count && err == KE_NONE; i++) {
		if (__builtin_expect(w.end - p >= HEAD_MAX, 1))
			err = record_fast(&w, &p, i);
		else
			err = record_slow(&w, &p, i);
	}
	*index = err == KE_NONE ? -1 : i - 1;
	if (err == KE_NONE && p != w.end)
		err = malformed(&w, "bytes are left after the last record");
	*state = w;
	return err;
}

/* ---- the batch ---- */

static int16_t reject(struct batch_info *out, int16_t err, const char *why)
{
	out->error_message = why;
	return err;
}

/* That [p, p + len) is one batch of magic 2, by its length field. */
static int16_t check_frame(const uint8_t *p, uint32_t len, struct batch_info *out)
{
	if (len <= 16)
		return reject(out, KE_INVALID_RECORD, "no record batch");
	if (batch_magic(p) != BATCH_MAGIC)
		return reject(out, KE_INVALID_RECORD, "record batch is not of magic 2");
	if (batch_length(p) < (int32_t)(BATCH_HEADER_SIZE - BATCH_OVERHEAD))
		return reject(out, KE_CORRUPT_MESSAGE, "length of the record batch is too small");
	uint64_t size = (uint64_t)batch_length(p) + BATCH_OVERHEAD;
	if (size > len)
		return reject(out, KE_INVALID_RECORD, "record batch is cut short");
	if (size < len)
		return reject(out, KE_INVALID_RECORD, "more than one record batch");
	return KE_NONE;
}

static void read_header(const uint8_t *p, uint32_t len, struct batch_info *out)
{
	out->size = len;
	out->count = batch_count(p);
	out->attributes = batch_attributes(p);
	out->codec = batch_codec(p);
	out->producer_id = batch_producer_id(p);
	out->producer_epoch = batch_producer_epoch(p);
	out->base_sequence = batch_base_sequence(p);
	out->max_timestamp = batch_max_timestamp(p);
	out->max_timestamp_delta = batch_last_offset_delta(p);
}

static int16_t check_header(
	const uint8_t *p, const struct batch_limits *lim, struct batch_info *out)
{
	if ((unsigned)out->codec >= CODEC_COUNT)
		return reject(out, KE_UNSUPPORTED_COMPRESSION_TYPE, "compression type is unknown");
	if (out->codec == CODEC_ZSTD && lim->no_zstd)
		return reject(out, KE_UNSUPPORTED_COMPRESSION_TYPE, "zstd needs Produce version 7");
	if (batch_base_offset(p) != 0)
		return reject(out, KE_INVALID_RECORD, "base offset of the record batch is not 0");
	if (out->size > lim->max_bytes)
		return reject(
			out, KE_MESSAGE_TOO_LARGE, "record batch is larger than max.message.bytes");
	if (!lim->crc_checked && !batch_crc_ok(p))
		return reject(out, KE_CORRUPT_MESSAGE, "record batch fails its CRC");
	if (out->count <= 0)
		return reject(out, KE_INVALID_RECORD, "record count is not positive");
	if (batch_last_offset_delta(p) != out->count - 1)
		return reject(
			out, KE_INVALID_RECORD, "last offset delta and record count do not agree");
	if (out->attributes & BATCH_ATTR_CONTROL)
		return reject(out, KE_INVALID_RECORD, "clients may not write control records");
	if (out->producer_id >= 0 && out->base_sequence < 0)
		return reject(out, KE_INVALID_RECORD, "producer id without a sequence number");
	if (out->attributes & BATCH_ATTR_LOG_APPEND_TIME) {
		out->error_index = 0;
		return reject(out, KE_INVALID_TIMESTAMP,
			"producer set the timestamp type to LogAppendTime");
	}
	return KE_NONE;
}

/* Bounds of record timestamps, as in Kafka: now - ts <= before, ts - now <= after. */
static void set_bounds(struct walk *w, const struct batch_limits *lim)
{
	if (lim->log_append_time) { /* timestamps of the client do not count */
		w->low = 0;
		w->range = UINT64_MAX;
		return;
	}
	int64_t low, high;
	if (__builtin_sub_overflow(lim->now_ms, lim->before_max_ms, &low))
		low = INT64_MIN;
	if (__builtin_add_overflow(lim->now_ms, lim->after_max_ms, &high))
		high = INT64_MAX;
	if (lim->before_max_ms == INT64_MAX)
		low = INT64_MIN;
	w->low = (uint64_t)low;
	w->range = (uint64_t)high - (uint64_t)low;
}

/* Whether the header alone is enough, where the broker is set to trust it. */
static bool header_suffices(
	const struct walk *w, const struct batch_limits *lim, const struct batch_info *info)
{
	return lim->trust_compressed && info->codec != CODEC_NONE && !lim->compacted &&
	       (uint64_t)info->max_timestamp - w->low <= w->range;
}

int16_t batch_validate(const uint8_t *p, uint32_t len, const struct batch_limits *lim,
	const struct batch_scratch *scratch, struct batch_info *out)
{
	*out = (struct batch_info){.error_index = -1};
	int16_t err = check_frame(p, len, out);
	if (err != KE_NONE)
		return err;
	read_header(p, len, out);
	err = check_header(p, lim, out);
	if (err != KE_NONE)
		return err;
	struct walk w = {
		.base_timestamp = batch_base_timestamp(p),
		.need_key = lim->compacted,
		.max_timestamp = INT64_MIN,
	};
	set_bounds(&w, lim);
	if (header_suffices(&w, lim, out))
		return KE_NONE;
	struct rd records;
	const char *why;
	err = batch_records(p, len, scratch, &records, &why);
	if (err != KE_NONE)
		return reject(out, err, why);
	if ((uint64_t)out->count * (RECORD_MIN + 1) > rd_left(&records))
		return reject(
			out, KE_INVALID_RECORD, "record batch holds fewer records than it says");
	err = walk_records(&w, records, out->count, &out->error_index);
	if (err != KE_NONE)
		return reject(out, err, w.why);
	out->walked = true;
	out->max_timestamp = w.max_timestamp;
	out->max_timestamp_delta = w.max_index;
	return KE_NONE;
}
