/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an administrator takes away: offsets of a group (OffsetDelete), groups with all they have
 * (DeleteGroups). Both count once their tombstones are durable, and are answered then.
 */
#include "control/group/con.h"

/* ---- offsets ---- */

struct offsets_gone {
	const struct kp_offset_delete_request *req;
	struct kp_offset_delete_response *answer;
};

/* The response to req with all errors 0, in one allocation. NULL: no memory. */
static struct kp_offset_delete_response *offsets_answer(
	struct grp_core *c, const struct kp_offset_delete_request *req)
{
	size_t topics = (size_t)max_of(req->n_topics, 0), partitions = 0;
	for (size_t i = 0; i < topics; i++)
		partitions += (size_t)max_of(req->topics[i].n_partitions, 0);
	struct kp_offset_delete_response *res = grp_mem_get(
		c, sizeof(*res) + topics * sizeof(struct kp_offset_delete_response_topic) +
			   partitions * sizeof(struct kp_offset_delete_response_partition));
	if (!res)
		return NULL;
	kp_default_offset_delete_response(res);
	res->topics = (struct kp_offset_delete_response_topic *)(res + 1);
	res->n_topics = (int32_t)topics;
	struct kp_offset_delete_response_partition *at =
		(struct kp_offset_delete_response_partition *)(res->topics + topics);
	for (size_t i = 0; i < topics; i++) {
		const struct kp_offset_delete_request_topic *from = &req->topics[i];
		res->topics[i] = (struct kp_offset_delete_response_topic){.name = from->name,
			.partitions = at,
			.n_partitions = max_of(from->n_partitions, 0)};
		for (int32_t p = 0; p < from->n_partitions; p++)
			*at++ = (struct kp_offset_delete_response_partition){
				.index = from->partitions[p].index};
	}
	return res;
}

/* Marks what may not be forgotten; the number of partitions that may. */
static uint32_t check_offsets(
	const struct grp *g, const struct offsets_gone *o, const struct grp_partition_check *check)
{
	uint32_t good = 0;
	for (int32_t i = 0; i < o->answer->n_topics; i++) {
		struct kp_offset_delete_response_topic *t = &o->answer->topics[i];
		bool read = grp_reads(g, t->name);
		for (int32_t p = 0; p < t->n_partitions; p++) {
			int32_t index = t->partitions[p].index;
			int16_t e = check && check->check ? check->check(check->ctx, t->name, index)
							  : KE_NONE;
			if (!e && read)
				e = KE_GROUP_SUBSCRIBED_TO_TOPIC;
			t->partitions[p].error_code = e;
			good += e == KE_NONE;
		}
	}
	return good;
}

static void fill_offsets(struct grp_recs *r, struct grp *g, void *arg)
{
	const struct offsets_gone *o = arg;
	for (int32_t i = 0; i < o->answer->n_topics; i++) {
		const struct kp_offset_delete_response_topic *t = &o->answer->topics[i];
		for (int32_t p = 0; p < t->n_partitions; p++)
			if (!t->partitions[p].error_code)
				grp_rec_offset(r, g, t->name, t->partitions[p].index, NULL);
	}
}

/* Consumers may be at work, if they do not read the topic; of others nobody knows what they read.
 */
static int16_t offsets_group(
	struct grp_core *c, const struct kp_offset_delete_request *req, struct grp **out)
{
	int16_t e = grp_admit(c, req->group_id);
	*out = e ? NULL : grp_get(c, req->group_id);
	if (e)
		return e;
	if (!*out)
		return KE_GROUP_ID_NOT_FOUND;
	bool consumers = (*out)->con || kstr_equal((*out)->protocol_type, kstr_of("consumer"));
	return (*out)->state == GRP_EMPTY || consumers ? KE_NONE : KE_NON_EMPTY_GROUP;
}

static void refuse_offsets(struct grp_core *c, void *token, int16_t error)
{
	struct kp_offset_delete_response res;
	kp_default_offset_delete_response(&res);
	res.error_code = error;
	c->sink.reply(c->sink.ctx, token, &res);
}

void grp_delete_offsets(struct grp_core *c, struct grp_now now, void *token,
	const struct kp_offset_delete_request *req, const struct grp_partition_check *check)
{
	struct grp *g;
	int16_t e = offsets_group(c, req, &g);
	struct offsets_gone o = {.req = req, .answer = e ? NULL : offsets_answer(c, req)};
	if (!o.answer) {
		refuse_offsets(c, token, e ? e : KE_COORDINATOR_NOT_AVAILABLE);
		return;
	}
	if (check_offsets(g, &o, check) == 0) {
		c->sink.reply(c->sink.ctx, token, o.answer);
		grp_mem_put(c, o.answer);
		return;
	}
	struct grp_write *w = grp_write_new(g, GRP_W_DELETE_OFFSETS, fill_offsets, &o, now, &e);
	if (!w) {
		grp_mem_put(c, o.answer);
		refuse_offsets(c, token, e == KE_MESSAGE_TOO_LARGE ? KE_INVALID_REQUEST : e);
		return;
	}
	w->token = token;
	w->deleted = o.answer;
	grp_write_send(w);
}

/* The tombstones of w are durable. */
static void drop_written(struct grp *g, const struct grp_write *w)
{
	struct kbytes key, value;
	uint32_t at = 0;
	while (grp_write_next(w, &at, &key, &value)) {
		struct rec_key k;
		CHECK(rec_key_read(key, &k));
		if (k.kind == REC_OFFSET)
			grp_offset_drop(g, k.topic, k.partition);
	}
}

void grp_delete_offsets_written(struct grp *g, struct grp_write *w, int16_t error)
{
	struct grp_core *c = g->core;
	if (!error && g->state != GRP_DEAD)
		drop_written(g, w);
	if (error)
		refuse_offsets(c, w->token, grp_append_error(error, false));
	else
		c->sink.reply(c->sink.ctx, w->token, w->deleted);
}

/* ---- groups ---- */

/* Offsets forgotten in one write. */
#define CHUNK 1024

/* One request, answered when all of its groups are settled. */
struct grp_deletions {
	void *token;
	uint32_t left;
	struct kp_delete_groups_response answer;
	struct grp_deletion v[];
};

/* The group's part of the request is over. */
static void settle(struct grp_core *c, struct grp_deletions *d, uint32_t i, int16_t error)
{
	CHECK(d->left > 0);
	d->answer.results[i].error_code = error;
	if (--d->left > 0)
		return;
	c->sink.reply(c->sink.ctx, d->token, &d->answer);
	grp_mem_put(c, d);
}

void grp_deletion_end(struct grp *g, int16_t error)
{
	struct grp_deletion *x = g->deletion;
	if (!x)
		return;
	g->deletion = NULL;
	settle(g->core, x->all, x->index, error);
}

struct chunk {
	uint32_t count; /* offsets, the first ones of the group; 0: not chosen yet */
	bool last;
};

/* Fits into a write, and says whether nothing is left then. */
static void choose(const struct grp *g, struct chunk *k)
{
	size_t bytes = 0;
	list_for_each (it, &g->topics) {
		const struct grp_topic *t = list_entry(it, struct grp_topic, node);
		size_t one = (size_t)(g->id.len + t->name.len) + 64;
		for (uint32_t i = 0; i < t->count; i++, k->count++) {
			bytes += one;
			if (k->count > 0 &&
				(k->count == CHUNK || bytes + (size_t)g->id.len + 64 >
							      g->core->cfg.max_write_bytes))
				return;
		}
	}
	k->last = true;
}

static void fill_chunk(struct grp_recs *r, struct grp *g, void *arg)
{
	const struct chunk *k = arg;
	uint32_t n = 0;
	list_for_each (it, &g->topics) {
		const struct grp_topic *t = list_entry(it, struct grp_topic, node);
		for (uint32_t i = 0; i < t->count && n < k->count; i++, n++)
			grp_rec_offset(r, g, t->name, t->v[i].partition, NULL);
	}
	if (k->last && g->con)
		con_rec_drop(r, g);
	if (k->last && g->stored)
		grp_rec_group_drop(r, g);
}

/* Nothing that came before is still on its way to the log. */
void grp_deletion_step(struct grp *g, struct grp_now now)
{
	struct chunk k = {0};
	int16_t e;
	CHECK(g->deletion && g->writes == 0 && g->state == GRP_EMPTY);
	choose(g, &k);
	if (k.count == 0 && !g->stored && !g->con) {
		grp_deletion_end(g, KE_NONE);
		grp_kill(g, KE_NONE, now);
		return;
	}
	struct grp_write *w = grp_write_new(g, GRP_W_DELETE_GROUP, fill_chunk, &k, now, &e);
	if (w)
		grp_write_send(w);
	else
		grp_deletion_end(g, grp_append_error(e, false));
}

/* Of a group that has died meanwhile the request was answered then. */
void grp_delete_group_written(struct grp *g, struct grp_write *w, int16_t error)
{
	struct kbytes key, value;
	uint32_t at = 0;
	if (g->state == GRP_DEAD || error) {
		grp_deletion_end(g, grp_append_error(error, false));
		return;
	}
	drop_written(g, w);
	bool all = false; /* the group's own records too */
	while (grp_write_next(w, &at, &key, &value)) {
		struct rec_key k;
		CHECK(rec_key_read(key, &k));
		all |= k.kind != REC_OFFSET;
	}
	g->stored &= !all;
	if (all && g->con)
		con_end(g, KE_NONE);
}

static void delete_group(
	struct grp_core *c, struct grp_now now, struct grp_deletions *d, uint32_t i)
{
	struct kstr id = d->answer.results[i].group_id;
	int16_t e = grp_admit(c, id);
	struct grp *g = e ? NULL : grp_get(c, id);
	if (!e && !g)
		e = KE_GROUP_ID_NOT_FOUND;
	if (!e && g->state != GRP_EMPTY)
		e = KE_NON_EMPTY_GROUP;
	if (e) {
		settle(c, d, i, e);
		return;
	}
	d->v[i] = (struct grp_deletion){.all = d, .index = i};
	g->deletion = &d->v[i];
	if (g->writes == 0)
		grp_deletion_step(g, now);
}

void grp_delete_groups(struct grp_core *c, struct grp_now now, void *token,
	const struct kp_delete_groups_request *req)
{
	size_t n = (size_t)max_of(req->n_groups_names, 0);
	struct kp_delete_groups_response none;
	kp_default_delete_groups_response(&none);
	struct grp_deletions *d =
		grp_mem_get(c, sizeof(*d) + n * (sizeof(d->v[0]) + sizeof(*none.results)));
	if (!d || n == 0) {
		grp_mem_put(c, d);
		c->sink.reply(c->sink.ctx, token, &none);
		return;
	}
	*d = (struct grp_deletions){.token = token, .left = (uint32_t)n + 1, .answer = none};
	d->answer.results = (struct kp_delete_groups_response_result *)(d->v + n);
	d->answer.n_results = (int32_t)n;
	for (size_t i = 0; i < n; i++)
		d->answer.results[i] = (struct kp_delete_groups_response_result){
			.group_id = req->groups_names[i], .error_message = KSTR_NULL};
	for (uint32_t i = 0; i < n; i++)
		delete_group(c, now, d, i);
	/* It may be that all are settled: the last word is here. */
	if (--d->left == 0) {
		c->sink.reply(c->sink.ctx, token, &d->answer);
		grp_mem_put(c, d);
	}
}
