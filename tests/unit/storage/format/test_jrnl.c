/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/crc.h"
#include "storage/format/bidx.h"
#include "storage/format/jrnl.h"

#define RING (16u * FMT_PAGE)

static const struct uuid JOURNAL = {{7, 8, 9}};

static uint8_t *page_alloc(size_t size)
{
	uint8_t *p = aligned_alloc(FMT_PAGE, size);
	assert_non_null(p);
	memset(p, 0xa5, size);
	return p;
}

static void add(struct jrnl_builder *b, struct fmt_jrnl_entry e, const void *body, uint32_t length)
{
	uint8_t *out = jrnl_add(b, &e, length);
	assert_non_null(out);
	if (length)
		memcpy(out, body, length);
}

static void add_open(struct jrnl_builder *b, uint32_t log)
{
	struct fmt_jrnl_open o = {
		.topic_id = {{1}}, .partition = 3, .topic_length = 5, .topic = "topic"};
	add(b, (struct fmt_jrnl_entry){.kind = JRNL_OPEN, .log = log, .length = sizeof(o)}, &o,
		sizeof(o));
}

struct direct_body {
	struct fmt_jrnl_direct d;
	struct fmt_block blocks[2];
	uint8_t tail[100];
};

static void add_direct(struct jrnl_builder *b, uint32_t log)
{
	struct direct_body body = {
		.d = {.base_offset = 20,
			.end_offset = 30,
			.max_timestamp = 5,
			.block_count = 2,
			.tail_length = 100,
			.lead = 904},
	};
	memset(body.tail, 't', sizeof(body.tail));
	struct fmt_jrnl_entry e = {.kind = JRNL_DIRECT,
		.log = log,
		.segment = 0,
		.pos = 5000,
		.length = 5 * FMT_PAGE - 5000,
		.crc = 77};
	add(b, e, &body, offsetof(struct direct_body, tail) + sizeof(body.tail));
}

/* A group with an entry of each kind. Its size on disk. */
static uint32_t make_group(uint8_t *buf, uint64_t seq, uint64_t pos)
{
	struct jrnl_builder b;
	jrnl_begin(&b, buf, 2 * FMT_PAGE);
	add_open(&b, 1);
	add(&b, (struct fmt_jrnl_entry){.kind = JRNL_DATA, .log = 1, .pos = 9, .length = 11},
		"hello world", 11);
	add_direct(&b, 2);
	add(&b, (struct fmt_jrnl_entry){.kind = JRNL_TRIM, .log = 1, .pos = 4}, NULL, 0);
	add(&b, (struct fmt_jrnl_entry){.kind = JRNL_DELETE, .log = 2}, NULL, 0);
	return jrnl_end(&b, &JOURNAL, seq, pos, 0);
}

static enum jrnl_verdict check(const uint8_t *p, uint64_t room, uint64_t seq, uint64_t pos)
{
	uint64_t need;
	return jrnl_check(p, room, &JOURNAL, seq, pos, RING, &need);
}

static uint32_t group_length(const uint8_t *p)
{
	struct fmt_jrnl_group g;
	memcpy(&g, p, sizeof(g));
	return g.length;
}

static void test_jrnl_a_group_comes_back_as_it_was_written(void **state)
{
	uint8_t *buf = page_alloc(2 * FMT_PAGE);
	struct fmt_jrnl_entry e;
	const uint8_t *body;
	uint64_t need;
	uint32_t at = 0;
	uint32_t size = make_group(buf, 12, RING + FMT_PAGE);
	assert_int_equal(size, FMT_PAGE);
	assert_int_equal(
		jrnl_check(buf, size, &JOURNAL, 12, RING + FMT_PAGE, RING, &need), JRNL_OK);
	assert_int_equal(need, size);
	static const uint8_t kinds[] = {JRNL_OPEN, JRNL_DATA, JRNL_DIRECT, JRNL_TRIM, JRNL_DELETE};
	for (size_t i = 0; i < array_size(kinds); i++) {
		assert_true(jrnl_next(buf, &at, &e, &body));
		assert_int_equal(e.kind, kinds[i]);
		assert_int_equal((uintptr_t)body % 8, 0);
		if (e.kind == JRNL_OPEN)
			assert_memory_equal(
				body + offsetof(struct fmt_jrnl_open, topic), "topic", 6);
		if (e.kind == JRNL_DATA)
			assert_memory_equal(body, "hello world", 11);
		if (e.kind == JRNL_DIRECT)
			assert_int_equal(body[offsetof(struct direct_body, tail) + 99], 't');
		if (e.kind == JRNL_TRIM)
			assert_int_equal(e.pos, 4);
	}
	assert_false(jrnl_next(buf, &at, &e, &body));
	free(buf);
}

static void test_jrnl_each_flipped_bit_of_a_group_is_seen(void **state)
{
	uint8_t *buf = page_alloc(2 * FMT_PAGE);
	uint32_t size = make_group(buf, 12, 0), length = group_length(buf);
	for (uint32_t bit = 0; bit < length * 8; bit++) {
		buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_not_equal(check(buf, size, 12, 0), JRNL_OK);
		buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	for (uint32_t i = length; i < size; i++)
		assert_int_equal(buf[i], 0);
	assert_int_equal(check(buf, size, 12, 0), JRNL_OK);
	free(buf);
}

static void test_jrnl_a_cut_group_is_short_or_invalid_and_says_what_it_needs(void **state)
{
	uint8_t *buf = page_alloc(4 * FMT_PAGE);
	struct jrnl_builder b;
	uint64_t need;
	jrnl_begin(&b, buf, 4 * FMT_PAGE);
	uint8_t *out =
		jrnl_add(&b, &(struct fmt_jrnl_entry){.kind = JRNL_DATA, .length = 9001}, 9001);
	assert_non_null(out);
	memset(out, 1, 9001);
	assert_int_equal(jrnl_end(&b, &JOURNAL, 1, 0, 0), 3 * FMT_PAGE);
	for (uint64_t room = 0; room < sizeof(struct fmt_jrnl_group); room++)
		assert_int_equal(check(buf, room, 1, 0), JRNL_INVALID);
	for (uint64_t room = FMT_PAGE; room < 3 * FMT_PAGE; room += 512) {
		assert_int_equal(jrnl_check(buf, room, &JOURNAL, 1, 0, RING, &need), JRNL_SHORT);
		assert_int_equal(need, 3 * FMT_PAGE);
	}
	assert_int_equal(check(buf, 3 * FMT_PAGE, 1, 0), JRNL_OK);
	memset(buf + 2 * FMT_PAGE, 0, FMT_PAGE); /* its last page was not written */
	assert_int_equal(check(buf, 3 * FMT_PAGE, 1, 0), JRNL_INVALID);
	free(buf);
}

static void test_jrnl_a_group_of_another_place_or_time_is_none(void **state)
{
	uint8_t *buf = page_alloc(2 * FMT_PAGE);
	struct uuid other = {{7, 8, 10}};
	uint64_t need, pos = RING + 2 * FMT_PAGE;
	uint32_t size = make_group(buf, 12, pos);
	assert_int_equal(check(buf, size, 12, pos), JRNL_OK);
	assert_int_equal(check(buf, size, 11, pos), JRNL_INVALID);
	assert_int_equal(check(buf, size, 13, pos), JRNL_INVALID);
	assert_int_equal(check(buf, size, 12, pos - RING), JRNL_INVALID);
	assert_int_equal(check(buf, size, 12, pos + RING), JRNL_INVALID);
	assert_int_equal(check(buf, size, 12, pos + FMT_PAGE), JRNL_INVALID);
	assert_int_equal(jrnl_check(buf, size, &other, 12, pos, RING, &need), JRNL_INVALID);
	memset(buf, 0, size);
	assert_int_equal(check(buf, size, 0, 0), JRNL_INVALID);
	free(buf);
}

static void test_jrnl_a_group_never_wraps(void **state)
{
	uint8_t *buf = page_alloc(4 * FMT_PAGE);
	struct jrnl_builder b;
	for (uint32_t back = 1; back <= 3; back++) {
		uint64_t pos = 2 * RING - back * FMT_PAGE;
		jrnl_begin(&b, buf, 4 * FMT_PAGE);
		assert_non_null(jrnl_add(
			&b, &(struct fmt_jrnl_entry){.kind = JRNL_DATA, .length = 5000}, 5000));
		jrnl_end(&b, &JOURNAL, 5, pos, 0);
		assert_int_equal(
			check(buf, 4 * FMT_PAGE, 5, pos), back == 1 ? JRNL_INVALID : JRNL_OK);
	}
	free(buf);
}

/* Seals what is in buf again, as a writer with a bug would. */
static void reseal(uint8_t *buf)
{
	struct fmt_jrnl_group g;
	uint32_t zero = 0, crc = crc32c(0, JOURNAL.b, sizeof(JOURNAL.b));
	memcpy(&g, buf, sizeof(g));
	uint32_t head = crc32c(crc, buf, 4);
	head = crc32c(head, &zero, 4);
	g.head_crc = crc32c(head, buf + 8, offsetof(struct fmt_jrnl_group, head_crc) - 8);
	memcpy(buf, &g, sizeof(g));
	crc = crc32c(crc, buf, 4);
	crc = crc32c(crc, &zero, 4);
	g.crc = crc32c(crc, buf + 8, g.length - 8);
	memcpy(buf, &g, sizeof(g));
}

static bool entry_passes(struct fmt_jrnl_entry e, const void *body, uint32_t length)
{
	uint8_t *buf = page_alloc(2 * FMT_PAGE);
	struct jrnl_builder b;
	jrnl_begin(&b, buf, 2 * FMT_PAGE);
	add(&b, e, body, length);
	uint32_t size = jrnl_end(&b, &JOURNAL, 1, 0, 0);
	bool ok = check(buf, size, 1, 0) == JRNL_OK;
	free(buf);
	return ok;
}

static void test_jrnl_an_entry_that_breaks_a_rule_is_seen_though_the_checksum_is_right(void **state)
{
	const struct fmt_jrnl_entry data = {.kind = JRNL_DATA, .length = 8};
	struct fmt_jrnl_entry e = data;
	assert_true(entry_passes(e, "12345678", 8));
	e.kind = 0;
	assert_false(entry_passes(e, "12345678", 8));
	e.kind = JRNL_DELETE + 1;
	assert_false(entry_passes(e, "12345678", 8));
	e = data;
	e.length = 9;
	assert_false(entry_passes(e, "12345678", 8));
	e.length = 0;
	assert_false(entry_passes(e, "12345678", 8));
	e.length = UINT32_MAX;
	assert_false(entry_passes(e, "12345678", 8));
	e = data;
	e.segment = -1;
	assert_false(entry_passes(e, "12345678", 8));
	e = data;
	e.pos = (uint64_t)INT64_MAX + 1;
	assert_false(entry_passes(e, "12345678", 8));
	e = data;
	e.crc = 1;
	assert_false(entry_passes(e, "12345678", 8));
	for (int i = 0; i < 3; i++) {
		e = data;
		e.reserved[i] = 1;
		assert_false(entry_passes(e, "12345678", 8));
	}
	assert_true(entry_passes((struct fmt_jrnl_entry){.kind = JRNL_TRIM, .pos = 3}, NULL, 0));
	assert_false(entry_passes(
		(struct fmt_jrnl_entry){.kind = JRNL_TRIM, .pos = UINT64_MAX}, NULL, 0));
	assert_false(entry_passes((struct fmt_jrnl_entry){.kind = JRNL_DELETE, .pos = 3}, NULL, 0));
	assert_false(entry_passes(
		(struct fmt_jrnl_entry){.kind = JRNL_DELETE, .length = 8}, "12345678", 8));
}

static void test_jrnl_an_open_that_breaks_a_rule_is_seen(void **state)
{
	const struct fmt_jrnl_entry e = {
		.kind = JRNL_OPEN, .log = 1, .length = sizeof(struct fmt_jrnl_open)};
	const struct fmt_jrnl_open good = {.topic_length = 3, .topic = "abc"};
	struct fmt_jrnl_open bad[6];
	assert_true(entry_passes(e, &good, sizeof(good)));
	for (size_t i = 0; i < array_size(bad); i++)
		bad[i] = good;
	bad[0].partition = -1;
	bad[1].topic_length = 2;
	bad[2].topic_length = 4;
	bad[3].topic_length = 300;
	bad[4].reserved = 1;
	bad[5].log_start_offset = -1;
	for (size_t i = 0; i < array_size(bad); i++)
		assert_false(entry_passes(e, &bad[i], sizeof(bad[i])));
	assert_false(entry_passes(e, &good, sizeof(good) - 8));
}

static void test_jrnl_a_direct_run_that_breaks_a_rule_is_seen(void **state)
{
	struct fmt_jrnl_entry e = {.kind = JRNL_DIRECT, .pos = 4096, .length = 8192};
	struct direct_body good = {
		.d = {.end_offset = 1, .block_count = 1, .tail_length = 24},
	};
	uint32_t length = sizeof(good.d) + sizeof(struct fmt_block) + 24;
	struct direct_body b = good;
	assert_true(entry_passes(e, &b, length));
	b.d.block_count = 2;
	assert_false(entry_passes(e, &b, length));
	b.d.block_count = UINT32_MAX;
	assert_false(entry_passes(e, &b, length));
	b = good;
	b.d.tail_length = 32;
	assert_false(entry_passes(e, &b, length));
	b.d.tail_length = FMT_PAGE;
	assert_false(entry_passes(e, &b, length));
	b = good;
	b.d.lead = 8192;
	assert_false(entry_passes(e, &b, length));
	b.d.lead = 1;
	assert_false(entry_passes(e, &b, length));
	b = good;
	b.d.end_offset = 0;
	assert_false(entry_passes(e, &b, length));
	e.length = 8191;
	assert_false(entry_passes(e, &good, length));
	e.length = 0;
	assert_false(entry_passes(e, &good, length));
}

static void test_jrnl_entries_fill_their_group_exactly(void **state)
{
	uint8_t *buf = page_alloc(2 * FMT_PAGE);
	struct fmt_jrnl_group g;
	uint32_t size = make_group(buf, 1, 0);
	memcpy(&g, buf, sizeof(g));
	reseal(buf);
	assert_int_equal(check(buf, size, 1, 0), JRNL_OK);
	const uint32_t counts[] = {0, g.count - 1, g.count + 1, UINT32_MAX};
	for (size_t i = 0; i < array_size(counts); i++) {
		struct fmt_jrnl_group bad = g;
		bad.count = counts[i];
		memcpy(buf, &bad, sizeof(bad));
		reseal(buf);
		assert_int_equal(check(buf, size, 1, 0), JRNL_INVALID);
	}
	const uint32_t lengths[] = {0, 40, 47, g.length - 8, g.length + 8, g.length - 1};
	for (size_t i = 0; i < array_size(lengths); i++) {
		struct fmt_jrnl_group bad = g;
		bad.length = lengths[i];
		memcpy(buf, &bad, sizeof(bad));
		if (bad.length >= sizeof(bad))
			reseal(buf);
		assert_int_equal(check(buf, size, 1, 0), JRNL_INVALID);
	}
	struct fmt_jrnl_group bad = g;
	bad.checkpoint = FMT_PAGE;
	memcpy(buf, &bad, sizeof(bad));
	reseal(buf);
	assert_int_equal(check(buf, size, 1, 0), JRNL_INVALID);
	free(buf);
}

static void test_jrnl_an_entry_that_does_not_fit_is_not_added(void **state)
{
	uint8_t *buf = page_alloc(FMT_PAGE);
	struct jrnl_builder b;
	struct fmt_jrnl_entry e = {.kind = JRNL_DATA, .length = FMT_PAGE};
	jrnl_begin(&b, buf, FMT_PAGE);
	assert_null(jrnl_add(&b, &e, FMT_PAGE));
	assert_null(jrnl_add(&b, &e, UINT32_MAX));
	e.length = FMT_PAGE - sizeof(struct fmt_jrnl_group) - sizeof(e) - 1;
	assert_int_equal(jrnl_entry_size(e.length) + sizeof(struct fmt_jrnl_group), FMT_PAGE);
	uint8_t *p = jrnl_add(&b, &e, e.length);
	assert_non_null(p);
	memset(p, 1, e.length);
	e.length = 0;
	assert_null(jrnl_add(&b, &e, 0));
	assert_int_equal(jrnl_end(&b, &JOURNAL, 1, 0, 0), FMT_PAGE);
	assert_int_equal(check(buf, FMT_PAGE, 1, 0), JRNL_OK);
	free(buf);
}

static void test_jrnl_a_later_group_of_the_same_journal_is_known_by_its_first_page(void **state)
{
	uint8_t *buf = page_alloc(2 * FMT_PAGE);
	struct uuid other = {{1}};
	uint64_t pos = RING + 3 * FMT_PAGE, at = 3 * FMT_PAGE;
	make_group(buf, 12, pos);
	assert_true(jrnl_is_later(buf, &JOURNAL, at, RING, 11, pos - FMT_PAGE));
	assert_false(jrnl_is_later(buf, &JOURNAL, at, RING, 12, pos - FMT_PAGE));
	assert_false(jrnl_is_later(buf, &JOURNAL, at, RING, 13, pos - FMT_PAGE));
	assert_false(jrnl_is_later(buf, &JOURNAL, at, RING, 11, pos));
	assert_false(jrnl_is_later(buf, &JOURNAL, at + FMT_PAGE, RING, 11, pos - FMT_PAGE));
	assert_false(jrnl_is_later(buf, &other, at, RING, 11, pos - FMT_PAGE));
	struct fmt_jrnl_group g;
	for (uint32_t bit = 0; bit < sizeof(g) * 8; bit++) {
		bool in_crc = bit / 32 == offsetof(struct fmt_jrnl_group, crc) / 4;
		buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(
			jrnl_is_later(buf, &JOURNAL, at, RING, 11, pos - FMT_PAGE), in_crc);
		buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	free(buf);
}

static void test_jrnl_bytes_of_a_record_do_not_pass_for_a_later_group(void **state)
{
	uint8_t *buf = page_alloc(FMT_PAGE);
	struct fmt_jrnl_group forged = {.magic = JRNL_GROUP_MAGIC,
		.seq = 100,
		.stream_pos = 2 * RING,
		.length = 2 * FMT_PAGE,
		.count = 1};
	memcpy(buf, &forged, sizeof(forged));
	assert_false(jrnl_is_later(buf, &JOURNAL, 0, RING, 11, RING));
	free(buf);
}

static void test_jrnl_the_file_head_survives_only_unchanged(void **state)
{
	uint8_t *page = page_alloc(FMT_PAGE);
	struct fmt_jrnl_file f = {
		.dir_id = {{1}}, .journal_id = {{2}}, .worker = 3, .ring_bytes = RING};
	fmt_seal(&f, sizeof(f), FMT_JRNL_MAGIC);
	memcpy(page, &f, sizeof(f));
	assert_int_equal(fmt_jrnl_file_check(page, FMT_PAGE), FMT_OK);
	assert_int_equal(fmt_jrnl_file_check(page, sizeof(f)), FMT_OK);
	for (size_t n = 0; n < sizeof(f); n++)
		assert_int_equal(fmt_jrnl_file_check(page, n), FMT_DAMAGED);
	for (size_t bit = 0; bit < sizeof(f) * 8; bit++) {
		page[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_not_equal(fmt_jrnl_file_check(page, FMT_PAGE), FMT_OK);
		page[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	struct fmt_jrnl_file bad[5];
	for (size_t i = 0; i < array_size(bad); i++)
		bad[i] = f;
	bad[0].dir_id = (struct uuid){{0}};
	bad[1].journal_id = (struct uuid){{0}};
	bad[2].reserved = 1;
	bad[3].ring_bytes = 0;
	bad[4].ring_bytes = RING + 1;
	for (size_t i = 0; i < array_size(bad); i++) {
		fmt_seal(&bad[i], sizeof(f), FMT_JRNL_MAGIC);
		memcpy(page, &bad[i], sizeof(f));
		assert_int_equal(fmt_jrnl_file_check(page, FMT_PAGE), FMT_DAMAGED);
	}
	free(page);
}

static void test_jrnl_names_parse_back_and_nothing_else_does(void **state)
{
	static const char *const not [] = {"journal-", "journal-01", "journal-x", "journal-1x",
		"journal-4294967296", "journal--1", "journal- 1", "journal-+1", "journal", ""};
	char name[FMT_NAME_SIZE];
	uint32_t workers[] = {0, 1, 17, UINT32_MAX}, n;
	for (size_t i = 0; i < array_size(workers); i++) {
		fmt_jrnl_name(name, workers[i]);
		assert_true(fmt_jrnl_name_parse(name, &n));
		assert_int_equal(n, workers[i]);
	}
	for (size_t i = 0; i < array_size(not ); i++)
		assert_false(fmt_jrnl_name_parse(not [i], &n));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_jrnl_a_group_comes_back_as_it_was_written),
		cmocka_unit_test(test_jrnl_each_flipped_bit_of_a_group_is_seen),
		cmocka_unit_test(test_jrnl_a_cut_group_is_short_or_invalid_and_says_what_it_needs),
		cmocka_unit_test(test_jrnl_a_group_of_another_place_or_time_is_none),
		cmocka_unit_test(test_jrnl_a_group_never_wraps),
		cmocka_unit_test(
			test_jrnl_an_entry_that_breaks_a_rule_is_seen_though_the_checksum_is_right),
		cmocka_unit_test(test_jrnl_an_open_that_breaks_a_rule_is_seen),
		cmocka_unit_test(test_jrnl_a_direct_run_that_breaks_a_rule_is_seen),
		cmocka_unit_test(test_jrnl_entries_fill_their_group_exactly),
		cmocka_unit_test(test_jrnl_an_entry_that_does_not_fit_is_not_added),
		cmocka_unit_test(
			test_jrnl_a_later_group_of_the_same_journal_is_known_by_its_first_page),
		cmocka_unit_test(test_jrnl_bytes_of_a_record_do_not_pass_for_a_later_group),
		cmocka_unit_test(test_jrnl_the_file_head_survives_only_unchanged),
		cmocka_unit_test(test_jrnl_names_parse_back_and_nothing_else_does),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
