/* SPDX-License-Identifier: Apache-2.0 */
/* Consumer groups as tools see them. */
#include "base/arena.h"
#include "control/group/con.h"

typedef struct kp_consumer_group_describe_response_group group_t;
typedef struct kp_consumer_group_describe_response_member member_t;
typedef struct kp_consumer_group_describe_response_topic_partitions topic_t;
typedef struct kp_consumer_group_describe_response_target_partitions target_topic_t;

/* Both say the same in the same order, so that one function fills either. */
_Static_assert(sizeof(topic_t) == sizeof(target_topic_t), "alike");
_Static_assert(offsetof(topic_t, topic_id) == offsetof(target_topic_t, topic_id), "alike");
_Static_assert(offsetof(topic_t, topic_name) == offsetof(target_topic_t, topic_name), "alike");
_Static_assert(offsetof(topic_t, partitions) == offsetof(target_topic_t, partitions), "alike");

#define SLACK 64 /* of an array: its alignment */

static uint32_t count_topics(const struct con_set *s)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < s->count; i++)
		n += i == 0 || con_slot_of(s->v[i]) != con_slot_of(s->v[i - 1]);
	return n;
}

static size_t set_size(const struct con_set *s)
{
	return count_topics(s) * sizeof(topic_t) + s->count * sizeof(int32_t) + 2 * SLACK;
}

size_t grp_consumer_describe_size(const struct grp *g)
{
	size_t size = SLACK;
	if (!g->con)
		return 0;
	list_for_each (it, &g->con->members) {
		const struct con_member *m = list_entry(it, struct con_member, node);
		size += sizeof(member_t) + set_size(&m->assigned) + set_size(&m->target);
	}
	return size;
}

/* A topic that was deleted meanwhile has no name. */
static struct kstr name_of(const struct grp_con *con, const struct uuid *id)
{
	const struct image *im = con->group->core->image;
	const struct image_topic *t = im ? image_topic_by_id(im, id) : NULL;
	return t ? t->name : kstr_of("");
}

static bool fill_set(const struct grp_con *con, const struct con_set *s, struct arena *a,
	topic_t **topics, int32_t *n_topics)
{
	uint32_t n = count_topics(s);
	topic_t *t = arena_array(a, max_of(n, 1u), sizeof(*t));
	int32_t *p = arena_array(a, max_of(s->count, 1u), sizeof(*p));
	*topics = t;
	*n_topics = (int32_t)n;
	if (!t || !p)
		return false;
	for (uint32_t i = 0; i < s->count; i++) {
		uint32_t slot = con_slot_of(s->v[i]);
		if (i == 0 || slot != con_slot_of(s->v[i - 1])) {
			const struct uuid *id = &con->slots[slot]->id;
			t += i > 0;
			*t = (topic_t){
				.topic_id = *id, .topic_name = name_of(con, id), .partitions = p};
		}
		*p++ = con_index_of(s->v[i]);
		t->n_partitions++;
	}
	return true;
}

static bool fill_member(const struct con_member *m, struct arena *a, member_t *out)
{
	const struct grp_con *con = m->group->con;
	const struct kstr none = kstr_of("");
	kp_default_consumer_group_describe_response_member(out);
	out->member_id = m->id;
	out->instance_id = m->instance;
	out->rack_id = m->rack;
	out->member_epoch = m->epoch;
	out->client_id = m->client_id.len >= 0 ? m->client_id : none;
	out->client_host = m->client_host.len >= 0 ? m->client_host : none;
	out->subscribed_topic_names = m->names ? m->names->v : NULL;
	out->n_subscribed_topic_names = m->names ? (int32_t)m->names->count : 0;
	out->subscribed_topic_regex = m->regex;
	out->member_type = m->classic ? 0 : 1;
	topic_t *target;
	if (!fill_set(con, &m->assigned, a, &out->assignment.topic_partitions,
		    &out->assignment.n_topic_partitions) ||
		!fill_set(con, &m->target, a, &target, &out->target_assignment.n_topic_partitions))
		return false;
	out->target_assignment.topic_partitions = (target_topic_t *)(void *)target;
	return true;
}

bool grp_consumer_describe(const struct grp *g, group_t *out, struct arena *a)
{
	const struct grp_con *con = g->con;
	member_t *members = arena_array(a, max_of(con->by_id.count, 1u), sizeof(*members));
	int32_t n = 0;
	if (!members)
		return false;
	list_for_each (it, &con->members)
		if (!fill_member(list_entry(it, struct con_member, node), a, &members[n++]))
			return false;
	out->group_state = kstr_of(con_state_name(con));
	out->group_epoch = con->epoch;
	out->assignment_epoch = con->target_epoch;
	out->assignor_name = kstr_of(con_assignor_of(con));
	out->members = members;
	out->n_members = n;
	return true;
}
