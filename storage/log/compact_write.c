/* SPDX-License-Identifier: Apache-2.0 */
/* Writes a segment and its block index in long aligned runs. */
#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "base/crc.h"
#include "storage/log/compact_int.h"

int compact_writer_open(struct compact_writer *w, const char *path, const struct uuid *topic_id,
	int32_t partition, int64_t base_offset)
{
	const unsigned how = IO_CREATE | IO_TRUNC | IO_DIRECT;
	const struct io_api *api = w->io->api;
	CHECK(!w->log && !w->index);
	w->seed = bidx_seed(topic_id, partition, base_offset);
	w->written = w->staged = 0;
	w->block = (struct fmt_block){0};
	w->page_number = 0;
	memset(w->page, 0, sizeof(*w->page));
	int rc = compact_path(w->log_path, path, base_offset, "log", COMPACT_PATH_SUFFIX_CLEANED);
	if (rc == 0)
		rc = compact_path(
			w->index_path, path, base_offset, "index", COMPACT_PATH_SUFFIX_CLEANED);
	if (rc == 0)
		rc = api->open(w->io, w->log_path, how, &w->log);
	if (rc < 0) {
		w->log = NULL;
		return rc;
	}
	rc = api->open(w->io, w->index_path, how, &w->index);
	if (rc < 0) {
		w->index = NULL;
		compact_writer_discard(w);
	}
	return rc;
}

void compact_writer_discard(struct compact_writer *w)
{
	const struct io_api *api = w->io->api;
	if (!w->log_path[0])
		return;
	if (w->log)
		api->close(w->io, w->log);
	if (w->index)
		api->close(w->io, w->index);
	w->log = w->index = NULL;
	/* What cannot be removed is of no use, and compact_recover tries again. */
	api->unlink(w->io, w->log_path);
	api->unlink(w->io, w->index_path);
	w->log_path[0] = 0;
}

static int write_at(
	struct compact_writer *w, struct io_file *f, const void *p, uint64_t len, uint64_t off)
{
	int64_t n = w->io->api->pwrite(w->io, f, p, len, off);
	if (n < 0)
		return (int)n;
	w->bytes_written += len;
	return (uint64_t)n == len ? 0 : -EIO;
}

static int page_write(struct compact_writer *w)
{
	w->page->page = w->page_number;
	bidx_seal(w->page, w->seed);
	int rc = write_at(w, w->index, w->page, FMT_PAGE, (uint64_t)w->page_number * FMT_PAGE);
	w->page_number++;
	memset(w->page, 0, sizeof(*w->page));
	return rc;
}

/* The block that ends at the end of staging is whole, or the last one. A full page is written only
 * when there is a block for the next one: the last page is written by compact_writer_seal. */
static int block_end(struct compact_writer *w)
{
	uint32_t begin = (w->staged - 1) / BIDX_BLOCK * BIDX_BLOCK;
	uint64_t number = (w->written + begin) / BIDX_BLOCK;
	int rc = w->page->count == BIDX_PER_PAGE ? page_write(w) : 0;
	w->block.sum =
		crc32c(bidx_sum_begin(w->seed, number), w->staging + begin, w->staged - begin);
	w->page->blocks[w->page->count++] = w->block;
	return rc;
}

static int staging_write(struct compact_writer *w)
{
	uint32_t len = align_up(w->staged, FMT_PAGE);
	memset(w->staging + w->staged, 0, len - w->staged);
	int rc = write_at(w, w->log, w->staging, len, w->written);
	w->written += w->staged;
	w->staged = 0;
	return rc;
}

/* A batch begins where the writer is. */
static void batch_begin(struct compact_writer *w, int64_t base_offset, int64_t max_timestamp)
{
	if (w->block.first_pos == BIDX_NO_BATCH) {
		w->block.first_offset = base_offset;
		w->block.first_pos = (uint16_t)(w->staged % BIDX_BLOCK);
	}
	w->block.max_timestamp = max_of(w->block.max_timestamp, max_timestamp);
}

static void block_begin(struct compact_writer *w, int64_t base_offset)
{
	w->block = (struct fmt_block){
		.first_offset = base_offset, .max_timestamp = -1, .first_pos = BIDX_NO_BATCH};
}

int compact_writer_put(struct compact_writer *w, const uint8_t *p, uint32_t size,
	int64_t base_offset, int64_t max_timestamp)
{
	if (w->staged % BIDX_BLOCK == 0)
		block_begin(w, base_offset);
	batch_begin(w, base_offset, max_timestamp);
	for (uint32_t at = 0; at < size;) {
		uint32_t run = min_of(size - at, BIDX_BLOCK - w->staged % BIDX_BLOCK);
		memcpy(w->staging + w->staged, p + at, run);
		w->staged += run;
		at += run;
		if (w->staged % BIDX_BLOCK != 0)
			break;
		int rc = block_end(w);
		if (rc == 0 && w->staged == COMPACT_STAGING)
			rc = staging_write(w);
		if (rc < 0)
			return rc;
		block_begin(w, base_offset);
	}
	return 0;
}

int compact_writer_seal(struct compact_writer *w, const struct compact_segment *s)
{
	int rc = w->staged % BIDX_BLOCK != 0 ? block_end(w) : 0;
	if (rc == 0 && w->staged > 0)
		rc = staging_write(w);
	struct fmt_bidx_page *p = w->page;
	CHECK(rc < 0 || p->count > 0);
	p->flags = BIDX_SEALED | BIDX_COMPACTED | (s->compacted ? 0 : BIDX_DIRTY);
	p->leader_epoch = s->leader_epoch;
	p->end_offset = s->end_offset;
	p->end_pos = s->end_pos;
	p->created_ms = s->created_ms;
	p->max_timestamp = s->max_timestamp;
	p->delete_horizon_ms = s->delete_horizon_ms;
	return rc == 0 ? page_write(w) : rc;
}

int compact_writer_flush(struct compact_writer *w)
{
	const struct io_api *api = w->io->api;
	struct io_file **f = w->log ? &w->log : &w->index;
	int rc = api->fsync(w->io, *f);
	api->close(w->io, *f);
	*f = NULL;
	return rc == 0 ? w->index != NULL : rc;
}
