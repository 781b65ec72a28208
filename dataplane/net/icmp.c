/* SPDX-License-Identifier: Apache-2.0 */
#include "net/icmp.h"

#include "base/bytes.h"

bool icmp_is_echo_request(const struct ip_pkt *pkt, struct ipstack_metrics *m)
{
	if (pkt->len < ICMP_HDR_LEN || ip_sum_fold(ip_sum(0, pkt->p, pkt->len)) != 0 ||
		pkt->p[0] != 8 || pkt->p[1] != 0) {
		metric_add(&m->icmp_drop_total, 1);
		return false;
	}
	return true;
}

bool icmp_error_parse(const struct ip_pkt *pkt, struct icmp_error *e)
{
	const uint8_t *q = pkt->p + ICMP_HDR_LEN;
	if (pkt->len < ICMP_HDR_LEN + IP_HDR_LEN + 8 || pkt->p[0] != 3 ||
		ip_sum_fold(ip_sum(0, pkt->p, pkt->len)) != 0)
		return false;
	uint32_t hdr = (uint32_t)(q[0] & 15) * 4;
	if (q[0] >> 4 != 4 || hdr < IP_HDR_LEN || pkt->len < ICMP_HDR_LEN + hdr + 8 ||
		q[9] != IP_PROTO_TCP || (be16_get(q + 6) & 0x1fff) || be32_get(q + 12) != pkt->dst)
		return false;
	*e = (struct icmp_error){.code = pkt->p[1],
		.mtu = be16_get(pkt->p + 6),
		.dst_ip = be32_get(q + 16),
		.src_port = be16_get(q + hdr),
		.dst_port = be16_get(q + hdr + 2),
		.seq = be32_get(q + hdr + 4)};
	return true;
}

void icmp_build_reply(uint8_t *p, const struct ip_pkt *request)
{
	memcpy(p, request->p, request->len);
	p[0] = 0; /* echo reply */
	be16_put(p + 2, 0);
	be16_put(p + 2, ip_sum_fold(ip_sum(0, p, request->len)));
}
