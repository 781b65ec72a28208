/* SPDX-License-Identifier: Apache-2.0 */
/* Files and directories of the simulated disk, each in its two layers; the fault model is at the
 * head of sim_disk.c. */
#include "sim_disk_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

#define SECTOR IO_SECTOR

void *sd_grow(void *p, uint32_t count, uint32_t *capacity, size_t size)
{
	if (count < *capacity)
		return p;
	*capacity = *capacity ? *capacity * 2 : 8;
	p = realloc(p, *capacity * size);
	CHECK(p);
	return p;
}

/* --- nodes
 * ---------------------------------------------------------------------------------------- */

struct node *sd_node_new(struct sim_disk *d, bool is_dir)
{
	struct node *n = calloc(1, sizeof(*n));
	CHECK(n);
	n->is_dir = is_dir;
	n->id = ++d->next_id;
	n->next = d->nodes;
	d->nodes = n;
	return n;
}

static void node_drop_changes(struct node *n)
{
	for (uint32_t i = 0; i < n->change_count; i++)
		free(n->changes[i].data);
	n->change_count = 0;
}

void sd_node_free(struct sim_disk *d, struct node *n)
{
	node_drop_changes(n);
	free(n->changes);
	sd_bytes_resize(d, &n->cur, 0);
	sd_bytes_resize(d, &n->dur, 0);
	free(n->cur.pages);
	free(n->dur.pages);
	free(n->now.e);
	free(n->durable.e);
	free(n->names);
	free(n);
}

int sd_find(const struct entries *s, const char *name)
{
	for (uint32_t i = 0; i < s->count; i++)
		if (strcmp(s->e[i].name, name) == 0)
			return (int)i;
	return -1;
}

static void entries_remove(struct entries *s, const char *name)
{
	int i = sd_find(s, name);
	if (i >= 0)
		s->e[i] = s->e[--s->count];
}

void sd_entries_put(struct entries *s, const char *name, struct node *node)
{
	entries_remove(s, name);
	s->e = sd_grow(s->e, s->count, &s->capacity, sizeof(*s->e));
	snprintf(s->e[s->count].name, sizeof(s->e[0].name), "%s", name);
	s->e[s->count++].node = node;
}

void sd_entries_apply(struct entries *s, const struct name_change *c)
{
	if (c->op == NAME_ADD) {
		sd_entries_put(s, c->entry.name, c->entry.node);
		return;
	}
	entries_remove(s, c->entry.name);
	if (c->op == NAME_RENAME)
		sd_entries_put(s, c->to, c->entry.node);
}

void sd_dir_change(
	struct node *dir, enum name_op op, const char *name, const char *to, struct node *node)
{
	struct name_change c = {.op = op, .entry.node = node};
	snprintf(c.entry.name, sizeof(c.entry.name), "%s", name);
	snprintf(c.to, sizeof(c.to), "%s", to ? to : "");
	dir->names = sd_grow(dir->names, dir->name_count, &dir->name_capacity, sizeof(*dir->names));
	dir->names[dir->name_count++] = c;
	node->top = dir->top ? dir->top : node;
	sd_entries_apply(&dir->now, &c);
}

/* Finds the directory that `path` stands in, and its last name. */
struct node *sd_walk(struct sim_disk *d, const char *path, char name[80])
{
	struct node *at = d->root;
	CHECK(path[0] == '/');
	for (;;) {
		while (*path == '/')
			path++;
		size_t n = strcspn(path, "/");
		if (n >= 80)
			return NULL;
		memcpy(name, path, n);
		name[n] = 0;
		path += n;
		if (!*path)
			return at;
		int i = sd_find(&at->now, name);
		if (i < 0 || !at->now.e[i].node->is_dir)
			return NULL;
		at = at->now.e[i].node;
	}
}

struct node *sd_lookup(struct sim_disk *d, const char *path)
{
	char name[80];
	struct node *dir = sd_walk(d, path, name);
	if (!dir)
		return NULL;
	if (!name[0])
		return dir;
	int i = sd_find(&dir->now, name);
	return i < 0 ? NULL : dir->now.e[i].node;
}

/* --- changes of files
 * ------------------------------------------------------------------------------ */

static struct change *add_change(struct sim_disk *d, struct node *n)
{
	n->changes = sd_grow(n->changes, n->change_count, &n->change_capacity, sizeof(*n->changes));
	struct change *c = &n->changes[n->change_count++];
	*c = (struct change){.seq = ++d->next_seq};
	return c;
}

void sd_file_resize(struct sim_disk *d, struct node *n, uint64_t size)
{
	struct change *c = add_change(d, n);
	c->resize = true;
	c->off = size;
	sd_bytes_resize(d, &n->cur, size);
}

void sd_file_note_write(
	struct sim_disk *d, struct node *n, const void *p, uint64_t len, uint64_t off)
{
	struct change *c = add_change(d, n);
	c->off = off;
	c->len = len;
	c->data = malloc(len ? len : 1);
	CHECK(c->data);
	memcpy(c->data, p, len);
}

void sd_file_write(struct sim_disk *d, struct node *n, const void *p, uint64_t len, uint64_t off)
{
	if (off + len > n->cur.size)
		sd_file_resize(d, n, off + len);
	sd_file_note_write(d, n, p, len, off);
	sd_bytes_write(d, &n->cur, off, p, len);
}

static void apply(struct sim_disk *d, struct bytes *to, const struct change *c)
{
	if (c->resize)
		sd_bytes_resize(d, to, c->off);
	else
		sd_bytes_write(d, to, c->off, c->data, c->len);
}

/* Applies some sectors of a write: each with chance num in 8. */
static void apply_torn(struct sim_disk *d, struct bytes *to, const struct change *c, uint32_t num)
{
	for (uint64_t at = c->off; at < c->off + c->len;) {
		uint64_t end = min_of(align_down(at, (uint64_t)SECTOR) + SECTOR, c->off + c->len);
		bool keep = prng_below(&d->rng, 8) < num;
		if (keep)
			sd_bytes_write(d, to, at, c->data + (at - c->off), end - at);
		*(keep ? &d->counts.sectors_kept : &d->counts.sectors_lost) += 1;
		at = end;
	}
}

/* Makes all changes up to mark durable. */
void sd_file_flush(struct sim_disk *d, struct node *n, uint64_t mark)
{
	uint32_t kept = 0;
	for (uint32_t i = 0; i < n->change_count; i++) {
		struct change *c = &n->changes[i];
		if (c->seq > mark) {
			n->changes[kept++] = *c;
			continue;
		}
		apply(d, &n->dur, c);
		free(c->data);
	}
	n->change_count = kept;
}

/* Whether all pages of the write have been written, durably. */
static bool is_written(const struct bytes *b, const struct change *c)
{
	if (c->off + c->len > b->size)
		return false;
	for (uint64_t at = align_down(c->off, (uint64_t)SD_PAGE); at < c->off + c->len;
		at += SD_PAGE)
		if (!b->pages[at / SD_PAGE])
			return false;
	return true;
}

void sd_file_reach(struct sim_disk *d, struct node *n, uint64_t mark)
{
	uint32_t kept = 0;
	bool cut = false;
	for (uint32_t i = 0; i < n->change_count; i++) {
		struct change *c = &n->changes[i];
		cut |= c->resize && c->off < n->dur.size;
		if (cut || c->resize || c->seq > mark || !is_written(&n->dur, c)) {
			n->changes[kept++] = *c;
			continue;
		}
		apply(d, &n->dur, c);
		free(c->data);
	}
	n->change_count = kept;
}

/* Some of the changes survive, the rest is lost (3.). */
void sd_file_settle(struct sim_disk *d, struct node *n)
{
	uint32_t resizes = 0;
	for (uint32_t i = 0; i < n->change_count; i++)
		resizes += n->changes[i].resize;
	uint32_t keep = (uint32_t)prng_below(&d->rng, resizes + 1);
	if (prng_below(&d->rng, 2))
		keep = resizes;
	/* the file's own mood: nothing, everything, or sector by sector */
	static const uint8_t moods[] = {0, 8, 4, 4, 1, 7};
	uint32_t num = moods[prng_below(&d->rng, sizeof(moods))];
	for (uint32_t i = 0; i < n->change_count; i++) {
		struct change *c = &n->changes[i];
		if (c->resize) {
			if (keep > 0) {
				keep--;
				apply(d, &n->dur, c);
			}
			continue;
		}
		uint32_t fate = (uint32_t)prng_below(&d->rng, 3);
		apply_torn(d, &n->dur, c,
			fate == 0   ? num
			: fate == 1 ? 8 * (num >= 4)
				    : num / 2 + 2);
	}
	node_drop_changes(n);
	sd_bytes_share(d, &n->cur, &n->dur);
}

static void mark(struct node *n)
{
	n->marked = true;
	for (uint32_t i = 0; i < n->now.count; i++)
		mark(n->now.e[i].node);
}

void sd_sweep(struct sim_disk *d)
{
	mark(d->root);
	for (struct node **at = &d->nodes; *at;) {
		struct node *n = *at;
		CHECK(n->opened == 0);
		if (n->marked) {
			n->marked = false;
			at = &n->next;
			continue;
		}
		*at = n->next;
		sd_node_free(d, n);
	}
}

void sd_dir_settle(struct sim_disk *d, struct node *n)
{
	uint32_t keep = (uint32_t)prng_below(&d->rng, n->name_count + 1);
	if (prng_below(&d->rng, 3) == 0)
		keep = 0;
	for (uint32_t i = 0; i < keep; i++)
		sd_entries_apply(&n->durable, &n->names[i]);
	d->counts.names_lost += n->name_count - keep;
	n->names_flushed += n->name_count;
	n->name_count = 0;
	n->now.count = 0;
	for (uint32_t i = 0; i < n->durable.count; i++)
		sd_entries_put(&n->now, n->durable.e[i].name, n->durable.e[i].node);
}

void sd_dir_flush(struct node *n, uint64_t mark)
{
	uint32_t count = (uint32_t)min_of(mark - n->names_flushed, (uint64_t)n->name_count);
	for (uint32_t i = 0; i < count; i++)
		sd_entries_apply(&n->durable, &n->names[i]);
	n->name_count -= count;
	n->names_flushed += count;
	if (n->name_count > 0)
		memmove(n->names, n->names + count, n->name_count * sizeof(*n->names));
}
