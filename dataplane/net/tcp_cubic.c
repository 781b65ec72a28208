/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CUBIC and HyStart++, see tcp_cubic.h.
 *
 *	cwnd                            W(t) = C (t - K)^3 + W_max, C = 0.4 segments / s^3
 *	  |                        .
 *	  | W_max  . - - - - - - '      concave up to W_max, where the last loss was, careful
 *	  |     /                       around it, convex beyond: looking for what is new
 *	  |    /   <--- K --->
 *	  '---------------------------- t since the epoch
 */
#include "net/tcp_cubic.h"

#include "base/bytes.h"
#include "base/clock.h"

#define CUBIC_SPAN_MS (1u << 19) /* so far from K the curve goes on: 2^19 cubed fits */

uint32_t tcp_cubic_reduced(uint32_t bytes)
{
	return (uint32_t)((uint64_t)bytes * 7 / 10);
}

void tcp_cubic_loss(struct tcp_cubic *q, uint32_t cwnd, bool timeout)
{
	q->epoch_ns = 0;
	q->prior = cwnd;
	if (timeout)
		q->w_max = 0;
	else if (cwnd < q->w_max) /* fast convergence: make room for whoever is new */
		q->w_max = (uint32_t)((uint64_t)cwnd * 17 / 20);
	else
		q->w_max = cwnd;
}

static uint32_t cube_root(uint64_t v)
{
	uint64_t r = 0;
	for (int bit = 20; bit >= 0; bit--) {
		uint64_t x = r | 1ull << bit;
		if (x * x * x <= v)
			r = x;
	}
	return (uint32_t)r;
}

static void cubic_begin(struct tcp_cubic *q, uint32_t cwnd, uint32_t mss, uint64_t now_ns)
{
	q->epoch_ns = max_of(now_ns, (uint64_t)1);
	q->est_q16 = (uint64_t)cwnd << 16;
	q->carry = 0;
	q->w_max = max_of(q->w_max, cwnd);
	/* cbrt((W_max - cwnd) / C) seconds, of segments, in ms */
	q->k_ms = cube_root((uint64_t)(q->w_max - cwnd) * 2500000000ull / mss);
}

static uint64_t cubic_window(const struct tcp_cubic *q, uint32_t mss, uint64_t t_ms)
{
	bool below = t_ms < q->k_ms;
	uint64_t d = min_of(below ? q->k_ms - t_ms : t_ms - q->k_ms, (uint64_t)CUBIC_SPAN_MS);
	uint64_t bytes = d * d * d / 1000 * 4 * mss / 10000000;
	if (below)
		return q->w_max - min_of(bytes, (uint64_t)q->w_max);
	return q->w_max + bytes;
}

uint32_t tcp_cubic_grow(struct tcp_cubic *q, uint32_t cwnd, uint32_t mss, uint32_t acked,
	uint64_t srtt_ns, uint64_t now_ns)
{
	if (q->epoch_ns == 0)
		cubic_begin(q, cwnd, mss, now_ns);
	uint64_t t_ms = (now_ns - min_of(now_ns, q->epoch_ns)) / NS_PER_MS;
	/* section 4.3: alpha = 3 (1 - beta) / (1 + beta) = 9/17 until the place of the last loss */
	uint64_t alpha_q16 = q->est_q16 >> 16 < q->prior ? 65536 * 9 / 17 : 65536;
	q->est_q16 += alpha_q16 * acked / cwnd * mss;
	uint64_t est = q->est_q16 >> 16;
	if (cubic_window(q, mss, t_ms) < est)
		return (uint32_t)max_of(est, (uint64_t)cwnd);
	uint64_t target = cubic_window(q, mss, t_ms + srtt_ns / NS_PER_MS);
	target = min_of(max_of(target, (uint64_t)cwnd), (uint64_t)cwnd + cwnd / 2);
	q->carry += (target - cwnd) * acked;
	uint64_t step = q->carry / cwnd;
	q->carry %= cwnd;
	return cwnd + (uint32_t)step;
}

/* ---- HyStart++ (RFC 9406 section 4.2) ---- */

#define HS_SAMPLES 8
#define HS_THRESH_MIN_US 4000
#define HS_THRESH_MAX_US 16000
#define HS_CSS_ROUNDS 5

static void hystart_round(struct tcp_hystart *h, uint32_t snd_nxt)
{
	h->round_end = snd_nxt;
	h->last_us = h->cur_us;
	h->cur_us = UINT32_MAX;
	h->samples = 0;
}

void tcp_hystart_init(struct tcp_hystart *h, uint32_t snd_nxt)
{
	*h = (struct tcp_hystart){
		.round_end = snd_nxt, .last_us = UINT32_MAX, .cur_us = UINT32_MAX};
}

enum tcp_hystart_phase tcp_hystart_ack(
	struct tcp_hystart *h, uint32_t una, uint32_t snd_nxt, uint64_t rtt_ns)
{
	bool over = (int32_t)(una - h->round_end) >= 0;
	h->cur_us = (uint32_t)min_of((uint64_t)h->cur_us, rtt_ns / NS_PER_US);
	if (h->samples < UINT8_MAX)
		h->samples++;
	bool enough = h->samples >= HS_SAMPLES && h->last_us != UINT32_MAX;
	if (h->phase == HYSTART_SLOW_START && enough) {
		uint32_t thresh = min_of(max_of(h->last_us / 8, (uint32_t)HS_THRESH_MIN_US),
			(uint32_t)HS_THRESH_MAX_US);
		if (h->cur_us >= h->last_us + thresh) {
			h->phase = HYSTART_CSS;
			h->base_us = h->cur_us;
			h->css_rounds = 0;
		}
	} else if (h->phase == HYSTART_CSS && enough && h->cur_us < h->base_us) {
		h->phase = HYSTART_SLOW_START; /* it was jitter */
	}
	if (over) {
		if (h->phase == HYSTART_CSS && ++h->css_rounds >= HS_CSS_ROUNDS)
			h->phase = HYSTART_DONE;
		hystart_round(h, snd_nxt);
	}
	return (enum tcp_hystart_phase)h->phase;
}
