/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "kafka/errcode.h"
#include "kafka/header.h"

static enum kp_header_result decode(
	const uint8_t *p, size_t len, struct kp_request_header *h, struct rd *r)
{
	*r = rd_of(p, len);
	return kp_header_decode(r, h);
}

static void test_header_v1_is_read_with_its_client_id(void **state)
{
	const uint8_t wire[] = {0, 3, 0, 4, 0, 0, 0, 7, 0, 3, 'c', 'i', 'd', 0xaa};
	struct kp_request_header h;
	struct rd r;
	assert_int_equal(decode(wire, sizeof(wire), &h, &r), KP_HEADER_OK);
	assert_int_equal(h.key, KP_METADATA);
	assert_int_equal(h.version, 4);
	assert_int_equal(h.correlation_id, 7);
	assert_true(kstr_equal(h.client_id, kstr_of("cid")));
	assert_string_equal(h.api->name, "Metadata");
	assert_int_equal(rd_left(&r), 1);
}

static void test_header_v2_has_tags_and_a_client_id_that_is_not_compact(void **state)
{
	const uint8_t wire[] = {0, 18, 0, 3, 0, 0, 0, 1, 0, 2, 'r', 'd', 1, 99, 2, 'x', 'y', 0xaa};
	struct kp_request_header h;
	struct rd r;
	assert_int_equal(decode(wire, sizeof(wire), &h, &r), KP_HEADER_OK);
	assert_true(kstr_equal(h.client_id, kstr_of("rd")));
	assert_int_equal(rd_left(&r), 1);
	for (size_t n = 0; n < sizeof(wire) - 1; n++)
		assert_int_equal(decode(wire, n, &h, &r), KP_HEADER_MALFORMED);
}

static void test_null_client_id_reads_as_empty(void **state)
{
	const uint8_t wire[] = {0, 12, 0, 0, 0, 0, 0, 1, 0xff, 0xff};
	struct kp_request_header h;
	struct rd r;
	assert_int_equal(decode(wire, sizeof(wire), &h, &r), KP_HEADER_OK);
	assert_int_equal(h.client_id.len, 0);
	const uint8_t bad[] = {0, 12, 0, 0, 0, 0, 0, 1, 0xff, 0xfe};
	assert_int_equal(decode(bad, sizeof(bad), &h, &r), KP_HEADER_MALFORMED);
}

static void test_unknown_key_and_version_are_told_apart(void **state)
{
	struct kp_request_header h;
	struct rd r;
	const uint8_t key[] = {0, 77, 0, 0, 0, 0, 0, 9, 0xff, 0xff};
	assert_int_equal(decode(key, sizeof(key), &h, &r), KP_HEADER_UNKNOWN_API);
	assert_int_equal(h.correlation_id, 9);
	const uint8_t version[] = {0, 1, 0, 99, 0, 0, 0, 9, 0xff, 0xff};
	assert_int_equal(decode(version, sizeof(version), &h, &r), KP_HEADER_UNSUPPORTED_VERSION);
	const uint8_t negative[] = {0, 1, 0xff, 0xff, 0, 0, 0, 9, 0xff, 0xff};
	assert_int_equal(decode(negative, sizeof(negative), &h, &r), KP_HEADER_UNSUPPORTED_VERSION);
}

static void test_produce_below_3_is_advertised_but_not_accepted(void **state)
{
	struct kp_request_header h;
	struct rd r;
	uint8_t wire[] = {0, 0, 0, 2, 0, 0, 0, 9, 0xff, 0xff};
	assert_int_equal(kp_api_find(KP_PRODUCE)->advertised_min, 0);
	assert_int_equal(decode(wire, sizeof(wire), &h, &r), KP_HEADER_UNSUPPORTED_VERSION);
	wire[3] = 3;
	assert_int_equal(decode(wire, sizeof(wire), &h, &r), KP_HEADER_OK);
}

static void test_api_versions_in_an_unknown_version_is_downgraded(void **state)
{
	struct kp_request_header h;
	struct rd r;
	const uint8_t wire[] = {0, 18, 0x7f, 0xff, 0, 0, 0, 9};
	assert_int_equal(decode(wire, sizeof(wire), &h, &r), KP_HEADER_DOWNGRADE);
	assert_int_equal(h.version, 0x7fff);
	assert_int_equal(h.correlation_id, 9);
	assert_int_equal(h.api->key, KP_API_VERSIONS);
}

static void test_frame_sizes_are_bounded(void **state)
{
	const uint8_t ok[] = {0, 0, 0, 10};
	const uint8_t small[] = {0, 0, 0, 9};
	const uint8_t negative[] = {0xff, 0xff, 0xff, 0xff};
	const uint8_t large[] = {0x06, 0x40, 0x00, 0x01};
	assert_int_equal(kp_frame_size(ok, 3, 1000), 0);
	assert_int_equal(kp_frame_size(ok, 4, 1000), 14);
	assert_int_equal(kp_frame_size(ok, 4, 9), -1);
	assert_int_equal(kp_frame_size(small, 4, 1000), -1);
	assert_int_equal(kp_frame_size(negative, 4, UINT32_MAX), -1);
	assert_int_equal(kp_frame_size(large, 4, 104857600), -1);
	assert_int_equal(kp_frame_size(large, 4, 104857601), 104857605);
}

static void test_response_header_is_v0_v1_and_always_v0_for_api_versions(void **state)
{
	uint8_t wire[32];
	struct kwr k = kwr_of(wire, sizeof(wire));
	kp_response_begin(&k, kp_api_find(KP_METADATA), 8, 0x01020304);
	assert_true(kp_response_end(&k));
	const uint8_t v0[] = {0, 0, 0, 4, 1, 2, 3, 4};
	assert_int_equal(wr_len(&k.w), sizeof(v0));
	assert_memory_equal(wire, v0, sizeof(v0));

	k = kwr_of(wire, sizeof(wire));
	kp_response_begin(&k, kp_api_find(KP_METADATA), 9, 0x01020304);
	assert_true(kp_response_end(&k));
	const uint8_t v1[] = {0, 0, 0, 5, 1, 2, 3, 4, 0};
	assert_int_equal(wr_len(&k.w), sizeof(v1));
	assert_memory_equal(wire, v1, sizeof(v1));

	k = kwr_of(wire, sizeof(wire));
	kp_response_begin(&k, kp_api_find(KP_API_VERSIONS), 3, 0x01020304);
	assert_true(kp_response_end(&k));
	assert_int_equal(wr_len(&k.w), sizeof(v0));
	struct rd r = rd_of(wire + 4, 4);
	int32_t id;
	assert_int_equal(kp_response_header_decode(&r, kp_api_find(KP_API_VERSIONS), 3, &id), 0);
	assert_int_equal(id, 0x01020304);

	k = kwr_of(wire, 6);
	kp_response_begin(&k, kp_api_find(KP_METADATA), 9, 1);
	assert_false(kp_response_end(&k));
	assert_int_equal(k.w.need, 9);
}

static void test_request_header_survives_a_round_trip(void **state)
{
	uint32_t count;
	const struct kp_api *apis = kp_api_all(&count);
	for (uint32_t i = 0; i < count; i++) {
		for (int16_t v = apis[i].min; v <= apis[i].max; v++) {
			uint8_t wire[64];
			struct kwr k = kwr_of(wire, sizeof(wire));
			kp_request_begin(&k, &apis[i], v, -5, kstr_of("me"));
			assert_true(kp_request_end(&k));
			assert_int_equal(kp_frame_size(wire, wr_len(&k.w), 1000), wr_len(&k.w));
			struct kp_request_header h;
			struct rd r;
			assert_int_equal(decode(wire + 4, wr_len(&k.w) - 4, &h, &r), KP_HEADER_OK);
			assert_int_equal(rd_left(&r), 0);
			assert_int_equal(h.correlation_id, -5);
			assert_ptr_equal(h.api, &apis[i]);
			assert_true(kstr_equal(h.client_id, kstr_of("me")));
		}
	}
}

static void test_error_codes_have_names(void **state)
{
	assert_string_equal(ke_name(KE_NONE), "NONE");
	assert_string_equal(ke_name(-1), "UNKNOWN_SERVER_ERROR");
	assert_string_equal(ke_name(87), "INVALID_RECORD");
	assert_string_equal(ke_name(136), "CONTROLLER_ID_NOT_REGISTERED");
	assert_string_equal(ke_name(137), "?");
	assert_string_equal(ke_name(-2), "?");
	assert_true(ke_retriable(KE_NOT_LEADER_OR_FOLLOWER));
	assert_false(ke_retriable(KE_INVALID_RECORD));
	for (int16_t code = -1; code <= 136; code++) {
		assert_non_null(ke_name(code));
		assert_non_null(ke_text(code));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_header_v1_is_read_with_its_client_id),
		cmocka_unit_test(test_header_v2_has_tags_and_a_client_id_that_is_not_compact),
		cmocka_unit_test(test_null_client_id_reads_as_empty),
		cmocka_unit_test(test_unknown_key_and_version_are_told_apart),
		cmocka_unit_test(test_produce_below_3_is_advertised_but_not_accepted),
		cmocka_unit_test(test_api_versions_in_an_unknown_version_is_downgraded),
		cmocka_unit_test(test_frame_sizes_are_bounded),
		cmocka_unit_test(test_response_header_is_v0_v1_and_always_v0_for_api_versions),
		cmocka_unit_test(test_request_header_survives_a_round_trip),
		cmocka_unit_test(test_error_codes_have_names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
