/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What DPDK would answer with a number, or not at all, is found out here first and said in the
 * operator's words: a missing device, a missing permission, a NIC that still belongs to the kernel.
 * Main thread, before EAL.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/net_dpdk_int.h"

#ifndef AF_XDP
#define AF_XDP 44
#endif
#define CAP_BPF_BIT 39

/* The process's effective capabilities as a bit mask. */
static uint64_t capabilities(void)
{
	FILE *f = fopen("/proc/self/status", "re");
	char line[256];
	uint64_t caps = 0;
	if (!f)
		return UINT64_MAX;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "CapEff: %" SCNx64, &caps) == 1)
			break;
	fclose(f);
	return caps;
}

static bool has_cap(unsigned bit)
{
	return capabilities() >> bit & 1;
}

static int check_tap(const char *name, char *err, size_t err_size)
{
	if (strlen(name) >= IFNAMSIZ)
		return dpdk_fault(err, err_size,
			"dpdk.port=tap:%s: an interface name has at most %d letters", name,
			IFNAMSIZ - 1);
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (fd < 0 && (errno == ENOENT || errno == ENODEV || errno == ENXIO))
		return dpdk_fault(err, err_size,
			"dpdk.port=tap:%s: there is no /dev/net/tun: run modprobe tun, or give the "
			"container that device",
			name);
	if (fd < 0)
		return dpdk_fault(err, err_size,
			"dpdk.port=tap:%s: cannot open /dev/net/tun: %s; run as root or give the "
			"process CAP_NET_ADMIN",
			name, strerror(errno));
	struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_MULTI_QUEUE};
	memcpy(ifr.ifr_name, name, strlen(name));
	int failed = ioctl(fd, TUNSETIFF, &ifr) == 0 ? 0 : errno;
	close(fd);
	if (failed == EPERM || failed == EACCES)
		return dpdk_fault(err, err_size,
			"dpdk.port=tap:%s: no permission to make a tap interface: run as root or "
			"give the process CAP_NET_ADMIN",
			name);
	if (failed == EBUSY)
		return dpdk_fault(err, err_size,
			"dpdk.port=tap:%s: the interface is in use by another process: stop it or "
			"choose another name",
			name);
	if (failed)
		return dpdk_fault(err, err_size,
			"dpdk.port=tap:%s: cannot make a tap interface of that name: %s", name,
			strerror(failed));
	return 0;
}

static int check_interface(const char *kind, const char *name, char *err, size_t err_size)
{
	char path[160], state[32] = "";
	if (strlen(name) >= IFNAMSIZ || if_nametoindex(name) == 0)
		return dpdk_fault(err, err_size,
			"dpdk.port=%s:%s: there is no such network interface: see ip link", kind,
			name);
	snprintf(path, sizeof(path), "/sys/class/net/%s/flags", name);
	FILE *f = fopen(path, "re");
	if (!f)
		return 0;
	bool read = fgets(state, sizeof(state), f) != NULL;
	fclose(f);
	unsigned flags = 0;
	if (read && sscanf(state, "%x", &flags) == 1 && !(flags & IFF_UP))
		return dpdk_fault(err, err_size,
			"dpdk.port=%s:%s: the interface is down: run ip link set %s up", kind, name,
			name);
	return 0;
}

static int check_af_packet(const char *name, char *err, size_t err_size)
{
	if (check_interface("af_packet", name, err, err_size) != 0)
		return -1;
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return dpdk_fault(err, err_size,
			"dpdk.port=af_packet:%s: no permission for packet sockets (%s): run as "
			"root or give the process CAP_NET_RAW",
			name, strerror(errno));
	close(fd);
	return 0;
}

static int check_af_xdp(const char *name, char *err, size_t err_size)
{
	if (check_interface("af_xdp", name, err, err_size) != 0)
		return -1;
	bool bpf = has_cap(CAP_BPF_BIT) || has_cap(CAP_SYS_ADMIN);
	if (!has_cap(CAP_NET_ADMIN) || !has_cap(CAP_NET_RAW) || !bpf)
		return dpdk_fault(err, err_size,
			"dpdk.port=af_xdp:%s: no permission: run as root or give the process "
			"CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF",
			name);
	int fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return dpdk_fault(err, err_size,
			"dpdk.port=af_xdp:%s: no AF_XDP sockets here (%s): the kernel needs "
			"CONFIG_XDP_SOCKETS; dpdk.port=af_packet:%s does without",
			name, strerror(errno), name);
	close(fd);
	return 0;
}

/* mlx4 and mlx5 ports stay with their kernel driver. */
static bool driver_shares(const char *driver)
{
	return strncmp(driver, "mlx", 3) == 0;
}

static int check_pci(const char *addr, char *err, size_t err_size)
{
	char path[192], link[256] = "";
	struct stat st;
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s", addr);
	if (stat(path, &st) != 0)
		return dpdk_fault(err, err_size,
			"dpdk.port=pci:%s: there is no such PCI device: see lspci -D (for example "
			"0000:3b:00.0)",
			addr);
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver", addr);
	ssize_t len = readlink(path, link, sizeof(link) - 1);
	const char *driver = len > 0 ? strrchr(link, '/') : NULL;
	driver = driver ? driver + 1 : "none";
	if (strcmp(driver, "vfio-pci") != 0 && strncmp(driver, "uio", 3) != 0 &&
		strcmp(driver, "igb_uio") != 0 && !driver_shares(driver))
		return dpdk_fault(err, err_size,
			"dpdk.port=pci:%s: its driver is %s: bind it to vfio-pci (dpdk-devbind.py "
			"--bind=vfio-pci %s); its kernel interface goes away",
			addr, driver, addr);
	return 0;
}

static int check_memif(const char *path, char *err, size_t err_size)
{
	char dir[112];
	snprintf(dir, sizeof(dir), "%s", path);
	char *slash = strrchr(dir, '/');
	if (path[0] != '/' || !slash)
		return dpdk_fault(err, err_size,
			"dpdk.port=memif:%s: give the absolute path of a socket", path);
	slash[slash == dir] = 0;
	if (access(dir, W_OK) != 0)
		return dpdk_fault(err, err_size,
			"dpdk.port=memif:%s: cannot make the socket in %s: %s", path, dir,
			strerror(errno));
	return 0;
}

int dport_check(const struct dport_spec *spec, char *err, size_t err_size)
{
	switch (spec->kind) {
	case DPORT_TAP:
		return check_tap(spec->name, err, err_size);
	case DPORT_AF_XDP:
		return check_af_xdp(spec->name, err, err_size);
	case DPORT_AF_PACKET:
		return check_af_packet(spec->name, err, err_size);
	case DPORT_MEMIF:
		return check_memif(spec->name, err, err_size);
	case DPORT_PCI:
		return check_pci(spec->name, err, err_size);
	case DPORT_RING:
		return 0;
	}
	return 0;
}
