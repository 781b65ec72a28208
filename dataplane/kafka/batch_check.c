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

/* Attributes, two deltas, two lengths, header count: one byte each. */
#define RECORD_MIN 6u

#define WHY_NOT_A_RECORD "record cannot be parsed"
#define WHY_OFFSET "offset delta of the record is not its position in the batch"
#define WHY_NO_KEY "compacted topic needs a key in every record"
#define WHY_TIMESTAMP "timestamp of the record is out of bounds"
#define WHY_HEADERS "headers of the record cannot be parsed"

static int16_t malformed(struct walk *w, const char *why)
{
	w->why = why;
	return KE_INVALID_RECORD;
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
static bool timestamp_ok(struct walk *w, int32_t index, int64_t timestamp)
{
	if (timestamp > w->max_timestamp) {
		w->max_timestamp = timestamp;
		w->max_index = index;
	}
	return (uint64_t)timestamp - w->low <= w->range || timestamp == BATCH_NO_TIMESTAMP;
}

/*
 * One record at p, all reads bounded; *next is what follows it. For the last records of a batch,
 * for those that the fast path gives up on, and to say what is wrong.
 */
static __attribute__((noinline)) int16_t record_slow(
	struct walk *w, const uint8_t *p, int32_t index, const uint8_t **next)
{
	struct rd all = rd_of(p, (size_t)(w->end - p));
	int32_t len = rd_varint(&all);
	const uint8_t *body = len >= 0 ? rd_take(&all, (size_t)len) : NULL;
	if (!body || all.bad)
		return malformed(w, WHY_NOT_A_RECORD);
	struct rd r = rd_of(body, (size_t)len);
	rd_u8(&r); /* attributes: none are defined */
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
	*next = all.p;
	if (!timestamp_ok(w, index, (int64_t)((uint64_t)w->base_timestamp + delta))) {
		w->why = WHY_TIMESTAMP;
		return KE_INVALID_TIMESTAMP;
	}
	return KE_NONE;
}

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/*
 * Unsigned varint of up to three bytes, unchecked; false for a longer one. Three bytes hold lengths
 * up to 1 MiB and 17 minutes of timestamp delta.
 */
ALWAYS_INLINE bool varint3(const uint8_t **pp, uint32_t *v)
{
	const uint8_t *p = *pp;
	uint32_t b0 = p[0];
	if (__builtin_expect(b0 < 0x80, 1)) {
		*v = b0;
		*pp = p + 1;
		return true;
	}
	uint32_t b1 = p[1];
	if (__builtin_expect(b1 < 0x80, 1)) {
		*v = b0 + (b1 << 7) - 0x80;
		*pp = p + 2;
		return true;
	}
	uint32_t b2 = p[2];
	*v = b0 + (b1 << 7) + (b2 << 14) - 0x80 - (0x80 << 7);
	*pp = p + 3;
	return b2 < 0x80;
}

/* The bytes of the offset delta that comes next: compared, not decoded. */
struct expected {
	uint32_t bytes; /* the varint, first byte lowest */
	uint32_t mask;
	uint32_t len;
};

static struct expected expected_of(int32_t index)
{
	uint32_t v = (uint32_t)index << 1;
	if (v < 1u << 7)
		return (struct expected){v, 0xff, 1};
	if (v < 1u << 14)
		return (struct expected){(v & 0x7f) | 0x80 | v >> 7 << 8, 0xffff, 2};
	if (v < 1u << 21)
		return (struct expected){
			(v & 0x7f) | (v >> 7 & 0x7f) << 8 | 0x8080 | v >> 14 << 16, 0xffffff, 3};
	return (struct expected){1, 0, 0}; /* no bytes are equal to it: the slow path decodes */
}

/* What record_fast may read before it looks at the end: five varints, attributes, and one byte
 * more. */
#define FAST_MIN 20

/*
 * The record at p, when it is a plain one; NULL gives up (record_slow then says what it is).
 * FAST_MIN bytes are left. null_key: how a null key that is allowed looks.
 */
ALWAYS_INLINE const uint8_t *record_fast(const uint8_t *p, const uint8_t *end,
	struct expected offset, uint32_t null_key, uint32_t *delta)
{
	uint32_t len, key, value;
	if (__builtin_expect(!varint3(&p, &len), 0))
		return NULL;
	const uint8_t *body = p;
	p++; /* attributes */
	if (__builtin_expect(!varint3(&p, delta), 0))
		return NULL;
	if (__builtin_expect((le32_get(p) & offset.mask) != offset.bytes, 0))
		return NULL;
	p += offset.len;
	if (__builtin_expect(!varint3(&p, &key), 0))
		return NULL;
	if (key != null_key) {
		/* the value's length must be in the batch to be read; in the record: the end is
		 * seen below */
		if (__builtin_expect((key & 1) || end - p < (int32_t)(key >> 1) + 4, 0))
			return NULL;
		p += key >> 1;
	}
	if (__builtin_expect(!varint3(&p, &value), 0))
		return NULL;
	if (__builtin_expect((value & 1) && value != 1, 0)) /* 1, null, is of length 1 >> 1 */
		return NULL;
	p += value >> 1;
	/* the usual end: no headers, and the record's length says so too */
	if (__builtin_expect((size_t)(p + 1 - body) * 2 == len && p < end && *p == 0, 1))
		return p + 1;
	const uint8_t *next = body + (len >> 1);
	return !(len & 1) && next <= end && p < next && headers_ok(p, next) ? next : NULL;
}

static inline int64_t add_delta(int64_t base, uint32_t zigzag)
{
	uint64_t delta = (uint64_t)(zigzag >> 1) ^ -(uint64_t)(zigzag & 1);
	return (int64_t)((uint64_t)base + delta);
}

/* All records: exactly `count` of them in r. *index: the one that is bad, -1 when none is. */
static int16_t walk_records(struct walk *w, struct rd r, int32_t count, int32_t *index)
{
	const uint8_t *p = r.p;
	const uint8_t *const end = r.end;
	const uint8_t *const fast_end = rd_left(&r) >= FAST_MIN ? end - FAST_MIN : NULL;
	const uint32_t null_key =
		w->need_key ? UINT32_MAX : 1; /* no varint of three bytes, or -1 */
	struct expected offset = expected_of(0);
	uint32_t last_delta = UINT32_MAX; /* none */
	w->end = end;
	for (int32_t i = 0; i < count;) {
		uint32_t delta = last_delta;
		const uint8_t *next = NULL;
		if (__builtin_expect(p <= fast_end, 1))
			next = record_fast(p, end, offset, null_key, &delta);
		/* most records have the timestamp of the one before */
		if (__builtin_expect(next && delta != last_delta, 0)) {
			if (!timestamp_ok(w, i, add_delta(w->base_timestamp, delta)))
				next = NULL;
			last_delta = delta;
		}
		if (__builtin_expect(!next, 0)) {
			int16_t err = record_slow(w, p, i, &next);
			if (err != KE_NONE) {
				*index = i;
				return err;
			}
		}
		p = next;
		offset.bytes += 2;
		if (__builtin_expect(++i % 64 == 0, 0)) /* else only the low seven bits change */
			offset = expected_of(i);
	}
	*index = -1;
	return p == end ? KE_NONE : malformed(w, "bytes are left after the last record");
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
