/* SPDX-License-Identifier: Apache-2.0 */
/* TCP headers and options from bytes and back (RFC 9293 section 3.1, 3.2; RFC 7323 section 2). */
#include "net/tcp.h"

#include "base/bytes.h"
#include "net/ip.h"

#define OPT_END 0
#define OPT_NOP 1
#define OPT_MSS 2
#define OPT_WSCALE 3
#define OPT_SACK_OK 4
#define OPT_SACK 5
#define OPT_TS 8

/* Takes one option in; false when its length does not fit its kind. */
static bool opt_take(const uint8_t *p, uint32_t len, struct tcp_opts *o)
{
	switch (p[0]) {
	case OPT_MSS:
		if (len != 4)
			return false;
		o->mss = be16_get(p + 2);
		return true;
	case OPT_WSCALE:
		if (len != 3)
			return false;
		o->wscale = (int8_t)min_of(p[2], TCP_WSCALE_MAX);
		return true;
	case OPT_SACK_OK:
		o->sack_ok |= len == 2;
		return len == 2;
	case OPT_TS:
		if (len != 10)
			return false;
		o->ts = true;
		o->ts_val = be32_get(p + 2);
		o->ts_ecr = be32_get(p + 6);
		return true;
	case OPT_SACK:
		if (len % 8 != 2 || len == 2)
			return false;
		for (uint32_t i = 2; i < len && o->nsack < TCP_SACKS_MAX; i += 8)
			o->sack[o->nsack++] =
				(struct tcp_range){be32_get(p + i), be32_get(p + i + 4)};
		return true;
	default:
		return true;
	}
}

bool tcp_opts_parse(const uint8_t *p, uint32_t n, struct tcp_opts *o)
{
	bool good = true;
	o->mss = 0;
	o->wscale = -1;
	o->sack_ok = o->ts = false;
	o->nsack = 0;
	while (n > 0 && p[0] != OPT_END) {
		if (p[0] == OPT_NOP) {
			p++;
			n--;
			continue;
		}
		/* a length below 2 would stand still, one beyond the header would run over it */
		if (n < 2 || p[1] < 2 || p[1] > n)
			return false;
		uint32_t len = p[1];
		good &= opt_take(p, len, o);
		p += len;
		n -= len;
	}
	return good;
}

/* kind and length, behind what aligns the option's end. */
static uint8_t *opt_begin(uint8_t *p, uint32_t nops, uint8_t kind, uint8_t len)
{
	while (nops--)
		*p++ = OPT_NOP;
	p[0] = kind;
	p[1] = len;
	return p + 2;
}

uint32_t tcp_opts_build(uint8_t *p, const struct tcp_opts *o)
{
	uint8_t *q = p;
	if (o->mss) {
		be16_put(opt_begin(q, 0, OPT_MSS, 4), o->mss);
		q += 4;
	}
	if (o->sack_ok)
		q = opt_begin(q, o->ts ? 0 : 2, OPT_SACK_OK, 2);
	if (o->ts) {
		q = opt_begin(q, o->sack_ok ? 0 : 2, OPT_TS, 10);
		be32_put(q, o->ts_val);
		be32_put(q + 4, o->ts_ecr);
		q += 8;
	}
	if (o->wscale >= 0) {
		q = opt_begin(q, 1, OPT_WSCALE, 3);
		*q++ = (uint8_t)o->wscale;
	}
	if (o->nsack) {
		q = opt_begin(q, 2, OPT_SACK, (uint8_t)(2 + 8 * o->nsack));
		for (uint32_t i = 0; i < o->nsack; i++, q += 8) {
			be32_put(q, o->sack[i].from);
			be32_put(q + 4, o->sack[i].to);
		}
	}
	return (uint32_t)(q - p);
}

uint32_t tcp_ctl_build(uint8_t *p, const struct tcp_ctl *c)
{
	struct tcp_opts o = {.mss = c->mss,
		.wscale = c->scaled ? (int8_t)c->wscale : -1,
		.sack_ok = c->sack_ok,
		.ts = c->ts,
		.ts_val = c->ts_val,
		.ts_ecr = c->ts_ecr};
	uint32_t len = TCP_HDR_LEN + tcp_opts_build(p + TCP_HDR_LEN, &o);
	tcp_hdr_build(p, c, len);
	return len;
}

static bool tcp_checksum_good(const uint8_t *p, uint32_t len, uint32_t src_ip, uint32_t dst_ip)
{
	uint64_t sum = ip_pseudo_sum(src_ip, dst_ip, IP_PROTO_TCP, len);
	return ip_sum_fold(ip_sum(sum, p, len)) == 0;
}

bool tcp_seg_parse(const uint8_t *p, uint32_t len, uint32_t src_ip, uint32_t dst_ip,
	bool checksum_ok, struct tcp_seg *seg, struct ipstack_metrics *m)
{
	metric_add(&m->tcp_segs_in_total, 1);
	if (len < TCP_HDR_LEN) {
		metric_add(&m->tcp_drop_short_total, 1);
		return false;
	}
	uint32_t hdr = (uint32_t)(p[12] >> 4) * 4;
	if (hdr < TCP_HDR_LEN || hdr > len) {
		metric_add(&m->tcp_drop_short_total, 1);
		return false;
	}
	if (!checksum_ok && !tcp_checksum_good(p, len, src_ip, dst_ip)) {
		metric_add(&m->tcp_drop_checksum_total, 1);
		return false;
	}
	*seg = (struct tcp_seg){.src_ip = src_ip,
		.src_port = be16_get(p),
		.dst_port = be16_get(p + 2),
		.seq = be32_get(p + 4),
		.ack = be32_get(p + 8),
		.flags = p[13] & (TCP_FIN | TCP_SYN | TCP_RST | TCP_PSH | TCP_ACK),
		.wnd = be16_get(p + 14),
		.opts = {.wscale = -1},
		.data = p + hdr,
		.len = len - hdr};
	if (seg->src_port == 0 || seg->dst_port == 0) {
		metric_add(&m->tcp_drop_port_total, 1);
		return false;
	}
	if ((seg->flags & TCP_SYN) && (seg->flags & (TCP_FIN | TCP_RST))) {
		metric_add(&m->tcp_drop_flags_total, 1);
		return false;
	}
	if (hdr > TCP_HDR_LEN && !tcp_opts_parse(p + TCP_HDR_LEN, hdr - TCP_HDR_LEN, &seg->opts))
		metric_add(&m->tcp_bad_option_total, 1);
	return true;
}

void tcp_hdr_build(uint8_t *p, const struct tcp_ctl *c, uint32_t hdr_len)
{
	be16_put(p, c->src_port);
	be16_put(p + 2, c->dst_port);
	be32_put(p + 4, c->seq);
	be32_put(p + 8, c->ack);
	p[12] = (uint8_t)(hdr_len / 4 << 4);
	p[13] = c->flags;
	be16_put(p + 14, c->wnd);
	be32_put(p + 16, 0); /* checksum, urgent pointer */
}

void tcp_hdr_checksum(uint8_t *p, uint32_t hdr_len, uint32_t src_ip, uint32_t dst_ip,
	const struct net_iov *iov, uint32_t count, uint32_t pseudo_len, bool offload)
{
	uint64_t sum = ip_pseudo_sum(src_ip, dst_ip, IP_PROTO_TCP, pseudo_len);
	if (offload) { /* the port adds the rest and inverts */
		be16_put(p + 16, (uint16_t)~ip_sum_fold(sum));
		return;
	}
	sum = ip_sum(sum, p, hdr_len);
	sum = ip_sum_iov(sum, iov, count);
	be16_put(p + 16, ip_sum_fold(sum));
}
