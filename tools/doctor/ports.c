/* SPDX-License-Identifier: Apache-2.0 */
/* Network cards for network.transport=dpdk: IOMMU, VFIO, drivers, and what is odd about clouds'. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "tools/doctor/room.h"

#define CLASS_ETHERNET 0x0200
#define PCI "/sys/bus/pci/devices/"

/* By PCI vendor: what to know about its cards. */
static const struct {
	int64_t vendor;
	const char *name;
	enum verdict verdict;
	const char *why;
	const char *repair;
} quirks[] = {
	{0x1d0f, "AWS ENA", DOCTOR_WARN,
		"vfio-pci maps its memory without write combining, and then each sent packet is "
		"slow; "
		"its RSS key cannot be set on older instances (frames are then steered in "
		"software)",
		"use a vfio-pci with write combining (amzn-drivers, "
		"userspace/dpdk/enav2-vfio-patch), "
		"or igb_uio with wc_activate=1"},
	{0x1ae0, "Google gVNIC", DOCTOR_WARN,
		"the driver of DPDK 22.11 copies every packet, does not check checksums and knows "
		"no "
		"RSS keys",
		"set network.transport=kernel, or dpdk.port=af_xdp:INTERFACE"},
	{0x1af4, "virtio", DOCTOR_NOTE,
		"most hosts offer no RSS: with several shards frames are steered in software",
		NULL},
	{0x1414, "Azure MANA", DOCTOR_WARN,
		"it stays with its kernel driver (not vfio-pci), and the host may take it away for "
		"maintenance",
		"install rdma-core; or set dpdk.port=af_xdp:INTERFACE, or "
		"network.transport=kernel"},
	{0x15b3, "NVIDIA mlx5", DOCTOR_NOTE,
		"it is used through its kernel driver: do not bind it to vfio-pci", NULL},
};

static void pci_path(char out[DOCTOR_TEXT], const char *address, const char *file)
{
	snprintf(out, DOCTOR_TEXT, PCI "%.32s/%s", address, file);
}

struct search {
	const char *address;
	char name[DOCTOR_TEXT];
};

static void match_interface(struct doctor *d, const char *name, void *arg)
{
	struct search *s = arg;
	char path[DOCTOR_TEXT];
	snprintf(path, sizeof(path), "/sys/class/net/%.32s/device", name);
	if (!s->name[0] && sys_leads_through(d, path, s->address))
		snprintf(s->name, sizeof(s->name), "%s", name);
}

/* True when the machine is reached by that interface. */
static bool has_default_route(struct doctor *d, const char *name)
{
	char key[DOCTOR_TEXT], rest[DOCTOR_TEXT];
	snprintf(key, sizeof(key), "%.32s\t00000000\t", name);
	sys_line(d, "/proc/net/route", key, rest);
	return rest[0] != 0;
}

static void check_binding(struct doctor *d, const char *address, const char *driver)
{
	struct search s = {.address = address};
	if (strcmp(driver, "vfio-pci") == 0 || strcmp(driver, "igb_uio") == 0 ||
		strcmp(driver, "uio_pci_generic") == 0) {
		doctor_add(d, "port", DOCTOR_OK, "%s is bound to %s", address, driver);
		doctor_why(d, "ready for dpdk.port=pci:%s", address);
		return;
	}
	sys_each(d, "/sys/class/net", match_interface, &s);
	if (strcmp(driver, "mlx5_core") == 0 || strcmp(driver, "mlx4_core") == 0 ||
		strcmp(driver, "mana") == 0) {
		doctor_add(d, "port", DOCTOR_OK, "%s (%s) is used through %s", address, s.name,
			driver);
		return;
	}
	bool needed = s.name[0] && has_default_route(d, s.name);
	doctor_add(d, "port", DOCTOR_NOTE, "%s is the kernel's: driver %s, interface %s", address,
		driver[0] ? driver : "none", s.name[0] ? s.name : "none");
	if (needed) {
		doctor_why(d, "it has the default route: bound to vfio-pci this machine cannot be "
			      "reached by it any more");
		doctor_repair(
			d, "set dpdk.port=af_xdp:%s, which leaves it with the kernel", s.name);
	} else {
		doctor_why(d, "dpdk.port=pci:%s needs it unbound from the kernel", address);
		doctor_repair(d, "dpdk-devbind.py --bind=vfio-pci %s", address);
	}
}

static void check_quirks(struct doctor *d, const char *address, int64_t vendor)
{
	for (size_t i = 0; i < array_size(quirks); i++) {
		if (quirks[i].vendor != vendor)
			continue;
		doctor_add(
			d, "port-quirk", quirks[i].verdict, "%s is a %s", address, quirks[i].name);
		doctor_why(d, "%s", quirks[i].why);
		if (quirks[i].repair)
			doctor_repair(d, "%s", quirks[i].repair);
	}
}

static void check_port(struct doctor *d, const char *address, void *arg)
{
	char path[DOCTOR_TEXT], driver[DOCTOR_TEXT];
	unsigned *ports = arg;
	pci_path(path, address, "class");
	if (sys_number(d, path, 0) >> 8 != CLASS_ETHERNET)
		return;
	(*ports)++;
	pci_path(path, address, "driver");
	sys_link(d, path, driver);
	check_binding(d, address, driver);
	pci_path(path, address, "vendor");
	check_quirks(d, address, sys_number(d, path, 0));
	pci_path(path, address, "numa_node");
	int64_t node = sys_number(d, path, -1);
	if (node >= 0 && sys_exists(d, "/sys/devices/system/node/node1"))
		doctor_add(d, "port-numa", DOCTOR_NOTE, "%s is on node %lld", address,
			(long long)node);
}

static void check_iommu(struct doctor *d)
{
	char cpu[DOCTOR_TEXT];
	if (sys_each(d, "/sys/kernel/iommu_groups", NULL, NULL) > 0) {
		doctor_add(d, "iommu", DOCTOR_OK, "on");
		return;
	}
	sys_line(d, "/proc/cpuinfo", "vendor_id", cpu);
	doctor_add(d, "iommu", DOCTOR_WARN, "off, or not there");
	doctor_why(d, "vfio-pci then takes cards only in its unsafe mode, in which a card can "
		      "write to any memory");
	doctor_repair(d,
		"add %s to the kernel's command line; in a virtual machine without one: "
		"echo 1 > /sys/module/vfio/parameters/enable_unsafe_noiommu_mode",
		strstr(cpu, "AMD") ? "iommu=pt" : "intel_iommu=on iommu=pt");
}

static void check_vfio(struct doctor *d)
{
	if (sys_exists(d, "/sys/bus/pci/drivers/vfio-pci") && sys_exists(d, "/dev/vfio/vfio")) {
		doctor_add(d, "vfio", DOCTOR_OK, "vfio-pci is loaded");
		return;
	}
	doctor_add(d, "vfio", DOCTOR_WARN, "vfio-pci is not loaded");
	doctor_why(d, "dpdk.port=pci: needs it, except for mlx4, mlx5 and mana");
	doctor_repair(d, "modprobe vfio-pci");
}

static void check_tun(struct doctor *d)
{
	if (sys_exists(d, "/dev/net/tun"))
		return;
	doctor_add(d, "tap", DOCTOR_NOTE, "there is no /dev/net/tun");
	doctor_why(d, "dpdk.port=tap: needs it");
	doctor_repair(d, "modprobe tun");
}

void check_ports(struct doctor *d)
{
	unsigned ports = 0;
	sys_each(d, "/sys/bus/pci/devices", check_port, &ports);
	check_tun(d);
	if (ports == 0) {
		doctor_add(d, "port", DOCTOR_NOTE, "no network card on PCI");
		doctor_why(d, "the dpdk transport can have af_xdp, af_packet, tap and memif ports");
		return;
	}
	check_iommu(d);
	check_vfio(d);
}
