/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "control/admin/pcapng.h"

static uint32_t get32(const uint8_t *p)
{
	uint32_t v;
	memcpy(&v, p, sizeof(v));
	return v;
}

/* A block's length stands at both ends; its type. */
static uint32_t check_block(const uint8_t *p, size_t at, size_t *next)
{
	uint32_t len = get32(p + at + 4);
	assert_int_equal(len % 4, 0);
	assert_true(len >= 12);
	assert_int_equal(get32(p + at + len - 4), len);
	*next = at + len;
	return get32(p + at);
}

static void test_a_file_begins_with_a_section_and_an_interface(void **state)
{
	uint8_t p[PCAPNG_MAX(256)];
	size_t n = pcapng_begin(p, "tap:x", 96), next;
	assert_int_equal(check_block(p, 0, &next), 0x0a0d0d0a);
	assert_int_equal(get32(p + 8), 0x1a2b3c4d);
	assert_int_equal(check_block(p, next, &next), 1);
	assert_int_equal(next, n);
	assert_int_equal(get32(p + n - 4), n - 28);
}

static void test_a_name_of_any_length_fits(void **state)
{
	uint8_t p[PCAPNG_MAX(0)];
	char name[256];
	size_t next;
	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = 0;
	size_t n = pcapng_begin(p, name, 65535);
	assert_true(n <= sizeof(p));
	check_block(p, 0, &next);
	check_block(p, next, &next);
	assert_int_equal(next, n);
}

static void test_a_frame_of_any_length_is_padded_and_has_its_direction(void **state)
{
	uint8_t frame[16], p[PCAPNG_MAX(sizeof(frame))];
	for (uint32_t kept = 0; kept <= sizeof(frame); kept++) {
		size_t next;
		memset(frame, 0xa5, sizeof(frame));
		size_t n = pcapng_frame(p, 0x1122334455667788, PCAPNG_OUT, frame, kept, 1500);
		assert_true(n <= sizeof(p));
		assert_int_equal(check_block(p, 0, &next), 6);
		assert_int_equal(next, n);
		assert_int_equal(get32(p + 12), 0x11223344);
		assert_int_equal(get32(p + 16), 0x55667788);
		assert_int_equal(get32(p + 20), kept);
		assert_int_equal(get32(p + 24), 1500);
		assert_memory_equal(p + 28, frame, kept);
		assert_int_equal(get32(p + n - 12), PCAPNG_OUT);
	}
}

static void test_the_end_tells_what_is_missing(void **state)
{
	uint8_t p[PCAPNG_MAX(0)];
	size_t next, n = pcapng_end(p, 1, 1000, 7);
	uint64_t lost;
	assert_int_equal(check_block(p, 0, &next), 5);
	assert_int_equal(next, n);
	memcpy(&lost, p + n - 16, sizeof(lost));
	assert_int_equal(lost, 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_file_begins_with_a_section_and_an_interface),
		cmocka_unit_test(test_a_name_of_any_length_fits),
		cmocka_unit_test(test_a_frame_of_any_length_is_padded_and_has_its_direction),
		cmocka_unit_test(test_the_end_tells_what_is_missing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
