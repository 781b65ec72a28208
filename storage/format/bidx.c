/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/format/bidx.h"

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
	uint32_t crc = crc32c(seed, &p->magic, sizeof(p->magic));
	crc = crc32c(crc, &zero, sizeof(zero));
	return crc32c(crc, &p->page, sizeof(*p) - offsetof(struct fmt_bidx_page, page));
}

void bidx_seal(struct fmt_bidx_page *p, uint32_t seed)
{
	p->magic = BIDX_MAGIC;
	p->crc = page_crc(p, seed);
}

static bool entries_are_right(const struct fmt_bidx_page *p)
{
	int64_t last = 0;
	for (uint32_t i = 0; i < p->count; i++) {
		const struct fmt_block *b = &p->blocks[i];
		bool inside = b->first_pos < BIDX_BLOCK || b->first_pos == BIDX_NO_BATCH;
		if (b->first_offset < last || !inside || b->reserved != 0)
			return false;
		last = b->first_offset;
	}
	return true;
}

bool bidx_check(const struct fmt_bidx_page *p, uint32_t seed, uint32_t k)
{
	if (p->magic != BIDX_MAGIC || p->page != k || p->count == 0 || p->count > BIDX_PER_PAGE)
		return false;
	if (p->crc != page_crc(p, seed))
		return false;
	return entries_are_right(p) && (p->count == BIDX_PER_PAGE || (p->flags & BIDX_SEALED));
}

int64_t bidx_find(const struct fmt_block *blocks, uint32_t count, int64_t offset)
{
	uint32_t lo = 0,
		 hi = count; /* blocks below lo are not above offset; those from hi on are */
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		if (blocks[mid].first_offset <= offset)
			lo = mid + 1;
		else
			hi = mid;
	}
	while (lo > 0 && blocks[lo - 1].first_pos == BIDX_NO_BATCH)
		lo--;
	return (int64_t)lo - 1;
}
