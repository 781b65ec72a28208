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
 * under way stays volatile. A file's flush says nothing about its name, and nothing about other
 * files: but one that is marked to reach further does the same for writes to them, as far as they
 * lie in room whose bytes have been written and are in `dur`.
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
 * is not is lost there and then (reads see the old bytes), and no later flush brings it back: not
 * even one that was under way meanwhile, whatever it returns. Asking for one is a violation.
 * 6. When only the process dies, completed changes stay in `cur` and remain volatile; operations in
 *    flight happen or do not.
 * 7. Operations take random times, so that they complete in random order. Writes and reads may be
 * short (whole sectors), growing may fail for want of space; a write into room that was allocated
 * does not.
 * 8. Reads never lie: there is no bit rot here.
 */
#include "sim_disk_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

#define SECTOR IO_SECTOR

static struct sim_disk *disk_of(struct io *io)
{
	return (struct sim_disk *)io;
}

static void note(struct sim_disk *d, uint64_t a, uint64_t b)
{
	d->hash = (d->hash ^ a) * 0x9e3779b97f4a7c15ull;
	d->hash = (d->hash ^ (d->hash >> 29) ^ b) * 0xbf58476d1ce4e5b9ull;
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

static const char *top_name(const struct sim_disk *d, const struct node *top)
{
	const struct entries *s = &d->root->now;
	for (uint32_t i = 0; i < s->count; i++)
		if (s->e[i].node == top)
			return s->e[i].name;
	return "/";
}

/* Whether the planted fault is about this operation. */
static enum sim_fault planted(struct sim_disk *d, const struct node *n)
{
	const struct sim_disk_fault *f = &d->fault;
	uint64_t i = ++d->io_count;
	if (!f->kind || i < f->at || i - f->at >= f->count)
		return SIM_FAULT_NONE;
	return !f->dir || strcmp(top_name(d, n->top), f->dir) == 0 ? f->kind : SIM_FAULT_NONE;
}

static void struck(struct sim_disk *d, const struct node *n)
{
	if (!d->fault_top)
		d->fault_top = n->top ? n->top : n;
}

/* A synchronous operation that may fail by plan: 0 or a negative errno value. */
static int sync_fault(struct sim_disk *d, const struct node *n, bool grows)
{
	enum sim_fault f = planted(d, n);
	if (f != SIM_FAULT_EIO && !(f == SIM_FAULT_NOSPACE && grows))
		return 0;
	struck(d, n);
	return f == SIM_FAULT_EIO ? -EIO : -ENOSPC;
}

static void changed(struct sim_disk *d)
{
	if (d->hook)
		d->hook(d->hook_arg);
}

/* --- asynchronous operations ---------------------------------------------------------------------
 */

/* A flush is asked for. */
static void note_flush(struct sim_disk *d, const struct node *n)
{
	if (n->flush_failed)
		d->violation = n->is_dir ? "a directory is flushed again after a failed flush"
					 : "a file is flushed again after a failed flush";
}

static uint8_t *flight_buf(const struct io_op *op)
{
	if (op->vec_count == 0)
		return op->buf;
	uint8_t *copy = malloc(op->len);
	CHECK(copy);
	if (op->kind == IO_WRITE)
		io_vec_gather(op->vec, copy, op->len);
	return copy;
}

static void flight_end(const struct flight *f)
{
	if (f->op->vec_count > 0)
		free(f->buf);
}

static void disk_submit(struct io *io, struct io_op *op)
{
	struct sim_disk *d = disk_of(io);
	struct node *n = op->file->node;
	CHECK(!n->is_dir || op->kind == IO_FSYNC);
	if (op->kind == IO_READ || op->kind == IO_WRITE) {
		CHECK(op->off % SECTOR == 0 && op->len % SECTOR == 0 && op->len > 0);
		CHECK((uintptr_t)op->buf % SECTOR == 0 && op->vec_count <= IO_VEC_MAX);
		CHECK(op->kind == IO_READ || !(op->file->flags & IO_RDONLY));
	}
	uint64_t t = 1 + prng_below(&d->rng, d->faults.delay_us + 1);
	if (op->kind == IO_FDATASYNC || op->kind == IO_FSYNC) {
		note_flush(d, n);
		t *= 4;
	}
	if (prng_below(&d->rng, 50) == 0)
		t *= 20;
	d->flights = sd_grow(d->flights, d->flight_count, &d->flight_capacity, sizeof(*d->flights));
	op->took_ns = t * 1000;
	uint64_t seq = ++d->next_seq;
	d->flights[d->flight_count++] = (struct flight){.op = op,
		.buf = flight_buf(op),
		.node = n,
		.due_us = d->now_us + t,
		.seq = seq,
		.mark = n->is_dir ? n->names_flushed + n->name_count : seq};
}

static int64_t transfer_len(struct sim_disk *d, uint64_t len)
{
	if (len <= SECTOR || !strikes(d, d->faults.short_write))
		return (int64_t)len;
	d->counts.short_transfers++;
	return (int64_t)(SECTOR * (1 + prng_below(&d->rng, len / SECTOR - 1)));
}

static int64_t do_read(struct sim_disk *d, struct node *n, struct io_op *op, uint8_t *buf)
{
	if (strikes(d, d->faults.read_fails)) {
		d->counts.failed_reads++;
		return -EIO;
	}
	if (op->off >= n->cur.size)
		return 0;
	uint64_t len = (uint64_t)transfer_len(d, op->len);
	len = min_of(len, n->cur.size - op->off);
	sd_bytes_read(&n->cur, op->off, buf, len);
	return (int64_t)len;
}

/* 2. of the other files below the same directory in the root */
static void do_reach(struct sim_disk *d, const struct node *n, uint64_t mark)
{
	for (struct node *other = d->nodes; other; other = other->next)
		if (other != n && !other->is_dir && other->top == n->top)
			sd_file_reach(d, other, mark);
}

static int64_t do_flush(struct sim_disk *d, struct node *n, uint64_t mark, bool planted_fault)
{
	if (planted_fault || strikes(d, d->faults.flush_fails)) {
		n->flush_failed = true;
		d->counts.failed_flushes++;
		sd_file_settle(d, n); /* 5. */
		return -EIO;
	}
	sd_file_flush(d, n, mark);
	return 0;
}

static int64_t do_flush_dir(struct sim_disk *d, struct node *n, uint64_t mark, bool planted_fault)
{
	if (planted_fault) {
		n->flush_failed = true;
		return -EIO;
	}
	if (n->flush_failed) /* under way beside the one that failed: nobody may rely on it */
		return prng_below(&d->rng, 2) ? -EIO : 0;
	sd_dir_flush(n, mark);
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
	sd_file_resize(d, n, size);
	return 0;
}

static int64_t do_write(struct sim_disk *d, struct node *n, struct io_op *op, const uint8_t *buf)
{
	int64_t len = transfer_len(d, op->len);
	bool fails = strikes(d, d->faults.write_fails);
	d->counts.failed_writes += fails;
	if (!fails || prng_below(&d->rng, 2))
		sd_file_write(d, n, buf, (uint64_t)len, op->off);
	return fails ? -EIO : len;
}

static int64_t perform(struct sim_disk *d, const struct flight *f)
{
	struct io_op *op = f->op;
	switch (op->kind) {
	case IO_READ:
		return do_read(d, f->node, op, f->buf);
	case IO_WRITE:
		return do_write(d, f->node, op, f->buf);
	case IO_FDATASYNC:
	case IO_FSYNC:
		if (f->node->is_dir)
			return do_flush_dir(d, f->node, f->mark, false);
		int64_t rc = do_flush(d, f->node, f->mark, false);
		if (rc == 0 && op->reaches)
			do_reach(d, f->node, f->mark);
		return rc;
	case IO_FALLOCATE:
		return do_grow(d, f->node, op->off + op->len);
	}
	return -EINVAL;
}

/* An operation that fails by plan; `out` as it ends. False: it is none of those that can fail so.
 */
static bool perform_fault(
	struct sim_disk *d, const struct flight *f, enum sim_fault fault, int64_t *out)
{
	struct io_op *op = f->op;
	uint64_t part =
		fault == SIM_FAULT_HALF ? align_down(op->len / 2, (uint64_t)SECTOR) : SECTOR;
	bool moves = op->kind == IO_READ || op->kind == IO_WRITE;
	if (fault == SIM_FAULT_EIO) {
		*out = -EIO;
		if (op->kind == IO_FDATASYNC || op->kind == IO_FSYNC)
			*out = f->node->is_dir ? do_flush_dir(d, f->node, f->mark, true)
					       : do_flush(d, f->node, f->mark, true);
		else if (op->kind == IO_WRITE && prng_below(&d->rng, 2))
			sd_file_write(d, f->node, f->buf, op->len, op->off);
	} else if (fault == SIM_FAULT_NOSPACE && op->off + op->len > f->node->cur.size &&
		   (op->kind == IO_WRITE || op->kind == IO_FALLOCATE)) {
		*out = -ENOSPC;
	} else if (moves && part > 0 && part < op->len && fault != SIM_FAULT_NOSPACE) {
		struct io_op short_op = *op;
		struct flight short_flight = *f;
		short_op.len = part;
		short_flight.op = &short_op;
		*out = perform(d, &short_flight);
	} else {
		return false;
	}
	struck(d, f->node);
	return true;
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
		enum sim_fault fault = planted(d, f.node);
		if (fault == SIM_FAULT_SLOW) {
			struck(d, f.node);
			d->flights[i].due_us += 10 * 1000 * 1000;
			continue;
		}
		d->flights[i] = d->flights[--d->flight_count];
		if (!fault || !perform_fault(d, &f, fault, &f.op->result))
			f.op->result = perform(d, &f);
		if (f.op->kind == IO_READ && f.op->vec_count > 0 && f.op->result > 0)
			io_vec_scatter(f.op->vec, f.buf, (uint64_t)f.op->result);
		flight_end(&f);
		note(d, f.node->id << 3 | f.op->kind, f.op->off ^ (uint64_t)f.op->result << 32);
		if (f.op->kind != IO_READ)
			changed(d);
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
	struct node *dir = sd_walk(d, path, name);
	if (!dir)
		return -ENOENT;
	struct node *n = sd_lookup(d, path);
	int fault = sync_fault(d, n ? n : dir, !n && (flags & IO_CREATE));
	if (fault)
		return fault;
	if (n && n->is_dir != !!(flags & IO_DIR))
		return n->is_dir ? -EISDIR : -ENOTDIR;
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
		n = sd_node_new(d, false);
		sd_dir_change(dir, NAME_ADD, name, NULL, n);
		changed(d);
	} else if ((flags & IO_TRUNC) && n->cur.size > 0) {
		if (!alive(d))
			return -EIO;
		sd_file_resize(d, n, 0);
		changed(d);
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
	int rc = sync_fault(d, f->node, size > f->node->cur.size);
	if (rc < 0)
		return rc;
	if (size > f->node->cur.size)
		rc = (int)do_grow(d, f->node, size);
	else if (size < f->node->cur.size)
		sd_file_resize(d, f->node, size);
	note(d, f->node->id, size);
	changed(d);
	return rc;
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
	if (disk_of(io)->stopped || sync_fault(disk_of(io), f->node, false))
		return -EIO;
	if (off >= b->size)
		return 0;
	len = min_of(len, b->size - off);
	sd_bytes_read(b, off, buf, len);
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
			sd_file_write(d, f->node, buf, len, off); /* it was under way */
		return -EIO;
	}
	int64_t rc = sync_fault(d, f->node, off + len > f->node->cur.size);
	rc = rc < 0 ? rc : do_grow(d, f->node, off + len);
	if (rc < 0)
		return rc;
	sd_file_write(d, f->node, buf, len, off);
	note(d, f->node->id, off ^ len << 40);
	changed(d);
	return (int64_t)len;
}

static int disk_fsync(struct io *io, struct io_file *f)
{
	struct sim_disk *d = disk_of(io);
	if (!alive(d))
		return -EIO;
	note(d, f->node->id, 3);
	int rc = sync_fault(d, f->node, false);
	note_flush(d, f->node);
	rc = (int)do_flush(d, f->node, UINT64_MAX, rc < 0);
	changed(d);
	return rc;
}

static int disk_mkdir(struct io *io, const char *path)
{
	struct sim_disk *d = disk_of(io);
	char name[80];
	struct node *dir = d->stopped ? NULL : sd_walk(d, path, name);
	if (!dir)
		return d->stopped ? -EIO : -ENOENT;
	if (sd_find(&dir->now, name) >= 0)
		return -EEXIST;
	if (!alive(d))
		return -EIO;
	int rc = sync_fault(d, dir, true);
	if (rc < 0)
		return rc;
	sd_dir_change(dir, NAME_ADD, name, NULL, sd_node_new(d, true));
	changed(d);
	return 0;
}

static int remove_name(struct sim_disk *d, const char *path, bool is_dir)
{
	char name[80];
	struct node *dir = d->stopped ? NULL : sd_walk(d, path, name);
	struct node *n = dir ? sd_lookup(d, path) : NULL;
	if (!n)
		return d->stopped ? -EIO : -ENOENT;
	if (n->is_dir != is_dir)
		return is_dir ? -ENOTDIR : -EISDIR;
	if (is_dir && n->now.count > 0)
		return -ENOTEMPTY;
	if (!alive(d))
		return -EIO;
	int rc = sync_fault(d, n, false);
	if (rc < 0)
		return rc;
	sd_dir_change(dir, NAME_REMOVE, name, NULL, n);
	note(d, n->id, 5);
	changed(d);
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
	struct node *dir = sd_walk(d, from, name);
	struct node *n = sd_lookup(d, from), *old = sd_lookup(d, to);
	if (!n)
		return -ENOENT;
	if (sd_walk(d, to, to_name) != dir)
		return -EXDEV; /* nobody needs it, and the model has no such change */
	if (old && old->is_dir && old->now.count > 0)
		return -ENOTEMPTY;
	if (!alive(d))
		return -EIO;
	int rc = sync_fault(d, n, false);
	if (rc < 0)
		return rc;
	sd_dir_change(dir, NAME_RENAME, name, to_name, n);
	note(d, n->id, 6);
	changed(d);
	return 0;
}

static int disk_fsync_dir(struct io *io, const char *path)
{
	struct sim_disk *d = disk_of(io);
	struct node *dir = d->stopped ? NULL : sd_lookup(d, path);
	if (!dir)
		return d->stopped ? -EIO : -ENOENT;
	if (!alive(d))
		return -EIO;
	note_flush(d, dir);
	int rc = (int)do_flush_dir(d, dir, UINT64_MAX, sync_fault(d, dir, false) < 0);
	changed(d);
	return rc;
}

static int disk_list(
	struct io *io, const char *path, void (*each)(void *arg, const char *name), void *arg)
{
	struct sim_disk *d = disk_of(io);
	struct node *dir = d->stopped ? NULL : sd_lookup(d, path);
	if (!dir)
		return d->stopped ? -EIO : -ENOENT;
	int rc = sync_fault(d, dir, false);
	if (rc < 0)
		return rc;
	for (uint32_t i = 0; i < dir->now.count; i++)
		each(arg, dir->now.e[i].name);
	return 0;
}

/* --- the end of a process
 * -------------------------------------------------------------------------- */

void sim_disk_cut(struct sim_disk *d, bool power)
{
	for (uint32_t i = 0; i < d->flight_count; i++) {
		const struct flight *f = &d->flights[i];
		if (power && f->op->kind == IO_WRITE)
			sd_file_note_write(d, f->node, f->buf, f->op->len, f->op->off);
		if (!power && f->op->kind != IO_READ && prng_below(&d->rng, 2))
			perform(d, f);
		flight_end(f);
	}
	d->flight_count = 0;
	d->stopped = true;
	d->power_cut = power;
}

void sim_disk_restart(struct sim_disk *d)
{
	CHECK(d->stopped && d->flight_count == 0);
	for (struct node *n = d->nodes; n; n = n->next)
		n->flush_failed = false;
	for (struct node *n = d->nodes; n && d->power_cut; n = n->next) {
		if (n->is_dir)
			sd_dir_settle(d, n);
		else
			sd_file_settle(d, n);
	}
	if (d->power_cut)
		sd_sweep(d);
	d->stopped = d->power_cut = false;
	d->stop_in = 0;
}

/* --- the rest
 * ----------------------------------------------------------------------------------------- */

static bool disk_flush_reaches(struct io *io, const char *path)
{
	return true;
}

struct sim_disk *sd_disk_new(uint64_t seed, struct sim_disk *like)
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
		.flush_reaches = disk_flush_reaches,
	};
	struct sim_disk *d = calloc(1, sizeof(*d));
	CHECK(d);
	d->io.api = &api;
	d->rng.s = seed;
	d->pool = like ? like->pool : calloc(1, sizeof(*d->pool));
	CHECK(d->pool);
	d->pool->disks++;
	d->root = sd_node_new(d, true);
	return d;
}

struct sim_disk *sim_disk_new(uint64_t seed)
{
	return sd_disk_new(seed, NULL);
}

static void pool_unref(struct sd_pool *pool)
{
	if (--pool->disks > 0)
		return;
	for (struct sd_page *p = pool->free, *next; p; p = next) {
		next = p->next;
		free(p);
	}
	free(pool);
}

void sim_disk_free(struct sim_disk *d)
{
	for (struct node *n = d->nodes, *next; n; n = next) {
		next = n->next;
		sd_node_free(d, n);
	}
	pool_unref(d->pool);
	for (uint32_t i = 0; i < d->flight_count; i++)
		flight_end(&d->flights[i]);
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

void sim_disk_set_fault(struct sim_disk *d, const struct sim_disk_fault *f)
{
	d->fault = *f;
	d->fault_top = NULL;
	d->io_count = 0;
}

uint64_t sim_disk_io_count(const struct sim_disk *d)
{
	return d->io_count;
}

const char *sim_disk_fault_dir(const struct sim_disk *d)
{
	return d->fault_top ? top_name(d, d->fault_top) : NULL;
}

const char *sim_disk_violation(const struct sim_disk *d)
{
	return d->violation;
}

void sim_disk_set_hook(struct sim_disk *d, void (*hook)(void *arg), void *arg)
{
	d->hook = hook;
	d->hook_arg = arg;
}
