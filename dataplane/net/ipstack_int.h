/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_NET_IPSTACK_INT_H
#define MR_NET_IPSTACK_INT_H

#include "net/arp.h"
#include "net/ip.h"
#include "net/tcp.h"

/* Private to ipstack*.c: the composition of one shard's stack, and its answers without a
 * connection. */

#define CTL_BIG_MAX 8 /* echo replies too long for a header buffer */

/* A short packet that waits to be sent: RST, echo reply. The Ethernet destination is still missing.
 */
struct ctl_frame {
	struct list node; /* ctl_free, ctl_ready, ctl_sent, or a neighbour's pending */
	uint32_t dst_ip;
	uint16_t hdr_len;
	uint8_t l4_len; /* > 0: TCP */
	bool has_big;
	struct net_iov big; /* payload in one of the big buffers */
	uint8_t hdr[IP_OUT_HDR_MAX];
};

struct ipstack {
	struct ipstack_config cfg;
	struct ipstack_metrics metrics;
	struct arp arp;
	struct tcp tcp;
	struct list ctl_free, ctl_ready;
	struct list ctl_sent; /* popped by the last tx_pop: their payload may still be looked at */
	uint8_t *big[CTL_BIG_MAX];
	uint32_t nbig; /* free ones, in big[0 .. nbig) */
	struct rate icmp_rate;
	uint32_t pass_bytes; /* sent by the connection at the front of txlist in its turn */
};

/* Turns TCP's segments without a connection into frames. */
void ipstack_ctl_drain(struct ipstack *s);
/* Answers an echo request. */
void ipstack_echo_reply(struct ipstack *s, const struct ip_pkt *request);
/* Moves what a resolved neighbour has set free to where it is sent from. */
void ipstack_ready(struct ipstack *s, struct arp_ready *ready);
/* Forgets what waited for a neighbour that did not answer. */
void ipstack_dead(struct ipstack *s, struct arp_ready *dead);

#endif
