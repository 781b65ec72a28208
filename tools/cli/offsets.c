/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/cli/offsets.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

bool position_parse(const char *text, int64_t now_ms, struct position *out)
{
	*out = (struct position){0};
	if (strcmp(text, "beginning") == 0 || strcmp(text, "earliest") == 0)
		out->kind = POSITION_BEGINNING;
	else if (strcmp(text, "end") == 0 || strcmp(text, "latest") == 0)
		out->kind = POSITION_END;
	else if (strncmp(text, "time:", 5) == 0) {
		out->kind = POSITION_TIME;
		return time_parse(text + 5, now_ms, &out->value);
	} else {
		if (!number_parse(text, &out->value) || out->value == INT64_MIN)
			return false;
		out->kind = text[0] == '-' ? POSITION_BACK : POSITION_OFFSET;
		out->value = out->value < 0 ? -out->value : out->value;
	}
	return true;
}

int64_t position_in(const struct position *where, int64_t first, int64_t end)
{
	int64_t at = where->kind == POSITION_BEGINNING ? first
		     : where->kind == POSITION_BACK ? (end < where->value ? 0 : end - where->value)
		     : where->kind == POSITION_OFFSET ? where->value
						      : end;
	return at < first ? first : at > end ? end : at;
}

static int by_partition(const void *a, const void *b)
{
	const struct offset_of *x = a, *y = b;
	return (x->partition > y->partition) - (x->partition < y->partition);
}

const struct offset_of *offsets_find(const struct offsets *o, int32_t partition)
{
	struct offset_of key = {.partition = partition};
	return o->count ? bsearch(&key, o->of, (size_t)o->count, sizeof(key), by_partition) : NULL;
}

void offsets_free(struct offsets *o)
{
	free(o->of);
	*o = (struct offsets){0};
}

/* What one ListOffsets answer says of partition p, kept by `keep`. */
static void take(struct offsets *o, const struct kp_list_offsets_response *rs,
	void (*keep)(struct offset_of *p, int64_t offset))
{
	for (int32_t t = 0; t < rs->n_topics; t++)
		for (int32_t i = 0; i < rs->topics[t].n_partitions; i++) {
			const struct kp_list_offsets_response_partition *r =
				&rs->topics[t].partitions[i];
			struct offset_of *p = (struct offset_of *)offsets_find(o, r->index);
			if (!p)
				continue;
			p->error = r->error_code;
			if (!r->error_code)
				keep(p, r->offset);
		}
}

/* Asks each leader for one timestamp of all its partitions. */
static int ask_once(struct client *c, struct offsets *o, int64_t timestamp,
	void (*keep)(struct offset_of *p, int64_t offset))
{
	struct kp_list_offsets_request_topic topic = {.name = o->topic};
	struct kp_list_offsets_request_partition *list =
		calloc((size_t)o->count + 1, sizeof(*list));
	struct kp_list_offsets_request rq;
	struct kp_list_offsets_response rs;
	struct reply reply = {0};
	int rc = list ? CLIENT_OK : CLIENT_E_NOMEM;
	kp_default_list_offsets_request(&rq);
	rq.topics = &topic;
	rq.n_topics = 1;
	topic.partitions = list;
	for (int32_t i = 0; i < o->count && rc == CLIENT_OK; i++) {
		int32_t n = 0, leader = o->of[i].leader;
		bool asked = leader < 0;
		for (int32_t j = 0; j < i && !asked; j++)
			asked = o->of[j].leader == leader;
		if (asked)
			continue;
		for (int32_t j = i; j < o->count; j++) {
			if (o->of[j].leader != leader)
				continue;
			kp_default_list_offsets_request_partition(&list[n]);
			list[n].index = o->of[j].partition;
			list[n++].timestamp = timestamp;
		}
		topic.n_partitions = n;
		rc = client_call(c, leader, KP_LIST_OFFSETS, &rq, &rs, &reply);
		if (rc == CLIENT_OK)
			take(o, &rs, keep);
	}
	free(list);
	reply_free(&reply);
	return rc;
}

static int leaders(struct client *c, struct offsets *o)
{
	struct kp_metadata_response m;
	struct reply reply = {0};
	int rc = client_metadata(c, &o->topic, 1, false, &m, &reply);
	for (int32_t i = 0; !rc && m.n_topics == 1 && i < m.topics[0].n_partitions; i++) {
		struct offset_of *p =
			(struct offset_of *)offsets_find(o, m.topics[0].partitions[i].index);
		if (p)
			p->leader = m.topics[0].partitions[i].leader_id;
	}
	reply_free(&reply);
	return rc;
}

/* Asks again, of new leaders, while there is an error that may pass. */
static int ask(struct client *c, struct offsets *o, int64_t timestamp,
	void (*keep)(struct offset_of *p, int64_t offset))
{
	uint64_t deadline = client_deadline(c);
	for (uint32_t n = 0;; n++) {
		int rc = ask_once(c, o, timestamp, keep);
		bool again = rc == CLIENT_E_REACH;
		for (int32_t i = 0; i < o->count; i++)
			again |= o->of[i].leader >= 0 && ke_retriable(o->of[i].error);
		if (!again || clock_mono_ns() > deadline)
			return rc;
		if ((rc = client_back_off(c, n)) != 0 || (rc = leaders(c, o)) != 0)
			return rc;
	}
}

static void keep_first(struct offset_of *p, int64_t offset)
{
	p->first = offset;
}
static void keep_end(struct offset_of *p, int64_t offset)
{
	p->end = offset;
}
/* A time after the last record: the end. */
static void keep_at(struct offset_of *p, int64_t offset)
{
	p->at = offset < 0 ? p->end : offset;
}

int offsets_load(
	struct client *c, const struct kp_metadata_response_topic *topic, struct offsets *out)
{
	*out = (struct offsets){.topic = topic->name, .count = topic->n_partitions};
	out->of = calloc((size_t)max_of(topic->n_partitions, 1), sizeof(*out->of));
	if (!out->of)
		return CLIENT_E_NOMEM;
	for (int32_t i = 0; i < out->count; i++)
		out->of[i] = (struct offset_of){.partition = topic->partitions[i].index,
			.leader = topic->partitions[i].leader_id,
			.first = -1,
			.end = -1,
			.error = topic->partitions[i].leader_id < 0 ? KE_LEADER_NOT_AVAILABLE
								    : KE_NONE};
	qsort(out->of, (size_t)out->count, sizeof(*out->of), by_partition);
	int rc = ask(c, out, OFFSETS_EARLIEST, keep_first);
	return rc ? rc : ask(c, out, OFFSETS_LATEST, keep_end);
}

int offsets_at(struct client *c, struct offsets *o, const struct position *where)
{
	if (where->kind == POSITION_TIME)
		return ask(c, o, where->value, keep_at);
	for (int32_t i = 0; i < o->count; i++)
		o->of[i].at = position_in(where, o->of[i].first, o->of[i].end);
	return CLIENT_OK;
}
