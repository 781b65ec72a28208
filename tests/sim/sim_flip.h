/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_TESTS_SIM_FLIP_H
#define MR_TESTS_SIM_FLIP_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Harm done to what is stored: a small data directory with every kind of file is made, and harmed
 * in one place: each bit flipped, pages zeroed, swapped between segments or replaced by what stood
 * there before, files cut or missing. Then the engine is started on it and everything is read. It
 * may serve what was there, or say clearly what it cannot serve. It may not serve anything else,
 * have forgotten anything acknowledged without saying so, nor delete anything; and harm in one
 * block of one segment leaves all other blocks and logs readable.
 */
struct flip_options {
	uint64_t first; /* seed */
	uint64_t runs;	/* bits to flip, about; 0: all of them */
	bool one;	/* only this harm (its number) of seed `first`: */
	uint64_t at, choice;
	uint32_t from; /* files already done of ending `choice`: an exhaustive run goes on there */
	bool verbose;
};

/* 0, or 1 when something was found. Prints. */
int flip_run(const struct flip_options *o);

#endif
