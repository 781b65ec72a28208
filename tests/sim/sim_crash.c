/* SPDX-License-Identifier: Apache-2.0 */
#include "sim_crash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "sim_look.h"
#include "sim_words.h"

#define SEEN_BITS 22
#define FAILURES_MAX 5u
#define CUTS_MAX 6u
#define PAIRS_MAX 6u
#define RANDOM_MAX 8u

struct crash {
	const struct crash_options *o;
	uint64_t seed;
	struct rig g;
	struct look *look;
	uint64_t point, choice; /* where it stands */

	/* this point's choices */
	struct sim_unit *units;
	uint32_t unit_count;
	struct sim_fate *fates;
	struct prng rng;
	bool counting;
	uint64_t candidates;
	uint32_t per_point;

	/* images that were checked, each with the promises of its time */
	uint64_t *seen;
	uint64_t seen_count;

	bool failed;
	uint64_t choices, states, second, durable; /* sums over all seeds */
	uint64_t points, failures;
};

static uint64_t mix(uint64_t h, uint64_t x)
{
	h = (h ^ x) * 0x9e3779b97f4a7c15ull;
	return h ^ (h >> 29);
}

/* True when the image is new. */
static bool remember(struct crash *c, uint64_t image)
{
	uint64_t mask = (1ull << SEEN_BITS) - 1, at = image & mask;
	if (c->seen_count > mask / 2) {
		memset(c->seen, 0, (mask + 1) * sizeof(*c->seen));
		c->seen_count = 0;
	}
	image |= 1;
	while (c->seen[at] && c->seen[at] != image)
		at = (at + 1) & mask;
	if (c->seen[at])
		return false;
	c->seen[at] = image;
	c->seen_count++;
	return true;
}

static void report(struct crash *c, const char *where)
{
	c->failed = true;
	c->failures++;
	printf("seed %llu, crash point %llu, choice %llu%s: %s\n"
	       "  replay: millsim --crash --seed %llu --at %llu --choice %llu -v\n",
		(unsigned long long)c->seed, (unsigned long long)c->point,
		(unsigned long long)c->choice, where, look_what(c->look),
		(unsigned long long)c->seed, (unsigned long long)c->point,
		(unsigned long long)c->choice);
	fflush(stdout);
}

/* What has been recovered and shown stays, though nothing is done but to cut the power again. */
static void check_durable(struct crash *c, struct sim_disk *d)
{
	int64_t starts[RIG_LOGS], ends[RIG_LOGS];
	struct sim_unit *units;
	uint64_t image;
	for (uint32_t i = 0; i < c->g.log_count; i++) {
		const struct look_log *f = look_log(c->look, i);
		starts[i] = f->there ? f->start : 0;
		ends[i] = f->there ? f->end : 0;
	}
	uint32_t n = sim_disk_units(d, &units);
	struct sim_fate *fates = calloc(n + 1, sizeof(*fates));
	CHECK(fates);
	struct sim_disk *after = sim_disk_survive(d, fates, c->seed, &image);
	free(fates);
	free(units);
	look_reset(c->look, after, c->seed + 1, c->g.now_us);
	c->durable++;
	bool ok = look_all(c->look);
	for (uint32_t i = 0; ok && i < c->g.log_count; i++) {
		const struct look_log *f = look_log(c->look, i);
		if (ends[i] > starts[i] &&
			(!f->there || f->end < ends[i] || f->start < starts[i])) {
			ok = false;
			look_wrong(c->look,
				"log %u was recovered as [%lld, %lld), and after another power cut "
				"as [%lld, %lld)",
				i, (long long)starts[i], (long long)ends[i], (long long)f->start,
				(long long)f->end);
		}
	}
	if (!ok)
		report(c, ", and a power cut after the start");
	look_reset(c->look, NULL, 0, 0);
	sim_disk_free(after);
}

/* The power fails again while the engine starts. */
static void check_second(struct crash *c, uint64_t n, uint64_t seed)
{
	uint64_t image;
	struct sim_disk *d = sim_disk_survive(c->g.disk, c->fates, seed, &image);
	look_reset(c->look, d, c->seed + 1, c->g.now_us);
	sim_disk_stop_after(d, n);
	bool ok = look_all(c->look);
	if (!ok && sim_disk_is_stopped(d)) {
		look_reset(c->look, d, c->seed + 2, c->g.now_us);
		ok = look_all(c->look);
	}
	c->second++;
	if (!ok)
		report(c, ", and another one during the start");
	look_reset(c->look, NULL, 0, 0);
	sim_disk_free(d);
}

/* One state of the disk. */
static void check_state(struct crash *c)
{
	uint64_t image;
	struct sim_disk *d = sim_disk_survive(c->g.disk, c->fates, c->choice + 1, &image);
	sim_words("--crash", c->seed, c->point, c->choice);
	c->choices++;
	if (!c->o->one && !remember(c, mix(image, c->g.version))) {
		sim_disk_free(d);
		return;
	}
	c->states++;
	struct prng rng = {.s = mix(c->point, c->choice)};
	uint64_t sample = prng_next(&rng);
	look_reset(c->look, d, c->seed + 1, c->g.now_us);
	bool ok = look_all(c->look);
	if (ok && sample % 8 == 0)
		ok = look_times(c->look);
	if (ok && sample % 4 == 1)
		ok = look_append(c->look);
	if (!ok)
		report(c, "");
	else if (sample % 16 == 2)
		check_durable(c, d);
	look_reset(c->look, NULL, 0, 0);
	sim_disk_free(d);
	if (ok && sample % 32 == 3)
		check_second(c, 1 + prng_below(&rng, 60), prng_next(&rng));
}

/* The fates are set: counts, leaves out, or checks. */
static void candidate(struct crash *c, bool always)
{
	if (c->counting) {
		c->candidates++;
		return;
	}
	c->choice++;
	uint64_t draw = prng_next(&c->rng) % 1000003;
	if (c->failed || (c->o->one && c->choice != c->o->choice))
		return;
	if (!c->o->one && !always && c->candidates > c->per_point &&
		draw * c->candidates >= 1000003ull * c->per_point)
		return;
	check_state(c);
}

static void set_all(struct crash *c, enum sim_fate_kind writes, enum sim_fate_kind others)
{
	for (uint32_t i = 0; i < c->unit_count; i++)
		c->fates[i] = (struct sim_fate){
			.kind = c->units[i].kind == SIM_UNIT_WRITE ? writes : others};
}

/* Of the group of unit i, sizes and names up to i are kept (or those before it), later ones lost.
 */
static void set_prefix(struct crash *c, uint32_t i, bool with)
{
	for (uint32_t k = 0; k < c->unit_count; k++)
		if (c->units[k].group == c->units[i].group && c->units[k].kind != SIM_UNIT_WRITE)
			c->fates[k].kind = k < i || (k == i && with) ? SIM_KEEP : SIM_DROP;
}

static void choose_one(struct crash *c, uint32_t i)
{
	if (c->units[i].kind != SIM_UNIT_WRITE) {
		set_all(c, SIM_KEEP, SIM_KEEP);
		set_prefix(c, i, false);
		candidate(c, false);
		set_all(c, SIM_DROP, SIM_DROP);
		set_prefix(c, i, true);
		candidate(c, false);
		set_all(c, SIM_KEEP, SIM_DROP);
		set_prefix(c, i, true);
		candidate(c, false);
		return;
	}
	set_all(c, SIM_KEEP, SIM_KEEP);
	c->fates[i].kind = SIM_DROP;
	candidate(c, false);
	set_all(c, SIM_DROP, SIM_KEEP);
	c->fates[i].kind = SIM_KEEP;
	candidate(c, false);
}

static void tear(struct crash *c, uint32_t i, enum sim_fate_kind kind, uint64_t from, uint64_t to)
{
	for (int alone = 0; alone < 2; alone++) {
		set_all(c, alone ? SIM_DROP : SIM_KEEP, SIM_KEEP);
		c->fates[i] = (struct sim_fate){kind, from, to};
		candidate(c, false);
	}
}

/* Cuts at multiples of `step`: all of them when they are few, or some. */
static void tear_at(struct crash *c, uint32_t i, uint64_t step)
{
	uint64_t len = c->units[i].len, n = (len - 1) / step;
	for (uint64_t k = 0; k < min_of(n, (uint64_t)CUTS_MAX); k++) {
		uint64_t cut = step * (n <= CUTS_MAX   ? k + 1
					      : k == 0 ? 1
					      : k == 1 ? n
						       : 1 + prng_below(&c->rng, n));
		tear(c, i, SIM_KEEP_RANGE, 0, cut);
		tear(c, i, SIM_KEEP_RANGE, cut, len);
	}
}

static void choose_torn(struct crash *c, uint32_t i)
{
	if (c->units[i].kind != SIM_UNIT_WRITE || c->units[i].len <= 512)
		return;
	tear_at(c, i, 512);
	if (c->units[i].len > 4096)
		tear_at(c, i, 4096);
	tear(c, i, SIM_KEEP_EVEN, 0, 0);
	tear(c, i, SIM_KEEP_EVEN, 1, 0);
	tear(c, i, SIM_KEEP_SOME, prng_next(&c->rng), 0);
}

static void choose_pairs(struct crash *c)
{
	bool few = c->unit_count <= 4;
	for (uint32_t n = 0; c->unit_count >= 3 && n < (few ? 16 : PAIRS_MAX); n++) {
		uint32_t i = few ? n / 4 : (uint32_t)prng_below(&c->rng, c->unit_count);
		uint32_t k = few ? n % 4 : (uint32_t)prng_below(&c->rng, c->unit_count);
		if (i >= k || k >= c->unit_count || c->units[i].kind != SIM_UNIT_WRITE ||
			c->units[k].kind != SIM_UNIT_WRITE)
			continue;
		for (int kept = 0; kept < 2; kept++) {
			set_all(c, kept ? SIM_DROP : SIM_KEEP, SIM_KEEP);
			c->fates[i].kind = c->fates[k].kind = kept ? SIM_KEEP : SIM_DROP;
			candidate(c, false);
		}
	}
}

static void choose_random(struct crash *c)
{
	for (uint32_t n = 0; c->unit_count >= 2 && n < RANDOM_MAX; n++) {
		for (uint32_t i = 0; i < c->unit_count; i++) {
			uint64_t r = prng_below(&c->rng, 8), len = c->units[i].len;
			struct sim_fate *f = &c->fates[i];
			*f = (struct sim_fate){.kind = r < 3 ? SIM_DROP : SIM_KEEP};
			if (c->units[i].kind != SIM_UNIT_WRITE || r < 6 || len <= 512)
				continue;
			*f = (struct sim_fate){.kind = SIM_KEEP_SOME, .from = prng_next(&c->rng)};
			if (r == 7)
				*f = (struct sim_fate){
					SIM_KEEP_RANGE, 0, 512 * prng_below(&c->rng, len / 512)};
		}
		candidate(c, false);
	}
}

static void choose(struct crash *c)
{
	c->rng.s = mix(c->seed, c->point);
	c->choice = 0;
	set_all(c, SIM_DROP, SIM_DROP);
	candidate(c, true);
	if (c->unit_count == 0)
		return;
	set_all(c, SIM_KEEP, SIM_KEEP);
	candidate(c, true);
	set_all(c, SIM_KEEP, SIM_DROP);
	candidate(c, false);
	set_all(c, SIM_DROP, SIM_KEEP);
	candidate(c, false);
	for (uint32_t i = 0; i < c->unit_count; i++)
		choose_one(c, i);
	for (uint32_t i = 0; i < c->unit_count; i++)
		choose_torn(c, i);
	choose_pairs(c);
	choose_random(c);
}

static void crash_point(void *arg)
{
	struct crash *c = arg;
	c->point++;
	if (c->failed || (c->o->one && c->point != c->o->at))
		return;
	c->points++;
	c->unit_count = sim_disk_units(c->g.disk, &c->units);
	c->fates = calloc(c->unit_count + 1, sizeof(*c->fates));
	CHECK(c->fates);
	c->candidates = 0;
	c->counting = true;
	choose(c);
	c->counting = false;
	if (c->o->one && c->o->verbose)
		printf("%u units, %llu choices\n", c->unit_count,
			(unsigned long long)c->candidates);
	choose(c);
	free(c->fates);
	free(c->units);
}

static void one_seed(struct crash *c, uint64_t seed)
{
	struct rig *g = &c->g;
	c->seed = seed;
	c->point = 0;
	sim_words("--crash", seed, 0, 0);
	c->failed = false;
	rig_init(g, seed, (uint16_t)(1 + seed % 2));
	struct work w = {
		.g = g, .lives = 3, .ops = 50 + (uint32_t)(seed % 5) * 20, .large = seed % 3 == 0};
	const struct sim_disk_faults f = {.delay_us = 30};
	g->journal_bytes = (64u * 1024u) << (seed % 3);
	g->segment_bytes = 16384u + (uint32_t)prng_below(&g->rng, 50000);
	sim_disk_set_faults(g->disk, &f);
	c->look = look_new(g, NULL, 0, 0, NULL);
	sim_disk_set_hook(g->disk, crash_point, c);
	g->promised = crash_point;
	g->promised_arg = c;
	work_run(&w);
	if (g->broken && !c->failed) {
		c->failures++;
		printf("seed %llu: before any crash: %s\n  replay: millsim --crash --seed %llu "
		       "--at 0 -v\n",
			(unsigned long long)seed, g->what, (unsigned long long)seed);
	}
	if (c->o->verbose)
		printf("seed %llu: %llu points; %llu asked, %llu batches acknowledged, %llu reads, "
		       "%llu "
		       "trims, %llu cleanings (%llu bytes), %llu deletions, %llu starts\n",
			(unsigned long long)seed, (unsigned long long)c->point,
			(unsigned long long)g->stats.asked,
			(unsigned long long)g->stats.acked_batches,
			(unsigned long long)g->stats.reads, (unsigned long long)g->stats.trims,
			(unsigned long long)g->stats.cleans,
			(unsigned long long)g->stats.cleaned_bytes,
			(unsigned long long)g->stats.deletes, (unsigned long long)g->stats.starts);
	look_free(c->look);
	rig_fini(g);
}

int crash_run(const struct crash_options *o)
{
	struct crash *c = calloc(1, sizeof(*c));
	CHECK(c);
	c->o = o;
	c->per_point = o->per_point ? o->per_point : o->states < 200000 ? 6 : 40;
	c->seen = calloc(1ull << SEEN_BITS, sizeof(*c->seen));
	CHECK(c->seen);
	clock_t begin = clock(), shown = begin;
	uint64_t seed = o->first;
	do {
		one_seed(c, seed++);
		if (clock() - shown > 20 * CLOCKS_PER_SEC) {
			shown = clock();
			printf("%llu states, %.0f s\n", (unsigned long long)c->states,
				(double)(shown - begin) / CLOCKS_PER_SEC);
			fflush(stdout);
		}
	} while (!o->one && c->states < o->states && c->failures < FAILURES_MAX);
	double s = (double)(clock() - begin) / CLOCKS_PER_SEC;
	printf("%llu crash states checked (%llu choices at %llu points of seeds %llu to %llu, the "
	       "rest led to the same states); %llu with another crash during the start, %llu after "
	       "it; %llu failed; %.1f s, %.3f ms each\n",
		(unsigned long long)c->states, (unsigned long long)c->choices,
		(unsigned long long)c->points, (unsigned long long)o->first,
		(unsigned long long)seed - 1, (unsigned long long)c->second,
		(unsigned long long)c->durable, (unsigned long long)c->failures, s,
		c->states ? s * 1000 / (double)c->states : 0);
	int rc = c->failures > 0;
	free(c->seen);
	free(c);
	return rc;
}
