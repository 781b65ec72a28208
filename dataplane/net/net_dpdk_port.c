/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one DPDK port: its device, queues and offloads, and the descriptors that a sleeping shard can
 * poll. Every port is taken as it is: no RSS, no checksums, no multi-segment frames are assumed.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ether.h>
#include <rte_mbuf_pool_ops.h>
#include <rte_ring.h>

#include "base/check.h"
#include "base/log.h"
#include "net/net_dpdk_int.h"

#ifndef AF_XDP
#define AF_XDP 44
#endif
#define RX_DESCS 1024
#define TX_DESCS 1024
#define TAP_QUEUES_MAX 16u
#define XDP_BUFFER 4096u
#define POOL_CACHE 256u
#define SEGS_MAX 64u
#define TSO_MAX 65000u
#define WIRE_FRAMES 4096u
#define FDS_MAX 1024
#define MEMIF_DRAIN_NS 50000000

static const struct {
	const char *prefix;
	enum dport_kind kind;
} kinds[] = {
	{"tap:", DPORT_TAP},
	{"af_xdp:", DPORT_AF_XDP},
	{"af_packet:", DPORT_AF_PACKET},
	{"memif:", DPORT_MEMIF},
	{"ring:", DPORT_RING},
	{"pci:", DPORT_PCI},
};

/* A name goes into a device's argument list, so it must not have separators in it. */
static bool name_ok(const char *name)
{
	return name[0] && strlen(name) < sizeof(((struct dport_spec *)0)->name) &&
	       strpbrk(name, ", =\t\n\"'[]") == NULL;
}

/* Arguments of the driver go to it as they are; DPDK says what is wrong with them. */
static int parse_args(
	const char *text, const char *args, struct dport_spec *spec, char *err, size_t err_size)
{
	bool made_by_us = spec->kind == DPORT_RING;
	if (args[0] && (made_by_us || !strchr(args, '=') || strpbrk(args, " \t\n\"'") ||
			       strlen(args) >= sizeof(spec->args)))
		return dpdk_fault(err, err_size,
			"dpdk.port=%s: what follows the name is not KEY=VALUE,... for its driver",
			text);
	snprintf(spec->args, sizeof(spec->args), "%s", args);
	return 0;
}

int dport_parse(const char *text, struct dport_spec *spec, char *err, size_t err_size)
{
	for (size_t i = 0; i < array_size(kinds); i++) {
		size_t len = strlen(kinds[i].prefix);
		if (strncmp(text, kinds[i].prefix, len) != 0)
			continue;
		const char *name = text + len, *args = name + strcspn(name, ",");
		snprintf(spec->name, sizeof(spec->name), "%.*s", (int)(args - name), name);
		if (!name_ok(spec->name) || strlen(spec->name) != (size_t)(args - name))
			return dpdk_fault(err, err_size,
				"dpdk.port=%s: what follows '%s' is not a name", text,
				kinds[i].prefix);
		spec->kind = kinds[i].kind;
		return parse_args(text, args, spec, err, err_size);
	}
	return dpdk_fault(err, err_size,
		"dpdk.port=%s is not a port: give tap:NAME, af_xdp:INTERFACE, af_packet:INTERFACE, "
		"memif:SOCKET, ring:NAME or pci:ADDRESS",
		text);
}

size_t dport_pool_bytes(const struct dport_spec *spec, bool huge)
{
	/* A buffer must not cross a page, so without hugepages there is one in each. */
	bool paged = spec->kind == DPORT_AF_XDP || !huge;
	return (size_t)DPDK_POOL_MBUFS * (paged ? XDP_BUFFER : 2560);
}

/* ---- descriptors ---- */

struct fd_set_of {
	int fd[FDS_MAX];
	uint32_t count;
};

static void list_fds(struct fd_set_of *set)
{
	DIR *dir = opendir("/proc/self/fd");
	set->count = 0;
	if (!dir)
		return;
	for (struct dirent *e; (e = readdir(dir)) != NULL && set->count < FDS_MAX;)
		if (e->d_name[0] != '.' && (int)strtol(e->d_name, NULL, 10) != dirfd(dir))
			set->fd[set->count++] = (int)strtol(e->d_name, NULL, 10);
	closedir(dir);
}

static bool has_fd(const struct fd_set_of *set, int fd)
{
	for (uint32_t i = 0; i < set->count; i++)
		if (set->fd[i] == fd)
			return true;
	return false;
}

static int by_value(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/*
 * These drivers do not say which descriptors they receive on: they are the sockets of their domain
 * that were not there before, one per queue in the order of the queues.
 */
static void find_sockets(struct net_dpdk *d, const struct fd_set_of *before, int domain)
{
	struct fd_set_of now;
	list_fds(&now);
	qsort(now.fd, now.count, sizeof(now.fd[0]), by_value);
	uint32_t found = 0;
	for (uint32_t i = 0; i < now.count; i++) {
		int own = 0;
		socklen_t len = sizeof(own);
		if (has_fd(before, now.fd[i]) ||
			getsockopt(now.fd[i], SOL_SOCKET, SO_DOMAIN, &own, &len) != 0 ||
			own != domain)
			continue;
		if (found < d->queues)
			d->queue_fd[found] = now.fd[i];
		found++;
	}
	if (found == d->queues)
		return;
	for (uint32_t q = 0; q < DPDK_SHARDS_MAX; q++)
		d->queue_fd[q] = -1;
}

static void find_interrupts(struct net_dpdk *d)
{
	for (uint32_t q = 0; q < d->queues; q++)
		d->queue_fd[q] = rte_eth_dev_rx_intr_ctl_q_get_fd(d->port, (uint16_t)q);
	d->fd_intr = d->spec.kind == DPORT_PCI;
}

static void find_fds(struct net_dpdk *d, const struct fd_set_of *before)
{
	switch (d->spec.kind) {
	case DPORT_AF_XDP:
		find_sockets(d, before, AF_XDP);
		break;
	case DPORT_AF_PACKET:
		find_sockets(d, before, AF_PACKET);
		break;
	case DPORT_TAP:
	case DPORT_PCI:
		find_interrupts(d);
		break;
	case DPORT_MEMIF:
	case DPORT_RING:
		break;
	}
}

/* ---- device ---- */

/* Receive queues that the interface has. */
static uint32_t interface_queues(const char *name)
{
	char path[160];
	uint32_t count = 0;
	snprintf(path, sizeof(path), "/sys/class/net/%s/queues", name);
	DIR *dir = opendir(path);
	if (!dir)
		return 1;
	for (struct dirent *e; (e = readdir(dir)) != NULL;)
		count += strncmp(e->d_name, "rx-", 3) == 0;
	closedir(dir);
	return max_of(count, 1u);
}

/* Queues for which the af_xdp driver can make sockets: it looks at the combined ones only. */
static uint32_t combined_queues(const char *name)
{
	struct ethtool_channels ch = {.cmd = ETHTOOL_GCHANNELS};
	struct ifreq ifr = {.ifr_data = (char *)&ch};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return 1;
	memcpy(ifr.ifr_name, name, min_of(strlen(name), sizeof(ifr.ifr_name) - 1));
	int rc = ioctl(fd, SIOCETHTOOL, &ifr);
	close(fd);
	return rc == 0 && ch.max_combined ? max_of(ch.combined_count, 1u) : 1;
}

/* Frames of a queue without a socket would go to the kernel, and be lost for us. */
static int check_queues(struct net_dpdk *d, char *err, size_t err_size)
{
	uint32_t have = interface_queues(d->spec.name);
	uint32_t can = min_of(combined_queues(d->spec.name), DPDK_SHARDS_MAX);
	if (have <= can)
		return 0;
	return dpdk_fault(err, err_size,
		"dpdk.port=%s: the interface has %u receive queues and af_xdp can take %u of them: "
		"run ethtool -L %s %s %u",
		d->cfg.port, have, can, d->spec.name, can > 1 ? "combined" : "rx", can);
}

/* The driver's name for the device and its arguments; "" for ports that are not made by name. */
static void device_args(
	struct net_dpdk *d, char *name, size_t name_size, char *args, size_t args_size)
{
	const char *n = d->spec.name;
	name[0] = args[0] = 0;
	switch (d->spec.kind) {
	case DPORT_TAP:
		d->queues = min_of(d->shards, TAP_QUEUES_MAX);
		snprintf(name, name_size, "net_tap0");
		snprintf(args, args_size, "iface=%s", n);
		break;
	case DPORT_AF_XDP:
		d->queues = min_of(interface_queues(n), DPDK_SHARDS_MAX);
		snprintf(name, name_size, "net_af_xdp0");
		/* busy_budget=0: the kernel delivers by itself, so that a sleeping shard is woken.
		 */
		snprintf(args, args_size, "iface=%s,start_queue=0,queue_count=%u,busy_budget=0", n,
			d->queues);
		break;
	case DPORT_AF_PACKET:
		d->queues = min_of(d->shards, 16u);
		snprintf(name, name_size, "net_af_packet0");
		snprintf(args, args_size,
			"iface=%s,qpairs=%u,blocksz=65536,framesz=2048,framecnt=1024", n,
			d->queues);
		break;
	case DPORT_MEMIF:
		d->queues = 1;
		snprintf(name, name_size, "net_memif0");
		snprintf(args, args_size, "role=server,id=0,socket-abstract=no,socket=%s", n);
		break;
	case DPORT_RING:
	case DPORT_PCI:
		break;
	}
}

/*
 * ring:NAME is a port inside the process, for tests: what is put into the rte_ring NAME_in arrives,
 * what is sent comes out of NAME_out. The driver is a plug-in that nothing links to.
 */
static int ring_port(struct net_dpdk *d, char *err, size_t err_size)
{
	typedef int (*from_rings_t)(const char *, struct rte_ring *const[], const unsigned int,
		struct rte_ring *const[], const unsigned int, const unsigned int);
	static const char *const suffix[2] = {"in", "out"};
	void *lib = dlopen("librte_net_ring.so.23", RTLD_NOW);
	from_rings_t from_rings = NULL;
	if (lib)
		*(void **)&from_rings = dlsym(lib, "rte_eth_from_rings");
	if (!from_rings)
		return dpdk_fault(err, err_size,
			"dpdk.port=ring:%s: DPDK's ring driver is not installed", d->spec.name);
	for (size_t i = 0; i < 2; i++) {
		char name[RTE_RING_NAMESIZE];
		snprintf(name, sizeof(name), "%.16s_%s", d->spec.name, suffix[i]);
		d->wire[i] = rte_ring_create(name, WIRE_FRAMES, SOCKET_ID_ANY, 0);
		if (!d->wire[i])
			return dpdk_fault(err, err_size, "dpdk.port=ring:%s: no ring %s: %s",
				d->spec.name, name, rte_strerror(rte_errno));
	}
	int port = from_rings(d->spec.name, &d->wire[0], 1, &d->wire[1], 1, 0);
	if (port < 0)
		return dpdk_fault(err, err_size, "dpdk.port=ring:%s: %s", d->spec.name,
			rte_strerror(rte_errno));
	d->port = (uint16_t)port;
	d->queues = 1;
	return 0;
}

static int probe(struct net_dpdk *d, char *err, size_t err_size)
{
	char name[128], args[512];
	if (d->spec.kind == DPORT_RING)
		return ring_port(d, err, err_size);
	if (d->spec.kind == DPORT_AF_XDP && check_queues(d, err, err_size) != 0)
		return -1;
	device_args(d, name, sizeof(name), args, sizeof(args));
	strncat(args, d->spec.args, sizeof(args) - strlen(args) - 1);
	if (name[0]) {
		int rc = rte_eal_hotplug_add("vdev", name, args);
		if (rc < 0)
			return dpdk_fault(err, err_size,
				"dpdk.port=%s: the port does not start (%s): %s", d->cfg.port,
				strerror(-rc), dpdk_log_last(d));
	} else {
		snprintf(name, sizeof(name), "%s", d->spec.name);
	}
	/* It ignores its arguments when it does not know one, the name of the device with them. */
	if (d->spec.kind == DPORT_TAP && if_nametoindex(d->spec.name) == 0)
		return dpdk_fault(err, err_size,
			"dpdk.port=%s: the driver has not made %s: look at what follows the name",
			d->cfg.port, d->spec.name);
	if (rte_eth_dev_get_port_by_name(name, &d->port) != 0)
		return dpdk_fault(err, err_size, "dpdk.port=%s: DPDK has no driver for it (%s)",
			d->cfg.port, dpdk_log_last(d));
	return 0;
}

/* ---- queues ---- */

/* Half of the pieces for log memory, the other half for what is between them. */
static uint32_t tso_bytes(uint32_t segs)
{
	return min_of(segs / 2 * (RTE_MBUF_DEFAULT_DATAROOM - 128), TSO_MAX);
}

/* Frames in several pieces, and frames that the port cuts up. */
static void choose_pieces(
	struct net_dpdk *d, const struct rte_eth_dev_info *info, struct rte_eth_conf *conf)
{
	const uint64_t segs = RTE_ETH_TX_OFFLOAD_MULTI_SEGS, tso = RTE_ETH_TX_OFFLOAD_TCP_TSO;
	if (!(info->tx_offload_capa & segs))
		return;
	conf->txmode.offloads |= segs;
	d->attach = d->cfg.log_bytes > 0;
	if (!d->tx_csum || !(info->tx_offload_capa & tso))
		return;
	uint32_t max = info->tx_desc_lim.nb_seg_max;
	d->segs_max = max ? min_of(max, SEGS_MAX) : DPDK_SEGS_MTU;
	d->tso_max = tso_bytes(d->segs_max);
	conf->txmode.offloads |= tso;
}

static void choose_checksums(
	struct net_dpdk *d, const struct rte_eth_dev_info *info, struct rte_eth_conf *conf)
{
	const uint64_t rx = RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_TCP_CKSUM;
	const uint64_t tx = RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_CKSUM;
	if ((info->rx_offload_capa & rx) == rx) {
		conf->rxmode.offloads |= rx;
		d->rx_csum = true;
	}
	if ((info->tx_offload_capa & tx) == tx) {
		conf->txmode.offloads |= tx;
		d->tx_csum = true;
	}
}

static void choose_tags(
	struct net_dpdk *d, const struct rte_eth_dev_info *info, struct rte_eth_conf *conf)
{
	if (d->cfg.vlan == 0)
		return;
	conf->rxmode.offloads |= info->rx_offload_capa & RTE_ETH_RX_OFFLOAD_VLAN_STRIP;
	d->tx_vlan = (info->tx_offload_capa & RTE_ETH_TX_OFFLOAD_VLAN_INSERT) != 0;
	if (d->tx_vlan)
		conf->txmode.offloads |= RTE_ETH_TX_OFFLOAD_VLAN_INSERT;
}

static void choose_rss(
	struct net_dpdk *d, const struct rte_eth_dev_info *info, struct rte_eth_conf *conf)
{
	const uint64_t rss = RTE_ETH_RSS_NONFRAG_IPV4_TCP;
	if (d->queues < 2 || !(info->flow_type_rss_offloads & rss))
		return;
	conf->rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
	conf->rx_adv_conf.rss_conf.rss_hf = info->flow_type_rss_offloads & rss;
	memcpy(d->rss_key, d->secret,
		sizeof(d->secret)); /* for who finds many flows of one queue */
	memcpy(d->rss_key + sizeof(d->secret), d->secret, DPDK_RSS_KEY - sizeof(d->secret));
	if (info->hash_key_size && info->hash_key_size <= DPDK_RSS_KEY) {
		conf->rx_adv_conf.rss_conf.rss_key = d->rss_key;
		conf->rx_adv_conf.rss_conf.rss_key_len = info->hash_key_size;
	}
	d->rss_trusted = d->queues == d->shards;
}

/* What the software ports offer beside pieces is done in software too, only twice. */
static void choose_offloads(
	struct net_dpdk *d, const struct rte_eth_dev_info *info, struct rte_eth_conf *conf)
{
	bool card = d->spec.kind == DPORT_PCI;
	if (card)
		choose_rss(d, info, conf);
	if (d->cfg.no_offloads)
		return;
	if (card) {
		choose_checksums(d, info, conf);
		choose_tags(d, info, conf);
	}
	choose_pieces(d, info, conf);
}

/*
 * The af_xdp driver gives the kernel as many bytes from the pool's start as it has buffers times
 * their size, and the kernel silently loses a buffer outside of that. So there must be no gaps
 * between them: each is a page, the pool's memory begins at a page and is one piece.
 */
static struct rte_mempool *paged_pool(const char *name, uint32_t count, int socket)
{
	const uint32_t head = RTE_ALIGN_CEIL(sizeof(struct rte_mempool_objhdr), RTE_MEMPOOL_ALIGN);
	const struct rte_pktmbuf_pool_private priv = {
		.mbuf_data_room_size = (uint16_t)(XDP_BUFFER - head - sizeof(struct rte_mbuf)),
	};
	char zone[RTE_MEMZONE_NAMESIZE];
	snprintf(zone, sizeof(zone), "%s_mem", name);
	struct rte_mempool *mp = rte_mempool_create_empty(name, count, XDP_BUFFER - head,
		POOL_CACHE, sizeof(priv), socket, RTE_MEMPOOL_F_NO_SPREAD);
	if (!mp)
		return NULL;
	CHECK(mp->header_size + mp->elt_size + mp->trailer_size == XDP_BUFFER);
	const struct rte_memzone *mz = rte_memzone_reserve_aligned(
		zone, (size_t)count * XDP_BUFFER, socket, 0, XDP_BUFFER);
	if (!mz || rte_mempool_set_ops_byname(mp, rte_mbuf_best_mempool_ops(), NULL) != 0)
		goto fail;
	rte_pktmbuf_pool_init(mp, (void *)(uintptr_t)&priv);
	if (rte_mempool_populate_iova(mp, mz->addr, mz->iova, mz->len, NULL, NULL) < (int)count)
		goto fail;
	rte_mempool_obj_iter(mp, rte_pktmbuf_init, NULL);
	return mp;
fail:
	rte_mempool_free(mp);
	return NULL;
}

static int make_pools(struct net_dpdk *d, char *err, size_t err_size)
{
	int socket = rte_eth_dev_socket_id(d->port);
	for (uint32_t i = 0; i < d->shards; i++) {
		char name[RTE_MEMPOOL_NAMESIZE];
		snprintf(name, sizeof(name), "millrace_%u", i);
		if (d->spec.kind == DPORT_AF_XDP)
			d->pool[i] = paged_pool(name, DPDK_POOL_MBUFS, socket);
		else
			d->pool[i] = rte_pktmbuf_pool_create(name, DPDK_POOL_MBUFS, POOL_CACHE, 0,
				RTE_MBUF_DEFAULT_BUF_SIZE, socket);
		if (!d->pool[i])
			return dpdk_fault(err, err_size,
				"no memory for packet buffers of shard %u (%s): raise "
				"dpdk.memory",
				i, rte_strerror(rte_errno));
	}
	return 0;
}

static int setup_queues(struct net_dpdk *d, char *err, size_t err_size)
{
	uint16_t rxd = RX_DESCS, txd = TX_DESCS;
	int rc = rte_eth_dev_adjust_nb_rx_tx_desc(d->port, &rxd, &txd);
	unsigned socket = (unsigned)rte_eth_dev_socket_id(d->port);
	for (uint32_t q = 0; rc == 0 && q < d->queues; q++) {
		rc = rte_eth_rx_queue_setup(
			d->port, (uint16_t)q, rxd, socket, NULL, d->pool[q % d->shards]);
		if (rc == 0)
			rc = rte_eth_tx_queue_setup(d->port, (uint16_t)q, txd, socket, NULL);
	}
	if (rc != 0)
		return dpdk_fault(err, err_size,
			"dpdk.port=%s: its queues cannot be set up (%s): %s", d->cfg.port,
			strerror(-rc), dpdk_log_last(d));
	return 0;
}

static int configure(struct net_dpdk *d, char *err, size_t err_size)
{
	struct rte_eth_dev_info info;
	struct rte_eth_conf conf = {0};
	int rc = rte_eth_dev_info_get(d->port, &info);
	if (rc != 0)
		return dpdk_fault(err, err_size, "dpdk.port=%s: no information: %s", d->cfg.port,
			strerror(-rc));
	if (d->spec.kind == DPORT_PCI)
		d->queues = min_of(d->shards, DPDK_SHARDS_MAX);
	d->queues = min_of(d->queues, (uint32_t)min_of(info.max_rx_queues, info.max_tx_queues));
	choose_offloads(d, &info, &conf);
	conf.intr_conf.rxq = d->spec.kind == DPORT_TAP || d->spec.kind == DPORT_PCI;
	rc = rte_eth_dev_configure(d->port, (uint16_t)d->queues, (uint16_t)d->queues, &conf);
	if (rc != 0 && d->spec.kind == DPORT_PCI) {
		/* Some refuse interrupts or RSS: one queue and naps will do. */
		memset(&conf, 0, sizeof(conf));
		d->rx_csum = d->tx_csum = d->tx_vlan = d->rss_trusted = d->attach = false;
		d->tso_max = 0;
		d->queues = 1;
		rc = rte_eth_dev_configure(d->port, 1, 1, &conf);
	}
	if (rc != 0)
		return dpdk_fault(err, err_size, "dpdk.port=%s: cannot be configured (%s): %s",
			d->cfg.port, strerror(-rc), dpdk_log_last(d));
	return 0;
}

/* A frame must fit one buffer, in and out: so no port needs multi-segment frames. */
static int read_addresses(struct net_dpdk *d, char *err, size_t err_size)
{
	struct rte_ether_addr mac;
	uint16_t mtu = RTE_ETHER_MTU;
	const uint16_t room = RTE_MBUF_DEFAULT_DATAROOM - RTE_ETHER_HDR_LEN;
	int rc = rte_eth_macaddr_get(d->port, &mac);
	if (rc != 0)
		return dpdk_fault(err, err_size, "dpdk.port=%s: it has no MAC address: %s",
			d->cfg.port, strerror(-rc));
	(void)rte_eth_dev_get_mtu(d->port, &mtu);
	d->mtu = mtu < 576 ? RTE_ETHER_MTU : min_of(mtu, room);
	memcpy(d->mac, mac.addr_bytes, sizeof(d->mac));
	/* The port of a tap has the address of the kernel's end of it; ours must differ. */
	if (d->spec.kind == DPORT_TAP)
		d->mac[5] ^= 1;
	if (rte_is_zero_ether_addr(&mac))
		rte_eth_random_addr(d->mac);
	return 0;
}

/*
 * The tap driver has the kernel send a signal per frame; whoever does not poll the port must not be
 * interrupted by it. Threads made from here on block it; the shards' threads let it in. When too
 * many are pending the kernel sends SIGIO instead, which would end the process.
 */
void dport_signals(const struct net_dpdk *d, sigset_t *blocked)
{
	struct sigaction sa;
	if (d->spec.kind != DPORT_TAP)
		return;
	for (int s = SIGRTMIN; s <= SIGRTMAX; s++)
		sigaddset(blocked, s);
	if (sigaction(SIGIO, NULL, &sa) == 0 && sa.sa_handler == SIG_DFL) {
		sa.sa_handler = SIG_IGN;
		(void)sigaction(SIGIO, &sa, NULL);
	}
}

/* It writes to stderr when the port is closed, in what it takes for a warning. */
static void quiet_libxdp(void)
{
	static const char *const names[][2] = {
		{"libxdp.so.1", "libxdp_set_print"},
		{"libbpf.so.1", "libbpf_set_print"},
	};
	for (size_t i = 0; i < array_size(names); i++) {
		void *(*set_print)(void *) = NULL;
		void *lib = dlopen(names[i][0], RTLD_NOW | RTLD_NOLOAD);
		if (lib)
			*(void **)&set_print = dlsym(lib, names[i][1]);
		if (set_print)
			(void)set_print(NULL);
		if (lib)
			dlclose(lib);
	}
}

/* Which queue each hash is for. Where a port does not say, there are no active opens. */
static void read_rss(struct net_dpdk *d)
{
	struct rte_eth_rss_reta_entry64 table[DPDK_RSS_TABLE / RTE_ETH_RETA_GROUP_SIZE];
	struct rte_eth_rss_conf rss = {.rss_key = d->rss_key, .rss_key_len = DPDK_RSS_KEY};
	struct rte_eth_dev_info info;
	memset(table, 0xff, sizeof(table)); /* all entries are asked for */
	if (!d->rss_trusted || rte_eth_dev_info_get(d->port, &info) != 0 ||
		info.reta_size > DPDK_RSS_TABLE ||
		rte_eth_dev_rss_hash_conf_get(d->port, &rss) != 0 ||
		rte_eth_dev_rss_reta_query(d->port, table, info.reta_size) != 0)
		return;
	d->rss_entries = info.reta_size;
	for (uint32_t i = 0; i < d->rss_entries; i++)
		d->rss_queue[i] =
			table[i / RTE_ETH_RETA_GROUP_SIZE].reta[i % RTE_ETH_RETA_GROUP_SIZE];
}

int dport_open(struct net_dpdk *d, char *err, size_t err_size)
{
	struct fd_set_of before;
	list_fds(&before);
	for (uint32_t q = 0; q < DPDK_SHARDS_MAX; q++)
		d->queue_fd[q] = -1;
	if (probe(d, err, err_size) != 0)
		return -1;
	d->port_probed = true;
	if (configure(d, err, err_size) != 0 || make_pools(d, err, err_size) != 0 ||
		setup_queues(d, err, err_size) != 0)
		return -1;
	int rc = rte_eth_dev_start(d->port);
	if (rc != 0)
		return dpdk_fault(err, err_size, "dpdk.port=%s: the port does not start (%s): %s",
			d->cfg.port, strerror(-rc), dpdk_log_last(d));
	d->port_started = true;
	read_rss(d);
	/* A card takes its time to give mbufs back; without this call, until more are sent. */
	if (d->spec.kind == DPORT_PCI && rte_eth_tx_done_cleanup(d->port, 0, 0) < 0)
		d->attach = false;
	if (d->spec.kind == DPORT_AF_XDP && !d->cfg.verbose)
		quiet_libxdp();
	find_fds(d, &before);
	return read_addresses(d, err, err_size);
}

void dport_close(struct net_dpdk *d)
{
	const struct timespec memif_drain = {.tv_nsec = MEMIF_DRAIN_NS};
	/* A memif's peer reads our last frames only as long as we are there. */
	if (d->port_started && d->spec.kind == DPORT_MEMIF)
		nanosleep(&memif_drain, NULL);
	if (d->port_started)
		(void)rte_eth_dev_stop(d->port);
	if (d->port_probed)
		(void)rte_eth_dev_close(d->port);
	d->port_started = d->port_probed = false;
	for (uint32_t i = 0; i < d->shards; i++) {
		rte_mempool_free(d->pool[i]);
		d->pool[i] = NULL;
	}
	rte_ring_free(d->wire[0]);
	rte_ring_free(d->wire[1]);
}
