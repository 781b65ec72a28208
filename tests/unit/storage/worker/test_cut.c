/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Power cuts at any time: askers append, trim, fill and delete at random, operations finish in any
 * order, and what was not flushed is lost or kept by the sector. What was acknowledged is there
 * afterwards, byte for byte, and the log goes on.
 */
#include "unit/storage/io_mem.h"
#include "unit/storage/kit.h"

#define LOGS 4
#define OFFSETS 4096
#define REQS 3 /* under way in one log */

struct user {
	struct kit_log l;
	bool open;
	int64_t acked;
	int64_t start;	 /* acknowledged, */
	int64_t trimmed; /* and asked for */
	uint32_t crc[OFFSETS];
	struct st_req reqs[REQS];
	bool busy[REQS];
};

struct world {
	struct io_mem mem;
	struct kit kit;
	struct user users[LOGS];
	uint64_t random;
	uint64_t checkpoints;
	uint64_t directs;
};

static uint32_t below(struct world *w, uint32_t n)
{
	return (uint32_t)(mem_random(&w->random) % n);
}

static void user_answered(struct world *w, struct user *u, struct st_req *r)
{
	assert_int_equal(r->err, ST_OK);
	u->busy[r - u->reqs] = false;
	switch (r->op) {
	case ST_APPEND:
		assert_int_equal(r->append.base_offset, u->acked);
		u->acked = r->append.last_offset + 1;
		kit_keep(&w->kit, r);
		break;
	case ST_FILL:
		kit_release(&w->kit, r->log, r->fill.released);
		break;
	case ST_TRIM:
		u->start = r->trim.log_start_offset;
		break;
	default:
		fail();
	}
}

static void step(struct world *w)
{
	struct list done, *n;
	list_init(&done);
	engine_step(w->kit.engine, KIT_NOW, &done);
	engine_check(w->kit.engine);
	while ((n = list_pop_front(&done))) {
		struct st_req *r = list_entry(n, struct st_req, node);
		for (int i = 0; i < LOGS; i++)
			if (r >= w->users[i].reqs && r < w->users[i].reqs + REQS)
				user_answered(w, &w->users[i], r);
	}
}

static void ask_append(struct world *w, struct user *u, struct st_req *r)
{
	static const uint32_t most[] = {100, 3000, 14000, 40000, 120000};
	uint32_t size = 1 + below(w, most[below(w, 5)]);
	uint32_t n = kit_batch(kit_buffer(), 1 << 20, u->l.next_offset, 1, size, 1);
	assert_true(u->l.next_offset < OFFSETS);
	u->crc[u->l.next_offset] = batch_crc(kit_buffer());
	bool roll = u->l.pos > 0 && (u->l.pos > 300000 || below(w, 12) == 0);
	kit_append_req(&w->kit, &u->l, r, kit_buffer(), n, roll);
}

static void ask(struct world *w, struct user *u)
{
	struct st_req *r = NULL;
	for (int i = 0; i < REQS && !r; i++)
		if (!u->busy[i])
			r = &u->reqs[i];
	if (!r || w->kit.blocks.free_count < 60)
		return;
	u->busy[r - u->reqs] = true;
	uint32_t what = below(w, 20);
	if (what == 0) {
		*r = (struct st_req){.op = ST_TRIM, .log = u->l.log};
		r->trim.offset = u->start + (int64_t)below(w, (uint32_t)(u->acked - u->start + 1));
		u->trimmed = max_of(u->trimmed, r->trim.offset);
	} else if (what < 3) {
		*r = (struct st_req){.op = ST_FILL, .log = u->l.log};
		r->fill.wanted = (struct st_pos){u->l.segment, u->l.pos};
	} else {
		ask_append(w, u, r);
	}
	engine_request(w->kit.engine, r);
}

/* After a start: everything that was acknowledged is there. */
static void verify(struct world *w, struct user *u, uint8_t id)
{
	enum st_err err = kit_open(&w->kit, &u->l, id, true);
	assert_int_equal(err, ST_OK);
	assert_true(u->l.next_offset >= u->acked);
	int64_t offset = u->l.opened.open.log_start_offset;
	assert_in_range(offset, u->start, u->trimmed);
	u->start = u->trimmed = offset;
	while (offset < u->l.next_offset) {
		struct st_req r;
		err = kit_read(&w->kit, &u->l, offset, 1 + below(w, 100000), 12, &r);
		assert_int_equal(err, ST_OK);
		const uint8_t *p = kit_buffer();
		for (uint32_t at = 0; at < r.read.span.len; at += batch_size(p + at), offset++) {
			assert_int_equal(batch_base_offset(p + at), offset);
			assert_int_equal(batch_crc(p + at), u->crc[offset]);
			assert_true(batch_crc_ok(p + at));
		}
	}
	u->acked = u->l.next_offset;
}

static void crash(struct world *w)
{
	mem_cut(&w->mem, below(w, 4) == 0 ? 0 : w->random);
	engine_destroy(w->kit.engine);
	store_close(w->kit.store);
	for (int i = 0; i < LOGS; i++) {
		struct user *u = &w->users[i];
		for (int j = 0; j < REQS; j++)
			if (u->busy[j] && u->reqs[j].op == ST_APPEND)
				lspan_unref(&w->kit.blocks, u->reqs[j].append.span);
		memset(u->busy, 0, sizeof(u->busy));
		kit_drop(&w->kit, &u->l);
	}
	kit_release(&w->kit, NULL, (struct st_pos){0});
}

static void live(struct world *w)
{
	kit_start(&w->kit);
	for (uint8_t i = 0; i < LOGS; i++)
		verify(w, &w->users[i], (uint8_t)(i + 1));
	for (uint32_t n = below(w, 400); n > 0; n--) {
		if (below(w, 3))
			ask(w, &w->users[below(w, LOGS)]);
		else
			step(w);
	}
	w->checkpoints += metric_get(&w->kit.metrics.checkpoints_total);
}

static void run(uint64_t seed, uint64_t journal_bytes, uint64_t *checkpoints)
{
	struct world *w = calloc(1, sizeof(*w));
	w->random = seed;
	kit_init(&w->kit, io_mem_init(&w->mem), "/data");
	w->kit.journal_bytes = journal_bytes;
	w->mem.cuts = true;
	w->mem.shuffle = seed;
	for (int i = 0; i < 6; i++) {
		live(w);
		crash(w);
	}
	*checkpoints += w->checkpoints;
	kit_fini(&w->kit);
	io_mem_fini(&w->mem);
	free(w);
}

static void cuts(uint64_t journal_bytes)
{
	uint64_t checkpoints = 0, first = 1, last = 15;
	const char *only = getenv("SEED");
	if (only)
		first = last = strtoull(only, NULL, 10);
	for (uint64_t seed = first; seed <= last; seed++) {
		run(seed, journal_bytes, &checkpoints);
	}
	assert_true(checkpoints > 0 || only);
}

static void test_cut_loses_nothing_acknowledged_with_a_tiny_journal(void **state)
{
	cuts(64 << 10);
}

static void test_cut_loses_nothing_acknowledged_with_a_journal_that_holds_most(void **state)
{
	cuts(1 << 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cut_loses_nothing_acknowledged_with_a_tiny_journal),
		cmocka_unit_test(
			test_cut_loses_nothing_acknowledged_with_a_journal_that_holds_most),
	};
	kit_be_quiet();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
