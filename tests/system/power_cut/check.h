/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_TESTS_POWER_CUT_CHECK_H
#define MR_TESTS_POWER_CUT_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#define POWER_CUT_JOURNAL_BYTES (1u << 20) /* small: it goes round many times */

/*
 * Opens every log that `expect` names in the log directory and holds it to what had been
 * acknowledged. Each line of that file is
 *
 *   PARTITION FATE END START_LEAST START_MOST
 *
 * fate `there`: it must be there; `gone`: it must not; `maybe`: it was being made or deleted. The
 * log must end at END or later and start from START_LEAST to START_MOST, and every record in it
 * must be the one that belongs there. go_on: also appends to every log. Prints what is wrong; true
 * when nothing is.
 */
bool power_cut_check(const char *dir, uint64_t seed, const char *expect, bool go_on);

#endif
