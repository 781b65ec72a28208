/* SPDX-License-Identifier: Apache-2.0 */
/* Cold reads: their share of the memory, reading ahead, sharing, turns; logs with gaps. */
#include "fixture.h"

/* n batches of one record of about 16 KB that are at the storage alone. */
static void fill_log(struct fx *f, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		fx_append(f, 1, 16000, i);
	part_env_evict(f->env, f->pool->count);
	assert_int_equal(f->env->cached_blocks, 0);
}

static struct part_op fetch_at(struct fx *f, int64_t offset, uint32_t max)
{
	struct part_op op = fx_fetch_op(offset, max, true);
	fx_start(f, &op);
	fx_run(f);
	assert_ptr_equal(fx_done(f), &op);
	assert_int_equal(op.error, KE_NONE);
	return op;
}

static int64_t end_of(struct lspan span)
{
	uint8_t head[BATCH_HEADER_SIZE];
	int64_t next = -1;
	for (; span.len > 0; span = lspan_skip(span, batch_size(head))) {
		lspan_copy(span, 0, head, sizeof(head));
		next = batch_next_offset(head);
	}
	return next;
}

static uint32_t fx_reads(struct fx *f)
{
	uint32_t n = 0;
	list_for_each (it, &f->queue)
		n += list_entry(it, struct st_req, node)->op == ST_READ;
	return n;
}

static void a_scan_leaves_the_tail_of_others_in_memory(void **state)
{
	struct fx *f = fx_new(128, 16, fx_config());
	struct fx *hot = fx_new_beside(f, fx_config());
	fill_log(f, 200);
	for (uint32_t i = 0; i < 90; i++)
		fx_append(hot, 1, 16000, i);
	int64_t oldest = 0;
	for (int64_t offset = 0; offset < 200;) {
		struct part_op op = fetch_at(f, offset, 100000);
		assert_true(fx_check_span(f, op.fetch.span, offset) > 0);
		offset = end_of(op.fetch.span);
		part_release(f->env, op.fetch.span);
		assert_true(f->env->cold_blocks <= 32);
	}
	/* 90 blocks and the share of 32 fit, but for what is kept free for appends */
	for (int64_t offset = 0; offset < 90; offset++) {
		struct part_op op = fx_fetch_op(offset, 1, true);
		fx_start(hot, &op);
		if (fx_queued(hot) == 0)
			assert_ptr_equal(fx_done(hot), &op);
		else
			oldest = offset + 1;
		fx_run(hot);
		fx_done(hot);
		part_release(f->env, op.fetch.span);
	}
	assert_true(oldest <= 16);
	fx_free(hot);
	fx_free(f);
}

static void the_share_is_bounded_while_readers_hold_what_they_got(void **state)
{
	struct fx *f = fx_new(64, 32, fx_config());
	f->env->cold_limit = 10;
	fill_log(f, 60);
	struct part_op op[12];
	uint32_t served = 0;
	for (int i = 0; i < 12; i++) {
		op[i] = fx_fetch_op(i * 5, 1000, true);
		fx_start(f, &op[i]);
		fx_run(f);
		assert_true(f->env->cold_blocks <= 10);
		served += fx_done(f) != NULL;
	}
	assert_true(served >= 4 && served < 12);
	assert_true(part_env_is_waiting(f->env));
	assert_false(part_is_stalled(&f->part));
	for (uint32_t i = 0; i < 12; i++) { /* each that is given back lets others go on */
		part_release(f->env, op[i].fetch.span);
		part_env_turn(f->env, f->now, &f->out);
		fx_take(f);
		fx_run(f);
		assert_true(f->env->cold_blocks <= 10);
	}
	while (fx_done(f))
		served++;
	assert_int_equal(served, 12);
	assert_int_equal(f->env->cold_blocks <= 10, 1);
	fx_free(f);
}

static void a_sequential_reader_finds_its_next_blocks_already_there(void **state)
{
	struct fx *f = fx_new(256, 8, fx_config());
	fill_log(f, 100);
	uint32_t waited = 0;
	uint32_t calls = 0;
	for (int64_t offset = 0; offset < 100; calls++) {
		struct part_op op = fx_fetch_op(offset, 50000, true);
		fx_start(f, &op);
		waited += !list_linked(&op.node) || op.active;
		fx_run(f); /* what is read ahead comes while the reader is busy */
		assert_ptr_equal(fx_done(f), &op);
		assert_true(fx_check_span(f, op.fetch.span, offset) > 0);
		offset = end_of(op.fetch.span);
		part_release(f->env, op.fetch.span);
	}
	assert_true(calls > 30);
	assert_true(waited <= 2); /* the first one, and the one that shows that it goes on */
	fx_free(f);
}

static void one_read_ahead_is_under_way_for_a_partition_and_a_few_are_kept(void **state)
{
	struct fx *f = fx_new(1024, 64, fx_config());
	fill_log(f, 600);
	struct part_op op[40];
	uint32_t n = 0;
	for (int64_t at = 0; at < 600; at += 60) { /* ten readers that go on, each at its place */
		for (int64_t offset = at, i = 0; i < 3; i++) {
			op[n] = fx_fetch_op(offset, 40000, true);
			fx_start(f, &op[n]);
			uint32_t ahead = 0;
			list_for_each (it, &f->part.chunks) {
				struct part_chunk *ch =
					list_entry(it, struct part_chunk, part_node);
				ahead += ch->ahead && ch->req;
			}
			assert_true(ahead <= 1);
			fx_run(f);
			assert_ptr_equal(fx_done(f), &op[n]);
			offset = end_of(op[n].fetch.span);
			part_release(f->env, op[n].fetch.span);
		}
	}
	uint32_t ahead = 0;
	list_for_each (it, &f->part.chunks) {
		struct part_chunk *ch = list_entry(it, struct part_chunk, part_node);
		ahead += ch->ahead && !ch->used;
	}
	assert_true(ahead > 0 && ahead <= 4);
	fx_free(f);
}

static void a_reader_that_jumps_about_has_nothing_read_ahead(void **state)
{
	struct fx *f = fx_new(256, 8, fx_config());
	fill_log(f, 100);
	for (int64_t i = 0; i < 30; i++) {
		int64_t offset = i * 37 % 100;
		struct part_op op = fx_fetch_op(offset, 1000, true);
		fx_start(f, &op);
		assert_int_equal(fx_reads(f), 1);
		fx_run(f);
		assert_false(f->part.reading_ahead);
		assert_ptr_equal(fx_done(f), &op);
		part_release(f->env, op.fetch.span);
	}
	fx_free(f);
}

static void reading_ahead_stops_at_what_is_in_memory_and_at_the_high_watermark(void **state)
{
	struct fx *f = fx_new(256, 8, fx_config());
	fill_log(f, 20);
	for (uint32_t i = 0; i < 5; i++)
		fx_append(f, 1, 16000, i);
	for (int64_t offset = 0; offset < 25;) {
		struct part_op op = fx_fetch_op(offset, 50000, true);
		fx_start(f, &op);
		list_for_each (it, &f->queue) {
			struct st_req *r = list_entry(it, struct st_req, node);
			assert_true(r->read.offset < 20);
		}
		fx_run(f);
		assert_ptr_equal(fx_done(f), &op);
		offset = end_of(op.fetch.span);
		part_release(f->env, op.fetch.span);
	}
	fx_free(f);
}

static void readers_of_one_place_share_one_read(void **state)
{
	struct fx *f = fx_new(64, 8, fx_config());
	fill_log(f, 20);
	struct part_op op[5];
	for (int i = 0; i < 5; i++) {
		op[i] = fx_fetch_op(3, 40000, true);
		fx_start(f, &op[i]);
	}
	assert_int_equal(fx_queued(f), 1);
	fx_run(f);
	uint32_t blocks = f->env->cold_blocks;
	for (int i = 0; i < 5; i++) {
		assert_ptr_equal(fx_done(f), &op[i]);
		fx_check_span(f, op[i].fetch.span, 3);
		assert_ptr_equal(op[i].fetch.span.first, op[0].fetch.span.first);
	}
	/* a late one takes what is there still; from inside of it, too */
	for (int64_t offset = 3; offset < 5; offset++) {
		struct part_op late = fx_fetch_op(offset, 1, true);
		fx_start(f, &late);
		assert_int_equal(fx_reads(f), f->part.reading_ahead ? 1 : 0);
		assert_ptr_equal(fx_done(f), &late);
		assert_int_equal(fx_check_span(f, late.fetch.span, offset), 1);
		part_release(f->env, late.fetch.span);
	}
	assert_true(f->env->cold_blocks >= blocks);
	for (int i = 0; i < 5; i++)
		part_release(f->env, op[i].fetch.span);
	fx_free(f);
}

static void partitions_are_served_in_turn_not_by_who_asks_most(void **state)
{
	struct fx *f[3];
	f[0] = fx_new(64, 32, fx_config());
	f[1] = fx_new_beside(f[0], fx_config());
	f[2] = fx_new_beside(f[0], fx_config());
	f[0]->env->cold_limit = 1;
	for (int i = 0; i < 3; i++)
		fill_log(f[i], 12);
	struct part_op first = fx_fetch_op(11, 1, true);
	fx_start(f[0], &first); /* takes the share */
	struct part_op many[6], one[2];
	for (int i = 0; i < 6; i++) {
		many[i] = fx_fetch_op(i, 1, true);
		fx_start(f[0], &many[i]);
	}
	for (int i = 0; i < 2; i++) {
		one[i] = fx_fetch_op(i, 1, true);
		fx_start(f[1 + i], &one[i]);
	}
	for (int i = 0; i < 3; i++)
		assert_int_equal(fx_reads(f[i]), i == 0);
	uint32_t before = 0; /* of the many, served before the last of the others */
	uint32_t others = 0;
	for (int turn = 0; turn < 50 && others < 2; turn++) {
		for (int i = 0; i < 3; i++) {
			struct part_op *op;
			fx_run(f[i]);
			while ((op = fx_done(f[i]))) {
				assert_true(op->fetch.span.len > 0);
				part_release(f[0]->env, op->fetch.span);
				before += i == 0 && op != &first;
				others += i != 0;
			}
		}
		part_env_turn(f[0]->env, f[0]->now, &f[0]->out);
		fx_take(f[0]);
	}
	assert_int_equal(others, 2);
	assert_true(before <= 2);
	for (int turn = 0; turn < 50; turn++) {
		struct part_op *op;
		fx_run(f[0]);
		while ((op = fx_done(f[0])))
			part_release(f[0]->env, op->fetch.span);
		part_env_turn(f[0]->env, f[0]->now, &f[0]->out);
		fx_take(f[0]);
	}
	assert_false(part_env_is_waiting(f[0]->env));
	for (int i = 3; i-- > 0;)
		fx_free(f[i]);
}

static void a_fetch_at_the_tail_never_waits_behind_cold_reads(void **state)
{
	struct fx *f = fx_new(64, 32, fx_config());
	fill_log(f, 30);
	fx_append(f, 1, 100, 1);
	f->env->cold_limit = 2;
	struct part_op cold[10];
	for (int i = 0; i < 10; i++) {
		cold[i] = fx_fetch_op(i, 1, true);
		fx_start(f, &cold[i]);
	}
	assert_true(part_env_is_waiting(f->env));
	struct part_op op = fx_fetch_op(30, 1000, true);
	fx_start(f, &op);
	assert_ptr_equal(fx_done(f), &op);
	assert_int_equal(fx_check_span(f, op.fetch.span, 30), 1);
	part_release(f->env, op.fetch.span);
	struct fx_batch b = fx_batch(1, 10, 3);
	struct part_op append = fx_append_op(b);
	fx_start(f, &append);
	assert_int_equal(append.append.base_offset, 31);
	for (int turn = 0; turn < 50; turn++) {
		struct part_op *done;
		fx_run(f);
		while ((done = fx_done(f)))
			if (done->kind == PART_FETCH)
				part_release(f->env, done->fetch.span);
		part_env_turn(f->env, f->now, &f->out);
		fx_take(f);
	}
	assert_false(part_env_is_waiting(f->env));
	free(b.data);
	fx_free(f);
}

/* The memory that a fetch waits for may be held by the answer that it belongs to. */
static void a_cold_read_that_waits_for_nothing_ends_empty(void **state)
{
	struct fx *f = fx_new(64, 32, fx_config());
	f->env->cold_limit = 1;
	fill_log(f, 10);
	struct part_op held = fetch_at(f, 0, 1);
	struct part_op op = fx_fetch_op(5, 1, true);
	fx_start(f, &op);
	for (int ms = 0; ms < 50; ms++) {
		assert_null(fx_done(f));
		f->now++;
		part_env_turn(f->env, f->now, &f->out);
		fx_take(f);
	}
	assert_ptr_equal(fx_done(f), &op);
	assert_int_equal(op.error, KE_NONE);
	assert_int_equal(op.fetch.span.len, 0);
	assert_true(op.fetch.starved);
	assert_int_equal(f->env->starved, 1);
	assert_int_equal(op.fetch.high_watermark, 10);
	part_release(f->env, held.fetch.span);
	op = fetch_at(f, 5, 1);
	assert_int_equal(fx_check_span(f, op.fetch.span, 5), 1);
	part_release(f->env, op.fetch.span);
	fx_free(f);
}

static void a_batch_larger_than_the_share_is_read_alone(void **state)
{
	struct fx *f = fx_new(64, 32, fx_config());
	f->env->cold_limit = 4;
	fx_append(f, 1, 20 * LBLOCK_SIZE, 1);
	fill_log(f, 10);
	struct part_op held = fetch_at(f, 5, 1);
	struct part_op op = fx_fetch_op(0, 1, true);
	fx_start(f, &op);
	fx_run(f);
	assert_null(fx_done(f));
	assert_true(part_env_is_waiting(f->env));
	part_release(f->env, held.fetch.span);
	part_env_turn(f->env, f->now, &f->out);
	fx_take(f);
	fx_run(f);
	assert_ptr_equal(fx_done(f), &op);
	assert_int_equal(fx_check_span(f, op.fetch.span, 0), 1);
	part_release(f->env, op.fetch.span);
	op = fetch_at(f, 7, 1); /* and the share is a share again */
	part_release(f->env, op.fetch.span);
	assert_true(f->env->cold_blocks <= 4);
	fx_free(f);
}

static void waiting_reads_end_with_their_partition(void **state)
{
	struct fx *f = fx_new(64, 32, fx_config());
	struct fx *g = fx_new_beside(f, fx_config());
	f->env->cold_limit = 1;
	fill_log(f, 10);
	fill_log(g, 10);
	struct part_op held = fetch_at(f, 0, 1);
	struct part_op op[2] = {fx_fetch_op(5, 1, true), fx_fetch_op(5, 1, true)};
	fx_start(f, &op[0]);
	fx_start(g, &op[1]);
	part_close(&f->part, KE_NOT_LEADER_OR_FOLLOWER, &f->out);
	fx_take(f);
	assert_ptr_equal(fx_done(f), &op[0]);
	assert_int_equal(op[0].error, KE_NOT_LEADER_OR_FOLLOWER);
	fx_free(f);
	part_release(g->env, held.fetch.span); /* a reader may outlive the partition */
	part_env_turn(g->env, g->now, &g->out);
	fx_take(g);
	fx_run(g);
	assert_ptr_equal(fx_done(g), &op[1]);
	assert_int_equal(op[1].error, KE_NONE);
	part_release(g->env, op[1].fetch.span);
	fx_free(g);
}

static void what_is_trimmed_is_out_of_range_also_when_it_was_being_read(void **state)
{
	struct fx *f = fx_new(64, 32, fx_config());
	fill_log(f, 10);
	struct part_op kept = fetch_at(f, 0, 40000);
	struct part_op op = fx_fetch_op(4, 1, true);
	fx_start(f, &op);
	struct st_req *read = fx_front(f);
	struct part_op trim = {.kind = PART_TRIM, .current_leader_epoch = -1};
	trim.trim.offset = 6;
	fx_start(f, &trim);
	fx_answer_one(f, list_entry(read->node.next, struct st_req, node), ST_OK);
	assert_ptr_equal(fx_done(f), &trim);
	fx_answer(f, ST_OK); /* the storage says ST_E_RANGE */
	assert_ptr_equal(fx_done(f), &op);
	assert_int_equal(op.error, KE_OFFSET_OUT_OF_RANGE);
	assert_true(list_empty(&f->part.chunks));
	fx_check_span(f, kept.fetch.span, 0); /* a reader keeps what it has */
	part_release(f->env, kept.fetch.span);
	/* the storage was quicker than the trim */
	op = fx_fetch_op(6, 1, true);
	fx_start(f, &op);
	read = fx_front(f);
	trim.trim.offset = 8;
	fx_start(f, &trim);
	struct st_req *r = list_entry(read->node.next, struct st_req, node);
	list_remove(&read->node);
	fx_do_read(f, read);
	assert_int_equal(read->err, ST_OK);
	fx_answer_one(f, r, ST_OK);
	part_stored(&f->part, read, f->now, &f->out);
	fx_take(f);
	assert_ptr_equal(fx_done(f), &trim);
	assert_ptr_equal(fx_done(f), &op);
	assert_int_equal(op.error, KE_OFFSET_OUT_OF_RANGE);
	fx_free(f);
}

static uint32_t unused_ahead(struct fx *f)
{
	uint32_t n = 0;
	list_for_each (it, &f->part.chunks) {
		struct part_chunk *ch = list_entry(it, struct part_chunk, part_node);
		n += ch->ahead && !ch->used;
	}
	return n;
}

static void reading_ahead_for_one_costs_another_nothing_that_he_has_not_taken(void **state)
{
	struct fx *f = fx_new(256, 32, fx_config());
	struct fx *g = fx_new_beside(f, fx_config());
	fill_log(f, 40);
	fill_log(g, 40);
	f->env->cold_limit = 16;
	struct part_op held[20];
	uint32_t n = 0;
	held[n++] = fetch_at(f, 0, 1);
	held[n++] = fetch_at(f, end_of(held[0].fetch.span), 1);
	assert_int_equal(unused_ahead(f), 1);
	for (int64_t at = 0; f->env->cold_blocks + 2 <= 16; at += 3)
		held[n++] = fetch_at(g, at, 1);
	struct part_op op = fetch_at(g, 0, 1); /* goes on, and wants the next */
	held[n++] = op;
	assert_int_equal(unused_ahead(f), 1);
	assert_true(f->env->cold_blocks <= 16);
	while (n > 0)
		part_release(f->env, held[--n].fetch.span);
	fx_free(g);
	fx_free(f);
}

static void only_the_blocks_that_hold_the_answer_are_kept(void **state)
{
	struct fx *f = fx_new(256, 8, fx_config());
	fill_log(f, 10);
	struct part_op op = fx_fetch_op(2, 100000, true);
	fx_start(f, &op);
	struct st_req *r = fx_front(f);
	assert_int_equal(r->read.block_count, 8);
	list_remove(&r->node);
	r->read.blocks = r->read.blocks->next->next; /* begins in the third block */
	r->read.block_count -= 2;
	r->read.max_bytes = 40000;
	fx_do_read(f, r);
	uint32_t kept = lspan_blocks(r->read.span);
	part_stored(&f->part, r, f->now, &f->out);
	fx_take(f);
	assert_ptr_equal(fx_done(f), &op);
	assert_int_equal(fx_check_span(f, op.fetch.span, 2), 2);
	assert_int_equal(f->env->cold_blocks, kept);
	assert_int_equal(f->pool->free_count, 256 - kept);
	part_release(f->env, op.fetch.span);
	fx_free(f);
}

static void what_a_reader_holds_is_kept_for_others(void **state)
{
	struct fx *f = fx_new(64, 8, fx_config());
	f->env->cold_limit = 8;
	fill_log(f, 40);
	struct part_op held = fetch_at(f, 0, 1);
	for (int64_t i = 1; i < 30; i++) { /* makes the others go */
		struct part_op op = fetch_at(f, i * 17 % 40, 1);
		part_release(f->env, op.fetch.span);
	}
	struct part_op op = fx_fetch_op(0, 1, true);
	fx_start(f, &op);
	assert_int_equal(fx_reads(f), 0);
	assert_ptr_equal(fx_done(f), &op);
	part_release(f->env, op.fetch.span);
	part_release(f->env, held.fetch.span);
	fx_run(f);
	fx_free(f);
}

/* --- gaps
 * --------------------------------------------------------------------------------------------- */

static struct part_config compacted(void)
{
	struct part_config c = fx_config();
	c.policy.compact = true;
	c.segment_bytes = 5000;
	return c;
}

/* Leaves only batches whose base offset is odd in all but the last segment. */
static void compact_all(struct fx *f)
{
	for (uint32_t i = 0; i + 1 < f->segment_count; i++) {
		struct fx_segment *s = &f->segments[i];
		size_t to = 0;
		for (size_t at = 0; at < s->len;) {
			size_t n = batch_size(s->bytes + at);
			if (batch_base_offset(s->bytes + at) % 2) {
				memmove(s->bytes + to, s->bytes + at, n);
				to += n;
			}
			at += n;
		}
		s->len = to;
	}
}

static void a_read_in_a_gap_gives_the_batch_after_it(void **state)
{
	struct fx *f = fx_new(64, 8, compacted());
	for (uint32_t i = 0; i < 21; i++) /* four in a segment: each ends in a gap or before one */
		fx_append(f, 1, 1000, i);
	part_env_evict(f->env, 64);
	compact_all(f);
	int64_t last = f->segments[f->segment_count - 1].base;
	for (int64_t offset = 0; offset < 21; offset++) {
		struct part_op op = fetch_at(f, offset, 1);
		uint8_t head[BATCH_HEADER_SIZE];
		lspan_copy(op.fetch.span, 0, head, sizeof(head));
		int64_t expected = offset < last ? offset | 1 : offset;
		assert_true(batch_base_offset(head) == expected || batch_base_offset(head) == last);
		assert_int_equal(fx_check_span_gaps(f, op.fetch.span, offset), 1);
		part_release(f->env, op.fetch.span);
		part_env_evict(f->env, offset % 2 ? 64 : 0);
	}
	/* in larger pieces, with what was read ahead */
	for (int64_t offset = 0; offset < 21;) {
		struct part_op op = fetch_at(f, offset, 3000);
		fx_check_span_gaps(f, op.fetch.span, offset);
		offset = end_of(op.fetch.span);
		part_release(f->env, op.fetch.span);
	}
	fx_free(f);
}

static void a_log_that_was_never_compacted_may_not_have_gaps(void **state)
{
	for (int once = 0; once < 2; once++) {
		struct part_config c = compacted();
		c.policy.compact = once;
		struct fx *f = fx_new(64, 8, c);
		for (uint32_t i = 0; i < 9; i++)
			fx_append(f, 1, 1000, i);
		part_env_evict(f->env, 64);
		compact_all(f);
		c.policy.compact = false;
		part_configure(&f->part, &c); /* gaps stay when the policy changes */
		struct part_op op = fx_fetch_op(0, 1, true);
		fx_start(f, &op);
		fx_run(f);
		assert_ptr_equal(fx_done(f), &op);
		assert_int_equal(op.error, once ? KE_NONE : KE_CORRUPT_MESSAGE);
		part_release(f->env, op.fetch.span);
		fx_free(f);
	}
}

static void damage_hurts_the_reads_of_the_damaged_part_alone(void **state)
{
	struct fx *f = fx_new(64, 8, fx_config());
	fill_log(f, 10);
	struct part_op op = fx_fetch_op(3, 1, true);
	fx_start(f, &op);
	fx_answer(f, ST_E_CORRUPT);
	assert_ptr_equal(fx_done(f), &op);
	assert_int_equal(op.error, KE_CORRUPT_MESSAGE);
	assert_int_equal(op.fetch.span.len, 0);
	op = fetch_at(f, 4, 1);
	fx_check_span(f, op.fetch.span, 4);
	part_release(f->env, op.fetch.span);
	assert_int_equal(fx_append(f, 1, 10, 1), 10);
	fx_free(f);
}

static void bytes_that_are_no_batches_are_not_given_away(void **state)
{
	struct fx *f = fx_new(64, 8, fx_config());
	for (uint32_t i = 0; i < 20; i++)
		fx_append(f, 1, 1000, i);
	part_env_evict(f->env, 64);
	struct part_op op[2] = {fx_fetch_op(2, 15000, true), fx_fetch_op(2, 3000, true)};
	fx_start(f, &op[0]);
	fx_start(f, &op[1]);
	struct st_req *r = fx_front(f);
	list_remove(&r->node);
	fx_do_read(f, r);
	be32_put(r->read.span.first->data + r->read.span.off + 8, 1u << 30); /* batch length */
	part_stored(&f->part, r, f->now, &f->out);
	fx_take(f);
	assert_ptr_equal(fx_done(f), &op[0]); /* looks at nothing: the storage has checked it */
	assert_ptr_equal(fx_done(f), &op[1]);
	assert_int_equal(op[1].error, KE_CORRUPT_MESSAGE);
	struct part_op inside = fx_fetch_op(4, 3000, true);
	fx_start(f, &inside);
	assert_ptr_equal(fx_done(f), &inside);
	assert_int_equal(inside.error, KE_CORRUPT_MESSAGE);
	part_release(f->env, op[0].fetch.span);
	fx_run(f);
	fx_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_scan_leaves_the_tail_of_others_in_memory),
		cmocka_unit_test(the_share_is_bounded_while_readers_hold_what_they_got),
		cmocka_unit_test(a_sequential_reader_finds_its_next_blocks_already_there),
		cmocka_unit_test(one_read_ahead_is_under_way_for_a_partition_and_a_few_are_kept),
		cmocka_unit_test(a_reader_that_jumps_about_has_nothing_read_ahead),
		cmocka_unit_test(
			reading_ahead_stops_at_what_is_in_memory_and_at_the_high_watermark),
		cmocka_unit_test(readers_of_one_place_share_one_read),
		cmocka_unit_test(partitions_are_served_in_turn_not_by_who_asks_most),
		cmocka_unit_test(a_fetch_at_the_tail_never_waits_behind_cold_reads),
		cmocka_unit_test(a_cold_read_that_waits_for_nothing_ends_empty),
		cmocka_unit_test(a_batch_larger_than_the_share_is_read_alone),
		cmocka_unit_test(waiting_reads_end_with_their_partition),
		cmocka_unit_test(what_is_trimmed_is_out_of_range_also_when_it_was_being_read),
		cmocka_unit_test(reading_ahead_for_one_costs_another_nothing_that_he_has_not_taken),
		cmocka_unit_test(only_the_blocks_that_hold_the_answer_are_kept),
		cmocka_unit_test(what_a_reader_holds_is_kept_for_others),
		cmocka_unit_test(a_read_in_a_gap_gives_the_batch_after_it),
		cmocka_unit_test(a_log_that_was_never_compacted_may_not_have_gaps),
		cmocka_unit_test(damage_hurts_the_reads_of_the_damaged_part_alone),
		cmocka_unit_test(bytes_that_are_no_batches_are_not_given_away),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
