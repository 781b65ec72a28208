/* SPDX-License-Identifier: Apache-2.0 */
/* ConsumerGroupHeartbeat: members come, stay, change, and go. */
#include <stdio.h>

#include "control/group/con.h"

struct beat {
	struct grp_core *c;
	struct grp_now now;
	void *token;
	int16_t version;
	const struct grp_client *client;
	const struct kp_consumer_group_heartbeat_request *req;
	struct kstr member_id;
	char made_id[40];
	struct grp *g;
	struct con_member *m;
	struct con_set owned; /* as the member says */
	bool said_owned;
	bool changed; /* a new group epoch is needed */
};

/* ---- validation ---- */

static int16_t validate(const struct beat *b)
{
	const struct kp_consumer_group_heartbeat_request *q = b->req;
	bool needs_id = b->version >= 1 || q->member_epoch != 0;
	if (q->group_id.len <= 0 || (needs_id && q->member_id.len <= 0) ||
		q->instance_id.len == 0 || q->rack_id.len == 0 ||
		q->member_epoch < CON_EPOCH_LEAVE_STATIC)
		return KE_INVALID_REQUEST;
	if (q->member_epoch == CON_EPOCH_LEAVE_STATIC && q->instance_id.len < 0)
		return KE_INVALID_REQUEST;
	if (q->member_epoch == 0 &&
		(q->rebalance_timeout_ms < 0 || q->n_topic_partitions != 0 ||
			(q->n_subscribed_topic_names < 0 && q->subscribed_topic_regex.len < 0)))
		return KE_INVALID_REQUEST;
	if (q->server_assignor.len >= 0 && !con_assignor_known(q->server_assignor))
		return KE_UNSUPPORTED_ASSIGNOR;
	if (q->subscribed_topic_regex.len > 0)
		return con_regex_check(q->subscribed_topic_regex);
	return KE_NONE;
}

/* What the member says it owns; topics that the group does not know it cannot have got from us. */
static bool read_owned(struct beat *b)
{
	const struct kp_consumer_group_heartbeat_request *q = b->req;
	size_t room = 1;
	uint32_t n = 0;
	b->said_owned = q->n_topic_partitions >= 0;
	for (int32_t i = 0; i < q->n_topic_partitions; i++)
		room += (size_t)max_of(q->topic_partitions[i].n_partitions, 0);
	uint64_t *v = grp_mem_get(b->c, room * sizeof(*v));
	if (!v)
		return false;
	for (int32_t i = 0; i < q->n_topic_partitions; i++) {
		const struct kp_consumer_group_heartbeat_request_topic_partitions *t =
			&q->topic_partitions[i];
		const struct con_slot *s = con_slot_find(b->g->con, &t->topic_id);
		for (int32_t k = 0; s && k < t->n_partitions; k++)
			if (t->partitions[k] >= 0)
				v[n++] = con_part(s->number, t->partitions[k]);
	}
	con_sort(v, n);
	b->owned = (struct con_set){.v = v, .count = n};
	return true;
}

static int16_t check_epoch(const struct beat *b, const struct con_member *m)
{
	int32_t epoch = b->req->member_epoch;
	if (epoch == m->epoch)
		return KE_NONE;
	/* the answer with the newer epoch was lost */
	bool was_lost = epoch == m->prev_epoch && epoch < m->epoch && b->said_owned &&
			con_set_within(&b->owned, &m->assigned);
	return was_lost ? KE_NONE : KE_FENCED_MEMBER_EPOCH;
}

/* ---- members ---- */

static bool is_full(struct beat *b)
{
	return b->g->con->by_id.count >= (uint32_t)b->c->cfg.consumer_max_size;
}

static int16_t replace_static(struct beat *b, struct con_member *old)
{
	/* one of the classic protocol does not say when it goes for a while */
	if (old->epoch != CON_EPOCH_LEAVE_STATIC && !old->classic)
		return KE_UNRELEASED_INSTANCE_ID;
	b->changed = true; /* it may want something else than the old one */
	b->m = con_member_replace(old, b->member_id);
	return b->m ? KE_NONE : KE_COORDINATOR_NOT_AVAILABLE;
}

static int16_t add_member(struct beat *b)
{
	if (is_full(b))
		return KE_GROUP_MAX_SIZE_REACHED;
	b->m = con_member_new(b->g, b->member_id, b->req->instance_id);
	if (!b->m)
		return KE_COORDINATOR_NOT_AVAILABLE;
	b->changed = true;
	return KE_NONE;
}

static int16_t find_dynamic(struct beat *b)
{
	b->m = con_member_find(b->g->con, b->member_id);
	if (b->req->member_epoch == 0)
		return b->m ? KE_NONE : add_member(b);
	if (!b->m || b->m->classic)
		return KE_UNKNOWN_MEMBER_ID;
	return check_epoch(b, b->m);
}

static int16_t find_static(struct beat *b)
{
	struct con_member *m = con_member_static(b->g->con, b->req->instance_id);
	bool same = m && kstr_equal(m->id, b->member_id);
	if (b->req->member_epoch == 0) {
		if (m && !same)
			return replace_static(b, m);
		b->m = m;
		/* an id that another member has is nobody's instance */
		if (!m && con_member_find(b->g->con, b->member_id))
			return KE_INVALID_REQUEST;
		return m ? KE_NONE : add_member(b);
	}
	if (!m || (same && m->classic))
		return KE_UNKNOWN_MEMBER_ID;
	if (!same)
		return KE_FENCED_INSTANCE_ID;
	b->m = m;
	return check_epoch(b, m);
}

static int set_names(struct beat *b)
{
	const struct kp_consumer_group_heartbeat_request *q = b->req;
	if (q->n_subscribed_topic_names < 0)
		return 0;
	return con_set_names(
		b->m, q->subscribed_topic_names, (uint32_t)q->n_subscribed_topic_names);
}

static bool update_member(struct beat *b)
{
	const struct kp_consumer_group_heartbeat_request *q = b->req;
	struct con_member *m = b->m;
	int names = set_names(b);
	int regex = con_set_text(b->c, &m->regex, q->subscribed_topic_regex);
	int assignor = con_set_text(b->c, &m->assignor, q->server_assignor);
	int rest[] = {
		con_set_text(b->c, &m->rack, q->rack_id),
		con_set_text(b->c, &m->client_id, b->client->id),
		con_set_text(b->c, &m->client_host, b->client->host),
		0,
	};
	if (q->rebalance_timeout_ms >= 0 && q->rebalance_timeout_ms != m->rebalance_ms) {
		m->rebalance_ms = q->rebalance_timeout_ms;
		rest[3] = 1;
	}
	bool failed = names < 0 || regex < 0 || assignor < 0, other = false;
	for (unsigned i = 0; i < array_size(rest); i++) {
		failed |= rest[i] < 0;
		other |= rest[i] > 0;
	}
	b->changed |= names > 0 || regex > 0 || assignor > 0;
	m->write_subscription |= names > 0 || regex > 0 || assignor > 0 || other || !m->described;
	return !failed;
}

/* ---- the answer ---- */

static uint32_t count_topics(const struct con_set *s)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < s->count; i++)
		n += i == 0 || con_slot_of(s->v[i]) != con_slot_of(s->v[i - 1]);
	return n;
}

/* Room for the assignment, in one allocation with the answer. */
static struct con_reply *reply_new(struct beat *b, const struct con_set *assigned)
{
	typedef struct kp_consumer_group_heartbeat_response_topic_partitions topic_t;
	uint32_t topics = assigned ? count_topics(assigned) : 0;
	uint32_t parts = assigned ? assigned->count : 0;
	struct con_reply *r =
		grp_mem_get(b->c, sizeof(*r) + topics * sizeof(topic_t) + parts * sizeof(int32_t));
	if (!r)
		return NULL;
	r->token = b->token;
	r->kind = CON_R_HEARTBEAT;
	kp_default_consumer_group_heartbeat_response(&r->res);
	if (!assigned)
		return r;
	topic_t *t = (topic_t *)(r + 1);
	int32_t *p = (int32_t *)(t + topics);
	r->res.assignment = &r->assignment;
	r->res.n_assignment = 1;
	r->assignment.topic_partitions = t;
	for (uint32_t i = 0; i < parts; i++) {
		uint32_t slot = con_slot_of(assigned->v[i]);
		if (i == 0 || slot != con_slot_of(assigned->v[i - 1])) {
			t[r->assignment.n_topic_partitions++] =
				(topic_t){.topic_id = b->g->con->slots[slot]->id, .partitions = p};
		}
		*p++ = con_index_of(assigned->v[i]);
		t[r->assignment.n_topic_partitions - 1].n_partitions++;
	}
	return r;
}

static void refuse(struct beat *b, int16_t error)
{
	struct kp_consumer_group_heartbeat_response res;
	kp_default_consumer_group_heartbeat_response(&res);
	res.error_code = error;
	b->c->sink.reply(b->c->sink.ctx, b->token, &res);
}

/* A heartbeat that says everything is told everything. */
static bool says_all(const struct beat *b)
{
	const struct kp_consumer_group_heartbeat_request *q = b->req;
	return q->member_epoch == 0 ||
	       (q->rebalance_timeout_ms >= 0 && b->said_owned &&
		       (q->n_subscribed_topic_names >= 0 || q->subscribed_topic_regex.len >= 0));
}

static int16_t answer(struct beat *b, int32_t epoch, const struct con_set *assigned)
{
	struct con_reply *r = reply_new(b, assigned);
	if (!r)
		return KE_COORDINATOR_NOT_AVAILABLE;
	struct kstr id = b->member_id;
	if (id.p == b->made_id) {
		memcpy(r->id, b->made_id, sizeof(r->id));
		id.p = r->id;
	}
	r->res.member_id = id;
	r->res.member_epoch = epoch;
	r->res.heartbeat_interval_ms = b->c->cfg.consumer_heartbeat_ms;
	con_reply_later(b->g, r);
	return KE_NONE;
}

/* ---- a member that stays ---- */

/* The group with this id, as one of this protocol; for a member that joins it is made. */
static int16_t open_group(struct beat *b)
{
	b->g = grp_get(b->c, b->req->group_id);
	if (b->req->member_epoch != 0)
		return b->g && b->g->con ? KE_NONE : KE_GROUP_ID_NOT_FOUND;
	if (!b->g)
		b->g = grp_new(b->c, b->req->group_id, b->now);
	if (!b->g)
		return KE_COORDINATOR_NOT_AVAILABLE;
	return b->g->con ? KE_NONE : con_upgrade(b->g, b->now);
}

int16_t con_follow(struct grp *g, bool changed)
{
	struct grp_con *con = g->con;
	const struct image *im = g->core->image;
	uint64_t image_epoch = im ? im->epoch : 0, hash = con->hash;
	con->stale |= changed;
	if (con->stale || con->image_epoch != image_epoch) {
		if (!con_refresh(g))
			return KE_COORDINATOR_NOT_AVAILABLE;
		if (changed || con->hash != hash)
			con_bump(con);
	}
	if (con->epoch != con->target_epoch && !con_assign(g))
		return KE_COORDINATOR_NOT_AVAILABLE;
	return KE_NONE;
}

static int16_t stay(struct beat *b)
{
	int16_t e = b->req->instance_id.len >= 0 ? find_static(b) : find_dynamic(b);
	if (e)
		return e;
	struct con_member *m = b->m;
	if (m->classic) { /* the same member, of the newer protocol now */
		con_member_classic(m, NULL);
		m->write_subscription = b->changed = true;
	}
	con_session_restart(m, b->now);
	if (b->req->member_epoch == 0 && m->epoch != 0) {
		m->epoch = 0; /* begins anew, and has nothing that it would have to give up */
		m->write_current = true;
	}
	struct con_set before;
	if (!update_member(b) || !con_set_copy(b->c, m->assigned.v, m->assigned.count, &before))
		return KE_COORDINATOR_NOT_AVAILABLE;
	e = con_follow(b->g, b->changed);
	if (!e && !con_reconcile(m, b->said_owned ? &b->owned : NULL, b->now))
		e = KE_COORDINATOR_NOT_AVAILABLE;
	bool tell = says_all(b) || !con_set_equal(&before, &m->assigned);
	con_set_free(b->c, &before);
	con_state_follow(b->g, b->now);
	if (!con_flush(b->g, b->now))
		e = KE_COORDINATOR_NOT_AVAILABLE;
	return e ? e : answer(b, m->epoch, tell ? &m->assigned : NULL);
}

/* ---- a member that goes ---- */

static int16_t leave(struct beat *b)
{
	const struct kp_consumer_group_heartbeat_request *q = b->req;
	struct con_member *m = con_member_find(b->g->con, b->member_id);
	if (q->instance_id.len >= 0) {
		struct con_member *holder = con_member_static(b->g->con, q->instance_id);
		if (!holder)
			return KE_UNKNOWN_MEMBER_ID;
		if (holder != m)
			return KE_FENCED_INSTANCE_ID;
	}
	if (!m || m->classic)
		return KE_UNKNOWN_MEMBER_ID;
	if (q->member_epoch == CON_EPOCH_LEAVE) {
		con_member_gone(m, b->now);
		if (con_downgrade_maybe(b->g, b->now)) {
			struct kp_consumer_group_heartbeat_response res;
			kp_default_consumer_group_heartbeat_response(&res);
			res.member_id = b->member_id;
			res.member_epoch = q->member_epoch;
			res.heartbeat_interval_ms = b->c->cfg.consumer_heartbeat_ms;
			b->c->sink.reply(b->c->sink.ctx, b->token, &res);
			return KE_NONE;
		}
	} else {
		m->prev_epoch = m->epoch = CON_EPOCH_LEAVE_STATIC; /* it keeps what it has */
		m->write_current = true;
		con_session_restart(m, b->now);
	}
	if (!con_flush(b->g, b->now))
		return KE_COORDINATOR_NOT_AVAILABLE;
	return answer(b, q->member_epoch, NULL);
}

/* ---- the request ---- */

static void make_id(struct beat *b, const uint8_t random[GRP_RANDOM_SIZE])
{
	size_t n = 0;
	for (unsigned i = 0; i < GRP_RANDOM_SIZE; i++) {
		uint8_t x = random[i];
		x = i == 6   ? (uint8_t)((x & 0x0f) | 0x40)
		    : i == 8 ? (uint8_t)((x & 0x3f) | 0x80)
			     : x;
		n += (size_t)snprintf(b->made_id + n, sizeof(b->made_id) - n, "%02x", x);
		if (i == 3 || i == 5 || i == 7 || i == 9)
			b->made_id[n++] = '-';
	}
	b->member_id = (struct kstr){.p = b->made_id, .len = (int32_t)n};
}

static int16_t heartbeat(struct beat *b)
{
	int16_t e = validate(b);
	if (!e)
		e = grp_admit(b->c, b->req->group_id);
	if (!e)
		e = open_group(b);
	if (e)
		return e;
	if (!read_owned(b))
		return KE_COORDINATOR_NOT_AVAILABLE;
	return b->req->member_epoch < 0 ? leave(b) : stay(b);
}

void grp_consumer_heartbeat(struct grp_core *c, struct grp_now now, void *token, int16_t version,
	const struct grp_client *client, const uint8_t random[GRP_RANDOM_SIZE],
	const struct kp_consumer_group_heartbeat_request *req)
{
	struct beat b = {
		.c = c,
		.now = now,
		.token = token,
		.version = version,
		.client = client,
		.req = req,
		.member_id = req->member_id,
	};
	if (req->member_id.len <= 0 && version == 0 && req->member_epoch == 0)
		make_id(&b, random);
	int16_t e = heartbeat(&b);
	con_set_free(c, &b.owned);
	if (e)
		refuse(&b, e);
}

int16_t con_validate(const struct grp *g, struct kstr member_id, int32_t epoch)
{
	const struct con_member *m = con_member_find(g->con, member_id);
	if (!m)
		return KE_UNKNOWN_MEMBER_ID;
	if (epoch == m->epoch)
		return KE_NONE;
	return m->classic ? KE_ILLEGAL_GENERATION : KE_STALE_MEMBER_EPOCH;
}
