/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/format/ckpt.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

uint64_t ckpt_log_size(const struct fmt_ckpt_log *l)
{
	uint64_t n = sizeof(*l) + align_up((uint64_t)l->topic_length, 8ull) +
		     (uint64_t)l->epoch_count * sizeof(struct fmt_ckpt_epoch) +
		     (uint64_t)l->block_count * sizeof(struct fmt_block) +
		     (l->end_pos - l->fill_pos);
	return align_up(n, 8ull);
}

/* Where the parts of a record are; its size must have been checked. */
static struct ckpt_view view_of(const uint8_t *p)
{
	const struct fmt_ckpt_log *l = (const void *)p;
	struct ckpt_view v = {.log = l, .topic = (const char *)p + sizeof(*l)};
	p += sizeof(*l) + align_up((uint64_t)l->topic_length, 8ull);
	v.epochs = (const void *)p;
	p += l->epoch_count * sizeof(struct fmt_ckpt_epoch);
	v.blocks = (const void *)p;
	v.tail = p + l->block_count * sizeof(struct fmt_block);
	return v;
}

static bool log_is_right(const struct fmt_ckpt_log *l)
{
	uint64_t blocks = (l->end_pos + BIDX_BLOCK - 1) / BIDX_BLOCK;
	return l->partition >= 0 && l->topic_length > 0 && l->topic_length <= FMT_TOPIC_MAX &&
	       l->end_pos <= INT64_MAX &&
	       l->fill_pos == align_down(l->end_pos, (uint64_t)FMT_PAGE) &&
	       l->first_block % BIDX_PER_PAGE == 0 &&
	       (uint64_t)l->first_block + l->block_count == blocks && 0 <= l->log_start_offset &&
	       l->log_start_offset <= l->end_offset && 0 <= l->segment &&
	       l->segment <= l->end_offset && (l->end_pos == 0) == (l->segment == l->end_offset) &&
	       l->flags <= (CKPT_LOG_DAMAGED | CKPT_LOG_FILES) &&
	       ((l->flags & CKPT_LOG_FILES) || (l->fill_pos == 0 && l->first_block == 0));
}

/* The record at *at of a file of `length` bytes; moves *at behind it. */
static bool record_next(const uint8_t *p, uint64_t length, uint64_t *at, struct ckpt_view *out)
{
	const struct fmt_ckpt_log *l = (const void *)(p + *at);
	uint64_t left = length - *at;
	if (left < sizeof(*l) || !log_is_right(l) || ckpt_log_size(l) > left)
		return false;
	*out = view_of(p + *at);
	*at += ckpt_log_size(l);
	return true;
}

enum fmt_verdict fmt_ckpt_check(const void *p, uint64_t length)
{
	struct fmt_ckpt c;
	struct ckpt_view v;
	if (length < sizeof(c))
		return FMT_DAMAGED;
	memcpy(&c, p, sizeof(c));
	if (c.head.length < sizeof(c) || c.head.length > length || c.head.length % 8 != 0)
		return FMT_DAMAGED;
	enum fmt_verdict verdict = fmt_check(p, c.head.length, FMT_CKPT_MAGIC);
	if (verdict != FMT_OK)
		return verdict;
	uint64_t at = sizeof(c);
	for (uint32_t i = 0; i < c.count; i++)
		if (!record_next(p, c.head.length, &at, &v))
			return FMT_DAMAGED;
	bool right = at == c.head.length && c.reserved == 0 && c.flags <= CKPT_CLEAN &&
		     c.workers > c.worker && c.journal_pos % FMT_PAGE == 0 && c.seq > 0;
	return right ? FMT_OK : FMT_DAMAGED;
}

bool ckpt_next(const void *p, uint64_t *at, struct ckpt_view *out)
{
	const struct fmt_ckpt *c = p;
	if (*at == 0)
		*at = sizeof(*c);
	return *at < c->head.length && record_next(p, c->head.length, at, out);
}

uint8_t *ckpt_put(void *dst, const struct fmt_ckpt_log *l, const char *topic,
	const struct fmt_ckpt_epoch *epochs, const struct fmt_block *blocks, const uint8_t *tail)
{
	uint8_t *p = dst;
	size_t name = align_up((size_t)l->topic_length, (size_t)8);
	size_t tail_length = (size_t)(l->end_pos - l->fill_pos);
	memset(p + ckpt_log_size(l) - 8, 0, 8);
	memcpy(p, l, sizeof(*l));
	p += sizeof(*l);
	memset(p, 0, name);
	memcpy(p, topic, l->topic_length);
	p += name;
	if (l->epoch_count)
		memcpy(p, epochs, l->epoch_count * sizeof(*epochs));
	p += l->epoch_count * sizeof(*epochs);
	if (l->block_count)
		memcpy(p, blocks, l->block_count * sizeof(*blocks));
	p += l->block_count * sizeof(*blocks);
	if (tail && tail_length)
		memcpy(p, tail, tail_length);
	return p;
}

void fmt_ckpt_name(char out[FMT_NAME_SIZE], uint32_t worker, uint32_t slot)
{
	snprintf(out, FMT_NAME_SIZE, "checkpoint-%" PRIu32 ".%c", worker, slot ? 'b' : 'a');
}

bool fmt_ckpt_name_parse(const char *name, uint32_t *worker, uint32_t *slot)
{
	char again[FMT_NAME_SIZE];
	if (strncmp(name, "checkpoint-", 11) != 0)
		return false;
	*worker = (uint32_t)strtoul(name + 11, NULL, 10);
	*slot = name[strlen(name) - 1] == 'b';
	fmt_ckpt_name(again, *worker, *slot);
	return strcmp(name, again) == 0;
}
