/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_PARTITION_PART_INT_H
#define MR_PARTITION_PART_INT_H

#include "partition/part.h"

/* Private to dataplane/partition/. */

/* The part_try_ functions: DONE, the operation has moved on (or is finished); STALLED, nothing has
 * happened and it is to be tried again when blocks, requests or the tail are there. */
enum part_step { PART_STEP_DONE, PART_STEP_STALLED };

/* part.c */

/* Ends an operation: it belongs to the asker again. It must be on no list. */
void part_finish(struct part_op *op, int16_t error, struct part_out *out);
/* Ends all operations of a list. */
void part_finish_all(struct list *ops, int16_t error, struct part_out *out);
/* A storage request for this partition, or NULL when env has none left. */
struct st_req *part_req_get(struct part *p, enum st_op op);
/* Gives a request back to env. */
void part_req_put(struct part *p, struct st_req *r);
/* Hands it to the storage. */
void part_req_send(struct part *p, struct st_req *r, struct part_out *out);
/* Takes the operation that waits for r off the list of those at the storage. */
struct part_op *part_take_reader(struct part *p, const struct st_req *r);
/* Moves the log's start up to `offset`, which comes from the storage. */
void part_start_moved(struct part *p, int64_t offset);
/* The partition's directory failed: everything but what is at the storage ends. */
void part_set_offline(struct part *p, struct part_out *out);

/* append.c */
enum part_step part_try_append(
	struct part *p, struct part_op *op, int64_t now_ms, struct part_out *out);
void part_append_stored(struct part *p, struct st_req *r, int64_t now_ms, struct part_out *out);
void part_tail_stored(struct part *p, struct st_req *r, struct part_out *out);
/* Takes back everything that is placed and not durable; its operations end with an error. Nothing
 * is at the storage. pos: where the first of it was placed in `segment`. */
void part_append_rewind(struct part *p, int64_t segment, uint64_t pos, struct part_out *out);

/* fetch.c */
enum part_step part_try_fetch(struct part *p, struct part_op *op, struct part_out *out);
void part_read_stored(struct part *p, struct st_req *r, struct part_out *out);

/* list.c */
enum part_step part_try_list(struct part *p, struct part_op *op, struct part_out *out);
void part_lookup_stored(struct part *p, struct st_req *r, struct part_out *out);

/* upkeep.c */
enum part_step part_try_trim(struct part *p, struct part_op *op, struct part_out *out);
void part_trim_stored(struct part *p, struct st_req *r, struct part_out *out);
/* ST_RETAIN or ST_CLEAN has been answered. */
void part_upkeep_stored(struct part *p, struct st_req *r, struct part_out *out);
/* Upkeep requests at the storage. */
uint32_t part_upkeep_out(const struct part *p);

/* cache.c */

/* Adds the block that comes after all others; takes the caller's reference. b->segment, file_pos,
 * used and first_offset are set. */
void part_cache_push(struct part *p, struct lblock *b);
/* Drops the last block. */
void part_cache_pop(struct part *p);
/* Drops all. */
void part_cache_clear(struct part *p);
/* The last block in which a batch with base offset <= offset begins; NULL when it is not in memory.
 */
struct lblock *part_cache_find(const struct part *p, int64_t offset);
/* True when all of the block's bytes are durable. */
bool part_block_is_durable(const struct part *p, const struct lblock *b);
/* The block may be evicted from now on if it is durable; not any more. */
void part_cache_allow_evict(struct part *p, struct lblock *b);
void part_cache_forbid_evict(struct part *p, struct lblock *b);
/* Tries to have n free blocks, by eviction. */
bool part_env_make_room(struct part_env *env, uint32_t n);

#endif
