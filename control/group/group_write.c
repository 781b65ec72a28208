/* SPDX-License-Identifier: Apache-2.0 */
/* To the log and back: writes, and the replay of what was written. */
#include "control/group/con.h"

/* ---- records of a write: u32 length, key, u32 length (or GRP_NO_VALUE), value ---- */

bool grp_write_next(
	const struct grp_write *w, uint32_t *at, struct kbytes *key, struct kbytes *value)
{
	if (*at >= w->size)
		return false;
	struct rd r = rd_of(w->bytes + *at, w->size - *at);
	uint32_t n = rd_be32(&r);
	*key = (struct kbytes){.p = rd_take(&r, n), .len = (int32_t)n};
	n = rd_be32(&r);
	*value = KBYTES_NULL;
	if (n != GRP_NO_VALUE)
		*value = (struct kbytes){.p = rd_take(&r, n), .len = (int32_t)n};
	CHECK(!r.bad);
	*at = (uint32_t)(r.p - w->bytes);
	return true;
}

struct grp_mark grp_rec_begin(struct wr *w)
{
	uint8_t *len = wr_claim(w, 4);
	return (struct grp_mark){.len = len, .start = w->need};
}

void grp_rec_end(struct wr *w, struct grp_mark m)
{
	if (m.len)
		be32_put(m.len, (uint32_t)(w->need - m.start));
}

void grp_rec_offset(struct grp_recs *r, const struct grp *g, struct kstr topic, int32_t partition,
	const struct rec_offset *o)
{
	struct grp_mark m = grp_rec_begin(&r->w);
	rec_offset_key_write(&r->w, g->id, topic, partition);
	grp_rec_end(&r->w, m);
	r->count++;
	if (!o) {
		wr_be32(&r->w, GRP_NO_VALUE);
		return;
	}
	m = grp_rec_begin(&r->w);
	rec_offset_write(&r->w, o);
	grp_rec_end(&r->w, m);
}

static void write_members(struct wr *w, const struct grp *g)
{
	list_for_each (it, &g->members) {
		const struct grp_member *m = list_entry(it, struct grp_member, node);
		const struct rec_member rec = {
			.id = m->id,
			.instance = m->instance,
			.client_id = m->client_id,
			.client_host = m->client_host,
			.rebalance_ms = m->rebalance_ms,
			.session_ms = m->session_ms,
			.subscription = grp_metadata_of(m, g->protocol),
			.assignment = m->assignment,
		};
		rec_member_write(w, &rec);
	}
}

void grp_rec_group(struct grp_recs *r, const struct grp *g)
{
	struct rec_group rec = {
		.protocol_type = g->protocol_type,
		.generation = g->generation,
		.protocol = g->protocol,
		.leader = g->leader && !g->unled ? g->leader->id : KSTR_NULL,
		.state_ms = g->state_ms,
		.member_count = (int32_t)g->members_by_id.count,
	};
	struct grp_mark m = grp_rec_begin(&r->w);
	rec_group_key_write(&r->w, g->id);
	grp_rec_end(&r->w, m);
	m = grp_rec_begin(&r->w);
	rec_group_write(&r->w, &rec);
	write_members(&r->w, g);
	grp_rec_end(&r->w, m);
	r->count++;
}

void grp_rec_group_drop(struct grp_recs *r, const struct grp *g)
{
	struct grp_mark m = grp_rec_begin(&r->w);
	rec_group_key_write(&r->w, g->id);
	grp_rec_end(&r->w, m);
	wr_be32(&r->w, GRP_NO_VALUE);
	r->count++;
}

/* ---- writes ---- */

struct grp_write *grp_write_new(struct grp *g, enum grp_write_kind kind,
	void (*fill)(struct grp_recs *r, struct grp *g, void *arg), void *arg, struct grp_now now,
	int16_t *error)
{
	struct grp_core *c = g->core;
	struct grp_recs r = {.w = {.full = true}};
	fill(&r, g, arg);
	size_t len = r.w.need + (size_t)r.count * GRP_RECORD_OVERHEAD;
	if (len > c->cfg.max_write_bytes) {
		*error = KE_MESSAGE_TOO_LARGE;
		return NULL;
	}
	uint32_t size = (uint32_t)r.w.need;
	struct grp_write *w = grp_mem_get(c, sizeof(*w) + size);
	if (!w) {
		*error = KE_COORDINATOR_NOT_AVAILABLE;
		return NULL;
	}
	*w = (struct grp_write){
		.partition = g->partition,
		.timestamp_ms = now.wall_ms,
		.len = (uint32_t)len,
		.kind = kind,
		.group = g,
		.member_id = KSTR_NULL,
		.leader_id = KSTR_NULL,
		.bytes = (uint8_t *)(w + 1),
		.size = size,
	};
	list_init(&w->node);
	r = (struct grp_recs){.w = wr_of(w->bytes, size)};
	fill(&r, g, arg);
	CHECK(!r.w.full && wr_len(&r.w) == size);
	w->count = r.count;
	*error = KE_NONE;
	return w;
}

void grp_write_send(struct grp_write *w)
{
	struct grp_core *c = w->group->core;
	w->group->writes++;
	c->stats.writes++;
	c->sink.append(c->sink.ctx, w);
}

void grp_write_free(struct grp_core *c, struct grp_write *w)
{
	grp_str_free(c, &w->member_id);
	grp_str_free(c, &w->leader_id);
	grp_mem_put(c, w->answer);
	grp_mem_put(c, w->deleted);
	grp_mem_put(c, w);
}

static void fill_group(struct grp_recs *r, struct grp *g, void *arg)
{
	grp_rec_group(r, g);
}

struct grp_write *grp_write_group(
	struct grp *g, enum grp_write_kind kind, struct grp_now now, int16_t *error)
{
	struct grp_write *w = grp_write_new(g, kind, fill_group, NULL, now, error);
	if (w)
		g->stored = true;
	return w;
}

int16_t grp_append_error(int16_t error, bool offsets)
{
	switch (error) {
	case KE_NONE:
	case KE_COORDINATOR_NOT_AVAILABLE:
		return error;
	case KE_UNKNOWN_TOPIC_OR_PARTITION:
	case KE_NOT_ENOUGH_REPLICAS:
	case KE_NOT_ENOUGH_REPLICAS_AFTER_APPEND:
	case KE_REQUEST_TIMED_OUT:
		return KE_COORDINATOR_NOT_AVAILABLE;
	case KE_NOT_LEADER_OR_FOLLOWER:
	case KE_KAFKA_STORAGE_ERROR:
		return KE_NOT_COORDINATOR;
	case KE_MESSAGE_TOO_LARGE:
	case KE_RECORD_LIST_TOO_LARGE:
		return offsets ? KE_INVALID_COMMIT_OFFSET_SIZE : KE_UNKNOWN_SERVER_ERROR;
	default:
		return KE_UNKNOWN_SERVER_ERROR;
	}
}

/* ---- replay ---- */

static const struct grp_now no_time = {0};

static bool replay_offset(struct grp_core *c, const struct rec_key *k, struct kbytes value)
{
	struct rec_offset o;
	struct grp *g = grp_get(c, k->group);
	if (value.len < 0) {
		if (g)
			grp_offset_drop(g, k->topic, k->partition);
		return true;
	}
	if (!rec_offset_read(value, &o))
		return false;
	if (!g)
		g = grp_new(c, k->group, no_time);
	return g && grp_offset_set(g, k->topic, k->partition, &o);
}

static void drop_members(struct grp *g)
{
	while (!list_empty(&g->members))
		grp_member_drop(list_entry(list_front(&g->members), struct grp_member, node),
			KE_NONE, no_time);
}

static bool replay_member(struct grp *g, const struct rec_member *rec, struct kstr protocol)
{
	struct grp_client client = {.id = rec->client_id, .host = rec->client_host};
	struct grp_protocol p = {.name = protocol, .metadata = rec->subscription};
	struct grp_joiner j = {
		.client = &client,
		.id = rec->id,
		.instance = rec->instance,
		.rebalance_ms = rec->rebalance_ms,
		.session_ms = rec->session_ms,
		.protocols = &p,
		.count = 1,
	};
	if (grp_member_find(g, rec->id) || grp_member_static(g, rec->instance))
		return false;
	struct grp_member *m = grp_member_add(g, &j);
	return m && grp_member_set_assignment(m, rec->assignment);
}

/* The group as the record says; on failure without members. */
static bool replay_members(struct grp *g, struct rec_group *rec)
{
	struct rec_member m;
	drop_members(g);
	g->unled = false;
	grp_str_free(g->core, &g->protocol_type);
	grp_str_free(g->core, &g->protocol);
	if (!grp_str_dup(g->core, rec->protocol_type, &g->protocol_type))
		return false;
	if (rec->member_count == 0)
		return true;
	if (rec->protocol.len < 0 || !grp_str_dup(g->core, rec->protocol, &g->protocol))
		return false;
	while (rec_member_next(rec, &m))
		if (!replay_member(g, &m, g->protocol))
			return false;
	struct grp_member *leader = grp_member_find(g, rec->leader);
	if (leader)
		g->leader = leader;
	g->unled = !leader;
	return true;
}

static bool replay_group(struct grp_core *c, const struct rec_key *k, struct kbytes value)
{
	struct rec_group rec;
	struct grp *g = grp_get(c, k->group);
	/* whoever writes or drops it knows of no consumer group that was before */
	if (g && g->con)
		con_end(g, KE_NONE);
	if (value.len < 0) {
		/* Offsets that are still there were committed after it, or are dropped by records
		   that follow. */
		if (g) {
			drop_members(g);
			grp_str_free(c, &g->protocol);
			grp_str_free(c, &g->protocol_type);
			grp_set_state(g, GRP_EMPTY, no_time);
			g->generation = 0;
			g->stored = false;
			if (g->offsets == 0)
				grp_kill(g, KE_NONE, no_time);
		}
		return true;
	}
	if (!rec_group_read(value, &rec))
		return false;
	if (!g)
		g = grp_new(c, k->group, no_time);
	if (!g)
		return false;
	bool whole = replay_members(g, &rec);
	if (!whole) {
		drop_members(g);
		grp_str_free(c, &g->protocol);
	}
	grp_set_state(g, list_empty(&g->members) ? GRP_EMPTY : GRP_STABLE, no_time);
	g->state_ms = rec.state_ms;
	g->generation = rec.generation;
	g->stored = true;
	return whole;
}

bool grp_replay(struct grp_core *c, uint32_t partition, struct kbytes key, struct kbytes value)
{
	struct rec_key k;
	CHECK(partition < c->partitions && !c->loaded[partition]);
	if (!rec_key_read(key, &k) || k.kind == REC_UNKNOWN)
		return false;
	if (grp_partition_of(k.group, c->partitions) != partition)
		return false; /* not written by a coordinator */
	switch (k.kind) {
	case REC_OFFSET:
		return replay_offset(c, &k, value);
	case REC_GROUP:
		return replay_group(c, &k, value);
	default:
		return con_replay(c, &k, value);
	}
}
