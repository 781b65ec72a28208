/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_TESTS_SIM_WORDS_H
#define MR_TESTS_SIM_WORDS_H

/*
 * What a process says last when a CHECK or a fault of the processor ends it: how to get there
 * again. `mode` is the option, e.g. "--crash"; borrowed.
 */
void sim_words(const char *mode, unsigned long long seed, unsigned long long at,
	unsigned long long choice);

#endif
