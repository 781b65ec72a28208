/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/crc.h"
#include "base/prng.h"

/* RFC 3720 B.4 */
static void crc32c_has_the_values_of_the_rfc(void **state)
{
	assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
	uint8_t b[32] = {0};
	assert_int_equal(crc32c(0, b, sizeof(b)), 0x8a9136aa);
	memset(b, 0xff, sizeof(b));
	assert_int_equal(crc32c(0, b, sizeof(b)), 0x62a8ab43);
	for (int i = 0; i < 32; i++)
		b[i] = (uint8_t)i;
	assert_int_equal(crc32c(0, b, sizeof(b)), 0x46dd794e);
	assert_int_equal(crc32c(0, b, 0), 0);
}

static uint32_t bit_by_bit(uint32_t crc, const uint8_t *p, size_t n)
{
	crc = ~crc;
	while (n--) {
		crc ^= *p++;
		for (int k = 0; k < 8; k++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	return ~crc;
}

static void crc32c_agrees_with_the_definition_and_goes_on_over_pieces(void **state)
{
	static uint8_t b[5000];
	struct prng p = {.s = 11};
	for (size_t i = 0; i < sizeof(b); i++)
		b[i] = (uint8_t)prng_next(&p);
	for (int i = 0; i < 200; i++) {
		size_t at = prng_below(&p, 64), n = prng_below(&p, sizeof(b) - 64),
		       cut = prng_below(&p, n + 1);
		uint32_t whole = crc32c(0, b + at, n);
		assert_int_equal(whole, bit_by_bit(0, b + at, n));
		assert_int_equal(crc32c(crc32c(0, b + at, cut), b + at + cut, n - cut), whole);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(crc32c_has_the_values_of_the_rfc),
		cmocka_unit_test(crc32c_agrees_with_the_definition_and_goes_on_over_pieces),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
