/* SPDX-License-Identifier: Apache-2.0 */
#include "control/meta/dynamic.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

/* The image is made of these, and made anew when one changes. */
static const enum config_key allowed[] = {
	CONFIG_KEY_cleanup_policy,
	CONFIG_KEY_cleaner_delete_retention_ms,
	CONFIG_KEY_cleaner_max_lag_ms,
	CONFIG_KEY_cleaner_min_lag_ms,
	CONFIG_KEY_cleaner_min_ratio_ppm,
	CONFIG_KEY_compression_type,
	CONFIG_KEY_message_max_bytes,
	CONFIG_KEY_min_insync_replicas,
	CONFIG_KEY_retention_bytes,
	CONFIG_KEY_retention_hours,
	CONFIG_KEY_retention_minutes,
	CONFIG_KEY_retention_ms_key,
	CONFIG_KEY_roll_hours,
	CONFIG_KEY_roll_ms_key,
	CONFIG_KEY_segment_bytes,
	CONFIG_KEY_timestamp_after_max_ms,
	CONFIG_KEY_timestamp_before_max_ms,
	CONFIG_KEY_timestamp_type,
};

bool dynamic_allows(enum config_key key)
{
	for (size_t i = 0; i < array_size(allowed); i++)
		if (allowed[i] == key)
			return true;
	return false;
}

int dynamic_key(const char *name)
{
	for (int key = 0; key < CONFIG_KEY_COUNT; key++)
		if (strcmp(config_key_name((enum config_key)key), name) == 0)
			return key;
	return -1;
}

int dynamic_set(struct dynamic *d, enum dynamic_scope scope, enum config_key key, const char *value)
{
	char *copy = value ? strdup(value) : NULL;
	if (value && !copy)
		return -1;
	free(d->v[scope][key]);
	d->v[scope][key] = copy;
	return 0;
}

int dynamic_clone(struct dynamic *to, const struct dynamic *from)
{
	*to = (struct dynamic){0};
	for (int s = 0; s < DYNAMIC_SCOPES; s++)
		for (int key = 0; key < CONFIG_KEY_COUNT; key++)
			if (dynamic_set(to, s, key, from->v[s][key]) < 0) {
				dynamic_fini(to);
				return -1;
			}
	return 0;
}

void dynamic_fini(struct dynamic *d)
{
	for (int s = 0; s < DYNAMIC_SCOPES; s++)
		for (int key = 0; key < CONFIG_KEY_COUNT; key++)
			free(d->v[s][key]);
	*d = (struct dynamic){0};
}

int dynamic_apply(const struct dynamic *d, const struct config *base, struct config *out, char *err,
	size_t err_size)
{
	char text[CONFIG_TEXT_MAX * 2];
	*out = *base;
	for (int s = DYNAMIC_SCOPES - 1; s >= 0; s--)
		for (int key = 0; key < CONFIG_KEY_COUNT; key++) {
			if (!d->v[s][key])
				continue;
			snprintf(text, sizeof(text), "%s=%s", config_key_name(key), d->v[s][key]);
			if (config_set(out, text, err, err_size) < 0)
				return -1;
		}
	return config_refresh(out, err, err_size);
}
