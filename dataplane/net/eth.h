/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_NET_ETH_H
#define MR_NET_ETH_H

#include <stdbool.h>
#include <stdint.h>

#include "net/ipstack.h"

/* Ethernet II. Pure. */
#define ETH_HDR_LEN 14
#define ETH_TYPE_IPV4 0x0800
#define ETH_TYPE_ARP 0x0806

extern const uint8_t eth_broadcast[6];

/* What a frame carries; p is borrowed from the frame. */
struct eth_pkt {
	uint16_t type;
	bool broadcast;
	const uint8_t *p;
	uint32_t len;
	const uint8_t *src; /* 6 bytes */
};

/*
 * Reads the header of a frame for the station `mac`. False (and counted): too short, for another
 * station, from a group address or from ourselves, or of a type other than IPv4 and ARP (so also
 * VLAN tags and 802.3 lengths).
 */
bool eth_parse(const uint8_t *frame, uint32_t len, const uint8_t mac[6], struct eth_pkt *pkt,
	struct ipstack_metrics *m);
/* Writes the 14 header bytes. */
void eth_build(uint8_t *hdr, const uint8_t dst[6], const uint8_t src[6], uint16_t type);

#endif
