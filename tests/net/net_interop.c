/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams between a server over dataplane/net/net.h and a client over kernel sockets, both
 * compared byte by byte, for tests/net/test_interop.py.
 *
 *	net_interop serve kernel ADDRESS PORT
 *	net_interop serve dpdk PORTSPEC ADDRESS/LEN PORT
 *	net_interop client HOW ADDRESS PORT TO_SERVER TO_CLIENT CONNECTIONS THREADS RCVBUF
 *
 * A connection begins with 16 bytes: how many bytes of the pattern the client sends, how many it
 * wants. When the server has the first, it answers with a report of 16 bytes (taken, wrong) and
 * with the second, and closes. HOW is a set of letters: h the client sends FIN behind its bytes, c
 * it closes first, r it resets in the middle, - none of them. The client prints
 * "bytes=N ns=N wrong=N failed=N", and exits with 0 when all was right.
 */
#include <signal.h>

#include "interop.h"
#include "net/net.h"

#define PIECE (256u << 10)
#define PIECES 4u
#define EVENTS 64u
#define SPINS 64u

/* ---- server ---- */

struct session {
	net_conn_t conn;
	uint8_t head[HEAD], report[HEAD];
	uint32_t have_head, sending;
	uint64_t want, got, wrong, to_send, sent;
	bool answering, closed;
};

struct server {
	struct net *net;
	const uint8_t *pattern;
	int *stop;
};

static void pump(struct server *v, struct session *s)
{
	while (s->answering && s->sending < PIECES && s->sent < s->to_send) {
		uint32_t from = (uint32_t)(s->sent % PATTERN);
		uint32_t len = (uint32_t)min_of(s->to_send - s->sent, (uint64_t)PIECE);
		struct net_iov iov = {.p = v->pattern + from, .len = min_of(len, PATTERN - from)};
		if (net_send(v->net, s->conn, &iov, 1, 1) != 0)
			return;
		s->sent += iov.len;
		s->sending++;
	}
	if (s->answering && s->sent == s->to_send && !s->closed) {
		s->closed = true;
		net_close(v->net, s->conn, false);
	}
}

static void on_data(struct server *v, struct session *s, const uint8_t *p, uint32_t len)
{
	uint32_t n = min_of(len, HEAD - s->have_head);
	memcpy(s->head + s->have_head, p, n);
	s->have_head += n;
	p += n;
	len -= n;
	if (s->have_head < HEAD)
		return;
	s->want = be64_get(s->head);
	s->to_send = be64_get(s->head + 8);
	s->wrong += pattern_wrong(v->pattern, s->got, p, len);
	s->got += len;
	if (s->got < s->want || s->answering)
		return;
	s->answering = true;
	be64_put(s->report, s->got);
	be64_put(s->report + 8, s->wrong);
	struct net_iov iov = {.p = s->report, .len = HEAD};
	net_send(v->net, s->conn, &iov, 1, 0);
	pump(v, s);
}

static void on_event(struct server *v, const struct net_event *ev)
{
	struct session *s = ev->user;
	switch (ev->kind) {
	case NET_EV_ACCEPTED:
		s = calloc(1, sizeof(*s));
		CHECK(s);
		s->conn = ev->conn;
		net_set_user(v->net, ev->conn, s);
		break;
	case NET_EV_CONNECTED: /* we do not connect */
		break;
	case NET_EV_DATA:
		on_data(v, s, ev->data.p, ev->data.len);
		break;
	case NET_EV_SENT:
		s->sending--;
		pump(v, s);
		break;
	case NET_EV_CLOSED:
		free(s);
		break;
	}
}

static void *serve(void *arg)
{
	struct server *v = arg;
	struct net_event ev[EVENTS];
	uint32_t idle = 0;
	while (!__atomic_load_n(v->stop, __ATOMIC_SEQ_CST)) {
		uint64_t now = clock_mono_ns();
		uint32_t n = net_poll(v->net, now, ev, EVENTS);
		for (uint32_t i = 0; i < n; i++)
			on_event(v, &ev[i]);
		net_flush(v->net, now);
		idle = n ? 0 : idle + 1;
		if (idle < SPINS)
			continue;
		waker_arm(&v->net->waker);
		if (!__atomic_load_n(v->stop, __ATOMIC_SEQ_CST))
			net_wait(v->net, clock_mono_ns(), UINT64_MAX);
		waker_disarm(&v->net->waker);
	}
	return NULL;
}

static struct net *open_net(char **argv, struct net_dpdk **dpdk, uint8_t **pattern)
{
	char err[512] = "";
	struct net *net = NULL;
	if (strcmp(argv[2], "kernel") == 0) {
		struct net_uring_config cfg = {.port = (uint16_t)strtoul(argv[4], NULL, 10),
			.max_conns = 4096,
			.recv_buffers = 512,
			.recv_buffer_size = 16384,
			.send_queue = 256};
		snprintf(cfg.host, sizeof(cfg.host), "%s", argv[3]);
		*pattern = malloc(PATTERN);
		net = net_uring_open(&cfg, err, sizeof(err));
	} else {
		struct net_dpdk_config cfg = {.shards = 1,
			.log_bytes = PATTERN,
			.max_conns = 4096,
			.listen_port = (uint16_t)strtoul(argv[5], NULL, 10),
			.hugepages = "off"};
		snprintf(cfg.port, sizeof(cfg.port), "%s", argv[3]);
		snprintf(cfg.address, sizeof(cfg.address), "%s", argv[4]);
		*dpdk = net_dpdk_open(&cfg, err, sizeof(err));
		*pattern = *dpdk ? net_dpdk_log_memory(*dpdk) : NULL;
		net = *dpdk ? net_dpdk_shard(*dpdk, 0, err, sizeof(err)) : NULL;
	}
	if (!net)
		fprintf(stderr, "net_interop: %s\n", err);
	return net;
}

static int run_server(char **argv)
{
	struct net_dpdk *dpdk = NULL;
	uint8_t *pattern = NULL;
	pthread_t thread;
	sigset_t set;
	int stop = 0, got;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	struct net *net = open_net(argv, &dpdk, &pattern);
	if (!net)
		return 1;
	pattern_fill(pattern);
	struct server v = {.net = net, .pattern = pattern, .stop = &stop};
	CHECK(pthread_create(&thread, NULL, serve, &v) == 0);
	printf("ready\n");
	fflush(stdout);
	sigwait(&set, &got);
	__atomic_store_n(&stop, 1, __ATOMIC_SEQ_CST);
	waker_notify(&net->waker);
	pthread_join(thread, NULL);
	printf("retransmits=%llu rx=%llu tx=%llu drops=%llu\n",
		(unsigned long long)metric_get(&net->metrics.retransmits_total),
		(unsigned long long)metric_get(&net->metrics.rx_packets_total),
		(unsigned long long)metric_get(&net->metrics.tx_packets_total),
		(unsigned long long)metric_get(&net->metrics.rx_drops_total));
	net_fini(net);
	if (dpdk)
		net_dpdk_close(dpdk);
	else
		free(pattern);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct sockets kernel = {.socket = socket,
		.connect = connect,
		.send = send,
		.recv = recv,
		.setsockopt = setsockopt,
		.shutdown = shutdown,
		.close = close};
	if (argc == 10 && strcmp(argv[1], "client") == 0)
		return run_client(&kernel, argv + 2);
	if (argc >= 5 && strcmp(argv[1], "serve") == 0 &&
		argc == (strcmp(argv[2], "kernel") == 0 ? 5 : 6))
		return run_server(argv);
	fprintf(stderr,
		"usage: net_interop serve kernel ADDRESS PORT\n"
		"       net_interop serve dpdk PORTSPEC ADDRESS/LEN PORT\n"
		"       net_interop client HOW ADDRESS PORT TO_SERVER TO_CLIENT CONNECTIONS "
		"THREADS RCVBUF\n");
	return 2;
}
