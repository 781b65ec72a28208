/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulator's command line.
 *
 *   millsim --seeds N [--first S]   N seeds, each run twice; both runs must be equal
 *   millsim --seed S [-v]           one seed again, with its events
 *   millsim --selftest              violations planted into histories: the checker must find each
 *   ... --mutate NAME               with a bug planted between engine and disk: one seed at least
 * must fail
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/log.h"
#include "sim.h"
#include "sim_crash.h"
#include "sim_faults.h"
#include "sim_flip.h"
#include "sim_words.h"

struct options {
	uint64_t first, count;
	bool one, verbose, selftest, crash, faults, flip, exhaustive;
	struct flip_options flip_options;
	struct faults_options faults_options;
	struct crash_options crash_options;
	enum sim_mutation mutation;
};

/* What one run of a seed came to. */
struct outcome {
	bool failed;
	char why[700];
	uint64_t hash;
	struct sim_stats stats;
};

static void run_once(uint64_t seed, const struct options *o, bool verbose, struct outcome *out)
{
	struct sim *s = malloc(sizeof(*s));
	CHECK(s);
	sim_words("", seed, 0, 0);
	sim_init(s, seed, o->mutation, verbose);
	sim_run(s);
	*out = (struct outcome){.hash = s->hash, .stats = s->stats};
	if (s->check.broken != CHK_OK) {
		out->failed = true;
		snprintf(out->why, sizeof(out->why), "%s: %s (%s)", chk_rule_name(s->check.broken),
			chk_rule_text(s->check.broken), s->check.what);
	} else if (s->broken) {
		out->failed = true;
		snprintf(out->why, sizeof(out->why), "%s", s->what);
	}
	sim_fini(s);
	free(s);
}

/* Runs a seed twice. */
static void run_seed(uint64_t seed, const struct options *o, struct outcome *out)
{
	struct outcome again;
	run_once(seed, o, false, out);
	run_once(seed, o, false, &again);
	if (!out->failed && (again.failed || again.hash != out->hash)) {
		out->failed = true;
		snprintf(out->why, sizeof(out->why), "two runs differ: %016llx and %016llx",
			(unsigned long long)out->hash, (unsigned long long)again.hash);
	}
}

static void add(struct sim_stats *sum, const struct sim_stats *one)
{
	uint64_t *to = (uint64_t *)sum;
	const uint64_t *from = (const uint64_t *)one;
	_Static_assert(sizeof(*sum) % sizeof(*to) == 0, "all of it is uint64_t");
	for (size_t i = 0; i < sizeof(*sum) / sizeof(*to); i++)
		to[i] += from[i];
}

static void print_stats(const struct sim_stats *t)
{
	printf("  %llu lives: %llu power cuts (%llu during a start), %llu kills, %llu clean "
	       "stops\n",
		(unsigned long long)t->lives, (unsigned long long)t->crashes,
		(unsigned long long)t->crashes_in_recovery, (unsigned long long)t->kills,
		(unsigned long long)t->clean_stops);
	printf("  appends: %llu acknowledged, %llu failed, %llu never answered; %llu fetches (%llu "
	       "cold), "
	       "%llu offsets listed, %llu stalls\n",
		(unsigned long long)t->acked, (unsigned long long)t->failed,
		(unsigned long long)t->unknown, (unsigned long long)t->fetched,
		(unsigned long long)t->cold_reads, (unsigned long long)t->listed,
		(unsigned long long)t->stalls);
	printf("  %llu trims, %llu partitions deleted\n", (unsigned long long)t->trimmed,
		(unsigned long long)t->deleted);
	printf("  disk: %llu operations, %llu short, %llu without space; failed: %llu flushes, "
	       "%llu writes, %llu reads; at power cuts %llu sectors kept, %llu lost, %llu names "
	       "lost\n",
		(unsigned long long)t->disk.operations, (unsigned long long)t->disk.short_transfers,
		(unsigned long long)t->disk.no_space, (unsigned long long)t->disk.failed_flushes,
		(unsigned long long)t->disk.failed_writes, (unsigned long long)t->disk.failed_reads,
		(unsigned long long)t->disk.sectors_kept, (unsigned long long)t->disk.sectors_lost,
		(unsigned long long)t->disk.names_lost);
	printf("  %llu events, %.1f s of virtual time\n", (unsigned long long)t->events,
		(double)t->virtual_us / 1e6);
}

static double seconds(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* Runs seeds, once each, until one finds the planted bug. 0 or 1. */
static int run_mutation(const struct options *o)
{
	struct outcome out;
	for (uint64_t i = 0; i < o->count; i++) {
		run_once(o->first + i, o, false, &out);
		if (!out.failed)
			continue;
		printf("ok     %s: found by seed %llu: %s\n", sim_mutation_name(o->mutation),
			(unsigned long long)(o->first + i), out.why);
		return 0;
	}
	printf("FAILED %s: not found by %llu seeds\n", sim_mutation_name(o->mutation),
		(unsigned long long)o->count);
	return 1;
}

static int run_selftest(const struct options *given)
{
	struct options o = *given;
	int failed = sim_selftest();
	o.count = o.count ? o.count : 1000;
	for (int m = SIM_NONE + 1; m < SIM_MUTATION_COUNT; m++) {
		o.mutation = (enum sim_mutation)m;
		failed += run_mutation(&o);
	}
	return failed ? 1 : 0;
}

static int run_many(const struct options *o)
{
	struct sim_stats sum = {0};
	uint64_t failed = 0;
	double start = seconds();
	for (uint64_t i = 0; i < o->count; i++) {
		struct outcome out;
		uint64_t seed = o->first + i;
		run_seed(seed, o, &out);
		add(&sum, &out.stats);
		if (out.failed) {
			failed++;
			printf("seed %llu: %s\n  replay: millsim --seed %llu -v\n",
				(unsigned long long)seed, out.why, (unsigned long long)seed);
			if (failed >= 10)
				break;
		}
		if ((i + 1) % 200 == 0) {
			printf("%llu of %llu seeds, %.1f s\n", (unsigned long long)(i + 1),
				(unsigned long long)o->count, seconds() - start);
			fflush(stdout);
		}
	}
	printf("%llu seeds from %llu, %llu failed, %.1f s\n", (unsigned long long)o->count,
		(unsigned long long)o->first, (unsigned long long)failed, seconds() - start);
	print_stats(&sum);
	return failed ? 1 : 0;
}

static int run_one(const struct options *o)
{
	struct outcome out;
	run_once(o->first, o, o->verbose, &out);
	printf("seed %llu: event hash %016llx\n", (unsigned long long)o->first,
		(unsigned long long)out.hash);
	print_stats(&out.stats);
	if (out.failed)
		printf("seed %llu: %s\n", (unsigned long long)o->first, out.why);
	return out.failed ? 1 : 0;
}

static int usage(void)
{
	fprintf(stderr,
		"millsim --seeds N [--first S] | --seed S [-v] | --selftest   [--mutate NAME]\n");
	for (int m = 1; m < SIM_MUTATION_COUNT; m++)
		fprintf(stderr, "  %-18s %s\n", sim_mutation_name((enum sim_mutation)m),
			sim_mutation_text((enum sim_mutation)m));
	return 2;
}

static int run(struct options *o)
{
	log_set_level(o->verbose ? LOG_LV_WARN : (enum log_level)(LOG_LV_ERROR + 1));
	if (o->selftest)
		return run_selftest(o);
	if (o->faults) {
		o->faults_options.first = o->first;
		o->faults_options.one = o->one;
		o->faults_options.at = o->crash_options.at;
		o->faults_options.choice = o->crash_options.choice;
		return faults_run(&o->faults_options);
	}
	if (o->flip) {
		uint64_t runs = o->faults_options.runs ? o->faults_options.runs : 3000;
		o->flip_options = (struct flip_options){.first = o->first,
			.runs = o->exhaustive ? 0 : runs,
			.one = o->one,
			.at = o->crash_options.at,
			.choice = o->crash_options.choice,
			.from = o->flip_options.from,
			.verbose = o->verbose};
		return flip_run(&o->flip_options);
	}
	if (o->crash) {
		o->crash_options.first = o->first;
		o->crash_options.one = o->one;
		o->crash_options.verbose = o->verbose;
		return crash_run(&o->crash_options);
	}
	if (o->one)
		return run_one(o);
	if (o->count == 0)
		return usage();
	return o->mutation ? run_mutation(o) : run_many(o);
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {
		{"seeds", required_argument, NULL, 'n'},
		{"first", required_argument, NULL, 'f'},
		{"seed", required_argument, NULL, 's'},
		{"mutate", required_argument, NULL, 'm'},
		{"selftest", no_argument, NULL, 't'},
		{"crash", no_argument, NULL, 'c'},
		{"faults", no_argument, NULL, 'F'},
		{"runs", required_argument, NULL, 'R'},
		{"flip", no_argument, NULL, 'x'},
		{"exhaustive", no_argument, NULL, 'e'},
		{"from", required_argument, NULL, 'r'},
		{"states", required_argument, NULL, 'N'},
		{"per-point", required_argument, NULL, 'P'},
		{"at", required_argument, NULL, 'a'},
		{"choice", required_argument, NULL, 'k'},
		{0},
	};
	struct options o = {.first = 1};
	setvbuf(stdout, NULL, _IOLBF, 0);
	int c;
	while ((c = getopt_long(argc, argv, "v", longs, NULL)) != -1) {
		switch (c) {
		case 'n':
			o.count = strtoull(optarg, NULL, 0);
			break;
		case 'f':
			o.first = strtoull(optarg, NULL, 0);
			break;
		case 's':
			o.first = strtoull(optarg, NULL, 0);
			o.one = true;
			break;
		case 'm':
			o.mutation = sim_mutation_of(optarg);
			if (o.mutation == SIM_MUTATION_COUNT)
				return usage();
			break;
		case 't':
			o.selftest = true;
			break;
		case 'c':
			o.crash = true;
			break;
		case 'F':
			o.faults = true;
			break;
		case 'R':
			o.faults_options.runs = strtoull(optarg, NULL, 0);
			break;
		case 'x':
			o.flip = true;
			break;
		case 'e':
			o.exhaustive = true;
			break;
		case 'r':
			o.flip_options.from = (uint32_t)strtoul(optarg, NULL, 0);
			break;
		case 'N':
			o.crash_options.states = strtoull(optarg, NULL, 0);
			break;
		case 'P':
			o.crash_options.per_point = (uint32_t)strtoul(optarg, NULL, 0);
			break;
		case 'a':
			o.crash_options.at = strtoull(optarg, NULL, 0);
			break;
		case 'k':
			o.crash_options.choice = strtoull(optarg, NULL, 0);
			break;
		case 'v':
			o.verbose = true;
			break;
		default:
			return usage();
		}
	}
	return run(&o);
}
