/* SPDX-License-Identifier: Apache-2.0 */
#include "sim_faults.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "sim_rig.h"
#include "sim_words.h"

#define FAILURES_MAX 10u
#define LIVES 2u

/* The ways in which an operation goes wrong. */
static const struct {
	const char *name;
	enum sim_fault kind;
	uint64_t count;
	const char *dir;
} ways[] = {
	{"it fails with EIO", SIM_FAULT_EIO, 1, NULL},
	{"directory b fails with EIO from it on", SIM_FAULT_EIO, UINT64_MAX, "b"},
	{"there is no room for it", SIM_FAULT_NOSPACE, 1, NULL},
	{"there is no room from it on for sixty operations", SIM_FAULT_NOSPACE, 60, NULL},
	{"it transfers one sector", SIM_FAULT_SHORT, 1, NULL},
	{"it transfers half", SIM_FAULT_HALF, 1, NULL},
	{"it takes ten seconds", SIM_FAULT_SLOW, 1, NULL},
};

struct faults {
	const struct faults_options *o;
	uint64_t seed;
	struct rig g;
	uint64_t runs, failures, starts_refused, dirs_lost;
};

static bool fails_for_good(enum sim_fault kind)
{
	return kind == SIM_FAULT_EIO;
}

/* Starts, a second time when the fault has kept the first from it. */
static bool start(struct faults *f)
{
	struct rig *g = &f->g;
	for (uint32_t i = 0; i < 2; i++) {
		if (rig_start(g))
			return true;
		if (g->broken)
			return false;
		f->starts_refused++;
		rig_end(g, RIG_END_KILL);
		const struct sim_disk_fault none = {0};
		if (i == 0 && sim_disk_fault_dir(g->disk))
			sim_disk_set_fault(g->disk, &none);
	}
	rig_broken(g, "the start is refused again, with nothing wrong any more");
	return false;
}

/* Only what the fault has hit may have failed. */
static void check_spread(struct faults *f, enum sim_fault kind)
{
	struct rig *g = &f->g;
	char buf[64];
	const char *hit = sim_disk_fault_dir(g->disk);
	for (uint32_t i = 0; i < g->log_count; i++) {
		const struct rig_log *l = &g->logs[i];
		bool here = hit && strcmp(hit, g->dirs[l->dir] + 1) == 0;
		if (l->state == RIG_FAILED && (!here || !fails_for_good(kind)))
			rig_broken(g,
				"%s has failed (operation %d, error %d), but the fault was in "
				"directory %s",
				rig_log_name(l, buf), l->failed_op, l->failed_err,
				hit ? hit : "none");
	}
	for (uint16_t i = 0; i < g->dir_count; i++)
		f->dirs_lost += g->dir_failed[i];
}

/* Every log that is not gone takes an append. */
static void check_goes_on(struct faults *f)
{
	struct rig *g = &f->g;
	char buf[64];
	static const uint32_t sizes[] = {300};
	for (uint32_t i = 0; i < RIG_SLOTS && !rig_is_over(g); i++) {
		struct rig_log *l = g->slots[i];
		uint32_t acked = l ? l->acked : 0;
		for (uint32_t n = 0; n < 100 && l && l->state == RIG_OPEN && l->acked == acked;
			n++) {
			rig_append(g, l, sizes, 1, false);
			if (!rig_drain(g))
				return;
			g->now_us += 100 * 1000;
			sim_disk_set_time(g->disk, g->now_us);
		}
		if (l && l->state == RIG_OPEN && l->acked == acked)
			rig_broken(g, "%s takes no append any more", rig_log_name(l, buf));
	}
}

static void lives(struct faults *f, enum sim_fault kind)
{
	struct rig *g = &f->g;
	struct work w = {.g = g, .ops = 45, .large = f->seed % 2};
	const struct sim_disk_fault none = {0};
	for (uint32_t i = 0; i < LIVES; i++) {
		if (!start(f))
			return;
		work_live(&w);
		if (!rig_drain(g))
			return;
		if (sim_disk_fault_dir(g->disk))
			check_goes_on(f);
		if (!rig_drain(g))
			return;
		check_spread(f, kind);
		rig_end(g, i == 0 ? RIG_END_CLEAN : RIG_END_POWER);
		if (g->broken)
			return;
	}
	sim_disk_set_fault(g->disk, &none);
	g->rough = false;
	if (!rig_start(g))
		return;
	check_goes_on(f);
	if (rig_drain(g))
		rig_end(g, RIG_END_CLEAN);
}

/* One run; the operations there were. */
static uint64_t run(struct faults *f, uint64_t at, uint32_t way)
{
	struct rig *g = &f->g;
	const struct sim_disk_faults times = {.delay_us = 30};
	const struct sim_disk_fault fault = {
		.kind = ways[way].kind, .at = at, .count = ways[way].count, .dir = ways[way].dir};
	sim_words("--faults", f->seed, at, way);
	rig_init(g, f->seed, 2);
	g->rough = at > 0;
	g->segment_bytes = 24 * 1024;
	sim_disk_set_faults(g->disk, &times);
	if (at > 0)
		sim_disk_set_fault(g->disk, &fault);
	lives(f, ways[way].kind);
	uint64_t count = sim_disk_io_count(g->disk);
	f->runs++;
	if (g->broken) {
		f->failures++;
		printf("seed %llu, operation %llu, way %u (%s): %s\n"
		       "  replay: millsim --faults --seed %llu --at %llu --choice %u -v\n",
			(unsigned long long)f->seed, (unsigned long long)at, way, ways[way].name,
			g->what, (unsigned long long)f->seed, (unsigned long long)at, way);
		fflush(stdout);
	}
	rig_fini(g);
	return count;
}

/* Operations of the run without a fault: counted by one that never strikes. */
static uint64_t count_operations(struct faults *f)
{
	struct rig *g = &f->g;
	struct work w = {.g = g, .ops = 45, .large = f->seed % 2};
	const struct sim_disk_faults times = {.delay_us = 30};
	rig_init(g, f->seed, 2);
	g->segment_bytes = 24 * 1024;
	sim_disk_set_faults(g->disk, &times);
	for (uint32_t i = 0; i < LIVES && start(f); i++) {
		work_live(&w);
		rig_drain(g);
		rig_end(g, i == 0 ? RIG_END_CLEAN : RIG_END_POWER);
	}
	uint64_t count = sim_disk_io_count(g->disk);
	if (g->broken) {
		f->failures++;
		printf("seed %llu, no fault: %s\n", (unsigned long long)f->seed, g->what);
	}
	rig_fini(g);
	return count;
}

int faults_run(const struct faults_options *o)
{
	struct faults *f = calloc(1, sizeof(*f));
	CHECK(f);
	f->o = o;
	f->seed = o->first;
	clock_t begin = clock();
	uint64_t n = 0;
	if (o->one) {
		run(f, o->at, (uint32_t)min_of(o->choice, (uint64_t)array_size(ways) - 1));
	} else {
		n = count_operations(f);
		uint64_t all = n * array_size(ways);
		double step = o->runs && o->runs < all ? (double)all / (double)o->runs : 1;
		for (double i = 0; i < (double)all && f->failures < FAILURES_MAX; i += step) {
			uint64_t k = (uint64_t)i;
			run(f, 1 + k / array_size(ways), (uint32_t)(k % array_size(ways)));
		}
	}
	printf("%llu runs with a fault in one of %llu operations, in %zu ways; %llu starts "
	       "refused, "
	       "%llu directories lost; %llu failed; %.1f s\n",
		(unsigned long long)f->runs, (unsigned long long)n, array_size(ways),
		(unsigned long long)f->starts_refused, (unsigned long long)f->dirs_lost,
		(unsigned long long)f->failures, (double)(clock() - begin) / CLOCKS_PER_SEC);
	int rc = f->failures > 0;
	free(f);
	return rc;
}
