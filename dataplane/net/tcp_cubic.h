/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_NET_TCP_CUBIC_H
#define MR_NET_TCP_CUBIC_H

#include <stdbool.h>
#include <stdint.h>

/*
 * How a window grows: CUBIC in congestion avoidance (RFC 9438), and the end of the first slow start
 * by round-trip times (HyStart++, RFC 9406). Arithmetic only: windows in bytes and times come in,
 * a window goes out. tcp_cc.c is the only caller.
 */

/* One connection's curve. All zero: there has been no loss. */
struct tcp_cubic {
	uint64_t epoch_ns; /* when congestion avoidance has begun; 0: not yet */
	uint64_t est_q16;  /* W_est: what Reno would have, in 1/65536 bytes */
	uint64_t carry;	   /* of cwnd, below one byte */
	uint32_t w_max;	   /* where the curve is flat */
	uint32_t prior;	   /* cwnd at the last loss */
	uint32_t k_ms;	   /* from epoch_ns to the flat place */
};

/* beta = 0.7: what remains of bytes after a loss (section 4.6). */
uint32_t tcp_cubic_reduced(uint32_t bytes);
/* A loss at this window; after a timeout the curve begins anew (sections 4.7 and 4.8). */
void tcp_cubic_loss(struct tcp_cubic *q, uint32_t cwnd, bool timeout);
/* The window after acked bytes in congestion avoidance (sections 4.2 to 4.5). */
uint32_t tcp_cubic_grow(struct tcp_cubic *q, uint32_t cwnd, uint32_t mss, uint32_t acked,
	uint64_t srtt_ns, uint64_t now_ns);
/* The window was not used for a time, which is no time of growth (section 5.8). */
static inline void tcp_cubic_pause(struct tcp_cubic *q)
{
	q->epoch_ns = 0;
}

enum tcp_hystart_phase { HYSTART_SLOW_START, HYSTART_CSS, HYSTART_DONE };

struct tcp_hystart {
	uint32_t round_end;	  /* a round is over when this is acknowledged */
	uint32_t last_us, cur_us; /* smallest round-trip times of rounds; UINT32_MAX: none */
	uint32_t base_us;	  /* at the begin of conservative slow start */
	uint8_t samples, css_rounds;
	uint8_t phase; /* enum tcp_hystart_phase */
};

void tcp_hystart_init(struct tcp_hystart *h, uint32_t snd_nxt);
/* An ACK up to una in slow start with a round-trip time; snd_nxt ends the next round. */
enum tcp_hystart_phase tcp_hystart_ack(
	struct tcp_hystart *h, uint32_t una, uint32_t snd_nxt, uint64_t rtt_ns);

#endif
