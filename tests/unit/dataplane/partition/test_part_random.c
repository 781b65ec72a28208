/* SPDX-License-Identifier: Apache-2.0 */
/* Random operations, answers and failures against a model that is as plain as can be: a list of
 * what the storage has taken. */
#include "fixture.h"

#define MAX_OPS 64

#define PARTS 3

struct slot {
	struct fx *f;
	struct part_op op;
	struct fx_batch batch;
	bool busy;
	bool held; /* a fetch whose references are not given back yet */
	int64_t hw_at_start;
	int64_t start_at_start;
	int64_t started_ms;
};

struct counts {
	uint64_t acked, fetched, failed, empty, fills, full, ahead, gaps, trims, offline;
};

struct random_test {
	struct fx *parts[PARTS];
	bool failed[PARTS]; /* its directory */
	bool late, compacted, full;
	struct prng rng;
	struct slot slots[MAX_OPS];
	int64_t last_base[PARTS]; /* of the last append that was answered well */
	int64_t now;
	struct counts *n;
};

static uint32_t rnd(struct random_test *t, uint32_t n)
{
	return (uint32_t)prng_below(&t->rng, n);
}

static uint32_t index_of(const struct random_test *t, const struct fx *f)
{
	uint32_t i = 0;
	while (t->parts[i] != f)
		i++;
	return i;
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
		t->n->failed++;
		t->n->full += op->append.error_message != NULL;
	} else {
		int64_t *last = &t->last_base[index_of(t, s->f)];
		assert_true(op->append.base_offset > *last);
		*last = op->append.base_offset;
		const uint8_t *b = fx_batch_of(s->f, op->append.base_offset);
		assert_non_null(b);
		assert_int_equal(batch_size(b), s->batch.len);
		assert_memory_equal(b + 16, s->batch.data + 16, s->batch.len - 16);
		assert_true(op->append.last_offset < s->f->part.high_watermark);
		t->n->acked++;
	}
	free(s->batch.data);
}

static void check_fetch(struct random_test *t, struct slot *s)
{
	struct part_op *op = &s->op;
	if (op->error) {
		assert_int_equal(op->fetch.span.len, 0);
		bool outside = op->fetch.offset < s->f->part.log_start_offset ||
			       op->fetch.offset > s->hw_at_start;
		assert_true((op->error == KE_OFFSET_OUT_OF_RANGE && outside) ||
			    op->error == KE_KAFKA_STORAGE_ERROR);
		return;
	}
	assert_true(op->fetch.high_watermark >= s->hw_at_start);
	assert_true(op->fetch.offset >= s->start_at_start);
	if (op->fetch.span.len == 0) {
		assert_true(op->fetch.offset >= s->hw_at_start || !op->fetch.at_least_one ||
			    (op->fetch.starved && t->now - s->started_ms >= 50));
		t->n->empty += op->fetch.starved;
		return;
	}
	uint8_t head[BATCH_HEADER_SIZE];
	lspan_copy(op->fetch.span, 0, head, sizeof(head));
	t->n->gaps += batch_base_offset(head) > op->fetch.offset;
	uint32_t n = fx_check_span_gaps(s->f, op->fetch.span, op->fetch.offset);
	assert_true(
		op->fetch.span.len <= op->fetch.max_bytes || (n == 1 && op->fetch.at_least_one));
	s->held = true;
	t->n->fetched++;
}

static void check_trim(struct random_test *t, struct slot *s)
{
	struct part_op *op = &s->op;
	if (op->error)
		return;
	int64_t asked = op->trim.offset == -1 ? s->hw_at_start : op->trim.offset;
	assert_true(op->trim.log_start_offset >= asked);
	assert_true(s->f->part.log_start_offset >= asked);
	t->n->trims++;
}

static void collect_of(struct random_test *t, struct fx *f)
{
	struct part_op *op;
	while ((op = fx_done(f))) {
		struct slot *s = op->user;
		assert_true(s->busy && s->f == f);
		s->busy = false;
		if (op->kind == PART_APPEND)
			check_append(t, s);
		else if (op->kind == PART_FETCH)
			check_fetch(t, s);
		else if (op->kind == PART_TRIM)
			check_trim(t, s);
		else if (op->kind == PART_LIST && op->error == 0 && op->list.timestamp == -1)
			assert_true(op->list.offset >= s->hw_at_start);
	}
}

static void collect(struct random_test *t)
{
	for (int i = 0; i < PARTS; i++) {
		part_check(&t->parts[i]->part);
		collect_of(t, t->parts[i]);
	}
}

static struct part_op some_fetch(struct random_test *t, struct fx *f)
{
	int64_t offset = rnd(t, (uint32_t)f->part.log_end_offset + 2);
	if (rnd(t, 2))
		offset = f->part.high_watermark - rnd(t, 20);
	for (int i = 0; i < MAX_OPS && rnd(t, 2); i++) { /* goes on where another one stopped */
		struct slot *s = &t->slots[rnd(t, MAX_OPS)];
		if (!s->held || s->f != f)
			continue;
		uint8_t head[BATCH_HEADER_SIZE];
		for (struct lspan at = s->op.fetch.span; at.len > 0;
			at = lspan_skip(at, batch_size(head))) {
			lspan_copy(at, 0, head, sizeof(head));
			offset = batch_next_offset(head);
		}
	}
	return fx_fetch_op(offset, rnd(t, 4) ? rnd(t, 100000) : rnd(t, 500), rnd(t, 2));
}

static void start_something(struct random_test *t)
{
	struct slot *s = free_slot(t);
	if (!s)
		return;
	struct fx *f = t->parts[rnd(t, PARTS)];
	uint32_t kind = rnd(t, 100);
	if (kind < 50) {
		uint32_t size = rnd(t, 20) == 0 ? rnd(t, 3 * LBLOCK_SIZE) : rnd(t, 3000);
		s->batch = fx_batch(1 + rnd(t, 4), size / 4, rnd(t, 1u << 30));
		s->op = fx_append_op(s->batch);
	} else if (kind < 80) {
		s->op = some_fetch(t, f);
	} else if (kind < 88) {
		s->op = (struct part_op){.kind = PART_WAIT, .current_leader_epoch = -1};
		s->op.wait.offset = f->part.high_watermark + rnd(t, 5);
	} else if (kind < 97) {
		s->op = (struct part_op){.kind = PART_LIST, .current_leader_epoch = -1};
		s->op.list.timestamp = rnd(t, 2) ? -1 : -3;
	} else {
		s->op = (struct part_op){.kind = PART_TRIM, .current_leader_epoch = -1};
		s->op.trim.offset = rnd(t, 20) == 0 ? -1 : f->part.high_watermark - rnd(t, 300);
	}
	s->f = f;
	s->op.user = s;
	s->busy = true;
	s->hw_at_start = f->part.high_watermark;
	s->start_at_start = f->part.log_start_offset;
	s->started_ms = t->now;
	fx_start(f, &s->op);
}

static bool may_overtake(const struct st_req *r)
{
	return r->op == ST_READ || r->op == ST_LOOKUP;
}

static enum st_err some_error(struct random_test *t, uint32_t part, const struct st_req *r)
{
	if (t->failed[part])
		return ST_E_OFFLINE;
	if (t->n->offline < 40 && rnd(t, 5000) == 0) {
		t->failed[part] = true;
		t->n->offline++;
		return ST_E_IO;
	}
	if (t->full && (r->op == ST_APPEND || r->op == ST_FILL || r->op == ST_TRIM))
		return ST_E_NOSPACE;
	if (r->op == ST_APPEND && rnd(t, 25) == 0)
		return ST_E_NOSPACE;
	if (may_overtake(r) && rnd(t, 50) == 0)
		return ST_E_LIMIT;
	return ST_OK;
}

/* Answers one request; reads may overtake the others. */
static void answer_something(struct random_test *t, bool well)
{
	uint32_t part = rnd(t, PARTS);
	struct fx *f = t->parts[part];
	uint32_t n = fx_queued(f);
	if (n == 0)
		return;
	struct list *it = f->queue.next;
	for (uint32_t skip = rnd(t, n); skip > 0; skip--)
		it = it->next;
	if (!may_overtake(list_entry(it, struct st_req, node)))
		for (it = f->queue.next; may_overtake(list_entry(it, struct st_req, node));)
			it = it->next;
	struct st_req *r = list_entry(it, struct st_req, node);
	t->n->fills += r->op == ST_FILL;
	t->n->ahead += f->part.reading_ahead;
	if (r->op == ST_RETAIN && rnd(t, 2)) {
		int64_t start = r->retain.limit - rnd(t, 200);
		f->start = max_of(f->start, start);
	}
	fx_answer_one(f, r, well && !t->failed[part] ? ST_OK : some_error(t, part, r));
}

static void give_back(struct random_test *t)
{
	struct slot *s = &t->slots[rnd(t, MAX_OPS)];
	if (s->held) {
		part_release(s->f->env, s->op.fetch.span);
		s->held = false;
	}
	if (rnd(t, 4) == 0 && s->busy)
		part_cancel(&s->f->part, &s->op, &s->f->out);
	for (uint32_t i = 0; i < PARTS; i++) {
		part_kick(&t->parts[i]->part, t->now, &t->parts[i]->out);
		fx_take(t->parts[i]);
	}
	if (s->f)
		fx_take(s->f);
}

/* What the storage does by itself. */
static void storage_works(struct random_test *t)
{
	struct fx *f = t->parts[rnd(t, PARTS)];
	if (f->segment_count == 0)
		return;
	uint32_t back = rnd(t, f->segment_count < 3 ? f->segment_count : 3);
	struct fx_segment *s = &f->segments[f->segment_count - 1 - back];
	if (rnd(t, 2))
		fx_release(f, (struct st_pos){s->base, rnd(t, (uint32_t)s->all_len + 1)});
	if (t->compacted && s->base < f->released.segment)
		fx_compact(f, s, &t->rng, rnd(t, 100));
	t->full = rnd(t, 50) == 0 || (t->full && rnd(t, 2) > 0);
	if (rnd(t, 4) == 0) {
		const struct st_policy policy = {.remove = true,
			.compact = t->compacted,
			.retention_ms = 5,
			.retention_bytes = -1};
		part_upkeep(&f->part, &policy, t->now, &f->out);
		fx_take(f);
	}
}

static void set_up(struct random_test *t, uint64_t seed)
{
	t->rng.s = seed;
	t->late = rnd(t, 4) > 0;
	t->compacted = rnd(t, 2);
	uint32_t blocks = rnd(t, 3) ? 12 + rnd(t, 40) : 64 + rnd(t, 300);
	uint32_t reqs = 1 + rnd(t, 12);
	for (int i = 0; i < PARTS; i++) {
		struct part_config c = fx_config();
		c.segment_bytes = 20000 + rnd(t, 200000);
		c.segment_ms = rnd(t, 2) ? 500 : INT64_MAX / 4;
		c.policy.remove = true;
		t->parts[i] = i == 0 ? fx_new(blocks, reqs, c) : fx_new_beside(t->parts[0], c);
		t->parts[i]->part.gaps = t->compacted;
		t->parts[i]->late = t->late;
		t->last_base[i] = -1;
	}
	t->now = t->parts[0]->now;
}

static bool is_quiet(const struct random_test *t)
{
	for (int i = 0; i < PARTS; i++)
		if (fx_queued(t->parts[i]) || part_is_stalled(&t->parts[i]->part))
			return false;
	return !part_env_is_waiting(t->parts[0]->env);
}

/* With all memory given back, everything ends. */
static void wind_down(struct random_test *t)
{
	for (int i = 0; i < MAX_OPS; i++) {
		if (t->slots[i].held)
			part_release(t->slots[i].f->env, t->slots[i].op.fetch.span);
		t->slots[i].held = false;
	}
	for (int turn = 0; turn < 20000 && !is_quiet(t); turn++) {
		give_back(t);
		answer_something(t, true);
		collect(t);
	}
	for (int i = 0; i < MAX_OPS; i++) {
		assert_true(!t->slots[i].busy || t->slots[i].op.kind == PART_WAIT);
		if (t->slots[i].held)
			part_release(t->slots[i].f->env, t->slots[i].op.fetch.span);
	}
	for (int i = 0; i < PARTS; i++) {
		assert_true(t->failed[i] || t->parts[i]->end == t->parts[i]->part.high_watermark);
		fx_free(t->parts[i]);
	}
}

static void run_seed(uint64_t seed, struct counts *n)
{
	struct random_test *t = calloc(1, sizeof(*t));
	t->n = n;
	set_up(t, seed);
	for (int step = 0; step < 2000; step++) {
		t->now += rnd(t, 10);
		for (int i = 0; i < PARTS; i++)
			t->parts[i]->now = t->now;
		uint32_t what = rnd(t, 22);
		if (what < 8)
			start_something(t);
		else if (what < 15)
			answer_something(t, false);
		else if (what < 19)
			give_back(t);
		else if (what < 20)
			part_env_evict(t->parts[0]->env, rnd(t, 3));
		else
			storage_works(t);
		collect(t);
	}
	wind_down(t);
	free(t);
}

static void random_operations_agree_with_the_model(void **state)
{
	struct counts n = {0};
	for (uint64_t seed = 1; seed <= 150; seed++)
		run_seed(seed, &n);
	print_message("%lu acked, %lu fetched, %lu failed (%lu for want of room), %lu ended empty, "
		      "%lu fills, %lu ahead, %lu in gaps, %lu trims, %lu offline\n",
		n.acked, n.fetched, n.failed, n.full, n.empty, n.fills, n.ahead, n.gaps, n.trims,
		n.offline);
	assert_true(n.acked > 10000 && n.fetched > 5000 && n.failed > 500 && n.full > 200);
	assert_true(n.fills > 200 && n.ahead > 50 && n.gaps > 50 && n.trims > 50 && n.offline > 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_operations_agree_with_the_model),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
