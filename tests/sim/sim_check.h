/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_TESTS_SIM_CHECK_H
#define MR_TESTS_SIM_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include "kafka/batch.h"

/*
 * The checker: it is told everything that clients see, in order, and says when that cannot have
 * come from a correct broker. It knows nothing of how the broker works.
 *
 * An attempt is one try to append one batch; its number stands in the batch as the producer id, so
 * that each is told from all others. An idempotent producer has an id from CHK_ONCE_ID on, and all
 * its tries of one batch are one attempt, told by the sequence number. From what is acknowledged,
 * fetched and found after a restart the checker puts the log of each partition together; once an
 * offset is known to hold a batch, that holds for ever.
 */
#define CHK_PARTS 8
#define CHK_ONCE_ID (1ll << 40)

/* What can be wrong. X(id, text) */
#define CHK_RULES(X)                                                                               \
	X(LOST, "something acknowledged or seen before is not there any more")                     \
	X(CONTRADICTED, "an offset holds something else than before")                              \
	X(ACK_OFFSET, "a batch was acknowledged at an offset that is not its place")               \
	X(INVENTED, "a batch that nobody sent, or to another partition")                           \
	X(CHANGED, "the bytes of a batch are not those that were sent")                            \
	X(TWICE, "one attempt appears at two places")                                              \
	X(CAME_BACK, "a batch that had failed or was cut off is there again")                      \
	X(GAP, "offsets are not dense")                                                            \
	X(WATERMARK_BACK, "the high watermark went back")                                          \
	X(BEYOND_WATERMARK, "data at or beyond the high watermark was given out")                  \
	X(ORDER, "batches of a producer with one in flight are out of order")                      \
	X(CALL_ORDER, "batches of a partition stand in another order than they were handed over")  \
	X(FETCH_SHAPE, "a fetch is empty, too large, or does not begin at its batch")              \
	X(LIST, "ListOffsets is wrong")                                                            \
	X(START, "the log's start went back, or beyond what was asked")

enum chk_rule {
	CHK_OK,
#define X(id, text) CHK_##id,
	CHK_RULES(X)
#undef X
		CHK_RULE_COUNT
};

enum chk_fate { CHK_SENT, CHK_ACKED, CHK_UNKNOWN, CHK_DEAD };

struct chk_attempt {
	uint8_t *data; /* as sent */
	uint32_t len;
	int32_t count;
	uint32_t part, producer;
	uint64_t number;     /* of the producer's batch; the same in all its attempts */
	int64_t offset;	     /* where it was seen, -1: nowhere yet */
	int64_t append_time; /* LogAppendTime at the ack, -1 */
	enum chk_fate fate;
};

struct chk_entry {
	int64_t base;
	uint32_t attempt;
	int64_t append_time; /* of the batch as fetched; -1: CreateTime or not fetched yet */
};

struct chk_part {
	struct chk_entry *log;
	uint32_t count, capacity;
	int64_t end;	   /* everything below is known */
	int64_t watermark; /* of this incarnation */
	int64_t start;	   /* as told last */
	int64_t start_max; /* as far as it was asked to go */
	uint32_t last;	   /* attempt in the log, but for those of idempotent producers */
};

/* What is known of a producer at one partition, for the order of first appearances. */
struct chk_order {
	uint64_t last_number;
	bool any;
};

struct check {
	enum chk_rule broken; /* the first one; CHK_OK: none */
	char what[256];
	struct chk_attempt *attempts;
	uint32_t attempt_count, attempt_capacity;
	struct chk_part parts[CHK_PARTS];
	struct chk_order *orders; /* [producer * CHK_PARTS + part] */
	uint32_t producers;
	const bool *ordered; /* producers with one in flight, borrowed */
	bool log_append_time;
	struct batch_scratch scratch;
	uint64_t acked, fetched_batches, listed;
};

void chk_init(struct check *c, uint32_t producers, const bool *ordered, bool log_append_time);
void chk_fini(struct check *c);
const char *chk_rule_name(enum chk_rule r);
const char *chk_rule_text(enum chk_rule r);

/* The number of the next attempt, to be put into its batch. */
uint32_t chk_next(const struct check *c);
/* A batch is sent (the checker takes data, from malloc). */
void chk_sent(struct check *c, uint32_t part, uint32_t producer, uint64_t number, uint8_t *data,
	uint32_t len);
/* An attempt of an idempotent producer is made again. */
void chk_resent(struct check *c, uint32_t attempt);
void chk_acked(struct check *c, uint32_t attempt, int64_t base_offset);
/* Answered with an error. may_appear: the disk had failed, so that it may be found after a restart.
 */
void chk_failed(struct check *c, uint32_t attempt, bool may_appear);
/* The high watermark, as told by any answer. */
void chk_watermark(struct check *c, uint32_t part, int64_t hw);
/* Bytes of a fetch at `offset` that told hw. */
void chk_fetched(struct check *c, uint32_t part, int64_t offset, uint32_t max_bytes,
	bool at_least_one, const uint8_t *p, uint32_t len, int64_t hw);
/* ListOffsets with this timestamp (-1, -2, -3 or >= 0), asked when the high watermark was
 * hw_at_start, and the log's start start_then. */
void chk_listed(struct check *c, uint32_t part, int64_t timestamp, int64_t offset,
	int64_t record_timestamp, int64_t hw_at_start, int64_t start_then);
/* The log's start may move up to this. */
void chk_start_asked(struct check *c, uint32_t part, int64_t offset);
/* It has been told. */
void chk_start(struct check *c, uint32_t part, int64_t offset);
/* The partition has been deleted: nothing of it comes back. The next one of its name is empty. */
void chk_deleted(struct check *c, uint32_t part);
/* The process has died: what is not answered will not be. */
void chk_crashed(struct check *c);
/* After a restart: the log of the partition is [start, log_end)... */
void chk_reopened(struct check *c, uint32_t part, int64_t start, int64_t log_end);
/* ... and all of it has been fetched. What is not in it is gone for good. */
void chk_reread(struct check *c, uint32_t part);

#endif
