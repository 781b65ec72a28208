/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/format/rebatch.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "kafka/batch.h"

_Static_assert(REBATCH_HEAD == BATCH_HEADER_SIZE, "one format");

/* Where the fields begin that a batch without some of its records has anew. */
#define AT_LENGTH 8u
#define AT_ATTRIBUTES 21u
#define AT_BASE_TIMESTAMP 27u
#define AT_MAX_TIMESTAMP 35u
#define AT_COUNT 57u

/* A record with a new timestamp delta is at most this much longer: the delta, and its own length.
 */
#define REBASE_GROWTH (9u + 1u)

struct rebatch {
	struct batch_scratch inflate; /* decompressed records; later, rebased ones */
	uint8_t *build;		      /* room for a head, then the records that stay */
	uint8_t *pack;		      /* a head and compressed records */
	uint32_t area;		      /* size of each of the three */
	/* the batch at hand */
	const uint8_t *batch;
	const uint8_t *records;
	uint32_t length; /* of the records */
	struct rd left;
	bool append_time;
	int32_t taken;
	int32_t kept;
	int64_t kept_max_timestamp;
	const uint8_t *run; /* kept records that have not been copied yet: [run, run_end) */
	const uint8_t *run_end;
	uint32_t built; /* bytes in build, behind the head */
};

bool rebatch_head(const uint8_t *p, uint64_t room, struct rebatch_head *out)
{
	uint16_t attributes = batch_attributes(p);
	int32_t delta = batch_last_offset_delta(p);
	int32_t count = batch_count(p);
	*out = (struct rebatch_head){
		.size = batch_size(p),
		.count = count,
		.base_offset = batch_base_offset(p),
		.last_offset = batch_last_offset(p),
		.max_timestamp = batch_max_timestamp(p),
		.producer_id = batch_producer_id(p),
		.delete_horizon_ms =
			attributes & BATCH_ATTR_DELETE_HORIZON ? batch_base_timestamp(p) : -1,
		.leader_epoch = batch_leader_epoch(p),
		.special = attributes & (BATCH_ATTR_CONTROL | BATCH_ATTR_TRANSACTIONAL),
	};
	return out->size != 0 && out->size <= room && batch_magic(p) == BATCH_MAGIC && delta >= 0 &&
	       out->base_offset >= 0 && out->base_offset < INT64_MAX - delta && count >= 0 &&
	       count <= (int64_t)delta + 1;
}

bool rebatch_crc_ok(const uint8_t *p)
{
	return batch_crc_ok(p);
}

struct rebatch *rebatch_create(uint8_t *mem, size_t size)
{
	struct rebatch *r = calloc(1, sizeof(*r));
	if (!r)
		return NULL;
	r->area = (uint32_t)align_down(min_of(size / 3, (size_t)INT32_MAX), (size_t)64);
	CHECK(r->area > REBATCH_HEAD);
	r->inflate = (struct batch_scratch){.buf = mem, .size = r->area, .codec = codec_open()};
	r->build = mem + r->area;
	r->pack = r->build + r->area;
	if (!r->inflate.codec) {
		free(r);
		return NULL;
	}
	return r;
}

void rebatch_destroy(struct rebatch *r)
{
	if (!r)
		return;
	codec_close(r->inflate.codec);
	free(r);
}

/* ---- reading ---- */

/* The bytes of the records; false: they cannot be had. */
static bool load_records(struct rebatch *r, const uint8_t *p)
{
	r->records = p + REBATCH_HEAD;
	r->length = batch_size(p) - REBATCH_HEAD;
	if (batch_codec(p) == CODEC_NONE)
		return r->length <= r->area - REBATCH_HEAD;
	if (batch_count(p) == 0)
		return false; /* a batch that has lost its records has lost its codec, too */
	int64_t n = codec_decompress(r->inflate.codec, batch_codec(p), r->records, r->length,
		r->inflate.buf, r->area - REBATCH_HEAD);
	if (n < 0)
		return false;
	r->records = r->inflate.buf;
	r->length = (uint32_t)n;
	return true;
}

/* A key or value: its length (-1: null) in *len. Broken: the reader is bad. */
static const uint8_t *field(struct rd *f, int32_t *len)
{
	*len = rd_varint(f);
	if (*len >= 0)
		return rd_take(f, (size_t)*len);
	if (*len != -1)
		rd_fail(f);
	return NULL;
}

/* Takes one record from r->left. False: it is broken. */
static bool take(struct rebatch *r, struct rebatch_record *out)
{
	int32_t value_len;
	out->begin = r->left.p;
	int32_t len = rd_varint(&r->left);
	const uint8_t *body = len >= 0 ? rd_take(&r->left, (size_t)len) : NULL;
	if (!body || r->left.bad)
		return false;
	struct rd f = rd_of(body, (size_t)len);
	rd_u8(&f);
	uint64_t timestamp = (uint64_t)batch_base_timestamp(r->batch) + (uint64_t)rd_varlong(&f);
	int64_t delta = rd_varint(&f);
	out->key = field(&f, &out->key_len);
	field(&f, &value_len);
	int32_t headers = rd_varint(&f);
	out->tombstone = value_len < 0;
	out->offset = batch_base_offset(r->batch) + delta;
	out->timestamp = r->append_time ? batch_max_timestamp(r->batch) : (int64_t)timestamp;
	out->end = r->left.p;
	return !f.bad && headers >= 0 && delta >= 0 && delta <= batch_last_offset_delta(r->batch);
}

bool rebatch_load(struct rebatch *r, const uint8_t *p)
{
	struct rebatch_record rec;
	int64_t before = -1;
	r->batch = p;
	r->append_time = batch_is_log_append_time(p);
	r->taken = r->kept = 0;
	r->run = r->run_end = NULL;
	r->built = 0;
	r->kept_max_timestamp = BATCH_NO_TIMESTAMP;
	if (!load_records(r, p))
		return false;
	r->left = rd_of(r->records, r->length);
	for (int32_t i = 0; i < batch_count(p); i++) {
		if (!take(r, &rec) || rec.offset <= before)
			return false;
		before = rec.offset;
	}
	if (rd_left(&r->left) > 0)
		return false;
	r->left = rd_of(r->records, r->length);
	return true;
}

uint32_t rebatch_loaded(const struct rebatch *r)
{
	return r->length;
}

bool rebatch_next(struct rebatch *r, struct rebatch_record *out)
{
	if (r->taken == batch_count(r->batch))
		return false;
	r->taken++;
	bool ok = take(r, out);
	CHECK(ok); /* rebatch_load has been here */
	return true;
}

/* ---- writing ---- */

/* Copies the run of kept records behind what has been built. */
static void flush_run(struct rebatch *r)
{
	uint32_t n = (uint32_t)(r->run_end - r->run);
	CHECK(n <= r->area - REBATCH_HEAD - r->built); /* no longer than the records loaded */
	if (n)
		memcpy(r->build + REBATCH_HEAD + r->built, r->run, n);
	r->built += n;
	r->run = r->run_end = NULL;
}

void rebatch_keep(struct rebatch *r, const struct rebatch_record *rec)
{
	if (rec->begin != r->run_end) {
		flush_run(r);
		r->run = rec->begin;
	}
	r->run_end = rec->end;
	r->kept_max_timestamp =
		r->kept ? max_of(r->kept_max_timestamp, rec->timestamp) : rec->timestamp;
	r->kept++;
}

/* The kept records with their deltas taken from horizon_ms, in the inflate area; their length, 0:
 * no room. */
static uint32_t rebase(struct rebatch *r, int64_t horizon_ms)
{
	struct rd in = rd_of(r->build + REBATCH_HEAD, r->built);
	struct wr w = wr_of(r->inflate.buf + REBATCH_HEAD, r->area - REBATCH_HEAD);
	if ((uint64_t)r->built + (uint64_t)r->kept * REBASE_GROWTH > r->area - REBATCH_HEAD)
		return 0;
	uint64_t shift = (uint64_t)batch_base_timestamp(r->batch) - (uint64_t)horizon_ms;
	while (rd_left(&in) > 0) {
		int32_t len = rd_varint(&in);
		struct rd f = rd_of(rd_take(&in, (size_t)len), (size_t)len);
		uint8_t attributes = rd_u8(&f);
		int64_t delta = (int64_t)((uint64_t)rd_varlong(&f) + shift);
		struct wr counter = {.full = true};
		wr_varlong(&counter, delta);
		wr_varint(&w, (int32_t)(1 + counter.need + rd_left(&f)));
		wr_u8(&w, attributes);
		wr_varlong(&w, delta);
		wr_bytes(&w, f.p, rd_left(&f));
	}
	CHECK(!w.full);
	return (uint32_t)wr_len(&w);
}

enum rebatch_verdict rebatch_finish(
	struct rebatch *r, int64_t horizon_ms, const uint8_t **out, uint32_t *len)
{
	if (r->kept == 0)
		return REBATCH_EMPTY;
	if (r->kept == batch_count(r->batch) && horizon_ms < 0)
		return REBATCH_SAME;
	flush_run(r);
	uint8_t *head = r->build;
	uint32_t n = r->built;
	if (horizon_ms >= 0) {
		head = r->inflate.buf;
		n = rebase(r, horizon_ms);
		if (n == 0)
			return REBATCH_FAILED;
	}
	enum codec codec = batch_codec(r->batch);
	if (codec != CODEC_NONE) {
		int64_t packed = codec_compress(codec, 0, head + REBATCH_HEAD, n,
			r->pack + REBATCH_HEAD, r->area - REBATCH_HEAD);
		if (packed <= 0)
			return REBATCH_FAILED;
		head = r->pack;
		n = (uint32_t)packed;
	}
	memcpy(head, r->batch, REBATCH_HEAD);
	be32_put(head + AT_LENGTH, REBATCH_HEAD - BATCH_OVERHEAD + n);
	be32_put(head + AT_COUNT, (uint32_t)r->kept);
	be64_put(head + AT_MAX_TIMESTAMP, (uint64_t)r->kept_max_timestamp);
	if (horizon_ms >= 0) {
		be16_put(head + AT_ATTRIBUTES, batch_attributes(head) | BATCH_ATTR_DELETE_HORIZON);
		be64_put(head + AT_BASE_TIMESTAMP, (uint64_t)horizon_ms);
	}
	batch_set_crc(head);
	*out = head;
	*len = REBATCH_HEAD + n;
	return REBATCH_CHANGED;
}

void rebatch_empty(const uint8_t *p, uint8_t out[REBATCH_HEAD])
{
	const uint16_t gone = BATCH_ATTR_CODEC | BATCH_ATTR_DELETE_HORIZON;
	memcpy(out, p, REBATCH_HEAD);
	be32_put(out + AT_LENGTH, REBATCH_HEAD - BATCH_OVERHEAD);
	be16_put(out + AT_ATTRIBUTES, batch_attributes(p) & (uint16_t)~gone);
	be64_put(out + AT_BASE_TIMESTAMP, (uint64_t)BATCH_NO_TIMESTAMP);
	be32_put(out + AT_COUNT, 0);
	batch_set_crc(out);
}
