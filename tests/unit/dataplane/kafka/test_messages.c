/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/prng.h"
#include "kafka/api_table.h"
#include "kafka/messages.h"
#include "unit/dataplane/kafka/random_message.h"

#define MEMORY (1 << 20)

struct memory {
	uint8_t *wire, *wire2, *object, *copy;
	struct arena fill, decode;
};

static struct memory memory_new(void)
{
	struct memory m = {
		.wire = malloc(MEMORY),
		.wire2 = malloc(MEMORY),
		.object = calloc(1, 4096),
		.copy = calloc(1, 4096),
	};
	arena_init(&m.fill, malloc(MEMORY), MEMORY);
	arena_init(&m.decode, malloc(MEMORY), MEMORY);
	return m;
}

static void memory_free(struct memory *m)
{
	free(m->wire);
	free(m->wire2);
	free(m->object);
	free(m->copy);
	free(m->fill.base);
	free(m->decode.base);
}

/* A random message of this kind, encoded into m->wire; its length. */
static size_t make(struct memory *m, const struct kp_side *side, int16_t version, struct prng *rng)
{
	arena_reset(&m->fill);
	random_fill(side->desc, version, m->object, rng, &m->fill);
	struct kwr k = kwr_of(m->wire, MEMORY);
	side->encode(&k, version, m->object);
	assert_false(k.w.full);
	struct kwr counter = kwr_counter();
	side->encode(&counter, version, m->object);
	assert_int_equal(counter.w.need, wr_len(&k.w));
	return wr_len(&k.w);
}

static void round_trip(
	struct memory *m, const struct kp_side *side, int16_t version, struct prng *rng)
{
	size_t len = make(m, side, version, rng);
	arena_reset(&m->decode);
	struct rd r = rd_of(m->wire, len);
	assert_int_equal(side->decode(&r, version, m->copy, &m->decode), 0);
	assert_int_equal(rd_left(&r), 0);
	assert_true(same_struct(side->desc, m->object, m->copy));
	struct kwr k = kwr_of(m->wire2, MEMORY);
	side->encode(&k, version, m->copy);
	assert_int_equal(wr_len(&k.w), len);
	assert_memory_equal(m->wire, m->wire2, len);
}

/* Every prefix, in memory of exactly its size so that a sanitizer sees any read past it. */
static void truncations(
	struct memory *m, const struct kp_side *side, int16_t version, struct prng *rng)
{
	size_t len = make(m, side, version, rng);
	for (size_t n = 0; n < len; n++) {
		uint8_t *cut = malloc(n ? n : 1);
		memcpy(cut, m->wire, n);
		arena_reset(&m->decode);
		struct rd r = rd_of(cut, n);
		assert_int_equal(side->decode(&r, version, m->copy, &m->decode), KP_E_MALFORMED);
		free(cut);
	}
}

/* A few changed bytes: any answer but a crash; what is accepted can be encoded. */
static void mutations(
	struct memory *m, const struct kp_side *side, int16_t version, struct prng *rng)
{
	size_t len = make(m, side, version, rng);
	for (int i = 0; i < 20 && len > 0; i++) {
		m->wire[prng_below(rng, len)] = (uint8_t)prng_next(rng);
		arena_reset(&m->decode);
		struct rd r = rd_of(m->wire, len);
		int rc = side->decode(&r, version, m->copy, &m->decode);
		assert_true(rc == 0 || rc == KP_E_MALFORMED);
		if (rc == 0) {
			struct kwr k = kwr_counter();
			side->encode(&k, version, m->copy);
		}
	}
}

static void each(uint64_t seed, int times,
	void (*fn)(struct memory *m, const struct kp_side *side, int16_t version, struct prng *rng))
{
	struct memory m = memory_new();
	struct prng rng = {seed};
	for (int i = 0; i < KP_MESSAGE_COUNT; i++) {
		const struct kp_message *msg = &kp_messages[i];
		for (int16_t v = msg->min; v <= msg->max; v++) {
			for (int t = 0; t < times; t++) {
				fn(&m, &msg->request, v, &rng);
				fn(&m, &msg->response, v, &rng);
			}
		}
	}
	memory_free(&m);
}

static void test_every_version_of_every_message_survives_a_round_trip(void **state)
{
	each(1, 50, round_trip);
}

static void test_a_message_cut_short_anywhere_is_malformed(void **state)
{
	each(2, 3, truncations);
}

static void test_changed_bytes_are_decoded_or_refused(void **state)
{
	each(3, 10, mutations);
}

static void test_versions_outside_of_the_range_are_refused(void **state)
{
	struct memory m = memory_new();
	for (int i = 0; i < KP_MESSAGE_COUNT; i++) {
		const struct kp_message *msg = &kp_messages[i];
		struct rd r = rd_of(m.wire, 0);
		assert_int_equal(
			msg->request.decode(&r, (int16_t)(msg->min - 1), m.copy, &m.decode),
			KP_E_VERSION);
		assert_int_equal(
			msg->response.decode(&r, (int16_t)(msg->max + 1), m.copy, &m.decode),
			KP_E_VERSION);
	}
	memory_free(&m);
}

static void test_a_small_arena_is_reported_and_not_overrun(void **state)
{
	struct memory m = memory_new();
	struct prng rng = {4};
	uint8_t small[64];
	int short_of_memory = 0;
	for (int i = 0; i < KP_MESSAGE_COUNT; i++) {
		const struct kp_message *msg = &kp_messages[i];
		for (int t = 0; t < 50; t++) {
			size_t len = make(&m, &msg->request, msg->max, &rng);
			struct arena a;
			arena_init(&a, small, prng_below(&rng, sizeof(small)));
			struct rd r = rd_of(m.wire, len);
			int rc = msg->request.decode(&r, msg->max, m.copy, &a);
			assert_true(rc == 0 || rc == KP_E_NOMEM);
			short_of_memory += rc == KP_E_NOMEM;
		}
	}
	assert_true(short_of_memory > 50);
	memory_free(&m);
}

static void test_a_count_that_the_bytes_cannot_hold_is_refused_before_memory_is_taken(void **state)
{
	struct memory m = memory_new();
	/* Metadata 1: 100 million topics in 8 bytes */
	uint8_t wire[8] = {0x05, 0xf5, 0xe1, 0x00, 0, 1, 'a', 0};
	struct kp_metadata_request req;
	struct rd r = rd_of(wire, sizeof(wire));
	assert_int_equal(kp_decode_metadata_request(&r, 1, &req, &m.decode), KP_E_MALFORMED);
	assert_int_equal(m.decode.used, 0);
	/* compact: 2^32 - 2 topics */
	uint8_t flex[8] = {0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0};
	r = rd_of(flex, sizeof(flex));
	assert_int_equal(kp_decode_metadata_request(&r, 9, &req, &m.decode), KP_E_MALFORMED);
	assert_int_equal(m.decode.used, 0);
	memory_free(&m);
}

static void test_null_is_refused_where_the_version_forbids_it(void **state)
{
	struct memory m = memory_new();
	struct kp_metadata_request req;
	const uint8_t null_topics[] = {0xff, 0xff, 0xff, 0xff};
	struct rd r = rd_of(null_topics, sizeof(null_topics));
	assert_int_equal(kp_decode_metadata_request(&r, 0, &req, &m.decode), KP_E_MALFORMED);
	r = rd_of(null_topics, sizeof(null_topics));
	assert_int_equal(kp_decode_metadata_request(&r, 1, &req, &m.decode), 0);
	assert_int_equal(req.n_topics, -1);
	const uint8_t minus_two[] = {0xff, 0xff, 0xff, 0xfe};
	r = rd_of(minus_two, sizeof(minus_two));
	assert_int_equal(kp_decode_metadata_request(&r, 1, &req, &m.decode), KP_E_MALFORMED);
	const uint8_t null_name[] = {0, 0, 0, 1, 0xff, 0xff};
	r = rd_of(null_name, sizeof(null_name));
	assert_int_equal(kp_decode_metadata_request(&r, 1, &req, &m.decode), KP_E_MALFORMED);
	memory_free(&m);
}

static void test_null_goes_out_as_empty_where_the_version_forbids_it(void **state)
{
	struct kp_join_group_response resp;
	kp_default_join_group_response(&resp);
	resp.protocol_name = KSTR_NULL;
	uint8_t wire[64];
	struct kwr k = kwr_of(wire, sizeof(wire));
	kp_encode_join_group_response(&k, 6, &resp);
	struct memory m = memory_new();
	struct rd r = rd_of(wire, wr_len(&k.w));
	assert_int_equal(kp_decode_join_group_response(&r, 6, &resp, &m.decode), 0);
	assert_int_equal(resp.protocol_name.len, 0);
	memory_free(&m);
}

static void test_fields_that_a_version_lacks_have_their_default(void **state)
{
	struct memory m = memory_new();
	struct kp_metadata_request req;
	const uint8_t none[] = {0, 0, 0, 0};
	struct rd r = rd_of(none, sizeof(none));
	assert_int_equal(kp_decode_metadata_request(&r, 0, &req, &m.decode), 0);
	assert_true(req.allow_auto_topic_creation);

	struct kp_fetch_request fetch;
	kp_default_fetch_request(&fetch);
	assert_int_equal(fetch.replica_id, -1);
	assert_int_equal(fetch.replica_state.replica_id, -1);
	assert_int_equal(fetch.replica_state.replica_epoch, -1);
	assert_int_equal(fetch.max_bytes, INT32_MAX);
	assert_int_equal(fetch.session_epoch, -1);
	struct kp_metadata_response_topic topic;
	kp_default_metadata_response_topic(&topic);
	assert_int_equal(topic.topic_authorized_operations, INT32_MIN);
	struct kp_fetch_request_partition part;
	kp_default_fetch_request_partition(&part);
	assert_true(part.high_watermark == INT64_MAX);
	memory_free(&m);
}

static void test_unknown_tagged_fields_are_skipped_and_bad_sizes_refused(void **state)
{
	struct memory m = memory_new();
	struct kp_heartbeat_request req;
	/* group "g", generation 1, member "m", instance null; tags: 5 -> 3 bytes, 9 -> 0 bytes */
	uint8_t wire[] = {2, 'g', 0, 0, 0, 1, 2, 'm', 0, 2, 5, 3, 'x', 'y', 'z', 9, 0};
	struct rd r = rd_of(wire, sizeof(wire));
	assert_int_equal(kp_decode_heartbeat_request(&r, 4, &req, &m.decode), 0);
	assert_int_equal(rd_left(&r), 0);
	assert_int_equal(req.generation_id, 1);
	wire[11] = 100; /* longer than what is there */
	r = rd_of(wire, sizeof(wire));
	assert_int_equal(kp_decode_heartbeat_request(&r, 4, &req, &m.decode), KP_E_MALFORMED);

	/* a known tag (cluster id of Fetch) whose size is not that of its content */
	struct kp_fetch_request fetch;
	kp_default_fetch_request(&fetch);
	fetch.cluster_id = kstr_of("abc");
	struct kwr k = kwr_of(m.wire, MEMORY);
	kp_encode_fetch_request(&k, 12, &fetch);
	size_t len = wr_len(&k.w);
	const uint8_t tail[] = {1, 0, 4, 4, 'a', 'b', 'c'};
	assert_memory_equal(m.wire + len - sizeof(tail), tail, sizeof(tail));
	m.wire[len - 5] = 5;
	m.wire[len] = 0;
	r = rd_of(m.wire, len + 1);
	assert_int_equal(kp_decode_fetch_request(&r, 12, &fetch, &m.decode), KP_E_MALFORMED);
	memory_free(&m);
}

static void test_bytes_after_the_message_are_left_in_the_reader(void **state)
{
	struct memory m = memory_new();
	struct kp_heartbeat_response resp;
	const uint8_t wire[] = {0, 25, 1, 2, 3};
	struct rd r = rd_of(wire, sizeof(wire));
	assert_int_equal(kp_decode_heartbeat_response(&r, 0, &resp, &m.decode), 0);
	assert_int_equal(resp.error_code, 25);
	assert_int_equal(rd_left(&r), 3);
	memory_free(&m);
}

static void test_api_table_and_schemas_name_the_same_versions(void **state)
{
	uint32_t count;
	const struct kp_api *apis = kp_api_all(&count);
	assert_int_equal(count, KP_MESSAGE_COUNT);
	for (uint32_t i = 0; i < count; i++) {
		assert_int_equal(apis[i].key, kp_messages[i].key);
		assert_int_equal(apis[i].min, kp_messages[i].min);
		assert_int_equal(apis[i].max, kp_messages[i].max);
		assert_int_equal(apis[i].flexible, kp_messages[i].flexible);
		if (apis[i].advertised_max >= apis[i].advertised_min)
			assert_int_equal(apis[i].advertised_max, apis[i].max);
		assert_int_equal(
			apis[i].advertised_min, apis[i].key == KP_PRODUCE ? 0 : apis[i].min);
		assert_ptr_equal(kp_api_find(apis[i].key), &apis[i]);
	}
	assert_null(kp_api_find(4));
	assert_null(kp_api_find(-1));
	assert_null(kp_api_find(KP_API_KEY_LIMIT));
	assert_null(kp_api_find(INT16_MAX));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_version_of_every_message_survives_a_round_trip),
		cmocka_unit_test(test_a_message_cut_short_anywhere_is_malformed),
		cmocka_unit_test(test_changed_bytes_are_decoded_or_refused),
		cmocka_unit_test(test_versions_outside_of_the_range_are_refused),
		cmocka_unit_test(test_a_small_arena_is_reported_and_not_overrun),
		cmocka_unit_test(
			test_a_count_that_the_bytes_cannot_hold_is_refused_before_memory_is_taken),
		cmocka_unit_test(test_null_is_refused_where_the_version_forbids_it),
		cmocka_unit_test(test_null_goes_out_as_empty_where_the_version_forbids_it),
		cmocka_unit_test(test_fields_that_a_version_lacks_have_their_default),
		cmocka_unit_test(test_unknown_tagged_fields_are_skipped_and_bad_sizes_refused),
		cmocka_unit_test(test_bytes_after_the_message_are_left_in_the_reader),
		cmocka_unit_test(test_api_table_and_schemas_name_the_same_versions),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
