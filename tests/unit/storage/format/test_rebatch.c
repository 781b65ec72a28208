/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/format/rebatch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/prng.h"
#include "kafka/batch.h"

#define ROOM (1u << 20)
#define BASE 1000
#define COUNT 40

struct fixture {
	struct batch_scratch inflate;
	struct rebatch *re;
	uint8_t *memory;
	uint8_t plain[ROOM], batch[ROOM];
	bool keep[COUNT];
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	f->inflate = (struct batch_scratch){malloc(ROOM), ROOM, codec_open()};
	f->memory = malloc(3 * ROOM);
	f->re = rebatch_create(f->memory, 3 * ROOM);
	assert_non_null(f->re);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	rebatch_destroy(f->re);
	codec_close(f->inflate.codec);
	free(f->inflate.buf);
	free(f->memory);
	free(f);
	return 0;
}

/* Record i: time 5000 + 7 * (i % 9), a null value every fifth, headers every third, no key every
 * eleventh. */
static void add_record(struct batch_build *b, int i)
{
	uint8_t key[16], value[300];
	const struct batch_header header = {kstr_of("h"), {key, i % 4}};
	memset(key, i, sizeof(key));
	memset(value, 'a' + i % 20, sizeof(value));
	struct kbytes k = i % 11 == 10 ? KBYTES_NULL : (struct kbytes){key, 1 + i % 16};
	struct kbytes v = i % 5 == 4 ? KBYTES_NULL : (struct kbytes){value, i * 7};
	assert_true(batch_build_add(b, 5000 + 7 * (i % 9), k, v, &header, i % 3 == 0));
}

static const uint8_t *make(struct fixture *f, enum codec codec)
{
	struct batch_build b;
	batch_build_begin(&b, f->plain, ROOM);
	batch_build_set_producer(&b, 77, 3, 900, false);
	for (int i = 0; i < COUNT; i++)
		add_record(&b, i);
	assert_int_not_equal(batch_build_finish(&b), 0);
	batch_set_base_offset(f->plain, BASE);
	batch_set_leader_epoch(f->plain, 12);
	if (codec == CODEC_NONE)
		return f->plain;
	assert_int_not_equal(batch_compress(f->plain, codec, 0, f->batch, ROOM), 0);
	return f->batch;
}

static enum rebatch_verdict filter(
	struct fixture *f, const uint8_t *p, int64_t horizon_ms, const uint8_t **out, uint32_t *len)
{
	struct rebatch_record rec;
	assert_true(rebatch_load(f->re, p));
	while (rebatch_next(f->re, &rec))
		if (f->keep[rec.offset - BASE])
			rebatch_keep(f->re, &rec);
	return rebatch_finish(f->re, horizon_ms, out, len);
}

static void same_bytes(struct kbytes a, struct kbytes b)
{
	assert_int_equal(a.len, b.len);
	if (a.len > 0)
		assert_memory_equal(a.p, b.p, a.len);
}

/* The records of `out` are those of the batch without codec that are kept. */
static void check_records(struct fixture *f, const uint8_t *out, uint32_t len)
{
	struct batch_iter a, b;
	struct batch_record x, y;
	int64_t max = -1;
	assert_int_equal(batch_iter_init(&a, f->plain, ROOM, NULL), KE_NONE);
	assert_int_equal(batch_iter_init(&b, out, len, &f->inflate), KE_NONE);
	for (int i = 0; i < COUNT; i++) {
		assert_int_equal(batch_iter_next(&a, &x), 1);
		if (!f->keep[i])
			continue;
		assert_int_equal(batch_iter_next(&b, &y), 1);
		assert_int_equal(x.offset, y.offset);
		assert_int_equal(x.timestamp, y.timestamp);
		same_bytes(x.key, y.key);
		same_bytes(x.value, y.value);
		assert_int_equal(x.header_count, y.header_count);
		same_bytes((struct kbytes){x.headers.p, (int32_t)rd_left(&x.headers)},
			(struct kbytes){y.headers.p, (int32_t)rd_left(&y.headers)});
		max = max_of(max, y.timestamp);
	}
	assert_int_equal(batch_iter_next(&b, &y), 0);
	assert_int_equal(batch_max_timestamp(out), max);
}

static void check_head(const uint8_t *p, const uint8_t *out)
{
	assert_true(batch_crc_ok(out));
	assert_int_equal(batch_base_offset(out), batch_base_offset(p));
	assert_int_equal(batch_last_offset(out), batch_last_offset(p));
	assert_int_equal(batch_leader_epoch(out), 12);
	assert_int_equal(batch_producer_id(out), 77);
	assert_int_equal(batch_producer_epoch(out), 3);
	assert_int_equal(batch_base_sequence(out), 900);
}

static void test_what_stays_is_as_it_was_with_every_codec_and_every_choice(void **state)
{
	struct fixture *f = *state;
	struct prng prng = {.s = 5};
	for (int codec = 0; codec < CODEC_COUNT; codec++) {
		for (int turn = 0; turn < 60; turn++) {
			const uint8_t *p = make(f, (enum codec)codec), *out = NULL;
			uint32_t len = 0, kept = 0;
			int64_t horizon = turn % 3 == 0 ? 1700000000000ll + turn : -1;
			for (int i = 0; i < COUNT; i++)
				kept += f->keep[i] = prng_chance(&prng, 1 + turn % 7, 7);
			enum rebatch_verdict v = filter(f, p, horizon, &out, &len);
			if (kept == 0 || (kept == COUNT && horizon < 0)) {
				assert_int_equal(v, kept ? REBATCH_SAME : REBATCH_EMPTY);
				continue;
			}
			assert_int_equal(v, REBATCH_CHANGED);
			assert_int_equal(batch_size(out), len);
			assert_int_equal(batch_count(out), kept);
			assert_int_equal(batch_codec(out), codec);
			check_head(p, out);
			check_records(f, out, len);
			struct rebatch_head h;
			assert_true(rebatch_head(out, len, &h));
			assert_int_equal(h.delete_horizon_ms, horizon);
			assert_int_equal(batch_base_timestamp(out), horizon < 0 ? 5000 : horizon);
		}
	}
}

static void test_a_batch_can_be_taken_apart_again_and_again(void **state)
{
	struct fixture *f = *state;
	static uint8_t copy[ROOM];
	const uint8_t *p = make(f, CODEC_LZ4), *out;
	uint32_t len;
	memset(f->keep, 1, sizeof(f->keep));
	for (int i = 0; i + 1 < COUNT; i++) {
		f->keep[(i * 17) % COUNT] = false;
		assert_int_equal(
			filter(f, p, i == 9 ? 123456789 : -1, &out, &len), REBATCH_CHANGED);
		check_head(p, out);
		check_records(f, out, len);
		memcpy(copy, out, len);
		p = copy;
	}
	struct rebatch_head h;
	assert_true(rebatch_head(p, len, &h));
	assert_int_equal(h.delete_horizon_ms, 123456789);
	assert_int_equal(h.count, 1);
}

static void test_timestamps_of_the_append_stay(void **state)
{
	struct fixture *f = *state;
	make(f, CODEC_NONE);
	batch_set_max_timestamp(f->plain, true, 9999);
	memset(f->keep, 0, sizeof(f->keep));
	f->keep[3] = f->keep[4] = true;
	const uint8_t *out;
	uint32_t len;
	assert_int_equal(filter(f, f->plain, 777, &out, &len), REBATCH_CHANGED);
	assert_true(batch_is_log_append_time(out));
	check_records(f, out, len);
	assert_int_equal(batch_max_timestamp(out), 9999);
}

static void test_an_empty_batch_keeps_offsets_and_producer(void **state)
{
	struct fixture *f = *state;
	uint8_t out[REBATCH_HEAD];
	const uint8_t *p = make(f, CODEC_ZSTD);
	struct rebatch_head h;
	rebatch_empty(p, out);
	check_head(p, out);
	assert_int_equal(batch_size(out), REBATCH_HEAD);
	assert_int_equal(batch_count(out), 0);
	assert_int_equal(batch_codec(out), CODEC_NONE);
	assert_int_equal(batch_last_sequence(out), 900 + COUNT - 1);
	assert_int_equal(batch_max_timestamp(out), batch_max_timestamp(p));
	assert_true(rebatch_head(out, REBATCH_HEAD, &h));
	assert_true(rebatch_load(f->re, out));
	struct rebatch_record rec;
	assert_false(rebatch_next(f->re, &rec));
}

static void test_a_head_that_cannot_be_right_is_refused(void **state)
{
	struct fixture *f = *state;
	struct rebatch_head h;
	uint8_t *p = f->plain;
	make(f, CODEC_NONE);
	uint32_t size = batch_size(p);
	assert_true(rebatch_head(p, size, &h));
	assert_false(rebatch_head(p, size - 1, &h));
	p[16] = 1;
	assert_false(rebatch_head(p, size, &h));
	make(f, CODEC_NONE);
	be32_put(p + 23, (uint32_t)-1);
	assert_false(rebatch_head(p, size, &h));
	make(f, CODEC_NONE);
	be32_put(p + 57, COUNT + 1);
	assert_false(rebatch_head(p, size, &h));
	make(f, CODEC_NONE);
	batch_set_base_offset(p, INT64_MAX - 3);
	assert_false(rebatch_head(p, size, &h));
	make(f, CODEC_NONE);
	batch_set_base_offset(p, -1);
	assert_false(rebatch_head(p, size, &h));
	make(f, CODEC_NONE);
	be32_put(p + 8, 48);
	assert_false(rebatch_head(p, size, &h));
}

static void test_records_that_are_not_what_the_head_says_are_not_touched(void **state)
{
	struct fixture *f = *state;
	make(f, CODEC_NONE);
	be32_put(f->plain + 57, COUNT - 1);
	assert_false(rebatch_load(f->re, f->plain)); /* one too many */
	make(f, CODEC_NONE);
	f->plain[REBATCH_HEAD] ^= 0x40; /* a length */
	assert_false(rebatch_load(f->re, f->plain));
	make(f, CODEC_ZSTD);
	f->batch[REBATCH_HEAD] ^= 1; /* the frame's magic */
	assert_false(rebatch_load(f->re, f->batch));
	make(f, CODEC_NONE);
	uint8_t *second = f->plain + REBATCH_HEAD + 1 + f->plain[REBATCH_HEAD] / 2;
	assert_int_equal(second[3], 2); /* its offset delta: 1 */
	second[3] = 0;
	assert_false(rebatch_load(f->re, f->plain)); /* two records of one offset */
	/* every single bit of the records: loaded or not, never out of bounds */
	make(f, CODEC_NONE);
	for (uint32_t bit = 8 * REBATCH_HEAD; bit < 8 * batch_size(f->plain); bit++) {
		const uint8_t *out;
		uint32_t len;
		struct rebatch_record rec;
		f->plain[bit / 8] ^= (uint8_t)(1u << bit % 8);
		if (rebatch_load(f->re, f->plain)) {
			for (int i = 0; rebatch_next(f->re, &rec); i++)
				if (i % 2)
					rebatch_keep(f->re, &rec);
			assert_int_equal(rebatch_finish(f->re, 4242, &out, &len), REBATCH_CHANGED);
		}
		f->plain[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
}

static void test_a_batch_too_large_for_the_memory_is_not_touched(void **state)
{
	struct fixture *f = *state;
	struct batch_build b;
	const size_t n = ROOM / 2;
	uint8_t *value = calloc(1, n);
	batch_build_begin(&b, f->plain, ROOM);
	assert_true(batch_build_add(
		&b, 1, (struct kbytes){value, 3}, (struct kbytes){value, (int32_t)n}, NULL, 0));
	batch_build_finish(&b);
	assert_int_not_equal(batch_compress(f->plain, CODEC_LZ4, 0, f->batch, ROOM), 0);
	uint8_t *memory = malloc(n);
	struct rebatch *small = rebatch_create(memory, n);
	assert_false(rebatch_load(small, f->batch));
	assert_false(rebatch_load(small, f->plain));
	rebatch_destroy(small);
	free(memory);
	free(value);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_what_stays_is_as_it_was_with_every_codec_and_every_choice, set_up,
			tear_down),
		cmocka_unit_test_setup_teardown(
			test_a_batch_can_be_taken_apart_again_and_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_timestamps_of_the_append_stay, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_an_empty_batch_keeps_offsets_and_producer, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_a_head_that_cannot_be_right_is_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_records_that_are_not_what_the_head_says_are_not_touched, set_up,
			tear_down),
		cmocka_unit_test_setup_teardown(
			test_a_batch_too_large_for_the_memory_is_not_touched, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
