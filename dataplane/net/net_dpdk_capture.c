/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames of one shard for a capture: copied to a tape as they are taken in and sent, for somebody
 * else to write down. Owner: the shard's thread.
 */
#include <string.h>

#include "base/check.h"
#include "net/net_dpdk_int.h"

static bool is_ipv4(const uint8_t *p, const uint8_t ip[16])
{
	return memcmp(p, ip + 12, 4) == 0;
}

/* True when the frame is from or to that address: IPv4, ARP or IPv6. */
static bool is_of(const uint8_t *f, uint32_t len, const uint8_t ip[16])
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	uint32_t type = len >= 14 ? (uint32_t)f[12] << 8 | f[13] : 0;
	bool v4 = memcmp(ip, mapped, sizeof(mapped)) == 0;
	if (v4 && type == 0x0800 && len >= 34)
		return is_ipv4(f + 26, ip) || is_ipv4(f + 30, ip);
	if (v4 && type == 0x0806 && len >= 42)
		return is_ipv4(f + 28, ip) || is_ipv4(f + 38, ip);
	if (!v4 && type == 0x86dd && len >= 54)
		return memcmp(f + 22, ip, 16) == 0 || memcmp(f + 38, ip, 16) == 0;
	return false;
}

void dcapture_frame(struct dshard *s, const struct rte_mbuf *m, enum net_capture_tag tag)
{
	const struct capture_order *c = &s->capture;
	const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *);
	uint32_t len = rte_pktmbuf_data_len(m);
	if (c->one_peer && !is_of(p, len, c->peer_ip))
		return;
	struct tape_record r = {
		.at_ns = s->now_ns,
		.len = rte_pktmbuf_pkt_len(m),
		.kept = min_of(min_of(len, c->snap_bytes), TAPE_RECORD_MAX),
		.tag = tag,
	};
	if (!tape_put(c->tape, &r, p))
		metric_add(&s->m.capture_lost_total, 1);
}
