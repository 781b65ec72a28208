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
	{KP_DESCRIBE_CONFIGS, ctl_handle_describe_configs},
	{KP_ALTER_CONFIGS, ctl_handle_alter_configs},
	{KP_INCREMENTAL_ALTER_CONFIGS, ctl_handle_incremental_alter_configs},
	{KP_CREATE_PARTITIONS, ctl_handle_create_partitions},
	{KP_FIND_COORDINATOR, ctl_handle_find_coordinator},
	{KP_JOIN_GROUP, ctl_handle_join_group},
	{KP_SYNC_GROUP, ctl_handle_sync_group},
	{KP_HEARTBEAT, ctl_handle_heartbeat},
	{KP_LEAVE_GROUP, ctl_handle_leave_group},
	{KP_DESCRIBE_GROUPS, ctl_handle_describe_groups},
	{KP_LIST_GROUPS, ctl_handle_list_groups},
	{KP_CONSUMER_GROUP_HEARTBEAT, ctl_handle_consumer_group_heartbeat},
	{KP_CONSUMER_GROUP_DESCRIBE, ctl_handle_consumer_group_describe},
	{KP_OFFSET_COMMIT, ctl_handle_offset_commit},
	{KP_OFFSET_FETCH, ctl_handle_offset_fetch},
	{KP_DELETE_GROUPS, ctl_handle_delete_groups},
	{KP_OFFSET_DELETE, ctl_handle_offset_delete},
	{KP_DESCRIBE_LOG_DIRS, ctl_handle_describe_log_dirs},
	{KP_ALTER_REPLICA_LOG_DIRS, ctl_handle_alter_replica_log_dirs},
	{KP_DESCRIBE_CLIENT_QUOTAS, ctl_handle_describe_client_quotas},
	{KP_ALTER_CLIENT_QUOTAS, ctl_handle_alter_client_quotas},
	{KP_ELECT_LEADERS, ctl_handle_elect_leaders},
	{KP_ALTER_PARTITION_REASSIGNMENTS, ctl_handle_alter_partition_reassignments},
	{KP_LIST_PARTITION_REASSIGNMENTS, ctl_handle_list_partition_reassignments},
};

const struct ctl_module *const ctl_modules[] = {
	&ctl_groups,
	&ctl_log_dirs,
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
