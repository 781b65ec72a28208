/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_TESTS_SIM_FAULTS_H
#define MR_TESTS_SIM_FAULTS_H

#include <stdbool.h>
#include <stdint.h>

/*
 * The fault sweep: a scripted workload over two log directories, in which one operation of the disk
 * goes wrong: each one in turn, in every way. Nothing that was acknowledged is lost, every request
 * is answered, a failed flush is never tried again, the other directory goes on, and what had no
 * room goes on when there is room.
 */
struct faults_options {
	uint64_t first; /* seed */
	uint64_t runs;	/* about; 0: every operation in every way */
	bool one;	/* only this operation and way of seed `first`: */
	uint64_t at, choice;
	bool verbose;
};

/* 0, or 1 when something was found. Prints. */
int faults_run(const struct faults_options *o);

#endif
