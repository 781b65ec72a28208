/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fault model of the simulated disk, in its own words. It gives what storage/worker/io.h
 * promises and nothing more; where that leaves something open, it does the worst it can think of,
 * chosen by the seed.
 *
 * 1. A file has two layers. `cur` is what reads see: every write that has completed, in order of
 *    completion. `dur` is what is on stable storage. Between them stands a list of changes that are
 * not flushed: writes, and changes of size.
 * 2. fdatasync and fsync move to `dur` all changes of the file that had completed when the flush
 * was submitted, if and only if the flush returns 0. A change that completed while the flush was
 * under way stays volatile. A file's flush says nothing about its name.
 * 3. At a crash, of the changes that are not flushed: changes of size are kept up to a point chosen
 * at random and lost after it. Each write is kept, lost, or torn: sector by sector of 512 bytes,
 * each one old or new, whatever happened to earlier or later writes. Writes in flight count as
 * writes. What was written beyond the kept size is lost; room that was never written reads as
 * zeros.
 * 4. Names (creation, rename, unlink, mkdir, rmdir) are entries of their directory. Until its
 * fsync_dir they are volatile: at a crash each directory keeps its changes up to a point chosen at
 * random, as a journalling filesystem does. A rename is one change. Directories are independent of
 * each other and of the contents of files: a new name may lead to a file whose bytes are lost.
 * 5. After a failed flush, each sector that it should have made durable is on the disk or not; what
 * is not is lost there and then (reads see the old bytes), and no later flush brings it back.
 * 6. When only the process dies, completed changes stay in `cur` and remain volatile; operations in
 *    flight happen or do not.
 * 7. Operations take random times, so that they complete in random order. Writes and reads may be
 * short (whole sectors), growing may fail for want of space; a write into room that was allocated
 * does not.
 * 8. Reads never lie: there is no bit rot here.
 */
#include "sim_disk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

#define SECTOR IO_SECTOR

struct bytes {
	uint8_t *p;
	uint64_t size;
	uint64_t capacity;
};

/* A change of a file that is not flushed. */
struct change {
	uint64_t seq;
	bool resize; /* to `off` bytes; else a write */
	uint64_t off, len;
	uint8_t *data;
};

enum name_op { NAME_ADD, NAME_REMOVE, NAME_RENAME };

struct node;

struct entry {
	char name[80];
	struct node *node;
};

/* A change of a directory that is not flushed. */
struct name_change {
	enum name_op op;
	struct entry entry;
	char to[80];
};

struct entries {
	struct entry *e;
	uint32_t count, capacity;
};

struct node {
	struct node *next; /* all nodes of the disk */
	uint64_t id;
	bool is_dir, marked;
	uint32_t opened;
	/* file */
	struct bytes cur, dur;
	struct change *changes;
	uint32_t change_count, change_capacity;
	/* directory */
	struct entries now, durable;
	struct name_change *names;
	uint32_t name_count, name_capacity;
};

struct io_file {
	struct node *node;
	unsigned flags;
};

struct flight {
	struct io_op *op;
	struct node *node;
	uint64_t due_us;
	uint64_t seq;
	uint64_t mark; /* flush: changes up to here */
};

struct sim_disk {
	struct io io; /* first */
	struct prng rng;
	struct sim_disk_faults faults;
	struct node *nodes, *root;
	uint64_t next_id, next_seq;
	uint64_t now_us;
	struct flight *flights;
	uint32_t flight_count, flight_capacity;
	uint64_t stop_in;
	bool stopped;
	bool power_cut;
	struct sim_disk_counts counts;
	uint64_t hash;
};

static struct sim_disk *disk_of(struct io *io)
{
	return (struct sim_disk *)io;
}

static void note(struct sim_disk *d, uint64_t a, uint64_t b)
{
	d->hash = (d->hash ^ a) * 0x9e3779b97f4a7c15ull;
	d->hash = (d->hash ^ (d->hash >> 29) ^ b) * 0xbf58476d1ce4e5b9ull;
}

static void *grow(void *p, uint32_t count, uint32_t *capacity, size_t size)
{
	if (count < *capacity)
		return p;
	*capacity = *capacity ? *capacity * 2 : 8;
	p = realloc(p, *capacity * size);
	CHECK(p);
	return p;
}

/* Counts an operation that changes something; false when the machine has stopped. */
static bool alive(struct sim_disk *d)
{
	if (d->stopped)
		return false;
	d->counts.operations++;
	if (d->stop_in > 0 && --d->stop_in == 0)
		d->stopped = true;
	return !d->stopped;
}

static bool strikes(struct sim_disk *d, uint32_t one_in)
{
	return one_in > 0 && prng_below(&d->rng, one_in) == 0;
}

/* --- bytes ---------------------------------------------------------------------------------------
 */

static void bytes_reserve(struct bytes *b, uint64_t n)
{
	if (n <= b->capacity)
		return;
	uint64_t capacity = max_of(n, b->capacity * 2);
	b->p = realloc(b->p, capacity);
	CHECK(b->p);
	memset(b->p + b->capacity, 0, capacity - b->capacity);
	b->capacity = capacity;
}

/* Bytes beyond the size are always zero. */
static void bytes_resize(struct bytes *b, uint64_t n)
{
	bytes_reserve(b, n);
	if (n < b->size)
		memset(b->p + n, 0, b->size - n);
	b->size = n;
}

static void bytes_copy(struct bytes *to, const struct bytes *from)
{
	bytes_resize(to, from->size);
	if (from->size)
		memcpy(to->p, from->p, from->size);
}

/* --- nodes
 * ---------------------------------------------------------------------------------------- */

static struct node *node_new(struct sim_disk *d, bool is_dir)
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

static void node_free(struct node *n)
{
	node_drop_changes(n);
	free(n->changes);
	free(n->cur.p);
	free(n->dur.p);
	free(n->now.e);
	free(n->durable.e);
	free(n->names);
	free(n);
}

static int entries_find(const struct entries *s, const char *name)
{
	for (uint32_t i = 0; i < s->count; i++)
		if (strcmp(s->e[i].name, name) == 0)
			return (int)i;
	return -1;
}

static void entries_remove(struct entries *s, const char *name)
{
	int i = entries_find(s, name);
	if (i >= 0)
		s->e[i] = s->e[--s->count];
}

static void entries_put(struct entries *s, const char *name, struct node *node)
{
	entries_remove(s, name);
	s->e = grow(s->e, s->count, &s->capacity, sizeof(*s->e));
	snprintf(s->e[s->count].name, sizeof(s->e[0].name), "%s", name);
	s->e[s->count++].node = node;
}

static void entries_apply(struct entries *s, const struct name_change *c)
{
	if (c->op == NAME_ADD) {
		entries_put(s, c->entry.name, c->entry.node);
		return;
	}
	entries_remove(s, c->entry.name);
	if (c->op == NAME_RENAME)
		entries_put(s, c->to, c->entry.node);
}

static void dir_change(
	struct node *dir, enum name_op op, const char *name, const char *to, struct node *node)
{
	struct name_change c = {.op = op, .entry.node = node};
	snprintf(c.entry.name, sizeof(c.entry.name), "%s", name);
	snprintf(c.to, sizeof(c.to), "%s", to ? to : "");
	dir->names = grow(dir->names, dir->name_count, &dir->name_capacity, sizeof(*dir->names));
	dir->names[dir->name_count++] = c;
	entries_apply(&dir->now, &c);
}

/* Finds the directory that `path` stands in, and its last name. */
static struct node *walk(struct sim_disk *d, const char *path, char name[80])
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
		int i = entries_find(&at->now, name);
		if (i < 0 || !at->now.e[i].node->is_dir)
			return NULL;
		at = at->now.e[i].node;
	}
}

static struct node *lookup(struct sim_disk *d, const char *path)
{
	char name[80];
	struct node *dir = walk(d, path, name);
	if (!dir)
		return NULL;
	if (!name[0])
		return dir;
	int i = entries_find(&dir->now, name);
	return i < 0 ? NULL : dir->now.e[i].node;
}

/* --- changes of files
 * ------------------------------------------------------------------------------ */

static struct change *add_change(struct sim_disk *d, struct node *n)
{
	n->changes = grow(n->changes, n->change_count, &n->change_capacity, sizeof(*n->changes));
	struct change *c = &n->changes[n->change_count++];
	*c = (struct change){.seq = ++d->next_seq};
	return c;
}

static void file_resize(struct sim_disk *d, struct node *n, uint64_t size)
{
	struct change *c = add_change(d, n);
	c->resize = true;
	c->off = size;
	bytes_resize(&n->cur, size);
}

static void note_write(
	struct sim_disk *d, struct node *n, const void *p, uint64_t len, uint64_t off)
{
	struct change *c = add_change(d, n);
	c->off = off;
	c->len = len;
	c->data = malloc(len ? len : 1);
	CHECK(c->data);
	memcpy(c->data, p, len);
}

static void file_write(
	struct sim_disk *d, struct node *n, const void *p, uint64_t len, uint64_t off)
{
	if (off + len > n->cur.size)
		file_resize(d, n, off + len);
	note_write(d, n, p, len, off);
	memcpy(n->cur.p + off, p, len);
}

static void apply(struct bytes *to, const struct change *c)
{
	if (c->resize) {
		bytes_resize(to, c->off);
		return;
	}
	bytes_reserve(to, c->off + c->len);
	memcpy(to->p + c->off, c->data, c->len);
}

/* Applies some sectors of a write: each with chance num in 8. */
static void apply_torn(struct sim_disk *d, struct bytes *to, const struct change *c, uint32_t num)
{
	bytes_reserve(to, c->off + c->len);
	for (uint64_t at = c->off; at < c->off + c->len;) {
		uint64_t end = min_of(align_down(at, (uint64_t)SECTOR) + SECTOR, c->off + c->len);
		bool keep = prng_below(&d->rng, 8) < num;
		if (keep)
			memcpy(to->p + at, c->data + (at - c->off), end - at);
		*(keep ? &d->counts.sectors_kept : &d->counts.sectors_lost) += 1;
		at = end;
	}
}

static void zero_beyond(struct bytes *b)
{
	if (b->capacity > b->size)
		memset(b->p + b->size, 0, b->capacity - b->size);
}

/* Makes all changes up to mark durable. */
static void file_flush(struct node *n, uint64_t mark)
{
	uint32_t kept = 0;
	for (uint32_t i = 0; i < n->change_count; i++) {
		struct change *c = &n->changes[i];
		if (c->seq > mark) {
			n->changes[kept++] = *c;
			continue;
		}
		apply(&n->dur, c);
		free(c->data);
	}
	n->change_count = kept;
	zero_beyond(&n->dur);
}

/* Some of the changes survive, the rest is lost (3.). */
static void file_settle(struct sim_disk *d, struct node *n)
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
				apply(&n->dur, c);
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
	zero_beyond(&n->dur);
	bytes_copy(&n->cur, &n->dur);
}

/* --- asynchronous operations ---------------------------------------------------------------------
 */

static void disk_submit(struct io *io, struct io_op *op)
{
	struct sim_disk *d = disk_of(io);
	struct node *n = op->file->node;
	if (op->kind == IO_READ || op->kind == IO_WRITE) {
		CHECK(op->off % SECTOR == 0 && op->len % SECTOR == 0 && op->len > 0);
		CHECK((uintptr_t)op->buf % SECTOR == 0);
		CHECK(op->kind == IO_READ || !(op->file->flags & IO_RDONLY));
	}
	uint64_t t = 1 + prng_below(&d->rng, d->faults.delay_us + 1);
	if (op->kind == IO_FDATASYNC)
		t *= 4;
	if (prng_below(&d->rng, 50) == 0)
		t *= 20;
	d->flights = grow(d->flights, d->flight_count, &d->flight_capacity, sizeof(*d->flights));
	uint64_t seq = ++d->next_seq;
	d->flights[d->flight_count++] = (struct flight){
		.op = op, .node = n, .due_us = d->now_us + t, .seq = seq, .mark = seq};
}

static int64_t transfer_len(struct sim_disk *d, uint64_t len)
{
	if (len <= SECTOR || !strikes(d, d->faults.short_write))
		return (int64_t)len;
	d->counts.short_transfers++;
	return (int64_t)(SECTOR * (1 + prng_below(&d->rng, len / SECTOR - 1)));
}

static int64_t do_read(struct sim_disk *d, struct node *n, struct io_op *op)
{
	if (op->off >= n->cur.size)
		return 0;
	uint64_t len = (uint64_t)transfer_len(d, op->len);
	len = min_of(len, n->cur.size - op->off);
	memcpy(op->buf, n->cur.p + op->off, len);
	return (int64_t)len;
}

static int64_t do_flush(struct sim_disk *d, struct node *n, uint64_t mark)
{
	if (strikes(d, d->faults.flush_fails)) {
		d->counts.failed_flushes++;
		file_settle(d, n); /* 5. */
		return -EIO;
	}
	file_flush(n, mark);
	return 0;
}

static int64_t do_grow(struct sim_disk *d, struct node *n, uint64_t size)
{
	if (size <= n->cur.size)
		return 0;
	if (strikes(d, d->faults.no_space)) {
		d->counts.no_space++;
		return -ENOSPC;
	}
	file_resize(d, n, size);
	return 0;
}

static int64_t perform(struct sim_disk *d, const struct flight *f)
{
	struct io_op *op = f->op;
	int64_t len;
	switch (op->kind) {
	case IO_READ:
		return do_read(d, f->node, op);
	case IO_WRITE:
		len = transfer_len(d, op->len);
		file_write(d, f->node, op->buf, (uint64_t)len, op->off);
		return len;
	case IO_FDATASYNC:
		return do_flush(d, f->node, f->mark);
	case IO_FALLOCATE:
		return do_grow(d, f->node, op->off + op->len);
	}
	return -EINVAL;
}

/* The next flight in order of completion. */
static int earliest(const struct sim_disk *d)
{
	int best = -1;
	for (uint32_t i = 0; i < d->flight_count; i++) {
		const struct flight *f = &d->flights[i];
		const struct flight *b = best < 0 ? NULL : &d->flights[best];
		if (!b || f->due_us < b->due_us || (f->due_us == b->due_us && f->seq < b->seq))
			best = (int)i;
	}
	return best;
}

static uint32_t disk_reap(struct io *io, struct list *done)
{
	struct sim_disk *d = disk_of(io);
	uint32_t count = 0;
	int i;
	while ((i = earliest(d)) >= 0 && d->flights[i].due_us <= d->now_us) {
		if (!alive(d))
			break;
		struct flight f = d->flights[i];
		d->flights[i] = d->flights[--d->flight_count];
		f.op->result = perform(d, &f);
		note(d, f.node->id << 3 | f.op->kind, f.op->off ^ (uint64_t)f.op->result << 32);
		list_push_back(done, &f.op->node);
		count++;
	}
	return count;
}

/* --- synchronous operations
 * ------------------------------------------------------------------------ */

static int disk_open(struct io *io, const char *path, unsigned flags, struct io_file **out)
{
	struct sim_disk *d = disk_of(io);
	char name[80];
	if (d->stopped)
		return -EIO;
	struct node *dir = walk(d, path, name);
	if (!dir)
		return -ENOENT;
	struct node *n = lookup(d, path);
	if (n && n->is_dir)
		return -EISDIR;
	if (n && (flags & IO_CREATE) && (flags & IO_EXCL))
		return -EEXIST;
	if (!n) {
		if (!(flags & IO_CREATE))
			return -ENOENT;
		if (!alive(d))
			return -EIO;
		if (strikes(d, d->faults.no_space)) {
			d->counts.no_space++;
			return -ENOSPC;
		}
		n = node_new(d, false);
		dir_change(dir, NAME_ADD, name, NULL, n);
	} else if ((flags & IO_TRUNC) && n->cur.size > 0) {
		if (!alive(d))
			return -EIO;
		file_resize(d, n, 0);
	}
	struct io_file *f = calloc(1, sizeof(*f));
	CHECK(f);
	*f = (struct io_file){n, flags};
	n->opened++;
	*out = f;
	return 0;
}

static void disk_close(struct io *io, struct io_file *f)
{
	f->node->opened--;
	free(f);
}

static int disk_size(struct io *io, struct io_file *f, uint64_t *out)
{
	*out = f->node->cur.size;
	return disk_of(io)->stopped ? -EIO : 0;
}

static int disk_truncate(struct io *io, struct io_file *f, uint64_t size)
{
	struct sim_disk *d = disk_of(io);
	if (!alive(d))
		return -EIO;
	if (size > f->node->cur.size)
		return (int)do_grow(d, f->node, size);
	if (size < f->node->cur.size)
		file_resize(d, f->node, size);
	note(d, f->node->id, size);
	return 0;
}

static void check_direct(const struct io_file *f, const void *buf, uint64_t len, uint64_t off)
{
	if (f->flags & IO_DIRECT)
		CHECK(len % SECTOR == 0 && off % SECTOR == 0 && (uintptr_t)buf % SECTOR == 0);
}

static int64_t disk_pread(struct io *io, struct io_file *f, void *buf, uint64_t len, uint64_t off)
{
	const struct bytes *b = &f->node->cur;
	check_direct(f, buf, len, off);
	if (disk_of(io)->stopped)
		return -EIO;
	if (off >= b->size)
		return 0;
	len = min_of(len, b->size - off);
	memcpy(buf, b->p + off, len);
	return (int64_t)len;
}

static int64_t disk_pwrite(
	struct io *io, struct io_file *f, const void *buf, uint64_t len, uint64_t off)
{
	struct sim_disk *d = disk_of(io);
	check_direct(f, buf, len, off);
	CHECK(!(f->flags & IO_RDONLY));
	bool was_alive = !d->stopped;
	if (!alive(d)) {
		if (was_alive && prng_below(&d->rng, 2) && off + len <= f->node->cur.size)
			file_write(d, f->node, buf, len, off); /* it was under way */
		return -EIO;
	}
	int64_t rc = do_grow(d, f->node, off + len);
	if (rc < 0)
		return rc;
	file_write(d, f->node, buf, len, off);
	note(d, f->node->id, off ^ len << 40);
	return (int64_t)len;
}

static int disk_fsync(struct io *io, struct io_file *f)
{
	struct sim_disk *d = disk_of(io);
	if (!alive(d))
		return -EIO;
	note(d, f->node->id, 3);
	return (int)do_flush(d, f->node, UINT64_MAX);
}

static int disk_mkdir(struct io *io, const char *path)
{
	struct sim_disk *d = disk_of(io);
	char name[80];
	struct node *dir = d->stopped ? NULL : walk(d, path, name);
	if (!dir)
		return d->stopped ? -EIO : -ENOENT;
	if (entries_find(&dir->now, name) >= 0)
		return -EEXIST;
	if (!alive(d))
		return -EIO;
	dir_change(dir, NAME_ADD, name, NULL, node_new(d, true));
	return 0;
}

static int remove_name(struct sim_disk *d, const char *path, bool is_dir)
{
	char name[80];
	struct node *dir = d->stopped ? NULL : walk(d, path, name);
	struct node *n = dir ? lookup(d, path) : NULL;
	if (!n)
		return d->stopped ? -EIO : -ENOENT;
	if (n->is_dir != is_dir)
		return is_dir ? -ENOTDIR : -EISDIR;
	if (is_dir && n->now.count > 0)
		return -ENOTEMPTY;
	if (!alive(d))
		return -EIO;
	dir_change(dir, NAME_REMOVE, name, NULL, n);
	note(d, n->id, 5);
	return 0;
}

static int disk_rmdir(struct io *io, const char *path)
{
	return remove_name(disk_of(io), path, true);
}

static int disk_unlink(struct io *io, const char *path)
{
	return remove_name(disk_of(io), path, false);
}

static int disk_rename(struct io *io, const char *from, const char *to)
{
	struct sim_disk *d = disk_of(io);
	char name[80], to_name[80];
	if (d->stopped)
		return -EIO;
	struct node *dir = walk(d, from, name);
	struct node *n = lookup(d, from), *old = lookup(d, to);
	if (!n)
		return -ENOENT;
	if (walk(d, to, to_name) != dir)
		return -EXDEV; /* nobody needs it, and the model has no such change */
	if (old && old->is_dir && old->now.count > 0)
		return -ENOTEMPTY;
	if (!alive(d))
		return -EIO;
	dir_change(dir, NAME_RENAME, name, to_name, n);
	note(d, n->id, 6);
	return 0;
}

static int disk_fsync_dir(struct io *io, const char *path)
{
	struct sim_disk *d = disk_of(io);
	struct node *dir = d->stopped ? NULL : lookup(d, path);
	if (!dir)
		return d->stopped ? -EIO : -ENOENT;
	if (!alive(d))
		return -EIO;
	for (uint32_t i = 0; i < dir->name_count; i++)
		entries_apply(&dir->durable, &dir->names[i]);
	dir->name_count = 0;
	return 0;
}

static int disk_list(
	struct io *io, const char *path, void (*each)(void *arg, const char *name), void *arg)
{
	struct sim_disk *d = disk_of(io);
	struct node *dir = d->stopped ? NULL : lookup(d, path);
	if (!dir)
		return d->stopped ? -EIO : -ENOENT;
	for (uint32_t i = 0; i < dir->now.count; i++)
		each(arg, dir->now.e[i].name);
	return 0;
}

/* --- crash
 * ------------------------------------------------------------------------------------------ */

static void mark(struct node *n)
{
	n->marked = true;
	for (uint32_t i = 0; i < n->now.count; i++)
		mark(n->now.e[i].node);
}

static void sweep(struct sim_disk *d)
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
		node_free(n);
	}
}

static void dir_settle(struct sim_disk *d, struct node *n)
{
	uint32_t keep = (uint32_t)prng_below(&d->rng, n->name_count + 1);
	if (prng_below(&d->rng, 3) == 0)
		keep = 0;
	for (uint32_t i = 0; i < keep; i++)
		entries_apply(&n->durable, &n->names[i]);
	d->counts.names_lost += n->name_count - keep;
	n->name_count = 0;
	n->now.count = 0;
	for (uint32_t i = 0; i < n->durable.count; i++)
		entries_put(&n->now, n->durable.e[i].name, n->durable.e[i].node);
}

void sim_disk_cut(struct sim_disk *d, bool power)
{
	for (uint32_t i = 0; i < d->flight_count; i++) {
		const struct flight *f = &d->flights[i];
		if (power && f->op->kind == IO_WRITE)
			note_write(d, f->node, f->op->buf, f->op->len, f->op->off);
		if (!power && f->op->kind != IO_READ && prng_below(&d->rng, 2))
			perform(d, f);
	}
	d->flight_count = 0;
	d->stopped = true;
	d->power_cut = power;
}

void sim_disk_restart(struct sim_disk *d)
{
	CHECK(d->stopped && d->flight_count == 0);
	for (struct node *n = d->nodes; n && d->power_cut; n = n->next) {
		if (n->is_dir)
			dir_settle(d, n);
		else
			file_settle(d, n);
	}
	if (d->power_cut)
		sweep(d);
	d->stopped = d->power_cut = false;
	d->stop_in = 0;
}

/* --- the rest
 * ----------------------------------------------------------------------------------------- */

struct sim_disk *sim_disk_new(uint64_t seed)
{
	static const struct io_api api = {
		.submit = disk_submit,
		.reap = disk_reap,
		.open = disk_open,
		.close = disk_close,
		.size = disk_size,
		.truncate = disk_truncate,
		.pread = disk_pread,
		.pwrite = disk_pwrite,
		.fsync = disk_fsync,
		.mkdir = disk_mkdir,
		.rmdir = disk_rmdir,
		.rename = disk_rename,
		.unlink = disk_unlink,
		.fsync_dir = disk_fsync_dir,
		.list = disk_list,
	};
	struct sim_disk *d = calloc(1, sizeof(*d));
	CHECK(d);
	d->io.api = &api;
	d->rng.s = seed;
	d->root = node_new(d, true);
	return d;
}

void sim_disk_free(struct sim_disk *d)
{
	for (struct node *n = d->nodes, *next; n; n = next) {
		next = n->next;
		node_free(n);
	}
	free(d->flights);
	free(d);
}

struct io *sim_disk_io(struct sim_disk *d)
{
	return &d->io;
}

void sim_disk_set_faults(struct sim_disk *d, const struct sim_disk_faults *f)
{
	d->faults = *f;
}

void sim_disk_set_time(struct sim_disk *d, uint64_t now_us)
{
	d->now_us = now_us;
}

uint64_t sim_disk_next_us(const struct sim_disk *d)
{
	int i = earliest(d);
	return i < 0 ? UINT64_MAX : d->flights[i].due_us;
}

void sim_disk_stop_after(struct sim_disk *d, uint64_t n)
{
	d->stop_in = n;
}

bool sim_disk_is_stopped(const struct sim_disk *d)
{
	return d->stopped;
}

struct sim_disk_counts sim_disk_counts(const struct sim_disk *d)
{
	return d->counts;
}

uint64_t sim_disk_hash(const struct sim_disk *d)
{
	return d->hash;
}
