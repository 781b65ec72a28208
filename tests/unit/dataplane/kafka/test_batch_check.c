/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/prng.h"
#include "kafka/batch.h"

#define NOW 1700000000000ll
#define HOUR 3600000ll

static struct batch_limits limits(void)
{
	return (struct batch_limits){.now_ms = NOW,
		.before_max_ms = INT64_MAX,
		.after_max_ms = HOUR,
		.max_bytes = 1 << 20};
}

static struct kbytes kb(const char *s)
{
	return s ? (struct kbytes){(const uint8_t *)s, (int32_t)strlen(s)} : KBYTES_NULL;
}

/* A good batch of n records; every third without a key, every fourth with headers. */
static uint32_t good(uint8_t *mem, size_t size, int n)
{
	const struct batch_header headers[] = {
		{kstr_of("h1"), kb("v1")}, {kstr_of(""), KBYTES_NULL}};
	struct batch_build b;
	char value[200];
	batch_build_begin(&b, mem, size);
	for (int i = 0; i < n; i++) {
		memset(value, 'a' + i % 26, sizeof(value));
		value[i % 199] = 0;
		assert_true(batch_build_add(&b, NOW + i % 7, i % 3 ? kb("key") : KBYTES_NULL,
			kb(value), headers, i % 4 ? 0 : 2));
	}
	return batch_build_finish(&b);
}

/* One batch of one record, to be damaged. */
static uint32_t one(uint8_t *mem, size_t size)
{
	struct batch_build b;
	batch_build_begin(&b, mem, size);
	assert_true(batch_build_add(&b, NOW, kb("k"), kb("value"), NULL, 0));
	return batch_build_finish(&b);
}

static int16_t check(
	const uint8_t *p, uint32_t len, struct batch_limits lim, struct batch_info *info)
{
	uint8_t *exact = malloc(len ? len : 1); /* a sanitizer sees every read past the end */
	memcpy(exact, p, len);
	int16_t err = batch_validate(exact, len, &lim, NULL, info);
	free(exact);
	assert_true((err == KE_NONE) == (info->error_message == NULL));
	return err;
}

static void test_a_good_batch_passes_and_is_described(void **state)
{
	static uint8_t mem[65536];
	for (int n = 1; n < 200; n += 13) {
		uint32_t size = good(mem, sizeof(mem), n);
		struct batch_info info;
		assert_int_equal(check(mem, size, limits(), &info), KE_NONE);
		assert_int_equal(info.size, size);
		assert_int_equal(info.count, n);
		assert_true(info.walked);
		assert_int_equal(info.producer_id, -1);
		assert_int_equal(info.codec, CODEC_NONE);
		assert_true(info.max_timestamp == NOW + (n > 6 ? 6 : n - 1));
		assert_int_equal(info.max_timestamp_delta, n > 6 ? 6 : n - 1);
	}
}

static void test_a_batch_cut_short_anywhere_is_rejected(void **state)
{
	uint8_t mem[512];
	uint32_t size = good(mem, sizeof(mem), 3);
	struct batch_info info;
	for (uint32_t n = 0; n < size; n++)
		assert_int_equal(check(mem, n, limits(), &info), KE_INVALID_RECORD);
	mem[size] = 0;
	assert_int_equal(check(mem, size + 1, limits(), &info), KE_INVALID_RECORD);
}

static void test_a_batch_whose_length_lies_is_rejected_at_every_length(void **state)
{
	uint8_t mem[512], cut[512];
	uint32_t size = good(mem, sizeof(mem), 3);
	struct batch_info info;
	for (uint32_t n = 17; n < size; n++) { /* CRC and length right, records cut */
		memcpy(cut, mem, n);
		be32_put(cut + 8, n - BATCH_OVERHEAD);
		if (n >= BATCH_HEADER_SIZE)
			batch_set_crc(cut);
		assert_int_equal(check(cut, n, limits(), &info),
			n < BATCH_HEADER_SIZE ? KE_CORRUPT_MESSAGE : KE_INVALID_RECORD);
	}
}

struct damage {
	const char *what;
	uint32_t at;
	uint32_t width; /* bytes of value, big-endian; 0: none */
	uint64_t value;
	bool keep_crc; /* do not repair the CRC */
	int16_t err;
	int32_t index;
};

/* After `one`: the record is at 61: len, attributes, ts, offset, klen, 'k', vlen, value x5,
 * headers. */
static const struct damage damages[] = {
	{"nothing", 0, 0, 0, false, KE_NONE, -1},
	{"base offset", 0, 8, 1, false, KE_INVALID_RECORD, -1},
	{"length 48", 8, 4, 48, true, KE_CORRUPT_MESSAGE, -1},
	{"length negative", 8, 4, 0xffffffff, true, KE_CORRUPT_MESSAGE, -1},
	{"length huge", 8, 4, 0x7fffffff, true, KE_INVALID_RECORD, -1},
	{"leader epoch is outside of the CRC", 12, 4, 77, true, KE_NONE, -1},
	{"magic 0", 16, 1, 0, false, KE_INVALID_RECORD, -1},
	{"magic 1", 16, 1, 1, false, KE_INVALID_RECORD, -1},
	{"magic 3", 16, 1, 3, false, KE_INVALID_RECORD, -1},
	{"crc", 17, 4, 0, true, KE_CORRUPT_MESSAGE, -1},
	{"one bit of a record", 70, 1, 1, true, KE_CORRUPT_MESSAGE, -1},
	{"codec 5", 21, 2, 5, false, KE_UNSUPPORTED_COMPRESSION_TYPE, -1},
	{"codec 7", 21, 2, 7, false, KE_UNSUPPORTED_COMPRESSION_TYPE, -1},
	{"gzip without a scratch", 21, 2, 1, false, KE_UNSUPPORTED_COMPRESSION_TYPE, -1},
	{"log append time", 21, 2, 8, false, KE_INVALID_TIMESTAMP, 0},
	{"control", 21, 2, 0x20, false, KE_INVALID_RECORD, -1},
	{"transactional", 21, 2, 0x10, false, KE_NONE, -1},
	{"last offset delta 1", 23, 4, 1, false, KE_INVALID_RECORD, -1},
	{"last offset delta -1", 23, 4, 0xffffffff, false, KE_INVALID_RECORD, -1},
	{"wrong max timestamp is only reported", 35, 8, 5, false, KE_NONE, -1},
	{"producer id without sequence", 43, 8, 9, false, KE_INVALID_RECORD, -1},
	{"count 0", 57, 4, 0, false, KE_INVALID_RECORD, -1},
	{"count -1", 57, 4, 0xffffffff, false, KE_INVALID_RECORD, -1},
	{"count 2", 57, 4, 2, false, KE_INVALID_RECORD, -1},
	{"base timestamp: far future", 27, 8, (uint64_t)(NOW + HOUR + 1), false,
		KE_INVALID_TIMESTAMP, 0},
	{"base timestamp: at the bound", 27, 8, (uint64_t)(NOW + HOUR), false, KE_NONE, -1},
	{"base timestamp: -1 is no timestamp", 27, 8, UINT64_MAX, false, KE_NONE, -1},
	{"record length -1", 61, 1, 1, false, KE_INVALID_RECORD, 0},
	{"record length 0", 61, 1, 0, false, KE_INVALID_RECORD, 0},
	{"record length too large", 61, 1, 126, false, KE_INVALID_RECORD, 0},
	{"record length too small", 61, 1, 22, false, KE_INVALID_RECORD, 0},
	{"record attributes do not matter", 62, 1, 0x7f, false, KE_NONE, -1},
	{"offset delta 1", 64, 1, 2, false, KE_INVALID_RECORD, 0},
	{"offset delta -1", 64, 1, 1, false, KE_INVALID_RECORD, 0},
	{"key length -2", 65, 1, 3, false, KE_INVALID_RECORD, 0},
	{"key length 60", 65, 1, 120, false, KE_INVALID_RECORD, 0},
	{"value length -2", 67, 1, 3, false, KE_INVALID_RECORD, 0},
	{"value length 4: its last byte is a header count", 67, 1, 8, false, KE_INVALID_RECORD, 0},
	{"value length 6", 67, 1, 12, false, KE_INVALID_RECORD, 0},
	{"value length 7", 67, 1, 14, false, KE_INVALID_RECORD, 0},
	{"header count 1", 73, 1, 2, false, KE_INVALID_RECORD, 0},
	{"header count -1", 73, 1, 1, false, KE_INVALID_RECORD, 0},
};

static void test_each_damage_has_its_error(void **state)
{
	for (size_t i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
		const struct damage *d = &damages[i];
		uint8_t mem[256];
		uint32_t size = one(mem, sizeof(mem));
		assert_int_equal(size, 74);
		for (uint32_t k = 0; k < d->width; k++)
			mem[d->at + k] = (uint8_t)(d->value >> (8 * (d->width - 1 - k)));
		if (!d->keep_crc)
			batch_set_crc(mem);
		struct batch_info info;
		int16_t err = check(mem, size, limits(), &info);
		if (err != d->err || info.error_index != d->index)
			fail_msg("%s: error %d (%s) at %d, expected %d at %d", d->what, err,
				info.error_message ? info.error_message : "", info.error_index,
				d->err, d->index);
	}
}

static void test_the_topic_and_the_request_set_the_limits(void **state)
{
	uint8_t mem[2048];
	struct batch_info info;
	uint32_t size = good(mem, sizeof(mem), 5);
	struct batch_limits lim = limits();
	lim.max_bytes = size;
	assert_int_equal(check(mem, size, lim, &info), KE_NONE);
	lim.max_bytes = size - 1;
	assert_int_equal(check(mem, size, lim, &info), KE_MESSAGE_TOO_LARGE);

	lim = limits();
	lim.compacted = true;
	assert_int_equal(check(mem, size, lim, &info), KE_INVALID_RECORD);
	assert_int_equal(info.error_index, 0); /* 0 and 3 have no key */

	lim = limits();
	lim.now_ms = NOW + 1000;
	lim.before_max_ms = 998;
	assert_int_equal(check(mem, size, lim, &info), KE_INVALID_TIMESTAMP);
	assert_int_equal(info.error_index, 0);
	lim.before_max_ms = 1000;
	assert_int_equal(check(mem, size, lim, &info), KE_NONE);
	lim.now_ms = NOW + 3 - HOUR;
	assert_int_equal(check(mem, size, lim, &info), KE_INVALID_TIMESTAMP);
	assert_int_equal(info.error_index, 4);
	lim.log_append_time = true;
	assert_int_equal(check(mem, size, lim, &info), KE_NONE);

	lim = limits();
	mem[70] ^= 1;
	lim.crc_checked = true;
	assert_int_equal(check(mem, size, lim, &info), KE_NONE);
}

static void test_offset_deltas_must_count_up_in_every_record(void **state)
{
	uint8_t mem[256];
	struct batch_build b;
	struct batch_info info;
	batch_build_begin(&b, mem, sizeof(mem));
	for (int i = 0; i < 6; i++)
		assert_true(batch_build_add(&b, NOW, kb("k"), kb("v"), NULL, 0));
	uint32_t size = batch_build_finish(&b);
	assert_int_equal(size, 61 + 6 * 9);
	for (int i = 0; i < 6; i++) {
		uint8_t *delta = &mem[61 + i * 9 + 3];
		uint8_t was = *delta;
		*delta = (uint8_t)(was + 2);
		batch_set_crc(mem);
		assert_int_equal(check(mem, size, limits(), &info), KE_INVALID_RECORD);
		assert_int_equal(info.error_index, i);
		*delta = was;
	}
	batch_set_crc(mem);
	assert_int_equal(check(mem, size, limits(), &info), KE_NONE);
}

static void test_varints_of_every_length_are_read(void **state)
{
	static uint8_t mem[1 << 18], value[1 << 17];
	const int64_t deltas[] = {0, 63, 64, -64, -65, 8191, 8192, 1ll << 20, -(1ll << 27),
		1ll << 34, -(1ll << 41), 1ll << 48, -(1ll << 55), 1ll << 61, INT64_MAX - NOW,
		INT64_MIN};
	const int32_t lengths[] = {0, 1, 63, 64, 8191, 8192, 100000};
	struct batch_limits lim = limits();
	lim.after_max_ms = INT64_MAX - NOW;
	for (size_t i = 0; i < sizeof(deltas) / sizeof(deltas[0]); i++) {
		for (size_t k = 0; k < sizeof(lengths) / sizeof(lengths[0]); k++) {
			struct batch_build b;
			struct batch_info info;
			batch_build_begin(&b, mem, sizeof(mem));
			assert_true(batch_build_add(&b, NOW, KBYTES_NULL, KBYTES_NULL, NULL, 0));
			int64_t ts = (int64_t)((uint64_t)NOW + (uint64_t)deltas[i]);
			struct kbytes v = {value, lengths[k]};
			assert_true(batch_build_add(&b, ts, v, v, NULL, 0));
			assert_true(batch_build_add(&b, NOW, KBYTES_NULL, KBYTES_NULL, NULL, 0));
			uint32_t size = batch_build_finish(&b);
			assert_int_equal(check(mem, size, lim, &info), KE_NONE);
			assert_true(info.max_timestamp == (ts > NOW ? ts : NOW));
			assert_int_equal(info.max_timestamp_delta, ts > NOW ? 1 : 0);
		}
	}
}

static void test_overlong_varints_are_rejected(void **state)
{
	/* attributes, timestamp delta of 11 bytes */
	const uint8_t long_ts[] = {
		60, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1};
	/* offset delta of 6 bytes */
	const uint8_t long_offset[] = {60, 0, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0};
	/* record length with more than 32 bits */
	const uint8_t wide_length[] = {0xbc, 0x80, 0x80, 0x80, 0x10, 0, 0, 0};
	/* key length with more than 32 bits */
	const uint8_t wide_key[] = {60, 0, 0, 0, 0x82, 0x80, 0x80, 0x80, 0x20};
	const struct {
		const uint8_t *p;
		size_t len;
	} cases[] = {{long_ts, sizeof(long_ts)}, {long_offset, sizeof(long_offset)},
		{wide_length, sizeof(wide_length)}, {wide_key, sizeof(wide_key)}};
	for (size_t i = 0; i < 4; i++) {
		uint8_t mem[256] = {0};
		struct batch_info info;
		one(mem, sizeof(mem));
		for (uint32_t room = 31; room < 100; room += 60) { /* slow path, then fast path */
			memset(mem + 61, 0, room);
			memcpy(mem + 61, cases[i].p, cases[i].len);
			be32_put(mem + 8, 49 + room);
			batch_set_crc(mem);
			assert_int_equal(check(mem, 61 + room, limits(), &info), KE_INVALID_RECORD);
			assert_int_equal(info.error_index, 0);
		}
	}
}

static void test_random_changes_are_never_read_out_of_bounds(void **state)
{
	static uint8_t mem[8192];
	struct prng rng = {5};
	int passed = 0;
	for (int i = 0; i < 20000; i++) {
		uint32_t size = good(mem, sizeof(mem), 1 + (int)prng_below(&rng, 20));
		for (int k = 0; k < 2; k++)
			mem[61 + prng_below(&rng, size - 61)] = (uint8_t)prng_next(&rng);
		batch_set_crc(mem);
		struct batch_info info;
		int16_t err = check(mem, size, limits(), &info);
		/* the iterator reads what passes, and finds the same maximum */
		if (err != KE_NONE)
			continue;
		passed++;
		int64_t offset, ts;
		assert_int_equal(batch_max_timestamp_record(mem, size, NULL, &offset, &ts), 1);
		assert_int_equal(offset, info.max_timestamp_delta);
		assert_true(ts == info.max_timestamp);
	}
	assert_true(passed > 1000);
}

static struct batch_scratch scratch_new(uint32_t size)
{
	return (struct batch_scratch){.buf = malloc(size), .size = size, .codec = codec_open()};
}

static void scratch_free(struct batch_scratch *s)
{
	free(s->buf);
	codec_close(s->codec);
}

static void test_compressed_batches_are_looked_into(void **state)
{
	static uint8_t mem[65536], packed[65536];
	struct batch_scratch s = scratch_new(65536);
	struct batch_limits lim = limits();
	for (enum codec codec = CODEC_GZIP; codec <= CODEC_ZSTD; codec++) {
		struct batch_info info;
		good(mem, sizeof(mem), 100);
		uint32_t size = batch_compress(mem, codec, 0, packed, sizeof(packed));
		assert_true(size > 0 && size < batch_size(mem));
		assert_int_equal(batch_validate(packed, size, &lim, &s, &info), KE_NONE);
		assert_true(info.walked);
		assert_int_equal(info.codec, codec);
		assert_int_equal(info.count, 100);
		assert_true(info.max_timestamp == NOW + 6);

		/* a bad record inside */
		mem[61 + 2] ^= 0x40;
		mem[61 + 3] ^= 0x40;
		batch_set_crc(mem);
		size = batch_compress(mem, codec, 0, packed, sizeof(packed));
		assert_int_equal(batch_validate(packed, size, &lim, &s, &info), KE_INVALID_RECORD);
		/* unless the broker trusts its clients */
		lim.trust_compressed = true;
		assert_int_equal(batch_validate(packed, size, &lim, &s, &info), KE_NONE);
		assert_false(info.walked);
		assert_int_equal(batch_validate(packed, size, &lim, NULL, &info), KE_NONE);
		lim.compacted = true;
		assert_int_equal(batch_validate(packed, size, &lim, &s, &info), KE_INVALID_RECORD);
		lim.compacted = lim.trust_compressed = false;

		/* damaged after compression, the CRC repaired */
		packed[size - 1] ^= 0xff;
		packed[BATCH_HEADER_SIZE] ^= 0xff;
		batch_set_crc(packed);
		assert_int_not_equal(batch_validate(packed, size, &lim, &s, &info), KE_NONE);
	}
	scratch_free(&s);
}

static void test_trust_ends_where_the_header_is_out_of_bounds(void **state)
{
	static uint8_t mem[65536], packed[65536];
	struct batch_scratch s = scratch_new(65536);
	struct batch_limits lim = limits();
	struct batch_info info;
	good(mem, sizeof(mem), 10);
	be64_put(mem + 35, (uint64_t)(NOW + 2 * HOUR));
	batch_set_crc(mem);
	uint32_t size = batch_compress(mem, CODEC_LZ4, 0, packed, sizeof(packed));
	lim.trust_compressed = true;
	assert_int_equal(batch_validate(packed, size, &lim, &s, &info), KE_NONE);
	assert_true(info.walked);
	assert_true(info.max_timestamp == NOW + 6);
	scratch_free(&s);
}

static void test_a_batch_that_inflates_beyond_the_scratch_is_too_large(void **state)
{
	static uint8_t mem[1 << 20], packed[1 << 20];
	static uint8_t zeros[900000];
	struct batch_scratch s = scratch_new(100000);
	struct batch_limits lim = limits();
	for (enum codec codec = CODEC_GZIP; codec <= CODEC_ZSTD; codec++) {
		struct batch_build b;
		struct batch_info info;
		batch_build_begin(&b, mem, sizeof(mem));
		assert_true(batch_build_add(
			&b, NOW, KBYTES_NULL, (struct kbytes){zeros, sizeof(zeros)}, NULL, 0));
		batch_build_finish(&b);
		uint32_t size = batch_compress(mem, codec, 0, packed, sizeof(packed));
		assert_true(size > 0);
		assert_int_equal(
			batch_validate(packed, size, &lim, &s, &info), KE_MESSAGE_TOO_LARGE);
	}
	scratch_free(&s);
}

static void test_zstd_needs_produce_7(void **state)
{
	static uint8_t mem[65536], packed[65536];
	struct batch_scratch s = scratch_new(65536);
	struct batch_limits lim = limits();
	struct batch_info info;
	good(mem, sizeof(mem), 10);
	uint32_t size = batch_compress(mem, CODEC_ZSTD, 0, packed, sizeof(packed));
	lim.no_zstd = true;
	assert_int_equal(
		batch_validate(packed, size, &lim, &s, &info), KE_UNSUPPORTED_COMPRESSION_TYPE);
	scratch_free(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_good_batch_passes_and_is_described),
		cmocka_unit_test(test_a_batch_cut_short_anywhere_is_rejected),
		cmocka_unit_test(test_a_batch_whose_length_lies_is_rejected_at_every_length),
		cmocka_unit_test(test_each_damage_has_its_error),
		cmocka_unit_test(test_the_topic_and_the_request_set_the_limits),
		cmocka_unit_test(test_offset_deltas_must_count_up_in_every_record),
		cmocka_unit_test(test_varints_of_every_length_are_read),
		cmocka_unit_test(test_overlong_varints_are_rejected),
		cmocka_unit_test(test_random_changes_are_never_read_out_of_bounds),
		cmocka_unit_test(test_compressed_batches_are_looked_into),
		cmocka_unit_test(test_trust_ends_where_the_header_is_out_of_bounds),
		cmocka_unit_test(test_a_batch_that_inflates_beyond_the_scratch_is_too_large),
		cmocka_unit_test(test_zstd_needs_produce_7),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
