/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "control/api/ctl.h"

struct named {
	struct kstr name;
	uint32_t index;
};

static int compare(const void *x, const void *y)
{
	const struct named *a = x, *b = y;
	if (a->name.len != b->name.len)
		return a->name.len < b->name.len ? -1 : 1;
	return a->name.len > 0 ? memcmp(a->name.p, b->name.p, (size_t)a->name.len) : 0;
}

int ctl_find_duplicates(struct ctl *c, const struct kstr *names, uint32_t n, bool *dup)
{
	struct named *v = ctl_scratch(c, ((size_t)n + 1) * sizeof(*v));
	if (!v)
		return -1;
	for (uint32_t i = 0; i < n; i++)
		v[i] = (struct named){.name = names[i], .index = i};
	qsort(v, n, sizeof(*v), compare);
	for (uint32_t i = 1; i < n; i++)
		if (v[i].name.len >= 0 && compare(&v[i - 1], &v[i]) == 0)
			dup[v[i - 1].index] = dup[v[i].index] = true;
	return 0;
}
