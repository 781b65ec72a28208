/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/prng.h"

static void integers_are_stored_big_endian_and_little_endian_at_any_alignment(void **state)
{
	uint8_t mem[16] = {0};
	for (size_t at = 0; at < 8; at++) {
		be16_put(mem + at, 0x0102);
		assert_int_equal(mem[at], 1);
		assert_int_equal(mem[at + 1], 2);
		assert_int_equal(be16_get(mem + at), 0x0102);
		be32_put(mem + at, 0x01020304);
		assert_int_equal(mem[at], 1);
		assert_int_equal(mem[at + 3], 4);
		assert_int_equal(be32_get(mem + at), 0x01020304);
		be64_put(mem + at, 0x0102030405060708ull);
		assert_int_equal(mem[at], 1);
		assert_int_equal(mem[at + 7], 8);
		assert_true(be64_get(mem + at) == 0x0102030405060708ull);
		le16_put(mem + at, 0x0102);
		assert_int_equal(mem[at], 2);
		assert_int_equal(le16_get(mem + at), 0x0102);
		le32_put(mem + at, 0x01020304);
		assert_int_equal(mem[at], 4);
		assert_int_equal(le32_get(mem + at), 0x01020304);
		le64_put(mem + at, 0x0102030405060708ull);
		assert_int_equal(mem[at], 8);
		assert_true(le64_get(mem + at) == 0x0102030405060708ull);
	}
}

static void a_read_past_the_end_gives_zero_and_stays_bad(void **state)
{
	const uint8_t mem[5] = {1, 2, 3, 4, 5};
	struct rd r = rd_of(mem, sizeof(mem));
	assert_int_equal(rd_be32(&r), 0x01020304);
	assert_false(r.bad);
	assert_int_equal(rd_be16(&r), 0);
	assert_true(r.bad);
	assert_int_equal(rd_left(&r), 0);
	assert_int_equal(rd_u8(&r), 0); /* the byte that was left is gone with the failure */
	assert_true(r.bad);
}

static void a_huge_length_does_not_wrap_the_cursor(void **state)
{
	const uint8_t mem[4] = {0};
	struct rd r = rd_of(mem, sizeof(mem));
	assert_null(rd_take(&r, SIZE_MAX));
	assert_true(r.bad);
	r = rd_of(mem, 0);
	assert_false(r.bad);
	assert_non_null(rd_take(&r, 0));
	assert_false(r.bad);
}

static void varints_come_back_as_they_were_written(void **state)
{
	static const int64_t edges[] = {
		0, 1, -1, 63, 64, -64, -65, 127, 128, INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN};
	struct prng p = {.s = 7};
	for (unsigned i = 0; i < 20000; i++) {
		int64_t v = i < array_size(edges) ? edges[i]
						  : (int64_t)(prng_next(&p) >> prng_below(&p, 64));
		uint8_t mem[16];
		struct wr w = wr_of(mem, sizeof(mem));
		wr_varlong(&w, v);
		struct rd r = rd_of(mem, wr_len(&w));
		assert_true(rd_varlong(&r) == v);
		assert_false(r.bad);
		assert_int_equal(rd_left(&r), 0);

		w = wr_of(mem, sizeof(mem));
		wr_varint(&w, (int32_t)v);
		assert_true(wr_len(&w) <= 5);
		r = rd_of(mem, wr_len(&w));
		assert_int_equal(rd_varint(&r), (int32_t)v);
		assert_false(r.bad);

		w = wr_of(mem, sizeof(mem));
		wr_uvarint(&w, (uint64_t)v);
		r = rd_of(mem, wr_len(&w));
		assert_true(rd_uvarint(&r) == (uint64_t)v);
		assert_false(r.bad);
	}
}

/* The examples of the Kafka protocol guide's source, Protocol Buffers' zigzag coding. */
static void varints_have_the_bytes_that_the_protocol_says(void **state)
{
	uint8_t mem[8];
	struct wr w = wr_of(mem, sizeof(mem));
	wr_varint(&w, -1);
	wr_varint(&w, 1);
	wr_varint(&w, -2);
	wr_uvarint(&w, 300);
	static const uint8_t want[] = {1, 2, 3, 0xac, 0x02};
	assert_int_equal(wr_len(&w), sizeof(want));
	assert_memory_equal(mem, want, sizeof(want));
}

static void an_overlong_or_unfinished_varint_is_refused(void **state)
{
	static const uint8_t overlong[] = {
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02};
	struct rd r = rd_of(overlong, sizeof(overlong));
	rd_uvarint(&r);
	assert_true(r.bad);
	static const uint8_t endless[] = {
		0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0};
	r = rd_of(endless, sizeof(endless));
	rd_uvarint(&r);
	assert_true(r.bad);
	r = rd_of(endless, 3);
	rd_uvarint(&r);
	assert_true(r.bad);
	static const uint8_t bits33[] = {0xff, 0xff, 0xff, 0xff, 0x1f};
	r = rd_of(bits33, sizeof(bits33));
	assert_int_equal(rd_uvarint32(&r), 0);
	assert_true(r.bad);
	static const uint8_t bits32[] = {0xff, 0xff, 0xff, 0xff, 0x0f};
	r = rd_of(bits32, sizeof(bits32));
	assert_true(rd_uvarint32(&r) == UINT32_MAX);
	assert_false(r.bad);
}

static void a_full_writer_writes_nothing_more_and_says_what_it_needed(void **state)
{
	uint8_t mem[8];
	memset(mem, 0xee, sizeof(mem));
	struct wr w = wr_of(mem, 6);
	wr_be32(&w, 1);
	wr_be32(&w, 2);
	assert_true(w.full);
	wr_u8(&w, 3); /* would fit, but after a hole */
	assert_int_equal(wr_len(&w), 4);
	assert_int_equal(w.need, 9);
	for (size_t i = 4; i < sizeof(mem); i++)
		assert_int_equal(mem[i], 0xee);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(integers_are_stored_big_endian_and_little_endian_at_any_alignment),
		cmocka_unit_test(a_read_past_the_end_gives_zero_and_stays_bad),
		cmocka_unit_test(a_huge_length_does_not_wrap_the_cursor),
		cmocka_unit_test(varints_come_back_as_they_were_written),
		cmocka_unit_test(varints_have_the_bytes_that_the_protocol_says),
		cmocka_unit_test(an_overlong_or_unfinished_varint_is_refused),
		cmocka_unit_test(a_full_writer_writes_nothing_more_and_says_what_it_needed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
