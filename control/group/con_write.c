/* SPDX-License-Identifier: Apache-2.0 */
/* The records of consumer groups, and the answers that wait for them. */
#include "control/group/con.h"

/* ---- records ---- */

static void key(struct grp_recs *r, const struct grp *g, enum rec_kind kind, struct kstr member)
{
	struct grp_mark m = grp_rec_begin(&r->w);
	rec_con_key_write(&r->w, kind, g->id, member);
	grp_rec_end(&r->w, m);
	r->count++;
}

static void drop(struct grp_recs *r, const struct grp *g, enum rec_kind kind, struct kstr member)
{
	key(r, g, kind, member);
	wr_be32(&r->w, GRP_NO_VALUE);
}

/* Values are of version 0, in compact form, and end with no tagged fields. */
static struct grp_mark value(struct grp_recs *r)
{
	struct grp_mark m = grp_rec_begin(&r->w);
	wr_be16(&r->w, 0);
	return m;
}

static void value_end(struct grp_recs *r, struct grp_mark m)
{
	wr_uvarint(&r->w, 0);
	grp_rec_end(&r->w, m);
}

static void str(struct grp_recs *r, struct kstr s, bool nullable)
{
	kp_wr_string(&r->w, true, nullable, s);
}

static uint32_t run_of(const struct con_set *s, uint32_t from)
{
	uint32_t n = from;
	while (n < s->count && con_slot_of(s->v[n]) == con_slot_of(s->v[from]))
		n++;
	return n - from;
}

static void parts(struct grp_recs *r, const struct grp_con *con, const struct con_set *s)
{
	uint32_t topics = 0;
	for (uint32_t i = 0; i < s->count; i += run_of(s, i))
		topics++;
	wr_uvarint(&r->w, topics + 1);
	for (uint32_t i = 0; i < s->count;) {
		uint32_t n = run_of(s, i);
		kp_wr_uuid(&r->w, &con->slots[con_slot_of(s->v[i])]->id);
		wr_uvarint(&r->w, n + 1);
		for (uint32_t end = i + n; i < end; i++)
			wr_be32(&r->w, (uint32_t)con_index_of(s->v[i]));
		wr_uvarint(&r->w, 0);
	}
}

static void epoch(struct grp_recs *r, const struct grp *g, enum rec_kind kind, int32_t n)
{
	key(r, g, kind, KSTR_NULL);
	struct grp_mark m = value(r);
	wr_be32(&r->w, (uint32_t)n);
	value_end(r, m);
}

/* ClassicMemberMetadata, which may be null. */
static void classic_metadata(struct wr *w, const struct con_member *m)
{
	kp_wr_maybe(w, 1);
	wr_be32(w, (uint32_t)m->session_ms);
	wr_uvarint(w, (uint64_t)m->classic->count + 1);
	for (int32_t i = 0; i < m->classic->count; i++) {
		kp_wr_string(w, true, false, m->classic->v[i].name);
		kp_wr_bytes(w, true, false, m->classic->v[i].metadata);
		wr_uvarint(w, 0);
	}
	wr_uvarint(w, 0);
}

static void subscription(struct grp_recs *r, const struct con_member *m)
{
	key(r, m->group, REC_CON_MEMBER, m->id);
	struct grp_mark v = value(r);
	str(r, m->instance, true);
	str(r, m->rack, true);
	str(r, m->client_id, false);
	str(r, m->client_host, false);
	uint32_t n = m->names ? m->names->count : 0;
	wr_uvarint(&r->w, n + 1);
	for (uint32_t i = 0; i < n; i++)
		str(r, m->names->v[i], false);
	str(r, m->regex, true);
	wr_be32(&r->w, (uint32_t)m->rebalance_ms);
	str(r, m->assignor, true);
	if (!m->classic) {
		value_end(r, v);
		return;
	}
	struct wr size = {.full = true};
	classic_metadata(&size, m);
	wr_uvarint(&r->w, 1); /* tagged fields */
	wr_uvarint(&r->w, 0); /* its tag */
	wr_uvarint(&r->w, size.need);
	classic_metadata(&r->w, m);
	grp_rec_end(&r->w, v);
}

static void target(struct grp_recs *r, const struct con_member *m)
{
	key(r, m->group, REC_CON_TARGET, m->id);
	struct grp_mark v = value(r);
	parts(r, m->group->con, &m->target);
	value_end(r, v);
}

static void current(struct grp_recs *r, const struct con_member *m)
{
	key(r, m->group, REC_CON_CURRENT, m->id);
	struct grp_mark v = value(r);
	wr_be32(&r->w, (uint32_t)m->epoch);
	wr_be32(&r->w, (uint32_t)m->prev_epoch);
	wr_u8(&r->w, (uint8_t)m->state);
	parts(r, m->group->con, &m->assigned);
	parts(r, m->group->con, &m->revoking);
	value_end(r, v);
}

static void drop_member(struct grp_recs *r, const struct grp *g, struct kstr id)
{
	drop(r, g, REC_CON_CURRENT, id);
	drop(r, g, REC_CON_TARGET, id);
	drop(r, g, REC_CON_MEMBER, id);
}

void con_rec_member_drop(struct grp_recs *r, const struct con_member *m)
{
	drop_member(r, m->group, m->id);
}

static void drop_gone(struct grp_recs *r, const struct grp *g)
{
	list_for_each (it, &g->con->gone)
		drop_member(r, g, list_entry(it, struct con_gone, node)->id);
}

/*
 * What is to be written goes out in pieces that fit a write each: those from step `from` on, to
 * before step `to`. A step is a record, or the three tombstones of a member.
 */
struct piece {
	uint32_t at, from, to;
	bool cut; /* still to be found out where it ends */
};

/* Whether the next step belongs to the piece. */
static bool mine(struct piece *p)
{
	uint32_t i = p->at++;
	return i >= p->from && i < p->to;
}

/* After a step: the piece ends before it if it has become too large. */
static void cut(struct piece *p, const struct grp_recs *r, const struct grp *g)
{
	size_t len = r->w.need + (size_t)r->count * GRP_RECORD_OVERHEAD;
	if (p->cut && p->at - 1 > p->from && len > g->core->cfg.max_write_bytes)
		p->to = p->at - 1;
}

typedef void member_fn(struct grp_recs *r, const struct con_member *m);

static void step(struct grp_recs *r, struct piece *p, const struct con_member *m, member_fn *fn)
{
	if (!mine(p))
		return;
	fn(r, m);
	cut(p, r, m->group);
}

static void group_step(
	struct grp_recs *r, struct piece *p, const struct grp *g, enum rec_kind kind, int32_t n)
{
	if (!mine(p))
		return;
	if (kind == REC_GROUP)
		grp_rec_group_drop(r, g);
	else
		epoch(r, g, kind, n);
	cut(p, r, g);
}

/* In Kafka's order: a member's subscription first, and of one that leaves it last. */
static void fill(struct grp_recs *r, struct grp *g, void *arg)
{
	const struct grp_con *con = g->con;
	struct piece *p = arg;
	p->at = 0;
	if (con->drop_classic)
		group_step(r, p, g, REC_GROUP, 0);
	list_for_each (it, &con->gone) {
		if (!mine(p))
			continue;
		drop_member(r, g, list_entry(it, struct con_gone, node)->id);
		cut(p, r, g);
	}
	list_for_each (it, &con->members) {
		const struct con_member *m = list_entry(it, struct con_member, node);
		if (m->write_subscription)
			step(r, p, m, subscription);
	}
	if (con->write_epoch)
		group_step(r, p, g, REC_CON_GROUP, con->epoch);
	list_for_each (it, &con->members) {
		const struct con_member *m = list_entry(it, struct con_member, node);
		if (m->write_target)
			step(r, p, m, target);
	}
	if (con->write_target_epoch)
		group_step(r, p, g, REC_CON_TARGET_EPOCH, con->target_epoch);
	list_for_each (it, &con->members) {
		const struct con_member *m = list_entry(it, struct con_member, node);
		if (m->write_current)
			step(r, p, m, current);
	}
}

void con_rec_drop(struct grp_recs *r, const struct grp *g)
{
	drop_gone(r, g);
	drop(r, g, REC_CON_TARGET_EPOCH, KSTR_NULL);
	drop(r, g, REC_CON_GROUP, KSTR_NULL);
}

/* ---- writes ---- */

static void mark_all(struct grp_con *con, bool yes)
{
	con->write_epoch = con->write_target_epoch = yes;
	con->drop_classic = yes && con->was_classic;
	list_for_each (it, &con->members) {
		struct con_member *m = list_entry(it, struct con_member, node);
		m->write_subscription = m->write_target = m->write_current = yes;
		m->described |= !yes;
	}
}

static void sent(struct grp_con *con)
{
	struct grp_core *c = con->group->core;
	struct list *n;
	mark_all(con, false);
	while ((n = list_pop_front(&con->gone))) {
		struct con_gone *gone = list_entry(n, struct con_gone, node);
		grp_str_free(c, &gone->id);
		grp_mem_put(c, gone);
	}
}

static bool anything(const struct grp_con *con)
{
	if (con->drop_classic || con->write_epoch || con->write_target_epoch ||
		!list_empty(&con->gone))
		return true;
	list_for_each (it, &con->members) {
		const struct con_member *m = list_entry(it, struct con_member, node);
		if (m->write_subscription || m->write_target || m->write_current)
			return true;
	}
	return false;
}

/* The next piece, sent; 0: it could not be, -1: there is none. */
static int flush_piece(struct grp *g, struct piece *p, struct grp_now now)
{
	struct grp_recs size = {.w = {.full = true}};
	int16_t e;
	*p = (struct piece){.from = p->to, .to = UINT32_MAX, .cut = true};
	fill(&size, g, p);
	p->to = min_of(p->to, p->at);
	p->cut = false;
	if (p->from == p->to)
		return -1;
	struct grp_write *w = grp_write_new(g, GRP_W_CON, fill, p, now, &e);
	if (!w)
		return 0;
	w->generation = g->con->life;
	g->con->sent++;
	grp_write_send(w);
	return 1;
}

/* What could not be sent is tried again with all that was. */
bool con_flush(struct grp *g, struct grp_now now)
{
	struct piece p = {0};
	int sent_one = -1;
	if (!anything(g->con))
		return true;
	while ((sent_one = flush_piece(g, &p, now)) > 0)
		;
	if (sent_one == 0)
		return false;
	sent(g->con);
	return true;
}

void con_reply_later(struct grp *g, struct con_reply *r)
{
	struct grp_core *c = g->core;
	r->after = g->con->sent;
	c->stats.parked++;
	list_push_back(&g->con->replies, &r->node);
	if (g->con->done == g->con->sent)
		con_reply_send(c, r, KE_NONE);
}

static void make_error(struct con_reply *r, int16_t error)
{
	switch (r->kind) {
	case CON_R_HEARTBEAT:
		kp_default_consumer_group_heartbeat_response(&r->res);
		r->res.error_code = error;
		return;
	case CON_R_SYNC:
		kp_default_sync_group_response(&r->sync);
		r->sync.error_code = error;
		return;
	case CON_R_JOIN:
		break; /* has an id in any case */
	}
}

void con_reply_send(struct grp_core *c, struct con_reply *r, int16_t error)
{
	list_remove(&r->node);
	c->stats.parked--;
	if (error)
		make_error(r, error);
	if (error && r->kind == CON_R_JOIN)
		grp_reply_join_error(c, r->token, r->join.member_id, error);
	else
		c->sink.reply(c->sink.ctx, r->token, &r->res);
	grp_mem_put(c, r);
}

/*
 * What could not be written is written again, with the next change. Writes behind the failed one
 * build on it, so that what waits for these is refused too; members ask again.
 */
void con_written(struct grp *g, const struct grp_write *w, int16_t error)
{
	struct grp_con *con = g->con;
	if (!con || con->life != w->generation)
		return; /* the group has ended, or is of the classic protocol by now, or was */
	con->done++;
	if (error)
		mark_all(con, true);
	while (!list_empty(&con->replies)) {
		struct con_reply *r = list_entry(list_front(&con->replies), struct con_reply, node);
		if (!error && r->after > con->done)
			return;
		con_reply_send(g->core, r, grp_append_error(error, false));
	}
}

/* ---- to the classic protocol ---- */

static void fill_drop(struct grp_recs *r, struct grp *g, void *arg)
{
	con_rec_drop(r, g);
}

void con_make_classic(struct grp *g, struct grp_now now)
{
	int16_t e;
	CHECK(g->state == GRP_EMPTY);
	con_flush(g, now); /* tombstones of members that have just left */
	int32_t generation = g->con->epoch;
	struct grp_write *w = grp_write_new(g, GRP_W_DROP, fill_drop, NULL, now, &e);
	con_end(g, KE_UNKNOWN_MEMBER_ID);
	g->generation = generation;
	if (w)
		grp_write_send(w);
}
