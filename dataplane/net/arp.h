/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_NET_ARP_H
#define MR_NET_ARP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "net/eth.h"

/*
 * ARP (RFC 826, RFC 5227 for conflicts) and the neighbour table of one stack. Pure; borrowed
 *memory.
 *
 *	FREE --resolve--> INCOMPLETE --reply--> REACHABLE --used when old--> PROBE --reply-->
 *REACHABLE |  ^                                               | |  '----------- no answer to
 *unicast --------------'
 *	                    '--no answer--> FAILED (negative entry) --time--> FREE
 *
 * A neighbour is learned from an ARP packet that is addressed to us or that we asked for, never
 *from other traffic. PROBE still carries packets.
 */
#define ARP_LEN 28
#define ARP_FRAME_LEN (ETH_HDR_LEN + ARP_LEN)
#define ARP_PENDING_MAX 3 /* packets that wait for one neighbour */
#define ARP_OUT_MAX 32

enum neigh_state { NEIGH_FREE, NEIGH_INCOMPLETE, NEIGH_REACHABLE, NEIGH_PROBE, NEIGH_FAILED };

struct neigh {
	struct list lru;  /* arp.free, or arp.lru with the longest unused first */
	struct list busy; /* arp.busy in INCOMPLETE, PROBE, FAILED: a deadline is set */
	struct list learned;
	struct list pending; /* nodes of whoever waits to send a packet; at most ARP_PENDING_MAX */
	struct list waiters; /* nodes of connections that wait */
	uint64_t deadline_ns, confirmed_ns;
	uint32_t ip;
	uint32_t chain; /* next in the hash bucket */
	uint8_t mac[6];
	uint8_t state; /* enum neigh_state */
	uint8_t tries, npending;
};

struct arp_out {
	uint8_t dst_mac[6];    /* of the frame */
	uint8_t target_mac[6]; /* in the packet */
	uint32_t target_ip;
	uint16_t op;
};

struct arp {
	const struct ipstack_config *cfg;
	struct ipstack_metrics *m;
	struct neigh *neighs;
	uint32_t nneighs, used, mask;
	uint32_t *buckets;
	struct list free, lru, busy, learned;
	uint64_t next_ns; /* at or before the first deadline of busy */
	uint64_t announced_ns;
	struct arp_out out[ARP_OUT_MAX];
	uint32_t out_head, out_count;
};

/* What a change of the table sets free: the nodes of neigh.pending and neigh.waiters. */
struct arp_ready {
	struct list pending, waiters;
};

/* neighs: n entries; buckets: a power of two >= n of them. */
void arp_init(struct arp *a, const struct ipstack_config *cfg, struct ipstack_metrics *m,
	struct neigh *neighs, uint32_t n, uint32_t *buckets, uint32_t nbuckets);
void arp_ready_init(struct arp_ready *r);
/* Takes in an ARP packet (behind the Ethernet header). */
void arp_input(struct arp *a, uint64_t now_ns, const struct eth_pkt *pkt, struct arp_ready *ready);
/* Notes that ip is at mac, whoever says so. */
void arp_learn(
	struct arp *a, uint64_t now_ns, uint32_t ip, const uint8_t mac[6], struct arp_ready *ready);
/* Says to all what our address is. */
void arp_announce(struct arp *a, uint64_t now_ns);
/* The neighbour with address ip, for a packet to be sent now; asks for it where needed. NULL: the
 * table is full. The caller looks at neigh_usable and waits on the neighbour's lists if it is not.
 */
struct neigh *arp_resolve(struct arp *a, uint64_t now_ns, uint32_t ip);
static inline bool neigh_usable(const struct neigh *n)
{
	return n->state == NEIGH_REACHABLE || n->state == NEIGH_PROBE;
}
/* Repeats requests; nodes of neighbours that did not answer go to `dead`. */
void arp_timers(struct arp *a, uint64_t now_ns, struct arp_ready *dead);
uint64_t arp_next_ns(const struct arp *a);
/* Writes the next ARP frame that is to be sent; false: none. */
bool arp_out_pop(struct arp *a, uint8_t frame[ARP_FRAME_LEN]);
void arp_check(const struct arp *a);

#endif
