/* SPDX-License-Identifier: Apache-2.0 */
/* Power cuts by choice, and harm done to what is stored. */
#include "sim_disk_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

#define SECTOR IO_SECTOR

static bool is_write_to(const struct flight *f, const struct node *n)
{
	return f->node == n && f->op->kind == IO_WRITE;
}

struct units {
	struct sim_unit *u;
	uint32_t count, capacity;
};

static void add_unit(struct units *s, enum sim_unit_kind kind, const struct node *n, uint64_t len)
{
	s->u = sd_grow(s->u, s->count, &s->capacity, sizeof(*s->u));
	s->u[s->count++] = (struct sim_unit){kind, (uint32_t)n->id, len};
}

uint32_t sim_disk_units(struct sim_disk *d, struct sim_unit **out)
{
	struct units s = {0};
	for (struct node *n = d->nodes; n; n = n->next) {
		n->first_unit = s.count;
		for (uint32_t i = 0; i < n->name_count; i++)
			add_unit(&s, SIM_UNIT_NAME, n, 0);
		for (uint32_t i = 0; i < n->change_count; i++)
			add_unit(&s, n->changes[i].resize ? SIM_UNIT_SIZE : SIM_UNIT_WRITE, n,
				n->changes[i].len);
		for (uint32_t i = 0; i < d->flight_count; i++)
			if (is_write_to(&d->flights[i], n))
				add_unit(&s, SIM_UNIT_WRITE, n, d->flights[i].op->len);
	}
	*out = s.u;
	return s.count;
}

static void apply_write(struct sim_disk *d, struct bytes *to, const uint8_t *p, uint64_t len,
	uint64_t off, const struct sim_fate *f)
{
	if (f->kind == SIM_KEEP) {
		sd_bytes_write(d, to, off, p, len);
		return;
	}
	struct prng rng = {.s = f->from};
	for (uint64_t at = 0; at < len;) {
		uint64_t end = min_of(align_down(off + at, (uint64_t)SECTOR) + SECTOR - off, len);
		uint64_t sector = (off + at) / SECTOR - off / SECTOR;
		bool keep = false;
		if (f->kind == SIM_KEEP_RANGE)
			keep = at >= f->from && end <= f->to;
		else if (f->kind == SIM_KEEP_EVEN)
			keep = sector % 2 == f->from;
		else if (f->kind == SIM_KEEP_SOME)
			keep = prng_below(&rng, 2);
		if (keep)
			sd_bytes_write(d, to, off + at, p + at, end - at);
		at = end;
	}
}

static uint64_t mix(uint64_t h, uint64_t x)
{
	h = (h ^ x) * 0xbf58476d1ce4e5b9ull;
	return h ^ (h >> 29);
}

static uint64_t name_hash(uint64_t h, const char *name)
{
	for (; *name; name++)
		h = mix(h, (uint8_t)*name);
	return h;
}

static void survive_file(struct sim_disk *to, const struct sim_disk *d, const struct node *n,
	struct node *copy, const struct sim_fate *fate)
{
	bool sizes = true;
	sd_bytes_share(to, &copy->dur, &n->dur);
	for (uint32_t i = 0; i < n->change_count; i++, fate++) {
		const struct change *c = &n->changes[i];
		if (!c->resize) {
			apply_write(to, &copy->dur, c->data, c->len, c->off, fate);
			continue;
		}
		sizes = sizes && fate->kind == SIM_KEEP;
		if (sizes)
			sd_bytes_resize(to, &copy->dur, c->off);
	}
	for (uint32_t i = 0; i < d->flight_count; i++) {
		const struct flight *f = &d->flights[i];
		if (is_write_to(f, n))
			apply_write(to, &copy->dur, f->buf, f->op->len, f->op->off, fate++);
	}
	sd_bytes_share(to, &copy->cur, &copy->dur);
}

static void copy_entries(struct entries *to, const struct entries *from)
{
	free(to->e);
	to->e = malloc((from->count + 1) * sizeof(*to->e));
	CHECK(to->e);
	to->count = from->count;
	to->capacity = from->count + 1;
	if (from->count > 0)
		memcpy(to->e, from->e, from->count * sizeof(*to->e));
}

static uint64_t survive_dir(struct sim_disk *to, const struct sim_disk *d, const struct node *n,
	struct node *copy, const struct sim_fate *fates, uint64_t path)
{
	uint64_t hash = path;
	copy_entries(&copy->durable, &n->durable);
	for (uint32_t i = 0; i < n->name_count; i++) {
		if (fates[n->first_unit + i].kind != SIM_KEEP)
			break;
		sd_entries_apply(&copy->durable, &n->names[i]);
	}
	for (uint32_t i = 0; i < copy->durable.count; i++) {
		struct entry *e = &copy->durable.e[i];
		const struct node *from = e->node;
		uint64_t h = name_hash(path, e->name);
		e->node = sd_node_new(to, from->is_dir);
		e->node->top = copy->top ? copy->top : e->node;
		if (from->is_dir) {
			hash += survive_dir(to, d, from, e->node, fates, h);
			continue;
		}
		survive_file(to, d, from, e->node, fates + from->first_unit);
		hash += mix(h, sd_bytes_hash(&e->node->dur));
	}
	copy_entries(&copy->now, &copy->durable);
	return hash;
}

struct sim_disk *sim_disk_survive(
	struct sim_disk *d, const struct sim_fate *fates, uint64_t seed, uint64_t *image)
{
	struct sim_disk *to = sd_disk_new(seed, d);
	*image = survive_dir(to, d, d->root, to->root, fates, 1);
	return to;
}

struct sim_disk *sim_disk_copy(struct sim_disk *d, uint64_t seed)
{
	struct sim_unit *units;
	uint64_t image;
	uint32_t count = sim_disk_units(d, &units);
	struct sim_fate *fates = calloc(count + 1, sizeof(*fates));
	CHECK(fates);
	for (uint32_t i = 0; i < count; i++)
		fates[i].kind = SIM_KEEP;
	struct sim_disk *to = sim_disk_survive(d, fates, seed, &image);
	free(fates);
	free(units);
	return to;
}

/* --- looking and harming -------------------------------------------------------------------------
 */

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

static void each_in(const struct node *dir, const char *path,
	void (*each)(void *arg, const char *path, uint64_t size), void *arg)
{
	struct entries s = {0};
	char sub[IO_PATH_MAX];
	copy_entries(&s, &dir->now);
	qsort(s.e, s.count, sizeof(*s.e), by_name);
	for (uint32_t i = 0; i < s.count; i++) {
		snprintf(sub, sizeof(sub), "%s/%s", path, s.e[i].name);
		if (s.e[i].node->is_dir)
			each_in(s.e[i].node, sub, each, arg);
		else
			each(arg, sub, s.e[i].node->cur.size);
	}
	free(s.e);
}

void sim_disk_each_file(
	struct sim_disk *d, void (*each)(void *arg, const char *path, uint64_t size), void *arg)
{
	each_in(d->root, "", each, arg);
}

bool sim_disk_peek(struct sim_disk *d, const char *path, uint64_t off, void *to, uint64_t len)
{
	const struct node *n = sd_lookup(d, path);
	if (n)
		sd_bytes_read(&n->cur, off, to, len);
	return n;
}

void sim_disk_poke(
	struct sim_disk *d, const char *path, uint64_t off, const void *from, uint64_t len)
{
	struct node *n = sd_lookup(d, path);
	CHECK(n && n->change_count == 0);
	sd_bytes_write(d, &n->cur, off, from, len);
	sd_bytes_write(d, &n->dur, off, from, len);
}

void sim_disk_cut_file(struct sim_disk *d, const char *path, uint64_t size)
{
	struct node *n = sd_lookup(d, path);
	CHECK(n && n->change_count == 0);
	sd_bytes_resize(d, &n->cur, size);
	sd_bytes_resize(d, &n->dur, size);
}

void sim_disk_remove(struct sim_disk *d, const char *path)
{
	char name[80];
	struct node *dir = sd_walk(d, path, name);
	struct node *n = sd_lookup(d, path);
	CHECK(dir && n);
	sd_dir_change(dir, NAME_REMOVE, name, NULL, n);
	sd_dir_flush(dir, UINT64_MAX);
}
