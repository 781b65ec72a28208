/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "tools/client/address.h"
#include "tools/client/client.h"

static void addresses_have_a_host_and_perhaps_a_port(void **state)
{
	struct address a[ADDRESS_LIST];
	assert_int_equal(address_list_parse("one,two:1,[::1]:65535,[fe80::1]", a), 4);
	assert_string_equal(a[0].host, "one");
	assert_int_equal(a[0].port, ADDRESS_PORT);
	assert_string_equal(a[1].host, "two");
	assert_int_equal(a[1].port, 1);
	assert_string_equal(a[2].host, "::1");
	assert_int_equal(a[2].port, 65535);
	assert_string_equal(a[3].host, "fe80::1");
	assert_int_equal(a[3].port, ADDRESS_PORT);
}

static void what_is_no_list_of_addresses_is_refused(void **state)
{
	struct address a[ADDRESS_LIST];
	const char *bad[] = {"", ",", "a,", ":1", "a:", "a:0", "a:65536", "a:1x", "[::1", "[]:1",
		"[::1]x", "a b:1", "kafka://a", "a:-1"};
	char many[4 * ADDRESS_LIST + 8] = "a", longest[ADDRESS_HOST + 1];
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(address_list_parse(bad[i], a), -1);
	for (int i = 1; i < ADDRESS_LIST; i++)
		memcpy(many + 2 * i - 1, ",a", 3);
	assert_int_equal(address_list_parse(many, a), ADDRESS_LIST);
	memcpy(many + 2 * ADDRESS_LIST - 1, ",a", 3);
	assert_int_equal(address_list_parse(many, a), -1);
	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = 0;
	assert_int_equal(address_list_parse(longest, a), -1);
}

static void the_highest_version_that_both_have_is_taken(void **state)
{
	const struct kp_message m = {.min = 3, .max = 13};
	assert_int_equal(client_version_pick(&m, (struct conn_range){0, 20}, INT16_MAX), 13);
	assert_int_equal(client_version_pick(&m, (struct conn_range){0, 20}, 12), 12);
	assert_int_equal(client_version_pick(&m, (struct conn_range){0, 3}, 12), 3);
	assert_int_equal(client_version_pick(&m, (struct conn_range){0, 2}, 12), CLIENT_E_VERSION);
	assert_int_equal(
		client_version_pick(&m, (struct conn_range){13, 20}, 12), CLIENT_E_VERSION);
	assert_int_equal(client_version_pick(&m, (struct conn_range){0, -1}, 12), CLIENT_E_VERSION);
}

static void a_client_is_not_made_for_an_address_that_is_none(void **state)
{
	struct client_options o = {.bootstrap = "a:b", .timeout_ms = 1, .stop_fd = -1};
	assert_null(client_open(&o));
	o.bootstrap = "a:1";
	struct client *c = client_open(&o);
	assert_non_null(c);
	client_close(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_have_a_host_and_perhaps_a_port),
		cmocka_unit_test(what_is_no_list_of_addresses_is_refused),
		cmocka_unit_test(the_highest_version_that_both_have_is_taken),
		cmocka_unit_test(a_client_is_not_made_for_an_address_that_is_none),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
