/* SPDX-License-Identifier: Apache-2.0 */
/* What nobody needs any more: offsets past their time (KIP-211), of deleted topics, empty groups.
 */
#include "control/group/con.h"

/* ---- which topics a group reads ---- */

/* Whether a subscription of the "consumer" protocol names the topic: 1, 0, or -1: not readable.
   (ConsumerProtocolSubscription: version int16, topics []string, ...) */
static int subscription_names(struct kbytes metadata, struct kstr topic)
{
	struct rd r = rd_of(metadata.p, metadata.len > 0 ? (size_t)metadata.len : 0);
	int found = 0;
	rd_be16(&r);
	int32_t n = kp_rd_count(&r, false, false, 2);
	for (int32_t i = 0; i < n && !r.bad; i++)
		found |= kstr_equal(kp_rd_string(&r, false, false), topic);
	return r.bad ? -1 : found;
}

bool grp_reads(const struct grp *g, struct kstr topic)
{
	if (g->con)
		return con_reads(g->con, topic);
	list_for_each (it, &g->members) {
		const struct grp_member *m = list_entry(it, struct grp_member, node);
		if (subscription_names(grp_metadata_of(m, g->protocol), topic) != 0)
			return true;
	}
	return false;
}

/* ---- what has to go ---- */

#define CHUNK 256

/* Offsets chosen in one go. */
struct sweep {
	struct grp_now now;
	bool (*gone)(void *ctx, struct kstr topic); /* NULL: what has expired */
	void *ctx;
	bool drop_group;
	uint32_t count;
	uint32_t bytes; /* of their tombstones */
	struct {
		const struct grp_topic *topic;
		int32_t partition;
	} v[CHUNK];
};

static bool has_expired(const struct grp *g, const struct grp_offset *o, struct grp_now now)
{
	if (o->expire_ms >= 0)
		return now.wall_ms >= o->expire_ms;
	/* Of a group that had members: since they left. Of a lone consumer, or of a topic that is
	   not read any more: since the commit. */
	int64_t since_ms = o->commit_ms;
	if (g->state == GRP_EMPTY && (g->protocol_type.len > 0 || g->con))
		since_ms = max_of(since_ms, g->state_ms);
	return now.wall_ms - since_ms >= g->core->cfg.offsets_retention_ms;
}

/* A group at work keeps what it reads; only consumers say what that is. */
static bool may_expire(const struct grp *g, const struct grp_topic *t)
{
	if (g->state == GRP_EMPTY)
		return true;
	if (g->state == GRP_CONSUMER)
		return !grp_reads(g, t->name);
	return g->state == GRP_STABLE && kstr_equal(g->protocol_type, kstr_of("consumer")) &&
	       !grp_reads(g, t->name);
}

static bool room_for(const struct grp *g, const struct grp_topic *t, struct sweep *s)
{
	uint32_t bytes = s->bytes + (uint32_t)(g->id.len + t->name.len) + 64;
	if (s->count == CHUNK || (s->count > 0 && bytes > g->core->cfg.max_write_bytes))
		return false;
	s->bytes = bytes;
	return true;
}

/* False: the chunk is full. */
static bool choose_in(const struct grp *g, const struct grp_topic *t, struct sweep *s)
{
	int allowed = s->gone ? s->gone(s->ctx, t->name) : -1; /* -1: to be found out */
	for (uint32_t i = 0; i < t->count && allowed != 0; i++) {
		if (!s->gone && !has_expired(g, &t->v[i], s->now))
			continue;
		if (allowed < 0)
			allowed = may_expire(g, t);
		if (!allowed)
			break;
		if (!room_for(g, t, s))
			return false;
		s->v[s->count].topic = t;
		s->v[s->count++].partition = t->v[i].partition;
	}
	return true;
}

static void choose(const struct grp *g, struct sweep *s)
{
	s->count = s->bytes = 0;
	list_for_each (it, &g->topics)
		if (!choose_in(g, list_entry(it, struct grp_topic, node), s))
			return;
}

static void fill(struct grp_recs *r, struct grp *g, void *arg)
{
	const struct sweep *s = arg;
	for (uint32_t i = 0; i < s->count; i++)
		grp_rec_offset(r, g, s->v[i].topic->name, s->v[i].partition, NULL);
	if (s->drop_group && g->con)
		con_rec_drop(r, g);
	if (s->drop_group && g->stored)
		grp_rec_group_drop(r, g);
}

/* Tombstones nobody waits for: what is not written now is found expired again after a restart. */
static void write_drops(struct grp *g, struct sweep *s)
{
	int16_t e;
	struct grp_write *w = grp_write_new(g, GRP_W_DROP, fill, s, s->now, &e);
	if (w)
		grp_write_send(w);
}

static void drop_chosen(struct grp *g, struct sweep *s)
{
	write_drops(g, s);
	for (uint32_t i = 0; i < s->count; i++)
		grp_offset_drop(g, s->v[i].topic->name, s->v[i].partition);
	if (!s->gone)
		g->core->stats.expired_offsets += s->count;
}

static void sweep(struct grp *g, struct sweep *s)
{
	do {
		choose(g, s);
		if (s->count > 0)
			drop_chosen(g, s);
	} while (s->count > 0);
}

static void drop_group(struct grp *g, struct sweep *s)
{
	s->count = 0;
	s->drop_group = true;
	if (g->stored || g->con)
		write_drops(g, s);
	s->drop_group = false;
	grp_kill(g, KE_NONE, s->now);
}

void grp_expire_all(struct grp_core *c, struct grp_now now)
{
	struct sweep s = {.now = now};
	list_for_each_safe (it, &c->groups) {
		struct grp *g = list_entry(it, struct grp, node);
		if (g->writes > 0 || !grp_is_loaded(c, g->partition))
			continue; /* commits under way: next time */
		sweep(g, &s);
		if (g->state == GRP_EMPTY && g->offsets == 0 && list_empty(&g->pending))
			drop_group(g, &s);
	}
}

void grp_forget_topics(struct grp_core *c, struct grp_now now,
	bool (*gone)(void *ctx, struct kstr topic), void *ctx)
{
	struct sweep s = {.now = now, .gone = gone, .ctx = ctx};
	list_for_each (it, &c->groups) {
		struct grp *g = list_entry(it, struct grp, node);
		if (grp_is_loaded(c, g->partition))
			sweep(g, &s);
	}
}
