/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/check.h"
#include "tools/cli/format.h"
#include "tools/cli/lines.h"
#include "tools/cli/offsets.h"
#include "tools/cli/producer.h"
#include "tools/cli/progress.h"

/* A batch of one record with this value, read back. */
static struct batch_record record(uint8_t *mem, const char *value, int32_t n)
{
	struct batch_build b;
	struct batch_iter it;
	struct batch_record rec;
	const struct batch_header h[] = {
		{{"a", 1}, {(const uint8_t *)"b", 1}}, {{"c", 1}, KBYTES_NULL}};
	batch_build_begin(&b, mem, 4096);
	batch_build_add(&b, 42, KBYTES_NULL, (struct kbytes){(const uint8_t *)value, n}, h, 2);
	uint32_t size = batch_build_finish(&b);
	batch_set_base_offset(mem, 7);
	assert_int_equal(batch_iter_init(&it, mem, size, NULL), 0);
	assert_int_equal(batch_iter_next(&it, &rec), 1);
	return rec;
}

/* What a format (NULL: JSON) makes of a value. */
static void assert_prints(const char *format, const char *value, int32_t n, const char *expected)
{
	static const size_t size = 4096;
	uint8_t *mem = malloc(size);
	char *text;
	size_t len;
	FILE *f = open_memstream(&text, &len);
	struct batch_record rec = record(mem, value, n);
	if (format)
		format_print(f, format, "t", 3, &rec);
	else
		format_json(f, "t", 3, &rec);
	fclose(f);
	assert_string_equal(text, expected);
	free(text);
	free(mem);
}

static void a_format_names_the_parts_of_a_record(void **state)
{
	assert_prints("%t %p %o %T|%k|%K|%v|%V|%h%%\\n\\t\\\\\\x41", "v", 1,
		"t 3 7 42||-1|v|1|a=b,c=%\n\t\\A");
}

static void a_wrong_format_is_found(void **state)
{
	const char *bad[] = {"%", "%x", "\\", "\\q", "\\x4", "ok %v \\xg0"}, *at;
	for (size_t i = 0; i < array_size(bad); i++)
		assert_false(format_check(bad[i], &at));
	assert_string_equal(at, "\\xg0");
	assert_true(format_check("%v\\n", &at));
	assert_true(format_check("", &at));
}

#define JSON_BEGIN "{\"topic\":\"t\",\"partition\":3,\"offset\":7,\"timestamp\":42,\"key\":null"
#define JSON_END                                                                                   \
	",\"headers\":[{\"index\":0,\"key\":\"a\",\"value\":\"b\"},"                               \
	"{\"index\":1,\"key\":\"c\",\"value\":null}]}\n"

static void json_has_text_as_text_and_bytes_as_base64(void **state)
{
	assert_prints(NULL, "\"\\\n\x1f\xc3\xa9\xf0\x9f\x98\x80", 10,
		JSON_BEGIN
		",\"value\":\"\\\"\\\\\\u000a\\u001f\xc3\xa9\xf0\x9f\x98\x80\"" JSON_END);
	assert_prints(NULL, "\xff", 1, JSON_BEGIN ",\"value_base64\":\"/w==\"" JSON_END);
	assert_prints(NULL, "\xff\xfe", 2, JSON_BEGIN ",\"value_base64\":\"//4=\"" JSON_END);
	assert_prints(NULL, "\xff\xfe\xfd", 3, JSON_BEGIN ",\"value_base64\":\"//79\"" JSON_END);
	assert_prints(NULL, "", 0, JSON_BEGIN ",\"value\":\"\"" JSON_END);
	assert_prints(NULL, NULL, -1, JSON_BEGIN ",\"value\":null" JSON_END);
}

static void what_only_looks_like_utf8_is_bytes(void **state)
{
	const char *bad[] = {"\xc0\x80", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xc3",
		"\x80", "\xf8\x88\x80\x80\x80", "a\xe2\x82"};
	for (size_t i = 0; i < array_size(bad); i++) {
		uint8_t mem[4096];
		char *text;
		size_t len;
		FILE *f = open_memstream(&text, &len);
		struct batch_record rec = record(mem, bad[i], (int32_t)strlen(bad[i]));
		format_json(f, "t", 3, &rec);
		fclose(f);
		assert_non_null(strstr(text, "value_base64"));
		free(text);
	}
}

static void keys_hash_as_in_java(void **state)
{
	const struct {
		const char *key;
		int32_t hash;
	} known[] = {{"21", -973932308}, {"foobar", -790332482},
		{"a-little-bit-long-string", -985981536},
		{"a-little-bit-longer-string", -1486304829},
		{"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971},
		{"abc", 479470107}};
	for (size_t i = 0; i < array_size(known); i++)
		assert_int_equal(
			(int32_t)murmur2((const uint8_t *)known[i].key, strlen(known[i].key)),
			known[i].hash);
}

static void positions_are_words_offsets_or_times(void **state)
{
	struct position p;
	assert_true(position_parse("earliest", 0, &p));
	assert_int_equal(position_in(&p, 5, 9), 5);
	assert_true(position_parse("latest", 0, &p));
	assert_int_equal(position_in(&p, 5, 9), 9);
	assert_true(position_parse("7", 0, &p));
	assert_int_equal(position_in(&p, 5, 9), 7);
	assert_int_equal(position_in(&p, 8, 9), 8);
	assert_int_equal(position_in(&p, 5, 6), 6);
	assert_true(position_parse("-3", 0, &p));
	assert_int_equal(position_in(&p, 0, 9), 6);
	assert_int_equal(position_in(&p, 0, 2), 0);
	assert_true(position_parse("time:99", 0, &p));
	assert_int_equal(p.kind, POSITION_TIME);
	assert_int_equal(p.value, 99);
	assert_false(position_parse("time:", 0, &p));
	assert_false(position_parse("middle", 0, &p));
	assert_false(position_parse("", 0, &p));
	assert_false(position_parse("-9223372036854775808", 0, &p));
}

static void progress_says_how_much_and_how_fast(void **state)
{
	char text[120];
	progress_text(text, sizeof(text), 500, 2000000, 1000, 2000000000);
	assert_string_equal(text, " 50 %, 500 records, 250/s, 1.0 MB/s");
	progress_text(text, sizeof(text), 0, 0, 0, 0);
	assert_string_equal(text, "0 records, 0/s, 0.0 MB/s");
}

/* The lines of a text, joined by '|'. */
static void assert_lines(const char *text, bool whole, const char *expected)
{
	FILE *f = tmpfile();
	struct lines l;
	char got[200] = "";
	const char *line;
	size_t n;
	fputs(text, f);
	fflush(f);
	rewind(f);
	lines_begin(&l, fileno(f), whole);
	for (int what; (what = lines_next(&l, &line, &n)) != LINES_END;) {
		if (what == LINES_MORE)
			assert_int_equal(lines_read(&l), 0);
		else
			snprintf(got + strlen(got), sizeof(got) - strlen(got), "%.*s|", (int)n,
				line);
	}
	lines_end(&l);
	fclose(f);
	assert_string_equal(got, expected);
}

static void input_is_split_into_lines(void **state)
{
	assert_lines("a\nbb\n\nc", false, "a|bb||c|");
	assert_lines("a\n", false, "a|");
	assert_lines("", false, "");
	assert_lines("a\nb\n", true, "a\nb\n|");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_format_names_the_parts_of_a_record),
		cmocka_unit_test(a_wrong_format_is_found),
		cmocka_unit_test(json_has_text_as_text_and_bytes_as_base64),
		cmocka_unit_test(what_only_looks_like_utf8_is_bytes),
		cmocka_unit_test(keys_hash_as_in_java),
		cmocka_unit_test(positions_are_words_offsets_or_times),
		cmocka_unit_test(progress_says_how_much_and_how_fast),
		cmocka_unit_test(input_is_split_into_lines),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
