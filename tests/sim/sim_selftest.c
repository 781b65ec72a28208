/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checker checked: a history of a good broker must pass, and the same history with one
 * violation planted into it must break the rule that the violation is about.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "sim.h"

#define T0 1700000000000ll
#define SIM_SECTOR IO_SECTOR

/* A batch of two records with timestamps T0 + t and T0 + t + 5, which is the next attempt. */
static uint8_t *batch(struct check *c, int64_t t, uint32_t *len)
{
	uint8_t *p = malloc(512);
	CHECK(p);
	struct batch_build b;
	struct kbytes v = {.p = (const uint8_t *)"value", .len = 5};
	batch_build_begin(&b, p, 512);
	batch_build_set_producer(&b, chk_next(c), 0, 0, false);
	CHECK(batch_build_add(&b, T0 + t, KBYTES_NULL, v, NULL, 0));
	CHECK(batch_build_add(&b, T0 + t + 5, KBYTES_NULL, v, NULL, 0));
	*len = batch_build_finish(&b);
	return p;
}

static void send(struct check *c, uint32_t part, uint32_t producer, uint64_t number, int64_t t)
{
	uint32_t len;
	uint8_t *p = batch(c, t, &len);
	chk_sent(c, part, producer, number, p, len);
}

/* Attempts as a fetch gives them, the first one at `base`; into p. */
static uint32_t stored(
	struct check *c, uint8_t *p, int64_t base, const uint32_t *attempts, uint32_t n)
{
	uint32_t len = 0;
	for (uint32_t i = 0; i < n; i++) {
		const struct chk_attempt *a = &c->attempts[attempts[i]];
		memcpy(p + len, a->data, a->len);
		batch_set_base_offset(p + len, base + 2 * i);
		len += a->len;
	}
	return len;
}

static void fetch(struct check *c, int64_t offset, int64_t base, const uint32_t *attempts,
	uint32_t n, int64_t hw)
{
	uint8_t p[4096];
	uint32_t len = stored(c, p, base, attempts, n);
	chk_fetched(c, 0, offset, 4096, true, p, len, hw);
}

/*
 * A good history of partition 0, up to a power cut: attempts 0, 1 and 2 are acknowledged at 0, 2
 * and 4; attempt 3 failed for want of space; attempts 4 and 5 are not answered.
 */
static void good_start(struct check *c)
{
	static const uint32_t all[] = {0, 1, 2};
	send(c, 0, 0, 0, 0);
	send(c, 0, 0, 1, 10);
	send(c, 0, 1, 0, 20);
	chk_acked(c, 0, 0);
	chk_acked(c, 1, 2);
	fetch(c, 1, 0, all, 2, 4);
	chk_acked(c, 2, 4);
	fetch(c, 0, 0, all, 3, 6);
	chk_listed(c, 0, -1, 6, -1, 6, 0);
	chk_listed(c, 0, -2, 0, -1, 6, 0);
	chk_listed(c, 0, -3, 5, T0 + 25, 6, 0);
	chk_listed(c, 0, T0 + 11, 3, T0 + 15, 6, 0);
	chk_listed(c, 0, T0 + 100, -1, -1, 6, 0);
	send(c, 0, 0, 2, 30);
	chk_failed(c, 3, false);
	send(c, 0, 0, 2, 40);
	send(c, 0, 1, 1, 50);
}

/* The restart: attempt 4 was kept, attempt 5 was cut off. */
static void good_restart(struct check *c)
{
	static const uint32_t all[] = {0, 1, 2, 4};
	chk_crashed(c);
	chk_reopened(c, 0, 0, 8);
	fetch(c, 0, 0, all, 4, 8);
	chk_reread(c, 0);
}

static void good(struct check *c)
{
	static const uint32_t last[] = {6};
	good_start(c);
	good_restart(c);
	send(c, 0, 1, 1, 60);
	chk_acked(c, 6, 8);
	fetch(c, 9, 8, last, 1, 10);
}

static void lost(struct check *c)
{
	good_start(c);
	chk_crashed(c);
	chk_reopened(c, 0, 0, 4);
}

static void contradicted(struct check *c)
{
	static const uint32_t other[] = {0, 1, 4};
	good_start(c);
	chk_crashed(c);
	chk_reopened(c, 0, 0, 6);
	fetch(c, 0, 0, other, 3, 6);
}

static void acked_twice_the_offset(struct check *c)
{
	good_start(c);
	chk_acked(c, 4, 4);
}

static void acked_beyond(struct check *c)
{
	good_start(c);
	chk_acked(c, 4, 7);
}

static void other_than_handed_over(struct check *c)
{
	static const uint32_t late[] = {5}, early[] = {4};
	good_start(c);
	fetch(c, 6, 6, late, 1, 8);
	fetch(c, 8, 8, early, 1, 10);
}

static void invented(struct check *c)
{
	static const uint32_t one[] = {4};
	uint8_t p[512];
	good_start(c);
	uint32_t len = stored(c, p, 6, one, 1);
	be64_put(p + 43, 77);
	batch_set_crc(p);
	chk_fetched(c, 0, 6, 4096, true, p, len, 8);
}

static void of_another_partition(struct check *c)
{
	static const uint32_t one[] = {6};
	good_start(c);
	send(c, 1, 0, 3, 60);
	fetch(c, 6, 6, one, 1, 8);
}

static void changed(struct check *c)
{
	static const uint32_t one[] = {4};
	uint8_t p[512];
	good_start(c);
	uint32_t len = stored(c, p, 6, one, 1);
	p[len - 2] ^= 1;
	batch_set_crc(p);
	chk_fetched(c, 0, 6, 4096, true, p, len, 8);
}

static void rotten(struct check *c)
{
	static const uint32_t one[] = {4};
	uint8_t p[512];
	good_start(c);
	uint32_t len = stored(c, p, 6, one, 1);
	p[len - 2] ^= 1;
	chk_fetched(c, 0, 6, 4096, true, p, len, 8);
}

static void twice(struct check *c)
{
	static const uint32_t one[] = {2};
	good_start(c);
	fetch(c, 6, 6, one, 1, 8);
}

static void failed_came_back(struct check *c)
{
	static const uint32_t one[] = {3};
	good_start(c);
	fetch(c, 6, 6, one, 1, 8);
}

static void cut_off_came_back(struct check *c)
{
	static const uint32_t one[] = {5};
	good_start(c);
	good_restart(c);
	fetch(c, 8, 8, one, 1, 10);
}

static void gap_in_a_fetch(struct check *c)
{
	static const uint32_t all[] = {0, 1, 2};
	uint8_t p[2048];
	good_start(c);
	uint32_t len = stored(c, p, 0, all, 3);
	batch_set_base_offset(p + batch_size(p), 3);
	chk_fetched(c, 0, 0, 4096, true, p, len, 6);
}

static void gap_in_the_log(struct check *c)
{
	static const uint32_t one[] = {4};
	good_start(c);
	fetch(c, 7, 7, one, 1, 9);
}

static void watermark_back(struct check *c)
{
	static const uint32_t one[] = {0};
	good_start(c);
	fetch(c, 0, 0, one, 1, 5);
}

static void watermark_back_in_a_list(struct check *c)
{
	good_start(c);
	chk_listed(c, 0, -1, 5, -1, 5, 0);
}

static void beyond_watermark(struct check *c)
{
	static const uint32_t one[] = {4};
	good_start(c);
	fetch(c, 6, 6, one, 1, 6);
}

static void order(struct check *c)
{
	good_start(c);
	send(c, 0, 0, 3, 60);
	chk_acked(c, 6, 6);
	chk_acked(c, 4, 8);
}

static void wrong_first_batch(struct check *c)
{
	static const uint32_t one[] = {2};
	good_start(c);
	fetch(c, 2, 4, one, 1, 6);
}

static void nothing_given(struct check *c)
{
	good_start(c);
	fetch(c, 2, 2, NULL, 0, 6);
}

static void too_much_given(struct check *c)
{
	static const uint32_t all[] = {0, 1, 2};
	uint8_t p[2048];
	good_start(c);
	uint32_t len = stored(c, p, 0, all, 3);
	chk_fetched(c, 0, 0, len - 1, true, p, len, 6);
}

static void partial_batch(struct check *c)
{
	static const uint32_t all[] = {0, 1};
	uint8_t p[2048];
	good_start(c);
	uint32_t len = stored(c, p, 0, all, 2);
	chk_fetched(c, 0, 0, 4096, true, p, len - 1, 6);
}

static void wrong_list(struct check *c)
{
	good_start(c);
	chk_listed(c, 0, T0 + 11, 4, T0 + 20, 6, 0);
}

static void wrong_max_timestamp(struct check *c)
{
	good_start(c);
	chk_listed(c, 0, -3, 3, T0 + 15, 6, 0);
}

static void start_back(struct check *c)
{
	good_start(c);
	chk_start_asked(c, 0, 4);
	chk_start(c, 0, 4);
	chk_start(c, 0, 2);
}

static void start_too_far(struct check *c)
{
	good_start(c);
	chk_start_asked(c, 0, 2);
	chk_crashed(c);
	chk_reopened(c, 0, 4, 6);
}

static void list_below_the_start(struct check *c)
{
	good_start(c);
	chk_start_asked(c, 0, 3);
	chk_start(c, 0, 3);
	chk_listed(c, 0, T0 + 1, 2, T0 + 10, 6, 3);
}

static void deleted_came_back(struct check *c)
{
	static const uint32_t one[] = {0};
	good_start(c);
	chk_deleted(c, 0);
	fetch(c, 0, 0, one, 1, 2);
}

static const struct {
	const char *name;
	void (*history)(struct check *c);
	enum chk_rule breaks;
} cases[] = {
	{"a good history", good, CHK_OK},
	{"acknowledged data is gone", lost, CHK_LOST},
	{"another batch at a known offset", contradicted, CHK_CONTRADICTED},
	{"two acknowledgements of one offset", acked_twice_the_offset, CHK_ACK_OFFSET},
	{"an acknowledgement beyond the end", acked_beyond, CHK_ACK_OFFSET},
	{"another order than handed over", other_than_handed_over, CHK_CALL_ORDER},
	{"a batch that nobody sent", invented, CHK_INVENTED},
	{"a batch of another partition", of_another_partition, CHK_INVENTED},
	{"changed bytes with a right checksum", changed, CHK_CHANGED},
	{"changed bytes", rotten, CHK_CHANGED},
	{"one attempt at two places", twice, CHK_TWICE},
	{"a failed attempt appears", failed_came_back, CHK_CAME_BACK},
	{"a cut tail comes back", cut_off_came_back, CHK_CAME_BACK},
	{"a gap in a fetch", gap_in_a_fetch, CHK_GAP},
	{"a gap in the log", gap_in_the_log, CHK_GAP},
	{"the high watermark goes back", watermark_back, CHK_WATERMARK_BACK},
	{"the latest offset goes back", watermark_back_in_a_list, CHK_WATERMARK_BACK},
	{"data beyond the high watermark", beyond_watermark, CHK_BEYOND_WATERMARK},
	{"batches of one producer out of order", order, CHK_ORDER},
	{"a fetch that skips its batch", wrong_first_batch, CHK_FETCH_SHAPE},
	{"a fetch that gives nothing", nothing_given, CHK_FETCH_SHAPE},
	{"a fetch that gives too much", too_much_given, CHK_FETCH_SHAPE},
	{"a partial batch", partial_batch, CHK_FETCH_SHAPE},
	{"the wrong offset for a timestamp", wrong_list, CHK_LIST},
	{"the wrong record with the largest timestamp", wrong_max_timestamp, CHK_LIST},
	{"a record below the log's start", list_below_the_start, CHK_LIST},
	{"the log's start goes back", start_back, CHK_START},
	{"the log's start is beyond what was asked", start_too_far, CHK_START},
	{"a batch of a deleted partition", deleted_came_back, CHK_CAME_BACK},
};

static int check_histories(void)
{
	static const bool ordered[] = {true, true};
	int failed = 0;
	bool seen[CHK_RULE_COUNT] = {false};
	for (size_t i = 0; i < array_size(cases); i++) {
		struct check c;
		chk_init(&c, 2, ordered, false);
		cases[i].history(&c);
		bool ok = c.broken == cases[i].breaks;
		seen[cases[i].breaks] = true;
		printf("%-6s %s%s%s%s%s\n", ok ? "ok" : "FAILED", cases[i].name,
			ok ? "" : ": expected ", ok ? "" : chk_rule_name(cases[i].breaks),
			ok ? "" : ", found ", ok ? "" : chk_rule_name(c.broken));
		failed += !ok;
		chk_fini(&c);
	}
	for (int r = 0; r < CHK_RULE_COUNT; r++) {
		if (!seen[r]) {
			printf("FAILED no history breaks the rule %s\n",
				chk_rule_name((enum chk_rule)r));
			failed++;
		}
	}
	printf("%zu histories, %d failed\n", array_size(cases), failed);
	return failed;
}

/* --- the disk
 * ------------------------------------------------------------------------------------- */

/* What was seen of the disk over many seeds. */
struct disk_seen {
	uint64_t wrong; /* against the fault model */
	uint64_t old_sectors, new_sectors, torn_writes;
	uint64_t name_kept, name_lost, size_kept, size_lost;
};

static void step(struct sim_disk *d, struct io_op *op, uint64_t *now_us)
{
	struct io *io = sim_disk_io(d);
	struct list done;
	list_init(&done);
	list_init(&op->node);
	io->api->submit(io, op);
	while (list_empty(&done)) {
		*now_us += 10;
		sim_disk_set_time(d, *now_us);
		io->api->reap(io, &done);
	}
}

/* A file of four flushed sectors, written over but not flushed, and grown; beside it a new name. */
static void disk_history(struct sim_disk *d, uint8_t *page, bool flush)
{
	struct io *io = sim_disk_io(d);
	struct io_file *f, *g;
	uint64_t now_us = 0;
	CHECK(io->api->mkdir(io, "/d") == 0 && io->api->fsync_dir(io, "/") == 0);
	CHECK(io->api->open(io, "/d/f", IO_CREATE | IO_DIRECT, &f) == 0);
	memset(page, 'a', 2048);
	CHECK(io->api->pwrite(io, f, page, 2048, 0) == 2048);
	CHECK(io->api->fsync(io, f) == 0 && io->api->fsync_dir(io, "/d") == 0);
	struct io_op op = {.kind = IO_FALLOCATE, .file = f, .off = 2048, .len = 2048};
	step(d, &op, &now_us);
	memset(page, 'b', 2048);
	op = (struct io_op){.kind = IO_WRITE, .file = f, .buf = page, .len = 2048};
	step(d, &op, &now_us);
	CHECK(op.result == 2048);
	op = (struct io_op){.kind = IO_FDATASYNC, .file = f};
	if (flush)
		step(d, &op, &now_us);
	CHECK(io->api->open(io, "/d/g", IO_CREATE, &g) == 0);
	CHECK(io->api->rename(io, "/d/g", "/d/h") == 0);
	if (flush)
		CHECK(io->api->fsync_dir(io, "/d") == 0);
	io->api->close(io, f);
	io->api->close(io, g);
}

static void disk_look(struct sim_disk *d, uint8_t *page, bool flush, struct disk_seen *seen)
{
	struct io *io = sim_disk_io(d);
	struct io_file *f;
	uint64_t size;
	bool torn[2] = {false, false};
	CHECK(io->api->open(io, "/d/f", 0, &f) == 0 && io->api->size(io, f, &size) == 0);
	*(size == 4096 ? &seen->size_kept : &seen->size_lost) += 1;
	seen->wrong += (size != 2048 && size != 4096) || (flush && size != 4096);
	CHECK(io->api->pread(io, f, page, 4096, 0) == (int64_t)size);
	for (uint64_t at = 0; at < size; at++) {
		uint8_t want = at < 2048 ? page[at - at % SIM_SECTOR] : 0;
		seen->wrong += page[at] != want || (at < 2048 && want != 'a' && want != 'b');
		seen->wrong += flush && at < 2048 && want != 'b';
		if (at < 2048 && at % SIM_SECTOR == 0) {
			*(want == 'b' ? &seen->new_sectors : &seen->old_sectors) += 1;
			torn[want == 'b'] = true;
		}
	}
	seen->torn_writes += torn[0] && torn[1];
	io->api->close(io, f);
	bool has_g = io->api->open(io, "/d/g", 0, &f) == 0;
	if (has_g)
		io->api->close(io, f);
	bool has_h = io->api->open(io, "/d/h", 0, &f) == 0;
	if (has_h)
		io->api->close(io, f);
	*(has_h ? &seen->name_kept : &seen->name_lost) += 1;
	seen->wrong += (has_g && has_h) || (flush && !has_h);
}

/* Power cuts with and without a flush before them. */
static int check_disk(void)
{
	uint8_t *page = aligned_alloc(4096, 4096);
	int failed = 0;
	CHECK(page);
	for (int flush = 0; flush < 2; flush++) {
		struct disk_seen seen = {0};
		for (uint64_t seed = 1; seed <= 500; seed++) {
			struct sim_disk *d = sim_disk_new(seed);
			disk_history(d, page, flush);
			sim_disk_cut(d, true);
			sim_disk_restart(d);
			disk_look(d, page, flush, &seen);
			sim_disk_free(d);
		}
		bool lossy = seen.old_sectors && seen.new_sectors && seen.torn_writes &&
			     seen.name_kept && seen.name_lost && seen.size_kept && seen.size_lost;
		bool ok = seen.wrong == 0 && (flush ? seen.old_sectors == 0 : lossy);
		printf("%-6s the disk %s\n", ok ? "ok" : "FAILED",
			flush ? "keeps what was flushed"
			      : "keeps, loses and tears what was not flushed");
		failed += !ok;
	}
	free(page);
	return failed;
}

int sim_selftest(void)
{
	return check_histories() + check_disk();
}
