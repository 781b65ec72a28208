/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes that others have written: stock clients (captured) and another implementation's codec. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "kafka/batch.h"
#include "kafka/header.h"
#include "kafka/messages.h"
#include "unit/dataplane/kafka/golden_vectors.h"

static uint8_t wire[4096];
static uint8_t out[4096];
static uint8_t memory[65536];
static uint8_t object[4096];

static size_t unhex(const char *hex)
{
	size_t n = strlen(hex) / 2;
	assert_true(n <= sizeof(wire));
	for (size_t i = 0; i < n; i++) {
		unsigned byte;
		assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
		wire[i] = (uint8_t)byte;
	}
	return n;
}

static const struct kp_message *message_of(int key)
{
	for (int i = 0; i < KP_MESSAGE_COUNT; i++) {
		if (kp_messages[i].key == key)
			return &kp_messages[i];
	}
	fail_msg("no message with key %d", key);
	return NULL;
}

static void test_vectors_of_another_codec_are_read_and_written_alike(void **state)
{
	for (size_t i = 0; i < sizeof(golden_vectors) / sizeof(golden_vectors[0]); i++) {
		const struct golden_vector *g = &golden_vectors[i];
		const struct kp_message *m = message_of(g->key);
		const struct kp_side *side = g->response ? &m->response : &m->request;
		size_t len = unhex(g->hex);
		struct arena a;
		arena_init(&a, memory, sizeof(memory));
		struct rd r = rd_of(wire, len);
		int rc = side->decode(&r, (int16_t)g->version, object, &a);
		if (rc != 0 || rd_left(&r) != 0)
			fail_msg("%s %d response %d: %d, %zu left", m->name, g->version,
				g->response, rc, rd_left(&r));
		struct kwr k = kwr_of(out, sizeof(out));
		side->encode(&k, (int16_t)g->version, object);
		assert_int_equal(wr_len(&k.w), len);
		assert_memory_equal(out, wire, len);
	}
}

/* Decodes header and body of a captured request into *request; what is left of it. */
static struct rd request_of(const char *hex, int key, int version, void *request, struct arena *a)
{
	struct kp_request_header h;
	struct rd r = rd_of(wire, unhex(hex));
	arena_init(a, memory, sizeof(memory));
	assert_int_equal(kp_header_decode(&r, &h), KP_HEADER_OK);
	assert_int_equal(h.key, key);
	assert_int_equal(h.version, version);
	assert_int_equal(message_of(key)->request.decode(&r, h.version, request, a), 0);
	return r;
}

#define EQUAL(s, text) assert_true(kstr_equal(s, kstr_of(text)))

static void test_api_versions_3_of_librdkafka(void **state)
{
	struct kp_api_versions_request q;
	struct arena a;
	struct rd r = request_of(
		"0012000300000001000772646b61666b610017636f6e666c75656e742d6b61666b612d70797468"
		"6f6e14312e372e302d72646b61666b612d322e302e3200",
		KP_API_VERSIONS, 3, &q, &a);
	EQUAL(q.client_software_name, "confluent-kafka-python");
	EQUAL(q.client_software_version, "1.7.0-rdkafka-2.0.2");
	assert_int_equal(rd_left(&r), 0);
}

static void test_produce_7_of_librdkafka_with_a_batch_that_passes(void **state)
{
	struct kp_produce_request q;
	struct arena a;
	request_of("000000070000000500086361702d677a6970ffffffff00007530000000010002743100000001000"
		   "000000000004b"
		   "00000000000000000000003f0000000002995d3c21000000000000000001a20680ad87000001a20"
		   "680ad87ffffffff"
		   "ffffffffffffffffffff000000011a00000001000402680276026e01",
		KP_PRODUCE, 7, &q, &a);
	assert_int_equal(q.acks, -1);
	assert_int_equal(q.timeout_ms, 30000);
	assert_int_equal(q.transactional_id.len, -1);
	assert_int_equal(q.n_topics, 1);
	EQUAL(q.topics[0].name, "t1");
	struct kbytes records = q.topics[0].partitions[0].records;
	assert_int_equal(records.len, 75);
	const struct batch_limits lim = {.now_ms = 0x01a20680ad87,
		.before_max_ms = INT64_MAX,
		.after_max_ms = 0,
		.max_bytes = 75};
	struct batch_info info;
	assert_int_equal(batch_validate(records.p, 75, &lim, NULL, &info), KE_NONE);
	assert_int_equal(info.count, 1);
	struct batch_iter it;
	struct batch_record rec;
	struct kstr key;
	struct kbytes value;
	assert_int_equal(batch_iter_init(&it, records.p, 75, NULL), KE_NONE);
	assert_int_equal(batch_iter_next(&it, &rec), 1);
	assert_int_equal(rec.key.len, -1);
	assert_int_equal(rec.value.len, 0);
	assert_int_equal(batch_header_next(&rec, &key, &value), 1);
	EQUAL(key, "h");
	assert_int_equal(value.len, 1);
	assert_int_equal(batch_header_next(&rec, &key, &value), 1);
	EQUAL(key, "n");
	assert_int_equal(value.len, -1);
}

static void test_fetch_11_and_16_of_librdkafka(void **state)
{
	struct kp_fetch_request q;
	struct arena a;
	request_of("0001000b0000000b00026331ffffffff000001f400000001032000000100000000ffffffff00000"
		   "0010002743100"
		   "00000100000003ffffffff0000000000000000ffffffffffffffff00100000000000000000",
		KP_FETCH, 11, &q, &a);
	assert_int_equal(q.replica_id, -1);
	assert_int_equal(q.max_wait_ms, 500);
	assert_int_equal(q.min_bytes, 1);
	assert_int_equal(q.max_bytes, 0x03200000);
	assert_int_equal(q.isolation_level, 1);
	assert_int_equal(q.session_epoch, -1);
	assert_int_equal(q.topics[0].partitions[0].index, 3);
	assert_int_equal(q.topics[0].partitions[0].max_bytes, 1 << 20);
	assert_int_equal(q.topics[0].partitions[0].log_start_offset, -1);
	struct rd r = request_of(
		"00010010000000060002633200000001f400000001032000000100000000ffffffff027ea907e701"
		"854b639e502b1f573432030200000001000000000000000000000064ffffffffffffffffffffffff00"
		"10"
		"00000000010100",
		KP_FETCH, 16, &q, &a);
	assert_int_equal(rd_left(&r), 0);
	assert_int_equal(q.topics[0].topic_id.b[0], 0x7e);
	assert_int_equal(q.topics[0].topic_id.b[15], 0x03);
	assert_int_equal(q.topics[0].partitions[0].index, 1);
	assert_int_equal(q.topics[0].partitions[0].fetch_offset, 100);
	assert_int_equal(q.topics[0].partitions[0].last_fetched_epoch, -1);
	assert_int_equal(q.n_forgotten_topics, 0);
}

static void test_join_group_5_of_librdkafka(void **state)
{
	struct kp_join_group_request q;
	struct arena a;
	struct rd r = request_of(
		"000b000500000003000263310002673100001770000493e00000ffff0008636f6e73756d6572000000"
		"02000572616e676500000012000100000001000274310000000000000000000a726f756e64726f62"
		"696e00000012000100000001000274310000000000000000",
		KP_JOIN_GROUP, 5, &q, &a);
	assert_int_equal(rd_left(&r), 0);
	EQUAL(q.group_id, "g1");
	EQUAL(q.member_id, "");
	assert_int_equal(q.session_timeout_ms, 6000);
	assert_int_equal(q.rebalance_timeout_ms, 300000);
	assert_int_equal(q.group_instance_id.len, -1);
	EQUAL(q.protocol_type, "consumer");
	assert_int_equal(q.n_protocols, 2);
	EQUAL(q.protocols[1].name, "roundrobin");
	assert_int_equal(q.protocols[1].metadata.len, 18);
}

static void test_offset_commit_9_and_fetch_6_of_librdkafka(void **state)
{
	struct kp_offset_commit_request q;
	struct arena a;
	request_of("000800090000000c0002633100036731000000020f3078376630623930303062376330000203743"
		   "1030000000000"
		   "000000000000640000000001000000000100000000000000640000000001000000",
		KP_OFFSET_COMMIT, 9, &q, &a);
	EQUAL(q.group_id, "g1");
	EQUAL(q.member_id, "0x7f0b9000b7c0");
	assert_int_equal(q.generation_id, 2);
	assert_int_equal(q.topics[0].n_partitions, 2);
	assert_int_equal(q.topics[0].partitions[1].index, 1);
	assert_int_equal(q.topics[0].partitions[1].committed_offset, 100);
	EQUAL(q.topics[0].partitions[1].committed_metadata, "");
	struct kp_offset_fetch_request f;
	request_of("000900060000000800026331000367310203743105000000000000000100000002000000030000",
		KP_OFFSET_FETCH, 6, &f, &a);
	assert_int_equal(f.topics[0].n_partitions, 4);
	assert_int_equal(f.topics[0].partitions[3], 3);
}

/* librdkafka 2.16 sends an int32 0 where version 9 and up have one byte: three bytes are left over.
 */
static void test_metadata_13_of_librdkafka_has_bytes_after_the_message(void **state)
{
	struct kp_metadata_request q;
	struct arena a;
	struct rd r = request_of(
		"0003000d00000004000772646b61666b610000000000010000", KP_METADATA, 13, &q, &a);
	assert_int_equal(q.n_topics, -1);
	assert_int_equal(rd_left(&r), 3);
	r = request_of(
		"0003000d0000000300076361702d6c7a340002000000000000000000000000000000000374310001"
		"0000",
		KP_METADATA, 13, &q, &a);
	assert_int_equal(q.n_topics, 1);
	EQUAL(q.topics[0].name, "t1");
	assert_true(uuid_is_zero(&q.topics[0].topic_id));
	assert_true(q.allow_auto_topic_creation);
	assert_int_equal(rd_left(&r), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors_of_another_codec_are_read_and_written_alike),
		cmocka_unit_test(test_api_versions_3_of_librdkafka),
		cmocka_unit_test(test_produce_7_of_librdkafka_with_a_batch_that_passes),
		cmocka_unit_test(test_fetch_11_and_16_of_librdkafka),
		cmocka_unit_test(test_join_group_5_of_librdkafka),
		cmocka_unit_test(test_offset_commit_9_and_fetch_6_of_librdkafka),
		cmocka_unit_test(test_metadata_13_of_librdkafka_has_bytes_after_the_message),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
