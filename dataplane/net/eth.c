/* SPDX-License-Identifier: Apache-2.0 */
#include "net/eth.h"

#include "base/bytes.h"

const uint8_t eth_broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

bool eth_parse(const uint8_t *frame, uint32_t len, const uint8_t mac[6], struct eth_pkt *pkt,
	struct ipstack_metrics *m)
{
	if (len < ETH_HDR_LEN) {
		metric_add(&m->eth_drop_short_total, 1);
		return false;
	}
	bool ours = memcmp(frame, mac, 6) == 0;
	bool broadcast = memcmp(frame, eth_broadcast, 6) == 0;
	const uint8_t *src = frame + 6;
	if ((!ours && !broadcast) || (src[0] & 1) || memcmp(src, mac, 6) == 0) {
		metric_add(&m->eth_drop_other_mac_total, 1);
		return false;
	}
	uint16_t type = be16_get(frame + 12);
	if (type != ETH_TYPE_IPV4 && type != ETH_TYPE_ARP) {
		metric_add(&m->eth_drop_type_total, 1);
		return false;
	}
	*pkt = (struct eth_pkt){.type = type,
		.broadcast = broadcast,
		.p = frame + ETH_HDR_LEN,
		.len = len - ETH_HDR_LEN,
		.src = src};
	return true;
}

void eth_build(uint8_t *hdr, const uint8_t dst[6], const uint8_t src[6], uint16_t type)
{
	memcpy(hdr, dst, 6);
	memcpy(hdr + 6, src, 6);
	be16_put(hdr + 12, type);
}
