/* SPDX-License-Identifier: Apache-2.0 */
/* The loop: start, partition operations, timers, stop. */
#include "unit/control/loop/ctl_env.h"

static void test_it_serves_once_every_shard_serves_the_first_image(void **state)
{
	struct env *e = *state;
	e->hold_images = true;
	assert_int_equal(ctl_begin(e->c, e->err, sizeof(e->err)), 0);
	settle(e);
	assert_int_equal(e->images_seen, SHARDS);
	assert_int_equal(ctl_state_of(e->c), CTL_STARTING);
	assert_null(ctl_image(e->c));
	ack_image(e, 1);
	settle(e);
	assert_int_equal(ctl_state_of(e->c), CTL_STARTING);
	e->fail_opens = 2;
	ack_image(e, 0);
	settle(e);
	assert_int_equal(ctl_state_of(e->c), CTL_SERVING);
	assert_int_equal(ctl_failed_partitions(e->c), 2);
	const struct image *im = ctl_image(e->c);
	assert_int_equal(im->brokers[0].node_id, 3);
	assert_int_equal(im->brokers[0].port, 4242);
	assert_int_equal(im->cluster_id.len, META_CLUSTER_ID_LEN);
	stop(e);
}

/* ---- partition operations ---- */

struct asked {
	struct ctl_op op;
	unsigned dones;
	enum msg_kind kind;
	int16_t error;
};

static void op_done(struct ctl *c, struct ctl_op *op)
{
	struct asked *a = container_of(op, struct asked, op);
	a->dones++;
	a->kind = op->m.kind;
	if (op->m.kind == MSG_PART_OP)
		a->error = op->m.op.error;
}

static void test_partition_operations_go_to_the_owner_and_come_back(void **state)
{
	struct env *e = *state;
	start(e);
	assert_int_equal(create(e, "t", 4), KE_NONE);
	const struct image_partition *p = &served_topic(e, "t")->partitions[3];
	struct asked a = {.op = {.done = op_done, .m = {.op = {.kind = PART_FETCH}}}};
	a.op.m.op.part_id = p->part_id;
	e->hold_ops = true;
	ctl_ask_part_op(e->c, &a.op);
	settle(e);
	assert_ptr_equal(e->part_op, &a.op.m);
	assert_int_equal(e->part_op_at, p->shard);
	assert_int_equal(a.dones, 0);
	assert_int_equal(ctl_ops_out(e->c), 1);
	struct lblock block = {0};
	e->part_op->op.error = KE_NONE;
	e->part_op->op.fetch.span = (struct lspan){.first = &block, .len = 10};
	mesh_answer(&e->shard[e->part_op_at], e->part_op);
	mesh_flush(&e->shard[e->part_op_at]);
	settle(e);
	assert_int_equal(a.dones, 1);
	assert_int_equal(a.kind, MSG_PART_OP);
	ctl_release(e->c, &a.op);
	settle(e);
	assert_int_equal(a.dones, 2);
	assert_int_equal(a.kind, MSG_RELEASE);
	assert_int_equal(ctl_ops_out(e->c), 0);
	stop(e);
}

static void test_an_operation_on_an_unknown_partition_comes_back_later_with_an_error(void **state)
{
	struct env *e = *state;
	start(e);
	struct asked a = {
		.op = {.done = op_done, .m = {.op = {.kind = PART_FETCH, .part_id = 99}}}};
	ctl_ask_part_op(e->c, &a.op);
	assert_int_equal(a.dones, 0);
	ctl_turn(e->c, -1); /* does not sleep */
	assert_int_equal(a.dones, 1);
	assert_int_equal(a.error, KE_UNKNOWN_TOPIC_OR_PARTITION);
	stop(e);
}

static void test_the_offsets_topic_is_made_once(void **state)
{
	struct env *e = *state;
	start(e);
	assert_int_equal(ctl_ensure_offsets_topic(e->c), KE_NONE);
	assert_int_equal(ctl_ensure_offsets_topic(e->c), KE_NONE);
	settle(e);
	const struct image_topic *t = served_topic(e, TOPIC_OFFSETS);
	assert_int_equal(t->partition_count, 4);
	assert_true(t->internal);
	assert_true(t->config.cleanup_compact);
	assert_false(t->config.cleanup_delete);
	assert_int_equal(e->images_seen, SHARDS);
	stop(e);
}

/* ---- timers ---- */

struct timed {
	struct ctl_timer t;
	struct ctl_timer *cancels;
	unsigned fired;
};

static void on_timer(struct ctl *c, struct ctl_timer *timer)
{
	struct timed *t = container_of(timer, struct timed, t);
	t->fired++;
	if (t->cancels)
		ctl_timer_cancel(c, t->cancels);
}

static void test_a_timer_cancelled_by_another_that_is_due_too_does_not_fire(void **state)
{
	struct env *e = *state;
	start(e);
	struct timed a = {0}, b = {0}, d = {0};
	ctl_timer_init(&a.t, on_timer);
	ctl_timer_init(&b.t, on_timer);
	ctl_timer_init(&d.t, on_timer);
	a.cancels = &b.t;
	uint64_t at = ctl_now_ns(e->c) + 1;
	ctl_timer_arm(e->c, &a.t, at);
	ctl_timer_arm(e->c, &b.t, at);
	ctl_timer_arm(e->c, &d.t, at);
	assert_true(ctl_timer_armed(&b.t));
	while (!d.fired)
		ctl_turn(e->c, -1);
	assert_int_equal(a.fired, 1);
	assert_int_equal(b.fired, 0);
	assert_false(ctl_timer_armed(&b.t));
	ctl_timer_arm(e->c, &b.t, ctl_now_ns(e->c));
	while (!b.fired)
		ctl_turn(e->c, -1);
	stop(e);
}

/* ---- the end ---- */

static void test_partitions_whose_logs_fail_have_no_leader_any_more(void **state)
{
	struct env *e = *state;
	start(e);
	assert_int_equal(create(e, "t", 4), KE_NONE);
	uint32_t ids[] = {served_topic(e, "t")->partitions[1].part_id,
		served_topic(e, "t")->partitions[3].part_id, 4000};
	struct msg m = {.kind = MSG_OFFLINE, .offline = {.part_ids = ids, .count = 3}};
	mesh_ask(&e->shard[1], SHARDS, &m);
	mesh_flush(&e->shard[1]);
	settle(e);
	assert_ptr_equal(take(e, &m), &m);
	const struct image_topic *t = served_topic(e, "t");
	assert_int_equal(t->partitions[0].leader, 3);
	assert_int_equal(t->partitions[1].leader, -1);
	assert_int_equal(t->partitions[2].leader, 3);
	assert_int_equal(t->partitions[3].leader, -1);
	stop(e);
}

static void test_a_stop_waits_for_the_image_on_its_way_and_answers_what_is_parked(void **state)
{
	struct env *e = *state;
	start(e);
	e->hold_images = true;
	struct msg *m = send_create(e, "t", 1, 60000);
	settle(e);
	ctl_shutdown(e->c);
	settle(e);
	assert_int_equal(ctl_state_of(e->c), CTL_DRAINING);
	assert_int_equal(e->stops, 0);
	struct msg *late = send_create(e, "u", 1, 60000);
	struct msg *late_wanted = send_wanted(e, "v", 2, 1);
	settle(e);
	assert_non_null(take(e, late));
	assert_null(late->request.response.p);
	assert_non_null(take(e, late_wanted));
	free_msg(late);
	free_wanted(late_wanted);
	ack_image(e, 0);
	ack_image(e, 1);
	settle(e);
	assert_non_null(take(e, m));
	assert_non_null(m->request.response.p);
	free_msg(m);
	assert_int_equal(ctl_state_of(e->c), CTL_STOPPED);
	assert_int_equal(e->stops, SHARDS);
	assert_true(ctl_run(e->c));
}

static void test_a_stop_during_the_start_is_in_order_too(void **state)
{
	struct env *e = *state;
	e->hold_images = true;
	assert_int_equal(ctl_begin(e->c, e->err, sizeof(e->err)), 0);
	settle(e);
	ctl_shutdown(e->c);
	settle(e);
	assert_int_equal(e->stops, 0);
	ack_image(e, 0);
	ack_image(e, 1);
	settle(e);
	assert_int_equal(ctl_state_of(e->c), CTL_STOPPED);
}

/* A shard that has ended answers nobody: it would leave requests of the others waiting. */
static void test_no_shard_ends_while_another_has_requests(void **state)
{
	struct env *e = *state;
	start(e);
	e->hold_disconnects = true;
	ctl_shutdown(e->c);
	settle(e);
	assert_int_equal(e->disconnects, SHARDS);
	mesh_answer(&e->shard[0], e->disconnect[0]);
	settle(e);
	assert_int_equal(e->stops, 0);
	mesh_answer(&e->shard[1], e->disconnect[1]);
	settle(e);
	assert_int_equal(e->stops, SHARDS);
	assert_int_equal(ctl_state_of(e->c), CTL_STOPPED);
}

static void test_a_shard_that_did_not_end_cleanly_is_told(void **state)
{
	struct env *e = *state;
	start(e);
	e->unclean = true;
	stop(e);
	assert_false(ctl_run(e->c));
}

static void test_a_signal_asks_for_a_stop(void **state)
{
	struct env *e = *state;
	sigset_t set_of;
	close_ctl(e);
	sigemptyset(&set_of);
	sigaddset(&set_of, SIGTERM);
	assert_int_equal(sigprocmask(SIG_BLOCK, &set_of, NULL), 0);
	e->signal_fd = signalfd(-1, &set_of, SFD_NONBLOCK | SFD_CLOEXEC);
	assert_true(e->signal_fd >= 0);
	open_ctl(e);
	start(e);
	assert_int_equal(raise(SIGTERM), 0);
	ctl_turn(e->c, -1);
	assert_true(ctl_state_of(e->c) >= CTL_DRAINING);
	settle(e);
	assert_int_equal(raise(SIGTERM), 0); /* a second one at once changes nothing */
	settle(e);
	assert_int_equal(ctl_state_of(e->c), CTL_STOPPED);
	assert_int_equal(e->stops, SHARDS);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_it_serves_once_every_shard_serves_the_first_image),
		T(test_partition_operations_go_to_the_owner_and_come_back),
		T(test_an_operation_on_an_unknown_partition_comes_back_later_with_an_error),
		T(test_the_offsets_topic_is_made_once),
		T(test_a_timer_cancelled_by_another_that_is_due_too_does_not_fire),
		T(test_partitions_whose_logs_fail_have_no_leader_any_more),
		T(test_a_stop_waits_for_the_image_on_its_way_and_answers_what_is_parked),
		T(test_a_stop_during_the_start_is_in_order_too),
		T(test_no_shard_ends_while_another_has_requests),
		T(test_a_shard_that_did_not_end_cleanly_is_told),
		T(test_a_signal_asks_for_a_stop),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
