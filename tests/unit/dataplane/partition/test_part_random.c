/* SPDX-License-Identifier: Apache-2.0 */
/* Random operations, answers and failures against a model that is as plain as can be: a list of
 * what the storage has taken. */
#include "fixture.h"

#define MAX_OPS 64

struct slot {
	struct part_op op;
	struct fx_batch batch;
	bool busy;
	bool held; /* a fetch whose references are not given back yet */
	int64_t hw_at_start;
};

struct random_test {
	struct fx *f;
	struct prng rng;
	struct slot slots[MAX_OPS];
	int64_t last_base; /* of the last append that was answered well */
	uint64_t acked, fetched, failed;
};

static uint32_t rnd(struct random_test *t, uint32_t n)
{
	return (uint32_t)prng_below(&t->rng, n);
}

static struct slot *free_slot(struct random_test *t)
{
	struct slot *s = &t->slots[rnd(t, MAX_OPS)];
	return s->busy || s->held ? NULL : s;
}

static void check_append(struct random_test *t, struct slot *s)
{
	struct part_op *op = &s->op;
	if (op->error) {
		assert_true(op->append.base_offset == -1);
		t->failed++;
	} else {
		size_t at;
		assert_true(op->append.base_offset > t->last_base);
		t->last_base = op->append.base_offset;
		struct fx_segment *g = fx_find(t->f, op->append.base_offset, &at);
		assert_non_null(g);
		assert_int_equal(batch_size(g->bytes + at), s->batch.len);
		assert_true(batch_base_offset(g->bytes + at) == op->append.base_offset);
		assert_memory_equal(g->bytes + at + 16, s->batch.data + 16, s->batch.len - 16);
		assert_true(op->append.last_offset < t->f->part.high_watermark);
		t->acked++;
	}
	free(s->batch.data);
}

static void check_fetch(struct random_test *t, struct slot *s)
{
	struct part_op *op = &s->op;
	if (op->error) {
		assert_int_equal(op->fetch.span.len, 0);
		assert_true(
			op->error == KE_OFFSET_OUT_OF_RANGE || op->error == KE_KAFKA_STORAGE_ERROR);
		return;
	}
	assert_true(op->fetch.high_watermark >= s->hw_at_start);
	if (op->fetch.span.len == 0) {
		assert_true(op->fetch.offset >= s->hw_at_start || !op->fetch.at_least_one);
		return;
	}
	uint32_t n = fx_check_span(t->f, op->fetch.span, op->fetch.offset);
	assert_true(
		op->fetch.span.len <= op->fetch.max_bytes || (n == 1 && op->fetch.at_least_one));
	s->held = true;
	t->fetched++;
}

static void collect(struct random_test *t)
{
	struct part_op *op;
	while ((op = fx_done(t->f))) {
		struct slot *s = op->user;
		assert_true(s->busy);
		s->busy = false;
		if (op->kind == PART_APPEND)
			check_append(t, s);
		else if (op->kind == PART_FETCH)
			check_fetch(t, s);
		else if (op->kind == PART_LIST && op->list.timestamp == -1)
			assert_true(op->list.offset >= s->hw_at_start);
	}
}

static void start_something(struct random_test *t)
{
	struct slot *s = free_slot(t);
	if (!s)
		return;
	struct fx *f = t->f;
	uint32_t kind = rnd(t, 10);
	if (kind < 5) {
		uint32_t size = rnd(t, 20) == 0 ? rnd(t, 3 * LBLOCK_SIZE) : rnd(t, 3000);
		s->batch = fx_batch(1 + rnd(t, 4), size / 4, rnd(t, 1u << 30));
		s->op = fx_append_op(s->batch);
	} else if (kind < 8) {
		int64_t offset = rnd(t, (uint32_t)f->part.log_end_offset + 2);
		if (rnd(t, 2))
			offset = f->part.high_watermark - rnd(t, 20);
		s->op = fx_fetch_op(offset, rnd(t, 4) ? rnd(t, 100000) : rnd(t, 500), rnd(t, 2));
	} else if (kind < 9) {
		s->op = (struct part_op){.kind = PART_WAIT, .current_leader_epoch = -1};
		s->op.wait.offset = f->part.high_watermark + rnd(t, 5);
	} else {
		s->op = (struct part_op){.kind = PART_LIST, .current_leader_epoch = -1};
		s->op.list.timestamp = rnd(t, 2) ? -1 : -3;
	}
	s->op.user = s;
	s->busy = true;
	s->hw_at_start = f->part.high_watermark;
	fx_start(f, &s->op);
}

/* Answers one request; reads may overtake appends. */
static void answer_something(struct random_test *t)
{
	struct fx *f = t->f;
	uint32_t n = fx_queued(f);
	if (n == 0)
		return;
	struct list *it = f->queue.next;
	for (uint32_t skip = rnd(t, n); skip > 0; skip--)
		it = it->next;
	struct st_req *r = list_entry(it, struct st_req, node);
	bool no_space = r->op == ST_APPEND && rnd(t, 25) == 0;
	fx_answer_one(f, r, no_space ? ST_E_NOSPACE : ST_OK);
}

static void give_back(struct random_test *t)
{
	struct slot *s = &t->slots[rnd(t, MAX_OPS)];
	if (s->held) {
		part_release(&t->f->env, s->op.fetch.span);
		s->held = false;
	}
	if (rnd(t, 4) == 0 && s->busy)
		part_cancel(&t->f->part, &s->op, &t->f->out);
	part_kick(&t->f->part, t->f->now, &t->f->out);
	fx_take(t->f);
}

static void run_seed(uint64_t seed, uint64_t *acked, uint64_t *fetched, uint64_t *failed)
{
	struct random_test *t = calloc(1, sizeof(*t));
	t->rng.s = seed;
	t->last_base = -1;
	struct part_config c = fx_config();
	c.segment_bytes = 20000 + rnd(t, 200000);
	c.segment_ms = rnd(t, 2) ? 500 : INT64_MAX / 4;
	t->f = fx_new(8 + rnd(t, 40), 1 + rnd(t, 8), c);
	for (int step = 0; step < 1500; step++) {
		t->f->now += rnd(t, 10);
		uint32_t what = rnd(t, 10);
		if (what < 4)
			start_something(t);
		else if (what < 7)
			answer_something(t);
		else if (what < 9)
			give_back(t);
		else
			part_env_evict(&t->f->env, rnd(t, 3));
		collect(t);
	}
	for (int i = 0; i < MAX_OPS; i++) { /* with all memory given back, everything ends */
		if (t->slots[i].held)
			part_release(&t->f->env, t->slots[i].op.fetch.span);
		t->slots[i].held = false;
	}
	for (int turn = 0; turn < 1000 && (fx_queued(t->f) || part_is_stalled(&t->f->part));
		turn++) {
		part_kick(&t->f->part, t->f->now, &t->f->out);
		fx_take(t->f);
		if (fx_queued(t->f))
			fx_answer(t->f, ST_OK);
		collect(t);
		give_back(t);
	}
	for (int i = 0; i < MAX_OPS; i++) {
		assert_true(!t->slots[i].busy || t->slots[i].op.kind == PART_WAIT);
		if (t->slots[i].held)
			part_release(&t->f->env, t->slots[i].op.fetch.span);
	}
	assert_true(t->f->end == t->f->part.high_watermark);
	*acked += t->acked;
	*fetched += t->fetched;
	*failed += t->failed;
	fx_free(t->f);
	free(t);
}

static void random_operations_agree_with_the_model(void **state)
{
	uint64_t acked = 0, fetched = 0, failed = 0;
	for (uint64_t seed = 1; seed <= 150; seed++)
		run_seed(seed, &acked, &fetched, &failed);
	assert_true(acked > 10000 && fetched > 5000 && failed > 500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_operations_agree_with_the_model),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
