/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/crc.h"
#include "storage/format/format.h"

/* Every byte of a sealed file counts: changing any one makes it invalid. */
static void each_flip_is_seen(
	uint8_t *p, size_t n, enum fmt_verdict (*check)(const void *, uint64_t))
{
	assert_int_equal(check(p, n), FMT_OK);
	for (size_t i = 0; i < n; i++) {
		for (int bit = 0; bit < 8; bit++) {
			p[i] ^= (uint8_t)(1 << bit);
			assert_int_not_equal(check(p, n), FMT_OK);
			p[i] ^= (uint8_t)(1 << bit);
		}
	}
	for (size_t cut = 0; cut < n; cut++)
		assert_int_not_equal(check(p, cut), FMT_OK);
}

static void test_format_dir_meta_survives_only_unchanged(void **state)
{
	struct fmt_dir_meta m = {.dir_id = {{1, 2, 3}}};
	fmt_seal(&m, sizeof(m), FMT_DIR_MAGIC);
	each_flip_is_seen((uint8_t *)&m, sizeof(m), fmt_dir_meta_check);
	assert_int_equal(fmt_check(&m, sizeof(m), FMT_LOG_MAGIC), FMT_DAMAGED);
	m.dir_id = (struct uuid){{0}};
	fmt_seal(&m, sizeof(m), FMT_DIR_MAGIC);
	assert_int_equal(fmt_dir_meta_check(&m, sizeof(m)), FMT_DAMAGED);
}

static void test_format_other_version_is_foreign_not_damaged(void **state)
{
	struct fmt_dir_meta m = {.dir_id = {{1}}};
	fmt_seal(&m, sizeof(m), FMT_DIR_MAGIC);
	m.head.version = FMT_VERSION + 1;
	m.head.crc = 0;
	m.head.crc = crc32c(0, &m, sizeof(m));
	assert_int_equal(fmt_dir_meta_check(&m, sizeof(m)), FMT_FOREIGN);
}

static void test_format_log_meta_rules(void **state)
{
	struct fmt_log_meta good = {
		.topic_id = {{9}}, .partition = 4, .topic_length = 3, .topic = "abc"};
	fmt_seal(&good, sizeof(good), FMT_LOG_MAGIC);
	each_flip_is_seen((uint8_t *)&good, sizeof(good), fmt_log_meta_check);
	struct fmt_log_meta bad[6];
	for (size_t i = 0; i < array_size(bad); i++)
		bad[i] = good;
	bad[0].partition = -1;
	bad[1].topic_length = 2;
	bad[2].topic_length = 4;
	bad[3].topic_length = 300;
	bad[4].reserved = 1;
	bad[5].log_start_offset = -1;
	for (size_t i = 0; i < array_size(bad); i++) {
		fmt_seal(&bad[i], sizeof(bad[i]), FMT_LOG_MAGIC);
		assert_int_equal(fmt_log_meta_check(&bad[i], sizeof(bad[i])), FMT_DAMAGED);
	}
}

struct clean_file {
	struct fmt_clean head;
	struct fmt_clean_log logs[3];
};

static void clean_seal(struct clean_file *c)
{
	c->head.count = 3;
	fmt_seal(c, sizeof(*c), FMT_CLEAN_MAGIC);
}

static void test_format_clean_marker_rules(void **state)
{
	struct clean_file c = {.head = {.dir_id = {{1}}}};
	for (int i = 0; i < 3; i++)
		c.logs[i] = (struct fmt_clean_log){.topic_id = {{(uint8_t)(i / 2)}},
			.partition = i,
			.end_offset = 10,
			.segment = 5,
			.segment_pos = 100};
	clean_seal(&c);
	each_flip_is_seen((uint8_t *)&c, sizeof(c), fmt_clean_check);
	struct clean_file bad = c;
	bad.logs[1] = bad.logs[0]; /* twice the same log */
	clean_seal(&bad);
	assert_int_equal(fmt_clean_check(&bad, sizeof(bad)), FMT_DAMAGED);
	bad = c;
	bad.logs[2].end_offset = 4;
	clean_seal(&bad);
	assert_int_equal(fmt_clean_check(&bad, sizeof(bad)), FMT_DAMAGED);
	bad = c;
	bad.logs[2].segment_pos = 0;
	clean_seal(&bad);
	assert_int_equal(fmt_clean_check(&bad, sizeof(bad)), FMT_DAMAGED);
	bad = c;
	bad.head.count = 2;
	fmt_seal(&bad, sizeof(bad), FMT_CLEAN_MAGIC);
	assert_int_equal(fmt_clean_check(&bad, sizeof(bad)), FMT_DAMAGED);
}

struct index_file {
	struct fmt_index head;
	struct fmt_index_entry e[3];
};

static void index_seal(struct index_file *x)
{
	x->head.count = 3;
	fmt_seal(x, sizeof(*x), FMT_INDEX_MAGIC);
}

static void test_format_index_rules(void **state)
{
	struct index_file good = {
		.head = {.base_offset = 7, .end_offset = 40, .end_pos = 20000},
		.e = {{7, 0, 1}, {12, 5000, 2}, {30, 11000, 3}},
	};
	index_seal(&good);
	each_flip_is_seen((uint8_t *)&good, sizeof(good), fmt_index_check);
	struct index_file bad[6];
	for (size_t i = 0; i < array_size(bad); i++)
		bad[i] = good;
	bad[0].e[0].offset = 8;
	bad[1].e[0].pos = 1;
	bad[2].e[2].pos = 5000;
	bad[3].e[2].offset = 12;
	bad[4].e[2].offset = 40;
	bad[5].e[2].pos = 20000;
	for (size_t i = 0; i < array_size(bad); i++) {
		index_seal(&bad[i]);
		assert_int_equal(fmt_index_check(&bad[i], sizeof(bad[i])), FMT_DAMAGED);
	}
}

static void test_format_log_names_are_unique_and_parse_back(void **state)
{
	struct uuid id = {{0xab, 0x01}}, got;
	int32_t partition;
	char name[FMT_NAME_SIZE];
	fmt_log_name(name, &id, 17);
	assert_string_equal(name, "ab010000000000000000000000000000-17");
	assert_true(fmt_log_name_parse(name, &got, &partition));
	assert_true(uuid_equal(&id, &got) && partition == 17);
	fmt_log_name(name, &id, INT32_MAX);
	assert_true(fmt_log_name_parse(name, &got, &partition));
	static const char *const bad[] = {"", "ab01", "AB010000000000000000000000000000-17",
		"ab010000000000000000000000000000-017", "ab010000000000000000000000000000-",
		"ab010000000000000000000000000000-99999999999",
		"ab010000000000000000000000000000-1x", "ab010000000000000000000000000000--1",
		"ab01000000000000000000000000000000-1"};
	for (size_t i = 0; i < array_size(bad); i++)
		assert_false(fmt_log_name_parse(bad[i], &got, &partition));
	assert_true(fmt_is_deleted_name("ab010000000000000000000000000000-17.deleted"));
	assert_false(fmt_is_deleted_name("ab010000000000000000000000000000-17"));
	assert_false(fmt_is_deleted_name("precious.deleted"));
	assert_false(fmt_is_deleted_name(".deleted"));
}

static void test_format_segment_names_sort_like_offsets(void **state)
{
	static const int64_t bases[] = {0, 9, 10, 123456789, INT64_MAX};
	char prev[FMT_NAME_SIZE] = "", name[FMT_NAME_SIZE];
	for (size_t i = 0; i < array_size(bases); i++) {
		int64_t base = -1;
		fmt_segment_name(name, bases[i], "log");
		assert_true(strcmp(prev, name) < 0);
		assert_true(fmt_segment_name_parse(name, "log", &base));
		assert_int_equal(base, bases[i]);
		assert_false(fmt_segment_name_parse(name, "index", &base));
		memcpy(prev, name, sizeof(prev));
	}
	int64_t base;
	assert_false(fmt_segment_name_parse("99999999999999999999.log", "log", &base));
	assert_false(fmt_segment_name_parse("0000000000000000000.log", "log", &base));
	assert_false(fmt_segment_name_parse("00000000000000000000.log.tmp", "log", &base));
	assert_false(fmt_segment_name_parse("", "log", &base));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_format_dir_meta_survives_only_unchanged),
		cmocka_unit_test(test_format_other_version_is_foreign_not_damaged),
		cmocka_unit_test(test_format_log_meta_rules),
		cmocka_unit_test(test_format_clean_marker_rules),
		cmocka_unit_test(test_format_index_rules),
		cmocka_unit_test(test_format_log_names_are_unique_and_parse_back),
		cmocka_unit_test(test_format_segment_names_sort_like_offsets),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
