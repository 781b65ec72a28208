/* SPDX-License-Identifier: Apache-2.0 */
#include "control/group/record.h"

#include "base/check.h"

enum {
	KEY_OFFSET = 1,
	KEY_GROUP = 2,
	KEY_CON_GROUP = 3,
	KEY_CON_MEMBER = 5,
	KEY_CON_TARGET_EPOCH = 6,
	KEY_CON_TARGET = 7,
	KEY_CON_CURRENT = 8,
	OFFSET_VALUE_EXPIRES = 1, /* the version that has a time to expire at */
	VALUE_MAX = 3,
};

static struct kstr rd_str(struct rd *r, bool nullable)
{
	return kp_rd_string(r, false, nullable);
}

/* Keys of consumer groups; 0: not one. */
static const int16_t con_keys[] = {
	[REC_CON_GROUP] = KEY_CON_GROUP,
	[REC_CON_MEMBER] = KEY_CON_MEMBER,
	[REC_CON_TARGET_EPOCH] = KEY_CON_TARGET_EPOCH,
	[REC_CON_TARGET] = KEY_CON_TARGET,
	[REC_CON_CURRENT] = KEY_CON_CURRENT,
};

static bool names_member(enum rec_kind kind)
{
	return kind == REC_CON_MEMBER || kind == REC_CON_TARGET || kind == REC_CON_CURRENT;
}

static bool con_key_read(struct rd *r, int16_t version, struct rec_key *out)
{
	for (size_t i = REC_CON_GROUP; i < array_size(con_keys); i++)
		if (con_keys[i] == version)
			out->kind = (enum rec_kind)i;
	if (out->kind == REC_UNKNOWN)
		return true;
	out->group = rd_str(r, false);
	if (names_member(out->kind))
		out->member = rd_str(r, false);
	return !r->bad;
}

bool rec_key_read(struct kbytes key, struct rec_key *out)
{
	struct rd r = rd_of(key.p, key.len > 0 ? (size_t)key.len : 0);
	int16_t version = (int16_t)rd_be16(&r);
	*out = (struct rec_key){.kind = REC_UNKNOWN};
	if (r.bad || version < 0)
		return false;
	if (version > KEY_GROUP)
		return con_key_read(&r, version, out);
	out->group = rd_str(&r, false);
	if (version == KEY_GROUP) {
		out->kind = REC_GROUP;
		return !r.bad;
	}
	out->kind = REC_OFFSET;
	out->topic = rd_str(&r, false);
	out->partition = (int32_t)rd_be32(&r);
	return !r.bad && out->partition >= 0;
}

bool rec_offset_read(struct kbytes value, struct rec_offset *out)
{
	struct rd r = rd_of(value.p, value.len > 0 ? (size_t)value.len : 0);
	int16_t version = (int16_t)rd_be16(&r);
	if (version < 0 || version > VALUE_MAX)
		return false;
	*out = (struct rec_offset){.leader_epoch = -1, .expire_ms = -1};
	out->offset = (int64_t)rd_be64(&r);
	if (version >= 3)
		out->leader_epoch = (int32_t)rd_be32(&r);
	out->metadata = rd_str(&r, false);
	out->commit_ms = (int64_t)rd_be64(&r);
	if (version == OFFSET_VALUE_EXPIRES)
		out->expire_ms = (int64_t)rd_be64(&r);
	return !r.bad;
}

static void member_read(struct rd *r, int16_t version, struct rec_member *m)
{
	*m = (struct rec_member){.instance = KSTR_NULL};
	m->id = rd_str(r, false);
	if (version >= 3)
		m->instance = rd_str(r, true);
	m->client_id = rd_str(r, false);
	m->client_host = rd_str(r, false);
	int32_t rebalance_ms = version >= 1 ? (int32_t)rd_be32(r) : -1;
	m->session_ms = (int32_t)rd_be32(r);
	m->rebalance_ms = version >= 1 ? rebalance_ms : m->session_ms;
	m->subscription = kp_rd_bytes(r, false, false);
	m->assignment = kp_rd_bytes(r, false, false);
}

bool rec_group_read(struct kbytes value, struct rec_group *out)
{
	struct rd r = rd_of(value.p, value.len > 0 ? (size_t)value.len : 0);
	int16_t version = (int16_t)rd_be16(&r);
	if (version < 0 || version > VALUE_MAX)
		return false;
	*out = (struct rec_group){.version = version, .state_ms = -1};
	out->protocol_type = rd_str(&r, false);
	out->generation = (int32_t)rd_be32(&r);
	out->protocol = rd_str(&r, true);
	out->leader = rd_str(&r, true);
	if (version >= 2)
		out->state_ms = (int64_t)rd_be64(&r);
	out->member_count = kp_rd_count(&r, false, false, 18);
	out->left = out->member_count;
	out->members = r;
	struct rec_member m;
	for (int32_t i = 0; i < out->member_count && !r.bad; i++)
		member_read(&r, version, &m);
	return !r.bad && out->generation >= 0;
}

bool rec_member_next(struct rec_group *g, struct rec_member *out)
{
	if (g->left <= 0)
		return false;
	g->left--;
	member_read(&g->members, g->version, out);
	return !g->members.bad;
}

static void wr_str(struct wr *w, struct kstr s, bool nullable)
{
	kp_wr_string(w, false, nullable, s);
}

void rec_offset_key_write(struct wr *w, struct kstr group, struct kstr topic, int32_t partition)
{
	wr_be16(w, KEY_OFFSET);
	wr_str(w, group, false);
	wr_str(w, topic, false);
	wr_be32(w, (uint32_t)partition);
}

void rec_offset_write(struct wr *w, const struct rec_offset *o)
{
	int16_t version = o->expire_ms >= 0 ? OFFSET_VALUE_EXPIRES : VALUE_MAX;
	wr_be16(w, (uint16_t)version);
	wr_be64(w, (uint64_t)o->offset);
	if (version >= 3)
		wr_be32(w, (uint32_t)o->leader_epoch);
	wr_str(w, o->metadata, false);
	wr_be64(w, (uint64_t)o->commit_ms);
	if (version == OFFSET_VALUE_EXPIRES)
		wr_be64(w, (uint64_t)o->expire_ms);
}

void rec_group_key_write(struct wr *w, struct kstr group)
{
	wr_be16(w, KEY_GROUP);
	wr_str(w, group, false);
}

void rec_group_write(struct wr *w, const struct rec_group *g)
{
	wr_be16(w, VALUE_MAX);
	wr_str(w, g->protocol_type, false);
	wr_be32(w, (uint32_t)g->generation);
	wr_str(w, g->protocol, true);
	wr_str(w, g->leader, true);
	wr_be64(w, (uint64_t)g->state_ms);
	wr_be32(w, (uint32_t)g->member_count);
}

void rec_member_write(struct wr *w, const struct rec_member *m)
{
	wr_str(w, m->id, false);
	wr_str(w, m->instance, true);
	wr_str(w, m->client_id, false);
	wr_str(w, m->client_host, false);
	wr_be32(w, (uint32_t)m->rebalance_ms);
	wr_be32(w, (uint32_t)m->session_ms);
	kp_wr_bytes(w, false, false, m->subscription);
	kp_wr_bytes(w, false, false, m->assignment);
}

void rec_con_key_write(struct wr *w, enum rec_kind kind, struct kstr group, struct kstr member)
{
	wr_be16(w, (uint16_t)con_keys[kind]);
	wr_str(w, group, false);
	if (names_member(kind))
		wr_str(w, member, false);
}
