/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sealed segments of a log, as its directory has them. They are looked for when someone first
 * asks for what is older than the active segment: a start does not read directories.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "storage/log/compact.h"
#include "storage/log/log.h"

struct listing {
	int64_t *bases;
	uint32_t count;
	uint32_t capacity;
	bool short_of_memory;
	bool spare;
};

static void listing_add(void *arg, const char *name)
{
	struct listing *ls = arg;
	int64_t base;
	ls->spare |= strcmp(name, FMT_SPARE_NAME) == 0;
	if (!fmt_segment_name_parse(name, "log", &base) || ls->short_of_memory)
		return;
	if (ls->count == ls->capacity) {
		uint32_t capacity = ls->capacity ? ls->capacity * 2 : 16;
		int64_t *p = realloc(ls->bases, capacity * sizeof(*p));
		ls->short_of_memory = !p;
		if (!p)
			return;
		ls->bases = p;
		ls->capacity = capacity;
	}
	ls->bases[ls->count++] = base;
}

static int base_compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return (x > y) - (x < y);
}

/* How many of the names lie before the first segment that is known. */
static uint32_t listing_older(const struct listing *ls, const struct log *l)
{
	uint32_t n = 0;
	while (n < ls->count && ls->bases[n] < l->segments[0]->base_offset)
		n++;
	return n;
}

/* Puts the first n names in front of the known segments. */
static int listing_use(struct log *l, const struct listing *ls, uint32_t n)
{
	uint32_t count = n + l->segment_count;
	struct segment **all = malloc(count * sizeof(struct segment *));
	bool ok = all != NULL;
	for (uint32_t i = 0; ok && i < n; i++) {
		all[i] = segment_new(ls->bases[i]);
		ok = all[i] != NULL;
		if (!ok) {
			while (i-- > 0)
				free(all[i]);
			break;
		}
		all[i]->rolled = all[i]->sealed = true;
		all[i]->end_offset = i + 1 < n ? ls->bases[i + 1] : l->segments[0]->base_offset;
	}
	if (!ok) {
		free(all);
		return -ENOMEM;
	}
	memcpy(all + n, l->segments, l->segment_count * sizeof(struct segment *));
	free(l->segments);
	l->segments = all;
	l->segment_count = l->segment_capacity = count;
	return 0;
}

/* Below the log's start segments may be missing; above, the first one must hold it. */
static bool listing_is_whole(const struct log *l, const struct listing *ls, uint32_t n)
{
	int64_t first = n > 0 ? ls->bases[0] : l->segments[0]->base_offset;
	return first <= l->log_start_offset;
}

enum st_err log_list(struct log_env *env, struct log *l)
{
	char path[IO_PATH_MAX];
	struct listing ls = {0};
	if (l->listed)
		return ST_OK;
	log_path(env, l, path);
	int rc = compact_recover(env->io, path, &l->topic_id, l->partition);
	if (rc == 0)
		rc = env->io->api->list(env->io, path, listing_add, &ls);
	if (rc == 0 && ls.short_of_memory)
		rc = -ENOMEM;
	if (ls.count)
		qsort(ls.bases, ls.count, sizeof(*ls.bases), base_compare);
	uint32_t n = listing_older(&ls, l);
	bool whole = rc == 0 && listing_is_whole(l, &ls, n);
	if (rc == 0)
		rc = listing_use(l, &ls, n);
	free(ls.bases);
	if (rc < 0) {
		log_error("storage", "cannot list %s: %s", path, strerror(-rc));
		return rc == -ENOMEM ? ST_E_LIMIT : ST_E_CORRUPT;
	}
	if (!whole) {
		log_error("storage", "%s: the oldest segments are missing", path);
		l->damaged = true;
	}
	l->listed = true;
	if (ls.spare &&
		l->spare_size == 0) { /* of an earlier life: what it was used for is not known */
		l->spare_size = FMT_PAGE;
		spare_drop(env, l);
	}
	return ST_OK;
}
