/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/cli/assign.h"

#include <stdlib.h>
#include <string.h>

#define ASSIGN_HEAD 6 /* version, count of topics */
#define ASSIGN_TAIL 4 /* no user data */

size_t subscription_write(struct kstr topic, uint8_t *out, size_t size)
{
	struct wr w = wr_of(out, size);
	wr_be16(&w, 0);
	wr_be32(&w, 1);
	kp_wr_string(&w, false, false, topic);
	wr_be32(&w, UINT32_MAX);
	return w.full ? 0 : wr_len(&w);
}

bool subscription_topic(struct kbytes subscription, int32_t n, struct kstr *topic)
{
	struct rd r = rd_of(subscription.p, (size_t)max_of(subscription.len, 0));
	rd_be16(&r);
	int32_t count = kp_rd_count(&r, false, false, 2);
	if (n >= count)
		return false;
	for (int32_t i = 0; i <= n; i++)
		*topic = kp_rd_string(&r, false, false);
	return !r.bad;
}

static bool subscribes(const struct subscriber *s, struct kstr topic)
{
	struct kstr name;
	for (int32_t n = 0; subscription_topic(s->subscription, n, &name); n++)
		if (kstr_equal(name, topic))
			return true;
	return false;
}

size_t assign_bound(const struct assign_topic *topics, int32_t count)
{
	size_t n = ASSIGN_HEAD + ASSIGN_TAIL;
	for (int32_t i = 0; i < count; i++)
		n += 2 + (size_t)topics[i].name.len + 4 + 4 * (size_t)topics[i].partitions;
	return n;
}

static int by_id(const void *a, const void *b)
{
	const struct kstr x = ((const struct subscriber *)a)->id;
	const struct kstr y = ((const struct subscriber *)b)->id;
	int n = memcmp(x.p, y.p, (size_t)min_of(x.len, y.len));
	return n ? n : (x.len > y.len) - (x.len < y.len);
}

static void assign_topic(struct subscriber *subs, int32_t count, const struct assign_topic *t)
{
	int32_t takers = 0, at = 0, nth = 0;
	for (int32_t i = 0; i < count; i++)
		takers += subscribes(&subs[i], t->name);
	for (int32_t i = 0; i < count; i++) {
		struct subscriber *s = &subs[i];
		if (!subscribes(s, t->name))
			continue;
		int32_t n = t->partitions / takers + (nth++ < t->partitions % takers);
		if (n == 0)
			continue;
		kp_wr_string(&s->out, false, false, t->name);
		wr_be32(&s->out, (uint32_t)n);
		for (int32_t p = 0; p < n; p++)
			wr_be32(&s->out, (uint32_t)at++);
		s->topics++;
	}
}

void assign_range(struct subscriber *subs, int32_t count, const struct assign_topic *topics,
	int32_t topic_count)
{
	qsort(subs, (size_t)count, sizeof(*subs), by_id);
	for (int32_t i = 0; i < count; i++) {
		subs[i].topics = 0;
		wr_be16(&subs[i].out, 0);
		wr_be32(&subs[i].out, 0);
	}
	for (int32_t t = 0; t < topic_count; t++)
		assign_topic(subs, count, &topics[t]);
	for (int32_t i = 0; i < count; i++) {
		if (!subs[i].out.full)
			be32_put(subs[i].out.base + 2, (uint32_t)subs[i].topics);
		wr_be32(&subs[i].out, UINT32_MAX);
	}
}
