/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_BASE_BYTES_H
#define MR_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/check.h"

/* Unaligned big-endian (network order, Kafka) and little-endian (our disk formats) access. */

static inline uint16_t be16_get(const void *p)
{
	uint16_t v;
	memcpy(&v, p, 2);
	return __builtin_bswap16(v);
}
static inline uint32_t be32_get(const void *p)
{
	uint32_t v;
	memcpy(&v, p, 4);
	return __builtin_bswap32(v);
}
static inline uint64_t be64_get(const void *p)
{
	uint64_t v;
	memcpy(&v, p, 8);
	return __builtin_bswap64(v);
}
static inline void be16_put(void *p, uint16_t v)
{
	v = __builtin_bswap16(v);
	memcpy(p, &v, 2);
}
static inline void be32_put(void *p, uint32_t v)
{
	v = __builtin_bswap32(v);
	memcpy(p, &v, 4);
}
static inline void be64_put(void *p, uint64_t v)
{
	v = __builtin_bswap64(v);
	memcpy(p, &v, 8);
}
static inline uint16_t le16_get(const void *p)
{
	uint16_t v;
	memcpy(&v, p, 2);
	return v;
}
static inline uint32_t le32_get(const void *p)
{
	uint32_t v;
	memcpy(&v, p, 4);
	return v;
}
static inline uint64_t le64_get(const void *p)
{
	uint64_t v;
	memcpy(&v, p, 8);
	return v;
}
static inline void le16_put(void *p, uint16_t v)
{
	memcpy(p, &v, 2);
}
static inline void le32_put(void *p, uint32_t v)
{
	memcpy(p, &v, 4);
}
static inline void le64_put(void *p, uint64_t v)
{
	memcpy(p, &v, 8);
}

/*
 * Bounded reader over borrowed bytes. It can never run past `end`: a read that does not fit sets
 * `bad`, returns zero and moves to the end, so that a decoder may read a whole message and look at
 * `bad` once. A decoder that allocates or loops by a length it read must look before it does.
 */
struct rd {
	const uint8_t *p;
	const uint8_t *end;
	bool bad;
};

static inline struct rd rd_of(const void *p, size_t len)
{
	return (struct rd){.p = (const uint8_t *)p, .end = (const uint8_t *)p + len, .bad = false};
}
/* Bytes not yet read. */
static inline size_t rd_left(const struct rd *r)
{
	return (size_t)(r->end - r->p);
}
/* Marks the input as bad; every later read fails too. */
static inline void rd_fail(struct rd *r)
{
	r->bad = true;
	r->p = r->end;
}
/* Takes n bytes as a slice of the input (borrowed), or NULL when fewer are left. */
static inline const uint8_t *rd_take(struct rd *r, size_t n)
{
	if (__builtin_expect(n > rd_left(r), 0)) {
		rd_fail(r);
		return NULL;
	}
	const uint8_t *p = r->p;
	r->p += n;
	return p;
}
static inline uint8_t rd_u8(struct rd *r)
{
	const uint8_t *p = rd_take(r, 1);
	return p ? *p : 0;
}
static inline uint16_t rd_be16(struct rd *r)
{
	const uint8_t *p = rd_take(r, 2);
	return p ? be16_get(p) : 0;
}
static inline uint32_t rd_be32(struct rd *r)
{
	const uint8_t *p = rd_take(r, 4);
	return p ? be32_get(p) : 0;
}
static inline uint64_t rd_be64(struct rd *r)
{
	const uint8_t *p = rd_take(r, 8);
	return p ? be64_get(p) : 0;
}
/* Unsigned LEB128, at most 10 bytes (Kafka's unsigned varint is at most 5, see rd_uvarint32). */
static inline uint64_t rd_uvarint(struct rd *r)
{
	uint64_t v = 0;
	for (unsigned shift = 0; shift < 64; shift += 7) {
		if (__builtin_expect(r->p == r->end, 0))
			break;
		uint8_t b = *r->p++;
		if (shift == 63 && b > 1)
			break;
		v |= (uint64_t)(b & 0x7f) << shift;
		if (!(b & 0x80))
			return v;
	}
	rd_fail(r);
	return 0;
}
/* Kafka UNSIGNED_VARINT: at most 32 bits. */
static inline uint32_t rd_uvarint32(struct rd *r)
{
	uint64_t v = rd_uvarint(r);
	if (__builtin_expect(v > UINT32_MAX, 0)) {
		rd_fail(r);
		return 0;
	}
	return (uint32_t)v;
}
/* Zigzag-coded VARLONG / VARINT of record fields. */
static inline int64_t rd_varlong(struct rd *r)
{
	uint64_t v = rd_uvarint(r);
	return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}
static inline int32_t rd_varint(struct rd *r)
{
	uint32_t v = rd_uvarint32(r);
	return (int32_t)(v >> 1) ^ -(int32_t)(v & 1);
}

/*
 * Bounded writer into borrowed memory. A write that does not fit sets `full` and writes nothing;
 * the caller looks at `full` once at the end. `need` keeps counting, so that it says how large the
 * memory should have been.
 */
struct wr {
	uint8_t *base;
	uint8_t *p;
	uint8_t *end;
	size_t need;
	bool full;
};

static inline struct wr wr_of(void *p, size_t size)
{
	uint8_t *start = (uint8_t *)p;
	return (struct wr){
		.base = start, .p = start, .end = start + size, .need = 0, .full = false};
}
/* Bytes written so far. */
static inline size_t wr_len(const struct wr *w)
{
	return (size_t)(w->p - w->base);
}
/* Claims n bytes to be filled by the caller, or NULL when they do not fit. */
static inline uint8_t *wr_claim(struct wr *w, size_t n)
{
	w->need += n;
	if (__builtin_expect(w->full || n > (size_t)(w->end - w->p), 0)) {
		w->full = true;
		return NULL;
	}
	uint8_t *p = w->p;
	w->p += n;
	return p;
}
static inline void wr_bytes(struct wr *w, const void *src, size_t n)
{
	uint8_t *p = wr_claim(w, n);
	if (p && n)
		memcpy(p, src, n);
}
static inline void wr_u8(struct wr *w, uint8_t v)
{
	uint8_t *p = wr_claim(w, 1);
	if (p)
		*p = v;
}
static inline void wr_be16(struct wr *w, uint16_t v)
{
	uint8_t *p = wr_claim(w, 2);
	if (p)
		be16_put(p, v);
}
static inline void wr_be32(struct wr *w, uint32_t v)
{
	uint8_t *p = wr_claim(w, 4);
	if (p)
		be32_put(p, v);
}
static inline void wr_be64(struct wr *w, uint64_t v)
{
	uint8_t *p = wr_claim(w, 8);
	if (p)
		be64_put(p, v);
}
static inline void wr_uvarint(struct wr *w, uint64_t v)
{
	while (v >= 0x80) {
		wr_u8(w, (uint8_t)(v | 0x80));
		v >>= 7;
	}
	wr_u8(w, (uint8_t)v);
}
static inline void wr_varlong(struct wr *w, int64_t v)
{
	wr_uvarint(w, ((uint64_t)v << 1) ^ (uint64_t)(v >> 63));
}
static inline void wr_varint(struct wr *w, int32_t v)
{
	wr_uvarint(w, (uint32_t)(((uint32_t)v << 1) ^ (uint32_t)(v >> 31)));
}

#endif
