/* SPDX-License-Identifier: Apache-2.0 */
#include "content.h"

#include <stdio.h>
#include <string.h>

#include "base/prng.h"

#define KEY_SIZE 8
#define VALUE_MAX (200u << 10)
#define TIMESTAMP_0 1700000000000ll

static struct prng prng_at(uint64_t seed, int32_t partition, int64_t offset, uint64_t what)
{
	struct prng p = {seed ^ (uint64_t)partition << 48 ^ what << 40};
	p.s = prng_next(&p) ^ (uint64_t)offset;
	prng_next(&p);
	return p;
}

uint32_t content_key(uint64_t seed, int32_t partition, int64_t offset)
{
	struct prng p = prng_at(seed, partition, offset, 1);
	return (uint32_t)prng_below(&p, CONTENT_KEYS);
}

int32_t content_count(uint64_t seed, int32_t partition, int64_t base)
{
	struct prng p = prng_at(seed, partition, base, 2);
	return 1 + (int32_t)prng_below(&p, 4);
}

/* Mostly small; a few that are written as runs of whole blocks. -1: a tombstone. */
static int32_t value_size(struct prng *p, bool compacted, bool heavy)
{
	uint64_t kind = prng_below(p, 1000);
	if (compacted)
		return kind < 50 ? -1 : (int32_t)prng_below(p, kind < 950 ? 600 : 9000);
	if (heavy)
		return 6000 + (int32_t)prng_below(p, 18000);
	if (kind < 900)
		return (int32_t)prng_below(p, 900);
	if (kind < 985)
		return (int32_t)prng_below(p, 8000);
	return (int32_t)prng_below(p, kind < 998 ? 60000 : VALUE_MAX);
}

struct content_record {
	char key[KEY_SIZE + 1];
	struct kbytes k, v;
};

static void content_record(
	uint64_t seed, int32_t partition, int64_t offset, uint8_t *buf, struct content_record *out)
{
	bool compacted = content_is_compacted(partition);
	struct prng p = prng_at(seed, partition, offset, 3);
	int32_t size = value_size(&p, compacted, content_is_heavy(partition));
	out->k = out->v = KBYTES_NULL;
	if (compacted) {
		snprintf(out->key, sizeof(out->key), "key-%04u",
			content_key(seed, partition, offset) % 10000);
		out->k = (struct kbytes){(const uint8_t *)out->key, KEY_SIZE};
	}
	if (size < 0)
		return;
	for (int32_t i = 0; i < size; i += 8) {
		uint64_t word = prng_next(&p);
		memcpy(buf + i, &word, 8);
	}
	out->v = (struct kbytes){buf, size};
}

uint32_t content_batch(uint64_t seed, int32_t partition, int64_t base, uint8_t *p)
{
	uint8_t buf[VALUE_MAX + 8];
	struct batch_build b;
	int32_t count = content_count(seed, partition, base);
	batch_build_begin(&b, p, CONTENT_BATCH_MAX);
	for (int32_t i = 0; i < count; i++) {
		struct content_record r;
		content_record(seed, partition, base + i, buf, &r);
		CHECK(batch_build_add(&b, TIMESTAMP_0 + base + i, r.k, r.v, NULL, 0));
	}
	uint32_t n = batch_build_finish(&b);
	batch_set_leader_epoch(p, CONTENT_EPOCH);
	return n;
}

static bool equal(struct kbytes a, struct kbytes b)
{
	return a.len == b.len && (a.len <= 0 || memcmp(a.p, b.p, (size_t)a.len) == 0);
}

bool content_is_right(uint64_t seed, int32_t partition, const struct batch_record *rec)
{
	uint8_t buf[VALUE_MAX + 8];
	struct content_record r;
	content_record(seed, partition, rec->offset, buf, &r);
	return rec->timestamp == TIMESTAMP_0 + rec->offset && equal(rec->key, r.k) &&
	       equal(rec->value, r.v) && rec->header_count == 0;
}
