/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_BASE_CONN_INFO_H
#define MR_BASE_CONN_INFO_H

#include <stdbool.h>
#include <stdint.h>

/*
 * What `ss -ti` shows of a socket, the same of both transports: a plain value, filled by the shard
 * that owns the connection and read by whoever shows it. What a transport does not know is 0.
 */
#define CONN_STATE_MAX 16
#define CONN_CC_MAX 16
#define CONN_SSTHRESH_NONE UINT32_MAX /* no loss has been seen yet */

struct conn_info {
	char state[CONN_STATE_MAX]; /* RFC 9293's name */
	char cc[CONN_CC_MAX];	    /* congestion control */
	uint8_t peer_ip[16];	    /* IPv4 as ::ffff:a.b.c.d */
	uint16_t peer_port, local_port;
	uint32_t cwnd_bytes, ssthresh_bytes;
	uint32_t in_flight_bytes;  /* sent and not acknowledged */
	uint32_t send_queue_bytes; /* handed over by the broker and not acknowledged */
	uint32_t recv_queue_bytes; /* received and not taken by the broker */
	uint32_t send_window_bytes, recv_window_bytes;
	uint32_t mss_bytes, pmtu_bytes;
	uint64_t srtt_ns, rttvar_ns, min_rtt_ns, rto_ns;
	uint64_t retransmits; /* segments sent again */
	uint64_t bytes_in, bytes_out;
	uint8_t send_wscale, recv_wscale;
	bool sack, timestamps, ecn;
	bool paused; /* the broker does not read at the moment */
};

/* One shard's connections, a page at a time. */
struct conn_page {
	struct conn_info *conns; /* room for max; the asker's */
	uint32_t max;
	uint32_t count; /* filled */
	uint32_t from;	/* slot to begin with; 0: the first */
	uint32_t next;	/* where the next page begins; 0: there is none */
};

#endif
