/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_TOOLS_CLIENT_CLIENT_H
#define MR_TOOLS_CLIENT_CLIENT_H

#include "base/arena.h"
#include "kafka/api_table.h"
#include "kafka/errcode.h"
#include "kafka/messages.h"
#include "tools/client/conn.h"

/*
 * A small synchronous client of Kafka brokers: one request at a time, one connection a broker. One
 * thread. Versions: the highest that the broker (ApiVersions, KIP-35, KIP-511) and our codec share,
 * but for the APIs whose newest versions name topics by id: there the last that names them.
 */

#define CLIENT_ANY (-1) /* whichever broker can be reached */
#define CLIENT_BROKERS 256

struct client_options {
	const char *bootstrap; /* host:port,host:port... */
	const char *client_id;
	int64_t timeout_ms; /* for each request, and for all its retries */
	int stop_fd;	    /* readable: everything ends with CLIENT_E_STOPPED; -1: none */
};

/* An answer: what a decoded response's slices and arrays lie in. All zero is empty. */
struct reply {
	uint8_t *bytes;
	size_t size;
	void *memory; /* of the arena */
	size_t memory_size;
	int16_t version; /* of the response */
};

struct client;

/* Makes a client; connects to nothing yet. NULL: bootstrap is no list of addresses, or no memory.
 */
struct client *client_open(const struct client_options *options);
void client_close(struct client *c);
void reply_free(struct reply *r);

/*
 * Sends a request to broker `node` (CLIENT_ANY, or one that client_metadata or client_coordinator
 * told of) and decodes its answer: request and response are the kp_ structs of the API `key`. The
 * response is valid until reply is used or freed. A connection that the broker had closed meanwhile
 * is made again once, except for Produce. A client_err; the text is client_error's.
 */
int client_call(struct client *c, int32_t node, enum kp_api_key key, const void *request,
	void *response, struct reply *reply);
/* Sends a request that has no answer: Produce with acks 0. */
int client_tell(struct client *c, int32_t node, enum kp_api_key key, const void *request);
/* Like client_call, with room of extra_ms for a request that the broker may keep waiting. */
int client_call_waiting(struct client *c, int32_t node, enum kp_api_key key, const void *request,
	void *response, struct reply *reply, int64_t extra_ms);
/* The version that client_call would use; a client_err when there is none. Connects. */
int client_version(struct client *c, int32_t node, enum kp_api_key key);
/* What broker `node` serves, indexed by key. NULL: not connected. */
const struct conn_range *client_ranges(struct client *c, int32_t node);

/*
 * Metadata of the named topics (NULL: of all); learns the brokers. Topics are not created by it
 * unless `create`. A client_err.
 */
int client_metadata(struct client *c, const struct kstr *names, int32_t count, bool create,
	struct kp_metadata_response *out, struct reply *reply);
/* The controller that the last metadata named, or CLIENT_ANY. Asks when nothing is known. */
int32_t client_controller(struct client *c);
/* The coordinator of a group; waits for one while the broker says that it is not ready. A
 * client_err, or the broker's error code (above 0). */
int client_coordinator(struct client *c, const char *group, int32_t *node);

/* Text of the last failure. */
const char *client_error(const struct client *c);
/* Waits before the attempt after the n-th, n from 0: 50 ms, doubled, at most 1 s. CLIENT_E_STOPPED
 * or CLIENT_OK. */
int client_back_off(struct client *c, uint32_t n);
/* Deadline of something that begins now, in clock_mono_ns() time. */
uint64_t client_deadline(const struct client *c);

/* The highest version of key that both sides have and `cap` allows; CLIENT_E_VERSION. Pure. */
int client_version_pick(const struct kp_message *message, struct conn_range broker, int16_t cap);

#endif
