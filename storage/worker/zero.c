/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal's room is allocated when it is made, but not written: a write into it would change
 * the filesystem's metadata, and each commit would wait for that. So the first time round zeros go
 * ahead of the groups, a little way, and only once something is committed at all.
 */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "storage/worker/engine_int.h"

#define ZERO_AHEAD (16u * 1024u * 1024u)

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
	bool first_round = st->head < st->ring_bytes && st->ring_bytes >= 4 * (uint64_t)ZERO_AHEAD;
	if (!first_round || st->head == 0 || lane->zeroing || e->stopping ||
		!eng_lane_ok(e, lane) || !eng_may_start(e, ENG_ZERO))
		return;
	/* Nothing that a cycle may be writing now, or may begin to write. */
	uint64_t least = align_up(st->head, (uint64_t)ZERO_RUN) + 2 * (uint64_t)JRNL_GROUP_MAX;
	lane->zero_pos = max_of(lane->zero_pos, least);
	if (lane->zero_pos > st->head + ZERO_AHEAD || lane->zero_pos + ZERO_RUN > st->ring_bytes)
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
