/* SPDX-License-Identifier: Apache-2.0 */
/* DeleteRecords, retention and compaction as the partition sees them. */
#include "fixture.h"

static struct part_op trim_op(int64_t offset)
{
	struct part_op op = {.kind = PART_TRIM, .current_leader_epoch = -1};
	op.trim.offset = offset;
	return op;
}

static struct part_op trim(struct fx *f, int64_t offset)
{
	struct part_op op = trim_op(offset);
	fx_start(f, &op);
	fx_run(f);
	assert_ptr_equal(fx_done(f), &op);
	return op;
}

static int16_t fetch_error(struct fx *f, int64_t offset)
{
	struct part_op op = fx_fetch_op(offset, 1000, true);
	fx_start(f, &op);
	fx_run(f);
	assert_ptr_equal(fx_done(f), &op);
	if (op.fetch.span.len > 0)
		part_release(f->env, op.fetch.span);
	return op.error;
}

static const struct st_policy by_time = {
	.remove = true, .retention_ms = 1000, .retention_bytes = -1};
static const struct st_policy both = {
	.remove = true, .compact = true, .retention_ms = -1, .retention_bytes = 5};

/* An upkeep answer that says where the log begins. */
static void answer_start(struct fx *f, struct st_req *r, int64_t start)
{
	f->start = start;
	fx_answer_one(f, r, ST_OK);
}

static void records_are_deleted_below_the_offset(void **state)
{
	struct fx *f = fx_new(16, 4, fx_config());
	for (uint32_t i = 0; i < 5; i++)
		fx_append(f, 2, 100, i);
	struct part_op op = trim(f, 3);
	assert_int_equal(op.error, KE_NONE);
	assert_int_equal(op.trim.log_start_offset, 3);
	assert_int_equal(f->start, 3);
	assert_int_equal(f->part.log_start_offset, 3);
	assert_int_equal(fetch_error(f, 2), KE_OFFSET_OUT_OF_RANGE);
	assert_int_equal(fetch_error(f, 3), KE_NONE);
	op = (struct part_op){.kind = PART_LIST, .current_leader_epoch = -1};
	op.list.timestamp = -2;
	fx_start(f, &op);
	assert_ptr_equal(fx_done(f), &op);
	assert_int_equal(op.list.offset, 3);
	/* what is below already changes nothing, and does not ask */
	op = trim_op(1);
	fx_start(f, &op);
	assert_int_equal(fx_queued(f), 0);
	assert_ptr_equal(fx_done(f), &op);
	assert_int_equal(op.error, KE_NONE);
	assert_int_equal(op.trim.log_start_offset, 3);
	fx_free(f);
}

static void minus_one_deletes_up_to_the_high_watermark(void **state)
{
	struct fx *f = fx_new(16, 4, fx_config());
	fx_append(f, 4, 100, 1);
	struct fx_batch b = fx_batch(2, 100, 2);
	struct part_op append = fx_append_op(b);
	fx_start(f, &append); /* not durable */
	struct part_op op = trim_op(-1);
	fx_start(f, &op);
	fx_run(f);
	assert_ptr_equal(fx_done(f), &append);
	assert_ptr_equal(fx_done(f), &op);
	assert_int_equal(op.trim.log_start_offset, 4);
	assert_int_equal(fetch_error(f, 3), KE_OFFSET_OUT_OF_RANGE);
	assert_int_equal(fetch_error(f, 4), KE_NONE);
	free(b.data);
	fx_free(f);
}

static void offsets_that_cannot_be_deleted_are_out_of_range(void **state)
{
	struct fx *f = fx_new(16, 4, fx_config());
	fx_append(f, 4, 100, 1);
	const int64_t wrong[] = {5, -2, INT64_MIN, INT64_MAX};
	for (size_t i = 0; i < array_size(wrong); i++) {
		struct part_op op = trim(f, wrong[i]);
		assert_int_equal(op.error, KE_OFFSET_OUT_OF_RANGE);
		assert_int_equal(op.trim.log_start_offset, -1);
	}
	struct fx_batch b = fx_batch(2, 100, 2);
	struct part_op append = fx_append_op(b);
	fx_start(f, &append); /* not durable */
	struct part_op op = trim_op(5);
	fx_start(f, &op);
	assert_ptr_equal(fx_done(f), &op);
	assert_int_equal(op.error, KE_OFFSET_OUT_OF_RANGE);
	fx_run(f);
	assert_ptr_equal(fx_done(f), &append);
	assert_int_equal(f->part.log_start_offset, 0);
	free(b.data);
	fx_free(f);
}

static void a_log_that_is_only_compacted_does_not_let_records_be_deleted(void **state)
{
	struct part_config c = fx_config();
	c.policy.compact = true;
	c.policy.remove = false;
	struct fx *f = fx_new(16, 4, c);
	fx_append(f, 4, 100, 1);
	assert_int_equal(trim(f, 1).error, KE_POLICY_VIOLATION);
	c.policy.remove = true;
	part_configure(&f->part, &c);
	assert_int_equal(trim(f, 1).error, KE_NONE);
	fx_free(f);
}

static void a_trim_that_the_storage_refuses_moves_nothing(void **state)
{
	const struct {
		enum st_err err;
		enum part_state state;
	} cases[] = {
		{ST_E_NOSPACE, PART_LEADER},
		{ST_E_LIMIT, PART_LEADER},
		{ST_E_IO, PART_OFFLINE},
		{ST_E_OFFLINE, PART_OFFLINE},
	};
	for (size_t i = 0; i < array_size(cases); i++) {
		struct fx *f = fx_new(16, 4, fx_config());
		fx_append(f, 4, 100, 1);
		struct part_op op = trim_op(2);
		fx_start(f, &op);
		fx_answer(f, cases[i].err);
		assert_ptr_equal(fx_done(f), &op);
		assert_int_equal(op.error, KE_KAFKA_STORAGE_ERROR);
		assert_int_equal(op.trim.log_start_offset, -1);
		assert_int_equal(f->part.log_start_offset, 0);
		assert_int_equal(f->part.state, cases[i].state);
		fx_free(f);
	}
}

static void a_trim_waits_for_a_free_request(void **state)
{
	struct fx *f = fx_new(16, 1, fx_config());
	fx_append(f, 4, 100, 1);
	struct fx_batch b = fx_batch(2, 100, 2);
	struct part_op append = fx_append_op(b);
	struct part_op op = trim_op(-1);
	fx_start(f, &append);
	fx_start(f, &op);
	assert_int_equal(fx_queued(f), 1);
	fx_run(f);
	assert_ptr_equal(fx_done(f), &append);
	assert_ptr_equal(fx_done(f), &op);
	assert_int_equal(op.trim.log_start_offset, 6); /* the watermark of when it was asked */
	free(b.data);
	fx_free(f);
}

static void a_lookup_whose_answer_is_deleted_meanwhile_is_made_again(void **state)
{
	struct fx *f = fx_new(16, 4, fx_config());
	for (uint32_t i = 0; i < 6; i++)
		fx_append(f, 1, 100, i);
	struct part_op op = {.kind = PART_LIST, .current_leader_epoch = -1};
	op.list.timestamp = 5;
	fx_start(f, &op);
	struct st_req *r = fx_front(f);
	list_remove(&r->node);
	r->err = ST_OK;
	r->lookup.offset = 2;
	r->lookup.record_timestamp = 5;
	assert_int_equal(trim(f, 4).trim.log_start_offset, 4);
	part_stored(&f->part, r, f->now, &f->out);
	fx_take(f);
	assert_null(fx_done(f));
	r = fx_front(f);
	assert_int_equal(r->op, ST_LOOKUP);
	list_remove(&r->node);
	r->lookup.offset = 4;
	r->lookup.record_timestamp = 6;
	part_stored(&f->part, r, f->now, &f->out);
	fx_take(f);
	assert_ptr_equal(fx_done(f), &op);
	assert_int_equal(op.error, KE_NONE);
	assert_int_equal(op.list.offset, 4);
	/* without a trim, what lies below the start is an answer to another question */
	op.list.timestamp = 5;
	fx_start(f, &op);
	r = fx_front(f);
	list_remove(&r->node);
	r->lookup.offset = 2;
	part_stored(&f->part, r, f->now, &f->out);
	fx_take(f);
	assert_ptr_equal(fx_done(f), &op);
	assert_int_equal(op.error, KE_CORRUPT_MESSAGE);
	fx_free(f);
}

static void upkeep_asks_for_what_the_policy_has_and_once_at_a_time(void **state)
{
	struct fx *f = fx_new(16, 8, fx_config());
	part_upkeep(&f->part, &both, f->now, &f->out);
	fx_take(f);
	assert_int_equal(fx_queued(f), 0); /* the log is empty */
	fx_append(f, 4, 100, 1);
	const struct st_policy forever = {
		.remove = true, .retention_ms = -1, .retention_bytes = -1};
	part_upkeep(&f->part, &forever, f->now, &f->out);
	fx_take(f);
	assert_int_equal(fx_queued(f), 0);
	for (int i = 0; i < 3; i++) {
		part_upkeep(&f->part, &both, f->now, &f->out);
		fx_take(f);
	}
	assert_int_equal(fx_queued(f), 2);
	struct st_req *r = fx_front(f);
	assert_int_equal(r->op, ST_RETAIN);
	assert_int_equal(r->retain.limit, 4);
	assert_int_equal(r->retain.now_ms, f->now);
	assert_int_equal(r->retain.policy.retention_bytes, 5);
	assert_int_equal(list_entry(r->node.next, struct st_req, node)->op, ST_CLEAN);
	fx_answer(f, ST_OK);
	part_upkeep(&f->part, &both, f->now, &f->out);
	fx_take(f);
	assert_int_equal(fx_queued(f), 2); /* the compaction is still under way */
	fx_run(f);
	part_upkeep(&f->part, &by_time, f->now, &f->out);
	fx_take(f);
	assert_int_equal(fx_queued(f), 1);
	fx_run(f);
	fx_free(f);
}

/* What the storage is asked when an append rolls the log. */
static uint32_t roll_asks(struct fx *f, uint32_t seed)
{
	struct fx_batch b = fx_batch(2, 100, seed);
	struct part_op op = fx_append_op(b);
	f->part.roll_next = true;
	fx_start(f, &op);
	uint32_t queued = fx_queued(f);
	assert_int_equal(fx_front(f)->op, ST_APPEND);
	if (queued > 1) {
		struct st_req *r = list_entry(fx_front(f)->node.next, struct st_req, node);
		assert_int_equal(r->op, ST_RETAIN);
		assert_false(r->retain.policy.compact);
	}
	fx_run(f);
	assert_ptr_equal(fx_done(f), &op);
	free(b.data);
	return queued;
}

static void a_roll_asks_for_retention_by_size(void **state)
{
	struct fx *f = fx_new(16, 8, fx_config());
	f->part.config.policy = both;
	fx_append(f, 2, 100, 1);
	assert_int_equal(roll_asks(f, 2), 2);
	f->part.config.policy = by_time; /* in its turn */
	assert_int_equal(roll_asks(f, 3), 1);
	fx_free(f);
}

static void the_answer_of_upkeep_moves_the_logs_start_but_never_back(void **state)
{
	struct fx *f = fx_new(16, 8, fx_config());
	for (uint32_t i = 0; i < 5; i++)
		fx_append(f, 2, 100, i);
	part_upkeep(&f->part, &by_time, f->now, &f->out);
	fx_take(f);
	answer_start(f, fx_front(f), 4);
	assert_int_equal(f->part.log_start_offset, 4);
	assert_int_equal(fetch_error(f, 3), KE_OFFSET_OUT_OF_RANGE);
	part_upkeep(&f->part, &by_time, f->now, &f->out);
	fx_take(f);
	answer_start(f, fx_front(f), 2);
	assert_int_equal(f->part.log_start_offset, 4);
	f->start = 4;
	fx_free(f);
}

static void an_expired_active_segment_is_left_by_the_next_append(void **state)
{
	struct fx *f = fx_new(16, 8, fx_config());
	fx_append(f, 3, 100, 1);
	part_upkeep(&f->part, &by_time, f->now, &f->out);
	fx_take(f);
	answer_start(f, fx_front(f), 3);
	assert_int_equal(f->part.log_start_offset, 3);
	assert_int_equal(fetch_error(f, 3), KE_NONE);
	assert_int_equal(fx_append(f, 1, 100, 2), 3);
	assert_int_equal(f->part.segment, 3);
	assert_int_equal(fx_append(f, 1, 100, 3), 4);
	assert_int_equal(f->part.segment, 3);
	fx_free(f);
}

static void a_partition_closes_while_upkeep_is_under_way(void **state)
{
	struct fx *f = fx_new(16, 8, fx_config());
	fx_append(f, 3, 100, 1);
	part_upkeep(&f->part, &both, f->now, &f->out);
	assert_true(part_close(&f->part, KE_NOT_LEADER_OR_FOLLOWER, &f->out));
	part_upkeep(&f->part, &both, f->now, &f->out);
	fx_take(f);
	assert_int_equal(fx_queued(f), 2);
	fx_free(f);
}

static void upkeep_that_fails_takes_the_partition_offline(void **state)
{
	struct fx *f = fx_new(16, 8, fx_config());
	fx_append(f, 3, 100, 1);
	part_upkeep(&f->part, &both, f->now, &f->out);
	fx_take(f);
	fx_answer(f, ST_E_NOSPACE);
	assert_int_equal(f->part.state, PART_LEADER);
	fx_answer(f, ST_E_IO);
	assert_int_equal(f->part.state, PART_OFFLINE);
	part_upkeep(&f->part, &both, f->now, &f->out);
	fx_take(f);
	assert_int_equal(fx_queued(f), 0);
	fx_free(f);
}

static void a_partition_tells_how_large_its_log_is_and_where(void **state)
{
	struct fx *f = fx_new(16, 4, fx_config());
	struct part_op op = {.kind = PART_SIZE, .current_leader_epoch = -1};
	fx_append(f, 2, 100, 1);
	fx_start(f, &op);
	assert_int_equal(fx_front(f)->op, ST_SIZE);
	fx_front(f)->size.bytes = 4711;
	fx_answer(f, ST_OK);
	assert_ptr_equal(fx_done(f), &op);
	assert_int_equal(op.error, KE_NONE);
	assert_int_equal(op.size.bytes, 4711);
	assert_int_equal(op.size.dir, f->part.dir);
	fx_start(f, &op);
	fx_answer(f, ST_E_IO);
	assert_ptr_equal(fx_done(f), &op);
	assert_int_equal(op.error, KE_KAFKA_STORAGE_ERROR);
	assert_int_equal(f->part.state, PART_OFFLINE);
	fx_start(f, &op);
	assert_ptr_equal(fx_done(f), &op);
	assert_int_equal(op.error, KE_KAFKA_STORAGE_ERROR);
	assert_int_equal(op.size.dir, f->part.dir);
	fx_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_are_deleted_below_the_offset),
		cmocka_unit_test(minus_one_deletes_up_to_the_high_watermark),
		cmocka_unit_test(offsets_that_cannot_be_deleted_are_out_of_range),
		cmocka_unit_test(a_log_that_is_only_compacted_does_not_let_records_be_deleted),
		cmocka_unit_test(a_trim_that_the_storage_refuses_moves_nothing),
		cmocka_unit_test(a_trim_waits_for_a_free_request),
		cmocka_unit_test(a_lookup_whose_answer_is_deleted_meanwhile_is_made_again),
		cmocka_unit_test(upkeep_asks_for_what_the_policy_has_and_once_at_a_time),
		cmocka_unit_test(a_roll_asks_for_retention_by_size),
		cmocka_unit_test(the_answer_of_upkeep_moves_the_logs_start_but_never_back),
		cmocka_unit_test(an_expired_active_segment_is_left_by_the_next_append),
		cmocka_unit_test(a_partition_closes_while_upkeep_is_under_way),
		cmocka_unit_test(a_partition_tells_how_large_its_log_is_and_where),
		cmocka_unit_test(upkeep_that_fails_takes_the_partition_offline),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
