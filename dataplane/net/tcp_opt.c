/* SPDX-License-Identifier: Apache-2.0 */
/* TCP headers and options from bytes and back (RFC 9293 section 3.1, 3.2; RFC 7323 section 2). */
#include "net/tcp.h"

#include "base/bytes.h"
#include "net/ip.h"

#define OPT_END 0
#define OPT_NOP 1
#define OPT_MSS 2
#define OPT_WSCALE 3

bool tcp_opts_parse(const uint8_t *p, uint32_t n, struct tcp_opts *o)
{
	bool good = true;
	*o = (struct tcp_opts){.mss = 0, .wscale = -1};
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
		if (p[0] == OPT_MSS && len == 4)
			o->mss = be16_get(p + 2);
		else if (p[0] == OPT_WSCALE && len == 3)
			o->wscale = (int8_t)min_of(p[2], TCP_WSCALE_MAX);
		else if (p[0] == OPT_MSS || p[0] == OPT_WSCALE)
			good = false;
		p += len;
		n -= len;
	}
	return good;
}

uint32_t tcp_opts_build(uint8_t *p, uint16_t mss, int wscale)
{
	p[0] = OPT_MSS;
	p[1] = 4;
	be16_put(p + 2, mss);
	if (wscale < 0)
		return 4;
	p[4] = OPT_NOP;
	p[5] = OPT_WSCALE;
	p[6] = 3;
	p[7] = (uint8_t)wscale;
	return 8;
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
	if ((seg->flags & TCP_SYN) &&
		!tcp_opts_parse(p + TCP_HDR_LEN, hdr - TCP_HDR_LEN, &seg->opts))
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
