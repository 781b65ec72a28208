/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/storage/log/compact_kit.h"

/* First offset that has not been cleaned. */
static int64_t dirty_offset(const struct ck *k)
{
	uint32_t i = 0;
	while (i < k->count && k->segments[i].compacted)
		i++;
	return i < k->count ? k->segments[i].base_offset : k->next_offset;
}

static void run_and_compare(struct ck *k, const struct compact_input *in)
{
	assert_int_equal(ck_run(k, in), COMPACT_DONE);
	ck_read(k);
	ck_compare(k);
	ck_no_leftovers(k);
}

static void one_life(uint64_t seed)
{
	struct ck *k = ck_new(seed);
	k->keyless = seed % 2;
	k->producers = seed % 3 == 0;
	k->keys = 20 + (uint32_t)prng_below(&k->prng, 2000);
	k->value_max = 20 + (uint32_t)prng_below(&k->prng, 600);
	k->batch_max = 1 + (uint32_t)prng_below(&k->prng, 60);
	for (int round = 0; round < 6; round++) {
		int more = (int)prng_below(&k->prng, 4);
		while (more--)
			ck_append(k, 2000 + prng_below(&k->prng, 120000));
		if (k->count == 0)
			continue;
		k->now_ms += (int64_t)prng_below(&k->prng, 900);
		struct compact_input in = ck_input(k);
		in.segment_bytes = 20000 + prng_below(&k->prng, 400000);
		in.policy.delete_retention_ms = 1 + (int64_t)prng_below(&k->prng, 2000);
		in.policy.min_dirty_ppm = prng_chance(&k->prng, 1, 2) ? 300000 : 0;
		int64_t dirty = dirty_offset(k);
		uint64_t clean_bytes = 0, dirty_bytes = 0;
		bool expired = false;
		for (uint32_t i = 0; i < k->count; i++) {
			const struct compact_segment *s = &k->segments[i];
			*(s->base_offset < dirty ? &clean_bytes : &dirty_bytes) += s->end_pos;
			expired |= s->delete_horizon_ms > 0 && s->delete_horizon_ms <= k->now_ms;
		}
		bool full = (double)dirty_bytes * 1e6 >
			    (double)in.policy.min_dirty_ppm * (double)(clean_bytes + dirty_bytes);
		assert_int_equal(compact_due(&in), full || expired);
		if (full)
			ck_clean_model(k, dirty, k->next_offset, in.policy.delete_retention_ms);
		else
			ck_clean_model(k, dirty, dirty, in.policy.delete_retention_ms);
		run_and_compare(k, &in);
		assert_int_equal(dirty_offset(k), full ? k->next_offset : dirty);
		in = ck_input(k);
		if (full)
			assert_false(compact_due(&in));
	}
	ck_free(k);
}

static void test_what_is_left_is_what_a_naive_model_leaves(void **state)
{
	for (uint64_t seed = 1; seed <= 60; seed++)
		one_life(seed);
}

/* A batch with the keys [from, to) and values, then tombstones for [0, tombstones). */
static void key_batch(struct ck *k, uint32_t from, uint32_t to, uint32_t tombstones)
{
	struct batch_build b;
	uint8_t key[4];
	batch_build_begin(&b, k->plain, CK_FILE);
	for (uint32_t i = from; i < to + tombstones; i++) {
		be32_put(key, i < to ? i : i - to);
		assert_true(batch_build_add(&b, k->now_ms, (struct kbytes){key, 4},
			i < to ? (struct kbytes){key, 4} : KBYTES_NULL, NULL, 0));
	}
	assert_int_not_equal(batch_build_finish(&b), 0);
}

static void key_segment(struct ck *k, uint32_t from, uint32_t to, uint32_t tombstones)
{
	ck_segment_begin(k);
	key_batch(k, from, to, tombstones);
	ck_add(k, CODEC_NONE);
	ck_segment_end(k);
}

static void test_a_clean_log_is_not_due_and_cleaning_it_again_changes_nothing(void **state)
{
	struct ck *k = ck_new(3);
	k->tombstone_percent = 0;
	for (int i = 0; i < 5; i++)
		ck_append(k, 60000);
	struct compact_input in = ck_input(k);
	assert_true(compact_due(&in));
	ck_clean_model(k, 0, k->next_offset, 1000);
	run_and_compare(k, &in);
	assert_true(k->stats.records_dropped > 0 && k->stats.freed_bytes > 0);
	in = ck_input(k);
	assert_false(compact_due(&in));
	assert_int_equal(ck_run(k, &in), COMPACT_DONE);
	assert_int_equal(k->stats.bytes_read, 0);
	/* told that it is dirty, it reads all and finds nothing to do */
	for (uint32_t i = 0; i < k->count; i++)
		k->segments[i].compacted = false;
	in.segment_bytes = 1;
	run_and_compare(k, &in);
	assert_true(k->stats.records > 0);
	assert_int_equal(k->stats.records_dropped, 0);
	ck_free(k);
}

static void test_a_policy_without_compact_does_nothing(void **state)
{
	struct ck *k = ck_new(3);
	ck_append(k, 60000);
	struct compact_input in = ck_input(k);
	in.policy.compact = false;
	assert_false(compact_due(&in));
	assert_int_equal(ck_run(k, &in), COMPACT_DONE);
	assert_int_equal(k->stats.swaps, 0);
	ck_free(k);
}

static void test_nothing_at_or_above_the_limit_is_touched_or_counted(void **state)
{
	struct ck *k = ck_new(4);
	for (int i = 0; i < 5; i++)
		ck_append(k, 40000);
	struct compact_input in = ck_input(k);
	in.limit = k->segments[0].end_offset - 1;
	assert_false(compact_due(&in));
	in.limit = k->segments[3].end_offset - 1; /* inside the fourth */
	assert_true(compact_due(&in));
	ck_clean_model(k, 0, k->segments[2].end_offset, 1000);
	int64_t end = k->segments[2].end_offset;
	run_and_compare(k, &in);
	assert_int_equal(dirty_offset(k), end);
	ck_free(k);
}

static void test_young_segments_wait_for_min_compaction_lag(void **state)
{
	struct ck *k = ck_new(5);
	ck_append(k, 40000);
	ck_append(k, 40000);
	k->now_ms += 5000;
	ck_append(k, 40000);
	ck_append(k, 40000);
	int64_t end = k->segments[1].end_offset;
	struct compact_input in = ck_input(k);
	in.policy.min_compaction_lag_ms = 4000;
	assert_true(compact_due(&in));
	ck_clean_model(k, 0, end, 1000);
	run_and_compare(k, &in);
	assert_int_equal(dirty_offset(k), end);
	in = ck_input(k);
	in.policy.min_compaction_lag_ms = 4000;
	assert_false(compact_due(&in));
	in.now_ms = k->now_ms += 4001;
	in.policy.delete_retention_ms = 100000;
	assert_true(compact_due(&in));
	ck_clean_model(k, end, k->next_offset, 100000);
	run_and_compare(k, &in);
	assert_int_equal(dirty_offset(k), k->next_offset);
	ck_free(k);
}

static void test_max_compaction_lag_does_not_wait_for_the_dirty_ratio(void **state)
{
	struct ck *k = ck_new(6);
	ck_append(k, 200000);
	struct compact_input in = ck_input(k);
	assert_int_equal(ck_run(k, &in), COMPACT_DONE);
	ck_read(k);
	ck_append(k, 3000);
	in = ck_input(k);
	in.policy.delete_retention_ms = INT64_MAX;
	in.policy.min_dirty_ppm = 900000;
	in.policy.max_compaction_lag_ms = 10000;
	in.now_ms = k->now_ms + 900; /* before any tombstone may go */
	assert_false(compact_due(&in));
	in.policy.max_compaction_lag_ms = 899;
	assert_true(compact_due(&in));
	ck_free(k);
}

static uint32_t tombstones_found(const struct ck *k)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < k->found.record_count; i++)
		n += k->found.records[i].tombstone;
	return n;
}

static void test_tombstones_go_when_their_time_has_come_and_make_the_log_due(void **state)
{
	struct ck *k = ck_new(7);
	k->tombstone_percent = 40;
	for (int i = 0; i < 3; i++)
		ck_append(k, 50000);
	struct compact_input in = ck_input(k);
	in.policy.min_dirty_ppm = 500000;
	ck_clean_model(k, 0, k->next_offset, 1000);
	run_and_compare(k, &in);
	assert_true(tombstones_found(k) > 0);
	in = ck_input(k);
	in.policy.min_dirty_ppm = 500000;
	in.now_ms = k->now_ms + 999;
	assert_false(compact_due(&in));
	in.now_ms = k->now_ms = k->now_ms + 1000;
	assert_true(compact_due(&in));
	ck_clean_model(k, k->next_offset, k->next_offset, 1000);
	run_and_compare(k, &in);
	assert_int_equal(tombstones_found(k), 0);
	assert_true(k->stats.tombstones_dropped > 0);
	in = ck_input(k);
	in.now_ms += 1000000;
	assert_false(compact_due(&in)); /* and then it has rest */
	ck_free(k);
}

static void test_a_horizon_that_a_producer_has_set_does_not_count(void **state)
{
	struct ck *k = ck_new(8);
	ck_segment_begin(k);
	k->tombstone_percent = 100;
	ck_batch(k, 5);
	be16_put(k->plain + 21, BATCH_ATTR_DELETE_HORIZON);
	batch_set_crc(k->plain);
	ck_add(k, CODEC_NONE);
	ck_segment_end(k);
	struct compact_input in = ck_input(k);
	assert_int_equal(ck_run(k, &in), COMPACT_DONE);
	ck_read(k);
	assert_true(tombstones_found(k) > 0);
	assert_int_equal(k->segments[0].delete_horizon_ms, k->now_ms + 1000);
	ck_free(k);
}

static void test_a_full_map_takes_several_rounds_to_the_same_end(void **state)
{
	for (uint64_t seed = 1; seed <= 6; seed++) {
		struct ck *k = ck_new(seed);
		k->keys = 3000;
		k->mem.map_size = 4096 * (1 + seed % 3); /* 152 entries and more */
		memset(k->mem.map + k->mem.map_size, CK_CANARY, 4096);
		k->value_max = 60;
		for (int i = 0; i < 3; i++)
			ck_append(k, 70000);
		struct compact_input in = ck_input(k);
		in.policy.delete_retention_ms = 100000;
		ck_clean_model(k, 0, k->next_offset, 100000);
		run_and_compare(k, &in);
		assert_true(k->stats.rounds > 5);
		assert_int_equal(dirty_offset(k), k->next_offset);
		ck_free(k);
	}
}

static void test_rounds_go_on_after_a_restart(void **state)
{
	struct ck *k = ck_new(11);
	k->keys = 3000;
	k->mem.map_size = 8192;
	memset(k->mem.map + k->mem.map_size, CK_CANARY, 4096);
	k->tombstone_percent = 0;
	for (int i = 0; i < 3; i++)
		ck_append(k, 70000);
	ck_clean_model(k, 0, k->next_offset, 1000);
	enum compact_step step = COMPACT_SWAP;
	for (int life = 1; step == COMPACT_SWAP; life++) {
		struct compact_input in = ck_input(k);
		assert_true(life < 60 && compact_due(&in));
		step = ck_run_until(k, &in, life);
		ck_read(k); /* all that is known is what the files say */
		ck_no_leftovers(k);
	}
	assert_int_equal(step, COMPACT_DONE);
	ck_compare(k);
	ck_free(k);
}

static void test_a_batch_with_more_keys_than_the_map_does_not_stop_it(void **state)
{
	struct ck *k = ck_new(12);
	k->keys = 100000;
	k->mem.map_size = COMPACT_MAP_MIN;
	memset(k->mem.map + k->mem.map_size, CK_CANARY, 4096);
	k->value_max = 5;
	k->batch_max = 20;
	ck_append(k, 5000);
	ck_segment_begin(k);
	ck_batch(k, 2000);
	ck_add(k, CODEC_ZSTD);
	ck_segment_end(k);
	ck_append(k, 5000);
	struct compact_input in = ck_input(k);
	in.policy.delete_retention_ms = 1;
	assert_int_equal(ck_run(k, &in), COMPACT_DONE);
	ck_read(k);
	assert_int_equal(dirty_offset(k), k->next_offset);
	/* nothing that is the last of its key is lost */
	ck_clean_model(k, 0, k->next_offset, 1);
	uint32_t j = 0;
	for (uint32_t i = 0; i < k->model.record_count; i++) {
		if (k->model.records[i].gone)
			continue;
		while (k->found.records[j].offset < k->model.records[i].offset)
			j++;
		assert_int_equal(k->found.records[j].offset, k->model.records[i].offset);
	}
	ck_free(k);
}

static void test_a_tombstone_stays_as_long_as_anything_it_deletes(void **state)
{
	struct ck *k = ck_new(23);
	k->mem.map_size = COMPACT_MAP_MIN; /* 152 keys: the tombstones below do not get in */
	memset(k->mem.map + k->mem.map_size, CK_CANARY, 4096);
	key_segment(k, 0, 30, 0);
	key_segment(k, 1000, 1400, 30);
	for (int i = 0; i < 3; i++) {
		struct compact_input in = ck_input(k);
		assert_int_equal(ck_run(k, &in), COMPACT_DONE);
		ck_read(k);
		uint32_t values = 0, tombstones = 0;
		for (uint32_t j = 0; j < k->found.record_count; j++) {
			const struct ck_record *r = &k->found.records[j];
			values += r->key > 0 && r->key < 30 && !r->tombstone;
			tombstones += r->key > 0 && r->key < 30 && r->tombstone;
		}
		assert_true(values == 0 || tombstones == 29);
		k->now_ms += 10000;
		k->keys = 1; /* only key 0 from here on */
		ck_append(k, 100);
	}
	ck_free(k);
}

static void test_the_last_batch_of_a_producer_stays_until_it_expires(void **state)
{
	struct ck *k = ck_new(13);
	ck_segment_begin(k);
	for (int64_t id = 0; id < 3; id++) /* the same key for all */
		for (int i = 0; i < 4; i++) {
			k->keys = 1;
			k->tombstone_percent = 0;
			ck_batch(k, 3);
			be64_put(k->plain + 43, (uint64_t)id);
			be16_put(k->plain + 51, 1);
			be32_put(k->plain + 53, (uint32_t)(100 * id + 3 * i));
			batch_set_crc(k->plain);
			ck_add(k, CODEC_LZ4);
		}
	ck_segment_end(k);
	struct compact_input in = ck_input(k);
	in.producer_expiration_ms = 1000;
	assert_int_equal(ck_run(k, &in), COMPACT_DONE);
	ck_read(k);
	assert_int_equal(k->found.record_count, 1);
	assert_int_equal(k->found.batch_count, 3);
	for (int64_t id = 0; id < 3; id++) {
		const struct ck_batch *b = &k->found.batches[id];
		assert_int_equal(b->producer, id);
		assert_int_equal(b->last, 12 * id + 11);
		assert_int_equal(b->base, 12 * id + 9);
		assert_int_equal(b->sequence, 100 * id + 9);
		assert_int_equal(b->epoch, 1);
		assert_int_equal(b->count, id == 2 ? 1 : 0);
	}
	/* cleaned again they stay, and go when the time has come, but for what the segment needs */
	k->now_ms += 500;
	ck_append(k, 1000);
	in = ck_input(k);
	in.producer_expiration_ms = 1000;
	assert_int_equal(ck_run(k, &in), COMPACT_DONE);
	ck_read(k);
	assert_int_equal(k->found.batches[1].producer, 1);
	k->now_ms += 600;
	ck_append(k, 1000);
	in = ck_input(k);
	in.producer_expiration_ms = 1000;
	assert_int_equal(ck_run(k, &in), COMPACT_DONE);
	ck_read(k);
	for (uint32_t i = 0; i < k->found.batch_count; i++)
		assert_true(k->found.batches[i].producer < 0);
	ck_free(k);
}

static void test_what_loses_nothing_becomes_clean_and_is_not_written_again(void **state)
{
	struct ck *k = ck_new(24);
	key_segment(k, 0, 50, 0);
	for (uint32_t i = 1; i < 4; i++) {
		struct compact_input in = ck_input(k);
		in.segment_bytes = 1;
		assert_true(compact_due(&in));
		run_and_compare(k, &in);
		assert_int_equal(k->stats.swaps, 1);
		assert_int_equal(dirty_offset(k), k->next_offset);
		in = ck_input(k);
		assert_false(compact_due(&in));
		key_segment(k, 100 * i, 100 * i + 50, 0);
	}
	ck_free(k);
}

static void test_a_record_of_a_transaction_replaces_none(void **state)
{
	struct ck *k = ck_new(25);
	key_segment(k, 0, 30, 0);
	ck_segment_begin(k);
	key_batch(k, 0, 30, 0);
	be16_put(k->plain + 21, BATCH_ATTR_TRANSACTIONAL);
	batch_set_crc(k->plain);
	ck_add(k, CODEC_NONE);
	ck_segment_end(k);
	struct compact_input in = ck_input(k);
	run_and_compare(k, &in);
	assert_int_equal(k->found.record_count, 60);
	ck_free(k);
}

static void test_transactions_are_copied_byte_for_byte(void **state)
{
	struct ck *k = ck_new(14);
	k->keys = 3;
	ck_append(k, 4000);
	ck_segment_begin(k);
	for (int i = 0; i < 10; i++) {
		ck_batch(k, 4);
		be64_put(k->plain + 43, 8);
		be16_put(k->plain + 21,
			(uint16_t)(i % 3 == 2 ? BATCH_ATTR_CONTROL | BATCH_ATTR_TRANSACTIONAL
					      : BATCH_ATTR_TRANSACTIONAL));
		batch_set_crc(k->plain);
		ck_add(k, CODEC_GZIP);
	}
	ck_segment_end(k);
	k->tombstone_percent = 100;
	ck_append(k, 4000);
	struct compact_input in = ck_input(k);
	ck_clean_model(k, 0, k->next_offset, 1000);
	run_and_compare(k, &in);
	assert_int_equal(k->stats.batches_held, 10);
	uint32_t seen = 0;
	for (uint32_t i = 0; i < k->model.batch_count; i++)
		for (uint32_t j = 0; k->model.batches[i].special && j < k->found.batch_count; j++)
			if (k->found.batches[j].base == k->model.batches[i].base) {
				assert_int_equal(k->found.batches[j].sum, k->model.batches[i].sum);
				seen++;
			}
	assert_int_equal(seen, 10);
	/* a tombstone above them never goes: what it deletes may be in them */
	in = ck_input(k);
	in.policy.min_dirty_ppm = 1000000;
	in.now_ms = k->now_ms += 100000;
	assert_false(compact_due(&in));
	k->keys = 1;
	ck_append(k, 3000);
	in = ck_input(k);
	ck_clean_model(k, dirty_offset(k), k->next_offset, 1000);
	run_and_compare(k, &in);
	assert_true(tombstones_found(k) > 0);
	ck_free(k);
}

static void test_a_log_whose_records_are_all_gone_still_has_its_offsets(void **state)
{
	struct ck *k = ck_new(15);
	k->tombstone_percent = 100;
	for (int i = 0; i < 3; i++)
		ck_append(k, 20000);
	struct compact_input in = ck_input(k);
	in.policy.delete_retention_ms = 0;
	in.segment_bytes = 1;
	assert_int_equal(ck_run(k, &in), COMPACT_DONE);
	ck_read(k);
	in = ck_input(k);
	in.now_ms += 1;
	in.segment_bytes = 1;
	assert_int_equal(ck_run(k, &in), COMPACT_DONE);
	ck_read(k); /* checks that each segment reaches its end */
	assert_int_equal(k->found.record_count, 0);
	assert_int_equal(k->count, 3);
	in = ck_input(k);
	ck_free(k);
}

static void test_small_segments_are_merged_up_to_segment_bytes(void **state)
{
	struct ck *k = ck_new(16);
	for (int i = 0; i < 30; i++)
		ck_append(k, 9000);
	struct compact_input in = ck_input(k);
	in.segment_bytes = 100000;
	ck_clean_model(k, 0, k->next_offset, 1000);
	run_and_compare(k, &in);
	assert_true(k->count <= 30 / 5);
	ck_free(k);
}

static void test_large_batches_and_many_index_pages(void **state)
{
	struct ck *k = ck_new(17);
	k->keys = 2000;
	k->value_max = 30000;
	k->batch_max = 25;
	ck_append(k, 3800000); /* more than the 168 blocks of a page */
	ck_append(k, 3000000);
	struct compact_input in = ck_input(k);
	in.segment_bytes = 7000000;
	ck_clean_model(k, 0, k->next_offset, 1000);
	run_and_compare(k, &in);
	assert_int_equal(k->count, 1);
	assert_true(k->segments[0].end_pos > BIDX_PER_PAGE * BIDX_BLOCK);
	ck_free(k);
}

/* A batch of exactly 8 KiB with this key. */
static void half_block(struct ck *k, uint32_t key)
{
	static const uint8_t value[8192];
	struct batch_build b;
	uint8_t key_be[4];
	be32_put(key_be, key);
	for (int32_t len = 8192; len > 0; len--) {
		batch_build_begin(&b, k->plain, CK_FILE);
		assert_true(batch_build_add(&b, k->now_ms, (struct kbytes){key_be, 4},
			(struct kbytes){value, len}, NULL, 0));
		if (batch_build_finish(&b) == 8192)
			return;
	}
	fail();
}

static void test_an_index_page_that_is_exactly_full(void **state)
{
	const uint32_t page = 2 * BIDX_PER_PAGE;
	for (uint32_t n = page - 1; n <= page + 1; n++) {
		struct ck *k = ck_new(26);
		ck_segment_begin(k);
		for (uint32_t i = 0; i < n; i++) {
			half_block(k, i);
			ck_add(k, CODEC_NONE);
		}
		ck_segment_end(k);
		struct compact_input in = ck_input(k);
		run_and_compare(k, &in);
		assert_int_equal(k->stats.swaps, 1);
		assert_int_equal(ck_file(k, 0, "index")->size, n > page ? 2 * FMT_PAGE : FMT_PAGE);
		ck_free(k);
	}
}

static void test_a_batch_too_large_for_the_memory_stops_it_and_nothing_is_lost(void **state)
{
	struct ck *k = ck_new(18);
	k->value_max = 900000;
	ck_append(k, 10000);
	ck_segment_begin(k);
	do
		ck_batch(k, 3);
	while (batch_size(k->plain) < 800000);
	ck_add(k, CODEC_NONE);
	ck_segment_end(k);
	struct compact_input in = ck_input(k);
	assert_int_equal(ck_run(k, &in), COMPACT_FAILED);
	ck_read(k);
	ck_compare(k);
	ck_no_leftovers(k);
	ck_free(k);
}

static void test_a_batch_that_cannot_be_read_stays_as_it_is(void **state)
{
	struct ck *k = ck_new(19);
	k->tombstone_percent = 0;
	ck_append(k, 5000);
	ck_segment_begin(k);
	ck_batch(k, 10);
	ck_add(k, CODEC_ZSTD);
	uint32_t records = k->model.record_count;
	ck_batch(k, 10);
	ck_add(k, CODEC_ZSTD);
	uint8_t *last = k->file;
	while (last + batch_size(last) < k->file + k->file_len)
		last += batch_size(last);
	last[BATCH_HEADER_SIZE] ^= 1; /* no zstd frame any more, and its CRC is right */
	batch_set_crc(last);
	k->model.record_count = records;
	k->model.batch_count--;
	ck_segment_end(k);
	struct compact_input in = ck_input(k);
	assert_int_equal(ck_run(k, &in), COMPACT_DONE);
	assert_int_equal(k->stats.batches_held, 1);
	struct io_file *f = ck_file(k, 0, "log");
	bool found = false;
	for (uint64_t at = 0; batch_size(f->data + at) && at < f->size;
		at += batch_size(f->data + at))
		found |= batch_base_offset(f->data + at) == batch_base_offset(last);
	assert_true(found);
	ck_free(k);
}

/* ---- damage ---- */

static void damaged(struct ck *k, const char *suffix, uint64_t at, bool index)
{
	struct ck *copy = malloc(sizeof(*copy));
	struct cio *disk = malloc(sizeof(*disk));
	memcpy(copy, k, sizeof(*copy));
	cio_copy(disk, k->disk);
	copy->disk = disk;
	if (!index)
		cio_unlink(&disk->io, CK_PATH "/00000000000000000000.index");
	struct io_file *f = ck_file(copy, 0, suffix);
	f->data[at] ^= 0x10;
	uint8_t *before = malloc(f->size);
	memcpy(before, f->data, f->size);
	struct compact_input in = ck_input(copy);
	assert_int_equal(ck_run(copy, &in), COMPACT_CORRUPT);
	assert_int_equal(copy->stats.swaps, 0);
	assert_ptr_equal(ck_file(copy, 0, suffix), f);
	assert_memory_equal(before, f->data, f->size);
	free(before);
	cio_fini(disk);
	free(disk);
	free(copy);
}

static void test_a_flipped_bit_stops_it_and_nothing_is_deleted(void **state)
{
	struct ck *k = ck_new(20);
	ck_append(k, 50000);
	ck_append(k, 50000);
	uint64_t end = k->segments[0].end_pos;
	for (int i = 0; i < 200; i++)
		damaged(k, "log", prng_below(&k->prng, end), true);
	for (int i = 0; i < 50; i++)
		damaged(k, "index", prng_below(&k->prng, FMT_PAGE), true);
	/* without an index: what the batches' own CRCs cover */
	for (int i = 0; i < 100; i++) {
		const uint8_t *p = ck_file(k, 0, "log")->data;
		uint64_t at = 0;
		while (at + batch_size(p + at) < end && prng_chance(&k->prng, 9, 10))
			at += batch_size(p + at);
		at += 17 + prng_below(&k->prng, batch_size(p + at) - 17);
		damaged(k, "log", at, false);
	}
	ck_free(k);
}

static void test_offsets_that_cannot_be_are_corruption(void **state)
{
	struct ck *k = ck_new(27);
	ck_append(k, 20000);
	cio_unlink(&k->disk->io, CK_PATH "/00000000000000000000.index");
	uint8_t *p = ck_file(k, 0, "log")->data, *second = p + batch_size(p);
	int64_t base = batch_base_offset(second), end = k->segments[0].end_offset;
	struct compact_input in = ck_input(k);
	batch_set_base_offset(second, 0); /* no CRC covers it */
	assert_int_equal(ck_run(k, &in), COMPACT_CORRUPT);
	batch_set_base_offset(second, end);
	assert_int_equal(ck_run(k, &in), COMPACT_CORRUPT);
	batch_set_base_offset(second, base);
	k->segments[0].end_offset++; /* the last batch is missing */
	assert_int_equal(ck_run(k, &in), COMPACT_CORRUPT);
	k->segments[0].end_offset--;
	ck_clean_model(k, 0, k->next_offset, 1000);
	run_and_compare(k, &in);
	ck_free(k);
}

static void test_a_segment_cut_short_is_corrupt(void **state)
{
	struct ck *k = ck_new(21);
	ck_append(k, 50000);
	ck_file(k, 0, "log")->size = 16384;
	struct compact_input in = ck_input(k);
	assert_int_equal(ck_run(k, &in), COMPACT_CORRUPT);
	ck_free(k);
}

static void test_a_log_without_an_index_is_cleaned_by_the_crcs_of_its_batches(void **state)
{
	struct ck *k = ck_new(22);
	ck_append(k, 50000);
	cio_unlink(&k->disk->io, CK_PATH "/00000000000000000000.index");
	struct compact_input in = ck_input(k);
	ck_clean_model(k, 0, k->next_offset, 1000);
	run_and_compare(k, &in);
	ck_free(k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_left_is_what_a_naive_model_leaves),
		cmocka_unit_test(test_a_clean_log_is_not_due_and_cleaning_it_again_changes_nothing),
		cmocka_unit_test(test_a_policy_without_compact_does_nothing),
		cmocka_unit_test(test_nothing_at_or_above_the_limit_is_touched_or_counted),
		cmocka_unit_test(test_young_segments_wait_for_min_compaction_lag),
		cmocka_unit_test(test_max_compaction_lag_does_not_wait_for_the_dirty_ratio),
		cmocka_unit_test(test_tombstones_go_when_their_time_has_come_and_make_the_log_due),
		cmocka_unit_test(test_a_horizon_that_a_producer_has_set_does_not_count),
		cmocka_unit_test(test_a_full_map_takes_several_rounds_to_the_same_end),
		cmocka_unit_test(test_rounds_go_on_after_a_restart),
		cmocka_unit_test(test_a_batch_with_more_keys_than_the_map_does_not_stop_it),
		cmocka_unit_test(test_a_tombstone_stays_as_long_as_anything_it_deletes),
		cmocka_unit_test(test_the_last_batch_of_a_producer_stays_until_it_expires),
		cmocka_unit_test(test_what_loses_nothing_becomes_clean_and_is_not_written_again),
		cmocka_unit_test(test_a_record_of_a_transaction_replaces_none),
		cmocka_unit_test(test_transactions_are_copied_byte_for_byte),
		cmocka_unit_test(test_a_log_whose_records_are_all_gone_still_has_its_offsets),
		cmocka_unit_test(test_small_segments_are_merged_up_to_segment_bytes),
		cmocka_unit_test(test_large_batches_and_many_index_pages),
		cmocka_unit_test(test_an_index_page_that_is_exactly_full),
		cmocka_unit_test(
			test_a_batch_too_large_for_the_memory_stops_it_and_nothing_is_lost),
		cmocka_unit_test(test_a_batch_that_cannot_be_read_stays_as_it_is),
		cmocka_unit_test(test_a_flipped_bit_stops_it_and_nothing_is_deleted),
		cmocka_unit_test(test_offsets_that_cannot_be_are_corruption),
		cmocka_unit_test(test_a_segment_cut_short_is_corrupt),
		cmocka_unit_test(test_a_log_without_an_index_is_cleaned_by_the_crcs_of_its_batches),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
