/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/format/jrnl.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/crc.h"
#include "storage/format/bidx.h"

#define HEAD sizeof(struct fmt_jrnl_group)
#define ENTRY sizeof(struct fmt_jrnl_entry)

/* --- checksums --------------------------------------------------------------------------- */

/* CRC of [0, length) with the crc field taken as 0, begun with the CRC of the journal id. */
static uint32_t group_crc(const uint8_t *p, size_t length, const struct uuid *journal_id)
{
	static const uint32_t zero;
	size_t at = offsetof(struct fmt_jrnl_group, crc);
	uint32_t crc = crc32c(0, journal_id->b, sizeof(journal_id->b));
	crc = crc32c(crc, p, at);
	crc = crc32c(crc, &zero, sizeof(zero));
	at += sizeof(zero);
	return crc32c(crc, p + at, length - at);
}

static uint32_t group_head_crc(const uint8_t *p, const struct uuid *journal_id)
{
	return group_crc(p, offsetof(struct fmt_jrnl_group, head_crc), journal_id);
}

/* --- writing ----------------------------------------------------------------------------- */

void jrnl_begin(struct jrnl_builder *b, uint8_t *buf, uint32_t room)
{
	CHECK(room >= FMT_PAGE && room <= JRNL_GROUP_MAX && room % FMT_PAGE == 0);
	*b = (struct jrnl_builder){.buf = buf, .room = room, .used = HEAD};
}

uint32_t jrnl_entry_size(uint32_t length)
{
	return (uint32_t)ENTRY + align_up(length, 8u);
}

uint8_t *jrnl_add(struct jrnl_builder *b, const struct fmt_jrnl_entry *e, uint32_t body)
{
	CHECK(b->used >= HEAD);
	uint64_t padded = align_up((uint64_t)body, 8u);
	if (padded + ENTRY > b->room - b->used)
		return NULL;
	uint8_t *p = b->buf + b->used;
	memcpy(p, e, ENTRY);
	memset(p + ENTRY + body, 0, (size_t)(padded - body));
	b->used += (uint32_t)(ENTRY + padded);
	b->count++;
	return p + ENTRY;
}

uint32_t jrnl_end(struct jrnl_builder *b, const struct uuid *journal_id, uint64_t seq,
	uint64_t stream_pos, uint64_t checkpoint)
{
	CHECK(b->used >= HEAD && stream_pos % FMT_PAGE == 0 && checkpoint <= stream_pos);
	uint32_t size = align_up(b->used, FMT_PAGE);
	struct fmt_jrnl_group g = {
		.magic = JRNL_GROUP_MAGIC,
		.seq = seq,
		.stream_pos = stream_pos,
		.length = b->used,
		.count = b->count,
		.checkpoint = checkpoint,
	};
	g.head_crc = group_head_crc((const uint8_t *)&g, journal_id);
	memcpy(b->buf, &g, HEAD);
	g.crc = group_crc(b->buf, b->used, journal_id);
	memcpy(b->buf, &g, HEAD);
	memset(b->buf + b->used, 0, size - b->used);
	b->used = 0;
	return size;
}

/* --- reading ----------------------------------------------------------------------------- */

/* The `left` bytes at p begin with an OPEN's body. */
static bool open_ok(const uint8_t *p, uint64_t left)
{
	struct fmt_jrnl_open o;
	if (left < sizeof(o))
		return false;
	memcpy(&o, p, sizeof(o));
	if (o.partition < 0 || o.topic_length == 0 || o.topic_length > FMT_TOPIC_MAX ||
		o.reserved != 0 || o.log_start_offset < 0)
		return false;
	for (size_t i = 0; i < sizeof(o.topic); i++)
		if ((i < o.topic_length) != (o.topic[i] != 0))
			return false;
	return true;
}

/* The size of a DIRECT's body, which the `left` bytes at p begin with; 0: it is none. */
static uint64_t direct_size(const struct fmt_jrnl_entry *e, const uint8_t *p, uint64_t left)
{
	struct fmt_jrnl_direct d;
	if (left < sizeof(d))
		return 0;
	memcpy(&d, p, sizeof(d));
	uint64_t filled = e->pos + e->length, end = filled + d.tail_length;
	uint64_t blocks = (end + BIDX_BLOCK - 1) / BIDX_BLOCK - e->pos / BIDX_BLOCK;
	if (d.base_offset < e->segment || d.end_offset <= d.base_offset || e->length == 0 ||
		d.tail_length >= FMT_PAGE || filled % FMT_PAGE != 0 || d.lead > e->pos ||
		(e->pos - d.lead) % FMT_PAGE != 0 || d.block_count != blocks)
		return 0;
	return sizeof(d) + blocks * sizeof(struct fmt_block) + d.tail_length;
}

/* Bytes of the entry at p, of which `left` are there, its padding included; 0: it is not valid. */
static uint64_t entry_size(const uint8_t *p, uint64_t left)
{
	struct fmt_jrnl_entry e;
	uint64_t body = 0;
	if (left < ENTRY)
		return 0;
	memcpy(&e, p, ENTRY);
	if (e.reserved[0] || e.reserved[1] || e.reserved[2] || e.segment < 0 || e.pos > INT64_MAX ||
		(e.kind != JRNL_DIRECT && e.crc != 0))
		return 0;
	bool bare = e.length == 0 && e.segment == 0;
	switch (e.kind) {
	case JRNL_OPEN:
		if (e.length != sizeof(struct fmt_jrnl_open) || e.segment != 0 || e.pos != 0 ||
			!open_ok(p + ENTRY, left - ENTRY))
			return 0;
		body = e.length;
		break;
	case JRNL_DATA:
		if (e.length == 0)
			return 0;
		body = e.length;
		break;
	case JRNL_DIRECT:
		body = direct_size(&e, p + ENTRY, left - ENTRY);
		if (body == 0)
			return 0;
		break;
	case JRNL_TRIM:
		if (!bare)
			return 0;
		break;
	case JRNL_DELETE:
		if (!bare || e.pos != 0)
			return 0;
		break;
	default:
		return 0;
	}
	uint64_t size = ENTRY + align_up(body, (uint64_t)8);
	return size <= left ? size : 0;
}

static bool entries_ok(const uint8_t *p, const struct fmt_jrnl_group *g)
{
	uint64_t at = HEAD;
	for (uint32_t i = 0; i < g->count; i++) {
		uint64_t size = entry_size(p + at, g->length - at);
		if (size == 0)
			return false;
		at += size;
	}
	return at == g->length;
}

/* What can be told of a group by its head, wherever it belongs. */
static bool head_ok(const uint8_t *p, const struct uuid *journal_id, uint64_t ring_bytes,
	struct fmt_jrnl_group *g)
{
	memcpy(g, p, HEAD);
	return g->magic == JRNL_GROUP_MAGIC && g->head_crc == group_head_crc(p, journal_id) &&
	       g->reserved == 0 && g->stream_pos % FMT_PAGE == 0 &&
	       g->checkpoint <= g->stream_pos && g->length >= HEAD && g->length % 8 == 0 &&
	       g->length <= JRNL_GROUP_MAX &&
	       align_up(g->length, FMT_PAGE) <= ring_bytes - g->stream_pos % ring_bytes;
}

enum jrnl_verdict jrnl_check(const uint8_t *p, uint64_t room, const struct uuid *journal_id,
	uint64_t seq, uint64_t stream_pos, uint64_t ring_bytes, uint64_t *need)
{
	struct fmt_jrnl_group g;
	CHECK(ring_bytes >= FMT_PAGE && ring_bytes % FMT_PAGE == 0);
	*need = 0;
	if (room < HEAD || !head_ok(p, journal_id, ring_bytes, &g) || g.seq != seq ||
		g.stream_pos != stream_pos)
		return JRNL_INVALID;
	*need = align_up(g.length, FMT_PAGE);
	if (*need > room)
		return JRNL_SHORT;
	return g.crc == group_crc(p, g.length, journal_id) && entries_ok(p, &g) ? JRNL_OK
										: JRNL_INVALID;
}

bool jrnl_is_later(const uint8_t *page, const struct uuid *journal_id, uint64_t ring_offset,
	uint64_t ring_bytes, uint64_t seq, uint64_t stream_pos)
{
	struct fmt_jrnl_group g;
	CHECK(ring_bytes >= FMT_PAGE && ring_bytes % FMT_PAGE == 0);
	return head_ok(page, journal_id, ring_bytes, &g) && g.seq > seq &&
	       g.stream_pos > stream_pos && g.stream_pos % ring_bytes == ring_offset;
}

bool jrnl_next(const uint8_t *group, uint32_t *at, struct fmt_jrnl_entry *e, const uint8_t **body)
{
	struct fmt_jrnl_group g;
	memcpy(&g, group, HEAD);
	uint32_t pos = *at ? *at : (uint32_t)HEAD;
	if (pos >= g.length)
		return false;
	uint64_t size = entry_size(group + pos, g.length - pos);
	CHECK(size > 0); /* the group has been checked */
	memcpy(e, group + pos, ENTRY);
	*body = group + pos + ENTRY;
	*at = pos + (uint32_t)size;
	return true;
}

/* --- the file ---------------------------------------------------------------------------- */

enum fmt_verdict fmt_jrnl_file_check(const void *p, uint64_t length)
{
	struct fmt_jrnl_file f;
	enum fmt_verdict v = fmt_check_in(p, length, FMT_JRNL_MAGIC);
	if (v != FMT_OK)
		return v;
	memcpy(&f, p, sizeof(f.head));
	if (f.head.length != sizeof(f))
		return FMT_DAMAGED;
	memcpy(&f, p, sizeof(f));
	return !uuid_is_zero(&f.dir_id) && !uuid_is_zero(&f.journal_id) && f.reserved == 0 &&
			       f.ring_bytes >= FMT_PAGE && f.ring_bytes % FMT_PAGE == 0 &&
			       f.ring_bytes <= INT64_MAX - FMT_PAGE
		       ? FMT_OK
		       : FMT_DAMAGED;
}

void fmt_jrnl_name(char out[FMT_NAME_SIZE], uint32_t worker)
{
	snprintf(out, FMT_NAME_SIZE, "journal-%u", worker);
}

bool fmt_jrnl_name_parse(const char *name, uint32_t *worker)
{
	return fmt_number_parse(name, "journal-", "", worker);
}
