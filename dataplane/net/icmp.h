/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_NET_ICMP_H
#define MR_NET_ICMP_H

#include <stdbool.h>
#include <stdint.h>

#include "net/ip.h"

/* ICMP (RFC 792): echo only. Pure. */
#define ICMP_HDR_LEN 8

/*
 * Looks at an ICMP message. True when it is a well-formed echo request, to be answered by a packet
 * that icmp_build_reply makes; everything else is counted and dropped.
 */
bool icmp_is_echo_request(const struct ip_pkt *pkt, struct ipstack_metrics *m);
/* Writes the ICMP part of the answer to `request` (request->len bytes) to p. */
void icmp_build_reply(uint8_t *p, const struct ip_pkt *request);

#endif
