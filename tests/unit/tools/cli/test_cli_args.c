/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/check.h"
#include "tools/cli/args.h"

static const struct opt own[] = {{"count", OPT_INT, "N", "", NULL, 1, 10},
	{"codec", OPT_TEXT, "NAME", "", "none lz4", 0, 0}, {"key", OPT_LIST, "K", "", NULL, 0, 0},
	{"flag", OPT_FLAG, NULL, "", NULL, 0, 0}, {0}};
static const struct opt common[] = {{"json", OPT_FLAG, NULL, "", NULL, 0, 0}, {0}};

/* Parses up to eight words. */
static bool parse(struct args *a, char *w[8])
{
	int n = 0;
	while (n < 8 && w[n])
		n++;
	return args_parse(a, n, w, own, common);
}

static void options_and_operands_may_be_mixed(void **state)
{
	struct args a;
	char *w[8] = {"one", "--count", "7", "two", "--json", "--codec=lz4"};
	assert_true(parse(&a, w));
	assert_int_equal(a.operand_count, 2);
	assert_string_equal(a.operands[0], "one");
	assert_string_equal(a.operands[1], "two");
	assert_int_equal(args_int(&a, "count", 3), 7);
	assert_string_equal(args_text(&a, "codec", "none"), "lz4");
	assert_true(args_flag(&a, "json"));
	assert_false(args_flag(&a, "flag"));
}

static void what_is_not_given_has_its_default(void **state)
{
	struct args a;
	char *w[8] = {NULL};
	assert_true(parse(&a, w));
	assert_int_equal(args_int(&a, "count", 3), 3);
	assert_null(args_text(&a, "codec", NULL));
}

static void a_list_is_had_in_order(void **state)
{
	struct args a;
	int at = 0;
	char *w[8] = {"--key", "a", "--flag", "--key=b=c", "--", "--key"};
	assert_true(parse(&a, w));
	assert_string_equal(args_next(&a, "key", &at), "a");
	assert_string_equal(args_next(&a, "key", &at), "b=c");
	assert_null(args_next(&a, "key", &at));
	assert_string_equal(a.operands[0], "--key");
}

static void wrong_command_lines_are_refused(void **state)
{
	char *bad[][8] = {{"--nothing"}, {"--count"}, {"--count", "0"}, {"--count=11"},
		{"--count", "1x"}, {"--codec", "zstd"}, {"--codec", "none lz4"}, {"--codec="},
		{"--flag=1"}, {"--coun", "1"}, {"--=x"}};
	for (size_t i = 0; i < array_size(bad); i++) {
		struct args a;
		assert_false(parse(&a, bad[i]));
		assert_true(strlen(a.error) > 0);
	}
}

static void numbers_are_decimal_and_all_of_the_text(void **state)
{
	int64_t n;
	assert_true(number_parse("-9223372036854775808", &n));
	assert_true(n == INT64_MIN);
	assert_true(number_parse("0", &n));
	const char *bad[] = {"", " 1", "1 ", "+1", "0x1", "9223372036854775808", "-", "1e3"};
	for (size_t i = 0; i < array_size(bad); i++)
		assert_false(number_parse(bad[i], &n));
}

static void times_are_dates_milliseconds_or_a_while_ago(void **state)
{
	const struct {
		const char *text;
		int64_t ms;
	} good[] = {{"1970-01-01", 0}, {"2026-01-31T10:00:00Z", 1769853600000},
		{"2026-01-31T10:00:00.25", 1769853600250}, {"2026-01-31 10:00:00", 1769853600000},
		{"12345", 12345}, {"-90s", 910000}, {"-1m", 940000}, {"-0d", 1000000}};
	const char *bad[] = {"", "yesterday", "2026-13-01", "2026-01-31T25:00:00", "-1y", "-2h",
		"2026-01-31T10:00:00+1", "-5", "-9223372036854775807d", "1960-01-01"};
	int64_t ms;
	for (size_t i = 0; i < array_size(good); i++) {
		assert_true(time_parse(good[i].text, 1000000, &ms));
		assert_int_equal(ms, good[i].ms);
	}
	for (size_t i = 0; i < array_size(bad); i++)
		assert_false(time_parse(bad[i], 1000000, &ms));
}

static void a_pair_is_split_at_the_first_equals(void **state)
{
	const char *value;
	assert_int_equal(pair_split("a=b=c", &value), 1);
	assert_string_equal(value, "b=c");
	assert_int_equal(pair_split("a=", &value), 1);
	assert_string_equal(value, "");
	assert_int_equal(pair_split("=a", &value), 0);
	assert_int_equal(pair_split("a", &value), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_and_operands_may_be_mixed),
		cmocka_unit_test(what_is_not_given_has_its_default),
		cmocka_unit_test(a_list_is_had_in_order),
		cmocka_unit_test(wrong_command_lines_are_refused),
		cmocka_unit_test(numbers_are_decimal_and_all_of_the_text),
		cmocka_unit_test(times_are_dates_milliseconds_or_a_while_ago),
		cmocka_unit_test(a_pair_is_split_at_the_first_equals),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
