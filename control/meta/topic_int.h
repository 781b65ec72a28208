/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_META_TOPIC_INT_H
#define MR_META_TOPIC_INT_H

#include "control/meta/topic.h"

/* Private to control/meta. */

/* Longest value of a setting. */
#define TOPIC_VALUE_MAX 255
/* Partitions of the broker, over all topics. */
#define TOPIC_MAX_PART_IDS (1u << 20)

/* The setting of that name, NULL when there is none. */
const struct topic_setting_desc *topic_setting_find(struct kstr name);
/*
 * Whether the setting may be given so: 0, or -1 with a sentence in err. cfg gives the broker's
 * bounds; NULL: without them.
 */
int topic_setting_check(
	const struct topic_setting_arg *arg, const struct config *cfg, char *err, size_t err_size);
/* The value that the topic was given, NULL when none. */
const char *topic_setting_given(const struct topic *topic, const char *name);

#endif
