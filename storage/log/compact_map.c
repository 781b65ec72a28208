/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/log/compact_map.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"

/* ---- SipHash-2-4, 128 bits ---- */

struct sip {
	uint64_t v0, v1, v2, v3;
};

static inline uint64_t rotl(uint64_t x, unsigned n)
{
	return x << n | x >> (64 - n);
}

static inline void sip_rounds(struct sip *s, int n)
{
	for (int i = 0; i < n; i++) {
		s->v0 += s->v1;
		s->v2 += s->v3;
		s->v1 = rotl(s->v1, 13) ^ s->v0;
		s->v3 = rotl(s->v3, 16) ^ s->v2;
		s->v0 = rotl(s->v0, 32);
		s->v2 += s->v1;
		s->v0 += s->v3;
		s->v1 = rotl(s->v1, 17) ^ s->v2;
		s->v3 = rotl(s->v3, 21) ^ s->v0;
		s->v2 = rotl(s->v2, 32);
	}
}

static inline void sip_word(struct sip *s, uint64_t m)
{
	s->v3 ^= m;
	sip_rounds(s, 2);
	s->v0 ^= m;
}

struct compact_hash compact_siphash(const uint8_t seed[16], const void *p, size_t len)
{
	const uint8_t *in = p;
	uint64_t k0 = le64_get(seed), k1 = le64_get(seed + 8);
	struct sip s = {
		.v0 = k0 ^ 0x736f6d6570736575ull,
		.v1 = k1 ^ 0x646f72616e646f6dull ^ 0xee,
		.v2 = k0 ^ 0x6c7967656e657261ull,
		.v3 = k1 ^ 0x7465646279746573ull,
	};
	size_t at = 0;
	for (; at + 8 <= len; at += 8)
		sip_word(&s, le64_get(in + at));
	uint64_t last = (uint64_t)len << 56;
	for (unsigned shift = 0; at < len; at++, shift += 8)
		last |= (uint64_t)in[at] << shift;
	sip_word(&s, last);
	struct compact_hash h;
	s.v2 ^= 0xee;
	sip_rounds(&s, 4);
	h.a = s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
	s.v1 ^= 0xdd;
	sip_rounds(&s, 4);
	h.b = s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
	return h;
}

/* ---- the map ---- */

void compact_map_init(struct compact_map *m, void *mem, size_t size, const uint8_t seed[16])
{
	*m = (struct compact_map){.entries = mem, .capacity = size / sizeof(struct compact_entry)};
	CHECK(m->capacity > 0 && (uintptr_t)mem % _Alignof(struct compact_entry) == 0);
	m->limit = max_of(m->capacity - m->capacity / 10 - 1, (uint64_t)1);
	memcpy(m->seed, seed, sizeof(m->seed));
	/* A seed of its own: the hash of the first one's complement. */
	uint8_t other[16];
	for (size_t i = 0; i < sizeof(other); i++)
		other[i] = (uint8_t)~seed[i];
	struct compact_hash h = compact_siphash(seed, other, sizeof(other));
	memcpy(m->producer_seed, &h, sizeof(h));
}

bool compact_map_clear(struct compact_map *m, size_t bytes)
{
	uint64_t n = min_of(bytes / sizeof(struct compact_entry) + 1, m->capacity - m->cleared);
	memset(&m->entries[m->cleared], 0, n * sizeof(struct compact_entry));
	m->cleared += n;
	m->used = 0;
	return m->cleared == m->capacity;
}

struct compact_hash compact_map_key(const struct compact_map *m, const void *key, size_t len)
{
	return compact_siphash(m->seed, key, len);
}

struct compact_hash compact_map_producer(const struct compact_map *m, int64_t producer_id)
{
	return compact_siphash(m->producer_seed, &producer_id, sizeof(producer_id));
}

static inline uint64_t first_place(const struct compact_map *m, struct compact_hash h)
{
	return (uint64_t)(((unsigned __int128)h.a * m->capacity) >> 64);
}

void compact_map_prefetch(const struct compact_map *m, struct compact_hash h)
{
	__builtin_prefetch(&m->entries[first_place(m, h)]);
}

/* The entry of h, or the free one where it belongs. One in ten is free, so there is one; of a map
 * with a single entry that is used, that one. */
static struct compact_entry *find(const struct compact_map *m, struct compact_hash h)
{
	uint64_t at = first_place(m, h);
	DCHECK(m->cleared == m->capacity);
	for (uint64_t n = 0; n < m->capacity; n++) {
		struct compact_entry *e = &m->entries[at];
		if (e->next_offset == 0 || (e->hash.a == h.a && e->hash.b == h.b))
			return e;
		at = at + 1 == m->capacity ? 0 : at + 1;
	}
	return NULL;
}

bool compact_map_put(struct compact_map *m, struct compact_hash h, int64_t offset)
{
	struct compact_entry *e = find(m, h);
	if (!e || (e->next_offset == 0 && m->used == m->limit))
		return false;
	if (e->next_offset == 0) {
		e->hash = h;
		m->used++;
	}
	e->next_offset = max_of(e->next_offset, offset + 1);
	return true;
}

int64_t compact_map_get(const struct compact_map *m, struct compact_hash h)
{
	const struct compact_entry *e = find(m, h);
	return e ? e->next_offset - 1 : -1;
}
