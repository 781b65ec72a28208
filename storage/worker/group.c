/* SPDX-License-Identifier: Apache-2.0 */
/* What a cycle writes into the journal: one entry for each log's commit, and those that stand for
 * themselves. */
#include <string.h>

#include "base/check.h"
#include "base/crc.h"
#include "storage/worker/engine_int.h"

uint64_t group_room(const struct store_lane *st, uint32_t size, uint64_t *pos)
{
	uint64_t to_end = st->ring_bytes - st->head % st->ring_bytes;
	*pos = size <= to_end ? st->head : st->head + to_end; /* a group never wraps */
	uint64_t used = *pos - st->tail;
	return used < st->ring_bytes ? st->ring_bytes - used : 0;
}

static uint32_t group_direct_blocks(const struct st_log *l)
{
	return (uint32_t)((l->end_pos + BIDX_BLOCK - 1) / BIDX_BLOCK - l->begin_pos / BIDX_BLOCK);
}

static uint32_t group_body_size(const struct st_log *l)
{
	if (!l->direct)
		return (uint32_t)(l->end_pos - l->begin_pos);
	return (uint32_t)(sizeof(struct fmt_jrnl_direct) +
			  group_direct_blocks(l) * sizeof(struct fmt_block) +
			  (l->end_pos - l->direct_to));
}

uint32_t group_commit_size(const struct st_log *l)
{
	return jrnl_entry_size(group_body_size(l));
}

uint32_t group_entry_size(const struct st_req *r)
{
	return jrnl_entry_size(r->op == ST_OPEN ? sizeof(struct fmt_jrnl_open) : 0);
}

/* The bytes of the commit's requests, one behind the other. */
static void group_copy_data(const struct st_log *l, uint8_t *out)
{
	list_for_each (it, &l->commit) {
		const struct st_req *r = eng_req(it);
		lspan_copy(r->append.span, 0, out, r->append.span.len);
		out += r->append.span.len;
	}
}

/* CRC of [from, to) of the active segment, which stands in blocks from fill_pos on. */
static uint32_t group_crc(const struct segment *s, uint64_t from, uint64_t to)
{
	const struct lblock *b = s->pend;
	uint64_t at = s->pend_pos;
	uint32_t crc = 0;
	while (from < to) {
		for (; at + LBLOCK_SIZE <= from; at += LBLOCK_SIZE)
			b = b->next;
		uint64_t stop = min_of(at + LBLOCK_SIZE, to);
		crc = crc32c(crc, b->data + (from - at), (size_t)(stop - from));
		from = stop;
	}
	return crc;
}

static void group_add_direct(struct eng_lane *lane, struct st_log *l, struct fmt_jrnl_entry *e)
{
	const struct segment *s = log_active(l->log);
	uint32_t first = (uint32_t)(l->begin_pos / BIDX_BLOCK);
	struct fmt_jrnl_direct d = {
		.base_offset = l->begin_offset,
		.end_offset = l->end_offset,
		.max_timestamp = s->max_timestamp,
		.leader_epoch = s->leader_epoch,
		.block_count = group_direct_blocks(l),
		.tail_length = (uint32_t)(l->end_pos - l->direct_to),
		.lead = (uint32_t)(l->begin_pos - s->fill_pos),
	};
	e->kind = JRNL_DIRECT;
	e->length = (uint32_t)(l->direct_to - l->begin_pos);
	e->crc = group_crc(s, s->fill_pos, l->direct_to);
	uint8_t *out = jrnl_add(&lane->group, e, group_body_size(l));
	size_t blocks = d.block_count * sizeof(struct fmt_block);
	CHECK(out);
	memcpy(out, &d, sizeof(d));
	memcpy(out + sizeof(d), s->blocks + first, blocks);
	segment_copy_pending(s, l->direct_to, out + sizeof(d) + blocks, d.tail_length);
}

void group_add_commit(struct eng_lane *lane, struct st_log *l)
{
	struct fmt_jrnl_entry e = {
		.kind = JRNL_DATA,
		.log = l->log->number,
		.segment = log_active(l->log)->base_offset,
		.pos = l->begin_pos,
		.length = (uint32_t)(l->end_pos - l->begin_pos),
	};
	if (l->direct) {
		group_add_direct(lane, l, &e);
		return;
	}
	uint8_t *out = jrnl_add(&lane->group, &e, e.length);
	CHECK(out); /* the cycle has counted */
	group_copy_data(l, out);
}

static void group_add_open(struct eng_lane *lane, const struct log *l, struct fmt_jrnl_entry *e)
{
	struct fmt_jrnl_open o = {
		.topic_id = l->topic_id,
		.partition = l->partition,
		.topic_length = (uint16_t)strlen(l->topic),
		.log_start_offset = l->log_start_offset,
	};
	memcpy(o.topic, l->topic, o.topic_length);
	e->kind = JRNL_OPEN;
	e->length = sizeof(o);
	uint8_t *out = jrnl_add(&lane->group, e, sizeof(o));
	CHECK(out);
	memcpy(out, &o, sizeof(o));
}

void group_add_request(struct eng_lane *lane, const struct st_req *r)
{
	const struct log *l = r->log->log;
	struct fmt_jrnl_entry e = {.log = l->number};
	switch (r->op) {
	case ST_OPEN:
		group_add_open(lane, l, &e);
		return;
	case ST_TRIM:
		e.kind = JRNL_TRIM;
		e.pos = (uint64_t)r->trim.log_start_offset;
		break;
	case ST_RETAIN:
		e.kind = JRNL_TRIM;
		e.pos = (uint64_t)r->retain.log_start_offset;
		break;
	default:
		CHECK(r->op == ST_DELETE);
		e.kind = JRNL_DELETE;
	}
	CHECK(jrnl_add(&lane->group, &e, 0));
}
