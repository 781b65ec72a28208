/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_PARTITION_PRODUCERS_H
#define MR_PARTITION_PRODUCERS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

/*
 * What is known of idempotent producers (KIP-98): for each producer id of a partition its epoch and
 * its last five batches. A batch that is one of them is a duplicate; any other must go on where the
 * last one ended. The memory is the shard's, shared by its partitions, and of fixed size: when it,
 * or a partition's part of it, is full, the producer that has been idle longest is forgotten. One
 * that is not known may begin with any sequence number, as in Kafka.
 */

#define PRODUCER_WINDOW 5u	   /* batches; clients have at most so many in flight */
#define PRODUCERS_PER_PART 4096u   /* known ones of one partition */
#define PRODUCERS_PER_SHARD 65536u /* of one shard; 20 MiB when all are in use */

struct producer_batch {
	int64_t base_offset;
	int64_t append_time_ms; /* -1 unless LogAppendTime */
	int32_t first_sequence;
	int32_t last_delta; /* records but one */
};

/* What is told of a producer to who asks. */
struct producer_state {
	int64_t id;
	int64_t used_ms; /* wall clock of its last batch */
	int16_t epoch;
	int32_t last_sequence;
};

/* The last batches of one epoch, oldest first. */
struct producer_window {
	int16_t epoch;
	uint16_t count;
	struct producer_batch batches[PRODUCER_WINDOW];
};

struct producer {
	struct list idle;      /* of the pool: idle longest first; or free */
	struct list node;      /* of the partition: likewise */
	struct producer *same; /* in the same bucket */
	const void *part;
	int64_t id;
	int64_t used_ms;		/* wall clock of its last batch */
	struct producer_window placed;	/* with what is not durable yet */
	struct producer_window durable; /* what a refused append goes back to */
};

struct producer_pool {
	struct producer *all;
	struct producer **buckets;
	uint32_t capacity; /* a power of two; of both */
	uint32_t fresh;	   /* all[fresh] and behind have never been used */
	uint32_t count;	   /* in use */
	uint32_t parts;	   /* partitions that share it */
	uint64_t forgotten;
	struct list idle, free;
	int64_t expiration_ms; /* producer.id.expiration.ms */
	/* A partition writes a note after so many bytes: all together `all`, each within the
	 * others. */
	uint64_t unnoted_all, unnoted_least, unnoted_most;
	uint8_t *note; /* PRODUCER_NOTE_MAX bytes; one note at a time is on its way */
	bool note_busy;
};

/* A pool of at most `capacity` producers (a power of two). 0; -ENOMEM. Memory is touched as it is
 * used. */
int producer_pool_init(struct producer_pool *pool, uint32_t capacity, int64_t expiration_ms);
/* No partition uses it any more. */
void producer_pool_fini(struct producer_pool *pool);

/* Last sequence number of a batch; 2147483647 is followed by 0. */
static inline int32_t producer_last_sequence(const struct producer_batch *b)
{
	return (int32_t)(((uint32_t)b->first_sequence + (uint32_t)b->last_delta) & INT32_MAX);
}
static inline int32_t producer_next_sequence(const struct producer_window *w)
{
	const struct producer_batch *b = &w->batches[w->count - 1];
	return (int32_t)(((uint32_t)producer_last_sequence(b) + 1) & INT32_MAX);
}
/* Adds a batch; those of an older epoch go. */
void producer_window_add(struct producer_window *w, int16_t epoch, const struct producer_batch *b);

/*
 * A note: what is known of the producers of a log below an offset, as the storage keeps it beside
 * the log (docs/FORMAT.md). Bytes in, values out, and the other way round.
 */
struct producer_note_entry {
	int64_t id;
	int64_t used_ms;
	struct producer_window window;
};
#define PRODUCER_NOTE_HEAD 16u
#define PRODUCER_NOTE_ENTRY 24u
#define PRODUCER_NOTE_MAX                                                                          \
	(PRODUCER_NOTE_HEAD +                                                                      \
		PRODUCERS_PER_PART *                                                               \
			(PRODUCER_NOTE_ENTRY + PRODUCER_WINDOW * sizeof(struct producer_batch)))

/* Begins a note in PRODUCER_NOTE_MAX bytes at p; its length so far. */
uint32_t producer_note_begin(uint8_t *p, int64_t offset, uint32_t count);
/* Adds an entry at `at`; the length with it. */
uint32_t producer_note_add(uint8_t *p, uint32_t at, const struct producer_note_entry *e);

struct producer_note {
	const uint8_t *p;
	uint32_t len, at;
	int64_t offset;
	uint32_t left; /* entries */
};
/* Begins to read one. False when it is not a note. */
bool producer_note_open(struct producer_note *n, const uint8_t *p, uint32_t len);
/* The next entry: 1; 0 at the end, when nothing is left over; -1: it is damaged. */
int producer_note_next(struct producer_note *n, struct producer_note_entry *out);

#endif
