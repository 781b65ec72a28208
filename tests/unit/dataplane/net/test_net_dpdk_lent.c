/* SPDX-License-Identifier: Apache-2.0 */
/* Log memory that the port reads by itself: who may touch it until when. */
#include "net_dpdk_kit.h"

/* Our address is announced, and the peer asks for it. */
static void meet(struct rig *r)
{
	static const uint8_t none[6];
	uint8_t f[FRAME_MAX];
	turns(r);
	assert_true(take(r, f) >= 42);
	memcpy(r->our_mac, f + 6, 6);
	inject_arp(r, 1, none);
	turns(r);
	drop_sent(r);
}

static int open_and_meet(void **state)
{
	int rc = open_all(state);
	if (rc == 0)
		meet(*state);
	return rc;
}

/* The next frame with a payload, as it is: its payload is in the log memory. */
static struct rte_mbuf *take_attached(struct rig *r)
{
	void *p;
	while (rte_ring_dequeue(r->out, &p) == 0) {
		struct rte_mbuf *m = p;
		if (m->nb_segs == 2)
			return m;
		rte_pktmbuf_free(m);
	}
	fail_msg("no frame in two pieces");
	return NULL;
}

static uint32_t events_of(const struct rig *r, enum net_event_kind kind)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < r->ev_count; i++)
		n += r->ev[i].kind == kind;
	return n;
}

#define ATTACHED 530u

/* Sends a segment's worth of log memory; its frame. */
static struct rte_mbuf *send_log_memory(struct rig *r, struct seg *s, net_conn_t *conn)
{
	const struct net_event *ev = handshake(r, s);
	uint32_t shard = r->shard_of_ev[ev - r->ev];
	struct net_iov iov = {.p = net_dpdk_log_memory(r->d) + 100, .len = ATTACHED};
	*conn = ev->conn;
	drop_sent(r);
	memset(net_dpdk_log_memory(r->d), 'l', LOG_BYTES);
	assert_int_equal(net_send(r->net[shard], ev->conn, &iov, 1, 78), 0);
	turns(r);
	return take_attached(r);
}

static void test_log_memory_is_sent_from_where_it_is(void **state)
{
	struct rig *r = *state;
	struct seg s;
	net_conn_t conn;
	uint64_t before = PORT_SUM(r, attached_total);
	struct rte_mbuf *m = send_log_memory(r, &s, &conn);
	assert_ptr_equal(rte_pktmbuf_mtod(m->next, uint8_t *), net_dpdk_log_memory(r->d) + 100);
	assert_int_equal(m->next->data_len, ATTACHED);
	assert_int_equal(m->pkt_len, m->data_len + ATTACHED);
	assert_int_equal(PORT_SUM(r, attached_total), before + 1);
	rte_pktmbuf_free(m);
	s.ack += ATTACHED;
	inject_seg(r, &s);
	turns(r);
	assert_int_equal(event(r, NET_EV_SENT)->sent.cookie, 78);
	reset(r, &s);
}

static void test_a_send_is_not_over_while_the_port_has_its_memory(void **state)
{
	struct rig *r = *state;
	struct seg s;
	net_conn_t conn;
	struct rte_mbuf *m = send_log_memory(r, &s, &conn);
	s.ack += ATTACHED;
	inject_seg(r, &s);
	turns(r);
	assert_int_equal(events_of(r, NET_EV_SENT), 0);
	rte_pktmbuf_free(m);
	turns(r);
	assert_int_equal(event(r, NET_EV_SENT)->sent.cookie, 78);
	assert_true(event(r, NET_EV_SENT)->sent.ok);
	assert_int_equal(event(r, NET_EV_SENT)->conn, conn);
	reset(r, &s);
}

static void test_a_repeat_that_is_still_at_the_port_holds_the_memory_too(void **state)
{
	struct rig *r = *state;
	struct seg s;
	net_conn_t conn;
	struct rte_mbuf *first = send_log_memory(r, &s, &conn);
	for (uint32_t i = 0; i < 250; i++) /* over a second: it is sent again */
		turns(r);
	struct rte_mbuf *again = take_attached(r);
	assert_ptr_equal(
		rte_pktmbuf_mtod(again->next, uint8_t *), rte_pktmbuf_mtod(first->next, uint8_t *));
	rte_pktmbuf_free(first);
	drop_sent(r);
	s.ack += ATTACHED;
	inject_seg(r, &s);
	turns(r);
	assert_int_equal(events_of(r, NET_EV_SENT), 0);
	rte_pktmbuf_free(again);
	turns(r);
	assert_int_equal(event(r, NET_EV_SENT)->sent.cookie, 78);
	reset(r, &s);
}

static void test_the_end_of_a_connection_waits_for_the_port_too(void **state)
{
	struct rig *r = *state;
	struct seg s;
	net_conn_t conn;
	struct rte_mbuf *m = send_log_memory(r, &s, &conn);
	s.flags = RST;
	inject_seg(r, &s);
	turns(r);
	assert_int_equal(r->ev_count, 0);
	rte_pktmbuf_free(m);
	turns(r);
	assert_int_equal(r->ev_count, 2);
	assert_int_equal(r->ev[0].kind, NET_EV_SENT);
	assert_false(r->ev[0].sent.ok);
	assert_int_equal(r->ev[1].kind, NET_EV_CLOSED);
	assert_int_equal(r->ev[1].conn, conn);
	drop_sent(r);
}

static void test_other_memory_is_copied(void **state)
{
	struct rig *r = *state;
	struct seg s, answer;
	static uint8_t bytes[ATTACHED];
	char text[FRAME_MAX];
	uint32_t len;
	const struct net_event *ev = handshake(r, &s);
	struct net_iov iov = {.p = bytes, .len = ATTACHED};
	memset(bytes, 'c', sizeof(bytes));
	drop_sent(r);
	assert_int_equal(net_send(r->net[r->shard_of_ev[ev - r->ev]], ev->conn, &iov, 1, 79), 0);
	turns(r);
	assert_true(take_seg(r, &answer, text, &len)); /* of one piece: take() looks */
	assert_int_equal(len, ATTACHED);
	assert_memory_equal(text, bytes, ATTACHED);
	reset(r, &s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_log_memory_is_sent_from_where_it_is),
		cmocka_unit_test(test_a_send_is_not_over_while_the_port_has_its_memory),
		cmocka_unit_test(test_a_repeat_that_is_still_at_the_port_holds_the_memory_too),
		cmocka_unit_test(test_the_end_of_a_connection_waits_for_the_port_too),
		cmocka_unit_test(test_other_memory_is_copied),
	};
	return cmocka_run_group_tests(tests, open_and_meet, close_all);
}
