/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/format/ckpt.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"

/* Where the parts of a record begin, and where it ends. */
struct layout {
	uint64_t topic;
	uint64_t epochs;
	uint64_t blocks;
	uint64_t tail;
	uint64_t end;
};

/* The sums cannot overflow: the counts are small, and so is the tail of a record that is valid. */
static struct layout layout_of(const struct fmt_ckpt_log *l)
{
	struct layout y;
	y.topic = sizeof(*l);
	y.epochs = y.topic + align_up((uint64_t)l->topic_length, 8u);
	y.blocks = y.epochs + l->epoch_count * sizeof(struct fmt_ckpt_epoch);
	y.tail = y.blocks + l->block_count * sizeof(struct fmt_block);
	y.end = align_up(y.tail + (l->end_pos - l->fill_pos), 8u);
	return y;
}

uint64_t ckpt_log_size(const struct fmt_ckpt_log *l)
{
	return layout_of(l).end;
}

/* --- checking ---------------------------------------------------------------------------- */

static bool log_ok(const struct fmt_ckpt_log *l, const struct fmt_ckpt *c)
{
	uint64_t blocks = l->end_pos / BIDX_BLOCK + (l->end_pos % BIDX_BLOCK != 0);
	bool files = l->flags & CKPT_LOG_FILES;
	return l->partition >= 0 && l->log < c->next_log &&
	       (l->flags & ~(CKPT_LOG_DAMAGED | CKPT_LOG_FILES)) == 0 && l->topic_length > 0 &&
	       l->topic_length <= FMT_TOPIC_MAX && l->log_start_offset >= 0 &&
	       l->log_start_offset <= l->end_offset && l->segment >= 0 &&
	       l->segment <= l->end_offset && l->end_offset < INT64_MAX &&
	       (l->end_pos == 0) == (l->end_offset == l->segment) && l->end_pos <= INT64_MAX &&
	       l->fill_pos == align_down(l->end_pos, (uint64_t)FMT_PAGE) &&
	       l->first_block % BIDX_PER_PAGE == 0 &&
	       (files || (l->fill_pos == 0 && l->first_block == 0)) &&
	       (uint64_t)l->first_block + l->block_count == blocks && l->file_size <= INT64_MAX;
}

static bool epochs_ok(const uint8_t *p, const struct fmt_ckpt_log *l)
{
	struct fmt_ckpt_epoch prev = {0}, e;
	for (uint32_t i = 0; i < l->epoch_count; i++) {
		memcpy(&e, p + i * sizeof(e), sizeof(e));
		if (e.reserved != 0 || e.start_offset < 0)
			return false;
		if (i > 0 && (e.epoch <= prev.epoch || e.start_offset < prev.start_offset))
			return false;
		prev = e;
	}
	return true;
}

/* Bytes of the record at p, of which `left` are there; 0: it is not valid. */
static uint64_t record_size(const uint8_t *p, uint64_t left, const struct fmt_ckpt *c)
{
	struct fmt_ckpt_log l;
	if (left < sizeof(l))
		return 0;
	memcpy(&l, p, sizeof(l));
	if (!log_ok(&l, c))
		return 0;
	struct layout y = layout_of(&l);
	if (y.end > left || !epochs_ok(p + y.epochs, &l))
		return 0;
	return memchr(p + y.topic, 0, l.topic_length) ? 0 : y.end;
}

enum fmt_verdict fmt_ckpt_check(const void *p, uint64_t length)
{
	struct fmt_ckpt c;
	enum fmt_verdict v = fmt_check_in(p, length, FMT_CKPT_MAGIC);
	if (v != FMT_OK)
		return v;
	memcpy(&c, p, sizeof(c.head));
	if (c.head.length < sizeof(c))
		return FMT_DAMAGED;
	memcpy(&c, p, sizeof(c));
	if (uuid_is_zero(&c.dir_id) || uuid_is_zero(&c.journal_id) || c.seq == 0 ||
		c.worker >= c.workers || c.journal_pos % FMT_PAGE != 0 ||
		(c.flags & ~CKPT_CLEAN) != 0 || c.reserved != 0)
		return FMT_DAMAGED;
	uint64_t at = sizeof(c);
	for (uint32_t i = 0; i < c.count; i++) {
		uint64_t size = record_size((const uint8_t *)p + at, c.head.length - at, &c);
		if (size == 0)
			return FMT_DAMAGED;
		at += size;
	}
	return at == c.head.length ? FMT_OK : FMT_DAMAGED;
}

/* --- reading and writing ----------------------------------------------------------------- */

bool ckpt_next(const void *p, uint64_t *at, struct ckpt_view *out)
{
	const uint8_t *file = p;
	struct fmt_head head;
	memcpy(&head, p, sizeof(head));
	if (*at == 0)
		*at = sizeof(struct fmt_ckpt);
	if (*at >= head.length)
		return false;
	const uint8_t *r = file + *at;
	const struct fmt_ckpt_log *l = (const void *)r;
	struct layout y = layout_of(l);
	*out = (struct ckpt_view){
		.log = l,
		.topic = (const char *)r + y.topic,
		.epochs = (const void *)(r + y.epochs),
		.blocks = (const void *)(r + y.blocks),
		.tail = r + y.tail,
	};
	*at += y.end;
	return true;
}

static void put(uint8_t *dst, const void *src, size_t n)
{
	if (n > 0)
		memcpy(dst, src, n);
}

uint8_t *ckpt_put(void *dst, const struct fmt_ckpt_log *l, const char *topic,
	const struct fmt_ckpt_epoch *epochs, const struct fmt_block *blocks, const uint8_t *tail)
{
	uint8_t *p = dst;
	struct layout y = layout_of(l);
	uint64_t length = l->end_pos - l->fill_pos;
	CHECK(l->topic_length <= FMT_TOPIC_MAX && length < FMT_PAGE);
	memcpy(p, l, sizeof(*l));
	put(p + y.topic, topic, l->topic_length);
	memset(p + y.topic + l->topic_length, 0, (size_t)(y.epochs - y.topic) - l->topic_length);
	put(p + y.epochs, epochs, (size_t)(y.blocks - y.epochs));
	put(p + y.blocks, blocks, (size_t)(y.tail - y.blocks));
	if (tail)
		put(p + y.tail, tail, (size_t)length);
	memset(p + y.tail + length, 0, (size_t)(y.end - y.tail - length));
	return p + y.tail;
}

/* --- names ------------------------------------------------------------------------------- */

void fmt_ckpt_name(char out[FMT_NAME_SIZE], uint32_t worker, uint32_t slot)
{
	CHECK(slot < 2);
	snprintf(out, FMT_NAME_SIZE, "checkpoint-%u.%c", worker, slot ? 'b' : 'a');
}

bool fmt_ckpt_name_parse(const char *name, uint32_t *worker, uint32_t *slot)
{
	static const char *const suffixes[] = {".a", ".b"};
	for (uint32_t i = 0; i < array_size(suffixes); i++) {
		if (!fmt_number_parse(name, "checkpoint-", suffixes[i], worker))
			continue;
		*slot = i;
		return true;
	}
	return false;
}
