/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_GROUP_MAP_H
#define MR_GROUP_MAP_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "kafka/wire.h"

/*
 * Intrusive hash table of strings. Elements hold a map_node with the key (borrowed). A table that
 * cannot grow goes on with longer chains, so that insertion never fails.
 */
struct map_node {
	struct map_node *next;
	struct kstr key;
	uint64_t hash;
};

struct map {
	struct map_node **v; /* &one until it grows */
	struct map_node *one;
	uint64_t seed;
	uint32_t mask;
	uint32_t count;
};

/* Must not move in memory afterwards. */
static inline void map_init(struct map *m, uint64_t seed)
{
	*m = (struct map){.seed = seed};
	m->v = &m->one;
}
static inline void map_fini(struct map *m)
{
	CHECK(m->count == 0);
	if (m->v != &m->one)
		free(m->v);
}
static inline uint64_t map_hash(const struct map *m, struct kstr key)
{
	uint64_t h = m->seed ^ (uint64_t)(uint32_t)key.len;
	int32_t i = 0;
	while (i < key.len) {
		uint64_t word = 0;
		int32_t n = min_of(key.len - i, 8);
		memcpy(&word, key.p + i, (size_t)n);
		h = (h ^ word) * 0x9e3779b97f4a7c15ull;
		h ^= h >> 29;
		i += n;
	}
	h *= 0xbf58476d1ce4e5b9ull;
	return h ^ (h >> 32);
}
static inline struct map_node *map_find(const struct map *m, struct kstr key)
{
	if (key.len < 0)
		return NULL;
	uint64_t hash = map_hash(m, key);
	for (struct map_node *n = m->v[hash & m->mask]; n; n = n->next)
		if (n->hash == hash && kstr_equal(n->key, key))
			return n;
	return NULL;
}
static inline void map_grow(struct map *m)
{
	uint32_t size = (m->mask + 1) * 4;
	struct map_node **v = (struct map_node **)calloc(size, sizeof(*v));
	if (!v)
		return;
	for (uint32_t i = 0; i <= m->mask; i++) {
		for (struct map_node *n = m->v[i], *next; n; n = next) {
			next = n->next;
			n->next = v[n->hash & (size - 1)];
			v[n->hash & (size - 1)] = n;
		}
	}
	if (m->v != &m->one)
		free(m->v);
	m->v = v;
	m->mask = size - 1;
}
/* The key must not be in it yet. */
static inline void map_insert(struct map *m, struct map_node *n, struct kstr key)
{
	if (m->count > m->mask && m->mask < (1u << 24))
		map_grow(m);
	n->key = key;
	n->hash = map_hash(m, key);
	n->next = m->v[n->hash & m->mask];
	m->v[n->hash & m->mask] = n;
	m->count++;
}
static inline void map_remove(struct map *m, struct map_node *n)
{
	struct map_node **at = &m->v[n->hash & m->mask];
	while (*at != n) {
		CHECK(*at);
		at = &(*at)->next;
	}
	*at = n->next;
	m->count--;
}

#endif
