/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_CONTROL_API_H
#define MR_CONTROL_API_H

#include <stdbool.h>
#include <stdint.h>

#include "base/wheel.h"
#include "control/config/config.h"
#include "kafka/image.h"
#include "kafka/messages.h"
#include "control/meta/meta.h"
#include "control/meta/topic.h"
#include "shard/msg.h"

/*
 * What a handler of the control thread works with. Everything here is owned by the control thread
 * and called by it only; nothing blocks. A handler gets a request message, and it or something
 * later answers it, exactly once, by ctl_respond or ctl_hang_up.
 */

struct ctl;

/* ---- answering ---- */

struct ctl_api {
	int16_t key;
	/* Takes m until it is answered. m->request.frame stays valid until then. */
	void (*handle)(struct ctl *c, struct msg *m);
};
/* The handler of an API, NULL when there is none. One row per API in dispatch.c. */
const struct ctl_api *ctl_api_find(int16_t key);

/*
 * Answers m with `response`, a struct of messages.h, encoded for the request's version behind a
 * response header; frees the request's frame. Gives m back to its shard.
 */
void ctl_respond(struct ctl *c, struct msg *m, const void *response);
/* Answers m by closing its connection (a request that cannot be decoded, as Kafka does). */
void ctl_hang_up(struct ctl *c, struct msg *m);
/*
 * Decodes m's body into *out, a struct of messages.h whose arrays lie in the control thread's
 * scratch arena: valid until the handler returns (strings: until m is answered). False: m has been
 * hung up.
 */
bool ctl_decode(struct ctl *c, struct msg *m, void *out);
/* The same into an arena of the caller's; ctl_arena_size says how large it has to be for the
 * decoding. */
bool ctl_decode_in(struct ctl *c, struct msg *m, void *out, struct arena *a);
size_t ctl_arena_size(const struct msg *m);
/* Scratch for building a response; n zeroed bytes, valid until the handler returns. NULL: used up.
 */
void *ctl_scratch(struct ctl *c, size_t n);

/* ---- time ---- */

/* Set at the start of each turn. */
uint64_t ctl_now_ns(const struct ctl *c); /* monotonic */
int64_t ctl_wall_ms(const struct ctl *c); /* since 1970 */

struct ctl_timer {
	struct wheel_timer t;
	bool due; /* on its way to fn */
	void (*fn)(struct ctl *c, struct ctl_timer *timer);
};
void ctl_timer_init(struct ctl_timer *timer, void (*fn)(struct ctl *c, struct ctl_timer *timer));
/* Arms or re-arms; resolution 1 ms, never early. Borrows until it fires or is cancelled. */
void ctl_timer_arm(struct ctl *c, struct ctl_timer *timer, uint64_t deadline_ns);
/* Harmless when not armed. fn is not called after this. */
void ctl_timer_cancel(struct ctl *c, struct ctl_timer *timer);
static inline bool ctl_timer_armed(const struct ctl_timer *timer)
{
	return wheel_timer_armed(&timer->t);
}

/* ---- partitions ---- */

/*
 * An operation on a partition, carried out by the shard that owns it. The caller owns the struct,
 * fills in m.op (kind, part_id, current_leader_epoch = -1, and the kind's arguments) and `done`,
 * and leaves it alone until `done` is called, from a later turn. A part id that is not in the image
 * comes back with KE_UNKNOWN_TOPIC_OR_PARTITION.
 */
struct ctl_op {
	struct msg m;
	void (*done)(struct ctl *c, struct ctl_op *op);
	void *arg; /* the caller's */
};
void ctl_ask_part_op(struct ctl *c, struct ctl_op *op);
/*
 * Gives back the blocks of a finished fetch (error 0, or span.len > 0): to be called once `op` has
 * been looked at. m becomes a MSG_RELEASE; `done` is called once more, with op->m.kind ==
 * MSG_RELEASE, and the struct is the caller's again.
 */
void ctl_release(struct ctl *c, struct ctl_op *op);
/* How many ctl_ops are out. */
uint32_t ctl_ops_out(const struct ctl *c);

/* ---- metadata ---- */

const struct config *ctl_config(const struct ctl *c);
/* The newest image that every shard serves; NULL before the first. Valid until the turn ends. */
const struct image *ctl_image(const struct ctl *c);
/* The topic table, or the draft of it; may be ahead of the image. */
const struct topics *ctl_topics(const struct ctl *c);

/* Called once every shard serves all that was changed before ctl_when_served. */
struct ctl_wait {
	struct list node;
	uint64_t epoch;
	void (*done)(struct ctl *c, struct ctl_wait *wait);
	void *arg; /* the caller's */
};
/* Borrows wait until `done`, which may be called before this returns when nothing is under way. */
void ctl_when_served(struct ctl *c, struct ctl_wait *wait);
/* Harmless when it is not waiting. */
void ctl_wait_cancel(struct ctl_wait *wait);

/*
 * Changes of the topic table are made on a draft between begin and commit: they become durable, and
 * after that visible, together; the image follows by itself (ctl_when_served). All in one turn.
 */
bool ctl_change_begin(struct ctl *c); /* false: no memory */
/* A Kafka error code, with a sentence (TOPIC_ERROR_MAX) in err. The topic's id is filled into spec.
 */
int16_t ctl_create_topic(struct ctl *c, struct topic_spec *spec, char *err, size_t err_size);
int16_t ctl_delete_topic(struct ctl *c, struct kstr name);
int16_t ctl_alter_topic(
	struct ctl *c, const struct topic_alteration *a, char *err, size_t err_size);
int16_t ctl_grow_topic(struct ctl *c, const struct topic_growth *g, char *err, size_t err_size);
/* Keys of the broker (value null: not set any more); replace: others are not set any more. */
int16_t ctl_alter_broker(struct ctl *c, bool all_brokers, const struct topic_alteration *a,
	char *err, size_t err_size);
/* KE_NONE; KE_KAFKA_STORAGE_ERROR: it cannot be stored (logged), nothing was changed. */
int16_t ctl_change_commit(struct ctl *c);
/* Nothing was changed. */
void ctl_change_drop(struct ctl *c);
/* Creates __consumer_offsets (offsets.topic.num.partitions, compacted) unless it exists. KE_NONE:
   use ctl_when_served to wait for it. */
int16_t ctl_ensure_offsets_topic(struct ctl *c);

/* ---- modules: parts of the control plane with a life of their own (groups) ---- */

struct ctl_module {
	const char *name;
	/* Once, before the first image. Returns the module's state (ctl_module_state), NULL and a
	   sentence on failure. */
	void *(*open)(struct ctl *c, char *err, size_t err_size);
	/* Every shard serves a new image; the first call is the start. */
	void (*image)(struct ctl *c, void *state);
	/* From the stop signal on, once per turn: answer what is parked, flush; true when finished
	   and no ctl_op is out. Requests that come later are hung up. */
	bool (*stop)(struct ctl *c, void *state);
	void (*close)(struct ctl *c, void *state);
};
/* NULL-terminated; one row per module in dispatch.c. */
extern const struct ctl_module *const ctl_modules[];
/* State of module m. */
void *ctl_module_state(struct ctl *c, const struct ctl_module *m);

#endif
