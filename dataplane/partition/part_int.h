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

/* Tries an operation of a partition that serves, or lets it stall. */
void part_go(struct part *p, struct part_op *op, int64_t now_ms, struct part_out *out);

/* producers.c; head: the first BATCH_HEADER_SIZE bytes of a batch, which may have no producer */

/* Whether the batch may be appended: a Kafka error code. *duplicate: it is there already. */
int16_t part_producer_check(struct part *p, const uint8_t *head, int64_t now_ms,
	const struct producer_batch **duplicate);
/* The batch has been placed; its offsets are set. */
void part_producer_placed(struct part *p, struct part_op *op, int64_t now_ms);
/* An append is durable, or has been taken back with all that came after it. */
void part_producer_durable(struct part *p, const struct part_op *op);
void part_producer_rewound(struct part *p, const struct part_op *op);
/* A batch stands in the log. */
void part_producer_stored(struct part *p, const uint8_t *head, int64_t now_ms);
/* Writes what is durable to the pool's note; its length. */
uint32_t part_producers_note(struct part *p);
/* Takes over a note; its offset, or -1: it cannot be used, and nothing is known. */
int64_t part_producers_from_note(struct part *p, const uint8_t *note, uint32_t len);
/* Tells of all that are durable. */
enum part_step part_try_producers(
	struct part *p, struct part_op *op, int64_t now_ms, struct part_out *out);
/* Forgets all of this partition's. */
void part_producers_clear(struct part *p);

/* history.c */

/* The log is open; its ends are known. */
void part_history_opened(struct part *p);
/* Whether the operation is an append of an idempotent producer. */
bool part_history_wants(const struct part *p, const struct part_op *op);
/* Begins to find out what the log says, or goes on with it, unless that has been done. */
void part_history_begin(struct part *p, int64_t now_ms, struct part_out *out);
/* Goes on with it, if it can. */
void part_history_step(struct part *p, int64_t now_ms, struct part_out *out);
/* ST_READ of history_req, or ST_NOTE, has been answered. */
void part_history_read(struct part *p, struct st_req *r, int64_t now_ms, struct part_out *out);
void part_history_noted(struct part *p, struct st_req *r, int64_t now_ms, struct part_out *out);
/* Writes a note when it is due. */
void part_history_upkeep(struct part *p, int64_t now_ms, struct part_out *out);

/* Whether the log may be cut below offset: not before it has been read. */
bool part_history_allows_cut(struct part *p, int64_t offset, int64_t now_ms, struct part_out *out);

/* append.c */
enum part_step part_try_append(
	struct part *p, struct part_op *op, int64_t now_ms, struct part_out *out);
void part_append_stored(struct part *p, struct st_req *r, int64_t now_ms, struct part_out *out);
void part_tail_stored(struct part *p, struct st_req *r, struct part_out *out);
/* Takes back everything that is placed and not durable; its operations end with an error, and
 * `why` as its message (static or NULL). Nothing is at the storage. pos: where the first of it was
 * placed in `segment`. */
void part_append_rewind(
	struct part *p, int64_t segment, uint64_t pos, const char *why, struct part_out *out);

/* fetch.c */

/* In its turn: a cold read waits for those that came before it otherwise. */
enum part_step part_try_fetch(
	struct part *p, struct part_op *op, int64_t now_ms, bool in_turn, struct part_out *out);
/* Ends a fetch; the watermarks are filled in. */
void part_fetch_finish(struct part *p, struct part_op *op, int16_t error, struct part_out *out);
/* The first bytes of a batch, up to its last offset delta. */
#define PART_PEEK_SIZE 27u

/* cold.c */

/* A fetch of what is not in memory: from a chunk, or by a read of the storage. */
enum part_step part_cold_fetch(
	struct part *p, struct part_op *op, int64_t now_ms, bool in_turn, struct part_out *out);
void part_read_stored(struct part *p, struct st_req *r, int64_t now_ms, struct part_out *out);
/* Ends all fetches that wait in line. */
void part_cold_end(struct part *p, int16_t error, struct part_out *out);
/* Drops all that was read; nothing is under way. */
void part_cold_clear(struct part *p);
/* Drops what was read and lies below the log's start. */
void part_cold_trim(struct part *p);
/* Drops chunks that nobody holds, oldest first, until n blocks became free. */
void part_env_drop_chunks(struct part_env *env, uint32_t n);

/* list.c */
enum part_step part_try_list(struct part *p, struct part_op *op, struct part_out *out);
void part_lookup_stored(struct part *p, struct st_req *r, struct part_out *out);

/* upkeep.c */
enum part_step part_try_size(struct part *p, struct part_op *op, struct part_out *out);
void part_size_stored(struct part *p, struct st_req *r, struct part_out *out);
enum part_step part_try_trim(
	struct part *p, struct part_op *op, int64_t now_ms, struct part_out *out);
void part_trim_stored(struct part *p, struct st_req *r, struct part_out *out);
/* The log has rolled: what retention.bytes lets go is asked for at once, so that the log stays near
 * its limit at any rate, and a removed segment's file is there for the next roll. */
void part_upkeep_rolled(struct part *p, int64_t now_ms, struct part_out *out);
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
/* The block's bytes up to `used` have become durable, as far as they have: it can be evicted once
 * it is released. */
void part_cache_durable(struct part *p, struct lblock *b);
/* More bytes are about to be placed in the block. */
void part_cache_open(struct part *p, struct lblock *b);
/* The block after b in the run, which `next` gives within a segment only; b is not the last. */
struct lblock *part_cache_after(const struct part *p, const struct lblock *b);
/* Drops the first block. */
void part_cache_drop_first(struct part *p);

/* room.c */

/* The storage's word that it needs nothing below pos any more. */
void part_released(struct part *p, struct st_pos pos);
/* The log has failed: the storage needs none of its blocks. */
void part_released_all(struct part *p);
/* True when the storage does not need b any more. */
bool part_block_is_released(const struct part *p, const struct lblock *b);
/* Puts the partition on the list of holders, or takes it off, as it should be. */
void part_holder_update(struct part *p);
void part_fill_stored(struct part *p, struct st_req *r, struct part_out *out);
/* Tries to have n free blocks, by eviction. When there is little to evict, the storage is asked to
 * release more. */
bool part_env_make_room(struct part_env *env, uint32_t n, struct part_out *out);

#endif
