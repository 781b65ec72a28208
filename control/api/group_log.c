/* SPDX-License-Identifier: Apache-2.0 */
/* __consumer_offsets: loaded once from beginning to end, then written one batch at a time. */
#include "control/api/group_shell.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "kafka/batch.h"
#include "kafka/errcode.h"

#define LOADS_MAX 8u		/* partitions that are read at the same time */
#define READ_BYTES (256u << 10) /* of one partition at a time */
#define RETRY_NS NS_PER_S
#define BATCH_BYTES (1u << 20) /* several writes share a batch up to this, or message.max.bytes */

static void on_op(struct ctl *c, struct ctl_op *op);

static void ask(struct offsets_part *p, enum offsets_part_state state, enum part_op_kind kind)
{
	p->state = state;
	p->op.done = on_op;
	p->op.m.op.kind = kind;
	p->op.m.op.part_id = p->part_id;
	p->op.m.op.current_leader_epoch = -1;
	ctl_ask_part_op(p->groups->c, &p->op);
}

/* ---- loading ---- */

static void load_begin(struct offsets_part *p)
{
	p->op = (struct ctl_op){.m.op.list.timestamp = -2}; /* the earliest offset */
	ask(p, OFFSETS_START, PART_LIST);
}

static void load_more(struct offsets_part *p)
{
	p->op = (struct ctl_op){
		.m.op.fetch = {
			.offset = p->next_offset, .max_bytes = READ_BYTES, .at_least_one = true}};
	ask(p, OFFSETS_READ, PART_FETCH);
}

static void load_next(struct groups *g)
{
	while (!g->draining && g->loads_out < LOADS_MAX && g->load_next < g->part_count) {
		g->loads_out++;
		load_begin(g->parts[g->load_next++]);
	}
}

static void on_retry(struct ctl *c, struct ctl_timer *timer)
{
	struct offsets_part *p = container_of(timer, struct offsets_part, retry);
	p->groups->loads_out++;
	load_begin(p);
}

static void load_failed(struct offsets_part *p, int16_t error)
{
	struct groups *g = p->groups;
	if (!p->failed && !g->draining)
		log_error("groups", "%s-%u cannot be read: %s; its groups wait for it",
			TOPIC_OFFSETS, p->index, ke_name(error));
	p->failed = true;
	p->state = OFFSETS_WAIT;
	g->loads_out--;
	if (g->draining)
		return;
	ctl_timer_arm(g->c, &p->retry, ctl_now_ns(g->c) + RETRY_NS);
	load_next(g);
}

static void load_ended(struct offsets_part *p)
{
	struct groups *g = p->groups;
	p->state = OFFSETS_READY;
	p->failed = false;
	g->loading--;
	g->loads_out--;
	if (g->draining)
		return;
	grp_loaded(g->core, p->index, groups_now(g));
	load_next(g);
	if (g->loading > 0)
		return;
	struct grp_stats s = grp_core_stats(g->core);
	log_info("groups",
		"loaded %llu groups with %llu offsets from %llu records in %u partitions, %llu ms",
		(unsigned long long)s.groups, (unsigned long long)s.offsets,
		(unsigned long long)g->replayed, g->part_count,
		(unsigned long long)((ctl_now_ns(g->c) - g->load_begin_ns) / NS_PER_MS));
	groups_sweep_topics(g);
}

static void replay_batch(struct offsets_part *p, const uint8_t *batch, uint32_t size)
{
	struct batch_iter it;
	struct batch_record r;
	struct batch_scratch none = {0};
	if (batch_is_control(batch))
		return;
	if (batch_iter_init(&it, batch, size, &none) != 0) {
		log_warn("groups", "%s-%u: batch at %lld is not ours, passed over", TOPIC_OFFSETS,
			p->index, (long long)batch_base_offset(batch));
		return;
	}
	while (batch_iter_next(&it, &r) > 0) {
		if (r.key.len >= 0)
			grp_replay(p->groups->core, p->index, r.key, r.value);
		p->groups->replayed++;
	}
}

/* Whole batches; moves next_offset on. */
static void replay(struct offsets_part *p, const uint8_t *bytes, uint32_t len)
{
	while (len >= BATCH_HEADER_SIZE) {
		uint32_t size = batch_size(bytes);
		if (size == 0 || size > len)
			return;
		if (batch_base_offset(bytes) >= p->next_offset)
			replay_batch(p, bytes, size);
		p->next_offset = max_of(p->next_offset, batch_next_offset(bytes));
		bytes += size;
		len -= size;
	}
}

/* The records are copied out, so that the blocks go back before anything else. */
static void read_done(struct offsets_part *p)
{
	const struct part_op *op = &p->op.m.op;
	int64_t before = p->next_offset;
	struct lspan span = op->fetch.span;
	uint8_t *copy = span.len > 0 ? malloc(span.len) : NULL;
	if (copy && !p->groups->draining) {
		lspan_copy(span, 0, copy, span.len);
		replay(p, copy, span.len);
	}
	free(copy);
	p->at_end = p->next_offset >= op->fetch.high_watermark;
	p->stuck = !p->at_end && p->next_offset == before;
}

static void on_read(struct offsets_part *p)
{
	if (p->op.m.op.error) {
		load_failed(p, p->op.m.op.error);
		return;
	}
	read_done(p);
	p->state = OFFSETS_RELEASE;
	ctl_release(p->groups->c, &p->op);
}

static void on_released(struct offsets_part *p)
{
	if (p->at_end)
		load_ended(p);
	else if (p->stuck)
		load_failed(p, KE_CORRUPT_MESSAGE);
	else
		load_more(p);
}

static void on_start(struct offsets_part *p)
{
	if (p->op.m.op.error) {
		load_failed(p, p->op.m.op.error);
		return;
	}
	p->next_offset = max_of(p->op.m.op.list.offset, 0);
	load_more(p);
}

/* ---- appending ---- */

/* Moves writes from the queue to the flight, as many as one batch takes; the bytes for it. */
static size_t board(struct offsets_part *p)
{
	size_t limit = min_of((size_t)ctl_config(p->groups->c)->message_max_bytes, BATCH_BYTES);
	size_t size = BATCH_HEADER_SIZE;
	while (!list_empty(&p->queue)) {
		struct grp_write *w = list_entry(list_front(&p->queue), struct grp_write, node);
		if (!list_empty(&p->flying) && size + w->len > limit)
			break;
		size += w->len;
		list_remove(&w->node);
		list_push_back(&p->flying, &w->node);
	}
	return size;
}

static void build(struct batch_build *b, const struct list *writes)
{
	list_for_each (it, writes) {
		const struct grp_write *w = list_entry(it, struct grp_write, node);
		struct kbytes key, value;
		uint32_t at = 0;
		while (grp_write_next(w, &at, &key, &value))
			CHECK(batch_build_add(b, w->timestamp_ms, key, value, NULL, 0));
	}
}

static void give_back(struct offsets_part *p, struct list *writes, int16_t error)
{
	struct groups *g = p->groups;
	struct list *n;
	while ((n = list_pop_front(writes)))
		grp_written(g->core, groups_now(g), list_entry(n, struct grp_write, node), error);
}

static void append_next(struct offsets_part *p)
{
	if (p->state != OFFSETS_READY || list_empty(&p->queue))
		return;
	struct batch_build b;
	size_t size = board(p);
	p->batch = malloc(size);
	if (!p->batch) {
		struct list refused;
		list_init(&refused);
		list_splice(&refused, &p->flying);
		p->state = OFFSETS_APPEND; /* what comes out of it has to wait */
		give_back(p, &refused, KE_COORDINATOR_NOT_AVAILABLE);
		p->state = OFFSETS_READY;
		return;
	}
	batch_build_begin(&b, p->batch, size);
	build(&b, &p->flying);
	uint32_t len = batch_build_finish(&b);
	p->op = (struct ctl_op){.m.op.append = {.data = p->batch, .len = len}};
	ask(p, OFFSETS_APPEND, PART_APPEND);
}

static void on_appended(struct offsets_part *p)
{
	int16_t error = p->op.m.op.error;
	struct list landed;
	list_init(&landed);
	list_splice(&landed, &p->flying);
	free(p->batch);
	p->batch = NULL;
	if (error && !p->failed)
		log_error("groups", "%s-%u cannot be written: %s", TOPIC_OFFSETS, p->index,
			ke_name(error));
	p->failed = error != KE_NONE;
	give_back(p, &landed, error);
	p->state = OFFSETS_READY;
	append_next(p);
}

void offsets_append(struct groups *g, struct grp_write *w)
{
	CHECK(w->partition < g->part_count);
	struct offsets_part *p = g->parts[w->partition];
	list_push_back(&p->queue, &w->node);
	append_next(p);
}

/* ---- the partitions ---- */

static void part_free(struct offsets_part *p)
{
	CHECK(list_empty(&p->queue) && list_empty(&p->flying));
	free(p->batch);
	free(p);
}

/* Of a topic that is gone: whatever it was, the blocks go back and the writes have failed. */
static void on_orphan(struct offsets_part *p)
{
	bool holds_blocks = p->state == OFFSETS_READ && p->op.m.op.error == KE_NONE;
	if (holds_blocks) {
		p->state = OFFSETS_RELEASE;
		ctl_release(p->groups->c, &p->op);
		return;
	}
	give_back(p, &p->flying, KE_NOT_COORDINATOR);
	part_free(p);
}

static void on_op(struct ctl *c, struct ctl_op *op)
{
	struct offsets_part *p = container_of(op, struct offsets_part, op);
	struct groups *g = p->groups;
	if (p->orphan) {
		on_orphan(p);
	} else {
		switch (p->state) {
		case OFFSETS_START:
			on_start(p);
			break;
		case OFFSETS_READ:
			on_read(p);
			break;
		case OFFSETS_RELEASE:
			on_released(p);
			break;
		case OFFSETS_APPEND:
			on_appended(p);
			break;
		case OFFSETS_WAIT:
		case OFFSETS_READY:
			CHECK(!"an operation is back that was not out");
		}
	}
	groups_after(g);
}

static struct offsets_part *part_new(struct groups *g, uint32_t index, uint32_t part_id)
{
	struct offsets_part *p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	p->groups = g;
	p->index = index;
	p->part_id = part_id;
	p->state = OFFSETS_WAIT;
	ctl_timer_init(&p->retry, on_retry);
	list_init(&p->queue);
	list_init(&p->flying);
	return p;
}

bool offsets_open(struct groups *g, const struct image_topic *t)
{
	uint32_t n = (uint32_t)t->partition_count;
	struct offsets_part **parts = calloc(n, sizeof(struct offsets_part *));
	uint32_t made = 0;
	while (parts && made < n) {
		parts[made] = part_new(g, made, t->partitions[made].part_id);
		if (!parts[made])
			break;
		made++;
	}
	if (made < n || grp_set_partitions(g->core, n, groups_now(g)) < 0) {
		while (made > 0)
			part_free(parts[--made]);
		free(parts);
		return false;
	}
	g->parts = parts;
	g->part_count = g->loading = n;
	g->loads_out = g->load_next = 0;
	g->replayed = 0;
	g->topic_id = t->id;
	g->load_begin_ns = ctl_now_ns(g->c);
	load_next(g);
	return true;
}

void offsets_close(struct groups *g)
{
	uint32_t n = g->part_count;
	struct offsets_part **parts = g->parts;
	CHECK(grp_set_partitions(g->core, 0, groups_now(g)) == 0);
	g->parts = NULL;
	g->part_count = g->loading = 0;
	for (uint32_t i = 0; i < n; i++) {
		struct offsets_part *p = parts[i];
		ctl_timer_cancel(g->c, &p->retry);
		give_back(p, &p->queue, KE_NOT_COORDINATOR);
		if (p->state == OFFSETS_READY || p->state == OFFSETS_WAIT)
			part_free(p);
		else
			p->orphan = true;
	}
	free(parts);
}
