/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Room ahead. Commits only go where a segment's file has room already (S5). So that they need not
 * wait for it, a file grows in the background before its room is used up. A recycled file does not:
 * where it ends the segment is about to end, too.
 */
#include "base/check.h"
#include "storage/worker/engine_int.h"

static bool room_is_wanted(const struct segment *s)
{
	if (!s->file || s->rolled || s->file_size == 0 || s->file_size == s->written_to)
		return false;
	uint64_t step = segment_grown_size(s, s->file_size + 1) - s->file_size;
	return s->file_size - min_of(s->end_pos, s->file_size) < step / 4;
}

void room_note(struct engine *e, struct st_log *l)
{
	struct segment *s = log_active(l->log);
	if (l->growing || l->grow_retry_ms > e->now_ms || !room_is_wanted(s) || !eng_log_ok(e, l) ||
		e->stopping || !eng_may_start(e, ENG_ROOM))
		return;
	struct eng_op *op = eng_op_get(e, l->lane, ENG_ROOM);
	op->log = l;
	op->segment = s;
	s->reads++;
	l->flush_ops++;
	l->growing = true;
	uint64_t to = segment_grown_size(s, s->file_size + 1);
	eng_op_start(e, op, IO_FALLOCATE, s->file, NULL, s->file_size, to - s->file_size);
}

void room_op_done(struct engine *e, struct eng_op *op)
{
	struct st_log *l = op->log;
	struct segment *s = op->segment;
	struct io_op io = op->io;
	eng_op_put(e, op);
	s->reads--;
	l->flush_ops--;
	l->growing = false;
	uint64_t sealed_size = align_up(s->end_pos, (uint64_t)FMT_PAGE);
	if (io.result >= 0) {
		s->file_dirty = true;
		s->file_size = max_of(s->file_size, io.off + io.len);
		if (s->sealed && e->io->api->truncate(e->io, s->file, sealed_size) == 0)
			s->file_size = sealed_size; /* it was cut meanwhile */
	} else if (is_no_space(io.result) || io.result == -EMFILE || io.result == -ENFILE ||
		   io.result == -ENOMEM) {
		l->grow_retry_ms = e->now_ms + NOSPACE_RETRY_MS; /* a commit may find some */
	} else {
		eng_lane_failed(e, l->lane, io.result, "growing a segment");
	}
	fill_settle(e, l);
}
