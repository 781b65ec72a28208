/* SPDX-License-Identifier: Apache-2.0 */
/* An administrator: commits offsets without being a member, deletes offsets and whole groups. */
#include <stdlib.h>

#include "control/group/group_int.h"
#include "gs.h"

#define EVERY_MS 2000

static const struct grp *group_of(const struct gs *w, const struct gs_call *call)
{
	return grp_get(w->core, kstr_of(gs_group_name(call->group)));
}

static void act(struct gs *w, void *arg)
{
	if (w->healed)
		return;
	struct gs_call *call = calloc(1, sizeof(*call));
	CHECK(call);
	uint64_t what = prng_below(&w->rng, 8);
	call->generation = -1;
	call->group = what < 4 ? GS_GROUPS - 1 : (uint32_t)prng_below(&w->rng, GS_GROUPS);
	call->partition = (int32_t)prng_below(&w->rng, w->n_parts);
	call->value = (int64_t)(w->seq + 1);
	gs_send(w, &w->admin,
		what < 4   ? GS_COMMIT
		: what < 6 ? GS_DELETE_OFFSET
			   : GS_DELETE_GROUP,
		call);
	gs_at(w, gs_some_ms(w, EVERY_MS), act, NULL, NULL);
}

void gs_admin_make(struct gs *w)
{
	w->admin = (struct gs_member){.index = UINT32_MAX, .name = "admin"};
	gs_at(w, gs_some_ms(w, EVERY_MS), act, NULL, NULL);
}

static void delete_offset(struct gs *w, struct gs_call *call)
{
	struct kp_offset_delete_request_partition p = {.index = call->partition};
	struct kp_offset_delete_request_topic t = {
		.name = kstr_of("t"), .partitions = &p, .n_partitions = 1};
	struct kp_offset_delete_request req;
	kp_default_offset_delete_request(&req);
	req.group_id = kstr_of(gs_group_name(call->group));
	req.topics = &t;
	req.n_topics = 1;
	grp_delete_offsets(w->core, w->now, call, &req, NULL);
}

static void delete_group(struct gs *w, struct gs_call *call)
{
	struct kstr name = kstr_of(gs_group_name(call->group));
	struct kp_delete_groups_request req;
	kp_default_delete_groups_request(&req);
	req.groups_names = &name;
	req.n_groups_names = 1;
	grp_delete_groups(w->core, w->now, call, &req);
}

void gs_admin_does(struct gs *w, struct gs_call *call)
{
	const struct grp *g = group_of(w, call);
	/* what members say that they read cannot be understood here: they may read anything */
	call->before = g && !list_empty(&g->members) ? KE_NON_EMPTY_GROUP : KE_NONE;
	if (call->api == GS_DELETE_OFFSET)
		delete_offset(w, call);
	else
		delete_group(w, call);
}

/* The book has what is in the log: whatever is acknowledged must have got there. */
void gs_admin_told(struct gs *w, struct gs_call *call, const void *response)
{
	const struct kp_offset_delete_response *o = response;
	const struct kp_delete_groups_response *d = response;
	const struct gs_book *b = &w->book[call->group];
	bool one = call->api == GS_DELETE_OFFSET;
	call->error = one ? o->error_code : d->results[0].error_code;
	if (one && !call->error)
		call->error = o->topics[0].partitions[0].error_code;
	if (call->error)
		return;
	w->deletions++;
	GS_MUST(w, !call->before, "something of group %u with members was deleted", call->group);
	for (uint32_t p = 0; p < w->n_parts; p++)
		GS_MUST(w, b->committed[p] == -1 || (one && p != (uint32_t)call->partition),
			"the offset of partition %u of group %u is still in the log", p,
			call->group);
	GS_MUST(w, one || b->generation == -1, "group %u is still in the log", call->group);
}
