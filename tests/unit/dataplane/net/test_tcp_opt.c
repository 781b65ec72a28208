/* SPDX-License-Identifier: Apache-2.0 */
/* Options, headers, sequence arithmetic. */
#include "base/prng.h"
#include "unit/dataplane/net/tcp_kit.h"

static struct tcp_opts parse(const char *bytes, uint32_t n, bool good)
{
	struct tcp_opts o;
	uint8_t *exact = malloc(n ? n : 1); /* a sanitizer sees a read beyond */
	memcpy(exact, bytes, n);
	assert_int_equal(tcp_opts_parse(exact, n, &o), good);
	free(exact);
	return o;
}

static void options_are_read(void **state)
{
	struct tcp_opts o = parse("\2\4\5\xb4\1\3\3\7", 8, true);
	assert_int_equal(o.mss, 1460);
	assert_int_equal(o.wscale, 7);
	o = parse("", 0, true);
	assert_int_equal(o.mss, 0);
	assert_int_equal(o.wscale, -1);
	o = parse(
		"\x08\x0a\0\0\0\0\0\0\0\0\2\4\2\x18", 14, true); /* a strange one is passed over */
	assert_int_equal(o.mss, 536);
	o = parse("\0\2\4\5\xb4", 5, true); /* behind the end */
	assert_int_equal(o.mss, 0);
	(void)state;
}

static void malformed_options_are_dropped_and_the_ones_before_stand(void **state)
{
	assert_int_equal(parse("\2\4\5\xb4\3\0\0\0", 8, false).mss, 1460); /* length 0 */
	assert_int_equal(parse("\2\4\5\xb4\3\1\0\0", 8, false).mss, 1460); /* length 1 */
	assert_int_equal(parse("\2\4\5\xb4\3\5\0\0", 8, false).mss, 1460); /* beyond the header */
	assert_int_equal(parse("\2\4\5\xb4\3", 5, false).mss, 1460);	   /* no length */
	assert_int_equal(parse("\2\3\5\3\3\2", 6, false).mss, 0);	   /* MSS of 3 bytes */
	assert_int_equal(parse("\2\3\5\3\3\2", 6, false).wscale, 2);
	assert_int_equal(parse("\3\4\5\5\2\4\1\1", 8, false).mss, 257); /* scale of 4 bytes */
	(void)state;
}

static void a_window_scale_above_14_is_14(void **state)
{
	assert_int_equal(parse("\3\3\x0e", 3, true).wscale, 14);
	assert_int_equal(parse("\3\3\x0f", 3, true).wscale, 14);
	assert_int_equal(parse("\3\3\xff", 3, true).wscale, 14);
	(void)state;
}

static void what_is_built_is_read_again(void **state)
{
	uint8_t b[8];
	struct tcp_opts o;
	assert_int_equal(tcp_opts_build(b, &(struct tcp_opts){.mss = 1460, .wscale = 7}), 8);
	assert_true(tcp_opts_parse(b, 8, &o));
	assert_int_equal(o.mss, 1460);
	assert_int_equal(o.wscale, 7);
	assert_int_equal(tcp_opts_build(b, &(struct tcp_opts){.mss = 9000, .wscale = -1}), 4);
	assert_true(tcp_opts_parse(b, 4, &o));
	assert_int_equal(o.mss, 9000);
	assert_int_equal(o.wscale, -1);
	(void)state;
}

static void random_options_never_read_beyond_the_header(void **state)
{
	struct prng r = {.s = 1};
	for (int i = 0; i < 20000; i++) {
		uint32_t n = (uint32_t)prng_below(&r, 41);
		uint8_t *b = malloc(n ? n : 1);
		for (uint32_t k = 0; k < n; k++)
			b[k] = (uint8_t)prng_below(&r, prng_chance(&r, 1, 2) ? 6 : 256);
		struct tcp_opts o;
		tcp_opts_parse(b, n, &o);
		assert_in_range(o.wscale + 1, 0, 15);
		free(b);
	}
	(void)state;
}

static void a_tiny_mss_of_the_peer_is_raised_and_a_missing_one_is_536(void **state)
{
	static struct kit k;
	static const uint8_t text[2000];
	static const struct {
		uint16_t offered, used;
	} rows[] = {{1, TCP_MSS_MIN}, {0, 536}, {536, 536}, {9000, 1460}};
	for (uint32_t i = 0; i < array_size(rows); i++) {
		kit_config(&k);
		k.peer_mss = rows[i].offered;
		kit_start(&k);
		kit_handshake(&k);
		kit_send(&k, text, sizeof(text), 1);
		assert_int_equal(k.out[0].len, rows[i].used);
		kit_stop(&k);
	}
	(void)state;
}

static void impossible_flags_and_ports_are_dropped(void **state)
{
	uint8_t b[20] = {0};
	struct tcp_seg seg;
	struct ipstack_metrics m = {0};
	struct tcp_ctl c = {.src_port = 1, .dst_port = 2, .flags = TCP_SYN | TCP_FIN};
	tcp_hdr_build(b, &c, 20);
	assert_false(tcp_seg_parse(b, 20, 1, 2, true, &seg, &m));
	c.flags = TCP_SYN | TCP_RST;
	tcp_hdr_build(b, &c, 20);
	assert_false(tcp_seg_parse(b, 20, 1, 2, true, &seg, &m));
	assert_int_equal(m.tcp_drop_flags_total.v, 2);
	c = (struct tcp_ctl){.src_port = 0, .dst_port = 2, .flags = TCP_SYN};
	tcp_hdr_build(b, &c, 20);
	assert_false(tcp_seg_parse(b, 20, 1, 2, true, &seg, &m));
	c = (struct tcp_ctl){.src_port = 1, .dst_port = 0, .flags = TCP_SYN};
	tcp_hdr_build(b, &c, 20);
	assert_false(tcp_seg_parse(b, 20, 1, 2, true, &seg, &m));
	assert_int_equal(m.tcp_drop_port_total.v, 2);
	(void)state;
}

static void sequence_numbers_are_compared_across_the_wrap(void **state)
{
	struct prng r = {.s = 9};
	for (int i = 0; i < 100000; i++) {
		uint32_t a = prng_chance(&r, 1, 2) ? 0xffffff00u : (uint32_t)prng_next(&r);
		uint32_t d = (uint32_t)prng_below(&r, 1u << 31);
		assert_int_equal(seq_lt(a, a + d), d != 0);
		assert_true(seq_le(a, a + d));
		assert_int_equal(seq_le(a + d, a), d == 0);
		assert_int_equal(seq_max(a, a + d), a + d);
		assert_int_equal(seq_max(a + d, a), a + d);
	}
	(void)state;
}

static void siphash_gives_the_published_vectors(void **state)
{
	uint8_t key[16], msg[15];
	for (uint8_t i = 0; i < 16; i++)
		key[i] = i;
	for (uint8_t i = 0; i < 15; i++)
		msg[i] = i;
	struct siphash_key k = siphash_key_of(key);
	assert_true(siphash(k, 2, 4, msg, 15) == 0xa129ca6149be45e5ull);
	assert_true(siphash(k, 2, 4, msg, 0) == 0x726fdb47dd0e0e31ull);
	assert_true(siphash(k, 2, 4, msg, 8) == 0x93f5f5799a932462ull);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_are_read),
		cmocka_unit_test(malformed_options_are_dropped_and_the_ones_before_stand),
		cmocka_unit_test(a_window_scale_above_14_is_14),
		cmocka_unit_test(what_is_built_is_read_again),
		cmocka_unit_test(random_options_never_read_beyond_the_header),
		cmocka_unit_test(a_tiny_mss_of_the_peer_is_raised_and_a_missing_one_is_536),
		cmocka_unit_test(impossible_flags_and_ports_are_dropped),
		cmocka_unit_test(sequence_numbers_are_compared_across_the_wrap),
		cmocka_unit_test(siphash_gives_the_published_vectors),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
