/* SPDX-License-Identifier: Apache-2.0 */
/* What a log is after its files have been damaged in each way that a crash, or a bad disk, can do
 * it. */
#include "unit/storage/io_mem.h"
#include "unit/storage/kit.h"

#include "base/crc.h"
#include "storage/log/log.h"

#define BATCHES 6

struct fixture {
	struct io_mem mem;
	struct kit kit;
	/* a log with BATCHES batches of one record, the last one within the last page */
	uint8_t image[1 << 16];
	uint64_t start[BATCHES + 1]; /* of each batch; the end */
};

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

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct kit_log l;
	kit_init(&f->kit, io_mem_init(&f->mem), "/data");
	kit_start(&f->kit);
	assert_int_equal(kit_open(&f->kit, &l, 1, true), ST_OK);
	for (int i = 0; i < BATCHES; i++) {
		f->start[i] = l.pos;
		assert_int_equal(kit_append(&f->kit, &l, 1, 1500, 100 + i, false), ST_OK);
	}
	f->start[BATCHES] = l.pos;
	kit_drop(&f->kit, &l);
	kit_crash(&f->kit);
	memcpy(f->image, segment_file(f, 0)->data, sizeof(f->image));
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

static void damage_reset(struct fixture *f)
{
	struct io_file *s = segment_file(f, 0);
	assert_true(mem_resize(s, 256 * 1024));
	memset(s->data, 0, s->size);
	memcpy(s->data, f->image, sizeof(f->image));
}

/* Opens after the damage: the log must hold exactly `batches`, take appends, and keep that over
 * another crash. */
static void expect(struct fixture *f, int batches, bool cut)
{
	struct kit *k = &f->kit;
	struct kit_log l;
	kit_start(k);
	uint64_t flushes = f->mem.flushes;
	assert_int_equal(kit_open(k, &l, 1, false), ST_OK);
	assert_true(f->mem.flushes > flushes); /* also what is kept may not be durable yet */
	assert_true(l.opened.open.recovered);
	assert_int_equal(l.next_offset, batches);
	assert_int_equal(l.pos, f->start[batches]);
	assert_int_equal(l.opened.open.cut_bytes > 0, cut);
	assert_int_equal(kit_read_all(k, &l, 1), batches);
	/* behind the end there is nothing any more */
	struct io_file *s = segment_file(f, 0);
	for (uint64_t i = l.pos; i < s->size; i++)
		assert_int_equal(s->data[i], 0);
	/* a batch that ends where a cut one began does not wake it up */
	assert_int_equal(kit_append(k, &l, 1, 1500, 7, false), ST_OK);
	kit_drop(k, &l);
	kit_crash(k);
	kit_start(k);
	assert_int_equal(kit_open(k, &l, 1, false), ST_OK);
	assert_int_equal(l.next_offset, batches + 1);
	assert_int_equal(kit_read_all(k, &l, 1), batches + 1);
	kit_drop(k, &l);
	kit_crash(k);
}

static void test_recover_tail_torn_at_every_sector_is_cut(void **state)
{
	struct fixture *f = *state;
	uint64_t last = f->start[BATCHES - 1], end = f->start[BATCHES];
	for (uint64_t at = align_up(last, (uint64_t)512); at < end; at += 512) {
		for (int garbage = 0; garbage < 2; garbage++) {
			damage_reset(f);
			uint8_t *p = segment_file(f, 0)->data;
			memset(p + at, garbage ? 0xa5 : 0, min_of((uint64_t)512, end - at));
			expect(f, BATCHES - 1, true);
		}
	}
}

static void test_recover_every_length_of_a_lost_tail_leaves_whole_batches(void **state)
{
	struct fixture *f = *state;
	for (uint64_t kept = 0; kept <= f->start[BATCHES]; kept += kept % 500 == 61 ? 439 : 61) {
		damage_reset(f);
		uint8_t *p = segment_file(f, 0)->data;
		memset(p + kept, 0, f->start[BATCHES] - kept);
		int whole = 0;
		while (whole < BATCHES && f->start[whole + 1] <= kept)
			whole++;
		expect(f, whole, kept > f->start[whole]);
	}
}

static void test_recover_garbage_and_stale_batches_behind_the_end_are_cut(void **state)
{
	struct fixture *f = *state;
	uint64_t end = f->start[BATCHES];
	damage_reset(f);
	uint8_t *p = segment_file(f, 0)->data;
	memset(p + end, 0x55, 100000);
	expect(f, BATCHES, true);
	/* a batch with a right checksum, and the offset that would come after the one that was lost
	 */
	damage_reset(f);
	p = segment_file(f, 0)->data;
	memset(p + f->start[4], 0, f->start[5] - f->start[4]);
	expect(f, 4, true);
	/* a valid batch with an offset that leaves a gap */
	damage_reset(f);
	p = segment_file(f, 0)->data;
	batch_set_base_offset(p + f->start[5], 6);
	expect(f, 5, true);
	/* only far away, where the file's last page is */
	damage_reset(f);
	p = segment_file(f, 0)->data;
	p[256 * 1024 - 1] = 1;
	expect(f, BATCHES, true);
}

static void test_recover_each_rule_of_a_batch_is_checked(void **state)
{
	struct fixture *f = *state;
	static const struct {
		uint32_t at;
		uint8_t flip;
	} fields[] = {
		{0, 0x80},  /* base offset: negative */
		{8, 0x80},  /* length: negative */
		{9, 0x40},  /* length: behind the end of the file */
		{11, 0x01}, /* length: one less or more */
		{16, 0x01}, /* magic */
		{17, 0x01}, /* crc */
		{21, 0x10}, /* attributes */
		{23, 0x80}, /* last offset delta: negative */
		{26, 0x01}, /* last offset delta */
		{60, 0x01}, /* count */
		{61, 0x01}, /* records */
	};
	for (size_t i = 0; i < array_size(fields); i++) {
		damage_reset(f);
		segment_file(f, 0)->data[f->start[5] + fields[i].at] ^= fields[i].flip;
		expect(f, 5, true);
	}
}

static void test_recover_untouched_log_is_kept_without_a_cut(void **state)
{
	struct fixture *f = *state;
	damage_reset(f);
	expect(f, BATCHES, false);
}

static void test_recover_file_that_ends_within_a_page_is_made_whole(void **state)
{
	struct fixture *f = *state;
	damage_reset(f);
	assert_true(mem_resize(segment_file(f, 0), f->start[5] + 700));
	expect(f, 5, true);
}

static void test_recover_creation_cut_short_is_made_again(void **state)
{
	struct fixture *f = *state;
	struct kit *k = &f->kit;
	struct kit_log l;
	static const char dir[] = "/data/02020202020202020202020202020202-3";
	assert_int_equal(mem_mkdir(&f->mem.io, dir), 0);
	struct io_file *file = NULL;
	char path[IO_PATH_MAX];
	snprintf(path, sizeof(path), "%s/%020d.log", dir, 0);
	assert_int_equal(mem_open(&f->mem.io, path, IO_CREATE, &file), 0);
	mem_close(&f->mem.io, file);
	kit_start(k);
	assert_int_equal(kit_open(k, &l, 2, false), ST_E_NOT_FOUND);
	assert_int_equal(kit_open(k, &l, 2, true), ST_OK);
	assert_int_equal(kit_append(k, &l, 1, 10, 1, false), ST_OK);
	kit_drop(k, &l);
	kit_crash(k);
	/* but data without its log.meta is damage, not a creation */
	snprintf(path, sizeof(path), "%s/log.meta", dir);
	assert_int_equal(mem_unlink(&f->mem.io, path), 0);
	kit_start(k);
	assert_int_equal(kit_open(k, &l, 2, true), ST_E_CORRUPT);
	kit_crash(k);
}

static void test_recover_damage_in_sealed_segment_is_reported_and_not_served(void **state)
{
	struct fixture *f = *state;
	struct kit *k = &f->kit;
	struct kit_log l;
	struct st_req r;
	damage_reset(f);
	kit_start(k);
	assert_int_equal(kit_open(k, &l, 1, false), ST_OK);
	assert_int_equal(kit_append(k, &l, 1, 1500, 1, true), ST_OK);
	kit_drop(k, &l);
	kit_crash(k);
	segment_file(f, 0)->data[f->start[3] + 200] ^= 1;
	/* with its index: the log opens, what is good is served, what is bad is named */
	kit_start(k);
	assert_int_equal(kit_open(k, &l, 1, false), ST_OK);
	assert_int_equal(l.next_offset, BATCHES + 1);
	assert_int_equal(kit_read(k, &l, 0, 1 << 20, 20, &r), ST_OK);
	assert_int_equal(r.read.next_offset, 3);
	assert_int_equal(kit_read(k, &l, 3, 1 << 20, 20, &r), ST_E_CORRUPT);
	assert_int_equal(kit_read(k, &l, 5, 1 << 20, 20, &r), ST_OK);
	kit_drop(k, &l);
	kit_crash(k);
	/* without: the scan finds it, and does not take what is behind it for gone */
	char *path = segment_file(f, 0)->path, index[IO_PATH_MAX];
	snprintf(index, sizeof(index), "%.*s.index", (int)(strlen(path) - 4), path);
	assert_int_equal(mem_unlink(&f->mem.io, index), 0);
	kit_start(k);
	assert_int_equal(kit_open(k, &l, 1, false), ST_E_CORRUPT);
	kit_crash(k);
	/* undamaged, the index is made again */
	segment_file(f, 0)->data[f->start[3] + 200] ^= 1;
	kit_start(k);
	assert_int_equal(kit_open(k, &l, 1, false), ST_OK);
	assert_int_equal(kit_read_all(k, &l, 1), BATCHES + 1);
	kit_drop(k, &l);
	kit_crash(k);
}

static void test_recover_damage_in_active_segment_under_clean_mark_is_not_served(void **state)
{
	struct fixture *f = *state;
	struct kit *k = &f->kit;
	struct kit_log l;
	struct st_req r;
	damage_reset(f);
	kit_start(k);
	assert_int_equal(kit_open(k, &l, 1, false), ST_OK);
	kit_drop(k, &l);
	assert_true(kit_stop(k));
	segment_file(f, 0)->data[f->start[2] + 200] ^= 1;
	kit_start(k);
	assert_int_equal(kit_open(k, &l, 1, false), ST_OK);
	assert_false(l.opened.open.recovered);
	assert_int_equal(l.next_offset, BATCHES);
	assert_int_equal(kit_read(k, &l, 2, 1 << 20, 20, &r), ST_E_CORRUPT);
	assert_int_equal(kit_read(k, &l, 3, 1 << 20, 20, &r), ST_OK);
	kit_drop(k, &l);
	assert_true(kit_stop(k));
	/* a file that has become shorter than the mark says */
	assert_true(mem_resize(segment_file(f, 0), 8192));
	kit_start(k);
	assert_int_equal(kit_open(k, &l, 1, false), ST_E_CORRUPT);
	kit_crash(k);
}

static void test_recover_lost_segment_is_damage(void **state)
{
	struct fixture *f = *state;
	struct kit *k = &f->kit;
	struct kit_log l;
	damage_reset(f);
	kit_start(k);
	assert_int_equal(kit_open(k, &l, 1, false), ST_OK);
	assert_int_equal(kit_append(k, &l, 1, 1500, 1, true), ST_OK);
	assert_int_equal(kit_append(k, &l, 1, 1500, 1, true), ST_OK);
	kit_drop(k, &l);
	kit_crash(k);
	segment_file(f, BATCHES)->used = false;
	kit_start(k);
	assert_int_equal(kit_open(k, &l, 1, false), ST_E_CORRUPT);
	kit_crash(k);
}

static void test_recover_starts_at_the_mark_and_does_not_cut_before_it(void **state)
{
	struct fixture *f = *state;
	struct kit *k = &f->kit;
	struct kit_log l;
	struct st_req r;
	kit_start(k);
	assert_int_equal(kit_open(k, &l, 2, true), ST_OK);
	while (l.pos < 70u << 20)
		assert_int_equal(kit_append(k, &l, 1, 600000, 1, false), ST_OK);
	int64_t end = l.next_offset;
	uint64_t end_pos = l.pos;
	kit_drop(k, &l);
	kit_crash(k);
	struct io_file *s = NULL;
	for (int i = 0; i < MEM_FILES; i++)
		if (f->mem.files[i].used &&
			strstr(f->mem.files[i].path, "0202-3/00000000000000000000.log"))
			s = &f->mem.files[i];
	assert_non_null(s);
	/* behind the mark, a cut; before it, damage that is found when it is read */
	s->data[end_pos - 5] ^= 1;
	s->data[10u << 20] ^= 1;
	uint64_t before = f->mem.pread_bytes;
	kit_start(k);
	assert_int_equal(kit_open(k, &l, 2, false), ST_OK);
	assert_true(f->mem.pread_bytes - before < 2 * (LOG_MARK_BYTES + (3u << 20)));
	assert_true(l.opened.open.recovered && l.opened.open.cut_bytes > 0);
	assert_int_equal(l.next_offset, end - 1);
	assert_int_equal(kit_read(k, &l, (10 << 20) / 600100, 1, 80, &r), ST_E_CORRUPT);
	assert_int_equal(kit_read(k, &l, end - 2, 1, 80, &r), ST_OK);
	kit_drop(k, &l);
	kit_crash(k);
	/* a file that is shorter than what was acknowledged is damage, not a tail to cut */
	assert_true(mem_resize(s, 20u << 20));
	kit_start(k);
	assert_int_equal(kit_open(k, &l, 2, false), ST_E_CORRUPT);
	kit_crash(k);
}

static void test_recover_damaged_small_files_are_refused_or_done_without(void **state)
{
	struct fixture *f = *state;
	struct kit *k = &f->kit;
	struct kit_log l;
	char err[512] = "";
	damage_reset(f);
	kit_start(k);
	assert_int_equal(kit_open(k, &l, 1, false), ST_OK);
	kit_drop(k, &l);
	assert_true(kit_stop(k));
	/* a damaged marker: scan */
	mem_find(&f->mem, "/data/clean")->data[50] ^= 1;
	kit_start(k);
	assert_false(store_is_clean(k->store));
	assert_null(mem_find(&f->mem, "/data/clean"));
	assert_int_equal(kit_open(k, &l, 1, false), ST_OK);
	assert_true(l.opened.open.recovered);
	kit_drop(k, &l);
	kit_crash(k);
	/* a damaged log.meta: that log is not opened */
	struct io_file *meta =
		mem_find(&f->mem, "/data/01010101010101010101010101010101-3/log.meta");
	meta->data[40] ^= 1;
	kit_start(k);
	assert_int_equal(kit_open(k, &l, 1, true), ST_E_CORRUPT);
	kit_crash(k);
	meta->data[40] ^= 1;
	/* a damaged directory meta, or one of another version: no start */
	struct io_file *dir = mem_find(&f->mem, "/data/meta");
	dir->data[30] ^= 1;
	assert_null(store_open(k->io, k->dirs, 1, 1, err, sizeof(err)));
	assert_non_null(strstr(err, "damaged"));
	dir->data[30] ^= 1;
	struct fmt_dir_meta m;
	memcpy(&m, dir->data, sizeof(m));
	m.head.version = 2;
	m.head.crc = 0;
	m.head.crc = crc32c(0, &m, sizeof(m));
	memcpy(dir->data, &m, sizeof(m));
	assert_null(store_open(k->io, k->dirs, 1, 1, err, sizeof(err)));
	assert_non_null(strstr(err, "another version"));
}

static void test_recover_two_names_of_one_directory_are_refused(void **state)
{
	struct fixture *f = *state;
	struct kit *k = &f->kit;
	char err[512] = "";
	snprintf(k->dirs[1], sizeof(k->dirs[1]), "%s", k->dirs[0]);
	assert_null(store_open(k->io, k->dirs, 2, 1, err, sizeof(err)));
	assert_non_null(strstr(err, "same"));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_recover_tail_torn_at_every_sector_is_cut),
		T(test_recover_every_length_of_a_lost_tail_leaves_whole_batches),
		T(test_recover_garbage_and_stale_batches_behind_the_end_are_cut),
		T(test_recover_each_rule_of_a_batch_is_checked),
		T(test_recover_untouched_log_is_kept_without_a_cut),
		T(test_recover_file_that_ends_within_a_page_is_made_whole),
		T(test_recover_creation_cut_short_is_made_again),
		T(test_recover_damage_in_sealed_segment_is_reported_and_not_served),
		T(test_recover_damage_in_active_segment_under_clean_mark_is_not_served),
		T(test_recover_lost_segment_is_damage),
		T(test_recover_starts_at_the_mark_and_does_not_cut_before_it),
		T(test_recover_damaged_small_files_are_refused_or_done_without),
		T(test_recover_two_names_of_one_directory_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
