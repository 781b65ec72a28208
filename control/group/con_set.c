/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of partitions and of names, kept in order. */
#include <stdlib.h>

#include "control/group/con.h"

bool con_set_copy(struct grp_core *c, const uint64_t *v, uint32_t n, struct con_set *out)
{
	*out = (struct con_set){0};
	if (n == 0)
		return true;
	out->v = grp_mem_get(c, n * sizeof(*v));
	if (!out->v)
		return false;
	memcpy(out->v, v, n * sizeof(*v));
	out->count = n;
	return true;
}

void con_set_free(struct grp_core *c, struct con_set *s)
{
	grp_mem_put(c, s->v);
	*s = (struct con_set){0};
}

bool con_set_has(const struct con_set *s, uint64_t part)
{
	uint32_t lo = 0, hi = s->count;
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		if (s->v[mid] < part)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < s->count && s->v[lo] == part;
}

bool con_set_equal(const struct con_set *a, const struct con_set *b)
{
	return a->count == b->count &&
	       (a->count == 0 || memcmp(a->v, b->v, a->count * sizeof(*a->v)) == 0);
}

static uint32_t common(const struct con_set *a, const struct con_set *b)
{
	uint32_t n = 0;
	for (uint32_t i = 0, k = 0; i < a->count && k < b->count;) {
		n += a->v[i] == b->v[k];
		if (a->v[i] <= b->v[k])
			i++;
		else
			k++;
	}
	return n;
}

bool con_set_within(const struct con_set *a, const struct con_set *b)
{
	return common(a, b) == a->count;
}

bool con_set_meet(const struct con_set *a, const struct con_set *b)
{
	return common(a, b) > 0;
}

bool con_set_filter(struct grp_core *c, const struct con_set *a, const struct con_set *b, bool in,
	struct con_set *out)
{
	uint32_t both = common(a, b), n = in ? both : a->count - both;
	*out = (struct con_set){0};
	if (n == 0)
		return true;
	out->v = grp_mem_get(c, n * sizeof(*out->v));
	if (!out->v)
		return false;
	for (uint32_t i = 0; i < a->count; i++)
		if (con_set_has(b, a->v[i]) == in)
			out->v[out->count++] = a->v[i];
	CHECK(out->count == n);
	return true;
}

static int part_order(const void *x, const void *y)
{
	const uint64_t *a = x, *b = y;
	return *a < *b ? -1 : *a > *b;
}

void con_sort(uint64_t *v, uint32_t n)
{
	if (n > 1)
		qsort(v, n, sizeof(*v), part_order);
}

/* ---- names ---- */

int con_kstr_order(struct kstr a, struct kstr b)
{
	int32_t n = min_of(max_of(a.len, 0), max_of(b.len, 0));
	int o = n > 0 ? memcmp(a.p, b.p, (size_t)n) : 0;
	return o ? o : a.len < b.len ? -1 : a.len > b.len;
}

static int name_order(const void *x, const void *y)
{
	return con_kstr_order(*(const struct kstr *)x, *(const struct kstr *)y);
}

struct con_names *con_names_new(struct grp_core *c, const struct kstr *v, uint32_t n)
{
	size_t chars = 0;
	for (uint32_t i = 0; i < n; i++)
		chars += (size_t)max_of(v[i].len, 0);
	struct con_names *names = grp_mem_get(c, sizeof(*names) + n * sizeof(*v) + chars);
	if (!names)
		return NULL;
	for (uint32_t i = 0; i < n; i++)
		if (v[i].len > 0)
			names->v[names->count++] = v[i];
	if (names->count > 1)
		qsort(names->v, names->count, sizeof(*v), name_order);
	uint32_t kept = 0;
	for (uint32_t i = 0; i < names->count; i++)
		if (kept == 0 || !kstr_equal(names->v[kept - 1], names->v[i]))
			names->v[kept++] = names->v[i];
	names->count = kept;
	char *at = (char *)(names->v + n);
	for (uint32_t i = 0; i < kept; i++) {
		memcpy(at, names->v[i].p, (size_t)names->v[i].len);
		names->v[i].p = at;
		at += names->v[i].len;
	}
	return names;
}

bool con_names_equal(const struct con_names *a, const struct con_names *b)
{
	uint32_t n = a ? a->count : 0;
	if (n != (b ? b->count : 0))
		return false;
	for (uint32_t i = 0; i < n; i++)
		if (!kstr_equal(a->v[i], b->v[i]))
			return false;
	return true;
}
