/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "kafka/batch.h"

static struct kbytes kb(const char *s)
{
	return s ? (struct kbytes){(const uint8_t *)s, (int32_t)strlen(s)} : KBYTES_NULL;
}

/*
 * One record (key "k", value "hello", header a=b) at 1600000000000 ms, laid out by hand after the
 * table in batch.h; the CRC is that of a bitwise CRC-32C over bytes 21 and up.
 */
static const uint8_t golden[] = {
	0,
	0,
	0,
	0,
	0,
	0,
	0,
	0, /* base offset */
	0,
	0,
	0,
	66, /* length */
	0xff,
	0xff,
	0xff,
	0xff, /* leader epoch */
	2,    /* magic */
	0,
	0,
	0,
	0, /* CRC, see below */
	0,
	0, /* attributes */
	0,
	0,
	0,
	0, /* last offset delta */
	0,
	0,
	0x01,
	0x74,
	0x87,
	0x6e,
	0x80,
	0, /* base timestamp */
	0,
	0,
	0x01,
	0x74,
	0x87,
	0x6e,
	0x80,
	0, /* max timestamp */
	0xff,
	0xff,
	0xff,
	0xff,
	0xff,
	0xff,
	0xff,
	0xff, /* producer id */
	0xff,
	0xff, /* producer epoch */
	0xff,
	0xff,
	0xff,
	0xff, /* base sequence */
	0,
	0,
	0,
	1,  /* count */
	32, /* record: 16 bytes */
	0,
	0,
	0, /* attributes, timestamp delta, offset delta */
	2,
	'k',
	10,
	'h',
	'e',
	'l',
	'l',
	'o',
	2,
	2,
	'a',
	2,
	'b',
};

static uint32_t crc_bit_by_bit(const uint8_t *p, size_t len)
{
	uint32_t crc = ~0u;
	for (size_t i = 0; i < len; i++) {
		crc ^= p[i];
		for (int k = 0; k < 8; k++)
			crc = crc & 1 ? crc >> 1 ^ 0x82f63b78u : crc >> 1;
	}
	return ~crc;
}

static void test_the_builder_writes_the_bytes_of_the_format(void **state)
{
	const struct batch_header h = {kstr_of("a"), kb("b")};
	uint8_t want[sizeof(golden)], mem[256];
	memcpy(want, golden, sizeof(golden));
	be32_put(want + 17, crc_bit_by_bit(want + 21, sizeof(want) - 21));
	struct batch_build b;
	batch_build_begin(&b, mem, sizeof(mem));
	assert_true(batch_build_add(&b, 1600000000000, kb("k"), kb("hello"), &h, 1));
	assert_int_equal(batch_build_finish(&b), sizeof(want));
	assert_memory_equal(mem, want, sizeof(want));
	assert_true(batch_crc_ok(mem));
}

static void test_accessors_read_and_write_their_fields(void **state)
{
	uint8_t mem[256];
	struct batch_build b;
	batch_build_begin(&b, mem, sizeof(mem));
	batch_build_set_producer(&b, 12345678901ll, 7, 2147483646, true);
	for (int i = 0; i < 4; i++)
		assert_true(batch_build_add(&b, 1000 - i, kb("k"), kb(NULL), NULL, 0));
	uint32_t size = batch_build_finish(&b);
	assert_int_equal(batch_size(mem), size);
	assert_true(batch_producer_id(mem) == 12345678901ll);
	assert_int_equal(batch_producer_epoch(mem), 7);
	assert_int_equal(batch_base_sequence(mem), 2147483646);
	assert_int_equal(batch_last_sequence(mem), 1); /* wraps */
	assert_true(batch_is_transactional(mem));
	assert_false(batch_is_control(mem));
	assert_int_equal(batch_count(mem), 4);
	assert_int_equal(batch_base_timestamp(mem), 1000);
	assert_int_equal(batch_max_timestamp(mem), 1000);
	batch_set_base_offset(mem, 1ll << 40);
	batch_set_leader_epoch(mem, 9);
	assert_true(batch_crc_ok(mem));
	assert_true(batch_base_offset(mem) == 1ll << 40);
	assert_true(batch_last_offset(mem) == (1ll << 40) + 3);
	assert_true(batch_next_offset(mem) == (1ll << 40) + 4);
	assert_int_equal(batch_leader_epoch(mem), 9);
	be32_put(mem + 8, 48);
	assert_int_equal(batch_size(mem), 0);
	be32_put(mem + 8, 0xffffffff);
	assert_int_equal(batch_size(mem), 0);
}

static void test_log_append_time_rewrites_type_timestamp_and_crc(void **state)
{
	uint8_t mem[256];
	struct batch_build b;
	batch_build_begin(&b, mem, sizeof(mem));
	assert_true(batch_build_add(&b, 1000, kb("k"), kb("v"), NULL, 0));
	assert_true(batch_build_add(&b, 2000, kb("k"), kb("v"), NULL, 0));
	uint32_t size = batch_build_finish(&b);
	assert_false(batch_set_max_timestamp(mem, false, 2000));
	assert_true(batch_set_max_timestamp(mem, true, 5000));
	assert_true(batch_crc_ok(mem));
	assert_true(batch_is_log_append_time(mem));
	struct batch_iter it;
	struct batch_record rec;
	assert_int_equal(batch_iter_init(&it, mem, size, NULL), KE_NONE);
	assert_int_equal(batch_iter_next(&it, &rec), 1);
	assert_int_equal(rec.timestamp, 5000);
	int64_t offset, ts;
	assert_int_equal(batch_first_record_at(mem, size, 4000, NULL, &offset, &ts), 1);
	assert_int_equal(offset, 0);
	assert_int_equal(ts, 5000);
	assert_true(batch_set_max_timestamp(mem, false, 2000));
	assert_false(batch_is_log_append_time(mem));
	assert_true(batch_crc_ok(mem));
}

static void test_the_iterator_gives_every_record_with_its_headers(void **state)
{
	const struct batch_header hs[] = {{kstr_of("x"), kb("1")}, {kstr_of("y"), KBYTES_NULL}};
	uint8_t mem[1024];
	struct batch_build b;
	batch_build_begin(&b, mem, sizeof(mem));
	assert_true(batch_build_add(&b, 50, KBYTES_NULL, kb("v0"), NULL, 0));
	assert_true(batch_build_add(&b, 40, kb("k1"), KBYTES_NULL, hs, 2));
	assert_true(batch_build_add(&b, 60, kb(""), kb(""), NULL, 0));
	uint32_t size = batch_build_finish(&b);
	batch_set_base_offset(mem, 100);
	struct batch_iter it;
	struct batch_record r;
	assert_int_equal(
		batch_iter_init(&it, mem, sizeof(mem), NULL), KE_NONE); /* more is not read */
	assert_int_equal(batch_iter_next(&it, &r), 1);
	assert_true(r.offset == 100 && r.timestamp == 50 && r.key.len == -1 && r.value.len == 2);
	assert_memory_equal(r.value.p, "v0", 2);
	assert_int_equal(batch_iter_next(&it, &r), 1);
	assert_true(r.offset == 101 && r.timestamp == 40 && r.key.len == 2 && r.value.len == -1);
	struct kstr key;
	struct kbytes value;
	assert_int_equal(r.header_count, 2);
	assert_int_equal(batch_header_next(&r, &key, &value), 1);
	assert_true(kstr_equal(key, kstr_of("x")) && value.len == 1);
	assert_int_equal(batch_header_next(&r, &key, &value), 1);
	assert_true(kstr_equal(key, kstr_of("y")) && value.len == -1);
	assert_int_equal(batch_header_next(&r, &key, &value), 0);
	assert_int_equal(batch_iter_next(&it, &r), 1);
	assert_true(r.offset == 102 && r.key.len == 0 && r.value.len == 0);
	assert_int_equal(batch_iter_next(&it, &r), 0);

	be32_put(mem + 57, 4); /* one more than there is */
	assert_int_equal(batch_iter_init(&it, mem, size, NULL), KE_NONE);
	for (int i = 0; i < 3; i++)
		assert_int_equal(batch_iter_next(&it, &r), 1);
	assert_int_equal(batch_iter_next(&it, &r), -1);
	assert_int_equal(batch_iter_next(&it, &r), 0);
	be32_put(mem + 57, 2); /* one less */
	assert_int_equal(batch_iter_init(&it, mem, size, NULL), KE_NONE);
	assert_int_equal(batch_iter_next(&it, &r), 1);
	assert_int_equal(batch_iter_next(&it, &r), 1);
	assert_int_equal(batch_iter_next(&it, &r), -1);
	assert_int_equal(batch_iter_init(&it, mem, size - 1, NULL), KE_CORRUPT_MESSAGE);
}

static void test_time_lookup_finds_the_record_inside_of_the_batch(void **state)
{
	static uint8_t mem[4096], packed[4096], buf[4096];
	const int64_t times[] = {10, 30, 20, 50, 50, 40};
	struct batch_scratch s = {.buf = buf, .size = sizeof(buf), .codec = codec_open()};
	struct batch_build b;
	batch_build_begin(&b, mem, sizeof(mem));
	for (int i = 0; i < 6; i++)
		assert_true(batch_build_add(&b, times[i], kb("k"), kb("v"), NULL, 0));
	batch_build_finish(&b);
	batch_set_base_offset(mem, 1000);
	for (enum codec c = CODEC_NONE; c <= CODEC_ZSTD; c++) {
		uint32_t size = batch_compress(mem, c, 0, packed, sizeof(packed));
		int64_t offset, ts;
		assert_int_equal(batch_first_record_at(packed, size, 0, &s, &offset, &ts), 1);
		assert_true(offset == 1000 && ts == 10);
		assert_int_equal(batch_first_record_at(packed, size, 11, &s, &offset, &ts), 1);
		assert_true(offset == 1001 && ts == 30);
		assert_int_equal(batch_first_record_at(packed, size, 50, &s, &offset, &ts), 1);
		assert_true(offset == 1003 && ts == 50);
		assert_int_equal(batch_first_record_at(packed, size, 51, &s, &offset, &ts), 0);
		assert_int_equal(batch_max_timestamp_record(packed, size, &s, &offset, &ts), 1);
		assert_true(offset == 1003 && ts == 50);
	}
	codec_close(s.codec);
}

static void test_a_full_builder_refuses_and_stays_whole(void **state)
{
	uint8_t mem[120];
	struct batch_build b;
	batch_build_begin(&b, mem, sizeof(mem));
	int n = 0;
	while (batch_build_add(&b, 1, kb("key"), kb("value"), NULL, 0))
		n++;
	assert_int_equal(n, (120 - 61) / 15);
	uint32_t size = batch_build_finish(&b);
	assert_int_equal(size, 61 + n * 15);
	assert_int_equal(batch_count(mem), n);
	batch_build_begin(&b, mem, 60);
	assert_false(batch_build_add(&b, 1, kb("key"), kb("value"), NULL, 0));
	assert_int_equal(batch_build_finish(&b), 0);
}

static void test_control_batches_are_marked(void **state)
{
	uint8_t mem[120];
	struct batch_build b;
	batch_build_begin(&b, mem, sizeof(mem));
	batch_build_set_control(&b);
	assert_true(batch_build_add(&b, 1, kb("kkkk"), kb("vvvvvv"), NULL, 0));
	assert_true(batch_build_finish(&b) > 0);
	assert_true(batch_is_control(mem));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_builder_writes_the_bytes_of_the_format),
		cmocka_unit_test(test_accessors_read_and_write_their_fields),
		cmocka_unit_test(test_log_append_time_rewrites_type_timestamp_and_crc),
		cmocka_unit_test(test_the_iterator_gives_every_record_with_its_headers),
		cmocka_unit_test(test_time_lookup_finds_the_record_inside_of_the_batch),
		cmocka_unit_test(test_a_full_builder_refuses_and_stays_whole),
		cmocka_unit_test(test_control_batches_are_marked),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
