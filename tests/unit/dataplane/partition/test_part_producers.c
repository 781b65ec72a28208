/* SPDX-License-Identifier: Apache-2.0 */
/* Idempotent producers: what is a duplicate, what is out of order, and what outlives a restart. */
#include "fixture.h"

#define POOL 16u
#define DAY_MS 86400000ll

/* A partition that looks at sequence numbers. */
struct world {
	struct producer_pool pool;
	struct fx *f;
	uint8_t note[PRODUCER_NOTE_MAX];
	uint32_t note_len;
	bool note_there;
	uint32_t reads;
};

static struct world *world_new(uint32_t capacity)
{
	struct world *w = calloc(1, sizeof(*w));
	assert_int_equal(producer_pool_init(&w->pool, capacity, DAY_MS), 0);
	struct fx_memory *m = fx_memory_new(64, 8);
	m->env.producers = &w->pool;
	w->f = fx_new_with(m, fx_config());
	return w;
}

static struct world *world_open(uint32_t capacity)
{
	struct world *w = world_new(capacity);
	fx_open_at(w->f, ST_OK);
	return w;
}

/* Answers all that is asked, with notes that are kept. */
static void run(struct world *w)
{
	struct st_req *r;
	while ((r = fx_front(w->f))) {
		enum st_err err = ST_OK;
		w->reads += r->op == ST_READ;
		if (r->op == ST_NOTE && r->note.store) {
			memcpy(w->note, r->note.data, r->note.size);
			w->note_len = r->note.size;
			w->note_there = true;
		} else if (r->op == ST_NOTE) {
			err = w->note_there ? ST_OK : ST_E_NOT_FOUND;
			memcpy(r->note.data, w->note, w->note_len);
			r->note.len = w->note_len;
		}
		fx_answer_one(w->f, r, err);
	}
}

static void world_free(struct world *w)
{
	run(w);
	fx_free(w->f);
	assert_int_equal(w->pool.count, 0);
	assert_int_equal(w->pool.parts, 0);
	producer_pool_fini(&w->pool);
	free(w);
}

/* The broker dies; the log and the note are what they are. */
static void restart(struct world *w)
{
	struct fx *old = w->f;
	struct fx *was = malloc(sizeof(*was));
	memcpy(was, old, sizeof(*was));
	assert_null(fx_front(old));
	old->segment_count = 0;
	fx_free(old);
	producer_pool_fini(&w->pool);
	assert_int_equal(producer_pool_init(&w->pool, POOL, DAY_MS), 0);
	struct fx_memory *m = fx_memory_new(64, 8);
	m->env.producers = &w->pool;
	struct fx *f = fx_new_with(m, fx_config());
	f->segment_count = was->segment_count;
	memcpy(f->segments, was->segments, sizeof(f->segments));
	f->start = was->start;
	f->end = was->end;
	f->released = was->released;
	f->now = was->now;
	free(was);
	w->f = f;
	fx_open_at(f, ST_OK);
}

struct
try {
	struct part_op op;
	struct fx_batch b;
};

/* A batch of `count` records of a producer. */
static void begin(
	struct world *w, struct try *t, int64_t id, int16_t epoch, int32_t sequence, uint32_t count)
{
	uint8_t *mem = malloc(256 + 80 * count);
	struct batch_build b;
	batch_build_begin(&b, mem, 256 + 80 * count);
	batch_build_set_producer(&b, id, epoch, sequence, false);
	for (uint32_t i = 0; i < count; i++) {
		struct kbytes key = {.p = (const uint8_t *)"k", .len = 1};
		assert_true(batch_build_add(&b, FX_NOW, key, key, NULL, 0));
	}
	t->b = (struct fx_batch){mem, batch_build_finish(&b)};
	t->op = fx_append_op(t->b);
	fx_start(w->f, &t->op);
	if (!part_op_needs_data(&t->op)) /* who asks may use the memory for something else then */
		memset(mem, 0xff, t->b.len);
}

static void end(struct try *t)
{
	free(t->b.data);
}

/* Appends, and waits; the error. *base: where the batch is. */
static int16_t send(
	struct world *w, int64_t id, int16_t epoch, int32_t sequence, uint32_t count, int64_t *base)
{
	struct try t;
	begin(w, &t, id, epoch, sequence, count);
	run(w);
	assert_ptr_equal(fx_done(w->f), &t.op);
	assert_null(fx_done(w->f));
	*base = t.op.append.base_offset;
	end(&t);
	return t.op.error;
}

#define SEND(w, id, epoch, sequence, count, want)                                                  \
	do {                                                                                       \
		int64_t base_;                                                                     \
		assert_int_equal(send(w, id, epoch, sequence, count, &base_), KE_NONE);            \
		assert_int_equal(base_, want);                                                     \
	} while (0)
#define REFUSED(w, id, epoch, sequence, count, error)                                              \
	do {                                                                                       \
		int64_t base_, end_ = (w)->f->part.log_end_offset;                                 \
		assert_int_equal(send(w, id, epoch, sequence, count, &base_), error);              \
		assert_int_equal(base_, -1);                                                       \
		assert_int_equal((w)->f->part.log_end_offset, end_);                               \
	} while (0)

static void each_of_the_last_five_batches_is_a_duplicate_with_its_offset(void **state)
{
	struct world *w = world_open(POOL);
	for (int i = 0; i < 6; i++)
		SEND(w, 9, 0, 3 * i, 3, 3 * i);
	for (int i = 1; i < 6; i++)
		SEND(w, 9, 0, 3 * i, 3, 3 * i);
	assert_int_equal(w->f->part.log_end_offset, 18);
	REFUSED(w, 9, 0, 0, 3, KE_OUT_OF_ORDER_SEQUENCE_NUMBER);  /* older than the window */
	REFUSED(w, 9, 0, 15, 2, KE_OUT_OF_ORDER_SEQUENCE_NUMBER); /* not the same batch */
	REFUSED(w, 9, 0, 19, 1, KE_OUT_OF_ORDER_SEQUENCE_NUMBER);
	SEND(w, 9, 0, 18, 1, 18);
	world_free(w);
}

static void a_duplicate_is_answered_when_its_original_is_durable(void **state)
{
	struct world *w = world_open(POOL);
	struct try a, b;
	begin(w, &a, 9, 0, 0, 2);
	begin(w, &b, 9, 0, 0, 2);
	assert_null(fx_done(w->f));
	assert_int_equal(w->f->part.log_end_offset, 2);
	run(w);
	assert_ptr_equal(fx_done(w->f), &a.op);
	assert_ptr_equal(fx_done(w->f), &b.op);
	assert_int_equal(b.op.error, KE_NONE);
	assert_int_equal(b.op.append.base_offset, 0);
	assert_int_equal(b.op.append.last_offset, 1);
	end(&a);
	end(&b);
	world_free(w);
}

static void what_was_refused_for_want_of_room_may_come_again(void **state)
{
	struct world *w = world_open(POOL);
	struct try t[7], dup;
	SEND(w, 9, 0, 0, 2, 0);
	for (int i = 0; i < 7; i++)
		begin(w, &t[i], 9, 0, 2 + i, 1);
	begin(w, &dup, 9, 0, 4, 1);
	fx_answer(w->f, ST_E_NOSPACE);
	run(w);
	for (int i = 0; i < 7; i++) {
		assert_ptr_equal(fx_done(w->f), &t[i].op);
		assert_int_equal(t[i].op.error, KE_KAFKA_STORAGE_ERROR);
		end(&t[i]);
	}
	assert_ptr_equal(fx_done(w->f), &dup.op);
	assert_int_equal(dup.op.error, KE_KAFKA_STORAGE_ERROR);
	assert_int_equal(dup.op.append.base_offset, -1);
	end(&dup);
	REFUSED(w, 9, 0, 3, 1, KE_OUT_OF_ORDER_SEQUENCE_NUMBER);
	SEND(w, 9, 0, 0, 2, 0);
	SEND(w, 9, 0, 2, 1, 2);
	world_free(w);
}

static void sequence_numbers_wrap_to_zero(void **state)
{
	struct world *w = world_open(POOL);
	SEND(w, 9, 0, INT32_MAX - 2, 2, 0);
	SEND(w, 9, 0, INT32_MAX, 3, 2); /* 2147483647, 0, 1 */
	SEND(w, 9, 0, INT32_MAX, 3, 2);
	REFUSED(w, 9, 0, 0, 1, KE_OUT_OF_ORDER_SEQUENCE_NUMBER);
	SEND(w, 9, 0, 2, 1, 5);
	SEND(w, 8, 0, INT32_MAX, 1, 6);
	SEND(w, 8, 0, 0, 1, 7);
	world_free(w);
}

static void a_new_epoch_begins_at_zero_and_an_old_one_is_fenced(void **state)
{
	struct world *w = world_open(POOL);
	SEND(w, 9, 1, 0, 2, 0);
	REFUSED(w, 9, 0, 2, 1, KE_INVALID_PRODUCER_EPOCH);
	REFUSED(w, 9, 2, 2, 1, KE_OUT_OF_ORDER_SEQUENCE_NUMBER);
	SEND(w, 9, 2, 0, 2, 2);
	REFUSED(w, 9, 1, 0, 2, KE_INVALID_PRODUCER_EPOCH);
	REFUSED(w, 7, -1, 0, 2, KE_INVALID_PRODUCER_EPOCH);
	SEND(w, 9, 2, 0, 2, 2);
	world_free(w);
}

static void an_unknown_producer_begins_anywhere(void **state)
{
	struct world *w = world_open(POOL);
	SEND(w, 9, 3, 700, 2, 0);
	REFUSED(w, 9, 3, 0, 1, KE_OUT_OF_ORDER_SEQUENCE_NUMBER);
	w->f->now += DAY_MS - 1;
	REFUSED(w, 9, 3, 0, 1, KE_OUT_OF_ORDER_SEQUENCE_NUMBER);
	w->f->now += 1; /* it is remembered no longer */
	SEND(w, 9, 3, 0, 1, 2);
	world_free(w);
}

static void a_full_pool_forgets_who_has_been_idle_longest(void **state)
{
	struct world *w = world_open(POOL);
	for (int i = 0; i < (int)POOL; i++)
		SEND(w, i, 0, 0, 1, i);
	SEND(w, 0, 0, 1, 1, POOL); /* 1 is idle longest now */
	SEND(w, 100, 0, 0, 1, POOL + 1);
	assert_int_equal(w->pool.count, POOL);
	assert_int_equal(w->pool.forgotten, 1);
	REFUSED(w, 0, 0, 5, 1, KE_OUT_OF_ORDER_SEQUENCE_NUMBER);
	SEND(w, 1, 0, 50, 1, POOL + 2);
	world_free(w);
}

static void a_transactional_batch_is_refused(void **state)
{
	struct world *w = world_open(POOL);
	struct fx_batch b = fx_batch(1, 10, 1);
	be16_put(b.data + 21, BATCH_ATTR_TRANSACTIONAL);
	batch_set_crc(b.data);
	struct part_op op = fx_append_op(b);
	fx_start(w->f, &op);
	assert_ptr_equal(fx_done(w->f), &op);
	assert_int_equal(op.error, KE_INVALID_TXN_STATE);
	free(b.data);
	world_free(w);
}

static void after_a_restart_the_log_says_who_sent_what(void **state)
{
	struct world *w = world_open(POOL);
	for (int i = 0; i < 6; i++)
		SEND(w, 9, 2, i, 1, i);
	SEND(w, 8, 0, 0, 3, 6);
	restart(w);
	SEND(w, 8, 0, 0, 3, 6);
	for (int i = 1; i < 6; i++)
		SEND(w, 9, 2, i, 1, i);
	REFUSED(w, 9, 2, 0, 1, KE_OUT_OF_ORDER_SEQUENCE_NUMBER);
	REFUSED(w, 9, 1, 6, 1, KE_INVALID_PRODUCER_EPOCH);
	SEND(w, 9, 2, 6, 1, 9);
	assert_true(w->reads > 0);
	world_free(w);
}

static void who_asks_is_told_of_all_that_is_durable_once_it_is_known(void **state)
{
	struct world *w = world_open(POOL);
	struct producer_state to[PRODUCERS_PER_PART];
	struct part_op op = {.kind = PART_PRODUCERS, .current_leader_epoch = -1};
	struct try t;
	op.producers.to = to;
	SEND(w, 9, 2, 0, 3, 0);
	SEND(w, 8, 0, 7, 1, 3);
	SEND(w, 9, 2, 3, 2, 4);
	begin(w, &t, 7, 0, 0, 1);
	fx_start(w->f, &op);
	assert_ptr_equal(fx_done(w->f), &op);
	assert_int_equal(op.producers.count, 2); /* 7 is not durable */
	run(w);
	assert_ptr_equal(fx_done(w->f), &t.op);
	end(&t);
	restart(w);
	fx_start(w->f, &op);
	assert_null(fx_done(w->f));
	run(w);
	assert_ptr_equal(fx_done(w->f), &op);
	assert_int_equal(op.error, KE_NONE);
	assert_int_equal(op.producers.count, 3);
	bool seen = false;
	for (uint32_t i = 0; i < op.producers.count; i++) {
		if (to[i].id != 9)
			continue;
		seen = true;
		assert_int_equal(to[i].epoch, 2);
		assert_int_equal(to[i].last_sequence, 4);
		assert_true(to[i].used_ms > 0);
	}
	assert_true(seen);
	world_free(w);
}

static void appends_wait_for_the_history_and_others_do_not(void **state)
{
	struct world *w = world_open(POOL);
	struct try t[3];
	SEND(w, 9, 0, 0, 2, 0);
	restart(w);
	begin(w, &t[0], 9, 0, 0, 2);
	begin(w, &t[1], 9, 0, 2, 1);
	begin(w, &t[2], -1, -1, -1, 1);
	assert_int_equal(fx_queued(w->f), 2); /* the note, and the tail for the third */
	assert_int_equal(w->f->part.log_end_offset, 2);
	run(w);
	struct part_op *op;
	bool seen[3] = {false};
	while ((op = fx_done(w->f))) {
		assert_int_equal(op->error, KE_NONE);
		for (int i = 0; i < 3; i++)
			seen[i] |= op == &t[i].op;
	}
	for (int i = 0; i < 3; i++)
		assert_true(seen[i]);
	assert_int_equal(t[0].op.append.base_offset, 0);
	assert_int_equal(w->f->part.log_end_offset, 4);
	for (int i = 0; i < 3; i++)
		end(&t[i]);
	world_free(w);
}

static void a_note_spares_the_reading_of_what_is_before_it(void **state)
{
	struct world *w = world_open(POOL);
	for (int i = 0; i < 6; i++)
		SEND(w, 9, 0, i, 1, i);
	w->f->part.unnoted_bytes = UINT64_MAX / 2;
	SEND(w, 8, 0, 0, 1, 6);
	assert_true(w->note_there);
	restart(w);
	SEND(w, 8, 0, 0, 1, 6);
	assert_int_equal(w->reads, 0);
	for (int i = 1; i < 6; i++)
		SEND(w, 9, 0, i, 1, i);
	SEND(w, 9, 0, 6, 1, 7);
	restart(w);
	SEND(w, 9, 0, 6, 1, 7);
	SEND(w, 9, 0, 2, 1, 2);
	assert_int_equal(w->reads, 1);
	world_free(w);
}

static void a_note_has_nothing_that_is_not_durable(void **state)
{
	struct world *w = world_open(POOL);
	struct try t[3];
	SEND(w, 9, 0, 0, 1, 0);
	w->f->part.unnoted_bytes = UINT64_MAX / 2;
	for (int i = 0; i < 3; i++)
		begin(w, &t[i], 9, 0, 1 + i, 1);
	fx_answer(w->f, ST_OK); /* the first; the note is made while the others are out */
	run(w);
	while (fx_done(w->f))
		;
	struct producer_note n;
	struct producer_note_entry e;
	assert_true(producer_note_open(&n, w->note, w->note_len));
	assert_int_equal(n.offset, 2);
	assert_int_equal(producer_note_next(&n, &e), 1);
	assert_int_equal(e.window.count, 2);
	assert_int_equal(producer_note_next(&n, &e), 0);
	for (int i = 0; i < 3; i++)
		end(&t[i]);
	world_free(w);
}

static void a_damaged_note_is_as_if_there_were_none(void **state)
{
	for (int how = 0; how < 4; how++) {
		struct world *w = world_open(POOL);
		SEND(w, 9, 0, 0, 1, 0);
		w->f->part.unnoted_bytes = UINT64_MAX / 2;
		SEND(w, 9, 0, 1, 1, 1);
		assert_true(w->note_there);
		if (how == 0)
			w->note_len--;
		else if (how == 1)
			w->note[0] = 200; /* of a log that is longer */
		else if (how == 2)
			w->note[PRODUCER_NOTE_HEAD + 18] = 6; /* batches */
		else
			w->note_len = 3;
		restart(w);
		SEND(w, 9, 0, 0, 1, 0);
		assert_int_equal(w->reads, 1);
		SEND(w, 9, 0, 1, 1, 1);
		SEND(w, 9, 0, 2, 1, 2);
		world_free(w);
	}
}

static void what_is_deleted_before_it_was_read_is_not_held_against_anyone(void **state)
{
	struct world *w = world_open(POOL);
	SEND(w, 9, 0, 0, 1, 0);
	w->f->part.unnoted_bytes = UINT64_MAX / 2;
	SEND(w, -1, -1, -1, 1, 1);
	assert_true(w->note_there);
	SEND(w, 9, 0, 1, 1, 2);
	SEND(w, 8, 0, 0, 1, 3);
	w->f->start = 3;
	restart(w);
	SEND(w, 9, 0, 2, 1, 4); /* the note alone would have wanted 1 */
	SEND(w, 8, 0, 0, 1, 3);
	world_free(w);
}

static void nothing_is_cut_off_before_it_was_read(void **state)
{
	struct world *w = world_open(POOL);
	SEND(w, 9, 0, 0, 2, 0);
	SEND(w, -1, -1, -1, 1, 2);
	restart(w);
	struct part_op op = {.kind = PART_TRIM, .current_leader_epoch = -1};
	op.trim.offset = -1;
	fx_start(w->f, &op);
	assert_int_equal(fx_front(w->f)->op, ST_NOTE);
	run(w);
	assert_ptr_equal(fx_done(w->f), &op);
	assert_int_equal(op.error, KE_NONE);
	assert_int_equal(op.trim.log_start_offset, 3);
	SEND(w, 9, 0, 0, 2, 0); /* gone from the log, and still a duplicate */
	assert_true(w->note_there);
	restart(w);
	SEND(w, 9, 0, 0, 2, 0); /* also after a restart: the note was made before */
	SEND(w, 9, 0, 2, 1, 3);
	world_free(w);
}

static void damage_costs_the_memory_of_producers_and_no_append(void **state)
{
	struct world *w = world_open(POOL);
	struct try t;
	SEND(w, 9, 0, 0, 1, 0);
	restart(w);
	begin(w, &t, 9, 0, 1, 1);
	fx_answer(w->f, ST_E_NOT_FOUND); /* no note */
	for (int i = 0; i < 16; i++) {
		assert_int_equal(fx_front(w->f)->op, ST_READ);
		fx_answer(w->f, ST_E_CORRUPT);
	}
	run(w);
	assert_ptr_equal(fx_done(w->f), &t.op);
	assert_int_equal(t.op.error, KE_NONE);
	end(&t);
	world_free(w);
}

static void a_read_that_fails_for_once_forgets_nobody(void **state)
{
	struct world *w = world_open(POOL);
	struct try t;
	SEND(w, 9, 0, 0, 1, 0);
	restart(w);
	begin(w, &t, 9, 0, 0, 1);
	fx_answer(w->f, ST_E_NOT_FOUND); /* no note */
	for (int i = 0; i < 15; i++)
		fx_answer(w->f, ST_E_CORRUPT);
	run(w);
	assert_ptr_equal(fx_done(w->f), &t.op);
	assert_int_equal(t.op.error, KE_NONE);
	assert_int_equal(t.op.append.base_offset, 0); /* a duplicate */
	end(&t);
	world_free(w);
}

static void a_failed_log_ends_what_waits_for_its_history(void **state)
{
	struct world *w = world_open(POOL);
	struct try t[2];
	SEND(w, 9, 0, 0, 1, 0);
	restart(w);
	begin(w, &t[0], 9, 0, 1, 1);
	begin(w, &t[1], 9, 0, 2, 1);
	fx_answer(w->f, ST_E_NOT_FOUND);
	fx_answer(w->f, ST_E_IO);
	for (int i = 0; i < 2; i++) {
		assert_ptr_equal(fx_done(w->f), &t[i].op);
		assert_int_equal(t[i].op.error, KE_KAFKA_STORAGE_ERROR);
		end(&t[i]);
	}
	world_free(w);
}

static void random_windows_survive_a_note_unchanged(void **state)
{
	struct prng rng = {7};
	uint8_t *p = malloc(PRODUCER_NOTE_MAX);
	for (int round = 0; round < 200; round++) {
		struct producer_note_entry e[8], got;
		uint32_t count = (uint32_t)prng_below(&rng, 8);
		uint32_t at = producer_note_begin(p, 1000000, count);
		for (uint32_t i = 0; i < count; i++) {
			e[i] = (struct producer_note_entry){
				.id = (int64_t)prng_below(&rng, INT64_MAX), .used_ms = round};
			e[i].window.epoch = (int16_t)prng_below(&rng, INT16_MAX);
			e[i].window.count = (uint16_t)(1 + prng_below(&rng, PRODUCER_WINDOW));
			for (uint32_t k = 0; k < e[i].window.count; k++)
				e[i].window.batches[k] = (struct producer_batch){
					.base_offset = 1000 * k + (int64_t)prng_below(&rng, 10),
					.append_time_ms = -1,
					.first_sequence = (int32_t)prng_below(&rng, INT32_MAX),
					.last_delta = (int32_t)prng_below(&rng, 900)};
			at = producer_note_add(p, at, &e[i]);
		}
		struct producer_note n;
		assert_true(producer_note_open(&n, p, at));
		for (uint32_t i = 0; i < count; i++) {
			assert_int_equal(producer_note_next(&n, &got), 1);
			assert_memory_equal(&got, &e[i], sizeof(got));
		}
		assert_int_equal(producer_note_next(&n, &got), 0);
	}
	free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_of_the_last_five_batches_is_a_duplicate_with_its_offset),
		cmocka_unit_test(a_duplicate_is_answered_when_its_original_is_durable),
		cmocka_unit_test(what_was_refused_for_want_of_room_may_come_again),
		cmocka_unit_test(sequence_numbers_wrap_to_zero),
		cmocka_unit_test(a_new_epoch_begins_at_zero_and_an_old_one_is_fenced),
		cmocka_unit_test(an_unknown_producer_begins_anywhere),
		cmocka_unit_test(a_full_pool_forgets_who_has_been_idle_longest),
		cmocka_unit_test(a_transactional_batch_is_refused),
		cmocka_unit_test(after_a_restart_the_log_says_who_sent_what),
		cmocka_unit_test(appends_wait_for_the_history_and_others_do_not),
		cmocka_unit_test(a_note_spares_the_reading_of_what_is_before_it),
		cmocka_unit_test(a_note_has_nothing_that_is_not_durable),
		cmocka_unit_test(a_damaged_note_is_as_if_there_were_none),
		cmocka_unit_test(who_asks_is_told_of_all_that_is_durable_once_it_is_known),
		cmocka_unit_test(what_is_deleted_before_it_was_read_is_not_held_against_anyone),
		cmocka_unit_test(nothing_is_cut_off_before_it_was_read),
		cmocka_unit_test(damage_costs_the_memory_of_producers_and_no_append),
		cmocka_unit_test(a_read_that_fails_for_once_forgets_nobody),
		cmocka_unit_test(a_failed_log_ends_what_waits_for_its_history),
		cmocka_unit_test(random_windows_survive_a_note_unchanged),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
