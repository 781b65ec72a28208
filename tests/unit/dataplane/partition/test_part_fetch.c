/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

/* A fetch that needs no storage. */
static struct part_op fetch_hot(struct fx *f, int64_t offset, uint32_t max, bool at_least_one)
{
	struct part_op op = fx_fetch_op(offset, max, at_least_one);
	fx_start(f, &op);
	assert_int_equal(fx_queued(f), 0);
	assert_ptr_equal(fx_done(f), &op);
	return op;
}

static struct part_op fetch_cold(struct fx *f, int64_t offset, uint32_t max, bool at_least_one)
{
	struct part_op op = fx_fetch_op(offset, max, at_least_one);
	part_env_evict(f->env, f->pool->count); /* what was read before */
	fx_start(f, &op);
	assert_int_equal(fx_queued(f), 1);
	fx_run(f);
	assert_ptr_equal(fx_done(f), &op);
	return op;
}

static void evict_all(struct fx *f)
{
	part_env_evict(f->env, f->pool->count);
	part_check(&f->part);
	assert_int_equal(f->env->cached_blocks, 0);
}

static void offsets_outside_the_log_are_out_of_range(void **state)
{
	struct fx *f = fx_new(16, 4, fx_config());
	fx_append(f, 5, 100, 1);
	assert_int_equal(fetch_hot(f, -1, 100, true).error, KE_OFFSET_OUT_OF_RANGE);
	struct part_op op = fetch_hot(f, 6, 100, true);
	assert_int_equal(op.error, KE_OFFSET_OUT_OF_RANGE);
	assert_int_equal(op.fetch.high_watermark, 5); /* for KIP-320 */
	op = fetch_hot(f, 5, 100, true);
	assert_int_equal(op.error, KE_NONE);
	assert_int_equal(op.fetch.span.len, 0);
	assert_int_equal(op.fetch.high_watermark, 5);
	assert_int_equal(op.fetch.last_stable_offset, 5);
	assert_int_equal(op.fetch.log_start_offset, 0);
	fx_free(f);
}

static void nothing_is_given_that_is_not_durable(void **state)
{
	struct fx *f = fx_new(16, 4, fx_config());
	fx_append(f, 2, 100, 1);
	struct fx_batch b = fx_batch(2, 100, 2);
	struct part_op append[2] = {fx_append_op(b), fx_append_op(b)};
	fx_start(f, &append[0]);
	fx_start(f, &append[1]);
	assert_int_equal(f->part.log_end_offset, 6);
	for (int64_t offset = 2; offset <= 6; offset++) {
		struct part_op op = fx_fetch_op(offset, 1000000, true);
		fx_start(f, &op);
		assert_ptr_equal(fx_done(f), &op);
		assert_int_equal(op.error, KE_NONE);
		assert_int_equal(op.fetch.span.len, 0);
	}
	struct part_op op = fx_fetch_op(0, 1000000, true);
	fx_start(f, &op);
	assert_ptr_equal(fx_done(f), &op);
	assert_int_equal(fx_check_span(f, op.fetch.span, 0), 1);
	part_release(f->env, op.fetch.span);
	fx_run(f);
	op = fx_fetch_op(0, 1000000, true);
	fx_done(f);
	fx_done(f);
	fx_start(f, &op);
	assert_ptr_equal(fx_done(f), &op);
	assert_int_equal(fx_check_span(f, op.fetch.span, 0), 3);
	part_release(f->env, op.fetch.span);
	free(b.data);
	fx_free(f);
}

static void an_offset_inside_a_batch_gives_the_whole_batch(void **state)
{
	struct fx *f = fx_new(64, 4, fx_config());
	for (uint32_t i = 0; i < 20; i++)
		fx_append(f, 7, 600, i);
	for (int64_t offset = 0; offset < 140; offset++) {
		struct part_op op = fetch_hot(f, offset, 1, true);
		assert_int_equal(op.error, KE_NONE);
		assert_int_equal(fx_check_span(f, op.fetch.span, offset), 1);
		uint8_t head[BATCH_HEADER_SIZE];
		lspan_copy(op.fetch.span, 0, head, sizeof(head));
		assert_int_equal(batch_base_offset(head), offset - offset % 7);
		part_release(f->env, op.fetch.span);
	}
	fx_free(f);
}

static void max_bytes_is_kept_and_the_first_batch_is_given_anyway(void **state)
{
	for (int cold = 0; cold < 2; cold++) {
		struct fx *f = fx_new(256, 4, fx_config());
		for (uint32_t i = 0; i < 30; i++)
			fx_append(f, 1, 3000, i);
		struct fx_batch one = fx_batch(1, 3000, 0);
		struct part_op (*fetch)(struct fx *, int64_t, uint32_t, bool) =
			cold ? fetch_cold : fetch_hot;
		if (cold)
			evict_all(f);
		struct part_op op = fetch(f, 3, one.len - 1, true);
		assert_int_equal(op.fetch.span.len, one.len);
		part_release(f->env, op.fetch.span);
		op = fetch(f, 3, one.len - 1, false);
		assert_int_equal(op.error, KE_NONE);
		assert_int_equal(op.fetch.span.len, 0);
		for (uint32_t n = 1; n < 20; n++) {
			op = fetch(f, 3, n * one.len, n % 2);
			assert_int_equal(fx_check_span(f, op.fetch.span, 3), n);
			part_release(f->env, op.fetch.span);
			op = fetch(f, 3, (n + 1) * one.len - 1, n % 2);
			assert_int_equal(fx_check_span(f, op.fetch.span, 3), n);
			part_release(f->env, op.fetch.span);
		}
		op = fetch_hot(f, 3, 0, false);
		assert_int_equal(op.fetch.span.len, 0);
		free(one.data);
		fx_free(f);
	}
}

static void a_fetch_shares_the_blocks_of_the_log(void **state)
{
	struct fx *f = fx_new(16, 4, fx_config());
	fx_append(f, 1, 20000, 1);
	fx_append(f, 1, 20000, 2);
	uint32_t before = f->pool->free_count;
	struct part_op op = fetch_hot(f, 0, 1 << 20, true);
	assert_int_equal(f->pool->free_count, before);
	assert_ptr_equal(op.fetch.span.first, f->part.first);
	assert_int_equal(op.fetch.span.first->refs, 2);
	/* evicted while it is held: alive until it is released */
	assert_int_equal(part_env_evict(f->env, 16), 0);
	assert_int_equal(f->env->cached_blocks, 0);
	part_check(&f->part);
	fx_append(f, 1, 20000, 3);
	assert_int_equal(fx_check_span(f, op.fetch.span, 0), 2);
	part_release(f->env, op.fetch.span);
	fx_free(f);
}

static void evicted_data_is_read_from_the_storage(void **state)
{
	struct fx *f = fx_new(16, 4, fx_config());
	for (uint32_t i = 0; i < 10; i++)
		fx_append(f, 3, 3000, i);
	evict_all(f);
	for (int64_t offset = 0; offset < 30; offset += 4) {
		struct part_op op = fetch_cold(f, offset, 20000, true);
		assert_int_equal(op.error, KE_NONE);
		assert_true(op.fetch.span.len <= 20000);
		fx_check_span(f, op.fetch.span, offset);
		part_release(f->env, op.fetch.span);
		part_env_evict(f->env, 16);
		assert_int_equal(f->pool->free_count, 16);
	}
	fx_free(f);
}

static void a_batch_larger_than_the_blocks_given_is_asked_for_again(void **state)
{
	struct fx *f = fx_new(16, 4, fx_config());
	fx_append(f, 1, 100, 1);
	fx_append(f, 1, 9 * LBLOCK_SIZE, 1);
	evict_all(f);
	struct part_op op = fx_fetch_op(1, 1000, true);
	fx_start(f, &op);
	assert_true(fx_front(f)->read.block_count < 9);
	fx_answer(f, ST_OK); /* the storage says ST_E_SHORT */
	assert_null(fx_done(f));
	assert_int_equal(fx_front(f)->read.block_count, 10);
	fx_run(f);
	assert_ptr_equal(fx_done(f), &op);
	assert_int_equal(op.error, KE_NONE);
	assert_int_equal(fx_check_span(f, op.fetch.span, 1), 1);
	part_release(f->env, op.fetch.span);
	fx_free(f);
}

static void a_read_that_can_never_fit_ends_with_an_error(void **state)
{
	struct fx *f = fx_new(16, 4, fx_config());
	fx_append(f, 1, 10, 1);
	evict_all(f);
	struct part_op op = fx_fetch_op(0, 1000, true);
	fx_start(f, &op);
	struct st_req *r = fx_front(f);
	r->read.need = 1000;
	fx_answer(f, ST_E_SHORT);
	assert_ptr_equal(fx_done(f), &op);
	assert_int_equal(op.error, KE_KAFKA_STORAGE_ERROR);
	fx_free(f);
}

static void storage_errors_of_a_read_become_kafka_errors(void **state)
{
	const struct {
		enum st_err err;
		int16_t error;
		enum part_state state;
	} cases[] = {
		{ST_E_CORRUPT, KE_CORRUPT_MESSAGE, PART_LEADER},
		{ST_E_RANGE, KE_CORRUPT_MESSAGE, PART_LEADER}, /* it is in the log */
		{ST_E_LIMIT, KE_KAFKA_STORAGE_ERROR, PART_LEADER},
		{ST_E_IO, KE_KAFKA_STORAGE_ERROR, PART_OFFLINE},
		{ST_E_OFFLINE, KE_KAFKA_STORAGE_ERROR, PART_OFFLINE},
	};
	for (size_t i = 0; i < array_size(cases); i++) {
		struct fx *f = fx_new(16, 4, fx_config());
		fx_append(f, 1, 10, 1);
		evict_all(f);
		struct part_op op = fx_fetch_op(0, 1000, true);
		fx_start(f, &op);
		fx_answer(f, cases[i].err);
		assert_ptr_equal(fx_done(f), &op);
		assert_int_equal(op.error, cases[i].error);
		assert_int_equal(op.fetch.span.len, 0);
		assert_int_equal(f->part.state, cases[i].state);
		assert_int_equal(f->pool->free_count, 16);
		fx_free(f);
	}
}

static void an_answer_that_was_not_asked_for_is_not_given_away(void **state)
{
	const struct {
		int64_t base, next;
		uint32_t len;
		int16_t error;
	} cases[] = {
		{1, 2, 100, KE_NONE},
		{1, 4, 100, KE_CORRUPT_MESSAGE}, /* beyond the high watermark */
		{2, 3, 100, KE_CORRUPT_MESSAGE}, /* behind the offset */
		{0, 1, 100, KE_CORRUPT_MESSAGE}, /* before it */
		{1, 2, 0, KE_CORRUPT_MESSAGE},	 /* nothing */
	};
	for (size_t i = 0; i < array_size(cases); i++) {
		struct fx *f = fx_new(16, 4, fx_config());
		fx_append(f, 3, 10, 1);
		evict_all(f);
		struct part_op op = fx_fetch_op(1, 1000, true);
		fx_start(f, &op);
		struct st_req *r = fx_front(f);
		list_remove(&r->node);
		r->err = ST_OK;
		r->read.span = (struct lspan){r->read.blocks, 0, cases[i].len};
		r->read.base_offset = cases[i].base;
		r->read.next_offset = cases[i].next;
		part_stored(&f->part, r, f->now, &f->out);
		fx_take(f);
		assert_ptr_equal(fx_done(f), &op);
		assert_int_equal(op.error, cases[i].error);
		assert_int_equal(op.fetch.span.len, op.error ? 0 : cases[i].len);
		part_release(f->env, op.fetch.span);
		fx_free(f);
	}
}

static void a_lookup_that_finds_what_is_not_durable_is_an_error(void **state)
{
	struct fx *f = fx_new(16, 4, fx_config());
	fx_append(f, 3, 10, 1);
	struct part_op op = {.kind = PART_LIST, .current_leader_epoch = -1};
	op.list.timestamp = 5;
	fx_start(f, &op);
	struct st_req *r = fx_front(f);
	list_remove(&r->node);
	r->err = ST_OK;
	r->lookup.offset = 3;
	part_stored(&f->part, r, f->now, &f->out);
	fx_take(f);
	assert_ptr_equal(fx_done(f), &op);
	assert_int_equal(op.error, KE_CORRUPT_MESSAGE);
	assert_int_equal(op.list.offset, -1);
	fx_free(f);
}

static void a_partition_is_closed_only_when_its_reads_are_back(void **state)
{
	struct fx *f = fx_new(16, 4, fx_config());
	fx_append(f, 3, 10, 1);
	evict_all(f);
	struct part_op op = fx_fetch_op(0, 1000, true);
	fx_start(f, &op);
	assert_false(part_close(&f->part, KE_NOT_LEADER_OR_FOLLOWER, &f->out));
	fx_take(f);
	fx_run(f);
	assert_ptr_equal(fx_done(f), &op);
	assert_int_equal(op.error, KE_NONE);
	part_release(f->env, op.fetch.span);
	assert_true(part_close(&f->part, KE_NOT_LEADER_OR_FOLLOWER, &f->out));
	fx_free(f);
}

static void reads_wait_for_memory_and_do_not_hold_up_the_others(void **state)
{
	struct fx *f = fx_new(8, 4, fx_config());
	fx_append(f, 1, 10000, 1);
	fx_append(f, 1, 4 * LBLOCK_SIZE, 2);
	evict_all(f);
	struct lblock *held = lblock_get_chain(f->pool, 7);
	struct part_op op = fx_fetch_op(0, 1000, true);
	fx_start(f, &op);
	assert_true(part_env_is_waiting(f->env));
	assert_false(part_is_stalled(&f->part));
	assert_int_equal(fx_queued(f), 0);
	struct part_op end = fx_fetch_op(2, 1000, true);
	fx_start(f, &end);
	assert_ptr_equal(fx_done(f), &end);
	struct fx_batch b = fx_batch(1, 10, 3);
	struct part_op append = fx_append_op(b);
	fx_start(f, &append); /* takes the last block, the reserve */
	fx_run(f);
	assert_ptr_equal(fx_done(f), &append);
	lspan_unref(f->pool, (struct lspan){held, 0, 7 * LBLOCK_SIZE});
	part_kick(&f->part, f->now, &f->out);
	fx_take(f);
	fx_run(f);
	assert_ptr_equal(fx_done(f), &op);
	assert_int_equal(op.error, KE_NONE);
	part_release(f->env, op.fetch.span);
	free(b.data);
	fx_free(f);
}

static void leader_epochs_are_checked(void **state)
{
	struct fx *f = fx_new(16, 4, fx_config());
	fx_append(f, 2, 10, 1);
	const struct {
		int32_t epoch;
		int16_t error;
	} cases[] = {{-1, KE_NONE}, {5, KE_NONE}, {4, KE_FENCED_LEADER_EPOCH},
		{6, KE_UNKNOWN_LEADER_EPOCH}};
	for (size_t i = 0; i < array_size(cases); i++) {
		struct part_op op = fx_fetch_op(0, 1000, true);
		op.current_leader_epoch = cases[i].epoch;
		fx_start(f, &op);
		assert_ptr_equal(fx_done(f), &op);
		assert_int_equal(op.error, cases[i].error);
		part_release(f->env, op.fetch.span);
		op = (struct part_op){.kind = PART_LIST, .current_leader_epoch = cases[i].epoch};
		op.list.timestamp = -1;
		fx_start(f, &op);
		assert_ptr_equal(fx_done(f), &op);
		assert_int_equal(op.error, cases[i].error);
		assert_int_equal(op.list.offset, cases[i].error ? -1 : 2);
	}
	fx_free(f);
}

static void a_fetch_ends_at_the_end_of_a_segment(void **state)
{
	struct part_config c = fx_config();
	c.segment_bytes = 30000;
	struct fx *f = fx_new(64, 8, c);
	for (uint32_t i = 0; i < 20; i++)
		fx_append(f, 1, 8000, i);
	assert_int_equal(f->segment_count, 7);
	int64_t offset = 0;
	uint32_t fetches = 0;
	while (offset < 20) {
		struct part_op op = fetch_hot(f, offset, 1 << 20, true);
		offset += fx_check_span(f, op.fetch.span, offset);
		part_release(f->env, op.fetch.span);
		fetches++;
	}
	assert_int_equal(fetches, 7);
	fx_free(f);
}

static void a_wait_ends_when_the_high_watermark_passes_its_offset(void **state)
{
	struct fx *f = fx_new(16, 4, fx_config());
	struct part_op wait[3];
	for (int i = 0; i < 3; i++) {
		wait[i] = (struct part_op){.kind = PART_WAIT, .current_leader_epoch = -1};
		wait[i].wait.offset = i;
		fx_start(f, &wait[i]);
	}
	assert_null(fx_done(f));
	struct fx_batch b = fx_batch(2, 10, 1);
	struct part_op op = fx_append_op(b);
	fx_start(f, &op);
	assert_null(fx_done(f)); /* not by what is only appended */
	fx_run(f);
	assert_ptr_equal(fx_done(f), &op);
	assert_ptr_equal(fx_done(f), &wait[0]);
	assert_ptr_equal(fx_done(f), &wait[1]);
	assert_null(fx_done(f));
	part_cancel(&f->part, &wait[2], &f->out);
	fx_take(f);
	assert_ptr_equal(fx_done(f), &wait[2]);
	part_cancel(&f->part, &wait[2], &f->out); /* harmless */
	part_cancel(&f->part, &wait[0], &f->out);
	fx_take(f);
	assert_null(fx_done(f));
	fx_start(f, &wait[0]); /* there already */
	assert_ptr_equal(fx_done(f), &wait[0]);
	free(b.data);
	fx_free(f);
}

static void offsets_are_listed_by_name_and_by_time(void **state)
{
	struct fx *f = fx_new(16, 4, fx_config());
	struct part_op op = {.kind = PART_LIST, .current_leader_epoch = -1};
	op.list.timestamp = -3;
	fx_start(f, &op); /* an empty log needs no lookup */
	assert_ptr_equal(fx_done(f), &op);
	assert_int_equal(op.list.offset, -1);
	const int64_t times[] = {100, 300, 200, 400, 250};
	for (uint32_t i = 0; i < array_size(times); i++) {
		struct fx_batch b = fx_batch_at(1, 10, i, times[i]);
		struct part_op append = fx_append_op(b);
		fx_start(f, &append);
		fx_run(f);
		assert_ptr_equal(fx_done(f), &append);
		free(b.data);
	}
	const struct {
		int64_t timestamp, offset, record_timestamp;
		int16_t error;
	} cases[] = {{-1, 5, -1, 0}, {-2, 0, -1, 0}, {-3, 3, 400, 0}, {-4, 0, -1, 0},
		{-5, -1, -1, 0}, {-99, -1, -1, KE_INVALID_REQUEST}, {0, 0, 100, 0},
		{101, 1, 300, 0}, {301, 3, 400, 0}, {401, -1, -1, 0}};
	for (size_t i = 0; i < array_size(cases); i++) {
		op.list.timestamp = cases[i].timestamp;
		fx_start(f, &op);
		fx_run(f);
		assert_ptr_equal(fx_done(f), &op);
		assert_int_equal(op.error, cases[i].error);
		assert_int_equal(op.list.offset, cases[i].offset);
		assert_int_equal(op.list.record_timestamp, cases[i].record_timestamp);
		assert_int_equal(op.list.leader_epoch, cases[i].offset >= 0 ? 5 : -1);
	}
	op.list.timestamp = 5;
	fx_start(f, &op);
	fx_answer(f, ST_E_CORRUPT);
	assert_int_equal(fx_done(f)->error, KE_CORRUPT_MESSAGE);
	fx_start(f, &op);
	fx_answer(f, ST_E_IO);
	assert_int_equal(fx_done(f)->error, KE_KAFKA_STORAGE_ERROR);
	assert_int_equal(f->part.state, PART_OFFLINE);
	fx_free(f);
}

static void eviction_takes_the_oldest_blocks_first(void **state)
{
	struct fx *f = fx_new(16, 4, fx_config());
	for (uint32_t i = 0; i < 6; i++)
		fx_append(f, 1, LBLOCK_SIZE - 200, i);
	uint32_t cached = f->env->cached_blocks;
	assert_int_equal(cached, 6);
	for (uint64_t i = 0; i < 4; i++) {
		assert_int_equal(f->part.first->file_pos, i * LBLOCK_SIZE);
		assert_int_equal(part_env_evict(f->env, 1), 1);
		part_check(&f->part);
		struct part_op op = fetch_hot(f, 5, 1 << 20, true); /* the end stays in memory */
		assert_int_equal(fx_check_span(f, op.fetch.span, 5), 1);
		part_release(f->env, op.fetch.span);
	}
	fx_free(f);
}

static void a_fetch_on_its_way_out_outlives_its_partition(void **state)
{
	struct fx *f = fx_new(16, 4, fx_config());
	for (uint32_t i = 0; i < 4; i++)
		fx_append(f, 1, LBLOCK_SIZE - 200, i);
	struct part_op op = fetch_hot(f, 0, 4 * LBLOCK_SIZE, true);
	assert_true(lspan_blocks(op.fetch.span) > 2);
	assert_true(part_close(&f->part, KE_UNKNOWN_TOPIC_OR_PARTITION, &f->out));
	part_fini(&f->part);
	part_release(f->env, op.fetch.span); /* goes from block to block */
	assert_int_equal(f->pool->free_count, f->pool->count);
	fx_free(f);
}

static void a_deep_cache_is_searched_at_every_offset(void **state)
{
	struct part_config c = fx_config();
	c.segment_bytes = 300000;
	struct fx *f = fx_new(250, 4, c);
	uint32_t batches = 0;
	for (uint32_t i = 0; i < 1200; i++, batches++)
		fx_append(f, 1 + i % 3, i % 50 == 0 ? 40000 : 1 + (i * 37) % 3000, i);
	int64_t first = f->part.first->first_offset;
	assert_true(first > 0); /* some of it has been evicted */
	uint32_t hot = 0;
	for (int64_t offset = 0; offset < f->end; offset++) {
		struct part_op op = fx_fetch_op(offset, 1, true);
		fx_start(f, &op);
		hot += fx_queued(f) == 0;
		fx_run(f);
		assert_ptr_equal(fx_done(f), &op);
		assert_int_equal(fx_check_span(f, op.fetch.span, offset), 1);
		part_release(f->env, op.fetch.span);
	}
	assert_true(hot > f->end / 3);
	fx_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(offsets_outside_the_log_are_out_of_range),
		cmocka_unit_test(nothing_is_given_that_is_not_durable),
		cmocka_unit_test(an_offset_inside_a_batch_gives_the_whole_batch),
		cmocka_unit_test(max_bytes_is_kept_and_the_first_batch_is_given_anyway),
		cmocka_unit_test(a_fetch_shares_the_blocks_of_the_log),
		cmocka_unit_test(evicted_data_is_read_from_the_storage),
		cmocka_unit_test(a_batch_larger_than_the_blocks_given_is_asked_for_again),
		cmocka_unit_test(a_read_that_can_never_fit_ends_with_an_error),
		cmocka_unit_test(storage_errors_of_a_read_become_kafka_errors),
		cmocka_unit_test(an_answer_that_was_not_asked_for_is_not_given_away),
		cmocka_unit_test(a_lookup_that_finds_what_is_not_durable_is_an_error),
		cmocka_unit_test(a_partition_is_closed_only_when_its_reads_are_back),
		cmocka_unit_test(reads_wait_for_memory_and_do_not_hold_up_the_others),
		cmocka_unit_test(leader_epochs_are_checked),
		cmocka_unit_test(a_fetch_ends_at_the_end_of_a_segment),
		cmocka_unit_test(a_wait_ends_when_the_high_watermark_passes_its_offset),
		cmocka_unit_test(offsets_are_listed_by_name_and_by_time),
		cmocka_unit_test(eviction_takes_the_oldest_blocks_first),
		cmocka_unit_test(a_fetch_on_its_way_out_outlives_its_partition),
		cmocka_unit_test(a_deep_cache_is_searched_at_every_offset),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
