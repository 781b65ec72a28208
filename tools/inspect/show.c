/* SPDX-License-Identifier: Apache-2.0 */
/* `inspect dir`, `inspect journal`, `inspect checkpoint`. */
#include <string.h>

#include "tools/inspect/command.h"

static const struct fmt_ckpt *newest_of(const struct lane *l)
{
	return l->newest >= 0 ? (const void *)l->slots[l->newest].p : NULL;
}

static bool is_wanted(const struct command *c, const struct lane *l)
{
	return c->worker < 0 || (uint64_t)c->worker == l->worker;
}

static int command_state(struct command *c, struct state *s, const struct finder *f)
{
	int rc = command_open(c, s, f);
	if (rc != INSPECT_OK)
		return rc;
	state_judge_meta(s);
	for (uint32_t i = 0; i < s->lane_count; i++)
		if (is_wanted(c, &s->lanes[i]))
			return INSPECT_OK;
	if (c->worker < 0)
		return INSPECT_OK;
	state_close(s);
	return cannot("%s has no files of worker %lld", c->path, (long long)c->worker);
}

/* A lane that cannot be recovered as it is. */
static void lane_judge(struct command *c, const struct lane *l)
{
	char where[64];
	snprintf(where, sizeof(where), "worker %u", l->worker);
	if (l->newest < 0)
		command_found(c, FOUND_CORRUPT, where, "neither checkpoint is valid");
	else if (l->journal != SLOT_VALID)
		command_found(c, FOUND_CORRUPT, where, slot_state_name(l->journal));
	else if (l->why == JRNL_END_CORRUPT || l->why == JRNL_END_FAILED)
		command_found(c, FOUND_CORRUPT, where, jrnl_end_name(l->why));
}

static void show_meta(struct out *o, const struct state *s)
{
	out_text(o, "dir", s->dir);
	out_bool(o, "in_use", dir_is_locked(s->dir));
	if (s->has_meta)
		out_uuid(o, "dir_id", &s->meta.dir_id);
	else
		out_text(o, "meta",
			s->meta_verdict == FMT_FOREIGN ? "another version" : "missing or damaged");
}

static void show_lane_row(struct out *o, const struct lane *l)
{
	const struct fmt_ckpt *c = newest_of(l);
	out_uint(o, "worker", l->worker);
	out_text(o, "journal", slot_state_name(l->journal));
	out_uint(o, "ring_bytes", l->journal == SLOT_VALID ? l->file.ring_bytes : 0);
	out_text(o, "newest", l->newest < 0 ? "none" : l->newest ? "b" : "a");
	out_uint(o, "checkpoint", c ? c->seq : 0);
	out_uint(o, "journal_begin", l->begin);
	out_uint(o, "journal_end", l->end);
	out_uint(o, "groups", l->end_seq - l->begin_seq);
	out_bool(o, "clean", c && (c->flags & CKPT_CLEAN) && l->end == l->begin);
}

static void show_log_row(struct out *o, const struct state_log *p)
{
	out_text(o, "log", p->name);
	out_uint(o, "worker", p->lane->worker);
	out_uint(o, "number", p->number);
	out_int(o, "log_start", p->log_start_offset);
	out_int(o, "log_end", p->end_offset);
	out_int(o, "active_segment", p->segment);
	out_uint(o, "active_bytes", p->end_pos);
	out_bool(o, "damaged", p->ckpt && (p->ckpt->flags & CKPT_LOG_DAMAGED));
	out_text(o, "topic", p->topic);
}

int inspect_dir(struct command *c)
{
	struct state s;
	const struct finder f = {.found = command_found, .arg = c};
	int rc = command_state(c, &s, &f);
	if (rc != INSPECT_OK)
		return rc;
	out_begin(&c->out, stdout, c->json);
	show_meta(&c->out, &s);
	out_list(&c->out, "lanes");
	for (uint32_t i = 0; i < s.lane_count; i++) {
		rc = state_play(&s, &s.lanes[i], NULL);
		lane_judge(c, &s.lanes[i]);
		out_row(&c->out);
		show_lane_row(&c->out, &s.lanes[i]);
		out_row_end(&c->out);
	}
	out_list_end(&c->out);
	out_list(&c->out, "logs");
	for (uint32_t i = 0; i < s.log_count; i++) {
		if (s.logs[i].deleted)
			continue;
		out_row(&c->out);
		show_log_row(&c->out, &s.logs[i]);
		out_row_end(&c->out);
	}
	out_list_end(&c->out);
	state_close(&s);
	int end = command_end(c);
	return rc < 0 ? cannot("out of memory") : end;
}

/* --- journal ----------------------------------------------------------------------------- */

static void journal_group(void *arg, const struct lane *l, const struct fmt_jrnl_group *g)
{
	struct out *o = arg;
	out_row(o);
	out_uint(o, "seq", g->seq);
	out_uint(o, "position", g->stream_pos);
	out_uint(o, "file_pos", FMT_PAGE + g->stream_pos % l->file.ring_bytes);
	out_uint(o, "length", g->length);
	out_uint(o, "count", g->count);
	out_uint(o, "checkpoint", g->checkpoint);
	out_list_uneven(o, "entries");
}

static void journal_group_end(void *arg)
{
	struct out *o = arg;
	out_list_end(o);
	out_row_end(o);
}

static const char *kind_name(uint8_t kind)
{
	static const char *const names[] = {
		[JRNL_OPEN] = "open",
		[JRNL_DATA] = "data",
		[JRNL_DIRECT] = "direct",
		[JRNL_TRIM] = "trim",
		[JRNL_DELETE] = "delete",
	};
	return names[kind];
}

static void journal_entry(
	void *arg, const struct lane *l, const struct fmt_jrnl_entry *e, const uint8_t *body)
{
	struct out *o = arg;
	struct fmt_jrnl_open open;
	struct fmt_jrnl_direct d;
	out_row(o);
	out_textn(o, "kind", kind_name(e->kind), strlen(kind_name(e->kind)));
	out_uint(o, "log", e->log);
	if (e->kind == JRNL_DATA || e->kind == JRNL_DIRECT) {
		out_int(o, "segment", e->segment);
		out_uint(o, "pos", e->pos);
		out_uint(o, "length", e->length);
	}
	if (e->kind == JRNL_DIRECT) {
		memcpy(&d, body, sizeof(d));
		out_int(o, "base_offset", d.base_offset);
		out_int(o, "end_offset", d.end_offset);
		out_uint(o, "lead", d.lead);
		out_uint(o, "tail", d.tail_length);
		out_hex(o, "crc", e->crc);
	}
	if (e->kind == JRNL_TRIM)
		out_uint(o, "log_start", e->pos);
	if (e->kind == JRNL_OPEN) {
		memcpy(&open, body, sizeof(open));
		out_uuid(o, "topic_id", &open.topic_id);
		out_int(o, "partition", open.partition);
		out_textn(o, "topic", open.topic, open.topic_length);
	}
	out_row_end(o);
}

static int show_journal(struct command *c, struct state *s, struct lane *l)
{
	struct out *o = &c->out;
	const struct journal_eyes eyes = {.group = journal_group,
		.entry = journal_entry,
		.group_end = journal_group_end,
		.arg = o};
	out_row(o);
	out_uint(o, "worker", l->worker);
	out_text(o, "state", slot_state_name(l->journal));
	if (l->journal == SLOT_VALID) {
		out_uuid(o, "journal_id", &l->file.journal_id);
		out_uint(o, "ring_bytes", l->file.ring_bytes);
	}
	out_uint(o, "begin", l->begin);
	out_uint(o, "begin_seq", l->begin_seq);
	out_list(o, "groups");
	int rc = state_play(s, l, &eyes);
	out_list_end(o);
	out_object(o, "end");
	out_uint(o, "position", l->end);
	out_uint(o, "next_seq", l->end_seq);
	out_text(o, "why", jrnl_end_name(l->why));
	out_object_end(o);
	out_row_end(o);
	lane_judge(c, l);
	return rc;
}

int inspect_journal(struct command *c)
{
	struct state s;
	const struct finder f = {.found = command_found, .arg = c};
	int rc = command_state(c, &s, &f);
	if (rc != INSPECT_OK)
		return rc;
	out_begin(&c->out, stdout, c->json);
	out_list(&c->out, "journals");
	for (uint32_t i = 0; i < s.lane_count && rc == 0; i++)
		if (is_wanted(c, &s.lanes[i]))
			rc = show_journal(c, &s, &s.lanes[i]);
	out_list_end(&c->out);
	state_close(&s);
	int end = command_end(c);
	return rc < 0 ? cannot("out of memory") : end;
}

/* --- checkpoint -------------------------------------------------------------------------- */

static void show_slot(struct out *o, const struct lane *l, uint32_t i)
{
	const struct slot *slot = &l->slots[i];
	char name[FMT_NAME_SIZE];
	fmt_ckpt_name(name, l->worker, i);
	out_row(o);
	out_text(o, "file", name);
	out_text(o, "state", slot_state_name(slot->state));
	out_bool(o, "newest", l->newest == (int)i);
	if (slot->state == SLOT_VALID) {
		const struct fmt_ckpt *c = (const void *)slot->p;
		out_uint(o, "seq", c->seq);
		out_uint(o, "journal_pos", c->journal_pos);
		out_uint(o, "journal_seq", c->journal_seq);
		out_uint(o, "workers", c->workers);
		out_uint(o, "next_log", c->next_log);
		out_uint(o, "logs", c->count);
		out_bool(o, "clean", c->flags & CKPT_CLEAN);
		out_uint(o, "bytes", c->head.length);
	}
	out_row_end(o);
}

static void show_record(struct out *o, const struct state_log *p)
{
	const struct fmt_ckpt_log *r = p->ckpt;
	out_row(o);
	out_text(o, "log", p->name);
	out_uint(o, "number", r->log);
	out_int(o, "log_start", r->log_start_offset);
	out_int(o, "segment", r->segment);
	out_int(o, "end_offset", r->end_offset);
	out_uint(o, "end_pos", r->end_pos);
	out_uint(o, "fill_pos", r->fill_pos);
	out_uint(o, "first_block", r->first_block);
	out_uint(o, "blocks", r->block_count);
	out_uint(o, "epochs", r->epoch_count);
	out_time(o, "max_timestamp", r->max_timestamp);
	out_bool(o, "files", r->flags & CKPT_LOG_FILES);
	out_bool(o, "damaged", r->flags & CKPT_LOG_DAMAGED);
	out_text(o, "topic", p->topic);
	out_row_end(o);
}

int inspect_checkpoint(struct command *c)
{
	struct state s;
	struct out *o = &c->out;
	const struct finder f = {.found = command_found, .arg = c};
	int rc = command_state(c, &s, &f);
	if (rc != INSPECT_OK)
		return rc;
	out_begin(o, stdout, c->json);
	out_list(o, "slots");
	for (uint32_t i = 0; i < s.lane_count; i++)
		for (uint32_t k = 0; k < 2 && is_wanted(c, &s.lanes[i]); k++)
			show_slot(o, &s.lanes[i], k);
	out_list_end(o);
	out_list(o, "logs");
	for (uint32_t i = 0; i < s.log_count; i++)
		if (is_wanted(c, s.logs[i].lane))
			show_record(o, &s.logs[i]);
	out_list_end(o);
	for (uint32_t i = 0; i < s.lane_count; i++)
		if (is_wanted(c, &s.lanes[i]))
			lane_judge(c, &s.lanes[i]);
	state_close(&s);
	return command_end(c);
}
