/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole stack under a stream of operations: frames as they come, segments that are almost
 * right, time, application calls, two stacks' worth of peers. After each operation all invariants
 * are checked; at the end all memory must have come back.
 *
 * Input: one byte per operation and its operands, see step().
 */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "net/ipstack_int.h"

#define US 0x0a000002u
#define PEER 0x0a000001u
#define PORT 9092
#define PEERS 3
#define FRAMES 32

struct fuzz {
	uint8_t frames[FRAMES][2048]; /* valid until release */
	struct rd in;		      /* from here on all is 0 at the start */
	struct ipstack *s;
	uint64_t now;
	uint32_t frame_len[FRAMES], nframes;
	ipstack_conn_t conn[8];
	uint32_t nconn;
	uint64_t lent, reported;
	/* what a peer that listens would know, per port */
	uint32_t seq[PEERS], ack[PEERS];
	bool ts[PEERS];
};

static uint8_t lent_bytes[8192];

static void note_out(struct fuzz *f, const struct ip_out_frame *o)
{
	CHECK(o->hdr_len <= IP_OUT_HDR_MAX && o->nslices <= IP_OUT_SLICES);
	uint32_t sum = 0;
	for (uint32_t i = 0; i < o->nslices; i++)
		sum += o->slice[i].len;
	CHECK(sum == o->payload_len && o->hdr_len + sum <= 1514);
	if (!(o->flags & IP_OUT_TCP))
		return;
	uint32_t i = (uint32_t)be16_get(o->hdr + 36) - 1;
	if (i >= PEERS)
		return;
	uint8_t flags = o->hdr[47];
	f->ack[i] = be32_get(o->hdr + 38) + sum + !!(flags & TCP_SYN) + !!(flags & TCP_FIN);
	if (flags & TCP_ACK)
		f->seq[i] = be32_get(o->hdr + 42);
}

static void note_event(struct fuzz *f, const struct ipstack_event *ev)
{
	switch (ev->kind) {
	case IPSTACK_EV_ACCEPTED:
		f->conn[f->nconn++ % array_size(f->conn)] = ev->conn;
		break;
	case IPSTACK_EV_SENT:
		f->reported += ev->sent.cookie;
		break;
	case IPSTACK_EV_DATA: {
		volatile uint8_t sink = 0; /* a sanitizer looks at every byte */
		for (uint32_t i = 0; i < ev->data.len; i++)
			sink ^= ev->data.p[i];
		(void)sink;
		break;
	}
	default:
		break;
	}
}

static void turn(struct fuzz *f, uint32_t events)
{
	struct ipstack_event ev;
	struct ip_out_frame out[4];
	uint32_t n;
	while (events-- > 0 && ipstack_event_pop(f->s, &ev))
		note_event(f, &ev);
	ipstack_release(f->s);
	for (uint32_t i = 0; i < f->nframes; i++)
		memset(f->frames[i], 0xee, f->frame_len[i]);
	f->nframes = 0;
	ipstack_check(f->s);
	while ((n = ipstack_tx_pop(f->s, f->now, out, 4)) > 0)
		for (uint32_t i = 0; i < n; i++)
			note_out(f, &out[i]);
}

static uint8_t *new_frame(struct fuzz *f)
{
	if (f->nframes == FRAMES)
		turn(f, UINT32_MAX);
	return f->frames[f->nframes];
}

/* The new frame is n bytes long. */
static void frame_in(struct fuzz *f, uint8_t *p, uint32_t n)
{
	f->frame_len[f->nframes++] = n;
	ipstack_input(f->s, f->now, p, n, true, true, p);
}

static void op_raw_frame(struct fuzz *f)
{
	uint8_t *p = new_frame(f);
	uint32_t n = rd_u8(&f->in);
	n = (uint32_t)min_of((size_t)n, rd_left(&f->in));
	const uint8_t *src = rd_take(&f->in, n);
	if (n)
		memcpy(p, src, n);
	if (n >= 6)
		memcpy(p, "\2\0\0\0\0\2", 6);
	frame_in(f, p, n);
}

/* Options as a peer would send them, mostly; one byte of input. */
static uint32_t op_options(
	struct fuzz *f, uint8_t *p, uint8_t who, uint8_t flags, uint32_t wnd, uint32_t ack)
{
	uint8_t how = rd_u8(&f->in);
	struct tcp_opts o = {.wscale = -1};
	if (flags & TCP_SYN) {
		o.mss = (uint16_t)(wnd + 1);
		o.wscale = (int8_t)((wnd >> 3) % 16 - 1);
		o.sack_ok = how & 1;
		f->ts[who] = how & 2;
	} else {
		o.nsack = how >> 4 & 3;
	}
	for (uint32_t i = 0; i < o.nsack; i++) {
		uint32_t from = ack + (uint32_t)(how & 7) * (i * 200 + 1);
		o.sack[i] = (struct tcp_range){from, from + (how & 8 ? 1460u : 100u)};
	}
	o.ts = f->ts[who] && how != 255;
	o.ts_val = (uint32_t)(f->now / NS_PER_MS) - (how == 254 ? 100000 : 0);
	return tcp_opts_build(p, &o);
}

/* A segment with numbers near the right ones. */
static void op_segment(struct fuzz *f)
{
	uint8_t who = rd_u8(&f->in) % PEERS, flags = rd_u8(&f->in) & 0x1f;
	int32_t dseq = (int8_t)rd_u8(&f->in), dack = (int8_t)rd_u8(&f->in);
	uint32_t len = rd_u8(&f->in), wnd = (uint32_t)rd_u8(&f->in) << 3, nopts = 0;
	uint8_t *p = new_frame(f);
	if (dseq & 1) /* far away, too */
		dseq *= 97;
	if (len > 200)
		len = (len - 200) * 25;
	eth_build(
		p, (const uint8_t *)"\2\0\0\0\0\2", (const uint8_t *)"\2\0\0\0\0\1", ETH_TYPE_IPV4);
	uint32_t seq = f->seq[who] + (uint32_t)dseq, ack = f->ack[who] + (uint32_t)dack;
	nopts = op_options(f, p + 54, who, flags, wnd, ack);
	ip_build(p + 14, PEER, US, IP_PROTO_TCP, 20 + nopts + len, false);
	struct tcp_ctl c = {.src_port = (uint16_t)(who + 1),
		.dst_port = PORT,
		.seq = seq,
		.ack = ack,
		.wnd = (uint16_t)wnd,
		.flags = flags};
	tcp_hdr_build(p + 34, &c, 20 + nopts);
	memset(p + 54 + nopts, 'x', len);
	frame_in(f, p, 54 + nopts + len);
}

static void op_app(struct fuzz *f)
{
	uint8_t what = rd_u8(&f->in), n = rd_u8(&f->in);
	ipstack_conn_t c = f->conn[what / 8 % array_size(f->conn)];
	struct net_iov iov[2] = {{.p = lent_bytes, .len = n}, {.p = lent_bytes, .len = n * 24u}};
	switch (what % 8) {
	case 0:
	case 1:
		if (ipstack_send(f->s, f->now, c, iov, 2, f->lent % 7 + 1) == 0)
			f->lent += f->lent % 7 + 1;
		break;
	case 2:
		ipstack_pause(f->s, c, true);
		break;
	case 3:
		ipstack_pause(f->s, c, false);
		break;
	case 4:
		ipstack_close(f->s, f->now, c);
		break;
	case 5:
		if (n % 4 == 0)
			ipstack_abort(f->s, c);
		break;
	case 6:
		ipstack_connect(f->s, f->now, PEER, (uint16_t)(1 + n % PEERS), PORT,
			&f->conn[f->nconn++ % array_size(f->conn)]);
		break;
	case 7:
		if (n == 0)
			ipstack_link_up(f->s, f->now);
		break;
	}
}

static void op_time(struct fuzz *f)
{
	uint8_t n = rd_u8(&f->in);
	f->now += n < 224 ? n * NS_PER_MS : (uint64_t)(n - 223) * 50 * NS_PER_MS;
	ipstack_timers(f->s, f->now);
}

static void op_arp(struct fuzz *f)
{
	uint8_t *p = new_frame(f), *a = p + 14;
	eth_build(p, eth_broadcast, (const uint8_t *)"\2\0\0\0\0\1", ETH_TYPE_ARP);
	memcpy(a, "\0\1\x08\0\6\4\0\1\2\0\0\0\0\1\x0a\0\0\1\0\0\0\0\0\0\x0a\0\0\2", 28);
	a[7] = 1 + rd_u8(&f->in) % 2;
	frame_in(f, p, 42);
}

static void step(struct fuzz *f)
{
	switch (rd_u8(&f->in) % 8) {
	case 0:
		op_raw_frame(f);
		break;
	case 1:
	case 2:
	case 3:
		op_segment(f);
		break;
	case 4:
		op_app(f);
		break;
	case 5:
		op_time(f);
		break;
	case 6:
		op_arp(f);
		break;
	case 7:
		turn(f, rd_u8(&f->in));
		break;
	}
	ipstack_check(f->s);
}

static void config_init(struct ipstack_config *c, uint8_t how)
{
	ipstack_config_defaults(c);
	memcpy(c->mac, "\2\0\0\0\0\2", 6);
	c->ip = US;
	c->prefix_len = 24;
	c->max_conns = 4;
	c->max_time_wait = 2;
	c->syn_backlog = 2;
	c->neighbours = 2;
	c->ctl_frames = 8;
	c->rx_burst = 1 + how % 8;
	c->rx_window_bytes = 1024u << (how >> 3 & 7);
	c->rx_chunks = 8;
	c->rx_chunks_per_conn = 4;
	c->tx_segments = 16;
	c->send_slots = 16;
	c->send_slots_per_conn = 8;
	/* a tenth of what is usual, so that short inputs reach all timers, and ticks are few */
	c->keepalive_idle_ns = 500 * NS_PER_MS;
	c->time_wait_ns = c->syn_timeout_ns = 200 * NS_PER_MS;
	c->user_timeout_ns = 3 * NS_PER_S;
	c->fin_wait2_ns = NS_PER_S;
	c->rto_initial_ns = 100 * NS_PER_MS;
	c->rto_min_ns = 20 * NS_PER_MS;
	c->fixed_isn = true;
	c->isn = 0xffffff00u;
}

/* Everything ends: handles die, cookies come back, pools are full again. */
static void end(struct fuzz *f)
{
	struct ipstack_usage u;
	turn(f, UINT32_MAX);
	for (uint32_t i = 0; i < 4; i++)
		ipstack_abort(f->s, ipstack_conn_at(f->s, i));
	turn(f, UINT32_MAX);
	f->now += 2 * f->s->cfg.time_wait_ns;
	ipstack_timers(f->s, f->now);
	turn(f, UINT32_MAX);
	ipstack_usage_get(f->s, &u);
	CHECK(u.conns == 0 && u.time_wait == 0 && u.send_slots == 0 && u.rx_chunks == 0);
	CHECK(f->lent == f->reported);
	ipstack_destroy(f->s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fuzz f;
	struct ipstack_config cfg;
	memset((uint8_t *)&f + offsetof(struct fuzz, in), 0, sizeof(f) - offsetof(struct fuzz, in));
	f.in = rd_of(data, min_of(size, (size_t)4096));
	f.now = NS_PER_S;
	config_init(&cfg, rd_u8(&f.in));
	f.s = ipstack_create(&cfg, f.now);
	CHECK(f.s && ipstack_listen(f.s, PORT) == 0);
	for (uint32_t i = 0; i < PEERS; i++)
		f.seq[i] = 0xfffffff0u;
	while (rd_left(&f.in) > 0)
		step(&f);
	end(&f);
	return 0;
}
