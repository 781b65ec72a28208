/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_TOOLS_CLI_FETCHER_H
#define MR_TOOLS_CLI_FETCHER_H

#include "kafka/batch.h"
#include "tools/cli/cli.h"

/* Reads partitions of one topic, a request at a time. What an answer may hold is bounded. */
#define FETCH_BYTES (16 << 20)
#define FETCH_PARTITION_BYTES (1 << 20)
#define FETCH_INFLATED (256u << 20) /* address space for the records of one batch */

struct fetching {
	int32_t index;
	int32_t leader;
	int64_t position; /* of the next record */
	int64_t end;	  /* stop here; -1: never */
	int64_t committed;
};

struct fetcher {
	struct cli *c;
	const char *topic; /* borrowed */
	struct fetching *of;
	int32_t count;
	int32_t turn; /* who is asked first */
	uint32_t attempt;
	struct batch_scratch scratch;
	struct reply reply;
	/* Gets every record; false: enough, stop. */
	bool (*record)(void *arg, int32_t partition, const struct batch_record *rec);
	void *arg;
};

/* Memory for the fetcher; the rest is the caller's. An exit code. */
int fetcher_begin(struct fetcher *f);
void fetcher_end(struct fetcher *f);
/* Whether a partition has not reached its end. */
bool fetcher_waits(const struct fetcher *f);
/*
 * Asks each leader once; it may wait up to wait_ms for records. *enough is set when f->record said
 * so. An exit code.
 */
int fetcher_round(struct fetcher *f, int32_t wait_ms, bool *enough);

#endif
