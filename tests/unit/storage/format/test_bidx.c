/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/check.h"
#include "base/crc.h"
#include "storage/format/bidx.h"

static const struct uuid TOPIC = {{1, 2, 3}};

static uint32_t seed_of(void)
{
	return bidx_seed(&TOPIC, 4, 1000);
}

static void page_full(struct fmt_bidx_page *p, uint32_t k)
{
	*p = (struct fmt_bidx_page){.page = k, .count = BIDX_PER_PAGE};
	for (uint32_t i = 0; i < BIDX_PER_PAGE; i++)
		p->blocks[i] = (struct fmt_block){
			.first_offset = 1000 + (int64_t)(k * BIDX_PER_PAGE + i) * 10,
			.max_timestamp = i,
			.sum = i * 31,
			.first_pos = (uint16_t)(i || k ? i + 7 : 0),
		};
	bidx_seal(p, seed_of());
}

static void page_last(struct fmt_bidx_page *p)
{
	page_full(p, 1);
	memset(&p->blocks[3], 0, sizeof(p->blocks) - 3 * sizeof(p->blocks[0]));
	p->count = 3;
	p->flags = BIDX_SEALED;
	p->leader_epoch = 2;
	p->end_pos = (BIDX_PER_PAGE + 2) * (uint64_t)BIDX_BLOCK + 100;
	p->end_offset = 5000;
	p->created_ms = 1;
	p->max_timestamp = 2;
	bidx_seal(p, seed_of());
}

static bool sealed_ok(struct fmt_bidx_page p)
{
	bidx_seal(&p, seed_of());
	return bidx_check(&p, seed_of(), p.page);
}

static void test_bidx_each_flipped_bit_of_a_page_is_seen(void **state)
{
	struct fmt_bidx_page pages[2];
	page_full(&pages[0], 1);
	page_last(&pages[1]);
	for (size_t i = 0; i < 2; i++) {
		uint8_t *p = (uint8_t *)&pages[i];
		assert_true(bidx_check(&pages[i], seed_of(), 1));
		for (size_t bit = 0; bit < FMT_PAGE * 8; bit++) {
			p[bit / 8] ^= (uint8_t)(1 << bit % 8);
			assert_false(bidx_check(&pages[i], seed_of(), 1));
			p[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
	}
}

static void test_bidx_a_page_of_another_place_is_none(void **state)
{
	struct fmt_bidx_page p;
	struct uuid other = {{1, 2, 4}};
	page_full(&p, 1);
	assert_true(bidx_check(&p, seed_of(), 1));
	assert_false(bidx_check(&p, seed_of(), 0));
	assert_false(bidx_check(&p, seed_of(), 2));
	assert_false(bidx_check(&p, bidx_seed(&TOPIC, 5, 1000), 1));
	assert_false(bidx_check(&p, bidx_seed(&TOPIC, 4, 1001), 1));
	assert_false(bidx_check(&p, bidx_seed(&other, 4, 1000), 1));
	memset(&p, 0, sizeof(p));
	assert_false(bidx_check(&p, seed_of(), 0));
}

static void test_bidx_entries_that_break_a_rule_are_seen_though_the_checksum_is_right(void **state)
{
	struct fmt_bidx_page good, p;
	page_full(&good, 1);
	p = good;
	p.blocks[5].first_offset = p.blocks[4].first_offset - 1;
	assert_false(sealed_ok(p));
	p.blocks[5].first_offset = p.blocks[4].first_offset;
	assert_false(sealed_ok(p)); /* two batches with the same offset */
	p.blocks[5].first_pos = BIDX_NO_BATCH;
	assert_true(sealed_ok(p));
	p = good;
	p.blocks[0].first_offset = -1;
	assert_false(sealed_ok(p));
	p = good;
	p.blocks[9].first_pos = BIDX_BLOCK;
	assert_false(sealed_ok(p));
	p = good;
	p.blocks[9].reserved = 1;
	assert_false(sealed_ok(p));
	page_full(&p, 0);
	assert_true(sealed_ok(p));
	p.blocks[0].first_pos = 1;
	assert_false(sealed_ok(p)); /* a segment begins with a batch */
}

static void test_bidx_only_the_last_page_of_a_sealed_segment_tells_its_ends(void **state)
{
	struct fmt_bidx_page good, p;
	page_full(&p, 1);
	p.count--;
	assert_false(sealed_ok(p));
	p.count = 0;
	assert_false(sealed_ok(p));
	p.count = BIDX_PER_PAGE + 1;
	assert_false(sealed_ok(p));
	page_full(&p, 1);
	p.end_offset = 1;
	assert_false(sealed_ok(p));
	page_full(&p, 1);
	p.flags = BIDX_COMPACTED;
	assert_false(sealed_ok(p));

	page_last(&good);
	assert_true(sealed_ok(good));
	p = good;
	p.end_pos = (BIDX_PER_PAGE + 3) * (uint64_t)BIDX_BLOCK;
	assert_true(sealed_ok(p));
	p.end_pos++;
	assert_false(sealed_ok(p));
	p.end_pos = (BIDX_PER_PAGE + 2) * (uint64_t)BIDX_BLOCK;
	assert_false(sealed_ok(p));
	p = good;
	p.end_offset = p.blocks[2].first_offset;
	assert_false(sealed_ok(p));
	p = good;
	p.flags = BIDX_SEALED | BIDX_DIRTY;
	assert_false(sealed_ok(p));
	p.flags |= BIDX_COMPACTED;
	p.delete_horizon_ms = 7;
	assert_true(sealed_ok(p));
	p.flags = BIDX_SEALED;
	assert_false(sealed_ok(p));
	p = good;
	p.flags |= 8;
	assert_false(sealed_ok(p));
}

static void test_bidx_sums_tie_bytes_to_their_place(void **state)
{
	uint32_t a = crc32c(bidx_sum_begin(seed_of(), 1), "bytes", 5);
	assert_int_equal(a, crc32c(bidx_sum_begin(seed_of(), 1), "bytes", 5));
	assert_int_not_equal(a, crc32c(bidx_sum_begin(seed_of(), 2), "bytes", 5));
	assert_int_not_equal(a, crc32c(bidx_sum_begin(bidx_seed(&TOPIC, 4, 0), 1), "bytes", 5));
	assert_int_not_equal(a, crc32c(bidx_sum_begin(bidx_seed(&TOPIC, 3, 1000), 1), "bytes", 5));
}

static void test_bidx_find_agrees_with_a_walk_from_the_front(void **state)
{
	/* Batches begin in blocks 0, 1, 4 and 6; one fills 2 and 3, another one 5. */
	static const struct fmt_block b[] = {
		{.first_offset = 10},
		{.first_offset = 20},
		{.first_offset = 25, .first_pos = BIDX_NO_BATCH},
		{.first_offset = 25, .first_pos = BIDX_NO_BATCH},
		{.first_offset = 40},
		{.first_offset = 45, .first_pos = BIDX_NO_BATCH},
		{.first_offset = 60},
	};
	for (uint32_t count = 0; count <= array_size(b); count++) {
		for (int64_t offset = 0; offset < 70; offset++) {
			int64_t want = -1;
			for (uint32_t i = 0; i < count; i++)
				if (b[i].first_pos != BIDX_NO_BATCH && b[i].first_offset <= offset)
					want = i;
			assert_int_equal(bidx_find(b, count, offset), want);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bidx_each_flipped_bit_of_a_page_is_seen),
		cmocka_unit_test(test_bidx_a_page_of_another_place_is_none),
		cmocka_unit_test(
			test_bidx_entries_that_break_a_rule_are_seen_though_the_checksum_is_right),
		cmocka_unit_test(test_bidx_only_the_last_page_of_a_sealed_segment_tells_its_ends),
		cmocka_unit_test(test_bidx_sums_tie_bytes_to_their_place),
		cmocka_unit_test(test_bidx_find_agrees_with_a_walk_from_the_front),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
