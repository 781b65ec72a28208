/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_API_API_H
#define MR_API_API_H

#include <stdbool.h>
#include <stdint.h>

#include "api/fetch_session.h"
#include "base/arena.h"
#include "base/bytes.h"
#include "base/list.h"
#include "kafka/header.h"
#include "kafka/image.h"
#include "kafka/wire.h"
#include "partition/part.h"

/*
 * The data-plane APIs, one file each. A handler decodes its request, asks for partition operations,
 * and encodes the response when they are finished. It is pure: the shard carries the operations to
 * the partitions' owners and brings them back.
 *
 *   start ──► API_REPLY ───────────────────────────────► encode ──► release
 *     └─────► API_WAIT ──(operations back)──► resume ──┘
 *                 ▲                              │
 *                 └──────── API_WAIT ◄───────────┘
 *
 * What a handler keeps across a wait lives in the request's arena; the frame may be gone by then.
 */

enum api_step {
	API_REPLY, /* encode the response now */
	API_WAIT,  /* operations are under way; resume follows when all (or, with wait_any, one) are
		      back */
	API_TOPICS,    /* ask control to create the topics in wanted[]; start is called again after
			  that */
	API_SILENT,    /* finished, and the protocol sends no response (acks=0) */
	API_CLOSE,     /* the protocol closes the connection */
	API_TOO_LARGE, /* the arena is too small; call start again with a larger one */
};

struct api_limits {
	int32_t fetch_max_bytes;      /* of one response */
	int32_t fetch_part_max_bytes; /* of one partition in one response */
	bool auto_create_topics;
};

/* How a handler gets and gives back operations; implemented by the shard. */
struct api_req;
struct api_host {
	/* A zeroed operation on the request's list, or NULL when the shard has no more. */
	struct part_op *(*op_new)(struct api_host *h, struct api_req *r);
	/* Takes a finished operation off the request, with the references it holds. */
	void (*op_free)(struct api_host *h, struct api_req *r, struct part_op *op);
	/* Whether the operation is finished and back; what is not must not be read. */
	bool (*op_back)(struct api_host *h, const struct part_op *op);
};

struct api_req {
	struct kp_request_header hdr;
	struct rd body; /* at the first field of the body; borrowed during start only */
	struct arena *arena;
	struct api_host *host;
	const struct image *image; /* of the moment; may be another one at resume */
	const struct api_limits *limits;
	struct fetch_slot *fetch; /* the connection's */
	uint64_t now_ns;
	int64_t now_ms; /* wall clock */
	/* set by the handler */
	void *state;	 /* in the arena */
	bool wait_any;	 /* resume as soon as one operation is back or deadline_ns has passed; the
			    others are cancelled first */
	bool wait_limit; /* resume at deadline_ns at the latest; operations that are not back by
			    then go on, and nobody looks at their outcome */
	uint64_t deadline_ns;	   /* with wait_any or wait_limit */
	const struct kstr *wanted; /* API_TOPICS */
	uint32_t wanted_count;
	/* set by the shard */
	int32_t throttle_ms; /* before encode: for the response (KIP-219) */
	bool topics_asked;   /* start is called for the second time, after API_TOPICS */
};

struct api_handler {
	int16_t key;
	enum api_step (*start)(struct api_req *r);
	enum api_step (*resume)(struct api_req *r); /* NULL: never waits */
	void (*encode)(struct api_req *r, struct kwr *w);
};

/* The handler of an API key of the data plane, or NULL. */
const struct api_handler *api_handler_of(int16_t key);

/* Copies a string into the request's arena. False when the arena is used up. */
bool api_keep(struct api_req *r, struct kstr *s);

/* The topic a request means, by name or by id; NULL when the image has none. */
const struct image_topic *api_topic(
	const struct api_req *r, bool by_id, struct kstr name, const struct uuid *id);
/* A new operation on a partition; NULL when the shard has no more. */
struct part_op *api_op(struct api_req *r, enum part_op_kind kind, const struct image_partition *ip);
/* What a decoder's error (kp_err) means for start. */
enum api_step api_decode_failed(int err);

extern const struct api_handler api_versions_handler;
extern const struct api_handler api_produce_handler;
extern const struct api_handler api_fetch_handler;
extern const struct api_handler api_list_offsets_handler;
extern const struct api_handler api_delete_records_handler;
extern const struct api_handler api_offset_for_leader_epoch_handler;
extern const struct api_handler api_metadata_handler;
extern const struct api_handler api_describe_cluster_handler;
extern const struct api_handler api_describe_producers_handler;
extern const struct api_handler api_describe_topic_partitions_handler;

#endif
