/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_SHARD_MSG_H
#define MR_SHARD_MSG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/conn_info.h"
#include "base/list.h"
#include "base/ring.h"
#include "base/tape.h"
#include "kafka/image.h"
#include "partition/part.h"

/*
 * Messages between the shards and the control thread, and the mesh of rings that carries them.
 *
 * A node is a shard (0 .. shards-1) or the control thread (the last one). A message belongs to the
 * node that holds it. A question goes out with answer = false and the very same message comes back
 * with answer = true; then it is its first owner's again, who alone allocates and frees it.
 */

enum msg_kind {
	/* shard or control -> owning shard: one partition operation (`op`); back when it is
	   finished. A finished fetch pins blocks of the owning shard: its asker sends MSG_RELEASE
	   when it is done. */
	MSG_PART_OP,
	/* asker -> owning shard: end a PART_WAIT that was sent before (`cancel`). Answered. The
	   wait itself comes back as well, before or after; the asker keeps it alive until both are
	   back. */
	MSG_PART_CANCEL,
	/* asker -> owning shard: references of a finished fetch (`release`). Answered. */
	MSG_RELEASE,
	/* shard -> control: a whole request of a control-plane API (`request`); back with the
	   response. */
	MSG_REQUEST,
	/* shard -> control: create these topics if auto.create.topics.enable (`wanted`); back when
	   every shard has the image that holds the outcome. */
	MSG_TOPICS_WANTED,
	/* shard -> control: the logs of these partitions have failed (`offline`). Answered. */
	MSG_OFFLINE,
	/* control -> shard: a new metadata image (`image`); back when the shard serves by it:
	   partitions that are new to it are open, or have failed to; those that it has no more are
	   closed, and deleted when it has them as gone. The image stays control's; the shard lets
	   go of the one before when it answers. */
	MSG_IMAGE,
	/* control -> shard: fill a page of connections (`page`; its memory stays control's). */
	MSG_CONNECTIONS,
	/* control -> shard: frames for a capture, or no more (`capture`; its tape stays control's).
	 */
	MSG_CAPTURE,
	/* control -> shard: close the listener and all connections; back when no request is left
	   here. Others are answered on: their requests may still ask for what is here. */
	MSG_DISCONNECT,
	/* control -> shard, when no shard has a request any more: finish (`stop`): close all logs;
	   back when nothing is left. The shard's thread ends after it has sent the answer. */
	MSG_STOP,
};

/* A response buffer or frame on the heap (malloc), handed over with its message. */
struct msg_buf {
	uint8_t *p;
	uint32_t len;
};

/* Where an operation is, for its asker. */
enum msg_stage { MSG_NEW, MSG_OUT, MSG_BACK };

struct msg {
	struct list node;  /* the holder's */
	struct list asker; /* the first owner's: to find what it has sent out */
	enum msg_kind kind;
	uint16_t from; /* node to answer to */
	bool answer;
	enum msg_stage stage; /* the first owner's */
	void *user;	      /* the first owner's */
	union {
		struct part_op op;
		struct {
			uint32_t part_id;
			struct msg *wait; /* identity only */
		} cancel;
		struct {
			struct lspan span;
		} release;
		struct {
			int16_t api_key;
			int16_t api_version;
			int32_t correlation_id;
			struct msg_buf frame;  /* the request as received, after its size; header
						  included. Control  frees it (free) or leaves it for
						  the shard to free on return. */
			uint32_t body;	       /* where the body begins in frame */
			const char *client_id; /* slice of frame; not terminated */
			int32_t client_id_len; /* -1: null */
			char client_host[48];  /* the peer's address as text */
			/* result: response body from the response header on, without the size
			   field; p = NULL: close the connection */
			struct msg_buf response;
		} request;
		struct {
			struct msg_buf names; /* NUL-terminated names, one after the other; malloc,
						 the shard's */
			uint32_t count;
		} wanted;
		struct {
			uint32_t *part_ids; /* malloc, the shard's */
			uint32_t count;
		} offline;
		struct {
			const struct image *image;
			uint32_t failed; /* result: partitions that could not be opened */
			/* result: set for each of image->gone that has logs left at this shard.
			   Control's; NULL when none is gone. */
			bool *undeleted;
		} image;
		struct conn_page page;
		struct capture_order capture;
		struct {
			bool clean; /* result: nothing was lost or left undone */
		} stop;
	};
};

#define MESH_MAX_NODES 65

/* All rings between the nodes; made by the composition root before the threads. */
struct mesh {
	uint16_t nodes;					   /* shards + 1; the last one is control */
	struct ring *ring[MESH_MAX_NODES][MESH_MAX_NODES]; /* [from][to] */
	struct waker *waker[MESH_MAX_NODES]; /* each node's own; set before the threads start */
};

/* 0 or -ENOMEM. ring_size: messages that each ring holds. */
int mesh_init(struct mesh *m, uint16_t nodes, uint32_t ring_size);
void mesh_fini(struct mesh *m);
static inline uint16_t mesh_control(const struct mesh *m)
{
	return (uint16_t)(m->nodes - 1);
}

/* One node's end of the mesh; used by its thread only. */
struct mesh_port {
	struct mesh *mesh;
	uint16_t self;
	uint64_t dirty; /* nodes to notify (bit per node; node 64 rides in dirty_last) */
	bool dirty_last;
	struct list backlog[MESH_MAX_NODES]; /* did not fit into the ring yet */
	uint32_t backlog_count;
};

void mesh_port_init(struct mesh_port *p, struct mesh *m, uint16_t self);
/* Sends a question to `to`: sets from and answer. Never fails: what does not fit waits here. */
void mesh_ask(struct mesh_port *p, uint16_t to, struct msg *m);
/* Sends m back to where it came from. */
void mesh_answer(struct mesh_port *p, struct msg *m);
/* Moves the backlog on and wakes the nodes that were sent to. Once per turn. */
void mesh_flush(struct mesh_port *p);
/* Receives up to max messages from all nodes, in turn. */
uint32_t mesh_recv(struct mesh_port *p, struct msg **out, uint32_t max);
/* True when nothing waits to be received (a hint; look again after waker_arm). */
bool mesh_is_quiet(const struct mesh_port *p);

#endif
