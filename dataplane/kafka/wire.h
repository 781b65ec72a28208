/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_KAFKA_WIRE_H
#define MR_KAFKA_WIRE_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/lblock.h"
#include "base/uuid.h"

/*
 * The field types of Kafka's protocol (KIP-482 for the "flexible", compact forms), which the
 * generated codecs of messages.h are made of. Pure: no allocation but from the arena that is given.
 */

enum kp_err {
	KP_E_MALFORMED = -1, /* the bytes are not such a message */
	KP_E_NOMEM = -2,     /* the arena is used up */
	KP_E_VERSION = -3,   /* no such version of the message */
};

/* STRING / COMPACT_STRING. A slice, not terminated. len -1: null. */
struct kstr {
	const char *p;
	int32_t len;
};

/* BYTES / COMPACT_BYTES / RECORDS of a request. A slice. len -1: null. */
struct kbytes {
	const uint8_t *p;
	int32_t len;
};

/*
 * RECORDS of a response: `len` bytes, either at `flat` or, when flat is NULL, the bytes of `span`
 * (span.len == len), which are sent from where they are. All zero: empty (not null). The log blocks
 * are borrowed: who fills this in holds the references until the bytes have been sent.
 */
struct krecords {
	uint32_t len;
	struct lspan span;
	const uint8_t *flat;
};

#define KSTR_NULL ((struct kstr){.p = NULL, .len = -1})
#define KBYTES_NULL ((struct kbytes){.p = NULL, .len = -1})

/* Borrows a C string; NULL gives null. */
static inline struct kstr kstr_of(const char *s)
{
	return s ? (struct kstr){.p = s, .len = (int32_t)strlen(s)} : KSTR_NULL;
}
static inline bool kstr_equal(struct kstr a, struct kstr b)
{
	return a.len == b.len && (a.len <= 0 || memcmp(a.p, b.p, (size_t)a.len) == 0);
}
/* Copies s, cut to size - 1 bytes and terminated; null gives "". */
static inline void kstr_copy(struct kstr s, char *dst, size_t size)
{
	size_t n = s.len > 0 ? min_of((size_t)s.len, size - 1) : 0;
	if (n)
		memcpy(dst, s.p, n);
	dst[n] = 0;
}

/* ---- writer ---- */

/* The bytes of `span` belong between the written bytes [..at) and [at..). */
struct kwr_splice {
	uint32_t at;
	struct lspan span;
};

/*
 * Writer of a response whose record data is not copied: a RECORDS field that lies in log blocks
 * leaves only its length in `w`, and an entry in `splices`. What is to be sent is kwr_gather's
 * list. With max_splices == 0, or when they are used up, the bytes are copied into `w`.
 */
struct kwr {
	struct wr w;
	struct kwr_splice *splices; /* borrowed */
	uint32_t n_splices;
	uint32_t max_splices;
	uint32_t spliced_bytes;
};

/* A writer into borrowed memory that copies records. */
static inline struct kwr kwr_of(void *p, size_t size)
{
	return (struct kwr){.w = wr_of(p, size)};
}
/* A writer into borrowed memory that refers to up to max record fields in place. */
static inline struct kwr kwr_of_splices(
	void *p, size_t size, struct kwr_splice *splices, uint32_t max)
{
	return (struct kwr){.w = wr_of(p, size), .splices = splices, .max_splices = max};
}
/* A writer that only counts: size in .w.need. */
static inline struct kwr kwr_counter(void)
{
	return (struct kwr){.w = {.full = true}};
}
/* Bytes of the message so far, spliced ones included. */
static inline size_t kwr_len(const struct kwr *k)
{
	return wr_len(&k->w) + k->spliced_bytes;
}

/* A run of bytes to send (borrowed). */
struct kpiece {
	const uint8_t *p;
	uint32_t len;
};
/*
 * The message as a list of runs: written bytes, block bytes, written bytes ... Fills up to max of
 * out and returns how many there are; more than max means that out is cut short. Empty runs are
 * left out.
 */
uint32_t kwr_gather(const struct kwr *k, struct kpiece *out, uint32_t max);
/* Writes the bytes of r without length: as a splice, or copied. */
void kwr_records(struct kwr *k, const struct krecords *r);

/* ---- fields: read ---- */

/* Length of a compact field; -1 for null. */
static inline int32_t kp_rd_compact_len(struct rd *r)
{
	uint32_t n = rd_uvarint32(r);
	if (__builtin_expect(n > (uint32_t)INT32_MAX, 0)) {
		rd_fail(r);
		return -1;
	}
	return (int32_t)n - 1;
}
static inline bool kp_rd_bool(struct rd *r)
{
	return rd_u8(r) != 0;
}
static inline struct uuid kp_rd_uuid(struct rd *r)
{
	struct uuid u = {{0}};
	const uint8_t *p = rd_take(r, sizeof(u.b));
	if (p)
		memcpy(u.b, p, sizeof(u.b));
	return u;
}
/* A string has at most 32767 bytes in either form, as in Kafka. */
static inline struct kstr kp_rd_string(struct rd *r, bool flex, bool nullable)
{
	int32_t n = flex ? kp_rd_compact_len(r) : (int16_t)rd_be16(r);
	if (__builtin_expect(n < 0 || n > INT16_MAX, 0)) {
		if (n != -1 || !nullable)
			rd_fail(r);
		return KSTR_NULL;
	}
	const uint8_t *p = rd_take(r, (size_t)n);
	return (struct kstr){.p = (const char *)p, .len = p ? n : -1};
}
static inline struct kbytes kp_rd_bytes(struct rd *r, bool flex, bool nullable)
{
	int32_t n = flex ? kp_rd_compact_len(r) : (int32_t)rd_be32(r);
	if (__builtin_expect(n < 0, 0)) {
		if (n != -1 || !nullable)
			rd_fail(r);
		return KBYTES_NULL;
	}
	const uint8_t *p = rd_take(r, (size_t)n);
	return (struct kbytes){.p = p, .len = p ? n : -1};
}
/* Null reads as empty. */
static inline struct krecords kp_rd_records(struct rd *r, bool flex, bool nullable)
{
	struct kbytes b = kp_rd_bytes(r, flex, nullable);
	return (struct krecords){
		.len = b.len > 0 ? (uint32_t)b.len : 0, .flat = b.len > 0 ? b.p : NULL};
}
/*
 * Count of an array, -1 for null. Each element takes at least min_size bytes, so a count that the
 * bytes left cannot hold is malformed before anything is allocated for it.
 */
static inline int32_t kp_rd_count(struct rd *r, bool flex, bool nullable, uint32_t min_size)
{
	int32_t n = flex ? kp_rd_compact_len(r) : (int32_t)rd_be32(r);
	if (__builtin_expect(n < 0, 0)) {
		if (n != -1 || !nullable)
			rd_fail(r);
		return -1;
	}
	if (__builtin_expect((size_t)n > rd_left(r) / min_size, 0)) {
		rd_fail(r);
		return -1;
	}
	return n;
}
/* Next tagged field: its tag, and its bytes as a reader of their own. */
static inline double kp_rd_double(struct rd *r)
{
	uint64_t bits = rd_be64(r);
	double d;
	memcpy(&d, &bits, sizeof(d));
	return d;
}
static inline void kp_wr_double(struct wr *w, double d)
{
	uint64_t bits;
	memcpy(&bits, &d, sizeof(bits));
	wr_be64(w, bits);
}
/* A struct that may be null: how many follow, 0 or 1. */
static inline int32_t kp_rd_maybe(struct rd *r)
{
	int8_t n = (int8_t)rd_u8(r);
	if (n != 1 && n != -1)
		r->bad = true;
	return n == 1 && !r->bad;
}
static inline int32_t kp_wr_maybe(struct wr *w, int32_t n)
{
	CHECK(n <= 1);
	wr_u8(w, n > 0 ? 1 : 0xff);
	return n > 0;
}
static inline uint32_t kp_rd_tag(struct rd *r, struct rd *field)
{
	uint32_t tag = rd_uvarint32(r);
	uint32_t n = rd_uvarint32(r);
	const uint8_t *p = rd_take(r, n);
	*field = rd_of(p ? p : r->end, p ? n : 0);
	return tag;
}
/* After a known tagged field: it must have been read to its end, and well. */
static inline void kp_rd_tag_end(struct rd *r, const struct rd *field)
{
	if (field->bad || field->p != field->end)
		rd_fail(r);
}
/* Skips a tagged-field section, none of whose fields is known. */
static inline void kp_rd_tags_skip(struct rd *r)
{
	for (uint32_t n = rd_uvarint32(r); n > 0 && !r->bad; n--) {
		struct rd field;
		kp_rd_tag(r, &field);
	}
}

/* ---- fields: write ---- */

static inline void kp_wr_bool(struct wr *w, bool v)
{
	wr_u8(w, v ? 1 : 0);
}
static inline void kp_wr_uuid(struct wr *w, const struct uuid *u)
{
	wr_bytes(w, u->b, sizeof(u->b));
}
/* Length of a string, bytes or array, -1 for null. Null where the version forbids it goes out as
 * empty. */
static inline int32_t kp_wr_len16(struct wr *w, bool flex, bool nullable, int32_t n)
{
	if (n < 0)
		n = nullable ? -1 : 0;
	if (flex)
		wr_uvarint(w, (uint32_t)(n + 1));
	else
		wr_be16(w, (uint16_t)n);
	return n;
}
static inline int32_t kp_wr_len32(struct wr *w, bool flex, bool nullable, int32_t n)
{
	if (n < 0)
		n = nullable ? -1 : 0;
	if (flex)
		wr_uvarint(w, (uint32_t)n + 1u);
	else
		wr_be32(w, (uint32_t)n);
	return n;
}
/* Longer than 32767 bytes is our bug: strings that we make or pass on are shorter. */
static inline void kp_wr_string(struct wr *w, bool flex, bool nullable, struct kstr s)
{
	CHECK(s.len <= INT16_MAX);
	int32_t n = kp_wr_len16(w, flex, nullable, s.len);
	if (n > 0)
		wr_bytes(w, s.p, (size_t)n);
}
static inline void kp_wr_bytes(struct wr *w, bool flex, bool nullable, struct kbytes b)
{
	int32_t n = kp_wr_len32(w, flex, nullable, b.len);
	if (n > 0)
		wr_bytes(w, b.p, (size_t)n);
}
static inline void kp_wr_records(struct kwr *k, bool flex, const struct krecords *r)
{
	CHECK(r->len <= INT32_MAX);
	kp_wr_len32(&k->w, flex, false, (int32_t)r->len);
	if (r->len)
		kwr_records(k, r);
}

/* ---- what the messages are made of, for tests, tools and printing ---- */

enum kp_type {
	KP_BOOL,
	KP_INT8,
	KP_INT16,
	KP_INT32,
	KP_INT64,
	KP_FLOAT64,
	KP_UUID,
	KP_STRING,
	KP_BYTES,
	KP_RECORDS,
	KP_STRUCT,
};

struct kp_desc;

/* One field of a generated struct. */
struct kp_field {
	const char *name;
	enum kp_type type; /* of an element, for an array */
	bool array;	   /* a pointer at `offset`, an int32_t count at `count_offset` */
	bool maybe;	   /* an array of at most one: a struct that may be null */
	int16_t min;	   /* versions that have the field */
	int16_t max;
	int16_t null_min; /* versions in which it may be null; none: 1 and 0 */
	int16_t null_max;
	int16_t tag; /* -1: not a tagged field */
	uint32_t offset;
	uint32_t count_offset;
	const struct kp_desc *sub; /* KP_STRUCT */
};

/* One generated struct. */
struct kp_desc {
	const char *name;
	size_t size;
	const struct kp_field *fields;
	uint32_t n_fields;
	void (*set_default)(void *x);
};

/* Request or response of an API. */
struct kp_side {
	const struct kp_desc *desc;
	int (*decode)(struct rd *r, int16_t version, void *out, struct arena *a);
	void (*encode)(struct kwr *w, int16_t version, const void *in);
};

/* All that is generated for one API. */
struct kp_message {
	int16_t key;
	const char *name;
	int16_t min; /* versions of the codec */
	int16_t max;
	int16_t flexible; /* first flexible version */
	struct kp_side request;
	struct kp_side response;
};

#endif
