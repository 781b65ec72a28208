/* SPDX-License-Identifier: Apache-2.0 */
/* Reassembly against a model that has a flag for each byte. */
#include "base/prng.h"
#include "unit/dataplane/net/tcp_kit.h"

#define STREAM 30000

static struct kit k;
static uint8_t text[STREAM];

/* What the receiver may hold: bytes of the stream that were taken. */
struct model {
	bool have[STREAM];
	uint32_t nxt; /* first byte missing */
};

static void model_take(struct model *m, uint32_t from, uint32_t to)
{
	for (uint32_t i = from; i < to; i++)
		m->have[i] = true;
	while (m->nxt < STREAM && m->have[m->nxt])
		m->nxt++;
}

/*
 * Random segments over a window, buffers in plenty: after each, the acknowledged number and the
 * bytes given to the application are exactly the model's.
 */
static void run_against_model(uint64_t seed, uint32_t iss)
{
	static struct model m;
	struct prng r = {.s = seed};
	memset(&m, 0, sizeof(m));
	for (uint32_t i = 0; i < STREAM; i++)
		text[i] = (uint8_t)prng_next(&r);
	kit_config(&k);
	k.peer_iss = iss;
	k.cfg.rx_chunks = k.cfg.rx_chunks_per_conn = 1024;
	k.cfg.resets_per_s = k.cfg.challenge_acks_per_s = 1000000;
	kit_start(&k);
	kit_handshake(&k);
	for (int step = 0; step < 3000 && m.nxt < STREAM; step++) {
		bool next = prng_chance(&r, 1, 4);
		uint32_t from = next ? m.nxt : m.nxt + (uint32_t)prng_below(&r, 6000);
		if (!next && prng_chance(&r, 1, 3))
			from = m.nxt > 2000 ? m.nxt - (uint32_t)prng_below(&r, 2000) : 0;
		from = min_of(from, STREAM - 1u);
		uint32_t len = 1 + (uint32_t)prng_below(&r, prng_chance(&r, 1, 2) ? 2500 : 40);
		len = min_of(len, STREAM - from);
		uint64_t ranges_before = kit_m(&k)->tcp_drop_ranges_total.v;
		if (prng_chance(&r, 1, 20))
			ipstack_pause(k.s, k.conn, true);
		if (prng_chance(&r, 1, 10))
			ipstack_pause(k.s, k.conn, false);
		kit_put(&k, TCP_ACK, 1 + from, 1, 65535, text + from, len);
		if (prng_chance(&r, 1, 2))
			kit_turn(&k);
		/* the one refusal possible: too many holes; then only what is contiguous is certain
		 */
		if (kit_m(&k)->tcp_drop_ranges_total.v == ranges_before)
			model_take(&m, from, from + len);
		k.nout = k.nev = 0;
	}
	ipstack_pause(k.s, k.conn, false);
	kit_turn(&k);
	assert_int_equal(kit_m(&k)->tcp_drop_no_buffer_total.v, 0);
	k.nout = 0;
	kit_put(&k, TCP_ACK, 1, 1, 65535, text, 1); /* old: asks for the number */
	kit_turn(&k);
	assert_int_equal(k.out[0].ack, 1 + m.nxt);
	assert_int_equal(k.ngot, m.nxt);
	assert_memory_equal(k.got, text, m.nxt);
	assert_true(m.nxt > 1000);
	kit_stop(&k);
}

static void reassembly_is_the_same_as_a_model_of_single_bytes(void **state)
{
	for (uint64_t seed = 1; seed <= 60; seed++)
		run_against_model(seed, (uint32_t)(seed * 77777777));
	(void)state;
}

static void reassembly_is_the_same_across_the_wrap_of_sequence_numbers(void **state)
{
	for (uint64_t seed = 1; seed <= 60; seed++)
		run_against_model(seed, 0xffffff00u - (uint32_t)seed * 100);
	(void)state;
}

/* Buffers are short: bytes may be refused, but what is delivered is right and all memory comes
 * back. */
static void short_buffers_lose_nothing_that_was_acknowledged(void **state)
{
	for (uint64_t seed = 1; seed <= 60; seed++) {
		struct prng r = {.s = seed};
		for (uint32_t i = 0; i < STREAM; i++)
			text[i] = (uint8_t)prng_next(&r);
		kit_config(&k);
		k.cfg.rx_chunks = (uint32_t)(8 + prng_below(&r, 8));
		k.cfg.rx_chunks_per_conn = (uint32_t)(1 + prng_below(&r, 12));
		k.cfg.rx_burst = (uint32_t)(1 + prng_below(&r, 8));
		k.cfg.rx_window_bytes = (uint32_t)(2048 + prng_below(&r, 60000));
		kit_start(&k);
		kit_handshake(&k);
		uint32_t acked = 1;
		for (int step = 0; step < 4000 && acked <= STREAM - 1; step++) {
			uint32_t from =
				acked - 1 +
				(prng_chance(&r, 1, 2) ? 0 : (uint32_t)prng_below(&r, 9000));
			from = min_of(from, STREAM - 1u);
			uint32_t len = 1 + (uint32_t)prng_below(&r, 3000);
			len = min_of(len, STREAM - from);
			if (prng_chance(&r, 1, 20))
				ipstack_pause(k.s, k.conn, true);
			if (prng_chance(&r, 1, 4))
				ipstack_pause(k.s, k.conn, false);
			kit_put(&k, TCP_ACK, 1 + from, 1, 65535, text + from, len);
			if (prng_chance(&r, 1, 3))
				kit_turn(&k);
			if (k.nout > 0)
				acked = k.out[k.nout - 1].ack;
			k.nout = k.nev = 0;
		}
		ipstack_pause(k.s, k.conn, false);
		kit_turn(&k);
		assert_true(k.ngot + 1 >= acked);
		assert_memory_equal(k.got, text, k.ngot);
		assert_int_equal(k.ngot, STREAM);
		struct ipstack_usage u;
		ipstack_usage_get(k.s, &u);
		assert_int_equal(u.rx_chunks, 0);
		kit_stop(&k);
	}
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reassembly_is_the_same_as_a_model_of_single_bytes),
		cmocka_unit_test(reassembly_is_the_same_across_the_wrap_of_sequence_numbers),
		cmocka_unit_test(short_buffers_lose_nothing_that_was_acknowledged),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
