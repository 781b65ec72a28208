/* SPDX-License-Identifier: Apache-2.0 */
#include "sim_words.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

/* A signal handler knows nothing but what stands in the file. */
static struct {
	bool set;
	const char *mode;
	unsigned long long seed, at, choice;
} words;

static void say(int sig)
{
	char buf[200];
	int n = snprintf(buf, sizeof(buf),
		"died\n  replay: millsim %s --seed %llu --at %llu --choice %llu -v\n", words.mode,
		words.seed, words.at, words.choice);
	signal(sig, SIG_DFL);
	if (write(STDOUT_FILENO, buf, (size_t)n) < 0)
		_exit(2);
}

void sim_words(
	const char *mode, unsigned long long seed, unsigned long long at, unsigned long long choice)
{
	if (!words.set) {
		words.set = true;
		signal(SIGABRT, say);
		signal(SIGSEGV, say);
	}
	words.mode = mode;
	words.seed = seed;
	words.at = at;
	words.choice = choice;
}
