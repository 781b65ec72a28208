/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plays every script of tests/packets against a stack in virtual time, one test per script. The
 * language is in tests/packets/README.md. `test_packets FILE...` plays single scripts.
 *
 * Options and checksums are read and written here, not by the code under test.
 */
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/bytes.h"
#include "base/check.h"
#include "net/arp.h"
#include "net/ip.h"
#include "packet_script.h"

#define US 0x0a000002u
#define PEER 0x0a000001u
#define OUR_PORT 9092
#define PEER_PORT 50000
#define START_NS (100 * NS_PER_S)
#define OUT_MAX 512
#define FRAME_MAX 9100

struct sent_pkt {
	uint64_t at_ns;
	uint8_t flags;
	uint32_t seq, ack, win, len;
	struct pkt_opts opts;
};

struct play {
	const char *name;
	uint32_t line;
	struct ipstack_config cfg;
	struct ipstack *s;
	uint64_t now_ns, last_ns; /* last_ns: when the step before happened */
	uint16_t peer_port;
	uint32_t isn, peer_isn;
	bool have_isn, active, unknown; /* unknown: the peer has not been heard of */
	uint32_t ts_base;		/* our first timestamp is 0 for the script */
	bool have_ts;
	struct sent_pkt out[OUT_MAX];
	uint32_t out_head, out_count;
	struct ipstack_event ev[64];
	uint32_t ev_head, ev_count;
	uint8_t got[1 << 20];
	uint32_t got_bytes, read_bytes;
	ipstack_conn_t conn;
	uint8_t lent[1 << 20];
	uint32_t lent_bytes, stream_from; /* lent to this connection: from there on */
	uint8_t frames[64][FRAME_MAX];
	uint32_t next_frame;
};

static void play_fail(const struct play *p, const char *what)
{
	char buf[1024];
	if (p->s)
		ipstack_dump(p->s, buf, sizeof(buf));
	fail_msg("%s:%u at %.6f s: %s\n%s", p->name, p->line, (double)(p->now_ns - START_NS) / 1e9,
		what, p->s ? buf : "");
}

#define PLAY(p, cond)                                                                              \
	do {                                                                                       \
		if (!(cond))                                                                       \
			play_fail(p, #cond);                                                       \
	} while (0)

/* The bytes of both directions, by relative sequence number. */
static uint8_t stream_byte(uint32_t seq)
{
	return (uint8_t)(seq * 31 + (seq >> 8) + 7);
}

/* ---- frames out of the stack ---- */

static void opts_read(struct play *p, const uint8_t *o, uint32_t n, bool syn, struct pkt_opts *to)
{
	to->wscale = -1;
	while (n > 0 && o[0] != 0) {
		if (o[0] == 1) {
			o++;
			n--;
			continue;
		}
		PLAY(p, n >= 2 && o[1] >= 2 && o[1] <= n);
		if (o[0] == 2) {
			PLAY(p, syn && o[1] == 4);
			to->mss = be16_get(o + 2);
		} else if (o[0] == 3) {
			PLAY(p, syn && o[1] == 3);
			to->wscale = o[2];
		} else if (o[0] == 4) {
			PLAY(p, syn && o[1] == 2);
			to->sack_ok = true;
		} else if (o[0] == 5) {
			PLAY(p, !syn && o[1] % 8 == 2 && o[1] <= 34);
			for (uint32_t i = 2; i < o[1]; i += 8, to->nsack++) {
				to->sack[to->nsack][0] = be32_get(o + i) - p->peer_isn;
				to->sack[to->nsack][1] = be32_get(o + i + 4) - p->peer_isn;
			}
		} else if (o[0] == 8) {
			PLAY(p, o[1] == 10);
			if (!p->have_ts)
				p->ts_base = be32_get(o + 2);
			p->have_ts = true;
			to->ts.given = true;
			to->ts.val = (int32_t)(be32_get(o + 2) - p->ts_base);
			to->ts.ecr = be32_get(o + 6);
		} else {
			play_fail(p, "an option of an unknown kind was sent");
		}
		n -= o[1];
		o += o[1];
	}
}

static void check_payload(struct play *p, const uint8_t *data, uint32_t len, uint32_t seq)
{
	for (uint32_t i = 0; i < len; i++)
		if (data[i] != stream_byte(seq + i))
			play_fail(p, "a byte that was sent is not the one that was queued");
}

static void frame_out(struct play *p, const struct ip_out_frame *o)
{
	static uint8_t flat[1 << 17];
	uint32_t len = o->hdr_len;
	memcpy(flat, o->hdr, len);
	for (uint32_t i = 0; i < o->nslices; i++) {
		memcpy(flat + len, o->slice[i].p, o->slice[i].len);
		len += o->slice[i].len;
	}
	if (be16_get(flat + 12) != 0x0800 || flat[23] != IP_PROTO_TCP)
		return;
	const uint8_t *ip = flat + 14, *tcp = ip + 20;
	uint32_t l4 = len - 34, hdr = (uint32_t)(tcp[12] >> 4) * 4;
	PLAY(p, be16_get(ip + 2) == len - 14 || o->tso_mss > 0);
	PLAY(p, len - 14 <= p->cfg.mtu || o->tso_mss > 0);
	PLAY(p, hdr >= 20 && hdr <= l4);
	if (!o->tso_mss)
		PLAY(p, ip_sum_fold(ip_sum(ip_pseudo_sum(US, PEER, IP_PROTO_TCP, l4), tcp, l4)) ==
				0);
	PLAY(p, p->out_count < OUT_MAX);
	struct sent_pkt *s = &p->out[(p->out_head + p->out_count++) % OUT_MAX];
	*s = (struct sent_pkt){.at_ns = p->now_ns, .flags = tcp[13], .len = l4 - hdr};
	s->win = be16_get(tcp + 14);
	if ((s->flags & TCP_SYN) && !p->have_isn) {
		p->isn = be32_get(tcp + 4);
		p->have_isn = true;
		if (p->active)
			p->peer_port = be16_get(tcp + 2) == OUR_PORT ? p->peer_port : PEER_PORT;
	}
	s->seq = be32_get(tcp + 4) - p->isn;
	s->ack = s->flags & TCP_ACK ? be32_get(tcp + 8) - p->peer_isn : 0;
	opts_read(p, tcp + 20, hdr - 20, s->flags & TCP_SYN, &s->opts);
	check_payload(p, tcp + hdr, s->len, s->seq);
}

static void arp_from_peer(struct play *p)
{
	uint8_t f[ARP_FRAME_LEN] = {
		2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1};
	be32_put(f + 28, PEER);
	be32_put(f + 38, US);
	ipstack_input(p->s, p->now_ns, f, sizeof(f), false, false, NULL);
}

static void event_in(struct play *p, const struct ipstack_event *ev)
{
	if (ev->kind == IPSTACK_EV_DATA) {
		PLAY(p, p->got_bytes + ev->data.len <= sizeof(p->got));
		memcpy(p->got + p->got_bytes, ev->data.p, ev->data.len);
		p->got_bytes += ev->data.len;
		return;
	}
	if (ev->kind == IPSTACK_EV_ACCEPTED)
		p->conn = ev->conn;
	if (ev->kind == IPSTACK_EV_SENT)
		return;
	PLAY(p, p->ev_count < array_size(p->ev));
	p->ev[(p->ev_head + p->ev_count++) % array_size(p->ev)] = *ev;
}

/* What a shell does after input. */
static void play_turn(struct play *p)
{
	struct ipstack_event ev;
	struct ip_out_frame out[4];
	uint32_t n;
	ipstack_timers(p->s, p->now_ns);
	ipstack_check(p->s);
	while (ipstack_event_pop(p->s, &ev))
		event_in(p, &ev);
	ipstack_release(p->s);
	while ((n = ipstack_tx_pop(p->s, p->now_ns, out, 4)) > 0)
		for (uint32_t i = 0; i < n; i++)
			frame_out(p, &out[i]);
	ipstack_check(p->s);
}

/* Time passes until end, or until something has been sent. */
static void play_until(struct play *p, uint64_t end_ns, bool stop_at_packet)
{
	while (!stop_at_packet || p->out_count == 0) {
		uint64_t next = ipstack_next_timer_ns(p->s);
		if (next > end_ns)
			break;
		p->now_ns = max_of(p->now_ns, next);
		play_turn(p);
	}
	if (!stop_at_packet || p->out_count == 0)
		p->now_ns = max_of(p->now_ns, end_ns);
	play_turn(p);
}

/* ---- steps ---- */

static uint32_t opts_write(const struct play *p, const struct pkt_opts *o, uint8_t *to)
{
	uint32_t n = 0;
	if (o->mss) {
		to[n] = 2;
		to[n + 1] = 4;
		be16_put(to + n + 2, (uint16_t)o->mss);
		n += 4;
	}
	if (o->sack_ok) {
		to[n] = 4;
		to[n + 1] = 2;
		n += 2;
	}
	if (o->ts.given) {
		to[n] = 8;
		to[n + 1] = 10;
		be32_put(to + n + 2, (uint32_t)o->ts.val);
		be32_put(to + n + 6, (uint32_t)o->ts.ecr + (p->have_ts ? p->ts_base : 0));
		n += 10;
	}
	if (o->wscale >= 0) {
		to[n] = 3;
		to[n + 1] = 3;
		to[n + 2] = (uint8_t)o->wscale;
		n += 3;
	}
	if (o->nsack) {
		to[n] = 5;
		to[n + 1] = (uint8_t)(2 + 8 * o->nsack);
		for (uint32_t i = 0; i < o->nsack; i++) {
			be32_put(to + n + 2 + 8 * i, o->sack[i][0] + p->isn);
			be32_put(to + n + 6 + 8 * i, o->sack[i][1] + p->isn);
		}
		n += 2 + 8 * o->nsack;
	}
	memcpy(to + n, o->raw, o->nraw);
	n += o->nraw;
	while (n % 4)
		to[n++] = 1;
	return n;
}

/* Makes a frame odd; returns its length. */
static uint32_t frame_as(struct play *p, uint8_t *f, uint32_t len, const char *as, bool *sum_ok)
{
	uint8_t *ip = f + 14;
	bool resum = true;
	if (strcmp(as, "") == 0)
		return len;
	if (strcmp(as, "padded") == 0) { /* Ethernet's shortest frame has 60 bytes */
		memset(f + len, 0xee, 6);
		return len + 6;
	}
	if (strcmp(as, "bad_sum") == 0 || strcmp(as, "sum_by_port") == 0) {
		f[34 + 16] ^= 0xff;
		*sum_ok = as[0] == 's';
		return len;
	}
	if (strcmp(as, "fragment") == 0)
		ip[6] = 0x20; /* more fragments */
	else if (strcmp(as, "last_fragment") == 0)
		be16_put(ip + 6, 100);
	else if (strcmp(as, "cut_off") == 0)
		be16_put(ip + 2, (uint16_t)(len - 14 + 1));
	else if (strcmp(as, "ttl_0") == 0)
		ip[8] = 0;
	else if (strcmp(as, "ce") == 0)
		ip[1] = 3;
	else if (strcmp(as, "tagged") == 0)
		be16_put(f + 12, 0x8100);
	else if (strcmp(as, "broadcast") == 0)
		memset(f, 0xff, 6);
	else if (strcmp(as, "bad_ip_sum") == 0)
		resum = false;
	else
		play_fail(p, as);
	be16_put(ip + 10, 0);
	be16_put(ip + 10, (uint16_t)(ip_sum_fold(ip_sum(0, ip, 20)) ^ (resum ? 0 : 1)));
	return len;
}

static void step_in(struct play *p, const struct step *st)
{
	uint8_t *f = p->frames[p->next_frame++ % array_size(p->frames)], opts[80] = {0};
	uint32_t nopts = opts_write(p, &st->opts, opts), hdr = TCP_HDR_LEN + nopts;
	PLAY(p, nopts <= 40 && 34 + hdr + st->len <= FRAME_MAX);
	memcpy(f, "\2\0\0\0\0\2\2\0\0\0\0\1\x08\0", 14);
	ip_build(f + 14, PEER, US, IP_PROTO_TCP, hdr + st->len, false);
	struct tcp_ctl c = {.src_port = p->peer_port,
		.dst_port = OUR_PORT,
		.seq = st->seq + p->peer_isn,
		.ack = st->has_ack ? st->ack + p->isn : 0,
		.wnd = (uint16_t)(st->has_win ? st->win : 65535),
		.flags = st->flags};
	tcp_hdr_build(f + 34, &c, hdr);
	memcpy(f + 54, opts, nopts);
	for (uint32_t i = 0; i < st->len; i++)
		f[34 + hdr + i] = st->fill ? (uint8_t)st->fill : stream_byte(st->seq + i);
	uint64_t sum = ip_pseudo_sum(PEER, US, IP_PROTO_TCP, hdr + st->len);
	be16_put(f + 34 + 16, ip_sum_fold(ip_sum(sum, f + 34, hdr + st->len)));
	bool sum_ok = false;
	uint32_t len = frame_as(p, f, 34 + hdr + st->len, st->as, &sum_ok);
	ipstack_input(p->s, p->now_ns, f, len, false, sum_ok, f);
	play_turn(p);
}

static int packet_text(const struct sent_pkt *s, char *buf, size_t size)
{
	static const char letters[] = "FSRP.UEW";
	char flags[9];
	uint32_t n = 0;
	for (uint32_t i = 0; i < 8; i++)
		if (s->flags & 1u << i)
			flags[n++] = letters[i];
	flags[n] = 0;
	int k = snprintf(buf, size, "%s %u:%u(%u) ack %u win %u <mss %u wscale %d sackOK %d", flags,
		s->seq, s->seq + s->len, s->len, s->ack, s->win, s->opts.mss, s->opts.wscale,
		s->opts.sack_ok);
	if (s->opts.ts.given)
		k += snprintf(buf + k, size - (size_t)k, " TS val %lld ecr %lld",
			(long long)s->opts.ts.val, (long long)s->opts.ts.ecr);
	for (uint32_t i = 0; i < s->opts.nsack; i++)
		k += snprintf(buf + k, size - (size_t)k, " sack %u:%u", s->opts.sack[i][0],
			s->opts.sack[i][1]);
	return k + snprintf(buf + k, size - (size_t)k, ">");
}

static bool opts_same(const struct pkt_opts *want, const struct pkt_opts *is)
{
	if (want->nsack != is->nsack ||
		memcmp(want->sack, is->sack, want->nsack * sizeof(want->sack[0])) != 0)
		return false;
	if (!want->given)
		return true;
	return want->mss == is->mss && want->wscale == is->wscale && want->sack_ok == is->sack_ok &&
	       want->ts.given == is->ts.given &&
	       (!want->ts.given || ((want->ts.any_val || llabs(want->ts.val - is->ts.val) <= 1) &&
					   want->ts.ecr == is->ts.ecr));
}

static void step_out(struct play *p, const struct step *st)
{
	uint64_t due = p->last_ns + st->wait_ns;
	uint64_t latest = st->any_time ? p->last_ns + 1000 * NS_PER_S : due + st->slack_ns;
	char what[512];
	if (p->out_count == 0)
		play_until(p, latest, true);
	if (p->out_count == 0)
		play_fail(p, "nothing was sent");
	struct sent_pkt s = p->out[p->out_head];
	p->out_head = (p->out_head + 1) % OUT_MAX;
	p->out_count--;
	int n = packet_text(&s, what, sizeof(what));
	snprintf(what + n, sizeof(what) - (size_t)n, " was sent at %.6f s",
		(double)(s.at_ns - START_NS) / 1e9);
	/* PSH is free to the sender unless the script names it */
	uint8_t mask = st->flags & TCP_PSH ? 0xff : (uint8_t)~TCP_PSH;
	if (st->flags != (s.flags & mask) || st->seq != s.seq || st->len != s.len ||
		(st->has_ack && st->ack != s.ack) || (st->has_win && st->win != s.win) ||
		!opts_same(&st->opts, &s.opts))
		play_fail(p, what);
	if (!st->any_time && (s.at_ns > latest || s.at_ns + 1500 * NS_PER_US < due))
		play_fail(p, what);
	p->last_ns = s.at_ns;
}

static uint32_t call_number(struct play *p, const char *s)
{
	uint32_t v;
	if (!script_uint(s, &v))
		play_fail(p, "a number was expected");
	return v;
}

static void call_queue(struct play *p, uint32_t len)
{
	struct ipstack_conn_info info;
	PLAY(p, p->lent_bytes + len <= sizeof(p->lent));
	PLAY(p, ipstack_conn_info_get(p->s, p->conn, &info) == 0);
	uint8_t *at = p->lent + p->lent_bytes;
	for (uint32_t i = 0; i < len; i++)
		at[i] = stream_byte(1 + p->lent_bytes - p->stream_from + i);
	p->lent_bytes += len;
	struct net_iov iov = {.p = at, .len = len};
	PLAY(p, ipstack_send(p->s, p->now_ns, p->conn, &iov, 1, p->lent_bytes) == 0);
}

/* All DATA since the last read has this length and the right bytes. */
static void call_read(struct play *p, uint32_t len)
{
	char what[96];
	if (p->got_bytes - p->read_bytes != len) {
		snprintf(what, sizeof(what), "%u bytes have come", p->got_bytes - p->read_bytes);
		play_fail(p, what);
	}
	for (; p->read_bytes < p->got_bytes; p->read_bytes++)
		if (p->got[p->read_bytes] != stream_byte(1 + p->read_bytes))
			play_fail(p, "a byte that came is not the one that was sent");
}

static void call_event(struct play *p, const char *kind, const char *reason)
{
	static const char *const kinds[] = {
		"accepted", "connected", "data", "sent", "fin", "closed"};
	static const char *const reasons[] = {"normal", "reset", "refused", "timeout", "aborted"};
	if (p->ev_count == 0)
		play_fail(p, "there is no event");
	struct ipstack_event ev = p->ev[p->ev_head];
	p->ev_head = (p->ev_head + 1) % array_size(p->ev);
	p->ev_count--;
	if (strcmp(kind, kinds[ev.kind]) != 0)
		play_fail(p, kinds[ev.kind]);
	if (ev.kind == IPSTACK_EV_CLOSED && strcmp(reason, reasons[ev.closed.reason]) != 0)
		play_fail(p, reasons[ev.closed.reason]);
}

static uint64_t value_of(struct play *p, const char *name)
{
	struct ipstack_conn_info i = {0};
	uint32_t count;
	const struct metric_desc *t = ipstack_metric_table(&count);
	for (uint32_t k = 0; k < count; k++)
		if (strcmp(t[k].name, name) == 0 || strcmp(t[k].name + 6, name) == 0) /* stack_ */
			return ((const metric_t *)ipstack_metrics_of(p->s))[k].v;
	ipstack_conn_info_get(p->s, p->conn, &i);
	const struct {
		const char *name;
		uint64_t v;
	} values[] = {{"cwnd", i.cwnd}, {"ssthresh", i.ssthresh}, {"in_flight", i.in_flight},
		{"snd_wnd", i.snd_wnd}, {"rcv_wnd", i.rcv_wnd}, {"mss", i.mss},
		{"queued", i.queued_bytes}, {"rx_chunks", i.rx_chunks},
		{"srtt_ms", i.srtt_ns / NS_PER_MS}, {"rto_ms", i.rto_ns / NS_PER_MS},
		{"retransmits", i.retransmits}};
	for (uint32_t k = 0; k < array_size(values); k++)
		if (strcmp(values[k].name, name) == 0)
			return values[k].v;
	play_fail(p, name);
	return 0;
}

static void call_assert(struct play *p, const struct step *st)
{
	uint64_t is = value_of(p, st->word[1]), v = call_number(p, st->word[3]);
	const char *op = st->word[2];
	char what[128];
	bool good = strcmp(op, "==") == 0   ? is == v
		    : strcmp(op, "<") == 0  ? is < v
		    : strcmp(op, ">") == 0  ? is > v
		    : strcmp(op, "<=") == 0 ? is <= v
					    : strcmp(op, ">=") == 0 && is >= v;
	snprintf(what, sizeof(what), "%s is %llu", st->word[1], (unsigned long long)is);
	if (!good)
		play_fail(p, what);
}

static void call_state(struct play *p, const char *want)
{
	struct ipstack_conn_info i;
	const char *is = ipstack_conn_info_get(p->s, p->conn, &i) == 0 ? i.state : "gone";
	if (strcmp(is, want) != 0)
		play_fail(p, is);
}

static void play_start(struct play *p)
{
	if (p->s)
		return;
	p->s = ipstack_create(&p->cfg, p->now_ns);
	PLAY(p, p->s);
	PLAY(p, ipstack_listen(p->s, OUR_PORT) == 0);
	if (!p->unknown)
		arp_from_peer(p);
	play_turn(p);
}

/* The peer begins again with another number and without what it knew. */
static void call_peer(struct play *p, uint32_t isn)
{
	p->peer_isn = isn;
	p->have_isn = p->have_ts = false;
	p->lent_bytes = p->got_bytes = p->read_bytes = 0;
}

/* n ICMP echo requests. */
static void call_echo(struct play *p, uint32_t n)
{
	while (n--) {
		uint8_t *f = p->frames[p->next_frame++ % array_size(p->frames)], *icmp = f + 34;
		memcpy(f, "\2\0\0\0\0\2\2\0\0\0\0\1\x08\0", 14);
		ip_build(f + 14, PEER, US, IP_PROTO_ICMP, 16, false);
		memset(icmp, 0, 16);
		icmp[0] = 8;
		be16_put(icmp + 2, ip_sum_fold(ip_sum(0, icmp, 16)));
		ipstack_input(p->s, p->now_ns, f, 34 + 16, false, false, f);
		play_turn(p);
	}
}

/* Destination unreachable, about a segment of ours. */
static void call_icmp(struct play *p, uint32_t code, uint32_t mtu, uint32_t seq)
{
	uint8_t *f = p->frames[p->next_frame++ % array_size(p->frames)], *icmp = f + 34;
	memcpy(f, "\2\0\0\0\0\2\2\0\0\0\0\1\x08\0", 14);
	ip_build(f + 14, PEER, US, IP_PROTO_ICMP, 36, false);
	memset(icmp, 0, 36);
	icmp[0] = 3;
	icmp[1] = (uint8_t)code;
	be16_put(icmp + 6, (uint16_t)mtu);
	ip_build(icmp + 8, US, PEER, IP_PROTO_TCP, 1480, false);
	be16_put(icmp + 28, OUR_PORT);
	be16_put(icmp + 30, p->peer_port);
	be32_put(icmp + 32, seq + p->isn);
	be16_put(icmp + 2, ip_sum_fold(ip_sum(0, icmp, 36)));
	ipstack_input(p->s, p->now_ns, f, 34 + 36, false, false, f);
}

static void call_connect(struct play *p)
{
	p->active = true;
	PLAY(p, ipstack_connect(p->s, p->now_ns, PEER, p->peer_port, OUR_PORT, &p->conn) == 0);
}

static void call_config(struct play *p, const struct step *st)
{
	struct ipstack_config *c = &p->cfg;
	uint32_t v = call_number(p, st->word[2]);
	const char *name = st->word[1];
	const struct {
		const char *name;
		uint32_t *to;
	} numbers[] = {{"isn", &c->isn}, {"peer_isn", &p->peer_isn},
		{"rx_window", &c->rx_window_bytes}, {"rx_chunks", &c->rx_chunks},
		{"rx_chunks_per_conn", &c->rx_chunks_per_conn}, {"tso", &c->tso_max_bytes},
		{"syn_backlog", &c->syn_backlog}, {"max_conns", &c->max_conns},
		{"challenge_per_s", &c->challenge_acks_per_s}, {"resets_per_s", &c->resets_per_s},
		{"keepalive_probes", &c->keepalive_probes}, {"icmp_per_s", &c->icmp_replies_per_s},
		{"send_slots", &c->send_slots}, {"bytes_per_pass", &c->tx_bytes_per_pass}};
	const struct {
		const char *name;
		uint64_t *to;
	} times[] = {{"delack_ms", &c->delack_ns}, {"rto_min_ms", &c->rto_min_ns},
		{"rto_initial_ms", &c->rto_initial_ns}, {"rto_max_ms", &c->rto_max_ns},
		{"user_timeout_ms", &c->user_timeout_ns}, {"syn_timeout_ms", &c->syn_timeout_ns},
		{"keepalive_idle_ms", &c->keepalive_idle_ns},
		{"keepalive_interval_ms", &c->keepalive_interval_ns},
		{"time_wait_ms", &c->time_wait_ns}, {"fin_wait2_ms", &c->fin_wait2_ns}};
	PLAY(p, !p->s);
	for (uint32_t i = 0; i < array_size(numbers); i++)
		if (strcmp(numbers[i].name, name) == 0) {
			*numbers[i].to = v;
			return;
		}
	for (uint32_t i = 0; i < array_size(times); i++)
		if (strcmp(times[i].name, name) == 0) {
			*times[i].to = v * NS_PER_MS;
			return;
		}
	const struct {
		const char *name;
		bool *to;
	} flags[] = {{"fixed_isn", &c->fixed_isn}, {"sack", &c->sack},
		{"timestamps", &c->timestamps}, {"ecn", &c->ecn}, {"syn_cookies", &c->syn_cookies},
		{"unknown_peer", &p->unknown}};
	for (uint32_t i = 0; i < array_size(flags); i++)
		if (strcmp(flags[i].name, name) == 0) {
			*flags[i].to = v;
			return;
		}
	if (strcmp(name, "cubic") == 0) {
		c->congestion = v ? IPSTACK_CC_CUBIC : IPSTACK_CC_NEWRENO;
		return;
	}
	PLAY(p, strcmp(name, "mtu") == 0);
	c->mtu = (uint16_t)v;
}

/* What follows is about the peer with this port, and its connection if it has one (to which nothing
 * was lent yet, or nothing is any more). */
static void call_peer_port(struct play *p, uint16_t port)
{
	struct ipstack_conn_info info;
	p->peer_port = port;
	for (uint32_t i = 0; i < p->cfg.max_conns; i++) {
		ipstack_conn_t c = ipstack_conn_at(p->s, i);
		if (!c || ipstack_conn_info_get(p->s, c, &info) != 0 || info.peer_port != port)
			continue;
		p->conn = c;
		p->stream_from = p->lent_bytes;
	}
}

static void step_call(struct play *p, const struct step *st)
{
	const char *w = st->word[0];
	if (strcmp(w, "send") == 0 || strcmp(w, "queue") == 0)
		call_queue(p, call_number(p, st->word[1]));
	else if (strcmp(w, "read") == 0)
		call_read(p, call_number(p, st->word[1]));
	else if (strcmp(w, "event") == 0)
		call_event(p, st->word[1], st->word[2]);
	else if (strcmp(w, "state") == 0)
		call_state(p, st->word[1]);
	else if (strcmp(w, "assert") == 0)
		call_assert(p, st);
	else if (strcmp(w, "connect") == 0)
		call_connect(p);
	else if (strcmp(w, "close") == 0)
		ipstack_close(p->s, p->now_ns, p->conn);
	else if (strcmp(w, "abort") == 0)
		ipstack_abort(p->s, p->conn);
	else if (strcmp(w, "pause") == 0 || strcmp(w, "resume") == 0)
		ipstack_pause(p->s, p->conn, w[0] == 'p');
	else if (strcmp(w, "unlisten") == 0)
		ipstack_unlisten(p->s, OUR_PORT);
	else if (strcmp(w, "arp") == 0)
		arp_from_peer(p);
	else if (strcmp(w, "echo") == 0)
		call_echo(p, call_number(p, st->word[1]));
	else if (strcmp(w, "icmp") == 0)
		call_icmp(p, call_number(p, st->word[1]), call_number(p, st->word[2]),
			call_number(p, st->word[3]));
	else if (strcmp(w, "link_up") == 0)
		ipstack_link_up(p->s, p->now_ns);
	else if (strcmp(w, "peer_isn") == 0)
		call_peer(p, call_number(p, st->word[1]));
	else if (strcmp(w, "peer_port") == 0)
		call_peer_port(p, (uint16_t)call_number(p, st->word[1]));
	else if (strcmp(w, "nothing") != 0)
		play_fail(p, "a word that is none");
	if (strcmp(w, "queue") != 0 && strcmp(w, "peer_port") != 0)
		play_turn(p);
}

/* Whatever comes in or is called, and the end: all that was sent before must have been expected. */
static void nothing_left(struct play *p)
{
	char what[512];
	if (p->out_count == 0)
		return;
	packet_text(&p->out[p->out_head], what, sizeof(what));
	strncat(what, " was not expected", sizeof(what) - strlen(what) - 1);
	play_fail(p, what);
}

static void play_step(struct play *p, const struct step *st)
{
	if (st->kind == STEP_CALL && strcmp(st->word[0], "config") == 0) {
		call_config(p, st);
		return;
	}
	play_start(p);
	if (st->kind == STEP_OUT) {
		step_out(p, st);
		return;
	}
	/* a call at once may come before its predecessor's packets are named */
	uint64_t at = max_of(p->last_ns + st->wait_ns, p->now_ns);
	if (st->wait_ns > 0)
		play_until(p, at, false);
	if (st->wait_ns > 0 || st->kind == STEP_IN)
		nothing_left(p);
	p->last_ns = p->now_ns = at;
	if (st->kind == STEP_IN)
		step_in(p, st);
	else
		step_call(p, st);
}

static void play_defaults(struct play *p)
{
	ipstack_config_defaults(&p->cfg);
	memcpy(p->cfg.mac, "\2\0\0\0\0\2", 6);
	p->cfg.ip = US;
	p->cfg.prefix_len = 24;
	p->cfg.max_conns = 16;
	p->cfg.max_time_wait = 4;
	p->cfg.rx_window_bytes = 65535;
	p->cfg.rx_chunks = 256;
	p->cfg.rx_chunks_per_conn = 128;
	p->cfg.send_slots = 512;
	p->cfg.send_slots_per_conn = 512;
	p->cfg.keepalive_idle_ns = 0;
	p->cfg.fixed_isn = true;
	p->cfg.congestion = IPSTACK_CC_NEWRENO; /* windows that are easy to write down */
	p->cfg.isn = 0xffffff00u;		/* so that every script crosses the wrap */
	p->peer_isn = 0xfffffe00u;
	p->peer_port = PEER_PORT;
	p->now_ns = p->last_ns = START_NS;
}

static void plays_as_written(void **state)
{
	static struct play p;
	char line[512];
	memset(&p, 0, sizeof(p));
	const char *path = *state, *slash = strrchr(path, '/');
	p.name = slash ? slash + 1 : path;
	FILE *f = fopen(path, "re");
	assert_non_null(f);
	play_defaults(&p);
	uint32_t steps = 0;
	while (fgets(line, sizeof(line), f)) {
		struct step st;
		p.line++;
		if (!script_line(line, &st))
			play_fail(&p, "the line makes no sense");
		if (st.kind == STEP_NONE)
			continue;
		play_step(&p, &st);
		steps++;
	}
	fclose(f);
	assert_true(steps > 0);
	nothing_left(&p);
	if (p.ev_count > 0)
		play_fail(&p, "an event was not expected");
	ipstack_destroy(p.s);
}

#define RULES 39

/* The list of mistakes of other stacks: none without a script that names it. */
static void each_rule_has_a_script(void **state)
{
	glob_t g = {0};
	(void)state;
	for (unsigned rule = 1; rule <= RULES; rule++) {
		char pattern[256];
		snprintf(pattern, sizeof(pattern), MR_TESTS_DIR "/packets/rule_%02u_*.pkt", rule);
		if (glob(pattern, 0, NULL, &g) != 0)
			fail_msg("there is no %s", pattern);
		globfree(&g);
	}
}

int main(int argc, char **argv)
{
	glob_t g = {0};
	if (argc > 1) {
		g.gl_pathv = argv + 1;
		g.gl_pathc = (size_t)argc - 1;
	} else if (glob(MR_TESTS_DIR "/packets/*.pkt", 0, NULL, &g) != 0) {
		fprintf(stderr, "no scripts in " MR_TESTS_DIR "/packets\n");
		return 1;
	}
	struct CMUnitTest *tests = calloc(g.gl_pathc + 1, sizeof(*tests));
	for (size_t i = 0; i < g.gl_pathc; i++) {
		const char *slash = strrchr(g.gl_pathv[i], '/');
		tests[i] = (struct CMUnitTest){.name = slash ? slash + 1 : g.gl_pathv[i],
			.test_func = plays_as_written,
			.initial_state = g.gl_pathv[i]};
	}
	size_t ntests = g.gl_pathc;
	if (argc <= 1)
		tests[ntests++] = (struct CMUnitTest)cmocka_unit_test(each_rule_has_a_script);
	int failed = _cmocka_run_group_tests("packets", tests, ntests, NULL, NULL);
	free(tests);
	if (argc <= 1)
		globfree(&g);
	return failed;
}
