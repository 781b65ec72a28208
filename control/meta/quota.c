/* SPDX-License-Identifier: Apache-2.0 */
#include "control/meta/quota.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

static const char *const keys[QUOTA_KINDS] = {
	[QUOTA_PRODUCE] = "producer_byte_rate",
	[QUOTA_FETCH] = "consumer_byte_rate",
	[QUOTA_REQUEST] = "request_percentage",
};

const char *quota_key(enum image_quota_kind kind)
{
	CHECK(kind < QUOTA_KINDS);
	return keys[kind];
}

enum image_quota_kind quota_kind(struct kstr key)
{
	int k = 0;
	while (k < QUOTA_KINDS && !kstr_equal(key, kstr_of(keys[k])))
		k++;
	return (enum image_quota_kind)k;
}

static bool same(
	enum image_quota_part a_is, const char *a, enum image_quota_part b_is, const char *b)
{
	return a_is == b_is && (a_is != QUOTA_NAMED || strcmp(a, b) == 0);
}

bool quota_entity_equal(const struct quota_entity *a, const struct quota_entity *b)
{
	return same(a->user_is, a->user, b->user_is, b->user) &&
	       same(a->client_is, a->client, b->client_is, b->client);
}

struct quota *quotas_put(struct quotas *q, const struct quota_entity *e)
{
	for (uint32_t i = 0; i < q->count; i++)
		if (quota_entity_equal(&q->v[i].entity, e))
			return &q->v[i];
	if (q->count == QUOTAS_MAX)
		return NULL;
	struct quota *v = realloc(q->v, (q->count + 1ul) * sizeof(*v));
	if (!v)
		return NULL;
	q->v = v;
	v[q->count] = (struct quota){.entity = *e};
	for (int k = 0; k < QUOTA_KINDS; k++)
		v[q->count].value[k] = -1;
	return &v[q->count++];
}

void quotas_prune(struct quotas *q)
{
	uint32_t kept = 0;
	for (uint32_t i = 0; i < q->count; i++) {
		bool any = false;
		for (int k = 0; k < QUOTA_KINDS; k++)
			any |= q->v[i].value[k] >= 0;
		if (any)
			q->v[kept++] = q->v[i];
	}
	q->count = kept;
}

int quotas_clone(struct quotas *to, const struct quotas *from)
{
	*to = (struct quotas){0};
	if (from->count == 0)
		return 0;
	to->v = malloc(from->count * sizeof(*to->v));
	if (!to->v)
		return -1;
	memcpy(to->v, from->v, from->count * sizeof(*to->v));
	to->count = from->count;
	return 0;
}

void quotas_fini(struct quotas *q)
{
	free(q->v);
	*q = (struct quotas){0};
}
