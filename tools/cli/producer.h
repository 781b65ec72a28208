/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_TOOLS_CLI_PRODUCER_H
#define MR_TOOLS_CLI_PRODUCER_H

#include "kafka/batch.h"
#include "tools/cli/cli.h"

/*
 * Sends records to one topic, a request at a time: one batch a partition is filled, all of them go
 * together, what may be tried again is tried again until the timeout. Memory is bounded: at most
 * PRODUCER_MEMORY of batches are open, or one that a larger record needs.
 */
#define PRODUCER_MEMORY (32u << 20)

struct producer_options {
	int32_t partition; /* -1: by key, or in turns */
	enum codec codec;
	int16_t acks; /* -1: all */
	bool idempotent;
	uint32_t batch_bytes;
};

struct producer;

/* Begins; c and topic are borrowed. NULL: it has been said why, *code is the exit code. */
struct producer *producer_open(
	struct cli *c, const char *topic, const struct producer_options *options, int *code);
void producer_close(struct producer *p);
/* Adds a record (null: len -1); may send. An exit code. */
int producer_add(struct producer *p, struct kbytes key, struct kbytes value,
	const struct batch_header *headers, int32_t header_count);
/* Sends all that is open. An exit code. */
int producer_flush(struct producer *p);
/* Whether records are open. */
bool producer_waits(const struct producer *p);

/* Java's murmur2 of a key: which partition a key belongs to is a matter of all clients. Pure. */
uint32_t murmur2(const uint8_t *p, size_t n);

#endif
