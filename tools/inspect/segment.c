/* SPDX-License-Identifier: Apache-2.0 */
/* `inspect segment` and `inspect index`: one file. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tools/inspect/command.h"
#include "tools/inspect/walk.h"
#include "kafka/batch.h"

#define PIECE (1u << 20)
#define INFLATE_MAX ((size_t)256 << 20) /* of one batch; address space */

struct segment_show {
	struct command *c;
	struct walk walk;
	struct batch_scratch scratch;
	int64_t previous_end; /* offset behind the batch before */
	uint64_t batches;
	uint64_t records;
	uint64_t missing; /* offsets in gaps */
	int64_t first_offset;
	int64_t max_timestamp;
};

/* --- records ----------------------------------------------------------------------------- */

static void show_records(struct segment_show *s)
{
	struct out *o = &s->c->out;
	struct batch_iter it;
	struct batch_record r;
	out_list(o, "records");
	int more = 0;
	int16_t err = batch_iter_init(&it, s->walk.buf, s->walk.batch.size, &s->scratch);
	while (err == KE_NONE && (more = batch_iter_next(&it, &r)) > 0) {
		out_row(o);
		out_int(o, "record", r.offset);
		out_time(o, "timestamp", r.timestamp);
		out_int(o, "headers", r.header_count);
		out_bytes(o, "key", r.key.len < 0 ? NULL : r.key.p, r.key.len);
		out_bytes(o, "value", r.value.len < 0 ? NULL : r.value.p, r.value.len);
		out_row_end(o);
	}
	out_list_end(o);
	if (err != KE_NONE || more < 0) {
		char what[64];
		snprintf(what, sizeof(what), "records of the batch at byte %llu",
			(unsigned long long)s->walk.batch.pos);
		command_found(s->c, FOUND_NOTE, what,
			err == KE_MESSAGE_TOO_LARGE
				? "too large to be unpacked here"
				: "cannot be read, though its CRC is right: the "
				  "producer made it so");
	}
}

static void show_batch(struct segment_show *s)
{
	struct out *o = &s->c->out;
	const struct scan_batch *b = &s->walk.batch;
	const uint8_t *h = s->walk.head;
	s->batches++;
	s->records += (uint64_t)max_of(batch_count(h), 0);
	s->missing += (uint64_t)(b->base_offset - s->previous_end);
	s->previous_end = b->last_offset + 1;
	s->max_timestamp = max_of(s->max_timestamp, b->max_timestamp);
	out_row(o);
	out_uint(o, "pos", b->pos);
	out_uint(o, "bytes", b->size);
	out_int(o, "base_offset", b->base_offset);
	out_int(o, "last_offset", b->last_offset);
	out_int(o, "count", batch_count(h));
	out_text(o, "codec", codec_name(batch_codec(h)));
	out_time(o, "base_timestamp", batch_base_timestamp(h));
	out_time(o, "max_timestamp", b->max_timestamp);
	out_int(o, "epoch", b->leader_epoch);
	out_int(o, "producer", batch_producer_id(h));
	out_hex(o, "crc", b->crc);
	char flags[4] = "";
	size_t n = 0;
	if (batch_is_log_append_time(h))
		flags[n++] = 'L';
	if (batch_is_transactional(h))
		flags[n++] = 'T';
	if (batch_is_control(h))
		flags[n++] = 'C';
	flags[n] = 0;
	out_text(o, "flags", flags);
	if (s->c->records)
		show_records(s);
	out_row_end(o);
}

/* --- the walk ---------------------------------------------------------------------------- */

static int walk_file(struct segment_show *s, int fd, uint64_t size)
{
	uint8_t *buf = malloc(PIECE);
	int rc = buf ? 0 : -ENOMEM;
	enum scan_step step = SCAN_MORE;
	for (uint64_t at = 0; rc == 0 && at < size && step != SCAN_STOPPED; at += PIECE) {
		size_t n = (size_t)min_of((uint64_t)PIECE, size - at);
		const uint8_t *p = buf;
		rc = file_pread(fd, buf, n, at);
		if (rc < 0)
			break;
		do {
			step = walk_feed(&s->walk, &p, &n);
			if (step == SCAN_BATCH)
				show_batch(s);
		} while (step == SCAN_BATCH);
	}
	free(buf);
	return rc == 0 && s->walk.no_memory ? -ENOMEM : rc;
}

static bool scratch_open(struct batch_scratch *s)
{
	*s = (struct batch_scratch){.size = (uint32_t)INFLATE_MAX, .codec = codec_open()};
	void *p = mmap(NULL, INFLATE_MAX, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	s->buf = p == MAP_FAILED ? NULL : p;
	return s->buf && s->codec;
}

static void scratch_close(struct batch_scratch *s)
{
	if (s->codec)
		codec_close(s->codec);
	if (s->buf)
		munmap(s->buf, INFLATE_MAX);
}

static void show_end(struct segment_show *s, uint64_t size)
{
	struct out *o = &s->c->out;
	enum scan_stop stop = s->walk.stop == SCAN_STOP_NONE ? SCAN_STOP_EOF : s->walk.stop;
	out_uint(o, "batches", s->batches);
	out_uint(o, "record_count", s->records);
	out_uint(o, "missing_offsets", s->missing);
	out_int(o, "end_offset", s->previous_end);
	out_uint(o, "end_pos", s->walk.pos);
	out_uint(o, "file_bytes", size);
	out_time(o, "max_timestamp", s->max_timestamp);
	out_text(o, "ends_with", scan_stop_name(stop));
	bool whole = stop == SCAN_STOP_ZERO || (stop == SCAN_STOP_EOF && s->walk.have == 0);
	out_bool(o, "ends_between_batches", whole);
	if (!whole)
		command_found(s->c, FOUND_NOTE, s->c->path,
			"the bytes behind the last batch are not one: in the active segment what "
			"follows stands in the journal; in a sealed one this is damage (see "
			"inspect verify)");
}

int inspect_segment(struct command *c)
{
	uint64_t size;
	int64_t base;
	if (!path_base(c->path, &base))
		return cannot("%s: a segment's name begins with 20 digits and a dot", c->path);
	int fd = file_open(c->path, &size);
	if (fd < 0)
		return cannot("cannot open %s: %s", c->path, strerror(-fd));
	struct segment_show s = {.c = c, .previous_end = base, .max_timestamp = -1};
	walk_init(&s.walk, 0, base, size);
	s.walk.gaps = true;
	s.walk.keep = c->records;
	int rc = c->records && !scratch_open(&s.scratch) ? -ENOMEM : 0;
	out_begin(&c->out, stdout, c->json);
	out_int(&c->out, "base_offset", base);
	out_list(&c->out, "batch");
	if (rc == 0)
		rc = walk_file(&s, fd, size);
	out_list_end(&c->out);
	show_end(&s, size);
	int end = command_end(c);
	walk_fini(&s.walk);
	scratch_close(&s.scratch);
	close(fd);
	return rc < 0 ? cannot("cannot read %s: %s", c->path, strerror(-rc)) : end;
}

/* --- the index --------------------------------------------------------------------------- */

struct fmt_bidx_page *index_load(const char *path, uint32_t *pages, int *error)
{
	uint8_t *p;
	uint64_t size;
	*error = -file_load(path, &p, &size);
	if (*error)
		return NULL;
	*pages = (uint32_t)(size / FMT_PAGE);
	return (void *)p;
}

/* Shows a page. True when it is valid, or nobody can tell: `known` says whether the seed is. */
static bool show_page(
	struct out *o, const struct fmt_bidx_page *p, uint32_t k, bool known, uint32_t seed)
{
	bool valid = known && bidx_check(p, seed, k);
	uint32_t count = min_of(p->count, BIDX_PER_PAGE);
	out_row(o);
	out_uint(o, "page", k);
	out_text(o, "valid", valid ? "yes" : known ? "no" : "unknown");
	out_uint(o, "count", p->count);
	out_bool(o, "sealed", p->flags & BIDX_SEALED);
	out_bool(o, "compacted", p->flags & BIDX_COMPACTED);
	out_bool(o, "dirty", p->flags & BIDX_DIRTY);
	out_int(o, "end_offset", p->end_offset);
	out_uint(o, "end_pos", p->end_pos);
	out_int(o, "epoch", p->leader_epoch);
	out_time(o, "created", p->created_ms ? p->created_ms : -1);
	out_time(o, "max_timestamp", p->flags & BIDX_SEALED ? p->max_timestamp : -1);
	out_time(o, "delete_horizon", p->delete_horizon_ms ? p->delete_horizon_ms : -1);
	out_list(o, "blocks");
	for (uint32_t i = 0; i < count && p->magic == BIDX_MAGIC; i++) {
		const struct fmt_block *b = &p->blocks[i];
		out_row(o);
		out_uint(o, "block", (uint64_t)k * BIDX_PER_PAGE + i);
		out_int(o, "first_offset", b->first_offset);
		out_int(o, "first_pos", b->first_pos == BIDX_NO_BATCH ? -1 : b->first_pos);
		out_hex(o, "sum", b->sum);
		out_time(o, "max_timestamp", b->max_timestamp);
		out_row_end(o);
	}
	out_list_end(o);
	out_row_end(o);
	return valid || !known;
}

int inspect_index(struct command *c)
{
	struct uuid topic_id;
	int32_t partition = 0;
	int64_t base = 0;
	uint32_t pages = 0;
	int error;
	struct fmt_bidx_page *p = index_load(c->path, &pages, &error);
	if (!p)
		return cannot("cannot read %s: %s", c->path, strerror(error));
	bool known = path_log(c->path, &topic_id, &partition) && path_base(c->path, &base);
	uint32_t seed = known ? bidx_seed(&topic_id, partition, base) : 0;
	if (!known)
		command_found(c, FOUND_NOTE, c->path,
			"not in the directory of a log: checksums cannot be verified");
	out_begin(&c->out, stdout, c->json);
	out_uint(&c->out, "pages", pages);
	out_list(&c->out, "page");
	for (uint32_t k = 0; k < pages; k++)
		if (!show_page(&c->out, &p[k], k, known, seed))
			command_found(c, FOUND_CORRUPT, c->path, "a page is not valid");
	out_list_end(&c->out);
	free(p);
	return command_end(c);
}
