/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client of net_interop over lwIP (Debian's liblwip), a stack that is neither ours nor the
 * kernel's: for tests/net/test_interop.py.
 *
 *	lwip_client HOW ADDRESS PORT TO_SERVER TO_CLIENT CONNECTIONS THREADS RCVBUF TAP OWN_ADDRESS
 *
 * lwIP speaks on the tap device TAP (it makes it if there is none), whose kernel end is carried on
 *by net_lossy.
 */
#include <lwip/sockets.h>
#include <lwip/tcpip.h>
#include <netif/tapif.h>

#include "interop.h"

static const struct sockets lwip = {.socket = lwip_socket,
	.connect = lwip_connect,
	.send = lwip_send,
	.recv = lwip_recv,
	.setsockopt = lwip_setsockopt,
	.shutdown = lwip_shutdown,
	.close = lwip_close};

static void started(void *arg)
{
	sys_sem_signal(arg);
}

int main(int argc, char **argv)
{
	static struct netif tap;
	ip4_addr_t ip, mask, gw = {0};
	sys_sem_t up;
	if (argc != 11 || !ip4addr_aton(argv[10], &ip)) {
		fprintf(stderr, "usage: lwip_client HOW ADDRESS PORT TO_SERVER TO_CLIENT "
				"CONNECTIONS THREADS RCVBUF TAP OWN_ADDRESS\n");
		return 2;
	}
	setenv("PRECONFIGURED_TAPIF", argv[9], 1);
	CHECK(sys_sem_new(&up, 0) == ERR_OK);
	tcpip_init(started, &up);
	sys_sem_wait(&up);
	IP4_ADDR(&mask, 255, 255, 255, 0);
	LOCK_TCPIP_CORE();
	netif_add(&tap, &ip, &mask, &gw, NULL, tapif_init, tcpip_input);
	tap.mtu = 576; /* Debian's build has buffers for no more, and writes beyond them */
	netif_set_default(&tap);
	netif_set_up(&tap);
	netif_set_link_up(&tap);
	UNLOCK_TCPIP_CORE();
	return run_client(&lwip, argv + 1);
}
