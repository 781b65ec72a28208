/* SPDX-License-Identifier: Apache-2.0 */
/* The block index of a segment in memory, the growth of its file, and the store's directories. */
#include "unit/storage/io_mem.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/crc.h"
#include "base/log.h"
#include "base/prng.h"
#include "storage/log/log.h"

#define BATCHES 2000

static void test_index_has_an_entry_for_each_block_and_finds_the_one_a_batch_begins_in(void **state)
{
	static const struct uuid id = {{9}};
	static uint8_t bytes[70000];
	struct log_env env = {0};
	struct log *l = log_new(0, &id, 2, "t", 1, 1000);
	struct segment *s = log_active(l);
	struct prng prng = {.s = 11};
	uint32_t seed = log_seed(l, s);
	int64_t starts[BATCHES];
	uint64_t positions[BATCHES];
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 31 >> 3);
	for (int i = 0; i < BATCHES; i++) {
		uint32_t size = (uint32_t)(61 + prng_below(&prng, i % 100 == 0 ? 60000 : 3000));
		const struct scan_batch b = {
			.base_offset = starts[i] = s->end_offset,
			.last_offset = s->end_offset + (int64_t)prng_below(&prng, 20),
			.pos = positions[i] = s->end_pos,
			.max_timestamp = i,
		};
		assert_int_equal(blocks_reserve(s, s->end_pos + size), 0);
		blocks_add_batch(s, seed, &b);
		for (uint32_t at = 0, n; at < size; at += n) { /* in pieces */
			uint32_t piece = 1 + (uint32_t)prng_below(&prng, 9000);
			n = min_of(size - at, piece);
			blocks_add_bytes(s, seed, bytes + at, n);
		}
		assert_int_equal(s->block_count, (s->end_pos + BIDX_BLOCK - 1) / BIDX_BLOCK);
	}
	for (int i = 0; i < BATCHES; i++) {
		int64_t k = bidx_find(s->blocks, s->block_count, starts[i]);
		assert_true(k >= 0);
		assert_int_equal(k, positions[i] / BIDX_BLOCK);
		assert_true(s->blocks[k].first_offset <= starts[i]);
		assert_true(s->blocks[k].first_pos <= positions[i] % BIDX_BLOCK);
		assert_true(s->blocks[k].max_timestamp >= i);
	}
	assert_int_equal(s->max_timestamp, BATCHES - 1);
	log_free(&env, l);
}

static void test_index_sums_depend_on_bytes_block_segment_and_log(void **state)
{
	static const struct uuid id = {{9}}, other = {{8}};
	uint8_t byte = 7;
	uint32_t seeds[] = {
		bidx_seed(&id, 2, 0),
		bidx_seed(&id, 2, 1),
		bidx_seed(&id, 3, 0),
		bidx_seed(&other, 2, 0),
	};
	uint32_t sums[8];
	for (size_t i = 0; i < 8; i++)
		sums[i] = crc32c(bidx_sum_begin(seeds[i / 2], i % 2), &byte, 1);
	for (size_t i = 0; i < 8; i++)
		for (size_t j = 0; j < i; j++)
			assert_int_not_equal(sums[i], sums[j]);
}

static void test_segment_grows_by_doubling_steps_of_whole_pages(void **state)
{
	struct segment s = {0};
	uint64_t steps = 0;
	for (uint64_t end = 1; end < (200ull << 20); end += 100000) {
		if (end <= s.file_size)
			continue;
		uint64_t size = segment_grown_size(&s, end);
		assert_true(size >= end && size % 4096 == 0 && size - end <= (32u << 20));
		assert_true(size >= s.file_size * 2 || size - s.file_size >= (32u << 20));
		s.file_size = size;
		steps++;
	}
	assert_true(steps <= 8 + 7);
	/* one append far beyond the end fits, too */
	assert_true(segment_grown_size(&s, 1ull << 30) >= 1ull << 30);
}

struct names {
	uint32_t count;
};

static void count_name(void *arg, const char *name)
{
	((struct names *)arg)->count++;
}

static struct store_config config_of(char (*dirs)[256], uint16_t count)
{
	return (struct store_config){
		.dirs = dirs,
		.dir_count = count,
		.workers = 2,
		.journal_bytes = 64 << 10,
		.seed = 3,
	};
}

static void test_store_finishes_deletions_and_leaves_other_names_alone(void **state)
{
	struct io_mem *m = malloc(sizeof(*m));
	struct io *io = io_mem_init(m);
	char dirs[1][256] = {"/d"}, err[200], path[IO_PATH_MAX];
	const struct store_config sc = config_of(dirs, 1);
	store_close(store_open(io, &sc, err, sizeof(err)));
	const struct uuid id = {{1}};
	char name[FMT_NAME_SIZE];
	struct io_file *file = NULL;
	struct names before = {0}, after = {0};
	assert_int_equal(mem_list(io, "/d", count_name, &before), 0);
	fmt_log_name(name, &id, 2);
	snprintf(path, sizeof(path), "/d/%s.deleted", name);
	assert_int_equal(mem_mkdir(io, path), 0);
	for (int i = 0; i < 100; i++) { /* more than are listed at once */
		snprintf(path, sizeof(path), "/d/%s.deleted/%020d.log", name, i);
		assert_int_equal(mem_open(io, path, IO_CREATE, &file), 0);
		mem_close(io, file);
	}
	assert_int_equal(mem_mkdir(io, "/d/mine.deleted"), 0);
	struct store *s = store_open(io, &sc, err, sizeof(err));
	assert_non_null(s);
	assert_true(store_is_clean(s));
	store_close(s);
	assert_int_equal(mem_list(io, "/d", count_name, &after), 0);
	assert_int_equal(after.count, before.count + 1);
	assert_non_null(mem_find(m, "/d/mine.deleted"));
	io_mem_fini(m);
	free(m);
}

static void test_store_whose_creation_was_cut_short_is_made_again(void **state)
{
	struct io_mem *m = malloc(sizeof(*m));
	char dirs[1][256] = {"/d"}, err[200];
	const struct store_config sc = config_of(dirs, 1);
	struct io *io = io_mem_init(m);
	store_close(store_open(io, &sc, err, sizeof(err)));
	/* worker 0's checkpoint comes last */
	assert_int_equal(mem_unlink(io, "/d/checkpoint-0.a"), 0);
	struct store *s = store_open(io, &sc, err, sizeof(err));
	assert_non_null(s);
	assert_int_equal(store_log_count(s), 0);
	store_close(s);
	/* any other one is missed */
	assert_int_equal(mem_unlink(io, "/d/checkpoint-1.a"), 0);
	assert_null(store_open(io, &sc, err, sizeof(err)));
	assert_non_null(strstr(err, "checkpoints are missing"));
	io_mem_fini(m);
	free(m);
}

static void test_store_with_a_damaged_directory_goes_on_with_the_others(void **state)
{
	struct io_mem *m = malloc(sizeof(*m));
	struct io *io = io_mem_init(m);
	char dirs[2][256] = {"/d", "/e"}, err[200];
	struct store_config sc = config_of(dirs, 2);
	store_close(store_open(io, &sc, err, sizeof(err)));
	mem_find(m, "/e/checkpoint-1.a")->data[40] ^= 1;
	struct store *s = store_open(io, &sc, err, sizeof(err));
	assert_non_null(s);
	assert_false(store_is_offline(s, 0));
	assert_true(store_is_offline(s, 1));
	assert_true(store_any_offline(s));
	assert_false(store_is_clean(s));
	store_close(s);
	sc.dirs = dirs + 1;
	sc.dir_count = 1;
	assert_null(store_open(io, &sc, err, sizeof(err))); /* alone it is no use */
	assert_non_null(strstr(err, "its checkpoints are damaged"));
	io_mem_fini(m);
	free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_index_has_an_entry_for_each_block_and_finds_the_one_a_batch_begins_in),
		cmocka_unit_test(test_index_sums_depend_on_bytes_block_segment_and_log),
		cmocka_unit_test(test_segment_grows_by_doubling_steps_of_whole_pages),
		cmocka_unit_test(test_store_finishes_deletions_and_leaves_other_names_alone),
		cmocka_unit_test(test_store_whose_creation_was_cut_short_is_made_again),
		cmocka_unit_test(test_store_with_a_damaged_directory_goes_on_with_the_others),
	};
	log_set_level(LOG_LV_ERROR + 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
