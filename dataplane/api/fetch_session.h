/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_API_FETCH_SESSION_H
#define MR_API_FETCH_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/list.h"
#include "kafka/messages.h"

/*
 * Fetch sessions (KIP-227): a consumer names its partitions once, then only what changes, and is
 * answered only with what has changed.
 *
 *   epoch of the request    session 0                  session N
 *   -1                      no session                 N ends
 *    0                      a new session              N ends, a new session
 *    e >= 1                 FETCH_SESSION_ID_NOT_FOUND the next request of N; e must be its epoch
 *
 * A session belongs to its connection, which has one at most, and ends with it: clients begin a new
 * one on a new connection anyhow. There are at most `slots` of them in a shard with at most
 * FETCH_SESSION_PARTS partitions together; who finds no room is answered with session 0, which
 * every client understands. A session that was not used for two minutes makes room for another.
 *
 * Pure; the shard's thread.
 */

#define FETCH_SESSION_PARTS 131072u /* of one shard; 20 MiB when all are in use */

struct fetch_session;

/* What the sessions of one shard share. */
struct fetch_sessions {
	uint32_t slots;
	uint32_t count;
	uint32_t parts; /* of all of them */
	int32_t last_id;
	struct list idle; /* fetch_session.idle: unused longest first */
};

/* A connection's. */
struct fetch_slot {
	struct fetch_sessions *all;
	struct fetch_session *session; /* NULL: none */
};

void fetch_sessions_init(struct fetch_sessions *all, uint32_t slots);
/* Ends all that there are. */
void fetch_sessions_fini(struct fetch_sessions *all);
/* Ends the connection's session, if it has one. */
void fetch_slot_close(struct fetch_slot *slot);

/*
 * A request comes in, decoded in `arena`. When it goes on with a session, its topics are replaced
 * by all of the session's, in the order in which they are to be read. *error: a Kafka error code,
 * of the whole request. False: the arena is used up; it may be called again with the same request.
 */
bool fetch_session_begin(struct fetch_slot *slot, struct kp_fetch_request *q, bool by_id,
	struct arena *arena, int16_t *error);
/*
 * Its response, in the order of the topics that fetch_session_begin left. In a session, partitions
 * with nothing new are taken out of it, and those with records are read last the next time. Sets
 * session_id.
 */
void fetch_session_end(struct fetch_slot *slot, const struct kp_fetch_request *q, bool by_id,
	uint64_t now_ns, struct kp_fetch_response *resp);

#endif
