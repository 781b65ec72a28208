/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   groupsim --seeds N [--first S]     N worlds, one after the other; one in eight runs twice and
 *                                      must end the same
 *   groupsim --seed S                  one of them
 */
#include "gs.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define CHAOS_MS 60000
#define REST_MS 240000

const char *gs_group_name(uint32_t group)
{
	static const char *const names[GS_GROUPS] = {"readers", "writers", "nobody"};
	return names[group];
}

void gs_fail(struct gs *w, const char *f, ...)
{
	va_list ap;
	static char dump[1 << 16];
	printf("seed %llu, step %llu, %llu ms: ", (unsigned long long)w->seed,
		(unsigned long long)w->steps, (unsigned long long)(w->now.ns / GS_MS));
	va_start(ap, f);
	vprintf(f, ap);
	va_end(ap);
	if (w->core)
		grp_dump(w->core, dump, sizeof(dump));
	printf("\n%s\nagain: groupsim --seed %llu\n", dump, (unsigned long long)w->seed);
	exit(1);
}

/* ---- chance and time ---- */

uint64_t gs_some_ms(struct gs *w, uint64_t ms)
{
	return prng_below(&w->rng, ms * GS_MS);
}

bool gs_one_in(struct gs *w, uint32_t n)
{
	return n > 0 && prng_below(&w->rng, n) == 0;
}

void gs_mix(struct gs *w, uint64_t v)
{
	w->hash = (w->hash ^ v ^ w->now.ns) * 1099511628211ull;
	w->hash ^= w->hash >> 31;
}

static bool sooner(const struct gs_event *a, const struct gs_event *b)
{
	return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->seq < b->seq;
}

void gs_at(struct gs *w, uint64_t delay_ns, gs_fn *fn, void *arg, void (*drop)(void *arg))
{
	if (w->n_events == w->room_events) {
		w->room_events = w->room_events * 2 + 64;
		w->events = realloc(w->events, w->room_events * sizeof(*w->events));
		CHECK(w->events);
	}
	uint32_t i = w->n_events++;
	struct gs_event e = {
		.at_ns = w->now.ns + delay_ns, .seq = w->seq++, .fn = fn, .arg = arg, .drop = drop};
	for (; i > 0 && sooner(&e, &w->events[(i - 1) / 2]); i = (i - 1) / 2)
		w->events[i] = w->events[(i - 1) / 2];
	w->events[i] = e;
}

static struct gs_event take_event(struct gs *w)
{
	struct gs_event first = w->events[0], last = w->events[--w->n_events];
	uint32_t i = 0, k;
	while ((k = i * 2 + 1) < w->n_events) {
		k += k + 1 < w->n_events && sooner(&w->events[k + 1], &w->events[k]);
		if (!sooner(&w->events[k], &last))
			break;
		w->events[i] = w->events[k];
		i = k;
	}
	w->events[i] = last;
	return first;
}

static void set_time(struct gs *w, uint64_t ns)
{
	w->now = (struct grp_now){.ns = ns, .wall_ms = 1700000000000 + (int64_t)(ns / GS_MS)};
}

/* ---- what goes wrong ---- */

static void come_or_go(struct gs *w, void *arg)
{
	struct gs_member *m = arg;
	if (w->healed)
		return;
	if (m->state == GS_OUT)
		gs_member_start(w, m);
	else if (gs_one_in(w, 2))
		gs_member_kill(w, m);
	else
		gs_member_leave(w, m);
	gs_at(w, gs_some_ms(w, 2 * CHAOS_MS), come_or_go, m, NULL);
}

static void core_up(struct gs *w, void *arg)
{
	gs_core_start(w);
}

static void core_down(struct gs *w, void *arg)
{
	if (w->healed || !w->core)
		return;
	gs_core_kill(w);
	w->restarts++;
	gs_at(w, gs_some_ms(w, 2000), core_up, NULL, NULL);
	gs_at(w, gs_some_ms(w, CHAOS_MS), core_down, NULL, NULL);
}

/* Of those who share an instance one lives on. */
static void heal(struct gs *w)
{
	w->healed = true;
	for (uint32_t i = 0; i < w->n_members; i++)
		for (uint32_t k = 0; k < i && w->members[i].instance[0]; k++)
			if (w->members[i].group == w->members[k].group &&
				strcmp(w->members[i].instance, w->members[k].instance) == 0)
				gs_member_kill(w, &w->members[i]);
	gs_consumers_heal(w);
	gs_olds_heal(w);
}

/* ---- a world ---- */

static void make(struct gs *w, uint64_t seed)
{
	*w = (struct gs){.seed = seed, .rng = {.s = seed}, .hash = seed};
	grp_config_defaults(&w->cfg);
	w->cfg.new_member_ms = 30000;
	w->cfg.max_size = w->cfg.consumer_max_size = GS_MEMBERS_MAX;
	w->cfg.consumer_session_ms = 12000;
	w->cfg.consumer_heartbeat_ms = 2000;
	w->cfg.expiry_interval_ms = 20000;
	w->cfg.max_write_bytes = gs_one_in(w, 4) ? 300000 : w->cfg.max_write_bytes;
	w->cfg.hash_seed = seed;
	bool crowd = seed % 64 == 0;
	w->n_members = 2 + (uint32_t)prng_below(&w->rng, crowd ? GS_MEMBERS_MAX - 2 : 24);
	w->n_parts = 1 + (uint32_t)prng_below(&w->rng, crowd ? GS_PARTS_MAX - 1 : 20);
	w->check_every = crowd ? 64 : 1;
	static const uint32_t odds[] = {0, 200, 50, 12};
	w->lose_in = odds[prng_below(&w->rng, 4)];
	w->double_in = odds[prng_below(&w->rng, 4)];
	w->slow_in = odds[prng_below(&w->rng, 4)];
	w->fail_in = odds[prng_below(&w->rng, 4)];
	list_init(&w->parked);
	for (uint32_t p = 0; p < GS_OFFSETS_PARTS; p++)
		list_init(&w->writes[p]);
	for (uint32_t g = 0; g < GS_GROUPS; g++) {
		w->book[g].generation = -1;
		for (uint32_t p = 0; p < GS_PARTS_MAX; p++)
			w->book[g].committed[p] = -1;
	}
	set_time(w, GS_MS);
	gs_members_make(w);
	w->n_olds = gs_one_in(w, 2) ? min_of(w->n_members, crowd ? GS_MEMBERS_MAX : 16u) : 0;
	w->rest = w->n_olds > 0 ? (enum gs_rest)prng_below(&w->rng, GS_RESTS) : GS_REST_BOTH;
	gs_consumers_make(w);
	gs_olds_make(w);
	gs_admin_make(w);
	gs_core_start(w);
	for (uint32_t i = 0; i < w->n_members; i++)
		gs_at(w, gs_some_ms(w, CHAOS_MS / 4), come_or_go, &w->members[i], NULL);
	if (gs_one_in(w, 2))
		gs_at(w, gs_some_ms(w, CHAOS_MS), core_down, NULL, NULL);
}

/* Timers of the coordinator come before an event of the same time. */
static bool step(struct gs *w, uint64_t end_ns)
{
	uint64_t core_ns = w->core ? grp_next_ns(w->core) : UINT64_MAX;
	uint64_t event_ns = w->n_events > 0 ? w->events[0].at_ns : UINT64_MAX;
	uint64_t next_ns = max_of(min_of(core_ns, event_ns), w->now.ns);
	if (next_ns >= end_ns)
		return false;
	set_time(w, next_ns);
	if (core_ns <= next_ns) {
		grp_tick(w->core, w->now);
	} else {
		struct gs_event e = take_event(w);
		e.fn(w, e.arg);
	}
	w->steps++;
	if (w->core)
		gs_book_step(w);
	return true;
}

static void unmake(struct gs *w)
{
	gs_core_kill(w);
	while (w->n_events > 0) {
		struct gs_event e = take_event(w);
		if (e.drop)
			e.drop(e.arg);
	}
	free(w->events);
	free(w->members);
	free(w->consumers);
	free(w->olds);
	image_free(w->image);
	gs_log_free(w);
}

static void run(struct gs *w, uint64_t seed)
{
	make(w, seed);
	while (step(w, CHAOS_MS * GS_MS))
		;
	heal(w);
	while (step(w, REST_MS * GS_MS))
		;
	gs_book_rest(w);
	gs_mix(w, w->steps);
	unmake(w);
}

static int usage(void)
{
	fprintf(stderr, "usage: groupsim --seeds N [--first S] | --seed S\n");
	return 2;
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {
		{"seeds", required_argument, NULL, 'n'},
		{"first", required_argument, NULL, 'f'},
		{"seed", required_argument, NULL, 's'},
		{0},
	};
	uint64_t first = 1, count = 0;
	int c;
	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (c == 'n') {
			count = strtoull(optarg, NULL, 0);
		} else if (c == 'f' || c == 's') {
			first = strtoull(optarg, NULL, 0);
			count = c == 's' ? 1 : count;
		} else {
			return usage();
		}
	}
	if (count == 0)
		return usage();
	setvbuf(stdout, NULL, _IOLBF, 0);
	static struct gs w, v;
	uint64_t steps = 0, answers = 0, assignments = 0, commits = 0, deletions = 0, restarts = 0,
		 rebalances = 0;
	for (uint64_t seed = first; seed < first + count; seed++) {
		run(&w, seed);
		if (seed % 8 == 1 || count == 1) {
			run(&v, seed);
			GS_MUST(&v, v.hash == w.hash, "the same seed ends differently");
		}
		steps += w.steps;
		answers += w.answers;
		assignments += w.assignments;
		commits += w.commits;
		deletions += w.deletions;
		restarts += w.restarts;
		rebalances += w.rebalances;
	}
	printf("%llu seeds: %llu steps, %llu answers, %llu generations, %llu assignments, %llu "
	       "commits, %llu deletions, %llu restarts; hash of the last %016llx\n",
		(unsigned long long)count, (unsigned long long)steps, (unsigned long long)answers,
		(unsigned long long)rebalances, (unsigned long long)assignments,
		(unsigned long long)commits, (unsigned long long)deletions,
		(unsigned long long)restarts, (unsigned long long)w.hash);
	return 0;
}
