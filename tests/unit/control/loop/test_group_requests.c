/* SPDX-License-Identifier: Apache-2.0 */
/* The group APIs as frames, on a control loop whose shards keep __consumer_offsets in memory. */
#include "kafka/batch.h"
#include "unit/control/loop/ctl_env.h"

#define STORES 512

/* One partition's log, by part id. */
struct store {
	uint8_t *bytes;
	size_t len;
	int64_t next_offset;
	unsigned appends;
};

struct shards {
	struct store v[STORES];
	struct list held; /* struct msg: operations not yet carried out */
	bool hold;
	int16_t fail;
	unsigned reads;
};

/* ---- partitions ---- */

static void append(struct shards *s, struct store *t, struct part_op *op)
{
	op->error = s->fail;
	if (s->fail)
		return;
	assert_int_equal(batch_size(op->append.data), op->append.len);
	assert_true(batch_crc_ok(op->append.data));
	t->bytes = realloc(t->bytes, t->len + op->append.len);
	memcpy(t->bytes + t->len, op->append.data, op->append.len);
	batch_set_base_offset(t->bytes + t->len, t->next_offset);
	t->next_offset = batch_next_offset(t->bytes + t->len);
	t->len += op->append.len;
	t->appends++;
}

/* One batch at a time, in blocks of its own. */
static void fetch(struct shards *s, struct store *t, struct part_op *op)
{
	size_t at = 0;
	while (at < t->len && batch_last_offset(t->bytes + at) < op->fetch.offset)
		at += batch_size(t->bytes + at);
	op->error = s->fail;
	op->fetch.high_watermark = t->next_offset;
	op->fetch.span = (struct lspan){0};
	if (s->fail || at == t->len)
		return;
	uint32_t len = batch_size(t->bytes + at), done = 0;
	struct lblock **link = &op->fetch.span.first;
	op->fetch.span.len = len;
	while (done < len) {
		struct lblock *b = calloc(1, sizeof(*b));
		uint32_t n = min_of(len - done, LBLOCK_SIZE);
		b->data = malloc(LBLOCK_SIZE);
		memcpy(b->data, t->bytes + at + done, n);
		done += n;
		*link = b;
		link = &b->next;
	}
	s->reads++;
}

static void carry_out(struct env *e, struct msg *m)
{
	struct shards *s = e->on_op_arg;
	struct part_op *op = &m->op;
	assert_true(op->part_id < STORES);
	struct store *t = &s->v[op->part_id];
	switch (op->kind) {
	case PART_APPEND:
		append(s, t, op);
		break;
	case PART_FETCH:
		fetch(s, t, op);
		break;
	case PART_LIST:
		op->error = s->fail;
		op->list.offset = 0;
		break;
	case PART_WAIT:
	case PART_TRIM:
	case PART_PRODUCERS:
	case PART_SIZE:
		fail_msg("nobody waits or trims here");
	}
	mesh_answer(&e->shard[op->shard], m);
}

static void release(struct env *e, uint16_t shard, struct msg *m)
{
	for (struct lblock *b = m->release.span.first, *next; b; b = next) {
		next = b->next;
		free(b->data);
		free(b);
	}
	mesh_answer(&e->shard[shard], m);
}

static void on_op(struct env *e, uint16_t shard, struct msg *m)
{
	struct shards *s = e->on_op_arg;
	if (m->kind == MSG_RELEASE)
		release(e, shard, m);
	else if (s->hold)
		list_push_back(&s->held, &m->node);
	else
		carry_out(e, m);
}

static void let_go(struct env *e)
{
	struct shards *s = e->on_op_arg;
	struct list *n;
	s->hold = false;
	while ((n = list_pop_front(&s->held)))
		carry_out(e, list_entry(n, struct msg, node));
	for (uint16_t i = 0; i < SHARDS; i++)
		mesh_flush(&e->shard[i]);
	settle(e);
}

static int setup_with_delay(void **state, const char *delay)
{
	setup(state);
	struct env *e = *state;
	struct shards *s = calloc(1, sizeof(*s));
	list_init(&s->held);
	e->on_op = on_op;
	e->on_op_arg = s;
	close_ctl(e); /* once more with this: */
	set(e, delay);
	set(e, "advertised.listeners=PLAINTEXT://broker.example:9999");
	open_ctl(e);
	start(e);
	return 0;
}

static int setup_groups(void **state)
{
	return setup_with_delay(state, "group.initial.rebalance.delay.ms=0");
}

/* A join stays parked for as long as a test takes, however slow the machine is. */
static int setup_parking_groups(void **state)
{
	return setup_with_delay(state, "group.initial.rebalance.delay.ms=300000");
}

static int teardown_groups(void **state)
{
	struct env *e = *state;
	struct shards *s = e->on_op_arg;
	if (e->c)
		stop(e);
	for (unsigned i = 0; i < STORES; i++)
		free(s->v[i].bytes);
	free(s);
	return teardown(state);
}

static void restart_ctl(struct env *e)
{
	stop(e);
	close_ctl(e);
	open_ctl(e);
	start(e);
}

/* ---- requests ---- */

/* Until the answer is there; timers of the groups are a few milliseconds long here. */
static struct msg *wait_for(struct env *e, struct msg *m)
{
	struct msg *got;
	for (int i = 0; i < 1000; i++) {
		shards_turn(e);
		ctl_turn(e->c, 10);
		shards_turn(e);
		got = take(e, m);
		if (got)
			return got;
	}
	fail_msg("no answer");
	return NULL;
}

static struct msg *ask(struct env *e, int16_t key, int16_t version, const void *req, void *resp)
{
	struct msg *m = wait_for(e, send_request(e, key, version, req));
	decode(m, resp);
	return m;
}

static void find(
	struct env *e, int16_t version, int8_t type, struct kp_find_coordinator_response *r)
{
	struct kstr key = kstr_of("g");
	struct kp_find_coordinator_request req;
	kp_default_find_coordinator_request(&req);
	req.key = key;
	req.key_type = type;
	req.coordinator_keys = &key;
	req.n_coordinator_keys = 1;
	static struct msg *before; /* the strings of *r lie in the response */
	if (before)
		free_msg(before);
	before = ask(e, KP_FIND_COORDINATOR, version, &req, r);
	if (version >= 4) {
		assert_int_equal(r->n_coordinators, 1);
		assert_true(kstr_equal(r->coordinators[0].key, key));
	}
}

static struct msg *send_join(struct env *e, const char *member)
{
	struct kp_join_group_request_protocol p = {
		.name = kstr_of("range"), .metadata = {.p = (const uint8_t *)"sub", .len = 3}};
	struct kp_join_group_request req;
	kp_default_join_group_request(&req);
	req.group_id = kstr_of("g");
	req.session_timeout_ms = 400000;
	req.rebalance_timeout_ms = 400000;
	req.member_id = kstr_of(member);
	req.protocol_type = kstr_of("consumer");
	req.protocols = &p;
	req.n_protocols = 1;
	return send_request(e, KP_JOIN_GROUP, 7, &req);
}

static struct msg *send_commit(
	struct env *e, int16_t version, const char *topic, int32_t partition, int64_t offset)
{
	struct kp_offset_commit_request_partition p;
	struct kp_offset_commit_request_topic t;
	struct kp_offset_commit_request req;
	kp_default_offset_commit_request_partition(&p);
	kp_default_offset_commit_request_topic(&t);
	kp_default_offset_commit_request(&req);
	p.index = partition;
	p.committed_offset = offset;
	p.committed_leader_epoch = 2;
	p.committed_metadata = kstr_of("note");
	t.name = kstr_of(topic);
	const struct image_topic *it = served_topic(e, topic);
	if (it)
		t.topic_id = it->id;
	t.partitions = &p;
	t.n_partitions = 1;
	req.group_id = kstr_of("g");
	req.topics = &t;
	req.n_topics = 1;
	return send_request(e, KP_OFFSET_COMMIT, version, &req);
}

static int16_t committed(struct env *e, struct msg *m)
{
	struct kp_offset_commit_response r;
	m = wait_for(e, m);
	decode(m, &r);
	assert_int_equal(r.n_topics, 1);
	assert_int_equal(r.topics[0].n_partitions, 1);
	int16_t error = r.topics[0].partitions[0].error_code;
	free_msg(m);
	return error;
}

static int16_t commit(struct env *e, int16_t version, const char *topic, int32_t p, int64_t offset)
{
	return committed(e, send_commit(e, version, topic, p, offset));
}

/* The offset as one version tells it: of partition p, or of all; -100 - error. */
static int64_t fetched(struct env *e, int16_t version, const char *topic, int32_t p, bool all)
{
	struct kp_offset_fetch_request_topic t = {
		.name = kstr_of(topic), .partitions = &p, .n_partitions = 1};
	struct kp_offset_fetch_request_group_topic gt = {
		.name = kstr_of(topic), .partitions = &p, .n_partitions = 1};
	const struct image_topic *it = served_topic(e, topic);
	if (it)
		gt.topic_id = it->id;
	struct kp_offset_fetch_request_group g;
	struct kp_offset_fetch_request req;
	struct kp_offset_fetch_response r;
	kp_default_offset_fetch_request_group(&g);
	kp_default_offset_fetch_request(&req);
	req.group_id = g.group_id = kstr_of("g");
	req.topics = &t;
	g.topics = &gt;
	req.n_topics = g.n_topics = all ? -1 : 1;
	req.groups = &g;
	req.n_groups = 1;
	struct msg *m = ask(e, KP_OFFSET_FETCH, version, &req, &r);
	int64_t offset = -2;
	if (version < 8) {
		if (r.error_code)
			offset = -100 - r.error_code;
		for (int32_t i = 0; i < r.n_topics; i++)
			for (int32_t k = 0; k < r.topics[i].n_partitions; k++)
				if (r.topics[i].partitions[k].index == p)
					offset = r.topics[i].partitions[k].committed_offset;
	} else {
		assert_int_equal(r.n_groups, 1);
		if (r.groups[0].error_code)
			offset = -100 - r.groups[0].error_code;
		for (int32_t i = 0; i < r.groups[0].n_topics; i++)
			for (int32_t k = 0; k < r.groups[0].topics[i].n_partitions; k++)
				if (r.groups[0].topics[i].partitions[k].index == p)
					offset = r.groups[0]
							 .topics[i]
							 .partitions[k]
							 .committed_offset;
	}
	free_msg(m);
	return offset;
}

static void wait_until_loaded(struct env *e)
{
	while (fetched(e, 8, "t", 0, false) == -100 - KE_COORDINATOR_LOAD_IN_PROGRESS)
		settle(e);
}

/* ---- tests ---- */

static void test_the_first_question_for_a_coordinator_makes_the_offsets_topic(void **state)
{
	struct env *e = *state;
	struct kp_find_coordinator_response r;
	assert_null(served_topic(e, TOPIC_OFFSETS));
	find(e, 0, 0, &r);
	assert_int_equal(r.error_code, KE_NONE);
	assert_int_equal(r.node_id, 3);
	assert_true(kstr_equal(r.host, kstr_of("broker.example")));
	assert_int_equal(r.port, 9999);
	assert_int_equal(served_topic(e, TOPIC_OFFSETS)->partition_count, 4);
	find(e, 2, 0, &r);
	assert_int_equal(r.node_id, 3);
	for (int16_t version = 4; version <= 6; version++) {
		find(e, version, 0, &r);
		assert_int_equal(r.coordinators[0].error_code, KE_NONE);
		assert_int_equal(r.coordinators[0].port, 9999);
	}
	find(e, 6, 1, &r);
	assert_int_equal(r.coordinators[0].error_code, KE_COORDINATOR_NOT_AVAILABLE);
	assert_int_equal(r.coordinators[0].node_id, -1);
	find(e, 3, 7, &r);
	assert_int_equal(r.error_code, KE_INVALID_REQUEST);
}

static void test_without_the_offsets_topic_nobody_is_the_coordinator(void **state)
{
	struct env *e = *state;
	assert_int_equal(create(e, "t", 2), KE_NONE);
	assert_int_equal(commit(e, 7, "t", 0, 5), KE_NOT_COORDINATOR);
	assert_int_equal(fetched(e, 5, "t", 0, false), -100 - KE_NOT_COORDINATOR);
}

static void test_a_member_joins_syncs_and_leaves(void **state)
{
	struct env *e = *state;
	struct kp_find_coordinator_response found;
	find(e, 3, 0, &found);
	settle(e);
	struct kp_join_group_response j;
	struct msg *m = wait_for(e, send_join(e, ""));
	decode(m, &j);
	assert_int_equal(j.error_code, KE_MEMBER_ID_REQUIRED);
	char id[128];
	kstr_copy(j.member_id, id, sizeof(id));
	free_msg(m);
	m = wait_for(e, send_join(e, id));
	decode(m, &j);
	assert_int_equal(j.error_code, KE_NONE);
	assert_int_equal(j.generation_id, 1);
	assert_true(kstr_equal(j.leader, kstr_of(id)));
	assert_true(kstr_equal(j.protocol_type, kstr_of("consumer")));
	assert_int_equal(j.n_members, 1);
	assert_memory_equal(j.members[0].metadata.p, "sub", 3);
	free_msg(m);

	struct kp_sync_group_request_assignment a = {
		.member_id = kstr_of(id), .assignment = {.p = (const uint8_t *)"mine", .len = 4}};
	struct kp_sync_group_request sync;
	struct kp_sync_group_response synced;
	kp_default_sync_group_request(&sync);
	sync.group_id = kstr_of("g");
	sync.generation_id = 1;
	sync.member_id = kstr_of(id);
	sync.assignments = &a;
	sync.n_assignments = 1;
	m = ask(e, KP_SYNC_GROUP, 3, &sync, &synced);
	assert_int_equal(synced.error_code, KE_NONE);
	assert_memory_equal(synced.assignment.p, "mine", 4);
	free_msg(m);

	restart_ctl(e); /* the group is in the log */
	wait_until_loaded(e);
	struct kp_heartbeat_request beat;
	struct kp_heartbeat_response beaten;
	kp_default_heartbeat_request(&beat);
	beat.group_id = kstr_of("g");
	beat.generation_id = 1;
	beat.member_id = kstr_of(id);
	m = ask(e, KP_HEARTBEAT, 4, &beat, &beaten);
	assert_int_equal(beaten.error_code, KE_NONE);
	free_msg(m);
	struct kp_leave_group_request_member lm;
	struct kp_leave_group_request leave;
	struct kp_leave_group_response left;
	kp_default_leave_group_request_member(&lm);
	kp_default_leave_group_request(&leave);
	lm.member_id = kstr_of(id);
	leave.group_id = kstr_of("g");
	leave.members = &lm;
	leave.n_members = 1;
	m = ask(e, KP_LEAVE_GROUP, 4, &leave, &left);
	assert_int_equal(left.error_code, KE_NONE);
	assert_int_equal(left.members[0].error_code, KE_NONE);
	free_msg(m);
	m = ask(e, KP_HEARTBEAT, 4, &beat, &beaten);
	assert_int_equal(beaten.error_code, KE_UNKNOWN_MEMBER_ID);
	free_msg(m);
}

static void begin_offsets(struct env *e)
{
	struct kp_find_coordinator_response found;
	assert_int_equal(create(e, "t", 3), KE_NONE);
	find(e, 2, 0, &found);
	settle(e);
}

/* How many groups there are of this state and type; NULL: of any. */
static int32_t listed(struct env *e, int16_t version, const char *state, const char *type)
{
	struct kstr s = kstr_of(state ? state : ""), t = kstr_of(type ? type : "");
	struct kp_list_groups_request req = {.states_filter = &s,
		.n_states_filter = state != NULL,
		.types_filter = &t,
		.n_types_filter = type != NULL};
	struct kp_list_groups_response r;
	struct msg *m = ask(e, KP_LIST_GROUPS, version, &req, &r);
	assert_int_equal(r.error_code, KE_NONE);
	for (int32_t i = 0; i < r.n_groups; i++) {
		assert_true(kstr_equal(r.groups[i].group_id, kstr_of("g")));
		assert_true(kstr_equal(r.groups[i].protocol_type, kstr_of("consumer")));
	}
	int32_t n = r.n_groups;
	free_msg(m);
	return n;
}

static struct msg *describe(
	struct env *e, int16_t version, const char *group, struct kp_describe_groups_response *r)
{
	struct kstr id = kstr_of(group);
	struct kp_describe_groups_request req = {
		.groups = &id, .n_groups = 1, .include_authorized_operations = version >= 3};
	struct msg *m = ask(e, KP_DESCRIBE_GROUPS, version, &req, r);
	assert_int_equal(r->n_groups, 1);
	assert_true(kstr_equal(r->groups[0].group_id, id));
	return m;
}

static void test_groups_are_listed_and_described(void **state)
{
	struct env *e = *state;
	struct kp_find_coordinator_response found;
	struct kp_join_group_response j;
	struct kp_describe_groups_response r;
	assert_int_equal(listed(e, 5, NULL, NULL), 0);
	find(e, 3, 0, &found);
	settle(e);
	struct msg *m = wait_for(e, send_join(e, ""));
	decode(m, &j);
	char id[128];
	kstr_copy(j.member_id, id, sizeof(id));
	free_msg(m);
	free_msg(wait_for(e, send_join(e, id)));
	m = describe(e, 6, "g", &r);
	assert_true(kstr_equal(r.groups[0].group_state, kstr_of("CompletingRebalance")));
	assert_int_equal(r.groups[0].protocol_data.len, 0);
	assert_int_equal(r.groups[0].members[0].member_metadata.len, 0);
	free_msg(m);
	struct kp_sync_group_request_assignment a = {
		.member_id = kstr_of(id), .assignment = {.p = (const uint8_t *)"mine", .len = 4}};
	struct kp_sync_group_request sync;
	struct kp_sync_group_response synced;
	kp_default_sync_group_request(&sync);
	sync.group_id = kstr_of("g");
	sync.generation_id = 1;
	sync.member_id = kstr_of(id);
	sync.assignments = &a;
	sync.n_assignments = 1;
	free_msg(ask(e, KP_SYNC_GROUP, 3, &sync, &synced));
	for (int16_t version = 0; version <= 6; version++) {
		m = describe(e, version, "g", &r);
		const struct kp_describe_groups_response_group *g = &r.groups[0];
		assert_int_equal(g->error_code, KE_NONE);
		assert_true(kstr_equal(g->group_state, kstr_of("Stable")));
		assert_true(kstr_equal(g->protocol_type, kstr_of("consumer")));
		assert_true(kstr_equal(g->protocol_data, kstr_of("range")));
		assert_int_equal(g->n_members, 1);
		assert_true(kstr_equal(g->members[0].member_id, kstr_of(id)));
		assert_int_equal(g->members[0].member_metadata.len, 3);
		assert_memory_equal(g->members[0].member_assignment.p, "mine", 4);
		assert_int_equal(g->authorized_operations > 0, version >= 3);
		free_msg(m);
		m = describe(e, version, "other", &r);
		assert_true(kstr_equal(r.groups[0].group_state, kstr_of("Dead")));
		assert_int_equal(
			r.groups[0].error_code, version < 6 ? KE_NONE : KE_GROUP_ID_NOT_FOUND);
		free_msg(m);
	}
	for (int16_t version = 0; version <= 5; version++)
		assert_int_equal(listed(e, version, NULL, NULL), 1);
	assert_int_equal(listed(e, 4, "stable", NULL), 1);
	assert_int_equal(listed(e, 4, "Empty", NULL), 0);
	assert_int_equal(listed(e, 5, NULL, "Classic"), 1);
	assert_int_equal(listed(e, 5, NULL, "consumer"), 0);
}

static void test_offsets_are_committed_and_fetched_in_every_version(void **state)
{
	struct env *e = *state;
	begin_offsets(e);
	for (int16_t version = 2; version <= 10; version++)
		assert_int_equal(commit(e, version, "t", 1, 100 + version), KE_NONE);
	for (int again = 0; again < 2; again++) {
		wait_until_loaded(e);
		for (int16_t version = 1; version <= 10; version++) {
			assert_int_equal(fetched(e, version, "t", 1, false), 110);
			assert_int_equal(fetched(e, version, "t", 2, false), -1);
			if (version >= 2)
				assert_int_equal(fetched(e, version, "t", 1, true), 110);
		}
		restart_ctl(e);
	}
	assert_int_equal(commit(e, 7, "nope", 0, 1), KE_UNKNOWN_TOPIC_OR_PARTITION);
	assert_int_equal(commit(e, 10, "nope", 0, 1), KE_UNKNOWN_TOPIC_ID);
	assert_int_equal(commit(e, 7, "t", 3, 1), KE_UNKNOWN_TOPIC_OR_PARTITION);
	assert_int_equal(commit(e, 10, "t", -1, 1), KE_UNKNOWN_TOPIC_OR_PARTITION);
}

static struct store *store_of_group(struct env *e)
{
	struct shards *s = e->on_op_arg;
	uint32_t p = (uint32_t)'g' % 4; /* the hash of a string of one letter */
	return &s->v[served_topic(e, TOPIC_OFFSETS)->partitions[p].part_id];
}

static void test_commits_that_come_during_a_write_share_the_next_batch(void **state)
{
	struct env *e = *state;
	struct shards *s = e->on_op_arg;
	struct msg *m[10];
	begin_offsets(e);
	s->hold = true;
	for (int i = 0; i < 10; i++)
		m[i] = send_commit(e, 7, "t", i % 3, i);
	settle(e);
	for (int i = 0; i < 10; i++)
		assert_null(take(e, m[i])); /* none before it is durable */
	let_go(e);
	for (int i = 0; i < 10; i++)
		assert_int_equal(committed(e, m[i]), KE_NONE);
	assert_int_equal(store_of_group(e)->appends, 2);
	assert_int_equal(store_of_group(e)->next_offset, 10);
	assert_int_equal(fetched(e, 7, "t", 0, false), 9);
}

static void test_a_commit_that_cannot_be_stored_is_refused(void **state)
{
	struct env *e = *state;
	struct shards *s = e->on_op_arg;
	begin_offsets(e);
	assert_int_equal(commit(e, 7, "t", 0, 1), KE_NONE);
	s->fail = KE_KAFKA_STORAGE_ERROR;
	assert_int_equal(commit(e, 7, "t", 0, 2), KE_NOT_COORDINATOR);
	s->fail = KE_NONE;
	assert_int_equal(fetched(e, 7, "t", 0, false), 1);
	assert_int_equal(commit(e, 7, "t", 0, 3), KE_NONE);
}

static void test_while_the_log_is_read_clients_are_told_so(void **state)
{
	struct env *e = *state;
	struct shards *s = e->on_op_arg;
	begin_offsets(e);
	for (int i = 0; i < 20; i++)
		assert_int_equal(commit(e, 7, "t", 0, i), KE_NONE);
	stop(e);
	close_ctl(e);
	s->hold = true;
	open_ctl(e);
	start(e);
	assert_int_equal(commit(e, 7, "t", 0, 99), KE_COORDINATOR_LOAD_IN_PROGRESS);
	assert_int_equal(fetched(e, 8, "t", 0, false), -100 - KE_COORDINATOR_LOAD_IN_PROGRESS);
	s->reads = 0;
	let_go(e);
	while (s->reads < 20) /* one batch at a time */
		settle(e);
	settle(e);
	assert_int_equal(fetched(e, 8, "t", 0, false), 19);
}

static void test_a_partition_that_cannot_be_read_is_tried_again(void **state)
{
	struct env *e = *state;
	struct shards *s = e->on_op_arg;
	begin_offsets(e);
	assert_int_equal(commit(e, 7, "t", 0, 7), KE_NONE);
	stop(e);
	close_ctl(e);
	s->fail = KE_KAFKA_STORAGE_ERROR;
	open_ctl(e);
	start(e);
	assert_int_equal(fetched(e, 8, "t", 0, false), -100 - KE_COORDINATOR_LOAD_IN_PROGRESS);
	s->fail = KE_NONE;
	while (fetched(e, 8, "t", 0, false) < 0)
		ctl_turn(e->c, -1);
	assert_int_equal(fetched(e, 8, "t", 0, false), 7);
}

static void test_a_deleted_topic_takes_its_offsets_along(void **state)
{
	struct env *e = *state;
	begin_offsets(e);
	assert_int_equal(create(e, "u", 1), KE_NONE);
	assert_int_equal(commit(e, 7, "t", 0, 1), KE_NONE);
	assert_int_equal(commit(e, 7, "u", 0, 2), KE_NONE);
	struct kp_delete_topics_request req;
	struct kp_delete_topics_response r;
	struct kstr name = kstr_of("t");
	kp_default_delete_topics_request(&req);
	req.topic_names = &name;
	req.n_topic_names = 1;
	req.timeout_ms = 60000;
	free_msg(ask(e, KP_DELETE_TOPICS, 1, &req, &r));
	settle(e);
	assert_int_equal(create(e, "t", 1), KE_NONE);
	assert_int_equal(fetched(e, 7, "t", 0, false), -1);
	assert_int_equal(fetched(e, 7, "u", 0, false), 2);
	restart_ctl(e);
	wait_until_loaded(e);
	assert_int_equal(fetched(e, 7, "t", 0, false), -1);
	assert_int_equal(fetched(e, 7, "u", 0, false), 2);
}

static void test_a_stop_answers_what_is_parked_and_finishes_writes(void **state)
{
	struct env *e = *state;
	struct shards *s = e->on_op_arg;
	struct kp_join_group_response j;
	begin_offsets(e);
	struct msg *m = wait_for(e, send_join(e, ""));
	decode(m, &j);
	char id[128];
	kstr_copy(j.member_id, id, sizeof(id));
	free_msg(m);
	struct msg *other = wait_for(e, send_join(e, "")); /* an id that has not come back yet */
	struct msg *parked = send_join(e, id);
	struct msg *first = send_commit(e, 7, "t", 0, 1);
	settle(e);
	s->hold = true;
	ctl_shutdown(e->c);
	settle(e);
	m = take(e, parked);
	assert_non_null(m);
	decode(m, &j);
	assert_int_equal(j.error_code, KE_COORDINATOR_NOT_AVAILABLE);
	free_msg(m);
	free_msg(other);
	struct kp_offset_commit_response r;
	m = take(e, first);
	assert_non_null(m); /* the group has a member: this is none of its business */
	decode(m, &r);
	assert_int_equal(r.topics[0].partitions[0].error_code, KE_UNKNOWN_MEMBER_ID);
	free_msg(m);
	let_go(e);
	assert_int_equal(ctl_state_of(e->c), CTL_STOPPED);
	close_ctl(e);
}

static void test_a_stop_waits_for_commits_under_way(void **state)
{
	struct env *e = *state;
	struct shards *s = e->on_op_arg;
	begin_offsets(e);
	s->hold = true;
	struct msg *a = send_commit(e, 7, "t", 0, 1);
	struct msg *b = send_commit(e, 7, "t", 1, 2);
	settle(e);
	ctl_shutdown(e->c);
	settle(e);
	assert_int_not_equal(ctl_state_of(e->c), CTL_STOPPED);
	assert_null(take(e, a));
	let_go(e);
	settle(e);
	assert_int_equal(ctl_state_of(e->c), CTL_STOPPED);
	struct msg *m[] = {take(e, a), take(e, b)};
	for (int i = 0; i < 2; i++) {
		struct kp_offset_commit_response r;
		assert_non_null(m[i]);
		decode(m[i], &r);
		assert_int_equal(r.topics[0].partitions[0].error_code, KE_NONE);
		free_msg(m[i]);
	}
	close_ctl(e);
}

static void test_frames_that_are_no_requests_are_hung_up(void **state)
{
	struct env *e = *state;
	static const int16_t keys[] = {KP_FIND_COORDINATOR, KP_JOIN_GROUP, KP_SYNC_GROUP,
		KP_HEARTBEAT, KP_LEAVE_GROUP, KP_OFFSET_COMMIT, KP_OFFSET_FETCH};
	static const uint8_t garbage[] = {0x7f, 0xff, 0xff, 0xff, 1, 2, 3};
	begin_offsets(e);
	for (size_t i = 0; i < array_size(keys); i++) {
		const struct kp_message *msg = message_of(keys[i]);
		for (int16_t v = msg->min; v <= msg->max; v++) {
			struct msg *m =
				wait_for(e, send_frame(e, keys[i], v, garbage, sizeof(garbage)));
			assert_null(m->request.response.p);
			free_msg(m);
		}
	}
}

#define groups_test(f) cmocka_unit_test_setup_teardown(f, setup_groups, teardown_groups)

int main(void)
{
	const struct CMUnitTest tests[] = {
		groups_test(test_the_first_question_for_a_coordinator_makes_the_offsets_topic),
		groups_test(test_without_the_offsets_topic_nobody_is_the_coordinator),
		groups_test(test_a_member_joins_syncs_and_leaves),
		groups_test(test_groups_are_listed_and_described),
		groups_test(test_offsets_are_committed_and_fetched_in_every_version),
		groups_test(test_commits_that_come_during_a_write_share_the_next_batch),
		groups_test(test_a_commit_that_cannot_be_stored_is_refused),
		groups_test(test_while_the_log_is_read_clients_are_told_so),
		groups_test(test_a_partition_that_cannot_be_read_is_tried_again),
		groups_test(test_a_deleted_topic_takes_its_offsets_along),
		cmocka_unit_test_setup_teardown(
			test_a_stop_answers_what_is_parked_and_finishes_writes,
			setup_parking_groups, teardown_groups),
		groups_test(test_a_stop_waits_for_commits_under_way),
		groups_test(test_frames_that_are_no_requests_are_hung_up),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
