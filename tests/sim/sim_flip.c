/* SPDX-License-Identifier: Apache-2.0 */
#include "sim_flip.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "sim_look.h"
#include "sim_words.h"

#define PAGE 4096u
#define SECTOR 512u
#define FAILURES_MAX 200u
#define REPORTS_MAX 3u /* of one kind of harm */
#define FILES_MAX 256u
#define FLIPS_PER_FILE 48u

enum harm { HARM_FLIP, HARM_ZERO, HARM_STALE, HARM_SWAP, HARM_CUT, HARM_MISSING, HARM_COUNT };
static const char *const harm_names[] = {
	"a flipped bit",
	"a zeroed page",
	"a page as it was before",
	"a page swapped with one of another segment",
	"a cut file",
	"a missing file",
};

struct file {
	char path[160];
	uint64_t size;
};

struct files {
	struct file f[FILES_MAX];
	uint32_t count;
};

/* What a harm came to. */
enum result { RESULT_SAME, RESULT_TOLD, RESULT_REFUSED, RESULT_COUNT };
static const char *const result_names[] = {
	"everything served", "a part not served", "start refused"};

struct flip {
	const struct flip_options *o;
	uint64_t seed;
	uint32_t ending; /* how the data directory was left: 0 clean stop, 1 power cut */
	struct rig g;
	struct sim_disk *base, *before;
	struct files files; /* of base */
	struct files after; /* of base, after a start */
	struct look *look;
	struct look_log plain[RIG_LOGS]; /* what a look at base finds */
	uint32_t last_append[RIG_DIRS];	 /* logs + 1 that had the last append of the lane */
	bool failed;

	/* the harm */
	enum harm harm;
	const struct file *file, *other;
	uint64_t at;
	uint64_t number;

	uint64_t runs, failures, reported[HARM_COUNT];
	uint64_t results[HARM_COUNT][RESULT_COUNT];
};

static void note_file(void *arg, const char *path, uint64_t size)
{
	struct files *s = arg;
	CHECK(s->count < FILES_MAX);
	snprintf(s->f[s->count].path, sizeof(s->f[0].path), "%s", path);
	s->f[s->count++].size = size;
}

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), k = strlen(end);
	return n >= k && strcmp(s + n - k, end) == 0;
}

static bool is_segment(const struct file *f)
{
	return ends_with(f->path, ".log");
}

static bool is_journal(const struct file *f)
{
	return strstr(f->path, "/journal-");
}

/* The log whose directory the file is in; NULL: none. */
static const struct rig_log *log_of(const struct flip *x, const struct file *f)
{
	for (uint32_t i = 0; i < x->g.log_count; i++) {
		const struct rig_log *l = &x->g.logs[i];
		char name[64];
		for (uint32_t k = 0; k < sizeof(l->id.b); k++)
			snprintf(name + 2 * k, 3, "%02x", l->id.b[k]);
		snprintf(name + 32, sizeof(name) - 32, "-%u/", l->slot);
		if (strstr(f->path, name))
			return l;
	}
	return NULL;
}

/* --- the data directory ------------------------------------------------------------------ */

/* One append more, alone, to some log of each directory: what a torn journal may lose. */
static void append_last(struct flip *x)
{
	static const uint32_t sizes[] = {200};
	for (uint16_t dir = 0; dir < x->g.dir_count; dir++) {
		x->last_append[dir] = 0;
		for (uint32_t i = 0; i < RIG_SLOTS && !x->last_append[dir]; i++) {
			struct rig_log *l = x->g.slots[i];
			if (!l || l->dir != dir || l->state != RIG_OPEN)
				continue;
			for (int n = 0; n < 3 && !rig_append(&x->g, l, sizes, 1, false); n++)
				rig_drain(&x->g);
			x->last_append[dir] = l->index + 1;
			rig_drain(&x->g);
		}
	}
}

static bool make_base(struct flip *x)
{
	struct rig *g = &x->g;
	struct work w = {.g = g, .ops = 70, .large = true};
	const struct sim_disk_faults times = {.delay_us = 30};
	uint64_t image;
	rig_init(g, x->seed, 2);
	g->segment_bytes = 20 * 1024;
	sim_disk_set_faults(g->disk, &times);
	if (!rig_start(g))
		return false;
	work_live(&w);
	rig_drain(g);
	x->before = sim_disk_copy(g->disk, 1);
	w.ops = 40;
	work_live(&w);
	rig_drain(g);
	append_last(x);
	if (g->broken)
		return false;
	if (x->ending == 0) {
		rig_end(g, RIG_END_CLEAN);
		x->base = sim_disk_copy(g->disk, 1);
	} else {
		struct sim_unit *units;
		uint32_t n = sim_disk_units(g->disk, &units);
		struct sim_fate *fates = calloc(n + 1, sizeof(*fates));
		CHECK(fates);
		x->base = sim_disk_survive(g->disk, fates, 1, &image);
		free(fates);
		free(units);
	}
	return true;
}

/* A look at the directory as it is: all must be well. */
static bool look_at_base(struct flip *x)
{
	struct sim_disk *d = sim_disk_copy(x->base, 1);
	sim_disk_each_file(x->base, note_file, &x->files);
	x->look = look_new(&x->g, d, x->seed + 1, x->g.now_us, NULL);
	bool ok = look_all(x->look);
	sim_disk_each_file(d, note_file, &x->after);
	for (uint32_t i = 0; i < x->g.log_count; i++)
		x->plain[i] = *look_log(x->look, i);
	if (!ok)
		printf("seed %" PRIu64 ": before any harm: %s\n", x->seed, look_what(x->look));
	look_reset(x->look, NULL, 0, 0);
	sim_disk_free(d);
	return ok;
}

/* --- one harm ---------------------------------------------------------------------------- */

/* Does it to d. False: nothing has changed. */
static bool do_harm(const struct flip *x, struct sim_disk *d)
{
	uint8_t page[PAGE], other[PAGE];
	const char *path = x->file->path;
	switch (x->harm) {
	case HARM_FLIP:
		sim_disk_peek(d, path, x->at / 8, page, 1);
		page[0] ^= (uint8_t)(1u << x->at % 8);
		sim_disk_poke(d, path, x->at / 8, page, 1);
		return true;
	case HARM_ZERO:
	case HARM_STALE:
	case HARM_SWAP:
		sim_disk_peek(d, path, x->at * PAGE, page, PAGE);
		memset(other, 0, PAGE);
		if (x->harm == HARM_STALE &&
			!sim_disk_peek(x->before, path, x->at * PAGE, other, PAGE))
			return false;
		if (x->harm == HARM_SWAP)
			sim_disk_peek(d, x->other->path, x->at * PAGE, other, PAGE);
		if (memcmp(page, other, PAGE) == 0)
			return false;
		sim_disk_poke(d, path, x->at * PAGE, other, PAGE);
		if (x->harm == HARM_SWAP)
			sim_disk_poke(d, x->other->path, x->at * PAGE, page, PAGE);
		return true;
	case HARM_CUT:
		if (x->at >= x->file->size)
			return false;
		sim_disk_cut_file(d, path, x->at);
		return true;
	case HARM_MISSING:
		sim_disk_remove(d, path);
		return true;
	case HARM_COUNT:
		break;
	}
	return false;
}

static void report(struct flip *x, const char *what)
{
	x->failures++;
	x->failed = true;
	if (x->reported[x->harm]++ >= REPORTS_MAX)
		return;
	printf("seed %" PRIu64 ", %s, %s at %" PRIu64 " of %s: %s\n"
	       "  replay: millsim --flip --seed %" PRIu64 " --at %" PRIu64 " --choice %u -v\n",
		x->seed, x->ending ? "after a power cut" : "after a clean stop",
		harm_names[x->harm], x->at, x->file->path, what, x->seed, x->number, x->ending);
	fflush(stdout);
}

static uint16_t dir_of(const struct flip *x)
{
	return strncmp(x->file->path, x->g.dirs[0], strlen(x->g.dirs[0])) == 0 ? 0 : 1;
}

/* A power cut may tear the journal's last group: a harm to it looks the same. Only what that group
 * brought may be missing. */
static bool is_torn_end(struct flip *x)
{
	if (!is_journal(x->file))
		return false;
	uint16_t dir = dir_of(x);
	return x->last_append[dir] > 0;
}

static void take_back(struct flip *x, int by)
{
	if (!is_torn_end(x))
		return;
	uint16_t dir = dir_of(x);
	struct rig_log *l = &x->g.logs[x->last_append[dir] - 1];
	l->acked = (uint32_t)((int)l->acked + by);
}

static bool has_file(const struct files *s, const char *path)
{
	for (uint32_t i = 0; i < s->count; i++)
		if (strcmp(s->f[i].path, path) == 0)
			return true;
	return false;
}

/* All files are there that a start without harm leaves there. */
static void check_files(struct flip *x, struct sim_disk *d)
{
	struct files left = {0};
	char what[300];
	sim_disk_each_file(d, note_file, &left);
	for (uint32_t i = 0; i < x->files.count && !x->failed; i++) {
		const char *path = x->files.f[i].path;
		bool mine = x->harm == HARM_MISSING && strcmp(path, x->file->path) == 0;
		snprintf(what, sizeof(what), "%s has been deleted", path);
		if (!mine && has_file(&x->after, path) && !has_file(&left, path))
			report(x, what);
	}
}

/* Whether the harm is to the 16 KiB blocks that the batch is in. */
static bool is_touched(const struct flip *x, const struct rig_batch *b)
{
	uint64_t byte = x->harm == HARM_FLIP ? x->at / 8 : x->at * PAGE;
	uint64_t block = align_down(byte, (uint64_t)LBLOCK_SIZE);
	int64_t base = strtoll(strrchr(x->file->path, '/') + 1, NULL, 10);
	int64_t other = x->other ? strtoll(strrchr(x->other->path, '/') + 1, NULL, 10) : base;
	if (b->segment != base && b->segment != other)
		return false;
	if (x->harm == HARM_CUT || x->harm == HARM_MISSING)
		return true;
	return b->pos < block + LBLOCK_SIZE && b->pos + b->len > block;
}

/* The rest is served. True: everything is. */
static bool check_rest(struct flip *x)
{
	bool all = true;
	const struct rig_log *hit = log_of(x, x->file),
			     *also = x->other ? log_of(x, x->other) : hit;
	char what[200];
	for (uint32_t i = 0; i < x->g.log_count && !x->failed; i++) {
		const struct rig_log *l = &x->g.logs[i];
		const struct look_log *f = look_log(x->look, i), *p = &x->plain[i];
		bool same = f->there == p->there && !f->damaged && f->unreadable == 0 &&
			    f->start == p->start && f->end == p->end;
		all = all && same;
		bool mine = hit ? l == hit || l == also : l->dir == dir_of(x);
		if (!mine && !same) {
			snprintf(what, sizeof(what),
				"log %u is not served any more (error %d, %u batches unreadable)",
				i, f->err, f->unreadable);
			report(x, what);
		}
		bool closely = (l == hit || l == also) && is_segment(x->file) && !l->compact;
		for (uint32_t k = 0; closely && k < l->batch_count && !x->failed; k++) {
			const struct rig_batch *b = &l->batches[k];
			if (b->base < p->start || b->base >= p->end || is_touched(x, b) ||
				look_has_read(x->look, i, k))
				continue;
			snprintf(what, sizeof(what),
				"log %u: the batch at %" PRId64
				" is not served, though it stands in "
				"another block (log: error %d)",
				i, b->base, f->err);
			report(x, what);
		}
	}
	return all;
}

static void try(struct flip *x)
{
	x->number++;
	if (x->o->one && x->number != x->o->at)
		return;
	struct sim_disk *d = sim_disk_copy(x->base, 1);
	x->failed = false;
	if (!do_harm(x, d)) {
		sim_disk_free(d);
		return;
	}
	x->runs++;
	sim_words("--flip", x->seed, x->number, x->ending);
	take_back(x, -1);
	look_reset(x->look, d, x->seed + 1, x->g.now_us);
	look_allow_harm(x->look);
	look_all(x->look);
	take_back(x, 1);
	bool all = false, refused = look_is_refused(x->look);
	if (look_is_broken(x->look))
		report(x, look_what(x->look));
	else if (refused && log_of(x, x->file))
		report(x, "the start is refused for harm to one log");
	else if (!refused)
		all = check_rest(x);
	if (!x->failed)
		check_files(x, d);
	x->results[x->harm][refused ? RESULT_REFUSED : all ? RESULT_SAME : RESULT_TOLD]++;
	look_reset(x->look, NULL, 0, 0);
	sim_disk_free(d);
}

/* --- all harms --------------------------------------------------------------------------- */

static bool is_enough(const struct flip *x)
{
	return x->failures >= FAILURES_MAX;
}

/* About as many bits as were asked for, spread over the file. */
static void flip_some(struct flip *x, uint64_t total_bits)
{
	uint64_t bits = x->file->size * 8;
	uint64_t want = min_of(x->o->runs * bits / total_bits + FLIPS_PER_FILE, bits);
	struct prng rng = {.s = x->seed};
	for (uint64_t i = 0; i < want && !is_enough(x); i++) {
		uint64_t from = bits * i / want;
		x->at = min_of(from + prng_below(&rng, bits / want), bits - 1);
		try(x);
	}
}

/* Whether the sector holds nothing but zeros. */
static bool is_blank(const struct flip *x, uint64_t sector)
{
	static const uint8_t zeros[SECTOR];
	uint8_t bytes[SECTOR] = {0};
	uint64_t at = sector * SECTOR;
	sim_disk_peek(x->base, x->file->path, at, bytes,
		(uint32_t)min_of(x->file->size - at, (uint64_t)SECTOR));
	return memcmp(bytes, zeros, SECTOR) == 0;
}

/* Every bit. Where sector after sector is blank (room that nobody has written yet), all bits of the
 * first one, and one bit of each other. */
static void flip_all(struct flip *x)
{
	struct prng rng = {.s = x->seed};
	bool blank_before = false;
	for (uint64_t sector = 0; sector * SECTOR < x->file->size; sector++) {
		uint64_t from = sector * SECTOR * 8;
		uint64_t bits = min_of(x->file->size * 8 - from, (uint64_t)SECTOR * 8);
		bool blank = is_blank(x, sector), one = blank && blank_before;
		blank_before = blank;
		uint64_t first = one ? from + prng_below(&rng, bits) : from;
		for (x->at = first; x->at < (one ? first + 1 : from + bits) && !is_enough(x);
			x->at++)
			try(x);
	}
}

static void flip_file(struct flip *x, uint64_t total_bits)
{
	x->harm = HARM_FLIP;
	if (x->o->runs)
		flip_some(x, total_bits);
	else
		flip_all(x);
}

static void harm_pages(struct flip *x)
{
	uint64_t pages = (x->file->size + PAGE - 1) / PAGE;
	for (x->at = 0; x->at < pages && !is_enough(x); x->at++) {
		x->harm = HARM_ZERO;
		try(x);
		x->harm = HARM_STALE;
		try(x);
		for (uint32_t i = 0; i < x->files.count && is_segment(x->file); i++) {
			x->other = &x->files.f[i];
			x->harm = HARM_SWAP;
			bool next = x->other > x->file && is_segment(x->other) &&
				    x->at * PAGE < x->other->size;
			if (next && (x->o->runs == 0 || (x->at + i) % 4 == 0) && !is_enough(x))
				try(x);
		}
		x->other = NULL;
	}
}

static void harm_file(struct flip *x)
{
	const uint64_t cuts[] = {0, x->file->size / 2,
		align_down(x->file->size / 2, (uint64_t)PAGE), x->file->size - 1,
		x->file->size > PAGE ? x->file->size - PAGE : 0};
	x->harm = HARM_CUT;
	for (size_t i = 0; i < array_size(cuts) && x->file->size > 0 && !is_enough(x); i++) {
		x->at = cuts[i];
		try(x);
	}
	x->harm = HARM_MISSING;
	x->at = 0;
	if (!is_enough(x))
		try(x);
}

static void say_progress(const struct flip *x, uint32_t files)
{
	printf("%s: %u of %u files, %" PRIu64 " harms, %" PRIu64 " failed\n",
		x->ending ? "after a power cut" : "after a clean stop", files, x->files.count,
		x->runs, x->failures);
	fflush(stdout);
}

static void one_ending(struct flip *x)
{
	uint64_t bits = 0;
	bool ok = make_base(x);
	if (!ok)
		printf("seed %" PRIu64 ": before any harm: %s\n", x->seed, x->g.what);
	x->files.count = x->after.count = 0;
	x->number = 0;
	ok = ok && look_at_base(x);
	x->failures += !ok;
	for (uint32_t i = 0; i < x->files.count; i++)
		bits += x->files.f[i].size * 8;
	if (ok && x->o->verbose)
		for (uint32_t i = 0; i < x->files.count; i++)
			printf("  %8" PRIu64 " %s\n", x->files.f[i].size, x->files.f[i].path);
	uint32_t done = x->ending == x->o->choice ? x->o->from : 0;
	for (uint32_t i = done; ok && i < x->files.count && !is_enough(x); i++) {
		x->file = &x->files.f[i];
		flip_file(x, bits);
		harm_pages(x);
		harm_file(x);
		if (x->o->runs == 0)
			say_progress(x, i + 1);
	}
	if (x->look)
		look_free(x->look);
	if (x->base)
		sim_disk_free(x->base);
	if (x->before)
		sim_disk_free(x->before);
	x->look = NULL;
	x->base = x->before = NULL;
	rig_fini(&x->g);
}

int flip_run(const struct flip_options *o)
{
	struct flip *x = calloc(1, sizeof(*x));
	CHECK(x);
	x->o = o;
	x->seed = o->first;
	clock_t begin = clock();
	x->ending = o->from ? (uint32_t)o->choice : 0;
	for (; x->ending < 2 && !is_enough(x); x->ending++)
		if (!o->one || x->ending == o->choice)
			one_ending(x);
	for (int h = 0; h < HARM_COUNT; h++) {
		printf("%-45s", harm_names[h]);
		for (int r = 0; r < RESULT_COUNT; r++)
			printf("%s%8" PRIu64 " %s", r ? ", " : "", x->results[h][r],
				result_names[r]);
		printf("\n");
	}
	printf("%" PRIu64 " harms, %" PRIu64 " failed; %.1f s\n", x->runs, x->failures,
		(double)(clock() - begin) / CLOCKS_PER_SEC);
	int rc = x->failures > 0;
	free(x);
	return rc;
}
