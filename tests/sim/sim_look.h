/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_TESTS_SIM_LOOK_H
#define MR_TESTS_SIM_LOOK_H

#include "sim_rig.h"

/*
 * A look: the engine is started on a disk, every log that ever was is opened and read from its
 * start to its end, and what is found is held against the book of a rig. The rig and its disk stay
 * as they are (unless the look is at that disk).
 */
struct look;

/* What was found of one log. */
struct look_log {
	bool there;
	bool damaged; /* the engine says so */
	enum st_err err;
	struct st_log *handle;
	uint16_t dir;
	int64_t start, end;
	int64_t segment;
	uint64_t pos;
	uint32_t unreadable; /* batches */
};

/* Borrows g, disk, and staging (SIM_API_STAGING bytes; NULL: its own). */
struct look *look_new(const struct rig *g, struct sim_disk *disk, uint64_t seed, uint64_t now_us,
	uint8_t *staging);
/* Drops the engine when it is still there. */
void look_free(struct look *k);
/* Looks at another disk, in the memory of the last look. */
void look_reset(struct look *k, struct sim_disk *disk, uint64_t seed, uint64_t now_us);
/* Bytes may have been harmed: errors that say so are fine. */
void look_allow_harm(struct look *k);
/* Starts and reads. False: the start was refused, the machine stopped, or something is wrong. */
bool look_all(struct look *k);
/* Also appends to logs, and reads that back. */
bool look_append(struct look *k);
/* Also asks for offsets by time. */
bool look_times(struct look *k);
/* True: something is wrong that look_what tells. A refused start is wrong unless harm is allowed.
 */
bool look_is_broken(const struct look *k);
bool look_is_refused(const struct look *k);
/* Somebody else sees that something is wrong. */
__attribute__((format(printf, 2, 3))) void look_wrong(struct look *k, const char *fmt, ...);
const char *look_what(const struct look *k);
const struct look_log *look_log(const struct look *k, uint32_t index);
/* Whether the batch could be read. */
bool look_has_read(const struct look *k, uint32_t log, uint32_t batch);
uint64_t look_now_us(const struct look *k);
/* The running engine; the look has it no more. */
struct sim_api look_take_api(struct look *k);
/* Ends the process at once; the disk may be looked at again. */
void look_drop(struct look *k);

#endif
