/* SPDX-License-Identifier: Apache-2.0 */
#include "net/ip.h"

#include "base/bytes.h"

/*
 * The Internet checksum does not depend on byte order (RFC 1071 section 2 B), so sums are taken
 * over little-endian 64-bit words, folded at the end and swapped once.
 */

/* One's complement addition: the carry comes back in at the low end. */
static inline uint64_t sum_add(uint64_t sum, uint64_t v)
{
	uint64_t r;
	return __builtin_add_overflow(sum, v, &r) ? r + 1 : r;
}

uint64_t ip_sum(uint64_t sum, const void *bytes, uint32_t len)
{
	const uint8_t *p = bytes;
	uint64_t b = 0, c = 0,
		 d = 0; /* side by side: an add need not wait for the last one's carry */
	for (; len >= 32; p += 32, len -= 32) {
		sum = sum_add(sum, le64_get(p));
		b = sum_add(b, le64_get(p + 8));
		c = sum_add(c, le64_get(p + 16));
		d = sum_add(d, le64_get(p + 24));
	}
	sum = sum_add(sum_add(sum, b), sum_add(c, d));
	for (; len >= 8; p += 8, len -= 8)
		sum = sum_add(sum, le64_get(p));
	uint64_t last = 0;
	for (uint32_t i = 0; i < len; i++)
		last |= (uint64_t)p[i] << (8 * i);
	return sum_add(sum, last);
}

/* Down to 16 bits, still in little-endian words. */
static inline uint16_t sum_fold16(uint64_t sum)
{
	sum = (sum >> 32) + (sum & 0xffffffff);
	sum = (sum >> 32) + (sum & 0xffffffff);
	sum = (sum >> 16) + (sum & 0xffff);
	sum = (sum >> 16) + (sum & 0xffff);
	return (uint16_t)((sum >> 16) + (sum & 0xffff));
}

uint64_t ip_sum_iov(uint64_t sum, const struct net_iov *iov, uint32_t count)
{
	bool odd = false;
	for (uint32_t i = 0; i < count; i++) {
		uint64_t part = ip_sum(0, iov[i].p, iov[i].len);
		if (odd)
			part = __builtin_bswap16(sum_fold16(part));
		sum = sum_add(sum, part);
		odd ^= iov[i].len & 1;
	}
	return sum;
}

uint16_t ip_sum_fold(uint64_t sum)
{
	return (uint16_t)~__builtin_bswap16(sum_fold16(sum));
}

uint64_t ip_pseudo_sum(uint32_t src, uint32_t dst, uint8_t proto, uint32_t len)
{
	uint8_t b[12];
	be32_put(b, src);
	be32_put(b + 4, dst);
	be32_put(b + 8, (uint32_t)proto << 16 | (len & 0xffff));
	return ip_sum(0, b, sizeof(b));
}

bool ip_is_host(uint32_t ip)
{
	uint32_t net = ip >> 24;
	return net != 0 && net != 127 && net < 224;
}

/* The last address of our own network: frames to it are broadcasts. */
static bool ip_is_subnet_broadcast(const struct ipstack_config *cfg, uint32_t ip)
{
	if (cfg->prefix_len == 0 || cfg->prefix_len >= 31)
		return false;
	uint32_t host = UINT32_MAX >> cfg->prefix_len;
	return ((ip ^ cfg->ip) & ~host) == 0 && (ip & host) == host;
}

bool ip_parse(const uint8_t *p, uint32_t len, const struct ipstack_config *cfg, bool checksum_ok,
	struct ip_pkt *pkt, struct ipstack_metrics *m)
{
	if (len < IP_HDR_LEN || p[0] >> 4 != 4) {
		metric_add(&m->ip_drop_header_total, 1);
		return false;
	}
	uint32_t hdr = (uint32_t)(p[0] & 15) * 4, total = be16_get(p + 2);
	if (hdr < IP_HDR_LEN || hdr > len) {
		metric_add(&m->ip_drop_header_total, 1);
		return false;
	}
	if (total < hdr || total > len) {
		metric_add(&m->ip_drop_length_total, 1);
		return false;
	}
	if (!checksum_ok && ip_sum_fold(ip_sum(0, p, hdr)) != 0) {
		metric_add(&m->ip_drop_checksum_total, 1);
		return false;
	}
	if (be16_get(p + 6) & 0x3fff) { /* more fragments, or an offset */
		metric_add(&m->ip_drop_fragment_total, 1);
		return false;
	}
	if (p[8] == 0) {
		metric_add(&m->ip_drop_ttl_total, 1);
		return false;
	}
	uint32_t src = be32_get(p + 12), dst = be32_get(p + 16);
	if (dst != cfg->ip || src == cfg->ip || !ip_is_host(src) ||
		ip_is_subnet_broadcast(cfg, src)) {
		metric_add(&m->ip_drop_address_total, 1);
		return false;
	}
	*pkt = (struct ip_pkt){.src = src,
		.dst = dst,
		.proto = p[9],
		.ce = (p[1] & 3) == 3,
		.p = p + hdr,
		.len = total - hdr};
	return true;
}

void ip_build(
	uint8_t *hdr, uint32_t src, uint32_t dst, uint8_t proto, uint32_t payload_len, bool no_csum)
{
	hdr[0] = 0x45;
	hdr[1] = 0;
	be16_put(hdr + 2, (uint16_t)(IP_HDR_LEN + payload_len));
	be32_put(hdr + 4, 0x4000); /* id 0, do not fragment, offset 0 */
	hdr[8] = 64;
	hdr[9] = proto;
	be16_put(hdr + 10, 0);
	be32_put(hdr + 12, src);
	be32_put(hdr + 16, dst);
	if (!no_csum)
		be16_put(hdr + 10, ip_sum_fold(ip_sum(0, hdr, IP_HDR_LEN)));
}

void ip_set_ect(uint8_t *hdr, bool no_csum)
{
	hdr[1] |= 2;
	be16_put(hdr + 10, 0);
	if (!no_csum)
		be16_put(hdr + 10, ip_sum_fold(ip_sum(0, hdr, IP_HDR_LEN)));
}

uint32_t ip_next_hop(const struct ipstack_config *cfg, uint32_t dst)
{
	uint32_t host = cfg->prefix_len >= 32 ? 0 : UINT32_MAX >> cfg->prefix_len;
	if (((dst ^ cfg->ip) & ~host) == 0)
		return dst;
	return cfg->gateway;
}
