/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_BASE_PRNG_H
#define MR_BASE_PRNG_H

#include <stdint.h>

/* splitmix64: small, seedable, the same on every machine. Not for secrets. */
struct prng {
	uint64_t s;
};

static inline uint64_t prng_next(struct prng *p)
{
	uint64_t z = (p->s += 0x9e3779b97f4a7c15ull);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}
/* Uniform in [0, n), n > 0. */
static inline uint64_t prng_below(struct prng *p, uint64_t n)
{
	return (uint64_t)(((unsigned __int128)prng_next(p) * n) >> 64);
}
/* True with probability num / den. */
static inline int prng_chance(struct prng *p, uint32_t num, uint32_t den)
{
	return prng_below(p, den) < num;
}

#endif
