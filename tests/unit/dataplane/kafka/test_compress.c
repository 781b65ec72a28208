/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/prng.h"
#include "kafka/compress.h"

#define MAX (1 << 20)

/* Text-like bytes of length n. */
static void text(uint8_t *p, size_t n, struct prng *rng)
{
	static const char *const words[] = {
		"stream ", "table ", "offset ", "batch ", "\n", "commit "};
	size_t at = 0;
	while (at < n) {
		const char *w = words[prng_below(rng, 6)];
		size_t len = strlen(w) < n - at ? strlen(w) : n - at;
		memcpy(p + at, w, len);
		at += len;
	}
}

static void test_every_codec_survives_a_round_trip_at_every_size(void **state)
{
	const size_t sizes[] = {0, 1, 2, 100, 32767, 32768, 32769, 65536, 200000, MAX};
	uint8_t *src = malloc(MAX), *dst = malloc(MAX);
	struct codec_ctx *c = codec_open();
	struct prng rng = {1};
	for (enum codec codec = CODEC_NONE; codec <= CODEC_ZSTD; codec++) {
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			size_t n = sizes[i];
			text(src, n, &rng);
			size_t bound = codec_compress_bound(codec, n);
			uint8_t *packed = malloc(bound ? bound : 1);
			int64_t len = codec_compress(codec, 0, src, n, packed, bound);
			assert_true(len >= 0 && (size_t)len <= bound);
			assert_int_equal(
				codec_decompress(c, codec, packed, (size_t)len, dst, n), n);
			assert_memory_equal(src, dst, n);
			if (n)
				assert_int_equal(
					codec_decompress(c, codec, packed, (size_t)len, dst, n - 1),
					CODEC_E_LARGE);
			free(packed);
		}
	}
	codec_close(c);
	free(src);
	free(dst);
}

static void test_data_cut_short_or_changed_is_refused_or_bounded(void **state)
{
	enum { N = 3000 };
	uint8_t src[N], packed[2 * N];
	struct codec_ctx *c = codec_open();
	struct prng rng = {2};
	text(src, N, &rng);
	for (enum codec codec = CODEC_GZIP; codec <= CODEC_ZSTD; codec++) {
		int64_t len = codec_compress(codec, 0, src, N, packed, sizeof(packed));
		assert_true(len > 0);
		for (int64_t n = 0; n < len; n++) {
			uint8_t *cut = malloc((size_t)n + 1), *dst = malloc(N);
			memcpy(cut, packed, (size_t)n);
			int64_t got = codec_decompress(c, codec, cut, (size_t)n, dst, N);
			/* the xerial frame knows no end: its header alone is an empty stream */
			if (codec == CODEC_SNAPPY && n == 16)
				assert_int_equal(got, 0);
			else
				assert_int_equal(got, CODEC_E_CORRUPT);
			free(cut);
			free(dst);
		}
		for (int i = 0; i < 2000; i++) {
			uint8_t *bad = malloc((size_t)len), *dst = malloc(N);
			memcpy(bad, packed, (size_t)len);
			bad[prng_below(&rng, (uint64_t)len)] ^=
				(uint8_t)(1 + prng_below(&rng, 255));
			assert_true(codec_decompress(c, codec, bad, (size_t)len, dst, N) <= N);
			free(bad);
			free(dst);
		}
		/* and the context still works */
		uint8_t dst[N];
		assert_int_equal(codec_decompress(c, codec, packed, (size_t)len, dst, N), N);
	}
	codec_close(c);
}

static void test_noise_is_refused(void **state)
{
	struct codec_ctx *c = codec_open();
	struct prng rng = {3};
	uint8_t noise[256], dst[4096];
	for (enum codec codec = CODEC_GZIP; codec <= CODEC_ZSTD; codec++) {
		for (int i = 0; i < 2000; i++) {
			for (size_t k = 0; k < sizeof(noise); k++)
				noise[k] = (uint8_t)prng_next(&rng);
			int64_t got = codec_decompress(
				c, codec, noise, prng_below(&rng, 256), dst, sizeof(dst));
			assert_true(got <= (int64_t)sizeof(dst));
			if (codec != CODEC_SNAPPY) /* a raw block has no magic */
				assert_true(got < 0);
		}
	}
	codec_close(c);
}

static void test_snappy_is_read_raw_and_in_frames(void **state)
{
	struct codec_ctx *c = codec_open();
	uint8_t dst[64];
	/* literal of 5 bytes */
	const uint8_t raw[] = {5, 4 << 2, 'h', 'e', 'l', 'l', 'o'};
	assert_int_equal(codec_decompress(c, CODEC_SNAPPY, raw, sizeof(raw), dst, sizeof(dst)), 5);
	assert_memory_equal(dst, "hello", 5);
	const uint8_t framed[] = {0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1, 0,
		0, 0, 7, 5, 4 << 2, 'h', 'e', 'l', 'l', 'o', 0, 0, 0, 3, 1, 0, '!'};
	assert_int_equal(
		codec_decompress(c, CODEC_SNAPPY, framed, sizeof(framed), dst, sizeof(dst)), 6);
	assert_memory_equal(dst, "hello!", 6);
	/* a block that claims 4 GiB in 3 bytes is a lie, not a large block */
	const uint8_t lie[] = {0xff, 0xff, 0xff, 0xff, 0x0f, 0};
	assert_int_equal(codec_decompress(c, CODEC_SNAPPY, lie, sizeof(lie), dst, sizeof(dst)),
		CODEC_E_CORRUPT);
	codec_close(c);
}

static void test_several_gzip_members_and_lz4_frames_are_one_stream(void **state)
{
	struct codec_ctx *c = codec_open();
	uint8_t packed[256], dst[64];
	const enum codec codecs[] = {CODEC_GZIP, CODEC_LZ4, CODEC_ZSTD};
	for (int i = 0; i < 3; i++) {
		int64_t a = codec_compress(codecs[i], 0, "first ", 6, packed, sizeof(packed));
		int64_t b = codec_compress(
			codecs[i], 0, "second", 6, packed + a, sizeof(packed) - (size_t)a);
		assert_int_equal(
			codec_decompress(c, codecs[i], packed, (size_t)(a + b), dst, sizeof(dst)),
			12);
		assert_memory_equal(dst, "first second", 12);
		/* what follows must be such data, too */
		assert_int_equal(codec_decompress(c, codecs[i], packed, (size_t)(a + b) - 1, dst,
					 sizeof(dst)),
			CODEC_E_CORRUPT);
	}
	codec_close(c);
}

static void test_a_bomb_stops_at_the_output_bound(void **state)
{
	const size_t n = 16 << 20, bound = n + n / 4;
	uint8_t *zeros = calloc(1, n), *packed = malloc(bound), *dst = malloc(1 << 16);
	struct codec_ctx *c = codec_open();
	for (enum codec codec = CODEC_GZIP; codec <= CODEC_ZSTD; codec++) {
		int64_t len = codec_compress(codec, 0, zeros, n, packed, bound);
		assert_true(len > 0);
		assert_int_equal(codec_decompress(c, codec, packed, (size_t)len, dst, 1 << 16),
			CODEC_E_LARGE);
	}
	codec_close(c);
	free(zeros);
	free(packed);
	free(dst);
}

static void test_unknown_codecs_are_refused(void **state)
{
	struct codec_ctx *c = codec_open();
	uint8_t dst[16];
	assert_int_equal(codec_decompress(c, (enum codec)5, "x", 1, dst, 16), CODEC_E_UNKNOWN);
	assert_int_equal(codec_compress((enum codec)7, 0, "x", 1, dst, 16), CODEC_E_UNKNOWN);
	assert_string_equal(codec_name(CODEC_LZ4), "lz4");
	assert_string_equal(codec_name((enum codec)9), "?");
	codec_close(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_codec_survives_a_round_trip_at_every_size),
		cmocka_unit_test(test_data_cut_short_or_changed_is_refused_or_bounded),
		cmocka_unit_test(test_noise_is_refused),
		cmocka_unit_test(test_snappy_is_read_raw_and_in_frames),
		cmocka_unit_test(test_several_gzip_members_and_lz4_frames_are_one_stream),
		cmocka_unit_test(test_a_bomb_stops_at_the_output_bound),
		cmocka_unit_test(test_unknown_codecs_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
