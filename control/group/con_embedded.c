/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The embedded protocol of consumers (protocol type "consumer"): what members of the classic
 * protocol say to each other through the coordinator, which has to understand it when they share a
 * group with members of the newer one.
 *
 *   ConsumerProtocolSubscription   version int16, topics []string, user data bytes,
 *                                  1: owned [](topic string, partitions []int32),
 *                                  2: generation int32, 3: rack string (null: none)
 *   ConsumerProtocolAssignment     version int16, [](topic string, partitions []int32),
 *                                  user data bytes
 */
#include "control/group/con.h"

static int32_t count(struct rd *r, uint32_t min_size)
{
	return kp_rd_count(r, false, false, min_size);
}

/* Partitions of topics by name; those that do not exist are left out. False: malformed, or no
   memory. */
static bool read_parts(struct grp_con *con, struct rd *r, struct con_set *out)
{
	struct grp_core *c = con->group->core;
	uint64_t *v = grp_mem_get(c, (rd_left(r) / 4 + 1) * sizeof(*v));
	uint32_t n = 0, kept = 0;
	*out = (struct con_set){0};
	if (!v)
		return false;
	for (int32_t topics = count(r, 6); topics > 0 && !r->bad; topics--) {
		struct kstr name = kp_rd_string(r, false, false);
		const struct image_topic *t =
			!r->bad && c->image ? image_topic_by_name(c->image, name) : NULL;
		uint32_t slot = t ? con_slot_get(con, &t->id) : UINT32_MAX;
		for (int32_t k = count(r, 4); k > 0 && !r->bad; k--) {
			int32_t p = (int32_t)rd_be32(r);
			if (slot != UINT32_MAX && p >= 0 && p < t->partition_count)
				v[n++] = con_part(slot, p);
		}
	}
	con_sort(v, n);
	for (uint32_t i = 0; i < n; i++)
		if (kept == 0 || v[kept - 1] != v[i])
			v[kept++] = v[i];
	bool ok = !r->bad && con_set_copy(c, v, kept, out);
	grp_mem_put(c, v);
	return ok;
}

static bool read_names(struct grp_core *c, struct rd *r, struct con_names **out)
{
	int32_t n = count(r, 2);
	struct kstr *v = grp_mem_get(c, ((size_t)max_of(n, 0) + 1) * sizeof(*v));
	if (!v)
		return false;
	for (int32_t i = 0; i < n; i++)
		v[i] = kp_rd_string(r, false, false);
	*out = r->bad ? NULL : con_names_new(c, v, (uint32_t)max_of(n, 0));
	grp_mem_put(c, v);
	return *out != NULL;
}

int16_t con_offer_read(struct grp_con *con, struct kbytes metadata, struct con_offer *out)
{
	struct rd r = rd_of(metadata.p, metadata.len > 0 ? (size_t)metadata.len : 0);
	int16_t version = (int16_t)rd_be16(&r);
	*out = (struct con_offer){.rack = KSTR_NULL};
	if (r.bad || version < 0)
		return KE_INCONSISTENT_GROUP_PROTOCOL;
	bool ok = read_names(con->group->core, &r, &out->names);
	kp_rd_bytes(&r, false, true);
	if (ok && version >= 1)
		ok = read_parts(con, &r, &out->owned);
	if (version >= 2)
		rd_be32(&r);
	if (version >= 3)
		out->rack = kp_rd_string(&r, false, true);
	if (r.bad)
		return KE_INCONSISTENT_GROUP_PROTOCOL;
	return ok ? KE_NONE : KE_COORDINATOR_NOT_AVAILABLE;
}

void con_offer_free(struct grp_core *c, struct con_offer *o)
{
	grp_mem_put(c, o->names);
	con_set_free(c, &o->owned);
	o->names = NULL;
}

bool con_assignment_read(struct grp_con *con, struct kbytes b, struct con_set *out)
{
	struct rd r = rd_of(b.p, b.len > 0 ? (size_t)b.len : 0);
	*out = (struct con_set){0};
	rd_be16(&r);
	if (r.bad)
		return true; /* it has none */
	return read_parts(con, &r, out) || r.bad;
}

static uint32_t run_of(const struct con_set *s, uint32_t from)
{
	uint32_t n = from;
	while (n < s->count && con_slot_of(s->v[n]) == con_slot_of(s->v[from]))
		n++;
	return n - from;
}

static const struct image_topic *topic_of(const struct grp_con *con, uint64_t part)
{
	const struct image *im = con->group->core->image;
	return im ? image_topic_by_id(im, &con->slots[con_slot_of(part)]->id) : NULL;
}

void con_assignment_write(const struct grp_con *con, const struct con_set *s, struct wr *w)
{
	uint32_t topics = 0;
	for (uint32_t i = 0; i < s->count; i += run_of(s, i))
		topics += topic_of(con, s->v[i]) != NULL;
	wr_be16(w, 0);
	wr_be32(w, topics);
	for (uint32_t i = 0; i < s->count;) {
		const struct image_topic *t = topic_of(con, s->v[i]);
		uint32_t n = run_of(s, i), end = i + n;
		if (t) {
			kp_wr_string(w, false, false, t->name);
			wr_be32(w, n);
		}
		for (; i < end; i++)
			if (t)
				wr_be32(w, (uint32_t)con_index_of(s->v[i]));
	}
	wr_be32(w, UINT32_MAX); /* no user data */
}
