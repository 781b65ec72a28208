/* SPDX-License-Identifier: Apache-2.0 */
/* What is asked of a log whose bytes are in files: filling, sealing, damage, trims, retention. */
#include "unit/storage/io_mem.h"
#include "unit/storage/kit.h"

#include "base/crc.h"
#include "storage/format/bidx.h"
#include "storage/log/log.h"
#include "storage/worker/io_fault.h"

#define LOG_DIR "/data/01010101010101010101010101010101-3"

struct fixture {
	struct io_mem mem;
	struct io_fault fault;
	struct kit kit;
	struct kit_log l;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	io_fault_init(&f->fault, io_mem_init(&f->mem));
	kit_init(&f->kit, &f->fault.io, "/data");
	kit_start(&f->kit);
	assert_int_equal(kit_open(&f->kit, &f->l, 1, true), ST_OK);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	kit_fini(&f->kit);
	io_mem_fini(&f->mem);
	free(f);
	return 0;
}

static struct io_file *file_of(struct fixture *f, int64_t base, const char *suffix)
{
	char name[FMT_NAME_SIZE], path[IO_PATH_MAX];
	fmt_segment_name(name, base, suffix);
	snprintf(path, sizeof(path), LOG_DIR "/%s", name);
	return mem_find(&f->mem, path);
}

static void append(struct fixture *f, uint32_t size, bool roll)
{
	assert_int_equal(kit_append(&f->kit, &f->l, 1, size, f->l.next_offset, roll), ST_OK);
}

/* Has everything released. */
static void fill(struct fixture *f)
{
	struct kit *k = &f->kit;
	struct st_req r = {.op = ST_FILL, .log = f->l.log};
	r.fill.wanted = (struct st_pos){f->l.segment, f->l.pos};
	assert_int_equal(kit_do(k, &r), ST_OK);
	assert_int_equal(r.fill.released.segment, f->l.segment);
	assert_int_equal(r.fill.released.pos, f->l.pos);
	kit_release(k, f->l.log, r.fill.released);
	assert_int_equal(k->held_count, 0);
}

static void restart(struct fixture *f, bool crash)
{
	kit_drop(&f->kit, &f->l);
	if (crash)
		kit_crash(&f->kit);
	else
		assert_true(kit_stop(&f->kit));
	kit_start(&f->kit);
	assert_int_equal(kit_open(&f->kit, &f->l, 1, false), ST_OK);
}

static enum st_err note_do(struct fixture *f, bool store, void *data, uint32_t size, uint32_t *len)
{
	struct st_req r = {.op = ST_NOTE, .log = f->l.log};
	r.note.store = store;
	r.note.data = data;
	r.note.size = size;
	kit_do(&f->kit, &r);
	*len = r.note.len;
	return r.err;
}

static void stop(struct fixture *f)
{
	kit_drop(&f->kit, &f->l);
	assert_true(kit_stop(&f->kit));
}

static void read_all(struct fixture *f)
{
	assert_int_equal(kit_read_all(&f->kit, &f->l, 1), f->l.next_offset);
	assert_int_equal(kit_read_all(&f->kit, &f->l, 1 << 20), f->l.next_offset);
}

/* --- filling ----------------------------------------------------------------------------- */

static void test_fill_releases_everything_and_the_log_goes_on_within_the_page(void **state)
{
	struct fixture *f = *state;
	struct kit *k = &f->kit;
	for (uint32_t size = 1; size < 60000; size += 1 + size * 5 / 4) {
		append(f, size, false);
		fill(f);
		/* the last block comes back as it was */
		struct lblock *b = lblock_get(&k->blocks);
		struct st_req t = {.op = ST_TAIL, .log = f->l.log, .tail = {.block = b}};
		assert_int_equal(kit_do(k, &t), ST_OK);
		size_t used = f->l.pos % LBLOCK_SIZE;
		if (used)
			assert_memory_equal(b->data, f->l.tail->data, used);
		for (size_t i = used; i < LBLOCK_SIZE; i++)
			assert_int_equal(b->data[i], 0);
		lblock_unref(&k->blocks, b);
		read_all(f);
	}
	restart(f, true);
	read_all(f);
	restart(f, false);
	read_all(f);
	stop(f);
}

static void test_fill_happens_unasked_when_much_is_pending_and_released_only_moves_on(void **state)
{
	struct fixture *f = *state;
	struct kit *k = &f->kit;
	struct st_pos last = {0};
	uint32_t most = 0;
	for (int i = 0; i < 200; i++) {
		struct st_req r;
		uint32_t n = kit_batch(kit_buffer(), 1 << 20, f->l.next_offset, 1, 5000, 1);
		kit_append_req(k, &f->l, &r, kit_buffer(), n, i % 60 == 59);
		assert_int_equal(kit_do(k, &r), ST_OK);
		struct st_pos at = r.append.released;
		assert_true(at.segment > last.segment ||
			    (at.segment == last.segment && at.pos >= last.pos));
		last = at;
		kit_keep(k, &r);
		most = max_of(most, k->held_count);
	}
	assert_true(most < 30); /* 64 KiB, and what came meanwhile */
	read_all(f);
	stop(f);
}

static void test_fill_pages_are_written_once(void **state)
{
	static uint8_t marked[1 << 17];
	struct fixture *f = *state;
	uint64_t n = 0;
	for (int i = 0; i < 100; i++) {
		append(f, 900, false);
		fill(f);
		for (; n < align_down(f->l.pos, (uint64_t)FMT_PAGE); n += FMT_PAGE) {
			uint8_t *page = file_of(f, 0, "log")->data + n;
			page[100] ^= 0xff;
			memcpy(marked + n, page, FMT_PAGE);
		}
	}
	assert_true(n > 10 * FMT_PAGE);
	/* had one been written again, its mark would be gone */
	assert_memory_equal(file_of(f, 0, "log")->data, marked, n);
	stop(f);
}

static void test_log_has_no_files_before_its_first_page_is_full(void **state)
{
	struct fixture *f = *state;
	append(f, 1000, false);
	fill(f);
	restart(f, true);
	restart(f, false);
	assert_null(mem_find(&f->mem, LOG_DIR));
	read_all(f);
	append(f, 4000, false);
	fill(f);
	assert_non_null(mem_find(&f->mem, LOG_DIR "/log.meta"));
	assert_non_null(file_of(f, 0, "log"));
	restart(f, true);
	read_all(f);
	stop(f);
}

static void test_close_with_pending_bytes_releases_them_and_opens_again(void **state)
{
	struct fixture *f = *state;
	struct kit *k = &f->kit;
	for (int i = 0; i < 7; i++) {
		append(f, 3000, i == 4);
		assert_int_equal(kit_close(k, &f->l), ST_OK);
		assert_int_equal(k->held_count, 0);
		assert_int_equal(kit_open(k, &f->l, 1, false), ST_OK);
		assert_int_equal(f->l.next_offset, i + 1);
		read_all(f);
	}
	stop(f);
}

static void test_close_waits_for_lookups_and_trims_asked_before_it(void **state)
{
	struct fixture *f = *state;
	struct kit *k = &f->kit;
	struct st_req look[3], read = {.op = ST_READ, .log = f->l.log};
	struct st_req trim = {.op = ST_TRIM, .log = f->l.log, .trim = {.offset = 1}};
	struct st_req close = {.op = ST_CLOSE, .log = f->l.log};
	append(f, 9000, false);
	append(f, 9000, false);
	struct kit_log other;
	struct st_req a;
	assert_int_equal(kit_open(k, &other, 2, true), ST_OK);
	uint32_t n = kit_batch(kit_buffer(), 1 << 20, 0, 1, 10, 1);
	kit_append_req(k, &other, &a, kit_buffer(), n, false);
	engine_request(k->engine, &a);
	kit_step(k); /* something is in flight */
	for (int i = 0; i < 3; i++) {
		look[i] = (struct st_req){.op = ST_LOOKUP, .log = f->l.log};
		look[i].lookup.limit = 2;
		engine_request(k->engine, &look[i]);
	}
	read.read.offset = 77; /* out of range */
	read.read.limit = 2;
	engine_request(k->engine, &trim);
	engine_request(k->engine, &close);
	engine_request(k->engine, &read);
	assert_true(kit_run(k) >= 6);
	assert_int_equal(close.err, ST_OK);
	assert_null(close.log);
	assert_int_equal(trim.trim.log_start_offset, 1);
	kit_keep(k, &a);
	kit_drop(k, &other);
	kit_drop(k, &f->l);
	kit_release(k, f->l.log, (struct st_pos){.segment = INT64_MAX});
	assert_true(kit_stop(k));
}

static void test_delete_answers_a_fill_that_waits_for_room(void **state)
{
	struct fixture *f = *state;
	struct kit *k = &f->kit;
	append(f, 9000, false);
	io_fault_plan(&f->fault, FAULT_WRITE, 1, -ENOSPC, true);
	struct st_req fill = {.op = ST_FILL, .log = f->l.log};
	fill.fill.wanted = (struct st_pos){f->l.segment, f->l.pos};
	engine_request(k->engine, &fill);
	for (int i = 0; i < 20; i++)
		assert_int_equal(kit_step(k), 0);
	io_fault_plan(&f->fault, FAULT_ANY, 0, 0, false);
	struct st_req del = {.op = ST_DELETE, .log = f->l.log};
	engine_request(k->engine, &del);
	assert_int_equal(kit_run(k), 2);
	assert_int_equal(del.err, ST_OK);
	kit_release(k, fill.log, (struct st_pos){.segment = INT64_MAX});
	kit_drop(k, &f->l);
	assert_true(kit_stop(k));
}

/* --- sealing ----------------------------------------------------------------------------- */

static void test_roll_with_pending_bytes_seals_the_old_segment(void **state)
{
	struct fixture *f = *state;
	for (int i = 0; i < 5; i++)
		append(f, 3000, i == 3);
	fill(f);
	struct io_file *x = file_of(f, 0, "index"), *s = file_of(f, 0, "log");
	assert_non_null(x);
	assert_int_equal(x->size, FMT_PAGE);
	const struct fmt_bidx_page *p = (const void *)x->data;
	assert_int_equal(p->flags, BIDX_SEALED);
	assert_int_equal(p->end_offset, 3);
	assert_int_equal(s->size, align_up(p->end_pos, (uint64_t)FMT_PAGE));
	for (uint64_t i = p->end_pos; i < s->size; i++)
		assert_int_equal(s->data[i], 0);
	read_all(f);
	restart(f, true);
	read_all(f);
	restart(f, false);
	read_all(f);
	stop(f);
}

static void long_segment(struct fixture *f)
{
	while (f->l.pos < 168 * 16384 * 2 + 100000)
		append(f, 60000, false);
	append(f, 100, true);
	append(f, 100, false);
	fill(f);
}

static void test_index_of_a_long_segment_has_several_pages_and_is_made_anew_when_damaged(
	void **state)
{
	struct fixture *f = *state;
	long_segment(f);
	struct io_file *x = file_of(f, 0, "index");
	assert_int_equal(x->size, 3 * FMT_PAGE);
	read_all(f);
	for (uint32_t at = 50; at < x->size; at += FMT_PAGE) {
		x->data[at] ^= 1;
		restart(f, false);
		read_all(f);
		x->data[at] ^= 1;
	}
	assert_true(mem_resize(x, 2 * FMT_PAGE)); /* its end is missing */
	restart(f, false);
	read_all(f);
	assert_int_equal(mem_unlink(&f->mem.io, x->path), 0);
	restart(f, true);
	read_all(f);
	stop(f);
}

static void test_index_of_an_active_segment_is_read_again_after_a_stop(void **state)
{
	struct fixture *f = *state;
	for (int round = 0; round < 2; round++) {
		while (f->l.pos < 168 * 16384 + (uint64_t)(round + 1) * 200000)
			append(f, 60000, false);
		fill(f);
		assert_non_null(file_of(f, 0, "index"));
		restart(f, round);
		read_all(f);
		restart(f, false);
	}
	file_of(f, 0, "index")->data[77] ^= 1;
	restart(f, false);
	read_all(f);
	append(f, 100, true);
	fill(f);
	restart(f, false);
	read_all(f);
	stop(f);
}

/* --- damage ------------------------------------------------------------------------------ */

static void test_damaged_byte_costs_its_block_and_nothing_else(void **state)
{
	struct fixture *f = *state;
	struct kit *k = &f->kit;
	struct st_req r;
	for (int i = 0; i < 40; i++)
		append(f, 8000, false);
	append(f, 10, true);
	fill(f);
	for (int round = 0; round < 2; round++) { /* in the process that wrote it, and after */
		struct io_file *s = file_of(f, 0, "log");
		s->data[10 * 16384 + 5000] ^= 4;
		int bad = 0;
		for (int64_t i = 0; i < 41; i++) {
			enum st_err err = kit_read(k, &f->l, i, 1, 20, &r);
			assert_true(err == ST_OK || err == ST_E_CORRUPT);
			bad += err != ST_OK;
			if (err == ST_OK)
				assert_true(batch_crc_ok(kit_buffer()));
		}
		assert_true(bad >= 1 && bad <= 4); /* those that touch the block */
		assert_true(metric_get(&k->metrics.corrupt_blocks_total) > 0);
		assert_int_equal(metric_get(&k->metrics.offline_dirs), 0);
		s->data[10 * 16384 + 5000] ^= 4;
		restart(f, false);
	}
	read_all(f);
	append(f, 10, false);
	stop(f);
}

static void test_stale_page_with_valid_batches_is_seen_by_its_sum(void **state)
{
	struct fixture *f = *state;
	struct kit *k = &f->kit;
	struct st_req r;
	for (int i = 0; i < 40; i++)
		append(f, 8000, i == 20);
	fill(f);
	restart(f, false);
	/* another segment's block: as good as the right one in all but its place */
	memcpy(file_of(f, 0, "log")->data, file_of(f, 20, "log")->data, 16384);
	assert_int_equal(kit_read(k, &f->l, 0, 1, 20, &r), ST_E_CORRUPT);
	assert_int_equal(kit_read(k, &f->l, 10, 1, 20, &r), ST_OK);
	stop(f);
}

static void test_lost_segment_fails_its_reads_only(void **state)
{
	struct fixture *f = *state;
	struct kit *k = &f->kit;
	struct st_req r;
	for (int i = 0; i < 30; i++)
		append(f, 8000, i % 10 == 9);
	stop(f);
	file_of(f, 9, "log")->used = false;
	kit_start(k);
	assert_int_equal(kit_open(k, &f->l, 1, false), ST_OK);
	for (int64_t i = 0; i < 30; i++)
		assert_int_equal(
			kit_read(k, &f->l, i, 1, 20, &r), i >= 9 && i < 19 ? ST_E_CORRUPT : ST_OK);
	append(f, 10, false);
	stop(f);
}

/* --- trims and retention ----------------------------------------------------------------- */

static void checkpoint(struct fixture *f)
{
	restart(f, false);
}

static void test_trim_survives_and_removes_whole_segments_in_the_background(void **state)
{
	struct fixture *f = *state;
	struct kit *k = &f->kit;
	struct st_req r;
	for (int i = 0; i < 50; i++)
		append(f, 8000, i % 10 == 9);
	struct st_req t = {.op = ST_TRIM, .log = f->l.log, .trim = {.offset = 25}};
	assert_int_equal(kit_do(k, &t), ST_OK);
	assert_int_equal(t.trim.log_start_offset, 25);
	assert_int_equal(kit_read(k, &f->l, 24, 1, 20, &r), ST_E_RANGE);
	assert_int_equal(kit_read(k, &f->l, 25, 1, 20, &r), ST_OK);
	t.trim.offset = 3; /* never back */
	t.log = f->l.log;
	assert_int_equal(kit_do(k, &t), ST_OK);
	assert_int_equal(t.trim.log_start_offset, 25);
	t.trim.offset = 51;
	assert_int_equal(kit_do(k, &t), ST_E_RANGE);
	restart(f, true);
	assert_int_equal(f->l.opened.open.log_start_offset, 25);
	read_all(f);
	checkpoint(f);
	t = (struct st_req){.op = ST_TRIM, .log = f->l.log, .trim = {.offset = 26}};
	assert_int_equal(kit_do(k, &t), ST_OK);
	for (int i = 0; i < 10; i++)
		kit_step(k);
	assert_null(file_of(f, 0, "log"));
	assert_null(file_of(f, 9, "index"));
	assert_non_null(file_of(f, 19, "log"));
	restart(f, true);
	assert_int_equal(f->l.opened.open.log_start_offset, 26);
	read_all(f);
	stop(f);
}

static int64_t retain(struct fixture *f, int64_t ms, int64_t bytes, int64_t limit, int64_t now)
{
	struct st_req r = {.op = ST_RETAIN, .log = f->l.log};
	r.retain.policy =
		(struct st_policy){.remove = true, .retention_ms = ms, .retention_bytes = bytes};
	r.retain.limit = limit;
	r.retain.now_ms = now;
	assert_int_equal(kit_do(&f->kit, &r), ST_OK);
	return r.retain.log_start_offset;
}

static void test_retention_by_time_and_size_takes_whole_segments_up_to_the_limit(void **state)
{
	struct fixture *f = *state;
	for (int i = 0; i < 50; i++) /* timestamps are offsets */
		append(f, 8000, i % 10 == 9);
	checkpoint(f);
	assert_int_equal(retain(f, -1, -1, 50, 1000), 0);
	assert_int_equal(retain(f, 100, -1, 50, 108), 0);
	assert_int_equal(retain(f, 100, -1, 50, 109), 9);  /* 0..8 are older than 100 */
	assert_int_equal(retain(f, 100, -1, 18, 1000), 9); /* not above the high watermark */
	assert_int_equal(retain(f, -1, 25 * 8100, 50, 0), 19);
	assert_int_equal(retain(f, -1, 25 * 8100, 50, 0), 19);
	assert_int_equal(
		retain(f, 100, -1, 50, 150), 50); /* the active one, too: all has expired */
	restart(f, true);
	assert_int_equal(f->l.opened.open.log_start_offset, 50);
	append(f, 10, true);
	checkpoint(f);
	assert_int_equal(retain(f, 100, -1, 51, 0), 50);
	stop(f);
}

static void test_deletion_stopped_at_any_operation_is_finished_later(void **state)
{
	struct fixture *f = *state;
	struct kit *k = &f->kit;
	stop(f);
	bool stopped = true;
	for (uint64_t n = 1; stopped; n++) {
		io_mem_fini(&f->mem);
		io_mem_init(&f->mem);
		io_fault_plan(&f->fault, FAULT_ANY, 0, 0, false);
		kit_start(k);
		assert_int_equal(kit_open(k, &f->l, 1, true), ST_OK);
		for (int i = 0; i < 9; i++)
			append(f, 9000, i % 3 == 2);
		fill(f);
		io_fault_plan(&f->fault, FAULT_ANY, n, -EIO, true);
		struct st_req d = {.op = ST_DELETE, .log = f->l.log};
		enum st_err err = kit_do(k, &d);
		for (int i = 0; i < 10; i++)
			kit_step(k);
		kit_drop(k, &f->l);
		kit_crash(k);
		stopped = f->fault.failed > 0;
		io_fault_plan(&f->fault, FAULT_ANY, 0, 0, false);
		kit_start(k);
		enum st_err found = kit_open(k, &f->l, 1, false);
		assert_true(found == ST_E_NOT_FOUND || (found == ST_OK && err != ST_OK));
		if (found == ST_OK) {
			read_all(f);
			kit_drop(k, &f->l);
		}
		assert_true(kit_stop(k));
		for (int i = 0; found != ST_OK && i < MEM_FILES; i++)
			assert_true(!mem_is_in(&f->mem.files[i], LOG_DIR) &&
				    !mem_is_in(&f->mem.files[i], LOG_DIR ".deleted"));
	}
}

/* --- no room ----------------------------------------------------------------------------- */

/* Operations of this kind find no room for a while: at fills, index pages, checkpoints. */
static void no_room(struct fixture *f, enum fault_op op)
{
	struct kit *k = &f->kit;
	int refused = 0;
	for (int i = 0; i < 150; i++) {
		struct kit_log before = f->l;
		if (i == 50)
			io_fault_plan(&f->fault, op, 2, -ENOSPC, true);
		if (i == 100)
			io_fault_plan(&f->fault, FAULT_ANY, 0, 0, false);
		if (before.tail)
			lblock_ref(before.tail);
		struct st_req r;
		uint32_t n = kit_batch(kit_buffer(), 1 << 20, f->l.next_offset, 1, 9000, 1);
		kit_append_req(k, &f->l, &r, kit_buffer(), n, i % 20 == 19);
		engine_request(k->engine, &r);
		uint32_t got = 0;
		for (int s = 0; s < 200 && got == 0; s++)
			got = kit_step(k);
		if (got == 0) { /* back-pressure until there is room */
			io_fault_plan(&f->fault, FAULT_ANY, 0, 0, false);
			got = kit_run(k);
		}
		assert_int_equal(got, 1);
		kit_keep(k, &r);
		if (r.err == ST_OK) {
			kit_drop(k, &before);
			continue;
		}
		assert_int_equal(r.err, ST_E_NOSPACE);
		kit_drop(k, &f->l);
		f->l = before;
		refused++;
	}
	assert_true(refused < 51);
	assert_int_equal(metric_get(&k->metrics.offline_dirs), 0);
	assert_true(f->l.next_offset >= 99);
	kit_run(k);
	read_all(f);
	restart(f, true);
	read_all(f);
	stop(f);
}

static void test_no_room_to_grow_refuses_until_there_is(void **state)
{
	no_room(*state, FAULT_FALLOCATE);
}

static void test_no_room_for_files_refuses_until_there_is(void **state)
{
	no_room(*state, FAULT_OPEN);
}

static void test_no_room_to_fill_waits_until_there_is(void **state)
{
	struct fixture *f = *state;
	struct kit *k = &f->kit;
	for (int i = 0; i < 6; i++)
		append(f, 9000, i == 3);
	for (int at = 1; at < 6; at++) { /* data, the last page, the index page */
		io_fault_plan(&f->fault, FAULT_WRITE, (uint64_t)at + 1, -ENOSPC, false);
		append(f, 9000, at == 3);
		fill(f);
	}
	assert_int_equal(metric_get(&k->metrics.offline_dirs), 0);
	read_all(f);
	/* and all of a checkpoint */
	for (uint64_t at = 1; at < 12; at++) {
		append(f, 9000, at % 4 == 0);
		io_fault_plan(
			&f->fault, at % 2 ? FAULT_WRITE : FAULT_OPEN, at / 2 + 1, -ENOSPC, false);
		stop(f);
		io_fault_plan(&f->fault, FAULT_ANY, 0, 0, false);
		kit_start(k);
		assert_int_equal(kit_open(k, &f->l, 1, false), ST_OK);
		read_all(f);
	}
	stop(f);
}

static void test_a_note_comes_back_whole_or_not_at_all(void **state)
{
	struct fixture *f = *state;
	uint8_t *note = malloc(ST_NOTE_MAX), *got = malloc(ST_NOTE_MAX);
	uint32_t len;
	memset(note, 0x5a, ST_NOTE_MAX);
	append(f, 100, false);
	assert_int_equal(note_do(f, true, note, 10, &len), ST_E_NOT_FOUND); /* no place yet */
	for (int i = 0; i < 3; i++)
		append(f, 20000, false);
	fill(f);
	assert_int_equal(note_do(f, false, got, ST_NOTE_MAX, &len), ST_E_NOT_FOUND);
	assert_int_equal(note_do(f, true, note, ST_NOTE_MAX, &len), ST_OK);
	assert_int_equal(note_do(f, true, note, 777, &len), ST_OK);
	restart(f, false);
	assert_int_equal(note_do(f, false, got, ST_NOTE_MAX, &len), ST_OK);
	assert_int_equal(len, 777);
	assert_memory_equal(got, note, 777);
	assert_int_equal(note_do(f, false, got, 700, &len), ST_E_NOT_FOUND); /* too large */
	struct io_file *file = mem_find(&f->mem, LOG_DIR "/" FMT_NOTE_NAME);
	uint8_t bit = 1;
	struct io *io = &f->fault.io;
	struct io_file *open;
	assert_int_equal(io->api->open(io, LOG_DIR "/" FMT_NOTE_NAME, 0, &open), 0);
	assert_non_null(file);
	assert_int_equal(io->api->pwrite(io, open, &bit, 1, 100), 1);
	io->api->close(io, open);
	assert_int_equal(note_do(f, false, got, ST_NOTE_MAX, &len), ST_E_NOT_FOUND);
	assert_int_equal(kit_read_all(&f->kit, &f->l, 1), 4);
	free(note);
	free(got);
	stop(f);
}

static uint64_t size_of(struct fixture *f)
{
	struct st_req r = {.op = ST_SIZE, .log = f->l.log};
	assert_int_equal(kit_do(&f->kit, &r), ST_OK);
	return r.size.bytes;
}

static void test_the_size_is_that_of_all_segments_also_after_a_restart(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(size_of(f), 0);
	for (int i = 0; i < 6; i++)
		append(f, 20000, i % 2 == 1);
	uint64_t before = size_of(f);
	assert_true(before >= 6 * 20000ul && before < 6 * 21000ul);
	fill(f);
	assert_int_equal(size_of(f), before);
	restart(f, true);
	assert_int_equal(size_of(f), before);
	stop(f);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_fill_releases_everything_and_the_log_goes_on_within_the_page),
		T(test_fill_happens_unasked_when_much_is_pending_and_released_only_moves_on),
		T(test_fill_pages_are_written_once),
		T(test_log_has_no_files_before_its_first_page_is_full),
		T(test_a_note_comes_back_whole_or_not_at_all),
		T(test_the_size_is_that_of_all_segments_also_after_a_restart),
		T(test_close_with_pending_bytes_releases_them_and_opens_again),
		T(test_close_waits_for_lookups_and_trims_asked_before_it),
		T(test_delete_answers_a_fill_that_waits_for_room),
		T(test_roll_with_pending_bytes_seals_the_old_segment),
		T(test_index_of_a_long_segment_has_several_pages_and_is_made_anew_when_damaged),
		T(test_index_of_an_active_segment_is_read_again_after_a_stop),
		T(test_damaged_byte_costs_its_block_and_nothing_else),
		T(test_stale_page_with_valid_batches_is_seen_by_its_sum),
		T(test_lost_segment_fails_its_reads_only),
		T(test_trim_survives_and_removes_whole_segments_in_the_background),
		T(test_retention_by_time_and_size_takes_whole_segments_up_to_the_limit),
		T(test_deletion_stopped_at_any_operation_is_finished_later),
		T(test_no_room_to_grow_refuses_until_there_is),
		T(test_no_room_for_files_refuses_until_there_is),
		T(test_no_room_to_fill_waits_until_there_is),
	};
	kit_be_quiet();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
