/* SPDX-License-Identifier: Apache-2.0 */
/* What was told to members, and what must be true at every step and in the end. */
#include <string.h>

#include "control/group/group_int.h"
#include "gs.h"

/* A static member may come back with another id: it is the same owner. */
static uint64_t owner_of(const struct gs_call *call)
{
	uint64_t h = 14695981039346656037ull;
	const char *s = call->m->instance[0] ? call->m->instance : call->id;
	for (; *s; s++)
		h = (h ^ (uint8_t)*s) * 1099511628211ull;
	return h | 1;
}

static const struct grp *group_of(const struct gs *w, uint32_t group)
{
	return grp_get(w->core, kstr_of(gs_group_name(group)));
}

void gs_book_assigned(struct gs *w, const struct gs_call *call)
{
	struct gs_book *b = &w->book[call->group];
	const struct grp *g = group_of(w, call->group);
	GS_MUST(w, g && g->generation == call->generation,
		"%s was given partitions in generation %d, the group is in another one",
		call->m->name, call->generation);
	GS_MUST(w, call->generation >= b->generation,
		"generation %d follows generation %d in group %u", call->generation, b->generation,
		call->group);
	if (call->generation > b->generation) {
		memset(b->owner, 0, sizeof(b->owner));
		b->generation = call->generation;
	}
	for (uint32_t i = 0; i < call->n_parts; i++) {
		uint64_t *o = &b->owner[call->parts[i]];
		GS_MUST(w, *o == 0 || *o == owner_of(call),
			"partition %d of group %u has two owners in generation %d", call->parts[i],
			call->group, call->generation);
		*o = owner_of(call);
	}
	w->assignments++;
}

int16_t gs_book_may_commit(struct gs *w, const struct gs_call *call)
{
	const struct grp *g = group_of(w, call->group);
	if (call->generation < 0)
		return !g || g->state == GRP_EMPTY ? KE_NONE : KE_UNKNOWN_MEMBER_ID;
	return g && g->generation == call->generation ? KE_NONE : KE_ILLEGAL_GENERATION;
}

void gs_book_committed(struct gs *w, const struct gs_call *call)
{
	w->book[call->group].committed[call->partition] = call->value;
	w->commits++;
}

void gs_book_dropped(struct gs *w, struct kbytes key)
{
	struct rec_key k;
	CHECK(rec_key_read(key, &k));
	for (uint32_t i = 0; i < GS_GROUPS; i++) {
		if (!kstr_equal(k.group, kstr_of(gs_group_name(i))))
			continue;
		if (k.kind == REC_GROUP)
			w->book[i].generation = -1;
		else
			w->book[i].committed[k.partition] = -1;
	}
}

/* Every offset that was acknowledged is there, and nothing else. */
static void check_offsets(struct gs *w, uint32_t group)
{
	const struct gs_book *b = &w->book[group];
	const struct grp *g = group_of(w, group);
	for (uint32_t p = 0; p < w->n_parts; p++) {
		const struct grp_offset *o =
			g ? grp_offset_find(g, kstr_of("t"), (int32_t)p) : NULL;
		int64_t have = o ? o->offset : -1;
		GS_MUST(w, have == b->committed[p],
			"offset %lld of partition %u in group %u was acknowledged, %lld is there",
			(long long)b->committed[p], p, group, (long long)have);
	}
}

static bool is_served(const struct gs *w, uint32_t group)
{
	return grp_admit(w->core, kstr_of(gs_group_name(group))) == KE_NONE;
}

static void check_calls(struct gs *w)
{
	if (list_empty(&w->parked))
		return;
	const struct gs_call *oldest = list_entry(list_front(&w->parked), struct gs_call, node);
	GS_MUST(w, oldest->deadline_ns >= w->now.ns,
		"%s waits for an answer to request %d for ever", oldest->m->name, oldest->api);
}

void gs_book_step(struct gs *w)
{
	struct grp_stats s = grp_core_stats(w->core);
	check_calls(w);
	GS_MUST(w, s.parked <= s.members + w->n_consumers * 8 + w->n_olds * 8,
		"more parked requests than members"); /* a heartbeat may be asked again, and doubled
						       */
	GS_MUST(w, s.members <= (uint64_t)w->cfg.max_size * (GS_GROUPS + 1),
		"more members than may be");
	for (uint32_t i = 0; i < GS_GROUPS; i++)
		if (is_served(w, i) && !group_of(w, i))
			w->book[i].generation = -1; /* one made anew counts from the beginning */
	if (++w->unchecked < w->check_every)
		return;
	w->unchecked = 0;
	grp_check(w->core);
	for (uint32_t i = 0; i < GS_GROUPS; i++)
		if (is_served(w, i))
			check_offsets(w, i);
	gs_consumers_step(w);
}

void gs_book_loaded(struct gs *w, uint32_t offsets_partition)
{
	for (uint32_t i = 0; i < GS_GROUPS; i++) {
		const struct grp *g = group_of(w, i);
		if (grp_partition_of(kstr_of(gs_group_name(i)), GS_OFFSETS_PARTS) !=
			offsets_partition)
			continue;
		GS_MUST(w, (g ? g->generation : -1) >= w->book[i].generation,
			"group %u was in generation %d before the restart, is in %d after it", i,
			w->book[i].generation, g ? g->generation : -1);
		check_offsets(w, i);
	}
}

/* ---- at rest ---- */

static void rest_group(struct gs *w, uint32_t group)
{
	const struct grp *g = group_of(w, group);
	uint32_t alive = 0, owned = 0;
	for (uint32_t i = 0; i < w->n_members; i++) {
		const struct gs_member *m = &w->members[i];
		if (m->group != group || m->state == GS_OUT)
			continue;
		alive++;
		owned += m->n_parts;
		GS_MUST(w, m->state == GS_MEMBER, "%s has not come to rest: state %d", m->name,
			m->state);
		GS_MUST(w, g && m->generation == g->generation,
			"%s is in generation %d, not in the group's", m->name, m->generation);
	}
	GS_MUST(w, (g ? g->members_by_id.count : 0) == alive,
		"group %u has %u members, %u are alive", group, g ? g->members_by_id.count : 0,
		alive);
	GS_MUST(w, alive == 0 || owned == w->n_parts,
		"%u of %u partitions of group %u have an owner", owned, w->n_parts, group);
}

void gs_book_rest(struct gs *w)
{
	grp_check(w->core);
	GS_MUST(w, grp_core_stats(w->core).parked == 0, "requests are parked in a world at rest");
	for (uint32_t i = 0; i < GS_GROUPS; i++) {
		rest_group(w, i);
		check_offsets(w, i);
	}
	gs_consumers_rest(w);
}
