/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "kafka/batch.h"
#include "storage/format/record.h"
#include "storage/format/scan.h"

#define ROOM 65536u

/* n batches, batch i with i + 1 records; returns the end. */
static uint64_t build(uint8_t *out, int n, int64_t base, uint64_t *starts)
{
	uint64_t at = 0;
	memset(out, 0, ROOM);
	for (int i = 0; i < n; i++) {
		struct batch_build b;
		starts[i] = at;
		batch_build_begin(&b, out + at, ROOM - at);
		for (int j = 0; j <= i; j++)
			assert_true(batch_build_add(&b, 1000 * i + j, KBYTES_NULL,
				(struct kbytes){.p = (const uint8_t *)"value", .len = 5}, NULL, 0));
		uint32_t size = batch_build_finish(&b);
		batch_set_base_offset(out + at, base);
		base += i + 1;
		at += size;
	}
	memset(out + at, 0, ROOM - at);
	starts[n] = at;
	return at;
}

static void test_scan_is_the_same_for_pieces_of_any_size(void **state)
{
	uint8_t *bytes = malloc(ROOM);
	uint64_t starts[9];
	uint64_t end = build(bytes, 8, 500, starts);
	for (size_t piece = 1; piece < 400; piece = piece * 3 / 2 + 1) {
		struct scan s;
		int batches = 0;
		scan_init(&s, 0, 500, ROOM);
		for (size_t at = 0; at < ROOM && s.stop == SCAN_STOP_NONE; at += piece) {
			const uint8_t *p = bytes + at;
			size_t n = min_of(piece, ROOM - at);
			while (scan_feed(&s, &p, &n) == SCAN_BATCH) {
				assert_int_equal(s.batch.pos, starts[batches]);
				assert_int_equal(s.batch.max_timestamp, 1000 * batches + batches);
				batches++;
				assert_int_equal(s.pos, starts[batches]);
			}
		}
		assert_int_equal(batches, 8);
		assert_int_equal(s.stop, SCAN_STOP_ZERO);
		assert_int_equal(s.pos, end);
		assert_int_equal(s.next_offset, 500 + 36);
	}
	free(bytes);
}

static enum scan_stop stop_of(const uint8_t *bytes, uint64_t size, int64_t base, uint64_t *pos)
{
	struct scan s;
	const uint8_t *p = bytes;
	size_t n = size;
	scan_init(&s, 0, base, size);
	while (scan_feed(&s, &p, &n) == SCAN_BATCH)
		;
	scan_end(&s);
	*pos = s.pos;
	return s.stop;
}

static void test_scan_stops_for_the_right_reason(void **state)
{
	uint8_t *bytes = malloc(ROOM);
	uint64_t starts[4], pos;
	uint64_t end = build(bytes, 3, 0, starts);
	uint8_t *third = bytes + starts[2];
	assert_int_equal(stop_of(bytes, end, 0, &pos), SCAN_STOP_EOF);
	assert_int_equal(pos, end);
	assert_int_equal(stop_of(bytes, end + 60, 0, &pos), SCAN_STOP_EOF);
	assert_int_equal(stop_of(bytes, end + 61, 0, &pos), SCAN_STOP_ZERO);
	assert_int_equal(stop_of(bytes, end - 1, 0, &pos), SCAN_STOP_LENGTH);
	assert_int_equal(pos, starts[2]);
	assert_int_equal(stop_of(bytes, starts[2] + 60, 0, &pos), SCAN_STOP_EOF);
	assert_int_equal(stop_of(bytes, end, 1, &pos), SCAN_STOP_OFFSET);
	assert_int_equal(pos, 0);
	third[16] = 1;
	assert_int_equal(stop_of(bytes, end, 0, &pos), SCAN_STOP_MAGIC);
	third[16] = 2;
	be32_put(third + 23, UINT32_MAX);
	assert_int_equal(stop_of(bytes, end, 0, &pos), SCAN_STOP_DELTA);
	be32_put(third + 23, 2);
	third[70] ^= 1;
	assert_int_equal(stop_of(bytes, end, 0, &pos), SCAN_STOP_CRC);
	assert_int_equal(pos, starts[2]);
	third[70] ^= 1;
	be32_put(third + 8, 48);
	assert_int_equal(stop_of(bytes, end, 0, &pos), SCAN_STOP_LENGTH);
	free(bytes);
}

static void test_scan_offset_near_the_largest_does_not_overflow(void **state)
{
	uint8_t *bytes = malloc(ROOM);
	uint64_t starts[3], pos;
	build(bytes, 2, 0, starts);
	batch_set_base_offset(bytes, INT64_MAX - 1);
	batch_set_base_offset(bytes + starts[1], INT64_MAX - 1);
	assert_int_equal(stop_of(bytes, ROOM, INT64_MAX - 1, &pos), SCAN_STOP_OFFSET);
	assert_int_equal(pos, starts[1]); /* the first one has one record: 2^63 - 2 is its offset */
	assert_int_equal(
		stop_of(bytes + starts[1], ROOM - starts[1], INT64_MAX - 1, &pos), SCAN_STOP_DELTA);
	free(bytes);
}

static void test_record_find_by_time(void **state)
{
	uint8_t *bytes = malloc(ROOM);
	uint8_t *inflate = malloc(ROOM);
	uint64_t starts[6];
	int64_t offset, timestamp;
	build(bytes, 5, 0, starts);
	struct record_scratch *s = record_scratch_create(inflate, ROOM);
	assert_non_null(s);
	const uint8_t *p = bytes + starts[4]; /* offsets 10..14, times 4000..4004 */
	uint32_t n = (uint32_t)(starts[5] - starts[4]);
	assert_int_equal(record_find(p, n, 4002, 0, s, &offset, &timestamp), 1);
	assert_int_equal(offset, 12);
	assert_int_equal(timestamp, 4002);
	assert_int_equal(record_find(p, n, 0, 0, s, &offset, &timestamp), 1);
	assert_int_equal(offset, 10);
	assert_int_equal(record_find(p, n, 4005, 0, s, &offset, &timestamp), 0);
	assert_int_equal(record_find(p, n, -1, 0, s, &offset, &timestamp), 1);
	assert_int_equal(offset, 14);
	record_scratch_destroy(s);
	free(inflate);
	free(bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scan_is_the_same_for_pieces_of_any_size),
		cmocka_unit_test(test_scan_stops_for_the_right_reason),
		cmocka_unit_test(test_scan_offset_near_the_largest_does_not_overflow),
		cmocka_unit_test(test_record_find_by_time),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
