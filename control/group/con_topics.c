/* SPDX-License-Identifier: Apache-2.0 */
/* Which topics members subscribe to: by name and by regular expression, as the image has them. */
#include "control/group/con.h"
#include "control/group/regex.h"

int16_t con_regex_check(struct kstr text)
{
	struct regex *r = regex_new(text.p, (size_t)text.len);
	if (!r)
		return KE_INVALID_REGULAR_EXPRESSION;
	regex_free(r);
	return KE_NONE;
}

/* ---- regular expressions ---- */

static struct con_names *match_all(struct grp_core *c, struct kstr text)
{
	const struct image *im = c->image;
	uint32_t n = 0, topics = im ? im->topic_count : 0;
	struct kstr *found = grp_mem_get(c, (topics + 1) * sizeof(*found));
	if (!found)
		return NULL;
	struct regex *r = regex_new(text.p, (size_t)text.len);
	for (uint32_t i = 0; r && i < topics; i++) {
		struct kstr name = im->topics[i].name;
		if (!im->topics[i].internal && regex_matches(r, name.p, (size_t)name.len))
			found[n++] = name;
	}
	regex_free(r);
	struct con_names *names = con_names_new(c, found, n);
	grp_mem_put(c, found);
	return names;
}

static struct con_regex *regex_get(struct grp_con *con, struct kstr text)
{
	struct grp_core *c = con->group->core;
	list_for_each (it, &con->regexes) {
		struct con_regex *x = list_entry(it, struct con_regex, node);
		if (kstr_equal(x->text, text))
			return x;
	}
	struct con_regex *x = grp_mem_get(c, sizeof(*x));
	if (!x)
		return NULL;
	if (!grp_str_dup(c, text, &x->text)) {
		grp_mem_put(c, x);
		return NULL;
	}
	list_push_back(&con->regexes, &x->node);
	return x;
}

/* The names that it stands for with this image; NULL: no memory. */
static const struct con_names *regex_names(struct grp_con *con, struct kstr text)
{
	struct grp_core *c = con->group->core;
	uint64_t image_epoch = c->image ? c->image->epoch : 0;
	struct con_regex *x = regex_get(con, text);
	if (!x)
		return NULL;
	x->used = true;
	if (x->names && x->image_epoch == image_epoch)
		return x->names;
	struct con_names *names = match_all(c, text);
	if (!names)
		return NULL;
	grp_mem_put(c, x->names);
	x->names = names;
	x->image_epoch = image_epoch;
	return names;
}

static void forget_unused(struct grp_con *con)
{
	struct grp_core *c = con->group->core;
	list_for_each_safe (it, &con->regexes) {
		struct con_regex *x = list_entry(it, struct con_regex, node);
		if (!x->used) {
			list_remove(&x->node);
			grp_str_free(c, &x->text);
			grp_mem_put(c, x->names);
			grp_mem_put(c, x);
			continue;
		}
		x->used = false;
	}
}

/* ---- members ---- */

static bool add_slots(
	struct grp_con *con, const struct con_names *names, uint64_t *slots, uint32_t *n)
{
	const struct image *im = con->group->core->image;
	for (uint32_t i = 0; names && im && i < names->count; i++) {
		const struct image_topic *t = image_topic_by_name(im, names->v[i]);
		if (!t)
			continue;
		uint32_t slot = con_slot_get(con, &t->id);
		if (slot == UINT32_MAX)
			return false;
		con->slots[slot]->partitions = t->partition_count;
		slots[(*n)++] = slot;
	}
	return true;
}

static bool set_slots(struct con_member *m, uint64_t *slots, uint32_t n)
{
	struct grp_core *c = m->group->core;
	uint32_t kept = 0;
	con_sort(slots, n);
	uint32_t *v = grp_mem_get(c, (n + 1) * sizeof(*v));
	if (!v)
		return false;
	for (uint32_t i = 0; i < n; i++)
		if (kept == 0 || v[kept - 1] != slots[i])
			v[kept++] = (uint32_t)slots[i];
	grp_mem_put(c, m->slots);
	m->slots = v;
	m->n_slots = kept;
	return true;
}

static bool refresh_member(struct con_member *m)
{
	struct grp_con *con = m->group->con;
	struct grp_core *c = m->group->core;
	const struct con_names *by_regex = NULL;
	if (m->regex.len > 0 && !(by_regex = regex_names(con, m->regex)))
		return false;
	size_t room = (m->names ? m->names->count : 0) + (by_regex ? by_regex->count : 0) + 1ul;
	uint64_t *slots = grp_mem_get(c, room * sizeof(*slots));
	uint32_t n = 0;
	bool ok = slots && add_slots(con, m->names, slots, &n) &&
		  add_slots(con, by_regex, slots, &n) && set_slots(m, slots, n);
	grp_mem_put(c, slots);
	return ok;
}

/* ---- the group ---- */

static uint64_t hash_of(const struct con_slot *s)
{
	uint64_t h = 14695981039346656037ull;
	for (unsigned i = 0; i < sizeof(s->id.b); i++)
		h = (h ^ s->id.b[i]) * 1099511628211ull;
	h = (h ^ (uint64_t)s->partitions) * 1099511628211ull;
	return h ^ h >> 29;
}

bool con_refresh(struct grp *g)
{
	struct grp_con *con = g->con;
	con->stale = true;
	for (uint32_t i = 0; i < con->n_slots; i++) {
		con->slots[i]->partitions = 0;
		con->slots[i]->subscribers = 0;
	}
	list_for_each (it, &con->members)
		if (!refresh_member(list_entry(it, struct con_member, node)))
			return false;
	forget_unused(con);
	list_for_each (it, &con->members) {
		const struct con_member *m = list_entry(it, struct con_member, node);
		for (uint32_t i = 0; i < m->n_slots; i++)
			con->slots[m->slots[i]]->subscribers++;
	}
	con->hash = 0;
	for (uint32_t i = 0; i < con->n_slots; i++)
		if (con->slots[i]->subscribers > 0)
			con->hash += hash_of(con->slots[i]);
	con->image_epoch = g->core->image ? g->core->image->epoch : 0;
	con->stale = false;
	return true;
}

bool con_targets_whole(const struct grp_con *con)
{
	uint64_t all = 0, targets = 0;
	for (uint32_t s = 0; s < con->n_slots; s++)
		if (con->slots[s]->subscribers > 0)
			all += (uint64_t)con->slots[s]->partitions;
	list_for_each (it, &con->members)
		targets += list_entry(it, struct con_member, node)->target.count;
	return targets == all;
}

bool con_reads(const struct grp_con *con, struct kstr topic)
{
	const struct image *im = con->group->core->image;
	const struct image_topic *t = im ? image_topic_by_name(im, topic) : NULL;
	const struct con_slot *s = t ? con_slot_find(con, &t->id) : NULL;
	return s && s->subscribers > 0 && !list_empty(&con->members);
}
