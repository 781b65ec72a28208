/* SPDX-License-Identifier: Apache-2.0 */
/* A log that fails takes its partition offline, and no other. */
#include "lib/shard_world.h"

/* What the shard has told control since; answered. */
static uint32_t told(struct world *w, uint32_t *ids, uint32_t max)
{
	struct msg *got[2];
	turn(w, 4);
	if (mesh_recv(&w->control, got, 2) == 0)
		return 0;
	assert_int_equal(got[0]->kind, MSG_OFFLINE);
	uint32_t n = got[0]->offline.count;
	assert_true(n <= max);
	memcpy(ids, got[0]->offline.part_ids, n * sizeof(*ids));
	mesh_answer(&w->control, got[0]);
	mesh_flush(&w->control);
	turn(w, 4);
	return n;
}

static void produce(struct world *w, int32_t part, int16_t error, int64_t offset)
{
	uint8_t f[8192];
	receive(w, 1, f, produce_frame(f, sizeof(f), 1, part, "x"));
	turn(w, 4);
	expect_produced(w, 1, 1, error, offset);
}

static void test_an_append_that_fails_takes_its_partition_offline(void **state)
{
	struct world *w = *state;
	uint32_t ids[PARTS];
	connect_client(w, 1);
	w->worker.append_err = ST_E_IO;
	produce(w, 1, KE_KAFKA_STORAGE_ERROR, -1);
	w->worker.append_err = ST_OK;
	assert_int_equal(told(w, ids, PARTS), 1);
	assert_int_equal(ids[0], 1);
	assert_int_equal(metric_get(&w->shard->metrics.partitions_offline), 1);
	produce(w, 1, KE_KAFKA_STORAGE_ERROR, -1);
	produce(w, 0, KE_NONE, 0);
	assert_int_equal(told(w, ids, PARTS), 0);
}

static void test_a_full_disk_is_no_failure(void **state)
{
	struct world *w = *state;
	uint32_t ids[PARTS];
	connect_client(w, 1);
	w->worker.append_err = ST_E_NOSPACE;
	produce(w, 1, KE_KAFKA_STORAGE_ERROR, -1);
	assert_int_equal(told(w, ids, PARTS), 0);
	w->worker.append_err = ST_OK;
	produce(w, 1, KE_NONE, 0);
}

static void test_logs_that_cannot_be_opened_do_not_stop_the_start(void **state)
{
	struct world *w = *state;
	uint32_t ids[PARTS];
	w->worker.open_err = ST_E_OFFLINE;
	w->image_msg.kind = MSG_IMAGE;
	w->image_msg.image.image = w->image;
	mesh_ask(&w->control, 0, &w->image_msg);
	mesh_flush(&w->control);
	turn(w, 8);
	struct msg *got[4];
	assert_int_equal(mesh_recv(&w->control, got, 4), 2);
	bool image_first = got[0]->kind == MSG_IMAGE;
	struct msg *image = got[image_first ? 0 : 1], *offline = got[image_first ? 1 : 0];
	assert_ptr_equal(image, &w->image_msg);
	assert_int_equal(image->image.failed, PARTS);
	assert_int_equal(offline->offline.count, PARTS);
	mesh_answer(&w->control, offline);
	mesh_flush(&w->control);
	assert_int_equal(told(w, ids, PARTS), 0);
	connect_client(w, 1);
	produce(w, 2, KE_KAFKA_STORAGE_ERROR, -1);
}

static void test_metadata_names_no_leader_for_a_partition_that_is_offline(void **state)
{
	struct world *w = *state;
	uint8_t f[512];
	static uint8_t mem[8192];
	struct arena a;
	struct rd body;
	struct kp_metadata_response resp;
	struct kp_metadata_request q = {.n_topics = -1};
	((struct image_partition *)&w->image->topics[0].partitions[1])->leader = -1;
	struct kwr k = kwr_of(f, sizeof(f));
	kp_request_begin(&k, kp_api_find(KP_METADATA), 5, 3, (struct kstr){"x", 1});
	kp_encode_metadata_request(&k, 5, &q);
	assert_true(kp_request_end(&k));
	connect_client(w, 1);
	receive(w, 1, f, (uint32_t)kwr_len(&k));
	turn(w, 2);
	arena_init(&a, mem, sizeof(mem));
	assert_int_equal(next_response(w, 1, &body), 3);
	assert_int_equal(kp_decode_metadata_response(&body, 5, &resp, &a), 0);
	const struct kp_metadata_response_partition *p = resp.topics[0].partitions;
	assert_int_equal(resp.topics[0].error_code, KE_NONE);
	assert_int_equal(p[0].error_code, KE_NONE);
	assert_int_equal(p[0].leader_id, 1);
	assert_int_equal(p[0].n_offline_replicas, 0);
	assert_int_equal(p[1].error_code, KE_LEADER_NOT_AVAILABLE);
	assert_int_equal(p[1].leader_id, -1);
	assert_int_equal(p[1].n_replica_nodes, 1);
	assert_int_equal(p[1].replica_nodes[0], 1);
	assert_int_equal(p[1].n_offline_replicas, 1);
	assert_int_equal(p[1].offline_replicas[0], 1);
}

#define T(f, setup) cmocka_unit_test_setup_teardown(f, setup, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_an_append_that_fails_takes_its_partition_offline, world_setup),
		T(test_a_full_disk_is_no_failure, world_setup),
		T(test_logs_that_cannot_be_opened_do_not_stop_the_start, world_setup_without_image),
		T(test_metadata_names_no_leader_for_a_partition_that_is_offline, world_setup),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
