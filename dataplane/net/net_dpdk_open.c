/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process's one DPDK environment and port, and the shards' transports on it. Main thread,
 * before the shards' threads exist and after they have ended.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "net/ip.h"
#include "net/net_dpdk_int.h"

/* ---- configuration ---- */

static int parse_ip(const char *text, uint32_t *ip)
{
	struct in_addr a;
	if (inet_pton(AF_INET, text, &a) != 1)
		return -1;
	*ip = ntohl(a.s_addr);
	return 0;
}

static int parse_address(struct net_dpdk *d, char *err, size_t err_size)
{
	char host[64];
	const char *text = d->cfg.address;
	const char *slash = strchr(text, '/');
	char *end = NULL;
	size_t len = slash ? (size_t)(slash - text) : 0;
	unsigned long prefix = slash ? strtoul(slash + 1, &end, 10) : 99;
	if (!slash || len >= sizeof(host) || end == slash + 1 || *end || prefix < 1 || prefix > 31)
		return dpdk_fault(err, err_size,
			"dpdk.address=%s: give an IPv4 address and the length of its network, for "
			"example 10.0.0.2/24",
			text);
	memcpy(host, text, len);
	host[len] = 0;
	if (parse_ip(host, &d->ip) != 0)
		return dpdk_fault(
			err, err_size, "dpdk.address=%s: '%s' is not an IPv4 address", text, host);
	uint32_t host_bits = UINT32_MAX >> prefix;
	if (!ip_is_host(d->ip) ||
		(prefix < 31 && ((d->ip & host_bits) == 0 || (d->ip & host_bits) == host_bits)))
		return dpdk_fault(err, err_size,
			"dpdk.address=%s cannot be the address of one machine", text);
	d->prefix_len = (uint8_t)prefix;
	if (d->cfg.gateway[0] && parse_ip(d->cfg.gateway, &d->gateway) != 0)
		return dpdk_fault(
			err, err_size, "dpdk.gateway=%s is not an IPv4 address", d->cfg.gateway);
	if (d->gateway && (d->gateway ^ d->ip) >> (32 - prefix))
		return dpdk_fault(err, err_size,
			"dpdk.gateway=%s is not in the network of dpdk.address=%s", d->cfg.gateway,
			text);
	return 0;
}

static int parse_config(struct net_dpdk *d, char *err, size_t err_size)
{
	const char *huge = d->cfg.hugepages;
	if (d->cfg.shards < 1 || d->cfg.shards > DPDK_SHARDS_MAX)
		return dpdk_fault(err, err_size, "dpdk can have 1 to %u shards", DPDK_SHARDS_MAX);
	if (strcmp(huge, "auto") != 0 && strcmp(huge, "off") != 0 && strcmp(huge, "require") != 0)
		return dpdk_fault(err, err_size, "hugepages=%s: give auto, off or require", huge);
	if (parse_address(d, err, err_size) != 0)
		return -1;
	return dport_parse(d->cfg.port, &d->spec, err, err_size);
}

/* ---- shards ---- */

static bool make_forwards(struct net_dpdk *d)
{
	size_t n = (size_t)d->shards * d->shards;
	d->rx_forward = calloc(n, sizeof(*d->rx_forward));
	d->tx_forward = calloc(n, sizeof(*d->tx_forward));
	if (!d->rx_forward || !d->tx_forward)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (i / d->shards == i % d->shards)
			continue;
		d->rx_forward[i] = ring_create(DPDK_FORWARD_RING);
		d->tx_forward[i] = ring_create(DPDK_FORWARD_RING);
		if (!d->rx_forward[i] || !d->tx_forward[i])
			return false;
	}
	return true;
}

static int make_shards(struct net_dpdk *d, char *err, size_t err_size)
{
	d->shard = calloc(d->shards, sizeof(*d->shard));
	for (uint32_t i = 0; d->shard && i < d->shards; i++)
		d->shard[i].net.waker.fd = -1;
	if (!d->shard || !make_forwards(d))
		return dpdk_fault(err, err_size, "no memory for %u shards", d->shards);
	for (uint32_t i = 0; i < d->shards; i++) {
		struct dshard *s = &d->shard[i];
		s->d = d;
		s->index = i;
		s->net.ops = &net_dpdk_ops;
		if (waker_init(&s->net.waker) != 0)
			return dpdk_fault(err, err_size,
				"too many open files: raise the limit (ulimit -n, LimitNOFILE=)");
	}
	return 0;
}

/* The frames in a ring go back to their pools before those go. Tags: see net_dpdk_io.c. */
static void free_forward(struct ring *r)
{
	void *p;
	if (!r)
		return;
	while (ring_pop(r, &p, 1))
		rte_pktmbuf_free((struct rte_mbuf *)((uintptr_t)p & ~(uintptr_t)1));
	ring_destroy(r);
}

static void free_forwards(struct net_dpdk *d)
{
	size_t n = (size_t)d->shards * d->shards;
	for (size_t i = 0; i < n; i++) {
		free_forward(d->rx_forward ? d->rx_forward[i] : NULL);
		free_forward(d->tx_forward ? d->tx_forward[i] : NULL);
	}
	free(d->rx_forward);
	free(d->tx_forward);
}

/* When the port has no mbuf any more: they count themselves off in dshard.sends. */
static void free_shards(struct net_dpdk *d)
{
	for (uint32_t i = 0; d->shard && i < d->shards; i++) {
		waker_fini(&d->shard[i].net.waker);
		free(d->shard[i].sends);
	}
	free(d->shard);
}

struct net_dpdk *net_dpdk_open(const struct net_dpdk_config *cfg, char *err, size_t err_size)
{
	struct net_dpdk *d = calloc(1, sizeof(*d));
	if (!d) {
		dpdk_fault(err, err_size, "no memory for the dpdk transport");
		return NULL;
	}
	d->cfg = *cfg;
	if (parse_config(d, err, err_size) != 0)
		goto fail;
	d->shards = cfg->shards;
	if (d->cfg.nap_max_ns == 0)
		d->cfg.nap_max_ns = 10 * NS_PER_MS;
	if (dport_check(&d->spec, err, err_size) != 0)
		goto fail;
	if (getrandom(d->secret, sizeof(d->secret), 0) != (ssize_t)sizeof(d->secret)) {
		dpdk_fault(err, err_size, "no random numbers from the kernel: %s", strerror(errno));
		goto fail;
	}
	d->steer_key = siphash_key_of(d->secret + 16);
	if (make_shards(d, err, err_size) != 0)
		goto fail;
	/* DPDK's own threads are made here: the process's signals are not theirs to take. */
	sigset_t all, old;
	sigfillset(&all);
	CHECK(pthread_sigmask(SIG_SETMASK, &all, &old) == 0);
	int rc = dpdk_eal_open(d, err, err_size);
	if (rc == 0)
		rc = dport_open(d, err, err_size);
	dpdk_log_end(d);
	dport_signals(d, &old);
	CHECK(pthread_sigmask(SIG_SETMASK, &old, NULL) == 0);
	if (rc == 0)
		return d;
fail:
	net_dpdk_close(d);
	return NULL;
}

uint8_t *net_dpdk_log_memory(struct net_dpdk *d)
{
	return d->log_mem;
}

/*
 * Frames of shards without a queue whose carrier had stopped before them: the resets of their
 * connections, which their peers would miss. Every shard's thread has ended.
 */
static void send_forwarded(struct net_dpdk *d)
{
	for (uint32_t i = 0; d->tx_forward && i < d->shards * d->shards; i++) {
		struct rte_mbuf *m[DPDK_BURST];
		uint32_t n;
		while (d->tx_forward[i] &&
			(n = ring_pop(d->tx_forward[i], (void **)m, DPDK_BURST)) > 0) {
			uint16_t to = (uint16_t)(i % d->shards), ready = (uint16_t)n;
			if (d->tx_csum)
				ready = rte_eth_tx_prepare(d->port, to, m, ready);
			uint32_t sent = rte_eth_tx_burst(d->port, to, m, ready);
			rte_pktmbuf_free_bulk(m + sent, n - sent);
		}
	}
}

void net_dpdk_close(struct net_dpdk *d)
{
	send_forwarded(d);
	free_forwards(d);
	if (d->eal_up)
		dport_close(d);
	free_shards(d);
	if (d->eal_up)
		dpdk_eal_close(d);
	free(d);
}

/* ---- one shard's transport ---- */

/* Pieces that may be queued, of all connections. */
static uint32_t send_slots(const struct net_dpdk *d)
{
	return max_of(32768u, d->cfg.max_conns * 32);
}

static struct ipstack *make_stack(struct dshard *s, uint64_t now_ns)
{
	struct net_dpdk *d = s->d;
	struct ipstack_config cfg;
	ipstack_config_defaults(&cfg);
	memcpy(cfg.mac, d->mac, sizeof(cfg.mac));
	memcpy(cfg.secret, d->secret, sizeof(cfg.secret));
	cfg.ip = d->ip;
	cfg.gateway = d->gateway;
	cfg.prefix_len = d->prefix_len;
	cfg.mtu = d->mtu;
	cfg.tx_ip_csum_offload = cfg.tx_l4_csum_offload = d->tx_csum;
	cfg.tso_max_bytes = d->tso_max;
	cfg.tx_slices_max = IP_OUT_SLICES;
	cfg.congestion = d->cfg.newreno ? IPSTACK_CC_NEWRENO : IPSTACK_CC_CUBIC;
	cfg.ecn = !d->cfg.no_ecn;
	cfg.is_ours = dio_is_ours;
	cfg.is_ours_arg = s;
	cfg.max_conns = d->cfg.max_conns;
	cfg.rx_burst = DPDK_RX_TURN;
	cfg.send_slots_per_conn = DPDK_SEND_QUEUE;
	cfg.send_slots = send_slots(d);
	return ipstack_create(&cfg, now_ns);
}

static bool make_conns(struct dshard *s)
{
	/* Each that is held back has an mbuf at the port. */
	uint32_t max = s->d->cfg.max_conns + (s->d->attach ? DPDK_POOL_MBUFS : 0);
	s->conn_slots = max;
	list_init(&s->free);
	list_init(&s->fins);
	list_init(&s->ended);
	s->conns = calloc(max, sizeof(*s->conns));
	s->copy_mem = malloc((size_t)DPDK_COPY_COUNT * DPDK_COPY_SIZE);
	if (!s->conns || !s->copy_mem || !dframe_init(s, send_slots(s->d) + DPDK_POOL_MBUFS))
		return false;
	for (uint32_t i = 0; i < max; i++) {
		s->conns[i].gen = 1;
		list_init(&s->conns[i].node);
		list_push_back(&s->free, &s->conns[i].node);
	}
	for (uint32_t i = 0; i < DPDK_COPY_COUNT; i++)
		s->copy_next[i] = i + 1 < DPDK_COPY_COUNT ? i + 1 : DPDK_NONE;
	s->copy_free = 0;
	return true;
}

struct net *net_dpdk_shard(struct net_dpdk *d, uint32_t shard, char *err, size_t err_size)
{
	CHECK(shard < d->shards);
	struct dshard *s = &d->shard[shard];
	CHECK(!s->open);
	s->open = true;
	s->now_ns = clock_mono_ns();
	s->stack = make_stack(s, s->now_ns);
	if (!s->stack || !make_conns(s)) {
		dpdk_fault(err, err_size,
			"no memory for %u connections of shard %u: lower max.connections",
			d->cfg.max_conns, shard);
		goto fail;
	}
	int rc = d->cfg.listen_port ? ipstack_listen(s->stack, d->cfg.listen_port) : 0;
	if (rc != 0) {
		dpdk_fault(err, err_size, "cannot listen on port %u: %s", d->cfg.listen_port,
			strerror(-rc));
		goto fail;
	}
	return &s->net;
fail:
	net_fini(&s->net);
	return NULL;
}
