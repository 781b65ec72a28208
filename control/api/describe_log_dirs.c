/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DescribeLogDirs (key 35, versions 1 to 5): each directory of log.dirs, how much room there is,
 * and how large the logs in it are. The logs' owners are asked, a few at a time; one request is
 * worked on, others wait in line, so that memory is bounded.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "control/api/ctl.h"
#include "control/api/dir_space.h"
#include "kafka/errcode.h"

typedef struct kp_describe_log_dirs_response_result dir_t;
typedef struct kp_describe_log_dirs_response_topic topic_t;
typedef struct kp_describe_log_dirs_response_partition partition_t;

#define OPS_MAX 64u /* operations that are out at the same time */

/* One partition that is asked for. */
struct sized {
	uint32_t part_id;
	uint32_t topic; /* index of names */
	int32_t index;
	uint16_t dir;
	int16_t error;
	uint64_t bytes;
};

struct slot {
	struct ctl_op op;
	struct log_dirs *all;
	struct sized *part; /* NULL: free */
};

struct log_dirs {
	struct list waiting; /* struct msg.node: requests */
	struct msg *m;	     /* under way; NULL: none */
	struct sized *parts;
	uint32_t count, next, out;
	struct kstr *names; /* of topics, copied */
	char *text;
	uint32_t name_count;
	struct slot slots[OPS_MAX];
};

/* ---- the answer ---- */

static bool is_in(const struct sized *p, uint16_t dir, uint16_t dirs)
{
	return p->dir == dir || (p->dir == PART_NO_DIR && dirs == 1);
}

/* The logs in one directory; parts are in order of topic. */
static void fill_dir(
	const struct log_dirs *l, uint16_t dir, uint16_t dirs, dir_t *out, partition_t *room)
{
	uint32_t last = UINT32_MAX;
	for (uint32_t i = 0; i < l->count; i++) {
		const struct sized *p = &l->parts[i];
		if (!is_in(p, dir, dirs) || p->error)
			continue;
		if (p->topic != last)
			out->topics[out->n_topics++] =
				(topic_t){.name = l->names[p->topic], .partitions = room};
		last = p->topic;
		*room++ = (partition_t){
			.partition_index = p->index, .partition_size = (int64_t)p->bytes};
		out->topics[out->n_topics - 1].n_partitions++;
	}
}

static bool has_failed(const struct log_dirs *l, uint16_t dir, uint16_t dirs)
{
	for (uint32_t i = 0; i < l->count; i++)
		if (is_in(&l->parts[i], dir, dirs) && l->parts[i].error == KE_KAFKA_STORAGE_ERROR)
			return true;
	return false;
}

static uint32_t count_in(const struct log_dirs *l, uint16_t dir, uint16_t dirs)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < l->count; i++)
		n += is_in(&l->parts[i], dir, dirs);
	return n;
}

/* False: no memory. What it takes is freed by the caller: topics, and their first partitions. */
static bool describe_dir(const struct log_dirs *l, const struct config *cfg, uint16_t i, dir_t *out)
{
	uint16_t dirs = (uint16_t)cfg->log_dirs.count;
	uint32_t n = count_in(l, i, dirs);
	kp_default_describe_log_dirs_response_result(out);
	out->log_dir = kstr_of(cfg->log_dirs.path[i]);
	if (has_failed(l, i, dirs)) {
		out->error_code = KE_KAFKA_STORAGE_ERROR;
		return true;
	}
	dir_space(cfg->log_dirs.path[i], &out->total_bytes, &out->usable_bytes);
	out->topics =
		malloc((l->name_count + 1ul) * sizeof(*out->topics) + n * sizeof(partition_t));
	if (!out->topics)
		return false;
	fill_dir(l, i, dirs, out, (partition_t *)(out->topics + l->name_count + 1));
	return true;
}

static void respond(struct ctl *c, struct log_dirs *l)
{
	const struct config *cfg = ctl_config(c);
	struct kp_describe_log_dirs_response res;
	kp_default_describe_log_dirs_response(&res);
	res.results = calloc((size_t)cfg->log_dirs.count + 1, sizeof(*res.results));
	bool made = res.results != NULL;
	for (uint16_t i = 0; made && i < cfg->log_dirs.count; i++)
		made = describe_dir(l, cfg, i, &res.results[res.n_results++]);
	if (made)
		ctl_respond(c, l->m, &res);
	else
		ctl_hang_up(c, l->m);
	for (int32_t i = 0; i < res.n_results; i++)
		free(res.results[i].topics);
	free(res.results);
}

/* ---- asking ---- */

static void forget(struct log_dirs *l)
{
	free(l->parts);
	free(l->names);
	free(l->text);
	l->m = NULL;
	l->parts = NULL;
	l->names = NULL;
	l->text = NULL;
	l->count = l->next = l->name_count = 0;
}

static void begin_next(struct ctl *c, struct log_dirs *l);

static void on_size(struct ctl *c, struct ctl_op *op);

static void ask_more(struct ctl *c, struct log_dirs *l)
{
	for (uint32_t i = 0; i < OPS_MAX && l->next < l->count; i++) {
		struct slot *s = &l->slots[i];
		if (s->part)
			continue;
		s->part = &l->parts[l->next++];
		s->op = (struct ctl_op){.done = on_size};
		s->op.m.op.kind = PART_SIZE;
		s->op.m.op.part_id = s->part->part_id;
		s->op.m.op.current_leader_epoch = -1;
		s->op.m.op.size.dir = PART_NO_DIR;
		l->out++;
		ctl_ask_part_op(c, &s->op);
	}
	if (l->out > 0)
		return;
	respond(c, l);
	forget(l);
	begin_next(c, l);
}

static void on_size(struct ctl *c, struct ctl_op *op)
{
	struct slot *s = container_of(op, struct slot, op);
	struct log_dirs *l = s->all;
	s->part->error = op->m.op.error;
	s->part->dir = op->m.op.size.dir;
	s->part->bytes = op->m.op.size.bytes;
	s->part = NULL;
	l->out--;
	ask_more(c, l);
}

/* ---- which partitions ---- */

static void add_topic(struct log_dirs *l, const struct image_topic *t, char **text)
{
	memcpy(*text, t->name.p, (size_t)t->name.len);
	l->names[l->name_count++] = (struct kstr){.p = *text, .len = t->name.len};
	*text += t->name.len;
}

static void add_part(struct log_dirs *l, const struct image_topic *t, int32_t index, bool *seen)
{
	const struct image_partition *ip = image_partition_at(t, index);
	if (!ip || seen[ip->part_id])
		return;
	seen[ip->part_id] = true;
	l->parts[l->count++] = (struct sized){.part_id = ip->part_id,
		.topic = l->name_count - 1,
		.index = index,
		.dir = PART_NO_DIR};
}

static void choose_all(struct log_dirs *l, const struct image *im, bool *seen, char *text)
{
	for (uint32_t i = 0; i < im->topic_count; i++) {
		const struct image_topic *t = &im->topics[i];
		add_topic(l, t, &text);
		for (int32_t p = 0; p < t->partition_count; p++)
			add_part(l, t, p, seen);
	}
}

/* What does not exist is left out, as by Kafka; what is named twice counts once. */
static void choose_named(struct log_dirs *l, const struct kp_describe_log_dirs_request *req,
	const struct image *im, bool *seen, char *text)
{
	for (int32_t i = 0; i < req->n_topics && l->name_count < im->topic_count; i++) {
		const struct image_topic *t = image_topic_by_name(im, req->topics[i].topic);
		if (!t)
			continue;
		add_topic(l, t, &text);
		for (int32_t p = 0; p < req->topics[i].n_partitions; p++)
			add_part(l, t, req->topics[i].partitions[p], seen);
	}
}

static bool choose(
	struct ctl *c, struct log_dirs *l, const struct kp_describe_log_dirs_request *req)
{
	const struct image *im = ctl_image(c);
	bool *seen = calloc((size_t)im->part_id_limit + 1, sizeof(*seen));
	l->parts = calloc((size_t)im->partition_count + 1, sizeof(*l->parts));
	l->names = calloc((size_t)im->topic_count + 1, sizeof(*l->names));
	l->text = malloc((size_t)im->topic_count * IMAGE_TOPIC_NAME_MAX + 1);
	bool made = seen && l->parts && l->names && l->text;
	if (made && req->n_topics < 0)
		choose_all(l, im, seen, l->text);
	else if (made)
		choose_named(l, req, im, seen, l->text);
	free(seen);
	return made;
}

static void begin_next(struct ctl *c, struct log_dirs *l)
{
	struct kp_describe_log_dirs_request req;
	struct list *n;
	while (!l->m && (n = list_pop_front(&l->waiting))) {
		struct msg *m = list_entry(n, struct msg, node);
		struct arena a;
		size_t size = ctl_arena_size(m);
		void *p = malloc(size);
		arena_init(&a, p, p ? size : 0);
		l->m = m;
		if (!ctl_decode_in(c, m, &req, &a)) {
			forget(l);
		} else if (!ctl_image(c) || !choose(c, l, &req)) {
			ctl_hang_up(c, m);
			forget(l);
		}
		free(p);
	}
	if (l->m && l->out == 0)
		ask_more(c, l);
}

void ctl_handle_describe_log_dirs(struct ctl *c, struct msg *m)
{
	struct log_dirs *l = ctl_module_state(c, &ctl_log_dirs);
	list_push_back(&l->waiting, &m->node);
	if (!l->m)
		begin_next(c, l);
}

/* ---- life ---- */

static void *log_dirs_open(struct ctl *c, char *err, size_t err_size)
{
	struct log_dirs *l = calloc(1, sizeof(*l));
	if (!l) {
		snprintf(err, err_size, "no memory to describe log directories");
		return NULL;
	}
	list_init(&l->waiting);
	for (uint32_t i = 0; i < OPS_MAX; i++)
		l->slots[i].all = l;
	return l;
}

static void log_dirs_image(struct ctl *c, void *state)
{
}

static bool log_dirs_stop(struct ctl *c, void *state)
{
	struct log_dirs *l = state;
	struct list *n;
	while ((n = list_pop_front(&l->waiting)))
		ctl_hang_up(c, list_entry(n, struct msg, node));
	return !l->m;
}

static void log_dirs_close(struct ctl *c, void *state)
{
	forget(state);
	free(state);
}

const struct ctl_module ctl_log_dirs = {
	.name = "log dirs",
	.open = log_dirs_open,
	.image = log_dirs_image,
	.stop = log_dirs_stop,
	.close = log_dirs_close,
};
