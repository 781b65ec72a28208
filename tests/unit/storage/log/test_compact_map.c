/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/log/compact_map.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/prng.h"

static void make(struct compact_map *m, struct compact_entry *mem, size_t entries)
{
	const uint8_t seed[16] = {1, 2, 3};
	memset(mem, 0xaa, entries * sizeof(*mem));
	compact_map_init(m, mem, entries * sizeof(*mem), seed);
	while (!compact_map_clear(m, 1000))
		;
}

/* The authors' vectors for the key 00 01 .. 0f and the message 00 01 .. (n - 1); first bytes as
 * they stand in memory. */
static void test_the_hash_is_siphash_2_4_128(void **state)
{
	static const struct {
		size_t len;
		uint8_t out[16];
	} vectors[] = {
		{0, {0xa3, 0x81, 0x7f, 0x04, 0xba, 0x25, 0xa8, 0xe6, 0x6d, 0xf6, 0x72, 0x14, 0xc7,
			    0x55, 0x02, 0x93}},
		{1, {0xda, 0x87, 0xc1, 0xd8, 0x6b, 0x99, 0xaf, 0x44, 0x34, 0x76, 0x59, 0x11, 0x9b,
			    0x22, 0xfc, 0x45}},
		{7, {0xa1, 0xf1, 0xeb, 0xbe, 0xd8, 0xdb, 0xc1, 0x53, 0xc0, 0xb8, 0x4a, 0xa6, 0x1f,
			    0xf0, 0x82, 0x39}},
		{8, {0x3b, 0x62, 0xa9, 0xba, 0x62, 0x58, 0xf5, 0x61, 0x0f, 0x83, 0xe2, 0x64, 0xf3,
			    0x14, 0x97, 0xb4}},
		{9, {0x26, 0x44, 0x99, 0x06, 0x0a, 0xd9, 0xba, 0xab, 0xc4, 0x7f, 0x8b, 0x02, 0xbb,
			    0x6d, 0x71, 0xed}},
		{15, {0x54, 0x93, 0xe9, 0x99, 0x33, 0xb0, 0xa8, 0x11, 0x7e, 0x08, 0xec, 0x0f, 0x97,
			     0xcf, 0xc3, 0xd9}},
		{16, {0x6e, 0xe2, 0xa4, 0xca, 0x67, 0xb0, 0x54, 0xbb, 0xfd, 0x33, 0x15, 0xbf, 0x85,
			     0x23, 0x05, 0x77}},
		{33, {0x77, 0xc6, 0x07, 0x71, 0x46, 0xf0, 0x1c, 0x32, 0xb6, 0xb6, 0x9d, 0x5f, 0x4e,
			     0xa9, 0xff, 0xcf}},
		{63, {0x51, 0x50, 0xd1, 0x77, 0x2f, 0x50, 0x83, 0x4a, 0x50, 0x3e, 0x06, 0x9a, 0x97,
			     0x3f, 0xbd, 0x7c}},
	};
	uint8_t key[16], in[64];
	for (uint8_t i = 0; i < 64; i++) {
		in[i] = i;
		key[i % 16] = i % 16;
	}
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		struct compact_hash h = compact_siphash(key, in, vectors[i].len);
		assert_memory_equal(&h, vectors[i].out, 16);
	}
}

static void test_the_largest_offset_of_a_key_counts(void **state)
{
	static struct compact_entry mem[1000];
	struct compact_map m;
	int64_t model[700];
	struct prng prng = {.s = 3};
	make(&m, mem, 1000);
	memset(model, 0xff, sizeof(model));
	for (int64_t i = 0; i < 20000; i++) {
		uint64_t key = prng_below(&prng, 700);
		int64_t offset = (int64_t)prng_below(&prng, 1u << 30);
		struct compact_hash h = compact_map_key(&m, &key, sizeof(key));
		assert_int_equal(compact_map_get(&m, h), model[key]);
		assert_true(compact_map_put(&m, h, offset));
		model[key] = offset > model[key] ? offset : model[key];
	}
	for (uint64_t key = 0; key < 700; key++)
		assert_int_equal(
			compact_map_get(&m, compact_map_key(&m, &key, sizeof(key))), model[key]);
	assert_int_equal(m.used, 700);
	/* a producer with the number of a key is not that key */
	assert_int_equal(compact_map_get(&m, compact_map_producer(&m, 5)), -1);
}

static void test_nine_in_ten_are_used_and_then_it_is_full(void **state)
{
	static struct compact_entry mem[1001];
	struct compact_map m;
	uint64_t key;
	make(&m, mem, 1000);
	memset(&mem[1000], 0x55, sizeof(mem[1000]));
	for (key = 0; compact_map_put(&m, compact_map_key(&m, &key, sizeof(key)), 0); key++)
		assert_int_equal(compact_map_fits(&m, 1), key + 1 < 899);
	assert_int_equal(key, 899);
	assert_false(compact_map_fits(&m, 1));
	for (uint64_t k = 0; k < 2000; k++) {
		struct compact_hash h = compact_map_key(&m, &k, sizeof(k));
		assert_int_equal(compact_map_get(&m, h), k < key ? 0 : -1);
		if (k < key) /* what is in can still move on */
			assert_true(compact_map_put(&m, h, 0));
	}
	const uint8_t *behind = (const uint8_t *)&mem[1000];
	for (size_t i = 0; i < sizeof(mem[1000]); i++)
		assert_int_equal(behind[i], 0x55);
}

static void test_a_map_of_one_entry_works(void **state)
{
	struct compact_entry mem[1];
	struct compact_map m;
	make(&m, mem, 1);
	struct compact_hash a = compact_map_key(&m, "a", 1), b = compact_map_key(&m, "b", 1);
	assert_true(compact_map_put(&m, a, 5));
	assert_false(compact_map_put(&m, b, 6));
	assert_int_equal(compact_map_get(&m, a), 5);
	assert_int_equal(compact_map_get(&m, b), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_hash_is_siphash_2_4_128),
		cmocka_unit_test(test_the_largest_offset_of_a_key_counts),
		cmocka_unit_test(test_nine_in_ten_are_used_and_then_it_is_full),
		cmocka_unit_test(test_a_map_of_one_entry_works),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
