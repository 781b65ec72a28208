/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/storage/io_mem.h"
#include "unit/storage/kit.h"

#include "storage/worker/io_fault.h"

struct fixture {
	struct io_mem mem;
	struct io_fault fault;
	struct kit kit;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	io_fault_init(&f->fault, io_mem_init(&f->mem));
	kit_init(&f->kit, &f->fault.io, "/data");
	kit_start(&f->kit);
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

/* Has all bytes of the log released by the engine. */
static void release(struct kit *k, struct kit_log *l)
{
	struct st_req r = {.op = ST_FILL, .log = l->log, .fill.wanted = {l->segment, l->pos}};
	assert_int_equal(kit_do(k, &r), ST_OK);
	assert_int_equal(r.fill.released.segment, l->segment);
	assert_int_equal(r.fill.released.pos, l->pos);
	kit_release(k, l->log, r.fill.released);
}

static void test_engine_appends_are_read_back_as_written(void **state)
{
	struct fixture *f = *state;
	struct kit *k = &f->kit;
	struct kit_log l;
	assert_int_equal(kit_open(k, &l, 1, true), ST_OK);
	assert_int_equal(l.next_offset, 0);
	assert_false(l.opened.open.recovered);
	for (int i = 0; i < 200; i++)
		assert_int_equal(
			kit_append(k, &l, 1 + i % 5, (uint32_t)(i * 37 % 3000), 1000 + i, false),
			ST_OK);
	int64_t end = l.next_offset;
	assert_int_equal(kit_read_all(k, &l, 1), end);
	assert_int_equal(kit_read_all(k, &l, 10000), end);
	assert_int_equal(kit_read_all(k, &l, 1 << 20), end);
	kit_drop(k, &l);
	assert_true(kit_stop(k));
}

static void test_engine_large_batches_cross_blocks_and_need_more_blocks_than_given(void **state)
{
	struct fixture *f = *state;
	struct kit *k = &f->kit;
	struct kit_log l;
	struct st_req r;
	assert_int_equal(kit_open(k, &l, 1, true), ST_OK);
	assert_int_equal(kit_append(k, &l, 1, 300000, 1, false), ST_OK);
	assert_int_equal(kit_append(k, &l, 1, 100, 1, false), ST_OK);
	assert_int_equal(kit_append(k, &l, 3, 200000, 1, false), ST_OK);
	assert_int_equal(kit_read(k, &l, 3, 1, 5, &r), ST_E_SHORT);
	assert_true(r.read.need > 36 && r.read.need <= 39);
	assert_int_equal(kit_read(k, &l, 3, 1, r.read.need, &r), ST_OK);
	assert_int_equal(r.read.base_offset, 2);
	assert_int_equal(r.read.next_offset, 5);
	assert_int_equal(kit_read(k, &l, 0, 1, 1, &r), ST_E_SHORT);
	assert_int_equal(kit_read_all(k, &l, 1), 5);
	assert_int_equal(kit_read(k, &l, 5, 1, 1, &r), ST_E_RANGE);
	kit_drop(k, &l);
	assert_true(kit_stop(k));
}

static void test_engine_read_stops_at_limit(void **state)
{
	struct fixture *f = *state;
	struct kit *k = &f->kit;
	struct kit_log l;
	struct st_req r;
	assert_int_equal(kit_open(k, &l, 1, true), ST_OK);
	for (int i = 0; i < 10; i++)
		assert_int_equal(kit_append(k, &l, 2, 10, 1, false), ST_OK);
	int64_t end = l.next_offset;
	l.next_offset = 8;
	assert_int_equal(kit_read(k, &l, 3, 1 << 20, 4, &r), ST_OK);
	assert_int_equal(r.read.base_offset, 2);
	assert_int_equal(r.read.next_offset, 8);
	assert_int_equal(kit_read(k, &l, 8, 1 << 20, 4, &r), ST_E_RANGE);
	l.next_offset = end;
	kit_drop(k, &l);
	assert_true(kit_stop(k));
}

static void test_engine_clean_stop_leaves_nothing_to_play(void **state)
{
	struct fixture *f = *state;
	struct kit *k = &f->kit;
	struct kit_log l, m;
	assert_int_equal(kit_open(k, &l, 1, true), ST_OK);
	assert_int_equal(kit_open(k, &m, 2, true), ST_OK);
	for (int i = 0; i < 50; i++)
		assert_int_equal(kit_append(k, &l, 2, 5000, 1000 + i, i % 20 == 19), ST_OK);
	int64_t end = l.next_offset;
	uint64_t pos = l.pos;
	kit_drop(k, &l);
	assert_true(kit_stop(k));
	kit_start(k);
	assert_true(store_is_clean(k->store));
	uint64_t before = f->mem.pread_bytes;
	assert_int_equal(kit_open(k, &l, 1, false), ST_OK);
	assert_true(f->mem.pread_bytes - before < 64 * 1024); /* small files and the tail block */
	assert_false(l.opened.open.recovered);
	assert_int_equal(l.next_offset, end);
	assert_int_equal(l.pos, pos);
	assert_int_equal(l.opened.open.leader_epoch, 5);
	assert_int_equal(l.opened.open.max_timestamp, 1050);
	assert_int_equal(l.opened.open.segment_created_ms, KIT_NOW);
	assert_int_equal(kit_append(k, &l, 2, 5000, 2000, false), ST_OK);
	assert_int_equal(kit_read_all(k, &l, 30000), end + 2);
	kit_drop(k, &l);
	/* after a crash what came later is played */
	kit_crash(k);
	kit_start(k);
	assert_false(store_is_clean(k->store));
	assert_int_equal(kit_open(k, &l, 1, false), ST_OK);
	assert_true(l.opened.open.recovered);
	assert_int_equal(l.next_offset, end + 2);
	assert_int_equal(l.opened.open.cut_bytes, 0);
	assert_int_equal(kit_read_all(k, &l, 30000), end + 2);
	kit_drop(k, &l);
	assert_true(kit_stop(k));
	/* a log that nobody opened is kept over several clean runs */
	for (int i = 0; i < 2; i++) {
		kit_start(k);
		assert_true(kit_stop(k));
	}
	kit_start(k);
	assert_int_equal(kit_open(k, &l, 1, false), ST_OK);
	assert_false(l.opened.open.recovered);
	kit_drop(k, &l);
	assert_true(kit_stop(k));
}

static void test_engine_closed_log_opens_again_as_it_was(void **state)
{
	struct fixture *f = *state;
	struct kit *k = &f->kit;
	struct kit_log l, m;
	assert_int_equal(kit_open(k, &l, 1, true), ST_OK);
	assert_int_equal(kit_append(k, &l, 5, 700, 1, false), ST_OK);
	assert_int_equal(kit_close(k, &l), ST_OK);
	assert_int_equal(kit_open(k, &l, 1, false), ST_OK);
	assert_false(l.opened.open.recovered);
	assert_int_equal(l.next_offset, 5);
	assert_int_equal(kit_open(k, &m, 2, false), ST_E_NOT_FOUND);
	assert_int_equal(kit_open(k, &m, 1, false), ST_E_LIMIT); /* open already */
	kit_drop(k, &l);
	assert_true(kit_stop(k));
}

static void test_engine_logs_that_wait_share_one_cycle(void **state)
{
	struct fixture *f = *state;
	struct kit *k = &f->kit;
	struct kit_log l[20];
	struct st_req r[20][3];
	for (int i = 0; i < 20; i++)
		assert_int_equal(kit_open(k, &l[i], (uint8_t)(i + 1), true), ST_OK);
	uint64_t cycles = metric_get(&k->metrics.cycles_total);
	uint64_t flushes = metric_get(&k->metrics.flushes_total);
	for (int i = 0; i < 20; i++) {
		for (int j = 0; j < 3; j++) {
			uint32_t n = kit_batch(kit_buffer(), 1 << 20, l[i].next_offset, 1, 3000, 9);
			kit_append_req(k, &l[i], &r[i][j], kit_buffer(), n, false);
			engine_request(k->engine, &r[i][j]);
		}
	}
	struct list done;
	list_init(&done);
	engine_step(k->engine, KIT_NOW, &done);
	assert_true(list_empty(&done)); /* nothing is answered before its flush has returned */
	assert_int_equal(kit_run(k), 60);
	assert_int_equal(metric_get(&k->metrics.cycles_total) - cycles, 1);
	assert_int_equal(metric_get(&k->metrics.flushes_total) - flushes, 1);
	for (int i = 0; i < 20; i++) {
		for (int j = 0; j < 3; j++) {
			assert_int_equal(r[i][j].err, ST_OK);
			kit_keep(k, &r[i][j]);
		}
		assert_int_equal(kit_read_all(k, &l[i], 1 << 16), 3);
		kit_drop(k, &l[i]);
	}
	assert_true(kit_stop(k));
}

static void test_engine_rolls_to_named_segment_and_reads_across(void **state)
{
	struct fixture *f = *state;
	struct kit *k = &f->kit;
	struct kit_log l;
	assert_int_equal(kit_open(k, &l, 1, true), ST_OK);
	for (int i = 0; i < 40; i++)
		assert_int_equal(kit_append(k, &l, 3, 900, i, i > 0 && i % 8 == 0), ST_OK);
	assert_int_equal(kit_read_all(k, &l, 1 << 20), 120);
	kit_drop(k, &l);
	kit_crash(k);
	kit_start(k);
	assert_int_equal(kit_open(k, &l, 1, false), ST_OK);
	assert_int_equal(l.next_offset, 120);
	assert_int_equal(l.segment, 96);
	assert_int_equal(kit_read_all(k, &l, 1 << 20), 120);
	assert_int_equal(kit_append(k, &l, 1, 1, 1, true), ST_OK);
	kit_drop(k, &l);
	assert_true(kit_stop(k));
	kit_start(k);
	assert_int_equal(kit_open(k, &l, 1, false), ST_OK);
	assert_false(l.opened.open.recovered);
	assert_int_equal(kit_read_all(k, &l, 1), 121);
	kit_drop(k, &l);
	assert_true(kit_stop(k));
}

static void lookup(struct kit *k, struct kit_log *l, int64_t timestamp, enum st_err err,
	int64_t offset, int64_t record_timestamp)
{
	struct st_req r = {.op = ST_LOOKUP, .log = l->log};
	r.lookup.timestamp = timestamp;
	r.lookup.limit = l->next_offset;
	assert_int_equal(kit_do(k, &r), err);
	if (err == ST_OK) {
		assert_int_equal(r.lookup.offset, offset);
		assert_int_equal(r.lookup.record_timestamp, record_timestamp);
	}
}

static void test_engine_looks_up_records_by_time_also_in_compressed_batches(void **state)
{
	struct fixture *f = *state;
	struct kit *k = &f->kit;
	struct kit_log l;
	static const enum codec codecs[] = {
		CODEC_NONE, CODEC_GZIP, CODEC_SNAPPY, CODEC_LZ4, CODEC_ZSTD};
	assert_int_equal(kit_open(k, &l, 1, true), ST_OK);
	lookup(k, &l, 0, ST_E_NOT_FOUND, 0, 0);
	lookup(k, &l, -1, ST_E_NOT_FOUND, 0, 0);
	for (int i = 0; i < 60; i++) { /* batch i: offsets 10i.., times 1000i.. 1000i+9 */
		uint8_t *p = kit_buffer(), *q = p + (2u << 20);
		uint32_t n = kit_batch(p, 1 << 20, l.next_offset, 10, 150, 1000 * i);
		if (codecs[i % 5] != CODEC_NONE) {
			n = batch_compress(p, codecs[i % 5], 0, q, 1 << 20);
			assert_true(n > 0);
			batch_set_base_offset(q, l.next_offset);
			p = q;
		}
		assert_int_equal(kit_append_bytes(k, &l, p, n, i == 30), ST_OK);
	}
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 60; i++) {
			lookup(k, &l, 1000 * i + 4, ST_OK, 10 * i + 4, 1000 * i + 4);
			if (i < 59)
				lookup(k, &l, 1000 * i + 500, ST_OK, 10 * i + 10, 1000 * i + 1000);
		}
		lookup(k, &l, 0, ST_OK, 0, 0);
		lookup(k, &l, -1, ST_OK, 599, 59009);
		lookup(k, &l, 59010, ST_E_NOT_FOUND, 0, 0);
		kit_drop(k, &l);
		assert_true(kit_stop(k));
		kit_start(k);
		assert_int_equal(kit_open(k, &l, 1, false), ST_OK);
	}
	kit_drop(k, &l);
	assert_true(kit_stop(k));
}

static void test_engine_deleted_log_is_gone_even_when_deletion_stops_half_way(void **state)
{
	struct fixture *f = *state;
	struct kit *k = &f->kit;
	struct kit_log l;
	for (int fails = 0; fails < 2; fails++) {
		assert_int_equal(kit_open(k, &l, 1, true), ST_OK);
		assert_int_equal(l.next_offset, 0);
		for (int i = 0; i < 9; i++)
			assert_int_equal(kit_append(k, &l, 1, 9000, 1, i == 5), ST_OK);
		kit_drop(k, &l);
		if (fails) /* dies between two unlinks */
			io_fault_plan(&f->fault, FAULT_UNLINK, 2, -EIO, true);
		struct st_req r = {.op = ST_DELETE, .log = l.log};
		uint64_t flushes = f->mem.flushes;
		assert_int_equal(kit_do(k, &r), ST_OK);
		assert_true(f->mem.flushes > flushes);
		io_fault_plan(&f->fault, FAULT_ANY, 0, 0, false);
		assert_int_equal(kit_open(k, &l, 1, false), ST_E_NOT_FOUND);
		kit_crash(k);
		kit_start(k);
		for (int i = 0; i < MEM_FILES; i++)
			assert_true(!f->mem.files[i].used || !strstr(f->mem.files[i].path, "0101"));
	}
	assert_true(kit_stop(k));
}

static void test_engine_deletion_waits_for_reads(void **state)
{
	struct fixture *f = *state;
	struct kit *k = &f->kit;
	struct kit_log l;
	assert_int_equal(kit_open(k, &l, 1, true), ST_OK);
	assert_int_equal(kit_append(k, &l, 1, 60000, 1, false), ST_OK);
	assert_int_equal(kit_append(k, &l, 1, 100, 1, true), ST_OK);
	release(k, &l); /* so that the read has to wait for the disk */
	struct st_req rd = {.op = ST_READ, .log = l.log};
	rd.read.limit = 2;
	rd.read.max_bytes = 1;
	rd.read.block_count = 5;
	rd.read.blocks = lblock_get_chain(&k->blocks, 5);
	struct st_req cl = {.op = ST_DELETE, .log = l.log};
	engine_request(k->engine, &rd);
	engine_request(k->engine, &cl);
	struct list done;
	list_init(&done);
	engine_step(k->engine, KIT_NOW, &done);
	assert_true(list_empty(&done));
	assert_int_equal(kit_run(k), 2);
	assert_int_equal(rd.err, ST_OK);
	assert_int_equal(rd.read.next_offset, 1);
	assert_int_equal(cl.err, ST_OK);
	for (struct lblock *b = rd.read.blocks, *next; b; b = next) {
		next = b->next;
		lblock_unref(&k->blocks, b);
	}
	kit_drop(k, &l);
	assert_true(kit_stop(k));
}

/* --- failures ---------------------------------------------------------------------------- */

static void test_engine_failed_flush_takes_directory_offline_and_is_not_repeated(void **state)
{
	struct fixture *f = *state;
	struct kit *k = &f->kit;
	struct kit_log l, m;
	assert_int_equal(kit_open(k, &l, 1, true), ST_OK);
	assert_int_equal(kit_open(k, &m, 2, true), ST_OK);
	assert_int_equal(kit_append(k, &l, 1, 100, 1, false), ST_OK);
	io_fault_plan(&f->fault, FAULT_FDATASYNC, 1, -EIO, false);
	assert_int_equal(kit_append(k, &l, 1, 100, 1, false), ST_E_IO);
	assert_int_equal(f->fault.seen[FAULT_FDATASYNC], 1);
	assert_int_equal(kit_append(k, &l, 1, 100, 1, false), ST_E_OFFLINE);
	assert_int_equal(kit_append(k, &m, 1, 100, 1, false), ST_E_OFFLINE);
	assert_int_equal(f->fault.seen[FAULT_FDATASYNC], 1);
	assert_int_equal(metric_get(&k->metrics.offline_dirs), 1);
	struct kit_log n;
	assert_int_equal(kit_open(k, &n, 3, true), ST_E_OFFLINE);
	kit_drop(k, &l);
	kit_drop(k, &m);
	assert_false(kit_stop(k));
	kit_start(k);
	assert_false(store_is_clean(k->store));
	assert_int_equal(kit_open(k, &l, 1, false), ST_OK);
	assert_true(l.opened.open.recovered);
	assert_true(
		l.next_offset >= 1); /* the acknowledged one; the failed one may be there, too */
	kit_drop(k, &l);
	assert_true(kit_stop(k));
}

static void test_engine_failed_flush_is_final_whatever_its_reason(void **state)
{
	struct fixture *f = *state;
	struct kit *k = &f->kit;
	struct kit_log l;
	static const enum fault_op flushes[] = {FAULT_FSYNC, FAULT_FSYNC_DIR, FAULT_FDATASYNC};
	for (size_t i = 0; i < array_size(flushes); i++) {
		assert_int_equal(kit_open(k, &l, (uint8_t)(i + 1), true), ST_OK);
		assert_int_equal(kit_append(k, &l, 1, 10, 1, false), ST_OK);
		io_fault_plan(&f->fault, flushes[i], 1, -ENOSPC, false);
		/* straight to a file whose name has to be durable first */
		assert_int_equal(kit_append(k, &l, 1, 100000, 1, false), ST_E_IO);
		assert_int_equal(kit_append(k, &l, 1, 10, 1, false), ST_E_OFFLINE);
		io_fault_plan(&f->fault, FAULT_ANY, 0, 0, false);
		kit_drop(k, &l);
		assert_false(kit_stop(k));
		kit_start(k);
	}
	assert_true(kit_stop(k));
}

static void test_engine_failed_write_fails_all_appends_behind_it(void **state)
{
	struct fixture *f = *state;
	struct kit *k = &f->kit;
	struct kit_log l;
	struct st_req r[3];
	assert_int_equal(kit_open(k, &l, 1, true), ST_OK);
	io_fault_plan(&f->fault, FAULT_WRITE, 2, -EIO, false);
	for (int i = 0; i < 3; i++) {
		uint32_t n = kit_batch(kit_buffer(), 1 << 20, l.next_offset, 1, 50000, 1);
		kit_append_req(k, &l, &r[i], kit_buffer(), n, false);
		engine_request(k->engine, &r[i]);
	}
	assert_int_equal(kit_run(k), 3);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(r[i].err, ST_E_IO);
		kit_keep(k, &r[i]);
	}
	assert_int_equal(f->fault.seen[FAULT_FDATASYNC], 0);
	assert_int_equal(kit_append(k, &l, 1, 1, 1, false), ST_E_OFFLINE);
	kit_drop(k, &l);
	assert_false(kit_stop(k));
}

static void test_engine_failed_write_of_a_group_fails_all_that_are_in_it(void **state)
{
	struct fixture *f = *state;
	struct kit *k = &f->kit;
	struct kit_log l[2];
	struct st_req r[2];
	for (int i = 0; i < 2; i++)
		assert_int_equal(kit_open(k, &l[i], (uint8_t)(i + 1), true), ST_OK);
	io_fault_plan(&f->fault, FAULT_WRITE, 1, -EIO, false);
	for (int i = 0; i < 2; i++) {
		uint32_t n = kit_batch(kit_buffer(), 1 << 20, 0, 1, 500, 1);
		kit_append_req(k, &l[i], &r[i], kit_buffer(), n, false);
		engine_request(k->engine, &r[i]);
	}
	assert_int_equal(kit_run(k), 2);
	for (int i = 0; i < 2; i++)
		assert_int_equal(r[i].err, ST_E_IO);
	assert_int_equal(f->fault.seen[FAULT_FDATASYNC], 0);
	for (int i = 0; i < 2; i++) {
		kit_keep(k, &r[i]);
		kit_drop(k, &l[i]);
	}
	assert_false(kit_stop(k));
}

static void test_engine_files_grow_before_a_commit_needs_the_room(void **state)
{
	struct fixture *f = *state;
	struct kit *k = &f->kit;
	struct kit_log l;
	assert_int_equal(kit_open(k, &l, 1, true), ST_OK);
	assert_int_equal(kit_append(k, &l, 1, 200000, 1, false), ST_OK);
	kit_run(k);
	assert_int_equal(f->fault.seen[FAULT_FALLOCATE], 2); /* for the append, and ahead */
	assert_int_equal(kit_append(k, &l, 1, 100000, 1, false), ST_OK);
	assert_int_equal(f->fault.seen[FAULT_FALLOCATE], 2);
	assert_int_equal(kit_read_all(k, &l, 1), 2);
	kit_drop(k, &l);
	assert_true(kit_stop(k));
}

static void test_engine_full_disk_refuses_and_log_goes_on_later(void **state)
{
	struct fixture *f = *state;
	struct kit *k = &f->kit;
	struct kit_log l;
	struct st_req r[2];
	assert_int_equal(kit_open(k, &l, 1, true), ST_OK);
	f->mem.room = 262144 + 8192; /* none for growing ahead */
	assert_int_equal(kit_append(k, &l, 1, 260000, 1, false), ST_OK);
	struct kit_log before = l;
	lblock_ref(before.tail);
	for (int i = 0; i < 2; i++) {
		uint32_t n = kit_batch(kit_buffer(), 1 << 20, l.next_offset, 1, 100000, 1);
		kit_append_req(k, &l, &r[i], kit_buffer(), n, false);
		engine_request(k->engine, &r[i]);
	}
	assert_int_equal(kit_run(k), 2);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(r[i].err, ST_E_NOSPACE);
		kit_keep(k, &r[i]);
	}
	/* what was already on its way behind them is refused, too */
	assert_int_equal(kit_append(k, &l, 1, 10, 1, false), ST_E_NOSPACE);
	kit_drop(k, &l);
	l = before;
	assert_int_equal(
		kit_append(k, &l, 1, 3000, 1, false), ST_OK); /* there is room, but not ahead */
	f->mem.room = UINT64_MAX;
	assert_int_equal(kit_append(k, &l, 1, 100000, 1, false), ST_OK);
	assert_int_equal(kit_read_all(k, &l, 1), 3);
	assert_int_equal(metric_get(&k->metrics.offline_dirs), 0);
	kit_drop(k, &l);
	assert_true(kit_stop(k));
}

static void test_engine_short_transfers_and_again_are_carried_on(void **state)
{
	struct fixture *f = *state;
	struct kit *k = &f->kit;
	struct kit_log l;
	assert_int_equal(kit_open(k, &l, 1, true), ST_OK);
	static const int results[] = {512, 8192, 5000, -EAGAIN, -EINTR, 4096};
	for (size_t i = 0; i < array_size(results); i++) {
		io_fault_plan(&f->fault, FAULT_WRITE, 1, results[i], false);
		assert_int_equal(kit_append(k, &l, 2, 30000, 1, false), ST_OK);
		assert_int_equal(f->fault.failed, 1);
		io_fault_plan(&f->fault, FAULT_WRITE, 1, results[i], false); /* filling, now */
		release(k, &l);
		assert_int_equal(f->fault.failed, 1);
		io_fault_plan(&f->fault, FAULT_READ, 1, results[i], false);
		assert_int_equal(kit_read_all(k, &l, 1), l.next_offset);
		assert_int_equal(f->fault.failed, 1);
	}
	io_fault_plan(&f->fault, FAULT_WRITE, 1, -EAGAIN, true); /* not for ever */
	assert_int_equal(kit_append(k, &l, 2, 30000, 1, false), ST_E_IO);
	io_fault_plan(&f->fault, FAULT_ANY, 0, 0, false);
	kit_drop(k, &l);
	assert_false(kit_stop(k));
}

static void test_engine_failed_read_fails_only_its_request(void **state)
{
	struct fixture *f = *state;
	struct kit *k = &f->kit;
	struct kit_log l;
	struct st_req r;
	assert_int_equal(kit_open(k, &l, 1, true), ST_OK);
	assert_int_equal(kit_append(k, &l, 2, 30000, 1, false), ST_OK);
	release(k, &l);
	io_fault_plan(&f->fault, FAULT_READ, 1, -EIO, false);
	assert_int_equal(kit_read(k, &l, 0, 1, 20, &r), ST_E_CORRUPT);
	assert_int_equal(kit_read(k, &l, 0, 1, 20, &r), ST_OK);
	assert_int_equal(kit_append(k, &l, 2, 30000, 1, false), ST_OK);
	kit_drop(k, &l);
	assert_true(kit_stop(k));
}

/*
 * The n-th operation of any kind fails, for every n of a run that creates, appends, rolls and
 * stops. Whatever was acknowledged is there afterwards.
 */
static void test_engine_any_single_failure_loses_nothing_acknowledged(void **state)
{
	struct fixture *f = *state;
	struct kit *k = &f->kit;
	static const int errors[] = {-EIO, -ENOSPC};
	assert_true(kit_stop(k));
	for (size_t e = 0; e < array_size(errors); e++) {
		bool failed = true;
		for (uint64_t n = 1; failed; n++) {
			struct kit_log l;
			io_mem_fini(&f->mem);
			io_mem_init(&f->mem);
			io_fault_plan(&f->fault, FAULT_ANY, 0, 0, false);
			kit_start(k);
			io_fault_plan(&f->fault, FAULT_ANY, n, errors[e], false);
			int64_t acked = 0;
			if (kit_open(k, &l, 1, true) == ST_OK) {
				for (int i = 0; i < 12; i++) {
					uint32_t size = i % 5 == 2 ? 90000 : 3000;
					if (kit_append(k, &l, 1, size, 1, i % 4 == 3) != ST_OK)
						break;
					acked = l.next_offset;
					if (i % 6 == 5)
						kit_release_all(k);
				}
			}
			kit_drop(k, &l);
			kit_stop(k);
			failed = f->fault.failed > 0;
			io_fault_plan(&f->fault, FAULT_ANY, 0, 0, false);
			kit_start(k);
			enum st_err err = kit_open(k, &l, 1, false);
			assert_true(err == ST_OK || (err == ST_E_NOT_FOUND && acked == 0));
			if (err == ST_OK) {
				assert_true(l.next_offset >= acked);
				kit_read_all(k, &l, 1);
				assert_int_equal(kit_append(k, &l, 1, 3000, 1, false), ST_OK);
			}
			kit_drop(k, &l);
			assert_true(kit_stop(k));
		}
	}
}

/* The same while a log is recovered: no failure there costs anything that the next attempt cannot
 * find. */
static void test_engine_any_single_failure_of_a_start_loses_nothing(void **state)
{
	struct fixture *f = *state;
	struct kit *k = &f->kit;
	struct kit_log l;
	char err[512];
	assert_int_equal(kit_open(k, &l, 1, true), ST_OK);
	for (int i = 0; i < 12; i++)
		assert_int_equal(kit_append(k, &l, 1, i % 4 ? 3000 : 90000, 1, i == 5), ST_OK);
	kit_drop(k, &l);
	kit_crash(k);
	bool failed = true;
	for (uint64_t n = 1; failed; n++) {
		io_fault_plan(&f->fault, FAULT_ANY, n, -EIO, false);
		const struct store_config sc = kit_store_config(k);
		k->store = store_open(k->io, &sc, err, sizeof(err));
		if (k->store) {
			const struct engine_config cfg = {.max_logs = 100};
			struct kit_log m;
			k->engine = engine_create(k->io, k->store, &cfg);
			if (kit_open(k, &m, 1, true) == ST_OK) {
				assert_int_equal(m.next_offset, 12);
				kit_drop(k, &m);
			}
			kit_crash(k);
		}
		failed = f->fault.failed > 0;
		io_fault_plan(&f->fault, FAULT_ANY, 0, 0, false);
		kit_start(k);
		assert_int_equal(kit_open(k, &l, 1, false), ST_OK);
		assert_int_equal(l.next_offset, 12);
		kit_read_all(k, &l, 1);
		kit_drop(k, &l);
		kit_crash(k);
	}
}

static void test_engine_with_two_directories_finds_logs_and_makes_none_when_one_is_offline(
	void **state)
{
	struct fixture *f = *state;
	struct kit *k = &f->kit;
	struct kit_log l, m, n;
	assert_true(kit_stop(k));
	snprintf(k->dirs[1], sizeof(k->dirs[1]), "/more");
	k->dir_count = 2;
	kit_start(k);
	memset(&l, 0, sizeof(l));
	for (uint8_t id = 1; id <= 2; id++) {
		struct st_req r = {.op = ST_OPEN};
		memset(r.open.topic_id.b, id, sizeof(r.open.topic_id.b));
		r.open.partition = 3;
		r.open.topic[0] = 't';
		r.open.create = true;
		assert_int_equal(kit_do(k, &r), ST_OK);
		assert_int_equal(r.open.dir, id - 1); /* the one that has the fewest */
	}
	assert_true(kit_stop(k));
	kit_start(k);
	assert_int_equal(kit_open(k, &l, 1, true), ST_OK);
	assert_int_equal(kit_open(k, &m, 2, true), ST_OK);
	assert_int_equal(m.opened.open.dir, 1);
	io_fault_plan(&f->fault, FAULT_FDATASYNC, 1, -EIO, false);
	assert_int_equal(kit_append(k, &m, 1, 10, 1, false), ST_E_IO);
	assert_int_equal(kit_append(k, &l, 1, 10, 1, false), ST_OK); /* the other one goes on */
	assert_int_equal(kit_close(k, &m), ST_E_OFFLINE);
	/* it is there, but cannot be seen: it must not be made again empty */
	assert_int_equal(kit_open(k, &m, 2, true), ST_E_OFFLINE);
	assert_int_equal(kit_open(k, &n, 3, true), ST_E_OFFLINE);
	kit_drop(k, &l);
	kit_stop(k);
	kit_start(k);
	assert_false(store_is_clean(k->store));
	assert_int_equal(kit_open(k, &l, 1, false), ST_OK);
	assert_false(l.opened.open.recovered); /* its directory was healthy */
	assert_int_equal(kit_open(k, &m, 2, false), ST_OK);
	assert_true(m.opened.open.recovered);
	kit_drop(k, &l);
	kit_drop(k, &m);
	assert_true(kit_stop(k));
}

static void test_engine_written_durability_flushes_only_in_checkpoints(void **state)
{
	struct fixture *f = *state;
	struct kit *k = &f->kit;
	struct kit_log l;
	assert_true(kit_stop(k));
	k->durability = ST_WRITTEN;
	kit_start(k);
	assert_int_equal(kit_open(k, &l, 1, true), ST_OK);
	io_fault_plan(&f->fault, FAULT_ANY, 0, 0, false);
	for (int i = 0; i < 10; i++)
		assert_int_equal(kit_append(k, &l, 1, 3000, 1, i == 5), ST_OK);
	assert_int_equal(f->fault.seen[FAULT_FDATASYNC] + f->fault.seen[FAULT_FSYNC], 0);
	kit_drop(k, &l);
	assert_true(kit_stop(k));
	assert_true(f->fault.seen[FAULT_FDATASYNC] > 0);
}

/* A checkpoint; what is below the log's start goes. */
static void settle(struct kit *k, int64_t ms)
{
	for (int i = 0; i < 200; i++) {
		k->now_ms += ms;
		kit_step(k);
	}
}

/* Retention leaves one segment behind the active one. */
static void retain(struct kit *k, struct kit_log *l)
{
	struct st_req r = {.op = ST_RETAIN,
		.log = l->log,
		.retain = {.policy = {.remove = true, .retention_ms = -1, .retention_bytes = 1},
			.limit = l->next_offset,
			.now_ms = k->now_ms}};
	assert_int_equal(kit_do(k, &r), ST_OK);
}

/* Of an append beside which no checkpoint is made. */
static uint64_t flushes_of_append(struct fixture *f, struct kit_log *l, bool roll)
{
	struct kit *k = &f->kit;
	assert_int_equal(kit_append(k, l, 1, 1, 1, false), ST_OK); /* the one that is due */
	settle(k, 1);
	uint64_t checkpoints = metric_get(&k->metrics.checkpoints_total);
	io_fault_plan(&f->fault, FAULT_ANY, 0, 0, false);
	assert_int_equal(kit_append(k, l, 1, 100000, 1, roll), ST_OK);
	assert_int_equal(metric_get(&k->metrics.checkpoints_total), checkpoints);
	return f->fault.seen[FAULT_FDATASYNC];
}

static void test_engine_heavy_log_recycles_removed_segments_and_flushes_once(void **state)
{
	struct fixture *f = *state;
	struct kit *k = &f->kit;
	struct kit_log l;
	assert_true(kit_stop(k));
	f->mem.reaches = true;
	kit_start(k);
	assert_int_equal(kit_open(k, &l, 1, true), ST_OK);
	assert_int_equal(flushes_of_append(f, &l, false), 2); /* the journal, and the segment */
	for (int i = 0; i < 3; i++) {
		assert_int_equal(kit_append(k, &l, 1, 100000, 1, i > 0), ST_OK);
		assert_int_equal(flushes_of_append(f, &l, false), 2);
	}
	assert_int_equal(metric_get(&k->metrics.recycled_total), 0);
	retain(k, &l);
	settle(k, 20);
	int64_t start = l.segment;
	assert_int_equal(flushes_of_append(f, &l, true), 1); /* the journal's reaches both */
	assert_int_equal(metric_get(&k->metrics.recycled_total), 1);
	assert_int_equal(flushes_of_append(f, &l, false), 1);
	assert_int_equal(flushes_of_append(f, &l, false), 1);
	assert_int_equal(flushes_of_append(f, &l, false), 2); /* beyond the end of the old file */
	assert_int_equal(flushes_of_append(f, &l, true), 2);  /* there was one */
	struct st_req r;
	for (int64_t at = start; at < l.next_offset; at++) {
		assert_int_equal(kit_read(k, &l, at, 1, 8, &r), ST_OK);
		assert_int_equal(r.read.base_offset, at);
	}
	int64_t end = l.next_offset;
	kit_drop(k, &l);
	kit_crash(k);
	kit_start(k);
	assert_int_equal(kit_open(k, &l, 1, false), ST_OK);
	assert_int_equal(l.next_offset, end);
	for (int64_t at = start; at < end; at++)
		assert_int_equal(kit_read(k, &l, at, 1, 8, &r), ST_OK);
	kit_drop(k, &l);
	assert_true(kit_stop(k));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_engine_appends_are_read_back_as_written),
		T(test_engine_large_batches_cross_blocks_and_need_more_blocks_than_given),
		T(test_engine_read_stops_at_limit),
		T(test_engine_clean_stop_leaves_nothing_to_play),
		T(test_engine_closed_log_opens_again_as_it_was),
		T(test_engine_logs_that_wait_share_one_cycle),
		T(test_engine_rolls_to_named_segment_and_reads_across),
		T(test_engine_looks_up_records_by_time_also_in_compressed_batches),
		T(test_engine_deleted_log_is_gone_even_when_deletion_stops_half_way),
		T(test_engine_deletion_waits_for_reads),
		T(test_engine_failed_flush_takes_directory_offline_and_is_not_repeated),
		T(test_engine_failed_flush_is_final_whatever_its_reason),
		T(test_engine_failed_write_fails_all_appends_behind_it),
		T(test_engine_failed_write_of_a_group_fails_all_that_are_in_it),
		T(test_engine_files_grow_before_a_commit_needs_the_room),
		T(test_engine_full_disk_refuses_and_log_goes_on_later),
		T(test_engine_short_transfers_and_again_are_carried_on),
		T(test_engine_failed_read_fails_only_its_request),
		T(test_engine_any_single_failure_loses_nothing_acknowledged),
		T(test_engine_any_single_failure_of_a_start_loses_nothing),
		T(test_engine_with_two_directories_finds_logs_and_makes_none_when_one_is_offline),
		T(test_engine_written_durability_flushes_only_in_checkpoints),
		T(test_engine_heavy_log_recycles_removed_segments_and_flushes_once),
	};
	kit_be_quiet();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
