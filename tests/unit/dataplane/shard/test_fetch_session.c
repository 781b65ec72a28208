/* SPDX-License-Identifier: Apache-2.0 */
/* Fetch sessions (KIP-227) through a whole shard. Topic "t" has two partitions or more. */
#include "lib/shard_world.h"

#define NAMES 12
#define IDS 13

/* A request of one topic, and what came back. */
struct ask {
	int16_t version;
	int32_t session, epoch;
	const char *topic;
	int32_t parts[4];
	int32_t part_count;
	int64_t offset;	 /* of all of them */
	int32_t forget;	 /* 1 + a partition; 0: none */
	int32_t wait_ms; /* > 0: min_bytes 1 */
};

struct answer {
	int16_t error;
	int32_t session;
	int32_t count; /* of partitions */
	struct {
		int32_t index;
		int16_t error;
		int64_t high_watermark;
		uint32_t bytes;
	} parts[8];
};

static uint32_t frame_of(struct world *w, uint8_t *buf, uint32_t size, const struct ask *a)
{
	struct kp_fetch_request q;
	struct kp_fetch_request_partition parts[4];
	struct kp_fetch_request_topic t = {.name = kstr_of(a->topic ? a->topic : "t"),
		.partitions = parts,
		.n_partitions = a->part_count};
	const struct image_topic *topic = image_topic_by_name(w->image, t.name);
	int32_t gone = a->forget - 1;
	struct kp_fetch_request_forgotten_topic f = {
		.name = t.name, .partitions = &gone, .n_partitions = 1};
	if (topic)
		t.topic_id = f.topic_id = topic->id;
	kp_default_fetch_request(&q);
	q.session_id = a->session;
	q.session_epoch = a->epoch;
	q.max_wait_ms = a->wait_ms;
	q.min_bytes = a->wait_ms > 0;
	q.topics = &t;
	q.n_topics = a->part_count > 0;
	q.forgotten_topics = &f;
	q.n_forgotten_topics = a->forget > 0;
	for (int32_t i = 0; i < a->part_count; i++) {
		kp_default_fetch_request_partition(&parts[i]);
		parts[i].index = a->parts[i];
		parts[i].fetch_offset = a->offset;
		parts[i].max_bytes = 1 << 20;
	}
	int16_t version = a->version ? a->version : NAMES;
	struct kwr k = kwr_of(buf, size);
	kp_request_begin(&k, kp_api_find(KP_FETCH), version, 9, (struct kstr){"x", 1});
	kp_encode_fetch_request(&k, version, &q);
	assert_true(kp_request_end(&k));
	return (uint32_t)kwr_len(&k);
}

static struct answer take(struct world *w, uint32_t c, int16_t version)
{
	static uint8_t mem[8192];
	struct arena arena;
	struct rd body;
	struct kp_fetch_response resp;
	struct answer a;
	arena_init(&arena, mem, sizeof(mem));
	assert_int_equal(next_response(w, c, &body), 9);
	assert_int_equal(rd_u8(&body), 0); /* tagged fields of the header */
	assert_int_equal(
		kp_decode_fetch_response(&body, version ? version : NAMES, &resp, &arena), 0);
	a.error = resp.error_code;
	a.session = resp.session_id;
	a.count = 0;
	for (int32_t i = 0; i < resp.n_topics; i++)
		for (int32_t j = 0; j < resp.topics[i].n_partitions; j++) {
			const struct kp_fetch_response_partition *p = &resp.topics[i].partitions[j];
			a.parts[a.count].index = p->index;
			a.parts[a.count].error = p->error_code;
			a.parts[a.count].high_watermark = p->high_watermark;
			a.parts[a.count++].bytes = p->records.len;
		}
	return a;
}

static void send_ask(struct world *w, uint32_t c, struct ask a)
{
	uint8_t f[1024];
	receive(w, c, f, frame_of(w, f, sizeof(f), &a));
	turn(w, 5);
}

static struct answer ask(struct world *w, uint32_t c, struct ask a)
{
	send_ask(w, c, a);
	return take(w, c, a.version);
}

static void produce(struct world *w, uint32_t c, int32_t part)
{
	uint8_t f[8192];
	receive(w, c, f, produce_frame(f, sizeof(f), 5, part, "x"));
	turn(w, 4);
	struct rd body;
	assert_int_equal(next_response(w, c, &body), 5);
}

/* A session of connection c with partitions 0 and 1, both empty. */
static int32_t begin(struct world *w, uint32_t c)
{
	connect_client(w, c);
	struct answer a = ask(w, c, (struct ask){.parts = {0, 1}, .part_count = 2});
	assert_int_equal(a.error, KE_NONE);
	assert_int_equal(a.count, 2);
	return a.session;
}

static void test_only_what_has_changed_is_answered(void **state)
{
	struct world *w = *state;
	int32_t id = begin(w, 1);
	assert_true(id > 0);
	assert_int_equal(ask(w, 1, (struct ask){.session = id, .epoch = 1}).count, 0);
	produce(w, 1, 1);
	struct answer a = ask(w, 1, (struct ask){.session = id, .epoch = 2});
	assert_int_equal(a.session, id);
	assert_int_equal(a.count, 1);
	assert_int_equal(a.parts[0].index, 1);
	assert_int_equal(a.parts[0].high_watermark, 1);
	assert_true(a.parts[0].bytes > 0);
	/* the same offset again: the records again */
	a = ask(w, 1, (struct ask){.session = id, .epoch = 3});
	assert_int_equal(a.count, 1);
	/* a new offset: nothing behind it, and nothing else is new */
	a = ask(w, 1,
		(struct ask){
			.session = id, .epoch = 4, .parts = {1}, .part_count = 1, .offset = 1});
	assert_int_equal(a.count, 0);
	assert_int_equal(a.session, id);
}

static void test_a_moved_high_watermark_is_news_without_records(void **state)
{
	struct world *w = *state;
	int32_t id = begin(w, 1);
	produce(w, 1, 0);
	struct answer a = ask(w, 1,
		(struct ask){
			.session = id, .epoch = 1, .parts = {0}, .part_count = 1, .offset = 1});
	assert_int_equal(a.count, 1);
	assert_int_equal(a.parts[0].high_watermark, 1);
	assert_int_equal(a.parts[0].bytes, 0);
	assert_int_equal(ask(w, 1, (struct ask){.session = id, .epoch = 2}).count, 0);
}

static void test_partitions_are_added_and_forgotten(void **state)
{
	struct world *w = *state;
	connect_client(w, 1);
	int32_t id = ask(w, 1, (struct ask){.parts = {0}, .part_count = 1}).session;
	struct answer a =
		ask(w, 1, (struct ask){.session = id, .epoch = 1, .parts = {1}, .part_count = 1});
	assert_int_equal(a.count, 1);
	assert_int_equal(a.parts[0].index, 1);
	a = ask(w, 1, (struct ask){.session = id, .epoch = 2, .forget = 1});
	produce(w, 1, 0);
	produce(w, 1, 1);
	a = ask(w, 1, (struct ask){.session = id, .epoch = 3});
	assert_int_equal(a.count, 1);
	assert_int_equal(a.parts[0].index, 1);
}

static void test_a_partition_named_twice_is_there_once(void **state)
{
	struct world *w = *state;
	connect_client(w, 1);
	int32_t id = ask(w, 1, (struct ask){.parts = {1, 0, 1}, .part_count = 3}).session;
	assert_true(id > 0);
	struct answer a = ask(
		w, 1, (struct ask){.session = id, .epoch = 1, .parts = {0, 0}, .part_count = 2});
	assert_int_equal(a.count, 0);
	produce(w, 1, 1);
	assert_int_equal(ask(w, 1, (struct ask){.session = id, .epoch = 2}).count, 1);
}

static void test_who_gave_records_comes_last_the_next_time(void **state)
{
	struct world *w = *state;
	int32_t id = begin(w, 1);
	produce(w, 1, 0);
	struct answer a = ask(w, 1, (struct ask){.session = id, .epoch = 1});
	assert_int_equal(a.parts[0].index, 0);
	produce(w, 1, 1);
	a = ask(w, 1, (struct ask){.session = id, .epoch = 2});
	assert_int_equal(a.count, 2);
	assert_int_equal(a.parts[0].index, 1);
	assert_int_equal(a.parts[1].index, 0);
}

static void test_an_error_is_told_each_time_and_what_follows_it_too(void **state)
{
	struct world *w = *state;
	connect_client(w, 1);
	struct answer a = ask(w, 1, (struct ask){.parts = {0, 99}, .part_count = 2});
	assert_true(a.session > 0);
	for (int32_t e = 1; e <= 2; e++) {
		struct answer b = ask(w, 1, (struct ask){.session = a.session, .epoch = e});
		assert_int_equal(b.count, 1);
		assert_int_equal(b.parts[0].index, 99);
		assert_int_equal(b.parts[0].error, KE_UNKNOWN_TOPIC_OR_PARTITION);
	}
	/* out of range, and back in it: the high watermark is told anew */
	a = ask(w, 1,
		(struct ask){.session = a.session,
			.epoch = 3,
			.parts = {0},
			.part_count = 1,
			.offset = 50,
			.forget = 100});
	assert_int_equal(a.count, 1);
	assert_int_equal(a.parts[0].error, KE_OFFSET_OUT_OF_RANGE);
	a = ask(w, 1,
		(struct ask){.session = a.session, .epoch = 4, .parts = {0}, .part_count = 1});
	assert_int_equal(a.count, 1);
	assert_int_equal(a.parts[0].error, KE_NONE);
}

static void expect_refused(struct answer a, int16_t error)
{
	assert_int_equal(a.error, error);
	assert_int_equal(a.session, 0);
	assert_int_equal(a.count, 0);
}

static void test_ids_and_epochs_that_are_not_the_sessions_are_refused(void **state)
{
	struct world *w = *state;
	int32_t id = begin(w, 1);
	expect_refused(ask(w, 1, (struct ask){.session = id + 1, .epoch = 1}),
		KE_FETCH_SESSION_ID_NOT_FOUND);
	expect_refused(
		ask(w, 1, (struct ask){.session = 0, .epoch = 1}), KE_FETCH_SESSION_ID_NOT_FOUND);
	expect_refused(
		ask(w, 1, (struct ask){.session = id, .epoch = 2}), KE_INVALID_FETCH_SESSION_EPOCH);
	expect_refused(ask(w, 1, (struct ask){.session = id, .epoch = -2}),
		KE_INVALID_FETCH_SESSION_EPOCH);
	expect_refused(ask(w, 1, (struct ask){.version = IDS, .session = id, .epoch = 1}),
		KE_FETCH_SESSION_TOPIC_ID_ERROR);
	/* and it goes on */
	assert_int_equal(ask(w, 1, (struct ask){.session = id, .epoch = 1}).error, KE_NONE);
	expect_refused(
		ask(w, 1, (struct ask){.session = id, .epoch = 1}), KE_INVALID_FETCH_SESSION_EPOCH);
}

static void test_a_session_belongs_to_its_connection(void **state)
{
	struct world *w = *state;
	int32_t id = begin(w, 1);
	connect_client(w, 2);
	expect_refused(
		ask(w, 2, (struct ask){.session = id, .epoch = 1}), KE_FETCH_SESSION_ID_NOT_FOUND);
	assert_int_equal(ask(w, 1, (struct ask){.session = id, .epoch = 1}).session, id);
}

static void test_topic_ids_name_partitions_as_names_do(void **state)
{
	struct world *w = *state;
	connect_client(w, 1);
	struct answer a = ask(w, 1, (struct ask){.version = IDS, .parts = {0, 1}, .part_count = 2});
	assert_true(a.session > 0);
	produce(w, 1, 1);
	struct answer b = ask(w, 1, (struct ask){.version = IDS, .session = a.session, .epoch = 1});
	assert_int_equal(b.count, 1);
	assert_int_equal(b.parts[0].index, 1);
}

static void test_a_closed_session_is_gone_and_a_new_one_takes_its_place(void **state)
{
	struct world *w = *state;
	int32_t id = begin(w, 1);
	struct answer a = ask(w, 1, (struct ask){.session = id, .epoch = -1});
	assert_int_equal(a.error, KE_NONE);
	assert_int_equal(a.session, 0);
	assert_int_equal(w->shard->fetch_sessions.count, 0);
	expect_refused(
		ask(w, 1, (struct ask){.session = id, .epoch = 1}), KE_FETCH_SESSION_ID_NOT_FOUND);
	int32_t second = ask(w, 1, (struct ask){.parts = {0}, .part_count = 1}).session;
	int32_t third =
		ask(w, 1, (struct ask){.session = second, .parts = {0}, .part_count = 1}).session;
	assert_true(second > 0 && third > 0 && third != second);
	assert_int_equal(w->shard->fetch_sessions.count, 1);
	assert_int_equal(w->shard->fetch_sessions.parts, 1);
}

static void test_a_session_without_partitions_ends(void **state)
{
	struct world *w = *state;
	connect_client(w, 1);
	int32_t id = ask(w, 1, (struct ask){.parts = {0}, .part_count = 1}).session;
	struct answer a = ask(w, 1, (struct ask){.session = id, .epoch = 1, .forget = 1});
	assert_int_equal(a.error, KE_NONE);
	assert_int_equal(a.session, 0);
	assert_int_equal(w->shard->fetch_sessions.count, 0);
	assert_int_equal(w->shard->fetch_sessions.parts, 0);
}

static void test_without_a_free_slot_the_answer_is_whole_and_says_no_session(void **state)
{
	struct world *w = *state; /* with two slots */
	assert_true(begin(w, 1) > 0);
	assert_true(begin(w, 2) > 0);
	assert_int_equal(begin(w, 3), 0);
	fnet_end(&w->net, 1); /* who goes leaves its slot */
	turn(w, 3);
	assert_true(ask(w, 3, (struct ask){.parts = {0}, .part_count = 1}).session > 0);
}

static void test_a_session_unused_for_two_minutes_makes_room(void **state)
{
	struct world *w = *state;
	int32_t first = begin(w, 1);
	int32_t second = begin(w, 2);
	w->now_ns += 119 * NS_PER_S;
	assert_int_equal(ask(w, 1, (struct ask){.session = first, .epoch = 1}).session, first);
	assert_int_equal(begin(w, 3), 0);
	w->now_ns += 2 * NS_PER_S;
	assert_true(ask(w, 3, (struct ask){.parts = {0}, .part_count = 1}).session > 0);
	expect_refused(ask(w, 2, (struct ask){.session = second, .epoch = 1}),
		KE_FETCH_SESSION_ID_NOT_FOUND);
	assert_int_equal(ask(w, 1, (struct ask){.session = first, .epoch = 2}).session, first);
}

static void test_a_waiting_request_keeps_its_session_and_gets_the_records(void **state)
{
	struct world *w = *state;
	int32_t id = begin(w, 1);
	connect_client(w, 2);
	send_ask(w, 1, (struct ask){.session = id, .epoch = 1, .wait_ms = 600000});
	w->now_ns += 300 * NS_PER_S;
	assert_true(begin(w, 3) > 0);
	assert_int_equal(begin(w, 4), 0);
	produce(w, 2, 1);
	turn(w, 4);
	struct answer a = take(w, 1, NAMES);
	assert_int_equal(a.session, id);
	assert_int_equal(a.count, 1);
	assert_int_equal(a.parts[0].index, 1);
	assert_true(a.parts[0].bytes > 0);
}

static void test_a_name_that_no_topic_can_have_gets_no_session(void **state)
{
	struct world *w = *state;
	char name[IMAGE_TOPIC_NAME_MAX + 2];
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = 0;
	connect_client(w, 1);
	struct answer a = ask(w, 1, (struct ask){.topic = name, .parts = {0}, .part_count = 1});
	assert_int_equal(a.session, 0);
	assert_int_equal(a.count, 1);
	int32_t id = ask(w, 1, (struct ask){.parts = {0}, .part_count = 1}).session;
	expect_refused(ask(w, 1,
			       (struct ask){.session = id,
				       .epoch = 1,
				       .topic = name,
				       .parts = {0},
				       .part_count = 1}),
		KE_FETCH_SESSION_ID_NOT_FOUND);
	assert_int_equal(w->shard->fetch_sessions.parts, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_only_what_has_changed_is_answered),
		T(test_a_moved_high_watermark_is_news_without_records),
		T(test_partitions_are_added_and_forgotten),
		T(test_a_partition_named_twice_is_there_once),
		T(test_who_gave_records_comes_last_the_next_time),
		T(test_an_error_is_told_each_time_and_what_follows_it_too),
		T(test_ids_and_epochs_that_are_not_the_sessions_are_refused),
		T(test_a_session_belongs_to_its_connection),
		T(test_topic_ids_name_partitions_as_names_do),
		T(test_a_closed_session_is_gone_and_a_new_one_takes_its_place),
		T(test_a_session_without_partitions_ends),
		T(test_without_a_free_slot_the_answer_is_whole_and_says_no_session),
		T(test_a_session_unused_for_two_minutes_makes_room),
		T(test_a_waiting_request_keeps_its_session_and_gets_the_records),
		T(test_a_name_that_no_topic_can_have_gets_no_session),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
