/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_NET_IP_H
#define MR_NET_IP_H

#include <stdbool.h>
#include <stdint.h>

#include "net/ipstack.h"

/* IPv4 (RFC 791, host rules of RFC 1122) and the Internet checksum (RFC 1071). Pure. */
#define IP_HDR_LEN 20
#define IP_PROTO_ICMP 1
#define IP_PROTO_TCP 6

/* A received packet without its header; p is borrowed from the frame. */
struct ip_pkt {
	uint32_t src, dst;
	uint8_t proto;
	bool ce; /* congestion experienced (RFC 3168) */
	const uint8_t *p;
	uint32_t len; /* by the total length field: the padding of short frames is not part of it */
};

/*
 * Adds len bytes to a running sum (any value returned here, 0 at first). Only the last piece of a
 * sum may have an odd length; see ip_sum_iov for pieces of any length.
 */
uint64_t ip_sum(uint64_t sum, const void *p, uint32_t len);
/* Adds the pieces as if they stood one behind the other. */
uint64_t ip_sum_iov(uint64_t sum, const struct net_iov *iov, uint32_t count);
/* The checksum field's value, in host order (to be stored big-endian). */
uint16_t ip_sum_fold(uint64_t sum);
/* Sum of the pseudo-header of TCP (RFC 9293 section 3.1); len: header and payload. */
uint64_t ip_pseudo_sum(uint32_t src, uint32_t dst, uint8_t proto, uint32_t len);

/* True for an address that a host can have (not 0/8, 127/8, multicast, class E, broadcast). */
bool ip_is_host(uint32_t ip);

/*
 * Checks everything about an IPv4 packet of len bytes for the host cfg->ip: version, header length,
 * total length against the frame, header checksum unless checksum_ok, fragments (refused), time to
 * live, addresses. False: counted, to be dropped. Options are skipped, not followed.
 */
bool ip_parse(const uint8_t *p, uint32_t len, const struct ipstack_config *cfg, bool checksum_ok,
	struct ip_pkt *pkt, struct ipstack_metrics *m);
/* Writes a 20-byte header: DF set, id 0 (RFC 6864), ttl 64; the checksum is 0 when `no_csum`. */
void ip_build(uint8_t *hdr, uint32_t src, uint32_t dst, uint8_t proto, uint32_t payload_len,
	bool no_csum);
/* Says that the packet of this header may be marked instead of dropped: ECT(0). */
void ip_set_ect(uint8_t *hdr, bool no_csum);
/* The neighbour to send to for dst: dst itself when on-link, else the gateway; 0: no way. */
uint32_t ip_next_hop(const struct ipstack_config *cfg, uint32_t dst);

#endif
