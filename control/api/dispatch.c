/* SPDX-License-Identifier: Apache-2.0 */
/* Who handles which API, and which modules there are. */
#include <stddef.h>

#include "base/check.h"
#include "control/api/ctl.h"
#include "control/api/group_shell.h"
#include "kafka/api_table.h"

static const struct ctl_api apis[] = {
	{KP_CREATE_TOPICS, ctl_handle_create_topics},
	{KP_DELETE_TOPICS, ctl_handle_delete_topics},
	{KP_INIT_PRODUCER_ID, ctl_handle_init_producer_id},
	{KP_FIND_COORDINATOR, ctl_handle_find_coordinator},
	{KP_JOIN_GROUP, ctl_handle_join_group},
	{KP_SYNC_GROUP, ctl_handle_sync_group},
	{KP_HEARTBEAT, ctl_handle_heartbeat},
	{KP_LEAVE_GROUP, ctl_handle_leave_group},
	{KP_OFFSET_COMMIT, ctl_handle_offset_commit},
	{KP_OFFSET_FETCH, ctl_handle_offset_fetch},
};

const struct ctl_module *const ctl_modules[] = {
	&ctl_groups,
	NULL,
};

_Static_assert(array_size(ctl_modules) - 1 <= CTL_MAX_MODULES, "module_state holds them");

const struct ctl_api *ctl_api_find(int16_t key)
{
	for (size_t i = 0; i < array_size(apis); i++)
		if (apis[i].key == key)
			return &apis[i];
	return NULL;
}
