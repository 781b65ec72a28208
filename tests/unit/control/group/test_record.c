/* SPDX-License-Identifier: Apache-2.0 */
/* Keys and values of __consumer_offsets, byte for byte as Kafka writes them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/prng.h"
#include "control/group/group.h"
#include "control/group/record.h"

static struct kstr str(const char *s)
{
	return kstr_of(s);
}

static struct kbytes bytes(const void *p, size_t n)
{
	return (struct kbytes){.p = p, .len = (int32_t)n};
}

static void assert_written(const struct wr *w, const uint8_t *golden, size_t n)
{
	assert_false(w->full);
	assert_int_equal(wr_len(w), n);
	assert_memory_equal(w->base, golden, n);
}

static const uint8_t offset_key[] = {0, 1, 0, 2, 'g', '1', 0, 3, 't', 'o', 'p', 0, 0, 0, 3};
static const uint8_t offset_value[] = {0, 3, 0, 0, 0, 0, 0, 0, 0, 42, 0, 0, 0, 5, 0, 2, 'm', 'd', 0,
	0, 1, 0x8b, 0xcf, 0xe5, 0x68, 0};
static const uint8_t offset_value_expires[] = {0, 1, 0, 0, 0, 0, 0, 0, 0, 42, 0, 0, 0, 0, 1, 0x8b,
	0xcf, 0xe5, 0x68, 0, 0, 0, 1, 0x8b, 0xcf, 0xe5, 0x6b, 0xe8};
static const uint8_t group_key[] = {0, 2, 0, 2, 'g', '1'};
static const uint8_t group_value[] = {0, 3, /* protocol type */ 0, 8, 'c', 'o', 'n', 's', 'u', 'm',
	'e', 'r', /* generation */ 0, 0, 0, 7, /* protocol */ 0, 5, 'r', 'a', 'n', 'g', 'e',
	/* leader */ 0, 2, 'm', '1', /* state since */ 0, 0, 1, 0x8b, 0xcf, 0xe5, 0x68, 0,
	/* members */ 0, 0, 0, 2,
	/* id */ 0, 2, 'm', '1', /* instance */ 0xff, 0xff, /* client */ 0, 1, 'c', /* host */ 0, 2,
	'/', 'h', /* rebalance */ 0, 0, 0x75, 0x30, /* session */ 0, 0, 0x27, 0x10,
	/* subscription */ 0, 0, 0, 2, 's', '1', /* assignment */ 0, 0, 0, 1, 'x',
	/* id */ 0, 2, 'm', '2', /* instance */ 0, 2, 'i', '2', /* client */ 0, 0, /* host */ 0, 0,
	/* rebalance */ 0, 0, 0, 1, /* session */ 0, 0, 0, 2, /* subscription */ 0, 0, 0, 0,
	/* assignment */ 0, 0, 0, 0};

static void test_an_offset_is_written_as_key_1_and_value_3(void **state)
{
	uint8_t out[64];
	struct wr w = wr_of(out, sizeof(out));
	rec_offset_key_write(&w, str("g1"), str("top"), 3);
	assert_written(&w, offset_key, sizeof(offset_key));
	w = wr_of(out, sizeof(out));
	struct rec_offset o = {.offset = 42,
		.leader_epoch = 5,
		.metadata = str("md"),
		.commit_ms = 0x18bcfe56800,
		.expire_ms = -1};
	rec_offset_write(&w, &o);
	assert_written(&w, offset_value, sizeof(offset_value));
	struct rec_key k;
	assert_true(rec_key_read(bytes(offset_key, sizeof(offset_key)), &k));
	assert_int_equal(k.kind, REC_OFFSET);
	assert_true(kstr_equal(k.group, str("g1")) && kstr_equal(k.topic, str("top")));
	assert_int_equal(k.partition, 3);
	struct rec_offset r;
	assert_true(rec_offset_read(bytes(offset_value, sizeof(offset_value)), &r));
	assert_int_equal(r.offset, 42);
	assert_int_equal(r.leader_epoch, 5);
	assert_true(kstr_equal(r.metadata, str("md")));
	assert_int_equal(r.commit_ms, 0x18bcfe56800);
	assert_int_equal(r.expire_ms, -1);
}

static void test_an_offset_with_a_time_to_expire_at_is_written_as_value_1(void **state)
{
	uint8_t out[64];
	struct wr w = wr_of(out, sizeof(out));
	struct rec_offset o = {.offset = 42,
		.leader_epoch = 5,
		.metadata = str(""),
		.commit_ms = 0x18bcfe56800,
		.expire_ms = 0x18bcfe56be8};
	rec_offset_write(&w, &o);
	assert_written(&w, offset_value_expires, sizeof(offset_value_expires));
	struct rec_offset r;
	assert_true(rec_offset_read(bytes(out, wr_len(&w)), &r));
	assert_int_equal(r.leader_epoch, -1);
	assert_int_equal(r.expire_ms, 0x18bcfe56be8);
}

static void test_a_group_is_written_as_key_2_and_value_3(void **state)
{
	uint8_t out[256];
	struct wr w = wr_of(out, sizeof(out));
	rec_group_key_write(&w, str("g1"));
	assert_written(&w, group_key, sizeof(group_key));
	struct rec_group g = {.protocol_type = str("consumer"),
		.generation = 7,
		.protocol = str("range"),
		.leader = str("m1"),
		.state_ms = 0x18bcfe56800,
		.member_count = 2};
	struct rec_member m[2] = {
		{.id = str("m1"),
			.instance = KSTR_NULL,
			.client_id = str("c"),
			.client_host = str("/h"),
			.rebalance_ms = 30000,
			.session_ms = 10000,
			.subscription = bytes("s1", 2),
			.assignment = bytes("x", 1)},
		{.id = str("m2"),
			.instance = str("i2"),
			.client_id = str(""),
			.client_host = str(""),
			.rebalance_ms = 1,
			.session_ms = 2},
	};
	w = wr_of(out, sizeof(out));
	rec_group_write(&w, &g);
	rec_member_write(&w, &m[0]);
	rec_member_write(&w, &m[1]);
	assert_written(&w, group_value, sizeof(group_value));

	struct rec_group r;
	struct rec_member rm;
	assert_true(rec_group_read(bytes(group_value, sizeof(group_value)), &r));
	assert_int_equal(r.generation, 7);
	assert_int_equal(r.member_count, 2);
	for (int i = 0; i < 2; i++) {
		assert_true(rec_member_next(&r, &rm));
		assert_true(kstr_equal(rm.id, m[i].id));
		assert_true(kstr_equal(rm.instance, m[i].instance));
		assert_int_equal(rm.rebalance_ms, m[i].rebalance_ms);
		assert_int_equal(rm.session_ms, m[i].session_ms);
		assert_int_equal(rm.subscription.len, m[i].subscription.len);
		assert_int_equal(rm.assignment.len, m[i].assignment.len);
	}
	assert_false(rec_member_next(&r, &rm));
}

static void test_older_versions_of_values_are_read(void **state)
{
	static const uint8_t offset0[] = {
		0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7};
	struct rec_offset o;
	assert_true(rec_offset_read(bytes(offset0, sizeof(offset0)), &o));
	assert_int_equal(o.offset, 9);
	assert_int_equal(o.commit_ms, 7);
	static const uint8_t group0[] = {0, 0, 0, 1, 'c', 0, 0, 0, 4, 0, 1, 'p', 0, 1, 'm', 0, 0, 0,
		1, 0, 1, 'm', 0, 1, 'c', 0, 1, 'h', 0, 0, 0, 99, 0, 0, 0, 0, 0, 0, 0, 0};
	struct rec_group g;
	struct rec_member m;
	assert_true(rec_group_read(bytes(group0, sizeof(group0)), &g));
	assert_int_equal(g.generation, 4);
	assert_int_equal(g.state_ms, -1);
	assert_true(rec_member_next(&g, &m));
	assert_int_equal(m.session_ms, 99);
	assert_int_equal(m.rebalance_ms, 99);
	assert_int_equal(m.instance.len, -1);
}

static void test_version_2_of_a_group_has_a_time_but_no_instances(void **state)
{
	static const uint8_t group2[] = {0, 2, 0, 1, 'c', 0, 0, 0, 4, 0, 1, 'p', 0, 1, 'm', 0, 0, 0,
		0, 0, 0, 0, 77, 0, 0, 0, 1, 0, 1, 'm', 0, 1, 'c', 0, 1, 'h', 0, 0, 0, 55, 0, 0, 0,
		99, 0, 0, 0, 0, 0, 0, 0, 1, 'z'};
	struct rec_group g;
	struct rec_member m;
	assert_true(rec_group_read(bytes(group2, sizeof(group2)), &g));
	assert_int_equal(g.state_ms, 77);
	assert_true(rec_member_next(&g, &m));
	assert_int_equal(m.instance.len, -1);
	assert_true(kstr_equal(m.client_host, str("h")));
	assert_int_equal(m.rebalance_ms, 55);
	assert_int_equal(m.session_ms, 99);
	assert_int_equal(m.assignment.len, 1);
}

static void test_keys_of_other_group_types_are_known_to_be_unknown(void **state)
{
	static const uint8_t share_group[] = {0, 11, 0, 1, 'g'};
	struct rec_key k;
	assert_true(rec_key_read(bytes(share_group, sizeof(share_group)), &k));
	assert_int_equal(k.kind, REC_UNKNOWN);
}

static void test_keys_of_consumer_groups_are_kafkas(void **state)
{
	static const uint8_t group[] = {0, 3, 0, 1, 'g'};
	static const uint8_t current[] = {0, 8, 0, 1, 'g', 0, 2, 'm', '1'};
	uint8_t out[32];
	struct wr w = wr_of(out, sizeof(out));
	struct rec_key k;
	assert_true(rec_key_read(bytes(group, sizeof(group)), &k));
	assert_int_equal(k.kind, REC_CON_GROUP);
	assert_true(rec_key_read(bytes(current, sizeof(current)), &k));
	assert_int_equal(k.kind, REC_CON_CURRENT);
	assert_true(kstr_equal(k.group, kstr_of("g")) && kstr_equal(k.member, kstr_of("m1")));
	assert_false(rec_key_read(bytes(current, sizeof(current) - 1), &k));
	rec_con_key_write(&w, REC_CON_CURRENT, k.group, kstr_of("m1"));
	assert_int_equal(w.p - out, sizeof(current));
	assert_memory_equal(out, current, sizeof(current));
}

/* Every way to cut a record short is refused, and nothing is read beyond its end. */
static void test_a_cut_record_is_refused(void **state)
{
	for (size_t n = 0; n < sizeof(offset_key); n++) {
		uint8_t *p = malloc(n + 1);
		memcpy(p, offset_key, n);
		struct rec_key k;
		assert_false(rec_key_read(bytes(p, n), &k));
		free(p);
	}
	for (size_t n = 0; n < sizeof(offset_value); n++) {
		uint8_t *p = malloc(n + 1);
		memcpy(p, offset_value, n);
		struct rec_offset o;
		assert_false(rec_offset_read(bytes(p, n), &o));
		free(p);
	}
	for (size_t n = 0; n < sizeof(group_value); n++) {
		uint8_t *p = malloc(n + 1);
		memcpy(p, group_value, n);
		struct rec_group g;
		assert_false(rec_group_read(bytes(p, n), &g));
		free(p);
	}
}

static void test_damaged_records_do_no_harm(void **state)
{
	struct prng rng = {.s = 5};
	for (int i = 0; i < 20000; i++) {
		uint8_t *p = malloc(sizeof(group_value));
		memcpy(p, group_value, sizeof(group_value));
		for (int k = 0; k < 3; k++)
			p[prng_below(&rng, sizeof(group_value))] = (uint8_t)prng_next(&rng);
		struct rec_group g;
		struct rec_member m;
		if (rec_group_read(bytes(p, sizeof(group_value)), &g)) {
			int32_t n = 0;
			while (rec_member_next(&g, &m))
				n++;
			assert_int_equal(n, g.member_count);
		}
		free(p);
	}
}

static void test_a_group_has_the_partition_that_kafka_gives_it(void **state)
{
	assert_int_equal(grp_java_hash(str("")), 0);
	assert_int_equal(grp_java_hash(str("abc")), 96354);
	assert_int_equal(grp_java_hash(str("hello")), 99162322);
	assert_int_equal(grp_java_hash(str("\xc3\xa9")), 233);		   /* e acute */
	assert_int_equal(grp_java_hash(str("\xf0\x9f\x98\x80")), 1772899); /* a surrogate pair */
	assert_int_equal(grp_java_hash(str("\xe2\x82\xac")), 0x20ac);	   /* euro sign */
	assert_int_equal(grp_java_hash(str("\xff")), 0xfffd);		   /* not UTF-8 */
	assert_int_equal(grp_java_hash(str("polygenelubricants")), INT32_MIN);
	assert_int_equal(grp_partition_of(str("polygenelubricants"), 50), 0);
	assert_int_equal(grp_partition_of(str("abc"), 50), 4);
	assert_int_equal(grp_java_hash(str("consumer")), -567770122);
	assert_int_equal(grp_partition_of(str("consumer"), 50), 22);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_offset_is_written_as_key_1_and_value_3),
		cmocka_unit_test(test_an_offset_with_a_time_to_expire_at_is_written_as_value_1),
		cmocka_unit_test(test_a_group_is_written_as_key_2_and_value_3),
		cmocka_unit_test(test_older_versions_of_values_are_read),
		cmocka_unit_test(test_version_2_of_a_group_has_a_time_but_no_instances),
		cmocka_unit_test(test_keys_of_other_group_types_are_known_to_be_unknown),
		cmocka_unit_test(test_keys_of_consumer_groups_are_kafkas),
		cmocka_unit_test(test_a_cut_record_is_refused),
		cmocka_unit_test(test_damaged_records_do_no_harm),
		cmocka_unit_test(test_a_group_has_the_partition_that_kafka_gives_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
