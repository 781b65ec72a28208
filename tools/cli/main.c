/* SPDX-License-Identifier: Apache-2.0 */
/* millctl: tools for whoever runs millrace. Each subcommand is a room of tools/. */
#include <stdio.h>
#include <string.h>

#include "tools/inspect/inspect.h"

#define EXIT_USAGE 2

static const char usage_text[] =
	"usage: millctl COMMAND ...\n"
	"\n"
	"  inspect      what is in a log directory, and whether it is whole\n"
	"  --version    print the version\n"
	"  --help       print this\n"
	"\n"
	"`millctl COMMAND --help` says more about a command.\n";

int main(int argc, char **argv)
{
	const char *command = argc > 1 ? argv[1] : "";
	if (strcmp(command, "inspect") == 0)
		return inspect_main(argc - 1, argv + 1);
	if (strcmp(command, "--version") == 0)
		return printf("millctl %s\n", MR_VERSION) < 0 ? 1 : 0;
	if (strcmp(command, "--help") == 0 || strcmp(command, "-h") == 0)
		return fputs(usage_text, stdout) < 0 ? 1 : 0;
	if (argc > 1)
		fprintf(stderr, "millctl: unknown command %s\n\n", command);
	fputs(usage_text, stderr);
	return EXIT_USAGE;
}
