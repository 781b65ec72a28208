/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checks of a checkpoint and of a page of a block index over any bytes: as they are, and with
 * their checksums made right. What a valid one describes must lie in it.
 */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "storage/format/bidx.h"
#include "storage/format/ckpt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_ckpt(const uint8_t *p, size_t size)
{
	struct ckpt_view v;
	struct fmt_ckpt c;
	uint64_t at = 0;
	uint32_t count = 0;
	if (fmt_ckpt_check(p, size) != FMT_OK)
		return;
	memcpy(&c, p, sizeof(c));
	while (ckpt_next(p, &at, &v)) {
		const struct fmt_ckpt_log *l = v.log;
		CHECK(at <= c.head.length && l->end_pos - l->fill_pos < FMT_PAGE);
		uint64_t length = ckpt_log_size(l);
		uint8_t *copy = malloc(length);
		CHECK(copy);
		/* reads all that the view points to */
		ckpt_put(copy, l, v.topic, v.epochs, v.blocks, v.tail);
		CHECK(memcmp(copy, l, sizeof(*l)) == 0);
		free(copy);
		count++;
	}
	CHECK(count == c.count && (count == 0 || at == c.head.length));
}

static void fuzz_page(const struct fmt_bidx_page *p, uint32_t seed)
{
	if (!bidx_check(p, seed, p->page))
		return;
	CHECK(p->count > 0 && p->count <= BIDX_PER_PAGE);
	for (uint32_t i = 0; i < p->count; i++) {
		int64_t at = bidx_find(p->blocks, p->count, p->blocks[i].first_offset);
		CHECK(at <= (int64_t)i &&
			(at == (int64_t)i || p->blocks[i].first_pos == BIDX_NO_BATCH || at < 0));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *exact = malloc(size ? size : 1); /* so that a read behind it is seen */
	struct fmt_bidx_page *page = malloc(sizeof(*page));
	CHECK(exact && page);
	if (size)
		memcpy(exact, data, size);
	fuzz_ckpt(exact, size);
	if (size >= sizeof(struct fmt_head)) {
		fmt_seal(exact, size, FMT_CKPT_MAGIC);
		fuzz_ckpt(exact, size);
	}
	memset(page, 0, sizeof(*page));
	if (size)
		memcpy(page, data, min_of(size, sizeof(*page)));
	fuzz_page(page, 0);
	bidx_seal(page, 5);
	fuzz_page(page, 5);
	free(page);
	free(exact);
	return 0;
}
