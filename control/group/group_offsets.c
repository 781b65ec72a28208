/* SPDX-License-Identifier: Apache-2.0 */
/* Committed offsets: the table of a group, OffsetCommit, and what OffsetFetch reads. */
#include "control/group/con.h"

/* ---- the table ---- */

static struct grp_topic *topic_find(const struct grp *g, struct kstr name)
{
	struct map_node *n = map_find(&g->topics_by_name, name);
	return n ? container_of(n, struct grp_topic, by_name) : NULL;
}

static void topic_free(struct grp *g, struct grp_topic *t)
{
	list_remove(&t->node);
	map_remove(&g->topics_by_name, &t->by_name);
	grp_str_free(g->core, &t->name);
	grp_mem_put(g->core, t->v);
	grp_mem_put(g->core, t);
}

static struct grp_topic *topic_add(struct grp *g, struct kstr name)
{
	struct grp_topic *t = grp_mem_get(g->core, sizeof(*t));
	if (!t)
		return NULL;
	if (!grp_str_dup(g->core, name, &t->name)) {
		grp_mem_put(g->core, t);
		return NULL;
	}
	list_push_back(&g->topics, &t->node);
	map_insert(&g->topics_by_name, &t->by_name, t->name);
	return t;
}

/* Place of the first entry that is not below partition. */
static uint32_t place_of(const struct grp_topic *t, int32_t partition)
{
	uint32_t lo = 0, hi = t->count;
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		if (t->v[mid].partition < partition)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static bool has_entry(const struct grp_topic *t, uint32_t at, int32_t partition)
{
	return at < t->count && t->v[at].partition == partition;
}

static bool make_room(struct grp_core *c, struct grp_topic *t)
{
	if (t->count < t->room)
		return true;
	uint32_t room = max_of(t->room * 2, 4u);
	struct grp_offset *v = grp_mem_get(c, room * sizeof(*v));
	if (!v)
		return false;
	if (t->count > 0)
		memcpy(v, t->v, t->count * sizeof(*v));
	grp_mem_put(c, t->v);
	t->v = v;
	t->room = room;
	return true;
}

static struct grp_offset *entry_add(
	struct grp *g, struct grp_topic *t, uint32_t at, int32_t partition)
{
	if (!make_room(g->core, t))
		return NULL;
	memmove(t->v + at + 1, t->v + at, (t->count - at) * sizeof(*t->v));
	t->count++;
	t->v[at] = (struct grp_offset){.partition = partition, .metadata = KSTR_NULL};
	g->offsets++;
	g->core->stats.offsets++;
	return &t->v[at];
}

bool grp_offset_set(struct grp *g, struct kstr topic, int32_t partition, const struct rec_offset *o)
{
	struct grp_core *c = g->core;
	struct kstr metadata;
	struct grp_topic *t = topic_find(g, topic);
	if (!grp_str_dup(c, o->metadata, &metadata))
		return false;
	if (!t)
		t = topic_add(g, topic);
	uint32_t at = t ? place_of(t, partition) : 0;
	struct grp_offset *e = !t			     ? NULL
			       : has_entry(t, at, partition) ? &t->v[at]
							     : entry_add(g, t, at, partition);
	if (!e) {
		if (t && t->count == 0)
			topic_free(g, t);
		grp_str_free(c, &metadata);
		return false;
	}
	grp_str_free(c, &e->metadata);
	*e = (struct grp_offset){
		.partition = partition,
		.leader_epoch = o->leader_epoch,
		.offset = o->offset,
		.commit_ms = o->commit_ms,
		.expire_ms = o->expire_ms,
		.metadata = metadata,
	};
	return true;
}

void grp_offset_drop(struct grp *g, struct kstr topic, int32_t partition)
{
	struct grp_topic *t = topic_find(g, topic);
	uint32_t at = t ? place_of(t, partition) : 0;
	if (!t || !has_entry(t, at, partition))
		return;
	grp_str_free(g->core, &t->v[at].metadata);
	memmove(t->v + at, t->v + at + 1, (t->count - at - 1) * sizeof(*t->v));
	t->count--;
	g->offsets--;
	g->core->stats.offsets--;
	if (t->count == 0)
		topic_free(g, t);
}

void grp_offsets_clear(struct grp *g)
{
	while (!list_empty(&g->topics)) {
		struct grp_topic *t = list_entry(list_front(&g->topics), struct grp_topic, node);
		for (uint32_t i = 0; i < t->count; i++)
			grp_str_free(g->core, &t->v[i].metadata);
		g->offsets -= t->count;
		g->core->stats.offsets -= t->count;
		topic_free(g, t);
	}
}

/* ---- reading ---- */

int16_t grp_find(struct grp_core *c, struct kstr group_id, const struct grp **out)
{
	*out = NULL;
	int16_t e = grp_admit(c, group_id);
	if (!e)
		*out = grp_get(c, group_id);
	return e;
}

int16_t grp_find_for(struct grp_core *c, struct kstr group_id, struct kstr member_id, int32_t epoch,
	const struct grp **out)
{
	int16_t e = grp_find(c, group_id, out);
	if (e || !*out || !(*out)->con || member_id.len < 0 || epoch < 0)
		return e;
	return con_validate(*out, member_id, epoch);
}

const struct grp_offset *grp_offset_find(const struct grp *g, struct kstr topic, int32_t partition)
{
	struct grp_topic *t = topic_find(g, topic);
	uint32_t at = t ? place_of(t, partition) : 0;
	return t && has_entry(t, at, partition) ? &t->v[at] : NULL;
}

const struct grp_topic *grp_topic_next(const struct grp *g, const struct grp_topic *after)
{
	struct list *n = after ? after->node.next : g->topics.next;
	return n == &g->topics ? NULL : list_entry(n, struct grp_topic, node);
}

struct kstr grp_topic_name(const struct grp_topic *t)
{
	return t->name;
}

const struct grp_offset *grp_topic_offsets(const struct grp_topic *t, uint32_t *count)
{
	*count = t->count;
	return t->v;
}

/* ---- OffsetCommit ---- */

/* The response to req with all errors 0, in one allocation. NULL: no memory. */
static struct kp_offset_commit_response *answer_new(
	struct grp_core *c, const struct kp_offset_commit_request *req)
{
	size_t topics = (size_t)max_of(req->n_topics, 0), partitions = 0;
	for (size_t i = 0; i < topics; i++)
		partitions += (size_t)max_of(req->topics[i].n_partitions, 0);
	struct kp_offset_commit_response *res = grp_mem_get(
		c, sizeof(*res) + topics * sizeof(struct kp_offset_commit_response_topic) +
			   partitions * sizeof(struct kp_offset_commit_response_partition));
	if (!res)
		return NULL;
	kp_default_offset_commit_response(res);
	res->topics = (struct kp_offset_commit_response_topic *)(res + 1);
	res->n_topics = (int32_t)topics;
	struct kp_offset_commit_response_partition *at =
		(struct kp_offset_commit_response_partition *)(res->topics + topics);
	for (size_t i = 0; i < topics; i++) {
		const struct kp_offset_commit_request_topic *from = &req->topics[i];
		res->topics[i] = (struct kp_offset_commit_response_topic){.name = from->name,
			.topic_id = from->topic_id,
			.partitions = at,
			.n_partitions = max_of(from->n_partitions, 0)};
		for (int32_t p = 0; p < from->n_partitions; p++)
			*at++ = (struct kp_offset_commit_response_partition){
				.index = from->partitions[p].index};
	}
	return res;
}

static void answer_fail(struct kp_offset_commit_response *res, int16_t error)
{
	for (int32_t i = 0; i < res->n_topics; i++)
		for (int32_t p = 0; p < res->topics[i].n_partitions; p++)
			if (!res->topics[i].partitions[p].error_code)
				res->topics[i].partitions[p].error_code = error;
}

struct commit {
	struct grp_core *c;
	struct grp_now now;
	int16_t version;
	const struct kp_offset_commit_request *req;
	struct kp_offset_commit_response *answer;
};

/* Marks the partitions that cannot be committed; the number of those that can. */
static uint32_t check_partitions(struct commit *m, const struct grp_topic_check *check)
{
	uint32_t good = 0;
	for (int32_t i = 0; i < m->req->n_topics; i++) {
		const struct kp_offset_commit_request_topic *t = &m->req->topics[i];
		for (int32_t p = 0; p < t->n_partitions; p++) {
			int16_t e = check && check->check
					    ? check->check(check->ctx, t, t->partitions[p].index)
					    : KE_NONE;
			if (!e && t->partitions[p].committed_metadata.len >
					  m->c->cfg.offset_metadata_max)
				e = KE_OFFSET_METADATA_TOO_LARGE;
			m->answer->topics[i].partitions[p].error_code = e;
			good += e == KE_NONE;
		}
	}
	return good;
}

/* Who commits for a group (protocol notes 4.2; Kafka: ClassicGroup.validateOffsetCommit). */
static int16_t validate(const struct commit *m, struct grp *g, struct grp_member **member)
{
	const struct kp_offset_commit_request *req = m->req;
	*member = NULL;
	if (req->generation_id < 0 && g->state == GRP_EMPTY)
		return KE_NONE; /* assigns partitions itself, or an administrator */
	if (req->generation_id < 0 && req->member_id.len <= 0 && req->group_instance_id.len < 0)
		return KE_UNKNOWN_MEMBER_ID;
	if (g->con && m->version < 9 && !con_is_classic(g, req->member_id))
		return KE_UNSUPPORTED_VERSION; /* cannot be told that its epoch is stale */
	if (g->con)
		return con_validate(g, req->member_id, req->generation_id);
	int16_t e = grp_member_validate(g, req->member_id, req->group_instance_id, member);
	if (e)
		return e;
	if (req->generation_id != g->generation)
		return KE_ILLEGAL_GENERATION;
	return g->state == GRP_COMPLETING ? KE_REBALANCE_IN_PROGRESS : KE_NONE;
}

static int16_t find_group(struct commit *m, struct grp **out)
{
	int16_t e = grp_admit(m->c, m->req->group_id);
	if (e)
		return e;
	*out = grp_get(m->c, m->req->group_id);
	if (*out)
		return KE_NONE;
	if (m->req->generation_id >= 0)
		return m->version >= 9 ? KE_GROUP_ID_NOT_FOUND : KE_ILLEGAL_GENERATION;
	*out = grp_new(m->c, m->req->group_id, m->now);
	return *out ? KE_NONE : KE_COORDINATOR_NOT_AVAILABLE;
}

static void fill(struct grp_recs *r, struct grp *g, void *arg)
{
	const struct commit *m = arg;
	for (int32_t i = 0; i < m->req->n_topics; i++) {
		const struct kp_offset_commit_request_topic *t = &m->req->topics[i];
		for (int32_t p = 0; p < t->n_partitions; p++) {
			if (m->answer->topics[i].partitions[p].error_code)
				continue;
			struct kstr metadata = t->partitions[p].committed_metadata;
			int64_t keep_ms = m->req->retention_time_ms; /* versions 2-4 */
			const struct rec_offset o = {
				.offset = t->partitions[p].committed_offset,
				.leader_epoch = t->partitions[p].committed_leader_epoch,
				.metadata = metadata.len > 0 ? metadata : kstr_of(""),
				.commit_ms = m->now.wall_ms,
				.expire_ms = keep_ms < 0 ? -1
					     : keep_ms > INT64_MAX - m->now.wall_ms
						     ? INT64_MAX
						     : m->now.wall_ms + keep_ms,
			};
			grp_rec_offset(r, g, t->name, t->partitions[p].index, &o);
		}
	}
}

/* Sends the write that answers later; else the error for all partitions. */
static int16_t commit(struct commit *m, void *token)
{
	struct grp *g;
	struct grp_member *member;
	int16_t e = find_group(m, &g);
	if (!e)
		e = validate(m, g, &member);
	if (e)
		return e;
	if (member)
		grp_session_restart(member, m->now);
	struct grp_write *w = grp_write_new(g, GRP_W_COMMIT, fill, m, m->now, &e);
	if (!w)
		return grp_append_error(e, true);
	w->token = token;
	w->answer = m->answer;
	m->answer = NULL;
	grp_write_send(w);
	return KE_NONE;
}

void grp_commit(struct grp_core *c, struct grp_now now, void *token, int16_t version,
	const struct kp_offset_commit_request *req, const struct grp_topic_check *check)
{
	struct commit m = {.c = c, .now = now, .version = version, .req = req};
	m.answer = answer_new(c, req);
	if (!m.answer) {
		struct kp_offset_commit_response none;
		kp_default_offset_commit_response(&none);
		c->sink.reply(c->sink.ctx, token, &none);
		return;
	}
	if (check_partitions(&m, check) > 0) {
		int16_t e = commit(&m, token);
		if (!m.answer)
			return;
		answer_fail(m.answer, e);
	}
	c->sink.reply(c->sink.ctx, token, m.answer);
	grp_mem_put(c, m.answer);
}

/* What is durable counts from now on: what the log says is what the table says. */
void grp_commit_written(struct grp *g, struct grp_write *w, int16_t error)
{
	struct grp_core *c = g->core;
	struct kbytes key, value;
	uint32_t at = 0;
	bool kept = true;
	while (!error && g->state != GRP_DEAD && grp_write_next(w, &at, &key, &value)) {
		struct rec_key k;
		struct rec_offset o;
		CHECK(rec_key_read(key, &k) && rec_offset_read(value, &o));
		kept &= grp_offset_set(g, k.topic, k.partition, &o);
	}
	if (error || !kept)
		answer_fail(w->answer,
			error ? grp_append_error(error, true) : KE_COORDINATOR_NOT_AVAILABLE);
	c->sink.reply(c->sink.ctx, w->token, w->answer);
}
