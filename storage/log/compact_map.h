/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_STORAGE_LOG_COMPACT_MAP_H
#define MR_STORAGE_LOG_COMPACT_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Key -> offset of its last record, in borrowed memory of fixed size: 24 bytes an entry, of which
 * nine in ten are used (as Kafka's SkimpyOffsetMap). A key is its SipHash-2-4 of 128 bits, under a
 * seed that no client knows: two keys with one hash would cost a record, and nobody can make such
 * keys. Open addressing, linear probing. Pure.
 */

/* 128 bits. */
struct compact_hash {
	uint64_t a, b;
};

/* SipHash-2-4 with 128 bits of output (Aumasson, Bernstein), little-endian words of key and output.
 */
struct compact_hash compact_siphash(const uint8_t seed[16], const void *p, size_t len);

struct compact_entry {
	struct compact_hash hash;
	int64_t next_offset; /* offset + 1; 0: the entry is free */
};
_Static_assert(sizeof(struct compact_entry) == 24, "what an entry costs is documented");

struct compact_map {
	struct compact_entry *entries; /* borrowed */
	uint64_t capacity;
	uint64_t limit; /* entries that may be used */
	uint64_t used;
	uint64_t cleared; /* entries that are known to be free, from the first one on */
	uint8_t seed[16];
	uint8_t producer_seed[16];
};

/* Takes up to `size` bytes at mem (8-aligned, borrowed) for a map that is cleared next. At least
 * one entry must fit. */
void compact_map_init(struct compact_map *m, void *mem, size_t size, const uint8_t seed[16]);
/* Clears up to `bytes` of it; true when all is clear, which the calls below need. */
bool compact_map_clear(struct compact_map *m, size_t bytes);

struct compact_hash compact_map_key(const struct compact_map *m, const void *key, size_t len);
/* Producer ids live in the same map, apart from keys. */
struct compact_hash compact_map_producer(const struct compact_map *m, int64_t producer_id);
/* Begins to fetch what the calls below will look at: a miss costs more than all the rest. */
void compact_map_prefetch(const struct compact_map *m, struct compact_hash h);
/* Sets the offset (>= 0) of h to the larger one of this and what it has. False: full, and h is not
 * in. */
bool compact_map_put(struct compact_map *m, struct compact_hash h, int64_t offset);
/* -1: not in. */
int64_t compact_map_get(const struct compact_map *m, struct compact_hash h);
/* Whether `count` more entries fit for certain. */
static inline bool compact_map_fits(const struct compact_map *m, uint64_t count)
{
	return count <= m->limit - m->used;
}

#endif
