/* SPDX-License-Identifier: Apache-2.0 */
/* Deleted topics take their committed offsets with them, as in Kafka. */
#include "control/api/group_shell.h"

#include <stdlib.h>

#include "base/check.h"

static const struct known_topic *known_find(const struct groups *g, struct kstr name)
{
	uint32_t lo = 0, hi = g->known_count;
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		struct kstr at = g->known[mid].name;
		int c = memcmp(at.p, name.p, (size_t)min_of(at.len, name.len));
		if (c == 0 && at.len == name.len)
			return &g->known[mid];
		if (c < 0 || (c == 0 && at.len < name.len))
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

static bool same_id(const struct uuid *a, const struct uuid *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

static bool is_gone(void *ctx, struct kstr name)
{
	struct groups *g = ctx;
	const struct image_topic *t = image_topic_by_name(ctl_image(g->c), name);
	const struct known_topic *k = known_find(g, name);
	return !t || (k && !same_id(&k->id, &t->id));
}

static bool any_gone(const struct groups *g, const struct image *im)
{
	for (uint32_t i = 0; i < g->known_count; i++) {
		const struct image_topic *t = image_topic_by_name(im, g->known[i].name);
		if (!t || !same_id(&t->id, &g->known[i].id))
			return true;
	}
	return false;
}

/* Without memory for it, deleted topics are found at the next start. */
static void know(struct groups *g, const struct image *im)
{
	size_t bytes = 1;
	for (uint32_t i = 0; i < im->topic_count; i++)
		bytes += (size_t)im->topics[i].name.len;
	free(g->known);
	free(g->known_names);
	g->known_count = 0;
	g->known = calloc(im->topic_count + 1, sizeof(*g->known));
	g->known_names = malloc(bytes);
	if (!g->known || !g->known_names)
		return;
	char *at = g->known_names;
	for (uint32_t i = 0; i < im->topic_count; i++) {
		struct kstr name = im->topics[i].name;
		memcpy(at, name.p, (size_t)name.len);
		g->known[i] = (struct known_topic){
			.name = {.p = at, .len = name.len}, .id = im->topics[i].id};
		at += name.len;
	}
	g->known_count = im->topic_count;
}

void groups_see_topics(struct groups *g, const struct image *im)
{
	if (any_gone(g, im))
		grp_forget_topics(g->core, groups_now(g), is_gone, g);
	know(g, im);
}

void groups_sweep_topics(struct groups *g)
{
	grp_forget_topics(g->core, groups_now(g), is_gone, g);
}
