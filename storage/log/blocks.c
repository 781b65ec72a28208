/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The block index of a segment in memory (storage/format/bidx.h): it grows with what is committed,
 * goes to the index file by whole pages, and comes back from there.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/crc.h"
#include "base/log.h"
#include "storage/log/log.h"

uint32_t log_seed(const struct log *l, const struct segment *s)
{
	return bidx_seed(&l->topic_id, l->partition, s->base_offset);
}

static uint32_t blocks_for(uint64_t end_pos)
{
	return (uint32_t)((end_pos + BIDX_BLOCK - 1) / BIDX_BLOCK);
}

uint32_t blocks_pages(const struct segment *s)
{
	return (blocks_for(s->end_pos) + BIDX_PER_PAGE - 1) / BIDX_PER_PAGE;
}

/* --- growing ----------------------------------------------------------------------------- */

int blocks_reserve(struct segment *s, uint64_t end_pos)
{
	uint32_t need = blocks_for(end_pos);
	if (need <= s->block_capacity)
		return 0;
	uint32_t capacity = max_of(s->block_capacity + s->block_capacity / 2, need);
	struct fmt_block *p = realloc(s->blocks, capacity * sizeof(*p));
	if (!p)
		return -ENOMEM;
	s->blocks = p;
	s->block_capacity = capacity;
	return 0;
}

static struct fmt_block *blocks_at(struct segment *s, uint32_t seed, uint64_t pos, int64_t offset)
{
	uint32_t i = (uint32_t)(pos / BIDX_BLOCK);
	CHECK(i <= s->block_count);
	if (i == s->block_count) {
		CHECK(i < s->block_capacity && pos % BIDX_BLOCK == 0);
		s->blocks[s->block_count++] = (struct fmt_block){
			.first_offset = offset,
			.max_timestamp = -1,
			.sum = bidx_sum_begin(seed, i),
			.first_pos = BIDX_NO_BATCH,
		};
	}
	return &s->blocks[i];
}

void blocks_add_batch(struct segment *s, uint32_t seed, const struct scan_batch *b)
{
	struct fmt_block *k = blocks_at(s, seed, s->end_pos, b->base_offset);
	if (k->first_pos == BIDX_NO_BATCH) {
		k->first_pos = (uint16_t)(s->end_pos % BIDX_BLOCK);
		k->first_offset = b->base_offset;
	}
	k->max_timestamp = max_of(k->max_timestamp, b->max_timestamp);
	s->last_batch = b->base_offset;
	s->end_offset = b->last_offset + 1;
	s->max_timestamp = max_of(s->max_timestamp, b->max_timestamp);
	s->leader_epoch = b->leader_epoch;
}

void blocks_add_bytes(struct segment *s, uint32_t seed, const uint8_t *p, size_t n)
{
	while (n > 0) {
		struct fmt_block *k = blocks_at(s, seed, s->end_pos, s->last_batch);
		size_t run = min_of(n, (size_t)(BIDX_BLOCK - s->end_pos % BIDX_BLOCK));
		k->sum = crc32c(k->sum, p, run);
		s->end_pos += run;
		p += run;
		n -= run;
	}
}

/* --- pages ------------------------------------------------------------------------------- */

void blocks_to_page(const struct log *l, const struct segment *s, uint32_t page, bool last,
	struct fmt_bidx_page *out)
{
	uint32_t first = page * BIDX_PER_PAGE;
	CHECK(first < s->block_count);
	memset(out, 0, sizeof(*out));
	out->page = page;
	out->count = min_of(BIDX_PER_PAGE, s->block_count - first);
	CHECK(last || out->count == BIDX_PER_PAGE);
	memcpy(out->blocks, s->blocks + first, out->count * sizeof(out->blocks[0]));
	if (last) {
		out->flags = BIDX_SEALED | (s->compacted ? BIDX_COMPACTED : 0);
		out->leader_epoch = s->leader_epoch;
		out->end_offset = s->end_offset;
		out->end_pos = s->end_pos;
		out->created_ms = s->created_ms;
		out->max_timestamp = s->max_timestamp;
	}
	bidx_seal(out, log_seed(l, s));
}

static int blocks_open_index(struct log_env *env, struct log *l, const struct segment *s,
	struct io_file **f, uint64_t *size)
{
	char path[IO_PATH_MAX];
	segment_path(env, l, s->base_offset, "index", path);
	int rc = env->io->api->open(env->io, path, IO_RDONLY | IO_DIRECT, f);
	if (rc == 0)
		rc = env->io->api->size(env->io, *f, size);
	return rc;
}

/* Reads page k, which must be valid. 0, -EBADMSG or -errno. */
static int blocks_read_page(struct log_env *env, const struct log *l, const struct segment *s,
	struct io_file *f, uint32_t k, const struct fmt_bidx_page **out)
{
	uint8_t *page = env->scratch + LOG_SCRATCH - FMT_PAGE;
	int64_t got = env->io->api->pread(env->io, f, page, FMT_PAGE, (uint64_t)k * FMT_PAGE);
	*out = (const struct fmt_bidx_page *)(const void *)page;
	if (got < 0)
		return (int)got;
	return got == FMT_PAGE && bidx_check(*out, log_seed(l, s), k) ? 0 : -EBADMSG;
}

/* Whether the last page p speaks of this segment. When the segment ends below the next one's base,
 * what was between them is missing. */
static bool segment_is_of(struct log *l, struct segment *s, const struct fmt_bidx_page *p)
{
	if (!(p->flags & BIDX_SEALED) || p->end_offset > s->end_offset ||
		p->end_offset <= s->base_offset)
		return false;
	if (p->end_offset < s->end_offset) {
		log_error("storage", "%s-%d: offsets %lld to %lld are missing", l->topic,
			l->partition, (long long)p->end_offset, (long long)s->end_offset - 1);
		l->damaged = true;
		s->end_offset = p->end_offset;
	}
	return true;
}

static void segment_learn(struct segment *s, const struct fmt_bidx_page *p)
{
	s->end_pos = s->fill_pos = p->end_pos;
	s->created_ms = p->created_ms;
	s->max_timestamp = p->max_timestamp;
	s->leader_epoch = p->leader_epoch;
	s->compacted = p->flags & BIDX_COMPACTED;
	s->dirty = p->flags & BIDX_DIRTY;
	s->delete_horizon_ms = p->delete_horizon_ms;
	s->known = true;
}

/* --- making it anew ---------------------------------------------------------------------- */

/* A walk over the batches of a segment, by the rules of scan.h. */
struct blocks_walk {
	struct log_env *env;
	struct segment *from;
	struct segment fresh; /* what is found */
	uint32_t seed;
	uint64_t window, window_end; /* what scratch holds */
};

#define WINDOW (256u * 1024u)

/* Some bytes at pos, at most n; how many. 0 or a negative errno: none. */
static int64_t walk_bytes(struct blocks_walk *w, uint64_t pos, size_t n, const uint8_t **p)
{
	if (pos < w->window || pos >= w->window_end) {
		uint64_t end =
			min_of(align_down(pos, (uint64_t)FMT_PAGE) + WINDOW, w->from->end_pos);
		w->window = align_down(pos, (uint64_t)FMT_PAGE);
		w->window_end = 0;
		if (end <= pos)
			return 0;
		int rc = segment_pread(
			w->env, w->from, w->env->scratch, (size_t)(end - w->window), w->window);
		if (rc < 0)
			return rc;
		w->window_end = end;
	}
	*p = w->env->scratch + (pos - w->window);
	return (int64_t)min_of((uint64_t)n, w->window_end - pos);
}

static int walk_copy(struct blocks_walk *w, uint64_t pos, uint8_t *dst, size_t n)
{
	while (n > 0) {
		const uint8_t *p;
		int64_t got = walk_bytes(w, pos, n, &p);
		if (got <= 0)
			return got < 0 ? (int)got : -EBADMSG;
		memcpy(dst, p, (size_t)got);
		dst += got;
		pos += (uint64_t)got;
		n -= (size_t)got;
	}
	return 0;
}

/* Takes in the batch b, which begins at the walk's end. */
static int walk_batch(struct blocks_walk *w, const struct scan_batch *b)
{
	struct segment *s = &w->fresh;
	uint64_t begin = s->end_pos, end = begin + b->size;
	uint32_t crc = 0;
	int rc = blocks_reserve(s, end);
	if (rc < 0)
		return rc;
	blocks_add_batch(s, w->seed, b);
	while (s->end_pos < end) {
		const uint8_t *p;
		uint64_t pos = s->end_pos;
		int64_t n = walk_bytes(w, pos, (size_t)(end - pos), &p);
		if (n <= 0)
			return n < 0 ? (int)n : -EBADMSG;
		size_t skip = pos < begin + SCAN_CRC_FROM
				      ? (size_t)min_of((uint64_t)n, begin + SCAN_CRC_FROM - pos)
				      : 0;
		crc = crc32c(crc, p + skip, (size_t)n - skip);
		blocks_add_bytes(s, w->seed, p, (size_t)n);
	}
	return crc == b->crc ? 0 : -EBADMSG;
}

/* Walks up to the segment's end offset. 0; -EBADMSG: it is damaged at w->fresh.end_pos; or -errno.
 */
static int walk_all(struct blocks_walk *w)
{
	struct segment *s = &w->fresh;
	while (s->end_offset < w->from->end_offset) {
		uint8_t head[SCAN_BATCH_HEAD];
		struct scan_batch b;
		uint64_t room = w->from->end_pos - s->end_pos;
		int rc = room < sizeof(head) ? -EBADMSG
					     : walk_copy(w, s->end_pos, head, sizeof(head));
		if (rc < 0)
			return rc;
		int64_t expected = s->end_offset, base = (int64_t)be64_get(head);
		if (w->from->compacted && base > expected && base < w->from->end_offset)
			expected = base;
		if (scan_head(head, room, expected, &b) != SCAN_STOP_NONE)
			return -EBADMSG;
		b.pos = s->end_pos;
		rc = walk_batch(w, &b);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* Makes blocks[] anew. A sealed segment is taken as dense: one that is not is found to be damaged.
 */
static enum st_err blocks_rebuild(struct log_env *env, struct log *l, struct segment *s)
{
	struct blocks_walk w = {.env = env, .from = s, .seed = log_seed(l, s)};
	w.fresh = (struct segment){
		.base_offset = s->base_offset,
		.end_offset = s->base_offset,
		.max_timestamp = -1,
	};
	char path[IO_PATH_MAX];
	segment_path(env, l, s->base_offset, "index", path);
	log_warn("storage", "%s is missing or damaged: it is made anew from the segment", path);
	uint64_t size = 0;
	if (s->sealed) {
		if (env->io->api->size(env->io, s->file, &size) < 0)
			return ST_E_CORRUPT;
		s->end_pos = s->fill_pos = size;
	}
	int rc = walk_all(&w);
	if (rc < 0 || w.fresh.end_offset != s->end_offset) {
		log_error("storage", "%s: the segment is damaged at byte %llu", path,
			(unsigned long long)w.fresh.end_pos);
		env->corrupt_blocks++;
		free(w.fresh.blocks);
		return rc == -ENOMEM ? ST_E_LIMIT : ST_E_CORRUPT;
	}
	free(s->blocks);
	s->blocks = w.fresh.blocks;
	s->block_count = w.fresh.block_count;
	s->block_capacity = w.fresh.block_capacity;
	if (s->sealed) {
		s->end_pos = s->fill_pos = w.fresh.end_pos;
		s->max_timestamp = w.fresh.max_timestamp;
		s->leader_epoch = w.fresh.leader_epoch;
		s->known = true;
	}
	s->pages_missing = 0;
	return ST_OK;
}

/* --- from the index file ----------------------------------------------------------------- */

static int blocks_read_active(
	struct log_env *env, struct log *l, struct segment *s, struct io_file *f)
{
	while (s->pages_missing > 0) {
		const struct fmt_bidx_page *p;
		uint32_t k = s->pages_missing - 1;
		int rc = blocks_read_page(env, l, s, f, k, &p);
		if (rc == 0 && p->count != BIDX_PER_PAGE)
			rc = -EBADMSG;
		if (rc < 0)
			return rc;
		memcpy(s->blocks + k * BIDX_PER_PAGE, p->blocks, sizeof(p->blocks));
		s->pages_missing--;
	}
	return 0;
}

static int blocks_read_sealed(
	struct log_env *env, struct log *l, struct segment *s, struct io_file *f, uint64_t size)
{
	uint32_t pages = (uint32_t)(size / FMT_PAGE);
	struct fmt_block *blocks = pages ? malloc(pages * sizeof(*blocks) * BIDX_PER_PAGE) : NULL;
	uint32_t count = 0;
	int rc = pages == 0 ? -EBADMSG : blocks ? 0 : -ENOMEM;
	for (uint32_t k = 0; rc == 0 && k < pages; k++) {
		const struct fmt_bidx_page *p;
		rc = blocks_read_page(env, l, s, f, k, &p);
		bool last = k + 1 == pages;
		if (rc == 0 && (last ? !segment_is_of(l, s, p)
				     : p->count != BIDX_PER_PAGE || p->flags != 0))
			rc = -EBADMSG;
		if (rc < 0)
			break;
		memcpy(blocks + count, p->blocks, p->count * sizeof(*blocks));
		count += p->count;
		if (last)
			segment_learn(s, p);
	}
	if (rc < 0) {
		free(blocks);
		return rc;
	}
	s->blocks = blocks;
	s->block_count = s->block_capacity = count;
	return 0;
}

enum st_err blocks_load(struct log_env *env, struct log *l, struct segment *s)
{
	struct io_file *f = NULL;
	uint64_t size = 0;
	int rc = blocks_open_index(env, l, s, &f, &size);
	if (rc == 0)
		rc = s->sealed ? blocks_read_sealed(env, l, s, f, size)
			       : blocks_read_active(env, l, s, f);
	if (f)
		env->io->api->close(env->io, f);
	if (rc == 0)
		return ST_OK;
	if (rc == -ENOMEM)
		return ST_E_LIMIT;
	return blocks_rebuild(env, l, s);
}

enum st_err segment_know(struct log_env *env, struct log *l, struct segment *s)
{
	struct io_file *f = NULL;
	uint64_t size = 0;
	const struct fmt_bidx_page *p;
	if (s->known)
		return ST_OK;
	int rc = blocks_open_index(env, l, s, &f, &size);
	if (rc == 0)
		rc = size < FMT_PAGE
			     ? -EBADMSG
			     : blocks_read_page(env, l, s, f, (uint32_t)(size / FMT_PAGE) - 1, &p);
	if (rc == 0 && !segment_is_of(l, s, p))
		rc = -EBADMSG;
	if (rc == 0)
		segment_learn(s, p);
	if (f)
		env->io->api->close(env->io, f);
	return rc == 0 ? ST_OK : segment_warm(env, l, s);
}
