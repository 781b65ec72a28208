/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_STORAGE_LOG_COMPACT_INT_H
#define MR_STORAGE_LOG_COMPACT_INT_H

#include "storage/format/bidx.h"
#include "storage/format/rebatch.h"
#include "storage/log/compact.h"
#include "storage/log/compact_map.h"

/* Private to compact*.c. */

#define COMPACT_PATH_SUFFIX_CLEANED ".cleaned"
#define COMPACT_PATH_SUFFIX_SWAP ".swap"

/* `out` is the path of a segment's file: kind "log" or "index", suffix "", ".cleaned", ".swap". */
int compact_path(char out[IO_PATH_MAX], const char *dir, int64_t base_offset, const char *kind,
	const char *suffix);

/* ---- reading a sealed segment, checked (compact_read.c) ---- */

struct compact_reader {
	struct io *io;
	uint8_t *window; /* lent: bytes [from, to) of the segment */
	uint64_t window_size;
	struct fmt_bidx_page *page; /* lent */
	uint64_t from, to;
	struct compact_segment segment;
	uint32_t seed;
	struct io_file *log;   /* NULL: closed */
	struct io_file *index; /* NULL: there is none, batches have only their CRCs */
	int64_t page_number;   /* in *page; -1: none */
	uint64_t pos;	       /* of the next batch */
	int64_t expected;      /* its base offset is not below */
	uint64_t bytes_read;   /* ever */
};

enum compact_read {
	COMPACT_READ_BATCH,
	COMPACT_READ_MORE,    /* the budget is used up */
	COMPACT_READ_END,     /* of the segment */
	COMPACT_READ_CORRUPT, /* at reader->pos */
	COMPACT_READ_FAILED,  /* *rc: -errno */
};

/* Opens s in the directory. 0 or -errno. */
int compact_reader_open(struct compact_reader *r, const char *path, const struct uuid *topic_id,
	int32_t partition, const struct compact_segment *s);
void compact_reader_close(struct compact_reader *r);
/* The next batch, whole and checked: at *p until the next call. What is read is taken off *budget.
 */
enum compact_read compact_reader_next(struct compact_reader *r, int64_t *budget, const uint8_t **p,
	struct rebatch_head *head, int *rc);

/* ---- writing one (compact_write.c) ---- */

#define COMPACT_STAGING (256u * 1024u)
_Static_assert(COMPACT_STAGING % BIDX_BLOCK == 0, "blocks are summed in staging");

struct compact_writer {
	struct io *io;
	uint8_t *staging;	    /* lent: COMPACT_STAGING bytes */
	struct fmt_bidx_page *page; /* lent: being filled */
	uint32_t seed;
	struct io_file *log; /* NULL: closed */
	struct io_file *index;
	char log_path[IO_PATH_MAX];
	char index_path[IO_PATH_MAX];
	uint64_t written;	/* bytes in the file; staging begins there */
	uint32_t staged;	/* bytes in staging */
	struct fmt_block block; /* the one being filled */
	uint32_t page_number;
	uint64_t bytes_written; /* ever */
};

/* Creates <base>.log.cleaned and <base>.index.cleaned. 0 or -errno. */
int compact_writer_open(struct compact_writer *w, const char *path, const struct uuid *topic_id,
	int32_t partition, int64_t base_offset);
/* Appends a batch. max_timestamp -1: it has no records. 0 or -errno. */
int compact_writer_put(struct compact_writer *w, const uint8_t *p, uint32_t size,
	int64_t base_offset, int64_t max_timestamp);
static inline uint64_t compact_writer_pos(const struct compact_writer *w)
{
	return w->written + w->staged;
}
/* Writes the rest, and the index's last page. 0 or -errno. */
int compact_writer_seal(struct compact_writer *w, const struct compact_segment *s);
/* After that: flushes and closes one of the files. 1: there is another one; 0: both are done; or
 * -errno. */
int compact_writer_flush(struct compact_writer *w);
/* Closes and removes what was begun. */
void compact_writer_discard(struct compact_writer *w);

/* ---- swapping it in (compact_swap.c) ---- */

/* Steps 1 to 5; `inputs`: base offsets of the inputs but the first one. *rc: 0 or -errno. */
enum compact_swapped compact_swap_files(struct io *io, const char *dir, int64_t base,
	const int64_t *inputs, uint32_t count, int *rc);

#endif
