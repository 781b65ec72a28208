/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_CONTROL_CONFIG_RESOURCE_H
#define MR_CONTROL_CONFIG_RESOURCE_H

#include <stdio.h>

#include "control/api/ctl.h"

/* What DescribeConfigs and AlterConfigs are about, in the numbers of the wire. */
enum config_resource {
	CONFIG_RESOURCE_TOPIC = 2,
	CONFIG_RESOURCE_BROKER = 4,
	CONFIG_RESOURCE_BROKER_LOGGER = 8,
	CONFIG_RESOURCE_CLIENT_METRICS = 16,
	CONFIG_RESOURCE_GROUP = 32,
};

#define CONFIG_RESOURCES_MAX 10000 /* in one request */
#define CONFIG_ERROR_MAX TOPIC_ERROR_MAX

/*
 * Whether `name` is this broker: KE_NONE; or INVALID_REQUEST with a sentence in err
 * (CONFIG_ERROR_MAX). *all: it is empty, which means every broker of the cluster.
 */
int16_t config_resource_broker(struct ctl *c, struct kstr name, bool *all, char *err);

#endif
