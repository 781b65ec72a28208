/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SYN cookies (RFC 4987 section 3.6): when all half-open connections are taken, the SYN-ACK carries
 * in its sequence number all that has to be remembered, and the ACK brings it back.
 *
 *	31..27 minute, modulo 32 | 26..24 index of the MSS | 23..0 keyed hash of both and the peer
 *
 * What else the SYN offered is in the low bits of our timestamp, if the peer has timestamps; a peer
 * without them gets neither window scale nor SACK.
 */
#include "net/tcp.h"

#include "base/bytes.h"
#include "base/clock.h"

#define COOKIE_PERIOD_NS (60 * NS_PER_S)
#define COOKIE_PERIODS 2 /* so long an ACK may take, at least one less */
#define COOKIE_TS_BITS 6 /* window scale + 1, SACK, one unused */
#define COOKIE_TS_MASK ((1u << COOKIE_TS_BITS) - 1)

static const uint16_t cookie_mss[8] = {TCP_MSS_MIN, 256, 536, 1024, 1220, 1440, 1460, 8960};

static uint64_t cookie_hash(
	const struct tcp *t, const struct tcp_seg *seg, uint32_t irs, uint64_t period, uint32_t mss)
{
	uint8_t b[24];
	be32_put(b, seg->src_ip);
	be16_put(b + 4, seg->src_port);
	be16_put(b + 6, seg->dst_port);
	be32_put(b + 8, irs);
	be64_put(b + 12, period);
	be32_put(b + 20, mss);
	return siphash(t->isn_key, 2, 4, b, sizeof(b));
}

static uint32_t cookie_of(
	const struct tcp *t, const struct tcp_seg *seg, uint32_t irs, uint64_t period, uint32_t mss)
{
	uint32_t hash = (uint32_t)cookie_hash(t, seg, irs, period, mss) & 0xffffff;
	return (uint32_t)(period & 31) << 27 | mss << 24 | hash;
}

/*
 * A cookie opens one connection. The peer may close it long before the cookie is too old, and
 * nothing would tell a late duplicate of the ACK, with its data, from a new connection: those that
 * were taken are known by a hash, a table of which the newest stay.
 */
static uint64_t *cookie_place(
	struct tcp *t, const struct tcp_seg *seg, uint32_t irs, uint64_t *hash)
{
	uint32_t cookie = seg->ack - 1;
	*hash = cookie_hash(t, seg, irs, cookie >> 27, cookie) | 1; /* 0: nobody's */
	return &t->cookies_spent[*hash >> 32 & (TCP_COOKIES_SPENT - 1)];
}

void tcp_cookie_spend(struct tcp *t, const struct tcp_seg *seg, uint32_t irs)
{
	uint64_t hash, *place = cookie_place(t, seg, irs, &hash);
	*place = hash;
}

/* The timestamp of now, not above it, with what the SYN offered in its low bits. */
static uint32_t cookie_ts(uint32_t ts, uint32_t bits)
{
	uint32_t v = (ts & ~COOKIE_TS_MASK) | bits;
	return tcp_ts_older(ts, v) ? v - (1u << COOKIE_TS_BITS) : v;
}

void tcp_cookie_send(struct tcp *t, uint64_t now_ns, const struct tcp_seg *seg)
{
	const struct tcp_opts *o = &seg->opts;
	uint32_t peer_mss = o->mss ? o->mss : TCP_MSS_DEFAULT, i = array_size(cookie_mss) - 1;
	while (i > 0 && cookie_mss[i] > peer_mss)
		i--;
	bool ts = o->ts && t->cfg->timestamps, sack = ts && o->sack_ok && t->cfg->sack;
	bool scale = ts && o->wscale >= 0;
	uint32_t bits = (scale ? (uint32_t)o->wscale + 1 : 0) | (sack ? 1u << 4 : 0);
	uint64_t key = flow_key(seg->src_ip, seg->src_port, seg->dst_port);
	struct tcp_ctl c = {.dst_ip = seg->src_ip,
		.src_port = seg->dst_port,
		.dst_port = seg->src_port,
		.seq = cookie_of(t, seg, seg->seq, now_ns / COOKIE_PERIOD_NS, i),
		.ack = seg->seq + 1,
		.wnd = (uint16_t)min_of(t->cfg->rx_window_bytes, 65535u),
		.flags = TCP_SYN | TCP_ACK,
		.mss = t->mss,
		.sack_ok = sack,
		.scaled = scale,
		.wscale = t->wscale,
		.ts = ts,
		.ts_val = cookie_ts(tcp_ts_now(tcp_ts_offset(t, key), now_ns), bits),
		.ts_ecr = o->ts_val};
	t->cookie_ns = now_ns;
	metric_add(&t->m->tcp_cookies_out_total, 1);
	tcp_ctl_push(t, &c);
}

bool tcp_cookies_out(const struct tcp *t, uint64_t now_ns)
{
	return t->cookie_ns != 0 && now_ns - t->cookie_ns <= COOKIE_PERIODS * COOKIE_PERIOD_NS;
}

bool tcp_cookie_check(struct tcp *t, uint64_t now_ns, const struct tcp_seg *seg, uint32_t irs,
	struct tcp_opts *syn)
{
	if (!tcp_cookies_out(t, now_ns)) /* nobody is to have time for guesses */
		return false;
	uint32_t cookie = seg->ack - 1, mss = cookie >> 24 & 7;
	uint64_t period = now_ns / COOKIE_PERIOD_NS;
	uint64_t age = (period - (cookie >> 27)) & 31;
	if (age >= COOKIE_PERIODS || age > period ||
		cookie != cookie_of(t, seg, irs, period - age, mss))
		return false;
	uint64_t hash, *place = cookie_place(t, seg, irs, &hash);
	if (*place == hash) {
		metric_add(&t->m->tcp_cookies_spent_total, 1);
		return false;
	}
	*syn = (struct tcp_opts){.mss = cookie_mss[mss], .wscale = -1};
	if (seg->opts.ts && t->cfg->timestamps) {
		uint32_t bits = seg->opts.ts_ecr & COOKIE_TS_MASK;
		syn->ts = true;
		syn->ts_val = seg->opts.ts_val;
		syn->wscale = (int8_t)min_of((int)(bits & 15) - 1, TCP_WSCALE_MAX);
		syn->sack_ok = bits & 1u << 4;
	}
	return true;
}
