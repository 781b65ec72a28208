/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_TESTS_SIM_SHIM_H
#define MR_TESTS_SIM_SHIM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/prng.h"
#include "storage/worker/io.h"

/*
 * Planted bugs, to see that the simulator finds them. They sit in what lies between the engine and
 * the disk (here) or between the partitions and the engine (sim_node.c); the product's code is as
 * it is.
 */
#define SIM_MUTATIONS(X)                                                                           \
	X(NONE, "none", "nothing is wrong")                                                        \
	X(SKIP_FLUSH, "skip-flush", "flushes return at once and do nothing")                       \
	X(SKIP_DIR_FLUSH, "skip-dir-flush", "flushes of directories do nothing")                   \
	X(DROP_WRITE, "drop-write", "a write in a hundred is not done")                            \
	X(DROP_AT_START, "drop-at-start",                                                          \
		"pages that a start writes, and cuts that it makes, are lost")                     \
	X(ACK_BEFORE_FLUSH, "ack-before-flush", "appends are answered before the disk has them")   \
	X(ACK_FAILED, "ack-failed", "appends that failed are answered with success")               \
	X(SWAP_READ, "swap-read", "a byte of what was read is another one")                        \
	X(EARLY_WATERMARK, "early-watermark", "fetches see what is not durable")

enum sim_mutation {
#define X(id, name, text) SIM_##id,
	SIM_MUTATIONS(X)
#undef X
		SIM_MUTATION_COUNT
};

const char *sim_mutation_name(enum sim_mutation m);
const char *sim_mutation_text(enum sim_mutation m);
/* SIM_MUTATION_COUNT: no such name. */
enum sim_mutation sim_mutation_of(const char *name);

#define SIM_SHIM_DIRS 64

struct sim_shim {
	struct io io; /* first */
	struct io *under;
	enum sim_mutation mutation;
	struct prng rng;
	bool recovering; /* the node is starting */
	struct list done;
	struct io_file *dirs[SIM_SHIM_DIRS]; /* open directories */
};

void sim_shim_init(struct sim_shim *s, struct io *under, enum sim_mutation m, uint64_t seed);
/* Drops what it holds: the process has died. */
void sim_shim_cut(struct sim_shim *s);
/* True when operations wait to be reaped. */
bool sim_shim_has_done(const struct sim_shim *s);

#endif
