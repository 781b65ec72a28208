/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_CONFIG_INT_H
#define MR_CONFIG_INT_H

#include "control/config/config.h"

/* Private to control/config. */

enum config_type {
	CONFIG_TYPE_STRING,
	CONFIG_TYPE_BOOL,
	CONFIG_TYPE_INT32,
	CONFIG_TYPE_INT64,
	CONFIG_TYPE_BYTES,
	CONFIG_TYPE_MS,
	CONFIG_TYPE_RATIO,
	CONFIG_TYPE_ENUM,
	CONFIG_TYPE_FLAGS,
	CONFIG_TYPE_LISTENERS,
	CONFIG_TYPE_LISTENER,
	CONFIG_TYPE_DIRS,
	CONFIG_TYPE_CPUS,
};

struct config_desc {
	const char *name;
	enum config_type type;
	size_t offset;
	const char *def;
	int64_t min;
	int64_t max;
	const char *choices;
	const char *help;
};

/* Longest value, as text, that a source may give or config_value_text makes. */
#define CONFIG_VALUE_MAX 5120
#define CONFIG_KEY_MAX 256

extern const struct config_desc config_table[CONFIG_KEY_COUNT];

/* The key of that name or alias; -1. */
int config_find_key(const char *name);
/* Index of the row of ignored keys that name falls under; -1. */
int config_find_ignored(const char *name);
/* Pattern of row i. */
const char *config_ignored_pattern(int i);
/* True for keys whose being ignored would leave the broker open. */
bool config_is_refused(const char *name);
/* The known key that is most like name. */
const char *config_nearest_key(const char *name);

/*
 * Sets the field of `key` from text (trimmed). 0; -1 with what is allowed ("must be ...") in err,
 * and the field as it was.
 */
int config_value_parse(
	struct config *c, enum config_key key, const char *text, char *err, size_t err_size);

static inline void *config_field(const struct config *c, const struct config_desc *d)
{
	return (char *)(uintptr_t)c + d->offset;
}

/* Whether text is the i-th of "a|b|c"; choice_index: its index or -1; choice_text: copies the i-th.
 */
int config_choice_index(const char *choices, const char *text, size_t len);
void config_choice_text(const char *choices, int i, char *out, size_t size);

#endif
