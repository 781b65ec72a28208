/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Echo server over dataplane/net/net.h, for tests/net/test_net_echo.py.
 *
 *	net_echo kernel PORT [SHARDS]
 *	net_echo dpdk PORTSPEC ADDRESS/LEN PORT [SHARDS [HUGEPAGES]]
 *
 * Prints "ready" when it listens, and at the end (SIGTERM, SIGINT) one line of counters. Each byte
 *comes back. A connection whose first byte is 'C'  is closed (FIN) after what came with that byte
 *has been echoed 'R'  is aborted (RST) 'P'  is paused again and again while its data comes Bytes to
 *be echoed are kept in slots; without a free one the connection is paused, so that the peer's
 * window closes.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/list.h"
#include "net/net.h"

#define SLOTS 512u
#define SLOT_SIZE 65536u
#define SHARDS_MAX 16u
#define EVENTS 64u
#define SPINS 64u
#define MAX_CONNS 1024u

struct session {
	struct list all;  /* echo.all */
	struct list node; /* echo.waiting or echo.resting */
	net_conn_t conn;
	bool seen;    /* the first byte */
	bool pausing; /* 'P' */
	bool paused;
	uint8_t *rest; /* what found no slot: one event's bytes at most */
	uint32_t rest_len;
};

struct echo {
	struct net *net;
	pthread_t thread;
	struct list all;     /* sessions */
	struct list waiting; /* sessions that need a slot */
	struct list resting; /* 'P' sessions, to be resumed in the next turn */
	uint8_t *mem;
	uint32_t len[SLOTS];
	uint32_t free[SLOTS];
	uint32_t free_count;
	uint64_t bytes, accepted, closed;
	int *stop; /* set by main; accessed atomically */
};

static void set_paused(struct echo *e, struct session *s, bool on)
{
	if (s->paused != on)
		net_pause(e->net, s->conn, on);
	s->paused = on;
}

/* Sends from a slot; true when there was one. */
static bool echo_bytes(struct echo *e, struct session *s, const uint8_t *p, uint32_t len)
{
	if (e->free_count == 0)
		return false;
	uint32_t slot = e->free[e->free_count - 1];
	uint8_t *to = e->mem + (size_t)slot * SLOT_SIZE;
	/* Two pieces, so that the send is gathered. */
	uint32_t half = len / 2;
	struct net_iov iov[2] = {{.p = to, .len = half}, {.p = to + half, .len = len - half}};
	memcpy(to, p, len);
	int err = net_send(e->net, s->conn, half ? iov : iov + 1, half ? 2 : 1, slot + 1);
	if (err == -ENOBUFS)
		return false;
	if (err == 0)
		e->free_count--;
	return true;
}

static void on_data(struct echo *e, struct session *s, const uint8_t *p, uint32_t len)
{
	bool first = !s->seen;
	CHECK(len <= SLOT_SIZE);
	e->bytes += len;
	s->seen = true;
	if (first && p[0] == 'R') {
		net_close(e->net, s->conn, true);
		return;
	}
	s->pausing |= first && p[0] == 'P';
	if (s->rest || !echo_bytes(e, s, p, len)) {
		uint8_t *rest = realloc(s->rest, s->rest_len + len);
		CHECK(rest);
		memcpy(rest + s->rest_len, p, len);
		s->rest = rest;
		s->rest_len += len;
		set_paused(e, s, true);
		list_remove(&s->node);
		list_push_back(&e->waiting, &s->node);
	} else if (s->pausing) {
		set_paused(e, s, true);
		list_remove(&s->node);
		list_push_back(&e->resting, &s->node);
	}
	if (first && p[0] == 'C' && !s->rest)
		net_close(e->net, s->conn, false);
}

static void session_free(struct session *s)
{
	list_remove(&s->node);
	list_remove(&s->all);
	free(s->rest);
	free(s);
}

static void on_event(struct echo *e, const struct net_event *ev)
{
	struct session *s = ev->user;
	switch (ev->kind) {
	case NET_EV_ACCEPTED:
		s = calloc(1, sizeof(*s));
		CHECK(s);
		list_init(&s->node);
		list_init(&s->all);
		list_push_back(&e->all, &s->all);
		s->conn = ev->conn;
		net_set_user(e->net, ev->conn, s);
		e->accepted++;
		break;
	case NET_EV_CONNECTED: /* we do not connect */
		break;
	case NET_EV_DATA:
		on_data(e, s, ev->data.p, ev->data.len);
		break;
	case NET_EV_SENT:
		e->free[e->free_count++] = (uint32_t)ev->sent.cookie - 1;
		break;
	case NET_EV_CLOSED:
		session_free(s);
		e->closed++;
		break;
	}
}

/* What waited goes on. */
static void resume(struct echo *e)
{
	struct list *it;
	while (e->free_count && (it = list_front(&e->waiting)) != NULL) {
		struct session *s = list_entry(it, struct session, node);
		uint32_t len = min_of(s->rest_len, SLOT_SIZE);
		if (!echo_bytes(e, s, s->rest, len))
			return;
		s->rest_len -= len;
		memmove(s->rest, s->rest + len, s->rest_len);
		if (s->rest_len)
			continue;
		free(s->rest);
		s->rest = NULL;
		list_remove(&s->node);
		set_paused(e, s, false);
	}
}

static void resume_resting(struct echo *e)
{
	struct list *it;
	while ((it = list_pop_front(&e->resting)) != NULL)
		set_paused(e, list_entry(it, struct session, node), false);
}

static bool stopped(const struct echo *e)
{
	return __atomic_load_n(e->stop, __ATOMIC_SEQ_CST) != 0;
}

static void *run(void *arg)
{
	struct echo *e = arg;
	struct net_event ev[EVENTS];
	uint32_t idle = 0;
	while (!stopped(e)) {
		uint64_t now = clock_mono_ns();
		resume_resting(e);
		uint32_t n = net_poll(e->net, now, ev, EVENTS);
		for (uint32_t i = 0; i < n; i++)
			on_event(e, &ev[i]);
		if (n)
			resume(e);
		net_flush(e->net, now);
		idle = n ? 0 : idle + 1;
		if (idle < SPINS || !list_empty(&e->resting))
			continue;
		now = clock_mono_ns();
		waker_arm(&e->net->waker);
		if (!stopped(e))
			net_wait(e->net, now, UINT64_MAX);
		waker_disarm(&e->net->waker);
	}
	return NULL;
}

static void echo_init(struct echo *e, struct net *net, int *stop)
{
	*e = (struct echo){.net = net, .stop = stop};
	list_init(&e->all);
	list_init(&e->waiting);
	list_init(&e->resting);
	e->mem = malloc((size_t)SLOTS * SLOT_SIZE);
	CHECK(e->mem);
	for (uint32_t i = 0; i < SLOTS; i++)
		e->free[i] = i;
	e->free_count = SLOTS;
}

static void echo_fini(struct echo *e)
{
	struct list *it;
	net_fini(e->net);
	while ((it = list_front(&e->all)) != NULL)
		session_free(list_entry(it, struct session, all));
	free(e->mem);
}

static struct net *open_kernel(char **argv, uint32_t shards, char *err, size_t err_size)
{
	struct net_uring_config cfg = {
		.host = "",
		.port = (uint16_t)(int)strtol(argv[2], NULL, 10),
		.reuse_port = shards > 1,
		.max_conns = MAX_CONNS,
		.recv_buffers = 512,
		.recv_buffer_size = 16384,
		.send_queue = 256,
	};
	return net_uring_open(&cfg, err, err_size);
}

static struct net_dpdk *open_dpdk(int argc, char **argv, uint32_t shards)
{
	char err[512] = "";
	struct net_dpdk_config cfg = {
		.shards = shards,
		.log_bytes = 4 << 20,
		.max_conns = MAX_CONNS,
		.listen_port = (uint16_t)(int)strtol(argv[4], NULL, 10),
		.verbose = getenv("NET_ECHO_VERBOSE") != NULL,
	};
	snprintf(cfg.port, sizeof(cfg.port), "%s", argv[2]);
	snprintf(cfg.address, sizeof(cfg.address), "%s", argv[3]);
	snprintf(cfg.hugepages, sizeof(cfg.hugepages), "%s", argc > 6 ? argv[6] : "auto");
	struct net_dpdk *d = net_dpdk_open(&cfg, err, sizeof(err));
	if (!d)
		fprintf(stderr, "net_echo: %s\n", err);
	else
		memset(net_dpdk_log_memory(d), 0x5a, cfg.log_bytes);
	return d;
}

static void report(struct echo *e, uint32_t shards)
{
	uint64_t rx = 0, tx = 0, drops = 0, retransmits = 0, waits = 0, calls = 0;
	printf("shards=%u", shards);
	for (uint32_t i = 0; i < shards; i++) {
		struct net_metrics *m = &e[i].net->metrics;
		printf(" conns%u=%llu open%u=%llu", i, (unsigned long long)e[i].accepted, i,
			(unsigned long long)(e[i].accepted - e[i].closed));
		rx += metric_get(&m->rx_packets_total);
		tx += metric_get(&m->tx_packets_total);
		drops += metric_get(&m->rx_drops_total);
		retransmits += metric_get(&m->retransmits_total);
		waits += metric_get(&m->waits_total);
		calls += metric_get(&m->syscalls_total);
	}
	printf(" rx=%llu tx=%llu drops=%llu retransmits=%llu waits=%llu syscalls=%llu\n",
		(unsigned long long)rx, (unsigned long long)tx, (unsigned long long)drops,
		(unsigned long long)retransmits, (unsigned long long)waits,
		(unsigned long long)calls);
}

int main(int argc, char **argv)
{
	static struct echo e[SHARDS_MAX];
	bool kernel = argc >= 3 && strcmp(argv[1], "kernel") == 0;
	bool dpdk = argc >= 5 && strcmp(argv[1], "dpdk") == 0;
	int shards_arg = kernel ? 3 : 5;
	uint32_t shards = argc > shards_arg ? (uint32_t)(int)strtol(argv[shards_arg], NULL, 10) : 1;
	struct net_dpdk *d = NULL;
	char err[512] = "";
	sigset_t set;
	int stop = 0;
	if ((!kernel && !dpdk) || shards < 1 || shards > SHARDS_MAX) {
		fprintf(stderr, "usage: net_echo kernel PORT [SHARDS] | "
				"net_echo dpdk PORTSPEC ADDRESS/LEN PORT [SHARDS [HUGEPAGES]]\n");
		return 2;
	}
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	if (dpdk && !(d = open_dpdk(argc, argv, shards)))
		return 1;
	for (uint32_t i = 0; i < shards; i++) {
		struct net *net = dpdk ? net_dpdk_shard(d, i, err, sizeof(err))
				       : open_kernel(argv, shards, err, sizeof(err));
		if (!net) {
			fprintf(stderr, "net_echo: %s\n", err);
			return 1;
		}
		echo_init(&e[i], net, &stop);
	}
	for (uint32_t i = 0; i < shards; i++)
		CHECK(pthread_create(&e[i].thread, NULL, run, &e[i]) == 0);
	printf("ready\n");
	fflush(stdout);
	int got;
	sigwait(&set, &got);
	__atomic_store_n(&stop, 1, __ATOMIC_SEQ_CST);
	for (uint32_t i = 0; i < shards; i++)
		waker_notify(&e[i].net->waker);
	for (uint32_t i = 0; i < shards; i++)
		pthread_join(e[i].thread, NULL);
	report(e, shards);
	for (uint32_t i = 0; i < shards; i++)
		echo_fini(&e[i]);
	if (d)
		net_dpdk_close(d);
	return 0;
}
