/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/format/jrnl.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/crc.h"
#include "storage/format/bidx.h"

/* --- writing ----------------------------------------------------------------------------- */

void jrnl_begin(struct jrnl_builder *b, uint8_t *buf, uint32_t room)
{
	CHECK(room >= FMT_PAGE && room % FMT_PAGE == 0);
	*b = (struct jrnl_builder){
		.buf = buf,
		.room = room,
		.used = sizeof(struct fmt_jrnl_group),
	};
}

uint32_t jrnl_entry_size(uint32_t length)
{
	return (uint32_t)sizeof(struct fmt_jrnl_entry) + align_up(length, 8u);
}

uint8_t *jrnl_add(struct jrnl_builder *b, const struct fmt_jrnl_entry *e, uint32_t body)
{
	uint32_t size = jrnl_entry_size(body);
	if (size > b->room - b->used)
		return NULL;
	uint8_t *at = b->buf + b->used;
	memcpy(at, e, sizeof(*e));
	memset(at + size - 8, 0, 8 * (body % 8 != 0));
	b->used += size;
	b->count++;
	return at + sizeof(*e);
}

/* CRC of a group, with its crc field taken as 0. */
static uint32_t group_crc(const uint8_t *p, uint32_t length, const struct uuid *journal_id)
{
	static const uint8_t zero[4];
	uint32_t crc = crc32c(0, journal_id->b, sizeof(journal_id->b));
	size_t at = offsetof(struct fmt_jrnl_group, crc);
	crc = crc32c(crc, p, at);
	crc = crc32c(crc, zero, sizeof(zero));
	return crc32c(crc, p + at + sizeof(zero), length - at - sizeof(zero));
}

uint32_t jrnl_end(struct jrnl_builder *b, const struct uuid *journal_id, uint64_t seq,
	uint64_t stream_pos, uint64_t checkpoint)
{
	uint32_t size = align_up(b->used, FMT_PAGE);
	struct fmt_jrnl_group g = {
		.magic = JRNL_GROUP_MAGIC,
		.seq = seq,
		.stream_pos = stream_pos,
		.length = b->used,
		.count = b->count,
		.checkpoint = checkpoint,
	};
	memset(b->buf + b->used, 0, size - b->used);
	memcpy(b->buf, &g, sizeof(g));
	g.crc = group_crc(b->buf, b->used, journal_id);
	memcpy(b->buf, &g, sizeof(g));
	return size;
}

/* --- reading ----------------------------------------------------------------------------- */

/* Bytes behind the entry; UINT32_MAX: it is not right. */
static uint32_t entry_body(const struct fmt_jrnl_entry *e, const uint8_t *body, uint32_t left)
{
	struct fmt_jrnl_direct d;
	bool bytes = e->kind == JRNL_DATA || e->kind == JRNL_DIRECT;
	if (e->reserved[0] || e->reserved[1] || e->reserved[2])
		return UINT32_MAX;
	if (bytes && (e->segment < 0 || e->length == 0 || e->pos > INT64_MAX))
		return UINT32_MAX;
	if (!bytes && e->segment != 0)
		return UINT32_MAX;
	if (e->kind != JRNL_DIRECT && e->crc != 0)
		return UINT32_MAX;
	switch (e->kind) {
	case JRNL_DATA:
		return e->length;
	case JRNL_OPEN:
		return e->length == sizeof(struct fmt_jrnl_open) && e->pos == 0 ? e->length
										: UINT32_MAX;
	case JRNL_TRIM:
		return e->length == 0 && e->pos <= INT64_MAX ? 0 : UINT32_MAX;
	case JRNL_DELETE:
		return e->length == 0 && e->pos == 0 ? 0 : UINT32_MAX;
	case JRNL_DIRECT:
		break;
	default:
		return UINT32_MAX;
	}
	if (left < sizeof(d))
		return UINT32_MAX;
	memcpy(&d, body, sizeof(d));
	if (d.block_count > JRNL_GROUP_MAX / sizeof(struct fmt_block) || d.tail_length >= FMT_PAGE)
		return UINT32_MAX;
	return (uint32_t)(sizeof(d) + d.block_count * sizeof(struct fmt_block)) + d.tail_length;
}

/* The entry at *at of a group of `length` bytes; moves *at behind it. False: it does not fit. */
static bool entry_next(const uint8_t *group, uint32_t length, uint32_t *at,
	struct fmt_jrnl_entry *e, const uint8_t **body)
{
	uint32_t left = length - *at;
	if (left < sizeof(*e))
		return false;
	memcpy(e, group + *at, sizeof(*e));
	left -= (uint32_t)sizeof(*e);
	*body = group + *at + sizeof(*e);
	uint32_t n = entry_body(e, *body, left);
	if (n > left || align_up(n, 8u) > left)
		return false;
	*at += jrnl_entry_size(n);
	return true;
}

static bool entries_fit(const uint8_t *p, const struct fmt_jrnl_group *g)
{
	struct fmt_jrnl_entry e;
	const uint8_t *body;
	uint32_t at = sizeof(*g), count = 0;
	while (at < g->length) {
		if (!entry_next(p, g->length, &at, &e, &body))
			return false;
		count++;
	}
	return at == g->length && count == g->count;
}

enum jrnl_verdict jrnl_check(const uint8_t *p, uint64_t room, const struct uuid *journal_id,
	uint64_t seq, uint64_t stream_pos, uint64_t ring_bytes, uint64_t *need)
{
	struct fmt_jrnl_group g;
	*need = 0;
	if (room < sizeof(g))
		return JRNL_INVALID;
	memcpy(&g, p, sizeof(g));
	uint64_t size = align_up((uint64_t)g.length, (uint64_t)FMT_PAGE);
	if (g.magic != JRNL_GROUP_MAGIC || g.seq != seq || g.stream_pos != stream_pos ||
		g.length < sizeof(g) || size > JRNL_GROUP_MAX || g.reserved != 0 ||
		g.checkpoint > stream_pos || stream_pos % FMT_PAGE != 0 ||
		stream_pos % ring_bytes + size > ring_bytes)
		return JRNL_INVALID;
	*need = size;
	if (size > room)
		return JRNL_SHORT;
	if (group_crc(p, g.length, journal_id) != g.crc || !entries_fit(p, &g))
		return JRNL_INVALID;
	return JRNL_OK;
}

bool jrnl_is_later(const uint8_t *page, const struct uuid *journal_id, uint64_t ring_offset,
	uint64_t ring_bytes, uint64_t seq, uint64_t stream_pos)
{
	struct fmt_jrnl_group g;
	memcpy(&g, page, sizeof(g));
	if (g.magic != JRNL_GROUP_MAGIC || g.seq <= seq || g.stream_pos <= stream_pos ||
		g.stream_pos % ring_bytes != ring_offset || g.reserved != 0 ||
		g.length < sizeof(g) || g.length > JRNL_GROUP_MAX)
		return false;
	/* A group that is too long to be seen whole here is taken for one: it is safer to ask the
	 * operator than to cut. Records cannot look like it by chance: seq and position would have
	 * to fit. */
	return g.length > FMT_PAGE || group_crc(page, g.length, journal_id) == g.crc;
}

bool jrnl_next(const uint8_t *group, uint32_t *at, struct fmt_jrnl_entry *e, const uint8_t **body)
{
	struct fmt_jrnl_group g;
	memcpy(&g, group, sizeof(g));
	if (*at == 0)
		*at = sizeof(g);
	return *at < g.length && entry_next(group, g.length, at, e, body);
}

enum fmt_verdict fmt_jrnl_file_check(const void *p, uint64_t length)
{
	struct fmt_jrnl_file f;
	if (length < sizeof(f))
		return FMT_DAMAGED;
	enum fmt_verdict v = fmt_check(p, sizeof(f), FMT_JRNL_MAGIC);
	if (v != FMT_OK)
		return v;
	memcpy(&f, p, sizeof(f));
	return f.reserved == 0 && f.ring_bytes > 0 && f.ring_bytes % FMT_PAGE == 0 ? FMT_OK
										   : FMT_DAMAGED;
}

void fmt_jrnl_name(char out[FMT_NAME_SIZE], uint32_t worker)
{
	snprintf(out, FMT_NAME_SIZE, "journal-%" PRIu32, worker);
}

bool fmt_jrnl_name_parse(const char *name, uint32_t *worker)
{
	char again[FMT_NAME_SIZE];
	if (strncmp(name, "journal-", 8) != 0)
		return false;
	*worker = (uint32_t)strtoul(name + 8, NULL, 10);
	fmt_jrnl_name(again, *worker);
	return strcmp(name, again) == 0;
}
