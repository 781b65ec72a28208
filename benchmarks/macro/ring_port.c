/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One shard behind a port inside this process, and a client on our own TCP at its other end: two
 * threads and two rte_rings, no kernel. What a core can do at most when frames cost nothing.
 *
 *   ring_port produce|echo|receive|send [SECONDS [CONNECTIONS [DEPTH]]]
 *
 * produce: requests with one record of 64 bytes, DEPTH of them under way on each connection,
 * through the whole shard; its storage answers at once. echo: 64 bytes come, 64 bytes leave.
 * receive, send: bulk. Checksums are computed in software, segments have the size of an Ethernet
 * frame.
 *
 * Prints what the serving thread did per second of its own work (turns that found nothing to do do
 * not count), and how much of the time it worked. For callgrind, COUNT= in the environment ends the
 * run after so many requests, and with THREADS=1 both ends take turns in one thread.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>

#include "base/clock.h" /* before DPDK's headers, which have an NS_PER_S too */
#include "lib/shard_world.h"
#include "net/ipstack.h"

#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <rte_ring.h>

#define CONNS_MAX 64u
#define BURST 32u
#define VALUE_SIZE 64u
#define TEXT_REQUESTS 512u /* requests of the prepared text, one after the other */
#define TEXT_MAX (256u * 1024)
#define BULK (64u * 1024)
#define SERVER_IP 0x0a090002u
#define CLIENT_IP 0x0a090001u
#define PORT 9092
#define POOL_FRAMES 16383
#define FRAME_SIZE 2048
#define WARM_UP_NS (NS_PER_S / 2)

enum mode { PRODUCE, ECHO, RECEIVE, SEND };
static const char *const mode_names[] = {"produce", "echo", "receive", "send"};

/* A connection of the client. */
struct cconn {
	ipstack_conn_t ip;
	bool up;
	uint32_t under_way; /* requests sent and not answered */
	uint32_t sends;	    /* ipstack_send not reported yet */
	uint64_t got;	    /* bytes of answers */
};

struct client {
	enum mode mode;
	struct ipstack *stack;
	struct rte_mempool *pool;
	struct rte_ring *in, *out; /* as the server sees them */
	struct rte_mbuf *lent[BURST];
	uint32_t lent_count;
	struct cconn conns[CONNS_MAX];
	uint32_t conn_count, depth;
	uint8_t *text;
	uint32_t request_len, answer_len;
	bool sleepless;
	uint64_t answers; /* read by the server's thread */
	int *stop;	  /* both: accessed atomically */
};

/* What the server's thread has done since the last look at it. */
struct work {
	uint64_t busy_ns, wall_ns, requests, bytes, frames;
};

struct server {
	enum mode mode;
	struct world *world; /* PRODUCE */
	struct net *net;
	uint64_t busy_ns, requests, bytes;
	uint8_t *bulk;		     /* log memory */
	net_conn_t sinks[CONNS_MAX]; /* SEND: where bytes go */
	uint32_t sink_count;
	uint32_t sends[CONNS_MAX]; /* cookies outstanding */
	struct server_slot {
		uint8_t bytes[BULK];
		bool used;
	} * slots; /* ECHO */
	uint32_t slot_count, next_slot;
};

/* ---- the client ---- */

static void client_receive(struct client *c, uint64_t now)
{
	ipstack_release(c->stack);
	if (c->lent_count)
		rte_pktmbuf_free_bulk(c->lent, c->lent_count);
	c->lent_count = rte_ring_dequeue_burst(c->out, (void **)c->lent, BURST, NULL);
	for (uint32_t i = 0; i < c->lent_count; i++) {
		struct rte_mbuf *m = c->lent[i];
		if (m->nb_segs > 1) { /* a card would have put it into one buffer */
			c->lent[i] = rte_pktmbuf_copy(m, c->pool, 0, UINT32_MAX);
			CHECK(c->lent[i]);
			rte_pktmbuf_free(m);
		}
		ipstack_input(c->stack, now, rte_pktmbuf_mtod(c->lent[i], uint8_t *),
			rte_pktmbuf_data_len(c->lent[i]), false, false, c->lent[i]);
	}
}

static void client_events(struct client *c)
{
	struct ipstack_event ev;
	while (ipstack_event_pop(c->stack, &ev)) {
		struct cconn *k = ev.user;
		uint64_t before;
		switch (ev.kind) {
		case IPSTACK_EV_CONNECTED:
			for (uint32_t i = 0; i < c->conn_count; i++)
				c->conns[i].up |= c->conns[i].ip == ev.conn;
			break;
		case IPSTACK_EV_DATA:
			before = k->got / c->answer_len;
			k->got += ev.data.len;
			before = k->got / c->answer_len - before;
			k->under_way -= min_of(k->under_way, (uint32_t)before);
			c->answers += before;
			break;
		case IPSTACK_EV_SENT:
			k->sends--;
			break;
		case IPSTACK_EV_ACCEPTED:
		case IPSTACK_EV_PEER_FIN:
		case IPSTACK_EV_CLOSED:
			fprintf(stderr, "ring_port: the client lost a connection\n");
			exit(1);
		}
	}
}

/* As many requests as may be under way, in one piece. */
static void client_send(struct client *c, struct cconn *k, uint64_t now)
{
	uint32_t n = c->depth - k->under_way;
	struct net_iov iov = {c->text, n * c->request_len};
	if (!k->up || c->mode == SEND || k->sends > 64)
		return;
	if (c->mode == RECEIVE) {
		iov.len = BULK;
		if (k->sends < 8 && ipstack_send(c->stack, now, k->ip, &iov, 1, 1) == 0)
			k->sends++;
		return;
	}
	/* Half of them at once, so that frames are filled. */
	if (n < max_of(c->depth / 2, 1) || ipstack_send(c->stack, now, k->ip, &iov, 1, 1) != 0)
		return;
	k->sends++;
	k->under_way += n;
}

static void client_transmit(struct client *c, uint64_t now)
{
	struct ip_out_frame f[BURST];
	struct rte_mbuf *m[BURST];
	while (rte_ring_free_count(c->in) >= BURST && ipstack_tx_pending(c->stack)) {
		if (rte_pktmbuf_alloc_bulk(c->pool, m, BURST) != 0)
			return;
		uint32_t n = ipstack_tx_pop(c->stack, now, f, BURST);
		for (uint32_t i = 0; i < n; i++) {
			uint8_t *p = (uint8_t *)rte_pktmbuf_append(
				m[i], (uint16_t)(f[i].hdr_len + f[i].payload_len));
			CHECK(p);
			memcpy(p, f[i].hdr, f[i].hdr_len);
			p += f[i].hdr_len;
			for (uint32_t j = 0; j < f[i].nslices; j++) {
				memcpy(p, f[i].slice[j].p, f[i].slice[j].len);
				p += f[i].slice[j].len;
			}
		}
		uint32_t sent = rte_ring_enqueue_burst(c->in, (void **)m, n, NULL);
		rte_pktmbuf_free_bulk(m + sent, BURST - sent);
		if (n == 0)
			return;
	}
}

static void client_turn(struct client *c)
{
	uint64_t now = clock_mono_ns();
	client_receive(c, now);
	ipstack_timers(c->stack, now);
	client_events(c);
	for (uint32_t i = 0; i < c->conn_count; i++)
		client_send(c, &c->conns[i], now);
	client_transmit(c, now);
}

static bool stopped(int *stop)
{
	return __atomic_load_n(stop, __ATOMIC_RELAXED) != 0;
}

static void *client_run(void *arg)
{
	struct client *c = arg;
	CHECK(rte_thread_register() == 0);
	while (!stopped(c->stop))
		client_turn(c);
	rte_thread_unregister();
	return NULL;
}

static void client_open(struct client *c)
{
	struct ipstack_config cfg;
	uint64_t now = clock_mono_ns();
	ipstack_config_defaults(&cfg);
	memcpy(cfg.mac, (const uint8_t[]){2, 0, 0, 0, 0, 1}, 6);
	cfg.ip = CLIENT_IP;
	cfg.prefix_len = 24;
	cfg.mtu = 1500;
	cfg.rx_burst = BURST;
	cfg.max_conns = CONNS_MAX;
	c->stack = ipstack_create(&cfg, now);
	c->pool = rte_pktmbuf_pool_create(
		"client", POOL_FRAMES, 256, 0, FRAME_SIZE + RTE_PKTMBUF_HEADROOM, SOCKET_ID_ANY);
	c->in = rte_ring_lookup("bench_in");
	c->out = rte_ring_lookup("bench_out");
	CHECK(c->stack && c->pool && c->in && c->out);
	for (uint32_t i = 0; i < c->conn_count; i++) {
		CHECK(ipstack_connect(c->stack, now, SERVER_IP, PORT, 0, &c->conns[i].ip) == 0);
		ipstack_set_user(c->stack, c->conns[i].ip, &c->conns[i]);
	}
}

/* ---- the text of requests ---- */

static void make_text(struct client *c)
{
	char value[VALUE_SIZE + 1];
	memset(value, 'v', VALUE_SIZE);
	value[VALUE_SIZE] = 0;
	c->text = calloc(1, TEXT_MAX);
	CHECK(c->text);
	c->request_len = c->answer_len = VALUE_SIZE;
	if (c->mode == PRODUCE) {
		c->request_len = produce_frame(c->text, TEXT_MAX, 1, 0, value);
		/* length, correlation id, one topic "t", one partition, throttle time (v7) */
		c->answer_len = 4 + 4 + 4 + 3 + 4 + (4 + 2 + 8 + 8 + 8) + 4;
	} else if (c->mode == SEND || c->mode == RECEIVE) {
		c->answer_len = 1;
	}
	CHECK(c->request_len * TEXT_REQUESTS <= TEXT_MAX && c->depth <= TEXT_REQUESTS);
	for (uint32_t i = 1; i < TEXT_REQUESTS; i++)
		memcpy(c->text + (size_t)i * c->request_len, c->text, c->request_len);
}

/* ---- the server ---- */

static uint32_t serve_data(struct server *s, const struct net_event *ev)
{
	s->bytes += ev->data.len;
	if (s->mode != ECHO)
		return 1;
	struct server_slot *slot = &s->slots[s->next_slot];
	uint32_t i = s->next_slot;
	CHECK(!slot->used && ev->data.len <= BULK);
	s->next_slot = (s->next_slot + 1) % s->slot_count;
	memcpy(slot->bytes, ev->data.p, ev->data.len);
	struct net_iov iov = {slot->bytes, ev->data.len};
	slot->used = net_send(s->net, ev->conn, &iov, 1, i + 1) == 0;
	CHECK(slot->used);
	return 1;
}

static void serve_bulk(struct server *s)
{
	struct net_iov iov = {s->bulk, BULK};
	for (uint32_t i = 0; i < s->sink_count; i++)
		while (s->sends[i] < 8 && net_send(s->net, s->sinks[i], &iov, 1, i + 1) == 0)
			s->sends[i]++;
}

static uint32_t plain_turn(struct server *s, uint64_t now)
{
	struct net_event ev[64];
	uint32_t n = net_poll(s->net, now, ev, 64);
	for (uint32_t i = 0; i < n; i++) {
		if (ev[i].kind == NET_EV_ACCEPTED) {
			s->sinks[s->sink_count++] = ev[i].conn;
		} else if (ev[i].kind == NET_EV_DATA) {
			serve_data(s, &ev[i]);
		} else if (ev[i].kind == NET_EV_SENT && s->mode == SEND) {
			s->sends[ev[i].sent.cookie - 1]--;
			s->bytes += BULK;
		} else if (ev[i].kind == NET_EV_SENT) {
			s->slots[ev[i].sent.cookie - 1].used = false;
		}
	}
	if (s->mode == SEND)
		serve_bulk(s);
	net_flush(s->net, now);
	return n;
}

static void server_turn(struct server *s)
{
	uint64_t begin = clock_mono_ns();
	uint64_t rx = metric_get(&s->net->metrics.rx_packets_total);
	uint64_t tx = metric_get(&s->net->metrics.tx_packets_total);
	uint32_t n;
	if (s->mode == PRODUCE)
		n = shard_turn(s->world->shard, begin, 1700000000000);
	else
		n = plain_turn(s, begin);
	n += rx != metric_get(&s->net->metrics.rx_packets_total) ||
	     tx != metric_get(&s->net->metrics.tx_packets_total);
	if (n)
		s->busy_ns += clock_mono_ns() - begin;
}

static struct work look(const struct server *s, const struct client *c)
{
	struct work w = {.busy_ns = s->busy_ns,
		.wall_ns = clock_mono_ns(),
		.bytes = s->bytes,
		.frames = metric_get(&s->net->metrics.rx_packets_total) +
			  metric_get(&s->net->metrics.tx_packets_total)};
	if (s->mode == PRODUCE)
		w.requests = metric_get(&s->world->shard->metrics.requests_total);
	else
		w.requests = s->bytes / c->request_len;
	return w;
}

static void server_open(struct server *s, struct net_dpdk **d)
{
	char err[512];
	struct net_dpdk_config cfg = {.port = "ring:bench",
		.address = "10.9.0.2/24",
		.hugepages = "auto",
		.shards = 1,
		.memory_mib = 256,
		.max_conns = CONNS_MAX,
		.log_bytes = BULK,
		.listen_port = PORT,
		.no_offloads = getenv("COPY") != NULL,
		.no_ecn = true};
	*d = net_dpdk_open(&cfg, err, sizeof(err));
	s->net = *d ? net_dpdk_shard(*d, 0, err, sizeof(err)) : NULL;
	if (!s->net) {
		fprintf(stderr, "ring_port: %s\n", err);
		exit(1);
	}
	s->slot_count = 4096;
	s->slots = calloc(s->slot_count, sizeof(*s->slots));
	s->bulk = net_dpdk_log_memory(*d);
	CHECK(s->slots && s->bulk);
	memset(s->bulk, 'b', BULK);
	if (s->mode != PRODUCE)
		return;
	void *world;
	CHECK(world_setup_on(&world, s->net, clock_mono_ns()) == 0);
	s->world = world;
	world_serve(s->world);
}

static void server_close(struct server *s, struct net_dpdk *d)
{
	void *world = s->world;
	if (world) {
		s->world->now_ns = clock_mono_ns();
		world_teardown(&world); /* the transport too */
	} else {
		net_stop(s->net);
		net_fini(s->net);
	}
	net_dpdk_close(d);
	free(s->slots);
}

/* ---- both ---- */

static void report(const struct server *s, const struct client *c, struct work a, struct work b)
{
	double busy = (double)(b.busy_ns - a.busy_ns), wall = (double)(b.wall_ns - a.wall_ns);
	double requests = (double)(b.requests - a.requests), bytes = (double)(b.bytes - a.bytes);
	double frames = (double)(b.frames - a.frames);
	printf("%s, %u connections", mode_names[s->mode], c->conn_count);
	if (s->mode == PRODUCE || s->mode == ECHO)
		printf(" of %u requests of %u bytes: %.2f million requests/s of work (%.0f ns "
		       "each), %.2f million/s of wall time",
			c->depth, c->request_len, requests * 1e3 / busy, busy / requests,
			requests * 1e3 / wall);
	else
		printf(": %.2f GB/s of work, %.2f GB/s of wall time", bytes / busy, bytes / wall);
	printf("; %.1f million frames/s of work; the core worked %.0f %% of the time\n",
		frames * 1e3 / busy, 100 * busy / wall);
}

static void run(struct server *s, struct client *c, uint64_t ns, bool threads, uint64_t count)
{
	int stop = 0;
	pthread_t thread;
	struct work from = {0};
	uint64_t begin = clock_mono_ns();
	c->stop = &stop;
	if (threads)
		CHECK(pthread_create(&thread, NULL, client_run, c) == 0);
	for (uint64_t now = begin; now < begin + WARM_UP_NS + ns; now = clock_mono_ns()) {
		for (uint32_t i = 0; i < 64; i++) {
			server_turn(s);
			if (!threads)
				client_turn(c);
		}
		if (from.wall_ns == 0 && (now > begin + WARM_UP_NS || count))
			from = look(s, c);
		if (count && look(s, c).requests >= count)
			break;
	}
	struct work to = look(s, c);
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	if (threads)
		pthread_join(thread, NULL);
	report(s, c, from, to);
}

static uint64_t number(int argc, char **argv, int i, uint64_t otherwise, uint64_t max)
{
	char *end = NULL;
	uint64_t v = i < argc ? strtoull(argv[i], &end, 10) : otherwise;
	if (i < argc && (*end || v < 1 || v > max)) {
		fprintf(stderr, "ring_port: %s: give a number from 1 to %" PRIu64 "\n", argv[i],
			max);
		exit(2);
	}
	return v;
}

int main(int argc, char **argv)
{
	uint32_t mode = 0;
	while (mode < array_size(mode_names) && argc > 1 && strcmp(argv[1], mode_names[mode]) != 0)
		mode++;
	if (argc < 2 || argc > 5 || mode == array_size(mode_names)) {
		fputs("usage: ring_port produce|echo|receive|send [SECONDS [CONNECTIONS "
		      "[DEPTH]]]\n",
			stderr);
		return 2;
	}
	uint64_t seconds = number(argc, argv, 2, 3, 600);
	struct server s = {.mode = mode};
	struct client c = {.mode = mode,
		.conn_count = (uint32_t)number(argc, argv, 3, 4, 8),
		.depth = (uint32_t)number(argc, argv, 4, 64, TEXT_REQUESTS)};
	const char *count = getenv("COUNT"), *threads = getenv("THREADS");
	struct net_dpdk *d;
	server_open(&s, &d);
	make_text(&c);
	client_open(&c);
	run(&s, &c, seconds * NS_PER_S, !threads || strcmp(threads, "1") != 0,
		count ? strtoull(count, NULL, 10) : 0);
	ipstack_destroy(c.stack);
	server_close(&s, d);
	free(c.text);
	return 0;
}
