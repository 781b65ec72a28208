/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames of one shard. Received ones are steered in software to the shard that owns their flow,
 * whatever queue they arrived on, unless the port's RSS can be trusted: tap, af_packet and af_xdp
 * move flows between queues as they like. ARP and ICMP go to shard 0, which tells the others what
 * it has learned about neighbours; answers to ARP requests go to all, since any may have asked.
 *
 * Between shards: SPSC rings of mbufs, which change owner whole. A pointer with its lowest bit set
 * is not a frame but a neighbour (struct neigh_note) in an mbuf's data.
 *
 * A shard without a queue of its own sends through shard (index % queues).
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "net/net_dpdk_int.h"

#include <rte_ether.h>
#include <rte_thash.h>

#define TX_STUCK_NS (10 * NS_PER_MS) /* then the frames are dropped; TCP sends them again */
#define TX_RETRY_NS (50 * NS_PER_US)
#define NAP_MIN_NS (50 * NS_PER_US)
#define NAP_DOUBLE_NS (1 * NS_PER_MS)
#define HOLLOW_MAX 4u
#define TAG_NEIGH ((uintptr_t)1)

struct neigh_note {
	uint32_t ip;
	uint8_t mac[6];
};

static struct ring *forward_ring(
	struct ring **rings, struct net_dpdk *d, uint32_t from, uint32_t to)
{
	return rings[(size_t)from * d->shards + to];
}

/* ---- steering ---- */

static uint32_t owner_of_flow(const struct net_dpdk *d, const uint8_t key[8])
{
	return (uint32_t)(siphash(d->steer_key, 1, 3, key, 8) % d->shards);
}

/* The queue, and so the shard, of a port that spreads flows by Toeplitz's hash. */
static uint32_t owner_by_rss(
	const struct net_dpdk *d, uint32_t peer_ip, uint16_t peer_port, uint16_t local_port)
{
	uint32_t tuple[3] = {peer_ip, d->ip, (uint32_t)peer_port << 16 | local_port};
	return d->rss_queue[rte_softrss(tuple, array_size(tuple), d->rss_key) % d->rss_entries];
}

bool dio_is_ours(const void *shard, uint32_t peer_ip, uint16_t peer_port, uint16_t local_port)
{
	const struct dshard *s = shard;
	uint8_t key[8];
	if (s->d->shards == 1)
		return true;
	if (s->d->rss_trusted)
		return s->d->rss_entries &&
		       owner_by_rss(s->d, peer_ip, peer_port, local_port) == s->index;
	be32_put(key, peer_ip);
	be16_put(key + 4, peer_port);
	be16_put(key + 6, local_port);
	return owner_of_flow(s->d, key) == s->index;
}

/* The shard that is to handle the frame. */
static uint32_t owner_of(const struct net_dpdk *d, const uint8_t *p, uint32_t len)
{
	if (d->shards == 1 || len < 14 + 20 || p[12] != 0x08 || p[13] != 0x00)
		return 0;
	const uint8_t *ip = p + 14;
	uint32_t ihl = (ip[0] & 0xfu) * 4;
	bool fragment = (ip[6] & 0x3f) || ip[7];
	if (ip[9] != 6 || fragment || ihl < 20 || len < 14 + ihl + 4)
		return 0;
	/* Peer address and both ports; our address is one. */
	uint8_t key[8];
	memcpy(key, ip + 12, 4);
	memcpy(key + 4, ip + ihl, 4);
	return owner_of_flow(d, key);
}

static void forward(struct dshard *s, uint32_t to, void *msg)
{
	struct net_dpdk *d = s->d;
	if (!ring_push(forward_ring(d->rx_forward, d, s->index, to), msg)) {
		rte_pktmbuf_free((struct rte_mbuf *)((uintptr_t)msg & ~TAG_NEIGH));
		metric_add(&s->m.drop_forward_total, 1);
		return;
	}
	waker_notify(&d->shard[to].net.waker);
}

static void take(struct dshard *s, struct rte_mbuf *m)
{
	const uint64_t l3 = RTE_MBUF_F_RX_IP_CKSUM_MASK, l4 = RTE_MBUF_F_RX_L4_CKSUM_MASK;
	bool l3_ok = s->d->rx_csum && (m->ol_flags & l3) == RTE_MBUF_F_RX_IP_CKSUM_GOOD;
	bool l4_ok = s->d->rx_csum && ((m->ol_flags & l4) == RTE_MBUF_F_RX_L4_CKSUM_GOOD ||
					      (m->ol_flags & l4) == RTE_MBUF_F_RX_L4_CKSUM_NONE);
	CHECK(s->lent_count < DPDK_RX_TURN);
	if (s->capture.tape)
		dcapture_frame(s, m, NET_CAPTURE_IN);
	s->lent[s->lent_count++] = m;
	ipstack_input(s->stack, s->now_ns, rte_pktmbuf_mtod(m, const uint8_t *),
		rte_pktmbuf_data_len(m), l3_ok, l4_ok, m);
}

static bool is_arp_reply(const uint8_t *p, uint32_t len)
{
	return len >= 14 + 28 && p[12] == 0x08 && p[13] == 0x06 && p[20] == 0 && p[21] == 2;
}

static void forward_to_all(struct dshard *s, const struct rte_mbuf *m)
{
	for (uint32_t to = 0; to < s->d->shards; to++) {
		struct rte_mbuf *copy =
			to == s->index ? NULL
				       : rte_pktmbuf_copy(m, s->d->pool[s->index], 0, UINT32_MAX);
		if (copy)
			forward(s, to, copy);
	}
}

/*
 * Takes the tag off a frame of our VLAN, or of none that only has a priority (802.1Q section 6.9).
 * False: it is of another. A card may have taken it off before.
 */
static bool untag(const struct net_dpdk *d, struct rte_mbuf *m)
{
	const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *);
	bool tagged = (m->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED) != 0;
	if (!tagged && rte_pktmbuf_data_len(m) >= 18 && p[12] == 0x81 && p[13] == 0x00)
		tagged = rte_vlan_strip(m) == 0;
	uint32_t vlan = tagged ? m->vlan_tci & 0xfffu : 0;
	m->ol_flags &= ~(uint64_t)(RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED);
	return vlan == d->cfg.vlan;
}

static void steer(struct dshard *s, struct rte_mbuf *m)
{
	struct net_dpdk *d = s->d;
	if (!untag(d, m)) {
		rte_pktmbuf_free(m);
		metric_add(&s->m.drop_vlan_total, 1);
		return;
	}
	if (m->nb_segs > 1) { /* cannot be: a buffer holds the MTU */
		rte_pktmbuf_free(m);
		metric_add(&s->m.drop_segments_total, 1);
		return;
	}
	const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *);
	uint32_t owner = owner_of(d, p, rte_pktmbuf_data_len(m));
	if (owner != 0 && d->rss_trusted)
		owner = s->index;
	if (owner == 0 && d->shards > 1 && is_arp_reply(p, rte_pktmbuf_data_len(m))) {
		forward_to_all(s, m);
		owner = s->index;
	}
	if (owner == s->index)
		take(s, m);
	else
		forward(s, owner, m);
}

/* ---- receive ---- */

static uint32_t receive_queues(struct dshard *s)
{
	struct net_dpdk *d = s->d;
	struct rte_mbuf *m[DPDK_BURST];
	uint32_t total = 0;
	for (uint32_t q = s->index; q < d->queues; q += d->shards) {
		uint16_t n;
		do {
			uint32_t room = DPDK_RX_TURN - s->lent_count;
			uint16_t want = (uint16_t)min_of(room, DPDK_BURST);
			n = want ? rte_eth_rx_burst(d->port, (uint16_t)q, m, want) : 0;
			for (uint16_t i = 0; i < n; i++)
				steer(s, m[i]);
			total += n;
		} while (n == DPDK_BURST && total < DPDK_RX_TURN);
	}
	return total;
}

static void take_message(struct dshard *s, void *msg)
{
	struct rte_mbuf *m = (struct rte_mbuf *)((uintptr_t)msg & ~TAG_NEIGH);
	if (!((uintptr_t)msg & TAG_NEIGH)) {
		take(s, m);
		return;
	}
	struct neigh_note note;
	memcpy(&note, rte_pktmbuf_mtod(m, void *), sizeof(note));
	ipstack_neigh_learn(s->stack, s->now_ns, note.ip, note.mac);
	rte_pktmbuf_free(m);
}

static uint32_t receive_forwarded(struct dshard *s)
{
	struct net_dpdk *d = s->d;
	uint32_t total = 0;
	for (uint32_t from = 0; from < d->shards; from++) {
		void *msg[DPDK_BURST];
		uint32_t room = min_of(DPDK_RX_TURN - s->lent_count, DPDK_BURST);
		if (from == s->index || room == 0)
			continue;
		uint32_t n = ring_pop(forward_ring(d->rx_forward, d, from, s->index), msg, room);
		for (uint32_t i = 0; i < n; i++)
			take_message(s, msg[i]);
		total += n;
	}
	return total;
}

/* ARP answers come to shard 0 only. */
static void tell_neighbours(struct dshard *s)
{
	struct neigh_note note = {0};
	while (ipstack_neigh_learned(s->stack, &note.ip, note.mac)) {
		for (uint32_t to = 0; to < s->d->shards; to++) {
			if (to == s->index)
				continue;
			struct rte_mbuf *m = rte_pktmbuf_alloc(s->d->pool[s->index]);
			if (!m)
				return; /* they will ask themselves */
			memcpy(rte_pktmbuf_mtod(m, void *), &note, sizeof(note));
			forward(s, to, (void *)((uintptr_t)m | TAG_NEIGH));
		}
	}
}

void dio_receive(struct dshard *s)
{
	ipstack_release(s->stack);
	if (s->lent_count)
		rte_pktmbuf_free_bulk(s->lent, s->lent_count);
	s->lent_count = 0;
	if (dframe_waits(s) && s->index < s->d->queues)
		(void)rte_eth_tx_done_cleanup(s->d->port, (uint16_t)s->index, 0);
	uint32_t got = receive_queues(s);
	if (s->d->shards > 1) {
		got += receive_forwarded(s);
		if (s->index == 0)
			tell_neighbours(s);
	}
	if (got) {
		metric_add(&s->net.metrics.rx_packets_total, got);
		s->nap_ns = 0;
		s->hollow = 0;
	}
}

/* ---- send ---- */

/* Frames from the stack into s->tx; false when there are none or no buffers for them. */
static bool fill(struct dshard *s)
{
	struct ip_out_frame f[DPDK_BURST];
	if (!ipstack_tx_pending(s->stack))
		return false;
	uint32_t want = DPDK_BURST - s->spare_count;
	struct rte_mempool *pool = s->d->pool[s->index];
	if (want && rte_pktmbuf_alloc_bulk(pool, &s->spare[s->spare_count], want) == 0)
		s->spare_count = DPDK_BURST;
	if (s->spare_count == 0)
		metric_add(&s->m.no_buffers_total, 1);
	uint32_t n = s->spare_count ? ipstack_tx_pop(s->stack, s->now_ns, f, s->spare_count) : 0;
	for (uint32_t i = 0; i < n; i++) {
		struct rte_mbuf *m = dframe_build(s, &f[i]);
		if (!m)
			continue; /* TCP sends it again */
		if (s->capture.tape)
			dcapture_frame(s, m, NET_CAPTURE_OUT);
		m->vlan_tci = s->d->cfg.vlan;
		if (m->vlan_tci && s->d->tx_vlan)
			m->ol_flags |= RTE_MBUF_F_TX_VLAN;
		else if (m->vlan_tci)
			CHECK(rte_vlan_insert(&m) ==
				0); /* there is headroom, and it is ours alone */
		s->tx[s->tx_count++] = m;
	}
	return n > 0;
}

/* To the own queue; returns how many were taken. */
static uint32_t send_burst(struct dshard *s, struct rte_mbuf **m, uint32_t n)
{
	uint16_t ready = (uint16_t)n;
	if (n == 0)
		return 0;
	if (s->d->tx_csum)
		ready = rte_eth_tx_prepare(s->d->port, (uint16_t)s->index, m, ready);
	return rte_eth_tx_burst(s->d->port, (uint16_t)s->index, m, ready);
}

/* Hands frames to the port, or to the shard that has a queue; returns how many were taken. */
static uint32_t push(struct dshard *s, struct rte_mbuf **m, uint32_t n)
{
	struct net_dpdk *d = s->d;
	if (s->index < d->queues)
		return send_burst(s, m, n);
	uint32_t to = s->index % d->queues, done = 0;
	struct ring *r = forward_ring(d->tx_forward, d, s->index, to);
	while (done < n && ring_push(r, m[done]))
		done++;
	if (done)
		waker_notify(&d->shard[to].net.waker);
	return done;
}

static void drop_stuck(struct dshard *s)
{
	if (s->tx_since_ns == 0) {
		s->tx_since_ns = s->now_ns;
	} else if (s->now_ns - s->tx_since_ns > TX_STUCK_NS) {
		rte_pktmbuf_free_bulk(s->tx, s->tx_count);
		metric_add(&s->m.drop_stuck_total, s->tx_count);
		s->tx_count = 0;
		s->tx_since_ns = 0;
	}
}

/* Sends s->tx; false when the port did not take all. */
static bool drain(struct dshard *s)
{
	uint32_t done = push(s, s->tx, s->tx_count);
	metric_add(&s->net.metrics.tx_packets_total, done);
	s->tx_count -= done;
	if (done)
		s->tx_since_ns = 0;
	if (s->tx_count == 0)
		return true;
	memmove(s->tx, s->tx + done, s->tx_count * sizeof(s->tx[0]));
	drop_stuck(s);
	return false;
}

/* Frames of shards without a queue. */
static void send_forwarded(struct dshard *s)
{
	struct net_dpdk *d = s->d;
	for (uint32_t from = d->queues; from < d->shards && s->index < d->queues; from++) {
		struct rte_mbuf *m[DPDK_BURST];
		if (from % d->queues != s->index)
			continue;
		uint32_t n = ring_pop(
			forward_ring(d->tx_forward, d, from, s->index), (void **)m, DPDK_BURST);
		uint32_t done = send_burst(s, m, n);
		if (done < n) {
			rte_pktmbuf_free_bulk(m + done, n - done);
			metric_add(&s->m.drop_carrier_total, n - done);
		}
	}
}

void dio_send(struct dshard *s)
{
	if (s->d->shards > s->d->queues)
		send_forwarded(s);
	for (uint32_t i = 0; i < DPDK_TX_TURN; i++) {
		if (s->tx_count == 0 && !fill(s))
			return;
		if (!drain(s))
			return;
	}
}

/* ---- the port's health ---- */

/* A link that is back: every shard announces our address and tries again what it had sent. */
static void watch_link(struct dshard *s)
{
	struct net_dpdk *d = s->d;
	struct rte_eth_link link;
	if (rte_eth_link_get_nowait(d->port, &link) != 0)
		return;
	bool up = link.link_status == RTE_ETH_LINK_UP;
	if (d->link_known && up != d->link_up) {
		metric_add(&s->m.link_changes_total, 1);
		log_warn("net", "dpdk.port=%s: the link is %s", d->cfg.port, up ? "up" : "down");
	}
	if (d->link_known && up && !d->link_up)
		__atomic_fetch_add(&d->link_ups, 1, __ATOMIC_RELAXED);
	d->link_known = true;
	d->link_up = up;
	metric_set(&s->m.link_up, up);
}

void dio_watch(struct dshard *s)
{
	struct rte_eth_stats st;
	if (s->now_ns < s->watch_ns)
		return;
	s->watch_ns = s->now_ns + NS_PER_S;
	metric_set(&s->m.buffers_free, rte_mempool_avail_count(s->d->pool[s->index]));
	if (s->index == 0) {
		watch_link(s);
		if (rte_eth_stats_get(s->d->port, &st) == 0) {
			metric_set(&s->m.missed_total, st.imissed);
			metric_set(&s->m.rx_errors_total, st.ierrors);
			metric_set(&s->m.rx_no_buffers_total, st.rx_nombuf);
			metric_set(&s->m.tx_errors_total, st.oerrors);
		}
	}
	uint32_t ups = __atomic_load_n(&s->d->link_ups, __ATOMIC_RELAXED);
	if (ups != s->link_seen)
		ipstack_link_up(s->stack, s->now_ns);
	s->link_seen = ups;
}

/* ---- sleep ---- */

static bool forwarded_waiting(const struct dshard *s)
{
	struct net_dpdk *d = s->d;
	for (uint32_t from = 0; from < d->shards; from++) {
		if (from == s->index)
			continue;
		if (!ring_is_empty(forward_ring(d->rx_forward, d, from, s->index)) ||
			!ring_is_empty(forward_ring(d->tx_forward, d, from, s->index)))
			return true;
	}
	return false;
}

/*
 * For a port that cannot wake us. While nothing comes, naps double from 50 us to 1 ms and then grow
 * slowly to nap_max_ns: on a virtual machine a nap costs 30 us of processor time, and an idle
 * broker must stay under 1 % of a core.
 */
static uint64_t nap(struct dshard *s)
{
	if (s->nap_ns == 0)
		s->nap_ns = NAP_MIN_NS;
	else if (s->nap_ns < NAP_DOUBLE_NS)
		s->nap_ns = s->nap_ns * 2;
	else
		s->nap_ns = s->nap_ns + s->nap_ns / 64;
	s->nap_ns = min_of(s->nap_ns, s->d->cfg.nap_max_ns);
	return s->nap_ns;
}

/* Interrupts of a NIC are for one time: to be armed before and read off after. False: frames wait.
 */
static bool arm_interrupt(struct net_dpdk *d, uint32_t q)
{
	if (!d->fd_intr)
		return true;
	if (rte_eth_dev_rx_intr_enable(d->port, (uint16_t)q) != 0)
		return true;
	return rte_eth_rx_queue_count(d->port, (uint16_t)q) <= 0;
}

static void disarm_interrupt(struct net_dpdk *d, uint32_t q, bool fired)
{
	uint64_t count;
	if (!d->fd_intr)
		return;
	(void)rte_eth_dev_rx_intr_disable(d->port, (uint16_t)q);
	if (fired && read(d->queue_fd[q], &count, sizeof(count)) < 0)
		return; /* another reader was first */
}

static void sleep_on(struct dshard *s, struct pollfd *fds, nfds_t n, uint64_t ns)
{
	struct timespec ts = {.tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S)};
	metric_add(&s->net.metrics.waits_total, 1);
	metric_add(&s->net.metrics.syscalls_total, 1);
	/* EINTR: the tap driver's signal, so a frame. */
	(void)ppoll(fds, n, ns == UINT64_MAX ? NULL : &ts, NULL);
}

void dio_wait(struct dshard *s, uint64_t until_ns)
{
	struct net_dpdk *d = s->d;
	struct pollfd fds[1 + DPDK_SHARDS_MAX] = {{.fd = s->net.waker.fd, .events = POLLIN}};
	uint32_t queue[DPDK_SHARDS_MAX];
	nfds_t n = 1;
	bool ready = false, blind = false;
	uint64_t now_ns = s->now_ns;
	if (d->shards > 1 && forwarded_waiting(s))
		return;
	until_ns = min_of(until_ns, ipstack_next_timer_ns(s->stack));
	if (until_ns <= now_ns)
		return;
	uint64_t ns = until_ns == UINT64_MAX ? UINT64_MAX : until_ns - now_ns;
	if (s->tx_count || dframe_waits(s))
		ns = min_of(ns, TX_RETRY_NS);
	else if (ipstack_tx_pending(s->stack))
		return;
	for (uint32_t q = s->index; q < d->queues; q += d->shards) {
		blind |= d->queue_fd[q] < 0;
		if (d->queue_fd[q] < 0)
			continue;
		ready |= !arm_interrupt(d, q);
		queue[n - 1] = q;
		fds[n++] = (struct pollfd){.fd = d->queue_fd[q], .events = POLLIN};
	}
	/*
	 * Readable and yet no frame: the tap driver looks only after its signal, which can be late,
	 * and a socket whose interface is down is readable for ever.
	 */
	bool hollow = s->hollow >= HOLLOW_MAX;
	if (blind || hollow)
		ns = min_of(ns, nap(s));
	if (!ready)
		sleep_on(s, fds, hollow ? 1 : n, ns);
	for (nfds_t i = 1; i < n; i++)
		s->hollow += fds[i].revents != 0;
	s->hollow -= hollow; /* the next sleep tries the port again */
	for (nfds_t i = 1; i < n; i++)
		disarm_interrupt(d, queue[i - 1], fds[i].revents & POLLIN);
}
