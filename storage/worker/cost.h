/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_STORAGE_WORKER_COST_H
#define MR_STORAGE_WORKER_COST_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Where a run of bytes is cheaper written: twice, into the journal now and into its segment later,
 * or once, straight into its segment.
 *
 * The journal costs the run's bytes a second time. The segment costs an operation more, and a flush
 * of one more file where the journal's flush does not reach it. All of this is measured on the
 * device as it is used: the time of a byte from large writes to the journal, and of a flush of a
 * segment from what it takes longer than the journal's. What is not tried is not measured: each
 * run that goes to the journal makes the flush a little cheaper in the estimate, until one is tried
 * again.
 *
 * Pure. One for each lane; the storage worker's thread.
 */

#define COST_WRITTEN_LEAST (32u * 1024u) /* bytes: an operation costs as much as so many */
#define COST_MOST (1024u * 1024u)	 /* larger runs are always written once */
#define COST_DEFAULT (256u * 1024u)	 /* before anything has been measured */

struct path_cost {
	uint64_t write_ps;   /* of a byte, in a large write; 0: not measured yet */
	uint64_t journal_ns; /* a flush of the journal; 0: not measured yet */
	uint64_t segment_ns; /* a flush of a segment; 0: not measured yet */
};

/* A write of so many bytes to the journal took so long. */
void cost_note_write(struct path_cost *c, uint64_t bytes, uint64_t ns);
/* So did a flush of the journal, or of a segment. */
void cost_note_journal_flush(struct path_cost *c, uint64_t ns);
void cost_note_segment_flush(struct path_cost *c, uint64_t ns);
/* A run that would have been large enough for a segment that the journal's flush reaches went into
 * the journal. */
void cost_note_not_tried(struct path_cost *c);
/* From how many bytes on a run is to be written once. reached: the journal's flush covers it. */
uint64_t cost_direct_min(const struct path_cost *c, bool reached);

#endif
