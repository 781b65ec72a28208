/* SPDX-License-Identifier: Apache-2.0 */
#include "shard/quota.h"

#include "base/check.h"

/* Longest that a clock may be ahead: a client that has to wait for an hour need not wait longer. */
#define QUOTA_AHEAD_NS (3600ull * 1000000000)

/* Levels of image_quota_find at which all users, or all client ids, share. */
#define LEVEL_USER_FIRST 2
#define LEVEL_USER_SECOND 5
#define LEVEL_CLIENT 6

static uint64_t mix(uint64_t h, struct kstr s)
{
	for (int32_t i = 0; i < s.len; i++)
		h = (h ^ (uint8_t)s.p[i]) * 0x100000001b3ull;
	h = (h ^ (uint32_t)s.len) * 0x9e3779b97f4a7c15ull;
	return h ^ h >> 29;
}

static uint64_t key_of(const struct quota_table *t, struct kstr user, struct kstr client,
	enum image_quota_kind kind, int level)
{
	bool by_user = level < LEVEL_CLIENT;
	bool by_client = level != LEVEL_USER_FIRST && level != LEVEL_USER_SECOND;
	uint64_t h = (t->seed ^ (uint64_t)kind) * 0xbf58476d1ce4e5b9ull;
	h = mix(h, by_user ? user : KSTR_NULL);
	h = mix(h, by_client ? client : KSTR_NULL);
	return h | 1;
}

/* Its own place, a new one, or the one that is least ahead. */
static struct quota_user *find(struct quota_table *t, uint64_t key)
{
	struct quota_user *set = t->users[(key >> 32) % QUOTA_SETS], *best = &set[0];
	for (uint32_t i = 0; i < QUOTA_WAYS; i++) {
		if (set[i].key == key)
			return &set[i];
		if (set[i].clock_ns < best->clock_ns)
			best = &set[i];
	}
	return best;
}

/* Bytes per second, or ns of work per second. */
static double share_of(double rate, enum image_quota_kind kind, uint16_t shards)
{
	return (kind == QUOTA_REQUEST ? rate / 100 * 1e9 : rate) / shards;
}

uint64_t quota_use(struct quota_table *t, const struct image *im, uint16_t shards, struct kstr user,
	struct kstr client, enum image_quota_kind kind, uint64_t amount, uint64_t now_ns)
{
	int level;
	double rate = image_quota_find(im, user, client, kind, &level);
	CHECK(shards > 0);
	if (rate <= 0)
		return 0;
	uint64_t least = now_ns > QUOTA_BURST_NS ? now_ns - QUOTA_BURST_NS : 0;
	uint64_t key = key_of(t, user, client, kind, level);
	struct quota_user *u = find(t, key);
	if (u->clock_ns < least) {
		u->key = key;
		u->clock_ns = least;
	}
	double cost_ns = (double)amount * 1e9 / share_of(rate, kind, shards);
	u->clock_ns += (uint64_t)min_of(cost_ns, (double)QUOTA_AHEAD_NS);
	u->clock_ns = min_of(u->clock_ns, now_ns + QUOTA_AHEAD_NS);
	return u->clock_ns > now_ns ? u->clock_ns - now_ns : 0;
}
