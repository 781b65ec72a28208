/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_SHARD_SHARD_INT_H
#define MR_SHARD_SHARD_INT_H

/* Private to dataplane/shard: the structs that its files share. All owned by the shard's thread. */

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/wheel.h"
#include "kafka/batch.h"
#include "shard/bufs.h"
#include "shard/quota.h"
#include "shard/shard.h"
#include "shard/slab.h"

#define SESSION_MAX_INFLIGHT 64 /* produce requests of one connection at work at once */
#define SESSION_MAX_QUEUED 16	/* requests received and waiting their turn, before reading stops */
#define REQUEST_ARENA 4096	/* bytes; grows by a buffer when a request needs more */
#define REQUEST_RESPONSE 1024
#define REQUEST_ARENA_MAX (64u << 20)
#define QUOTA_CLIENT_MAX 255 /* bytes of a client id that quotas look at */

/* One client connection. */
struct session {
	struct list node; /* shard.sessions, least recently active first */
	struct shard *shard;
	net_conn_t conn;
	struct list requests;  /* request.node in order of arrival; their responses leave in this
				  order */
	struct list sending;   /* request.node whose response the transport holds */
	uint32_t queued;       /* of requests: not yet started */
	uint32_t started;      /* of requests: started, not yet answered */
	uint32_t alone;	       /* of those: not Produce, so that nothing starts beside them */
	uint8_t size_bytes[4]; /* of the next frame, as far as received */
	uint32_t size_have;
	uint8_t *frame; /* the frame under reception; NULL: none */
	uint32_t frame_cap;
	uint32_t frame_have;
	uint32_t frame_need;
	struct fetch_slot fetch;
	uint64_t active_ns; /* last time bytes came or went */
	bool paused;
	bool closing; /* net_close was called: input is dropped */
	bool blocked; /* the transport's send queue was full */
	bool pumping;
	struct list mute_node; /* of shard.muted, while it is throttled */
	uint64_t mute_until_ns;
	uint8_t client_id_len; /* of the newest request; kept while there are quotas */
	char client_id[QUOTA_CLIENT_MAX];
	char host[48];
};

enum request_state {
	REQ_QUEUED,  /* waits for the requests before it */
	REQ_WAIT,    /* partition operations under way */
	REQ_CONTROL, /* at the control thread, or waits for topics from it */
	REQ_READY,   /* answered; waits for the answers before it, or for room in the send queue */
	REQ_SENDING, /* the transport holds the response */
};

/* One request, from its frame's arrival until its response has left. */
struct request {
	struct list node;
	struct list run; /* shard.runnable */
	struct shard *shard;
	struct session *session; /* NULL: the connection is gone */
	enum request_state state;
	uint64_t arrived_ns;
	uint64_t cost_ns;		   /* of this thread; counted while there are quotas */
	struct api_limits limits;	   /* the shard's, less what a quota allows */
	const struct api_handler *handler; /* NULL: control plane */
	struct api_req api;
	uint8_t *frame; /* without the size field */
	uint32_t frame_len;
	uint32_t frame_cap; /* > 0: owned, from shard.bufs */
	uint32_t body;	    /* offset of the body in frame */
	struct list ops;    /* msg.asker: operations at work or kept by the handler */
	uint32_t ops_out;   /* of these: not yet back */
	uint32_t cancels;   /* MSG_PART_CANCEL not yet back */
	bool cancelling;
	bool silent;
	struct wheel_timer timer;
	struct arena arena;
	uint8_t *arena_buf;
	uint32_t arena_cap;
	uint8_t *resp;	   /* response with its size field */
	uint32_t resp_cap; /* > 0: from shard.bufs; 0: inline_resp or resp_heap */
	uint32_t resp_len;
	uint8_t *resp_heap; /* from control, after resp; malloc */
	uint32_t resp_heap_len;
	struct kwr_splice *splices;
	uint32_t splice_count;
	uint32_t spliced_bytes;
	uint8_t inline_arena[REQUEST_ARENA] __attribute__((aligned(16)));
	uint8_t inline_resp[REQUEST_RESPONSE];
};

/* A partition of this shard, with what the shard needs to open and delete it. */
struct shard_part {
	struct part part;
	struct list node; /* shard.opening or shard.closing */
	struct uuid topic_id;
	int32_t partition;
	bool open_sent;
	bool opened;   /* ST_OPEN is back */
	bool end_sent; /* ST_DELETE or ST_CLOSE */
	bool offline;  /* its log has failed */
	bool told;     /* and control knows, or will */
	bool gone;     /* of a deleted topic: opened only to be deleted */
	char topic[ST_TOPIC_MAX + 1];
};

/* A round over the partitions, step by step; upkeep.c. */
struct sweep {
	uint64_t every_ns; /* a round takes this long; 0: there is none */
	uint64_t next_ns;  /* of the next step */
	uint32_t at;	   /* part id */
	uint32_t out;	   /* its requests at the storage */
};

struct shard {
	struct shard_config cfg;
	struct net *net;
	struct mesh_port port;
	struct lblock_pool blocks;
	struct part_env env;
	struct producer_pool producers;
	struct batch_scratch scratch;
	struct st_req *reqs;
	struct part_out out;
	struct bufs bufs;
	struct wheel wheel;
	struct api_host host;
	const struct image *image;
	struct shard_part **parts; /* by part_id */
	uint32_t part_cap;
	uint32_t part_count;
	struct list opening; /* shard_part whose ST_OPEN is not sent yet */
	uint32_t opens_out;
	struct list closing; /* shard_part that finish their operations, or are being deleted */
	uint32_t open_failed;
	bool untold;		 /* some are offline and not told */
	struct msg *offline_msg; /* at control */
	struct msg *image_msg;	 /* MSG_IMAGE not yet answered */
	struct msg *disconnect_msg;
	struct msg *stop_msg;
	bool stopping;
	bool failed; /* a partition was offline at the stop */
	bool done;
	struct list sessions;
	uint32_t session_count;
	struct slab session_slab;
	struct fetch_sessions fetch_sessions;
	struct slab request_slab;
	struct slab msgs;
	struct list runnable; /* request.run: operations are back, resume */
	uint64_t now_ns;
	int64_t now_ms;
	bool st_dirty[64];	  /* workers to notify */
	struct api_limits limits; /* cfg.limits, less while responses pin much of the log memory */
	struct quota_table *quotas;
	struct list muted;     /* session.mute_node */
	uint64_t mute_next_ns; /* when the first of them is heard again; UINT64_MAX: none */
	uint64_t pinned_bytes; /* of log blocks, by responses that the transport holds */
	bool memory_short;     /* operations are stalled: no connection is read */
	bool pausing;	       /* and the connections know */
	uint64_t housekeeping_ns;
	struct sweep retention;
	struct sweep compaction;
	pthread_t thread;
	bool started;
	struct shard_metrics metrics;
};

/* shard.c */
/* One turn of the loop at this time (monotonic ns, wall ms); returns how much there was to do. */
uint32_t shard_turn(struct shard *s, uint64_t now_ns, int64_t now_ms);

/* session.c */
void session_accepted(struct shard *s, const struct net_event *ev);
void session_data(struct session *se, const uint8_t *p, uint32_t len);
void session_closed(struct session *se);
/* The transport is done with the response of r. */
void session_sent(struct session *se, struct request *r);
/* Closes the connection that has gone longest without taking what it is being sent. */
void session_shed_slow(struct shard *s);
/* After memory_short has changed. */
void session_pause_all(struct shard *s);
void session_close(struct session *se, bool abort);
/* Sends the responses that are ready, in order, and starts what may start. */
void session_pump(struct session *se);
/* Tries again where the transport had no room: it was the shard's, not the connection's, that ran
 * out. */
void session_pump_blocked(struct shard *s);
/* Closes connections that were silent for connections.max.idle.ms. */
void session_reap_idle(struct shard *s);
/* Closes the connection that has held an unfinished large frame longest. False: there is none. */
bool session_shed(struct shard *s, const struct session *keep);

/* throttle.c: client quotas */
/* Whose requests they are, from the next one on. */
void throttle_note_client(struct session *se, struct kstr client_id);
/* 0 while there are no quotas. */
uint64_t throttle_clock_ns(const struct shard *s);
/* A fetch whose client has a quota: its response is limited. */
void throttle_limits(struct request *r);
/* r begins: a producer's bytes. */
void throttle_start(struct request *r);
/* r is about to be answered: charges it, and mutes its connection when it is over its quota. */
void throttle_charge(struct request *r);
/* Writes the time into an encoded response (from the correlation id on) that begins with it. */
void throttle_tell(const struct request *r, uint8_t *response, size_t len);
/* Connections that have been quiet for long enough. */
void throttle_turn(struct shard *s);
static inline bool session_is_muted(const struct session *se)
{
	return list_linked(&se->mute_node);
}

/* request.c */
void request_host_init(struct api_host *h);
struct request *request_new(struct session *se, uint8_t *frame, uint32_t len, uint32_t cap);
/* Copies a borrowed frame (at most a receive buffer), because it is needed after the call that
 * received it. */
void request_own_frame(struct request *r);
void request_start(struct request *r);
void request_resume(struct request *r);
/* An operation of this shard's requests is back. */
void request_op_done(struct shard *s, struct msg *m);
void request_cancel_done(struct shard *s, struct msg *m);
/* Control has answered MSG_REQUEST or MSG_TOPICS_WANTED. */
void request_control_done(struct shard *s, struct msg *m);
void request_timer_fired(struct request *r);
/* The response has left, or the connection is gone: frees everything, now or when the last
 * operation is back. */
void request_free(struct request *r);
bool request_is_produce(const struct request *r);

/* route.c */
struct msg *shard_msg_new(struct shard *s, enum msg_kind kind, void *user);
void shard_msg_free(struct shard *s, struct msg *m);
/* Starts an operation of this shard's or another's at its owner. */
void route_op(struct shard *s, struct msg *m);
void route_cancel(struct shard *s, struct request *r, struct msg *wait);
/* The end of an operation that is not out: gives its references back to whoever owns the blocks,
 * and frees m. */
void route_retire(struct shard *s, struct msg *m);
/* After a call into the partition: remembers that it could not go on for want of memory. */
void route_note_stall(struct shard *s, const struct part *p);
/* Carries out->store to the workers and out->done to whoever asked; until both are empty. */
void route_drain(struct shard *s);
void route_message(struct shard *s, struct msg *m);

/* topics.c: partitions come and go with the image */
void shard_topics_apply(struct shard *s, struct msg *m);
/* Sends what can be sent; answers MSG_IMAGE when everything is open and deleted. */
void shard_topics_turn(struct shard *s);
void shard_topics_stored(struct shard *s, struct st_req *r);
struct shard_part *shard_topics_part(struct shard *s, uint32_t part_id);
/* The storage has answered an operation of the partition with an error. */
void shard_topics_failed(struct shard *s, struct part *p);
/* MSG_OFFLINE is back. */
void shard_topics_told(struct shard *s, struct msg *m);
/* At stop: closes every log. True when nothing is left. */
bool shard_topics_stop(struct shard *s);
void shard_topics_fini(struct shard *s);

/* upkeep.c: retention and compaction */
/* The first image is here. */
void upkeep_begin(struct shard *s);
void upkeep_turn(struct shard *s);
/* Monotonic time of the next step; UINT64_MAX: none. */
uint64_t upkeep_next_ns(const struct shard *s);
/* Any request, on its way to the storage and back. */
void upkeep_sent(struct shard *s, const struct st_req *r);
void upkeep_answered(struct shard *s, const struct st_req *r);

/* store.c */
struct st_req *store_req_new(struct shard *s);
void store_req_free(struct shard *s, struct st_req *r);
void store_send(struct shard *s, struct st_req *r);
/* Collects finished requests; returns how many. */
uint32_t store_collect(struct shard *s);
void store_notify(struct shard *s);

#endif
