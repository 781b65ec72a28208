/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the batches of a sealed segment, and takes none whose bytes are not what was written. */
#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "base/crc.h"
#include "storage/log/compact_int.h"

#define READ_RUN (256u * 1024u)
_Static_assert(READ_RUN % BIDX_BLOCK == 0, "whole blocks are read, and summed");

int compact_reader_open(struct compact_reader *r, const char *path, const struct uuid *topic_id,
	int32_t partition, const struct compact_segment *s)
{
	const struct io_api *api = r->io->api;
	char name[IO_PATH_MAX];
	CHECK(!r->log && !r->index);
	r->segment = *s;
	r->seed = bidx_seed(topic_id, partition, s->base_offset);
	r->page_number = -1;
	r->from = r->to = r->pos = 0;
	r->expected = s->base_offset;
	int rc = compact_path(name, path, s->base_offset, "log", "");
	if (rc == 0)
		rc = api->open(r->io, name, IO_RDONLY | IO_DIRECT, &r->log);
	if (rc < 0) {
		r->log = NULL;
		return rc;
	}
	rc = compact_path(name, path, s->base_offset, "index", "");
	if (rc == 0)
		rc = api->open(r->io, name, IO_RDONLY | IO_DIRECT, &r->index);
	if (rc < 0)
		r->index = NULL;
	if (rc == -ENOENT)
		rc = 0;
	if (rc < 0)
		compact_reader_close(r);
	return rc;
}

void compact_reader_close(struct compact_reader *r)
{
	if (r->log)
		r->io->api->close(r->io, r->log);
	if (r->index)
		r->io->api->close(r->io, r->index);
	r->log = r->index = NULL;
}

/* The entry of a block. NULL: *rc, which is -EBADMSG when the index is damaged. */
static const struct fmt_block *block_entry(struct compact_reader *r, uint64_t block, int *rc)
{
	uint32_t k = (uint32_t)(block / BIDX_PER_PAGE);
	if (r->page_number != k) {
		int64_t n = r->io->api->pread(
			r->io, r->index, r->page, FMT_PAGE, (uint64_t)k * FMT_PAGE);
		if (n < 0) {
			*rc = (int)n;
			return NULL;
		}
		r->page_number = -1;
		r->bytes_read += (uint64_t)n;
		if (n == FMT_PAGE && bidx_check(r->page, r->seed, k))
			r->page_number = k;
	}
	if (r->page_number != k || block % BIDX_PER_PAGE >= r->page->count) {
		*rc = -EBADMSG;
		return NULL;
	}
	return &r->page->blocks[block % BIDX_PER_PAGE];
}

/* Checks the blocks of [r->to, end), which have been read to p. 0, -EBADMSG (r->pos: where) or
 * -errno. */
static int check_blocks(struct compact_reader *r, const uint8_t *p, uint64_t end)
{
	int rc = 0;
	for (uint64_t at = r->to; r->index && at < end; at += BIDX_BLOCK, p += BIDX_BLOCK) {
		const struct fmt_block *b = block_entry(r, at / BIDX_BLOCK, &rc);
		size_t len = min_of(end - at, (uint64_t)BIDX_BLOCK);
		if (b && crc32c(bidx_sum_begin(r->seed, at / BIDX_BLOCK), p, len) != b->sum)
			rc = -EBADMSG;
		if (rc == -EBADMSG)
			r->pos = at;
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* Makes the window begin at the block of pos, and reads the next run behind what it has. */
static int window_fill(struct compact_reader *r, int64_t *budget)
{
	uint64_t from = align_down(r->pos, (uint64_t)BIDX_BLOCK);
	CHECK(from >= r->from && from <= r->to && r->to < r->segment.end_pos);
	memmove(r->window, r->window + (from - r->from), r->to - from);
	r->from = from;
	uint64_t end = min_of(r->to + READ_RUN, r->segment.end_pos);
	uint64_t length = align_up(end, (uint64_t)FMT_PAGE) - r->to;
	uint8_t *p = r->window + (r->to - from);
	if (r->to - from + length > r->window_size)
		return -E2BIG;
	int64_t n = r->io->api->pread(r->io, r->log, p, length, r->to);
	if (n < 0)
		return (int)n;
	*budget -= n;
	r->bytes_read += (uint64_t)n;
	if ((uint64_t)n < end - r->to) {
		r->pos = r->to + (uint64_t)n;
		return -EBADMSG; /* the file ends before the segment does */
	}
	int rc = check_blocks(r, p, end);
	if (rc == 0)
		r->to = end;
	return rc;
}

enum compact_read compact_reader_next(struct compact_reader *r, int64_t *budget, const uint8_t **p,
	struct rebatch_head *head, int *rc)
{
	uint64_t left = r->segment.end_pos - r->pos;
	if (left == 0)
		return r->expected == r->segment.end_offset ? COMPACT_READ_END
							    : COMPACT_READ_CORRUPT;
	uint64_t need = REBATCH_HEAD;
	if (left < need)
		return COMPACT_READ_CORRUPT;
	for (;;) {
		if (r->to - min_of(r->pos, r->to) >= need) {
			*p = r->window + (r->pos - r->from);
			if (need == REBATCH_HEAD && !rebatch_head(*p, left, head))
				return COMPACT_READ_CORRUPT;
			if (r->to - r->pos >= head->size)
				break;
			need = head->size;
		}
		if (*budget <= 0)
			return COMPACT_READ_MORE;
		*rc = window_fill(r, budget);
		if (*rc < 0)
			return *rc == -EBADMSG ? COMPACT_READ_CORRUPT : COMPACT_READ_FAILED;
	}
	if (head->base_offset < r->expected || head->last_offset >= r->segment.end_offset ||
		!rebatch_crc_ok(*p))
		return COMPACT_READ_CORRUPT;
	r->pos += head->size;
	r->expected = head->last_offset + 1;
	return COMPACT_READ_BATCH;
}
