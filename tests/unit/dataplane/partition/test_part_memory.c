/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks that the storage has not released, and what happens when there are no others. */
#include "fixture.h"

#define MANY 40

static struct fx *late_fx(uint32_t blocks, uint32_t reqs)
{
	struct fx *f = fx_new(blocks, reqs, fx_config());
	f->late = true;
	return f;
}

static uint32_t count_ops(struct fx *f, enum st_op op)
{
	uint32_t n = 0;
	list_for_each (it, &f->queue)
		n += list_entry(it, struct st_req, node)->op == op;
	return n;
}

static void durable_blocks_stay_until_they_are_released(void **state)
{
	struct fx *f = late_fx(32, 4);
	for (uint32_t i = 0; i < 6; i++)
		fx_append(f, 1, 10000, i);
	assert_int_equal(f->env->cached_blocks, 0);
	assert_int_equal(f->env->held_blocks, 4);
	assert_int_equal(part_env_evict(f->env, 32), 0);
	/* what lies wholly below may go, with the next answer */
	fx_release(f, (struct st_pos){0, 2 * LBLOCK_SIZE + 5});
	fx_append(f, 1, 10, 7);
	assert_int_equal(f->env->cached_blocks, 2);
	assert_int_equal(part_env_evict(f->env, 32), 2);
	fx_check_kept(f);
	struct part_op op = fx_fetch_op(6, 1 << 20, true);
	fx_start(f, &op);
	assert_ptr_equal(fx_done(f), &op); /* from memory */
	assert_int_equal(fx_check_span(f, op.fetch.span, 6), 1);
	part_release(f->env, op.fetch.span);
	/* a position that goes back changes nothing */
	struct fx_batch b = fx_batch(1, 10, 8);
	op = fx_append_op(b);
	fx_start(f, &op);
	struct st_req *r = fx_front(f);
	list_remove(&r->node);
	fx_do_append(f, r);
	r->append.released.pos = 7;
	part_stored(&f->part, r, f->now, &f->out);
	fx_take(f);
	assert_ptr_equal(fx_done(f), &op);
	free(b.data);
	assert_int_equal(f->part.released.pos, 2 * LBLOCK_SIZE + 5);
	fx_free(f);
}

static void nothing_is_released_that_the_storage_has_not_taken(void **state)
{
	struct fx *f = late_fx(32, 4);
	struct fx_batch b = fx_batch(1, 20000, 8);
	struct part_op op[2] = {fx_append_op(b), fx_append_op(b)};
	fx_start(f, &op[0]);
	fx_start(f, &op[1]);
	struct st_req *r = fx_front(f);
	list_remove(&r->node);
	fx_do_append(f, r);
	r->append.released = (struct st_pos){0, 1 << 30}; /* a storage that is wrong */
	part_stored(&f->part, r, f->now, &f->out);
	fx_take(f);
	assert_int_equal(f->part.released.pos, f->part.durable_pos);
	f->released = f->part.released;
	fx_run(f);
	assert_int_equal(f->env->held_blocks, 2);
	assert_int_equal(f->env->cached_blocks, 1);
	fx_done(f);
	fx_done(f);
	free(b.data);
	fx_free(f);
}

static void a_released_tail_block_that_grows_is_held_again(void **state)
{
	struct fx *f = late_fx(8, 4);
	fx_append(f, 1, 1000, 1);
	fx_release(f, (struct st_pos){0, f->part.segment_pos});
	struct lblock *tail = f->part.tail;
	f->late = false; /* released with the answer */
	fx_append(f, 1, 1000, 2);
	assert_int_equal(f->env->cached_blocks, 1);
	f->late = true;
	fx_append(f, 1, 1000, 3);
	assert_ptr_equal(f->part.tail, tail);
	assert_int_equal(f->env->held_blocks, 1);
	assert_int_equal(part_env_evict(f->env, 8), 0);
	fx_release(f, (struct st_pos){0, f->part.segment_pos});
	struct fx_batch b = fx_batch(1, 1000, 4);
	struct part_op op = fx_append_op(b);
	fx_start(f, &op);
	fx_answer(f, ST_E_NOSPACE); /* refused, and nothing is said of what is released */
	assert_ptr_equal(fx_done(f), &op);
	assert_int_equal(f->env->held_blocks, 1);
	free(b.data);
	fx_free(f);
}

static void an_evicted_tail_comes_back_from_the_storage(void **state)
{
	struct fx *f = fx_new(8, 4, fx_config());
	fx_append(f, 1, 20000, 1);
	assert_int_equal(part_env_evict(f->env, 8), 2);
	f->late = true;
	assert_int_equal(fx_append(f, 1, 1000, 2), 1);
	assert_int_equal(f->env->held_blocks, 1);
	fx_check_kept(f);
	fx_free(f);
}

/* n partitions over one pool that hold one block each. */
static void hold_some(struct fx **f, uint32_t n, uint32_t blocks, uint32_t reqs)
{
	for (uint32_t i = 0; i < n; i++) {
		f[i] = i == 0 ? late_fx(blocks, reqs) : fx_new_beside(f[0], fx_config());
		f[i]->late = true;
		fx_append(f[i], 1, 1000, i);
	}
}

static void who_has_held_longest_is_asked_first_and_only_a_few_at_a_time(void **state)
{
	struct fx *f[MANY];
	hold_some(f, MANY, 2 * MANY, 64);
	assert_int_equal(f[0]->env->held_blocks, MANY);
	assert_int_equal(f[0]->env->fills_out, 0); /* there are others */
	struct lblock *taken = lblock_get_chain(f[0]->pool, MANY);
	struct fx_batch b = fx_batch(1, 2 * LBLOCK_SIZE, 9);
	struct part_op op = fx_append_op(b);
	fx_start(f[MANY - 1], &op);
	assert_true(part_is_stalled(&f[MANY - 1]->part));
	for (int again = 0; again < 3; again++) {
		for (uint32_t i = 0; i < MANY; i++)
			assert_int_equal(count_ops(f[i], ST_FILL), i < 16 ? 1 : 0);
		part_kick(&f[MANY - 1]->part, f[0]->now, &f[MANY - 1]->out);
		fx_take(f[MANY - 1]);
	}
	for (uint32_t i = 0; i < 16; i++)
		fx_run(f[i]);
	assert_int_equal(f[0]->env->cached_blocks, 16);
	part_kick(&f[MANY - 1]->part, f[0]->now, &f[MANY - 1]->out);
	fx_take(f[MANY - 1]);
	fx_run(f[MANY - 1]);
	assert_ptr_equal(fx_done(f[MANY - 1]), &op);
	assert_int_equal(op.error, KE_NONE);
	lspan_unref(f[0]->pool, (struct lspan){taken, 0, MANY * LBLOCK_SIZE});
	free(b.data);
	for (int i = MANY; i-- > 0;)
		fx_free(f[i]);
}

/* Every block of the pool is durable and not released; the storage releases when it is asked, and
 * not before. */
static void a_pool_full_of_unreleased_blocks_is_no_deadlock(void **state)
{
	for (uint32_t reqs = 1; reqs <= 64; reqs *= 4) {
		struct fx *f[MANY];
		struct fx_batch b[MANY];
		struct part_op op[MANY];
		f[0] = late_fx(12, reqs);
		for (int i = 1; i < MANY; i++) {
			f[i] = fx_new_beside(f[0], fx_config());
			f[i]->late = true;
		}
		for (int round = 0; round < 20; round++) {
			for (int i = 0; i < MANY; i++) {
				b[i] = fx_batch(
					1, (uint32_t)(round * 997 + i * 131) % 60000, (uint32_t)i);
				op[i] = fx_append_op(b[i]);
				fx_start(f[i], &op[i]);
			}
			uint32_t done = 0;
			for (int turn = 0; turn < 4000 && done < MANY; turn++) {
				for (int i = 0; i < MANY; i++) {
					part_kick(&f[i]->part, f[i]->now, &f[i]->out);
					fx_take(f[i]);
					if (fx_front(f[i]))
						fx_answer(f[i], ST_OK);
				}
				for (int i = 0; i < MANY; i++)
					done += fx_done(f[i]) != NULL;
			}
			assert_int_equal(done, MANY);
			for (int i = 0; i < MANY; i++) {
				assert_int_equal(op[i].error, KE_NONE);
				free(b[i].data);
			}
		}
		for (int i = 0; i < MANY; i++)
			fx_run(f[i]);
		for (int i = MANY; i-- > 0;)
			fx_free(f[i]);
	}
}

static void a_log_that_has_failed_releases_everything(void **state)
{
	const enum st_op ops[] = {ST_APPEND, ST_READ, ST_TRIM};
	for (size_t k = 0; k < array_size(ops); k++) {
		struct fx *f = late_fx(32, 4);
		for (uint32_t i = 0; i < 4; i++)
			fx_append(f, 1, 10000, i);
		assert_int_equal(f->env->held_blocks, 3);
		struct fx_batch b = fx_batch(1, 10, 5);
		struct part_op op = fx_append_op(b);
		if (ops[k] != ST_APPEND) {
			op = (struct part_op){.kind = PART_TRIM, .current_leader_epoch = -1};
			op.trim.offset = 2;
		}
		fx_start(f, &op);
		fx_answer(f, k % 2 ? ST_E_OFFLINE : ST_E_IO);
		assert_int_equal(f->part.state, PART_OFFLINE);
		assert_int_equal(f->env->held_blocks, 0);
		assert_int_equal(part_env_evict(f->env, 32), 3);
		assert_int_equal(f->pool->free_count, 32);
		free(b.data);
		fx_free(f);
	}
}

static void a_closing_log_keeps_its_blocks_until_it_is_closed(void **state)
{
	struct fx *f = late_fx(8, 4);
	struct fx *g = fx_new_beside(f, fx_config());
	fx_append(f, 1, 50000, 1);
	assert_true(part_close(&f->part, KE_NOT_LEADER_OR_FOLLOWER, &f->out));
	fx_take(f);
	uint32_t held = (uint32_t)f->env->held_blocks;
	assert_int_equal(part_env_evict(f->env, 8), 0);
	/* another one that wants room cannot have them, and asks a log that is going in vain */
	struct fx_batch b = fx_batch(1, 100000, 5);
	struct part_op op = fx_append_op(b);
	fx_start(g, &op);
	assert_int_equal(fx_queued(f), 0);
	assert_true(part_is_stalled(&g->part));
	assert_int_equal(f->env->held_blocks, held);
	fx_check_kept(f);
	fx_free(f); /* the answer to ST_CLOSE */
	part_kick(&g->part, g->now, &g->out);
	fx_take(g);
	fx_run(g);
	assert_ptr_equal(fx_done(g), &op);
	assert_int_equal(op.error, KE_NONE);
	free(b.data);
	fx_free(g);
}

/* Answers all requests; ST_FILL with an error. */
static void answer_all(struct fx *f, enum st_err fill)
{
	uint32_t left = fx_queued(f);
	while (left-- > 0)
		fx_answer(f, fx_front(f)->op == ST_FILL ? fill : ST_OK);
}

static void a_full_disk_refuses_what_finds_no_room_and_is_noticed_when_it_is_over(void **state)
{
	struct fx *f = late_fx(8, 8);
	struct fx_batch b = fx_batch(1, 15500, 9);
	struct part_op op;
	int64_t taken = 0;
	for (int i = 0; i < 20; i++) {
		op = fx_append_op(b);
		fx_start(f, &op);
		for (int turn = 0; turn < 5; turn++) {
			answer_all(f, ST_E_NOSPACE);
			part_kick(&f->part, f->now, &f->out);
			fx_take(f);
		}
		assert_ptr_equal(fx_done(f), &op); /* nothing waits for ever */
		taken += op.error == KE_NONE;
		if (op.error) {
			assert_int_equal(op.error, KE_KAFKA_STORAGE_ERROR);
			assert_string_equal(op.append.error_message, "the disk is full");
		}
	}
	assert_true(taken >= 7 && taken < 10);
	assert_int_equal(f->part.state, PART_LEADER);
	answer_all(f, ST_E_NOSPACE);
	/* the next one is refused at once, and asks whether it is over */
	op = fx_append_op(b);
	fx_start(f, &op);
	assert_ptr_equal(fx_done(f), &op);
	assert_int_equal(op.error, KE_KAFKA_STORAGE_ERROR);
	assert_int_equal(count_ops(f, ST_FILL), 1);
	/* what is there can be fetched */
	struct part_op fetch = fx_fetch_op(3, 1 << 20, true);
	fx_start(f, &fetch);
	assert_ptr_equal(fx_done(f), &fetch);
	fx_check_span(f, fetch.fetch.span, 3);
	part_release(f->env, fetch.fetch.span);
	answer_all(f, ST_OK);
	/* it is over: who finds no room waits for it again */
	for (int i = 0; i < 20; i++) {
		op = fx_append_op(b);
		fx_start(f, &op);
		fx_run(f);
		part_kick(&f->part, f->now, &f->out);
		fx_take(f);
		fx_run(f);
		assert_ptr_equal(fx_done(f), &op);
		assert_int_equal(op.error, KE_NONE);
	}
	struct lblock *others = lblock_get_chain(f->pool, f->pool->free_count);
	struct part_op waits[8];
	bool stalled = false;
	for (int i = 0; i < 8; i++) {
		waits[i] = fx_append_op(b);
		fx_start(f, &waits[i]);
		stalled |= part_is_stalled(&f->part);
	}
	assert_true(stalled);
	for (struct lblock *next; others; others = next) {
		next = others->next;
		others->next = NULL;
		lblock_unref(f->pool, others);
	}
	for (int turn = 0; turn < 20; turn++) {
		fx_run(f);
		part_kick(&f->part, f->now, &f->out);
		fx_take(f);
	}
	for (int i = 0; i < 8; i++) {
		assert_ptr_equal(fx_done(f), &waits[i]);
		assert_int_equal(waits[i].error, KE_NONE);
	}
	free(b.data);
	fx_free(f);
}

static void an_append_without_space_is_refused_in_words_and_the_log_goes_on(void **state)
{
	struct fx *f = late_fx(16, 8);
	fx_append(f, 1, 15000, 1);
	fx_append(f, 1, 15000, 2);
	struct fx_batch b = fx_batch(1, 20000, 9);
	struct part_op op[2] = {fx_append_op(b), fx_append_op(b)};
	fx_start(f, &op[0]);
	fx_start(f, &op[1]);
	fx_answer(f, ST_E_NOSPACE);
	for (int i = 0; i < 2; i++) {
		assert_ptr_equal(fx_done(f), &op[i]);
		assert_int_equal(op[i].error, KE_KAFKA_STORAGE_ERROR);
		assert_string_equal(op[i].append.error_message, "the disk is full");
	}
	fx_check_kept(f); /* what the storage took before is as it was */
	assert_int_equal(fx_append(f, 1, 100, 3), 2);
	fx_check_kept(f);
	free(b.data);
	fx_free(f);
}

static void an_idle_partition_is_small(void **state)
{
	assert_true(sizeof(struct part) <= 1024);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(durable_blocks_stay_until_they_are_released),
		cmocka_unit_test(nothing_is_released_that_the_storage_has_not_taken),
		cmocka_unit_test(a_released_tail_block_that_grows_is_held_again),
		cmocka_unit_test(an_evicted_tail_comes_back_from_the_storage),
		cmocka_unit_test(who_has_held_longest_is_asked_first_and_only_a_few_at_a_time),
		cmocka_unit_test(a_pool_full_of_unreleased_blocks_is_no_deadlock),
		cmocka_unit_test(a_log_that_has_failed_releases_everything),
		cmocka_unit_test(a_closing_log_keeps_its_blocks_until_it_is_closed),
		cmocka_unit_test(
			a_full_disk_refuses_what_finds_no_room_and_is_noticed_when_it_is_over),
		cmocka_unit_test(an_append_without_space_is_refused_in_words_and_the_log_goes_on),
		cmocka_unit_test(an_idle_partition_is_small),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
