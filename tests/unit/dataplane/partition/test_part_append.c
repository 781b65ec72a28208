/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

static void an_append_is_answered_only_when_the_storage_has_it(void **state)
{
	struct fx *f = fx_new(16, 4, fx_config());
	struct fx_batch b = fx_batch(3, 100, 1);
	struct part_op op = fx_append_op(b);
	fx_start(f, &op);
	assert_null(fx_done(f));
	assert_int_equal(f->part.log_end_offset, 3);
	assert_int_equal(f->part.high_watermark, 0);
	fx_answer(f, ST_OK);
	assert_ptr_equal(fx_done(f), &op);
	assert_int_equal(op.error, KE_NONE);
	assert_int_equal(op.append.base_offset, 0);
	assert_int_equal(op.append.last_offset, 2);
	assert_int_equal(op.append.log_append_time_ms, -1);
	assert_int_equal(op.append.log_start_offset, 0);
	assert_int_equal(f->part.high_watermark, 3);
	free(b.data);
	fx_free(f);
}

static void only_the_base_offset_and_the_epoch_change(void **state)
{
	struct fx *f = fx_new(16, 4, fx_config());
	fx_append(f, 4, 10, 1);
	struct fx_batch b = fx_batch(2, 50, 2);
	struct part_op op = fx_append_op(b);
	fx_start(f, &op);
	fx_run(f);
	const uint8_t *at = f->segments[0].bytes + f->segments[0].len - b.len;
	assert_int_equal(batch_base_offset(at), 4);
	assert_int_equal(batch_leader_epoch(at), 5);
	assert_memory_equal(at + 8, b.data + 8, 4);
	assert_memory_equal(at + 16, b.data + 16, b.len - 16);
	fx_done(f);
	free(b.data);
	fx_free(f);
}

static void what_comes_while_an_append_is_out_goes_as_one_request(void **state)
{
	struct fx *f = fx_new(16, 4, fx_config());
	struct fx_batch b[5];
	struct part_op op[5];
	for (int i = 0; i < 5; i++) {
		b[i] = fx_batch(2, 100, (uint32_t)i);
		op[i] = fx_append_op(b[i]);
		fx_start(f, &op[i]);
	}
	assert_int_equal(fx_queued(f), 1);
	assert_int_equal(fx_front(f)->append.last_offset, 1);
	fx_answer(f, ST_OK);
	assert_ptr_equal(fx_done(f), &op[0]);
	assert_null(fx_done(f));
	assert_int_equal(fx_queued(f), 1);
	assert_int_equal(fx_front(f)->append.base_offset, 2);
	assert_int_equal(fx_front(f)->append.last_offset, 9);
	assert_int_equal(fx_front(f)->append.max_timestamp, FX_NOW);
	fx_answer(f, ST_OK);
	for (int i = 1; i < 5; i++) {
		assert_ptr_equal(fx_done(f), &op[i]);
		assert_int_equal(op[i].append.base_offset, 2 * i);
	}
	for (int i = 0; i < 5; i++)
		free(b[i].data);
	fx_free(f);
}

static void a_bad_batch_is_refused_and_changes_nothing(void **state)
{
	struct part_config c = fx_config();
	c.max_message_bytes = 1000;
	struct fx *f = fx_new(16, 4, c);
	struct fx_batch b = fx_batch(1, 100, 1);
	struct part_op op = fx_append_op(b);
	b.data[b.len - 1] ^= 1;
	fx_start(f, &op);
	assert_ptr_equal(fx_done(f), &op);
	assert_int_equal(op.error, KE_CORRUPT_MESSAGE);
	assert_int_equal(op.append.base_offset, -1);
	free(b.data);

	b = fx_batch(1, 1000, 1);
	op = fx_append_op(b);
	fx_start(f, &op);
	assert_ptr_equal(fx_done(f), &op);
	assert_int_equal(op.error, KE_MESSAGE_TOO_LARGE);
	free(b.data);

	b = fx_batch_at(1, 10, 1, FX_NOW + 2 * 3600 * 1000);
	op = fx_append_op(b);
	fx_start(f, &op);
	assert_ptr_equal(fx_done(f), &op);
	assert_int_equal(op.error, KE_INVALID_TIMESTAMP);
	assert_int_equal(op.append.bad_record, 0);
	assert_non_null(op.append.error_message);
	assert_int_equal(op.append.log_append_time_ms, -1);
	free(b.data);

	assert_int_equal(f->part.log_end_offset, 0);
	assert_int_equal(fx_queued(f), 0);
	fx_free(f);
}

static void a_batch_larger_than_a_segment_is_refused(void **state)
{
	struct part_config c = fx_config();
	c.segment_bytes = 1000;
	struct fx *f = fx_new(16, 4, c);
	struct fx_batch b = fx_batch(1, 1000, 1);
	struct part_op op = fx_append_op(b);
	fx_start(f, &op);
	assert_ptr_equal(fx_done(f), &op);
	assert_int_equal(op.error, KE_RECORD_LIST_TOO_LARGE);
	free(b.data);
	fx_free(f);
}

static void a_batch_larger_than_all_blocks_is_refused(void **state)
{
	struct fx *f = fx_new(4, 4, fx_config());
	struct fx_batch b = fx_batch(1, 4 * LBLOCK_SIZE, 1);
	struct part_op op = fx_append_op(b);
	fx_start(f, &op);
	assert_ptr_equal(fx_done(f), &op);
	assert_int_equal(op.error, KE_MESSAGE_TOO_LARGE);
	free(b.data);
	fx_free(f);
}

static void log_append_time_is_stamped_and_the_crc_is_right(void **state)
{
	struct part_config c = fx_config();
	c.log_append_time = true;
	struct fx *f = fx_new(16, 4, c);
	struct fx_batch b = fx_batch_at(3, 100, 1, 12345);
	struct part_op op = fx_append_op(b);
	f->now = FX_NOW + 77;
	fx_start(f, &op);
	assert_int_equal(fx_front(f)->append.max_timestamp, FX_NOW + 77);
	fx_run(f); /* looks at the CRC */
	assert_ptr_equal(fx_done(f), &op);
	assert_int_equal(op.append.log_append_time_ms, FX_NOW + 77);
	const uint8_t *at = f->segments[0].bytes;
	assert_true(batch_is_log_append_time(at));
	assert_int_equal(batch_max_timestamp(at), FX_NOW + 77);
	assert_int_equal(batch_base_timestamp(at), 12345);
	free(b.data);
	fx_free(f);
}

static void a_wrong_max_timestamp_is_corrected(void **state)
{
	struct fx *f = fx_new(16, 4, fx_config());
	struct fx_batch b = fx_batch_at(3, 100, 1, 12345);
	batch_set_max_timestamp(b.data, false, 99);
	struct part_op op = fx_append_op(b);
	fx_start(f, &op);
	fx_run(f);
	assert_ptr_equal(fx_done(f), &op);
	assert_int_equal(op.error, KE_NONE);
	assert_int_equal(batch_max_timestamp(f->segments[0].bytes), 12345);
	free(b.data);
	fx_free(f);
}

static void a_full_segment_is_rolled_and_no_batch_spans_two(void **state)
{
	struct part_config c = fx_config();
	c.segment_bytes = 40000;
	struct fx *f = fx_new(64, 4, c);
	struct fx_batch b[10];
	struct part_op op[10];
	for (int i = 0; i < 10; i++) { /* 10 x 15 KiB, gathered over several segments */
		b[i] = fx_batch(1, 15000, (uint32_t)i);
		op[i] = fx_append_op(b[i]);
		fx_start(f, &op[i]);
		assert_int_equal(fx_queued(f), 1);
	}
	/* the runs that gather take requests: the last operations wait for one */
	assert_true(part_is_stalled(&f->part));
	fx_run(f);
	for (int i = 0; i < 10; i++) {
		assert_ptr_equal(fx_done(f), &op[i]);
		assert_int_equal(op[i].append.base_offset, i);
		free(b[i].data);
	}
	assert_int_equal(f->segment_count, 5);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(f->segments[i].base, 2 * i);
		assert_true(f->segments[i].len <= 40000);
	}
	fx_free(f);
}

static void an_old_segment_is_rolled(void **state)
{
	struct part_config c = fx_config();
	c.segment_ms = 1000;
	struct fx *f = fx_new(16, 4, c);
	fx_append(f, 1, 10, 1);
	f->now += 999;
	fx_append(f, 1, 10, 2);
	assert_int_equal(f->segment_count, 1);
	f->now += 1;
	fx_append(f, 1, 10, 3);
	assert_int_equal(f->segment_count, 2);
	assert_int_equal(f->segments[1].base, 2);
	f->now += 999;
	fx_append(f, 1, 10, 4);
	assert_int_equal(f->segment_count, 2);
	fx_free(f);
}

static void no_space_takes_the_log_end_back_and_the_next_append_reuses_it(void **state)
{
	struct fx *f = fx_new(32, 4, fx_config());
	fx_append(f, 2, 1000, 1);
	uint64_t pos = f->part.segment_pos;
	struct fx_batch b[4];
	struct part_op op[4];
	for (int i = 0; i < 4; i++) {
		b[i] = fx_batch(3, 9000, (uint32_t)i);
		op[i] = fx_append_op(b[i]);
		fx_start(f, &op[i]);
	}
	fx_answer(f, ST_E_NOSPACE);
	for (int i = 0; i < 4; i++) {
		assert_ptr_equal(fx_done(f), &op[i]);
		assert_int_equal(op[i].error, KE_KAFKA_STORAGE_ERROR);
		assert_int_equal(op[i].append.base_offset, -1);
		free(b[i].data);
	}
	assert_int_equal(fx_queued(f), 0);
	assert_int_equal(f->part.log_end_offset, 2);
	assert_int_equal(f->part.high_watermark, 2);
	assert_int_equal(f->part.segment_pos, pos);
	assert_int_equal(f->part.state, PART_LEADER);
	assert_int_equal(fx_append(f, 1, 20000, 9), 2);
	struct part_op fetch = fx_fetch_op(0, 1 << 20, true);
	fx_start(f, &fetch);
	assert_int_equal(fx_queued(f), 0); /* from memory */
	assert_ptr_equal(fx_done(f), &fetch);
	assert_int_equal(fx_check_span(f, fetch.fetch.span, 0), 2);
	part_release(f->env, fetch.fetch.span);
	fx_free(f);
}

static void no_space_for_a_new_segment_leaves_it_to_the_next_append(void **state)
{
	struct part_config c = fx_config();
	c.segment_bytes = 40000;
	struct fx *f = fx_new(32, 4, c);
	fx_append(f, 1, 30000, 1);
	struct fx_batch b[3];
	struct part_op op[3];
	for (int i = 0; i < 3; i++) {
		b[i] = fx_batch(1, 30000, (uint32_t)i);
		op[i] = fx_append_op(b[i]);
		fx_start(f, &op[i]);
	}
	assert_int_equal(fx_front(f)->append.segment, 1);
	fx_answer(f, ST_E_NOSPACE);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(fx_done(f)->error, KE_KAFKA_STORAGE_ERROR);
		free(b[i].data);
	}
	assert_int_equal(f->part.segment, 1);
	assert_int_equal(f->part.segment_pos, 0);
	assert_int_equal(fx_append(f, 1, 100, 9), 1);
	assert_int_equal(f->segment_count, 2);
	fx_free(f);
}

static void no_space_in_the_middle_of_rolls_goes_back_to_the_failed_run(void **state)
{
	struct part_config c = fx_config();
	c.segment_bytes = 40000;
	struct fx *f = fx_new(64, 8, c);
	fx_append(f, 1, 1000, 1);
	struct fx_batch b[6];
	struct part_op op[6];
	for (int i = 0; i < 6; i++) {
		b[i] = fx_batch(1, 15000, (uint32_t)i);
		op[i] = fx_append_op(b[i]);
		fx_start(f, &op[i]);
	}
	assert_int_equal(f->part.segment, 5);
	fx_answer(f, ST_OK);
	assert_int_equal(fx_done(f)->error, KE_NONE);
	fx_answer(f, ST_E_NOSPACE);
	for (int i = 1; i < 6; i++)
		assert_int_equal(fx_done(f)->error, KE_KAFKA_STORAGE_ERROR);
	assert_int_equal(f->part.segment, 0);
	assert_int_equal(f->part.log_end_offset, 2);
	for (int i = 0; i < 6; i++)
		free(b[i].data);
	assert_int_equal(fx_append(f, 1, 15000, 9), 2);
	assert_int_equal(f->segment_count, 1);
	fx_free(f);
}

static void a_failed_device_takes_the_partition_offline(void **state)
{
	const enum st_err errors[] = {ST_E_IO, ST_E_OFFLINE};
	for (size_t e = 0; e < array_size(errors); e++) {
		struct fx *f = fx_new(32, 4, fx_config());
		fx_append(f, 2, 100, 1);
		struct fx_batch b = fx_batch(1, 100, 1);
		struct part_op op[3], wait = {.kind = PART_WAIT, .current_leader_epoch = -1};
		wait.wait.offset = 2;
		fx_start(f, &wait);
		for (int i = 0; i < 3; i++) {
			op[i] = fx_append_op(b);
			fx_start(f, &op[i]);
		}
		fx_answer(f, errors[e]);
		for (int i = 0; i < 4; i++)
			assert_int_equal(fx_done(f)->error, KE_KAFKA_STORAGE_ERROR);
		assert_int_equal(f->part.state, PART_OFFLINE);
		assert_int_equal(f->part.log_end_offset, 2);
		struct part_op fetch = fx_fetch_op(0, 1000, true);
		fx_start(f, &fetch);
		assert_ptr_equal(fx_done(f), &fetch);
		assert_int_equal(fetch.error, KE_KAFKA_STORAGE_ERROR);
		op[0] = fx_append_op(b);
		fx_start(f, &op[0]);
		assert_int_equal(fx_done(f)->error, KE_KAFKA_STORAGE_ERROR);
		free(b.data);
		fx_free(f);
	}
}

static void appends_wait_for_the_opening_in_order(void **state)
{
	struct fx *f = fx_new_unopened(16, 4, fx_config());
	struct fx_batch b = fx_batch(2, 100, 1);
	struct part_op op[3];
	for (int i = 0; i < 3; i++) {
		op[i] = fx_append_op(b);
		fx_start(f, &op[i]);
	}
	assert_true(part_is_stalled(&f->part));
	assert_null(fx_done(f));
	fx_open_at(f, ST_OK);
	fx_run(f);
	for (int i = 0; i < 3; i++) {
		assert_ptr_equal(fx_done(f), &op[i]);
		assert_int_equal(op[i].append.base_offset, 2 * i);
	}
	free(b.data);
	fx_free(f);
}

static void a_log_that_cannot_be_opened_is_offline(void **state)
{
	struct fx *f = fx_new_unopened(16, 4, fx_config());
	struct fx_batch b = fx_batch(2, 100, 1);
	struct part_op op = fx_append_op(b);
	fx_start(f, &op);
	fx_open_at(f, ST_E_OFFLINE);
	assert_ptr_equal(fx_done(f), &op);
	assert_int_equal(op.error, KE_KAFKA_STORAGE_ERROR);
	free(b.data);
	fx_free(f);
}

/* A partition as after a restart: the log is there, nothing is in memory. */
static struct fx *reopened(uint32_t blocks, struct fx *from)
{
	struct fx *f = fx_new_unopened(blocks, 4, fx_config());
	memcpy(f->segments, from->segments, sizeof(f->segments));
	f->segment_count = from->segment_count;
	f->end = from->end;
	from->segment_count = 0;
	fx_free(from);
	fx_open_at(f, ST_OK);
	return f;
}

static void a_ragged_tail_is_loaded_before_the_first_append(void **state)
{
	struct fx *f = fx_new(16, 4, fx_config());
	fx_append(f, 2, 20000, 1);
	f = reopened(16, f);
	struct fx_batch b[2] = {fx_batch(1, 30000, 2), fx_batch(1, 10, 3)};
	struct part_op op[2];
	for (int i = 0; i < 2; i++) {
		op[i] = fx_append_op(b[i]);
		fx_start(f, &op[i]);
		assert_int_equal(fx_queued(f), 1);
		assert_int_equal(fx_front(f)->op, ST_TAIL);
	}
	fx_run(f); /* looks at the image of the first block */
	for (int i = 0; i < 2; i++) {
		assert_ptr_equal(fx_done(f), &op[i]);
		assert_int_equal(op[i].append.base_offset, 2 + i);
		free(b[i].data);
	}
	for (int64_t offset = 0; offset < 4; offset++) {
		struct part_op fetch = fx_fetch_op(offset, 1 << 20, true);
		fx_start(f, &fetch);
		assert_int_equal(fx_queued(f), offset < 1 ? 1 : 0); /* what was there is cold */
		fx_run(f);
		assert_ptr_equal(fx_done(f), &fetch);
		fx_check_span(f, fetch.fetch.span, offset);
		part_release(f->env, fetch.fetch.span);
	}
	fx_free(f);
}

static void a_tail_that_cannot_be_loaded_takes_the_partition_offline(void **state)
{
	struct fx *f = fx_new(16, 4, fx_config());
	fx_append(f, 2, 2000, 1);
	f = reopened(16, f);
	struct fx_batch b = fx_batch(1, 10, 3);
	struct part_op op = fx_append_op(b);
	fx_start(f, &op);
	fx_answer(f, ST_E_CORRUPT);
	assert_ptr_equal(fx_done(f), &op);
	assert_int_equal(op.error, KE_KAFKA_STORAGE_ERROR);
	assert_int_equal(f->part.state, PART_OFFLINE);
	free(b.data);
	fx_free(f);
}

static void a_quiet_tail_may_be_evicted_and_comes_back(void **state)
{
	struct fx *f = fx_new(16, 4, fx_config());
	fx_append(f, 3, 100, 1);
	assert_non_null(f->part.tail);
	assert_int_equal(part_env_evict(f->env, 1), 1);
	part_check(&f->part);
	assert_null(f->part.tail);
	assert_int_equal(f->pool->free_count, 16);
	assert_int_equal(fx_append(f, 1, 100, 2), 3);
	assert_int_equal(f->segments[0].len, f->part.segment_pos);
	fx_free(f);
}

static void appends_wait_for_memory_and_keep_their_order(void **state)
{
	struct fx *f = fx_new(4, 4, fx_config());
	struct fx_batch b = fx_batch(1, 20000, 1);
	struct part_op op[6];
	for (int i = 0; i < 6; i++) {
		op[i] = fx_append_op(b);
		fx_start(f, &op[i]);
	}
	assert_true(part_is_stalled(&f->part));
	fx_run(f); /* what is durable makes room for what waits */
	for (int i = 0; i < 6; i++) {
		assert_ptr_equal(fx_done(f), &op[i]);
		assert_int_equal(op[i].append.base_offset, i);
	}
	assert_false(part_is_stalled(&f->part));
	free(b.data);
	fx_free(f);
}

static void memory_that_a_consumer_holds_comes_back_by_release_and_kick(void **state)
{
	struct fx *f = fx_new(4, 4, fx_config());
	fx_append(f, 1, 30000, 1);
	fx_append(f, 1, 16000, 1);
	struct part_op fetch = fx_fetch_op(0, 1 << 20, true);
	fx_start(f, &fetch);
	assert_ptr_equal(fx_done(f), &fetch);
	struct fx_batch b = fx_batch(1, 32000, 2);
	struct part_op op = fx_append_op(b);
	fx_start(f, &op);
	fx_run(f);
	assert_null(fx_done(f));
	assert_true(part_is_stalled(&f->part));
	fx_check_span(f, fetch.fetch.span, 0); /* pinned: untouched */
	part_release(f->env, fetch.fetch.span);
	part_kick(&f->part, f->now, &f->out);
	fx_take(f);
	fx_run(f);
	assert_ptr_equal(fx_done(f), &op);
	assert_int_equal(op.error, KE_NONE);
	free(b.data);
	fx_free(f);
}

static void appends_wait_for_requests(void **state)
{
	struct fx *f = fx_new(16, 1, fx_config());
	struct fx_batch b = fx_batch(1, 100, 1);
	struct part_op op[3];
	for (int i = 0; i < 3; i++) {
		op[i] = fx_append_op(b);
		fx_start(f, &op[i]);
	}
	assert_true(part_is_stalled(&f->part));
	fx_run(f);
	for (int i = 0; i < 3; i++)
		assert_ptr_equal(fx_done(f), &op[i]);
	free(b.data);
	fx_free(f);
}

static void closing_refuses_new_work_and_finishes_what_is_out(void **state)
{
	struct fx *f = fx_new(16, 4, fx_config());
	struct fx_batch b = fx_batch(1, 100, 1);
	struct part_op op[2], wait = {.kind = PART_WAIT, .current_leader_epoch = -1};
	fx_start(f, &wait);
	for (int i = 0; i < 2; i++) {
		op[i] = fx_append_op(b);
		fx_start(f, &op[i]);
	}
	assert_false(part_close(&f->part, KE_UNKNOWN_TOPIC_OR_PARTITION, &f->out));
	fx_take(f);
	assert_ptr_equal(fx_done(f), &wait);
	assert_int_equal(wait.error, KE_UNKNOWN_TOPIC_OR_PARTITION);
	struct part_op late = fx_append_op(b);
	fx_start(f, &late);
	assert_ptr_equal(fx_done(f), &late);
	assert_int_equal(late.error, KE_UNKNOWN_TOPIC_OR_PARTITION);
	fx_run(f);
	assert_ptr_equal(fx_done(f), &op[0]);
	assert_ptr_equal(fx_done(f), &op[1]);
	assert_int_equal(op[1].error, KE_NONE);
	assert_true(part_close(&f->part, KE_UNKNOWN_TOPIC_OR_PARTITION, &f->out));
	free(b.data);
	fx_free(f);
}

static void a_segment_is_filled_to_its_last_byte_and_not_beyond(void **state)
{
	struct fx_batch b = fx_batch(1, 100, 1);
	for (uint32_t spare = 0; spare < 2; spare++) {
		struct part_config c = fx_config();
		c.segment_bytes = 2 * b.len - spare;
		struct fx *f = fx_new(16, 4, c);
		fx_append(f, 1, 100, 1);
		fx_append(f, 1, 100, 2);
		assert_int_equal(f->segment_count, 1 + spare);
		fx_free(f);
	}
	free(b.data);
}

static void the_age_of_a_segment_begins_with_what_is_in_it(void **state)
{
	struct part_config c = fx_config();
	c.segment_ms = 1000;
	struct fx *f = fx_new(16, 4, c);
	struct fx_batch b = fx_batch(1, 100, 1);
	struct part_op op = fx_append_op(b);
	fx_start(f, &op);
	fx_answer(f, ST_E_NOSPACE); /* the segment is empty as before */
	fx_done(f);
	f->now += 900;
	fx_append(f, 1, 100, 2);
	f->now += 900;
	fx_append(f, 1, 100, 3);
	assert_int_equal(f->segment_count, 1);
	/* the roll fails, and more time goes by: the old segment is not touched any more */
	f->now += 100;
	op = fx_append_op(b);
	fx_start(f, &op);
	assert_int_equal(fx_front(f)->append.segment, 2);
	fx_answer(f, ST_E_NOSPACE);
	fx_done(f);
	f->now += 5000;
	fx_append(f, 1, 100, 4);
	f->now += 999;
	fx_append(f, 1, 100, 5);
	assert_int_equal(f->segment_count, 2);
	free(b.data);
	fx_free(f);
}

static void no_space_behind_a_roll_keeps_the_age_of_the_old_segment(void **state)
{
	struct part_config c = fx_config();
	c.segment_ms = 1000;
	struct fx *f = fx_new(32, 8, c);
	struct fx_batch b = fx_batch(1, 100, 1);
	struct part_op op[3];
	fx_append(f, 1, 100, 1);
	f->now += 500;
	for (int i = 0; i < 3; i++) { /* the last one begins a segment */
		op[i] = fx_append_op(b);
		fx_start(f, &op[i]);
		f->now += 250;
	}
	assert_int_equal(f->part.segment, 3);
	fx_answer(f, ST_E_NOSPACE);
	assert_int_equal(f->part.segment, 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(fx_done(f)->error, KE_KAFKA_STORAGE_ERROR);
	fx_append(f, 1, 100, 2); /* too old for another batch */
	assert_int_equal(f->segment_count, 2);
	assert_int_equal(f->segments[1].base, 1);
	free(b.data);
	fx_free(f);
}

static void the_largest_timestamp_of_a_group_is_told(void **state)
{
	struct fx *f = fx_new(16, 4, fx_config());
	struct fx_batch b[4];
	struct part_op op[4];
	for (int i = 0; i < 4; i++) {
		b[i] = fx_batch_at(1, 10, 1, FX_NOW - i);
		op[i] = fx_append_op(b[i]);
		fx_start(f, &op[i]);
	}
	fx_answer(f, ST_OK);
	assert_int_equal(fx_front(f)->append.last_offset, 3);
	assert_int_equal(fx_front(f)->append.max_timestamp, FX_NOW - 1);
	fx_run(f);
	for (int i = 0; i < 4; i++)
		free(b[i].data);
	fx_free(f);
}

static void a_small_append_does_not_overtake_a_large_one_that_waits(void **state)
{
	struct fx *f = fx_new(8, 4, fx_config());
	struct lblock *held = lblock_get_chain(f->pool, 6);
	struct fx_batch large = fx_batch(1, 3 * LBLOCK_SIZE, 1), small = fx_batch(1, 10, 2);
	struct part_op op[2] = {fx_append_op(large), fx_append_op(small)};
	fx_start(f, &op[0]);
	fx_start(f, &op[1]);
	assert_int_equal(fx_queued(f), 0);
	lspan_unref(f->pool, (struct lspan){held, 0, 6 * LBLOCK_SIZE});
	part_kick(&f->part, f->now, &f->out);
	fx_take(f);
	fx_run(f);
	assert_int_equal(op[0].append.base_offset, 0);
	assert_int_equal(op[1].append.base_offset, 1);
	free(large.data);
	free(small.data);
	fx_free(f);
}

static void new_settings_hold_for_later_appends(void **state)
{
	struct part_config c = fx_config();
	struct fx *f = fx_new(16, 4, c);
	fx_append(f, 1, 500, 1);
	c.max_message_bytes = 200;
	part_configure(&f->part, &c);
	struct fx_batch b = fx_batch(1, 500, 1);
	struct part_op op = fx_append_op(b);
	fx_start(f, &op);
	assert_ptr_equal(fx_done(f), &op);
	assert_int_equal(op.error, KE_MESSAGE_TOO_LARGE);
	free(b.data);
	fx_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_append_is_answered_only_when_the_storage_has_it),
		cmocka_unit_test(only_the_base_offset_and_the_epoch_change),
		cmocka_unit_test(what_comes_while_an_append_is_out_goes_as_one_request),
		cmocka_unit_test(a_bad_batch_is_refused_and_changes_nothing),
		cmocka_unit_test(a_batch_larger_than_a_segment_is_refused),
		cmocka_unit_test(a_batch_larger_than_all_blocks_is_refused),
		cmocka_unit_test(log_append_time_is_stamped_and_the_crc_is_right),
		cmocka_unit_test(a_wrong_max_timestamp_is_corrected),
		cmocka_unit_test(a_full_segment_is_rolled_and_no_batch_spans_two),
		cmocka_unit_test(an_old_segment_is_rolled),
		cmocka_unit_test(no_space_takes_the_log_end_back_and_the_next_append_reuses_it),
		cmocka_unit_test(no_space_for_a_new_segment_leaves_it_to_the_next_append),
		cmocka_unit_test(no_space_in_the_middle_of_rolls_goes_back_to_the_failed_run),
		cmocka_unit_test(a_failed_device_takes_the_partition_offline),
		cmocka_unit_test(appends_wait_for_the_opening_in_order),
		cmocka_unit_test(a_log_that_cannot_be_opened_is_offline),
		cmocka_unit_test(a_ragged_tail_is_loaded_before_the_first_append),
		cmocka_unit_test(a_tail_that_cannot_be_loaded_takes_the_partition_offline),
		cmocka_unit_test(a_quiet_tail_may_be_evicted_and_comes_back),
		cmocka_unit_test(appends_wait_for_memory_and_keep_their_order),
		cmocka_unit_test(memory_that_a_consumer_holds_comes_back_by_release_and_kick),
		cmocka_unit_test(appends_wait_for_requests),
		cmocka_unit_test(closing_refuses_new_work_and_finishes_what_is_out),
		cmocka_unit_test(a_segment_is_filled_to_its_last_byte_and_not_beyond),
		cmocka_unit_test(the_age_of_a_segment_begins_with_what_is_in_it),
		cmocka_unit_test(no_space_behind_a_roll_keeps_the_age_of_the_old_segment),
		cmocka_unit_test(the_largest_timestamp_of_a_group_is_told),
		cmocka_unit_test(a_small_append_does_not_overtake_a_large_one_that_waits),
		cmocka_unit_test(new_settings_hold_for_later_appends),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
