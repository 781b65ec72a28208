/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two stacks on a simulated wire in virtual time: loss, duplication, reordering, corruption, delay,
 * small windows and pools, pauses, half-closes, aborts. One thread, one seed; a failure names the
 * seed, and `test_netsim SEED` replays it with a log. `test_netsim --seeds N [FIRST]` runs many.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/prng.h"
#include "net/eth.h"
#include "net/ip.h"
#include "net/tcp.h"

#define IP_A 0x0a000001u
#define IP_B 0x0a000002u
#define PORT 9092
#define MAX_CONNS 8
#define MAX_SENDS 64

enum sim_wire { WIRE_ANY, WIRE_LOGGED, WIRE_CLEAN };

struct packet {
	uint64_t at_ns;
	uint64_t order;
	uint32_t len;
	uint8_t to; /* node */
	uint8_t *bytes;
};

struct link_model {
	uint32_t loss, dup, reorder, corrupt; /* per 1000 */
	uint32_t burst;			      /* per 1000: the beginning of a burst of losses */
	uint64_t delay_ns, jitter_ns;
	uint64_t dark_from_ns, dark_to_ns; /* nothing gets through */
};

struct lent {
	uint8_t *mem;
	uint32_t len;
	bool live;
};

/* One end of a connection as the application sees it. */
struct end {
	ipstack_conn_t conn;
	uint32_t id; /* of the connection: makes its bytes */
	bool open, closed, peer_fin, closing, paused, aborted, was_reset;
	uint64_t to_send, sent, received;
	uint64_t resume_ns;
	struct lent lent[MAX_SENDS];
	uint32_t nlent;
};

struct node {
	struct ipstack *s;
	struct ipstack_config cfg;
	struct end ends[MAX_CONNS];
	uint32_t nends;
	uint8_t *held[64]; /* frames not yet released */
	uint32_t nheld;
};

struct sim {
	struct prng rng;
	uint64_t seed, now_ns, order;
	struct link_model link;
	uint64_t burst_to_ns;
	struct node node[2];
	struct packet *q;
	uint32_t nq, capq;
	uint64_t packets, bytes_total;
	uint32_t nconns;
	bool aborts;
	bool log;
	uint64_t quiet_ns; /* no impairments from here on */
	uint64_t hash;
};

static uint8_t stream_byte(uint32_t id, uint32_t from, uint64_t at)
{
	uint64_t x =
		(at / 8 + 1) * 0x9e3779b97f4a7c15ull ^ ((uint64_t)id << 33 | (uint64_t)from << 32);
	x ^= x >> 29;
	return (uint8_t)(x >> (at % 8 * 8));
}

static void sim_dump(const struct sim *m)
{
	char buf[4096];
	for (int i = 0; i < 2; i++) {
		ipstack_dump(m->node[i].s, buf, sizeof(buf));
		fprintf(stderr, "%llu us, node %d:\n%s", (unsigned long long)(m->now_ns / 1000), i,
			buf);
	}
}

static void sim_fail(const struct sim *m, const char *what)
{
	fprintf(stderr, "seed %llu: %s\n", (unsigned long long)m->seed, what);
	sim_dump(m);
	fail();
}

#define REQUIRE(m, cond)                                                                           \
	do {                                                                                       \
		if (!(cond))                                                                       \
			sim_fail(m, #cond);                                                        \
	} while (0)

/* ---- the wire: a heap of packets by time ---- */

static bool packet_before(const struct packet *a, const struct packet *b)
{
	return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

static void wire_push(struct sim *m, struct packet p)
{
	if (m->nq == m->capq) {
		m->capq = m->capq ? 2 * m->capq : 64;
		m->q = realloc(m->q, m->capq * sizeof(*m->q));
	}
	uint32_t i = m->nq++;
	while (i > 0 && packet_before(&p, &m->q[(i - 1) / 2])) {
		m->q[i] = m->q[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	m->q[i] = p;
}

static struct packet wire_pop(struct sim *m)
{
	struct packet top = m->q[0], last = m->q[--m->nq];
	uint32_t i = 0;
	for (;;) {
		uint32_t c = 2 * i + 1;
		if (c >= m->nq)
			break;
		if (c + 1 < m->nq && packet_before(&m->q[c + 1], &m->q[c]))
			c++;
		if (!packet_before(&m->q[c], &last))
			break;
		m->q[i] = m->q[c];
		i = c;
	}
	if (m->nq > 0)
		m->q[i] = last;
	return top;
}

static bool wire_loses(struct sim *m)
{
	if (m->now_ns >= m->link.dark_from_ns && m->now_ns < m->link.dark_to_ns)
		return true;
	if (prng_chance(&m->rng, m->link.burst, 1000))
		m->burst_to_ns = m->now_ns + prng_below(&m->rng, 200 * NS_PER_MS);
	if (m->now_ns < m->burst_to_ns)
		return true;
	return prng_chance(&m->rng, m->link.loss, 1000);
}

static void wire_send(struct sim *m, uint8_t to, const uint8_t *bytes, uint32_t len)
{
	bool noisy = m->now_ns < m->quiet_ns;
	m->packets++;
	for (uint32_t i = 0; i < len; i++)
		m->hash = (m->hash ^ bytes[i]) * 0x100000001b3ull;
	if (noisy && wire_loses(m))
		return;
	uint32_t copies = 1 + (noisy && prng_chance(&m->rng, m->link.dup, 1000));
	while (copies--) {
		struct packet p = {.len = len, .to = to, .order = m->order++};
		p.bytes = malloc(len);
		memcpy(p.bytes, bytes, len);
		p.at_ns = m->now_ns + m->link.delay_ns;
		if (noisy && prng_chance(&m->rng, m->link.reorder, 1000))
			p.at_ns += prng_below(&m->rng, m->link.jitter_ns + 1);
		/* behind the Ethernet header: that has its own check on a real wire */
		if (noisy && len > 40 && p.bytes[13] == 0 &&
			prng_chance(&m->rng, m->link.corrupt, 1000))
			p.bytes[14 + prng_below(&m->rng, len - 14)] ^=
				(uint8_t)(1 + prng_below(&m->rng, 255));
		wire_push(m, p);
	}
}

/* ---- the application ---- */

static struct end *end_by_conn(struct node *n, ipstack_conn_t c)
{
	for (uint32_t i = 0; i < n->nends; i++)
		if (n->ends[i].conn == c)
			return &n->ends[i];
	return NULL;
}

static void app_send_some(struct sim *m, uint32_t who, struct end *e)
{
	struct node *n = &m->node[who];
	while (e->open && !e->closing && !e->closed && e->sent < e->to_send) {
		uint32_t slot = 0;
		while (slot < MAX_SENDS && e->lent[slot].live)
			slot++;
		if (slot == MAX_SENDS)
			return;
		uint32_t len = (uint32_t)(1 + prng_below(&m->rng,
						      prng_chance(&m->rng, 1, 4) ? 20000 : 300));
		len = (uint32_t)min_of((uint64_t)len, e->to_send - e->sent);
		uint8_t *mem = malloc(len);
		for (uint32_t i = 0; i < len; i++)
			mem[i] = stream_byte(e->id, who, e->sent + i);
		struct net_iov iov[4] = {{0}};
		uint32_t cut1 = (uint32_t)prng_below(&m->rng, len + 1), cut2 = cut1 / 2;
		iov[0] = (struct net_iov){.p = mem, .len = cut2};
		iov[1] = (struct net_iov){.p = mem + cut2, .len = cut1 - cut2};
		iov[2] = (struct net_iov){.p = mem + cut1, .len = len - cut1};
		if (ipstack_send(n->s, m->now_ns, e->conn, iov, 3, (uint64_t)slot << 32 | e->id) !=
			0) {
			free(mem);
			return;
		}
		e->lent[slot] = (struct lent){.mem = mem, .len = len, .live = true};
		e->nlent++;
		e->sent += len;
		if (prng_chance(&m->rng, 1, 3))
			break;
	}
	if (e->open && !e->closing && !e->closed && e->sent == e->to_send &&
		prng_chance(&m->rng, 1, 3)) {
		ipstack_close(n->s, m->now_ns, e->conn);
		e->closing = true;
	}
}

static void app_data(struct sim *m, uint32_t who, struct end *e, const struct ipstack_event *ev)
{
	REQUIRE(m, e->open && !e->closed && !e->peer_fin && !e->paused);
	for (uint32_t i = 0; i < ev->data.len; i++)
		if (ev->data.p[i] != stream_byte(e->id, !who, e->received + i))
			sim_fail(m, "byte of the stream is wrong");
	e->received += ev->data.len;
	if (prng_chance(&m->rng, 1, 16)) {
		e->paused = true;
		e->resume_ns = m->now_ns + prng_below(&m->rng, 500 * NS_PER_MS);
		ipstack_pause(m->node[who].s, e->conn, true);
	}
}

static void app_event(struct sim *m, uint32_t who, const struct ipstack_event *ev)
{
	struct node *n = &m->node[who];
	struct end *e = end_by_conn(n, ev->conn);
	if (ev->kind == IPSTACK_EV_ACCEPTED) {
		REQUIRE(m, !e && n->nends < MAX_CONNS);
		e = &n->ends[n->nends++];
		*e = (struct end){.conn = ev->conn, .open = true, .id = ev->peer.port};
		e->to_send = prng_below(&m->rng, m->bytes_total + 1);
		return;
	}
	REQUIRE(m, e && !e->closed);
	switch (ev->kind) {
	case IPSTACK_EV_CONNECTED:
		e->open = true;
		break;
	case IPSTACK_EV_DATA:
		app_data(m, who, e, ev);
		break;
	case IPSTACK_EV_SENT: {
		struct lent *l = &e->lent[ev->sent.cookie >> 32];
		REQUIRE(m, (uint32_t)ev->sent.cookie == e->id && l->live);
		memset(l->mem, 0xdd, l->len); /* a retransmission of it would be noticed */
		free(l->mem);
		l->live = false;
		e->nlent--;
		break;
	}
	case IPSTACK_EV_PEER_FIN:
		REQUIRE(m, !e->peer_fin);
		e->peer_fin = true;
		break;
	case IPSTACK_EV_CLOSED:
		REQUIRE(m, e->nlent == 0);
		e->closed = true;
		e->was_reset = ev->closed.reason != IPSTACK_CLOSED_NORMAL;
		if (m->log)
			fprintf(stderr, "%llu us: node %u conn %u closed, reason %d\n",
				(unsigned long long)(m->now_ns / 1000), who, e->id,
				ev->closed.reason);
		break;
	case IPSTACK_EV_ACCEPTED:
		break;
	}
}

static void app_turn(struct sim *m, uint32_t who)
{
	struct node *n = &m->node[who];
	for (uint32_t i = 0; i < n->nends; i++) {
		struct end *e = &n->ends[i];
		if (e->closed || !e->open)
			continue;
		if (e->paused && e->resume_ns <= m->now_ns) {
			e->paused = false;
			ipstack_pause(n->s, e->conn, false);
		}
		if (m->aborts && !e->aborted && prng_chance(&m->rng, 1, 400)) {
			e->aborted = true;
			ipstack_abort(n->s, e->conn);
			continue;
		}
		app_send_some(m, who, e);
	}
}

/* ---- the shell ---- */

/* What a port with segmentation offload does: cuts the payload, numbers the pieces, flags the last.
 */
static void node_tx_tso(
	struct sim *m, uint32_t who, const struct ip_out_frame *o, const uint8_t *flat)
{
	uint8_t piece[16384];
	REQUIRE(m, o->payload_len <= m->node[who].cfg.tso_max_bytes && o->payload_len > o->tso_mss);
	for (uint32_t at = 0; at < o->payload_len; at += o->tso_mss) {
		uint32_t n = min_of((uint32_t)o->tso_mss, o->payload_len - at);
		bool last = at + n == o->payload_len;
		memcpy(piece, flat, o->hdr_len);
		memcpy(piece + o->hdr_len, flat + o->hdr_len + at, n);
		uint8_t *ip = piece + ETH_HDR_LEN, *tcp = ip + IP_HDR_LEN;
		uint32_t src = be32_get(ip + 12), dst = be32_get(ip + 16);
		ip_build(ip, src, dst, IP_PROTO_TCP, o->l4_len + n, false);
		be32_put(tcp + 4, be32_get(tcp + 4) + at);
		if (!last)
			tcp[13] &= (uint8_t) ~(TCP_FIN | TCP_PSH);
		be16_put(tcp + 16, 0);
		struct net_iov iov = {.p = piece + o->hdr_len, .len = n};
		tcp_hdr_checksum(tcp, o->l4_len, src, dst, &iov, 1, o->l4_len + n, false);
		wire_send(m, (uint8_t)!who, piece, o->hdr_len + n);
	}
}

static void node_tx(struct sim *m, uint32_t who)
{
	struct node *n = &m->node[who];
	struct ip_out_frame out[8];
	static uint8_t flat[70000];
	uint32_t k;
	while ((k = ipstack_tx_pop(n->s, m->now_ns, out, 8)) > 0) {
		for (uint32_t i = 0; i < k; i++) {
			uint32_t len = out[i].hdr_len, sum = 0;
			memcpy(flat, out[i].hdr, len);
			for (uint32_t j = 0; j < out[i].nslices; j++) {
				memcpy(flat + len, out[i].slice[j].p, out[i].slice[j].len);
				len += out[i].slice[j].len;
				sum += out[i].slice[j].len;
			}
			REQUIRE(m, sum == out[i].payload_len);
			if (out[i].tso_mss) {
				node_tx_tso(m, who, &out[i], flat);
				continue;
			}
			REQUIRE(m, len <= n->cfg.mtu + 14u);
			wire_send(m, (uint8_t)!who, flat, len);
		}
	}
}

static void node_turn(struct sim *m, uint32_t who)
{
	struct node *n = &m->node[who];
	struct ipstack_event ev;
	ipstack_timers(n->s, m->now_ns);
	ipstack_check(n->s);
	uint32_t left = prng_chance(&m->rng, 1, 8) ? (uint32_t)prng_below(&m->rng, 4) : UINT32_MAX;
	while (left-- > 0 && ipstack_event_pop(n->s, &ev))
		app_event(m, who, &ev);
	app_turn(m, who);
	ipstack_release(n->s);
	while (n->nheld > 0)
		free(n->held[--n->nheld]);
	ipstack_check(n->s);
	node_tx(m, who);
	ipstack_check(n->s);
}

static void node_input(struct sim *m, const struct packet *p)
{
	struct node *n = &m->node[p->to];
	ipstack_input(n->s, m->now_ns, p->bytes, p->len, false, false, p->bytes);
	n->held[n->nheld++] = p->bytes;
	if (n->nheld == array_size(n->held))
		node_turn(m, p->to);
}

static uint64_t sim_next_ns(struct sim *m)
{
	uint64_t t = m->nq ? m->q[0].at_ns : UINT64_MAX;
	for (int i = 0; i < 2; i++) {
		struct node *n = &m->node[i];
		t = min_of(t, ipstack_next_timer_ns(n->s));
		if (ipstack_event_pending(n->s))
			t = min_of(t, m->now_ns + 100 * NS_PER_US);
		for (uint32_t k = 0; k < n->nends; k++) {
			struct end *e = &n->ends[k];
			if (e->paused && !e->closed)
				t = min_of(t, e->resume_ns);
			else if (e->open && !e->closed && !e->closing)
				t = min_of(
					t, m->now_ns +
						   10 * NS_PER_MS); /* the application's own pace */
		}
	}
	return t;
}

static bool sim_step(struct sim *m)
{
	uint64_t next = sim_next_ns(m);
	if (next == UINT64_MAX)
		return false;
	m->now_ns = max_of(m->now_ns, next);
	if (prng_chance(&m->rng, 1, 2)) /* a shell that comes late finds several frames */
		m->now_ns += prng_below(&m->rng, 300 * NS_PER_US);
	while (m->nq > 0 && m->q[0].at_ns <= m->now_ns) {
		struct packet p = wire_pop(m);
		node_input(m, &p);
	}
	for (uint32_t i = 0; i < 2; i++)
		node_turn(m, i);
	return true;
}

static void config_for(struct sim *m, struct ipstack_config *c, uint32_t who)
{
	struct prng *r = &m->rng;
	ipstack_config_defaults(c);
	memcpy(c->mac, who ? "\x02\0\0\0\0\2" : "\x02\0\0\0\0\1", 6);
	c->ip = who ? IP_B : IP_A;
	c->prefix_len = 24;
	c->mtu = (uint16_t)(prng_chance(r, 1, 2) ? 1500 : 576 + prng_below(r, 3000));
	for (int i = 0; i < 32; i++)
		c->secret[i] = (uint8_t)prng_next(r);
	c->tso_max_bytes = prng_chance(r, 1, 3) ? (uint32_t)(5000 + prng_below(r, 60000)) : 0;
	c->max_conns = 16;
	c->max_time_wait = 16;
	c->syn_backlog = (uint32_t)(1 + prng_below(r, 3));
	c->neighbours = 4;
	c->ctl_frames = 16;
	c->rx_burst = (uint32_t)(1 + prng_below(r, 64));
	c->rx_window_bytes = (uint32_t)(1024 << prng_below(r, 9));
	c->rx_chunks = (uint32_t)(8 + prng_below(r, 200));
	c->rx_chunks_per_conn = (uint32_t)(1 + prng_below(r, 64));
	c->send_slots = 256;
	c->tx_segments = (uint32_t)prng_below(r, prng_chance(r, 1, 3) ? 8 : 500);
	c->send_slots_per_conn = (uint32_t)(3 + prng_below(r, 100));
	c->tx_slices_max = (uint8_t)(1 + prng_below(r, IP_OUT_SLICES));
	c->tx_bytes_per_pass = (uint32_t)(1 + prng_below(r, 65536));
	c->rto_initial_ns = 300 * NS_PER_MS;
	c->rto_min_ns = 20 * NS_PER_MS;
	c->rto_max_ns = 4 * NS_PER_S;
	c->user_timeout_ns = c->syn_timeout_ns = 600 * NS_PER_S;
	c->fin_wait2_ns = 600 * NS_PER_S;
	c->keepalive_idle_ns = prng_chance(r, 1, 2) ? 300 * NS_PER_MS : 0;
	c->keepalive_interval_ns = 200 * NS_PER_MS;
	c->keepalive_probes = 10000;
	c->challenge_acks_per_s = 1000;
	c->sack = prng_chance(r, 3, 4);
	c->timestamps = prng_chance(r, 3, 4);
	c->fixed_isn = prng_chance(r, 1, 2);
	c->isn = 0xffffff00u - (uint32_t)prng_below(r, 100000);
}

/* Memory in plenty and the timers of a real network: nothing may have to be sent twice. */
static void config_clean(struct ipstack_config *c)
{
	c->rx_window_bytes = 1 << 18;
	c->rx_chunks = c->rx_chunks_per_conn = 4096;
	c->rto_min_ns = 200 * NS_PER_MS;
	c->keepalive_idle_ns = 0;
}

static void sim_init(struct sim *m, uint64_t seed, enum sim_wire wire)
{
	*m = (struct sim){
		.seed = seed, .rng = {.s = seed}, .now_ns = NS_PER_S, .log = wire == WIRE_LOGGED};
	struct prng *r = &m->rng;
	bool clean = wire == WIRE_CLEAN, bad = !clean && prng_chance(r, 3, 4);
	m->link = (struct link_model){.loss = bad ? (uint32_t)prng_below(r, 150) : 0,
		.dup = bad ? (uint32_t)prng_below(r, 100) : 0,
		.reorder = bad ? (uint32_t)prng_below(r, 300) : 0,
		.corrupt = bad ? (uint32_t)prng_below(r, 50) : 0,
		.delay_ns = prng_below(r, 20 * NS_PER_MS) + 1000,
		.jitter_ns = prng_below(r, 50 * NS_PER_MS)};
	m->link.burst = bad && prng_chance(r, 1, 3) ? (uint32_t)prng_below(r, 20) : 0;
	if (bad && prng_chance(r, 1, 3)) {
		m->link.dark_from_ns = m->now_ns + prng_below(r, 3 * NS_PER_S);
		m->link.dark_to_ns = m->link.dark_from_ns + prng_below(r, 30 * NS_PER_S);
	}
	m->quiet_ns = m->now_ns + prng_below(r, 400) * NS_PER_S;
	m->bytes_total = prng_chance(r, 1, 4) ? 150000 : 20000;
	m->nconns = (uint32_t)(1 + prng_below(r, 5));
	m->aborts = !clean && prng_chance(r, 1, 4);
	for (uint32_t i = 0; i < 2; i++) {
		config_for(m, &m->node[i].cfg, i);
		if (clean)
			config_clean(&m->node[i].cfg);
		m->node[i].s = ipstack_create(&m->node[i].cfg, m->now_ns);
		assert_non_null(m->node[i].s);
	}
	assert_int_equal(ipstack_listen(m->node[1].s, PORT), 0);
	for (uint32_t i = 0; i < m->nconns; i++) {
		struct end *e = &m->node[0].ends[m->node[0].nends++];
		e->to_send = prng_below(r, m->bytes_total + 1);
		e->id = 40000 + i;
		assert_int_equal(ipstack_connect(m->node[0].s, m->now_ns, IP_B, PORT,
					 (uint16_t)e->id, &e->conn),
			0);
	}
}

static bool sim_all_closed(const struct sim *m)
{
	for (int i = 0; i < 2; i++)
		for (uint32_t k = 0; k < m->node[i].nends; k++)
			if (!m->node[i].ends[k].closed)
				return false;
	return true;
}

/* What must be true of every connection when all is over. */
static void sim_verify(struct sim *m)
{
	for (uint32_t i = 0; i < m->node[0].nends; i++) {
		struct end *a = &m->node[0].ends[i], *b = NULL;
		bool aborted = a->aborted;
		for (uint32_t k = 0; k < m->node[1].nends; k++) {
			if (m->node[1].ends[k].id != a->id)
				continue;
			b = &m->node[1].ends[k];
			/* An old segment may have opened it once more after that. */
			aborted |= b->aborted;
		}
		if (aborted)
			continue;
		REQUIRE(m, b && !a->was_reset && !b->was_reset);
		REQUIRE(m, a->received == b->sent && b->received == a->sent);
		REQUIRE(m, a->sent == a->to_send && b->sent == b->to_send);
		REQUIRE(m, a->peer_fin && b->peer_fin);
	}
	for (int i = 0; i < 2; i++) {
		struct ipstack_usage u;
		ipstack_usage_get(m->node[i].s, &u);
		REQUIRE(m, u.conns == 0 && u.time_wait == 0 && u.syn_rcvd == 0);
		REQUIRE(m, u.send_slots == 0 && u.rx_chunks == 0);
	}
}

/* Adds the counters of both stacks to the sums. */
static void sim_sum_metrics(const struct sim *m, struct ipstack_metrics *sum)
{
	metric_t *to = (metric_t *)sum;
	for (int i = 0; i < 2; i++) {
		const metric_t *from = (const metric_t *)ipstack_metrics_of(m->node[i].s);
		for (uint32_t k = 0; k < sizeof(*sum) / sizeof(metric_t); k++)
			to[k].v += from[k].v;
	}
}

static void sim_fini(struct sim *m)
{
	while (m->nq > 0)
		free(wire_pop(m).bytes);
	free(m->q);
	for (int i = 0; i < 2; i++)
		ipstack_destroy(m->node[i].s);
}

/* Runs a seed to its end; returns a hash of all that went over the wire. */
static uint64_t sim_run(uint64_t seed, enum sim_wire wire, struct ipstack_metrics *sum)
{
	static struct sim m; /* large; used by one run at a time */
	sim_init(&m, seed, wire);
	for (uint32_t i = 0; i < 2; i++)
		node_turn(&m, i);
	uint64_t next_dump_ns = 0;
	while (!sim_all_closed(&m) && sim_step(&m)) {
		if (m.log && m.now_ns >= next_dump_ns) { /* ten times in an order of magnitude */
			sim_dump(&m);
			next_dump_ns = m.now_ns + m.now_ns / 10;
		}
		REQUIRE(&m, m.now_ns < 3600 * NS_PER_S);
		REQUIRE(&m, m.packets < 200000);
	}
	uint64_t end = m.now_ns + 200 * NS_PER_S;
	while (m.now_ns < end && sim_step(&m))
		continue; /* TIME_WAIT */
	sim_verify(&m);
	if (m.log)
		fprintf(stderr, "seed %llu: %llu packets, %llu ms\n", (unsigned long long)seed,
			(unsigned long long)m.packets, (unsigned long long)(m.now_ns / NS_PER_MS));
	uint64_t hash = m.hash;
	if (sum)
		sim_sum_metrics(&m, sum);
	sim_fini(&m);
	return hash;
}

static void streams_survive_any_wire(void **state)
{
	uint64_t seeds = getenv("NETSIM_SEEDS") ? strtoull(getenv("NETSIM_SEEDS"), NULL, 10) : 300;
	struct ipstack_metrics sum;
	memset(&sum, 0, sizeof(sum));
	for (uint64_t seed = 1; seed <= seeds; seed++)
		sim_run(seed, WIRE_ANY, &sum);
		/* the wire must have been bad enough to reach what is rare */
#define REACHED(name) assert_true(sum.name.v > seeds / 100)
	REACHED(ip_drop_checksum_total);
	REACHED(tcp_drop_checksum_total);
	REACHED(tcp_drop_seq_total);
	REACHED(tcp_drop_no_buffer_total);
	REACHED(tcp_ooo_total);
	REACHED(tcp_dup_total);
	REACHED(tcp_pruned_total);
	REACHED(tcp_fast_retransmits_total);
	REACHED(tcp_rto_total);
	REACHED(tcp_window_probes_total);
	REACHED(tcp_window_updates_total);
	REACHED(tcp_delayed_acks_total);
	REACHED(tcp_keepalive_total);
	REACHED(tcp_rst_in_total);
	REACHED(tcp_rst_out_total);
	REACHED(arp_requests_out_total);
	REACHED(tcp_tail_probes_total);
	REACHED(tcp_dsacks_in_total);
	REACHED(tcp_reneged_total);
	REACHED(tcp_cookies_in_total);
#undef REACHED
	(void)state;
}

static void the_same_seed_gives_the_same_packets(void **state)
{
	for (uint64_t seed = 1000; seed < 1010; seed++)
		assert_int_equal(sim_run(seed, WIRE_ANY, NULL), sim_run(seed, WIRE_ANY, NULL));
	(void)state;
}

static void a_clean_wire_sees_nothing_twice(void **state)
{
	struct ipstack_metrics sum;
	memset(&sum, 0, sizeof(sum));
	for (uint64_t seed = 1; seed <= 50; seed++)
		sim_run(seed, WIRE_CLEAN, &sum);
	assert_int_equal(sum.tcp_retransmits_total.v, 0);
	assert_int_equal(sum.tcp_fast_retransmits_total.v, 0);
	assert_int_equal(sum.tcp_rto_total.v, 0);
	assert_int_equal(sum.tcp_ooo_total.v, 0);
	assert_int_equal(sum.tcp_dup_total.v, 0);
	assert_int_equal(sum.tcp_challenge_total.v, 0);
	assert_int_equal(sum.tcp_bytes_in_total.v, sum.tcp_bytes_out_total.v);
	(void)state;
}

/* Each seed twice, with equal hashes; prints one hash of all. */
static int run_seeds(uint64_t first, uint64_t count)
{
	struct ipstack_metrics sum;
	memset(&sum, 0, sizeof(sum));
	uint64_t all = 0;
	for (uint64_t seed = first; seed < first + count; seed++) {
		uint64_t hash = sim_run(seed, WIRE_ANY, &sum);
		if (hash != sim_run(seed, WIRE_ANY, NULL)) {
			fprintf(stderr, "seed %llu: two runs, two hashes\n",
				(unsigned long long)seed);
			return 1;
		}
		all = (all ^ hash) * 0x100000001b3ull;
	}
	printf("%llu seeds twice, hash %016llx; segments %llu, sent again %llu, timeouts %llu, "
	       "recoveries %llu, tail probes %llu\n",
		(unsigned long long)count, (unsigned long long)all,
		(unsigned long long)sum.tcp_segs_out_total.v,
		(unsigned long long)sum.tcp_retransmits_total.v,
		(unsigned long long)sum.tcp_rto_total.v,
		(unsigned long long)sum.tcp_fast_retransmits_total.v,
		(unsigned long long)sum.tcp_tail_probes_total.v);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc > 2 && strcmp(argv[1], "--seeds") == 0) {
		uint64_t first = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;
		return run_seeds(first, strtoull(argv[2], NULL, 10));
	}
	if (argc > 1) {
		sim_run(strtoull(argv[1], NULL, 10), WIRE_LOGGED, NULL);
		return 0;
	}
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(streams_survive_any_wire),
		cmocka_unit_test(a_clean_wire_sees_nothing_twice),
		cmocka_unit_test(the_same_seed_gives_the_same_packets),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
