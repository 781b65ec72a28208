/* SPDX-License-Identifier: Apache-2.0 */
/* Power cuts, and failing calls, at every call of whole compactions. */
#include "unit/storage/log/compact_kit.h"

#define SWAPS_MAX 64

/* A log, and what it is after each swap of an undisturbed compaction. */
struct run {
	struct ck *k;
	struct cio *start; /* the disk before */
	struct compact_segment segments[CK_SEGMENTS];
	uint32_t count;
	uint32_t states[SWAPS_MAX]; /* sums of all records */
	int swaps;		    /* states[swaps] is the last one */
	uint64_t calls;
};

static uint32_t content_sum(struct ck *k)
{
	uint32_t sum = 0;
	ck_read(k);
	for (uint32_t i = 0; i < k->found.record_count; i++) {
		const struct ck_record *r = &k->found.records[i];
		sum = crc32c(sum, &r->offset, sizeof(r->offset));
		sum = crc32c(sum, &r->sum, sizeof(r->sum));
	}
	return sum;
}

/* The log of r on a fresh copy of its disk. */
static void rewind_to(struct run *r, const struct cio *disk)
{
	struct ck *k = r->k;
	for (int i = 0; i < CIO_FILES; i++)
		k->disk->files[i].opens = 0;
	cio_fini(k->disk);
	cio_copy(k->disk, disk);
	memcpy(k->segments, r->segments, sizeof(r->segments));
	k->count = r->count;
}

static struct compact_input input_of(struct ck *k)
{
	struct compact_input in = ck_input(k);
	in.policy.delete_retention_ms = 100000;
	in.segment_bytes = 30000; /* groups of one to three segments */
	return in;
}

struct outcome {
	enum compact_step step;
	enum compact_swapped how; /* of the last swap */
	int swaps;
};

static struct outcome run_on(struct ck *k)
{
	struct io *io = &k->disk->io;
	struct compact_input in = input_of(k);
	struct outcome o = {.how = COMPACT_SWAPPED};
	struct compact *c = compact_begin(&in, &k->mem);
	for (;;) {
		o.step = compact_step(c, io, COMPACT_BUDGET);
		if (o.step == COMPACT_MORE)
			continue;
		if (o.step != COMPACT_SWAP)
			break;
		o.how = compact_swap(c, io);
		if (o.how != COMPACT_SWAPPED) {
			o.step = COMPACT_FAILED;
			break;
		}
		o.swaps++;
	}
	if (o.step != COMPACT_DONE)
		assert_true(compact_error(c) < 0);
	compact_end(c, io);
	return o;
}

static int recover(struct ck *k)
{
	return compact_recover(&k->disk->io, CK_PATH, &k->topic_id, CK_PARTITION);
}

static struct run *run_new(uint64_t seed, uint32_t map_size)
{
	struct run *r = calloc(1, sizeof(*r));
	struct ck *k = r->k = ck_new(seed);
	k->mem.map_size = map_size;
	memset(k->mem.map + map_size, CK_CANARY, 4096);
	k->keys = 300;
	k->value_max = 100;
	for (int i = 0; i < 5; i++)
		ck_append(k, 5000 + prng_below(&k->prng, 15000));
	k->batch_max = 1;
	ck_append(k, 1); /* the smallest segment there is */
	memcpy(r->segments, k->segments, sizeof(r->segments));
	r->count = k->count;
	r->start = malloc(sizeof(*r->start));
	cio_settle(k->disk);
	k->disk->calls = 0;
	cio_copy(r->start, k->disk);

	/* each swap by itself: stop there, and look */
	r->states[0] = content_sum(k);
	rewind_to(r, r->start);
	r->swaps = run_on(k).swaps;
	r->calls = k->disk->calls;
	assert_true(r->swaps >= 2 && r->swaps < SWAPS_MAX);
	for (int i = 1; i <= r->swaps; i++) {
		rewind_to(r, r->start);
		struct compact_input in = input_of(k);
		ck_run_until(k, &in, i);
		r->states[i] = content_sum(k);
		ck_no_leftovers(k);
	}
	return r;
}

static void run_free(struct run *r)
{
	cio_fini(r->start);
	free(r->start);
	for (int i = 0; i < CIO_FILES; i++)
		r->k->disk->files[i].opens = 0;
	ck_free(r->k);
	free(r);
}

/* After `swaps` whole swaps: the log is what it was then, or what the next swap makes of it. */
static void check_state(struct run *r, int swaps)
{
	uint32_t sum = content_sum(r->k);
	bool next = swaps < r->swaps && sum == r->states[swaps + 1];
	assert_true(next || sum == r->states[swaps]);
	ck_no_leftovers(r->k);
}

/* What was interrupted is done again, to the end that it would have had. */
static void check_end(struct run *r)
{
	assert_int_equal(run_on(r->k).step, COMPACT_DONE);
	assert_int_equal(content_sum(r->k), r->states[r->swaps]);
	ck_no_leftovers(r->k);
}

static enum cio_keep keep_of(int turn)
{
	return turn == 0 ? CIO_NONE : turn == 1 ? CIO_ALL : CIO_SOME;
}

/* The power fails at every call of the recovery, too, and then there is none at all. */
static void recover_with_cuts(struct run *r, int swaps, struct prng *prng)
{
	struct cio *disk = malloc(sizeof(*disk));
	cio_copy(disk, r->k->disk);
	for (uint64_t m = 1;; m++) {
		rewind_to(r, disk);
		r->k->disk->calls = 0;
		r->k->disk->stop_at = m;
		if (recover(r->k) == 0)
			break;
		cio_crash(r->k->disk, keep_of((int)(m % 4)), prng);
		assert_int_equal(recover(r->k), 0);
		check_state(r, swaps);
	}
	r->k->disk->stop_at = 0;
	cio_fini(disk);
	free(disk);
}

static void test_a_power_cut_at_any_call_leaves_the_old_segment_or_the_new_one(void **state)
{
	uint64_t cuts = 0;
	for (uint64_t seed = 1; seed <= 3; seed++) {
		struct run *r = run_new(seed, seed == 2 ? 8192 : 1 << 20);
		struct prng prng = {.s = seed};
		for (uint64_t n = 1; n <= r->calls; n++) {
			for (int turn = 0; turn < 6; turn++, cuts++) {
				rewind_to(r, r->start);
				r->k->disk->stop_at = n;
				struct outcome o = run_on(r->k);
				assert_int_not_equal(o.step, COMPACT_DONE);
				cio_crash(r->k->disk, keep_of(turn), &prng);
				if (turn == 2 || turn == 1)
					recover_with_cuts(r, o.swaps, &prng);
				assert_int_equal(recover(r->k), 0);
				check_state(r, o.swaps);
				assert_int_equal(recover(r->k), 0); /* nothing more to do */
				check_state(r, o.swaps);
				if (turn == 0)
					check_end(r);
			}
		}
		run_free(r);
	}
	print_message("%llu power cuts\n", (unsigned long long)cuts);
}

static void test_any_failing_call_leaves_a_whole_log(void **state)
{
	static const int errors[] = {-EIO, -ENOSPC};
	for (uint64_t seed = 4; seed <= 5; seed++) {
		struct run *r = run_new(seed, seed == 5 ? 8192 : 1 << 20);
		struct prng prng = {.s = seed};
		for (uint64_t n = 1; n <= r->calls; n++) {
			for (size_t e = 0; e < 2; e++) {
				rewind_to(r, r->start);
				r->k->disk->fail_at = n;
				r->k->disk->fail_with = errors[e];
				struct outcome o = run_on(r->k);
				assert_int_equal(o.step, COMPACT_FAILED);
				r->k->disk->fail_at = 0;
				if (o.how == COMPACT_UNKNOWN) {
					/* the directory goes offline; the broker is started anew */
					cio_crash(r->k->disk, keep_of((int)(n % 3)), &prng);
					assert_int_equal(recover(r->k), 0);
				} else {
					assert_int_equal(content_sum(r->k), r->states[o.swaps]);
				}
				check_state(r, o.swaps);
				check_end(r);
			}
		}
		run_free(r);
	}
}

static void test_a_disk_that_is_full_for_good_is_as_before(void **state)
{
	struct run *r = run_new(6, 1 << 20);
	for (uint64_t n = 1; n <= r->calls; n += 3) {
		/* from here on nothing can be written or removed; the power stays on */
		rewind_to(r, r->start);
		r->k->disk->stop_at = n;
		struct outcome o = run_on(r->k);
		r->k->disk->stop_at = 0;
		if (o.how != COMPACT_UNKNOWN) {
			assert_int_equal(recover(r->k), 0);
			assert_int_equal(content_sum(r->k), r->states[o.swaps]);
		}
	}
	run_free(r);
}

static void test_an_output_without_a_valid_index_is_not_swapped_in(void **state)
{
	struct run *r = run_new(7, 1 << 20);
	struct prng prng = {.s = 7};
	/* the first cut after which the recovery finds <base>.log.swap */
	for (uint64_t n = 1; n <= r->calls; n++) {
		rewind_to(r, r->start);
		r->k->disk->stop_at = n;
		run_on(r->k);
		cio_crash(r->k->disk, CIO_ALL, &prng);
		if (cio_find(r->k->disk->now, "00000000000000000000.log.swap"))
			break;
	}
	struct cio_name *index = cio_find(r->k->disk->now, "00000000000000000000.index.swap");
	assert_non_null(index);
	struct io_file *f = &r->k->disk->files[index->file];
	f->data[f->size - 1] ^= 1;
	uint64_t names = 0, after = 0;
	for (int i = 0; i < CIO_FILES; i++)
		names += r->k->disk->now[i].file >= 0;
	assert_int_equal(recover(r->k), -EBADMSG);
	for (int i = 0; i < CIO_FILES; i++)
		after += r->k->disk->now[i].file >= 0;
	assert_int_equal(names, after);
	f->data[f->size - 1] ^= 1;
	assert_int_equal(recover(r->k), 0);
	check_state(r, 0);
	run_free(r);
}

static void test_an_end_at_any_step_leaves_nothing_behind(void **state)
{
	struct run *r = run_new(8, 1 << 20);
	for (int steps = 0, more = 1; more; steps++) {
		rewind_to(r, r->start);
		struct io *io = &r->k->disk->io;
		struct compact_input in = input_of(r->k);
		struct compact *c = compact_begin(&in, &r->k->mem);
		int swaps = 0;
		more = 0;
		for (int i = 0; i < steps; i++) {
			more = 1;
			/* a budget of one byte: the smallest steps there are */
			enum compact_step step = compact_step(c, io, 1);
			if (step == COMPACT_SWAP && i + 1 < steps) {
				assert_int_equal(compact_swap(c, io), COMPACT_SWAPPED);
				swaps++;
			} else if (step != COMPACT_MORE) {
				more = step != COMPACT_DONE;
				break;
			}
		}
		more |= steps == 0;
		compact_end(c, io);
		for (int i = 0; i < CIO_FILES; i++)
			assert_int_equal(r->k->disk->files[i].opens, 0);
		assert_int_equal(content_sum(r->k), r->states[swaps]);
		ck_no_leftovers(r->k);
	}
	run_free(r);
}

static void test_what_was_swapped_in_can_be_deleted_at_once(void **state)
{
	struct run *r = run_new(10, 1 << 20);
	struct prng prng = {.s = 10};
	for (int turn = 0; turn < 40; turn++) {
		rewind_to(r, r->start);
		assert_int_equal(run_on(r->k).step, COMPACT_DONE);
		for (int i = 0; i < CIO_FILES; i++) {
			char path[IO_PATH_MAX];
			if (r->k->disk->now[i].file < 0)
				continue;
			snprintf(path, sizeof(path), CK_PATH "/%s", r->k->disk->now[i].name);
			assert_int_equal(cio_unlink(&r->k->disk->io, path), 0);
		}
		cio_crash(r->k->disk, CIO_SOME, &prng);
		assert_int_equal(recover(r->k), 0);
		for (int i = 0; i < CIO_FILES; i++)
			if (r->k->disk->now[i].file >= 0)
				assert_null(strstr(r->k->disk->now[i].name, ".swap"));
	}
	run_free(r);
}

static void test_files_of_others_are_left_alone(void **state)
{
	struct run *r = run_new(9, 1 << 20);
	struct io *io = &r->k->disk->io;
	static const char *const names[] = {"log.meta", "log.meta.tmp", "x.log.cleaned",
		"00000000000000000000.log.cleaned.old", "1.index.swap",
		"00000000000000000000.other.cleaned"};
	for (size_t i = 0; i < array_size(names); i++) {
		struct io_file *f;
		char path[IO_PATH_MAX];
		snprintf(path, sizeof(path), CK_PATH "/%s", names[i]);
		assert_int_equal(io->api->open(io, path, IO_CREATE, &f), 0);
		io->api->close(io, f);
	}
	assert_int_equal(recover(r->k), 0);
	for (size_t i = 0; i < array_size(names); i++)
		assert_non_null(cio_find(r->k->disk->now, names[i]));
	run_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_a_power_cut_at_any_call_leaves_the_old_segment_or_the_new_one),
		cmocka_unit_test(test_any_failing_call_leaves_a_whole_log),
		cmocka_unit_test(test_a_disk_that_is_full_for_good_is_as_before),
		cmocka_unit_test(test_an_output_without_a_valid_index_is_not_swapped_in),
		cmocka_unit_test(test_an_end_at_any_step_leaves_nothing_behind),
		cmocka_unit_test(test_what_was_swapped_in_can_be_deleted_at_once),
		cmocka_unit_test(test_files_of_others_are_left_alone),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
