/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_META_DYNAMIC_H
#define MR_META_DYNAMIC_H

#include <stdbool.h>
#include <stddef.h>

#include "control/config/config.h"

/*
 * Keys of the broker that were set while it ran (KIP-226): those that topics take their defaults
 * from. A value for this broker wins over one for every broker, and that over the file's. PURE.
 */

enum dynamic_scope { DYNAMIC_BROKER, DYNAMIC_DEFAULT, DYNAMIC_SCOPES };

/* Zeroes are an empty one. */
struct dynamic {
	char *v[DYNAMIC_SCOPES][CONFIG_KEY_COUNT]; /* NULL: not set */
};

/* Whether the key may be set at run time. */
bool dynamic_allows(enum config_key key);
/* The key of a name; -1: there is none. */
int dynamic_key(const char *name);
/* value NULL: not set any more. -1: no memory. */
int dynamic_set(
	struct dynamic *d, enum dynamic_scope scope, enum config_key key, const char *value);
int dynamic_clone(struct dynamic *to, const struct dynamic *from);
void dynamic_fini(struct dynamic *d);
/* *out is base with what is set. -1 with a sentence in err: it does not fit together. */
int dynamic_apply(const struct dynamic *d, const struct config *base, struct config *out, char *err,
	size_t err_size);

#endif
