/* SPDX-License-Identifier: Apache-2.0 */
/* `inspect log`: one log and its segments. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "tools/inspect/command.h"

/* TOPICID-PARTITION, or TOPIC-PARTITION. */
static const struct state_log *log_named(const struct state *s, const char *name)
{
	const struct state_log *found = NULL;
	for (uint32_t i = 0; i < s->log_count; i++) {
		const struct state_log *p = &s->logs[i];
		char by_topic[FMT_TOPIC_MAX + 16];
		snprintf(by_topic, sizeof(by_topic), "%s-%d", p->topic, p->partition);
		if (!p->deleted && (strcmp(p->name, name) == 0 || strcmp(by_topic, name) == 0))
			found = p;
	}
	return found;
}

static void show_log(struct out *o, const struct state_log *p)
{
	out_text(o, "topic", p->topic);
	out_uuid(o, "topic_id", &p->topic_id);
	out_int(o, "partition", p->partition);
	out_text(o, "directory", p->name);
	out_uint(o, "worker", p->lane->worker);
	out_uint(o, "number", p->number);
	out_int(o, "log_start", p->log_start_offset);
	out_int(o, "log_end", p->end_offset);
	out_int(o, "active_segment", p->segment);
	out_uint(o, "active_bytes", p->end_pos);
	out_bool(o, "damaged", p->ckpt && (p->ckpt->flags & CKPT_LOG_DAMAGED));
	out_object(o, "checkpoint");
	out_bool(o, "known", p->ckpt);
	if (p->ckpt) {
		out_int(o, "segment", p->ckpt->segment);
		out_int(o, "end_offset", p->ckpt->end_offset);
		out_uint(o, "end_pos", p->ckpt->end_pos);
		out_uint(o, "fill_pos", p->ckpt->fill_pos);
	}
	out_object_end(o);
	out_list(o, "epochs");
	for (uint32_t i = 0; p->ckpt && i < p->ckpt->epoch_count; i++) {
		out_row(o);
		out_int(o, "epoch", p->view.epochs[i].epoch);
		out_int(o, "start_offset", p->view.epochs[i].start_offset);
		out_row_end(o);
	}
	out_list_end(o);
}

/* What the last page of its index says of a sealed segment. False: there is none that is valid. */
static bool segment_ends(const char *dir, const char *index, const struct state_log *p,
	int64_t base, struct fmt_bidx_page *page)
{
	char path[PATH_SIZE];
	uint64_t size;
	path_join(path, dir, index);
	int fd = file_open(path, &size);
	if (fd < 0)
		return false;
	bool ok = size >= FMT_PAGE && file_pread(fd, page, FMT_PAGE,
					      align_down(size, (uint64_t)FMT_PAGE) - FMT_PAGE) == 0;
	close(fd);
	return ok &&
	       bidx_check(page, bidx_seed(&p->topic_id, p->partition, base),
		       (uint32_t)(size / FMT_PAGE) - 1) &&
	       (page->flags & BIDX_SEALED);
}

static void show_segment(struct out *o, const char *dir, const struct state_log *p, int64_t base)
{
	char name[FMT_NAME_SIZE], path[PATH_SIZE];
	struct fmt_bidx_page page;
	uint64_t size = 0;
	fmt_segment_name(name, base, "log");
	path_join(path, dir, name);
	int fd = file_open(path, &size);
	if (fd >= 0)
		close(fd);
	fmt_segment_name(name, base, "index");
	bool sealed = segment_ends(dir, name, p, base, &page);
	const char *state = base == p->segment		  ? "active"
			    : base >= p->ckpt_segment	  ? "in the journal"
			    : !sealed			  ? "no index"
			    : page.flags & BIDX_DIRTY	  ? "compacted, dirty"
			    : page.flags & BIDX_COMPACTED ? "compacted"
							  : "sealed";
	out_row(o);
	out_int(o, "segment", base);
	out_int(o, "end_offset",
		base == p->segment ? p->end_offset
		: sealed	   ? page.end_offset
				   : -1);
	out_uint(o, "bytes", base == p->segment ? p->end_pos : sealed ? page.end_pos : 0);
	out_uint(o, "file_bytes", size);
	out_time(o, "created", sealed ? page.created_ms : -1);
	out_time(o, "max_timestamp", sealed ? page.max_timestamp : -1);
	out_int(o, "epoch", sealed ? page.leader_epoch : -1);
	out_text(o, "state", state);
	out_row_end(o);
}

static int show_segments(struct out *o, const struct state *s, const struct state_log *p)
{
	char dir[PATH_SIZE];
	struct names names;
	int64_t base;
	bool active = false;
	path_join(dir, s->dir, p->name);
	int rc = names_read(&names, dir);
	out_list(o, "segments");
	for (uint32_t i = 0; rc == 0 && i < names.count; i++) {
		if (!fmt_segment_name_parse(names.names[i], "log", &base))
			continue;
		show_segment(o, dir, p, base);
		active = active || base == p->segment;
	}
	if (!active)
		show_segment(o, dir, p, p->segment); /* it has no file before its first page */
	out_list_end(o);
	if (rc == 0)
		names_free(&names);
	return rc == -ENOENT ? 0 : rc;
}

int inspect_log(struct command *c)
{
	struct state s;
	const struct finder f = {.found = command_found, .arg = c};
	int rc = command_open(c, &s, &f);
	if (rc != INSPECT_OK)
		return rc;
	for (uint32_t i = 0; i < s.lane_count && rc == 0; i++)
		rc = state_play(&s, &s.lanes[i], NULL);
	const struct state_log *p = log_named(&s, c->log);
	if (rc < 0 || !p) {
		state_close(&s);
		return rc < 0 ? cannot("out of memory")
			      : cannot("%s has no log %s; `inspect dir` lists them", c->path,
					c->log);
	}
	out_begin(&c->out, stdout, c->json);
	show_log(&c->out, p);
	rc = show_segments(&c->out, &s, p);
	state_close(&s);
	int end = command_end(c);
	return rc < 0 ? cannot("cannot read the log's directory: %s", strerror(-rc)) : end;
}
