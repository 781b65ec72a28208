/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_TOOLS_CLI_MEMBER_H
#define MR_TOOLS_CLI_MEMBER_H

#include "tools/cli/fetcher.h"

/* A member of a consumer group (classic protocol, range assignor) that reads one topic. */

#define MEMBER_SESSION_MS 45000
#define MEMBER_REBALANCE_MS 60000
#define MEMBER_BEAT_MS 1000
#define MEMBER_ID 512

struct member {
	struct cli *c;
	const char *group; /* borrowed */
	const char *topic;
	int32_t node; /* the coordinator */
	int32_t generation;
	char id[MEMBER_ID];
	bool joined;
	bool again; /* the group rebalances: join again */
	int32_t *partitions;
	int32_t count;
	uint64_t beat_ns; /* of the next heartbeat */
};

/* Joins, or joins again; has partitions afterwards (perhaps none). An exit code. */
int member_join(struct member *m);
/* Heartbeat, when it is time. Sets m->again. An exit code. */
int member_beat(struct member *m, uint64_t now_ns);
/* Commits the positions that have moved. Sets m->again instead when the group has gone on. */
int member_commit(struct member *m, struct fetching *of, int32_t count);
/* Leaves, as well as can be, and frees what the member has. */
void member_leave(struct member *m);

#endif
