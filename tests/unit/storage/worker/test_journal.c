/* SPDX-License-Identifier: Apache-2.0 */
/* The journal, its checkpoints, and what is played after a crash. */
#include "unit/storage/io_mem.h"
#include "unit/storage/kit.h"

#include "base/crc.h"
#include "storage/format/ckpt.h"
#include "storage/format/jrnl.h"
#include "storage/worker/io_fault.h"

#define JOURNAL "/data/journal-0"

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

static void no_fault(struct fixture *f)
{
	io_fault_plan(&f->fault, FAULT_ANY, 0, 0, false);
}

static void append(struct kit *k, struct kit_log *l, uint32_t size)
{
	assert_int_equal(kit_append(k, l, 1, size, 1, false), ST_OK);
}

/* After a crash: the log ends at `end`, is whole, and goes on. */
static void expect(struct kit *k, uint8_t id, int64_t end)
{
	struct kit_log l;
	assert_int_equal(kit_open(k, &l, id, false), ST_OK);
	assert_int_equal(l.next_offset, end);
	assert_int_equal(kit_read_all(k, &l, 100000), end);
	append(k, &l, 700);
	assert_int_equal(kit_read_all(k, &l, 100000), end + 1);
	kit_drop(k, &l);
}

static void expect_refused(struct fixture *f, const char *sentence)
{
	char err[512] = "";
	const struct store_config sc = kit_store_config(&f->kit);
	assert_null(store_open(f->kit.io, &sc, err, sizeof(err)));
	if (!strstr(err, sentence))
		fail_msg("'%s' instead of '%s'", err, sentence);
}

/* How many logs a start finds. */
static uint32_t count_logs(struct kit *k)
{
	char err[512] = "";
	const struct store_config sc = kit_store_config(k);
	struct store *s = store_open(k->io, &sc, err, sizeof(err));
	assert_non_null(s);
	uint32_t n = store_log_count(s);
	store_close(s);
	return n;
}

static uint64_t checkpoints(const struct kit *k)
{
	return metric_get(&k->metrics.checkpoints_total);
}

/* --- going round ------------------------------------------------------------------------- */

static void test_journal_that_fills_up_is_checkpointed_and_goes_on(void **state)
{
	struct fixture *f = *state;
	struct kit *k = &f->kit;
	struct kit_log l;
	k->journal_bytes = 64 << 10;
	kit_start(k);
	assert_int_equal(kit_open(k, &l, 1, true), ST_OK);
	for (int i = 0; i < 600; i++) {
		assert_int_equal(
			kit_append(k, &l, 1, i % 7 ? 3000 : 20000, 1, i % 150 == 149), ST_OK);
		if (i % 100 != 50)
			continue;
		kit_drop(k, &l);
		kit_crash(k);
		kit_start(k);
		assert_int_equal(kit_open(k, &l, 1, false), ST_OK);
		assert_int_equal(l.next_offset, i + 1);
	}
	assert_true(store_lane_of(k->store, 0, 0)->head > 10 * k->journal_bytes);
	assert_true(checkpoints(k) > 10);
	assert_int_equal(kit_read_all(k, &l, 1 << 20), 600);
	kit_drop(k, &l);
	assert_true(kit_stop(k));
}

static void test_journal_full_of_waiting_appends_answers_all_of_them(void **state)
{
	struct fixture *f = *state;
	struct kit *k = &f->kit;
	struct kit_log l[8];
	static struct st_req r[8][12];
	k->journal_bytes = 64 << 10;
	kit_start(k);
	for (uint8_t i = 0; i < 8; i++)
		assert_int_equal(kit_open(k, &l[i], (uint8_t)(i + 1), true), ST_OK);
	for (int j = 0; j < 12; j++) {
		for (int i = 0; i < 8; i++) {
			uint32_t n = kit_batch(kit_buffer(), 1 << 20, l[i].next_offset, 1, 2000, 9);
			kit_append_req(k, &l[i], &r[i][j], kit_buffer(), n, false);
			engine_request(k->engine, &r[i][j]);
		}
	}
	assert_int_equal(kit_run(k), 96);
	for (int i = 0; i < 8; i++) {
		for (int j = 0; j < 12; j++) {
			assert_int_equal(r[i][j].err, ST_OK);
			kit_keep(k, &r[i][j]);
		}
		kit_drop(k, &l[i]);
	}
	kit_crash(k);
	kit_start(k);
	for (uint8_t i = 0; i < 8; i++)
		expect(k, (uint8_t)(i + 1), 12);
	assert_true(kit_stop(k));
}

static void test_journal_thousands_of_opens_cost_a_few_groups(void **state)
{
	struct fixture *f = *state;
	struct kit *k = &f->kit;
	const uint32_t count = 3000;
	struct st_req *r = calloc(count, sizeof(*r));
	k->max_logs = count;
	k->journal_bytes = 8 << 20;
	kit_start(k);
	for (uint32_t i = 0; i < count; i++) {
		r[i] = (struct st_req){.op = ST_OPEN, .open = {.topic = "t", .create = true}};
		r[i].open.topic_id.b[0] = 1;
		r[i].open.partition = (int32_t)i;
		engine_request(k->engine, &r[i]);
	}
	assert_int_equal(kit_run(k), count);
	assert_int_equal(metric_get(&k->metrics.cycles_total), 1);
	for (uint32_t i = 0; i < count; i++)
		assert_int_equal(r[i].err, ST_OK);
	kit_crash(k);
	assert_int_equal(count_logs(k), count);
	kit_start(k);
	assert_true(kit_stop(k));
	assert_int_equal(count_logs(k), count);
	free(r);
}

static void test_journal_opens_beside_a_checkpoint_are_not_played_twice(void **state)
{
	struct fixture *f = *state;
	struct kit *k = &f->kit;
	enum { COUNT = 900 };
	struct st_req *r = calloc(COUNT, sizeof(*r));
	k->max_logs = COUNT;
	k->journal_bytes = 64 << 10; /* the opens fill it several times */
	kit_start(k);
	for (int round = 0; round < 3; round++) {
		for (uint32_t i = 0; i < COUNT / 3; i++) {
			struct st_req *q = &r[(uint32_t)round * COUNT / 3 + i];
			*q = (struct st_req){.op = ST_OPEN, .open = {.topic = "t", .create = true}};
			q->open.topic_id.b[0] = (uint8_t)(round + 1);
			q->open.partition = (int32_t)i;
			engine_request(k->engine, q);
		}
		assert_int_equal(kit_run(k), COUNT / 3);
		kit_crash(k);
		assert_int_equal(count_logs(k), COUNT / 3 * (round + 1));
		kit_start(k);
	}
	assert_true(checkpoints(k) > 0);
	kit_crash(k);
	free(r);
}

/* --- ends -------------------------------------------------------------------------------- */

/* Five groups; *from and *to: where the last one stands in the file. */
static void five_groups(struct fixture *f, uint32_t size, uint64_t *from, uint64_t *to)
{
	struct kit *k = &f->kit;
	struct kit_log l;
	kit_start(k);
	assert_int_equal(kit_open(k, &l, 1, true), ST_OK);
	for (int i = 0; i < 5; i++) {
		*from = FMT_PAGE + store_lane_of(k->store, 0, 0)->head;
		append(k, &l, size);
	}
	*to = FMT_PAGE + store_lane_of(k->store, 0, 0)->head;
	kit_drop(k, &l);
	kit_crash(k);
}

static uint8_t *save(const struct io_file *file)
{
	uint8_t *p = malloc(file->size + 1);
	if (file->size > 0)
		memcpy(p, file->data, file->size);
	return p;
}

/* All files, to start from them again. */
struct image {
	struct io_file files[MEM_FILES];
};

static struct image *image_take(const struct fixture *f)
{
	struct image *m = malloc(sizeof(*m));
	memcpy(m->files, f->mem.files, sizeof(m->files));
	for (int i = 0; i < MEM_FILES; i++)
		m->files[i].data = m->files[i].used ? save(&f->mem.files[i]) : NULL;
	return m;
}

static void image_put(struct fixture *f, const struct image *m)
{
	for (int i = 0; i < MEM_FILES; i++) {
		struct io_file *file = &f->mem.files[i];
		free(file->data);
		*file = m->files[i];
		file->data = file->used ? save(&m->files[i]) : NULL;
		file->capacity = file->size;
	}
}

static void image_free(struct image *m)
{
	for (int i = 0; i < MEM_FILES; i++)
		free(m->files[i].data);
	free(m);
}

static void test_journal_last_group_torn_at_any_sector_is_cut(void **state)
{
	struct fixture *f = *state;
	struct kit *k = &f->kit;
	uint64_t from, to;
	five_groups(f, 9000, &from, &to);
	struct image *m = image_take(f);
	for (uint64_t at = from; at < from + 9000; at += IO_SECTOR) {
		for (int garbage = 0; garbage < 2; garbage++) {
			image_put(f, m);
			memset(mem_find(&f->mem, JOURNAL)->data + at, garbage ? 0xa5 : 0,
				IO_SECTOR);
			kit_start(k);
			expect(k, 1, 4);
			kit_crash(k);
			kit_start(k); /* what was cut off does not come back */
			expect(k, 1, 5);
			kit_crash(k);
		}
	}
	image_free(m);
}

static void test_journal_damaged_group_before_the_last_one_refuses_the_directory(void **state)
{
	struct fixture *f = *state;
	struct kit *k = &f->kit;
	uint64_t from, to;
	five_groups(f, 9000, &from, &to);
	struct io_file *j = mem_find(&f->mem, JOURNAL);
	for (uint64_t group = 2 * FMT_PAGE; group < from; group += 3 * FMT_PAGE) {
		static const uint32_t places[] = {1, 9, 20, 26, 44, 60, 3000, 5000, 9000};
		for (size_t i = 0; i < array_size(places); i++) {
			j->data[group + places[i]] ^= 1;
			expect_refused(f, "acknowledged groups of its journal are damaged");
			j->data[group + places[i]] ^= 1;
		}
	}
	kit_start(k);
	expect(k, 1, 5);
	assert_true(kit_stop(k));
}

static void test_journal_groups_of_an_earlier_round_are_not_played(void **state)
{
	struct fixture *f = *state;
	struct kit *k = &f->kit;
	struct kit_log l;
	k->journal_bytes = 64 << 10;
	kit_start(k);
	assert_int_equal(kit_open(k, &l, 1, true), ST_OK);
	int64_t n = 0;
	for (; n < 60; n++) { /* a crash after each group, wherever in the ring it is */
		append(k, &l, 3000);
		kit_drop(k, &l);
		kit_crash(k);
		kit_start(k);
		assert_int_equal(kit_open(k, &l, 1, false), ST_OK);
		assert_int_equal(l.next_offset, n + 1);
	}
	assert_int_equal(kit_read_all(k, &l, 1 << 20), n);
	kit_drop(k, &l);
	assert_true(kit_stop(k));
}

static void test_journal_of_another_generation_is_refused(void **state)
{
	struct fixture *f = *state;
	uint64_t from, to;
	five_groups(f, 100, &from, &to);
	struct io_file *j = mem_find(&f->mem, JOURNAL);
	struct fmt_jrnl_file h;
	memcpy(&h, j->data, sizeof(h));
	h.journal_id.b[3] ^= 1;
	fmt_seal(&h, sizeof(h), FMT_JRNL_MAGIC);
	memcpy(j->data, &h, sizeof(h));
	expect_refused(f, "journal is missing or damaged");
}

/* --- runs that go past the journal ------------------------------------------------------- */

static struct io_file *segment_file(struct fixture *f, int64_t base)
{
	char name[FMT_NAME_SIZE];
	fmt_segment_name(name, base, "log");
	for (int i = 0; i < MEM_FILES; i++)
		if (f->mem.files[i].used && strstr(f->mem.files[i].path, name))
			return &f->mem.files[i];
	fail_msg("no segment %s", name);
	return NULL;
}

static void test_journal_direct_run_that_is_not_there_is_cut_and_the_log_goes_on(void **state)
{
	struct fixture *f = *state;
	struct kit *k = &f->kit;
	struct kit_log l;
	for (int roll = 0; roll < 2; roll++) {
		kit_start(k);
		assert_int_equal(kit_open(k, &l, (uint8_t)(roll + 1), true), ST_OK);
		append(k, &l, 5000);
		assert_int_equal(kit_append(k, &l, 1, 200000, 1, roll), ST_OK);
		kit_drop(k, &l);
		kit_crash(k);
		struct io_file *s = segment_file(f, roll);
		s->data[roll ? 50000 : 100000] ^= 1;
		kit_start(k);
		assert_true(store_lane_of(k->store, 0, 0)->cut_bytes > 0);
		expect(k, (uint8_t)(roll + 1), 1);
		kit_crash(k); /* the group of the run stands in the journal still */
		kit_start(k);
		expect(k, (uint8_t)(roll + 1), 2);
		assert_true(kit_stop(k));
		io_mem_fini(&f->mem);
		io_mem_init(&f->mem);
	}
}

static void test_journal_direct_run_behind_much_that_was_not_filled_is_kept(void **state)
{
	struct fixture *f = *state;
	struct kit *k = &f->kit;
	struct kit_log l;
	k->journal_bytes = 8 << 20;
	kit_start(k);
	assert_int_equal(kit_open(k, &l, 1, true), ST_OK);
	for (int i = 0; i < 12; i++) /* more than recovery keeps in memory */
		append(k, &l, 50000);
	append(k, &l, 200000);
	for (int i = 0; i < 3; i++)
		append(k, &l, 300);
	kit_drop(k, &l);
	kit_crash(k);
	for (int i = 0; i < 3; i++) { /* again and again */
		kit_start(k);
		kit_crash(k);
	}
	kit_start(k);
	expect(k, 1, 16);
	assert_true(kit_stop(k));
}

/*
 * Everything fails from the n-th operation on, for every n: as if the machine stopped there.
 * Whatever was acknowledged is there afterwards.
 */
static void stop_at_every_operation(struct fixture *f, uint32_t size, uint64_t journal_bytes)
{
	struct kit *k = &f->kit;
	bool stopped = true;
	k->journal_bytes = journal_bytes;
	for (uint64_t n = 1; stopped; n++) {
		struct kit_log l;
		io_mem_fini(&f->mem);
		io_mem_init(&f->mem);
		no_fault(f);
		kit_start(k);
		io_fault_plan(&f->fault, FAULT_ANY, n, -EIO, true);
		int64_t acked = 0;
		if (kit_open(k, &l, 1, true) == ST_OK) {
			for (int i = 0; i < 9; i++) {
				if (kit_append(k, &l, 1, i % 3 ? size : 1000, 1, i == 4) != ST_OK)
					break;
				acked = l.next_offset;
			}
		}
		kit_drop(k, &l);
		kit_crash(k);
		stopped = f->fault.failed > 0;
		no_fault(f);
		kit_start(k);
		enum st_err err = kit_open(k, &l, 1, false);
		assert_true(err == ST_OK || (err == ST_E_NOT_FOUND && acked == 0));
		if (err == ST_OK) {
			assert_true(l.next_offset >= acked);
			kit_read_all(k, &l, 1);
			append(k, &l, size);
		}
		kit_drop(k, &l);
		assert_true(kit_stop(k));
	}
}

static void test_journal_stop_at_every_operation_keeps_what_went_through_it(void **state)
{
	stop_at_every_operation(*state, 7000, 64 << 10);
}

static void test_journal_stop_at_every_operation_keeps_what_went_past_it(void **state)
{
	stop_at_every_operation(*state, 90000, 1 << 20);
}

/* --- checkpoints ------------------------------------------------------------------------- */

static struct io_file *slot(struct fixture *f, uint32_t which)
{
	char name[FMT_NAME_SIZE], path[IO_PATH_MAX];
	fmt_ckpt_name(name, 0, which);
	snprintf(path, sizeof(path), "/data/%s", name);
	struct io_file *file = mem_find(&f->mem, path);
	assert_non_null(file);
	return file;
}

static void test_checkpoint_damaged_gives_way_to_the_older_one_while_the_journal_has_it_all(
	void **state)
{
	struct fixture *f = *state;
	struct kit *k = &f->kit;
	struct kit_log l;
	k->journal_bytes = 256 << 10;
	kit_start(k);
	assert_int_equal(kit_open(k, &l, 1, true), ST_OK);
	while (store_lane_of(k->store, 0, 0)->ckpt_seq < 3)
		append(k, &l, 3000);
	int64_t end = l.next_offset;
	uint32_t newest = store_lane_of(k->store, 0, 0)->ckpt_slot;
	kit_drop(k, &l);
	kit_crash(k);
	slot(f, newest)->data[60] ^= 1;
	kit_start(k);
	expect(k, 1, end++);
	assert_int_equal(kit_open(k, &l, 1, false), ST_E_LIMIT);
	kit_crash(k);
	slot(f, newest)->data[60] ^= 1;
	kit_start(k);
	expect(k, 1, end++);
	/* when the journal has gone on, an old one is of no use */
	struct io_file *older = slot(f, 1 - store_lane_of(k->store, 0, 0)->ckpt_slot);
	uint8_t *saved = save(older);
	uint64_t size = older->size;
	assert_true(kit_stop(k));
	kit_start(k);
	assert_int_equal(kit_open(k, &l, 1, false), ST_OK);
	uint64_t seq = store_lane_of(k->store, 0, 0)->ckpt_seq;
	while (store_lane_of(k->store, 0, 0)->ckpt_seq < seq + 4)
		append(k, &l, 3000);
	newest = store_lane_of(k->store, 0, 0)->ckpt_slot;
	kit_drop(k, &l);
	kit_crash(k);
	slot(f, newest)->data[60] ^= 1;
	memcpy(slot(f, 1 - newest)->data, saved, size);
	free(saved);
	expect_refused(f, "acknowledged groups of its journal are damaged");
	slot(f, 1 - newest)->data[60] ^= 1;
	expect_refused(f, "its checkpoints are damaged");
}

static void test_checkpoint_of_a_clean_stop_leaves_nothing_to_play(void **state)
{
	struct fixture *f = *state;
	struct kit *k = &f->kit;
	struct kit_log l;
	kit_start(k);
	assert_int_equal(kit_open(k, &l, 1, true), ST_OK);
	for (int i = 0; i < 100; i++)
		append(k, &l, 3000);
	kit_drop(k, &l);
	assert_true(kit_stop(k));
	f->mem.pread_bytes = 0;
	kit_start(k);
	assert_true(store_is_clean(k->store));
	assert_int_equal(store_lane_of(k->store, 0, 0)->played_bytes, 0);
	/* small files, and a look behind the journal's end */
	assert_true(f->mem.pread_bytes < (1 << 20) + (64 << 10));
	expect(k, 1, 100);
	assert_true(kit_stop(k));
}

static void test_start_with_another_count_of_workers_is_refused(void **state)
{
	struct fixture *f = *state;
	char err[512] = "";
	uint64_t from, to;
	five_groups(f, 100, &from, &to);
	struct store_config sc = kit_store_config(&f->kit);
	sc.workers = 2;
	assert_null(store_open(f->kit.io, &sc, err, sizeof(err)));
	assert_non_null(strstr(err, "storage.workers"));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_journal_that_fills_up_is_checkpointed_and_goes_on),
		T(test_journal_full_of_waiting_appends_answers_all_of_them),
		T(test_journal_thousands_of_opens_cost_a_few_groups),
		T(test_journal_opens_beside_a_checkpoint_are_not_played_twice),
		T(test_journal_last_group_torn_at_any_sector_is_cut),
		T(test_journal_damaged_group_before_the_last_one_refuses_the_directory),
		T(test_journal_groups_of_an_earlier_round_are_not_played),
		T(test_journal_of_another_generation_is_refused),
		T(test_journal_direct_run_that_is_not_there_is_cut_and_the_log_goes_on),
		T(test_journal_direct_run_behind_much_that_was_not_filled_is_kept),
		T(test_journal_stop_at_every_operation_keeps_what_went_through_it),
		T(test_journal_stop_at_every_operation_keeps_what_went_past_it),
		T(test_checkpoint_damaged_gives_way_to_the_older_one_while_the_journal_has_it_all),
		T(test_checkpoint_of_a_clean_stop_leaves_nothing_to_play),
		T(test_start_with_another_count_of_workers_is_refused),
	};
	kit_be_quiet();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
