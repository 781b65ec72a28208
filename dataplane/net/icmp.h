/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_NET_ICMP_H
#define MR_NET_ICMP_H

#include <stdbool.h>
#include <stdint.h>

#include "net/ip.h"

/* ICMP (RFC 792): echo, and errors about what we have sent. Pure. */
#define ICMP_HDR_LEN 8

/*
 * Looks at an ICMP message. True when it is a well-formed echo request, to be answered by a packet
 * that icmp_build_reply makes; everything else is counted and dropped.
 */
bool icmp_is_echo_request(const struct ip_pkt *pkt, struct ipstack_metrics *m);
#define ICMP_NO_PROTOCOL 2
#define ICMP_NO_PORT 3
#define ICMP_TOO_BIG 4 /* RFC 1191 */

/* Destination unreachable, about a TCP segment of ours. */
struct icmp_error {
	uint8_t code;
	uint16_t mtu; /* of ICMP_TOO_BIG; 0: not told */
	uint32_t dst_ip;
	uint16_t src_port, dst_port;
	uint32_t seq;
};

/*
 * True when pkt is a destination unreachable that quotes a TCP segment of the host it was sent to.
 * Others are left to icmp_is_echo_request to be counted.
 */
bool icmp_error_parse(const struct ip_pkt *pkt, struct icmp_error *e);
/* Writes the ICMP part of the answer to `request` (request->len bytes) to p. */
void icmp_build_reply(uint8_t *p, const struct ip_pkt *request);

#endif
