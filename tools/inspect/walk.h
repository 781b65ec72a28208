/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_TOOLS_INSPECT_WALK_H
#define MR_TOOLS_INSPECT_WALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "storage/format/scan.h"

/*
 * Walks batches by the rules of storage/format/scan.h, but can let offsets jump ahead, as they do
 * in a compacted segment, and can keep the batch's bytes.
 */
struct walk {
	uint64_t pos;	/* end of the last valid batch */
	uint64_t limit; /* the bytes end here */
	int64_t next_offset;
	bool gaps; /* offsets may jump ahead */
	bool keep; /* buf gets the batch */
	bool no_memory;
	enum scan_stop stop;
	struct scan_batch batch; /* the last one, or the one that is being read */
	uint8_t head[SCAN_BATCH_HEAD];
	uint64_t have; /* bytes of it so far */
	uint32_t crc;
	uint8_t *buf; /* with keep: the whole batch */
	size_t room;
};

/* A walk that begins at pos with the batch next_offset. walk_fini when it has ended. */
void walk_init(struct walk *w, uint64_t pos, int64_t next_offset, uint64_t limit);
void walk_fini(struct walk *w);
/* As scan_feed. */
enum scan_step walk_feed(struct walk *w, const uint8_t **p, size_t *n);
/* Whether nothing but whole valid batches has been fed, up to the limit. */
bool walk_is_whole(const struct walk *w);

#endif
