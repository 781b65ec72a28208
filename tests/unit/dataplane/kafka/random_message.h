/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_TESTS_RANDOM_MESSAGE_H
#define MR_TESTS_RANDOM_MESSAGE_H

#include <stdio.h>
#include <string.h>

#include "base/prng.h"
#include "kafka/messages.h"

/* Fills generated structs with random content, and compares them, by their descriptions. */

static inline int32_t *field_count(const struct kp_field *f, void *x)
{
	return (int32_t *)((char *)x + f->count_offset);
}

static inline size_t type_size(const struct kp_field *f)
{
	switch (f->type) {
	case KP_BOOL:
		return sizeof(bool);
	case KP_INT8:
		return 1;
	case KP_INT16:
		return 2;
	case KP_INT32:
		return 4;
	case KP_INT64:
	case KP_FLOAT64:
		return 8;
	case KP_UUID:
		return sizeof(struct uuid);
	case KP_STRING:
		return sizeof(struct kstr);
	case KP_BYTES:
		return sizeof(struct kbytes);
	case KP_RECORDS:
		return sizeof(struct krecords);
	case KP_STRUCT:
		return f->sub->size;
	}
	return 0;
}

static inline bool field_in(const struct kp_field *f, int16_t version)
{
	return version >= f->min && version <= f->max;
}

static inline uint8_t *random_bytes(struct prng *rng, struct arena *a, int32_t *len)
{
	*len = (int32_t)prng_below(rng, prng_chance(rng, 1, 8) ? 300 : 12);
	uint8_t *p = arena_alloc(a, (size_t)*len + 1);
	CHECK(p);
	for (int32_t i = 0; i < *len; i++)
		p[i] = (uint8_t)prng_next(rng);
	return p;
}

static inline void random_fill(
	const struct kp_desc *d, int16_t version, void *x, struct prng *rng, struct arena *a);

static inline void random_value(const struct kp_field *f, int16_t version, bool nullable, void *at,
	struct prng *rng, struct arena *a)
{
	int32_t len;
	bool null = nullable && prng_chance(rng, 1, 4);
	switch (f->type) {
	case KP_BOOL:
		*(bool *)at = prng_chance(rng, 1, 2);
		break;
	case KP_INT8:
	case KP_INT16:
	case KP_INT32:
	case KP_INT64:
	case KP_FLOAT64:
	case KP_UUID:
		for (size_t i = 0; i < type_size(f); i++)
			((uint8_t *)at)[i] = (uint8_t)prng_next(rng);
		break;
	case KP_STRING: {
		const char *p = (const char *)random_bytes(rng, a, &len);
		*(struct kstr *)at = null ? KSTR_NULL : (struct kstr){p, len};
		break;
	}
	case KP_BYTES: {
		const uint8_t *p = random_bytes(rng, a, &len);
		*(struct kbytes *)at = null ? KBYTES_NULL : (struct kbytes){p, len};
		break;
	}
	case KP_RECORDS: {
		const uint8_t *p = random_bytes(rng, a, &len);
		*(struct krecords *)at =
			(struct krecords){.len = (uint32_t)len, .flat = len ? p : NULL};
		break;
	}
	case KP_STRUCT:
		random_fill(f->sub, version, at, rng, a);
		break;
	}
}

/* Random content for every field that the version has; the others keep their default. */
static inline void random_fill(
	const struct kp_desc *d, int16_t version, void *x, struct prng *rng, struct arena *a)
{
	d->set_default(x);
	for (uint32_t i = 0; i < d->n_fields; i++) {
		const struct kp_field *f = &d->fields[i];
		void *at = (char *)x + f->offset;
		bool nullable = version >= f->null_min && version <= f->null_max;
		if (!field_in(f, version) || (f->tag >= 0 && prng_chance(rng, 1, 3)))
			continue;
		if (!f->array) {
			random_value(f, version, nullable, at, rng, a);
			continue;
		}
		int32_t n = nullable && prng_chance(rng, 1, 4)
				    ? -1
				    : (int32_t)prng_below(rng, f->maybe ? 2 : 4);
		*field_count(f, x) = n;
		char *e = n > 0 ? arena_array(a, (size_t)n, type_size(f)) : NULL;
		*(void **)at = e;
		for (int32_t k = 0; k < n; k++)
			random_value(f, version, false, e + (size_t)k * type_size(f), rng, a);
	}
}

static inline bool same_struct(const struct kp_desc *d, const void *x, const void *y);

static inline bool same_value(const struct kp_field *f, const void *x, const void *y)
{
	switch (f->type) {
	case KP_STRING:
		return kstr_equal(*(const struct kstr *)x, *(const struct kstr *)y);
	case KP_BYTES: {
		const struct kbytes *a = x, *b = y;
		return a->len == b->len && (a->len <= 0 || memcmp(a->p, b->p, (size_t)a->len) == 0);
	}
	case KP_RECORDS: {
		const struct krecords *a = x, *b = y;
		return a->len == b->len && (a->len == 0 || memcmp(a->flat, b->flat, a->len) == 0);
	}
	case KP_STRUCT:
		return same_struct(f->sub, x, y);
	default:
		return memcmp(x, y, type_size(f)) == 0;
	}
}

/* Whether two structs are equal, field by field; says which field is not. */
static inline bool same_struct(const struct kp_desc *d, const void *x, const void *y)
{
	for (uint32_t i = 0; i < d->n_fields; i++) {
		const struct kp_field *f = &d->fields[i];
		const char *a = (const char *)x + f->offset;
		const char *b = (const char *)y + f->offset;
		bool same = true;
		if (f->array) {
			int32_t n = *field_count(f, (void *)(uintptr_t)x);
			same = n == *field_count(f, (void *)(uintptr_t)y);
			a = *(const char *const *)a;
			b = *(const char *const *)b;
			for (int32_t k = 0; same && k < n; k++)
				same = same_value(f, a + (size_t)k * type_size(f),
					b + (size_t)k * type_size(f));
		} else {
			same = same_value(f, a, b);
		}
		if (!same) {
			fprintf(stderr, "%s.%s differs\n", d->name, f->name);
			return false;
		}
	}
	return true;
}

#endif
