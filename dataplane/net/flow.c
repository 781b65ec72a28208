/* SPDX-License-Identifier: Apache-2.0 */
#include "net/flow.h"

uint32_t flow_slots_for(uint32_t max)
{
	uint32_t n = 16;
	while (n < 2 * (uint64_t)max)
		n *= 2;
	return n;
}

void flow_init(struct flow *f, struct flow_slot *slots, uint32_t nslots, struct siphash_key key)
{
	CHECK(nslots >= 2 && (nslots & (nslots - 1)) == 0);
	*f = (struct flow){.slots = slots, .mask = nslots - 1, .hash_key = key};
}

static inline uint32_t flow_home(const struct flow *f, uint64_t key)
{
	uint8_t b[8];
	le64_put(b, key);
	return (uint32_t)siphash(f->hash_key, 1, 3, b, sizeof(b)) & f->mask;
}

/* The slot of key, or the empty one where it would go. */
static struct flow_slot *flow_slot_of(const struct flow *f, uint64_t key)
{
	uint32_t i = flow_home(f, key);
	while (f->slots[i].key != 0 && f->slots[i].key != key)
		i = (i + 1) & f->mask;
	return &f->slots[i];
}

uint32_t flow_find(const struct flow *f, uint64_t key)
{
	const struct flow_slot *s = flow_slot_of(f, key);
	return s->key == key ? s->value : FLOW_NONE;
}

void flow_add(struct flow *f, uint64_t key, uint32_t value)
{
	CHECK(key != 0 && f->count <= f->mask / 2);
	struct flow_slot *s = flow_slot_of(f, key);
	CHECK(s->key == 0);
	*s = (struct flow_slot){.key = key, .value = value};
	f->count++;
}

void flow_set(struct flow *f, uint64_t key, uint32_t value)
{
	struct flow_slot *s = flow_slot_of(f, key);
	CHECK(s->key == key && key != 0);
	s->value = value;
}

/* Closes the hole: entries behind it move up unless they would come before their home. */
void flow_remove(struct flow *f, uint64_t key)
{
	struct flow_slot *s = flow_slot_of(f, key);
	if (s->key == 0)
		return;
	uint32_t hole = (uint32_t)(s - f->slots);
	for (uint32_t i = (hole + 1) & f->mask; f->slots[i].key != 0; i = (i + 1) & f->mask) {
		uint32_t home = flow_home(f, f->slots[i].key);
		if (((i - home) & f->mask) >= ((i - hole) & f->mask)) {
			f->slots[hole] = f->slots[i];
			hole = i;
		}
	}
	f->slots[hole].key = 0;
	f->count--;
}
