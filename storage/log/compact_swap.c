/* SPDX-License-Identifier: Apache-2.0 */
/* Puts a compacted segment into the place of its inputs; compact.h has the steps and why. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "storage/log/compact_int.h"

int compact_path(char out[IO_PATH_MAX], const char *dir, int64_t base_offset, const char *kind,
	const char *suffix)
{
	char name[FMT_NAME_SIZE];
	fmt_segment_name(name, base_offset, kind);
	int n = snprintf(out, IO_PATH_MAX, "%s/%s%s", dir, name, suffix);
	return n < 0 || n >= (int)IO_PATH_MAX ? -ENAMETOOLONG : 0;
}

/* The file may be gone already. */
static int unlink_file(
	struct io *io, const char *dir, int64_t base, const char *kind, const char *suffix)
{
	char path[IO_PATH_MAX];
	int rc = compact_path(path, dir, base, kind, suffix);
	if (rc == 0)
		rc = io->api->unlink(io, path);
	return rc == -ENOENT ? 0 : rc;
}

static int rename_file(struct io *io, const char *dir, int64_t base, const char *kind,
	const char *from, const char *to)
{
	char a[IO_PATH_MAX], b[IO_PATH_MAX];
	int rc = compact_path(a, dir, base, kind, from);
	if (rc == 0)
		rc = compact_path(b, dir, base, kind, to);
	return rc == 0 ? io->api->rename(io, a, b) : rc;
}

/* Steps 1 and 2. *decided: step 2 has happened, if not for good. */
static int swap_decide(struct io *io, const char *dir, int64_t base, bool *decided)
{
	const char *cleaned = COMPACT_PATH_SUFFIX_CLEANED, *swap = COMPACT_PATH_SUFFIX_SWAP;
	*decided = false;
	int rc = rename_file(io, dir, base, "index", cleaned, swap);
	if (rc == 0)
		rc = io->api->fsync_dir(io, dir);
	if (rc < 0)
		return rc;
	rc = rename_file(io, dir, base, "log", cleaned, swap);
	if (rc < 0)
		return rc;
	*decided = true;
	return io->api->fsync_dir(io, dir);
}

/* Steps 3 to 5, any of which may have been done before. `inputs`: bases of the inputs but the
 * first. */
static int swap_finish(
	struct io *io, const char *dir, int64_t base, const int64_t *inputs, uint32_t count)
{
	const char *swap = COMPACT_PATH_SUFFIX_SWAP;
	int rc = 0;
	for (uint32_t i = 0; rc == 0 && i < count; i++) {
		rc = unlink_file(io, dir, inputs[i], "log", "");
		if (rc == 0)
			rc = unlink_file(io, dir, inputs[i], "index", "");
	}
	if (rc == 0)
		rc = rename_file(io, dir, base, "index", swap, "");
	if (rc == -ENOENT)
		rc = 0; /* it has its name */
	if (rc == 0)
		rc = io->api->fsync_dir(io, dir);
	if (rc == 0)
		rc = rename_file(io, dir, base, "log", swap, "");
	return rc == 0 ? io->api->fsync_dir(io, dir) : rc;
}

/* Removes what was not decided on. */
static int swap_discard(struct io *io, const char *dir, int64_t base)
{
	const char *const kinds[] = {"index", "log"};
	int rc = unlink_file(io, dir, base, "index", COMPACT_PATH_SUFFIX_SWAP);
	for (size_t i = 0; i < array_size(kinds); i++) {
		int one = unlink_file(io, dir, base, kinds[i], COMPACT_PATH_SUFFIX_CLEANED);
		rc = rc == 0 ? one : rc;
	}
	return rc;
}

enum compact_swapped compact_swap_files(struct io *io, const char *dir, int64_t base,
	const int64_t *inputs, uint32_t count, int *rc)
{
	bool decided;
	*rc = swap_decide(io, dir, base, &decided);
	if (*rc < 0 && !decided) {
		swap_discard(io, dir, base);
		return COMPACT_UNCHANGED;
	}
	if (*rc == 0)
		*rc = swap_finish(io, dir, base, inputs, count);
	return *rc == 0 ? COMPACT_SWAPPED : COMPACT_UNKNOWN;
}

/* ---- after a crash ---- */

enum found {
	FOUND_SEGMENT, /* <base>.log, <base>.index */
	FOUND_SWAP,    /* <base>.log.swap */
	FOUND_REST,    /* <base>.index.swap, <base>.{log,index}.cleaned */
};

struct listing {
	struct found_file {
		int64_t base;
		enum found what;
	} * files;
	uint32_t count;
	uint32_t capacity;
	bool failed; /* out of memory */
};

/* Whether name is a segment's file of this kind with this suffix. */
static bool is_file(const char *name, const char *kind, const char *suffix, int64_t *base)
{
	char stem[FMT_NAME_SIZE];
	size_t n = strlen(name), m = strlen(suffix);
	if (n < m || n - m >= sizeof(stem) || strcmp(name + n - m, suffix) != 0)
		return false;
	memcpy(stem, name, n - m);
	stem[n - m] = 0;
	return fmt_segment_name_parse(stem, kind, base);
}

static bool classify(const char *name, struct found_file *f)
{
	f->what = FOUND_SEGMENT;
	if (is_file(name, "log", "", &f->base) || is_file(name, "index", "", &f->base))
		return true;
	f->what = FOUND_SWAP;
	if (is_file(name, "log", COMPACT_PATH_SUFFIX_SWAP, &f->base))
		return true;
	f->what = FOUND_REST;
	return is_file(name, "index", COMPACT_PATH_SUFFIX_SWAP, &f->base) ||
	       is_file(name, "index", COMPACT_PATH_SUFFIX_CLEANED, &f->base) ||
	       is_file(name, "log", COMPACT_PATH_SUFFIX_CLEANED, &f->base);
}

static void each_name(void *arg, const char *name)
{
	struct listing *l = arg;
	struct found_file f;
	if (l->failed || !classify(name, &f))
		return;
	if (l->count == l->capacity) {
		uint32_t capacity = max_of(64u, l->capacity * 2);
		struct found_file *p = realloc(l->files, capacity * sizeof(*p));
		if (!p) {
			l->failed = true;
			return;
		}
		l->files = p;
		l->capacity = capacity;
	}
	l->files[l->count++] = f;
}

/* The last page of the index that belongs to <base>.log.swap. 0, -EBADMSG or -errno. */
static int read_last_page(
	struct io *io, const char *dir, int64_t base, uint32_t seed, struct fmt_bidx_page *page)
{
	char path[IO_PATH_MAX];
	struct io_file *f;
	uint64_t size = 0;
	int rc = compact_path(path, dir, base, "index", COMPACT_PATH_SUFFIX_SWAP);
	if (rc == 0)
		rc = io->api->open(io, path, IO_RDONLY, &f);
	if (rc == -ENOENT) {
		rc = compact_path(path, dir, base, "index", "");
		if (rc == 0)
			rc = io->api->open(io, path, IO_RDONLY, &f);
	}
	if (rc < 0)
		return rc == -ENOENT ? -EBADMSG : rc;
	rc = io->api->size(io, f, &size);
	if (rc == 0 && (size < FMT_PAGE || size % FMT_PAGE != 0))
		rc = -EBADMSG;
	if (rc == 0) {
		int64_t n = io->api->pread(io, f, page, FMT_PAGE, size - FMT_PAGE);
		rc = n < 0 ? (int)n : n != FMT_PAGE ? -EBADMSG : 0;
	}
	io->api->close(io, f);
	const uint32_t flags = BIDX_SEALED | BIDX_COMPACTED;
	if (rc == 0 && (!bidx_check(page, seed, (uint32_t)(size / FMT_PAGE) - 1) ||
			       (page->flags & flags) != flags))
		rc = -EBADMSG;
	return rc;
}

/* Finishes the swap of <base>.log.swap. */
static int recover_one(struct io *io, const char *dir, const struct listing *l, int64_t base,
	const struct uuid *topic_id, int32_t partition)
{
	struct fmt_bidx_page page;
	uint32_t count = 0;
	int rc = read_last_page(io, dir, base, bidx_seed(topic_id, partition, base), &page);
	if (rc < 0)
		return rc;
	int64_t *inputs = malloc(l->count * sizeof(*inputs));
	if (!inputs)
		return -ENOMEM;
	for (uint32_t i = 0; i < l->count; i++) {
		const struct found_file *f = &l->files[i];
		if (f->what == FOUND_SEGMENT && f->base > base && f->base < page.end_offset)
			inputs[count++] = f->base;
	}
	rc = swap_finish(io, dir, base, inputs, count);
	free(inputs);
	return rc;
}

int compact_recover(struct io *io, const char *path, const struct uuid *topic_id, int32_t partition)
{
	struct listing l = {0};
	int rc = io->api->list(io, path, each_name, &l);
	if (rc == 0 && l.failed)
		rc = -ENOMEM;
	for (uint32_t i = 0; rc == 0 && i < l.count; i++)
		if (l.files[i].what == FOUND_SWAP)
			rc = recover_one(io, path, &l, l.files[i].base, topic_id, partition);
	/* What was decided on has its names now; what is left was not. */
	for (uint32_t i = 0; rc == 0 && i < l.count; i++)
		if (l.files[i].what == FOUND_REST)
			rc = swap_discard(io, path, l.files[i].base);
	free(l.files);
	return rc;
}
