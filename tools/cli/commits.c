/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/cli/commits.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

static int by_place(const void *a, const void *b)
{
	const struct commit *x = a, *y = b;
	int n = memcmp(x->topic.p, y->topic.p, (size_t)min_of(x->topic.len, y->topic.len));
	n = n ? n : (x->topic.len > y->topic.len) - (x->topic.len < y->topic.len);
	return n ? n : (x->partition > y->partition) - (x->partition < y->partition);
}

void commits_sort(struct commits *k)
{
	if (k->count)
		qsort(k->of, (size_t)k->count, sizeof(*k->of), by_place);
}

void commits_free(struct commits *k)
{
	free(k->of);
	reply_free(&k->reply);
	*k = (struct commits){0};
}

static struct commit *append(struct commits *k, struct kstr topic, int32_t partition)
{
	if (k->count == k->room) {
		int32_t room = k->room ? 2 * k->room : 64;
		struct commit *of = realloc(k->of, (size_t)room * sizeof(*of));
		if (!of)
			return NULL;
		k->of = of;
		k->room = room;
	}
	struct commit *p = &k->of[k->count++];
	*p = (struct commit){.topic = topic,
		.partition = partition,
		.committed = -1,
		.first = -1,
		.end = -1,
		.planned = -1,
		.member = KSTR_NULL,
		.host = KSTR_NULL};
	return p;
}

struct commit *commits_get(struct commits *k, struct kstr topic, int32_t partition)
{
	for (int32_t i = 0; i < k->count; i++)
		if (k->of[i].partition == partition && kstr_equal(k->of[i].topic, topic))
			return &k->of[i];
	return append(k, topic, partition);
}

/* Notes one committed offset. The broker's error, when that is what it has. */
static int16_t note(
	struct commits *k, struct kstr topic, int32_t partition, int64_t offset, int16_t error)
{
	if (error || offset < 0)
		return error;
	struct commit *p = append(k, topic, partition);
	if (p)
		p->committed = offset;
	return p ? KE_NONE : KE_UNKNOWN_SERVER_ERROR;
}

/* Up to version 7 the answer is at the top level, from 8 in a group. */
static int16_t take(struct commits *k, const struct kp_offset_fetch_response *rs)
{
	int16_t error = rs->error_code;
	for (int32_t t = 0; t < rs->n_topics && !error; t++)
		for (int32_t i = 0; i < rs->topics[t].n_partitions && !error; i++)
			error = note(k, rs->topics[t].name, rs->topics[t].partitions[i].index,
				rs->topics[t].partitions[i].committed_offset,
				rs->topics[t].partitions[i].error_code);
	if (rs->n_groups < 1 || error)
		return error;
	const struct kp_offset_fetch_response_group *g = &rs->groups[0];
	error = g->error_code;
	for (int32_t t = 0; t < g->n_topics && !error; t++)
		for (int32_t i = 0; i < g->topics[t].n_partitions && !error; i++)
			error = note(k, g->topics[t].name, g->topics[t].partitions[i].index,
				g->topics[t].partitions[i].committed_offset,
				g->topics[t].partitions[i].error_code);
	return error;
}

int commits_load(struct cli *c, int32_t node, const char *group, struct commits *out)
{
	struct kp_offset_fetch_request_group g;
	struct kp_offset_fetch_request rq;
	struct kp_offset_fetch_response rs;
	uint64_t deadline = client_deadline(c->client);
	*out = (struct commits){0};
	kp_default_offset_fetch_request_group(&g);
	g.group_id = kstr_of(group);
	g.n_topics = -1;
	kp_default_offset_fetch_request(&rq);
	rq.group_id = kstr_of(group);
	rq.n_topics = -1;
	rq.groups = &g;
	rq.n_groups = 1;
	for (uint32_t n = 0;; n++) {
		int rc = client_call(c->client, node, KP_OFFSET_FETCH, &rq, &rs, &out->reply);
		if (rc)
			return cli_client_failed(c, rc);
		out->count = 0;
		int16_t error = take(out, &rs);
		if (!error || error == KE_GROUP_ID_NOT_FOUND)
			break;
		if (!ke_retriable(error) || clock_mono_ns() > deadline)
			return cli_refused(c, g.group_id, error, KSTR_NULL);
		if ((rc = client_back_off(c->client, n)) != 0)
			return cli_client_failed(c, rc);
	}
	commits_sort(out);
	return CLI_OK;
}

int64_t commits_lag(const struct commit *k)
{
	if (k->committed < 0 || k->end < 0)
		return -1;
	return max_of(k->end - k->committed, 0);
}

/* One topic's entries, k[0..count). */
static int topic_bounds(
	struct cli *c, struct commit *k, int32_t count, const struct position *where)
{
	struct kp_metadata_response m;
	struct reply reply = {0};
	struct offsets o = {0};
	int rc = client_metadata(c->client, &k->topic, 1, false, &m, &reply);
	if (!rc && m.n_topics == 1 && m.topics[0].error_code == KE_NONE) {
		rc = offsets_load(c->client, &m.topics[0], &o);
		if (!rc && where)
			rc = offsets_at(c->client, &o, where);
		for (int32_t i = 0; !rc && i < count; i++) {
			const struct offset_of *at = offsets_find(&o, k[i].partition);
			if (!at || at->error)
				continue;
			k[i].first = at->first;
			k[i].end = at->end;
			k[i].planned = where ? at->at : -1;
		}
	}
	offsets_free(&o);
	reply_free(&reply);
	return rc ? cli_client_failed(c, rc) : CLI_OK;
}

int commits_bounds(struct cli *c, struct commits *k, const struct position *where)
{
	int rc = CLI_OK;
	for (int32_t i = 0, n; i < k->count && !rc; i += n) {
		for (n = 1; i + n < k->count && kstr_equal(k->of[i].topic, k->of[i + n].topic); n++)
			;
		rc = topic_bounds(c, &k->of[i], n, where);
	}
	return rc;
}

bool assignment_read(struct kbytes bytes,
	void (*each)(void *arg, struct kstr topic, int32_t partition), void *arg)
{
	struct rd r = rd_of(bytes.p, (size_t)max_of(bytes.len, 0));
	rd_be16(&r); /* version */
	for (int32_t t = kp_rd_count(&r, false, false, 6); t > 0 && !r.bad; t--) {
		struct kstr topic = kp_rd_string(&r, false, false);
		for (int32_t n = kp_rd_count(&r, false, false, 4); n > 0 && !r.bad; n--)
			each(arg, topic, (int32_t)rd_be32(&r));
	}
	return !r.bad;
}
