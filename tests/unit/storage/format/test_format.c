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
		cmocka_unit_test(test_format_log_names_are_unique_and_parse_back),
		cmocka_unit_test(test_format_segment_names_sort_like_offsets),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
