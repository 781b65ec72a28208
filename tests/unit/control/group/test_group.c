/* SPDX-License-Identifier: Apache-2.0 */
/* Scenarios of the classic group protocol, as transcripts in virtual time. */
#include "unit/control/group/group_env.h"

/* Three members in a stable group of generation 1, led by a. */
static void form(struct env *e, struct client **a, struct client **b, struct client **c)
{
	*a = client_new(e, "a");
	*b = client_new(e, "b");
	*c = client_new(e, "c");
	join_twice(e, *a);
	join_twice(e, *b);
	join_twice(e, *c);
	pass_ms(e, 10000);
	follow(e, *b);
	lead(e, *a, *a, *b, *c);
	follow(e, *c);
	expect(e, "a joined 1 range leader a of a=a b=b c=c\n"
		  "b joined 1 range leader a\n"
		  "c joined 1 range leader a\n"
		  "a synced \"a!\"\n"
		  "b synced \"b!\"\n"
		  "c synced \"c!\"\n");
}

static void test_three_members_join_and_the_leader_assigns(void **state)
{
	struct env *e = *state;
	struct client *a, *b, *c;
	form(e, &a, &b, &c);
	char dump[1024];
	grp_dump(e->core, dump, sizeof(dump));
	assert_non_null(strstr(dump, "group g Stable generation 1 protocol consumer/range\n"));
	heartbeat(e, a);
	heartbeat(e, b);
	expect(e, "a heartbeat: NONE\nb heartbeat: NONE\n");
}

static void test_from_version_4_a_new_member_has_to_come_back_with_its_id(void **state)
{
	struct env *e = *state;
	struct client *a = client_new(e, "a"), *old = client_new(e, "old");
	a->version = 4;
	join(e, a);
	expect(e, "a join: MEMBER_ID_REQUIRED\n");
	assert_string_equal(a->id, "a-00000000-0000-4000-8000-000000000000");
	join(e, a);
	expect(e, "");
	old->version = 3;
	join(e, old); /* lets it in at once */
	pass_ms(e, 6000);
	expect(e, "a joined 1 range leader a of a=a ?=old\nold joined 1 range leader a\n");
}

static void test_an_id_that_nobody_comes_back_with_is_forgotten(void **state)
{
	struct env *e = *state;
	struct client *a = client_new(e, "a");
	join(e, a);
	pass_ms(e, a->session_ms + 2);
	join(e, a);
	expect(e, "a join: MEMBER_ID_REQUIRED\na join: UNKNOWN_MEMBER_ID\n");
}

static void test_a_join_phase_waits_for_ids_that_were_given_out(void **state)
{
	struct env *e = *state;
	struct client *a, *b, *c, *d = client_new(e, "d"), *f = client_new(e, "f");
	form(e, &a, &b, &c);
	join(e, d);
	join(e, f);
	leave(e, b);
	join(e, a);
	join(e, c);
	expect(e, "d join: MEMBER_ID_REQUIRED\nf join: MEMBER_ID_REQUIRED\nb leave: NONE\n");
	leave(e, f); /* will not come */
	join(e, d);
	expect(e, "f leave: NONE\na joined 2 range leader a of a=a c=c d=d\n"
		  "c joined 2 range leader a\nd joined 2 range leader a\n");
}

static void test_a_new_group_waits_longer_while_members_keep_coming(void **state)
{
	struct env *e = *state;
	struct client *a = client_new(e, "a"), *b = client_new(e, "b"), *c = client_new(e, "c");
	a->rebalance_ms = b->rebalance_ms = c->rebalance_ms = 7000;
	join_twice(e, a);
	pass_ms(e, 2000);
	join_twice(e, b);
	pass_ms(e, 3000);
	expect(e, ""); /* 3 s were over, b had come: 3 s more */
	join_twice(e, c);
	pass_ms(e, 1500);
	expect(e, "");
	pass_ms(e, 500); /* 7 s: the most that is waited */
	expect(e, "a joined 1 range leader a of a=a b=b c=c\n"
		  "b joined 1 range leader a\n"
		  "c joined 1 range leader a\n");
}

static void test_a_silent_member_is_replaced_after_its_session_timeout(void **state)
{
	struct env *e = *state;
	struct client *a, *b, *c;
	form(e, &a, &b, &c);
	for (int i = 0; i < 4; i++) { /* c is gone */
		pass_ms(e, 2400);
		heartbeat(e, a);
		heartbeat(e, b);
	}
	expect(e, "a heartbeat: NONE\nb heartbeat: NONE\na heartbeat: NONE\nb heartbeat: NONE\n"
		  "a heartbeat: NONE\nb heartbeat: NONE\na heartbeat: NONE\nb heartbeat: NONE\n");
	pass_ms(e, 2400);
	heartbeat(e, a);
	join(e, a);
	heartbeat(e, b);
	join(e, b);
	lead(e, a, a, b);
	follow(e, b);
	expect(e, "a heartbeat: REBALANCE_IN_PROGRESS\n"
		  "b heartbeat: REBALANCE_IN_PROGRESS\n"
		  "a joined 2 range leader a of a=a b=b\n"
		  "b joined 2 range leader a\n"
		  "a synced \"a!\"\n"
		  "b synced \"b!\"\n");
	heartbeat(e, c);
	join(e, c);
	expect(e, "c heartbeat: UNKNOWN_MEMBER_ID\nc join: UNKNOWN_MEMBER_ID\n");
}

static void test_a_member_that_leaves_makes_the_others_join_again(void **state)
{
	struct env *e = *state;
	struct client *a, *b, *c;
	form(e, &a, &b, &c);
	leave(e, a); /* the leader */
	heartbeat(e, b);
	join(e, c);
	join(e, b);
	expect(e, "a leave: NONE\n"
		  "b heartbeat: REBALANCE_IN_PROGRESS\n"
		  "b joined 2 range leader b of b=b c=c\n"
		  "c joined 2 range leader b\n");
	leave(e, b);
	leave(e, b);
	expect(e, "b leave: NONE\nb leave: UNKNOWN_MEMBER_ID\n");
	join(e, c);
	expect(e, "c joined 3 range leader c of c=c\n");
	leave_version(e, c, "g", 3);
	expect(e, "c leave: NONE NONE\n");
	char dump[256];
	grp_dump(e->core, dump, sizeof(dump));
	assert_string_equal(dump, "group g Empty generation 4 protocol consumer/\n");
}

static void test_who_does_not_join_again_in_time_is_dropped(void **state)
{
	struct env *e = *state;
	struct client *a, *b, *c;
	form(e, &a, &b, &c);
	c->session_ms = 100000;
	leave(e, b);
	join(e, a);
	expect(e, "b leave: NONE\n");
	for (int i = 0; i < 13; i++) { /* c is alive, but busy */
		pass_ms(e, 5000);
		heartbeat(e, c);
		if (e->clients[0]->generation == 2)
			break;
	}
	assert_non_null(strstr(e->text, "a joined 2 range leader a of a=a\n"));
	assert_non_null(strstr(e->text, "c heartbeat: UNKNOWN_MEMBER_ID\n"));
}

static void test_version_0_has_its_session_timeout_as_rebalance_timeout(void **state)
{
	struct env *e = *state;
	struct client *a = client_new(e, "a"), *b = client_new(e, "b");
	a->version = b->version = 0;
	a->session_ms = b->session_ms = 8000;
	a->rebalance_ms = b->rebalance_ms = -1;
	join(e, a);
	pass_ms(e, 3002);
	lead(e, a, a);
	expect(e, "a joined 1 range leader a of a=a\na synced \"a!\"\n");
	pass_ms(e, 1000);
	join(e, b);
	pass_ms(e, 4000);
	heartbeat(e, a); /* and does not join */
	pass_ms(e, 3900);
	expect(e, "a heartbeat: REBALANCE_IN_PROGRESS\n");
	pass_ms(e, 200);
	expect(e, "b joined 2 range leader b of b=b\n");
}

static void test_the_protocol_that_all_know_and_most_prefer_is_taken(void **state)
{
	struct env *e = *state;
	struct client *a = client_new(e, "a"), *b = client_new(e, "b"), *c = client_new(e, "c");
	struct client *d = client_new(e, "d"), *f = client_new(e, "f");
	a->protocols[0] = "range", a->protocols[1] = "sticky", a->protocols[2] = "rr";
	b->protocols[0] = "sticky", b->protocols[1] = "range";
	c->protocols[0] = "rr", c->protocols[1] = "sticky", c->protocols[2] = "range";
	d->protocols[0] = "rr";
	f->type = "connect";
	join_twice(e, a);
	join_twice(e, b);
	join_twice(e, c);
	join(e, d); /* b does not know rr */
	join(e, f);
	expect(e, "d join: INCONSISTENT_GROUP_PROTOCOL\nf join: INCONSISTENT_GROUP_PROTOCOL\n");
	pass_ms(e, 10000);
	expect(e, "a joined 1 sticky leader a of a=a b=b c=c\n"
		  "b joined 1 sticky leader a\n"
		  "c joined 1 sticky leader a\n");
}

static void test_requests_of_an_old_generation_are_refused(void **state)
{
	struct env *e = *state;
	struct client *a, *b, *c;
	form(e, &a, &b, &c);
	struct client zombie = *c;
	zombie.name = "zombie";
	zombie.generation = 0;
	heartbeat(e, &zombie);
	follow(e, &zombie);
	commit(e, &zombie, 0, 5);
	zombie.generation = -1;
	commit(e, &zombie, 0, 5);
	expect(e, "zombie heartbeat: ILLEGAL_GENERATION\n"
		  "zombie sync: ILLEGAL_GENERATION\n"
		  "zombie commit: t-0 ILLEGAL_GENERATION\n"
		  "zombie commit: t-0 ILLEGAL_GENERATION\n");
	assert_int_equal(fetch_offset(e, "g", "t", 0), -1);
}

static void test_a_member_that_joins_again_unchanged_gets_the_current_generation(void **state)
{
	struct env *e = *state;
	struct client *a, *b, *c;
	form(e, &a, &b, &c);
	join(e, b);
	expect(e, "b joined 1 range leader a\n");
	b->meta = "+";
	join(e, b); /* another subscription */
	heartbeat(e, a);
	expect(e, "a heartbeat: REBALANCE_IN_PROGRESS\n");
	join(e, a);
	join(e, c);
	expect(e, "a joined 2 range leader a of a=a b=b+ c=c\n"
		  "b joined 2 range leader a\n"
		  "c joined 2 range leader a\n");
	join(e, a); /* while the assignment is made: its answer may have been lost */
	expect(e, "a joined 2 range leader a of a=a b=b+ c=c\n");
	lead(e, a, a, b, c);
	join(e, a); /* the leader of a stable group asks for a new one */
	heartbeat(e, c);
	expect(e, "a synced \"a!\"\nc heartbeat: REBALANCE_IN_PROGRESS\n");
}

static void test_members_that_the_leader_forgets_get_nothing(void **state)
{
	struct env *e = *state;
	struct client *a = client_new(e, "a"), *b = client_new(e, "b");
	join_twice(e, a);
	join_twice(e, b);
	pass_ms(e, 6100);
	lead(e, a, a);
	follow(e, b);
	expect(e, "a joined 1 range leader a of a=a b=b\nb joined 1 range leader a\n"
		  "a synced \"a!\"\nb synced \"\"\n");
}

static void test_syncs_wait_for_the_log(void **state)
{
	struct env *e = *state;
	struct client *a = client_new(e, "a"), *b = client_new(e, "b");
	join_twice(e, a);
	join_twice(e, b);
	pass_ms(e, 6100);
	e->hold_writes = true;
	expect(e, "a joined 1 range leader a of a=a b=b\nb joined 1 range leader a\n");
	lead(e, a, a, b);
	follow(e, b);
	expect(e, "");
	assert_true(write_one(e, KE_NONE));
	expect(e, "a synced \"a!\"\nb synced \"b!\"\n");
}

static void test_an_assignment_that_cannot_be_stored_begins_a_new_rebalance(void **state)
{
	struct env *e = *state;
	struct client *a = client_new(e, "a"), *b = client_new(e, "b");
	join_twice(e, a);
	join_twice(e, b);
	pass_ms(e, 6100);
	e->text_len = 0;
	e->fail_writes = KE_KAFKA_STORAGE_ERROR;
	follow(e, b);
	lead(e, a, a, b);
	e->fail_writes = KE_NONE;
	heartbeat(e, b);
	join(e, a);
	join(e, b);
	expect(e, "a sync: NOT_COORDINATOR\nb sync: NOT_COORDINATOR\n"
		  "b heartbeat: REBALANCE_IN_PROGRESS\n"
		  "a joined 2 range leader a of a=a b=b\nb joined 2 range leader a\n");
}

static void test_a_rebalance_overtakes_a_write_of_the_assignment(void **state)
{
	struct env *e = *state;
	struct client *a = client_new(e, "a"), *b = client_new(e, "b");
	join_twice(e, a);
	join_twice(e, b);
	pass_ms(e, 6100);
	e->text_len = 0;
	e->hold_writes = true;
	lead(e, a, a, b);
	b->meta = "+";
	join(e, b);
	expect(e, "a sync: REBALANCE_IN_PROGRESS\n");
	assert_true(write_one(e, KE_NONE)); /* of the generation before */
	expect(e, "");
	join(e, a);
	lead(e, a, a, b);
	follow(e, b);
	e->hold_writes = false;
	after(e);
	expect(e, "a joined 2 range leader a of a=a b=b+\nb joined 2 range leader a\n"
		  "a synced \"a!\"\nb synced \"b!\"\n");
}

static void test_members_that_never_sync_are_dropped(void **state)
{
	struct env *e = *state;
	struct client *a = client_new(e, "a"), *b = client_new(e, "b");
	a->rebalance_ms = b->rebalance_ms = 9000;
	join_twice(e, a);
	join_twice(e, b);
	pass_ms(e, 6100);
	e->text_len = 0;
	lead(e, a, a, b);
	for (int i = 0; i < 2; i++) { /* b sends heartbeats, but no SyncGroup */
		pass_ms(e, 4400);
		heartbeat(e, a);
		heartbeat(e, b);
	}
	pass_ms(e, 400);
	heartbeat(e, a);
	heartbeat(e, b);
	expect(e, "a synced \"a!\"\na heartbeat: NONE\nb heartbeat: NONE\n"
		  "a heartbeat: NONE\nb heartbeat: NONE\n"
		  "a heartbeat: REBALANCE_IN_PROGRESS\nb heartbeat: UNKNOWN_MEMBER_ID\n");
}

/* ---- static members ---- */

static void test_a_static_member_that_comes_back_takes_its_place_without_a_rebalance(void **state)
{
	struct env *e = *state;
	struct client *a = client_new(e, "a"), *b = client_new(e, "b");
	a->instance = "one";
	b->instance = "two";
	join(e, a);
	join(e, b);
	pass_ms(e, 6100);
	lead(e, a, a, b);
	follow(e, b);
	expect(e, "a joined 1 range leader a of a=a ?=b\nb joined 1 range leader a\n"
		  "a synced \"a!\"\nb synced \"b!\"\n");
	assert_true(strncmp(b->id, "two-", 4) == 0);
	struct client zombie = *b;
	zombie.name = "zombie";
	b->id[0] = 0;
	join(e, b);
	follow(e, b);
	heartbeat(e, a);
	heartbeat(e, &zombie);
	commit(e, &zombie, 0, 1);
	join(e, &zombie);
	follow(e, &zombie);
	expect(e, "b joined 1 range leader a\nb synced \"b!\"\na heartbeat: NONE\n"
		  "zombie heartbeat: FENCED_INSTANCE_ID\n"
		  "zombie commit: t-0 FENCED_INSTANCE_ID\n"
		  "zombie join: FENCED_INSTANCE_ID\nzombie sync: FENCED_INSTANCE_ID\n");
	restart(e); /* the new id is in the log */
	heartbeat(e, b);
	heartbeat(e, &zombie);
	expect(e, "b heartbeat: NONE\nzombie heartbeat: FENCED_INSTANCE_ID\n");
}

static void test_a_static_leader_that_comes_back_does_not_assign_again(void **state)
{
	struct env *e = *state;
	struct client *a = client_new(e, "a"), *b = client_new(e, "b");
	a->instance = "one";
	b->instance = "two";
	join(e, a);
	join(e, b);
	pass_ms(e, 6100);
	lead(e, a, a, b);
	follow(e, b);
	e->text_len = 0;
	snprintf(a->old_id, sizeof(a->old_id), "%s", a->id);
	a->id[0] = 0;
	a->version = 8;
	join(e, a); /* is told of another leader, so that it only follows */
	assert_false(a->leads);
	follow(e, a);
	a->id[0] = 0;
	a->version = 9;
	join(e, a); /* KIP-814 */
	follow(e, a);
	heartbeat(e, b);
	expect(e, "a joined 1 range leader ?\na synced \"a!\"\n"
		  "a joined 1 range leader a skip of a=a b=b\na synced \"a!\"\n"
		  "b heartbeat: NONE\n");
}

static void test_a_static_member_with_another_protocol_begins_a_rebalance(void **state)
{
	struct env *e = *state;
	struct client *a = client_new(e, "a");
	a->instance = "one";
	a->protocols[0] = "range", a->protocols[1] = "rr";
	join(e, a);
	pass_ms(e, 6100);
	lead(e, a, a);
	e->text_len = 0;
	a->id[0] = 0;
	a->protocols[0] = "rr", a->protocols[1] = "range";
	join(e, a);
	expect(e, "a joined 2 rr leader a of a=a\n");
}

static void test_a_static_member_may_be_away_until_its_session_ends(void **state)
{
	struct env *e = *state;
	struct client *a = client_new(e, "a"), *b = client_new(e, "b"), *c = client_new(e, "c");
	b->instance = "two";
	b->session_ms = 60000;
	a->rebalance_ms = b->rebalance_ms = c->rebalance_ms = 10000;
	join_twice(e, a);
	join(e, b);
	pass_ms(e, 10000);
	lead(e, a, a, b);
	follow(e, b);
	e->text_len = 0;
	join_twice(e, c);
	join(e, a);
	pass_ms(e, 10001); /* b does not join, and stays a member */
	expect(e, "a joined 2 range leader a of a=a b=b c=c\nc joined 2 range leader a\n");
	struct kp_leave_group_request req;
	struct kp_leave_group_request_member m;
	kp_default_leave_group_request(&req);
	kp_default_leave_group_request_member(&m);
	req.group_id = kstr_of("g");
	m.group_instance_id = kstr_of("two"); /* an administrator takes it out */
	req.members = &m;
	req.n_members = 1;
	grp_leave(e->core, e->now, token_new(e, b, LEAVE), 3, &req);
	after(e);
	grp_leave(e->core, e->now, token_new(e, b, LEAVE), 3, &req);
	after(e);
	heartbeat(e, a);
	expect(e, "b leave: NONE NONE\nb leave: NONE UNKNOWN_MEMBER_ID\n"
		  "a heartbeat: REBALANCE_IN_PROGRESS\n");
}

static void test_a_static_member_replaced_while_parked_is_fenced(void **state)
{
	struct env *e = *state;
	struct client *a = client_new(e, "a"), *again = client_new(e, "again");
	a->instance = again->instance = "one";
	join(e, a);
	join(e, again);
	expect(e, "a join: FENCED_INSTANCE_ID\n");
	pass_ms(e, 6100);
	expect(e, "again joined 1 range leader again of again=again\n");
}

/* ---- connections that are gone ---- */

static void test_a_new_member_that_hangs_up_while_parked_is_dropped_after_5_minutes(void **state)
{
	struct env *e = *state;
	struct client *a, *b, *c, *d = client_new(e, "d");
	form(e, &a, &b, &c);
	a->rebalance_ms = 600000;
	join(e, a);
	d->version = 3; /* does not even know its id */
	struct token *t = join(e, d);
	e->text_len = 0;
	for (int i = 0; i < 60; i++) {
		pass_ms(e, 5000);
		heartbeat(e, b);
		heartbeat(e, c);
	}
	pass_ms(e, 10);
	assert_true(t->answered);
	assert_int_equal(t->error, KE_UNKNOWN_MEMBER_ID);
}

static void test_a_member_that_joins_twice_has_its_first_request_answered(void **state)
{
	struct env *e = *state;
	struct client *a = client_new(e, "a"), *b = client_new(e, "b");
	join_twice(e, a);
	join_twice(e, b);
	struct token *first = join(e, a);
	struct token *second = join(e, a); /* on another connection */
	assert_true(first->answered);
	assert_false(second->answered);
	pass_ms(e, 6100);
	expect(e, "a join: REBALANCE_IN_PROGRESS\na join: REBALANCE_IN_PROGRESS\n"
		  "a joined 1 range leader a of a=a b=b\nb joined 1 range leader a\n");
	follow(e, b);
	follow(e, b);
	lead(e, a, a, b);
	expect(e, "b sync: REBALANCE_IN_PROGRESS\na synced \"a!\"\nb synced \"b!\"\n");
}

/* ---- restarts and refusals ---- */

static void test_a_group_goes_on_after_a_restart(void **state)
{
	struct env *e = *state;
	struct client *a, *b, *c;
	form(e, &a, &b, &c);
	commit(e, a, 0, 100);
	restart(e);
	heartbeat(e, a);
	follow(e, b);
	join(e, c);
	commit(e, a, 0, 101);
	expect(e, "a heartbeat: NONE\nb synced \"b!\"\nc joined 1 range leader a\n"
		  "a commit: t-0 NONE\n");
	pass_ms(e, 9000);
	heartbeat(e, a);
	pass_ms(e, 2000); /* b and c never came back */
	heartbeat(e, a);
	join(e, a);
	expect(e, "a heartbeat: NONE\na heartbeat: REBALANCE_IN_PROGRESS\n"
		  "a joined 2 range leader a of a=a\n");
}

static void test_while_loading_clients_are_told_to_wait(void **state)
{
	struct env *e = *state;
	struct client *a, *b, *c;
	form(e, &a, &b, &c);
	assert_int_equal(grp_set_partitions(e->core, PARTS, e->now), 0);
	join(e, a);
	heartbeat(e, a);
	follow(e, a);
	leave(e, a);
	commit(e, a, 0, 1);
	expect(e, "a join: COORDINATOR_LOAD_IN_PROGRESS\na heartbeat: NONE\n"
		  "a sync: REBALANCE_IN_PROGRESS\na leave: COORDINATOR_LOAD_IN_PROGRESS\n"
		  "a commit: t-0 COORDINATOR_LOAD_IN_PROGRESS\n");
	assert_int_equal(fetch_offset(e, "g", "t", 0), -100 - KE_COORDINATOR_LOAD_IN_PROGRESS);
}

static void test_without_the_offsets_topic_this_is_not_the_coordinator(void **state)
{
	struct env *e = *state;
	struct client *a = client_new(e, "a"), *b = client_new(e, "b");
	join_twice(e, a);
	assert_int_equal(grp_set_partitions(e->core, 0, e->now), 0);
	join(e, b);
	heartbeat(e, b);
	commit(e, b, 0, 1);
	expect(e, "a join: NOT_COORDINATOR\nb join: NOT_COORDINATOR\n"
		  "b heartbeat: NOT_COORDINATOR\nb commit: t-0 NOT_COORDINATOR\n");
}

static void test_a_stopping_broker_answers_what_is_parked(void **state)
{
	struct env *e = *state;
	struct client *a = client_new(e, "a");
	join_twice(e, a);
	grp_drain(e->core, e->now);
	join(e, a);
	expect(e, "a join: COORDINATOR_NOT_AVAILABLE\na join: COORDINATOR_NOT_AVAILABLE\n");
}

static void test_requests_out_of_bounds_are_refused(void **state)
{
	struct env *e = *state;
	struct client *a = client_new(e, "a");
	join_group(e, a, "");
	a->session_ms = 5999;
	join(e, a);
	a->session_ms = 1800001;
	join(e, a);
	a->session_ms = 6000;
	snprintf(a->id, sizeof(a->id), "never-seen");
	join(e, a);
	follow(e, a);
	heartbeat(e, a);
	leave(e, a);
	a->id[0] = 0;
	a->protocols[0] = NULL;
	join(e, a);
	a->protocols[0] = "range";
	a->type = "";
	join(e, a);
	expect(e, "a join: INVALID_GROUP_ID\na join: INVALID_SESSION_TIMEOUT\n"
		  "a join: INVALID_SESSION_TIMEOUT\na join: UNKNOWN_MEMBER_ID\n"
		  "a sync: UNKNOWN_MEMBER_ID\na heartbeat: UNKNOWN_MEMBER_ID\n"
		  "a leave: UNKNOWN_MEMBER_ID\na join: INCONSISTENT_GROUP_PROTOCOL\n"
		  "a join: INCONSISTENT_GROUP_PROTOCOL\n");
	assert_int_equal(grp_core_stats(e->core).groups, 0);
}

static void test_a_sync_for_another_protocol_is_refused(void **state)
{
	struct env *e = *state;
	struct client *a, *b, *c;
	form(e, &a, &b, &c);
	struct kp_sync_group_request req;
	kp_default_sync_group_request(&req);
	req.group_id = kstr_of("g");
	req.generation_id = 1;
	req.member_id = kstr_of(a->id);
	req.protocol_type = kstr_of("consumer");
	req.protocol_name = kstr_of("sticky");
	grp_sync(e->core, e->now, token_new(e, a, SYNC), &req);
	req.protocol_name = kstr_of("range");
	req.protocol_type = kstr_of("connect");
	grp_sync(e->core, e->now, token_new(e, a, SYNC), &req);
	req.protocol_type = kstr_of("consumer");
	grp_sync(e->core, e->now, token_new(e, a, SYNC), &req);
	expect(e, "a sync: INCONSISTENT_GROUP_PROTOCOL\na sync: INCONSISTENT_GROUP_PROTOCOL\n"
		  "a synced \"a!\"\n");
}

static void test_a_full_group_lets_nobody_in(void **state)
{
	struct env *e = *state;
	grp_set_partitions(e->core, 0, e->now);
	close_core(e);
	e->cfg.max_size = 3;
	open_core(e);
	replay_all(e, e->core);
	struct client *a, *b, *c, *d = client_new(e, "d");
	form(e, &a, &b, &c);
	d->version = 3;
	join(e, d);
	expect(e, "d join: GROUP_MAX_SIZE_REACHED\n");
	leave(e, c);
	join(e, d);
	join(e, a);
	join(e, b);
	expect(e, "c leave: NONE\na joined 2 range leader a of a=a b=b ?=d\n"
		  "b joined 2 range leader a\nd joined 2 range leader a\n");
}

static void test_memory_and_groups_are_bounded(void **state)
{
	struct env *e = *state;
	close_core(e);
	e->cfg.max_bytes = 6000;
	e->cfg.max_groups = 3;
	open_core(e);
	replay_all(e, e->core);
	struct client *a = client_new(e, "a");
	a->version = 3;
	join_group(e, a, "g1");
	join_group(e, a, "g2");
	join_group(e, a, "g3");
	join_group(e, a, "g4");
	expect(e, "a join: COORDINATOR_NOT_AVAILABLE\n");
	for (int i = 0; i < 40; i++)
		join_group(e, a, "g1");
	assert_true(grp_core_stats(e->core).bytes <= 6000);
	assert_non_null(strstr(e->text, "a join: COORDINATOR_NOT_AVAILABLE\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		group_test(test_three_members_join_and_the_leader_assigns),
		group_test(test_from_version_4_a_new_member_has_to_come_back_with_its_id),
		group_test(test_an_id_that_nobody_comes_back_with_is_forgotten),
		group_test(test_a_join_phase_waits_for_ids_that_were_given_out),
		group_test(test_a_new_group_waits_longer_while_members_keep_coming),
		group_test(test_a_silent_member_is_replaced_after_its_session_timeout),
		group_test(test_a_member_that_leaves_makes_the_others_join_again),
		group_test(test_who_does_not_join_again_in_time_is_dropped),
		group_test(test_version_0_has_its_session_timeout_as_rebalance_timeout),
		group_test(test_the_protocol_that_all_know_and_most_prefer_is_taken),
		group_test(test_requests_of_an_old_generation_are_refused),
		group_test(test_a_member_that_joins_again_unchanged_gets_the_current_generation),
		group_test(test_members_that_the_leader_forgets_get_nothing),
		group_test(test_syncs_wait_for_the_log),
		group_test(test_an_assignment_that_cannot_be_stored_begins_a_new_rebalance),
		group_test(test_a_rebalance_overtakes_a_write_of_the_assignment),
		group_test(test_members_that_never_sync_are_dropped),
		group_test(
			test_a_static_member_that_comes_back_takes_its_place_without_a_rebalance),
		group_test(test_a_static_leader_that_comes_back_does_not_assign_again),
		group_test(test_a_static_member_with_another_protocol_begins_a_rebalance),
		group_test(test_a_static_member_may_be_away_until_its_session_ends),
		group_test(test_a_static_member_replaced_while_parked_is_fenced),
		group_test(test_a_new_member_that_hangs_up_while_parked_is_dropped_after_5_minutes),
		group_test(test_a_member_that_joins_twice_has_its_first_request_answered),
		group_test(test_a_group_goes_on_after_a_restart),
		group_test(test_while_loading_clients_are_told_to_wait),
		group_test(test_without_the_offsets_topic_this_is_not_the_coordinator),
		group_test(test_a_stopping_broker_answers_what_is_parked),
		group_test(test_requests_out_of_bounds_are_refused),
		group_test(test_a_sync_for_another_protocol_is_refused),
		group_test(test_a_full_group_lets_nobody_in),
		group_test(test_memory_and_groups_are_bounded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
