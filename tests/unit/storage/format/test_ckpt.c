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
#include "storage/format/ckpt.h"

struct image {
	uint8_t *p;
	uint64_t length;
	struct fmt_ckpt head;
};

static const struct fmt_ckpt_epoch EPOCHS[] = {{.epoch = 1}, {.epoch = 4, .start_offset = 30}};
static const struct fmt_block BLOCKS[] = {
	{.first_offset = 0, .sum = 5}, {.first_offset = 40, .first_pos = 9, .sum = 6}};
static const uint8_t TAIL[] = "the ragged end";

static struct fmt_ckpt_log log_full(void)
{
	return (struct fmt_ckpt_log){
		.topic_id = {{1}},
		.partition = 2,
		.log = 3,
		.flags = CKPT_LOG_FILES,
		.topic_length = 5,
		.epoch_count = array_size(EPOCHS),
		.block_count = array_size(BLOCKS),
		.log_start_offset = 10,
		.segment = 20,
		.end_offset = 50,
		.end_pos = 6 * FMT_PAGE + sizeof(TAIL),
		.fill_pos = 6 * FMT_PAGE,
		.max_timestamp = 77,
		.older_max_timestamp = -1,
		.file_size = 1 << 20,
	};
}

static struct fmt_ckpt_log log_empty(void)
{
	return (struct fmt_ckpt_log){.topic_id = {{2}}, .log = 4, .topic_length = 1};
}

static void image_seal(struct image *m)
{
	memcpy(m->p, &m->head, sizeof(m->head));
	fmt_seal(m->p, m->length, FMT_CKPT_MAGIC);
}

/* A checkpoint of one log (NULL: none) and an empty one. The caller frees m->p. */
static struct image image_make(const struct fmt_ckpt_log *l)
{
	struct fmt_ckpt_log empty = log_empty();
	struct image m = {
		.length = sizeof(struct fmt_ckpt) + ckpt_log_size(&empty) +
			  (l ? ckpt_log_size(l) : 0),
		.head = {.dir_id = {{8}},
			.journal_id = {{9}},
			.seq = 5,
			.journal_pos = 3 * FMT_PAGE,
			.journal_seq = 44,
			.worker = 1,
			.workers = 2,
			.next_log = 7,
			.count = l ? 2 : 1},
	};
	m.p = malloc(m.length);
	assert_non_null(m.p);
	memset(m.p, 0xa5, m.length);
	uint8_t *at = m.p + sizeof(struct fmt_ckpt);
	if (l) {
		ckpt_put(at, l, "topic", EPOCHS, BLOCKS, TAIL);
		at += ckpt_log_size(l);
	}
	ckpt_put(at, &empty, "e", NULL, NULL, NULL);
	image_seal(&m);
	return m;
}

static enum fmt_verdict verdict_of(const struct fmt_ckpt_log *l)
{
	struct image m = image_make(l);
	enum fmt_verdict v = fmt_ckpt_check(m.p, m.length);
	free(m.p);
	return v;
}

static void test_ckpt_logs_come_back_as_they_were_put(void **state)
{
	struct fmt_ckpt_log l = log_full();
	struct image m = image_make(&l);
	struct ckpt_view v;
	uint64_t at = 0;
	assert_int_equal(fmt_ckpt_check(m.p, m.length), FMT_OK);
	assert_true(ckpt_next(m.p, &at, &v));
	assert_memory_equal(v.log, &l, sizeof(l));
	assert_memory_equal(v.topic, "topic", 5);
	assert_memory_equal(v.epochs, EPOCHS, sizeof(EPOCHS));
	assert_memory_equal(v.blocks, BLOCKS, sizeof(BLOCKS));
	assert_memory_equal(v.tail, TAIL, sizeof(TAIL));
	assert_int_equal((uintptr_t)v.epochs % 8, 0);
	assert_true(ckpt_next(m.p, &at, &v));
	assert_int_equal(v.log->log, 4);
	assert_int_equal(*v.topic, 'e');
	assert_false(ckpt_next(m.p, &at, &v));
	free(m.p);
}

static void test_ckpt_the_tail_may_be_filled_in_later(void **state)
{
	struct fmt_ckpt_log l = log_full();
	struct image m = image_make(&l), want = image_make(&l);
	uint8_t *tail = ckpt_put(m.p + sizeof(struct fmt_ckpt), &l, "topic", EPOCHS, BLOCKS, NULL);
	memcpy(tail, TAIL, sizeof(TAIL));
	image_seal(&m);
	assert_memory_equal(m.p, want.p, want.length);
	free(m.p);
	free(want.p);
}

static void test_ckpt_each_flipped_bit_and_each_cut_is_seen(void **state)
{
	struct fmt_ckpt_log l = log_full();
	struct image m = image_make(&l);
	for (uint64_t bit = 0; bit < m.length * 8; bit++) {
		m.p[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_not_equal(fmt_ckpt_check(m.p, m.length), FMT_OK);
		m.p[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	for (uint64_t n = 0; n < m.length; n++) {
		uint8_t *cut = malloc(n ? n : 1); /* so that a read behind it is seen */
		assert_non_null(cut);
		memcpy(cut, m.p, n);
		assert_int_equal(fmt_ckpt_check(cut, n), FMT_DAMAGED);
		free(cut);
	}
	free(m.p);
}

static void test_ckpt_what_an_older_longer_one_left_behind_does_not_count(void **state)
{
	struct image m = image_make(NULL);
	uint8_t *file = malloc(2 * FMT_PAGE);
	assert_non_null(file);
	memset(file, 0x5a, 2 * FMT_PAGE);
	memcpy(file, m.p, m.length);
	assert_int_equal(fmt_ckpt_check(file, 2 * FMT_PAGE), FMT_OK);
	free(file);
	free(m.p);
}

static void test_ckpt_another_version_is_foreign(void **state)
{
	struct image m = image_make(NULL);
	struct fmt_head head;
	fmt_seal(m.p, m.length, FMT_CKPT_MAGIC);
	memcpy(&head, m.p, sizeof(head));
	head.version++;
	head.crc = 0;
	memcpy(m.p, &head, sizeof(head));
	head.crc = crc32c(0, m.p, (size_t)m.length);
	memcpy(m.p, &head, sizeof(head));
	assert_int_equal(fmt_ckpt_check(m.p, m.length), FMT_FOREIGN);
	free(m.p);
}

static void test_ckpt_a_head_that_breaks_a_rule_is_seen(void **state)
{
	struct image m = image_make(NULL);
	const struct fmt_ckpt good = m.head;
	struct fmt_ckpt bad[9];
	for (size_t i = 0; i < array_size(bad); i++)
		bad[i] = good;
	bad[0].dir_id = (struct uuid){{0}};
	bad[1].journal_id = (struct uuid){{0}};
	bad[2].worker = 2;
	bad[3].journal_pos = 1;
	bad[4].count = 0;
	bad[5].count = 2;
	bad[6].flags = 2;
	bad[7].reserved = 1;
	bad[8].seq = 0;
	for (size_t i = 0; i < array_size(bad); i++) {
		m.head = bad[i];
		image_seal(&m);
		assert_int_equal(fmt_ckpt_check(m.p, m.length), FMT_DAMAGED);
	}
	m.head = good;
	m.head.count = UINT32_MAX;
	image_seal(&m);
	assert_int_equal(fmt_ckpt_check(m.p, m.length), FMT_DAMAGED);
	free(m.p);
}

/* What a change of a record's fields makes of it; the bytes behind stay. */
static enum fmt_verdict changed(struct fmt_ckpt_log l)
{
	struct fmt_ckpt_log full = log_full();
	struct image m = image_make(&full);
	memcpy(m.p + sizeof(struct fmt_ckpt), &l, sizeof(l));
	image_seal(&m);
	enum fmt_verdict v = fmt_ckpt_check(m.p, m.length);
	free(m.p);
	return v;
}

static void test_ckpt_a_log_that_breaks_a_rule_is_seen(void **state)
{
	const struct fmt_ckpt_log good = log_full();
	struct fmt_ckpt_log bad[21];
	for (size_t i = 0; i < array_size(bad); i++)
		bad[i] = good;
	bad[0].partition = -1;
	bad[1].log = 7; /* next_log */
	bad[2].flags |= 4;
	bad[3].topic_length = 250;
	bad[4].topic_length = 0;
	bad[5].log_start_offset = -1;
	bad[6].log_start_offset = 51;
	bad[7].segment = -1;
	bad[8].segment = 51;
	bad[9].segment = 50; /* but it has bytes */
	bad[10].end_offset = INT64_MAX;
	bad[11].fill_pos -= FMT_PAGE;
	bad[12].fill_pos += FMT_PAGE;
	bad[13].fill_pos++;
	bad[14].end_pos = UINT64_MAX;
	bad[15].first_block = BIDX_PER_PAGE;
	bad[16].block_count = 1;
	bad[17].block_count = UINT32_MAX;
	bad[18].first_block = 1;
	bad[19].epoch_count = UINT16_MAX;
	bad[20].flags = 0; /* without files nothing can be filled */
	assert_int_equal(changed(good), FMT_OK);
	for (size_t i = 0; i < array_size(bad); i++)
		assert_int_equal(changed(bad[i]), FMT_DAMAGED);
}

static void test_ckpt_epochs_and_topic_have_rules(void **state)
{
	struct fmt_ckpt_log l = log_full();
	struct fmt_ckpt_epoch bad[][2] = {
		{{.epoch = 4}, {.epoch = 4, .start_offset = 30}},
		{{.epoch = 1, .start_offset = 31}, {.epoch = 4, .start_offset = 30}},
		{{.epoch = 1, .start_offset = -1}, {.epoch = 4, .start_offset = 30}},
		{{.epoch = 1, .reserved = 1}, {.epoch = 4, .start_offset = 30}},
	};
	struct image m = image_make(&l);
	for (size_t i = 0; i < array_size(bad); i++) {
		ckpt_put(m.p + sizeof(struct fmt_ckpt), &l, "topic", bad[i], BLOCKS, TAIL);
		image_seal(&m);
		assert_int_equal(fmt_ckpt_check(m.p, m.length), FMT_DAMAGED);
	}
	ckpt_put(m.p + sizeof(struct fmt_ckpt), &l, "to\0ic", EPOCHS, BLOCKS, TAIL);
	image_seal(&m);
	assert_int_equal(fmt_ckpt_check(m.p, m.length), FMT_DAMAGED);
	free(m.p);
	l.end_pos = l.fill_pos;
	assert_int_equal(verdict_of(&l), FMT_OK); /* an end on a page has no tail */
}

static void test_ckpt_names_parse_back_and_nothing_else_does(void **state)
{
	static const char *const not [] = {"checkpoint-1", "checkpoint-.a", "checkpoint-1.c",
		"checkpoint-01.a", "checkpoint-1.ab", "checkpoint-4294967296.a", "checkpoint-1.",
		"checkpoint-1.a.tmp", ""};
	char name[FMT_NAME_SIZE];
	uint32_t workers[] = {0, 9, UINT32_MAX}, worker, slot;
	for (size_t i = 0; i < array_size(workers); i++) {
		for (uint32_t s = 0; s < 2; s++) {
			fmt_ckpt_name(name, workers[i], s);
			assert_true(fmt_ckpt_name_parse(name, &worker, &slot));
			assert_int_equal(worker, workers[i]);
			assert_int_equal(slot, s);
		}
	}
	for (size_t i = 0; i < array_size(not ); i++)
		assert_false(fmt_ckpt_name_parse(not [i], &worker, &slot));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ckpt_logs_come_back_as_they_were_put),
		cmocka_unit_test(test_ckpt_the_tail_may_be_filled_in_later),
		cmocka_unit_test(test_ckpt_each_flipped_bit_and_each_cut_is_seen),
		cmocka_unit_test(test_ckpt_what_an_older_longer_one_left_behind_does_not_count),
		cmocka_unit_test(test_ckpt_another_version_is_foreign),
		cmocka_unit_test(test_ckpt_a_head_that_breaks_a_rule_is_seen),
		cmocka_unit_test(test_ckpt_a_log_that_breaks_a_rule_is_seen),
		cmocka_unit_test(test_ckpt_epochs_and_topic_have_rules),
		cmocka_unit_test(test_ckpt_names_parse_back_and_nothing_else_does),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
