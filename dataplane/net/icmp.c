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

void icmp_build_reply(uint8_t *p, const struct ip_pkt *request)
{
	memcpy(p, request->p, request->len);
	p[0] = 0; /* echo reply */
	be16_put(p + 2, 0);
	be16_put(p + 2, ip_sum_fold(ip_sum(0, p, request->len)));
}
