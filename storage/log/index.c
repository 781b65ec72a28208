/* SPDX-License-Identifier: Apache-2.0 */
/* The sparse index of a segment, in memory and as a file. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "storage/log/log.h"

#define INDEX_FILE_MAX ((size_t)1 << 30)

int index_init(struct index *x)
{
	*x = (struct index){.capacity = 4};
	x->entries = malloc(x->capacity * sizeof(*x->entries));
	return x->entries ? 0 : -ENOMEM;
}

void index_fini(struct index *x)
{
	free(x->entries);
	*x = (struct index){0};
}

static bool index_grow(struct index *x)
{
	uint32_t capacity = x->capacity * 2;
	struct fmt_index_entry *e = realloc(x->entries, capacity * sizeof(*e));
	if (!e)
		return false;
	x->entries = e;
	x->capacity = capacity;
	return true;
}

void index_add(struct index *x, const struct scan_batch *b)
{
	struct fmt_index_entry *last = x->count ? &x->entries[x->count - 1] : NULL;
	bool due = !last || b->pos >= last->pos + LOG_INDEX_GAP;
	if (due && (x->count < x->capacity || index_grow(x))) {
		x->entries[x->count++] = (struct fmt_index_entry){
			.offset = b->base_offset,
			.pos = b->pos,
			.max_timestamp = b->max_timestamp,
		};
		return;
	}
	last->max_timestamp = max_of(last->max_timestamp, b->max_timestamp);
}

uint32_t index_find(const struct index *x, int64_t offset)
{
	uint32_t lo = 0, hi = x->count; /* entries[lo] is not above; entries[hi] is */
	CHECK(x->count > 0 && x->entries[0].offset <= offset);
	while (hi - lo > 1) {
		uint32_t mid = lo + (hi - lo) / 2;
		if (x->entries[mid].offset <= offset)
			lo = mid;
		else
			hi = mid;
	}
	return lo;
}

int index_store(struct log_env *env, const struct log *l, const struct segment *s, bool durable)
{
	CHECK(s->index.count > 0);
	size_t entries = s->index.count * sizeof(struct fmt_index_entry);
	size_t length = sizeof(struct fmt_index) + entries;
	uint8_t *p = malloc(length);
	if (!p)
		return -ENOMEM;
	struct fmt_index x = {
		.base_offset = s->base_offset,
		.end_offset = s->end_offset,
		.end_pos = s->end_pos,
		.created_ms = s->created_ms,
		.max_timestamp = s->max_timestamp,
		.leader_epoch = s->leader_epoch,
		.count = s->index.count,
	};
	memcpy(p, &x, sizeof(x));
	memcpy(p + sizeof(x), s->index.entries, entries);
	fmt_seal(p, length, FMT_INDEX_MAGIC);
	char name[FMT_NAME_SIZE];
	fmt_segment_name(name, s->base_offset, "index");
	int rc = file_store(env, l->path, name, p, length, durable ? FILE_NAMED : FILE_LAZY);
	free(p);
	return rc;
}

int index_load(struct log_env *env, const struct log *l, struct segment *s, bool with_entries)
{
	char path[IO_PATH_MAX];
	void *p;
	size_t length;
	segment_path(path, l, s->base_offset, "index");
	int rc = file_load(env->io, path, INDEX_FILE_MAX, &p, &length);
	if (rc < 0)
		return rc;
	struct fmt_index x;
	if (fmt_index_check(p, length) != FMT_OK) {
		free(p);
		return -EBADMSG;
	}
	memcpy(&x, p, sizeof(x));
	if (x.base_offset != s->base_offset) {
		free(p);
		return -EBADMSG;
	}
	if (with_entries) {
		struct index in = {.count = x.count, .capacity = x.count};
		in.entries = malloc(x.count * sizeof(*in.entries));
		if (!in.entries) {
			free(p);
			return -ENOMEM;
		}
		memcpy(in.entries, (const uint8_t *)p + sizeof(x), x.count * sizeof(*in.entries));
		index_fini(&s->index);
		s->index = in;
	}
	s->end_offset = x.end_offset;
	s->end_pos = x.end_pos;
	s->created_ms = x.created_ms;
	s->max_timestamp = x.max_timestamp;
	s->leader_epoch = x.leader_epoch;
	free(p);
	return 0;
}
