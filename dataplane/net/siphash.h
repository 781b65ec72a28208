/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_NET_SIPHASH_H
#define MR_NET_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

/*
 * SipHash-c-d (Aumasson, Bernstein 2012), keyed: a peer that does not know the key can neither
 * guess our initial sequence numbers (RFC 6528) nor choose addresses that collide in the flow
 * table.
 */
struct siphash_key {
	uint64_t k0, k1;
};

static inline struct siphash_key siphash_key_of(const uint8_t bytes[16])
{
	return (struct siphash_key){.k0 = le64_get(bytes), .k1 = le64_get(bytes + 8)};
}

#define SIPHASH_ROTL(x, b) (((x) << (b)) | ((x) >> (64 - (b))))

static inline void siphash_rounds(uint64_t v[4], unsigned n)
{
	while (n--) {
		v[0] += v[1];
		v[2] += v[3];
		v[1] = SIPHASH_ROTL(v[1], 13) ^ v[0];
		v[3] = SIPHASH_ROTL(v[3], 16) ^ v[2];
		v[0] = SIPHASH_ROTL(v[0], 32);
		v[2] += v[1];
		v[0] += v[3];
		v[1] = SIPHASH_ROTL(v[1], 17) ^ v[2];
		v[3] = SIPHASH_ROTL(v[3], 21) ^ v[0];
		v[2] = SIPHASH_ROTL(v[2], 32);
	}
}

/* Hash of len bytes with c rounds per word and d at the end (2, 4: the standard; 1, 3: tables). */
static inline uint64_t siphash(
	struct siphash_key k, unsigned c, unsigned d, const void *bytes, size_t len)
{
	uint64_t v[4] = {k.k0 ^ 0x736f6d6570736575ull, k.k1 ^ 0x646f72616e646f6dull,
		k.k0 ^ 0x6c7967656e657261ull, k.k1 ^ 0x7465646279746573ull};
	const uint8_t *p = bytes;
	uint64_t last = (uint64_t)len << 56;
	for (; len >= 8; p += 8, len -= 8) {
		uint64_t m = le64_get(p);
		v[3] ^= m;
		siphash_rounds(v, c);
		v[0] ^= m;
	}
	for (size_t i = 0; i < len; i++)
		last |= (uint64_t)p[i] << (8 * i);
	v[3] ^= last;
	siphash_rounds(v, c);
	v[0] ^= last;
	v[2] ^= 0xff;
	siphash_rounds(v, d);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

#endif
