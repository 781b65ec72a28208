/* SPDX-License-Identifier: Apache-2.0 */
/* `inspect verify`: the lanes of a directory, what else is in it, and the sum of it all. */
#include "tools/inspect/verify.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"

#define PROGRESS_NS (200 * NS_PER_MS)
#define BROKER_META "millrace.meta.json" /* the broker's cluster metadata; not of the storage */

void verify_failed(struct verify *v, const char *where, int rc)
{
	if (rc == -EIO || rc == -ENODATA || rc == -ENOENT || rc == -EISDIR)
		find(&v->finder, FOUND_CORRUPT, where, "%s",
			rc == -ENODATA ? "it is shorter than it must be" : strerror(-rc));
	else if (v->error == 0) {
		v->error = -rc;
		cannot("cannot read %s: %s", where, strerror(-rc));
	}
}

void verify_progress(struct verify *v)
{
	uint64_t now = clock_mono_ns();
	if (!v->shows_progress || now - v->shown_ns < PROGRESS_NS)
		return;
	v->shown_ns = now;
	fprintf(stderr, "\r%llu of %u logs, %llu MiB read ", (unsigned long long)v->logs,
		v->state.log_count, (unsigned long long)(v->bytes >> 20));
}

static void verify_found(void *arg, enum found_kind kind, const char *where, const char *what)
{
	struct verify *v = arg;
	struct out *o = &v->c->out;
	if (kind == FOUND_CORRUPT)
		v->c->corrupt++;
	else
		v->c->notes++;
	if (v->shows_progress && v->shown_ns)
		fputs("\r\033[K", stderr);
	out_row(o);
	out_text(o, "kind", kind == FOUND_CORRUPT ? "corrupt" : "note");
	out_text(o, "where", where);
	out_text(o, "what", what);
	out_row_end(o);
}

/* --- lanes ------------------------------------------------------------------------------- */

static void verify_slot(struct verify *v, const struct lane *l, uint32_t i)
{
	const struct slot *s = &l->slots[i];
	char name[FMT_NAME_SIZE];
	fmt_ckpt_name(name, l->worker, i);
	switch (s->state) {
	case SLOT_VALID:
		return;
	case SLOT_MISSING:
		if (l->newest < 0)
			find(&v->finder, FOUND_CORRUPT, name, "missing");
		return; /* the second one is not there before it is used */
	case SLOT_UNREADABLE:
		verify_failed(v, name, -s->error);
		return;
	case SLOT_DAMAGED:
		if (l->newest >= 0) {
			find(&v->finder, FOUND_NOTE, name,
				"not valid: it was being written when the broker ended, or is "
				"damaged; the other one counts");
			return;
		}
		break;
	case SLOT_FOREIGN:
	case SLOT_OTHER:
		break;
	}
	find(&v->finder, FOUND_CORRUPT, name, "%s", slot_state_name(s->state));
}

static void verify_lane(struct verify *v, struct lane *l)
{
	char name[FMT_NAME_SIZE];
	fmt_jrnl_name(name, l->worker);
	verify_slot(v, l, 0);
	verify_slot(v, l, 1);
	if (l->journal == SLOT_UNREADABLE)
		verify_failed(v, name, -l->error);
	else if (l->journal != SLOT_VALID)
		find(&v->finder, FOUND_CORRUPT, name, "%s", slot_state_name(l->journal));
	int rc = state_play(&v->state, l, NULL);
	if (rc < 0)
		verify_failed(v, name, rc);
	if (l->why == JRNL_END_TORN)
		find(&v->finder, FOUND_NOTE, name, "at position %llu: %s",
			(unsigned long long)l->end, jrnl_end_name(l->why));
	if (l->why == JRNL_END_CORRUPT || l->why == JRNL_END_FAILED)
		find(&v->finder, FOUND_CORRUPT, name, "at position %llu: %s",
			(unsigned long long)l->end, jrnl_end_name(l->why));
}

/* Each worker that the checkpoints tell of has its files. */
static void verify_workers(struct verify *v)
{
	const struct state *s = &v->state;
	uint32_t workers = 0;
	for (uint32_t i = 0; i < s->lane_count; i++) {
		const struct lane *l = &s->lanes[i];
		const struct fmt_ckpt *c =
			l->newest >= 0 ? (const void *)l->slots[l->newest].p : NULL;
		workers = c ? max_of(workers, c->workers) : workers;
	}
	for (uint32_t w = 0; w < min_of(workers, UINT16_MAX); w++) {
		char name[FMT_NAME_SIZE];
		bool there = false;
		for (uint32_t i = 0; i < s->lane_count; i++)
			there = there || s->lanes[i].worker == w;
		fmt_jrnl_name(name, w);
		if (!there)
			find(&v->finder, FOUND_CORRUPT, name, "missing, with its checkpoints");
	}
}

/* --- names ------------------------------------------------------------------------------- */

static const struct state_log *log_by_name(const struct state *s, const char *name)
{
	for (uint32_t i = s->log_count; i-- > 0;)
		if (strcmp(s->logs[i].name, name) == 0)
			return &s->logs[i];
	return NULL;
}

static bool has_suffix(const char *name, const char *suffix)
{
	size_t n = strlen(name), m = strlen(suffix);
	return n >= m && strcmp(name + n - m, suffix) == 0;
}

static void verify_name(struct verify *v, const char *name)
{
	uint32_t worker, slot;
	struct uuid id;
	int32_t partition;
	if (strcmp(name, FMT_META_NAME) == 0 || strcmp(name, FMT_LOCK_NAME) == 0 ||
		strcmp(name, BROKER_META) == 0 || fmt_jrnl_name_parse(name, &worker) ||
		fmt_ckpt_name_parse(name, &worker, &slot))
		return;
	if (fmt_is_deleted_name(name))
		find(&v->finder, FOUND_NOTE, name, "a deleted log: the next start removes it");
	else if (has_suffix(name, FMT_TMP_SUFFIX))
		find(&v->finder, FOUND_NOTE, name, "a file that was being written");
	else if (!fmt_log_name_parse(name, &id, &partition))
		find(&v->finder, FOUND_NOTE, name, "stray: not of millrace");
	else if (!log_by_name(&v->state, name))
		find(&v->finder, FOUND_NOTE, name,
			"stray: no checkpoint or journal knows this log");
	else if (log_by_name(&v->state, name)->deleted)
		find(&v->finder, FOUND_NOTE, name,
			"deleted in the journal: the next start removes it");
}

/* --- all of it --------------------------------------------------------------------------- */

static void verify_all(struct verify *v)
{
	struct state *s = &v->state;
	state_judge_meta(s);
	for (uint32_t i = 0; i < s->lane_count; i++)
		verify_lane(v, &s->lanes[i]);
	verify_workers(v);
	for (uint32_t i = 0; i < s->names.count; i++)
		verify_name(v, s->names.names[i]);
	for (uint32_t i = 0; i < s->log_count; i++) {
		if (!s->logs[i].deleted)
			verify_log(v, &s->logs[i]);
		v->logs += !s->logs[i].deleted;
	}
	verify_runs(v);
}

static void verify_sum(struct verify *v)
{
	struct out *o = &v->c->out;
	out_uint(o, "lanes", v->state.lane_count);
	out_uint(o, "journal_groups", v->state.groups);
	out_uint(o, "journal_entries", v->state.entries);
	out_uint(o, "journal_bytes", v->state.journal_bytes);
	out_uint(o, "logs", v->logs);
	out_uint(o, "segments", v->segments);
	out_uint(o, "segment_bytes", v->bytes);
	out_uint(o, "index_pages", v->index_pages);
	out_uint(o, "blocks", v->blocks);
	out_uint(o, "batches", v->batches);
	out_uint(o, "notes", v->c->notes);
	out_uint(o, "corrupt", v->c->corrupt);
	out_text(o, "verdict", v->error ? "not finished" : v->c->corrupt ? "corrupt" : "whole");
}

int inspect_verify(struct command *c)
{
	struct verify v = {.c = c, .buf = malloc(VERIFY_BUF)};
	v.finder = (struct finder){.found = verify_found, .arg = &v};
	v.shows_progress = isatty(STDERR_FILENO);
	if (!v.buf)
		return cannot("out of memory");
	int rc = command_open(c, &v.state, &v.finder);
	if (rc == INSPECT_OK) {
		out_begin(&c->out, stdout, c->json);
		out_text(&c->out, "dir", c->path);
		out_list(&c->out, "findings");
		verify_all(&v);
		out_list_end(&c->out);
		if (v.shows_progress && v.shown_ns)
			fputs("\r\033[K", stderr);
		verify_sum(&v);
		state_close(&v.state);
		rc = command_end(c);
	}
	free(v.buf);
	return v.error ? INSPECT_CANNOT : rc;
}
