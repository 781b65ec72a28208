/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_NET_FLOW_H
#define MR_NET_FLOW_H

#include <stdbool.h>
#include <stdint.h>

#include "net/siphash.h"

/*
 * The flow table: peer address, peer port and local port (a stack has one local address) to a
 * 32-bit value. Open addressing, linear probing, keyed hash, at most half full; borrowed memory.
 * Pure.
 */
#define FLOW_NONE UINT32_MAX

struct flow_slot {
	uint64_t key; /* 0: empty (no peer has address 0) */
	uint32_t value;
};

struct flow {
	struct flow_slot *slots;
	uint32_t mask;
	uint32_t count;
	struct siphash_key hash_key;
};

static inline uint64_t flow_key(uint32_t peer_ip, uint16_t peer_port, uint16_t local_port)
{
	return (uint64_t)peer_ip << 32 | (uint64_t)peer_port << 16 | local_port;
}
/* Slots needed for max entries: a power of two, at least twice max. */
uint32_t flow_slots_for(uint32_t max);
/* slots: zeroed, of a size that flow_slots_for gave. */
void flow_init(struct flow *f, struct flow_slot *slots, uint32_t nslots, struct siphash_key key);
/* FLOW_NONE when it is not there. */
uint32_t flow_find(const struct flow *f, uint64_t key);
/* key must not be there yet; count must be below half of the slots. */
void flow_add(struct flow *f, uint64_t key, uint32_t value);
/* key must be there. */
void flow_set(struct flow *f, uint64_t key, uint32_t value);
/* Harmless when it is not there. */
void flow_remove(struct flow *f, uint64_t key);

#endif
