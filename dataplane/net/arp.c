/* SPDX-License-Identifier: Apache-2.0 */
#include "net/arp.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "net/ip.h"

#define ARP_REQUEST 1
#define ARP_REPLY 2
#define ARP_RETRY_NS NS_PER_S	     /* RFC 1122 2.3.2.1: at most one request per second */
#define ARP_TRIES 3		     /* of each kind */
#define ARP_FRESH_NS (30 * NS_PER_S) /* believed without asking again */
#define ARP_NEGATIVE_NS (3 * NS_PER_S)
#define ARP_DEFEND_NS (10 * NS_PER_S) /* RFC 5227 section 2.4 */
#define CHAIN_END UINT32_MAX

void arp_init(struct arp *a, const struct ipstack_config *cfg, struct ipstack_metrics *m,
	struct neigh *neighs, uint32_t n, uint32_t *buckets, uint32_t nbuckets)
{
	CHECK(n > 0 && (nbuckets & (nbuckets - 1)) == 0);
	*a = (struct arp){.cfg = cfg,
		.m = m,
		.neighs = neighs,
		.nneighs = n,
		.mask = nbuckets - 1,
		.buckets = buckets,
		.next_ns = UINT64_MAX};
	list_init(&a->free);
	list_init(&a->lru);
	list_init(&a->busy);
	list_init(&a->learned);
	for (uint32_t i = 0; i < nbuckets; i++)
		buckets[i] = CHAIN_END;
	for (uint32_t i = 0; i < n; i++) {
		neighs[i] = (struct neigh){.chain = CHAIN_END};
		list_init(&neighs[i].busy);
		list_init(&neighs[i].learned);
		list_init(&neighs[i].pending);
		list_init(&neighs[i].waiters);
		list_push_back(&a->free, &neighs[i].lru);
	}
}

void arp_ready_init(struct arp_ready *r)
{
	list_init(&r->pending);
	list_init(&r->waiters);
}

/* Fibonacci hashing: neighbours are few and only on-link stations can add any. */
static uint32_t *arp_bucket(const struct arp *a, uint32_t ip)
{
	return &a->buckets[(ip * 2654435769u >> 8) & a->mask];
}

static struct neigh *arp_find(const struct arp *a, uint32_t ip)
{
	for (uint32_t i = *arp_bucket(a, ip); i != CHAIN_END; i = a->neighs[i].chain)
		if (a->neighs[i].ip == ip)
			return &a->neighs[i];
	return NULL;
}

static void neigh_set_state(struct arp *a, struct neigh *n, enum neigh_state to)
{
	static const uint8_t allowed[] = {
		[NEIGH_FREE] = 1u << NEIGH_INCOMPLETE | 1u << NEIGH_REACHABLE,
		[NEIGH_INCOMPLETE] = 1u << NEIGH_REACHABLE | 1u << NEIGH_FAILED | 1u << NEIGH_FREE,
		[NEIGH_REACHABLE] = 1u << NEIGH_PROBE | 1u << NEIGH_REACHABLE | 1u << NEIGH_FREE,
		[NEIGH_PROBE] = 1u << NEIGH_REACHABLE | 1u << NEIGH_INCOMPLETE,
		[NEIGH_FAILED] = 1u << NEIGH_REACHABLE | 1u << NEIGH_FREE,
	};
	CHECK(allowed[n->state] & 1u << to);
	n->state = (uint8_t)to;
	bool busy = to == NEIGH_INCOMPLETE || to == NEIGH_PROBE || to == NEIGH_FAILED;
	if (busy && !list_linked(&n->busy))
		list_push_back(&a->busy, &n->busy);
	if (!busy)
		list_remove(&n->busy);
}

static void neigh_set_deadline(struct arp *a, struct neigh *n, uint64_t deadline_ns)
{
	n->deadline_ns = deadline_ns;
	if (deadline_ns < a->next_ns)
		a->next_ns = deadline_ns;
}

static void neigh_free(struct arp *a, struct neigh *n)
{
	CHECK(list_empty(&n->pending) && list_empty(&n->waiters));
	uint32_t *at = arp_bucket(a, n->ip), self = (uint32_t)(n - a->neighs);
	while (*at != self)
		at = &a->neighs[*at].chain;
	*at = n->chain;
	n->chain = CHAIN_END;
	neigh_set_state(a, n, NEIGH_FREE);
	list_remove(&n->learned);
	list_remove(&n->lru);
	list_push_front(&a->free, &n->lru);
	a->used--;
}

/* A new entry for ip; the one longest unused makes room. NULL: all are busy. */
static struct neigh *neigh_new(struct arp *a, uint32_t ip)
{
	if (list_empty(&a->free)) {
		list_for_each (it, &a->lru) {
			struct neigh *old = list_entry(it, struct neigh, lru);
			if (old->state != NEIGH_REACHABLE)
				continue;
			neigh_free(a, old);
			break;
		}
	}
	struct list *node = list_pop_front(&a->free);
	if (!node) {
		metric_add(&a->m->arp_full_total, 1);
		return NULL;
	}
	struct neigh *n = list_entry(node, struct neigh, lru);
	n->ip = ip;
	n->tries = n->npending = 0;
	n->chain = *arp_bucket(a, ip);
	*arp_bucket(a, ip) = (uint32_t)(n - a->neighs);
	list_push_back(&a->lru, &n->lru);
	a->used++;
	return n;
}

static void arp_queue(struct arp *a, const uint8_t dst_mac[6], uint16_t op, uint32_t target_ip,
	const uint8_t target_mac[6])
{
	if (a->out_count == ARP_OUT_MAX) {
		metric_add(&a->m->ctl_drop_total, 1);
		return;
	}
	struct arp_out *o = &a->out[(a->out_head + a->out_count++) % ARP_OUT_MAX];
	o->op = op;
	o->target_ip = target_ip;
	memcpy(o->dst_mac, dst_mac, 6);
	memcpy(o->target_mac, target_mac, 6);
}

static void arp_ask(struct arp *a, uint64_t now_ns, struct neigh *n)
{
	static const uint8_t unknown[6];
	bool unicast = n->state == NEIGH_PROBE;
	arp_queue(a, unicast ? n->mac : eth_broadcast, ARP_REQUEST, n->ip, unknown);
	metric_add(&a->m->arp_requests_out_total, 1);
	n->tries++;
	neigh_set_deadline(a, n, now_ns + ARP_RETRY_NS);
}

void arp_announce(struct arp *a, uint64_t now_ns)
{
	static const uint8_t unknown[6];
	arp_queue(a, eth_broadcast, ARP_REQUEST, a->cfg->ip, unknown);
	a->announced_ns = now_ns;
}

/* The neighbour has answered or spoken: what waited for it may go. */
static void neigh_confirm(struct arp *a, uint64_t now_ns, struct neigh *n, const uint8_t mac[6],
	struct arp_ready *ready)
{
	memcpy(n->mac, mac, 6);
	n->confirmed_ns = now_ns;
	n->tries = n->npending = 0;
	neigh_set_state(a, n, NEIGH_REACHABLE);
	list_splice(&ready->pending, &n->pending);
	list_splice(&ready->waiters, &n->waiters);
}

static void arp_learn_local(
	struct arp *a, uint64_t now_ns, uint32_t ip, const uint8_t mac[6], struct arp_ready *ready)
{
	struct neigh *n = arp_find(a, ip);
	if (!n && !(n = neigh_new(a, ip)))
		return;
	neigh_confirm(a, now_ns, n, mac, ready);
	if (!list_linked(&n->learned))
		list_push_back(&a->learned, &n->learned);
}

void arp_learn(
	struct arp *a, uint64_t now_ns, uint32_t ip, const uint8_t mac[6], struct arp_ready *ready)
{
	bool was = false;
	struct neigh *n = arp_find(a, ip);
	if (n)
		was = list_linked(&n->learned);
	arp_learn_local(a, now_ns, ip, mac, ready);
	if (!was && (n = arp_find(a, ip))) /* told from outside: nothing new to tell */
		list_remove(&n->learned);
}

/* An on-link host other than ourselves, with a MAC address that one station can have. */
static bool arp_sender_ok(const struct arp *a, uint32_t ip, const uint8_t *mac)
{
	static const uint8_t zero[6];
	return ip_is_host(ip) && ip_next_hop(a->cfg, ip) == ip && !(mac[0] & 1) &&
	       memcmp(mac, zero, 6) != 0;
}

void arp_input(struct arp *a, uint64_t now_ns, const struct eth_pkt *pkt, struct arp_ready *ready)
{
	const uint8_t *p = pkt->p;
	static const uint8_t ethernet_ipv4[6] = {0, 1, 8, 0, 6, 4};
	if (pkt->len < ARP_LEN || memcmp(p, ethernet_ipv4, 6) != 0) {
		metric_add(&a->m->arp_drop_total, 1);
		return;
	}
	uint16_t op = be16_get(p + 6);
	const uint8_t *smac = p + 8;
	uint32_t sip = be32_get(p + 14), tip = be32_get(p + 24);
	if (sip == a->cfg->ip && memcmp(smac, a->cfg->mac, 6) != 0) {
		metric_add(&a->m->arp_conflicts_total, 1);
		if (now_ns - a->announced_ns >= ARP_DEFEND_NS)
			arp_announce(a, now_ns);
		return;
	}
	if ((op != ARP_REQUEST && op != ARP_REPLY) || memcmp(smac, pkt->src, 6) != 0) {
		metric_add(&a->m->arp_drop_total, 1);
		return;
	}
	if (op == ARP_REQUEST && tip == a->cfg->ip) {
		if (sip != 0) { /* 0: a probe of RFC 5227, to be answered and not learned */
			if (!arp_sender_ok(a, sip, smac)) {
				metric_add(&a->m->arp_drop_total, 1);
				return;
			}
			arp_learn_local(a, now_ns, sip, smac, ready);
		}
		arp_queue(a, smac, ARP_REPLY, sip, smac);
		metric_add(&a->m->arp_replies_out_total, 1);
		return;
	}
	struct neigh *n = arp_find(a, sip); /* a reply, or a station that announces itself */
	if (!n)
		return;
	if (!arp_sender_ok(a, sip, smac)) {
		metric_add(&a->m->arp_drop_total, 1);
		return;
	}
	arp_learn_local(a, now_ns, sip, smac, ready);
}

struct neigh *arp_resolve(struct arp *a, uint64_t now_ns, uint32_t ip)
{
	struct neigh *n = arp_find(a, ip);
	if (__builtin_expect(n && n->state == NEIGH_REACHABLE, 1)) {
		if (now_ns - n->confirmed_ns >= ARP_FRESH_NS && now_ns > n->confirmed_ns) {
			neigh_set_state(a, n, NEIGH_PROBE);
			n->tries = 0;
			arp_ask(a, now_ns, n);
			list_remove(&n->lru);
			list_push_back(&a->lru, &n->lru);
		}
		return n;
	}
	if (n)
		return n;
	n = neigh_new(a, ip);
	if (n) {
		neigh_set_state(a, n, NEIGH_INCOMPLETE);
		arp_ask(a, now_ns, n);
	}
	return n;
}

static void neigh_due(struct arp *a, uint64_t now_ns, struct neigh *n, struct arp_ready *dead)
{
	if (n->state == NEIGH_FAILED) {
		neigh_free(a, n);
		return;
	}
	if (n->tries < ARP_TRIES) {
		arp_ask(a, now_ns, n);
		return;
	}
	if (n->state == NEIGH_PROBE) {
		n->tries = 0;
		neigh_set_state(a, n, NEIGH_INCOMPLETE);
		arp_ask(a, now_ns, n);
		return;
	}
	metric_add(&a->m->arp_failed_total, 1);
	neigh_set_state(a, n, NEIGH_FAILED);
	neigh_set_deadline(a, n, now_ns + ARP_NEGATIVE_NS);
	n->npending = 0;
	list_splice(&dead->pending, &n->pending);
	list_splice(&dead->waiters, &n->waiters);
}

void arp_timers(struct arp *a, uint64_t now_ns, struct arp_ready *dead)
{
	if (now_ns < a->next_ns)
		return;
	list_for_each_safe (it, &a->busy) {
		struct neigh *n = list_entry(it, struct neigh, busy);
		if (n->deadline_ns <= now_ns)
			neigh_due(a, now_ns, n, dead);
	}
	a->next_ns = UINT64_MAX;
	list_for_each (it, &a->busy) {
		struct neigh *n = list_entry(it, struct neigh, busy);
		a->next_ns = min_of(a->next_ns, n->deadline_ns);
	}
}

uint64_t arp_next_ns(const struct arp *a)
{
	return list_empty(&a->busy) ? UINT64_MAX : a->next_ns;
}

bool arp_out_pop(struct arp *a, uint8_t frame[ARP_FRAME_LEN])
{
	static const uint8_t ethernet_ipv4[6] = {0, 1, 8, 0, 6, 4};
	if (a->out_count == 0)
		return false;
	const struct arp_out *o = &a->out[a->out_head];
	a->out_head = (a->out_head + 1) % ARP_OUT_MAX;
	a->out_count--;
	eth_build(frame, o->dst_mac, a->cfg->mac, ETH_TYPE_ARP);
	uint8_t *p = frame + ETH_HDR_LEN;
	memcpy(p, ethernet_ipv4, 6);
	be16_put(p + 6, o->op);
	memcpy(p + 8, a->cfg->mac, 6);
	be32_put(p + 14, a->cfg->ip);
	memcpy(p + 18, o->target_mac, 6);
	be32_put(p + 24, o->target_ip);
	return true;
}

void arp_check(const struct arp *a)
{
	uint32_t used = 0;
	for (uint32_t i = 0; i < a->nneighs; i++) {
		const struct neigh *n = &a->neighs[i];
		if (n->state == NEIGH_FREE)
			continue;
		used++;
		bool waits = n->state == NEIGH_INCOMPLETE;
		CHECK(waits || (list_empty(&n->pending) && list_empty(&n->waiters)));
		CHECK(n->npending <= ARP_PENDING_MAX);
		bool busy = n->state != NEIGH_REACHABLE;
		CHECK(busy == list_linked(&n->busy));
		CHECK(!busy || a->next_ns <= n->deadline_ns);
		CHECK(arp_find(a, n->ip) == n);
	}
	CHECK(used == a->used);
}
