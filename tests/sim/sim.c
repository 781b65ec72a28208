/* SPDX-License-Identifier: Apache-2.0 */
/* One seed: its mixture, and the lives of the broker one after the other. */
#include "sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

#define EPOCH_MS 1700000000000ll
#define BLOCKS_MAX 128u
#define REQS_MAX 48u
#define PLAIN_SIZE (256u * 1024u + 65536u)

uint32_t sim_below(struct sim *s, uint32_t n)
{
	return (uint32_t)prng_below(&s->rng, n);
}

bool sim_one_in(struct sim *s, uint32_t n)
{
	return prng_below(&s->rng, n) == 0;
}

int64_t sim_now_ms(const struct sim *s)
{
	return EPOCH_MS + (int64_t)(s->now_us / 1000);
}

void sim_event(struct sim *s, const char *what, uint64_t a, uint64_t b, uint64_t c)
{
	const uint64_t words[] = {s->now_us, (uint64_t)what[0] << 8 | (uint8_t)what[1], a, b, c};
	s->stats.events++;
	for (size_t i = 0; i < array_size(words); i++) {
		s->hash = (s->hash ^ words[i]) * 0x9e3779b97f4a7c15ull;
		s->hash ^= s->hash >> 31;
	}
	if (s->verbose)
		printf("%10llu us  %-8s %llu %llu %lld\n", (unsigned long long)s->now_us, what,
			(unsigned long long)a, (unsigned long long)b, (long long)c);
}

void sim_broken(struct sim *s, const char *fmt, ...)
{
	if (s->broken)
		return;
	s->broken = true;
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(s->what, sizeof(s->what), fmt, ap);
	va_end(ap);
}

bool sim_is_over(const struct sim *s)
{
	return s->broken || s->check.broken != CHK_OK;
}

/* --- the mixture
 * ----------------------------------------------------------------------------------------- */

static void mix_sizes(struct sim *s, struct sim_mix *m)
{
	m->sizes = (enum sim_sizes)sim_below(s, SIZES_COUNT);
	m->page_size = 512u << sim_below(s, 5);
	m->config.segment_bytes = 1u << 30;
	if (sim_one_in(s, 4))
		return;
	switch (m->sizes) {
	case SIZES_SMALL:
		m->config.segment_bytes = 2000 + sim_below(s, 40000);
		break;
	case SIZES_PAGES:
		m->config.segment_bytes = 8192 + sim_below(s, 100000);
		break;
	default:
		m->config.segment_bytes = 130000 + sim_below(s, 200000);
		break;
	}
}

static void mix_faults(struct sim *s, struct sim_mix *m)
{
	m->faults.delay_us = sim_one_in(s, 4) ? 5 : 20 + sim_below(s, 400);
	if (sim_one_in(s, 2))
		m->faults.short_write = 3 + sim_below(s, 30);
	if (sim_one_in(s, 3))
		m->faults.no_space = 3 + sim_below(s, 30);
	if (sim_one_in(s, 5))
		m->faults.flush_fails = 20 + sim_below(s, 300);
	if (sim_one_in(s, 8))
		m->faults.write_fails = 50 + sim_below(s, 500);
	if (sim_one_in(s, 8))
		m->faults.read_fails = 5 + sim_below(s, 50);
	m->crash_in_recovery = sim_one_in(s, 2);
	m->clean_in_8 = sim_below(s, 4);
	m->kill_in_8 = sim_below(s, 3);
}

static void mix_make(struct sim *s)
{
	struct sim_mix *m = &s->mix;
	m->parts = 1 + (sim_one_in(s, 2) ? sim_below(s, 2) : sim_below(s, SIM_PARTS));
	m->dirs = 1 + sim_below(s, SIM_DIRS);
	m->blocks = sim_one_in(s, 2) ? BLOCKS_MAX : 24 + sim_below(s, 60);
	m->reqs = sim_one_in(s, 2) ? REQS_MAX : 2 + sim_below(s, 10);
	m->producers = 1 + sim_below(s, 6);
	m->fetchers = 1 + sim_below(s, 4);
	m->config = (struct part_config){
		.max_message_bytes = 1 << 20,
		.segment_ms = INT64_MAX / 4,
		.timestamp_before_max_ms = INT64_MAX,
		.timestamp_after_max_ms = 3600 * 1000,
	};
	if (sim_one_in(s, 3))
		m->config.segment_ms = 5 + sim_below(s, 50);
	m->config.log_append_time = sim_one_in(s, 4);
	mix_sizes(s, m);
	mix_faults(s, m);
	m->compressed = sim_one_in(s, 2) ? 0 : sim_below(s, 9);
	m->codec = (enum codec)(1 + sim_below(s, CODEC_COUNT - 1));
	m->trims = sim_one_in(s, 2) ? 0 : 2 + sim_below(s, 20);
	m->deletions = sim_one_in(s, 2) ? 0 : 3 + sim_below(s, 20);
	m->retention_bytes = sim_one_in(s, 2) ? -1 : (int64_t)sim_below(s, 200000);
	m->think_us = sim_one_in(s, 2) ? 50 : 100 + sim_below(s, 3000);
	m->hold_us = sim_one_in(s, 2) ? 10 : sim_below(s, 5000);
	m->ring_us = sim_one_in(s, 2) ? 0 : sim_below(s, 500);
	m->journal_bytes = 65536u << sim_below(s, 3);
	m->note_bytes = sim_one_in(s, 3) ? 1u << 20 : 500 + sim_below(s, 40000);
	m->lives = 2 + sim_below(s, 6);
	m->calls = 40 + sim_below(s, 400);
}

void sim_init(struct sim *s, uint64_t seed, enum sim_mutation m, bool verbose)
{
	memset(s, 0, sizeof(*s));
	s->seed = seed;
	s->mutation = m;
	s->verbose = verbose;
	s->rng.s = seed * 0x2545f4914f6cdd1dull + 1;
	prng_next(&s->rng);
	mix_make(s);
	s->disk = sim_disk_new(prng_next(&s->rng));
	sim_shim_init(&s->shim, sim_disk_io(s->disk), m, prng_next(&s->rng));
	snprintf(s->dirs[0], sizeof(s->dirs[0]), "/a");
	snprintf(s->dirs[1], sizeof(s->dirs[1]), "/b");
	s->memory = aligned_alloc(4096, (size_t)BLOCKS_MAX * LBLOCK_SIZE);
	s->staging = aligned_alloc(4096, SIM_API_STAGING);
	s->reqs = calloc(REQS_MAX, sizeof(*s->reqs));
	s->build = malloc(PLAIN_SIZE);
	s->plain = calloc(1, PLAIN_SIZE);
	s->scratch.size = 4u << 20;
	s->scratch.buf = malloc(s->scratch.size);
	s->scratch.codec = codec_open();
	CHECK(s->memory && s->staging && s->reqs && s->build && s->plain && s->scratch.buf &&
		s->scratch.codec);
	/* what a broker that goes wrong may read before it was written is the same in every run */
	memset(s->memory, 0xa5, (size_t)BLOCKS_MAX * LBLOCK_SIZE);
	clients_init(s);
	chk_init(&s->check, SIM_CLIENTS, s->ordered, s->mix.config.log_append_time);
}

void sim_fini(struct sim *s)
{
	if (s->up) { /* it ended with a violation */
		sim_disk_cut(s->disk, true);
		sim_api_drop(&s->api);
		lblock_pool_fini(&s->pool);
		producer_pool_fini(&s->producers_known);
	}
	chk_fini(&s->check);
	sim_disk_free(s->disk);
	codec_close(s->scratch.codec);
	free(s->scratch.buf);
	free(s->memory);
	free(s->staging);
	free(s->reqs);
	free(s->build);
	free(s->plain);
}

/* --- lives
 * --------------------------------------------------------------------------------------------------
 */

static bool any_offline(const struct sim *s)
{
	for (uint32_t i = 0; i < s->mix.parts; i++)
		if (s->parts[i].state == PART_OFFLINE)
			return true;
	return false;
}

/* The broker serves until its calls are used up, or the machine stops. */
static void serve(struct sim *s)
{
	uint32_t still = 0;
	clients_start(s);
	while (s->calls_left > 0 && !sim_is_over(s) && !sim_disk_is_stopped(s->disk)) {
		uint64_t t = min_of(node_next_us(s), clients_next_us(s));
		if (t == UINT64_MAX) { /* everybody waits: for memory that only a release gives, or
					  for data */
			clients_release(s, true);
			t = s->now_us + 1000;
			s->calls_left--;
		}
		still = t > s->now_us ? 0 : still + 1;
		if (still > 100000) {
			sim_broken(s, "time stands still");
			return;
		}
		s->now_us = max_of(s->now_us, t);
		sim_disk_set_time(s->disk, s->now_us);
		clients_act(s);
		node_pump(s);
		if (any_offline(s) && sim_one_in(s, 20))
			return;
	}
}

static enum sim_end choose_end(struct sim *s)
{
	uint32_t n = sim_below(s, 8);
	if (n < s->mix.clean_in_8)
		return SIM_CLEAN;
	return n < s->mix.clean_in_8 + s->mix.kill_in_8 ? SIM_KILL : SIM_POWER;
}

static void live(struct sim *s)
{
	enum sim_end end = choose_end(s);
	bool in_recovery = s->mix.crash_in_recovery && s->stats.lives > 0 && sim_one_in(s, 3);
	if (in_recovery)
		sim_disk_stop_after(s->disk, 1 + sim_below(s, 25));
	s->calls_left = s->mix.calls / 2 + sim_below(s, s->mix.calls);
	if (!node_start(s)) {
		s->stats.crashes_in_recovery++;
		node_end(s, sim_one_in(s, 4) ? SIM_KILL : SIM_POWER);
		return;
	}
	if (!in_recovery && end == SIM_POWER && sim_one_in(s, 2))
		sim_disk_stop_after(s->disk, 1 + sim_below(s, 600));
	serve(s);
	if (!sim_is_over(s))
		node_end(s, end);
}

/* Nothing goes wrong any more: all that was ever acknowledged is there, and stays there. */
static void last_life(struct sim *s)
{
	s->mix.faults = (struct sim_disk_faults){.delay_us = 10};
	s->calls_left = 20;
	if (!node_start(s)) {
		if (!sim_is_over(s))
			sim_broken(s, "the last start fails");
		return;
	}
	serve(s);
	node_drain(s);
	node_end(s, SIM_CLEAN);
	if (sim_is_over(s))
		return;
	if (!node_start(s) && !sim_is_over(s))
		sim_broken(s, "the start after a clean stop fails");
	node_drain(s);
	node_end(s, SIM_CLEAN);
}

void sim_run(struct sim *s)
{
	for (uint32_t i = 0; i < s->mix.lives && !sim_is_over(s); i++)
		live(s);
	if (!sim_is_over(s))
		last_life(s);
	s->stats.disk = sim_disk_counts(s->disk);
	s->stats.virtual_us = s->now_us;
	sim_event(s, "over", s->check.acked, s->check.fetched_batches, sim_disk_hash(s->disk));
}
