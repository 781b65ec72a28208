/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "kafka/header.h"
#include "kafka/messages.h"

#define BLOCKS 4

struct blocks {
	struct lblock_pool pool;
	uint8_t *mem;
	struct lblock *head;
};

static struct blocks blocks_new(void)
{
	struct blocks b = {.mem = aligned_alloc(4096, BLOCKS * LBLOCK_SIZE)};
	for (size_t i = 0; i < BLOCKS * LBLOCK_SIZE; i++)
		b.mem[i] = (uint8_t)(i * 31 + i / 251);
	assert_int_equal(lblock_pool_init(&b.pool, b.mem, BLOCKS * LBLOCK_SIZE), 0);
	b.head = lblock_get_chain(&b.pool, BLOCKS);
	return b;
}

static void blocks_free(struct blocks *b)
{
	for (struct lblock *x = b->head, *next; x; x = next) {
		next = x->next;
		lblock_unref(&b->pool, x);
	}
	assert_int_equal(b->pool.free_count, BLOCKS);
	lblock_pool_fini(&b->pool);
	free(b->mem);
}

/* A Fetch response with records by reference, records at hand, and none. */
static void encode(struct kwr *k, const struct blocks *b, int16_t version)
{
	struct kp_fetch_response resp;
	struct kp_fetch_response_topic topic;
	struct kp_fetch_response_partition parts[4];
	kp_default_fetch_response(&resp);
	kp_default_fetch_response_topic(&topic);
	for (int i = 0; i < 4; i++) {
		kp_default_fetch_response_partition(&parts[i]);
		parts[i].index = i;
	}
	parts[0].records = (struct krecords){.len = 100, .span = {b->head, 50, 100}};
	/* begins in the second block, though it is named from the first; ends in the fourth */
	parts[1].records = (struct krecords){
		.len = 2 * LBLOCK_SIZE, .span = {b->head, LBLOCK_SIZE + 7, 2 * LBLOCK_SIZE}};
	parts[3].records = (struct krecords){.len = 3, .flat = (const uint8_t *)"abc"};
	topic.name = kstr_of("t");
	topic.partitions = parts;
	topic.n_partitions = 4;
	resp.topics = &topic;
	resp.n_topics = 1;
	kp_response_begin(k, kp_api_find(KP_FETCH), version, 3);
	kp_encode_fetch_response(k, version, &resp);
	assert_true(kp_response_end(k));
}

static size_t join(const struct kwr *k, uint8_t *out)
{
	struct kpiece pieces[16];
	uint32_t n = kwr_gather(k, pieces, 16);
	size_t len = 0;
	assert_true(n <= 16);
	for (uint32_t i = 0; i < n; i++) {
		assert_true(pieces[i].len > 0);
		memcpy(out + len, pieces[i].p, pieces[i].len);
		len += pieces[i].len;
	}
	return len;
}

static void test_records_by_reference_and_copied_give_the_same_bytes(void **state)
{
	struct blocks b = blocks_new();
	uint8_t *copied = malloc(100000), *spliced = malloc(4096), *joined = malloc(100000);
	for (int16_t v = 4; v <= 12; v++) {
		struct kwr k = kwr_of(copied, 100000);
		encode(&k, &b, v);
		size_t len = kwr_len(&k);
		struct kwr_splice splices[2];
		struct kwr s = kwr_of_splices(spliced, 4096, splices, 2);
		encode(&s, &b, v);
		assert_int_equal(s.n_splices, 2);
		assert_int_equal(s.spliced_bytes, 100 + 2 * LBLOCK_SIZE);
		assert_int_equal(kwr_len(&s), len);
		assert_int_equal(be32_get(spliced), len - 4);
		assert_int_equal(join(&s, joined), len);
		assert_memory_equal(joined, copied, len);
		/* header, 1 block, between, 3 blocks, rest */
		assert_int_equal(kwr_gather(&s, NULL, 0), 7);
		assert_int_equal(join(&k, joined), len);
		assert_memory_equal(joined, copied, len);
	}
	free(copied);
	free(spliced);
	free(joined);
	blocks_free(&b);
}

static void test_records_are_copied_when_the_splices_are_used_up(void **state)
{
	struct blocks b = blocks_new();
	uint8_t *copied = malloc(100000), *mixed = malloc(100000), *joined = malloc(100000);
	struct kwr k = kwr_of(copied, 100000);
	encode(&k, &b, 11);
	struct kwr_splice splice;
	struct kwr s = kwr_of_splices(mixed, 100000, &splice, 1);
	encode(&s, &b, 11);
	assert_int_equal(s.n_splices, 1);
	assert_int_equal(join(&s, joined), kwr_len(&k));
	assert_memory_equal(joined, copied, kwr_len(&k));
	free(copied);
	free(mixed);
	free(joined);
	blocks_free(&b);
}

static void test_a_decoded_fetch_response_gives_the_records_back(void **state)
{
	struct blocks b = blocks_new();
	uint8_t *wire = malloc(100000), memory[4096];
	struct kwr k = kwr_of(wire, 100000);
	encode(&k, &b, 12);
	struct rd r = rd_of(wire + 4, kwr_len(&k) - 4);
	int32_t id;
	struct arena a;
	arena_init(&a, memory, sizeof(memory));
	struct kp_fetch_response resp;
	assert_int_equal(kp_response_header_decode(&r, kp_api_find(KP_FETCH), 12, &id), 0);
	assert_int_equal(kp_decode_fetch_response(&r, 12, &resp, &a), 0);
	assert_int_equal(resp.topics[0].partitions[1].records.len, 2 * LBLOCK_SIZE);
	uint8_t want[LBLOCK_SIZE];
	lspan_copy((struct lspan){b.head, LBLOCK_SIZE + 7, 2 * LBLOCK_SIZE}, 0, want, sizeof(want));
	assert_memory_equal(resp.topics[0].partitions[1].records.flat, want, sizeof(want));
	assert_int_equal(resp.topics[0].partitions[2].records.len, 0);
	assert_int_equal(resp.topics[0].partitions[0].n_aborted_transactions, -1);
	free(wire);
	blocks_free(&b);
}

static void test_a_writer_too_small_says_how_much_it_needs(void **state)
{
	struct kp_find_coordinator_response resp;
	kp_default_find_coordinator_response(&resp);
	resp.host = kstr_of("example");
	uint8_t mem[16];
	struct kwr k = kwr_of(mem, sizeof(mem));
	kp_encode_find_coordinator_response(&k, 0, &resp);
	assert_true(k.w.full);
	assert_int_equal(k.w.need, 2 + 4 + 2 + 7 + 4);
}

static void test_strings_compare_and_copy(void **state)
{
	char buf[4];
	assert_true(kstr_equal(KSTR_NULL, kstr_of(NULL)));
	assert_false(kstr_equal(KSTR_NULL, kstr_of("")));
	assert_false(kstr_equal(kstr_of("ab"), kstr_of("ac")));
	kstr_copy(kstr_of("abcdef"), buf, sizeof(buf));
	assert_string_equal(buf, "abc");
	kstr_copy(KSTR_NULL, buf, sizeof(buf));
	assert_string_equal(buf, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_records_by_reference_and_copied_give_the_same_bytes),
		cmocka_unit_test(test_records_are_copied_when_the_splices_are_used_up),
		cmocka_unit_test(test_a_decoded_fetch_response_gives_the_records_back),
		cmocka_unit_test(test_a_writer_too_small_says_how_much_it_needs),
		cmocka_unit_test(test_strings_compare_and_copy),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
