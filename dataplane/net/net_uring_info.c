/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel knows of a connection's TCP (tcp(7), TCP_INFO). Owner: the shard's thread. */
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/check.h"
#include "net/net_uring_int.h"

#define NS_PER_US 1000u
#define SLOTS_PER_PAGE 4096u /* looked at for one page, so that a page takes bounded time */

/* By the numbers of include/net/tcp_states.h. */
static const char *state_name(uint8_t state)
{
	static const char *const names[] = {"", "ESTABLISHED", "SYN_SENT", "SYN_RCVD", "FIN_WAIT_1",
		"FIN_WAIT_2", "TIME_WAIT", "CLOSED", "CLOSE_WAIT", "LAST_ACK", "LISTEN", "CLOSING"};
	return state < array_size(names) ? names[state] : "";
}

static uint32_t queued_bytes(const struct unet *n, const struct ucn *c)
{
	uint64_t bytes = 0;
	for (uint32_t i = c->iov_head; i != c->iov_tail; i++)
		bytes += c->iov[i & (n->queue - 1)].iov_len;
	return (uint32_t)min_of(bytes, (uint64_t)UINT32_MAX);
}

static uint32_t held_bytes(const struct unet *n, const struct ucn *c)
{
	uint32_t bytes = 0;
	for (uint32_t id = c->held_first; id != UCN_NO_BUF; id = n->bufs[id].next)
		bytes += n->bufs[id].len;
	return bytes;
}

static void put_peer(const struct sockaddr_storage *sa, struct conn_info *out)
{
	if (sa->ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)sa;
		memcpy(out->peer_ip, &in6->sin6_addr, 16);
		out->peer_port = ntohs(in6->sin6_port);
	} else if (sa->ss_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)sa;
		out->peer_ip[10] = out->peer_ip[11] = 0xff;
		memcpy(out->peer_ip + 12, &in->sin_addr, 4);
		out->peer_port = ntohs(in->sin_port);
	}
}

static void put_info(const struct tcp_info *t, struct conn_info *out)
{
	snprintf(out->state, sizeof(out->state), "%s", state_name(t->tcpi_state));
	out->mss_bytes = t->tcpi_snd_mss;
	out->pmtu_bytes = t->tcpi_pmtu;
	out->cwnd_bytes = t->tcpi_snd_cwnd * t->tcpi_snd_mss;
	/* The kernel counts in segments; its "none" is a very large number of them. */
	out->ssthresh_bytes = t->tcpi_snd_ssthresh > UINT32_MAX / max_of(t->tcpi_snd_mss, 1u)
				      ? CONN_SSTHRESH_NONE
				      : t->tcpi_snd_ssthresh * t->tcpi_snd_mss;
	out->in_flight_bytes = t->tcpi_unacked * t->tcpi_snd_mss;
	out->send_window_bytes = t->tcpi_snd_wnd;
	out->recv_window_bytes = t->tcpi_rcv_space;
	out->srtt_ns = (uint64_t)t->tcpi_rtt * NS_PER_US;
	out->rttvar_ns = (uint64_t)t->tcpi_rttvar * NS_PER_US;
	out->min_rtt_ns = t->tcpi_min_rtt == UINT32_MAX ? 0 : (uint64_t)t->tcpi_min_rtt * NS_PER_US;
	out->rto_ns = (uint64_t)t->tcpi_rto * NS_PER_US;
	out->retransmits = t->tcpi_total_retrans;
	out->bytes_in = t->tcpi_bytes_received;
	out->bytes_out = t->tcpi_bytes_sent;
	out->send_wscale = t->tcpi_snd_wscale;
	out->recv_wscale = t->tcpi_rcv_wscale;
	out->sack = t->tcpi_options & TCPI_OPT_SACK;
	out->timestamps = t->tcpi_options & TCPI_OPT_TIMESTAMPS;
	out->ecn = t->tcpi_options & TCPI_OPT_ECN;
}

static void conn_info_of(struct unet *n, const struct ucn *c, struct conn_info *out)
{
	struct tcp_info t = {0}; /* older kernels fill less of it */
	struct sockaddr_storage sa = {0};
	socklen_t len = sizeof(t), sa_len = sizeof(sa), cc_len = sizeof(out->cc) - 1;
	int waiting = 0;
	*out = (struct conn_info){.local_port = n->port, .paused = c->paused};
	metric_add(&n->net.metrics.syscalls_total, 5);
	if (getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, &t, &len) == 0)
		put_info(&t, out);
	if (getpeername(c->fd, (struct sockaddr *)&sa, &sa_len) == 0)
		put_peer(&sa, out);
	(void)getsockopt(c->fd, IPPROTO_TCP, TCP_CONGESTION, out->cc, &cc_len);
	out->send_queue_bytes = queued_bytes(n, c);
	if (!c->send_armed && ioctl(c->fd, SIOCOUTQ, &waiting) == 0)
		out->send_queue_bytes += (uint32_t)waiting;
	out->recv_queue_bytes = held_bytes(n, c);
	if (ioctl(c->fd, SIOCINQ, &waiting) == 0)
		out->recv_queue_bytes += (uint32_t)waiting;
}

void unet_list(struct net *net, struct conn_page *p)
{
	struct unet *n = container_of(net, struct unet, net);
	uint32_t i = p->from,
		 end = min_of(n->max_conns, i + min_of(SLOTS_PER_PAGE, UINT32_MAX - i));
	p->count = 0;
	for (; i < end && p->count < p->max; i++)
		if (n->conns[i].state != UCN_FREE && n->conns[i].fd >= 0)
			conn_info_of(n, &n->conns[i], &p->conns[p->count++]);
	p->next = i < n->max_conns ? i : 0;
}
