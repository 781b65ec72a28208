/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_TESTS_SIM_CRASH_H
#define MR_TESTS_SIM_CRASH_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Crash enumeration: a scripted workload runs on the simulated disk. At each of its crash points
 * (every completion of an operation that changes the disk, and every time something was promised)
 * the power fails in every way that counts: each unflushed write, size and name kept, lost or torn.
 * For each such state the engine is started on what is left, and all of it is read and held against
 * what was promised.
 */
struct crash_options {
	uint64_t first;	    /* seed */
	uint64_t states;    /* to check, about; spread over as many seeds as that takes */
	uint32_t per_point; /* at most; 0: as fits */
	bool one;	    /* only this crash point and choice of seed `first`: */
	uint64_t at, choice;
	bool verbose;
};

/* 0, or 1 when something was found. Prints. */
int crash_run(const struct crash_options *o);

#endif
