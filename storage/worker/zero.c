/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal's room is allocated when it is made, but only its beginning is written: a write into
 * the rest would change the filesystem's metadata, and the commit's flush would wait for that. So,
 * once something is committed at all, the rest is written with zeros in the background, one run at
 * a time and ahead of the groups. It takes part of a second, once in a journal's life.
 */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "storage/worker/engine_int.h"

#define ZERO_LEAST (64u * 1024u * 1024u) /* a smaller ring has gone round before it matters */

/* [offset, offset + size) of the ring. */
static bool zero_meets(const struct eng_lane *lane, uint64_t offset, uint64_t size)
{
	return lane->zeroing && offset < lane->zero_pos + ZERO_RUN &&
	       lane->zero_pos < offset + size;
}

bool zero_is_in_the_way(const struct eng_lane *lane, uint64_t size)
{
	const struct store_lane *st = lane->st;
	return lane->zeroing && zero_meets(lane, st->head % st->ring_bytes, size + JRNL_GROUP_MAX);
}

void zero_run(struct engine *e, struct eng_lane *lane)
{
	const struct store_lane *st = lane->st;
	bool first_round = st->head < st->ring_bytes && st->ring_bytes >= ZERO_LEAST;
	if (!first_round || st->head == 0 || lane->zeroing || e->stopping ||
		!eng_lane_ok(e, lane) || !eng_may_start(e, ENG_ZERO))
		return;
	/* Nothing that a cycle may be writing now, or may begin to write. */
	uint64_t least = align_up(st->head, (uint64_t)ZERO_RUN) + 2 * (uint64_t)JRNL_GROUP_MAX;
	lane->zero_pos = max_of(lane->zero_pos, least);
	if (lane->zero_pos + ZERO_RUN > st->ring_bytes)
		return;
	if (!e->zeros)
		e->zeros = aligned_alloc(FMT_PAGE, ZERO_RUN);
	if (!e->zeros)
		return;
	memset(e->zeros, 0, ZERO_RUN);
	struct eng_op *op = eng_op_get(e, lane, ENG_ZERO);
	lane->zeroing = true;
	eng_op_start(e, op, IO_WRITE, lane->journal, e->zeros, FMT_PAGE + lane->zero_pos, ZERO_RUN);
}

void zero_op_done(struct engine *e, struct eng_op *op)
{
	struct eng_lane *lane = op->lane;
	if (op->io.result < 0)
		eng_lane_failed(e, lane, op->io.result, "a write to the journal");
	lane->zeroing = false;
	lane->zero_pos += ZERO_RUN;
	eng_op_put(e, op);
}
