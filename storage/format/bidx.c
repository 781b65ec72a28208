/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/format/bidx.h"

#include <string.h>

#include "base/crc.h"

uint32_t bidx_seed(const struct uuid *topic_id, int32_t partition, int64_t segment)
{
	uint32_t crc = crc32c(0, topic_id->b, sizeof(topic_id->b));
	crc = crc32c(crc, &partition, sizeof(partition));
	return crc32c(crc, &segment, sizeof(segment));
}

uint32_t bidx_sum_begin(uint32_t seed, uint64_t block)
{
	return crc32c(seed, &block, sizeof(block));
}

static uint32_t page_crc(const struct fmt_bidx_page *p, uint32_t seed)
{
	static const uint32_t zero;
	size_t at = offsetof(struct fmt_bidx_page, crc);
	uint32_t crc = crc32c(seed, p, at);
	crc = crc32c(crc, &zero, sizeof(zero));
	at += sizeof(zero);
	return crc32c(crc, (const uint8_t *)p + at, sizeof(*p) - at);
}

void bidx_seal(struct fmt_bidx_page *p, uint32_t seed)
{
	p->magic = BIDX_MAGIC;
	p->crc = page_crc(p, seed);
}

/* The fields that only the last page of a sealed segment has. */
static bool ends_ok(const struct fmt_bidx_page *p)
{
	bool compacted = p->flags & BIDX_COMPACTED;
	if ((p->flags & ~(BIDX_SEALED | BIDX_COMPACTED | BIDX_DIRTY)) != 0 ||
		((p->flags & BIDX_DIRTY) && !compacted))
		return false;
	if (!(p->flags & BIDX_SEALED))
		return p->flags == 0 && p->count == BIDX_PER_PAGE && p->leader_epoch == 0 &&
		       p->end_offset == 0 && p->end_pos == 0 && p->created_ms == 0 &&
		       p->max_timestamp == 0 && p->delete_horizon_ms == 0;
	uint64_t full = ((uint64_t)p->page * BIDX_PER_PAGE + p->count) * BIDX_BLOCK;
	return p->end_pos <= full && p->end_pos > full - BIDX_BLOCK &&
	       p->end_offset > p->blocks[p->count - 1].first_offset && p->delete_horizon_ms >= 0 &&
	       (compacted || p->delete_horizon_ms == 0);
}

static bool block_ok(const struct fmt_block *b, const struct fmt_block *before)
{
	bool begins = b->first_pos != BIDX_NO_BATCH;
	int64_t least = before ? before->first_offset + begins : 0;
	return b->reserved == 0 && b->first_offset >= least && b->first_offset < INT64_MAX &&
	       (!begins || b->first_pos < BIDX_BLOCK);
}

bool bidx_check(const struct fmt_bidx_page *p, uint32_t seed, uint32_t k)
{
	if (p->magic != BIDX_MAGIC || p->crc != page_crc(p, seed) || p->page != k ||
		p->count == 0 || p->count > BIDX_PER_PAGE || !ends_ok(p))
		return false;
	if (k == 0 && p->blocks[0].first_pos != 0)
		return false;
	for (uint32_t i = 0; i < p->count; i++)
		if (!block_ok(&p->blocks[i], i ? &p->blocks[i - 1] : NULL))
			return false;
	return true;
}

int64_t bidx_find(const struct fmt_block *blocks, uint32_t count, int64_t offset)
{
	uint32_t lo = 0, hi = count; /* blocks before lo begin at or before the offset */
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		if (blocks[mid].first_offset <= offset)
			lo = mid + 1;
		else
			hi = mid;
	}
	int64_t i = (int64_t)lo - 1;
	while (i >= 0 && blocks[i].first_pos == BIDX_NO_BATCH)
		i--;
	return i;
}
