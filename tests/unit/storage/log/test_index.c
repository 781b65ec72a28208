/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/storage/io_mem.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/prng.h"
#include "storage/log/log.h"

static void test_index_has_an_entry_for_each_gap_and_finds_the_last_one_below(void **state)
{
	struct index x;
	struct prng prng = {.s = 11};
	int64_t offset = 1000, starts[2000];
	uint64_t pos = 0, positions[2000];
	assert_int_equal(index_init(&x), 0);
	for (int i = 0; i < 2000; i++) {
		uint32_t size = (uint32_t)(61 + prng_below(&prng, i % 100 == 0 ? 60000 : 3000));
		const struct scan_batch b = {.base_offset = offset, .pos = pos, .max_timestamp = i};
		index_add(&x, &b);
		starts[i] = offset;
		positions[i] = pos;
		offset += 1 + (int64_t)prng_below(&prng, 20);
		pos += size;
	}
	assert_int_equal(x.entries[0].pos, 0);
	for (uint32_t e = 1; e < x.count; e++)
		assert_true(x.entries[e].pos - x.entries[e - 1].pos >= LOG_INDEX_GAP);
	for (int i = 0; i < 2000; i++) {
		const struct fmt_index_entry *e = &x.entries[index_find(&x, starts[i])];
		assert_true(e->offset <= starts[i]);
		/* so a read of one block and a gap from the entry on holds the batch's beginning */
		assert_true(positions[i] - e->pos < LOG_INDEX_GAP);
		assert_true(e->max_timestamp >= i);
	}
	assert_int_equal(index_find(&x, INT64_MAX), x.count - 1);
	index_fini(&x);
}

static void test_segment_grows_by_doubling_steps_of_whole_pages(void **state)
{
	struct segment s = {0};
	uint64_t steps = 0;
	for (uint64_t end = 1; end < (200ull << 20); end += 100000) {
		if (end <= s.file_size)
			continue;
		uint64_t size = log_grown_size(&s, end);
		assert_true(size >= end && size % 4096 == 0 && size - end <= (32u << 20));
		assert_true(size >= s.file_size * 2 || size - s.file_size >= (32u << 20));
		s.file_size = size;
		steps++;
	}
	assert_true(steps <= 8 + 7);
	/* one append far beyond the end fits, too */
	assert_true(log_grown_size(&s, 1ull << 30) >= 1ull << 30);
}

struct names {
	uint32_t count;
};

static void count_name(void *arg, const char *name)
{
	((struct names *)arg)->count++;
}

static struct fmt_clean_log clean_log(uint8_t id, int32_t partition)
{
	return (struct fmt_clean_log){.topic_id = {{id}},
		.partition = partition,
		.end_offset = 9,
		.segment = 4,
		.segment_pos = 70};
}

static void test_store_gives_each_mark_once_and_keeps_the_untaken(void **state)
{
	struct io_mem *m = malloc(sizeof(*m));
	struct io *io = io_mem_init(m);
	char dirs[1][256] = {"/d"}, err[200];
	struct fmt_clean_log got;
	struct store *s = store_open(io, dirs, 1, 3, err, sizeof(err));
	assert_non_null(s);
	assert_true(store_is_clean(s));
	for (int i = 9; i >= 0; i--) { /* in any order */
		struct fmt_clean_log log = clean_log((uint8_t)(i % 3), i);
		assert_int_equal(store_put_clean(s, 0, &log), 0);
	}
	store_close(s, io, true);
	s = store_open(io, dirs, 1, 3, err, sizeof(err));
	assert_true(store_is_clean(s));
	assert_null(mem_find(m, "/d/clean"));
	for (int i = 0; i < 5; i++) {
		struct fmt_clean_log want = clean_log((uint8_t)(i % 3), i);
		assert_true(store_take_clean(s, 0, &want.topic_id, i, &got));
		assert_memory_equal(&got, &want, sizeof(got));
		assert_false(store_take_clean(s, 0, &want.topic_id, i, &got));
	}
	assert_false(store_take_clean(s, 0, &got.topic_id, 77, &got));
	store_close(s, io, true);
	s = store_open(io, dirs, 1, 3, err, sizeof(err));
	for (int i = 0; i < 10; i++) {
		struct fmt_clean_log want = clean_log((uint8_t)(i % 3), i);
		assert_int_equal(store_take_clean(s, 0, &want.topic_id, i, &got), i >= 5);
	}
	/* a directory that failed gets no marker */
	store_set_offline(s, 0);
	assert_true(store_any_offline(s));
	store_close(s, io, true);
	assert_null(mem_find(m, "/d/clean"));
	s = store_open(io, dirs, 1, 3, err, sizeof(err));
	assert_false(store_is_clean(s));
	store_close(s, io, false);
	io_mem_fini(m);
	free(m);
}

static void test_store_finishes_deletions_and_leaves_other_names_alone(void **state)
{
	struct io_mem *m = malloc(sizeof(*m));
	struct io *io = io_mem_init(m);
	char dirs[1][256] = {"/d"}, err[200], path[IO_PATH_MAX];
	store_close(store_open(io, dirs, 1, 3, err, sizeof(err)), io, true);
	const struct uuid id = {{1}};
	char name[FMT_NAME_SIZE];
	struct io_file *file = NULL;
	fmt_log_name(name, &id, 2);
	snprintf(path, sizeof(path), "/d/%s.deleted", name);
	assert_int_equal(mem_mkdir(io, path), 0);
	for (int i = 0; i < 100; i++) { /* more than are listed at once */
		snprintf(path, sizeof(path), "/d/%s.deleted/%020d.log", name, i);
		assert_int_equal(mem_open(io, path, IO_CREATE, &file), 0);
		mem_close(io, file);
	}
	assert_int_equal(mem_mkdir(io, "/d/mine.deleted"), 0);
	store_close(store_open(io, dirs, 1, 3, err, sizeof(err)), io, false);
	struct names n = {0};
	assert_int_equal(mem_list(io, "/d", count_name, &n), 0);
	assert_int_equal(n.count, 2); /* meta and mine.deleted */
	assert_non_null(mem_find(m, "/d/mine.deleted"));
	io_mem_fini(m);
	free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_index_has_an_entry_for_each_gap_and_finds_the_last_one_below),
		cmocka_unit_test(test_segment_grows_by_doubling_steps_of_whole_pages),
		cmocka_unit_test(test_store_gives_each_mark_once_and_keeps_the_untaken),
		cmocka_unit_test(test_store_finishes_deletions_and_leaves_other_names_alone),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
