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
/* Whether a topic may have all of these: KE_NONE, or INVALID_CONFIG with a sentence in err. */
int16_t topic_settings_check(const struct topic_setting_arg *args, int32_t count,
	const struct config *cfg, char *err, size_t err_size);
/*
 * A topic with part_ids zero and settings copied; they are known to be valid. NULL: no memory.
 * Gives.
 */
struct topic *topic_new(struct kstr name, const struct uuid *id, bool internal, int32_t partitions,
	const struct topic_setting_arg *settings, int32_t setting_count);
void topic_unref(struct topic *topic);
/* The n lowest free part ids into out, taken. -1: no memory. */
int topics_take_ids(struct topics *t, uint32_t n, uint32_t *out);
/* Where the topic of that name is; false: there is none. */
bool topics_position(const struct topics *t, struct kstr name, uint32_t *at);
/* The value that the topic was given, NULL when none. */
const char *topic_setting_given(const struct topic *topic, const char *name);

#endif
