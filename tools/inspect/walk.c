/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/inspect/walk.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/crc.h"

void walk_init(struct walk *w, uint64_t pos, int64_t next_offset, uint64_t limit)
{
	*w = (struct walk){.pos = pos, .next_offset = next_offset, .limit = limit};
}

void walk_fini(struct walk *w)
{
	free(w->buf);
	w->buf = NULL;
}

static enum scan_step walk_halt(struct walk *w, enum scan_stop why)
{
	w->stop = why;
	return SCAN_STOPPED;
}

/* Puts n bytes of the batch, of which `have` are there already, into buf. */
static bool walk_keep(struct walk *w, const uint8_t *p, size_t n)
{
	if (!w->keep)
		return true;
	size_t need = (size_t)w->have + n;
	if (need > w->room) {
		size_t room = max_of(need, w->room * 2);
		uint8_t *buf = realloc(w->buf, room);
		if (!buf) {
			w->no_memory = true;
			return false;
		}
		w->buf = buf;
		w->room = room;
	}
	memcpy(w->buf + w->have, p, n);
	return true;
}

static enum scan_stop walk_head(struct walk *w)
{
	int64_t base = (int64_t)be64_get(w->head), expected = w->next_offset;
	if (w->gaps && base > expected)
		expected = base;
	enum scan_stop stop = scan_head(w->head, w->limit - w->pos, expected, &w->batch);
	w->batch.pos = w->pos;
	w->crc = crc32c(0, w->head + SCAN_CRC_FROM, SCAN_BATCH_HEAD - SCAN_CRC_FROM);
	return stop;
}

enum scan_step walk_feed(struct walk *w, const uint8_t **p, size_t *n)
{
	if (w->stop != SCAN_STOP_NONE)
		return SCAN_STOPPED;
	if (w->limit - w->pos < SCAN_BATCH_HEAD)
		return walk_halt(w, SCAN_STOP_EOF);
	bool in_head = w->have < SCAN_BATCH_HEAD;
	uint64_t whole = in_head ? SCAN_BATCH_HEAD : w->batch.size;
	size_t take = (size_t)min_of((uint64_t)*n, whole - w->have);
	if (!walk_keep(w, *p, take))
		return walk_halt(w, SCAN_STOP_EOF);
	if (in_head)
		memcpy(w->head + w->have, *p, take);
	else
		w->crc = crc32c(w->crc, *p, take);
	w->have += take;
	*p += take;
	*n -= take;
	if (in_head && w->have == SCAN_BATCH_HEAD) {
		enum scan_stop stop = walk_head(w);
		if (stop != SCAN_STOP_NONE)
			return walk_halt(w, stop);
		in_head = false;
	}
	if (in_head || w->have < w->batch.size)
		return *n == 0 ? SCAN_MORE : walk_feed(w, p, n);
	if (w->crc != w->batch.crc)
		return walk_halt(w, SCAN_STOP_CRC);
	w->pos += w->batch.size;
	w->next_offset = w->batch.last_offset + 1;
	w->have = 0;
	return SCAN_BATCH;
}

bool walk_is_whole(const struct walk *w)
{
	return w->pos == w->limit && w->have == 0 &&
	       (w->stop == SCAN_STOP_NONE || w->stop == SCAN_STOP_EOF);
}
