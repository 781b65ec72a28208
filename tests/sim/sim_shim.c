/* SPDX-License-Identifier: Apache-2.0 */
#include "sim_shim.h"

#include <string.h>

static struct sim_shim *shim_of(struct io *io)
{
	return (struct sim_shim *)io;
}

#define UNDER(io) (shim_of(io)->under)
#define CALL(io, f, ...) (UNDER(io)->api->f(UNDER(io), __VA_ARGS__))

static const char *const names[] = {
#define X(id, name, text) name,
	SIM_MUTATIONS(X)
#undef X
};
static const char *const texts[] = {
#define X(id, name, text) text,
	SIM_MUTATIONS(X)
#undef X
};

const char *sim_mutation_name(enum sim_mutation m)
{
	return names[m];
}

const char *sim_mutation_text(enum sim_mutation m)
{
	return texts[m];
}

enum sim_mutation sim_mutation_of(const char *name)
{
	int m = 0;
	while (m < SIM_MUTATION_COUNT && strcmp(names[m], name) != 0)
		m++;
	return (enum sim_mutation)m;
}

static bool finish(struct sim_shim *s, struct io_op *op, int64_t result)
{
	op->result = result;
	list_push_back(&s->done, &op->node);
	return true;
}

static bool is_dir(const struct sim_shim *s, const struct io_file *f)
{
	for (int i = 0; i < SIM_SHIM_DIRS; i++)
		if (s->dirs[i] == f)
			return true;
	return false;
}

/* A directory is open (or no more). */
static void note_dir(struct sim_shim *s, struct io_file *from, struct io_file *to)
{
	for (int i = 0; i < SIM_SHIM_DIRS; i++) {
		if (s->dirs[i] != from)
			continue;
		s->dirs[i] = to;
		return;
	}
}

static bool intercept(struct sim_shim *s, struct io_op *op)
{
	bool flush = op->kind == IO_FDATASYNC || op->kind == IO_FSYNC;
	bool skipped = is_dir(s, op->file) ? s->mutation == SIM_SKIP_DIR_FLUSH
					   : s->mutation == SIM_SKIP_FLUSH;
	if (flush && skipped)
		return finish(s, op, 0);
	if (s->mutation == SIM_DROP_WRITE && op->kind == IO_WRITE && prng_chance(&s->rng, 1, 100))
		return finish(s, op, (int64_t)op->len);
	return false;
}

static void shim_submit(struct io *io, struct io_op *op)
{
	if (!intercept(shim_of(io), op))
		CALL(io, submit, op);
}

static uint32_t shim_reap(struct io *io, struct list *done)
{
	struct sim_shim *s = shim_of(io);
	uint32_t n = 0;
	while (!list_empty(&s->done)) {
		list_push_back(done, list_pop_front(&s->done));
		n++;
	}
	return n + CALL(io, reap, done);
}

static int shim_open(struct io *io, const char *path, unsigned flags, struct io_file **out)
{
	int rc = CALL(io, open, path, flags, out);
	if (rc == 0 && (flags & IO_DIR))
		note_dir(shim_of(io), NULL, *out);
	return rc;
}

static void shim_close(struct io *io, struct io_file *f)
{
	note_dir(shim_of(io), f, NULL);
	CALL(io, close, f);
}

static int shim_size(struct io *io, struct io_file *f, uint64_t *out)
{
	return CALL(io, size, f, out);
}

static int shim_truncate(struct io *io, struct io_file *f, uint64_t size)
{
	struct sim_shim *s = shim_of(io);
	if (s->mutation == SIM_DROP_AT_START && s->recovering)
		return 0;
	return CALL(io, truncate, f, size);
}

static int64_t shim_pread(struct io *io, struct io_file *f, void *buf, uint64_t len, uint64_t off)
{
	return CALL(io, pread, f, buf, len, off);
}

static int64_t shim_pwrite(
	struct io *io, struct io_file *f, const void *buf, uint64_t len, uint64_t off)
{
	struct sim_shim *s = shim_of(io);
	if (s->mutation == SIM_DROP_AT_START && s->recovering && len == IO_ALIGN)
		return (int64_t)len;
	return CALL(io, pwrite, f, buf, len, off);
}

static int shim_fsync(struct io *io, struct io_file *f)
{
	return shim_of(io)->mutation == SIM_SKIP_FLUSH ? 0 : CALL(io, fsync, f);
}

static int shim_mkdir(struct io *io, const char *path)
{
	return CALL(io, mkdir, path);
}

static int shim_rmdir(struct io *io, const char *path)
{
	return CALL(io, rmdir, path);
}

static int shim_rename(struct io *io, const char *from, const char *to)
{
	return CALL(io, rename, from, to);
}

static int shim_unlink(struct io *io, const char *path)
{
	return CALL(io, unlink, path);
}

static int shim_fsync_dir(struct io *io, const char *path)
{
	return shim_of(io)->mutation == SIM_SKIP_DIR_FLUSH ? 0 : CALL(io, fsync_dir, path);
}

static int shim_list(
	struct io *io, const char *path, void (*each)(void *arg, const char *name), void *arg)
{
	return CALL(io, list, path, each, arg);
}

static bool shim_flush_reaches(struct io *io, const char *path)
{
	return CALL(io, flush_reaches, path);
}

void sim_shim_init(struct sim_shim *s, struct io *under, enum sim_mutation m, uint64_t seed)
{
	static const struct io_api api = {
		.submit = shim_submit,
		.reap = shim_reap,
		.open = shim_open,
		.close = shim_close,
		.size = shim_size,
		.truncate = shim_truncate,
		.pread = shim_pread,
		.pwrite = shim_pwrite,
		.fsync = shim_fsync,
		.mkdir = shim_mkdir,
		.rmdir = shim_rmdir,
		.rename = shim_rename,
		.unlink = shim_unlink,
		.fsync_dir = shim_fsync_dir,
		.list = shim_list,
		.flush_reaches = shim_flush_reaches,
	};
	*s = (struct sim_shim){.io.api = &api, .under = under, .mutation = m, .rng.s = seed};
	list_init(&s->done);
}

void sim_shim_cut(struct sim_shim *s)
{
	list_init(&s->done); /* the operations belong to the engine, which is gone with them */
}

bool sim_shim_has_done(const struct sim_shim *s)
{
	return !list_empty(&s->done);
}
